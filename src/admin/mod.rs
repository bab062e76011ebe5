//! The admin server: whether we live, whether we are ready, which version this is, and the figures so far.
//!
//! `/livez` answers as long as the process can answer. `/readyz` says whether work can flow: every intake has joined its
//! group (assigned or standing by); it never depends on a destination, for restarting us mends none.

use crate::telemetry::counters::Totals;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the admin server shows; filled by the application.
pub trait View: Send + Sync + std::fmt::Debug + 'static {
    /// What is not ready yet, by name; empty when all is.
    fn unready(&self) -> Vec<String>;

    /// The figures so far.
    fn totals(&self) -> Totals;
}

/// A running admin server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    waiting_for: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    #[allow(clippy::disallowed_methods, reason = "this server owns the task and joins it in `stop`")]
    pub async fn start(address: SocketAddr, view: Arc<dyn View>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let router = Router::new()
            .route("/livez", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .route("/version", get(version))
            .route("/state", get(state))
            .with_state(view);
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits for the answers under way.
    pub async fn stop(self) {
        self.stop.cancel();
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the admin server ended badly"),
            Err(error) => tracing::warn!(%error, "the admin server ended badly"),
        }
    }
}

async fn readyz(State(view): State<Arc<dyn View>>) -> (StatusCode, Json<Readiness>) {
    let waiting_for = view.unready();
    let ready = waiting_for.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, waiting_for }))
}

async fn version() -> Json<Version> {
    Json(Version { name: "tidegate", version: env!("CARGO_PKG_VERSION") })
}

async fn state(State(view): State<Arc<dyn View>>) -> Json<Totals> {
    Json(view.totals())
}
