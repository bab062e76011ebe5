//! Nothing is lost and nothing is invented: a group of replicas, an API that fails at random and refuses some events
//! for good, and the sum of what arrived and what is in the dead-letter topic is what was produced.

use crate::support::{Answer, Bed, Log, Stored, events, size};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

/// Every hundredth id is one that the API will never take.
pub(crate) fn is_poison(id: &str) -> bool {
    id.parse::<usize>().is_ok_and(|n| n % 100 == 7)
}

/// 503 to one request in twenty at random, 422 to poison, 200 to the rest.
pub(crate) fn flaky(seed: u64) -> impl Fn(&str) -> Answer + Send + Sync {
    let chance = Mutex::new(fastrand::Rng::with_seed(seed));
    move |event| {
        if is_poison(event) {
            Answer::status(422).body(format!("{{\"error\":\"event {event} is not wanted\"}}"))
        } else if chance.lock().unwrap().u8(..100) < 5 {
            Answer::status(503)
        } else {
            Answer::ok()
        }
    }
}

/// Waits until every one of `count` orders was delivered or is a dead letter, then compares both with what they
/// must be.
#[track_caller]
pub(crate) fn wait_settled(bed: &Bed, count: usize, limit: Duration) {
    let poison = (0..count).filter(|n| is_poison(&n.to_string())).count();
    bed.api.wait_until("all good events delivered", limit, |log| log.delivered() >= count - poison);
    bed.wait_all_committed(limit);

    let good: BTreeSet<String> = (0..count).map(|n| n.to_string()).filter(|id| !is_poison(id)).collect();
    let bad: BTreeSet<String> = (0..count).map(|n| n.to_string()).filter(|id| is_poison(id)).collect();
    let delivered: BTreeSet<String> = bed.api.log(|log| log.delivered_events().map(str::to_owned).collect());
    assert!(delivered == good, "lost: {:?}; invented: {:?}", &good - &delivered, &delivered - &good);

    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    let ids: BTreeSet<String> = dead.iter().map(event_id).collect();
    assert!(ids == bad, "missing dead letters: {:?}; wrong ones: {:?}", &bad - &ids, &ids - &bad);
    for letter in &dead {
        assert_eq!((letter.header("tidegate-http-status"), letter.header("tidegate-class")), ("422", "reject"));
        assert_eq!((letter.header("tidegate-rule"), letter.header("tidegate-target")), ("all", "sink"));
        assert!(letter.header("tidegate-response").contains("is not wanted"), "{letter:?}");
    }
}

/// The id of an order, whichever mode it came in.
fn event_id(letter: &Stored) -> String {
    let binary = letter.header("ce_id");
    if !binary.is_empty() {
        return binary.to_owned();
    }
    let value: serde_json::Value = serde_json::from_slice(letter.value.as_deref().unwrap()).unwrap();
    value["id"].as_str().unwrap().to_owned()
}

#[test]
fn every_event_is_delivered_or_dead_lettered() {
    let count = size(2_000, 50_000);
    let script = flaky(1);
    let bed = Bed::new("loss", 12, move |seen| script(&seen.event));
    bed.usual_resources("concurrency: {max: 32}");
    let replicas = bed.replicas(["a", "b", "c"]);

    bed.broker.produce(&bed.topic(), events::orders(count));
    wait_settled(&bed, count, Duration::from_secs(300));

    // Nobody died, so whatever was sent twice was sent twice without need.
    bed.api.log(|log: &Log| {
        assert_eq!(log.duplicates(), 0, "events delivered more than once");
        let once = log.requests.iter().all(|seen| !seen.idempotency_key().is_empty());
        assert!(once, "every request carries an idempotency key");
    });
    for replica in replicas {
        let name = replica.name.clone();
        assert!(replica.stop(Duration::from_secs(30)).success(), "{name} leaves in good order");
    }
}

#[test]
fn the_request_is_the_event_and_its_retries_carry_one_key() {
    let bed = Bed::new("request", 1, |seen| if seen.attempt < 3 { Answer::status(500) } else { Answer::ok() });
    bed.usual_resources("");
    let _replica = bed.replica("a");
    let data = r#"{"n": 12345678901234567890123, "d": 1.10, "b":1,"a":2}"#;
    bed.broker.produce(&bed.topic(), [events::structured("s", "order.paid", data)]);
    bed.api.wait_until("delivered at the third attempt", Duration::from_secs(60), |log| log.has("s"));
    bed.wait_all_committed(Duration::from_secs(20));

    bed.api.log(|log| {
        let bodies: BTreeSet<&[u8]> = log.requests.iter().map(|seen| &seen.body[..]).collect();
        let produced = events::structured("s", "order.paid", data).value.unwrap();
        assert_eq!(bodies, BTreeSet::from([&produced[..]]), "the event, byte for byte, every time");
        let keys: BTreeSet<&str> = log.requests.iter().map(|seen| seen.idempotency_key()).collect();
        assert_eq!((log.requests.len(), keys.len()), (3, 1));
        let first = &log.requests[0];
        assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/in"));
        assert!(first.header("content-type").starts_with("application/cloudevents+json"), "{:?}", first.headers);
    });
}
