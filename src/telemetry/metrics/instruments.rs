//! From the contract to instruments: observable ones that read a sample, and the two histograms.

use super::contract::{self, Metric, Read};
use crate::model::clock::Monotonic;
use crate::telemetry::figures::Figures;
use crate::telemetry::figures::destination::DestinationFigures;
use crate::telemetry::state::State;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A sample younger than this serves all instruments of a collection, so that they fit together.
const SAMPLE_AGE: Duration = Duration::from_millis(100);

/// What the metrics are read from; filled by the application.
pub trait Watched: Send + Sync + fmt::Debug + 'static {
    /// What it looks like now. Must not wait for anybody.
    fn sample(&self) -> Sample;
}

/// Everything that is measured, at one moment.
#[derive(Debug)]
pub struct Sample {
    /// The moment.
    pub now: Monotonic,
    /// The replica.
    pub state: State,
    /// What was counted so far.
    pub figures: Arc<Figures>,
    /// The destinations in use.
    pub destinations: Vec<Measured>,
    /// Which build this is.
    pub build: Build,
}

/// A destination and its figures.
#[derive(Debug)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Method of its requests.
    pub method: String,
    /// The host it is at.
    pub host: String,
    /// The port there.
    pub port: String,
    /// Its figures.
    pub figures: Arc<DestinationFigures>,
}

/// Which build this is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// Commit it was built from, if the builder told: the variable `TIDEGATE_COMMIT` at build time.
    pub commit: Option<&'static str>,
    /// Compiler it was built with, if the builder told: the variable `TIDEGATE_RUSTC` at build time.
    pub rustc: Option<&'static str>,
    /// Version of the Kafka client.
    pub librdkafka: String,
}

impl Build {
    /// This build, with this Kafka client.
    #[must_use]
    pub fn with(librdkafka: String) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("TIDEGATE_COMMIT"),
            rustc: option_env!("TIDEGATE_RUSTC"),
            librdkafka,
        }
    }
}

/// The histograms that are recorded where things happen.
#[derive(Debug, Clone)]
pub struct Histograms {
    requests: Histogram<f64>,
    latency: Histogram<f64>,
}

impl Histograms {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            requests: histogram(meter, contract::REQUEST_DURATION),
            latency: histogram(meter, contract::DELIVERY_LATENCY),
        }
    }

    /// Has the durations of a destination recorded from now on.
    pub fn bind(&self, to: &Measured) {
        if to.figures.is_bound() {
            return;
        }
        let requests = attributes(contract::REQUEST_DURATION, &[&to.name, &to.method, &to.host, &to.port]);
        let latency = attributes(contract::DELIVERY_LATENCY, &[&to.name]);
        to.figures.bind(self.requests.bind(&requests), self.latency.bind(&latency));
    }
}

fn row(name: &str) -> Option<&'static Metric> {
    contract::all().find(|metric| metric.name == name)
}

fn histogram(meter: &Meter, name: &'static str) -> Histogram<f64> {
    let mut builder = meter.f64_histogram(name);
    if let Some(metric) = row(name) {
        builder = builder.with_unit(metric.unit).with_description(metric.help);
        if let Read::Recorded(bounds) = metric.read {
            builder = builder.with_boundaries(bounds.to_vec());
        }
    }
    builder.build()
}

fn attributes(name: &str, values: &[&str]) -> Vec<KeyValue> {
    row(name).map(|metric| labelled(metric, values)).unwrap_or_default()
}

/// A label without a value is left out, which means the same. The text of each value is shared, for the library keeps
/// several copies of those that are bound.
fn labelled(metric: &Metric, values: &[&str]) -> Vec<KeyValue> {
    let pairs = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
    pairs.map(|(label, value)| KeyValue::new(*label, Arc::<str>::from(*value))).collect()
}

/// One sample for all that ask within a moment.
#[derive(Debug)]
pub(super) struct Latest {
    watched: Arc<dyn Watched>,
    sample: Mutex<Option<Arc<Sample>>>,
}

impl Latest {
    pub(super) fn new(watched: Arc<dyn Watched>) -> Self {
        Self { watched, sample: Mutex::new(None) }
    }

    pub(super) fn get(&self) -> Arc<Sample> {
        let mut latest = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Monotonic::now();
        if let Some(sample) = latest.as_ref().filter(|sample| now.since(sample.now) < SAMPLE_AGE) {
            return Arc::clone(sample);
        }
        let sample = Arc::new(self.watched.sample());
        *latest = Some(Arc::clone(&sample));
        sample
    }
}

/// Makes an instrument of every metric that is not recorded.
pub(super) fn register(meter: &Meter, latest: &Arc<Latest>) {
    for metric in contract::all() {
        let latest = Arc::clone(latest);
        match metric.read {
            Read::Count(read) => drop(
                meter
                    .u64_observable_counter(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        read(&latest.get(), &mut |value, labels| to.observe(value, &labelled(metric, labels)));
                    })
                    .build(),
            ),
            Read::Time(read) => drop(
                meter
                    .f64_observable_counter(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        read(&latest.get(), &mut |value, labels| to.observe(value, &labelled(metric, labels)));
                    })
                    .build(),
            ),
            Read::Level(read) => drop(
                meter
                    .u64_observable_gauge(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        read(&latest.get(), &mut |value, labels| to.observe(value, &labelled(metric, labels)));
                    })
                    .build(),
            ),
            Read::Ratio(read) => drop(
                meter
                    .f64_observable_gauge(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        read(&latest.get(), &mut |value, labels| to.observe(value, &labelled(metric, labels)));
                    })
                    .build(),
            ),
            Read::Recorded(_) => {}
        }
    }
}
