//! Clients that are not ours: kcat and Python produce and read, and the official Rust SDK reads what we emit.
//!
//! A machine without such a client skips its test, but not in continuous integration (`CI=true`).

use crate::support::{Answer, Bed, events, lacks_real_kafka};
use cloudevents::event::{AttributesReader as _, Data};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Runs a client and returns its standard output.
///
/// # Panics
/// If it fails, with what it said.
#[track_caller]
fn run(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {error}", output.status);
    String::from_utf8(output.stdout).expect("readable text")
}

/// True, and says so, if the client is not on this machine.
pub(crate) fn lacks(test: &str, client: &mut Command) -> bool {
    let there = client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let lacks = !there.is_ok_and(|status| status.success());
    assert!(!(lacks && std::env::var("CI").is_ok()), "{test}: {client:?} does not run, and CI must not skip it");
    if lacks {
        eprintln!("{test}: skipped, {client:?} does not run");
    }
    lacks
}

/// The Python that `TEST_PYTHON` names, or the one on the path.
pub(crate) fn python() -> Command {
    Command::new(std::env::var("TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

/// A bed whose API refuses the type `order.refused` for good.
fn bed(test: &str) -> Bed {
    let bed = Bed::new(test, 3, |seen| {
        if seen.header("x-type") == "order.refused" {
            Answer::status(422).body("\"no such order\"")
        } else {
            Answer::ok()
        }
    });
    bed.resources(
        "foreign.yaml",
        &format!(
            "{}
---
{{kind: destination, name: structured, connection: api, endpoint: /structured}}
---
{{kind: destination, name: binary, connection: api, endpoint: /binary}}
---
kind: rule
name: all
pattern: {{}}
targets:
- {{name: structured, destination: structured, headers: {{x-event: $.id, x-type: $.type}}}}
---
kind: rule
name: good
pattern: {{type: [{{anything-but: order.refused}}]}}
targets:
- {{name: binary, destination: binary, headers: {{x-event: '${{$.id}}-binary'}}, body: {{original: binary}}}}
",
            bed.source_and_connection("")
        ),
    );
    bed
}

#[test]
fn python_produces_both_modes_and_reads_the_dead_letters() {
    let test = "python_produces_both_modes_and_reads_the_dead_letters";
    if lacks_real_kafka(test) || lacks(test, python().args(["-c", "import confluent_kafka, cloudevents"])) {
        return;
    }
    let bed = bed("python");
    let _replica = bed.replica("a");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign/client.py");
    run(python().arg(&script).args(["produce", &bed.broker.bootstrap, &bed.topic()]), "");
    bed.api.wait_until("both modes", SOON, |log| {
        ["py-structured", "py-binary"].iter().all(|id| log.has(id) && log.has(&format!("{id}-binary")))
    });
    bed.wait_all_committed(SOON);

    let text = run(python().arg(&script).args(["dead-letters", &bed.broker.bootstrap, &bed.own_topic("dlq"), "2"]), "");
    let letters: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ids: Vec<&str> = letters.iter().map(|letter| letter["event"]["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["py-refused-binary", "py-refused-structured"], "the SDK reads the events in the dead letters");
    for letter in &letters {
        let headers = &letter["headers"];
        assert_eq!(headers["tidegate-version"], "1");
        assert_eq!(headers["tidegate-rule"], "all");
        assert_eq!(headers["tidegate-http-status"], "422");
        assert_eq!(headers["tidegate-response"], "\"no such order\"");
        assert!(headers["tidegate-origin"].as_str().unwrap().starts_with(&bed.topic()), "{headers}");
        assert_eq!(letter["event"]["data"]["total"], 12.5);
    }
}

#[test]
fn kcat_produces_and_reads_the_dead_letters() {
    let test = "kcat_produces_and_reads_the_dead_letters";
    if lacks_real_kafka(test) || lacks(test, Command::new("kcat").arg("-V")) {
        return;
    }
    let bed = bed("kcat");
    let _replica = bed.replica("a");
    let kcat = |mode: &str, topic: &str| {
        let mut command = Command::new("kcat");
        command.args(["-b", &bed.broker.bootstrap, mode, "-t", topic]);
        command
    };
    let event = r#"{"specversion":"1.0","id":"k1","source":"/kcat","type":"order.paid","data":{"n":1}}"#;
    run(kcat("-P", &bed.topic()).args(["-H", "content-type=application/cloudevents+json"]), event);
    let headers =
        ["ce_specversion=1.0", "ce_id=k2", "ce_source=/kcat", "ce_type=order.refused", "content-type=text/plain"];
    run(kcat("-P", &bed.topic()).args(["-k", "key-2"]).args(headers.iter().flat_map(|h| ["-H", h])), "refuse me");
    bed.api.wait_until("both", SOON, |log| log.has("k1") && log.tally("k2").attempts == 1);
    bed.wait_all_committed(SOON);

    let text = run(kcat("-C", &bed.own_topic("dlq")).args(["-e", "-q", "-f", "%k|%s|%h\n"]), "");
    let line = text.lines().next().unwrap();
    assert!(line.starts_with("key-2|refuse me|"), "{text}");
    for readable in ["ce_id=k2", "tidegate-code=", "tidegate-http-status=422", "tidegate-response=\"no such order\""] {
        assert!(line.contains(readable), "{readable} in {line}");
    }
}

/// Puts a request together for the official SDK: attributes from headers in binary mode, else the JSON as it is.
fn read_by_sdk(bed: &Bed, event: &str) -> cloudevents::Event {
    bed.api.log(|log| {
        let seen = log.requests.iter().find(|seen| seen.event == event).unwrap();
        let structured = seen.header("content-type").starts_with("application/cloudevents+json");
        if structured {
            return serde_json::from_slice(&seen.body).expect("an event that the official SDK reads");
        }
        let data = serde_json::from_slice(&seen.body).unwrap_or(serde_json::Value::Null);
        let mut json = serde_json::json!({"datacontenttype": seen.header("content-type"), "data": data});
        for (name, value) in &seen.headers {
            if let Some(name) = name.as_str().strip_prefix("ce-") {
                json[name] = serde_json::Value::from(value.to_str().unwrap());
            }
        }
        serde_json::from_value(json).expect("an event that the official SDK reads")
    })
}

#[test]
fn the_official_sdk_reads_what_is_sent_in_both_modes() {
    let bed = bed("sdk");
    let _replica = bed.replica("a");
    let data = r#"{"id":"A1","total":12.5}"#;
    let produced =
        [events::structured("s", "order.paid", data), events::binary("b", "order.paid", data)].map(|m| m.key("k"));
    bed.broker.produce(&bed.topic(), produced);
    bed.api.wait_until("four requests", SOON, |log| log.delivered() == 4);
    for sent in ["s", "s-binary", "b", "b-binary"] {
        let event = read_by_sdk(&bed, sent);
        assert_eq!(event.id(), sent.trim_end_matches("-binary"));
        assert_eq!((event.source().as_str(), event.ty()), ("/test", "order.paid"));
        let expected: serde_json::Value = serde_json::from_str(data).unwrap();
        assert!(matches!(event.data(), Some(Data::Json(json)) if *json == expected), "{sent}: {event}");
    }
}
