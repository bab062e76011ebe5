//! A scripted HTTP server on loopback: for each request the script says what comes back, down to the bytes.

use crate::model::clock::Monotonic;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Counted from 0 over all connections.
    pub(super) number: usize,
    /// Request line and headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    pub(super) at: Monotonic,
}

/// What to do with it.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Send this and keep the connection.
    Say(String),
    /// The same, of any bytes.
    SayBytes(Vec<u8>),
    /// Send this, then close.
    SayAndClose(String),
    /// Close without a word.
    Close,
    /// Never answer.
    Hang,
    /// Send this, then one byte every 20 ms for ever.
    Drip(String),
    /// Send this, then bytes as fast as they go for ever.
    Flood(String),
    /// Wait for the gate, then send this.
    After(Rc<Notify>, String),
}

/// An answer with a body.
pub(super) fn reply(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Test\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

type Script = Rc<dyn Fn(&Seen) -> Act>;

/// The server; its tasks end with the test's `LocalSet`.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) seen: Rc<RefCell<Vec<Seen>>>,
    pub(super) connections: Rc<Cell<usize>>,
    /// Told when a connection was closed by the server or the client.
    pub(super) closed: Rc<Notify>,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Seen) -> Act + 'static) -> Self {
        Self::start_tls(script, None).await
    }

    pub(super) async fn start_tls(script: impl Fn(&Seen) -> Act + 'static, tls: Option<Arc<ServerConfig>>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script, tls)
    }

    /// On a port of the test's choice.
    pub(super) fn on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Act + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let this = Self {
            address: listener.local_addr().unwrap(),
            seen: Rc::default(),
            connections: Rc::default(),
            closed: Rc::default(),
        };
        let script: Script = Rc::new(script);
        let (seen, connections, closed) =
            (Rc::clone(&this.seen), Rc::clone(&this.connections), Rc::clone(&this.closed));
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                connections.set(connections.get() + 1);
                let (script, seen, closed) = (Rc::clone(&script), Rc::clone(&seen), Rc::clone(&closed));
                let tls = tls.clone();
                spawn_local(async move {
                    match tls {
                        None => serve(tcp, &script, &seen).await,
                        Some(config) => {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(tcp).await {
                                serve(stream, &script, &seen).await;
                            }
                        }
                    }
                    closed.notify_one();
                });
            }
        });
        this
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.borrow().iter().map(|seen| seen.head.clone()).collect()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: &Script, seen: &Rc<RefCell<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        let number = seen.borrow().len();
        let one = Seen { number, head, body, at: Monotonic::now() };
        seen.borrow_mut().push(one.clone());
        let sent = match script(&one) {
            Act::Say(text) => stream.write_all(text.as_bytes()).await,
            Act::SayBytes(bytes) => stream.write_all(&bytes).await,
            Act::SayAndClose(text) => {
                let _gone = stream.write_all(text.as_bytes()).await;
                return;
            }
            Act::Close => return,
            Act::Hang => {
                // Until the client gives up.
                let mut rest = [0; 16];
                while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
                return;
            }
            Act::Drip(text) => {
                let mut sent = stream.write_all(text.as_bytes()).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = stream.write_all(b"x").await;
                }
                return;
            }
            Act::Flood(text) => {
                let mut sent = stream.write_all(text.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 4096]).await;
                }
                return;
            }
            Act::After(gate, text) => {
                gate.notified().await;
                stream.write_all(text.as_bytes()).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads one request; `None` when the connection ends.
async fn request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end + length {
                let body = buffer[end..end + length].to_vec();
                buffer.drain(..end + length);
                return Some((head, body));
            }
        }
        let mut more = [0; 8192];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&more[..n]),
        }
    }
}
