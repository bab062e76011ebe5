//! Events at a steady pace, and when each was produced.

use crate::support::Bed;
use crate::support::events::{self, Message};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate::model::clock::Monotonic;

/// How often a portion is produced.
const TICK: Duration = Duration::from_millis(10);

/// A thread that produces orders until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Monotonic>>,
}

impl Load {
    /// Produces `per_second` orders, numbered from `first`.
    pub(crate) fn start(bed: &Bed, first: usize, per_second: usize) -> Self {
        Self::run(bed, per_second, events::orders(usize::MAX).skip(first))
    }

    /// Produces `per_second` events that `make` makes of their numbers, from `first` on.
    pub(crate) fn of(
        bed: &Bed,
        per_second: usize,
        first: usize,
        make: impl Fn(usize) -> Message + Send + 'static,
    ) -> Self {
        Self::run(bed, per_second, (first..).map(make))
    }

    fn run(bed: &Bed, per_second: usize, mut messages: impl Iterator<Item = Message> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (brokers, topic) = (bed.broker.bootstrap.clone(), bed.topic());
        let thread = std::thread::spawn(move || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers).set("acks", "all").set("linger.ms", "1");
            // A broker that dies must not cost us an event: what counts as produced is produced.
            config.set("enable.idempotence", "true").set("message.timeout.ms", "120000");
            let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
            let began = Monotonic::now();
            let mut produced = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let due = Monotonic::now().since(began).as_secs_f64() * per_second as f64;
                while (produced.len() as f64) < due {
                    let message = messages.next().expect("there are enough");
                    let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                        headers.insert(Header { key, value: value.as_deref() })
                    });
                    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).headers(headers);
                    record.key = message.key.as_deref();
                    record.payload = message.value.as_deref();
                    producer.send(record).map_err(|(error, _)| error).expect("room for a record");
                    produced.push(Monotonic::now());
                }
                std::thread::park_timeout(TICK);
            }
            producer.flush(Duration::from_secs(130)).expect("everything acknowledged");
            produced
        });
        Self { stop, thread }
    }

    /// Stops; the moments at which the orders were produced, in their order.
    pub(crate) fn stop(self) -> Vec<Monotonic> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it has produced")
    }
}

/// Lets time pass: faults happen at moments, not at conditions.
pub(crate) fn pass(time: Duration) {
    let until = Monotonic::now().plus(time);
    loop {
        let left = until.since(Monotonic::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
