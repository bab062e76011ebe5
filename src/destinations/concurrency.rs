//! Adaptive concurrency: how many requests may be in flight to a destination (pure; `now` is an argument).
//!
//! Additive increase, multiplicative decrease: starts at 8, doubles per round trip until the first congestion, then
//! +1 per round trip, only while the limit is what holds requests back; × 0.8 on overload and time-outs, once per
//! round trip. One limit serves all workers of the process; slots are handed from worker to worker in turn.

use super::waiters::{Seat, Waiters};
use crate::model::clock::Monotonic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

const START: u32 = 8;

/// Shared by all workers.
#[derive(Debug)]
pub struct Concurrency {
    max: AtomicU32,
    limit: AtomicU32,
    in_flight: AtomicU32,
    /// So many ends still belong to a round trip in which the limit held requests back.
    pressed: AtomicU32,
    /// Such ends since the limit last rose, once congestion was seen.
    ends: AtomicU32,
    /// Congestion was seen since the last start.
    steady: AtomicBool,
    /// Nanoseconds; an attempt that began before it tells nothing new about congestion.
    cut_at: AtomicU64,
    waiters: Arc<Waiters>,
}

impl Concurrency {
    /// At most `max` in flight.
    #[must_use]
    pub fn new(max: u32, waiters: Arc<Waiters>) -> Self {
        let max = max.max(1);
        Self {
            max: AtomicU32::new(max),
            limit: AtomicU32::new(START.min(max)),
            in_flight: AtomicU32::new(0),
            pressed: AtomicU32::new(0),
            ends: AtomicU32::new(0),
            steady: AtomicBool::new(false),
            cut_at: AtomicU64::new(0),
            waiters,
        }
    }

    /// The limit now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Requests in flight, of all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Another upper bound, at once.
    pub fn set_max(&self, max: u32) {
        let max = max.max(1);
        self.max.store(max, Ordering::Relaxed);
        self.limit.fetch_min(max, Ordering::Relaxed);
    }

    /// Takes a slot. A refused one waits in its seat and is woken.
    pub fn acquire(&self, seat: &Seat) -> bool {
        if seat.take_granted() || self.take() {
            seat.done();
            return true;
        }
        seat.wait();
        // A slot that came free in between would wake nobody.
        let got = seat.take_granted() || self.take();
        if got {
            seat.done();
        } else {
            self.pressed.store(self.limit(), Ordering::Relaxed);
        }
        got
    }

    /// Gives a slot back; `mine` is what this worker still has in flight. If others wait and this worker has its fair
    /// share without it, the slot goes to the next of them, else it is free for whoever asks first.
    pub fn release(&self, seat: &Seat, mine: u32) {
        let others = seat.others();
        if others > 0 {
            let limit = self.limit();
            let fair = limit / others.saturating_add(1);
            if mine >= fair && self.in_flight() <= limit && seat.hand_on() {
                return;
            }
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if seat.others() > 0 {
            seat.wake_next();
        }
    }

    /// Gives up waiting, and gives back a slot that was handed over meanwhile.
    pub fn leave(&self, seat: &Seat, mine: u32) {
        seat.done();
        if seat.take_granted() {
            self.release(seat, mine);
        }
    }

    /// An end without congestion, told before its slot is given back.
    pub fn success(&self) {
        let limit = self.limit();
        let pressed = self.pressed.load(Ordering::Relaxed);
        if pressed == 0 || limit >= self.max.load(Ordering::Relaxed) {
            return;
        }
        // Two workers may count the same: a step is lost or comes early, which does no harm.
        self.pressed.store(pressed - 1, Ordering::Relaxed);
        if self.steady.load(Ordering::Relaxed) {
            if self.ends.fetch_add(1, Ordering::Relaxed).saturating_add(1) < limit {
                return;
            }
            self.ends.store(0, Ordering::Relaxed);
        }
        if self.limit.compare_exchange(limit, limit.saturating_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.waiters.wake_waiting();
        }
    }

    /// Overload or a time-out of an attempt that began at `began`.
    pub fn congestion(&self, now: Monotonic, began: Monotonic) {
        let cut_at = self.cut_at.load(Ordering::Acquire);
        if began.0 < cut_at || self.cut_at.compare_exchange(cut_at, now.0, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.steady.store(true, Ordering::Relaxed);
        self.ends.store(0, Ordering::Relaxed);
        let _always = self
            .limit
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |limit| Some((limit.saturating_mul(4) / 5).max(1)));
    }

    /// The destination is back after a while: begin again with one request.
    pub fn restart(&self) {
        self.limit.store(1, Ordering::Release);
        self.ends.store(0, Ordering::Relaxed);
        self.steady.store(false, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let limit = self.limit();
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < limit).then(|| taken + 1))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new(max: u32) -> (Concurrency, Vec<Seat>) {
        let waiters = Arc::new(Waiters::default());
        let seats = (0..3).map(|_| waiters.sit()).collect();
        (Concurrency::new(max, waiters), seats)
    }

    fn fill(it: &Concurrency, seat: &Seat) -> u32 {
        (0..10_000).take_while(|_| it.acquire(seat)).count().try_into().unwrap()
    }

    #[test]
    fn doubles_per_round_trip_then_adds_one() {
        let (it, seats) = new(1_000);
        let mut mine = fill(&it, &seats[0]);
        assert_eq!(mine, 8);
        let mut round = |it: &Concurrency| {
            for _ in 0..mine {
                it.success();
            }
            for left in (0..mine).rev() {
                it.release(&seats[0], left);
            }
            mine = fill(it, &seats[0]);
            mine
        };
        assert_eq!(round(&it), 16);
        assert_eq!(round(&it), 32);
        it.congestion(Monotonic(10), Monotonic(5));
        it.congestion(Monotonic(11), Monotonic(6));
        assert_eq!(it.limit(), 25, "once per round trip");
        let after = round(&it);
        assert!((25..=26).contains(&after), "{after}");
        assert_eq!(round(&it), after + 1);
        it.restart();
        assert_eq!(it.limit(), 1);
    }

    #[test]
    fn does_not_grow_while_something_else_is_the_limit() {
        let (it, seats) = new(1_000);
        assert!(it.acquire(&seats[0]));
        for _ in 0..100 {
            it.success();
        }
        assert_eq!(it.limit(), 8);
    }

    #[test]
    fn never_above_max_nor_below_one() {
        let (it, seats) = new(10);
        for _ in 0..5 {
            let mine = fill(&it, &seats[0]);
            (0..mine).for_each(|_| it.success());
            (0..mine).rev().for_each(|left| it.release(&seats[0], left));
        }
        assert_eq!(it.limit(), 10);
        (1..50).for_each(|at| it.congestion(Monotonic(at), Monotonic(at)));
        assert_eq!(it.limit(), 1);
        it.set_max(0);
        assert_eq!(it.limit(), 1);
    }

    #[test]
    fn a_single_slot_goes_round_among_workers() {
        let (it, seats) = new(1);
        assert!(it.acquire(&seats[0]));
        assert!(!it.acquire(&seats[1]));
        it.release(&seats[0], 0);
        assert!(!it.acquire(&seats[0]), "it was handed on");
        assert!(it.acquire(&seats[1]));
        it.release(&seats[1], 0);
        it.leave(&seats[0], 0);
        assert_eq!(it.in_flight(), 0);
    }

    proptest! {
        /// Whatever the workers do, slots are neither lost nor invented, and who waits while slots are free was woken.
        #[test]
        fn slots_are_conserved(steps in prop::collection::vec((0usize..3, 0u8..4), 1..400), max in 1u32..12) {
            let (it, seats) = new(max);
            let mut held = [0u32; 3];
            for (who, what) in steps {
                match what {
                    0 | 1 => held[who] += u32::from(it.acquire(&seats[who])),
                    2 if held[who] > 0 => {
                        held[who] -= 1;
                        it.release(&seats[who], held[who]);
                    }
                    _ => it.leave(&seats[who], held[who]),
                }
                prop_assert!(it.in_flight() <= max.max(START.min(max)));
            }
            for who in 0..3 {
                it.leave(&seats[who], held[who]);
                while held[who] > 0 {
                    held[who] -= 1;
                    it.release(&seats[who], held[who]);
                }
            }
            (0..3).for_each(|who| it.leave(&seats[who], 0));
            (0..3).for_each(|who| it.leave(&seats[who], 0));
            prop_assert_eq!(it.in_flight(), 0);
        }
    }
}
