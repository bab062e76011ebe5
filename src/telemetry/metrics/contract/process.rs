//! Of the contract: the process itself.

use super::{Metric, Read, metric, seconds};

pub(super) static METRICS: &[Metric] = &[
    metric(
        "tidegate.ready",
        "tidegate_ready",
        "{state}",
        &[],
        "1 if work can flow, as /readyz says.",
        Read::Level(|sample, tell| tell(u64::from(sample.state.missing.is_empty()), &[])),
    ),
    metric(
        "tidegate.slots.owned",
        "tidegate_slots_owned",
        "{slot}",
        &[],
        "Slots of 32 that this replica owns: its part of the retry tiers and of every rate limit.",
        Read::Level(|sample, tell| tell(u64::from(sample.state.slots.owned), &[])),
    ),
    metric(
        "tidegate.queues.unknown",
        "tidegate_queues_unknown",
        "{queue}",
        &[],
        "Queues that hold deliveries for a destination that is not in the resources; after an hour they become dead letters.",
        Read::Level(|sample, tell| tell(u64::from(sample.state.slots.unknown_queues), &[])),
    ),
    metric(
        "tidegate.memory.used",
        "tidegate_memory_used_bytes",
        "By",
        &[],
        "Bytes of events in all windows.",
        Read::Level(|sample, tell| tell(sample.state.memory.used_bytes, &[])),
    ),
    metric(
        "tidegate.memory.limit",
        "tidegate_memory_limit_bytes",
        "By",
        &[],
        "How many bytes of events there may be in all windows.",
        Read::Level(|sample, tell| tell(sample.state.memory.budget_bytes, &[])),
    ),
    metric(
        "tidegate.window.records.limit",
        "tidegate_window_records_limit",
        "{record}",
        &[],
        "Records that one window takes.",
        Read::Level(|sample, tell| tell(sample.state.memory.window_records_max, &[])),
    ),
    metric(
        "tidegate.window.size.limit",
        "tidegate_window_size_limit_bytes",
        "By",
        &[],
        "Bytes that one window takes.",
        Read::Level(|sample, tell| tell(sample.state.memory.window_bytes_max, &[])),
    ),
    metric(
        "tidegate.build.info",
        "tidegate_build_info",
        "{build}",
        &["version", "commit", "librdkafka"],
        "1; which build this is.",
        Read::Level(|sample, tell| {
            let build = &sample.build;
            tell(1, &[build.version, build.commit.unwrap_or_default(), &build.librdkafka]);
        }),
    ),
    metric(
        "process.start_time",
        "process_start_time_seconds",
        "s",
        &[],
        "When the process started, in seconds since 1970.",
        Read::Ratio(|sample, tell| tell(seconds(u64::try_from(sample.state.started_ms).unwrap_or(0)), &[])),
    ),
];
