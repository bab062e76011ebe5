//! From "complete up to here" to "Kafka has saved it": lanes store, the poll thread sends what changed every half second,
//! at most one commit at a time, and takes in the answers.

use super::callbacks::{IntakeConsumer, list};
use super::core::{Answered, Committer, Core, Due};
use super::intake::IntakeOptions;
use super::membership::Membership;
use super::partition::{Owner, TopicPartition};
use super::start::{self, Fresh};
use super::table::{Answer, Item, Phase, Stored};
use super::turns::{self, LOOK, Standing};
use super::{client, commit};
use crate::model::clock::Monotonic;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Failed commits are told of this often.
const WARN_PAUSE: Duration = Duration::from_secs(10);

/// What the poll thread, the callbacks and the handles of an intake share.
pub(super) struct Shared {
    pub(super) group: String,
    pub(super) options: IntakeOptions,
    pub(super) owner: Arc<dyn Owner>,
    pub(super) committer: Committer,
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
        let (committer, core, fresh) = Default::default();
        Self { group, options, owner, committer, membership, session, core, fresh }
    }

    /// Held for moments only, never while the owner or librdkafka is called.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Used by the poll thread only.
    pub(super) fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what changed; if nothing changed for a third of a session, says the same again to learn whether we are still
    /// a member.
    pub(super) fn commit_due(&self, consumer: &IntakeConsumer, now: Monotonic) {
        let due = {
            let mut core = self.core();
            core.accept_all(&self.committer);
            core.due(self.session, self.membership.is_needed(), now)
        };
        match due {
            Due::Nothing => {}
            Due::Items(items) => self.send(consumer, items, now),
            Due::Evidence => self.first_evidence(consumer, now),
        }
    }

    /// No commit is known: perhaps there is none, perhaps asking failed. Says again what is saved, else commits the oldest
    /// offset of one partition, which says nothing wrong.
    fn first_evidence(&self, consumer: &IntakeConsumer, now: Monotonic) {
        let Some((at, epoch)) = self.core().asks_after(now) else { return };
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
        match sent {
            Ok(()) => self.core().sent(items, now),
            Err(error) => {
                self.core().not_sent(now);
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
        let mut core = self.core();
        let Some(Answered { refused, transient }) = core.answered(&answers, &self.membership, now) else {
            drop(core);
            tracing::debug!(group = self.group, "answer to a commit that nobody remembers");
            return;
        };
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

    /// Looks who has his turn to be fetched.
    pub(super) fn share_out(&self, consumer: &IntakeConsumer, now: Monotonic) {
        let mut rules = self.options.rules();
        let (pause, resume, back) = {
            let mut core = self.core();
            // An assignment looks again at once, and a rebalance lets the next look wait for seconds.
            let looks = now.since(core.looked).as_millis() / LOOK.as_millis();
            if looks > 0 {
                core.looked = now;
                rules.calm_bytes = rules.calm_bytes.saturating_mul(u64::try_from(looks).unwrap_or(u64::MAX));
            }
            let mut wanting = Vec::new();
            for (at, entry) in core.table.iter_mut() {
                if looks > 0 {
                    entry.standing.look(&entry.life, &rules, now);
                }
                // What is halted must not fill its queue, which nobody reads; nor what is not due for a while.
                if matches!(entry.phase, Phase::Halted { .. }) || entry.life.rests.load(Ordering::Relaxed) {
                    entry.standing = Standing::default();
                } else {
                    wanting.push((self.options.is_eager(&at.topic), &mut entry.standing));
                }
            }
            turns::give(&mut wanting, &rules, now);
            let (mut pause, mut resume, mut back) = (Vec::new(), Vec::new(), Vec::new());
            for (at, entry) in core.table.iter_mut() {
                let open = entry.standing.is_open();
                if open == entry.paused {
                    entry.paused = !open;
                    let which = if open { &mut resume } else { &mut pause };
                    which.push((at.clone(), Arc::clone(&entry.life)));
                }
                if open && let Some(offset) = entry.life.wants_back() {
                    back.push((at.clone(), offset));
                }
            }
            (pause, resume, back)
        };
        for (all, what) in [(pause, true), (resume, false)] {
            if all.is_empty() {
                continue;
            }
            // Only what was fetched before the pause is let go: nothing comes after it, and nothing of the next turn is meant.
            if !what {
                all.iter().for_each(|(_, life)| life.paused.store(false, Ordering::Release));
            }
            let done = list(all.iter().map(|(at, _)| (at, Offset::Invalid)))
                .and_then(|list| if what { consumer.pause(&list) } else { consumer.resume(&list) });
            if let Err(error) = done {
                tracing::warn!(group = self.group, %error, "pausing or resuming partitions failed");
            }
            if what {
                for (_, life) in &all {
                    life.paused.store(true, Ordering::Release);
                    life.wake();
                }
            }
        }
        if back.is_empty() {
            return;
        }
        // No answer is awaited. Where it fails the next record is not the one that is awaited, and it is asked for again.
        let done = list(back.iter().map(|(at, offset)| (at, Offset::Offset(*offset))))
            .and_then(|list| consumer.seek_partitions(list, Duration::ZERO));
        if let Err(error) = done {
            tracing::warn!(group = self.group, %error, "going back in partitions failed");
        }
    }
}
