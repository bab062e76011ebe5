//! Slack: an incoming webhook that answers in plain words, and the web API that says `ok` or not in a 200.

use super::{QUICK, Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;

fn slack(seen: &Seen) -> Answer {
    let text =
        |status: u16, body: &str| Answer::status(status).header("content-type", "text/html").body(body.to_owned());
    if seen.target.starts_with("/services/") {
        return match (seen.event.as_str(), seen.attempt) {
            ("broken", _) => text(400, "invalid_payload"),
            ("fast", 1) => text(429, "rate_limited").header("retry-after", "1"),
            ("rollup", 1) => text(500, "rollup_error"),
            ("sso", _) => text(200, "<html><title>Sign in</title></html>"),
            ("closed", _) => text(404, "no_service"),
            ("forbidden", _) => text(403, "invalid_token"),
            _ => text(200, "ok"),
        };
    }
    assert_eq!(seen.header("authorization"), "Bearer xoxb-secret");
    match (seen.event.as_str(), seen.attempt) {
        ("no-channel", _) => json(200, r#"{"ok":false,"error":"channel_not_found"}"#),
        ("internal", 1) => json(200, r#"{"ok":false,"error":"internal_error"}"#),
        ("limited", 1) => json(429, r#"{"ok":false,"error":"ratelimited"}"#).header("retry-after", "1"),
        ("revoked", _) => json(200, r#"{"ok":false,"error":"token_revoked"}"#),
        _ => json(200, r#"{"ok":true,"ts":"1.2"}"#),
    }
}

fn resources(url: &str) -> String {
    let webhook = |name: &str| {
        format!("---\n{{kind: destination, name: {name}, connection: hooks, endpoint: /T000/B000/XXXX, {QUICK}}}\n")
    };
    let api = |name: &str| {
        format!("---\n{{kind: destination, name: {name}, connection: web-api, endpoint: /chat.postMessage, {QUICK}}}\n")
    };
    format!(
        "kind: connection
name: hooks
url: {url}/services
allow_networks: [127.0.0.0/8]
responses:
- {{when: {{status: [200], body: [ok]}}, outcome: success}}
- {{when: {{body: [channel_not_found, no_service, no_active_hooks, no_team]}}, outcome: gone}}
---
kind: connection
name: web-api
url: {url}/api
auth: {{bearer: xoxb-secret}}
allow_networks: [127.0.0.0/8]
responses:
- {{when: {{body: {{ok: [true]}}}}, outcome: success}}
- {{when: {{body: {{error: [invalid_auth, token_revoked]}}}}, outcome: auth_expired}}
- {{when: {{body: {{error: [internal_error, fatal_error, service_unavailable, request_timeout]}}}}, outcome: retry}}
- {{when: {{status: [200], body: {{ok: [false]}}}}, outcome: reject}}
"
    ) + &["hook", "hook-gone", "hook-forbidden"].map(|name| webhook(name) + &rule(name, "")).concat()
        + &["chat", "chat-revoked"].map(|name| api(name) + &rule(name, "")).concat()
}

#[test]
fn slack_refuses_in_words_and_in_a_200() {
    let vendor = Vendor::start("slack", slack, resources);
    vendor.ends(
        "hook/fine: 200 → delivered
         hook/broken: 400 DELIVER_STATUS → dead_lettered
         hook/fast: 429 DELIVER_STATUS, 200 → delivered
         hook/rollup: 500 DELIVER_STATUS, 200 → delivered
         hook/sso: 200 RESPONSE_UNRECOGNISED, 200 RESPONSE_UNRECOGNISED, 200 RESPONSE_UNRECOGNISED → dead_lettered
         chat/said: 200 → delivered
         chat/no-channel: 200 RESPONSE_REJECTED → dead_lettered
         chat/internal: 200 RESPONSE_RETRY, 200 → delivered
         chat/limited: 429 DELIVER_STATUS, 200 → delivered",
    );
    let letter = vendor.dead_letter("no-channel");
    assert_eq!(letter.header("tidegate-code"), "RESPONSE_REJECTED");
    assert_eq!(letter.header("tidegate-http-status"), "200");
    let message = letter.header("tidegate-message");
    assert!(message.contains("vendor.yaml:") && message.ends_with("say reject"), "{message}");
    assert!(letter.header("tidegate-response").contains("channel_not_found"));
    let letter = vendor.dead_letter("sso");
    assert_eq!(letter.header("tidegate-exhausted"), "max_attempts");
    assert_eq!(letter.header("tidegate-code"), "RESPONSE_UNRECOGNISED");
    assert_eq!(letter.header("tidegate-response"), "Sign in", "what the page says");
    let message = letter.header("tidegate-message");
    assert!(message.contains("which no entry of `responses` knows: `body` is \"<html>"), "{message}");
    assert!(message.contains("; the pattern wants \"ok\" ("), "{message}");

    vendor.stops("hook-gone", "closed", "hook-gone", "RESPONSE_GONE", 1);
    vendor.stops("hook-forbidden", "forbidden", "hook-forbidden", "DELIVER_STATUS", 1);
    vendor.stops("chat-revoked", "revoked", "chat-revoked", "RESPONSE_AUTH_EXPIRED", 1);
}
