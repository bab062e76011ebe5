//! What is told of two replicas, one of them silent.

use super::overview::{DeadLetters, Found, Kept, Overview, Reading, Source, Tier};
use super::show::read_by;
use crate::kafka::{Group, Lag, Phase, TopicPartition};
use crate::model::clock::WallMs;
use crate::model::hold::{Hold, HoldRecord};
use crate::telemetry::report::Report;
use crate::telemetry::state::{Connection, Destination, Held, Intake, Partition, Slots, State, Token, Trouble};
use std::collections::BTreeMap;

const NOW: WallMs = WallMs(1_700_000_000_000);

fn held(reason: &str, since_ms: i64, wait_ms: u64) -> Held {
    Held {
        reason: reason.to_owned(),
        detail: format!("why {reason}"),
        since_ms: Some(NOW.0 - since_ms),
        wait_ms: Some(wait_ms),
        what_to_do: "mend it".to_owned(),
    }
}

fn destination(name: &str, held: Option<Held>, waiting: u64) -> Destination {
    Destination {
        name: name.to_owned(),
        connection: "crm".to_owned(),
        held,
        waiting,
        in_flight: 1,
        concurrency_limit: 8,
        rate_limits: vec!["50/min".to_owned()],
        share: 16,
        ..Destination::default()
    }
}

fn report(name: &str, age_ms: i64, builds: Option<Held>, ranges: &[i32]) -> Report {
    let partition = |number: &i32| Partition { topic: "orders".to_owned(), partition: *number, ..Partition::default() };
    let mut partitions: Vec<Partition> = ranges.iter().map(partition).collect();
    if let Some(first) = partitions.first_mut() {
        first.held =
            Some(Held { reason: "unreadable".to_owned(), detail: "cannot be read".to_owned(), ..Held::default() });
    }
    let token = Token {
        trouble: Some(Trouble { code: "AUTH_TOKEN_REFUSED".to_owned(), message: "401".to_owned() }),
        ..Token::default()
    };
    let state = State {
        at_ms: NOW.0 - age_ms,
        started_ms: NOW.0 - 10_000_000,
        intakes: vec![Intake {
            name: "shop".to_owned(),
            group: "tidegate.shop".to_owned(),
            partitions,
            ..Intake::default()
        }],
        destinations: vec![destination("builds", builds, 3), destination("notes", Some(held("rate", 5, 5)), 0)],
        connections: vec![Connection { name: "crm".to_owned(), token: Some(token), ..Connection::default() }],
        slots: Slots { owned: 16, of: 32, unknown_queues: 0 },
        ..State::default()
    };
    Report::new(name, "web", "failures", BTreeMap::from([("shop".to_owned(), vec!["orders".to_owned()])]), state)
}

fn found(reports: Vec<Report>) -> Found {
    let lag =
        |partition, committed, high| Lag { at: TopicPartition::new("orders", partition), low: 0, high, committed };
    let source = Source {
        name: "shop".to_owned(),
        group: "tidegate.shop".to_owned(),
        lags: vec![lag(0, Some(10), 1_214), lag(1, Some(5), 5)],
        missing: Vec::new(),
        members: None,
    };
    let tier = Tier {
        name: "10s".to_owned(),
        waiting: 9,
        oldest: Some(WallMs(NOW.0 - 7_000)),
        by_destination: BTreeMap::from([("builds".to_owned(), 7), ("notes".to_owned(), 2)]),
    };
    let by_target = BTreeMap::from([("paid/build".to_owned(), 2)]);
    let dead_letters = DeadLetters { waiting: 2, oldest: None, by_target };
    Found { reports, members: None, sources: vec![source], tiers: vec![tier], dead_letters, holds: Vec::new() }
}

#[test]
fn the_worst_that_any_replica_says_is_told_with_its_cure() {
    let reports = vec![
        report("a", 1_000, Some(held("breaker", 60_000, 4_000)), &[0]),
        report("b", 2_000, Some(held("incident", 30_000, 40_000)), &[]),
        report("c", 100_000, Some(held("gone", 1, 1)), &[1]),
    ];
    let overview = Overview::new(found(reports), NOW);
    let builds = &overview.destinations[0];
    assert_eq!(
        (builds.waiting, builds.in_tiers, builds.in_flight, builds.share),
        (6, 7, 2, 32),
        "of those who are heard"
    );
    assert_eq!(builds.held.as_ref().map(|held| held.reason.as_str()), Some("incident"));
    let told: Vec<(&str, &str, &str)> =
        overview.problems.iter().map(|p| (p.code.as_str(), p.message.as_str(), p.cure.as_str())).collect();
    assert_eq!(
        told.iter().map(|(code, ..)| *code).collect::<Vec<_>>(),
        ["REPLICA_SILENT", "PARTITION_HELD", "DESTINATION_HELD", "AUTH_TOKEN_REFUSED"]
    );
    assert_eq!(told[0].1, "c was last heard 100s ago");
    assert_eq!(told[1].1, "orders:0 is held: cannot be read");
    assert_eq!(told[2].1, "builds is held since 22:12:20: why incident");
    assert_eq!(told[2].2, "13 events wait, nothing lost, next try in 38 s; mend it");
    assert_eq!(told[3].2, "15 events wait, no attempts used");
    let shop = &overview.sources[0];
    let readers: Vec<Option<&str>> = shop.partitions.iter().map(|p| p.replica.as_deref()).collect();
    assert_eq!((shop.lag, readers), (1_204, vec![Some("a"), None]), "a silent one reads nothing");
}

#[test]
fn nobody_there_is_the_worst() {
    let overview = Overview::new(found(Vec::new()), NOW);
    assert_eq!(overview.problems[0].code, "NO_REPLICA");
    let more = Found { members: Some(2), ..found(vec![report("b", 0, None, &[])]) };
    assert_eq!(Overview::new(more, NOW).problems[0].code, "REPLICA_SILENT", "Kafka knows of one more");
}

#[test]
fn a_name_narrows_it_to_what_concerns_it() {
    let overview = || Overview::new(found(vec![report("b", 0, Some(held("gone", 1, 1)), &[])]), NOW);
    let builds = overview().narrow("builds", None).expect("a destination");
    assert_eq!((builds.destinations.len(), builds.sources.len(), builds.connections.len()), (1, 0, 1));
    assert_eq!((builds.tiers[0].waiting, builds.dead_letters.waiting), (7, 0));
    let shop = overview().narrow("shop", None).expect("a source");
    assert_eq!((shop.destinations.len(), shop.sources.len(), shop.problems.len()), (0, 1, 0));
    let crm = overview().narrow("crm", None).expect("a connection");
    assert_eq!((crm.destinations.len(), crm.problems.len()), (2, 2));
    assert_eq!(overview().narrow("x", None).expect_err("unknown"), ["builds", "crm", "notes", "shop"]);
}

#[test]
fn while_no_replica_runs_the_holds_are_told_that_stand_in_kafka() {
    let since = WallMs(NOW.0 - 60_000);
    let kept = |hold, message: &str| Kept {
        destination: "builds".to_owned(),
        connection: "crm".to_owned(),
        hold,
        record: HoldRecord::begin(None, hold, "ann@laptop".to_owned(), message.to_owned(), since),
    };
    let nobody = |kept| Overview::new(Found { holds: vec![kept], ..found(Vec::new()) }, NOW);
    let overview = nobody(kept(Hold::Manual, "maintenance"));
    let told: Vec<(&str, &str, &str)> =
        overview.problems.iter().map(|p| (p.code.as_str(), p.message.as_str(), p.cure.as_str())).collect();
    assert_eq!((told.len(), told[0].0), (2, "NO_REPLICA"));
    assert_eq!(told[1].0, "DESTINATION_HELD");
    assert_eq!(told[1].1, "builds is held since 22:12:20: held by ann@laptop: maintenance");
    assert_eq!(told[1].2, "7 events wait, nothing lost; tidegate resume builds");
    let narrowed = nobody(kept(Hold::Gone, "")).narrow("crm", None);
    assert!(narrowed.is_err_and(|known| known.contains(&"builds".to_owned())), "connections are told by replicas");
    // Replicas know better.
    let mut found = found(vec![report("a", 1_000, None, &[0])]);
    found.holds.push(kept(Hold::Gone, ""));
    assert!(Overview::new(found, NOW).destinations.iter().all(|d| d.held.as_ref().is_none_or(|h| h.reason != "gone")));
}

#[test]
fn a_source_whose_group_is_still_joining_is_not_read_by_nobody() {
    let told = |reports: Vec<Report>, members: Option<Group>| {
        let mut found = found(reports);
        found.sources[0].members = members;
        let source = Overview::new(found, NOW).sources.remove(0);
        (source.reading, read_by(source.reading))
    };
    let group = |phase, members, assigned| Some(Group { phase, members, assigned });
    let waits = || vec![report("b", 0, None, &[])];
    for (reports, members, reading, text) in [
        (vec![report("a", 0, None, &[0])], group(Phase::Joining, 2, 0), Reading::Replicas(1), "1 replica"),
        (waits(), group(Phase::Joining, 2, 0), Reading::Joining(2), "2 members joining"),
        (waits(), group(Phase::Assigning, 1, 0), Reading::Assigning(1), "1 member, being assigned"),
        (Vec::new(), group(Phase::Settled, 1, 0), Reading::Assigning(1), "1 member, being assigned"),
        (waits(), group(Phase::Settled, 3, 2), Reading::Untold(2), "2 members, not told of yet"),
        (waits(), None, Reading::Assigning(1), "1 member, being assigned"),
        (waits(), group(Phase::Settled, 0, 0), Reading::Assigning(1), "1 member, being assigned"),
        (Vec::new(), group(Phase::Settled, 0, 0), Reading::Nobody, "nobody"),
        (vec![report("c", 100_000, None, &[1])], None, Reading::Nobody, "nobody"),
    ] {
        assert_eq!(told(reports, members), (reading, text.to_owned()));
    }
    // Nobody is about to be given what does not exist.
    let mut found = found(waits());
    let source = &mut found.sources[0];
    (source.missing, source.lags) = (vec!["orders".to_owned()], Vec::new());
    source.members = group(Phase::Settled, 1, 0);
    assert_eq!(Overview::new(found, NOW).sources[0].reading, Reading::Nobody);
    let json = serde_json::to_value(Reading::Joining(2)).expect("JSON");
    assert_eq!(json, serde_json::json!({"reading": "joining", "members": 2}));
}
