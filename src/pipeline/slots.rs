//! Slots: which replica owns what of the things that belong to the whole group.
//!
//! `<prefix>.slots` has 32 partitions and never a record; the group `<group>.slots` spreads them over the replicas.
//! The owner of slot i reads partition i of every retry tier, and the queues of the destinations whose slot is i. Shares
//! of rate limits follow the slots. Kafka revokes a slot before it assigns it to another, so the shares never add up to
//! more than the limit (I6), and nothing is read by two. Whoever is cut off from Kafka does not hear that: without proof of
//! membership for a session time-out he has no share, though his sources, whose groups others coordinate, go on.
//!
//! The queue of a destination is read only while that can take something: it is assigned when the destination is well,
//! or a probe is due (then the first record of the queue is the probe), and let go when it is sick for longer. What lies
//! in the queue of a dead destination costs nothing. Tiers and queues that hold nothing are not read either.

use crate::destinations::Destination;
use crate::destinations::rate;
use crate::kafka::{Assigned, Commit, Membership, Owner, Partitions, Pending, TopicPartition};
use crate::model::clock::Monotonic;
use crate::model::name::Name;
use crate::model::stored::{self, SLOTS, Topics};
use crate::pipeline::filled::Ours;
use crate::pipeline::queues::Queues;
use crate::pipeline::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How often is looked which destinations can take something.
const LOOK: Duration = Duration::from_millis(100);

/// A queue is taken when its destination will be well this soon: reading it takes a while to begin.
const SOON: Duration = Duration::from_millis(150);

/// A queue is let go when its destination is sick for longer than this.
const LONG: Duration = Duration::from_secs(2);

/// So many partitions that hold nothing, but were in use a short while ago, stay read beside those that hold something;
/// more would only take turns from these.
const RESTING: usize = 16;

/// How long the queue of an unknown destination stays unread: deployments overlap.
const UNKNOWN: Duration = Duration::from_secs(3_600);

/// Turns owned slots into assigned tiers and queues, and shares of rates.
#[derive(Debug)]
pub struct Slots {
    topics: Topics,
    snapshot: Arc<ArcSwap<Snapshot>>,
    stored: Arc<dyn Partitions>,
    queues: Arc<Queues>,
    patience: Duration,
    /// Whether the group of the slots still counts us in.
    membership: OnceLock<Membership>,
    holding: Mutex<Holding>,
}

/// What is ours now.
#[derive(Debug, Default)]
struct Holding {
    slots: BTreeSet<i32>,
    /// The group counts us in, so the slots are surely not another's.
    proven: bool,
    /// What the intake was told to read.
    read: BTreeSet<TopicPartition>,
    /// Until it has done what it was told last. Letting queues go may take it seconds, in which many fill.
    setting: Option<Pending>,
    /// Queues whose destinations are unknown.
    unknown: HashMap<String, Unknown>,
    plan: Plan,
}

/// What a plan was made of: slots, names of queues, resources.
type Basis = (BTreeSet<i32>, Arc<BTreeSet<String>>, Arc<Snapshot>);

/// What belongs to our slots, for as long as slots, queues and resources are the same.
#[derive(Debug, Default)]
struct Plan {
    of: Option<Basis>,
    tiers: Vec<TopicPartition>,
    queues: Vec<Queue>,
    /// Names of queues whose destination is unknown.
    unknown: Vec<(String, TopicPartition)>,
}

/// A queue whose destination is unknown.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    since: Monotonic,
    /// Somebody was warned that something lies in it.
    told: bool,
}

/// The queue of a destination that we know.
#[derive(Debug)]
struct Queue {
    at: TopicPartition,
    destination: Arc<Destination>,
}

impl Slots {
    /// Owns nothing yet. `stored` is the intake that reads what the slots stand for; it is given `patience` to drain.
    #[must_use]
    pub fn new(
        topics: Topics,
        snapshot: Arc<ArcSwap<Snapshot>>,
        stored: Arc<dyn Partitions>,
        queues: Arc<Queues>,
        patience: Duration,
    ) -> Self {
        Self { topics, snapshot, stored, queues, patience, membership: OnceLock::new(), holding: Mutex::default() }
    }

    /// Tells whose membership proves that the slots are ours. Without it there are no shares.
    pub fn bind(&self, membership: Membership) {
        self.membership.get_or_init(|| membership);
    }

    /// How many of the 32 slots this replica owns.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.holding().slots.len()
    }

    /// The destinations whose queues are this replica's, read or not.
    #[must_use]
    pub fn queues(&self) -> Vec<String> {
        let mut holding = self.holding();
        self.plan(&mut holding);
        let plan = &holding.plan;
        let known = plan.queues.iter().map(|queue| queue.destination.resource().name.to_string());
        known.chain(plan.unknown.iter().map(|(name, _)| name.clone())).collect()
    }

    /// The tiers and queues that are this replica's, read or not.
    #[must_use]
    pub fn ours(&self) -> Vec<Ours> {
        let mut holding = self.holding();
        self.plan(&mut holding);
        let plan = &holding.plan;
        let queues = plan.queues.iter().map(|queue| &queue.at).chain(plan.unknown.iter().map(|(_, at)| at));
        let all = plan.tiers.iter().chain(queues);
        all.map(|at| Ours { at: at.clone(), read: holding.read.contains(at) }).collect()
    }

    /// How many of the queues that are this replica's hold something for a destination that is not in the resources.
    #[must_use]
    pub fn unknown_queues(&self) -> usize {
        let mut holding = self.holding();
        self.plan(&mut holding);
        holding.plan.unknown.iter().filter(|(_, at)| self.queues.filled().holds(at)).count()
    }

    fn holding(&self) -> MutexGuard<'_, Holding> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every destination and its connection their share; also needed after a reload, for new destinations begin without one.
    pub fn share(&self) {
        // Held over the loop, so that a reload and a rebalance cannot overtake each other.
        self.share_held(&self.holding());
    }

    fn share_held(&self, holding: &Holding) {
        let count = if holding.proven { u8::try_from(holding.slots.len()).unwrap_or(u8::MAX) } else { 0 };
        let now = Monotonic::now();
        for destination in self.snapshot.load().destinations() {
            let resource = destination.resource();
            let owns = holding.proven && holding.slots.contains(&resource.slot());
            let share = if resource.is_exact() { rate::exact(owns) } else { rate::shared(owns, count) };
            destination.set_share(share, now);
        }
    }

    /// Looks again whether the slots are surely ours and which queues are to be read, and has that done.
    pub fn look(&self) {
        let (mut holding, now) = (self.holding(), Monotonic::now());
        let before = holding.proven;
        holding.proven = self.is_proven(now);
        if holding.proven != before {
            self.share_held(&holding);
            if before {
                tracing::warn!(
                    "Kafka has not confirmed for a session time-out that the slots are ours, and may have given them to others: \
                     rate-limited destinations wait until it does"
                );
            }
        }
        if holding.setting.as_ref().is_none_or(Pending::is_over) {
            holding.setting = self.read(&mut holding, now);
        }
    }

    /// Also until the next look.
    fn is_proven(&self, now: Monotonic) -> bool {
        self.membership.get().is_some_and(|membership| membership.may_send(now.plus(LOOK)))
    }

    /// Looks, for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.queues.filled().news() => {}
            }
            self.look();
        }
    }

    /// Has the intake read what is to be read now, if that has changed; the result is over when it does.
    fn read(&self, holding: &mut Holding, now: Monotonic) -> Option<Pending> {
        let wanted = self.wanted(holding, now);
        if wanted == holding.read {
            // It may be about to.
            return holding.setting.take();
        }
        holding.read.clone_from(&wanted);
        // Under the lock, so that the last one told is the last one looked for.
        Some(self.stored.set_partitions(wanted.into_iter().collect()))
    }

    fn wanted(&self, holding: &mut Holding, now: Monotonic) -> BTreeSet<TopicPartition> {
        self.plan(holding);
        let Holding { read, unknown, plan, .. } = holding;
        let snapshot = self.snapshot.load();
        let filled = self.queues.filled();
        let holds = |at: &TopicPartition| filled.holds(at);
        let tiers = plan.tiers.iter().filter(|at| holds(at));
        let open = |Queue { at, destination }: &&Queue| {
            snapshot.is_fed(&destination.resource().name) && takes(destination, read.contains(at), now)
        };
        let queues = plan.queues.iter().filter(|queue| holds(&queue.at)).filter(open);
        let mut wanted: BTreeSet<TopicPartition> = tiers.chain(queues.map(|queue| &queue.at)).cloned().collect();
        let resting = plan.tiers.iter().chain(plan.queues.iter().filter(open).map(|queue| &queue.at));
        let resting = resting.filter(|at| read.contains(*at) && !holds(at) && filled.is_in_use(at, now));
        let resting: Vec<TopicPartition> = resting.take(RESTING.saturating_sub(wanted.len())).cloned().collect();
        wanted.extend(resting);
        // Another deployment may know it. What nobody knows for long is given up, by the lane that reads it.
        for (name, at) in &plan.unknown {
            let known = unknown.entry(name.clone()).or_insert(Unknown { since: now, told: false });
            if !holds(at) {
                continue;
            }
            if !known.told {
                known.told = true;
                tracing::warn!(
                    destination = name.as_str(),
                    topic = %at.topic,
                    "deliveries wait in the queue of a destination that is not in the resources; bring it back, or they become \
                     dead letters (TARGET_GONE) in an hour"
                );
            }
            if now.since(known.since) >= UNKNOWN {
                wanted.insert(at.clone());
            }
        }
        wanted
    }

    /// Finds out what belongs to our slots, if something has changed.
    fn plan(&self, holding: &mut Holding) {
        let (found, snapshot) = (self.queues.found(), self.snapshot.load_full());
        let Holding { slots, unknown, plan, .. } = holding;
        let same = plan.of.as_ref().is_some_and(|(had, queues, resources)| {
            had == slots && Arc::ptr_eq(queues, &found) && Arc::ptr_eq(resources, &snapshot)
        });
        if same {
            return;
        }
        let at = |topic: &Arc<str>, partition| TopicPartition { topic: Arc::clone(topic), partition };
        let tiers = self.topics.tiers();
        plan.tiers =
            tiers.flat_map(|(_, topic)| slots.iter().map(|slot| at(&topic, *slot)).collect::<Vec<_>>()).collect();
        plan.queues.clear();
        plan.unknown.clear();
        for name in found.iter() {
            match Name::new(name).and_then(|name| snapshot.destination(&name).cloned()) {
                Some(destination) => {
                    unknown.remove(name);
                    if slots.contains(&destination.resource().slot()) {
                        plan.queues.push(Queue { at: at(&self.topics.queue(name), 0), destination });
                    }
                }
                None if slots.contains(&stored::slot(name)) => {
                    plan.unknown.push((name.clone(), at(&self.topics.queue(name), 0)));
                }
                None => {}
            }
        }
        plan.of = Some((slots.clone(), found, snapshot));
        self.queues.filled().ask_soon();
    }

    /// Gives slots back; the result is over when nothing of them is read any more.
    pub fn give_back(&self, slots: &[TopicPartition]) -> Option<Pending> {
        let mut holding = self.change(|owned| {
            for slot in slots {
                owned.remove(&slot.partition);
            }
        });
        self.read(&mut holding, Monotonic::now())
    }

    fn change(&self, act: impl FnOnce(&mut BTreeSet<i32>)) -> MutexGuard<'_, Holding> {
        let mut holding = self.holding();
        act(&mut holding.slots);
        holding.proven = self.is_proven(Monotonic::now());
        // The share shrinks before the slot is given up and grows only once it is ours.
        self.share_held(&holding);
        tracing::info!(owned = holding.slots.len(), of = SLOTS, "slots owned");
        holding
    }
}

/// Whether the queue of a destination is to be read; `read` says that it is now.
fn takes(destination: &Destination, read: bool, now: Monotonic) -> bool {
    match destination.sick(now) {
        None => true,
        // Letting go waits for what is in flight, so that is let end first.
        Some(sick) if read => !sick.outlasts(LONG) || destination.concurrency().in_flight() > 0,
        Some(sick) => !sick.outlasts(SOON),
    }
}

impl Owner for Slots {
    fn assigned(&self, partitions: Vec<Assigned>) {
        // The queues are dropped here: the topic never has a record. Nobody waits for the tiers to be read.
        let mut holding = self.change(|owned| owned.extend(partitions.iter().map(|p| p.at.partition)));
        // Kept, so that who gives a slot back waits for it.
        holding.setting = self.read(&mut holding, Monotonic::now());
    }

    fn revoked(&self, partitions: &[TopicPartition], _lost: bool) -> Vec<Commit> {
        let let_go = self.give_back(partitions);
        // The next owner reads them as soon as this returns: ours must be drained and committed before.
        if let_go.is_some_and(|let_go| !let_go.wait(self.patience)) {
            tracing::warn!(
                "tiers and queues were not drained in time; what was in flight comes again at their next owner"
            );
        }
        Vec::new()
    }
}
