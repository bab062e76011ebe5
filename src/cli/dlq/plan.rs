//! Which dead letters a redrive sends, to which destinations, and which it leaves and why. What can be known without
//! their contents is decided here, so that it costs no memory.

use super::again::Unsendable;
use super::book::{Book, Entry, State};
use super::clerk::Clerk;
use super::desk::Desk;
use super::schedule::Schedule;
use crate::cli::{output, pace};
use crate::model::clock::WallMs;
use crate::model::units::Rate;
use crate::pipeline::snapshot::CompiledTarget;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A dead letter that came back so often is not sent again: something is wrong that another try does not mend.
const MAX_REDRIVES: u32 = 3;

/// What is meant.
#[derive(Debug)]
pub(super) struct Meant {
    /// No faster than this, for each destination.
    pub(super) rate: Option<Rate>,
    /// Whatever speaks against it.
    pub(super) force: bool,
    /// Letters are named one by one.
    pub(super) named: bool,
    /// Letters that died later are not part of it.
    pub(super) until: Option<WallMs>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Letters that wait.
    pub(super) matched: usize,
    /// What is sent when; letters by their index in the book.
    pub(super) send: Schedule,
    /// Further dead letters of a delivery that is sent: they are settled with it.
    pub(super) twins: HashMap<usize, Vec<usize>>,
    /// What cannot be sent, by target and reason.
    pub(super) unsendable: BTreeMap<(String, Unsendable), usize>,
    /// Letters whose deliveries arrived since.
    pub(super) already_delivered: usize,
    /// Letters that somebody else is sending right now.
    pub(super) busy: usize,
    /// Targets, `rule/target`, that keep the order of their events, which a redrive gives up.
    ordered: BTreeSet<String>,
}

impl Plan {
    /// Decides for each letter of the book. `clerk` knows who is sending which; without one nobody is.
    pub(super) fn make(desk: &Desk, book: &Book, clerk: Option<&Clerk<'_>>, meant: &Meant, now: WallMs) -> Self {
        let mut plan = Self::default();
        // What becomes of each delivery: the letter that is sent for it, or why none is.
        let mut seen: HashMap<u128, Result<usize, Unsendable>> = HashMap::new();
        let mut chosen: Vec<(usize, Arc<CompiledTarget>)> = Vec::new();
        // The newest first: of several dead letters of one delivery it knows best.
        for (index, entry) in book.entries.iter().enumerate().rev() {
            if meant.until.is_some_and(|until| entry.at.is_some_and(|at| at > until)) {
                continue;
            }
            match entry.state() {
                State::Waiting => {}
                State::Redriven | State::Delivered | State::Discarded if meant.force && meant.named => {}
                State::Redriven | State::Discarded => continue,
                State::Delivered => {
                    plan.already_delivered += 1;
                    continue;
                }
            }
            if clerk.is_some_and(|clerk| clerk.is_busy(entry, now)) {
                plan.busy += 1;
                continue;
            }
            plan.matched += 1;
            let before = entry.delivery.and_then(|id| seen.get(&id)).cloned();
            let refusal = match (before, target(desk, book, entry, meant.force)) {
                (Some(Ok(sent)), _) => {
                    plan.twins.entry(sent).or_default().push(index);
                    continue;
                }
                (Some(Err(refusal)), _) | (None, Err(refusal)) => Err(refusal),
                (None, Ok(target)) => {
                    chosen.push((index, target));
                    Ok(index)
                }
            };
            if let Err(refusal) = &refusal {
                plan.refuse(book, entry, refusal.clone());
            }
            seen.extend(entry.delivery.map(|id| (id, refusal)));
        }
        let names: BTreeSet<_> = chosen.iter().map(|(_, target)| (&target.rule, &target.name)).collect();
        let rules = desk.snapshot.iter().flat_map(|snapshot| &snapshot.resources.rules);
        plan.ordered = rules
            .flat_map(|rule| rule.targets.iter().map(move |target| (rule, target)))
            .filter(|(rule, target)| target.ordering.is_ordered() && names.contains(&(&rule.name, &target.name)))
            .map(|(rule, target)| format!("{}/{}", rule.name, target.name))
            .collect();
        // Sent in the order in which they died.
        for (index, target) in chosen.into_iter().rev() {
            let rate = meant.rate.unwrap_or_else(|| pace::of(&target));
            plan.send.add(target.destination.resource().name.as_str(), rate, index);
        }
        plan
    }

    /// Says where order is given up.
    pub(super) fn tell_order(&self) {
        for target in &self.ordered {
            output::complain(&format!(
                "{target} keeps the order of its events; what is sent again comes after those that went by since"
            ));
        }
    }

    /// Counts a letter that cannot be sent, with the twins that would have been settled with it.
    pub(super) fn refuse(&mut self, book: &Book, entry: &Entry, refusal: Unsendable) {
        let target = book.kind(entry).map_or_else(|| "-".to_owned(), super::book::Kind::target);
        *self.unsendable.entry((target, refusal)).or_default() += 1;
    }

    /// The same by its index.
    pub(super) fn refuse_with_twins(&mut self, book: &Book, index: usize, refusal: &Unsendable) {
        let twins = self.twins.remove(&index).unwrap_or_default();
        for entry in twins.into_iter().chain([index]).filter_map(|index| book.entries.get(index)) {
            self.refuse(book, entry, refusal.clone());
        }
    }

    /// How many cannot be sent.
    pub(super) fn unsendable(&self) -> usize {
        self.unsendable.values().sum()
    }
}

/// Its target as it is today.
fn target(desk: &Desk, book: &Book, entry: &Entry, force: bool) -> Result<Arc<CompiledTarget>, Unsendable> {
    if entry.redrives >= MAX_REDRIVES && !force {
        let message = format!("sent again {} times and died each time; --force sends it once more", entry.redrives);
        return Err(Unsendable::new("REDRIVE_LOOP", message));
    }
    let Some((rule, target, _)) = book.kind(entry).and_then(|kind| kind.target.as_ref()) else {
        let message = "it was never decoded, so no target waits for it; mend the producer and publish it again";
        return Err(Unsendable::new("REDRIVE_UNDECODED", message));
    };
    let found = desk.snapshot.as_ref().and_then(|snapshot| snapshot.target(rule, target)).cloned();
    found.ok_or_else(|| Unsendable::new("TARGET_GONE", format!("rule {rule} has no target {target} any more")))
}
