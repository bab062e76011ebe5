//! A stored lane: the pipeline of one partition of a retry tier, or of the queue of a destination. A stored record names its
//! rule and target, so nothing is matched again: consume → (due?) → decode → deliver → settle → commit.
//!
//! A tier has one delay, so its records are due in the order they lie in, and waiting for the first delays no other. Nothing
//! is fetched of it before the first is due soon, and a large first one is let go until then: there are many tiers, and each
//! would hold a record outside the memory budget. What is due goes to its dispatcher, or to the queue of a destination that cannot take it. A queue is read only while its
//! destination can take something (see `slots`), no further ahead than that needs.

use crate::destinations::Destination;
use crate::kafka::Queue;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::record::Record;
use crate::model::stored::{Address, StoredHeaders, TIERS, Tier, Topics, UNKNOWN_TARGETS};
use crate::pipeline::consume::{self, BATCH, Nothing};
use crate::pipeline::decode;
use crate::pipeline::delivery::{Came, Delivery, History};
use crate::pipeline::flow::{Feed, Flow, Took};
use crate::pipeline::handing::Lost;
use crate::pipeline::settle::{self, Step};
use crate::pipeline::snapshot::{CompiledTarget, Snapshot};
use crate::pipeline::ticket::Caps;
use crate::telemetry::figures::Intake;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often a record that waits is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// So soon before a record is due it is fetched.
const SOON: Duration = Duration::from_secs(2);

/// A record that takes more than this part of a window is let go until it is due soon.
const LARGE: usize = 1_024;

/// A queue is read ahead for so many seconds of its destination's rate.
const AHEAD_S: f64 = 4.0;

/// Records that are read ahead of a destination at least, and of one without a rate.
const AHEAD: (usize, usize) = (32, 1_024);

/// Reads one partition of a retry tier, or the queue of a destination.
#[derive(Debug)]
pub struct StoredFeed {
    queue: Queue,
    reads: Reads,
    head: Option<Head>,
}

/// What was taken from the queue, but is not due yet.
#[derive(Debug)]
enum Head {
    Here(Box<Record>),
    /// Let go; the queue returns it once more.
    Away(Box<Away>),
}

/// What must be known of a record to tell when it is due.
#[derive(Debug)]
struct Away {
    offset: i64,
    timestamp_ms: Option<i64>,
    headers: StoredHeaders,
}

/// What a feed reads.
#[derive(Debug)]
enum Reads {
    Tier(Tier),
    /// The queue of this destination; `None` if nobody can have that name.
    Queue(Option<Name>),
}

/// What becomes of a stored record.
enum Turn<'s> {
    /// It is looked at again then.
    Wait(WallMs),
    /// It is sent.
    Begin(&'s Arc<CompiledTarget>, Came),
    /// It goes to the end of that tier, as due then.
    Tier(Tier, WallMs),
    /// It goes to the queue of the destination.
    Queue(&'s Destination),
    /// Its target has been unknown for too long.
    Gone,
}

impl StoredFeed {
    /// A feed for a partition of one of our topics.
    #[must_use]
    pub fn new(queue: Queue, topics: &Topics, topic: &str) -> Self {
        let reads = match topics.queue_of(topic) {
            Some(destination) => Reads::Queue(Name::new(destination)),
            None => {
                let [shortest, ..] = TIERS;
                let tier = topics.tiers().find(|(_, known)| **known == *topic);
                Reads::Tier(tier.map_or(shortest, |(tier, _)| tier))
            }
        };
        Self { queue, reads, head: None }
    }

    /// What becomes of a record now.
    fn turn<'s>(
        &self,
        timestamp_ms: Option<i64>,
        headers: &StoredHeaders,
        snapshot: &'s Snapshot,
        now: WallMs,
    ) -> Turn<'s> {
        let address = headers.delivery.as_ref();
        let target = address.and_then(|address| snapshot.target(&address.rule, &address.target));
        let due = WallMs(headers.due_ms.unwrap_or(now.0));
        let tier = match &self.reads {
            Reads::Tier(tier) => *tier,
            Reads::Queue(of) => {
                return match target {
                    // A rule that sends elsewhere by now is served as from a tier: the queue is not of that place.
                    Some(target) if target.enabled => {
                        let here = of.as_ref() == Some(&target.destination.resource().name);
                        Turn::Begin(target, if here { Came::Queue } else { Came::Tier })
                    }
                    Some(_) => Turn::Tier(UNKNOWN_TARGETS, now),
                    // Its hour begins in the tier, or has passed before anybody was allowed to read this queue.
                    None if of.as_ref().is_some_and(|of| snapshot.destination(of).is_some()) => {
                        Turn::Tier(UNKNOWN_TARGETS, now)
                    }
                    None => Turn::Gone,
                };
            }
        };
        // The clock of the replica that wrote it may be ahead of ours.
        let appended = WallMs(timestamp_ms.unwrap_or(now.0).min(now.0));
        match target {
            Some(target) if target.enabled => match settle::tier_step(tier, due, appended, now) {
                Step::Wait(until) => Turn::Wait(until),
                Step::Due => Turn::Begin(target, Came::Tier),
                Step::Reappend(tier) => Turn::Tier(tier, due),
                Step::Gone => Turn::Gone,
            },
            // A disabled rule keeps what it has, for as long as it takes.
            Some(target) => match settle::unknown_target_step(tier, due, appended, now) {
                Step::Wait(until) => Turn::Wait(until),
                Step::Due | Step::Reappend(_) | Step::Gone => {
                    let fed = snapshot.is_fed(&target.destination.resource().name);
                    if fed { Turn::Tier(UNKNOWN_TARGETS, due) } else { Turn::Queue(&target.destination) }
                }
            },
            None => match settle::unknown_target_step(tier, due, appended, now) {
                Step::Wait(until) => Turn::Wait(until),
                Step::Due => Turn::Tier(UNKNOWN_TARGETS, due),
                Step::Reappend(tier) => Turn::Tier(tier, due),
                Step::Gone => Turn::Gone,
            },
        }
    }

    /// Begins what a stored record asks for; gives the record back with the time when it is due if it must wait.
    fn process(&self, record: Record, flow: &Flow, now: WallMs) -> Option<(Record, StoredHeaders, WallMs)> {
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
        let snapshot = flow.context.snapshot.load();
        match self.turn(record.timestamp_ms, &headers, &snapshot, now) {
            Turn::Wait(until) => return Some((record, headers, until)),
            Turn::Begin(target, came) => begin(&record, headers, (&address, came), target, &snapshot, flow, now),
            Turn::Tier(tier, due) => {
                for ticket in flow.window.admit(&record, 1) {
                    flow.reappend(ticket, &record, headers.clone(), tier, due);
                }
            }
            Turn::Queue(destination) => {
                for ticket in flow.window.admit(&record, 1) {
                    flow.queue_record(ticket, &record, headers.clone(), destination.resource().name.as_str());
                }
            }
            Turn::Gone => {
                let message = format!("rule {} has no target {} any more", address.rule, address.target);
                let event = original(&record, &headers, &address.rule, &snapshot).ok();
                dead_letter(&record, Some(headers), event.as_ref(), ("TARGET_GONE", message), flow, now);
            }
        }
        None
    }

    /// Keeps a record that must wait, or lets it go if it is large and waits for long.
    fn wait(&mut self, (record, headers, until): (Record, StoredHeaders, WallMs), flow: &Flow, now: WallMs) -> Took {
        let waits = until.since(now);
        self.queue.rest(waits > SOON);
        self.head = Some(if waits > SOON && record.buffer_bytes() > flow.context.caps.bytes / LARGE {
            let (offset, timestamp_ms) = (record.position.offset, record.timestamp_ms);
            Head::Away(Box::new(Away { offset, timestamp_ms, headers }))
        } else {
            Head::Here(Box::new(record))
        });
        // What has been fetched behind it is not kept for hours.
        self.queue.shed();
        look_again(waits)
    }

    /// How long a record that was let go must still wait before it is fetched again.
    fn waits(&self, away: &Away, flow: &Flow, now: WallMs) -> Option<Duration> {
        let snapshot = flow.context.snapshot.load();
        let Turn::Wait(until) = self.turn(away.timestamp_ms, &away.headers, &snapshot, now) else { return None };
        Some(until.since(now)).filter(|waits| *waits > SOON)
    }

    /// Reads a queue no further ahead than its destination needs: what waits here takes memory from others.
    fn keep_pace(&self, flow: &Flow) {
        let Reads::Queue(Some(name)) = &self.reads else { return };
        let caps = flow.context.caps;
        let snapshot = flow.context.snapshot.load();
        let slowest = snapshot.destination(name).and_then(|destination| destination.limits().slowest());
        let (least, most) = AHEAD;
        let records = match slowest {
            #[allow(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates, which is meant"
            )]
            Some(interval) => ((AHEAD_S / interval.as_secs_f64()) as usize).max(least),
            None => most,
        };
        flow.window.set_caps(Caps { records: records.min(caps.records), bytes: caps.bytes / 4 });
    }
}

/// Looks again when the time has come, or before: a reload may change whose it is.
fn look_again(waits: Duration) -> Took {
    Took::Until(Monotonic::now().plus(waits.min(LOOK_AGAIN)))
}

/// Begins the delivery that a due record asks for.
fn begin(
    record: &Record,
    headers: StoredHeaders,
    (address, came): (&Address, Came),
    target: &Arc<CompiledTarget>,
    snapshot: &Snapshot,
    flow: &Flow,
    now: WallMs,
) {
    match original(record, &headers, &address.rule, snapshot) {
        Ok(event) => {
            target.figures.resumed(flow.context.worker);
            let history = History::resumed(&headers, address, came, now);
            let span = flow.event_span(&event, &record.position, Some(&headers));
            let held = flow.window.hold(event, 1, span);
            for ticket in flow.window.admit(record, 1) {
                let (held, target, inbox) = (Rc::clone(&held), Arc::clone(target), Rc::clone(&flow.inbox));
                let history = history.clone();
                let delivery = Delivery { held, target, ticket, history, inbox, attempt: RefCell::default() };
                flow.begin(delivery, Monotonic::now());
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
        self.keep_pace(flow);
        for _ in 0..BATCH {
            let record = match self.head.take() {
                Some(Head::Here(record)) => *record,
                Some(Head::Away(away)) => {
                    if let Some(waits) = self.waits(&away, flow, now) {
                        self.head = Some(Head::Away(away));
                        self.queue.shed();
                        return look_again(waits);
                    }
                    self.queue.back_to(away.offset);
                    continue;
                }
                None => match consume::next(&mut self.queue, flow.window.has_room()) {
                    Ok(record) => record,
                    Err(Nothing::Empty | Nothing::Full) => return Took::Idle,
                    Err(Nothing::Failed(error)) => return flow.reading_failed(&error),
                },
            };
            if let Some(waiting) = self.process(record, flow, now) {
                return self.wait(waiting, flow, now);
            }
        }
        Took::More
    }
}
