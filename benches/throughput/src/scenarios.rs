//! What is measured, and in which order it is told.

use crate::Arguments;
use crate::contestants::{Contestant, Kind, Order};
use crate::event::Shape;
use crate::kafka::Kafka;
use crate::measure::{Bench, Figures, Task};
use crate::process;
use crate::report::{self, Line};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Who takes part, if he can do it at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Everybody,
    /// Tidegate and the floors.
    Ours,
    /// Tidegate alone: what the floor would show, another line shows.
    Tidegate,
}

enum What {
    /// The middle of a backlog of so many hundredths of `--events`; at most so many seconds of it.
    Drain(u64, f64),
    /// A backlog from end to end.
    Whole(u64),
    /// Events per second and for how many seconds, one line each.
    Pace(&'static [(u64, f64)]),
    /// The same while one destination of all never answers.
    Dead(&'static [(u64, f64)]),
}

struct Scenario {
    name: &'static str,
    about: &'static str,
    who: Who,
    what: What,
    rounds: Rounds,
    task: Task,
}

#[derive(Clone, Copy)]
enum Rounds {
    /// As `--rounds` says.
    Given,
    One,
}

fn all() -> Vec<Scenario> {
    let task = Task::default();
    let shape = Shape::default();
    let one = |name, about, who, what, task| Scenario { name, about, who, what, rounds: Rounds::One, task };
    let rules = |n| Task { rules: n, shape: Shape { rules: n, ..shape }, ..task };
    let destinations = |n| Task { destinations: n, ..rules(1_000) };
    let partitions = |n| Task { partitions: n, ..task };
    let bytes = |n| Task { shape: Shape { bytes: n, ..shape }, ..task };
    let mut all = vec![
        one("saturation", "a backlog, 1 KiB, 12 partitions", Who::Everybody, What::Drain(100, 6.0), task),
        one(
            "rules-1000",
            "the same with 1,000 rules, one of which matches",
            Who::Ours,
            What::Drain(100, 6.0),
            rules(1_000),
        ),
        one(
            "pace",
            "keeps up with 200, 2,000, 10,000 and 25,000/s",
            Who::Everybody,
            What::Pace(&[(200, 5.0), (2_000, 5.0), (10_000, 5.0), (25_000, 4.0)]),
            task,
        ),
        one(
            "fan-out",
            "each event to 10 targets",
            Who::Ours,
            What::Drain(20, 5.0),
            Task { fan_out: 10, destinations: 10, ..task },
        ),
        one(
            "filter",
            "1 % of the events match",
            Who::Everybody,
            What::Drain(200, 5.0),
            Task { shape: Shape { one_of: 100, ..shape }, ..task },
        ),
        one("large", "events of 64 KiB", Who::Ours, What::Drain(5, 5.0), bytes(65_536)),
        one("answer-10ms", "the API takes 10 ms", Who::Ours, What::Drain(15, 4.0), Task { answer_ms: 10, ..task }),
        one("answer-100ms", "the API takes 100 ms", Who::Ours, What::Drain(15, 4.0), Task { answer_ms: 100, ..task }),
        one(
            "ordered",
            "1,000 keys, each in order",
            Who::Ours,
            What::Drain(50, 5.0),
            Task { order: Order::Key, shape: Shape { keys: 1_000, ..shape }, ..task },
        ),
        one(
            "binary",
            "attributes in Kafka's headers",
            Who::Tidegate,
            What::Drain(50, 3.0),
            Task { shape: Shape { binary: true, ..shape }, ..task },
        ),
        one("tls", "https", Who::Ours, What::Drain(100, 5.0), Task { tls: true, ..task }),
        one(
            "one-dead",
            "1 of 100 destinations never answers, 2,000/s",
            Who::Tidegate,
            What::Dead(&[(2_000, 5.0), (2_000, 5.0)]),
            Task { destinations: 100, rules: 100, shape: Shape { rules: 100, destinations: 100, ..shape }, ..task },
        ),
        one(
            "one-dead-none",
            "the same with all of them well",
            Who::Tidegate,
            What::Pace(&[(2_000, 5.0)]),
            Task { destinations: 100, rules: 100, shape: Shape { rules: 100, destinations: 100, ..shape }, ..task },
        ),
        one("rules-1", "", Who::Tidegate, What::Drain(50, 3.0), rules(1)),
        one("rules-100", "", Who::Tidegate, What::Drain(50, 3.0), rules(100)),
        one("rules-10000", "", Who::Tidegate, What::Drain(50, 3.0), rules(10_000)),
        one("destinations-1", "1,000 rules", Who::Tidegate, What::Drain(50, 3.0), destinations(1)),
        one("destinations-100", "", Who::Tidegate, What::Drain(50, 3.0), destinations(100)),
        one("destinations-1000", "", Who::Tidegate, What::Drain(50, 3.0), destinations(1_000)),
        one("partitions-1", "", Who::Ours, What::Drain(50, 3.0), partitions(1)),
        one("partitions-64", "", Who::Ours, What::Drain(50, 3.0), partitions(64)),
        one("partitions-500", "", Who::Ours, What::Drain(50, 3.0), partitions(500)),
        one(
            "skewed",
            "one of 12 partitions has it all",
            Who::Everybody,
            What::Drain(50, 3.0),
            Task { shape: Shape { keys: 1, ..shape }, ..task },
        ),
        one("bytes-200", "", Who::Ours, What::Drain(100, 3.0), bytes(200)),
        one("bytes-8192", "", Who::Ours, What::Drain(20, 3.0), bytes(8_192)),
        one("backlog", "1,000,000 events from end to end", Who::Ours, What::Whole(1_000_000), task),
    ];
    if let Some(first) = all.first_mut() {
        first.rounds = Rounds::Given;
    }
    all
}

/// Measures what is asked for and prints it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut scenarios = all();
    if let Some(unknown) = arguments.plain.iter().find(|name| !scenarios.iter().any(|known| known.name == *name)) {
        eprintln!("there is no scenario `{unknown}`; there are:");
        scenarios.iter().for_each(|known| eprintln!("  {:<20} {}", known.name, known.about));
        return ExitCode::from(2);
    }
    if !arguments.plain.is_empty() {
        scenarios.retain(|scenario| arguments.plain.iter().any(|name| name == scenario.name));
    }
    let contestants = Contestant::all(arguments);
    let events = arguments.number("events", 300_000);
    let given = arguments.number("rounds", 3);
    let json = arguments.get("json").map(Path::new);
    // Settings and logs of what is run, beside the results. A new folder each time: this program deletes none.
    let parent = json.and_then(Path::parent).map_or_else(std::env::temp_dir, Path::to_path_buf);
    let folder = parent.join(format!("throughput-{}-{}", crate::event::now_ns() / 1_000_000_000, std::process::id()));
    fs::create_dir_all(&parent).and_then(|()| fs::create_dir(&folder)).expect("a folder for settings and logs");
    let load = process::load();
    let kafka = Kafka::new(arguments.get("brokers").map(str::to_owned));
    let version = if kafka.is_mock() {
        "librdkafka's mock cluster"
    } else {
        arguments.get("kafka-version").unwrap_or("a real one")
    };
    println!("{}; load {load:.1}; {}; Kafka: {version}", process::machine(), report::date());
    for one in &contestants {
        println!("  {:<18} {}", one.name, one.version);
    }
    println!("{}", report::heading());
    let bench = Bench::new(kafka, folder);
    let mut lines: Vec<Line> = Vec::new();
    for scenario in &scenarios {
        let rounds = match scenario.rounds {
            Rounds::Given => given,
            Rounds::One => 1,
        };
        let new = measure(&bench, scenario, &contestants, events, rounds);
        let first = lines.len();
        lines.extend(new);
        for line in &lines[first..] {
            println!("{}", report::row(line, &lines));
        }
    }
    let mut notes = Vec::new();
    let (requests, cpu) = bench.received.get();
    if requests > 0 {
        notes.push(format!("the receiver took {:.1} µs of CPU for a request", cpu / requests as f64 * 1e6));
    }
    let (produced, seconds) = bench.produced.get();
    if produced > 0 {
        notes.push(format!("the load generator produced {:.0} events of 1 KiB per second", produced as f64 / seconds));
    }
    notes.iter().for_each(|note| println!("{note}"));
    if let Some(path) = json {
        let text = report::json(&lines, &contestants, version, (load, process::load()), &notes);
        fs::write(path, format!("{text:#}\n")).expect("the JSON file");
    }
    if lines.iter().all(|line| line.figures.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(bench: &Bench, scenario: &Scenario, contestants: &[Contestant], events: u64, rounds: u64) -> Vec<Line> {
    let takes_part = |one: &&Contestant| match scenario.who {
        Who::Everybody => true,
        Who::Ours => !matches!(one.kind, Kind::Peer(_)),
        Who::Tidegate => one.kind == Kind::Tidegate,
    };
    let line = |one: &Contestant, name: &str, figures| Line {
        scenario: name.to_owned(),
        who: one.name.clone(),
        kind: one.kind.clone(),
        figures,
    };
    let taking: Vec<&Contestant> = contestants.iter().filter(takes_part).collect();
    let mut lines = Vec::new();
    match &scenario.what {
        What::Pace(paces) | What::Dead(paces) => {
            let dead = matches!(scenario.what, What::Dead(_));
            let all: Vec<_> =
                taking.iter().filter_map(|one| Some((*one, bench.pace(one, &scenario.task, paces, dead)?))).collect();
            for (place, (pace, _)) in paces.iter().enumerate() {
                let name =
                    if dead { format!("{}-{place}", scenario.name) } else { format!("{}-{pace}", scenario.name) };
                for (one, measured) in &all {
                    let figures = measured.as_ref().map_err(Clone::clone);
                    lines.push(line(one, &name, figures.map(|all| all.get(place).cloned().unwrap_or_default())));
                }
            }
        }
        What::Drain(hundredths, _) | What::Whole(hundredths) => {
            let (events, seconds, whole) = match scenario.what {
                What::Drain(_, seconds) => (events * hundredths / 100, seconds, false),
                What::Whole(_) | What::Pace(_) | What::Dead(_) => (*hundredths, f64::INFINITY, true),
            };
            let mut runs: Vec<(&Contestant, Vec<Result<Figures, String>>)> =
                taking.iter().map(|one| (*one, Vec::new())).collect();
            // Interleaved: what else the machine does hits all alike.
            for _ in 0..rounds {
                for (one, runs) in &mut runs {
                    runs.extend(bench.drain(one, &scenario.task, events, seconds, whole));
                }
            }
            for (one, runs) in runs.into_iter().filter(|(_, runs)| !runs.is_empty()) {
                let figures: Result<Vec<Figures>, String> = runs.into_iter().collect();
                lines.push(line(one, scenario.name, figures.map(|runs| report::median(&runs))));
            }
        }
    }
    if scenario.task.shape != Shape::default() || scenario.task.partitions != Task::default().partitions {
        bench.forget_backlogs();
    }
    lines
}
