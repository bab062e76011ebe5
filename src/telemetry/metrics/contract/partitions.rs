//! Of the contract: partitions, commits, rebalances, lag.

use super::{Metric, PARTITION, PARTITION_HOLDS, Read, is_held, metric, seconds, with};
use crate::telemetry::state::{Intake, Partition, State};

pub(super) static METRICS: &[Metric] = &[
    metric(
        "tidegate.partitions",
        "tidegate_partitions",
        "{partition}",
        &["source"],
        "Partitions that this replica has; the retry tiers are the source `stored`.",
        Read::Level(|sample, tell| {
            for intake in &sample.state.intakes {
                tell(u64::try_from(intake.partitions.len()).unwrap_or(0), &[&intake.name]);
            }
        }),
    ),
    metric(
        "tidegate.partition.lag",
        "tidegate_partition_lag",
        "{record}",
        PARTITION,
        "Records from the committed offset to the end of the partition, as last heard from Kafka.",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| at.lag.into_iter().for_each(|lag| tell(lag, labels)));
        }),
    ),
    metric(
        "tidegate.partition.scalable_lag",
        "tidegate_partition_scalable_lag",
        "{record}",
        PARTITION,
        "The lag that more replicas would get through sooner: 0 where the window is full of deliveries that a rate limit, gate, breaker or hold keeps back.",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| at.scalable_lag.into_iter().for_each(|lag| tell(lag, labels)));
        }),
    ),
    metric(
        "tidegate.partition.watermark.age",
        "tidegate_partition_watermark_age_seconds",
        "s",
        PARTITION,
        "Time since the oldest open offset last changed; 0 if nothing is open.",
        Read::Ratio(|sample, tell| {
            partitions(&sample.state, |at, labels| {
                if let Some(lane) = &at.lane {
                    tell(seconds(lane.watermark_age_ms), labels);
                }
            });
        }),
    ),
    metric(
        "tidegate.partition.window.records",
        "tidegate_partition_window_records",
        "{record}",
        PARTITION,
        "Records read beyond the watermark.",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| at.lane.iter().for_each(|lane| tell(lane.window_records, labels)));
        }),
    ),
    metric(
        "tidegate.partition.window.size",
        "tidegate_partition_window_size_bytes",
        "By",
        PARTITION,
        "Bytes of events held.",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| at.lane.iter().for_each(|lane| tell(lane.window_bytes, labels)));
        }),
    ),
    metric(
        "tidegate.partition.map.size",
        "tidegate_partition_map_size_bytes",
        "By",
        PARTITION,
        "Size of the map in the last commit of what is complete above the watermark; Kafka takes 4,000.",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| at.lane.iter().for_each(|lane| tell(lane.map_bytes, labels)));
        }),
    ),
    metric(
        "tidegate.partition.held",
        "tidegate_partition_held",
        "{hold}",
        &["source", "topic", "partition", "reason"],
        "1 while the partition is not read for that reason: offset_gone (on_missing: halt), unreadable; or while sequences of \
         it wait for their destination to be resumed: exhausted (on_exhausted: hold).",
        Read::Level(|sample, tell| {
            partitions(&sample.state, |at, labels| {
                for reason in PARTITION_HOLDS {
                    tell(u64::from(is_held(at.held.as_ref(), reason)), &with(labels, reason));
                }
            });
        }),
    ),
    metric(
        "tidegate.commits",
        "tidegate_commits_total",
        "{commit}",
        &["source"],
        "Commits that Kafka has saved.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.commits, &[&intake.name]))),
    ),
    metric(
        "tidegate.commit.failures",
        "tidegate_commit_failures_total",
        "{commit}",
        &["source"],
        "Commits that Kafka has not saved; some are normal in a rebalance, and all are tried again.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.commit_failures, &[&intake.name]))),
    ),
    metric(
        "tidegate.commit.stale",
        "tidegate_commit_stale_total",
        "{commit}",
        &["source"],
        "Completions of an epoch that was over; they are not applied.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.stale_commits, &[&intake.name]))),
    ),
    metric(
        "tidegate.rebalances",
        "tidegate_rebalances_total",
        "{rebalance}",
        &["source"],
        "Assignments of partitions.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.rebalances, &[&intake.name]))),
    ),
    metric(
        "tidegate.drains",
        "tidegate_drains_total",
        "{drain}",
        &["source"],
        "How often partitions that were taken away were drained.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.drains, &[&intake.name]))),
    ),
    metric(
        "tidegate.drain.time",
        "tidegate_drain_time_seconds_total",
        "s",
        &["source"],
        "Time spent on draining partitions that were taken away.",
        Read::Time(|sample, tell| intakes(&sample.state, |intake| tell(seconds(intake.drain_ms), &[&intake.name]))),
    ),
    metric(
        "tidegate.records.missing",
        "tidegate_records_missing_total",
        "{record}",
        &["source"],
        "Records that Kafka had deleted before they were read.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.missing_records, &[&intake.name]))),
    ),
    metric(
        "tidegate.partitions.recreated",
        "tidegate_partitions_recreated_total",
        "{partition}",
        &["source"],
        "Partitions whose topic was found to be deleted and made anew; what was not read of the old one is gone.",
        Read::Count(|sample, tell| intakes(&sample.state, |intake| tell(intake.recreated, &[&intake.name]))),
    ),
    metric(
        "tidegate.membership.evidence.age",
        "tidegate_membership_evidence_age_seconds",
        "s",
        &["source"],
        "Time since this replica last had proof that it is a member of its group; beyond session_timeout it sends nothing.",
        Read::Ratio(|sample, tell| {
            intakes(&sample.state, |intake| {
                intake.evidence_age_ms.into_iter().for_each(|age| tell(seconds(age), &[&intake.name]));
            });
        }),
    ),
    metric(
        "tidegate.traces.dropped",
        "tidegate_traces_dropped_total",
        "{record}",
        &[],
        "Trace records for which the producer had no room.",
        Read::Count(|sample, tell| tell(sample.state.traces_dropped, &[])),
    ),
];

fn intakes(state: &State, each: impl FnMut(&Intake)) {
    state.intakes.iter().for_each(each);
}

/// Every partition that holds records; those of the slots never do.
fn partitions(state: &State, mut each: impl FnMut(&Partition, &[&str])) {
    for intake in state.intakes.iter().filter(|intake| intake.name != "slots") {
        for partition in &intake.partitions {
            each(partition, &[&intake.name, &partition.topic, &partition.partition.to_string()]);
        }
    }
}
