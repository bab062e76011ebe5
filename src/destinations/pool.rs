//! Pool: the idle connections of one dispatcher, and what a connection is.
//!
//! A connection has no task of its own: whoever uses it drives it. An idle one is driven once more when it is taken
//! out, which shows whether the other side closed it meanwhile.
//!
//! Not reqwest: its pool, per-request time-outs and boxed bodies cost about twice the CPU of a request over hyper's own
//! connections, and a lane's dispatcher must decide itself on which connection a request goes and when it is cut off.

use super::stream::{Stream, Wire};
use crate::model::clock::Monotonic;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Connections idle for longer are closed.
const IDLE: Duration = Duration::from_secs(30);

/// One HTTP/1.1 connection and the machine that moves its bytes; large, so it lives in a box.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Stream, Full<Bytes>>,
    ended: bool,
    used: bool,
    wire: Rc<Wire>,
}

/// Idle connections, the one used last at the back.
#[derive(Debug, Default)]
pub struct Pool {
    idle: VecDeque<(Box<Connection>, Monotonic)>,
}

impl Connection {
    pub(super) async fn open(stream: Stream, wire: Rc<Wire>) -> hyper::Result<Box<Self>> {
        // An answer with more headers than this is not one we can use.
        let (sender, driver) = http1::Builder::new().max_buf_size(64 * 1024).handshake(stream).await?;
        Ok(Box::new(Self { sender, driver, ended: false, used: false, wire }))
    }

    /// What is known of it from outside.
    #[must_use]
    pub fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    /// It carried a request before.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Hands a request to the connection; the answer comes while it is driven.
    pub fn send(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>> + use<> {
        self.used = true;
        self.sender.send_request(request)
    }

    /// Moves what can be moved. An error also reaches whoever waits for the answer, so it is not told here.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    /// Whether it can take another request at once.
    pub fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("used", &self.used).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Pool {
    /// Takes the connection used last that is still good.
    pub fn take(&mut self, cx: &mut Context<'_>) -> Option<Box<Connection>> {
        while let Some((mut connection, _)) = self.idle.pop_back() {
            if connection.is_ready(cx) {
                return Some(connection);
            }
        }
        None
    }

    /// Puts back a connection that is ready for another request.
    pub fn put(&mut self, connection: Box<Connection>, now: Monotonic) {
        self.idle.push_back((connection, now));
    }

    /// Closes what was idle for too long; returns when to look again.
    pub fn tidy(&mut self, now: Monotonic) -> Option<Monotonic> {
        while let Some((_, since)) = self.idle.front() {
            let ends = since.plus(IDLE);
            if now < ends {
                return Some(ends);
            }
            self.idle.pop_front();
        }
        None
    }

    /// Idle connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.len()
    }

    /// None idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }
}
