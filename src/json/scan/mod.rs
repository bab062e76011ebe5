//! One pass over JSON text that proves it valid (RFC 8259): grammar, UTF-8, escapes, surrogate pairs, depth.
//!
//! It never recurses, so that hostile nesting cannot exhaust the stack.

mod chunk;
mod notes;
mod skip;
mod stops;
#[cfg(test)]
pub(in crate::json) mod tests;

use super::tape::Node;
use notes::{MAX_NOTED, Noted, Notes, Open};
pub(in crate::json) use skip::skip_string_noting;
pub use skip::{skip_space, skip_string, skip_value};
use std::fmt;
use std::num::NonZeroU64;
use stops::{Span, Stops};

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
    /// Longer than 2 GiB.
    TooLong,
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
            Self::TooLong => f.write_str("longer than 2 GiB"),
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
    check_whole(text, max_depth, Open::default())
}

/// [`check_within`] that notes where all values lie. What it noted counts only if the whole text turns out to be valid.
///
/// # Errors
/// The first fault.
pub(in crate::json) fn check_noting<'a>(
    text: &'a [u8],
    max_depth: usize,
    nodes: &mut Vec<Node>,
) -> Result<&'a str, Error> {
    if text.len() > MAX_NOTED {
        return Err(Error { offset: MAX_NOTED, kind: ErrorKind::TooLong });
    }
    check_whole(text, max_depth, Noted::new(nodes))
}

/// A result that fits into registers; what is wrong is told in a box, for it is rare.
type Checked<T> = Result<T, Box<Error>>;

#[cold]
fn wrong(offset: usize, kind: ErrorKind) -> Box<Error> {
    Box::new(Error { offset, kind })
}

/// Checks that `text` is UTF-8, that there is a value in it, and that nothing follows; gives the value.
#[inline]
fn check_whole(text: &[u8], max_depth: usize, notes: impl Notes) -> Result<&str, Error> {
    let text = simdutf8::basic::from_utf8(text).map_err(|_| no_utf8(text))?;
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let end = check_value(bytes, start, max_depth, notes).map_err(|e| *e)?;
    let after = skip_space(bytes, end);
    if after < bytes.len() {
        return Err(Error { offset: after, kind: ErrorKind::Trailing });
    }
    text.get(start..end).ok_or(Error { offset: end, kind: ErrorKind::Utf8 })
}

#[cold]
fn no_utf8(text: &[u8]) -> Error {
    let offset = std::str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
    Error { offset, kind: ErrorKind::Utf8 }
}

/// Checks one value from `at` on; gives its end. The text must be UTF-8.
fn check_value<N: Notes>(bytes: &[u8], at: usize, max_depth: usize, mut notes: N) -> Checked<usize> {
    let mut stops = Stops::new(bytes);
    let mut depth = 0_usize;
    // What the value is in.
    let mut object = false;
    let mut at = at;
    loop {
        let mut key = N::Key::default();
        let mut ended = false;
        if object {
            if byte(bytes, at) != b'"' {
                return Err(no_key(bytes, at));
            }
            loop {
                let quoted = stops.string(at)?;
                key = N::key(quoted);
                at = quoted.end;
                // Most values are strings, and most text is compact.
                if !has(bytes, at, *b":\"") {
                    break;
                }
                let value = stops.string(at + 1)?;
                at = value.end;
                notes.scalar(key, value);
                ended = !has(bytes, at, *b",\"");
                if ended {
                    break;
                }
                at += 1;
            }
            if !ended {
                if byte(bytes, at) != b':' {
                    at = skip_space(bytes, at);
                    if byte(bytes, at) != b':' {
                        return Err(no_colon(bytes, at));
                    }
                }
                at = skip_space(bytes, at + 1);
            }
        }
        if !ended {
            match byte(bytes, at) {
                b'"' => {
                    let value = stops.string(at)?;
                    at = value.end;
                    notes.scalar(key, value);
                }
                bracket @ (b'{' | b'[') => {
                    if depth == max_depth {
                        return Err(wrong(at, ErrorKind::TooDeep));
                    }
                    let inside = object;
                    object = bracket == b'{';
                    notes.open(key, at, object);
                    at = skip_space(bytes, at + 1);
                    if byte(bytes, at) != if object { b'}' } else { b']' } {
                        depth += 1;
                        continue;
                    }
                    at += 1;
                    notes.close(at);
                    object = inside;
                }
                first => {
                    let end = match first {
                        b'-' | b'0'..=b'9' => check_number(bytes, at)?,
                        b't' => check_word(bytes, at, at, *b"true")?,
                        b'f' => check_word(bytes, at, at + 1, *b"alse")?,
                        b'n' => check_word(bytes, at, at, *b"null")?,
                        _ => return Err(no_value(bytes, at)),
                    };
                    notes.scalar(key, Span { start: at, end, escaped: false });
                    at = end;
                }
            }
        }
        // A value has ended; close what closes.
        loop {
            if depth == 0 {
                return Ok(at);
            }
            let mut found = byte(bytes, at);
            if found <= b' ' {
                at = skip_space(bytes, at);
                found = byte(bytes, at);
            }
            if found == b',' {
                at = skip_space(bytes, at + 1);
                break;
            }
            if found != if object { b'}' } else { b']' } {
                return Err(no_separator(bytes.get(at), object, at));
            }
            at += 1;
            depth -= 1;
            object = notes.close(at);
        }
    }
}

/// The byte at `at`; 0, which no valid text has there, beyond the end.
#[inline]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

/// Whether these two bytes are at `at`.
#[inline]
fn has(bytes: &[u8], at: usize, two: [u8; 2]) -> bool {
    bytes.get(at..).and_then(<[u8]>::first_chunk) == Some(&two)
}

#[cold]
fn no_separator(found: Option<&u8>, object: bool, offset: usize) -> Box<Error> {
    let kind = match (found, object) {
        (None, _) => ErrorKind::UnexpectedEnd,
        (Some(_), true) => ErrorKind::Unexpected("`,` or `}`"),
        (Some(_), false) => ErrorKind::Unexpected("`,` or `]`"),
    };
    wrong(offset, kind)
}

#[cold]
fn no_key(bytes: &[u8], at: usize) -> Box<Error> {
    expected("a key in quotes", bytes, at)
}

#[cold]
fn no_colon(bytes: &[u8], at: usize) -> Box<Error> {
    expected("`:`", bytes, at)
}

#[cold]
fn no_value(bytes: &[u8], at: usize) -> Box<Error> {
    expected("a value", bytes, at)
}

fn expected(what: &'static str, bytes: &[u8], at: usize) -> Box<Error> {
    wrong(at, if at < bytes.len() { ErrorKind::Unexpected(what) } else { ErrorKind::UnexpectedEnd })
}

/// Checks that the last four letters of the word that begins at `start` are at `at`; gives its end.
#[inline]
fn check_word(bytes: &[u8], start: usize, at: usize, letters: [u8; 4]) -> Checked<usize> {
    if bytes.get(at..).and_then(<[u8]>::first_chunk) == Some(&letters) {
        return Ok(at + letters.len());
    }
    Err(wrong(start, ErrorKind::Unexpected("a value")))
}

fn check_unicode_escape(bytes: &[u8], at: usize) -> Checked<usize> {
    let unit = hex4(bytes, at + 2).ok_or_else(|| wrong(at, ErrorKind::Escape))?;
    match unit {
        0xd800..=0xdbff => {
            let low = match bytes.get(at + 6..at + 8) {
                Some(b"\\u") => hex4(bytes, at + 8),
                _ => None,
            };
            match low {
                Some(0xdc00..=0xdfff) => Ok(at + 12),
                _ => Err(wrong(at, ErrorKind::Surrogate)),
            }
        }
        0xdc00..=0xdfff => Err(wrong(at, ErrorKind::Surrogate)),
        _ => Ok(at + 6),
    }
}

/// The number that four hex digits at `at` spell.
pub(in crate::json) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |sum, &b| Some(sum * 16 + char::from(b).to_digit(16)?))
}

/// Checks a number; gives its end.
#[inline]
fn check_number(bytes: &[u8], start: usize) -> Checked<usize> {
    if let Some(end) = short_number(bytes, start) {
        return Ok(end);
    }
    let first = if bytes.get(start) == Some(&b'-') { start + 1 } else { start };
    let mut at = skip_digits(bytes, first);
    if at == first || (bytes.get(first) == Some(&b'0') && at > first + 1) {
        return Err(wrong(start, ErrorKind::Number));
    }
    // An integer, most often.
    if let Some(b',' | b'}' | b']') = bytes.get(at) {
        return Ok(at);
    }
    let more = |at| {
        let end = skip_digits(bytes, at);
        if end > at { Ok(end) } else { Err(wrong(start, ErrorKind::Number)) }
    };
    if bytes.get(at) == Some(&b'.') {
        at = more(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = more(if signed { at + 2 } else { at + 1 })?;
    }
    // `1x` would otherwise be reported at the character after the number, which reads as riddle.
    match bytes.get(at) {
        Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'+') => Err(wrong(start, ErrorKind::Number)),
        _ => Ok(at),
    }
}

/// The end of a number of up to seven digits and perhaps a point among them, if something of the JSON follows at once: so
/// is nearly every number. `None` for any other, and for what is none.
#[inline]
fn short_number(bytes: &[u8], start: usize) -> Option<usize> {
    let word = u64::from_le_bytes(*bytes.get(start..)?.first_chunk()?);
    let found = |others: NonZeroU64| chunk::first_of(others) / 8;
    let others = NonZeroU64::new(no_digits(word))?;
    let whole = found(others);
    if whole == 0 || (whole > 1 && byte(bytes, start) == b'0') {
        return None;
    }
    let mut end = start + whole;
    if byte(bytes, end) == b'.' {
        end = start + found(NonZeroU64::new(others.get() & (others.get() - 1))?);
        if end == start + whole + 1 {
            return None;
        }
    }
    matches!(byte(bytes, end), b',' | b'}' | b']').then_some(end)
}

/// The high bit of each byte of eight that is no digit.
#[inline]
fn no_digits(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    // Digits become 0 to 9; with 0x76 more, others have the high bit set.
    let word = word ^ u64::from_ne_bytes([b'0'; 8]);
    (((word & LOW) + u64::from_ne_bytes([0x76; 8])) | word) & !LOW
}

/// The next position at or after `at` that is no digit.
#[inline]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let others = no_digits(u64::from_le_bytes(*word));
        if others != 0 {
            return at + chunk::first(others) / 8;
        }
        at += 8;
    }
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}
