//! Amazon EventBridge → our resources: rules, API destinations, connections. Pure: nodes in, a draft out.

mod path;
mod rule;
mod shapes;
mod target;

#[cfg(test)]
mod tests;

use super::connection::{self, Connection};
use super::draft::{Draft, Kind, Resource, Sample, entry, text};
use super::given::{self, Given, find, given, plain};
use super::http::{self, Endpoint, Star};
use super::{Choices, Document, NotUnderstood};
use crate::model::node::Node;
use shapes::{Found, Thing};

/// What AWS does with an API destination that names no rate.
const RATE_PER_SECOND: &str = "300";

/// A connection on its way.
struct Planned<'n> {
    theirs: String,
    ours: String,
    thing: Option<&'n Thing>,
}

/// A destination on its way.
struct Sending<'n> {
    ours: String,
    thing: Option<&'n Thing>,
    theirs: String,
    connection: usize,
    endpoint: Option<Endpoint>,
}

/// Translates everything that was found in some documents.
///
/// # Errors
/// There is nothing of AWS in them.
pub(super) fn import(documents: &[Document], choices: &Choices) -> Result<Draft, NotUnderstood> {
    let mut found = Found::default();
    for document in documents {
        shapes::collect(&document.nodes, &document.stem, &choices.parameters, &mut found);
    }
    if found.is_empty() || !found.unknown.is_empty() {
        return Err(NotUnderstood { places: found.unknown, understood: shapes::SHAPES });
    }
    found.join();
    let mut draft = Draft::default();
    let mut connections: Vec<Planned<'_>> = Vec::new();
    for thing in &found.connections {
        connections.push(planned(&mut draft, &thing.name, Some(thing)));
    }
    let mut sending = Vec::new();
    for thing in &found.destinations {
        let connection = connection_of(&mut draft, thing, &mut connections);
        sending.push(destination(&mut draft, &thing.name, Some(thing), connection));
    }
    // What rules refer to and the input does not have is written with its url to be supplied.
    for name in missing(&found) {
        connections.push(planned(&mut draft, &name, None));
        let connection = connections.len() - 1;
        sending.push(destination(&mut draft, &name, None, connection));
    }
    for (index, planned) in connections.iter().enumerate() {
        let endpoints: Vec<_> =
            sending.iter().filter(|s| s.connection == index).filter_map(|s| s.endpoint.as_ref()).collect();
        let node = planned.thing.map(|thing| &thing.node);
        connection::write(
            &mut draft,
            &Connection {
                name: &planned.theirs,
                ours: &planned.ours,
                origin: origin("connection", &planned.theirs, planned.thing),
                node,
                auth: node.and_then(|node| plain(node, "AuthorizationType")),
                endpoints,
            },
        );
        told(&mut draft, "connection", planned.thing);
    }
    for one in &sending {
        let origins: Vec<_> =
            sending.iter().filter(|s| s.connection == one.connection).filter_map(|s| s.endpoint.as_ref()).collect();
        let alone = connection::origins(&origins).len() <= 1;
        write_destination(&mut draft, one, &connections, alone);
    }
    rule::write(&mut draft, &found, &|thing| ours_of(&sending, thing), choices);
    for (id, of) in &found.others {
        draft.lost(&format!("resource {id}"), "Type", format!("`{of}` has no equivalent"), other_instead(of));
    }
    if found.orphans > 0 {
        let many = format!("{} targets", found.orphans);
        let why = "no rule of theirs is in the input";
        draft.lost(&many, "Targets", why, "put the answer of describe-rule before that of list-targets-by-rule");
    }
    Ok(draft)
}

fn other_instead(of: &str) -> &'static str {
    match of {
        "AWS::Events::EventBus" => "each event bus becomes a source; give it the topics that hold the bus's events",
        "AWS::Events::Archive" => "Kafka keeps events as long as the topic's retention says; `tidegate dlq` redrives",
        of if of.starts_with("AWS::Scheduler") => "have a scheduler run `tidegate publish`",
        _ => "leave it out",
    }
}

/// Which destination rules mean: a name, or a logical id.
enum Wanted<'a> {
    Name(&'a str),
    Id(&'a str),
}

/// Our name of a destination.
fn ours_of(sending: &[Sending<'_>], wanted: &Wanted<'_>) -> Option<String> {
    let is = |sending: &&Sending<'_>| match wanted {
        Wanted::Name(name) => sending.theirs == *name,
        Wanted::Id(id) => sending.thing.is_some_and(|thing| thing.id.as_deref() == Some(id)),
    };
    sending.iter().find(is).map(|sending| sending.ours.clone())
}

/// Names of API destinations that rules refer to and that are not in the input.
fn missing(found: &Found) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for target in found.rules.iter().flat_map(|rule| &rule.targets) {
        if let target::Sends::Named(name) = target::sends(target)
            && !names.contains(&name)
            && !found.destinations.iter().any(|thing| thing.name == name)
        {
            names.push(name);
        }
    }
    names
}

fn planned<'n>(draft: &mut Draft, name: &str, thing: Option<&'n Thing>) -> Planned<'n> {
    Planned { theirs: name.to_owned(), ours: draft.names.take(Kind::Connection, name), thing }
}

/// The connection of a destination; one that is not in the input is planned all the same.
fn connection_of(draft: &mut Draft, thing: &Thing, connections: &mut Vec<Planned<'_>>) -> usize {
    let written = find(&thing.node, "ConnectionArn");
    let id = written.and_then(given::referred);
    let name = written.and_then(Node::as_plain).and_then(|arn| arn.split('/').nth(1)).map(str::to_owned);
    let is = |planned: &Planned<'_>| match (id, &name) {
        (Some(id), _) => planned.thing.is_some_and(|thing| thing.id.as_deref() == Some(id)),
        (None, Some(name)) => planned.theirs == *name,
        (None, None) => false,
    };
    if let Some(index) = connections.iter().position(is) {
        return index;
    }
    let name = name.or_else(|| id.map(str::to_owned)).unwrap_or_else(|| thing.name.clone());
    connections.push(planned(draft, &name, None));
    connections.len() - 1
}

fn destination<'n>(draft: &mut Draft, name: &str, thing: Option<&'n Thing>, connection: usize) -> Sending<'n> {
    let url = thing.and_then(|thing| given(&thing.node, "InvocationEndpoint"));
    Sending {
        ours: draft.names.take(Kind::Destination, name),
        thing,
        theirs: name.to_owned(),
        connection,
        endpoint: url.as_ref().and_then(Given::known).and_then(|url| http::endpoint(url, Star::Parameter)),
    }
}

fn write_destination(draft: &mut Draft, sending: &Sending<'_>, connections: &[Planned<'_>], alone: bool) {
    let before = draft.notes.len();
    let about = format!("API destination {}", sending.theirs);
    let mut entries = Vec::new();
    entries.extend(sending.thing.and_then(|thing| http::description(&thing.node)));
    entries.extend(connections.get(sending.connection).map(|c| entry("connection", text(c.ours.clone()))));
    match &sending.endpoint {
        Some(endpoint) if alone && endpoint.path.is_empty() => {}
        Some(endpoint) => entries.push(entry("endpoint", endpoint.written(draft, &sending.ours, &about, alone))),
        None => {
            let url = sending.thing.and_then(|thing| given(&thing.node, "InvocationEndpoint"));
            let unresolved = url.filter(|url| url.known().is_none());
            let variable = format!("{}_URL", sending.ours);
            entries.push(entry(
                "endpoint",
                http::literal(draft, unresolved, &variable, &format!("{about}: its url"), Sample::Url),
            ));
        }
    }
    let node = sending.thing.map(|thing| &thing.node);
    if let Some(method) = node.and_then(|node| plain(node, "HttpMethod")).filter(|method| method != "POST") {
        entries.push(entry("method", text(method)));
    }
    let rate = node.and_then(|node| plain(node, "InvocationRateLimitPerSecond"));
    let rate = rate.filter(|rate| rate.parse::<u32>().is_ok_and(|rate| rate > 0));
    if node.is_some() {
        entries.push(entry("rate_limit", text(format!("{}/s", rate.as_deref().unwrap_or(RATE_PER_SECOND)))));
    } else {
        let call = format!("import the answer of `aws events describe-api-destination --name {}` too", sending.theirs);
        draft.differs(&about, "", "it is not in the input, so its url is to be supplied", call);
    }
    if node.and_then(|node| plain(node, "ApiDestinationState")).as_deref() == Some("INACTIVE") {
        draft.differs(&about, "ApiDestinationState", "it is inactive there", "check its connection");
    }
    draft.resources.push(Resource {
        kind: Kind::Destination,
        name: sending.ours.clone(),
        origin: origin("API destination", &sending.theirs, sending.thing),
        comments: draft.comments_since(before),
        entries,
        unusable: false,
    });
    told(draft, "API destination", sending.thing);
}

/// Where a resource comes from, in one line.
fn origin(kind: &str, name: &str, thing: Option<&Thing>) -> String {
    let place = thing.map(|thing| format!(" ({})", thing.node.place)).unwrap_or_default();
    format!("AWS {kind} {name}{place}")
}

/// Says what a template says beside a resource.
fn told(draft: &mut Draft, kind: &str, thing: Option<&Thing>) {
    let Some((thing, condition)) = thing.and_then(|thing| Some((thing, thing.condition.as_ref()?))) else { return };
    let why = format!("it exists only if `{condition}`");
    draft.differs(&format!("{kind} {}", thing.name), "Condition", why, "delete it where it shall not exist");
}
