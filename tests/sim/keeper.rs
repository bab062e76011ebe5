//! A keeper: reads the holds from their topic and writes those that begin here, as the program's threads and tasks do.

use crate::broker::STATE;
use crate::desk::Place;
use crate::time;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tidegate::destinations::hold::Notice;
use tidegate::kafka::{Producer, TopicPartition};
use tidegate::model::hold::HoldRecord;
use tidegate::model::record::Record;
use tidegate::pipeline::holds::Holds;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

/// The keeper of one replica.
pub(crate) struct Keeper {
    pub(crate) place: Place,
    pub(crate) holds: Arc<Holds>,
    pub(crate) producer: Producer,
    pub(crate) notices: Option<mpsc::UnboundedReceiver<Notice>>,
}

/// Ends what it did when dropped.
pub(crate) struct Keeping([AbortHandle; 2]);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Reads the topic.
struct Reading {
    place: Place,
    holds: Arc<Holds>,
    next: i64,
}

impl Keeper {
    /// Reads what is kept, and goes on doing so.
    pub(crate) async fn start(&mut self) -> Keeping {
        let mut reading = Reading { place: self.place.clone(), holds: Arc::clone(&self.holds), next: 0 };
        while reading.place.link.cut.load(Relaxed) {
            time::sleep_ms(200).await;
        }
        for record in reading.take() {
            self.holds.note(&record);
            reading.learned(&record);
        }
        self.holds.apply();
        let read = tokio::task::spawn_local(reading.follow());
        let (holds, producer, replica) = (Arc::clone(&self.holds), self.producer.clone(), self.place.link.replica);
        let notices = self.notices.take();
        let write = tokio::task::spawn_local(async move {
            let Some(mut notices) = notices else { return };
            while let Some(notice) = notices.recv().await {
                holds.write(notice, &format!("replica-{replica}"), &producer).await;
            }
        });
        Keeping([read.abort_handle(), write.abort_handle()])
    }
}

impl Reading {
    /// What is new.
    fn take(&mut self) -> Vec<Record> {
        let state = self.place.broker.state();
        let partition = state.partitions.get(&TopicPartition::new(STATE, 0));
        let records = partition.map_or(&[][..], |partition| &partition.records);
        let new: Vec<_> = records.iter().filter(|record| record.position.offset >= self.next).cloned().collect();
        self.next = new.last().map_or(self.next, |last| last.position.offset + 1);
        new
    }

    fn learned(&self, record: &Record) {
        // Else it tells of a sequence.
        let Some((name, kept)) = HoldRecord::read(record).unwrap() else { return };
        let destination = name.as_str().trim_start_matches('d').parse().unwrap();
        let (now, replica) = (time::ns(), self.place.link.replica);
        self.place.broker.state().oracle.learned(now, replica, destination, kept.hold.is_some());
    }

    async fn follow(mut self) {
        let wake = Arc::new(Notify::new());
        let wakes = Arc::clone(&wake);
        self.place.broker.state().wakes(&TopicPartition::new(STATE, 0), Arc::new(move || wakes.notify_one()));
        wake.notify_one();
        loop {
            wake.notified().await;
            let late = self.place.broker.state().rng.u64(0..200);
            time::sleep_ms(late).await;
            while self.place.link.cut.load(Relaxed) {
                time::sleep_ms(500).await;
            }
            for record in self.take() {
                self.holds.learn(&record);
                self.learned(&record);
            }
        }
    }
}
