//! The resources of a schedule, and how they change while it runs: each version is made of the one before, and the last
//! one has everything enabled again, so that what waits for that can come to rest.

use fastrand::Rng;
use std::fmt::Write as _;

/// Resources, as they are from some moment on.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) destinations: Vec<Destination>,
    pub(crate) rules: Vec<Rule>,
}

/// What is written of a destination.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// Requests per second, and burst.
    pub(crate) limit: Option<(u32, u32)>,
    /// `rate: exact`, where there is a limit.
    pub(crate) exact: bool,
    pub(crate) timeout_s: u64,
    pub(crate) max_attempts: u32,
    pub(crate) max_age_s: u64,
    /// Dead letters and percent of outcomes that its dead-letter budget allows.
    pub(crate) budget: Option<(u32, u32)>,
    /// Which of its addresses.
    address: u32,
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The kinds of events it wants.
    pub(crate) kinds: Vec<u8>,
    pub(crate) enabled: bool,
    pub(crate) targets: Vec<Target>,
}

/// A target. A rule none of whose targets is present is not there at all.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) destination: usize,
    pub(crate) order: Order,
    /// `on_exhausted: hold`.
    pub(crate) holds: bool,
    pub(crate) present: bool,
}

/// What keeps the order of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Free,
    Key,
    /// The same key, found by a path.
    Path,
    Partition,
}

impl Order {
    pub(crate) fn is_kept(self) -> bool {
        self != Self::Free
    }
}

/// A target of a version, by the numbers of rule and target.
pub(crate) type Number = (usize, usize);

impl Version {
    /// The resources that a schedule begins with.
    pub(crate) fn first(rng: &mut Rng, ordered: bool, budgets: bool, scarce: bool) -> Self {
        let count = if scarce { 1 } else { rng.usize(1..=3) };
        let mut destinations: Vec<_> = (0..count).map(|_| destination(rng, budgets)).collect();
        if scarce {
            destinations[0].limit = Some((rng.u32(2..=6), rng.u32(1..=12)));
        }
        let target = |rng: &mut Rng| {
            let order = match rng.u8(0..6) {
                0 if ordered => Order::Key,
                1 if ordered => Order::Path,
                2 if ordered => Order::Partition,
                _ => Order::Free,
            };
            let holds = order.is_kept() && rng.u8(0..3) == 0;
            Target { destination: rng.usize(0..count), order, holds, present: true }
        };
        let rule = |rng: &mut Rng| {
            let kinds = (0..rng.usize(1..=2)).map(|_| rng.u8(0..4)).collect();
            let targets = (0..rng.usize(1..=2)).map(|_| target(rng)).collect();
            Rule { kinds, enabled: true, targets }
        };
        let rules = (0..rng.usize(1..=3)).map(|_| rule(rng)).collect();
        Self { destinations, rules }
    }

    /// Some targets are not there from the beginning.
    pub(crate) fn come_later(&mut self, rng: &mut Rng) {
        for target in self.rules.iter_mut().flat_map(|rule| &mut rule.targets) {
            target.present = rng.u8(0..5) != 0;
        }
    }

    /// The next version.
    pub(crate) fn change(&self, rng: &mut Rng) -> Self {
        let mut next = self.clone();
        for _ in 0..rng.usize(1..=2) {
            let (d, r) = (rng.usize(0..next.destinations.len()), rng.usize(0..next.rules.len()));
            let t = rng.usize(0..next.rules[r].targets.len());
            let destination = &mut next.destinations[d];
            match rng.u8(0..9) {
                0..=1 if destination.limit.is_some() || rng.u8(0..4) == 0 => destination.limit = Some(limit(rng)),
                2 => destination.max_attempts = rng.u32(2..30),
                3 => destination.timeout_s = rng.u64(1..=5),
                4 => destination.address += 1,
                5 => next.rules[r].enabled ^= true,
                6 => next.rules[r].targets[t].destination = d,
                _ => next.rules[r].targets[t].present ^= true,
            }
        }
        next
    }

    /// The last version: everything is enabled, nothing holds its sequence, and what was `removed` may stay so.
    pub(crate) fn end(&mut self, rng: &mut Rng) {
        // Rarely: what nobody knows waits for an hour, which takes seconds to play.
        let returns = rng.u8(0..100) != 0;
        for rule in &mut self.rules {
            rule.enabled = true;
            for target in &mut rule.targets {
                target.holds = false;
                target.present |= returns;
            }
        }
    }

    /// What keeps an order goes to destinations that share their rate.
    pub(crate) fn share_rates(versions: &mut [&mut Self]) {
        let mut shared = Vec::new();
        for rule in versions.iter().flat_map(|version| &version.rules) {
            shared.extend(rule.targets.iter().filter(|t| t.order.is_kept()).map(|t| t.destination));
        }
        for version in versions {
            for (n, destination) in version.destinations.iter_mut().enumerate() {
                destination.exact &= !shared.contains(&n);
            }
        }
    }

    /// All targets, present or not.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (Number, &Target)> {
        let of = |(r, rule): (usize, &'_ Rule)| (0..rule.targets.len()).map(move |t| (r, t)).collect::<Vec<_>>();
        self.rules.iter().enumerate().flat_map(of).map(|number| (number, self.target(number)))
    }

    pub(crate) fn target(&self, (r, t): Number) -> &Target {
        &self.rules[r].targets[t]
    }

    /// Where deliveries of a target go; `None` if it is gone or disabled.
    pub(crate) fn sends_to(&self, number: Number) -> Option<usize> {
        let target = self.target(number);
        (target.present && self.rules[number.0].enabled).then_some(target.destination)
    }

    /// The files.
    pub(crate) fn text(&self) -> String {
        let mut text = "kind: source\nname: shop\nkafka: {topics: [orders], strict: true}\n".to_owned();
        for (n, d) in self.destinations.iter().enumerate() {
            let limit = d.limit.map_or(String::new(), |(rate, burst)| {
                let how = if d.exact { "exact" } else { "shared" };
                format!("rate: {how}\nrate_limit: {{limit: {rate}/s, burst: {burst}}}\n")
            });
            let budget = d
                .budget
                .map_or("off".to_owned(), |(max, percent)| format!("{{max: {max}, percent: {percent}, window: 5m}}"));
            write!(
                text,
                "---\nkind: connection\nname: c{n}\nurl: http://d{n}.v{}.test\n---\nkind: destination\nname: d{n}\nconnection: \
                 c{n}\nendpoint: /in\ntimeout: {}s\ndead_letter_budget: {budget}\n{limit}retry: {{max_age: {}s, max_attempts: {}, \
                 delay: [1s, 30s]}}\n",
                d.address, d.timeout_s, d.max_age_s, d.max_attempts
            )
            .unwrap();
        }
        for (n, rule) in self.rules.iter().enumerate() {
            if !rule.targets.iter().any(|target| target.present) {
                continue;
            }
            let kinds: Vec<_> = rule.kinds.iter().map(|kind| format!("k{kind}")).collect();
            write!(
                text,
                "---\nkind: rule\nname: r{n}\nfrom: shop\nenabled: {}\npattern: {{type: [{}]}}\ntargets:\n",
                rule.enabled,
                kinds.join(", ")
            )
            .unwrap();
            for (t, target) in rule.targets.iter().enumerate().filter(|(_, target)| target.present) {
                let order = match target.order {
                    Order::Free => "",
                    Order::Key => ", ordering: key",
                    Order::Path => ", ordering: {key: $.data.k}",
                    Order::Partition => ", ordering: partition",
                };
                let holds = if target.holds { ", on_exhausted: hold" } else { "" };
                writeln!(text, "- {{name: t{t}, destination: d{}{order}{holds}}}", target.destination).unwrap();
            }
        }
        text
    }
}

fn limit(rng: &mut Rng) -> (u32, u32) {
    (rng.u32(2..=40), rng.u32(1..=12))
}

fn destination(rng: &mut Rng, budgets: bool) -> Destination {
    Destination {
        limit: rng.bool().then(|| limit(rng)),
        exact: rng.bool(),
        timeout_s: rng.u64(1..=5),
        max_attempts: if rng.bool() { 185 } else { rng.u32(2..12) },
        max_age_s: if rng.bool() { rng.u64(5..60) } else { rng.u64(60..600) },
        budget: (budgets && rng.bool()).then(|| (rng.u32(1..4), rng.u32(0..20))),
        address: 0,
    }
}
