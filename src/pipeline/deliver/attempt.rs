//! Attempt: one request on one connection, and its answer; and how both become a report.

use super::content::{self, Content};
use super::error::Error;
use super::judge::{By, Outcome, Verdict, judge_failure};
use crate::destinations::Destination;
use crate::destinations::pool::{Connection, Incoming, ProtocolError};
use crate::destinations::responses::{self, End};
use crate::destinations::sign::Signed;
use crate::destinations::stream::Phase;
use crate::destinations::token::Lease;
use crate::model::clock::WallMs;
use crate::model::outcome::{Class, Report};
use crate::model::request::Request;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Uri};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Of an answer's body, at most this is read.
pub(super) const ANSWER_BYTES: usize = 64 * 1024;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An answer, its body cut at 64 KiB.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body is whole.
    pub(super) whole: bool,
    /// Why the body is not whole, if it broke off.
    pub(super) broken: Option<Error>,
}

/// A request that was tried on a connection.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) answer: Result<Answer, Error>,
    /// The connection, if it can take another request.
    pub(super) connection: Option<Connection>,
    /// The connection had carried a request before.
    pub(super) reused: bool,
    /// The connection carries requests of others too.
    pub(super) shared: bool,
}

/// The request as HTTP, authentication and signature added last.
///
/// # Errors
/// Something in it cannot stand in HTTP.
pub(super) fn build(
    destination: &Destination,
    request: Request,
    idempotency_key: &str,
    token: Option<&Lease>,
    now: WallMs,
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
    destination.auth().apply(&mut headers, &mut target, token);
    let signed = Signed { body: &request.body, id: idempotency_key, now };
    destination.auth().sign(&mut headers, &mut target, &signed).map_err(|detail| Error::Request { detail })?;
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
    mut connection: Connection,
    request: hyper::Request<Full<Bytes>>,
    destination: &Destination,
    limit: Duration,
) -> Exchange {
    let wire = Rc::clone(connection.wire());
    let (reused, shared) = (connection.is_used(), connection.is_shared());
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
            let error = Error::without_answer(&host(), source, &wire, sent);
            return Exchange { answer: Err(error), connection: None, reused, shared };
        }
        None => {
            connection.gave_up();
            let error = Error::Timeout { host: host(), phase: Phase::Headers, limit, sent };
            return Exchange { answer: Err(error), connection: None, reused, shared };
        }
    };
    wire.enter(Phase::Body);
    let (head, body) = head.into_parts();
    let status = head.status.as_u16();
    let mut answer = Answer { status, headers: head.headers, body: Bytes::new(), whole: false, broken: None };
    answer.whole = match wire.unless_expired(read(&mut connection, body, &mut answer.body)).await {
        Some(Ok(whole)) => whole,
        Some(Err(source)) => {
            answer.broken = Some(Error::Truncated { host: host(), status, source });
            false
        }
        None => {
            connection.gave_up();
            answer.broken = Some(Error::Timeout { host: host(), phase: Phase::Body, limit, sent: true });
            false
        }
    };
    // One look: an answer that came before the request was sent whole leaves a connection that is of no use.
    let ready = answer.whole && poll_fn(|cx| Poll::Ready(connection.is_ready(cx))).await;
    Exchange { answer: Ok(answer), connection: ready.then_some(connection), reused, shared }
}

/// Reads the body into `into`, as far as it is kept; `false` if it goes on beyond that.
async fn read(connection: &mut Connection, mut body: Incoming, into: &mut Bytes) -> Result<bool, ProtocolError> {
    let mut more = BytesMut::new();
    loop {
        let data = poll_fn(|cx| {
            connection.drive(cx);
            body.poll_data(cx)
        });
        let Some(data) = data.await.transpose()? else { break };
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
pub(super) fn judge(destination: &Destination, answer: Answer, span: Span) -> (Verdict<'_>, Report) {
    let Answer { status, headers, body, whole, broken } = answer;
    if let Some(error) = &broken
        && (200..300).contains(&status)
    {
        // Whether they took it is open until they have said so to the end.
        let (verdict, mut report) = fail(destination, error, span);
        report.status = Some(status);
        return (verdict, report);
    }
    let entries = destination.responses();
    let content = if entries.reads_body() { content::decode(&headers, &body, whole) } else { Content::none() };
    let end = End::Answer(responses::Answer { status, headers: &headers, body: &content.bytes, whole: content.whole });
    let verdict = super::judge(entries, &end, None, destination.is_fixed_endpoint(), WallMs::now());
    let mut report = report(&verdict, verdict.code(), span);
    report.status = Some(status);
    if report.class != Class::Success {
        report.message = explain(destination, status, &headers, &verdict);
        let content = if entries.reads_body() { content } else { content::decode(&headers, &body, whole) };
        let redact = |text: &str| destination.redact(text);
        report.excerpt = content::excerpt(&headers, &content.bytes, redact);
        if let By::Unrecognised = verdict.by {
            report.message.push_str(&why_no_success(destination, status, &headers, &content));
        }
    }
    (verdict, report)
}

/// Why an answer is no success, as far as entries tell. They are shown a redacted answer, for they quote the beginning
/// of what they see, and half a secret is not found any more.
fn why_no_success(destination: &Destination, status: u16, headers: &HeaderMap, content: &Content) -> String {
    let redact = |bytes: &[u8]| destination.redact(&String::from_utf8_lossy(bytes));
    let shown = headers.iter().filter_map(|(name, value)| {
        Some((name.clone(), HeaderValue::from_bytes(redact(value.as_bytes()).as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in shown {
        headers.append(name, value);
    }
    let body = redact(&content.bytes);
    let answer = responses::Answer { status, headers: &headers, body: body.as_bytes(), whole: content.whole };
    let why = destination.responses().why_no_success(&End::Answer(answer));
    why.map_or_else(String::new, |why| format!(": {}", redact(why.as_bytes())))
}

/// What an end without a usable answer means.
pub(super) fn fail<'d>(destination: &'d Destination, error: &Error, span: Span) -> (Verdict<'d>, Report) {
    let fixed = destination.is_fixed_endpoint();
    let verdict = judge_failure(destination.responses(), error, fixed, WallMs::now());
    let code = if let By::Entry(_) = verdict.by { verdict.code() } else { error.code() };
    let mut report = report(&verdict, code, span);
    if report.class != Class::Success {
        report.message = destination.redact(&error.to_string());
        report.message.push_str(&decided(&verdict));
    }
    (verdict, report)
}

fn report(verdict: &Verdict<'_>, code: &'static str, span: Span) -> Report {
    Report {
        class: verdict.outcome.class(),
        code,
        status: None,
        message: String::new(),
        excerpt: String::new(),
        retry_after: if verdict.outcome == Outcome::Throttled { verdict.wait } else { None },
        wait: if verdict.outcome == Outcome::Retry { verdict.wait } else { None },
        sent: span.sent,
        took: span.took,
    }
}

/// One sentence: who answered what, and what to do where that is known.
fn explain(destination: &Destination, status: u16, headers: &HeaderMap, verdict: &Verdict<'_>) -> String {
    let name = &destination.resource().name;
    let connection = &destination.resource().connection.name;
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let cure = match (verdict.by, verdict.outcome) {
        (By::Status, Outcome::AuthExpired) => format!("; check `auth` of connection `{connection}`"),
        (By::Status, Outcome::Gone) => {
            format!("; the endpoint is gone, so `{name}` is held until it is resumed")
        }
        (By::Status, Outcome::Incident) => match status {
            403 => format!("; check what the credentials of connection `{connection}` may do"),
            404 | 405 => format!("; check `endpoint` and `method` of destination `{name}`"),
            _ => match place(destination, headers) {
                Some(place) => format!("; redirects are not followed, write {place} if that is the right place"),
                None => "; redirects are not followed".to_owned(),
            },
        },
        (
            By::Status,
            Outcome::Success
            | Outcome::Duplicate
            | Outcome::Retry
            | Outcome::Throttled
            | Outcome::Reject
            | Outcome::Ambiguous,
        )
        | (By::Entry(_) | By::Unrecognised | By::GaveUp(_), _) => decided(verdict),
    };
    format!("`{name}` answered {status} {}", reason.unwrap_or_default()).trim_end().to_owned() + &cure
}

/// What `responses` had to do with it; empty if nothing.
fn decided(verdict: &Verdict<'_>) -> String {
    match verdict.by {
        By::Status => String::new(),
        By::Entry(entry) => format!("; `responses` ({}) say {}", entry.place, entry.outcome.as_str()),
        By::Unrecognised => ", which no entry of `responses` knows".to_owned(),
        By::GaveUp(limit) => format!("; `responses` cannot be decided: {limit}"),
    }
}

/// Where a redirect points, without its query, which may hold a secret.
fn place(destination: &Destination, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let place = location.split(['?', '#']).next().filter(|place| !place.is_empty() && !place.contains('@'))?;
    // Before it is cut, for half a secret is not found any more.
    Some(destination.redact(place).chars().take(200).collect())
}
