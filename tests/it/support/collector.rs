//! An OpenTelemetry collector for tests: takes OTLP over HTTP with protobuf, gzip or not, and reads it with the
//! protocol's own types.

use super::api::{Answer, Api, Log, Seen};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

/// Attributes as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// The collector. Ends when dropped.
pub(crate) struct Collector {
    /// The server below it.
    pub(crate) api: Api,
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Self::with(|_| Self::taken())
    }

    /// One that answers as the script says.
    pub(crate) fn with(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self { api: Api::start(script) }
    }

    /// The answer of a collector that took everything: an empty message.
    pub(crate) fn taken() -> Answer {
        Answer::ok().header("content-type", "application/x-protobuf").body("")
    }

    /// The settings that let a replica send everything here, at once.
    pub(crate) fn settings(&self, more: &str) -> String {
        format!(
            "[telemetry]\notlp_endpoint = \"{}\"\ntraces_sample = 1.0\nmetrics_interval = \"1s\"\n{more}\n",
            self.api.url()
        )
    }

    /// All spans that have come.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.api.log(spans)
    }

    /// All log records that have come.
    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        self.api.log(logs)
    }

    /// The names of the metrics that have come.
    pub(crate) fn metrics(&self) -> BTreeSet<String> {
        let read = |log: &Log| {
            let requests = log.requests.iter().filter(|seen| seen.target == "/v1/metrics");
            let resources = requests.flat_map(|seen| read::<ExportMetricsServiceRequest>(seen).resource_metrics);
            let scopes = resources.flat_map(|resource| resource.scope_metrics);
            scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect()
        };
        self.api.log(read)
    }

    /// The attributes of the resource of every request, per path.
    pub(crate) fn resources(&self) -> Vec<(String, Attributes)> {
        let of = |seen: &Seen| {
            let resource = match seen.target.as_str() {
                "/v1/traces" => read::<ExportTraceServiceRequest>(seen).resource_spans.pop()?.resource,
                "/v1/logs" => read::<ExportLogsServiceRequest>(seen).resource_logs.pop()?.resource,
                _ => read::<ExportMetricsServiceRequest>(seen).resource_metrics.pop()?.resource,
            };
            Some((seen.target.clone(), attributes(&resource?.attributes)))
        };
        self.api.log(|log| log.requests.iter().filter_map(of).collect())
    }
}

fn spans(log: &Log) -> Vec<Span> {
    let requests =
        log.requests.iter().filter(|seen| seen.target == "/v1/traces").map(read::<ExportTraceServiceRequest>);
    let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn logs(log: &Log) -> Vec<LogRecord> {
    let requests = log.requests.iter().filter(|seen| seen.target == "/v1/logs").map(read::<ExportLogsServiceRequest>);
    let scopes = requests.flat_map(|request| request.resource_logs).flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

/// A request as the protocol wants it.
///
/// # Panics
/// It is none.
fn read<T: Message + Default>(seen: &Seen) -> T {
    assert_eq!((seen.method.as_str(), seen.header("content-type")), ("POST", "application/x-protobuf"));
    let mut plain = Vec::new();
    match seen.header("content-encoding") {
        "gzip" => drop(GzDecoder::new(&seen.body[..]).read_to_end(&mut plain).expect("gzip")),
        "" => plain.extend_from_slice(&seen.body),
        other => panic!("content-encoding {other}"),
    }
    T::decode(&plain[..]).expect("OTLP")
}

/// Attributes as text.
pub(crate) fn attributes(all: &[KeyValue]) -> Attributes {
    all.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

/// A value as text.
pub(crate) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
