//! Who writes into the ledger, and learns from it whether a letter may be sent.
//!
//! A letter is claimed, then sent, then marked as redriven. Of two who claim it, the first in its partition may send;
//! the other sees that and leaves it. What can still happen: somebody is held up for longer than a claim lasts between
//! looking and sending; then a letter is sent twice, under the same delivery id. A process that dies between claim and
//! mark leaves a claim of which nobody knows whether it was sent: whoever comes later looks into the retry tier and the
//! trace before claiming it anew.

use super::book::{Book, Entry, State, delivery};
use super::desk::Desk;
use crate::cli::Failure;
use crate::cli::begun;
use crate::config::host;
use crate::kafka::{self, Producer};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::record::Position;
use crate::model::stored::StoredHeaders;
use crate::pipeline::settle::{self, Done, Mark};
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A claim that was written longer ago is not relied on: whoever goes on with this redrive need not respect it much
/// longer.
const RELIED_ON: Duration = Duration::from_secs(10);

/// Clocks that differ by less change nothing.
const CLOCKS: Duration = Duration::from_secs(5);

/// Writes into the ledger.
#[derive(Debug)]
pub(super) struct Clerk<'d> {
    desk: &'d Desk,
    producer: Producer,
    /// `REDRIVE/PROCESS`.
    run: String,
    by: String,
}

/// Claims of a batch.
#[derive(Debug)]
pub(super) struct Claims {
    /// Letters that may be sent.
    pub(super) won: Vec<usize>,
    since: Monotonic,
}

impl Claims {
    /// Whether they still keep others away.
    pub(super) fn hold(&self, now: Monotonic) -> bool {
        now.since(self.since) < RELIED_ON
    }
}

impl<'d> Clerk<'d> {
    /// For the redrive `id`.
    pub(super) fn new(desk: &'d Desk, id: &str) -> Result<Self, Failure> {
        let producer = Producer::connect(&desk.kafka.client)?;
        Ok(Self { desk, producer, run: begun::process(id), by: host::name() })
    }

    /// Who writes the records.
    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Whether somebody else is about to send a letter.
    pub(super) fn is_busy(&self, entry: &Entry, now: WallMs) -> bool {
        entry.mark.as_ref().is_some_and(|mark| mark.is_claim_against(&self.run, now))
    }

    /// Whether it was claimed by somebody who may have sent it before he ended.
    pub(super) fn is_uncertain(&self, entry: &Entry, now: WallMs) -> bool {
        let claimed = entry.mark.as_ref().is_some_and(|mark| matches!(mark.done, Done::Claimed | Done::Forced));
        claimed && !self.is_busy(entry, now)
    }

    /// Notes something in the ledger.
    pub(super) async fn note(&self, letter: &Position, done: Done, reason: Option<&str>) -> Result<Position, Failure> {
        let mark = self.mark(done, reason);
        Ok(self.producer.send(mark.record(letter)).await?)
    }

    fn mark(&self, done: Done, reason: Option<&str>) -> Mark {
        let reason = reason.map(str::to_owned);
        Mark { done, run: self.run.clone(), by: self.by.clone(), reason, at: WallMs::now() }
    }

    /// Claims these letters; whoever was first has them.
    pub(super) async fn claim(&self, book: &mut Book, letters: &[usize], force: bool) -> Result<Claims, Failure> {
        let since = Monotonic::now();
        let done = if force { Done::Forced } else { Done::Claimed };
        let places: Vec<Position> =
            letters.iter().filter_map(|index| book.entries.get(*index)).map(|entry| book.position(entry)).collect();
        let written = join_all(places.iter().map(|place| self.note(place, done, None))).await;
        let written = written.into_iter().collect::<Result<Vec<Position>, Failure>>()?;
        self.look(book, &written)?;
        let mine = |index: &&usize| {
            let mark = book.entries.get(**index).and_then(|entry| entry.mark.as_ref());
            mark.is_some_and(|mark| mark.run == self.run && matches!(mark.done, Done::Claimed | Done::Forced))
        };
        Ok(Claims { won: letters.iter().filter(mine).copied().collect(), since })
    }

    /// Reads the ledger up to these marks.
    fn look(&self, book: &mut Book, marks: &[Position]) -> Result<(), kafka::Error> {
        let mut ranges: BTreeMap<Arc<str>, BTreeMap<i32, (i64, i64)>> = BTreeMap::new();
        for Position { topic, partition, offset } in marks {
            let from = book.read.get(&(Arc::clone(topic), *partition)).copied().unwrap_or_default();
            let range = ranges.entry(Arc::clone(topic)).or_default().entry(*partition).or_insert((from, from));
            range.1 = range.1.max(offset + 1);
        }
        for (topic, partitions) in ranges {
            let parts: Vec<_> = partitions.iter().map(|(partition, (from, to))| (*partition, *from, *to)).collect();
            self.desk.read(|reader| {
                reader.scan_ranges(&topic, &parts, |record| {
                    if let Some((letter, mark)) = Mark::read(&record) {
                        book.mark(&topic, record.position.partition, letter, mark);
                    }
                    ControlFlow::Continue(())
                })
            })?;
            for (partition, _, to) in parts {
                book.read.insert((Arc::clone(&topic), partition), to);
            }
        }
        Ok(())
    }

    /// Of these letters, whose claims nobody kept: those that were sent all the same, as the retry tier tells. They are
    /// marked so.
    pub(super) async fn find_sent(&self, book: &mut Book, letters: &[usize]) -> Result<usize, Failure> {
        let mut wanted: HashMap<(u128, u32), usize> = HashMap::new();
        let mut since: Option<WallMs> = None;
        for index in letters {
            let Some(entry) = book.entries.get(*index) else { continue };
            wanted.extend(entry.delivery.map(|id| ((id, entry.redrives.saturating_add(1)), *index)));
            since = since.into_iter().chain(entry.mark.as_ref().map(|mark| mark.at)).min();
        }
        let Some(since) = since else { return Ok(0) };
        let since = WallMs(since.0.saturating_sub(i64::try_from(CLOCKS.as_millis()).unwrap_or_default()));
        let tier = self.desk.names.retry(settle::due_tier());
        let mut found = Vec::new();
        self.desk.read(|reader| {
            reader.scan(&tier, kafka::From::Time(since), |record| {
                if let Ok(StoredHeaders { delivery: Some(address), redrives, .. }) = StoredHeaders::read(&record) {
                    let id = delivery(&address.delivery_id);
                    found.extend(id.and_then(|id| wanted.remove(&(id, redrives))));
                }
                ControlFlow::Continue(())
            })
        })?;
        for index in &found {
            let Some(place) = book.entries.get(*index).map(|entry| book.position(entry)) else { continue };
            self.note(&place, Done::Redriven, None).await?;
            if let Some(entry) = book.entries.get_mut(*index) {
                entry.mark = Some(Box::new(self.mark(Done::Redriven, None)));
            }
        }
        let told = |index: &&usize| book.entries.get(**index).is_some_and(|entry| entry.state() == State::Redriven);
        Ok(letters.iter().filter(told).count())
    }
}
