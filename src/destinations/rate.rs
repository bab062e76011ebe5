//! Rate limit: the generic cell rate algorithm over one atomic word per limit (pure; `now` is an argument).
//!
//! A destination's limits hold for the whole group of replicas. Each replica has a share of them, counted in [`PARTS`]:
//! [`shared`] gives every replica some, [`exact`] all to one. One limiter serves all workers of the process; a
//! permit is a compare-and-swap.
//!
//! Seen as a bucket, a replica with share s may hold burst · s + 1 permits at most, the one extra only to make up
//! for timers that fire late. So all replicas together stay within L·w + burst + replicas in every window w (I6).
//!
//! Not the crate governor: its quotas cannot change and a new limiter starts full, but a share changes with every
//! rebalance and must start empty, or the moved share would be spent twice.

use crate::model::clock::Monotonic;
use crate::model::resources::RateLimit;
use crate::model::stored::{PARTS, SLOTS};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The parts of a limit that the replicas share: each slot brings one, and that of the destination another, for who owns it
/// also drains the destination's queue.
///
/// Not the quarter of delivery.md "Rate": what comes is spread evenly, so that three replicas could send but 70 % of a
/// limit for long, the owner of the slot being idle half of the time; with this it is 91 % (faults.md F80 wants 90).
#[must_use]
pub fn shared(owns: bool, owned_slots: u8) -> u8 {
    let slots = u32::from(owned_slots).min(SLOTS);
    u8::try_from(slots).unwrap_or(u8::MAX).saturating_add(u8::from(owns)).min(PARTS)
}

/// The parts of a limit that only the owner of the destination's slot uses.
#[must_use]
pub fn exact(owns: bool) -> u8 {
    if owns { PARTS } else { 0 }
}

/// How late a timer may fire without costing throughput.
pub(super) const LATENESS_NS: u64 = 10_000_000;
const SHARE_BITS: u32 = 8;
const SHARE_MASK: u64 = (1 << SHARE_BITS) - 1;
const TIME_MAX: u64 = u64::MAX >> SHARE_BITS;

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send it; the permit is spent.
    Granted,
    /// Ask again at this moment.
    WaitUntil(Monotonic),
    /// This replica has no share yet; ask again when that changes.
    NoShare,
}

/// All limits of a destination, or of a connection; every one of them must grant.
#[derive(Debug)]
pub struct Rate {
    limits: Vec<Limit>,
}

/// One limit. The word holds the theoretical arrival time of the next request (56 bits of nanoseconds: two years of a
/// process) above its share (8 bits), so that both change together.
#[derive(Debug)]
struct Limit {
    /// Between two requests at full share.
    interval_ns: u64,
    /// Burst times the interval.
    burst_ns: u64,
    word: AtomicU64,
}

/// What a limit is at a certain share.
#[derive(Debug, Clone, Copy)]
struct Pace {
    interval: u64,
    tolerance: u64,
}

impl Rate {
    /// Limits without any share: nothing is granted until [`Rate::set_share`].
    #[must_use]
    pub fn new(limits: &[RateLimit]) -> Self {
        Self { limits: limits.iter().map(Limit::new).collect() }
    }

    /// Whether anything is limited at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Takes a permit of every limit, or of none.
    pub fn acquire(&self, now: Monotonic) -> Decision {
        for (taken, limit) in self.limits.iter().enumerate() {
            let decision = limit.acquire(now);
            if decision != Decision::Granted {
                self.limits.iter().take(taken).for_each(Limit::refund);
                return self.peek(now, 0, Duration::ZERO).or(decision);
            }
        }
        Decision::Granted
    }

    /// Gives a permit back whose request was not sent after all.
    pub fn refund(&self) {
        self.limits.iter().for_each(Limit::refund);
    }

    /// Whether one more permit, after `ahead` others, could be had within `horizon`. Takes none.
    #[must_use]
    pub fn peek(&self, now: Monotonic, ahead: u32, horizon: Duration) -> Decision {
        let mut latest = Decision::Granted;
        for limit in &self.limits {
            latest = latest.later(limit.peek(now, ahead, horizon));
        }
        latest
    }

    /// Tells the share of this replica, of [`PARTS`]. A part that comes brings no permits, one that goes takes
    /// them with it: whole permits are forgotten, only the wait for the next one goes on.
    pub fn set_share(&self, share: u8, now: Monotonic) {
        for limit in &self.limits {
            limit.set_share(share.min(PARTS), now);
        }
    }

    /// Nanoseconds between two permits of the slowest limit; `None` if nothing is limited.
    pub(super) fn slowest_ns(&self) -> Option<u64> {
        let interval = |limit: &Limit| {
            let (_, share) = unpack(limit.word.load(Ordering::Relaxed));
            limit.pace(share).map_or(u64::MAX, |pace| pace.interval)
        };
        self.limits.iter().map(interval).max()
    }
}

impl Decision {
    /// The one that waits longer.
    pub(super) fn later(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoShare, _) | (_, Self::NoShare) => Self::NoShare,
            (Self::WaitUntil(a), Self::WaitUntil(b)) => Self::WaitUntil(a.max(b)),
            (Self::WaitUntil(at), Self::Granted) | (Self::Granted, Self::WaitUntil(at)) => Self::WaitUntil(at),
            (Self::Granted, Self::Granted) => Self::Granted,
        }
    }

    /// This, unless it grants: then `other`.
    fn or(self, other: Self) -> Self {
        if self == Self::Granted { other } else { self }
    }
}

impl Limit {
    fn new(limit: &RateLimit) -> Self {
        let per = u64::try_from(limit.rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = per.div_ceil(u64::from(limit.rate.requests.max(1))).clamp(1, TIME_MAX);
        let burst_ns = interval_ns.saturating_mul(u64::from(limit.burst.max(1)));
        Self { interval_ns, burst_ns, word: AtomicU64::new(0) }
    }

    /// `None` without a share.
    fn pace(&self, share: u8) -> Option<Pace> {
        let interval = self.interval_ns.saturating_mul(u64::from(PARTS)).checked_div(u64::from(share))?.min(TIME_MAX);
        let own = self.burst_ns.saturating_sub(interval).saturating_add(interval.min(LATENESS_NS));
        Some(Pace { interval, tolerance: own.min(self.burst_ns).min(TIME_MAX) })
    }

    fn acquire(&self, now: Monotonic) -> Decision {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (arrival, share) = unpack(word);
            let Some(pace) = self.pace(share) else { return Decision::NoShare };
            let from = arrival.saturating_sub(pace.tolerance);
            if now.0 < from {
                return Decision::WaitUntil(Monotonic(from));
            }
            let next = pack(arrival.max(now.0).saturating_add(pace.interval), share);
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Decision::Granted,
                Err(other) => word = other,
            }
        }
    }

    fn peek(&self, now: Monotonic, ahead: u32, horizon: Duration) -> Decision {
        let (arrival, share) = unpack(self.word.load(Ordering::Relaxed));
        let Some(pace) = self.pace(share) else { return Decision::NoShare };
        let arrival = arrival.max(now.0).saturating_add(pace.interval.saturating_mul(u64::from(ahead)));
        let from = arrival.saturating_sub(pace.tolerance);
        if now.plus(horizon).0 < from { Decision::WaitUntil(Monotonic(from)) } else { Decision::Granted }
    }

    fn refund(&self) {
        self.update(|arrival, share| {
            let interval = self.pace(share)?.interval;
            Some((arrival.saturating_sub(interval), share))
        });
    }

    fn set_share(&self, owned: u8, now: Monotonic) {
        self.update(|arrival, share| {
            if owned == share {
                return None;
            }
            let Some(new) = self.pace(owned) else { return Some((arrival, owned)) };
            // Part of the next permit that has been earned, in parts of `whole`.
            let mut earned = 0;
            let mut whole = 1;
            if let Some(old) = self.pace(share) {
                let wait = arrival.saturating_sub(old.tolerance).saturating_sub(now.0);
                if wait > 0 {
                    whole = u128::from(old.interval) * u128::from(share.max(1));
                    earned = u128::from(old.interval.saturating_sub(wait)) * u128::from(owned.min(share));
                }
            }
            let rest = u128::from(new.interval) * whole.saturating_sub(earned) / whole;
            let first = now.0.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
            Some((first.saturating_add(new.tolerance), owned))
        });
    }

    fn update(&self, change: impl Fn(u64, u8) -> Option<(u64, u8)>) {
        let _unchanged = self.word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
            let (arrival, share) = unpack(word);
            change(arrival, share).map(|(arrival, share)| pack(arrival, share))
        });
    }
}

fn pack(arrival: u64, share: u8) -> u64 {
    (arrival.min(TIME_MAX) << SHARE_BITS) | (u64::from(share) & SHARE_MASK)
}

fn unpack(word: u64) -> (u64, u8) {
    (word >> SHARE_BITS, u8::try_from(word & SHARE_MASK).unwrap_or(0))
}

#[cfg(test)]
pub(in crate::destinations) mod tests {
    use super::*;
    use crate::model::units::Rate as Speed;
    use proptest::prelude::*;

    pub(in crate::destinations) fn limit(requests: u32, per: Duration, burst: u32) -> RateLimit {
        RateLimit { rate: Speed { requests, per }, burst }
    }

    pub(in crate::destinations) fn ms(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000_000)
    }

    #[test]
    fn without_limits_everything_is_granted() {
        assert_eq!(Rate::new(&[]).acquire(ms(0)), Decision::Granted);
    }

    #[test]
    fn no_share_waits_and_a_new_share_starts_empty() {
        let rate = Rate::new(&[limit(10, Duration::from_secs(1), 5)]);
        assert_eq!(rate.acquire(ms(1_000)), Decision::NoShare);
        rate.set_share(PARTS, ms(1_000));
        assert_eq!(rate.acquire(ms(1_000)), Decision::WaitUntil(ms(1_100)));
        assert_eq!(rate.acquire(ms(1_100)), Decision::Granted);
        assert_eq!(rate.acquire(ms(1_100)), Decision::WaitUntil(ms(1_200)));
        // Idle for long: the burst, and 10 ms of lateness, which is no whole permit.
        let granted = (0..20).filter(|_| rate.acquire(ms(100_000)) == Decision::Granted).count();
        assert_eq!(granted, 5);
    }

    #[test]
    fn a_part_of_the_share_is_that_part_of_the_rate() {
        let rate = Rate::new(&[limit(100, Duration::from_secs(1), 1)]);
        rate.set_share(PARTS / 3, ms(0));
        let granted = (0..10_000).filter(|t| rate.acquire(ms(*t)) == Decision::Granted).count();
        assert!((332..=334).contains(&granted), "{granted}");
    }

    #[test]
    fn the_shares_of_all_replicas_make_the_whole() {
        for (slots, owner) in [([32, 0, 0], 0), ([11, 11, 10], 2), ([1, 30, 1], 1), ([16, 16, 0], 0)] {
            let sum = slots.iter().enumerate().map(|(at, slots)| u32::from(shared(at == owner, *slots))).sum::<u32>();
            assert_eq!(sum, u32::from(PARTS));
        }
        for replicas in 1..=4 {
            let least = u32::from(shared(false, u8::try_from(SLOTS / replicas).unwrap()));
            assert!(least * replicas * 100 / u32::from(PARTS) >= 90, "{replicas} with as much to send");
        }
        assert_eq!((exact(true), exact(false), shared(false, 0)), (PARTS, 0, 0));
    }

    #[test]
    fn late_timers_cost_no_throughput() {
        let rate = Rate::new(&[limit(500, Duration::from_secs(1), 1)]);
        rate.set_share(PARTS, ms(0));
        let (mut now, mut granted) = (0, 0);
        while now < 10_000 {
            match rate.acquire(ms(now)) {
                Decision::Granted => granted += 1,
                // As tokio does: rounded up to the next millisecond, and one late.
                Decision::WaitUntil(at) => now = at.0.div_ceil(1_000_000) + 1,
                Decision::NoShare => unreachable!(),
            }
        }
        assert!(granted > 4_950, "{granted}");
    }

    #[test]
    fn every_limit_holds_and_a_refusal_takes_nothing() {
        let rate = Rate::new(&[limit(10, Duration::from_secs(1), 10), limit(1, Duration::from_secs(60), 1)]);
        rate.set_share(PARTS, ms(0));
        assert_eq!(rate.acquire(ms(61_000)), Decision::Granted);
        for _ in 0..100 {
            assert_eq!(rate.acquire(ms(61_000)), Decision::WaitUntil(Monotonic(ms(121_000).0 - 10_000_000)));
        }
        let (arrival, _) = unpack(rate.limits[0].word.load(Ordering::Relaxed));
        assert_eq!(arrival, ms(61_100).0);
        rate.refund();
        assert_eq!(rate.acquire(ms(61_000)), Decision::Granted);
    }

    #[test]
    fn peek_counts_those_ahead() {
        let rate = Rate::new(&[limit(1, Duration::from_secs(1), 1)]);
        rate.set_share(PARTS, ms(0));
        assert_eq!(rate.peek(ms(5_000), 0, Duration::ZERO), Decision::Granted);
        assert_ne!(rate.peek(ms(5_000), 1, Duration::ZERO), Decision::Granted);
        assert_eq!(rate.peek(ms(5_000), 1, Duration::from_secs(1)), Decision::Granted);
    }

    #[test]
    fn a_share_that_keeps_changing_still_sends() {
        let rate = Rate::new(&[limit(60, Duration::from_secs(60), 1)]);
        let mut granted = 0;
        for second in 0..100 {
            rate.set_share(if second % 2 == 0 { 128 } else { 124 }, ms(second * 500));
            if rate.acquire(ms(second * 500 + 499)) == Decision::Granted {
                granted += 1;
            }
        }
        assert!(granted >= 25, "{granted}");
    }

    /// What happens to a group: time passes, somebody asks, a slot moves.
    #[derive(Debug, Clone)]
    enum Step {
        Pass(u64),
        Ask(usize),
        Move { from: usize, to: usize, slots: u8 },
        Refund(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u64..40_000_000).prop_map(Step::Pass),
            8 => (0usize..3).prop_map(Step::Ask),
            1 => (0usize..3, 0usize..3, 1u8..128).prop_map(|(from, to, slots)| Step::Move { from, to, slots }),
            1 => (0usize..3).prop_map(Step::Refund),
        ];
        prop::collection::vec(step, 1..300)
    }

    /// No window may hold more than L·w + burst + replicas.
    pub(in crate::destinations) fn check_windows(
        sent: &[u64],
        requests: u32,
        burst: u32,
        replicas: f64,
    ) -> Result<(), TestCaseError> {
        for (i, from) in sent.iter().enumerate() {
            for (j, to) in sent.iter().enumerate().skip(i) {
                let window = Duration::from_nanos(to - from).as_secs_f64();
                let most = f64::from(requests) * window + f64::from(burst) + replicas;
                let count = f64::from(u32::try_from(j - i + 1).unwrap());
                prop_assert!(count <= most + 1e-6, "{count} in {window} s, at most {most}");
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_limit(steps in steps(), requests in 1u32..2_000, burst in 1u32..20) {
            let limits = [limit(requests, Duration::from_secs(1), burst)];
            let group: Vec<Rate> = (0..3).map(|_| Rate::new(&limits)).collect();
            let mut slots = [PARTS, 0, 0];
            group[0].set_share(PARTS, Monotonic(0));
            let mut now = 0u64;
            let mut sent: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass(ns) => now += ns,
                    Step::Ask(who) => {
                        if group[who].acquire(Monotonic(now)) == Decision::Granted {
                            sent.push(now);
                        }
                    }
                    Step::Move { from, to, slots: n } => {
                        let n = n.min(slots[from]);
                        // Revoked before assigned.
                        slots[from] -= n;
                        group[from].set_share(slots[from], Monotonic(now));
                        slots[to] += n;
                        group[to].set_share(slots[to], Monotonic(now));
                    }
                    Step::Refund(who) => {
                        // A permit that was not used.
                        if group[who].acquire(Monotonic(now)) == Decision::Granted {
                            group[who].refund();
                        }
                    }
                }
            }
            check_windows(&sent, requests, burst, 3.0)?;
        }
    }
}
