//! What came of the events that were produced.

use crate::support::{Bed, Stored, eventually};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The sum of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) produced: usize,
    /// Different events that were answered 2xx.
    pub(crate) delivered: usize,
    /// Answers 2xx beyond the first of an event.
    pub(crate) duplicated: usize,
    /// Different events that are dead letters.
    pub(crate) dead: usize,
    /// Events that are neither.
    pub(crate) lost: usize,
    /// What else was measured.
    pub(crate) notes: String,
}

impl Tally {
    /// The line above all others.
    pub(crate) const HEAD: &str = "fault            produced  delivered  duplicated  dead-lettered  lost  measured";

    /// As a line of the table.
    pub(crate) fn line(&self, name: &str) -> String {
        let Self { produced, delivered, duplicated, dead, lost, notes } = self;
        format!("{name:<16} {produced:>8}  {delivered:>9}  {duplicated:>10}  {dead:>13}  {lost:>4}  {notes}")
    }

    /// Waits until every one of `count` events is accounted for, or `limit` is over.
    pub(crate) fn of(bed: &Bed, count: usize, limit: Duration) -> Self {
        Self::within(bed, 0..count, limit)
    }

    /// The same for the events with these numbers.
    pub(crate) fn within(bed: &Bed, numbers: impl Iterator<Item = usize> + Clone, limit: Duration) -> Self {
        let wanted: BTreeSet<String> = numbers.map(|n| n.to_string()).collect();
        let look = || {
            let delivered: BTreeSet<String> = bed.api.log(|log| log.delivered_events().map(str::to_owned).collect());
            let dead: BTreeSet<String> = if wanted.is_subset(&delivered) {
                BTreeSet::new()
            } else {
                bed.broker.read_all(&bed.own_topic("dlq")).iter().map(event_id).collect()
            };
            (delivered, dead)
        };
        let settled = catch_unwind(AssertUnwindSafe(|| {
            eventually("all events are accounted for", limit, || {
                assert!(bed.api.alarm().rung().is_none(), "{:?}", bed.api.alarm().rung());
                // Brokers that are busy with what is measured here may let us wait: then it is not known yet.
                let looked = catch_unwind(AssertUnwindSafe(look));
                let (delivered, dead) = looked.map_err(|_| "Kafka does not answer".to_owned())?;
                let open = wanted.iter().filter(|id| !delivered.contains(*id) && !dead.contains(*id)).count();
                if open == 0 {
                    return Ok(());
                }
                // Topics are not read all the time.
                std::thread::park_timeout(Duration::from_millis(500));
                Err(format!("{open} of {} are open", wanted.len()))
            });
        }));
        // Told as lost, with what is known, rather than as a panic.
        drop(settled);
        let (delivered, dead) = look();
        let lost = wanted.iter().filter(|id| !delivered.contains(*id) && !dead.contains(*id)).count();
        Self {
            produced: wanted.len(),
            delivered: delivered.intersection(&wanted).count(),
            duplicated: bed.api.log(|log| log.duplicates()),
            dead: dead.intersection(&wanted).count(),
            lost,
            notes: String::new(),
        }
    }

    /// Adds what else was measured.
    pub(crate) fn noting(self, notes: String) -> Self {
        Self { notes, ..self }
    }
}

/// The id of an event, whichever mode it came in.
fn event_id(letter: &Stored) -> String {
    let binary = letter.header("ce_id");
    if !binary.is_empty() {
        return binary.to_owned();
    }
    let value: serde_json::Value =
        serde_json::from_slice(letter.value.as_deref().unwrap_or_default()).unwrap_or_default();
    value["id"].as_str().unwrap_or_default().to_owned()
}
