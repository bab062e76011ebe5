//! Time of a schedule: tokio's paused clock, which jumps to the next timer whenever nobody has anything to do, and a
//! time of day that follows it, shifted for each replica.

use std::cell::Cell;
use std::time::{Duration, Instant};
use tidegate::model::clock::{Source, WallMs, set_source};

/// The time of day at which every schedule begins.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// How often somebody looks who looks now and then; and when nothing but tiers is waited for, which takes hours.
const LOOK_MS: (u64, u64) = (500, 4_000);

thread_local! {
    /// From here on nothing but tiers is waited for.
    static QUIET_MS: Cell<u64> = const { Cell::new(u64::MAX) };
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    static SHIFT_MS: Cell<i64> = const { Cell::new(0) };
    static DYING: Cell<bool> = const { Cell::new(false) };
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn time_of_day() -> WallMs {
    WallMs(EPOCH_MS + SHIFT_MS.get() + i64::try_from(elapsed().as_millis()).unwrap())
}

/// Since the schedule began.
pub(crate) fn elapsed() -> Duration {
    now().saturating_duration_since(START.get().unwrap())
}

/// The same in nanoseconds.
pub(crate) fn ns() -> u64 {
    u64::try_from(elapsed().as_nanos()).unwrap()
}

/// The same in milliseconds.
pub(crate) fn ms() -> u64 {
    u64::try_from(elapsed().as_millis()).unwrap()
}

/// The true time of day.
pub(crate) fn true_ms() -> i64 {
    EPOCH_MS + i64::try_from(elapsed().as_millis()).unwrap()
}

/// Makes this thread's time that of the runtime it is in.
pub(crate) fn begin() {
    START.set(Some(now()));
    SHIFT_MS.set(0);
    DYING.set(false);
    QUIET_MS.set(u64::MAX);
    // Not from zero on, which means "never" in some places.
    let origin = now().checked_sub(Duration::from_secs(1)).unwrap();
    set_source(Some(Source { origin, now, time_of_day }));
}

/// Runs `work` with a clock on the wall that is wrong by so much.
pub(crate) fn shifted<T>(by_ms: i64, work: impl FnOnce() -> T) -> T {
    let before = SHIFT_MS.replace(by_ms);
    let done = work();
    SHIFT_MS.set(before);
    done
}

/// Runs `end`, which drops what a process that ends without a word leaves behind.
pub(crate) fn dying(end: impl FnOnce()) {
    DYING.set(true);
    end();
    DYING.set(false);
}

/// The schedule is over: what is left is dropped.
pub(crate) fn end() {
    DYING.set(true);
}

/// Whether what is dropped now was meant to be.
pub(crate) fn is_dying() -> bool {
    DYING.get()
}

/// From then on everything takes its time.
pub(crate) fn quiet_from(ms: u64) {
    QUIET_MS.set(ms);
}

/// How long to wait before looking again.
pub(crate) fn look_ms() -> u64 {
    if ms() < QUIET_MS.get() { LOOK_MS.0 } else { LOOK_MS.1 }
}

/// Sleeps.
pub(crate) async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
