//! Pool: the connections of one dispatcher, and what a connection is to a request.
//!
//! An HTTP/1.1 connection belongs to one request at a time and is put back; on an HTTP/2 connection requests have
//! places, and the pool keeps the connection itself and drives it.
//!
//! Not reqwest: its pool, per-request time-outs and boxed bodies cost about twice the CPU of a request over hyper's own
//! connections, and a lane's dispatcher must decide itself on which connection a request goes and when it is cut off.

use super::http1::Http1;
use super::http2::{self, Driver, Opened, Place, Shared};
use super::stream::{Stream, Wire};
use crate::model::clock::Monotonic;
use bytes::Bytes;
use futures_util::future::Either;
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::RecvStream;
use http_body_util::Full;
use hyper::body::Body;
use hyper::{Request, Response};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Connections idle for longer are closed.
const IDLE: Duration = Duration::from_secs(30);

/// What carries one request.
#[derive(Debug)]
pub enum Connection {
    /// A connection of its own.
    Http1(Box<Http1>),
    /// A place on a connection that others use too.
    Http2(Place),
}

/// A connection that was just dialled.
#[derive(Debug)]
pub enum Dialled {
    /// HTTP/1.1.
    Http1(Box<Http1>),
    /// HTTP/2.
    Http2(Box<Opened>),
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub enum Incoming {
    /// HTTP/1.1.
    Http1(hyper::body::Incoming),
    /// HTTP/2.
    Http2(RecvStream),
}

/// What HTTP says about the end of a request.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

/// Connections that wait for requests; those of HTTP/1.1 with the one used last at the back.
#[derive(Debug, Default)]
pub struct Pool {
    idle: VecDeque<(Box<Http1>, Monotonic)>,
    shared: Vec<Shared>,
    drivers: FuturesUnordered<Driver>,
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
            Self::Http1(error) => error.is_parse(),
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
        Ok(Self::Http1(Http1::open(stream, wire).await?))
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

    /// Hands a request to the connection; the answer comes while it is driven.
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, ProtocolError>> + use<> {
        match self {
            Self::Http1(connection) => {
                let answer = connection.send(request);
                Either::Left(async move { Ok(answer.await?.map(Incoming::Http1)) })
            }
            Self::Http2(place) => {
                let answer = place.send(request);
                Either::Right(async move { Ok(answer.await?.map(Incoming::Http2)) })
            }
        }
    }

    /// Moves what can be moved. An error also reaches whoever waits for the answer, so it is not told here.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Http1(connection) => connection.drive(cx),
            // The pool does.
            Self::Http2(_) => {}
        }
    }

    /// Whether it can take another request at once.
    pub fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Http1(connection) => connection.is_ready(cx),
            Self::Http2(_) => true,
        }
    }

    /// Its request was given up for being late.
    pub fn gave_up(&self) {
        match self {
            // It is dropped with its request.
            Self::Http1(_) => {}
            Self::Http2(place) => place.gave_up(),
        }
    }
}

impl Incoming {
    /// The next piece of the body.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProtocolError>>> {
        match self {
            Self::Http1(body) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        // Trailers are of no use.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => return Poll::Ready(None),
                }
            },
            Self::Http2(body) => match ready!(body.poll_data(cx)) {
                Some(Ok(data)) => {
                    let released = body.flow_control().release_capacity(data.len());
                    Poll::Ready(Some(released.map(|()| data).map_err(Into::into)))
                }
                Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
                None => Poll::Ready(None),
            },
        }
    }
}

impl Pool {
    /// Takes a place on a shared connection, or the connection used last that is still good.
    pub fn take(&mut self, cx: &mut Context<'_>) -> Option<Connection> {
        if !self.shared.is_empty() {
            self.shared.retain_mut(|shared| shared.is_open(cx));
            if let Some(place) = self.shared.iter().find_map(Shared::place) {
                return Some(Connection::Http2(place));
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
                self.drivers.push(driver);
            }
        }
    }

    /// Moves what can be moved on shared connections.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = Pin::new(&mut self.drivers).poll_next(cx) {}
    }

    /// Closes what was idle for too long; returns when to look again.
    pub fn tidy(&mut self, now: Monotonic) -> Option<Monotonic> {
        let mut next = None;
        // The others keep a connection open that takes no more; it ends with the last of them.
        self.shared.retain_mut(|shared| {
            let ends = shared.idle_since(now).map(|since| since.plus(IDLE));
            let keep = !shared.is_retired() && ends.is_none_or(|ends| now < ends);
            if keep {
                next = next.into_iter().chain(ends).min();
            }
            keep
        });
        while let Some((_, since)) = self.idle.front() {
            let ends = since.plus(IDLE);
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
