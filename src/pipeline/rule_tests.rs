//! Runs the `tests` that stand in rules, over the very snapshot that lanes use: what `check` answers.

use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::model::fault::Fault;
use crate::model::node::{Key, Kind, Node};
use crate::model::record::{Position, Record};
use crate::model::resources::{Expectation, RuleTest};
use crate::model::text::Text;
use crate::pipeline::decode;
use crate::pipeline::explain;
use crate::pipeline::snapshot::{CompiledRule, Snapshot};
use serde_json::Value;
use std::sync::Arc;

/// How many tests ran, and a fault for each that failed.
#[derive(Debug, Default)]
pub struct Ran {
    /// Expectations that were checked.
    pub checked: usize,
    /// What did not come as expected, with a difference that a person can read.
    pub failed: Vec<Fault>,
}

/// Runs all tests of all rules.
#[must_use]
pub fn run(snapshot: &Snapshot) -> Ran {
    let mut ran = Ran::default();
    for rule in snapshot.rules() {
        for (index, test) in rule.rule.tests.iter().enumerate() {
            for (name, expected) in &test.expect {
                ran.checked += 1;
                if let Err(message) = check(rule, test, name.as_str(), expected) {
                    let pointer = format!("/tests/{index}/expect/{name}");
                    let message = format!("rule {}, test {}: target `{name}` {message}", rule.rule.name, index + 1);
                    ran.failed.push(Fault::error("TEST_FAILED", pointer, message).at(test.place.clone()));
                }
            }
        }
    }
    ran
}

fn check(rule: &CompiledRule, test: &RuleTest, name: &str, expected: &Expectation) -> Result<(), String> {
    let event = decode::decode(record(test), &decode::Options { strict: true, ..decode::Options::default() })
        .map_err(|(_, error)| format!("cannot be tried: the test's event is no CloudEvent: {error}"))?;
    let verdict = rule.explain(&Document::of(&event));
    let matched = verdict.matched.map_err(|limit| format!("cannot be decided: {limit}"))?;
    match (expected, matched) {
        (Expectation::NoMatch, false) => return Ok(()),
        (Expectation::NoMatch, true) => return Err("was expected not to match, but its rule matches".to_owned()),
        (Expectation::Body(_) | Expectation::Error(_), false) => {
            return Err(format!("was not reached: the rule does not match: {}", verdict.sentence));
        }
        (Expectation::Body(_) | Expectation::Error(_), true) => {}
    }
    let target = rule.targets.iter().find(|target| target.name.as_str() == name);
    let target = target.ok_or_else(|| "is not a target of this rule".to_owned())?;
    match (expected, explain::request(target, &event)) {
        (Expectation::Error(code), Err((found, _))) if code == found => Ok(()),
        (Expectation::Error(code), Err((found, message))) => {
            Err(format!("was expected to fail with {code}, but fails with {found}: {message}"))
        }
        (Expectation::Error(code), Ok(_)) => Err(format!("was expected to fail with {code}, but is built")),
        (Expectation::Body(_), Err((code, message))) => Err(format!("cannot be built: {code}: {message}")),
        (Expectation::Body(body), Ok(request)) => compare(body, &request.body),
        (Expectation::NoMatch, _) => Ok(()),
    }
}

/// The test's event as a record, with the required attributes filled in where they are absent (resources.md).
fn record(test: &RuleTest) -> Record {
    let text = |text: &str| Node::unplaced(Kind::String(Text::Plain(text.to_owned())));
    let defaults = [
        ("specversion", "1.0"),
        ("id", "test"),
        ("source", "/test"),
        ("type", "test"),
        ("time", "2026-01-01T00:00:00Z"),
    ];
    let mut entries = test.event.entries().to_vec();
    for (name, value) in defaults {
        if !entries.iter().any(|(key, _)| key.name == name) {
            entries.push((Key { name: name.to_owned(), place: test.place.clone() }, text(value)));
        }
    }
    let json = Node::unplaced(Kind::Map(entries)).to_json();
    let position = Position { topic: Arc::from("test"), partition: 0, offset: 0 };
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    Record::new(position, Some(WallMs(0).0), None, Some(json.as_bytes()), headers.into_iter())
}

/// Compares bodies as JSON values, or as text where either is none.
fn compare(expected: &Node, found: &str) -> Result<(), String> {
    let expected_json = expected.to_json();
    let (Ok(wanted), Ok(got)) = (serde_json::from_str::<Value>(&expected_json), serde_json::from_str::<Value>(found))
    else {
        let wanted = expected.as_plain().unwrap_or(&expected_json);
        return if wanted == found {
            Ok(())
        } else {
            Err(format!("has another body\n    expected {wanted}\n    found    {found}"))
        };
    };
    let mut differences = String::new();
    diff("$", Some(&wanted), Some(&got), &mut differences);
    if differences.is_empty() { Ok(()) } else { Err(format!("has another body{differences}")) }
}

fn diff(path: &str, wanted: Option<&Value>, got: Option<&Value>, out: &mut String) {
    match (wanted, got) {
        (Some(Value::Object(wanted)), Some(Value::Object(got))) => {
            for key in wanted.keys().chain(got.keys().filter(|key| !wanted.contains_key(*key))) {
                diff(&format!("{path}.{key}"), wanted.get(key), got.get(key), out);
            }
        }
        (Some(Value::Array(wanted)), Some(Value::Array(got))) => {
            for i in 0..wanted.len().max(got.len()) {
                diff(&format!("{path}[{i}]"), wanted.get(i), got.get(i), out);
            }
        }
        (Some(wanted), Some(got)) if wanted == got => {}
        (wanted, got) => {
            let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            out.push_str(&format!("\n    {path}: expected {}, found {}", show(wanted), show(got)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_path() {
        let mut out = String::new();
        let wanted = serde_json::json!({"a": {"b": [1, 2]}, "c": 1});
        let got = serde_json::json!({"a": {"b": [1, 3]}, "d": true});
        diff("$", Some(&wanted), Some(&got), &mut out);
        let lines: Vec<_> = out.trim().lines().map(str::trim).collect();
        assert_eq!(
            lines,
            ["$.a.b[1]: expected 2, found 3", "$.c: expected 1, found nothing", "$.d: expected nothing, found true"]
        );
    }
}
