//! What stands between us and any vendor: packed answers that nobody asked for, pages in HTML, redirects, answers
//! without a body, answers that take too long.

use super::{QUICK, Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::time::Duration;

fn gateway(seen: &Seen) -> Answer {
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("packed");
        encoder.finish().expect("packed")
    };
    let page = "<html><head><title>504 Gateway Time-out</title></head><body><center>nginx</center></body></html>";
    match (seen.event.as_str(), seen.attempt) {
        ("packed", _) => json(200, "").header("content-encoding", "gzip").body(gzip(r#"{"done":true}"#)),
        ("packed-no", _) => {
            json(200, "").header("content-encoding", "gzip").body(gzip(r#"{"done":false,"why":"closed"}"#))
        }
        ("page", 1) => Answer::status(504).header("content-type", "text/html").body(page),
        ("late", 1) => json(200, r#"{"done":true}"#).after(Duration::from_secs(30)),
        ("accepted", _) => Answer::status(202).body(""),
        ("empty", _) => Answer::status(204).body(""),
        ("deleted", _) => Answer::status(404).body("no such order"),
        ("moved", _) => Answer::status(308).header("location", "https://new.example/in?token=1").body(""),
        _ => json(200, r#"{"done":true}"#),
    }
}

fn resources(url: &str) -> String {
    let destination = |name: &str, rest: &str| {
        format!("---\nkind: destination\nname: {name}\nconnection: api\nendpoint: /in\ntimeout: 1s\n{QUICK}\n{rest}\n")
    };
    let done = "responses:
- {when: {body: {done: [true]}}, outcome: success}
- {when: {body: {done: [false]}}, outcome: reject}";
    let deleted = "method: DELETE\nresponses: [{when: {status: [404]}, outcome: duplicate}]";
    format!("kind: connection\nname: api\nurl: {url}\nallow_networks: [127.0.0.0/8]\n")
        + &destination("strict", done)
        + &rule("strict", "")
        + &destination("plain", "")
        + &rule("plain", "")
        + &destination("moved", "")
        + &rule("moved", "")
        + &destination("delete", deleted)
        + &rule("delete", "")
}

#[test]
fn gateways_between_us_and_the_vendor() {
    let vendor = Vendor::start("gateways", gateway, resources);
    vendor.ends(
        "strict/packed: 200 → delivered
         strict/packed-no: 200 RESPONSE_REJECTED → dead_lettered
         strict/page: 504 DELIVER_STATUS, 200 → delivered
         strict/late: - DELIVER_TIMEOUT, 200 → delivered
         plain/accepted: 202 → delivered
         plain/empty: 204 → delivered
         delete/deleted: 404 → delivered",
    );
    assert!(vendor.dead_letter("packed-no").header("tidegate-response").contains("closed"));
    vendor.stops("moved", "moved", "moved", "https://new.example/in if that is the right place", 1);
}
