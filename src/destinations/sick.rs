//! Sick: whether a destination can take anything now, as far as it is known here, and if not, for how long. What waits
//! for a sick destination is better kept in its queue than in memory, and its queue is not read.

use super::Destination;
use super::breaker::State;
use crate::model::clock::Monotonic;
use std::time::Duration;

/// Why a destination takes nothing now, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sick {
    /// Why.
    pub cause: Cause,
    /// Until it may be asked again; `None` if somebody must do something first.
    pub left: Option<Duration>,
}

/// Why a destination takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It is held until someone resumes it.
    Hold,
    /// It asked for a pause.
    Gate,
    /// Its circuit breaker is open.
    Breaker,
}

impl Cause {
    /// Code of a delivery that was put into the queue for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Hold => "DESTINATION_HELD",
            Self::Gate => "DESTINATION_PAUSED",
            Self::Breaker => "DESTINATION_FAILING",
        }
    }

    /// The same for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Hold => "the destination is held; it waits in its queue until someone resumes it",
            Self::Gate => "the destination asked for a pause; it waits in its queue",
            Self::Breaker => "the destination fails; it waits in its queue until a probe succeeds",
        }
    }
}

impl Sick {
    /// Whether it lasts longer than this.
    #[must_use]
    pub fn outlasts(&self, time: Duration) -> bool {
        self.left.is_none_or(|left| left > time)
    }
}

impl Destination {
    /// Why nothing may be sent now, if so. A probe that is on its way, or due, is no sickness: somebody must find out.
    #[must_use]
    pub fn sick(&self, now: Monotonic) -> Option<Sick> {
        if self.shared.holding.is_held() {
            return Some(Sick { cause: Cause::Hold, left: None });
        }
        let gate = self.shared.gate.closed_until(now).map(|until| (Cause::Gate, until));
        let breaker = match self.shared.breaker.state() {
            State::Open { until, .. } if until > now => Some((Cause::Breaker, until)),
            State::Open { .. } | State::HalfOpen | State::Closed => None,
        };
        let (cause, until) = gate.into_iter().chain(breaker).max_by_key(|(_, until)| *until)?;
        Some(Sick { cause, left: Some(until.since(now)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_longer() {
        let second = Duration::from_secs(1);
        let held = Sick { cause: Cause::Hold, left: None };
        let paused = Sick { cause: Cause::Gate, left: Some(second) };
        assert!(held.outlasts(second * 9_999) && paused.outlasts(second / 2) && !paused.outlasts(second));
    }
}
