//! Producer, reader, topics, the embedded broker's port.

use super::support::{Broker, block, join, quick, record, text, unique};
use crate::kafka::{Admin, ClientSettings, Embedded, From, Producer, Reader, SendError, TopicSpec};
use crate::model::clock::WallMs;
use crate::model::record::Position;
use bytes::Bytes;
use std::ops::ControlFlow;
use std::time::Duration;

#[test]
fn a_record_comes_back_as_it_was_written() {
    let broker = Broker::start();
    let topic = broker.topic(2);
    let producer = Producer::connect(&broker.client).unwrap();
    let mut out = record(&topic, 1, "v");
    out.key = Some(Bytes::from_static(b"\xff"));
    out.timestamp_ms = Some(1_700_000_000_123);
    out.headers = vec![
        ("a".to_owned(), Some(Bytes::from_static(b"1"))),
        ("a".to_owned(), None),
        ("b".to_owned(), Some(Bytes::new())),
    ];
    let position = block(producer.send(out)).unwrap();
    assert_eq!((&*position.topic, position.partition, position.offset), (&*topic, 1, 0));
    let mut reader = Reader::open(&broker.client).unwrap();
    let back = reader.read_at(&position).unwrap().unwrap();
    assert_eq!(
        (back.key(), back.value(), back.timestamp_ms),
        (Some(&b"\xff"[..]), Some(&b"v"[..]), Some(1_700_000_000_123))
    );
    let headers: Vec<_> = back.headers().collect();
    assert_eq!(headers, [("a", Some(&b"1"[..])), ("a", None), ("b", Some(&b""[..]))]);
    let mut tombstone = record(&topic, 1, "");
    tombstone.value = None;
    let position = block(producer.send(tombstone)).unwrap();
    assert_eq!(reader.read_at(&position).unwrap().unwrap().value(), None);
    assert!(reader.read_at(&Position { offset: 2, ..position }).unwrap().is_none());
    assert!(block(producer.flush(Duration::from_secs(5))));
}

#[test]
fn a_topic_is_scanned_to_its_end() {
    let broker = Broker::start();
    let topic = broker.topic(3);
    let mut reader = Reader::open(&broker.client).unwrap();
    assert_eq!(reader.scan(&topic, From::Beginning, |_| ControlFlow::Continue(())).unwrap(), 0);
    broker.produce(&topic, 3, 0..50);
    std::thread::park_timeout(Duration::from_millis(20));
    let later = WallMs::now();
    broker.produce(&topic, 3, 50..60);
    let mut values = Vec::new();
    let mut take = |record| {
        values.push(text(&record).parse::<i32>().unwrap());
        ControlFlow::Continue(())
    };
    assert_eq!(reader.scan(&topic, From::Beginning, &mut take).unwrap(), 60);
    assert_eq!(reader.scan(&topic, From::Time(later), &mut take).unwrap(), 10);
    assert_eq!(reader.scan(&topic, From::End, &mut take).unwrap(), 0);
    values[..60].sort_unstable();
    assert_eq!(values[..60], (0..60).collect::<Vec<_>>());
    assert!(values[60..].iter().all(|v| *v >= 50));
    assert_eq!(reader.scan(&topic, From::Beginning, |_| ControlFlow::Break(())).unwrap(), 1);
    assert_eq!(
        reader.scan(&unique("none"), From::Beginning, |_| ControlFlow::Break(())).unwrap_err().code(),
        "KAFKA_TOPIC"
    );
    // Following sees what comes later only.
    reader.follow(&topic, From::End).unwrap();
    assert!(reader.wait(Duration::from_millis(200)).unwrap().is_none());
    broker.produce(&topic, 3, 60..61);
    assert_eq!(text(&reader.wait(Duration::from_secs(10)).unwrap().unwrap()), "60");
}

#[test]
fn too_large_is_said_so() {
    let broker = Broker::start();
    let topic = broker.topic_with(TopicSpec::new(unique("small"), 1).set("max.message.bytes", 10_000));
    let mut client = broker.client.clone();
    if broker.embedded.is_some() {
        client.properties.push(("message.max.bytes".to_owned(), "10000".to_owned()));
        client.properties.push(("batch.size".to_owned(), "10000".to_owned()));
    }
    let producer = Producer::connect(&client).unwrap();
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(100_000).collect();
    let error = block(producer.send(record(&topic, 0, &noise))).unwrap_err();
    assert!(matches!(error, SendError::TooLarge { size_bytes: 100_000, .. }), "{error}");
    block(producer.send(record(&topic, 0, "small"))).unwrap();
}

#[test]
fn topics_are_made_once_and_checked() {
    let broker = Broker::start();
    let prefix = unique("p");
    let exact = TopicSpec { exact: true, ..TopicSpec::new(format!("{prefix}.slots"), 32) };
    let specs = [exact, TopicSpec::new(format!("{prefix}.dlq"), 3).set("retention.ms", 2_592_000_000_u64)];
    let made = block(broker.admin.ensure(&specs)).unwrap();
    assert_eq!(made.len(), specs.len());
    assert!(block(broker.admin.ensure(&specs)).unwrap().is_empty());
    let ends = block(broker.admin.watermarks(&format!("{prefix}.slots"))).unwrap();
    assert_eq!((ends.len(), ends[31].low, ends[31].high), (32, 0, 0));
    let mut wrong = specs[0].clone();
    wrong.partitions = 16;
    let error = block(broker.admin.ensure(&[wrong])).unwrap_err();
    assert!(error.to_string().contains("has 32 partitions and must have 16"), "{error}");
    assert_eq!(block(broker.admin.metadata(&[unique("none")])).unwrap()[0].partitions, None);
}

#[test]
fn other_clients_find_the_embedded_broker() {
    let embedded = Embedded::start(0).unwrap();
    let error = Embedded::start(embedded.port()).unwrap_err();
    assert_eq!(error.code(), "KAFKA_PORT_TAKEN");
    assert!(error.to_string().contains("--kafka-port"), "{error}");
    let outside = ClientSettings::new(format!("127.0.0.1:{}", embedded.port()));
    crate::kafka::ping(&outside, Duration::from_secs(5)).unwrap();
    let admin = Admin::embedded(&embedded).unwrap();
    block(admin.ensure(&[TopicSpec::new("outside", 1)])).unwrap();
    block(Producer::connect(&outside).unwrap().send(record("outside", 0, "hello"))).unwrap();
    let (lanes, intake) = join(&outside, "g", "outside", quick());
    lanes.read_all(1);
    intake.close(Duration::from_secs(5)).unwrap();
}
