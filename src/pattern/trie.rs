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
}

impl Node {
    fn new() -> Self {
        Self { path: NONE, begins: 0, lengths: 0, deep: false }
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
                node.begins |= first_bit(piece);
                node.lengths |= length_bit(piece.len());
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
        self.path(self.step(Self::ROOT, path)?)
    }

    /// The node that a key of the event leads to.
    pub(super) fn step(&self, node: u32, key: &str) -> Option<u32> {
        let from = self.nodes.get(index(node))?;
        if from.begins & first_bit(key) == 0 {
            return None;
        }
        if from.lengths & length_bit(key.len()) != 0
            && let Some(next) = self.edges.get(pair(node, 0), key.as_bytes())
        {
            return Some(next);
        }
        if !from.deep || !key.contains('.') {
            return None;
        }
        key.split('.').try_fold(node, |node, piece| self.edges.get(pair(node, 0), piece.as_bytes()))
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

/// The bit of the first byte; an empty piece stands before a dot, or alone.
fn first_bit(piece: &str) -> u64 {
    1 << (piece.bytes().next().unwrap_or(b'.') % 64)
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
            let node = keys.iter().try_fold(Trie::ROOT, |node, key| trie.step(node, key))?;
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
