//! Dispatcher: the line of jobs for one destination on one worker, and the handle others hold of it.
//!
//! One local task per (worker, destination) does the work, see `run`; submitting a job costs no task, no channel and
//! no lock.

use super::Job;
use super::run::Run;
use crate::destinations::Destination;
use crate::destinations::dial::Network;
use crate::destinations::waiters::Seat;
use crate::model::clock::Monotonic;
use crate::telemetry::figures::destination::Line;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Deliveries to one destination, on one worker. [`Dispatcher::run`] must be running for anything to happen.
pub struct Dispatcher<J> {
    pub(super) destination: Arc<Destination>,
    pub(super) network: Network,
    pub(super) seat: Seat,
    pub(super) line: Arc<Line>,
    pub(super) waiting: RefCell<VecDeque<Waiting<J>>>,
    turns: Cell<u64>,
    pub(super) in_flight: Cell<usize>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// Its task was woken since it last looked.
    pub(super) woken: Cell<bool>,
    pub(super) cancel: Cell<bool>,
    pub(super) closing: Cell<bool>,
    /// How many left the line in [`PACE`], when that was last measured.
    speed: Cell<usize>,
    /// How many had left it then, and when that was.
    measured: Cell<(u64, Monotonic)>,
    /// It was taken for fast without having been measured, and has not shown yet that it is.
    doubtful: Cell<bool>,
}

/// Jobs that are enough to keep the requests in flight going while lanes read more.
const AMPLE: usize = 256;

/// A line that [`AMPLE`] jobs leave in this time is a fast one.
const PACE: Duration = Duration::from_micros(PACE_US);

/// The same in microseconds.
const PACE_US: u64 = 100_000;

/// How often the speed of a line is measured.
const MEASURE: Duration = Duration::from_millis(20);

/// The first turn of jobs that do not go first.
const THEN: u64 = 1 << 63;

/// A job in the line.
pub(super) struct Waiting<J> {
    pub(super) job: J,
    /// Its turn, counted from 0 for those that go first and from [`THEN`] for the others.
    pub(super) turn: u64,
    /// When it was first seen waiting.
    pub(super) since: Option<Monotonic>,
    /// Already spent on dialling; counts towards the deadline.
    pub(super) spent: Duration,
    /// Its connection turned out to be stale: take a new one.
    pub(super) fresh: bool,
    /// Connections dialled for it.
    pub(super) dials: u8,
    /// It was refused for its token and is sent once more, with another.
    pub(super) renewed: bool,
}

impl<J> Waiting<J> {
    /// A job that has not been tried.
    pub(super) const fn new(job: J, turn: u64) -> Self {
        Self { job, turn, since: None, spent: Duration::ZERO, fresh: false, dials: 0, renewed: false }
    }
}

impl<J: Job> Dispatcher<J> {
    /// A dispatcher with nothing to do.
    #[must_use]
    pub fn new(destination: Arc<Destination>) -> Self {
        Self::over(Network::default(), destination)
    }

    /// The same over another network than the system's.
    #[must_use]
    pub fn over(network: Network, destination: Arc<Destination>) -> Self {
        let seat = destination.sit();
        let line = destination.figures().line();
        Self {
            destination,
            network,
            seat,
            line,
            waiting: RefCell::new(VecDeque::new()),
            turns: Cell::new(0),
            in_flight: Cell::new(0),
            waker: RefCell::new(None),
            woken: Cell::new(false),
            cancel: Cell::new(false),
            closing: Cell::new(false),
            speed: Cell::new(0),
            measured: Cell::default(),
            doubtful: Cell::new(false),
        }
    }

    /// Its destination.
    #[must_use]
    pub fn destination(&self) -> &Arc<Destination> {
        &self.destination
    }

    /// Puts a job at the end of the line, or of those that go first.
    pub fn submit(&self, job: J) {
        let next = self.turns.get();
        self.turns.set(next + 1);
        let mut line = self.waiting.borrow_mut();
        if job.goes_first() {
            let before = line.partition_point(|waiting| waiting.turn < THEN);
            line.insert(before, Waiting::new(job, next));
        } else {
            line.push_back(Waiting::new(job, THEN + next));
        }
        drop(line);
        self.wake();
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// More wait than will be sent soon, and they leave quickly: to read on now would only fill memory, and what is read
    /// long before its turn has left the processor's caches when that comes. Of a slow line lanes must read on, for
    /// others may be served by what comes behind.
    #[must_use]
    pub fn is_ample(&self, now: Monotonic) -> bool {
        self.waiting() > AMPLE.max(2 * self.in_flight()) && self.speed(now) >= AMPLE
    }

    /// Nobody in the line waits for long.
    pub(super) fn passes_soon(&self, now: Monotonic) -> bool {
        self.waiting() <= self.speed(now)
    }

    /// How many leave the line in [`PACE`].
    fn speed(&self, now: Monotonic) -> usize {
        if now.since(self.measured.get().1) > PACE {
            self.presume(now);
        }
        self.speed.get()
    }

    /// Nothing has been measured for long: nobody came, or this thread had no processor, or nobody leaves. Once the line
    /// is taken for a fast one, until it can be measured; not again before it has been found to be one.
    fn presume(&self, now: Monotonic) {
        self.speed.set(if self.doubtful.replace(true) { 0 } else { AMPLE });
        self.measured.set((self.left(), now));
    }

    /// Measures how fast the line moves.
    pub(super) fn pace(&self, now: Monotonic) {
        let (before, at) = self.measured.get();
        let passed = now.since(at);
        if passed > PACE {
            return self.presume(now);
        }
        if passed < MEASURE {
            return;
        }
        let each = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
        let speed = self.left().saturating_sub(before).saturating_mul(PACE_US) / each;
        let speed = usize::try_from(speed).unwrap_or(usize::MAX);
        self.speed.set(speed);
        self.doubtful.set(self.doubtful.get() && speed < AMPLE);
        self.measured.set((self.left(), now));
    }

    /// How many have left the line so far.
    fn left(&self) -> u64 {
        self.turns.get().saturating_sub(u64::try_from(self.waiting()).unwrap_or(u64::MAX))
    }

    /// Jobs being dialled for or sent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Returns the abandoned jobs that wait.
    pub fn purge_abandoned(&self) {
        let all = mem::take(&mut *self.waiting.borrow_mut());
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|waiting| waiting.job.abandoned());
        *self.waiting.borrow_mut() = kept;
        // Only now that nothing is borrowed: a job may call back.
        gone.into_iter().for_each(|waiting| waiting.job.returned());
    }

    /// Drops the abandoned jobs in flight, with their connections or streams, at the next turn of the worker. They are not
    /// told; those that wait are returned.
    pub fn cancel_abandoned(&self) {
        self.purge_abandoned();
        self.cancel.set(true);
        self.wake();
    }

    /// Takes all jobs that wait out of the line, in order: another dispatcher is to run them.
    #[must_use]
    pub fn take_waiting(&self) -> Vec<J> {
        mem::take(&mut *self.waiting.borrow_mut()).into_iter().map(|waiting| waiting.job).collect()
    }

    /// Lets [`Dispatcher::run`] end once nothing waits or is in flight.
    pub fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    /// Does the work until it is closed, or until nothing was there to do for as long as a connection may be idle: of
    /// thousands of destinations most have little to do. Then it must be run again before it takes jobs. Dropping it gives
    /// up what is in flight.
    pub async fn run(&self) {
        let mut run = Run::new(self);
        poll_fn(|cx| run.poll(cx)).await;
    }

    fn wake(&self) {
        if !self.woken.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl<J> fmt::Debug for Dispatcher<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("destination", &self.destination.resource().name)
            .field("waiting", &self.waiting.borrow().len())
            .field("in_flight", &self.in_flight.get())
            .finish_non_exhaustive()
    }
}

impl<J> Drop for Dispatcher<J> {
    fn drop(&mut self) {
        self.seat.vacate();
        self.destination.concurrency().leave(&self.seat, 0);
    }
}
