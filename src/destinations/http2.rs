//! HTTP/2 (RFC 9113): one connection, many requests at a time.
//!
//! A request takes a *place* on the connection, as many as the server allows (`SETTINGS_MAX_CONCURRENT_STREAMS`), and
//! gives it back when it is dropped; dropping it before its end resets its stream and leaves its neighbours alone. The
//! bytes are moved by a `Driver`, which the dispatcher's task polls beside its requests.
//!
//! Over the crate h2 itself, not hyper's client: hyper wants an executor and a task for each request, and hides why a
//! stream ended. That decides whether a request may be sent again: streams above the last one of a GOAWAY, and
//! refused ones, were not looked at.

use super::pool::{Answer, To, Wanted};
use super::stream::{Phase, Stream, Wire};
use crate::model::clock::Monotonic;
use crate::model::request::Request;
use bytes::{Bytes, BytesMut};
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};

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
    under_way: UnderWay,
}

/// What is under way in a place.
enum UnderWay {
    Nothing,
    /// It could not be sent.
    Failed(Option<h2::Error>),
    Sent {
        response: ResponseFuture,
        wanted: Wanted,
        /// Kept, or a request that is still being sent would be given up.
        _rest: SendStream<Bytes>,
    },
    /// The head is there.
    Answered {
        rest: RecvStream,
        answer: Answer,
        read: BytesMut,
        wanted: Wanted,
    },
}

/// Moves the bytes of a connection until it ends.
pub(super) struct Driver {
    connection: client::Connection<Stream, Bytes>,
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
            .handshake(stream)
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
        Some(Place { sender, wire, state, heard: 0, under_way: UnderWay::Nothing })
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

    /// Begins an exchange; the answer comes while the driver runs. Dropping the place gives the stream up.
    pub(super) fn send(&mut self, request: &mut Request, to: To<'_>, wanted: Wanted) {
        self.heard = self.wire.heard();
        self.under_way = match self.start(request, to) {
            Ok((response, rest)) => UnderWay::Sent { response, wanted, _rest: rest },
            Err(error) => UnderWay::Failed(Some(error)),
        };
    }

    fn start(&mut self, request: &mut Request, to: To<'_>) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let body = mem::take(&mut request.body);
        let mut head = http::Request::new(());
        *head.method_mut() = to.method.clone();
        *head.uri_mut() = absolute(to.authority, &request.target());
        for (name, value) in request.headers.iter() {
            // What cannot stand in HTTP was refused before.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
                && !speaks_of_connection(&name)
            {
                head.headers_mut().append(name, value);
            }
        }
        if to.has_length(body.len()) {
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let (response, mut stream) = self.sender.send_request(head, body.is_empty())?;
        if !body.is_empty() {
            // It is whole in memory anyway: h2 sends it as the server's windows allow.
            stream.send_data(body, true)?;
        }
        Ok((response, stream))
    }

    /// The answer, or as much of it as came before it broke off.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, h2::Error>> {
        loop {
            match &mut self.under_way {
                UnderWay::Nothing => return Poll::Pending,
                UnderWay::Failed(error) => {
                    return Poll::Ready(Err(error.take().unwrap_or_else(|| Reason::CANCEL.into())));
                }
                UnderWay::Sent { response, wanted, .. } => {
                    let response = ready!(Pin::new(response).poll(cx));
                    if response.as_ref().is_err_and(|error| error.reason() == Some(Reason::HTTP_1_1_REQUIRED)) {
                        self.state.retired.set(true);
                    }
                    let (head, rest) = response?.into_parts();
                    let (status, headers) = (head.status.as_u16(), head.headers);
                    let answer = Answer { status, headers, body: Bytes::new(), whole: false, broken: None };
                    self.wire.enter(Phase::Body);
                    self.under_way = UnderWay::Answered { rest, answer, read: BytesMut::new(), wanted: *wanted };
                }
                UnderWay::Answered { rest, answer, read, wanted } => {
                    match ready!(rest.poll_data(cx)) {
                        Some(Ok(data)) => {
                            read.extend_from_slice(&data);
                            answer.broken = rest.flow_control().release_capacity(data.len()).err().map(Into::into);
                        }
                        Some(Err(error)) => answer.broken = Some(error.into()),
                        None => answer.whole = true,
                    }
                    let ended = answer.whole || answer.broken.is_some() || read.len() > wanted.body_bytes;
                    if ended && let Some(answer) = self.end() {
                        return Poll::Ready(Ok(answer));
                    }
                }
            }
        }
    }

    /// Ends the exchange, which is too late; what has come of the answer, if its head has. If nothing came meanwhile,
    /// the other side may be gone without having said so: no further request goes there.
    pub(super) fn give_up(&mut self) -> Option<Answer> {
        if self.wire.heard() == self.heard {
            self.state.retired.set(true);
        }
        self.end()
    }

    fn end(&mut self) -> Option<Answer> {
        match mem::replace(&mut self.under_way, UnderWay::Nothing) {
            UnderWay::Answered { mut answer, mut read, wanted, .. } => {
                read.truncate(wanted.body_bytes);
                answer.body = read.freeze();
                Some(answer)
            }
            UnderWay::Nothing | UnderWay::Failed(_) | UnderWay::Sent { .. } => None,
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

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Failed(_) => "failed",
            Self::Sent { .. } => "sent",
            Self::Answered { .. } => "answered",
        })
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Only `https` speaks HTTP/2 here. Without an authority it stays as it is, which h2 refuses.
fn absolute(authority: &str, target: &str) -> Uri {
    let target = PathAndQuery::try_from(target).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    let authority = Authority::try_from(authority).ok();
    let mut parts = http::uri::Parts::default();
    parts.scheme = authority.is_some().then_some(Scheme::HTTPS);
    parts.authority = authority;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).unwrap_or_default()
}

/// RFC 9113, 8.2.2: HTTP/2 has no place for them.
fn speaks_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
}

/// They did not look at the request: its stream is above the last one of a GOAWAY, or was refused (RFC 9113, 8.7), or
/// they want it by HTTP/1.1.
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::HTTP_1_1_REQUIRED));
    error.is_remote() && (error.is_go_away() || (error.is_reset() && refused))
}
