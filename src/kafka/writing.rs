//! `Writing`: a producer of librdkafka and the thread that hears what became of its records.
//!
//! rdkafka's `FutureProducer` does the same, but its thread waits in slices of 100 ms and spends what is left of the last
//! millisecond of each in a loop: a hundredth of a core for a producer that has nothing to do. This one sleeps until
//! something is sent.

use super::logging::Logging;
use crate::model::clock::Monotonic;
use crate::model::record::OutRecord;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How soon a full queue is tried again.
const FULL: Duration = Duration::from_millis(20);

/// How long the thread sleeps while records are on their way, at first and at most: what Kafka answers in a millisecond is
/// told in two, and a Kafka that is away costs little.
const NEXT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));

/// How long it sleeps while there are none: errors and statistics want to be heard, too.
const IDLE: Duration = Duration::from_secs(1);

/// Where a record was written, partition and offset, or why not.
type Outcome = Result<(i32, i64), KafkaError>;

/// Who waits for the outcome of a record, if anybody does.
type Waiting = Box<Option<oneshot::Sender<Outcome>>>;

impl ProducerContext for Logging {
    type DeliveryOpaque = Waiting;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Waiting) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Who has gone meanwhile does not want to know.
        if let Some(waiting) = *waiting
            && waiting.send(outcome).is_err()
        {
            tracing::trace!("nobody waits for this record any more");
        }
    }
}

/// A producer.
pub(super) struct Writing {
    shared: Arc<Shared>,
    hearing: Option<JoinHandle<()>>,
}

struct Shared {
    producer: BaseProducer<Logging>,
    /// The thread sleeps for long and must be woken.
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Writing {
    /// Makes one; it connects when the first record is sent.
    ///
    /// # Errors
    /// Settings that the client refuses; no thread to be had.
    pub(super) fn start(config: &ClientConfig, context: Logging) -> Result<Self, KafkaError> {
        let producer = BaseProducer::from_config_and_context(config, context)?;
        let shared = Arc::new(Shared { producer, asleep: AtomicBool::new(false), stop: AtomicBool::new(false) });
        let hearing = {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("producer".to_owned());
            thread.spawn(move || shared.hear()).map_err(|error| KafkaError::ClientCreation(error.to_string()))?
        };
        Ok(Self { shared, hearing: Some(hearing) })
    }

    /// Writes a record and waits until Kafka has it; where it is then. Waits for room for so long.
    pub(super) async fn send(&self, record: &OutRecord, room: Duration) -> Outcome {
        let (tell, told) = oneshot::channel();
        let mut outgoing = outgoing(record, Box::new(Some(tell)));
        let until = Monotonic::now().plus(room);
        loop {
            match self.shared.producer.send(outgoing) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if Monotonic::now() < until => {
                    outgoing = back;
                    tokio::time::sleep(FULL).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
        self.wake();
        told.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Hands a record to the client, if there is room, and forgets it.
    pub(super) fn post(&self, record: &OutRecord) -> Result<(), KafkaError> {
        self.shared.producer.send(outgoing(record, Box::new(None))).map_err(|(error, _)| error)?;
        self.wake();
        Ok(())
    }

    /// Records that are on their way, and answers not yet heard.
    pub(super) fn in_flight(&self) -> i32 {
        self.shared.producer.in_flight_count()
    }

    /// It can write nothing any more.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.producer.client().fatal_error().is_some()
    }

    fn wake(&self) {
        if self.shared.asleep.swap(false, Ordering::SeqCst)
            && let Some(hearing) = &self.hearing
        {
            hearing.thread().unpark();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(hearing) = self.hearing.take() {
            hearing.thread().unpark();
            if hearing.join().is_err() {
                tracing::error!("the thread of a producer ended badly");
            }
        }
    }
}

impl Shared {
    fn hear(&self) {
        let (mut before, mut pause) = (0, NEXT.0);
        while !self.stop.load(Ordering::SeqCst) {
            // One event, which tells of all the records of a batch; without waiting it does not loop.
            self.producer.poll(Duration::ZERO);
            let left = self.producer.in_flight_count();
            if left == 0 {
                self.asleep.store(true, Ordering::SeqCst);
                // What was sent before that did not wake.
                if self.producer.in_flight_count() == 0 && !self.stop.load(Ordering::SeqCst) {
                    thread::park_timeout(IDLE);
                }
                self.asleep.store(false, Ordering::SeqCst);
                pause = NEXT.0;
            } else if left == before {
                thread::park_timeout(pause);
                pause = NEXT.1.min(pause * 2);
            } else {
                pause = NEXT.0;
            }
            before = left;
        }
    }
}

fn outgoing(record: &OutRecord, waiting: Waiting) -> BaseRecord<'_, [u8], [u8], Waiting> {
    let mut out = BaseRecord::with_opaque_to(&record.topic, waiting);
    out.partition = record.partition;
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    out.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        out.headers = Some(headers);
    }
    out
}
