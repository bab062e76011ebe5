//! `Snapshot`: checked resources compiled into one immutable set that all lanes share.
//!
//! A reload compiles a new snapshot beside the old one and swaps it; events in flight keep the targets they were given.
//! A destination keeps its run-time state (rate, breaker, gate) from one snapshot to the next, a connection its rate.

use crate::destinations;
use crate::destinations::connection::Connection;
use crate::destinations::exchange::Post;
use crate::destinations::hold;
use crate::destinations::responses::{self, Responses};
use crate::destinations::tls::Roots;
use crate::json::document::Document;
use crate::model::clock::Monotonic;
use crate::model::fault::Fault;
use crate::model::name::{Name, TargetName};
use crate::model::node::Node;
use crate::model::resources::{self as written, OnExhausted, PatternLimits, Resources, RetryPolicy};
use crate::pattern::filters::{self, Filters};
use crate::pattern::index::Scratch;
use crate::pattern::{self, EvaluationLimit, Explanation, Pattern};
use crate::pipeline::decode;
use crate::pipeline::matching::RuleSet;
use crate::pipeline::ordered::{self, OrderedTarget};
use crate::pipeline::sequences::Order;
use crate::pipeline::transform::{self, Template};
use crate::telemetry::figures::{Figures, TargetFigures};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Compiled resources.
#[derive(Debug)]
pub struct Snapshot {
    /// The resources it was made of.
    pub resources: Resources,
    rules: Vec<Arc<CompiledRule>>,
    sources: HashMap<Name, Arc<SourceRules>>,
    targets: HashMap<(Name, Name), Arc<CompiledTarget>>,
    ordered: BTreeMap<TargetName, Arc<OrderedTarget>>,
    connections: HashMap<Name, Arc<Connection>>,
    destinations: HashMap<Name, Arc<destinations::Destination>>,
    /// Destinations all of whose targets belong to disabled rules.
    disabled: HashSet<Name>,
    figures: Arc<Figures>,
}

/// The rules that listen to one source.
#[derive(Debug)]
pub struct SourceRules {
    /// The source.
    pub source: Arc<written::Source>,
    rules: Vec<Arc<CompiledRule>>,
    index: RuleSet,
}

/// A rule, compiled.
#[derive(Debug)]
pub struct CompiledRule {
    /// The rule as written.
    pub rule: Arc<written::Rule>,
    /// Its pattern.
    pub pattern: Arc<Pattern>,
    /// Its filters, which must hold as well.
    pub filters: Option<Arc<Filters>>,
    /// Its targets.
    pub targets: Vec<Arc<CompiledTarget>>,
}

/// A target, compiled.
#[derive(Debug)]
pub struct CompiledTarget {
    /// The rule it belongs to.
    pub rule: Name,
    /// Its name.
    pub name: Name,
    /// What it sends.
    pub template: Template,
    /// Where it sends it.
    pub destination: Arc<destinations::Destination>,
    /// How long a failing delivery is tried.
    pub retry: Arc<RetryPolicy>,
    /// Where its dead letters go.
    pub dead_letter_topic: Arc<str>,
    /// What keeps its order; `None`: its deliveries go as soon as they can.
    pub order: Option<Order>,
    /// What becomes of a delivery in order that has failed for good.
    pub on_exhausted: OnExhausted,
    /// Whether its rule is enabled.
    pub enabled: bool,
    /// Where its deliveries are counted.
    pub figures: Arc<TargetFigures>,
}

impl Snapshot {
    /// Compiles resources. `previous` lends the run-time state of what stays, `roots` are the authorities
    /// trusted where a connection names none. Gives the snapshot and the warnings, or every fault of every pattern and template at once.
    ///
    /// # Errors
    /// All faults, each with its place.
    pub fn compile(
        resources: Resources,
        roots: &Roots,
        previous: Option<&Self>,
    ) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let limits = resources.pattern_limits;
        let mut faults = Vec::new();
        let mut connections = HashMap::new();
        let mut responses = HashMap::new();
        for written in &resources.connections {
            responses.insert(&written.name, responses::compile(&written.responses, limits, &mut faults));
            let tls = resources.destinations.iter().any(|d| d.connection.name == written.name && d.base.tls);
            let before = previous.and_then(|p| p.connections.get(&written.name)).map(Arc::as_ref);
            match Connection::new(Arc::clone(written), roots, tls, before) {
                Ok(connection) => drop(connections.insert(written.name.clone(), Arc::new(connection))),
                Err(error) => faults.push(Fault::error(error.code(), "", error.to_string()).at(written.place.clone())),
            }
        }
        let mut destinations = HashMap::new();
        for written in &resources.destinations {
            // The fault of a connection has been told.
            let Some(connection) = connections.get(&written.connection.name) else { continue };
            let before = previous.and_then(|p| p.destinations.get(&written.name)).map(Arc::as_ref);
            let own = responses::compile(&written.responses, limits, &mut faults);
            let theirs = responses.get(&written.connection.name).map_or(&[][..], Vec::as_slice);
            match destinations::Destination::new(Arc::clone(written), Arc::clone(connection), before) {
                Ok(destination) => {
                    let destination = destination.judged_by(Responses::new(&own, theirs));
                    let destination = destination.among(resources.destinations.len());
                    destinations.insert(written.name.clone(), Arc::new(destination));
                }
                Err(error) => faults.push(Fault::error(error.code(), "", error.to_string()).at(written.place.clone())),
            }
        }
        let figures = previous.map(|previous| Arc::clone(&previous.figures)).unwrap_or_default();
        let mut rules = Vec::new();
        let mut pool = pattern::Pool::default();
        for rule in &resources.rules {
            rules.extend(compile_rule(rule, limits, &mut pool, &destinations, &figures, &mut faults));
        }
        if faults.iter().any(|fault| !fault.warning) {
            return Err(faults);
        }
        let targets = || rules.iter().flat_map(|rule: &Arc<CompiledRule>| &rule.targets);
        let names = |enabled| targets().filter(move |t| t.enabled == enabled).map(|t| &t.destination.resource().name);
        let enabled: HashSet<&Name> = names(true).collect();
        let disabled = names(false).filter(|name| !enabled.contains(name)).cloned().collect();
        let targets = targets().map(|t| ((t.rule.clone(), t.name.clone()), Arc::clone(t))).collect();
        let sources = resources.sources.iter().map(|source| {
            let rules: Vec<_> = rules
                .iter()
                .filter(|r| r.rule.enabled && r.rule.from.as_ref().is_none_or(|from| *from == source.name))
                .cloned()
                .collect();
            (source.name.clone(), Arc::new(SourceRules::new(source, rules)))
        });
        let sources = sources.collect();
        let ordered = ordered::targets(&resources.sources, &rules);
        Ok((Self { resources, rules, sources, targets, ordered, connections, destinations, disabled, figures }, faults))
    }

    /// Takes the place of `previous`: to be called when the whole reload is accepted, before the snapshot is used.
    pub fn adopt(&self, previous: &Self, now: Monotonic) {
        for (name, after) in &self.connections {
            if let Some(before) = previous.connections.get(name) {
                after.adopt(before, now);
            }
        }
        for (name, before) in &previous.destinations {
            match self.destinations.get(name) {
                Some(after) => after.adopt(before, now),
                None => before.retire(),
            }
        }
    }

    /// Says who fetches the tokens of its connections; without it, none come.
    pub fn fetch_tokens_by(&self, post: &Post) {
        self.connections.values().for_each(|connection| connection.fetch_by(post));
    }

    /// Says who keeps the holds of its destinations that begin by themselves; without it they last as long as the process.
    pub fn hold_by(&self, post: &hold::Post) {
        self.destinations.values().for_each(|destination| destination.hold_by(post));
    }

    /// What was counted under this snapshot and those before it.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// A destination by name.
    #[must_use]
    pub fn destination(&self, name: &Name) -> Option<&Arc<destinations::Destination>> {
        self.destinations.get(name)
    }

    /// Whether some target may send to a destination now: not all of them belong to disabled rules.
    #[must_use]
    pub fn is_fed(&self, destination: &Name) -> bool {
        !self.disabled.contains(destination)
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.values()
    }

    /// All rules, in the order written.
    #[must_use]
    pub fn rules(&self) -> &[Arc<CompiledRule>] {
        &self.rules
    }

    /// A rule by name.
    #[must_use]
    pub fn rule(&self, name: &Name) -> Option<&Arc<CompiledRule>> {
        self.rules.iter().find(|rule| rule.rule.name == *name)
    }

    /// The rules that listen to a source.
    #[must_use]
    pub fn source(&self, name: &Name) -> Option<&Arc<SourceRules>> {
        self.sources.get(name)
    }

    /// The targets that keep an order and therefore read their topics by themselves.
    pub fn ordered(&self) -> impl Iterator<Item = &Arc<OrderedTarget>> {
        self.ordered.values()
    }

    /// One of them.
    #[must_use]
    pub fn ordered_target(&self, name: &TargetName) -> Option<&Arc<OrderedTarget>> {
        self.ordered.get(name)
    }

    /// The target that a stored record names.
    #[must_use]
    pub fn target(&self, rule: &str, target: &str) -> Option<&Arc<CompiledTarget>> {
        self.targets.get(&(Name::new(rule)?, Name::new(target)?))
    }

    /// What a target is today; `None` if it is gone.
    #[must_use]
    pub fn today(&self, target: &CompiledTarget) -> Option<&Arc<CompiledTarget>> {
        self.targets.get(&(target.rule.clone(), target.name.clone()))
    }

    /// All destinations.
    pub fn destinations(&self) -> impl Iterator<Item = &Arc<destinations::Destination>> {
        self.destinations.values()
    }

    /// The source whose reading options apply to a record of `topic` that `rule` wanted.
    #[must_use]
    pub fn source_of(&self, rule: &Name, topic: &str) -> Option<&Arc<SourceRules>> {
        let from = self.resources.rules.iter().find(|r| r.name == *rule).and_then(|r| r.from.as_ref());
        match from {
            Some(name) => self.source(name),
            None => self.sources.values().find(|s| s.source.topics.iter().any(|t| t == topic)),
        }
    }
}

impl SourceRules {
    /// Rules that listen to a source.
    #[must_use]
    pub fn new(source: &Arc<written::Source>, rules: Vec<Arc<CompiledRule>>) -> Self {
        let index = rules.iter().map(|rule| (Arc::clone(&rule.pattern), rule.filters.clone())).collect();
        Self { source: Arc::clone(source), rules, index }
    }

    /// Calls `each` for every target that wants the document, in the order of the rules, or with the rule whose
    /// pattern gave up (it is never counted as "no match").
    pub fn wanted<'s>(
        &'s self,
        document: &Document<'_>,
        scratch: &mut Scratch,
        mut each: impl FnMut(&'s Arc<CompiledRule>, Result<(), EvaluationLimit>),
    ) {
        self.index.wanted(document, scratch, |rule, verdict| {
            if let Some(rule) = self.rules.get(rule) {
                each(rule, verdict);
            }
        });
    }
}

impl SourceRules {
    /// How its records are read.
    #[must_use]
    pub fn decode_options(&self) -> decode::Options {
        decode::Options { strict: self.source.strict, payload: self.source.decode }
    }
}

impl CompiledRule {
    /// Why it matches or not.
    #[must_use]
    pub fn explain(&self, document: &Document<'_>) -> Explanation {
        // Compiled alone, it knows its words.
        let alone = pattern::compile(&self.rule.pattern.to_json(), self.pattern.options()).ok();
        let pattern = alone.as_ref().map_or(&*self.pattern, |alone| &alone.pattern);
        let verdict = pattern.explain(document);
        match &self.filters {
            Some(filters) if verdict.matched != Ok(false) => filters.explain(document).unwrap_or(verdict),
            Some(_) | None => verdict,
        }
    }
}

fn compile_rule(
    rule: &Arc<written::Rule>,
    limits: PatternLimits,
    pool: &mut pattern::Pool,
    destinations: &HashMap<Name, Arc<destinations::Destination>>,
    figures: &Figures,
    faults: &mut Vec<Fault>,
) -> Option<Arc<CompiledRule>> {
    let options = pattern::Options { dialect: rule.dialect, alias_aws: rule.alias_aws, limits };
    let in_pattern = |fault: Fault| pattern::placed(fault, &rule.pattern, "/pattern");
    let text = rule.pattern.to_json();
    let pattern = match pattern::compile_with(&text, &options, pool) {
        Ok(compiled) => {
            let warnings = compiled.warnings.into_iter().chain(compiled.pattern.doubts(&text));
            faults.extend(warnings.map(in_pattern));
            Some(Arc::new(compiled.pattern))
        }
        Err(found) => {
            faults.extend(found.into_iter().map(in_pattern));
            None
        }
    };
    let filters = rule.filters.as_ref().map(|written| compile_filters(written, limits, faults));
    let mut targets = Vec::new();
    for target in &rule.targets {
        let at_target = |fault: Fault| match fault.place {
            Some(_) => fault,
            None => fault.at(target.place.clone()),
        };
        let order = Order::of(&target.ordering).unwrap_or_else(|error| {
            let message = format!("`ordering: {}`: {error}", target.ordering);
            faults.push(at_target(Fault::error("CONFIG_VALUE", "/ordering/key", message)));
            None
        });
        match (transform::compile(&transform::Spec::of(rule, target)), destinations.get(&target.destination.name)) {
            (Ok(compiled), Some(destination)) => {
                faults.extend(compiled.warnings.into_iter().map(at_target));
                let topic = target.dead_letter_topic.as_ref().unwrap_or(&target.destination.dead_letter_topic);
                targets.push(Arc::new(CompiledTarget {
                    rule: rule.name.clone(),
                    name: target.name.clone(),
                    template: compiled.template,
                    destination: Arc::clone(destination),
                    retry: target.retry.clone().unwrap_or_else(|| target.destination.retry.clone()),
                    dead_letter_topic: Arc::clone(topic),
                    order,
                    on_exhausted: target.on_exhausted,
                    enabled: rule.enabled,
                    figures: figures.target(rule.name.as_str(), target.name.as_str(), target.destination.name.as_str()),
                }));
            }
            (Err(found), _) => faults.extend(found.into_iter().map(at_target)),
            // Its destination has a fault of its own, which is reported there.
            (Ok(_), None) => {}
        }
    }
    Some(Arc::new(CompiledRule { rule: Arc::clone(rule), pattern: pattern?, filters: filters.flatten(), targets }))
}

/// The filters of a rule; `None` if they have faults, which refuse the whole set.
fn compile_filters(written: &Node, limits: PatternLimits, faults: &mut Vec<Fault>) -> Option<Arc<Filters>> {
    let in_filters = |fault: Fault| pattern::placed(fault, written, "/filters");
    match filters::compile_within(&written.to_json(), &limits) {
        Ok(filters) => {
            faults.extend(filters.warnings().iter().cloned().map(in_filters));
            Some(Arc::new(filters))
        }
        Err(found) => {
            faults.extend(found.into_iter().map(in_filters));
            None
        }
    }
}
