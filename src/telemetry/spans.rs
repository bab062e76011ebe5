//! Spans: one per sampled event, one per attempt of its deliveries. Names and attributes follow the OpenTelemetry
//! semantic conventions for messaging, HTTP clients and CloudEvents.
//!
//! Whether an event is sampled is decided before anything is built, so an event that is not costs a look at its headers
//! and no allocation. Making and ending a span never waits: what does not fit into the exporter's queue is dropped
//! and counted there.

use crate::model::clock;
use crate::model::event::CloudEvent;
use crate::model::outcome::{Class, Report};
use crate::model::record::Position;
use crate::model::trace_context::{TraceContext, TraceParent};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

/// Makes spans; shared by all workers.
#[derive(Debug)]
pub struct Spans {
    tracer: SdkTracer,
    /// Share of the events that bring no context.
    sample: f64,
}

/// Where a record was read, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The record that was read.
    pub position: &'a Position,
    /// The record that came from the source; the same, unless it was read back from a retry tier.
    pub origin: &'a Position,
    /// Consumer group.
    pub group: &'a str,
}

/// What caused a span: the context that came with the event, and the span of the attempt before, if there was one in
/// another process or before a retry tier.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cause<'a> {
    /// Came with the event.
    pub incoming: Option<TraceContext<'a>>,
    /// The last attempt.
    pub previous: Option<TraceParent>,
}

/// Where an attempt goes.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// Method.
    pub method: &'a str,
    /// Host.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Path with `{parameters}`, without a query.
    pub template: &'a str,
    /// Rule.
    pub rule: &'a str,
    /// Target of the rule.
    pub target: &'a str,
    /// Destination.
    pub destination: &'a str,
    /// Identifies the delivery.
    pub delivery_id: &'a str,
    /// Attempts before this one.
    pub resends: u32,
}

impl Spans {
    /// Spans of `tracer`; of events without a context the share `sample` (0 to 1) is sampled.
    #[must_use]
    pub fn new(tracer: SdkTracer, sample: f64) -> Self {
        Self { tracer, sample }
    }

    /// As its parent was; without one, by chance, but the same chance for the same record at every replica and after
    /// every retry.
    fn is_sampled(&self, cause: &Cause<'_>, origin: &Position) -> bool {
        let parent = cause.incoming.map(|incoming| incoming.parent).or(cause.previous);
        parent.map_or_else(|| chance(origin) < self.sample, TraceParent::is_sampled)
    }

    /// The span of an event that begins to be processed, if it is sampled.
    #[must_use]
    pub fn event(self: &Arc<Self>, event: &CloudEvent, cause: &Cause<'_>, source: &Source<'_>) -> Option<EventSpan> {
        let mut span = self.begin(cause, source)?;
        let about = span.span.get_mut();
        about.set_attribute(KeyValue::new("cloudevents.event_id", event.id().to_owned()));
        about.set_attribute(KeyValue::new("cloudevents.event_source", event.source().to_owned()));
        about.set_attribute(KeyValue::new("cloudevents.event_type", event.kind().to_owned()));
        Some(span)
    }

    /// The span of a record that never became an event here, if it is sampled.
    pub fn failed(self: &Arc<Self>, cause: &Cause<'_>, source: &Source<'_>, code: &'static str, message: &str) {
        if let Some(span) = self.begin(cause, source) {
            span.failed(code, message);
        }
    }

    fn begin(self: &Arc<Self>, cause: &Cause<'_>, source: &Source<'_>) -> Option<EventSpan> {
        if !self.is_sampled(cause, source.origin) {
            return None;
        }
        let Position { topic, partition, offset } = source.position;
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", Arc::clone(topic)),
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
            KeyValue::new("messaging.kafka.offset", *offset),
            KeyValue::new("messaging.consumer.group.name", source.group.to_owned()),
        ];
        if source.position != source.origin {
            attributes.push(KeyValue::new("tidegate.origin", source.origin.to_string()));
        }
        let state = cause.incoming.and_then(|incoming| incoming.tracestate);
        let parent = match (cause.incoming, cause.previous) {
            (Some(incoming), _) => Context::new().with_remote_span_context(remote(incoming.parent, state)),
            // No context came with the event, so its first span was the root: the trace goes on below the last attempt.
            (None, Some(previous)) => Context::new().with_remote_span_context(remote(previous, None)),
            (None, None) => Context::new(),
        };
        let mut builder = SpanBuilder::from_name(format!("process {topic}"))
            .with_kind(SpanKind::Consumer)
            .with_start_time(clock::system_time())
            .with_attributes(attributes);
        builder.links = cause.previous.map(|previous| vec![Link::with_context(remote(previous, state))]);
        let span = self.tracer.build_with_context(builder, &parent);
        let children = Context::new().with_remote_span_context(span.span_context().clone());
        Some(EventSpan { spans: Arc::clone(self), span: RefCell::new(span), children })
    }
}

/// The span of an event that is being processed. It ends when it is dropped, with the last of the event's deliveries.
#[derive(Debug)]
pub struct EventSpan {
    spans: Arc<Spans>,
    span: RefCell<Span>,
    /// The parent of its attempts.
    children: Context,
}

impl EventSpan {
    /// Nobody wants the event, or all who do have it.
    pub fn outcome(&self, outcome: &'static str) {
        self.span.borrow_mut().set_attribute(KeyValue::new("tidegate.outcome", outcome));
    }

    /// A delivery of the event ended as a dead letter.
    pub fn failed(&self, code: &str, message: &str) {
        let mut span = self.span.borrow_mut();
        span.set_attribute(KeyValue::new("error.type", code.to_owned()));
        span.set_status(Status::error(message.to_owned()));
    }

    /// Begins the span of an attempt, `started` then.
    #[must_use]
    pub fn attempt(&self, aim: &Aim<'_>, started: SystemTime) -> AttemptSpan {
        let mut attributes = vec![
            KeyValue::new("http.request.method", aim.method.to_owned()),
            KeyValue::new("server.address", aim.host.to_owned()),
            KeyValue::new("server.port", i64::from(aim.port)),
            KeyValue::new("url.template", aim.template.to_owned()),
            KeyValue::new("tidegate.rule", aim.rule.to_owned()),
            KeyValue::new("tidegate.target", aim.target.to_owned()),
            KeyValue::new("tidegate.destination", aim.destination.to_owned()),
            KeyValue::new("tidegate.delivery_id", aim.delivery_id.to_owned()),
        ];
        if aim.resends > 0 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(aim.resends)));
        }
        let builder = SpanBuilder::from_name(format!("{} {}", aim.method, aim.template))
            .with_kind(SpanKind::Client)
            .with_start_time(started)
            .with_attributes(attributes);
        AttemptSpan { span: self.spans.tracer.build_with_context(builder, &self.children), ended: None }
    }
}

impl Drop for EventSpan {
    fn drop(&mut self) {
        self.span.get_mut().end_with_timestamp(clock::system_time());
    }
}

/// The span of an attempt. One that is dropped before it is told how the attempt ended was cut off.
#[derive(Debug)]
pub struct AttemptSpan {
    span: Span,
    ended: Option<SystemTime>,
}

impl AttemptSpan {
    /// Its context, for the request and for the record that may follow.
    #[must_use]
    pub fn context(&self) -> TraceParent {
        let context = self.span.span_context();
        TraceParent {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        }
    }

    /// The attempt ended then; what follows from it is told later.
    pub fn ended(&mut self, at: SystemTime) {
        self.ended = Some(at);
    }

    /// Ends the span: how the attempt ended and what is done next.
    pub fn finish(mut self, report: &Report, decision: Decision) {
        let ended = self.ended.take().unwrap_or_else(clock::system_time);
        if let Some(status) = report.status {
            self.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if report.class != Class::Success {
            self.span.set_attribute(KeyValue::new("error.type", report.code));
            self.span.set_attribute(KeyValue::new("tidegate.class", report.class.as_str()));
            self.span.set_status(Status::error(report.message.clone()));
        }
        if let Some((name, attributes)) = decision.event() {
            self.span.add_event_with_timestamp(name, ended, attributes);
        }
        self.span.end_with_timestamp(ended);
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        // Ended already if it was finished; then this changes nothing.
        if self.span.is_recording() {
            self.span.set_attribute(KeyValue::new("error.type", CUT_OFF));
            self.span.set_status(Status::error("the partition was taken away before the answer came"));
            self.span.end_with_timestamp(self.ended.take().unwrap_or_else(clock::system_time));
        }
    }
}

/// Code of an attempt whose end nobody waited for.
const CUT_OFF: &str = "DELIVER_CUT_OFF";

/// What follows from an attempt; an event of its span.
#[derive(Debug, Clone, Copy)]
pub enum Decision {
    /// Nothing: they took it.
    Delivered,
    /// Tried again from memory after so many milliseconds.
    Retry {
        /// The wait.
        after_ms: i64,
    },
    /// Written to a retry tier, due then.
    HandOff {
        /// Milliseconds since 1970.
        due_ms: i64,
    },
    /// Written to the queue of its destination.
    Queue,
    /// Written to the dead-letter topic.
    DeadLetter {
        /// The condition of the policy that ended it.
        exhausted: Option<&'static str>,
    },
    /// Kept where it is until its destination is resumed.
    Hold {
        /// The condition of the policy that ended it.
        exhausted: Option<&'static str>,
    },
}

impl Decision {
    fn event(self) -> Option<(&'static str, Vec<KeyValue>)> {
        Some(match self {
            Self::Delivered => return None,
            Self::Retry { after_ms } => ("retry", vec![KeyValue::new("tidegate.after_ms", after_ms)]),
            Self::HandOff { due_ms } => ("hand_off", vec![KeyValue::new("tidegate.due_ms", due_ms)]),
            Self::Queue => ("queue", Vec::new()),
            Self::DeadLetter { exhausted } => {
                let exhausted = exhausted.map(|condition| KeyValue::new("tidegate.exhausted", condition));
                ("dead_letter", exhausted.into_iter().collect())
            }
            Self::Hold { exhausted } => {
                let exhausted = exhausted.map(|condition| KeyValue::new("tidegate.exhausted", condition));
                ("hold", exhausted.into_iter().collect())
            }
        })
    }
}

fn remote(parent: TraceParent, state: Option<&str>) -> SpanContext {
    let state = state.and_then(|text| text.parse::<TraceState>().ok()).unwrap_or_default();
    let (trace_id, span_id) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::new(parent.flags), true, state)
}

/// From 0 up to 1, evenly spread, and always the same for the same partition and offset (splitmix64).
fn chance(origin: &Position) -> f64 {
    let partition = u64::from(origin.partition.unsigned_abs());
    let mut mixed = origin.offset.unsigned_abs().wrapping_add(partition.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / 4_294_967_296.0
}
