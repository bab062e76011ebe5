//! What AWS prints, told by its shape: answers of `describe-…` and `list-…` calls, requests of `put-…` and `create-…`
//! calls, `CloudFormation` templates; one by one, in lists, or under any keys.

use crate::cli::import::given::{self, find, plain};
use crate::cli::import::template;
use crate::model::fault::Place;
use crate::model::node::{Key, Kind, Node};
use std::collections::HashMap;

/// What AWS calls a thing of one kind.
#[derive(Debug)]
pub(super) struct Thing {
    /// Its name; in a template without a name the logical id.
    pub(super) name: String,
    /// Its logical id in a template.
    pub(super) id: Option<String>,
    /// What was printed of it.
    pub(super) node: Node,
    /// Condition of its template.
    pub(super) condition: Option<String>,
}

/// A rule with what was found of its targets.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) thing: Thing,
    pub(super) bus: String,
    pub(super) targets: Vec<Node>,
}

/// Targets that were printed without their rule.
#[derive(Debug)]
struct Targets {
    /// The name of their rule, as it stands beside them.
    said: Option<String>,
    /// The rule that was described just before, or what the file or key is called.
    likely: Option<String>,
    nodes: Vec<Node>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rules: Vec<Rule>,
    pub(super) connections: Vec<Thing>,
    pub(super) destinations: Vec<Thing>,
    targets: Vec<Targets>,
    /// Types of all resources of templates, by logical id.
    pub(super) types: HashMap<String, String>,
    /// Resources of templates that have no equivalent: logical id, type.
    pub(super) others: Vec<(String, String)>,
    /// Values of no known shape.
    pub(super) unknown: Vec<Place>,
    /// Targets whose rule is not known.
    pub(super) orphans: usize,
}

/// Shapes that are understood, for messages.
pub(super) const SHAPES: &str = "what `aws events` prints for describe-rule, list-rules, list-targets-by-rule, \
     describe-connection, list-connections, describe-api-destination and list-api-destinations, and CloudFormation \
     templates; one after the other, in a list, or under any keys";

/// Kinds of resources in templates that have to do with events and no equivalent.
const RELATED: [&str; 4] = ["AWS::Events::", "AWS::Scheduler::", "AWS::Pipes::", "AWS::EventSchemas::"];

/// Looks through documents; `file` is the name of their file, which may be that of a rule.
pub(super) fn collect(nodes: &[Node], file: &str, parameters: &HashMap<String, String>, found: &mut Found) {
    let mut last_rule = None;
    for node in nodes {
        walk(node, Some(file), &mut last_rule, parameters, found);
    }
}

fn walk(
    node: &Node,
    hint: Option<&str>,
    last_rule: &mut Option<String>,
    parameters: &HashMap<String, String>,
    found: &mut Found,
) {
    let has = |key: &str| find(node, key).is_some();
    if let Kind::List(items) = &node.kind {
        return items.iter().for_each(|item| walk(item, hint, last_rule, parameters, found));
    }
    if template::is_template(node) {
        return templated(node, parameters, found);
    }
    if has("InvocationEndpoint") || has("ApiDestinationArn") {
        return add(&mut found.destinations, node, "ApiDestinationArn");
    }
    if has("AuthorizationType") && !has("InvocationEndpoint") {
        return add(&mut found.connections, node, "ConnectionArn");
    }
    let is_rule = has("EventPattern") || has("ScheduleExpression") || has("State");
    if is_rule && has("Name") {
        *last_rule = plain(node, "Name");
        return add_rule(node, found);
    }
    let mut known = false;
    for (key, value) in node.entries() {
        match key.name.as_str() {
            "Targets" => {
                known = true;
                let likely = last_rule.clone().or_else(|| hint.map(str::to_owned));
                let nodes = given::elements(value).to_vec();
                found.targets.push(Targets { said: plain(node, "Rule"), likely, nodes });
            }
            "Rules" | "Connections" | "ApiDestinations" => {
                known = true;
                let items = given::elements(value);
                items.iter().for_each(|item| walk(item, hint, last_rule, parameters, found));
                if items.len() > 1 {
                    // What follows a list belongs to none of its rules in particular.
                    *last_rule = None;
                }
            }
            // What every answer may have beside.
            "NextToken" | "ResponseMetadata" | "Rule" => known = known || value.as_plain().is_some(),
            name if !value.entries().is_empty() || !given::elements(value).is_empty() => {
                known = true;
                let mut inner = Some(name.to_owned());
                walk(value, Some(name), &mut inner, parameters, found);
            }
            _ => {}
        }
    }
    if !known {
        found.unknown.push(node.place.clone());
    }
}

fn templated(node: &Node, parameters: &HashMap<String, String>, found: &mut Found) {
    for resource in template::resources(node, parameters) {
        found.types.insert(resource.id.clone(), resource.of.clone());
        let properties = resource.properties;
        let name = plain(&properties, "Name").unwrap_or_else(|| resource.id.clone());
        let thing =
            Thing { name, id: Some(resource.id.clone()), node: properties, condition: resource.condition.clone() };
        match resource.of.as_str() {
            "AWS::Events::Rule" => {
                let targets = given::items(&thing.node, "Targets").to_vec();
                let bus = bus(&thing.node);
                found.rules.push(Rule { thing, bus, targets });
            }
            "AWS::Events::Connection" => found.connections.push(thing),
            "AWS::Events::ApiDestination" => found.destinations.push(thing),
            of if RELATED.iter().any(|related| of.starts_with(related)) => {
                found.others.push((resource.id, resource.of));
            }
            _ => {}
        }
    }
}

fn add(things: &mut Vec<Thing>, node: &Node, arn: &str) {
    let from_arn = || plain(node, arn).and_then(|arn| arn.split('/').nth(1).map(str::to_owned));
    let name = plain(node, "Name").or_else(from_arn).unwrap_or_default();
    match things.iter_mut().find(|thing| thing.id.is_none() && thing.name == name) {
        Some(known) => merge(&mut known.node, node),
        None => things.push(Thing { name, id: None, node: node.clone(), condition: None }),
    }
}

fn add_rule(node: &Node, found: &mut Found) {
    let (name, bus) = (plain(node, "Name").unwrap_or_default(), bus(node));
    let targets = given::items(node, "Targets").to_vec();
    match found.rules.iter_mut().find(|rule| rule.thing.id.is_none() && rule.thing.name == name && rule.bus == bus) {
        Some(known) => {
            merge(&mut known.thing.node, node);
            known.targets.extend(targets);
        }
        None => {
            let thing = Thing { name, id: None, node: node.clone(), condition: None };
            found.rules.push(Rule { thing, bus, targets });
        }
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

/// The name of the event bus: AWS prints its name or ARN.
fn bus(node: &Node) -> String {
    let Some(written) = find(node, "EventBusName") else { return "default".to_owned() };
    let name = given::referred(written).map(str::to_owned).or_else(|| given::of(written)?.known().map(str::to_owned));
    let name = name.unwrap_or_else(|| "event-bus".to_owned());
    match name.split_once(":event-bus/") {
        Some((_, name)) => name.to_owned(),
        None => name,
    }
}

impl Found {
    /// Gives each rule its targets, once everything has been looked through.
    pub(super) fn join(&mut self) {
        for Targets { said, likely, nodes } in std::mem::take(&mut self.targets) {
            // A guess is as good as none if there is one rule only; what was said is never overruled.
            let only = said.is_none() && self.rules.len() == 1;
            let named = said.or(likely);
            let rule = self.rules.iter_mut().find(|rule| only || named.as_ref() == Some(&rule.thing.name));
            match rule {
                Some(rule) => {
                    for target in nodes {
                        let id = plain(&target, "Id");
                        if !rule.targets.iter().any(|known| plain(known, "Id") == id) {
                            rule.targets.push(target);
                        }
                    }
                }
                None => self.orphans += nodes.len(),
            }
        }
    }

    /// Nothing that could be imported.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.connections.is_empty() && self.destinations.is_empty() && self.orphans == 0
    }
}
