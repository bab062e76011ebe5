//! Faults whose effect on others is measured: isolation, recovery, rate, memory.

use crate::load::{Load, pass};
use crate::support::events::structured;
use crate::support::{Answer, Bed, Replica};
use crate::tally::Tally;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tidegate::model::clock::Monotonic;

const MINUTE: Duration = Duration::from_secs(60);

/// One rule and one destination for each customer of `n` (the order's number modulo `n`), besides what the bed has.
pub(crate) fn many_destinations(bed: &Bed, n: usize, more: &str) {
    let mut text = bed.source_and_connection("");
    for d in 0..n {
        write!(
            text,
            "
---
kind: destination
name: d{d}
connection: api
endpoint: /d/{d}
{more}
---
kind: rule
name: r{d}
pattern: {{data: {{to: [{d}]}}}}
targets:
- name: t
  destination: d{d}
  headers: {{x-event: $.id}}
"
        )
        .expect("text");
    }
    bed.resources("many.yaml", &text);
}

/// The destination that a request was for.
pub(crate) fn destination(target: &str) -> Option<usize> {
    target.strip_prefix("/d/")?.parse().ok()
}

/// Produces `per_second` events for `time`, to `n` destinations in turn; gives the moments, by number.
pub(crate) fn produce_in_turn(bed: &Bed, first: usize, per_second: usize, time: Duration, n: usize) -> Vec<Monotonic> {
    let load = Load::of(bed, per_second, first, move |number| {
        let to = number % n;
        structured(
            &number.to_string(),
            "order.paid",
            &format!("{{\"to\":{to},\"note\":\"of some length, as orders have\"}}"),
        )
    });
    pass(time);
    load.stop()
}

/// Milliseconds from production to arrival that 50 % and 99 % of these events stayed below, and deliveries per second.
fn latency(bed: &Bed, first: usize, produced: &[Monotonic], healthy: impl Fn(usize) -> bool) -> (f64, f64, f64) {
    let mut waits: Vec<f64> = Vec::new();
    let mut last = Monotonic::default();
    bed.api.log(|log| {
        let mut seen = vec![false; produced.len()];
        for request in &log.requests {
            let Some(n) = request.event.parse::<usize>().ok().and_then(|n| n.checked_sub(first)) else { continue };
            let (Some(at), Some(seen)) = (produced.get(n), seen.get_mut(n)) else { continue };
            if *seen || !healthy(n + first) {
                continue;
            }
            *seen = true;
            last = last.max(request.at);
            waits.push(request.at.since(*at).as_secs_f64() * 1e3);
        }
    });
    waits.sort_by(f64::total_cmp);
    let at =
        |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1))).copied();
    let took = produced.first().map_or(0.0, |begin| last.since(*begin).as_secs_f64());
    (at(0.5).unwrap_or_default(), at(0.99).unwrap_or_default(), waits.len() as f64 / took)
}

fn isolation(name: &str, sick: Answer) -> Tally {
    const DESTINATIONS: usize = 100;
    const PACE: usize = 2_000;
    let dead = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&dead);
    let bed = Bed::new(name, 12, move |seen| {
        if says.load(Ordering::Relaxed) && destination(&seen.target) == Some(0) { sick.clone() } else { Answer::ok() }
    });
    many_destinations(&bed, DESTINATIONS, "timeout: 10s");
    let _replica = bed.replica("a");
    let healthy = |n: usize| !n.is_multiple_of(DESTINATIONS);
    // Connections are made and caches warm before anything is measured.
    let warm = produce_in_turn(&bed, 0, PACE, Duration::from_secs(5), DESTINATIONS).len();
    let before = produce_in_turn(&bed, warm, PACE, Duration::from_secs(30), DESTINATIONS);
    let second = warm + before.len();
    bed.api.wait_until("the first part", 2 * MINUTE, |log| log.delivered() == second);
    dead.store(true, Ordering::Relaxed);
    let after = produce_in_turn(&bed, second, PACE, Duration::from_secs(60), DESTINATIONS);
    let count = second + after.len();
    let good = count - (second..count).filter(|n| !healthy(*n)).count();
    bed.api.wait_until("what is for healthy destinations", 2 * MINUTE, |log| log.delivered() >= good);
    let (_, p99_before, rate_before) = latency(&bed, warm, &before, healthy);
    let (_, p99_after, rate_after) = latency(&bed, second, &after, healthy);
    dead.store(false, Ordering::Relaxed);
    let tally = Tally::of(&bed, count, 5 * MINUTE);
    tally
        .noting(format!("the 99: p99 {p99_before:.0} → {p99_after:.0} ms, {rate_before:.0} → {rate_after:.0} events/s"))
}

pub(crate) fn isolation_hang() -> Tally {
    isolation("isolation-hang", Answer::hang())
}

pub(crate) fn isolation_500() -> Tally {
    isolation("isolation-500", Answer::status(500))
}

pub(crate) fn recovery() -> Tally {
    const LIMIT: usize = 500;
    let down = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&down);
    let bed = Bed::new(
        "recovery",
        12,
        move |_| {
            if says.load(Ordering::Relaxed) { Answer::status(500) } else { Answer::ok() }
        },
    );
    bed.usual_resources("rate_limit: 500/s");
    let _replicas = bed.replicas(["a", "b"]);
    let load = Load::start(&bed, 0, 200);
    pass(MINUTE);
    let probes = bed.api.log(|log| log.requests.len());
    down.store(false, Ordering::Relaxed);
    let back = Monotonic::now();
    bed.api.wait_until("a delivery", 6 * MINUTE, |log| log.delivered() > 0);
    let first = Monotonic::now().since(back);
    let count = load.stop().len();
    let tally = Tally::of(&bed, count, 10 * MINUTE);
    let drained = Monotonic::now().since(back);
    let busiest = bed.api.log(|log| busiest_second(log.requests.iter().map(|seen| seen.at)));
    tally.noting(format!(
        "{probes} requests while it was down; first delivery {:.1} s after its return, all {:.0} s; busiest second {busiest} of {LIMIT}",
        first.as_secs_f64(),
        drained.as_secs_f64()
    ))
}

/// The most requests within one second.
pub(crate) fn busiest_second(times: impl Iterator<Item = Monotonic>) -> usize {
    let mut times: Vec<Monotonic> = times.collect();
    times.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while at.since(times[first]) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

pub(crate) fn rate() -> Tally {
    const COUNT: usize = 4_500;
    let bed = Bed::new("rate", 12, |_| Answer::ok());
    bed.usual_resources("rate_limit: 50/s");
    let mut replicas: Vec<Replica> = vec![bed.replica("r0")];
    bed.broker.produce(&bed.topic(), crate::support::events::orders(COUNT));
    let mut notes = String::new();
    let mut from = 0;
    for (phase, wanted) in [1_usize, 3, 6].into_iter().enumerate() {
        while replicas.len() < wanted {
            replicas.push(bed.launch(&format!("r{phase}-{}", replicas.len()), ""));
        }
        // One leaves and comes again in the middle of each part.
        for part in 1..=2 {
            let until = COUNT / 3 * phase + COUNT / 6 * part;
            bed.api.wait_until("a part of the events", 3 * MINUTE, |log| log.requests.len() >= until);
            if part == 1 {
                assert!(replicas.swap_remove(0).stop(MINUTE).success(), "leaves in good order");
                replicas.push(bed.launch(&format!("r{phase}-again"), ""));
            }
        }
        let most = bed.api.log(|log| busiest_second(log.requests.iter().skip(from).map(|seen| seen.at)));
        from = bed.api.log(|log| log.requests.len());
        write!(
            notes,
            "{}{wanted} replica{}: {most}",
            if phase > 0 { ", " } else { "busiest second of 50/s with " },
            if wanted > 1 { "s" } else { "" }
        )
        .expect("text");
    }
    Tally::of(&bed, COUNT, 3 * MINUTE).noting(notes)
}

/// The most memory that a process ever had, in MiB.
pub(crate) fn peak_mib(replica: &Replica) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

pub(crate) fn memory() -> Tally {
    const DESTINATIONS: usize = 1_000;
    let dead = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&dead);
    let bed = Bed::new("memory", 64, move |seen| {
        let odd = destination(&seen.target).is_some_and(|d| d % 2 == 1);
        if odd && says.load(Ordering::Relaxed) { Answer::status(503) } else { Answer::ok() }
    });
    many_destinations(&bed, DESTINATIONS, "");
    let replica = bed.replica("a");
    let count = produce_in_turn(&bed, 0, 1_000, 3 * MINUTE, DESTINATIONS).len();
    bed.api.wait_until("what is for healthy destinations", 3 * MINUTE, |log| log.delivered() >= count / 2);
    let peak = peak_mib(&replica);
    dead.store(false, Ordering::Relaxed);
    let tally = Tally::of(&bed, count, 15 * MINUTE);
    tally.noting(format!("peak {peak} MiB with 500 destinations dead, {} MiB in all", peak_mib(&replica)))
}

pub(crate) fn large() -> Tally {
    const COUNT: usize = 400;
    let arrived = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&arrived);
    let bed = Bed::new("large", 12, move |seen| {
        counts.fetch_add(seen.body.len(), Ordering::Relaxed);
        Answer::ok().after(Duration::from_secs(1))
    });
    bed.usual_resources("concurrency: {max: 64}");
    let replica = bed.replica("a");
    let note = "x".repeat((1 << 20) - 1_024);
    for part in 0..COUNT / 20 {
        let events =
            (0..20).map(|n| structured(&(part * 20 + n).to_string(), "t", &format!("{{\"note\":\"{note}\"}}")));
        bed.broker.produce(&bed.topic(), events);
    }
    let tally = Tally::of(&bed, COUNT, 5 * MINUTE);
    let mib = arrived.load(Ordering::Relaxed) >> 20;
    tally.noting(format!("peak {} MiB for {mib} MiB of events", peak_mib(&replica)))
}
