//! Elasticsearch: documents are created under the event's id, so that what is there already was delivered before.

use super::{QUICK, Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;

fn elasticsearch(seen: &Seen) -> Answer {
    assert_eq!(seen.method, "PUT");
    assert_eq!(seen.target, format!("/orders/_create/{}", seen.event));
    assert_eq!(seen.header("authorization"), "ApiKey a2V5");
    let failed =
        |status: u16, kind: &str| json(status, &format!(r#"{{"error":{{"type":"{kind}"}},"status":{status}}}"#));
    match (seen.event.as_str(), seen.attempt) {
        ("there", _) => failed(409, "version_conflict_engine_exception"),
        ("busy", 1) => failed(429, "es_rejected_execution_exception"),
        ("huge", _) => failed(413, "content_too_long"),
        ("wrong", _) => failed(400, "document_parsing_exception"),
        ("nowhere", _) => failed(404, "index_not_found_exception"),
        ("gateway", 1) => Answer::status(502).header("content-type", "text/html").body("<h1>502 Bad Gateway</h1>"),
        ("starting", 1) => Answer::status(503).header("content-length", "0").body(""),
        ("lost", 1) => Answer::reset(),
        // The first one was taken, though its answer was lost.
        ("lost", _) => failed(409, "version_conflict_engine_exception"),
        _ => json(201, r#"{"result":"created"}"#),
    }
}

fn resources(url: &str) -> String {
    format!(
        "kind: connection
name: elastic
url: {url}
headers: {{Authorization: ApiKey a2V5}}
allow_networks: [127.0.0.0/8]
---
kind: destination
name: index
connection: elastic
method: PUT
endpoint: /orders/_create/{{id}}
{QUICK}
responses:
- {{when: {{status: [409]}}, outcome: duplicate}}
{}",
        rule("index", "  path: {id: $.id}\n  body: $.data")
    )
}

#[test]
fn elasticsearch_has_it_already() {
    let vendor = Vendor::start("elasticsearch", elasticsearch, resources);
    vendor.ends(
        "index/new: 201 → delivered
         index/there: 409 → delivered
         index/busy: 429 DELIVER_STATUS, 201 → delivered
         index/huge: 413 DELIVER_STATUS → dead_lettered
         index/wrong: 400 DELIVER_STATUS → dead_lettered
         index/nowhere: 404 DELIVER_STATUS → dead_lettered
         index/gateway: 502 DELIVER_STATUS, 201 → delivered
         index/starting: 503 DELIVER_STATUS, 201 → delivered
         index/lost: - DELIVER_RESET, 409 → delivered",
    );
    let keys = vendor.bed.api.log(|log| {
        let lost = log.requests.iter().filter(|seen| seen.event == "lost");
        lost.map(|seen| seen.idempotency_key().to_owned()).collect::<Vec<_>>()
    });
    assert!(keys.len() == 2 && keys[0] == keys[1] && !keys[0].is_empty(), "{keys:?}");
}
