//! Destinations that are held until someone resumes them: for all replicas, across restarts and reloads.

use crate::support::{Answer, Bed, events, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 40;

fn held(bed: &Bed, reason: &str) {
    eventually("status tells of the hold", MINUTE, || {
        let told = bed.ask(&["status", "sink", "-o", "json"]).json();
        if told["destinations"][0]["held"]["reason"] == reason { Ok(()) } else { Err(told.to_string()) }
    });
}

#[test]
fn held_by_hand_nothing_is_sent_until_it_is_resumed_whoever_restarts() {
    let bed = Bed::new("by-hand", 3, |_| Answer::ok());
    bed.usual_resources("");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == EVENTS);

    let said = bed.ask(&["hold", "snik"]).exits(2);
    assert!(
        said.err.contains("error[HOLD_NAME]: there is no destination `snik`; did you mean `sink`?"),
        "{}",
        said.err
    );
    bed.ask(&["hold", "sink", "--reason", "their upgrade"]).exits(0).tells(&["sink is held; the replica has heard"]);
    bed.ask(&["hold", "sink"]).exits(0).tells(&["sink is held by hand already"]);
    bed.broker.produce(&bed.topic(), events::orders(2 * EVENTS).skip(EVENTS));
    held(&bed, "manual");
    bed.ask(&["status", "sink"]).exits(1).tells(&["manual since", "their upgrade", "tidegate resume sink"]);

    // While none runs, what stands in Kafka is told.
    assert!(replica.stop(MINUTE).success());
    let said = bed.ask(&["status", "sink"]).exits(1);
    said.tells(&["manual since", "their upgrade", "tidegate resume sink"]);

    // Another replica in its place knows before it sends anything.
    let replica = bed.replica("b");
    bed.resources("more.yaml", "{kind: connection, name: other, url: 'https://other.example'}");
    replica.wait_line("a reload", MINUTE, |line| line.contains("reloaded: other"));
    held(&bed, "manual");
    assert_eq!(bed.api.log(|log| log.requests.len()), EVENTS, "nothing was sent while it was held");

    bed.ask(&["resume", "sink"]).exits(0).tells(&["sink is resumed; the replica has heard"]);
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == 2 * EVENTS);
    bed.ask(&["status", "sink"]).exits(0).tells(&["ok"]);
    bed.wait_all_committed(MINUTE);
}

#[test]
fn one_replica_hears_410_and_all_hold() {
    let gone = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&gone);
    let bed =
        Bed::new("gone", 4, move |_| if says.load(Ordering::Relaxed) { Answer::status(410) } else { Answer::ok() });
    bed.usual_resources("");
    let [a, b] = bed.replicas(["a", "b"]);
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    for replica in [&a, &b] {
        replica.wait_line("the hold", MINUTE, |line| line.contains("held: ") && line.contains("410 Gone"));
    }
    gone.store(false, Ordering::Relaxed);
    a.kill();
    assert!(b.stop(MINUTE).success());
    let requests = bed.api.log(|log| log.requests.len());
    let _c = bed.replica("c");
    held(&bed, "gone");
    assert_eq!(bed.api.log(|log| log.requests.len()), requests, "the one that starts later knows");
    bed.ask(&["resume", "sink"]).exits(0);
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == EVENTS);
}
