//! What Alibaba Cloud prints, told by its shape: answers of EventBridge's API 2020-04-01 (`GetRule`, `ListRules`,
//! `ListTargets`, `GetConnection`, `ListConnections`, `GetApiDestination`, `ListApiDestinations`) and ROS templates.

use crate::cli::import::given::{self, find, plain};
use crate::cli::import::template;
use crate::model::fault::Place;
use crate::model::node::{Key, Kind, Node};
use std::collections::HashMap;

/// A thing with its name.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) name: String,
    pub(super) node: Node,
}

/// A rule with what was found of its targets.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) bus: String,
    pub(super) node: Node,
    pub(super) targets: Vec<Node>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rules: Vec<Rule>,
    pub(super) connections: Vec<Thing>,
    pub(super) destinations: Vec<Thing>,
    /// Targets, and what the file or key is called that they stand in.
    targets: Vec<(Option<String>, Node)>,
    pub(super) others: Vec<(String, String)>,
    pub(super) unknown: Vec<Place>,
    /// Targets whose rule is not known.
    pub(super) orphans: usize,
}

/// Shapes that are understood, for messages.
pub(super) const SHAPES: &str = "what EventBridge's API prints for GetRule, ListRules, ListTargets, GetConnection, \
     ListConnections, GetApiDestination and ListApiDestinations, and ROS templates; one after the other, in a list, or \
     under any keys";

/// Lists of answers, which may be empty.
const LISTS: [&str; 4] = ["Rules", "Targets", "Connections", "ApiDestinations"];

/// Looks through documents; `file` is the name of their file, which may be that of a rule.
pub(super) fn collect(nodes: &[Node], file: &str, parameters: &HashMap<String, String>, found: &mut Found) {
    for node in nodes {
        walk(node, Some(file), parameters, found);
    }
}

fn walk(node: &Node, hint: Option<&str>, parameters: &HashMap<String, String>, found: &mut Found) {
    let has = |key: &str| find(node, key).is_some();
    if let Kind::List(items) = &node.kind {
        return items.iter().for_each(|item| walk(item, hint, parameters, found));
    }
    if template::is_template(node) {
        return templated(node, parameters, found);
    }
    if has("HttpApiParameters") {
        return add(&mut found.destinations, node, "ApiDestinationName");
    }
    if has("ConnectionName") {
        return add(&mut found.connections, node, "ConnectionName");
    }
    if has("Type") && (has("ParamList") || has("Endpoint") || has("PushRetryStrategy")) {
        return found.targets.push((hint.map(str::to_owned), node.clone()));
    }
    if has("RuleName") && (has("FilterPattern") || has("Status") || has("RuleARN")) {
        return add_rule(node, found);
    }
    let mut known = false;
    for (key, value) in node.entries() {
        let empty = value.entries().is_empty() && given::elements(value).is_empty();
        if !empty || LISTS.contains(&key.name.as_str()) {
            known = true;
            let hint =
                if key.name == "Data" || LISTS.contains(&key.name.as_str()) { hint } else { Some(key.name.as_str()) };
            walk(value, hint, parameters, found);
        }
    }
    if !known {
        found.unknown.push(node.place.clone());
    }
}

fn templated(node: &Node, parameters: &HashMap<String, String>, found: &mut Found) {
    for resource in template::resources(node, parameters) {
        let name = |key: &str| plain(&resource.properties, key).unwrap_or_else(|| resource.id.clone());
        match resource.of.as_str() {
            "ALIYUN::EventBridge::Rule" => {
                let targets = given::items(&resource.properties, "Targets").to_vec();
                let (name, bus) = (name("RuleName"), bus(&resource.properties));
                found.rules.push(Rule { name, bus, node: resource.properties, targets });
            }
            "ALIYUN::EventBridge::Connection" => {
                found.connections.push(Thing { name: name("ConnectionName"), node: resource.properties });
            }
            "ALIYUN::EventBridge::ApiDestination" => {
                found.destinations.push(Thing { name: name("ApiDestinationName"), node: resource.properties });
            }
            of if of.starts_with("ALIYUN::EventBridge::") => found.others.push((resource.id, resource.of)),
            _ => {}
        }
    }
}

fn bus(node: &Node) -> String {
    let written = find(node, "EventBusName");
    let referred = || written.and_then(given::referred).map(str::to_owned);
    plain(node, "EventBusName").or_else(referred).unwrap_or_else(|| "default".to_owned())
}

fn add(things: &mut Vec<Thing>, node: &Node, key: &str) {
    let name = plain(node, key).unwrap_or_default();
    match things.iter_mut().find(|thing| thing.name == name) {
        Some(known) => merge(&mut known.node, node),
        None => things.push(Thing { name, node: node.clone() }),
    }
}

fn add_rule(node: &Node, found: &mut Found) {
    let (name, bus) = (plain(node, "RuleName").unwrap_or_default(), bus(node));
    found.targets.extend(given::items(node, "Targets").iter().map(|target| (Some(name.clone()), target.clone())));
    match found.rules.iter_mut().find(|rule| rule.name == name && rule.bus == bus) {
        Some(known) => merge(&mut known.node, node),
        None => found.rules.push(Rule { name, bus, node: node.clone(), targets: Vec::new() }),
    }
}

/// What a list shows and what a description shows complete each other.
fn merge(known: &mut Node, more: &Node) {
    let Kind::Map(entries) = &mut known.kind else { return };
    for (key, value) in more.entries() {
        if !entries.iter().any(|(k, _): &(Key, Node)| k.name == key.name) {
            entries.push((key.clone(), value.clone()));
        }
    }
}

impl Found {
    /// Gives each rule its targets, once everything has been looked through. Of a target that is shown twice, both
    /// parts count: `GetRule` shows less than `ListTargets`.
    pub(super) fn join(&mut self) {
        for (likely, target) in std::mem::take(&mut self.targets) {
            let said = plain(&target, "RuleName");
            // A guess is as good as none if there is one rule only; what was said is never overruled.
            let only = said.is_none() && self.rules.len() == 1;
            let named = said.or(likely);
            let of = plain(&target, "EventBusName");
            let fits = |rule: &&mut Rule| {
                let same_bus = of.as_ref().is_none_or(|of| *of == rule.bus);
                only || (same_bus && named.as_ref() == Some(&rule.name))
            };
            let Some(rule) = self.rules.iter_mut().find(fits) else {
                self.orphans += 1;
                continue;
            };
            let id = plain(&target, "Id");
            match rule.targets.iter_mut().find(|known| id.is_some() && plain(known, "Id") == id) {
                Some(known) => merge(known, &target),
                None => rule.targets.push(target),
            }
        }
    }

    /// Nothing that could be imported.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.connections.is_empty() && self.destinations.is_empty() && self.orphans == 0
    }
}
