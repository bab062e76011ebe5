//! The project's own vectors, `tests/conformance/*.jsonl`: every numbered rule of the semantics of patterns, transforms
//! and responses, in both dialects. Each line goes through [`Evaluator`], as in `tidegate eval`, and holds what is
//! expected of it beside what is asked.

use super::evaluator;
use crate::json::value::Json;
use crate::model::resources::PatternLimits;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// A line as it is written, and its members that say what is expected: others hold numbers that only we can read.
type Case = (String, Value);

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file);
    let text = std::fs::read_to_string(path).expect("the vectors");
    let case = |line: &str| {
        let json = Json::check(line.as_bytes()).expect("JSON");
        let member = |name: &str| {
            let value = serde_json::from_str(json.get(name)?.text()).expect("JSON");
            Some((name.to_owned(), value))
        };
        let members: Map<String, Value> =
            ["id", "rule", "note", "expect", "errors"].into_iter().filter_map(member).collect();
        (line.to_owned(), Value::Object(members))
    };
    text.lines().map(case).collect()
}

/// Asks every line, with `more` beside its members, and tells where `right` finds something else than expected.
fn run(file: &str, more: &str, right: impl Fn(&Value, &Value) -> bool) {
    let mut evaluator = evaluator(PatternLimits::default());
    let mut wrong = Vec::new();
    for (line, case) in cases(file) {
        let asked = format!("{}{more}}}", line.strip_suffix('}').expect("an object"));
        let mut out = String::new();
        assert!(evaluator.evaluate(1, asked.as_bytes(), &mut out), "{asked}: {out}");
        let answer: Value = serde_json::from_str(&out).expect("an answer in JSON");
        assert_eq!(answer["id"], case["id"]);
        if !right(&case, &answer) {
            wrong.push(format!("{line:.400}\n  gave {out:.400}"));
        }
    }
    assert!(wrong.is_empty(), "{file}: {} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// Verdicts of one dialect; where a line expects none of it, that is an accident of AWS's engine.
fn verdicts(file: &str, dialect: &str) {
    run(file, &format!(",\"dialect\":\"{dialect}\""), |case, answer| {
        let Some(expected) = case["expect"].get(dialect) else { return true };
        let given = answer.get("verdict").or_else(|| answer.get("error"));
        given == Some(expected) && answer.get("errors").is_some() == (expected == "invalid")
    });
}

#[test]
fn patterns_of_our_dialect() {
    verdicts("patterns.jsonl", "tidegate");
}

#[test]
fn patterns_of_the_aws_dialect() {
    verdicts("patterns.jsonl", "aws");
}

#[test]
fn filters() {
    verdicts("filters.jsonl", "tidegate");
}

#[test]
fn every_fault_of_invalid_patterns() {
    let pointers = |from: &Value| {
        let mut pointers: Vec<String> = from["errors"].as_array().map_or_else(Vec::new, |errors| {
            errors.iter().filter_map(|error| error["pointer"].as_str().map(str::to_owned)).collect()
        });
        pointers.sort_unstable();
        pointers
    };
    run("invalid.jsonl", "", |case, answer| answer["verdict"] == "invalid" && pointers(case) == pointers(answer));
}

#[test]
fn transforms() {
    run("transforms.jsonl", "", |case, answer| match case["expect"].get("error") {
        Some(code) => answer.get("error") == Some(code) && answer.get("errors").is_some() == (code == "LOAD"),
        None => answer.get("request") == case.get("expect"),
    });
}

#[test]
fn responses() {
    run("responses.jsonl", "", |case, answer| {
        let kept = ["outcome", "wait_s", "error"].into_iter().filter_map(|name| answer.get(name).map(|v| (name, v)));
        let kept: Map<String, Value> = kept.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        Value::Object(kept) == case["expect"]
    });
}

#[test]
fn every_rule_has_a_vector_and_every_vector_a_name() {
    let files = ["patterns", "invalid", "filters", "transforms", "responses"];
    let all: Vec<Case> = files.iter().flat_map(|file| cases(&format!("{file}.jsonl"))).collect();
    let rules: BTreeSet<u64> = all.iter().filter_map(|(_, case)| case["rule"].as_u64()).collect();
    assert_eq!(rules, (1..=58).collect());
    let ids: BTreeSet<&str> = all.iter().filter_map(|(_, case)| case["id"].as_str()).collect();
    assert_eq!(ids.len(), all.len());
    assert!(all.iter().all(|(_, case)| case["note"] != json!("") && case["note"].is_string()));
}
