//! A limit holds over the whole group, whatever the group does meanwhile.

use crate::support::{Answer, Bed, Replica, events, eventually, real_kafka, size};
use std::time::Duration;
use tidegate::model::clock::Monotonic;

const LIMIT: f64 = 50.0;

/// The largest excess over `limit · w + slack` in any window between two of these moments, and where it is.
pub(crate) fn worst_excess(times: &[Monotonic], limit: f64, slack: f64) -> (f64, usize, usize) {
    let mut worst = (f64::MIN, 0, 0);
    for (i, from) in times.iter().enumerate() {
        for (j, to) in times.iter().enumerate().skip(i) {
            let window = to.since(*from).as_secs_f64();
            let excess = (j - i + 1) as f64 - (limit * window + slack);
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
    // There are three replicas for a while.
    let margin = assert_kept("three replicas", &times, LIMIT, 3.0);
    let took = times[times.len() - 1].since(times[0]).as_secs_f64();
    let used = (count as f64 / took) / LIMIT;
    eprintln!("{count} events in {took:.1} s, {:.0} % of the limit, margin {margin:.1} requests", used * 100.0);
    // A partition that moves is drained and committed first. The mock cluster refuses commits for as long as its group
    // rebalances, so there what was completed meanwhile comes again.
    if real_kafka().is_some() {
        assert_eq!(bed.api.log(|log| log.duplicates()), 0);
    }
}

/// When the requests to this path came.
pub(crate) fn times_of(bed: &Bed, path: &str) -> Vec<Monotonic> {
    let mut times: Vec<Monotonic> = bed.api.log(|log| {
        let of_path = log.requests.iter().filter(|seen| seen.target == path);
        of_path.map(|seen| seen.at).collect()
    });
    times.sort_unstable();
    times
}

/// Asserts that these requests kept to the limit, whose burst is 1, with so many replicas that may send at once; how
/// many more there might have been.
///
/// The limit is on the moment of sending; what is measured is the moment of arrival, and a request that waited 100 ms
/// for a busy machine shortens its window by as much. A share that starts full is ten times more than that.
#[track_caller]
pub(crate) fn assert_kept(what: &str, times: &[Monotonic], limit: f64, replicas: f64) -> f64 {
    let (excess, from, to) = worst_excess(times, limit, 1.0 + replicas + limit * 0.1);
    assert!(
        excess <= 0.0,
        "{what}: {} requests in {:?}, {excess:.1} too many",
        to - from + 1,
        times[to].since(times[from])
    );
    -excess
}

#[test]
fn a_limit_that_changes_holds_from_then_on() {
    const COUNT: usize = 160;
    for sharing in ["exact", "shared"] {
        let bed = Bed::new("live", 2, |_| Answer::ok());
        let limit = |limit: &str| bed.usual_resources(&format!("rate: {sharing}\nrate_limit: {limit}"));
        limit("5/s");
        let replica = bed.replica("a");
        bed.broker.produce(&bed.topic(), events::orders(COUNT));
        let reloads = || replica.count_lines(|line| line.contains("reloaded: sink"));
        let change = |to: &str| {
            let before = reloads();
            limit(to);
            eventually("the reload", Duration::from_secs(60), || {
                if reloads() > before { Ok(()) } else { Err("not yet".to_owned()) }
            });
            (Monotonic::now(), bed.api.log(|log| log.delivered()))
        };
        let until = |count: usize| {
            bed.api.wait_until("so many events", Duration::from_secs(60), |log| log.delivered() >= count);
        };
        until(12);
        let (faster, before) = change("50/s");
        until(COUNT - 30);
        let took = Monotonic::now().since(faster).as_secs_f64();
        let sent = (COUNT - 30 - before) as f64;
        assert!(sent / took > 20.0, "{sharing}: {sent} events in {took:.1} s: the new limit is used");
        let (slower, _) = change("5/s");
        until(COUNT);
        bed.wait_all_committed(Duration::from_secs(60));
        let times = times_of(&bed, "/in");
        assert_eq!(times.len(), COUNT, "each once");
        let part = |from: Monotonic, to: Monotonic| -> Vec<Monotonic> {
            times.iter().copied().filter(|at| from <= *at && *at < to).collect()
        };
        let end = Monotonic::now();
        let (first, last) = (part(Monotonic(0), faster), part(slower, end));
        eprintln!("{sharing}: {} at 5/s, {sent} in {took:.1} s at 50/s, {} at 5/s", first.len(), last.len());
        assert!(last.len() >= 5, "{sharing}: {} events were left for the slower limit", last.len());
        assert_kept(&format!("{sharing}, faster"), &part(faster, slower), LIMIT, 1.0);
        assert_kept(&format!("{sharing}, slower again"), &last, 5.0, 1.0);
        assert!(replica.stop(Duration::from_secs(30)).success());
    }
}

#[test]
fn a_storm_of_restarts_makes_no_burst() {
    const COUNT: usize = 300;
    let bed = Bed::new("storm", 4, |_| Answer::ok());
    let mut resources = bed.source_and_connection("");
    for sharing in ["exact", "shared"] {
        resources.push_str(&format!(
            "\n---\n{{kind: destination, name: {sharing}, connection: api, endpoint: /{sharing}, rate_limit: 50/s, \
             rate: {sharing}}}\n---\n{{kind: rule, name: {sharing}, pattern: {{}}, targets: [{{name: {sharing}, \
             destination: {sharing}, headers: {{x-event: '{sharing}-${{$.id}}'}}}}]}}"
        ));
    }
    bed.resources("all.yaml", &resources);
    let mut replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(COUNT));
    let minute = Duration::from_secs(60);
    for (round, kills) in [false, true, false].into_iter().enumerate() {
        let before = bed.api.log(|log| log.delivered());
        bed.api.wait_until("it sends", minute, |log| log.delivered() >= (before + 20).min(2 * COUNT));
        if kills {
            replica.kill();
        } else {
            assert!(Replica::stop(replica, Duration::from_secs(30)).success());
        }
        replica = bed.launch(&format!("a{round}"), "");
    }
    bed.api.wait_until("all events", minute * 2, |log| log.delivered() == 2 * COUNT);
    bed.wait_all_committed(minute);
    for path in ["/exact", "/shared"] {
        let times = times_of(&bed, path);
        assert_kept(path, &times, LIMIT, 1.0);
        eprintln!("{path}: {} requests in {:?}", times.len(), times[times.len() - 1].since(times[0]));
    }
}

#[test]
fn the_window_check_can_fail() {
    let even: Vec<Monotonic> = (0..200).map(|n| Monotonic(n * 20_000_000)).collect();
    assert!(worst_excess(&even, LIMIT, 1.0).0 <= 1e-9);
    let mut burst = even;
    burst.extend([Monotonic(100 * 20_000_000); 4]);
    burst.sort_unstable();
    let (excess, from, to) = worst_excess(&burst, LIMIT, 3.0);
    assert!((excess - 2.0).abs() < 1e-9 && from <= 100 && to >= 104, "{excess} {from} {to}");
}
