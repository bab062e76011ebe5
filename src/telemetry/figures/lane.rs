//! Figures of a lane: where its watermark stands, what its window holds, whether it can go on reading.
//!
//! The lane writes them when it gives its position away, at most ten times a second, and when it stops reading; others
//! only look.

use super::lock;
use crate::model::clock::Monotonic;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the lane says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The lowest offset that is not complete, if anything has been read.
    pub watermark: Option<i64>,
    /// Records between the watermark and the newest one taken.
    pub window_records: usize,
    /// Bytes of events held.
    pub window_bytes: usize,
    /// Deliveries that have not ended.
    pub open: usize,
    /// No more is taken until something has ended.
    pub full: bool,
}

/// Figures of a lane.
#[derive(Debug)]
pub struct LaneFigures {
    watermark: AtomicI64,
    /// Since when the watermark stands while something is open; 0 if nothing is.
    stands_since: AtomicU64,
    window_records: AtomicU64,
    window_bytes: AtomicU64,
    open: AtomicU64,
    map_bytes: AtomicU64,
    full: AtomicBool,
    /// When reading stopped for good; 0 if it has not.
    unreadable_since: AtomicU64,
    held: Mutex<Option<SequencesHeld>>,
}

/// Sequences that wait until their destination is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencesHeld {
    /// Since when the first of them does.
    pub since: Monotonic,
    /// How many.
    pub sequences: usize,
    /// Deliveries that have been read and wait behind the held ones.
    pub behind: usize,
    /// `rule/target`.
    pub target: String,
    /// Who is to be resumed.
    pub destination: String,
    /// Offset of the first held one.
    pub offset: i64,
    /// Why that is held.
    pub code: String,
    /// The same in a sentence.
    pub message: String,
}

impl Default for LaneFigures {
    fn default() -> Self {
        Self {
            watermark: AtomicI64::new(-1),
            stands_since: AtomicU64::new(0),
            window_records: AtomicU64::new(0),
            window_bytes: AtomicU64::new(0),
            open: AtomicU64::new(0),
            map_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            unreadable_since: AtomicU64::new(0),
            held: Mutex::default(),
        }
    }
}

impl LaneFigures {
    /// The lane stands here now.
    pub fn stands(&self, at: &Position, now: Monotonic) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let watermark = at.watermark.unwrap_or(-1);
        let moved = self.watermark.swap(watermark, Relaxed) != watermark;
        if at.open == 0 {
            self.stands_since.store(0, Relaxed);
        } else if moved || self.stands_since.load(Relaxed) == 0 {
            self.stands_since.store(now.0.max(1), Relaxed);
        }
        self.window_records.store(number(at.window_records), Relaxed);
        self.window_bytes.store(number(at.window_bytes), Relaxed);
        self.open.store(number(at.open), Relaxed);
        self.full.store(at.full, Relaxed);
    }

    /// The map of the last position had so many bytes.
    pub fn mapped(&self, bytes: usize) {
        self.map_bytes.store(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// Reading on would skip records: it has stopped.
    pub fn unreadable(&self, now: Monotonic) {
        self.unreadable_since.store(now.0.max(1), Relaxed);
    }

    /// Sequences are held, or none any more.
    pub fn holds(&self, held: Option<SequencesHeld>) {
        *lock(&self.held) = held;
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> Option<SequencesHeld> {
        lock(&self.held).clone()
    }

    /// See [`Position::watermark`].
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        Some(self.watermark.load(Relaxed)).filter(|offset| *offset >= 0)
    }

    /// How long the watermark has stood while something was open.
    #[must_use]
    pub fn watermark_age(&self, now: Monotonic) -> Duration {
        match self.stands_since.load(Relaxed) {
            0 => Duration::ZERO,
            since => now.since(Monotonic(since)),
        }
    }

    /// See [`Position::window_records`].
    #[must_use]
    pub fn window_records(&self) -> u64 {
        self.window_records.load(Relaxed)
    }

    /// See [`Position::window_bytes`].
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.window_bytes.load(Relaxed)
    }

    /// See [`Position::open`].
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// See [`Position::full`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// Bytes of the map of the last position.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes.load(Relaxed)
    }

    /// Since when reading has stopped.
    #[must_use]
    pub fn unreadable_since(&self) -> Option<Monotonic> {
        Some(self.unreadable_since.load(Relaxed)).filter(|since| *since != 0).map(Monotonic)
    }
}

/// Whose figures: group, topic, partition.
type Key = (Arc<str>, Arc<str>, i32);

/// The lanes of a process.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<Key, Arc<LaneFigures>>>);

impl Lanes {
    /// Figures for a lane that begins; they are shown until the result is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>, group: &Arc<str>, topic: &Arc<str>, partition: i32) -> LaneSeat {
        let key = (Arc::clone(group), Arc::clone(topic), partition);
        let figures = Arc::<LaneFigures>::default();
        lock(&self.0).insert(key.clone(), Arc::clone(&figures));
        LaneSeat { lanes: Arc::clone(self), key, figures }
    }

    /// The figures of a lane, if there is one.
    #[must_use]
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Arc<LaneFigures>> {
        lock(&self.0).get(&(Arc::from(group), Arc::from(topic), partition)).cloned()
    }
}

/// The figures of a running lane.
#[derive(Debug)]
pub struct LaneSeat {
    lanes: Arc<Lanes>,
    key: Key,
    figures: Arc<LaneFigures>,
}

impl std::ops::Deref for LaneSeat {
    type Target = LaneFigures;

    fn deref(&self) -> &LaneFigures {
        &self.figures
    }
}

impl Drop for LaneSeat {
    fn drop(&mut self) {
        let mut lanes = lock(&self.lanes.0);
        // The next epoch may have begun before this one was let go.
        if lanes.get(&self.key).is_some_and(|figures| Arc::ptr_eq(figures, &self.figures)) {
            lanes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(second: u64) -> Monotonic {
        Monotonic(second * 1_000_000_000)
    }

    #[test]
    fn the_watermark_ages_only_while_something_is_open() {
        let lane = LaneFigures::default();
        assert_eq!(lane.watermark(), None);
        let at = |watermark, open| Position { watermark: Some(watermark), open, ..Position::default() };
        lane.stands(&at(5, 0), second(1));
        assert_eq!(lane.watermark_age(second(9)), Duration::ZERO);
        lane.stands(&at(5, 2), second(10));
        lane.stands(&at(5, 1), second(12));
        assert_eq!(lane.watermark_age(second(13)), Duration::from_secs(3));
        lane.stands(&at(6, 1), second(14));
        assert_eq!(lane.watermark_age(second(15)), Duration::from_secs(1));
        lane.stands(&at(7, 0), second(16));
        assert_eq!((lane.watermark(), lane.watermark_age(second(20))), (Some(7), Duration::ZERO));
    }

    #[test]
    fn a_lane_is_shown_until_it_ends_and_its_successor_stays() {
        let lanes = Arc::new(Lanes::default());
        let (group, topic) = (Arc::from("g"), Arc::from("t"));
        let one = lanes.begin(&group, &topic, 0);
        let two = lanes.begin(&group, &topic, 0);
        two.mapped(7);
        drop(one);
        assert_eq!(lanes.get("g", "t", 0).unwrap().map_bytes(), 7);
        assert!(lanes.get("other", "t", 0).is_none());
        drop(two);
        assert!(lanes.get("g", "t", 0).is_none());
    }
}
