//! What a replica tells of itself to whoever looks at all of them: its state, made short, in the compacted topic
//! `<prefix>.state` under a key of its own.

use super::state::{Connection, Destination, Intake, Partition, State};
use crate::model::clock::WallMs;
use crate::model::record::OutRecord;
use crate::model::stored::Topics;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Begins the keys of these records; what else stands in the topic has other keys.
pub const KEY_PREFIX: &str = "replica:";

/// A replica whose newest report is older than this has ended without a word, or cannot reach Kafka.
pub const STALE: Duration = Duration::from_secs(90);

/// Held partitions that a report tells in full.
const HELD_MAX: usize = 20;

/// A replica's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its instance id, or a name that no other process has.
    pub replica: String,
    /// The machine it runs on.
    pub host: String,
    /// Which outcomes it traces: `off`, `failures`, `sample`, `all`.
    pub traced: String,
    /// The topics that each source reads, by its name.
    pub sources: BTreeMap<String, Vec<String>>,
    /// The partitions it has: intake → topic → `0-3,7`.
    pub partitions: BTreeMap<String, BTreeMap<String, String>>,
    /// The rest. Of partitions only those that are held are listed.
    pub state: State,
}

impl Report {
    /// Made short from the whole of a state.
    #[must_use]
    pub fn new(
        replica: &str,
        host: &str,
        traced: &str,
        sources: BTreeMap<String, Vec<String>>,
        mut state: State,
    ) -> Self {
        let mut partitions = BTreeMap::new();
        for intake in &mut state.intakes {
            let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for partition in &intake.partitions {
                topics.entry(partition.topic.clone()).or_default().push(partition.partition);
            }
            let topics = topics.into_iter().map(|(topic, numbers)| (topic, ranges(numbers)));
            partitions.insert(intake.name.clone(), topics.collect());
            intake.partitions.retain(|partition| partition.held.is_some());
            intake.partitions.truncate(HELD_MAX);
        }
        let (replica, host, traced) = (replica.to_owned(), host.to_owned(), traced.to_owned());
        Self { replica, host, traced, sources, partitions, state }
    }

    /// A number that changes when there is news: anything but what changes all the time. Of thousands of destinations
    /// no second list is made for it.
    #[must_use]
    pub fn news(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let Self { replica, host, traced, sources, partitions, state } = self;
        let State { version, at_ms: _, started_ms, missing, .. } = state;
        let State { intakes, destinations, connections, slots, memory: _, totals: _, traces_dropped: _, .. } = state;
        (replica, host, traced, sources, partitions, version, started_ms, missing, slots).hash(&mut hasher);
        intakes.iter().cloned().map(steady_intake).for_each(|intake| intake.hash(&mut hasher));
        destinations.iter().cloned().map(steady_destination).for_each(|destination| destination.hash(&mut hasher));
        connections.iter().cloned().map(steady_connection).for_each(|connection| connection.hash(&mut hasher));
        hasher.finish()
    }

    /// When it was made.
    #[must_use]
    pub fn at(&self) -> WallMs {
        WallMs(self.state.at_ms)
    }

    /// Whether it is too old to count on.
    #[must_use]
    pub fn is_stale(&self, now: WallMs) -> bool {
        now.since(self.at()) > STALE
    }

    /// The record that replaces the one before.
    #[must_use]
    pub fn record(&self, topics: &Topics) -> OutRecord {
        // Strings and numbers can always be written.
        record(topics, &self.replica, Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default())), self.at())
    }

    /// The record that says good-bye.
    #[must_use]
    pub fn tombstone(topics: &Topics, replica: &str, now: WallMs) -> OutRecord {
        record(topics, replica, None, now)
    }

    /// Reads the value of such a record; keys of later versions are passed over.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

fn steady_intake(mut intake: Intake) -> Intake {
    (intake.evidence_age_ms, intake.commits, intake.commit_failures, intake.stale_commits) = Default::default();
    for partition in &mut intake.partitions {
        let held = partition.held.take();
        *partition = Partition { held, ..Default::default() };
    }
    intake
}

fn steady_destination(mut destination: Destination) -> Destination {
    (destination.in_flight, destination.concurrency_limit, destination.waiting) = Default::default();
    destination.gate_closed = false;
    if let Some(held) = &mut destination.held {
        held.wait_ms = None;
    }
    // Normal under load.
    destination.held.take_if(|held| held.reason == "rate" || held.reason == "overload");
    destination
}

fn steady_connection(mut connection: Connection) -> Connection {
    connection.rate_wait_ms = None;
    if let Some(token) = &mut connection.token {
        (token.expires_in_ms, token.fetched, token.failures) = Default::default();
    }
    connection
}

fn record(topics: &Topics, replica: &str, value: Option<Bytes>, at: WallMs) -> OutRecord {
    OutRecord {
        topic: topics.state(),
        partition: Some(0),
        key: Some(Bytes::from(format!("{KEY_PREFIX}{replica}"))),
        value,
        headers: Vec::new(),
        timestamp_ms: Some(at.0),
    }
}

/// `0-3,7` of these numbers.
fn ranges(mut numbers: Vec<i32>) -> String {
    numbers.sort_unstable();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(",")
}

/// Whether `0-3,7` has this number.
#[must_use]
pub fn in_ranges(ranges: &str, number: i32) -> bool {
    ranges.split(',').any(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse().is_ok_and(|from: i32| from <= number) && to.parse().is_ok_and(|to: i32| number <= to)
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::Held;
    use super::*;

    fn state() -> State {
        let partition = |partition, held: Option<&str>| Partition {
            topic: "orders".to_owned(),
            partition,
            held: held.map(|reason| Held { reason: reason.to_owned(), ..Held::default() }),
            lag: Some(7),
            ..Partition::default()
        };
        State {
            at_ms: 1_000,
            intakes: vec![Intake {
                name: "shop".to_owned(),
                partitions: vec![
                    partition(2, None),
                    partition(0, None),
                    partition(1, Some("unreadable")),
                    partition(5, None),
                ],
                ..Intake::default()
            }],
            destinations: vec![Destination { name: "builds".to_owned(), ..Destination::default() }],
            ..State::default()
        }
    }

    fn report(state: State) -> Report {
        Report::new("web-1", "web", "failures", BTreeMap::from([("shop".to_owned(), vec!["orders".to_owned()])]), state)
    }

    #[test]
    fn it_is_short_and_comes_back() {
        let made = report(state());
        assert_eq!(made.partitions["shop"]["orders"], "0-2,5");
        assert_eq!([0, 2, 3, 5, 6].map(|n| in_ranges("0-2,5", n)), [true, true, false, true, false]);
        assert!(!in_ranges("", 0));
        let listed: Vec<i32> = made.state.intakes[0].partitions.iter().map(|p| p.partition).collect();
        assert_eq!(listed, [1], "only what is held");
        let record = made.record(&Topics::new("tg"));
        assert_eq!(
            (&*record.topic, record.partition, record.key.as_deref()),
            ("tg.state", Some(0), Some(&b"replica:web-1"[..]))
        );
        assert_eq!(Report::read(&record.value.unwrap()).unwrap(), made);
        assert_eq!(Report::tombstone(&Topics::new("tg"), "web-1", WallMs(1)).value, None);
        assert_eq!(Report::read(br#"{"replica":"x","moon":1,"state":{"tide":2}}"#).unwrap().replica, "x");
        assert!(!made.is_stale(WallMs(91_000)) && made.is_stale(WallMs(91_001)));
    }

    #[test]
    fn what_changes_all_the_time_is_no_news() {
        let mut later = state();
        later.at_ms = 9_000;
        later.destinations[0].in_flight = 3;
        later.destinations[0].held = Some(Held { reason: "rate".to_owned(), wait_ms: Some(5), ..Held::default() });
        assert_eq!(report(state()).news(), report(later).news());
        let mut held = state();
        held.destinations[0].held = Some(Held { reason: "incident".to_owned(), wait_ms: Some(5), ..Held::default() });
        assert_ne!(report(state()).news(), report(held.clone()).news());
        let mut soon = held.clone();
        soon.destinations[0].held.as_mut().unwrap().wait_ms = Some(4);
        assert_eq!(report(held).news(), report(soon).news());
    }
}
