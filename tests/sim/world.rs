//! A schedule, played: events are written, faults happen and end, and then everything must come to rest.

use crate::api;
use crate::broker::{Broker, STATE, State};
use crate::desk::{SLOTS_GROUP, SOURCE_GROUP, STORED_GROUP};
use crate::group::Group;
use crate::line::{self, LINES};
use crate::oracle::{Counts, Oracle, group_of};
use crate::plan::{Event, Fault, Plan};
use crate::replica::{Replica, Stage};
use crate::resources::Version;
use crate::time;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tidegate::config::{self, resources::Context as Reading};
use tidegate::kafka::TopicPartition;
use tidegate::model::clock::{WallMs, set_source};
use tidegate::model::hold::{Hold, HoldRecord};
use tidegate::model::record::{Position, Record};
use tidegate::model::stored::Topics;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// How long coming to rest may take: what nobody knows waits for an hour.
const REST_MS: u64 = 3 * 3_600_000;

/// When after all faults the rest is a matter of tiers.
const QUIET_MS: u64 = 5_000;

/// How often holds are ended after all faults.
const RESUME_MS: u64 = 15_000;

/// What a schedule came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) wrong: Option<String>,
    pub(crate) story: Vec<String>,
    pub(crate) print: u64,
    pub(crate) counts: Counts,
    pub(crate) lasted_ms: u64,
}

/// Plays the schedule of a seed.
pub(crate) fn play(seed: u64, tells: bool) -> Outcome {
    // The chance that the program itself takes.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = LocalSet::new().block_on(&runtime, async {
        time::begin();
        let plan = Arc::new(Plan::of(seed));
        World::new(plan, tells).run().await
    });
    set_source(None);
    outcome
}

#[derive(Debug)]
enum Action {
    Produce(Event, usize),
    Fault(Fault),
    Start(u32),
    Thaw(u32),
    Heal(u32),
    HealSlots(u32),
    /// New resources are there.
    Publish(usize),
    /// A replica takes them.
    Reload(u32, usize),
}

struct World {
    plan: Arc<Plan>,
    stage: Rc<Stage>,
    broker: Broker,
    replicas: BTreeMap<u32, Replica>,
    /// Which replica sits at which place.
    seats: Vec<Option<u32>>,
    started: u32,
    /// The newest resources.
    version: usize,
    resumes_ms: u64,
    actions: BTreeMap<(u64, u64), Action>,
    numbered: u64,
}

impl World {
    fn new(plan: Arc<Plan>, tells: bool) -> Self {
        let oracle = Oracle::new(&plan, tells);
        let mut state = State::new(Rng::with_seed(plan.seed ^ 0x5eed), oracle, plan.largest_bytes);
        let of = |topic: &str, count| (0..count).map(|p| TopicPartition::new(topic, p)).collect();
        state.groups.insert(SOURCE_GROUP.to_owned(), Group::of(of("orders", plan.partitions)));
        state.groups.insert(SLOTS_GROUP.to_owned(), Group::of(of("tg.slots", 32)));
        for (number, _) in plan.last().targets().filter(|(_, target)| target.order.is_kept()) {
            state.groups.insert(group_of(number), Group::of(of("orders", plan.partitions)));
        }
        let (broker, writes) = Broker::new(state);
        tokio::task::spawn_local(broker.clone().serve(writes));
        let (calls, asked) = mpsc::unbounded_channel();
        tokio::task::spawn_local(api::serve(Arc::clone(&plan), broker.clone(), asked));
        let (lines, carried) = mpsc::unbounded_channel();
        LINES.set(Some(lines));
        tokio::task::spawn_local(line::carry(carried));
        let seats = (0..plan.replicas).map(|_| None).collect();
        let (replicas, actions) = Default::default();
        let reading = Reading { dead_letter_topic: "tg.dlq".into(), ..Reading::default() };
        let read = |(_, version): &(u64, Version)| {
            let read = config::resources::read_text("plan.yaml", &version.text(), &reading);
            assert!(read.faults.iter().all(|fault| fault.warning), "{:?}\n{}", read.faults, version.text());
            read.resources
        };
        let resources = plan.versions.iter().map(read).collect();
        let stage = Rc::new(Stage { plan: Arc::clone(&plan), resources, broker: broker.clone(), calls });
        let mut world = Self {
            plan: Arc::clone(&plan),
            stage,
            broker,
            replicas,
            seats,
            started: 0,
            version: 0,
            resumes_ms: plan.calm_ms,
            actions,
            numbered: 0,
        };
        for (n, event) in plan.events.iter().enumerate() {
            world.plans(event.at_ms, Action::Produce(event.clone(), n));
        }
        for (version, (at, _)) in plan.versions.iter().enumerate().skip(1) {
            world.plans(*at, Action::Publish(version));
        }
        for (at, fault) in &plan.faults {
            world.plans(*at, Action::Fault(*fault));
        }
        for who in 0..plan.replicas {
            world.plans(u64::from(who) * 50, Action::Start(who));
        }
        world
    }

    fn plans(&mut self, at_ms: u64, action: Action) {
        self.numbered += 1;
        self.actions.insert((at_ms, self.numbered), action);
    }

    async fn run(mut self) -> Outcome {
        let plan = Arc::clone(&self.plan);
        self.broker.say(|| format!("{plan:?}"));
        time::quiet_from(plan.calm_ms + QUIET_MS);
        let mut next_look = 0;
        while self.broker.state().oracle.wrong.is_none() {
            let now = time::ms();
            while let Some(entry) = self.actions.first_entry().filter(|entry| entry.key().0 <= now) {
                let action = entry.remove();
                self.act(action);
            }
            if now >= next_look {
                next_look = now + time::look_ms();
                if now > self.resumes_ms {
                    self.resumes_ms = now + RESUME_MS;
                    (0..plan.behaviours.len()).for_each(|destination| self.hold(destination, false));
                }
                if self.look() && now > plan.calm_ms && self.actions.is_empty() {
                    break;
                }
                if now > plan.calm_ms + REST_MS {
                    self.not_at_rest();
                }
            }
            let next = self.actions.keys().next().map_or(next_look, |(at, _)| next_look.min(*at));
            time::sleep_ms(next.saturating_sub(time::ms()).max(1)).await;
        }
        let lasted_ms = time::ms();
        time::end();
        let mut state = self.broker.state();
        if state.oracle.wrong.is_none() {
            state.oracle.judge(time::ns());
        }
        let oracle = &mut state.oracle;
        let (wrong, story) = (oracle.wrong.take(), std::mem::take(&mut oracle.story));
        Outcome { wrong, story, print: oracle.print, counts: oracle.counts, lasted_ms }
    }

    /// What coordinators see to; `true` if everything is at rest.
    fn look(&self) -> bool {
        let mut state = self.broker.state();
        let state = &mut *state;
        let mut out = Vec::new();
        for group in state.groups.values_mut() {
            out.extend(group.evict(&mut state.rng));
        }
        for replica in out {
            state.oracle.say(time::ns(), || format!("replica {replica} is put out of a group"));
            if state.groups.values().all(|group| !group.has(replica)) {
                state.oracle.cast_out(replica, Some(time::ns()));
            }
        }
        for replica in self.replicas.values() {
            if replica.budget.used_bytes() > replica.budget.limit_bytes() {
                state.oracle.fail(time::ns(), format!("replica {} holds too much", replica.id));
            }
        }
        let last = self.plan.last();
        let read = last.targets().filter(|(number, target)| target.order.is_kept() && last.sends_to(*number).is_some());
        let mut groups = read.map(|(number, _)| group_of(number)).chain([SOURCE_GROUP.to_owned()]);
        state.oracle.open() == 0
            && groups.all(|group| state.is_drained(&group, |topic| topic == "orders"))
            && state.is_drained(STORED_GROUP, |topic| topic.starts_with("tg.retry.") || topic.starts_with("tg.queue."))
    }

    fn not_at_rest(&self) {
        let mut state = self.broker.state();
        let open = state.oracle.open();
        let positions: Vec<_> = state
            .partitions
            .iter()
            .map(|(at, p)| {
                let committed =
                    [SOURCE_GROUP, STORED_GROUP].iter().find_map(|g| state.commits.get(&((*g).to_owned(), at.clone())));
                format!("{at} ends {} committed {:?}", p.end, committed.map(|stored| stored.next_offset))
            })
            .collect();
        let what = format!("not at rest an hour after all faults: {open} deliveries are open; {positions:?}");
        state.oracle.fail(time::ns(), what);
    }

    fn seated(&self, who: u32) -> Option<&Replica> {
        self.seats[usize::try_from(who).unwrap()].and_then(|id| self.replicas.get(&id))
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Produce(event, n) => self.produce(event, n),
            Action::Start(who) => {
                let seat = usize::try_from(who).unwrap();
                if self.seats[seat].is_some() {
                    return;
                }
                let instance = Some(who).filter(|_| self.plan.instances);
                if instance.is_some() && self.replicas.values().any(|r| r.link.instance == instance && !r.has_left()) {
                    // Whoever starts replicas under one name waits until the one before has ended.
                    return self.plans(time::ms() + 200, Action::Start(who));
                }
                self.started += 1;
                let id = self.started;
                self.replicas.insert(id, Replica::start(id, instance, self.version, &self.stage));
                self.seats[seat] = Some(id);
            }
            Action::Thaw(who) => self.seated(who).into_iter().for_each(|replica| replica.freeze(false)),
            Action::Heal(who) => self.heal(who, |replica| replica.link.cut.store(false, Relaxed)),
            Action::HealSlots(who) => self.heal(who, |replica| replica.link.cut_slots.store(false, Relaxed)),
            Action::Fault(fault) => self.fault(fault),
            Action::Publish(version) => {
                self.version = version;
                self.broker.state().oracle.published(version);
                for who in 0..self.plan.replicas {
                    let late = self.broker.state().rng.u64(0..3_000);
                    let at = (time::ms() + late).min(self.plan.calm_ms.max(time::ms()));
                    self.plans(at, Action::Reload(who, version));
                }
            }
            Action::Reload(who, version) => self.seated(who).into_iter().for_each(|replica| replica.reload(version)),
        }
    }

    fn heal(&self, who: u32, heals: impl Fn(&Replica)) {
        self.seated(who).into_iter().for_each(heals);
        self.broker.state().wake_readers();
    }

    fn fault(&mut self, fault: Fault) {
        self.broker.say(|| format!("{fault:?}"));
        let now = time::ms();
        let end = |ms: u64, calm: u64| (now + ms).min(calm);
        let calm = self.plan.calm_ms;
        match fault {
            Fault::Crash { who, down_ms } => {
                if let Some(id) = self.seats[usize::try_from(who).unwrap()].take() {
                    if let Some(replica) = self.replicas.remove(&id) {
                        replica.crash();
                        self.broker.state().oracle.ended(time::ns(), id);
                    }
                    self.plans(end(down_ms, calm), Action::Start(who));
                }
            }
            Fault::Leave { who, down_ms } => {
                if let Some(id) = self.seats[usize::try_from(who).unwrap()].take() {
                    if let Some(replica) = self.replicas.get_mut(&id) {
                        // It must be able to.
                        replica.freeze(false);
                        replica.leave();
                    }
                    self.plans(end(down_ms, calm), Action::Start(who));
                }
            }
            Fault::Freeze { who, ms } => {
                self.seated(who).into_iter().for_each(|replica| replica.freeze(true));
                self.plans(end(ms, calm), Action::Thaw(who));
            }
            Fault::Cut { who, ms } => {
                self.seated(who).into_iter().for_each(|replica| replica.link.cut.store(true, Relaxed));
                self.plans(end(ms, calm), Action::Heal(who));
            }
            Fault::CutSlots { who, ms } => {
                self.seated(who).into_iter().for_each(|replica| replica.link.cut_slots.store(true, Relaxed));
                self.plans(end(ms, calm), Action::HealSlots(who));
            }
            Fault::Step { who, by_ms } => self.seated(who).into_iter().for_each(|replica| replica.step(by_ms)),
            Fault::Rebalance => {
                let mut state = self.broker.state();
                let state = &mut *state;
                state.groups.values_mut().for_each(|group| group.spread(&mut state.rng, true));
            }
            Fault::Writes { ms, percent } => self.broker.state().writes = (end(ms, calm), percent),
            Fault::Refuse { ms, what } => self.broker.state().refusing = (end(ms, calm), what),
            Fault::Hold { destination, holds } => self.hold(destination, holds),
            Fault::Commits { ms, percent } => self.broker.state().committing = (end(ms, calm), percent),
            Fault::Reads { ms } => self.broker.state().reads = end(ms, calm),
            Fault::Recreate { partition } => self.broker.state().recreate(&TopicPartition::new("orders", partition)),
            Fault::Tidy => self.broker.state().tidy(STORED_GROUP),
        }
    }

    /// Holds a destination, or resumes it, as somebody would by hand.
    fn hold(&self, destination: usize, holds: bool) {
        let mut state = self.broker.state();
        let name = format!("d{destination}");
        let at = TopicPartition::new(STATE, 0);
        let records = state.partitions.get(&at).map_or(&[][..], |partition| &partition.records);
        let of = |record: &Record| HoldRecord::read(record).unwrap().filter(|(of, _)| of.as_str() == name);
        let before = records.iter().rev().find_map(of).map(|(_, kept)| kept);
        let (now, by) = (WallMs(time::true_ms()), "ann@laptop".to_owned());
        let stands = before.as_ref().and_then(|before| before.hold);
        let record = match (stands, holds) {
            (Some(Hold::Manual), true) | (None, false) => return,
            (_, true) => HoldRecord::begin(before.as_ref(), Hold::Manual, by, "maintenance".to_owned(), now),
            (_, false) => HoldRecord::resume(before.as_ref(), by, now),
        };
        state.oracle.say(time::ns(), || format!("{name} is {} by hand", if holds { "held" } else { "resumed" }));
        state.append(0, &record.record(&Topics::new("tg"), &name));
    }

    fn produce(&mut self, event: Event, n: usize) {
        let at = TopicPartition::new("orders", event.partition);
        let unread = self.broker.state().partitions.get(&at).is_some_and(|p| p.is_unread);
        if unread {
            return self.plans(time::ms() + 200, Action::Produce(event, n));
        }
        let id = format!("e{n}");
        let kind = format!("k{}", event.kind);
        let key = event.key.map(|key| format!("key-{key}"));
        let k = key.as_ref().map_or(String::new(), |key| format!("\"k\":\"{key}\","));
        let value = format!("{{{k}\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(event.pad_bytes));
        let key = key.as_deref().map(str::as_bytes);
        let mut headers = vec![("ce_specversion", "1.0"), ("ce_source", "/sim"), ("ce_type", kind.as_str())];
        headers.push(("content-type", "application/json"));
        if !event.broken {
            headers.push(("ce_id", id.as_str()));
        }
        let headers = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        let mut state = self.broker.state();
        let offset = state.partitions.get(&at).map_or(0, |p| p.end);
        let position = Position { topic: Arc::clone(&at.topic), partition: at.partition, offset };
        let record = Record::new(position, Some(time::true_ms()), key, Some(value.as_bytes()), headers);
        let place = state.place(&at, offset);
        state.oracle.say(time::ns(), || format!("produced {id} at {at}:{offset}"));
        state.oracle.produced(&place, &event, (!event.broken).then_some(id.as_str()));
        state.push(&at, record, event.gap);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

/// As a duration, for people.
pub(crate) fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
