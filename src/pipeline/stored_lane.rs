//! A stored lane: the pipeline of one partition of a retry tier. A stored record names its rule and target, so nothing is
//! matched again: consume → (due?) → decode → deliver → settle → commit.
//!
//! A tier has one delay, so its records are due in the order they lie in, and waiting for the first delays no other.

use crate::kafka::Queue;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::record::Record;
use crate::model::stored::{Address, StoredHeaders, Tier, UNKNOWN_TARGETS};
use crate::pipeline::consume::{self, BATCH, Nothing};
use crate::pipeline::decode;
use crate::pipeline::delivery::{Delivery, History};
use crate::pipeline::flow::{Feed, Flow, Took};
use crate::pipeline::handing::Lost;
use crate::pipeline::settle::{self, Step};
use crate::pipeline::snapshot::{CompiledTarget, Snapshot};
use crate::telemetry::figures::Intake;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often a record is looked at whose target is unknown or disabled.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Reads one partition of a retry tier.
#[derive(Debug)]
pub struct StoredFeed {
    queue: Queue,
    tier: Tier,
    /// Taken from the queue, but not due yet.
    head: Option<Record>,
}

impl StoredFeed {
    /// A feed for a partition of a retry tier.
    #[must_use]
    pub fn new(queue: Queue, tier: Tier) -> Self {
        Self { queue, tier, head: None }
    }

    /// Begins what a stored record asks for; gives the record back with the time to look again if it must wait.
    fn process(&self, record: Record, flow: &Flow, now: WallMs) -> Option<(Record, WallMs)> {
        if flow.window.already_done(&record) {
            flow.count(Intake::SkippedByMap);
            flow.window.admit(&record, 0).for_each(drop);
            return None;
        }
        let headers = match StoredHeaders::read(&record) {
            Ok(headers) => headers,
            // Somebody else wrote into our topic: it is kept where people look, never dropped.
            Err(error) => {
                dead_letter(&record, None, None, (error.code(), error.to_string()), flow, now);
                return None;
            }
        };
        let Some(address) = headers.delivery.clone() else {
            let message = "the stored record names no rule and target".to_owned();
            dead_letter(&record, Some(headers), None, ("STORED_HEADER", message), flow, now);
            return None;
        };
        let due = WallMs(headers.due_ms.unwrap_or(now.0));
        // The clock of the replica that wrote it may be ahead of ours.
        let appended = WallMs(record.timestamp_ms.unwrap_or(now.0).min(now.0));
        let snapshot = flow.context.snapshot.load();
        let target = snapshot.target(&address.rule, &address.target);
        let step = match target {
            Some(target) if target.enabled => settle::tier_step(self.tier, due, appended, now),
            // A disabled rule keeps what it has, for as long as it takes.
            Some(_) => match settle::unknown_target_step(self.tier, due, appended, now) {
                Step::Gone => Step::Reappend(UNKNOWN_TARGETS),
                step @ (Step::Wait(_) | Step::Due | Step::Reappend(_)) => step,
            },
            None => settle::unknown_target_step(self.tier, due, appended, now),
        };
        match (step, target) {
            (Step::Wait(until), Some(target)) if target.enabled => return Some((record, until)),
            // It is looked at again soon: a reload may make the target known.
            (Step::Wait(until), _) => return Some((record, until.min(now.plus(LOOK_AGAIN)))),
            (Step::Due, Some(target)) => begin(&record, headers, &address, target, &snapshot, flow, now),
            (Step::Reappend(_) | Step::Due, _) => {
                let tier = if let Step::Reappend(tier) = step { tier } else { UNKNOWN_TARGETS };
                for ticket in flow.window.admit(&record, 1) {
                    flow.reappend(ticket, &record, headers.clone(), tier, due);
                }
            }
            (Step::Gone, _) => {
                let message = format!("rule {} has no target {} any more", address.rule, address.target);
                let event = original(&record, &headers, &address.rule, &snapshot).ok();
                dead_letter(&record, Some(headers), event.as_ref(), ("TARGET_GONE", message), flow, now);
            }
        }
        None
    }
}

/// Begins the delivery that a due record asks for.
fn begin(
    record: &Record,
    headers: StoredHeaders,
    address: &Address,
    target: &Arc<CompiledTarget>,
    snapshot: &Snapshot,
    flow: &Flow,
    now: WallMs,
) {
    match original(record, &headers, &address.rule, snapshot) {
        Ok(event) => {
            target.figures.resumed(flow.context.worker);
            let history = History::resumed(&headers, address, now);
            let span = flow.event_span(&event, &record.position, Some(&headers));
            let held = flow.window.hold(event, span);
            for ticket in flow.window.admit(record, 1) {
                let (held, target, inbox) = (Rc::clone(&held), Arc::clone(target), Rc::clone(&flow.inbox));
                let history = history.clone();
                flow.begin(Delivery { held, target, ticket, history, inbox, attempt: RefCell::default() });
            }
        }
        Err(error) => dead_letter(record, Some(headers), None, (error.code(), error.to_string()), flow, now),
    }
}

/// The event of a stored record, read as its source reads it.
fn original(
    record: &Record,
    headers: &StoredHeaders,
    rule: &str,
    snapshot: &Snapshot,
) -> Result<CloudEvent, decode::Error> {
    let source = Name::new(rule).and_then(|rule| snapshot.source_of(&rule, &headers.origin.topic));
    let options = source.map(|rules| rules.decode_options()).unwrap_or_default();
    // The id of a wrapped event is made of the place where it first stood.
    let original = record.clone().moved(headers.origin.clone(), headers.origin_timestamp_ms);
    decode::decode(original, &options).map_err(|(_, error)| error)
}

fn dead_letter(
    record: &Record,
    headers: Option<StoredHeaders>,
    event: Option<&CloudEvent>,
    (code, message): (&'static str, String),
    flow: &Flow,
    now: WallMs,
) {
    flow.failed_span(record, headers.as_ref(), code, &message);
    for ticket in flow.window.admit(record, 1) {
        let lost = Lost { headers: headers.clone(), event, ..Lost::unread(code, message.clone()) };
        flow.dead_letter(ticket, record, lost, now);
    }
}

impl Feed for StoredFeed {
    fn take(&mut self, flow: &mut Flow) -> Took {
        let now = WallMs::now();
        for _ in 0..BATCH {
            let record = match self.head.take() {
                Some(head) => head,
                None => match consume::next(&mut self.queue, flow.window.has_room()) {
                    Ok(record) => record,
                    Err(Nothing::Empty | Nothing::Full) => return Took::Idle,
                    Err(Nothing::Failed(error)) => return flow.reading_failed(&error),
                },
            };
            if let Some((record, until)) = self.process(record, flow, now) {
                self.head = Some(record);
                return Took::Until(Monotonic::now().plus(until.since(now)));
            }
        }
        Took::More
    }
}
