//! Dead letters sent again: each once, whoever asks, however often, and whatever ends it in between (F74).

use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, Replica, eventually};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate::model::stored::{delivery_id, sha256};

const SOON: Duration = Duration::from_secs(60);

/// A destination that refuses everything until it is mended, and the dead letters of so many events.
fn dead(test: &str, count: usize) -> (Bed, Replica, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&mended);
    let bed = Bed::new(test, 2, move |_| match says.load(Ordering::Relaxed) {
        true => Answer::ok(),
        false => Answer::status(422).body("no such pipeline"),
    });
    bed.usual_resources("dead_letter_budget: off");
    let replica = bed.replica("a");
    let order = |n: usize| structured(&format!("e{n}"), "order.paid", &format!("{{\"n\":{n}}}"));
    bed.broker.produce(&bed.topic(), (0..count).map(order));
    let letters = bed.own_topic("dlq");
    eventually("dead letters", SOON, || match bed.broker.count(&letters) {
        found if found == count => Ok(()),
        found => Err(format!("{found} of {count}")),
    });
    bed.wait_all_committed(SOON);
    (bed, replica, mended)
}

fn rows(bed: &Bed, arguments: &[&str]) -> Vec<Value> {
    let said = bed.ask(&[&["dlq", "list", "-o", "json"], arguments].concat()).exits(0).json();
    said.as_array().expect("an array").clone()
}

#[test]
fn redriving_twice_has_no_second_effect() {
    let (bed, _replica, mended) = dead("redrive-twice", 6);
    let taken = |event: &str| bed.api.log(|log| log.tally(event).accepted);

    // What would be sent, letter by letter; nothing is.
    let small = ["--where", "{data: {n: [{numeric: ['<', 2]}]}}"];
    let redrive = |more: &[&str]| bed.ask(&[&["dlq", "redrive"], more].concat());
    let said = redrive(&[&small[..], &["--dry-run", "-o", "jsonl"]].concat()).exits(0);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[2]["matched"], &lines[2]["renders"], lines.len()), (&json!(2), &json!(2), 3), "{said:?}");
    assert_eq!(lines[0]["target"], "all/sink");
    assert!(lines[0]["request"]["url"].as_str().expect("a url").ends_with("/in"), "{said:?}");
    let said = redrive(&["--dry-run", "-o", "wide", "--status", "422"]).exits(0);
    assert_eq!(said.out.matches(": POST http").count(), 6, "{said:?}");
    for nothing in [["--status", "503"], ["--code", "TRANSFORM_MISSING"], ["--since", "0s"], ["--target", "all/x"]] {
        assert_eq!(redrive(&[&nothing[..], &["--dry-run", "-o", "json"]].concat()).exits(0).json()["matched"], 0);
    }
    mended.store(true, Ordering::Relaxed);

    let said = redrive(&[&small[..], &["--yes"]].concat()).exits(0);
    assert_eq!(said.out, "delivered 2 · dead again 0 · already delivered 0\n");
    let said = redrive(&[&small[..], &["--yes"]].concat()).exits(0);
    assert_eq!(said.out, "delivered 0 · dead again 0 · already delivered 0\n");
    assert_eq!((taken("e0"), taken("e1"), taken("e2")), (1, 1, 0));

    // Two people at once: whatever each of them sends, together it is every letter once.
    let both: Vec<_> = (0..2)
        .map(|_| bed.command(&["dlq", "redrive", "--yes", "-o", "json", "--rate", "20/s"]).spawn().expect("it starts"))
        .collect();
    let sent = both.into_iter().map(|child| {
        let said = crate::support::command::Said::of(child.wait_with_output().expect("it ends"));
        said.exits(0).json()["sent"].as_u64().expect("a number")
    });
    assert_eq!(sent.sum::<u64>(), 4);
    assert_eq!((0..6).map(|n| taken(&format!("e{n}"))).collect::<Vec<_>>(), [1; 6]);

    assert!(rows(&bed, &[]).is_empty());
    let all = rows(&bed, &["--state", "all"]);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|row| row["state"] == "delivered"), "{all:?}");
    let said = bed.ask(&["dlq", "list", "--state", "delivered"]).exits(0);
    assert!(said.out.starts_with("TARGET    CODE            DELIVERED  OLDEST  REASON\n"), "{}", said.out);
}

#[test]
fn what_comes_back_is_left_and_what_is_discarded_stays_so() {
    let (bed, _replica, mended) = dead("redrive-loop", 2);
    let redrive = |more: &[&str]| bed.ask(&[&["dlq", "redrive", "--yes"], more].concat());
    for _ in 0..3 {
        let said = redrive(&["--where", "{id: [e0]}"]).exits(1);
        assert_eq!(said.out, "delivered 0 · dead again 1 · already delivered 0\n");
    }
    let before = bed.api.log(|log| log.tally("e0").attempts);
    assert_eq!(before, 4);
    let said = redrive(&["--where", "{id: [e0]}"]).exits(1);
    assert!(said.err.contains("1 not sent: all/sink  REDRIVE_LOOP  sent again 3 times"), "{said:?}");
    assert_eq!(bed.api.log(|log| log.tally("e0").attempts), before);
    redrive(&["--where", "{id: [e0]}", "--force"]).exits(1);
    assert_eq!(bed.api.log(|log| log.tally("e0").attempts), before + 1);

    // Nobody sends what was discarded, unless he says so.
    bed.ask(&["dlq", "discard", "--yes"]).exits(2);
    bed.ask(&["dlq", "discard", "--reason", "old"]).exits(2);
    let letter = rows(&bed, &["--where", "{id: [e1]}"])[0]["id"].as_str().expect("an id").to_owned();
    let discard = ["dlq", "discard", &letter, "--reason", "refunded by hand"];
    let said = bed.ask(&[&discard[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(said.out, "1 would be discarded: all/sink  DELIVER_STATUS\n");
    assert_eq!(rows(&bed, &[]).len(), 2);
    let said = bed.ask(&[&discard[..], &["--yes"]].concat()).exits(0);
    assert_eq!(said.out, "1 discarded: all/sink  DELIVER_STATUS\n");
    mended.store(true, Ordering::Relaxed);
    let said = redrive(&["--where", "{id: [e1]}"]).exits(0);
    assert_eq!(said.out, "delivered 0 · dead again 0 · already delivered 0\n");
    let discarded = rows(&bed, &["--state", "discarded"]);
    assert_eq!((discarded.len(), &discarded[0]["mark"]["reason"]), (1, &json!("refunded by hand")));
    bed.ask(&["dlq", "show", &letter]).exits(0).tells(&[
        "discarded on ",
        "refunded by hand",
        &format!("{letter} --force"),
    ]);
    let exported = bed.ask(&["dlq", "export", "--state", "discarded", "--as", "events"]).exits(0).json();
    assert_eq!((&exported["id"], &exported["data"]), (&json!("e1"), &json!({"n": 1})));
    let said = redrive(&[letter.as_str(), "--force"]).exits(0);
    assert_eq!(said.out, "delivered 1 · dead again 0 · already delivered 0\n");
    bed.ask(&["dlq", "redrive", "0:999", "--yes"]).exits(1);
}

#[test]
fn what_was_killed_goes_on_where_it_was() {
    let (bed, _replica, mended) = dead("redrive-killed", 20);
    mended.store(true, Ordering::Relaxed);
    let mut killed = bed.command(&["dlq", "redrive", "--yes", "--rate", "4/s"]).spawn().expect("it starts");
    let tier = bed.own_topic("retry.10s");
    eventually("some are on their way", SOON, || match bed.broker.count(&tier) {
        4.. => Ok(()),
        few => Err(few.to_string()),
    });
    killed.kill().expect("killed");
    killed.wait().expect("it ends");

    bed.ask(&["dlq", "redrive", "--resume", "nobody"]).exits(1);
    bed.ask(&["dlq", "redrive", "--resume", "--code", "X"]).exits(2);
    let said = bed.ask(&["dlq", "redrive", "--resume", "--rate", "100/s"]).exits(0);
    assert!(said.out.starts_with("delivered "), "{said:?}");
    bed.api.wait_until("all", SOON, |log| log.delivered() == 20);
    bed.wait_all_committed(SOON);
    assert_eq!((bed.api.log(|log| log.duplicates()), bed.broker.count(&tier)), (0, 20), "{said:?}");
    assert!(rows(&bed, &[]).is_empty());
    let said = bed.ask(&["dlq", "redrive", "--resume"]).exits(1);
    assert!(said.err.contains("no redrive is unfinished"), "{said:?}");
}

#[test]
fn a_letter_by_reference_is_sent_from_where_its_event_stands() {
    let (bed, _replica, mended) = dead("redrive-reference", 1);
    mended.store(true, Ordering::Relaxed);
    let stands = bed.broker.read_all(&bed.topic()).remove(0);
    let origin = format!("{}:{}:{}", bed.topic(), stands.partition, stands.offset);
    let letter = |event: &str, hash: &str| {
        let headers = [
            ("tidegate-version", "1"),
            ("tidegate-rule", "all"),
            ("tidegate-target", "sink"),
            ("tidegate-destination", "sink"),
            ("tidegate-delivery-id", &delivery_id("/test", event, "all", "sink")),
            ("tidegate-origin", &origin),
            ("tidegate-code", "DELIVER_STATUS"),
            ("tidegate-value-bytes", "1"),
            ("tidegate-value-sha256", hash),
        ];
        headers.iter().fold(Message::default(), |message, (name, value)| message.header(name, Some(value)))
    };
    let hash = sha256(&stands.value.expect("a value"));
    bed.broker.produce(&bed.own_topic("dlq"), [letter("e0", &hash), letter("other", &sha256(b"gone"))]);
    bed.ask(&["dlq", "discard", "--status", "422", "--reason", "the one by reference shall go", "--yes"]).exits(0);
    let said = bed.ask(&["dlq", "redrive", "--yes"]).exits(1);
    assert_eq!(said.out, "delivered 1 · dead again 0 · already delivered 0 · not sent 1\n", "{said:?}");
    assert!(
        said.err.contains("REDRIVE_BY_REFERENCE") && said.err.contains("another record stands there now"),
        "{said:?}"
    );
    assert_eq!(bed.api.log(|log| log.tally("e0").accepted), 1);
}
