//! The section `[telemetry]`.

use super::check::Reader;
use super::raw::HEADERS;
use super::{Signals, TelemetrySettings};
use crate::config::resources::{base_url, header_name};
use crate::model::text::Text;
use secrecy::SecretString;
use std::time::Duration;

/// Bounds of `metrics_interval`.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// What `signals` may list.
const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];

impl Reader<'_> {
    pub(super) fn telemetry(&mut self) -> Option<TelemetrySettings> {
        let endpoint = self.otlp_endpoint();
        let headers = self.otlp_headers();
        let signals = self.signals();
        let fits = |text: &str| !text.trim().is_empty();
        let service_name = self.matching("telemetry.service_name", "a name", "tidegate", fits);
        let traces_sample = self.share("telemetry.traces_sample");
        let metrics_interval = self.metrics_interval();
        Some(TelemetrySettings {
            otlp_endpoint: endpoint.clone()?.map(|(url, _)| url),
            hidden: endpoint?.map(|(_, hidden)| hidden).unwrap_or_default(),
            otlp_headers: headers?,
            signals: signals?,
            service_name: service_name?,
            traces_sample: traces_sample?,
            metrics_interval: metrics_interval?,
        })
    }

    #[expect(clippy::option_option, reason = "wrong, off, or a url")]
    fn otlp_endpoint(&mut self) -> Option<Option<(String, Vec<SecretString>)>> {
        let key = "telemetry.otlp_endpoint";
        let (text, hidden) = self.url(key)?;
        if text.is_empty() {
            return Some(None);
        }
        match base_url(&text) {
            Ok(_) => Some(Some((text.trim_end_matches('/').to_owned(), hidden))),
            Err((message, cure)) => self.wrong(key, &format!("is wrong: {message}"), cure),
        }
    }

    fn otlp_headers(&mut self) -> Option<Vec<(String, Text)>> {
        let headers = self.named(HEADERS, |name| {
            let (message, cure) = header_name(&name.to_ascii_lowercase(), &[])?;
            Some((format!("cannot be used: {message}"), cure))
        })?;
        Some(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }

    fn signals(&mut self) -> Option<Signals> {
        let key = "telemetry.signals";
        let written = self.list(key)?;
        if let Some(unknown) = written.iter().find(|signal| !SIGNALS.contains(&signal.as_str())) {
            let cure = "write [\"traces\", \"metrics\", \"logs\"], or some of them".to_owned();
            return self.wrong(key, &format!("has no signal `{unknown}`"), cure);
        }
        let has = |signal: &str| written.iter().any(|written| written == signal);
        Some(Signals { traces: has("traces"), metrics: has("metrics"), logs: has("logs") })
    }

    fn metrics_interval(&mut self) -> Option<Duration> {
        let key = "telemetry.metrics_interval";
        let interval = self.duration(key)?;
        if INTERVAL.contains(&interval) {
            return Some(interval);
        }
        self.wrong(key, "must be from 1s to 1h", "write \"60s\"".to_owned())
    }
}
