//! Everything at once, for a while: what one fault does not show, many in a row may. Besides the count of events, the
//! largest age of a watermark that any replica told: no partition may stand still.

use crate::load::{Load, pass};
use crate::measuring::{destination, many_destinations, peak_mib};
use crate::support::events::structured;
use crate::support::{Answer, Bed, Replica};
use crate::tally::Tally;
use std::time::Duration;
use tidegate::model::clock::{Monotonic, WallMs};

const MINUTE: Duration = Duration::from_secs(60);

/// How long it goes on, unless `SOAK_MINUTES` says otherwise.
const MINUTES: u32 = 5;

/// Destinations that each behave in a way of their own.
const DESTINATIONS: usize = 8;

const PER_SECOND: usize = 400;

/// No open offset may be the oldest for longer: a session ends after 15 s, and a hung request after 5.
const OLDEST_S: f64 = 30.0;

/// How a destination answers so long after the beginning.
fn mood(destination: usize, event: usize, since: Duration) -> Answer {
    let in_minute = since.as_secs() % 60;
    match destination {
        2 => Answer::ok().after(Duration::from_millis(500)),
        3 if in_minute < 30 => Answer::status(500),
        4 if (20..40).contains(&in_minute) => Answer::hang(),
        5 if in_minute < 20 => Answer::status(429).header("retry-after", "5"),
        6 if in_minute >= 40 => Answer::reset(),
        7 if event.is_multiple_of(10) && fastrand::bool() => Answer::status(503),
        _ => Answer::ok().after(Duration::from_millis(5)),
    }
}

pub(crate) fn soak() -> Tally {
    let minutes = std::env::var("SOAK_MINUTES").map_or(MINUTES, |text| text.parse().expect("SOAK_MINUTES in minutes"));
    let began = Monotonic::now();
    let calm = began.plus(MINUTE * minutes);
    let bed = Bed::new("soak", 12, move |seen| {
        let now = Monotonic::now();
        match (destination(&seen.target), seen.event.parse()) {
            (Some(destination), Ok(event)) if now < calm => mood(destination, event, now.since(began)),
            _ => Answer::ok(),
        }
    });
    many_destinations(&bed, DESTINATIONS, "timeout: 5s");
    let mut replicas: Vec<Replica> = bed.replicas(["a", "b", "c"]).into();
    let seed = WallMs::now().0.unsigned_abs();
    eprintln!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let load = Load::of(&bed, PER_SECOND, 0, |number| {
        structured(&number.to_string(), "order.paid", &format!("{{\"to\":{}}}", number % DESTINATIONS))
    });
    let (mut oldest_s, mut peak, mut losses) = (0.0_f64, 0, [0_usize; 4]);
    let mut look = |replicas: &[Replica], time: Duration| {
        for _ in 0..time.as_secs() {
            pass(Duration::from_secs(1));
            for replica in replicas {
                oldest_s = oldest_s.max(watermark_age_s(replica));
                peak = peak.max(peak_mib(replica));
            }
        }
    };
    while Monotonic::now() < calm {
        look(&replicas, Duration::from_secs(chance.u64(4..12)));
        let one = replicas.swap_remove(chance.usize(..replicas.len()));
        let what = chance.usize(..4);
        losses[what] += 1;
        match what {
            0 => {
                one.kill();
                replicas.push(bed.replica("after-a-kill"));
            }
            1 => {
                assert!(one.stop(MINUTE).success(), "leaves in good order");
                replicas.push(bed.replica("after-a-stop"));
            }
            // Shorter, and longer, than its session.
            pause => {
                one.signal("STOP");
                look(&replicas, Duration::from_secs(if pause == 2 { 5 } else { 20 }));
                one.signal("CONT");
                replicas.push(one);
            }
        }
    }
    let count = load.stop().len();
    let tally = Tally::of(&bed, count, 10 * MINUTE);
    look(&replicas, Duration::from_secs(1));
    assert!(oldest_s <= OLDEST_S, "an open offset was the oldest for {oldest_s:.0} s");
    let [kills, stops, short, long] = losses;
    tally.noting(format!(
        "{minutes} minutes; {kills} killed, {stops} stopped, {short} frozen for 5 s, {long} for 20 s; oldest open offset {oldest_s:.0} s; most memory {peak} MiB"
    ))
}

/// The largest age of a watermark of the source that a replica tells.
fn watermark_age_s(replica: &Replica) -> f64 {
    let (_, _, metrics) = replica.get("/metrics");
    let ages = metrics.lines().filter(|line| {
        line.starts_with("tidegate_partition_watermark_age_seconds{") && !line.contains("source=\"stored\"")
    });
    ages.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).fold(0.0, f64::max)
}
