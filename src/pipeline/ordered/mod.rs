//! Targets that keep an order. Each reads the topics of its source by itself, in a consumer group of its own, so that
//! a delivery that others must wait for stalls nobody but its owner (delivery.md "Groups", "Ordering").

mod intakes;

pub use intakes::{OrderedIntakes, tell_abandoned};

use crate::kafka::Origin;
use crate::model::fault::Fault;
use crate::model::name::TargetName;
use crate::model::resources::{OnMissing, Ordering, Resources, Source};
use crate::pipeline::snapshot::{CompiledRule, SourceRules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A target that keeps an order, and what it reads.
#[derive(Debug)]
pub struct OrderedTarget {
    /// Its name.
    pub name: TargetName,
    /// What keeps its order.
    pub ordering: Ordering,
    /// Its topics, each with the source that says how to read it and the rule with this target alone. A topic of several
    /// sources is read once, as the first of them says.
    topics: BTreeMap<String, Arc<SourceRules>>,
}

impl OrderedTarget {
    /// Its consumer group; `prefix` is `kafka.group`.
    #[must_use]
    pub fn group(&self, prefix: &str) -> String {
        group(prefix, &self.name)
    }

    /// Its topics.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// How it reads a topic; nothing matches while its rule is disabled.
    #[must_use]
    pub fn rules(&self, topic: &str) -> Option<&Arc<SourceRules>> {
        self.topics.get(topic)
    }

    /// Whether it is its source that reads like this.
    #[must_use]
    pub fn reads_from(&self, source: &str) -> bool {
        self.topics.values().any(|rules| rules.source.name.as_str() == source)
    }

    /// What to do when the committed offset is gone: the most careful of what its sources say.
    #[must_use]
    pub fn on_missing(&self) -> OnMissing {
        let says = |what: OnMissing| self.topics.values().any(|rules| rules.source.on_missing == what);
        [OnMissing::Halt, OnMissing::Earliest].into_iter().find(|what| says(*what)).unwrap_or(OnMissing::Latest)
    }

    /// Where it begins: its topics, each with the group that reads it already.
    #[must_use]
    pub fn origins(&self, prefix: &str) -> Vec<Origin> {
        let origin = |(topic, rules): (&String, &Arc<SourceRules>)| {
            let (group, start) = (source_group(prefix, &rules.source), rules.source.start);
            Origin { topic: topic.clone(), group, start }
        };
        self.topics.iter().map(origin).collect()
    }
}

/// The consumer group of a source; `prefix` is `kafka.group`.
#[must_use]
pub fn source_group(prefix: &str, source: &Source) -> String {
    source.group.clone().unwrap_or_else(|| format!("{prefix}.{}", source.name))
}

fn group(prefix: &str, name: &TargetName) -> String {
    format!("{prefix}.{name}")
}

/// Those among `rules` that keep an order.
pub(super) fn targets(
    sources: &[Arc<Source>],
    rules: &[Arc<CompiledRule>],
) -> BTreeMap<TargetName, Arc<OrderedTarget>> {
    let mut all = BTreeMap::new();
    for rule in rules {
        for target in rule.targets.iter().filter(|target| target.order.is_some()) {
            let name = TargetName { rule: target.rule.clone(), target: target.name.clone() };
            let written = rule.rule.targets.iter().find(|written| written.name == target.name);
            let alone = rule.rule.enabled.then(|| {
                let (pattern, filters) = (Arc::clone(&rule.pattern), rule.filters.clone());
                let targets = vec![Arc::clone(target)];
                Arc::new(CompiledRule { rule: Arc::clone(&rule.rule), pattern, filters, targets })
            });
            let mut topics = BTreeMap::new();
            for source in sources.iter().filter(|s| rule.rule.from.as_ref().is_none_or(|from| *from == s.name)) {
                let rules = Arc::new(SourceRules::new(source, alone.iter().cloned().collect()));
                for topic in &source.topics {
                    topics.entry(topic.clone()).or_insert_with(|| Arc::clone(&rules));
                }
            }
            let ordering = written.map(|written| written.ordering.clone()).unwrap_or_default();
            all.insert(name.clone(), Arc::new(OrderedTarget { name, ordering, topics }));
        }
    }
    all
}

/// Those among resources that are not compiled, each with its topics.
pub fn written(resources: &Resources) -> impl Iterator<Item = (TargetName, BTreeSet<String>)> {
    resources.rules.iter().flat_map(move |rule| {
        let ordered = rule.targets.iter().filter(|target| target.ordering.is_ordered());
        ordered.map(move |target| {
            let listens = |source: &&Arc<Source>| rule.from.as_ref().is_none_or(|from| *from == source.name);
            let topics = resources.sources.iter().filter(listens).flat_map(|source| source.topics.iter().cloned());
            (TargetName { rule: rule.name.clone(), target: target.name.clone() }, topics.collect())
        })
    })
}

/// The order of a target that is there already cannot change: what waits in one group would be lost or sent again by
/// the other.
#[must_use]
pub fn changed(before: &Resources, after: &Resources) -> Vec<Fault> {
    let mut known = BTreeMap::new();
    for rule in &before.rules {
        known.extend(rule.targets.iter().map(|target| ((&rule.name, &target.name), &target.ordering)));
    }
    let mut faults = Vec::new();
    for rule in &after.rules {
        for (index, target) in rule.targets.iter().enumerate() {
            let Some(was) = known.get(&(&rule.name, &target.name)).filter(|was| ***was != target.ordering) else {
                continue;
            };
            let message = format!(
                "target {}/{} has `ordering: {was}` and cannot change to `{}`: its events would be lost or sent again",
                rule.name, target.name, target.ordering
            );
            let cure =
                format!("give the target a new name, e.g. `{}-2`, which begins where its source stands", target.name);
            let pointer = format!("/targets/{index}/ordering");
            faults.push(Fault::error("CONFIG_ORDERING", pointer, message).cure(cure).at(target.place.clone()));
        }
    }
    faults
}

/// Sources whose group is that of a target in order: each would see a part of the events.
#[must_use]
pub fn clashes(prefix: &str, resources: &Resources) -> Vec<Fault> {
    let groups: BTreeMap<String, TargetName> =
        written(resources).map(|(name, _)| (group(prefix, &name), name)).collect();
    let clash = |source: &Arc<Source>| {
        let group = source.group.as_ref()?;
        let name = groups.get(group)?;
        let message = format!("`{group}` is the group of the target {name}, which keeps an order");
        let fault = Fault::error("CONFIG_VALUE", "/kafka/group", message);
        Some(fault.cure("give the source another group").at(source.place.clone()))
    };
    resources.sources.iter().filter_map(clash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::destinations::tls::Roots;
    use crate::model::resources::Start;
    use crate::pipeline::snapshot::Snapshot;

    const SOURCES: &str = "{kind: source, name: shop, kafka: {topics: [orders, paid], on_missing: latest}}
---
{kind: source, name: web, kafka: {topics: [clicks, orders], group: mine, start: latest, on_missing: latest}}
---
{kind: connection, name: c, url: 'https://api.example'}
---
{kind: destination, name: d, connection: c}
---
";

    fn resources(rules: &str) -> Resources {
        let read = config::resources::read_text("test.yaml", &format!("{SOURCES}{rules}"), &config::Context::default());
        assert!(read.faults.iter().all(|fault| fault.warning), "{:?}", read.faults);
        read.resources
    }

    fn rule(rest: &str, targets: &str) -> Resources {
        resources(&format!("{{kind: rule, name: r, pattern: {{}}, targets: [{targets}]{rest}}}"))
    }

    fn snapshot(resources: Resources) -> Snapshot {
        Snapshot::compile(resources, &Roots::default(), None).unwrap().0
    }

    #[test]
    fn each_reads_the_topics_of_its_source_once_in_its_own_group() {
        let two = "{name: a, destination: d}, {name: b, destination: d, ordering: key}";
        let snapshot = snapshot(rule("", two));
        let all: Vec<_> = snapshot.ordered().collect();
        let [target] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((target.group("tidegate").as_str(), target.name.to_string().as_str()), ("tidegate.r.b", "r.b"));
        assert_eq!(target.topics(), ["clicks", "orders", "paid"]);
        assert_eq!(target.rules("orders").unwrap().source.name.as_str(), "shop", "the first that has it");
        assert_eq!(target.on_missing(), OnMissing::Latest);
        let at = |topic: &str, group: &str, start| Origin { topic: topic.to_owned(), group: group.to_owned(), start };
        let shop = |topic: &str| at(topic, "tidegate.shop", Start::Earliest);
        assert_eq!(target.origins("tidegate"), [at("clicks", "mine", Start::Latest), shop("orders"), shop("paid")]);
        assert!(target.reads_from("web") && !target.reads_from("other"));
    }

    #[test]
    fn a_disabled_rule_keeps_its_group_and_matches_nothing() {
        let one = "{name: b, destination: d, ordering: partition}";
        let snapshot = snapshot(rule(", from: shop, enabled: false", one));
        let target = snapshot.ordered().next().unwrap();
        assert_eq!(target.topics(), ["orders", "paid"]);
        let document = crate::json::document::Document::default();
        let mut wanted = 0;
        let mut scratch = crate::pattern::index::Scratch::default();
        target.rules("paid").unwrap().wanted(&document, &mut scratch, |_, _| wanted += 1);
        assert_eq!(wanted, 0);
    }

    #[test]
    fn the_order_of_a_target_cannot_change_but_everything_else_can() {
        let of = |ordering: &str| rule("", &format!("{{name: t, destination: d, ordering: {ordering}}}"));
        let orders = ["none", "key", "{key: $.data.a}", "{key: $.data.b}", "partition"];
        for (i, before) in orders.iter().enumerate() {
            for (j, after) in orders.iter().enumerate() {
                let faults = changed(&of(before), &of(after));
                assert_eq!(faults.len(), usize::from(i != j), "{before} → {after}");
                let tells = |fault: &Fault| fault.cure.contains("`t-2`") && fault.pointer == "/targets/0/ordering";
                assert!(faults.iter().all(|fault| fault.code == "CONFIG_ORDERING" && tells(fault)), "{faults:?}");
            }
        }
        let held =
            rule(", from: web", "{name: t, destination: d, ordering: key, on_exhausted: hold, retry: {max_age: 1h}}");
        assert!(changed(&of("key"), &held).is_empty());
        assert!(
            changed(&of("key"), &rule("", "{name: t-2, destination: d}")).is_empty(),
            "a new name is another target"
        );
    }

    #[test]
    fn no_source_may_read_in_the_group_of_a_target() {
        let text = "{kind: source, name: s, kafka: {topics: [t], group: tidegate.r.t}}
---
{kind: rule, name: r, pattern: {}, targets: [{name: t, destination: d, ordering: key}]}";
        let faults = clashes("tidegate", &resources(text));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.contains("r.t") && faults[0].place.is_some(), "{faults:?}");
        assert!(clashes("other", &resources(text)).is_empty());
    }
}
