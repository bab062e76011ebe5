//! What a destination says about itself: for the status page, metrics and the question why nothing flows.

use super::Destination;
use super::breaker::State;
use super::limits::LimitOf;
use super::rate::Decision;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::hold::Hold;
use crate::telemetry::state;
use serde::Serialize;
use std::sync::PoisonError;
use std::time::Duration;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Code of the attempt.
    pub code: &'static str,
    /// Its message.
    pub message: String,
}

impl Trouble {
    pub(super) fn shown(self) -> state::Trouble {
        state::Trouble { code: self.code.to_owned(), message: self.message }
    }
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
    pub fn status(&self, now: Monotonic) -> state::Destination {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let trouble = self.connection.token_trouble().or(trouble).map(Trouble::shown);
        let breaker = match self.shared.breaker.state() {
            State::Closed => "closed",
            State::Open { incident: true, .. } => "incident",
            State::Open { incident: false, .. } => "open",
            State::HalfOpen => "half_open",
        };
        state::Destination {
            name: self.resource.name.to_string(),
            connection: self.resource.connection.name.to_string(),
            held: self.why_held(now).map(|held| self.explain(held, trouble.as_ref(), now)),
            breaker: breaker.to_owned(),
            gate_closed: self.shared.gate.closed_until(now).is_some(),
            in_flight: self.shared.concurrency.in_flight(),
            concurrency_limit: self.shared.concurrency.limit(),
            waiting: self.figures().waiting(),
            queued: 0,
            queued_since_ms: None,
            rate_limits: self.resource.rate_limits.iter().map(|limit| limit.rate.to_string()).collect(),
            share: self.shared.limiter.share(),
            trouble,
        }
    }

    /// Why it is held, since when, for how long, and what to do.
    fn explain(&self, held: Held, trouble: Option<&state::Trouble>, now: Monotonic) -> state::Held {
        let since = &self.shared.since;
        let because = trouble.map_or_else(String::new, |trouble| format!(": {}", trouble.message));
        let (reason, since, wait_ms, detail, what_to_do) = match held {
            Held::Hold { by } => return self.explain_hold(by),
            Held::Overload { wait_ms } => {
                let what = "ends by itself; if it comes again and again, lower `rate_limit` or `concurrency`";
                ("overload", since.gate.get(), Some(wait_ms), "it asked for a pause".to_owned(), what)
            }
            Held::Token { wait_ms } => {
                let what = "ends by itself when a token comes; if none does, correct `auth` of the connection";
                ("token", None, Some(wait_ms), format!("its connection has no token{because}"), what)
            }
            Held::Breaker { wait_ms } => {
                let what = "ends by itself when a probe succeeds; look at the destination";
                ("breaker", since.breaker.get(), Some(wait_ms), format!("it fails{because}"), what)
            }
            Held::Incident { wait_ms } => {
                let what = "correct the connection or destination; a changed resource is tried at once";
                ("incident", since.breaker.get(), Some(wait_ms), format!("it is wrong as a whole{because}"), what)
            }
            Held::Rate { limit, wait_ms } => {
                let whose = match limit {
                    LimitOf::Destination => "the rate limit of the destination",
                    LimitOf::Connection => "the rate limit of its connection",
                };
                ("rate", None, Some(wait_ms), whose.to_owned(), "")
            }
            Held::NoShare => {
                let what = "ends when Kafka assigns slots to this replica; with more than 32 replicas some get none";
                ("no_share", None, None, "this replica owns no part of the rate limit".to_owned(), what)
            }
        };
        let (reason, what_to_do) = (reason.to_owned(), what_to_do.to_owned());
        let since_ms = since.map(|since| wall(since, now));
        state::Held { reason, detail, since_ms, wait_ms, what_to_do }
    }

    /// Who or what stopped it, since when, and how it goes on.
    fn explain_hold(&self, hold: Hold) -> state::Held {
        let record = self.shared.holding.standing().map(|(_, record)| record).unwrap_or_default();
        let (detail, what_to_do) = hold.explain(&record, self.resource.name.as_str());
        state::Held {
            reason: hold.as_str().to_owned(),
            detail,
            since_ms: Some(record.since_ms),
            wait_ms: None,
            what_to_do,
        }
    }
}

/// A moment of the process as a time of day, in milliseconds.
fn wall(at: Monotonic, now: Monotonic) -> i64 {
    WallMs::now().0.saturating_sub(i64::try_from(now.since(at).as_millis()).unwrap_or(0))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
