//! The paths that patterns name, as a trie of keys: one walk over a document finds them all.
//!
//! A path is cut at its dots (event-patterns.md rule 6). A key of the event is cut in the same way, so `{"a.b":1}` and
//! `{"a":{"b":1}}` lead to the same node.

use super::index::keys::{Keys, index, pair};

/// Not the end of a path.
const NONE: u32 = u32::MAX;

/// The trie. Paths are numbered from 0 in the order of their insertion.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// From a node and a piece of a path to the next node.
    edges: Keys,
    paths: u32,
}

#[derive(Debug, Clone)]
struct Node {
    /// The path that ends here.
    path: u32,
    /// Some path goes on for two pieces or more, so that a key with dots may be on it.
    deep: bool,
    /// A bit for each first byte, modulo 64, of the pieces that lead on: a key that begins otherwise leads nowhere.
    begins: u64,
    /// A bit for each length, modulo 64, of these pieces.
    lengths: u64,
    /// The pieces that lead on if they are few: then looking at each is quicker than `edges`.
    few: Vec<Edge>,
}

/// A node of a trie, at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    number: u32,
    node: &'t Node,
}

impl Place<'_> {
    /// The path that ends here.
    #[inline]
    pub(super) fn path(self) -> Option<u32> {
        Some(self.node.path).filter(|path| *path != NONE)
    }

    /// Whether paths lead on from here.
    #[inline]
    pub(super) fn leads_on(self) -> bool {
        self.node.lengths != 0
    }
}

/// More pieces than this at one node are looked up in a table.
const FEW: usize = 8;

/// From one node to the next.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// See [`Key::head`].
    head: u64,
    /// Of the piece. The bytes of one that is longer than its head are those in `edges`.
    len: u32,
    next: u32,
}

/// A key of the event, or a piece of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'t> {
    /// From where it begins, perhaps to behind its end.
    text: &'t [u8],
    len: usize,
}

impl<'t> Key<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self::new(text.as_bytes())
    }

    /// Of the bytes of a text.
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, len: text.len() }
    }

    /// The key that stands in a text.
    #[inline]
    pub(super) fn within(text: &'t [u8], start: usize, end: usize) -> Self {
        Self { text: text.get(start..).unwrap_or_default(), len: end.saturating_sub(start) }
    }

    fn bytes(self) -> &'t [u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// Its first eight bytes, the first one lowest; zeros if there are less.
    #[inline]
    fn head(self) -> u64 {
        match self.text.first_chunk() {
            Some(word) if self.len >= 8 => u64::from_le_bytes(*word),
            Some(word) => u64::from_le_bytes(*word) & ((1 << (8 * self.len)) - 1),
            None => short_head(self.bytes()),
        }
    }

    /// The bit of the first byte. An empty piece stands before a dot, or alone; then what follows is no part of it.
    #[inline]
    fn first_bit(self) -> u64 {
        let first = if self.len == 0 { b'.' } else { self.text.first().copied().unwrap_or_default() };
        1 << (first % 64)
    }
}

/// The head of a key of less than eight bytes at the end of a text.
#[inline(never)]
fn short_head(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    bytes.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// Whether there may be a dot in a key. `head` is that of the key.
#[inline]
fn may_have_dots(head: u64, len: usize) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const DOTS: u64 = u64::from_ne_bytes([b'.'; 8]);
    let others = head ^ DOTS;
    len > 8 || others.wrapping_sub(ONES) & !others & HIGH != 0
}

impl Node {
    /// Whether a key with this head may begin with a piece that leads on, and a dot.
    #[inline]
    fn may_divide(&self, head: u64) -> bool {
        self.few.iter().any(|edge| match edge.len {
            // After the head of a piece there are zeros.
            len @ 0..8 => (head ^ edge.head) << (56 - 8 * len) == u64::from(b'.') << 56,
            8.. => head == edge.head,
        })
    }

    fn new() -> Self {
        Self { path: NONE, deep: false, begins: 0, lengths: 0, few: Vec::new() }
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::new()], edges: Keys::default(), paths: 0 }
    }
}

impl Trie {
    /// The node where every path begins.
    pub(super) const ROOT: u32 = 0;

    /// The number of a path, new or known.
    pub(super) fn insert(&mut self, path: &str) -> u32 {
        let mut node = Self::ROOT;
        let mut before = None;
        for piece in path.split('.') {
            if let Some(before) = before.and_then(|node| self.nodes.get_mut(index(node))) {
                before.deep = true;
            }
            before = Some(node);
            let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            let next = self.edges.get_or_insert(pair(node, 0), piece.as_bytes(), new);
            if next == new {
                self.nodes.push(Node::new());
            }
            if let Some(node) = self.nodes.get_mut(index(node)) {
                let key = Key::of(piece);
                node.begins |= key.first_bit();
                node.lengths |= length_bit(piece.len());
                if next == new && node.few.len() <= FEW {
                    node.few.push(Edge { head: key.head(), len: u32::try_from(piece.len()).unwrap_or(NONE), next });
                }
            }
            node = next;
        }
        let Some(node) = self.nodes.get_mut(index(node)) else { return NONE };
        if node.path == NONE {
            node.path = self.paths;
            self.paths += 1;
        }
        node.path
    }

    /// The number of a path.
    pub(super) fn find(&self, path: &str) -> Option<u32> {
        self.path(self.step(Self::ROOT, Key::of(path))?.0)
    }

    /// The node that a key of the event leads to, and whether its dots led there.
    pub(super) fn step(&self, node: u32, key: Key<'_>) -> Option<(u32, bool)> {
        self.step_from(self.place(node)?, key)
    }

    /// A node at hand, for many steps from it.
    #[inline]
    pub(super) fn place(&self, number: u32) -> Option<Place<'_>> {
        self.nodes.get(index(number)).map(|node| Place { number, node })
    }

    /// [`Self::step`] from a node at hand.
    #[inline(always)]
    pub(super) fn step_from(&self, Place { number, node }: Place<'_>, key: Key<'_>) -> Option<(u32, bool)> {
        let begins = node.begins & key.first_bit() != 0;
        let known_length = node.lengths & length_bit(key.len) != 0;
        if !begins || !(known_length || node.deep) {
            return None;
        }
        let head = key.head();
        if node.few.len() <= FEW {
            let is_it = |edge: &&Edge| edge.head == head && index(edge.len) == key.len;
            match node.few.iter().find(is_it) {
                Some(edge) if key.len <= 8 => return Some((edge.next, false)),
                Some(_) => {}
                None if node.deep && may_have_dots(head, key.len) && node.may_divide(head) => {}
                None => return None,
            }
        }
        self.look_up(number, node.deep, key)
    }

    /// The node that a key leads to by the table of all edges.
    #[inline(never)]
    fn look_up(&self, node: u32, deep: bool, key: Key<'_>) -> Option<(u32, bool)> {
        match self.edges.get(pair(node, 0), key.bytes()) {
            Some(next) => Some((next, false)),
            None if deep => self.pieces(node, key),
            None => None,
        }
    }

    /// The node that the pieces of a key with dots lead to.
    fn pieces(&self, node: u32, key: Key<'_>) -> Option<(u32, bool)> {
        let bytes = key.bytes();
        if !bytes.contains(&b'.') {
            return None;
        }
        let mut pieces = bytes.split(|byte| *byte == b'.');
        pieces.try_fold(node, |node, piece| self.edges.get(pair(node, 0), piece)).map(|node| (node, true))
    }

    /// The path that ends at a node.
    pub(super) fn path(&self, node: u32) -> Option<u32> {
        self.place(node)?.path()
    }

    /// The number of paths.
    pub(super) fn paths(&self) -> usize {
        index(self.paths)
    }

    /// The number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.edges.shrink();
    }
}

fn length_bit(len: usize) -> u64 {
    1 << (len % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_keys_and_empty_keys() {
        let mut trie = Trie::default();
        let paths: Vec<u32> = ["a.b.c", "a", "a.", "", "..", "a.b.c"].map(|path| trie.insert(path)).to_vec();
        assert_eq!(paths, [0, 1, 2, 3, 4, 0]);
        let walk = |keys: &[&str]| {
            let node =
                keys.iter().try_fold(Trie::ROOT, |node, key| trie.step(node, Key::of(key)).map(|(node, _)| node))?;
            trie.path(node)
        };
        for keys in [&["a", "b", "c"][..], &["a.b", "c"], &["a", "b.c"], &["a.b.c"]] {
            assert_eq!(walk(keys), Some(0), "{keys:?}");
        }
        assert_eq!((walk(&["a"]), walk(&["a", ""]), walk(&["a."])), (Some(1), Some(2), Some(2)));
        assert_eq!((walk(&[""]), walk(&["", "", ""]), walk(&[".", ""])), (Some(3), Some(4), Some(4)));
        assert_eq!((walk(&["a", "b"]), walk(&["b"]), walk(&[]), walk(&["a.b.c", "d"])), (None, None, None, None));
        assert_eq!((trie.find("a."), trie.find("a.b"), trie.paths()), (Some(2), None, 5));
    }
}
