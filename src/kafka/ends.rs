//! `Ends`: where many partitions begin and end and how far a group has read them, asked in a few requests rather than in
//! one for each. Blocks; to be called off the worker threads.

use super::client::{self, ClientSettings};
use super::error::Error;
use super::logging::Logging;
use super::partition::TopicPartition;
use super::start;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::Duration;

/// How long to wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Partitions per request: librdkafka looks each of them up in the list of all, so long lists cost their square.
const AT_ONCE: usize = 500;

/// Asks after partitions. Keeps its connections.
pub struct Ends(BaseConsumer<Logging>);

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Ends {
    /// For one group, which it does not join.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn open(settings: &ClientSettings, group: &str) -> Result<Self, Error> {
        let mut config = client::consumer(settings, group, None)?;
        config.set("statistics.interval.ms", "0");
        Ok(Self(config.create_with_context(client::logging(settings)).map_err(Error::Settings)?))
    }

    /// The offset that the next record of each will get. What cannot be learned of a partition is left out.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn newest(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, i64>, Error> {
        self.offsets(partitions, Offset::End)
    }

    /// The offset of the oldest record of each. What cannot be learned of a partition is left out.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn oldest(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, i64>, Error> {
        self.offsets(partitions, Offset::Beginning)
    }

    /// What the group has committed; `None` where that is nothing. What cannot be learned is left out.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, Option<i64>>, Error> {
        let mut found = HashMap::with_capacity(partitions.len());
        for some in partitions.chunks(AT_ONCE) {
            let committed = start::committed(&self.0, some, PATIENCE)
                .map_err(|e| Error::request("asking what is committed of stored deliveries", e))?;
            found.extend(committed.into_iter().map(|(at, stored)| (at, stored.map(|stored| stored.next_offset))));
        }
        Ok(found)
    }

    fn offsets(&self, partitions: &[TopicPartition], which: Offset) -> Result<HashMap<TopicPartition, i64>, Error> {
        let mut found = HashMap::with_capacity(partitions.len());
        for some in partitions.chunks(AT_ONCE) {
            self.some_offsets(some, which, &mut found)
                .map_err(|e| Error::request("asking for the ends of stored deliveries", e))?;
        }
        Ok(found)
    }

    /// Kafka knows the oldest and the newest offset as times before all others.
    fn some_offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
        found: &mut HashMap<TopicPartition, i64>,
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition_offset(&at.topic, at.partition, which)?;
        }
        let answer = self.0.offsets_for_times(list, PATIENCE)?;
        for (at, element) in partitions.iter().zip(answer.elements()) {
            if let (Ok(()), Offset::Offset(offset)) = (element.error(), element.offset()) {
                found.insert(at.clone(), offset);
            }
        }
        Ok(())
    }
}
