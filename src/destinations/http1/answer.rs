//! Answer: an HTTP/1.1 answer, put together from the bytes as they come (RFC 9112). Pure: no connection, no clock.
//!
//! Strict where two readers could disagree about where an answer ends (section 6.3), for the next one on the connection
//! would be taken for a part of this one: such an answer is refused, or the connection is not used again.

use crate::destinations::pool::{Answer, Wanted};
use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use memchr::memchr_iter;

/// Head, or trailers, of more bytes are not read.
const HEAD_BYTES: usize = 64 * 1024;
/// So much of a head is read again whenever more of it comes.
const BEGINNING: usize = 1024;
/// As many headers as hyper takes.
const HEADERS: usize = 100;
/// A chunk's length with its extensions.
const CHUNK_LINE: usize = 4 * 1024;

/// Why what came is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It cannot be read.
    #[error("the head of the answer is not HTTP/1: {0}")]
    Head(httparse::Error),
    /// It does not end.
    #[error("the head of the answer is longer than {} KiB", HEAD_BYTES / 1024)]
    Long,
    /// Its length is no number, or there are two.
    #[error("its Content-Length is no number, or not the only one")]
    Length,
    /// It is encoded in a way that hides its end.
    #[error("its Transfer-Encoding does not go with HTTP/1.0")]
    Encoding,
    /// A chunk cannot be read.
    #[error("a chunk of its body has no proper length or end")]
    Chunk,
}

/// An answer as far as it came.
#[derive(Debug)]
pub struct Decoder {
    wanted: Wanted,
    /// The request was `HEAD`, whose answer never has a body.
    head_only: bool,
    state: State,
    /// Bytes of the head that were looked at for its end.
    seen: usize,
    /// 0 until the head is there.
    status: u16,
    headers: HeaderMap,
    body: BytesMut,
    /// Bytes of the body so far, kept or not.
    bytes: usize,
    /// The connection may carry another request after it.
    reusable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes are left.
    Length(u64),
    /// The length of a chunk.
    ChunkLine,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// The lines after the last chunk, of which that many bytes have come.
    Trailers(usize),
    /// All until the connection is closed.
    UntilClosed,
    /// It is whole.
    Whole,
    /// It goes on beyond what is read.
    Cut,
}

impl Decoder {
    /// Nothing has come yet; `head_only` of an answer to `HEAD`.
    #[must_use]
    pub fn new(wanted: Wanted, head_only: bool) -> Self {
        Self {
            wanted,
            head_only,
            state: State::Head,
            seen: 0,
            status: 0,
            headers: HeaderMap::new(),
            body: BytesMut::new(),
            bytes: 0,
            reusable: false,
        }
    }

    /// Takes what it understands out of `input`; `true` when it has all it will have.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn take(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        loop {
            let before = (input.len(), self.state);
            match self.state {
                State::Head => self.head(input)?,
                State::Length(0) | State::Whole => {
                    self.state = State::Whole;
                    return Ok(true);
                }
                State::Cut => return Ok(true),
                State::Length(left) => self.state = State::Length(left - self.content(input, left)),
                State::ChunkLine => self.chunk_line(input)?,
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(left) => self.state = State::Chunk(left - self.content(input, left)),
                State::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::ChunkLine;
                    }
                    Some(_) => return Err(Malformed::Chunk),
                    None => return if b"\r\n".starts_with(input) { Ok(false) } else { Err(Malformed::Chunk) },
                },
                State::Trailers(bytes) => self.trailer(input, bytes)?,
                State::UntilClosed => {
                    self.content(input, u64::MAX);
                }
            }
            if self.bytes > self.wanted.body_bytes {
                self.state = State::Cut;
            }
            if before == (input.len(), self.state) {
                return Ok(false);
            }
        }
    }

    /// Nothing more will come; `true` if that is its end.
    pub fn closed(&mut self) -> bool {
        if self.state == State::UntilClosed {
            self.state = State::Whole;
        }
        matches!(self.state, State::Whole | State::Cut)
    }

    /// The status; 0 until the head is there.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The connection may carry another request.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.reusable && self.state == State::Whole
    }

    /// What came, if the head is there.
    #[must_use]
    pub fn into_answer(self) -> Option<Answer> {
        let Self { wanted, state, status, headers, mut body, .. } = self;
        body.truncate(wanted.body_bytes);
        let answer = Answer { status, headers, body: body.freeze(), whole: state == State::Whole, broken: None };
        (status != 0).then_some(answer)
    }

    fn keeps(&self, status: u16) -> bool {
        self.wanted.all || !(200..300).contains(&status)
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<(), Malformed> {
        let mut parsed = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut parsed);
        let before = self.seen;
        if !has_end(input, &mut self.seen) {
            // What is no head shows at its beginning; of a long one that comes in drops, only the end is looked for.
            if before < BEGINNING {
                head.parse(input.get(..BEGINNING).unwrap_or(input)).map_err(Malformed::Head)?;
            }
            return if input.len() > HEAD_BYTES { Err(Malformed::Long) } else { Ok(()) };
        }
        let length = match head.parse(input).map_err(Malformed::Head)? {
            httparse::Status::Complete(length) => length,
            // Lines before the head may be empty.
            httparse::Status::Partial if input.len() > HEAD_BYTES => return Err(Malformed::Long),
            httparse::Status::Partial => return Ok(()),
        };
        self.seen = 0;
        let (status, version) = (head.code.unwrap_or(0), head.version.unwrap_or(0));
        if (100..200).contains(&status) && status != 101 {
            // It says only that the answer is still to come (RFC 9110, section 15.2).
            input.advance(length);
            return Ok(());
        }
        let keep = self.keeps(status);
        let mut framing = Framing::new(version);
        for header in head.headers.iter() {
            framing.look(header);
            if keep
                && let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(header.name.as_bytes()), HeaderValue::from_bytes(header.value))
            {
                self.headers.append(name, value);
            }
        }
        let bodiless = self.head_only || [101, 204, 304].contains(&status);
        (self.state, self.reusable) = framing.decide(bodiless)?;
        // We asked for no other protocol, and nobody knows what follows.
        self.reusable &= status != 101;
        self.status = status;
        input.advance(length);
        Ok(())
    }

    /// Takes at most `left` bytes of the body; how many it were.
    fn content(&mut self, input: &mut BytesMut, left: u64) -> u64 {
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        self.bytes = self.bytes.saturating_add(bytes);
        let piece = input.split_to(bytes);
        if self.keeps(self.status) {
            // Most answers come in one piece, which becomes the body as it is.
            self.body.unsplit(piece);
        }
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn chunk_line(&mut self, input: &mut BytesMut) -> Result<(), Malformed> {
        match httparse::parse_chunk_size(input).map_err(|_| Malformed::Chunk)? {
            httparse::Status::Complete((length, size)) => {
                input.advance(length);
                self.state = if size == 0 { State::Trailers(0) } else { State::Chunk(size) };
                Ok(())
            }
            httparse::Status::Partial if input.len() > CHUNK_LINE => Err(Malformed::Chunk),
            httparse::Status::Partial => Ok(()),
        }
    }

    /// Trailers are of no use; they end with an empty line.
    fn trailer(&mut self, input: &mut BytesMut, before: usize) -> Result<(), Malformed> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            return if before + input.len() > HEAD_BYTES { Err(Malformed::Chunk) } else { Ok(()) };
        };
        let line = input.split_to(end + 1);
        self.state = match &line[..] {
            b"\r\n" | b"\n" => State::Whole,
            _ if before + line.len() > HEAD_BYTES => return Err(Malformed::Chunk),
            _ => State::Trailers(before + line.len()),
        };
        Ok(())
    }
}

/// Whether a line in `input` is empty; what has none up to `seen` is not looked at again.
fn has_end(input: &[u8], seen: &mut usize) -> bool {
    let from = seen.saturating_sub(2);
    let rest = input.get(from..).unwrap_or_default();
    *seen = input.len();
    memchr_iter(b'\n', rest).any(|at| {
        let after = rest.get(at + 1..).unwrap_or_default();
        after.starts_with(b"\n") || after.starts_with(b"\r\n")
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Unsaid,
    Said(u64),
    /// It is no number, or there are several.
    Unclear,
}

/// What the headers say about the end of the body (RFC 9112, section 6) and about the connection (section 9.3).
struct Framing {
    version: u8,
    length: Length,
    encoded: bool,
    /// The last encoding is `chunked`.
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    fn new(version: u8) -> Self {
        Self { version, length: Length::Unsaid, encoded: false, chunked: false, close: false, keep_alive: false }
    }

    fn look(&mut self, header: &httparse::Header<'_>) {
        let is = |name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        // Most headers are told apart by their lengths.
        match header.name.len() {
            14 if is(&CONTENT_LENGTH) => {
                // The same one several times is meant once (section 6.3).
                for item in header.value.split(|byte| *byte == b',') {
                    self.length = match (decimal(item), self.length) {
                        (Some(length), Length::Unsaid) => Length::Said(length),
                        (Some(length), Length::Said(other)) if length == other => self.length,
                        (Some(_) | None, _) => Length::Unclear,
                    };
                }
            }
            17 if is(&TRANSFER_ENCODING) => {
                self.encoded = true;
                self.chunked = items(header.value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            }
            10 if is(&CONNECTION) => {
                for item in items(header.value) {
                    self.close |= item.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
    }

    /// How the body is read, and whether the connection may go on after it.
    fn decide(&self, bodiless: bool) -> Result<(State, bool), Malformed> {
        let stays = !self.close && (self.version == 1 || self.keep_alive);
        if bodiless {
            return Ok((State::Length(0), stays));
        }
        match (self.encoded, self.length) {
            (true, _) if self.version == 0 => Err(Malformed::Encoding),
            // With a length beside it, somebody on the way may have read it otherwise (section 6.1).
            (true, length) if self.chunked => Ok((State::ChunkLine, stays && length == Length::Unsaid)),
            (true, _) | (false, Length::Unsaid) => Ok((State::UntilClosed, false)),
            (false, Length::Said(length)) => Ok((State::Length(length), stays)),
            (false, Length::Unclear) => Err(Malformed::Length),
        }
    }
}

/// The items of a list that is separated by commas.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Digits only: `+1` and `0x1` are none.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}
