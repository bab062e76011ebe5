//! The API that is called: one thread, epoll, HTTP/1.1 with or without TLS, answers 200 with an empty body. It counts,
//! and takes from each request how long ago its event was produced.
//!
//! `GET /stats` says so as JSON.

use crate::event::{SENT, now_ns};
use crate::histogram::Histogram;
use crate::wire::{Body, head};
use memchr::memmem::Finder;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

const LISTENER: Token = Token(usize::MAX);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What it saw, and how it is to behave; both at any time, from any thread.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Requests whose answer was 200.
    pub(crate) count: AtomicU64,
    /// From the event's production to the request's arrival.
    pub(crate) latency: Histogram,
    /// Answers wait so long.
    pub(crate) delay_ms: AtomicU64,
    /// Requests for the path `/d/0` are never answered from the moment this is 1.
    pub(crate) dead: AtomicU64,
    /// Its thread, for the CPU time.
    thread: AtomicU64,
}

impl State {
    /// CPU time of its thread so far.
    pub(crate) fn cpu(&self) -> Duration {
        crate::process::thread_cpu(self.thread.load(Ordering::Relaxed))
    }
}

/// A receiver that runs until the process ends.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it saw.
    pub(crate) state: Arc<State>,
}

impl Receiver {
    /// Starts it on a port of 127.0.0.1; 0 is any.
    pub(crate) fn start(port: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || {
                shared.thread.store(crate::process::thread_id(), Ordering::Relaxed);
                Server::new(listener, tls, shared).run();
            })
            .expect("a thread");
        Self { address, state }
    }
}

/// A connection. One that has gone leaves its place to the next.
struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    input: Vec<u8>,
    filled: usize,
    /// So that a late answer does not go to whoever took the place.
    number: u64,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<State>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    accepted: u64,
    /// Answers that wait: all for the same time, so the first is due first.
    late: VecDeque<(Instant, usize, u64)>,
    sent: Finder<'static>,
}

/// What became of a read or a request.
#[derive(PartialEq)]
enum Next {
    Open,
    Gone,
}

impl Server {
    fn new(mut listener: TcpListener, tls: Option<Arc<ServerConfig>>, state: Arc<State>) -> Self {
        let poll = Poll::new().expect("epoll");
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("registered");
        Self {
            poll,
            listener,
            tls,
            state,
            connections: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            late: VecDeque::new(),
            sent: Finder::new(SENT),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = self.late.front().map(|(due, ..)| due.saturating_duration_since(Instant::now()));
            // Below a millisecond epoll would not wait at all.
            let wait = wait.map(|wait| if wait.is_zero() { wait } else { wait.max(Duration::from_millis(1)) });
            if let Err(error) = self.poll.poll(&mut events, wait) {
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                continue;
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept();
                } else {
                    self.ready(event.token().0);
                }
            }
            self.answer_late();
        }
    }

    fn accept(&mut self) {
        while let Ok((mut socket, _)) = self.listener.accept() {
            socket.set_nodelay(true).expect("no delay");
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll.registry().register(&mut socket, Token(place), Interest::READABLE).expect("registered");
            self.accepted += 1;
            let tls = self
                .tls
                .as_ref()
                .map(|config| Box::new(ServerConnection::new(Arc::clone(config)).expect("a TLS server")));
            let input = vec![0; 8 * 1024];
            self.connections[place] = Some(Connection { socket, tls, input, filled: 0, number: self.accepted });
        }
    }

    fn ready(&mut self, place: usize) {
        // It may have gone by what came before in this round.
        let Some(mut connection) = self.connections.get_mut(place).and_then(Option::take) else { return };
        loop {
            let (next, more) = connection.receive();
            if next == Next::Gone || self.requests(&mut connection, place) == Next::Gone {
                self.free.push(place);
                return;
            }
            if !more {
                break;
            }
        }
        self.connections[place] = Some(connection);
    }

    /// Answers what has arrived whole.
    fn requests(&mut self, connection: &mut Connection, place: usize) -> Next {
        let mut begin = 0;
        while let Some(head) = head(&connection.input[begin..connection.filled]) {
            let start = begin + head.end;
            let length = match head.body {
                Body::Length(length) => length,
                Body::Chunked => {
                    match memchr::memmem::find(&connection.input[start..connection.filled], b"0\r\n\r\n") {
                        Some(at) => at + 5,
                        None => break,
                    }
                }
            };
            let end = start + length;
            if end > connection.filled {
                if end > connection.input.len() {
                    connection.input.resize(end, 0);
                }
                break;
            }
            let request = &connection.input[begin..end];
            let answered = if request.starts_with(b"GET /stats") {
                let stats = self.stats();
                connection.send(stats.as_bytes())
            } else if request.starts_with(b"POST /d/0 ") && self.state.dead.load(Ordering::Relaxed) == 1 {
                Next::Open
            } else {
                if let Some(at) = self.sent.find(request) {
                    let then = crate::event::digits(request, at + SENT.len());
                    self.state.latency.record(now_ns().saturating_sub(then.unwrap_or(u64::MAX)) / 1000);
                }
                match self.state.delay_ms.load(Ordering::Relaxed) {
                    0 => {
                        count(&self.state.count);
                        connection.send(OK)
                    }
                    delay => {
                        let due = Instant::now() + Duration::from_millis(delay);
                        self.late.push_back((due, place, connection.number));
                        Next::Open
                    }
                }
            };
            if answered == Next::Gone {
                return Next::Gone;
            }
            begin = end;
        }
        connection.input.copy_within(begin..connection.filled, 0);
        connection.filled -= begin;
        if connection.filled == connection.input.len() {
            connection.input.resize(connection.filled * 2, 0);
        }
        Next::Open
    }

    fn answer_late(&mut self) {
        while let Some((due, place, number)) = self.late.front().copied() {
            if due > Instant::now() {
                return;
            }
            self.late.pop_front();
            if let Some(connection) = self.connections[place].as_mut().filter(|c| c.number == number) {
                count(&self.state.count);
                if connection.send(OK) == Next::Gone {
                    self.connections[place] = None;
                    self.free.push(place);
                }
            }
        }
    }

    fn stats(&self) -> String {
        let latency = |share| self.state.latency.since(&[0; 4096], share);
        let stats = serde_json::json!({
            "count": self.state.count.load(Ordering::Relaxed),
            "p50_ms": latency(0.5), "p99_ms": latency(0.99), "cpu_s": self.state.cpu().as_secs_f64(),
        })
        .to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{stats}", stats.len())
    }
}

/// One thread counts.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl Connection {
    /// Reads what there is; says whether there may be more.
    fn receive(&mut self) -> (Next, bool) {
        if let Some(tls) = &mut self.tls {
            let more = match tls.read_tls(&mut self.socket) {
                Ok(0) => return (Next::Gone, false),
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(_) => return (Next::Gone, false),
            };
            if tls.process_new_packets().is_err() {
                return (Next::Gone, false);
            }
            loop {
                if self.filled == self.input.len() {
                    self.input.resize(self.filled * 2, 0);
                }
                match tls.reader().read(&mut self.input[self.filled..]) {
                    Ok(0) => return (Next::Gone, false),
                    Ok(read) => self.filled += read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return (Next::Gone, false),
                }
            }
            while tls.wants_write() {
                if tls.write_tls(&mut self.socket).is_err() {
                    break;
                }
            }
            return (Next::Open, more);
        }
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => (Next::Gone, false),
            Ok(read) => {
                self.filled += read;
                // After a short read epoll tells of what comes next.
                (Next::Open, self.filled == self.input.len())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => (Next::Open, false),
            Err(_) => (Next::Gone, false),
        }
    }

    /// Answers. Nobody lets so many answers pile up that a socket is full.
    fn send(&mut self, answer: &[u8]) -> Next {
        let done = match &mut self.tls {
            None => self.socket.write(answer).is_ok_and(|written| written == answer.len()),
            Some(tls) => {
                tls.writer().write_all(answer).is_ok() && {
                    while tls.wants_write() {
                        if tls.write_tls(&mut self.socket).is_err() {
                            return Next::Gone;
                        }
                    }
                    true
                }
            }
        };
        if done { Next::Open } else { Next::Gone }
    }
}
