//! What lines become.

mod conformance;

use super::{Evaluator, Options, too_long};
use crate::config::{Context, Env};
use crate::model::clock::WallMs;
use crate::pattern::Limits;

const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"n":1.10,"s":"a"}}"#;

fn evaluator(limits: Limits) -> Evaluator {
    let env = Env::of([("TOKEN", "hush")]);
    let context = Context { env, dead_letter_topic: "dlq".into(), pattern_limits: limits, lenient: false };
    Evaluator::new(Options { context, now: WallMs(1_767_225_600_000) })
}

fn answer(line: &str) -> String {
    let mut out = String::new();
    evaluator(Limits::default()).evaluate(3, line.as_bytes(), &mut out);
    out
}

/// A line about a target, with these members beside it.
fn target(target: &str, rest: &str) -> String {
    answer(&format!("{{\"target\":{target},\"event\":{EVENT}{rest}}}"))
}

#[test]
fn patterns_get_a_verdict() {
    for (line, expected) in [
        (r#"{"id":"a","pattern":{"n":[3]},"event":{"n":3.0}}"#, r#"{"id":"a","verdict":"match"}"#),
        (r#"{"id":1.50,"pattern":{"n":[4]},"event":{"n":3}}"#, r#"{"id":1.50,"verdict":"no_match"}"#),
        (r#"{"pattern_text":"{\"n\":[3]}","event_text":"{\"n\":3,\"n\":4}"}"#, r#"{"verdict":"no_match"}"#),
        (r#"{"pattern":{"n":[3]},"event_text":"{\"n\":3,\"n\":4}","dialect":"aws"}"#, r#"{"verdict":"match"}"#),
        (r#"{"pattern":{"detail":{"n":[3]}},"event":{"data":{"n":3}},"alias":true}"#, r#"{"verdict":"match"}"#),
        (r#"{"pattern":{"detail":{"n":[3]}},"event":{"data":{"n":3}},"alias":"aws"}"#, r#"{"verdict":"match"}"#),
        (r#"{"pattern":{"n":3}}"#, r#"{"verdict":"valid"}"#),
        (r#"{"filters":[{"exact":{"type":"t"}}],"event":{"type":"t"}}"#, r#"{"verdict":"match"}"#),
        (
            r#"{"filters":[{"exact":{"type":"t"}}],"pattern":{"data":[1]},"event":{"type":"t","data":2}}"#,
            r#"{"verdict":"no_match"}"#,
        ),
    ] {
        assert_eq!(answer(line), expected, "{line}");
    }
}

#[test]
fn every_fault_of_a_pattern_is_told() {
    let told = answer(r#"{"id":"x","pattern":{"a":[],"b":[{"Prefix":"x"}]},"event":{}}"#);
    assert!(told.starts_with(r#"{"id":"x","verdict":"invalid","errors":[{"pointer":"/a","code":"PATTERN_"#), "{told}");
    assert!(told.contains(r#"{"pointer":"/b/0/Prefix","code":"PATTERN_OPERATOR","message":""#), "{told}");
    let both = answer(r#"{"pattern":{"a":[]},"filters":[{"exact":{}}]}"#);
    assert!(both.contains(r#""pointer":"/pattern/a""#) && both.contains(r#""pointer":"/filters/0"#), "{both}");
    // A pattern that is nested too deep is a fault of the pattern, not of the line.
    let deep = format!(r#"{{"pattern":{}[1]{}}}"#, r#"{"a":"#.repeat(600), "}".repeat(600));
    assert!(answer(&deep).contains("PATTERN_DEPTH"));
}

#[test]
fn a_search_that_is_given_up_is_no_verdict() {
    let line =
        r#"{"id":"l","pattern":{"a":{"x":[1],"y":[2]}},"event":{"a":[{"x":1,"y":3},{"x":1,"y":3},{"x":1,"y":2}]}}"#;
    let mut out = String::new();
    assert!(evaluator(Limits { attempts: 2, ..Limits::default() }).evaluate(1, line.as_bytes(), &mut out));
    assert!(out.starts_with(r#"{"id":"l","error":"EVALUATION_LIMIT","message":"#), "{out}");
}

#[test]
fn targets_become_requests() {
    assert_eq!(
        target(r#"{"body":{"json":{"v":"$.data.n"}}}"#, ""),
        r#"{"request":{"headers":{"content-type":"application/json"},"body":"{\"v\":1.10}"}}"#
    );
    assert_eq!(
        target(
            r#"{"body":{"constant":""},"query":{"a":"$.id"},"path":{"x":"$.data.s"}}"#,
            r#","endpoint":"https://h.test/v/{x}?k=1&l","content_type":"text/plain","destination":{"query":{"d":"0"}}"#
        ),
        r#"{"request":{"path":"/v/a","query":["k=1&l","d=0","a=7"],"headers":{"content-type":"text/plain"},"body":""}}"#
    );
    assert_eq!(
        target(r#"{"body":{"json":"$.data.s"}}"#, r#","endpoint":"/x""#),
        r#"{"request":{"path":"/x","headers":{"content-type":"application/json"},"body":"\"a\""}}"#
    );
    let meta = r#"{"body":"${$meta.rule}/${$meta.target} ${$meta.attempt} ${$meta.received_at}"}"#;
    let context = r#","context":{"rule":"r","target":"u","attempt":2,"received_at":"2026-05-01T12:00:00.123Z"}"#;
    assert!(target(meta, context).contains("r/u 2 2026-05-01T12:00:00.123Z"));
    assert!(target(meta, r#","now_ms":1"#).contains("rule/target 1 1970-01-01T00:00:00.001Z"));
}

#[test]
fn what_keeps_a_request_from_being_built_has_a_code() {
    let missing = target(r#"{"body":{"json":"$.data.zz"}}"#, "");
    assert!(missing.starts_with(r#"{"error":"TRANSFORM_MISSING","message":"`$.data.zz` is absent"#), "{missing}");
    for (line, pointer) in [
        (target(r#"{"body":{"json":"$.["}}"#, ""), "/target/body/json"),
        (target(r#"{"bodi":1}"#, ""), "/target/bodi"),
        (target("{}", r#","content_type":"text/plain""#), "/content_type"),
        (target("{}", r#","connection":{"headers":{"Host":"h"}}"#), "/connection/headers/Host"),
        (target("{}", r#","destination":{"headers":{"Host":"h"}}"#), "/destination/headers/Host"),
        (target("{}", r#","endpoint":"ftp://h""#), "/endpoint"),
    ] {
        let expected = format!(r#"{{"error":"LOAD","errors":[{{"pointer":"{pointer}","#);
        assert!(line.starts_with(&expected), "{line}");
    }
    let event = answer(r#"{"target":{},"event":{"id":"1"}}"#);
    assert!(event.starts_with(r#"{"error":"DECODE_ATTRIBUTE_MISSING","#), "{event}");
    assert_eq!(answer(r#"{"target":{}}"#), r#"{"verdict":"valid"}"#);
}

#[test]
fn signatures_need_a_clock_and_secrets_stay_hidden() {
    let signs = r#","endpoint":"https://h.test/r?a=b","connection":{"sign":{"dingtalk":{"secret":"SECabc"}}}"#;
    let constant = r#"{"body":{"constant":"{}"}}"#;
    let signed = target(constant, &format!("{signs},\"now_ms\":1767225600002"));
    let signature = r#""sign=ycrdqCGo25KCsqSc6Typ6DovucMsz4Q2IVH%2BNk%2Flhlw%3D""#;
    assert!(signed.contains(&format!(r#""query":["a=b","timestamp=1767225600002",{signature}]"#)), "{signed}");
    assert!(target(constant, signs).contains(r#""query":["a=b","timestamp=<now>","sign=***"]"#));
    let secret = target(constant, r#","connection":{"headers":{"X-Key":"${env:TOKEN}"}}"#);
    assert!(secret.contains(r#""x-key":"***""#), "{secret}");
}

#[test]
fn answers_are_judged() {
    let responses = r#""responses":{"destination":[],"connection":[{"when":{"body":{"c":[0]}},"outcome":"success"},
        {"when":{"body":{"c":[7]}},"outcome":"retry","wait":"90s"}]}"#
        .replace('\n', "");
    let json = r#""headers":{"content-type":"application/json"}"#;
    for (end, expected) in [
        (format!(r#"{{"status":200,{json},"body":"{{\"c\":0}}"}}"#), r#"{"outcome":"success"}"#),
        (format!(r#"{{"status":200,{json},"body":"{{\"c\":7}}"}}"#), r#"{"outcome":"retry","wait_s":90}"#),
        (format!(r#"{{"status":200,{json},"body":"{{\"c\":9}}"}}"#), r#"{"outcome":"ambiguous"}"#),
        (r#"{"status":429,"headers":{"retry-after":["5","6"]}}"#.to_owned(), r#"{"outcome":"throttled","wait_s":5}"#),
        (
            r#"{"status":429,"headers":{"retry-after":"Thu, 01 Jan 2026 00:00:30 GMT"}}"#.to_owned(),
            r#"{"outcome":"throttled","wait_s":30}"#,
        ),
        (r#"{"status":403}"#.to_owned(), r#"{"outcome":"incident"}"#),
        (r#"{"error":"not_sent"}"#.to_owned(), r#"{"outcome":"retry"}"#),
        (r#"{"error":"no_answer"}"#.to_owned(), r#"{"outcome":"ambiguous"}"#),
    ] {
        assert_eq!(answer(&format!("{{{responses},\"answer\":{end}}}")), expected, "{end}");
    }
    let refused = answer(
        r#"{"responses":{"destination":[{"when":{"status":[200]},"outcome":"reject","wait":"1s"}]},"answer":{"status":200}}"#,
    );
    assert!(refused.starts_with(r#"{"error":"LOAD","errors":[{"pointer":"/responses/destination/0/"#), "{refused}");
    let refused = answer(
        r#"{"responses":{"connection":[{"when":{"body":[{"p":1}]},"outcome":"retry"}]},"answer":{"status":200}}"#,
    );
    assert!(refused.contains(r#""pointer":"/responses/connection/0/when/body/0/p""#), "{refused}");
}

#[test]
fn a_line_that_asks_nothing_says_which_and_what_to_write() {
    for (line, why) in [
        ("{", "it is not JSON: unexpected end of JSON"),
        ("[1]", "it is JSON, but no object"),
        (r#"{"id":"a"}"#, "it asks nothing"),
        (r#"{"id":"a","pattern":{},"target":{}}"#, "it asks more than one thing: pattern, target"),
        (r#"{"id":"a","pattern":{},"pattern_text":"{}"}"#, "it asks more than one thing: pattern, pattern_text"),
        (r#"{"id":"a","pattern":{},"dialect":"x"}"#, "`dialect` must be"),
        (r#"{"id":"a","pattern":{},"alias":"x"}"#, "`alias` must be"),
        (r#"{"id":"a","pattern":{},"event":[]}"#, "`event` must be an object"),
        (r#"{"id":"a","pattern":{},"event_text":"{"}"#, "`event` is not JSON"),
        (r#"{"id":"a","target":[]}"#, "`target` must be an object"),
        (r#"{"id":"a","responses":{}}"#, "`answer` is missing"),
        (r#"{"id":"a","responses":{},"answer":{"status":"200"}}"#, "`answer.status` must be"),
    ] {
        let mut out = String::new();
        assert!(!evaluator(Limits::default()).evaluate(3, line.as_bytes(), &mut out), "{line}");
        assert!(out.contains(r#""error":"LINE","message":"line 3: "#) && out.contains(why), "{out}");
        assert_eq!(out.contains(r#""id":"a""#), line.contains(r#""id""#), "{out}");
    }
    let mut out = String::new();
    too_long(4, 10, &mut out);
    assert!(out.contains("line 4: it has more than 10 bytes"), "{out}");
}

#[test]
fn the_same_text_in_another_dialect_is_another_pattern() {
    let mut evaluator = evaluator(Limits::default());
    let mut verdicts = Vec::new();
    for dialect in ["tidegate", "aws", "tidegate"] {
        let mut out = String::new();
        let line = format!(r#"{{"pattern":{{"type":"t"}},"event":{{"type":"t"}},"dialect":"{dialect}"}}"#);
        evaluator.evaluate(1, line.as_bytes(), &mut out);
        verdicts.push(out.contains("invalid"));
    }
    assert_eq!(verdicts, [false, true, false]);
}
