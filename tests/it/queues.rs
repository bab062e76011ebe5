//! What a destination cannot take waits in its queue, where it delays nobody, and leaves it when the destination can.

use crate::support::{Answer, Bed, Replica, events, eventually};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 200;

/// Two destinations that get every event: `sink`, which answers as it is told, and `well`.
fn world(name: &str, sink: &str) -> (Bed, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let answer = Arc::clone(&status);
    let bed = Bed::new(name, 1, move |seen| {
        if seen.target.starts_with("/sink") { Answer::status(answer.load(Ordering::Relaxed)) } else { Answer::ok() }
    });
    bed.resources("all.yaml", &resources(&bed, sink));
    (bed, status)
}

fn resources(bed: &Bed, sink: &str) -> String {
    format!(
        "{}
---
kind: destination
name: sink
connection: api
endpoint: /sink
{sink}
---
kind: destination
name: well
connection: api
endpoint: /well
---
kind: rule
name: all
pattern: {{}}
targets:
- name: sink
  destination: sink
  headers: {{x-event: $.id}}
- name: well
  destination: well
",
        bed.source_and_connection("")
    )
}

/// Waits until `sink` has taken every event.
#[track_caller]
fn all_taken(bed: &Bed) {
    eventually("all at the sink", MINUTE * 2, || {
        let taken = taken(bed);
        if taken == EVENTS { Ok(()) } else { Err(format!("{taken} of {EVENTS}")) }
    });
}

/// Events that `sink` has taken.
fn taken(bed: &Bed) -> usize {
    bed.api.log(|log| {
        let of_sink = log.requests.iter().filter(|seen| seen.target.starts_with("/sink"));
        of_sink
            .filter(|seen| seen.answered == Some(200))
            .map(|seen| seen.header("x-event"))
            .collect::<HashSet<_>>()
            .len()
    })
}

fn requests(bed: &Bed, path: &str) -> usize {
    bed.api.log(|log| log.requests.iter().filter(|seen| seen.target.starts_with(path)).count())
}

fn queued(bed: &Bed) -> usize {
    bed.broker.count(&bed.own_topic("queue.sink"))
}

#[track_caller]
fn queue_is_read(bed: &Bed) {
    eventually("an empty queue", MINUTE, || bed.broker.at_end(&bed.stored_group(), &bed.own_topic("queue.sink")));
}

fn stop(replica: Replica) {
    assert!(replica.stop(MINUTE).success());
}

#[test]
fn a_dead_destination_waits_in_its_queue_and_delays_nobody() {
    let (bed, status) = world("queue-dead", "");
    status.store(500, Ordering::Relaxed);
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("all at the one that is well", MINUTE, |log| {
        log.requests.iter().filter(|seen| seen.target.starts_with("/well")).count() >= EVENTS
    });
    // Its offsets are complete though nothing of it was taken: what waits, waits in tiers and in its queue.
    eventually("committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    assert_eq!(taken(&bed), 0);
    assert!(queued(&bed) > EVENTS / 2, "{} in the queue", queued(&bed));
    let tried = requests(&bed, "/sink");
    assert!(tried < EVENTS / 2, "{tried} requests to a dead destination");

    status.store(200, Ordering::Relaxed);
    all_taken(&bed);
    queue_is_read(&bed);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    stop(replica);
}

#[test]
fn an_incident_is_neither_lost_nor_dead_lettered() {
    let (bed, status) = world("queue-incident", "");
    status.store(403, Ordering::Relaxed);
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    eventually("committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    assert_eq!((taken(&bed), bed.broker.count(&bed.own_topic("dlq"))), (0, 0));
    assert_eq!(queued(&bed), EVENTS);
    assert!(bed.tiers().all(|tier| bed.broker.count(&tier) == 0), "an incident is no back-off of an event");
    // A reload is a new chance.
    status.store(200, Ordering::Relaxed);
    bed.resources("all.yaml", &resources(&bed, "timeout: 9s"));
    all_taken(&bed);
    stop(replica);
}

#[test]
fn an_exact_rate_goes_through_the_queue_at_once() {
    let (bed, _) = world("queue-exact", "rate_limit: 100/s");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    all_taken(&bed);
    assert_eq!((queued(&bed), requests(&bed, "/sink")), (EVENTS, EVENTS));
    bed.wait_all_committed(MINUTE);
    queue_is_read(&bed);
    stop(replica);
}
