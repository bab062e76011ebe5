//! Counters: what happened so far, per worker, summed when somebody asks.
//!
//! Each worker owns one [`Counters`] on cache lines of its own, so that counting never makes two cores wait for each
//! other; all access is relaxed, for the figures are independent of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One worker's figures; they only grow.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Records taken from source topics.
    pub received: AtomicU64,
    /// Records that were no acceptable event.
    pub undecodable: AtomicU64,
    /// Events that at least one target wants.
    pub matched: AtomicU64,
    /// Events that no rule wants.
    pub filtered: AtomicU64,
    /// Deliveries begun from source topics: events times targets.
    pub deliveries: AtomicU64,
    /// Attempts that ended, whatever the outcome.
    pub attempts: AtomicU64,
    /// Deliveries that a destination took.
    pub delivered: AtomicU64,
    /// Deliveries and undecodable records acknowledged in a dead-letter topic.
    pub dead_lettered: AtomicU64,
    /// Deliveries acknowledged in a retry tier.
    pub handed_off: AtomicU64,
    /// Deliveries read back from a retry tier.
    pub resumed: AtomicU64,
    /// Records skipped because the commit's map says they are done.
    pub skipped_by_map: AtomicU64,
    /// Deliveries cut off because their partition was taken away before they ended.
    pub cut_off: AtomicU64,
    /// Produce calls for hand-offs that failed and were tried again.
    pub hand_off_failures: AtomicU64,
}

/// The sums of all workers at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// See [`Counters::received`].
    pub received: u64,
    /// See [`Counters::undecodable`].
    pub undecodable: u64,
    /// See [`Counters::matched`].
    pub matched: u64,
    /// See [`Counters::filtered`].
    pub filtered: u64,
    /// See [`Counters::deliveries`].
    pub deliveries: u64,
    /// See [`Counters::attempts`].
    pub attempts: u64,
    /// See [`Counters::delivered`].
    pub delivered: u64,
    /// See [`Counters::dead_lettered`].
    pub dead_lettered: u64,
    /// See [`Counters::handed_off`].
    pub handed_off: u64,
    /// See [`Counters::resumed`].
    pub resumed: u64,
    /// See [`Counters::skipped_by_map`].
    pub skipped_by_map: u64,
    /// See [`Counters::cut_off`].
    pub cut_off: u64,
    /// See [`Counters::hand_off_failures`].
    pub hand_off_failures: u64,
}

impl Totals {
    /// Sums the workers.
    #[must_use]
    pub fn of(workers: &[Arc<Counters>]) -> Self {
        let sum = |figure: fn(&Counters) -> &AtomicU64| workers.iter().map(|w| figure(w).load(Relaxed)).sum();
        Self {
            received: sum(|c| &c.received),
            undecodable: sum(|c| &c.undecodable),
            matched: sum(|c| &c.matched),
            filtered: sum(|c| &c.filtered),
            deliveries: sum(|c| &c.deliveries),
            attempts: sum(|c| &c.attempts),
            delivered: sum(|c| &c.delivered),
            dead_lettered: sum(|c| &c.dead_lettered),
            handed_off: sum(|c| &c.handed_off),
            resumed: sum(|c| &c.resumed),
            skipped_by_map: sum(|c| &c.skipped_by_map),
            cut_off: sum(|c| &c.cut_off),
            hand_off_failures: sum(|c| &c.hand_off_failures),
        }
    }

    /// Deliveries and records that have been received and have not ended. Tiers count as an end of the first part and
    /// a beginning of the second, so a delivery that waits in a tier is pending.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let undecided = self.received.saturating_sub(self.undecodable + self.filtered + self.matched);
        let open = (self.deliveries + self.undecodable).saturating_sub(self.delivered + self.dead_lettered);
        undecided + open
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
