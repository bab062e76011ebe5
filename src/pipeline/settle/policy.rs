//! What to do after an attempt, and with a record that waits in a retry tier (delivery.md "Failure classes").

use crate::model::clock::WallMs;
use crate::model::outcome::{Class, Report};
use crate::model::resources::{Delay, OnExhausted, RetryPolicy};
use crate::model::stored::{TIERS, Tier, UNKNOWN_TARGETS};
use std::time::Duration;

/// Attempts in a row without leaving memory.
const ATTEMPTS_IN_MEMORY: u32 = 3;

/// From the first of them to the beginning of the last.
const TIME_IN_MEMORY: Duration = Duration::from_secs(5);

/// The shortest wait between two attempts in place, whatever the policy says.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait for the destination in memory.
pub const SICK_IN_MEMORY: Duration = Duration::from_secs(1);

/// How long a tier waits for a target that nobody knows: deployments overlap.
const TIME_UNKNOWN: Duration = Duration::from_secs(3_600);

/// What is known of a delivery when an attempt has ended.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// Attempts made, the last one counted, in all processes since the last redrive.
    pub attempts: u32,
    /// When the first of them began; `max_age` counts from here.
    pub first_attempt: WallMs,
    /// Attempts made since the delivery came to this process, the last one counted.
    pub attempts_here: u32,
    /// When the first of these began.
    pub first_attempt_here: WallMs,
}

/// Where a delivery goes after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has arrived.
    Delivered,
    /// It stays where it is and is tried again.
    RetryInMemory {
        /// After this time.
        after: Duration,
    },
    /// It waits in a retry tier.
    Tier {
        /// Until then.
        due: WallMs,
    },
    /// It waits in the queue of its destination, until that can take it.
    Queue,
    /// It is given up.
    DeadLetter {
        /// The condition of the policy that ended it; `None` if the failure itself is final.
        exhausted: Option<Exhausted>,
    },
    /// It has failed for good, but stays where it is, and so does what follows it in its sequence.
    Hold {
        /// As of a dead letter.
        exhausted: Option<Exhausted>,
    },
}

/// The condition of a retry policy that ended a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Too old.
    MaxAge,
    /// Tried too often.
    MaxAttempts,
}

impl Exhausted {
    /// As in the header `tidegate-exhausted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAge => "max_age",
            Self::MaxAttempts => "max_attempts",
        }
    }
}

/// Where a delivery may wait in memory.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The lane's window is less than half full, so the delivery may stay in it for a few seconds.
    pub relaxed: bool,
    /// How long the destination takes nothing, if that is so; [`Duration::MAX`] until someone resumes it.
    pub sick: Option<Duration>,
}

/// Decides after an attempt.
///
/// The wait that the answer asked for is never cut short, and one that `responses` fix stands in for the policy's. An attempt that would come after `max_age` comes at
/// `max_age` instead, so that every delivery gets its last chance; a destination incident is not the event's fault and
/// ends it by age only. What must wait longer for the destination than for its own back-off waits in the destination's
/// queue: so does what met an incident.
#[must_use]
pub fn decide(
    report: &Report,
    history: &History,
    policy: &RetryPolicy,
    room: Room,
    now: WallMs,
    rng: &mut fastrand::Rng,
) -> Next {
    let counted = match report.class {
        Class::Success => return Next::Delivered,
        Class::Reject => return Next::DeadLetter { exhausted: None },
        Class::Transient | Class::Ambiguous | Class::Overload => true,
        Class::Incident => false,
    };
    if counted && history.attempts >= policy.max_attempts {
        return Next::DeadLetter { exhausted: Some(Exhausted::MaxAttempts) };
    }
    let left = policy.max_age.saturating_sub(now.since(history.first_attempt));
    let asked = report.wait.or(report.retry_after).unwrap_or_default();
    if left.is_zero() || asked > left {
        return Next::DeadLetter { exhausted: Some(Exhausted::MaxAge) };
    }
    let after = match report.wait {
        Some(wait) => wait,
        None => delay(&policy.delay, history.attempts, rng).max(asked).min(left),
    };
    if !counted || room.sick.is_some_and(|sick| sick > after.max(SICK_IN_MEMORY)) {
        return Next::Queue;
    }
    let here = now.since(history.first_attempt_here);
    if room.relaxed && history.attempts_here < ATTEMPTS_IN_MEMORY && here.saturating_add(after) <= TIME_IN_MEMORY {
        return Next::RetryInMemory { after };
    }
    Next::Tier { due: now.plus(after) }
}

/// The same for a delivery that others of its sequence wait for: it never leaves its place, so what would go to a tier
/// or queue is tried again here, and under `on_exhausted: hold` what would be a dead letter stays.
#[must_use]
pub fn in_order(next: Next, on_exhausted: OnExhausted, now: WallMs) -> Next {
    match (next, on_exhausted) {
        (Next::Tier { due }, _) => Next::RetryInMemory { after: due.since(now).max(SHORTEST_WAIT) },
        (Next::Queue, _) => Next::RetryInMemory { after: SICK_IN_MEMORY },
        (Next::DeadLetter { exhausted }, OnExhausted::Hold) => Next::Hold { exhausted },
        (Next::Delivered | Next::RetryInMemory { .. } | Next::DeadLetter { .. } | Next::Hold { .. }, _) => next,
    }
}

/// The wait after that many attempts.
fn delay(delay: &Delay, attempts: u32, rng: &mut fastrand::Rng) -> Duration {
    let doubled = |first: Duration, max: Duration| {
        let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(max)
    };
    match *delay {
        Delay::FullJitter { first, max } => between(Duration::ZERO, doubled(first, max), rng),
        Delay::Uniform { from, to } => between(from, to, rng),
        Delay::Exact { first, max } => doubled(first, max),
    }
}

fn between(from: Duration, to: Duration, rng: &mut fastrand::Rng) -> Duration {
    let width = u64::try_from(to.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX);
    from.saturating_add(Duration::from_nanos(rng.u64(0..=width)))
}

/// The tier for a wait: the shortest one that is long enough, else the longest, several times.
#[must_use]
pub fn tier_for(wait: Duration) -> Tier {
    let [.., longest] = TIERS;
    TIERS.into_iter().find(|tier| tier.delay >= wait).unwrap_or(longest)
}

/// What a record at the head of a tier's partition waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look again then.
    Wait(WallMs),
    /// Send it.
    Due,
    /// The tier's delay has passed and it must wait on: it goes to the end of this tier. That is no attempt.
    Reappend(Tier),
    /// Its target has been unknown for too long: dead letter `TARGET_GONE`.
    Gone,
}

/// The next step of a record whose target is known. `appended` is the record's timestamp, but not later than the time
/// it was first read here: the clock of the replica that wrote it may be ahead.
#[must_use]
pub fn tier_step(tier: Tier, due: WallMs, appended: WallMs, now: WallMs) -> Step {
    if due <= now {
        return Step::Due;
    }
    let end = appended.plus(tier.delay);
    if end <= now { Step::Reappend(tier_for(due.since(now))) } else { Step::Wait(due.min(end)) }
}

/// The next step of a record whose rule or target is not known here: when it is due it goes to the tier of unknown
/// targets, and round in that until an hour after it was due.
#[must_use]
pub fn unknown_target_step(tier: Tier, due: WallMs, appended: WallMs, now: WallMs) -> Step {
    if now.since(due) >= TIME_UNKNOWN {
        return Step::Gone;
    }
    let end = appended.plus(tier.delay);
    let until = if tier == UNKNOWN_TARGETS { end } else { due.min(end) };
    if until <= now { Step::Reappend(UNKNOWN_TARGETS) } else { Step::Wait(until) }
}
