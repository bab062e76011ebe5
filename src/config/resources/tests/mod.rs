//! What good resource files become, and what is told about a whole set of them.

mod connection_faults;
mod connections;
mod faults;
mod ordering;
mod sharing;

use super::{Context, Read, read_text, schema};
use crate::config::env::Env;
use crate::model::resources::{
    Auth, BaseUrl, DeadLetterBudget, Delay, Expectation, KeyPlace, OnMissing, PayloadDecode, Start,
};
use crate::model::text::{ShowText, Text};
use std::time::Duration;

const GOOD: &str = r#"
kind: source
name: shop
kafka: {topics: [shop.orders], start: latest, on_missing: halt, strict: true, group: g}
decode: base64+json
---
kind: connection
name: api
description: The API.
url: https://api.example.com/v2/orgs/acme/
auth: {bearer: "${env:TOKEN}"}
headers: {X-Team: a, X-N: 1, Authorization: "ApiKey ${env:KEY}"}
query: {k: v, l: [1, "${env:KEY}"]}
body: {token: "${env:KEY}", n: 1.10}
allow_networks: [10.0.0.0/8, "::1"]
---
kind: destination
name: builds
connection: api
endpoint: /pipelines/{pipeline}/builds
timeout: 15s
dead_letter_budget: {percent: 50}
concurrency: {max: 8}
rate_limit: [50/min, {limit: 3/s, burst: 10}]
rate: shared
retry: {max_age: 1h, max_attempts: 5, delay: [2s, 1m]}
dead_letter: {topic: dead}
---
kind: rule
name: build-on-paid
from: shop
pattern: {type: order.paid}
targets:
- name: build
  destination: builds
  path: {pipeline: $.data.pipeline}
  body: {json: {branch: $.data.branch}}
  retry: {policy: BACKOFF_RETRY}
  ordering: none
tests:
- event: {type: order.paid, data: {pipeline: web}}
  expect: {build: {error: TRANSFORM_MISSING}}
- event: {type: x}
  expect: {build: no_match}
- event: {type: order.paid, data: {pipeline: web, branch: main}}
  expect: {build: {body: {branch: "${env:X} stays", n: 1.10}}}
"#;

fn context() -> Context {
    let env = Env::of([("LINES", "a\nb"), ("TOKEN", "t0k3n"), ("KEY", "k3y"), ("URL", "https://env.example")]);
    Context { env, dead_letter_topic: "tidegate.dlq".into(), ..Context::default() }
}

fn load(text: &str) -> Read {
    read_text("f.yaml", text, &context())
}

fn said(read: &Read) -> Vec<String> {
    let place = |fault: &crate::model::fault::Fault| fault.place.clone().unwrap_or_default();
    let line = |fault: &crate::model::fault::Fault| {
        let (place, mark) = (place(fault), if fault.warning { "warn " } else { "" });
        format!(
            "{}:{} {mark}{} {}: {}; {}",
            place.line, place.column, fault.code, fault.pointer, fault.message, fault.cure
        )
    };
    read.faults.iter().map(line).collect()
}

struct Revealed;

impl ShowText for Revealed {
    fn show<'a>(&self, text: &'a Text) -> &'a str {
        use secrecy::ExposeSecret;
        match text {
            Text::Plain(text) => text,
            Text::Secret(text) => text.expose_secret(),
        }
    }
}

#[test]
fn good_files_become_resources() {
    let read = load(GOOD);
    assert_eq!(said(&read), Vec::<String>::new());
    let r = &read.resources;
    let source = &r.sources[0];
    assert_eq!(
        (source.topics.as_slice(), source.strict, source.group.as_deref()),
        (&["shop.orders".to_owned()][..], true, Some("g"))
    );
    assert_eq!(
        (source.start, source.on_missing, source.decode),
        (Start::Latest, OnMissing::Halt, PayloadDecode::Base64Json)
    );

    let api = &r.connections[0];
    assert_eq!(api.url.as_ref().map(|u| u.path.as_str()), Some("/v2/orgs/acme"));
    let Auth::Bearer(token) = &api.auth else { panic!("no bearer") };
    assert_eq!((token.masked(), Revealed.show(token)), ("***", "t0k3n"));
    let headers: Vec<_> =
        api.headers.iter().map(|(name, v)| format!("{name}={}/{}", v.masked(), Revealed.show(v))).collect();
    assert_eq!(headers, ["x-team=a/a", "x-n=1/1", "authorization=***/ApiKey k3y"]);
    let query: Vec<_> = api
        .query
        .iter()
        .map(|(n, v)| format!("{n}={}", v.iter().map(|t| t.masked()).collect::<Vec<_>>().join(",")))
        .collect();
    assert_eq!(query, ["k=v", "l=1,***"]);
    assert_eq!(
        api.body.iter().map(|(n, v)| format!("{n}={}", v.to_json())).collect::<Vec<_>>(),
        ["token=\"***\"", "n=1.10"]
    );
    assert_eq!(api.allow_networks.len(), 2);

    let builds = &r.destinations[0];
    assert_eq!(builds.base.origin(), "https://api.example.com");
    assert_eq!((builds.endpoint.as_str(), builds.method.as_str()), ("/pipelines/{pipeline}/builds", "POST"));
    assert_eq!((builds.timeout, builds.concurrency_max), (Duration::from_secs(15), 8));
    assert_eq!(builds.dead_letter_budget, Some(DeadLetterBudget { percent: 50, ..DeadLetterBudget::default() }));
    assert_eq!(builds.rate_limits.iter().map(|l| (l.rate.requests, l.burst)).collect::<Vec<_>>(), [(50, 1), (3, 10)]);
    assert_eq!((builds.retry.max_age, builds.retry.max_attempts), (Duration::from_secs(3600), 5));
    assert_eq!(builds.retry.delay, Delay::FullJitter { first: Duration::from_secs(2), max: Duration::from_secs(60) });
    assert_eq!(&*builds.dead_letter_topic, "dead");

    let rule = &r.rules[0];
    assert_eq!(rule.from.as_ref().map(|n| n.as_str()), Some("shop"));
    assert!(rule.enabled && !rule.alias_aws);
    let target = &rule.targets[0];
    assert_eq!(target.retry.as_ref().map(|r| r.max_attempts), Some(4));
    assert_eq!(target.body.as_ref().map(|b| b.to_json()).as_deref(), Some("{\"json\":{\"branch\":\"$.data.branch\"}}"));
    let expected: Vec<_> = rule
        .tests
        .iter()
        .map(|test| match &test.expect[0].1 {
            Expectation::Body(body) => body.to_json(),
            Expectation::Error(code) => code.clone(),
            Expectation::NoMatch => "no_match".to_owned(),
        })
        .collect();
    assert_eq!(expected, ["TRANSFORM_MISSING", "no_match", "{\"branch\":\"${env:X} stays\",\"n\":1.10}"]);
}

#[test]
fn defaults_are_those_of_the_specification() {
    let read = load(
        "{kind: source, name: s, kafka: {topics: [t]}}\n---\n{kind: connection, name: c, url: https://h.example}\n---\n\
         {kind: destination, name: d, connection: c}\n---\n\
         {kind: rule, name: r, pattern: {}, targets: [{name: t, destination: d}]}",
    );
    assert_eq!(said(&read), Vec::<String>::new());
    let d = &read.resources.destinations[0];
    assert_eq!(
        (d.method.as_str(), d.endpoint.as_str(), d.timeout, d.concurrency_max),
        ("POST", "", Duration::from_secs(10), 64)
    );
    assert_eq!((d.retry.max_attempts, &*d.dead_letter_topic, d.rate_limits.len()), (185, "tidegate.dlq", 0));
    let r = &read.resources.rules[0];
    assert!(r.from.is_none() && r.enabled && r.targets[0].body.is_none() && r.targets[0].retry.is_none());
    let s = &read.resources.sources[0];
    assert_eq!((s.strict, s.start, s.on_missing), (false, Start::Earliest, OnMissing::Earliest));
}

#[test]
fn auth_of_every_kind() {
    let auth = |auth: &str| {
        let read = load(&format!("kind: connection\nname: c\nurl: https://h.example\nauth: {auth}"));
        (read.resources.connections.first().map(|c| c.auth.clone()), said(&read))
    };
    assert!(matches!(auth("none"), (Some(Auth::None), faults) if faults.is_empty()));
    let (found, faults) = auth("{basic: {username: \"${env:KEY}\", password: X}}");
    assert!(matches!(found, Some(Auth::Basic { username: Text::Secret(_), password: Text::Secret(_) })), "{faults:?}");
    assert!(faults.is_empty(), "{faults:?}");
    let (found, faults) = auth("{basic: {username: u, password: \"${env:KEY}\"}}");
    assert!(matches!(found, Some(Auth::Basic { username: Text::Plain(_), password: Text::Secret(_) })), "{faults:?}");
    let (found, _) = auth("{api_key: {name: k, value: \"${env:KEY}\", in: query}}");
    assert!(matches!(found, Some(Auth::ApiKey { place: KeyPlace::Query, .. })));
    let (found, faults) = auth("{bearer: abc}");
    assert!(matches!(found, Some(Auth::Bearer(Text::Secret(_)))));
    assert!(faults[0].contains("warn CONFIG_SECRET_LITERAL /auth/bearer") && !faults[0].contains("abc"), "{faults:?}");
    let (_, faults) = auth("{basic: {username: u, password: p}}");
    assert!(faults[0].contains("warn CONFIG_SECRET_LITERAL /auth/basic/password"), "{faults:?}");
}

#[test]
fn all_faults_at_once_in_order_and_the_rest_is_kept() {
    let text = GOOD.replace("timeout: 15s", "timeout: 15").replace("start: latest", "start: later")
        + "---\n{kind: connection, name: ok, url: https://h.example}\n---\n{broken: [\n";
    let read = load(&text);
    let said = said(&read);
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(
        said[0].contains("/kafka/start") && said[1].contains("/timeout") && said[2].contains("CONFIG_SYNTAX"),
        "{said:#?}"
    );
    let r = &read.resources;
    assert_eq!((r.connections.len(), r.destinations.len(), r.sources.len()), (2, 0, 0));
    // The rule is kept for the faults of its pattern, without the target whose destination is broken.
    assert_eq!(r.rules.iter().map(|rule| rule.targets.len()).collect::<Vec<_>>(), [0]);
}

#[test]
fn references_resolve_across_files_in_any_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut parts: Vec<&str> = GOOD.split("---\n").collect();
    parts.reverse();
    for (i, part) in parts.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{i}.yaml")), part).expect("written");
    }
    let loaded = super::load(&[dir.path().to_owned()], &context()).expect("no faults");
    assert_eq!((loaded.resources.rules.len(), loaded.files.len()), (1, 4));
    std::fs::write(dir.path().join("9.json"), "{\"kind\": \"rule\",\n \"name\": 5}").expect("written");
    let faults = super::load(&[dir.path().to_owned()], &context()).expect_err("a fault");
    assert!(
        faults.iter().any(|f| f.place.as_ref().is_some_and(|p| p.file.ends_with("9.json") && p.line == 2)),
        "{faults:?}"
    );
}

#[test]
fn certificates_are_read_from_the_folder_of_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").expect("written");
    std::fs::write(dir.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\n").expect("written");
    let file = |tls: &str| {
        let text = format!("kind: connection\nname: c\nurl: https://h.example\ntls: {tls}");
        std::fs::write(dir.path().join("c.yaml"), text).expect("written");
        super::load(&[dir.path().to_owned()], &context())
    };
    let loaded =
        file("{ca_file: ca.pem, client_certificate_file: ca.pem, client_key_file: key.pem}").expect("no faults");
    assert!(loaded.resources.connections[0].ca_pem.is_some() && loaded.resources.connections[0].client_pem.is_some());
    let faults = file("{client_key_file: key.pem}").expect_err("a fault");
    assert!(faults[0].message.contains("needs its key"), "{faults:?}");
    let faults = file("{ca_file: c.yaml}").expect_err("a fault");
    assert!(faults[0].message.contains("is not PEM"), "{faults:?}");
}

#[test]
fn urls_and_other_plain_texts_may_come_from_the_environment() {
    let read = load("kind: connection\nname: c\nurl: ${env:URL}/v1\n");
    let origin = read.resources.connections[0].url.as_ref().map(BaseUrl::origin);
    assert_eq!(origin.as_deref(), Some("https://env.example"), "{:?}", said(&read));
}

#[test]
fn unset_secrets_are_warnings_for_who_only_checks() {
    let context = Context { lenient: true, ..context() };
    let read = read_text(
        "f.yaml",
        "kind: connection\nname: c\nurl: https://h.example\nauth: {bearer: \"${env:NONE}\"}",
        &context,
    );
    assert_eq!(read.resources.connections.len(), 1);
    assert!(said(&read)[0].contains("warn CONFIG_SECRET"), "{:?}", said(&read));
}

#[test]
fn constants_and_templates_of_rules_are_not_searched_for_references() {
    let text = GOOD.replace("{json: {branch: $.data.branch}}", "{constant: \"${env:X} ${file:/y}\"}");
    assert_eq!(said(&load(&text)), Vec::<String>::new());
}

#[test]
fn the_schema_is_made_of_the_same_tables() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let kinds = schema["oneOf"].as_array().expect("kinds");
    assert_eq!(kinds.len(), 4);
    let destination = &kinds[1];
    assert_eq!(destination["properties"]["kind"]["const"], "destination");
    assert_eq!(destination["required"], serde_json::json!(["kind", "name", "connection"]));
    assert_eq!(destination["additionalProperties"], false);
    assert!(destination["properties"]["rate_limit"]["anyOf"].is_array());
    assert!(destination["properties"].get("batch").is_none(), "not built yet");
    let connection = &kinds[0]["properties"];
    let auth = &connection["auth"]["anyOf"][1]["properties"];
    assert_eq!(auth["oauth2"]["required"], serde_json::json!(["token_endpoint", "client_id", "client_secret"]));
    assert_eq!(auth["token"]["properties"]["send"]["properties"]["query"]["type"], "object");
    assert!(auth.get("ssh").is_none(), "not built yet");
    assert_eq!(connection["proxy"]["anyOf"][0]["enum"], serde_json::json!(["none", "environment"]));
    assert_eq!(connection["responses"]["items"]["required"], serde_json::json!(["when", "outcome"]));
    assert_eq!(destination["properties"]["responses"]["items"], connection["responses"]["items"]);
    assert_eq!(kinds[3]["properties"]["filters"]["items"]["$ref"], "#/$defs/filter");
    assert_eq!(schema["$defs"]["filter"]["properties"]["not"]["$ref"], "#/$defs/filter");
    assert!(kinds[3]["properties"]["targets"]["items"]["properties"]["body"].is_object());
}

#[test]
fn the_sample_set_and_the_examples_are_sound() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let env = Env::of([("BUILDKITE_TOKEN", "t"), ("CRM_KEY", "k")]);
    let context = Context { env, ..context() };
    let mut folders = vec![root.join("resources")];
    for example in std::fs::read_dir(root.join("examples")).expect("examples") {
        folders.push(example.expect("an entry").path());
    }
    for folder in folders {
        let loaded = super::load(std::slice::from_ref(&folder), &context).expect("no faults");
        assert_eq!(loaded.warnings, [], "{}", folder.display());
        assert!(loaded.resources.rules.iter().all(|rule| !rule.tests.is_empty()), "{}", folder.display());
    }
}

#[test]
fn a_syntax_error_is_not_repeated_as_missing_references() {
    let text = GOOD.replace("timeout: 15s", "timeout: [15s");
    let read = load(&text);
    let said = said(&read);
    assert!(said.len() == 1 && said[0].contains("CONFIG_SYNTAX"), "{said:#?}");
    let read = load(&text.replace("destination: builds", "destination: other"));
    assert_eq!(read.faults.len(), 2, "{:#?}", read.faults);
}

#[test]
fn a_description_may_stand_anywhere() {
    let text = "{kind: connection, name: c, url: https://h.example}\n---\n{kind: destination, name: d, connection: c, \
                retry: {description: x, policy: BACKOFF_RETRY}, dead_letter: {description: x, topic: t}}";
    assert_eq!(said(&load(text)), Vec::<String>::new());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever is cut out of, or put into, a good file: no panic, and every fault stands in the file.
    #[test]
    fn broken_files_give_faults_with_places(at in 0..GOOD.len(), cut in 0usize..40, put in "[ \\n\"'{}\\[\\]:,&*!|>%@`#$a0.~-]{0,6}") {
        let mut text = GOOD.to_owned();
        if GOOD.is_char_boundary(at) && GOOD.is_char_boundary((at + cut).min(GOOD.len())) {
            text.replace_range(at..(at + cut).min(GOOD.len()), &put);
        }
        let read = load(&text);
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX) + 1;
        for fault in &read.faults {
            let place = fault.place.as_ref().expect("a place");
            proptest::prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{:?}", fault);
            proptest::prop_assert!(fault.code != "CONFIG_INTERNAL", "{:?}\n{}", fault, text);
        }
    }
}
