//! Limits: what a request needs permits of: its destination's rate limits and those of its connection, all or none.
//!
//! They live longer than the resource they were written in: a reload that does not change them changes nothing.

use super::rate::{Decision, LATENESS_NS, Rate};
use crate::model::clock::Monotonic;
use crate::model::resources::RateLimit;
use crate::model::stored::PARTS;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The runtime's timers cannot follow permits that come faster than this: they are up to two milliseconds late, and a
/// permit that is not taken at its time is good for no longer than one interval of the whole limit. Where there are no others
/// (`pipeline/deliver/precise.rs`) all have to do with them.
const FASTER_THAN_TIMERS_NS: u64 = if cfg!(target_os = "linux") { 5_000_000 } else { 0 };

/// Limits that live on when the resource they were written in changes, with this replica's share of them.
#[derive(Debug)]
pub struct Limiter {
    rate: ArcSwap<Rate>,
    share: AtomicU8,
}

/// The limits of a destination and of its connection, as one request meets them.
#[derive(Debug)]
pub struct Both {
    destination: Guard<Arc<Rate>>,
    connection: Guard<Arc<Rate>>,
}

/// Which limit keeps a request waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// The destination's own.
    Destination,
    /// That of its connection, for all its destinations together.
    Connection,
}

impl Limiter {
    /// Limits without any share.
    #[must_use]
    pub fn new(limits: &[RateLimit]) -> Self {
        Self { rate: ArcSwap::from_pointee(Rate::new(limits)), share: AtomicU8::new(0) }
    }

    /// Whether anything is limited at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.rate.load().is_limited()
    }

    /// Whether a permit could be had now. Takes none.
    #[must_use]
    pub fn peek(&self, now: Monotonic) -> Decision {
        self.rate.load().peek(now, 0, Duration::ZERO)
    }

    /// Its share, of [`PARTS`].
    #[must_use]
    pub fn share(&self) -> u8 {
        self.share.load(Ordering::SeqCst)
    }

    /// See [`Rate::set_share`].
    pub fn set_share(&self, share: u8, now: Monotonic) {
        let share = share.min(PARTS);
        self.share.store(share, Ordering::SeqCst);
        self.rate.load().set_share(share, now);
    }

    /// Other limits in their place. They start empty.
    pub fn replace(&self, limits: &[RateLimit], now: Monotonic) {
        let rate = Rate::new(limits);
        rate.set_share(self.share(), now);
        self.rate.store(Arc::new(rate));
        // A share that changed meanwhile may have been told to the old ones only.
        self.rate.load().set_share(self.share(), now);
    }
}

impl Both {
    /// The limits of both as they are now.
    #[must_use]
    pub fn load(destination: &Limiter, connection: &Limiter) -> Self {
        Self { destination: destination.rate.load(), connection: connection.rate.load() }
    }

    /// Takes a permit of every limit of both, or of none.
    pub fn acquire(&self, now: Monotonic) -> Decision {
        let Self { destination, connection } = self;
        let first = destination.acquire(now);
        if first != Decision::Granted {
            return first.later(connection.peek(now, 0, Duration::ZERO));
        }
        let second = connection.acquire(now);
        if second != Decision::Granted {
            destination.refund();
            return second.later(destination.peek(now, 0, Duration::ZERO));
        }
        Decision::Granted
    }

    /// Gives a permit back whose request was not sent after all.
    pub fn refund(&self) {
        self.destination.refund();
        self.connection.refund();
    }

    /// Whether one more permit, after `ahead` others, could be had within `horizon`. Takes none.
    #[must_use]
    pub fn peek(&self, now: Monotonic, ahead: u32, horizon: Duration) -> Decision {
        let Self { destination, connection } = self;
        destination.peek(now, ahead, horizon).later(connection.peek(now, ahead, horizon))
    }

    /// Which of the two waits longer now, if any does.
    #[must_use]
    pub fn holder(&self, now: Monotonic) -> Option<(LimitOf, Decision)> {
        let [destination, connection] = [&self.destination, &self.connection].map(|r| r.peek(now, 0, Duration::ZERO));
        let longer = destination.later(connection);
        let of = if longer == destination { LimitOf::Destination } else { LimitOf::Connection };
        (longer != Decision::Granted).then_some((of, longer))
    }

    /// Time between two permits of the slowest limit, at this replica's share; `None` if nothing is limited.
    #[must_use]
    pub fn slowest(&self) -> Option<Duration> {
        self.slowest_ns().map(Duration::from_nanos)
    }

    /// Permits come so fast that the runtime's timers, which know milliseconds, cannot follow.
    #[must_use]
    pub fn is_faster_than_timers(&self) -> bool {
        self.slowest_ns().is_some_and(|slowest| slowest < FASTER_THAN_TIMERS_NS)
    }

    /// When to ask again for a permit that comes at `at`. The destinations of a limited connection wait for the same
    /// moment; chance (0..1) lets each of them be the first now and then. It is later by less than a timer may be, so
    /// it costs no throughput.
    #[must_use]
    pub fn ask_again(&self, at: Monotonic, chance: f64) -> Monotonic {
        if !self.connection.is_limited() || self.is_faster_than_timers() {
            return at;
        }
        let spread = self.slowest_ns().unwrap_or(0).min(LATENESS_NS) / 2;
        at.plus(Duration::from_nanos(spread).mul_f64(chance.clamp(0.0, 1.0)))
    }

    fn slowest_ns(&self) -> Option<u64> {
        self.destination.slowest_ns().max(self.connection.slowest_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::tests::{check_windows, limit, ms};
    use super::*;
    use proptest::prelude::*;

    fn limiter(limits: &[RateLimit], share: u8) -> Limiter {
        let limiter = Limiter::new(limits);
        limiter.set_share(share, ms(0));
        limiter
    }

    #[test]
    fn a_request_takes_the_permits_of_both_or_none() {
        let connection = limiter(&[limit(10, Duration::from_secs(1), 1)], PARTS);
        let fast = limiter(&[limit(1_000, Duration::from_secs(1), 5)], PARTS);
        let slow = limiter(&[limit(1, Duration::from_secs(1), 1)], PARTS);
        let both = |own| Both::load(own, &connection);
        assert_eq!(both(&fast).acquire(ms(5_000)), Decision::Granted);
        assert!(matches!(both(&slow).acquire(ms(5_000)), Decision::WaitUntil(_)), "the connection's is spent");
        assert_eq!(both(&slow).holder(ms(5_000)).map(|(of, _)| of), Some(LimitOf::Connection));
        assert_eq!(both(&slow).acquire(ms(5_100)), Decision::Granted, "a refusal took nothing of its own limit");
        assert_eq!(both(&slow).acquire(ms(5_200)), Decision::WaitUntil(ms(6_090)));
        assert_eq!(both(&slow).holder(ms(5_200)).map(|(of, _)| of), Some(LimitOf::Destination));
        assert_eq!(both(&fast).acquire(ms(5_200)), Decision::Granted, "nor of the connection's");
        both(&fast).refund();
        assert_eq!(both(&fast).acquire(ms(5_200)), Decision::Granted, "a refund gives both back");
        assert!(!both(&fast).is_faster_than_timers());
        connection.set_share(0, ms(5_200));
        assert_eq!(both(&fast).acquire(ms(9_000)), Decision::NoShare);
    }

    #[test]
    fn changed_limits_start_empty_with_the_share_that_is_owned() {
        let own = limiter(&[], PARTS / 3);
        own.replace(&[limit(10, Duration::from_secs(1), 3)], ms(1_000));
        assert_eq!((own.share(), own.peek(ms(1_000))), (PARTS / 3, Decision::WaitUntil(ms(1_300))));
    }

    #[test]
    fn destinations_of_a_connection_ask_again_at_different_moments() {
        let (own, none) = (limiter(&[], PARTS), limiter(&[], PARTS));
        let connection = limiter(&[limit(100, Duration::from_secs(1), 1)], PARTS);
        let both = Both::load(&own, &connection);
        assert_eq!([0.0, 1.0].map(|chance| both.ask_again(ms(50), chance)), [ms(50), ms(55)]);
        assert_eq!(Both::load(&connection, &none).ask_again(ms(50), 1.0), ms(50));
        let fast = limiter(&[limit(5_000, Duration::from_secs(1), 1)], PARTS);
        assert!(Both::load(&own, &fast).is_faster_than_timers());
        assert_eq!(Both::load(&own, &fast).ask_again(ms(50), 1.0), ms(50));
    }

    proptest! {
        /// Two destinations on each of two replicas, all of one connection.
        #[test]
        fn destinations_together_stay_within_the_connection(
            steps in prop::collection::vec((0u64..30_000_000, 0usize..2, 0usize..2, 0u8..8), 1..300),
            requests in 1u32..500, burst in 1u32..10, own in 1u32..500,
        ) {
            let shared = [limit(requests, Duration::from_secs(1), burst)];
            let owned = [limit(own, Duration::from_secs(1), 1)];
            let replicas = [16, PARTS - 16]
                .map(|share| (limiter(&shared, share), [limiter(&owned, share), limiter(&[], share)]));
            let (mut now, mut sent) = (0, Vec::new());
            let mut by_first = Vec::new();
            for (passed, replica, which, chance) in steps {
                now += passed;
                let (connection, destinations) = &replicas[replica];
                let both = Both::load(&destinations[which], connection);
                if both.acquire(Monotonic(now)) == Decision::Granted {
                    if chance == 0 {
                        both.refund();
                        continue;
                    }
                    sent.push(now);
                    if which == 0 {
                        by_first.push(now);
                    }
                }
            }
            check_windows(&sent, requests, burst, 2.0)?;
            check_windows(&by_first, own, 1, 2.0)?;
        }
    }
}
