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

/// Series of one metric in one process; what is beyond shares one series that says `otel_metric_overflow`. Enough for
/// a few thousand targets, and the default of the SDK, 2,000, is not.
const SERIES_MAX: usize = 50_000;

/// The content type of [`Metrics::text`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
    histograms: Histograms,
}

/// A provider that Prometheus reads; `add` may give it more readers and say what it belongs to.
///
/// # Errors
/// The SDK refuses to build it.
pub fn provider(add: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder) -> Result<Metrics, OTelSdkError> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        // They would say the same on each line.
        .scope_info_enabled(false)
        .without_target_info()
        .build()?;
    let provider = add(SdkMeterProvider::builder().with_reader(exporter).with_view(wide)).build();
    let histograms = Histograms::new(&provider.meter("tidegate"));
    Ok(Metrics { provider, registry, histograms })
}

#[allow(clippy::needless_pass_by_ref_mut, reason = "the shape of a view")]
fn wide(_: &Instrument) -> Option<Stream> {
    Stream::builder().with_cardinality_limit(SERIES_MAX).build().ok()
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
