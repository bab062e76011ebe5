//! OTLP: traces, metrics and logs to an OpenTelemetry collector, over HTTP with protobuf.
//!
//! Everything here has threads of its own: one per signal that batches and sends, and the one of the HTTP client, which
//! is the blocking one (the other wants a runtime on the exporting thread and panics). A collector that is down, slow or
//! talks nonsense costs what was to be sent to it and one line in the log, see `watch`; the queues are bounded and
//! nobody waits for them.

mod watch;

use super::metrics::Metrics;
use super::spans::Spans;
use crate::config::settings::TelemetrySettings;
use crate::model::redact::redact;
use crate::model::text::Text;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Sampler, SdkTracerProvider};
use reqwest::blocking::Client;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use watch::{Collector, Counted, Signal, Watched};

/// Spans, and log records, that wait for the collector at most; more are dropped and counted.
const QUEUE: usize = 4096;
/// How many go into one request.
const BATCH: usize = 512;
/// How long they are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long the last of it may take when the program ends.
pub const FLUSH: Duration = Duration::from_secs(3);

/// The log target of what is said about the collector; it is not sent there.
pub const TARGET: &str = "tidegate::telemetry";

/// A reader of metrics that sends them.
pub type MetricsReader = PeriodicReader<Watched<MetricExporter>>;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter cannot be built.
    #[error("`telemetry.otlp_endpoint` {endpoint} cannot be used: {source}")]
    Exporter {
        /// The setting.
        endpoint: String,
        /// What is wrong.
        source: ExporterBuildError,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client for `telemetry.otlp_endpoint` cannot be built: {source}")]
    Client {
        /// What is wrong.
        source: reqwest::Error,
    },
    /// The operating system gives no thread.
    #[error("a thread for telemetry cannot be started: {source}")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exporter { .. } => "CONFIG_VALUE",
            Self::Client { .. } | Self::Thread { .. } => "SYSTEM",
        }
    }
}

/// What is sent to a collector. Dropping it sends the rest, for at most [`FLUSH`].
#[derive(Debug)]
pub struct Otlp {
    spans: Option<Arc<Spans>>,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<MetricsReader>,
    /// Whose reader was taken, to be ended with the rest.
    ending: Option<Arc<Metrics>>,
    resource: Resource,
}

impl Otlp {
    /// Begins to send what the settings say; `None` if they name no collector. `instance` is unique among the replicas;
    /// without one it is drawn by lot. The collector need not be there.
    ///
    /// # Errors
    /// The settings cannot be used, or the system is out of threads.
    pub fn start(settings: &TelemetrySettings, instance: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let collector = Arc::new(Collector::new(endpoint, secrets(settings)));
        let make = Exporters {
            endpoint,
            shown: redact(endpoint, &settings.hidden),
            headers: headers(&settings.otlp_headers),
            client: client()?,
        };
        let resource = resource(&settings.service_name, instance);
        let signals = settings.signals;
        let mut otlp =
            Self { spans: None, traces: None, logs: None, metrics: None, ending: None, resource: resource.clone() };
        if signals.traces {
            let provider = tracer_provider(make.spans()?, &collector, &resource);
            otlp.spans = Some(Arc::new(Spans::new(provider.tracer("tidegate"), settings.traces_sample)));
            otlp.traces = Some(provider);
        }
        if signals.logs {
            let exporter = Watched::new(make.logs()?, Signal::Logs, &collector);
            let sizes = logs::BatchConfigBuilder::default()
                .with_max_queue_size(QUEUE)
                .with_max_export_batch_size(BATCH)
                .with_scheduled_delay(GATHER);
            let processor = BatchLogProcessor::builder(exporter).with_batch_config(sizes.build()).build();
            let provider = SdkLoggerProvider::builder().with_log_processor(processor).with_resource(resource);
            otlp.logs = Some(provider.build());
        }
        if signals.metrics {
            let exporter = Watched::new(make.metrics()?, Signal::Metrics, &collector);
            otlp.metrics = Some(PeriodicReader::builder(exporter).with_interval(settings.metrics_interval).build());
        }
        Ok(Some(otlp))
    }

    /// Makes spans, if traces are sent.
    #[must_use]
    pub fn spans(&self) -> Option<Arc<Spans>> {
        self.spans.clone()
    }

    /// Takes log records, if logs are sent.
    #[must_use]
    pub fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.logs.as_ref()
    }

    /// The reader of the metrics, if metrics are sent; there is one.
    #[must_use]
    pub fn take_metrics_reader(&mut self) -> Option<MetricsReader> {
        self.metrics.take()
    }

    /// Sends the rest, and what `metrics` has last; takes at most [`FLUSH`].
    pub fn stop(mut self, metrics: Arc<Metrics>) {
        self.ending = Some(metrics);
    }

    /// Who sends.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        let (traces, logs, metrics) = (self.traces.take(), self.logs.take(), self.ending.take());
        let (done, waiting) = mpsc::channel();
        // A thread of its own, for the time-outs of the exporters do not hold while a request is on its way. At the
        // deadline it is left behind.
        let flush = move || {
            // What fails has been said by the collector's watch, and who waits for the end has perhaps gone on.
            thread::scope(|scope| {
                scope.spawn(|| traces.map(|traces| traces.shutdown_with_timeout(FLUSH)));
                scope.spawn(|| metrics.map(|metrics| metrics.shutdown()));
                scope.spawn(|| logs.map(|logs| logs.shutdown_with_timeout(FLUSH)));
            });
            done.send(()).ok();
        };
        let started = thread::Builder::new().name("telemetry-flush".to_owned()).spawn(flush);
        if started.is_err() || waiting.recv_timeout(FLUSH).is_err() {
            tracing::warn!(target: TARGET, "the last telemetry was not taken in time; it is lost, deliveries are not");
        }
    }
}

/// Makes one exporter per signal.
struct Exporters<'a> {
    endpoint: &'a str,
    /// The endpoint, for people.
    shown: String,
    headers: HashMap<String, String>,
    client: Client,
}

impl Exporters<'_> {
    fn spans(&self) -> Result<SpanExporter, Error> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(self.url("traces"));
        self.built(exporter.with_http_client(self.client.clone()).with_headers(self.headers.clone()), |e| e.build())
    }

    fn logs(&self) -> Result<LogExporter, Error> {
        let exporter = LogExporter::builder().with_http().with_endpoint(self.url("logs"));
        self.built(exporter.with_http_client(self.client.clone()).with_headers(self.headers.clone()), |e| e.build())
    }

    fn metrics(&self) -> Result<MetricExporter, Error> {
        let exporter = MetricExporter::builder().with_http().with_endpoint(self.url("metrics"));
        self.built(exporter.with_http_client(self.client.clone()).with_headers(self.headers.clone()), |e| e.build())
    }

    /// OTLP specification, "Endpoint URLs for OTLP/HTTP": the signal's path below the base url.
    fn url(&self, signal: &str) -> String {
        format!("{}/v1/{signal}", self.endpoint)
    }

    fn built<B: opentelemetry_otlp::WithHttpConfig, E>(
        &self,
        builder: B,
        build: impl FnOnce(B) -> Result<E, ExporterBuildError>,
    ) -> Result<E, Error> {
        build(builder.with_compression(Compression::Gzip))
            .map_err(|source| Error::Exporter { endpoint: self.shown.clone(), source })
    }
}

fn tracer_provider(exporter: SpanExporter, collector: &Arc<Collector>, resource: &Resource) -> SdkTracerProvider {
    let exporter = Watched::new(exporter, Signal::Traces, collector);
    let sizes = trace::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(GATHER);
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(sizes.build()).build();
    SdkTracerProvider::builder()
        // Whoever makes a span has decided already.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(Counted::new(processor, QUEUE, collector))
        .with_resource(resource.clone())
        .build()
}

/// Made on another thread, for the blocking client must not be made on a thread of a runtime.
fn client() -> Result<Client, Error> {
    let build = || {
        Client::builder()
            .timeout(REQUEST)
            // A redirect would take the headers, which may be secret, to somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
    };
    let thread = thread::Builder::new().name("telemetry-client".to_owned()).spawn(build);
    let built = thread.map_err(|source| Error::Thread { source })?.join();
    let gone = || Error::Thread { source: std::io::Error::other("it panicked") };
    built.map_err(|_| gone())?.map_err(|source| Error::Client { source })
}

/// What people must not see of the endpoint and the headers.
fn secrets(settings: &TelemetrySettings) -> Vec<SecretString> {
    let headers = settings.otlp_headers.iter().filter_map(|(_, text)| match text {
        Text::Secret(secret) => Some(secret),
        Text::Plain(_) => None,
    });
    settings.hidden.iter().chain(headers).cloned().collect()
}

/// The headers with their secrets revealed. The exporter decodes percent signs, which it should not.
fn headers(settings: &[(String, Text)]) -> HashMap<String, String> {
    let revealed = |text: &Text| match text {
        Text::Plain(text) => text.replace('%', "%25"),
        Text::Secret(secret) => secret.expose_secret().replace('%', "%25"),
    };
    settings.iter().map(|(name, value)| (name.clone(), revealed(value))).collect()
}

/// Who sends: the settings, and what `OTEL_RESOURCE_ATTRIBUTES` adds.
fn resource(service: &str, instance: Option<&str>) -> Resource {
    let instance = instance.map_or_else(random_id, str::to_owned);
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ])
        .build()
}

/// A random UUID (RFC 9562, version 4), as the conventions recommend.
fn random_id() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::Key;

    #[test]
    fn a_replica_has_a_name_of_its_own() {
        let value = |resource: &Resource, key: &'static str| resource.get(&Key::new(key)).unwrap().to_string();
        let named = resource("gate", Some("gate-0"));
        assert_eq!(
            (value(&named, "service.name"), value(&named, "service.instance.id")),
            ("gate".into(), "gate-0".into())
        );
        let (one, two) = (resource("gate", None), resource("gate", None));
        let (one, two) = (value(&one, "service.instance.id"), value(&two, "service.instance.id"));
        assert_ne!(one, two);
        assert_eq!((one.len(), one.get(14..15), one.matches('-').count()), (36, Some("4"), 4));
    }

    #[test]
    fn secrets_arrive_as_they_are() {
        let text = Text::Secret("a%41b".into());
        assert_eq!(headers(&[("x-key".into(), text)]), HashMap::from([("x-key".into(), "a%2541b".into())]));
    }
}
