//! What became of an attempt (`Report`) and of a delivery (`Settlement`).

use super::clock::WallMs;
use std::time::Duration;

/// The class of an attempt's end (delivery.md "Failure classes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// They took it, or had it already.
    Success,
    /// Event-permanent: this event will never be taken. Dead letter now.
    Reject,
    /// The destination as a whole is wrong or misconfigured; the event waits.
    Incident,
    /// They ask for fewer requests; the gate closes.
    Overload,
    /// May work later; counts for the breaker.
    Transient,
    /// It may or may not have been taken; retried with the same idempotency key.
    Ambiguous,
}

impl Class {
    /// As in the header `tidegate-class`, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Reject => "reject",
            Self::Incident => "incident",
            Self::Overload => "overload",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// The end of one attempt.
#[derive(Debug, Clone)]
pub struct Report {
    /// Class.
    pub class: Class,
    /// Stable code, e.g. `DELIVER_STATUS`, `DELIVER_TIMEOUT`, `TRANSFORM_MISSING`.
    pub code: &'static str,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// One sentence for people; no secret, no signed URL.
    pub message: String,
    /// Beginning of the answer's body, at most 1 KiB.
    pub excerpt: String,
    /// The wait that the answer asked for: `Retry-After` and the like, clamped to 1 s..1 h, or without them the `wait`
    /// of a `throttled` entry of `responses`, 1 s..24 h. The policy's delay holds too if it is longer.
    pub retry_after: Option<Duration>,
    /// The `wait` of a `retry` entry of `responses`, 1 s..24 h: it stands in for the policy's delay.
    pub wait: Option<Duration>,
    /// Wall clock when sending began; `None` if nothing was sent (the request could not be built).
    pub sent: Option<WallMs>,
    /// From sending to the end.
    pub took: Duration,
}

/// Where a delivery ended: each of these is durable, so its claim on the offset is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// The destination took it.
    Delivered,
    /// No rule wanted the event.
    Filtered,
    /// Its record in a retry tier is acknowledged.
    HandedOff,
    /// Its record in the dead-letter topic is acknowledged.
    DeadLettered,
}

impl Settlement {
    /// As in logs, traces and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::HandedOff => "handed_off",
            Self::DeadLettered => "dead_lettered",
        }
    }
}
