//! Slots: which replica owns what of the things that belong to the whole group.
//!
//! `<prefix>.slots` has 32 partitions and never a record; the group `<group>.slots` spreads them over the replicas.
//! The owner of slot i reads partition i of every retry tier, and its share of each rate limit is owned slots / 32.
//! Kafka revokes a slot before it assigns it to another, so the shares never add up to more than the limit (I6).

use crate::kafka::{Assigned, Commit, Intake, Owner, Pending, TopicPartition};
use crate::model::clock::Monotonic;
use crate::model::stored::{SLOTS, Topics};
use crate::pipeline::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Turns owned slots into assigned tiers and shares of rates.
#[derive(Debug)]
pub struct Slots {
    topics: Topics,
    snapshot: Arc<ArcSwap<Snapshot>>,
    stored: Arc<Intake>,
    patience: Duration,
    owned: Mutex<BTreeSet<i32>>,
}

impl Slots {
    /// Owns nothing yet. `stored` is the intake that reads what the slots stand for; it is given `patience` to drain.
    #[must_use]
    pub fn new(topics: Topics, snapshot: Arc<ArcSwap<Snapshot>>, stored: Arc<Intake>, patience: Duration) -> Self {
        Self { topics, snapshot, stored, patience, owned: Mutex::new(BTreeSet::new()) }
    }

    /// How many of the 32 slots this replica owns.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Gives every destination and its connection their share; also needed after a reload, for new destinations begin without one.
    pub fn share(&self) {
        // Held over the loop, so that a reload and a rebalance cannot overtake each other.
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let share = u8::try_from(owned.len()).unwrap_or(u8::MAX);
        let now = Monotonic::now();
        for destination in self.snapshot.load().destinations() {
            destination.set_share(share, now);
        }
    }

    fn change(&self, act: impl FnOnce(&mut BTreeSet<i32>)) -> Pending {
        let owned = {
            let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
            act(&mut owned);
            owned.clone()
        };
        // The share shrinks before the slot is given up and grows only once it is ours.
        self.share();
        tracing::info!(owned = owned.len(), of = SLOTS, "slots owned");
        let partitions = self.topics.tiers().flat_map(|(_, topic)| {
            owned.iter().map(|slot| TopicPartition { topic: Arc::clone(&topic), partition: *slot }).collect::<Vec<_>>()
        });
        self.stored.set_partitions(partitions.collect())
    }
}

impl Owner for Slots {
    fn assigned(&self, partitions: Vec<Assigned>) {
        // The queues are dropped here: the topic never has a record. Nobody waits for the tiers to be read.
        drop(self.change(|owned| owned.extend(partitions.iter().map(|p| p.at.partition))));
    }

    fn revoked(&self, partitions: &[TopicPartition], _lost: bool) -> Vec<Commit> {
        let let_go = self.change(|owned| {
            for partition in partitions {
                owned.remove(&partition.partition);
            }
        });
        // The next owner reads the tiers as soon as this returns: ours must be drained and committed before.
        if !let_go.wait(self.patience) {
            tracing::warn!("retry tiers were not drained in time; what was in flight comes again at their next owner");
        }
        Vec::new()
    }
}
