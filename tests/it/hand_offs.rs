//! A hand-off that Kafka does not take leaves its event incomplete: while a destination is dead and Kafka cannot be
//! written, nothing is completed early, and nothing is lost whoever dies meanwhile.

use crate::support::{Answer, Bed, Stored, events, eventually, real_kafka};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 200;

/// One destination, `sink`, which is dead until the flag falls.
fn world(name: &str) -> (Bed, Arc<AtomicBool>) {
    let dead = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&dead);
    let bed = Bed::new(name, 2, move |_| {
        // Slow enough that the test can act between the first requests and the end of their attempts.
        if says.load(Ordering::Relaxed) { Answer::status(500).after(Duration::from_millis(500)) } else { Answer::ok() }
    });
    bed.usual_resources("");
    (bed, dead)
}

fn event_id(record: &Stored) -> String {
    match record.header("ce_id") {
        "" => {
            let value: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            value["id"].as_str().unwrap().to_owned()
        }
        id => id.to_owned(),
    }
}

/// Asserts that every event whose offset is committed was delivered or lies in a tier or in the queue (I1).
#[track_caller]
fn assert_nothing_early(bed: &Bed) -> usize {
    // What is committed is read first: what is stored meanwhile does no harm.
    let committed: BTreeMap<i32, (i64, String)> = bed.broker.committed(&bed.group(), &bed.topic());
    let topics = bed.tiers().chain([bed.own_topic("queue.sink")]);
    let stored: HashSet<String> =
        topics.flat_map(|topic| bed.broker.read_all(&topic)).map(|record| event_id(&record)).collect();
    let source = bed.broker.read_all(&bed.topic());
    let complete = |record: &&Stored| committed.get(&record.partition).is_some_and(|(next, _)| record.offset < *next);
    let complete: Vec<String> = source.iter().filter(complete).map(event_id).collect();
    let early: Vec<&String> =
        complete.iter().filter(|id| !stored.contains(*id) && !bed.api.log(|log| log.has(id))).collect();
    assert!(early.is_empty(), "complete, but nowhere: {early:?}");
    complete.len()
}

#[test]
fn what_kafka_refuses_to_take_is_not_complete() {
    if real_kafka().is_some() {
        return;
    }
    let (bed, dead) = world("refused");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.broker.refuse_produce(10_000);
    replica.wait_line("that a hand-off failed", MINUTE, |line| line.contains("PRODUCE_REFUSED"));
    bed.api.wait_until("some attempts", MINUTE, |log| log.requests.len() >= 8);
    assert_eq!(assert_nothing_early(&bed), 0, "nothing could be stored, so nothing is complete");
    bed.broker.accept_produce();
    eventually("committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    assert_eq!(assert_nothing_early(&bed), EVENTS);
    dead.store(false, Ordering::Relaxed);
    bed.api.wait_until("all events", MINUTE * 2, |log| log.delivered() == EVENTS);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}

#[test]
fn a_kafka_that_goes_away_while_a_destination_is_dead_costs_nothing() {
    if real_kafka().is_some() {
        return;
    }
    let (bed, dead) = world("gone-meanwhile");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("first attempts", MINUTE, |log| log.requests.len() >= 8);
    bed.broker.set_down(true);
    // From here on its events go to its queue, if they can.
    let stops = || replica.count_lines(|line| line.contains("stopped sending"));
    eventually("a breaker that opened and a probe that failed", MINUTE, || match stops() {
        0 | 1 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    replica.wait_line("that Kafka is away", MINUTE, |line| line.contains("KAFKA_UNREACHABLE"));
    bed.broker.set_down(false);
    eventually("something is stored", MINUTE, || match bed.broker.count(&bed.own_topic("queue.sink")) {
        0 => Err("nothing yet".to_owned()),
        _ => Ok(()),
    });
    // Whoever dies now has not completed what only it knew.
    assert_nothing_early(&bed);
    replica.kill();
    dead.store(false, Ordering::Relaxed);
    let replica = bed.launch("b", "");
    bed.api.wait_until("all events", MINUTE * 2, |log| log.delivered() == EVENTS);
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}
