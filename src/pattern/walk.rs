//! One forward walk over a document (event-patterns.md rules 5, 6, 23, 26). What no path leads to is skipped.

use super::index::keys::index;
use super::leaves::{Binding, Leaves, scalar};
use super::matcher::Scalar;
use super::trie::Trie;
use crate::json::document::{Document, Value};
use crate::json::scan::{skip_space, skip_string, skip_value};
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
    for member in document.members.iter().chain(replaced) {
        let Some(node) = trie.step(Trie::ROOT, &member.name) else { continue };
        match &member.value {
            Value::Json(json) => {
                Walk { text: json.text(), trie, mode, leaves }.value(0, node)?;
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

struct Walk<'w, 'd> {
    text: &'d str,
    trie: &'w Trie,
    mode: Duplicates,
    leaves: &'w mut Leaves<'d>,
}

impl<'d> Walk<'_, 'd> {
    /// Walks over the value at `at`; gives its end.
    fn value(&mut self, at: usize, node: u32) -> Result<usize, Duplicate> {
        let bytes = self.text.as_bytes();
        let path = self.trie.path(node);
        match bytes.get(at) {
            Some(b'{') => match self.mode {
                _ if !self.trie.leads_on(node) => Ok(skip_value(bytes, at)),
                Duplicates::LastCounts => self.careful_object(at, node),
                Duplicates::AllCount | Duplicates::End => self.object(at, node),
            },
            Some(b'[') => self.array(at, node, path),
            _ => {
                let end = skip_value(bytes, at);
                if let (Some(path), Some(text)) = (path, self.text.get(at..end)) {
                    self.leaves.push(path, scalar(Json::trusted(text)));
                }
                Ok(end)
            }
        }
    }

    fn object(&mut self, at: usize, node: u32) -> Result<usize, Duplicate> {
        let bytes = self.text.as_bytes();
        self.leaves.memory.objects = self.leaves.memory.objects.wrapping_add(1);
        let object = self.leaves.memory.objects;
        let dotted = self.leaves.memory.dotted.len();
        let mut at = skip_space(bytes, at + 1);
        while bytes.get(at) == Some(&b'"') {
            let (start, child) = self.key(at, node);
            at = match child {
                None => skip_value(bytes, start),
                Some((child, has_dots)) => {
                    if self.mode == Duplicates::End && self.is_again(child, has_dots, object, dotted) {
                        return Err(Duplicate);
                    }
                    self.value(start, child)?
                }
            };
            at = after_comma(bytes, at);
        }
        self.leaves.memory.dotted.truncate(dotted);
        Ok(at + 1)
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

    fn careful_object(&mut self, at: usize, node: u32) -> Result<usize, Duplicate> {
        let bytes = self.text.as_bytes();
        let mut members: Vec<(u32, usize)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut at = skip_space(bytes, at + 1);
        while bytes.get(at) == Some(&b'"') {
            let (start, child) = self.key(at, node);
            if let Some((child, _)) = child {
                let place = *places.entry(child).or_insert(members.len());
                match members.get_mut(place) {
                    Some(member) => member.1 = start,
                    None => members.push((child, start)),
                }
            }
            at = after_comma(bytes, skip_value(bytes, start));
        }
        for (child, start) in members {
            self.value(start, child)?;
        }
        Ok(at + 1)
    }

    /// Where the value of the key at `at` begins, and the node that the key leads to, perhaps by a key with dots.
    fn key(&self, at: usize, node: u32) -> (usize, Option<(u32, bool)>) {
        let bytes = self.text.as_bytes();
        let end = skip_string(bytes, at);
        let start = skip_space(bytes, skip_space(bytes, end) + 1);
        let raw = self.text.get(at + 1..end - 1).unwrap_or_default();
        let step = |key: &str| self.trie.step(node, key).map(|child| (child, key.contains('.')));
        let child = if raw.as_bytes().contains(&b'\\') {
            let quoted = self.text.get(at..end).and_then(|text| Json::trusted(text).as_str());
            quoted.and_then(|key| step(&key))
        } else {
            step(raw)
        };
        (start, child)
    }

    fn array(&mut self, at: usize, node: u32, path: Option<u32>) -> Result<usize, Duplicate> {
        let bytes = self.text.as_bytes();
        let first = skip_space(bytes, at + 1);
        if let Some(path) = path {
            // Scalars come before elements; without a container among them, one pass is all.
            let mut containers = false;
            let mut at = first;
            while !matches!(bytes.get(at), None | Some(b']')) {
                let end = skip_value(bytes, at);
                if is_container(bytes, at) {
                    containers = true;
                } else if let Some(text) = self.text.get(at..end) {
                    self.leaves.push(path, scalar(Json::trusted(text)));
                }
                at = after_comma(bytes, end);
            }
            if !containers {
                return Ok(at + 1);
            }
        }
        let array = self.leaves.memory.arrays;
        self.leaves.memory.arrays += 1;
        let mut at = first;
        let mut element = 0;
        while !matches!(bytes.get(at), None | Some(b']')) {
            let end = if is_container(bytes, at) {
                self.leaves.memory.bindings.push(Binding { array, element });
                let end = self.value(at, node)?;
                self.leaves.memory.bindings.pop();
                end
            } else {
                skip_value(bytes, at)
            };
            at = after_comma(bytes, end);
            element += 1;
        }
        Ok(at + 1)
    }
}

fn is_container(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b'{' | b'['))
}

fn after_comma(bytes: &[u8], end: usize) -> usize {
    let at = skip_space(bytes, end);
    if bytes.get(at) == Some(&b',') { skip_space(bytes, at + 1) } else { at }
}
