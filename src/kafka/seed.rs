//! Seeding: a new consumer group begins where another one stands, before anybody joins it.
//!
//! Several replicas may do so at once, and the other group goes on reading as soon as the first of them is done. Nothing
//! may be skipped, so each replica asks where the other group stands *before* it asks whether the new group has begun:
//! whoever finds that it has not holds a position from before anybody went on. Kafka refuses such a commit once the group
//! has members, so a late one cannot take back what they have committed.

use super::client::{self, ClientSettings};
use super::commit;
use super::error::Error;
use super::identity;
use super::logging::Logging;
use super::partition::TopicPartition;
use super::read::{moving, partitions};
use super::start::{self, PATIENCE, Start};
use super::table::Stored;
use crate::model::clock::Monotonic;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::time::Duration;

/// How long Kafka may take to save where a group begins.
const SAVING: Duration = Duration::from_secs(10);

/// How long to wait for an answer before looking whether it has been saved.
const LOOK: Duration = Duration::from_millis(100);

/// A topic that a new group will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The group that reads it already.
    pub group: String,
    /// Where that one begins if it has committed nothing.
    pub start: Start,
}

/// Lets `group` begin where the groups of the origins stand, in every topic in which it has committed nothing. Gives
/// where it begins; nothing if it has begun before. Blocks.
///
/// # Errors
/// Kafka does not answer, or does not save it.
pub fn seed(settings: &ClientSettings, group: &str, origins: &[Origin]) -> Result<Vec<(TopicPartition, i64)>, Error> {
    let own = Asked::open(settings, group)?;
    let mut seeds = Vec::new();
    for origin in origins {
        let Some(all) = own.partitions(&origin.topic)? else { continue };
        if own.committed(&all)?.iter().any(Option::is_some) {
            continue;
        }
        let stands = Asked::open(settings, &origin.group)?.stands(&all, origin.start)?;
        // Asked again, after that: see the head of this file.
        if own.committed(&all)?.iter().all(Option::is_none) {
            seeds.extend(all.into_iter().zip(stands));
        }
    }
    own.save(&seeds)?;
    Ok(seeds.into_iter().map(|(at, stored)| (at, stored.next_offset)).collect())
}

/// A consumer that asks for the offsets of a group.
struct Asked<'a> {
    consumer: BaseConsumer<Logging>,
    group: &'a str,
}

impl<'a> Asked<'a> {
    fn open(settings: &ClientSettings, group: &'a str) -> Result<Self, Error> {
        let config = client::consumer(settings, group, None)?;
        let consumer = config.create_with_context(client::logging(settings)).map_err(Error::Settings)?;
        Ok(Self { consumer, group })
    }

    /// The partitions of a topic; `None` if it does not exist yet.
    fn partitions(&self, topic: &str) -> Result<Option<Vec<TopicPartition>>, Error> {
        let count = match partitions(&self.consumer, topic) {
            Err(Error::Topic { .. }) => return Ok(None),
            count => count?,
        };
        let topic: Arc<str> = Arc::from(topic);
        Ok(Some((0..count).map(|partition| TopicPartition::new(Arc::clone(&topic), partition)).collect()))
    }

    /// What is committed of each. One that cannot be learned is an error: taken for none, it would be overwritten.
    fn committed(&self, all: &[TopicPartition]) -> Result<Vec<Option<Stored>>, Error> {
        let failed = |error| Error::request(format!("asking where the group `{}` stands", self.group), error);
        let until = Monotonic::now().plus(PATIENCE);
        loop {
            match start::committed(&self.consumer, all, PATIENCE) {
                Err(error) if moving(&error) && Monotonic::now() < until => std::thread::park_timeout(LOOK),
                Err(error) => return Err(failed(error)),
                Ok(found) => match all.iter().map(|at| found.get(at).cloned()).collect::<Option<Vec<_>>>() {
                    Some(committed) => return Ok(committed),
                    None if Monotonic::now() < until => std::thread::park_timeout(LOOK),
                    None => return Err(failed(KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut))),
                },
            }
        }
    }

    /// Where the group stands in each, or would begin.
    fn stands(&self, all: &[TopicPartition], start: Start) -> Result<Vec<Stored>, Error> {
        let committed = self.committed(all)?;
        // Beside partitions with commits, one without is new: everything in it is to be read.
        let late = start == Start::Latest && committed.iter().all(Option::is_none);
        let stands = all.iter().zip(committed).map(|(at, committed)| match committed {
            // For the same topic; the map is of what the other group has done.
            Some(Stored { next_offset, metadata }) => {
                Ok(Stored { next_offset, metadata: identity::split(&metadata).0.to_owned() })
            }
            None => {
                let ends = client::watermarks(self.consumer.client(), &at.topic, at.partition, PATIENCE);
                let (low, high) = ends.map_err(|e| Error::request(format!("asking for the ends of {at}"), e))?;
                Ok(Stored { next_offset: if late { high } else { low }, metadata: String::new() })
            }
        });
        stands.collect()
    }

    /// Commits these offsets and sees to it that each partition has one. Where another was faster, that one stands.
    fn save(&self, seeds: &[(TopicPartition, Stored)]) -> Result<(), Error> {
        let all: Vec<TopicPartition> = seeds.iter().map(|(at, _)| at.clone()).collect();
        let mut missing = seeds.to_vec();
        let until = Monotonic::now().plus(SAVING);
        while !missing.is_empty() {
            let failed = |error| Error::request(format!("committing where the group `{}` begins", self.group), error);
            let offsets = missing.iter().map(|(at, stored)| (at, stored.next_offset, stored.metadata.as_str()));
            commit::enqueue(&self.consumer, offsets).map_err(failed)?;
            let answered = Monotonic::now().plus(LOOK);
            while Monotonic::now() < answered {
                // Serves the answer; there is nothing else to come.
                drop(self.consumer.poll(LOOK));
            }
            let committed = self.committed(&all)?;
            let lacking = seeds.iter().zip(committed).filter(|(_, committed)| committed.is_none());
            missing = lacking.map(|(seed, _)| seed.clone()).collect();
            if !missing.is_empty() && Monotonic::now() >= until {
                return Err(failed(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut)));
            }
        }
        Ok(())
    }
}
