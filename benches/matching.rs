//! What matching costs: µs per event for 1 to 100,000 rules, beside a naive evaluator over `serde_json` values, with the
//! time to build and to swap a rule set and the memory it takes. `cargo bench --bench matching`.
//!
//! The workload, generated from a seed: structured `CloudEvents` of about 1,042 bytes with nested data and a list of
//! objects; rules with a source (one of 20), a type (one of 25) and one to three conditions on the data, with every
//! operator. The pools do not grow with the rules: at 100,000 rules, 200 have the source and the type of an event.
//!
//! Times are CPU time of the thread where the system tells it (Linux), else wall time; of several rounds the quickest.
//! "from bytes" begins with the bytes of the event: UTF-8 and JSON are checked, the document is made, the rules are
//! matched. "matching" begins with the document. Both sides must find the same rules, or the benchmark panics.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark may fail by panicking"
)]
#![allow(clippy::as_conversions, clippy::print_stdout, clippy::disallowed_methods, reason = "it measures and prints")]
#![allow(unsafe_code, reason = "an allocator that counts")]

#[path = "matching/clock.rs"]
mod clock;
#[path = "matching/workload.rs"]
mod workload;

use clock::Clock;
use criterion::{Criterion, Throughput};
use serde_json::Value;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate::json::document::Document;
use tidegate::json::tape::Tape;
use tidegate::pattern::index::Scratch;
use tidegate::pattern::{self, Options, Pattern, Pool};
use tidegate::pipeline::matching::RuleSet;
use workload::Workload;

const EVENTS: usize = 1_000;
const SIZES: [usize; 5] = [1, 100, 1_000, 10_000, 100_000];

/// Counts the bytes that are allocated, and the allocations.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The naive evaluator: pattern and event as trees, every rule asked in turn.
mod naive {
    use serde_json::Value;

    pub(super) fn matches(pattern: &Value, event: &Value) -> bool {
        pattern.as_object().unwrap().iter().all(|(key, wanted)| match wanted {
            Value::Object(_) => match event.get(key) {
                Some(nested @ Value::Object(_)) => matches(wanted, nested),
                Some(Value::Array(elements)) => elements.iter().any(|element| matches(wanted, element)),
                _ => matches(wanted, &Value::Null),
            },
            _ => {
                let matchers = wanted.as_array().unwrap();
                match event.get(key) {
                    None => matchers.iter().any(|matcher| matcher.get("exists") == Some(&Value::Bool(false))),
                    Some(Value::Array(values)) => values.iter().any(|value| accepts(matchers, value)),
                    Some(Value::Object(_)) => false,
                    Some(value) => accepts(matchers, value),
                }
            }
        })
    }

    fn accepts(matchers: &[Value], value: &Value) -> bool {
        matchers.iter().any(|matcher| match matcher {
            Value::Object(operators) => operators.iter().all(|(name, operand)| operator(name, operand, value)),
            literal => literal == value,
        })
    }

    fn operator(name: &str, operand: &Value, value: &Value) -> bool {
        let text = value.as_str();
        let wanted = operand.as_str().unwrap_or_default();
        match name {
            "exists" => operand == &Value::Bool(true),
            "prefix" => text.is_some_and(|text| text.starts_with(wanted)),
            "suffix" => text.is_some_and(|text| text.ends_with(wanted)),
            "contains" => text.is_some_and(|text| text.contains(wanted)),
            "equals-ignore-case" => text.is_some_and(|text| text.to_lowercase() == wanted.to_lowercase()),
            "anything-but" => !operand.as_array().unwrap().contains(value),
            "wildcard" => text.is_some_and(|text| wildcard(wanted.as_bytes(), text.as_bytes())),
            "numeric" => value.as_f64().is_some_and(|number| {
                operand.as_array().unwrap().chunks(2).all(|pair| {
                    let bound = pair[1].as_f64().unwrap();
                    match pair[0].as_str().unwrap() {
                        ">" => number > bound,
                        ">=" => number >= bound,
                        _ => number < bound,
                    }
                })
            }),
            "cidr" => {
                let network = |text: &str| {
                    let address: std::net::Ipv4Addr = text.parse().ok()?;
                    Some(address.to_bits() >> 16)
                };
                text.and_then(network) == wanted.split('/').next().and_then(network)
            }
            other => panic!("{other}"),
        }
    }

    fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| wildcard(rest, &text[skip..])),
            [first, rest @ ..] => text.first() == Some(first) && wildcard(rest, &text[1..]),
        }
    }
}

fn document<'a>(event: &'a [u8], tape: &'a mut Tape) -> Document<'a> {
    Document::check(event, tape).unwrap().unwrap()
}

fn compile(rules: &[String]) -> Vec<Arc<Pattern>> {
    let options = Options::default();
    let mut pool = Pool::default();
    rules.iter().map(|rule| Arc::new(pattern::compile_with(rule, &options, &mut pool).unwrap().pattern)).collect()
}

fn index(patterns: &[Arc<Pattern>]) -> RuleSet {
    patterns.iter().map(|pattern| (Arc::clone(pattern), None)).collect()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn table(events: &[String], rules: &[String]) {
    let clock = Clock::start();
    // Something to run first, so that the counter of the thread has begun.
    black_box(compile(&rules[..1_000]));
    let kind = Clock::kind();
    let bytes: usize = events.iter().map(String::len).sum();
    println!("\n{} events of {} bytes on average; {kind}; µs per event\n", events.len(), bytes / events.len());
    println!(
        "   rules |  naive serde_json | from bytes |  matching | allocations | matches | compile ms | index ms | swap ms | bytes/rule"
    );
    println!(
        "---------|-------------------|------------|-----------|-------------|---------|------------|----------|---------|-----------"
    );
    for size in SIZES {
        let rules = &rules[..size];
        let before = LIVE.load(Ordering::Relaxed);
        let start = clock.now();
        let patterns = compile(rules);
        let compiled = clock.now();
        let set = index(&patterns);
        let built = clock.now();
        let memory = LIVE.load(Ordering::Relaxed) - before - patterns.capacity() * size_of::<Arc<Pattern>>();
        let swap = {
            let start = clock.now();
            let mut next = patterns.clone();
            next[size / 2] = compile(&rules[..1]).remove(0);
            black_box(index(&next));
            clock.now() - start
        };
        let mut scratch = Scratch::default();
        let found = Cell::new(0_usize);
        let mut tape = Tape::default();
        let mut run = |event: usize| {
            let document = document(events[event].as_bytes(), &mut tape);
            set.wanted(&document, &mut scratch, |_, verdict| found.set(found.get() + usize::from(verdict.is_ok())));
        };
        (0..events.len()).for_each(&mut run);
        let (matches, allocations) = (found.get(), ALLOCATIONS.load(Ordering::Relaxed));
        (0..events.len()).for_each(&mut run);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
        let matches = matches as f64 / events.len() as f64;
        let from_bytes = clock.time(events.len(), run);
        let mut tapes: Vec<Tape> = events.iter().map(|_| Tape::default()).collect();
        let documents: Vec<Document<'_>> =
            events.iter().zip(&mut tapes).map(|(event, tape)| document(event.as_bytes(), tape)).collect();
        let matching = clock.time(events.len(), |event| {
            set.wanted(&documents[event], &mut scratch, |rule, _| {
                black_box(rule);
            });
        });
        let trees: Vec<Value> = rules.iter().map(|rule| serde_json::from_str(rule).unwrap()).collect();
        // Fewer events where it takes long; and both must agree.
        let some = (200_000 / size).clamp(5, events.len());
        for event in events.iter().take(some) {
            let tree: Value = serde_json::from_str(event).unwrap();
            let naive: Vec<usize> = (0..size).filter(|rule| naive::matches(&trees[*rule], &tree)).collect();
            let mut ours = Vec::new();
            set.wanted(&document(event.as_bytes(), &mut Tape::default()), &mut scratch, |rule, _| ours.push(rule));
            assert_eq!(ours, naive, "{event}");
        }
        let naive = clock.time(some, |event| {
            let tree: Value = serde_json::from_str(&events[event]).unwrap();
            black_box(trees.iter().filter(|rule| naive::matches(rule, &tree)).count());
        });
        println!(
            "{size:>8} | {:>17.1} | {:>10.2} | {:>9.2} | {:>11.2} | {matches:>7.2} | {:>10.1} | {:>8.1} | {:>7.1} | {:>10}",
            micros(naive),
            micros(from_bytes),
            micros(matching),
            allocations as f64 / events.len() as f64,
            millis(compiled - start),
            millis(built - compiled),
            millis(swap),
            memory / size,
        );
    }
    println!();
}

fn main() {
    let mut workload = Workload::new();
    let events: Vec<String> = (0..EVENTS).map(|_| workload.event()).collect();
    let rules: Vec<String> = (0..SIZES[SIZES.len() - 1]).map(|_| workload.rule()).collect();
    if std::env::args().any(|arg| arg == "--bench") {
        table(&events, &rules);
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("matching");
    group.throughput(Throughput::Elements(1));
    for size in [1, 1_000, 10_000] {
        let set = index(&compile(&rules[..size]));
        let mut scratch = Scratch::default();
        let mut tape = Tape::default();
        let mut turn = events.iter().cycle();
        group.bench_function(format!("{size} rules, from bytes"), |b| {
            b.iter(|| {
                let document = document(turn.next().unwrap().as_bytes(), &mut tape);
                set.wanted(&document, &mut scratch, |rule, _| {
                    black_box(rule);
                });
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
