//! HTTP/2 (RFC 9113): one connection, many requests at a time.
//!
//! A request takes a *place* on the connection, as many as the server allows (`SETTINGS_MAX_CONCURRENT_STREAMS`), and
//! gives it back when it is dropped; dropping it before its end resets its stream and leaves its neighbours alone. The
//! bytes are moved by a `Driver`, which the dispatcher's task polls beside its requests.
//!
//! Over the crate h2 itself, not hyper's client: hyper wants an executor and a task for each request, and hides why a
//! stream ended. That decides whether a request may be sent again: streams above the last one of a GOAWAY, and
//! refused ones, were not looked at.

use super::pool::ProtocolError;
use super::stream::{Stream, Wire};
use crate::model::clock::Monotonic;
use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Until the server has said how many streams it takes (RFC 9113 recommends it not to say less).
const FIRST_STREAMS: usize = 100;
/// Answers are read as they come, so this holds nobody back for long.
const WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An answer with more headers than this is not one we can use.
const HEADERS: u32 = 64 * 1024;
/// Streams we gave up whose answers may still come.
const GIVEN_UP: usize = 256;

/// A connection that was just opened.
#[derive(Debug)]
pub struct Opened {
    pub(super) shared: Shared,
    pub(super) driver: Driver,
}

/// A connection that takes requests.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    wire: Rc<Wire>,
    state: Rc<State>,
    /// No request is on it since.
    idle_since: Option<Monotonic>,
}

#[derive(Debug, Default)]
struct State {
    places: Cell<usize>,
    /// It takes no further requests.
    retired: Cell<bool>,
}

/// A place for one request.
#[derive(Debug)]
pub struct Place {
    sender: SendRequest<Bytes>,
    /// This request's own; it counts the bytes of the connection.
    wire: Rc<Wire>,
    state: Rc<State>,
    /// How often something had come when the request was sent.
    heard: u64,
}

/// Moves the bytes of a connection until it ends.
pub(super) struct Driver {
    connection: client::Connection<TokioIo<Stream>, Bytes>,
    state: Rc<State>,
}

impl Opened {
    pub(super) async fn open(stream: Stream, wire: Rc<Wire>) -> Result<Box<Self>, h2::Error> {
        let (sender, connection) = client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(FIRST_STREAMS)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS)
            .max_concurrent_reset_streams(GIVEN_UP)
            .handshake(TokioIo::new(stream))
            .await?;
        let state = Rc::new(State::default());
        let driver = Driver { connection, state: Rc::clone(&state) };
        Ok(Box::new(Self { shared: Shared { sender, wire, state, idle_since: None }, driver }))
    }
}

impl Shared {
    /// Whether it takes further requests: not after its end, a GOAWAY, or the last stream number.
    pub(super) fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        !self.state.retired.get() && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }

    /// A place, if the server allows another one.
    pub(super) fn place(&self) -> Option<Place> {
        let places = self.state.places.get();
        if places >= self.sender.current_max_send_streams() {
            return None;
        }
        self.state.places.set(places + 1);
        let (sender, wire, state) = (self.sender.clone(), self.wire.of_another(), Rc::clone(&self.state));
        Some(Place { sender, wire, state, heard: 0 })
    }

    /// Since when nothing is on it; `now` if that was not known before.
    pub(super) fn idle_since(&mut self, now: Monotonic) -> Option<Monotonic> {
        self.idle_since = if self.state.places.get() > 0 { None } else { Some(self.idle_since.unwrap_or(now)) };
        self.idle_since
    }

    pub(super) fn is_retired(&self) -> bool {
        self.state.retired.get()
    }
}

impl Place {
    pub(super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    /// Sends a request; the answer comes while the driver runs. Dropping the future gives the stream up.
    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<RecvStream>, ProtocolError>> + use<> {
        self.heard = self.wire.heard();
        let started = self.start(request);
        let state = Rc::clone(&self.state);
        async move {
            // The stream to send on is kept, or a request that is still being sent would be given up.
            let (response, _rest) = started?;
            let answer = response.await;
            if answer.as_ref().is_err_and(|error| error.reason() == Some(Reason::HTTP_1_1_REQUIRED)) {
                state.retired.set(true);
            }
            Ok(answer?)
        }
    }

    fn start(&mut self, request: Request<Full<Bytes>>) -> Result<(ResponseFuture, SendStream<Bytes>), ProtocolError> {
        let (mut parts, body) = request.into_parts();
        let body = bytes_of(body);
        let authority = parts.headers.remove(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        parts.uri = absolute(authority, &parts.uri);
        forget_connection_headers(&mut parts.headers);
        if !body.is_empty() {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let (response, mut stream) = self.sender.send_request(Request::from_parts(parts, ()), body.is_empty())?;
        if !body.is_empty() {
            // It is whole in memory anyway: h2 sends it as the server's windows allow.
            stream.send_data(body, true)?;
        }
        Ok((response, stream))
    }

    /// Its request was given up for being late. If nothing came meanwhile, the other side may be gone without
    /// having said so: no further request goes there.
    pub(super) fn gave_up(&self) {
        if self.wire.heard() == self.heard {
            self.state.retired.set(true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.places.set(self.state.places.get().saturating_sub(1));
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Its error also reaches whoever waits for an answer, so it is not told here.
        let ended = Pin::new(&mut this.connection).poll(cx).is_ready();
        if ended {
            this.state.retired.set(true);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The bytes of a body that has them all.
fn bytes_of(mut body: Full<Bytes>) -> Bytes {
    let frame = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    match frame {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        Poll::Ready(Some(Err(never))) => match never {},
        Poll::Ready(None) | Poll::Pending => Bytes::new(),
    }
}

/// Only `https` speaks HTTP/2 here. Without an authority it stays as it is, which h2 refuses.
fn absolute(authority: Option<Authority>, uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = authority.is_some().then_some(Scheme::HTTPS);
    parts.authority = authority;
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// RFC 9113, 8.2.2: they speak of the connection, and HTTP/2 has no place for them.
fn forget_connection_headers(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// They did not look at the request: its stream is above the last one of a GOAWAY, or was refused (RFC 9113, 8.7), or
/// they want it by HTTP/1.1.
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::HTTP_1_1_REQUIRED));
    error.is_remote() && (error.is_go_away() || (error.is_reset() && refused))
}
