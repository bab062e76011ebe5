//! Where log lines go: standard error, as text for people or JSON for programs, and a collector if there is one.

use super::otlp::{Otlp, TARGET};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What libraries say is kept at warnings, unless `log.level` names them: librdkafka floods when a broker is down. What
/// the exporters say is off, for `otlp::watch` says it once.
const QUIET: &str = "librdkafka=warn,rdkafka=warn,hyper=warn,h2=warn,reqwest=warn,rustls=warn,opentelemetry=off";

/// Begins of the targets whose lines are never sent to the collector, for sending may cause them.
const NOT_SENT: [&str; 6] = ["hyper", "h2", "reqwest", "rustls", "opentelemetry", TARGET];

/// Installs the logger of the process. `level` is a filter such as `info` or `tidegate=debug`. A second call changes
/// nothing.
///
/// # Errors
/// The filter cannot be read.
pub fn install(level: &str, format: Format, color: bool, otlp: Option<&Otlp>) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|e| format!("`log.level` {level}: {e}; write info, debug or tidegate=debug"))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(color);
    let lines = match format {
        Format::Text => lines.with_target(false).boxed(),
        // A rule's target is a field of many lines, and a key can stand there once.
        Format::Json => lines.json().with_target(false).flatten_event(true).with_current_span(false).boxed(),
    };
    let sent = otlp.and_then(Otlp::logs).map(|logs| Sent(OpenTelemetryTracingBridge::new(logs)));
    // A logger that is there already belongs to a test or to the program that embeds us.
    drop(registry().with(lines).with(sent).with(filter).try_init());
    Ok(())
}

/// Hands on what may be sent. Not a filter per layer: those forget to look at an event that follows a record of the
/// crate `log` which they have refused.
struct Sent<L>(L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Sent<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !NOT_SENT.iter().any(|target| event.metadata().target().starts_with(target)) {
            self.0.on_event(event, context);
        }
    }
}
