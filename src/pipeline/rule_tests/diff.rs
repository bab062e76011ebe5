//! Where two bodies differ, for people: each difference with its path, then the lines around it.

use crate::json::number::Number;
use crate::json::value::{Json, Kind};
use crate::model::node::write_json_string;

/// Differences that are told by their path.
const TOLD: usize = 5;
/// Lines that are shown around a difference.
const CONTEXT: usize = 2;
/// Lines that are shown in all.
const MAX_LINES: usize = 60;
/// Values up to this long stand on one line.
const SHORT: usize = 60;
/// Lines of texts that are compared with each other.
const MAX_TEXT_LINES: usize = 500;

/// A difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Where the first one is in what was expected (RFC 6901).
    pub(super) pointer: String,
    /// The differences, a line each; then the lines, each begun with ` `, `-` (expected) or `+` (got).
    pub(super) text: String,
}

/// Compares JSON values: numbers by value, objects in any order of their keys.
pub(super) fn json(expected: Json<'_>, got: Json<'_>) -> Option<Difference> {
    let mut diff = Diff::default();
    diff.compare(Some(expected), Some(got), &At::root());
    diff.finish()
}

/// Compares texts line by line.
pub(super) fn text(expected: &str, got: &str) -> Option<Difference> {
    if expected == got {
        return None;
    }
    let (wanted, found): (Vec<&str>, Vec<&str>) = (expected.split('\n').collect(), got.split('\n').collect());
    let mut diff = Diff::default();
    let (mut i, mut j) = (0, 0);
    let common = common_lines(&wanted, &found);
    for (a, b) in common.into_iter().chain([(wanted.len(), found.len())]) {
        let (minus, plus) = (wanted.get(i..a).unwrap_or_default(), found.get(j..b).unwrap_or_default());
        for pair in 0..minus.len().max(plus.len()) {
            let show = |line: Option<&&str>| line.map_or_else(|| "nothing".to_owned(), |line| shortened(&quoted(line)));
            let told =
                format!("at line {}: expected {}, got {}", i + pair + 1, show(minus.get(pair)), show(plus.get(pair)));
            diff.told.push((String::new(), told));
        }
        diff.lines.extend(minus.iter().map(|line| ('-', (*line).to_owned())));
        diff.lines.extend(plus.iter().map(|line| ('+', (*line).to_owned())));
        if let Some(same) = wanted.get(a) {
            diff.lines.push((' ', (*same).to_owned()));
        }
        (i, j) = (a + 1, b + 1);
    }
    diff.finish()
}

/// Pairs of equal lines, in order, as many as there are (longest common subsequence); of long texts, those at the
/// beginning.
fn common_lines(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let (rows, columns) = (a.len().min(MAX_TEXT_LINES), b.len().min(MAX_TEXT_LINES));
    let width = columns + 1;
    let mut longest = vec![0_u32; (rows + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or_default();
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let value = if a.get(i) == b.get(j) {
                at(&longest, i + 1, j + 1) + 1
            } else {
                at(&longest, i + 1, j).max(at(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < rows && j < columns {
        if a.get(i) == b.get(j) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if at(&longest, i + 1, j) >= at(&longest, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// A place in both bodies.
struct At {
    /// For people: `$.items[1].sku`.
    path: String,
    pointer: String,
    depth: usize,
    /// `"key": ` before a member of an object.
    key: String,
}

impl At {
    fn root() -> Self {
        Self { path: "$".to_owned(), pointer: String::new(), depth: 0, key: String::new() }
    }

    fn member(&self, key: &str) -> Self {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
        let step = if plain { format!(".{key}") } else { format!("[{}]", quoted(key)) };
        Self {
            path: format!("{}{step}", self.path),
            pointer: format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1")),
            depth: self.depth + 1,
            key: format!("{}: ", quoted(key)),
        }
    }

    fn element(&self, index: usize) -> Self {
        Self {
            path: format!("{}[{index}]", self.path),
            pointer: format!("{}/{index}", self.pointer),
            depth: self.depth + 1,
            key: String::new(),
        }
    }
}

#[derive(Default)]
struct Diff {
    told: Vec<(String, String)>,
    lines: Vec<(char, String)>,
}

impl Diff {
    fn compare(&mut self, wanted: Option<Json<'_>>, got: Option<Json<'_>>, at: &At) {
        match (wanted, got) {
            (Some(wanted), Some(got)) if equal(wanted, got) => self.value(' ', got, at),
            (Some(wanted), Some(got)) if wanted.kind() == Kind::Object && got.kind() == Kind::Object => {
                self.line(' ', at, "{");
                let (wanted, got) = (members(wanted), members(got));
                for (key, value) in &wanted {
                    self.compare(Some(*value), find(&got, key), &at.member(key));
                }
                for (key, value) in got.iter().filter(|(key, _)| find(&wanted, key).is_none()) {
                    self.compare(None, Some(*value), &at.member(key));
                }
                self.end(at, "}");
            }
            (Some(wanted), Some(got)) if wanted.kind() == Kind::Array && got.kind() == Kind::Array => {
                self.line(' ', at, "[");
                self.elements(wanted, got, at);
                self.end(at, "]");
            }
            (wanted, got) => {
                let show =
                    |value: Option<Json<'_>>| value.map_or_else(|| "nothing".to_owned(), |v| shortened(v.text()));
                let told = format!("at {}: expected {}, got {}", at.path, show(wanted), show(got));
                self.told.push((at.pointer.clone(), told));
                wanted.into_iter().for_each(|value| self.value('-', value, at));
                got.into_iter().for_each(|value| self.value('+', value, at));
            }
        }
    }

    /// Elements that are alike at the beginning and at the end are paired; those between, by their number.
    fn elements<'j>(&mut self, wanted: Json<'j>, got: Json<'j>, at: &At) {
        let wanted: Vec<Json<'j>> = wanted.elements().into_iter().flatten().collect();
        let got: Vec<Json<'j>> = got.elements().into_iter().flatten().collect();
        let most = wanted.len().min(got.len());
        let alike = |pairs: &mut dyn Iterator<Item = (&Json<'_>, &Json<'_>)>| {
            pairs.take_while(|(a, b)| equal(**a, **b)).take(most).count()
        };
        let head = alike(&mut wanted.iter().zip(&got));
        let tail = alike(&mut wanted.iter().rev().zip(got.iter().rev())).min(most - head);
        let (between_wanted, between_got) = (wanted.len() - tail, got.len() - tail);
        for index in 0..between_wanted.max(between_got) {
            let of = |list: &[Json<'j>], end: usize| list.get(index).filter(|_| index < end).copied();
            self.compare(of(&wanted, between_wanted), of(&got, between_got), &at.element(index));
        }
        for (index, value) in got.iter().enumerate().skip(between_got) {
            self.value(' ', *value, &at.element(index));
        }
    }

    /// A value on one line if it is short, else on several.
    fn value(&mut self, sign: char, value: Json<'_>, at: &At) {
        let text = compact(value);
        if text.chars().count() <= SHORT {
            return self.line(sign, at, &text);
        }
        match value.kind() {
            Kind::Object => {
                self.line(sign, at, "{");
                members(value).iter().for_each(|(key, value)| self.value(sign, *value, &at.member(key)));
                self.close(sign, at, "}");
            }
            Kind::Array => {
                self.line(sign, at, "[");
                let elements = value.elements().into_iter().flatten().enumerate();
                elements.for_each(|(index, value)| self.value(sign, value, &at.element(index)));
                self.close(sign, at, "]");
            }
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => self.line(sign, at, &text),
        }
    }

    fn line(&mut self, sign: char, at: &At, text: &str) {
        self.lines.push((sign, format!("{}{}{text}", "  ".repeat(at.depth), at.key)));
    }

    fn end(&mut self, at: &At, text: &str) {
        self.close(' ', at, text);
    }

    fn close(&mut self, sign: char, at: &At, text: &str) {
        self.lines.push((sign, format!("{}{text}", "  ".repeat(at.depth))));
    }

    fn finish(self) -> Option<Difference> {
        let pointer = self.told.first()?.0.clone();
        let mut text: Vec<String> = self.told.iter().take(TOLD).map(|(_, told)| format!("    {told}")).collect();
        if self.told.len() > TOLD {
            text.push(format!("    and {} more", self.told.len() - TOLD));
        }
        // One scalar in the place of another has been told.
        if self.lines.len() > 2 {
            text.extend(self.around().into_iter().map(|(sign, line)| format!("  {sign} {}", shown(&line))));
        }
        Some(Difference { pointer, text: text.join("\n") })
    }

    /// The lines near a difference.
    fn around(&self) -> Vec<(char, String)> {
        let changed: Vec<usize> =
            self.lines.iter().enumerate().filter(|(_, (sign, _))| *sign != ' ').map(|(index, _)| index).collect();
        let mut out: Vec<(char, String)> = Vec::new();
        let mut next = changed.iter().peekable();
        let mut last: Option<usize> = None;
        for (index, line) in self.lines.iter().enumerate() {
            while next.peek().is_some_and(|change| **change < index) {
                last = next.next().copied();
            }
            let near = next.peek().is_some_and(|change| **change <= index + CONTEXT)
                || last.is_some_and(|change| index <= change + CONTEXT);
            if near && out.len() < MAX_LINES {
                out.push(line.clone());
            } else if out.last().is_none_or(|(_, text)| text != "…") {
                out.push((' ', "…".to_owned()));
            }
        }
        out
    }
}

/// Whether two values are the same, whatever the spelling.
pub(super) fn equal(a: Json<'_>, b: Json<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Number, Kind::Number) => Number::of(a.text()).equals(&Number::of(b.text())),
        (Kind::String, Kind::String) => a.as_str() == b.as_str(),
        (Kind::Array, Kind::Array) => {
            let (a, b): (Vec<_>, Vec<_>) =
                (a.elements().into_iter().flatten().collect(), b.elements().into_iter().flatten().collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| equal(*a, *b))
        }
        (Kind::Object, Kind::Object) => {
            let (a, b) = (members(a), members(b));
            a.len() == b.len() && a.iter().all(|(key, a)| find(&b, key).is_some_and(|b| equal(*a, b)))
        }
        (Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Array | Kind::Object, _) => a.text() == b.text(),
    }
}

/// The members of an object; of duplicates, the last.
fn members(object: Json<'_>) -> Vec<(String, Json<'_>)> {
    let mut members: Vec<(String, Json<'_>)> = Vec::new();
    for (key, value) in object.members().into_iter().flatten() {
        let key = key.decode().into_owned();
        match members.iter_mut().find(|(other, _)| *other == key) {
            Some(member) => member.1 = value,
            None => members.push((key, value)),
        }
    }
    members
}

fn find<'j>(members: &[(String, Json<'j>)], key: &str) -> Option<Json<'j>> {
    members.iter().find(|(other, _)| other == key).map(|(_, value)| *value)
}

/// A value on one line.
fn compact(value: Json<'_>) -> String {
    match value.kind() {
        Kind::Object => {
            let members: Vec<String> =
                members(value).iter().map(|(key, value)| format!("{}: {}", quoted(key), compact(*value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Kind::Array => {
            let elements: Vec<String> = value.elements().into_iter().flatten().map(compact).collect();
            format!("[{}]", elements.join(", "))
        }
        Kind::Null | Kind::Bool | Kind::Number | Kind::String => value.text().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A line that cannot play with the terminal.
fn shown(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_json_string(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_json(expected: &str, got: &str) -> Option<Difference> {
        json(Json::check(expected.as_bytes()).unwrap(), Json::check(got.as_bytes()).unwrap())
    }

    #[test]
    fn a_difference_names_the_path_and_shows_the_lines_around_it() {
        let expected = r#"{"order":"A1","a":1,"b":2,"c":3,"items":[{"sku":"X","qty":1},{"sku":"A","qty":10000000000000000000000000000000000000000000000000001}]}"#;
        let got = r#"{"items":[{"qty":1.0,"sku":"X"},{"qty":10000000000000000000000000000000000000000000000000001,"sku":"B"}],"c":3,"b":2,"a":1,"order":"A1"}"#;
        let difference = of_json(expected, got).expect("they differ");
        assert_eq!(difference.pointer, "/items/1/sku");
        let lines: Vec<&str> = difference.text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"    at $.items[1].sku: expected "A", got "B""#,
                "    …",
                r#"        {"qty": 1.0, "sku": "X"}"#,
                "        {",
                r#"  -       "sku": "A""#,
                r#"  +       "sku": "B""#,
                r#"          "qty": 10000000000000000000000000000000000000000000000000001"#,
                "        }",
                "    …",
            ]
        );
    }

    #[test]
    fn json_is_compared_by_value() {
        for (a, b) in [
            (r#"{"a":1.0,"b":"\u0041"}"#, r#"{"b":"A","a":1}"#),
            ("[1e2,null,true]", "[100,null,true]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert_eq!(of_json(a, b), None);
        }
        let told = |a: &str, b: &str| {
            of_json(a, b).map(|d| {
                d.text
                    .lines()
                    .take_while(|line| line.starts_with("    at"))
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join("; ")
            })
        };
        let cases = [
            (
                "12345678901234567890123",
                "12345678901234567890124",
                "at $: expected 12345678901234567890123, got 12345678901234567890124",
            ),
            (
                r#"{"a":{"b":[1,2]},"c":1}"#,
                r#"{"a":{"b":[1,3]},"d":true}"#,
                "at $.a.b[1]: expected 2, got 3; at $.c: expected 1, got nothing; at $.d: expected nothing, got true",
            ),
            ("[1,2,3]", "[2,3]", "at $[0]: expected 1, got nothing"),
            ("[1,3]", "[1,2,3]", "at $[1]: expected nothing, got 2"),
            (r#"{"a b":1}"#, r#"{"a b":"1"}"#, r#"at $["a b"]: expected 1, got "1""#),
        ];
        for (a, b, wanted) in cases {
            assert_eq!(told(a, b).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn texts_are_compared_by_lines() {
        let difference = text("one\ntwo\nthree", "one\n2\nthree\n").expect("they differ");
        assert_eq!(
            difference.text,
            "    at line 2: expected \"two\", got \"2\"\n    at line 4: expected nothing, got \"\"\n    one\n  - two\n  + 2\n    three\n  + "
        );
        assert_eq!(text("a", "a"), None);
        assert_eq!(text("a ", "a").map(|d| d.text).as_deref(), Some("    at line 1: expected \"a \", got \"a\""));
    }
}
