//! Filled: which of the stored partitions that are ours hold something that nobody has settled. Only those are read:
//! thousands of empty queues would keep the others waiting for their turn to be fetched, and cost memory for nothing.
//!
//! Whoever hands a delivery over knows at once; what other replicas wrote is learned by asking for the ends of all that
//! is ours, every second or so, in a few requests. A few that were written lately stay read, so that a destination in
//! regular use never waits. What is not known yet is not read; while nobody asks at all, everything is.

use crate::kafka::{Ends, Error, TopicPartition};
use crate::model::clock::Monotonic;
use crate::model::record::Position;
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often is asked at most.
const ASK: Duration = Duration::from_secs(1);

/// The same as a multiple of how long the answers took: asking may take a twentieth of the time.
const SPARING: u32 = 20;

/// How long something that is empty counts as in use.
const REST: Duration = Duration::from_secs(30);

/// Failing for so long is worth a warning.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of one partition.
#[derive(Debug, Clone)]
struct Mark {
    /// Where it ended when Kafka was last asked.
    end: i64,
    /// How far it is settled, as last asked; it may be further by now.
    settled: i64,
    /// Where it ends at least, by what this replica has written.
    written: Arc<AtomicI64>,
    /// The last of them when Kafka was last asked.
    written_then: i64,
    /// When it was last seen to grow.
    grown: Monotonic,
}

impl Mark {
    fn is_empty(&self) -> bool {
        self.end == self.settled && self.written.load(Ordering::Relaxed) <= self.settled
    }
}

type Marks = HashMap<TopicPartition, Mark>;

/// A partition that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// Which.
    pub at: TopicPartition,
    /// It is read now: only then it may be settled further than was known.
    pub read: bool,
}

/// Knows which partitions hold something.
#[derive(Debug, Default)]
pub struct Filled {
    /// `None`: nobody asks.
    marks: ArcSwapOption<Marks>,
    /// Partitions have become ours.
    more: Notify,
    /// Something was written to a partition that held nothing.
    news: Notify,
}

impl Filled {
    /// From now on [`Filled::watch`] asks.
    pub fn begin(&self) {
        self.marks.store(Some(Arc::default()));
    }

    /// Whether this partition may hold something.
    #[must_use]
    pub fn holds(&self, at: &TopicPartition) -> bool {
        let marks = self.marks.load();
        let Some(marks) = marks.as_ref() else { return true };
        marks.get(at).is_some_and(|mark| !mark.is_empty())
    }

    /// Whether it was seen to grow a short while ago: the next record will not be long in coming.
    #[must_use]
    pub fn is_in_use(&self, at: &TopicPartition, now: Monotonic) -> bool {
        let marks = self.marks.load();
        marks.as_ref().and_then(|marks| marks.get(at)).is_some_and(|mark| now.since(mark.grown) < REST)
    }

    /// Where a partition ends, as last heard.
    #[must_use]
    pub fn end(&self, at: &TopicPartition) -> Option<i64> {
        let marks = self.marks.load();
        let mark = marks.as_ref()?.get(at)?;
        Some(mark.end.max(mark.written.load(Ordering::Relaxed)))
    }

    /// A record stands there now.
    pub fn written(&self, position: &Position) {
        let marks = self.marks.load();
        let at = TopicPartition { topic: Arc::clone(&position.topic), partition: position.partition };
        let Some(mark) = marks.as_ref().and_then(|marks| marks.get(&at)) else { return };
        let was_empty = mark.is_empty();
        mark.written.fetch_max(position.offset + 1, Ordering::Relaxed);
        if was_empty {
            self.news.notify_one();
        }
    }

    /// Partitions have become ours of which nothing is known.
    pub fn ask_soon(&self) {
        self.more.notify_one();
    }

    /// Ends when something was written to what held nothing.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Asks, for ever, after what `ours` names; `changed` hears of every answer.
    pub async fn watch(self: Arc<Self>, ends: Arc<Ends>, ours: impl Fn() -> Vec<Ours>, changed: impl Fn()) {
        let mut answered = Monotonic::now();
        let mut warned = false;
        loop {
            let (this, ends, ours, began) = (Arc::clone(&self), Arc::clone(&ends), ours(), Monotonic::now());
            match tokio::task::spawn_blocking(move || this.ask(&ends, &ours, Monotonic::now())).await {
                Ok(Ok(())) => {
                    answered = Monotonic::now();
                    warned = false;
                    changed();
                }
                Ok(Err(error)) if !warned && began.since(answered) >= PATIENCE => {
                    warned = true;
                    tracing::warn!(
                        code = error.code(), %error,
                        "cannot ask Kafka which tiers and queues hold something; what others wrote waits until it answers"
                    );
                }
                Ok(Err(error)) => tracing::debug!(%error, "the ends of tiers and queues are unknown; asking again"),
                Err(error) => tracing::error!(%error, "asking for the ends of tiers and queues"),
            }
            let pause = ASK.max(Monotonic::now().since(began) * SPARING);
            tokio::select! {
                biased;
                () = self.more.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks once: for the ends of all, and how far those are settled of which that may tell something new.
    fn ask(&self, ends: &Ends, ours: &[Ours], now: Monotonic) -> Result<(), Error> {
        let before = self.marks.load_full().unwrap_or_default();
        let all: Vec<TopicPartition> = ours.iter().map(|ours| ours.at.clone()).collect();
        let newest = if all.is_empty() { HashMap::new() } else { ends.newest(&all)? };
        let mut marks = Marks::with_capacity(ours.len());
        let mut doubtful = Vec::new();
        for Ours { at, read } in ours {
            let (mark, doubt) = match (before.get(at), newest.get(at)) {
                (Some(old), Some(&end)) => (old.seen(end, now), *read && old.is_doubtful(end)),
                (Some(old), None) => (old.clone(), false),
                (None, Some(&end)) => (Mark::new(end, now), true),
                (None, None) => continue,
            };
            if doubt {
                doubtful.push(at.clone());
            }
            marks.insert(at.clone(), mark);
        }
        let settled = if doubtful.is_empty() { HashMap::new() } else { ends.committed(&doubtful)? };
        // Without a commit reading begins at the oldest record.
        let begins: Vec<_> =
            settled.iter().filter(|(_, settled)| settled.is_none()).map(|(at, _)| at.clone()).collect();
        let oldest = if begins.is_empty() { HashMap::new() } else { ends.oldest(&begins)? };
        for at in doubtful {
            let settled = settled.get(&at).and_then(|settled| settled.or_else(|| oldest.get(&at).copied()));
            match (settled, marks.get_mut(&at)) {
                (Some(settled), Some(mark)) => mark.settled = settled,
                // Nothing was known of it, and still is not.
                (None, Some(mark)) if mark.settled == UNKNOWN => drop(marks.remove(&at)),
                (_, _) => {}
            }
        }
        self.marks.store(Some(Arc::new(marks)));
        Ok(())
    }
}

/// No offset.
const UNKNOWN: i64 = -1;

impl Mark {
    fn new(end: i64, now: Monotonic) -> Self {
        Self { end, settled: UNKNOWN, written: Arc::default(), written_then: 0, grown: now }
    }

    /// The same after Kafka has said where it ends now.
    fn seen(&self, end: i64, now: Monotonic) -> Self {
        let written = self.written.load(Ordering::Relaxed);
        let grown = if self.grows(end) { now } else { self.grown };
        Self { end, settled: self.settled, written: Arc::clone(&self.written), written_then: written, grown }
    }

    fn grows(&self, end: i64) -> bool {
        end != self.end || self.written.load(Ordering::Relaxed) != self.written_then
    }

    /// It looks filled although nothing is written to it any more: it may be settled by now.
    fn is_doubtful(&self, end: i64) -> bool {
        !self.grows(end) && !self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(1_000_000_000_000);

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("tg.queue.crm", partition)
    }

    fn filled(marks: impl IntoIterator<Item = (i32, Mark)>) -> Filled {
        let marks = marks.into_iter().map(|(partition, mark)| (at(partition), mark)).collect::<Marks>();
        let filled = Filled::default();
        filled.marks.store(Some(Arc::new(marks)));
        filled
    }

    fn mark(end: i64, settled: i64) -> Mark {
        Mark { settled, ..Mark::new(end, NOW) }
    }

    #[test]
    fn everything_is_read_while_nobody_asks_and_nothing_before_the_first_answer() {
        let filled = Filled::default();
        assert!(filled.holds(&at(0)));
        filled.begin();
        assert!(!filled.holds(&at(0)) && !filled.is_in_use(&at(0), NOW));
    }

    #[test]
    fn what_holds_something_is_told_from_what_was_used_lately() {
        let filled = filled([(0, mark(5, 5)), (1, mark(5, 3)), (2, mark(3, 5))]);
        assert!(!filled.holds(&at(0)) && filled.is_in_use(&at(0), NOW));
        assert!(!filled.is_in_use(&at(0), NOW.plus(REST)));
        assert!(filled.holds(&at(1)));
        // It was made anew: reading it finds out.
        assert!(filled.holds(&at(2)));
    }

    #[tokio::test]
    async fn what_is_written_here_is_known_at_once() {
        let filled = filled([(0, mark(5, 5))]);
        let stands = |partition, offset| Position { topic: Arc::from("tg.queue.crm"), partition, offset };
        filled.written(&stands(1, 7));
        assert!(!filled.holds(&at(1)), "another's");
        filled.written(&stands(0, 5));
        filled.news().await;
        assert!(filled.holds(&at(0)));
        assert_eq!(filled.end(&at(0)), Some(6));
    }

    #[test]
    fn only_what_has_come_to_rest_is_asked_about_again() {
        let old = mark(9, 5);
        assert!(old.is_doubtful(9));
        assert!(!old.is_doubtful(10), "it grows");
        assert!(!mark(9, 9).is_doubtful(9), "it is known to be empty");
        old.written.store(12, Ordering::Relaxed);
        assert!(!old.is_doubtful(9));
        let later = NOW.plus(REST);
        let seen = old.seen(12, later);
        assert_eq!((seen.end, seen.grown, seen.is_doubtful(12)), (12, later, true));
    }
}
