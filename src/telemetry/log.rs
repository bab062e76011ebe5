//! Where log lines go: standard error, as text for people or JSON for programs.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Installs the logger of the process. `level` is a filter such as `info` or `tidegate=debug`; librdkafka is kept at
/// warnings, for it floods when a broker is down. A second call changes nothing.
///
/// # Errors
/// The filter cannot be read.
pub fn install(level: &str, format: Format, color: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("librdkafka=warn,rdkafka=warn,hyper=warn,{level}"))
        .map_err(|e| format!("`log.level` {level}: {e}; write info, debug or tidegate=debug"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    let installed = match format {
        Format::Text => lines.with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // A logger that is there already belongs to a test or to the program that embeds us.
    drop(installed);
    Ok(())
}
