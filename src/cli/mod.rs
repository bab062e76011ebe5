//! The command line: one file per subcommand. Data goes to standard output, everything else to standard error; tables
//! are for people, JSON is for programs.

mod begun;
pub mod check;
pub mod completions;
pub mod dev;
mod dev_api;
pub mod dlq;
mod dry_run;
pub mod eval;
mod events;
pub mod explain;
pub mod faults;
pub mod health;
pub mod hold;
pub mod import;
mod outcomes;
pub mod output;
mod pace;
mod progress;
pub mod publish;
pub mod replay;
mod replicas;
pub mod run;
pub mod schema;
mod setup;
mod since;
pub mod status;
pub mod tail;
mod tools;
pub mod trace;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Gets events out of Kafka and into other people's APIs: rules, rate limits, retries, dead letters, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    /// Print every setting with its value and where it comes from, secrets masked, and exit.
    #[arg(long)]
    print_config: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// The flags of all commands stand together in the help, after those of the command.
const GLOBAL: &str = "Global options";

/// What every subcommand understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Settings file (TOML); may be given several times, later ones win.
    #[arg(short, long = "config", value_name = "FILE", global = true, help_heading = GLOBAL)]
    config: Vec<PathBuf>,
    /// Resource file or folder; may be given several times. Replaces `resources.paths`.
    #[arg(short, long = "resources", value_name = "PATH", global = true, help_heading = GLOBAL)]
    resources: Vec<PathBuf>,
    /// Kafka brokers, HOST:PORT separated by commas. Replaces `kafka.brokers`.
    #[arg(short, long, value_name = "BROKERS", global = true, help_heading = GLOBAL)]
    brokers: Option<String>,
    /// A librdkafka property; may be given several times.
    #[arg(short = 'X', value_name = "PROP=VALUE", global = true, help_heading = GLOBAL)]
    property: Vec<String>,
    /// How data is printed: table, wide (all columns), json, jsonl (a JSON value a line).
    #[arg(short, long, value_enum, hide_possible_values = true, default_value_t = Output::Table, value_name = "FORMAT", global = true, help_heading = GLOBAL)]
    output: Output,
    /// Only data and errors.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    quiet: bool,
    /// More log lines; twice for all.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = GLOBAL)]
    verbose: u8,
    /// Colour on standard output and error: auto, always, never.
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Color::Auto, value_name = "WHEN", global = true, help_heading = GLOBAL)]
    color: Color,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table that fits the terminal.
    Table,
    /// A table with every column, nothing cut.
    Wide,
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Jsonl,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where a person looks, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything on this machine: embedded broker, sample resources, an API that answers, live view.
    Dev(dev::Options),
    /// Join the consumer group and deliver.
    Run,
    /// Check resource files: syntax, references, patterns, templates, rule tests; with --online what they speak to.
    Check(check::Options),
    /// Say per rule whether an event matches and why, and show the request it becomes. Sends nothing without --send.
    Explain(explain::Options),
    /// Write events to a topic, and see on request what becomes of them.
    Publish(publish::Options),
    /// Watch deliveries as they end.
    Tail(tail::Options),
    /// How everything stands: replicas, lag, holds with reason and cure, breakers, rates, retry tiers, dead letters.
    Status(status::Options),
    /// Stop a destination for all replicas; its events wait in Kafka until it is resumed.
    Hold(hold::HoldOptions),
    /// Let a destination go on that is held by hand, gone (410) or over its dead-letter budget; probes an open breaker.
    Resume(hold::ResumeOptions),
    /// What became of one event: matched or why not, every attempt, where it ended, what to do.
    Trace(trace::Options),
    /// Look at dead letters, and send them again.
    Dlq(dlq::Options),
    /// Send past events once more for one rule, without moving the group's offsets.
    Replay(replay::Options),
    /// Answer JSON lines of patterns, targets and answers with verdicts, requests and outcomes; for bulk tests.
    Eval(eval::Options),
    /// Ask the replica on this machine whether work can flow; for the health check of a container.
    Health,
    /// Turn EventBridge rules, connections and API destinations of AWS or Alibaba Cloud into resource files.
    Import(import::Options),
    /// Print the JSON Schema of resource files.
    Schema,
    /// Print shell completions.
    Completions(completions::Options),
}

/// Why a command ends without success. Standard output and error have said what there is to say but for `message`.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: Exit,
    /// For people; printed as `error[…]: …`.
    pub message: String,
}

/// Exit codes (resources.md "The command line").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The answer is no: no match, a failed test, still dead.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Kafka is out of reach.
    Unreachable = 69,
    /// Our own fault.
    Internal = 70,
    /// The settings or resources are wrong.
    Configuration = 78,
}

impl Failure {
    /// A failure that has been explained already.
    #[must_use]
    pub fn silent(code: Exit) -> Self {
        Self { code, message: String::new() }
    }

    /// A failure with its stable code and message.
    #[must_use]
    pub fn new(exit: Exit, code: &str, message: impl std::fmt::Display) -> Self {
        Self { code: exit, message: format!("error[{code}]: {message}") }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Internal, "INTERNAL", format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // Who read the output has seen enough, as `head` does.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::No);
        }
        Self::new(Exit::Internal, "INTERNAL", error)
    }
}

impl From<crate::kafka::Error> for Failure {
    fn from(error: crate::kafka::Error) -> Self {
        let exit = match error.code() {
            "KAFKA_UNREACHABLE" => Exit::Unreachable,
            "KAFKA_SETTINGS" | "KAFKA_TOPIC" | "KAFKA_PORT_TAKEN" => Exit::Configuration,
            _ => Exit::Internal,
        };
        Self::new(exit, error.code(), error)
    }
}

impl From<crate::kafka::SendError> for Failure {
    fn from(error: crate::kafka::SendError) -> Self {
        let away = matches!(error, crate::kafka::SendError::Timeout { .. });
        Self::new(if away { Exit::Unreachable } else { Exit::Internal }, error.code(), error)
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which stream and colour they want.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let choice = match cli.global.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::complain(&failure.message);
            }
            ExitCode::from(match failure.code {
                Exit::No => 1,
                Exit::Usage => 2,
                Exit::Unreachable => 69,
                Exit::Internal => 70,
                Exit::Configuration => 78,
            })
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    if cli.print_config {
        return setup::print_config(global);
    }
    match cli.command {
        Some(Command::Dev(options)) => block_on(dev::run(global, &options)),
        Some(Command::Run) => block_on(run::run(global)),
        Some(Command::Check(options)) => block_on(check::run(global, &options)),
        Some(Command::Explain(options)) => block_on(explain::run(global, &options)),
        Some(Command::Publish(options)) => block_on(publish::run(global, &options)),
        Some(Command::Tail(options)) => block_on(tail::run(global, &options)),
        Some(Command::Status(options)) => block_on(status::run(global, &options)),
        Some(Command::Hold(options)) => block_on(hold::hold(global, &options)),
        Some(Command::Resume(options)) => block_on(hold::resume(global, &options)),
        Some(Command::Trace(options)) => block_on(trace::run(global, &options)),
        Some(Command::Dlq(options)) => block_on(dlq::run(global, &options)),
        Some(Command::Replay(options)) => block_on(replay::run(global, &options)),
        Some(Command::Eval(options)) => eval::run(global, &options),
        Some(Command::Health) => health::health(global),
        Some(Command::Import(options)) => import::run(global, &options),
        Some(Command::Schema) => schema::run(),
        Some(Command::Completions(options)) => completions::run(&options),
        None => Err(Failure::new(Exit::Usage, "USAGE", "say what to do; `tidegate --help` lists the commands")),
    }
}

/// The small runtime beside the workers: admin, reload, signals, tools.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(work);
    // Who was told to stop at once must not wait for a drain that is still going on.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_and_commands_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn filters_may_stand_before_or_after_the_command() {
        for arguments in ["dlq --code X list", "dlq list --code X", "dlq --code X", "dlq redrive --yes --code X"] {
            let words = std::iter::once("tidegate").chain(arguments.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{arguments}");
        }
        for arguments in ["publish --type t", "publish f --type t --to s", "explain", "dlq redrive --yes --dry-run"] {
            let words = std::iter::once("tidegate").chain(arguments.split(' '));
            assert_eq!(Cli::try_parse_from(words).expect_err("refused").exit_code(), 2, "{arguments}");
        }
    }
}
