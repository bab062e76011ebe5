//! Judge: what the end of an attempt means. The entries of `responses` are asked first, then the status table
//! (transforms.md rule 51, delivery.md "Failure classes"). Pure; the present is an argument.

use super::error::Error;
use super::wait;
use crate::destinations::Health;
use crate::destinations::responses::{End, Entry, Responses};
use crate::json::value::Json;
use crate::model::clock::WallMs;
use crate::model::outcome::Class;
use crate::model::resources::ResponseOutcome;
use crate::pattern::EvaluationLimit;
use http::header::HeaderMap;
use std::time::Duration;

/// What an end means: the outcomes that entries may have, and the two that only the status table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Delivered.
    Success,
    /// Delivered before.
    Duplicate,
    /// Transient.
    Retry,
    /// Overload.
    Throttled,
    /// The credentials are no longer good: one forced token refresh if there is a token, else an incident.
    AuthExpired,
    /// This event will never be taken.
    Reject,
    /// The destination is gone for good.
    Gone,
    /// It may or may not have been taken.
    Ambiguous,
    /// The destination as a whole is wrong.
    Incident,
}

impl Outcome {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => ResponseOutcome::Success.as_str(),
            Self::Duplicate => ResponseOutcome::Duplicate.as_str(),
            Self::Retry => ResponseOutcome::Retry.as_str(),
            Self::Throttled => ResponseOutcome::Throttled.as_str(),
            Self::AuthExpired => ResponseOutcome::AuthExpired.as_str(),
            Self::Reject => ResponseOutcome::Reject.as_str(),
            Self::Gone => ResponseOutcome::Gone.as_str(),
            Self::Ambiguous => "ambiguous",
            Self::Incident => "incident",
        }
    }

    /// Its class.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Success | Self::Duplicate => Class::Success,
            Self::Retry => Class::Transient,
            Self::Throttled => Class::Overload,
            Self::Reject => Class::Reject,
            Self::Ambiguous => Class::Ambiguous,
            Self::AuthExpired | Self::Gone | Self::Incident => Class::Incident,
        }
    }
}

impl From<ResponseOutcome> for Outcome {
    fn from(written: ResponseOutcome) -> Self {
        match written {
            ResponseOutcome::Success => Self::Success,
            ResponseOutcome::Duplicate => Self::Duplicate,
            ResponseOutcome::Retry => Self::Retry,
            ResponseOutcome::Throttled => Self::Throttled,
            ResponseOutcome::AuthExpired => Self::AuthExpired,
            ResponseOutcome::Reject => Self::Reject,
            ResponseOutcome::Gone => Self::Gone,
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy)]
pub enum By<'r> {
    /// The status table, or what is known of an end without an answer.
    Status,
    /// An entry of `responses`.
    Entry(&'r Entry),
    /// Nobody: a 2xx that fits no entry, though some entry says what success looks like.
    Unrecognised,
    /// Nobody: an entry needs too long a search in this answer.
    GaveUp(EvaluationLimit),
}

/// What an end means, and who says so.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'r> {
    /// What it means.
    pub outcome: Outcome,
    /// The wait that an entry or a header fixes; `None` leaves it to the policy, or to the gate.
    pub wait: Option<Duration>,
    /// Who decided.
    pub by: By<'r>,
    /// For the destination.
    pub(super) health: Health,
}

impl Verdict<'_> {
    /// Stable code of an answer's report.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match (self.outcome, self.by) {
            (Outcome::Success, _) => "DELIVER_OK",
            (_, By::Status) => "DELIVER_STATUS",
            (_, By::Unrecognised) => "RESPONSE_UNRECOGNISED",
            (_, By::GaveUp(limit)) => limit.code(),
            (Outcome::Duplicate, By::Entry(_)) => "RESPONSE_DUPLICATE",
            (Outcome::Retry, By::Entry(_)) => "RESPONSE_RETRY",
            (Outcome::Throttled, By::Entry(_)) => "RESPONSE_THROTTLED",
            (Outcome::AuthExpired, By::Entry(_)) => "RESPONSE_AUTH_EXPIRED",
            (Outcome::Reject, By::Entry(_)) => "RESPONSE_REJECTED",
            (Outcome::Gone, By::Entry(_)) => "RESPONSE_GONE",
            // No entry can say these.
            (Outcome::Ambiguous | Outcome::Incident, By::Entry(_)) => "DELIVER_STATUS",
        }
    }

    /// The credentials may just be too old: a token, if there is one, is to be fetched anew, once.
    #[must_use]
    pub fn is_auth_expired(&self) -> bool {
        self.outcome == Outcome::AuthExpired
    }
}

/// What the end of an attempt means. `item` is the part of a batch's answer that is judged alone. `fixed` says that the
/// endpoint has no path parameters.
#[must_use]
pub fn judge<'r>(
    responses: &'r Responses,
    end: &End<'_>,
    item: Option<Json<'_>>,
    fixed: bool,
    now: WallMs,
) -> Verdict<'r> {
    let (status, headers) = match end {
        End::Answer(answer) => (item.and_then(item_status).unwrap_or(answer.status), Some(answer.headers)),
        End::NotSent | End::NoAnswer => (0, None),
    };
    let asked = || headers.and_then(|headers| wait::asked(headers, now));
    let (outcome, wait, by) = match responses.first(end, item) {
        Ok(Some(entry)) => {
            let wait = match entry.outcome {
                ResponseOutcome::Retry => entry.wait,
                ResponseOutcome::Throttled => asked().or(entry.wait),
                ResponseOutcome::Success
                | ResponseOutcome::Duplicate
                | ResponseOutcome::AuthExpired
                | ResponseOutcome::Reject
                | ResponseOutcome::Gone => None,
            };
            (Outcome::from(entry.outcome), wait, By::Entry(entry))
        }
        Ok(None) => match end {
            End::Answer(answer) => match by_status(status, answer.headers, fixed, now) {
                (Outcome::Success, _) if responses.names_success() => (Outcome::Ambiguous, None, By::Unrecognised),
                (outcome, wait) => (outcome, wait, By::Status),
            },
            End::NotSent => (Outcome::Retry, None, By::Status),
            End::NoAnswer => (Outcome::Ambiguous, None, By::Status),
        },
        Err(limit) => (Outcome::Ambiguous, None, By::GaveUp(limit)),
    };
    let health = match (outcome, end) {
        (Outcome::Retry, End::Answer(_)) => Health::Failing { congested: status == 503 },
        // Whatever it means for the event, they did not answer.
        (
            Outcome::Success | Outcome::Duplicate | Outcome::Retry | Outcome::Reject | Outcome::Ambiguous,
            End::NotSent | End::NoAnswer,
        ) => Health::Failing { congested: false },
        (_, _) => health(outcome, wait),
    };
    Verdict { outcome, wait, by, health }
}

/// What an end without an answer means. TLS verification, NXDOMAIN and a refusal by the network policy are incidents
/// if no entry says otherwise; a request that HTTP cannot carry is nobody's answer, so no entry is asked.
pub(super) fn judge_failure<'r>(responses: &'r Responses, error: &Error, fixed: bool, now: WallMs) -> Verdict<'r> {
    let end = match error.end() {
        Some(end) => end,
        None => return Verdict { outcome: Outcome::Reject, wait: None, by: By::Status, health: Health::Good },
    };
    let mut verdict = judge(responses, &end, None, fixed, now);
    if matches!(verdict.by, By::Status) && error.class() == Class::Incident {
        verdict.outcome = Outcome::Incident;
        verdict.health = Health::Incident;
    }
    if let Health::Failing { congested } = &mut verdict.health {
        *congested = error.is_timeout();
    }
    verdict
}

/// The status table.
fn by_status(status: u16, headers: &HeaderMap, fixed: bool, now: WallMs) -> (Outcome, Option<Duration>) {
    let outcome = match status {
        200..=299 => Outcome::Success,
        401 | 407 => Outcome::AuthExpired,
        403..=405 if fixed => Outcome::Incident,
        410 if fixed => Outcome::Gone,
        300..=399 => Outcome::Incident,
        409 => Outcome::Ambiguous,
        408 | 425 => Outcome::Retry,
        429 => return (Outcome::Throttled, wait::asked(headers, now)),
        503 => match wait::retry_after(headers, now) {
            Some(wait) => return (Outcome::Throttled, Some(wait)),
            None => Outcome::Retry,
        },
        400..=499 => Outcome::Reject,
        // 5xx, and what is no final status at all.
        _ => Outcome::Retry,
    };
    (outcome, None)
}

/// What an answer that means this says of the destination.
const fn health(outcome: Outcome, wait: Option<Duration>) -> Health {
    match outcome {
        // They answered. An ambiguous answer (409, or a 2xx of unknown shape) is no failure of theirs.
        Outcome::Success | Outcome::Duplicate | Outcome::Reject | Outcome::Ambiguous => Health::Good,
        Outcome::Retry => Health::Failing { congested: false },
        Outcome::Throttled => Health::Overloaded(wait),
        Outcome::AuthExpired | Outcome::Incident => Health::Incident,
        Outcome::Gone => Health::Gone,
    }
}

/// `status` of an item, if it is a number; a text has quotes, which no number has.
fn item_status(item: Json<'_>) -> Option<u16> {
    item.get("status")?.text().parse().ok()
}
