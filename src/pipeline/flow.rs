//! `Flow`: the deliveries of one partition between "begun" and "settled"; both kinds of lane run on it.
//!
//! It hands deliveries to dispatchers, takes the reports, and does what `settle` decides: settled, again from memory,
//! or written to a retry tier or the dead-letter topic. A ticket is settled only when the write is acknowledged.
//! [`run`] is the loop of a lane: one task, one `select!`, in the order settlements → hand-offs → timers → new records.

use crate::destinations::sick::Sick;
use crate::kafka::{Commit, Committer, Membership, QueueError, Restart, TopicPartition};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::outcome::{Report, Settlement};
use crate::pipeline::commit::{CommitState, Scope};
use crate::pipeline::deliver::Dispatcher;
use crate::pipeline::delivery::{Delivery, Inbox};
use crate::pipeline::handing::{Account, Acknowledged};
use crate::pipeline::in_order::InOrder;
use crate::pipeline::settle::{self, HandOff, Next, Room, SICK_IN_MEMORY};
use crate::pipeline::ticket::{Held, Window};
use crate::pipeline::worker::{Context, Traced};
use crate::telemetry::figures::lane::LaneSeat;
use crate::telemetry::figures::{End, Intake as Counted, SourceFigures};
use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep_until};

/// How long an idle lane waits before it looks by itself. Wake-ups tell of records on its own queue and of its own
/// settlements; the budget that all lanes share tells nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long completions are gathered before the new watermark is given to the poll thread, which commits every 500 ms.
const COMMIT_GATHER: Duration = Duration::from_millis(100);

/// So many deliveries each lane may have begun, however long the line at their destination is.
const READ_AHEAD: usize = 32;

/// So many hand-offs each lane may have under way, however full the windows are: what is read stops when they are, but
/// destinations that fail all at once would have all that was read written at once, which takes twice its room again.
const EVACUATED_AT_ONCE: usize = 64;

/// How soon a lane looks again whether the line at a destination still moves.
pub(super) const AHEAD_FOR: Duration = Duration::from_millis(100);

/// What brings records into a flow.
pub trait Feed {
    /// Takes up to [`super::consume::BATCH`] records and begins their deliveries.
    fn take(&mut self, flow: &mut Flow) -> Took;
}

/// What a feed did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// A whole batch; there may be more.
    More,
    /// Nothing is left, or the window is full: the flow is woken when that changes.
    Idle,
    /// The next record is not due before this moment.
    Until(Monotonic),
    /// Where to read on is gone: when all that was taken is settled, the partition is started anew.
    Gone,
    /// Reading on would skip records: the partition stays as it is until it is taken away.
    Held,
}

/// The deliveries of one partition.
#[derive(Debug)]
pub struct Flow {
    /// What the worker lends.
    pub context: Rc<Context>,
    /// Room and offsets.
    pub window: Rc<Window>,
    /// Where ended attempts arrive.
    pub inbox: Rc<Inbox>,
    /// Which partition, in which epoch.
    pub claim: Claim,
    pub(super) source: Arc<SourceFigures>,
    pub(super) figures: LaneSeat,
    wake: Arc<Notify>,
    ended: Vec<(Delivery, Report)>,
    retries: BinaryHeap<Reverse<Retry>>,
    /// What is to be stored as soon as there is room for what that takes.
    evacuees: VecDeque<Delivery>,
    pub(super) order: InOrder,
    pub(super) hand_offs: FuturesUnordered<LocalBoxFuture<'static, Acknowledged>>,
    commit_due: Option<Monotonic>,
    /// A dispatcher that had ample work when this lane last gave it some.
    ample: RefCell<Option<Rc<Dispatcher<Delivery>>>>,
}

/// A partition that was assigned to us, for one epoch.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The partition.
    pub at: TopicPartition,
    /// The epoch; what was learned in another one is not applied in this (I3).
    pub epoch: u64,
    /// Consumer group.
    pub group: Arc<str>,
    /// The way back to the intake.
    pub link: Link,
}

/// What a lane needs of its intake.
#[derive(Debug, Clone)]
pub struct Link {
    /// Takes positions to commit.
    pub committer: Committer,
    /// Whether the group still counts us in.
    pub membership: Membership,
    /// The intake, to have a partition started anew.
    pub intake: Weak<dyn Restart>,
}

#[derive(Debug)]
struct Retry {
    due: Monotonic,
    delivery: Delivery,
}

impl PartialEq for Retry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}
impl Eq for Retry {}
impl PartialOrd for Retry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Retry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Flow {
    /// A flow without deliveries.
    #[must_use]
    pub fn new(
        context: Rc<Context>,
        claim: Claim,
        source: Arc<SourceFigures>,
        window: Rc<Window>,
        wake: Arc<Notify>,
    ) -> Self {
        let figures = context.lanes.begin(&claim.group, &claim.at.topic, claim.at.partition);
        figures.stands(&window.stands(), Monotonic::now());
        let inbox = Inbox::new(claim.link.membership.clone(), Arc::clone(&wake));
        Self {
            context,
            window,
            inbox,
            claim,
            source,
            figures,
            wake,
            ended: Vec::new(),
            retries: BinaryHeap::new(),
            evacuees: VecDeque::new(),
            order: InOrder::default(),
            hand_offs: FuturesUnordered::new(),
            commit_due: None,
            ample: RefCell::default(),
        }
    }

    /// Counts what became of a record of this lane.
    pub fn count(&self, what: Counted) {
        self.source.count(self.context.worker, what);
    }

    /// Gives a delivery to the dispatcher of its destination; to the queue at once, if it could not be sent soon or its
    /// destination takes its events from there.
    pub fn begin(&self, delivery: Delivery, now: Monotonic) {
        if delivery.belongs_into_queue() {
            return self.enqueue(delivery, None);
        }
        let destination = &delivery.target.destination;
        let sick = destination.sick(now).filter(|sick| delivery.is_movable() && sick.outlasts(SICK_IN_MEMORY));
        if let Some(Sick { cause, .. }) = sick {
            return self.enqueue(delivery, Some((cause.code(), cause.message())));
        }
        self.window.serves(Arc::as_ptr(destination).addr(), now);
        if let Some(ample) = self.context.send(delivery, now) {
            *self.ample.borrow_mut() = Some(ample);
        }
    }

    /// Enough of what was read waits for a destination that takes it as fast as it can: reading on would only fill memory.
    /// A settlement will wake the lane.
    #[must_use]
    pub fn is_ahead(&self, now: Monotonic) -> bool {
        let mut ample = self.ample.borrow_mut();
        let is_ample = ample.as_ref().is_some_and(|dispatcher| dispatcher.is_ample(now));
        if !is_ample {
            *ample = None;
        }
        is_ample && self.window.open() >= READ_AHEAD
    }

    /// A delivery has waited too long for its destination, which is to be sent from its queue then.
    fn evacuate(&self, delivery: Delivery, now: Monotonic) {
        let why = match delivery.target.destination.sick(now) {
            _ if delivery.belongs_into_queue() => None,
            Some(Sick { cause, .. }) => Some((cause.code(), cause.message())),
            None => Some(("DESTINATION_BUSY", "the destination is slower than its events come; it waits in its queue")),
        };
        self.enqueue(delivery, why);
    }

    /// What to do when reading from Kafka failed.
    #[must_use]
    pub fn reading_failed(&self, error: &QueueError) -> Took {
        let at = &self.claim.at;
        match error {
            QueueError::OffsetOutOfRange => {
                tracing::warn!(topic = %at.topic, partition = at.partition, %error, "looking up where to read on");
                Took::Gone
            }
            QueueError::Transient(_) => {
                tracing::warn!(topic = %at.topic, partition = at.partition, %error, "reading failed");
                // There may be records behind the error, and nothing would tell of them.
                Took::More
            }
            QueueError::Fatal(_) => {
                tracing::error!(
                    topic = %at.topic,
                    partition = at.partition,
                    %error,
                    "partition held: reading on would skip records; mend the topic, then restart this replica"
                );
                self.figures.unreadable(Monotonic::now());
                Took::Held
            }
        }
    }

    /// Commits where we are and asks for a new start of the partition. Its queue must be gone.
    fn restart(&self) {
        if let Some(commit) = self.position() {
            self.claim.link.committer.store(commit);
        }
        if let Some(intake) = self.claim.link.intake.upgrade() {
            intake.restart(self.claim.at.clone());
        }
    }

    fn settle_ended(&mut self) {
        for delivery in self.inbox.take_returned() {
            self.begin(delivery, Monotonic::now());
        }
        self.evacuees.extend(self.inbox.take_evacuated());
        while self.hand_offs.len() < EVACUATED_AT_ONCE || self.window.has_budget() {
            let Some(delivery) = self.evacuees.pop_front() else { break };
            self.evacuate(delivery, Monotonic::now());
        }
        for orphan in self.inbox.take_orphans() {
            match orphan.ticket.turn() {
                Some(_) => self.keep_orphan(orphan),
                // Its rule is disabled, so nothing is sent for it: its queue keeps it.
                None if !orphan.target.enabled => self.enqueue(orphan, None),
                None => self.put_aside(orphan),
            }
        }
        let mut ended = std::mem::take(&mut self.ended);
        self.inbox.take(&mut ended);
        if !ended.is_empty() {
            let (now, wall) = (Monotonic::now(), WallMs::now());
            for (delivery, report) in ended.drain(..) {
                self.settle(delivery, report, now, wall);
            }
        }
        self.ended = ended;
        self.begin_next();
    }

    /// Gives room back that a lane which has nothing to do does not need: there may be thousands of them.
    fn rest(&mut self) {
        if self.window.open() == 0 {
            self.ended = Vec::new();
            self.inbox.rest();
        }
    }

    fn settle(&mut self, mut delivery: Delivery, report: Report, now: Monotonic, wall: WallMs) {
        let worker = self.context.worker;
        delivery.note(&report);
        let Report { class, code, status, .. } = report;
        if report.sent.is_some() {
            delivery.target.figures.attempted(worker, End { class, code, status });
        }
        let mut next = self.next(&delivery, &report, now, wall);
        if delivery.ticket.turn().is_some() {
            next = settle::in_order(next, delivery.target.on_exhausted, wall);
        }
        delivery.decided(&report, &next);
        let target = &delivery.target;
        let dead_letter_topic = &target.dead_letter_topic;
        let record = &delivery.event().record;
        let hand_off = match next {
            Next::Delivered => {
                target.figures.delivered(worker);
                if let Some(happened) = record.timestamp_ms {
                    target.destination.figures().delivered(wall.since(WallMs(happened)));
                }
                let trace = || delivery.trace(Settlement::Delivered, &report, wall);
                if delivery.is_plain() {
                    self.context.trace_plain(delivery.event().id(), trace);
                } else {
                    self.context.trace(trace);
                }
                delivery.ticket.settle();
                return;
            }
            Next::RetryInMemory { after } => {
                if self.context.traced != Traced::Nothing {
                    delivery.failed(report);
                }
                self.retry_at(now.plus(after), delivery);
                return;
            }
            Next::Hold { .. } => return self.hold_sequence(delivery, report, now),
            Next::Tier { due } => {
                let (topics, tier) = (&self.context.topics, settle::tier_for(due.since(wall)));
                HandOff::to_tier(record, delivery.stored(&report), topics, tier, due, dead_letter_topic)
            }
            Next::Queue => {
                let topic = self.context.topics.queue(target.destination.resource().name.as_str());
                HandOff::to_queue(record, delivery.stored(&report), topic, dead_letter_topic)
            }
            Next::DeadLetter { exhausted } => {
                HandOff::to_dead_letter(record, delivery.stored(&report), dead_letter_topic, exhausted)
            }
        };
        let mut trace = delivery.trace(Settlement::HandedOff, &report, wall).into_owned();
        if let Next::Tier { due } = next {
            trace.due = Some(due.rfc3339().into());
        }
        let account = Account::new(&target.figures, class, code);
        self.hand_off(delivery.ticket, hand_off, trace, account, Some(delivery.held));
    }

    /// Where a delivery goes after an attempt that ended with `report`: the one place that decides it.
    fn next(&self, delivery: &Delivery, report: &Report, now: Monotonic, wall: WallMs) -> Next {
        let (target, destination) = (&delivery.target, &delivery.target.destination);
        let room = Room {
            relaxed: self.window.is_relaxed() && !self.window.is_closing(),
            sick: destination.sick(now).map(|sick| sick.left.unwrap_or(Duration::MAX)),
        };
        let history = delivery.for_settle(wall);
        let mut next = settle::decide(report, &history, &target.retry, room, wall, &mut self.context.rng());
        if destination.exceeds_budget(report, now) && next == (Next::DeadLetter { exhausted: None }) {
            // It would be one of many: kept until someone has looked.
            next = Next::Queue;
        }
        match next {
            // It is there already. The queue is let go if the destination stays sick; until then it is not read again.
            Next::Queue if !delivery.is_movable() => Next::RetryInMemory { after: SICK_IN_MEMORY },
            Next::Delivered
            | Next::RetryInMemory { .. }
            | Next::Tier { .. }
            | Next::Queue
            | Next::Hold { .. }
            | Next::DeadLetter { .. } => next,
        }
    }

    /// Settles the hand-offs that Kafka has acknowledged, without waiting for others.
    fn settle_acknowledged(&mut self) {
        while !self.hand_offs.is_empty() {
            match self.hand_offs.next().now_or_never().flatten() {
                Some(done) => self.acknowledged(done),
                None => break,
            }
        }
        self.begin_next();
    }

    pub(super) fn retry_at(&mut self, due: Monotonic, delivery: Delivery) {
        self.retries.push(Reverse(Retry { due, delivery }));
    }

    fn resubmit_due(&mut self) {
        let Some(Reverse(first)) = self.retries.peek() else { return };
        let now = Monotonic::now();
        if first.due > now {
            return;
        }
        while self.retries.peek().is_some_and(|Reverse(retry)| retry.due <= now) {
            if let Some(Reverse(retry)) = self.retries.pop() {
                self.begin(retry.delivery, now);
            }
        }
    }

    /// Gives the watermark to the poll thread when something changed, at most every [`COMMIT_GATHER`].
    fn commit_when_due(&mut self) {
        if !self.window.is_changed() {
            return;
        }
        let now = Monotonic::now();
        match self.commit_due {
            None => self.commit_due = Some(now.plus(COMMIT_GATHER)),
            Some(due) if due > now => {}
            Some(_) => {
                self.commit_due = None;
                self.window.take_changed();
                self.figures.stands(&self.window.stands(), now);
                if let Some(commit) = self.position() {
                    self.claim.link.committer.store(commit);
                }
            }
        }
    }

    fn position(&self) -> Option<Commit> {
        let at = &self.claim.at;
        let scope = Scope { group: &self.claim.group, topic: &at.topic, partition: at.partition };
        let CommitState { next_offset, metadata } = self.window.commit_state(&scope)?;
        let metadata = if self.context.commit_map { metadata } else { String::new() };
        self.figures.mapped(metadata.len());
        Some(Commit { at: at.clone(), epoch: self.claim.epoch, next_offset, metadata })
    }

    /// The next moment at which something is to be done without being woken.
    fn next_timer(&self, feed: Option<Monotonic>) -> Option<Monotonic> {
        let retry = self.retries.peek().map(|Reverse(retry)| retry.due);
        [retry, self.commit_due, self.order.next_timer(), feed].into_iter().flatten().min()
    }

    /// The partition goes, so nothing that waits is sent. Events of which nothing has been tried are read again as they are.
    /// Of the others everything is stored, if there is still time to (`stores`): their next owner would begin anew with
    /// their attempts, and send again what targets have had already.
    fn leave(&mut self, stores: bool) {
        let waiting = self.retries.drain().map(|Reverse(Retry { due, delivery })| (delivery, Some(due)));
        let returned = self.inbox.take_returned().into_iter().chain(self.evacuees.drain(..));
        let waiting: Vec<_> = waiting.chain(returned.map(|delivery| (delivery, None))).collect();
        if !stores {
            return;
        }
        let mut untried = HashMap::<*const Held, usize>::new();
        for (delivery, _) in waiting.iter().filter(|(delivery, _)| delivery.history.attempts_here == 0) {
            *untried.entry(Rc::as_ptr(&delivery.held)).or_default() += 1;
        }
        let now = Monotonic::now();
        for (delivery, due) in waiting {
            let untried = untried.get(&Rc::as_ptr(&delivery.held)).copied().unwrap_or(0);
            // What keeps an order is stored nowhere.
            if untried < delivery.held.deliveries && delivery.ticket.turn().is_none() {
                self.store_left(delivery, due.map_or(Duration::ZERO, |due| due.since(now)));
            }
        }
    }

    /// Waits for what is in flight until `deadline`, then cuts it off; gives the last position.
    async fn drain(&mut self, deadline: Monotonic) -> Option<Commit> {
        self.context.dispatchers.purge_abandoned();
        let timeout = sleep_until(deadline.instant().into());
        tokio::pin!(timeout);
        loop {
            self.leave(Monotonic::now() < deadline);
            self.settle_ended();
            self.order.clear();
            if self.window.open() == 0 {
                break;
            }
            tokio::select! {
                biased;
                Some(done) = self.hand_offs.next() => self.acknowledged(done),
                () = self.wake.notified() => {}
                () = &mut timeout => {
                    let cut_off = self.window.open();
                    self.source.cut_off(self.context.worker, cut_off);
                    self.context.dispatchers.cancel_abandoned();
                    break;
                }
            }
        }
        self.position()
    }
}

/// Runs a lane until its window is closed, then drains it. Gives the position to commit last.
///
/// There may be thousands of them: an `async fn` would have room for its arguments twice, where they come in and where they
/// are used.
pub fn run(feed: impl Feed, mut flow: Flow, deadline: impl Fn() -> Monotonic) -> impl Future<Output = Option<Commit>> {
    let (mut feed, mut took, mut alarm) = (Some(feed), Took::More, Alarm::default());
    async move {
        while !flow.window.is_closing() {
            flow.settle_ended();
            flow.settle_acknowledged();
            flow.resubmit_due();
            flow.release_resumed();
            took = match (&mut feed, took) {
                (Some(feed), Took::More | Took::Idle | Took::Until(_)) => feed.take(&mut flow),
                (_, stopped) => stopped,
            };
            if took == Took::Gone && feed.is_some() && flow.window.open() == 0 {
                feed = None;
                flow.restart();
            }
            flow.commit_when_due();
            if !flow.context.lines.is_quiet() {
                flow.context.lines.sum_up(Monotonic::now());
            }
            let until = match took {
                Took::More => {
                    // Others on this worker have a turn, and what ended meanwhile is settled before more is read.
                    tokio::task::yield_now().await;
                    continue;
                }
                Took::Until(due) => flow.next_timer(Some(due)),
                // Room that another lane gave back, or a wake-up that went to a queue's predecessor, is noticed here.
                Took::Idle => flow.next_timer(Some(Monotonic::now().plus(LOOK_AGAIN))),
                Took::Gone | Took::Held => flow.next_timer(None),
            };
            flow.rest();
            alarm.set(until);
            tokio::select! {
                biased;
                () = flow.wake.notified() => {}
                Some(done) = flow.hand_offs.next() => {
                    flow.acknowledged(done);
                }
                () = alarm.rings() => {}
            }
        }
        // The queue goes before the answer to a revoke: dropped later, it would silence its successor's callback.
        drop(feed);
        Box::pin(flow.drain(deadline())).await
    }
}

/// The timer of a lane. It stays as it is while it rings early enough, for to look once too often costs less than to set
/// it anew whenever the lane was woken.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it rings.
    at: Option<Monotonic>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { sleep: Box::pin(sleep_until(Monotonic::default().instant().into())), at: None }
    }
}

impl Alarm {
    /// It is to ring at this moment, or before.
    fn set(&mut self, moment: Option<Monotonic>) {
        let Some(moment) = moment.filter(|moment| self.at.is_none_or(|at| at > *moment)) else { return };
        self.sleep.as_mut().reset(moment.instant().into());
        self.at = Some(moment);
    }

    async fn rings(&mut self) {
        match self.at {
            Some(_) => self.sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.at = None;
    }
}
