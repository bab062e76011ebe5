//! Burst: a fact that may come thousands of times a second is told a few times, then counted, then summed up.
//!
//! Kinds are apart, so that a flood of one hides nothing of another. For one thread: each worker has its own.

use crate::model::clock::Monotonic;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Lines of one kind that are told within [`WINDOW`].
pub const MOST: u32 = 20;
/// After so long the rest is summed up, and lines are told again.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Which lines are told.
#[derive(Debug)]
pub struct Burst<K> {
    kinds: RefCell<HashMap<K, Kind>>,
}

#[derive(Debug)]
struct Kind {
    since: Monotonic,
    told: u32,
    held_back: u64,
}

impl<K> Default for Burst<K> {
    fn default() -> Self {
        Self { kinds: RefCell::default() }
    }
}

impl<K: Eq + Hash> Burst<K> {
    /// Whether to tell a line of this kind; if not, it is counted.
    #[must_use]
    pub fn tells(&self, kind: K, now: Monotonic) -> bool {
        let mut kinds = self.kinds.borrow_mut();
        let kind = kinds.entry(kind).or_insert(Kind { since: now, told: 0, held_back: 0 });
        if kind.held_back == 0 && now.since(kind.since) >= WINDOW {
            (kind.since, kind.told) = (now, 0);
        }
        let tells = kind.told < MOST;
        if tells {
            kind.told += 1;
        } else {
            kind.held_back += 1;
        }
        tells
    }

    /// The kinds whose time is over and how many of their lines were held back, if any were; they begin anew. To be
    /// called every second or so.
    #[must_use]
    pub fn over(&self, now: Monotonic) -> Vec<(K, u64)> {
        let mut kinds = self.kinds.borrow_mut();
        if kinds.is_empty() {
            return Vec::new();
        }
        let over = kinds.extract_if(|_, kind| now.since(kind.since) >= WINDOW);
        over.filter(|(_, kind)| kind.held_back > 0).map(|(name, kind)| (name, kind.held_back)).collect()
    }

    /// Nothing was told lately; there is nothing to sum up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_part_and_summed_up() {
        let burst = Burst::default();
        let (start, end) = (Monotonic(5), Monotonic(5).plus(WINDOW));
        assert_eq!((0..1_000).filter(|_| burst.tells("flood", start)).count(), 20);
        assert!(burst.tells("other", start), "a flood hides nothing else");
        assert!(burst.over(start).is_empty());
        // Nobody has summed it up yet, so it is still the same flood.
        assert!(!burst.tells("flood", end));
        assert_eq!(burst.over(end), [("flood", 981)]);
        assert!(burst.is_empty() && burst.tells("flood", end));
    }

    #[test]
    fn what_comes_now_and_then_is_always_told() {
        let burst = Burst::default();
        let at = |n: u32| Monotonic(0).plus(WINDOW * n / 10);
        assert!((0..1_000).all(|n| burst.tells((), at(n))));
        assert!(burst.over(at(1_000)).is_empty());
    }
}
