//! Coalesce: what a worker does before it sleeps until somebody wakes it: it may wait a moment on its own account.
//!
//! A busy worker waits before it looks for answers, so that it finds several at once, as network cards do with their
//! interrupts: one that is woken for every second or third answer spends an eighth of its time on being woken, and the
//! machine switches from thread to thread three times as often. It does so only while all that are answered have many more
//! requests in flight, which go on meanwhile; nobody's only request lies there answered.
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

/// Whoever has fewer requests in flight may be waiting for this worker with all of them.
const MANY: usize = 16;

/// The longest wait for a permit: so long does an answer lie that comes meanwhile.
const LONGEST: Duration = Duration::from_micros(250);

thread_local! {
    static PULSE: Pulse = const { Pulse::new() };
    /// Who waits for a permit that comes sooner than a timer, and when that is.
    static DUE: RefCell<Vec<(Monotonic, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// How quickly requests of a thread are answered.
struct Pulse {
    /// Answered since [`Self::looked`].
    ended: Cell<usize>,
    /// The fewest that one of those who were answered had still in flight.
    left: Cell<usize>,
    looked: Cell<Monotonic>,
}

impl Pulse {
    const fn new() -> Self {
        Self { ended: Cell::new(0), left: Cell::new(usize::MAX), looked: Cell::new(Monotonic(0)) }
    }

    fn ended(&self, left: usize) {
        self.ended.set(self.ended.get() + 1);
        self.left.set(self.left.get().min(left));
    }

    fn is_busy(&self, now: Monotonic) -> bool {
        let (ended, left) = (self.ended.replace(0), self.left.replace(usize::MAX));
        let passed = now.since(self.looked.replace(now));
        let is_quick = ended > 0 && passed <= BUSY * u32::try_from(ended).unwrap_or(u32::MAX);
        // Where more than half of them end from look to look, a longer wait might let all of them end.
        is_quick && left >= MANY && ended <= left
    }
}

/// A request was answered, or given up, of a dispatcher of this thread that has so many others in flight.
pub(super) fn ended(left: usize) {
    PULSE.with(|pulse| pulse.ended(left));
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
    fn busy(ended: usize, micros: u64, left: usize) -> bool {
        let pulse = Pulse::new();
        (0..ended).for_each(|nth| pulse.ended(left + ended - 1 - nth));
        pulse.is_busy(Monotonic(micros * 1_000))
    }

    #[test]
    fn only_a_worker_with_much_in_flight_and_much_to_do_waits() {
        assert!(busy(3, 120, 64), "as with a fast destination");
        assert!(busy(1, 90, 16) && busy(8, 800, 16), "the limits");
        assert!(!busy(1, 110, 64), "answers come slowly");
        assert!(!busy(0, 10, 64), "woken for something else");
        assert!(!busy(3, 120, 15), "few in flight");
        assert!(!busy(17, 120, 16), "most have ended already");
    }

    #[test]
    fn nobody_with_few_in_flight_waits_for_one_with_many() {
        let pulse = Pulse::new();
        [63, 62, 0, 61].into_iter().for_each(|left| pulse.ended(left));
        assert!(!pulse.is_busy(Monotonic(100_000)));
        (0..4).for_each(|_| pulse.ended(60));
        assert!(pulse.is_busy(Monotonic(200_000)), "the next time there are only its own");
        assert!(!pulse.is_busy(Monotonic(200_001)), "what has ended counts once");
        (0..4).for_each(|_| pulse.ended(60));
        assert!(!pulse.is_busy(Monotonic(700_000)), "half a millisecond since the last look");
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
