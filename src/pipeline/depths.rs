//! Depths: how much waits in the queues of destinations, and for how long. Asked of Kafka now and then, by the owner of
//! each queue, whether that is read now or not: the backlog of a dead destination is what people want to know.

use crate::kafka::{ClientSettings, Ends, Error, Lag, Reader, TopicPartition};
use crate::model::stored::Topics;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// How often is asked.
const ASK: Duration = Duration::from_secs(15);

/// Queues whose first record is read in one round, to learn how long it waits.
const LOOKED_INTO: usize = 50;

/// What lies in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Records that nobody has settled.
    pub waiting: u64,
    /// When the first of them was put there, in milliseconds since 1970, if it was looked at.
    pub oldest_ms: Option<i64>,
    /// Where the first of them stands.
    next: i64,
    committed: Option<i64>,
}

/// What lies in the queues whose slots are ours.
#[derive(Debug)]
pub struct Depths {
    client: ClientSettings,
    ends: Arc<Ends>,
    topics: Topics,
    found: ArcSwap<BTreeMap<String, Depth>>,
}

impl Depths {
    /// Knows nothing yet. `ends` asks for the group under which queues are committed.
    #[must_use]
    pub fn new(client: ClientSettings, ends: Arc<Ends>, topics: Topics) -> Self {
        Self { client, ends, topics, found: ArcSwap::default() }
    }

    /// What lies in the queue of a destination, if it is ours.
    #[must_use]
    pub fn of(&self, destination: &str) -> Option<Depth> {
        self.found.load().get(destination).copied()
    }

    /// How far each of the queues is settled.
    #[must_use]
    pub fn committed(&self) -> Vec<(TopicPartition, i64)> {
        let found = self.found.load();
        let committed = found.iter().filter_map(|(name, depth)| Some((name, depth.committed?)));
        committed.map(|(name, offset)| (TopicPartition::new(self.topics.queue(name), 0), offset)).collect()
    }

    /// Asks, for ever; `ours` names the destinations whose queues are ours.
    pub async fn watch(self: Arc<Self>, ours: impl Fn() -> Vec<String>) {
        loop {
            tokio::time::sleep(ASK).await;
            let (this, ours) = (Arc::clone(&self), ours());
            match tokio::task::spawn_blocking(move || this.measure(&ours)).await {
                Ok(Ok(found)) => self.found.store(Arc::new(found)),
                Ok(Err(error)) => tracing::debug!(%error, "the depths of queues are unknown; asking again"),
                Err(error) => tracing::error!(%error, "asking for the depths of queues"),
            }
        }
    }

    fn measure(&self, ours: &[String]) -> Result<BTreeMap<String, Depth>, Error> {
        if ours.is_empty() {
            return Ok(BTreeMap::new());
        }
        let queues: Vec<TopicPartition> =
            ours.iter().map(|name| TopicPartition::new(self.topics.queue(name), 0)).collect();
        let (newest, oldest) = (self.ends.newest(&queues)?, self.ends.oldest(&queues)?);
        let committed = self.ends.committed(&queues)?;
        let before = self.found.load();
        let mut reader = None;
        let mut looked_into = 0;
        let mut found = BTreeMap::new();
        for (name, at) in ours.iter().zip(queues) {
            let (Some(&high), Some(&low), Some(&committed)) = (newest.get(&at), oldest.get(&at), committed.get(&at))
            else {
                continue;
            };
            let lag = Lag { at, low, high, committed };
            let mut depth = depth(&lag);
            let known = before.get(name).filter(|known| known.next == depth.next).and_then(|known| known.oldest_ms);
            depth.oldest_ms = known.filter(|_| depth.waiting > 0);
            if depth.waiting > 0 && known.is_none() && looked_into < LOOKED_INTO {
                looked_into += 1;
                let reader = match &mut reader {
                    Some(reader) => reader,
                    none => none.insert(Reader::open(&self.client)?),
                };
                reader.scan_offsets(&lag.at.topic, &HashMap::from([(0, depth.next)]), |record| {
                    depth.oldest_ms = record.timestamp_ms;
                    ControlFlow::Break(())
                })?;
            }
            found.insert(name.clone(), depth);
        }
        Ok(found)
    }
}

fn depth(lag: &Lag) -> Depth {
    let next = lag.committed.unwrap_or(lag.low).max(lag.low);
    Depth { waiting: lag.unread(), oldest_ms: None, next, committed: lag.committed.filter(|offset| *offset > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_what_nobody_has_settled() {
        let lag = |committed| Lag { at: TopicPartition::new("tg.queue.crm", 0), low: 5, high: 25, committed };
        let depths = [None, Some(0), Some(20), Some(25)].map(|committed| depth(&lag(committed)));
        assert_eq!(depths.map(|depth| (depth.waiting, depth.next)), [(20, 5), (20, 5), (5, 20), (0, 25)]);
        assert_eq!(depths.map(|depth| depth.committed), [None, None, Some(20), Some(25)]);
    }
}
