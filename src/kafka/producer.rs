//! `Producer`: writes records and says when Kafka has them. In: [`OutRecord`]. Out: the position, once all replicas in sync
//! have it, or why not.
//!
//! Never here: a record reported as written that is not; a record dropped silently, except by [`Producer::post`], which
//! says so by its name and counts.

use super::client::{self, ClientSettings};
use super::error::Error;
use super::logging::{Logging, Reach};
use super::writing::Writing;
use crate::model::clock::Monotonic;
use crate::model::record::{OutRecord, Position};
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a record may wait for room in the client's queue.
const ROOM: Duration = Duration::from_secs(10);

/// Why a record was not written. The caller keeps what it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Larger than Kafka accepts for that topic: write less, e.g. a reference.
    #[error("`{topic}` does not accept a record of {size_bytes} bytes; raise max.message.bytes of the topic")]
    TooLarge {
        /// The topic.
        topic: Arc<str>,
        /// Key, value and headers.
        size_bytes: usize,
    },
    /// Not acknowledged in time; it may have been written.
    #[error("`{topic}`: not acknowledged in time; Kafka is slow or away")]
    Timeout {
        /// The topic.
        topic: Arc<str>,
    },
    /// Kafka refuses it.
    #[error("`{topic}`: {code}")]
    Refused {
        /// The topic.
        topic: Arc<str>,
        /// Kafka's answer.
        code: RDKafkaErrorCode,
    },
    /// The producer failed for good and was made anew; send again.
    #[error("`{topic}`: the producer had to be made anew")]
    Fatal {
        /// The topic.
        topic: Arc<str>,
    },
}

impl SendError {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "PRODUCE_TOO_LARGE",
            Self::Timeout { .. } => "PRODUCE_TIMEOUT",
            Self::Refused { .. } => "PRODUCE_REFUSED",
            Self::Fatal { .. } => "PRODUCE_FATAL",
        }
    }
}

/// Writes records. Clones share one client.
#[derive(Clone)]
pub struct Producer(Way);

#[derive(Clone)]
enum Way {
    Kafka(Arc<Inner>),
    Sink(Arc<dyn Sink>),
}

/// Takes records instead of Kafka: a log in memory, in simulations.
pub trait Sink: Send + Sync {
    /// As [`Producer::send`].
    fn send(&self, record: OutRecord) -> BoxFuture<'static, Result<Position, SendError>>;

    /// As [`Producer::post`].
    fn post(&self, record: OutRecord);
}

struct Inner {
    config: ClientConfig,
    name: String,
    current: ArcSwap<Made>,
    making: Mutex<()>,
    dropped: AtomicU64,
    reach: Arc<Reach>,
}

struct Made {
    client: Writing,
    number: u64,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let brokers = match &self.0 {
            Way::Kafka(inner) => inner.name.as_str(),
            Way::Sink(_) => "none",
        };
        f.debug_struct("Producer").field("brokers", &brokers).finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes a producer; connects when the first record is sent.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn connect(settings: &ClientSettings) -> Result<Self, Error> {
        Self::of(client::producer(settings)?, settings)
    }

    /// Makes one for traces: what it cannot hold it drops, counts, and says once.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn for_traces(settings: &ClientSettings) -> Result<Self, Error> {
        Self::of(client::trace_producer(settings)?, settings)
    }

    fn of(config: ClientConfig, settings: &ClientSettings) -> Result<Self, Error> {
        let reach = Arc::default();
        let client = make(&config, &settings.brokers, &reach).map_err(Error::Settings)?;
        Ok(Self(Way::Kafka(Arc::new(Inner {
            config,
            name: settings.brokers.clone(),
            current: ArcSwap::from_pointee(Made { client, number: 0 }),
            making: Mutex::default(),
            dropped: AtomicU64::new(0),
            reach,
        }))))
    }

    /// One that writes elsewhere than to Kafka.
    #[must_use]
    pub fn to(sink: Arc<dyn Sink>) -> Self {
        Self(Way::Sink(sink))
    }

    /// Writes a record and waits until all replicas in sync have it.
    ///
    /// # Errors
    /// It was not acknowledged, see [`SendError`].
    pub async fn send(&self, record: OutRecord) -> Result<Position, SendError> {
        match &self.0 {
            Way::Kafka(inner) => inner.send(record).await,
            Way::Sink(sink) => sink.send(record).await,
        }
    }

    /// Hands a record to the client and forgets it: for traces, whose loss harms nobody. Never waits.
    pub fn post(&self, record: OutRecord) {
        let inner = match &self.0 {
            Way::Kafka(inner) => inner,
            Way::Sink(sink) => return sink.post(record),
        };
        let made = inner.current.load();
        if made.client.post(&record).is_err() && inner.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(topic = %record.topic, "no room for more records of what became of events; they are dropped and counted, deliveries are not");
        }
    }

    /// It has not lost every broker, as far as is known: only one for traces knows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match &self.0 {
            Way::Kafka(inner) => !inner.reach.is_lost(),
            Way::Sink(_) => true,
        }
    }

    /// Records of [`Producer::post`] for which there was no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.0 {
            Way::Kafka(inner) => inner.dropped.load(Ordering::Relaxed),
            Way::Sink(_) => 0,
        }
    }

    /// Waits until nothing is on its way. True if that happened in time.
    pub async fn flush(&self, at_most: Duration) -> bool {
        let Way::Kafka(inner) = &self.0 else { return true };
        let until = Monotonic::now().plus(at_most);
        let made = inner.current.load_full();
        while made.client.in_flight() > 0 {
            if Monotonic::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

impl Inner {
    async fn send(&self, record: OutRecord) -> Result<Position, SendError> {
        let made = self.current.load_full();
        let topic = Arc::clone(&record.topic);
        let size_bytes = size(&record);
        match made.client.send(&record, ROOM).await {
            Ok((partition, offset)) => Ok(Position { topic, partition, offset }),
            Err(error) => Err(self.classify(&made, topic, size_bytes, &error)),
        }
    }

    fn classify(&self, made: &Made, topic: Arc<str>, size_bytes: usize, error: &KafkaError) -> SendError {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if code == RDKafkaErrorCode::Fatal || made.client.has_failed() {
            self.renew(made.number);
            return SendError::Fatal { topic };
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "not our enum, and it grows")]
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => SendError::TooLarge { topic, size_bytes },
            RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::QueueFull
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::OperationTimedOut => SendError::Timeout { topic },
            code => SendError::Refused { topic, code },
        }
    }

    /// Replaces a producer that has failed for good; once, however many notice.
    fn renew(&self, number: u64) {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current.load().number != number {
            return;
        }
        match make(&self.config, &self.name, &self.reach) {
            Ok(client) => {
                tracing::error!(brokers = self.name, "the producer has failed for good and is made anew");
                self.current.store(Arc::new(Made { client, number: number + 1 }));
            }
            Err(error) => tracing::error!(%error, "the producer cannot be made anew"),
        }
    }
}

fn make(config: &ClientConfig, name: &str, reach: &Arc<Reach>) -> Result<Writing, KafkaError> {
    Writing::start(config, Logging::new(name).noting(reach))
}

fn size(record: &OutRecord) -> usize {
    let headers = record.headers.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, bytes::Bytes::len));
    let parts = record.key.as_ref().map_or(0, bytes::Bytes::len) + record.value.as_ref().map_or(0, bytes::Bytes::len);
    parts + headers.sum::<usize>()
}
