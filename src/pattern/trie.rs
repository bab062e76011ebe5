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
    /// A bit for each first byte, modulo 64, of the pieces that lead on: a key that begins otherwise leads nowhere.
    begins: u64,
    /// A bit for each length, modulo 64, of these pieces.
    lengths: u64,
    /// Some path goes on for two pieces or more, so that a key with dots may be on it.
    deep: bool,
    /// The pieces that lead on if they are few: then looking at each is quicker than `edges`.
    few: Vec<Edge>,
}

/// A node of a trie, at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    number: u32,
    node: &'t Node,
}

/// More pieces than this at one node are looked up in a table.
const FEW: usize = 8;

/// From one node to the next.
#[derive(Debug, Clone)]
struct Edge {
    len: usize,
    /// See [`Key`].
    head: u64,
    /// The head of a key that begins with this piece and a dot, in these of its bits.
    dotted: u64,
    dotted_bits: u64,
    piece: Box<[u8]>,
    next: u32,
}

impl Edge {
    fn new(piece: &str, key: Key<'_>, next: u32) -> Self {
        let (dotted, dotted_bits) = match piece.len() {
            len @ 0..8 => (key.head | u64::from(b'.') << (8 * len), u64::MAX >> (56 - 8 * len)),
            8.. => (key.head, u64::MAX),
        };
        Self { len: piece.len(), head: key.head, dotted, dotted_bits, piece: piece.as_bytes().into(), next }
    }
}

/// A key of the event, or a piece of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'t> {
    bytes: &'t [u8],
    /// Its first eight bytes, the first one lowest; zeros if there are less.
    head: u64,
}

impl<'t> Key<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let at = |at: usize| u64::from(bytes.get(at).copied().unwrap_or_default()) << (8 * at);
        let head = match (bytes.first_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
            (Some(word), _, _) => u64::from_le_bytes(*word),
            (None, Some(first), Some(last)) => {
                let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
                u64::from(u32::from_le_bytes(*first)) | last
            }
            (None, _, _) => at(0) | at(1) | at(2),
        };
        Self { bytes, head }
    }

    /// The key that stands in a text.
    #[inline]
    pub(super) fn within(text: &'t [u8], start: usize, end: usize) -> Self {
        let bytes = text.get(start..end).unwrap_or_default();
        let head = match text.get(start..).and_then(<[u8]>::first_chunk) {
            Some(word) if bytes.len() >= 8 => u64::from_le_bytes(*word),
            Some(word) => u64::from_le_bytes(*word) & ((1 << (8 * bytes.len())) - 1),
            None => bytes.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
        };
        Self { bytes, head }
    }

    /// The bit of the first byte; an empty piece stands before a dot, or alone.
    #[inline]
    fn first_bit(self) -> u64 {
        1 << (if self.bytes.is_empty() { u64::from(b'.') } else { self.head } % 64)
    }
}

impl Node {
    /// Whether a key may begin with a piece that leads on, and a dot.
    #[inline]
    fn may_divide(&self, key: Key<'_>) -> bool {
        let begins = |edge: &Edge| key.head & edge.dotted_bits == edge.dotted;
        self.few.len() > FEW || self.few.iter().any(begins)
    }

    fn new() -> Self {
        Self { path: NONE, begins: 0, lengths: 0, deep: false, few: Vec::new() }
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
                    node.few.push(Edge::new(piece, key, next));
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
    #[inline]
    pub(super) fn step_from(&self, Place { number, node }: Place<'_>, key: Key<'_>) -> Option<(u32, bool)> {
        if node.begins & key.first_bit() == 0 {
            return None;
        }
        if node.lengths & length_bit(key.bytes.len()) != 0
            && let Some(next) = self.piece(number, node, key)
        {
            return Some((next, false));
        }
        if node.deep && node.may_divide(key) { self.pieces(number, key) } else { None }
    }

    #[inline]
    fn piece(&self, node: u32, from: &Node, key: Key<'_>) -> Option<u32> {
        if from.few.len() > FEW {
            return self.edges.get(pair(node, 0), key.bytes);
        }
        let is_it = |edge: &&Edge| {
            edge.head == key.head && edge.len == key.bytes.len() && (edge.len <= 8 || *edge.piece == *key.bytes)
        };
        from.few.iter().find(is_it).map(|edge| edge.next)
    }

    /// The node that the pieces of a key with dots lead to.
    #[inline(never)]
    fn pieces(&self, node: u32, key: Key<'_>) -> Option<(u32, bool)> {
        if !key.bytes.contains(&b'.') {
            return None;
        }
        let mut pieces = key.bytes.split(|byte| *byte == b'.');
        pieces.try_fold(node, |node, piece| self.edges.get(pair(node, 0), piece)).map(|node| (node, true))
    }

    /// The path that ends at a node.
    pub(super) fn path(&self, node: u32) -> Option<u32> {
        self.nodes.get(index(node)).map(|node| node.path).filter(|path| *path != NONE)
    }

    /// Whether paths lead on from a node.
    pub(super) fn leads_on(&self, node: u32) -> bool {
        self.nodes.get(index(node)).is_some_and(|node| node.lengths != 0)
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
