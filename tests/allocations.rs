//! How often memory is asked for on the way of one event, from the copy out of Kafka's client to the settled offset, once
//! everything is warm; and how much of it the events hold that wait: counted by the allocator of this program, on the one
//! thread that a worker is.
//!
//! Kafka is a log in memory and the API a pipe that answers at once, neither of which allocates; so the count depends on
//! nothing but the program, and is the same in every run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{pending, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use tidegate::config::resources::{self, Context as Reading};
use tidegate::destinations::dial::{Connect, Network, Pipe};
use tidegate::destinations::tls::Roots;
use tidegate::kafka::{
    Committer, Log, Membership, Producer, Queue, QueueError, Restart, SendError, Sink, TopicPartition,
};
use tidegate::model::name::Name;
use tidegate::model::record::{OutRecord, Position, Record};
use tidegate::model::stored::Topics;
use tidegate::pipeline::flow::{Claim, Link};
use tidegate::pipeline::queues::Queues;
use tidegate::pipeline::snapshot::Snapshot;
use tidegate::pipeline::ticket::{Budget, Caps};
use tidegate::pipeline::worker::{Command, LaneKind, Opening, Shared, Traced, Worker};
use tidegate::telemetry::figures::lane::Lanes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::LocalSet;

/// What an event may cost.
const LIMIT: f64 = 5.0;

/// How much more memory events may hold than the budget counts for them.
const UNCOUNTED: f64 = 1.2;

/// Events after which everything is warm, and events that are counted.
const WARM: u64 = 4_000;
const COUNTED: u64 = 8_000;

const RESOURCES: &str = r#"
kind: source
name: shop
kafka: {topics: [orders]}
---
kind: connection
name: api
url: http://api.test
---
kind: destination
name: crm
connection: api
endpoint: /orders
rate_limit: {limit: 1000000/s, burst: 100000}
concurrency: {max: 64}
---
kind: rule
name: large
from: shop
pattern: {type: [order.placed], data: {total: [{numeric: [">", 100]}]}}
targets:
- {name: crm, destination: crm, body: {json: {id: $.data.id, who: $.data.customer.name, total: $.data.total}}}
"#;

const EVENT: &str = r#"{"specversion":"1.0","id":"7f1c","source":"/shop/eu","type":"order.placed","data":{"id":"o-1","customer":{"name":"Ann"},"total":125.5}}"#;

/// The system's allocator, counting the requests of each thread.
struct Counting;

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    // At the end of a thread there is nothing to count in.
    let _ended = REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
    let _ended = BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_add(size)));
}

fn uncount(size: usize) {
    let _ended = BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_sub(size)));
}

#[allow(unsafe_code, reason = "an allocator is an unsafe trait; every call goes on unchanged")]
// SAFETY: the system's allocator does it all, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        uncount(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        uncount(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The partition: the same event again and again.
struct Backlog {
    offset: i64,
    topic: Arc<str>,
}

impl Log for Backlog {
    fn next(&mut self) -> Option<Result<Record, QueueError>> {
        if self.offset >= i64::try_from(WARM + COUNTED + 10_000).unwrap() {
            return None;
        }
        let position = Position { topic: Arc::clone(&self.topic), partition: 0, offset: self.offset };
        self.offset += 1;
        let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
        Some(Ok(Record::new(position, Some(1_800_000_000_000), None, Some(EVENT.as_bytes()), headers.into_iter())))
    }

    fn back_to(&mut self, offset: i64) {
        self.offset = offset;
    }

    fn on_ready(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        wake();
    }
}

thread_local! {
    static ANSWERED: Cell<u64> = const { Cell::new(0) };
    static AT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    static DONE: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Notes that another request was answered.
fn answered() {
    let answered = ANSWERED.get() + 1;
    ANSWERED.set(answered);
    let (begin, end) = AT.get();
    if answered == WARM {
        AT.set((REQUESTS.get(), end));
    }
    if answered == WARM + COUNTED {
        AT.set((begin, REQUESTS.get()));
        if let Some(waker) = DONE.take() {
            waker.wake();
        }
    }
}

/// What an API does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Answers,
    IsSilent,
    IsDown,
}

/// A connection to the API: the end of a request brings an answer.
struct Double {
    api: Api,
    /// Bytes of the body that are still to come; `None` within a head.
    body: Option<usize>,
    head: Vec<u8>,
    ready: usize,
    reader: Option<Waker>,
}

const DOWN: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

impl Double {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(left) = self.body else {
                let (first, rest) = bytes.split_at(1);
                self.head.extend_from_slice(first);
                bytes = rest;
                if self.head.ends_with(b"\r\n\r\n") {
                    self.body = Some(length(&self.head));
                    self.head.clear();
                }
                continue;
            };
            let now = left.min(bytes.len());
            bytes = &bytes[now..];
            self.body = (left > now).then_some(left - now);
            if self.body.is_none() {
                self.ready += usize::from(self.api != Api::IsSilent);
                answered();
            }
        }
        if self.ready > 0
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let line = head.lines().find(|line| line.starts_like("content-length:")).unwrap();
    line["content-length:".len()..].trim().parse().unwrap()
}

trait Starts {
    fn starts_like(&self, name: &str) -> bool;
}

impl Starts for str {
    fn starts_like(&self, name: &str) -> bool {
        self.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    }
}

impl AsyncWrite for Double {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Double {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready == 0 {
            this.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        this.ready -= 1;
        into.put_slice(if this.api == Api::IsDown { DOWN } else { ANSWER });
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug)]
struct Doubles(Api);

impl Connect for Doubles {
    fn connect(&self, _: &str, _: u16) -> LocalBoxFuture<'static, io::Result<Pipe>> {
        let pipe: Pipe =
            Box::new(Double { api: self.0, body: None, head: Vec::with_capacity(4_096), ready: 0, reader: None });
        Box::pin(ready(Ok(pipe)))
    }
}

/// Nothing is written to Kafka here.
struct Nowhere;

impl Sink for Nowhere {
    fn send(&self, record: OutRecord) -> BoxFuture<'static, Result<Position, SendError>> {
        panic!("a record was stored: {record:?}")
    }

    fn post(&self, record: OutRecord) {
        panic!("a trace was written: {record:?}")
    }
}

/// A Kafka that never says that it has a record.
#[derive(Debug)]
struct Away;

impl Sink for Away {
    fn send(&self, record: OutRecord) -> BoxFuture<'static, Result<Position, SendError>> {
        Box::pin(async move {
            pending::<()>().await;
            panic!("nobody answers: {record:?}")
        })
    }

    fn post(&self, _: OutRecord) {}
}

#[derive(Debug)]
struct Never;

impl Restart for Never {
    fn restart(&self, at: TopicPartition) {
        panic!("{at} was restarted")
    }
}

impl fmt::Debug for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nowhere")
    }
}

fn shared(api: Api, kafka: Arc<dyn Sink>, budget: &Arc<Budget>) -> Shared {
    let read = resources::read_text("resources.yaml", RESOURCES, &Reading::default());
    assert!(read.faults.iter().all(|fault| fault.warning), "{:?}", read.faults);
    let (snapshot, _) = Snapshot::compile(read.resources, &Roots::default(), None).unwrap();
    for destination in snapshot.destinations() {
        destination.set_share(128, tidegate::model::clock::Monotonic::now());
    }
    let (topics, producer) = (Topics::new("tg"), Producer::to(kafka));
    let (queues, _) = Queues::new(topics.clone());
    Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        producer: producer.clone(),
        topics,
        queues,
        dead_letter_topic: Arc::from("tg.dlq"),
        lanes: Arc::new(Lanes::default()),
        budget: Arc::clone(budget),
        caps: Caps { records: 40_000, bytes: 16 << 20 },
        commit_map: true,
        traced: Traced::Failures,
        traces: producer,
        replica: Arc::from("replica"),
        spans: None,
        tap: None,
        network: Network::Other(Arc::new(Doubles(api))),
    }
}

fn opening() -> Opening {
    let at = TopicPartition::new("orders", 0);
    let log = Backlog { offset: 0, topic: Arc::clone(&at.topic) };
    let queue = Queue::over(Box::new(log), Arc::clone(&at.topic), Arc::default());
    let never: Weak<dyn Restart> = Weak::<Never>::new();
    let link = Link { committer: Committer::default(), membership: Membership::new(None), intake: never };
    let claim = Claim { at, epoch: 1, group: Arc::from("tg.shop"), link };
    let kind = LaneKind::Source(Name::new("shop").unwrap());
    Opening { kind, claim, queue, start: Some(0), metadata: None }
}

#[test]
fn an_event_asks_for_memory_a_few_times_only() {
    let budget = Arc::new(Budget::new(256 << 20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (worker, work) = Worker::on_this_thread(0, shared(Api::Answers, Arc::new(Nowhere), &budget));
        let work = tokio::task::spawn_local(work);
        worker.tell(Command::Open(Box::new(opening())));
        std::future::poll_fn(|cx| {
            if AT.get().1 > 0 {
                return Poll::Ready(());
            }
            DONE.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        worker.tell(Command::Stop);
        work.await.unwrap();
    });
    let (begin, end) = AT.get();
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "small numbers")]
    let each = (end - begin) as f64 / COUNTED as f64;
    assert!(each <= LIMIT, "{each:.2} requests for memory per event, more than {LIMIT}");
    assert!(each > 1.0, "{each:.2}: the count does not count");
    println!("{each:.2} requests for memory per event");
}

/// How much a worker with a budget of so many bytes holds for the events that it has taken, and how much the budget counts
/// for them, once that is so much and it has had many turns more.
fn held(api: Api, budget: usize, least: usize) -> (usize, usize) {
    let budget = Arc::new(Budget::new(budget));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (worker, work) = Worker::on_this_thread(0, shared(api, Arc::new(Away), &budget));
        let work = tokio::task::spawn_local(work);
        // What a lane has without events.
        tokio::task::yield_now().await;
        let before = BYTES.get();
        worker.tell(Command::Open(Box::new(opening())));
        while budget.used_bytes() < least {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let held = BYTES.get().saturating_sub(before);
        work.abort();
        (held, budget.used_bytes())
    })
}

#[test]
fn what_waits_holds_no_more_memory_than_is_counted_for_it() {
    for (what, api, budget, least) in
        [("for answers", Api::IsSilent, 4 << 20, 4 << 20), ("to be written", Api::IsDown, 16 << 20, 12 << 20)]
    {
        let (held, counted) = held(api, budget, least);
        println!("waiting {what}: {held} bytes held, {counted} counted");
        #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "small numbers")]
        let uncounted = held as f64 / counted as f64;
        assert!(uncounted <= UNCOUNTED, "waiting {what}: {held} bytes are held and {counted} counted");
    }
}

/// A destination that fails has all that waits for it written, which takes more than to let it wait: not at once where the
/// budget is used up.
#[test]
fn what_is_evacuated_waits_for_room() {
    const BUDGET: usize = 4 << 20;
    let (_, counted) = held(Api::IsDown, BUDGET, BUDGET + 150_000);
    assert!(counted < BUDGET + 500_000, "{counted}");
}
