//! A broker, topics of a test's own, and an owner that reads what it is given.

use crate::kafka::{
    Admin, Assigned, ClientSettings, Commit, Committer, Embedded, Intake, IntakeOptions, Owner, Producer, Queue,
    QueueError, TopicPartition, TopicSpec,
};
use crate::model::clock::Monotonic;
use crate::model::record::{OutRecord, Record};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The embedded broker of this test run, or the real one.
pub(super) struct Broker {
    pub(super) embedded: Option<Embedded>,
    pub(super) client: ClientSettings,
    pub(super) admin: Admin,
    producer: OnceLock<Producer>,
}

impl Broker {
    /// Nothing was lost, and nothing repeated: a partition is drained and committed before it moves. The embedded broker
    /// refuses commits while its group rebalances, so there a slow machine may see repetitions.
    pub(super) fn assert_read_once(&self, counts: &BTreeMap<String, usize>) {
        let repeated = counts.iter().filter(|(_, n)| **n != 1).count();
        assert!(repeated == 0 || self.embedded.is_some(), "{repeated} records were read again");
    }

    pub(super) fn start() -> Self {
        if let Ok(brokers) = std::env::var("TEST_KAFKA") {
            let client = ClientSettings::new(brokers);
            let admin = Admin::real(&client).unwrap();
            return Self { embedded: None, client, admin, producer: OnceLock::new() };
        }
        let embedded = Embedded::start(0).unwrap();
        let (mut client, admin) = (embedded.client(), Admin::embedded(&embedded).unwrap());
        // It lets a rebalance wait for almost a session.
        let set = [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200")];
        client.properties = set.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        Self { embedded: Some(embedded), client, admin, producer: OnceLock::new() }
    }

    /// A topic that nobody else has.
    pub(super) fn topic(&self, partitions: i32) -> String {
        self.topic_with(TopicSpec::new(unique("t"), partitions))
    }

    pub(super) fn topic_with(&self, spec: TopicSpec) -> String {
        block(self.admin.ensure(std::slice::from_ref(&spec))).unwrap();
        spec.name
    }

    /// Writes `count` records, round robin; the value is the running number.
    pub(super) fn produce(&self, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
        let producer = self.producer.get_or_init(|| Producer::connect(&self.client).unwrap());
        let records = numbers.map(|i| record(topic, i % partitions, &i.to_string()));
        block(async {
            let sent = futures_util::future::join_all(records.map(|r| producer.send(r))).await;
            for result in sent {
                result.unwrap();
            }
        });
    }
}

pub(super) fn record(topic: &str, partition: i32, value: &str) -> OutRecord {
    OutRecord {
        topic: Arc::from(topic),
        partition: Some(partition),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

/// A name that no other test and no earlier run uses.
pub(super) fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{:x}-{}", fastrand::u64(..), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Waits for a condition, and says what did not come true.
#[track_caller]
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Monotonic::now().plus(Duration::from_secs(40));
    while !holds() {
        assert!(Monotonic::now() < end, "did not happen: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Partition, start, metadata.
type Begun = (TopicPartition, Option<i64>, Option<String>);

/// Reads everything it is given. A record counts as done when it is read; `held` offsets are left out of commits.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<TopicPartition, Lane>>,
    pub(super) seen: Mutex<Vec<(TopicPartition, i64, String)>>,
    pub(super) starts: Mutex<Vec<Begun>>,
    pub(super) revoked: Mutex<Vec<(TopicPartition, bool)>>,
    pub(super) errors: Mutex<Vec<QueueError>>,
    pub(super) committer: OnceLock<Committer>,
    /// Put into every commit.
    pub(super) metadata: Mutex<String>,
    /// Restart wanted.
    pub(super) broken: Mutex<Vec<TopicPartition>>,
    /// How long `revoked` drains.
    pub(super) drain: Mutex<Duration>,
    wakes: Arc<AtomicU64>,
}

struct Lane {
    epoch: u64,
    next: Option<i64>,
    queue: Queue,
}

impl Owner for Lanes {
    fn assigned(&self, partitions: Vec<Assigned>) {
        let mut lanes = self.lanes.lock().unwrap();
        for Assigned { at, epoch, start, metadata, mut queue } in partitions {
            self.starts.lock().unwrap().push((at.clone(), start, metadata));
            let wakes = Arc::clone(&self.wakes);
            queue.on_ready(move || {
                wakes.fetch_add(1, Ordering::Relaxed);
            });
            let old = lanes.insert(at, Lane { epoch, next: start, queue });
            assert!(old.is_none(), "the old queue must be gone");
        }
    }

    fn revoked(&self, partitions: &[TopicPartition], lost: bool) -> Vec<Commit> {
        let drain = *self.drain.lock().unwrap();
        if !drain.is_zero() {
            std::thread::park_timeout(drain);
        }
        let mut lanes = self.lanes.lock().unwrap();
        let mut commits = Vec::new();
        for at in partitions {
            self.revoked.lock().unwrap().push((at.clone(), lost));
            let Some(lane) = lanes.remove(at) else { continue };
            commits.extend(self.commit_of(at, &lane));
        }
        commits
    }
}

impl Lanes {
    fn commit_of(&self, at: &TopicPartition, lane: &Lane) -> Option<Commit> {
        let metadata = self.metadata.lock().unwrap().clone();
        Some(Commit { at: at.clone(), epoch: lane.epoch, next_offset: lane.next?, metadata })
    }

    /// Reads what has come, as far as `limit` allows in all.
    pub(super) fn read(&self, limit: usize) {
        let mut lanes = self.lanes.lock().unwrap();
        let mut seen = self.seen.lock().unwrap();
        let mut broken = Vec::new();
        for (at, lane) in lanes.iter_mut() {
            while seen.len() < limit {
                match lane.queue.poll() {
                    None => break,
                    Some(Ok(record)) => {
                        lane.next = Some(record.position.offset + 1);
                        seen.push((at.clone(), record.position.offset, text(&record)));
                    }
                    Some(Err(error)) => {
                        if error == QueueError::OffsetOutOfRange {
                            broken.push(at.clone());
                        }
                        self.errors.lock().unwrap().push(error);
                    }
                }
            }
        }
        for at in broken {
            lanes.remove(&at);
            self.broken.lock().unwrap().push(at);
        }
    }

    /// Does something with the queue of a partition that it has.
    pub(super) fn with_queue(&self, at: &TopicPartition, act: impl FnOnce(&mut Queue)) {
        act(&mut self.lanes.lock().unwrap().get_mut(at).unwrap().queue);
    }

    pub(super) fn store(&self) {
        let committer = self.committer.get().unwrap();
        for (at, lane) in self.lanes.lock().unwrap().iter() {
            if let Some(commit) = self.commit_of(at, lane) {
                committer.store(commit);
            }
        }
    }

    /// Reads until so many records have been seen.
    #[track_caller]
    pub(super) fn read_all(&self, count: usize) {
        until("all records are read", || {
            self.read(usize::MAX);
            self.seen.lock().unwrap().len() >= count
        });
    }

    /// Reads only if a queue has woken somebody since `last`.
    pub(super) fn read_if_woken(&self, last: &mut u64) {
        let wakes = self.wakes.load(Ordering::Relaxed);
        if wakes != std::mem::replace(last, wakes) {
            self.read(usize::MAX);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.lanes.lock().unwrap().len()
    }

    pub(super) fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How often each value has been seen.
    pub(super) fn counts(all: &[&Self]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for lanes in all {
            for (_, _, value) in lanes.seen.lock().unwrap().iter() {
                *counts.entry(value.clone()).or_default() += 1;
            }
        }
        counts
    }
}

pub(super) fn text(record: &Record) -> String {
    String::from_utf8(record.value().unwrap_or_default().to_vec()).unwrap()
}

/// An intake with lanes of its own.
pub(super) fn join(client: &ClientSettings, group: &str, topic: &str, options: IntakeOptions) -> (Arc<Lanes>, Intake) {
    let lanes = Arc::new(Lanes::default());
    let owner: Arc<dyn Owner> = lanes.clone();
    let intake = Intake::subscribe(client, group, &[topic.to_owned()], options, owner).unwrap();
    lanes.committer.set(intake.committer()).unwrap();
    (lanes, intake)
}

pub(super) fn quick() -> IntakeOptions {
    IntakeOptions { commit_interval: Duration::from_millis(50), ..IntakeOptions::default() }
}

/// What an intake knows to be committed, by partition.
pub(super) fn committed(intake: &Intake) -> BTreeMap<i32, Option<i64>> {
    intake.state().partitions.into_iter().map(|p| (p.partition, p.committed)).collect()
}
