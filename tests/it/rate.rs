//! A limit holds over the whole group, whatever the group does meanwhile.

use crate::support::{Answer, Bed, events, real_kafka, size};
use std::time::Duration;
use tidegate::model::clock::Monotonic;

const LIMIT: f64 = 50.0;

/// The largest excess over `LIMIT · w + slack` in any window between two of these moments, and where it is.
fn worst_excess(times: &[Monotonic], slack: f64) -> (f64, usize, usize) {
    let mut worst = (f64::MIN, 0, 0);
    for (i, from) in times.iter().enumerate() {
        for (j, to) in times.iter().enumerate().skip(i) {
            let window = to.since(*from).as_secs_f64();
            let excess = (j - i + 1) as f64 - (LIMIT * window + slack);
            if excess > worst.0 {
                worst = (excess, i, j);
            }
        }
    }
    worst
}

#[test]
fn two_replicas_share_one_limit_through_a_rebalance() {
    let count = size(500, 3_000);
    let bed = Bed::new("rate", 12, |_| Answer::ok());
    bed.usual_resources("rate_limit: 50/s");
    let [first, _second] = bed.replicas(["a", "b"]);
    bed.broker.produce(&bed.topic(), events::orders(count));

    // A third joins, takes its share, and one of the first two leaves: shares move twice.
    bed.api.wait_until("a third of the events", Duration::from_secs(120), |log| log.delivered() >= count / 3);
    let _third = bed.replica("c");
    bed.api.wait_until("two thirds", Duration::from_secs(120), |log| log.delivered() >= count * 2 / 3);
    assert!(first.stop(Duration::from_secs(30)).success());
    bed.api.wait_until("all events", Duration::from_secs(120), |log| log.delivered() == count);
    bed.wait_all_committed(Duration::from_secs(30));

    let mut times: Vec<Monotonic> = bed.api.log(|log| log.requests.iter().map(|seen| seen.at).collect());
    times.sort_unstable();
    // Burst 1 and one per replica, of which there are three for a while. The limit is on the moment of sending; what is
    // measured is the moment of arrival, and a request that waited 40 ms for a busy machine shortens its window by two.
    let (excess, from, to) = worst_excess(&times, 1.0 + 3.0 + LIMIT * 0.04);
    let window = times[to].since(times[from]);
    assert!(excess <= 0.0, "{} requests in {window:?}, {excess:.1} too many", to - from + 1);

    let took = times[times.len() - 1].since(times[0]).as_secs_f64();
    let used = (count as f64 / took) / LIMIT;
    eprintln!("{count} events in {took:.1} s, {:.0} % of the limit, margin {:.1} requests", used * 100.0, -excess);
    // A partition that moves is drained and committed first. The mock cluster refuses commits for as long as its group
    // rebalances, so there what was completed meanwhile comes again.
    if real_kafka().is_some() {
        assert_eq!(bed.api.log(|log| log.duplicates()), 0);
    }
}

#[test]
fn the_window_check_can_fail() {
    let even: Vec<Monotonic> = (0..200).map(|n| Monotonic(n * 20_000_000)).collect();
    assert!(worst_excess(&even, 1.0).0 <= 1e-9);
    let mut burst = even;
    burst.extend([Monotonic(100 * 20_000_000); 4]);
    burst.sort_unstable();
    let (excess, from, to) = worst_excess(&burst, 3.0);
    assert!((excess - 2.0).abs() < 1e-9 && from <= 100 && to >= 104, "{excess} {from} {to}");
}
