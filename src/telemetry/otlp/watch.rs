//! Watch: whether the collector takes what is sent, said once when it stops and once when it is back; and how much was
//! lost meanwhile.

use super::TARGET;
use crate::model::redact::redact;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// The collector, as its exporters find it.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: String,
    /// What must not be seen in errors: those of an HTTP client quote urls, and a collector may quote what it got.
    secrets: Vec<SecretString>,
    /// The signals that it does not take, and why.
    failing: Mutex<BTreeMap<Signal, String>>,
    /// Spans that wait or are on their way.
    waiting: AtomicUsize,
    /// Spans and log records that were lost since it stopped taking them.
    lost: AtomicU64,
}

/// What a result changes; worth a line.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    /// It has stopped, for this reason.
    Stopped(String),
    /// It takes telemetry again, after so much was lost.
    Back(u64),
}

impl Collector {
    pub(super) fn new(endpoint: &str, secrets: Vec<SecretString>) -> Self {
        Self {
            endpoint: redact(endpoint, &secrets),
            secrets,
            failing: Mutex::default(),
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Takes note of a request with so many spans or records.
    fn note(&self, signal: Signal, result: &OTelSdkResult, count: usize) {
        match self.change(signal, result, count) {
            Change::None => {}
            Change::Stopped(error) => tracing::warn!(
                target: TARGET,
                code = "TELEMETRY_EXPORT",
                endpoint = self.endpoint,
                signal = signal.as_str(),
                error,
                "the collector does not take telemetry; it is dropped until it does, deliveries go on"
            ),
            Change::Back(lost) => {
                tracing::info!(target: TARGET, endpoint = self.endpoint, lost, "the collector takes telemetry again");
            }
        }
    }

    /// A collector that is down fails for every signal: one reason is told once.
    fn change(&self, signal: Signal, result: &OTelSdkResult, count: usize) -> Change {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            // We are ending.
            Err(OTelSdkError::AlreadyShutdown) => Change::None,
            Err(error) => {
                self.lost.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
                let error = redact(&error.to_string(), &self.secrets);
                let told = failing.contains_key(&signal) || failing.values().any(|other| *other == error);
                failing.insert(signal, error.clone());
                if told { Change::None } else { Change::Stopped(error) }
            }
            Ok(()) => {
                let Some(reason) = failing.remove(&signal) else { return Change::None };
                // What failed for the same reason is over, too; there may be nothing to send that would show it.
                failing.retain(|_, other| *other != reason);
                if failing.is_empty() { Change::Back(self.lost.swap(0, Relaxed)) } else { Change::None }
            }
        }
    }
}

/// An exporter whose results are noted.
#[derive(Debug)]
pub struct Watched<E> {
    inner: E,
    signal: Signal,
    collector: Arc<Collector>,
}

impl<E> Watched<E> {
    pub(super) fn new(inner: E, signal: Signal, collector: &Arc<Collector>) -> Self {
        Self { inner, signal, collector: Arc::clone(collector) }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.collector.waiting.fetch_sub(count, Relaxed);
        self.collector.note(self.signal, &result, count);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let result = self.inner.export(batch).await;
        self.collector.note(self.signal, &result, count);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        // Nothing is lost: the next figures hold these.
        self.collector.note(self.signal, &result, 0);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// A processor that drops and counts the spans beyond what may wait.
#[derive(Debug)]
pub(super) struct Counted<P> {
    inner: P,
    limit: usize,
    collector: Arc<Collector>,
}

impl<P> Counted<P> {
    pub(super) fn new(inner: P, limit: usize, collector: &Arc<Collector>) -> Self {
        Self { inner, limit, collector: Arc::clone(collector) }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.collector.waiting.fetch_add(1, Relaxed) < self.limit {
            self.inner.on_end(span);
        } else {
            self.collector.waiting.fetch_sub(1, Relaxed);
            self.collector.lost.fetch_add(1, Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
    use std::sync::mpsc;

    /// An exporter that is stuck until it is let go.
    #[derive(Debug)]
    struct Stuck(Mutex<mpsc::Receiver<()>>);

    impl SpanExporter for Stuck {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            // Fails once the other end is gone.
            self.0.lock().unwrap().recv().ok();
            Ok(())
        }
    }

    #[test]
    fn spans_that_do_not_fit_are_dropped_and_counted_and_nobody_waits() {
        let collector = Arc::new(Collector::new("http://c", Vec::new()));
        let (let_go, stuck) = mpsc::channel();
        let exporter = Watched::new(Stuck(Mutex::new(stuck)), Signal::Traces, &collector);
        let processor = BatchSpanProcessor::builder(exporter).build();
        let provider =
            SdkTracerProvider::builder().with_span_processor(Counted::new(processor, 100, &collector)).build();
        let tracer = provider.tracer("t");
        for _ in 0..10_000 {
            drop(tracer.start("s"));
        }
        assert_eq!((collector.waiting.load(Relaxed), collector.lost.load(Relaxed)), (100, 9_900));
        drop(let_go);
        provider.shutdown().unwrap();
        assert_eq!(collector.waiting.load(Relaxed), 0);
    }

    #[test]
    fn a_collector_that_is_down_is_told_once_for_all_signals() {
        let collector = Collector::new("http://c/path", vec![SecretString::from("path")]);
        let down = || Err(OTelSdkError::InternalFailure("network error".into()));
        let refused = || Err(OTelSdkError::InternalFailure("404 at /path%2F".into()));
        assert_eq!(
            collector.change(Signal::Traces, &down(), 5),
            Change::Stopped("Operation failed: network error".into())
        );
        assert_eq!(collector.change(Signal::Traces, &down(), 5), Change::None);
        assert_eq!(collector.change(Signal::Logs, &down(), 2), Change::None);
        assert_eq!(
            collector.change(Signal::Metrics, &refused(), 0),
            Change::Stopped("Operation failed: 404 at /***%2F".into())
        );
        assert_eq!(collector.change(Signal::Traces, &Ok(()), 1), Change::None);
        assert_eq!(collector.change(Signal::Logs, &Ok(()), 1), Change::None);
        assert_eq!(collector.change(Signal::Metrics, &Ok(()), 0), Change::Back(12));
        assert_eq!(collector.change(Signal::Metrics, &Ok(()), 0), Change::None);
        assert_eq!(collector.change(Signal::Logs, &Err(OTelSdkError::AlreadyShutdown), 1), Change::None);
    }
}
