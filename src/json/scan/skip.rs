//! Skipping over values of text that has been checked: only quotes, backslashes and brackets are looked at.

use super::chunk::{self, BLOCK, Chunk};

/// The next position at or after `at` that is no white space.
#[must_use]
#[inline]
pub fn skip_space(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at).is_some_and(|byte| *byte <= b' ') { skip_spaces(bytes, at) } else { at }
}

/// Indented text has one space after a colon, and long runs at the begin of a line. Compact text has none, so this does
/// not belong into the loops that look for it.
#[cold]
#[inline(never)]
fn skip_spaces(bytes: &[u8], mut at: usize) -> usize {
    if bytes.get(at) == Some(&b' ') && bytes.get(at + 1).is_some_and(|byte| *byte > b' ') {
        return at + 1;
    }
    while let Some(chunk) = Chunk::at(bytes, at) {
        let spaces = (chunk.is(b' ') | chunk.is(b'\n') | chunk.is(b'\t') | chunk.is(b'\r')).mask();
        let run = chunk::first(!spaces);
        at += run;
        if run < chunk::LEN {
            return at;
        }
    }
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`. Only for text that [`super::check`] has accepted: it looks at structure
/// alone.
#[must_use]
#[inline]
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
#[inline]
pub fn skip_string(bytes: &[u8], at: usize) -> usize {
    skip_string_noting(bytes, at).0
}

/// [`skip_string`], and whether there is an escape in it.
#[inline]
pub(in crate::json) fn skip_string_noting(bytes: &[u8], at: usize) -> (usize, bool) {
    let mut at = at + 1;
    let mut escaped = false;
    loop {
        let (stop, byte) = quote_or_backslash(bytes, at);
        match byte {
            Some(b'"') => return (stop + 1, escaped),
            Some(_) => {
                at = stop + 2;
                escaped = true;
            }
            None => return (bytes.len(), escaped),
        }
    }
}

#[inline]
fn quote_or_backslash(bytes: &[u8], mut at: usize) -> (usize, Option<u8>) {
    while let Some(chunk) = Chunk::at(bytes, at) {
        let stops = (chunk.is(b'"') | chunk.is(b'\\')).mask();
        if stops != 0 {
            at += chunk::first(stops);
            return (at, bytes.get(at).copied());
        }
        at += chunk::LEN;
    }
    loop {
        match bytes.get(at) {
            Some(&byte @ (b'"' | b'\\')) => return (at, Some(byte)),
            Some(_) => at += 1,
            None => return (at, None),
        }
    }
}

/// The end of the object or array that begins at `at`.
fn skip_nested(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    let mut nesting = Nesting::default();
    while let Some((block, after)) = rest.split_first_chunk() {
        if let Some(end) = nesting.pass(block) {
            return bytes.len() - rest.len() + end;
        }
        rest = after;
    }
    nesting.pass(&chunk::padded(rest, b' ')).map_or(bytes.len(), |end| bytes.len() - rest.len() + end)
}

/// Where a skip stands between two blocks.
#[derive(Default)]
struct Nesting {
    /// Containers that are open.
    depth: u32,
    /// All bits set inside a string.
    inside: u64,
    /// Set if the next byte is escaped.
    escaped: u64,
}

impl Nesting {
    /// Passes over a block; the end of the outermost container if it is in there.
    #[inline]
    fn pass(&mut self, block: &[u8; BLOCK]) -> Option<usize> {
        let look = |chunk: Chunk| [chunk.is(b'"'), chunk.is(b'\\'), chunk.is_folded(b'{'), chunk.is_folded(b'}')];
        let [mut quotes, backslashes, mut opening, mut closing] = chunk::masks(block, look);
        if backslashes | self.escaped != 0 {
            quotes &= !self.escapes(backslashes);
        }
        let inside = parity(quotes) ^ self.inside;
        self.inside = 0_u64.wrapping_sub(inside >> 63);
        opening &= !inside;
        closing &= !inside;
        if closing.count_ones() < self.depth {
            self.depth = self.depth + opening.count_ones() - closing.count_ones();
            return None;
        }
        let mut brackets = opening | closing;
        while brackets != 0 {
            let bracket = brackets & brackets.wrapping_neg();
            if opening & bracket != 0 {
                self.depth += 1;
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(chunk::first(bracket) + 1);
                }
            }
            brackets ^= bracket;
        }
        None
    }

    /// The bytes that a backslash makes literal.
    fn escapes(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.escaped;
        self.escaped = 0;
        let mut left = backslashes & !escaped;
        while left != 0 {
            let backslash = left & left.wrapping_neg();
            let next = backslash << 1;
            // The last of the block escapes the first of the next.
            self.escaped |= u64::from(next == 0);
            escaped |= next;
            left &= !(backslash | next);
        }
        escaped
    }
}

/// Bit n is the parity of bits 0 to n: from each quote on until before the next all bits are set.
fn parity(mut mask: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        mask ^= mask << shift;
    }
    mask
}
