//! Coalesce: a busy worker waits a moment before it looks for answers, so that it finds several at once, as network cards
//! do with their interrupts: one that is woken for every second or third answer spends an eighth of its time on being
//! woken, and the machine switches from thread to thread three times as often.
//!
//! It does so only while all that are answered have many more requests in flight, which go on meanwhile. Whoever has few
//! and is answered during such a moment lies there for the rest of it, 0.1 ms at most, and the next look is at once.
//!
//! A worker that waits for a permit of a rate limit that comes within a quarter of a millisecond sleeps until it comes: to be
//! woken for it by a timer, and for each answer before, would take three times as much CPU, and late is lost, for a limit
//! lets nobody catch up. If it has heard answers just now it looks for the next after a moment, too.

use super::precise;
use crate::model::clock::Monotonic;
use std::cell::Cell;
use std::thread;
use std::time::Duration;

/// How long a busy worker waits. Systems add some 50 µs to it (Linux: `timerslack_ns`).
const MOMENT: Duration = Duration::from_micros(50);

/// A worker is busy that gets an answer in so much time.
const BUSY: Duration = Duration::from_micros(100);

/// The longest sleep for a permit: so long does an answer lie that comes after a silence.
const LONGEST: Duration = Duration::from_micros(250);

/// Whoever has fewer requests in flight may be waiting for this worker with all of them.
const MANY: usize = 16;

thread_local! {
    static PULSE: Pulse = const { Pulse::new() };
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

    /// How long to wait now, if the next permit comes after `permit`.
    fn wait(&self, permit: Option<Duration>, now: Monotonic) -> Duration {
        let is_answered = self.ended.get() > 0;
        let is_busy = self.is_busy(now);
        match permit.filter(|left| *left <= LONGEST) {
            Some(left) if is_answered => left.min(MOMENT),
            Some(left) => left,
            None if is_busy => MOMENT,
            None => Duration::ZERO,
        }
    }

    fn is_busy(&self, now: Monotonic) -> bool {
        let (ended, left) = (self.ended.replace(0), self.left.replace(usize::MAX));
        let passed = now.since(self.looked.replace(now));
        let is_quick = ended > 0 && passed <= BUSY * u32::try_from(ended).unwrap_or(u32::MAX);
        // Where more than half of them end from look to look, a longer wait might let all of them end.
        is_quick && left >= MANY && ended <= left
    }
}

/// A request or a dial has ended of a dispatcher of this thread that has so many others in flight.
pub(super) fn ended(left: usize) {
    PULSE.with(|pulse| pulse.ended(left));
}

/// To be called when this thread has nothing more to do before it is woken: waits a moment, if that serves.
#[allow(
    clippy::disallowed_methods,
    reason = "so long may everything wait, and several answers are found at once for it"
)]
pub fn before_park() {
    let now = Monotonic::now();
    let permit = precise::first().map(|at| at.since(now));
    let wait = PULSE.with(|pulse| pulse.wait(permit, now));
    if !wait.is_zero() {
        thread::sleep(wait);
    }
    precise::pass();
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_permit_that_comes_soon_is_slept_for_and_answers_are_looked_for_meanwhile() {
        let (micros, now) = (Duration::from_micros, Monotonic(1_000_000));
        let pulse = Pulse::new();
        assert_eq!(pulse.wait(Some(micros(200)), now), micros(200));
        assert_eq!(pulse.wait(Some(micros(0)), now), micros(0), "it has come");
        assert_eq!(pulse.wait(Some(micros(300)), now), micros(0), "there is a timer for it");
        pulse.ended(0);
        assert_eq!(pulse.wait(Some(micros(200)), now), MOMENT);
        pulse.ended(0);
        assert_eq!(pulse.wait(Some(micros(20)), now), micros(20));
        assert_eq!(pulse.wait(None, now), micros(0));
    }
}
