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
    /// The pieces that lead on are too many for `table`; they are in [`Trie::edges`] only.
    many: bool,
    /// A bit for each first byte, modulo 64, of the pieces that lead on: a key that begins otherwise leads nowhere.
    /// An empty piece stands before a dot, or alone: before a quote.
    begins: u64,
    /// The pieces that lead on, each in the slot that its head chooses.
    table: Vec<Edge>,
    /// The head times this, without so many bits, chooses the slot.
    factor: u64,
    shift: u32,
}

/// A node of a trie, at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    number: u32,
    node: &'t Node,
}

impl Place<'_> {
    /// The number of the node.
    #[inline]
    pub(super) fn number(self) -> u32 {
        self.number
    }

    /// The path that ends here.
    #[inline]
    pub(super) fn path(self) -> Option<u32> {
        Some(self.node.path).filter(|path| *path != NONE)
    }

    /// Whether paths lead on from here.
    #[inline]
    pub(super) fn leads_on(self) -> bool {
        self.node.begins != 0
    }
}

/// More pieces than this at one node are looked up in the table of all nodes.
const FEW: usize = 12;

/// Slots of a node at most, as a power of two.
const MOST_BITS: u32 = 6;

/// From one node to the next.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// See [`Key::head`].
    head: u64,
    /// See [`Key::tail`].
    tail: u64,
    /// Of the piece.
    len: u32,
    next: u32,
}

impl Edge {
    /// No key is that long.
    const NONE: Self = Self { head: 0, tail: 0, len: NONE, next: NONE };

    /// Whether it is that of a key of this head, if the key is no longer than its head and tail together.
    #[inline]
    fn is(&self, key: Key<'_>, head: u64) -> bool {
        self.head == head && index(self.len) == key.len && (key.len <= 8 || self.tail == key.tail())
    }
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

    /// Its last eight bytes, if there are so many.
    #[inline]
    fn tail(self) -> u64 {
        let tail = self.len.checked_sub(8).and_then(|at| self.text.get(at..)?.first_chunk());
        tail.map_or(0, |word| u64::from_le_bytes(*word))
    }

    /// The bit of the first byte. What follows an empty key is its quote, or nothing.
    #[inline]
    fn first_bit(self) -> u64 {
        first_bit(self.text.first().copied().unwrap_or(b'"'))
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
    fn new() -> Self {
        let table = vec![Edge::NONE; 2];
        Self { path: NONE, deep: false, many: false, begins: 0, table, factor: 1, shift: 63 }
    }

    /// The edges.
    fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.table.iter().filter(|edge| edge.len != NONE)
    }

    /// The edge that a head chooses; it may be that of another.
    #[inline]
    fn edge(&self, head: u64) -> Option<&Edge> {
        self.table.get(usize::try_from(head.wrapping_mul(self.factor) >> self.shift).unwrap_or_default())
    }

    /// Adds a piece that is new.
    fn insert(&mut self, new: Edge) {
        let edges: Vec<Edge> = self.edges().copied().chain([new]).collect();
        let found = if self.many || edges.len() > FEW { None } else { arrange(&edges) };
        self.many = found.is_none();
        (self.table, self.factor, self.shift) = found.unwrap_or_default();
    }

    /// Whether a key with this head may begin with a piece that leads on, and a dot.
    fn may_divide(&self, head: u64) -> bool {
        self.edges().any(|edge| match edge.len {
            // After the head of a piece there are zeros.
            len @ 0..8 => (head ^ edge.head) << (56 - 8 * len) == u64::from(b'.') << 56,
            8.. => head == edge.head,
        })
    }
}

/// A table with a slot for each edge, and what chooses it: tried until no two want the same. Pieces come from rules, not
/// from events; for those that no table has room for, there is the one of all nodes.
fn arrange(edges: &[Edge]) -> Option<(Vec<Edge>, u64, u32)> {
    (1..=MOST_BITS).filter(|bits| edges.len() <= 1 << bits).find_map(|bits| {
        let (size, shift) = (1_usize << bits, u64::BITS - bits);
        let mut factor = 0x9e37_79b9_7f4a_7c15_u64;
        (0..32).find_map(|_| {
            factor = factor.wrapping_mul(0xd134_2543_de82_ef95) | 1;
            let mut table = vec![Edge::NONE; size];
            for edge in edges {
                let slot = table.get_mut(usize::try_from(edge.head.wrapping_mul(factor) >> shift).ok()?)?;
                if slot.len != NONE {
                    return None;
                }
                *slot = *edge;
            }
            Some((table, factor, shift))
        })
    })
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
            if let Some(node) = self.nodes.get_mut(index(node)).filter(|_| next == new) {
                let key = Key::of(piece);
                node.begins |= if piece.is_empty() { first_bit(b'.') | first_bit(b'"') } else { key.first_bit() };
                let len = u32::try_from(piece.len()).unwrap_or(NONE);
                node.insert(Edge { head: key.head(), tail: key.tail(), len, next });
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
    pub(super) fn step_from(&self, place: Place<'_>, key: Key<'_>) -> Option<(u32, bool)> {
        let node = place.node;
        if node.begins & key.first_bit() == 0 {
            return None;
        }
        let head = key.head();
        let long = key.len > 16;
        match node.edge(head) {
            Some(edge) if !long && edge.is(key, head) => Some((edge.next, false)),
            // The parts of the key one by one: so they stay in registers.
            _ if long || node.deep || node.many => self.lead(place.number, node, head, key.text, key.len),
            _ => None,
        }
    }

    /// Where a key leads that is long, or may have dots, or is one of many.
    #[inline(never)]
    fn lead(&self, number: u32, node: &Node, head: u64, text: &[u8], len: usize) -> Option<(u32, bool)> {
        let key = Key { text, len };
        let divided = node.deep && may_have_dots(head, len) && (node.many || node.may_divide(head));
        let whole = node.many || (len > 16 && node.edge(head).is_some_and(|edge| edge.is(key, head)));
        if whole && let Some(next) = self.edges.get(pair(number, 0), key.bytes()) {
            return Some((next, false));
        }
        if divided { self.pieces(number, key) } else { None }
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

fn first_bit(byte: u8) -> u64 {
    1 << (byte % 64)
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
