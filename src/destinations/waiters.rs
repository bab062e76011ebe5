//! Waiters: the dispatchers of one destination that wait for something they share, as bits of one word.
//!
//! Each worker has a dispatcher of its own for a destination. Whoever cannot go on sets its bit and asks once more;
//! whoever gives something back wakes one of those whose bit is set. No lock, no list.

use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

const SEATS: usize = 64;

/// Seats whose wakers are made together: few replicas have more workers, and there may be ten thousand destinations.
const ROW: usize = 8;

/// One per destination.
#[derive(Debug)]
pub struct Waiters {
    wakers: [OnceLock<Box<[AtomicWaker; ROW]>>; SEATS / ROW],
    seated: AtomicU64,
    waiting: AtomicU64,
    granted: AtomicU64,
}

/// A dispatcher's place among the waiters, given back on drop. Beyond 64 of them one has no bit and must ask again by
/// timer.
#[derive(Debug)]
pub struct Seat {
    waiters: Arc<Waiters>,
    index: Option<usize>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            wakers: [const { OnceLock::new() }; SEATS / ROW],
            seated: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            granted: AtomicU64::new(0),
        }
    }
}

impl Waiters {
    /// Takes a free seat.
    #[must_use]
    pub fn sit(self: &Arc<Self>) -> Seat {
        let mut index = None;
        let _full = self.seated.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |seated| {
            let free = usize::try_from((!seated).trailing_zeros()).unwrap_or(SEATS);
            index = (free < SEATS).then_some(free);
            index.map(|free| seated | bit(free))
        });
        Seat { waiters: Arc::clone(self), index }
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst).count_ones()
    }

    /// Wakes everybody: what all of them look at has changed.
    pub fn wake_all(&self) {
        self.wake_each(self.seated.load(Ordering::SeqCst));
    }

    /// Wakes everybody who waits for a slot.
    pub fn wake_waiting(&self) {
        self.wake_each(self.waiting.load(Ordering::SeqCst));
    }

    fn wake_each(&self, mut rest: u64) {
        while rest != 0 {
            let index = usize::try_from(rest.trailing_zeros()).unwrap_or(0);
            rest &= rest - 1;
            self.wake(index);
        }
    }

    fn wake(&self, index: usize) {
        if let Some(waker) = self.waker(index) {
            waker.wake();
        }
    }

    /// Nobody waits for who has never registered.
    fn waker(&self, index: usize) -> Option<&AtomicWaker> {
        self.wakers.get(index / ROW)?.get()?.get(index % ROW)
    }
}

impl Seat {
    /// Where to wake this one.
    pub fn register(&self, waker: &Waker) {
        let Some(index) = self.index else { return };
        let row = self.waiters.wakers.get(index / ROW).map(|row| row.get_or_init(Box::default));
        if let Some(slot) = row.and_then(|row| row.get(index % ROW)) {
            slot.register(waker);
        }
    }

    /// Whether waking reaches this one; otherwise it must ask again by timer.
    #[must_use]
    pub fn can_be_woken(&self) -> bool {
        self.index.is_some()
    }

    /// Says that this one waits; it must ask once more afterwards, for the change may have come in between.
    pub fn wait(&self) {
        let bit = self.bit();
        if self.waiters.waiting.load(Ordering::Relaxed) & bit != bit {
            self.waiters.waiting.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Says that it waits no longer.
    pub fn done(&self) {
        let bit = self.bit();
        if self.waiters.waiting.load(Ordering::Relaxed) & bit != 0 {
            self.waiters.waiting.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Others who wait.
    #[must_use]
    pub fn others(&self) -> u32 {
        (self.waiters.waiting.load(Ordering::SeqCst) & !self.bit()).count_ones()
    }

    /// Hands something to the next waiter after this one and wakes it; `false` if nobody could take it.
    pub fn hand_on(&self) -> bool {
        loop {
            let open = self.waiters.waiting.load(Ordering::SeqCst)
                & !self.waiters.granted.load(Ordering::SeqCst)
                & !self.bit();
            let Some(next) = self.next(open) else { return false };
            if self.waiters.granted.fetch_or(bit(next), Ordering::SeqCst) & bit(next) != 0 {
                continue;
            }
            let gone = self.waiters.seated.load(Ordering::SeqCst) & bit(next) == 0;
            if gone && self.waiters.granted.fetch_and(!bit(next), Ordering::SeqCst) & bit(next) != 0 {
                continue;
            }
            self.waiters.wake(next);
            return true;
        }
    }

    /// Wakes the next waiter after this one, handing it nothing.
    pub fn wake_next(&self) {
        let open = self.waiters.waiting.load(Ordering::SeqCst) & !self.bit();
        if let Some(next) = self.next(open) {
            self.waiters.wake(next);
        }
    }

    /// Takes what was handed to this one.
    pub fn take_granted(&self) -> bool {
        let bit = self.bit();
        self.waiters.granted.load(Ordering::SeqCst) & bit != 0
            && self.waiters.granted.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Leaves for good: nothing is handed to this one any more. What was handed over before must still be taken.
    pub fn vacate(&self) {
        self.done();
        if let Some(index) = self.index {
            if let Some(waker) = self.waiters.waker(index) {
                drop(waker.take());
            }
            self.waiters.seated.fetch_and(!bit(index), Ordering::SeqCst);
        }
    }

    fn bit(&self) -> u64 {
        self.index.map_or(0, bit)
    }

    /// The first set bit after this seat, in a circle.
    fn next(&self, open: u64) -> Option<usize> {
        if open == 0 {
            return None;
        }
        let from = self.index.map_or(0, |index| index + 1) % SEATS;
        let turn = u32::try_from(from).unwrap_or(0);
        let ahead = usize::try_from(open.rotate_right(turn).trailing_zeros()).unwrap_or(0);
        Some((from + ahead) % SEATS)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.vacate();
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handing_on_goes_round() {
        let waiters = Arc::new(Waiters::default());
        let seats: Vec<Seat> = (0..3).map(|_| waiters.sit()).collect();
        assert!(!seats[0].hand_on());
        seats[0].wait();
        assert!(!seats[0].hand_on(), "not to oneself");
        seats[2].wait();
        assert_eq!(seats[1].others(), 2);
        assert!(seats[1].hand_on());
        assert!(seats[2].take_granted());
        assert!(!seats[2].take_granted());
        assert!(seats[2].hand_on());
        assert!(seats[0].take_granted());
        seats[2].done();
        seats[0].done();
        assert_eq!(waiters.count(), 0);
    }

    #[test]
    fn seats_are_given_back_and_the_65th_has_none() {
        let waiters = Arc::new(Waiters::default());
        let mut seats: Vec<Seat> = (0..SEATS).map(|_| waiters.sit()).collect();
        assert!(seats.iter().all(Seat::can_be_woken));
        assert!(!waiters.sit().can_be_woken());
        seats.pop();
        assert!(waiters.sit().can_be_woken());
    }
}
