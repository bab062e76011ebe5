//! A replica: the program's own workers, lanes, dispatchers and offset keeping, in a set of tasks of its own that can be
//! dropped at any moment, as a crash does, or stand still; with a desk for each intake, and what a reload does.

use crate::api::{Call, Wires};
use crate::broker::{Broker, Link};
use crate::desk::{DRAIN, Desk, Place, SLOTS_GROUP, SOURCE_GROUP, STORED_GROUP, Sets};
use crate::keeper::Keeper;
use crate::oracle;
use crate::plan::Plan;
use crate::time;
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use tidegate::destinations::dial::Network;
use tidegate::destinations::hold;
use tidegate::destinations::tls::Roots;
use tidegate::kafka::{Partitions, Producer};
use tidegate::model::clock::Monotonic;
use tidegate::model::name::{Name, TargetName};
use tidegate::model::resources::Resources;
use tidegate::model::stored::Topics;
use tidegate::pipeline::changes;
use tidegate::pipeline::holds::Holds;
use tidegate::pipeline::queues::Queues;
use tidegate::pipeline::slots::Slots;
use tidegate::pipeline::snapshot::Snapshot;
use tidegate::pipeline::supervisor::Supervisor;
use tidegate::pipeline::ticket::{Budget, Caps};
use tidegate::pipeline::worker::{Command, LaneKind, Shared, Traced, Worker};
use tidegate::telemetry::figures::lane::Lanes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

/// What replicas find when they start.
pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    /// Per version.
    pub(crate) resources: Vec<Resources>,
    pub(crate) broker: Broker,
    pub(crate) calls: mpsc::UnboundedSender<Call>,
}

/// A running replica, as the schedule sees it.
pub(crate) struct Replica {
    pub(crate) id: u32,
    pub(crate) link: Arc<Link>,
    pub(crate) budget: Arc<Budget>,
    body: Rc<Body>,
    leave: Option<oneshot::Sender<()>>,
    reload: mpsc::UnboundedSender<usize>,
}

/// What a replica's tasks hang on.
#[derive(Default)]
struct Body {
    frozen: Cell<bool>,
    dead: Cell<bool>,
    left: Cell<bool>,
    shift_ms: Cell<i64>,
    waker: RefCell<Option<Waker>>,
}

/// Polls a replica's tasks, unless it stands still; drops them when it is dead.
struct Living {
    tasks: Option<LocalSet>,
    body: Rc<Body>,
}

impl Future for Living {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        *this.body.waker.borrow_mut() = Some(cx.waker().clone());
        if this.body.dead.get() {
            time::shifted(this.body.shift_ms.get(), || time::dying(|| drop(this.tasks.take())));
            return Poll::Ready(());
        }
        let Some(tasks) = this.tasks.as_mut().filter(|_| !this.body.frozen.get()) else { return Poll::Pending };
        time::shifted(this.body.shift_ms.get(), || Pin::new(tasks).poll(cx))
    }
}

impl Body {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Replica {
    /// Starts a replica with the resources of that version; call it in the outer set of tasks.
    pub(crate) fn start(id: u32, instance: Option<u32>, version: usize, stage: &Rc<Stage>) -> Self {
        let link = Arc::new(Link { replica: id, instance, ..Link::default() });
        let budget = Arc::new(Budget::new(64 << 20));
        let body = Rc::new(Body::default());
        let (leave, leaving) = oneshot::channel();
        let (reload, wanted) = mpsc::unbounded_channel();
        let tasks = LocalSet::new();
        let parts = Parts::new(id, version, stage, &link, &budget);
        let (broker, left) = (stage.broker.clone(), Rc::clone(&body));
        broker.say(|| format!("replica {id} begins"));
        tasks.spawn_local(async move {
            parts.run(leaving, wanted).await;
            left.left.set(true);
            let mut state = broker.state();
            state.oracle.say(time::ns(), || format!("replica {id} has left"));
            state.oracle.ended(time::ns(), id);
        });
        tokio::task::spawn_local(Living { tasks: Some(tasks), body: Rc::clone(&body) });
        Self { id, link, budget, body, leave: Some(leave), reload }
    }

    /// Has it take the resources of that version.
    pub(crate) fn reload(&self, version: usize) {
        // Who leaves does not listen any more.
        self.reload.send(version).ok();
    }

    /// It has left.
    pub(crate) fn has_left(&self) -> bool {
        self.body.left.get()
    }

    /// Ends it without a word.
    pub(crate) fn crash(&self) {
        self.body.dead.set(true);
        self.body.wake();
    }

    /// Asks it to leave as it should.
    pub(crate) fn leave(&mut self) {
        drop(self.leave.take());
    }

    /// Makes it stand still, or go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.body.frozen.set(frozen);
        self.link.frozen.store(frozen, Relaxed);
        self.body.wake();
    }

    /// Sets the clock on its wall.
    pub(crate) fn step(&self, by_ms: i64) {
        self.body.shift_ms.set(self.body.shift_ms.get() + by_ms);
    }
}

/// What a replica is made of.
struct Parts {
    id: u32,
    stage: Rc<Stage>,
    version: usize,
    place: Place,
    shared: Shared,
    keeper: Keeper,
    post: hold::Post,
    /// Of the targets that keep an order.
    ordered: BTreeMap<TargetName, Running>,
}

/// Finds the queues of all destinations, from that time of the schedule on: making them may take Kafka a while.
async fn find(queues: Arc<Queues>, snapshot: Arc<ArcSwap<Snapshot>>, from_ms: u64) {
    time::sleep_ms(from_ms.saturating_sub(time::ms())).await;
    let snapshot = snapshot.load();
    queues.learn(snapshot.destinations().map(|destination| destination.resource().name.to_string()));
}

/// A desk that runs until it is closed.
struct Running {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(desk: Desk, slots: Option<Arc<Slots>>) -> Self {
        let (close, closing) = oneshot::channel();
        Self { close, task: tokio::task::spawn_local(desk.run(slots, closing)) }
    }

    async fn close(self) {
        drop(self.close);
        drop(self.task.await);
    }
}

impl Parts {
    fn new(id: u32, version: usize, stage: &Rc<Stage>, link: &Arc<Link>, budget: &Arc<Budget>) -> Self {
        let Stage { plan, resources, broker, calls } = &**stage;
        let (snapshot, _) = Snapshot::compile(resources[version].clone(), &Roots::default(), None).unwrap();
        let (post, notices) = mpsc::unbounded_channel();
        snapshot.hold_by(&post);
        let producer = Producer::to(broker.sink(link));
        let topics = Topics::new("tg");
        let (queues, _) = Queues::new(topics.clone());
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let holds = Arc::new(Holds::new(topics.clone(), Arc::clone(&snapshot)));
        let place = Place { broker: broker.clone(), link: Arc::clone(link), commit_map: plan.commit_map };
        let shared = Shared {
            snapshot,
            producer: producer.clone(),
            topics,
            queues,
            dead_letter_topic: Arc::from("tg.dlq"),
            lanes: Arc::new(Lanes::default()),
            budget: Arc::clone(budget),
            caps: Caps { records: plan.window_records, bytes: plan.window_bytes },
            commit_map: plan.commit_map,
            traced: Traced::Nothing,
            traces: producer.clone(),
            replica: Arc::from(format!("replica-{id}")),
            spans: None,
            tap: None,
            network: Network::Other(Arc::new(Wires { replica: id, link: Arc::clone(link), calls: calls.clone() })),
        };
        let keeper = Keeper { place: place.clone(), holds, producer, notices: Some(notices) };
        Self { id, stage: Rc::clone(stage), version, place, shared, keeper, post, ordered: BTreeMap::new() }
    }

    /// Runs the replica until it is to leave, and then until it has left.
    async fn run(mut self, mut leaving: oneshot::Receiver<()>, mut wanted: mpsc::UnboundedReceiver<usize>) {
        let keeping = self.keeper.start().await;
        let workers: Arc<[Worker]> = (0..self.stage.plan.workers)
            .map(|index| {
                let (worker, work) = Worker::on_this_thread(index, self.shared.clone());
                tokio::task::spawn_local(work);
                worker
            })
            .collect();
        let source = supervisor(&self.shared, LaneKind::Source(Name::new("shop").unwrap()), SOURCE_GROUP, &workers);
        let stored = supervisor(&self.shared, LaneKind::Stored, STORED_GROUP, &workers);
        let slots = Desk::new(&self.place, SLOTS_GROUP, true, None);
        let source = Desk::new(&self.place, SOURCE_GROUP, true, Some(source));
        let stored = Desk::new(&self.place, STORED_GROUP, false, Some(stored));
        source.attach(source.membership.clone());
        // Whoever owns the slots may send what lies in the tiers.
        stored.attach(slots.membership.clone());
        let (sets, read) = mpsc::unbounded_channel();
        let sets: Arc<dyn Partitions> = Arc::new(Sets(sets));
        let (snapshot, queues) = (Arc::clone(&self.shared.snapshot), Arc::clone(&self.shared.queues));
        let slots_of = Arc::new(Slots::new(self.shared.topics.clone(), snapshot, sets, Arc::clone(&queues), DRAIN));
        slots_of.bind(slots.membership.clone());
        // Before any source reads on.
        self.seed(&self.shared.snapshot.load()).await;
        self.applied();
        self.adjust(&workers).await;
        let finding = find(queues, Arc::clone(&self.shared.snapshot), self.stage.plan.queues_from_ms);
        let finding = tokio::task::spawn_local(finding);
        let sources = [Running::start(source, None), Running::start(slots, Some(Arc::clone(&slots_of)))];
        let stored = tokio::task::spawn_local(stored.serve(read));
        loop {
            tokio::select! {
                biased;
                // A dropped sender says it as well.
                _ = &mut leaving => break,
                Some(version) = wanted.recv() => {
                    tokio::select! {
                        biased;
                        _ = &mut leaving => break,
                        () = self.reload(version, &slots_of, &workers) => {}
                    }
                }
            }
        }
        let ordered = std::mem::take(&mut self.ordered).into_values();
        let closing: Vec<_> =
            sources.into_iter().chain(ordered).map(|running| tokio::task::spawn_local(running.close())).collect();
        for closed in closing {
            drop(closed.await);
        }
        finding.abort();
        drop(slots_of);
        drop(stored.await);
        drop(keeping);
    }

    fn applied(&self) {
        self.place.broker.state().oracle.applied(time::ns(), self.id, self.version);
    }

    /// Replaces the resources, in the order of `app`.
    async fn reload(&mut self, version: usize, slots: &Slots, workers: &Arc<[Worker]>) {
        if version <= self.version {
            return;
        }
        let previous = self.shared.snapshot.load_full();
        let resources = self.stage.resources[version].clone();
        assert!(changes::refused("tg", &previous.resources, &resources).is_empty());
        let (next, _) = Snapshot::compile(resources, &Roots::default(), Some(&previous)).unwrap();
        self.seed(&next).await;
        next.hold_by(&self.post);
        next.adopt(&previous, Monotonic::now());
        self.shared.snapshot.store(Arc::new(next));
        self.version = version;
        self.applied();
        self.keeper.holds.apply();
        slots.share();
        for worker in workers.iter() {
            worker.tell(Command::Reloaded);
        }
        self.adjust(workers).await;
    }

    /// Lets the groups of new targets begin where their source stands, as `kafka::seed` does: where that is, is asked before
    /// it is asked again whether they have begun, and what has members is left alone.
    async fn seed(&self, snapshot: &Snapshot) {
        for target in snapshot.ordered().filter(|target| !self.ordered.contains_key(&target.name)) {
            while self.place.link.cut.load(Relaxed) {
                time::sleep_ms(200).await;
            }
            let group = target.group("tg");
            let begun = |broker: &Broker| broker.state().commits.keys().any(|(of, _)| *of == group);
            if begun(&self.place.broker) {
                continue;
            }
            time::sleep_ms(1).await;
            let stands = self.place.broker.state().stands(SOURCE_GROUP, self.stage.plan.partitions);
            time::sleep_ms(3).await;
            if !begun(&self.place.broker) {
                self.place.broker.state().seed(oracle::number_of(&group), &group, &stands);
            }
        }
    }

    /// Closes the desks of targets that are gone, and opens those of new ones.
    async fn adjust(&mut self, workers: &Arc<[Worker]>) {
        let snapshot = self.shared.snapshot.load_full();
        let gone = |name: &&TargetName| snapshot.ordered_target(name).is_none();
        let gone: Vec<_> = self.ordered.keys().filter(gone).cloned().collect();
        for name in gone {
            if let Some(running) = self.ordered.remove(&name) {
                running.close().await;
            }
        }
        let part_bytes = self.shared.budget.limit_bytes() / 2 / snapshot.ordered().count().max(1);
        for target in snapshot.ordered() {
            if self.ordered.contains_key(&target.name) {
                continue;
            }
            let part = Arc::new(Budget::part(&self.shared.budget, part_bytes));
            let (kind, group) = (LaneKind::Ordered(target.name.clone(), part), target.group("tg"));
            let desk = Desk::new(&self.place, &group, true, Some(supervisor(&self.shared, kind, &group, workers)));
            desk.attach(desk.membership.clone());
            self.ordered.insert(target.name.clone(), Running::start(desk, None));
        }
    }
}

fn supervisor(shared: &Shared, kind: LaneKind, group: &str, workers: &Arc<[Worker]>) -> Arc<Supervisor> {
    let figures = kind.figures(shared.snapshot.load().figures());
    Arc::new(Supervisor::new(kind, group, Arc::clone(workers), DRAIN, figures))
}
