//! Ids of events that we make: ULIDs (48 bits of milliseconds, 80 bits of chance, in Crockford's base 32), so that
//! they sort by time; within a millisecond each is one above the last.

use crate::model::clock::WallMs;

/// Crockford's alphabet: no I, L, O, U.
const DIGITS: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P',
    'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// Bits of chance.
const CHANCE: u32 = 80;

/// Makes ids.
#[derive(Debug)]
pub(super) struct Ids {
    rng: fastrand::Rng,
    last: u128,
}

impl Ids {
    /// With this source of chance.
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, last: 0 }
    }

    /// A fresh id, above all before.
    pub(super) fn next(&mut self, now: WallMs) -> String {
        let ms = u128::from(now.0.max(0).unsigned_abs()) & ((1 << 48) - 1);
        // The top bit of the chance stays free, so that counting up never reaches the milliseconds.
        let fresh = (ms << CHANCE) | self.rng.u128(..1 << (CHANCE - 1));
        self.last = fresh.max(self.last + 1);
        let digit = |at: u32| {
            let value = usize::try_from((self.last >> (5 * at)) & 31).unwrap_or(0);
            DIGITS.get(value).copied().unwrap_or('0')
        };
        (0..26).rev().map(digit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_in_order() {
        let mut ids = Ids::new(fastrand::Rng::with_seed(1));
        // A clock that stands still, and one that steps back.
        let times = [5, 5, 5, 4, 1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 9];
        let made: Vec<String> = times.iter().cycle().take(4_000).map(|ms| ids.next(WallMs(*ms))).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "in order");
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len(), "unique");
        assert!(made.iter().all(|id| id.len() == 26 && id.chars().all(|c| DIGITS.contains(&c))));
    }

    #[test]
    fn the_time_stands_in_front() {
        // The example of the specification of ULIDs: 1469918176385 ms begin with 01ARYZ6S41.
        let id = Ids::new(fastrand::Rng::with_seed(2)).next(WallMs(1_469_918_176_385));
        assert_eq!(id.get(..10), Some("01ARYZ6S41"));
    }
}
