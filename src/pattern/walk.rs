//! One forward walk over a document (event-patterns.md rules 5, 6, 23, 26). What no path leads to is skipped.

use super::index::keys::index;
use super::leaves::{Binding, Leaves, scalar};
use super::matcher::Scalar;
use super::recall::{Cursor, Recall, Way};
use super::trie::{Key, Place, Trie};
use crate::json::document::{Document, Member, Origin, Value};
use crate::json::tape::{Node, Tape};
use crate::json::value::Json;
use crate::model::resources::Dialect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::collections::HashMap;

/// An object has a key twice, and its first value has been walked over.
#[derive(Debug)]
pub(super) struct Duplicate;

/// What a walk keeps in mind.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The elements that the walk is in.
    bindings: Vec<Binding>,
    arrays: u32,
    /// Objects so far; the last one that had the key of a node.
    objects: u32,
    seen: Vec<u32>,
    /// Nodes that keys with dots led to, of all objects that the walk is in.
    dotted: Vec<u32>,
    /// For JSON of which no tape has been made.
    tape: Tape,
    /// Where keys lead.
    recall: Recall,
}

impl Memory {
    fn restart(&mut self, trie: &Trie) {
        self.recall.restart(trie);
        self.bindings.clear();
        self.dotted.clear();
        self.arrays = 0;
        self.seen.resize(trie.nodes(), 0);
    }
}

/// Walks over a document. Of duplicate keys the last counts; `aws` sees all. Whether a key comes again is known only
/// at the end of its object, so the walk hopes for the best; `careful` walks look first.
pub(super) fn walk<'d>(
    document: &'d Document<'_>,
    trie: &Trie,
    dialect: Dialect,
    careful: bool,
    leaves: &mut Leaves<'d>,
    memory: &mut Memory,
) -> Result<(), Duplicate> {
    let mode = match (dialect, careful) {
        (Dialect::Aws, _) => Duplicates::AllCount,
        (Dialect::Tidegate, false) => Duplicates::End,
        (Dialect::Tidegate, true) => Duplicates::LastCounts,
    };
    memory.restart(trie);
    let Some(root) = trie.place(Trie::ROOT) else { return Ok(()) };
    match document.origin() {
        Origin::Text(json, tape) => Walk::new(json, tape, 0, trie, mode, leaves, memory).begin(0, Trie::ROOT),
        Origin::Event(event, tape) => {
            let mut from = 0;
            let replaced = event.replaced_places().take_while(|_| mode == Duplicates::AllCount);
            event.places().chain(replaced).try_for_each(|found| {
                let Some((place, _)) = trie.step_from(root, Key::new(found.name())) else { return Ok(()) };
                let value = Value::of(found.content());
                let noted = match (tape, found.node(), &value) {
                    (Some(tape), None, Value::Json(json)) => tape.find(json.text(), &mut from).map(|at| (tape, at)),
                    (tape, node, _) => tape.zip(node),
                };
                member(value, noted, trie, place, mode, leaves, memory)
            })
        }
        Origin::Members => {
            let replaced = document.replaced().iter().take_while(|_| mode == Duplicates::AllCount);
            document.members().iter().chain(replaced).try_for_each(|Member { name, value }| {
                let Some((place, _)) = trie.step_from(root, Key::of(name)) else { return Ok(()) };
                member(value.clone(), None, trie, place, mode, leaves, memory)
            })
        }
    }
}

/// Walks over the value of a top-level member. `noted` is its node and the tape that this is on.
fn member<'d>(
    value: Value<'d>,
    noted: Option<(&Tape, usize)>,
    trie: &Trie,
    place: u32,
    mode: Duplicates,
    leaves: &mut Leaves<'d>,
    memory: &mut Memory,
) -> Result<(), Duplicate> {
    match (value, noted) {
        (Value::Json(json), Some((tape, at))) => Walk::new(json, tape, at, trie, mode, leaves, memory).begin(at, place),
        (Value::Json(json), None) => {
            let mut tape = std::mem::take(&mut memory.tape);
            tape.note(json);
            let walked = Walk::new(json, &tape, 0, trie, mode, leaves, memory).begin(0, place);
            memory.tape = tape;
            walked
        }
        (Value::Text(text), _) => {
            push_text(trie, place, leaves, || Cow::Borrowed(text));
            Ok(())
        }
        (Value::Base64(bytes), _) => {
            push_text(trie, place, leaves, || Cow::Owned(STANDARD.encode(bytes)));
            Ok(())
        }
    }
}

#[inline(never)]
fn push_text<'d>(trie: &Trie, node: u32, leaves: &mut Leaves<'d>, text: impl FnOnce() -> Cow<'d, str>) {
    if let Some(path) = trie.path(node) {
        leaves.push(path, Scalar::Text(text()), &[]);
    }
}

/// What becomes of duplicate keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duplicates {
    AllCount,
    LastCounts,
    /// The walk is given up.
    End,
}

/// Goes over one value of the document.
struct Walk<'w, 'd> {
    text: &'d str,
    /// Where the value begins in the text that the nodes are about.
    before: usize,
    nodes: &'w [Node],
    trie: &'w Trie,
    mode: Duplicates,
    leaves: &'w mut Leaves<'d>,
    memory: &'w mut Memory,
}

impl<'w, 'd> Walk<'w, 'd> {
    /// `at` is the node of `json`.
    fn new(
        json: Json<'d>,
        tape: &'w Tape,
        at: usize,
        trie: &'w Trie,
        mode: Duplicates,
        leaves: &'w mut Leaves<'d>,
        memory: &'w mut Memory,
    ) -> Self {
        let nodes = tape.nodes();
        Self { text: json.text(), before: nodes.get(at).map_or(0, Node::start), nodes, trie, mode, leaves, memory }
    }

    fn begin(&mut self, at: usize, place: u32) -> Result<(), Duplicate> {
        let Some(node) = self.nodes.get(at) else { return Ok(()) };
        self.value(at, node, Way::of(self.trie, Some((place, false))))
    }

    #[inline(always)]
    fn value(&mut self, at: usize, node: &Node, way: Way) -> Result<(), Duplicate> {
        if node.next() > at + 1 {
            let Some(place) = self.trie.place(way.node()) else { return Ok(()) };
            return self.container(at, node, place);
        }
        if let Some(path) = way.path() {
            self.scalar(path, node);
        }
        Ok(())
    }

    #[inline(never)]
    fn container(&mut self, at: usize, node: &Node, place: Place<'w>) -> Result<(), Duplicate> {
        if self.first(node) == b'[' {
            return self.array(at, node, place);
        }
        match self.mode {
            _ if !place.leads_on() => Ok(()),
            Duplicates::LastCounts => self.careful_object(at, node, place),
            Duplicates::AllCount | Duplicates::End => self.object(at, node, place),
        }
    }

    /// The first byte of a value.
    #[inline]
    fn first(&self, node: &Node) -> u8 {
        self.text.as_bytes().get(node.start() - self.before).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn scalar(&mut self, path: u32, node: &Node) {
        let (start, end) = (node.start() - self.before, node.end() - self.before);
        let first = self.first(node);
        if first != b'"' || node.is_escaped() {
            return self.other_scalar(path, first, node);
        }
        let text = self.text.get(start + 1..end - 1).unwrap_or_default();
        self.leaves.push(path, Scalar::Text(Cow::Borrowed(text)), &self.memory.bindings);
    }

    /// Any but a text without escapes.
    #[inline(never)]
    fn other_scalar(&mut self, path: u32, first: u8, node: &Node) {
        let (start, end) = (node.start() - self.before, node.end() - self.before);
        let value = match first {
            b'"' => self.decoded(start, end),
            b't' => Scalar::Bool(true),
            b'f' => Scalar::Bool(false),
            b'n' => Scalar::Null,
            // There is nothing in it.
            b'{' | b'[' => return,
            _ => Scalar::Number(self.text.get(start..end).unwrap_or_default()),
        };
        self.leaves.push(path, value, &self.memory.bindings);
    }

    #[cold]
    #[inline(never)]
    fn decoded(&self, start: usize, end: usize) -> Scalar<'d> {
        self.text.get(start..end).map_or(Scalar::Null, |text| scalar(Json::trusted(text)))
    }

    #[inline(always)]
    fn object(&mut self, at: usize, node: &Node, from: Place<'w>) -> Result<(), Duplicate> {
        let memory = &mut *self.memory;
        memory.objects = memory.objects.wrapping_add(1);
        let (object, dotted) = (memory.objects, memory.dotted.len());
        let mut cursor = memory.recall.enter(from.number());
        let (mut at, end) = (at + 1, node.next());
        while at < end {
            let Some(member) = self.nodes.get(at) else { break };
            let way = self.recall(&mut cursor, member, from);
            if !way.is_nowhere() {
                if self.mode == Duplicates::End && self.is_again(way, object, dotted) {
                    return Err(Duplicate);
                }
                self.value(at, member, way)?;
            }
            at = member.next();
        }
        self.memory.dotted.truncate(dotted);
        self.memory.recall.leave(&cursor);
        Ok(())
    }

    /// Whether the object has had that key before.
    #[inline]
    fn is_again(&mut self, way: Way, object: u32, dotted: usize) -> bool {
        let memory = &mut *self.memory;
        let child = way.node();
        if way.has_dots() {
            // No stamp on the node: a longer way through the object may lead there too, and leave another.
            let again = memory.dotted.get(dotted..).unwrap_or_default().contains(&child);
            memory.dotted.push(child);
            return again;
        }
        let Some(seen) = memory.seen.get_mut(index(child)) else { return false };
        std::mem::replace(seen, object) == object
    }

    #[cold]
    #[inline(never)]
    fn careful_object(&mut self, at: usize, node: &Node, from: Place<'w>) -> Result<(), Duplicate> {
        let mut members: Vec<(Way, usize)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut at = at + 1;
        while at < node.next() {
            let Some(value) = self.nodes.get(at) else { break };
            let way = self.step(value, from);
            if !way.is_nowhere() {
                let place = *places.entry(way.node()).or_insert(members.len());
                match members.get_mut(place) {
                    Some(member) => member.1 = at,
                    None => members.push((way, at)),
                }
            }
            at = value.next();
        }
        for (way, at) in members {
            let Some(node) = self.nodes.get(at) else { break };
            self.value(at, node, way)?;
        }
        Ok(())
    }

    /// [`Self::step`], if possible without a search.
    #[inline(always)]
    fn recall(&mut self, cursor: &mut Cursor, member: &Node, from: Place<'w>) -> Way {
        // A key with escapes is no other: there is none in those that are known.
        match self.memory.recall.get(cursor, self.text.as_bytes(), member.key() - self.before) {
            Some(way) => way,
            None => self.search(cursor, member, from),
        }
    }

    #[inline(never)]
    fn search(&mut self, cursor: &mut Cursor, member: &Node, from: Place<'w>) -> Way {
        let (start, end) = (member.key() - self.before, member.key_end() - self.before);
        let text = self.text.as_bytes();
        if let Some(way) = self.memory.recall.get_ahead(cursor, text, start) {
            return way;
        }
        let way = self.step(member, from);
        let key = if member.is_key_escaped() { None } else { text.get(start..end) };
        self.memory.recall.put(cursor, key, way);
        way
    }

    /// Where the key of a member leads. `from` is the place of the object.
    fn step(&self, member: &Node, from: Place<'w>) -> Way {
        let (start, end) = (member.key() - self.before, member.key_end() - self.before);
        let step = if member.is_key_escaped() {
            self.step_decoded(start, end, from)
        } else {
            self.trie.step_from(from, Key::within(self.text.as_bytes(), start, end))
        };
        Way::of(self.trie, step)
    }

    #[cold]
    #[inline(never)]
    fn step_decoded(&self, start: usize, end: usize, from: Place<'w>) -> Option<(u32, bool)> {
        let quoted = self.text.get(start - 1..=end)?;
        self.trie.step_from(from, Key::of(&Json::trusted(quoted).as_str()?))
    }

    fn array(&mut self, at: usize, node: &Node, place: Place<'w>) -> Result<(), Duplicate> {
        if let Some(path) = place.path() {
            // Scalars come before elements; without a container among them, one pass is all.
            let mut containers = false;
            let mut element = at + 1;
            while element < node.next() {
                let Some(value) = self.nodes.get(element) else { break };
                if value.next() > element + 1 {
                    containers = true;
                } else {
                    self.scalar(path, value);
                }
                element = value.next();
            }
            if !containers {
                return Ok(());
            }
        }
        let array = self.memory.arrays;
        self.memory.arrays += 1;
        let mut at = at + 1;
        let mut element = 0;
        while at < node.next() {
            let Some(value) = self.nodes.get(at) else { break };
            if value.next() > at + 1 {
                self.memory.bindings.push(Binding { array, element });
                self.container(at, value, place)?;
                self.memory.bindings.pop();
            }
            at = value.next();
            element += 1;
        }
        Ok(())
    }
}
