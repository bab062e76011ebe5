//! `EventTrace`: one compact record per outcome, for those who wait for it (`publish --wait`, `dlq redrive`) and those
//! who look (`tail`, `trace`).
//!
//! A record tells the attempts made since the delivery came to the process that wrote it, so all records of an event
//! together tell every attempt, through retry tiers, redrives and replicas. Keys are only ever added; readers pass over
//! those they do not know.

use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::outcome::{Class, Report, Settlement};
use crate::model::record::{OutRecord, Position};
use crate::model::stored::{StoredHeaders, Topics};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The outcome of a dead letter that was sent on its way again: the ledger of redrives.
pub const REDRIVEN: &str = "redriven";

/// Bytes of an answer that a trace keeps of each attempt.
const MAX_EXCERPT_BYTES: usize = 256;

/// One request that was sent, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt<'a> {
    /// When sending began, RFC 3339 in UTC.
    pub at: Cow<'a, str>,
    /// Milliseconds from there to the end.
    pub took_ms: u64,
    /// HTTP status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Class of its end, e.g. `transient`.
    pub class: Cow<'a, str>,
    /// Stable code of its end; absent if it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// The failure in one sentence, where nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// Beginning of the answer's body, redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Cow<'a, str>>,
}

impl<'a> Attempt<'a> {
    /// The end of an attempt; `None` if nothing was sent.
    #[must_use]
    pub fn of(report: &'a Report) -> Option<Self> {
        let sent = report.sent?;
        let failed = report.class != Class::Success;
        Some(Self {
            at: sent.rfc3339().into(),
            took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            status: report.status,
            class: report.class.as_str().into(),
            code: failed.then(|| report.code.into()),
            message: (failed && report.status.is_none()).then(|| cut(&report.message).into()),
            excerpt: Some(cut(&report.excerpt)).filter(|text| !text.is_empty()).map(Cow::Borrowed),
        })
    }

    /// The same, independent of the report.
    #[must_use]
    pub fn into_owned(self) -> Attempt<'static> {
        Attempt {
            at: Cow::Owned(self.at.into_owned()),
            took_ms: self.took_ms,
            status: self.status,
            class: Cow::Owned(self.class.into_owned()),
            code: own(self.code),
            message: own(self.message),
            excerpt: own(self.excerpt),
        }
    }
}

/// What became of one delivery, or of an event without any. What is unknown is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventTrace<'a> {
    /// The event's id; absent if the record could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Cow<'a, str>>,
    /// The event's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// The event's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'a, str>>,
    /// Rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Cow<'a, str>>,
    /// Target of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Cow<'a, str>>,
    /// Destination of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Cow<'a, str>>,
    /// `delivered`, `filtered`, `handed_off` or `dead_lettered`; or [`REDRIVEN`], which ends no delivery.
    pub outcome: Cow<'a, str>,
    /// Code of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// HTTP status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Attempts made, in all processes since the last redrive.
    pub attempts: u32,
    /// Those of them that were made since the delivery came to the process that writes this, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Attempt<'a>>,
    /// The last failure in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// When it was settled, RFC 3339 in UTC.
    pub at: Cow<'a, str>,
    /// The record that came from the source, `topic:partition:offset`.
    pub origin: Cow<'a, str>,
    /// How many deliveries the event has in all, so that who waits knows when it has seen them; 0 if it was filtered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<u32>,
    /// How often it was redriven.
    #[serde(skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// Identifies the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<Cow<'a, str>>,
    /// Its dead letter, `topic:partition:offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Cow<'a, str>>,
    /// Until when it waits in a retry tier, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Cow<'a, str>>,
    /// When the record was taken from its source, RFC 3339 in UTC; absent where it came from a retry tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Cow<'a, str>>,
    /// The replica that writes this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Cow<'a, str>>,
}

impl<'a> EventTrace<'a> {
    /// What an event says of itself; rule, target and failure are the caller's.
    #[must_use]
    pub fn of(event: &'a CloudEvent, origin: &Position, outcome: Settlement, now: WallMs) -> Self {
        Self {
            event: Some(event.id().into()),
            source: Some(event.source().into()),
            kind: Some(event.kind().into()),
            outcome: outcome.as_str().into(),
            at: now.rfc3339().into(),
            origin: origin.to_string().into(),
            ..Self::default()
        }
    }

    /// The entry in the ledger of redrives: the dead letter at `letter`, with these headers, is on its way again and
    /// waits no longer.
    #[must_use]
    pub fn redriven(headers: &StoredHeaders, event: Option<&'a CloudEvent>, letter: &Position, now: WallMs) -> Self {
        let address = headers.delivery.clone();
        let (rule, target, destination, delivery_id) = match address {
            Some(a) => (Some(a.rule), Some(a.target), Some(a.destination), Some(a.delivery_id)),
            None => (None, None, None, None),
        };
        Self {
            event: event.map(|event| event.id().into()),
            source: event.map(|event| event.source().into()),
            kind: event.map(|event| event.kind().into()),
            rule: rule.map(Cow::Owned),
            target: target.map(Cow::Owned),
            destination: destination.map(Cow::Owned),
            outcome: REDRIVEN.into(),
            attempts: headers.attempts,
            at: now.rfc3339().into(),
            origin: headers.origin.to_string().into(),
            redrives: headers.redrives.saturating_add(1),
            delivery_id: delivery_id.map(Cow::Owned),
            dead_letter: Some(letter.to_string().into()),
            ..Self::default()
        }
    }

    /// The record in `<prefix>.trace`, keyed by the event's id, settled `now`.
    #[must_use]
    pub fn record(&self, topics: &Topics, now: WallMs) -> OutRecord {
        OutRecord {
            topic: topics.trace(),
            partition: None,
            key: self.event.as_deref().map(|id| Bytes::copy_from_slice(id.as_bytes())),
            // Strings and numbers can always be written.
            value: Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default())),
            headers: Vec::new(),
            timestamp_ms: Some(now.0),
        }
    }

    /// The same, independent of the event.
    #[must_use]
    pub fn into_owned(self) -> EventTrace<'static> {
        EventTrace {
            event: own(self.event),
            source: own(self.source),
            kind: own(self.kind),
            rule: own(self.rule),
            target: own(self.target),
            destination: own(self.destination),
            outcome: Cow::Owned(self.outcome.into_owned()),
            code: own(self.code),
            status: self.status,
            attempts: self.attempts,
            tried: self.tried.into_iter().map(Attempt::into_owned).collect(),
            message: own(self.message),
            at: Cow::Owned(self.at.into_owned()),
            origin: Cow::Owned(self.origin.into_owned()),
            deliveries: self.deliveries,
            redrives: self.redrives,
            delivery_id: own(self.delivery_id),
            dead_letter: own(self.dead_letter),
            due: own(self.due),
            received: own(self.received),
            replica: own(self.replica),
        }
    }

    /// Reads the value of such a record; keys of later versions are ignored.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(value: &[u8]) -> Result<EventTrace<'static>, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

fn own(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.into_owned()))
}

/// At most [`MAX_EXCERPT_BYTES`], whole characters.
fn cut(text: &str) -> &str {
    let end = (0..=MAX_EXCERPT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn report(class: Class, status: Option<u16>, sent: Option<WallMs>) -> Report {
        Report {
            class,
            code: "DELIVER_STATUS",
            status,
            message: "they said no".to_owned(),
            excerpt: "é".repeat(500),
            retry_after: None,
            wait: None,
            sent,
            took: Duration::from_millis(12),
        }
    }

    #[test]
    fn an_attempt_is_what_was_sent_and_what_came_back() {
        let sent = Some(WallMs(1_700_000_000_000));
        assert_eq!(Attempt::of(&report(Class::Reject, None, None)), None, "never sent");
        let answered = report(Class::Transient, Some(503), sent);
        let told = serde_json::to_value(Attempt::of(&answered).unwrap()).unwrap();
        let expected = json!({
            "at": "2023-11-14T22:13:20.000Z", "took_ms": 12, "status": 503, "class": "transient",
            "code": "DELIVER_STATUS", "excerpt": "é".repeat(128),
        });
        assert_eq!(told, expected);
        let silent = report(Class::Transient, None, sent);
        assert_eq!(Attempt::of(&silent).unwrap().message.as_deref(), Some("they said no"));
        let taken = Report { excerpt: String::new(), ..report(Class::Success, Some(204), sent) };
        let told = serde_json::to_value(Attempt::of(&taken).unwrap()).unwrap();
        assert_eq!(told, json!({"at": "2023-11-14T22:13:20.000Z", "took_ms": 12, "status": 204, "class": "success"}));
    }

    #[test]
    fn records_of_other_versions_are_read() {
        let old = br#"{"event":"e","outcome":"delivered","attempts":2,"at":"t","origin":"a:0:1"}"#;
        let trace = EventTrace::read(old).unwrap();
        assert_eq!((&*trace.outcome, trace.attempts, trace.tried.len()), ("delivered", 2, 0));
        let new = br#"{"outcome":"delivered","attempts":1,"tried":[{"at":"t","took_ms":1,"moon":"full"}],"tide":7}"#;
        assert_eq!(EventTrace::read(new).unwrap().tried[0].took_ms, 1);
        let whole = EventTrace { tried: trace.tried.clone(), due: Some("d".into()), ..trace };
        let record = whole.record(&Topics::new("t"), WallMs(1));
        assert_eq!(EventTrace::read(&record.value.unwrap()).unwrap(), whole);
        assert_eq!(record.key.as_deref(), Some(&b"e"[..]));
    }
}
