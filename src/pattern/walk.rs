//! One forward walk over a document (event-patterns.md rules 5, 6, 23, 26). What no path leads to is skipped.

use super::index::keys::index;
use super::leaves::{Binding, Leaves, scalar};
use super::matcher::Scalar;
use super::trie::{Key, Place, Trie};
use crate::json::document::{Document, Value};
use crate::json::tape::{Node, Tape};
use crate::json::value::Json;
use crate::model::resources::Dialect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;

/// An object has a key twice, and its first value has been walked over.
#[derive(Debug)]
pub(super) struct Duplicate;

/// What a walk keeps in mind.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The elements that the walk is in.
    bindings: SmallVec<[Binding; 8]>,
    arrays: u32,
    /// Objects so far; the last one that had the key of a node.
    objects: u32,
    seen: Vec<u32>,
    /// Nodes that keys with dots led to, of all objects that the walk is in.
    dotted: Vec<u32>,
    /// For JSON of which no tape has been made.
    tape: Tape,
}

impl Memory {
    pub(super) fn restart(&mut self, trie: &Trie) {
        self.bindings.clear();
        self.dotted.clear();
        self.arrays = 0;
        self.seen.resize(trie.nodes(), 0);
    }

    /// The elements that the walk is in, from the outermost array inwards.
    pub(super) fn bindings(&self) -> &[Binding] {
        &self.bindings
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
) -> Result<(), Duplicate> {
    let (replaced, mode) = match (dialect, careful) {
        (Dialect::Aws, _) => (&*document.replaced, Duplicates::AllCount),
        (Dialect::Tidegate, false) => (&[][..], Duplicates::End),
        (Dialect::Tidegate, true) => (&[][..], Duplicates::LastCounts),
    };
    let mut from = 0;
    for member in document.members.iter().chain(replaced) {
        let Some((node, _)) = trie.step(Trie::ROOT, Key::of(&member.name)) else { continue };
        match &member.value {
            Value::Json(json) => {
                let noted = document.tape.and_then(|tape| Some((tape, tape.find(json.text(), &mut from)?)));
                if let Some((tape, at)) = noted {
                    Walk::new(*json, tape, at, trie, mode, leaves).begin(at, node)?;
                } else {
                    let mut tape = std::mem::take(&mut leaves.memory.tape);
                    tape.note(*json);
                    let walked = Walk::new(*json, &tape, 0, trie, mode, leaves).begin(0, node);
                    leaves.memory.tape = tape;
                    walked?;
                }
            }
            Value::Text(text) => push_text(trie, node, leaves, || Cow::Borrowed(text)),
            Value::Base64(bytes) => push_text(trie, node, leaves, || Cow::Owned(STANDARD.encode(bytes))),
        }
    }
    Ok(())
}

fn push_text<'d>(trie: &Trie, node: u32, leaves: &mut Leaves<'d>, text: impl FnOnce() -> Cow<'d, str>) {
    if let Some(path) = trie.path(node) {
        leaves.push(path, Scalar::Text(text()));
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
    ) -> Self {
        let nodes = tape.nodes();
        Self { text: json.text(), before: nodes.get(at).map_or(0, Node::start), nodes, trie, mode, leaves }
    }

    fn begin(&mut self, at: usize, place: u32) -> Result<(), Duplicate> {
        self.nodes.get(at).map_or(Ok(()), |node| self.value(at, node, place))
    }

    fn value(&mut self, at: usize, node: &Node, place: u32) -> Result<(), Duplicate> {
        match self.first(node) {
            b'{' => match self.mode {
                _ if !self.trie.leads_on(place) => Ok(()),
                Duplicates::LastCounts => self.careful_object(at, node, place),
                Duplicates::AllCount | Duplicates::End => self.object(at, node, place),
            },
            b'[' => self.array(at, node, place),
            first => {
                if let Some(path) = self.trie.path(place) {
                    self.scalar(path, first, node);
                }
                Ok(())
            }
        }
    }

    /// The first byte of a value.
    fn first(&self, node: &Node) -> u8 {
        self.text.as_bytes().get(node.start() - self.before).copied().unwrap_or_default()
    }

    fn scalar(&mut self, path: u32, first: u8, node: &Node) {
        let Some(text) = self.text.get(node.start() - self.before..node.end() - self.before) else { return };
        let value = match first {
            b'"' if node.is_escaped() => scalar(Json::trusted(text)),
            b'"' => Scalar::Text(Cow::Borrowed(text.get(1..text.len() - 1).unwrap_or_default())),
            b't' => Scalar::Bool(true),
            b'f' => Scalar::Bool(false),
            b'n' => Scalar::Null,
            _ => Scalar::Number(text),
        };
        self.leaves.push(path, value);
    }

    fn object(&mut self, at: usize, node: &Node, place: u32) -> Result<(), Duplicate> {
        let Some(from) = self.trie.place(place) else { return Ok(()) };
        self.leaves.memory.objects = self.leaves.memory.objects.wrapping_add(1);
        let object = self.leaves.memory.objects;
        let dotted = self.leaves.memory.dotted.len();
        let mut member = at + 1;
        while member < node.next() {
            let Some(value) = self.nodes.get(member) else { break };
            if let Some((child, has_dots)) = self.step(value, from) {
                if self.mode == Duplicates::End && self.is_again(child, has_dots, object, dotted) {
                    return Err(Duplicate);
                }
                self.value(member, value, child)?;
            }
            member = value.next();
        }
        self.leaves.memory.dotted.truncate(dotted);
        Ok(())
    }

    /// Whether the object has had that key before.
    fn is_again(&mut self, child: u32, has_dots: bool, object: u32, dotted: usize) -> bool {
        let memory = &mut self.leaves.memory;
        if has_dots {
            // No stamp on the node: a longer way through the object may lead there too, and leave another.
            let again = memory.dotted.get(dotted..).unwrap_or_default().contains(&child);
            memory.dotted.push(child);
            return again;
        }
        let Some(seen) = memory.seen.get_mut(index(child)) else { return false };
        std::mem::replace(seen, object) == object
    }

    fn careful_object(&mut self, at: usize, node: &Node, place: u32) -> Result<(), Duplicate> {
        let Some(from) = self.trie.place(place) else { return Ok(()) };
        let mut members: Vec<(u32, usize)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut at = at + 1;
        while at < node.next() {
            let Some(value) = self.nodes.get(at) else { break };
            if let Some((child, _)) = self.step(value, from) {
                let place = *places.entry(child).or_insert(members.len());
                match members.get_mut(place) {
                    Some(member) => member.1 = at,
                    None => members.push((child, at)),
                }
            }
            at = value.next();
        }
        members.into_iter().try_for_each(|(child, at)| self.begin(at, child))
    }

    /// The place that the key of a member leads to, and whether it is a key with dots. `from` is the place of the object.
    #[inline]
    fn step(&self, member: &Node, from: Place<'w>) -> Option<(u32, bool)> {
        let (start, end) = (member.key() - self.before, member.key_end() - self.before);
        if member.is_key_escaped() {
            return self.step_decoded(start, end, from);
        }
        self.trie.step_from(from, Key::within(self.text.as_bytes(), start, end))
    }

    #[cold]
    fn step_decoded(&self, start: usize, end: usize, from: Place<'w>) -> Option<(u32, bool)> {
        let quoted = self.text.get(start - 1..=end)?;
        self.trie.step_from(from, Key::of(&Json::trusted(quoted).as_str()?))
    }

    fn array(&mut self, at: usize, node: &Node, place: u32) -> Result<(), Duplicate> {
        if let Some(path) = self.trie.path(place) {
            // Scalars come before elements; without a container among them, one pass is all.
            let mut containers = false;
            let mut element = at + 1;
            while element < node.next() {
                let Some(value) = self.nodes.get(element) else { break };
                match self.first(value) {
                    b'{' | b'[' => containers = true,
                    first => self.scalar(path, first, value),
                }
                element = value.next();
            }
            if !containers {
                return Ok(());
            }
        }
        let array = self.leaves.memory.arrays;
        self.leaves.memory.arrays += 1;
        let mut at = at + 1;
        let mut element = 0;
        while at < node.next() {
            let Some(value) = self.nodes.get(at) else { break };
            if let b'{' | b'[' = self.first(value) {
                self.leaves.memory.bindings.push(Binding { array, element });
                self.value(at, value, place)?;
                self.leaves.memory.bindings.pop();
            }
            at = value.next();
            element += 1;
        }
        Ok(())
    }
}
