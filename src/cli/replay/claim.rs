//! Only one process writes a replay at a time: whoever would write it claims it first, by the marks that also keep two
//! redrives from sending one dead letter ([`Mark`]), here in the state topic beside the replay itself.
//!
//! Of two who claim, the first in the partition may write; the other sees that and says so. The claim is written anew
//! whenever it is noted how far the replay has come. Of a process that died it runs out by itself, and whoever goes on
//! waits for that. What can still happen is what can happen to a redrive: somebody is held up for longer than a claim
//! lasts in the middle of writing; then a few events are written twice, under the same delivery ids.

use super::job::Job;
use crate::cli::begun::{self, Begun};
use crate::cli::since::age;
use crate::cli::{Exit, Failure, output};
use crate::config::host;
use crate::kafka::{self, Producer, Reader};
use crate::model::clock::WallMs;
use crate::model::record::OutRecord;
use crate::model::stored::Topics;
use crate::pipeline::settle::{Done, Mark, OWN_CLAIM};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Begins the keys of the claims.
const KEY_PREFIX: &str = "claim:replay:";

/// How often it is looked whether somebody is still at it.
const LOOK: Duration = Duration::from_millis(500);

/// A claim that was written longer ago is of a process that died, whatever the clocks say.
const DEAD: Duration = Duration::from_secs(3_600);

/// What keeps others from writing a replay.
#[derive(Debug)]
pub(super) struct Claim {
    /// How people go on with the replay.
    cure: String,
    id: String,
    /// `REPLAY/PROCESS`.
    run: String,
    by: String,
    topic: Arc<str>,
    producer: Producer,
    reader: Reader,
    /// The offset after what was read.
    read: i64,
    /// The claim that counts.
    holder: Option<Mark>,
}

impl Claim {
    /// Claims a replay; waits until the claim of a process that died has run out. Fails if somebody is at it.
    pub(super) async fn take(
        reader: Reader,
        producer: &Producer,
        names: &Topics,
        begun: &Begun<Job>,
    ) -> Result<Self, Failure> {
        let mut claim = Self {
            cure: begun.cure(),
            id: begun.id.clone(),
            run: begun::process(&begun.id),
            by: host::name(),
            topic: names.state(),
            producer: producer.clone(),
            reader,
            read: 0,
            holder: None,
        };
        let dead = claim.look()?;
        claim.wait().await?;
        claim.renew().await?;
        for key in dead {
            claim.forget(key).await?;
        }
        Ok(claim)
    }

    /// Claims the replay for a while longer. Fails if somebody else has it by now.
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        self.write(Done::Claimed).await?;
        self.look()?;
        match &self.holder {
            Some(holder) if holder.run != self.run => {
                let taken = self.taken(holder);
                self.release().await?;
                Err(taken)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Others may go on with it at once.
    pub(super) async fn release(&self) -> Result<(), Failure> {
        self.write(Done::Released).await
    }

    /// Waits until nobody has it. Fails as soon as somebody who does is heard again.
    async fn wait(&mut self) -> Result<(), Failure> {
        let Some(first) = self.other().cloned() else { return Ok(()) };
        let (by, ago, seconds) = (&first.by, age(WallMs::now().since(first.at)), OWN_CLAIM.as_secs());
        output::complain(&format!(
            "{by} was at it {ago} ago; waiting until it has said nothing for {seconds} s, to be sure that it was stopped"
        ));
        while let Some(other) = self.other() {
            if *other != first {
                return Err(self.taken(other));
            }
            tokio::time::sleep(LOOK).await;
            self.look()?;
        }
        Ok(())
    }

    /// The claim of somebody else, if it counts.
    fn other(&self) -> Option<&Mark> {
        self.holder.as_ref().filter(|mark| mark.is_claim_against(&self.run, WallMs::now()))
    }

    fn taken(&self, other: &Mark) -> Failure {
        let (id, by, at, ago) = (&self.id, &other.by, other.at.rfc3339(), age(WallMs::now().since(other.at)));
        let (cure, seconds) = (&self.cure, OWN_CLAIM.as_secs());
        let message = format!(
            "replay {id} is being written by another process on {by}, which said so {ago} ago ({at}); two would write \
             its events twice\n \
             let that one end, or stop it there; when it has said nothing for {seconds} s, go on with: {cure}"
        );
        Failure::new(Exit::No, "REPLAY_TAKEN", message)
    }

    async fn write(&self, done: Done) -> Result<(), Failure> {
        let (run, by) = (self.run.clone(), self.by.clone());
        let mark = Mark { done, run, by, reason: None, at: WallMs::now() };
        self.producer.send(mark.keyed(Arc::clone(&self.topic), format!("{KEY_PREFIX}{}", self.run))).await?;
        Ok(())
    }

    /// Has Kafka forget the claim of a process that died.
    async fn forget(&self, key: Bytes) -> Result<(), Failure> {
        let record = OutRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(0),
            key: Some(key),
            value: None,
            headers: Vec::new(),
            timestamp_ms: Some(WallMs::now().0),
        };
        self.producer.send(record).await?;
        Ok(())
    }

    /// Reads on, and learns who has it. Gives the keys of claims that nobody has taken back, of whichever replay.
    fn look(&mut self) -> Result<Vec<Bytes>, kafka::Error> {
        let (now, own) = (WallMs::now(), format!("{KEY_PREFIX}{}/", self.id));
        let Self { reader, topic, read, holder, .. } = self;
        let mut dead: BTreeMap<Vec<u8>, WallMs> = BTreeMap::new();
        tokio::task::block_in_place(|| {
            reader.scan_ranges(topic, &[(0, *read, i64::MAX)], |record| {
                *read = record.position.offset + 1;
                let Some(key) = record.key().filter(|key| key.starts_with(KEY_PREFIX.as_bytes())) else {
                    return ControlFlow::Continue(());
                };
                if record.value().is_some() {
                    dead.insert(key.to_vec(), WallMs(record.timestamp_ms.unwrap_or_default()));
                } else {
                    dead.remove(key);
                }
                if let Some(mark) = Mark::read_keyed(&record).filter(|_| key.starts_with(own.as_bytes())) {
                    *holder = mark.after(holder.take());
                }
                ControlFlow::Continue(())
            })
        })?;
        dead.retain(|_, at| now.since(*at) > DEAD);
        Ok(dead.into_keys().map(Bytes::from).collect())
    }
}
