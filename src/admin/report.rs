//! Tells everybody what this replica looks like: a report in the compacted topic `<prefix>.state`, soon when something
//! has changed, else now and then, so that who looks can tell a quiet replica from a dead one.

use super::replica::Replica;
use crate::kafka::Producer;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::stored::Topics;
use crate::pipeline::snapshot::Snapshot;
use crate::telemetry::report::Report;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether something has changed that is worth telling at once.
const LOOK: Duration = Duration::from_secs(2);

/// How often figures that change all the time are told.
const SOON: Duration = Duration::from_secs(10);

/// How often it is told that nothing has changed.
const QUIET: Duration = Duration::from_secs(60);

/// How long the good-bye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who tells what, and where.
#[derive(Debug)]
pub struct About {
    /// How this replica is called.
    pub name: Arc<str>,
    /// The machine it runs on.
    pub host: String,
    /// Which outcomes it traces.
    pub traced: &'static str,
    /// Names of our own topics.
    pub topics: Topics,
    /// The resources in use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Writes the reports; one that is lost is followed by another.
    pub producer: Producer,
}

/// The task that tells.
#[derive(Debug)]
pub struct Reporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Reporter {
    /// Begins to tell of `replica`.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the reporter owns the task and joins it in `stop`")]
    pub fn start(about: About, replica: Arc<Replica>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = about.tell(&replica) => {}
            }
            about.part().await;
        });
        Self { stop, task }
    }

    /// Takes the report back and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the reports of this replica ended badly");
        }
    }
}

impl About {
    async fn tell(&self, replica: &Replica) {
        let mut told: Option<(Monotonic, u64)> = None;
        loop {
            let now = Monotonic::now();
            let report = self.report(replica);
            let news = report.news();
            let due = match &told {
                None => true,
                Some((at, before)) => {
                    let age = now.since(*at);
                    let busy = report.state.destinations.iter().any(|d| d.in_flight > 0 || d.waiting > 0);
                    news != *before || age >= if busy { SOON } else { QUIET }
                }
            };
            if due {
                self.producer.post(report.record(&self.topics));
                told = Some((now, news));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn report(&self, replica: &Replica) -> Report {
        let snapshot = self.snapshot.load();
        let sources = snapshot.resources.sources.iter().map(|source| (source.name.to_string(), source.topics.clone()));
        let ordered = snapshot.ordered().map(|target| (target.name.to_string(), target.topics()));
        Report::new(&self.name, &self.host, self.traced, sources.chain(ordered).collect(), replica.state())
    }

    /// Says good-bye: whoever is not told thinks for a while that this replica may be in trouble.
    async fn part(&self) {
        let record = Report::tombstone(&self.topics, &self.name, WallMs::now());
        match tokio::time::timeout(FAREWELL, self.producer.send(record)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last report of this replica stays"),
            Err(_) => tracing::debug!("the last report of this replica stays"),
        }
    }
}
