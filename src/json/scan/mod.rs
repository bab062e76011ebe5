//! One pass over JSON text that proves it valid (RFC 8259): grammar, UTF-8, escapes, surrogate pairs, depth.
//!
//! It never recurses, so that hostile nesting cannot exhaust the stack.

mod chunk;
mod skip;
#[cfg(test)]
mod tests;

use chunk::BLOCK;
pub(in crate::json) use skip::skip_string_noting;
pub use skip::{skip_space, skip_string, skip_value};
use smallvec::SmallVec;
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
    check_whole(text, |text, start| check_value(&mut Stops::new(text.as_bytes()), start, max_depth))
}

/// [`check`] for an object whose members are wanted: `each` is given the key, in its quotes, and the value of every
/// member, in order, as they are checked. What it was given counts only if the whole text turns out to be valid. Of a
/// text that is another value nothing is given.
///
/// # Errors
/// The first fault.
pub fn check_members<'a>(text: &'a [u8], mut each: impl FnMut(&'a str, &'a str)) -> Result<&'a str, Error> {
    check_whole(text, |text, start| {
        let bytes = text.as_bytes();
        let mut stops = Stops::new(bytes);
        if bytes.get(start) != Some(&b'{') {
            return check_value(&mut stops, start, MAX_DEPTH);
        }
        let mut at = skip_space(bytes, start + 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        loop {
            let key = at;
            let key_end = check_key(&mut stops, key)?;
            let value = check_colon(bytes, key_end)?;
            let end = check_value(&mut stops, value, MAX_DEPTH - 1)?;
            each(text.get(key..key_end).unwrap_or_default(), text.get(value..end).unwrap_or_default());
            at = skip_space(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = skip_space(bytes, at + 1),
                Some(b'}') => return Ok(at + 1),
                found => return Err(no_separator(found, true, at)),
            }
        }
    })
}

/// A result that fits into registers; what is wrong is told in a box, for it is rare.
type Checked<T> = Result<T, Box<Error>>;

#[cold]
fn wrong(offset: usize, kind: ErrorKind) -> Box<Error> {
    Box::new(Error { offset, kind })
}

/// Checks that `text` is UTF-8, that `value` finds the end of a value in it, and that nothing follows; gives the value.
#[inline]
fn check_whole<'a>(text: &'a [u8], value: impl FnOnce(&'a str, usize) -> Checked<usize>) -> Result<&'a str, Error> {
    let text = std::str::from_utf8(text).map_err(|e| Error { offset: e.valid_up_to(), kind: ErrorKind::Utf8 })?;
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let end = value(text, start).map_err(|e| *e)?;
    let after = skip_space(bytes, end);
    if after < bytes.len() {
        return Err(Error { offset: after, kind: ErrorKind::Trailing });
    }
    text.get(start..end).ok_or(Error { offset: end, kind: ErrorKind::Utf8 })
}

/// Finds the quotes, backslashes and control characters of a text, a block of it at a time: most strings are short,
/// and a string after the first of a block costs no more than a shift.
struct Stops<'a> {
    bytes: &'a [u8],
    /// Where the block begins.
    start: usize,
    /// A bit for each stop in the block.
    found: u64,
}

impl<'a> Stops<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0, found: 0 }
    }

    /// The first stop at or after `at`, which lies nowhere before the last one; beyond the text if there is none.
    #[inline(always)]
    fn next(&mut self, at: usize) -> usize {
        let inside = at - self.start;
        if inside < BLOCK {
            let left = self.found >> inside;
            if left != 0 {
                return at + chunk::first(left);
            }
        }
        self.search(at)
    }

    #[inline(never)]
    fn search(&mut self, at: usize) -> usize {
        self.start = at;
        loop {
            let rest = self.bytes.get(self.start..).unwrap_or_default();
            self.found = match rest.first_chunk() {
                Some(block) => stops(block),
                // Zeros are stops.
                None => stops(&chunk::padded(rest, 0)),
            };
            if self.found != 0 {
                return self.start + chunk::first(self.found);
            }
            self.start += BLOCK;
        }
    }
}

#[inline]
fn stops(block: &[u8; BLOCK]) -> u64 {
    let [stops] = chunk::masks(block, |chunk| [chunk.is(b'"') | chunk.is(b'\\') | chunk.up_to(0x1f)]);
    stops
}

/// The containers that are open, a bit for each: set for an object. Most texts are nested less deep than a word is
/// wide, and then nothing is allocated.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost up to 64, the last in bit 0.
    word: u64,
    /// The words before it.
    full: SmallVec<[u64; 8]>,
}

impl Open {
    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.word >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.full.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost is an object; `None` if there is none.
    #[inline]
    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}

/// Checks one value from `at` on; gives its end. The text must be UTF-8.
fn check_value(stops: &mut Stops<'_>, at: usize, max_depth: usize) -> Checked<usize> {
    let bytes = stops.bytes;
    let mut open = Open::default();
    let mut at = at;
    // A key comes before the value.
    let mut key = false;
    loop {
        if key {
            let end = check_key(stops, at)?;
            at = check_colon(bytes, end)?;
        }
        match bytes.get(at) {
            Some(b'"') => at = check_string(stops, at)?,
            Some(&bracket @ (b'{' | b'[')) => {
                if open.depth == max_depth {
                    return Err(wrong(at, ErrorKind::TooDeep));
                }
                let object = bracket == b'{';
                at = skip_space(bytes, at + 1);
                if bytes.get(at) == Some(if object { &b'}' } else { &b']' }) {
                    at += 1;
                } else {
                    open.push(object);
                    key = object;
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9') => at = check_number(bytes, at)?,
            Some(b't') => at = check_word(bytes, at, b"true")?,
            Some(b'f') => at = check_word(bytes, at, b"false")?,
            Some(b'n') => at = check_word(bytes, at, b"null")?,
            Some(_) => return Err(wrong(at, ErrorKind::Unexpected("a value"))),
            None => return Err(wrong(at, ErrorKind::UnexpectedEnd)),
        }
        // A value has ended; close what closes.
        loop {
            let Some(object) = open.last() else { return Ok(at) };
            at = skip_space(bytes, at);
            match (bytes.get(at), object) {
                (Some(b','), object) => {
                    at = skip_space(bytes, at + 1);
                    key = object;
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    open.pop();
                    at += 1;
                }
                (found, object) => return Err(no_separator(found, object, at)),
            }
        }
    }
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

/// Checks a key; gives its end.
#[inline(always)]
fn check_key(stops: &mut Stops<'_>, at: usize) -> Checked<usize> {
    match stops.bytes.get(at) {
        Some(b'"') => check_string(stops, at),
        None => Err(wrong(at, ErrorKind::UnexpectedEnd)),
        Some(_) => Err(wrong(at, ErrorKind::Unexpected("a key in quotes"))),
    }
}

/// Checks that a colon follows the key that ends at `at`; gives where the value begins.
#[inline]
fn check_colon(bytes: &[u8], at: usize) -> Checked<usize> {
    let at = skip_space(bytes, at);
    match bytes.get(at) {
        Some(b':') => Ok(skip_space(bytes, at + 1)),
        None => Err(wrong(at, ErrorKind::UnexpectedEnd)),
        Some(_) => Err(wrong(at, ErrorKind::Unexpected("`:`"))),
    }
}

fn check_word(bytes: &[u8], at: usize, word: &'static [u8]) -> Checked<usize> {
    match bytes.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(wrong(at, ErrorKind::Unexpected("a value"))),
    }
}

/// Checks the string whose quote is at `at`; gives its end.
#[inline(always)]
fn check_string(stops: &mut Stops<'_>, at: usize) -> Checked<usize> {
    let stop = stops.next(at + 1);
    if stops.bytes.get(stop) == Some(&b'"') { Ok(stop + 1) } else { check_string_from(stops, stop) }
}

/// Goes on checking a string where something other than its end needs to be looked at.
#[inline(never)]
fn check_string_from(stops: &mut Stops<'_>, mut at: usize) -> Checked<usize> {
    let bytes = stops.bytes;
    loop {
        match bytes.get(at) {
            None => return Err(wrong(bytes.len(), ErrorKind::UnexpectedEnd)),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => at = check_unicode_escape(bytes, at)?,
                None => return Err(wrong(at + 1, ErrorKind::UnexpectedEnd)),
                Some(_) => return Err(wrong(at, ErrorKind::Escape)),
            },
            Some(_) => return Err(wrong(at, ErrorKind::Escape)),
        }
        at = stops.next(at);
    }
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

#[inline]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}
