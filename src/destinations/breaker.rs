//! Circuit breaker: stops sending to a destination that fails, and finds out when it is back (pure; `now` and
//! chance are arguments).
//!
//! Closed → open after 10 transport failures in a row, or when at least half of at least 20 ends within 30 s were
//! failures. Open for 1 s · 2^k, at most 5 min, jittered; an incident (wrong credentials, unknown host, …) stays
//! open for 1 min · 2^k, at most 5 min. Then half-open: one probe decides.

use super::gate::doubled;
use crate::model::clock::Monotonic;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const IN_A_ROW: u32 = 10;
const WINDOW_MIN: u64 = 20;
const FIRST: Duration = Duration::from_secs(1);
const INCIDENT_FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(300);
/// A probe that is never heard of again does not hold the breaker for ever.
const PROBE_LOST: Duration = Duration::from_secs(600);

/// The 30 s window is counted in pieces of 5 s.
const BUCKET_NS: u64 = 5_000_000_000;
const BUCKETS: usize = 6;
const WINDOW_BUCKETS: u64 = 6;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MASK: u64 = (1 << 24) - 1;

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Requests pass.
    Closed,
    /// Nothing passes until this moment; `incident` tells why.
    Open {
        /// When a probe may go.
        until: Monotonic,
        /// Opened by an incident, not by failures.
        incident: bool,
    },
    /// One probe is on its way.
    HalfOpen,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It may.
    Free,
    /// It may, and it is the probe: its end must be told.
    Probe,
    /// Ask again at this moment.
    WaitUntil(Monotonic),
}

/// What an end did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It opened.
    Opened,
    /// It closed: begin again with one request at a time.
    Closed,
}

/// Shared by all workers.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Moment in milliseconds (48 bits), times opened in a row (8), kind (8).
    state: AtomicU64,
    in_a_row: AtomicU32,
    /// Each: which 5 s (24 bits), ends (20), failures (20).
    window: [AtomicU64; BUCKETS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Closed,
    Open,
    Incident,
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    kind: Kind,
    times: u8,
    until_ms: u64,
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        let word = self.load();
        let until = Monotonic(word.until_ms.saturating_mul(1_000_000));
        match word.kind {
            Kind::Closed => State::Closed,
            Kind::Open => State::Open { until, incident: false },
            Kind::Incident => State::Open { until, incident: true },
            Kind::HalfOpen => State::HalfOpen,
        }
    }

    /// Asks for passage. After [`Pass::Probe`] one of [`Breaker::success`], [`Breaker::failure`],
    /// [`Breaker::incident`] or [`Breaker::probe_lost`] must follow.
    pub fn pass(&self, now: Monotonic) -> Pass {
        let word = self.load();
        if word.kind == Kind::Closed {
            return Pass::Free;
        }
        let until = Monotonic(word.until_ms.saturating_mul(1_000_000));
        if now < until {
            return Pass::WaitUntil(until);
        }
        let probing = Word { kind: Kind::HalfOpen, until_ms: ms(now.plus(PROBE_LOST)), ..word };
        if self.swap(word, probing) { Pass::Probe } else { Pass::WaitUntil(now) }
    }

    /// The destination answered, whatever it thinks of the event.
    pub fn success(&self, now: Monotonic, probe: bool) -> Change {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        if probe {
            self.reset();
            return Change::Closed;
        }
        self.count(now, false);
        Change::None
    }

    /// A transport failure. `chance` in 0..1 spreads the replicas.
    pub fn failure(&self, now: Monotonic, probe: bool, chance: f64) -> Change {
        if probe {
            return self.open(now, Kind::Open, chance, true);
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.count(now, true);
        if self.load().kind != Kind::Closed {
            return Change::None;
        }
        let (ends, failures) = self.counts(now);
        if in_a_row >= IN_A_ROW || (ends >= WINDOW_MIN && failures * 2 >= ends) {
            return self.open(now, Kind::Open, chance, false);
        }
        Change::None
    }

    /// The destination as a whole is wrong.
    pub fn incident(&self, now: Monotonic, probe: bool, chance: f64) -> Change {
        self.open(now, Kind::Incident, chance, probe)
    }

    /// The probe ended without telling anything (cancelled, could not be rendered, answered with overload): the next
    /// request is the probe.
    pub fn probe_lost(&self, now: Monotonic) {
        let word = self.load();
        if word.kind == Kind::HalfOpen {
            self.swap(word, Word { kind: Kind::Open, until_ms: now.0 / 1_000_000, ..word });
        }
    }

    /// Lets a probe go at once if it is open: something was changed that may have been the reason.
    pub fn retry_now(&self, now: Monotonic) {
        let word = self.load();
        if matches!(word.kind, Kind::Open | Kind::Incident) {
            self.swap(word, Word { until_ms: now.0 / 1_000_000, ..word });
        }
    }

    fn reset(&self) {
        for bucket in &self.window {
            bucket.store(0, Ordering::Relaxed);
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.state.store(0, Ordering::Release);
    }

    fn open(&self, now: Monotonic, kind: Kind, chance: f64, probe: bool) -> Change {
        let word = self.load();
        // What was on its way when it opened changes nothing, except that an incident outweighs failures.
        if !probe && (word.kind == Kind::HalfOpen || word.kind == kind || word.kind == Kind::Incident) {
            return Change::None;
        }
        let first = if kind == Kind::Incident { INCIDENT_FIRST } else { FIRST };
        let wait = doubled(first, u32::from(word.times), LONGEST).mul_f64(0.75 + chance.clamp(0.0, 1.0) * 0.25);
        let next = Word { kind, times: word.times.saturating_add(1).min(32), until_ms: ms(now.plus(wait)) };
        if self.swap(word, next) { Change::Opened } else { Change::None }
    }

    fn count(&self, now: Monotonic, failed: bool) {
        let epoch = (now.0 / BUCKET_NS) & EPOCH_MASK;
        let Some(bucket) = usize::try_from(now.0 / BUCKET_NS).ok().and_then(|at| self.window.get(at % BUCKETS)) else {
            return;
        };
        let _full = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (mut ends, mut failures) = if word >> (2 * COUNT_BITS) == epoch { split(word) } else { (0, 0) };
            if ends == COUNT_MASK {
                // So many that halving both loses nothing.
                ends /= 2;
                failures /= 2;
            }
            Some((epoch << (2 * COUNT_BITS)) | ((ends + 1) << COUNT_BITS) | (failures + u64::from(failed)))
        });
    }

    fn counts(&self, now: Monotonic) -> (u64, u64) {
        let epoch = (now.0 / BUCKET_NS) & EPOCH_MASK;
        let recent = self.window.iter().map(|bucket| bucket.load(Ordering::Relaxed)).filter(|word| {
            let age = epoch.wrapping_sub(word >> (2 * COUNT_BITS)) & EPOCH_MASK;
            age < WINDOW_BUCKETS
        });
        recent.map(split).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn load(&self) -> Word {
        Word::from_bits(self.state.load(Ordering::Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.state.compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Word {
    fn bits(self) -> u64 {
        let kind = match self.kind {
            Kind::Closed => 0,
            Kind::Open => 1,
            Kind::Incident => 2,
            Kind::HalfOpen => 3,
        };
        (self.until_ms.min(u64::MAX >> 16) << 16) | (u64::from(self.times) << 8) | kind
    }

    fn from_bits(bits: u64) -> Self {
        let kind = match bits & 0xff {
            1 => Kind::Open,
            2 => Kind::Incident,
            3 => Kind::HalfOpen,
            _ => Kind::Closed,
        };
        Self { kind, times: u8::try_from((bits >> 8) & 0xff).unwrap_or(0), until_ms: bits >> 16 }
    }
}

fn split(word: u64) -> (u64, u64) {
    ((word >> COUNT_BITS) & COUNT_MASK, word & COUNT_MASK)
}

fn ms(at: Monotonic) -> u64 {
    at.0.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn ten_in_a_row_open_it() {
        let breaker = Breaker::default();
        for _ in 0..9 {
            assert_eq!(breaker.failure(s(1), false, 1.0), Change::None);
        }
        assert_eq!(breaker.success(s(1), false), Change::None);
        for _ in 0..9 {
            assert_eq!(breaker.failure(s(1), false, 1.0), Change::None);
        }
        assert_eq!(breaker.pass(s(1)), Pass::Free);
        assert_eq!(breaker.failure(s(1), false, 1.0), Change::Opened);
        assert_eq!(breaker.pass(s(1)), Pass::WaitUntil(s(2)));
    }

    #[test]
    fn half_of_twenty_within_thirty_seconds_open_it() {
        let breaker = Breaker::default();
        for i in 0..19 {
            let change = if i % 2 == 0 { breaker.success(s(i), false) } else { breaker.failure(s(i), false, 1.0) };
            assert_eq!(change, Change::None);
        }
        assert_eq!(breaker.failure(s(19), false, 1.0), Change::Opened);

        let slow = Breaker::default();
        for i in 0..200 {
            let at = s(i * 3);
            let change = if i % 2 == 0 { slow.success(at, false) } else { slow.failure(at, false, 1.0) };
            assert_eq!(change, Change::None, "{i}");
        }
    }

    #[test]
    fn one_probe_decides_and_the_wait_doubles_to_five_minutes() {
        let breaker = Breaker::default();
        (0..10).for_each(|_| {
            breaker.failure(s(0), false, 1.0);
        });
        let mut now = s(0);
        let mut waits = Vec::new();
        for _ in 0..11 {
            let Pass::WaitUntil(until) = breaker.pass(now) else { panic!("open") };
            waits.push(until.since(now).as_secs());
            now = until;
            assert_eq!(breaker.pass(now), Pass::Probe);
            assert!(matches!(breaker.pass(now), Pass::WaitUntil(_)), "one probe only");
            assert_eq!(breaker.failure(now, true, 1.0), Change::Opened);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let Pass::WaitUntil(until) = breaker.pass(now) else { panic!("open") };
        assert_eq!(breaker.pass(until), Pass::Probe);
        assert_eq!(breaker.success(until, true), Change::Closed);
        assert_eq!(breaker.pass(until), Pass::Free);
        assert_eq!(breaker.failure(until, false, 1.0), Change::None, "the count begins anew");
    }

    #[test]
    fn late_ends_do_not_touch_an_open_breaker() {
        let breaker = Breaker::default();
        (0..30).for_each(|_| {
            breaker.failure(s(0), false, 1.0);
        });
        assert_eq!(breaker.pass(s(0)), Pass::WaitUntil(s(1)));
        assert_eq!(breaker.success(s(0), false), Change::None);
        assert_eq!(breaker.pass(s(0)), Pass::WaitUntil(s(1)));
    }

    #[test]
    fn an_incident_opens_at_once_and_for_long() {
        let breaker = Breaker::default();
        assert_eq!(breaker.incident(s(0), false, 1.0), Change::Opened);
        assert_eq!(breaker.incident(s(0), false, 1.0), Change::None);
        assert_eq!(breaker.state(), State::Open { until: s(60), incident: true });
        breaker.retry_now(s(5));
        assert_eq!(breaker.pass(s(5)), Pass::Probe);
        breaker.probe_lost(s(6));
        assert_eq!(breaker.pass(s(6)), Pass::Probe);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let breaker = Breaker::default();
        breaker.incident(s(0), false, 0.0);
        assert_eq!(breaker.state(), State::Open { until: s(45), incident: true });
    }
}
