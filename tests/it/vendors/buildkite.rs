//! Buildkite: 201 for a build, and a limit that tells the seconds to wait in `RateLimit-Reset`, never in `Retry-After`.

use super::{QUICK, Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;

fn buildkite(seen: &Seen) -> Answer {
    assert_eq!(seen.header("authorization"), "Bearer bk-secret");
    assert!(seen.target.starts_with("/v2/organizations/acme/pipelines/"), "{}", seen.target);
    match seen.event.as_str() {
        "branchless" => json(422, r#"{"message":"Validation Failed","errors":[{"field":"branch"}]}"#),
        "unknown" => json(404, r#"{"message":"No pipeline found"}"#),
        "forbidden" => json(403, r#"{"message":"Forbidden"}"#),
        "limited" => {
            json(429, r#"{"message":"You have exceeded your API rate limit. Please wait 42 seconds","reset":42}"#)
                .header("ratelimit-scope", "rest")
                .header("ratelimit-remaining", "80")
                .header("ratelimit-limit", "200")
                .header("ratelimit-reset", "42")
                .header("ratelimit-user-remaining", "0")
        }
        "revoked" => json(401, r#"{"message":"Authentication required"}"#),
        _ => json(201, r#"{"id":"1","number":1,"state":"scheduled"}"#),
    }
}

fn resources(url: &str) -> String {
    let destination = |name: &str| {
        format!(
            "---
kind: destination
name: {name}
connection: buildkite
endpoint: \"/pipelines/{{pipeline}}/builds\"
{QUICK}
"
        )
    };
    let target = "  path: {pipeline: $.id}\n  body: {json: {commit: HEAD, branch: main, message: \"Order ${$.id}\"}}";
    format!(
        "kind: connection
name: buildkite
url: {url}/v2/organizations/acme
auth: {{bearer: bk-secret}}
allow_networks: [127.0.0.0/8]
"
    ) + &["build", "build-limited", "build-revoked"].map(|name| destination(name) + &rule(name, target)).concat()
}

#[test]
fn buildkite_says_when_its_limit_ends() {
    let vendor = Vendor::start("buildkite", buildkite, resources);
    vendor.ends(
        "build/main: 201 → delivered
         build/branchless: 422 DELIVER_STATUS → dead_lettered
         build/unknown: 404 DELIVER_STATUS → dead_lettered
         build/forbidden: 403 DELIVER_STATUS → dead_lettered
         build-limited/limited: 429 DELIVER_STATUS → handed_off",
    );
    let (record, seconds) = vendor.waits("limited");
    assert!((42..=43).contains(&seconds), "{seconds} s");
    assert_eq!((record.header("tidegate-class"), record.header("tidegate-http-status")), ("overload", "429"));
    assert!(vendor.dead_letter("branchless").header("tidegate-response").contains("Validation Failed"));
    vendor.stops("build-revoked", "revoked", "build-revoked", "DELIVER_STATUS", 1);
}
