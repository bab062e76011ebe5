//! `tidegate dlq`: dead letters: what waits and why, and sending it again.
//!
//! Every dead letter is waiting, redriven or discarded, or was delivered after all. Which of them is the ledger, marks in
//! the dead-letter topics themselves ([`crate::pipeline::settle::Mark`]), so that everybody sees the same and Kafka
//! forgets a letter and its marks together. `desk` reads letters and ledger into a `book`, `clerk` writes the ledger,
//! `plan` and `schedule` decide what is sent when, `again` what a letter becomes today. What a redrive was told is kept
//! until it is done (`job`, `begun`).

mod again;
mod book;
mod clerk;
mod desk;
mod discard;
mod dry_run;
mod export;
mod filter;
mod job;
mod list;
mod outcome;
mod plan;
mod redrive;
mod schedule;
mod show;

use super::{Failure, Global, setup};
use crate::cli::status::DeadLetters;
use crate::model::clock::WallMs;
use book::{Asked, Kind, State};
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
    List(list::Options),
    /// One dead letter: the event, what was sent, and whether today's rule would do better.
    Show(show::Options),
    /// Send dead letters again, to the same target, rendered with today's rule; the order of a target in order is given up.
    Redrive(redrive::Options),
    /// Decide that dead letters shall not be sent; they are marked, not deleted.
    Discard(discard::Options),
    /// Each dead letter as a line of JSON: key, value and headers, all of it; or its event, for publish.
    Export(export::Options),
}

/// How many wait.
pub(super) async fn waiting(global: &Global) -> Result<DeadLetters, Failure> {
    let desk = Desk::open(global, Rules::Helpful).await?;
    let book = desk.book(&filter::Filter::default(), &[], Asked::Waiting)?;
    let mut sum = DeadLetters { waiting: 0, oldest: None, by_target: BTreeMap::new() };
    for entry in book.entries.iter().filter(|entry| entry.state() == State::Waiting) {
        sum.waiting += 1;
        sum.oldest = sum.oldest.or_else(|| entry.at.map(WallMs::rfc3339));
        *sum.by_target.entry(book.kind(entry).map_or_else(|| "-".to_owned(), Kind::target)).or_default() += 1;
    }
    Ok(sum)
}

/// Runs a subcommand.
///
/// # Errors
/// Kafka is out of reach; the flags or resources are wrong; something is still dead.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let limits = setup::pattern_limits(global)?;
    let filter = filter::Filter::new(&options.filter, limits)?;
    let desk = || Desk::open(global, Rules::Helpful);
    match &options.command {
        None => list::run(global, &desk().await?, &filter, &list::Options::default()),
        Some(Command::List(options)) => list::run(global, &desk().await?, &filter, options),
        Some(Command::Show(options)) => show::run(global, &desk().await?, options),
        Some(Command::Redrive(redrive)) => redrive::run(global, redrive, &options.filter, filter, limits).await,
        Some(Command::Discard(options)) => discard::run(global, options, &filter).await,
        Some(Command::Export(options)) => export::run(&desk().await?, &filter, options),
    }
}
