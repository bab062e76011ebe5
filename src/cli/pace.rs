//! How fast tools send to a destination, where nobody says so.

use crate::model::clock::Monotonic;
use crate::model::units::Rate;
use crate::pipeline::snapshot::CompiledTarget;
use std::collections::BTreeMap;
use std::time::Duration;

/// Towards a destination without a limit.
const DEFAULT_RATE: Rate = Rate { requests: 50, per: Duration::from_secs(1) };

/// The strictest limit of the target's destination, or 50/s.
pub(super) fn of(target: &CompiledTarget) -> Rate {
    let limits = target.destination.resource().rate_limits.iter().map(|limit| limit.rate);
    limits.min_by(|a, b| a.per_second().total_cmp(&b.per_second())).unwrap_or(DEFAULT_RATE)
}

/// When each destination may be sent the next one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: BTreeMap<String, (Rate, Monotonic)>,
}

impl Turns {
    /// Takes the destination's next turn.
    pub(super) fn take(&mut self, destination: &str, rate: impl FnOnce() -> Rate, now: Monotonic) -> Monotonic {
        let (rate, next) = self.next.entry(destination.to_owned()).or_insert_with(|| (rate(), Monotonic::default()));
        let at = (*next).max(now);
        *next = at.plus(rate.per / rate.requests.max(1));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_a_destination_are_apart() {
        let rate = || Rate { requests: 2, per: Duration::from_secs(1) };
        let mut turns = Turns::default();
        let at = |ms| Monotonic::default().plus(Duration::from_millis(ms));
        let mut take = |name, now| turns.take(name, rate, at(now));
        let taken = [take("a", 100), take("a", 100), take("b", 100), take("a", 150), take("a", 9_000)];
        assert_eq!(taken, [100, 600, 100, 1_100, 9_000].map(at));
    }
}
