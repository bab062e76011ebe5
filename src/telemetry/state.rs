//! What a replica looks like at one moment: intakes, lanes, destinations, connections, slots, memory, totals.
//!
//! `/state` shows it as JSON, the metrics are read from it, and it can be sent to others and read back. The names of
//! its keys are a contract. It holds names, figures, codes and sentences, never a secret, a payload or an address.

use super::figures::Totals;
use serde::{Deserialize, Serialize};

/// A replica at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Version of the program.
    pub version: String,
    /// When this was looked at, in milliseconds since 1970.
    pub at_ms: i64,
    /// When the process started, in milliseconds since 1970.
    pub started_ms: i64,
    /// What is missing before work can flow; empty if it can.
    pub missing: Vec<Missing>,
    /// The intakes: one per source, one per target that keeps an order (`rule.target`), `slots`, and `stored` for the
    /// retry tiers.
    pub intakes: Vec<Intake>,
    /// The API destinations.
    pub destinations: Vec<Destination>,
    /// The connections.
    pub connections: Vec<Connection>,
    /// What this replica owns of the group's common work.
    pub slots: Slots,
    /// Memory under the budget.
    pub memory: Memory,
    /// What happened since the process started.
    pub totals: Totals,
    /// Trace records for which there was no room in the producer.
    pub traces_dropped: u64,
}

/// Something without which no work can flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Missing {
    /// What: the name of an intake, `producer`, `resources`.
    pub what: String,
    /// Why it is missing.
    pub reason: String,
    /// What to do about it.
    pub cure: String,
}

/// A consumer and its partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Intake {
    /// Name of the source, or `rule.target`, or `slots`, or `stored`.
    pub name: String,
    /// Consumer group.
    pub group: String,
    /// Why nothing works any more, if so.
    pub failed: Option<String>,
    /// Milliseconds since the newest evidence of membership; absent if there is none.
    pub evidence_age_ms: Option<u64>,
    /// Assignments so far.
    pub rebalances: u64,
    /// Commits that Kafka has saved.
    pub commits: u64,
    /// Commits that it has not.
    pub commit_failures: u64,
    /// Commits of an epoch that was over.
    pub stale_commits: u64,
    /// Revocations that were drained.
    pub drains: u64,
    /// Time spent on that, in milliseconds.
    pub drain_ms: u64,
    /// Records that were gone before they were read.
    pub missing_records: u64,
    /// Partitions whose topic was found to be deleted and made anew.
    pub recreated: u64,
    /// The partitions it has.
    pub partitions: Vec<Partition>,
}

/// A partition that this replica has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// Epoch of the assignment.
    pub epoch: u64,
    /// `running`, `starting`, `restarting`, `halted`.
    pub phase: String,
    /// It waits for its turn to be fetched.
    pub paused: bool,
    /// Why it does not move, if so.
    pub held: Option<Held>,
    /// The offset that Kafka is known to have saved.
    pub committed: Option<i64>,
    /// An offset that is still to be saved.
    pub pending: Option<i64>,
    /// The end of the partition, as last heard.
    pub high_watermark: Option<i64>,
    /// Records from the committed offset to the end.
    pub lag: Option<u64>,
    /// That part of them that more replicas would get through sooner.
    pub scalable_lag: Option<u64>,
    /// Records that were gone before they were read.
    pub skipped: u64,
    /// Its lane; absent while it has none.
    pub lane: Option<Lane>,
}

/// The pipeline of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Lane {
    /// The lowest offset that is not complete.
    pub watermark: Option<i64>,
    /// Milliseconds since the watermark last moved while something was open; 0 if nothing is.
    pub watermark_age_ms: u64,
    /// Records between the watermark and the newest one taken.
    pub window_records: u64,
    /// Bytes of events held.
    pub window_bytes: u64,
    /// Deliveries that have not ended.
    pub open: u64,
    /// No more is taken until something has ended.
    pub full: bool,
    /// Bytes of the map in the last commit.
    pub map_bytes: u64,
}

/// Why something does not move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// In one word, for programs: see the README.
    pub reason: String,
    /// In a sentence.
    pub detail: String,
    /// Since when, in milliseconds since 1970, if that is known.
    pub since_ms: Option<i64>,
    /// For how long, in milliseconds, if that is known.
    pub wait_ms: Option<u64>,
    /// What to do about it; empty if it ends by itself.
    pub what_to_do: String,
}

/// An API destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Name.
    pub name: String,
    /// Its connection.
    pub connection: String,
    /// Why nothing is sent now, if so.
    pub held: Option<Held>,
    /// `closed`, `open`, `half_open`, `incident`.
    pub breaker: String,
    /// It asked for a pause, which has not ended.
    pub gate_closed: bool,
    /// Requests in flight of this replica.
    pub in_flight: u32,
    /// How many there may be now.
    pub concurrency_limit: u32,
    /// Deliveries that wait to be sent.
    pub waiting: u64,
    /// Deliveries that wait in its queue, if that is this replica's.
    pub queued: u64,
    /// When the first of them was put there, in milliseconds since 1970.
    pub queued_since_ms: Option<i64>,
    /// Its limits, for the whole group, as written: `50/s`.
    pub rate_limits: Vec<String>,
    /// This replica's share of the limits, of [`PARTS`](crate::model::stored::PARTS).
    pub share: u8,
    /// What stopped it last, until it is back.
    pub trouble: Option<Trouble>,
}

/// What stopped something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// Stable code.
    pub code: String,
    /// One sentence, secrets removed.
    pub message: String,
}

/// A connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Name.
    pub name: String,
    /// Its limits, for the whole group and all its destinations, as written.
    pub rate_limits: Vec<String>,
    /// This replica's share of the limits, of [`PARTS`](crate::model::stored::PARTS).
    pub share: u8,
    /// Milliseconds until its next permit; absent if one is there, or if there is no share.
    pub rate_wait_ms: Option<u64>,
    /// Its token, if it needs one.
    pub token: Option<Token>,
}

/// The token of a connection; never the token itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Token {
    /// `missing`, `valid`, `expired`, `failing`.
    pub state: String,
    /// Milliseconds until it expires, if that is known.
    pub expires_in_ms: Option<u64>,
    /// Tokens fetched so far.
    pub fetched: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Why the last fetch failed, until one succeeds.
    pub trouble: Option<Trouble>,
}

/// What this replica owns of the group's common work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// Owned slots.
    pub owned: u32,
    /// Of so many.
    pub of: u32,
    /// Queues of its slots that hold something for a destination that is not in the resources.
    pub unknown_queues: u32,
}

/// Memory under the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Bytes of events in all windows.
    pub used_bytes: u64,
    /// How many there may be.
    pub budget_bytes: u64,
    /// Cap of one window, in bytes.
    pub window_bytes_max: u64,
    /// Cap of one window, in records.
    pub window_records_max: u64,
}
