//! From "complete up to here" to "Kafka has saved it": lanes store, the poll thread sends what changed every half second,
//! at most one commit at a time, and takes in the answers.

use super::callbacks::{IntakeConsumer, list};
use super::intake::IntakeOptions;
use super::membership::Membership;
use super::partition::{Commit, METADATA_MAX, Owner, TopicPartition};
use super::start::{self, Fresh};
use super::table::{Answer, Item, Stored, Table};
use super::{client, commit};
use crate::model::clock::Monotonic;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An unanswered commit older than this does not keep the next one waiting. librdkafka answers every commit at last.
const STALE: Duration = Duration::from_secs(30);

/// Failed commits are told of this often.
const WARN_PAUSE: Duration = Duration::from_secs(10);

/// Kafka forgets the offsets of a group without members after some days: without a subscription all are said again.
const REFRESH: Duration = Duration::from_secs(3_600);

/// How long an unanswered commit is remembered.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Takes offsets to be committed, from any thread.
#[derive(Debug, Clone)]
pub struct Committer(Arc<Mailbox>);

#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<HashMap<TopicPartition, Commit>>);

impl Committer {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self(mailbox)
    }

    /// Leaves an offset to be committed. The newest of a partition wins; an epoch that is over is ignored. Metadata that
    /// is not ASCII or too long is left out, which costs repeated deliveries after a crash, never a lost one.
    pub fn store(&self, mut commit: Commit) {
        if commit.metadata.len() > METADATA_MAX || !commit.metadata.is_ascii() {
            commit.metadata.clear();
        }
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&commit.at) {
            Some(old) if old.epoch > commit.epoch => {}
            Some(old) => *old = commit,
            None => drop(all.insert(commit.at.clone(), commit)),
        }
    }
}

impl Mailbox {
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
pub(super) struct Core {
    pub(super) table: Table,
    sent: VecDeque<Sent>,
    /// When the newest commit was sent.
    last_sent: Monotonic,
    /// When a failed commit was last told of.
    warned: Monotonic,
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
    /// Where the rotation of resumed partitions stands.
    pub(super) turn: usize,
}

impl Core {
    /// Enters one wish of a lane.
    pub(super) fn take(&mut self, commit: Commit) {
        if !self.table.accept(commit) {
            self.stale_commits += 1;
        }
    }

    /// True while an answer is awaited that the next commit must wait for.
    pub(super) fn waits(&self, now: Monotonic) -> bool {
        self.sent.iter().any(|sent| now.since(sent.at) < STALE)
    }

    /// True while any answer is awaited.
    pub(super) fn unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Finds the commit that is answered, by its content.
    fn answered(&mut self, offsets: &[(TopicPartition, i64)]) -> Option<Sent> {
        let same = |sent: &Sent| {
            sent.items.iter().map(|i| (&i.at, i.stored.next_offset)).eq(offsets.iter().map(|(a, o)| (a, *o)))
        };
        let index = self.sent.iter().position(same)?;
        self.sent.remove(index)
    }
}

/// What the poll thread, the callbacks and the handles of an intake share.
pub(super) struct Shared {
    pub(super) group: String,
    pub(super) options: IntakeOptions,
    pub(super) owner: Arc<dyn Owner>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) membership: Membership,
    pub(super) session: Duration,
    core: Mutex<Core>,
    fresh: Mutex<Fresh>,
}

impl Shared {
    pub(super) fn new(
        group: String,
        options: IntakeOptions,
        owner: Arc<dyn Owner>,
        session: Duration,
        member: bool,
    ) -> Self {
        let membership = Membership::new(member.then_some(session));
        let (mailbox, core, fresh) = Default::default();
        Self { group, options, owner, mailbox, membership, session, core, fresh }
    }

    /// Held for moments only, never while the owner or librdkafka is called.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Used by the poll thread only.
    pub(super) fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what lanes have stored.
    pub(super) fn accept_all(&self, core: &mut Core) {
        for (_, commit) in self.mailbox.drain() {
            core.take(commit);
        }
    }

    /// Sends what changed; if nothing changed for a third of a session, says the same again to learn whether we are still
    /// a member.
    pub(super) fn commit_due(&self, consumer: &IntakeConsumer, now: Monotonic) {
        let items = {
            let mut core = self.core();
            self.accept_all(&mut core);
            core.sent.retain(|sent| now.since(sent.at) < FORGOTTEN);
            if core.waits(now) {
                return;
            }
            let due = core.table.due(now);
            let quiet = now.since(core.last_sent) >= self.session / 3 && self.membership.is_needed();
            if !due.is_empty() {
                due
            } else if quiet {
                core.table.evidence().into_iter().collect()
            } else if !self.membership.is_needed() && now.since(core.refreshed) >= REFRESH && !core.table.is_empty() {
                core.refreshed = now;
                core.table.saved()
            } else {
                return;
            }
        };
        if items.is_empty() && self.membership.is_needed() {
            self.first_evidence(consumer, now);
        } else {
            self.send(consumer, items, now);
        }
    }

    /// No commit is known: perhaps there is none, perhaps asking failed. Says again what is saved, else commits the oldest
    /// offset of one partition, which says nothing wrong.
    fn first_evidence(&self, consumer: &IntakeConsumer, now: Monotonic) {
        let Some((at, epoch)) = self.core().table.any() else { return };
        self.core().last_sent = now;
        let saved = start::committed(consumer, std::slice::from_ref(&at), start::SHORT);
        let stored = saved.and_then(|mut saved| match saved.remove(&at) {
            Some(Some(stored)) => Ok(Some(stored)),
            Some(None) => client::watermarks(consumer.client(), &at.topic, at.partition, start::SHORT)
                .map(|(low, _)| Some(Stored { next_offset: low, metadata: String::new() })),
            None => Ok(None),
        });
        match stored {
            Ok(stored) => {
                let items = stored.into_iter().map(|stored| Item { at: at.clone(), epoch, stored });
                self.send(consumer, items.collect(), now);
            }
            Err(error) => tracing::debug!(group = self.group, %error, "no evidence of membership"),
        }
    }

    /// Sends a commit and remembers it.
    pub(super) fn send(&self, consumer: &IntakeConsumer, mut items: Vec<Item>, now: Monotonic) {
        if items.is_empty() {
            return;
        }
        items.sort_by(|a, b| a.at.cmp(&b.at));
        let offsets = items.iter().map(|i| (&i.at, i.stored.next_offset, i.stored.metadata.as_str()));
        let sent = commit::enqueue(consumer, offsets);
        let mut core = self.core();
        core.last_sent = now;
        match sent {
            Ok(()) => core.sent.push_back(Sent { at: now, items }),
            Err(error) => {
                core.commit_failures += 1;
                drop(core);
                tracing::warn!(group = self.group, %error, "commit not sent; trying again");
            }
        }
    }

    /// Takes in an answer.
    pub(super) fn answered(&self, result: &KafkaResult<()>, list: &TopicPartitionList, now: Monotonic) {
        let whole = result.as_ref().err().and_then(KafkaError::rdkafka_error_code).unwrap_or(RDKafkaErrorCode::NoError);
        let mut answers: Vec<(TopicPartition, i64, Answer)> = Vec::new();
        for element in list.elements() {
            let own = element.error().err().and_then(|e| e.rdkafka_error_code());
            let offset = element.offset().to_raw().unwrap_or(-1);
            let at = TopicPartition::new(element.topic(), element.partition());
            answers.push((at, offset, Answer::of(own.unwrap_or(whole))));
        }
        answers.sort_by(|a, b| a.0.cmp(&b.0));
        let offsets: Vec<_> = answers.iter().map(|(at, offset, _)| (at.clone(), *offset)).collect();
        let mut core = self.core();
        let Some(sent) = core.answered(&offsets) else {
            drop(core);
            tracing::debug!(group = self.group, "answer to a commit that nobody remembers");
            return;
        };
        let (mut refused, mut transient) = (None, false);
        for (item, (_, _, answer)) in sent.items.iter().zip(&answers) {
            core.table.answered(item, *answer, sent.items.len(), now);
            match answer {
                Answer::Saved | Answer::Rebalancing => self.membership.prove(sent.at),
                Answer::NotMember => {}
                Answer::Transient => transient = true,
                Answer::Fenced => self.membership.disprove(),
                Answer::Refused | Answer::MetadataTooLong => refused = Some(item.at.clone()),
            }
        }
        if whole == RDKafkaErrorCode::NoError {
            core.commits += 1;
            return;
        }
        core.commit_failures += 1;
        // Rebalances make commits fail, that is normal; anything else is said, but not twice a second.
        let say =
            (transient || refused.is_some()) && (core.warned == Monotonic(0) || now.since(core.warned) >= WARN_PAUSE);
        if say {
            core.warned = now;
        }
        drop(core);
        let (topic, partition) = (refused.as_ref().map(|at| &*at.topic), refused.as_ref().map(|at| at.partition));
        if say {
            tracing::warn!(group = self.group, topic, partition, code = %whole, "offsets not saved; trying again");
        } else {
            tracing::debug!(group = self.group, topic, partition, code = %whole, "offsets not saved; trying again");
        }
    }

    /// librdkafka remembers a pause beyond the assignment: what was paused is resumed before it is let go.
    pub(super) fn unpause<'a>(&self, consumer: &IntakeConsumer, paused: impl Iterator<Item = &'a TopicPartition>) {
        let resumed = list(paused.map(|at| (at, Offset::Invalid)))
            .and_then(|list| if list.count() == 0 { Ok(()) } else { consumer.resume(&list) });
        if let Err(error) = resumed {
            tracing::warn!(group = self.group, %error, "resuming partitions before they are let go");
        }
    }

    /// Keeps at most `max_resumed` partitions fetching: `again` after an assignment, else the next ones in turn.
    pub(super) fn rotate(&self, consumer: &IntakeConsumer, again: bool) {
        let (pause, resume) = {
            let mut core = self.core();
            let max = self.options.max_resumed.max(1);
            let count = core.table.len();
            if !again {
                core.turn = core.turn.wrapping_add(max);
            }
            let turn = if count == 0 { 0 } else { core.turn % count };
            let (mut pause, mut resume) = (Vec::new(), Vec::new());
            for (index, (at, entry)) in core.table.iter_mut().enumerate() {
                let open = (index + count - turn) % count < max;
                if open == entry.paused {
                    entry.paused = !open;
                    if open { resume.push(at.clone()) } else { pause.push(at.clone()) }
                }
            }
            (pause, resume)
        };
        for (all, what) in [(pause, true), (resume, false)] {
            if all.is_empty() {
                continue;
            }
            let done = list(all.iter().map(|at| (at, Offset::Invalid)))
                .and_then(|list| if what { consumer.pause(&list) } else { consumer.resume(&list) });
            if let Err(error) = done {
                tracing::warn!(group = self.group, %error, "pausing or resuming partitions failed");
            }
        }
    }
}
