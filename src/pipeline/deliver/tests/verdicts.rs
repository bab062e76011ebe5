//! Verdicts as tables: `responses` first, then the status table.

use crate::destinations::Health;
use crate::destinations::responses::tests::compiled;
use crate::destinations::responses::{Answer, End, Responses};
use crate::json::value::Json;
use crate::model::clock::WallMs;
use crate::model::outcome::Class;
use crate::pipeline::deliver::judge::{By, Outcome, Verdict, judge};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use proptest::prelude::*;
use std::time::Duration;

const NOW: WallMs = WallMs(1_700_000_000_000);

fn table(status: u16, headers: &HeaderMap, fixed: bool) -> (Outcome, Option<Duration>, Health) {
    let end = End::Answer(Answer { status, headers, body: b"", whole: true });
    let nothing = Responses::default();
    let Verdict { outcome, wait, health, .. } = judge(&nothing, &end, None, fixed, NOW);
    (outcome, wait, health)
}

#[test]
fn the_status_table() {
    use Class::{Ambiguous, Incident, Overload, Reject, Success, Transient};
    let cases: &[(u16, Class, Class)] = &[
        // status, on a fixed endpoint, with path parameters
        (200, Success, Success),
        (204, Success, Success),
        (299, Success, Success),
        (301, Incident, Incident),
        (304, Incident, Incident),
        (400, Reject, Reject),
        (401, Incident, Incident),
        (402, Reject, Reject),
        (403, Incident, Reject),
        (404, Incident, Reject),
        (405, Incident, Reject),
        (407, Incident, Incident),
        (408, Transient, Transient),
        (409, Ambiguous, Ambiguous),
        (410, Incident, Reject),
        (413, Reject, Reject),
        (415, Reject, Reject),
        (418, Reject, Reject),
        (422, Reject, Reject),
        (425, Transient, Transient),
        (429, Overload, Overload),
        (431, Reject, Reject),
        (500, Transient, Transient),
        (501, Transient, Transient),
        (503, Transient, Transient),
        (599, Transient, Transient),
        (101, Transient, Transient),
        (777, Transient, Transient),
    ];
    let none = HeaderMap::new();
    for (code, fixed, with_parameters) in cases {
        assert_eq!(table(*code, &none, true).0.class(), *fixed, "{code}");
        assert_eq!(table(*code, &none, false).0.class(), *with_parameters, "{code}");
    }
    let health = |code, fixed| table(code, &none, fixed).2;
    assert_eq!(health(410, true), Health::Gone);
    assert_eq!(health(410, false), Health::Good);
    assert_eq!(health(409, true), Health::Good);
    assert_eq!(health(503, true), Health::Failing { congested: true });
    assert_eq!(health(500, true), Health::Failing { congested: false });
    assert_eq!(table(401, &none, false).0, Outcome::AuthExpired);
    assert_eq!(table(407, &none, true).2, Health::Incident);
}

#[test]
fn a_503_is_overload_only_with_a_readable_retry_after() {
    let with = |name: HeaderName, value: &'static str| {
        table(503, &HeaderMap::from_iter([(name, HeaderValue::from_static(value))]), true)
    };
    let ten = Some(Duration::from_secs(10));
    assert_eq!(with(RETRY_AFTER, "10"), (Outcome::Throttled, ten, Health::Overloaded(ten)));
    assert_eq!(with(RETRY_AFTER, "later").0, Outcome::Retry);
    assert_eq!(with(HeaderName::from_static("ratelimit-reset"), "10").0, Outcome::Retry);
}

/// Entries of two vendors: one that says what success looks like, one that names only exceptions.
const STRICT: &str = r#"[{"when":{"body":{"code":[0]}},"outcome":"success"},
    {"when":{"body":{"code":[1]}},"outcome":"throttled","wait":"10m"},
    {"when":{"body":{"code":[2]}},"outcome":"retry","wait":"24h"},
    {"when":{"body":{"code":[3]}},"outcome":"auth_expired"},
    {"when":{"body":{"code":[4]}},"outcome":"gone"},
    {"when":{"body":{"code":[5]}},"outcome":"retry"},
    {"when":{"status":[500],"body":[{"prefix":"duplicate key"}]},"outcome":"duplicate"}]"#;
const LENIENT: &str = r#"[{"when":{"status":[404]},"outcome":"duplicate"},
    {"when":{"item":{"status":[409]}},"outcome":"duplicate"},
    {"when":{"error":["no_answer"]},"outcome":"reject"},
    {"when":{"status":[200],"headers":{"x-left":["0"]}},"outcome":"throttled"}]"#;

#[test]
fn entries_first_then_the_status() {
    use Outcome::{Ambiguous, AuthExpired, Duplicate, Gone, Incident, Reject, Retry, Success, Throttled};
    type Case = (bool, u16, &'static [(&'static str, &'static str)], &'static str, Outcome, Option<u64>, &'static str);
    const JSON: (&str, &str) = ("content-type", "application/json");
    const LEFT: (&str, &str) = ("x-left", "0");
    const AFTER: (&str, &str) = ("retry-after", "5");
    let strict = compiled(STRICT, LENIENT);
    let lenient = compiled("[]", LENIENT);
    // strict or lenient entries, status, headers, body → outcome, wait in seconds, code
    let cases: [Case; 20] = [
        (true, 200, &[JSON], r#"{"code":0}"#, Success, None, "DELIVER_OK"),
        (true, 404, &[JSON], r#"{"code":0}"#, Success, None, "DELIVER_OK"),
        (true, 200, &[JSON], r#"{"code":1}"#, Throttled, Some(600), "RESPONSE_THROTTLED"),
        (true, 200, &[JSON, AFTER], r#"{"code":1}"#, Throttled, Some(5), "RESPONSE_THROTTLED"),
        (true, 200, &[JSON, ("retry-after", "soon")], r#"{"code":1}"#, Throttled, Some(600), "RESPONSE_THROTTLED"),
        (true, 200, &[JSON, AFTER], r#"{"code":2}"#, Retry, Some(86_400), "RESPONSE_RETRY"),
        (true, 200, &[JSON, AFTER], r#"{"code":5}"#, Retry, None, "RESPONSE_RETRY"),
        (true, 200, &[JSON], r#"{"code":3}"#, AuthExpired, None, "RESPONSE_AUTH_EXPIRED"),
        (true, 200, &[JSON], r#"{"code":4}"#, Gone, None, "RESPONSE_GONE"),
        (true, 500, &[], "duplicate key 7", Duplicate, None, "RESPONSE_DUPLICATE"),
        (true, 500, &[], "oops", Retry, None, "DELIVER_STATUS"),
        (true, 200, &[JSON], r#"{"code":9}"#, Ambiguous, None, "RESPONSE_UNRECOGNISED"),
        (true, 204, &[], "", Ambiguous, None, "RESPONSE_UNRECOGNISED"),
        (true, 422, &[], "", Reject, None, "DELIVER_STATUS"),
        // The connection's entries are asked too.
        (true, 404, &[], "", Duplicate, None, "RESPONSE_DUPLICATE"),
        (false, 204, &[], "", Success, None, "DELIVER_OK"),
        (false, 200, &[LEFT], "", Throttled, None, "RESPONSE_THROTTLED"),
        (false, 200, &[LEFT, ("ratelimit-reset", "42")], "", Throttled, Some(42), "RESPONSE_THROTTLED"),
        (false, 429, &[AFTER], "", Throttled, Some(5), "DELIVER_STATUS"),
        (false, 403, &[LEFT], "", Incident, None, "DELIVER_STATUS"),
    ];
    for (is_strict, status, headers, body, outcome, wait, code) in cases {
        let map = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let map = HeaderMap::from_iter(map);
        let end = End::Answer(Answer { status, headers: &map, body: body.as_bytes(), whole: true });
        let verdict = judge(if is_strict { &strict } else { &lenient }, &end, None, true, NOW);
        let found = (verdict.outcome, verdict.wait.map(|wait| wait.as_secs()), verdict.code());
        assert_eq!(found, (outcome, wait, code), "{is_strict} {status} {headers:?} {body}");
    }
}

#[test]
fn items_are_judged_by_their_own_status() {
    let none = HeaderMap::new();
    let end = End::Answer(Answer { status: 200, headers: &none, body: b"", whole: true });
    let strict = compiled(r#"[{"when":{"item":{"ok":[true]}},"outcome":"success"}]"#, LENIENT);
    for (item, lenient, strictly) in [
        (r#"{"status":201}"#, Outcome::Success, Outcome::Ambiguous),
        (r#"{"status":201,"ok":true}"#, Outcome::Success, Outcome::Success),
        (r#"{"status":409}"#, Outcome::Duplicate, Outcome::Duplicate),
        (r#"{"status":429}"#, Outcome::Throttled, Outcome::Throttled),
        (r#"{"status":400}"#, Outcome::Reject, Outcome::Reject),
        (r#"{"status":503}"#, Outcome::Retry, Outcome::Retry),
        (r#"{"status":"429"}"#, Outcome::Success, Outcome::Ambiguous),
        ("7", Outcome::Success, Outcome::Ambiguous),
    ] {
        let json = Json::check(item.as_bytes()).unwrap();
        assert_eq!(judge(&compiled("[]", LENIENT), &end, Some(json), true, NOW).outcome, lenient, "{item}");
        assert_eq!(judge(&strict, &end, Some(json), true, NOW).outcome, strictly, "{item}");
    }
}

#[test]
fn without_an_answer() {
    let judged = |entries: &str, end: &End<'_>| {
        let responses = compiled(entries, "[]");
        let verdict = judge(&responses, end, None, true, NOW);
        (verdict.outcome, verdict.health)
    };
    let failing = Health::Failing { congested: false };
    assert_eq!(judged("[]", &End::NotSent), (Outcome::Retry, failing));
    assert_eq!(judged("[]", &End::NoAnswer), (Outcome::Ambiguous, failing));
    // The event is done with, but the destination did not answer: its breaker counts that.
    assert_eq!(judged(LENIENT, &End::NoAnswer), (Outcome::Reject, failing));
    assert_eq!(judged(LENIENT, &End::NotSent), (Outcome::Retry, failing));
    let gone = r#"[{"when":{"error":["not_sent"]},"outcome":"gone"}]"#;
    assert_eq!(judged(gone, &End::NotSent), (Outcome::Gone, Health::Gone));
    // Success is named, but there is no 2xx that could be none.
    assert_eq!(judged(STRICT, &End::NoAnswer), (Outcome::Ambiguous, failing));
}

proptest! {
    #[test]
    fn laws_of_verdicts(status in 100..1000_u16, body in "\\{\"code\":[0-9]\\}", after in "[0-9]{1,6}", fixed in any::<bool>()) {
        let headers = HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (RETRY_AFTER, HeaderValue::from_str(&after).unwrap()),
        ]);
        let end = End::Answer(Answer { status, headers: &headers, body: body.as_bytes(), whole: true });
        let strict = compiled(STRICT, "[]");
        let verdict = judge(&strict, &end, None, fixed, NOW);
        if verdict.outcome.class() == Class::Success {
            prop_assert!(matches!(verdict.by, By::Entry(_)), "only an entry can say so");
        }
        match verdict.wait {
            Some(wait) => {
                prop_assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(86_400));
                prop_assert!(matches!(verdict.outcome, Outcome::Retry | Outcome::Throttled));
            }
            None => prop_assert_ne!(verdict.health, Health::Overloaded(Some(Duration::ZERO))),
        }
        // Entries that fit nothing change nothing, as long as none of them names success.
        let deaf = compiled(r#"[{"when":{"body":{"nothing":[1]}},"outcome":"reject"}]"#, "[]");
        let none = Responses::default();
        let (with, without) = (judge(&deaf, &end, None, fixed, NOW), judge(&none, &end, None, fixed, NOW));
        prop_assert_eq!((with.outcome, with.wait, with.health), (without.outcome, without.wait, without.health));
    }
}
