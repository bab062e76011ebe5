//! What librdkafka calls on the poll thread: partitions come, partitions go, commits are answered. In: lists of
//! partitions. Out: calls to the [`Owner`](super::partition::Owner), commits, entries of the table.
//!
//! Never here: a lock held while the owner works; an acknowledged revocation whose queues still live, if it can be
//! helped; a commit for partitions that another member may already own.

use super::committer::Shared;
use super::core::{Core, Released};
use super::logging::Logging;
use super::partition::{Assigned, Life, Queue, TopicPartition};
use super::start::{self, Beginning};
use super::statistics;
use super::table::{Entry, Item, New, Phase, Stored};
use crate::model::clock::Monotonic;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// The consumer of an intake.
pub(super) type IntakeConsumer = BaseConsumer<Callbacks>;

/// The context of the consumer.
pub(super) struct Callbacks {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Logging,
    /// Set once the consumer exists; splitting a queue needs an `Arc`, callbacks are given a reference.
    pub(super) consumer: OnceLock<Weak<IntakeConsumer>>,
    /// Counts what was served, for a poll that returns nothing may still have found something.
    pub(super) served: AtomicU64,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.log.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.served.fetch_add(1, Ordering::Relaxed);
        statistics::take_in(&self.shared, statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.log.error(error, reason);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &IntakeConsumer, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.shared.core().rebalances += 1;
            self.assign(consumer, list);
            return;
        }
        let lost = consumer.assignment_lost();
        self.revoke(consumer, &partitions(list), lost);
        let done = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::error!(group = self.shared.group, %error, "revoking partitions failed in the Kafka client");
        }
        self.purge(&partitions(list));
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.shared.answered(&result, list, Monotonic::now());
    }
}

impl Callbacks {
    /// Takes partitions over: where to start, queues, librdkafka, table, owner, in this order.
    pub(super) fn assign(&self, consumer: &IntakeConsumer, list: &TopicPartitionList) {
        let shared = &self.shared;
        let all = partitions(list);
        let arc = self.consumer.get().and_then(Weak::upgrade);
        let Some(arc) = arc.filter(|_| !shared.core().closing) else {
            // Going down: take them formally, or the group would wait for us. Nothing is read or committed.
            if let Err(error) = native_assign(consumer, list) {
                tracing::debug!(group = shared.group, %error, "assignment while closing");
            }
            return;
        };
        self.forget(consumer, &all);
        let evidence = shared.core().seen_empty;
        let beginnings = {
            let mut fresh = shared.fresh();
            start::resolve(consumer, &all, shared.options.start, &mut fresh)
        };
        for (element, beginning) in list.elements().iter_mut().zip(&beginnings) {
            if let Err(error) = element.set_offset(beginning.offset) {
                tracing::error!(group = shared.group, %error, offset = ?beginning.offset, "start offset refused");
            }
        }
        let queues: Vec<_> = all.iter().map(|at| split(&arc, at)).collect();
        if let Err(error) = native_assign(consumer, list) {
            tracing::error!(group = shared.group, %error, "taking partitions failed in the Kafka client");
            shared.core().failed = Some(format!("taking partitions failed: {error}"));
            return;
        }
        if !all.is_empty() && evidence != Monotonic(0) {
            // The newest moment of which we know that the assignment was not yet waiting for us.
            shared.membership.prove(evidence);
        }
        let assigned = {
            let mut core = shared.core();
            let parts = all.into_iter().zip(beginnings).zip(queues);
            parts.filter_map(|((at, beginning), queue)| enter(&mut core, at, beginning, queue)).collect::<Vec<_>>()
        };
        if !assigned.is_empty() {
            shared.owner.assigned(assigned);
        }
        self.shared.share_out(consumer, Monotonic::now());
    }

    /// Gives partitions back: the owner drains, the table forgets, and what is complete is committed unless lost. The
    /// caller acknowledges.
    pub(super) fn revoke(&self, consumer: &IntakeConsumer, all: &[TopicPartition], lost: bool) {
        let shared = &self.shared;
        let told: Vec<_> = {
            let core = shared.core();
            all.iter().filter(|at| core.has_told(at)).cloned().collect()
        };
        let last = if told.is_empty() { Vec::new() } else { shared.owner.revoked(&told, lost) };
        let released = shared.core().release(all, &shared.committer, last);
        shared.unpause(consumer, released.iter().filter(|gone| gone.entry.paused).map(|gone| &gone.at));
        let items: Vec<_> = released.into_iter().filter_map(close).collect();
        if lost {
            if !items.is_empty() {
                tracing::warn!(
                    group = shared.group,
                    partitions = items.len(),
                    "lost without notice; records come again"
                );
            }
        } else if !items.is_empty() {
            shared.send(consumer, items, Monotonic::now());
        }
    }

    /// Lets go what had been fetched of partitions that are ours no more. The client would keep it until they come back:
    /// it drops what is out of date only when somebody looks for records.
    pub(super) fn purge(&self, all: &[TopicPartition]) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        for at in all {
            let Some(queue) = consumer.split_partition_queue(&at.topic, at.partition) else { continue };
            while queue.poll(Duration::ZERO).is_some() {}
        }
    }

    /// Partitions that are assigned although we have them: whatever happened in between, they were lost.
    fn forget(&self, consumer: &IntakeConsumer, all: &[TopicPartition]) {
        let held: Vec<_> = {
            let core = self.shared.core();
            all.iter().filter(|at| core.table.get(at).is_some()).cloned().collect()
        };
        if held.is_empty() {
            return;
        }
        tracing::warn!(group = self.shared.group, partitions = held.len(), "assigned again without a revocation");
        self.shared.owner.revoked(&held, true);
        let gone: Vec<_> = {
            let mut core = self.shared.core();
            held.iter().filter_map(|at| Some((at, core.table.remove(at)?))).collect()
        };
        self.shared.unpause(consumer, gone.iter().filter(|(_, entry)| entry.paused).map(|(at, _)| *at));
    }
}

/// Enters a partition; what the owner shall hear of it, if it may already.
pub(super) fn enter(
    core: &mut Core,
    at: TopicPartition,
    mut beginning: Beginning,
    queue: Option<(Queue, Arc<Life>)>,
) -> Option<Assigned> {
    let (identity, is_saved) = (beginning.identity.take(), beginning.committed.is_some() || beginning.commit_first);
    let start = beginning.next.filter(|_| !is_saved);
    let assigned = place(core, at.clone(), beginning, queue);
    if let Some(entry) = core.table.get_mut(&at) {
        start.into_iter().for_each(|start| entry.begin_at(start));
        identity.into_iter().for_each(|identity| entry.identify(&at, identity));
    }
    assigned
}

fn place(
    core: &mut Core,
    at: TopicPartition,
    beginning: Beginning,
    queue: Option<(Queue, Arc<Life>)>,
) -> Option<Assigned> {
    let Some((queue, life)) = queue else {
        let why = "the Kafka client does not know the partition".to_owned();
        let phase = Phase::Halted { why, since: Monotonic::now() };
        core.table.insert(New { at, phase, life: Arc::default(), committed: None, pending: None, start: None });
        return None;
    };
    let start = beginning.next;
    if beginning.recreated {
        // Its queue is dropped; where it goes on is for the poll thread to ask, as for an offset that is gone.
        core.table.insert(New { at, phase: Phase::Restarting, life, committed: None, pending: None, start: None });
        return None;
    }
    if beginning.commit_first {
        let pending = start.map(|next_offset| Stored { next_offset, metadata: String::new() });
        let phase = Phase::Starting(Box::new(queue));
        core.table.insert(New { at, phase, life, committed: beginning.committed, pending, start });
        return None;
    }
    Some(core.enter(at, start, beginning.committed, queue, life))
}

/// The end of an entry: what is still to be committed.
fn close(Released { at, item, entry }: Released) -> Option<Item> {
    let Entry { phase, life, .. } = entry;
    drop(phase);
    if Arc::strong_count(&life) > 1 {
        tracing::error!(topic = %at.topic, partition = at.partition, "its queue outlives its revocation; the next owner may wait for a wake-up");
    }
    item
}

/// Splits the queue of a partition off. Must be done before each assignment of it.
pub(super) fn split(consumer: &Arc<IntakeConsumer>, at: &TopicPartition) -> Option<(Queue, Arc<Life>)> {
    let queue = consumer.split_partition_queue(&at.topic, at.partition)?;
    let life = Arc::new(Life::default());
    Some((Queue::new(queue, Arc::clone(&at.topic), Arc::clone(&life)), life))
}

fn native_assign(consumer: &IntakeConsumer, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        RebalanceProtocol::Eager => consumer.assign(list),
        // Without a subscription.
        RebalanceProtocol::None => consumer.incremental_assign(list),
    }
}

/// The partitions of a list, in its order.
pub(super) fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|e| TopicPartition::new(e.topic(), e.partition())).collect()
}

/// A list with offsets for librdkafka.
pub(super) fn list<'a>(all: impl Iterator<Item = (&'a TopicPartition, Offset)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (at, offset) in all {
        list.add_partition_offset(&at.topic, at.partition, offset)?;
    }
    Ok(list)
}
