//! What leaves by OTLP: spans with the right parents, links and attributes; and that a collector which is missing or
//! mad changes nothing.

use crate::support::bed::SOURCE;
use crate::support::collector::{attributes, text};
use crate::support::events::{Message, binary, structured};
use crate::support::{Answer, Bed, Collector, Replica};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The trace that an event's producer began; `tail` tells the traces apart.
fn traceparent(tail: char, flags: &str) -> String {
    format!("00-0af7651916cd43dd8448eb211c80319{tail}-b7ad6b716920333{tail}-{flags}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `traceparent` that names this span.
fn context(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

fn attribute(span: &Span, key: &str) -> String {
    attributes(&span.attributes).get(key).cloned().unwrap_or_default()
}

/// The spans of an event: those of its processing, and for each its attempts, in order of time.
fn tree(spans: &[Span], event: &str) -> Vec<(Span, Vec<Span>)> {
    let by_start = |mut found: Vec<Span>| {
        found.sort_by_key(|span| span.start_time_unix_nano);
        found
    };
    let consumed = spans.iter().filter(|span| attribute(span, "cloudevents.event_id") == event).cloned();
    let attempts = |parent: &Span| {
        let children = spans.iter().filter(|span| span.parent_span_id == parent.span_id);
        by_start(children.cloned().collect())
    };
    by_start(consumed.collect()).into_iter().map(|span| (span.clone(), attempts(&span))).collect()
}

fn extended(id: &str, traceparent: &str) -> Message {
    let mut message = structured(id, "order.paid", "{}");
    let value = String::from_utf8(message.value.take().unwrap()).unwrap();
    let with = format!(r#","traceparent":"{traceparent}","tracestate":"vendor=2"}}"#);
    message.value = Some(format!("{}{with}", value.strip_suffix('}').unwrap()).into_bytes());
    message
}

/// The usual resources with a strict source and a rule that writes its own `traceparent`.
fn resources(bed: &Bed) {
    bed.resources(
        "all.yaml",
        &format!(
            "{}
---
{{kind: destination, name: sink, connection: api, endpoint: '/in/{{id}}?q=secret'}}
---
kind: rule
name: all
from: {SOURCE}
pattern: {{type: order.paid}}
targets:
- {{name: sink, destination: sink, path: {{id: $.id}}, headers: {{x-event: $.id}}}}
---
kind: rule
name: own
from: {SOURCE}
pattern: {{type: own}}
targets:
- {{name: sink, destination: sink, path: {{id: $.id}}, headers: {{x-event: $.id, traceparent: {}}}}}
",
            bed.source_and_connection(", strict: true"),
            traceparent('d', "00")
        ),
    );
}

fn script(event: &str, attempt: u32) -> Answer {
    match (event, attempt) {
        ("retried", 1) | ("tier", 1..=3) => Answer::status(500),
        ("dead", _) => Answer::status(422),
        _ => Answer::ok(),
    }
}

#[test]
fn spans_have_the_right_parents_links_and_attributes() {
    let bed = Bed::new("spans", 1, |seen| script(&seen.event, seen.attempt));
    let collector = Collector::start();
    let key = "[telemetry.otlp_headers]\nauthorization = \"Bearer 7%41key\"";
    bed.settings(&collector.settings(&format!("service_name = \"gate\"\n{key}")));
    resources(&bed);
    let replica = bed.replica("a");
    let header = |id: &str, traceparent: &str| {
        binary(id, "order.paid", "{}").header("traceparent", Some(traceparent)).header("tracestate", Some("vendor=1"))
    };
    bed.broker.produce(
        &bed.topic(),
        [
            header("header", &traceparent('a', "01")),
            extended("extension", &traceparent('b', "01")),
            structured("root", "order.paid", "{}"),
            header("invalid", "00-nonsense-01"),
            header("unsampled", &traceparent('c', "00")),
            structured("own", "own", "{}"),
            structured("unwanted", "other", "{}"),
            Message::value("no event").header("traceparent", Some(&traceparent('e', "01"))),
            structured("retried", "order.paid", "{}"),
            structured("dead", "order.paid", "{}"),
            structured("tier", "order.paid", "{}"),
        ],
    );
    bed.api.wait_until("delivered from the tier", SOON, |log| log.has("tier") && log.has("retried"));
    bed.wait_all_committed(SOON);
    assert!(replica.stop(SOON).success(), "it leaves in good order, with the last spans flushed");
    let spans = collector.spans();
    let of = |event: &str| tree(&spans, event);
    let requests = |event: &str| -> Vec<(String, String)> {
        let mine = |log: &crate::support::Log| {
            let mine = log.requests.iter().filter(|seen| seen.event == event);
            mine.map(|seen| (seen.header("traceparent").to_owned(), seen.header("tracestate").to_owned())).collect()
        };
        bed.api.log(mine)
    };

    // The context of the header, or of the extension; the request carries that of the attempt.
    for (event, tail, state) in [("header", 'a', "vendor=1"), ("extension", 'b', "vendor=2")] {
        let [(consumed, attempts)] = &of(event)[..] else { panic!("{event}: {:#?}", of(event)) };
        let incoming = traceparent(tail, "01");
        assert_eq!(hex(&consumed.trace_id), incoming[3..35], "{event}");
        assert_eq!(hex(&consumed.parent_span_id), incoming[36..52], "{event}");
        assert_eq!((consumed.kind(), consumed.trace_state.as_str()), (SpanKind::Consumer, state));
        assert_eq!(attempts.len(), 1);
        assert_eq!(requests(event), [(context(&attempts[0]), state.to_owned())]);
    }
    // What is invalid counts as absent.
    for event in ["root", "invalid"] {
        let [(consumed, attempts)] = &of(event)[..] else { panic!("{event}: {:#?}", of(event)) };
        assert!(consumed.parent_span_id.is_empty(), "{event}: {consumed:?}");
        assert_eq!((consumed.trace_id.len(), consumed.span_id.len()), (16, 8));
        assert_eq!(requests(event), [(context(&attempts[0]), String::new())]);
    }
    // Not sampled: no span, and the context goes on unchanged.
    assert!(of("unsampled").is_empty());
    assert_eq!(requests("unsampled"), [(traceparent('c', "00"), "vendor=1".to_owned())]);
    // The rule's own header wins.
    assert_eq!((of("own").len(), requests("own")), (1, vec![(traceparent('d', "00"), String::new())]));

    // Attributes.
    let [(consumed, attempts)] = &of("header")[..] else { panic!() };
    assert_eq!(consumed.name, format!("process {}", bed.topic()));
    let expected = [
        ("messaging.system", "kafka".to_owned()),
        ("messaging.operation.name", "process".to_owned()),
        ("messaging.operation.type", "process".to_owned()),
        ("messaging.destination.name", bed.topic()),
        ("messaging.destination.partition.id", "0".to_owned()),
        ("messaging.kafka.offset", "0".to_owned()),
        ("messaging.consumer.group.name", bed.group()),
        ("cloudevents.event_id", "header".to_owned()),
        ("cloudevents.event_source", "/test".to_owned()),
        ("cloudevents.event_type", "order.paid".to_owned()),
    ];
    assert_eq!(attributes(&consumed.attributes), expected.map(|(key, value)| (key.to_owned(), value)).into());
    let attempt = &attempts[0];
    assert_eq!((attempt.name.as_str(), attempt.kind()), ("POST /in/{id}", SpanKind::Client));
    let sent = |log: &crate::support::Log| log.requests.iter().find(|seen| seen.event == "header").cloned();
    let delivery_id = bed.api.log(sent).unwrap().idempotency_key().to_owned();
    let url = bed.api.url();
    let expected = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("server.port", url.rsplit(':').next().unwrap()),
        ("url.template", "/in/{id}"),
        ("tidegate.rule", "all"),
        ("tidegate.target", "sink"),
        ("tidegate.destination", "sink"),
        ("tidegate.delivery_id", &delivery_id),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(attributes(&attempt.attributes), expected);
    assert!(consumed.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano <= consumed.end_time_unix_nano);

    // Unwanted and undecodable.
    assert_eq!(attribute(&of("unwanted")[0].0, "tidegate.outcome"), "filtered");
    let undecodable: Vec<&Span> =
        spans.iter().filter(|span| hex(&span.trace_id) == traceparent('e', "01")[3..35]).collect();
    assert_eq!(undecodable.len(), 1);
    assert!(attribute(undecodable[0], "error.type").starts_with("DECODE_"), "{:?}", undecodable[0]);

    // A retry from memory is another attempt of the same event.
    let [(_, attempts)] = &of("retried")[..] else { panic!("{:#?}", of("retried")) };
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].status.as_ref().unwrap().code, 2);
    assert_eq!(attribute(&attempts[0], "http.response.status_code"), "500");
    assert_eq!(attribute(&attempts[0], "error.type"), "DELIVER_STATUS");
    assert_eq!(attempts[0].events[0].name, "retry");
    assert_eq!(attribute(&attempts[1], "http.request.resend_count"), "1");
    assert_eq!(
        requests("retried").iter().map(|(parent, _)| parent.clone()).collect::<Vec<_>>(),
        [context(&attempts[0]), context(&attempts[1])]
    );

    // From the tier: the same trace, and a link to the attempt before it.
    let [(first, before), (again, after)] = &of("tier")[..] else { panic!("{:#?}", of("tier")) };
    assert_eq!((before.len(), after.len()), (3, 1));
    assert_eq!(first.trace_id, again.trace_id);
    assert_eq!(before[2].events[0].name, "hand_off");
    let links: Vec<&[u8]> = again.links.iter().map(|link| &link.span_id[..]).collect();
    assert_eq!(links, [&before[2].span_id[..]]);
    assert_eq!(attribute(again, "messaging.destination.name"), bed.own_topic("retry.10s"));
    assert_eq!(attribute(again, "tidegate.origin"), format!("{}:0:10", bed.topic()));
    assert_eq!(attribute(&after[0], "http.request.resend_count"), "3");

    // A dead letter: the event has failed, and the record names the last attempt.
    let [(consumed, attempts)] = &of("dead")[..] else { panic!("{:#?}", of("dead")) };
    assert_eq!(consumed.status.as_ref().unwrap().code, 2);
    assert_eq!(attribute(consumed, "error.type"), "DELIVER_STATUS");
    assert_eq!(attempts[0].events[0].name, "dead_letter");
    let letters = bed.broker.read_all(&bed.own_topic("dlq"));
    let letter = letters.iter().find(|letter| !letter.header("tidegate-rule").is_empty()).unwrap();
    assert_eq!(letter.header("tidegate-traceparent"), context(&attempts[0]));

    // The log goes there, too.
    let logs = collector.logs();
    let line = |begin: &str| {
        let found = logs.iter().find(|line| text(line.body.as_ref()).starts_with(begin));
        found.unwrap_or_else(|| panic!("no line `{begin}` in {logs:#?}"))
    };
    let dead = line("dead letter: `sink` answered 422");
    assert_eq!((dead.severity_text.as_str(), &attributes(&dead.attributes)["event"][..]), ("WARN", "dead"));
    assert_eq!(line("ready").severity_text, "INFO");

    // Packed, and with the key, which nobody else sees.
    collector.api.log(|log| {
        for seen in &log.requests {
            assert_eq!((seen.header("authorization"), seen.header("content-encoding")), ("Bearer 7%41key", "gzip"));
        }
    });
    let told = format!("{spans:?} {logs:?} {:?}", collector.resources());
    assert!(!told.contains("7%41key") && !told.contains("7Akey"));

    // And the metrics, the same as at `/metrics`.
    let metrics = collector.metrics();
    assert!(metrics.iter().any(|name| name.starts_with("tidegate")), "{metrics:?}");

    // Who sent it.
    for (path, resource) in collector.resources() {
        assert_eq!(resource["service.name"], "gate", "{path}");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(!resource["service.instance.id"].is_empty());
    }
    let text = format!("{spans:?}");
    assert!(!text.contains("q=secret"), "a query is never shown");
}

const DOWN: &str = "the collector does not take telemetry";
const LATE: &str = "the last telemetry was not taken in time";

/// Delivers so many more orders through a replica.
#[track_caller]
fn deliver(bed: &Bed, delivered: &mut usize, count: usize) {
    let before = *delivered;
    let order = |n: usize| structured(&(before + n).to_string(), "order.paid", "{}");
    bed.broker.produce(&bed.topic(), (0..count).map(order));
    *delivered += count;
    bed.api.wait_until("all delivered", SOON, |log| log.delivered() == before + count);
    bed.api.log(|log| assert_eq!(log.duplicates(), 0));
}

#[test]
fn a_collector_that_is_missing_or_mad_changes_nothing() {
    let bed = Bed::new("collector", 1, |_| Answer::ok());
    bed.usual_resources("");
    let mut delivered = 0;
    type Case = (&'static str, fn() -> Answer);
    let cases: [Case; 4] = [
        ("refuses", || Answer::status(500).body("<html>no</html>")),
        ("resets", Answer::reset),
        ("hangs", Answer::hang),
        ("babbles", || Answer::ok().header("content-type", "text/html").body("\u{1}<html>garbage".repeat(10_000))),
    ];
    for (name, answer) in cases {
        let collector = Collector::with(move |_| answer());
        bed.settings(&collector.settings(""));
        let replica = bed.replica(name);
        deliver(&bed, &mut delivered, 1_000);
        if ["refuses", "resets"].contains(&name) {
            replica.wait_line(DOWN, SOON, |line| line.contains(DOWN));
            // More batches fail, and nothing more is said.
            let requests = collector.api.log(|log| log.requests.len());
            deliver(&bed, &mut delivered, 1_000);
            collector.api.wait_until("further batches", SOON, |log| log.requests.len() > requests + 3);
            assert_eq!(replica.count_lines(|line| line.contains(DOWN)), 1, "{name}");
        }
        stop(replica, name);
    }
}

/// Ends in good order, although the collector has the last batch and does not answer.
#[track_caller]
fn stop(replica: Replica, name: &str) {
    replica.signal("TERM");
    replica.wait_line("stopped", SOON, |line| line.contains(" stopped"));
    let late = replica.count_lines(|line| line.contains(LATE));
    match name {
        "hangs" => assert_eq!(late, 1),
        // It is asked again and again for a while.
        "resets" => assert!(late <= 1),
        _ => assert_eq!(late, 0, "{name}"),
    }
    assert!(replica.stop(SOON).success());
}

#[test]
fn a_collector_that_comes_back_is_told_once() {
    let bed = Bed::new("back", 1, |_| Answer::ok());
    bed.usual_resources("");
    let up = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&up);
    let collector =
        Collector::with(
            move |_| {
                if answers.load(Ordering::Relaxed) { Collector::taken() } else { Answer::status(404) }
            },
        );
    bed.settings(&collector.settings(""));
    let replica = bed.replica("a");
    let mut delivered = 0;
    deliver(&bed, &mut delivered, 100);
    replica.wait_line(DOWN, SOON, |line| line.contains(DOWN) && line.contains("404"));
    let spans_refused = |log: &crate::support::Log| log.requests.iter().any(|seen| seen.target == "/v1/traces");
    collector.api.wait_until("spans refused, too", SOON, spans_refused);
    up.store(true, Ordering::Relaxed);
    deliver(&bed, &mut delivered, 100);
    replica.wait_line("again", SOON, |line| {
        line.contains("the collector takes telemetry again") && line.contains("lost=")
    });
    assert_eq!(replica.count_lines(|line| line.contains(DOWN)), 1);
}
