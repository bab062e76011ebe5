//! Room in the embedded broker: it keeps about 5 MB per partition and drops the oldest record beyond that, read or not.
//! So publishing waits while much of what it wrote is unread.

use crate::cli::Failure;
use crate::cli::tools::Kafka;
use crate::kafka::{Error, Lags};
use crate::model::record::Position;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes per partition that may be unread: less than half of what the broker keeps.
const MAX_UNREAD_BYTES: usize = 2 << 20;

/// Records per partition that may be unread: the broker keeps 100,000.
const MAX_UNREAD: usize = 30_000;

/// What a record costs beside its value.
const OVERHEAD: usize = 128;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// Knows what of the published records is unread.
#[derive(Debug)]
pub(super) struct Room {
    topic: String,
    groups: Vec<Lags>,
    unread: BTreeMap<i32, Unread>,
}

#[derive(Debug, Default)]
struct Unread {
    records: VecDeque<(i64, usize)>,
    bytes: usize,
}

impl Room {
    /// For a topic that these groups read; `None` if nobody reads it, for then waiting would never end.
    pub(super) fn open(kafka: &Kafka, groups: &[String], topic: &str) -> Result<Option<Self>, Error> {
        if groups.is_empty() {
            return Ok(None);
        }
        let groups = groups.iter().map(|group| Lags::open(&kafka.client, group)).collect::<Result<_, _>>()?;
        Ok(Some(Self { topic: topic.to_owned(), groups, unread: BTreeMap::new() }))
    }

    /// Notes a record that was written.
    pub(super) fn note(&mut self, position: &Position, size_bytes: usize) {
        let unread = self.unread.entry(position.partition).or_default();
        unread.records.push_back((position.offset, size_bytes + OVERHEAD));
        unread.bytes += size_bytes + OVERHEAD;
    }

    /// Waits until there is room for the next batch.
    pub(super) async fn wait(&mut self) -> Result<(), Failure> {
        let full =
            |room: &Self| room.unread.values().any(|u| u.bytes > MAX_UNREAD_BYTES || u.records.len() > MAX_UNREAD);
        while full(self) {
            self.look()?;
            if full(self) {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Forgets what every group has read.
    fn look(&mut self) -> Result<(), Error> {
        let mut read: BTreeMap<i32, i64> = BTreeMap::new();
        for lags in &self.groups {
            for lag in tokio::task::block_in_place(|| lags.of(&self.topic))? {
                let committed = lag.committed.unwrap_or(0);
                read.entry(lag.at.partition).and_modify(|least| *least = committed.min(*least)).or_insert(committed);
            }
        }
        for (partition, unread) in &mut self.unread {
            let upto = read.get(partition).copied().unwrap_or(0);
            while let Some((_, size)) = unread.records.front().filter(|(offset, _)| *offset < upto) {
                unread.bytes -= size;
                unread.records.pop_front();
            }
        }
        Ok(())
    }
}
