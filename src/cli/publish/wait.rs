//! `--wait`: from the events that were published and the outcomes that the trace topic tells, what became of each.

use crate::cli::outcomes::{Lines, Outcomes};
use crate::cli::tools::Kafka;
use crate::cli::{Exit, Failure, Global, Output, output};
use crate::model::record::Position;
use crate::model::stored::Topics;
use crate::pipeline::settle::EventTrace;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Outcomes of events whose position is not known yet; those of others are forgotten beyond this.
const MAX_EARLY: usize = 100_000;

/// Waits for the outcomes of what is published.
#[derive(Debug)]
pub(super) struct Waiting {
    outcomes: Outcomes,
    format: Output,
    quiet: bool,
    events: Events,
    lines: Lines,
    printed: Vec<EventTrace<'static>>,
}

/// What is known of the events.
#[derive(Debug, Default)]
struct Events {
    /// Those that have deliveries to come, by origin.
    open: HashMap<String, Open>,
    early: HashMap<String, Vec<EventTrace<'static>>>,
    early_count: usize,
    sum: Sum,
}

#[derive(Debug)]
struct Open {
    id: String,
    deliveries: Option<u32>,
    ended: BTreeSet<String>,
}

/// How deliveries ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    events: usize,
    delivered: usize,
    filtered: usize,
    dead_lettered: usize,
}

impl Waiting {
    /// Notes where the outcomes end now, so that none of what is published later is missed.
    pub(super) fn begin(global: &Global, kafka: &Kafka, topics: &Topics) -> Result<Self, Failure> {
        Ok(Self {
            outcomes: Outcomes::follow(&kafka.client, topics)?,
            format: global.output,
            quiet: global.quiet,
            events: Events::default(),
            lines: Lines::default(),
            printed: Vec::new(),
        })
    }

    /// An event was published.
    pub(super) fn published(&mut self, id: &str, position: &Position) -> Result<(), Failure> {
        for trace in self.events.published(id, position) {
            self.print(trace)?;
        }
        while let Some(trace) = self.outcomes.ready()? {
            self.take(trace)?;
        }
        Ok(())
    }

    /// Waits until every delivery has ended.
    pub(super) async fn finish(mut self, timeout: Duration) -> Result<(), Failure> {
        while !self.events.open.is_empty() {
            match self.outcomes.next(timeout).await? {
                Some(trace) => self.take(trace)?,
                None => break,
            }
        }
        if self.format == Output::Json {
            output::print_json(&self.printed)?;
        }
        self.outcomes.close().await;
        let Events { open, sum, .. } = self.events;
        if sum.events > 1 && !self.quiet && matches!(self.format, Output::Table | Output::Wide) {
            let Sum { events, delivered, filtered, dead_lettered } = sum;
            output::complain(&format!(
                "{events} events: delivered {delivered} · filtered {filtered} · dead-lettered {dead_lettered} · unknown {}",
                open.len()
            ));
        }
        if !open.is_empty() {
            return Err(unknown(&open, timeout));
        }
        if sum.dead_lettered > 0 { Err(Failure::silent(Exit::No)) } else { Ok(()) }
    }

    fn take(&mut self, trace: EventTrace<'static>) -> Result<(), Failure> {
        match self.events.take(trace) {
            Some(trace) => self.print(trace),
            None => Ok(()),
        }
    }

    fn print(&mut self, trace: EventTrace<'static>) -> Result<(), Failure> {
        match self.format {
            Output::Json => self.printed.push(trace),
            Output::Jsonl => output::print_json(&trace)?,
            Output::Table | Output::Wide if trace.outcome != "handed_off" => {
                output::print_line(&self.lines.line(&trace))?
            }
            Output::Table | Output::Wide if self.quiet => {}
            // No end yet: progress, not data.
            Output::Table | Output::Wide => output::complain(&self.lines.line(&trace)),
        }
        Ok(())
    }
}

impl Events {
    /// An event was published; gives what was heard of it before.
    fn published(&mut self, id: &str, position: &Position) -> Vec<EventTrace<'static>> {
        let origin = position.to_string();
        let early = self.early.remove(&origin).unwrap_or_default();
        self.early_count -= early.len();
        self.sum.events += 1;
        self.open.insert(origin, Open { id: id.to_owned(), deliveries: None, ended: BTreeSet::new() });
        early.into_iter().filter_map(|trace| self.take(trace)).collect()
    }

    /// An outcome; given back if it is one of ours and new.
    fn take(&mut self, trace: EventTrace<'static>) -> Option<EventTrace<'static>> {
        let Some(open) = self.open.get_mut(&*trace.origin) else {
            if self.early_count < MAX_EARLY {
                self.early_count += 1;
                self.early.entry(trace.origin.to_string()).or_default().push(trace);
            }
            return None;
        };
        open.deliveries = open.deliveries.or(trace.deliveries);
        let counter = match &*trace.outcome {
            "delivered" => &mut self.sum.delivered,
            "filtered" => &mut self.sum.filtered,
            "dead_lettered" => &mut self.sum.dead_lettered,
            // Moved on in its tier without an attempt: nothing has happened.
            "handed_off" if trace.code.is_none() => return None,
            "handed_off" => return Some(trace),
            // Of a later version, or not an end of a delivery.
            _ => return None,
        };
        let delivery = match (&trace.delivery_id, &trace.code) {
            (Some(id), _) => id.to_string(),
            (None, code) => format!("{:?} {code:?} {:?}", trace.rule, trace.message),
        };
        if !open.ended.insert(delivery) {
            return None;
        }
        *counter += 1;
        let wanted = open.deliveries.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        if wanted.is_some_and(|wanted| open.ended.len() >= wanted) {
            self.open.remove(&*trace.origin);
        }
        Some(trace)
    }
}

fn unknown(open: &HashMap<String, Open>, timeout: Duration) -> Failure {
    let example = open.iter().min_by_key(|(origin, _)| origin.as_str());
    let example = example.map_or_else(String::new, |(origin, event)| format!("{} at {origin}", event.id));
    let message = format!(
        "the end of {} of the events is not known after {} s without news, e.g. {example}\n \
         is `tidegate run` or `dev` running, and up to date? `run` traces failures only, unless trace.outcomes = \"all\"\n \
         what fails for good will stand in `tidegate dlq`; to wait longer: --timeout 5m",
        open.len(),
        timeout.as_secs_f64()
    );
    Failure::new(Exit::No, "OUTCOME_UNKNOWN", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(origin: &str, outcome: &'static str, delivery: &str, deliveries: Option<u32>) -> EventTrace<'static> {
        EventTrace {
            origin: origin.to_owned().into(),
            outcome: outcome.into(),
            delivery_id: Some(delivery.to_owned().into()),
            deliveries,
            ..EventTrace::default()
        }
    }

    #[test]
    fn an_event_ends_with_its_last_delivery() {
        let mut events = Events::default();
        let at: Position = "t:0:1".parse().expect("a position");
        assert!(events.take(trace("t:0:1", "delivered", "a", Some(2))).is_none(), "not known to be ours");
        assert_eq!(events.published("e", &at).len(), 1, "heard before its position was known");
        assert!(events.take(trace("t:0:1", "delivered", "a", Some(2))).is_none(), "a duplicate");
        assert!(events.take(trace("t:0:1", "handed_off", "b", Some(2))).is_none(), "moved on in its tier");
        let failed = EventTrace { code: Some("DELIVER_STATUS".into()), ..trace("t:0:1", "handed_off", "b", Some(2)) };
        assert!(events.take(failed).is_some());
        assert!(events.take(trace("t:0:2", "dead_lettered", "b", None)).is_none(), "another event");
        assert!(!events.open.is_empty());
        assert!(events.take(trace("t:0:1", "dead_lettered", "b", None)).is_some());
        assert!(events.open.is_empty());
        assert_eq!(events.sum, Sum { events: 1, delivered: 1, filtered: 0, dead_lettered: 1 });
    }

    #[test]
    fn an_event_that_nobody_wants_ends_at_once() {
        let mut events = Events::default();
        events.published("e", &"t:0:1".parse().expect("a position"));
        events.take(EventTrace { delivery_id: None, ..trace("t:0:1", "filtered", "", Some(0)) });
        assert!(events.open.is_empty());
        assert_eq!(events.sum.filtered, 1);
    }
}
