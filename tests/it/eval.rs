//! `tidegate eval`: lines in, lines out, in the same order, as programs use it.

use crate::support::command::{Said, program};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use tidegate::json::value::Json;

fn eval(arguments: &[&str], input: &str) -> Said {
    let mut command = program();
    let mut child = command.arg("eval").args(arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    Said::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_file_of_vectors_gives_their_verdicts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/patterns.jsonl");
    let said = eval(&[path.to_str().expect("a path")], "").exits(0);
    let text = std::fs::read_to_string(&path).expect("the vectors");
    assert_eq!(said.out.lines().count(), text.lines().count());
    for (line, answer) in text.lines().zip(said.out.lines()) {
        let [case, answer] = [line, answer].map(|line| Json::check(line.as_bytes()).expect("JSON"));
        assert_eq!(answer.get("id"), case.get("id"));
        let given = answer.get("verdict").or_else(|| answer.get("error"));
        let expected = case.get("expect").and_then(|expect| expect.get("tidegate"));
        assert!(given.is_some() && given == expected, "{line:.300}: {given:?}");
    }
}

#[test]
fn a_broken_line_is_answered_and_the_others_too() {
    let line = r#"{"id":"a","pattern":{"n":[1]},"event":{"n":1}}"#;
    let said = eval(&["-"], &format!("\u{feff}{line}\n\n{{oops\n{line}")).exits(2);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[2]),
        (3, r#"{"id":"a","verdict":"match"}"#, r#"{"id":"a","verdict":"match"}"#)
    );
    assert!(lines[1].starts_with(r#"{"error":"LINE","message":"line 3: it is not JSON"#), "{}", lines[1]);
    assert!(said.err.contains("error[LINE]: 1 of 3 lines"), "{}", said.err);
    let said = eval(&["/no/such/file"], "").exits(2);
    assert!(said.err.contains("error[INPUT_FILE]: /no/such/file"), "{}", said.err);
    assert_eq!(eval(&[], "").exits(0).out, "");
}

#[test]
fn who_waits_for_an_answer_gets_it() {
    let mut child = program().arg("eval").stdin(Stdio::piped()).spawn().expect("it starts");
    let (mut input, output) = (child.stdin.take().expect("input"), child.stdout.take().expect("output"));
    let mut answers = BufReader::new(output).lines();
    for number in 0..3 {
        writeln!(input, r#"{{"id":{number},"pattern":{{"n":[1]}},"event":{{"n":{number}}}}}"#).expect("it reads");
        let verdict = if number == 1 { "match" } else { "no_match" };
        let answer = answers.next().expect("an answer").expect("text");
        assert_eq!(answer, format!(r#"{{"id":{number},"verdict":"{verdict}"}}"#));
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn limits_come_from_the_settings() {
    let line = r#"{"id":"a","pattern":{"n":[1,2,3]},"event":{"n":1}}"#;
    let mut command = program();
    command.args(["eval", "-"]).env("TIDEGATE__PATTERN__MAX_MATCHERS", "2").stdin(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("its input").write_all(line.as_bytes()).expect("it reads");
    let said = Said::of(child.wait_with_output().expect("it ends")).exits(0);
    assert!(said.out.contains(r#""verdict":"invalid","errors":[{"pointer":"/n","#), "{}", said.out);
}
