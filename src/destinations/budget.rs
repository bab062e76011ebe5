//! Budget: how many events a destination may refuse for good before it is held (delivery.md "Dead-letter budget").
//!
//! A vendor that changes its API, or a rule that went wrong, refuses everything; then the events are better kept than
//! emptied into the dead-letter topic. Pure: a window of fixed periods, counted with atomics, time as an argument.

use crate::model::clock::Monotonic;
use crate::model::resources::DeadLetterBudget;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Periods of the window. The window slides by one of them, so it is exact to a tenth.
const PERIODS: u64 = 10;

/// Counts the outcomes of the window. What a change of period loses to a race is a few outcomes of one period.
#[derive(Debug, Default)]
pub struct Budget {
    periods: [Period; 10],
}

#[derive(Debug, Default)]
struct Period {
    /// Which period since the clock began, from 1; 0 was never used.
    number: AtomicU64,
    outcomes: AtomicU32,
    refused: AtomicU32,
}

/// More was refused than the budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Refused for good within the window.
    pub refused: u32,
    /// All outcomes within the window.
    pub outcomes: u32,
}

impl Budget {
    /// Counts an outcome; a refusal may exceed the budget.
    ///
    /// # Errors
    /// It does.
    pub fn count(&self, budget: &DeadLetterBudget, refused: bool, now: Monotonic) -> Result<(), Exceeded> {
        let length = u64::try_from(budget.window.as_nanos()).unwrap_or(u64::MAX) / PERIODS;
        let current = now.0 / length.max(1) + 1;
        let Some(period) = usize::try_from(current % PERIODS).ok().and_then(|at| self.periods.get(at)) else {
            return Ok(());
        };
        let before = period.number.load(Relaxed);
        if before != current && period.number.compare_exchange(before, current, Relaxed, Relaxed).is_ok() {
            period.outcomes.store(0, Relaxed);
            period.refused.store(0, Relaxed);
        }
        period.outcomes.fetch_add(1, Relaxed);
        if !refused {
            return Ok(());
        }
        period.refused.fetch_add(1, Relaxed);
        // Not 0, which are the forgotten ones.
        let oldest = current.saturating_sub(PERIODS - 1).max(1);
        let recent = || self.periods.iter().filter(|period| period.number.load(Relaxed) >= oldest);
        let sum = |figure: fn(&Period) -> &AtomicU32| recent().map(|period| figure(period).load(Relaxed)).sum();
        let exceeded = Exceeded { refused: sum(|p| &p.refused), outcomes: sum(|p| &p.outcomes) };
        let share = u64::from(exceeded.outcomes) * u64::from(budget.percent) / 100;
        if u64::from(exceeded.refused) > share.max(u64::from(budget.max)) { Err(exceeded) } else { Ok(()) }
    }

    /// Begins anew: whoever resumes the destination has done something about it.
    pub fn forget(&self) {
        for period in &self.periods {
            period.number.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BUDGET: DeadLetterBudget = DeadLetterBudget { max: 20, percent: 5, window: Duration::from_secs(300) };

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn a_few_are_always_allowed() {
        let budget = Budget::default();
        for _ in 0..20 {
            assert_eq!(budget.count(&BUDGET, true, at(10)), Ok(()));
        }
        assert_eq!(budget.count(&BUDGET, true, at(11)), Err(Exceeded { refused: 21, outcomes: 21 }));
        budget.forget();
        assert_eq!(budget.count(&BUDGET, true, at(12)), Ok(()));
    }

    #[test]
    fn of_many_a_share_is_allowed() {
        let budget = Budget::default();
        for n in 0..10_000 {
            assert_eq!(budget.count(&BUDGET, n % 20 == 19, at(n / 100)), Ok(()), "{n}");
        }
        assert_eq!(budget.count(&BUDGET, true, at(100)), Err(Exceeded { refused: 501, outcomes: 10_001 }));
    }

    #[test]
    fn what_was_refused_before_a_resume_is_forgotten_however_young_the_process_is() {
        let budget = Budget::default();
        for n in 0..20 {
            assert_eq!(budget.count(&BUDGET, true, at(n * 4)), Ok(()), "{n}");
        }
        budget.forget();
        assert_eq!(budget.count(&BUDGET, true, at(80)), Ok(()));
    }

    #[test]
    fn what_is_long_ago_no_longer_counts() {
        let budget = Budget::default();
        for _ in 0..20 {
            assert_eq!(budget.count(&BUDGET, true, at(1)), Ok(()));
        }
        assert!(budget.count(&BUDGET, true, at(269)).is_err());
        assert_eq!(budget.count(&BUDGET, true, at(301)), Ok(()));
    }
}
