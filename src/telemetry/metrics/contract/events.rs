//! Of the contract: what became of events and deliveries.

use super::{Metric, Read, TARGET, metric, with};
use crate::telemetry::figures::{End, Intake, SourceFigures, TargetFigures};
use crate::telemetry::metrics::instruments::Sample;

/// How long events take to their destination.
pub(in crate::telemetry::metrics) const DELIVERY_LATENCY: &str = "tidegate.delivery.latency";

/// An event may be as old as `max_age` allows and older.
const LATENCY_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0];

pub(super) static METRICS: &[Metric] = &[
    metric(
        "messaging.client.consumed.messages",
        "messaging_client_consumed_messages_total",
        "{message}",
        &["source", "messaging.system", "messaging.operation.name"],
        "Records taken from source topics.",
        Read::Count(|sample, tell| {
            for source in sample.figures.sources() {
                tell(source.of(Intake::Received), &[source.name(), "kafka", "poll"]);
            }
        }),
    ),
    metric(
        "tidegate.events",
        "tidegate_events_total",
        "{event}",
        &["source", "outcome"],
        "What became of records: matched, filtered (no rule wants it), undecodable, skipped_by_map (done before a restart).",
        Read::Count(|sample, tell| {
            for source in sample.figures.sources() {
                tell(source.of(Intake::Matched), &[source.name(), "matched"]);
                tell(source.of(Intake::Filtered), &[source.name(), "filtered"]);
                tell(source.of(Intake::Undecodable), &[source.name(), "undecodable"]);
                tell(source.of(Intake::SkippedByMap), &[source.name(), "skipped_by_map"]);
            }
        }),
    ),
    metric(
        "tidegate.deliveries.begun",
        "tidegate_deliveries_begun_total",
        "{delivery}",
        TARGET,
        "Deliveries begun: matched events times targets.",
        Read::Count(|sample, tell| targets(sample, |target, labels| tell(target.begins(), labels))),
    ),
    metric(
        "tidegate.deliveries.resumed",
        "tidegate_deliveries_resumed_total",
        "{delivery}",
        TARGET,
        "Deliveries read back from a retry tier or a queue.",
        Read::Count(|sample, tell| targets(sample, |target, labels| tell(target.resumptions(), labels))),
    ),
    metric(
        "tidegate.deliveries",
        "tidegate_deliveries_total",
        "{delivery}",
        &["rule", "target", "destination", "settlement"],
        "Deliveries by where they ended: delivered, handed_off (to a retry tier or a queue), dead_lettered.",
        Read::Count(|sample, tell| {
            targets(sample, |target, labels| {
                let hand_offs = target.hand_offs().map(|(_, count)| count).sum();
                let dead_letters = target.dead_letters().values().sum();
                tell(target.deliveries(), &with(labels, "delivered"));
                tell(hand_offs, &with(labels, "handed_off"));
                tell(dead_letters, &with(labels, "dead_lettered"));
            });
        }),
    ),
    metric(
        "tidegate.attempts",
        "tidegate_attempts_total",
        "{attempt}",
        &["rule", "target", "destination", "class", "code", "status"],
        "Attempts by class, code and HTTP status; no status if there was no answer.",
        Read::Count(|sample, tell| {
            targets(sample, |target, labels| {
                for (End { class, code, status }, count) in target.attempts() {
                    let status = status.map(|status| status.to_string()).unwrap_or_default();
                    tell(count, &[labels, &[class.as_str(), code, &status]].concat());
                }
            });
        }),
    ),
    metric(
        "tidegate.dead_letters",
        "tidegate_dead_letters_total",
        "{delivery}",
        &["rule", "target", "destination", "class", "code"],
        "Dead letters by class and code; no rule if the record was no event, or its target is gone.",
        Read::Count(|sample, tell| {
            targets(sample, |target, labels| {
                for (End { class, code, .. }, count) in target.dead_letters() {
                    tell(count, &[labels, &[class.as_str(), code]].concat());
                }
            });
        }),
    ),
    metric(
        "tidegate.hand_offs",
        "tidegate_hand_offs_total",
        "{delivery}",
        &["rule", "target", "destination", "tier"],
        "Deliveries written to a retry tier, or (`queue`) to the queue of their destination.",
        Read::Count(|sample, tell| {
            targets(sample, |target, labels| {
                for (tier, count) in target.hand_offs() {
                    tell(count, &with(labels, tier));
                }
            });
        }),
    ),
    metric(
        "tidegate.hand_off.failures",
        "tidegate_hand_off_failures_total",
        "{write}",
        &["source"],
        "Writes to a retry tier or dead-letter topic that failed and were tried again.",
        Read::Count(|sample, tell| sources(sample, |source, labels| tell(source.hand_off_failures(), labels))),
    ),
    metric(
        "tidegate.deliveries.cut_off",
        "tidegate_deliveries_cut_off_total",
        "{delivery}",
        &["source"],
        "Deliveries cut off because their partition was taken away; they come again elsewhere.",
        Read::Count(|sample, tell| sources(sample, |source, labels| tell(source.cut_offs(), labels))),
    ),
    metric(
        DELIVERY_LATENCY,
        "tidegate_delivery_latency_seconds",
        "s",
        &["destination"],
        "Time from the Kafka timestamp of the event's first record until the destination took it, retries and waiting included.",
        Read::Recorded(LATENCY_SECONDS),
    ),
];

/// Every source that has taken a record, or could.
fn sources(sample: &Sample, mut each: impl FnMut(&SourceFigures, &[&str])) {
    for source in sample.figures.sources() {
        each(&source, &[source.name()]);
    }
}

/// Every target, and what belongs to none, if there is such.
fn targets(sample: &Sample, mut each: impl FnMut(&TargetFigures, &[&str])) {
    for target in sample.figures.targets() {
        if target.rule.is_empty() && target.is_untouched() {
            continue;
        }
        each(&target, &[&target.rule, &target.target, &target.destination]);
    }
}
