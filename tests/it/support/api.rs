//! An HTTP API in this process that does what a script says and remembers every request.
//!
//! HTTP/1.1 with keep-alive on a loopback port. The script is a function from the request to the [`Answer`]; what
//! came is kept in a [`Log`], and [`Api::wait_until`] sleeps until the log fulfils a condition.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tidegate::model::clock::Monotonic;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// When its head was read.
    pub(crate) at: Monotonic,
    /// Method.
    pub(crate) method: String,
    /// Path with query.
    pub(crate) target: String,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Bytes,
    /// Which event it carries: the header `x-event` if there is one, else the idempotency key.
    pub(crate) event: String,
    /// How many requests of this event came before, and this one: from 1.
    pub(crate) attempt: u32,
    /// The status it was answered with; `None` if it got no answer.
    pub(crate) answered: Option<u16>,
}

impl Seen {
    /// A header as text; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The header `idempotency-key`.
    pub(crate) fn idempotency_key(&self) -> &str {
        self.header("idempotency-key")
    }
}

/// What the script does with a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    what: What,
    delay: Duration,
}

#[derive(Debug, Clone)]
enum What {
    Status { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    Hang,
    Reset,
}

impl Answer {
    /// This status with a small JSON body.
    pub(crate) fn status(status: u16) -> Self {
        let body = if status < 300 { &b"{\"ok\":true}"[..] } else { &b"{\"error\":\"as the test asked\"}"[..] };
        Self {
            what: What::Status { status, headers: Vec::new(), body: Bytes::from_static(body) },
            delay: Duration::ZERO,
        }
    }

    /// 200.
    pub(crate) fn ok() -> Self {
        Self::status(200)
    }

    /// Never answers; the connection stays open until the other side closes it.
    pub(crate) fn hang() -> Self {
        Self { what: What::Hang, delay: Duration::ZERO }
    }

    /// Resets the connection instead of answering.
    pub(crate) fn reset() -> Self {
        Self { what: What::Reset, delay: Duration::ZERO }
    }

    /// Waits before doing it.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let What::Status { headers, .. } = &mut self.what {
            headers.push((name, value.into()));
        }
        self
    }

    /// Replaces the body.
    pub(crate) fn body(mut self, text: impl Into<Bytes>) -> Self {
        if let What::Status { body, .. } = &mut self.what {
            *body = text.into();
        }
        self
    }

    fn answered(&self) -> Option<u16> {
        if let What::Status { status, .. } = self.what { Some(status) } else { None }
    }
}

/// Everything that came, in the order it came.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The requests.
    pub(crate) requests: Vec<Seen>,
    events: HashMap<String, Tally>,
    delivered: usize,
    alarm: Option<String>,
}

/// What happened to one event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Requests that carried it.
    pub(crate) attempts: u32,
    /// Those that were answered 2xx.
    pub(crate) accepted: u32,
}

impl Log {
    /// How many different events were answered 2xx at least once.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered
    }

    /// How many different events came at all.
    pub(crate) fn seen(&self) -> usize {
        self.events.len()
    }

    /// True if this event was answered 2xx at least once.
    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.get(event).is_some_and(|tally| tally.accepted > 0)
    }

    /// What happened to this event.
    pub(crate) fn tally(&self, event: &str) -> Tally {
        self.events.get(event).copied().unwrap_or_default()
    }

    /// Deliveries beyond the first of each event.
    pub(crate) fn duplicates(&self) -> usize {
        self.events.values().map(|tally| tally.accepted.saturating_sub(1) as usize).sum()
    }

    /// The ids of all events that were answered 2xx.
    pub(crate) fn delivered_events(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter(|(_, tally)| tally.accepted > 0).map(|(event, _)| event.as_str())
    }

    fn push(&mut self, mut seen: Seen, script: &Script) -> Answer {
        let tally = self.events.entry(seen.event.clone()).or_default();
        tally.attempts += 1;
        seen.attempt = tally.attempts;
        let answer = script(&seen);
        seen.answered = answer.answered();
        if seen.answered.is_some_and(|status| (200..300).contains(&status)) {
            tally.accepted += 1;
            self.delivered += usize::from(tally.accepted == 1);
        }
        self.requests.push(seen);
        answer
    }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

struct Shared {
    log: Mutex<Log>,
    changed: Condvar,
    script: Box<Script>,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        // A test that panicked while it read the log has not damaged it.
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Ends whatever waits for the API, because what it waits for cannot come any more.
#[derive(Clone)]
pub(crate) struct Alarm(Arc<Shared>);

impl Alarm {
    /// Makes every wait fail with this reason.
    pub(crate) fn ring(&self, reason: String) {
        self.0.log().alarm = Some(reason);
        self.0.changed.notify_all();
    }

    /// The reason, if it has rung.
    pub(crate) fn rung(&self) -> Option<String> {
        self.0.log().alarm.clone()
    }
}

/// The running API. Ends when dropped.
pub(crate) struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Api {
    /// Starts one that answers as `script` says. The script runs under the log's lock, one request at a time.
    pub(crate) fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { log: Mutex::default(), changed: Condvar::new(), script: Box::new(script) });
        // A thread of its own, so that the test may block on the log.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a loopback port");
        let address = listener.local_addr().expect("the port's number");
        runtime.handle().spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A bell that ends every wait.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm(Arc::clone(&self.shared))
    }

    /// Reads the log.
    pub(crate) fn log<T>(&self, read: impl FnOnce(&Log) -> T) -> T {
        read(&self.shared.log())
    }

    /// Waits until the log fulfils `condition`, woken by every request.
    ///
    /// # Panics
    /// After `limit`, with what the log holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, limit: Duration, condition: impl Fn(&Log) -> bool) {
        let deadline = Monotonic::now().plus(limit);
        let mut log = self.shared.log();
        while !condition(&log) {
            let left = deadline.since(Monotonic::now());
            assert!(log.alarm.is_none(), "{what}: {}", log.alarm.as_deref().unwrap_or_default());
            assert!(
                !left.is_zero(),
                "{what}: not within {limit:?}; {} requests of {} events, {} delivered",
                log.requests.len(),
                log.events.len(),
                log.delivered
            );
            log = self.shared.changed.wait_timeout(log, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Some((stream, reset)) = with_reset(stream) else { return };
    let service = service_fn(|request| handle(request, Arc::clone(&shared), &reset));
    // However a connection ends, the log tells what came over it.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// The stream, and a second handle to its socket by which a reset can be asked for while hyper owns the first.
fn with_reset(stream: TcpStream) -> Option<(TcpStream, TcpStream)> {
    stream.set_nodelay(true).ok()?;
    let stream = stream.into_std().ok()?;
    let twin = TcpStream::from_std(stream.try_clone().ok()?).ok()?;
    Some((TcpStream::from_std(stream).ok()?, twin))
}

#[derive(Debug, thiserror::Error)]
#[error("the script resets this connection")]
struct ResetAsked;

async fn handle(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    socket: &TcpStream,
) -> Result<Response<Full<Bytes>>, ResetAsked> {
    let at = Monotonic::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| ResetAsked)?.to_bytes();
    let event = match text(&head.headers, "x-event") {
        "" => text(&head.headers, "idempotency-key"),
        event => event,
    };
    let seen = Seen {
        at,
        method: head.method.to_string(),
        target: head.uri.to_string(),
        event: event.to_owned(),
        headers: head.headers,
        body,
        attempt: 0,
        answered: None,
    };
    let answer = shared.log().push(seen, &shared.script);
    shared.changed.notify_all();

    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    match answer.what {
        What::Hang => std::future::pending().await,
        What::Reset => {
            // With no time to linger, closing sends RST; hyper closes when the service fails.
            socket.set_zero_linger().map_err(|_| ResetAsked)?;
            Err(ResetAsked)
        }
        What::Status { status, headers, body } => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status.try_into().unwrap_or_default();
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            for (name, value) in headers {
                let value = HeaderValue::from_str(&value).expect("a header value");
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
            Ok(response)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

mod tests {
    use super::{Answer, Api};
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    /// Sends one request on an open connection and returns the status line; `Err` if there was no answer.
    fn post(stream: &mut TcpStream, event: &str) -> std::io::Result<String> {
        write!(stream, "POST /a?b=1 HTTP/1.1\r\nhost: x\r\nx-event: {event}\r\ncontent-length: 2\r\n\r\n{{}}")?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"}") {
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
    }

    fn connect(api: &Api) -> TcpStream {
        let stream = TcpStream::connect(api.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    #[test]
    fn it_follows_the_script_and_remembers() {
        let api = Api::start(|seen| match (seen.event.as_str(), seen.attempt) {
            ("flaky", 1) => Answer::status(503).header("retry-after", "1"),
            ("slow", _) => Answer::ok().after(Duration::from_millis(50)),
            ("hang", _) => Answer::hang(),
            ("reset", _) => Answer::reset(),
            _ => Answer::ok(),
        });
        let mut stream = connect(&api);
        assert_eq!(post(&mut stream, "flaky").unwrap(), "HTTP/1.1 503 Service Unavailable");
        assert_eq!(post(&mut stream, "flaky").unwrap(), "HTTP/1.1 200 OK");
        assert_eq!(post(&mut stream, "slow").unwrap(), "HTTP/1.1 200 OK");
        assert_eq!(post(&mut stream, "slow").unwrap(), "HTTP/1.1 200 OK");
        let hung = post(&mut connect(&api), "hang").unwrap_err();
        assert!(matches!(hung.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{hung}");
        let reset = post(&mut stream, "reset").unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset, "{reset}");

        api.wait_until("six requests", SOON, |log| log.requests.len() == 6);
        api.log(|log| {
            assert_eq!((log.delivered(), log.duplicates()), (2, 1));
            assert_eq!((log.tally("flaky").attempts, log.tally("flaky").accepted), (2, 1));
            assert!(log.has("slow") && !log.has("hang") && !log.has("never"));
            let first = &log.requests[0];
            assert_eq!((first.method.as_str(), first.target.as_str(), &first.body[..]), ("POST", "/a?b=1", &b"{}"[..]));
            let statuses: Vec<Option<u16>> = log.requests.iter().map(|seen| seen.answered).collect();
            assert_eq!(statuses, [Some(503), Some(200), Some(200), Some(200), None, None]);
            assert!(log.requests[2].at < log.requests[3].at);
        });
    }

    #[test]
    #[should_panic(expected = "two requests: not within")]
    fn waiting_ends_with_what_it_waited_for() {
        Api::start(|_| Answer::ok()).wait_until("two requests", Duration::from_millis(10), |log| log.delivered() == 2);
    }
}
