//! The topics that are ours, as they must be (delivery.md "Contracts that outlive a release").

use crate::config::settings::Settings;
use crate::kafka::TopicSpec;
use crate::model::resources::{Destination, Resources};
use crate::model::stored::{SLOTS, Topics};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Room for our headers on top of the largest event (delivery.md "Missing offsets").
pub const HEADER_BYTES: u64 = 64 << 10;

/// How long the topic of states gathers records before it is compacted.
const STATE_SEGMENT: Duration = Duration::from_secs(600);

/// The topics that are ours (delivery.md "Contracts"), every dead-letter topic in use, and perhaps those of the sources.
#[must_use]
pub fn specs(settings: &Settings, resources: &Resources, source_partitions: Option<i32>) -> Vec<TopicSpec> {
    let topics = Topics::new(&settings.kafka.prefix);
    let replication = settings.kafka.replication_factor.map_or(-1, i32::from);
    let max_bytes = settings.delivery.max_event_bytes + HEADER_BYTES;
    let spec = |name: &str, partitions: i32| TopicSpec { replication, ..TopicSpec::new(name, partitions) };
    let exact = |spec: TopicSpec| TopicSpec { exact: true, ..spec };
    let slots = i32::try_from(SLOTS).unwrap_or(i32::MAX);
    let mut specs = vec![exact(spec(&topics.slots(), slots))];
    for (_, tier) in topics.tiers() {
        let tier = spec(&tier, slots).set("max.message.bytes", max_bytes);
        specs.push(exact(tier.set("retention.ms", -1).set("retention.bytes", -1)));
    }
    let of = |name: &str| TopicSpec { name: topics.queue(name).to_string(), ..queue(settings) };
    specs.extend(queued(resources).map(|destination| of(destination.name.as_str())));
    let destinations = resources.destinations.iter().map(|d| &*d.dead_letter_topic);
    let targets = resources.rules.iter().flat_map(|r| &r.targets).filter_map(|t| t.dead_letter_topic.as_deref());
    let dead_letters: BTreeSet<&str> =
        destinations.chain(targets).chain([settings.dead_letter.topic.as_str()]).collect();
    for topic in dead_letters {
        let dead = spec(topic, i32::from(settings.dead_letter.partitions)).set("max.message.bytes", max_bytes);
        specs.push(dead.set("retention.ms", settings.dead_letter.retention.as_millis()));
    }
    let trace = spec(&topics.trace(), i32::from(settings.trace.partitions));
    specs.push(trace.set("retention.ms", settings.trace.retention.as_millis()));
    // One record per replica; segments are closed soon, so that little but the newest is ever read.
    let state = exact(spec(&topics.state(), 1)).set("cleanup.policy", "compact");
    specs.push(state.set("segment.ms", STATE_SEGMENT.as_millis()));
    if let Some(partitions) = source_partitions {
        let wanted: BTreeSet<&str> = resources.sources.iter().flat_map(|s| &s.topics).map(String::as_str).collect();
        specs.extend(wanted.into_iter().map(|topic| spec(topic, partitions)));
    }
    specs
}

/// A destination's queue, whatever its name: one partition, kept until it is emptied.
#[must_use]
pub fn queue(settings: &Settings) -> TopicSpec {
    let replication = settings.kafka.replication_factor.map_or(-1, i32::from);
    let max_bytes = settings.delivery.max_event_bytes + HEADER_BYTES;
    let spec = TopicSpec { replication, exact: true, ..TopicSpec::new("", 1) };
    spec.set("max.message.bytes", max_bytes).set("retention.ms", -1).set("retention.bytes", -1)
}

/// The destinations whose events all go through their queue, which is made before the first of them comes.
pub fn queued(resources: &Resources) -> impl Iterator<Item = &Arc<Destination>> {
    resources.destinations.iter().filter(|destination| destination.is_exact())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Env};

    fn resources(text: &str) -> Resources {
        let context =
            config::Context { env: Env::of([]), dead_letter_topic: "dead".into(), ..config::Context::default() };
        config::resources::read_text("test.yaml", text, &context).resources
    }

    #[test]
    fn every_topic_in_use_is_among_ours_once() {
        let (settings, _) = config::settings::load(&[], &Env::of([]), &[]).unwrap();
        let text = "{kind: source, name: shop, kafka: {topics: [orders]}}
---
{kind: connection, name: c, url: 'https://api.example'}
---
{kind: destination, name: d, connection: c, endpoint: /x, dead_letter: {topic: d.dead}}
---
{kind: rule, name: r, pattern: {}, targets: [{name: a, destination: d}, {name: b, destination: d, dead_letter: {topic: b.dead}}]}";
        let found = specs(&settings, &resources(text), Some(3));
        let names: Vec<&str> = found.iter().map(|spec| spec.name.as_str()).collect();
        let expected = [
            "tidegate.slots",
            "tidegate.retry.10s",
            "tidegate.retry.1m",
            "tidegate.retry.10m",
            "tidegate.retry.1h",
            "tidegate.retry.6h",
            "b.dead",
            "d.dead",
            "tidegate.dlq",
            "tidegate.trace",
            "tidegate.state",
            "orders",
        ];
        assert_eq!(names, expected);
        let exact: Vec<bool> = found.iter().map(|spec| spec.exact).collect();
        assert_eq!(exact, [true, true, true, true, true, true, false, false, false, false, true, false]);
        assert!(!specs(&settings, &resources(text), None).iter().any(|spec| spec.name == "orders"));
    }
}
