//! One measurement: a program that works off a backlog, or keeps up with a pace, and what that costs.

use crate::contestants::{Contestant, Job, Kind, Order, Running};
use crate::event::Shape;
use crate::kafka::{Kafka, produce};
use crate::process;
use crate::receiver::Receiver;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A program that delivers nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);

/// What a measurement says. What it does not is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// CPU time of the process for each event, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// Events per second.
    pub(crate) per_s: Option<f64>,
    /// From production to arrival, in milliseconds: half of the events, and 99 % of them, took less.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// The most memory the process had, in MiB.
    pub(crate) peak_mib: Option<f64>,
    /// CPU of the process while nothing happens, in percent of a core.
    pub(crate) idle_percent: Option<f64>,
    /// What else is to be said.
    pub(crate) note: String,
}

/// What is to be done, by whomever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) shape: Shape,
    pub(crate) partitions: i32,
    pub(crate) rules: u64,
    pub(crate) destinations: u64,
    pub(crate) fan_out: u64,
    pub(crate) order: Order,
    pub(crate) tls: bool,
    /// The API takes so long to answer.
    pub(crate) answer_ms: u64,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            partitions: 12,
            rules: 1,
            destinations: 1,
            fan_out: 1,
            order: Order::None,
            tls: false,
            answer_ms: 0,
        }
    }
}

/// Everything that measurements share.
pub(crate) struct Bench {
    pub(crate) kafka: Kafka,
    plain: Receiver,
    tls: OnceCell<Receiver>,
    /// Begins the names of topics and groups.
    prefix: String,
    folder: PathBuf,
    runs: Cell<u32>,
    /// Backlogs that were produced, by what is in them.
    backlogs: RefCell<HashMap<(Shape, i32), (String, u64)>>,
    /// Requests that the receiver took at saturation, and its CPU time for them.
    pub(crate) received: Cell<(u64, f64)>,
    /// Events produced as fast as it went, and the seconds that it took.
    pub(crate) produced: Cell<(u64, f64)>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Those of this run only: one that runs beside it may have a longer number.
        let mine = |name: &String| name[self.prefix.len()..].starts_with(['.', '-']);
        let topics: Vec<String> = self.kafka.topics(&self.prefix).into_iter().filter(mine).collect();
        self.kafka.delete(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

impl Bench {
    pub(crate) fn new(kafka: Kafka, folder: PathBuf) -> Self {
        let prefix = format!("throughput-{}-{}", crate::event::now_ns() / 1_000_000_000, std::process::id());
        if kafka.is_mock() {
            // What Tidegate would create is there already: the mock cluster knows no request for it.
            for (last, partitions) in [("slots", 32), ("dlq", 12), ("trace", 12), ("state", 1)] {
                kafka.create(&format!("{prefix}.{last}"), partitions);
            }
            for tier in ["10s", "1m", "10m", "1h", "6h"] {
                kafka.create(&format!("{prefix}.retry.{tier}"), 32);
            }
        }
        Self {
            kafka,
            plain: Receiver::start(0, None),
            tls: OnceCell::new(),
            prefix,
            folder,
            runs: Cell::new(0),
            backlogs: RefCell::default(),
            received: Cell::default(),
            produced: Cell::default(),
        }
    }

    fn receiver(&self, task: &Task) -> &Receiver {
        let receiver = if task.tls {
            self.tls.get_or_init(|| Receiver::start(0, Some(crate::tls::server())))
        } else {
            &self.plain
        };
        receiver.state.delay_ms.store(task.answer_ms, Ordering::Relaxed);
        receiver
    }

    /// How many events a backlog has at most: the mock cluster keeps 5 MiB of a partition.
    pub(crate) fn at_most(&self, events: u64, task: &Task) -> u64 {
        if self.kafka.is_mock() {
            let room = 4 * 1024 * 1024 * u64::try_from(task.partitions).unwrap_or(1) / task.shape.bytes as u64;
            return events.min(room);
        }
        events
    }

    /// A topic with at least so many events, produced when first needed.
    fn backlog(&self, task: &Task, events: u64) -> (String, u64) {
        let what = (task.shape, task.partitions);
        let mut backlogs = self.backlogs.borrow_mut();
        if let Some(there) = backlogs.get(&what).filter(|(_, there)| *there >= events) {
            return there.clone();
        }
        let topic = format!("{}.backlog-{}-{}", self.prefix, backlogs.len(), events);
        self.kafka.create(&topic, task.partitions);
        let took = self.kafka.produce(&topic, &task.shape, 0, events, None);
        if task.shape.bytes == Shape::default().bytes {
            let (count, seconds) = self.produced.get();
            self.produced.set((count + events, seconds + took));
        }
        backlogs.insert(what, (topic.clone(), events));
        (topic, events)
    }

    /// Deletes the backlogs, which may be large.
    pub(crate) fn forget_backlogs(&self) {
        let topics: Vec<String> = self.backlogs.borrow_mut().drain().map(|(_, (topic, _))| topic).collect();
        self.kafka.delete(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn job(&self, topic: &str, task: &Task) -> (Job, PathBuf) {
        self.runs.set(self.runs.get() + 1);
        let group = format!("{}-{}", self.prefix, self.runs.get());
        let folder = self.folder.join(&group);
        // What many destinations leave in retry tiers and queues must not turn up in what is measured next. The mock
        // cluster has the topics of one prefix only.
        let own = task.destinations > 1 && !self.kafka.is_mock();
        let prefix = if own { group.clone() } else { self.prefix.clone() };
        let job = Job {
            brokers: self.kafka.brokers.clone(),
            mock: self.kafka.is_mock(),
            topic: topic.to_owned(),
            group,
            prefix,
            port: self.receiver(task).address.port(),
            tls: task.tls,
            rules: task.rules,
            destinations: task.destinations,
            fan_out: task.fan_out,
            order: task.order,
            one_of: task.shape.one_of,
        };
        (job, folder)
    }

    /// Lets it work off a backlog of `events`. What is measured is its middle, at most `seconds` of it; with `whole` the
    /// time from the first delivery to the last.
    pub(crate) fn drain(
        &self,
        who: &Contestant,
        task: &Task,
        events: u64,
        seconds: f64,
        whole: bool,
    ) -> Option<Result<Figures, String>> {
        let (topic, events) = self.backlog(task, self.at_most(events, task));
        let (job, folder) = self.job(&topic, task);
        let receiver = self.receiver(task);
        let count = || receiver.state.count.load(Ordering::Relaxed);
        let before = count();
        let deliveries = events / task.shape.one_of * task.fan_out;
        let mut running = who.start(&job, &folder)?;
        let measured = (|| {
            await_count(&mut running, count, before + 1, PATIENCE)?;
            let first = Instant::now();
            if !whole {
                // Connections are made, code is warm, what is read ahead is read ahead.
                let warm = before + deliveries / 10;
                let patience = if matches!(who.kind, Kind::Peer(_)) { 10.0 } else { 3.0 };
                while count() < warm && first.elapsed().as_secs_f64() < patience {
                    std::thread::sleep(LOOK);
                }
            }
            let cpu_before = if whole { 0.0 } else { cpu(&running)? };
            let received_cpu = receiver.state.cpu();
            let (began, from) = (Instant::now(), if whole { before } else { count() });
            let share = if whole { 1.0 } else { 0.9 };
            let enough = before + (deliveries as f64 * share) as u64;
            let mut progress = (Instant::now(), count());
            while count() < enough && (whole || began.elapsed().as_secs_f64() < seconds) {
                std::thread::sleep(LOOK);
                if count() != progress.1 {
                    progress = (Instant::now(), count());
                } else if progress.0.elapsed() > PATIENCE {
                    return Err(format!(
                        "stands still after {} deliveries: {}",
                        count() - before,
                        running.last_lines()
                    ));
                }
                if let Some(end) = running.ended() {
                    return Err(end);
                }
            }
            let (took, to) = (began.elapsed().as_secs_f64(), count());
            let cpu_used = cpu(&running)? - cpu_before;
            let done = (to - from) as f64 / task.fan_out as f64 * task.shape.one_of as f64;
            if task.fan_out == 1 && task.shape.one_of == 1 && !task.tls {
                let (requests, seconds) = self.received.get();
                let more = receiver.state.cpu().saturating_sub(received_cpu).as_secs_f64();
                self.received.set((requests + to - from, seconds + more));
            }
            let note = if whole { format!("{done:.0} events in {took:.1} s") } else { String::new() };
            Ok(Figures {
                cpu_us: Some(cpu_used / done * 1e6),
                per_s: Some(done / took),
                peak_mib: process::peak_mib(running.id()),
                note,
                ..Figures::default()
            })
        })();
        running.stop();
        Some(measured)
    }

    /// Lets it keep up with each of these paces for so many seconds, after some time in which nothing happens.
    pub(crate) fn pace(
        &self,
        who: &Contestant,
        task: &Task,
        paces: &[(u64, f64)],
        dead: bool,
    ) -> Option<Result<Vec<Figures>, String>> {
        if dead && self.kafka.is_mock() {
            // It lacks the topics for what is put aside.
            return None;
        }
        let topic = format!("{}.pace-{}", self.prefix, self.runs.get());
        self.kafka.create(&topic, task.partitions);
        let (job, folder) = self.job(&topic, task);
        let receiver = self.receiver(task);
        receiver.state.dead.store(u64::from(dead), Ordering::Relaxed);
        let count = || receiver.state.count.load(Ordering::Relaxed);
        // Of each round of the destinations one event has none that answers.
        let healthy = |events: u64| if dead { events - events.div_ceil(task.destinations) } else { events };
        let mut running = who.start(&job, &folder)?;
        let measured = (|| {
            let before = count();
            let warm = 1_000.max(2 * task.destinations);
            produce(&self.kafka.brokers, &topic, &task.shape, 0, warm, Some(1_000.0));
            await_count(&mut running, count, before + healthy(warm), PATIENCE)?;
            std::thread::sleep(Duration::from_secs(1));
            let idle = cpu(&running)?;
            let began = Instant::now();
            std::thread::sleep(Duration::from_secs(3));
            let idle_percent = (cpu(&running)? - idle) / began.elapsed().as_secs_f64() * 100.0;
            let mut all = Vec::new();
            let mut number = warm;
            for (per_second, seconds) in paces {
                let events = ((*per_second as f64 * seconds) as u64).next_multiple_of(task.destinations);
                let (from, counts, cpu_before) = (count(), receiver.state.latency.snapshot(), cpu(&running)?);
                let began = Instant::now();
                produce(&self.kafka.brokers, &topic, &task.shape, number, number + events, Some(*per_second as f64));
                number += events;
                await_count(&mut running, count, from + healthy(events), PATIENCE)?;
                let took = began.elapsed().as_secs_f64();
                all.push(Figures {
                    cpu_us: Some((cpu(&running)? - cpu_before) / events as f64 * 1e6),
                    per_s: Some(events as f64 / took),
                    p50_ms: receiver.state.latency.since(&counts, 0.5),
                    p99_ms: receiver.state.latency.since(&counts, 0.99),
                    peak_mib: process::peak_mib(running.id()),
                    idle_percent: Some(idle_percent),
                    note: String::new(),
                });
            }
            Ok(all)
        })();
        running.stop();
        receiver.state.dead.store(0, Ordering::Relaxed);
        self.kafka.delete(&[&topic]);
        Some(measured)
    }
}

fn cpu(running: &Running) -> Result<f64, String> {
    process::cpu(running.id()).ok_or_else(|| format!("it has ended: {}", running.last_lines()))
}

fn await_count(running: &mut Running, count: impl Fn() -> u64, wanted: u64, patience: Duration) -> Result<(), String> {
    let until = Instant::now() + patience;
    while count() < wanted {
        if let Some(end) = running.ended() {
            return Err(end);
        }
        if Instant::now() > until {
            return Err(format!("{} of its deliveries are missing: {}", wanted - count(), running.last_lines()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
