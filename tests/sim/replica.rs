//! A replica: the program's own workers, lanes, dispatchers and offset keeping, in a set of tasks of its own that can be
//! dropped at any moment, as a crash does, or stand still; and three intakes that do what those over Kafka's client do.

use crate::api::{Call, Wires};
use crate::broker::{Broker, Cursor, Link, Nothing};
use crate::group::{SESSION_MS, Told};
use crate::plan::Plan;
use crate::time;
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidegate::destinations::dial::Network;
use tidegate::destinations::tls::Roots;
use tidegate::kafka::{
    Answer, Committer, Core, Due, Item, Life, Membership, Owner, Partitions, Pending, Producer, Queue, Restart, Stored,
    TopicPartition,
};
use tidegate::model::clock::Monotonic;
use tidegate::model::name::Name;
use tidegate::model::resources::Resources;
use tidegate::model::stored::Topics;
use tidegate::pipeline::flow::Link as FlowLink;
use tidegate::pipeline::queues::Queues;
use tidegate::pipeline::slots::Slots;
use tidegate::pipeline::snapshot::Snapshot;
use tidegate::pipeline::supervisor::Supervisor;
use tidegate::pipeline::ticket::{Budget, Caps};
use tidegate::pipeline::worker::{LaneKind, STORED, Shared, Traced, Worker};
use tidegate::telemetry::figures::lane::Lanes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

/// The groups.
pub(crate) const SOURCE_GROUP: &str = "tg.shop";
pub(crate) const SLOTS_GROUP: &str = "tg.slots";
pub(crate) const STORED_GROUP: &str = "tg.stored";

const DRAIN: Duration = Duration::from_secs(5);
const SESSION: Duration = Duration::from_millis(SESSION_MS);
const POLL_MS: u64 = 500;
const COMMIT_MS: u64 = 500;
const HEARTBEAT_MS: u64 = 3_000;

/// A running replica, as the schedule sees it.
pub(crate) struct Replica {
    pub(crate) id: u32,
    pub(crate) link: Arc<Link>,
    pub(crate) budget: Arc<Budget>,
    body: Rc<Body>,
    leave: Option<oneshot::Sender<()>>,
}

/// What a replica's tasks hang on.
#[derive(Default)]
struct Body {
    frozen: Cell<bool>,
    dead: Cell<bool>,
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
    /// Starts a replica; call it in the outer set of tasks.
    pub(crate) fn start(
        id: u32,
        plan: &Plan,
        resources: &Resources,
        broker: &Broker,
        calls: &mpsc::UnboundedSender<Call>,
    ) -> Self {
        let link = Arc::new(Link::default());
        let budget = Arc::new(Budget::new(64 << 20));
        let body = Rc::new(Body::default());
        let (leave, leaving) = oneshot::channel();
        let tasks = LocalSet::new();
        let parts = Parts::new(id, plan, resources, broker, &link, &budget, calls);
        tasks.spawn_local(parts.run(leaving));
        tokio::task::spawn_local(Living { tasks: Some(tasks), body: Rc::clone(&body) });
        broker.say(|| format!("replica {id} begins"));
        Self { id, link, budget, body, leave: Some(leave) }
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
    broker: Broker,
    link: Arc<Link>,
    shared: Shared,
    workers: usize,
    commit_map: bool,
}

impl Parts {
    fn new(
        id: u32,
        plan: &Plan,
        resources: &Resources,
        broker: &Broker,
        link: &Arc<Link>,
        budget: &Arc<Budget>,
        calls: &mpsc::UnboundedSender<Call>,
    ) -> Self {
        let (snapshot, _) = Snapshot::compile(resources.clone(), &Roots::default(), None).unwrap();
        let producer = Producer::to(broker.sink(link));
        let topics = Topics::new("tg");
        // The queues exist: that making one may take a while is Kafka's business.
        let (queues, _) = Queues::new(topics.clone());
        queues.learn(snapshot.destinations().map(|destination| destination.resource().name.to_string()));
        let shared = Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            producer: producer.clone(),
            topics,
            queues,
            dead_letter_topic: Arc::from("tg.dlq"),
            lanes: Arc::new(Lanes::default()),
            budget: Arc::clone(budget),
            caps: Caps { records: plan.window_records, bytes: plan.window_bytes },
            commit_map: plan.commit_map,
            traced: Traced::Nothing,
            traces: producer,
            replica: Arc::from(format!("replica-{id}")),
            spans: None,
            tap: None,
            network: Network::Other(Arc::new(Wires { replica: id, link: Arc::clone(link), calls: calls.clone() })),
        };
        let (broker, link) = (broker.clone(), Arc::clone(link));
        Self { id, broker, link, shared, workers: plan.workers, commit_map: plan.commit_map }
    }

    /// Runs the replica until it is to leave, and then until it has left.
    async fn run(self, leaving: oneshot::Receiver<()>) {
        let workers: Arc<[Worker]> = (0..self.workers)
            .map(|index| {
                let (worker, work) = Worker::on_this_thread(index, self.shared.clone());
                tokio::task::spawn_local(work);
                worker
            })
            .collect();
        let supervisor = |kind, group, source: &str| {
            let figures = self.shared.snapshot.load().figures().source(source);
            Arc::new(Supervisor::new(kind, group, Arc::clone(&workers), DRAIN, figures))
        };
        let source = supervisor(LaneKind::Source(Name::new("shop").unwrap()), SOURCE_GROUP, "shop");
        let stored = supervisor(LaneKind::Stored, STORED_GROUP, STORED);
        let slots = Desk::new(&self, SLOTS_GROUP, true, None);
        let source = Desk::new(&self, SOURCE_GROUP, true, Some(source));
        let stored = Desk::new(&self, STORED_GROUP, false, Some(stored));
        source.attach(source.membership.clone());
        // Whoever owns the slots may send what lies in the tiers.
        stored.attach(slots.membership.clone());
        let (sets, wanted) = mpsc::unbounded_channel();
        let (close_source, source_closing) = oneshot::channel();
        let (close_slots, slots_closing) = oneshot::channel();
        let sets: Arc<dyn Partitions> = Arc::new(Sets(sets));
        let (snapshot, queues) = (Arc::clone(&self.shared.snapshot), Arc::clone(&self.shared.queues));
        let slots_of = Slots::new(self.shared.topics.clone(), snapshot, sets, queues, DRAIN);
        let running = [
            tokio::task::spawn_local(source.run(None, source_closing)),
            tokio::task::spawn_local(slots.run(Some(slots_of), slots_closing)),
            tokio::task::spawn_local(stored.serve(wanted)),
        ];
        // A dropped sender says it as well.
        drop(leaving.await);
        drop((close_source, close_slots));
        for task in running {
            drop(task.await);
        }
        self.broker.say(|| format!("replica {} has left", self.id));
    }
}

/// What an intake does, without Kafka's client: one consumer of one group.
struct Desk {
    replica: u32,
    group: &'static str,
    broker: Broker,
    link: Arc<Link>,
    core: Core,
    committer: Committer,
    membership: Membership,
    supervisor: Option<Arc<Supervisor>>,
    commit_map: bool,
    member: u64,
    wire: mpsc::UnboundedSender<Said>,
    /// Every commit is answered at last, in whatever membership it was sent.
    answer: mpsc::UnboundedSender<Vec<(TopicPartition, i64, Answer)>>,
    answers: mpsc::UnboundedReceiver<Vec<(TopicPartition, i64, Answer)>>,
    restarts: mpsc::UnboundedReceiver<TopicPartition>,
    again: Arc<Again>,
    /// How far each of our partitions was read.
    progress: BTreeMap<TopicPartition, Arc<AtomicI64>>,
    /// When the inbox was last found empty.
    seen_empty: Monotonic,
    next_commit: u64,
    /// Says that we are alive, whatever else is done.
    heart: Option<AbortHandle>,
}

/// What a member says to the coordinator, in order.
pub(crate) enum Said {
    Commit(Vec<Item>),
    GivenBack(Vec<TopicPartition>),
    Alive,
    Leave,
}

/// Takes wishes of lanes to have their partition read again.
struct Again(mpsc::UnboundedSender<TopicPartition>);

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

impl Restart for Again {
    fn restart(&self, at: TopicPartition) {
        drop(self.0.send(at));
    }
}

impl Desk {
    fn new(parts: &Parts, group: &'static str, is_member: bool, supervisor: Option<Arc<Supervisor>>) -> Self {
        let (again, restarts) = mpsc::unbounded_channel();
        let (wire, _) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            replica: parts.id,
            group,
            broker: parts.broker.clone(),
            link: Arc::clone(&parts.link),
            core: Core::default(),
            committer: Committer::default(),
            membership: Membership::new(is_member.then_some(SESSION)),
            supervisor,
            commit_map: parts.commit_map,
            member: 0,
            wire,
            answer,
            answers,
            restarts,
            again: Arc::new(Again(again)),
            progress: BTreeMap::new(),
            seen_empty: Monotonic::now(),
            next_commit: 0,
            heart: None,
        }
    }

    /// Gives its lanes the way back to it.
    fn attach(&self, membership: Membership) {
        let again: Weak<dyn Restart> = Arc::<Again>::downgrade(&self.again);
        if let Some(supervisor) = &self.supervisor {
            supervisor.attach(FlowLink { committer: self.committer.clone(), membership, intake: again });
        }
    }

    /// Opens the wire to the coordinator: it goes on when the replica ends, for what was sent was sent.
    fn connect(&mut self) {
        let (wire, said) = mpsc::unbounded_channel();
        self.wire = wire;
        let line = Line {
            broker: self.broker.clone(),
            link: Arc::clone(&self.link),
            group: self.group,
            member: self.member,
            answer: self.answer.clone(),
        };
        LINES.with_borrow(|lines| drop(lines.as_ref().unwrap().send((line, said))));
    }

    fn join(&mut self) -> mpsc::UnboundedReceiver<Told> {
        let (inbox, told) = mpsc::unbounded_channel();
        {
            let mut state = self.broker.state();
            let state = &mut *state;
            let group = state.groups.get_mut(self.group).unwrap();
            self.member = group.join(self.replica, inbox, &mut state.rng);
            state.oracle.cast_out(self.replica, None);
        }
        self.connect();
        let wire = self.wire.clone();
        let heart = tokio::task::spawn_local(async move {
            while wire.send(Said::Alive).is_ok() {
                time::sleep_ms(HEARTBEAT_MS).await;
            }
        });
        if let Some(old) = self.heart.replace(heart.abort_handle()) {
            old.abort();
        }
        told
    }

    fn is_cut(&self) -> bool {
        self.link.cut.load(Relaxed) || (self.group == SLOTS_GROUP && self.link.cut_slots.load(Relaxed))
    }

    /// The life of a subscribed intake.
    async fn run(mut self, mut slots: Option<Slots>, mut closing: oneshot::Receiver<()>) {
        let mut told = self.join();
        loop {
            tokio::select! {
                biased;
                _ = &mut closing => break,
                Some(told_now) = told.recv() => match told_now {
                    Told::Assign(partitions) => self.assign(&partitions, slots.as_mut()).await,
                    Told::Revoke(partitions) => {
                        self.revoke(&partitions, false, slots.as_mut()).await;
                        drop(self.wire.send(Said::GivenBack(partitions)));
                    }
                    Told::Lost => {
                        let all: Vec<_> = self.progress.keys().cloned().collect();
                        self.revoke(&all, true, slots.as_mut()).await;
                        time::sleep_ms(200).await;
                        told = self.join();
                    }
                },
                Some(answers) = self.answers.recv() => self.answered(&answers),
                () = time::sleep_ms(POLL_MS) => self.seen_empty = Monotonic::now(),
            }
            self.look().await;
            slots.iter().for_each(Slots::look);
        }
        let all: Vec<_> = self.progress.keys().cloned().collect();
        self.revoke(&all, false, slots.as_mut()).await;
        self.await_answers().await;
        drop(self.wire.send(Said::Leave));
        self.heart.iter().for_each(AbortHandle::abort);
    }

    /// The life of the intake whose partitions are set by hand.
    async fn serve(mut self, mut wanted: mpsc::UnboundedReceiver<Set>) {
        self.connect();
        let mut ours = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                next = wanted.recv() => {
                    let Some((now, done)) = next else { break };
                    ours = now;
                    let gone: Vec<_> = self.progress.keys().filter(|at| !ours.contains(*at)).cloned().collect();
                    if !gone.is_empty() {
                        self.revoke(&gone, false, None).await;
                        self.await_answers().await;
                    }
                    done.send(()).ok();
                }
                Some(answers) = self.answers.recv() => self.answered(&answers),
                () = time::sleep_ms(POLL_MS) => {}
            }
            // A partition that never had a record needs no lane; it would only wait.
            let new: Vec<_> = {
                let state = self.broker.state();
                state
                    .partitions
                    .keys()
                    .filter(|at| ours.contains(*at) && !self.progress.contains_key(*at))
                    .cloned()
                    .collect()
            };
            if !new.is_empty() {
                self.assign(&new, None).await;
            }
            self.look().await;
        }
        let all: Vec<_> = self.progress.keys().cloned().collect();
        self.revoke(&all, false, None).await;
        self.await_answers().await;
    }

    /// What is done at every turn.
    async fn look(&mut self) {
        while let Ok(at) = self.restarts.try_recv() {
            self.core.restart_wanted(&at);
        }
        for (at, _) in self.core.restartable() {
            if !self.is_cut() {
                self.broker.say(|| format!("{} reads {at} again", self.replica));
                self.enter(std::slice::from_ref(&at)).await;
            }
        }
        let (now, ms) = (Monotonic::now(), time::ms());
        if ms >= self.next_commit {
            self.next_commit = ms + COMMIT_MS;
            self.core.accept_all(&self.committer);
            match self.core.due(SESSION, self.membership.is_needed(), now) {
                Due::Nothing => {}
                Due::Items(items) => self.send(items),
                Due::Evidence => {
                    let Some((at, epoch)) = self.core.asks_after(now) else { return };
                    if !self.is_cut() {
                        let stored = self.committed(&at).unwrap_or(Stored { next_offset: 0, metadata: String::new() });
                        // It says again what is saved, whoever saved it.
                        self.say(vec![Item { at, epoch, stored }]);
                    }
                }
            }
        }
    }

    fn committed(&self, at: &TopicPartition) -> Option<Stored> {
        self.broker.state().commits.get(&(self.group.to_owned(), at.clone())).cloned()
    }

    fn send(&mut self, mut items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        items.sort_by(|a, b| a.at.cmp(&b.at));
        for Item { at, epoch, stored } in &items {
            let read = self.progress.get(at).map_or(0, |progress| progress.load(Relaxed));
            if self.supervisor.is_some() && stored.next_offset > read {
                let what = format!(
                    "{} commits {at} up to {} in epoch {epoch}, which has read up to {read}",
                    self.group, stored.next_offset
                );
                self.broker.state().oracle.fail(time::ns(), what);
            }
        }
        self.say(items);
    }

    fn say(&mut self, items: Vec<Item>) {
        drop(self.wire.send(Said::Commit(items.clone())));
        self.core.sent(items, Monotonic::now());
    }

    fn answered(&mut self, answers: &[(TopicPartition, i64, Answer)]) {
        drop(self.core.answered(answers, &self.membership, Monotonic::now()));
    }

    async fn await_answers(&mut self) {
        let until = time::ms() + 5_000;
        while self.core.unanswered() && time::ms() < until {
            match tokio::time::timeout(Duration::from_millis(POLL_MS), self.answers.recv()).await {
                Ok(Some(answers)) => self.answered(&answers),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    async fn assign(&mut self, partitions: &[TopicPartition], slots: Option<&mut Slots>) {
        let evidence = self.seen_empty;
        let Some(slots) = slots else {
            if self.membership.is_needed() {
                self.membership.prove(evidence);
            }
            return self.enter(partitions).await;
        };
        self.membership.prove(evidence);
        let mut assigned = Vec::new();
        for at in partitions {
            let life = Arc::<Life>::default();
            let queue = Queue::over(Box::new(Nothing), Arc::clone(&at.topic), Arc::clone(&life));
            assigned.push(self.core.enter(at.clone(), None, None, queue, life));
            self.progress.insert(at.clone(), Arc::default());
        }
        slots.assigned(assigned);
    }

    /// Takes partitions over, from where the group stands.
    async fn enter(&mut self, partitions: &[TopicPartition]) {
        time::sleep_ms(1).await;
        let known = if self.is_cut() {
            time::sleep_ms(5_000).await;
            !self.is_cut()
        } else {
            true
        };
        let mut assigned = Vec::new();
        for at in partitions {
            let mut stored = if known { self.committed(at) } else { None };
            {
                let state = self.broker.state();
                if let (Some(found), Some(partition)) = (&mut stored, state.partitions.get(at)) {
                    // As `on_missing: earliest` says.
                    if !(partition.low..=partition.end).contains(&found.next_offset) && self.progress.contains_key(at) {
                        *found = Stored { next_offset: partition.low, metadata: String::new() };
                    }
                }
            }
            if !self.commit_map
                && let Some(stored) = &mut stored
            {
                stored.metadata.clear();
            }
            let life = Arc::<Life>::default();
            let cursor = Cursor::new(&self.broker, &self.link, at, self.group, stored.as_ref());
            self.progress.insert(at.clone(), cursor.progress());
            let queue = Queue::over(Box::new(cursor), Arc::clone(&at.topic), Arc::clone(&life));
            let start = stored.as_ref().map(|stored| stored.next_offset);
            assigned.push(self.core.enter(at.clone(), start, stored, queue, life));
            self.broker.say(|| format!("{} takes {at} from {start:?}", self.replica));
        }
        if let Some(supervisor) = &self.supervisor {
            supervisor.assigned(assigned);
        }
    }

    async fn revoke(&mut self, partitions: &[TopicPartition], lost: bool, slots: Option<&mut Slots>) {
        self.broker.say(|| {
            format!(
                "{} gives back {} of {}{}",
                self.replica,
                partitions.len(),
                self.group,
                if lost { ", lost" } else { "" }
            )
        });
        let mut last = Vec::new();
        if let Some(slots) = slots {
            let pending = slots.give_back(partitions);
            // The next owner reads the tiers as soon as we have answered.
            let until = Monotonic::now().plus(DRAIN * 2);
            while pending.as_ref().is_some_and(|pending| !pending.is_over()) && Monotonic::now() < until {
                time::sleep_ms(5).await;
            }
        } else if let Some(supervisor) = &self.supervisor {
            let told: Vec<_> = partitions.iter().filter(|at| self.core.has_told(at)).cloned().collect();
            let mut draining = supervisor.drain(&told, lost);
            while !draining.wait(Duration::ZERO) && Monotonic::now() < draining.until {
                time::sleep_ms(5).await;
            }
            last = draining.commits;
        }
        let released = self.core.release(partitions, &self.committer, last);
        let items: Vec<_> = released.into_iter().filter_map(|released| released.item).collect();
        if !lost {
            self.send(items);
        }
        for at in partitions {
            self.progress.remove(at);
        }
    }
}

/// Tells the intake of the stored records what to read.
struct Sets(mpsc::UnboundedSender<Set>);

/// What is to be read, and who waits for it.
type Set = (BTreeSet<TopicPartition>, std::sync::mpsc::Sender<()>);

impl fmt::Debug for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sets")
    }
}

impl Partitions for Sets {
    fn set_partitions(&self, partitions: Vec<TopicPartition>) -> Pending {
        let (done, pending) = Pending::new();
        drop(self.0.send((partitions.into_iter().collect(), done)));
        pending
    }
}

/// The way of what a member says to the coordinator.
pub(crate) struct Line {
    broker: Broker,
    link: Arc<Link>,
    group: &'static str,
    member: u64,
    answer: mpsc::UnboundedSender<Vec<(TopicPartition, i64, Answer)>>,
}

/// What a line carries.
pub(crate) type Carried = (Line, mpsc::UnboundedReceiver<Said>);

thread_local! {
    /// Where new lines are given to the outer set of tasks, which outlives a replica.
    pub(crate) static LINES: RefCell<Option<mpsc::UnboundedSender<Carried>>> = const { RefCell::new(None) };
}

/// Carries all lines.
pub(crate) async fn carry(mut lines: mpsc::UnboundedReceiver<Carried>) {
    while let Some((line, said)) = lines.recv().await {
        tokio::task::spawn_local(line.carry(said));
    }
}

impl Line {
    fn is_cut(&self) -> bool {
        self.link.cut.load(Relaxed) || (self.group == SLOTS_GROUP && self.link.cut_slots.load(Relaxed))
    }

    async fn carry(self, mut said: mpsc::UnboundedReceiver<Said>) {
        while let Some(said) = said.recv().await {
            let latency = self.broker.state().rng.u64(0..4);
            time::sleep_ms(latency).await;
            match said {
                Said::Commit(items) => self.commit(&items),
                Said::GivenBack(partitions) => {
                    // It is said again until it is heard, or nobody waits for it any more.
                    for _ in 0..300 {
                        if !self.is_cut() {
                            break;
                        }
                        time::sleep_ms(100).await;
                    }
                    let mut state = self.broker.state();
                    state.groups.get_mut(self.group).unwrap().given_back(self.member, &partitions);
                }
                Said::Alive => {
                    let mut state = self.broker.state();
                    let group = state.groups.get_mut(self.group).unwrap();
                    if !self.is_cut() && !group.hear(self.member) {
                        group.tell_lost(self.member);
                    }
                }
                Said::Leave => {
                    let mut state = self.broker.state();
                    let state = &mut *state;
                    state.groups.get_mut(self.group).unwrap().leave(self.member, &mut state.rng);
                }
            }
        }
    }

    fn commit(&self, items: &[Item]) {
        let answers = |answer| items.iter().map(|i| (i.at.clone(), i.stored.next_offset, answer)).collect::<Vec<_>>();
        let (answer, applies, late_ms) = {
            let mut state = self.broker.state();
            let troubled = time::ms() < state.committing.0 && state.rng.u8(0..100) < state.committing.1;
            let cut = self.is_cut();
            let mut group = state.groups.get_mut(self.group);
            let known = !cut && group.as_mut().is_none_or(|group| group.hear(self.member));
            let moving = group.is_some_and(|group| group.is_moving());
            if cut {
                (Answer::Transient, false, state.rng.u64(1_000..8_000))
            } else if !known {
                (Answer::NotMember, false, 0)
            } else if troubled {
                match state.rng.u8(0..4) {
                    0 => (Answer::Transient, false, 3_000),
                    1 => (Answer::Transient, true, 3_000),
                    2 if moving => (Answer::Rebalancing, false, 0),
                    2 => (Answer::NotMember, false, 0),
                    _ => (Answer::Saved, true, state.rng.u64(100..2_000)),
                }
            } else {
                (Answer::Saved, true, 0)
            }
        };
        self.broker.say(|| format!("commit of {} by member {}: {answer:?}", self.group, self.member));
        if applies {
            let mut state = self.broker.state();
            let state = &mut *state;
            for Item { at, stored, .. } in items {
                let owns = state.groups.get(self.group).map(|group| group.owns(self.member, at));
                if owns == Some(Some(false)) {
                    let what = format!("{} {at} was committed by a member that does not own it", self.group);
                    state.oracle.fail(time::ns(), what);
                }
                state.commit(self.group, at, stored, owns.is_some() && self.group == SOURCE_GROUP);
            }
        }
        let (to, list) = (self.answer.clone(), answers(answer));
        if late_ms == 0 {
            drop(to.send(list));
        } else {
            tokio::task::spawn_local(async move {
                time::sleep_ms(late_ms).await;
                drop(to.send(list));
            });
        }
    }
}
