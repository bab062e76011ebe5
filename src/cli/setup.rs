//! From the command line to settings, a Kafka client and resources; what every subcommand begins with.

use super::{Exit, Failure, Global, faults};
use crate::app;
use crate::config::settings::{self, LogFormat, Override, Settings};
use crate::config::{self, Env};
use crate::destinations::tls::Roots;
use crate::kafka::ClientSettings;
use crate::model::fault::Fault;
use crate::model::resources::{PatternLimits, Resources};
use crate::pipeline::handing::DEAD_LETTERS;
use crate::pipeline::snapshot::Snapshot;
use crate::telemetry::log;
use crate::telemetry::otlp::Otlp;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a tool waits for Kafka to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Settings, with logging installed.
pub(super) fn settings(global: &Global, env: &Env) -> Result<Arc<Settings>, Failure> {
    let (settings, _) = load(global, env)?;
    install_log(global, env, &settings, None, None)?;
    Ok(Arc::new(settings))
}

/// Settings of `run`, with logging installed and telemetry begun, if it goes anywhere.
pub(super) fn run_settings(global: &Global, env: &Env) -> Result<(Arc<Settings>, Option<Otlp>), Failure> {
    serving(global, env, None)
}

/// Settings of a command that answers and ends: it logs warnings only, for its errors say what Kafka's client logged.
pub(super) fn tool_settings(global: &Global, env: &Env) -> Result<Arc<Settings>, Failure> {
    let (settings, _) = load(global, env)?;
    install_log(global, env, &settings, Some("warn,librdkafka=off"), None)?;
    Ok(Arc::new(settings))
}

/// Settings of `dev`, whose live view shows dead letters already.
pub(super) fn dev_settings(global: &Global, env: &Env) -> Result<(Arc<Settings>, Option<Otlp>), Failure> {
    serving(global, env, Some(&format!("info,{DEAD_LETTERS}=off")))
}

fn serving(global: &Global, env: &Env, level: Option<&str>) -> Result<(Arc<Settings>, Option<Otlp>), Failure> {
    let (settings, _) = load(global, env)?;
    let otlp = Otlp::start(&settings.telemetry, settings.kafka.instance_id.as_deref())
        .map_err(|error| Failure::new(Exit::Configuration, error.code(), error))?;
    install_log(global, env, &settings, level, otlp.as_ref())?;
    Ok((Arc::new(settings), otlp))
}

fn install_log(
    global: &Global,
    env: &Env,
    settings: &Settings,
    level: Option<&str>,
    otlp: Option<&Otlp>,
) -> Result<(), Failure> {
    let format = match settings.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => level.unwrap_or(&settings.log.level),
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let color = match global.color {
        super::Color::Auto => std::io::stderr().is_terminal() && env.get("NO_COLOR").is_none_or(str::is_empty),
        super::Color::Always => true,
        super::Color::Never => false,
    };
    log::install(level, format, color, otlp).map_err(|e| Failure::new(Exit::Configuration, "CONFIG_VALUE", e))
}

/// `--print-config`.
pub(super) fn print_config(global: &Global) -> Result<(), Failure> {
    let (_, raw) = load(global, &Env::process())?;
    Ok(super::output::print_bytes(raw.print().as_bytes())?)
}

fn load(global: &Global, env: &Env) -> Result<(Settings, settings::RawSettings), Failure> {
    let mut overrides = Vec::new();
    if let Some(brokers) = &global.brokers {
        overrides.push(flag("kafka.brokers", brokers, "--brokers"));
    }
    for property in &global.property {
        let Some((name, value)) = property.split_once('=') else {
            let message = format!("-X {property}: write -X PROPERTY=VALUE, e.g. -X security.protocol=SASL_SSL");
            return Err(Failure::new(Exit::Usage, "USAGE", message));
        };
        overrides.push(flag(&format!("kafka.properties.{name}"), value, "-X"));
    }
    settings::load(&global.config, env, &overrides).map_err(|found| refused(&found))
}

fn flag(key: &str, value: &str, flag: &str) -> Override {
    Override { key: key.to_owned(), value: value.to_owned(), flag: flag.to_owned() }
}

/// Where the resources are: `-r`, else the settings.
pub(super) fn resource_paths(global: &Global, settings: &Settings) -> Vec<PathBuf> {
    if global.resources.is_empty() { settings.resources.paths.clone() } else { global.resources.clone() }
}

/// Loads resources and prints their warnings.
pub(super) fn resources(
    global: &Global,
    settings: &Settings,
    env: &Env,
    paths: &[PathBuf],
) -> Result<config::Loaded, Failure> {
    let loaded = config::load(paths, &context(settings, env)).map_err(|found| refused(&found))?;
    if !global.quiet {
        tell(&loaded.warnings);
    }
    Ok(loaded)
}

/// What patterns may cost, for a pattern among the arguments.
pub(super) fn pattern_limits(global: &Global) -> Result<PatternLimits, Failure> {
    load(global, &Env::process()).map(|(settings, _)| settings.pattern)
}

/// What loading resources needs.
pub(super) fn context(settings: &Settings, env: &Env) -> config::Context {
    config::Context {
        env: env.clone(),
        dead_letter_topic: settings.dead_letter.topic.as_str().into(),
        pattern_limits: settings.pattern,
        lenient: false,
    }
}

/// A snapshot for looking at, which sends nothing.
pub(super) fn snapshot(resources: Resources) -> Result<Snapshot, Failure> {
    let compiled = Snapshot::compile(resources, &Roots::default(), None);
    compiled.map(|(snapshot, _)| snapshot).map_err(|found| refused(&found))
}

/// The Kafka client's settings, once a broker has answered.
pub(super) async fn client(settings: &Settings) -> Result<ClientSettings, Failure> {
    let client = app::client_settings(settings);
    let asked = client.clone();
    let answer = tokio::task::spawn_blocking(move || crate::kafka::ping(&asked, PATIENCE)).await;
    answer.map_err(|error| Failure::new(Exit::Internal, "INTERNAL", error))??;
    Ok(client)
}

/// Prints faults for people on standard error; nothing is left to do when that is closed.
pub(super) fn tell(found: &[Fault]) {
    drop(faults::print(&mut anstream::stderr().lock(), found, true));
}

/// The same for faults of a text that came with a flag.
pub(super) fn tell_of(found: &[Fault], text: &str) {
    drop(faults::print_of(&mut anstream::stderr().lock(), found, text));
}

/// Prints faults and fails as a configuration that cannot be used.
pub(super) fn refused(found: &[Fault]) -> Failure {
    tell(found);
    Failure::silent(Exit::Configuration)
}

/// Fails as the application does.
pub(super) fn app_failure(error: app::Error) -> Failure {
    match error {
        app::Error::Kafka(error) => error.into(),
        app::Error::Resources(found) => refused(&found),
        app::Error::System { .. } => Failure::new(Exit::Configuration, "SYSTEM", error),
    }
}
