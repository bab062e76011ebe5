//! Two deployments at once: replicas of one group whose resources differ, as while a new version is rolled out.

use crate::rate::{assert_kept, times_of};
use crate::support::{Answer, Bed, Replica, events, eventually};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 40;

/// Destinations with a limit, whose queues' slots lie everywhere.
const LIMITED: usize = 8;

/// What only the new deployment knows: a source, destinations with a limit, one whose events wait in a tier, and rules.
fn new_resources(bed: &Bed) -> String {
    let mut text = format!("kind: source\nname: more\nkafka: {{topics: [{}]}}", bed.own_topic("more"));
    let rule = |name: &str, more: &str| {
        format!(
            "
---
{{kind: destination, name: {name}, connection: api, endpoint: /{name}{more}}}
---
kind: rule
name: {name}
from: more
pattern: {{}}
targets:
- {{name: {name}, destination: {name}, headers: {{x-event: '{name}-${{$.id}}'}}}}"
        )
    };
    for n in 0..LIMITED {
        write!(text, "{}", rule(&format!("limited-{n}"), ", rate_limit: 20/s")).unwrap();
    }
    write!(text, "{}", rule("later", ", responses: [{when: {status: [409]}, outcome: retry, wait: 6s}]")).unwrap();
    text
}

#[test]
fn what_another_deployment_does_not_know_is_neither_lost_nor_given_up() {
    let bed = Bed::new("deployments", 4, |seen| {
        // Fewer failures in a row than open a breaker: every fifth.
        let waits = seen.target == "/later" && seen.attempt == 1 && seen.event.ends_with(['0', '5']);
        if waits { Answer::status(409) } else { Answer::ok() }
    });
    bed.broker.create_topic(&bed.own_topic("more"), 4);
    bed.usual_resources("rate_limit: 50/s");
    bed.resources("more.yaml", &new_resources(&bed));

    // The old deployment reads a folder that has only the first of the two files.
    let old = bed.folder().join("old");
    fs::create_dir(&old).unwrap();
    let file = |folder: &str, name: &str| bed.folder().join(folder).join(name);
    fs::copy(file("resources", "usual.yaml"), file("old", "usual.yaml")).unwrap();
    let settings = bed.settings_file("old", "");
    let text = fs::read_to_string(&settings).unwrap();
    let of_new = format!("{:?}", bed.folder().join("resources"));
    assert!(text.contains(&of_new), "{text}");
    fs::write(&settings, text.replace(&of_new, &format!("{old:?}"))).unwrap();

    let new = bed.launch("new", "");
    let old = Replica::launch("old", &["run", "-c"], &settings, bed.api.alarm());
    [&new, &old].into_iter().for_each(|replica| replica.wait_ready(MINUTE));
    for replica in [&new, &old] {
        replica
            .wait_line("half of the slots", MINUTE, |line| line.contains("slots owned") && line.contains("owned=16"));
    }

    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.broker.produce(&bed.own_topic("more"), events::orders(EVENTS));
    let of_more = format!("{}.more", bed.name());
    eventually("all of the new source is handed off", MINUTE, || bed.broker.at_end(&of_more, &bed.own_topic("more")));
    bed.api.wait_until("what both know", MINUTE, |log| (0..EVENTS).all(|n| log.has(&n.to_string())));
    // What is due where nobody knows its target goes to the tier of unknown targets.
    eventually("due at the old deployment", MINUTE, || match bed.broker.count(&bed.own_topic("retry.10m")) {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    });
    let arrived = bed.api.log(|log| log.delivered());
    eprintln!("{arrived} arrived while the deployments differed");
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0, "nothing is given up");

    // The old deployment becomes a new one, and what lay in its slots goes on.
    let all = EVENTS * (2 + LIMITED);
    assert!(arrived < all, "some of it waits for a replica that knows it");
    fs::copy(file("resources", "more.yaml"), file("old", "more.yaml")).unwrap();
    bed.api.wait_until("everything", MINUTE, |log| log.delivered() == all);
    eventually("committed", MINUTE, || bed.broker.at_end(&of_more, &bed.own_topic("more")));
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    assert_kept("/in", &times_of(&bed, "/in"), 50.0, 2.0);
    for n in 0..LIMITED {
        let path = format!("/limited-{n}");
        assert_kept(&path, &times_of(&bed, &path), 20.0, 2.0);
    }
    for replica in [new, old] {
        assert!(replica.stop(MINUTE).success());
    }
}
