//! All that is known at one moment, put together from what the replicas tell and what Kafka says. Pure.

use super::{merge, problems};
use crate::kafka::{Group, Lag};
use crate::model::clock::WallMs;
use crate::model::hold::{Hold, HoldRecord};
use crate::model::resources::Resources;
use crate::telemetry::report::Report;
use crate::telemetry::state::{Held, Token, Trouble};
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
    /// What is kept of destinations that are held.
    pub(super) holds: Vec<Kept>,
}

/// A hold as it stands in Kafka, whether a replica runs or not.
#[derive(Debug)]
pub(super) struct Kept {
    /// What is held.
    pub(super) destination: String,
    /// Its connection, if known.
    pub(super) connection: String,
    /// Why.
    pub(super) hold: Hold,
    /// All of it.
    pub(super) record: HoldRecord,
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
    /// What its group is doing; absent where Kafka cannot be asked.
    pub(super) members: Option<Group>,
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
    /// Who reads it.
    #[serde(flatten)]
    pub(super) reading: Reading,
}

/// Who reads a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "reading", content = "members", rename_all = "snake_case")]
pub(super) enum Reading {
    /// So many replicas.
    Replicas(usize),
    /// Nobody yet: so many members of its group are joining.
    Joining(usize),
    /// Nobody yet: so many members are about to learn which partitions are theirs.
    Assigning(usize),
    /// So many members of its group have partitions, but no replica tells of that.
    Untold(usize),
    /// Nobody.
    Nobody,
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
#[derive(Debug, Default, Serialize)]
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
    /// Deliveries that wait in its queue.
    pub(super) in_queue: u64,
    pub(super) in_flight: u32,
    pub(super) concurrency_limit: u32,
    /// As written, for all replicas together.
    pub(super) rate_limits: Vec<String>,
    /// What the replicas may use of them together, of [`PARTS`](crate::model::stored::PARTS).
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
        let Found { reports, members, sources, tiers, dead_letters, holds } = found;
        let fresh: Vec<&Report> = reports.iter().filter(|report| !report.is_stale(now)).collect();
        let mut overview = Self {
            at: now.rfc3339(),
            replicas: reports.iter().map(|report| merge::replica(report, now)).collect(),
            members,
            sources: sources.into_iter().map(|one| merge::source(one, &fresh)).collect(),
            destinations: merge::destinations(&fresh, &tiers, &holds),
            connections: merge::connections(&fresh),
            tiers: tiers.into_iter().map(merge::tier).collect(),
            dead_letters,
            problems: Vec::new(),
        };
        overview.problems = problems::find(&overview, &fresh, now);
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
            wanted.extend(rule.targets.iter().map(|target| target.destination.name.to_string()));
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
        let of: Vec<String> = self
            .destinations
            .iter()
            .filter(|d| wanted.contains(&d.destination))
            .map(|d| d.connection.clone())
            .collect();
        wanted.extend(through.into_iter().chain(of));
        self.sources.retain(|source| wanted.contains(&source.source));
        self.destinations.retain(|destination| wanted.contains(&destination.destination));
        self.connections.retain(|connection| wanted.contains(&connection.connection));
        self.problems.retain(|problem| wanted.contains(&problem.name));
        for tier in &mut self.tiers {
            tier.by_destination.retain(|destination, _| wanted.contains(destination));
            tier.waiting = tier.by_destination.values().sum();
        }
        // A dead letter is known by its rule and target only.
        self.dead_letters.by_target.retain(|target, _| targets.as_ref().is_some_and(|rule| target.starts_with(rule)));
        self.dead_letters.waiting = self.dead_letters.by_target.values().sum();
        Ok(self)
    }

    fn names(&self, resources: Option<&Resources>) -> BTreeSet<String> {
        let rules = resources.iter().flat_map(|r| &r.rules).map(|rule| rule.name.to_string());
        let sources = self.sources.iter().map(|source| source.source.clone());
        let destinations = self.destinations.iter().map(|d| d.destination.clone());
        let connections = self.connections.iter().map(|c| c.connection.clone());
        sources.chain(destinations).chain(connections).chain(rules).collect()
    }
}
