//! `Hold`: a destination that is stopped until someone resumes it, and the record that keeps it so across restarts
//! (delivery.md "Holds").
//!
//! The records stand in the compacted topic `<prefix>.state`, keyed by the name of the destination alone; the other
//! keys of that topic have a colon, which no name has. The last record counts, for every replica.
//!
//! [`SequenceHold`]: beside them, a sequence of an ordered target that waits for the same (`on_exhausted: hold`), keyed by
//! where the delivery stands that has failed. A record that resumes its destination ends it, if it comes later.

use super::clock::WallMs;
use super::name::Name;
use super::record::{OutRecord, Position, Record};
use super::stored::Topics;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long past manual holds are remembered: longer than any `max_age` they could stretch.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Past manual holds that are remembered at most; beyond that the oldest two count as one.
const SPANS: usize = 32;

/// Why someone or something stopped a destination; ends only when it is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// By hand.
    Manual,
    /// The endpoint answered 410, or what `responses` call `gone`.
    Gone,
    /// It refused more events for good than its dead-letter budget allows.
    #[serde(rename = "dlq_budget")]
    DeadLetterBudget,
}

impl Hold {
    /// As in records, reports and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Gone => "gone",
            Self::DeadLetterBudget => "dlq_budget",
        }
    }
}

impl Hold {
    /// Why the destination `name` is held, and how it goes on; `record` is what is kept of it.
    #[must_use]
    pub fn explain(self, record: &HoldRecord, name: &str) -> (String, String) {
        let because = if record.message.is_empty() { String::new() } else { format!(": {}", record.message) };
        let (detail, first) = match self {
            Self::Manual => {
                let by = if record.by.is_empty() { "hand" } else { &record.by };
                (format!("held by {by}{because}"), "")
            }
            Self::Gone => (format!("it is gone{because}"), "correct its `endpoint`, then: "),
            Self::DeadLetterBudget => (
                format!("too many events ended as dead letters{because}"),
                "look at the dead letters (tidegate dlq), mend the rule or the destination, then: ",
            ),
        };
        (detail, format!("{first}tidegate resume {name}"))
    }
}

/// What is kept of a destination's holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HoldRecord {
    /// The hold; absent once it was resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Since when that is so, in milliseconds since 1970.
    pub since_ms: i64,
    /// Who or what did it: `ann@laptop`, or the name of a replica.
    pub by: String,
    /// Why, in one sentence; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Manual holds that are over, oldest first: the clock of `max_age` stood still in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manual: Vec<Span>,
}

/// From one moment until another, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First.
    pub from_ms: i64,
    /// Last.
    pub to_ms: i64,
}

impl HoldRecord {
    /// The record of a hold that begins now; `before` is what was kept so far.
    #[must_use]
    pub fn begin(before: Option<&Self>, hold: Hold, by: String, message: String, now: WallMs) -> Self {
        let manual = before.map(|before| before.past(now)).unwrap_or_default();
        Self { hold: Some(hold), since_ms: now.0, by, message, manual }
    }

    /// The record that ends a hold.
    #[must_use]
    pub fn resume(before: Option<&Self>, by: String, now: WallMs) -> Self {
        let manual = before.map(|before| before.past(now)).unwrap_or_default();
        Self { hold: None, since_ms: now.0, by, message: String::new(), manual }
    }

    /// The manual holds until now, the present one included, as far as they are worth remembering.
    fn past(&self, now: WallMs) -> Vec<Span> {
        let present = (self.hold == Some(Hold::Manual)).then_some(Span { from_ms: self.since_ms, to_ms: now.0 });
        let recent = |span: &Span| now.since(WallMs(span.to_ms)) < REMEMBERED;
        let mut spans: Vec<Span> = self.manual.iter().copied().chain(present).filter(recent).collect();
        while let [first, second, ..] = *spans.as_slice()
            && spans.len() > SPANS
        {
            // Too long rather than too short: an event is given up later, not earlier.
            spans.splice(..2, [Span { from_ms: first.from_ms, to_ms: second.to_ms }]);
        }
        spans
    }

    /// How much of the time between two moments it was held by hand.
    #[must_use]
    pub fn by_hand(&self, from: WallMs, to: WallMs) -> Duration {
        let present = (self.hold == Some(Hold::Manual)).then_some(Span { from_ms: self.since_ms, to_ms: i64::MAX });
        let overlap = |span: Span| WallMs(span.to_ms.min(to.0)).since(WallMs(span.from_ms.max(from.0)));
        self.manual.iter().copied().chain(present).map(overlap).sum()
    }

    /// As it is written.
    #[must_use]
    pub fn record(&self, topics: &Topics, destination: &str) -> OutRecord {
        OutRecord {
            topic: topics.state(),
            partition: Some(0),
            key: Some(Bytes::copy_from_slice(destination.as_bytes())),
            // Strings and numbers can always be written.
            value: Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default())),
            headers: Vec::new(),
            timestamp_ms: Some(self.since_ms),
        }
    }

    /// Whose hold a record of the topic tells, and what; `None` if it tells of something else.
    ///
    /// # Errors
    /// It stands where a hold should and is none; the name is given.
    pub fn read(record: &Record) -> Result<Option<(Name, Self)>, (Name, serde_json::Error)> {
        let name = record.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(Name::new);
        let Some(name) = name else { return Ok(None) };
        match record.value() {
            None => Ok(Some((name, Self::default()))),
            Some(value) => match serde_json::from_slice(value) {
                Ok(hold) => Ok(Some((name, hold))),
                Err(error) => Err((name, error)),
            },
        }
    }
}

/// Begins the keys of held sequences.
const SEQUENCE: &str = "sequence:";

/// A sequence that is held, for the delivery at its head has failed for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequenceHold {
    /// Who is to be resumed.
    pub destination: String,
    /// Code of the last attempt.
    pub code: String,
    /// The same in a sentence.
    pub message: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

impl SequenceHold {
    /// Its key: the delivery of the event at this place to the target whose group that is.
    #[must_use]
    pub fn key(group: &str, head: &Position) -> String {
        format!("{SEQUENCE}{group}:{head}")
    }

    /// As it is written; nothing when it is over.
    #[must_use]
    pub fn record(hold: Option<&Self>, topics: &Topics, key: &str, now: WallMs) -> OutRecord {
        OutRecord {
            topic: topics.state(),
            partition: Some(0),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            // Strings and numbers can always be written.
            value: hold.map(|hold| Bytes::from(serde_json::to_vec(hold).unwrap_or_default())),
            headers: Vec::new(),
            timestamp_ms: Some(now.0),
        }
    }

    /// Which sequence a record tells of, and what; `None` if it tells of something else. One that cannot be read counts as
    /// over: its delivery is tried again.
    #[must_use]
    pub fn read(record: &Record) -> Option<(String, Option<Self>)> {
        let key = std::str::from_utf8(record.key()?).ok().filter(|key| key.starts_with(SEQUENCE))?;
        let hold = record.value().and_then(|value| serde_json::from_slice(value).ok());
        Some((key.to_owned(), hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Position;
    use std::sync::Arc;

    fn begun(before: Option<&HoldRecord>, hold: Hold, at: i64) -> HoldRecord {
        HoldRecord::begin(before, hold, "ann@laptop".to_owned(), "maintenance".to_owned(), WallMs(at))
    }

    fn ended(before: &HoldRecord, at: i64) -> HoldRecord {
        HoldRecord::resume(Some(before), "ann@laptop".to_owned(), WallMs(at))
    }

    fn seconds(record: &HoldRecord, from: i64, to: i64) -> u64 {
        record.by_hand(WallMs(from * 1_000), WallMs(to * 1_000)).as_secs()
    }

    #[test]
    fn only_manual_holds_stop_the_clock() {
        let manual = begun(None, Hold::Manual, 10_000);
        assert_eq!([(0, 5), (0, 15), (12, 15), (0, 100)].map(|(a, b)| seconds(&manual, a, b)), [0, 5, 3, 90]);
        let over = ended(&manual, 30_000);
        assert_eq!([(0, 100), (20, 100), (40, 100)].map(|(a, b)| seconds(&over, a, b)), [20, 10, 0]);
        let gone = begun(Some(&over), Hold::Gone, 50_000);
        let again = ended(&ended(&begun(Some(&ended(&gone, 60_000)), Hold::Manual, 70_000), 75_000), 80_000);
        assert_eq!(seconds(&again, 0, 100), 25);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_never_too_short() {
        let mut record = HoldRecord::default();
        for n in 0..1_000 {
            record = begun(Some(&record), Hold::Manual, n * 2_000);
            record = ended(&record, n * 2_000 + 1_000);
        }
        assert_eq!(record.manual.len(), SPANS);
        assert!(seconds(&record, 0, 2_000) >= 1_000);
        let later = ended(&record, i64::try_from(REMEMBERED.as_millis()).unwrap() + 2_000_000);
        assert!(later.manual.is_empty());
    }

    #[test]
    fn as_it_stands_in_the_topic() {
        let topics = Topics::new("tidegate");
        let hold = begun(None, Hold::DeadLetterBudget, 5);
        let out = hold.record(&topics, "crm");
        assert_eq!((&*out.topic, out.partition, out.key.as_deref()), ("tidegate.state", Some(0), Some(&b"crm"[..])));
        let expected = r#"{"hold":"dlq_budget","since_ms":5,"by":"ann@laptop","message":"maintenance"}"#;
        assert_eq!(out.value.as_deref(), Some(expected.as_bytes()));
        let record = |key: &str, value: Option<&[u8]>| {
            let position = Position { topic: Arc::from("tidegate.state"), partition: 0, offset: 0 };
            Record::new(position, None, Some(key.as_bytes()), value, std::iter::empty())
        };
        let (name, read) = HoldRecord::read(&record("crm", out.value.as_deref())).unwrap().unwrap();
        assert_eq!((name.as_str(), read), ("crm", hold));
        assert_eq!(HoldRecord::read(&record("crm", None)).unwrap().unwrap().1, HoldRecord::default());
        assert!(HoldRecord::read(&record("replica:a", Some(b"{}"))).unwrap().is_none());
        assert!(HoldRecord::read(&record("crm", Some(b"{"))).is_err());
        let newer = r#"{"hold":"manual","since_ms":1,"by":"x","colour":"blue"}"#;
        assert!(HoldRecord::read(&record("crm", Some(newer.as_bytes()))).unwrap().is_some());
    }

    #[test]
    fn a_held_sequence_is_known_by_its_head_and_over_without_a_value() {
        let topics = Topics::new("tg");
        let key = SequenceHold::key("tg.paid.crm", &"orders:3:41".parse().unwrap());
        assert_eq!(key, "sequence:tg.paid.crm:orders:3:41");
        let hold = SequenceHold { destination: "crm".to_owned(), since_ms: 7, ..SequenceHold::default() };
        for hold in [Some(hold), None] {
            let out = SequenceHold::record(hold.as_ref(), &topics, &key, WallMs(9));
            let position = Position { topic: Arc::from("tg.state"), partition: 0, offset: 1 };
            let record = Record::new(position, None, out.key.as_deref(), out.value.as_deref(), std::iter::empty());
            assert_eq!(SequenceHold::read(&record), Some((key.clone(), hold)));
            assert!(HoldRecord::read(&record).unwrap().is_none());
        }
    }
}
