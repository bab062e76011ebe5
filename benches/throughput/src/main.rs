//! The throughput benchmark: what an event costs from Kafka to an API, in Tidegate, in programs that do as little as can be
//! done (the floors), and in others' programs. `scripts/bench.sh` builds and runs it, and says what it measures.
//!
//! - `run`: all scenarios, the table and the JSON file;
//! - `floor`, `floor-hyper`: the floors, until they are killed;
//! - `load`: produces events; `receiver`: the API that is called.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "it counts events and microseconds, reads clocks and waits"
)]

mod contestants;
mod event;
mod floor;
mod floor_hyper;
mod histogram;
mod kafka;
mod measure;
mod peers;
mod process;
mod receiver;
mod report;
mod scenarios;
mod tidegate;
mod tls;
mod wire;

use event::Shape;
use std::process::ExitCode;

const USAGE: &str = "\
throughput run [NAMES…]  measures (without names: everything) and prints the table
  --tidegate PATH        the program; twice to compare two: --tidegate old=PATH --tidegate new=PATH
  --brokers HOST:PORT    a running Kafka; without: librdkafka's mock cluster
  --only LIST            only these of the programs: tidegate,floor,floor-hyper,vector,bento,parallel-consumer
  --events N             events of a backlog (300000)
  --rounds N             how often each is measured at saturation (3)
  --json FILE            results as JSON, too
throughput floor|floor-hyper --brokers B --topic T --group G --to HOST:PORT [--connections N] [--fan-out N]
                         [--filter TEXT] [--ca FILE]
throughput load --brokers B --topic T --partitions N --events N [--bytes N] [--rate N] [--one-of N] [--keys N] [--binary 1]
                         [--rules N] [--destinations N]
throughput receiver --port N [--delay MS] [--dead 1] [--tls 1]   GET /stats says what it saw";

/// `--name value` pairs and what stands without a name.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    named: Vec<(String, String)>,
    plain: Vec<String>,
}

impl Arguments {
    fn read(given: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        let mut given = given;
        while let Some(argument) = given.next() {
            match argument.strip_prefix("--") {
                Some(name) => {
                    let value = given.next().unwrap_or_else(|| panic!("--{name} wants a value"));
                    read.named.push((name.to_owned(), value));
                }
                None => read.plain.push(argument),
            }
        }
        read
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.named.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn need(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("--{name} is missing"))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.get(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("--{name} wants a number")))
    }
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let command = given.next().unwrap_or_default();
    let arguments = Arguments::read(given);
    match command.as_str() {
        "run" => return scenarios::run(&arguments),
        "floor" => floor::run(&arguments),
        "floor-hyper" => floor_hyper::run(&arguments),
        "load" => {
            let shape = Shape {
                bytes: arguments.number("bytes", 1024) as usize,
                one_of: arguments.number("one-of", 1),
                destinations: arguments.number("destinations", 1),
                rules: arguments.number("rules", 1),
                keys: arguments.number("keys", 0),
                binary: arguments.number("binary", 0) == 1,
            };
            let events = arguments.number("events", 100_000);
            let rate = arguments.get("rate").map(|_| arguments.number("rate", 0) as f64);
            let kafka = kafka::Kafka::new(Some(arguments.need("brokers").to_owned()));
            kafka.create(arguments.need("topic"), arguments.number("partitions", 12) as i32);
            let took = kafka.produce(arguments.need("topic"), &shape, 0, events, rate);
            println!("{events} events in {took:.2} s, {:.0}/s", events as f64 / took);
        }
        "receiver" => {
            let tls = (arguments.number("tls", 0) == 1).then(tls::server);
            let receiver = receiver::Receiver::start(arguments.number("port", 0) as u16, tls);
            receiver.state.delay_ms.store(arguments.number("delay", 0), std::sync::atomic::Ordering::Relaxed);
            receiver.state.dead.store(arguments.number("dead", 0), std::sync::atomic::Ordering::Relaxed);
            println!("{}", receiver.address);
            loop {
                std::thread::park();
            }
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
