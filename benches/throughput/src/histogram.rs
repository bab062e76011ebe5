//! How long things took: counts per bucket, each bucket 3 % wide, from 1 µs to hours. Written by one thread, read by any.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets per doubling.
const FINE: u64 = 32;
const BUCKETS: usize = 32 * FINE as usize;

/// Times, in microseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<AtomicU64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

fn bucket(us: u64) -> usize {
    if us < FINE {
        return us as usize;
    }
    let exponent = u64::from(us.ilog2()) - u64::from(FINE.ilog2());
    let place = (exponent + 1) * FINE + ((us >> exponent) - FINE);
    (place as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket as f64 + 0.5;
    }
    let exponent = bucket / FINE - 1;
    let low = (FINE + bucket % FINE) << exponent;
    low as f64 + (1_u64 << exponent) as f64 / 2.0
}

impl Histogram {
    /// Counts a time.
    pub(crate) fn record(&self, us: u64) {
        let count = &self.counts[bucket(us)];
        // One thread writes.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// What was counted so far, to be subtracted later.
    pub(crate) fn snapshot(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The time that a share of those counted since `earlier` stayed below, in milliseconds.
    pub(crate) fn since(&self, earlier: &[u64], share: f64) -> Option<f64> {
        let counts: Vec<u64> = self.snapshot().iter().zip(earlier).map(|(now, then)| now - then).collect();
        let total: u64 = counts.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        counts
            .iter()
            .position(|count| {
                seen += count;
                seen >= wanted
            })
            .map(|bucket| middle(bucket) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_right_to_three_percent() {
        let histogram = Histogram::default();
        let before = histogram.snapshot();
        (1..=100_000).for_each(|us| histogram.record(us));
        for share in [0.01, 0.5, 0.99] {
            let said = histogram.since(&before, share).unwrap();
            let right = 100.0 * share;
            assert!((said / right - 1.0).abs() < 0.03, "{share}: {said}");
        }
        assert_eq!(histogram.since(&histogram.snapshot(), 0.5), None);
    }
}
