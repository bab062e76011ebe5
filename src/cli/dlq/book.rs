//! The book of dead letters: of each that is meant only where it stands, whose it is and how it stands with it, so that a
//! million of them fit into memory. What they hold is read again, some at a time, by whoever needs it.

use crate::model::clock::WallMs;
use crate::model::record::Position;
use crate::model::stored::{Address, StoredHeaders};
use crate::pipeline::settle::{Done, EventTrace, Mark};
use clap::ValueEnum;
use std::collections::HashMap;
use std::sync::Arc;

/// How it stands with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It waits for somebody.
    Waiting,
    /// It was sent on its way again.
    Redriven,
    /// Its delivery arrived after it was written.
    Delivered,
    /// Somebody decided that it shall not be sent.
    Discarded,
}

impl State {
    /// As it is printed.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Redriven => "redriven",
            Self::Delivered => "delivered",
            Self::Discarded => "discarded",
        }
    }
}

/// What is common to many dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// Rule, target and destination; absent if no rule has seen it.
    pub(super) target: Option<(String, String, String)>,
    /// Code of the failure.
    pub(super) code: String,
}

/// One dead letter.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    topic: u32,
    /// Partition of its topic.
    pub(super) partition: i32,
    /// Offset.
    pub(super) offset: i64,
    /// When it was written.
    pub(super) at: Option<WallMs>,
    /// Identifies the delivery.
    pub(super) delivery: Option<u128>,
    kind: u32,
    /// How often the delivery had been redriven when it died.
    pub(super) redrives: u32,
    /// What the last valid mark says.
    pub(super) mark: Option<Box<Mark>>,
    /// The trace tells that its delivery arrived, or that an earlier version sent it.
    told: Option<State>,
}

/// All that are meant, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    topics: Vec<Arc<str>>,
    kinds: Vec<Kind>,
    known: HashMap<Kind, u32>,
    /// Which letter stands where.
    places: HashMap<(u32, i32, i64), usize>,
    /// The letters.
    pub(super) entries: Vec<Entry>,
    /// How far each partition was read.
    pub(super) read: HashMap<(Arc<str>, i32), i64>,
}

impl Book {
    /// Adds a letter.
    pub(super) fn add(&mut self, position: &Position, at: Option<WallMs>, headers: &StoredHeaders) {
        let address = headers.delivery.as_ref();
        let names = |a: &Address| (a.rule.clone(), a.target.clone(), a.destination.clone());
        let kind = Kind { target: address.map(names), code: headers.code.clone().unwrap_or_default() };
        let next = self.kinds.len();
        let kind = match self.known.get(&kind) {
            Some(kind) => *kind,
            None => {
                let index = u32::try_from(next).unwrap_or(u32::MAX);
                self.kinds.push(kind.clone());
                self.known.insert(kind, index);
                index
            }
        };
        if self.number(&position.topic).is_none() {
            self.topics.push(Arc::clone(&position.topic));
        }
        let topic = self.number(&position.topic).unwrap_or(u32::MAX);
        self.places.insert((topic, position.partition, position.offset), self.entries.len());
        self.entries.push(Entry {
            topic,
            partition: position.partition,
            offset: position.offset,
            at,
            delivery: address.and_then(|a| delivery(&a.delivery_id)),
            kind,
            redrives: headers.redrives,
            mark: None,
            told: None,
        });
    }

    /// Where a letter stands.
    pub(super) fn position(&self, entry: &Entry) -> Position {
        let topic = usize::try_from(entry.topic).ok().and_then(|index| self.topics.get(index));
        Position { topic: topic.cloned().unwrap_or_default(), partition: entry.partition, offset: entry.offset }
    }

    /// What it died of, and whose it is.
    pub(super) fn kind(&self, entry: &Entry) -> Option<&Kind> {
        self.kinds.get(usize::try_from(entry.kind).ok()?)
    }

    /// Notes a mark of the letter at this place; it stands behind the letter and behind the marks before it.
    pub(super) fn mark(&mut self, topic: &str, partition: i32, offset: i64, mark: Mark) {
        let Some(topic) = self.number(topic) else { return };
        let index = self.places.get(&(topic, partition, offset));
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(*index)) {
            let before = entry.mark.take().map(|mark| *mark);
            entry.mark = mark.after(before).map(Box::new);
        }
    }

    fn number(&self, topic: &str) -> Option<u32> {
        self.topics.iter().position(|known| **known == *topic).and_then(|number| u32::try_from(number).ok())
    }

    /// Puts the letters into the order in which they died.
    pub(super) fn sort(&mut self) {
        self.entries.sort_by_key(|entry| (entry.at, entry.partition, entry.offset));
        let place = |(index, entry): (usize, &Entry)| ((entry.topic, entry.partition, entry.offset), index);
        self.places = self.entries.iter().enumerate().map(place).collect();
    }
}

impl Entry {
    /// How it stands with it.
    pub(super) fn state(&self) -> State {
        match self.mark.as_ref().map(|mark| mark.done) {
            Some(Done::Redriven) => self.told.unwrap_or(State::Redriven),
            Some(Done::Discarded) => State::Discarded,
            Some(Done::Claimed | Done::Forced | Done::Released) | None => self.told.unwrap_or(State::Waiting),
        }
    }
}

impl Kind {
    /// `rule/target`; a dash if no rule has seen it.
    pub(super) fn target(&self) -> String {
        self.target.as_ref().map_or_else(|| "-".to_owned(), |(rule, target, _)| format!("{rule}/{target}"))
    }
}

/// A delivery id as a number.
pub(super) fn delivery(id: &str) -> Option<u128> {
    u128::from_str_radix(id, 16).ok()
}

/// Of which letters the trace is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those of which the ledger says nothing.
    Waiting,
    /// All.
    All,
}

/// Learns from the trace which deliveries arrived after all, and which were sent without a mark that says so.
#[derive(Debug)]
pub(super) struct Listener {
    by_delivery: HashMap<u128, Vec<usize>>,
}

impl Listener {
    /// For these letters.
    pub(super) fn new(book: &Book, asked: Asked) -> Self {
        let mut by_delivery: HashMap<u128, Vec<usize>> = HashMap::new();
        let wanted = |entry: &Entry| asked == Asked::All || entry.state() == State::Waiting;
        for (index, entry) in book.entries.iter().enumerate() {
            if let Some(id) = entry.delivery.filter(|_| wanted(entry)) {
                by_delivery.entry(id).or_default().push(index);
            }
        }
        Self { by_delivery }
    }

    /// Whether there is anything to learn.
    pub(super) fn is_needed(&self) -> bool {
        !self.by_delivery.is_empty()
    }

    /// Hears an outcome.
    pub(super) fn hear(&self, book: &mut Book, trace: &EventTrace<'_>) {
        let id = trace.delivery_id.as_deref().and_then(delivery);
        for index in id.and_then(|id| self.by_delivery.get(&id)).into_iter().flatten() {
            let Some(entry) = book.entries.get_mut(*index) else { continue };
            if trace.outcome == "delivered" && WallMs::parse_rfc3339(&trace.at) >= entry.at {
                entry.told = Some(State::Delivered);
            } else if trace.redrives > entry.redrives && entry.told.is_none() {
                // Whatever came of it, it comes of a later redrive: of this letter, or of another of the same delivery.
                entry.told = Some(State::Redriven);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Record;
    use crate::model::stored::delivery_id;

    fn letter(book: &mut Book, place: &str, event: &str, at: i64) {
        let position: Position = place.parse().expect("a position");
        let record = Record::new(position.clone(), None, None, None, std::iter::empty());
        let address = Address {
            rule: "r".to_owned(),
            target: "t".to_owned(),
            destination: "d".to_owned(),
            delivery_id: delivery_id("/s", event, "r", "t"),
        };
        let headers = StoredHeaders { code: Some("X".to_owned()), ..StoredHeaders::new(&record, Some(address)) };
        book.add(&position, Some(WallMs(at)), &headers);
    }

    fn mark(done: Done, run: &str) -> Mark {
        Mark { done, run: run.to_owned(), by: String::new(), reason: None, at: WallMs(9) }
    }

    #[test]
    fn letters_are_told_apart_by_their_places() {
        let mut book = Book::default();
        letter(&mut book, "b:0:1", "1", 3);
        letter(&mut book, "a:0:1", "1", 1);
        letter(&mut book, "a:1:1", "2", 2);
        book.mark("a", 0, 1, mark(Done::Claimed, "x/1"));
        book.mark("a", 1, 1, mark(Done::Discarded, "y/1"));
        book.mark("a", 0, 7, mark(Done::Redriven, "z"));
        book.mark("c", 0, 1, mark(Done::Redriven, "z"));
        book.sort();
        let seen: Vec<_> = book.entries.iter().map(|e| (book.position(e).to_string(), e.state())).collect();
        let expected = [("a:0:1", State::Waiting), ("a:1:1", State::Discarded), ("b:0:1", State::Waiting)];
        assert_eq!(seen, expected.map(|(at, state)| (at.to_owned(), state)));
        assert!(book.entries[0].mark.is_some(), "claimed");
        assert_eq!(book.kinds.len(), 1);
        assert_eq!(book.kind(&book.entries[0]).expect("a kind").target(), "r/t");
    }

    #[test]
    fn the_trace_tells_what_arrived_since() {
        let mut book = Book::default();
        for (place, event) in [("a:0:1", "1"), ("a:0:2", "1"), ("a:0:3", "2"), ("a:0:4", "3"), ("a:0:5", "4")] {
            letter(&mut book, place, event, 1_000);
        }
        book.mark("a", 0, 5, mark(Done::Redriven, "x"));
        let told = |asked| {
            let mut book = Book { entries: book.entries.clone(), ..Book::default() };
            let listener = Listener::new(&book, asked);
            let mut tell = |event: &str, outcome: &'static str, at: i64, redrives| {
                let trace = EventTrace {
                    delivery_id: Some(delivery_id("/s", event, "r", "t").into()),
                    outcome: outcome.into(),
                    at: WallMs(at).rfc3339().into(),
                    redrives,
                    ..EventTrace::default()
                };
                listener.hear(&mut book, &trace);
            };
            tell("1", "redriven", 1_500, 1);
            tell("2", "delivered", 999, 0);
            tell("2", "dead_lettered", 1_000, 0);
            tell("3", "delivered", 1_000, 0);
            tell("4", "delivered", 2_000, 1);
            tell("5", "delivered", 2_000, 0);
            book.entries.iter().map(Entry::state).collect::<Vec<_>>()
        };
        use State::{Delivered, Redriven, Waiting};
        assert_eq!(told(Asked::Waiting), [Redriven, Redriven, Waiting, Delivered, Redriven]);
        assert_eq!(told(Asked::All), [Redriven, Redriven, Waiting, Delivered, Delivered]);
    }
}
