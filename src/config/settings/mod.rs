//! The process settings: `config/tidegate.toml` (built in) < files < environment < flags, checked.
//!
//! [`RawSettings`] is what was written and where; [`Settings`] is what it means, with durations, sizes and addresses
//! read and checked against each other. All faults are told at once.

mod check;
mod raw;
mod telemetry;

pub use raw::{Origin, Override, RawSettings};

use super::env::Env;
use crate::model::fault::Fault;
use crate::model::redact::redact;
use crate::model::resources::PatternLimits;
use crate::model::text::Text;
use secrecy::SecretString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Checked settings. `config/tidegate.toml` says what each is for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Brokers, group, properties.
    pub kafka: KafkaSettings,
    /// Where resources are.
    pub resources: ResourceSettings,
    /// Limits and deadlines.
    pub delivery: DeliverySettings,
    /// What event patterns may cost.
    pub pattern: PatternLimits,
    /// The default topic for dead letters.
    pub dead_letter: DeadLetterSettings,
    /// What is told about events.
    pub trace: TraceSettings,
    /// Where the admin server listens; `None` is off.
    pub admin_listen: Option<SocketAddr>,
    /// What is told to an OpenTelemetry collector.
    pub telemetry: TelemetrySettings,
    /// How it logs.
    pub log: LogSettings,
}

/// How Kafka is reached.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Where the brokers were named, for messages: a file, a variable, a flag.
    pub brokers_origin: String,
    /// Begins the names of groups.
    pub group: String,
    /// Begins the names of our topics.
    pub prefix: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Which rebalance protocol.
    pub group_protocol: GroupProtocol,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`.
    pub max_poll_interval: Duration,
    /// Of our own topics; `None` is the broker's default.
    pub replication_factor: Option<u16>,
    /// Further properties of librdkafka, in order of name.
    pub properties: Vec<(String, Text)>,
}

/// The rebalance protocol of consumer groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// Members assign partitions among themselves, cooperatively; all brokers know it.
    #[default]
    Classic,
    /// The broker assigns (KIP-848); time-outs of the session are the broker's.
    Consumer,
}

/// Where resources are.
#[derive(Debug, Clone)]
pub struct ResourceSettings {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// Load them again when they change.
    pub watch: bool,
}

/// Limits and deadlines of delivery.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Wait for requests in flight when a partition is lost or the process stops.
    pub drain_timeout: Duration,
    /// Records per partition beyond the first unsettled one.
    pub window_records: usize,
    /// The same in bytes.
    pub window_bytes: u64,
    /// For all partitions together, in bytes.
    pub memory_budget_bytes: u64,
    /// Largest record read, in bytes.
    pub max_event_bytes: u64,
    /// Between two commits.
    pub commit_interval: Duration,
    /// Save a map of what is complete above the committed offset.
    pub commit_map: bool,
    /// Worker threads, at least 1.
    pub workers: usize,
}

/// Dead letters that no destination or target sends elsewhere.
#[derive(Debug, Clone)]
pub struct DeadLetterSettings {
    /// The topic.
    pub topic: String,
    /// Of topics that are created.
    pub partitions: u16,
    /// Of topics that are created.
    pub retention: Duration,
}

/// The trace topic.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Written at all.
    pub enabled: bool,
    /// Which outcomes.
    pub outcomes: TraceOutcomes,
    /// Share of plain deliveries that [`TraceOutcomes::Sample`] traces, 0 to 1.
    pub sample: f64,
    /// Of the topic, when it is created.
    pub partitions: u16,
    /// Of the topic, when it is created.
    pub retention: Duration,
}

/// Which outcomes are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceOutcomes {
    /// All.
    All,
    /// All but plain deliveries.
    Failures,
    /// All but plain deliveries, and a share of those.
    Sample,
}

/// What is told to an OpenTelemetry collector.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// Base url of the collector, without a slash at the end; `None` is off. OTLP's paths (`/v1/traces`, …) are
    /// appended.
    pub otlp_endpoint: Option<String>,
    /// What references gave for its path; people see `***`.
    pub hidden: Vec<SecretString>,
    /// Headers of every request; names in lower case.
    pub otlp_headers: Vec<(String, Text)>,
    /// What is sent.
    pub signals: Signals,
    /// `service.name`.
    pub service_name: String,
    /// Share of the events whose trace begins here that is sampled, 0 to 1.
    pub traces_sample: f64,
    /// Between two exports of metrics.
    pub metrics_interval: Duration,
}

/// The endpoint is shown without what is hidden.
impl fmt::Debug for TelemetrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetrySettings")
            .field("otlp_endpoint", &self.otlp_endpoint.as_deref().map(|url| redact(url, &self.hidden)))
            .field("otlp_headers", &self.otlp_headers)
            .field("signals", &self.signals)
            .field("service_name", &self.service_name)
            .field("traces_sample", &self.traces_sample)
            .field("metrics_interval", &self.metrics_interval)
            .finish_non_exhaustive()
    }
}

/// What is sent to a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// Spans.
    pub traces: bool,
    /// Metrics.
    pub metrics: bool,
    /// Log records.
    pub logs: bool,
}

/// How it logs.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Lines for people or for programs.
    pub format: LogFormat,
    /// A filter of `tracing`.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object to a line.
    Json,
}

/// Reads and checks the settings. `files` in rising precedence.
///
/// # Errors
/// All faults at once; those in files have a place, others name the variable or flag.
pub fn load(files: &[PathBuf], env: &Env, overrides: &[Override]) -> Result<(Settings, RawSettings), Vec<Fault>> {
    let mut faults = Vec::new();
    let raw = RawSettings::merge(files, env, overrides, &mut faults);
    let settings = check::check(&raw, env, &mut faults);
    match settings {
        Some(settings) if faults.is_empty() => Ok((settings, raw)),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests;
