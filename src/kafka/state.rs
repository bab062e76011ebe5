//! What an intake looks like from outside, for the admin API and tests.

use super::committer::Shared;
use super::table::Phase;
use crate::model::clock::Monotonic;
use serde::Serialize;
use std::time::Duration;

/// A snapshot of an intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntakeState {
    /// Its group.
    pub group: String,
    /// Why nothing works any more, if so.
    pub failed: Option<String>,
    /// Milliseconds since the newest evidence of membership was sent; absent if there is none, or none is needed.
    pub evidence_age_ms: Option<u64>,
    /// Assignments so far.
    pub rebalances: u64,
    /// Commits that were saved.
    pub commits: u64,
    /// Commits that were not saved.
    pub commit_failures: u64,
    /// Commits of an epoch that was over.
    pub stale_commits: u64,
    /// Records that were gone before they were read, in all epochs.
    pub missing: u64,
    /// Partitions that were found to be of a topic that was deleted and made anew, in all epochs.
    pub recreated: u64,
    /// Its partitions.
    pub partitions: Vec<PartitionState>,
}

/// A snapshot of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionState {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Epoch of the assignment.
    pub epoch: u64,
    /// `running`, `starting`, `restarting`, `halted`.
    pub phase: &'static str,
    /// Why it is halted.
    pub held: Option<String>,
    /// Milliseconds since it was halted.
    pub held_ms: Option<u64>,
    /// The end of the partition, as last heard; only what is fetched is heard of.
    pub high_watermark: Option<i64>,
    /// The offset that Kafka is known to have saved.
    pub committed: Option<i64>,
    /// An offset that is still to be saved.
    pub pending: Option<i64>,
    /// It waits for its turn to be fetched.
    pub paused: bool,
    /// Records that were gone before they were read.
    pub skipped: u64,
}

impl IntakeState {
    /// It has been given partitions, or told that there are none for it now, and works.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.failed.is_none() && self.rebalances > 0
    }

    pub(super) fn of(shared: &Shared, now: Monotonic) -> Self {
        let core = shared.core();
        let partitions = core.table.iter().map(|(at, entry)| {
            let (phase, held, since) = match &entry.phase {
                Phase::Running => ("running", None, None),
                Phase::Starting(_) => ("starting", None, None),
                Phase::Restarting => ("restarting", None, None),
                Phase::Halted { why, since } => ("halted", Some(why.clone()), Some(*since)),
            };
            PartitionState {
                topic: at.topic.to_string(),
                partition: at.partition,
                epoch: entry.epoch,
                phase,
                held,
                held_ms: since.map(|since| millis(now.since(since))),
                high_watermark: entry.high_watermark,
                committed: entry.committed.as_ref().map(|c| c.next_offset),
                pending: entry.item(at).map(|item| item.stored.next_offset),
                paused: entry.paused,
                skipped: entry.skipped,
            }
        });
        let age = shared.membership.evidence_age(now).filter(|_| shared.membership.is_needed());
        Self {
            group: shared.group.clone(),
            failed: core.failed.clone(),
            evidence_age_ms: age.map(millis),
            rebalances: core.rebalances,
            commits: core.commits,
            commit_failures: core.commit_failures,
            stale_commits: core.stale_commits,
            missing: core.missing,
            recreated: core.recreated,
            partitions: partitions.collect(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
