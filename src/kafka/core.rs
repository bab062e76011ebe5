//! `Core`: what an intake knows of its partitions and of the commits on their way. It asks nobody: the poll thread tells
//! it what lanes want committed and what Kafka answered, and does what it says.
//!
//! Never here: a commit for a partition that is not ours, or for an epoch that is over; two commits on their way at a
//! time, but for the last ones of partitions that go.

use super::identity;
use super::membership::Membership;
use super::partition::{Assigned, Commit, Life, METADATA_MAX, Queue, TopicPartition};
use super::table::{Answer, Entry, Item, New, Phase, Stored, Table};
use crate::model::clock::Monotonic;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An unanswered commit older than this does not keep the next one waiting. librdkafka answers every commit at last.
const STALE: Duration = Duration::from_secs(30);

/// Kafka forgets the offsets of a group without members after some days: without a subscription all are said again.
const REFRESH: Duration = Duration::from_secs(3_600);

/// How long an unanswered commit is remembered.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Takes offsets to be committed, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Committer(Arc<Mutex<HashMap<TopicPartition, Commit>>>);

impl Committer {
    /// Leaves an offset to be committed. The newest of a partition wins; an epoch that is over is ignored. Metadata that
    /// is not ASCII or too long is left out, which costs repeated deliveries after a crash, never a lost one.
    pub fn store(&self, commit: Commit) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&commit.at) {
            Some(old) if old.epoch > commit.epoch => {}
            Some(old) => *old = commit,
            None => drop(all.insert(commit.at.clone(), commit)),
        }
    }

    fn drain(&self) -> HashMap<TopicPartition, Commit> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A commit on its way.
#[derive(Debug)]
struct Sent {
    at: Monotonic,
    /// Sorted by partition.
    items: Vec<Item>,
}

/// What the poll thread knows. Others only look at it.
#[derive(Debug, Default)]
pub struct Core {
    pub(super) table: Table,
    sent: VecDeque<Sent>,
    /// When the newest commit was sent.
    last_sent: Monotonic,
    /// When a failed commit was last told of.
    pub(super) warned: Monotonic,
    /// When everything was last said again.
    refreshed: Monotonic,
    /// When the last poll began that found nothing to do.
    pub(super) seen_empty: Monotonic,
    pub(super) closing: bool,
    /// Nothing works any more, and why.
    pub(super) failed: Option<String>,
    pub(super) rebalances: u64,
    pub(super) commits: u64,
    pub(super) commit_failures: u64,
    pub(super) stale_commits: u64,
    pub(super) missing: u64,
    pub(super) recreated: u64,
    /// When it was last looked at what is taken of each partition.
    pub(super) looked: Monotonic,
}

/// A partition that was let go.
#[derive(Debug)]
pub struct Released {
    /// Which.
    pub at: TopicPartition,
    /// What is still to be committed of it.
    pub item: Option<Item>,
    pub(super) entry: Entry,
}

/// What is to be committed now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// These.
    Items(Vec<Item>),
    /// No commit is known, and one is needed as evidence of membership.
    Evidence,
}

/// What an answered commit came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// A partition whose commit Kafka refuses.
    pub refused: Option<TopicPartition>,
    /// Something was away or timed out.
    pub transient: bool,
}

impl Core {
    /// Takes in what lanes have stored.
    pub fn accept_all(&mut self, committer: &Committer) {
        for (_, commit) in committer.drain() {
            self.take(commit);
        }
    }

    /// What to commit: what changed; if nothing changed for a third of a session, the same again, to learn whether we are
    /// still a member.
    pub fn due(&mut self, session: Duration, is_member: bool, now: Monotonic) -> Due {
        self.sent.retain(|sent| now.since(sent.at) < FORGOTTEN);
        if self.waits(now) {
            return Due::Nothing;
        }
        let due = self.table.due(now);
        if !due.is_empty() {
            return Due::Items(due);
        }
        if is_member && now.since(self.last_sent) >= session / 3 {
            return self.table.evidence().map_or(Due::Evidence, |item| Due::Items(vec![item]));
        }
        if !is_member && now.since(self.refreshed) >= REFRESH && !self.table.is_empty() {
            self.refreshed = now;
            return Due::Items(self.table.saved());
        }
        Due::Nothing
    }

    /// A partition to ask after, if no commit is known of any; that counts as a commit for the next evidence.
    pub fn asks_after(&mut self, now: Monotonic) -> Option<(TopicPartition, u64)> {
        let any = self.table.any()?;
        self.last_sent = now;
        Some(any)
    }

    /// These were sent, sorted by partition.
    pub fn sent(&mut self, items: Vec<Item>, now: Monotonic) {
        self.last_sent = now;
        self.sent.push_back(Sent { at: now, items });
    }

    /// A commit could not be sent.
    pub(super) fn not_sent(&mut self, now: Monotonic) {
        self.last_sent = now;
        self.commit_failures += 1;
    }

    /// Takes in the answer to a commit, sorted by partition, and what it says about our membership. `None` if nobody
    /// remembers the commit.
    pub fn answered(
        &mut self,
        answers: &[(TopicPartition, i64, Answer)],
        membership: &Membership,
        now: Monotonic,
    ) -> Option<Answered> {
        let sent = self.find(answers)?;
        let mut told = Answered::default();
        for (item, (_, _, answer)) in sent.items.iter().zip(answers) {
            self.table.answered(item, *answer, sent.items.len(), now);
            match answer {
                Answer::Saved | Answer::Rebalancing => membership.prove(sent.at),
                Answer::NotMember => {}
                Answer::Transient => told.transient = true,
                Answer::Fenced => membership.disprove(),
                Answer::Refused | Answer::MetadataTooLong => told.refused = Some(item.at.clone()),
            }
        }
        Some(told)
    }

    /// Enters a partition where its owner may begin at once. What the owner shall hear of it.
    pub fn enter(
        &mut self,
        at: TopicPartition,
        start: Option<i64>,
        committed: Option<Stored>,
        queue: Queue,
        life: Arc<Life>,
    ) -> Assigned {
        let map = committed.as_ref().map(|c| identity::split(&c.metadata).1).filter(|map| !map.is_empty());
        let metadata = map.map(str::to_owned);
        let new = New { at: at.clone(), phase: Phase::Running, life, committed, pending: None, start };
        let epoch = self.table.insert(new);
        Assigned { at, epoch, start, metadata, queue }
    }

    /// A lane has reported that its next offset does not exist: its partition waits for its queue to be dropped.
    pub fn restart_wanted(&mut self, at: &TopicPartition) {
        let Some(entry) = self.table.get_mut(at) else { return };
        if matches!(entry.phase, Phase::Running) && entry.life.stopped.load(Ordering::Acquire) {
            entry.phase = Phase::Restarting;
        }
    }

    /// Partitions to be read again, whose queues have been dropped, with the epoch that is over.
    #[must_use]
    pub fn restartable(&self) -> Vec<(TopicPartition, u64)> {
        let ready = self.table.iter().filter(|(_, e)| matches!(e.phase, Phase::Restarting) && !e.queue_lives());
        ready.map(|(at, entry)| (at.clone(), entry.epoch)).collect()
    }

    /// Whether a partition is ours, and its owner knows.
    #[must_use]
    pub fn has_told(&self, at: &TopicPartition) -> bool {
        self.table.get(at).is_some_and(|entry| entry.told)
    }

    /// Lets partitions go, whose owner has said `last`; what is still to be committed of them.
    pub fn release(&mut self, all: &[TopicPartition], committer: &Committer, last: Vec<Commit>) -> Vec<Released> {
        self.accept_all(committer);
        for commit in last {
            self.take(commit);
        }
        let mut released = Vec::new();
        for at in all {
            if let Some(entry) = self.table.remove(at) {
                released.push(Released { item: entry.item(at), at: at.clone(), entry });
            }
        }
        released
    }

    /// Enters one wish of a lane.
    fn take(&mut self, mut commit: Commit) {
        if commit.metadata.len() > METADATA_MAX || !commit.metadata.is_ascii() {
            commit.metadata.clear();
        }
        if !self.table.accept(commit) {
            self.stale_commits += 1;
        }
    }

    /// True while an answer is awaited that the next commit must wait for.
    fn waits(&self, now: Monotonic) -> bool {
        self.sent.iter().any(|sent| now.since(sent.at) < STALE)
    }

    /// True while any answer is awaited.
    #[must_use]
    pub fn unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Finds the commit that is answered, by its content.
    fn find(&mut self, answers: &[(TopicPartition, i64, Answer)]) -> Option<Sent> {
        let same = |sent: &Sent| {
            sent.items.iter().map(|i| (&i.at, i.stored.next_offset)).eq(answers.iter().map(|(a, o, _)| (a, *o)))
        };
        let index = self.sent.iter().position(same)?;
        self.sent.remove(index)
    }
}
