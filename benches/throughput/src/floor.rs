//! The floor: what it costs to get events out of Kafka and into an API at all. librdkafka's consumer on one side, raw
//! HTTP/1.1 connections on the other, one thread with epoll between them; one request at a time on each connection.
//!
//! It has none of what makes it work in earnest: it takes every answer for a success, tries nothing again, commits what it
//! has taken rather than what was delivered, and sends the event as it came. `--filter` is a search for some text.

use crate::Arguments;
use crate::wire::{Body, head};
use memchr::memmem::Finder;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WAKER: Token = Token(usize::MAX);

/// The consumer of both floors, with as much memory for what is read ahead as Tidegate takes.
pub(crate) fn consumer(arguments: &Arguments) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", arguments.need("brokers"))
        .set("group.id", arguments.need("group"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "2048")
        .set("fetch.message.max.bytes", "262144")
        .set("fetch.queue.backoff.ms", "5");
    config
}

/// One connection and the event that it carries.
struct Connection<'k> {
    socket: TcpStream,
    head: Vec<u8>,
    event: Option<Rc<BorrowedMessage<'k>>>,
    /// Bytes of head and event that are written.
    written: usize,
    answer: [u8; 1024],
    filled: usize,
}

impl<'k> Connection<'k> {
    fn begin(&mut self, event: Rc<BorrowedMessage<'k>>, start: &[u8]) {
        let length = event.payload().map_or(0, <[u8]>::len);
        self.head.clear();
        self.head.extend_from_slice(start);
        write!(self.head, "{length}\r\n\r\n").expect("memory");
        self.event = Some(event);
        self.written = 0;
        self.write();
    }

    /// Writes what the socket takes.
    fn write(&mut self) {
        let Some(event) = &self.event else { return };
        let body = event.payload().unwrap_or_default();
        let all = self.head.len() + body.len();
        while self.written < all {
            let head = self.head.get(self.written..).unwrap_or_default();
            let body = &body[self.written.saturating_sub(self.head.len())..];
            match self.socket.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the receiver is gone: {error}"),
            }
        }
    }

    /// Whether the answer is there.
    fn read(&mut self) -> bool {
        match self.socket.read(&mut self.answer[self.filled..]) {
            Ok(0) => panic!("the receiver has closed a connection"),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the receiver is gone: {error}"),
        }
        match head(&self.answer[..self.filled]) {
            Some(head) if head.body == Body::Length(self.filled - head.end) => {
                assert_eq!(self.answer.get(9), Some(&b'2'), "the receiver refuses");
                self.filled = 0;
                self.event = None;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Runs until it is killed.
pub(crate) fn run(arguments: &Arguments) {
    let mut consumer: BaseConsumer = consumer(arguments).create().expect("a consumer");
    let address: SocketAddr = arguments.need("to").parse().expect("--to host:port");
    let fan_out = arguments.number("fan-out", 1);
    let filter = arguments.get("filter").map(|text| Finder::new(text.as_bytes()).into_owned());

    let mut poll = Poll::new().expect("epoll");
    // Wakes this thread, but only while it waits for events to come.
    let waker = Waker::new(poll.registry(), WAKER).expect("a waker");
    let waiting = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&waiting);
    consumer.set_nonempty_callback(move || {
        if waits.swap(false, Ordering::SeqCst) {
            waker.wake().expect("woken");
        }
    });
    let consumer = consumer;
    consumer.subscribe(&[arguments.need("topic")]).expect("subscribed");

    let start = format!(
        "POST /in HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/cloudevents+json\r\ncontent-length: "
    );
    let mut connections: Vec<Connection<'_>> = (0..arguments.number("connections", 64) as usize)
        .map(|place| {
            let socket = std::net::TcpStream::connect(address).expect("the receiver listens");
            socket.set_nodelay(true).expect("no delay");
            socket.set_nonblocking(true).expect("not blocking");
            let mut socket = TcpStream::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(place), Interest::READABLE | Interest::WRITABLE)
                .expect("registered");
            Connection { socket, head: Vec::new(), event: None, written: 0, answer: [0; 1024], filled: 0 }
        })
        .collect();
    let mut free: Vec<usize> = (0..connections.len()).collect();
    let mut events = Events::with_capacity(1024);
    // The event of which copies are still to be sent.
    let mut current: Option<(Rc<BorrowedMessage<'_>>, u64)> = None;
    loop {
        while let Some(place) = free.last().copied() {
            if current.is_none() {
                let Some(event) = next(&consumer, &waiting) else { break };
                if let Some(filter) = &filter
                    && filter.find(event.payload().unwrap_or_default()).is_none()
                {
                    continue;
                }
                current = Some((Rc::new(event), fan_out));
            }
            if let Some((event, left)) = current.take() {
                free.pop();
                if left > 1 {
                    current = Some((Rc::clone(&event), left - 1));
                }
                connections[place].begin(event, start.as_bytes());
            }
        }
        if let Err(error) = poll.poll(&mut events, Some(Duration::from_millis(100))) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
            continue;
        }
        waiting.store(false, Ordering::SeqCst);
        for event in &events {
            let place = event.token().0;
            let Some(connection) = connections.get_mut(place) else { continue };
            if connection.event.is_none() {
                continue;
            }
            if event.is_readable() && connection.read() {
                free.push(place);
            } else if event.is_writable() {
                connection.write();
            }
        }
    }
}

/// The next event. If there is none, the callback is told to wake this thread when one comes.
fn next<'k>(consumer: &'k BaseConsumer, waiting: &AtomicBool) -> Option<BorrowedMessage<'k>> {
    loop {
        match consumer.poll(Duration::ZERO) {
            Some(Ok(event)) => {
                waiting.store(false, Ordering::SeqCst);
                return Some(event);
            }
            Some(Err(error)) => eprintln!("{error}"),
            None if waiting.swap(true, Ordering::SeqCst) => return None,
            // One may have come before the callback knew.
            None => {}
        }
    }
}
