//! HTTP/1.1: one connection, one request at a time.
//!
//! It has no task of its own: whoever uses it polls it. An idle one is polled once more when it is taken out, which
//! shows whether the other side closed it meanwhile.
//!
//! Not hyper, although libraries beat own code elsewhere: an exchange over hyper's client was the largest part of what
//! an event costs outside the kernel, for a map of headers, a channel and a body stream that a small request with its
//! whole body at hand does not need. Heads are read by httparse, hyper's own parser, and the tests hold whatever comes
//! back against hyper.

pub mod answer;
#[cfg(test)]
mod tests;

pub use answer::Malformed;

use super::pool::{Answer, To, Wanted};
use super::stream::{Phase, Stream, Wire};
use crate::model::request::Request;
use answer::Decoder;
use bytes::{Bytes, BytesMut};
use http::Method;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

/// Read at once; most answers are shorter.
const READ: usize = 1024;
/// Buffers that have become larger are given back after the exchange.
const KEPT: usize = 4 * READ;

/// A connection, with what is under way on it; large, so it lives in a box.
pub struct Http1 {
    stream: Stream,
    wire: Rc<Wire>,
    used: bool,
    /// It takes no further request.
    spent: bool,
    /// The head of the request.
    head: Vec<u8>,
    body: Bytes,
    /// Bytes of both that were written.
    written: usize,
    flushed: bool,
    /// They take no more of it.
    refused: Option<io::Error>,
    input: BytesMut,
    answer: Option<Decoder>,
}

/// Why no answer came, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// They closed the connection.
    #[error("connection closed before the answer was complete")]
    Closed,
    /// What came is not HTTP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Http1 {
    pub(super) fn new(stream: Stream, wire: Rc<Wire>) -> Box<Self> {
        Box::new(Self {
            stream,
            wire,
            used: false,
            spent: false,
            head: Vec::new(),
            body: Bytes::new(),
            written: 0,
            flushed: true,
            refused: None,
            input: BytesMut::new(),
            answer: None,
        })
    }

    pub(super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Begins an exchange, which [`Self::poll_answer`] drives. Takes the body out of the request.
    pub(super) fn send(&mut self, request: &mut Request, to: To<'_>, wanted: Wanted) {
        self.used = true;
        (self.written, self.flushed) = (0, false);
        self.body = mem::take(&mut request.body);
        write_head(&mut self.head, to, request, self.body.len());
        self.answer = Some(Decoder::new(wanted, *to.method == Method::HEAD));
    }

    /// The answer, or as much of it as came before it broke off.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Error>> {
        if !self.is_sent()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            // They may have said why before they closed.
            self.refused = Some(error);
        }
        let ended = ready!(self.poll_end(cx));
        let error = ended.err().map(|error| self.refused.take().map_or(error, Error::Io));
        Poll::Ready(match (self.give_up(), error) {
            (None, error) => Err(error.unwrap_or(Error::Closed)),
            (Some(answer), error) => Ok(Answer { broken: error.map(Into::into), ..answer }),
        })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(Error::Closed)) };
        loop {
            if answer.take(&mut self.input)? {
                return Poll::Ready(Ok(()));
            }
            if answer.status() != 0 {
                self.wire.enter(Phase::Body);
            }
            if self.input.capacity() - self.input.len() < READ / 4 {
                self.input.reserve(READ);
            }
            if ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input))? == 0 {
                return Poll::Ready(if answer.closed() { Ok(()) } else { Err(Error::Closed) });
            }
        }
    }

    /// Ends the exchange; what has come of the answer, if its head has.
    pub(super) fn give_up(&mut self) -> Option<Answer> {
        let answer = self.answer.take()?;
        self.spent |= !(answer.is_reusable() && self.flushed && self.input.is_empty());
        self.body = Bytes::new();
        if self.head.capacity() > KEPT {
            self.head = Vec::new();
        }
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        answer.into_answer()
    }

    /// Whether it can take a request at once.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        // Whatever comes while it is idle, an end or bytes nobody asked for: it is of no use any more.
        self.spent |= !self.spent && poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input).is_ready();
        !self.spent
    }

    /// Nothing more is to be written.
    fn is_sent(&self) -> bool {
        self.flushed || self.refused.is_some()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = self.head.get(self.written..).unwrap_or_default();
            let body = self.body.get(self.written.saturating_sub(self.head.len())..).unwrap_or_default();
            let written = match (head.is_empty(), body.is_empty()) {
                (true, true) => break,
                (true, false) => Pin::new(&mut self.stream).poll_write(cx, body),
                (false, true) => Pin::new(&mut self.stream).poll_write(cx, head),
                (false, false) => {
                    let pieces = [IoSlice::new(head), IoSlice::new(body)];
                    Pin::new(&mut self.stream).poll_write_vectored(cx, &pieces)
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

/// Request line and headers (RFC 9112, sections 3 and 5).
fn write_head(head: &mut Vec<u8>, to: To<'_>, request: &Request, body: usize) {
    head.clear();
    let path = if request.path.is_empty() { "/" } else { &request.path };
    let question = if request.query.is_empty() { "" } else { "?" };
    let opening =
        [to.method.as_str(), " ", path, question, &request.query, " HTTP/1.1\r\nhost: ", to.authority, "\r\n"];
    opening.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
    head.extend_from_slice(request.headers.as_lines().as_bytes());
    if to.has_length(body) {
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(body).as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("used", &self.used).field("spent", &self.spent).finish_non_exhaustive()
    }
}
