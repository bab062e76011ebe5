//! Writing the record that ends a claim, for as long as it takes.
//!
//! A claim is settled only by Kafka's acknowledgement, so a write that fails is tried again until it succeeds or the
//! partition is taken away (then the caller drops this future and the event comes again). A record that Kafka refuses
//! as too large loses its optional headers, then becomes a dead letter by reference.

use super::policy::Exhausted;
use super::records::{dead_letter, dead_letter_by_reference, queue_record, tier_record, without_optional_headers};
use crate::kafka::{Producer, SendError};
use crate::model::clock::WallMs;
use crate::model::outcome::Settlement;
use crate::model::record::{OutRecord, Position, Record};
use crate::model::stored::{Store, StoredHeaders, Tier, Topics};
use std::sync::Arc;
use std::time::Duration;

/// Wait after the first failed write; doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait between two writes.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A record that ends a claim, and what it turns into if Kafka finds it too large.
#[derive(Debug)]
pub struct HandOff {
    record: Record,
    headers: StoredHeaders,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tier { topics: Topics, tier: Tier, due: WallMs, dead_letter_topic: Arc<str> },
    Queue { topic: Arc<str>, dead_letter_topic: Arc<str> },
    DeadLetter { topic: Arc<str>, exhausted: Option<Exhausted> },
}

/// A hand-off that Kafka has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it stands.
    pub position: Position,
    /// What it became: a tier record that is too large for Kafka ends as a dead letter.
    pub settlement: Settlement,
}

impl HandOff {
    /// To a retry tier until `due`; too large, to the dead-letter topic.
    #[must_use]
    pub fn to_tier(
        record: &Record,
        headers: StoredHeaders,
        topics: &Topics,
        tier: Tier,
        due: WallMs,
        dead: &Arc<str>,
    ) -> Self {
        let kind = Kind::Tier { topics: topics.clone(), tier, due, dead_letter_topic: Arc::clone(dead) };
        Self { record: record.clone(), headers, kind }
    }

    /// To the queue of its destination; too large, to the dead-letter topic.
    #[must_use]
    pub fn to_queue(record: &Record, headers: StoredHeaders, topic: Arc<str>, dead: &Arc<str>) -> Self {
        let kind = Kind::Queue { topic, dead_letter_topic: Arc::clone(dead) };
        Self { record: record.clone(), headers, kind }
    }

    /// To a retry tier until `due`, if it was to go to a queue.
    pub fn divert(&mut self, topics: &Topics, tier: Tier, due: WallMs) {
        if let Kind::Queue { dead_letter_topic, .. } = &self.kind {
            let dead_letter_topic = Arc::clone(dead_letter_topic);
            self.kind = Kind::Tier { topics: topics.clone(), tier, due, dead_letter_topic };
        }
    }

    /// The record that it is about.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where it is stored; `None` is a dead-letter topic.
    #[must_use]
    pub fn store(&self) -> Option<Store> {
        match &self.kind {
            Kind::Tier { tier, .. } => Some(Store::Tier(*tier)),
            Kind::Queue { .. } => Some(Store::Queue),
            Kind::DeadLetter { .. } => None,
        }
    }

    /// The destination to whose queue it goes, if it does.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        let to_queue = matches!(self.kind, Kind::Queue { .. });
        self.headers.delivery.as_ref().filter(|_| to_queue).map(|address| address.destination.as_str())
    }

    /// To a dead-letter topic.
    #[must_use]
    pub fn to_dead_letter(
        record: &Record,
        headers: StoredHeaders,
        topic: &Arc<str>,
        exhausted: Option<Exhausted>,
    ) -> Self {
        Self { record: record.clone(), headers, kind: Kind::DeadLetter { topic: Arc::clone(topic), exhausted } }
    }

    fn whole(&self, now: WallMs) -> OutRecord {
        match &self.kind {
            Kind::Tier { topics, tier, due, .. } => tier_record(topics, *tier, &self.record, &self.headers, *due, now),
            Kind::Queue { topic, .. } => queue_record(Arc::clone(topic), &self.record, &self.headers, now),
            Kind::DeadLetter { topic, exhausted } => {
                dead_letter(Arc::clone(topic), &self.record, &self.headers, *exhausted, now)
            }
        }
    }

    fn by_reference(&self, now: WallMs) -> OutRecord {
        let (topic, exhausted) = match &self.kind {
            Kind::Tier { dead_letter_topic, .. } | Kind::Queue { dead_letter_topic, .. } => (dead_letter_topic, None),
            Kind::DeadLetter { topic, exhausted } => (topic, *exhausted),
        };
        dead_letter_by_reference(Arc::clone(topic), &self.record, &self.headers, exhausted, now)
    }

    fn settlement(&self, by_reference: bool) -> Settlement {
        match &self.kind {
            Kind::Tier { .. } | Kind::Queue { .. } if !by_reference => Settlement::HandedOff,
            Kind::Tier { .. } | Kind::Queue { .. } | Kind::DeadLetter { .. } => Settlement::DeadLettered,
        }
    }
}

/// Writes a hand-off until Kafka has acknowledged it; `failed` hears the code of every try that failed and says whether
/// it is worth a line.
pub async fn write(producer: Producer, hand_off: Box<HandOff>, failed: impl Fn(&'static str) -> bool) -> Written {
    let mut record = hand_off.whole(WallMs::now());
    let (mut trimmed, mut by_reference) = (false, false);
    let mut wait = FIRST_WAIT;
    loop {
        let error = match producer.send(record.clone()).await {
            Ok(position) => return Written { position, settlement: hand_off.settlement(by_reference) },
            Err(error) => error,
        };
        match error {
            SendError::TooLarge { .. } if !trimmed => {
                trimmed = true;
                record = without_optional_headers(record);
                continue;
            }
            SendError::TooLarge { .. } if !by_reference => {
                by_reference = true;
                record = hand_off.by_reference(WallMs::now());
                continue;
            }
            SendError::TooLarge { .. }
            | SendError::Timeout { .. }
            | SendError::Refused { .. }
            | SendError::Fatal { .. } => {}
        }
        if failed(error.code()) {
            let address = hand_off.headers.delivery.as_ref();
            tracing::warn!(
                code = error.code(),
                %error,
                origin = %hand_off.headers.origin,
                delivery_id = address.map(|address| address.delivery_id.as_str()),
                "the record is not written yet; its event stays incomplete and the write is tried again"
            );
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}
