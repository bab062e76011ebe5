//! A scripted HTTP/2 server over TLS that speaks in frames (RFC 9113, section 4), so that it can end streams and
//! connections in every way.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const HTTP_1_1_REQUIRED: u32 = 13;

/// A request that came whole: which connection (from 0), which stream, which request of all (from 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) connection: usize,
    pub(super) stream: u32,
    pub(super) number: usize,
}

/// What to do about it.
#[derive(Debug, Clone)]
pub(super) enum Do {
    /// Answer this status on that stream.
    Answer(u32, u16),
    /// Reset that stream.
    Reset(u32, u32),
    /// GOAWAY: nothing above that stream was looked at.
    GoAway(u32),
    /// Do the rest when told.
    Wait(Rc<Notify>),
    /// Close the connection.
    Close,
}

type Script = Rc<dyn Fn(Came) -> Vec<Do>>;

/// The server; its tasks end with the test's `LocalSet`.
#[derive(Clone)]
pub(super) struct Frames {
    pub(super) address: SocketAddr,
    pub(super) connections: Rc<Cell<usize>>,
    /// Requests, in the order they came.
    pub(super) came: Rc<RefCell<Vec<Came>>>,
    /// Streams that the client reset, with the reason.
    pub(super) resets: Rc<RefCell<Vec<(u32, u32)>>>,
    /// Told when something came.
    pub(super) changed: Rc<Notify>,
    /// Connections without HTTP/2 get this answer to each request.
    http1: Rc<Cell<usize>>,
    max_streams: Option<u32>,
    script: Script,
}

impl Frames {
    pub(super) async fn start(
        tls: Arc<ServerConfig>,
        max_streams: Option<u32>,
        script: impl Fn(Came) -> Vec<Do> + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            connections: Rc::default(),
            came: Rc::default(),
            resets: Rc::default(),
            changed: Rc::default(),
            http1: Rc::default(),
            max_streams,
            script: Rc::new(script),
        };
        let server = this.clone();
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let connection = server.connections.get();
                server.connections.set(connection + 1);
                let (server, acceptor) = (server.clone(), TlsAcceptor::from(Arc::clone(&tls)));
                spawn_local(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let (mut read, mut write) = split(stream);
                    let (say, mut said) = unbounded_channel::<Vec<u8>>();
                    spawn_local(async move {
                        while let Some(bytes) = said.recv().await {
                            if bytes.is_empty()
                                || write.write_all(&bytes).await.is_err()
                                || write.flush().await.is_err()
                            {
                                break;
                            }
                        }
                        let _gone = write.shutdown().await;
                    });
                    if http2 {
                        server.frames(&mut read, &say, connection).await;
                    } else {
                        server.http1(&mut read, &say).await;
                    }
                });
            }
        });
        this
    }

    /// Requests that came by HTTP/1.1.
    pub(super) fn by_http1(&self) -> usize {
        self.http1.get()
    }

    /// Streams on which requests came, of one connection.
    pub(super) fn streams(&self, connection: usize) -> Vec<u32> {
        self.came.borrow().iter().filter(|came| came.connection == connection).map(|came| came.stream).collect()
    }

    async fn frames(&self, read: &mut (impl AsyncRead + Unpin), say: &UnboundedSender<Vec<u8>>, connection: usize) {
        let mut preface = [0; 24];
        if read.read_exact(&mut preface).await.is_err() {
            return;
        }
        let max = self.max_streams.map(|max| [&[0, 3][..], &max.to_be_bytes()].concat()).unwrap_or_default();
        let _gone = say.send(frame(4, 0, 0, &max));
        loop {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            if read.read_exact(&mut payload).await.is_err() {
                return;
            }
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match (kind, flags & 1 == 1) {
                // Settings that are no acknowledgement are acknowledged.
                (4, false) => drop(say.send(frame(4, 1, 0, &[]))),
                // Headers or data that end the request.
                (0 | 1, true) => {
                    let number = self.came.borrow().len();
                    let came = Came { connection, stream, number };
                    self.came.borrow_mut().push(came);
                    let (acts, say) = ((self.script)(came), say.clone());
                    spawn_local(async move { act(acts, &say).await });
                }
                (3, _) => {
                    let code = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    self.resets.borrow_mut().push((stream, code));
                }
                _ => {}
            }
            self.changed.notify_one();
        }
    }

    async fn http1(&self, read: &mut (impl AsyncRead + Unpin), say: &UnboundedSender<Vec<u8>>) {
        let mut seen = Vec::new();
        while read.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
            if seen.ends_with(b"}") {
                seen.clear();
                self.http1.set(self.http1.get() + 1);
                let _gone = say.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
            }
        }
    }
}

async fn act(acts: Vec<Do>, say: &UnboundedSender<Vec<u8>>) {
    for one in acts {
        let bytes = match one {
            Do::Answer(stream, status) => {
                // HPACK (RFC 7541): `:status` is entry 8 of the static table, its value a literal.
                let status = status.to_string();
                frame(1, 5, stream, &[&[0x08, 3], status.as_bytes()].concat())
            }
            Do::Reset(stream, code) => frame(3, 0, stream, &code.to_be_bytes()),
            Do::GoAway(last) => frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()),
            Do::Wait(gate) => {
                gate.notified().await;
                continue;
            }
            Do::Close => Vec::new(),
        };
        let _gone = say.send(bytes);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
