//! Replicas that die, join and leave. Most need a real Kafka: what a group remembers after a death is Kafka's memory.

use crate::loss::{flaky, wait_settled};
use crate::support::{Answer, Bed, Log, Replica, events, eventually, lacks_real_kafka};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate::model::clock::WallMs;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn deaths_joins_and_leaves_lose_nothing() {
    if lacks_real_kafka("deaths_joins_and_leaves_lose_nothing") {
        return;
    }
    let count = 50_000;
    let seed = WallMs::now().0.unsigned_abs();
    eprintln!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let script = flaky(seed);
    // Slow enough that a death finds requests in flight.
    let bed = Bed::new("kill", 12, move |seen| script(&seen.event).after(Duration::from_millis(10)));
    bed.usual_resources("concurrency: {max: 32}");
    let mut replicas: Vec<Replica> = bed.replicas(["first-a", "first-b", "first-c"]).into();
    bed.broker.produce(&bed.topic(), events::orders(count));

    // Each round begins somewhere in its part of the work, so that the moments differ from run to run.
    let mut open_at_deaths = Vec::new();
    for round in 0..6 {
        let part = count * 9 / 10 / 6;
        let moment = part * round + chance.usize(..part);
        bed.api.wait_until("work goes on", 3 * MINUTE, |log| log.delivered() >= moment);
        let victim = replicas.swap_remove(chance.usize(..replicas.len()));
        match round % 3 {
            // Dies, and another comes in its place.
            0 => {
                open_at_deaths.push(kill(&bed, victim));
                replicas.push(bed.launch(&format!("round-{round}"), ""));
            }
            // Leaves in good order; the next round is the others' alone.
            1 => assert!(victim.stop(Duration::from_secs(30)).success(), "leaves in good order"),
            // Dies while two join.
            _ => {
                replicas.push(bed.launch(&format!("round-{round}-a"), ""));
                open_at_deaths.push(kill(&bed, victim));
                replicas.push(bed.launch(&format!("round-{round}-b"), ""));
            }
        }
    }
    wait_settled(&bed, count, 5 * MINUTE);

    // A death costs what was in flight and what was completed since the last answered commit. How much that is depends
    // on the moment: until a dead member's session has ended Kafka lets the group wait and answers no commit.
    let (duplicates, requests) = bed.api.log(|log| (log.duplicates(), log.requests.len()));
    eprintln!("{count} events, {requests} requests, {duplicates} duplicates; open at the deaths: {open_at_deaths:?}");
    // A revoked partition's requests may be cut off as well, and those are what each replica has in flight.
    let cut_off = 6 * 32 * 3;
    assert!(duplicates <= open_at_deaths.iter().sum::<usize>() + cut_off, "{duplicates} of {open_at_deaths:?}");
}

/// Kills a replica. Returns how many events its death may send again: those sent before it, less those committed.
fn kill(bed: &Bed, victim: Replica) -> usize {
    let committed: i64 = bed.broker.committed(&bed.group(), &bed.topic()).values().map(|(offset, _)| offset).sum();
    victim.kill();
    bed.api.log(|log| log.seen()) - usize::try_from(committed).unwrap()
}

/// A head that never ends, a thousand completions above it, a death, a restart: only the head is sent again.
/// Returns how long the restarted replica took to its first request.
fn stuck_head(test: &str, kafka: &str) -> Duration {
    let stuck = Arc::new(AtomicBool::new(true));
    let hangs = Arc::clone(&stuck);
    let head = |event: &str| event == "0";
    let bed = Bed::new(test, 1, move |seen| {
        if head(&seen.event) && hangs.load(Ordering::Relaxed) { Answer::hang() } else { Answer::ok() }
    });
    bed.usual_resources("timeout: 300s");
    let replica = bed.launch("first", kafka);
    replica.wait_ready(MINUTE);
    bed.broker.produce(&bed.topic(), events::orders(1_001));
    bed.api.wait_until("a thousand above the head", MINUTE, |log| log.delivered() == 1_000);

    // The answered commit that knows all of them: the head's offset, and a map (behind the topic's id, where the broker
    // tells one) that no longer changes.
    let mut last = (None, 0);
    eventually("the map is committed", MINUTE, || {
        let committed = bed.broker.committed(&bed.group(), &bed.topic()).remove(&0);
        last = if last.0 == committed { (committed, last.1 + 1) } else { (committed, 0) };
        let mapped = last.0.as_ref().is_some_and(|(offset, map)| *offset == 0 && map.contains("td1."));
        // Commits go out twice a second and a look takes a twentieth: thirty alike are more than two commits.
        if mapped && last.1 >= 30 { Ok(()) } else { Err(format!("{last:?}")) }
    });

    replica.kill();
    let before = bed.api.log(|log| log.requests.len());
    stuck.store(false, Ordering::Relaxed);
    let replica = bed.launch("second", kafka);
    bed.api.wait_until("a request after the restart", MINUTE, |log| log.requests.len() > before);
    let first = bed.api.log(|log| log.requests[before].at.since(replica.started));
    bed.api.wait_until("the head is delivered", MINUTE, |log| log.has("0"));
    bed.wait_all_committed(MINUTE);

    // In flight at the death: the head. Completed since the last answered commit: nothing.
    let redone: Vec<String> = bed.api.log(|log| log.requests[before..].iter().map(|s| s.event.clone()).collect());
    assert_eq!(redone, ["0"], "sent again after the restart");
    first
}

#[test]
fn only_the_stuck_head_is_sent_again() {
    if lacks_real_kafka("only_the_stuck_head_is_sent_again") {
        return;
    }
    let took = stuck_head("head", "");
    eprintln!("first request {took:?} after the restart");
    assert!(took <= Duration::from_secs(17), "{took:?}");
}

#[test]
fn an_instance_id_brings_a_dead_replica_back_at_once() {
    if lacks_real_kafka("an_instance_id_brings_a_dead_replica_back_at_once") {
        return;
    }
    let took = stuck_head("instance", "instance_id = \"one\"");
    eprintln!("first request {took:?} after the restart");
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_replica_told_to_stop_finishes_what_it_sent() {
    // Slower than the program needs to notice the signal, faster than its drain deadline.
    let bed = Bed::new("stop", 1, |_| Answer::ok().after(Duration::from_secs(1)));
    bed.usual_resources("concurrency: {max: 4}");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(40));
    bed.api.wait_until("requests in flight", MINUTE, |log| log.delivered() >= 4);
    assert!(replica.stop(Duration::from_secs(30)).success(), "exits with 0");

    let sent = bed.api.log(|log| log.requests.len());
    let committed = bed.broker.committed(&bed.group(), &bed.topic())[&0].0;
    assert_eq!(usize::try_from(committed).unwrap(), sent, "all that was sent was waited for and committed");
    let _second = bed.replica("b");
    bed.api.wait_until("the rest", MINUTE, |log| log.delivered() == 40);
    assert_eq!(bed.api.log(|log| log.duplicates()), 0);
}

/// What was tried and waits in memory for its next attempt is stored, with its attempts, before its partition goes.
#[test]
fn a_replica_told_to_stop_forgets_no_attempt() {
    let bed = Bed::new("attempts", 1, |_| Answer::status(500));
    bed.usual_resources("retry: {max_attempts: 3, delay: [3s, 3s]}");
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(1));
    bed.api.wait_until("the first attempt", MINUTE, |log| log.requests.len() == 1);
    assert!(replica.stop(Duration::from_secs(30)).success(), "exits with 0");
    let _second = bed.replica("b");
    let dead = eventually("the dead letter", MINUTE, || {
        let dead = bed.broker.read_all(&bed.own_topic("dlq"));
        if dead.is_empty() { Err("none".to_owned()) } else { Ok(dead) }
    });
    assert_eq!(dead[0].header("tidegate-attempts"), "3");
    assert_eq!(bed.api.log(|log| log.requests.len()), 3);
}

/// An event of two targets, one of which has had its part: the other one's is stored, so that nothing is sent twice.
#[test]
fn a_replica_told_to_stop_has_no_target_served_twice() {
    let bed = Bed::new("siblings", 1, |seen| if seen.target == "/slow" { Answer::hang() } else { Answer::ok() });
    let usual = bed.source_and_connection("");
    let destination = |name: &str, more: &str| {
        format!("---\nkind: destination\nname: {name}\nconnection: api\nendpoint: /{name}\n{more}")
    };
    let target = |name: &str| format!("- {{name: {name}, destination: {name}, headers: {{x-event: $.id}}}}\n");
    let (quick, slow) = (destination("quick", ""), destination("slow", "concurrency: {max: 1}\ntimeout: 1s\n"));
    let rule = format!(
        "---\nkind: rule\nname: both\nfrom: orders\npattern: {{}}\ntargets:\n{}{}",
        target("quick"),
        target("slow")
    );
    bed.resources("a.yaml", &format!("{usual}\n{quick}{slow}{rule}"));
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(5));
    let quick = |log: &Log| log.requests.iter().filter(|seen| seen.target == "/quick").count();
    bed.api.wait_until("the quick ones", MINUTE, |log| quick(log) == 5 && log.requests.len() > 5);
    assert!(replica.stop(Duration::from_secs(30)).success(), "exits with 0");
    assert_eq!(bed.broker.committed(&bed.group(), &bed.topic())[&0].0, 5);
    let _second = bed.replica("b");
    bed.api.wait_until("every slow one", MINUTE, |log| {
        let slow: BTreeSet<_> = log.requests.iter().filter(|seen| seen.target == "/slow").map(|s| &s.event).collect();
        slow.len() == 5
    });
    assert_eq!(bed.api.log(quick), 5);
}

/// The moments differ: before it has asked for its topics, while it joins, when it has been given its first partitions.
#[test]
fn a_replica_told_to_stop_while_it_joins_ends_in_good_order() {
    const EVENTS: usize = 40;
    let bed = Bed::new("early-stop", 4, |_| Answer::ok());
    bed.usual_resources("");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    for ms in [100, 300, 700, 1_500, 3_000, 4_500] {
        let replica = bed.launch(&format!("after-{ms}"), "");
        std::thread::park_timeout(Duration::from_millis(ms));
        let spoke = replica.count_lines(|_| true) > 0;
        let status = replica.stop(Duration::from_secs(30));
        // Before it listens the signal itself ends it; then it has said and done nothing.
        assert!(status.success() || (!spoke && status.code().is_none()), "after {ms} ms: {status}");
    }
    let replica = bed.launch("in-its-slots", "");
    replica.wait_line("slots", MINUTE, |line| line.contains("slots owned"));
    assert!(replica.stop(Duration::from_secs(30)).success());
    let _last = bed.replica("last");
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == EVENTS);
    bed.wait_all_committed(MINUTE);
}

/// A replica that sleeps beyond its session and wakes up: others have taken over, and it must notice before it sends.
#[test]
fn a_replica_that_slept_too_long_fences_itself() {
    if lacks_real_kafka("a_replica_that_slept_too_long_fences_itself") {
        return;
    }
    const IN_FLIGHT: usize = 8;
    const EVENTS: usize = 1_500;
    let quick = "session_timeout = \"6s\"\nheartbeat_interval = \"2s\"\n\n[delivery]\ndrain_timeout = \"2s\"";
    let bed = Bed::new("zombie", 4, |_| Answer::ok().after(Duration::from_millis(50)));
    bed.usual_resources(&format!("concurrency: {{max: {IN_FLIGHT}}}"));
    let first = bed.launch("first", quick);
    first.wait_ready(MINUTE);
    let second = bed.launch("second", quick);
    // While a group rebalances no commit is answered, so work begins when each has its half.
    for replica in [&first, &second] {
        replica.wait_line("half of the slots", MINUTE, |line| line.contains("owned=16 of=32"));
    }
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("some events", MINUTE, |log| log.delivered() >= 200);
    first.signal("STOP");
    // Only the other one works now; what was assigned to the sleeper comes to it when the session has ended.
    bed.api.wait_until("all events", 2 * MINUTE, |log| log.delivered() == EVENTS);
    bed.wait_all_committed(MINUTE);
    let before = bed.api.log(|log| log.requests.len());
    first.signal("CONT");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS + 200).skip(EVENTS));
    bed.api.wait_until("the later events", MINUTE, |log| log.delivered() == EVENTS + 200);
    bed.wait_all_committed(MINUTE);

    // The sleeper's requests in flight end when it wakes, and nothing that waited in it is sent.
    let after = bed.api.log(|log| log.requests.len()) - before;
    assert!(after <= 200 + IN_FLIGHT, "{after} requests for 200 events after waking");
    // In flight when it fell asleep, and completed since its last answered commit: one goes out every half second, when
    // the poll thread comes round to it, so that is less than a second of its work.
    let duplicates = bed.api.log(|log| log.duplicates());
    assert!(duplicates <= IN_FLIGHT + IN_FLIGHT * 20, "{duplicates} duplicates");
    eprintln!("{duplicates} duplicates");
}
