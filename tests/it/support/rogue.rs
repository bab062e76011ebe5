//! An HTTP server that misbehaves below HTTP, until it is told to be well: what the scripted API cannot do.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ill {
    /// Connections are refused.
    Refuses,
    /// Accepts and reads, and never answers.
    Silent,
    /// The body comes a byte a second.
    Drips,
    /// The body has no end.
    Endless,
    /// Closes in the middle of the body.
    Closes,
    /// SYNs get no answer: the queue of its port is full, and nobody accepts.
    Swallows,
    /// The TLS handshake never goes on. It cannot recover, for it has no certificate.
    StallsTls,
}

#[derive(Debug)]
struct State {
    ill: Ill,
    well: AtomicBool,
    open: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
    taken: Mutex<HashSet<String>>,
}

/// The server. Ends when dropped.
pub(crate) struct Rogue {
    address: SocketAddr,
    state: Arc<State>,
    /// Its port, as long as nobody listens on it.
    deaf: Mutex<Option<TcpSocket>>,
    /// What fills the queue of a port where nobody accepts.
    full: Mutex<Option<(TcpListener, Vec<std::net::TcpStream>)>>,
    runtime: Option<Runtime>,
}

impl Rogue {
    /// Starts one that is ill in this way.
    pub(crate) fn start(ill: Ill) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a loopback port");
        let rogue = Self {
            address: socket.local_addr().expect("the port's number"),
            state: Arc::new(State {
                ill,
                well: AtomicBool::new(false),
                open: AtomicUsize::new(0),
                most: AtomicUsize::new(0),
                asked: AtomicUsize::new(0),
                taken: Mutex::default(),
            }),
            deaf: Mutex::new(Some(socket)),
            full: Mutex::default(),
            runtime: Some(runtime),
        };
        match ill {
            Ill::Refuses => {}
            Ill::Swallows => rogue.fill_up(),
            Ill::Silent | Ill::Drips | Ill::Endless | Ill::Closes | Ill::StallsTls => rogue.listen(),
        }
        rogue
    }

    /// Connects until connecting hangs.
    fn fill_up(&self) {
        let runtime = self.runtime.as_ref().expect("it runs");
        let _inside = runtime.enter();
        let socket = self.deaf.lock().unwrap_or_else(PoisonError::into_inner).take().expect("nobody listens yet");
        let listener = socket.listen(1).expect("it listens");
        let connect = || std::net::TcpStream::connect_timeout(&self.address, Duration::from_millis(300));
        let waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).take(64).collect();
        assert!(waiting.len() < 64, "the queue of a port is never full here");
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) = Some((listener, waiting));
    }

    /// From now on it answers every request with 200.
    pub(crate) fn recover(&self) {
        self.state.well.store(true, Ordering::SeqCst);
        self.listen();
    }

    fn listen(&self) {
        let runtime = self.runtime.as_ref().expect("it runs");
        if let Some((listener, _)) = self.full.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.spawn(accept(listener, Arc::clone(&self.state)));
        }
        if let Some(socket) = self.deaf.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _inside = runtime.enter();
            let listener = socket.listen(1_024).expect("it listens");
            runtime.spawn(accept(listener, Arc::clone(&self.state)));
        }
    }

    /// `http://127.0.0.1:<port>`, or `https` where the handshake is what is ill.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.state.ill == Ill::StallsTls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The most connections that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    /// Requests that came.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The values of `x-event` that were answered 200 with a whole body.
    pub(crate) fn taken(&self) -> HashSet<String> {
        self.state.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let state = Arc::clone(&state);
                    connections.spawn(async move {
                        let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
                        state.most.fetch_max(open, Ordering::SeqCst);
                        // Who is asked ends with an error when the other side has gone.
                        drop(serve(stream, &state).await);
                        state.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    while let Some(event) = request(&mut stream, &mut unread).await? {
        state.asked.fetch_add(1, Ordering::SeqCst);
        if state.well.load(Ordering::SeqCst) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            state.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(event);
            continue;
        }
        match state.ill {
            // They accept only when they are well.
            Ill::Refuses | Ill::Swallows => return Ok(()),
            Ill::Silent | Ill::StallsTls => {
                // Until the other side closes.
                stream.read_to_end(&mut unread).await?;
                return Ok(());
            }
            Ill::Drips => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3600\r\n\r\n").await?;
                loop {
                    stream.write_all(b".").await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Ill::Endless => {
                stream.write_all(b"HTTP/1.1 500 Oh\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'x'; 16 * 1_024]).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Ill::Closes => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads one request and returns its `x-event`; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    let head = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break unread.drain(..end + 4).collect::<Vec<u8>>();
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
    };
    let length: usize = header("content-length").parse().expect("requests tell their length");
    while unread.len() < length {
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
    unread.drain(..length);
    Ok(Some(header("x-event")))
}
