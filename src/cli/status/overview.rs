//! All that is known at one moment, put together from what the replicas tell and what Kafka says. Pure.

use crate::kafka::Lag;
use crate::model::clock::WallMs;
use crate::model::resources::Resources;
use crate::telemetry::report::{Report, in_ranges};
use crate::telemetry::state::{Connection, Destination, Held, Token, Trouble};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of each replica.
    pub(super) reports: Vec<Report>,
    /// Members that Kafka counts.
    pub(super) members: Option<usize>,
    /// How far each source is read.
    pub(super) sources: Vec<Source>,
    /// The retry tiers.
    pub(super) tiers: Vec<Tier>,
    /// How many dead letters wait, and since when.
    pub(super) dead_letters: DeadLetters,
}

/// How far a source is read.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Its name.
    pub(super) name: String,
    /// Its group.
    pub(super) group: String,
    /// Each of its partitions.
    pub(super) lags: Vec<Lag>,
    /// Topics that do not exist.
    pub(super) missing: Vec<String>,
}

/// What waits in a retry tier.
#[derive(Debug, Default)]
pub(super) struct Tier {
    /// Its name.
    pub(super) name: String,
    /// Records that are not settled.
    pub(super) waiting: u64,
    /// The timestamp of the oldest.
    pub(super) oldest: Option<WallMs>,
    /// Whose they are.
    pub(super) by_destination: BTreeMap<String, u64>,
}

/// Dead letters that wait.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::cli) struct DeadLetters {
    /// How many.
    pub(in crate::cli) waiting: usize,
    /// When the oldest died, RFC 3339.
    pub(in crate::cli) oldest: Option<String>,
    /// How many by `rule/target`.
    pub(in crate::cli) by_target: BTreeMap<String, usize>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// When, RFC 3339.
    pub(super) at: String,
    /// Replicas that told of themselves.
    pub(super) replicas: Vec<ReplicaRow>,
    /// Members that Kafka counts in the group of the slots; absent where it cannot be asked.
    pub(super) members: Option<usize>,
    /// Sources.
    pub(super) sources: Vec<SourceRow>,
    /// Retry tiers.
    pub(super) tiers: Vec<TierRow>,
    /// Destinations.
    pub(super) destinations: Vec<DestinationRow>,
    /// Connections.
    pub(super) connections: Vec<ConnectionRow>,
    /// Dead letters that wait.
    pub(super) dead_letters: DeadLetters,
    /// What keeps something from flowing, and what to do.
    pub(super) problems: Vec<Problem>,
}

/// A replica.
#[derive(Debug, Serialize)]
pub(super) struct ReplicaRow {
    pub(super) replica: String,
    pub(super) host: String,
    pub(super) version: String,
    /// RFC 3339.
    pub(super) started: String,
    /// When it last told of itself, RFC 3339.
    pub(super) heard: String,
    /// That is too long ago.
    pub(super) stale: bool,
    /// Owned slots of 32.
    pub(super) slots: u32,
    /// Source → how many of its partitions.
    pub(super) partitions: BTreeMap<String, usize>,
    /// Which outcomes it traces.
    pub(super) traced: String,
    pub(super) memory_used_bytes: u64,
    pub(super) memory_budget_bytes: u64,
    /// Trace records that it had to drop.
    pub(super) traces_dropped: u64,
    #[serde(skip)]
    pub(super) started_ms: i64,
    #[serde(skip)]
    pub(super) heard_ms: i64,
}

/// A source.
#[derive(Debug, Serialize)]
pub(super) struct SourceRow {
    pub(super) source: String,
    pub(super) group: String,
    /// Records that are still to be settled.
    pub(super) lag: u64,
    pub(super) partitions: Vec<PartitionRow>,
}

/// A partition of a source.
#[derive(Debug, Serialize)]
pub(super) struct PartitionRow {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed: Option<i64>,
    pub(super) end: i64,
    pub(super) lag: u64,
    /// Who reads it.
    pub(super) replica: Option<String>,
    pub(super) held: Option<Held>,
}

/// A retry tier.
#[derive(Debug, Serialize)]
pub(super) struct TierRow {
    pub(super) tier: String,
    pub(super) waiting: u64,
    /// RFC 3339.
    pub(super) oldest: Option<String>,
    pub(super) by_destination: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(super) oldest_at: Option<WallMs>,
}

/// A destination, over all replicas.
#[derive(Debug, Serialize)]
pub(super) struct DestinationRow {
    pub(super) destination: String,
    pub(super) connection: String,
    /// The worst of what any replica says.
    pub(super) held: Option<HeldRow>,
    pub(super) breaker: String,
    /// Deliveries that wait in the replicas.
    pub(super) waiting: u64,
    /// Deliveries that wait in retry tiers.
    pub(super) in_tiers: u64,
    pub(super) in_flight: u32,
    pub(super) concurrency_limit: u32,
    /// As written, for all replicas together.
    pub(super) rate_limits: Vec<String>,
    /// Slots of 32 that somebody owns.
    pub(super) share: u32,
    pub(super) trouble: Option<Trouble>,
    pub(super) replicas: Vec<Part>,
}

/// Why something is held.
#[derive(Debug, Clone, Serialize)]
pub(super) struct HeldRow {
    pub(super) reason: String,
    pub(super) detail: String,
    /// RFC 3339.
    pub(super) since: Option<String>,
    /// When it is tried again, RFC 3339.
    pub(super) next: Option<String>,
    pub(super) what_to_do: String,
    #[serde(skip)]
    pub(super) since_ms: Option<i64>,
    #[serde(skip)]
    pub(super) next_ms: Option<i64>,
}

/// A replica's part in a destination.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) replica: String,
    pub(super) held: Option<String>,
    pub(super) waiting: u64,
    pub(super) in_flight: u32,
    pub(super) concurrency_limit: u32,
    pub(super) share: u8,
}

/// A connection, over all replicas.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionRow {
    pub(super) connection: String,
    pub(super) rate_limits: Vec<String>,
    pub(super) share: u32,
    pub(super) token: Option<Token>,
}

/// What keeps something from flowing.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    /// Stable code.
    pub(super) code: String,
    /// What it is about.
    pub(super) name: String,
    /// In a sentence.
    pub(super) message: String,
    /// How much waits, and what to do.
    pub(super) cure: String,
}

impl Overview {
    /// Puts it together.
    pub(super) fn new(found: Found, now: WallMs) -> Self {
        let Found { reports, members, sources, tiers, dead_letters } = found;
        let fresh: Vec<&Report> = reports.iter().filter(|report| !report.is_stale(now)).collect();
        let mut overview = Self {
            at: now.rfc3339(),
            replicas: reports.iter().map(|report| replica(report, now)).collect(),
            members,
            sources: sources.into_iter().map(|one| source(one, &fresh)).collect(),
            destinations: destinations(&fresh, &tiers),
            connections: connections(&fresh),
            tiers: tiers.into_iter().map(tier).collect(),
            dead_letters,
            problems: Vec::new(),
        };
        overview.problems = overview.find_problems(&fresh, now);
        overview
    }

    /// What concerns this destination, source, connection or rule only.
    ///
    /// # Errors
    /// Nothing has that name; what there is.
    pub(super) fn narrow(mut self, name: &str, resources: Option<&Resources>) -> Result<Self, Vec<String>> {
        let mut wanted = BTreeSet::from([name.to_owned()]);
        let rule = resources.iter().flat_map(|r| &r.rules).find(|rule| rule.name.as_str() == name);
        let mut targets = None;
        if let Some(rule) = rule {
            wanted.extend(rule.targets.iter().map(|target| target.destination.to_string()));
            match &rule.from {
                Some(from) => drop(wanted.insert(from.to_string())),
                None => wanted.extend(self.sources.iter().map(|source| source.source.clone())),
            }
            targets = Some(format!("{name}/"));
        }
        let known = self.names(resources);
        if !known.contains(name) {
            return Err(known.into_iter().collect());
        }
        // With a destination its connection is told, and with a connection what goes through it.
        let through: Vec<String> =
            self.destinations.iter().filter(|d| d.connection == name).map(|d| d.destination.clone()).collect();
        let of: Vec<String> =
            self.destinations.iter().filter(|d| wanted.contains(&d.destination)).map(|d| d.connection.clone()).collect();
        wanted.extend(through.into_iter().chain(of));
        self.sources.retain(|source| wanted.contains(&source.source));
        self.destinations.retain(|destination| wanted.contains(&destination.destination));
        self.connections.retain(|connection| wanted.contains(&connection.connection));
        self.problems.retain(|problem| wanted.contains(&problem.name));
        for tier in &mut self.tiers {
            tier.by_destination.retain(|destination, _| wanted.contains(destination));
        }
        if let Some(prefix) = targets {
            self.dead_letters.by_target.retain(|target, _| target.starts_with(&prefix));
            self.dead_letters.waiting = self.dead_letters.by_target.values().sum();
        }
        Ok(self)
    }

    fn names(&self, resources: Option<&Resources>) -> BTreeSet<String> {
        let rules = resources.iter().flat_map(|r| &r.rules).map(|rule| rule.name.to_string());
        let sources = self.sources.iter().map(|source| source.source.clone());
        let destinations = self.destinations.iter().map(|d| d.destination.clone());
        let connections = self.connections.iter().map(|c| c.connection.clone());
        sources.chain(destinations).chain(connections).chain(rules).collect()
    }

    fn find_problems(&self, fresh: &[&Report], now: WallMs) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |code: &str, name: &str, message: String, cure: String| {
            problems.push(Problem { code: code.to_owned(), name: name.to_owned(), message, cure });
        };
        for row in self.replicas.iter().filter(|row| row.stale) {
            let message = format!("{} was last heard {} ago", row.replica, ago(row.heard_ms, now));
            let cure = "it has ended without a word, or does not reach Kafka; what it read goes to the others after kafka.session_timeout";
            add("REPLICA_SILENT", &row.replica, message, cure.to_owned());
        }
        if fresh.is_empty() {
            let cure = "start tidegate run, with the same kafka.prefix as here; until then events wait in their topics".to_owned();
            add("NO_REPLICA", "", "no replica tells of itself, so nothing is delivered".to_owned(), cure);
        }
        if let Some(members) = self.members.filter(|members| *members > fresh.len() && !fresh.is_empty()) {
            let message = format!("Kafka counts {members} replicas, {} of which tell of themselves", fresh.len());
            add("REPLICA_SILENT", "", message, "one may have just started, or be of an older version".to_owned());
        }
        for report in fresh {
            for missing in &report.state.missing {
                let message = format!("{}: {}: {}", report.replica, missing.what, missing.reason);
                add("NOT_READY", &missing.what, message, missing.cure.clone());
            }
        }
        for source in &self.sources {
            for row in &source.partitions {
                let Some(held) = &row.held else { continue };
                let message = format!("{}:{}{}: {}", row.topic, row.partition, since(held.since_ms, now), held.detail);
                let cure = format!("{} records wait there; {}", row.lag, held.what_to_do);
                add("PARTITION_HELD", &source.source, message, cure);
            }
        }
        for row in &self.destinations {
            let Some(held) = row.held.as_ref().filter(|held| is_problem(&held.reason)) else { continue };
            let message = format!("{}{}: {}", row.destination, since(held.since_ms, now), held.detail);
            let mut cure = format!("{} events wait, nothing lost", grouped(row.waiting + row.in_tiers));
            if let Some(next) = held.next_ms {
                let left = WallMs(next).since(now).as_secs();
                cure.push_str(&if left == 0 { ", being tried now".to_owned() } else { format!(", next try in {left} s") });
            }
            if !held.what_to_do.is_empty() {
                cure.push_str(&format!("; {}", held.what_to_do));
            }
            add("DESTINATION_HELD", &row.destination, message, cure);
        }
        for row in &self.connections {
            let Some(trouble) = row.token.as_ref().and_then(|token| token.trouble.as_ref()) else { continue };
            let through = self.destinations.iter().filter(|d| d.connection == row.connection);
            let waiting: u64 = through.map(|d| d.waiting + d.in_tiers).sum();
            let cure = format!("{} events wait, no attempts used", grouped(waiting));
            add(&trouble.code, &row.connection, format!("connection {}: {}", row.connection, trouble.message), cure);
        }
        problems
    }
}

/// What ends by itself within seconds under load is no problem.
fn is_problem(reason: &str) -> bool {
    !matches!(reason, "rate" | "overload" | "no_share")
}

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

fn replica(report: &Report, now: WallMs) -> ReplicaRow {
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

fn source(source: Source, fresh: &[&Report]) -> SourceRow {
    let Source { name, group, lags, missing } = source;
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
    let partitions: Vec<PartitionRow> = lags.into_iter().map(row).chain(gone).collect();
    SourceRow { lag: partitions.iter().map(|row| row.lag).sum(), source: name.clone(), group, partitions }
}

fn tier(tier: Tier) -> TierRow {
    let Tier { name, waiting, oldest, by_destination } = tier;
    TierRow { tier: name, waiting, oldest: oldest.map(WallMs::rfc3339), by_destination, oldest_at: oldest }
}

fn destinations(fresh: &[&Report], tiers: &[Tier]) -> Vec<DestinationRow> {
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
            in_tiers: tiers.iter().filter_map(|tier| tier.by_destination.get(name)).sum(),
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

fn connections(fresh: &[&Report]) -> Vec<ConnectionRow> {
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

/// ` since 11:02:03`, with the day if it was not today.
pub(super) fn since(ms: Option<i64>, now: WallMs) -> String {
    ms.map_or_else(String::new, |ms| format!(" is held since {}", clock(ms, now)))
}

/// The time of day, with the day if that is another.
pub(super) fn clock(ms: i64, now: WallMs) -> String {
    let (at, today) = (WallMs(ms).rfc3339(), now.rfc3339());
    let time = at.get(11..19).unwrap_or(&at);
    if at.get(..10) == today.get(..10) { time.to_owned() } else { format!("{} {time}", at.get(..10).unwrap_or_default()) }
}

/// How long ago.
pub(super) fn ago(ms: i64, now: WallMs) -> String {
    crate::cli::since::age(now.since(WallMs(ms)))
}

/// `1,204`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
