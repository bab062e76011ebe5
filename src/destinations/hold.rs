//! What keeps a destination held: by hand, since it said that it is gone, or since it refused too much. And sequences
//! that wait for it to be resumed, because the delivery at their head has failed for good.
//!
//! A hold that begins here counts here at once, and is posted to whoever keeps it for all replicas (`pipeline::holds`);
//! what they keep comes back by [`Destination::keep`]. Only [`Destination::resume`] ends one: not a reload, not a
//! restart.

use super::Destination;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::hold::{Hold, HoldRecord, SequenceHold};
use crate::model::name::Name;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Where holds are told that begin by themselves.
pub type Post = mpsc::UnboundedSender<Notice>;

/// What is told to whoever keeps holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A destination is held.
    Hold(Begun),
    /// A sequence is held, or goes on.
    Sequence {
        /// Which, see [`SequenceHold::key`].
        key: String,
        /// Why; absent when it is over.
        hold: Option<SequenceHold>,
    },
}

/// A hold that has begun by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Whose.
    pub destination: Name,
    /// Why.
    pub hold: Hold,
    /// The same for people.
    pub message: String,
    /// Since when.
    pub since: WallMs,
    /// How often it had been resumed then: clocks differ, so this alone tells what came first.
    pub resumes: u64,
}

/// The holds of one destination; outlives a reload.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// What the record says; asked for every request.
    held: AtomicBool,
    /// Some of its life it was held by hand.
    by_hand: AtomicBool,
    resumes: AtomicU64,
    record: Mutex<HoldRecord>,
    /// Held sequences; asked for every delivery in order.
    sequences: Mutex<HashMap<String, SequenceHold>>,
    /// How many those are.
    sequence_count: AtomicUsize,
    post: OnceLock<Post>,
}

impl Holding {
    /// Whether it is held.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// The hold and what is known of it.
    pub(super) fn standing(&self) -> Option<(Hold, HoldRecord)> {
        if !self.is_held() {
            return None;
        }
        let record = self.record().clone();
        Some((record.hold?, record))
    }

    fn record(&self) -> MutexGuard<'_, HoldRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hold begins by itself; one that stands remains.
    fn begin(&self, notice: Begun) {
        {
            let mut record = self.record();
            if record.hold.is_some() {
                return;
            }
            *record =
                HoldRecord::begin(Some(&record), notice.hold, String::new(), notice.message.clone(), notice.since);
            self.held.store(true, Ordering::Release);
        }
        self.tell(Notice::Hold(notice));
    }

    fn tell(&self, notice: Notice) {
        if let Some(post) = self.post.get() {
            // Closed while the process ends: the next one meets the same answers.
            drop(post.send(notice));
        }
    }

    /// Changes what is known of held sequences.
    fn with_sequences<T>(&self, change: impl FnOnce(&mut HashMap<String, SequenceHold>) -> T) -> T {
        let mut sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut sequences);
        self.sequence_count.store(sequences.len(), Ordering::Release);
        changed
    }

    fn keep(&self, kept: &HoldRecord) {
        let mut record = self.record();
        *record = kept.clone();
        self.by_hand.store(kept.hold == Some(Hold::Manual) || !kept.manual.is_empty(), Ordering::Release);
        self.held.store(kept.hold.is_some(), Ordering::Release);
    }

    fn end(&self) {
        self.record().hold = None;
        self.held.store(false, Ordering::Release);
        self.resumes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Destination {
    /// Says who keeps the holds that begin here; without it they last as long as the process. The first one said remains.
    pub fn hold_by(&self, post: &Post) {
        self.shared.holding.post.get_or_init(|| post.clone());
    }

    /// Stops it until [`Destination::resume`]; requests in flight end as they may.
    pub fn hold(&self, hold: Hold, message: String) {
        let destination = self.resource.name.clone();
        let resumes = self.resumes();
        self.shared.holding.begin(Begun { destination, hold, message, since: WallMs::now(), resumes });
    }

    /// What is kept of its holds counts from now on. It wakes nobody: see [`Destination::resume`].
    pub fn keep(&self, kept: &HoldRecord) {
        self.shared.holding.keep(kept);
    }

    /// Ends a hold, forgets what spent the dead-letter budget, opens the gate and lets the breaker probe at once.
    pub fn resume(&self, now: Monotonic) {
        self.shared.holding.end();
        self.shared.holding.with_sequences(HashMap::clear);
        self.shared.budget.forget();
        self.shared.gate.open();
        self.shared.breaker.retry_now(now);
        self.shared.waiters.wake_all();
    }

    /// How often it was resumed; what waits for someone to do that looks whether it has changed.
    #[must_use]
    pub fn resumes(&self) -> u64 {
        self.shared.holding.resumes.load(Ordering::Acquire)
    }

    /// Whether it is held, and by what.
    #[must_use]
    pub fn held(&self) -> Option<Hold> {
        self.shared.holding.standing().map(|(hold, _)| hold)
    }

    /// How much of the time between two moments it was held by hand: the clock of `max_age` stands still in that time.
    #[must_use]
    pub fn held_by_hand(&self, from: WallMs, to: WallMs) -> Duration {
        let holding = &self.shared.holding;
        if !holding.by_hand.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        holding.record().by_hand(from, to)
    }

    /// A sequence waits from now on until it is resumed, here and wherever its partition goes.
    pub fn hold_sequence(&self, key: String, hold: SequenceHold) {
        self.keep_sequence(key.clone(), Some(hold.clone()));
        self.shared.holding.tell(Notice::Sequence { key, hold: Some(hold) });
    }

    /// A sequence goes on.
    pub fn release_sequence(&self, key: String) {
        self.keep_sequence(key.clone(), None);
        self.shared.holding.tell(Notice::Sequence { key, hold: None });
    }

    /// What is kept of a sequence counts from now on.
    pub fn keep_sequence(&self, key: String, hold: Option<SequenceHold>) {
        self.shared.holding.with_sequences(|sequences| match hold {
            Some(hold) => drop(sequences.insert(key, hold)),
            None => drop(sequences.remove(&key)),
        });
    }

    /// Why a sequence is held, if it is. `key` is made only if any is.
    pub fn sequence_held(&self, key: impl FnOnce() -> String) -> Option<(String, SequenceHold)> {
        let holding = &self.shared.holding;
        if holding.sequence_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let key = key();
        let hold = holding.sequences.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        hold.map(|hold| (key, hold))
    }
}
