//! Freshdesk: no idempotency key there, so what may have been taken is not sent again.

use super::{Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;
use std::time::Duration;

fn freshdesk(seen: &Seen) -> Answer {
    assert_eq!(seen.header("authorization"), "Basic a2V5OlgxMjM=");
    match (seen.event.as_str(), seen.attempt) {
        ("invalid", _) => {
            json(400, r#"{"description":"Validation failed","errors":[{"field":"status","code":"invalid_value"}]}"#)
        }
        ("twice", _) => json(409, r#"{"description":"Validation failed","errors":[{"code":"duplicate_value"}]}"#),
        ("limited", 1) => json(429, r#"{"message":"You have exceeded the limit of requests per hour"}"#)
            .header("retry-after", "1")
            .header("x-ratelimit-total", "100")
            .header("x-ratelimit-remaining", "0"),
        ("hiccup", 1) => json(500, "{}"),
        ("silent", _) => Answer::hang(),
        ("slow", _) => json(201, "{}").after(Duration::from_secs(30)),
        ("cut", _) => Answer::reset(),
        _ => json(201, r#"{"id":1,"status":2,"priority":1}"#),
    }
}

fn resources(url: &str) -> String {
    format!(
        "kind: connection
name: freshdesk
url: {url}/api/v2
auth: {{basic: {{username: key, password: X123}}}}
allow_networks: [127.0.0.0/8]
---
kind: destination
name: ticket
connection: freshdesk
endpoint: /tickets
timeout: 1s
retry: {{max_age: 1h, max_attempts: 3, delay: [50ms, 100ms]}}
responses:
- {{when: {{error: [no_answer]}}, outcome: reject}}
- {{when: {{status: [409]}}, outcome: reject}}
{}",
        rule("ticket", "  body: {json: {email: ada@example.test, subject: \"Order ${$.id}\", status: 2, priority: 1}}")
    )
}

#[test]
fn freshdesk_is_not_asked_twice_without_an_answer() {
    let vendor = Vendor::start("freshdesk", freshdesk, resources);
    vendor.ends(
        "ticket/first: 201 → delivered
         ticket/invalid: 400 DELIVER_STATUS → dead_lettered
         ticket/twice: 409 RESPONSE_REJECTED → dead_lettered
         ticket/limited: 429 DELIVER_STATUS, 201 → delivered
         ticket/hiccup: 500 DELIVER_STATUS, 201 → delivered
         ticket/silent: - RESPONSE_REJECTED → dead_lettered
         ticket/slow: - RESPONSE_REJECTED → dead_lettered
         ticket/cut: - RESPONSE_REJECTED → dead_lettered",
    );
    let message = vendor.dead_letter("silent").header("tidegate-message").to_owned();
    assert!(message.contains("no answer came within 1 s") && message.contains("say reject"), "{message}");
}
