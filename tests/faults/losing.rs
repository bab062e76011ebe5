//! Faults in which something could be lost.

use crate::kafka;
use crate::load::{Load, pass};
use crate::support::{Answer, Bed, Replica, events, eventually};
use crate::tally::Tally;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate::model::clock::{Monotonic, WallMs};

const MINUTE: Duration = Duration::from_secs(60);
const SESSION: Duration = Duration::from_secs(15);

fn chance() -> fastrand::Rng {
    let seed = WallMs::now().0.unsigned_abs();
    eprintln!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

/// Most events in flight at a moment are slow enough that a death finds some.
fn slow_bed(name: &str, answers_after: Duration) -> Bed {
    let bed = Bed::new(name, 12, move |_| Answer::ok().after(answers_after));
    bed.usual_resources("concurrency: {max: 64}");
    bed
}

pub(crate) fn kill() -> Tally {
    let bed = slow_bed("kill", Duration::from_millis(20));
    let mut replicas: Vec<Replica> = bed.replicas(["a", "b", "c"]).into();
    let mut chance = chance();
    let load = Load::start(&bed, 0, 1_000);
    const KILLS: usize = 10;
    for round in 0..KILLS {
        pass(Duration::from_secs(6));
        replicas.swap_remove(chance.usize(..replicas.len())).kill();
        replicas.push(bed.launch(&format!("again-{round}"), ""));
    }
    let count = load.stop().len();
    let ended = Monotonic::now();
    let tally = Tally::of(&bed, count, 5 * MINUTE);
    let caught_up = Monotonic::now().since(ended);
    let per_kill = tally.duplicated as f64 / KILLS as f64;
    tally
        .noting(format!("{per_kill:.0} duplicates per kill, caught up {:.1} s after the last", caught_up.as_secs_f64()))
}

pub(crate) fn freeze() -> Tally {
    let bed = slow_bed("freeze", Duration::from_millis(20));
    let [a, _b] = bed.replicas(["a", "b"]);
    let load = Load::start(&bed, 0, 500);
    pass(Duration::from_secs(10));
    a.signal("STOP");
    pass(SESSION + Duration::from_secs(10));
    a.signal("CONT");
    pass(Duration::from_secs(15));
    let count = load.stop().len();
    Tally::of(&bed, count, 3 * MINUTE)
}

pub(crate) fn come_and_go() -> Tally {
    let bed = slow_bed("come-and-go", Duration::from_secs(1));
    let _always = bed.replica("always");
    let load = Load::start(&bed, 0, 40);
    let mut guest: Option<Replica> = None;
    for round in 0..12 {
        pass(Duration::from_secs(5));
        guest = match guest {
            Some(guest) => {
                assert!(guest.stop(MINUTE).success(), "leaves in good order");
                None
            }
            None => Some(bed.launch(&format!("guest-{round}"), "")),
        };
    }
    let count = load.stop().len();
    Tally::of(&bed, count, 3 * MINUTE)
}

pub(crate) fn broker() -> Tally {
    let bed = slow_bed("broker", Duration::from_millis(5));
    let _replicas = bed.replicas(["a", "b"]);
    let load = Load::start(&bed, 0, 500);
    pass(Duration::from_secs(10));
    kafka(&["kill", "2"]);
    pass(Duration::from_secs(15));
    kafka(&["start", "2"]);
    pass(Duration::from_secs(15));
    kafka(&["pause", "3"]);
    pass(Duration::from_secs(15));
    kafka(&["resume", "3"]);
    pass(Duration::from_secs(10));
    let count = load.stop().len();
    Tally::of(&bed, count, 5 * MINUTE)
}

pub(crate) fn stop() -> Tally {
    let hangs = Arc::new(AtomicBool::new(true));
    let hang = Arc::clone(&hangs);
    let bed = Bed::new("stop", 12, move |seen| {
        let odd = seen.event.parse::<usize>().is_ok_and(|n| n % 2 == 1);
        if odd && hang.load(Ordering::Relaxed) { Answer::hang() } else { Answer::ok() }
    });
    bed.usual_resources("concurrency: {max: 64}");
    let first = bed.replica("a");
    const COUNT: usize = 2_000;
    bed.broker.produce(&bed.topic(), events::orders(COUNT));
    bed.api.wait_until("requests hang", MINUTE, |log| log.requests.len() >= 50);
    let told = Monotonic::now();
    assert!(first.stop(Duration::from_secs(30)).success(), "ends in good order");
    let took = Monotonic::now().since(told);
    hangs.store(false, Ordering::Relaxed);
    let _second = bed.replica("b");
    let tally = Tally::of(&bed, COUNT, 3 * MINUTE);
    tally.noting(format!("ended {:.1} s after SIGTERM", took.as_secs_f64()))
}

/// Events `0, 2, 4 …` are in transactions that were committed, the odd ones in transactions that were aborted.
pub(crate) fn transactions() -> Tally {
    let bed = slow_bed("transactions", Duration::ZERO);
    let _replica = bed.replica("a");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bed.broker.bootstrap).set("transactional.id", bed.name());
    let producer: BaseProducer = config.create().expect("a producer");
    let patience = Duration::from_secs(30);
    producer.init_transactions(patience).expect("transactions");
    const TRANSACTIONS: usize = 61;
    const EACH: usize = 24;
    // The last one is committed and in every partition, so that nothing but its markers trails.
    for transaction in 0..TRANSACTIONS {
        producer.begin_transaction().expect("a transaction");
        for n in 0..EACH {
            let number = transaction * EACH + n;
            let id = if transaction % 2 == 0 { number * 2 } else { number * 2 + 1 };
            let data = format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/t\",\"type\":\"t\"}}");
            let topic = bed.topic();
            let kind = Header { key: "content-type", value: Some("application/cloudevents+json") };
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(&topic).payload(data.as_str()).headers(OwnedHeaders::new().insert(kind));
            let record = record.partition(i32::try_from(n % 12).expect("a partition"));
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
        producer.flush(patience).expect("sent");
        if transaction % 2 == 0 {
            producer.commit_transaction(patience).expect("committed");
        } else {
            producer.abort_transaction(patience).expect("aborted");
        }
    }
    let committed = (0..TRANSACTIONS).step_by(2).flat_map(|t| (0..EACH).map(move |n| (t * EACH + n) * 2));
    let tally = Tally::within(&bed, committed, MINUTE);
    let aborted =
        bed.api.log(|log| log.delivered_events().filter(|id| id.parse::<usize>().is_ok_and(|n| n % 2 == 1)).count());
    assert_eq!(aborted, 0, "events of aborted transactions were delivered");
    // Markers take offsets: the group's lag is at most those that trail.
    let behind = eventually("the lag is gone", MINUTE, || {
        let committed = bed.broker.committed(&bed.group(), &bed.topic());
        let behind: i64 =
            bed.broker.ends(&bed.topic()).iter().map(|(p, end)| end - committed.get(p).map_or(0, |(at, _)| *at)).sum();
        if behind <= 12 { Ok(behind) } else { Err(format!("{behind} offsets behind")) }
    });
    tally.noting(format!("no aborted event delivered; {behind} offsets of markers left"))
}
