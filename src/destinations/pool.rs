//! Pool: the connections of one dispatcher, and what a connection is to a request.
//!
//! An HTTP/1.1 connection belongs to one request at a time and is put back; on an HTTP/2 connection requests have
//! places, and the pool keeps the connection itself and drives it.
//!
//! Not reqwest: its pool, per-request time-outs and boxed bodies cost several times the CPU of a request over a bare
//! connection, and a lane's dispatcher must decide itself on which connection a request goes and when it is cut off.

use super::http1::{self, Http1};
use super::http2::{self, Driver, Opened, Place, Shared};
use super::stream::{Phase, Stream, Wire};
use crate::model::clock::Monotonic;
use crate::model::request::Request;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use http::{HeaderMap, Method};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What carries one request.
#[derive(Debug)]
pub enum Connection {
    /// A connection of its own.
    Http1(Box<Http1>),
    /// A place on a connection that others use too.
    Http2(Box<Place>),
}

/// A connection that was just dialled.
#[derive(Debug)]
pub enum Dialled {
    /// HTTP/1.1.
    Http1(Box<Http1>),
    /// HTTP/2.
    Http2(Box<Opened>),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// Method.
    pub method: &'a Method,
    /// Host, and port where it is not the usual one.
    pub authority: &'a str,
}

/// What is to be kept of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Headers and body of a success, too; else only its status.
    pub all: bool,
    /// At most that much of the body is read.
    pub body_bytes: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as far as it was read.
    pub body: Bytes,
    /// The body is whole.
    pub whole: bool,
    /// Why it is not, if it broke off.
    pub broken: Option<ProtocolError>,
}

/// What HTTP says about the end of a request.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl To<'_> {
    /// Whether a request with so many bytes in its body says how many. Some servers answer 411 to such a method without a
    /// length.
    pub(super) fn has_length(&self, body: usize) -> bool {
        body > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(self.method)
    }
}

/// Connections that wait for requests; those of HTTP/1.1 with the one used last at the back.
#[derive(Debug, Default)]
pub struct Pool {
    idle: VecDeque<(Box<Http1>, Monotonic)>,
    shared: Vec<Shared>,
    /// Boxed, for the set keeps room for one that is not there.
    drivers: FuturesUnordered<Pin<Box<Driver>>>,
}

impl ProtocolError {
    /// They did not look at the request, though it may have been sent.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(error) => http2::is_unprocessed(error),
        }
    }

    /// What came is not HTTP.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Http1(http1::Error::Malformed(_)) => true,
            Self::Http1(http1::Error::Io(_) | http1::Error::Closed) => false,
            Self::Http2(error) => error.is_library() && error.is_go_away(),
        }
    }

    /// They want HTTP/1.1.
    #[must_use]
    pub fn wants_http1(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(error) => error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED),
        }
    }
}

impl Dialled {
    pub(super) async fn open(stream: Stream, wire: Rc<Wire>) -> Result<Self, ProtocolError> {
        if stream.speaks_http2() {
            return Ok(Self::Http2(Opened::open(stream, wire).await?));
        }
        Ok(Self::Http1(Http1::new(stream, wire)))
    }
}

impl Connection {
    /// What is known of it from outside.
    #[must_use]
    pub fn wire(&self) -> &Rc<Wire> {
        match self {
            Self::Http1(connection) => connection.wire(),
            Self::Http2(place) => place.wire(),
        }
    }

    /// It carried a request before, or others may have ended it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_used(),
            Self::Http2(_) => true,
        }
    }

    /// Others use it too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(_) => true,
        }
    }

    /// Begins an exchange, which [`Self::poll_answer`] drives. Takes the body out of the request.
    pub fn send(&mut self, request: &mut Request, to: To<'_>, wanted: Wanted) {
        self.wire().enter(Phase::Headers);
        match self {
            Self::Http1(connection) => connection.send(request, to, wanted),
            Self::Http2(place) => place.send(request, to, wanted),
        }
    }

    /// The answer, or as much of it as came before it broke off.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, ProtocolError>> {
        match self {
            Self::Http1(connection) => connection.poll_answer(cx).map_err(Into::into),
            // The pool moves the bytes.
            Self::Http2(place) => place.poll_answer(cx).map_err(Into::into),
        }
    }

    /// Ends the exchange, which is too late; what has come of the answer, if its head has. To be dropped then.
    pub fn give_up(&mut self) -> Option<Answer> {
        match self {
            Self::Http1(connection) => connection.give_up(),
            Self::Http2(place) => place.give_up(),
        }
    }

    /// Whether it can take another request at once.
    pub fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Http1(connection) => connection.is_ready(cx),
            Self::Http2(_) => true,
        }
    }
}

impl Pool {
    /// Takes a place on a shared connection, or the connection used last that is still good.
    pub fn take(&mut self, cx: &mut Context<'_>) -> Option<Connection> {
        if !self.shared.is_empty() {
            self.shared.retain_mut(|shared| shared.is_open(cx));
            if let Some(place) = self.shared.iter().find_map(Shared::place) {
                return Some(Connection::Http2(Box::new(place)));
            }
        }
        while let Some((mut connection, _)) = self.idle.pop_back() {
            if connection.is_ready(cx) {
                return Some(Connection::Http1(connection));
            }
        }
        None
    }

    /// Puts back what is ready for another request.
    pub fn put(&mut self, connection: Connection, now: Monotonic) {
        match connection {
            Connection::Http1(connection) => self.idle.push_back((connection, now)),
            Connection::Http2(place) => drop(place),
        }
    }

    /// A new connection.
    pub fn add(&mut self, dialled: Dialled, now: Monotonic) {
        match dialled {
            Dialled::Http1(connection) => self.idle.push_back((connection, now)),
            Dialled::Http2(opened) => {
                let Opened { shared, driver } = *opened;
                self.shared.push(shared);
                self.drivers.push(Box::pin(driver));
            }
        }
    }

    /// Moves what can be moved on shared connections.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = Pin::new(&mut self.drivers).poll_next(cx) {}
    }

    /// Closes what was idle for longer than `idle`; returns when to look again.
    pub fn tidy(&mut self, now: Monotonic, idle: Duration) -> Option<Monotonic> {
        let mut next = None;
        // The others keep a connection open that takes no more; it ends with the last of them.
        self.shared.retain_mut(|shared| {
            let ends = shared.idle_since(now).map(|since| since.plus(idle));
            let keep = !shared.is_retired() && ends.is_none_or(|ends| now < ends);
            if keep {
                next = next.into_iter().chain(ends).min();
            }
            keep
        });
        while let Some((_, since)) = self.idle.front() {
            let ends = since.plus(idle);
            if now < ends {
                return next.into_iter().chain([ends]).min();
            }
            self.idle.pop_front();
        }
        next
    }

    /// Connections that wait for requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.len() + self.shared.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty()
    }
}
