//! Which resources each replica has, and what follows from that: which targets are served by all, what may be sent to
//! each destination (I6 across changes of limits).

use crate::plan::Plan;
use crate::resources::{Number, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Time in which a request may still come that was on its way when the resources changed.
const GRACE_NS: u64 = 50_000_000;

/// Replicas and their resources.
#[derive(Debug)]
pub(crate) struct Running {
    plan: Arc<Plan>,
    /// What each has had, the newest last.
    replicas: BTreeMap<u32, Vec<Has>>,
    /// What a replica starts with now.
    newest: usize,
    /// Per destination: from when on how many requests per second were allowed, and what burst.
    allowed: Vec<Vec<Allowed>>,
}

/// Requests per second and burst, if there is a limit, from that moment on.
type Allowed = (u64, Option<(u32, u32)>);

/// The resources of a replica.
#[derive(Debug, Clone, Copy)]
struct Has {
    version: usize,
    /// When another took its place.
    until_ns: u64,
}

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) at_ns: u64,
    pub(crate) replica: u32,
}

impl Running {
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let first = plan.versions[0].1.destinations.iter();
        let allowed = first.map(|destination| vec![(0, destination.limit)]).collect();
        Self { plan: Arc::clone(plan), replicas: BTreeMap::new(), newest: 0, allowed }
    }

    /// Whoever starts from now on starts with this.
    pub(crate) fn published(&mut self, version: usize) {
        self.newest = self.newest.max(version);
    }

    /// A replica has this version from now on.
    pub(crate) fn applied(&mut self, now_ns: u64, replica: u32, version: usize) {
        let had = self.replicas.entry(replica).or_default();
        if let Some(last) = had.last_mut() {
            last.until_ns = now_ns;
        }
        had.push(Has { version, until_ns: u64::MAX });
        self.look(now_ns);
    }

    /// A replica is no more.
    pub(crate) fn ended(&mut self, now_ns: u64, replica: u32) {
        self.replicas.remove(&replica);
        self.look(now_ns);
    }

    /// The version of a replica.
    pub(crate) fn of(&self, replica: u32) -> Option<usize> {
        Some(self.replicas.get(&replica)?.last()?.version)
    }

    /// The same, unless it has just got it: a request may come in that the one before has made.
    pub(crate) fn surely_of(&self, now_ns: u64, replica: u32) -> Option<usize> {
        let (last, before) = self.replicas.get(&replica)?.split_last()?;
        before.iter().all(|has| has.until_ns.saturating_add(GRACE_NS) < now_ns).then_some(last.version)
    }

    fn today(&self) -> impl Iterator<Item = usize> {
        self.replicas.values().filter_map(|had| Some(had.last()?.version))
    }

    fn versions(&self) -> impl Iterator<Item = &Version> {
        let numbers: BTreeSet<_> = self.today().chain([self.newest]).collect();
        numbers.into_iter().map(|number| &self.plan.versions[number].1)
    }

    /// All replicas serve the target, and those that start now will. One in order that is away goes on where it stood
    /// when it is back, but passes over what comes while its rule is disabled.
    pub(crate) fn is_served(&self, number: Number) -> bool {
        let last = self.plan.last().target(number);
        let returns = last.present && last.order.is_kept();
        let served =
            |version: &Version| version.sends_to(number).is_some() || (returns && version.rules[number.0].enabled);
        self.versions().all(served)
    }

    /// No replica would give up what fails for good in this target.
    pub(crate) fn is_held(&self, number: Number) -> bool {
        self.versions().all(|version| version.target(number).holds)
    }

    /// Whether a replica may send for a target to that destination now.
    pub(crate) fn may_send(&self, now_ns: u64, replica: u32, number: Number, destination: usize) -> bool {
        let sends = |has: &Has| self.plan.versions[has.version].1.sends_to(number) == Some(destination);
        let recent = |has: &Has| now_ns < has.until_ns.saturating_add(GRACE_NS);
        self.replicas.get(&replica).is_some_and(|had| had.iter().any(|has| recent(has) && sends(has)))
    }

    /// Notes what is allowed from now on: the most that any replica knows of.
    fn look(&mut self, now_ns: u64) {
        for destination in 0..self.allowed.len() {
            let limits = || self.today().map(|version| self.plan.versions[version].1.destinations[destination].limit);
            let most = limits().reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1))));
            let (Some(most), Some(last)) = (most, self.allowed[destination].last().copied()) else { continue };
            if most != last.1 {
                self.allowed[destination].push((now_ns, most));
            }
        }
    }

    /// What was too much for a destination.
    pub(crate) fn exceeded(&self, destination: usize, requests: &[Request]) -> Option<String> {
        let allowed = &self.allowed[destination];
        let mut from = 0;
        // While nothing changed,
        for (n, (_, limit)) in allowed.iter().enumerate() {
            let end = allowed.get(n + 1).map_or(u64::MAX, |(next, _)| *next);
            let until = from + requests[from..].partition_point(|request| request.at_ns < end);
            let (during, burst) = (&requests[from..until], limit.map(|(_, burst)| burst));
            if let Some(wrong) = burst.and_then(|burst| self.too_many(destination, during, burst)) {
                return Some(wrong);
            }
            // Not what was on its way then.
            from = until + requests[until..].partition_point(|request| request.at_ns < end.saturating_add(GRACE_NS));
        }
        // and across changes.
        let burst = allowed.iter().map(|(_, limit)| limit.map(|(_, burst)| burst)).collect::<Option<Vec<_>>>()?;
        let changed = allowed.len() > 1;
        changed.then(|| self.too_many(destination, requests, burst.into_iter().max()?)).flatten()
    }

    /// More requests in some time than were allowed in it, with this burst and one for each replica.
    fn too_many(&self, destination: usize, requests: &[Request], burst: u32) -> Option<String> {
        let slack = f64::from(burst) + f64::from(self.plan.replicas) + 1e-6;
        let mut least = (f64::INFINITY, 0);
        for (n, request) in requests.iter().enumerate() {
            let ahead = n as f64 - self.allowance(destination, request.at_ns);
            if ahead < least.0 {
                least = (ahead, n);
            }
            if ahead + 1.0 - least.0 > slack {
                let during = &requests[least.1..=n];
                let seconds = |ns: u64| ns as f64 / 1e9;
                let who: BTreeSet<_> = during.iter().map(|request| request.replica).collect();
                let (count, since) = (during.len(), during[0].at_ns);
                return Some(format!(
                    "d{destination} got {count} requests in {:.3} s from {:.3} s on, {:.1} more than its rate allows, with burst \
                     {burst}; from {who:?}; allowed: {:?}",
                    seconds(request.at_ns - since),
                    seconds(since),
                    ahead + 1.0 - least.0 - slack,
                    self.allowed[destination]
                ));
            }
        }
        None
    }

    /// Requests that the rates allow from the beginning until then.
    fn allowance(&self, destination: usize, at_ns: u64) -> f64 {
        let allowed = &self.allowed[destination];
        let mut sum = 0.0;
        for (n, (from, limit)) in allowed.iter().enumerate() {
            let until = allowed.get(n + 1).map_or(u64::MAX, |(next, _)| *next).min(at_ns);
            let rate = limit.map_or(f64::INFINITY, |(rate, _)| f64::from(rate));
            if until > *from {
                sum += (until - from) as f64 / 1e9 * rate;
            }
        }
        sum
    }
}
