//! The text format of Prometheus (exposition format 0.0.4), written line by line as it is read.
//!
//! Not the crates `opentelemetry-prometheus` and `prometheus`: they hold every series three times over before the first
//! byte is there. At 1,000 destinations, which are 78,000 lines, a look took 75 MiB and 220 ms of CPU. Only the
//! histograms come from the SDK, which records them.

use super::contract::{self, Metric, Read};
use super::instruments::Sample;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes all metrics, those without a series left out.
pub(super) fn write(sample: &Sample, recorded: &ResourceMetrics, out: &mut dyn Write) -> io::Result<()> {
    for metric in contract::all() {
        let mut family = Family { metric, out: &mut *out, begun: false, written: Ok(()) };
        match metric.read {
            Read::Count(read) | Read::Level(read) => read(sample, &mut |value, labels| family.series(labels, value)),
            Read::Time(read) | Read::Ratio(read) => read(sample, &mut |value, labels| family.series(labels, value)),
            Read::Recorded(_) => points(recorded, metric.name).for_each(|point| family.histogram(point)),
        }
        family.written?;
    }
    Ok(())
}

fn points<'r>(recorded: &'r ResourceMetrics, name: &str) -> impl Iterator<Item = &'r HistogramDataPoint<f64>> {
    let metrics = recorded.scope_metrics().flat_map(|scope| scope.metrics());
    let found = metrics.filter(move |metric| metric.name() == name).find_map(|metric| match metric.data() {
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => Some(histogram),
        AggregatedMetrics::F64(_) | AggregatedMetrics::U64(_) | AggregatedMetrics::I64(_) => None,
    });
    found.into_iter().flat_map(|histogram| histogram.data_points())
}

/// A metric that is being written.
struct Family<'w> {
    metric: &'static Metric,
    out: &'w mut dyn Write,
    begun: bool,
    /// After an error nothing more is written.
    written: io::Result<()>,
}

type Label<'l> = (&'l str, Cow<'l, str>);

impl Family<'_> {
    fn series(&mut self, values: &[&str], value: impl Display) {
        // A label without a value is left out, which means the same.
        let labels = self.metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(label, value)| (*label, Cow::Borrowed(*value)));
        self.line("", labels, value);
    }

    fn histogram(&mut self, point: &HistogramDataPoint<f64>) {
        let labels = || point.attributes().map(|label| (label.key.as_str(), label.value.as_str()));
        let bounds = point.bounds().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(point.bucket_counts()) {
            below += count;
            self.line("_bucket", labels().chain([("le", Cow::Owned(bound))]), below);
        }
        self.line("_sum", labels(), point.sum());
        self.line("_count", labels(), point.count());
    }

    fn line<'l>(&mut self, suffix: &str, labels: impl Iterator<Item = Label<'l>>, value: impl Display) {
        if self.written.is_ok() {
            self.written = self.try_line(suffix, labels, value);
        }
    }

    fn try_line<'l>(
        &mut self,
        suffix: &str,
        labels: impl Iterator<Item = Label<'l>>,
        value: impl Display,
    ) -> io::Result<()> {
        let Metric { prometheus: name, help, .. } = self.metric;
        let out = &mut *self.out;
        if !self.begun {
            self.begun = true;
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", self.metric.kind().as_str())?;
        }
        out.write_all(name.as_bytes())?;
        out.write_all(suffix.as_bytes())?;
        let mut before: &[u8] = b"{";
        for (label, value) in labels {
            out.write_all(before)?;
            before = b",";
            for (at, part) in label.split('.').enumerate() {
                out.write_all(if at == 0 { b"" } else { b"_" })?;
                out.write_all(part.as_bytes())?;
            }
            out.write_all(b"=\"")?;
            out.write_all(escaped(&value).as_bytes())?;
            out.write_all(b"\"")?;
        }
        if before == b"," {
            out.write_all(b"}")?;
        }
        writeln!(out, " {value}")
    }
}

fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        return Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    }
    Cow::Borrowed(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(metric: &str, write: impl FnOnce(&mut Family<'_>)) -> String {
        let mut text = Vec::new();
        let metric = contract::all().find(|known| known.prometheus == metric).unwrap();
        let mut family = Family { metric, out: &mut text, begun: false, written: Ok(()) };
        write(&mut family);
        family.written.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_series_has_its_labels_and_a_family_one_head() {
        let text = written("tidegate_delivery_latency_seconds", |family| {
            family.series(&["with \"quotes\", \\ and\na line"], 7);
            family.series(&[""], 0.25);
        });
        let (head, lines) = text.split_once("histogram\n").unwrap();
        assert!(head.starts_with("# HELP tidegate_delivery_latency_seconds "), "{head}");
        assert_eq!(
            lines,
            "tidegate_delivery_latency_seconds{destination=\"with \\\"quotes\\\", \\\\ and\\na line\"} 7\n\
             tidegate_delivery_latency_seconds 0.25\n"
        );
        let text = written("http_client_active_requests", |family| family.series(&["d", "POST", "h", "1"], 2));
        assert!(
            text.ends_with(
                "{destination=\"d\",http_request_method=\"POST\",server_address=\"h\",server_port=\"1\"} 2\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_written_after_an_error() {
        struct Broken(usize);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Broken(0);
        let metric = contract::all().next().unwrap();
        let mut family = Family { metric, out: &mut out, begun: false, written: Ok(()) };
        family.series(&[], 1);
        family.series(&[], 2);
        assert!(family.written.is_err());
        assert_eq!(out.0, 1);
    }
}
