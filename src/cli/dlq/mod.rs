//! `tidegate dlq`: dead letters: what waits and why, and sending it again.

mod desk;
mod export;
mod filter;
mod list;
mod redrive;
mod show;

use super::{Failure, Global, setup};
use crate::cli::status::DeadLetters;
use crate::model::clock::WallMs;
use clap::{Args, Subcommand};
use desk::{Desk, Rules};
use std::collections::BTreeMap;

/// Options of `dlq`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: filter::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What waits, by target and code; with -o wide, json or jsonl each dead letter. The default.
    List,
    /// One dead letter: the event, what was sent, and whether today's rule would do better.
    Show(show::Options),
    /// Send dead letters again, to the same target, rendered with today's rule.
    Redrive(redrive::Options),
    /// Each dead letter as a line of JSON: key, value and headers, all of it.
    Export,
}

/// How many wait.
pub(super) async fn waiting(global: &Global) -> Result<DeadLetters, Failure> {
    let desk = Desk::open(global, Rules::Helpful).await?;
    let mut letters = desk.letters(&filter::Filter::default(), false)?;
    letters.retain(|letter| letter.state == desk::State::Waiting);
    let mut by_target = BTreeMap::new();
    for letter in &letters {
        *by_target.entry(letter.target()).or_default() += 1;
    }
    let oldest = letters.iter().filter_map(|letter| letter.at).min().map(WallMs::rfc3339);
    Ok(DeadLetters { waiting: letters.len(), oldest, by_target })
}

/// Runs a subcommand.
///
/// # Errors
/// Kafka is out of reach; the flags or resources are wrong; something is still dead.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let limits = setup::pattern_limits(global)?;
    let filter = filter::Filter::new(&options.filter, limits)?;
    match &options.command {
        None | Some(Command::List) => list::run(global, &Desk::open(global, Rules::Helpful).await?, &filter),
        Some(Command::Show(options)) => show::run(global, &Desk::open(global, Rules::Helpful).await?, options).await,
        Some(Command::Redrive(options)) => redrive::run(global, options, &filter).await,
        Some(Command::Export) => export::run(&Desk::open(global, Rules::Helpful).await?, &filter),
    }
}
