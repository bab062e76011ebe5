//! From what each replica tells to one row for each thing.

use super::QUEUE;
use super::overview::{
    ConnectionRow, DestinationRow, HeldRow, Kept, Part, PartitionRow, Reading, ReplicaRow, Source, SourceRow, Tier,
    TierRow,
};
use crate::kafka::{Group, Lag, Phase};
use crate::model::clock::WallMs;
use crate::telemetry::report::{Report, in_ranges};
use crate::telemetry::state::{Connection, Destination, Held};
use std::collections::{BTreeMap, BTreeSet};

/// The larger, the worse.
fn weight(held: Option<&Held>) -> u8 {
    match held.map(|held| held.reason.as_str()) {
        None => 0,
        Some("no_share") => 1,
        Some("rate") => 2,
        Some("overload") => 3,
        Some("breaker") => 4,
        Some("incident") => 5,
        Some(_) => 6,
    }
}

pub(super) fn replica(report: &Report, now: WallMs) -> ReplicaRow {
    let state = &report.state;
    let count = |topics: &BTreeMap<String, String>| topics.values().map(|ranges| numbers(ranges)).sum();
    let sources = report.partitions.iter().filter(|(intake, _)| report.sources.contains_key(*intake));
    ReplicaRow {
        replica: report.replica.clone(),
        host: report.host.clone(),
        version: state.version.clone(),
        started: WallMs(state.started_ms).rfc3339(),
        heard: report.at().rfc3339(),
        stale: report.is_stale(now),
        slots: state.slots.owned,
        partitions: sources.map(|(intake, topics)| (intake.clone(), count(topics))).collect(),
        traced: report.traced.clone(),
        memory_used_bytes: state.memory.used_bytes,
        memory_budget_bytes: state.memory.budget_bytes,
        traces_dropped: state.traces_dropped,
        started_ms: state.started_ms,
        heard_ms: state.at_ms,
    }
}

/// How many numbers `0-3,7` names.
fn numbers(ranges: &str) -> usize {
    let number = |text: &str| text.parse::<usize>().ok();
    let one = |range: &str| match range.split_once('-') {
        Some((from, to)) => number(to).zip(number(from)).map_or(0, |(to, from)| to.saturating_sub(from) + 1),
        None => usize::from(number(range).is_some()),
    };
    ranges.split(',').map(one).sum()
}

pub(super) fn source(source: Source, fresh: &[&Report]) -> SourceRow {
    let Source { name, group, lags, missing, members } = source;
    let row = |lag: Lag| {
        let (topic, number) = (&*lag.at.topic, lag.at.partition);
        let has = |report: &&&Report| {
            let ranges = report.partitions.get(&name).and_then(|topics| topics.get(topic));
            ranges.is_some_and(|ranges| in_ranges(ranges, number))
        };
        let reader = fresh.iter().find(has);
        let intakes = fresh.iter().flat_map(|report| &report.state.intakes).filter(|intake| intake.name == name);
        let held = intakes.flat_map(|intake| &intake.partitions).find(|p| p.topic == topic && p.partition == number);
        PartitionRow {
            topic: topic.to_owned(),
            partition: number,
            committed: lag.committed,
            end: lag.high,
            lag: lag.unread(),
            replica: reader.map(|report| report.replica.clone()),
            held: held.and_then(|partition| partition.held.clone()),
        }
    };
    let gone = missing.into_iter().map(|topic| PartitionRow {
        held: Some(Held {
            reason: "topic_missing".to_owned(),
            detail: "the topic does not exist".to_owned(),
            what_to_do: "create it, or correct `kafka.topics` of the source".to_owned(),
            ..Held::default()
        }),
        topic,
        partition: 0,
        committed: None,
        end: 0,
        lag: 0,
        replica: None,
    });
    let there = !lags.is_empty();
    let partitions: Vec<PartitionRow> = lags.into_iter().map(row).chain(gone).collect();
    let readers: BTreeSet<&str> = partitions.iter().filter_map(|row| row.replica.as_deref()).collect();
    let started = fresh.iter().filter(|report| there && report.sources.contains_key(&name)).count();
    let reading = reading(readers.len(), members.filter(|_| there), started);
    SourceRow { lag: partitions.iter().map(|row| row.lag).sum(), source: name.clone(), group, partitions, reading }
}

/// Who reads a source of which `readers` replicas tell that they do, and `started` that it is theirs to read.
fn reading(readers: usize, group: Option<Group>, started: usize) -> Reading {
    if readers > 0 {
        return Reading::Replicas(readers);
    }
    // Where Kafka cannot be asked, or does not tell of its members, those who wait for partitions tell it themselves.
    let group = group.filter(|group| group.members > 0);
    let Some(Group { phase, members, assigned }) = group else {
        return if started > 0 { Reading::Assigning(started) } else { Reading::Nobody };
    };
    match phase {
        Phase::Joining => Reading::Joining(members),
        Phase::Assigning => Reading::Assigning(members),
        Phase::Settled if assigned == 0 => Reading::Assigning(members),
        Phase::Settled => Reading::Untold(assigned),
    }
}

pub(super) fn tier(tier: Tier) -> TierRow {
    let Tier { name, waiting, oldest, by_destination } = tier;
    TierRow { tier: name, waiting, oldest: oldest.map(WallMs::rfc3339), by_destination, oldest_at: oldest }
}

/// How many deliveries of a destination are stored in these tiers.
fn stored(tiers: &[Tier], name: &str, which: impl Fn(&&Tier) -> bool) -> u64 {
    tiers.iter().filter(which).filter_map(|tier| tier.by_destination.get(name)).sum()
}

/// What the replicas say; while none runs, what is kept of holds in Kafka.
pub(super) fn destinations(fresh: &[&Report], tiers: &[Tier], holds: &[Kept]) -> Vec<DestinationRow> {
    if fresh.is_empty() {
        return holds.iter().map(|kept| self::kept(kept, tiers)).collect();
    }
    let mut rows: BTreeMap<&str, Vec<(&Report, &Destination)>> = BTreeMap::new();
    for report in fresh {
        for destination in &report.state.destinations {
            rows.entry(&destination.name).or_default().push((report, destination));
        }
    }
    let row = |(name, parts): (&str, Vec<(&Report, &Destination)>)| {
        let (report, worst) = parts.iter().copied().max_by_key(|(_, part)| weight(part.held.as_ref()))?;
        let since_ms = parts.iter().filter_map(|(_, part)| part.held.as_ref()?.since_ms).min();
        let next_ms = worst.held.as_ref().and_then(|held| held.wait_ms);
        let next_ms = next_ms.map(|wait| report.state.at_ms.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX)));
        Some(DestinationRow {
            destination: name.to_owned(),
            connection: worst.connection.clone(),
            held: worst.held.as_ref().map(|held| HeldRow {
                reason: held.reason.clone(),
                detail: held.detail.clone(),
                since: since_ms.map(|ms| WallMs(ms).rfc3339()),
                next: next_ms.map(|ms| WallMs(ms).rfc3339()),
                what_to_do: held.what_to_do.clone(),
                since_ms,
                next_ms,
            }),
            breaker: worst.breaker.clone(),
            waiting: parts.iter().map(|(_, part)| part.waiting).sum(),
            in_tiers: stored(tiers, name, |tier| tier.name != QUEUE),
            in_queue: stored(tiers, name, |tier| tier.name == QUEUE),
            in_flight: parts.iter().map(|(_, part)| part.in_flight).sum(),
            concurrency_limit: parts.iter().map(|(_, part)| part.concurrency_limit).sum(),
            rate_limits: worst.rate_limits.clone(),
            share: parts.iter().map(|(_, part)| u32::from(part.share)).sum(),
            trouble: parts.iter().find_map(|(_, part)| part.trouble.clone()),
            replicas: parts.iter().map(|(report, part)| self::part(report, part)).collect(),
        })
    };
    rows.into_iter().filter_map(row).collect()
}

/// A destination of which only its hold is known.
fn kept(kept: &Kept, tiers: &[Tier]) -> DestinationRow {
    let Kept { destination, connection, hold, record } = kept;
    let (detail, what_to_do) = hold.explain(record, destination);
    DestinationRow {
        destination: destination.clone(),
        connection: connection.clone(),
        held: Some(HeldRow {
            reason: hold.as_str().to_owned(),
            detail,
            since: Some(WallMs(record.since_ms).rfc3339()),
            next: None,
            what_to_do,
            since_ms: Some(record.since_ms),
            next_ms: None,
        }),
        in_tiers: stored(tiers, destination, |tier| tier.name != QUEUE),
        in_queue: stored(tiers, destination, |tier| tier.name == QUEUE),
        ..DestinationRow::default()
    }
}

fn part(report: &Report, part: &Destination) -> Part {
    Part {
        replica: report.replica.clone(),
        held: part.held.as_ref().map(|held| held.reason.clone()),
        waiting: part.waiting,
        in_flight: part.in_flight,
        concurrency_limit: part.concurrency_limit,
        share: part.share,
    }
}

pub(super) fn connections(fresh: &[&Report]) -> Vec<ConnectionRow> {
    let mut rows: BTreeMap<&str, Vec<&Connection>> = BTreeMap::new();
    for connection in fresh.iter().flat_map(|report| &report.state.connections) {
        rows.entry(&connection.name).or_default().push(connection);
    }
    let row = |(name, parts): (&str, Vec<&Connection>)| {
        let tokens = || parts.iter().filter_map(|part| part.token.as_ref());
        let failing = tokens().find(|token| token.trouble.is_some());
        ConnectionRow {
            connection: name.to_owned(),
            rate_limits: parts.first().map(|part| part.rate_limits.clone()).unwrap_or_default(),
            share: parts.iter().map(|part| u32::from(part.share)).sum(),
            token: failing.or_else(|| tokens().next()).cloned(),
        }
    };
    rows.into_iter().map(row).collect()
}
