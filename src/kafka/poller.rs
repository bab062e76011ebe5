//! The poll thread of an intake: serves the consumer, commits, restarts partitions whose offset is gone, takes turns when
//! more partitions are assigned than may be fetched, and ends in order.

use super::callbacks::{self, IntakeConsumer};
use super::committer::Shared;
use super::identity::Identities;
use super::partition::{Assigned, TopicPartition};
use super::start::{self, Again, Gone};
use super::table::{Entry, Phase};
use super::turns::LOOK;
use crate::model::clock::Monotonic;
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

/// The longest time between two looks at commands and commits.
const POLL: Duration = Duration::from_millis(100);

/// How long the answer to the last commit is awaited at least.
const ANSWER: Duration = Duration::from_secs(2);

/// How long after a failed restart of a partition it is tried again, and the least time between two restarts.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked whether topics are still those that they were.
const CHECK: Duration = Duration::from_secs(30);

/// What the thread is asked to do.
pub(super) enum Command {
    /// Read a partition again.
    Restart(TopicPartition),
    /// Read exactly these partitions.
    Set {
        /// All of them.
        partitions: Vec<TopicPartition>,
        /// Told when it is done.
        done: Sender<()>,
    },
    /// End.
    Close {
        /// When to stop being polite.
        deadline: Monotonic,
    },
}

pub(super) struct Poller {
    consumer: Arc<IntakeConsumer>,
    shared: Arc<Shared>,
    inbox: Receiver<Command>,
    /// `None`: partitions are set by hand.
    topics: Option<Vec<String>>,
    /// Closing leaves the group.
    leaves: bool,
    next_commit: Monotonic,
    /// When it is looked whose turn it is to be fetched.
    next_look: Monotonic,
    /// When it is looked whether the topics are still the same.
    next_check: Monotonic,
    /// It has been said that Kafka tells no ids of topics.
    is_untold: bool,
    restarts: HashMap<TopicPartition, Monotonic>,
}

impl Poller {
    pub(super) fn new(
        consumer: Arc<IntakeConsumer>,
        shared: Arc<Shared>,
        inbox: Receiver<Command>,
        topics: Option<Vec<String>>,
        leaves: bool,
    ) -> Self {
        let start = Monotonic(0);
        Self {
            consumer,
            shared,
            inbox,
            topics,
            leaves,
            next_commit: start,
            next_look: start,
            next_check: Monotonic::now().plus(CHECK),
            is_untold: false,
            restarts: HashMap::new(),
        }
    }

    /// Runs until told to close. The consumer is dropped here, on this thread.
    pub(super) fn run(mut self) {
        self.subscribe();
        loop {
            self.pump(POLL);
            match self.inbox.try_recv() {
                Ok(Command::Restart(at)) => self.shared.core().restart_wanted(&at),
                Ok(Command::Set { partitions, done }) => {
                    self.set(&partitions);
                    if done.send(()).is_err() {
                        tracing::debug!("nobody waits for the change of partitions");
                    }
                }
                Ok(Command::Close { deadline }) => return self.close(deadline),
                Err(TryRecvError::Disconnected) => return self.close(Monotonic::now()),
                Err(TryRecvError::Empty) => {}
            }
            let now = Monotonic::now();
            self.begin_started();
            self.restart_due(now);
            let soon = self.shared.core().table.has_alone(now);
            if now >= self.next_commit || soon {
                self.next_commit = now.plus(self.shared.options.commit_interval);
                self.shared.commit_due(&self.consumer, now);
            }
            if now >= self.next_look {
                self.next_look = now.plus(LOOK);
                self.shared.share_out(&self.consumer, now);
            }
            if now >= self.next_check {
                self.next_check = now.plus(CHECK);
                self.check_topics();
            }
        }
    }

    /// A topic that was deleted and made anew is another one, and may be so long already that our offset exists in it.
    fn check_topics(&mut self) {
        let (topics, unclaimed) = {
            let core = self.shared.core();
            (core.table.iter().map(|(at, _)| Arc::clone(&at.topic)).collect::<Vec<_>>(), core.table.unclaimed())
        };
        if topics.is_empty() {
            return;
        }
        let known = match Identities::ask(self.consumer.client(), topics.iter(), start::SHORT) {
            Ok(now) if now.is_empty() => Err("Kafka tells no ids of topics".to_owned()),
            Ok(now) => Ok(now),
            Err(error) => Err(error.to_string()),
        };
        let now = match known {
            Ok(now) => now,
            Err(why) => {
                if !std::mem::replace(&mut self.is_untold, true) {
                    tracing::debug!(group = self.shared.group, why, "a topic that is made anew goes unnoticed");
                }
                return;
            }
        };
        if !unclaimed.is_empty() {
            match start::committed(&*self.consumer, &unclaimed, start::SHORT) {
                Ok(committed) => self.shared.core().table.remember(committed),
                Err(error) => {
                    tracing::debug!(group = self.shared.group, %error, "committed offsets unknown; asking again");
                    return;
                }
            }
        }
        let recreated = self.shared.core().table.learn(&now);
        let told: Vec<_> = recreated.into_iter().filter(|(_, told)| *told).map(|(at, _)| at).collect();
        if !told.is_empty() {
            self.shared.owner.revoked(&told, true);
        }
    }

    fn subscribe(&self) {
        let Some(topics) = &self.topics else { return };
        if self.shared.options.start == start::Start::Latest {
            for topic in topics {
                if let Err(error) = self.shared.fresh().learn(&self.consumer, &Arc::from(topic.as_str())) {
                    tracing::warn!(%error, topic, "cannot learn whether the topic is new to the group; asking again later");
                }
            }
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        // No assignment can wait before we ask for one: a static member's comes with the very first poll.
        self.shared.core().seen_empty = Monotonic::now();
        if let Err(error) = self.consumer.subscribe(&names) {
            self.fail(format!("cannot subscribe: {error}"));
        }
    }

    /// Serves callbacks, at most for this long. True if there was nothing to serve.
    fn pump(&self, at_most: Duration) -> bool {
        let context = self.consumer.context();
        let before = context.served.load(Ordering::Relaxed);
        let began = Monotonic::now();
        match self.consumer.poll(at_most) {
            None => {
                let nothing = context.served.load(Ordering::Relaxed) == before;
                if nothing {
                    self.shared.core().seen_empty = began;
                }
                nothing
            }
            Some(Ok(message)) => {
                self.stray(TopicPartition::new(message.topic(), message.partition()));
                false
            }
            Some(Err(error)) => {
                self.trouble(&error);
                false
            }
        }
    }

    /// A record that came past the queue of its partition would be lost: read the partition again from its commit.
    fn stray(&self, at: TopicPartition) {
        let told = {
            let mut core = self.shared.core();
            if core.closing {
                return;
            }
            let Some(entry) = core.table.get_mut(&at).filter(|e| matches!(e.phase, Phase::Running)) else { return };
            entry.phase = Phase::Restarting;
            entry.told
        };
        tracing::error!(topic = %at.topic, partition = at.partition, "a record came past its queue; reading the partition again from its commit");
        if told {
            self.shared.owner.revoked(std::slice::from_ref(&at), true);
        }
    }

    fn trouble(&self, error: &KafkaError) {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            self.fail(error.to_string());
        } else if self.consumer.context().log.first(&error.to_string(), Monotonic::now()) {
            // What the client's own context tells is not told again.
            let told = error.rdkafka_error_code().is_some_and(|code| {
                [RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::Resolve]
                    .contains(&code)
            });
            if told {
                tracing::debug!(group = self.shared.group, %error, "consuming");
            } else {
                tracing::warn!(group = self.shared.group, %error, "consuming");
            }
        }
    }

    /// Nothing works any more. Whatever we held may be another's.
    fn fail(&self, why: String) {
        let held: Vec<_> = {
            let mut core = self.shared.core();
            if core.failed.is_some() {
                return;
            }
            core.failed = Some(why.clone());
            core.table.iter().map(|(at, _)| at.clone()).collect()
        };
        tracing::error!(group = self.shared.group, why, "the consumer has failed for good");
        self.shared.membership.disprove();
        self.consumer.context().revoke(&self.consumer, &held, true);
    }

    /// Tells the owner of partitions whose first offset has been committed.
    fn begin_started(&self) {
        let started: Vec<Assigned> = {
            let mut core = self.shared.core();
            core.table.iter_mut().filter_map(|(at, entry)| begin(at, entry)).collect()
        };
        if !started.is_empty() {
            self.shared.owner.assigned(started);
        }
    }

    fn restart_due(&mut self, now: Monotonic) {
        let ready = self.shared.core().restartable();
        self.restarts.retain(|at, _| ready.iter().any(|(r, _)| r == at));
        for (at, epoch) in ready {
            if self.restarts.get(&at).is_some_and(|last| now.since(*last) < RESTART_PAUSE) {
                continue;
            }
            self.restarts.insert(at.clone(), now);
            match self.restart(&at, epoch) {
                Ok(Some(assigned)) => self.shared.owner.assigned(vec![assigned]),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(topic = %at.topic, partition = at.partition, %error, "cannot read the partition again yet")
                }
            }
            // One at a time: asking may take seconds, in which the group must hear of us.
            return;
        }
    }

    /// kafka.md "reset=error": only taking the partition out and in again works.
    fn restart(&self, at: &TopicPartition, epoch: u64) -> KafkaResult<Option<Assigned>> {
        let options = &self.shared.options;
        let known = self.shared.core().table.get(at).and_then(|entry| entry.identity.clone());
        let again = {
            let mut fresh = self.shared.fresh();
            start::restart(&*self.consumer, at, options.start, options.on_missing, &mut fresh, known.as_ref())?
        };
        let (beginning, gone) = match again {
            Again::At { beginning, gone } => (beginning, gone),
            Again::Halt { gone } => {
                self.halt(at, gone);
                return Ok(None);
            }
        };
        // A rebalance that waits in the queue must be served first: its state machine would take our change for the answer.
        while !self.pump(Duration::ZERO) {}
        if self.shared.core().table.get(at).is_none_or(|entry| entry.epoch != epoch) {
            return Ok(None);
        }
        let skipped = match gone {
            Gone::Records(0) => 0,
            Gone::Records(skipped) => {
                tracing::error!(topic = %at.topic, partition = at.partition, skipped, next = ?beginning.next, "records are gone before they were read");
                skipped
            }
            Gone::Topic => {
                tracing::error!(topic = %at.topic, partition = at.partition, next = ?beginning.next, "the topic was deleted and made anew; reading the new one, as `on_missing` says; what was not read of the old one is gone");
                0
            }
        };
        let paused = self.shared.core().table.get(at).is_some_and(|entry| entry.paused);
        self.shared.unpause(&self.consumer, paused.then_some(at).into_iter());
        if let Err(error) = self.consumer.incremental_unassign(&callbacks::list([(at, Offset::Invalid)].into_iter())?) {
            // An earlier try came this far; if it is still assigned, the next step says so.
            tracing::debug!(topic = %at.topic, partition = at.partition, %error, "taking a partition out");
        }
        let queue = callbacks::split(&self.consumer, at);
        self.consumer.incremental_assign(&callbacks::list([(at, beginning.offset)].into_iter())?)?;
        let mut core = self.shared.core();
        core.missing += skipped;
        core.recreated += u64::from(gone == Gone::Topic);
        let assigned = callbacks::enter(&mut core, at.clone(), beginning, queue);
        if let Some(entry) = core.table.get_mut(at) {
            entry.skipped = skipped;
        }
        Ok(assigned)
    }

    /// `on_missing: halt`: nothing is read until somebody decides.
    fn halt(&self, at: &TopicPartition, gone: Gone) {
        let (why, missing) = match gone {
            Gone::Records(missing) => (format!("the next offset is gone, {missing} records would be skipped"), missing),
            Gone::Topic => {
                ("the topic was deleted and made anew; what was not read of the old one is gone".to_owned(), 0)
            }
        };
        tracing::error!(topic = %at.topic, partition = at.partition, missing, why, "halted, as `on_missing` says");
        let mut core = self.shared.core();
        core.recreated += u64::from(gone == Gone::Topic);
        if let Some(entry) = core.table.get_mut(at) {
            entry.phase = Phase::Halted { why, since: Monotonic::now() };
            entry.skipped = missing;
        }
    }

    fn set(&self, wanted: &[TopicPartition]) {
        let wanted: BTreeSet<&TopicPartition> = wanted.iter().collect();
        let held: BTreeSet<TopicPartition> = self.shared.core().table.iter().map(|(at, _)| at.clone()).collect();
        let removed: Vec<_> = held.iter().filter(|at| !wanted.contains(at)).cloned().collect();
        let added: Vec<_> = wanted.iter().filter(|at| !held.contains(**at)).copied().cloned().collect();
        self.give_back(&removed, Monotonic::now().plus(start::PATIENCE));
        if added.is_empty() {
            return;
        }
        match callbacks::list(added.iter().map(|at| (at, Offset::Invalid))) {
            Ok(list) => self.consumer.context().assign(&self.consumer, &list),
            Err(error) => tracing::error!(group = self.shared.group, %error, "taking partitions"),
        }
    }

    /// Without a group to tell: drain, commit, await the answer, let go.
    fn give_back(&self, removed: &[TopicPartition], deadline: Monotonic) {
        if removed.is_empty() {
            return;
        }
        self.consumer.context().revoke(&self.consumer, removed, false);
        // Draining may have used up the time; the next owner must not read before our last commit is saved.
        self.await_answers(deadline.max(Monotonic::now().plus(ANSWER)));
        let done = callbacks::list(removed.iter().map(|at| (at, Offset::Invalid)))
            .and_then(|list| self.consumer.incremental_unassign(&list));
        if let Err(error) = done {
            tracing::warn!(group = self.shared.group, %error, "letting partitions go");
        }
        self.consumer.context().purge(removed);
    }

    fn await_answers(&self, deadline: Monotonic) {
        while self.shared.core().unanswered() && Monotonic::now() < deadline {
            self.pump(Duration::from_millis(10));
        }
    }

    fn close(self, deadline: Monotonic) {
        self.shared.core().closing = true;
        if self.topics.is_some() && self.leaves {
            self.consumer.unsubscribe();
            while !self.shared.core().table.is_empty() && Monotonic::now() < deadline {
                self.pump(Duration::from_millis(20));
            }
        }
        // Set by hand, or a static member, whose unsubscribing would leave the group, or not revoked in time.
        let left: Vec<TopicPartition> = self.shared.core().table.iter().map(|(at, _)| at.clone()).collect();
        self.give_back(&left, deadline);
        self.await_answers(deadline);
        while Arc::strong_count(&self.consumer) > 1 && Monotonic::now() < deadline {
            self.pump(Duration::from_millis(20));
        }
        if Arc::strong_count(&self.consumer) > 1 {
            tracing::error!(group = self.shared.group, "a queue outlives its intake; its owner must drop it");
        }
        tracing::debug!(group = self.shared.group, "closed");
    }
}

/// A partition whose first offset has been committed begins to run.
fn begin(at: &TopicPartition, entry: &mut Entry) -> Option<Assigned> {
    if entry.committed.is_none() || !matches!(entry.phase, Phase::Starting(_)) {
        return None;
    }
    let Phase::Starting(queue) = std::mem::replace(&mut entry.phase, Phase::Running) else { return None };
    entry.told = true;
    let start = entry.committed.as_ref().map(|c| c.next_offset);
    Some(Assigned { at: at.clone(), epoch: entry.epoch, start, metadata: None, queue: *queue })
}
