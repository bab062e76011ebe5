//! Where to begin reading a partition: at its committed offset, else as the source's `start` says, else, when that
//! offset does not exist (any more), as `on_missing` says.

use super::partition::TopicPartition;
use super::table::Stored;
use super::{client, commit};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for one answer. Blocking longer in a rebalance would delay the whole group; reading from an older
/// offset, or being told so by an error later, is safe.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The same outside a rebalance, for what is tried again anyway: the poll thread has more to do.
pub(super) const SHORT: Duration = Duration::from_secs(1);

pub use crate::model::resources::{OnMissing, Start};

/// Where one partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    /// For librdkafka; [`Offset::Invalid`] lets it find out, or report that it cannot.
    pub(super) offset: Offset,
    /// The same as a number, if known.
    pub(super) next: Option<i64>,
    /// What is committed.
    pub(super) committed: Option<Stored>,
    /// This offset must be committed before anything is dispatched.
    pub(super) commit_first: bool,
}

impl Beginning {
    const UNKNOWN: Self = Self { offset: Offset::Invalid, next: None, committed: None, commit_first: false };

    fn at(next: i64) -> Self {
        Self { offset: Offset::Offset(next), next: Some(next), committed: None, commit_first: false }
    }
}

/// For `start: latest`: how many partitions each topic had when this process started, if the group had committed nothing
/// in it. These partitions start after the newest record; any other is new.
#[derive(Debug, Default)]
pub(super) struct Fresh(HashMap<Arc<str>, Option<i32>>);

impl Fresh {
    /// Asks once per topic, before the group is joined.
    pub(super) fn learn<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        topic: &Arc<str>,
    ) -> KafkaResult<()> {
        if self.0.contains_key(topic) {
            return Ok(());
        }
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let partitions = metadata.topics().iter().find(|t| t.name() == &**topic).map_or(0, |t| t.partitions().len());
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
        let known = partitions > 0
            && consumer.committed_offsets(list, PATIENCE)?.elements().iter().any(|e| e.offset() != Offset::Invalid);
        self.0.insert(Arc::clone(topic), (!known).then_some(partitions));
        Ok(())
    }

    fn begins_late(&self, at: &TopicPartition) -> bool {
        self.0.get(&at.topic).copied().flatten().is_some_and(|partitions| at.partition < partitions)
    }
}

/// Where these partitions start. One request for all committed offsets; more only for `start: latest`.
pub(super) fn resolve<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    start: Start,
    fresh: &mut Fresh,
) -> Vec<Beginning> {
    let committed = match committed(consumer, partitions, PATIENCE) {
        Ok(committed) => committed,
        Err(error) => {
            tracing::warn!(%error, "committed offsets unknown; Kafka's client looks for them itself");
            return partitions.iter().map(|_| Beginning::UNKNOWN).collect();
        }
    };
    let resolve = |at: &TopicPartition| match committed.get(at) {
        Some(Some(stored)) => Beginning { committed: Some(stored.clone()), ..Beginning::at(stored.next_offset) },
        Some(None) => first(consumer, at, start, fresh),
        None => Beginning::UNKNOWN,
    };
    partitions.iter().map(resolve).collect()
}

/// Committed offsets. A partition whose offset cannot be learned is absent; one without a commit is `None`.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    patience: Duration,
) -> KafkaResult<HashMap<TopicPartition, Option<Stored>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    let list = consumer.committed_offsets(list, patience)?;
    let metadata = commit::metadata(&list);
    let mut all = HashMap::with_capacity(partitions.len());
    for (element, metadata) in list.elements().iter().zip(metadata) {
        let stored = match element.offset() {
            Offset::Offset(next_offset) => Some(Stored { next_offset, metadata: metadata.unwrap_or_default() }),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
        };
        if element.error().is_ok() {
            all.insert(TopicPartition::new(element.topic(), element.partition()), stored);
        }
    }
    Ok(all)
}

/// Where a partition starts that has no committed offset.
fn first<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    at: &TopicPartition,
    start: Start,
    fresh: &mut Fresh,
) -> Beginning {
    let oldest = Beginning { offset: Offset::Beginning, ..Beginning::UNKNOWN };
    match start {
        Start::Earliest => oldest,
        Start::Latest => {
            if let Err(error) = fresh.learn(consumer, &at.topic) {
                tracing::warn!(%error, topic = %at.topic, "cannot learn whether the topic is new to the group");
                return Beginning::UNKNOWN;
            }
            if !fresh.begins_late(at) {
                return oldest;
            }
            match client::watermarks(consumer.client(), &at.topic, at.partition, PATIENCE) {
                Ok((_, high)) => Beginning { commit_first: true, ..Beginning::at(high) },
                Err(error) => {
                    tracing::warn!(%error, topic = %at.topic, partition = at.partition, "newest offset unknown; trying again");
                    Beginning::UNKNOWN
                }
            }
        }
    }
}

/// Where a partition goes on whose next offset does not exist.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Here.
    At {
        /// Where.
        beginning: Beginning,
        /// Records that were never read and are gone, if any.
        skipped: u64,
    },
    /// Nowhere, says `on_missing: halt`.
    Halt {
        /// Records that would be skipped.
        missing: u64,
    },
}

/// Decides by the watermarks and what is committed. Pure.
pub(super) fn again(committed: &Stored, low: i64, high: i64, on_missing: OnMissing) -> Again {
    let next = committed.next_offset;
    if (low..=high).contains(&next) {
        return Again::At {
            beginning: Beginning { committed: Some(committed.clone()), ..Beginning::at(next) },
            skipped: 0,
        };
    }
    let gone = |to: i64| u64::try_from(to.saturating_sub(next)).unwrap_or(0);
    match on_missing {
        OnMissing::Earliest => Again::At { beginning: Beginning::at(low), skipped: gone(low) },
        OnMissing::Latest => {
            Again::At { beginning: Beginning { commit_first: true, ..Beginning::at(high) }, skipped: gone(high) }
        }
        OnMissing::Halt => Again::Halt { missing: gone(low) },
    }
}

/// Asks Kafka and decides where the partition goes on.
pub(super) fn restart<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    at: &TopicPartition,
    start: Start,
    on_missing: OnMissing,
    fresh: &mut Fresh,
) -> KafkaResult<Again> {
    let stored = committed(consumer, std::slice::from_ref(at), SHORT)?.remove(at);
    let (low, high) = client::watermarks(consumer.client(), &at.topic, at.partition, SHORT)?;
    Ok(match stored.flatten() {
        Some(stored) => again(&stored, low, high, on_missing),
        None => {
            let beginning = match first(consumer, at, start, fresh) {
                Beginning { offset: Offset::Beginning, .. } => Beginning::at(low),
                other => other,
            };
            Again::At { beginning, skipped: 0 }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(next_offset: i64) -> Stored {
        Stored { next_offset, metadata: "m".to_owned() }
    }

    #[test]
    fn a_committed_offset_that_exists_is_kept() {
        for next in [10, 15, 20] {
            let Again::At { beginning, skipped } = again(&stored(next), 10, 20, OnMissing::Halt) else { panic!() };
            assert_eq!((beginning.next, skipped), (Some(next), 0));
            assert_eq!(beginning.committed, Some(stored(next)));
        }
    }

    #[test]
    fn records_that_are_gone_are_counted() {
        let at = |next, skipped, commit_first| Again::At {
            beginning: Beginning { commit_first, ..Beginning::at(next) },
            skipped,
        };
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Earliest), at(10, 6, false));
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Latest), at(20, 16, true));
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Halt), Again::Halt { missing: 6 });
        // The topic was made anew, or its end was cut off.
        assert_eq!(again(&stored(40), 10, 20, OnMissing::Earliest), at(10, 0, false));
    }
}
