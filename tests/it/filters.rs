//! Filters beside a pattern, from the resource file to the API, and what the tools say of them.

use crate::support::{Bed, events};
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn rule(bed: &Bed, filters: &str) -> String {
    format!(
        "{}
---
kind: destination
name: sink
connection: api
endpoint: /in
---
kind: rule
name: filtered
pattern: {{data: {{n: [{{numeric: ['<', 40]}}]}}}}
filters:
{filters}
targets:
- name: sink
  destination: sink
  headers: {{x-event: $.id}}
",
        bed.source_and_connection("")
    )
}

const FILTERS: &str = "- prefix: {type: order.}
- any: [{exact: {source: /web}}, {suffix: {source: test}}]
- not: {sql: id LIKE '_' OR INT(id) % 3 <> 0}";

#[test]
fn an_event_must_pass_pattern_and_filters() {
    let bed = Bed::new("filtered", 3, |_| crate::support::Answer::ok());
    bed.resources("all.yaml", &rule(&bed, FILTERS));
    let _replica = bed.replica("a");
    let other = (0..60).map(|n| events::structured(&n.to_string(), "refund.paid", &format!("{{\"n\":{n}}}")));
    bed.broker.produce(&bed.topic(), other.chain(events::orders(60)));
    // Of 0..60 the pattern takes those below 40, the filters those of two digits that three divides: half of them are
    // structured, half binary.
    let wanted: Vec<String> = (10..40).filter(|n| n % 3 == 0).map(|n: u32| n.to_string()).collect();
    bed.api.wait_until("what passes", MINUTE, |log| log.delivered() >= wanted.len());
    bed.wait_all_committed(MINUTE);
    let mut seen: Vec<String> =
        bed.api.log(|log| log.requests.iter().map(|seen| seen.header("x-event").to_owned()).collect());
    seen.sort();
    assert_eq!(seen, wanted);
}

#[test]
fn check_and_explain_speak_of_filters() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("rule.yaml");
    let resources = |filters: &str| {
        format!(
            "kind: connection\nname: c\nurl: https://api.example.com\n---\nkind: destination\nname: d\nconnection: c\n---\n\
             kind: rule\nname: r\npattern: {{}}\nfilters:\n{filters}\ntargets:\n- {{name: t, destination: d}}\n"
        )
    };
    let tidegate = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    std::fs::write(
        &file,
        resources("- exat: {type: a}\n- any: []\n- all:\n  - exact: {type: 3}\n  - sql: LEN(id) = 1"),
    )
    .unwrap();
    let (ok, said) = tidegate(&["check", file.to_str().unwrap()]);
    assert!(!ok);
    for part in [
        "did you mean `exact`?",
        "an empty list says nothing",
        "compared by its text",
        "did you mean `LENGTH`?",
        "rule.yaml:13:3",
        "rule.yaml:17:10",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    std::fs::write(&file, resources("- sql: type = 'a' AND sequence > 5")).unwrap();
    let event = folder.path().join("event.json");
    std::fs::write(&event, r#"{"specversion":"1.0","id":"1","source":"/s","type":"a","sequence":"4"}"#).unwrap();
    let arguments = ["explain", "--resources", file.to_str().unwrap(), "-o", "json", event.to_str().unwrap()];
    let (ok, said) = tidegate(&arguments);
    assert!(!ok && said.contains("`sequence > 5` is false: `sequence` is '4' (/filters/0/sql)"), "{said}");
    assert!(said.contains("rule.yaml:13:8\""), "the place of the filter: {said}");
}
