//! `Json`: a checked JSON value that is still text.

use super::scan::{self, hex4, skip_space, skip_string, skip_value};
use crate::model::node::write_json_char;
use std::borrow::Cow;

/// JSON text that is known to be one valid value, without white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

/// The six kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A string literal of checked JSON, in its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks a text.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(text: &'a [u8]) -> Result<Self, scan::Error> {
        scan::check(text).map(Self)
    }

    /// Checks a text that may be nested `max_depth` deep.
    ///
    /// # Errors
    /// The first fault.
    pub fn check_within(text: &'a [u8], max_depth: usize) -> Result<Self, scan::Error> {
        scan::check_within(text, max_depth).map(Self)
    }

    /// A text that has just been checked.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// Takes a text that has been checked before, or was written by us.
    #[must_use]
    pub fn trusted(text: &'a str) -> Self {
        debug_assert!(scan::check(text.as_bytes()).is_ok_and(|t| t.len() == text.len()), "not JSON: {text}");
        Self(text)
    }

    /// The text as it stands in the event.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What kind of value it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_quoted(self) -> Option<Quoted<'a>> {
        (self.kind() == Kind::String).then_some(Quoted(self.0))
    }

    /// The decoded string, if it is one.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        self.as_quoted().map(Quoted::decode)
    }

    /// The members of an object, in order, duplicates included.
    #[must_use]
    pub fn members(self) -> Option<Members<'a>> {
        (self.kind() == Kind::Object).then(|| Members { text: self.0, at: skip_space(self.0.as_bytes(), 1) })
    }

    /// The elements of an array, in order.
    #[must_use]
    pub fn elements(self) -> Option<Elements<'a>> {
        (self.kind() == Kind::Array).then(|| Elements { text: self.0, at: skip_space(self.0.as_bytes(), 1) })
    }

    /// The member of that name; of duplicates the last (event-patterns.md rule 5).
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        self.members()?.filter(|(key, _)| key.is(name)).last().map(|(_, value)| value)
    }
}

impl<'a> Quoted<'a> {
    /// A literal of a text that has just been checked.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The characters between the quotes, escapes as written.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default()
    }

    /// The string it stands for. Borrows if there is no escape.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        let raw = self.raw();
        match memchr::memchr(b'\\', raw.as_bytes()) {
            None => Cow::Borrowed(raw),
            Some(first) => Cow::Owned(decode_escapes(raw, first)),
        }
    }

    /// Appends it without quotes, each character as short as JSON allows (transforms.md rule 38). What is not escaped is
    /// copied as it stands.
    pub fn write_shortest(self, out: &mut String) {
        let raw = self.raw();
        match memchr::memchr(b'\\', raw.as_bytes()) {
            None => out.push_str(raw),
            Some(first) => {
                out.reserve(raw.len());
                each_part(raw, first, |part| match part {
                    Part::Plain(text) => out.push_str(text),
                    Part::Escape(char) => write_json_char(char, out),
                });
            }
        }
    }

    /// Whether it stands for `text`.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        let raw = self.raw();
        if raw.len() <= text.len() {
            // An escape is longer than what it stands for.
            return raw == text && !raw.as_bytes().contains(&b'\\');
        }
        let first = raw.as_bytes().first().copied();
        if first != Some(b'\\') && first != text.as_bytes().first().copied() {
            return false;
        }
        memchr::memchr(b'\\', raw.as_bytes()).is_some_and(|first| decode_escapes(raw, first) == text)
    }
}

fn decode_escapes(raw: &str, first: usize) -> String {
    let mut out = String::with_capacity(raw.len());
    each_part(raw, first, |part| match part {
        Part::Plain(text) => out.push_str(text),
        Part::Escape(char) => out.push(char),
    });
    out
}

/// What a string literal is made of.
enum Part<'a> {
    /// Characters that stand for themselves.
    Plain(&'a str),
    /// What an escape stands for.
    Escape(char),
}

/// Goes over the parts of a literal without its quotes, whose first backslash is at `first`.
fn each_part<'a>(raw: &'a str, first: usize, mut each: impl FnMut(Part<'a>)) {
    let mut rest = raw;
    let mut at = first;
    loop {
        let (clean, escape) = rest.split_at(at);
        each(Part::Plain(clean));
        let bytes = escape.as_bytes();
        let (char, used) = match bytes.get(1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => {
                let high = hex4(bytes, 2).unwrap_or(0xfffd);
                let (code, used) = if (0xd800..0xdc00).contains(&high) {
                    let low = hex4(bytes, 8).unwrap_or(0xdc00);
                    (0x10000 + ((high - 0xd800) << 10) + (low & 0x3ff), 12)
                } else {
                    (high, 6)
                };
                (char::from_u32(code).unwrap_or('\u{fffd}'), used)
            }
            Some(&other) => (char::from(other), 2),
            None => ('\u{fffd}', 1),
        };
        each(Part::Escape(char));
        rest = escape.get(used..).unwrap_or_default();
        match memchr::memchr(b'\\', rest.as_bytes()) {
            Some(next) => at = next,
            None => return each(Part::Plain(rest)),
        }
    }
}

/// Iterates over the members of an object.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Quoted<'a>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(bytes, self.at);
        let key = Quoted(self.text.get(self.at..key_end)?);
        let start = skip_space(bytes, skip_space(bytes, key_end) + 1);
        let end = skip_value(bytes, start);
        let value = Json(self.text.get(start..end)?);
        self.at = after_comma(bytes, end);
        Some((key, value))
    }
}

/// Iterates over the elements of an array.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        if matches!(bytes.get(self.at), None | Some(b']')) {
            return None;
        }
        let end = skip_value(bytes, self.at);
        let value = Json(self.text.get(self.at..end)?);
        self.at = after_comma(bytes, end);
        Some(value)
    }
}

fn after_comma(bytes: &[u8], end: usize) -> usize {
    let at = skip_space(bytes, end);
    if bytes.get(at) == Some(&b',') { skip_space(bytes, at + 1) } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_without_parsing() {
        let json = Json::check(br#" { "a" : [ 1.10 , "x\u0041\ud83d\ude00\n" ] , "b":{}, "a": null } "#).unwrap();
        assert_eq!(json.kind(), Kind::Object);
        let members: Vec<_> = json.members().unwrap().map(|(k, v)| (k.decode().into_owned(), v.text())).collect();
        assert_eq!(members[0].0, "a");
        assert_eq!(members[1], ("b".to_owned(), "{}"));
        assert_eq!(json.get("a").unwrap().kind(), Kind::Null);
        let list = json.members().unwrap().next().unwrap().1;
        let elements: Vec<_> = list.elements().unwrap().collect();
        assert_eq!(elements[0].text(), "1.10");
        assert_eq!(elements[1].as_str().unwrap(), "xA😀\n");
        assert_eq!(json.get("b").unwrap().members().unwrap().count(), 0);
        assert_eq!(Json::check(b"[]").unwrap().elements().unwrap().count(), 0);
    }
}
