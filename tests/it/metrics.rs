//! What `/metrics` and its siblings say of a replica under traffic, failures and a limiter.

use crate::support::{Answer, Bed, Replica, events, eventually, lint};
use std::collections::BTreeSet;
use std::time::Duration;
use tidegate::telemetry::metrics::contract;
use tidegate::telemetry::state::State;

fn order(number: u32) -> events::Message {
    events::structured(&format!("e{number}"), "order.paid", "{\"total\":1}")
}

/// 40 events that are taken, 3 that are refused, 2 that fail once, one that no rule wants, one that is no event; a
/// second destination that nobody reaches, and a connection that needs a token.
fn traffic() -> Bed {
    let bed = Bed::new("metrics", 3, |seen| match seen.event.as_str() {
        "e1" | "e2" | "e3" => Answer::status(422),
        "e4" | "e5" if seen.attempt == 1 => Answer::status(500),
        _ => Answer::ok(),
    });
    let usual = bed.source_and_connection("");
    bed.resources(
        "metrics.yaml",
        &format!(
            "{usual}
---
kind: connection
name: crm
url: http://127.0.0.1:9
allow_networks: [127.0.0.0/8]
auth: {{oauth2: {{token_endpoint: /token, client_id: us, client_secret: \"${{env:NO_SUCH:-secret-of-the-test}}\"}}}}
---
kind: destination
name: sink
connection: api
endpoint: /in
rate_limit: 40/s
---
kind: destination
name: crm
connection: crm
endpoint: /in
---
kind: rule
name: paid
from: orders
pattern: {{type: order.paid}}
targets:
- {{name: sink, destination: sink, headers: {{x-event: $.id}}}}
---
kind: rule
name: vip
from: orders
pattern: {{type: order.vip}}
targets:
- {{name: crm, destination: crm}}
"
        ),
    );
    let all = (1..=45).map(order);
    let others = [
        events::structured("f1", "order.seen", "{}"),
        events::Message::value("{").header("content-type", Some("application/cloudevents+json")),
        events::structured("v1", "order.vip", "{}"),
    ];
    bed.broker.produce(&bed.topic(), all.chain(others).collect::<Vec<_>>());
    bed
}

#[test]
fn every_metric_of_the_contract_is_there_and_clean() {
    let bed = traffic();
    let replica = bed.replica("a");
    bed.api.wait_until("42 delivered", Duration::from_secs(60), |log| log.delivered() == 42);
    let scrape = || {
        let (status, head, text) = replica.get("/metrics");
        assert!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
        lint::read(&text)
    };
    eventually("all of it is counted", Duration::from_secs(30), || {
        let (families, _) = scrape();
        let dead = families["tidegate_dead_letters_total"].sum(&[]);
        let crm = families["tidegate_destination_waiting"].sum(&[("destination", "crm")]);
        let queued = families["tidegate_hand_offs_total"].sum(&[("tier", "queue"), ("destination", "crm")]);
        let failing = families["tidegate_connection_token_failures_total"].sum(&[("connection", "crm")]);
        // The delivery that waits for a token has gone to the queue of its destination, and waits at its head.
        (dead >= 4.0 && queued >= 1.0 && crm >= 1.0 && failing >= 1.0)
            .then_some(())
            .ok_or(format!("{dead} dead, {queued} queued, {crm} waiting, {failing} failures"))
    });
    let (families, faults) = scrape();
    assert_eq!(faults, Vec::<String>::new());

    let promised: BTreeSet<&str> = contract::all().map(|metric| metric.prometheus).collect();
    let shown: BTreeSet<&str> = families.keys().map(String::as_str).collect();
    assert_eq!(shown, promised);
    for metric in contract::all() {
        let family = &families[metric.prometheus];
        assert_eq!(
            (family.kind.as_str(), family.help.as_str()),
            (metric.kind().as_str(), metric.help),
            "{}",
            metric.name
        );
        let allowed: BTreeSet<String> = metric.labels.iter().map(|label| label.replace('.', "_")).collect();
        for (_, labels, _) in &family.series {
            let beyond: Vec<_> = labels.keys().filter(|label| *label != "le" && !allowed.contains(*label)).collect();
            assert!(beyond.is_empty(), "{}: {beyond:?}", metric.name);
        }
    }

    let sum = |name: &str, labels: &[(&str, &str)]| families[name].sum(labels);
    assert_eq!(sum("messaging_client_consumed_messages_total", &[("source", "orders")]), 48.0);
    assert_eq!(sum("tidegate_events_total", &[("outcome", "matched")]), 46.0);
    assert_eq!(sum("tidegate_events_total", &[("outcome", "filtered")]), 1.0);
    assert_eq!(sum("tidegate_events_total", &[("outcome", "undecodable")]), 1.0);
    assert_eq!(sum("tidegate_deliveries_total", &[("settlement", "delivered"), ("target", "sink")]), 42.0);
    assert_eq!(sum("tidegate_attempts_total", &[("class", "success")]), 42.0);
    assert_eq!(sum("tidegate_attempts_total", &[("class", "reject"), ("status", "422"), ("rule", "paid")]), 3.0);
    assert_eq!(sum("tidegate_attempts_total", &[("class", "transient"), ("status", "500")]), 2.0);
    assert_eq!(sum("tidegate_dead_letters_total", &[("class", "reject"), ("destination", "sink")]), 3.0);
    let requests = &families["http_client_request_duration_seconds"];
    let count =
        requests.series.iter().find(|(name, labels, _)| name.ends_with("_count") && labels["destination"] == "sink");
    assert_eq!(count.expect("a count").2, 47.0);
    assert!(sum("tidegate_destination_wait_time_seconds_total", &[("destination", "sink"), ("reason", "rate")]) > 0.3);
    assert_eq!(sum("tidegate_destination_held", &[("destination", "crm"), ("reason", "token")]), 1.0);
    assert_eq!(sum("tidegate_connection_token_state", &[("state", "failing")]), 1.0);
    assert_eq!(sum("tidegate_destination_waiting", &[("destination", "crm")]), 1.0);
    assert_eq!(sum("tidegate_slots_owned", &[]), 32.0);
    assert_eq!(sum("tidegate_ready", &[]), 1.0);

    the_state_says_the_same(&replica);
    the_server_answers_what_it_should(&replica);
}

fn the_state_says_the_same(replica: &Replica) {
    let (status, _, body) = replica.get("/state");
    assert_eq!(status, 200);
    assert!(!body.contains("secret-of-the-test"), "{body}");
    let state: State = serde_json::from_str(&body).expect("the state");
    assert_eq!((state.totals.received, state.totals.delivered, state.totals.pending()), (48, 42, 1));
    let crm = state.destinations.iter().find(|destination| destination.name == "crm").expect("crm");
    let held = crm.held.as_ref().expect("a hold");
    assert!(held.reason == "token" && held.what_to_do.contains("`auth`"), "{held:?}");
    let sink = state.destinations.iter().find(|destination| destination.name == "sink").expect("sink");
    assert_eq!(
        (sink.rate_limits.as_slice(), sink.share, sink.breaker.as_str()),
        (&["40/s".to_owned()][..], 33, "closed")
    );
    let orders = state.intakes.iter().find(|intake| intake.name == "orders").expect("the source");
    assert!(orders.partitions.len() == 3 && orders.commits > 0, "{orders:?}");
    // A lane says where it stands ten times a second.
    eventually("one delivery is open", Duration::from_secs(10), || {
        let state: State = serde_json::from_str(&replica.get("/state").2).expect("the state");
        let lanes = state.intakes.iter().flat_map(|intake| &intake.partitions).filter_map(|at| at.lane.as_ref());
        let open: u64 = lanes.map(|lane| lane.open).sum();
        (open == 1).then_some(()).ok_or(format!("{open} open"))
    });
    // Another program that knows other keys reads it too.
    let known: State = serde_json::from_str(r#"{"version":"9","new":{"key":1}}"#).expect("an unknown key is left out");
    assert_eq!(known.version, "9");
}

fn the_server_answers_what_it_should(replica: &Replica) {
    assert_eq!(replica.get("/livez").0, 200);
    assert_eq!(replica.get("/readyz").2, r#"{"ready":true,"missing":[]}"#);
    let (_, _, version) = replica.get("/version");
    assert!(version.contains("\"librdkafka\":\"2.") && version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let (status, _, body) = replica.get("/metric");
    assert!(status == 404 && body.contains("/metrics"), "{body}");
    let (status, head, body) = replica.ask("DELETE", "/state");
    assert!(
        status == 405 && head.contains("allow: get") && body.contains("DELETE") && body.contains("/readyz"),
        "{body}"
    );
}
