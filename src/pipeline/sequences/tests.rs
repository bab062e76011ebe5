//! The law of order: whatever ends when, each sequence starts in the order of its offsets, one at a time (F60).

use super::{Order, Sequences, Turn};
use crate::json::document::Document;
use crate::model::event::{Builder, CloudEvent, Content, Form};
use crate::model::record::Record;
use crate::model::resources::Ordering;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A delivery of a test: the key of its sequence and its offset.
type Delivery = (u64, u32);

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A record with this key is read.
    Read(u64),
    /// One of those under way ends durably.
    End(usize),
    /// One of those under way is tried again: nothing changes for the others.
    Retry(usize),
    /// The partition is taken away and comes back: all that has not ended is read again.
    Revoke,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u64).prop_map(Step::Read),
        6 => any::<usize>().prop_map(Step::End),
        2 => any::<usize>().prop_map(Step::Retry),
        1 => Just(Step::Revoke),
    ]
}

#[derive(Default)]
struct World {
    sequences: Sequences<Delivery>,
    under_way: Vec<(Delivery, Turn)>,
    /// What was read and has not ended, by offset.
    open: BTreeMap<u32, u64>,
    read: u32,
    /// The last offset that was started in each sequence of this epoch.
    started: BTreeMap<u64, u32>,
}

impl World {
    fn read(&mut self, key: u64, offset: u32) {
        self.open.insert(offset, key);
        let begun = self.sequences.enter(key, (key, offset));
        self.start(begun);
        self.start_next();
    }

    fn start_next(&mut self) {
        while let Some(next) = self.sequences.next_turn() {
            self.start(Some(next));
        }
        assert!(!self.sequences.has_ended());
    }

    fn start(&mut self, begun: Option<(Delivery, Turn)>) {
        let Some(((key, offset), turn)) = begun else { return };
        assert_eq!(turn.key(), key);
        assert!(self.under_way.iter().all(|((other, _), _)| *other != key), "two of one sequence are under way");
        let before = self.open.iter().find(|(_, k)| **k == key).map(|(offset, _)| *offset);
        assert_eq!(before, Some(offset), "one before it has not ended");
        let last = self.started.insert(key, offset);
        assert!(last.is_none_or(|last| last < offset), "started in the order of offsets");
        self.under_way.push(((key, offset), turn));
    }

    fn step(&mut self, step: &Step) {
        let one = |i: usize, of: usize| if of == 0 { None } else { Some(i % of) };
        match step {
            Step::Read(key) => {
                self.read += 1;
                self.read(*key, self.read);
            }
            Step::End(i) => {
                let Some(i) = one(*i, self.under_way.len()) else { return };
                let ((_, offset), turn) = self.under_way.swap_remove(i);
                self.open.remove(&offset);
                turn.end();
                self.start_next();
            }
            Step::Retry(i) => {
                let Some(i) = one(*i, self.under_way.len()) else { return };
                let again = self.under_way.swap_remove(i);
                self.under_way.push(again);
                self.start_next();
            }
            Step::Revoke => {
                self.under_way.clear();
                self.sequences.clear();
                assert!(self.sequences.is_empty() && self.sequences.waiting() == 0);
                self.started.clear();
                for (offset, key) in std::mem::take(&mut self.open) {
                    self.read(key, offset);
                }
            }
        }
        let open = self.sequences.waiting() + self.under_way.len();
        assert_eq!(open, self.open.len());
        assert_eq!(self.sequences.len(), self.under_way.len(), "a sequence is there only while it is not empty");
    }
}

proptest! {
    #[test]
    fn each_sequence_starts_in_the_order_of_its_offsets(steps in prop::collection::vec(step(), 0..200)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        while !world.under_way.is_empty() {
            world.step(&Step::End(0));
        }
        prop_assert!(world.open.is_empty() && world.sequences.is_empty());
    }
}

#[test]
fn a_turn_that_is_dropped_keeps_its_sequence_where_it_is() {
    let mut sequences = Sequences::default();
    let (_, turn) = sequences.enter(7, 'a').unwrap();
    assert!(sequences.enter(7, 'b').is_none());
    assert_eq!((sequences.behind(7), sequences.waiting()), (1, 1));
    drop(turn);
    assert!(sequences.next_turn().is_none());
    let (other, _turn) = sequences.enter(8, 'c').unwrap();
    assert_eq!(other, 'c', "another sequence goes on");
}

#[test]
fn a_million_keys_one_after_the_other_leave_nothing() {
    let mut sequences = Sequences::default();
    for key in 0..1_000_000 {
        let (_, turn) = sequences.enter(key, ()).unwrap();
        turn.end();
        assert!(sequences.next_turn().is_none());
    }
    assert!(sequences.is_empty() && sequences.lines.capacity() < 100, "{}", sequences.lines.capacity());
}

fn event(key: Option<&[u8]>, members: &[(&str, Content<'_>)]) -> CloudEvent {
    let record = Record::new("t:0:0".parse().unwrap(), None, key, None, std::iter::empty());
    let mut event = Builder::new(&record, Form::Binary, "1", "/s", "t");
    members.iter().for_each(|(name, value)| event.push(name, *value));
    let parts = event.finish();
    CloudEvent::new(record, parts)
}

fn key(order: &Order, event: &CloudEvent) -> Option<String> {
    let document = Document::of(event);
    let key = order.key(event, &document).map(|key| String::from_utf8_lossy(&key).into_owned());
    assert_eq!(key.is_some(), order.sequence(event, &document).is_some());
    key
}

#[test]
fn the_key_is_the_attribute_else_that_of_the_record() {
    let order = Order::of(&Ordering::Key { path: None }).unwrap().unwrap();
    let of = |record: Option<&[u8]>, attribute: Option<Content<'_>>| {
        let members: Vec<_> = attribute.map(|value| ("partitionkey", value)).into_iter().collect();
        key(&order, &event(record, &members))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(Some(b"k"), Some(Content::Text("a"))), text("a"));
    assert_eq!(of(Some(b"k"), Some(Content::Json("\"a\""))), text("a"), "structured and binary alike");
    assert_eq!(of(Some(b"k"), Some(Content::Json("\"\""))), text("k"), "an empty one is none");
    assert_eq!(of(Some(b"k"), Some(Content::Json("null"))), text("k"));
    assert_eq!(of(Some(b"k"), None), text("k"));
    assert_eq!(of(Some(b""), None), text(""), "an empty key of a record is a key");
    assert_eq!(of(None, None), None);
}

#[test]
fn a_written_path_is_the_key_and_nothing_else_is() {
    let order = Order::of(&Ordering::Key { path: Some("$.data.customer".to_owned()) }).unwrap().unwrap();
    let of = |data: &str| key(&order, &event(Some(b"k"), &[("data", Content::Json(data))]));
    assert_eq!(of("{\"customer\":\"a\\u0062\"}").as_deref(), Some("ab"));
    assert_eq!(of("{\"customer\":17}").as_deref(), Some("17"));
    assert_eq!(of("{\"customer\":{ \"id\": 1 }}").as_deref(), Some("{\"id\":1}"));
    assert_eq!(of("{\"customer\":null}"), None);
    assert_eq!(of("{}"), None);
    assert!(Order::of(&Ordering::Key { path: Some("data".to_owned()) }).is_err());
}

#[test]
fn all_events_of_a_partition_are_one_sequence() {
    let order = Order::of(&Ordering::Partition).unwrap().unwrap();
    let sequence = |event: &CloudEvent| order.sequence(event, &Document::of(event)).unwrap();
    assert_eq!(sequence(&event(None, &[])), sequence(&event(Some(b"k"), &[])));
    assert!(Order::of(&Ordering::None).unwrap().is_none());
}
