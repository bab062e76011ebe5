//! What can go wrong between us and Kafka, each with a stable code and, where people can do something, the cure.

use rdkafka::error::KafkaError;
use std::time::Duration;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered in time.
    #[error("no broker answered in {} s\n {}\n brokers from {origin}; without Kafka: tidegate dev", waited.as_secs(), reasons(.brokers))]
    Unreachable {
        /// How long we tried.
        waited: Duration,
        /// Where the list of brokers was written, e.g. `TIDEGATE__KAFKA__BROKERS`.
        origin: String,
        /// Each broker and why it did not serve.
        brokers: Vec<(String, String)>,
    },
    /// The client refuses its settings.
    #[error("the Kafka client refuses its settings: {0}; see `kafka.properties`")]
    Settings(#[source] KafkaError),
    /// A topic is missing, or not as it must be.
    #[error("topic `{topic}` {problem}")]
    Topic {
        /// The topic.
        topic: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Another process listens where the embedded broker should.
    #[error("127.0.0.1:{port} is taken; choose another port with --kafka-port, or 0 for any: {source}")]
    PortTaken {
        /// The port.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// A request to Kafka failed.
    #[error("{what}: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// Kafka's answer.
        source: KafkaError,
    },
    /// A thread could not be started.
    #[error("cannot start the thread `{name}`: {source}")]
    Thread {
        /// Its name.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The intake has been closed.
    #[error("the intake of group `{group}` is closed")]
    Closed {
        /// Its group.
        group: String,
    },
    /// The consumer did not close in time; its thread is left behind and ends with the process.
    #[error("the consumer of group `{group}` did not close within {} ms; records in flight come again", waited.as_millis())]
    CloseTimeout {
        /// Its group.
        group: String,
        /// How long we waited.
        waited: Duration,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "KAFKA_UNREACHABLE",
            Self::Settings(_) => "KAFKA_SETTINGS",
            Self::Topic { .. } => "KAFKA_TOPIC",
            Self::PortTaken { .. } => "KAFKA_PORT_TAKEN",
            Self::Request { .. } => "KAFKA_REQUEST",
            Self::Thread { .. } => "KAFKA_THREAD",
            Self::Closed { .. } => "KAFKA_CLOSED",
            Self::CloseTimeout { .. } => "KAFKA_CLOSE_TIMEOUT",
        }
    }

    pub(super) fn request(what: impl Into<String>, source: KafkaError) -> Self {
        Self::Request { what: what.into(), source }
    }
}

fn reasons(brokers: &[(String, String)]) -> String {
    let each: Vec<String> = brokers.iter().map(|(broker, why)| format!("{broker} {why}")).collect();
    each.join(" · ")
}
