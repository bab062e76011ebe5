//! The byte stream under an HTTP connection: TCP, or TLS over it, counting what was written.

use super::dial::{Pipe, is_verification};
use std::cell::Cell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What is known of a connection from outside while a request is under way on it; shared within one thread.
#[derive(Debug, Default)]
pub struct Wire {
    bytes: Rc<Bytes>,
    expired: Cell<bool>,
    phase: Cell<Phase>,
}

/// Bytes of a connection; the requests of a shared one count the same.
#[derive(Debug, Default)]
struct Bytes {
    written: Cell<u64>,
    heard: Cell<u64>,
    /// One side does not accept the other's certificate: TLS 1.3 tells so after the handshake.
    distrusted: Cell<bool>,
}

/// What a request is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// The name's addresses.
    #[default]
    Resolve,
    /// The TCP handshake.
    Connect,
    /// The tunnel that a proxy opens.
    Proxy,
    /// The TLS handshake.
    Handshake,
    /// The status line and headers of the answer.
    Headers,
    /// The rest of the answer.
    Body,
}

impl Wire {
    /// Bytes handed to the socket (before encryption) since the connection exists.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.bytes.written.get()
    }

    /// How often something came.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.bytes.heard.get()
    }

    /// One side said that it does not accept the other's certificate.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.bytes.distrusted.get()
    }

    /// For another request on the same connection.
    #[must_use]
    pub fn of_another(&self) -> Rc<Self> {
        Rc::new(Self { bytes: Rc::clone(&self.bytes), ..Self::default() })
    }

    /// What is being waited for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Notes what is being waited for.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// The deadline has passed: what is under way ends at its next poll.
    pub fn expire(&self) {
        self.expired.set(true);
    }

    /// The deadline has passed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// Runs `work` until it ends, or until the deadline has passed (`None`).
    pub async fn unless_expired<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            if self.expired.get() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// TCP or TLS.
pub(super) struct Stream {
    io: Io,
    wire: Rc<Wire>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// To the destination, within TLS to a proxy.
    TlsInTls(Box<TlsStream<TlsStream<TcpStream>>>),
    /// Of another network.
    Other(Pipe),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream, wire: Rc<Wire>) -> Self {
        Self { io: Io::Plain(tcp), wire }
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>, wire: Rc<Wire>) -> Self {
        Self { io: Io::Tls(Box::new(tls)), wire }
    }

    pub(super) fn other(pipe: Pipe, wire: Rc<Wire>) -> Self {
        Self { io: Io::Other(pipe), wire }
    }

    /// The other side chose HTTP/2 in the TLS handshake.
    pub(super) fn speaks_http2(&self) -> bool {
        match &self.io {
            Io::Plain(_) | Io::Other(_) => false,
            Io::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Io::TlsInTls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    pub(super) fn tls_in_tls(tls: TlsStream<TlsStream<TcpStream>>, wire: Rc<Wire>) -> Self {
        Self { io: Io::TlsInTls(Box::new(tls)), wire }
    }

    fn count(&self, written: usize) {
        let written = u64::try_from(written).unwrap_or(u64::MAX);
        self.wire.bytes.written.set(self.wire.bytes.written.get().saturating_add(written));
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let read = ready!(match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Io::TlsInTls(io) => Pin::new(io).poll_read(cx, buf),
            Io::Other(io) => Pin::new(io).poll_read(cx, buf),
        });
        match &read {
            Ok(()) => this.wire.bytes.heard.set(this.wire.bytes.heard.get().saturating_add(1)),
            Err(error) => this.wire.bytes.distrusted.set(is_verification(error)),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
            Io::TlsInTls(io) => Pin::new(io).poll_write(cx, buf),
            Io::Other(io) => Pin::new(io).poll_write(cx, buf),
        })?;
        this.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::TlsInTls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Other(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        })?;
        this.count(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
            Io::TlsInTls(io) => io.is_write_vectored(),
            Io::Other(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
            Io::TlsInTls(io) => Pin::new(io).poll_flush(cx),
            Io::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Io::TlsInTls(io) => Pin::new(io).poll_shutdown(cx),
            Io::Other(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
