//! A desk: what an intake does, without Kafka's client: one consumer of one group, which joins, takes partitions over, gives
//! them back, and commits what its lanes want committed.

use crate::broker::{Broker, Cursor, Link, Nothing};
use crate::group::{SESSION_MS, Told};
use crate::line::{LINES, Line, Said};
use crate::time;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidegate::kafka::{
    Answer, Committer, Core, Due, Item, Life, Membership, Owner, Partitions, Pending, Queue, Restart, Stored,
    TopicPartition,
};
use tidegate::model::clock::Monotonic;
use tidegate::pipeline::flow::Link as FlowLink;
use tidegate::pipeline::slots::Slots;
use tidegate::pipeline::supervisor::Supervisor;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// The groups that are always there.
pub(crate) const SOURCE_GROUP: &str = "tg.shop";
pub(crate) const SLOTS_GROUP: &str = "tg.slots";
pub(crate) const STORED_GROUP: &str = "tg.stored";

/// How long lanes may drain.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
const SESSION: Duration = Duration::from_millis(SESSION_MS);
const COMMIT_MS: u64 = 500;
const HEARTBEAT_MS: u64 = 3_000;

/// What an intake does, without Kafka's client: one consumer of one group.
pub(crate) struct Desk {
    group: Arc<str>,
    broker: Broker,
    link: Arc<Link>,
    core: Core,
    committer: Committer,
    pub(crate) membership: Membership,
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

/// Where a replica is.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) broker: Broker,
    pub(crate) link: Arc<Link>,
    /// Commits carry maps.
    pub(crate) commit_map: bool,
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
    pub(crate) fn new(place: &Place, group: &str, is_member: bool, supervisor: Option<Arc<Supervisor>>) -> Self {
        let (again, restarts) = mpsc::unbounded_channel();
        let (wire, _) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            group: Arc::from(group),
            broker: place.broker.clone(),
            link: Arc::clone(&place.link),
            core: Core::default(),
            committer: Committer::default(),
            membership: Membership::new(is_member.then_some(SESSION)),
            supervisor,
            commit_map: place.commit_map,
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
    pub(crate) fn attach(&self, membership: Membership) {
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
            group: Arc::clone(&self.group),
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
            let group = state.groups.get_mut(&*self.group).unwrap();
            self.member = group.join((self.link.replica, self.link.instance), inbox, &mut state.rng);
            state.oracle.cast_out(self.link.replica, None);
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
        self.link.is_cut(&self.group)
    }

    /// The life of a subscribed intake.
    pub(crate) async fn run(mut self, slots: Option<Arc<Slots>>, mut closing: oneshot::Receiver<()>) {
        let mut told = self.join();
        loop {
            tokio::select! {
                biased;
                _ = &mut closing => break,
                Some(told_now) = told.recv() => match told_now {
                    Told::Assign(partitions) => self.assign(&partitions, slots.as_deref()).await,
                    Told::Revoke(partitions) => {
                        self.revoke(&partitions, false, slots.as_deref()).await;
                        drop(self.wire.send(Said::GivenBack(partitions)));
                    }
                    Told::Lost => {
                        let all: Vec<_> = self.progress.keys().cloned().collect();
                        self.revoke(&all, true, slots.as_deref()).await;
                        time::sleep_ms(200).await;
                        told = self.join();
                    }
                },
                Some(answers) = self.answers.recv() => self.answered(&answers),
                () = time::sleep_ms(time::look_ms()) => self.seen_empty = Monotonic::now(),
            }
            self.look().await;
            slots.iter().for_each(|slots| slots.look());
        }
        let all: Vec<_> = self.progress.keys().cloned().collect();
        self.revoke(&all, false, slots.as_deref()).await;
        self.await_answers().await;
        if self.link.instance.is_none() {
            drop(self.wire.send(Said::Leave));
        }
        self.heart.iter().for_each(AbortHandle::abort);
    }

    /// The life of the intake whose partitions are set by hand.
    pub(crate) async fn serve(mut self, mut wanted: mpsc::UnboundedReceiver<Set>) {
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
                () = time::sleep_ms(time::look_ms()) => {}
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
                self.broker.say(|| format!("{} reads {at} again", self.link.replica));
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
        self.broker.state().commits.get(&(self.group.to_string(), at.clone())).cloned()
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
            match tokio::time::timeout(Duration::from_millis(time::look_ms()), self.answers.recv()).await {
                Ok(Some(answers)) => self.answered(&answers),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    async fn assign(&mut self, partitions: &[TopicPartition], slots: Option<&Slots>) {
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
            let cursor = Cursor::new(&self.broker, &self.link, at, &self.group, stored.as_ref());
            self.progress.insert(at.clone(), cursor.progress());
            let queue = Queue::over(Box::new(cursor), Arc::clone(&at.topic), Arc::clone(&life));
            let start = stored.as_ref().map(|stored| stored.next_offset);
            assigned.push(self.core.enter(at.clone(), start, stored, queue, life));
            let mut state = self.broker.state();
            state
                .oracle
                .say(time::ns(), || format!("{} takes {at} for {} from {start:?}", self.link.replica, self.group));
            state.oracle.entered(self.link.replica, &self.group, at.partition);
        }
        if let Some(supervisor) = &self.supervisor {
            supervisor.assigned(assigned);
        }
    }

    async fn revoke(&mut self, partitions: &[TopicPartition], lost: bool, slots: Option<&Slots>) {
        self.broker.say(|| {
            format!(
                "{} gives back {} of {}{}",
                self.link.replica,
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
pub(crate) struct Sets(pub(crate) mpsc::UnboundedSender<Set>);

/// What is to be read, and who waits for it.
pub(crate) type Set = (BTreeSet<TopicPartition>, std::sync::mpsc::Sender<()>);

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
