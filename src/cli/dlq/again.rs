//! What sending a dead letter again would do today: the request, or why there is none.

use super::desk::{Desk, Letter};
use crate::cli::Failure;
use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::record::{OutRecord, Record};
use crate::model::stored::{VALUE_SHA256, sha256};
use crate::pattern::EvaluationLimit;
use crate::pipeline::explain::{self, ExplainedRequest};
use crate::pipeline::settle::{self, RedriveError};
use crate::pipeline::snapshot::CompiledTarget;
use serde::Serialize;
use std::sync::Arc;

/// A dead letter that can be sent.
#[derive(Debug)]
pub(super) struct Ready {
    /// What its target sends today.
    pub(super) request: ExplainedRequest,
    /// Its event.
    pub(super) event: CloudEvent,
    /// The record that a letter by reference refers to.
    whole: Option<Record>,
}

/// Why a dead letter cannot be sent again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Unsendable {
    /// Stable code.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

impl Unsendable {
    /// For this reason.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// What becomes of a dead letter that is sent again now.
pub(super) fn check(desk: &Desk, letter: &Letter) -> Result<Ready, Unsendable> {
    let whole = match settle::redrive_record(&desk.names, &letter.record, WallMs::now()) {
        Ok(_) => None,
        Err(RedriveError::ByReference { .. }) => Some(referred(desk, letter)?),
        Err(error @ (RedriveError::Headers(_) | RedriveError::Undecoded { .. })) => {
            return Err(Unsendable::new(error.code(), error.to_string()));
        }
    };
    let target = target(desk, letter)?;
    let Some(event) = desk.event(whole.as_ref().unwrap_or(&letter.record), &letter.headers) else {
        return Err(Unsendable::new("DECODE", "it can no longer be read as an event; has the source changed?"));
    };
    // Whoever writes it on its way again skips the pattern, which never said yes.
    if letter.headers.code.as_deref() == Some(EvaluationLimit::CODE) {
        let rule = desk.snapshot.as_ref().and_then(|snapshot| snapshot.rule(&target.rule));
        let verdict = rule.map(|rule| rule.explain(&Document::of(&event)));
        match verdict.map(|verdict| (verdict.matched, verdict.sentence)) {
            Some((Ok(true), _)) => {}
            Some((Err(limit), _)) => return Err(Unsendable::new(limit.code(), limit.to_string())),
            Some((Ok(false), why)) => {
                return Err(Unsendable::new("NOT_WANTED", format!("today's rule does not want it: {why}")));
            }
            None => return Err(Unsendable::new("TARGET_GONE", format!("there is no rule {} any more", target.rule))),
        }
    }
    let request = explain::request(&target, &event).map_err(|(code, message)| Unsendable::new(code, message))?;
    Ok(Ready { request, event, whole })
}

impl Ready {
    /// The record that sends it on its way.
    pub(super) fn record(&self, desk: &Desk, letter: &Letter, now: WallMs) -> Result<OutRecord, RedriveError> {
        match (&self.whole, &letter.headers.delivery) {
            (Some(whole), Some(address)) => {
                let redrives = letter.headers.redrives.saturating_add(1);
                Ok(settle::replay_record(&desk.names, whole, address.clone(), redrives, now))
            }
            (Some(_) | None, _) => settle::redrive_record(&desk.names, &letter.record, now),
        }
    }
}

/// Its target as it is today.
fn target(desk: &Desk, letter: &Letter) -> Result<Arc<CompiledTarget>, Unsendable> {
    let Some(address) = &letter.headers.delivery else {
        return Err(Unsendable::new("REDRIVE_UNDECODED", "no rule has seen it"));
    };
    let target = desk.snapshot.as_ref().and_then(|snapshot| snapshot.target(&address.rule, &address.target));
    target.cloned().ok_or_else(|| {
        Unsendable::new("TARGET_GONE", format!("rule {} has no target {} any more", address.rule, address.target))
    })
}

/// The record that a dead letter by reference was made of, if it still stands there as it was.
fn referred(desk: &Desk, letter: &Letter) -> Result<Record, Unsendable> {
    let origin = &letter.headers.origin;
    let gone = |why: String| {
        Unsendable::new("REDRIVE_BY_REFERENCE", format!("the dead letter only refers to {origin}, and {why}"))
    };
    let read = desk.read(|reader| reader.read_at(origin));
    let record = read.map_err(|error| gone(error.to_string()))?;
    let Some(record) = record else { return Err(gone("nothing stands there any more".to_owned())) };
    let hash = letter.record.header(VALUE_SHA256).and_then(|value| std::str::from_utf8(value).ok());
    if hash.is_some_and(|hash| hash == sha256(record.value().unwrap_or_default())) {
        Ok(record)
    } else {
        Err(gone("another record stands there now".to_owned()))
    }
}

/// The whole event of a dead letter, wherever it stands; none if it is gone.
pub(super) fn whole(desk: &Desk, letter: &Letter) -> Result<Option<Record>, Failure> {
    if letter.record.header(VALUE_SHA256).is_none() {
        let headers = &letter.headers;
        return Ok(Some(letter.record.clone().moved(headers.origin.clone(), headers.origin_timestamp_ms)));
    }
    Ok(referred(desk, letter).ok())
}
