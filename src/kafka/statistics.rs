//! What librdkafka tells of itself every few seconds: where the partitions end that it fetches, and whether it is
//! connected.

use super::committer::Shared;
use super::partition::TopicPartition;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// The part of librdkafka's statistics (its STATISTICS.md) that is read.
#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Debug, Deserialize)]
struct Broker {
    state: String,
}

#[derive(Debug, Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    /// Negative until the first answer to a fetch.
    hi_offset: i64,
}

fn read(statistics: &[u8]) -> Option<Statistics> {
    let read = serde_json::from_slice(statistics);
    if let Err(error) = &read {
        tracing::debug!(%error, "statistics of the Kafka client not understood");
    }
    read.ok()
}

/// Whether the client is connected to any broker; `None` if that is not said.
pub(super) fn is_connected(statistics: &[u8]) -> Option<bool> {
    let brokers = read(statistics)?.brokers;
    (!brokers.is_empty()).then(|| brokers.values().any(|broker| broker.state == "UP"))
}

/// Notes where our partitions end.
pub(super) fn take_in(shared: &Shared, statistics: &[u8]) {
    let Some(statistics) = read(statistics) else { return };
    let mut core = shared.core();
    for (topic, Topic { partitions }) in statistics.topics {
        let topic: Arc<str> = Arc::from(topic);
        for (partition, Partition { hi_offset }) in partitions {
            let at = TopicPartition { topic: Arc::clone(&topic), partition };
            if let Some(entry) = core.table.get_mut(&at).filter(|_| hi_offset >= 0) {
                entry.high_watermark = Some(hi_offset);
            }
        }
    }
}

/// The version of librdkafka.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_partition_is_found_among_the_rest() {
        let text = r#"{"name":"rdkafka#consumer-1","ts":1,"topics":{"t":{"topic":"t","age":5,"partitions":{
            "0":{"partition":0,"hi_offset":42,"ls_offset":42,"consumer_lag":-1},
            "-1":{"partition":-1,"hi_offset":-1001}}}},"cgrp":{"state":"up"}}"#;
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.topics["t"].partitions[&0].hi_offset, 42);
        assert_eq!(read.topics["t"].partitions[&-1].hi_offset, -1001);
    }

    #[test]
    fn one_broker_is_enough() {
        let text =
            |a: &str, b: &str| format!(r#"{{"brokers":{{"a":{{"state":"{a}","rxbytes":1}},"b":{{"state":"{b}"}}}}}}"#);
        assert_eq!(is_connected(text("DOWN", "UP").as_bytes()), Some(true));
        assert_eq!(is_connected(text("DOWN", "TRY_CONNECT").as_bytes()), Some(false));
        assert_eq!(is_connected(b"{}"), None);
        assert_eq!(is_connected(b"?"), None);
    }
}
