//! `Holds`: what stops destinations until someone resumes them, for all replicas and across restarts (delivery.md
//! "Holds").
//!
//! The topic `<prefix>.state` has the last word. It is read to its end before anything is sent, and followed from there
//! by a thread of its own; a hold that begins by itself in this process (410, dead-letter budget) counts here at once
//! and is written there by a task, for as long as it takes. Everybody applies the records in their order, so that all
//! replicas agree, whoever was first.

use crate::destinations::hold::{Begun, Notice, Post};
use crate::kafka::{self, ClientSettings, Producer, Reader};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::hold::{HoldRecord, SequenceHold};
use crate::model::name::Name;
use crate::model::record::{OutRecord, Record};
use crate::model::stored::Topics;
use crate::pipeline::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the thread waits for a record before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// Until every broker has heard of the topic, which may just have been made.
const SPREADING: Duration = Duration::from_secs(10);

/// When something is tried again that Kafka did not do.
const AGAIN: Duration = Duration::from_secs(1);

/// What is kept of the holds of this deployment.
#[derive(Debug)]
pub struct Holds {
    topics: Topics,
    snapshot: Arc<ArcSwap<Snapshot>>,
    kept: Mutex<Kept>,
}

/// As it stands in the topic.
#[derive(Debug, Default)]
struct Kept {
    /// Also of destinations that the resources do not have now.
    destinations: BTreeMap<Name, HoldRecord>,
    /// Sequences whose destination was not resumed since.
    sequences: BTreeMap<String, SequenceHold>,
    /// Sequences whose records need not stand there any more.
    over: Vec<String>,
}

impl Kept {
    /// Takes in a record about a destination. One that resumes it ends the holds of its sequences.
    fn take(&mut self, name: Name, hold: HoldRecord) {
        if hold.hold.is_none() {
            let over = self.sequences.iter().filter(|(_, held)| held.destination == name.as_str());
            let over: Vec<String> = over.map(|(key, _)| key.clone()).collect();
            over.iter().for_each(|key| drop(self.sequences.remove(key)));
            self.over.extend(over);
        }
        self.destinations.insert(name, hold);
    }

    /// Takes in a record about a sequence. Gives what was known of it.
    fn take_sequence(&mut self, key: String, hold: Option<SequenceHold>) -> Option<SequenceHold> {
        self.over.retain(|over| *over != key);
        match hold {
            Some(hold) => self.sequences.insert(key, hold),
            None => self.sequences.remove(&key),
        }
    }
}

/// Keeps holds until it is told to stop.
#[derive(Debug)]
pub struct Keeper {
    holds: Arc<Holds>,
    stop: CancellationToken,
    reading: thread::JoinHandle<()>,
    writing: JoinHandle<()>,
}

impl Holds {
    /// Nothing is kept yet.
    #[must_use]
    pub fn new(topics: Topics, snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { topics, snapshot, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all destinations what is kept of them; also needed after a reload, for new ones.
    pub fn apply(&self) {
        let snapshot = self.snapshot.load();
        let kept = self.kept();
        for (name, record) in &kept.destinations {
            // What it holds itself for and what is not written yet stands, whatever was resumed before.
            if let Some(destination) = snapshot.destination(name)
                && (record.hold.is_some() || destination.held().is_none())
            {
                destination.keep(record);
            }
        }
        for (key, hold) in &kept.sequences {
            if let Some(destination) = Name::new(&hold.destination).and_then(|name| snapshot.destination(&name)) {
                destination.keep_sequence(key.clone(), Some(hold.clone()));
            }
        }
    }

    /// Applies what somebody wrote.
    pub fn learn(&self, record: &Record) {
        let snapshot = self.snapshot.load();
        if let Some((key, hold)) = SequenceHold::read(record) {
            let mut kept = self.kept();
            let before = kept.take_sequence(key.clone(), hold.clone());
            let name = hold.as_ref().or(before.as_ref()).and_then(|hold| Name::new(&hold.destination));
            if let Some(destination) = name.and_then(|name| snapshot.destination(&name)) {
                destination.keep_sequence(key, hold);
            }
            return;
        }
        let Some((name, hold)) = read(record) else { return };
        // Held until it counts, so that who writes sees both or neither.
        let mut kept = self.kept();
        kept.take(name.clone(), hold.clone());
        let Some(destination) = snapshot.destination(&name) else { return };
        destination.keep(&hold);
        match hold.hold {
            Some(why) => {
                tracing::warn!(destination = %name, reason = why.as_str(), by = hold.by, "held: {}", hold.message);
            }
            None => {
                tracing::info!(destination = %name, by = hold.by, "resumed");
                destination.resume(Monotonic::now());
            }
        }
    }

    /// Remembers what a record says, if it is about a hold; [`Holds::apply`] makes it count.
    pub fn note(&self, record: &Record) {
        if let Some((key, hold)) = SequenceHold::read(record) {
            self.kept().take_sequence(key, hold);
        } else if let Some((name, hold)) = read(record) {
            self.kept().take(name, hold);
        }
    }

    /// Sequences of which records stand in the topic although they are over: their replica had gone when their destination
    /// was resumed.
    pub fn take_over(&self) -> Vec<Notice> {
        let over = std::mem::take(&mut self.kept().over);
        over.into_iter().map(|key| Notice::Sequence { key, hold: None }).collect()
    }

    /// Writes what began or ended here, unless somebody was faster; `replica` is who says so.
    pub async fn write(&self, notice: Notice, replica: &str, producer: &Producer) {
        while let Some(record) = self.record(&notice, replica) {
            match producer.send(record).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(?notice, code = error.code(), %error, "a hold is not written yet; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// What is to be written of it now, if anything.
    fn record(&self, notice: &Notice, replica: &str) -> Option<OutRecord> {
        let Begun { destination, hold, message, since, resumes } = match notice {
            Notice::Hold(begun) => begun,
            Notice::Sequence { key, hold } => {
                return Some(SequenceHold::record(hold.as_ref(), &self.topics, key, WallMs::now()));
            }
        };
        let snapshot = self.snapshot.load();
        let kept = self.kept();
        let before = kept.destinations.get(destination);
        // Who resumed it meanwhile did not know why it is held; it says so again if it still is.
        let resumed = snapshot.destination(destination).is_some_and(|d| d.resumes() != *resumes);
        if resumed || before.is_some_and(|before| before.hold.is_some()) {
            return None;
        }
        let record = HoldRecord::begin(before, *hold, replica.to_owned(), message.clone(), *since);
        Some(record.record(&self.topics, destination.as_str()))
    }
}

/// What a record says, if it is about a hold.
fn read(record: &Record) -> Option<(Name, HoldRecord)> {
    HoldRecord::read(record).unwrap_or_else(|(name, error)| {
        tracing::error!(
            destination = %name, at = %record.position, %error,
            "the record of a hold cannot be read and is passed over; write another: tidegate hold {name}, or resume"
        );
        None
    })
}

impl Keeper {
    /// Reads what is kept, tells the destinations, and goes on doing so; it blocks until the topic has been read. `replica` is
    /// how this process is called in what it writes.
    ///
    /// # Errors
    /// Kafka does not answer, or the topic is missing.
    #[allow(clippy::disallowed_methods, reason = "the keeper owns the task and joins it in `stop`")]
    pub fn start(
        client: &ClientSettings,
        topics: Topics,
        snapshot: Arc<ArcSwap<Snapshot>>,
        producer: Producer,
        replica: Arc<str>,
    ) -> Result<(Self, Post), kafka::Error> {
        let holds = Arc::new(Holds::new(topics, snapshot));
        let (reader, next) = read_all(&holds, client)?;
        holds.apply();
        let stop = CancellationToken::new();
        let reading = {
            let (holds, stop, client) = (Arc::clone(&holds), stop.clone(), client.clone());
            let follow = move || follow(&holds, &client, reader, next, &stop);
            let name = "holds".to_owned();
            let failed = |source| kafka::Error::Thread { name: name.clone(), source };
            thread::Builder::new().name(name.clone()).spawn(follow).map_err(failed)?
        };
        let (post, mut notices) = mpsc::unbounded_channel();
        for notice in holds.take_over() {
            // Who reads them is about to start.
            drop(post.send(notice));
        }
        let writing = {
            let (holds, stop) = (Arc::clone(&holds), stop.clone());
            tokio::spawn(async move {
                let write = async {
                    while let Some(notice) = notices.recv().await {
                        holds.write(notice, &replica, &producer).await;
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = write => {}
                }
            })
        };
        Ok((Self { holds, stop, reading, writing }, post))
    }

    /// What is kept.
    #[must_use]
    pub fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    /// Ends both.
    pub async fn stop(self) {
        self.stop.cancel();
        let Self { reading, writing, .. } = self;
        let reading = tokio::task::spawn_blocking(move || reading.join().is_ok());
        if writing.await.is_err() || !reading.await.unwrap_or(false) {
            tracing::error!("what keeps the holds ended badly");
        }
    }
}

/// Notes all that stands in the topic. Gives the reader, and the offset to read next.
fn read_all(holds: &Holds, client: &ClientSettings) -> Result<(Reader, i64), kafka::Error> {
    let topic = holds.topics.state();
    let began = Monotonic::now();
    loop {
        // A new one each time: a client goes on believing the first broker that it asked.
        let mut reader = Reader::open(client)?;
        let mut next = 0;
        let read = reader.scan(&topic, kafka::From::Beginning, |record| {
            next = record.position.offset + 1;
            holds.note(&record);
            ControlFlow::Continue(())
        });
        match read {
            Ok(_) => return Ok((reader, next)),
            Err(error) if Monotonic::now().since(began) < SPREADING => {
                tracing::debug!(%topic, %error, "holds cannot be read yet; trying again");
                thread::park_timeout(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads on until told to stop; what Kafka does not answer is asked again.
fn follow(holds: &Holds, client: &ClientSettings, reader: Reader, mut next: i64, stop: &CancellationToken) {
    let topic = holds.topics.state();
    let mut reader = Some(reader);
    let mut told = false;
    while !stop.is_cancelled() {
        match follow_once(holds, client, &mut reader, &topic, &mut next, stop) {
            Ok(()) => {}
            Err(error) => {
                if !told {
                    tracing::warn!(%topic, code = error.code(), %error, "holds of others are not heard now; trying again");
                }
                told = true;
                reader = None;
                thread::park_timeout(AGAIN);
            }
        }
    }
}

fn follow_once(
    holds: &Holds,
    client: &ClientSettings,
    reader: &mut Option<Reader>,
    topic: &str,
    next: &mut i64,
    stop: &CancellationToken,
) -> Result<(), kafka::Error> {
    let mut reading = match reader.take() {
        Some(reading) => reading,
        None => Reader::open(client)?,
    };
    reading.follow_at(topic, 0, *next)?;
    while !stop.is_cancelled() {
        if let Some(record) = reading.wait(LOOK)? {
            *next = record.position.offset + 1;
            holds.learn(&record);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hold::Hold;

    #[test]
    fn resuming_a_destination_ends_the_holds_of_its_sequences_and_of_no_others() {
        let name = |name: &str| Name::new(name).unwrap();
        let hold = |destination: &str| SequenceHold { destination: destination.to_owned(), ..SequenceHold::default() };
        let mut kept = Kept::default();
        for (key, destination) in [("sequence:a", "crm"), ("sequence:b", "crm"), ("sequence:c", "erp")] {
            assert_eq!(kept.take_sequence(key.to_owned(), Some(hold(destination))), None);
        }
        assert_eq!(kept.take_sequence("sequence:b".to_owned(), None), Some(hold("crm")));
        let held = HoldRecord { hold: Some(Hold::Manual), ..HoldRecord::default() };
        kept.take(name("crm"), held);
        assert_eq!((kept.sequences.len(), kept.over.len()), (2, 0), "held by hand as well");
        kept.take(name("crm"), HoldRecord::default());
        assert_eq!(kept.sequences.keys().collect::<Vec<_>>(), ["sequence:c"]);
        assert_eq!(kept.over, ["sequence:a"], "its record is to go");
        // Held again since; or somebody has taken its record away.
        assert_eq!(kept.take_sequence("sequence:a".to_owned(), Some(hold("crm"))), None);
        assert!(kept.over.is_empty() && kept.sequences.len() == 2);
    }
}
