//! DingTalk: a robot that answers 200 to everything, checks the signature in the query, allows 20 messages a minute, and
//! stands behind a gateway with answers of its own.

use super::{Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use tidegate::model::clock::WallMs;

const SECRET: &str = "SEC-of-the-robot";

/// The query, decoded.
fn query(target: &str) -> HashMap<String, String> {
    let items = target.split_once('?').map_or("", |(_, query)| query).split('&');
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    items.filter_map(|item| item.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Whether the signature is right and not older than an hour.
fn is_signed(query: &HashMap<String, String>) -> bool {
    let Some((timestamp, sign)) = query.get("timestamp").zip(query.get("sign")) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let right = STANDARD.encode(hmac::sign(&key, format!("{timestamp}\n{SECRET}").as_bytes()));
    let age = WallMs::now().0 - timestamp.parse::<i64>().unwrap_or(0);
    *sign == right && age.abs() < 3_600_000
}

fn dingtalk(seen: &Seen) -> Answer {
    let query = query(&seen.target);
    assert_eq!(query.get("access_token").map(String::as_str), Some("robot-token"));
    let code = |code: i64, message: &str| json(200, &format!(r#"{{"errcode":{code},"errmsg":"{message}"}}"#));
    if !is_signed(&query) {
        return code(310_000, "sign not match");
    }
    match (seen.event.as_str(), seen.attempt) {
        ("keyword", _) => code(310_000, "keywords not in content"),
        ("system", 1) => code(-1, "system error"),
        ("gateway", 1) => json(200, r#"{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"u"}"#),
        ("fast", _) => code(130_101, "send too fast, exceed 20 times per minute"),
        ("disbanded", _) => code(400_102, "robot is stopped"),
        _ => code(0, "ok"),
    }
}

fn resources(url: &str) -> String {
    let robot = |name: &str| {
        format!(
            "---
kind: destination
name: {name}
connection: dingtalk
endpoint: /robot/send
retry: {{max_age: 1h, max_attempts: 3, delay: [50ms, 100ms]}}
"
        )
    };
    let target = "  body: {json: {msgtype: text, text: {content: \"Payment ${$.data.id} failed\"}}}";
    format!(
        "kind: connection
name: dingtalk
url: {url}
query: {{access_token: robot-token}}
sign: {{dingtalk: {{secret: {SECRET}}}}}
rate_limit: 20/min
allow_networks: [127.0.0.0/8]
responses:
- {{when: {{body: {{errcode: [0]}}}}, outcome: success}}
- {{when: {{body: {{errcode: [130101, 410100]}}}}, outcome: throttled, wait: 10m}}
- {{when: {{body: {{errcode: [310000]}}}}, outcome: reject}}
- {{when: {{body: {{errcode: [300001, 300005, 400101, 400102, 400106, 400013]}}}}, outcome: gone}}
"
    ) + &["say", "say-fast", "say-gone"].map(|name| robot(name) + &rule(name, target)).concat()
}

#[test]
fn dingtalk_tells_the_truth_in_the_body() {
    let vendor = Vendor::start("dingtalk", dingtalk, resources);
    vendor.ends(
        "say/paid: 200 → delivered
         say/keyword: 200 RESPONSE_REJECTED → dead_lettered
         say/system: 200 RESPONSE_UNRECOGNISED, 200 → delivered
         say/gateway: 200 RESPONSE_UNRECOGNISED, 200 → delivered
         say-fast/fast: 200 RESPONSE_THROTTLED → handed_off",
    );
    let (record, seconds) = vendor.waits("fast");
    assert!((600..=601).contains(&seconds), "{seconds} s");
    assert_eq!(record.header("tidegate-code"), "RESPONSE_THROTTLED");
    assert!(vendor.dead_letter("keyword").header("tidegate-response").contains("keywords not in content"));
    vendor.stops("say-gone", "disbanded", "say-gone", "RESPONSE_GONE", 1);
    // The signature is made anew for each attempt.
    let signs = vendor.bed.api.log(|log| {
        let of = log.requests.iter().filter(|seen| seen.event == "system");
        of.map(|seen| query(&seen.target)["timestamp"].clone()).collect::<Vec<_>>()
    });
    assert!(signs.len() == 2 && signs[0] < signs[1], "{signs:?}");
}
