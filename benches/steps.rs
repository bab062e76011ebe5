//! What the small things cost that every event needs: its copy out of Kafka's buffer, decoding, one rule, a span that is
//! not sampled, the id of a delivery, its place in the commit map; and what some need: the record that waits in a retry
//! tier, and the map that goes with each commit. Reading and rendering are measured in `transform.rs`, many rules in
//! `matching.rs`. `cargo bench --bench steps`.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::hint::black_box;
use std::sync::Arc;
use tidegate::config::{self, Env};
use tidegate::json::document::Document;
use tidegate::model::clock::WallMs;
use tidegate::model::record::{Position, Record};
use tidegate::model::resources::Resources;
use tidegate::model::stored::{Address, StoredHeaders, TIERS, Topics, delivery_id};
use tidegate::model::trace_context::TraceContext;
use tidegate::pattern;
use tidegate::pipeline::commit::{OffsetTracker, Scope};
use tidegate::pipeline::decode::{self, Options};
use tidegate::pipeline::settle::tier_record;
use tidegate::telemetry::spans::{Cause, Source, Spans};

const RESOURCES: &str = "
kind: connection
name: api
url: https://api.example
---
{kind: destination, name: orders, connection: api, endpoint: '/orders/{id}'}
---
kind: rule
name: paid
pattern: {type: order.paid, data: {total: [{numeric: ['>', 100]}]}}
targets:
- name: order
  destination: orders
  path: {id: $.data.id}
";

fn record() -> Record {
    let text = "x".repeat(700);
    let event = format!(
        r#"{{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.paid","time":"2026-01-02T03:04:05Z","data":{{"id":"A1","note":"{text}","customer":{{"name":"Ann","city":"Ulm"}},"items":[{{"sku":"A","qty":6}},{{"sku":"B","qty":1}}],"total":1200.50}}}}"#
    );
    let position = Position { topic: Arc::from("shop.orders"), partition: 0, offset: 17 };
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    Record::new(position, Some(1), None, Some(event.as_bytes()), headers.into_iter())
}

/// What the poll thread does with a message.
fn copy(record: &Record) -> Record {
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    Record::new(record.position.clone(), record.timestamp_ms, None, record.value(), headers.into_iter())
}

fn resources() -> Resources {
    let context = config::Context { env: Env::of([]), dead_letter_topic: "dlq".into(), ..config::Context::default() };
    config::resources::read_text("bench.yaml", RESOURCES, &context).resources
}

fn steps(c: &mut Criterion) {
    let record = record();
    let bytes = u64::try_from(record.value().unwrap().len()).unwrap();
    let resources = resources();
    let rule = resources.rules.first().unwrap();
    let pattern = pattern::compile(&rule.pattern.to_json(), &pattern::Options::default()).unwrap().pattern;
    let event = decode::decode(record.clone(), &Options::default()).unwrap();
    assert!(pattern.matches(&Document::of(&event)).unwrap());

    let mut group = c.benchmark_group("per event");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("copy", |b| b.iter(|| copy(black_box(&record))));
    group.bench_function("decode", |b| {
        b.iter(|| decode::decode(black_box(&record).clone(), &Options::default()).is_ok())
    });
    group.bench_function("match", |b| b.iter(|| pattern.matches(&Document::of(black_box(&event)))));
    group.bench_function("span, not sampled", |b| {
        let spans = Arc::new(Spans::new(SdkTracerProvider::builder().build().tracer("bench"), 0.0));
        let position = &event.record.position;
        let source = Source { position, origin: position, group: "bench" };
        b.iter(|| {
            let cause = Cause { incoming: TraceContext::of(black_box(&event)), previous: None };
            spans.event(&event, &cause, &source).is_none()
        });
    });
    group.bench_function("delivery id", |b| b.iter(|| delivery_id("/shop", black_box("e-1"), "paid", "order")));
    group.bench_function("commit map, in and out, 64 open", |b| {
        let mut tracker = OffsetTracker::new(0);
        let mut record = record.clone();
        let mut offset = 0;
        b.iter(|| {
            record.position.offset = offset;
            tracker.admit(black_box(&record), 1);
            // Deliveries end in another order than they begin.
            tracker.complete_one((offset - 64) ^ 7);
            offset += 1;
        });
    });
    group.finish();
}

/// Not for every event: for each that fails, and for each commit.
fn seldom(c: &mut Criterion) {
    let record = record();
    let mut group = c.benchmark_group("seldom");
    group.bench_function("record of a retry tier", |b| {
        let address = Address {
            rule: "paid".to_owned(),
            target: "order".to_owned(),
            destination: "orders".to_owned(),
            delivery_id: delivery_id("/shop", "e-1", "paid", "order"),
        };
        let headers = StoredHeaders::new(&record, Some(address));
        let topics = Topics::new("tidegate");
        let (now, due) = (WallMs(1_000), WallMs(31_000));
        b.iter(|| tier_record(&topics, TIERS[0], black_box(&record), &headers, due, now));
    });
    group.bench_function("map of a commit, 4,000 records with 64 gaps", |b| {
        let mut tracker = OffsetTracker::new(0);
        let mut next = record.clone();
        for offset in 0..4_000 {
            next.position.offset = offset;
            tracker.admit(&next, 1);
        }
        for offset in (0..4_000).filter(|offset| offset % 62 != 0) {
            tracker.complete_one(offset);
        }
        let scope = Scope { group: "tidegate.shop", topic: "shop.orders", partition: 0 };
        b.iter(|| black_box(&tracker).commit_state(&scope));
    });
    group.finish();
}

criterion_group!(benches, steps, seldom);
criterion_main!(benches);
