//! What a check remembers of the values that it has passed: which containers are open, and perhaps where they all lie.

use super::stops::Span;
use crate::json::tape::{ESCAPED, Node};
use smallvec::SmallVec;

/// Is told of every value as it is checked, and must know what the open containers are.
pub(super) trait Notes {
    /// What is kept of the key of a member until its value is known; for what is no member, the default.
    type Key: Copy + Default;

    /// The string that is a key.
    fn key(span: Span) -> Self::Key;

    /// A value that is no container.
    fn scalar(&mut self, key: Self::Key, value: Span);

    /// A container begins.
    fn open(&mut self, key: Self::Key, start: usize, object: bool);

    /// The innermost container has ended; gives whether what it is in is an object.
    fn close(&mut self, end: usize) -> bool;
}

/// Remembers only which containers are open, a bit for each: set for an object. Most texts are nested less deep than a
/// word is wide, and then nothing is allocated.
#[derive(Default)]
pub(super) struct Open {
    depth: usize,
    /// The innermost up to 64, the last in bit 0.
    word: u64,
    /// The words before it.
    full: SmallVec<[u64; 8]>,
}

impl Notes for Open {
    type Key = ();

    #[inline]
    fn key(_: Span) {}

    #[inline]
    fn scalar(&mut self, (): (), _: Span) {}

    #[inline]
    fn open(&mut self, (): (), _: usize, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn close(&mut self, _: usize) -> bool {
        self.word >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.full.pop().unwrap_or_default();
        }
        self.word & 1 == 1
    }
}

/// The longest text of which places can be noted.
pub(super) const MAX_NOTED: usize = (1 << 31) - 2;

/// Where a key lies between its quotes.
#[derive(Clone, Copy, Default)]
pub(super) struct Quotes {
    start: u32,
    /// See [`ESCAPED`].
    end: u32,
}

/// Notes all values. Containers that are open are linked by their nodes.
pub(super) struct Noted<'n> {
    nodes: &'n mut Vec<Node>,
    /// The innermost container; far beyond the nodes if there is none.
    inside: u32,
}

impl<'n> Noted<'n> {
    pub(super) fn new(nodes: &'n mut Vec<Node>) -> Self {
        Self { nodes, inside: u32::MAX }
    }
}

impl Notes for Noted<'_> {
    type Key = Quotes;

    /// What stands between the quotes.
    #[inline]
    fn key(span: Span) -> Quotes {
        Quotes { start: narrow(span.start + 1), end: narrow(span.end - 1) | flag(span.escaped) }
    }

    #[inline]
    fn scalar(&mut self, key: Quotes, value: Span) {
        let next = narrow(self.nodes.len() + 1);
        let end = narrow(value.end) | flag(value.escaped);
        self.nodes.push(Node { key: key.start, key_end: key.end, start: narrow(value.start), end, next });
    }

    #[inline]
    fn open(&mut self, key: Quotes, start: usize, object: bool) {
        let (start, end) = (narrow(start), u32::from(object));
        let node = Node { key: key.start, key_end: key.end, start, end, next: self.inside };
        self.inside = narrow(self.nodes.len());
        self.nodes.push(node);
    }

    #[inline]
    fn close(&mut self, end: usize) -> bool {
        let after = narrow(self.nodes.len());
        let Some(node) = self.nodes.get_mut(wide(self.inside)) else { return false };
        self.inside = std::mem::replace(&mut node.next, after);
        node.end = narrow(end);
        self.nodes.get(wide(self.inside)).is_some_and(|node| node.end == 1)
    }
}

#[inline]
fn flag(escaped: bool) -> u32 {
    if escaped { ESCAPED } else { 0 }
}

/// A place in a text that is no longer than [`MAX_NOTED`].
#[inline]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "texts are shorter than 2 GiB")]
fn narrow(place: usize) -> u32 {
    place as u32
}

#[inline]
fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
