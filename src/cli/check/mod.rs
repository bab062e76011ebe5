//! `tidegate check`: are the resource files right, and do the rules what their tests say? With `--online`: does what
//! they speak to answer?

mod online;

use super::{Exit, Failure, Global, Output, faults, output, setup};
use crate::config::{self, Env};
use crate::destinations::tls::Roots;
use crate::model::fault::Fault;
use crate::pipeline::ordered;
use crate::pipeline::rule_tests;
use crate::pipeline::snapshot::Snapshot;
use clap::Args;
use std::path::PathBuf;

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Options {
    /// Files and folders; without any, those of -r or the settings.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Warnings fail too.
    #[arg(long)]
    strict: bool,
    /// Then ask: brokers, topics, token endpoints, names and TLS of destinations. No event is sent; secrets must be set.
    #[arg(long)]
    online: bool,
}

/// Checks and says what is wrong.
///
/// # Errors
/// Exit 78 if something is wrong, 1 if only tests of rules or what was asked online fail, 69 if Kafka does not answer.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let env = Env::process();
    let settings = setup::settings(global, &env)?;
    let paths = match options.paths.as_slice() {
        [] => setup::resource_paths(global, &settings),
        some => some.to_vec(),
    };
    // Who only reads need not hold the secrets: an unset variable is a warning.
    let context = config::Context { lenient: !options.online, ..setup::context(&settings, &env) };
    let read = config::read(&paths, &context);
    let mut found = read.faults;
    let counts = [
        output::counted(read.resources.connections.len(), "connection"),
        output::counted(read.resources.destinations.len(), "destination"),
        output::counted(read.resources.sources.len(), "source"),
        output::counted(read.resources.rules.len(), "rule"),
    ]
    .join(", ");
    found.extend(ordered::clashes(&settings.kafka.group, &read.resources));
    let mut tests = rule_tests::Ran::default();
    let mut compiled = None;
    match Snapshot::compile(read.resources, &Roots::default(), None) {
        Ok((snapshot, warnings)) => {
            found.extend(warnings);
            tests = rule_tests::run(&snapshot);
            compiled = Some(snapshot);
        }
        Err(faults) => found.extend(faults),
    }
    let failed = tests.failed.len();
    let broken = found.iter().any(|fault| !fault.warning || options.strict);
    found.extend(tests.failed);
    if let (Some(snapshot), true, false) = (&compiled, options.online, broken) {
        // Standard output belongs to what is asked.
        setup::tell(&found);
        online::ask(global, &settings, snapshot, options.strict).await?;
        return verdict(&found, broken, failed);
    }
    match global.output {
        Output::Json | Output::Jsonl => faults::print_json(&mut anstream::stdout().lock(), &found)?,
        Output::Table | Output::Wide => {
            setup::tell(&found);
            if !broken && failed == 0 && !global.quiet {
                output::print_line(&format!("ok: {counts}, {} passed", output::counted(tests.checked, "test")))?;
                for target in compiled.iter().flat_map(Snapshot::ordered) {
                    let (name, ordering) = (&target.name, &target.ordering);
                    let group = target.group(&settings.kafka.group);
                    output::print_line(&format!("in order: {name}, `ordering: {ordering}`, consumer group {group}"))?;
                }
            }
        }
    }
    verdict(&found, broken, failed)
}

fn verdict(found: &[Fault], broken: bool, failed: usize) -> Result<(), Failure> {
    if broken {
        let errors = found.iter().filter(|fault| !fault.warning).count();
        tracing::debug!(errors, "check failed");
        return Err(Failure::silent(Exit::Configuration));
    }
    if failed > 0 { Err(Failure::silent(Exit::No)) } else { Ok(()) }
}
