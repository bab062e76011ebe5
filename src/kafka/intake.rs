//! `Intake`: one consumer, the thread that polls it, the table of its partitions, its commits. In: records from Kafka, to
//! the queues of an [`Owner`]; commits from lanes. Out: offsets saved in Kafka.
//!
//! The thread polls at least every 100 ms for ever, whatever the lanes do: rebalances, answers to commits and errors are
//! served there and nowhere else. Nobody else may block it but the owner, in `revoked`, for the drain time-out.

use super::callbacks::{Callbacks, IntakeConsumer};
use super::client::{self, ClientSettings};
use super::committer::Shared;
use super::core::Committer;
use super::error::Error;
use super::logging::Logging;
use super::membership::Membership;
use super::partition::{Owner, TopicPartition};
use super::poller::{Command, Poller};
use super::start::{OnMissing, Start};
use super::state::IntakeState;
use super::turns::Rules;
use crate::model::clock::Monotonic;
use rdkafka::consumer::Consumer;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long beyond its deadline a closing consumer is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// The most that a partition takes in a tenth of a second if its records are taken as they come. Large events may be
/// compressed to a hundredth, and what comes with them at once is no little.
const CALM_BYTES: u64 = 512 << 10;

/// A prefetched message counts as so many bytes at least: the client counts its payload only, and takes some 400 more.
const MESSAGE_BYTES: u64 = 512;

/// How an intake reads and commits.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// Where a partition starts that has no committed offset.
    pub start: Start,
    /// What to do when the committed offset does not exist any more.
    pub on_missing: OnMissing,
    /// How often changes are committed.
    pub commit_interval: Duration,
    /// `group.instance.id`: the member keeps its partitions over a restart, and closing does not leave the group.
    pub instance_id: Option<String>,
    /// Partitions fetched at a time whose records are not taken as they come; the others wait for their turn.
    pub max_resumed: usize,
    /// Topics whose names begin so are fetched before others: they have three quarters of the turns.
    pub eager: Option<String>,
    /// How long a partition is fetched while others wait; who has nothing to read makes room for them after a quarter.
    pub turn: Duration,
    /// Bytes that the client may prefetch per partition, small messages counted as 512; `None` leaves the default (2 MiB).
    pub queue_bytes: Option<u64>,
    /// What a fetch brings is compressed, and may take so many times as much once it lies here: of a partition so much less
    /// than `queue_bytes` is fetched at a time.
    pub compression: u64,
    /// How long a broker waits for records where the partitions that are asked for have none. The client asks for all at a
    /// time but for those whose queues are full, and next only once that is answered: so long may a partition that is read
    /// quickly wait for others that are idle.
    pub fetch_wait: Duration,
    /// The client tells every two seconds where partitions end. That takes 20 KiB per topic: too much where each
    /// destination has one.
    pub statistics: bool,
    /// How much of what may be prefetched there is memory for now.
    pub room: Room,
}

/// What there is memory for at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// Somebody could take a record now. While nobody can, nobody's turn ends because others wait: fetching others would
    /// only fill memory.
    pub has_room: bool,
    /// Partitions fetched at a time, if that is fewer than [`IntakeOptions::max_resumed`].
    pub max_resumed: usize,
}

/// Says what there is memory for; without being told how to look, for everything.
#[derive(Clone, Default)]
pub struct Room(Option<Arc<dyn Fn() -> Allowed + Send + Sync>>);

impl Room {
    /// What this says.
    pub fn told_by(look: impl Fn() -> Allowed + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look)))
    }

    fn allowed(&self) -> Allowed {
        self.0.as_ref().map_or(Allowed { has_room: true, max_resumed: usize::MAX }, |look| look())
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Room").field(&self.allowed()).finish()
    }
}

impl Default for IntakeOptions {
    fn default() -> Self {
        Self {
            start: Start::Earliest,
            on_missing: OnMissing::Earliest,
            commit_interval: Duration::from_millis(500),
            instance_id: None,
            max_resumed: usize::MAX,
            eager: None,
            turn: Duration::from_secs(2),
            queue_bytes: None,
            compression: 8,
            fetch_wait: Duration::from_millis(500),
            statistics: true,
            room: Room::default(),
        }
    }
}

impl IntakeOptions {
    pub(super) fn is_eager(&self, topic: &str) -> bool {
        self.eager.as_ref().is_some_and(|prefix| topic.starts_with(prefix.as_str()))
    }

    pub(super) fn rules(&self) -> Rules {
        let calm_bytes = self.queue_bytes.map_or(CALM_BYTES, |bytes| bytes.min(CALM_BYTES));
        let Allowed { has_room, max_resumed } = self.room.allowed();
        Rules { max: self.max_resumed.min(max_resumed), turn: self.turn, calm_bytes, has_room }
    }
}

/// A consumer with its poll thread. Dropping it closes it.
pub struct Intake {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    thread: Mutex<Option<Running>>,
}

struct Running {
    thread: JoinHandle<()>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("group", &self.shared.group).finish_non_exhaustive()
    }
}

/// What reads the partitions it is told to.
pub trait Partitions: std::fmt::Debug + Send + Sync {
    /// Replaces the partitions of a manual intake. For those removed: `revoked`, commit, its answer, then they are let go.
    /// The result can be waited for.
    fn set_partitions(&self, partitions: Vec<TopicPartition>) -> Pending;
}

/// What reads partitions again.
pub trait Restart: std::fmt::Debug + Send + Sync {
    /// Reads a partition again whose queue has reported `OffsetOutOfRange`: from the committed offset if it exists, else
    /// as `on_missing` says. Happens once its queue has been dropped; `assigned` is called with a new epoch.
    fn restart(&self, at: TopicPartition);
}

/// The end of something that the poll thread was asked to do.
#[derive(Debug)]
pub struct Pending(Receiver<()>);

impl Pending {
    /// One that is done when the sender is used or dropped.
    #[must_use]
    pub fn new() -> (Sender<()>, Self) {
        let (done, pending) = channel();
        (done, Self(pending))
    }

    /// Whether it was done, or never will be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.try_recv() != Err(TryRecvError::Empty)
    }

    /// Waits for it. True if it was done in time.
    pub fn wait(self, at_most: Duration) -> bool {
        self.0.recv_timeout(at_most).is_ok()
    }
}

impl Intake {
    /// Joins a group and reads topics. Returns at once; the owner hears of partitions when the group has agreed.
    ///
    /// # Errors
    /// Settings that the client refuses; no thread.
    pub fn subscribe(
        client: &ClientSettings,
        group: &str,
        topics: &[String],
        options: IntakeOptions,
        owner: Arc<dyn Owner>,
    ) -> Result<Self, Error> {
        Self::start(client, group, Some(topics.to_vec()), options, owner)
    }

    /// Reads the partitions that [`Partitions::set_partitions`] names, without joining; offsets are committed under `group`.
    /// Whoever uses it sees to it that no two replicas read the same partition.
    ///
    /// # Errors
    /// Settings that the client refuses; no thread.
    pub fn manual(
        client: &ClientSettings,
        group: &str,
        options: IntakeOptions,
        owner: Arc<dyn Owner>,
    ) -> Result<Self, Error> {
        Self::start(client, group, None, options, owner)
    }

    fn start(
        settings: &ClientSettings,
        group: &str,
        topics: Option<Vec<String>>,
        options: IntakeOptions,
        owner: Arc<dyn Owner>,
    ) -> Result<Self, Error> {
        let instance = options.instance_id.as_deref().filter(|_| topics.is_some());
        let mut config = client::consumer(settings, group, instance)?;
        if let Some(bytes) = options.queue_bytes {
            config.set("queued.max.messages.kbytes", (bytes / 1024).max(1).to_string());
            config.set("queued.min.messages", (bytes / MESSAGE_BYTES).max(1).to_string());
            if !settings.names(&["fetch.message.max.bytes", "max.partition.fetch.bytes"]) {
                config.set("fetch.message.max.bytes", (bytes / options.compression.max(1)).max(1).to_string());
            }
        }
        if !settings.names(&["fetch.wait.max.ms"]) {
            config.set("fetch.wait.max.ms", options.fetch_wait.as_millis().to_string());
        }
        if !options.statistics {
            config.set("statistics.interval.ms", "0");
        }
        let session = config.get("session.timeout.ms").and_then(|ms| ms.parse().ok()).unwrap_or(15_000);
        let session = Duration::from_millis(session);
        let leaves = options.instance_id.is_none();
        let shared = Arc::new(Shared::new(group.to_owned(), options, owner, session, topics.is_some()));
        let callbacks = Callbacks {
            shared: Arc::clone(&shared),
            log: Logging::new(group),
            consumer: OnceLock::new(),
            served: AtomicU64::new(0),
        };
        let consumer: IntakeConsumer = config.create_with_context(callbacks).map_err(Error::Settings)?;
        let consumer = Arc::new(consumer);
        consumer.context().consumer.get_or_init(|| Arc::downgrade(&consumer));
        let (commands, inbox) = channel();
        let (alive, ended) = channel();
        let poller = Poller::new(consumer, Arc::clone(&shared), inbox, topics, leaves);
        let name = format!("intake {group}");
        let fate = Arc::clone(&shared);
        let run = move || {
            // A dead poll thread must not look like a quiet one.
            if catch_unwind(AssertUnwindSafe(|| poller.run())).is_err() {
                fate.core().failed = Some("the poll thread has panicked".to_owned());
                fate.membership.disprove();
            }
            drop(alive);
        };
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(run)
            .map_err(|source| Error::Thread { name, source })?;
        Ok(Self { shared, commands, thread: Mutex::new(Some(Running { thread, ended })) })
    }

    /// Where to leave offsets to be committed.
    #[must_use]
    pub fn committer(&self) -> Committer {
        self.shared.committer.clone()
    }

    /// Whether new requests may start for these partitions.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.shared.membership.clone()
    }

    /// What the intake looks like now.
    #[must_use]
    pub fn state(&self) -> IntakeState {
        IntakeState::of(&self.shared, Monotonic::now())
    }

    /// Gives all partitions back, awaits the answer to the last commit, leaves the group (a static member stays) and ends
    /// the thread. Blocks. A second call does nothing.
    ///
    /// # Errors
    /// It did not end in time: its thread is left to itself.
    pub fn close(&self, deadline: Duration) -> Result<(), Error> {
        let running = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return Ok(()) };
        self.tell(Command::Close { deadline: Monotonic::now().plus(deadline) });
        match running.ended.recv_timeout(deadline + GRACE) {
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::CloseTimeout { group: self.shared.group.clone(), waited: deadline })
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if running.thread.join().is_err() || self.shared.core().failed.is_some() {
                    tracing::error!(group = self.shared.group, "the intake had failed before it was closed");
                }
                Ok(())
            }
        }
    }

    /// Closes intakes side by side; one that hangs is left behind at the deadline.
    pub fn close_all(intakes: &[Arc<Self>], deadline: Duration) {
        std::thread::scope(|scope| {
            for intake in intakes {
                scope.spawn(move || {
                    if let Err(error) = intake.close(deadline) {
                        tracing::warn!(code = error.code(), %error, "closing");
                    }
                });
            }
        });
    }

    /// A thread that has ended needs no command.
    fn tell(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!(group = self.shared.group, "the intake is closed");
        }
    }
}

impl Partitions for Intake {
    fn set_partitions(&self, partitions: Vec<TopicPartition>) -> Pending {
        let (done, pending) = Pending::new();
        self.tell(Command::Set { partitions, done });
        pending
    }
}

impl Restart for Intake {
    fn restart(&self, at: TopicPartition) {
        self.tell(Command::Restart(at));
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if let Err(error) = self.close(Duration::from_secs(5)) {
            tracing::error!(group = self.shared.group, code = error.code(), %error, "closing an intake");
        }
    }
}
