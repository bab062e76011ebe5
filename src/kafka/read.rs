//! `Reader`: reads single records and whole topics for the tools, without joining a group or committing anything.
//! `Lags`: how far a group has read. Both block; call them off the worker threads.

use super::client::{self, ClientSettings};
use super::error::Error;
use super::group::Group;
use super::keyed::ByKey;
use super::logging::Logging;
use super::partition::{TopicPartition, copy};
use super::start;
use super::table::Stored;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::record::{Position, Record};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long to wait for one answer, and for the next record before the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon a question is asked again that cannot be answered yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often it is looked whether there is more of what is followed.
const LISTEN: Duration = Duration::from_millis(100);

/// Where a scan starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest record.
    Beginning,
    /// With the first record of this time or later.
    Time(WallMs),
    /// After the newest record.
    End,
}

/// Reads topics.
pub struct Reader {
    consumer: BaseConsumer<Logging>,
    /// How our producer chooses partitions, if it is known.
    keyed: Option<ByKey>,
    topics: HashMap<String, Arc<str>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader; connects when it is asked.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn open(settings: &ClientSettings) -> Result<Self, Error> {
        let mut config = client::consumer(settings, "tidegate-tools", None)?;
        config.set("enable.partition.eof", "true").set("queued.max.messages.kbytes", "16384");
        let consumer = config.create_with_context(client::logging(settings)).map_err(Error::Settings)?;
        Ok(Self { consumer, keyed: ByKey::of(settings), topics: HashMap::new() })
    }

    /// The record at a position; `None` if there is none (any more).
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn read_at(&mut self, position: &Position) -> Result<Option<Record>, Error> {
        let (topic, partition) = (&*position.topic, position.partition);
        let (low, high) = self.watermarks(topic, partition)?;
        if !(low..high).contains(&position.offset) {
            return Ok(None);
        }
        self.assign(topic, &[(partition, position.offset)])?;
        let until = Monotonic::now().plus(PATIENCE);
        let found = loop {
            match self.next(Duration::from_millis(100))? {
                Next::Record(record) if record.position.offset < position.offset => {}
                Next::Record(record) => break (record.position.offset == position.offset).then_some(record),
                Next::End(_) => break None,
                Next::Nothing if Monotonic::now() >= until => {
                    return Err(timed_out(format!("reading {position}")));
                }
                Next::Nothing => {}
            }
        };
        self.release();
        Ok(found)
    }

    /// Calls `each` for every record of a topic up to its present end, in order per partition, until it breaks. Returns
    /// how many records it was called for.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn scan(&mut self, topic: &str, from: From, each: impl FnMut(Record) -> ControlFlow<()>) -> Result<u64, Error> {
        let starts = self.starts(topic, from, None)?;
        self.scan_from(topic, from, &starts, each)
    }

    /// The same for the one partition that holds the records with this key, if our producer wrote them; every partition
    /// if that is not known.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn scan_key(
        &mut self,
        topic: &str,
        key: &[u8],
        from: From,
        each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let count = partitions(&self.consumer, topic)?;
        let starts = self.starts(topic, from, self.keyed.and_then(|by| by.partition(key, count)))?;
        self.scan_from(topic, from, &starts, each)
    }

    /// The same from these offsets on, of these partitions.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn scan_offsets(
        &mut self,
        topic: &str,
        offsets: &HashMap<i32, i64>,
        each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut starts = self.starts(topic, From::Beginning, None)?;
        starts.retain_mut(|(partition, start, _)| {
            let wanted = offsets.get(partition).copied();
            *start = wanted.unwrap_or(*start).max(*start);
            wanted.is_some()
        });
        self.scan_from(topic, From::Beginning, &starts, each)
    }

    /// The same of these parts of partitions only: partition, first offset, the offset after the last.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn scan_ranges(
        &mut self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
        each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut bounds = Vec::with_capacity(ranges.len());
        for &(partition, from, to) in ranges {
            let (low, high) = self.watermarks(topic, partition)?;
            bounds.push((partition, from.max(low), to.min(high)));
        }
        self.scan_from(topic, From::Beginning, &bounds, each)
    }

    /// Where the records of a span of time lie: partition, the first offset at `from` or later, and the first one at `to`
    /// or later; the ends of the partition where no time is given or known.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn span(&self, topic: &str, from: Option<WallMs>, to: Option<WallMs>) -> Result<Vec<(i32, i64, i64)>, Error> {
        let mut bounds = self.starts(topic, from.map_or(From::Beginning, From::Time), None)?;
        let count = i32::try_from(bounds.len()).unwrap_or(i32::MAX);
        let ends = to.map(|to| self.times(topic, count, to)).unwrap_or_default();
        for (partition, _, end) in &mut bounds {
            if let Some(Some(offset)) = ends.get(partition) {
                *end = (*end).min(*offset);
            }
        }
        Ok(bounds)
    }

    /// From the given starts up to the given ends.
    fn scan_from(
        &mut self,
        topic: &str,
        from: From,
        bounds: &[(i32, i64, i64)],
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut ends = HashMap::new();
        let mut starts = Vec::new();
        for &(partition, start, high) in bounds {
            if start < high {
                ends.insert(partition, high);
                starts.push((partition, start));
            }
        }
        self.assign(topic, &starts)?;
        let mut count = 0;
        let mut until = Monotonic::now().plus(PATIENCE);
        while !ends.is_empty() {
            match self.next(Duration::from_millis(100))? {
                Next::Nothing if Monotonic::now() >= until => return Err(timed_out(format!("reading `{topic}`"))),
                Next::Nothing => {}
                Next::End(partition) => drop(ends.remove(&partition)),
                Next::Record(record) => {
                    until = Monotonic::now().plus(PATIENCE);
                    let (partition, offset) = (record.position.partition, record.position.offset);
                    let Some(&end) = ends.get(&partition) else { continue };
                    if offset + 1 >= end {
                        ends.remove(&partition);
                    }
                    let early = matches!(from, From::Time(time) if record.timestamp_ms.is_some_and(|ms| ms < time.0));
                    if offset < end && !early {
                        count += 1;
                        if each(record).is_break() {
                            break;
                        }
                    }
                    // It may have taken its time.
                    until = Monotonic::now().plus(PATIENCE);
                }
            }
        }
        self.release();
        Ok(count)
    }

    /// Starts to follow topics, each from `from` on; read with [`Reader::wait`].
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn follow(&mut self, topic: &str, from: From) -> Result<(), Error> {
        let starts: Vec<_> = self.starts(topic, from, None)?.into_iter().map(|(p, start, _)| (p, start)).collect();
        self.assign(topic, &starts)
    }

    /// Starts to follow one partition from an offset on; where that is gone, from the oldest record.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such partition.
    pub fn follow_at(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), Error> {
        let (low, _) = self.watermarks(topic, partition)?;
        self.assign(topic, &[(partition, offset.max(low))])
    }

    /// The next record of what is followed, if one comes in time.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn wait(&mut self, at_most: Duration) -> Result<Option<Record>, Error> {
        let until = Monotonic::now().plus(at_most);
        loop {
            // Not by a poll that waits: rdkafka spends the last millisecond of each in a loop.
            match self.next(Duration::ZERO)? {
                Next::Record(record) => return Ok(Some(record)),
                Next::End(_) | Next::Nothing => {
                    let left = until.since(Monotonic::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    thread::park_timeout(left.min(LISTEN));
                }
            }
        }
    }

    /// The first offset of a partition that there is, and the one after the last.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        let ask = |e| Error::request(format!("asking for the ends of {topic}:{partition}"), e);
        client::watermarks(self.consumer.client(), topic, partition, PATIENCE).map_err(ask)
    }

    /// Partition, where to start, end; `only` of this partition.
    fn starts(&self, topic: &str, from: From, only: Option<i32>) -> Result<Vec<(i32, i64, i64)>, Error> {
        let count = partitions(&self.consumer, topic)?;
        let times = match from {
            From::Time(time) => self.times(topic, count, time),
            From::Beginning | From::End => HashMap::new(),
        };
        (0..count)
            .filter(|partition| only.is_none_or(|only| only == *partition))
            .map(|partition| {
                let (low, high) = self.watermarks(topic, partition)?;
                let start = match from {
                    From::Beginning => low,
                    From::End => high,
                    From::Time(_) => times.get(&partition).map_or(low, |start| start.unwrap_or(high)),
                };
                Ok((partition, start, high))
            })
            .collect()
    }

    /// First offset of that time or later by partition, `None` if there is none. The embedded broker says "none" always;
    /// then, and without an answer, the map is empty, and the scan looks at every record.
    fn times(&self, topic: &str, count: i32, time: WallMs) -> HashMap<i32, Option<i64>> {
        if self.consumer.client().fetch_cluster_id(PATIENCE).is_some_and(|id| id.starts_with("mockCluster")) {
            return HashMap::new();
        }
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            if list.add_partition_offset(topic, partition, Offset::Offset(time.0.max(0))).is_err() {
                return HashMap::new();
            }
        }
        let Ok(found) = self.consumer.offsets_for_times(list, PATIENCE) else { return HashMap::new() };
        let elements = found.elements();
        let known = elements.iter().filter(|e| e.error().is_ok());
        known
            .map(|e| {
                let Offset::Offset(offset) = e.offset() else { return (e.partition(), None) };
                (e.partition(), Some(offset))
            })
            .collect()
    }

    fn assign(&mut self, topic: &str, starts: &[(i32, i64)]) -> Result<(), Error> {
        let refuse = |e| Error::request(format!("reading `{topic}`"), e);
        let at: Vec<_> = starts.iter().map(|(p, offset)| (TopicPartition::new(topic, *p), *offset)).collect();
        let list =
            super::callbacks::list(at.iter().map(|(at, offset)| (at, Offset::Offset(*offset)))).map_err(refuse)?;
        self.topics.insert(topic.to_owned(), Arc::from(topic));
        self.consumer.assign(&list).map_err(refuse)
    }

    /// Stops fetching what was read.
    fn release(&self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "a reader keeps its assignment");
        }
    }

    fn next(&self, at_most: Duration) -> Result<Next, Error> {
        match self.consumer.poll(at_most) {
            None => Ok(Next::Nothing),
            Some(Ok(message)) => {
                let Some(topic) = self.topics.get(message.topic()) else { return Ok(Next::Nothing) };
                Ok(Next::Record(copy(&message, topic)))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Next::End(partition)),
            Some(Err(error)) if transient(&error) => Ok(Next::Nothing),
            Some(Err(error)) => Err(Error::request("reading", error)),
        }
    }
}

#[allow(clippy::large_enum_variant, reason = "it lives for one turn of a loop")]
enum Next {
    Record(Record),
    /// This partition has been read to its end.
    End(i32),
    Nothing,
}

/// Goes away by itself, or the patience of the caller ends.
fn transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

/// The coordinator of a group is found again in a moment.
pub(super) fn moving(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

fn timed_out(what: String) -> Error {
    Error::request(what, KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
}

pub(super) fn partitions(consumer: &BaseConsumer<Logging>, topic: &str) -> Result<i32, Error> {
    let metadata = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .map_err(|e| Error::request(format!("asking for the topic `{topic}`"), e))?;
    let found =
        metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none()).map(|t| t.partitions().len());
    match found.and_then(|count| i32::try_from(count).ok()) {
        Some(count) if count > 0 => Ok(count),
        _ => Err(Error::Topic { topic: topic.to_owned(), problem: "does not exist".to_owned() }),
    }
}

/// The names of all consumer groups that Kafka knows.
///
/// # Errors
/// Kafka does not answer, as the embedded broker does not.
pub fn groups(settings: &ClientSettings) -> Result<Vec<String>, Error> {
    let config = client::common(settings)?;
    let consumer: BaseConsumer<Logging> =
        config.create_with_context(client::logging(settings)).map_err(Error::Settings)?;
    let asked = consumer.client().fetch_group_list(None, PATIENCE);
    let list = asked.map_err(|e| Error::request("listing the consumer groups", e))?;
    Ok(list.groups().iter().map(|group| group.name().to_owned()).collect())
}

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Which.
    pub at: TopicPartition,
    /// The oldest offset.
    pub low: i64,
    /// The offset that the next record will get.
    pub high: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
}

impl Lag {
    /// Records that are still to be read.
    #[must_use]
    pub fn unread(&self) -> u64 {
        u64::try_from(self.high - self.committed.unwrap_or(self.low).max(self.low)).unwrap_or(0)
    }

    /// Records that are gone before the group has read them: the embedded broker keeps about 5 MB per partition. A group
    /// that has committed nothing counts from offset 0.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        u64::try_from(self.low - self.committed.unwrap_or(0)).unwrap_or(0)
    }
}

/// Asks how far a group has read, without joining it.
pub struct Lags(BaseConsumer<Logging>, String);

impl std::fmt::Debug for Lags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lags").finish_non_exhaustive()
    }
}

impl Lags {
    /// For one group.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn open(settings: &ClientSettings, group: &str) -> Result<Self, Error> {
        let config = client::consumer(settings, group, None)?;
        let consumer = config.create_with_context(client::logging(settings)).map_err(Error::Settings)?;
        Ok(Self(consumer, group.to_owned()))
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn topics(&self) -> Result<Vec<String>, Error> {
        let all = self.0.fetch_metadata(None, PATIENCE).map_err(|e| Error::request("listing topics", e))?;
        Ok(all.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Waits while the group's coordinator moves, or begins.
    fn committed(&self, all: &[TopicPartition]) -> KafkaResult<HashMap<TopicPartition, Option<Stored>>> {
        let until = Monotonic::now().plus(PATIENCE);
        loop {
            match start::committed(&self.0, all, PATIENCE) {
                Err(error) if moving(&error) && Monotonic::now() < until => thread::park_timeout(LOOK_AGAIN),
                done => return done,
            }
        }
    }

    /// What the group is doing now.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn group(&self) -> Result<Group, Error> {
        let group = &self.1;
        let asked = self.0.client().fetch_group_list(Some(group), PATIENCE);
        let list = asked.map_err(|e| Error::request(format!("asking for the members of `{group}`"), e))?;
        let found = list.groups().iter().find(|found| found.name() == group);
        let assignments = found.iter().flat_map(|found| found.members()).map(|member| member.assignment());
        Ok(Group::new(found.map_or("", |found| found.state()), assignments))
    }

    /// Every partition of a topic.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn of(&self, topic: &str) -> Result<Vec<Lag>, Error> {
        let name: Arc<str> = Arc::from(topic);
        let count = partitions(&self.0, topic)?;
        let all: Vec<_> = (0..count).map(|p| TopicPartition::new(Arc::clone(&name), p)).collect();
        let ask = |e| Error::request(format!("asking how far `{topic}` is read"), e);
        let committed = self.committed(&all).map_err(ask)?;
        all.into_iter()
            .map(|at| {
                let (low, high) = client::watermarks(self.0.client(), topic, at.partition, PATIENCE).map_err(ask)?;
                let committed = committed.get(&at).and_then(|c| c.as_ref()).map(|c| c.next_offset);
                Ok(Lag { at, low, high, committed })
            })
            .collect()
    }
}
