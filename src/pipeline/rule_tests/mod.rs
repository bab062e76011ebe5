//! Runs the `tests` that stand in rules, over the very snapshot that lanes use: what `check` answers.

mod diff;

use crate::json::document::Document;
use crate::json::value::{Json, Kind as JsonKind};
use crate::model::clock::WallMs;
use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Kind, Node};
use crate::model::record::{Position, Record};
use crate::model::resources::{Expectation, RuleTest};
use crate::model::text::Text;
use crate::pipeline::decode;
use crate::pipeline::explain;
use crate::pipeline::snapshot::{CompiledRule, Snapshot};
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
                if let Err(Failed { message, place }) = check(rule, test, name.as_str(), expected) {
                    let pointer = format!("/tests/{index}/expect/{name}");
                    let message = format!("rule {}, test {}: target `{name}` {message}", rule.rule.name, index + 1);
                    let place = place.unwrap_or_else(|| test.place.clone());
                    ran.failed.push(Fault::error("TEST_FAILED", pointer, message).at(place));
                }
            }
        }
    }
    ran
}

/// Why a test failed.
struct Failed {
    message: String,
    /// Where what differs was expected, if that is known.
    place: Option<Place>,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self { message, place: None }
    }
}

fn check(rule: &CompiledRule, test: &RuleTest, name: &str, expected: &Expectation) -> Result<(), Failed> {
    let event = decode::decode(record(test), &decode::Options { strict: true, ..decode::Options::default() })
        .map_err(|(_, error)| format!("cannot be tried: the test's event is no CloudEvent: {error}"))?;
    let verdict = rule.explain(&Document::of(&event));
    let matched = verdict.matched.map_err(|limit| format!("cannot be decided: {limit}"))?;
    match (expected, matched) {
        (Expectation::NoMatch, false) => return Ok(()),
        (Expectation::NoMatch, true) => {
            return Err("was expected not to match, but its rule matches".to_owned().into());
        }
        (Expectation::Body(_) | Expectation::Error(_), false) => {
            return Err(format!("is not reached, for the rule does not match: {}", verdict.sentence).into());
        }
        (Expectation::Body(_) | Expectation::Error(_), true) => {}
    }
    let target = rule.targets.iter().find(|target| target.name.as_str() == name);
    let target = target.ok_or_else(|| {
        let names: Vec<&str> = rule.targets.iter().map(|target| target.name.as_str()).collect();
        format!("is not a target of this rule; it has {}", names.join(", "))
    })?;
    match (expected, explain::request(target, &event)) {
        (Expectation::Error(code), Err((found, _))) if code == found => Ok(()),
        (Expectation::Error(code), Err((found, message))) => {
            Err(format!("was expected to fail with {code}, but fails with {found}: {message}").into())
        }
        (Expectation::Error(code), Ok(_)) => Err(format!("was expected to fail with {code}, but is built").into()),
        (Expectation::Body(_), Err((code, message))) => Err(format!("cannot be built: {code}: {message}").into()),
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

/// Compares bodies as JSON values, or as texts where either is none.
fn compare(expected: &Node, found: &str) -> Result<(), Failed> {
    let written = expected.to_json();
    let text = expected.as_plain();
    if text == Some(found) {
        return Ok(());
    }
    let got = Json::check(found.as_bytes()).ok();
    // A text that is expected of a JSON body is the text of that body.
    let wanted = match (text, got.map(Json::kind)) {
        (Some(text), Some(JsonKind::Object | JsonKind::Array)) => Json::check(text.as_bytes()).ok(),
        (Some(_) | None, _) => Json::check(written.as_bytes()).ok(),
    };
    let difference = match (wanted, got) {
        (Some(wanted), Some(got)) => diff::json(wanted, got),
        (Some(_) | None, Some(_) | None) => diff::text(text.unwrap_or(&written), found),
    };
    let Some(difference) = difference else { return Ok(()) };
    let place = expected.place_of(&difference.pointer).clone();
    Err(Failed { message: format!("has another body\n{}", difference.text), place: Some(place) })
}
