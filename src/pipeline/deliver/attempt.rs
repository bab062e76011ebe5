//! Attempt: one request on one connection, and its answer; and how both become a report.

use super::content::{self, Content};
use super::error::Error;
use super::judge::{By, Outcome, Verdict, judge_failure};
use crate::destinations::Destination;
use crate::destinations::pool::{Answer, Connection, Wanted};
use crate::destinations::responses::{self, End};
use crate::destinations::stream::Wire;
use crate::destinations::token::Lease;
use crate::model::clock::WallMs;
use crate::model::outcome::{Class, Report};
use crate::model::request::Request;
use http::header::{HeaderMap, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Of an answer's body, at most this is read.
pub(super) const ANSWER_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// The longest path and query that HTTP libraries take.
const TARGET_BYTES: usize = 65_534;

/// A request on its way on a connection.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    destination: &'a Destination,
    /// Taken when it ends.
    connection: Option<Connection>,
    wire: Rc<Wire>,
    /// Bytes that had been written before.
    before: u64,
    /// The connection had carried a request before.
    reused: bool,
}

/// A request that was tried on a connection.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) answer: Result<Answer, Error>,
    /// Why the body of the answer is not whole, if it broke off.
    pub(super) broken: Option<Error>,
    /// The connection, if it can take another request.
    pub(super) connection: Option<Connection>,
    /// The connection had carried a request before.
    pub(super) reused: bool,
    /// The connection carries requests of others too.
    pub(super) shared: bool,
}

/// Adds to a rendered request what every request has, authentication, and last the signature.
///
/// # Errors
/// Something in it cannot stand in HTTP.
pub(super) fn prepare(
    destination: &Destination,
    request: &mut Request,
    idempotency_key: &str,
    token: Option<&Lease>,
    now: WallMs,
) -> Result<(), Error> {
    for (name, value) in [("user-agent", AGENT), ("idempotency-key", idempotency_key)] {
        if request.headers.get(name).is_none() {
            request.headers.set(name, value);
        }
    }
    destination.auth().apply(request, token);
    let signed = destination.auth().sign(request, idempotency_key, now);
    signed.and_then(|()| check(request)).map_err(|detail| Error::Request { detail })
}

/// Whatever a rule or an event put into it: it is one request and no other.
fn check(request: &Request) -> Result<(), &'static str> {
    for (name, value) in request.headers.iter() {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a header name holds a character that HTTP forbids");
        }
        if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 127) {
            return Err("a header value holds a control character");
        }
    }
    let plain = |part: &str| part.bytes().all(is_plain);
    let is_plain = request.path.starts_with('/') && plain(&request.path) && plain(&request.query);
    let length = request.path.len() + request.query.len();
    if length < TARGET_BYTES && (is_plain || is_target(&request.target())) {
        return Ok(());
    }
    Err("its path or query is too long or not encoded")
}

fn is_target(text: &str) -> bool {
    PathAndQuery::try_from(text).is_ok_and(|target| target.as_str() == text)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes that stand in every path and query.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%&=+,:@".contains(&byte)
}

impl<'a> Exchange<'a> {
    /// Sends a request that is prepared; takes its body.
    pub(super) fn new(destination: &'a Destination, mut connection: Connection, request: &mut Request) -> Self {
        let wire = Rc::clone(connection.wire());
        let (before, reused) = (wire.written(), connection.is_used());
        let wanted = Wanted { all: !destination.responses().is_empty(), body_bytes: ANSWER_BYTES };
        connection.send(request, destination.to(), wanted);
        Self { destination, connection: Some(connection), wire, before, reused }
    }

    /// What is known of its connection from outside.
    pub(super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    /// Ready with the answer, or with why there is none. Ends early when the connection's wire is expired.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tried> {
        let Some(mut connection) = self.connection.take() else { return Poll::Pending };
        let (reused, shared) = (self.reused, connection.is_shared());
        if self.wire.is_expired() {
            let (answer, broken) = match connection.give_up() {
                Some(answer) => (Ok(answer), Some(self.late())),
                None => (Err(self.late()), None),
            };
            return Poll::Ready(Tried { answer, broken, connection: None, reused, shared });
        }
        match connection.poll_answer(cx) {
            Poll::Pending => {
                self.connection = Some(connection);
                Poll::Pending
            }
            Poll::Ready(Err(source)) => {
                let answer = Err(Error::without_answer(self.host(), source, &self.wire, self.is_sent()));
                Poll::Ready(Tried { answer, broken: None, connection: None, reused, shared })
            }
            Poll::Ready(Ok(mut answer)) => {
                let (host, status) = (self.host(), answer.status);
                let broken = answer.broken.take();
                let broken = broken.map(|source| Error::Truncated { host: host.to_owned(), status, source });
                // An answer that came before the request was sent whole leaves a connection that is of no use.
                let ready = answer.whole && connection.is_ready(cx);
                Poll::Ready(Tried {
                    answer: Ok(answer),
                    broken,
                    connection: ready.then_some(connection),
                    reused,
                    shared,
                })
            }
        }
    }

    fn late(&self) -> Error {
        let limit = self.destination.resource().timeout;
        Error::Timeout { host: self.host().to_owned(), phase: self.wire.phase(), limit, sent: self.is_sent() }
    }

    fn is_sent(&self) -> bool {
        self.wire.written() > self.before
    }

    fn host(&self) -> &'a str {
        self.destination.to().authority
    }
}

/// When an attempt began and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) sent: Option<WallMs>,
    pub(super) took: Duration,
}

/// What an answer means, which may have `broken` off.
pub(super) fn judge(
    destination: &Destination,
    answer: Answer,
    broken: Option<Error>,
    span: Span,
) -> (Verdict<'_>, Report) {
    let Answer { status, headers, body, whole, .. } = answer;
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
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
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
