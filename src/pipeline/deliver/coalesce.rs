//! Coalesce: what a worker does before it sleeps until somebody wakes it: it may wait a moment on its own account.
//!
//! A busy worker waits before it looks for answers, so that it finds several at once, as network cards do with their
//! interrupts. A worker that is woken for every second or third answer spends an eighth
//! of its time on being woken, and the machine switches from thread to thread three times as often. Who waits longer for
//! it is an answer whose destination has at least sixteen requests of this worker in flight, most of them still without
//! one: their next requests leave together instead of one by one. A worker with little to do never waits.
//!
//! Permits of a rate limit may come faster than the runtime's timers, which know milliseconds. A worker that would do
//! nothing else waits for the next one itself. One that has enough to do comes by often enough.

use crate::model::clock::Monotonic;
use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// How long a busy worker waits. Systems add some 50 µs to it (Linux: `timerslack_ns`).
const MOMENT: Duration = Duration::from_micros(50);

/// A worker is busy that gets an answer in so much time.
const BUSY: Duration = Duration::from_micros(100);

/// With fewer requests in flight a moment might be longer than all of them take.
const MANY: usize = 16;

/// The longest wait for a permit: so long does an answer lie that comes meanwhile.
const LONGEST: Duration = Duration::from_micros(250);

thread_local! {
    static PULSE: Pulse = const { Pulse::new() };
    /// Who waits for a permit that comes sooner than a timer, and when that is.
    static DUE: RefCell<Vec<(Monotonic, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// What a thread has in flight, and how quickly that ends.
struct Pulse {
    flying: Cell<usize>,
    /// Ended since [`Self::looked`].
    ended: Cell<usize>,
    looked: Cell<Monotonic>,
}

impl Pulse {
    const fn new() -> Self {
        Self { flying: Cell::new(0), ended: Cell::new(0), looked: Cell::new(Monotonic(0)) }
    }

    fn is_busy(&self, now: Monotonic) -> bool {
        let (ended, flying) = (self.ended.replace(0), self.flying.get());
        let passed = now.since(self.looked.replace(now));
        // Where half of them end at each look, they may all be waiting for this worker.
        flying >= MANY && 2 * ended <= flying && ended > 0 && passed <= BUSY * u32::try_from(ended).unwrap_or(u32::MAX)
    }
}

/// A request of this thread has begun.
pub(super) fn began() {
    PULSE.with(|pulse| pulse.flying.set(pulse.flying.get() + 1));
}

/// So many requests of this thread were answered, or given up.
pub(super) fn ended(count: usize) {
    PULSE.with(|pulse| {
        pulse.flying.set(pulse.flying.get().saturating_sub(count));
        pulse.ended.set(pulse.ended.get() + count);
    });
}

/// Has `waker` woken at that moment if this thread has nothing else to do until then; it may be woken before.
pub(super) fn wake_at(at: Monotonic, waker: &Waker) {
    DUE.with_borrow_mut(|due| match due.iter_mut().find(|(_, known)| known.will_wake(waker)) {
        Some((when, _)) => *when = at,
        None => due.push((at, waker.clone())),
    });
}

/// To be called when this thread has nothing more to do before it is woken: waits a moment, if that serves.
#[allow(clippy::disallowed_methods, reason = "nothing on this thread could run meanwhile but what it is to wait for")]
pub fn before_park() {
    let now = Monotonic::now();
    let is_busy = PULSE.with(|pulse| pulse.is_busy(now));
    let due = DUE.take();
    if let Some(first) = due.iter().map(|(at, _)| *at).min() {
        thread::sleep(first.since(now).min(LONGEST));
        due.into_iter().for_each(|(_, waker)| waker.wake());
    } else if is_busy {
        thread::sleep(MOMENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// The verdict after so many answers in so many microseconds, with so many requests left in flight.
    fn busy(ended: usize, micros: u64, flying: usize) -> bool {
        let pulse = Pulse::new();
        pulse.ended.set(ended);
        pulse.flying.set(flying);
        pulse.is_busy(Monotonic(micros * 1_000))
    }

    #[test]
    fn only_a_worker_with_much_in_flight_and_much_to_do_waits() {
        assert!(busy(3, 120, 64), "as with a fast destination");
        assert!(busy(1, 90, 16) && busy(8, 800, 16), "the limits");
        assert!(!busy(1, 110, 64), "answers come slowly");
        assert!(!busy(0, 10, 64), "woken for something else");
        assert!(!busy(3, 120, 15), "few in flight");
        assert!(!busy(9, 120, 16), "most have ended already");
    }

    #[test]
    fn what_ended_counts_once() {
        let pulse = Pulse::new();
        pulse.flying.set(64);
        pulse.ended.set(4);
        assert!(pulse.is_busy(Monotonic(100_000)));
        assert!(!pulse.is_busy(Monotonic(100_001)));
        pulse.ended.set(4);
        assert!(!pulse.is_busy(Monotonic(600_000)), "half a millisecond since the last look");
    }

    #[test]
    fn requests_are_counted_from_their_beginning_to_their_end() {
        (0..5).for_each(|_| began());
        ended(2);
        PULSE.with(|pulse| assert_eq!((pulse.flying.get(), pulse.ended.get()), (3, 2)));
        ended(3);
        PULSE.with(|pulse| assert_eq!((pulse.flying.get(), pulse.ended.get()), (0, 5)));
    }

    #[test]
    fn who_waits_for_a_permit_is_woken_when_it_comes_and_once() {
        let (early, late) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
        let now = Monotonic::now();
        wake_at(now.plus(Duration::from_secs(9)), &Waker::from(Arc::clone(&early)));
        let waker = Waker::from(Arc::clone(&late));
        (1..4).for_each(|micros| wake_at(now.plus(Duration::from_micros(micros)), &waker));
        before_park();
        assert_eq!([&early, &late].map(|woken| woken.0.load(Ordering::Relaxed)), [1, 1], "who is not due asks again");
        before_park();
        assert_eq!([&early, &late].map(|woken| woken.0.load(Ordering::Relaxed)), [1, 1]);
    }

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
