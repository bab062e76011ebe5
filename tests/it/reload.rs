//! Resources that change while events are in flight and waiting.

use crate::support::{Answer, Bed, events};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 60;

fn resources(bed: &Bed, endpoint: &str, pattern: &str) -> String {
    format!(
        "{}
---
kind: destination
name: sink
connection: api
endpoint: {endpoint}
---
kind: rule
name: all
pattern: {pattern}
targets:
- name: sink
  destination: sink
  headers: {{x-event: $.id}}
",
        bed.source_and_connection("")
    )
}

#[test]
fn what_waited_for_a_wrong_endpoint_goes_to_the_corrected_one() {
    let bed =
        Bed::new(
            "corrected",
            3,
            |seen| {
                if seen.target.starts_with("/wrong") { Answer::status(410) } else { Answer::ok() }
            },
        );
    bed.resources("all.yaml", &resources(&bed, "/wrong", "{}"));
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    replica.wait_line("that it is held", MINUTE, |line| line.contains("410 Gone"));

    bed.resources("all.yaml", &resources(&bed, "/in", "{}"));
    replica.wait_line("the reload", MINUTE, |line| line.contains("reloaded: sink"));
    bed.ask(&["resume", "sink"]).exits(0).tells(&["sink is resumed; the replica has heard"]);
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == EVENTS);
    bed.wait_all_committed(MINUTE);
    let wrong = bed.api.log(|log| log.requests.iter().filter(|seen| seen.target.starts_with("/wrong")).count());
    assert!(wrong <= 3 * 8, "{wrong} requests to the wrong endpoint: it should have been left alone");
}

#[test]
fn a_broken_file_keeps_the_old_set_and_says_why() {
    let bed = Bed::new("broken", 3, |_| Answer::ok());
    bed.resources("all.yaml", &resources(&bed, "/in", "{}"));
    let replica = bed.replica("a");
    bed.resources("all.yaml", &resources(&bed, "/in", "{type: [{Prefix: order}]}"));
    replica.wait_line("the fault", MINUTE, |line| line.contains("PATTERN_OPERATOR"));
    replica.wait_line("what stays", MINUTE, |line| line.contains("the old ones stay in use"));
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("all events, by the old rule", MINUTE, |log| log.delivered() == EVENTS);

    bed.resources("all.yaml", &resources(&bed, "/other", "{type: [{prefix: order}]}"));
    replica.wait_line("the reload", MINUTE, |line| line.contains("reloaded: all, sink"));
    bed.broker.produce(&bed.topic(), events::orders(EVENTS + 1).skip(EVENTS));
    bed.api.wait_until("the event by the new rule", MINUTE, |log| log.delivered() == EVENTS + 1);
    assert!(bed.api.log(|log| log.requests.last().is_some_and(|seen| seen.target.starts_with("/other"))));
    bed.wait_all_committed(MINUTE);
}

#[test]
fn what_changes_while_kafka_is_away_is_applied_when_it_is_back() {
    let bed = Bed::new("away", 3, |_| Answer::ok());
    if crate::support::real_kafka().is_some() {
        return;
    }
    bed.resources("all.yaml", &resources(&bed, "/in", "{}"));
    let replica = bed.replica("a");
    bed.broker.set_down(true);
    bed.resources("all.yaml", &resources(&bed, "/other", "{}"));
    replica.wait_line("that it failed", MINUTE, |line| line.contains("reload failed"));
    bed.broker.set_down(false);
    replica.wait_line("the reload", MINUTE, |line| line.contains("reloaded: sink"));
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == EVENTS);
    assert!(bed.api.log(|log| log.requests.iter().all(|seen| seen.target.starts_with("/other"))));
}
