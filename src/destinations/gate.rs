//! Gate: closed after an overload answer, until the moment the destination named (pure; `now` is an argument).

use crate::model::clock::Monotonic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const COUNT_BITS: u32 = 6;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Shared by all workers. The word holds the moment it opens (nanoseconds, 58 bits) above the number of times it
/// closed in a row without being told for how long (6 bits).
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

impl Gate {
    /// When it opens, if it is closed.
    #[must_use]
    pub fn closed_until(&self, now: Monotonic) -> Option<Monotonic> {
        let until = self.0.load(Ordering::Acquire) >> COUNT_BITS;
        (until > now.0).then_some(Monotonic(until))
    }

    /// An overload answer: closed for `retry_after`, or without one for 1 s · 2^k, at most 1 min. Further answers of
    /// requests that were on their way when it closed do not raise k.
    pub fn overload(&self, now: Monotonic, retry_after: Option<Duration>) {
        self.update(|until, count| {
            let (wait, count) = match retry_after {
                Some(wait) => (wait, count),
                None if until > now.0 => return None,
                None => (doubled(FIRST, count, LONGEST), count.saturating_add(1)),
            };
            Some((until.max(now.plus(wait).0), count))
        });
    }

    /// A request was taken: the next closing begins with 1 s again.
    pub fn success(&self) {
        if self.0.load(Ordering::Relaxed) & COUNT_MASK != 0 {
            self.update(|until, _| Some((until, 0)));
        }
    }

    /// Opens it at once.
    pub fn open(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn update(&self, change: impl Fn(u64, u32) -> Option<(u64, u32)>) {
        let _unchanged = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
            let count = u32::try_from(word & COUNT_MASK).unwrap_or(0);
            let (until, count) = change(word >> COUNT_BITS, count)?;
            Some((until.min(u64::MAX >> COUNT_BITS) << COUNT_BITS) | u64::from(count).min(COUNT_MASK))
        });
    }
}

/// `first` · 2^`times`, at most `longest`.
pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn closed_as_long_as_they_say() {
        let gate = Gate::default();
        assert_eq!(gate.closed_until(s(0)), None);
        gate.overload(s(0), Some(Duration::from_secs(30)));
        gate.overload(s(1), Some(Duration::from_secs(5)));
        assert_eq!(gate.closed_until(s(29)), Some(s(30)));
        assert_eq!(gate.closed_until(s(30)), None);
    }

    #[test]
    fn without_a_word_it_doubles_to_a_minute_and_success_resets() {
        let gate = Gate::default();
        let mut now = s(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            gate.overload(now, None);
            gate.overload(now, None);
            let until = gate.closed_until(now).unwrap();
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        gate.success();
        gate.overload(now, None);
        assert_eq!(gate.closed_until(now), Some(now.plus(Duration::from_secs(1))));
    }
}
