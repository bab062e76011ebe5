//! A Kafka for one test: librdkafka's mock cluster in this process, or the real one that `TEST_KAFKA` names.
//!
//! Everything here speaks to it as a foreign client would: it creates topics, produces, reads topics from end to end
//! and looks up what groups have committed.

use super::events::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate::model::clock::Monotonic;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A record as it stands in a topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// Partition.
    pub(crate) partition: i32,
    /// Offset.
    pub(crate) offset: i64,
    /// Key.
    pub(crate) key: Option<Vec<u8>>,
    /// Value.
    pub(crate) value: Option<Vec<u8>>,
    /// Headers in their order.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    /// A header as text; empty if it is absent.
    ///
    /// # Panics
    /// If it is not UTF-8: Tidegate promises readable headers.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.iter().rev().find(|(n, _)| n == name).and_then(|(_, value)| value.as_deref());
        std::str::from_utf8(value.unwrap_or_default()).expect("a header of UTF-8")
    }
}

/// The Kafka of one test.
pub(crate) struct Broker {
    /// Where it answers.
    pub(crate) bootstrap: String,
    mock: Option<MockCluster<'static, rdkafka::producer::DefaultProducerContext>>,
}

impl Broker {
    /// The real one if `TEST_KAFKA` names it, else a mock cluster that ends with this value.
    pub(crate) fn start() -> Self {
        match super::real_kafka() {
            Some(bootstrap) => Self { bootstrap, mock: None },
            None => {
                let mock = MockCluster::new(1).expect("a mock cluster");
                Self { bootstrap: mock.bootstrap_servers(), mock: Some(mock) }
            }
        }
    }

    /// Takes the mock cluster down or up again.
    ///
    /// # Panics
    /// On a real Kafka, which others use too.
    pub(crate) fn set_down(&self, down: bool) {
        let mock = self.mock.as_ref().expect("a mock cluster");
        if down { mock.broker_down(1) } else { mock.broker_up(1) }.expect("told");
    }

    /// Lets the mock cluster answer the next `count` produce requests with this error.
    ///
    /// # Panics
    /// On a real Kafka, which others use too.
    pub(crate) fn refuse_produce(&self, error: RDKafkaRespErr, count: usize) {
        let mock = self.mock.as_ref().expect("a mock cluster");
        mock.request_errors(RDKafkaApiKey::Produce, &vec![error; count]);
    }

    /// Lets the mock cluster take everything again.
    ///
    /// # Panics
    /// On a real Kafka.
    pub(crate) fn accept_produce(&self) {
        self.mock.as_ref().expect("a mock cluster").clear_request_errors(RDKafkaApiKey::Produce);
    }

    /// Creates a topic, on both kinds in the same way.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        if let Some(mock) = &self.mock {
            return mock.create_topic(name, partitions, 1).expect("a topic on the mock cluster");
        }
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let results = self.administer(async |admin, options| admin.create_topics([&topic], &options).await);
        for result in results.unwrap_or_else(|e| panic!("TEST_KAFKA={} does not answer: {e}", self.bootstrap)) {
            result.unwrap_or_else(|(topic, code)| panic!("topic {topic} could not be created: {code}"));
        }
        self.await_leaders(name, partitions);
    }

    /// The broker answers before all of it knows a topic and has a leader for each partition.
    fn await_leaders(&self, name: &str, partitions: i32) {
        super::eventually(&format!("topic {name} has leaders"), TIMEOUT, || {
            // A new one each time: it goes on believing the first broker that it asked.
            let consumer = self.consumer("reader");
            for partition in 0..partitions {
                let marks = consumer.fetch_watermarks(name, partition, TIMEOUT);
                marks.map_err(|error| format!("partition {partition}: {error}"))?;
            }
            Ok(())
        });
    }

    /// Gives a topic of a real Kafka more partitions, so many in all.
    pub(crate) fn add_partitions(&self, name: &str, all: usize) {
        let more = NewPartitions::new(name, all);
        let results = self.administer(async |admin, options| admin.create_partitions([&more], &options).await);
        for result in results.expect("an answer") {
            result.unwrap_or_else(|(topic, code)| panic!("topic {topic} gets no more partitions: {code}"));
        }
        self.await_leaders(name, i32::try_from(all).expect("few"));
    }

    /// Whether there is a topic of this name.
    pub(crate) fn exists(&self, name: &str) -> bool {
        let metadata = self.consumer("reader").fetch_metadata(None, TIMEOUT).expect("metadata");
        metadata.topics().iter().any(|topic| topic.name() == name)
    }

    /// Deletes every topic whose name begins so; a mock cluster forgets them anyway.
    pub(crate) fn delete_topics(&self, prefix: &str) {
        if self.mock.is_some() {
            return;
        }
        let metadata = self.consumer("reader").fetch_metadata(None, TIMEOUT).expect("metadata");
        let names: Vec<&str> = metadata.topics().iter().map(|t| t.name()).filter(|n| n.starts_with(prefix)).collect();
        if !names.is_empty() {
            self.administer(async |admin, options| admin.delete_topics(&names, &options).await).expect("an answer");
        }
    }

    fn administer<T>(&self, ask: impl AsyncFnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> T) -> T {
        let admin = self.config().create().expect("an admin client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(ask(admin, AdminOptions::new().operation_timeout(Some(TIMEOUT))))
    }

    /// Produces and waits until all of it is acknowledged. Records without a key go round the partitions.
    pub(crate) fn produce(&self, topic: &str, messages: impl IntoIterator<Item = Message>) {
        let mut config = self.config();
        config.set("linger.ms", "5").set("acks", "all").set("compression.type", "lz4");
        // What a broker takes that was told nothing else.
        config.set("sticky.partitioning.linger.ms", "0").set("message.max.bytes", "1048588");
        let producer: ThreadedProducer<Acks> = config.create_with_context(Acks::default()).expect("a producer");
        let mut sent = 0;
        for message in messages {
            let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(rdkafka::message::Header { key, value: value.as_deref() })
            });
            loop {
                let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).headers(headers.clone());
                record.key = message.key.as_deref();
                record.payload = message.value.as_deref();
                record.partition = message.partition;
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                    Err((e, _)) => panic!("producing to {topic}: {e}"),
                }
            }
            sent += 1;
        }
        producer.flush(Duration::from_secs(120)).expect("everything acknowledged in two minutes");
        let acks = producer.context();
        assert_eq!(acks.failed.load(Ordering::Relaxed), 0, "records that {topic} refused");
        assert_eq!(acks.taken.load(Ordering::Relaxed), sent, "records that {topic} took");
    }

    /// Everything in a topic, from its beginning to what is its end now.
    pub(crate) fn read_all(&self, topic: &str) -> Vec<Stored> {
        let consumer = self.consumer("reader");
        let mut list = TopicPartitionList::new();
        let mut missing = 0;
        let bounds = self.bounds(topic);
        for (partition, (low, high)) in &bounds {
            list.add_partition_offset(topic, *partition, Offset::Offset(*low)).expect("an offset");
            missing += high - low;
        }
        consumer.assign(&list).expect("an assignment");
        let mut out = Vec::new();
        let mut next: BTreeMap<i32, i64> = bounds.iter().map(|(partition, (low, _))| (*partition, *low)).collect();
        let deadline = Monotonic::now().plus(Duration::from_secs(60));
        // Markers of transactions take offsets that no record has: the position tells, not the count.
        while missing > 0 && next.iter().any(|(partition, at)| *at < bounds[partition].1) {
            assert!(Monotonic::now() < deadline, "{topic} could not be read to its end: {next:?} of {bounds:?}");
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    next.insert(message.partition(), message.offset() + 1);
                    out.push(stored(&message));
                }
                Some(Err(e)) => panic!("reading {topic}: {e}"),
                None => {}
            }
        }
        out.sort_by_key(|record| (record.partition, record.offset));
        out
    }

    /// The next offset of each partition.
    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        self.bounds(topic).into_iter().map(|(partition, (_, high))| (partition, high)).collect()
    }

    /// How many records a topic holds, by its offsets.
    pub(crate) fn count(&self, topic: &str) -> usize {
        self.bounds(topic).values().map(|(low, high)| usize::try_from(high - low).unwrap_or(0)).sum()
    }

    /// What a group has committed, for partitions where it has: offset and metadata.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, (i64, String)> {
        let consumer = self.consumer(group);
        let mut list = TopicPartitionList::new();
        for partition in self.partitions(&consumer, topic) {
            list.add_partition(topic, partition);
        }
        let list = consumer.committed_offsets(list, TIMEOUT).expect("committed offsets");
        let offset = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| e.offset().to_raw();
        let elements = list.elements();
        let known = elements.iter().filter_map(|e| offset(e).filter(|o| *o >= 0).map(|o| (e, o)));
        known.map(|(e, o)| (e.partition(), (o, e.metadata().to_owned()))).collect()
    }

    /// Commits offsets with metadata for a group that nobody is in.
    pub(crate) fn commit(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, (i64, String)>) {
        let mut list = TopicPartitionList::new();
        for (partition, (offset, metadata)) in offsets {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*offset)).expect("an offset");
            element.set_metadata(metadata);
        }
        let consumer = self.consumer(group);
        // Kafka takes it once the last member has left, and once all of it knows the topic.
        super::eventually("a commit", TIMEOUT, || {
            consumer.commit(&list, CommitMode::Sync).map_err(|error| error.to_string())
        });
    }

    /// `Ok` if the group has committed the end of every partition that holds anything; else says what is missing.
    pub(crate) fn at_end(&self, group: &str, topic: &str) -> Result<(), String> {
        let committed = self.committed(group, topic);
        let behind: Vec<String> = self
            .ends(topic)
            .into_iter()
            .filter(|(_, end)| *end > 0)
            .map(|(partition, end)| (partition, committed.get(&partition).map_or(-1, |(offset, _)| *offset), end))
            .filter(|(_, offset, end)| offset != end)
            .map(|(partition, offset, end)| format!("{partition}: {offset} of {end}"))
            .collect();
        if behind.is_empty() { Ok(()) } else { Err(format!("{group} is behind in {topic}: {}", behind.join(", "))) }
    }

    fn bounds(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let consumer = self.consumer("reader");
        // A topic that was just created may have no leader yet.
        let marks = |partition| {
            super::eventually("watermarks", TIMEOUT, || {
                consumer.fetch_watermarks(topic, partition, TIMEOUT).map_err(|error| error.to_string())
            })
        };
        self.partitions(&consumer, topic).into_iter().map(|partition| (partition, marks(partition))).collect()
    }

    fn partitions(&self, consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
        // A broker that has thousands of topics may let the first question wait for too long.
        let metadata = super::eventually("metadata", TIMEOUT, || {
            consumer.fetch_metadata(Some(topic), TIMEOUT).map_err(|error| error.to_string())
        });
        metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| p.id())).collect()
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false").set("allow.auto.create.topics", "false");
        config.create().expect("a consumer")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }
}

#[derive(Default)]
struct Acks {
    taken: AtomicUsize,
    failed: AtomicUsize,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.taken } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn stored(message: &BorrowedMessage<'_>) -> Stored {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Stored {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

mod tests {
    use super::Broker;
    use crate::support::events::{Message, structured};

    #[test]
    fn what_is_produced_is_read_back() {
        let bed = crate::support::bed::unique("broker");
        let topic = format!("{bed}.t");
        let broker = Broker::start();
        broker.create_topic(&topic, 3);
        let tombstone =
            Message { key: Some(b"k".to_vec()), ..Message::default() }.header("a", Some("1")).header("b", None);
        broker.produce(&topic, [tombstone.clone(), structured("1", "a", "{}").partition(2)]);
        let read = broker.read_all(&topic);
        assert_eq!(read.len(), 2);
        assert_eq!((broker.count(&topic), broker.ends(&topic).values().sum::<i64>()), (2, 2));
        let back = read.iter().find(|record| record.value.is_none()).unwrap();
        assert_eq!((&back.key, &back.headers), (&tombstone.key, &tombstone.headers));
        assert!(read.iter().any(|record| record.partition == 2));
        assert!(broker.committed("nobody", &topic).is_empty());
        assert!(broker.at_end("nobody", &topic).unwrap_err().contains("2: -1 of 1"));
    }
}
