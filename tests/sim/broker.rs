//! Kafka in memory: logs, commits, groups; with writes that fail, are late, or are not acknowledged.

use crate::desk::SLOTS_GROUP;
use crate::group::Group;
use crate::oracle::{Oracle, Place};
use crate::plan::Refused;
use crate::resources::Number;
use crate::time;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use tidegate::kafka::{Log, QueueError, SendError, Sink, Stored, TopicPartition};
use tidegate::model::record::{OutRecord, Position, Record};
use tidegate::model::stored::StoredHeaders;
use tidegate::pipeline::commit::{OffsetTracker, Scope};
use tokio::sync::{mpsc, oneshot};

/// The topic of holds.
pub(crate) const STATE: &str = "tg.state";

/// What a cursor is woken by.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A partition.
#[derive(Default)]
pub(crate) struct Partition {
    /// How often it was made anew.
    pub(crate) life: u32,
    pub(crate) low: i64,
    pub(crate) end: i64,
    pub(crate) records: Vec<Record>,
    wakers: Vec<Wake>,
    /// Made anew, and nobody reads the new one yet.
    pub(crate) is_unread: bool,
}

/// Everything the brokers know.
pub(crate) struct State {
    pub(crate) rng: Rng,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    pub(crate) commits: HashMap<(String, TopicPartition), Stored>,
    /// How far a commit has been found right.
    checked: HashMap<(String, TopicPartition, u32), i64>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) oracle: Oracle,
    /// Until when, and how many in a hundred.
    pub(crate) writes: (u64, u8),
    pub(crate) committing: (u64, u8),
    /// Until when, and what cannot be written to.
    pub(crate) refusing: (u64, Refused),
    pub(crate) reads: u64,
    pub(crate) largest_bytes: usize,
}

/// The brokers, as everybody reaches them.
#[derive(Clone)]
pub(crate) struct Broker {
    state: Arc<Mutex<State>>,
    writes: mpsc::UnboundedSender<Write>,
}

/// A record on its way.
pub(crate) struct Write {
    link: Arc<Link>,
    record: OutRecord,
    reply: oneshot::Sender<Result<Position, SendError>>,
}

/// How a replica reaches the brokers.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) replica: u32,
    /// As `kafka.instance_id`.
    pub(crate) instance: Option<u32>,
    pub(crate) cut: AtomicBool,
    pub(crate) cut_slots: AtomicBool,
    /// It stands still: what it is sent it may find out of date.
    pub(crate) frozen: AtomicBool,
}

impl Link {
    /// Whether the coordinator of a group is out of reach.
    pub(crate) fn is_cut(&self, group: &str) -> bool {
        self.cut.load(Relaxed) || (group == SLOTS_GROUP && self.cut_slots.load(Relaxed))
    }
}

impl Broker {
    pub(crate) fn new(state: State) -> (Self, mpsc::UnboundedReceiver<Write>) {
        let (writes, inbox) = mpsc::unbounded_channel();
        (Self { state: Arc::new(Mutex::new(state)), writes }, inbox)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn sink(&self, link: &Arc<Link>) -> Arc<dyn Sink> {
        Arc::new(Writer { broker: self.clone(), link: Arc::clone(link) })
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        self.state().oracle.say(time::ns(), what);
    }

    /// Carries writes out, each with its fate.
    pub(crate) async fn serve(self, mut inbox: mpsc::UnboundedReceiver<Write>) {
        while let Some(write) = inbox.recv().await {
            let broker = self.clone();
            tokio::task::spawn_local(async move { broker.write(write).await });
        }
    }

    async fn write(&self, Write { link, record, reply }: Write) {
        let topic = Arc::clone(&record.topic);
        let size_bytes = size(&record);
        let (appends, answers, takes_ms, waits_ms) = {
            let mut state = self.state();
            let troubled =
                link.cut.load(Relaxed) || time::ms() < state.writes.0 && state.rng.u8(0..100) < state.writes.1;
            let (takes, waits) = (state.rng.u64(1..20), state.rng.u64(0..10));
            let refused = time::ms() < state.refusing.0 && state.refusing.1.has(&topic);
            if refused && state.rng.u8(0..8) == 0 {
                (false, Err(SendError::Fatal { topic: Arc::clone(&topic) }), takes, waits)
            } else if refused {
                let code = RDKafkaErrorCode::TopicAuthorizationFailed;
                (false, Err(SendError::Refused { topic: Arc::clone(&topic), code }), takes, waits)
            } else if size_bytes > state.largest_bytes {
                (false, Err(SendError::TooLarge { topic: Arc::clone(&topic), size_bytes }), takes, waits)
            } else if !troubled {
                (true, Ok(()), takes, waits)
            } else {
                let timeout = Err(SendError::Timeout { topic: Arc::clone(&topic) });
                match state.rng.u8(0..4) {
                    0 => (false, timeout, state.rng.u64(1_000..10_000), waits),
                    // Written, and nobody hears of it.
                    1 => (true, timeout, state.rng.u64(1..3_000), state.rng.u64(1_000..8_000)),
                    2 => {
                        let code = RDKafkaErrorCode::NotEnoughReplicas;
                        (false, Err(SendError::Refused { topic: Arc::clone(&topic), code }), takes, waits)
                    }
                    _ => (true, Ok(()), state.rng.u64(500..5_000), state.rng.u64(0..3_000)),
                }
            }
        };
        time::sleep_ms(takes_ms).await;
        let position = if appends { Some(self.state().append(link.replica, &record)) } else { None };
        time::sleep_ms(waits_ms).await;
        // Who asked may have ended.
        drop(reply.send(answers.map(|()| position.unwrap())));
    }
}

impl State {
    pub(crate) fn new(rng: Rng, oracle: Oracle, largest_bytes: usize) -> Self {
        Self {
            rng,
            partitions: BTreeMap::new(),
            commits: HashMap::new(),
            checked: HashMap::new(),
            groups: BTreeMap::new(),
            oracle,
            writes: (0, 0),
            committing: (0, 0),
            refusing: (0, Refused::All),
            reads: 0,
            largest_bytes,
        }
    }

    pub(crate) fn place(&self, at: &TopicPartition, offset: i64) -> Place {
        let life = self.partitions.get(at).map_or(0, |p| p.life);
        Place { topic: at.topic.to_string(), partition: at.partition, life, offset }
    }

    /// Writes a record of ours.
    pub(crate) fn append(&mut self, replica: u32, out: &OutRecord) -> Position {
        let partitions = if out.topic.starts_with("tg.queue.") { 1 } else { 2 };
        let partition = out.partition.unwrap_or_else(|| self.rng.i32(0..partitions));
        let at = TopicPartition { topic: Arc::clone(&out.topic), partition };
        let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let position = Position {
            topic: Arc::clone(&out.topic),
            partition,
            offset: self.partitions.entry(at.clone()).or_default().end,
        };
        let time = out.timestamp_ms.or_else(|| Some(time::true_ms()));
        let record = Record::new(position.clone(), time, out.key.as_deref(), out.value.as_deref(), headers);
        if &*out.topic == STATE {
            self.push(&at, record, 0);
            return position;
        }
        let stored = StoredHeaders::read(&record).unwrap();
        let place = self.place(&at, position.offset);
        // Which of its lives the origin is of, the origin itself does not say: the newest one that knows it.
        let from = TopicPartition::new(Arc::clone(&stored.origin.topic), stored.origin.partition);
        let origin = self.place(&from, stored.origin.offset);
        let dead = &*out.topic == "tg.dlq";
        let id = stored.delivery.as_ref().map(|address| address.delivery_id.as_str());
        if dead
            && id.is_some()
            && stored.exhausted.is_none()
            && stored.class.as_deref() != Some("reject")
            && record.header("tidegate-value-bytes").is_none()
        {
            self.oracle.fail(
                time::ns(),
                format!("a dead letter of class {:?}, code {:?}, which nothing exhausted", stored.class, stored.code),
            );
        }
        // One by reference was to be kept, and is too large for that.
        let refused = stored.class.as_deref() == Some("reject") && stored.code.as_deref() == Some("DELIVER_STATUS");
        let refused = refused && record.header("tidegate-value-bytes").is_none();
        self.oracle.stored(time::ns(), place, id, &origin);
        if dead
            && refused
            && let Some(address) = &stored.delivery
        {
            let destination = address.destination.trim_start_matches('d').parse().unwrap();
            self.oracle.refused(time::ns(), replica, destination, &address.delivery_id);
        }
        self.push(&at, record, 0);
        position
    }

    /// Puts a record at the end of a log, after a gap.
    pub(crate) fn push(&mut self, at: &TopicPartition, record: Record, gap: i64) {
        let partition = self.partitions.entry(at.clone()).or_default();
        partition.end = record.position.offset + 1 + gap;
        partition.records.push(record);
        partition.wakers.iter().for_each(|wake| wake());
    }

    /// Has a reader woken when something is written there.
    pub(crate) fn wakes(&mut self, at: &TopicPartition, wake: Wake) {
        self.partitions.entry(at.clone()).or_default().wakers.push(wake);
    }

    /// Wakes all readers.
    pub(crate) fn wake_readers(&mut self) {
        self.partitions.values().flat_map(|p| &p.wakers).for_each(|wake| wake());
    }

    /// Deletes a partition and makes it anew, empty.
    pub(crate) fn recreate(&mut self, at: &TopicPartition) {
        let partition = self.partitions.entry(at.clone()).or_default();
        partition.life += 1;
        partition.is_unread = true;
        let life = partition.life;
        (partition.low, partition.end) = (0, 0);
        partition.records.clear();
        self.commits.retain(|(_, of), _| of != at);
        self.oracle.vanished(&at.topic, at.partition, life);
        self.oracle.say(time::ns(), || format!("{at} was made anew"));
    }

    /// Deletes what is committed in the tiers.
    pub(crate) fn tidy(&mut self, group: &str) {
        for (at, partition) in &mut self.partitions {
            let Some(stored) = self.commits.get(&(group.to_owned(), at.clone())) else { continue };
            partition.low = partition.low.max(stored.next_offset.min(partition.end));
            let low = partition.low;
            partition.records.retain(|record| record.position.offset >= low);
        }
    }

    /// A commit takes effect.
    pub(crate) fn commit(&mut self, group: &str, at: &TopicPartition, stored: &Stored, fenced: bool) {
        let now = time::ns();
        self.oracle.counts.commits += 1;
        let key = (group.to_owned(), at.clone());
        let Some(partition) = self.partitions.get(at) else {
            self.oracle.say(now, || format!("committed {group} {at}"));
            self.commits.insert(key, stored.clone());
            return;
        };
        self.oracle.say(now, || format!("committed {group} {at} = {} {}", stored.next_offset, stored.metadata));
        let before = self.commits.get(&key).map_or(0, |old| old.next_offset);
        if fenced && stored.next_offset < before && before <= partition.end {
            self.oracle.fail(now, format!("{group} {at} went back from {before} to {}", stored.next_offset));
        }
        let life = partition.life;
        let checked = self.checked.entry((group.to_owned(), at.clone(), life)).or_insert(0);
        let mut wrong = Vec::new();
        let place = |offset| Place { topic: at.topic.to_string(), partition: at.partition, life, offset };
        for record in &partition.records {
            let offset = record.position.offset;
            if (*checked..stored.next_offset).contains(&offset) && !self.oracle.is_done(group, &place(offset)) {
                wrong.push(format!("{at} is committed up to {}, but {offset} is not done", stored.next_offset));
            }
        }
        *checked = (*checked).max(stored.next_offset.min(partition.end));
        if !stored.metadata.is_empty() {
            let scope = Scope { group, topic: &at.topic, partition: at.partition };
            let mut tracker = OffsetTracker::resume(&scope, stored.next_offset, &stored.metadata, None);
            for record in partition.records.iter().filter(|r| r.position.offset >= stored.next_offset) {
                let offset = record.position.offset;
                if tracker.already_done(record) && !self.oracle.is_done(group, &place(offset)) {
                    wrong.push(format!("the map of {at} at {} calls {offset} done, which is not", stored.next_offset));
                }
                tracker.admit(record, 0);
            }
        }
        for what in wrong {
            self.oracle.fail(now, what);
        }
        self.commits.insert(key, stored.clone());
    }

    /// Where a group stands in the partitions of the source.
    pub(crate) fn stands(&self, group: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let at = |partition| TopicPartition::new("orders", partition);
        let committed = |at: &TopicPartition| self.commits.get(&(group.to_owned(), at.clone())).map(|s| s.next_offset);
        let low = |at: &TopicPartition| self.partitions.get(at).map_or(0, |partition| partition.low);
        (0..partitions).map(|p| (p, committed(&at(p)).unwrap_or_else(|| low(&at(p))))).collect()
    }

    /// A group begins, unless it has members.
    pub(crate) fn seed(&mut self, target: Number, group: &str, seeds: &BTreeMap<i32, i64>) {
        if self.groups.get(group).is_some_and(Group::has_members) {
            return;
        }
        self.oracle.say(time::ns(), || format!("{group} begins at {seeds:?}"));
        for (partition, offset) in seeds {
            let at = TopicPartition::new("orders", *partition);
            self.commits.insert((group.to_owned(), at), Stored { next_offset: *offset, metadata: String::new() });
        }
        self.oracle.begins(target, seeds.clone());
    }

    /// Whether everything in that topic is committed.
    pub(crate) fn is_drained(&self, group: &str, topic: impl Fn(&str) -> bool) -> bool {
        self.partitions.iter().filter(|(at, _)| topic(&at.topic)).all(|(at, partition)| {
            let committed = self.commits.get(&(group.to_owned(), at.clone())).map_or(0, |stored| stored.next_offset);
            partition.records.last().is_none_or(|last| committed > last.position.offset)
        })
    }
}

fn size(record: &OutRecord) -> usize {
    let headers = record.headers.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, |v| v.len()));
    record.value.as_ref().map_or(0, |v| v.len()) + headers.sum::<usize>()
}

/// Writes for one replica.
struct Writer {
    broker: Broker,
    link: Arc<Link>,
}

impl Sink for Writer {
    fn send(&self, record: OutRecord) -> BoxFuture<'static, Result<Position, SendError>> {
        let (reply, answer) = oneshot::channel();
        let topic = Arc::clone(&record.topic);
        drop(self.broker.writes.send(Write { link: Arc::clone(&self.link), record, reply }));
        Box::pin(async move { answer.await.unwrap_or(Err(SendError::Timeout { topic })) })
    }

    fn post(&self, _record: OutRecord) {}
}

/// Reads a partition.
pub(crate) struct Cursor {
    broker: Broker,
    link: Arc<Link>,
    at: TopicPartition,
    group: Arc<str>,
    /// `None`: where the group stands, when it can be asked.
    next: Option<i64>,
    /// Records below it have been read once.
    read: i64,
    life: u32,
    /// What the commit it began at says is done; kept for counting reads.
    done: Option<OffsetTracker>,
    /// The highest offset that may be committed: what was read, or is known to be done.
    progress: Arc<AtomicI64>,
}

impl Cursor {
    pub(crate) fn new(
        broker: &Broker,
        link: &Arc<Link>,
        at: &TopicPartition,
        group: &Arc<str>,
        from: Option<&Stored>,
    ) -> Self {
        let life = broker.state().partitions.get(at).map_or(0, |p| p.life);
        let done = from.map(|stored| {
            let scope = Scope { group, topic: &at.topic, partition: at.partition };
            OffsetTracker::resume(&scope, stored.next_offset, &stored.metadata, None)
        });
        let next = from.map(|stored| stored.next_offset);
        let progress = Arc::new(AtomicI64::new(next.unwrap_or(0)));
        let group = Arc::clone(group);
        Self {
            broker: broker.clone(),
            link: Arc::clone(link),
            at: at.clone(),
            group,
            next,
            read: 0,
            life,
            done,
            progress,
        }
    }

    /// See the field.
    pub(crate) fn progress(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.progress)
    }
}

impl Log for Cursor {
    fn next(&mut self) -> Option<Result<Record, QueueError>> {
        if self.link.cut.load(Relaxed) {
            return None;
        }
        let mut state = self.broker.state();
        let state = &mut *state;
        if time::ms() < state.reads && state.rng.u8(0..4) == 0 {
            return Some(Err(QueueError::Transient("the leader is away".to_owned())));
        }
        let partition = state.partitions.get_mut(&self.at)?;
        let committed = state.commits.get(&(self.group.to_string(), self.at.clone()));
        let next = *self.next.get_or_insert_with(|| committed.map_or(partition.low, |stored| stored.next_offset));
        self.progress.fetch_max(next, Relaxed);
        if next < partition.low || next > partition.end || partition.life != self.life {
            return Some(Err(QueueError::OffsetOutOfRange));
        }
        if partition.is_unread {
            // Kafka forgets the offsets of a topic that is deleted.
            partition.is_unread = false;
            state.commits.retain(|(_, of), _| *of != self.at);
        }
        let index = partition.records.partition_point(|record| record.position.offset < next);
        let record = partition.records.get(index)?.clone();
        self.next = Some(record.position.offset + 1);
        let done = self.done.as_mut().is_some_and(|tracker| {
            let done = tracker.already_done(&record);
            tracker.admit(&record, 0);
            self.progress.fetch_max(tracker.watermark(), Relaxed);
            done
        });
        self.progress.fetch_max(record.position.offset + 1, Relaxed);
        let again = self.read > record.position.offset;
        self.read = self.read.max(record.position.offset + 1);
        if !done && !again {
            let place = state.place(&self.at, record.position.offset);
            state.oracle.read(&self.group, &place);
        }
        Some(Ok(record))
    }

    fn back_to(&mut self, offset: i64) {
        self.next = Some(offset);
    }

    fn on_ready(&mut self, wake: Wake) {
        self.broker.state().wakes(&self.at, wake);
    }
}

/// A log that never has a record.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Log for Nothing {
    fn next(&mut self) -> Option<Result<Record, QueueError>> {
        None
    }

    fn back_to(&mut self, _offset: i64) {}

    fn on_ready(&mut self, _wake: Wake) {}
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}
