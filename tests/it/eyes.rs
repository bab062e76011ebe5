//! Eyes on everything, from the topics alone: `trace` tells the story of each event, `tail` follows what happens,
//! `status` says how everything stands and what to do.

use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, eventually};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// An API that takes each event as its name says, and two rules of which one wants orders that were paid.
fn bed(test: &str) -> Bed {
    let bed = Bed::new(test, 1, |seen| match (seen.event.as_str(), seen.attempt) {
        ("twice", 1 | 2) | ("late" | "later", 1) | ("tier", 1..=3) => {
            Answer::status(503).body("{\"error\":\"too busy\"}")
        }
        ("dead", 1) => Answer::status(422).body("branch is empty"),
        _ => Answer::status(204).body(""),
    });
    bed.resources(
        "eyes.yaml",
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
from: orders
pattern: {{type: [order.paid]}}
targets:
- name: book
  destination: sink
  headers: {{x-event: $.id}}
---
kind: rule
name: large
from: orders
pattern: {{data: {{total: [{{numeric: ['>', 1000]}}]}}}}
targets:
- name: note
  destination: sink
  headers: {{x-event: $.id}}
",
            bed.source_and_connection(", strict: true")
        ),
    );
    bed
}

fn order(id: &str, kind: &str) -> Message {
    structured(id, kind, "{\"total\": 12.50}")
}

#[test]
fn trace_tells_each_story_and_tail_follows() {
    let bed = bed("eyes-trace");
    let origin = |offset: usize| format!("{}:0:{offset}", bed.topic());
    let replica = bed.replica("one");
    let paid = ["plain", "twice", "tier", "dead"].map(|id| order(id, "order.paid"));
    let others = [order("other", "order.shipped"), Message::value("no event").partition(0)];
    bed.broker.produce(&bed.topic(), paid.into_iter().chain(others));
    bed.api
        .wait_until("all but the dead one arrive", SOON, |log| ["plain", "twice", "tier"].iter().all(|id| log.has(id)));
    let letters = eventually("two dead letters", SOON, || {
        let letters = bed.ask(&["dlq", "-o", "json"]).exits(0).json();
        if letters.as_array().map(Vec::len) == Some(2) { Ok(letters) } else { Err(letters.to_string()) }
    });
    let letter =
        letters.as_array().expect("rows").iter().find(|l| l["code"] == "DELIVER_STATUS").expect("the refused one");
    let letter = letter["id"].as_str().expect("an id").to_owned();
    let known = |id: &str| {
        eventually("its trace", SOON, || match bed.ask(&["trace", id]) {
            said if said.out.contains(": delivered") || said.out.contains(": dead letter") => Ok(said),
            said => Err(format!("{said:?}")),
        })
    };

    known("twice").exits(0).tells(&[
        "event     twice  order.paid  from /test\n",
        &format!("received  {}  20", origin(1)),
        "paid/book → sink: delivered, 3 attempts\n",
        "  503  ",
        "DELIVER_STATUS  {\"error\":\"too busy\"}\n",
        "  503  ",
        "DELIVER_STATUS  {\"error\":\"too busy\"}\n",
        "  204  ",
        "delivered\n",
        "large  no match: data.total is 12.50",
    ]);
    known("tier").exits(0).tells(&[
        "paid/book → sink: delivered, 4 attempts\n",
        "  503  ",
        "  503  ",
        "  503  ",
        "into the retry tier until ",
        "  204  ",
    ]);
    let show = format!("next      tidegate dlq show {letter}; ");
    known("dead").exits(0).tells(&[
        "paid/book → sink: dead letter, 1 attempt\n",
        "  422  ",
        "branch is empty\n",
        &format!("dead letter {letter}: DELIVER_STATUS"),
        &show,
        "tidegate dlq redrive --target paid/book --dry-run\n",
    ]);
    bed.ask(&["dlq", "redrive", "--code", "DELIVER_STATUS", "--yes"]).exits(0);
    let said = bed.ask(&["trace", "dead"]).exits(0).tells(&[
        "paid/book → sink: delivered, 2 attempts\n",
        "  422  ",
        &format!("dead letter {letter} sent again (redrive)\n"),
        "  204  ",
    ]);
    assert!(!said.out.contains("next "), "nothing is left to do: {}", said.out);

    // What leaves no record by itself is told by its place; by its id only that it cannot be known.
    let said = bed.ask(&["trace", "plain"]).exits(1);
    assert!(said.err.contains("TRACE_UNKNOWN") && said.err.contains("taken at once"), "{}", said.err);
    bed.ask(&["trace", &origin(0)]).exits(0).tells(&[
        "event     plain",
        "paid/book",
        "matches today",
        "next      ",
        "taken at once",
    ]);
    bed.ask(&["trace", &origin(4)]).exits(0).tells(&[
        "event     other  order.shipped",
        "paid   no match: type is \"order.shipped\"",
        "large  no match: ",
    ]);
    bed.ask(&["trace", &origin(5)]).exits(0).tells(&[
        "event     not decoded\n",
        "cannot be decoded",
        "no delivery: dead letter\n",
        "DECODE_",
        "mend who publishes it",
    ]);

    let story = &bed.ask(&["trace", "tier", "-o", "json"]).exits(0).json()[0];
    assert_eq!(
        (&story["record"], &story["settled"], &story["type"]),
        (&"present".into(), &true.into(), &"order.paid".into())
    );
    let delivery = &story["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&"delivered".into(), &4.into()));
    let steps: Vec<&str> =
        delivery["steps"].as_array().expect("steps").iter().map(|s| s["step"].as_str().expect("a step")).collect();
    assert_eq!(steps, ["attempt", "attempt", "attempt", "handed_off", "attempt"]);
    assert!(delivery["steps"][0]["replica"].as_str().is_some_and(|r| !r.is_empty()), "{delivery}");

    // From the past: what is filtered away is not seen, and the order is that of time.
    let tail = |arguments: &[&str]| {
        Tail(bed.command(&[&["tail", "--since", "1h"], arguments].concat()).spawn().expect("it runs"))
    };
    let mut past = tail(&["--outcome", "delivered", "--rule", "paid", "-o", "jsonl"]);
    let mut lines = past.lines();
    let first: Vec<Value> = lines.by_ref().take(3).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    let told: Vec<&str> = first.iter().map(|t| t["event"].as_str().expect("an id")).collect();
    assert!(told[..2].contains(&"twice") && told[..2].contains(&"tier") && told[2] == "dead", "{told:?}");
    let mut codes = tail(&["--code", "deliver_status", "--destination", "sink", "--target", "paid/book"]);
    let mut codes = codes.lines();
    let line = codes.next().expect("a line");
    assert!(line.contains("paid/book → sink") && line.contains("DELIVER_STATUS"), "{line}");
    // Live: the next one comes too; then nobody listens any more, and it ends in peace.
    bed.broker.produce(&bed.topic(), [order("late", "order.paid")]);
    let line = lines.next().expect("a line");
    assert!(line.contains("\"late\"") && line.contains("\"took_ms\""), "{line}");
    drop(lines);
    bed.broker.produce(&bed.topic(), [order("later", "order.paid")]);
    drop(codes);
    past.ends_quietly();
    assert!(replica.stop(SOON).success());
}

#[test]
fn status_names_what_is_held_what_lags_and_who_is_silent() {
    let bed = Bed::new("eyes-status", 2, |_| Answer::status(410));
    bed.usual_resources("rate_limit: 1000/s");
    let said = bed.ask(&["status"]).exits(1).tells(&[
        "orders",
        "nobody",
        "0",
        "warn[NO_REPLICA]: no replica tells of itself",
        "start tidegate run",
    ]);
    assert_eq!(said.err, "");
    let one = bed.replica("one");
    let names = |count: usize| {
        eventually("the reports", SOON, || {
            let said = bed.ask(&["status", "-o", "json"]).json();
            let names: Vec<String> = said["replicas"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|r| r["replica"].as_str().expect("a name").to_owned())
                .collect();
            if names.len() == count { Ok(names) } else { Err(said.to_string()) }
        })
    };
    let first = names(1).remove(0);
    // A member may be assigned nothing at first, which is no trouble either.
    let ready = eventually("all is well", SOON, || match bed.ask(&["status"]) {
        said if said.code == 0 && said.out.contains("orders 2") => Ok(said),
        said => Err(said.out),
    });
    ready.tells(&["REPLICA", &first, "orders 2", "SOURCE", "orders", "DESTINATION", "sink", "ok"]);
    bed.broker.produce(&bed.topic(), (0..5).map(|n| order(&n.to_string(), "order.paid")));
    // A report is some seconds old, so what waits is told a little later.
    let wait = |row: &Value| {
        row["waiting"].as_u64().unwrap_or(0)
            + row["in_tiers"].as_u64().unwrap_or(0)
            + row["in_queue"].as_u64().unwrap_or(0)
    };
    let held = eventually("the hold and all that waits are told", SOON, || {
        let said = bed.ask(&["status", "-o", "json"]);
        let told = said.json();
        let sink = &told["destinations"][0];
        let all = sink["held"]["reason"] == "gone" && wait(sink) == 5 && told["sources"][0]["lag"] == 0;
        if all { Ok(said) } else { Err(said.out) }
    });
    let told = held.exits(1).json();
    let sink = &told["destinations"][0];
    assert!(
        sink["held"]["since"].is_string()
            && sink["held"]["what_to_do"].as_str().is_some_and(|cure| cure.contains("endpoint")),
        "{sink}"
    );
    assert_eq!(told["problems"][0]["code"], "DESTINATION_HELD", "{told}");
    let cure = "5 events wait, nothing lost; correct its `endpoint`";
    bed.ask(&["status"]).exits(1).tells(&[
        "orders",
        "1 replica",
        "0\n",
        "sink",
        "gone since ",
        "1000/s",
        "warn[DESTINATION_HELD]: sink is held since ",
        "410 Gone",
        cure,
    ]);
    let said = bed.ask(&["status", "sink"]).exits(1).tells(&[
        "DESTINATION",
        "sink",
        "REPLICA",
        &first,
        "gone",
        "CONNECTION",
        "api",
        "DESTINATION_HELD",
    ]);
    assert!(!said.out.contains("SOURCE"), "{}", said.out);
    bed.ask(&["status", "orders"]).exits(0).tells(&["PARTITION", &format!("{}:0", bed.topic()), &first]);
    bed.ask(&["status", "all"]).exits(1).tells(&["orders", "sink", "DESTINATION_HELD"]);
    let said = bed.ask(&["status", "nothing"]).exits(2);
    assert!(said.err.contains("there are: all, api, orders, sink"), "{}", said.err);

    // A second one comes; the first is killed and says nothing more. That it is silent is seen when its report is old.
    let two = bed.replica("two");
    let second = names(2).into_iter().find(|name| *name != first).expect("another name");
    one.kill();
    let key = format!("replica:{first}");
    let reports = bed.broker.read_all(&bed.own_topic("state"));
    let newest = reports.iter().rev().find(|r| r.key.as_deref() == Some(key.as_bytes())).expect("its report");
    let mut old: Value = serde_json::from_slice(newest.value.as_deref().expect("a value")).expect("JSON");
    old["state"]["at_ms"] = (old["state"]["at_ms"].as_i64().expect("a time") - 120_000).into();
    bed.broker.produce(&bed.own_topic("state"), [Message::value(old.to_string()).key(&key)]);
    bed.ask(&["status"]).exits(1).tells(&[
        "silent",
        &format!("warn[REPLICA_SILENT]: {first} was last heard 2m ago"),
        "kafka.session_timeout",
    ]);
    let told = bed.ask(&["status", "-o", "json"]).exits(1).json();
    let stale = |name: &str| {
        told["replicas"].as_array().expect("rows").iter().find(|r| r["replica"] == name).expect("it")["stale"].clone()
    };
    assert_eq!((stale(&first), stale(&second)), (true.into(), false.into()), "{told}");
    // Who ends in good order says good-bye.
    assert!(two.stop(SOON).success());
    assert_eq!(names(1), [first]);
}

/// A running `tail`; dropping it ends it.
struct Tail(Child);

impl Tail {
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let out = self.0.stdout.take().expect("its output");
        BufReader::new(out).lines().map_while(Result::ok)
    }

    /// Waits until it ends by itself, with success and without complaint.
    #[track_caller]
    fn ends_quietly(mut self) {
        let status =
            eventually("tail ends", SOON, || self.0.try_wait().expect("its state").ok_or_else(|| "it runs".to_owned()));
        let mut err = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().expect("its errors"), &mut err).expect("text");
        assert!(status.success(), "{err}");
        let hint = "deliveries that are taken at once are not recorded (trace.outcomes = \"failures\")";
        assert!(err.starts_with(hint) && err.lines().count() == 1, "{err}");
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
