//! The spans of deliveries: which facts of a delivery its spans tell, and which trace context its requests carry.
//!
//! The event's span lives in the window with the event ([`Held`](super::ticket::Held)), the attempt's with the delivery.
//! Where the event is not sampled there is neither, and the context that came with it goes out unchanged.

use crate::model::clock::{self, WallMs};
use crate::model::event::CloudEvent;
use crate::model::outcome::Report;
use crate::model::record::{Position, Record};
use crate::model::request::Request;
use crate::model::stored::StoredHeaders;
use crate::model::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, TraceParent};
use crate::pipeline::delivery::Delivery;
use crate::pipeline::flow::Flow;
use crate::pipeline::settle::{Exhausted, Next};
use crate::telemetry::spans::{Aim, AttemptSpan, Cause, Decision, EventSpan, Source};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl Flow {
    /// The span of an event that was read at `position`, if it is sampled. `stored` are the headers of its stored
    /// record, if it was one.
    #[must_use]
    pub fn event_span(
        &self,
        event: &CloudEvent,
        position: &Position,
        stored: Option<&StoredHeaders>,
    ) -> Option<EventSpan> {
        let spans = self.context.spans.as_ref()?;
        let cause = Cause { incoming: TraceContext::of(event), previous: stored.and_then(previous) };
        let source = Source { position, origin: &event.record.position, group: &self.claim.group };
        spans.event(event, &cause, &source)
    }

    /// The span of a record that ends as a dead letter without having become an event here, if it is sampled.
    pub fn failed_span(&self, record: &Record, stored: Option<&StoredHeaders>, code: &'static str, message: &str) {
        let Some(spans) = &self.context.spans else { return };
        let cause = Cause { incoming: TraceContext::of_record(record), previous: stored.and_then(previous) };
        let origin = stored.map_or(&record.position, |headers| &headers.origin);
        spans.failed(&cause, &Source { position: &record.position, origin, group: &self.claim.group }, code, message);
    }
}

impl Delivery {
    /// Begins the span of the attempt that sends this request, if the event is sampled, and puts the trace context into
    /// the request. A `traceparent` that the rule has written stays.
    pub fn trace_in(&self, request: &mut Request) {
        let mut attempt = self.attempt.borrow_mut();
        if attempt.is_none() {
            *attempt = self.begin_attempt(self.history.attempts, clock::system_time);
        }
        let headers = &mut request.headers;
        if headers.get(TRACEPARENT).is_some() {
            return;
        }
        let incoming = TraceContext::of(self.event());
        match (attempt.as_ref(), &incoming) {
            (Some(attempt), _) => headers.set(TRACEPARENT, &attempt.context().to_string()),
            (None, Some(incoming)) => headers.set(TRACEPARENT, incoming.traceparent),
            (None, None) => return,
        }
        if let Some(state) = incoming.and_then(|incoming| incoming.tracestate)
            && headers.get(TRACESTATE).is_none()
        {
            headers.set(TRACESTATE, state);
        }
    }

    /// The attempt has ended now.
    pub fn attempt_ended(&self) {
        if let Some(attempt) = &mut *self.attempt.borrow_mut() {
            attempt.ended(clock::system_time());
        }
    }

    /// Ends the attempt's span with what is done next, and remembers it for the record that may follow. An attempt that
    /// had no connection to send on has a span, too. To be called after [`Delivery::note`].
    pub fn decided(&mut self, report: &Report, next: &Next) {
        if self.held.span.is_none() {
            return;
        }
        let begun = self.attempt.get_mut().take().or_else(|| {
            let started = time(report.sent?);
            let mut attempt = self.begin_attempt(self.history.attempts.saturating_sub(1), || started)?;
            attempt.ended(started.checked_add(report.took)?);
            Some(attempt)
        });
        let Some(attempt) = begun else {
            return;
        };
        self.history.traceparent = Some(attempt.context());
        attempt.finish(report, decision(next));
    }

    fn begin_attempt(&self, resends: u32, started: impl FnOnce() -> SystemTime) -> Option<Box<AttemptSpan>> {
        let span = self.held.span.as_ref()?;
        let destination = self.target.destination.resource();
        let aim = Aim {
            method: &destination.method,
            host: &destination.base.host,
            port: destination.base.port,
            template: self.target.destination.template(),
            rule: self.target.rule.as_str(),
            target: self.target.name.as_str(),
            destination: destination.name.as_str(),
            delivery_id: &self.history.delivery_id,
            resends,
        };
        Some(Box::new(span.attempt(&aim, started())))
    }
}

/// The span of the last attempt before the record was stored.
#[must_use]
pub fn previous(stored: &StoredHeaders) -> Option<TraceParent> {
    TraceParent::parse(stored.traceparent.as_deref()?)
}

fn decision(next: &Next) -> Decision {
    match next {
        Next::Delivered => Decision::Delivered,
        Next::RetryInMemory { after } => {
            Decision::Retry { after_ms: i64::try_from(after.as_millis()).unwrap_or(i64::MAX) }
        }
        Next::Tier { due } => Decision::HandOff { due_ms: due.0 },
        Next::Queue => Decision::Queue,
        Next::DeadLetter { exhausted } => Decision::DeadLetter { exhausted: exhausted.map(Exhausted::as_str) },
        Next::Hold { exhausted } => Decision::Hold { exhausted: exhausted.map(Exhausted::as_str) },
    }
}

fn time(at: WallMs) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(at.0).unwrap_or(0))).unwrap_or(UNIX_EPOCH)
}
