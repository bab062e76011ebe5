//! Targets that keep an order: each key in the order of its offsets, whatever fails; nobody else waits for it (F60,
//! F61).

use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, Log, Stored, eventually, lacks_real_kafka, size};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate::model::clock::WallMs;

const MINUTE: Duration = Duration::from_secs(60);

/// An event whose id says its place in its sequence: `key/number`.
fn event(key: &str, number: usize) -> Message {
    structured(&format!("{key}/{number}"), "order.paid", &format!("{{\"customer\":\"{key}\"}}")).key(key)
}

/// The resources of these tests: the source, the API, a destination and a rule with these targets.
fn resources(bed: &Bed, topics: &[String], targets: &str) {
    bed.resources(
        "usual.yaml",
        &format!(
            "{}
---
kind: destination
name: sink
connection: api
endpoint: /in
concurrency: {{max: 64}}
---
kind: rule
name: all
from: orders
pattern: {{}}
targets:
{targets}
",
            bed.source_and_connection("").replace(&bed.topic(), &topics.join(", "))
        ),
    );
}

/// A target that keeps an order.
fn in_order(name: &str, rest: &str) -> String {
    format!("- {{name: {name}, destination: sink, headers: {{x-event: $.id}}, {rest}}}\n")
}

/// The group of a target of the rule.
fn group(bed: &Bed, target: &str) -> String {
    format!("{}.all.{target}", bed.name())
}

#[track_caller]
fn wait_committed(bed: &Bed, target: &str, topics: &[String]) {
    eventually("everything committed in order", MINUTE, || {
        topics.iter().try_for_each(|topic| bed.broker.at_end(&group(bed, target), topic))
    });
}

/// How often a sequence was begun anew before its end, which a partition that changes hands may do. Each time it must go
/// on in order, and nothing may start before the one before it was taken.
fn begun_anew(log: &Log) -> usize {
    let mut last: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    let mut anew = 0;
    for seen in log.requests.iter().filter(|seen| !seen.event.starts_with("none")) {
        let (key, number) = seen.event.split_once('/').expect("key/number");
        let number: usize = number.parse().expect("a number");
        let taken = seen.answered.is_some_and(|status| (200..300).contains(&status));
        let (before, was_taken) = last.get(key).copied().unwrap_or((0, true));
        if number == before + 1 {
            assert!(was_taken, "{} was sent before the one before it was taken", seen.event);
        } else if number <= before {
            // The same one again, or an earlier one after a change of hands.
            anew += usize::from(number < before || was_taken);
        } else {
            panic!("{} was sent after {key}/{before}", seen.event);
        }
        last.insert(key.to_owned(), (number, taken));
    }
    anew
}

#[test]
fn keys_keep_their_order_under_retries_and_rebalances() {
    let (keys, each) = (size(20, 200), size(12, 60));
    let chance = Mutex::new(fastrand::Rng::with_seed(7));
    let bed = Bed::new("order", 4, move |_| {
        let answer = if chance.lock().unwrap().u8(..100) < 8 { Answer::status(500) } else { Answer::ok() };
        answer.after(Duration::from_millis(5))
    });
    let other = format!("{}.other", bed.name());
    bed.broker.create_topic(&other, 3);
    let topics = [bed.topic(), other];
    let retry = "retry: {max_age: 1h, max_attempts: 1000, delay: [20ms, 200ms]}";
    resources(&bed, &topics, &in_order("sink", &format!("ordering: key, {retry}")));
    let first = bed.replica("a");

    // The same keys in both topics are different sequences; events without a key follow nobody.
    let numbered = |topic: usize, from: usize, to: usize| {
        (from..=to).flat_map(move |number| {
            (0..keys).map(move |key| event(&format!("{topic}-{key}"), number).key(&format!("{key}")))
        })
    };
    let half = each / 2;
    for (i, topic) in topics.iter().enumerate() {
        bed.broker.produce(topic, numbered(i, 1, half));
    }
    let unkeyed = (0..keys).map(|n| structured(&format!("none/{n}"), "order.paid", "{}").partition(0));
    bed.broker.produce(&topics[0], unkeyed);
    bed.api.wait_until("work goes on", MINUTE, |log| log.delivered() >= keys * half / 2);
    let second = bed.launch("b", "");
    for (i, topic) in topics.iter().enumerate() {
        bed.broker.produce(topic, numbered(i, half + 1, each));
    }
    second.wait_ready(MINUTE);
    bed.api.wait_until("more of it", MINUTE, |log| log.delivered() >= keys * each);
    assert!(first.stop(MINUTE).success());
    let all = 2 * keys * each + keys;
    bed.api.wait_until("all events", 3 * MINUTE, |log| log.delivered() == all);
    wait_committed(&bed, "sink", &topics);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 0);
    let (anew, duplicates) = bed.api.log(|log| (begun_anew(log), log.duplicates()));
    eprintln!("{all} events, begun anew {anew} times, {duplicates} duplicates");
    assert!(anew <= 2 * 7 * keys, "at most once per sequence and change of hands");
}

#[test]
fn deaths_keep_the_order_and_lose_nothing() {
    if lacks_real_kafka("deaths_keep_the_order_and_lose_nothing") {
        return;
    }
    let (keys, each) = (150, 100);
    let seed = WallMs::now().0.unsigned_abs();
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let chance = Mutex::new(fastrand::Rng::with_seed(seed));
    let bed = Bed::new("order-kill", 6, move |_| match chance.lock().unwrap().u8(..100) {
        ..5 => Answer::status(503),
        5..7 => Answer::reset(),
        _ => Answer::ok().after(Duration::from_millis(10)),
    });
    let topics = [bed.topic()];
    let retry = "retry: {max_age: 1h, max_attempts: 1000, delay: [20ms, 200ms]}";
    resources(&bed, &topics, &in_order("sink", &format!("ordering: partition, {retry}")));
    // In one partition all keys are one sequence; its number is that of the partition.
    let messages = (1..=each * keys / 6).flat_map(|n| (0..6).map(move |p| event(&format!("p{p}"), n).partition(p)));
    let all = each * keys / 6 * 6;
    let quick = "session_timeout = \"6s\"\nheartbeat_interval = \"1s\"\n\n[delivery]\ndrain_timeout = \"2s\"";
    let mut replicas = vec![bed.launch("a", quick), bed.launch("b", quick)];
    replicas.iter().for_each(|replica| replica.wait_ready(MINUTE));
    bed.broker.produce(&bed.topic(), messages);
    for round in 0..4 {
        let moment = all * round / 5 + rng.usize(..all / 5);
        bed.api.wait_until("work goes on", 5 * MINUTE, |log| log.delivered() >= moment);
        replicas.swap_remove(rng.usize(..replicas.len())).kill();
        replicas.push(bed.launch(&format!("round-{round}"), quick));
    }
    bed.api.wait_until("all events", 5 * MINUTE, |log| log.delivered() == all);
    wait_committed(&bed, "sink", &topics);
    let (anew, duplicates) = bed.api.log(|log| (begun_anew(log), log.duplicates()));
    eprintln!("{all} events, begun anew {anew} times, {duplicates} duplicates");
    assert!(anew <= 4 * 6 * 2, "each death gives each partition a new owner once, each rebalance after it another one");
}

#[test]
fn a_stuck_sequence_stalls_nobody_else() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let bed = Bed::new("stuck", 1, move |seen| {
        let stuck = seen.target == "/ordered" && seen.event == "bad/3" && !is_mended.load(Ordering::Relaxed);
        if stuck { Answer::status(500) } else { Answer::ok() }
    });
    let topics = [bed.topic()];
    let destinations =
        |name: &str| format!("---\nkind: destination\nname: {name}\nconnection: api\nendpoint: /{name}\n");
    bed.resources(
        "more.yaml",
        &format!("{}{}", destinations("ordered").trim_start_matches("---\n"), destinations("free")),
    );
    let target =
        |name: &str, rest: &str| format!("- {{name: {name}, destination: {name}, headers: {{x-event: $.id}}{rest}}}\n");
    let retry = ", ordering: key, retry: {max_age: 1h, max_attempts: 100000, delay: [20ms, 100ms]}";
    resources(&bed, &topics, &format!("{}{}", target("ordered", retry), target("free", "")));
    let replica = bed.replica("a");
    let good: Vec<String> = (0..30).map(|key| format!("good-{key}")).collect();
    for number in 1..=10 {
        bed.broker.produce(&bed.topic(), [event("bad", number)]);
        bed.broker.produce(&bed.topic(), good.iter().map(|key| event(key, number)));
    }
    let count = |log: &Log, target: &str, key: &str| {
        let of = |seen: &&crate::support::api::Seen| seen.target == target && seen.event.starts_with(key);
        log.requests.iter().filter(of).filter(|seen| seen.answered == Some(200)).count()
    };
    bed.api.wait_until("the other keys", MINUTE, |log| count(log, "/ordered", "good") == 300);
    bed.api.wait_until("the other target", MINUTE, |log| count(log, "/free", "") == 310);
    bed.api.wait_until("more attempts", MINUTE, |log| {
        log.requests.iter().filter(|seen| seen.event == "bad/3" && seen.target == "/ordered").count() >= 8
    });
    bed.api.log(|log| {
        assert_eq!(count(log, "/ordered", "bad"), 2, "what follows in the sequence waits");
        let tries: Vec<_> = log.requests.iter().filter(|s| s.event == "bad/3" && s.target == "/ordered").collect();
        let (first, last) = (tries[0].at, tries[tries.len() - 1].at);
        assert!(last.since(first) >= Duration::from_millis(400), "retries in place are no busy loop");
    });
    // The source's own group has nothing to do with it.
    eventually("the source is read", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    eventually("the watermark stands at the stuck one", MINUTE, || {
        let committed = bed.broker.committed(&group(&bed, "ordered"), &bed.topic());
        if committed[&0].0 == 62 { Ok(()) } else { Err(format!("{committed:?}")) }
    });

    // Another owner skips what the map says is done, and begins where the sequence stands.
    assert!(replica.stop(MINUTE).success());
    let before = bed.api.log(|log| log.requests.len());
    let _other = bed.replica("b");
    bed.api.wait_until("the stuck one again", MINUTE, |log| {
        log.requests[before..].iter().any(|seen| seen.event == "bad/3")
    });
    mended.store(true, Ordering::Relaxed);
    bed.api.wait_until("the rest", MINUTE, |log| count(log, "/ordered", "bad") == 10);
    wait_committed(&bed, "ordered", &topics);
    bed.api.log(|log| {
        let again = log.requests[before..].iter().filter(|seen| seen.event.starts_with("good")).count();
        assert_eq!(again, 0, "nothing that was done is sent again");
    });
}

#[test]
fn an_exhausted_one_is_a_dead_letter_or_holds_its_sequence() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let bed = Bed::new("exhausted", 1, move |seen| {
        let bad = ["bad/2", "bad/6"].contains(&&*seen.event) && !is_mended.load(Ordering::Relaxed);
        if bad { Answer::status(500) } else { Answer::ok() }
    });
    let topics = [bed.topic()];
    let retry = "retry: {max_attempts: 3, delay: [10ms, 50ms]}";
    let goes_on = in_order("goes-on", &format!("ordering: key, {retry}"));
    let holds = in_order("holds", &format!("ordering: key, on_exhausted: hold, {retry}"));
    resources(&bed, &topics, &format!("{goes_on}{}", holds.replace("x-event", "x-target: holds, x-event")));
    let replica = bed.replica("a");
    let held = |log: &Log| -> Vec<String> {
        let of = log.requests.iter().filter(|seen| seen.header("x-target") == "holds" && seen.answered == Some(200));
        of.map(|seen| seen.event.clone()).collect()
    };
    let went_on = |log: &Log| -> Vec<String> {
        let of = log.requests.iter().filter(|seen| seen.header("x-target").is_empty() && seen.answered == Some(200));
        of.map(|seen| seen.event.clone()).filter(|event| event.starts_with("bad")).collect()
    };
    bed.broker.produce(&bed.topic(), (1..=5).flat_map(|n| [event("bad", n), event("good", n)]));
    bed.api.wait_until("the one that goes on", MINUTE, |log| went_on(log) == ["bad/1", "bad/3", "bad/4", "bad/5"]);
    wait_committed(&bed, "goes-on", &topics);
    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].header("tidegate-target"), dead[0].header("tidegate-exhausted")), ("goes-on", "max_attempts"));
    assert_eq!(dead[0].header("tidegate-attempts"), "3");

    // The other one waits, and says so.
    let line = replica.wait_line("the hold", MINUTE, |line| line.contains("partition held: a sequence waits"));
    assert!(line.contains("tidegate resume sink") && line.contains("bad/2"), "{line}");
    eventually("status tells of it", MINUTE, || {
        let told = bed.ask(&["status", "-o", "json"]).json();
        let row = told["sources"].as_array().unwrap().iter().find(|row| row["source"] == "all.holds").cloned();
        let held = row.map(|row| row["partitions"][0]["held"].clone()).unwrap_or_default();
        let detail = held["detail"].as_str().unwrap_or_default();
        if held["reason"] == "exhausted" && detail.contains("1 sequence of all/holds waits, with 3 deliveries behind") {
            Ok(())
        } else {
            Err(told.to_string())
        }
    });
    bed.ask(&["status"]).exits(1).tells(&["1 sequence of all/holds waits", "tidegate resume sink"]);
    bed.api.log(|log| {
        let good = held(log).iter().filter(|event| event.starts_with("good")).count();
        assert_eq!((good, held(log).iter().filter(|event| event.starts_with("bad")).count()), (5, 1));
    });
    // Whoever has the partition after a restart holds it without trying it.
    let tried = |event: &str| {
        let of = |log: &Log| {
            log.requests.iter().filter(|seen| seen.header("x-target") == "holds" && seen.event == event).count()
        };
        bed.api.log(of)
    };
    assert_eq!(tried("bad/2"), 3);
    assert!(replica.stop(MINUTE).success());
    let replica = bed.replica("b");
    let line = replica.wait_line("the hold", MINUTE, |line| line.contains("partition held: a sequence waits"));
    assert!(line.contains("attempts=0") && line.contains("bad/2"), "{line}");
    eventually("status tells of it", MINUTE, || {
        let told = bed.ask(&["status"]);
        if told.out.contains("1 sequence of all/holds waits") { Ok(()) } else { Err(told.out) }
    });
    assert_eq!(tried("bad/2"), 3);

    mended.store(true, Ordering::Relaxed);
    bed.ask(&["resume", "sink"]).exits(0);
    bed.api.wait_until("the sequence goes on", MINUTE, |log| held(log).len() == 10);
    let order: Vec<String> = bed.api.log(held).into_iter().filter(|event| event.starts_with("bad")).collect();
    assert_eq!(order, ["bad/1", "bad/2", "bad/3", "bad/4", "bad/5"]);
    wait_committed(&bed, "holds", &topics);
    assert_eq!(bed.broker.count(&bed.own_topic("dlq")), 1);

    // Resumed while no replica runs, it goes on with the next one; nothing is kept of what is over.
    mended.store(false, Ordering::Relaxed);
    bed.broker.produce(&bed.topic(), [event("bad", 6)]);
    replica.wait_line("the hold", MINUTE, |line| line.contains("partition held") && line.contains("bad/6"));
    let kept = || -> BTreeMap<String, bool> {
        let records = bed.broker.read_all(&bed.own_topic("state")).into_iter();
        let key = |record: &Stored| String::from_utf8(record.key.clone().unwrap_or_default()).unwrap();
        records
            .map(|record| (key(&record), record.value.is_some()))
            .filter(|(key, _)| key.starts_with("sequence:"))
            .collect()
    };
    eventually("it is kept", MINUTE, || {
        let kept = kept();
        if kept.values().filter(|is_kept| **is_kept).count() == 1 { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    assert!(replica.stop(MINUTE).success());
    mended.store(true, Ordering::Relaxed);
    bed.ask(&["resume", "sink"]).exits(0);
    let _replica = bed.replica("c");
    bed.api.wait_until("the sequence goes on", MINUTE, |log| held(log).contains(&"bad/6".to_owned()));
    wait_committed(&bed, "holds", &topics);
    eventually("nothing is kept", MINUTE, || {
        let kept = kept();
        if kept.values().any(|is_kept| *is_kept) { Err(format!("{kept:?}")) } else { Ok(()) }
    });
}

#[test]
fn a_new_target_begins_where_its_source_stands_and_its_order_cannot_change() {
    let bed = Bed::new("seeded", 3, |_| Answer::ok());
    let topics = [bed.topic()];
    let free = "- {name: free, destination: sink, headers: {x-target: free, x-event: $.id}}\n";
    resources(&bed, &topics, free);
    let replica = bed.replica("a");
    let (before, after) = (1..=5, 6..=10);
    let events = |numbers: std::ops::RangeInclusive<usize>| {
        numbers.flat_map(|n| (0..12).map(move |key| event(&format!("k{key}"), n)))
    };
    bed.broker.produce(&bed.topic(), events(before));
    let count = |log: &Log, target: &str| {
        log.requests.iter().filter(|seen| seen.header("x-target") == target && seen.answered == Some(200)).count()
    };
    bed.api.wait_until("the events before", MINUTE, |log| count(log, "free") == 60);
    eventually("they are committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));

    let ordered = in_order("later", "ordering: key").replace("x-event", "x-target: later, x-event");
    resources(&bed, &topics, &format!("{free}{ordered}"));
    replica.wait_line("the reload", MINUTE, |line| line.contains("reloaded: all"));
    bed.broker.produce(&bed.topic(), events(after));
    bed.api.wait_until("the events after", MINUTE, |log| count(log, "later") >= 60 && count(log, "free") == 120);
    wait_committed(&bed, "later", &topics);
    bed.api.log(|log| {
        let early = |event: &str| event.split_once('/').unwrap().1.parse::<usize>().unwrap() <= 5;
        let to_later = log.requests.iter().filter(|seen| seen.header("x-target") == "later");
        let early: Vec<&str> = to_later.map(|seen| seen.event.as_str()).filter(|event| early(event)).collect();
        assert!(early.is_empty(), "what its source had passed is not sent to it: {early:?}");
        assert_eq!(count(log, "later"), 60);
    });

    for other in ["none", "partition", "{key: $.data.customer}"] {
        resources(&bed, &topics, &format!("{free}{}", ordered.replace("ordering: key", &format!("ordering: {other}"))));
        let refused = |line: &str| line.contains("CONFIG_ORDERING");
        replica.wait_line("the refusal", MINUTE, |line| refused(line) && line.contains(&format!("to `{other}`")));
    }
    // Removed, it closes; the others go on.
    resources(&bed, &topics, free);
    eventually("the removal", MINUTE, || match replica.count_lines(|line| line.contains("reloaded: all")) {
        2 => Ok(()),
        other => Err(format!("{other} reloads")),
    });
    bed.broker.produce(&bed.topic(), events(11..=11));
    bed.api.wait_until("the others", MINUTE, |log| count(log, "free") == 132);
    bed.api.log(|log| assert_eq!(count(log, "later"), 60));
    assert!(replica.stop(MINUTE).success());
}

/// Over a restart nothing but the group tells that a target has kept an order, and the embedded broker lists no groups.
#[test]
fn an_order_that_is_given_up_over_a_restart_is_told() {
    if lacks_real_kafka("an_order_that_is_given_up_over_a_restart_is_told") {
        return;
    }
    let bed = Bed::new("given-up", 1, |seen| {
        if seen.header("x-target") == "later" && seen.event != "k/1" { Answer::status(500) } else { Answer::ok() }
    });
    let topics = [bed.topic()];
    let free = "- {name: free, destination: sink, headers: {x-target: free, x-event: $.id}}\n";
    let ordered = in_order("later", "ordering: key").replace("x-event", "x-target: later, x-event");
    resources(&bed, &topics, &format!("{free}{ordered}"));
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), (1..=10).map(|n| event("k", n)));
    eventually("the source is read", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
    eventually("the target stands at the second", MINUTE, || {
        let committed = bed.broker.committed(&group(&bed, "later"), &bed.topic());
        if committed[&0].0 == 1 { Ok(()) } else { Err(format!("{committed:?}")) }
    });
    assert!(replica.stop(MINUTE).success());
    resources(&bed, &topics, &format!("{free}{}", ordered.replace("ordering: key", "ordering: none")));
    let replica = bed.replica("b");
    replica.wait_line("the warning", MINUTE, |line| {
        line.contains("has kept an order before") && line.contains("undelivered=9") && line.contains("all.later")
    });
}
