//! The benchmark of matching with other open engines beside ours: quamina (Rust) and event-ruler (Java), on the events
//! and rules of `benches/matching.rs`, one thread, CPU time of the thread; of five rounds the quickest.
//!
//! In this folder, with a JDK 17 and Maven for event-ruler, without which its column stays empty:
//!
//! ```sh
//! mvn -q dependency:copy-dependencies -DoutputDirectory=../../../target/peers/jars
//! cargo run --release
//! ```
//!
//! No other engine has the operator `contains`, so rules with it are left out, for all engines alike; all else that the
//! rules use has the same meaning in all of them, and each must find the same rules. Every cell is a process of its own,
//! so that one that dies or does not end within [`PATIENCE`] leaves the others. What Java's other threads do (compiling,
//! collecting garbage) does not count; its matching is warm before it is measured. The limits of quamina on the size of
//! what it builds are lifted.

#[path = "../../matching/clock.rs"]
mod clock;
#[path = "../../matching/workload.rs"]
mod workload;

use clock::Clock;
use quamina::QuaminaBuilder;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::json::document::Document;
use tidegate::json::tape::Tape;
use tidegate::pattern::index::Scratch;
use tidegate::pattern::{self, Options, Pool};
use tidegate::pipeline::matching::RuleSet;
use workload::Workload;

const EVENTS: usize = 1_000;
const SIZES: [usize; 5] = [1, 100, 1_000, 10_000, 100_000];
/// Time for one cell: building, warming up and measuring.
const PATIENCE: Duration = Duration::from_secs(150);
const ENGINES: [&str; 3] = ["tidegate", "quamina", "event-ruler"];
const FOLDER: &str = "../../../target/peers/workload";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => table(&SIZES),
        [engine, size] => {
            let cell = cell(engine, size.parse().expect("a number of rules"));
            println!("{cell}");
        }
        _ => panic!("no arguments, or an engine and a number of rules"),
    }
}

fn table(sizes: &[usize]) {
    let mut workload = Workload::new();
    let events: Vec<String> = (0..EVENTS).map(|_| workload.event()).collect();
    let rules = std::iter::repeat_with(|| workload.rule()).filter(|rule| !rule.contains("\"contains\""));
    let rules: Vec<String> = rules.take(sizes.iter().copied().max().unwrap_or_default()).collect();
    fs::create_dir_all(FOLDER).expect("this folder can be written");
    fs::write(format!("{FOLDER}/events.jsonl"), events.join("\n") + "\n").expect("the events can be written");
    fs::write(format!("{FOLDER}/rules.jsonl"), rules.join("\n") + "\n").expect("the rules can be written");
    println!("{EVENTS} events; {}; µs per event (time to build, matches per event)\n", Clock::kind());
    println!("|   rules |{}", ENGINES.map(|engine| format!(" {engine:<34} |")).concat());
    println!("|--------:|{}", ENGINES.map(|_| format!("{}|", "-".repeat(36))).concat());
    for size in sizes {
        let cells = ENGINES.map(|engine| format!(" {:<34} |", run(engine, *size)));
        println!("| {size:>7} |{}", cells.concat());
    }
}

/// One engine in a process of its own.
fn run(engine: &str, size: usize) -> String {
    let size = size.to_string();
    let mut command = match engine {
        "event-ruler" => {
            let mut java = Command::new("java");
            java.args([
                "-Xmx6g",
                "-XX:+UseSerialGC",
                "-cp",
                "../../../target/peers/jars/*",
                "Ruler.java",
                FOLDER,
                &size,
            ]);
            java
        }
        own => {
            let mut this = Command::new(std::env::current_exe().expect("this program has a path"));
            this.args([own, &size]);
            this
        }
    };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return error.to_string(),
    };
    let begin = Instant::now();
    while child.try_wait().expect("our own child").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("our own child");
            return format!("not done in {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("our own child");
    let told = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
    told.lines().find(|line| !line.trim().is_empty()).unwrap_or("died without a word").chars().take(60).collect()
}

fn lines(name: &str, count: usize) -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/{name}")).expect("written before");
    text.lines().take(count).map(str::to_owned).collect()
}

/// What one of the engines in Rust takes.
fn cell(engine: &str, size: usize) -> String {
    let (events, rules) = (lines("events.jsonl", EVENTS), lines("rules.jsonl", size));
    let clock = Clock::start();
    let begin = clock.now();
    if engine == "quamina" {
        let mut quamina = QuaminaBuilder::<usize>::new()
            .with_arena_byte_budget(usize::MAX)
            .with_max_states_per_pattern(usize::MAX)
            .build()
            .expect("a matcher");
        for (number, rule) in rules.iter().enumerate() {
            quamina.add_pattern(number, rule).expect("a valid pattern");
        }
        let built = clock.now() - begin;
        let find = |event: &String| quamina.matches_for_event(event.as_bytes()).expect("a valid event").len();
        return measured(&clock, built, &events, find);
    }
    let (options, mut pool) = (Options::default(), Pool::default());
    let set: RuleSet = rules
        .iter()
        .map(|rule| pattern::compile_with(rule, &options, &mut pool).expect("a valid pattern").pattern)
        .map(|pattern| (Arc::new(pattern), None))
        .collect();
    let built = clock.now() - begin;
    let (mut tape, mut scratch) = (Tape::default(), Scratch::default());
    let find = |event: &String| {
        let document = Document::check(event.as_bytes(), &mut tape).expect("JSON").expect("an object");
        let mut found = 0;
        set.wanted(&document, &mut scratch, |_, verdict| found += usize::from(verdict.is_ok()));
        found
    };
    measured(&clock, built, &events, find)
}

fn measured(clock: &Clock, built: Duration, events: &[String], mut find: impl FnMut(&String) -> usize) -> String {
    let matches: usize = events.iter().map(&mut find).sum();
    let time = clock.time(events.len(), |event| {
        std::hint::black_box(find(&events[event]));
    });
    let matches = matches as f64 / events.len() as f64;
    format!("{:.2} ({:.0} ms, {matches:.3})", time.as_secs_f64() * 1e6, built.as_secs_f64() * 1e3)
}
