//! A lane: the pipeline of one partition of a source topic. It reads like the way of an event:
//! consume → decode → match → (transform and deliver, when their turn has come) → settle → commit.
//!
//! A lane lives on one worker thread and is the only one that touches its window. What can fail is turned into a
//! settlement: a record that cannot be decoded, or an event whose pattern cannot be decided, goes to the dead-letter
//! topic, and the partition moves on.
//!
//! A target that keeps an order has lanes of its own, in a group of its own. They begin its deliveries only, each when
//! its turn has come, and the lanes of its source leave it out.

use crate::json::document::Document;
use crate::kafka::Queue;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::name::{Name, TargetName};
use crate::model::outcome::Settlement;
use crate::model::record::Record;
use crate::pattern::EvaluationLimit;
use crate::pipeline::consume::{self, BATCH, Nothing};
use crate::pipeline::decode;
use crate::pipeline::delivery::{Delivery, History};
use crate::pipeline::flow::{AHEAD_FOR, Feed, Flow, Took};
use crate::pipeline::handing::Lost;
use crate::pipeline::settle::EventTrace;
use crate::pipeline::snapshot::{CompiledRule, CompiledTarget, Snapshot, SourceRules};
use crate::pipeline::worker::Traced;
use crate::telemetry::figures::Intake;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// For whom a lane reads.
#[derive(Debug, Clone)]
pub enum Reader {
    /// All targets of the rules that listen to this source, but those that keep an order.
    Source(Name),
    /// This target alone, which keeps an order.
    Ordered(TargetName),
}

/// Reads one partition of a source.
#[derive(Debug)]
pub struct SourceFeed {
    reader: Reader,
    queue: Queue,
}

/// The present of a batch, on both clocks.
type Now = (WallMs, Monotonic);

type Wanted<'s> = SmallVec<[(&'s Arc<CompiledRule>, Result<(), EvaluationLimit>); 4]>;

impl SourceFeed {
    /// A feed for a partition.
    #[must_use]
    pub fn new(reader: Reader, queue: Queue) -> Self {
        Self { reader, queue }
    }

    fn rules<'s>(&self, snapshot: &'s Snapshot, topic: &str) -> Option<&'s Arc<SourceRules>> {
        match &self.reader {
            Reader::Source(source) => snapshot.source(source),
            Reader::Ordered(target) => snapshot.ordered_target(target)?.rules(topic),
        }
    }

    fn process(&self, record: Record, rules: &SourceRules, flow: &mut Flow, (now, moment): Now) {
        if flow.window.already_done(&record) {
            flow.count(Intake::SkippedByMap);
            flow.window.admit(&record, 0).for_each(drop);
            return;
        }
        flow.count(Intake::Received);
        let decoded = decode::decode_noting(record, &rules.decode_options(), &mut flow.context.tape());
        match (decoded, &self.reader) {
            (Ok(event), Reader::Source(_)) => route(event, rules, flow, (now, moment)),
            (Ok(event), Reader::Ordered(_)) => route_in_order(event, rules, flow, (now, moment)),
            // Its source makes a dead letter of it.
            (Err((record, _)), Reader::Ordered(_)) => pass_over(&record, flow),
            (Err((record, error)), Reader::Source(_)) => {
                flow.count(Intake::Undecodable);
                flow.failed_span(&record, None, error.code(), &error.to_string());
                for ticket in flow.window.admit(&record, 1) {
                    flow.dead_letter(ticket, &record, Lost::unread(error.code(), error.to_string()), now);
                }
            }
        }
    }
}

/// Begins all deliveries of an event but those of targets that keep an order.
fn route(event: CloudEvent, rules: &SourceRules, flow: &mut Flow, (now, moment): Now) {
    let mut wanted: Wanted<'_> = SmallVec::new();
    {
        let tape = flow.context.tape();
        let document = Document::noted(&event, &tape);
        rules.wanted(&document, &mut flow.context.scratch(), |rule, verdict| wanted.push((rule, verdict)));
    }
    let deliveries: usize = wanted.iter().map(|(rule, _)| rule.targets.len()).sum();
    if deliveries == 0 {
        flow.count(Intake::Filtered);
        if let Some(span) = flow.event_span(&event, &event.record.position, None) {
            span.outcome(Settlement::Filtered.as_str());
        }
        flow.window.admit(&event.record, 0).for_each(drop);
        flow.context.trace_plain(event.id(), || filtered(&event, now));
        return;
    }
    let claims: usize = wanted.iter().map(|(rule, _)| unordered(rule).count()).sum();
    if claims == 0 {
        // What becomes of it is told by the lanes of its targets.
        flow.window.admit(&event.record, 0).for_each(drop);
        return flow.count(Intake::Matched);
    }
    let span = flow.event_span(&event, &event.record.position, None);
    let held = flow.window.hold(event, claims, span);
    let mut tickets = flow.window.admit(&held.event.record, claims);
    for (rule, verdict) in wanted {
        for (target, ticket) in unordered(rule).zip(&mut tickets) {
            target.figures.begun(flow.context.worker);
            let history = History::begin(&held.event, target, deliveries, now);
            let inbox = Rc::clone(&flow.inbox);
            let (held, target) = (Rc::clone(&held), Arc::clone(target));
            let delivery = Delivery { held, target, ticket, history, inbox, attempt: RefCell::default() };
            match verdict {
                Ok(()) => flow.begin(delivery, moment),
                Err(limit) => flow.undecided(delivery, limit, now),
            }
        }
    }
    // Last, so that an event is never counted as matched before its deliveries are.
    flow.count(Intake::Matched);
}

/// Begins the delivery of an event to the one target of these rules, when its turn has come.
fn route_in_order(event: CloudEvent, rules: &SourceRules, flow: &mut Flow, (now, moment): Now) {
    let found = {
        let tape = flow.context.tape();
        let document = Document::noted(&event, &tape);
        let mut wanted = None;
        rules.wanted(&document, &mut flow.context.scratch(), |rule, verdict| {
            wanted = rule.targets.first().map(|target| (target, verdict));
        });
        wanted.map(|(target, verdict)| {
            let sequence = target.order.as_ref().and_then(|order| order.sequence(&event, &document));
            (target, verdict, sequence, deliveries(&document, rules, flow))
        })
    };
    let Some((target, verdict, sequence, deliveries)) = found else { return pass_over(&event.record, flow) };
    let span = flow.event_span(&event, &event.record.position, None);
    let held = flow.window.hold(event, 1, span);
    for ticket in flow.window.admit(&held.event.record, 1) {
        target.figures.begun(flow.context.worker);
        let history = History { deliveries, ..History::begin(&held.event, target, 1, now) };
        let inbox = Rc::clone(&flow.inbox);
        let (held, target) = (Rc::clone(&held), Arc::clone(target));
        let delivery = Delivery { held, target, ticket, history, inbox, attempt: RefCell::default() };
        match (verdict, sequence) {
            (Err(limit), _) => flow.undecided(delivery, limit, now),
            (Ok(()), Some(key)) => flow.begin_in_order(key, delivery),
            (Ok(()), None) => flow.begin(delivery, moment),
        }
    }
    flow.count(Intake::Matched);
}

fn unordered(rule: &CompiledRule) -> impl Iterator<Item = &Arc<CompiledTarget>> {
    rule.targets.iter().filter(|target| target.order.is_none())
}

/// How many deliveries an event has in all, as its traces tell; not known where none are written.
fn deliveries(document: &Document<'_>, rules: &SourceRules, flow: &Flow) -> Option<u32> {
    if flow.context.traced == Traced::Nothing {
        return None;
    }
    let snapshot = flow.context.snapshot.load();
    let mut deliveries = 0;
    let all = snapshot.source(&rules.source.name)?;
    all.wanted(document, &mut flow.context.scratch(), |rule, _| deliveries += rule.targets.len());
    u32::try_from(deliveries).ok()
}

/// A record that means nothing to the target of this lane.
fn pass_over(record: &Record, flow: &Flow) {
    flow.count(Intake::Filtered);
    flow.window.admit(record, 0).for_each(drop);
}

impl Feed for SourceFeed {
    fn take(&mut self, flow: &mut Flow) -> Took {
        let snapshot = flow.context.snapshot.load();
        // A source that a reload removed keeps its partitions until its intake is closed, but reads nothing more.
        let Some(rules) = self.rules(&snapshot, &flow.claim.at.topic) else {
            self.queue.shed();
            return Took::Idle;
        };
        let now = (WallMs::now(), Monotonic::now());
        for _ in 0..BATCH {
            if flow.is_ahead(now.1) {
                self.queue.shed();
                return Took::Until(now.1.plus(AHEAD_FOR));
            }
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
