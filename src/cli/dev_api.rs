//! The API that answers in `dev`: takes any request with 201, or refuses a share of them with 503.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[derive(Debug)]
struct Behaviour {
    fail: f64,
    taken: AtomicU64,
}

/// Listens on `address` and answers until `tasks` is dropped. `fail` is the share of requests refused, 0 to 1.
///
/// # Errors
/// The address is taken.
pub(super) async fn start(address: SocketAddr, fail: f64, tasks: &mut JoinSet<()>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let behaviour = Arc::new(Behaviour { fail, taken: AtomicU64::new(0) });
    let router = Router::new().fallback(answer).with_state(behaviour);
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the sample API stopped");
        }
    });
    Ok(address)
}

async fn answer(State(behaviour): State<Arc<Behaviour>>, method: Method, uri: Uri, body: Bytes) -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    if fastrand::f64() < behaviour.fail {
        return (StatusCode::SERVICE_UNAVAILABLE, json, "{\"error\":\"unlucky, try again\"}".to_owned());
    }
    let number = behaviour.taken.fetch_add(1, Relaxed) + 1;
    tracing::debug!(%method, %uri, size_bytes = body.len(), number, "the sample API took a request");
    (StatusCode::CREATED, json, format!("{{\"number\":{number}}}"))
}
