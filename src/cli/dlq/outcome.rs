//! What became of the letters that a redrive sent, told by the trace, and the sum of all.

use super::again::Unsendable;
use super::book::delivery;
use super::desk::Letter;
use super::plan::Plan;
use crate::cli::outcomes::reason;
use crate::cli::{Exit, Failure, output};
use crate::pipeline::settle::EventTrace;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// The deliveries that are on their way, by id, with the number of the redrive, and how the others ended.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// On their way.
    pub(super) open: HashMap<u128, u32>,
    /// Arrived.
    pub(super) delivered: usize,
    dead_again: usize,
}

impl Waiting {
    /// A letter is about to be sent.
    pub(super) fn sent(&mut self, letter: &Letter) {
        let id = letter.headers.delivery.as_ref().and_then(|address| delivery(&address.delivery_id));
        self.open.extend(id.map(|id| (id, letter.headers.redrives.saturating_add(1))));
    }

    /// It was not sent after all.
    pub(super) fn forget(&mut self, id: u128) {
        self.open.remove(&id);
    }

    /// An outcome; true if it is one of ours.
    pub(super) fn take(&mut self, trace: &EventTrace<'_>) -> bool {
        let Some(id) = trace.delivery_id.as_deref().and_then(delivery) else { return false };
        if self.open.get(&id).is_none_or(|redrives| trace.redrives < *redrives) {
            return false;
        }
        match &*trace.outcome {
            "delivered" => self.delivered += 1,
            "dead_lettered" => self.dead_again += 1,
            "handed_off" => return trace.code.is_some(),
            _ => return false,
        }
        self.open.remove(&id);
        true
    }

    /// Whether all is well.
    pub(super) fn verdict(&self, plan: &Plan, timeout: Duration) -> Result<(), Failure> {
        if !self.open.is_empty() {
            let message = format!(
                "{} without an outcome after {} s without news; is `tidegate run` or `dev` running?\n \
                 they stay on their way; what dies again is a new dead letter in `tidegate dlq`",
                self.open.len(),
                timeout.as_secs_f64()
            );
            return Err(Failure::new(Exit::No, "OUTCOME_UNKNOWN", message));
        }
        let well = self.dead_again == 0 && plan.unsendable.is_empty();
        if well { Ok(()) } else { Err(Failure::silent(Exit::No)) }
    }
}

/// What became of it, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Sum<'a> {
    redrive: &'a str,
    matched: usize,
    sent: usize,
    sent_before: usize,
    unsendable: usize,
    busy: usize,
    already_delivered: usize,
    delivered: usize,
    dead_again: usize,
    pending: usize,
    dry_run: bool,
}

impl<'a> Sum<'a> {
    /// Of a redrive that has ended.
    pub(super) fn of(plan: &Plan, waiting: &Waiting, redrive: &'a str, sent: usize, sent_before: usize) -> Self {
        Self {
            redrive,
            matched: plan.matched,
            sent,
            sent_before,
            unsendable: plan.unsendable(),
            busy: plan.busy,
            already_delivered: plan.already_delivered,
            delivered: waiting.delivered,
            dead_again: waiting.dead_again,
            pending: waiting.open.len(),
            dry_run: false,
        }
    }

    /// For people.
    pub(super) fn print(&self, plan: &Plan) -> std::io::Result<()> {
        let mut line = format!(
            "delivered {} · dead again {} · already delivered {}",
            self.delivered, self.dead_again, self.already_delivered
        );
        for (count, what) in [
            (self.sent_before, "sent before it was stopped"),
            (self.busy, "being sent by another redrive"),
            (self.unsendable, "not sent"),
            (self.pending, "on their way"),
        ] {
            if count > 0 {
                line.push_str(&format!(" · {what} {count}"));
            }
        }
        output::print_line(&line)?;
        left(plan, |line| {
            output::complain(line);
            Ok(())
        })
    }
}

/// What is not sent, and why.
pub(super) fn left(plan: &Plan, mut say: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    let twins: usize = plan.twins.values().map(Vec::len).sum();
    if twins > 0 {
        say(&format!("{twins} more are of the same deliveries, which are sent once"))?;
    }
    for ((target, Unsendable { code, message }), count) in &plan.unsendable {
        say(&format!("{count} not sent: {target}  {code}  {}", reason(message)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_counts_once_and_only_after_the_redrive() {
        let mut waiting = Waiting { open: HashMap::from([(10, 2)]), ..Waiting::default() };
        let trace = |id: &'static str, outcome: &'static str, redrives| EventTrace {
            delivery_id: Some(id.into()),
            outcome: outcome.into(),
            redrives,
            ..EventTrace::default()
        };
        assert!(!waiting.take(&trace("a", "dead_lettered", 1)), "of the redrive before");
        assert!(!waiting.take(&trace("b", "delivered", 2)), "another delivery");
        assert!(!waiting.take(&trace("a", "redriven", 2)), "the redrive itself");
        assert!(!waiting.take(&trace("a", "handed_off", 2)), "moved on in its tier");
        assert!(waiting.take(&trace("a", "delivered", 2)));
        assert!(!waiting.take(&trace("a", "delivered", 2)), "a duplicate");
        assert_eq!((waiting.delivered, waiting.dead_again, waiting.open.len()), (1, 0, 0));
    }
}
