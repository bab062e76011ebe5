//! Self-fencing: may we still act for our partitions?
//!
//! A replica that is cut off from Kafka does not learn that others have taken over. So it keeps evidence: a commit that
//! the group's coordinator answered with "saved" or "rebalance in progress" proves that it was a member when it sent that
//! commit. Without evidence for a session time-out it must start no new request.

use crate::model::clock::Monotonic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Evidence of membership, shared with whoever sends requests. One atomic read.
#[derive(Debug, Clone)]
pub struct Membership {
    /// When the newest evidence was sent; 0 = none.
    evidence: Arc<AtomicU64>,
    /// `None`: there is no group to be a member of.
    session: Option<Duration>,
}

impl Membership {
    /// Starts without evidence.
    #[must_use]
    pub fn new(session: Option<Duration>) -> Self {
        Self { evidence: Arc::default(), session }
    }

    /// True if a new request may start. Always true for an intake without a group membership of its own.
    #[must_use]
    pub fn may_send(&self, now: Monotonic) -> bool {
        let Some(session) = self.session else { return true };
        let evidence = self.evidence.load(Ordering::Acquire);
        evidence != 0 && now.since(Monotonic(evidence)) < session
    }

    /// Age of the newest evidence; `None` if there is none, or none is needed.
    #[must_use]
    pub fn evidence_age(&self, now: Monotonic) -> Option<Duration> {
        let evidence = self.evidence.load(Ordering::Acquire);
        (evidence != 0).then(|| now.since(Monotonic(evidence)))
    }

    /// There is a group to be a member of.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.session.is_some()
    }

    /// We were a member at this moment.
    pub fn prove(&self, at: Monotonic) {
        self.evidence.fetch_max(at.0.max(1), Ordering::AcqRel);
    }

    /// We are no member any more, for certain.
    pub fn disprove(&self) {
        self.evidence.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_lasts_for_a_session_and_never_goes_back() {
        let session = Duration::from_secs(15);
        let member = Membership::new(Some(session));
        let at = Monotonic(1_000_000_000);
        assert!(!member.may_send(at));
        member.prove(at);
        member.prove(Monotonic(5));
        assert!(member.may_send(at.plus(Duration::from_millis(14_999))));
        assert!(!member.may_send(at.plus(session)));
        member.prove(at.plus(session));
        assert!(member.may_send(at.plus(session)));
        member.disprove();
        assert!(!member.may_send(at));
        assert!(Membership::new(None).may_send(at));
    }
}
