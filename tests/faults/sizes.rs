//! Faults of size: many partitions, many destinations, large events, high rates, and everything blocked at once.

use crate::kafka;
use crate::load::pass;
use crate::measuring::{busiest_second, destination, many_destinations, peak_mib, produce_in_turn};
use crate::support::events::structured;
use crate::support::{Answer, Bed, Replica};
use crate::tally::Tally;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate::model::clock::Monotonic;

const MINUTE: Duration = Duration::from_secs(60);

/// 500 partitions, each with a backlog of events of nearly 1 MiB, and 10,000 destinations of which half are dead.
pub(crate) fn crowd() -> Tally {
    const PARTITIONS: i32 = 500;
    const DESTINATIONS: usize = 10_000;
    const LARGE: usize = 500;
    let dead = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&dead);
    let bed = Bed::new("memory-large", PARTITIONS, move |seen| {
        let odd = destination(&seen.target).is_some_and(|d| d % 2 == 1);
        if odd && says.load(Ordering::Relaxed) { Answer::status(503) } else { Answer::ok() }
    });
    many_destinations(&bed, DESTINATIONS, "");
    let note = "x".repeat(990_000);
    // Portions, for the producer's queue holds so much at a time.
    for part in 0..LARGE / 20 {
        let events = (part * 20..part * 20 + 20)
            .map(|n| structured(&n.to_string(), "t", &format!("{{\"to\":{n},\"note\":\"{note}\"}}")));
        bed.broker.produce(&bed.topic(), events);
    }
    // One copy of each queue: it is our memory that is looked at, and brokers take minutes to make fifteen thousand.
    let replica = bed.launch("a", "replication_factor = 1");
    replica.wait_ready(5 * MINUTE);
    let idle = now_mib(&replica);
    let count = LARGE + produce_in_turn(&bed, LARGE, 500, 3 * MINUTE, DESTINATIONS).len();
    bed.api.wait_until("what is for healthy destinations", 5 * MINUTE, |log| log.delivered() >= count / 2);
    let (peak, now) = (peak_mib(&replica), now_mib(&replica));
    dead.store(false, Ordering::Relaxed);
    let tally = Tally::of(&bed, count, 15 * MINUTE);
    tally.noting(format!(
        "{idle} MiB at first, peak {peak} MiB and then {now} MiB with 5,000 destinations dead, peak {} MiB in all",
        peak_mib(&replica)
    ))
}

/// A hundred thousand destinations, each of which gets an event or two.
pub(crate) fn destinations() -> Tally {
    const DESTINATIONS: usize = 100_000;
    let bed = Bed::new("destinations", 12, |_| Answer::ok());
    many_destinations(&bed, DESTINATIONS, "");
    bed.settings("[delivery]\nmemory_budget = \"2GiB\"");
    let began = Monotonic::now();
    let replica = bed.launch("a", "");
    replica.wait_ready(5 * MINUTE);
    let (start, idle) = (Monotonic::now().since(began), now_mib(&replica));
    let count = produce_in_turn(&bed, 0, 2_000, MINUTE, DESTINATIONS).len();
    let tally = Tally::of(&bed, count, 5 * MINUTE);
    tally.noting(format!(
        "ready after {:.0} s with {idle} MiB, peak {} MiB with a budget of 2 GiB",
        start.as_secs_f64(),
        peak_mib(&replica)
    ))
}

/// A million keys in order, each of one event; one in twenty is refused twice and keeps its key waiting meanwhile.
pub(crate) fn keys() -> Tally {
    const REFUSALS: u32 = 2;
    let refused = Mutex::new(BTreeMap::new());
    let bed = Bed::new("keys", 12, move |seen| {
        if !seen.event.parse::<usize>().is_ok_and(|n| n.is_multiple_of(20)) {
            return Answer::ok();
        }
        let mut refused = refused.lock().expect("nobody panicked");
        let times = refused.entry(seen.event.clone()).or_insert(0_u32);
        *times += 1;
        if *times > REFUSALS { Answer::ok() } else { Answer::status(503) }
    });
    let resources = format!(
        "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in}}
---
{{kind: rule, name: all, pattern: {{}}, targets: [{{name: sink, destination: sink, ordering: {{key: $.id}}, headers: {{x-event: $.id}}}}]}}",
        bed.source_and_connection("")
    );
    bed.resources("all.yaml", &resources);
    let replica = bed.replica("a");
    let count = produce_in_turn(&bed, 0, 20_000, Duration::from_secs(50), 1).len();
    let tally = Tally::of(&bed, count, 10 * MINUTE);
    tally.noting(format!("peak {} MiB", peak_mib(&replica)))
}

/// The memory that a process has now, in MiB.
fn now_mib(replica: &Replica) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Events of 1 to 90 MiB: a broker takes requests up to 100 MiB.
pub(crate) fn huge() -> Tally {
    const SIZES_MIB: [usize; 12] = [1, 90, 2, 50, 5, 90, 10, 20, 1, 50, 90, 1];
    // Each is refused once, so that each goes through a retry tier, too.
    let refused = Mutex::new(BTreeSet::new());
    let bed = Bed::new("huge", 4, move |seen| {
        let first = refused.lock().expect("nobody panicked").insert(seen.event.clone());
        if first { Answer::status(503) } else { Answer::ok().after(Duration::from_millis(200)) }
    });
    let (topic, largest) = (bed.topic(), "max.message.bytes=98566144");
    kafka(&["cli", "configs", "--alter", "--entity-type", "topics", "--entity-name", &topic, "--add-config", largest]);
    bed.settings("[delivery]\nmax_event_bytes = \"92MiB\"\nmemory_budget = \"512MiB\"");
    bed.usual_resources("timeout: 60s");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bed.broker.bootstrap).set("message.max.bytes", "98566144");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    for (n, mib) in SIZES_MIB.into_iter().enumerate() {
        let message = structured(&n.to_string(), "t", &format!("{{\"note\":\"{}\"}}", "x".repeat((mib << 20) - 1_024)));
        let headers = message.headers.iter().fold(rdkafka::message::OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(rdkafka::message::Header { key, value: value.as_deref() })
        });
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).headers(headers);
        record.payload = message.value.as_deref();
        producer.send(record).map_err(|(error, _)| error).expect("room for a record");
        producer.flush(MINUTE).expect("acknowledged");
    }
    let replica = bed.replica("a");
    let tally = Tally::of(&bed, SIZES_MIB.len(), 5 * MINUTE);
    tally.noting(format!("peak {} MiB with a budget of 512 MiB", peak_mib(&replica)))
}

/// Every lane is blocked by its order for four times as long as a consumer may be silent.
pub(crate) fn blocked() -> Tally {
    const COUNT: usize = 60_000;
    let slow = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&slow);
    let bed = Bed::new("blocked", 12, move |_| {
        if says.load(Ordering::Relaxed) { Answer::ok().after(Duration::from_secs(40)) } else { Answer::ok() }
    });
    let resources = format!(
        "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in, timeout: 120s}}
---
{{kind: rule, name: all, pattern: {{}}, targets: [{{name: sink, destination: sink, ordering: partition, headers: {{x-event: $.id}}}}]}}",
        bed.source_and_connection("")
    );
    bed.resources("all.yaml", &resources);
    bed.settings("[delivery]\ndrain_timeout = \"3s\"");
    bed.broker.produce(&bed.topic(), crate::support::events::orders(COUNT));
    let replica = bed.launch("a", "max_poll_interval = \"10s\"\nsession_timeout = \"9s\"");
    replica.wait_ready(MINUTE);
    bed.api.wait_until("every lane waits for an answer", MINUTE, |log| log.requests.len() >= 12);
    pass(Duration::from_secs(30));
    slow.store(false, Ordering::Relaxed);
    let tally = Tally::of(&bed, COUNT, 5 * MINUTE);
    let late = replica.count_lines(|line| line.contains("max.poll.interval") || line.contains("lost without notice"));
    assert_eq!(late, 0, "the group took it for dead");
    tally.noting("blocked for 40 s with a poll interval of 10 s; no partition was lost".to_owned())
}

/// One limit after the other, each with one replica and then with three that come and go.
pub(crate) fn rate_high() -> Tally {
    let mut sum = Tally::default();
    for (limit, seconds) in [(1, 30), (1_000, 30), (10_000, 30)] {
        let tally = at_rate(limit, limit * seconds);
        sum = Tally {
            produced: sum.produced + tally.produced,
            delivered: sum.delivered + tally.delivered,
            duplicated: sum.duplicated + tally.duplicated,
            dead: sum.dead + tally.dead,
            lost: sum.lost + tally.lost,
            notes: if sum.notes.is_empty() { tally.notes } else { format!("{}; {}", sum.notes, tally.notes) },
        };
    }
    sum
}

fn at_rate(limit: usize, count: usize) -> Tally {
    let bed = Bed::new("rate-high", 12, |_| Answer::ok());
    bed.usual_resources(&format!("rate_limit: {limit}/s"));
    let mut replicas = vec![bed.replica("r0")];
    // More than is measured: of a limit that is shared, only who has something to send can use his part.
    let produced = count * 4 / 3;
    bed.broker.produce(&bed.topic(), crate::support::events::orders(produced));
    let mut notes = format!("{limit}/s:");
    let mut from = 0;
    for (phase, wanted) in [1_usize, 3].into_iter().enumerate() {
        while replicas.len() < wanted {
            replicas.push(bed.launch(&format!("r{phase}-{}", replicas.len()), ""));
        }
        if wanted > 1 {
            bed.api.wait_until("three quarters", 3 * MINUTE, |log| log.requests.len() >= count * 3 / 4);
            assert!(replicas.swap_remove(0).stop(MINUTE).success(), "leaves in good order");
            replicas.push(bed.launch("again", ""));
        }
        let until = count * (phase + 1) / 2;
        bed.api.wait_until("a part of the events", 3 * MINUTE, |log| log.requests.len() >= until);
        let times: Vec<Monotonic> = bed.api.log(|log| log.requests.iter().skip(from).map(|seen| seen.at).collect());
        from += times.len();
        let took = times.first().zip(times.last()).map_or(0.0, |(first, last)| last.since(*first).as_secs_f64());
        let used = times.len() as f64 / took / limit as f64 * 100.0;
        let most = busiest_second(times.into_iter());
        write!(
            notes,
            " {wanted} replica{}: busiest second {most}, {used:.0} % used",
            if wanted > 1 { "s" } else { "" }
        )
        .expect("text");
    }
    Tally::of(&bed, produced, 3 * MINUTE).noting(notes)
}
