//! How far a replay has come, kept in the compacted topic `<prefix>.state` under `replay:ID` until it has done all, so that
//! anybody can go on with it.
//!
//! It is noted every few seconds, and when the replay is stopped, always when Kafka has all that was written before. So
//! nothing is left out; after a `kill -9` the events of the last seconds are written again, under the same delivery ids.

use super::range::{Ranges, Span};
use crate::cli::{Exit, Failure};
use crate::config::host;
use crate::kafka::{self, ClientSettings, Producer, Reader};
use crate::model::clock::WallMs;
use crate::model::record::{OutRecord, Position};
use crate::model::stored::Topics;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Begins the keys of these records.
const KEY_PREFIX: &str = "replay:";

/// What `--resume` means without a name.
pub(super) const NEWEST: &str = "newest";

/// How long one is remembered that nobody goes on with.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A replay that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Begun {
    /// Its name.
    pub(super) id: String,
    /// When it began.
    pub(super) at_ms: i64,
    /// The machine on which it did.
    pub(super) host: String,
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
    /// No faster than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<String>,
    /// What is still to be read.
    pub(super) left: Vec<Part>,
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

impl Begun {
    /// One that begins now, with all of these ranges.
    pub(super) fn new(rule: &str, targets: &[String], span: Span, rate: Option<String>, now: WallMs) -> Self {
        Self {
            id: format!("{:08x}", fastrand::u32(..)),
            at_ms: now.0,
            host: host::name(),
            rule: rule.to_owned(),
            targets: targets.to_vec(),
            from_ms: span.from.map(|from| from.0),
            to_ms: span.to.map(|to| to.0),
            rate,
            left: Vec::new(),
        }
    }

    /// When it began.
    pub(super) fn at(&self) -> WallMs {
        WallMs(self.at_ms)
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

    /// Lets everybody know how far it has come.
    pub(super) async fn save(&self, names: &Topics, producer: &Producer) -> Result<(), Failure> {
        // Strings and numbers can always be written.
        self.write(names, producer, Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default()))).await
    }

    /// Lets everybody know that it is done.
    pub(super) async fn finish(&self, names: &Topics, producer: &Producer) -> Result<(), Failure> {
        self.write(names, producer, None).await
    }

    async fn write(&self, names: &Topics, producer: &Producer, value: Option<Bytes>) -> Result<(), Failure> {
        let record = OutRecord {
            topic: names.state(),
            partition: Some(0),
            key: Some(Bytes::from(format!("{KEY_PREFIX}{}", self.id))),
            value,
            headers: Vec::new(),
            timestamp_ms: Some(WallMs::now().0),
        };
        producer.send(record).await?;
        Ok(())
    }
}

/// Those that have begun and are not done, oldest first; and those that nobody has gone on with for too long.
pub(super) fn unfinished(
    client: &ClientSettings,
    names: &Topics,
    now: WallMs,
) -> Result<(Vec<Begun>, Vec<Begun>), Failure> {
    let mut begun: BTreeMap<Vec<u8>, Begun> = BTreeMap::new();
    let read = tokio::task::block_in_place(|| {
        Reader::open(client)?.scan(&names.state(), kafka::From::Beginning, |record| {
            let Some(key) = record.key().filter(|key| key.starts_with(KEY_PREFIX.as_bytes())) else {
                return ControlFlow::Continue(());
            };
            match record.value().map(serde_json::from_slice) {
                Some(Ok(one)) => drop(begun.insert(key.to_vec(), one)),
                Some(Err(_)) => {}
                None => drop(begun.remove(key)),
            }
            ControlFlow::Continue(())
        })
    });
    read.map_err(without_topic)?;
    let mut begun: Vec<Begun> = begun.into_values().collect();
    begun.sort_by_key(|one| one.at_ms);
    Ok(begun.into_iter().partition(|one| now.since(one.at()) <= REMEMBERED))
}

/// The one with this name, or the newest.
pub(super) fn find(unfinished: Vec<Begun>, id: &str) -> Result<Begun, Failure> {
    let known: Vec<String> = unfinished.iter().map(|one| one.id.clone()).collect();
    let found = unfinished.into_iter().rfind(|one| id == NEWEST || one.id == id);
    found.ok_or_else(|| {
        let there = match known.as_slice() {
            [] => "no replay is unfinished; begin one with `tidegate replay RULE --yes`".to_owned(),
            some => format!("there is none called `{id}`; unfinished are: {}", some.join(", ")),
        };
        Failure::new(Exit::No, "REPLAY_UNKNOWN", there)
    })
}

fn without_topic(error: kafka::Error) -> Failure {
    let kafka::Error::Topic { topic, .. } = error else { return error.into() };
    let message = format!(
        "topic `{topic}` does not exist, so nobody could go on with a replay that is stopped\n \
         it is made when `tidegate run` or `dev` starts; is `kafka.prefix` the same there?"
    );
    Failure::new(Exit::Configuration, "STATE_TOPIC", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Begun {
        let span = Span { from: Some(WallMs(5)), to: Some(WallMs(9)) };
        let mut begun = Begun::new("paid", &["book".to_owned()], span, Some("5/s".to_owned()), WallMs(10));
        begun.read(&[
            Ranges { topic: Arc::from("a"), parts: vec![(0, 3, 9), (1, 0, 2)] },
            Ranges { topic: Arc::from("b"), parts: vec![(0, 7, 8)] },
        ]);
        begun
    }

    #[test]
    fn what_was_meant_comes_back() {
        let begun = begun();
        let text = serde_json::to_string(&begun).expect("JSON");
        assert_eq!(serde_json::from_str::<Begun>(&text).expect("the same"), begun);
        assert_eq!(begun.span(), Span { from: Some(WallMs(5)), to: Some(WallMs(9)) });
        assert!(serde_json::from_str::<Begun>(r#"{"id":"a","moon":1}"#).is_ok(), "of a later version");
    }

    #[test]
    fn what_was_passed_is_not_left() {
        let mut begun = begun();
        for at in ["a:0:5", "a:0:4", "a:1:1", "c:0:1", "b:1:7"] {
            begun.passed(&at.parse().expect("a position"));
        }
        let left = [
            Ranges { topic: Arc::from("a"), parts: vec![(0, 6, 9)] },
            Ranges { topic: Arc::from("b"), parts: vec![(0, 7, 8)] },
        ];
        assert_eq!(begun.ranges(), left);
    }

    #[test]
    fn it_is_found_by_name_or_as_the_newest() {
        let one = |id: &str| Begun { id: id.to_owned(), ..Begun::default() };
        let all = || vec![one("a"), one("b")];
        assert_eq!(find(all(), "a").expect("found").id, "a");
        assert_eq!(find(all(), NEWEST).expect("found").id, "b");
        assert!(find(all(), "c").expect_err("unknown").message.contains("unfinished are: a, b"));
        assert_eq!(find(Vec::new(), "a").expect_err("none").code, Exit::No);
    }
}
