//! How long something takes, in CPU time of the thread where the system tells it (Linux).

use std::time::{Duration, Instant};

/// CPU time of this thread, or wall time.
pub(super) struct Clock(Instant);

impl Clock {
    /// Begins with now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// What is measured.
    pub(super) fn kind() -> &'static str {
        if Self::cpu().is_some() { "CPU time of the thread" } else { "wall time" }
    }

    fn cpu() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanos: u64 = text.split_whitespace().next()?.parse().ok()?;
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Time since some begin.
    pub(super) fn now(&self) -> Duration {
        Self::cpu().unwrap_or_else(|| self.0.elapsed())
    }

    /// Time per call of `work`, the least of several rounds.
    pub(super) fn time(&self, calls: usize, mut work: impl FnMut(usize)) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let mut done = 0;
            let start = self.now();
            // Long enough for a clock that ticks in milliseconds.
            let taken = loop {
                (0..calls).for_each(&mut work);
                done += calls;
                let taken = self.now() - start;
                if taken > Duration::from_millis(250) {
                    break taken;
                }
            };
            best = best.min(taken / u32::try_from(done).unwrap());
        }
        best
    }
}
