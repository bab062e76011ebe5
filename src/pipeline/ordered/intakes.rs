//! The intakes of targets that keep an order: made when such a target comes, closed when it goes.

use super::OrderedTarget;
use crate::kafka::{self, ClientSettings, Intake, IntakeOptions, Lags, Owner};
use crate::model::name::TargetName;
use crate::model::resources::{OnMissing, Resources, Start};
use crate::pipeline::ordered::source_group;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::supervisor::Supervisor;
use crate::pipeline::ticket::Budget;
use crate::pipeline::worker::{LaneKind, Worker};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Groups that are asked side by side where they begin.
const AT_A_TIME: usize = 8;

/// The intakes that run.
#[derive(Debug)]
pub struct OrderedIntakes {
    client: ClientSettings,
    /// `kafka.group`, which the names of groups begin with.
    prefix: String,
    workers: Arc<[Worker]>,
    drain_timeout: Duration,
    /// For the windows of all lanes.
    budget: Arc<Budget>,
    running: BTreeMap<TargetName, Running>,
}

#[derive(Debug)]
struct Running {
    target: Arc<OrderedTarget>,
    intake: Arc<Intake>,
}

impl OrderedIntakes {
    /// None run yet.
    #[must_use]
    pub fn new(
        client: ClientSettings,
        prefix: String,
        workers: Arc<[Worker]>,
        drain_timeout: Duration,
        budget: Arc<Budget>,
    ) -> Self {
        Self { client, prefix, workers, drain_timeout, budget, running: BTreeMap::new() }
    }

    /// Lets the groups of new targets begin where their sources stand. To be done before anybody reads on under the
    /// resources that have these targets: what is read in between would be skipped. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer, or does not save it.
    pub fn seed(&self, snapshot: &Snapshot) -> Result<(), kafka::Error> {
        let new: Vec<_> = snapshot.ordered().filter(|target| !self.has(target)).collect();
        for some in new.chunks(AT_A_TIME) {
            thread::scope(|scope| {
                let asked: Vec<_> = some.iter().map(|target| scope.spawn(|| self.seed_one(target))).collect();
                let name = "seed".to_owned();
                let panicked = |_| Err(kafka::Error::Thread { name, source: std::io::Error::other("it panicked") });
                asked.into_iter().try_for_each(|asked| asked.join().unwrap_or_else(panicked.clone()))
            })?;
        }
        Ok(())
    }

    fn seed_one(&self, target: &OrderedTarget) -> Result<(), kafka::Error> {
        let group = target.group(&self.prefix);
        let seeds = kafka::seed(&self.client, &group, &target.origins(&self.prefix))?;
        if !seeds.is_empty() {
            let (target, partitions) = (&target.name, seeds.len());
            tracing::info!(%target, group, partitions, "a target in order begins where its source stands");
        }
        Ok(())
    }

    /// Those that are to be closed, for their targets are gone or read something else now, by name.
    #[must_use]
    pub fn take_gone(&mut self, snapshot: &Snapshot) -> Vec<(String, Arc<Intake>)> {
        let stays = |running: &Running| {
            snapshot.ordered_target(&running.target.name).is_some_and(|today| reads_alike(&running.target, today))
        };
        let gone: Vec<TargetName> =
            self.running.iter().filter(|(_, running)| !stays(running)).map(|(name, _)| name.clone()).collect();
        let mut taken = Vec::new();
        for name in gone {
            let Some(Running { intake, .. }) = self.running.remove(&name) else { continue };
            if snapshot.ordered_target(&name).is_none() {
                tell_unread(&name, &intake);
            }
            taken.push((name.to_string(), intake));
        }
        taken
    }

    /// Starts the intakes of targets that have none; gives them by name.
    ///
    /// # Errors
    /// Settings that the client refuses; no thread.
    pub fn start_new(
        &mut self,
        snapshot: &Snapshot,
        options: impl Fn(Start, OnMissing) -> IntakeOptions,
    ) -> Result<Vec<(String, Arc<Intake>)>, kafka::Error> {
        let mut started = Vec::new();
        // All together they leave half of the memory to those that wait for nobody.
        let part_bytes = self.budget.limit_bytes() / 2 / snapshot.ordered().count().max(1);
        for target in snapshot.ordered() {
            if self.running.contains_key(&target.name) {
                continue;
            }
            let part = Arc::new(Budget::part(&self.budget, part_bytes));
            let (kind, group) = (LaneKind::Ordered(target.name.clone(), part), target.group(&self.prefix));
            let figures = kind.figures(snapshot.figures());
            let workers = Arc::clone(&self.workers);
            let supervisor = Arc::new(Supervisor::new(kind, &group, workers, self.drain_timeout, figures));
            let owner: Arc<dyn Owner> = Arc::<Supervisor>::clone(&supervisor);
            // Where it begins has been committed; a partition without a commit is new, and all of it is to be read.
            let options = options(Start::Earliest, target.on_missing());
            let intake = Arc::new(Intake::subscribe(&self.client, &group, &target.topics(), options, owner)?);
            supervisor.bind(&intake, intake.membership());
            started.push((target.name.to_string(), Arc::clone(&intake)));
            self.running.insert(target.name.clone(), Running { target: Arc::clone(target), intake });
        }
        Ok(started)
    }

    /// All that run, which is the end of this.
    #[must_use]
    pub fn into_all(self) -> Vec<Arc<Intake>> {
        self.running.into_values().map(|running| running.intake).collect()
    }

    fn has(&self, target: &OrderedTarget) -> bool {
        self.running.get(&target.name).is_some_and(|running| reads_alike(&running.target, target))
    }
}

fn reads_alike(a: &OrderedTarget, b: &OrderedTarget) -> bool {
    a.topics() == b.topics() && a.on_missing() == b.on_missing()
}

/// What a target that goes has not read stays in Kafka, and nobody delivers it.
fn tell_unread(target: &TargetName, intake: &Intake) {
    let state = intake.state();
    let unread = |partition: &kafka::PartitionState| {
        let end = partition.high_watermark?;
        u64::try_from(end.saturating_sub(partition.committed?)).ok()
    };
    let unread: u64 = state.partitions.iter().filter_map(unread).sum();
    if unread > 0 {
        tracing::warn!(
            %target, group = state.group, unread,
            "a target in order is gone before it has read all; the rest stays in its topics, and if it comes back under \
             this name it goes on there"
        );
    }
}

/// Warns of targets that keep no order, but did before: their group stands before that of their source, so nobody
/// delivers what lies between. A reload refuses such a change; over a restart only the group tells of it. Blocks, and
/// is of no use with a broker that cannot list groups.
pub fn tell_abandoned(client: &ClientSettings, prefix: &str, resources: &Resources) {
    let groups: BTreeSet<String> = match kafka::groups(client) {
        Ok(groups) => groups.into_iter().collect(),
        Err(error) => return tracing::debug!(%error, "whether targets have kept an order before is not known"),
    };
    for rule in &resources.rules {
        for target in rule.targets.iter().filter(|target| !target.ordering.is_ordered()) {
            let name = TargetName { rule: rule.name.clone(), target: target.name.clone() };
            let group = super::group(prefix, &name);
            if !groups.contains(&group) {
                continue;
            }
            let sources = resources.sources.iter().filter(|s| rule.from.as_ref().is_none_or(|from| *from == s.name));
            let between: u64 = sources
                .flat_map(|source| source.topics.iter().map(|topic| (topic, source_group(prefix, source))))
                .filter_map(|(topic, source)| between(client, topic, &group, &source).ok())
                .sum();
            if between > 0 {
                tracing::warn!(
                    target = %name, group, undelivered = between,
                    "the target has kept an order before, and its group has not read all that its source has: nobody \
                     delivers what lies between; give the target its `ordering` back until it has caught up, or replay \
                     the rule, and delete the group: kafka-consumer-groups.sh --delete --group {group}"
                );
            }
        }
    }
}

/// Records that `behind` has still to read and `ahead` has read.
fn between(client: &ClientSettings, topic: &str, behind: &str, ahead: &str) -> Result<u64, kafka::Error> {
    let (behind, ahead) = (Lags::open(client, behind)?.of(topic)?, Lags::open(client, ahead)?.of(topic)?);
    let gap = |(behind, ahead): (&kafka::Lag, &kafka::Lag)| {
        let from = behind.committed?.max(behind.low);
        u64::try_from(ahead.committed?.saturating_sub(from)).ok()
    };
    Ok(behind.iter().zip(&ahead).filter_map(gap).sum())
}
