//! Where to begin reading a partition: at its committed offset, else as the source's `start` says, else, when that
//! offset does not exist (any more), as `on_missing` says.

use super::identity::{Identities, Identity};
use super::partition::TopicPartition;
use super::table::Stored;
use super::{client, commit};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
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
    /// The topic that the offset belongs to, if known.
    pub(super) identity: Option<Identity>,
    /// What is committed belongs to another topic than the one that has the name now: where reading goes on is to be
    /// found out.
    pub(super) recreated: bool,
}

impl Beginning {
    const UNKNOWN: Self = Self {
        offset: Offset::Invalid,
        next: None,
        committed: None,
        commit_first: false,
        identity: None,
        recreated: false,
    };

    fn at(next: i64) -> Self {
        Self { offset: Offset::Offset(next), next: Some(next), ..Self::UNKNOWN }
    }

    /// At what is committed, unless that is for another topic than the one that is there now.
    fn committed(at: &TopicPartition, stored: &Stored, now: &Identities) -> Self {
        let (claimed, present) = (now.claimed(at, stored), now.of(&at.topic));
        if let (Some(claimed), Some(present)) = (&claimed, &present)
            && claimed != present
        {
            // Nothing must be read from the old offset.
            return Self {
                offset: Offset::Beginning,
                identity: Some(claimed.clone()),
                recreated: true,
                ..Self::UNKNOWN
            };
        }
        Self { committed: Some(stored.clone()), identity: present.or(claimed), ..Self::at(stored.next_offset) }
    }
}

/// For `start: latest`: how many partitions each topic had when this process started, if the group had committed nothing
/// in it. These partitions start after the newest record; any other is new, and so is a topic that was made anew since.
#[derive(Debug, Default)]
pub(super) struct Fresh(HashMap<Arc<str>, Option<(i32, Option<Identity>)>>);

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
        let identity = if known { None } else { identities(consumer, [topic].into_iter()).of(topic) };
        self.0.insert(Arc::clone(topic), (!known).then_some((partitions, identity)));
        Ok(())
    }

    fn begins_late(&self, at: &TopicPartition, present: Option<&Identity>) -> bool {
        let Some(Some((partitions, then))) = self.0.get(&at.topic) else { return false };
        let same = then.as_ref().zip(present).is_none_or(|(then, present)| then == present);
        same && at.partition < *partitions
    }
}

/// The topics that Kafka has now, as far as it tells in a moment. What it does not tell is asked again later, and offsets
/// hold until then.
fn identities<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: impl Iterator<Item = &'a Arc<str>>,
) -> Identities {
    Identities::ask(consumer.client(), topics, SHORT).unwrap_or_else(|error| {
        tracing::debug!(%error, "the ids of topics are unknown");
        Identities::default()
    })
}

/// Where these partitions start. One request for all committed offsets and one for the ids of their topics; more only for
/// `start: latest`.
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
    // Asked after that: a topic that is made anew between the two is seen now.
    let now = identities(consumer, partitions.iter().map(|at| &at.topic));
    let resolve = |at: &TopicPartition| match committed.get(at) {
        Some(Some(stored)) => Beginning::committed(at, stored, &now),
        Some(None) => first(consumer, at, start, fresh, now.of(&at.topic)),
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
    identity: Option<Identity>,
) -> Beginning {
    let late = |fresh: &Fresh| fresh.begins_late(at, identity.as_ref());
    let oldest = || Beginning { offset: Offset::Beginning, identity: identity.clone(), ..Beginning::UNKNOWN };
    match start {
        Start::Earliest => oldest(),
        Start::Latest => {
            if let Err(error) = fresh.learn(consumer, &at.topic) {
                tracing::warn!(%error, topic = %at.topic, "cannot learn whether the topic is new to the group");
                return Beginning::UNKNOWN;
            }
            if !late(fresh) {
                return oldest();
            }
            match client::watermarks(consumer.client(), &at.topic, at.partition, PATIENCE) {
                Ok((_, high)) => Beginning { commit_first: true, identity, ..Beginning::at(high) },
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
        /// What will never be read.
        gone: Gone,
    },
    /// Nowhere, says `on_missing: halt`.
    Halt {
        /// What would be skipped.
        gone: Gone,
    },
}

/// What is gone before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// So many records.
    Records(u64),
    /// The topic, of which nobody knows how much was left to read. Another one has its name.
    Topic,
}

/// Decides by the watermarks and what is committed. Pure.
pub(super) fn again(committed: &Stored, low: i64, high: i64, on_missing: OnMissing) -> Again {
    let next = committed.next_offset;
    if (low..=high).contains(&next) {
        let beginning = Beginning { committed: Some(committed.clone()), ..Beginning::at(next) };
        return Again::At { beginning, gone: Gone::Records(0) };
    }
    let skipped = |to: i64| Gone::Records(u64::try_from(to.saturating_sub(next)).unwrap_or(0));
    missing(low, high, on_missing, skipped)
}

fn missing(low: i64, high: i64, on_missing: OnMissing, gone: impl Fn(i64) -> Gone) -> Again {
    match on_missing {
        OnMissing::Earliest => Again::At { beginning: Beginning::at(low), gone: gone(low) },
        OnMissing::Latest => {
            Again::At { beginning: Beginning { commit_first: true, ..Beginning::at(high) }, gone: gone(high) }
        }
        OnMissing::Halt => Again::Halt { gone: gone(low) },
    }
}

/// Asks Kafka and decides where the partition goes on, whose offsets belonged to the topic `known`.
pub(super) fn restart<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    at: &TopicPartition,
    start: Start,
    on_missing: OnMissing,
    fresh: &mut Fresh,
    known: Option<&Identity>,
) -> KafkaResult<Again> {
    let stored = committed(consumer, std::slice::from_ref(at), SHORT)?.remove(at).flatten();
    let now = match known {
        // Where ids are told, nothing is decided without them.
        Some(_) => Identities::ask(consumer.client(), [&at.topic].into_iter(), SHORT)?,
        None => identities(consumer, [&at.topic].into_iter()),
    };
    let present = now.of(&at.topic);
    if known.is_some() && present.is_none() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic));
    }
    let (low, high) = client::watermarks(consumer.client(), &at.topic, at.partition, SHORT)?;
    let claimed = stored.as_ref().and_then(|stored| now.claimed(at, stored));
    let recreated = claimed.as_ref().or(known).zip(present.as_ref()).is_some_and(|(then, present)| then != present);
    let decided = match stored {
        _ if recreated => missing(low, high, on_missing, |_| Gone::Topic),
        Some(stored) => again(&stored, low, high, on_missing),
        None => {
            let beginning = match first(consumer, at, start, fresh, present.clone()) {
                Beginning { offset: Offset::Beginning, .. } => Beginning::at(low),
                other => other,
            };
            Again::At { beginning, gone: Gone::Records(0) }
        }
    };
    Ok(match decided {
        Again::At { beginning, gone } => Again::At { beginning: Beginning { identity: present, ..beginning }, gone },
        Again::Halt { gone } => Again::Halt { gone },
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
            let Again::At { beginning, gone } = again(&stored(next), 10, 20, OnMissing::Halt) else { panic!() };
            assert_eq!((beginning.next, gone), (Some(next), Gone::Records(0)));
            assert_eq!(beginning.committed, Some(stored(next)));
        }
    }

    #[test]
    fn records_that_are_gone_are_counted() {
        let at = |next, skipped, commit_first| Again::At {
            beginning: Beginning { commit_first, ..Beginning::at(next) },
            gone: Gone::Records(skipped),
        };
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Earliest), at(10, 6, false));
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Latest), at(20, 16, true));
        assert_eq!(again(&stored(4), 10, 20, OnMissing::Halt), Again::Halt { gone: Gone::Records(6) });
        // Its end was cut off.
        assert_eq!(again(&stored(40), 10, 20, OnMissing::Earliest), at(10, 0, false));
    }

    #[test]
    fn an_offset_of_another_topic_is_not_begun_at() {
        let (old, new) = (Identities::test(&[("t", 1)]), Identities::test(&[("t", 2)]));
        let at = TopicPartition::new("t", 0);
        let claim = old.of("t").unwrap().claim(&at, 4);
        let stored = Stored { next_offset: 4, metadata: claim };
        let same = Beginning::committed(&at, &stored, &old);
        assert_eq!((same.next, same.recreated, &same.identity), (Some(4), false, &old.of("t")));
        let other = Beginning::committed(&at, &stored, &new);
        assert_eq!((other.offset, other.next, other.recreated), (Offset::Beginning, None, true));
        assert_eq!((&other.committed, &other.identity), (&None, &old.of("t")));
        let plain = Stored { next_offset: 4, metadata: String::new() };
        let unclaimed = Beginning::committed(&at, &plain, &new);
        assert_eq!((unclaimed.next, unclaimed.recreated, &unclaimed.identity), (Some(4), false, &new.of("t")));
        // What cannot be learned now is learned later.
        let unknown = Beginning::committed(&at, &stored, &Identities::default());
        assert_eq!((unknown.next, unknown.identity), (Some(4), None));
    }

    #[test]
    fn of_a_topic_that_was_made_anew_nobody_knows_what_is_gone() {
        let gone = |_| Gone::Topic;
        let at = |next, commit_first| Again::At {
            beginning: Beginning { commit_first, ..Beginning::at(next) },
            gone: Gone::Topic,
        };
        assert_eq!(missing(0, 20, OnMissing::Earliest, gone), at(0, false));
        assert_eq!(missing(0, 20, OnMissing::Latest, gone), at(20, true));
        assert_eq!(missing(0, 20, OnMissing::Halt, gone), Again::Halt { gone: Gone::Topic });
    }

    #[test]
    fn a_topic_that_was_made_anew_since_the_start_is_new() {
        let (old, new) = (Identities::test(&[("t", 1)]).of("t"), Identities::test(&[("t", 2)]).of("t"));
        let fresh = Fresh([(Arc::from("t"), Some((2, old.clone())))].into_iter().collect());
        let late = |partition, present: &Option<Identity>| {
            fresh.begins_late(&TopicPartition::new("t", partition), present.as_ref())
        };
        assert!(late(1, &old) && late(1, &None));
        assert!(!late(2, &old) && !late(1, &new));
    }
}
