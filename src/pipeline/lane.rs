//! A lane: the pipeline of one partition of a source topic. It reads like the way of an event:
//! consume → decode → match → (transform and deliver, when their turn has come) → settle → commit.
//!
//! A lane lives on one worker thread and is the only one that touches its window. What can fail is turned into a
//! settlement: a record that cannot be decoded, or an event whose pattern cannot be decided, goes to the dead-letter
//! topic, and the partition moves on.

use crate::json::document::Document;
use crate::kafka::Queue;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::outcome::Settlement;
use crate::model::record::Record;
use crate::pattern::EvaluationLimit;
use crate::pipeline::consume::{self, BATCH, Nothing};
use crate::pipeline::decode;
use crate::pipeline::delivery::{Delivery, History};
use crate::pipeline::flow::{Feed, Flow, Took};
use crate::pipeline::handing::Lost;
use crate::pipeline::settle::EventTrace;
use crate::pipeline::snapshot::{CompiledRule, SourceRules};
use crate::telemetry::figures::Intake;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Reads one partition of a source.
#[derive(Debug)]
pub struct SourceFeed {
    source: Name,
    queue: Queue,
}

type Wanted<'s> = SmallVec<[(&'s Arc<CompiledRule>, Result<(), EvaluationLimit>); 4]>;

impl SourceFeed {
    /// A feed for a partition of `source`.
    #[must_use]
    pub fn new(source: Name, queue: Queue) -> Self {
        Self { source, queue }
    }

    fn process(&self, record: Record, rules: &SourceRules, flow: &mut Flow, now: WallMs) {
        if flow.window.already_done(&record) {
            flow.count(Intake::SkippedByMap);
            flow.window.admit(&record, 0).for_each(drop);
            return;
        }
        flow.count(Intake::Received);
        let decoded = decode::decode_noting(record, &rules.decode_options(), &mut flow.context.tape());
        match decoded {
            Ok(event) => self.route(event, rules, flow, now),
            Err((record, error)) => {
                flow.count(Intake::Undecodable);
                flow.failed_span(&record, None, error.code(), &error.to_string());
                for ticket in flow.window.admit(&record, 1) {
                    flow.dead_letter(ticket, &record, Lost::unread(error.code(), error.to_string()), now);
                }
            }
        }
    }

    fn route(&self, event: CloudEvent, rules: &SourceRules, flow: &mut Flow, now: WallMs) {
        let span = flow.event_span(&event, &event.record.position, None);
        let mut wanted: Wanted<'_> = SmallVec::new();
        {
            let tape = flow.context.tape();
            let document = Document::noted(&event, &tape);
            rules.wanted(&document, &mut flow.context.scratch(), |rule, verdict| wanted.push((rule, verdict)));
        }
        let claims: usize = wanted.iter().map(|(rule, _)| rule.targets.len()).sum();
        if claims == 0 {
            flow.count(Intake::Filtered);
            if let Some(span) = span {
                span.outcome(Settlement::Filtered.as_str());
            }
            flow.window.admit(&event.record, 0).for_each(drop);
            flow.context.trace_plain(event.id(), || filtered(&event, now));
            return;
        }
        let held = flow.window.hold(event, span);
        let mut tickets = flow.window.admit(&held.event.record, claims);
        for (rule, verdict) in wanted {
            for (target, ticket) in rule.targets.iter().zip(&mut tickets) {
                target.figures.begun(flow.context.worker);
                let history = History::begin(&held.event, target, claims, now);
                let inbox = Rc::clone(&flow.inbox);
                let (held, target) = (Rc::clone(&held), Arc::clone(target));
                let delivery = Delivery { held, target, ticket, history, inbox, attempt: RefCell::default() };
                match verdict {
                    Ok(()) => flow.begin(delivery),
                    Err(limit) => flow.undecided(delivery, limit, now),
                }
            }
        }
        // Last, so that an event is never counted as matched before its deliveries are.
        flow.count(Intake::Matched);
    }
}

impl Feed for SourceFeed {
    fn take(&mut self, flow: &mut Flow) -> Took {
        let snapshot = flow.context.snapshot.load();
        // A source that a reload removed keeps its partitions until its intake is closed, but reads nothing more.
        let Some(rules) = snapshot.source(&self.source) else { return Took::Idle };
        let now = WallMs::now();
        for _ in 0..BATCH {
            match consume::next(&mut self.queue, flow.window.has_room()) {
                Ok(record) => self.process(record, rules, flow, now),
                Err(Nothing::Empty | Nothing::Full) => return Took::Idle,
                Err(Nothing::Failed(error)) => return flow.reading_failed(&error),
            }
        }
        Took::More
    }
}

/// The trace of an event that nobody wants.
fn filtered(event: &CloudEvent, now: WallMs) -> EventTrace<'_> {
    EventTrace {
        event: Some(event.id().into()),
        source: Some(event.source().into()),
        kind: Some(event.kind().into()),
        outcome: Settlement::Filtered.as_str().into(),
        at: now.rfc3339().into(),
        origin: event.record.position.to_string().into(),
        received: Some(now.rfc3339().into()),
        deliveries: Some(0),
        ..EventTrace::default()
    }
}
