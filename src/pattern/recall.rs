//! `Recall`: the keys of the objects that the walk has been in, in their order. Events of one source are alike, so a key
//! is most often the one that stood there in the last object at the same node: then one comparison says where it leads,
//! instead of a search in the trie.
//!
//! Where a key leads from a node depends on nothing but its bytes, and all of them are compared, so nothing is guessed. A
//! key that is not the expected one is looked for in the trie. What is kept grows with the nodes of the trie, never with
//! the events.

use super::index::keys::index;
use super::trie::Trie;

/// Where a key leads in the trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// The node, perhaps with the bit [`DOTS`]; or [`NOWHERE`].
    to: u32,
    /// The path that ends there, or [`NOWHERE`].
    path: u32,
}

const NOWHERE: u32 = u32::MAX;

/// Set if a key with dots leads there.
const DOTS: u32 = 1 << 31;

impl Way {
    /// Where a step of the trie led.
    pub(super) fn of(trie: &Trie, step: Option<(u32, bool)>) -> Self {
        let to = step.map_or(NOWHERE, |(node, has_dots)| if has_dots { node | DOTS } else { node });
        let path = step.and_then(|(node, _)| trie.path(node)).unwrap_or(NOWHERE);
        Self { to, path }
    }

    /// Whether no path goes there.
    #[inline]
    pub(super) fn is_nowhere(self) -> bool {
        self.to == NOWHERE
    }

    /// The node, if it is somewhere.
    #[inline]
    pub(super) fn node(self) -> u32 {
        self.to & !DOTS
    }

    /// Whether a key with dots leads there.
    #[inline]
    pub(super) fn has_dots(self) -> bool {
        self.to & DOTS != 0
    }

    /// The path that ends there.
    #[inline]
    pub(super) fn path(self) -> Option<u32> {
        (self.path != NOWHERE).then_some(self.path)
    }
}

/// The keys of objects at the nodes of one trie.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// By node: its row, or [`NOWHERE`].
    rows: Vec<u32>,
    /// Row after row.
    keys: Vec<Known>,
}

/// Keys of one row, with one that is none at its end. What comes later in an object is looked for in the trie.
const ROW: usize = 24;

/// Rows at most: nodes at which there were objects. Few rule sets look into so many.
const ROWS: usize = 128;

/// Keys that may be absent in a row, so that the next is still found.
const AHEAD: usize = 3;

/// A key of at most fifteen bytes without escapes, and the quote behind it: a key that begins with all of it is no longer.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The bytes, the first one lowest.
    bytes: u128,
    /// Set bits for those that count.
    mask: u128,
    way: Way,
}

/// Bytes that are compared at once.
const WIDTH: usize = 16;

impl Known {
    /// No text has a zero.
    const NONE: Self = Self { bytes: 0, mask: u128::MAX, way: Way { to: NOWHERE, path: NOWHERE } };

    /// `None` if it is too long.
    fn new(key: &[u8], way: Way) -> Option<Self> {
        let (mut bytes, mut mask) = ([0; WIDTH], [0; WIDTH]);
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        *bytes.get_mut(key.len())? = b'"';
        mask.get_mut(..=key.len())?.fill(u8::MAX);
        Some(Self { bytes: u128::from_le_bytes(bytes), mask: u128::from_le_bytes(mask), way })
    }

    /// Whether there is none.
    fn is_none(&self) -> bool {
        self.bytes == 0
    }

    /// Whether it is the key that begins there in a text.
    #[inline(always)]
    fn is(&self, text: &[u8], start: usize) -> bool {
        match text.get(start..start + WIDTH).and_then(<[u8]>::first_chunk) {
            Some(bytes) => self.begins(bytes),
            None => self.begins_rest(text.get(start..).unwrap_or_default()),
        }
    }

    #[inline(always)]
    fn begins(&self, bytes: &[u8; WIDTH]) -> bool {
        (u128::from_le_bytes(*bytes) ^ self.bytes) & self.mask == 0
    }

    /// [`Self::begins`] if the text ends soon.
    #[cold]
    #[inline(never)]
    fn begins_rest(&self, rest: &[u8]) -> bool {
        let mut bytes = [0; WIDTH];
        bytes.iter_mut().zip(rest).for_each(|(byte, last)| *byte = *last);
        self.begins(&bytes)
    }
}

/// How far the walk is in the row of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The key that is expected.
    at: usize,
    /// Where the row begins.
    start: usize,
    /// Keys that were not the expected ones.
    others: usize,
}

impl Cursor {
    /// Where the key is that is none.
    fn end(&self) -> usize {
        self.start + ROW - 1
    }
}

impl Recall {
    /// A walk over another document begins.
    pub(super) fn restart(&mut self, trie: &Trie) {
        self.rows.resize(trie.nodes(), NOWHERE);
    }

    /// The walk comes to an object at a node.
    #[inline]
    pub(super) fn enter(&mut self, node: u32) -> Cursor {
        let row = self.rows.get(index(node)).copied().unwrap_or(NOWHERE);
        let start = if row == NOWHERE { self.add_row(node) } else { index(row) };
        Cursor { at: start, start, others: 0 }
    }

    /// A row for a node that has none; behind all rows if there is no room.
    #[cold]
    #[inline(never)]
    fn add_row(&mut self, node: u32) -> usize {
        let start = self.keys.len();
        if let Some(row) = self.rows.get_mut(index(node)).filter(|_| start < ROW * ROWS) {
            *row = u32::try_from(start).unwrap_or(NOWHERE);
            self.keys.resize(start + ROW, Known::NONE);
        }
        start
    }

    /// Where the key of a member leads that stands there in the text, if it is the expected one.
    #[inline(always)]
    pub(super) fn get(&self, cursor: &mut Cursor, text: &[u8], start: usize) -> Option<Way> {
        let known = self.keys.get(cursor.at).filter(|known| known.is(text, start))?;
        cursor.at += 1;
        Some(known.way)
    }

    /// [`Self::get`] if some of the expected keys are absent.
    pub(super) fn get_ahead(&self, cursor: &mut Cursor, text: &[u8], start: usize) -> Option<Way> {
        let ahead = self.keys.get(cursor.at..cursor.end())?.iter().take(AHEAD + 1);
        let (skipped, known) = ahead.enumerate().find(|(_, known)| known.is(text, start))?;
        cursor.at += skipped + 1;
        cursor.others += 1;
        Some(known.way)
    }

    /// Keeps where a key leads, if the row knows no key that comes here. `None` is a key with escapes.
    pub(super) fn put(&mut self, cursor: &mut Cursor, key: Option<&[u8]>, way: Way) {
        let free = self.keys.get_mut(cursor.at).filter(|known| cursor.at < cursor.end() && known.is_none());
        match free.zip(key.and_then(|key| Known::new(key, way))) {
            Some((free, known)) => {
                *free = known;
                cursor.at += 1;
            }
            None => cursor.others += 1,
        }
    }

    /// The walk leaves an object. A row most of whose keys were others is void.
    #[inline]
    pub(super) fn leave(&mut self, cursor: &Cursor) {
        if cursor.others > cursor.at - cursor.start {
            self.forget(cursor);
        }
    }

    #[cold]
    #[inline(never)]
    fn forget(&mut self, cursor: &Cursor) {
        self.keys.get_mut(cursor.start..cursor.end()).unwrap_or_default().fill(Known::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaves::Leaves;
    use super::super::trie::Key;
    use super::super::walk;
    use super::*;
    use crate::json::document::Document;
    use crate::json::tape::Tape;
    use crate::json::value::Json;
    use crate::model::resources::Dialect;
    use proptest::prelude::*;

    /// Keys that are alike in length, beginning or end, with escapes, with dots, and longer than what is kept.
    const KEYS: [&str; 21] = [
        "a",
        "b",
        "ab",
        "",
        "\\u0061",
        "a.b",
        "a.b.a",
        "ab.",
        "customer",
        "customes",
        "customer1",
        "customer2",
        "bustomer1",
        "customer.id",
        "datacontenttype",
        "datacontenttype1",
        "datacontenttypf1",
        "datacontenttype12",
        "datacontenttype13",
        "datacontenttype.1",
        "ä",
    ];

    #[derive(Debug, Clone)]
    enum Value {
        Scalar(&'static str),
        Array(Vec<Value>),
        Object(Vec<(&'static str, Value)>),
    }

    struct Events(fastrand::Rng);

    impl Events {
        fn key(&mut self) -> &'static str {
            KEYS[self.0.usize(..KEYS.len())]
        }

        fn value(&mut self, depth: u32) -> Value {
            match self.0.u32(..6) {
                0 | 1 if depth < 4 => Value::Object(self.members(depth)),
                2 if depth < 4 => Value::Array((0..self.0.usize(..4)).map(|_| self.value(depth + 1)).collect()),
                _ => Value::Scalar(["1", "\"x\"", "null", "\"\\u0062\"", "true", "{}", "[]"][self.0.usize(..7)]),
            }
        }

        fn members(&mut self, depth: u32) -> Vec<(&'static str, Value)> {
            (0..self.0.usize(..8)).map(|_| (self.key(), self.value(depth + 1))).collect()
        }

        /// Another event of nearly the same shape: of the same, if nothing is changed.
        fn change(&mut self, value: &mut Value, depth: u32) {
            match value {
                Value::Scalar(_) => *value = self.value(depth),
                Value::Array(elements) => match self.0.u32(..6) {
                    0 => elements.truncate(1),
                    1 => elements.push(self.value(depth + 1)),
                    _ => elements.iter_mut().for_each(|element| self.change(element, depth + 1)),
                },
                Value::Object(members) => {
                    for _ in 0..self.0.usize(..3) {
                        let (at, new) = (self.0.usize(..=members.len()), (self.key(), self.value(depth + 1)));
                        match self.0.u32(..4) {
                            0 => members.insert(at, new),
                            1 => members.rotate_left(at.min(1)),
                            2 if at < members.len() => drop(members.remove(at)),
                            _ => members.iter_mut().skip(at).take(1).for_each(|member| member.0 = new.0),
                        }
                    }
                    if self.0.bool() {
                        members.iter_mut().for_each(|(_, value)| self.change(value, depth + 1));
                    }
                }
            }
        }

        fn write(&mut self, value: &Value, text: &mut String) {
            match value {
                Value::Scalar(scalar) => text.push_str(scalar),
                Value::Array(elements) => {
                    let elements: Vec<String> = elements.iter().map(|element| self.text(element)).collect();
                    text.push_str(&format!("[{}]", elements.join(",")));
                }
                Value::Object(members) => {
                    let members: Vec<String> =
                        members.iter().map(|(key, value)| format!("\"{key}\":{}", self.text(value))).collect();
                    text.push_str(&format!("{{{}}}", members.join(if self.0.u8(..8) == 0 { " ,\n" } else { "," })));
                }
            }
        }

        fn text(&mut self, value: &Value) -> String {
            let mut text = String::new();
            self.write(value, &mut text);
            text
        }
    }

    /// What a walk finds at each path.
    fn found(leaves: &Leaves<'_>, trie: &Trie) -> Vec<String> {
        let paths = (0..u32::try_from(trie.paths()).unwrap()).chain(leaves.paths().iter().copied());
        let at = |path| leaves.at(path).map(|leaf| format!("{:?} {:?}", leaf.value, leaf.bindings)).collect::<Vec<_>>();
        paths.map(|path| format!("{path} {:?} {:?}", leaves.slot(path).count, at(path))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn events_before_change_nothing(seed: u64, aws: bool) {
            let mut events = Events(fastrand::Rng::with_seed(seed));
            let dialect = if aws { Dialect::Aws } else { Dialect::Tidegate };
            let mut trie = Trie::default();
            for _ in 0..events.0.usize(1..30) {
                let pieces: Vec<&str> = (0..events.0.usize(1..4)).map(|_| events.key()).collect();
                trie.insert(&pieces.join("."));
            }
            let mut shapes: Vec<Value> = (0..events.0.usize(1..4)).map(|_| Value::Object(events.members(0))).collect();
            let (mut leaves, mut memory, mut tape) = (Leaves::default(), walk::Memory::default(), Tape::default());
            for _ in 0..20 {
                let at = events.0.usize(..shapes.len());
                if events.0.u8(..3) > 0 {
                    events.change(&mut shapes[at], 0);
                }
                let text = events.text(&shapes[at]);
                let document = match events.0.u8(..4) {
                    0 => Document::from_object(Json::check(text.as_bytes()).unwrap()).unwrap(),
                    _ => Document::check(text.as_bytes(), &mut tape).unwrap().unwrap(),
                };
                let mut again = leaves.recycle();
                again.fill(&document, &trie, dialect, &mut memory);
                prop_assert_eq!(found(&again, &trie), found(&Leaves::of(&document, &trie, dialect), &trie), "{}", text);
                leaves = again.recycle();
            }
        }
    }

    /// A row for the keys of objects at the root; where each leads that stands in these texts one after the other.
    fn ways(texts: &[&str]) -> Vec<Option<Way>> {
        let mut trie = Trie::default();
        assert_eq!(KEYS.iter().map(|key| trie.insert(key)).max(), Some(20));
        let (mut recall, mut ways) = (Recall::default(), Vec::new());
        for text in texts {
            recall.restart(&trie);
            let mut cursor = recall.enter(Trie::ROOT);
            ways.clear();
            for (key, _) in Json::check(text.as_bytes()).unwrap().members().unwrap() {
                let start = key.raw().as_ptr().addr() - text.as_ptr().addr();
                let bytes = text.as_bytes();
                let way = recall.get(&mut cursor, bytes, start);
                ways.push(way.or_else(|| recall.get_ahead(&mut cursor, bytes, start)));
                if ways.last() == Some(&None) {
                    let way = Way::of(&trie, trie.step(Trie::ROOT, Key::of(key.raw())));
                    recall.put(&mut cursor, Some(key.raw().as_bytes()), way);
                }
            }
            recall.leave(&cursor);
        }
        ways
    }

    #[test]
    fn keys_are_expected_where_they_stood() {
        let known = |texts: &[&str]| ways(texts).iter().map(|way| u8::from(way.is_some())).collect::<Vec<u8>>();
        let one = r#"{"a":1,"b":2,"customer":3,"customer1":4,"x":"and so on"}"#;
        assert_eq!(known(&[one, one]), [1; 5]);
        assert_eq!(known(&[one, r#"{"a":1,"b":2,"customes":3,"customer2":4,"x":"and so on"}"#]), [1, 1, 0, 0, 1]);
        assert_eq!(known(&[one, r#"{"a":1,"new":1,"customer1":4,"x":"and so on"}"#]), [1, 0, 1, 1]);
        // Most keys were others: the next object is learned anew.
        let other = r#"{"ab":1,"customer2":2,"y":3,"z":"and so on"}"#;
        assert_eq!(known(&[one, other, other]), [0; 4]);
        assert_eq!(known(&[one, other, other, other]), [1; 4]);
        // A key behind which there is little text, and one that it begins with.
        assert_eq!(known(&[r#"{"ab":1,"a":2}"#, r#"{"ab":1,"a":2}"#]), [1, 1]);
        assert_eq!(known(&[r#"{"ab":1,"a":2}"#, r#"{"a":1,"ab":2}"#]), [1, 0]);
        // More keys than there is room for, or longer ones.
        let many = (0..30).map(|key| format!("\"key{key}\":\"{key}\"")).collect::<Vec<_>>().join(",");
        let many = format!("{{{many}}}");
        assert_eq!(known(&[&many, &many]).iter().map(|known| usize::from(*known)).sum::<usize>(), ROW - 1);
        let long = r#"{"a key of more than sixteen bytes":1,"a":"and so on"}"#;
        assert_eq!(known(&[long, long]), [0, 1]);
    }
}
