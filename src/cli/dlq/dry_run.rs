//! `tidegate dlq redrive --dry-run`: what would be sent, and nothing is.

use super::again;
use super::book::{Book, Entry};
use super::desk::Desk;
use super::list::CHUNK;
use super::outcome::left;
use super::plan::Plan;
use crate::cli::dry_run::{Request, show};
use crate::cli::{Exit, Failure, Global, Output, output};
use serde::Serialize;

/// What would become of all, for programs.
#[derive(Debug, Serialize)]
struct Sum {
    matched: usize,
    renders: usize,
    unsendable: usize,
    already_delivered: usize,
    dry_run: bool,
    destinations: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    letters: Vec<Request>,
}

/// Tells.
pub(super) fn run(global: &Global, desk: &Desk, book: &Book, mut plan: Plan) -> Result<(), Failure> {
    let mut kept = Vec::new();
    let mut tell = |request: Request| {
        if global.output == Output::Json {
            kept.push(request);
            return Ok(());
        }
        show(global, &request)
    };
    let mut all = plan.send.all();
    all.sort_by_key(|(_, index)| *index);
    let mut renders = Vec::new();
    for chunk in all.chunks(CHUNK) {
        let entries: Vec<&Entry> = chunk.iter().filter_map(|(_, index)| book.entries.get(*index)).collect();
        let letters = desk.letters(book, &entries)?;
        for (destination, index) in chunk {
            let place = book.entries.get(*index).map(|entry| book.position(entry));
            let Some(letter) = letters.iter().find(|letter| Some(&letter.position) == place.as_ref()) else { continue };
            let (id, target) = (desk.id(&letter.position), letter.target());
            let made = match again::check(desk, letter) {
                Ok(ready) => {
                    renders.push((destination.clone(), *index));
                    Ok(ready.request)
                }
                Err(error) => {
                    plan.refuse_with_twins(book, *index, &error);
                    Err((error.code, error.message))
                }
            };
            tell(Request::new(id, target, made))?;
        }
    }
    plan.send.retain(&renders);
    let sum = Sum {
        matched: plan.matched,
        renders: renders.len(),
        unsendable: plan.unsendable(),
        already_delivered: plan.already_delivered,
        dry_run: true,
        destinations: plan.send.paces().map(|(name, _)| name.to_owned()).collect(),
        letters: kept,
    };
    if matches!(global.output, Output::Json | Output::Jsonl) {
        output::print_json(&sum)?;
    } else {
        say(&plan, &sum)?;
    }
    if plan.unsendable.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::No)) }
}

/// The sum for people.
fn say(plan: &Plan, sum: &Sum) -> Result<(), Failure> {
    let mut line = format!(
        "{} {}, {} {} with today's rule",
        sum.matched,
        if sum.matched == 1 { "matches" } else { "match" },
        sum.renders,
        if sum.renders == 1 { "renders" } else { "render" },
    );
    if sum.renders > 0 {
        let to: Vec<_> = plan.send.paces().map(|(name, rate)| format!("{name}, {rate}")).collect();
        line.push_str(&format!(" → {}, about {} s", to.join("; "), plan.send.seconds()));
    }
    output::print_line(&format!("{line}. Nothing sent."))?;
    if sum.already_delivered > 0 {
        output::print_line(&format!("{} more were delivered since", sum.already_delivered))?;
    }
    Ok(left(plan, output::print_line)?)
}
