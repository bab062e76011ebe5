//! Keeps the whole process within `delivery.memory_budget`, whatever takes it: what is measured decides how much of the
//! events' part may be used.
//!
//! What thousands of destinations, partitions and topics take besides events can be estimated, and is (`options`); the
//! estimate is wrong where the client, the allocator or a burst takes more. So ten times a second it is looked how much
//! memory the process has, and events are given what is left of the budget. It needs no memory of its own past: what
//! would be taken if all that is allowed were used follows from what is taken now and what events hold of it.

use crate::config::host;
use crate::pipeline::ticket::{Budget, WHOLE};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);

/// Of the budget one such part is left free, for what comes between two looks.
const SPARE: u64 = 8;

/// So small a part of what is for events is always allowed, lest nothing moves.
const LEAST: usize = WHOLE / 16;

/// So many looks in a row with the least and still above the budget are told, once.
const TELL: u32 = 50;

/// What it is known by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// What the process may take, in bytes.
    pub(super) budget_bytes: u64,
    /// What of it windows and prefetched records take when all of them is allowed, in bytes.
    pub(super) events_bytes: u64,
}

impl Limits {
    /// How much of what is for events may be used, in [`WHOLE`]ths, when the process takes `resident_bytes` of which
    /// windows hold `held_bytes`.
    fn allowed(&self, resident_bytes: u64, held_bytes: u64) -> usize {
        let budget = self.budget_bytes - self.budget_bytes / SPARE;
        let left = budget.saturating_add(held_bytes).saturating_sub(resident_bytes);
        let whole = u64::try_from(WHOLE).unwrap_or(u64::MAX);
        let parts = left.saturating_mul(whole) / self.events_bytes.max(1);
        usize::try_from(parts).unwrap_or(WHOLE).clamp(LEAST, WHOLE)
    }
}

/// Looks for as long as it is polled; where the system does not tell what a process takes, all is allowed.
pub(super) async fn watch(limits: Limits, budget: Arc<Budget>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut short = 0_u32;
    loop {
        looks.tick().await;
        let Some(resident_bytes) = host::resident_bytes() else { return };
        let held_bytes = u64::try_from(budget.used_bytes()).unwrap_or(u64::MAX);
        let parts = limits.allowed(resident_bytes, held_bytes);
        budget.allow(parts);
        short = if parts == LEAST && resident_bytes > limits.budget_bytes { short.saturating_add(1) } else { 0 };
        if short == TELL {
            let (mib, of) = (resident_bytes >> 20, limits.budget_bytes >> 20);
            tracing::warn!(
                code = "MEMORY_SHORT",
                "the process takes {mib} MiB with hardly any events in memory, and `delivery.memory_budget` is {of} MiB: \
                 everything goes on, slowly. Give it more, or have fewer destinations or partitions for each replica"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits { budget_bytes: 256 * MIB, events_bytes: 160 * MIB };

    #[test]
    fn a_program_that_takes_little_has_all_for_events() {
        assert_eq!(LIMITS.allowed(35 * MIB, 0), WHOLE);
        // All that is for events is used, and a third of it in windows.
        assert_eq!(LIMITS.allowed((35 + 160) * MIB, 64 * MIB), 595);
        assert_eq!(LIMITS.allowed((20 + 130) * MIB, 100 * MIB), WHOLE);
    }

    #[test]
    fn what_is_allowed_fits_beside_whatever_else_is_taken() {
        for program in (0..400).step_by(10) {
            let mut parts = WHOLE;
            // Events fill what they may; of it three fifths are prefetched and not known.
            for _ in 0..50 {
                let events = LIMITS.events_bytes * u64::try_from(parts).unwrap() / 1_024;
                parts = LIMITS.allowed(program * MIB + events, events * 2 / 5);
            }
            let events = LIMITS.events_bytes * u64::try_from(parts).unwrap() / 1_024;
            let all = program * MIB + events;
            assert!(all <= LIMITS.budget_bytes || parts == LEAST, "{program} MiB and {parts} parts");
            let idle = LIMITS.allowed(program * MIB, 0);
            let filled = program * MIB + LIMITS.events_bytes * u64::try_from(idle).unwrap() / 1_024;
            assert!(filled <= LIMITS.budget_bytes || idle == LEAST, "{program} MiB and {idle} parts");
        }
    }

    #[test]
    fn something_is_always_allowed() {
        assert_eq!(LIMITS.allowed(900 * MIB, 0), LEAST);
        assert_eq!(LIMITS.allowed(u64::MAX, u64::MAX), LEAST);
    }
}
