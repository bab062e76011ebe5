//! `Stops`: the strings of a text, found by the bytes in it that may end one.

use super::chunk::{self, BLOCK};
use super::{Checked, ErrorKind, check_unicode_escape, wrong};
use std::num::NonZeroU64;

/// A part of a text; for a string, with its quotes.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// There is an escape in it.
    pub(super) escaped: bool,
}

/// The quotes, backslashes and control characters of a text, found a block at a time: where the next one is does not
/// depend on the length of the string before it, so nothing waits for anything.
#[derive(Clone, Copy)]
pub(super) struct Stops<'a> {
    bytes: &'a [u8],
    /// Where the block after this one begins: a multiple of [`BLOCK`].
    next: usize,
    /// A bit for each stop in the block.
    block: u64,
}

impl<'a> Stops<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, block: 0 }
    }

    /// Checks the string whose quote is at `at`, which lies nowhere before the last one.
    #[inline(always)]
    pub(super) fn string(&mut self, at: usize) -> Checked<Span> {
        let stop = self.after(at);
        if self.bytes.get(stop) == Some(&b'"') {
            return Ok(Span { start: at, end: stop + 1, escaped: false });
        }
        let (stops, end) = special(*self, stop)?;
        *self = stops;
        Ok(Span { start: at, end, escaped: true })
    }

    /// The first stop after a place that lies in this block or behind it. After the end of the text there is one at every
    /// place.
    #[inline(always)]
    fn after(&mut self, at: usize) -> usize {
        if at >= self.next {
            self.next = at - at % BLOCK + BLOCK;
            self.block = stops(self.bytes, self.next - BLOCK);
        }
        let mut left = self.block & (!1 << (at % BLOCK));
        loop {
            if let Some(left) = NonZeroU64::new(left) {
                return self.next - BLOCK + chunk::first_of(left);
            }
            left = stops(self.bytes, self.next);
            self.block = left;
            self.next += BLOCK;
        }
    }
}

/// A bit for each stop in the block that begins at `at`.
#[inline(never)]
fn stops(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(block) => mask(block),
        // Zeros are stops.
        None => mask(&chunk::padded(rest, 0)),
    }
}

#[inline]
fn mask(block: &[u8; BLOCK]) -> u64 {
    let [stops] = chunk::masks(block, |chunk| [chunk.is(b'"') | chunk.is(b'\\') | chunk.up_to(0x1f)]);
    stops
}

/// Goes on checking a string where something other than its end needs to be looked at; gives its end.
#[inline(never)]
fn special(mut stops: Stops<'_>, mut at: usize) -> Checked<(Stops<'_>, usize)> {
    let bytes = stops.bytes;
    loop {
        let after = match bytes.get(at) {
            None => return Err(wrong(bytes.len(), ErrorKind::UnexpectedEnd)),
            Some(b'"') => return Ok((stops, at + 1)),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                Some(b'u') => check_unicode_escape(bytes, at)?,
                None => return Err(wrong(at + 1, ErrorKind::UnexpectedEnd)),
                Some(_) => return Err(wrong(at, ErrorKind::Escape)),
            },
            Some(_) => return Err(wrong(at, ErrorKind::Escape)),
        };
        at = stops.after(after - 1);
    }
}
