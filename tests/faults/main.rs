//! Faults on a real Kafka of three brokers: `scripts/faults.sh` runs this and prints, for each fault, what was produced,
//! delivered, delivered twice, dead-lettered and lost. Lost is always 0; a scenario that finds otherwise, or that does
//! not end, fails.
//!
//! It is no part of `cargo test`: each scenario takes a minute or two and needs the machine for itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it fails by panicking, counts small numbers, and prints"
)]

mod load;
mod losing;
mod measuring;
mod sizes;
mod soak;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests, which use more of it")]
mod support;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use tally::Tally;

/// A fault, and what it does to the events of a minute or two.
struct Scenario {
    name: &'static str,
    what: &'static str,
    run: fn() -> Tally,
}

const fn scenario(name: &'static str, what: &'static str, run: fn() -> Tally) -> Scenario {
    Scenario { name, what, run }
}

/// What is tried, in the order in which it is told.
const SCENARIOS: [Scenario; 19] = [
    scenario("kill", "kill -9 of a random replica of three every 6 s, another comes", losing::kill),
    scenario("freeze", "SIGSTOP of a replica for longer than its session, then SIGCONT", losing::freeze),
    scenario("come-and-go", "a replica joins or leaves every 5 s, answers take 1 s", losing::come_and_go),
    scenario("broker", "kill -9 of a broker, then another is frozen; both come back", losing::broker),
    scenario("stop", "SIGTERM while half of the requests hang", losing::stop),
    scenario("transactions", "a source with transactions, some of them aborted", losing::transactions),
    scenario("isolation-hang", "1 of 100 destinations never answers", measuring::isolation_hang),
    scenario("isolation-500", "1 of 100 destinations answers 500", measuring::isolation_500),
    scenario("recovery", "a destination answers 500 for 60 s, then it is back", measuring::recovery),
    scenario("rate", "50/s with 1, 3 and 6 replicas, which come and go", measuring::rate),
    scenario("memory", "64 partitions, 1,000 destinations, half of them dead", measuring::memory),
    scenario(
        "memory-large",
        "500 partitions, 10,000 destinations, half of them dead, events up to 1 MiB",
        sizes::crowd,
    ),
    scenario("destinations", "100,000 destinations", sizes::destinations),
    scenario("keys", "1,000,000 keys in order, 1 of 20 events refused twice", sizes::keys),
    scenario("large", "events of 1 MiB, answers that take 1 s", measuring::large),
    scenario("huge", "events of 1 to 90 MiB", sizes::huge),
    scenario("blocked", "every request hangs for longer than max.poll.interval.ms", sizes::blocked),
    scenario("rate-high", "1/s, 1,000/s and 10,000/s with 1 and 3 replicas, which come and go", sizes::rate_high),
    scenario("soak", "destinations and replicas in every mood, for SOAK_MINUTES, 5 unless told", soak::soak),
];

/// Runs `scripts/kafka.sh` with these arguments.
fn kafka(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");
    let status = Command::new(script).args(arguments).stdout(std::process::Stdio::null()).status();
    assert!(status.expect("scripts/kafka.sh runs").success(), "scripts/kafka.sh {arguments:?}");
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SCENARIOS.iter().any(|known| known.name == *name)) {
        eprintln!("there is no fault `{unknown}`; there are:");
        SCENARIOS.iter().for_each(|known| eprintln!("  {:<16} {}", known.name, known.what));
        return ExitCode::from(2);
    }
    if support::real_kafka().is_none() {
        eprintln!("needs a real Kafka of three brokers; scripts/faults.sh starts one");
        return ExitCode::from(2);
    }
    println!("{}", Tally::HEAD);
    let mut failed = 0;
    for Scenario { name, what, run } in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(tally) => {
                println!("{}", tally.line(name));
                failed += usize::from(tally.lost > 0);
            }
            Err(_) => {
                println!("{name:<16} FAILED: {what}");
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
