//! Queues that hold nothing are not read: hundreds of destinations with a limit, each with a queue of its own, delay nobody
//! and wait for nobody, whichever replica hands over and whichever sends.

use crate::support::{Answer, Bed, Replica, events, eventually};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;
use tidegate::model::clock::Monotonic;
use tidegate::telemetry::state::State;

const MINUTE: Duration = Duration::from_secs(60);
const DESTINATIONS: usize = 200;

/// Long enough for a busy machine; taking turns with so many others would take minutes.
const PROMPT: Duration = Duration::from_secs(40);

fn world() -> Bed {
    let bed = Bed::new("idle-queues", 4, |_| Answer::ok());
    let mut resources = bed.source_and_connection("");
    for d in 0..DESTINATIONS {
        write!(
            resources,
            "
---
{{kind: destination, name: d{d}, connection: api, endpoint: /d/{d}, rate_limit: 100/s}}
---
{{kind: rule, name: r{d}, pattern: {{type: [d{d}]}}, targets: [{{name: t, destination: d{d}, headers: {{x-event: $.id}}}}]}}"
        )
        .unwrap();
    }
    bed.resources("all.yaml", &resources);
    bed
}

/// What a replica says of itself.
fn state(replica: &Replica) -> State {
    serde_json::from_str(&replica.get("/state").2).unwrap()
}

/// The tiers and queues that these replicas read.
fn read(replicas: &[Replica]) -> Vec<String> {
    let all = replicas.iter().flat_map(|replica| state(replica).intakes).filter(|intake| intake.name == "stored");
    all.flat_map(|intake| intake.partitions).map(|at| format!("{}:{}", at.topic, at.partition)).collect()
}

/// Sends an event to each of these destinations and waits until all have arrived.
fn send(bed: &Bed, prefix: &str, destinations: impl Iterator<Item = usize> + Clone) {
    let begun = Monotonic::now();
    let id = |d: usize| format!("{prefix}{d}");
    bed.broker.produce(&bed.topic(), destinations.clone().map(|d| events::structured(&id(d), &format!("d{d}"), "{}")));
    let wanted: HashSet<String> = destinations.map(id).collect();
    bed.api.wait_until("all have arrived", PROMPT, |log| wanted.iter().all(|id| log.has(id)));
    eprintln!("{} events in {:.2} s", wanted.len(), Monotonic::now().since(begun).as_secs_f64());
}

#[test]
fn what_is_empty_is_not_read_and_what_is_written_arrives_at_once() {
    let bed = world();
    let replicas = bed.replicas(["a", "b"]);
    eventually("nothing is read that holds nothing", MINUTE, || match read(&replicas) {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{} are read: {some:?}", some.len())),
    });
    send(&bed, "few", (0..DESTINATIONS).step_by(40));
    let some = read(&replicas);
    assert!(some.len() <= DESTINATIONS / 40, "{some:?}");
    // In regular use.
    send(&bed, "again", (0..DESTINATIONS).step_by(40));
    send(&bed, "all", 0..DESTINATIONS);
    assert_eq!(bed.api.log(|log| log.duplicates()), 0);
    bed.wait_all_committed(MINUTE);
    for replica in replicas {
        assert!(replica.stop(MINUTE).success());
    }
}
