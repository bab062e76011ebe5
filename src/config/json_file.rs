//! A JSON file → [`Node`] with the place of everything. JSON is nearly YAML, but not quite (surrogate pairs, `\/`),
//! so it has its own reader, on the checked JSON of [`crate::json`].

use crate::json::scan;
use crate::json::value::{Json, Kind as JsonKind};
use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Kind, Node};
use crate::model::text::Text;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Reads a file that is one JSON value; nothing but white space is no value. Everything wrong goes to `faults`.
pub fn read(file: &Arc<str>, text: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return None;
    }
    let mut reader = Reader::new(file, text, faults);
    match Json::check(text.as_bytes()) {
        Ok(json) => Some(reader.node(json)),
        Err(scan::Error { offset, kind }) => {
            let place = reader.place(offset);
            let fault = Fault::error("CONFIG_SYNTAX", "", format!("not JSON: {kind}")).at(place);
            let cure = match kind {
                scan::ErrorKind::Trailing => {
                    "a .json file holds one resource; a .yaml file takes several, with `---` between"
                }
                scan::ErrorKind::UnexpectedEnd => "something is not closed: `}`, `]` or `\"`",
                scan::ErrorKind::Unexpected(_) => {
                    "JSON has no comments and no trailing commas; a .yaml file may have comments"
                }
                scan::ErrorKind::Number
                | scan::ErrorKind::Escape
                | scan::ErrorKind::Surrogate
                | scan::ErrorKind::Utf8
                | scan::ErrorKind::TooDeep
                | scan::ErrorKind::TooLong => "",
            };
            reader.faults.push(fault.cure(cure));
            None
        }
    }
}

/// Reads a text of JSON values one after the other, as programs print that are run one after the other. At the first
/// fault of syntax reading ends.
pub fn read_all(file: &Arc<str>, text: &str, faults: &mut Vec<Fault>) -> Vec<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(file, text, faults);
    let mut nodes = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    loop {
        let from = values.byte_offset();
        let rest = text.get(from..).unwrap_or_default();
        let checked = match values.next() {
            None => return nodes,
            // Both read the same language; ours knows the place.
            Some(Ok(value)) => Json::check(value.get().as_bytes())
                .map_err(|e| (value.get().as_ptr().addr() - text.as_ptr().addr() + e.offset, e.kind)),
            Some(Err(error)) => Err(match Json::check(rest.as_bytes()) {
                Err(e) => (from + e.offset, e.kind),
                Ok(_) => (from, scan::ErrorKind::Unexpected(if error.is_eof() { "more" } else { "a JSON value" })),
            }),
        };
        match checked {
            Ok(json) => nodes.push(reader.node(json)),
            Err((offset, kind)) => {
                let place = reader.place(offset);
                reader.faults.push(Fault::error("CONFIG_SYNTAX", "", format!("not JSON: {kind}")).at(place));
                return nodes;
            }
        }
    }
}

struct Reader<'t, 'f> {
    file: &'f Arc<str>,
    text: &'t str,
    faults: &'f mut Vec<Fault>,
    last: Spot,
}

/// A place that was asked for. The next is nearly always behind it, so that all places together cost one pass.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    offset: usize,
    /// Line ends before it.
    lines: usize,
    /// Characters before it in its line.
    column: usize,
}

impl<'t, 'f> Reader<'t, 'f> {
    fn new(file: &'f Arc<str>, text: &'t str, faults: &'f mut Vec<Fault>) -> Self {
        Self { file, text, faults, last: Spot::default() }
    }

    // Recursion is bounded: the text was checked, so it is at most `scan::MAX_DEPTH` deep.
    fn node(&mut self, json: Json<'_>) -> Node {
        let place = self.place_of(json.text());
        let kind = match json.kind() {
            JsonKind::Null => Kind::Null,
            JsonKind::Bool => Kind::Bool(json.text() == "true"),
            JsonKind::Number => Kind::Number(json.text().to_owned()),
            JsonKind::String => Kind::String(Text::Plain(json.as_str().unwrap_or_default().into_owned())),
            JsonKind::Array => Kind::List(json.elements().into_iter().flatten().map(|item| self.node(item)).collect()),
            JsonKind::Object => self.map(json),
        };
        Node { kind, place }
    }

    fn map(&mut self, json: Json<'_>) -> Kind {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        // By name, the line of the first.
        let mut lines: HashMap<Cow<'_, str>, u32> = HashMap::new();
        for (key, value) in json.members().into_iter().flatten() {
            let name = key.decode();
            let key = Key { name: name.clone().into_owned(), place: self.place_before(key.raw()) };
            let value = self.node(value);
            match lines.entry(name) {
                Entry::Occupied(first) => {
                    let message = format!("`{}` stands twice", key.name);
                    let cure = format!("first in line {}; keep one", first.get());
                    self.faults.push(Fault::error("CONFIG_DUPLICATE_KEY", "", message).cure(cure).at(key.place));
                }
                Entry::Vacant(free) => {
                    free.insert(key.place.line);
                    entries.push((key, value));
                }
            }
        }
        entries.shrink_to_fit();
        Kind::Map(entries)
    }

    /// The place of a part of the text.
    fn place_of(&mut self, part: &str) -> Place {
        self.place(part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr()))
    }

    /// The place of the quote before the characters of a key.
    fn place_before(&mut self, part: &str) -> Place {
        let place = self.place_of(part);
        Place { column: place.column.saturating_sub(1), ..place }
    }

    fn place(&mut self, offset: usize) -> Place {
        let bytes = self.text.as_bytes();
        let offset = offset.min(bytes.len());
        let from = if self.last.offset <= offset { self.last } else { Spot::default() };
        let passed = bytes.get(from.offset..offset).unwrap_or_default();
        let lines = from.lines + memchr::memchr_iter(b'\n', passed).count();
        let (line, before) = match memchr::memrchr(b'\n', passed) {
            Some(end) => (passed.get(end + 1..).unwrap_or_default(), 0),
            None => (passed, from.column),
        };
        // Characters, not bytes: continuation bytes do not count.
        let column = before + line.iter().filter(|&&b| b & 0xc0 != 0x80).count();
        self.last = Spot { offset, lines, column };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Place { file: Arc::clone(self.file), line: number(lines), column: number(column) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Monotonic;

    #[test]
    fn json_keeps_spelling_and_places() {
        let mut faults = Vec::new();
        let text = "{\n \"é\": [1.10, \"\\/\\ud83d\\ude00\"],\n \"b\": {\"c\": null}}";
        let node = read(&"f.json".into(), text, &mut faults).expect("a node");
        assert!(faults.is_empty());
        assert_eq!(node.to_json(), "{\"é\":[1.10,\"/😀\"],\"b\":{\"c\":null}}");
        assert_eq!(node.place_of("/é/1").to_string(), "f.json:2:14");
        assert_eq!(node.entries()[1].0.place.to_string(), "f.json:3:2");
    }

    #[test]
    fn reading_takes_time_in_proportion_to_the_text() {
        // 4 MB on one line and 150,000 keys in one object: what is quadratic takes minutes.
        let items: Vec<String> = (0..150_000).map(|n| format!("\"k{n}\":[{n},\"é\"]")).collect();
        let text = format!("\n{{{}}}", items.join(","));
        let begin = Monotonic::now();
        let mut faults = Vec::new();
        let nodes = read_all(&"f.json".into(), &text, &mut faults);
        let taken = Monotonic::now().since(begin);
        assert!(taken.as_secs() < 20, "{taken:?}");
        let (key, value) = nodes[0].entries().last().expect("entries");
        let column = text[1..].chars().count() - "\"k149999\":[149999,\"é\"]}".chars().count() + 1;
        assert_eq!(key.place.to_string(), format!("f.json:2:{column}"));
        assert_eq!(value.place.to_string(), format!("f.json:2:{}", column + 10));
    }

    #[test]
    fn values_may_follow_each_other() {
        let mut faults = Vec::new();
        let nodes = read_all(&"f.json".into(), "\n{\"a\": 1.0}{}\n[\n 2]  ", &mut faults);
        assert_eq!(nodes.iter().map(Node::to_json).collect::<Vec<_>>(), ["{\"a\":1.0}", "{}", "[2]"]);
        assert_eq!(nodes[2].place_of("/0").to_string(), "f.json:4:2");
        for (text, read, place) in
            [("{} {\"a\":}", 1, "f.json:1:9"), ("[1] \n x", 1, "f.json:2:2"), ("{\"a\"", 0, "f.json:1:5")]
        {
            let mut faults = Vec::new();
            assert_eq!(read_all(&"f.json".into(), text, &mut faults).len(), read, "{text}");
            assert_eq!(faults[0].place.as_ref().expect("a place").to_string(), place, "{text}");
        }
        assert!(read_all(&"f.json".into(), " \n", &mut faults).is_empty() && faults.is_empty());
    }

    #[test]
    fn faults_have_a_place() {
        for (text, place, code) in [
            ("{\"a\": 1,}", "f.json:1:9", "CONFIG_SYNTAX"),
            ("{\"a\": 1,\n \"a\": 2}", "f.json:2:2", "CONFIG_DUPLICATE_KEY"),
            ("// x\n{}", "f.json:1:1", "CONFIG_SYNTAX"),
        ] {
            let mut faults = Vec::new();
            read(&"f.json".into(), text, &mut faults);
            let found = faults.first().and_then(|f| f.place.as_ref().map(|p| (p.to_string(), f.code)));
            assert_eq!(found, Some((place.to_owned(), code)), "{text}");
        }
    }
}
