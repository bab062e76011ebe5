//! What passes between an intake and the owner of its partitions: partitions with their epoch and queue come in,
//! offsets to commit go out.

use super::callbacks::Callbacks;
use super::commit;
use crate::model::record::{Position, Record};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
}

impl TopicPartition {
    /// That partition.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

/// A partition that is ours from now on.
#[derive(Debug)]
pub struct Assigned {
    /// Which.
    pub at: TopicPartition,
    /// Grows with every assignment of this intake; commits of another epoch are refused.
    pub epoch: u64,
    /// Offset to be read next, if known: what was committed, or where the policy says to start.
    pub start: Option<i64>,
    /// Metadata of the committed offset, if it is ASCII; whether it is ours is for the reader to judge.
    pub metadata: Option<String>,
    /// Its records.
    pub queue: Queue,
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which partition.
    pub at: TopicPartition,
    /// The epoch in which this was learned.
    pub epoch: u64,
    /// The lowest offset that is not complete.
    pub next_offset: i64,
    /// What is complete above it: ASCII, at most [`METADATA_MAX`] characters; anything else is left out.
    pub metadata: String,
}

/// The longest commit metadata that is sent. Brokers refuse more than 4,096 bytes by default.
pub const METADATA_MAX: usize = 4_000;

/// Who works on the partitions of an intake. Called on its poll thread.
pub trait Owner: Send + Sync + 'static {
    /// These partitions are ours from now on. Must not block.
    fn assigned(&self, partitions: Vec<Assigned>);

    /// These partitions are taken away. Blocks until what is in flight has settled, at most for the drain time-out; when
    /// it returns, their queues have been dropped. Partitions that wait to be restarted are among them. What it returns is committed, unless they were `lost`: then another
    /// member may already own them.
    fn revoked(&self, partitions: &[TopicPartition], lost: bool) -> Vec<Commit>;
}

/// Why a queue yields no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The offset to read does not exist (any more), or nothing was committed and nobody said where to start. Reading has
    /// stopped: settle what is in the window, drop the queue and call `Intake::restart`.
    #[error("the offset to read next does not exist")]
    OffsetOutOfRange,
    /// Kafka cannot serve the partition at the moment; the client goes on trying.
    #[error("{0}; trying again")]
    Transient(String),
    /// Records cannot be read, and going on would skip them: hold the partition.
    #[error("{0}")]
    Fatal(String),
}

/// The records of one partition, in order. Must be dropped before its revocation is acknowledged: dropping it later
/// silences the callback of its successor.
pub struct Queue {
    from: Origin,
    topic: Arc<str>,
    alive: Arc<Life>,
    course: Course,
    /// What came while looking for what is out of date.
    kept: Option<Box<Result<Record, QueueError>>>,
}

/// Where the reading of a queue stands.
#[derive(Default)]
struct Course {
    /// Records below have been returned already.
    next: i64,
    /// It went back, so that nothing but exactly that record is next.
    is_back: bool,
}

impl Course {
    /// Whether the record at this offset is the one to return. What lay fetched when it went back is not.
    fn takes(&mut self, offset: i64, life: &Life) -> bool {
        if self.is_back && offset > self.next {
            life.go_back(self.next);
        }
        let takes = if self.is_back { offset == self.next } else { offset >= self.next };
        if takes {
            *self = Self { next: offset + 1, is_back: false };
        }
        takes
    }
}

/// Where the records come from.
enum Origin {
    Kafka(PartitionQueue<Callbacks>),
    Log(Box<dyn Log>),
}

/// Records of a partition that come from elsewhere than Kafka's client: from memory, in simulations.
pub trait Log: Send {
    /// The next record, if there is one now.
    ///
    /// # Errors
    /// As Kafka's client would fail.
    fn next(&mut self) -> Option<Result<Record, QueueError>>;

    /// Has the record at this offset, which has been taken, come once more, and then those behind it.
    fn back_to(&mut self, offset: i64);

    /// Calls `wake` when there are records again.
    fn on_ready(&mut self, wake: Arc<dyn Fn() + Send + Sync>);
}

/// What the poll thread knows of a queue that lives elsewhere: both hold it, so that it can tell whether the queue has
/// been dropped.
#[derive(Default)]
pub struct Life {
    /// The queue has reported [`QueueError::OffsetOutOfRange`].
    pub(super) stopped: AtomicBool,
    /// It is not the partition's turn to be fetched.
    pub(super) paused: AtomicBool,
    /// Nothing of it is needed for a while.
    pub(super) rests: AtomicBool,
    /// The client is to fetch on from there.
    back_to: Mutex<Option<i64>>,
    /// The sum of what has been taken. Only the queue writes it, and nothing hangs on when others see it.
    taken_bytes: AtomicU64,
    /// Who looked last for a record found none, and nothing has come since.
    pub(super) is_dry: AtomicBool,
    /// Wakes who reads the queue.
    reader: Mutex<Option<Wake>>,
}

/// Wakes somebody, and does nothing else.
type Wake = Arc<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("paused", &self.paused).field("is_dry", &self.is_dry).finish_non_exhaustive()
    }
}

impl Life {
    /// Has the reader look at its queue: what was fetched before a pause stays in the client's memory until somebody does,
    /// and a reader that waits for something else would not for long.
    pub(super) fn wake(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = reader {
            wake();
        }
    }

    fn go_back(&self, offset: i64) {
        *self.back_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
    }

    /// Where the client is to fetch on, if that is not where it is.
    pub(super) fn wants_back(&self) -> Option<i64> {
        self.back_to.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes that so much was taken.
    pub(super) fn took(&self, bytes: u64) {
        let before = self.taken_bytes.load(Ordering::Relaxed);
        self.taken_bytes.store(before.wrapping_add(bytes), Ordering::Relaxed);
        self.is_dry.store(false, Ordering::Relaxed);
    }

    /// How much has been taken of the queue so far, in bytes, and whether nothing was left then.
    pub(super) fn taken(&self) -> (u64, bool) {
        (self.taken_bytes.load(Ordering::Relaxed), self.is_dry.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(queue: PartitionQueue<Callbacks>, topic: Arc<str>, alive: Arc<Life>) -> Self {
        // Of its own, for all its records count how many hold it, and no other worker is to be in their way.
        Self { from: Origin::Kafka(queue), topic: Arc::from(&*topic), alive, course: Course::default(), kept: None }
    }

    /// A queue over another log.
    #[must_use]
    pub fn over(log: Box<dyn Log>, topic: Arc<str>, alive: Arc<Life>) -> Self {
        Self { from: Origin::Log(log), topic, alive, course: Course::default(), kept: None }
    }

    /// The next record, if one has been fetched. Never blocks; copies the record once out of the client. Offsets grow: the
    /// client pauses a partition in every rebalance and may then fetch again what it has just returned.
    pub fn poll(&mut self) -> Option<Result<Record, QueueError>> {
        let next = self.kept.take().map(|kept| *kept).or_else(|| self.fetched());
        match &next {
            None => {
                self.alive.is_dry.store(true, Ordering::Relaxed);
                self.alive.rests.store(false, Ordering::Relaxed);
            }
            Some(Ok(record)) => self.alive.took(u64::try_from(record.buffer_bytes()).unwrap_or(u64::MAX)),
            Some(Err(_)) => self.alive.is_dry.store(false, Ordering::Relaxed),
        }
        next
    }

    fn fetched(&mut self) -> Option<Result<Record, QueueError>> {
        let error = loop {
            match &mut self.from {
                Origin::Kafka(queue) => match queue.poll(Duration::ZERO)? {
                    Ok(message) if self.course.takes(message.offset(), &self.alive) => {
                        return Some(Ok(copy(&message, &self.topic)));
                    }
                    Ok(_) => {}
                    Err(error) => break classify(&error),
                },
                Origin::Log(log) => match log.next()? {
                    Ok(record) if self.course.takes(record.position.offset, &self.alive) => return Some(Ok(record)),
                    Ok(_) => {}
                    Err(error) => break error,
                },
            }
        };
        if error == QueueError::OffsetOutOfRange {
            self.alive.stopped.store(true, Ordering::Release);
        }
        Some(Err(error))
    }

    /// To be called instead of [`Queue::poll`] where there is no room for a record. Lets go what had been fetched before it
    /// was another partition's turn: the client fetches it again, but keeps it until somebody looks for records.
    pub fn shed(&mut self) {
        // Whatever comes from now on fills the queue.
        self.alive.is_dry.store(false, Ordering::Relaxed);
        if self.kept.is_none() && self.alive.paused.load(Ordering::Acquire) {
            self.kept = self.fetched().map(Box::new);
        }
    }

    /// Nothing of it is needed for a while, or something is soon. Meanwhile nothing is fetched, and others have its turns. Who
    /// looks for a record and finds none needs one.
    pub fn rest(&mut self, rests: bool) {
        self.alive.rests.store(rests, Ordering::Relaxed);
    }

    /// The record at this offset, which has been returned, is to come once more, and then those behind it: who cannot use a
    /// record yet need not keep it.
    pub fn back_to(&mut self, offset: i64) {
        self.kept = None;
        self.course = Course { next: offset, is_back: true };
        match &mut self.from {
            Origin::Kafka(_) => self.alive.go_back(offset),
            Origin::Log(log) => log.back_to(offset),
        }
    }

    /// Registers a callback for the moment when records arrive on the empty queue, and calls it once, for the queue may
    /// hold records already. It is edge-triggered: poll until `None`, or come back by yourself. It is called on a thread of
    /// the client, with a lock held: it must only wake somebody.
    pub fn on_ready(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        let wake: Wake = Arc::new(wake);
        let callback = Arc::clone(&wake);
        *self.alive.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&wake));
        let alive = Arc::clone(&self.alive);
        match &mut self.from {
            Origin::Kafka(queue) => queue.set_nonempty_callback(move || {
                // Nobody can have taken the record yet, for the queue is locked.
                alive.is_dry.store(false, Ordering::Relaxed);
                callback();
            }),
            Origin::Log(log) => log.on_ready(callback),
        }
        wake();
    }
}

impl Drop for Queue {
    /// Nobody takes what comes for it any more.
    fn drop(&mut self) {
        self.alive.is_dry.store(false, Ordering::Relaxed);
        *self.alive.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn classify(error: &KafkaError) -> QueueError {
    let code = error.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::AutoOffsetReset) {
        return QueueError::OffsetOutOfRange;
    }
    // The client steps over a batch that it cannot read, which must not look like a compacted gap.
    let unreadable = matches!(
        code,
        Some(
            RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::NotImplemented
                | RDKafkaErrorCode::Underflow
                | RDKafkaErrorCode::MessageSizeTooLarge
        )
    );
    if unreadable || matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return QueueError::Fatal(error.to_string());
    }
    QueueError::Transient(error.to_string())
}

/// Copies a message out of the client.
pub(super) fn copy(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
    let position = Position { topic: Arc::clone(topic), partition: message.partition(), offset: message.offset() };
    let timestamp = message.timestamp().to_millis();
    let (key, value) = (message.key(), message.payload());
    let Some(headers) = message.headers() else {
        return Record::new(position, timestamp, key, value, std::iter::empty());
    };
    let headers = (0..headers.count()).filter_map(|i| commit::header(headers, i));
    Record::new(position, timestamp, key, value, headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Offsets and values that wait in the client.
    type Values = VecDeque<(i64, &'static [u8])>;

    #[derive(Clone, Default)]
    struct Waiting(Arc<Mutex<Values>>);

    impl Log for Waiting {
        fn next(&mut self) -> Option<Result<Record, QueueError>> {
            let mut waiting = self.0.lock().unwrap();
            let (offset, value) = waiting.pop_front()?;
            let position = Position { topic: Arc::from("t"), partition: 0, offset };
            Some(Ok(Record::new(position, None, None, Some(value), std::iter::empty())))
        }

        fn back_to(&mut self, _: i64) {}

        fn on_ready(&mut self, _: Arc<dyn Fn() + Send + Sync>) {}
    }

    #[test]
    fn a_queue_is_dry_when_somebody_has_found_it_empty_and_still_looks() {
        let (waiting, life) = (Waiting::default(), Arc::new(Life::default()));
        let mut queue = Queue::over(Box::new(waiting.clone()), Arc::from("t"), Arc::clone(&life));
        assert_eq!(life.taken(), (0, false));
        waiting.0.lock().unwrap().push_back((0, b"12345"));
        assert!(queue.poll().is_some());
        assert_eq!(life.taken(), (5, false));
        assert!(queue.poll().is_none());
        assert_eq!(life.taken(), (5, true));
        // No room for more: what comes now stays in the client.
        queue.shed();
        assert_eq!(life.taken(), (5, false));
        // What was let go is taken when there is room again.
        life.paused.store(true, Ordering::Release);
        waiting.0.lock().unwrap().push_back((1, b"678"));
        queue.shed();
        assert_eq!((life.taken(), waiting.0.lock().unwrap().len()), ((5, false), 0));
        assert!(queue.poll().is_some());
        assert_eq!(life.taken(), (8, false));
        assert!(queue.poll().is_none());
        drop(queue);
        assert_eq!(life.taken(), (8, false));
    }

    #[test]
    fn who_lets_a_record_go_has_it_once_more_and_nothing_before_it() {
        let (waiting, life) = (Waiting::default(), Arc::new(Life::default()));
        let mut queue = Queue::over(Box::new(waiting.clone()), Arc::from("t"), Arc::clone(&life));
        let mut offsets = |come: &[i64]| {
            waiting.0.lock().unwrap().extend(come.iter().map(|offset| (*offset, &b"12345"[..])));
            let next = queue.poll().map(|record| record.unwrap().position.offset);
            if next == Some(5) {
                queue.back_to(5);
            }
            next
        };
        assert_eq!(offsets(&[5, 6, 7]), Some(5));
        // What lay behind it is not taken instead, and the client hears of it.
        assert_eq!((offsets(&[]), life.wants_back(), life.wants_back()), (None, Some(5), None));
        assert_eq!(offsets(&[4, 5, 6, 8]), Some(5));
        assert_eq!(offsets(&[5]), Some(5));
        waiting.0.lock().unwrap().clear();
        queue.rest(true);
        assert!(life.rests.load(Ordering::Relaxed));
        assert!(queue.poll().is_none());
        assert!(!life.rests.load(Ordering::Relaxed), "who finds none needs one");
    }
}
