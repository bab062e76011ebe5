//! A destination that is ill, or has more than it can take, changes nothing for those beside it: in the same partitions
//! of a source, and in the same partition of a retry tier.

use crate::support::rogue::{Ill, Rogue};
use crate::support::{Answer, Bed, events, eventually};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate::model::clock::Monotonic;
use tidegate::model::stored;

const MINUTE: Duration = Duration::from_secs(60);

/// Long enough for a busy machine, far shorter than what waiting for an ill neighbour would take.
const PROMPT: Duration = Duration::from_secs(20);

/// A rule for these events that has one target, of the same name as its destination.
fn rule(name: &str, pattern: &str) -> String {
    format!(
        "
---
kind: rule
name: {name}
pattern: {pattern}
targets:
- {{name: {name}, destination: {name}, headers: {{x-event: $.id}}}}"
    )
}

/// The different events that arrived at each path with an answer of 200.
fn arrived(bed: &Bed) -> BTreeMap<String, HashSet<String>> {
    let mut all: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    bed.api.log(|log| {
        for seen in log.requests.iter().filter(|seen| seen.answered == Some(200)) {
            all.entry(seen.target.clone()).or_default().insert(seen.event.clone());
        }
    });
    all
}

#[track_caller]
fn wait_arrived(bed: &Bed, what: &str, limit: Duration, paths: &[String], count: usize) {
    let begun = Monotonic::now();
    eventually(what, limit, || {
        let arrived = arrived(bed);
        let of = |path: &String| arrived.get(path).map_or(0, HashSet::len);
        let missing: Vec<String> =
            paths.iter().filter(|path| of(path) < count).map(|path| format!("{path} {}", of(path))).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("of {count}: {}", missing.join(", "))) }
    });
    eprintln!("{what}: {:.1} s", Monotonic::now().since(begun).as_secs_f64());
}

#[test]
fn seven_ways_to_be_ill_change_nothing_for_the_others() {
    const FIRST: usize = 200;
    const ALL: usize = 260;
    let bed = Bed::new("ill", 4, |_| Answer::ok());
    let ills = [Ill::Refuses, Ill::Silent, Ill::Drips, Ill::Endless, Ill::Closes, Ill::Swallows, Ill::StallsTls]
        .map(|ill| (ill, Rogue::start(ill)));
    let mut resources = bed.source_and_connection("");
    for (ill, rogue) in &ills {
        let name = format!("{ill:?}").to_lowercase();
        write!(
            resources,
            "
---
{{kind: connection, name: {name}, url: '{}', allow_networks: [127.0.0.0/8]}}
---
{{kind: destination, name: {name}, connection: {name}, endpoint: /in, timeout: 4s}}{}",
            rogue.url(),
            rule(&name, "{}")
        )
        .unwrap();
    }
    let well: Vec<String> = (0..15).map(|n| format!("well-{n}")).collect();
    for name in &well {
        write!(
            resources,
            "\n---\n{{kind: destination, name: {name}, connection: api, endpoint: /{name}}}{}",
            rule(name, "{}")
        )
        .unwrap();
    }
    bed.resources("all.yaml", &resources);
    let paths: Vec<String> = well.iter().map(|name| format!("/{name}")).collect();
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(FIRST));
    wait_arrived(&bed, "all at those that are well", PROMPT * 2, &paths, FIRST);
    // By now every ill one has been found out, or is about to be: what comes later is as prompt.
    bed.broker.produce(&bed.topic(), events::orders(ALL).skip(FIRST));
    wait_arrived(&bed, "later ones at those that are well", PROMPT, &paths, ALL);
    for (ill, rogue) in &ills {
        assert_eq!(rogue.taken().len(), 0, "{ill:?} was ill all the time");
        let (most, asked) = (rogue.most_open(), rogue.asked());
        eprintln!("{ill:?}: {most} connections, {asked} requests");
        assert!(most <= 32, "{ill:?}: {most} connections at once");
        assert!(asked <= FIRST / 2, "{ill:?}: {asked} requests to a destination that takes nothing");
    }
    bed.api.log(|log| assert_eq!(log.requests.len(), ALL * well.len(), "each once"));
    // What the ill ones did not take lies in tiers and queues, and holds no offset.
    eventually("committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    let recovering = || ills.iter().filter(|(ill, _)| *ill != Ill::StallsTls);
    for (_, rogue) in recovering() {
        rogue.recover();
    }
    for (ill, rogue) in recovering() {
        eventually(&format!("all at the one that was ill ({ill:?})"), MINUTE * 2, || match rogue.taken().len() {
            ALL => Ok(()),
            taken => Err(format!("{taken} of {ALL}")),
        });
    }
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}

/// `count` ids whose deliveries to the rule of this name lie in one partition of a tier.
fn ids_in_one_partition(rule: &str, count: usize) -> Vec<String> {
    let ids = (0..).map(|n| format!("{rule}-{n}"));
    ids.filter(|id| stored::slot(&stored::delivery_id("/test", id, rule, rule)) == PARTITION).take(count).collect()
}

/// The partition of the tier that two destinations meet in.
const PARTITION: i32 = 7;

#[test]
fn a_dead_destination_delays_nobody_in_the_same_partition_of_a_tier() {
    // Fewer failures in a row than open a breaker.
    const EVENTS: usize = 9;
    const MORE: usize = 30;
    let dead = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&dead);
    let bed = Bed::new("tier-mates", 1, move |seen| {
        if seen.attempt == 1 && !seen.event.starts_with("more") {
            // Each event must wait for a reason of its own.
            Answer::status(409)
        } else if seen.target == "/dead" && says.load(Ordering::Relaxed) {
            Answer::status(500)
        } else {
            Answer::ok()
        }
    });
    let mut resources = bed.source_and_connection("");
    for name in ["dead", "well"] {
        let rule = rule(name, &format!("{{type: {name}}}"));
        write!(
            resources,
            "
---
kind: destination
name: {name}
connection: api
endpoint: /{name}
responses: [{{when: {{status: [409]}}, outcome: retry, wait: 8s}}]{rule}"
        )
        .unwrap();
    }
    bed.resources("all.yaml", &resources);
    let replica = bed.replica("a");
    let (sick, well) = (ids_in_one_partition("dead", EVENTS), ids_in_one_partition("well", EVENTS));
    let pairs = sick.iter().zip(&well);
    let mixed =
        pairs.flat_map(|(sick, well)| [events::structured(sick, "dead", "{}"), events::structured(well, "well", "{}")]);
    bed.broker.produce(&bed.topic(), mixed);
    let tier = bed.own_topic("retry.10s");
    eventually("all in one partition of the tier", MINUTE, || match bed.broker.ends(&tier).get(&PARTITION) {
        Some(18) => Ok(()),
        found => Err(format!("{found:?}")),
    });
    // More of the dead one's events open its breaker before the first of the tier is due.
    bed.broker.produce(&bed.topic(), (0..MORE).map(|n| events::structured(&format!("more-{n}"), "dead", "{}")));
    replica.wait_line("an open breaker", MINUTE, |line| {
        line.contains("stopped sending") && line.contains("destination=dead")
    });
    wait_arrived(&bed, "all at the one that is well", PROMPT, &["/well".to_owned()], EVENTS);
    assert!(!arrived(&bed).contains_key("/dead"), "the other is still dead");
    // What was due for the dead one has left the tier for its queue.
    eventually("the tier is read", MINUTE, || bed.broker.at_end(&bed.stored_group(), &tier));
    assert!(bed.broker.count(&bed.own_topic("queue.dead")) >= EVENTS, "the dead one's events wait in its queue");

    dead.store(false, Ordering::Relaxed);
    wait_arrived(&bed, "all at the one that was dead", MINUTE * 2, &["/dead".to_owned()], EVENTS + MORE);
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}

#[test]
fn one_hot_destination_starves_no_cold_one() {
    // More than a window holds, so that those behind are reached only if what is in front of them makes room.
    const HOT: usize = 5_000;
    const COLD: usize = 5;
    let slow = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&slow);
    let bed = Bed::new("hot", 2, move |seen| {
        let slow = seen.target == "/hot" && says.load(Ordering::Relaxed);
        if slow { Answer::ok().after(Duration::from_millis(100)) } else { Answer::ok() }
    });
    let cold: Vec<String> = (0..10).map(|n| format!("cold-{n}")).collect();
    let mut resources = format!(
        "{}\n---\n{{kind: destination, name: hot, connection: api, endpoint: /hot, concurrency: {{max: 4}}}}{}",
        bed.source_and_connection(""),
        rule("hot", "{type: hot}")
    );
    for name in &cold {
        let rule = rule(name, &format!("{{type: {name}}}"));
        write!(resources, "\n---\n{{kind: destination, name: {name}, connection: api, endpoint: /{name}}}{rule}")
            .unwrap();
    }
    bed.resources("all.yaml", &resources);
    let hot = (0..HOT).map(|n| events::structured(&format!("{n}"), "hot", "{}").partition(i32::from(n % 2 == 1)));
    bed.broker.produce(&bed.topic(), hot);
    let both = |n: usize| [0, 1].map(|partition| (n, partition));
    let last = cold.iter().flat_map(|kind| {
        (0..COLD)
            .flat_map(both)
            .map(move |(n, partition)| events::structured(&format!("{n}-{partition}"), kind, "{}").partition(partition))
    });
    bed.broker.produce(&bed.topic(), last);
    let replica = bed.replica("a");
    let paths: Vec<String> = cold.iter().map(|name| format!("/{name}")).collect();
    wait_arrived(&bed, "all at the cold ones", PROMPT, &paths, 2 * COLD);
    let taken = arrived(&bed).get("/hot").map_or(0, HashSet::len);
    eprintln!("{taken} of {HOT} at the hot one");
    assert!(taken < HOT / 2, "the hot backlog was there all the while: {taken} of {HOT} were taken");

    slow.store(false, Ordering::Relaxed);
    wait_arrived(&bed, "all at the hot one", MINUTE * 2, &["/hot".to_owned()], HOT);
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}
