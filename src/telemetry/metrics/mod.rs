//! Metrics: one provider, read by Prometheus at `/metrics` and by whatever other readers are given to it.
//!
//! [`contract`] lists every metric. What happens often is counted in [`super::figures`], which cost an addition to a
//! word of the worker's own; instruments read them, and the [`State`](super::state::State), only when somebody
//! collects. The two histograms are the SDK's, bound to their attributes: 27 ns a record where one worker writes, below
//! 200 ns where two do nothing else; unbound ones cost 85 ns and 295 ns.

pub mod contract;
mod instruments;

pub use instruments::{Build, Histograms, Measured, Sample, Watched};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::{Instrument, MeterProviderBuilder, SdkMeterProvider, Stream};
use prometheus::{Encoder as _, Registry, TextEncoder};
use std::sync::Arc;

/// Series of a metric in one process, at least, for each target that there is at the start, and at most; what is beyond
/// shares one series that says `otel_metric_overflow`. The SDK makes room for all of them at once, 33 bytes each, and what
/// is written there lies scattered over it: 50,000 for every metric took 100 MiB.
const SERIES: (usize, usize, usize) = (8_000, 6, 57_000);

/// The content type of [`Metrics::text`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
    histograms: Histograms,
}

/// A provider that Prometheus reads, with room for about so many targets; `add` may give it more readers and say what it
/// belongs to.
///
/// # Errors
/// The SDK refuses to build it.
pub fn provider(
    targets: usize,
    add: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
) -> Result<Metrics, OTelSdkError> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        // They would say the same on each line.
        .scope_info_enabled(false)
        .without_target_info()
        .build()?;
    let (least, each, most) = SERIES;
    let series = targets.saturating_mul(each).saturating_add(least).min(most);
    let builder = SdkMeterProvider::builder().with_reader(exporter);
    let provider = add(builder.with_view(move |instrument: &Instrument| wide(instrument, series))).build();
    let histograms = Histograms::new(&provider.meter("tidegate"));
    Ok(Metrics { provider, registry, histograms })
}

/// Room for so many series, if the instrument has more than one.
fn wide(instrument: &Instrument, series: usize) -> Option<Stream> {
    let metric = contract::all().find(|metric| metric.name == instrument.name())?;
    let many = !metric.labels.is_empty();
    many.then(|| Stream::builder().with_cardinality_limit(series).build().ok()).flatten()
}

impl Metrics {
    /// The histograms, to be bound to what they measure.
    #[must_use]
    pub fn histograms(&self) -> &Histograms {
        &self.histograms
    }

    /// From now on every collection looks at `watched`.
    pub fn watch(&self, watched: Arc<dyn Watched>) {
        instruments::register(&self.provider.meter("tidegate"), watched);
    }

    /// All metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// What was gathered cannot be written, which is a defect.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Lets every reader write what it has, and ends them. May block.
    ///
    /// # Errors
    /// A reader could not write.
    pub fn shutdown(&self) -> OTelSdkResult {
        self.provider.shutdown()
    }
}
