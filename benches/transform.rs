//! What reading an event and rendering a request cost, beside the plain way with `serde_json`: read everything into a
//! tree, build another, write it out. `cargo bench --bench transform` ends with a table of µs per event.
//!
//! The events are CloudEvents with nested data, of 1 and 64 KiB, always the same ones. Reading ends with the document
//! that rules are matched against; rendering begins with it. Both columns of a row do the same work, from bytes to
//! bytes; what rendering alone costs, once for each further target of an event, has no counterpart: who has a tree has
//! paid for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail by panicking")]

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{self, Env};
use tidegate::json::document::Document;
use tidegate::json::scan;
use tidegate::model::clock::WallMs;
use tidegate::model::event::CloudEvent;
use tidegate::model::record::{Position, Record};
use tidegate::model::request::Request;
use tidegate::model::text::Masked;
use tidegate::pipeline::decode::{self, Options};
use tidegate::pipeline::transform::{self, Meta, Spec, Template};

const SEED: u64 = 7;

/// A body built the plain way.
type Plain = fn(&Value) -> String;

/// The bodies that are rendered, and the same work over a tree.
const BODIES: [(&str, &str, Plain); 7] = [
    (
        "template of three values",
        r#"{template: '{"id":${id},"who":"${who}","total":${total}}', values: {id: $.data.id, who: $.data.customer.name, total: $.data.total}}"#,
        |event| {
            let data = &event["data"];
            let who = data["customer"]["name"].as_str().unwrap();
            json!({"id": data["id"], "who": who, "total": data["total"]}).to_string()
        },
    ),
    (
        "json of five values",
        "{json: {id: $.data.id, who: $.data.customer.name, total: $.data.total, method: $.data.payment.method, zip: $.data.customer.address.zip}}",
        |event| {
            let data = &event["data"];
            let customer = &data["customer"];
            json!({"id": data["id"], "who": customer["name"], "total": data["total"],
                "method": data["payment"]["method"], "zip": customer["address"]["zip"]})
            .to_string()
        },
    ),
    ("json with the items", "{json: {id: $.data.id, items: $.data.items, note: $.data.note}}", |event| {
        let data = &event["data"];
        json!({"id": data["id"], "items": data["items"], "note": data["note"]}).to_string()
    }),
    ("form of three values", "{form: {id: $.data.id, who: $.data.customer.name, total: $.data.total}}", |event| {
        let data = &event["data"];
        let who = data["customer"]["name"].as_str().unwrap();
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!("id={}&who={}&total={}", encode(data["id"].as_str().unwrap()), encode(who), data["total"])
    }),
    (
        "edit",
        "{edit: {insert: {$.data.region: eu}, update: {$.data.total: $.data.customer.id}, delete: [$.data.items]}}",
        |event| {
            let mut event = event.clone();
            event["data"]["region"] = json!("eu");
            event["data"]["total"] = event["data"]["customer"]["id"].clone();
            event["data"].as_object_mut().unwrap().remove("items");
            event.to_string()
        },
    ),
    ("original, structured", "original", Value::to_string),
    ("original, binary", "{original: binary}", |event| {
        let members = event.as_object().unwrap().iter();
        let headers: Vec<(String, String)> = members
            .filter(|(name, _)| *name != "data")
            .map(|(name, value)| (format!("ce-{name}"), value.as_str().unwrap().to_owned()))
            .collect();
        black_box(headers);
        event["data"].to_string()
    }),
];

fn event(size_bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut items = String::new();
    while items.len() + 600 < size_bytes {
        let comma = if items.is_empty() { "" } else { "," };
        let (sku, name, qty, price) = (rng.u32(1000..9999), rng.u32(0..50), rng.u32(1..9), rng.u32(100..50_000));
        let (tag, gift) = (rng.u32(0..9), rng.bool());
        write!(
            items,
            r#"{comma}{{"sku":"SKU-{sku}","name":"Item number {name}","qty":{qty},"price":{price}.50,"tags":["t{tag}","sale"],"gift":{gift}}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"specversion":"1.0","id":"e-{}","source":"/shop/eu/checkout","type":"order.paid","subject":"orders/1007","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","region":"eu-central","data":{{"id":"A-1007","customer":{{"id":4711,"name":"Ann Example","city":"Ulm","address":{{"street":"Main street 5","zip":"89073","country":"DE"}},"vip":true}},"total":1200.50,"currency":"EUR","items":[{items}],"note":"please deliver \"before\" noon","payment":{{"method":"card","state":"settled","attempts":1}}}}}}"#,
        rng.u64(..)
    )
}

fn record(event: &str) -> Record {
    let position = Position { topic: Arc::from("shop.orders"), partition: 0, offset: 17 };
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    Record::new(position, Some(1), None, Some(event.as_bytes()), headers.into_iter())
}

fn template(body: &str) -> Template {
    let resources = format!(
        "kind: connection\nname: api\nurl: https://api.example\n---\n\
         {{kind: destination, name: orders, connection: api, endpoint: /orders}}\n---\n\
         kind: rule\nname: paid\npattern: {{type: order.paid}}\n\
         targets: [{{name: order, destination: orders, body: {body}}}]\n"
    );
    let context = config::Context { env: Env::of([]), dead_letter_topic: "dlq".into(), ..config::Context::default() };
    let resources = config::resources::read_text("bench.yaml", &resources, &context).resources;
    let rule = &resources.rules[0];
    transform::compile(&Spec::of(rule, &rule.targets[0])).unwrap().template
}

/// The best time of each thing, by its name: ours and, if it does the same work, the plain way.
type Table = BTreeMap<(usize, String), (Duration, Option<Duration>)>;

struct Bench<'c> {
    group: BenchmarkGroup<'c, WallTime>,
    size: &'static str,
    row: usize,
    table: Table,
}

impl Bench<'_> {
    /// Measures something in our way and the plain way.
    fn both<A, B>(&mut self, name: &str, mut ours: impl FnMut() -> A, mut plain: impl FnMut() -> B) {
        let times = (self.one(name, "tidegate", &mut ours), Some(self.one(name, "serde_json", &mut plain)));
        self.row(name, times);
    }

    /// Measures something that only we do.
    fn ours<A>(&mut self, name: &str, mut ours: impl FnMut() -> A) {
        let times = (self.one(name, "tidegate", &mut ours), None);
        self.row(name, times);
    }

    fn row(&mut self, name: &str, times: (Duration, Option<Duration>)) {
        self.table.insert((self.row, format!("{name}, {}", self.size)), times);
        self.row += 1;
    }

    fn one<R>(&mut self, name: &str, way: &str, work: &mut impl FnMut() -> R) -> Duration {
        let mut best = Duration::MAX;
        self.group.bench_function(format!("{name}, {}/{way}", self.size), |bencher| {
            bencher.iter_custom(|times| {
                let start = WallTime.start();
                for _ in 0..times {
                    black_box(work());
                }
                let all = WallTime.end(start);
                best = best.min(all / u32::try_from(times).unwrap_or(u32::MAX));
                all
            });
        });
        best
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .configure_from_args();
    let group = criterion.benchmark_group("transform");
    let mut bench = Bench { group, size: "", row: 0, table: Table::new() };
    let mut rates = Vec::new();
    for (size, size_bytes) in [("1 KiB", 1 << 10), ("64 KiB", 64 << 10)] {
        let text = event(size_bytes);
        bench.size = size;
        bench.group.throughput(Throughput::Bytes(u64::try_from(text.len()).unwrap()));
        bench.both(
            "check",
            || scan::check(black_box(text.as_bytes())).is_ok(),
            || serde_json::from_slice::<serde::de::IgnoredAny>(black_box(text.as_bytes())).is_ok(),
        );
        rates.push((text.len(), bench.row - 1));
        let record = record(&text);
        bench.both(
            "decode",
            || {
                let event = decode::decode(black_box(record.clone()), &Options::default()).unwrap();
                Document::of(&event).members().len()
            },
            || serde_json::from_slice::<Value>(black_box(text.as_bytes())).unwrap(),
        );
        let event = decode::decode(record.clone(), &Options::default()).unwrap();
        let meta = Meta { rule: "paid", target: "order", attempt: 1, delivery_id: "0", received_at: WallMs(0) };
        for (name, body, plain) in BODIES {
            let template = template(body);
            let render = |event: &CloudEvent| {
                let mut request = Request::default();
                template.render(event, &Document::of(event), &meta, &Masked, &mut request).unwrap();
                request
            };
            let ours = || render(&decode::decode(black_box(record.clone()), &Options::default()).unwrap());
            let theirs = || plain(&serde_json::from_slice(black_box(text.as_bytes())).unwrap());
            let parsed = |body: &[u8]| serde_json::from_slice::<Value>(body).ok();
            assert_eq!(parsed(&ours().body), parsed(theirs().as_bytes()), "{name}");
            bench.both(&format!("decode + {name}"), ours, theirs);
            bench.ours(name, || render(black_box(&event)));
        }
    }
    let Bench { group, table, .. } = bench;
    group.finish();

    let us = |time: &Duration| time.as_secs_f64() * 1e6;
    let mut out = format!("\n{:50} {:>11} {:>11}\n", "µs/event", "tidegate", "serde_json");
    for ((row, name), (ours, plain)) in &table {
        let plain = plain.map_or_else(|| "–".to_owned(), |plain| format!("{:.3}", us(&plain)));
        write!(out, "{name:50} {:11.3} {plain:>11}", us(ours)).unwrap();
        if let Some((bytes, _)) = rates.iter().find(|(_, rated)| rated == row) {
            let bytes = f64::from(u32::try_from(*bytes).unwrap());
            write!(out, "   ({:.2} GB/s)", bytes / ours.as_secs_f64() / 1e9).unwrap();
        }
        out.push('\n');
    }
    out.push_str(
        "Both columns go from bytes to bytes; a row without `decode` is what a further target of an event costs.\n",
    );
    std::io::stdout().write_all(out.as_bytes()).unwrap();
}
