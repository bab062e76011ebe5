//! Several intakes in a group: every record is read, none twice while members come and go in order.

use super::support::{Broker, Lanes, committed, join, quick, unique, until};
use crate::kafka::{Group, GroupProtocol, IntakeOptions, Lags, Phase};
use std::time::Duration;

#[test]
fn partitions_move_and_every_record_is_read_once() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(6), unique("g"));
    broker.produce(&topic, 6, 0..600);
    let (first, one) = join(&broker.client, &group, &topic, quick());
    until("some are read", || {
        first.read(300);
        first.seen() == 300
    });
    let (second, two) = join(&broker.client, &group, &topic, quick());
    until("both have three", || {
        first.read(300);
        first.held() == 3 && second.held() == 3
    });
    broker.produce(&topic, 6, 600..1_200);
    until("all are read", || {
        first.read(usize::MAX);
        second.read(usize::MAX);
        first.seen() + second.seen() >= 1_200
    });
    let both = [&*first, &*second];
    assert_eq!(Lanes::counts(&both).len(), 1_200);
    broker.assert_read_once(&Lanes::counts(&both));
    // A member leaves: the other takes over where it ended.
    one.close(Duration::from_secs(20)).unwrap();
    until("one has all", || second.held() == 6);
    broker.produce(&topic, 6, 1_200..1_800);
    second.read_all(1_800 - first.seen());
    broker.assert_read_once(&Lanes::counts(&both));
    second.store();
    until("committed", || committed(&two).values().all(|c| *c == Some(300)));
    two.close(Duration::from_secs(20)).unwrap();
    let lag = Lags::open(&broker.client, &group).unwrap().of(&topic).unwrap();
    assert_eq!(lag.iter().map(|l| l.committed).collect::<Vec<_>>(), vec![Some(300); 6]);
}

#[test]
fn a_drain_is_waited_for() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(4), unique("g"));
    broker.produce(&topic, 4, 0..40);
    let (first, _one) = join(&broker.client, &group, &topic, quick());
    // Less than the embedded broker gives a member to come back in a rebalance: its session of 2 s less one.
    *first.drain.lock().unwrap() = Duration::from_millis(300);
    first.read_all(40);
    let (second, _two) = join(&broker.client, &group, &topic, quick());
    until("both have two", || first.held() == 2 && second.held() == 2);
    if broker.embedded.is_none() {
        assert!(second.starts.lock().unwrap().iter().all(|(_, start, _)| *start == Some(10)));
        assert_eq!(second.seen(), 0);
    }
}

#[test]
fn whoever_waits_to_be_woken_is_woken() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(4), unique("g"));
    let (first, _one) = join(&broker.client, &group, &topic, quick());
    let (mut woken, mut produced) = (0, 0);
    let mut bursts = |others: &[&Lanes]| {
        for size in [1, 20, 3] {
            broker.produce(&topic, 4, produced..produced + size * 4);
            produced += size * 4;
            until("all are read", || {
                first.read_if_woken(&mut woken);
                others.iter().for_each(|other| other.read(usize::MAX));
                let seen: usize = others.iter().map(|other| other.seen()).sum();
                first.seen() + seen >= usize::try_from(produced).unwrap()
            });
        }
    };
    bursts(&[]);
    // A rebalance pauses and resumes what stays; the other two partitions get new queues when they come back.
    let (second, two) = join(&broker.client, &group, &topic, quick());
    until("both have two", || first.held() == 2 && second.held() == 2);
    bursts(&[&second]);
    two.close(Duration::from_secs(20)).unwrap();
    until("one has all", || first.held() == 4);
    bursts(&[&second]);
}

#[test]
fn a_pause_does_not_outlive_its_assignment() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(4), unique("g"));
    let options = || IntakeOptions { max_resumed: 1, turn: Duration::from_millis(200), ..quick() };
    let (first, _one) = join(&broker.client, &group, &topic, options());
    until("one has all", || first.held() == 4);
    // Nobody reads them yet: with nothing to read none would be paused.
    broker.produce(&topic, 4, 0..200);
    let (second, two) = join(&broker.client, &group, &topic, options());
    until("both have two", || first.held() == 2 && second.held() == 2);
    broker.produce(&topic, 4, 200..400);
    until("all are read", || {
        first.read(usize::MAX);
        second.read(usize::MAX);
        first.seen() + second.seen() >= 400
    });
    two.close(Duration::from_secs(20)).unwrap();
    until("one has all again", || first.held() == 4);
    broker.produce(&topic, 4, 400..600);
    first.read_all(600 - second.seen());
    broker.assert_read_once(&Lanes::counts(&[&first, &second]));
}

#[test]
fn the_new_protocol_works_as_well() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(4), unique("g"));
    let mut client = broker.client.clone();
    client.group_protocol = GroupProtocol::Consumer;
    if broker.embedded.is_some() {
        // The embedded broker speaks it only when told to.
        return;
    }
    broker.produce(&topic, 4, 0..400);
    let (first, one) = join(&client, &group, &topic, quick());
    first.read_all(400);
    let (second, _two) = join(&client, &group, &topic, quick());
    until("both have two", || first.held() == 2 && second.held() == 2);
    broker.produce(&topic, 4, 400..800);
    until("all are read", || {
        first.read(usize::MAX);
        second.read(usize::MAX);
        first.seen() + second.seen() >= 800
    });
    broker.assert_read_once(&Lanes::counts(&[&first, &second]));
    let told = Lags::open(&client, &group).unwrap().group().unwrap();
    assert_eq!(
        told,
        Group { phase: Phase::Settled, members: 0, assigned: 0 },
        "Kafka tells tools of classic groups only"
    );
    one.close(Duration::from_secs(20)).unwrap();
    until("one has all", || second.held() == 4);
}

#[test]
fn the_coordinator_tells_who_has_partitions() {
    let broker = Broker::start();
    if broker.embedded.is_some() {
        // The embedded broker describes no groups.
        return;
    }
    let (topic, group) = (broker.topic(1), unique("g"));
    let told = || Lags::open(&broker.client, &group).unwrap().group().unwrap();
    assert_eq!(told(), Group { phase: Phase::Settled, members: 0, assigned: 0 });
    let (first, _one) = join(&broker.client, &group, &topic, quick());
    until("assigned", || first.held() == 1);
    let (second, _two) = join(&broker.client, &group, &topic, quick());
    until("one has nothing", || told() == Group { phase: Phase::Settled, members: 2, assigned: 1 });
    assert_eq!(first.held() + second.held(), 1);
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let broker = Broker::start();
    if broker.embedded.is_some() {
        return;
    }
    let (topic, group) = (broker.topic(4), unique("g"));
    let named = |name: &str| IntakeOptions { instance_id: Some(name.to_owned()), ..quick() };
    let (first, one) = join(&broker.client, &group, &topic, named("one"));
    until("assigned", || first.held() == 4);
    let (second, _two) = join(&broker.client, &group, &topic, named("two"));
    until("both have two", || first.held() == 2 && second.held() == 2);
    let before = second.revoked.lock().unwrap().len();
    broker.produce(&topic, 4, 0..40);
    first.read_all(20);
    one.close(Duration::from_secs(10)).unwrap();
    let (third, three) = join(&broker.client, &group, &topic, named("one"));
    until("back", || third.held() == 2);
    assert!(third.starts.lock().unwrap().iter().all(|(_, start, _)| *start == Some(10)));
    assert_eq!((second.held(), second.revoked.lock().unwrap().len()), (2, before), "nobody else noticed");
    // The same name twice: one of them is fenced, and knows it.
    let (_fourth, four) = join(&broker.client, &group, &topic, named("one"));
    until("fenced", || three.state().failed.is_some() || four.state().failed.is_some());
    let lost = if three.state().failed.is_some() { three } else { four };
    assert!(!lost.membership().may_send(crate::model::clock::Monotonic::now()));
}
