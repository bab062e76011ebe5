//! Figures of a destination: how long it takes, and how many deliveries wait for what.
//!
//! Each dispatcher of a destination has a [`Line`] of its own, which it alone writes; a line that is given back is
//! taken by the next dispatcher, so that its sums are kept.

use super::lock;
use crate::model::clock::Monotonic;
use opentelemetry::metrics::BoundHistogram;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// What a delivery at the head of a line waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The destination is held by someone, or until someone resumes it.
    Hold,
    /// The destination asked for a pause.
    Gate,
    /// A token of its connection.
    Token,
    /// Its circuit breaker is open.
    Breaker,
    /// A permit of a rate limit.
    Rate,
    /// This replica has no share of the rate limit.
    NoShare,
    /// A connection that is being dialled and can carry several.
    Connection,
    /// A slot among the requests in flight.
    Concurrency,
    /// Proof that this replica is still a member of its group.
    Fence,
}

/// All of them, in the order of their numbers.
pub const WAITS: [Wait; 9] = [
    Wait::Hold,
    Wait::Gate,
    Wait::Breaker,
    Wait::Rate,
    Wait::NoShare,
    Wait::Concurrency,
    Wait::Fence,
    Wait::Token,
    Wait::Connection,
];

impl Wait {
    /// As in the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Gate => "gate",
            Self::Token => "token",
            Self::Breaker => "breaker",
            Self::Rate => "rate",
            Self::NoShare => "no_share",
            Self::Connection => "connection",
            Self::Concurrency => "concurrency",
            Self::Fence => "fence",
        }
    }

    /// More replicas would make it no shorter: the limit is the vendor's, or the group's.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        match self {
            Self::Hold | Self::Gate | Self::Token | Self::Breaker | Self::Rate | Self::NoShare => true,
            Self::Connection | Self::Concurrency | Self::Fence => false,
        }
    }

    /// From 1, for 0 is no wait.
    fn number(self) -> u8 {
        match self {
            Self::Hold => 1,
            Self::Gate => 2,
            Self::Breaker => 3,
            Self::Rate => 4,
            Self::NoShare => 5,
            Self::Concurrency => 6,
            Self::Fence => 7,
            Self::Token => 8,
            Self::Connection => 9,
        }
    }

    fn of(number: u8) -> Option<Self> {
        WAITS.into_iter().find(|wait| wait.number() == number)
    }
}

/// The line of one dispatcher. With the counts of who holds it, it takes 128 bytes: the allocator puts things of that size
/// where no other worker writes into the same pair of cache lines.
#[derive(Debug, Default)]
#[repr(align(32))]
pub struct Line {
    waiting: AtomicU64,
    wait: AtomicU8,
    since: AtomicU64,
    waited_ns: [AtomicU64; WAITS.len()],
}

impl Line {
    /// So many deliveries wait now, the first of them for this.
    pub fn stands(&self, waiting: usize, wait: Option<Wait>, now: Monotonic) {
        self.waiting.store(u64::try_from(waiting).unwrap_or(u64::MAX), Relaxed);
        let wait = wait.filter(|_| waiting > 0).map_or(0, Wait::number);
        let before = self.wait.load(Relaxed);
        if before == wait {
            return;
        }
        if let Some(word) = Self::word(&self.waited_ns, before) {
            word.fetch_add(now.0.saturating_sub(self.since.load(Relaxed)), Relaxed);
        }
        self.since.store(now.0, Relaxed);
        self.wait.store(wait, Relaxed);
    }

    fn word(words: &[AtomicU64], number: u8) -> Option<&AtomicU64> {
        words.get(usize::from(number).checked_sub(1)?)
    }

    fn waited(&self, wait: Wait, now: Monotonic) -> Duration {
        let ended = Self::word(&self.waited_ns, wait.number()).map_or(0, |word| word.load(Relaxed));
        let goes_on = self.wait.load(Relaxed) == wait.number();
        let open = if goes_on { now.0.saturating_sub(self.since.load(Relaxed)) } else { 0 };
        Duration::from_nanos(ended.saturating_add(open))
    }
}

/// Figures of a destination.
#[derive(Debug, Default)]
pub struct DestinationFigures {
    requests: OnceLock<BoundHistogram<f64>>,
    latency: OnceLock<BoundHistogram<f64>>,
    lines: Mutex<Vec<Arc<Line>>>,
}

impl DestinationFigures {
    /// Where durations are recorded from now on; only the first call counts.
    pub fn bind(&self, requests: BoundHistogram<f64>, latency: BoundHistogram<f64>) {
        self.requests.get_or_init(|| requests);
        self.latency.get_or_init(|| latency);
    }

    /// They are recorded already.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.requests.get().is_some()
    }

    /// An attempt took so long.
    pub fn requested(&self, took: Duration) {
        if let Some(histogram) = self.requests.get() {
            histogram.record(took.as_secs_f64());
        }
    }

    /// An event was taken so long after it happened.
    pub fn delivered(&self, after: Duration) {
        if let Some(histogram) = self.latency.get() {
            histogram.record(after.as_secs_f64());
        }
    }

    /// A line for a dispatcher, given back by dropping it.
    #[must_use]
    pub fn line(&self) -> Arc<Line> {
        let mut lines = lock(&self.lines);
        if let Some(free) = lines.iter().find(|line| Arc::strong_count(line) == 1) {
            return Arc::clone(free);
        }
        let line = Arc::<Line>::default();
        lines.push(Arc::clone(&line));
        line
    }

    /// Deliveries that wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        lock(&self.lines).iter().map(|line| line.waiting.load(Relaxed)).sum()
    }

    /// What the lines wait for now, each thing once.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        let lines = lock(&self.lines);
        let now: Vec<u8> = lines.iter().map(|line| line.wait.load(Relaxed)).collect();
        WAITS.into_iter().filter(|wait| now.iter().any(|number| Wait::of(*number) == Some(*wait))).collect()
    }

    /// How long lines have waited for that, in all.
    #[must_use]
    pub fn waited(&self, wait: Wait, now: Monotonic) -> Duration {
        lock(&self.lines).iter().map(|line| line.waited(wait, now)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000_000)
    }

    #[test]
    fn waiting_is_timed_by_what_is_waited_for() {
        let figures = DestinationFigures::default();
        let line = figures.line();
        line.stands(3, Some(Wait::Rate), ms(100));
        line.stands(2, Some(Wait::Rate), ms(150));
        assert_eq!(figures.waited(Wait::Rate, ms(200)), Duration::from_millis(100));
        assert_eq!((figures.waiting(), figures.waits()), (2, vec![Wait::Rate]));
        line.stands(1, Some(Wait::Breaker), ms(300));
        line.stands(0, Some(Wait::Breaker), ms(350));
        assert_eq!(figures.waited(Wait::Rate, ms(900)), Duration::from_millis(200));
        assert_eq!(figures.waited(Wait::Breaker, ms(900)), Duration::from_millis(50));
        assert!(figures.waits().is_empty());
    }

    #[test]
    fn a_line_given_back_keeps_its_sums() {
        let figures = DestinationFigures::default();
        let (one, two) = (figures.line(), figures.line());
        one.stands(1, Some(Wait::Gate), ms(0));
        one.stands(0, None, ms(10));
        two.stands(1, Some(Wait::Gate), ms(0));
        drop(one);
        let again = figures.line();
        again.stands(1, Some(Wait::Gate), ms(20));
        assert_eq!(figures.waited(Wait::Gate, ms(30)), Duration::from_millis(10 + 10 + 30));
        assert_eq!(lock(&figures.lines).len(), 2);
    }

    #[test]
    fn every_wait_has_a_number_of_its_own() {
        for wait in WAITS {
            assert_eq!(Wait::of(wait.number()), Some(wait));
            assert!(usize::from(wait.number()) <= WAITS.len());
        }
        assert_eq!(Wait::of(0), None);
    }
}
