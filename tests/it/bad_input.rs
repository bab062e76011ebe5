//! Bad input of every kind: a clear code and place in the dead-letter topic, the partition moves on, and what arrived
//! plus what is dead is what was produced.

use crate::support::events::{Message, binary, structured};
use crate::support::{Answer, Bed, Stored};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const STRUCTURED: &str = "application/cloudevents+json";

/// A record and what must become of it.
struct Case {
    what: &'static str,
    message: Message,
    end: End,
}

enum End {
    /// Delivered; the API sees an event of this type.
    Delivered(&'static str),
    /// A dead letter whose code begins so and whose message speaks of this.
    Dead(&'static str, &'static str),
}

fn as_structured(value: impl Into<Vec<u8>>) -> Message {
    Message::value(value).header("content-type", Some(STRUCTURED))
}

/// A binary event without the header `name`.
fn without(name: &str) -> Message {
    let mut message = binary("b", "order.paid", "{}");
    message.headers.retain(|(n, _)| n != name);
    message
}

/// A structured event without the attribute `name`.
fn lacking(name: &str) -> Message {
    let all = [("specversion", "1.0"), ("id", "x"), ("source", "/test"), ("type", "order.paid")];
    let kept: Vec<String> =
        all.iter().filter(|(n, _)| *n != name).map(|(n, value)| format!("\"{n}\":\"{value}\"")).collect();
    as_structured(format!("{{{}}}", kept.join(",")))
}

fn with(name: &'static str, value: Option<&str>) -> Message {
    without(name).header(name, value)
}

fn cases() -> Vec<Case> {
    let dead = |what, message, about| Case { what, message, end: End::Dead("DECODE_", about) };
    let fine = |what, message, kind| Case { what, message, end: End::Delivered(kind) };
    let no_value = Message { value: None, ..structured("n", "order.paid", "{}") };
    vec![
        fine("structured", structured("good-1", "order.paid", r#"{"n":1}"#), "order.paid"),
        dead("structured mode without a value", no_value, ""),
        dead("structured mode, empty value", as_structured(""), ""),
        dead("structured mode, cut off JSON", as_structured(r#"{"specversion":"1.0","id":"#), ""),
        dead("structured mode, JSON but no object", as_structured("[1]"), ""),
        dead("structured mode, bytes that are not UTF-8", as_structured(&b"{\"id\":\"\xff\xfe\"}"[..]), ""),
        dead("structured mode without an id", lacking("id"), "id"),
        dead("structured mode without a source", lacking("source"), "source"),
        dead("structured mode without a type", lacking("type"), "type"),
        dead("structured mode without a specversion", lacking("specversion"), "specversion"),
        dead(
            "structured mode of another version",
            as_structured(r#"{"specversion":"0.3","id":"x","source":"/s","type":"t"}"#),
            "0.3",
        ),
        dead(
            "a batch",
            Message::value("[]").header("content-type", Some("application/cloudevents-batch+json")),
            "batch",
        ),
        fine("binary", binary("good-2", "order.paid", r#"{"n":2}"#), "order.paid"),
        dead("binary mode without an id", without("ce_id"), "id"),
        dead("binary mode without a source", without("ce_source"), "source"),
        dead("binary mode without a type", without("ce_type"), "type"),
        dead("binary mode of another version", with("ce_specversion", Some("0.2")), "0.2"),
        dead("binary mode, an attribute that is null", with("ce_id", None), "id"),
        dead(
            "binary mode, an attribute that is not UTF-8",
            without("ce_type").header_bytes("ce_type", b"\xc3\x28"),
            "type",
        ),
        fine(
            "binary mode without a value",
            Message { value: None, ..binary("good-3", "order.gone", "") },
            "order.gone",
        ),
        fine("no CloudEvent, JSON", Message::value(r#"{"n":3}"#), "tidegate.record"),
        fine("no CloudEvent, bytes", Message::value(&b"\x00\xff\x00"[..]), "tidegate.record"),
        fine("no CloudEvent, no value", Message::default().key("k"), "tidegate.record"),
        fine("no CloudEvent, a header that is null", Message::value("x").header("h", None), "tidegate.record"),
    ]
}

/// Finds the dead letter of the record at this offset of partition 0, which must be the only one.
#[track_caller]
fn letter_of<'a>(dead: &'a [Stored], topic: &str, offset: usize) -> &'a Stored {
    let origin = format!("{topic}:0:{offset}");
    let letters: Vec<&Stored> = dead.iter().filter(|letter| letter.header("tidegate-origin") == origin).collect();
    assert_eq!(letters.len(), 1, "dead letters of {origin}");
    letters[0]
}

/// Key, value and headers are what was produced, byte for byte; ours stand beside them.
#[track_caller]
fn assert_original(letter: &Stored, produced: &Message) {
    assert_eq!((&letter.key, &letter.value), (&produced.key, &produced.value));
    let theirs: Vec<_> = letter.headers.iter().filter(|(name, _)| !name.starts_with("tidegate-")).cloned().collect();
    assert_eq!(theirs, produced.headers);
}

#[test]
fn every_kind_of_bad_input_is_named_and_passed_by() {
    let cases = cases();
    let bed = Bed::new("bad-input", 1, |_| Answer::ok());
    bed.resources(
        "wrapped.yaml",
        &format!(
            "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in}}
---
kind: rule
name: all
pattern: {{}}
targets:
- {{name: sink, destination: sink, headers: {{x-event: $.id, x-type: $.type}}}}
",
            bed.source_and_connection("")
        ),
    );
    let _replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), cases.iter().map(|case| case.message.clone().partition(0)));
    bed.wait_all_committed(SOON);

    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    let mut types = Vec::new();
    for (offset, case) in cases.iter().enumerate() {
        match case.end {
            End::Delivered(kind) => types.push(kind),
            End::Dead(code, about) => {
                let letter = letter_of(&dead, &bed.topic(), offset);
                let (got, message) = (letter.header("tidegate-code"), letter.header("tidegate-message"));
                assert!(got.starts_with(code), "{}: code {got}, message {message}", case.what);
                assert!(!message.is_empty() && message.contains(about), "{}: says {message:?}", case.what);
                assert_original(letter, &case.message);
            }
        }
    }
    assert_eq!(dead.len() + types.len(), cases.len(), "produced = delivered + dead");
    let mut seen: Vec<String> = bed.api.log(|log| log.requests.iter().map(|s| s.header("x-type").to_owned()).collect());
    seen.sort_unstable();
    types.sort_unstable();
    assert_eq!(seen, types);
}

#[test]
fn a_strict_source_refuses_what_is_no_cloudevent() {
    let bed = Bed::new("strict", 1, |_| Answer::ok());
    bed.resources(
        "strict.yaml",
        &format!(
            "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in}}
---
{{kind: rule, name: all, pattern: {{}}, targets: [{{name: sink, destination: sink, headers: {{x-event: $.id}}}}]}}
",
            bed.source_and_connection(", strict: true")
        ),
    );
    let _replica = bed.replica("a");
    let plain = Message::value(r#"{"n":1}"#).key("k").header("h", Some("v"));
    bed.broker.produce(&bed.topic(), [plain.clone(), structured("good", "order.paid", "{}")].map(|m| m.partition(0)));
    bed.api.wait_until("the event after it", SOON, |log| log.has("good"));
    bed.wait_all_committed(SOON);
    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    let letter = letter_of(&dead, &bed.topic(), 0);
    assert!(letter.header("tidegate-code").starts_with("DECODE_"), "{letter:?}");
    assert_original(letter, &plain);
    assert_eq!(bed.api.log(|log| log.requests.len()), 1);
}

#[test]
fn a_request_that_cannot_be_built_is_a_dead_letter_that_says_what_is_missing() {
    let bed = Bed::new("missing", 1, |_| Answer::ok());
    bed.resources(
        "missing.yaml",
        &format!(
            "{}
---
{{kind: destination, name: sink, connection: api, endpoint: '/orders/{{order}}'}}
---
kind: rule
name: paid
pattern: {{type: [order.paid]}}
targets:
- name: sink
  destination: sink
  path: {{order: $.data.id}}
  headers: {{x-event: $.id}}
  body: {{json: {{branch: $.data.branch}}}}
",
            bed.source_and_connection("")
        ),
    );
    let _replica = bed.replica("a");
    let lacking = structured("lacking", "order.paid", r#"{"id":"A1"}"#).key("k");
    let complete = structured("complete", "order.paid", r#"{"id":"A/2","branch":"main"}"#);
    let unwanted = structured("unwanted", "order.cancelled", "{}");
    bed.broker.produce(&bed.topic(), [lacking.clone(), unwanted, complete].map(|m| m.partition(0)));
    bed.api.wait_until("the complete one", SOON, |log| log.has("complete"));
    bed.wait_all_committed(SOON);

    bed.api.log(|log| {
        assert_eq!(log.requests.len(), 1);
        assert_eq!(log.requests[0].target, "/orders/A%2F2");
        assert_eq!(&log.requests[0].body[..], br#"{"branch":"main"}"#);
    });
    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    assert_eq!(dead.len(), 1);
    let letter = letter_of(&dead, &bed.topic(), 0);
    assert_eq!(letter.header("tidegate-code"), "TRANSFORM_MISSING");
    assert!(letter.header("tidegate-message").contains("$.data.branch"), "{letter:?}");
    assert_eq!((letter.header("tidegate-rule"), letter.header("tidegate-destination")), ("paid", "sink"));
    assert_eq!(letter.header("tidegate-attempts"), "0");
    assert_original(letter, &lacking);
}
