//! The records that carry a decision out. Key, value and headers of the original are shared, not copied.

use super::policy::Exhausted;
use crate::model::clock::WallMs;
use crate::model::record::{OutRecord, Position, Record};
use crate::model::stored::{
    self, StoredHeaders, TIERS, Tier, Topics, VALUE_BYTES, VALUE_SHA256, original_headers, sha256, slot,
};
use bytes::Bytes;
use std::sync::Arc;

/// A dead letter by reference keeps a key, and original headers together, up to this size.
const REFERENCE_BYTES: usize = 1024;

/// Headers of ours that help people only.
const OPTIONAL: [&str; 2] = ["tidegate-response", "tidegate-message"];

/// The record that waits in a retry tier until `due`. Made anew from one that has waited long enough, it is its
/// re-append: nothing changes but tier and timestamp.
#[must_use]
pub fn tier_record(
    topics: &Topics,
    tier: Tier,
    record: &Record,
    headers: &StoredHeaders,
    due: WallMs,
    now: WallMs,
) -> OutRecord {
    let headers = StoredHeaders { due_ms: Some(due.0), exhausted: None, ..headers.clone() };
    // By delivery, so that a hot key does not fill one partition.
    let partition = headers.delivery.as_ref().map(|address| slot(&address.delivery_id));
    store(topics.retry(tier), partition, record, &headers, now)
}

/// The record that waits in the queue of its destination. One taken from a tier for it keeps all but when it was due.
#[must_use]
pub fn queue_record(topic: Arc<str>, record: &Record, headers: &StoredHeaders, now: WallMs) -> OutRecord {
    let headers = StoredHeaders { due_ms: None, exhausted: None, ..headers.clone() };
    store(topic, Some(0), record, &headers, now)
}

/// The dead letter: the original with everything that is known of its failure.
#[must_use]
pub fn dead_letter(
    topic: Arc<str>,
    record: &Record,
    headers: &StoredHeaders,
    exhausted: Option<Exhausted>,
    now: WallMs,
) -> OutRecord {
    let exhausted = exhausted.map(|condition| condition.as_str().to_owned());
    let headers = StoredHeaders { due_ms: None, exhausted, ..headers.clone() };
    store(topic, None, record, &headers, now)
}

/// The dead letter of a record that Kafka refuses as too large: no value, but its size, its hash and where it stands.
#[must_use]
pub fn dead_letter_by_reference(
    topic: Arc<str>,
    record: &Record,
    headers: &StoredHeaders,
    exhausted: Option<Exhausted>,
    now: WallMs,
) -> OutRecord {
    let value = record.value().unwrap_or_default();
    let reason = format!("too large for {topic}, {} bytes: read it at {}", value.len(), headers.origin);
    let message = match &headers.message {
        // Whatever is cut from a long message, the reason is not.
        Some(message) => format!("{reason}; {message}"),
        None => reason,
    };
    let headers = StoredHeaders { message: Some(message), response: None, ..headers.clone() };
    let mut letter = dead_letter(topic, record, &headers, exhausted, now);
    letter.value = None;
    letter.key = letter.key.filter(|key| key.len() <= REFERENCE_BYTES);
    let size = |(name, value): &(String, Option<Bytes>)| name.len() + value.as_ref().map_or(0, Bytes::len);
    let ours = |(name, _): &(String, Option<Bytes>)| name.starts_with(stored::HEADER_PREFIX);
    if letter.headers.iter().filter(|header| !ours(header)).map(size).sum::<usize>() > REFERENCE_BYTES {
        letter.headers.retain(ours);
    }
    letter.headers.push((VALUE_BYTES.to_owned(), Some(Bytes::from(value.len().to_string()))));
    letter.headers.push((VALUE_SHA256.to_owned(), Some(Bytes::from(sha256(value)))));
    letter
}

/// The same record without what only helps people: a second try before a record counts as too large.
#[must_use]
pub fn without_optional_headers(mut record: OutRecord) -> OutRecord {
    record.headers.retain(|(name, _)| !OPTIONAL.contains(&name.as_str()));
    record
}

/// Why a dead letter cannot be redriven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedriveError {
    /// Its headers cannot be read.
    #[error(transparent)]
    Headers(#[from] stored::Error),
    /// No rule has seen it.
    #[error("the record was never decoded ({code}), so no target waits for it; mend the producer and publish it again")]
    Undecoded {
        /// Why not.
        code: String,
    },
    /// It holds no value.
    #[error("the dead letter only refers to {origin}, for the record was too large; replay it from there")]
    ByReference {
        /// Where the record stands.
        origin: Position,
    },
}

impl RedriveError {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Headers(error) => error.code(),
            Self::Undecoded { .. } => "REDRIVE_UNDECODED",
            Self::ByReference { .. } => "REDRIVE_BY_REFERENCE",
        }
    }
}

/// The record that sends a dead letter on its way again: to a retry tier, due at once, for the same target and under
/// the same delivery id, as if it had never been tried.
///
/// # Errors
/// There is nothing to send, or nobody to send it to.
pub fn redrive_record(topics: &Topics, dead: &Record, now: WallMs) -> Result<OutRecord, RedriveError> {
    let old = StoredHeaders::read(dead)?;
    let Some(address) = old.delivery else {
        return Err(RedriveError::Undecoded { code: old.code.unwrap_or_default() });
    };
    if dead.header(VALUE_SHA256).is_some() {
        return Err(RedriveError::ByReference { origin: old.origin });
    }
    let headers = StoredHeaders {
        origin: old.origin,
        origin_timestamp_ms: old.origin_timestamp_ms,
        redrives: old.redrives.saturating_add(1),
        traceparent: old.traceparent,
        ..StoredHeaders::new(dead, Some(address))
    };
    let [shortest, ..] = TIERS;
    Ok(tier_record(topics, shortest, dead, &headers, now, now))
}

fn store(topic: Arc<str>, partition: Option<i32>, record: &Record, headers: &StoredHeaders, now: WallMs) -> OutRecord {
    let original = original_headers(record).map(|(name, value)| (name.to_owned(), value.map(|v| record.share(v))));
    let ours = headers.write().into_iter().map(|(name, value)| (name.to_owned(), Some(Bytes::from(value))));
    OutRecord {
        topic,
        partition,
        key: record.key().map(|key| record.share(key)),
        value: record.value_bytes(),
        headers: original.chain(ours).collect(),
        timestamp_ms: Some(now.0),
    }
}
