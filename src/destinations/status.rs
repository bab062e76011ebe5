//! What a destination says about itself: for the status page, metrics and the question why nothing flows.

use super::breaker::State;
use super::rate::{Decision, LimitOf};
use super::{Destination, Hold};
use crate::model::clock::Monotonic;
use serde::Serialize;
use std::sync::PoisonError;
use std::time::Duration;

/// A destination at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub destination: String,
    /// Why it takes nothing now, if so.
    pub held: Option<Held>,
    /// Requests in flight of this replica.
    pub in_flight: u32,
    /// How many there may be now.
    pub concurrency_limit: u32,
    /// Owned slots of 32; the share of the rate limits.
    pub share: u8,
    /// What stopped it last, until it is back.
    pub trouble: Option<Trouble>,
}

/// Why nothing is sent, and for how long if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Held {
    /// Someone or something stopped it; ends by resuming it.
    Hold {
        /// By what.
        by: Hold,
    },
    /// It asked for a pause.
    Overload {
        /// Until it ends.
        wait_ms: u64,
    },
    /// The connection has no token; the next try to get one comes, or is under way (0).
    Token {
        /// Until the next try.
        wait_ms: u64,
    },
    /// The circuit breaker is open, or its probe is on its way (0).
    Breaker {
        /// Until the next probe.
        wait_ms: u64,
    },
    /// The destination as a whole is wrong; the breaker probes rarely.
    Incident {
        /// Until the next probe.
        wait_ms: u64,
    },
    /// The rate limit; normal under load.
    Rate {
        /// Whose limit it is.
        limit: LimitOf,
        /// Until the next permit.
        wait_ms: u64,
    },
    /// This replica owns no part of the rate limit yet.
    NoShare,
}

/// What stopped a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Code of the attempt.
    pub code: &'static str,
    /// Its message.
    pub message: String,
}

impl Destination {
    /// Why nothing is sent now; `None` if a request may go.
    #[must_use]
    pub fn why_held(&self, now: Monotonic) -> Option<Held> {
        let wait = |until: Monotonic| millis(until.since(now));
        if let Some(by) = self.held() {
            return Some(Held::Hold { by });
        }
        if let Some(until) = self.shared.gate.closed_until(now) {
            return Some(Held::Overload { wait_ms: wait(until) });
        }
        if let Some(wait) = self.connection.token_wait(now) {
            return Some(Held::Token { wait_ms: millis(wait) });
        }
        match self.shared.breaker.state() {
            State::Open { until, incident: true } => return Some(Held::Incident { wait_ms: wait(until) }),
            State::Open { until, incident: false } => return Some(Held::Breaker { wait_ms: wait(until) }),
            State::HalfOpen => return Some(Held::Breaker { wait_ms: 0 }),
            State::Closed => {}
        }
        match self.limits().holder(now)? {
            (_, Decision::Granted) => None,
            (limit, Decision::WaitUntil(until)) => Some(Held::Rate { limit, wait_ms: wait(until) }),
            (_, Decision::NoShare) => Some(Held::NoShare),
        }
    }

    /// All of it.
    #[must_use]
    pub fn status(&self, now: Monotonic) -> Status {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            destination: self.resource.name.to_string(),
            held: self.why_held(now),
            in_flight: self.shared.concurrency.in_flight(),
            concurrency_limit: self.shared.concurrency.limit(),
            share: self.shared.limiter.share(),
            trouble: self.connection.token_trouble().or(trouble),
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
