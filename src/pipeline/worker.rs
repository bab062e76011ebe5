//! A worker: one thread that lanes and dispatchers live on, with a runtime of its own (measured: a multi-thread runtime
//! costs up to twice as much per event). Commands come in over a channel, a handful per rebalance; events never do.

use crate::destinations::dial::Network;
use crate::json::tape::Tape;
use crate::kafka::Producer;
use crate::kafka::{Commit, Queue, TopicPartition};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::name::{Name, TargetName};
use crate::model::stored::Topics;
use crate::pattern::index::Scratch;
use crate::pipeline::commit::{OffsetTracker, Scope};
use crate::pipeline::deliver::{self, Dispatcher, Job};
use crate::pipeline::delivery::Delivery;
use crate::pipeline::flow::{self, Claim, Flow};
use crate::pipeline::handing::Lines;
use crate::pipeline::lane::{Reader, SourceFeed};
use crate::pipeline::queues::Queues;
use crate::pipeline::settle::EventTrace;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::stored_lane::StoredFeed;
use crate::pipeline::ticket::{Budget, Caps, Window};
use crate::telemetry::figures::lane::Lanes;
use crate::telemetry::figures::{Figures, SourceFigures};
use crate::telemetry::spans::Spans;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, LocalSet};

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The compiled resources.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Writes hand-offs and dead letters.
    pub producer: Producer,
    /// Names of our own topics.
    pub topics: Topics,
    /// The queues of destinations.
    pub queues: Arc<Queues>,
    /// Where records go that belong to no target.
    pub dead_letter_topic: Arc<str>,
    /// What lanes say of themselves.
    pub lanes: Arc<Lanes>,
    /// Bytes for all windows together.
    pub budget: Arc<Budget>,
    /// Caps of each window.
    pub caps: Caps,
    /// Whether commits carry the map of what is complete above the watermark.
    pub commit_map: bool,
    /// Which outcomes are traced.
    pub traced: Traced,
    /// Writes traces: apart from what must arrive, and with little memory.
    pub traces: Producer,
    /// How this replica is called in them.
    pub replica: Arc<str>,
    /// Makes spans, if traces are sent anywhere.
    pub spans: Option<Arc<Spans>>,
    /// Sees every traced outcome of this process, as JSON; the live view of `dev`.
    pub tap: Option<mpsc::UnboundedSender<Bytes>>,
    /// The way to the destinations.
    pub network: Network,
}

/// Which outcomes get a record in the trace topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// None.
    Nothing,
    /// All but plain ones: delivered by the first attempt, or wanted by no rule.
    Failures,
    /// The same, and of the events that were plain those whose hash is below this: all that is recorded of one event
    /// agrees.
    Sample(u32),
    /// All.
    All,
}

impl Traced {
    /// All but plain outcomes, and this share (0 to 1) of the events whose outcome is plain.
    #[must_use]
    pub fn sample(share: f64) -> Self {
        #[allow(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is meant"
        )]
        let below = (share * f64::from(u32::MAX)) as u32;
        if share < 1.0 { Self::Sample(below) } else { Self::All }
    }

    /// As in the reports of replicas: the words of the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "off",
            Self::Failures => "failures",
            Self::Sample(_) => "sample",
            Self::All => "all",
        }
    }

    /// Whether a plain outcome of this event is traced.
    #[must_use]
    pub fn wants_plain(self, event: &str) -> bool {
        match self {
            Self::Nothing | Self::Failures => false,
            Self::Sample(below) => crc32c::crc32c(event.as_bytes()) < below,
            Self::All => true,
        }
    }
}

/// What a worker lends to its lanes.
#[derive(Debug)]
pub struct Context {
    shared: Shared,
    /// This worker's number, under which it counts.
    pub worker: usize,
    /// This worker's dispatchers.
    pub dispatchers: Dispatchers,
    /// This worker's lines that may come in floods.
    pub lines: Lines,
    rng: RefCell<fastrand::Rng>,
    scratch: RefCell<Scratch>,
    tape: RefCell<Tape>,
}

impl std::ops::Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Context {
    /// The worker's source of chance.
    pub fn rng(&self) -> std::cell::RefMut<'_, fastrand::Rng> {
        self.rng.borrow_mut()
    }

    /// The worker's memory for matching.
    pub fn scratch(&self) -> std::cell::RefMut<'_, Scratch> {
        self.scratch.borrow_mut()
    }

    /// The worker's memory for decoding: where the values of the event lie that was decoded last.
    pub fn tape(&self) -> std::cell::RefMut<'_, Tape> {
        self.tape.borrow_mut()
    }

    /// Gives a delivery to the dispatcher of its destination, as its target is today; a target that is gone, or whose rule is
    /// disabled, gives it back to its lane. Gives the dispatcher if it has ample work now.
    pub fn send(&self, mut delivery: Delivery, now: Monotonic) -> Option<Rc<Dispatcher<Delivery>>> {
        if delivery.target.destination.is_retired() {
            match self.snapshot.load().today(&delivery.target) {
                Some(today) => delivery.retarget(today),
                None => {
                    delivery.orphaned();
                    return None;
                }
            }
            if delivery.belongs_into_queue() {
                delivery.evacuated();
                return None;
            }
        }
        if !delivery.target.enabled {
            delivery.orphaned();
            return None;
        }
        self.dispatchers.submit(delivery, &self.network, now)
    }

    /// Traces an outcome of which there is something to tell. It is off the hot path and nothing waits for it: a trace may
    /// be lost, a delivery never.
    pub fn trace<'t>(&self, trace: impl FnOnce() -> EventTrace<'t>) {
        if self.traced == Traced::Nothing {
            return;
        }
        let trace = EventTrace { replica: Some((*self.replica).into()), ..trace() };
        let record = trace.record(&self.topics, WallMs::now());
        if let (Some(tap), Some(value)) = (&self.tap, &record.value) {
            // The live view ends before the workers do; then nobody looks any more.
            drop(tap.send(value.clone()));
        }
        self.traces.post(record);
    }

    /// The same for an outcome that is as it should be, if such are traced.
    pub fn trace_plain<'t>(&self, event: &str, trace: impl FnOnce() -> EventTrace<'t>) {
        if self.traced.wants_plain(event) {
            self.trace(trace);
        }
    }
}

/// So many dispatchers are nothing to be tidied up.
const FEW: usize = 64;

/// The dispatchers of one worker, by destination.
#[derive(Debug, Default)]
pub struct Dispatchers {
    running: RefCell<HashMap<Name, Running>>,
    /// When so many are running, those are looked for that have ended.
    sweeps_at: Cell<usize>,
    retired: RefCell<Vec<Running>>,
    /// Deliveries whose destination was replaced while they waited; the worker is about to be told.
    strays: RefCell<Vec<Delivery>>,
}

#[derive(Debug)]
struct Running {
    dispatcher: Rc<Dispatcher<Delivery>>,
    task: JoinHandle<()>,
}

impl Dispatchers {
    /// Gives a delivery to the dispatcher of its destination, which is started when first needed, or anew if it has ended:
    /// it had nothing to do for long, or a defect. Gives the dispatcher if it has ample work now.
    fn submit(&self, delivery: Delivery, network: &Network, now: Monotonic) -> Option<Rc<Dispatcher<Delivery>>> {
        let destination = &delivery.target.destination;
        let mut running = self.running.borrow_mut();
        let mut waiting = Vec::new();
        if let Some(found) = running.get(&destination.resource().name) {
            let same = Arc::ptr_eq(found.dispatcher.destination(), destination);
            if same && !found.task.is_finished() {
                found.dispatcher.submit(delivery);
                return found.dispatcher.is_ample(now).then(|| Rc::clone(&found.dispatcher));
            }
            if !same && destination.is_retired() {
                self.strays.borrow_mut().push(delivery);
                return None;
            }
            if same {
                waiting = found.dispatcher.take_waiting();
            }
        }
        let destination = Arc::clone(destination);
        let name = destination.resource().name.clone();
        let dispatcher = Rc::new(Dispatcher::over(network.clone(), Arc::clone(&destination)));
        let task = tokio::task::spawn_local({
            let dispatcher = Rc::clone(&dispatcher);
            async move { dispatcher.run().await }
        });
        waiting.into_iter().chain([delivery]).for_each(|delivery| dispatcher.submit(delivery));
        if let Some(old) = running.insert(name, Running { dispatcher, task })
            && !old.task.is_finished()
        {
            self.retire(old);
        }
        if running.len() >= self.sweeps_at.get() {
            running.retain(|_, running| !running.task.is_finished());
            self.sweeps_at.set((2 * running.len()).max(FEW));
        }
        None
    }

    /// What waits for a destination that `snapshot` has no more, or has made anew.
    fn strays(&self, snapshot: &Snapshot) -> Vec<Delivery> {
        let current = |running: &Running| {
            let destination = running.dispatcher.destination();
            let today = snapshot.destination(&destination.resource().name);
            today.is_some_and(|today| Arc::ptr_eq(today, destination))
        };
        let stale: Vec<Running> = {
            let mut running = self.running.borrow_mut();
            let names: Vec<Name> = running.iter().filter(|(_, r)| !current(r)).map(|(name, _)| name.clone()).collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        stale.into_iter().for_each(|old| self.retire(old));
        self.strays.take()
    }

    /// Lets a dispatcher end with what it has in flight.
    fn retire(&self, old: Running) {
        self.strays.borrow_mut().extend(old.dispatcher.take_waiting());
        old.dispatcher.close();
        let mut retired = self.retired.borrow_mut();
        retired.retain(|r| !r.task.is_finished());
        retired.push(old);
    }

    /// Drops what waits for a closing lane.
    pub fn purge_abandoned(&self) {
        let strays: Vec<Delivery> = self.strays.take();
        *self.strays.borrow_mut() = strays.into_iter().filter(|delivery| !delivery.window().is_closing()).collect();
        self.each(Dispatcher::purge_abandoned);
    }

    /// Cuts off what is in flight for a closing lane.
    pub fn cancel_abandoned(&self) {
        self.each(Dispatcher::cancel_abandoned);
    }

    fn each(&self, act: impl Fn(&Dispatcher<Delivery>)) {
        self.running.borrow().values().for_each(|r| act(&r.dispatcher));
        self.retired.borrow().iter().for_each(|r| act(&r.dispatcher));
    }

    fn stop(&self) {
        self.running.borrow().values().for_each(|r| r.task.abort());
        self.retired.borrow().iter().for_each(|r| r.task.abort());
    }
}

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Begin a lane.
    Open(Box<Opening>),
    /// Drain lanes until the deadline and give their last positions.
    Close {
        /// Whose lanes: several groups may read the same partitions.
        group: Arc<str>,
        /// The partitions taken away.
        partitions: Vec<TopicPartition>,
        /// When to cut off what is in flight.
        deadline: Monotonic,
        /// Gets one answer per partition that had a lane.
        answer: std_mpsc::Sender<Option<Commit>>,
    },
    /// The resources were replaced: what waits goes where it belongs now.
    Reloaded,
    /// End the thread; its lanes have been closed before.
    Stop,
}

/// A lane to begin.
#[derive(Debug)]
pub struct Opening {
    /// What kind of lane.
    pub kind: LaneKind,
    /// The partition and its epoch.
    pub claim: Claim,
    /// Where its records come from.
    pub queue: Queue,
    /// The offset to read first, if Kafka told.
    pub start: Option<i64>,
    /// The metadata of the commit there.
    pub metadata: Option<String>,
}

/// What the retry tiers and queues are called where a source is named; no source may have this name.
pub const STORED: &str = "stored";

/// The kinds of lanes.
#[derive(Debug, Clone)]
pub enum LaneKind {
    /// A partition of this source.
    Source(Name),
    /// A partition that this target reads, which keeps an order, within its part of the budget.
    Ordered(TargetName, Arc<Budget>),
    /// Partitions of retry tiers and destination queues.
    Stored,
}

impl LaneKind {
    /// Where its lanes count.
    #[must_use]
    pub fn figures(&self, figures: &Figures) -> Arc<SourceFigures> {
        match self {
            Self::Source(source) => figures.source(source.as_str()),
            Self::Ordered(target, _) => figures.ordered(&target.to_string()),
            Self::Stored => figures.source(STORED),
        }
    }
}

/// A worker thread, as others see it.
#[derive(Debug, Clone)]
pub struct Worker {
    commands: mpsc::UnboundedSender<Command>,
}

/// Worker threads: what others see of them, and what joins them.
pub type Workers = (Arc<[Worker]>, Vec<thread::JoinHandle<()>>);

impl Worker {
    /// Starts so many worker threads, at least one.
    ///
    /// # Errors
    /// See [`Worker::start`].
    pub fn start_all(count: usize, shared: &Shared) -> std::io::Result<Workers> {
        let started = (0..count.max(1)).map(|index| Self::start(index, shared.clone()));
        let (workers, threads): (Vec<_>, Vec<_>) = started.collect::<std::io::Result<Vec<_>>>()?.into_iter().unzip();
        Ok((Arc::from(workers), threads))
    }

    /// Starts a worker thread, which ends when told to; the handle joins it.
    ///
    /// # Errors
    /// The operating system gives no thread or no event queue.
    pub fn start(index: usize, shared: Shared) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(deliver::before_park).build()?;
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            // Deep JSON is walked by recursion; see json::scan::MAX_DEPTH.
            .stack_size(8 << 20)
            .spawn(move || live(runtime, serve(shared, index, inbox)))?;
        Ok((Self { commands }, thread))
    }

    /// A worker without a thread of its own: its work is to be run in a [`LocalSet`].
    pub fn on_this_thread(index: usize, shared: Shared) -> (Self, impl Future<Output = ()>) {
        let (commands, inbox) = mpsc::unbounded_channel();
        (Self { commands }, serve(shared, index, inbox))
    }

    /// Tells the worker something. A worker that has ended hears nothing, and nobody waits for its answer: the
    /// command's own channel is closed by dropping it.
    pub fn tell(&self, command: Command) {
        drop(self.commands.send(command));
    }
}

/// The life of a worker's thread.
fn live(runtime: Runtime, work: impl Future<Output = ()>) {
    LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(deliver::serve_precise_timer());
        work.await;
    });
    // A name may still be looked up, for as long as the system likes, and nobody waits for it any more.
    runtime.shutdown_background();
}

struct Lane {
    window: Rc<Window>,
    deadline: Rc<Cell<Monotonic>>,
    task: JoinHandle<Option<Commit>>,
}

async fn serve(shared: Shared, worker: usize, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let context = Rc::new(Context {
        shared,
        worker,
        dispatchers: Dispatchers::default(),
        lines: Lines::default(),
        rng: RefCell::new(fastrand::Rng::new()),
        scratch: RefCell::default(),
        tape: RefCell::default(),
    });
    let mut lanes: HashMap<(Arc<str>, TopicPartition), Lane> = HashMap::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Stop => break,
            Command::Reloaded => {
                let now = Monotonic::now();
                for delivery in context.dispatchers.strays(&context.snapshot.load()) {
                    drop(context.send(delivery, now));
                }
            }
            Command::Open(opening) => {
                let at = opening.claim.at.clone();
                let group = Arc::clone(&opening.claim.group);
                let replaced = lanes.insert((group, at), open(&context, *opening));
                if let Some(old) = replaced {
                    // The epoch before ended without a revoke (the partition was restarted): nothing of it counts.
                    old.window.close();
                    old.task.abort();
                }
            }
            Command::Close { group, partitions, deadline, answer } => {
                let keys = partitions.into_iter().map(|at| (Arc::clone(&group), at));
                let closing: Vec<_> = keys.filter_map(|key| lanes.remove_entry(&key)).collect();
                for (_, lane) in &closing {
                    lane.deadline.set(deadline);
                    lane.window.close();
                }
                // Not awaited here: the other lanes' commands go on meanwhile, and the asker has its own deadline.
                tokio::task::spawn_local(async move {
                    for ((group, at), lane) in closing {
                        match lane.task.await {
                            Ok(commit) => drop(answer.send(commit)),
                            Err(error) => tracing::error!(
                                group = &*group,
                                topic = %at.topic,
                                partition = at.partition,
                                %error,
                                "a lane ended badly; its work comes again"
                            ),
                        }
                    }
                });
            }
        }
    }
    for (_, lane) in lanes {
        lane.window.close();
        lane.task.abort();
    }
    context.dispatchers.stop();
    context.lines.sum_up(Monotonic(u64::MAX));
}

fn open(context: &Rc<Context>, opening: Opening) -> Lane {
    let Opening { kind, claim, mut queue, start, metadata } = opening;
    let wake = Arc::new(Notify::new());
    queue.on_ready({
        let wake = Arc::clone(&wake);
        move || wake.notify_one()
    });
    // The callback is edge-triggered and never fires for what already lies there.
    wake.notify_one();
    let metadata = metadata.filter(|_| context.commit_map);
    let scope = Scope { group: &claim.group, topic: &claim.at.topic, partition: claim.at.partition };
    let tracker = start.map(|base| match &metadata {
        Some(metadata) => OffsetTracker::resume(&scope, base, metadata, None),
        None => OffsetTracker::new(base),
    });
    let budget = match &kind {
        LaneKind::Ordered(_, part) => part,
        LaneKind::Source(_) | LaneKind::Stored => &context.budget,
    };
    let window = Window::new(tracker, context.caps, Arc::clone(budget), Arc::clone(&wake));
    let deadline = Rc::new(Cell::new(Monotonic::default()));
    let source = kind.figures(context.snapshot.load().figures());
    let flow = Flow::new(Rc::clone(context), claim, source, Rc::clone(&window), wake);
    let until = {
        let deadline = Rc::clone(&deadline);
        move || deadline.get()
    };
    let task = match kind {
        LaneKind::Source(source) => {
            let feed = SourceFeed::new(Reader::Source(source), queue);
            tokio::task::spawn_local(flow::run(feed, flow, until))
        }
        LaneKind::Ordered(target, _) => {
            let feed = SourceFeed::new(Reader::Ordered(target), queue);
            tokio::task::spawn_local(flow::run(feed, flow, until))
        }
        LaneKind::Stored => {
            let feed = StoredFeed::new(queue, &context.topics, &flow.claim.at.topic);
            tokio::task::spawn_local(flow::run(feed, flow, until))
        }
    };
    Lane { window, deadline, task }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[test]
    fn a_worker_ends_though_a_name_is_still_looked_up() {
        let (_answer, look_up) = std_mpsc::channel::<()>();
        let (ended, has_ended) = std_mpsc::channel();
        let worker = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            live(runtime, async move {
                let (begins, began) = oneshot::channel();
                drop(tokio::task::spawn_blocking(move || {
                    begins.send(()).unwrap();
                    look_up.recv()
                }));
                began.await.unwrap();
            });
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(Duration::from_secs(20)).unwrap();
        worker.join().unwrap();
    }

    #[test]
    fn a_sample_is_a_share_of_the_events_and_always_the_same() {
        let events: Vec<String> = (0..10_000).map(|n| format!("event-{n}")).collect();
        let count = |traced: Traced| events.iter().filter(|event| traced.wants_plain(event)).count();
        assert_eq!([count(Traced::Nothing), count(Traced::Failures), count(Traced::All)], [0, 0, 10_000]);
        assert_eq!((count(Traced::sample(0.0)), count(Traced::sample(1.0))), (0, 10_000));
        let some = count(Traced::sample(0.1));
        assert!((800..1_200).contains(&some), "{some}");
        // Whoever decides, and with a larger share, decides alike.
        for event in events.iter().filter(|event| Traced::sample(0.1).wants_plain(event)) {
            assert!(Traced::sample(0.2).wants_plain(event));
        }
    }
}
