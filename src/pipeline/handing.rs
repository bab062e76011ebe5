//! Handing over: the records that end a claim otherwise than by the destination's yes, to a retry tier, the queue of the
//! destination or the dead-letter topic, and what is told of them when Kafka has acknowledged them.

use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::outcome::{Class, Settlement};
use crate::model::record::Record;
use crate::model::stored::{Store, StoredHeaders, Tier, UNKNOWN_TARGETS};
use crate::pattern::EvaluationLimit;
use crate::pipeline::delivery::{self, Came, Delivery};
use crate::pipeline::flow::Flow;
use crate::pipeline::settle::{self, EventTrace, HandOff, Written};
use crate::pipeline::ticket::{Held, Room, Ticket};
use crate::telemetry::burst::{Burst, WINDOW};
use crate::telemetry::figures::{End, TargetFigures};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Code of a stored record that went to the end of its tier again.
const REAPPENDED: &str = "REAPPENDED";

/// Code of a delivery whose destination takes its events from its queue.
const QUEUED: &str = "QUEUED";

/// Code of a delivery that waits for its target to be known again.
const TARGET_UNKNOWN: &str = "TARGET_UNKNOWN";

/// Code of a delivery that waited when its partition was given away.
const GIVEN_AWAY: &str = "GIVEN_AWAY";

/// How long a hand-off waits for the queue of its destination to be made: it holds its place in a window, which others
/// need too. What waits longer goes by a retry tier.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

/// How long it stays in the tier; many queues may be asked for at once.
const QUEUE_AGAIN: Duration = Duration::from_secs(5);

/// The log target of dead letters, for who shows them otherwise.
pub const DEAD_LETTERS: &str = "tidegate::dead_letter";

/// A hand-off that Kafka has acknowledged.
pub(super) struct Acknowledged {
    ticket: Ticket,
    written: Written,
    store: Option<Store>,
    trace: EventTrace<'static>,
    account: Account,
    /// The event, if it became one here. Let go only now, so that the bytes count until they are no longer needed.
    held: Option<Rc<Held>>,
    room: Room,
}

/// Where a hand-off is counted, and as what.
#[derive(Debug)]
pub struct Account {
    figures: Arc<TargetFigures>,
    end: End,
}

impl Account {
    /// With the target whose delivery ended so.
    #[must_use]
    pub fn new(figures: &Arc<TargetFigures>, class: Class, code: &'static str) -> Self {
        Self { figures: Arc::clone(figures), end: End { class, code, status: None } }
    }
}

/// A record that ends in the dead-letter topic without an attempt.
#[derive(Debug)]
pub struct Lost<'e> {
    /// What was known of it, if it was stored before.
    pub headers: Option<StoredHeaders>,
    /// The event, if it could be read.
    pub event: Option<&'e CloudEvent>,
    /// Why.
    pub code: &'static str,
    /// The same for people.
    pub message: String,
}

impl Lost<'_> {
    /// Of which nothing more is known.
    #[must_use]
    pub fn unread(code: &'static str, message: String) -> Self {
        Self { headers: None, event: None, code, message }
    }
}

impl Flow {
    /// Writes a record that ends a claim, and settles the claim when Kafka has acknowledged it; `held` is the event, if it
    /// became one here.
    pub fn hand_off(
        &self,
        ticket: Ticket,
        hand_off: HandOff,
        mut trace: EventTrace<'static>,
        account: Account,
        held: Option<Rc<Held>>,
    ) {
        let (source, worker) = (Arc::clone(&self.source), self.context.worker);
        let lines = Rc::clone(&self.context.lines.failed_writes);
        let failed = move |code| {
            source.hand_off_failed(worker);
            lines.tells(code, Monotonic::now())
        };
        let room = self.window.reserve(hand_off.record());
        let missing = hand_off.queue().and_then(|destination| {
            self.context.queues.missing(destination).map(|made| (made, self.context.topics.clone()))
        });
        let producer = self.context.producer.clone();
        // Thousands may wait for Kafka at once: what they hold is small, and lies in one place only.
        let mut hand_off = Box::new(hand_off);
        self.hand_offs.push(Box::pin(async move {
            if let Some((made, topics)) = missing
                && tokio::time::timeout(QUEUE_PATIENCE, made).await.is_err()
            {
                let due = WallMs::now().plus(QUEUE_AGAIN);
                hand_off.divert(&topics, settle::tier_for(QUEUE_AGAIN), due);
                trace.due = Some(due.rfc3339().into());
            }
            let store = hand_off.store();
            let written = settle::write(producer, hand_off, failed).await;
            Acknowledged { ticket, written, store, trace, account, held, room }
        }));
    }

    /// The account of what belongs to no target of today.
    fn unaddressed(&self, code: &'static str) -> Account {
        Account::new(self.context.snapshot.load().figures().nobody(), Class::Reject, code)
    }

    /// Puts a stored record at the end of a tier again: it is not due, or its target is not known here yet.
    pub fn reappend(&self, ticket: Ticket, record: &Record, headers: StoredHeaders, tier: Tier, due: WallMs) {
        let trace = EventTrace { at: WallMs::now().rfc3339().into(), ..named(&headers) };
        let topics = &self.context.topics;
        let hand_off = HandOff::to_tier(record, headers, topics, tier, due, &self.context.dead_letter_topic);
        self.hand_off(ticket, hand_off, trace, self.unaddressed(REAPPENDED), None);
    }

    /// Moves a stored record into the queue of its destination: nothing is sent for its target now.
    pub fn queue_record(&self, ticket: Ticket, record: &Record, headers: StoredHeaders, destination: &str) {
        let trace = EventTrace { at: WallMs::now().rfc3339().into(), ..named(&headers) };
        let topic = self.context.topics.queue(destination);
        let hand_off = HandOff::to_queue(record, headers, topic, &self.context.dead_letter_topic);
        self.hand_off(ticket, hand_off, trace, self.unaddressed(REAPPENDED), None);
    }

    /// Puts a delivery into the queue of its destination. Nothing was sent for it, so nothing is counted as an attempt;
    /// `why` is told if it is more than that its destination's events go that way.
    pub(super) fn enqueue(&self, delivery: Delivery, why: Option<(&'static str, &'static str)>) {
        let now = WallMs::now();
        let mut headers = delivery.stored_headers();
        if let Some((code, message)) = why {
            headers.refused(code, Class::Overload, message);
        }
        let target = &delivery.target;
        let name = &target.destination.resource().name;
        let record = &delivery.event().record;
        let hand_off =
            HandOff::to_queue(record, headers, self.context.topics.queue(name.as_str()), &target.dead_letter_topic);
        let (code, message) = why.unwrap_or((QUEUED, ""));
        let mut trace = delivery.stored_trace(code, message, now);
        // Without a code nothing is told of it.
        trace.code = trace.code.filter(|_| why.is_some());
        let account = Account::new(&target.figures, Class::Overload, code);
        self.hand_off(delivery.ticket, hand_off, trace, account, Some(delivery.held));
    }

    /// Puts a record into the dead-letter topic that never became a delivery, or whose target is gone.
    pub fn dead_letter(&self, ticket: Ticket, record: &Record, lost: Lost<'_>, now: WallMs) {
        let Lost { headers, event, code, message } = lost;
        let mut headers = headers.unwrap_or_else(|| StoredHeaders::new(record, None));
        headers.code = Some(code.to_owned());
        headers.class = Some(Class::Reject.as_str().to_owned());
        headers.message = Some(message.clone());
        let trace = EventTrace {
            event: event.map(|event| event.id().to_owned().into()),
            source: event.map(|event| event.source().to_owned().into()),
            kind: event.map(|event| event.kind().to_owned().into()),
            code: Some(code.into()),
            message: Some(message.into()),
            attempts: headers.attempts,
            at: now.rfc3339().into(),
            deliveries: Some(1),
            redrives: headers.redrives,
            ..named(&headers)
        };
        let hand_off = HandOff::to_dead_letter(record, headers, &self.context.dead_letter_topic, None);
        self.hand_off(ticket, hand_off, trace, self.unaddressed(code), None);
    }

    /// Puts an event of which nobody can say whether the rule wants it into the dead-letter topic of each target. The
    /// destination has no part in that, so its dead-letter budget does not count it.
    pub fn undecided(&self, delivery: Delivery, limit: EvaluationLimit, now: WallMs) {
        let report = delivery::unsent(limit.code(), format!("rule {}: {limit}", delivery.target.rule));
        if let Some(span) = &delivery.held.span {
            span.failed(report.code, &report.message);
        }
        let target = &delivery.target;
        let headers = delivery.stored(&report);
        let hand_off = HandOff::to_dead_letter(&delivery.event().record, headers, &target.dead_letter_topic, None);
        let trace = delivery.trace(Settlement::HandedOff, &report, now).into_owned();
        let account = Account::new(&target.figures, report.class, report.code);
        self.hand_off(delivery.ticket, hand_off, trace, account, Some(delivery.held));
    }

    /// A delivery whose target a reload has removed waits in a tier: another replica may still know the target, or it may
    /// come back. After an hour it is a dead letter.
    pub(super) fn put_aside(&self, delivery: Delivery) {
        let now = WallMs::now();
        // Due at once for whoever knows the target.
        self.put_into_tier(delivery, UNKNOWN_TARGETS, now, now, (TARGET_UNKNOWN, Class::Reject));
    }

    /// Stores a delivery, with the attempts made, whose next one is due `after` a time: its partition is given away.
    pub(super) fn store_left(&self, delivery: Delivery, after: Duration) {
        match delivery.history.came {
            Came::Queue => self.enqueue(delivery, None),
            Came::Source | Came::Tier => {
                let now = WallMs::now();
                let tier = settle::tier_for(after);
                self.put_into_tier(delivery, tier, now.plus(after), now, (GIVEN_AWAY, Class::Transient));
            }
        }
    }

    fn put_into_tier(
        &self,
        delivery: Delivery,
        tier: Tier,
        due: WallMs,
        now: WallMs,
        (code, class): (&'static str, Class),
    ) {
        let mut headers = delivery.stored_headers();
        headers.code = Some(code.to_owned());
        let topic = &delivery.target.dead_letter_topic;
        let record = &delivery.event().record;
        let hand_off = HandOff::to_tier(record, headers, &self.context.topics, tier, due, topic);
        let trace = EventTrace { due: Some(due.rfc3339().into()), ..delivery.stored_trace(code, "", now) };
        let account = Account::new(&delivery.target.figures, class, code);
        self.hand_off(delivery.ticket, hand_off, trace, account, Some(delivery.held));
    }

    pub(super) fn acknowledged(&self, done: Acknowledged) {
        let Acknowledged { ticket, written, store, mut trace, account: Account { figures, end }, held, room } = done;
        let worker = self.context.worker;
        trace.outcome = written.settlement.as_str().into();
        match written.settlement {
            Settlement::HandedOff => {
                if let Some(store) = store {
                    figures.handed_off(worker, store);
                    self.context.queues.filled().written(&written.position);
                }
            }
            Settlement::DeadLettered => {
                figures.dead_lettered(worker, end);
                trace.dead_letter = Some(written.position.to_string().into());
                // A tier record may have been too large for its tier.
                trace.due = None;
                if let Some(held) = &held
                    && let Some(span) = &held.span
                {
                    span.failed(
                        trace.code.as_deref().unwrap_or_default(),
                        trace.message.as_deref().unwrap_or_default(),
                    );
                }
                self.context.lines.dead_letter(&trace, Monotonic::now());
            }
            Settlement::Delivered | Settlement::Filtered => {}
        }
        // Without a code it was moved on in its tier: nothing has happened to it.
        if trace.code.is_some() || written.settlement == Settlement::DeadLettered {
            self.context.trace(|| trace);
        }
        ticket.settle();
        drop((held, room));
    }
}

/// Whose delivery it is, from its headers.
fn named(headers: &StoredHeaders) -> EventTrace<'static> {
    let address = headers.delivery.as_ref();
    EventTrace {
        rule: address.map(|a| a.rule.clone().into()),
        target: address.map(|a| a.target.clone().into()),
        destination: address.map(|a| a.destination.clone().into()),
        delivery_id: address.map(|a| a.delivery_id.clone().into()),
        origin: headers.origin.to_string().into(),
        ..EventTrace::default()
    }
}

/// The lines of a worker that may come in floods.
#[derive(Debug, Default)]
pub struct Lines {
    dead_letters: Burst<Kind>,
    failed_writes: Rc<Burst<&'static str>>,
}

/// Dead letters of one kind.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    rule: Option<String>,
    target: Option<String>,
    code: Option<String>,
}

impl Lines {
    fn dead_letter(&self, trace: &EventTrace<'_>, now: Monotonic) {
        let own = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let kind = Kind { rule: own(&trace.rule), target: own(&trace.target), code: own(&trace.code) };
        if !self.dead_letters.tells(kind, now) {
            return;
        }
        tracing::warn!(
            target: DEAD_LETTERS,
            event = trace.event.as_deref(),
            rule = trace.rule.as_deref(),
            target = trace.target.as_deref(),
            destination = trace.destination.as_deref(),
            code = trace.code.as_deref(),
            status = trace.status,
            attempts = trace.attempts,
            delivery_id = trace.delivery_id.as_deref(),
            origin = %trace.origin,
            dead_letter = trace.dead_letter.as_deref(),
            "dead letter: {}",
            trace.message.as_deref().unwrap_or_default()
        );
    }

    /// Nothing waits to be summed up.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.dead_letters.is_empty() && self.failed_writes.is_empty()
    }

    /// Tells how many lines were held back, where their time is over.
    pub fn sum_up(&self, now: Monotonic) {
        for (Kind { rule, target, code }, more) in self.dead_letters.over(now) {
            tracing::warn!(
                target: DEAD_LETTERS,
                rule,
                target,
                code,
                more,
                "dead letters: {more} more of this kind in {} s; `tidegate dlq list` shows them",
                WINDOW.as_secs()
            );
        }
        for (code, more) in self.failed_writes.over(now) {
            tracing::warn!(code, more, "{more} more writes failed in {} s", WINDOW.as_secs());
        }
    }
}
