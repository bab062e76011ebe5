//! A hand-off that Kafka does not take leaves its event incomplete: while a destination is dead and Kafka cannot be
//! written, nothing is completed early, and nothing is lost whoever dies meanwhile.

use crate::support::api::Seen;
use crate::support::{Answer, Bed, Replica, Stored, events, eventually, real_kafka};
use rdkafka::types::RDKafkaRespErr;
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// Asserts that every event whose offset is committed was delivered, lies in a tier or in the queue, or is a dead letter
/// (I1); how many those are.
#[track_caller]
fn assert_nothing_early(bed: &Bed) -> usize {
    // What is committed is read first: what is stored meanwhile does no harm.
    let committed: BTreeMap<i32, (i64, String)> = bed.broker.committed(&bed.group(), &bed.topic());
    let topics = bed.tiers().chain([bed.own_topic("queue.sink"), bed.own_topic("dlq")]);
    let stored: HashSet<String> = topics
        .flat_map(|topic| bed.broker.read_all(&topic))
        .map(|record| record.header("tidegate-origin").to_owned())
        .collect();
    let source = bed.broker.read_all(&bed.topic());
    let complete = |record: &&Stored| committed.get(&record.partition).is_some_and(|(next, _)| record.offset < *next);
    let origin = |record: &Stored| format!("{}:{}:{}", bed.topic(), record.partition, record.offset);
    let complete: HashMap<String, String> =
        source.iter().filter(complete).map(|record| (origin(record), event_id(record))).collect();
    let safe = |origin: &String, id: &String| stored.contains(origin) || bed.api.log(|log| log.has(id));
    let early: Vec<&String> = complete.iter().filter(|(origin, id)| !safe(origin, id)).map(|(_, id)| id).collect();
    assert!(early.is_empty(), "complete, but nowhere: {early:?}");
    complete.len()
}

/// Kafka answers every write with this error while a destination is dead; `noticed` waits for the moment to look.
fn refused(name: &str, error: RDKafkaRespErr, noticed: impl FnOnce(&Replica)) -> (Bed, Replica, Arc<AtomicBool>) {
    let (bed, dead) = world(name);
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.broker.refuse_produce(error, 100_000);
    noticed(&replica);
    bed.api.wait_until("some attempts", MINUTE, |log| log.requests.len() >= 8);
    assert_eq!(assert_nothing_early(&bed), 0, "nothing could be stored, so nothing is complete");
    bed.broker.accept_produce();
    eventually("committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    assert_eq!(assert_nothing_early(&bed), EVENTS);
    (bed, replica, dead)
}

#[test]
fn what_kafka_refuses_to_take_is_not_complete() {
    if real_kafka().is_some() {
        return;
    }
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let (bed, replica, dead) = refused("refused", error, |replica| {
        replica.wait_line("that a hand-off failed", MINUTE, |line| line.contains("PRODUCE_REFUSED"));
    });
    dead.store(false, Ordering::Relaxed);
    bed.api.wait_until("all events", MINUTE * 2, |log| log.delivered() == EVENTS);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}

#[test]
fn what_too_few_brokers_have_is_not_complete() {
    if real_kafka().is_some() {
        return;
    }
    // The client tries again by itself and says nothing of it; a breaker that opened, and a probe that failed, take longer.
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    let (bed, replica, dead) = refused("too-few", error, |replica| {
        eventually("a probe that failed", MINUTE, || {
            match replica.count_lines(|line| line.contains("stopped sending")) {
                0 | 1 => Err("not yet".to_owned()),
                _ => Ok(()),
            }
        });
    });
    dead.store(false, Ordering::Relaxed);
    bed.api.wait_until("all events", MINUTE * 2, |log| log.delivered() == EVENTS);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}

#[test]
fn what_is_too_large_even_as_a_dead_letter_is_not_complete() {
    if real_kafka().is_some() {
        return;
    }
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let (bed, replica, dead) = refused("too-large", error, |replica| {
        replica.wait_line("that not even a reference was taken", MINUTE, |line| line.contains("PRODUCE_TOO_LARGE"));
    });
    dead.store(false, Ordering::Relaxed);
    // Those that were refused in every form are dead letters by reference; all others arrive.
    let dead_letters = || bed.broker.read_all(&bed.own_topic("dlq"));
    eventually("every event is delivered or a dead letter", MINUTE * 2, || {
        let (delivered, letters) = (bed.api.log(|log| log.delivered()), dead_letters().len());
        if delivered + letters == EVENTS { Ok(()) } else { Err(format!("{delivered} and {letters} of {EVENTS}")) }
    });
    let letters = dead_letters();
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter.value.is_none()), "references");
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

#[test]
fn what_waits_in_a_tier_comes_when_it_is_due_however_large_it_is() {
    const LARGE: usize = 300_000;
    const WAIT: Duration = Duration::from_secs(8);
    // Fewer failures than open a breaker.
    let waits = |event: &str| event.parse::<usize>().unwrap().is_multiple_of(4);
    let bed = Bed::new("large-waits", 2, move |seen| {
        if seen.attempt == 1 && waits(&seen.event) { Answer::status(409) } else { Answer::ok() }
    });
    bed.usual_resources("responses: [{when: {status: [409]}, outcome: retry, wait: 8s}]");
    let replica = bed.replica("a");
    let data = |n: usize| format!(r#""{}""#, "x".repeat(if n.is_multiple_of(8) { LARGE } else { 10 }));
    // They come one after the other, so that most are due when others behind them are not yet.
    for n in 0..EVENTS / 2 {
        bed.broker.produce(&bed.topic(), [events::structured(&n.to_string(), "order", &data(n))]);
    }
    bed.api.wait_until("all", MINUTE, |log| log.delivered() == EVENTS / 2);
    bed.api.log(|log| {
        let mut first: HashMap<&str, &Seen> = HashMap::new();
        for seen in &log.requests {
            let Some(before) = first.insert(&seen.event, seen) else { continue };
            assert!(seen.at.since(before.at) >= WAIT, "{} came early", seen.event);
            assert_eq!((seen.attempt, &seen.body), (2, &before.body));
        }
    });
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert!(replica.stop(MINUTE).success());
}
