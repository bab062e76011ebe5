//! The contract: every metric with its names, unit, labels and meaning, and where its value is read.
//!
//! `name` is OpenTelemetry's, `prometheus` what becomes of it at `/metrics`; where a semantic convention of
//! OpenTelemetry names the fact (messaging, HTTP, process), its name and its attributes are used. Other labels are the
//! words of the configuration and of the log. None of them is ever an event id, a URL or a text that an event brings,
//! so the number of series is bounded by the configuration and the partitions.

mod destinations;
mod events;
mod partitions;
mod process;

pub(super) use destinations::REQUEST_DURATION;
pub(super) use events::DELIVERY_LATENCY;

use super::instruments::Sample;
use crate::telemetry::state::Held;
use std::time::Duration;

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its OpenTelemetry name.
    pub name: &'static str,
    /// Its name at `/metrics`; a histogram's series add `_bucket`, `_sum` and `_count`.
    pub prometheus: &'static str,
    /// In UCUM: `s`, `By`, `1`, or what is counted in braces.
    pub unit: &'static str,
    /// Its attributes; at `/metrics` a dot is an underscore.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    /// How it is read.
    pub(super) read: Read,
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As after `# TYPE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Takes a value with the values of the labels, in their order.
type Tell<'t, T> = &'t mut dyn FnMut(T, &[&str]);

#[derive(Debug)]
pub(super) enum Read {
    Count(fn(&Sample, Tell<'_, u64>)),
    Time(fn(&Sample, Tell<'_, f64>)),
    Level(fn(&Sample, Tell<'_, u64>)),
    Ratio(fn(&Sample, Tell<'_, f64>)),
    Recorded(&'static [f64]),
}

impl Metric {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.read {
            Read::Count(_) | Read::Time(_) => Kind::Counter,
            Read::Level(_) | Read::Ratio(_) => Kind::Gauge,
            Read::Recorded(_) => Kind::Histogram,
        }
    }
}

const TARGET: &[&str] = &["rule", "target", "destination"];
const PARTITION: &[&str] = &["source", "topic", "partition"];
const HTTP: &[&str] = &["destination", "http.request.method", "server.address", "server.port"];

/// The states of `tidegate_destination_breaker_state`.
pub const BREAKER_STATES: [&str; 4] = ["closed", "open", "half_open", "incident"];

/// The reasons of `tidegate_destination_held`. Waiting for the rate limit is no hold.
pub const DESTINATION_HOLDS: [&str; 8] =
    ["manual", "gone", "dlq_budget", "overload", "token", "breaker", "incident", "no_share"];

/// The reasons of `tidegate_partition_held`.
pub const PARTITION_HOLDS: [&str; 3] = ["exhausted", "offset_gone", "unreadable"];

/// The states of `tidegate_connection_token_state`.
pub const TOKEN_STATES: [&str; 4] = ["missing", "valid", "expired", "failing"];

/// Metrics that belong together.
#[derive(Debug)]
pub struct Group {
    /// What they tell of.
    pub title: &'static str,
    /// Them.
    pub metrics: &'static [Metric],
}

/// Every metric, in the order of the README.
#[must_use]
pub fn groups() -> [Group; 4] {
    [
        Group { title: "Events and deliveries", metrics: events::METRICS },
        Group { title: "Destinations and connections", metrics: destinations::METRICS },
        Group { title: "Partitions and Kafka", metrics: partitions::METRICS },
        Group { title: "The process", metrics: process::METRICS },
    ]
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    groups().into_iter().flat_map(|group| group.metrics)
}

const fn metric(
    name: &'static str,
    prometheus: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, prometheus, unit, labels, help, read }
}

fn with<'a>(labels: &[&'a str], last: &'a str) -> Vec<&'a str> {
    labels.iter().copied().chain([last]).collect()
}

fn is_held(held: Option<&Held>, reason: &str) -> bool {
    held.is_some_and(|held| held.reason == reason)
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_follow_the_rules_of_both_worlds() {
        let (mut names, mut prometheus) = (BTreeSet::new(), BTreeSet::new());
        for metric in all() {
            assert!(names.insert(metric.name) && prometheus.insert(metric.prometheus), "{} twice", metric.name);
            let dotted = metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_');
            assert!(dotted, "{}", metric.name);
            let mut expected = metric.name.replace('.', "_");
            match metric.unit {
                "s" => expected.push_str("_seconds"),
                "By" => expected.push_str("_bytes"),
                "1" => expected.push_str("_ratio"),
                unit => assert!(unit.starts_with('{') && unit.ends_with('}'), "{}: {unit}", metric.name),
            }
            if metric.kind() == Kind::Counter {
                expected.push_str("_total");
            }
            assert_eq!(metric.prometheus, expected);
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{}", metric.help);
        }
    }

    /// The list as it stands in the README.
    fn listed() -> String {
        let mut text = String::new();
        for group in groups() {
            text += &format!("\n{}:\n\n| metric | labels | what it says |\n|---|---|---|\n", group.title);
            for metric in group.metrics {
                let labels: Vec<String> = metric.labels.iter().map(|label| label.replace('.', "_")).collect();
                let kind = metric.kind().as_str();
                text += &format!("| `{}` {kind} | {} | {} |\n", metric.prometheus, labels.join(", "), metric.help);
            }
        }
        text
    }

    #[test]
    fn the_readme_lists_the_contract() {
        let readme = include_str!("../../../../README.md");
        let listed = listed();
        assert!(readme.contains(&listed), "README.md, \"Watching it\", must list:\n{listed}");
    }

    #[test]
    fn the_dashboard_asks_for_metrics_of_the_contract_only() {
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../../../config/grafana/dashboards/tidegate.json")).unwrap();
        let mut queries = Vec::new();
        expressions(&dashboard, &mut queries);
        assert!(queries.len() > 20, "{queries:?}");
        let mut asked = BTreeSet::new();
        for query in queries {
            for word in query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                if !["tidegate_", "http_client_", "messaging_", "process_"].iter().any(|p| word.starts_with(p)) {
                    continue;
                }
                let is_its = |metric: &&Metric| {
                    let histogram = metric.kind() == Kind::Histogram;
                    let allowed: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
                    word.strip_prefix(metric.prometheus).is_some_and(|suffix| allowed.contains(&suffix))
                };
                let metric = all().find(is_its);
                asked.insert(metric.map_or_else(|| panic!("{word} in {query}"), |metric| metric.name));
            }
        }
        assert!(asked.len() > 20, "{asked:?}");
    }

    fn expressions(json: &serde_json::Value, into: &mut Vec<String>) {
        for (key, value) in json.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) if key == "expr" || key == "query" => into.push(text.to_owned()),
                _ => expressions(value, into),
            }
        }
        json.as_array().into_iter().flatten().for_each(|value| expressions(value, into));
    }

    #[test]
    fn labels_are_of_the_configuration_only() {
        let allowed: BTreeSet<&str> =
            "rule target destination connection source topic partition code class status tier \
            settlement outcome reason state version commit librdkafka http.request.method server.address server.port \
            messaging.system messaging.operation.name"
                .split_whitespace()
                .collect();
        for metric in all() {
            for label in metric.labels {
                assert!(allowed.contains(label), "{}: {label}", metric.name);
            }
        }
    }
}
