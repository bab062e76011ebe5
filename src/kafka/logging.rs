//! What librdkafka says, filtered: a broker that is down says so once in ten seconds, not a hundred times.

use super::statistics;
use crate::model::clock::Monotonic;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a repeated message is kept quiet.
const QUIET: Duration = Duration::from_secs(10);

/// The context of a client: its log, and why each broker does not serve.
#[derive(Debug)]
pub(super) struct Logging {
    client: String,
    /// Says nothing above debug: whoever asks tells the reasons himself.
    quiet: bool,
    said: Mutex<HashMap<String, Monotonic>>,
    failures: Mutex<Vec<(String, String)>>,
    reach: Arc<Reach>,
    /// It was told that no broker answers, and not yet that one does again.
    told: AtomicBool,
}

/// Whether a client is connected to any broker, as its statistics last said.
#[derive(Debug, Default)]
pub(super) struct Reach(AtomicBool);

impl Reach {
    /// It said that it is connected to none.
    pub(super) fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Logging {
    /// `client` names it in log lines.
    pub(super) fn new(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            quiet: false,
            said: Mutex::default(),
            failures: Mutex::default(),
            reach: Arc::default(),
            told: AtomicBool::new(false),
        }
    }

    /// For a client whose failures are told by who asked.
    pub(super) fn quiet(client: &str) -> Self {
        Self { quiet: true, ..Self::new(client) }
    }

    /// The same, which notes whether its client is connected.
    pub(super) fn noting(self, reach: &Arc<Reach>) -> Self {
        Self { reach: Arc::clone(reach), ..self }
    }

    /// What each broker failed with, newest last, as librdkafka words it: (`host:port`, reason).
    pub(super) fn failures(&self) -> Vec<(String, String)> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if this was not said within [`QUIET`].
    pub(super) fn first(&self, key: &str, now: Monotonic) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() > 256 {
            said.retain(|_, at| now.since(*at) < QUIET);
        }
        match said.get(key) {
            Some(at) if now.since(*at) < QUIET => false,
            _ => {
                said.insert(key.to_owned(), now);
                true
            }
        }
    }

    fn remember(&self, reason: &str) {
        let Some((broker, why)) = split_reason(reason) else { return };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|(known, _)| known != broker);
        failures.push((broker.to_owned(), why.to_owned()));
    }
}

impl ClientContext for Logging {
    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(connected) = statistics::is_connected(statistics) {
            self.reach.0.store(!connected, Ordering::Relaxed);
            if connected && self.told.swap(false, Ordering::Relaxed) {
                tracing::info!(client = self.client, "Kafka answers again");
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Producers share the user's properties with consumers; librdkafka remarks on each that is not for this kind.
        if self.quiet || facility == "CONFWARN" || !self.first(&without_digits(message), Monotonic::now()) {
            tracing::debug!(target: "librdkafka", client = self.client, facility, message);
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", client = self.client, facility, message);
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", client = self.client, facility, message),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", client = self.client, facility, message);
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", client = self.client, facility, message),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is what a reader waits for.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        self.remember(reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            if !self.quiet && !self.told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    client = self.client,
                    code = "KAFKA_UNREACHABLE",
                    "no broker answers; nothing is lost: what is not committed is read again, and work goes on by itself \
                     when Kafka is back"
                );
            }
            return;
        }
        // A broker that cannot be reached has been logged as such, with the same words.
        let logged = error
            .rdkafka_error_code()
            .is_some_and(|code| [RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::Resolve].contains(&code));
        if !self.quiet && !logged && self.first(&without_digits(reason), Monotonic::now()) {
            tracing::warn!(target: "librdkafka", client = self.client, code = %error, reason);
        }
    }
}

impl ConsumerContext for Logging {}

/// Splits `ssl://k1:9093/bootstrap: Connect to … failed: Connection refused (after 0ms in state CONNECT)`.
fn split_reason(reason: &str) -> Option<(&str, &str)> {
    let (broker, why) = reason.split_once(": ")?;
    let broker = broker.rsplit_once("://").map_or(broker, |(_, rest)| rest);
    let broker = broker.split_once('/').map_or(broker, |(address, _)| address);
    broker.contains(':').then_some((broker, why))
}

/// Times and counts differ in every repetition of a message, and so does the remark on them at its end.
fn without_digits(message: &str) -> String {
    let message = message.split_once(" (after ").map_or(message, |(message, _)| message);
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_repeated_after_ten_seconds() {
        let log = Logging::new("t");
        assert!(log.first("a", Monotonic(0)));
        assert!(!log.first("a", Monotonic(1)));
        assert!(log.first("b", Monotonic(1)));
        assert!(log.first("a", Monotonic(0).plus(QUIET)));
    }

    #[test]
    fn the_broker_is_found_in_the_reason() {
        let text = "ssl://k1:9093/bootstrap: Connect to ipv4#1.2.3.4:9093 failed: Connection refused";
        assert_eq!(split_reason(text), Some(("k1:9093", "Connect to ipv4#1.2.3.4:9093 failed: Connection refused")));
        assert_eq!(split_reason("3/3 brokers are down"), None);
    }
}
