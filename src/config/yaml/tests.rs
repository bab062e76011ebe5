//! What YAML becomes, and every message about it.

use super::read;
use crate::model::node::{Kind, Node};

fn parse(text: &str) -> (Vec<Node>, Vec<String>) {
    let mut faults = Vec::new();
    let nodes = read(&"f.yaml".into(), text, &mut faults);
    let said = faults.iter().map(|f| {
        let place = f.place.as_ref().expect("a place");
        format!("{}:{} {}: {}; {}", place.line, place.column, f.code, f.message, f.cure)
    });
    (nodes, said.collect())
}

fn json(text: &str) -> String {
    let (nodes, faults) = parse(text);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    nodes.iter().map(Node::to_json).collect::<Vec<_>>().join("|")
}

#[test]
fn values_are_what_everybody_sees() {
    let cases = [
        ("a: 1", r#"{"a":1}"#),
        (
            "a: 1.10\nb: 1e400\nc: -0\nd: 123456789012345678901234567890",
            r#"{"a":1.10,"b":1e400,"c":-0,"d":123456789012345678901234567890}"#,
        ),
        ("[yes, no, on, off, True, NULL, y]", r#"["yes","no","on","off","True","NULL","y"]"#),
        ("[true, false, null, ~, , ]", ""),
        ("a:\nb: ~\nc: null\nd: ''\ne: \"\"", r#"{"a":null,"b":null,"c":null,"d":"","e":""}"#),
        ("a: \"1\"\nb: '2'\nc: |\n  3\nd: >-\n  4", r#"{"a":"1","b":"2","c":"3\n","d":"4"}"#),
        ("1: a\ntrue: b\non: c", r#"{"1":"a","true":"b","on":"c"}"#),
        ("a: 2026-01-01\nb: 12:30\nc: 1.2.3\nd: 10.0.0.0/8\ne: 15s\nf: -x\ng: 1-2\nh: -", ""),
        ("a: $.b[0]\nb: ${$.c}\nc: x ${$.d ?? \"y\"} z", r#"{"a":"$.b[0]","b":"${$.c}","c":"x ${$.d ?? \"y\"} z"}"#),
        ("{a: $.b.c, b: $, c: \"${$.d}\"}", r#"{"a":"$.b.c","b":"$","c":"${$.d}"}"#),
        ("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#),
        ("# nothing\n---\n---\na: 1\n...\n---\nb: 2\n--- # c\n[3]", r#"{"a":1}|{"b":2}|[3]"#),
        ("{\"a\": [1, true, \"x\\u0041\"]}", r#"{"a":[1,true,"xA"]}"#),
    ];
    for (text, expected) in cases {
        if expected.is_empty() {
            let (_, faults) = parse(text);
            println!("{text:?}: {faults:?}");
            continue;
        }
        assert_eq!(json(text), expected, "{text}");
    }
    assert_eq!(
        json("a: 2026-01-01\nb: 12:30\nc: 1.2.3\nd: 10.0.0.0/8\ne: 15s"),
        r#"{"a":"2026-01-01","b":"12:30","c":"1.2.3","d":"10.0.0.0/8","e":"15s"}"#
    );
}

#[test]
fn places_count_from_one_and_through_documents() {
    let (nodes, faults) = parse("a: 1\n---\nb:\n  - x\n  - é: y\n");
    assert!(faults.is_empty(), "{faults:?}");
    let at = |pointer: &str| nodes[1].place_of(pointer).to_string();
    assert_eq!(nodes[0].place_of("/a").to_string(), "f.yaml:1:4");
    assert_eq!(at("/b/0"), "f.yaml:4:5");
    assert_eq!(at("/b/1/é"), "f.yaml:5:8");
    assert_eq!(at("/b/1/missing"), "f.yaml:5:5");
    assert_eq!(nodes[1].entries()[0].0.place.to_string(), "f.yaml:3:1");
}

#[test]
fn every_fault_says_where_and_what_to_write() {
    let hint = "must stand in quotes";
    let cases = [
        ("a: .5", vec!["1:4 CONFIG_NUMBER: `.5` is a number in YAML but not in JSON; write 0.5, or \".5\" for a text"]),
        ("a: 0x10", vec!["1:4 CONFIG_NUMBER", "write 16, or \"0x10\""]),
        ("a: 1_000", vec!["write 1000, or \"1_000\""]),
        ("a: 017", vec!["write 17, or \"017\""]),
        ("a: 0o17", vec!["write 15, or"]),
        ("a: +1", vec!["write 1, or \"+1\""]),
        ("a: -.5e3", vec!["write -0.5e3, or"]),
        ("a: 1.", vec!["write 1, or"]),
        ("a: .inf", vec!["write \".inf\" for a text"]),
        ("a: 1\nb: 2\na: 3", vec!["3:1 CONFIG_DUPLICATE_KEY: `a` stands twice; first in line 1; keep one"]),
        ("a: !!str 1", vec!["1:4 CONFIG_SYNTAX: YAML tags"]),
        ("a: !x {b: 1}", vec!["CONFIG_SYNTAX: YAML tags such as `!x`"]),
        ("a: &x {b: 1}\nc:\n  <<: *x", vec!["3:3 CONFIG_SYNTAX: merge keys", "write the keys out"]),
        ("? [a]\n: 1", vec!["1:3 CONFIG_SYNTAX: a key must be a text"]),
        ("a: *x", vec!["CONFIG_SYNTAX: not YAML", "put it in quotes"]),
        ("a: *", vec!["CONFIG_SYNTAX: not YAML"]),
        ("a: &x [*x]", vec!["CONFIG_SYNTAX", "never ends"]),
        ("a:\n\tb: 1", vec!["2:", "CONFIG_SYNTAX: not YAML", "indent with spaces"]),
        ("a: b: c", vec!["CONFIG_SYNTAX: not YAML", "`: ` must stand in quotes"]),
        ("a: [1, 2", vec!["CONFIG_SYNTAX: not YAML"]),
        ("a: \"x", vec!["CONFIG_SYNTAX: not YAML"]),
        ("{a: ${$.b}}", vec![hint]),
        ("{a: ${$.b}, c: 1}", vec![hint]),
        ("a: {b: ${$.c ?? \"x\"}}", vec![hint]),
        ("a: {b: $.c[0]}", vec![hint]),
        ("a: {b: $.c[*].d}", vec![hint]),
        ("a: {b: $['c']}", vec![hint]),
        ("a: [$.b[0], 1]", vec![hint]),
        ("a: [${$.b}]", vec![hint]),
        ("a: {b: x ${$.c}}", vec![hint]),
        ("a: {b: 1,\n  c: ${$.d}}", vec![hint]),
        ("%YAML 1.2\n---\na: 1", vec![]),
    ];
    for (text, wanted) in cases {
        let (_, faults) = parse(text);
        println!("{text:?}\n    {faults:?}");
        let all = faults.join("\n");
        assert!(wanted.is_empty() || faults.len() == 1, "{text}: {all}");
        for part in wanted {
            assert!(all.contains(part), "{text}: {all}");
        }
    }
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let (nodes, faults) = parse("a: [1\n---\nb: 1\n---\nc: .5\nd: 1\nd: 2\n---\n{e: ${$.x}}\n");
    assert_eq!(nodes.iter().map(Node::to_json).collect::<Vec<_>>(), [r#"{"b":1}"#, r#"{"c":".5","d":1}"#]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults[2].starts_with("7:1 "), "{faults:?}");
    assert!(faults[3].starts_with("9:"), "{faults:?}");
}

#[test]
fn hostile_files_are_bounded() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let (_, faults) = parse(&deep);
    assert!(faults[0].contains("nested deeper"), "{faults:?}");
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        bomb.push_str(&format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", ")));
    }
    let (_, faults) = parse(&bomb);
    assert!(faults[0].contains("aliases add more than"), "{faults:?}");
}

#[test]
fn numbers_stay_as_spelled() {
    let (nodes, _) = parse("[1.50, 1E5]");
    let Kind::List(items) = &nodes[0].kind else { panic!("no list") };
    assert!(matches!(&items[0].kind, Kind::Number(n) if n == "1.50"));
    assert!(matches!(&items[1].kind, Kind::Number(n) if n == "1E5"));
}
