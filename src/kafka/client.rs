//! What every Kafka client of ours is made with: our defaults, then the user's properties, of which those that would
//! break a promise are refused.

use super::error::Error;
use super::logging::Logging;
use crate::model::clock::Monotonic;
use crate::model::text::Text;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use secrecy::ExposeSecret;
use std::time::Duration;

/// How to reach Kafka, and what every client is told.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Where `brokers` was written, for error messages: a file, or `TIDEGATE__KAFKA__BROKERS`.
    pub brokers_origin: String,
    /// librdkafka properties of the user, secrets revealed; they win over our defaults.
    pub properties: Vec<(String, String)>,
    /// How members of a group agree.
    pub group_protocol: GroupProtocol,
}

impl ClientSettings {
    /// Settings with nothing but brokers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            brokers_origin: "kafka.brokers".to_owned(),
            properties: Vec::new(),
            group_protocol: GroupProtocol::Classic,
        }
    }
}

/// Properties with their secrets revealed, for [`ClientSettings`].
#[must_use]
pub fn reveal(properties: &[(String, Text)]) -> Vec<(String, String)> {
    let shown = |text: &Text| match text {
        Text::Plain(text) => text.clone(),
        Text::Secret(secret) => secret.expose_secret().to_owned(),
    };
    properties.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
}

pub use crate::config::settings::GroupProtocol;

/// What all clients share.
pub(super) fn common(settings: &ClientSettings) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "tidegate")
        .set("socket.keepalive.enable", "true")
        .set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

impl ClientSettings {
    /// Whether the user has set one of these properties, which are names of one thing.
    pub(super) fn names(&self, aliases: &[&str]) -> bool {
        self.properties.iter().any(|(name, _)| aliases.contains(&name.as_str()))
    }
}

/// The user's properties, last.
pub(super) fn finish(mut config: ClientConfig, settings: &ClientSettings) -> ClientConfig {
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config
}

/// A consumer of a group that starts where it is told and commits what it is told.
pub(super) fn consumer(
    settings: &ClientSettings,
    group: &str,
    instance_id: Option<&str>,
) -> Result<ClientConfig, Error> {
    let mut config = common(settings)?;
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "2000")
        .set("max.poll.interval.ms", "60000")
        // How soon partitions are read that were added to a topic; the client's default is five minutes.
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "2048")
        .set("fetch.message.max.bytes", "262144")
        .set("fetch.queue.backoff.ms", "5");
    match settings.group_protocol {
        GroupProtocol::Classic => {
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", "15000")
                .set("heartbeat.interval.ms", "3000");
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if let Some(id) = instance_id {
        config.set("group.instance.id", id);
    }
    Ok(finish(config, settings))
}

/// A producer that reports a record as written when all replicas in sync have it. It says nothing of itself: the client
/// keeps 20 KiB of statistics per topic, and every destination may have one.
pub(super) fn producer(settings: &ClientSettings) -> Result<ClientConfig, Error> {
    let mut config = common(settings)?;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "120000")
        .set("message.max.bytes", "67108864")
        .set("batch.size", "524288");
    Ok(finish(config, settings))
}

/// The same for records whose loss harms nobody: little memory, and few large requests rather than soon. It writes to few
/// topics, so this is the one that says whether it is connected.
pub(super) fn trace_producer(settings: &ClientSettings) -> Result<ClientConfig, Error> {
    let mut config = producer(settings)?;
    config
        .set("linger.ms", "50")
        .set("statistics.interval.ms", "2000")
        .set("message.timeout.ms", "30000")
        .set("queue.buffering.max.kbytes", "16384")
        .set("queue.buffering.max.messages", "20000");
    Ok(config)
}

/// The context of clients that need no callbacks but the log.
pub(super) fn logging(settings: &ClientSettings) -> Logging {
    Logging::new(&settings.brokers)
}

/// Until every broker has heard of a topic that was just made.
const SPREADING: Duration = Duration::from_secs(5);

/// The oldest and the next offset of a partition. One that has just been made may have no leader for a moment, or be
/// unknown to the broker that is asked.
pub(super) fn watermarks<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    patience: Duration,
) -> KafkaResult<(i64, i64)> {
    let began = Monotonic::now();
    loop {
        let passed = Monotonic::now().since(began);
        match client.fetch_watermarks(topic, partition, patience.saturating_sub(passed)) {
            Err(error) if passed < patience_for(&error).min(patience) => {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// How long an error may last that passes by itself.
fn patience_for(error: &KafkaError) -> Duration {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable) => Duration::MAX,
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => SPREADING,
        Some(_) | None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_win_over_defaults() {
        let mut settings = ClientSettings::new("k:1");
        settings.properties = vec![("session.timeout.ms".to_owned(), "20000".to_owned())];
        let config = consumer(&settings, "g", Some("i")).unwrap();
        assert_eq!(config.get("session.timeout.ms"), Some("20000"));
        assert_eq!(config.get("group.instance.id"), Some("i"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn the_new_protocol_leaves_time_outs_to_the_broker() {
        let mut settings = ClientSettings::new("k:1");
        settings.group_protocol = GroupProtocol::Consumer;
        let config = consumer(&settings, "g", None).unwrap();
        assert_eq!(config.get("group.protocol"), Some("consumer"));
        for name in ["partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"] {
            assert_eq!(config.get(name), None);
        }
    }
}
