//! Topics: on the Kafka that is named, or on librdkafka's mock cluster in this process.

use crate::event::{Shape, now_ns};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Where the events come from.
pub(crate) struct Kafka {
    /// Host and port.
    pub(crate) brokers: String,
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Kafka {
    /// The one at `brokers`, or a mock cluster that ends with this value.
    pub(crate) fn new(brokers: Option<String>) -> Self {
        match brokers {
            Some(brokers) => Self { brokers, mock: None },
            None => {
                let mock = MockCluster::new(1).expect("a mock cluster");
                Self { brokers: mock.bootstrap_servers(), mock: Some(mock) }
            }
        }
    }

    /// Whether it is the mock cluster, which keeps 5 MiB of a partition and knows no request that creates a topic.
    pub(crate) const fn is_mock(&self) -> bool {
        self.mock.is_some()
    }

    /// Creates a topic and waits until each partition has a leader.
    pub(crate) fn create(&self, name: &str, partitions: i32) {
        if let Some(mock) = &self.mock {
            return mock.create_topic(name, partitions, 1).expect("a topic on the mock cluster");
        }
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let results = wait(async { self.admin().create_topics([&topic], &AdminOptions::new()).await });
        for result in results.expect("the broker answers") {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => panic!("topic {topic} could not be created: {code}"),
            }
        }
        let reader: BaseConsumer = self.client().create().expect("a client");
        let until = Instant::now() + LIMIT;
        let mut partition = 0;
        while partition < partitions {
            if reader.fetch_watermarks(name, partition, LIMIT).is_ok() {
                partition += 1;
            } else {
                assert!(Instant::now() < until, "{name} has no leader for partition {partition}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Deletes topics; those that there are not are no matter.
    pub(crate) fn delete(&self, names: &[&str]) {
        if self.mock.is_none() && !names.is_empty() {
            drop(wait(async { self.admin().delete_topics(names, &AdminOptions::new()).await }));
        }
    }

    /// The topics whose names begin so.
    pub(crate) fn topics(&self, prefix: &str) -> Vec<String> {
        let reader: BaseConsumer = self.client().create().expect("a client");
        let all = reader.fetch_metadata(None, LIMIT).expect("the broker answers");
        all.topics().iter().map(|topic| topic.name().to_owned()).filter(|name| name.starts_with(prefix)).collect()
    }

    /// Produces events `from..to` as fast as it can, or so many per second; the seconds that it took.
    pub(crate) fn produce(&self, topic: &str, shape: &Shape, from: u64, to: u64, per_second: Option<f64>) -> f64 {
        produce(&self.brokers, topic, shape, from, to, per_second)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client")
    }
}

fn wait<T>(work: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Counts what the broker has not taken.
struct Acknowledged(Arc<AtomicU64>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The load generator.
pub(crate) fn produce(brokers: &str, topic: &str, shape: &Shape, from: u64, to: u64, per_second: Option<f64>) -> f64 {
    const TICK: Duration = Duration::from_millis(2);
    let failed = Arc::new(AtomicU64::new(0));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("acks", "1")
        // Few large batches, or each event as soon as it is there.
        .set("linger.ms", if per_second.is_some() { "0" } else { "20" })
        .set("batch.size", "1000000")
        .set("message.max.bytes", "8000000")
        .set("queue.buffering.max.kbytes", "65536")
        // Records go round the partitions one by one, not batch by batch.
        .set("sticky.partitioning.linger.ms", "0")
        .set("message.timeout.ms", "60000");
    let producer: ThreadedProducer<Acknowledged> =
        config.create_with_context(Acknowledged(Arc::clone(&failed))).expect("a producer");
    let began = Instant::now();
    let mut event = Vec::new();
    let structured = Header { key: "content-type", value: Some("application/cloudevents+json") };
    let structured = OwnedHeaders::new().insert(structured);
    for number in from..to {
        if let Some(rate) = per_second {
            while began.elapsed().as_secs_f64() * rate < (number - from) as f64 {
                std::thread::sleep(TICK.min(Duration::from_secs_f64(1.0 / rate)));
            }
        }
        let now = now_ns();
        shape.write(&mut event, number, now);
        let headers = if shape.binary {
            let headers = shape.headers(number, now);
            headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }))
        } else {
            structured.clone()
        };
        let key = shape.key(number);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(event.as_slice()).headers(headers);
        record.key = key.as_deref().map(str::as_bytes);
        while let Err((error, again)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            record = again;
            std::thread::sleep(TICK);
        }
    }
    producer.flush(LIMIT).expect("everything acknowledged");
    assert_eq!(failed.load(Ordering::Relaxed), 0, "events that the broker has not taken");
    began.elapsed().as_secs_f64()
}
