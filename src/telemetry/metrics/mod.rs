//! Metrics: [written](Gathered::write) for Prometheus at `/metrics`, and given to the reader of a provider that sends them.
//!
//! [`contract`] lists every metric. What happens often is counted in [`super::figures`], which cost an addition to a
//! word of the worker's own; they, and the [`State`](super::state::State), are read only when somebody looks. The two
//! histograms are the SDK's, bound to their attributes: 27 ns a record where one worker writes, below 200 ns where two do
//! nothing else; unbound ones cost 85 ns and 295 ns.

pub mod contract;
mod instruments;
mod text;

pub use instruments::{Build, Histograms, Measured, Sample, Watched};

use instruments::Latest;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, ManualReader, MeterProviderBuilder, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use std::io::{self, Write};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Series of a metric of the provider, at least, for each target that there is at the start, and at most; what is beyond
/// shares one series that says `otel_metric_overflow`. The SDK makes room for all of them at once, 33 bytes each, and what
/// is written there lies scattered over it: 50,000 for every metric took 100 MiB.
const SERIES: (usize, usize, usize) = (8_000, 6, 57_000);

/// The content type of what [`Gathered::write`] writes.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    recorded: Recorded,
    histograms: Histograms,
    /// Somebody reads all of them from the provider.
    sent: bool,
    latest: OnceLock<Arc<Latest>>,
}

/// Everything that is measured, at one moment, to be written.
#[derive(Debug)]
pub struct Gathered {
    sample: Option<Arc<Sample>>,
    recorded: ResourceMetrics,
}

/// Reads the histograms of the provider.
#[derive(Debug, Clone)]
struct Recorded(Arc<ManualReader>);

/// The metrics, with room for about so many targets; `sends` gives a provider the reader that sends them, and says what it
/// belongs to.
#[must_use]
pub fn provider(targets: usize, sends: Option<impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder>) -> Metrics {
    let (least, each, most) = SERIES;
    let series = targets.saturating_mul(each).saturating_add(least).min(most);
    let recorded = Recorded(Arc::new(ManualReader::builder().build()));
    let builder = SdkMeterProvider::builder().with_reader(recorded.clone());
    let builder = builder.with_view(move |instrument: &Instrument| wide(instrument, series));
    let sent = sends.is_some();
    let provider = match sends {
        Some(sends) => sends(builder).build(),
        None => builder.build(),
    };
    let histograms = Histograms::new(&provider.meter("tidegate"));
    Metrics { provider, recorded, histograms, sent, latest: OnceLock::new() }
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

    /// From now on `watched` is what is measured.
    pub fn watch(&self, watched: Arc<dyn Watched>) {
        let latest = self.latest.get_or_init(|| Arc::new(Latest::new(watched)));
        if self.sent {
            instruments::register(&self.provider.meter("tidegate"), latest);
        }
    }

    /// Looks at everything that is measured. May take a while where there is much.
    ///
    /// # Errors
    /// The metrics have been shut down.
    pub fn gather(&self) -> Result<Gathered, OTelSdkError> {
        let mut recorded = ResourceMetrics::default();
        self.recorded.collect(&mut recorded)?;
        Ok(Gathered { sample: self.latest.get().map(|latest| latest.get()), recorded })
    }

    /// Lets every reader write what it has, and ends them. May block.
    ///
    /// # Errors
    /// A reader could not write.
    pub fn shutdown(&self) -> OTelSdkResult {
        self.provider.shutdown()
    }
}

impl Gathered {
    /// Writes it in the text format of Prometheus, in many small pieces.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.sample {
            Some(sample) => text::write(sample, &self.recorded, out),
            None => Ok(()),
        }
    }
}

impl MetricReader for Recorded {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
