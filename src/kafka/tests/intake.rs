//! One intake: reading, committing, starting, missing offsets, evidence, closing.

use super::support::{Broker, Lanes, block, committed, join, quick, record, unique, until};
use crate::kafka::identity::Identities;
use crate::kafka::{
    Commit, Intake, IntakeOptions, Lags, OnMissing, Origin, Owner, Partitions, Producer, Queue, Restart, Start,
    TopicPartition, seed,
};
use crate::kafka::{commit, identity};
use crate::model::clock::Monotonic;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A consumer that is not ours, to commit and to look.
fn foreign(broker: &Broker, group: &str) -> BaseConsumer {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &broker.client.brokers).set("group.id", group).set("enable.auto.commit", "false");
    config.create().unwrap()
}

fn commit_foreign(broker: &Broker, group: &str, topic: &str, offset: i64, metadata: &str) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    list.find_partition(topic, 0).unwrap().set_metadata(metadata);
    foreign(broker, group).commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn what_is_committed_comes_back_with_its_metadata() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(3), unique("g"));
    broker.produce(&topic, 3, 0..90);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(90);
    "td1.abc".clone_into(&mut lanes.metadata.lock().unwrap());
    lanes.store();
    until("all is committed", || committed(&intake).values().all(|c| *c == Some(30)));
    assert!(intake.membership().may_send(Monotonic::now()));
    // The offset stays, the map grows: that too is saved.
    "td1.abcd".clone_into(&mut lanes.metadata.lock().unwrap());
    lanes.store();
    until("the map is committed", || intake.state().partitions.iter().all(|p| p.pending.is_none()));
    intake.close(Duration::from_secs(10)).unwrap();
    assert_eq!(lanes.held(), 0);

    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    broker.produce(&topic, 3, 90..93);
    lanes.read_all(3);
    for (at, start, metadata) in lanes.starts.lock().unwrap().iter() {
        assert_eq!((*start, metadata.as_deref()), (Some(30), Some("td1.abcd")), "{at}");
    }
    assert_eq!(Lanes::counts(&[&lanes]).keys().collect::<Vec<_>>(), ["90", "91", "92"]);
    intake.close(Duration::from_secs(10)).unwrap();
    let lag = Lags::open(&broker.client, &group).unwrap().of(&topic).unwrap();
    assert!(lag.iter().all(|l| l.unread() == 0 && l.dropped() == 0), "{lag:?}");
}

#[test]
fn stale_epochs_and_offsets_that_go_back_are_ignored() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), unique("g"));
    broker.produce(&topic, 1, 0..10);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(10);
    lanes.store();
    until("committed", || committed(&intake)[&0] == Some(10));
    let epoch = intake.state().partitions[0].epoch;
    for (epoch, next_offset) in [(epoch + 1, 11), (epoch, 5)] {
        let at = TopicPartition::new(topic.as_str(), 0);
        intake.committer().store(Commit { at, epoch, next_offset, metadata: String::new() });
        until("refused", || intake.state().stale_commits > 0);
    }
    assert_eq!(committed(&intake)[&0], Some(10));
}

#[test]
fn foreign_metadata_is_no_metadata() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), unique("g"));
    broker.produce(&topic, 1, 0..10);
    commit_foreign(&broker, &group, &topic, 4, "ümlaut");
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(6);
    assert_eq!(lanes.starts.lock().unwrap()[0].1, Some(4));
    assert_eq!(lanes.starts.lock().unwrap()[0].2, None);
    // Too long or not ASCII is left out when storing, too.
    "x".repeat(4_001).clone_into(&mut lanes.metadata.lock().unwrap());
    lanes.store();
    until("committed", || committed(&intake)[&0] == Some(10));
    intake.close(Duration::from_secs(10)).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(&topic, 0);
    let saved = foreign(&broker, &group).committed_offsets(list, Duration::from_secs(5)).unwrap();
    let saved = commit::metadata(&saved).remove(0).unwrap_or_default();
    assert_eq!(identity::split(&saved).1, "");
}

#[test]
fn latest_is_committed_before_anything_is_read() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(2), unique("g"));
    broker.produce(&topic, 2, 0..20);
    let options = || IntakeOptions { start: Start::Latest, ..quick() };
    let (lanes, intake) = join(&broker.client, &group, &topic, options());
    until("assigned", || lanes.held() == 2);
    assert!(committed(&intake).values().all(|c| *c == Some(10)));
    broker.produce(&topic, 2, 20..24);
    lanes.read_all(4);
    assert!(Lanes::counts(&[&lanes]).keys().all(|v| v.parse::<i32>().unwrap() >= 20));
    intake.close(Duration::from_secs(10)).unwrap();

    // Another topic of which one partition is known to the group: the other one is new and read from its beginning.
    let (topic, group) = (broker.topic(2), unique("g"));
    broker.produce(&topic, 2, 0..20);
    commit_foreign(&broker, &group, &topic, 10, "");
    let (lanes, _intake) = join(&broker.client, &group, &topic, options());
    lanes.read_all(10);
    assert!(lanes.seen.lock().unwrap().iter().all(|(at, ..)| at.partition == 1));
}

#[test]
fn an_offset_that_does_not_exist_is_replaced_as_the_source_says() {
    let broker = Broker::start();
    for (on_missing, expected) in [(OnMissing::Earliest, 10), (OnMissing::Latest, 0), (OnMissing::Halt, 0)] {
        let (topic, group) = (broker.topic(1), unique("g"));
        broker.produce(&topic, 1, 0..10);
        commit_foreign(&broker, &group, &topic, 1_000, "td1.x");
        let (lanes, intake) = join(&broker.client, &group, &topic, IntakeOptions { on_missing, ..quick() });
        until("the queue says so", || {
            lanes.read(usize::MAX);
            !lanes.broken.lock().unwrap().is_empty()
        });
        let first = intake.state().partitions[0].epoch;
        intake.restart(TopicPartition::new(topic.as_str(), 0));
        if on_missing == OnMissing::Halt {
            until("halted", || intake.state().partitions[0].phase == "halted");
            continue;
        }
        until("assigned again", || lanes.starts.lock().unwrap().len() == 2);
        assert!(intake.state().partitions[0].epoch > first);
        lanes.read_all(expected);
        broker.produce(&topic, 1, 10..12);
        lanes.read_all(expected + 2);
        lanes.store();
        until("committed", || committed(&intake)[&0] == Some(12));
        assert_eq!(lanes.seen(), expected + 2);
    }
}

#[test]
fn records_that_are_gone_are_counted() {
    let broker = Broker::start();
    let group = unique("g");
    let topic = broker.topic(1);
    let producer = Producer::connect(&broker.client).unwrap();
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
    block(async {
        for _ in 0..40 {
            let text: String = noise.chars().rev().collect::<String>() + &unique("x");
            producer.send(record(&topic, 0, &text)).await.unwrap();
        }
    });
    commit_foreign(&broker, &group, &topic, 2, "");
    let lags = Lags::open(&broker.client, &group).unwrap();
    if broker.embedded.is_none() {
        block(broker.admin.delete_before(&[(TopicPartition::new(topic.as_str(), 0), 7)])).unwrap();
    }
    let dropped = lags.of(&topic).unwrap()[0].dropped();
    assert!(dropped > 0, "{:?}", lags.of(&topic));
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    until("the queue says so", || {
        lanes.read(usize::MAX);
        !lanes.broken.lock().unwrap().is_empty()
    });
    intake.restart(TopicPartition::new(topic.as_str(), 0));
    until("skipped", || intake.state().partitions[0].skipped == dropped);
    lanes.read_all(usize::try_from(40 - 2 - dropped).unwrap());
}

#[test]
fn a_commit_names_its_topic_and_one_of_another_topic_does_not_hold() {
    let broker = Broker::start();
    if broker.embedded.is_some() {
        return;
    }
    let saved = |topic: &str, group: &str| {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let list = foreign(&broker, group).committed_offsets(list, Duration::from_secs(5)).unwrap();
        (list.elements()[0].offset().to_raw(), commit::metadata(&list).remove(0).unwrap_or_default())
    };
    for (on_missing, read) in [(OnMissing::Earliest, 12), (OnMissing::Latest, 2), (OnMissing::Halt, 0)] {
        let (topic, group) = (broker.topic(1), unique("g"));
        let at = TopicPartition::new(topic.as_str(), 0);
        broker.produce(&topic, 1, 0..10);
        // As an older version committed it: that counts, and is said again with its topic.
        commit_foreign(&broker, &group, &topic, 5, "td1.x");
        let (lanes, intake) = join(&broker.client, &group, &topic, quick());
        lanes.read_all(5);
        until("said again", || saved(&topic, &group).1.ends_with("td1.x"));
        intake.close(Duration::from_secs(10)).unwrap();
        let present = Identities::ask(foreign(&broker, &group).client(), [&at.topic].into_iter(), PATIENCE).unwrap();
        let claim = present.of(&topic).unwrap().claim(&at, 10);
        assert_eq!(saved(&topic, &group), (Some(10), claim.clone()));
        // A group that begins where this one stands begins in the same topic.
        let seeded = unique("seeded");
        let origin = Origin { topic: topic.clone(), group: group.clone(), start: Start::Earliest };
        assert_eq!(seed(&broker.client, &seeded, &[origin]).unwrap(), [(at.clone(), 10)]);
        assert_eq!(saved(&topic, &seeded), (Some(10), claim));

        // As if the topic had been another one then.
        let other = present.changed(&topic).claim(&at, 5);
        commit_foreign(&broker, &group, &topic, 5, &other);
        let (lanes, intake) = join(&broker.client, &group, &topic, IntakeOptions { on_missing, ..quick() });
        until("found out", || intake.state().recreated == 1);
        if on_missing == OnMissing::Halt {
            until("halted", || intake.state().partitions[0].phase == "halted");
            assert_eq!(saved(&topic, &group), (Some(5), other));
            continue;
        }
        let low = if on_missing == OnMissing::Earliest { 0 } else { 10 };
        until("where it begins is committed", || committed(&intake)[&0] == Some(low));
        broker.produce(&topic, 1, 10..12);
        lanes.read_all(read);
        assert_eq!(lanes.seen(), read);
        intake.close(Duration::from_secs(10)).unwrap();
        assert_eq!(saved(&topic, &group), (Some(12), present.of(&topic).unwrap().claim(&at, 12)));
    }
}

#[test]
fn a_healthy_partition_is_not_restarted() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), unique("g"));
    broker.produce(&topic, 1, 0..5);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(5);
    intake.restart(TopicPartition::new(topic.as_str(), 0));
    lanes.store();
    until("committed", || committed(&intake)[&0] == Some(5));
    assert_eq!((intake.state().partitions[0].phase, lanes.starts.lock().unwrap().len()), ("running", 1));
}

#[test]
fn a_commit_that_fails_is_sent_again() {
    let broker = Broker::start();
    let Some(embedded) = &broker.embedded else { return };
    let (topic, group) = (broker.topic(1), unique("g"));
    broker.produce(&topic, 1, 0..10);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(10);
    let cluster = embedded.cluster();
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
    ];
    cluster.client().mock_cluster().unwrap().request_errors(rdkafka::types::RDKafkaApiKey::OffsetCommit, &errors);
    "td1.big".clone_into(&mut lanes.metadata.lock().unwrap());
    lanes.store();
    until("committed at last", || committed(&intake)[&0] == Some(10));
    assert_eq!(intake.state().commit_failures, 3);
    drop((lanes, intake));
}

#[test]
fn without_evidence_nothing_is_sent() {
    let broker = Broker::start();
    let Some(embedded) = &broker.embedded else { return };
    let (topic, group) = (broker.topic(1), unique("g"));
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    until("assigned", || lanes.held() == 1);
    let member = intake.membership();
    // Nothing was ever committed and nothing comes, yet evidence is renewed every third of a session.
    until("evidence", || committed(&intake)[&0] == Some(0));
    let age = || member.evidence_age(Monotonic::now()).unwrap();
    until("some time passes", || age() > Duration::from_millis(500));
    until("new evidence", || age() < Duration::from_millis(200));
    let cluster = embedded.cluster();
    let mock = cluster.client().mock_cluster().unwrap();
    mock.broker_down(-1).unwrap();
    assert!(member.may_send(Monotonic::now()));
    until("fenced", || !member.may_send(Monotonic::now()));
    assert!(age() >= Duration::from_secs(2));
    mock.broker_up(-1).unwrap();
    until("a member again", || member.may_send(Monotonic::now()));
}

#[test]
fn partitions_take_turns() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(4), unique("g"));
    broker.produce(&topic, 4, 0..400);
    let options = IntakeOptions { max_resumed: 1, turn: Duration::from_millis(300), ..quick() };
    let (lanes, intake) = join(&broker.client, &group, &topic, options);
    until("assigned", || lanes.held() == 4);
    assert!(intake.state().partitions.iter().filter(|p| !p.paused).count() <= 1);
    lanes.read_all(400);
    assert!(Lanes::counts(&[&lanes]).values().all(|n| *n == 1));
}

#[test]
fn a_record_that_was_let_go_comes_once_more() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(2), unique("g"));
    broker.produce(&topic, 1, 0..10);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    let at = TopicPartition::new(topic.as_str(), 0);
    let offsets = || lanes.seen.lock().unwrap().iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>();
    until("three are read", || {
        lanes.read(3);
        offsets().len() == 3
    });
    let paused = || intake.state().partitions.iter().filter(|p| p.paused).map(|p| p.partition).collect::<Vec<_>>();
    lanes.with_queue(&at, |queue| queue.rest(true));
    until("it rests, and the other one does not", || paused() == [0]);
    lanes.with_queue(&at, |queue| queue.back_to(1));
    lanes.read_all(12);
    assert_eq!(offsets(), [0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(paused(), [0; 0]);
    // Pauses on the way there, as those of a rebalance, skip nothing.
    for round in 1..=10 {
        lanes.with_queue(&at, |queue| {
            queue.back_to(round);
            queue.rest(round % 3 > 0);
        });
        if round % 3 == 1 {
            until("it rests", || paused() == [0]);
        }
        let before = offsets().len();
        lanes.with_queue(&at, Queue::shed);
        lanes.read_all(before + usize::try_from(10 - round).unwrap());
        assert_eq!(offsets()[before..], (round..10).collect::<Vec<_>>());
    }
}

#[test]
fn partitions_set_by_hand() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(3), unique("stored"));
    broker.produce(&topic, 3, 0..30);
    let at = |p| TopicPartition::new(topic.as_str(), p);
    let manual = || {
        let lanes = Arc::new(Lanes::default());
        let owner: Arc<dyn Owner> = lanes.clone();
        let intake = Intake::manual(&broker.client, &group, quick(), owner).unwrap();
        lanes.committer.set(intake.committer()).unwrap();
        (lanes, intake)
    };
    let patience = Duration::from_secs(15);
    let (first, intake) = manual();
    assert!(intake.set_partitions(vec![at(0), at(1)]).wait(patience));
    first.read_all(20);
    assert!(intake.membership().may_send(Monotonic::now()));
    // Taken away: drained, committed and answered before the change is done; the other one goes on.
    assert!(intake.set_partitions(vec![at(1), at(2)]).wait(patience));
    first.read_all(30);
    assert_eq!(*first.revoked.lock().unwrap(), [(at(0), false)]);
    broker.produce(&topic, 3, 30..36);
    let (second, other) = manual();
    assert!(other.set_partitions(vec![at(0)]).wait(patience));
    second.read_all(2);
    first.read_all(34);
    assert_eq!(second.starts.lock().unwrap()[0].1, Some(10));
    assert!(Lanes::counts(&[&first, &second]).values().all(|n| *n == 1));
    intake.close(patience).unwrap();
    other.close(patience).unwrap();
    let lag = Lags::open(&broker.client, &group).unwrap().of(&topic).unwrap();
    assert!(lag.iter().all(|l| l.unread() == 0), "{lag:?}");
}

#[test]
fn a_partition_that_does_not_exist_does_not_harm_the_others() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), unique("stored"));
    broker.produce(&topic, 1, 0..3);
    let lanes = Arc::new(Lanes::default());
    let owner: Arc<dyn Owner> = lanes.clone();
    let intake = Intake::manual(&broker.client, &group, quick(), owner).unwrap();
    lanes.committer.set(intake.committer()).unwrap();
    let all = vec![TopicPartition::new(topic.as_str(), 0), TopicPartition::new(unique("none"), 0)];
    assert!(intake.set_partitions(all).wait(Duration::from_secs(30)));
    lanes.read_all(3);
    lanes.store();
    // Kafka refuses one of two; librdkafka then reports both as failed. The good one is saved nevertheless.
    let missing = intake.state().partitions.into_iter().find(|p| p.topic != topic).unwrap();
    let at = TopicPartition::new(missing.topic.as_str(), 0);
    intake.committer().store(Commit { at, epoch: missing.epoch, next_offset: 7, metadata: String::new() });
    until("committed", || intake.state().partitions.iter().any(|p| p.committed == Some(3)));
    if broker.embedded.is_none() {
        assert!(intake.state().commit_failures > 0);
        assert!(intake.state().partitions.iter().any(|p| p.pending == Some(7)));
    }
}

#[test]
fn closing_without_kafka_ends() {
    let broker = Broker::start();
    let Some(embedded) = &broker.embedded else { return };
    let (topic, group) = (broker.topic(1), unique("g"));
    broker.produce(&topic, 1, 0..5);
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    lanes.read_all(5);
    embedded.cluster().client().mock_cluster().unwrap().broker_down(-1).unwrap();
    lanes.store();
    let began = Monotonic::now();
    drop(intake.close(Duration::from_secs(1)));
    assert!(Monotonic::now().since(began) < Duration::from_secs(4));
    assert_eq!(lanes.held(), 0);
}

#[test]
fn closing_waits_for_nobody_for_ever() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), unique("g"));
    let (lanes, intake) = join(&broker.client, &group, &topic, quick());
    until("assigned", || lanes.held() == 1);
    *lanes.drain.lock().unwrap() = Duration::from_secs(3);
    let began = Monotonic::now();
    let error = intake.close(Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.code(), "KAFKA_CLOSE_TIMEOUT");
    assert!(Monotonic::now().since(began) < Duration::from_secs(2));
    until("ended at last", || lanes.held() == 0);
}
