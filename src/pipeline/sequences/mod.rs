//! `Sequences`: which delivery of a sequence may start, and which wait behind it (delivery.md "Ordering", I4).
//!
//! A sequence is what one target gets of one partition under one key. Its next delivery starts when the one before has
//! ended durably, which settling its [`Ticket`](super::ticket::Ticket) tells by way of the [`Turn`] it holds. A sequence
//! takes memory only while it is not empty. Pure: no clock, no I/O.

use crate::json::document::Document;
use crate::json::item::Item;
use crate::json::path::{Error, Path, Step, follow};
use crate::json::value::{Json, Kind};
use crate::model::event::{CloudEvent, Content};
use crate::model::resources::Ordering;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

/// The attribute that says to which partition an event belongs (CloudEvents extension "Partitioning").
const PARTITION_KEY: &str = "partitionkey";

/// A sequence of a partition: the hash of its key. Two keys with one hash would share a sequence, which costs time only.
pub type Key = u64;

/// What tells the sequence of an event.
#[derive(Debug)]
pub enum Order {
    /// `partitionkey`, else the Kafka key.
    Key,
    /// What stands there.
    Path(Vec<Step>),
    /// All events of a partition are one sequence.
    Partition,
}

impl Order {
    /// That of a target; `None` if it keeps none.
    ///
    /// # Errors
    /// The path is none, or may find several values.
    pub fn of(ordering: &Ordering) -> Result<Option<Self>, Error> {
        Ok(match ordering {
            Ordering::None => None,
            Ordering::Partition => Some(Self::Partition),
            Ordering::Key { path: None } => Some(Self::Key),
            Ordering::Key { path: Some(path) } => {
                let path = Path::parse(path)?;
                // Resources with another path are refused before they come here.
                Some(Self::Path(path.steps().unwrap_or_default().to_vec()))
            }
        })
    }

    /// The key of an event in full; `None` if it has none. `document` is that of the event.
    #[must_use]
    pub fn key<'e>(&self, event: &'e CloudEvent, document: &'e Document<'_>) -> Option<Cow<'e, [u8]>> {
        match self {
            Self::Partition => Some(Cow::Borrowed(&[])),
            Self::Key => attribute(event).or_else(|| event.record.key().map(Cow::Borrowed)),
            Self::Path(steps) => bytes(follow(steps, Item::of(document))?),
        }
    }

    /// The sequence of an event; `None` if it has no key and follows no other.
    #[must_use]
    pub fn sequence(&self, event: &CloudEvent, document: &Document<'_>) -> Option<Key> {
        let mut hasher = DefaultHasher::new();
        self.key(event, document)?.hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// The value of `partitionkey`. An empty one is against its specification and counts as none.
fn attribute(event: &CloudEvent) -> Option<Cow<'_, [u8]>> {
    let value = match event.member(PARTITION_KEY)? {
        Content::Text(text) => Cow::Borrowed(text.as_bytes()),
        Content::Base64(bytes) => Cow::Borrowed(bytes),
        Content::Json(json) => bytes(Item::Json(Json::trusted(json)))?,
    };
    (!value.is_empty()).then_some(value)
}

/// A text as it is, anything else as compact JSON; null is no key.
fn bytes(item: Item<'_>) -> Option<Cow<'_, [u8]>> {
    if item.kind() == Kind::Null {
        return None;
    }
    Some(match item.as_str() {
        Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        None => {
            let mut compact = String::new();
            item.write_compact(&mut compact);
            Cow::Owned(compact.into_bytes())
        }
    })
}

/// Sequences whose first delivery has ended.
type Ended = Rc<RefCell<Vec<Key>>>;

/// The sequences of one partition.
pub struct Sequences<T> {
    /// Those that are not empty, each with what waits behind its first.
    lines: HashMap<Key, VecDeque<T>>,
    ended: Ended,
    waiting: usize,
}

/// The right to be under way: one in each sequence has it.
#[derive(Debug)]
pub struct Turn {
    key: Key,
    ended: Ended,
}

impl Turn {
    /// What had it has ended durably; the next one may start. Dropped instead, its sequence stands still, as it must when
    /// its partition is taken away.
    pub fn end(self) {
        self.ended.borrow_mut().push(self.key);
    }

    /// Whose turn it is.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }
}

impl<T> Default for Sequences<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), ended: Ended::default(), waiting: 0 }
    }
}

impl<T> fmt::Debug for Sequences<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequences").field("sequences", &self.len()).field("waiting", &self.waiting).finish()
    }
}

impl<T> Sequences<T> {
    /// Puts a delivery at the end of its sequence; gives it back with its turn if it is the only one.
    pub fn enter(&mut self, key: Key, delivery: T) -> Option<(T, Turn)> {
        match self.lines.get_mut(&key) {
            Some(line) => {
                line.push_back(delivery);
                self.waiting += 1;
                None
            }
            None => {
                self.lines.insert(key, VecDeque::new());
                Some((delivery, self.turn(key)))
            }
        }
    }

    /// The next delivery whose predecessor has ended.
    pub fn next_turn(&mut self) -> Option<(T, Turn)> {
        loop {
            let key = self.ended.borrow_mut().pop()?;
            let Some(line) = self.lines.get_mut(&key) else { continue };
            if let Some(delivery) = line.pop_front() {
                self.waiting -= 1;
                return Some((delivery, self.turn(key)));
            }
            self.lines.remove(&key);
        }
    }

    /// Something may be there for [`Self::next_turn`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.ended.borrow().is_empty()
    }

    /// Sequences that are not empty.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Deliveries that wait for another one of their sequence.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Deliveries that wait behind the first of a sequence.
    #[must_use]
    pub fn behind(&self, key: Key) -> usize {
        self.lines.get(&key).map_or(0, VecDeque::len)
    }

    /// Drops what waits: the partition is taken away, and no other of these sequences may start here.
    pub fn clear(&mut self) {
        self.ended.borrow_mut().clear();
        self.waiting = 0;
        // Dropped when nothing is borrowed.
        drop(std::mem::take(&mut self.lines));
    }

    fn turn(&self, key: Key) -> Turn {
        Turn { key, ended: Rc::clone(&self.ended) }
    }
}

#[cfg(test)]
mod tests;
