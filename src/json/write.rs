//! Compact JSON (transforms.md rule 38): checked JSON in, the same value without white space out.
//!
//! Numbers stay byte for byte, strings get the shortest escapes, of duplicate keys the last value stands at the first
//! place. One pass without recursion; text that is compact already is copied in one piece.

use super::scan::{skip_space, skip_string_noting};
use super::value::{Json, Kind, Quoted};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;

/// Appends `json` as compact JSON.
pub fn compact(json: Json<'_>, out: &mut String) {
    let text = json.text();
    match json.kind() {
        Kind::Object | Kind::Array => {}
        Kind::String => {
            if let Some(quoted) = json.as_quoted() {
                shortest(quoted, out);
            }
            return;
        }
        Kind::Null | Kind::Bool | Kind::Number => return out.push_str(text),
    }
    out.reserve(text.len());
    let mut writer = Writer { text, out, at: 0, flushed: 0, open: SmallVec::new(), entries: Vec::new(), key: false };
    writer.run();
}

/// Appends `json` as it stands inside a JSON string literal, without quotes, if it is a string; compact JSON of
/// anything else is escaped too.
pub fn escaped(json: Json<'_>, out: &mut String) {
    match json.as_quoted() {
        Some(quoted) => quoted.write_shortest(out),
        None => {
            let mut plain = String::with_capacity(json.text().len());
            compact(json, &mut plain);
            crate::model::node::write_json_escaped(&plain, out);
        }
    }
}

fn shortest(quoted: Quoted<'_>, out: &mut String) {
    out.push('"');
    quoted.write_shortest(out);
    out.push('"');
}

/// The members of an object, each name once: the last value at the first place. Empty for anything else.
#[must_use]
pub fn unique_members(json: Json<'_>) -> Vec<(Cow<'_, str>, Json<'_>)> {
    /// Up to here looking through the list beats hashing.
    const FEW: usize = 16;
    let mut members: Vec<(Cow<'_, str>, Json<'_>)> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for (key, value) in json.members().into_iter().flatten() {
        let name = Quoted::decode(key);
        let at = if members.len() <= FEW {
            members.iter().position(|(known, _)| *known == name)
        } else {
            if places.is_empty() {
                places.extend(members.iter().enumerate().map(|(i, (known, _))| (known.clone(), i)));
            }
            places.get(&name).copied()
        };
        match at.and_then(|i| members.get_mut(i)) {
            Some((_, old)) => *old = value,
            None => {
                if !places.is_empty() {
                    places.insert(name.clone(), members.len());
                }
                members.push((name, value));
            }
        }
    }
    members
}

struct Writer<'a, 'o> {
    text: &'a str,
    out: &'o mut String,
    /// Where reading is.
    at: usize,
    /// Everything before is written; what lies between here and `at` will be copied in one piece.
    flushed: usize,
    open: SmallVec<[Open; 8]>,
    /// The members of all open objects.
    entries: Vec<Entry<'a>>,
    /// The next string is a key.
    key: bool,
}

struct Open {
    object: bool,
    first_entry: usize,
    /// A bit for each key so far, by a hash; keys that share none are different.
    seen: u64,
    /// Two keys share a bit: they may be the same.
    suspect: bool,
}

struct Entry<'a> {
    /// The key as it is written, without quotes; equal text means equal keys.
    key: Cow<'a, str>,
    /// Where key and value lie in the output.
    start: usize,
    end: usize,
}

impl Writer<'_, '_> {
    fn run(&mut self) {
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.flush();
                    self.at = skip_space(self.text.as_bytes(), self.at);
                    self.flushed = self.at;
                }
                b'"' => self.string(),
                b'{' | b'[' => {
                    self.open.push(Open {
                        object: byte == b'{',
                        first_entry: self.entries.len(),
                        seen: 0,
                        suspect: false,
                    });
                    self.key = byte == b'{';
                    self.at += 1;
                }
                b'}' | b']' => self.close(),
                b',' => {
                    self.key = self.open.last().is_some_and(|open| open.object);
                    self.end_entry();
                    self.at += 1;
                }
                b':' => {
                    self.key = false;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.flush();
    }

    /// Where the byte at `at` will lie in the output.
    fn position(&self) -> usize {
        self.out.len() + self.at - self.flushed
    }

    fn flush(&mut self) {
        self.out.push_str(self.text.get(self.flushed..self.at).unwrap_or_default());
        self.flushed = self.at;
    }

    fn string(&mut self) {
        let start = self.position();
        let (end, escaped) = skip_string_noting(self.text.as_bytes(), self.at);
        if !escaped && !self.key {
            self.at = end;
            return;
        }
        let mut key = Cow::Borrowed(self.text.get(self.at + 1..end.saturating_sub(1)).unwrap_or_default());
        if escaped {
            self.flush();
            shortest(Quoted::checked(self.text.get(self.at..end).unwrap_or("\"\"")), self.out);
            self.flushed = end;
            if self.key {
                let inside = start + 1..self.out.len().saturating_sub(1);
                key = Cow::Owned(self.out.get(inside).unwrap_or_default().to_owned());
            }
        }
        self.at = end;
        if self.key {
            if let Some(open) = self.open.last_mut() {
                let bit = 1 << hash(key.as_bytes());
                open.suspect |= open.seen & bit != 0;
                open.seen |= bit;
            }
            self.entries.push(Entry { key, start, end: 0 });
        }
    }

    /// Notes where the value of the innermost object's last key ends.
    fn end_entry(&mut self) {
        let end = self.position();
        if let Some(open) = self.open.last()
            && open.object
            && self.entries.len() > open.first_entry
            && let Some(entry) = self.entries.last_mut()
        {
            entry.end = end;
        }
    }

    fn close(&mut self) {
        self.end_entry();
        if let Some(open) = self.open.pop() {
            let entries = self.entries.get(open.first_entry..).unwrap_or_default();
            if open.suspect && has_duplicates(entries) {
                self.flush();
                rewrite(self.out, self.entries.get(open.first_entry..).unwrap_or_default());
            }
            self.entries.truncate(open.first_entry);
        }
        self.at += 1;
    }
}

/// A number below 64 that differs for most keys that stand beside each other.
fn hash(key: &[u8]) -> u32 {
    let byte = |at: Option<&u8>| at.copied().map_or(0, u32::from);
    let len = u32::try_from(key.len()).unwrap_or_default();
    let mixed = byte(key.first()) * 7 + byte(key.last()) * 13 + byte(key.get(key.len() / 2)) * 29 + len * 3;
    mixed % 64
}

fn has_duplicates(entries: &[Entry<'_>]) -> bool {
    if entries.len() <= 12 {
        return entries
            .iter()
            .enumerate()
            .any(|(i, entry)| entries.get(i + 1..).unwrap_or_default().iter().any(|later| later.key == entry.key));
    }
    let mut keys: Vec<&str> = entries.iter().map(|entry| &*entry.key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair.first() == pair.last())
}

/// Writes the members of the object that ends the output again, each key once.
fn rewrite(out: &mut String, entries: &[Entry<'_>]) {
    let Some(first) = entries.first() else { return };
    let mut last: HashMap<&str, &Entry<'_>> = HashMap::new();
    for entry in entries {
        last.insert(&entry.key, entry);
    }
    let mut members = String::with_capacity(out.len() - first.start);
    for entry in entries {
        if let Some(winner) = last.remove(&*entry.key) {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(out.get(winner.start..winner.end).unwrap_or_default());
        }
    }
    out.truncate(first.start);
    out.push_str(&members);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compacted(text: &str) -> String {
        let mut out = String::from("x");
        compact(Json::check(text.as_bytes()).unwrap(), &mut out);
        out.split_off(1)
    }

    #[test]
    fn keeps_numbers_and_shortens_the_rest() {
        let cases = [
            (" [ 1E5 , -0.0 , 1.10 ] ", "[1E5,-0.0,1.10]"),
            (r#"{"\u0061" : "\u00e9\/\u001F\n" , "b":{ }, "c":[ ]}"#, "{\"a\":\"é/\\u001f\\n\",\"b\":{},\"c\":[]}"),
            (r#"{"a":1,"b":2,"\u0061": [ 3 ] }"#, r#"{"a":[3],"b":2}"#),
            (r#"{"o":{"k":1,"k":{"k":2, "k":3}},"o2":1,"o":{"k":1,"k":2}}"#, r#"{"o":{"k":2},"o2":1}"#),
            (r#""a b""#, r#""a b""#),
            (" true ", "true"),
        ];
        for (text, expected) in cases {
            assert_eq!(compacted(text), expected, "{text}");
        }
        let many: String = (0..40).map(|i| format!("\"k{}\": {i} ,", i % 20)).collect();
        let expected: Vec<String> = (20..40).map(|i| format!("\"k{}\":{i}", i - 20)).collect();
        assert_eq!(compacted(&format!("{{{}}}", many.trim_end_matches(','))), format!("{{{}}}", expected.join(",")));
    }

    #[test]
    fn unique_members_keep_the_last_value_at_the_first_place() {
        let text: String = (0..60).map(|i| format!("\"k{}\":{i},", i % 30)).collect();
        let text = format!("{{{}}}", text.trim_end_matches(','));
        let members = unique_members(Json::check(text.as_bytes()).unwrap());
        assert_eq!(members.len(), 30);
        for (i, (key, value)) in members.iter().enumerate() {
            assert_eq!((&**key, value.text()), (&*format!("k{i}"), &*format!("{}", i + 30)));
        }
    }

    proptest! {
        #[test]
        fn the_value_stays_and_is_compact(text in r#"(\{("[ab]" ?: ?("\\n é"|1\.0|\[ ?1 , 2\]|\{ ?"a":1,"a":\[\] \}), ){0,5}"c":0 \})"#) {
            let ours = compacted(&text);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), value);
            prop_assert_eq!(compacted(&ours), ours.clone());
            prop_assert!(!ours.contains(": ") && !ours.contains(" ,"));
        }
    }
}
