//! What a replay was told to do, and how far it has come.
//!
//! It is noted every few seconds, and when the replay is stopped, always when Kafka has all that was written before. So
//! nothing is left out; after a `kill -9` the events of the last seconds are written again, under the same delivery ids.

use super::range::{Ranges, Span};
use crate::cli::begun;
use crate::kafka::{self, Reader};
use crate::model::clock::WallMs;
use crate::model::record::Position;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long one is remembered that nobody goes on with.
pub(super) const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Told to a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    /// Its rule.
    pub(super) rule: String,
    /// These targets only, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) targets: Vec<String>,
    /// Events since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_ms: Option<i64>,
    /// Events before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_ms: Option<i64>,
    /// What is still to be read.
    pub(super) left: Vec<Part>,
}

impl begun::Job for Job {
    const NOUN: &'static str = "replay";
    const COMMAND: &'static str = "tidegate replay";
    const BEGIN: &'static str = "tidegate replay RULE --yes";
    const UNKNOWN: &'static str = "REPLAY_UNKNOWN";

    fn subject(&self) -> String {
        format!(" of {}", self.rule)
    }
}

/// A part of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    /// Topic.
    pub(super) topic: String,
    /// Partition.
    pub(super) partition: i32,
    /// The first offset.
    pub(super) from: i64,
    /// The offset after the last.
    pub(super) to: i64,
}

impl Job {
    /// With nothing to be read yet.
    pub(super) fn new(rule: &str, targets: &[String], span: Span) -> Self {
        Self {
            rule: rule.to_owned(),
            targets: targets.to_vec(),
            from_ms: span.from.map(|from| from.0),
            to_ms: span.to.map(|to| to.0),
            left: Vec::new(),
        }
    }

    /// The events that it means.
    pub(super) fn span(&self) -> Span {
        Span { from: self.from_ms.map(WallMs), to: self.to_ms.map(WallMs) }
    }

    /// This is to be read.
    pub(super) fn read(&mut self, ranges: &[Ranges]) {
        let parts = |ranges: &Ranges| {
            let topic = ranges.topic.to_string();
            ranges
                .parts
                .iter()
                .map(move |(partition, from, to)| Part {
                    topic: topic.clone(),
                    partition: *partition,
                    from: *from,
                    to: *to,
                })
                .collect::<Vec<_>>()
        };
        self.left = ranges.iter().flat_map(parts).collect();
    }

    /// What is left, by topic.
    pub(super) fn ranges(&self) -> Vec<Ranges> {
        let mut topics: BTreeMap<&str, Vec<(i32, i64, i64)>> = BTreeMap::new();
        for part in self.left.iter().filter(|part| part.from < part.to) {
            topics.entry(&part.topic).or_default().push((part.partition, part.from, part.to));
        }
        topics.into_iter().map(|(topic, parts)| Ranges { topic: Arc::from(topic), parts }).collect()
    }

    /// The record at a position is done with, and all before it in its partition.
    pub(super) fn passed(&mut self, at: &Position) {
        let own = |part: &&mut Part| part.partition == at.partition && *part.topic == *at.topic;
        if let Some(part) = self.left.iter_mut().find(own) {
            part.from = part.from.max(at.offset + 1);
        }
    }

    /// How many of the records that are left Kafka has deleted by now.
    pub(super) fn gone(&self, reader: &Reader) -> Result<u64, kafka::Error> {
        let mut gone = 0;
        for Ranges { topic, parts } in self.ranges() {
            let lows: BTreeMap<i32, i64> =
                reader.span(&topic, None, None)?.into_iter().map(|(partition, low, _)| (partition, low)).collect();
            for (partition, from, to) in parts {
                let low = lows.get(&partition).copied().unwrap_or(to);
                gone += u64::try_from(low.min(to).saturating_sub(from)).unwrap_or(0);
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::begun::Begun;

    fn job() -> Job {
        let span = Span { from: Some(WallMs(5)), to: Some(WallMs(9)) };
        let mut job = Job::new("paid", &["book".to_owned()], span);
        job.read(&[
            Ranges { topic: Arc::from("a"), parts: vec![(0, 3, 9), (1, 0, 2)] },
            Ranges { topic: Arc::from("b"), parts: vec![(0, 7, 8)] },
        ]);
        job
    }

    #[test]
    fn what_was_meant_comes_back() {
        let begun = Begun::new(job(), None, WallMs(10));
        let text = serde_json::to_string(&begun).expect("JSON");
        assert_eq!(serde_json::from_str::<Begun<Job>>(&text).expect("the same"), begun);
        assert_eq!(begun.job.span(), Span { from: Some(WallMs(5)), to: Some(WallMs(9)) });
    }

    #[test]
    fn what_was_passed_is_not_left() {
        let mut job = job();
        for at in ["a:0:5", "a:0:4", "a:1:1", "c:0:1", "b:1:7"] {
            job.passed(&at.parse().expect("a position"));
        }
        let left = [
            Ranges { topic: Arc::from("a"), parts: vec![(0, 6, 9)] },
            Ranges { topic: Arc::from("b"), parts: vec![(0, 7, 8)] },
        ];
        assert_eq!(job.ranges(), left);
    }
}
