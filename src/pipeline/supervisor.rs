//! The supervisor of one intake: makes a lane when Kafka assigns a partition, drains it when Kafka takes it away.
//!
//! It is called on the intake's poll thread and knows nothing of Kafka but names: assignments become commands to workers,
//! and a revocation is answered when the lanes have answered, or when their time is up.

use crate::kafka::{Assigned, Commit, Intake, Membership, Owner, TopicPartition};
use crate::model::clock::Monotonic;
use crate::pipeline::flow::{Claim, Link};
use crate::pipeline::worker::{Command, LaneKind, Opening, Worker};
use crate::telemetry::figures::SourceFigures;
use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Time beyond the drain deadline in which a lane must have answered; after it the worker is taken for wedged.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// Owns the lanes of one intake.
#[derive(Debug)]
pub struct Supervisor {
    kind: LaneKind,
    group: Arc<str>,
    workers: Arc<[Worker]>,
    drain_timeout: Duration,
    figures: Arc<SourceFigures>,
    link: OnceLock<Link>,
    lanes: Mutex<HashMap<TopicPartition, usize>>,
}

impl Supervisor {
    /// A supervisor without lanes. `group` is the consumer group its positions are committed for.
    #[must_use]
    pub fn new(
        kind: LaneKind,
        group: &str,
        workers: Arc<[Worker]>,
        drain_timeout: Duration,
        figures: Arc<SourceFigures>,
    ) -> Self {
        Self {
            kind,
            group: Arc::from(group),
            workers,
            drain_timeout,
            figures,
            link: OnceLock::new(),
            lanes: Mutex::new(HashMap::new()),
        }
    }

    /// Tells which intake it serves, once that exists, and whose membership allows its lanes to send. Assignments wait for
    /// it.
    pub fn bind(&self, intake: &Arc<Intake>, membership: Membership) {
        let weak: Weak<Intake> = Arc::downgrade(intake);
        self.attach(Link { committer: intake.committer(), membership, intake: weak });
    }

    /// The same with what its lanes need of an intake.
    pub fn attach(&self, link: Link) {
        if self.link.set(link).is_err() {
            tracing::error!(group = %self.group, "a supervisor was bound twice; the first intake stays");
        }
    }

    /// The worker that has the fewest lanes of that topic; of equals the one with the fewest lanes at all.
    fn choose(&self, lanes: &HashMap<TopicPartition, usize>, topic: &str) -> usize {
        let load = |worker: usize| {
            let mine = lanes.iter().filter(|(_, w)| **w == worker);
            let (of_topic, all) = mine.fold((0, 0), |(t, a), (at, _)| (t + usize::from(&*at.topic == topic), a + 1));
            (of_topic, all)
        };
        // Groups with few partitions begin at different workers.
        let count = self.workers.len();
        let first = usize::try_from(crc32c::crc32c(self.group.as_bytes())).unwrap_or(0) % count.max(1);
        (0..count).map(|worker| (first + worker) % count).min_by_key(|worker| load(*worker)).unwrap_or(0)
    }

    /// Tells the lanes of these partitions to drain; `lost` ones are cut off at once, for another owner may already be at
    /// work on them.
    #[must_use]
    pub fn drain(&self, partitions: &[TopicPartition], lost: bool) -> Draining {
        let mut by_worker: HashMap<usize, Vec<TopicPartition>> = HashMap::new();
        {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            for at in partitions {
                if let Some(worker) = lanes.remove(at) {
                    by_worker.entry(worker).or_default().push(at.clone());
                }
            }
        }
        let drain = if lost { Duration::ZERO } else { self.drain_timeout };
        let begun = Monotonic::now();
        let (answer, answers) = mpsc::channel();
        for (worker, partitions) in by_worker {
            if let Some(worker) = self.workers.get(worker) {
                let (group, deadline) = (Arc::clone(&self.group), begun.plus(drain));
                worker.tell(Command::Close { group, partitions, deadline, answer: answer.clone() });
            }
        }
        Draining { answers, begun, until: begun.plus(drain + ANSWER_GRACE), answered: 0, commits: Vec::new() }
    }
}

/// Lanes that are draining.
#[derive(Debug)]
pub struct Draining {
    answers: mpsc::Receiver<Option<Commit>>,
    begun: Monotonic,
    /// After this a worker that has not answered is taken for wedged.
    pub until: Monotonic,
    answered: usize,
    /// The last positions of those that have answered.
    pub commits: Vec<Commit>,
}

impl Draining {
    /// Blocks until all lanes have answered, at most for this long; `true` if they have.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let until = Monotonic::now().plus(at_most);
        loop {
            match self.answers.recv_timeout(until.since(Monotonic::now())) {
                Ok(commit) => {
                    self.answered += 1;
                    self.commits.extend(commit);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Owner for Supervisor {
    fn assigned(&self, partitions: Vec<Assigned>) {
        let link = self.link.wait();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for Assigned { at, epoch, start, metadata, queue } in partitions {
            // A partition that comes again without having gone keeps its worker, which replaces the lane.
            let worker = lanes.get(&at).copied().unwrap_or_else(|| self.choose(&lanes, &at.topic));
            lanes.insert(at.clone(), worker);
            let claim = Claim { at, epoch, group: Arc::clone(&self.group), link: link.clone() };
            if let Some(worker) = self.workers.get(worker) {
                let opening = Opening { kind: self.kind.clone(), claim, queue, start, metadata };
                worker.tell(Command::Open(Box::new(opening)));
            }
        }
    }

    fn revoked(&self, partitions: &[TopicPartition], lost: bool) -> Vec<Commit> {
        let mut draining = self.drain(partitions, lost);
        if !draining.wait(draining.until.since(draining.begun)) {
            tracing::error!(
                partitions = partitions.len(),
                answered = draining.answered,
                "lanes did not drain in time; what they had in flight comes again"
            );
        }
        self.figures.drained(Monotonic::now().since(draining.begun));
        draining.commits
    }
}
