//! The admin server: whether we live, whether we are ready, which version this is, what we look like, and the metrics.
//!
//! `/livez` answers as long as the process can answer. `/readyz` says whether work can flow: every intake has joined its
//! group (assigned or standing by), and the producer is connected; it never depends on a destination, for restarting us
//! mends none. `/state` is [`State`](crate::telemetry::state::State) as JSON, `/metrics` the text format of Prometheus.
//! Nothing that it shows is secret, and nothing can be changed here.

pub mod replica;
pub mod report;

use crate::kafka;
use crate::telemetry::metrics::{Build, Metrics, TEXT_FORMAT};
use crate::telemetry::state::{Missing, State as Looks};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, poll_fn};
use replica::Replica;
use serde::Serialize;
use std::convert::Infallible;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Everything there is.
const PATHS: [&str; 5] = ["/livez", "/readyz", "/metrics", "/state", "/version"];

/// How long the answers under way may take when it stops; then their connections are cut off, so that no client, however
/// slow, keeps the process alive.
const FAREWELL: Duration = Duration::from_secs(2);

/// Metrics are written in pieces of so many bytes,
const CHUNK_BYTES: usize = 64 * 1024;

/// of which so many may wait for whoever asked.
const CHUNKS: usize = 2;

/// A running admin server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

#[derive(Debug, Clone)]
struct Shown {
    replica: Arc<Replica>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    #[serde(flatten)]
    build: Build,
}

#[derive(Debug, Serialize)]
struct Refusal {
    error: String,
    paths: [&'static str; 5],
}

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(address: SocketAddr, replica: Arc<Replica>, metrics: Arc<Metrics>) -> io::Result<Self> {
        Self::serve(address, router().with_state(Shown { replica, metrics })).await
    }

    #[allow(clippy::disallowed_methods, reason = "this server owns the task and joins it in `stop`")]
    async fn serve(address: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits a moment for the answers under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = match tokio::time::timeout(FAREWELL, &mut self.task).await {
            Ok(ended) => ended,
            Err(_) => {
                self.task.abort();
                self.task.await
            }
        };
        match ended {
            Ok(Ok(())) => {}
            Err(error) if error.is_cancelled() => tracing::debug!("a client of the admin server was cut off"),
            Ok(Err(error)) => tracing::warn!(%error, "the admin server ended badly"),
            Err(error) => tracing::warn!(%error, "the admin server ended badly"),
        }
    }
}

fn router() -> Router<Shown> {
    let answers: [MethodRouter<Shown>; 5] =
        [get(|| async { "ok\n" }), get(readyz), get(metrics), get(state), get(version)];
    let routes = PATHS.into_iter().zip(answers);
    let router = routes.fold(Router::new(), |router, (path, answer)| router.route(path, answer.fallback(only_get)));
    router.fallback(unknown)
}

async fn readyz(State(shown): State<Shown>) -> (StatusCode, Json<Readiness>) {
    let missing = shown.replica.missing();
    let ready = missing.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, missing }))
}

async fn version() -> Json<Version> {
    Json(Version { name: "tidegate", build: Build::with(kafka::client_version()) })
}

async fn state(State(shown): State<Shown>) -> Json<Looks> {
    Json(shown.replica.state())
}

async fn metrics(State(shown): State<Shown>) -> Response {
    // Thousands of series take some milliseconds, in which others are to be answered.
    let gathered = match tokio::task::spawn_blocking(move || shown.metrics.gather()).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(error)) => return failed(&error),
        Err(error) => return failed(&error),
    };
    let (chunks, mut written) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, Chunks(chunks));
        // It fails when whoever asked has gone.
        drop(gathered.write(&mut out).and_then(|()| out.flush()));
    });
    let body = poll_fn(move |cx| written.poll_recv(cx)).map(Ok::<_, Infallible>);
    ([(CONTENT_TYPE, TEXT_FORMAT)], Body::from_stream(body)).into_response()
}

/// Sends what is written to whoever asked.
struct Chunks(mpsc::Sender<Bytes>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "the metrics cannot be shown");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn unknown(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {}", uri.path()))
}

async fn only_get(method: Method, uri: Uri) -> Response {
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} answers GET, not {method}", uri.path()));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

fn refuse(status: StatusCode, error: String) -> Response {
    (status, Json(Refusal { error, paths: PATHS })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn no_client_keeps_the_process_alive() {
        let asked = Arc::new(Notify::new());
        let seen = Arc::clone(&asked);
        let never = get(move || {
            seen.notify_one();
            pending::<()>()
        });
        let server = Server::serve("127.0.0.1:0".parse().unwrap(), Router::new().route("/", never)).await.unwrap();
        let mut slow = TcpStream::connect(server.address()).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut half = TcpStream::connect(server.address()).await.unwrap();
        half.write_all(b"GET / HT").await.unwrap();
        asked.notified().await;
        tokio::time::timeout(FAREWELL * 10, server.stop()).await.unwrap();
    }
}
