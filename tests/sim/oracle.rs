//! The reference model: what was produced, what became of it, and what must always hold (I1, I2, I6, I8 and the bounds on
//! duplicates and attempts).
//!
//! An obligation lies where a delivery was written last: in its source record until it is written to a tier, a queue or a
//! dead-letter topic, from then on in the newest of these records. A record is done when none of its deliveries has its
//! obligation there, or the delivery has arrived.

use crate::plan::Plan;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
#[derive(Debug, Default)]
struct Delivery {
    destination: usize,
    poison: bool,
    /// Where its obligation lies.
    at: Option<Place>,
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

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
struct Request {
    at_ns: u64,
    replica: u32,
}

/// The model of one schedule.
#[derive(Debug)]
pub(crate) struct Oracle {
    deliveries: BTreeMap<String, Delivery>,
    /// What the records of the source owe.
    owed: HashMap<Place, Vec<String>>,
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
    pub(crate) requests: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead: u64,
    pub(crate) hand_offs: u64,
    pub(crate) commits: u64,
}

impl Counts {
    /// Together with those of another schedule.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { deliveries, requests, duplicates, dead, hand_offs, commits } = other;
        self.deliveries += deliveries;
        self.requests += requests;
        self.duplicates += duplicates;
        self.dead += dead;
        self.hand_offs += hand_offs;
        self.commits += commits;
    }
}

impl Oracle {
    pub(crate) fn new(plan: &Plan, tells: bool) -> Self {
        Self {
            deliveries: BTreeMap::new(),
            owed: HashMap::new(),
            stored: HashMap::new(),
            broken: HashMap::new(),
            requests: plan.destinations.iter().map(|_| Vec::new()).collect(),
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

    /// An event was written to the source.
    pub(crate) fn produced(&mut self, plan: &Plan, place: Place, event: Option<(&str, u8, bool)>) {
        let Some((id, kind, poison)) = event else {
            self.broken.insert(place, false);
            return;
        };
        let mut owed = Vec::new();
        for (r, (kinds, targets)) in plan.rules.iter().enumerate() {
            if !kinds.contains(&kind) {
                continue;
            }
            for (t, destination) in targets.iter().enumerate() {
                let key = delivery_id("/sim", id, &format!("r{r}"), &format!("t{t}"));
                let at = Some(place.clone());
                let delivery = Delivery { destination: *destination, poison, at, ..Delivery::default() };
                self.deliveries.insert(key.clone(), delivery);
                owed.push(key);
            }
        }
        self.counts.deliveries += owed.len();
        self.owed.insert(place, owed);
    }

    /// A partition of the source was made anew: what it still owed is gone.
    pub(crate) fn vanished(&mut self, topic: &str, partition: i32, before: u32) {
        for delivery in self.deliveries.values_mut() {
            if delivery.at.as_ref().is_some_and(|at| at.topic == topic && at.partition == partition && at.life < before)
            {
                delivery.gone = true;
            }
        }
        for (at, written) in &mut self.broken {
            *written |= at.topic == topic && at.partition == partition && at.life < before;
        }
    }

    /// A record was written to one of our own topics.
    pub(crate) fn stored(&mut self, now_ns: u64, place: Place, id: Option<&str>, origin: &Place, dead: bool) {
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
        delivery.at = Some(place.clone());
        if dead {
            delivery.dead += 1;
            self.counts.dead += 1;
        } else {
            self.counts.hand_offs += 1;
        }
        self.stored.insert(place, id.to_owned());
    }

    /// A lane took a record that is not known to be done.
    pub(crate) fn read(&mut self, place: &Place) {
        let ids = self.owed.get(place).map(Vec::as_slice).unwrap_or_default();
        for id in ids.iter().chain(self.stored.get(place)) {
            if let Some(delivery) = self.deliveries.get_mut(id) {
                delivery.reads += 1;
            }
        }
    }

    /// What a record owes is done, or lies elsewhere.
    pub(crate) fn is_done(&self, place: &Place) -> bool {
        let settled = |id: &String| {
            self.deliveries
                .get(id)
                .is_some_and(|d| d.arrived > 0 || d.perhaps_heard || d.at.as_ref() != Some(place) || d.gone)
        };
        self.broken.get(place) != Some(&false)
            && self.owed.get(place).is_none_or(|ids| ids.iter().all(settled))
            && self.stored.get(place).is_none_or(settled)
    }

    /// A request came in.
    pub(crate) fn requested(&mut self, now_ns: u64, destination: usize, replica: u32, id: &str) {
        self.counts.requests += 1;
        self.say(now_ns, || format!("request d{destination} from {replica}: {id}"));
        self.requests[destination].push(Request { at_ns: now_ns, replica });
        match self.deliveries.get_mut(id) {
            Some(delivery) if delivery.destination == destination => delivery.requests += 1,
            Some(_) | None => self.fail(now_ns, format!("a request to d{destination} that nobody wants: {id}")),
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
        self.deliveries.values().filter(|d| d.arrived == 0 && !d.perhaps_heard && d.dead == 0 && !d.gone).count()
            + self.broken.values().filter(|written| !**written).count()
    }

    /// What only the end shows.
    pub(crate) fn judge(&mut self, plan: &Plan, now_ns: u64, replicas: u32) {
        let mut wrong = Vec::new();
        for (id, delivery) in &self.deliveries {
            if delivery.arrived == 0 && !delivery.perhaps_heard && delivery.dead == 0 && !delivery.gone {
                wrong.push(format!("{id} has neither arrived nor become a dead letter; last at {:?}", delivery.at));
            }
            if delivery.arrived > delivery.reads + delivery.unheard {
                wrong.push(format!(
                    "{id} arrived {} times, though its records were read {} times",
                    delivery.arrived, delivery.reads
                ));
            }
            let destination = &plan.destinations[delivery.destination];
            if plan.is_smooth() && delivery.requests > destination.max_attempts {
                // Stale connections and refused tokens do not count; incidents end by age.
                let counted = !destination.phases.iter().any(|(_, b)| crate::api::may_not_count(*b));
                if counted {
                    wrong.push(format!(
                        "{id} was sent {} times, at most {}",
                        delivery.requests, destination.max_attempts
                    ));
                }
            }
        }
        for (n, requests) in self.requests.iter().enumerate() {
            let Some((rate, burst)) = plan.destinations[n].limit else { continue };
            for (i, from) in requests.iter().enumerate() {
                for (j, to) in requests.iter().enumerate().skip(i) {
                    let window = (to.at_ns - from.at_ns) as f64 / 1e9;
                    let most = f64::from(rate) * window + f64::from(burst) + f64::from(replicas);
                    let count = j - i + 1;
                    if count as f64 > most + 1e-6 {
                        let who: BTreeSet<_> = requests[i..=j].iter().map(|r| r.replica).collect();
                        wrong.push(format!(
                            "d{n} got {count} requests in {window:.3} s from {:.3} s on, at most {most:.1}; from {who:?}",
                            from.at_ns as f64 / 1e9
                        ));
                        break;
                    }
                }
                if wrong.len() > 10 {
                    break;
                }
            }
        }
        for what in wrong {
            self.fail(now_ns, what);
        }
    }
}
