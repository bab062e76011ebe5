//! Attempt: one request on one connection, and its answer; and how both become a report.

use super::classify::{self, Verdict};
use super::error::Error;
use crate::destinations::Destination;
use crate::destinations::pool::Connection;
use crate::destinations::stream::Phase;
use crate::model::clock::WallMs;
use crate::model::outcome::{Class, Report};
use crate::model::request::Request;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Uri};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Of an answer's body, at most this is read.
const ANSWER_BYTES: usize = 64 * 1024;
const EXCERPT_BYTES: usize = 1024;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An answer, its body cut at 64 KiB.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Why the body is not whole, if it broke off.
    pub(super) broken: Option<Error>,
}

/// A request that was tried on a connection.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) answer: Result<Answer, Error>,
    /// The connection, if it can take another request.
    pub(super) connection: Option<Box<Connection>>,
    /// The connection had carried a request before.
    pub(super) reused: bool,
}

/// The request as HTTP, authentication added last.
///
/// # Errors
/// Something in it cannot stand in HTTP.
pub(super) fn build(
    destination: &Destination,
    request: Request,
    idempotency_key: &str,
) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 6);
    headers.insert(HOST, destination.authority().clone());
    headers.insert(USER_AGENT, AGENT);
    let key = HeaderValue::from_str(idempotency_key);
    headers
        .insert(IDEMPOTENCY_KEY, key.map_err(|_| Error::Request { detail: "its idempotency key is no header value" })?);
    for (name, value) in request.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|_| Error::Request { detail: "a header name holds a character that HTTP forbids" })?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        let value = value.map_err(|_| Error::Request { detail: "a header value holds a control character" })?;
        headers.insert(name, value);
    }
    if request.body.is_empty() && expects_body(destination.method()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut target = request.path;
    if !request.query.is_empty() {
        target.push('?');
        target.push_str(&request.query);
    }
    destination.auth().apply(&mut headers, &mut target);
    let uri = Uri::from_maybe_shared(Bytes::from(target));
    let mut built = hyper::Request::new(Full::new(request.body));
    *built.method_mut() = destination.method().clone();
    *built.uri_mut() = uri.map_err(|_| Error::Request { detail: "its path or query is too long or not encoded" })?;
    *built.headers_mut() = headers;
    Ok(built)
}

/// Some servers answer 411 to such a method without a length.
fn expects_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// Sends the request and reads the answer. Ends early when the connection's wire is expired.
pub(super) async fn exchange(
    mut connection: Box<Connection>,
    request: hyper::Request<Full<Bytes>>,
    destination: &Destination,
    limit: Duration,
) -> Exchange {
    let wire = Rc::clone(connection.wire());
    let reused = connection.is_used();
    let before = wire.written();
    let host = || destination.authority().to_str().unwrap_or_default().to_owned();
    wire.enter(Phase::Headers);
    let mut response = pin!(connection.send(request));
    let head = poll_fn(|cx| {
        connection.drive(cx);
        response.as_mut().poll(cx)
    });
    let head = wire.unless_expired(head).await;
    let sent = wire.written() > before;
    let head = match head {
        Some(Ok(head)) => head,
        Some(Err(source)) => {
            let error = Error::without_answer(&host(), source, sent);
            return Exchange { answer: Err(error), connection: None, reused };
        }
        None => {
            let error = Error::Timeout { host: host(), phase: Phase::Headers, limit, sent };
            return Exchange { answer: Err(error), connection: None, reused };
        }
    };
    wire.enter(Phase::Body);
    let (head, body) = head.into_parts();
    let status = head.status.as_u16();
    let mut answer = Answer { status, headers: head.headers, body: Bytes::new(), broken: None };
    let whole = match wire.unless_expired(read(&mut connection, body, &mut answer.body)).await {
        Some(Ok(whole)) => whole,
        Some(Err(source)) => {
            answer.broken = Some(Error::Truncated { host: host(), status, source });
            false
        }
        None => {
            answer.broken = Some(Error::Timeout { host: host(), phase: Phase::Body, limit, sent: true });
            false
        }
    };
    // One look: an answer that came before the request was sent whole leaves a connection that is of no use.
    let ready = whole && poll_fn(|cx| Poll::Ready(connection.is_ready(cx))).await;
    Exchange { answer: Ok(answer), connection: ready.then_some(connection), reused }
}

/// Reads the body into `into`, as far as it is kept; `false` if it goes on beyond that.
async fn read(connection: &mut Connection, mut body: Incoming, into: &mut Bytes) -> hyper::Result<bool> {
    let mut more = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| {
            connection.drive(cx);
            Pin::new(&mut body).poll_frame(cx)
        });
        let Some(frame) = frame.await.transpose()? else { break };
        let Ok(data) = frame.into_data() else { continue };
        if into.is_empty() && more.is_empty() {
            // Most answers come in one piece, which is kept as it is.
            *into = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(into);
            }
            more.extend_from_slice(&data);
        }
        if into.len().max(more.len()) > ANSWER_BYTES {
            return Ok(finish(into, more, false));
        }
    }
    Ok(finish(into, more, true))
}

fn finish(into: &mut Bytes, more: BytesMut, whole: bool) -> bool {
    if !more.is_empty() {
        *into = more.freeze();
    }
    into.truncate(ANSWER_BYTES);
    whole
}

/// When an attempt began and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) sent: Option<WallMs>,
    pub(super) took: Duration,
}

/// What an answer means.
pub(super) fn judge(destination: &Destination, answer: Answer, span: Span) -> (Verdict, Report) {
    let verdict = classify::status(answer.status, &answer.headers, destination.is_fixed_endpoint(), WallMs::now());
    let success = verdict.class == Class::Success;
    match answer.broken {
        // Whether they took it is open until they have said so to the end.
        Some(error) if success => {
            let (verdict, mut report) = fail(destination, &error, span);
            report.status = Some(answer.status);
            (verdict, report)
        }
        Some(_) | None => {
            let report = Report {
                class: verdict.class,
                code: if success { "DELIVER_OK" } else { "DELIVER_STATUS" },
                status: Some(answer.status),
                message: if success { String::new() } else { explain(destination, &answer) },
                excerpt: if success { String::new() } else { excerpt(destination, &answer.body) },
                retry_after: verdict.retry_after(),
                sent: span.sent,
                took: span.took,
            };
            (verdict, report)
        }
    }
}

/// What an end without a usable answer means.
pub(super) fn fail(destination: &Destination, error: &Error, span: Span) -> (Verdict, Report) {
    let verdict = classify::failure(error);
    let report = Report {
        class: verdict.class,
        code: error.code(),
        status: None,
        message: destination.auth().redact(&error.to_string()),
        excerpt: String::new(),
        retry_after: None,
        sent: span.sent,
        took: span.took,
    };
    (verdict, report)
}

/// One sentence: who answered what, and what to do where that is known.
fn explain(destination: &Destination, answer: &Answer) -> String {
    let name = &destination.resource().name;
    let connection = &destination.resource().connection.name;
    let fixed = destination.is_fixed_endpoint();
    let reason = hyper::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let cure = match answer.status {
        401 | 407 => format!("; check `auth` of connection `{connection}`"),
        403 if fixed => format!("; check what the credentials of connection `{connection}` may do"),
        404 | 405 if fixed => format!("; check `endpoint` and `method` of destination `{name}`"),
        410 if fixed => format!("; the endpoint is gone, so `{name}` is held until it is resumed"),
        300..=399 => match place(destination, &answer.headers) {
            Some(place) => format!("; redirects are not followed, write {place} if that is the right place"),
            None => "; redirects are not followed".to_owned(),
        },
        _ => String::new(),
    };
    format!("`{name}` answered {} {}{cure}", answer.status, reason.unwrap_or_default()).trim_end().to_owned()
}

/// Where a redirect points, without its query, which may hold a secret.
fn place(destination: &Destination, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let place = location.split(['?', '#']).next().filter(|place| !place.is_empty() && !place.contains('@'))?;
    let short: String = place.chars().take(200).collect();
    Some(destination.auth().redact(&short))
}

/// The beginning of a body as text, secrets blanked out, at most 1 KiB.
fn excerpt(destination: &Destination, body: &Bytes) -> String {
    // Twice as much, so that a secret across the cut is seen whole.
    let beginning = body.get(..EXCERPT_BYTES * 2).unwrap_or(body);
    let mut text = destination.auth().redact(&String::from_utf8_lossy(beginning));
    let end = (0..=EXCERPT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}
