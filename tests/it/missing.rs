//! Offsets that are gone: what retention has deleted is skipped, counted and told; what is done with is deleted. Topics
//! that are deleted and made anew are read from their beginning. With either protocol of groups.

use crate::support::{Answer, Bed, Replica, events, eventually, lacks_real_kafka};
use std::time::Duration;
use tidegate::kafka::{Admin, ClientSettings, TopicPartition};

const MINUTE: Duration = Duration::from_secs(60);

/// How members of a group agree: each test is run with both, for Kafka tells and refuses other things with each.
const PROTOCOLS: [&str; 2] = ["classic", "consumer"];

/// Starts a replica with this `kafka.group_protocol`, and waits until it is ready.
#[track_caller]
fn start(bed: &Bed, name: &str, protocol: &str) -> Replica {
    let replica = bed.launch(name, &format!("group_protocol = \"{protocol}\""));
    replica.wait_ready(MINUTE);
    replica
}

/// Deletes all records of partition 0 below an offset, as retention would.
fn delete_before(bed: &Bed, topic: &str, offset: i64) {
    let admin = Admin::real(&ClientSettings::new(bed.broker.bootstrap.as_str())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.delete_before(&[(TopicPartition::new(topic, 0), offset)])).unwrap();
}

#[test]
fn reading_goes_on_with_the_oldest_record_and_says_what_was_skipped() {
    if lacks_real_kafka("reading_goes_on_with_the_oldest_record_and_says_what_was_skipped") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        let (bed, second) = half_gone("missing", "", protocol);
        second.wait_line("what was skipped", MINUTE, |line| line.contains("skipped=50"));
        bed.api.wait_until("what is left", MINUTE, |log| log.delivered() == 150);
        bed.wait_all_committed(MINUTE);
        bed.api.log(|log| {
            let skipped = |n: usize| (100..150).contains(&n);
            assert!((0..200).all(|n| log.has(&n.to_string()) != skipped(n)), "exactly what was deleted is missing");
            assert_eq!(log.duplicates(), 0);
        });
    }
}

/// Every event goes to the API, from a source with these further settings.
fn all_events(bed: &Bed, source: &str) -> String {
    format!(
        "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in}}
---
{{kind: rule, name: all, pattern: {{}}, targets: [{{name: sink, destination: sink, headers: {{x-event: $.id}}}}]}}",
        bed.source_and_connection(source)
    )
}

/// A hundred events of 200 are delivered, of the others the first fifty are gone.
fn half_gone(name: &str, source: &str, protocol: &str) -> (Bed, Replica) {
    let bed = Bed::new(name, 1, |_| Answer::ok());
    bed.resources("all.yaml", &all_events(&bed, source));
    let first = start(&bed, "first", protocol);
    bed.broker.produce(&bed.topic(), events::orders(100));
    bed.api.wait_until("the first hundred", MINUTE, |log| log.delivered() == 100);
    bed.wait_all_committed(MINUTE);
    assert!(first.stop(MINUTE).success());
    bed.broker.produce(&bed.topic(), events::orders(200).skip(100));
    delete_before(&bed, &bed.topic(), 150);
    let second = start(&bed, "second", protocol);
    (bed, second)
}

#[test]
fn halted_means_that_nothing_is_read_until_somebody_decides() {
    if lacks_real_kafka("halted_means_that_nothing_is_read_until_somebody_decides") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        let (bed, second) = half_gone("missing-halt", ", on_missing: halt", protocol);
        second.wait_line("that it is halted", MINUTE, |line| line.contains("halted, as `on_missing` says"));
        bed.broker.produce(&bed.topic(), events::orders(210).skip(200));
        // A replica tells the others once a second what it stands before.
        eventually("its status says so", MINUTE, || {
            let said = bed.ask(&["status"]);
            if said.out.contains("50 records would be skipped") { Ok(()) } else { Err(said.out) }
        });
        assert_eq!(bed.api.log(|log| log.delivered()), 100);
        assert!(second.stop(MINUTE).success());
        assert_eq!(bed.broker.committed(&bed.group(), &bed.topic())[&0].0, 100);
    }
}

#[test]
fn latest_goes_on_with_what_comes_from_now_on() {
    if lacks_real_kafka("latest_goes_on_with_what_comes_from_now_on") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        let (bed, second) = half_gone("missing-latest", ", on_missing: latest", protocol);
        second.wait_line("what was skipped", MINUTE, |line| line.contains("skipped=100"));
        eventually("the end is committed", MINUTE, || bed.broker.at_end(&bed.group(), &bed.topic()));
        bed.broker.produce(&bed.topic(), events::orders(210).skip(200));
        bed.api.wait_until("what is new", MINUTE, |log| log.delivered() == 110);
        bed.api.log(|log| assert!((200..210).all(|n| log.has(&n.to_string()))));
    }
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    if lacks_real_kafka("partitions_that_are_added_are_read_from_their_beginning") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        let bed = Bed::new("more-partitions", 1, |_| Answer::ok());
        bed.usual_resources("");
        let replica = start(&bed, "a", protocol);
        bed.broker.produce(&bed.topic(), events::orders(20));
        bed.api.wait_until("the first", MINUTE, |log| log.delivered() == 20);
        bed.broker.add_partitions(&bed.topic(), 4);
        let to = |n: usize, message: events::Message| message.partition(i32::try_from(n % 4).unwrap());
        bed.broker.produce(&bed.topic(), events::orders(60).enumerate().skip(20).map(|(n, message)| to(n, message)));
        bed.api.wait_until("those in new partitions", 2 * MINUTE, |log| log.delivered() == 60);
        bed.wait_all_committed(MINUTE);
        assert_eq!(bed.api.log(|log| log.duplicates()), 0);
        assert!(replica.stop(MINUTE).success());
    }
}

/// Deletes the topic and makes it anew.
fn make_anew(bed: &Bed) {
    bed.broker.delete_topics(&bed.topic());
    // Kafka deletes in the background; the name is free a moment later.
    eventually("the name is free", MINUTE, || {
        if bed.broker.exists(&bed.topic()) { Err("it is there".to_owned()) } else { Ok(()) }
    });
    bed.broker.create_topic(&bed.topic(), 2);
}

/// A replica has delivered a hundred events and committed that.
fn hundred(name: &str, source: &str, protocol: &str) -> (Bed, Replica) {
    let bed = Bed::new(name, 2, |_| Answer::ok());
    bed.resources("all.yaml", &all_events(&bed, source));
    let replica = start(&bed, "a", protocol);
    bed.broker.produce(&bed.topic(), events::orders(100));
    bed.api.wait_until("the first hundred", MINUTE, |log| log.delivered() == 100);
    bed.wait_all_committed(MINUTE);
    (bed, replica)
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_replica_is_read_from_its_beginning() {
    if lacks_real_kafka("a_topic_that_is_made_anew_under_a_running_replica_is_read_from_its_beginning") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        // Shorter than the old topic: nothing stands where that was read to. Longer: something does.
        for more in [20, 300] {
            let (bed, replica) = hundred(&format!("anew-{more}"), "", protocol);
            make_anew(&bed);
            bed.broker.produce(&bed.topic(), events::orders(100 + more).skip(100));
            bed.api
                .wait_until("all of the new topic", 2 * MINUTE, |log| (0..100 + more).all(|n| log.has(&n.to_string())));
            bed.wait_all_committed(MINUTE);
            assert!(replica.stop(MINUTE).success());
        }
    }
}

#[test]
fn a_topic_that_is_made_anew_while_nobody_reads_it_is_read_from_its_beginning() {
    if lacks_real_kafka("a_topic_that_is_made_anew_while_nobody_reads_it_is_read_from_its_beginning") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        for is_kept in [false, true] {
            let (bed, replica) = hundred("anew-stopped", "", protocol);
            assert!(replica.stop(MINUTE).success());
            let committed = bed.broker.committed(&bed.group(), &bed.topic());
            make_anew(&bed);
            bed.broker.produce(&bed.topic(), events::orders(400).skip(100));
            if is_kept {
                // Kafka forgets what was committed of a topic that is deleted, in the background and not in every version.
                bed.broker.commit(&bed.group(), &bed.topic(), &committed);
            }
            let second = start(&bed, "b", protocol);
            if is_kept {
                second.wait_line("that it is another", MINUTE, |line| line.contains("deleted and made anew"));
            }
            bed.api.wait_until("all of the new topic", MINUTE, |log| (0..400).all(|n| log.has(&n.to_string())));
            bed.wait_all_committed(MINUTE);
            assert_eq!(bed.api.log(|log| log.duplicates()), 0);
            assert!(second.stop(MINUTE).success());
        }
    }
}

#[test]
fn halted_before_a_topic_that_was_made_anew() {
    if lacks_real_kafka("halted_before_a_topic_that_was_made_anew") {
        return;
    }
    for protocol in PROTOCOLS {
        eprintln!("{protocol}");
        let (bed, replica) = hundred("anew-halt", ", on_missing: halt", protocol);
        make_anew(&bed);
        bed.broker.produce(&bed.topic(), events::orders(120).skip(100));
        let said =
            |at: &Replica| at.wait_line("it is halted", 2 * MINUTE, |line| line.contains("halted, as `on_missing`"));
        said(&replica);
        assert!(replica.stop(MINUTE).success());
        assert_eq!(bed.api.log(|log| log.delivered()), 100);
        bed.resources("all.yaml", &all_events(&bed, ", on_missing: earliest"));
        let second = start(&bed, "b", protocol);
        bed.api.wait_until("all of the new topic", MINUTE, |log| log.delivered() == 120);
        bed.wait_all_committed(MINUTE);
        assert!(second.stop(MINUTE).success());
    }
}
