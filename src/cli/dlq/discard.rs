//! `tidegate dlq discard`: somebody decides that dead letters shall not be sent. They are marked so in the ledger, with
//! the reason, and nothing is deleted; `redrive ID --force` sends one all the same.

use super::book::{Asked, Entry, State};
use super::clerk::Clerk;
use super::desk::{Desk, Rules};
use super::filter::Filter;
use crate::cli::progress::{Progress, done_of};
use crate::cli::{Exit, Failure, Global, Output, output};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::record::Position;
use crate::pipeline::settle::Done;
use clap::Args;
use futures_util::future::try_join_all;
use serde::Serialize;
use std::collections::BTreeMap;

/// Marks on their way at once.
const BATCH: usize = 500;

/// Options of `dlq discard`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these letters.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Say what would be discarded, and discard nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Discard.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct Sum {
    discarded: usize,
    busy: usize,
    dry_run: bool,
}

/// Discards what waits.
pub(super) async fn run(global: &Global, options: &Options, filter: &Filter) -> Result<(), Failure> {
    if !options.dry_run && !options.yes {
        let message = "nobody will send what is discarded; see with --dry-run what it is, then say --yes";
        return Err(Failure::new(Exit::Usage, "DISCARD_CONFIRM", message));
    }
    if options.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "USAGE", "--reason: say why, for whoever looks later"));
    }
    let desk = Desk::open(global, Rules::Helpful).await?;
    let book = desk.book(filter, &options.ids, Asked::Waiting)?;
    let clerk = Clerk::new(&desk, "discard")?;
    let now = WallMs::now();
    let waits = |entry: &&Entry| entry.state() == State::Waiting;
    let (busy, meant): (Vec<&Entry>, Vec<&Entry>) =
        book.entries.iter().filter(waits).partition(|entry| clerk.is_busy(entry, now));
    let mut groups: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for entry in &meant {
        if let Some(kind) = book.kind(entry) {
            *groups.entry((kind.target(), &kind.code)).or_default() += 1;
        }
    }
    if !options.dry_run {
        let mut progress = Progress::new(global.quiet, Monotonic::now());
        let (begin, mut done) = (Monotonic::now(), 0);
        for chunk in meant.chunks(BATCH) {
            let places: Vec<Position> = chunk.iter().map(|entry| book.position(entry)).collect();
            let reason = Some(options.reason.as_str());
            try_join_all(places.iter().map(|place| clerk.note(place, Done::Discarded, reason))).await?;
            done += chunk.len();
            let now = Monotonic::now();
            progress.tell(now, || done_of(done, meant.len(), now.since(begin)));
        }
        progress.clear();
    }
    if matches!(global.output, Output::Json | Output::Jsonl) {
        let sum = Sum { discarded: meant.len(), busy: busy.len(), dry_run: options.dry_run };
        return Ok(output::print_json(&sum)?);
    }
    let what = if options.dry_run { "would be discarded" } else { "discarded" };
    for ((target, code), count) in &groups {
        output::print_line(&format!("{count} {what}: {target}  {code}"))?;
    }
    if groups.is_empty() && !global.quiet {
        output::complain("no dead letters wait");
    }
    if !busy.is_empty() {
        output::complain(&format!("{} are being sent by a redrive and are left to it", busy.len()));
    }
    Ok(())
}
