//! `Tape`: where the values of a checked text lie, noted while it was checked, so that whoever reads the text again goes
//! from value to value and looks at no byte between.

use super::scan::{self, Error};
use super::value::{Json, Kind, Quoted};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

/// The values of one text in the order in which they begin. Memory that is used again for the next text.
#[derive(Debug, Default)]
pub struct Tape {
    /// Where the text lies in memory: a value is found by where it lies itself.
    base: usize,
    pub(super) nodes: Vec<Node>,
    /// See [`Self::mark`].
    mark: u64,
}

/// Marks that a tape takes at once.
const MARKS: u64 = 1 << 20;

/// The first marks that no tape has taken.
static UNTAKEN: AtomicU64 = AtomicU64::new(MARKS);

/// One value: places are byte offsets from the start of the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Node {
    /// What stands between the quotes of its key, if it is a member of an object.
    pub(super) key: u32,
    pub(super) key_end: u32,
    pub(super) start: u32,
    /// While a container is being read: whether it is an object.
    pub(super) end: u32,
    /// The node after it and all that is in it. While a container is being read: the container that it is in.
    pub(super) next: u32,
}

/// See [`Tape::members`].
#[derive(Debug)]
pub struct Members<'t, 'a> {
    nodes: &'t [Node],
    text: &'a str,
    /// Where the text begins in the one that the nodes are about.
    before: usize,
    /// The node of the next.
    at: usize,
}

/// A member of the whole text, if that is an object.
#[derive(Debug, Clone)]
pub struct Noted<'a> {
    /// Its key, decoded.
    pub key: Cow<'a, str>,
    /// Its value.
    pub value: Json<'a>,
    /// The node of the value.
    pub node: usize,
    /// Whether the value is a string with escapes.
    escaped: bool,
}

/// Set in the end of a key or a value that is a string with escapes. No text is that long.
pub(super) const ESCAPED: u32 = 1 << 31;

/// Nodes that are kept for the next text at most.
const KEPT: usize = 1 << 16;

impl Tape {
    /// Checks a text and notes its values.
    ///
    /// # Errors
    /// The first fault; then nothing is noted.
    pub fn check<'a>(&mut self, text: &'a [u8]) -> Result<Json<'a>, Error> {
        self.clear();
        match scan::check_noting(text, scan::MAX_DEPTH, &mut self.nodes) {
            Ok(value) => {
                self.base = text.as_ptr().addr();
                Ok(Json::checked(value))
            }
            Err(error) => {
                self.clear();
                Err(error)
            }
        }
    }

    /// Notes the values of a text that has been checked before.
    pub fn note(&mut self, json: Json<'_>) {
        self.clear();
        self.base = json.text().as_ptr().addr();
        if scan::check_noting(json.text().as_bytes(), usize::MAX, &mut self.nodes).is_err() {
            self.nodes.clear();
        }
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.nodes.shrink_to(KEPT);
        self.mark += 1;
        if self.mark % MARKS <= 1 {
            self.mark = UNTAKEN.fetch_add(MARKS, Ordering::Relaxed) + 1;
        }
    }

    /// Tells what is noted now from all that this or another tape notes at any other time; 0 if that is nothing yet.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// The node of a value if it is the whole text or a member or element of it. A search in the order of the text
    /// takes one step for each: `from` is where the last one ended, at first 0.
    #[must_use]
    pub fn find(&self, value: &str, from: &mut usize) -> Option<usize> {
        let offset = value.as_ptr().addr().checked_sub(self.base)?;
        let is_it = |node: &Node| node.start() == offset && node.end() == offset + value.len();
        let root = self.nodes.first()?;
        if is_it(root) {
            return Some(0);
        }
        let first = (*from).max(1);
        let mut at = first;
        while let Some(node) = self.nodes.get(at) {
            *from = node.next();
            if is_it(node) {
                return Some(at);
            }
            at = node.next();
        }
        // A value that stands for an earlier one.
        at = 1;
        while let Some(node) = self.nodes.get(at).filter(|_| at < first) {
            if is_it(node) {
                return Some(at);
            }
            at = node.next();
        }
        None
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The members of an object that was checked as a whole text; of another value none.
    pub fn members<'a>(&self, whole: Json<'a>) -> Members<'_, 'a> {
        // White space before the value is no part of it.
        let before = self.nodes.first().map_or(0, Node::start);
        let at = if whole.kind() == Kind::Object { 1 } else { usize::MAX };
        Members { nodes: &self.nodes, text: whole.text(), before, at }
    }
}

impl<'a> Iterator for Members<'_, 'a> {
    type Item = Noted<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Noted<'a>> {
        let Self { text, before, at: number, .. } = *self;
        let node = self.nodes.get(number)?;
        self.at = node.next();
        let (start, end) = (node.key() - before, node.key_end() - before);
        let key = if node.is_key_escaped() { decoded(text, start, end) } else { Cow::Borrowed(text.get(start..end)?) };
        let value = Json::checked(text.get(node.start() - before..node.end() - before)?);
        Some(Noted { key, value, node: number, escaped: node.is_escaped() })
    }
}

#[cold]
#[inline(never)]
fn decoded(text: &str, start: usize, end: usize) -> Cow<'_, str> {
    Quoted::checked(text.get(start - 1..=end).unwrap_or_default()).decode()
}

impl<'a> Noted<'a> {
    /// The decoded string, if it is one.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        if self.escaped {
            self.value.as_str()
        } else {
            self.value.as_quoted().map(|string| Cow::Borrowed(string.raw()))
        }
    }
}

impl Node {
    /// Where the value begins.
    #[inline]
    #[must_use]
    pub fn start(&self) -> usize {
        wide(self.start)
    }

    /// Where the value ends.
    #[inline]
    #[must_use]
    pub fn end(&self) -> usize {
        wide(self.end & !ESCAPED)
    }

    /// Whether it is a string with escapes.
    #[inline]
    #[must_use]
    pub fn is_escaped(&self) -> bool {
        self.end & ESCAPED != 0
    }

    /// Where the key begins, after its quote.
    #[inline]
    #[must_use]
    pub fn key(&self) -> usize {
        wide(self.key)
    }

    /// Where the key ends, before its quote.
    #[inline]
    #[must_use]
    pub fn key_end(&self) -> usize {
        wide(self.key_end & !ESCAPED)
    }

    /// Whether there is an escape in the key.
    #[inline]
    #[must_use]
    pub fn is_key_escaped(&self) -> bool {
        self.key_end & ESCAPED != 0
    }

    /// The node after this one and all that is in it; the node that follows a container is the first in it.
    #[inline]
    #[must_use]
    pub fn next(&self) -> usize {
        wide(self.next)
    }
}

#[inline]
fn wide(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::tests::value;
    use proptest::prelude::*;

    /// The node at `at` and all in it say what a walk over the text finds; gives the node after them.
    fn compare(tape: &Tape, text: &str, at: usize, key: Option<Quoted<'_>>, json: Json<'_>) -> usize {
        let node = tape.nodes()[at];
        assert_eq!(&text[node.start()..node.end()], json.text());
        assert_eq!(node.is_escaped(), json.as_quoted().is_some_and(|string| string.raw().contains('\\')));
        if let Some(key) = key {
            assert_eq!(&text[node.key()..node.key_end()], key.raw());
            assert_eq!(node.is_key_escaped(), key.raw().contains('\\'));
        }
        let mut next = at + 1;
        for (key, value) in json.members().into_iter().flatten() {
            next = compare(tape, text, next, Some(key), value);
        }
        for element in json.elements().into_iter().flatten() {
            next = compare(tape, text, next, None, element);
        }
        assert_eq!(node.next(), next);
        next
    }

    proptest! {
        #[test]
        fn the_tape_says_what_a_walk_finds(before in "[ \n]{0,3}", value in value(), after in "[ \t]{0,70}") {
            let text = format!("{before}{value}{after}");
            let mut tape = Tape::default();
            for _ in 0..2 {
                let json = tape.check(text.as_bytes()).unwrap();
                prop_assert_eq!(compare(&tape, &text, 0, None, json), tape.nodes().len());
            }
            let json = Json::check(text.as_bytes()).unwrap();
            let members: Vec<_> = json.members().into_iter().flatten().collect();
            let decoded: Vec<_> = members.iter().map(|(key, value)| (key.decode(), *value)).collect();
            let noted: Vec<Noted<'_>> = tape.members(json).collect();
            for (noted, (key, value)) in noted.iter().zip(&decoded) {
                prop_assert_eq!((&noted.key, noted.value, noted.as_str()), (key, *value, value.as_str()));
                let node = tape.nodes()[noted.node];
                prop_assert_eq!(&text[node.start()..node.end()], value.text());
            }
            prop_assert_eq!(noted.len(), decoded.len());
            let mut from = 0;
            for (_, member) in members.iter().chain(members.iter().rev()) {
                let found = tape.find(member.text(), &mut from).and_then(|at| tape.nodes().get(at));
                prop_assert_eq!(&text[found.unwrap().start()..found.unwrap().end()], member.text());
            }
            tape.note(json);
            prop_assert_eq!(compare(&tape, json.text(), 0, None, json), tape.nodes().len());
            let mark = tape.mark();
            tape.note(json);
            let mut other = Tape::default();
            other.note(json);
            prop_assert!(mark != tape.mark() && other.mark() != tape.mark() && other.mark() != mark);
            // A text that lies elsewhere is another.
            prop_assert_eq!(tape.find(String::from(json.text()).as_str(), &mut 0), None);
        }
    }
}
