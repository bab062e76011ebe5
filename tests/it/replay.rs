//! Events that are past, once more for one rule.

use crate::support::bed::SOURCE;
use crate::support::command::Said;
use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, eventually};
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use tidegate::model::clock::WallMs;

const SOON: Duration = Duration::from_secs(60);

fn bed(test: &str) -> Bed {
    let bed = Bed::new(test, 2, |_| Answer::ok());
    bed.resources(
        "replay.yaml",
        &format!(
            "{}
---
kind: destination
name: sink
connection: api
endpoint: /in
---
kind: rule
name: paid
from: {SOURCE}
pattern: {{type: [order.paid]}}
targets:
- name: book
  destination: sink
  headers: {{x-event: $.id}}
- name: inorder
  destination: sink
  ordering: key
  headers: {{x-event: '${{$.id}}-o'}}
",
            bed.source_and_connection(", strict: true")
        ),
    );
    bed
}

#[test]
fn a_range_goes_again_to_one_rule_and_no_offset_moves() {
    let bed = bed("replay");
    let replica = bed.replica("a");
    let order = |n: usize, kind: &str| structured(&format!("e{n}"), kind, "{}").key("k");
    bed.broker.produce(&bed.topic(), (0..3).map(|n| order(n, "order.paid")));
    bed.api.wait_until("the first", SOON, |log| (0..3).all(|n| log.has(&format!("e{n}"))));
    std::thread::park_timeout(Duration::from_millis(20));
    let middle = WallMs::now().rfc3339();
    std::thread::park_timeout(Duration::from_millis(20));
    bed.broker.produce(&bed.topic(), [order(3, "order.paid"), order(4, "order.created"), Message::value("no event")]);
    bed.api.wait_until("the rest", SOON, |log| log.has("e3"));
    bed.wait_all_committed(SOON);
    let committed = bed.broker.committed(&bed.group(), &bed.topic());

    let replay = |more: &[&str]| bed.ask(&[&["replay", "paid"], more].concat());
    let book = ["--target", "book"];
    assert!(replay(&book).exits(2).err.contains("--dry-run"));
    assert!(bed.ask(&["replay", "nobody", "--yes"]).exits(2).err.contains("there are: paid"));
    let said = replay(&["--yes"]).exits(2);
    assert!(said.err.contains("`ordering: key`") && said.err.contains("--target book"), "{said:?}");
    let said = replay(&[&book[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(said.out, "read 6 · matched 4 · undecodable 1 → 4 to sink. Nothing written.\n");
    let said = replay(&[&book[..], &["--dry-run", "-o", "wide", "--to", &middle]].concat()).exits(0);
    assert_eq!(said.out.matches(": POST http").count(), 3, "{said:?}");
    assert!(said.out.contains("x-event: e2"), "{said:?}");
    assert_eq!(bed.api.log(|log| log.duplicates()), 0);

    // The same delivery, so that receivers can tell.
    let keys = |event: &str| {
        bed.api.log(|log| {
            let seen = log.requests.iter().filter(|seen| seen.event == event);
            seen.map(|seen| seen.idempotency_key().to_owned()).collect::<Vec<_>>()
        })
    };
    let said = replay(&[&book[..], &["--yes", "--from", &middle]].concat()).exits(0);
    assert_eq!(said.out, "read 3 · matched 1 · undecodable 1 · written 1\n");
    assert!(said.err.contains("receivers may see these events again"), "{said:?}");
    bed.api.wait_until("e3 again", SOON, |log| log.tally("e3").accepted == 2);
    let both = keys("e3");
    assert_eq!(both[0], both[1]);
    let place = {
        let records = bed.broker.read_all(&bed.topic());
        let record = records.iter().find(|r| r.value.as_deref().is_some_and(|v| v.windows(4).any(|w| w == b"\"e1\"")));
        let record = record.expect("the second order");
        format!("{}:{}:{}", bed.topic(), record.partition, record.offset)
    };
    let said = replay(&[&book[..], &["--yes", "--at", &place, "-o", "json"]].concat()).exits(0).json();
    assert_eq!((&said["read"], &said["matched"], &said["written"]), (&json!(1), &json!(1), &json!(1)));
    bed.api.wait_until("e1 again", SOON, |log| log.tally("e1").accepted == 2);
    bed.wait_all_committed(SOON);
    assert_eq!(bed.broker.committed(&bed.group(), &bed.topic()), committed);
    assert_eq!(bed.api.log(|log| (log.tally("e0").accepted, log.tally("e4").attempts)), (1, 0));

    // What is not there is said with what is.
    let said = replay(&[&book[..], &["--yes", "--to", "2020-01-01T00:00:00Z"]].concat()).exits(1);
    assert!(said.err.contains("REPLAY_EMPTY") && said.err.contains("` holds events from 20"), "{said:?}");
    let beyond = format!("{}:0:999", bed.topic());
    let said = replay(&[&book[..], &["--yes", "--at", &beyond]].concat()).exits(1);
    assert!(said.err.contains("has no offset 999") || said.err.contains("holds no records"), "{said:?}");
    let said = replay(&["--yes", "--from", "1h", "--to", "2h"]).exits(2);
    assert!(said.err.contains("is not before"), "{said:?}");
    drop(replica);
}

#[test]
fn what_was_stopped_goes_on_where_it_was() {
    const EVENTS: usize = 60;
    let bed = bed("replay-stopped");
    let _replica = bed.replica("a");
    let orders = (0..EVENTS).map(|n| structured(&format!("e{n}"), "order.paid", "{}").key(&format!("k{n}")));
    bed.broker.produce(&bed.topic(), orders);
    let had =
        |times: u32| bed.api.log(|log| (0..EVENTS).filter(|n| log.tally(&format!("e{n}")).accepted >= times).count());
    let wait = |what: &str, times: u32, count: usize| {
        bed.api.wait_until(what, SOON, |log| {
            (0..EVENTS).filter(|n| log.tally(&format!("e{n}")).accepted >= times).count() >= count
        });
    };
    wait("all of them", 1, EVENTS);
    let begin = || bed.command(&["replay", "paid", "--target", "book", "--yes", "--rate", "10/s"]).spawn().unwrap();

    let tier = bed.own_topic("retry.10s");
    let written = |count: usize| {
        eventually("some are written", SOON, || {
            let there = bed.broker.count(&tier);
            if there >= count { Ok(()) } else { Err(format!("{there} of {count}")) }
        });
    };

    // Stopped by hand, it says how to go on, and repeats nothing.
    let stopped = begin();
    written(5);
    assert!(Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().unwrap().success());
    let said = Said::of(stopped.wait_with_output().unwrap()).exits(1);
    let (_, id) = said.err.split_once("go on with: tidegate replay --resume ").unwrap_or_else(|| panic!("{said:?}"));
    assert!(had(2) < EVENTS, "it was stopped too late to show anything");
    bed.ask(&["replay", "paid", "--resume"]).exits(2);
    assert!(bed.ask(&["replay", "--resume", "nobody"]).exits(1).err.contains(id.trim()));
    let said = bed.ask(&["replay", "--resume", id.trim(), "--rate", "200/s", "-o", "json"]).exits(0).json();
    assert!((1..EVENTS as u64).contains(&said["written"].as_u64().unwrap()), "{said}");
    wait("all again", 2, EVENTS);
    assert_eq!(had(3), 0);
    assert!(bed.ask(&["replay", "--resume"]).exits(1).err.contains("no replay is unfinished"));

    // Killed, it repeats a little.
    let mut killed = begin();
    written(EVENTS + 5);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let said = bed.ask(&["replay", "paid", "--target", "book", "--yes", "--to", "2020-01-01T00:00:00Z"]);
    assert!(said.err.contains("has not ended; if it was stopped: tidegate replay --resume"), "{said:?}");
    bed.ask(&["replay", "--resume", "--rate", "200/s"]).exits(0);
    wait("all once more", 3, EVENTS);
}

#[test]
fn one_process_writes_a_replay_at_a_time() {
    const EVENTS: usize = 60;
    let bed = bed("replay-claimed");
    let _replica = bed.replica("a");
    let orders = (0..EVENTS).map(|n| structured(&format!("e{n}"), "order.paid", "{}").key(&format!("k{n}")));
    bed.broker.produce(&bed.topic(), orders);
    bed.api.wait_until("all of them", SOON, |log| (0..EVENTS).all(|n| log.has(&format!("e{n}"))));
    let tier = bed.own_topic("retry.10s");
    let begin = ["replay", "paid", "--target", "book", "--yes", "--rate", "1/s"];
    let mut first = bed.command(&begin).spawn().unwrap();
    eventually("some are written", SOON, || match bed.broker.count(&tier) {
        3.. => Ok(()),
        few => Err(few.to_string()),
    });

    // While it is at it, nobody else is.
    let resume = ["replay", "--resume", "--rate", "200/s"];
    let said = bed.ask(&resume).exits(1);
    for word in ["REPLAY_TAKEN", "by another process on ", "s ago (20", "go on with: tidegate replay --resume "] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert!(bed.broker.count(&tier) < EVENTS, "the second wrote");

    // Killed, it is in nobody's way for long; of two who go on with it at once, one does.
    first.kill().unwrap();
    first.wait().unwrap();
    let before = bed.broker.count(&tier);
    let both: Vec<_> = (0..2).map(|_| bed.command(&resume).spawn().unwrap()).collect();
    let both: Vec<Said> = both.into_iter().map(|child| Said::of(child.wait_with_output().unwrap())).collect();
    let done = both.iter().filter(|said| said.code == 0).count();
    assert_eq!(done, 1, "{both:?}");
    for said in &both {
        assert!(said.err.contains(" s, to be sure that it was stopped"), "{said:?}");
        assert!(said.code == 0 || said.err.contains("REPLAY_TAKEN") || said.err.contains("no replay is"), "{said:?}");
    }
    // What the first wrote since it last noted how far it had come is written again, and no more.
    let written = bed.broker.count(&tier);
    assert!((EVENTS..=EVENTS + 8).contains(&written), "{before} + {}: {both:?}", written - before);
    bed.api.wait_until("all again", SOON, |log| (0..EVENTS).all(|n| log.tally(&format!("e{n}")).accepted >= 2));
    assert!(bed.ask(&["replay", "--resume"]).exits(1).err.contains("no replay is unfinished"));
}
