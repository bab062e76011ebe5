//! Evacuate: which of the jobs that wait for a destination leave the line, to be stored in the destination's queue
//! (delivery.md "Destination queue"). Without it a destination that is slow or gone would fill the windows of lanes that
//! serve others too (I5).
//!
//! A destination that takes nothing (held, gate, breaker, no token) keeps nobody longer than a second. One that is only
//! slower than its events come (rate, concurrency) keeps them for as long as nobody else needs the room: a lane all
//! of whose events go there loses nothing by waiting, and its lag stays where Kafka shows it.

use super::run::Run;
use super::{Burden, Job};
use crate::model::clock::Monotonic;
use crate::telemetry::figures::destination::Wait;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Duration;

/// The longest wait for a destination in memory.
const LONGEST: Duration = Duration::from_secs(1);

/// The same where this replica has no share of the rate: with more than 32 replicas some never get one.
const WITHOUT_SHARE: Duration = Duration::from_secs(30);

/// The same of a job whose destination takes up more than [`QUARTER`] of its lane, if it is merely slow.
const CROWDED: Duration = Duration::from_millis(250);

/// What a destination may take up of a lane's window, in millionths.
const QUARTER: u32 = 250_000;

/// How often the line is looked at, and how much less often for each job in it.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_PER_JOB: Duration = Duration::from_micros(10);

/// Whether a job leaves that has waited so long, for that, while its destination takes up this share of its lane.
fn leaves(wait: Wait, waited: Duration, burden: Burden, share: u32) -> bool {
    match wait {
        Wait::Hold | Wait::Gate | Wait::Breaker | Wait::Token => waited > LONGEST || share > QUARTER,
        Wait::Rate | Wait::Concurrency | Wait::Connection => {
            burden.crowds && (waited > LONGEST || (share > QUARTER && waited > CROWDED))
        }
        Wait::NoShare => waited > WITHOUT_SHARE,
        Wait::Fence => false,
    }
}

/// Nothing is sent at all while this lasts, so that room matters at once.
fn stands_still(wait: Wait) -> bool {
    match wait {
        Wait::Hold | Wait::Gate | Wait::Breaker | Wait::Token => true,
        Wait::Rate | Wait::Concurrency | Wait::Connection | Wait::NoShare | Wait::Fence => false,
    }
}

impl<J: Job> Run<'_, J> {
    /// Lets the jobs leave that have waited too long; returns when to look again.
    pub(super) fn evacuate(&mut self, now: Monotonic) -> Option<Monotonic> {
        let Some(wait) = self.waits_for.filter(|_| self.owner.waiting() > 0) else {
            self.looks_at = None;
            return None;
        };
        let looks_at = *self.looks_at.get_or_insert(now.plus(LOOK));
        if now < looks_at {
            return Some(looks_at);
        }
        if self.owner.passes_soon(now) && !stands_still(wait) {
            // Nobody has waited long enough.
            let again = now.plus(LOOK);
            self.looks_at = Some(again);
            return Some(again);
        }
        let mut line = mem::take(&mut *self.owner.waiting.borrow_mut());
        let mut shares: HashMap<usize, u32> = HashMap::new();
        for waiting in &mut line {
            waiting.since.get_or_insert(now);
            if let Some(burden) = waiting.job.burden(now) {
                let share = shares.entry(burden.lane).or_default();
                *share = share.saturating_add(burden.parts);
            }
        }
        let mut leaving = Vec::new();
        let mut staying = VecDeque::with_capacity(line.len());
        for waiting in line {
            let waited = waiting.since.map_or(Duration::ZERO, |since| now.since(since));
            let goes = waiting.job.burden(now).is_some_and(|burden| {
                let share = shares.entry(burden.lane).or_default();
                let goes = leaves(wait, waited, burden, *share);
                if goes {
                    *share = share.saturating_sub(burden.parts);
                }
                goes
            });
            if goes { leaving.push(waiting.job) } else { staying.push_back(waiting) }
        }
        let count = u32::try_from(staying.len()).unwrap_or(u32::MAX);
        *self.owner.waiting.borrow_mut() = staying;
        // Only now that nothing is borrowed: a job may call back.
        leaving.into_iter().for_each(Job::evacuated);
        let again = now.plus(LOOK + LOOK_PER_JOB.saturating_mul(count));
        self.looks_at = Some(again);
        (count > 0).then_some(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::figures::destination::WAITS;

    #[test]
    fn who_leaves() {
        let (short, long) = (Duration::from_millis(300), Duration::from_millis(1_001));
        let burden = |crowds| Burden { lane: 1, parts: 1, crowds };
        let names = |waited, crowds, share| {
            let leaving = WAITS.into_iter().filter(|wait| leaves(*wait, waited, burden(crowds), share));
            leaving.map(Wait::as_str).collect::<Vec<_>>()
        };
        assert!(names(short, true, QUARTER).is_empty());
        assert_eq!(names(long, false, 1), ["hold", "gate", "breaker", "token"]);
        assert_eq!(names(Duration::ZERO, true, QUARTER + 1), ["hold", "gate", "breaker", "token"]);
        let all = ["hold", "gate", "breaker", "rate", "concurrency", "token", "connection"];
        assert_eq!(names(long, true, 1), all);
        assert_eq!(names(short, true, QUARTER + 1), all);
        assert_eq!(names(short, false, 1_000_000), ["hold", "gate", "breaker", "token"]);
        assert!(names(Duration::from_secs(31), true, 1).contains(&"no_share"));
    }
}
