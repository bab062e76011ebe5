//! One pass over JSON text that proves it valid (RFC 8259): grammar, UTF-8, escapes, surrogate pairs, depth.
//!
//! It never recurses, so that hostile nesting cannot exhaust the stack.

use std::fmt;

/// Objects and arrays in each other at most. Everything that walks checked JSON may recurse this deep.
pub const MAX_DEPTH: usize = 512;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// Byte offset from the start of the text.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text ends in the middle.
    UnexpectedEnd,
    /// Something else was expected here.
    Unexpected(&'static str),
    /// Not a number of RFC 8259.
    Number,
    /// An unknown escape, or a control character in a string.
    Escape,
    /// Half of a surrogate pair.
    Surrogate,
    /// Not UTF-8.
    Utf8,
    /// More levels than allowed, usually [`MAX_DEPTH`].
    TooDeep,
    /// Something follows the value.
    Trailing,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("unexpected end of JSON"),
            Self::Unexpected(wanted) => write!(f, "expected {wanted}"),
            Self::Number => f.write_str("not a JSON number"),
            Self::Escape => f.write_str("bad escape or control character in a string"),
            Self::Surrogate => f.write_str("unpaired surrogate in a string"),
            Self::Utf8 => f.write_str("not UTF-8"),
            Self::TooDeep => f.write_str("nested too deep"),
            Self::Trailing => f.write_str("text after the JSON value"),
        }
    }
}

/// Checks that `text` is one JSON value with nothing but white space around it, and gives its text without that
/// white space.
///
/// # Errors
/// The first fault.
pub fn check(text: &[u8]) -> Result<&str, Error> {
    check_within(text, MAX_DEPTH)
}

/// [`check`] with another limit on the depth. Whoever walks a deeper text must not recurse as deep as it goes.
///
/// # Errors
/// The first fault.
pub fn check_within(text: &[u8], max_depth: usize) -> Result<&str, Error> {
    let text = std::str::from_utf8(text).map_err(|e| Error { offset: e.valid_up_to(), kind: ErrorKind::Utf8 })?;
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let end = check_value(bytes, start, max_depth)?;
    let after = skip_space(bytes, end);
    if after < bytes.len() {
        return Err(Error { offset: after, kind: ErrorKind::Trailing });
    }
    text.get(start..end).ok_or(Error { offset: end, kind: ErrorKind::Utf8 })
}

/// The next position at or after `at` that is no white space.
#[must_use]
pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`. Only for text that [`check`] has accepted: it looks at structure alone.
#[must_use]
pub fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        _ => {
            let rest = bytes.get(at..).unwrap_or_default();
            let len = rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
            at + len.unwrap_or(rest.len())
        }
    }
}

/// The end of the string literal that begins with the quote at `at`; checked text only.
#[must_use]
pub fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            None => return bytes.len(),
            Some(i) if rest.get(i) == Some(&b'"') => return at + i + 1,
            Some(i) => at += i + 2,
        }
    }
}

fn skip_nested(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => {
                at = skip_string(bytes, at);
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            Some(_) => {}
        }
        at += 1;
    }
}

/// Checks one value from `at` on; gives its end. `bytes` must be UTF-8.
fn check_value(bytes: &[u8], at: usize, max_depth: usize) -> Result<usize, Error> {
    // One entry per open container: true is an object.
    let mut open: Vec<bool> = Vec::new();
    let mut at = at;
    loop {
        // A value begins at `at`.
        match bytes.get(at) {
            None => return Err(Error { offset: at, kind: ErrorKind::UnexpectedEnd }),
            Some(&bracket @ (b'{' | b'[')) => {
                if open.len() == max_depth {
                    return Err(Error { offset: at, kind: ErrorKind::TooDeep });
                }
                let object = bracket == b'{';
                at = skip_space(bytes, at + 1);
                if bytes.get(at) == Some(if object { &b'}' } else { &b']' }) {
                    at += 1;
                } else {
                    open.push(object);
                    if object {
                        at = check_key(bytes, at)?;
                    }
                    continue;
                }
            }
            Some(b'"') => at = check_string(bytes, at)?,
            Some(b't') => at = check_word(bytes, at, b"true")?,
            Some(b'f') => at = check_word(bytes, at, b"false")?,
            Some(b'n') => at = check_word(bytes, at, b"null")?,
            Some(b'-' | b'0'..=b'9') => at = check_number(bytes, at)?,
            Some(_) => return Err(Error { offset: at, kind: ErrorKind::Unexpected("a value") }),
        }
        // A value has ended; close what closes.
        loop {
            let Some(&object) = open.last() else { return Ok(at) };
            at = skip_space(bytes, at);
            match (bytes.get(at), object) {
                (Some(b','), true) => {
                    at = check_key(bytes, skip_space(bytes, at + 1))?;
                    break;
                }
                (Some(b','), false) => {
                    at = skip_space(bytes, at + 1);
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    open.pop();
                    at += 1;
                }
                (None, _) => return Err(Error { offset: at, kind: ErrorKind::UnexpectedEnd }),
                (Some(_), true) => return Err(Error { offset: at, kind: ErrorKind::Unexpected("`,` or `}`") }),
                (Some(_), false) => return Err(Error { offset: at, kind: ErrorKind::Unexpected("`,` or `]`") }),
            }
        }
    }
}

/// Checks a key and its colon; gives where the value begins.
fn check_key(bytes: &[u8], at: usize) -> Result<usize, Error> {
    match bytes.get(at) {
        Some(b'"') => {}
        None => return Err(Error { offset: at, kind: ErrorKind::UnexpectedEnd }),
        Some(_) => return Err(Error { offset: at, kind: ErrorKind::Unexpected("a key in quotes") }),
    }
    let at = skip_space(bytes, check_string(bytes, at)?);
    match bytes.get(at) {
        Some(b':') => Ok(skip_space(bytes, at + 1)),
        None => Err(Error { offset: at, kind: ErrorKind::UnexpectedEnd }),
        Some(_) => Err(Error { offset: at, kind: ErrorKind::Unexpected("`:`") }),
    }
}

fn check_word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Error> {
    match bytes.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(Error { offset: at, kind: ErrorKind::Unexpected("a value") }),
    }
}

fn check_string(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let mut at = at + 1;
    loop {
        match bytes.get(at) {
            None => return Err(Error { offset: at, kind: ErrorKind::UnexpectedEnd }),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => at = check_unicode_escape(bytes, at)?,
                None => return Err(Error { offset: at + 1, kind: ErrorKind::UnexpectedEnd }),
                Some(_) => return Err(Error { offset: at, kind: ErrorKind::Escape }),
            },
            Some(0..=0x1f) => return Err(Error { offset: at, kind: ErrorKind::Escape }),
            Some(_) => at += 1,
        }
    }
}

fn check_unicode_escape(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let unit = hex4(bytes, at + 2).ok_or(Error { offset: at, kind: ErrorKind::Escape })?;
    match unit {
        0xd800..=0xdbff => {
            let low = match bytes.get(at + 6..at + 8) {
                Some(b"\\u") => hex4(bytes, at + 8),
                _ => None,
            };
            match low {
                Some(0xdc00..=0xdfff) => Ok(at + 12),
                _ => Err(Error { offset: at, kind: ErrorKind::Surrogate }),
            }
        }
        0xdc00..=0xdfff => Err(Error { offset: at, kind: ErrorKind::Surrogate }),
        _ => Ok(at + 6),
    }
}

/// The number that four hex digits at `at` spell.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |sum, &b| Some(sum * 16 + char::from(b).to_digit(16)?))
}

fn check_number(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let wrong = |offset| Error { offset, kind: ErrorKind::Number };
    let digits = |mut at: usize| {
        let start = at;
        while let Some(b'0'..=b'9') = bytes.get(at) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    let start = at;
    let mut at = if bytes.get(at) == Some(&b'-') { at + 1 } else { at };
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at).ok_or_else(|| wrong(start))? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1).ok_or_else(|| wrong(start))?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at).ok_or_else(|| wrong(start))?;
    }
    // `01` and `1x` would otherwise be reported at the character after the number, which reads as riddle.
    match bytes.get(at) {
        Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'+') => Err(wrong(start)),
        _ => Ok(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_what_is_wrong_and_where() {
        let cases: [(&[u8], usize, ErrorKind); 12] = [
            (b"", 0, ErrorKind::UnexpectedEnd),
            (b"{\"a\":1", 6, ErrorKind::UnexpectedEnd),
            (b"{a:1}", 1, ErrorKind::Unexpected("a key in quotes")),
            (b"[1,]", 3, ErrorKind::Unexpected("a value")),
            (b"[1 2]", 3, ErrorKind::Unexpected("`,` or `]`")),
            (b"01", 0, ErrorKind::Number),
            (b"[1.]", 1, ErrorKind::Number),
            (b"\"\\x\"", 1, ErrorKind::Escape),
            (b"\"a\nb\"", 2, ErrorKind::Escape),
            (b"\"\\ud800\"", 1, ErrorKind::Surrogate),
            (b"\"\xff\"", 1, ErrorKind::Utf8),
            (b"1 1", 2, ErrorKind::Trailing),
        ];
        for (text, offset, kind) in cases {
            assert_eq!(check(text), Err(Error { offset, kind }), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let deep = "[".repeat(100_000);
        assert!(matches!(check(deep.as_bytes()), Err(Error { kind: ErrorKind::TooDeep, .. })));
        let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(check(fits.as_bytes()).is_ok());
    }

    /// Text made of pieces of JSON, so that about every tenth is valid.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\"",
            "\"a\"",
            "\"a\":",
            "\\",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud800",
            "\\n",
            "0",
            "-",
            "1",
            ".5",
            "e9",
            "true",
            "null",
            "fals",
            "é",
            "\u{1}",
            "[]",
            "{}",
            "{\"b\":[1,",
            "\"\\\"\"",
        ]);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in pieces()) {
            let ours = check(text.as_bytes()).is_ok();
            let theirs = match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(_) => true,
                // A number beyond f64 is valid JSON all the same.
                Err(e) => e.to_string().contains("out of range"),
            };
            prop_assert_eq!(ours, theirs, "{}", text);
        }

        #[test]
        fn skipping_ends_where_checking_ends(text in pieces()) {
            if let Ok(value) = check(text.as_bytes()) {
                prop_assert_eq!(skip_value(value.as_bytes(), 0), value.len());
            }
        }
    }
}
