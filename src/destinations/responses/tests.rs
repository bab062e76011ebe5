//! Entries as they are written, what is wrong with them, and what they see of an answer.

use super::*;
use crate::json::node::node_from_json;
use crate::model::resources::PatternLimits;
use crate::model::units::duration;
use proptest::prelude::*;
use secrecy::SecretString;

/// Entries from JSON; each stands on a line of its own.
pub(crate) fn written(json: &str) -> Vec<Response> {
    let list = node_from_json(Json::check(json.as_bytes()).expect("JSON"));
    let Kind::List(entries) = list.kind else { panic!("no list: {json}") };
    let entry = |(at, entry): (usize, Node)| {
        let outcome = entry.get("outcome").and_then(Node::as_plain).expect("an outcome");
        let all = [
            ResponseOutcome::Success,
            ResponseOutcome::Duplicate,
            ResponseOutcome::Retry,
            ResponseOutcome::Throttled,
            ResponseOutcome::AuthExpired,
            ResponseOutcome::Reject,
            ResponseOutcome::Gone,
        ];
        Response {
            when: entry.get("when").expect("a pattern").clone(),
            outcome: all.into_iter().find(|one| one.as_str() == outcome).expect("a known outcome"),
            wait: entry.get("wait").and_then(Node::as_plain).map(|wait| duration(wait).expect("a duration")),
            place: Place { file: "api.yaml".into(), line: u32::try_from(at).expect("few") + 1, column: 3 },
        }
    };
    entries.into_iter().enumerate().map(entry).collect()
}

/// Compiled entries without faults.
pub(crate) fn compiled(destination: &str, connection: &str) -> Responses {
    let mut faults = Vec::new();
    let [own, theirs] =
        [destination, connection].map(|list| compile(&written(list), PatternLimits::default(), &mut faults));
    assert!(faults.is_empty(), "{faults:?}");
    Responses::new(&own, &theirs)
}

/// The line of the first entry that fits an answer.
fn first(entries: &str, headers: &[(&'static str, &str)], body: &[u8], whole: bool) -> Option<u32> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    let end = End::Answer(Answer { status: 200, headers: &map, body, whole });
    compiled(entries, "[]").first(&end, None).expect("decided").map(|entry| entry.place.line)
}

#[test]
fn a_body_is_json_only_if_it_says_so_and_is() {
    let entries = r#"[{"when":{"body":{"n":[1]}},"outcome":"success"},
        {"when":{"body":[{"prefix":"{"}]},"outcome":"reject"},
        {"when":{"body":[""]},"outcome":"retry"},
        {"when":{"body":[5]},"outcome":"gone"}]"#;
    let with =
        |content_type, body: &str, whole| first(entries, &[("content-type", content_type)], body.as_bytes(), whole);
    for json in ["application/json", "Application/JSON ; charset=utf-8", "application/problem+json", "text/json;v=1"] {
        assert_eq!(with(json, r#"{"n":1}"#, true), Some(1), "{json}");
    }
    assert_eq!(with("application/json", "\u{feff}{\"n\":1}", true), Some(1), "a byte order mark");
    assert_eq!(with("application/json", " 5 ", true), Some(4));
    assert_eq!(with("application/json", "5", false), None, "the beginning of a body is no JSON");
    for text in ["text/plain", "application/jsonp", "application/xml", "json", "", "application/json-seq"] {
        assert_eq!(with(text, r#"{"n":1}"#, true), Some(2), "{text}");
    }
    assert_eq!(with("application/json", r#"{"n":1"#, true), Some(2), "not JSON after all");
    assert_eq!(with("application/json", "", true), Some(3));
    assert_eq!(first(entries, &[], b"{\"n\":1}", true), Some(2));
    assert_eq!(first(entries, &[("content-type", "application/json")], b"{\"n\":\"\xff\"}", true), Some(2));
}

#[test]
fn headers_are_texts_or_lists_of_texts() {
    let entries = r#"[{"when":{"headers":{"x-left":["0"],"x-many":["b"]}},"outcome":"throttled"}]"#;
    assert_eq!(first(entries, &[("x-left", "0"), ("x-many", "a"), ("x-many", "b")], b"", true), Some(1));
    assert_eq!(first(entries, &[("x-left", "0"), ("x-many", "a, b")], b"", true), None);
    assert_eq!(first(entries, &[("x-left", "00"), ("x-many", "b")], b"", true), None);
    let odd = r#"[{"when":{"headers":{"x-name":["\"Ren\u00e9\\"]}},"outcome":"reject"}]"#;
    assert_eq!(first(odd, &[("x-name", "\"René\\")], b"", true), Some(1));
}

#[test]
fn only_what_is_asked_for_is_read() {
    let reads = |entries| {
        let responses = compiled(entries, "[]");
        (responses.is_empty(), responses.reads_headers, responses.reads_body)
    };
    assert_eq!(reads("[]"), (true, false, false));
    assert_eq!(reads(r#"[{"when":{"status":[404]},"outcome":"duplicate"}]"#), (false, false, false));
    assert_eq!(reads(r#"[{"when":{"headers":{"a":["b"]}},"outcome":"reject"}]"#), (false, true, false));
    assert_eq!(reads(r#"[{"when":{"body.code":[1]},"outcome":"reject"}]"#), (false, false, true));
    let or = r#"[{"when":{"$or":[{"status":[1]},{"body":{"a":[{"exists":false}]}}]},"outcome":"reject"}]"#;
    assert_eq!(reads(or), (false, false, true));
}

#[test]
fn every_fault_has_its_place() {
    let mut list = written(
        r#"[{"when":{"status":{}},"outcome":"reject"},
            {"when":{"body":{"code":[1]}},"outcome":"reject"},
            {"when":{},"outcome":"reject"}]"#,
    );
    let place = |line| Place { file: "api.yaml".into(), line, column: 9 };
    if let Kind::Map(entries) = &mut list[0].when.kind {
        entries[0].1.place = place(7);
    }
    if let Kind::Map(entries) = &mut list[1].when.kind {
        entries[0].1 = Node { kind: Kind::String(Text::Secret(SecretString::from("hidden"))), place: place(8) };
    }
    let mut faults = Vec::new();
    assert_eq!(compile(&list, PatternLimits::default(), &mut faults).len(), 1, "the one without a fault");
    let found: Vec<_> = faults.iter().map(|f| (f.code, &*f.pointer, f.place.as_ref().unwrap().line)).collect();
    assert_eq!(found, [("PATTERN_EMPTY", "/when/status", 7), ("CONFIG_VALUE", "/when", 8)]);
    assert!(!format!("{faults:?}").contains("hidden"));
}

#[test]
fn a_search_without_end_is_given_up() {
    // Inside one element, inner lists multiply.
    let inner = format!("[{}]", vec![r#"{"a":1},{"b":1}"#; 30].join(","));
    let body = format!(r#"{{"o":[{{"p":{inner},"q":{inner},"r":{inner},"s":{inner}}}]}}"#);
    let entries = r#"[{"when":{"body":{"o":{"p":{"a":[1]},"q":{"a":[1]},"r":{"a":[1]},"s":{"a":[1],"b":[1]}}}},
        "outcome":"success"}]"#;
    let map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let end = End::Answer(Answer { status: 200, headers: &map, body: body.as_bytes(), whole: true });
    assert!(compiled(entries, "[]").first(&end, None).is_err());
}

proptest! {
    #[test]
    fn the_first_that_fits_wins_and_nothing_panics(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}:,\"0-9a-c \\\\]{0,60}".prop_map(String::into_bytes),
        ],
        split in 0..5_usize,
        status in 100..1000_u16,
        whole in any::<bool>(),
        content_type in prop::sample::select(vec!["application/json", "text/plain", "a/b+json;x"]),
    ) {
        let all = [
            r#"{"when":{"body":{"a":[{"numeric":[">",0]}]}},"outcome":"success"}"#,
            r#"{"when":{"status":[{"numeric":["<",300]}]},"outcome":"reject"}"#,
            r#"{"when":{"body":[{"exists":false}],"headers":{"content-type":[{"suffix":"json"}]}},"outcome":"retry"}"#,
            r#"{"when":{"error":[{"exists":true}]},"outcome":"gone"}"#,
        ];
        let (own, theirs) = all.split_at(split.min(4));
        let list = |part: &[&str]| format!("[{}]", part.join(","));
        let map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let end = End::Answer(Answer { status, headers: &map, body: &body, whole });
        let found = compiled(&list(own), &list(theirs)).first(&end, None).unwrap().map(|entry| entry.outcome);
        let alone = |entry: &&str| compiled(&list(&[entry]), "[]").first(&end, None).unwrap().map(|entry| entry.outcome);
        prop_assert_eq!(found, all.iter().find_map(alone), "however the entries are shared out");
        prop_assert_ne!(found, Some(ResponseOutcome::Gone), "there was an answer");
    }
}
