//! `EventTrace`: one compact record per outcome, for those who wait for it (`publish --wait`, `dlq redrive`).

use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::outcome::Settlement;
use crate::model::record::{OutRecord, Position};
use crate::model::stored::{StoredHeaders, Topics};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The outcome of a dead letter that was sent on its way again: the ledger of redrives.
pub const REDRIVEN: &str = "redriven";

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
    /// Attempts made.
    pub attempts: u32,
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
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
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
            message: own(self.message),
            at: Cow::Owned(self.at.into_owned()),
            origin: Cow::Owned(self.origin.into_owned()),
            deliveries: self.deliveries,
            redrives: self.redrives,
            delivery_id: own(self.delivery_id),
            dead_letter: own(self.dead_letter),
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
