//! Simulation: whole schedules of a group of replicas, drawn from seeds, against a reference model.
//!
//! What runs is the program: supervisor, workers, lanes, windows, sequences, dispatchers, destinations with their own HTTP,
//! retry tiers, queues, hand-offs, holds, reloads, and what an intake decides about commits. What is played is the world:
//! Kafka (logs, groups, static members, commits, acknowledgements that come late or never, refusals), the APIs, people who
//! hold and resume and change the resources, crashes, clocks. Time is tokio's paused clock, chance comes from
//! the seed, and each schedule lives on one thread, so that a seed tells the same story every time.
//!
//! `cargo test --test sim` plays 2,000 schedules, `SIM_SCHEDULES=100000` so many, `SIM_FIRST=n` begins there, and
//! `SIM_SEED=n` plays one and tells its story; with `SIM_LOG=debug` the program tells its own beside it. A schedule that
//! fails prints the command that plays it again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stderr,
    reason = "tests fail by panicking, count small numbers, and say on stderr what they found"
)]

mod api;
mod broker;
mod desk;
mod group;
mod held;
mod keeper;
mod line;
mod oracle;
mod order;
mod plan;
mod replica;
mod resources;
mod running;
mod time;
mod world;

use oracle::Counts;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use world::{Outcome, play, seconds};

/// Schedules of a usual run.
const SCHEDULES: u64 = 2_000;

thread_local! {
    /// Where this thread panicked: the runtime catches panics of tasks.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text}")))
}

fn watch_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.with_borrow_mut(|panicked| {
            panicked.get_or_insert_with(|| panic.to_string());
        });
        before(panic);
    }));
}

/// Plays a schedule; a panic is what went wrong, and so is a delivery that is dropped by mistake.
fn played(seed: u64, tells: bool) -> Outcome {
    PANICKED.set(None);
    DROPPED.set(false);
    let play = || catch_unwind(AssertUnwindSafe(|| play(seed, tells)));
    let outcome = if tells { play() } else { tracing::subscriber::with_default(Ear, play) };
    let panicked = PANICKED.take();
    let mut outcome = outcome.unwrap_or_else(|_| Outcome {
        wrong: None,
        story: Vec::new(),
        print: 0,
        counts: Counts::default(),
        lasted_ms: 0,
    });
    outcome.wrong = outcome.wrong.or(panicked);
    if DROPPED.get() {
        outcome.wrong.get_or_insert_with(|| "a delivery was dropped unsettled".to_owned());
    }
    outcome
}

#[test]
fn every_schedule_keeps_the_promises() {
    watch_panics();
    if let Some(seed) = number("SIM_SEED") {
        return tell(seed);
    }
    let (first, count) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SCHEDULES").unwrap_or(SCHEDULES));
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let failed = Mutex::new(Vec::new());
    let totals = Mutex::new((Counts::default(), 0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let outcome = played(seed, false);
                    let mut totals = totals.lock().unwrap();
                    totals.0.add(&outcome.counts);
                    totals.1 += outcome.lasted_ms;
                    if let Some(wrong) = outcome.wrong {
                        eprintln!("schedule {seed}: {wrong}\n  {}", again(seed));
                        let mut failed = failed.lock().unwrap();
                        failed.push(seed);
                        // A defect fails many; a few are enough to look at.
                        stop.store(failed.len() >= 5, Relaxed);
                    }
                }
            });
        }
    });
    let (counts, lasted_ms) = totals.into_inner().unwrap();
    eprintln!("{count} schedules, {:.0} h: {counts:?}", seconds(lasted_ms) / 3_600.0);
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "schedules {failed:?} failed; play one again: {}", again(failed[0]));
}

thread_local! {
    /// The program said that it dropped a delivery.
    static DROPPED: Cell<bool> = const { Cell::new(false) };
}

/// Hears only what must never be said.
#[derive(Debug)]
struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().ends_with("pipeline::ticket")
    }

    fn event(&self, _event: &Event<'_>) {
        if !time::is_dying() {
            DROPPED.set(true);
        }
    }

    fn new_span(&self, _attributes: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Values<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// The command that plays a schedule again and shows its story.
fn again(seed: u64) -> String {
    format!("SIM_SEED={seed} cargo test --test sim every_schedule -- --nocapture")
}

/// Plays one schedule and tells its story.
fn tell(seed: u64) {
    let log = std::env::var("SIM_LOG").unwrap_or_else(|_| "warn".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(log))
        .with_timer(Elapsed)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish();
    let outcome = tracing::subscriber::with_default(subscriber, || played(seed, true));
    for line in &outcome.story {
        eprintln!("{line}");
    }
    eprintln!("{:.1} s, {:?}, print {:016x}", seconds(outcome.lasted_ms), outcome.counts, outcome.print);
    assert!(outcome.wrong.is_none(), "schedule {seed}: {}", outcome.wrong.unwrap());
}

/// The time of the schedule, in its log.
struct Elapsed;

impl tracing_subscriber::fmt::time::FormatTime for Elapsed {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{:>11.6}", time::elapsed().as_secs_f64())
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| played(seed, true));
        let differs = one.story.iter().zip(&other.story).find(|(one, other)| one != other);
        assert!(differs.is_none(), "schedule {seed}: {differs:?}");
        assert_eq!(one.print, other.print, "schedule {seed}");
    }
}
