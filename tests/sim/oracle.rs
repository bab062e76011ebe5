//! The reference model: what was produced, what became of it, and what must always hold (I1, I2, I4, I6, I8, holds, and the
//! bounds on duplicates and attempts).
//!
//! An obligation lies where a delivery was written last: in its source record until it is written to a tier, a queue or a
//! dead-letter topic, from then on in the newest of these records. A record is done when none of its deliveries has its
//! obligation there, or the delivery has arrived.
//!
//! While replicas do not agree whether there is a target, an event may be read by one that does not know it: such a
//! delivery may be made, but need not.

use crate::desk::{SOURCE_GROUP, STORED_GROUP};
use crate::held::Held;
use crate::order::Sequences;
use crate::plan::{Event, Plan};
use crate::resources::Number;
use crate::running::{Request, Running};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidegate::model::stored::delivery_id;

/// A place in a log: topic, partition, offset; `life` counts how often the topic was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) life: u32,
    pub(crate) offset: i64,
}

/// What is known of a delivery.
#[derive(Debug)]
struct Delivery {
    target: Number,
    poison: bool,
    /// The record of its event.
    source: Place,
    /// Where its obligation lies.
    at: Place,
    /// It must end; else it may never begin.
    must: bool,
    arrived: u32,
    /// Arrived without the other side knowing.
    unheard: u32,
    /// One of these may have been heard after all.
    perhaps_heard: bool,
    requests: u32,
    dead: u32,
    /// How often a record of it was read and not known to be done.
    reads: u32,
    /// Its record is gone with its topic.
    gone: bool,
}

/// Whether a success was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Yes,
    Perhaps,
    No,
}

/// The consumer group of a target that keeps an order.
pub(crate) fn group_of((r, t): Number) -> String {
    format!("tg.r{r}.t{t}")
}

/// The same for a group that is one.
pub(crate) fn number_of(group: &str) -> Number {
    target_of(group).unwrap()
}

/// The target whose consumer group that is.
fn target_of(group: &str) -> Option<Number> {
    let (r, t) = group.strip_prefix("tg.r")?.split_once(".t")?;
    Some((r.parse().ok()?, t.parse().ok()?))
}

impl Delivery {
    fn has_ended(&self) -> bool {
        self.arrived > 0 || self.perhaps_heard || self.dead > 0 || self.gone
    }

    /// It is owed, and has not ended.
    fn is_open(&self) -> bool {
        self.must && !self.has_ended()
    }
}

/// The model of one schedule.
#[derive(Debug)]
pub(crate) struct Oracle {
    plan: Arc<Plan>,
    pub(crate) running: Running,
    deliveries: BTreeMap<String, Delivery>,
    /// What the records of the source owe to whoever reads them in that group.
    owed: HashMap<(String, Place), Vec<String>>,
    sequences: Sequences,
    held: Held,
    /// Where the groups of targets that keep an order begin, per partition.
    seeds: HashMap<Number, BTreeMap<i32, i64>>,
    /// What stored records are about.
    stored: HashMap<Place, String>,
    /// Records that are no events, and whether their dead letter is written.
    broken: HashMap<Place, bool>,
    requests: Vec<Vec<Request>>,
    /// Replicas that no group counts in any more, since when.
    outcasts: BTreeMap<u32, u64>,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    pub(crate) story: Vec<String>,
    pub(crate) tells: bool,
    /// Of everything that was told, so that two runs can be compared.
    pub(crate) print: u64,
    pub(crate) counts: Counts,
}

/// What a schedule came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) deliveries: usize,
    pub(crate) ordered: usize,
    pub(crate) reloads: u64,
    pub(crate) holds: u64,
    pub(crate) requests: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead: u64,
    pub(crate) hand_offs: u64,
    pub(crate) commits: u64,
}

impl Counts {
    /// Together with those of another schedule.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { deliveries, ordered, reloads, holds, requests, duplicates, dead, hand_offs, commits } = other;
        self.deliveries += deliveries;
        self.ordered += ordered;
        self.reloads += reloads;
        self.holds += holds;
        self.requests += requests;
        self.duplicates += duplicates;
        self.dead += dead;
        self.hand_offs += hand_offs;
        self.commits += commits;
    }
}

impl Oracle {
    pub(crate) fn new(plan: &Arc<Plan>, tells: bool) -> Self {
        Self {
            plan: Arc::clone(plan),
            running: Running::new(plan),
            sequences: Sequences::default(),
            held: Held::default(),
            seeds: HashMap::new(),
            deliveries: BTreeMap::new(),
            owed: HashMap::new(),
            stored: HashMap::new(),
            broken: HashMap::new(),
            requests: plan.behaviours.iter().map(|_| Vec::new()).collect(),
            outcasts: BTreeMap::new(),
            wrong: None,
            story: Vec::new(),
            tells,
            print: 0xcbf2_9ce4_8422_2325,
            counts: Counts::default(),
        }
    }

    /// Tells what happens.
    pub(crate) fn say(&mut self, now_ns: u64, what: impl FnOnce() -> String) {
        let text = what();
        for byte in text.bytes().chain(now_ns.to_le_bytes()) {
            self.print = (self.print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.tells {
            self.story.push(format!("{:>11.6} {text}", now_ns as f64 / 1e9));
        }
    }

    /// Something is wrong; the first one counts.
    pub(crate) fn fail(&mut self, now_ns: u64, what: String) {
        self.say(now_ns, || format!("WRONG: {what}"));
        self.wrong.get_or_insert(what);
    }

    /// An event was written to the source; without an id it is broken.
    pub(crate) fn produced(&mut self, place: &Place, event: &Event, id: Option<&str>) {
        let Some(id) = id else {
            self.broken.insert(place.clone(), false);
            return;
        };
        let plan = Arc::clone(&self.plan);
        let version = &plan.versions[0].1;
        for (number, target) in version.targets().filter(|((r, _), _)| version.rules[*r].kinds.contains(&event.kind)) {
            let (r, t) = number;
            let key = delivery_id("/sim", id, &format!("r{r}"), &format!("t{t}"));
            let delivery = Delivery {
                target: number,
                poison: event.poison,
                source: place.clone(),
                at: place.clone(),
                must: self.running.is_served(number) && self.is_begun(number, place),
                arrived: 0,
                unheard: 0,
                perhaps_heard: false,
                requests: 0,
                dead: 0,
                reads: 0,
                gone: false,
            };
            self.counts.deliveries += usize::from(delivery.must);
            self.counts.ordered += usize::from(target.order.is_kept());
            self.deliveries.insert(key.clone(), delivery);
            self.sequences.produced(number, target.order, event.key, place, &key);
            let group = if target.order.is_kept() { group_of(number) } else { SOURCE_GROUP.to_owned() };
            self.owed.entry((group, place.clone())).or_default().push(key);
        }
    }

    /// Whether the group of a target has begun, and not behind this place.
    fn is_begun(&self, number: Number, place: &Place) -> bool {
        let seeds = self.seeds.get(&number);
        !self.plan.last().target(number).order.is_kept()
            || seeds.is_some_and(|seeds| seeds.get(&place.partition).is_some_and(|seed| *seed <= place.offset))
    }

    /// The group of a target begins, per partition.
    pub(crate) fn begins(&mut self, number: Number, seeds: BTreeMap<i32, i64>) {
        self.seeds.insert(number, seeds);
        let served = self.running.is_served(number);
        let ids: Vec<_> =
            self.deliveries.iter().filter(|(_, d)| d.target == number).map(|(id, _)| id.clone()).collect();
        for id in ids {
            let begun = self.is_begun(number, &self.deliveries[&id].source);
            self.deliveries.get_mut(&id).unwrap().must |= served && begun;
        }
    }

    /// New resources are there for whoever looks.
    pub(crate) fn published(&mut self, version: usize) {
        self.running.published(version);
        self.relax();
    }

    /// A replica has new resources, or its first.
    pub(crate) fn applied(&mut self, now_ns: u64, replica: u32, version: usize) {
        self.say(now_ns, || format!("replica {replica} has version {version}"));
        self.running.applied(now_ns, replica, version);
        self.counts.reloads += u64::from(version > 0);
        self.relax();
    }

    /// A replica is no more.
    pub(crate) fn ended(&mut self, now_ns: u64, replica: u32) {
        self.running.ended(now_ns, replica);
    }

    /// What not everybody knows need not begin.
    fn relax(&mut self) {
        for delivery in self.deliveries.values_mut() {
            if delivery.must && delivery.at == delivery.source && !self.running.is_served(delivery.target) {
                delivery.must = false;
            }
        }
    }

    /// A replica takes a partition over.
    pub(crate) fn entered(&mut self, replica: u32, group: &str, partition: i32) {
        if let Some(target) = target_of(group) {
            self.sequences.entered(replica, target, partition);
        }
    }

    /// A replica has learned that a destination is held, or resumed.
    pub(crate) fn learned(&mut self, now_ns: u64, replica: u32, destination: usize, held: bool) {
        self.say(now_ns, || {
            format!("replica {replica} learns that d{destination} is {}", if held { "held" } else { "resumed" })
        });
        self.counts.holds += u64::from(held);
        self.held.learned(now_ns, replica, destination, held);
    }

    /// A replica hears that a destination is gone for good; `version` is what it had when it asked.
    pub(crate) fn heard_gone(&mut self, now_ns: u64, replica: u32, destination: usize, version: Option<usize>) {
        if version.is_some() && self.running.of(replica) == version {
            self.held.learned(now_ns, replica, destination, true);
        }
    }

    /// A partition of the source was made anew: what it still owed is gone.
    pub(crate) fn vanished(&mut self, topic: &str, partition: i32, before: u32) {
        for delivery in self.deliveries.values_mut() {
            let at = &delivery.at;
            delivery.gone |= at.topic == topic && at.partition == partition && at.life < before;
        }
        for (at, written) in &mut self.broken {
            *written |= at.topic == topic && at.partition == partition && at.life < before;
        }
    }

    /// A record was written to one of our own topics.
    pub(crate) fn stored(&mut self, now_ns: u64, place: Place, id: Option<&str>, origin: &Place) {
        let dead = place.topic == "tg.dlq";
        self.say(now_ns, || {
            format!("stored {}:{}:{} {}", place.topic, place.partition, place.offset, id.unwrap_or("-"))
        });
        let Some(id) = id else {
            // Of which life of the topic it is, the record does not say.
            let lives = || (0..=origin.life).map(|life| Place { life, ..origin.clone() });
            let open = lives().find(|place| self.broken.get(place) == Some(&false));
            match open.or_else(|| lives().find(|place| self.broken.contains_key(place))) {
                Some(place) => drop(self.broken.insert(place, true)),
                None => self.fail(now_ns, format!("a dead letter of {origin:?}, which is an event")),
            }
            self.counts.dead += 1;
            return;
        };
        let Some(delivery) = self.deliveries.get_mut(id) else {
            return self.fail(now_ns, format!("a stored record of {id}, which nobody wants"));
        };
        let number = delivery.target;
        delivery.at = place.clone();
        // Somebody knew it.
        delivery.must = true;
        if self.sequences.has(id) && !dead {
            let what = format!("{id}, which keeps its order, is stored in {}", place.topic);
            return self.fail(now_ns, what);
        }
        if dead {
            delivery.dead += 1;
            self.counts.dead += 1;
        } else {
            self.counts.hand_offs += 1;
        }
        self.stored.insert(place, id.to_owned());
        if dead && self.running.is_held(number) && self.sequences.has(id) {
            self.fail(now_ns, format!("{id} is given up, though its target holds what fails for good"));
        }
    }

    /// An attempt of a replica may have failed that never came to the destination.
    pub(crate) fn unnoticed(&mut self, replica: u32, destination: usize) {
        self.held.unnoticed(replica, destination);
    }

    /// A replica gave up what a destination refuses.
    pub(crate) fn refused(&mut self, now_ns: u64, replica: u32, destination: usize, delivery: &str) {
        let Some(budget) = self.plan.last().destinations[destination].budget else { return };
        if let Some(what) = self.held.refused(now_ns, replica, destination, delivery, budget) {
            self.fail(now_ns, what);
        }
    }

    /// A lane took a record that is not known to be done.
    pub(crate) fn read(&mut self, group: &str, place: &Place) {
        let ids = self.owed.get(&(group.to_owned(), place.clone())).map(Vec::as_slice).unwrap_or_default();
        for id in ids.iter().chain(self.stored.get(place)) {
            if let Some(delivery) = self.deliveries.get_mut(id) {
                delivery.reads += 1;
            }
        }
    }

    /// What a record owes in a group is done, or lies elsewhere.
    pub(crate) fn is_done(&self, group: &str, place: &Place) -> bool {
        let settled = |id: &String| self.deliveries.get(id).is_some_and(|d| d.has_ended() || !d.must || d.at != *place);
        if group == STORED_GROUP {
            return self.stored.get(place).is_none_or(settled);
        }
        let broken = group == SOURCE_GROUP && self.broken.get(place) == Some(&false);
        !broken && self.owed.get(&(group.to_owned(), place.clone())).is_none_or(|ids| ids.iter().all(settled))
    }

    /// A request came in.
    pub(crate) fn requested(&mut self, now_ns: u64, destination: usize, replica: u32, id: &str) {
        self.counts.requests += 1;
        self.say(now_ns, || format!("request d{destination} from {replica}: {id}"));
        self.requests[destination].push(Request { at_ns: now_ns, replica });
        match self.deliveries.get_mut(id) {
            Some(delivery) if self.running.may_send(now_ns, replica, delivery.target, destination) => {
                delivery.requests += 1
            }
            Some(_) | None => self.fail(now_ns, format!("a request to d{destination} that nobody wants: {id}")),
        }
        if let Some(since) = self.held.requested(now_ns, replica, destination, id) {
            let what =
                format!("replica {replica} sends to d{destination}, which is held since {} ms", since / 1_000_000);
            self.fail(now_ns, what);
        }
        let wrong = match self.sequences.sent(replica, id) {
            Ok(before) => {
                let open = before.iter().find(|id| self.deliveries.get(*id).is_some_and(Delivery::is_open));
                open.map(|open| format!("{id} is sent before {open}, which it follows, has ended"))
            }
            Err(later) => Some(format!("{id} is sent after {later}, which follows it")),
        };
        if let Some(wrong) = wrong {
            self.fail(now_ns, wrong);
        }
        if let Some(since) = self.outcasts.get(&replica).copied() {
            let what = format!("replica {replica} sends, which is in no group since {} ms", since / 1_000_000);
            self.fail(now_ns, what);
        }
    }

    /// A success was answered.
    pub(crate) fn arrived(&mut self, now_ns: u64, id: &str, heard: Heard) {
        let (heard, perhaps) = (heard == Heard::Yes, heard == Heard::Perhaps);
        self.say(now_ns, || format!("arrived{}: {id}", if heard { "" } else { " unheard" }));
        if let Some(delivery) = self.deliveries.get_mut(id) {
            delivery.arrived += u32::from(heard);
            delivery.unheard += u32::from(!heard);
            delivery.perhaps_heard |= perhaps;
            self.counts.duplicates += u64::from(delivery.arrived + delivery.unheard > 1);
        }
    }

    /// Whether every destination refuses the delivery for good.
    pub(crate) fn is_poison(&self, id: &str) -> bool {
        self.deliveries.get(id).is_some_and(|delivery| delivery.poison)
    }

    /// A replica is in no group any more, or in one again.
    pub(crate) fn cast_out(&mut self, replica: u32, at_ns: Option<u64>) {
        match at_ns {
            Some(at_ns) => drop(self.outcasts.insert(replica, at_ns)),
            None => drop(self.outcasts.remove(&replica)),
        }
    }

    /// How many deliveries have not ended.
    pub(crate) fn open(&self) -> usize {
        self.deliveries.values().filter(|delivery| delivery.is_open()).count()
            + self.broken.values().filter(|written| !**written).count()
    }

    /// What only the end shows.
    pub(crate) fn judge(&mut self, now_ns: u64) {
        let mut wrong = Vec::new();
        let plan = Arc::clone(&self.plan);
        for (id, delivery) in &self.deliveries {
            if delivery.is_open() {
                wrong.push(format!("{id} has neither arrived nor become a dead letter; last at {:?}", delivery.at));
            }
            if delivery.arrived > delivery.reads + delivery.unheard {
                wrong.push(format!(
                    "{id} arrived {} times, though its records were read {} times",
                    delivery.arrived, delivery.reads
                ));
            }
            let target = plan.last().target(delivery.target);
            let to = target.destination;
            let most = plan.last().destinations[to].max_attempts;
            // What keeps an order is stored nowhere, so whoever takes its partition over begins anew with its attempts.
            if plan.is_smooth() && !target.order.is_kept() && delivery.requests > most {
                // Stale connections and refused tokens do not count; incidents end by age; whoever resumes what refuses
                // more than its budget has the same tried again.
                let counted = !plan.behaviours[to].iter().any(|(_, b)| crate::api::may_not_count(*b))
                    && plan.last().destinations[to].budget.is_none();
                if counted {
                    wrong.push(format!("{id} was sent {} times, at most {most}", delivery.requests));
                }
            }
        }
        for (destination, requests) in self.requests.iter().enumerate() {
            wrong.extend(self.running.exceeded(destination, requests));
        }
        for what in wrong {
            self.fail(now_ns, what);
        }
    }
}
