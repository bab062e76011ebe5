//! `Delivery`: an event on its way to one target. It goes to the dispatcher of its destination and comes back to its
//! lane with the report of the attempt.

use crate::json::document::Document;
use crate::kafka::Membership;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::outcome::{Class, Report, Settlement};
use crate::model::request::Request;
use crate::model::stored::{Address, DeliveryId, StoredHeaders};
use crate::model::text::ShowText;
use crate::model::trace_context::TraceParent;
use crate::pipeline::deliver::{Burden, Job};
use crate::pipeline::settle::{self, Attempt, EventTrace};
use crate::pipeline::snapshot::CompiledTarget;
use crate::pipeline::spans;
use crate::pipeline::ticket::{Held, Ticket, Window};
use crate::pipeline::transform::Meta;
use crate::telemetry::spans::AttemptSpan;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Failed attempts that a delivery remembers for its trace.
const FAILED_MAX: usize = 10;

/// An event on its way to one target.
#[derive(Debug)]
pub struct Delivery {
    /// The event, shared by all its deliveries.
    pub held: Rc<Held>,
    /// Where it goes and what is sent.
    pub target: Arc<CompiledTarget>,
    /// The claim on the offset.
    pub ticket: Ticket,
    /// What already happened to it.
    pub history: History,
    /// Where finished attempts are put.
    pub inbox: Rc<Inbox>,
    /// The span of the attempt that is being made, if the event is sampled.
    pub attempt: RefCell<Option<Box<AttemptSpan>>>,
}

/// Where a delivery was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The topic of its source.
    Source,
    /// A retry tier.
    Tier,
    /// The queue of its destination: it stays there until it is delivered, or has a back-off of its own.
    Queue,
}

/// What already happened to a delivery.
#[derive(Debug, Clone)]
pub struct History {
    /// Identifies event, rule and target together; also the `Idempotency-Key`.
    pub delivery_id: DeliveryId,
    /// How many deliveries its event has in all; unknown for a dead letter that was sent again.
    pub deliveries: Option<u32>,
    /// Attempts that were sent, in all processes since the last redrive.
    pub attempts: u32,
    /// When the first of them was sent.
    pub first_attempt: Option<WallMs>,
    /// When the last of them was sent.
    pub last_attempt: Option<WallMs>,
    /// Attempts that were sent since it came to this process.
    pub attempts_here: u32,
    /// When the first of these was sent.
    pub first_attempt_here: Option<WallMs>,
    /// When the record was first read here.
    pub received: WallMs,
    /// How often it was redriven.
    pub redrives: u32,
    /// Where it was read.
    pub came: Came,
    /// Attempts that failed since it came to this process, for its trace: nothing is kept of one that is taken at once.
    pub failed: Vec<Report>,
    /// The span of the last attempt, if it was sampled.
    pub traceparent: Option<TraceParent>,
}

impl History {
    /// Of a delivery that begins with its event.
    #[must_use]
    pub fn begin(event: &CloudEvent, target: &CompiledTarget, deliveries: usize, now: WallMs) -> Self {
        Self {
            delivery_id: DeliveryId::of(event.source(), event.id(), target.rule.as_str(), target.name.as_str()),
            deliveries: u32::try_from(deliveries).ok(),
            attempts: 0,
            first_attempt: None,
            last_attempt: None,
            attempts_here: 0,
            first_attempt_here: None,
            received: now,
            redrives: 0,
            came: Came::Source,
            failed: Vec::new(),
            traceparent: None,
        }
    }

    /// Of a delivery that was read back from where it was stored.
    #[must_use]
    pub fn resumed(headers: &StoredHeaders, address: &Address, came: Came, now: WallMs) -> Self {
        Self {
            delivery_id: address.delivery_id.as_str().into(),
            deliveries: headers.deliveries,
            attempts: headers.attempts,
            first_attempt: headers.first_attempt_ms.map(WallMs),
            last_attempt: headers.last_attempt_ms.map(WallMs),
            attempts_here: 0,
            first_attempt_here: None,
            received: now,
            redrives: headers.redrives,
            came,
            failed: Vec::new(),
            traceparent: spans::previous(headers),
        }
    }
}

/// Attempts that ended and wait for their lane.
#[derive(Debug)]
pub struct Inbox {
    membership: Membership,
    ended: RefCell<Vec<(Delivery, Report)>>,
    orphans: RefCell<Vec<Delivery>>,
    returned: RefCell<Vec<Delivery>>,
    evacuated: RefCell<Vec<Delivery>>,
    closed: Cell<bool>,
    wake: Arc<Notify>,
}

impl Inbox {
    /// An empty inbox that notifies `wake`; `membership` is that of the lane.
    #[must_use]
    pub fn new(membership: Membership, wake: Arc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            membership,
            ended: RefCell::new(Vec::new()),
            orphans: RefCell::new(Vec::new()),
            returned: RefCell::new(Vec::new()),
            evacuated: RefCell::new(Vec::new()),
            closed: Cell::new(false),
            wake,
        })
    }

    /// Takes the deliveries whose target a reload has removed.
    #[must_use]
    pub fn take_orphans(&self) -> Vec<Delivery> {
        self.orphans.take()
    }

    /// Takes the deliveries whose destination was replaced while they were tried.
    #[must_use]
    pub fn take_returned(&self) -> Vec<Delivery> {
        self.returned.take()
    }

    /// Takes the deliveries that have waited too long for their destination.
    #[must_use]
    pub fn take_evacuated(&self) -> Vec<Delivery> {
        self.evacuated.take()
    }

    /// Its lane has ended: what still comes is dropped, for nobody would look.
    pub fn close(&self) {
        self.closed.set(true);
        drop(self.ended.take());
        drop(self.orphans.take());
        drop(self.returned.take());
        drop(self.evacuated.take());
    }

    /// Swaps what has ended into `into`, which must be empty; the capacity of both is kept.
    pub fn take(&self, into: &mut Vec<(Delivery, Report)>) {
        std::mem::swap(&mut *self.ended.borrow_mut(), into);
    }

    /// Gives back the room for what has ended, if there is nothing in it.
    pub fn rest(&self) {
        self.ended.borrow_mut().shrink_to_fit();
    }
}

impl Delivery {
    /// The event.
    #[must_use]
    pub fn event(&self) -> &CloudEvent {
        &self.held.event
    }

    /// Its target is this one from now on. If that is elsewhere, the queue it may have come from is not of that place.
    pub fn retarget(&mut self, today: &Arc<CompiledTarget>) {
        let name = |target: &CompiledTarget| target.destination.resource().name.clone();
        if self.history.came == Came::Queue && name(&self.target) != name(today) {
            self.history.came = Came::Tier;
        }
        self.target = Arc::clone(today);
    }

    /// Its target is gone: back to its lane, which puts it aside.
    pub fn orphaned(self) {
        let inbox = Rc::clone(&self.inbox);
        if !inbox.closed.get() {
            inbox.orphans.borrow_mut().push(self);
            inbox.wake.notify_one();
        }
    }

    /// Notes an attempt that was sent.
    pub fn note(&mut self, report: &Report) {
        let Some(sent) = report.sent else { return };
        let history = &mut self.history;
        history.attempts += 1;
        history.attempts_here += 1;
        history.first_attempt.get_or_insert(sent);
        history.first_attempt_here.get_or_insert(sent);
        history.last_attempt = Some(sent);
    }

    /// Remembers a failed attempt for the trace: the first one and the last ones.
    pub fn failed(&mut self, report: Report) {
        let failed = &mut self.history.failed;
        if failed.len() >= FAILED_MAX {
            failed.remove(1);
        }
        failed.push(report);
    }

    /// What `settle` decides by.
    #[must_use]
    pub fn for_settle(&self, now: WallMs) -> settle::History {
        let first_attempt = self.history.first_attempt.unwrap_or(now);
        settle::History {
            attempts: self.history.attempts,
            first_attempt: first_attempt.plus(self.target.destination.held_by_hand(first_attempt, now)),
            attempts_here: self.history.attempts_here,
            first_attempt_here: self.history.first_attempt_here.unwrap_or(now),
        }
    }

    /// The headers of its stored record.
    #[must_use]
    pub fn stored_headers(&self) -> StoredHeaders {
        let address = Address {
            rule: self.target.rule.to_string(),
            target: self.target.name.to_string(),
            destination: self.target.destination.resource().name.to_string(),
            delivery_id: self.history.delivery_id.to_string(),
        };
        StoredHeaders {
            attempts: self.history.attempts,
            first_attempt_ms: self.history.first_attempt.map(|at| at.0),
            last_attempt_ms: self.history.last_attempt.map(|at| at.0),
            redrives: self.history.redrives,
            deliveries: self.history.deliveries,
            traceparent: self.history.traceparent.map(|parent| parent.to_string()),
            ..StoredHeaders::new(&self.event().record, Some(address))
        }
    }

    /// The same after a failed attempt.
    #[must_use]
    pub fn stored(&self, report: &Report) -> StoredHeaders {
        let mut headers = self.stored_headers();
        headers.failed(report);
        headers
    }

    /// It was taken at once: nothing is to be told of it but that.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.history.attempts <= 1 && self.history.redrives == 0
    }

    /// Its trace, after an attempt that ended with `report`.
    #[must_use]
    pub fn trace<'t>(&'t self, settlement: Settlement, report: &'t Report, now: WallMs) -> EventTrace<'t> {
        let event = self.event();
        let history = &self.history;
        let failed = settlement != Settlement::Delivered;
        EventTrace {
            event: Some(event.id().into()),
            source: Some(event.source().into()),
            kind: Some(event.kind().into()),
            rule: Some(self.target.rule.as_str().into()),
            target: Some(self.target.name.as_str().into()),
            destination: Some(self.target.destination.resource().name.as_str().into()),
            outcome: settlement.as_str().into(),
            code: failed.then(|| report.code.into()),
            status: report.status,
            attempts: history.attempts,
            tried: history.failed.iter().chain([report]).filter_map(Attempt::of).collect(),
            message: failed.then(|| report.message.as_str().into()),
            at: now.rfc3339().into(),
            origin: event.record.position.to_string().into(),
            deliveries: history.deliveries,
            redrives: history.redrives,
            delivery_id: Some((&*history.delivery_id).into()),
            received: (history.came == Came::Source).then(|| history.received.rfc3339().into()),
            ..EventTrace::default()
        }
    }

    /// Its trace when it is stored without an attempt.
    #[must_use]
    pub fn stored_trace(&self, code: &'static str, message: &'static str, now: WallMs) -> EventTrace<'static> {
        let (target, history) = (&self.target, &self.history);
        let trace =
            EventTrace::of(self.event(), &self.event().record.position, Settlement::HandedOff, now).into_owned();
        EventTrace {
            rule: Some(target.rule.to_string().into()),
            target: Some(target.name.to_string().into()),
            destination: Some(target.destination.resource().name.to_string().into()),
            code: Some(code.into()),
            message: Some(message).filter(|text| !text.is_empty()).map(Into::into),
            attempts: history.attempts,
            tried: history.failed.iter().filter_map(Attempt::of).map(Attempt::into_owned).collect(),
            deliveries: history.deliveries,
            redrives: history.redrives,
            delivery_id: Some(history.delivery_id.to_string().into()),
            ..trace
        }
    }

    /// Whether it may be stored elsewhere: what keeps an order stays in its lane, and what came from the queue of its
    /// destination stays there.
    #[must_use]
    pub fn is_movable(&self) -> bool {
        self.ticket.turn().is_none()
            && match self.history.came {
                Came::Source | Came::Tier => true,
                Came::Queue => false,
            }
    }

    /// Its destination takes its events from its queue, and this one did not come from there.
    #[must_use]
    pub fn belongs_into_queue(&self) -> bool {
        self.is_movable() && self.target.destination.resource().is_exact()
    }

    /// The window whose room it takes.
    #[must_use]
    pub fn window(&self) -> &Window {
        self.ticket.window()
    }

    fn meta(&self) -> Meta<'_> {
        Meta {
            rule: self.target.rule.as_str(),
            target: self.target.name.as_str(),
            attempt: self.history.attempts + 1,
            delivery_id: &self.history.delivery_id,
            received_at: self.history.received,
        }
    }
}

impl Job for Delivery {
    fn render(&self, show: &dyn ShowText, request: &mut Request) -> Result<(), Report> {
        let event = self.event();
        let render = || self.target.template.render(event, &Document::of(event), &self.meta(), show, request);
        // A defect in rendering must cost this event's delivery only, not the dispatcher that serves all others.
        match catch_unwind(AssertUnwindSafe(render)) {
            Ok(Ok(())) => {
                self.trace_in(request);
                Ok(())
            }
            Ok(Err(error)) => Err(unsent(error.code(), error.to_string())),
            Err(_) => {
                Err(unsent("TRANSFORM_PANIC", "the request could not be built; please report this rule".to_owned()))
            }
        }
    }

    fn abandoned(&self) -> bool {
        self.window().is_closing()
    }

    fn may_send(&self, now: Monotonic) -> bool {
        self.inbox.membership.may_send(now)
    }

    fn idempotency_key(&self) -> &str {
        &self.history.delivery_id
    }

    fn finished(self, report: Report) {
        self.attempt_ended();
        let inbox = Rc::clone(&self.inbox);
        if !inbox.closed.get() {
            let mut ended = inbox.ended.borrow_mut();
            ended.push((self, report));
            // Of those that lie there it has been told; it takes them all.
            if ended.len() == 1 {
                inbox.wake.notify_one();
            }
        }
    }

    fn returned(self) {
        let inbox = Rc::clone(&self.inbox);
        if !inbox.closed.get() {
            inbox.returned.borrow_mut().push(self);
            inbox.wake.notify_one();
        }
    }

    fn goes_first(&self) -> bool {
        self.history.came == Came::Queue
    }

    fn burden(&self, now: Monotonic) -> Option<Burden> {
        self.is_movable().then(|| self.ticket.window().burden(self.held.size_bytes(), now))
    }

    fn evacuated(self) {
        let inbox = Rc::clone(&self.inbox);
        if !inbox.closed.get() {
            inbox.evacuated.borrow_mut().push(self);
            inbox.wake.notify_one();
        }
    }
}

/// The report of a request that could not be built.
pub(super) fn unsent(code: &'static str, message: String) -> Report {
    Report {
        class: Class::Reject,
        code,
        status: None,
        message,
        excerpt: String::new(),
        retry_after: None,
        wait: None,
        sent: None,
        took: Duration::ZERO,
    }
}
