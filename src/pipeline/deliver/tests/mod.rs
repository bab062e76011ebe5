//! Tests of the step against a scripted server on loopback.

mod answers;
mod frames;
mod http2;
mod limits;
mod proxy;
mod server;
mod tls;
mod tokens;
mod verdicts;
mod wire;

use super::{Dispatcher, Job};
use crate::destinations::Destination;
use crate::destinations::connection::{self, Connection as RunningConnection};
use crate::destinations::responses::{self, Responses};
use crate::destinations::tls::Roots;
use crate::model::clock::Monotonic;
use crate::model::fault::Place;
use crate::model::name::Name;
use crate::model::outcome::{Class, Report};
use crate::model::request::Request;
use crate::model::resources::{self, BaseUrl, Connection, Network, PatternLimits, RetryPolicy};
use crate::model::stored::PARTS;
use crate::model::text::ShowText;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

/// What a test may change of a destination before it is built.
pub(super) struct Setup {
    connection: Connection,
    destination: resources::Destination,
}

impl Setup {
    fn new(host: &str, port: u16) -> Self {
        let base = BaseUrl { tls: false, host: host.to_owned(), port, path: String::new() };
        let connection = Connection {
            url: Some(base.clone()),
            allow_networks: vec![Network { address: "127.0.0.0".parse().unwrap(), bits: 8 }],
            ..Connection::bare(Name::new("api").unwrap(), Place::default())
        };
        let destination = resources::Destination {
            name: Name::new("orders").unwrap(),
            connection: Arc::new(connection.clone()),
            base,
            hidden: Vec::new(),
            endpoint: "/in".to_owned(),
            method: "POST".to_owned(),
            headers: None,
            query: None,
            timeout: Duration::from_secs(10),
            concurrency_max: 64,
            rate_limits: Vec::new(),
            rate: resources::Sharing::Shared,
            responses: Vec::new(),
            retry: RetryPolicy::default().into(),
            dead_letter_topic: "tidegate.dlq".into(),
            dead_letter_budget: None,
            place: Place::default(),
        };
        Self { connection, destination }
    }

    fn resource(mut self) -> Arc<resources::Destination> {
        self.destination.connection = Arc::new(self.connection);
        Arc::new(self.destination)
    }

    fn build(self) -> Arc<Destination> {
        let now = Monotonic::now();
        let resource = self.resource();
        let connection = connection(&resource).unwrap();
        let mut faults = Vec::new();
        let [own, theirs] = [&resource.responses, &resource.connection.responses]
            .map(|written| responses::compile(written, PatternLimits::default(), &mut faults));
        assert!(faults.is_empty(), "{faults:?}");
        let destination = Destination::new(resource, connection, None).unwrap();
        let destination = destination.judged_by(Responses::new(&own, &theirs));
        destination.set_share(PARTS, now);
        Arc::new(destination)
    }
}

/// The connection of a destination, at run time.
fn connection(destination: &resources::Destination) -> Result<Arc<RunningConnection>, connection::Error> {
    let connection = Arc::clone(&destination.connection);
    RunningConnection::new(connection, &Roots::default(), destination.base.tls, None).map(Arc::new)
}

/// What jobs tell the test.
#[derive(Default)]
pub(super) struct Board {
    reports: RefCell<Vec<(usize, Report)>>,
    returned: RefCell<Vec<TestJob>>,
    changed: Notify,
    abandoned: Cell<bool>,
    fenced: Cell<bool>,
    rendered: Cell<usize>,
}

impl Board {
    async fn wait(&self, count: usize) -> Vec<(usize, Report)> {
        while self.reports.borrow().len() < count {
            self.changed.notified().await;
        }
        self.reports.borrow().clone()
    }

    async fn classes(&self, count: usize) -> Vec<Class> {
        self.wait(count).await.iter().map(|(_, report)| report.class).collect()
    }
}

pub(super) struct TestJob {
    number: usize,
    key: String,
    request: Result<Request, Report>,
    board: Rc<Board>,
}

impl Job for TestJob {
    fn render(&self, _show: &dyn ShowText, request: &mut Request) -> Result<(), Report> {
        self.board.rendered.set(self.board.rendered.get() + 1);
        *request = self.request.clone()?;
        Ok(())
    }

    fn abandoned(&self) -> bool {
        self.board.abandoned.get()
    }

    fn may_send(&self, _now: Monotonic) -> bool {
        !self.board.fenced.get()
    }

    fn idempotency_key(&self) -> &str {
        &self.key
    }

    fn finished(self, report: Report) {
        self.board.reports.borrow_mut().push((self.number, report));
        self.board.changed.notify_one();
    }

    fn returned(self) {
        let board = Rc::clone(&self.board);
        board.returned.borrow_mut().push(self);
    }
}

fn request(body: &str) -> Request {
    let mut request =
        Request { path: "/in".to_owned(), body: Bytes::copy_from_slice(body.as_bytes()), ..Request::default() };
    request.headers.set("content-type", "application/json");
    request
}

fn job(board: &Rc<Board>, number: usize) -> TestJob {
    let request = Ok(request(&format!("{{\"n\":{number}}}")));
    TestJob { number, key: format!("key-{number}"), request, board: Rc::clone(board) }
}

/// A dispatcher that runs until the test ends.
fn start(destination: &Arc<Destination>) -> Rc<Dispatcher<TestJob>> {
    let dispatcher = Rc::new(Dispatcher::new(Arc::clone(destination)));
    let runner = Rc::clone(&dispatcher);
    spawn_local(async move { runner.run().await });
    dispatcher
}

/// Runs a test as a worker runs: one thread, local tasks; it fails if it takes too long.
fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(super::before_park).build();
    let runtime = runtime.unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, limited);
}
