//! The ledger of dead letters: marks in the very topic and partition of the letter, behind it.
//!
//! A mark is a record without a body of its own that says in headers which letter it is about and what was done with it.
//! It stands behind its letter in the same partition, so Kafka keeps it as long as the letter and forgets both together,
//! whatever the retention: nobody has to tidy up, and nothing is looked up elsewhere. Whoever reads the letters reads the
//! ledger with them, so everybody sees the same. The order of a partition also decides between two people who want to
//! send the same letter: a *claim* is written first, and only the first claim counts ([`Mark::after`]). A replay, which
//! has no letters, is claimed by the same marks in the state topic ([`Mark::keyed`]).

use super::records::tier_record;
use crate::model::clock::WallMs;
use crate::model::record::{OutRecord, Position, Record};
use crate::model::stored::{Address, HEADER_PREFIX, StoredHeaders, TIERS, Tier, Topics, VERSION};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long a claim keeps others from sending the letter.
const CLAIM: Duration = Duration::from_secs(60);

/// How long it keeps the same redrive, gone on with in another process.
pub const OWN_CLAIM: Duration = Duration::from_secs(15);

const MARK: &str = "tidegate-mark";
const LETTER: &str = "tidegate-letter";
const RUN: &str = "tidegate-run";
const BY: &str = "tidegate-by";
const REASON: &str = "tidegate-reason";

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Somebody is about to send it.
    Claimed,
    /// The same, whatever was done with it before.
    Forced,
    /// It was not sent after all and waits again.
    Released,
    /// It was sent on its way.
    Redriven,
    /// Somebody decided that nobody shall send it.
    Discarded,
}

impl Done {
    const ALL: [Self; 5] = [Self::Claimed, Self::Forced, Self::Released, Self::Redriven, Self::Discarded];

    const fn word(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Forced => "claimed-anyway",
            Self::Released => "waiting",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }
}

/// An entry in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What was done.
    pub done: Done,
    /// In which redrive, and which process of it: `ID/PROCESS`.
    pub run: String,
    /// Where that was.
    pub by: String,
    /// Why, if somebody said so.
    pub reason: Option<String>,
    /// When.
    pub at: WallMs,
}

impl Mark {
    /// Whether a record of a dead-letter topic is a mark, though perhaps one that only a later version understands.
    #[must_use]
    pub fn is_one(record: &Record) -> bool {
        record.header(MARK).is_some()
    }

    /// Reads a mark, and the offset of the letter that it is about.
    #[must_use]
    pub fn read(record: &Record) -> Option<(i64, Self)> {
        let letter = record.header(LETTER).and_then(|value| std::str::from_utf8(value).ok());
        Some((letter?.parse().ok()?, Self::read_keyed(record)?))
    }

    /// Reads a mark that says by its key what it is about ([`Mark::keyed`]).
    #[must_use]
    pub fn read_keyed(record: &Record) -> Option<Self> {
        let text = |name| record.header(name).and_then(|value| std::str::from_utf8(value).ok());
        let word = text(MARK)?;
        Some(Self {
            done: Done::ALL.into_iter().find(|done| done.word() == word)?,
            run: text(RUN).unwrap_or_default().to_owned(),
            by: text(BY).unwrap_or_default().to_owned(),
            reason: text(REASON).map(str::to_owned),
            at: WallMs(record.timestamp_ms.unwrap_or_default()),
        })
    }

    /// The record that says it of the letter at `letter`.
    #[must_use]
    pub fn record(&self, letter: &Position) -> OutRecord {
        let key = format!("{MARK}:{}", letter.offset);
        let mut record = self.under(Arc::clone(&letter.topic), letter.partition, key);
        record.headers.push(header(LETTER, &letter.offset.to_string()));
        record
    }

    /// The record that says it of something else than a letter, in the one partition of a compacted topic. `key` names
    /// what it is about, and the process, so that compaction never takes the mark of another away. When it is `Released`,
    /// Kafka forgets the key.
    #[must_use]
    pub fn keyed(&self, topic: Arc<str>, key: String) -> OutRecord {
        let mut record = self.under(topic, 0, key);
        record.value = record.value.filter(|_| self.done != Done::Released);
        record
    }

    fn under(&self, topic: Arc<str>, partition: i32, key: String) -> OutRecord {
        let mut headers = vec![
            header(&format!("{HEADER_PREFIX}version"), VERSION),
            header(MARK, self.done.word()),
            header(RUN, &self.run),
            header(BY, &self.by),
        ];
        headers.extend(self.reason.as_ref().map(|reason| header(REASON, reason)));
        OutRecord {
            topic,
            partition: Some(partition),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from_static(self.done.word().as_bytes())),
            headers,
            timestamp_ms: Some(self.at.0),
        }
    }

    /// The redrive, without the process.
    #[must_use]
    pub fn redrive(&self) -> &str {
        redrive(&self.run)
    }

    /// Whether it keeps the process `run` from sending the letter at `now`.
    #[must_use]
    pub fn is_claim_against(&self, run: &str, now: WallMs) -> bool {
        let keeps = if self.redrive() == redrive(run) { OWN_CLAIM } else { CLAIM };
        matches!(self.done, Done::Claimed | Done::Forced) && self.run != run && now.since(self.at) < keeps
    }

    /// What holds of a letter of which `before` held when this comes next in the partition.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Option<Self> {
        let Some(before) = before else { return Some(self).filter(|mark| mark.done != Done::Released) };
        match self.done {
            Done::Redriven | Done::Discarded => Some(self),
            Done::Released if before.run == self.run => None,
            Done::Released => Some(before),
            Done::Claimed | Done::Forced if before.is_claim_against(&self.run, self.at) => Some(before),
            Done::Claimed if matches!(before.done, Done::Redriven | Done::Discarded) => Some(before),
            Done::Claimed | Done::Forced => Some(self),
        }
    }
}

fn header(name: &str, value: &str) -> (String, Option<Bytes>) {
    (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
}

fn redrive(run: &str) -> &str {
    run.split('/').next().unwrap_or_default()
}

/// The tier that holds what is due at once.
#[must_use]
pub const fn due_tier() -> Tier {
    let [shortest, ..] = TIERS;
    shortest
}

/// The record that sends the event of `record`, which came from a source, to a target: to a retry tier, due at once.
/// `redrives` is how often its dead letters were sent before.
#[must_use]
pub fn replay_record(topics: &Topics, record: &Record, address: Address, redrives: u32, now: WallMs) -> OutRecord {
    let headers = StoredHeaders { redrives, ..StoredHeaders::new(record, Some(address)) };
    tier_record(topics, due_tier(), record, &headers, now, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(done: Done, run: &str, at: i64) -> Mark {
        Mark { done, run: run.to_owned(), by: "web".to_owned(), reason: None, at: WallMs(at) }
    }

    #[test]
    fn it_comes_back_from_its_topic() {
        let letter: Position = "t.dlq:3:17".parse().unwrap();
        for done in Done::ALL {
            let mark = Mark { reason: Some("ümlaut".to_owned()), ..mark(done, "r1/a", 5) };
            let out = mark.record(&letter);
            assert_eq!((&*out.topic, out.partition), ("t.dlq", Some(3)));
            let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let at = Position { offset: 20, ..letter.clone() };
            let read = Record::new(at, out.timestamp_ms, out.key.as_deref(), out.value.as_deref(), headers);
            assert!(Mark::is_one(&read) && StoredHeaders::read(&read).is_err(), "it is no letter");
            assert_eq!(Mark::read(&read), Some((17, mark)));
        }
        for done in Done::ALL {
            let mark = mark(done, "r1/a", 5);
            let out = mark.keyed(Arc::from("t.state"), "claim:r1/a".to_owned());
            assert_eq!(out.value.is_none(), done == Done::Released, "Kafka forgets it");
            let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let read = Record::new(letter.clone(), out.timestamp_ms, out.key.as_deref(), out.value.as_deref(), headers);
            assert_eq!((Mark::read_keyed(&read), Mark::read(&read)), (Some(mark), None), "it is about no letter");
        }
        let headers = [("tidegate-mark", Some(&b"eaten"[..])), ("tidegate-letter", Some(b"1"))];
        let later = Record::new(letter, None, None, None, headers.into_iter());
        assert!(Mark::is_one(&later) && Mark::read(&later).is_none());
    }

    /// What holds after these, in this order.
    fn told(marks: &[Mark]) -> Option<(Done, String)> {
        let last = marks.iter().cloned().fold(None, |before, mark| mark.after(before));
        last.map(|mark| (mark.done, mark.run))
    }

    #[test]
    fn the_first_claim_counts() {
        use Done::{Claimed, Discarded, Forced, Redriven, Released};
        let yes = |done, run: &str| Some((done, run.to_owned()));
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Claimed, "b/1", 59_999)]), yes(Claimed, "a/1"));
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Claimed, "b/1", 60_000)]), yes(Claimed, "b/1"), "it was dead");
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Claimed, "a/2", 14_999)]), yes(Claimed, "a/1"));
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Claimed, "a/2", 15_000)]), yes(Claimed, "a/2"), "gone on with");
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Released, "a/1", 1)]), None);
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Released, "b/1", 1)]), yes(Claimed, "a/1"));
        assert_eq!(told(&[mark(Released, "a/1", 0)]), None);
        for done in [Redriven, Discarded] {
            assert_eq!(told(&[mark(done, "a/1", 0), mark(Claimed, "b/1", 90_000)]), yes(done, "a/1"));
            assert_eq!(told(&[mark(done, "a/1", 0), mark(Forced, "b/1", 1)]), yes(Forced, "b/1"));
            assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(done, "b/1", 1)]), yes(done, "b/1"));
        }
        assert_eq!(told(&[mark(Claimed, "a/1", 0), mark(Forced, "b/1", 1)]), yes(Claimed, "a/1"));
    }
}
