//! What this replica looks like, gathered from those who know: intakes, lanes, destinations, slots, memory.
//!
//! Looking disturbs nobody: lanes and dispatchers write words that are read here, and what is locked is locked for
//! moments. [`/state`](super) shows the result, the metrics are read from it, and whoever is told of this replica in
//! another way is told the same.

use crate::destinations::Destination;
use crate::kafka::{self, Intake, IntakeState, PartitionState, Producer, TopicPartition};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::stored::SLOTS;
use crate::pipeline::depths::Depths;
use crate::pipeline::filled::Filled;
use crate::pipeline::slots::Slots;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::ticket::{Budget, Caps};
use crate::pipeline::worker::STORED;
use crate::telemetry::figures::lane::{LaneFigures, Lanes, SequencesHeld};
use crate::telemetry::metrics::{Build, Measured, Sample, Watched};
use crate::telemetry::state::{self, Held, Lane, Memory, Missing, Partition, State};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the replica is made of, as far as it is looked at.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The compiled resources.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Writes traces.
    pub traces: Producer,
    /// Which slots are ours.
    pub slots: Arc<Slots>,
    /// What lies in the queues of our slots.
    pub depths: Arc<Depths>,
    /// Where the tiers and queues of our slots end.
    pub filled: Arc<Filled>,
    /// What lanes say of themselves.
    pub lanes: Arc<Lanes>,
    /// Bytes for all windows.
    pub budget: Arc<Budget>,
    /// Caps of each window.
    pub caps: Caps,
}

/// This replica.
#[derive(Debug)]
pub struct Replica {
    parts: Parts,
    started: WallMs,
    intakes: Mutex<BTreeMap<String, Arc<Intake>>>,
}

impl Replica {
    /// A replica that starts now and has no intakes yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, started: WallMs::now(), intakes: Mutex::default() }
    }

    /// Shows an intake under a name, or no more.
    pub fn set(&self, name: &str, intake: Option<&Arc<Intake>>) {
        let mut intakes = self.intakes.lock().unwrap_or_else(PoisonError::into_inner);
        match intake {
            Some(intake) => drop(intakes.insert(name.to_owned(), Arc::clone(intake))),
            None => drop(intakes.remove(name)),
        }
    }

    /// It is shutting down: it has no intakes any more.
    pub fn close(&self) {
        self.intakes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is missing before work can flow; empty if it can.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.missing_of(&self.intake_states())
    }

    /// The destinations in use, to be measured.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let snapshot = self.parts.snapshot.load();
        let measured = snapshot.destinations().map(|destination| {
            let resource = destination.resource();
            Measured {
                name: resource.name.to_string(),
                method: destination.to().method.to_string(),
                host: resource.base.host.clone(),
                port: resource.base.port.to_string(),
                figures: Arc::clone(destination.figures()),
            }
        });
        measured.collect()
    }

    /// All of it.
    #[must_use]
    pub fn state(&self) -> State {
        let (now, parts) = (Monotonic::now(), &self.parts);
        let snapshot = parts.snapshot.load();
        let intakes = self.intake_states();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let status = |destination: &Arc<Destination>| {
            let status = destination.status(now);
            match parts.depths.of(&status.name) {
                Some(depth) => state::Destination { queued: depth.waiting, queued_since_ms: depth.oldest_ms, ..status },
                None => status,
            }
        };
        let mut destinations: Vec<_> = snapshot.destinations().map(status).collect();
        destinations.sort_by(|a, b| a.name.cmp(&b.name));
        let mut connections: Vec<_> = snapshot.connections().map(|connection| connection.status(now)).collect();
        connections.sort_by(|a, b| a.name.cmp(&b.name));
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms: WallMs::now().0,
            started_ms: self.started.0,
            missing: self.missing_of(&intakes),
            intakes: intakes.into_iter().map(|(name, intake)| self.intake(name, intake, &snapshot, now)).collect(),
            destinations,
            connections,
            slots: state::Slots {
                owned: u32::try_from(parts.slots.owned()).unwrap_or(SLOTS),
                of: SLOTS,
                unknown_queues: u32::try_from(parts.slots.unknown_queues()).unwrap_or(u32::MAX),
            },
            memory: Memory {
                used_bytes: number(parts.budget.used_bytes()),
                budget_bytes: number(parts.budget.allowed_bytes()),
                window_bytes_max: number(parts.caps.bytes),
                window_records_max: number(parts.caps.records),
            },
            totals: snapshot.figures().totals(),
            traces_dropped: parts.traces.dropped(),
        }
    }

    fn intake_states(&self) -> Vec<(String, IntakeState)> {
        let intakes = self.intakes.lock().unwrap_or_else(PoisonError::into_inner);
        intakes.iter().map(|(name, intake)| (name.clone(), intake.state())).collect()
    }

    fn missing_of(&self, intakes: &[(String, IntakeState)]) -> Vec<Missing> {
        let missing = |what: &str, reason: String, cure: String| Missing { what: what.to_owned(), reason, cure };
        if intakes.is_empty() {
            return vec![missing("intakes", "shutting down".to_owned(), String::new())];
        }
        let mut all = Vec::new();
        for (name, intake) in intakes {
            match &intake.failed {
                Some(why) => {
                    let cure = "the log says more; correct it and restart this replica".to_owned();
                    all.push(missing(name, why.clone(), cure));
                }
                // The tiers have no group: whether there is anything to read depends on the slots.
                None if name == STORED || intake.has_joined() => {}
                None => {
                    let cure = format!(
                        "takes seconds; if it lasts, check `kafka.brokers` and what this user may do with group {}",
                        intake.group
                    );
                    all.push(missing(name, "not assigned by its group yet".to_owned(), cure));
                }
            }
        }
        // The one that writes hand-offs keeps no statistics; both speak to the same brokers.
        if !self.parts.traces.is_up() {
            let cure = "check `kafka.brokers` and whether a broker can be reached from here".to_owned();
            all.push(missing("producer", "connected to no broker".to_owned(), cure));
        }
        all
    }

    fn intake(&self, name: String, intake: IntakeState, snapshot: &Snapshot, now: Monotonic) -> state::Intake {
        let (drains, drained) = snapshot.figures().find_source(&name).map(|source| source.drains()).unwrap_or_default();
        let kept_back = is_kept_back(&name, snapshot);
        let group = intake.group;
        let partitions = intake.partitions.into_iter().map(|mut partition| {
            if name == STORED {
                // Its client keeps no statistics.
                let at = TopicPartition::new(partition.topic.as_str(), partition.partition);
                partition.high_watermark = self.parts.filled.end(&at);
            }
            let lane = self.parts.lanes.get(&group, &partition.topic, partition.partition);
            shown(partition, lane.as_deref(), kept_back, now)
        });
        let partitions = partitions.collect();
        state::Intake {
            partitions,
            name,
            group,
            failed: intake.failed,
            evidence_age_ms: intake.evidence_age_ms,
            rebalances: intake.rebalances,
            commits: intake.commits,
            commit_failures: intake.commit_failures,
            stale_commits: intake.stale_commits,
            drains,
            drain_ms: millis(drained),
            missing_records: intake.missing,
            recreated: intake.recreated,
        }
    }
}

impl Watched for Replica {
    fn sample(&self) -> Sample {
        Sample {
            now: Monotonic::now(),
            state: self.state(),
            figures: Arc::clone(self.parts.snapshot.load().figures()),
            destinations: self.measured(),
            build: Build::with(kafka::client_version()),
        }
    }
}

/// Deliveries of that source wait for something that more replicas would not give them.
fn is_kept_back(source: &str, snapshot: &Snapshot) -> bool {
    let rules = snapshot.rules().iter().filter(|compiled| {
        let from = compiled.rule.from.as_ref();
        // Targets in order read by themselves, each under its own name.
        source == STORED || source.contains('.') || from.is_none_or(|from| from.as_str() == source)
    });
    let targets = rules.flat_map(|rule| &rule.targets).filter(|target| match target.order {
        Some(_) => format!("{}.{}", target.rule, target.name) == source,
        None => !source.contains('.'),
    });
    let mut waits = targets.flat_map(|target| target.destination.figures().waits());
    waits.any(|wait| wait.is_shared())
}

fn shown(partition: PartitionState, lane: Option<&LaneFigures>, kept_back: bool, now: Monotonic) -> Partition {
    let since = |ms: u64| WallMs::now().0.saturating_sub(i64::try_from(ms).unwrap_or(0));
    let unreadable = lane.and_then(LaneFigures::unreadable_since);
    let held = match (partition.held, unreadable) {
        (Some(why), _) => Some(Held {
            reason: "offset_gone".to_owned(),
            detail: why,
            since_ms: partition.held_ms.map(since),
            wait_ms: None,
            what_to_do: "set `on_missing: earliest` or `latest` for the source, or reset the group's offset".to_owned(),
        }),
        (None, Some(at)) => Some(Held {
            reason: "unreadable".to_owned(),
            detail: "records cannot be read, and reading on would skip them".to_owned(),
            since_ms: Some(since(millis(now.since(at)))),
            wait_ms: None,
            what_to_do: "mend the topic, then restart this replica".to_owned(),
        }),
        (None, None) => lane.and_then(LaneFigures::held).map(|held| {
            let since_ms = since(millis(now.since(held.since)));
            sequences_held(held, since_ms)
        }),
    };
    let position = partition.committed.or_else(|| lane.and_then(LaneFigures::watermark));
    let lag =
        partition.high_watermark.zip(position).map(|(end, at)| u64::try_from(end.saturating_sub(at)).unwrap_or(0));
    let stuck = held.is_some() || (kept_back && lane.is_some_and(LaneFigures::is_full));
    Partition {
        topic: partition.topic,
        partition: partition.partition,
        epoch: partition.epoch,
        phase: partition.phase.to_owned(),
        paused: partition.paused,
        held,
        committed: partition.committed,
        pending: partition.pending,
        high_watermark: partition.high_watermark,
        lag,
        scalable_lag: lag.map(|lag| if stuck { 0 } else { lag }),
        skipped: partition.skipped,
        lane: lane.map(|lane| Lane {
            watermark: lane.watermark(),
            watermark_age_ms: millis(lane.watermark_age(now)),
            window_records: lane.window_records(),
            window_bytes: lane.window_bytes(),
            open: lane.open(),
            full: lane.is_full(),
            map_bytes: lane.map_bytes(),
        }),
    }
}

/// Some sequences of a partition wait; the others go on as far as the window reaches.
fn sequences_held(held: SequencesHeld, since_ms: i64) -> Held {
    let SequencesHeld { sequences, behind, target, destination, offset, code, message, .. } = held;
    let (s, waits) = if sequences == 1 { ("", "waits") } else { ("s", "wait") };
    Held {
        reason: "exhausted".to_owned(),
        detail: format!(
            "{sequences} sequence{s} of {target} {waits}, with {behind} deliveries behind; first offset {offset}: {code}: \
             {message}"
        ),
        since_ms: Some(since_ms),
        wait_ms: None,
        what_to_do: format!("mend the rule or the destination, then: tidegate resume {destination}"),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::figures::lane::Position;

    fn partition() -> PartitionState {
        PartitionState {
            topic: "t".to_owned(),
            partition: 0,
            epoch: 1,
            phase: "running",
            held: None,
            held_ms: None,
            committed: Some(40),
            pending: None,
            paused: false,
            skipped: 0,
            high_watermark: Some(100),
        }
    }

    fn lane(full: bool) -> LaneFigures {
        let lane = LaneFigures::default();
        lane.stands(&Position { watermark: Some(45), open: 1, full, ..Position::default() }, Monotonic(1));
        lane
    }

    #[test]
    fn lag_counts_from_what_is_saved_and_more_replicas_help_unless_a_full_window_is_kept_back() {
        let now = Monotonic(5_000_000_000);
        let lags = |full, kept_back| {
            let shown = shown(partition(), Some(&lane(full)), kept_back, now);
            (shown.lag, shown.scalable_lag)
        };
        assert_eq!(lags(false, false), (Some(60), Some(60)));
        assert_eq!(lags(true, false), (Some(60), Some(60)), "slow is not limited");
        assert_eq!(lags(false, true), (Some(60), Some(60)), "there is room to read on");
        assert_eq!(lags(true, true), (Some(60), Some(0)));
        let unknown = shown(PartitionState { high_watermark: None, ..partition() }, None, true, now);
        assert_eq!((unknown.lag, unknown.scalable_lag, unknown.lane), (None, None, None));
        let fresh = shown(PartitionState { committed: None, ..partition() }, Some(&lane(false)), false, now);
        assert_eq!(fresh.lag, Some(55));
    }

    #[test]
    fn a_held_partition_says_why_since_when_and_what_to_do() {
        let now = Monotonic(5_000_000_000);
        let halted = PartitionState { held: Some("gone".to_owned()), held_ms: Some(3_000), ..partition() };
        let held = shown(halted, None, false, now).held.unwrap();
        assert_eq!((held.reason.as_str(), held.detail.as_str()), ("offset_gone", "gone"));
        assert!(held.what_to_do.contains("on_missing") && WallMs::now().0 - held.since_ms.unwrap() >= 3_000);
        let lane = lane(false);
        lane.unreadable(Monotonic(1_000_000_000));
        let shown = shown(partition(), Some(&lane), false, now);
        let held = shown.held.unwrap();
        assert_eq!((held.reason.as_str(), shown.scalable_lag), ("unreadable", Some(0)));
        assert!(WallMs::now().0 - held.since_ms.unwrap() >= 4_000);
    }
}
