//! Alibaba Cloud EventBridge → our resources: rules, API destinations, connections, and HTTP targets, which have neither.
//! Pure: nodes in, a draft out.

mod param;
mod shapes;

#[cfg(test)]
mod tests;

use super::connection::{self, Connection};
use super::draft::{Draft, Kind, Resource, Sample, boolean, entry, list, map, one, text};
use super::given::{self, Given, at, find, given, plain};
use super::http::{self, Endpoint, Part, Star, put_map};
use super::{Choices, Document, NotUnderstood, names, pattern, source};
use crate::model::node::Node;
use crate::pattern::Options;
use shapes::{Found, Rule, Thing};
use std::collections::HashMap;

/// A connection on its way.
struct Planned<'n> {
    theirs: String,
    ours: String,
    node: Option<&'n Node>,
    /// The url of a target that has no connection there.
    url: Option<String>,
    /// DingTalk's robots sign.
    signed: bool,
}

/// A destination on its way.
struct Sending<'n> {
    theirs: String,
    ours: String,
    node: Option<&'n Node>,
    connection: usize,
    endpoint: Option<Endpoint>,
    /// The url of a target that is no API destination there.
    url: Option<String>,
}

/// Where the targets of rules send.
#[derive(Default)]
struct Plan<'n> {
    connections: Vec<Planned<'n>>,
    sending: Vec<Sending<'n>>,
}

/// Translates everything that was found in some documents.
///
/// # Errors
/// There is nothing of Alibaba Cloud in them.
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
    let mut plan = Plan::default();
    for Thing { name, node } in &found.connections {
        plan.connection(&mut draft, name, Some(node));
    }
    for Thing { name, node } in &found.destinations {
        let connection = plain(node, "ConnectionName").unwrap_or_else(|| name.clone());
        let connection = plan.connection_named(&mut draft, &connection);
        plan.destination(&mut draft, name, Some(node), connection);
    }
    let mut rules = Vec::new();
    let mut sources = HashMap::new();
    for rule in &found.rules {
        let from = source::of(&mut draft, "Alibaba Cloud", &rule.bus, &mut sources, choices);
        rules.extend(write_rule(&mut draft, rule, &mut plan, &from));
    }
    plan.write(&mut draft);
    draft.resources.extend(rules);
    for (id, of) in &found.others {
        let instead = "event buses become sources; what feeds them has to write to Kafka";
        draft.lost(&format!("resource {id}"), "Type", format!("`{of}` has no equivalent"), instead);
    }
    if found.orphans > 0 {
        let many = format!("{} targets", found.orphans);
        draft.lost(
            &many,
            "Targets",
            "no rule of theirs is in the input",
            "import the answer of GetRule or ListRules too",
        );
    }
    Ok(draft)
}

impl<'n> Plan<'n> {
    fn connection(&mut self, draft: &mut Draft, theirs: &str, node: Option<&'n Node>) -> usize {
        let ours = draft.names.take(Kind::Connection, theirs);
        self.connections.push(Planned { theirs: theirs.to_owned(), ours, node, url: None, signed: false });
        self.connections.len() - 1
    }

    fn connection_named(&mut self, draft: &mut Draft, theirs: &str) -> usize {
        let known = self.connections.iter().position(|planned| planned.url.is_none() && planned.theirs == theirs);
        known.unwrap_or_else(|| self.connection(draft, theirs, None))
    }

    fn destination(&mut self, draft: &mut Draft, theirs: &str, node: Option<&'n Node>, connection: usize) -> usize {
        let url = node.and_then(|node| given(find(node, "HttpApiParameters")?, "Endpoint"));
        let ours = draft.names.take(Kind::Destination, theirs);
        let endpoint = url.as_ref().and_then(Given::known).and_then(|url| http::endpoint(url, Star::Literal));
        self.sending.push(Sending { theirs: theirs.to_owned(), ours, node, connection, endpoint, url: None });
        self.sending.len() - 1
    }

    /// The destination of that name; one that is not in the input is planned all the same.
    fn destination_named(&mut self, draft: &mut Draft, theirs: &str) -> String {
        let known = self.sending.iter().position(|sending| sending.url.is_none() && sending.theirs == theirs);
        let index = known.unwrap_or_else(|| {
            let connection = self.connection_named(draft, theirs);
            self.destination(draft, theirs, None, connection)
        });
        self.sending.get(index).map(|sending| sending.ours.clone()).unwrap_or_default()
    }

    /// A destination for a url, one for each url; `None` if it is no url.
    fn destination_at(&mut self, draft: &mut Draft, url: &str, signed: bool) -> Option<String> {
        if let Some(known) = self.sending.iter().find(|sending| sending.url.as_deref() == Some(url)) {
            return Some(known.ours.clone());
        }
        let endpoint = http::endpoint(url, Star::Literal)?;
        // Secrets of a url belong to that url alone.
        let own = signed || endpoint.user || !endpoint.secrets.is_empty();
        let key = if own { url } else { endpoint.origin.as_str() };
        let host = endpoint.origin.split("://").nth(1).unwrap_or_default().replace(['.', ':'], "-");
        let connection = match self.connections.iter().position(|planned| planned.url.as_deref() == Some(key)) {
            Some(known) => known,
            None => {
                let index = self.connection(draft, &host, None);
                if let Some(planned) = self.connections.get_mut(index) {
                    (planned.url, planned.signed) = (Some(key.to_owned()), signed);
                }
                index
            }
        };
        let path = endpoint.path.split('?').next().unwrap_or_default();
        let name: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let index = self.destination(draft, format!("{host}{name}").trim_end_matches('-'), None, connection);
        let sending = self.sending.get_mut(index)?;
        (sending.url, sending.endpoint) = (Some(url.to_owned()), Some(endpoint));
        Some(sending.ours.clone())
    }

    fn write(&self, draft: &mut Draft) {
        for (index, planned) in self.connections.iter().enumerate() {
            let endpoints: Vec<_> = self.endpoints(index);
            let nothing = map(Vec::new());
            let origin = match planned.node {
                Some(node) => format!("Alibaba Cloud connection {} ({})", planned.theirs, node.place),
                None => format!("Alibaba Cloud connection {}", planned.theirs),
            };
            let auth = planned.node.and_then(|node| at(node, &["AuthParameters", "AuthorizationType"]));
            let connection = Connection {
                name: &planned.theirs,
                ours: &planned.ours,
                origin,
                // A target with a url has no connection there, so nothing is missing.
                node: planned.node.or(planned.url.is_some().then_some(&nothing)),
                auth: auth.and_then(Node::as_plain).map(str::to_owned),
                endpoints,
            };
            connection::write(draft, &connection);
            if planned.signed {
                let what = format!("connection {}: key that DingTalk's robot signs with", planned.theirs);
                let secret = draft.reference(&format!("{}_SECRET", planned.ours), &what, Sample::Text);
                if let Some(resource) = draft.resources.last_mut() {
                    resource.entries.push(entry("sign", one("dingtalk", one("secret", secret))));
                }
            }
        }
        self.sending.iter().for_each(|sending| self.write_destination(draft, sending));
    }

    fn endpoints(&self, connection: usize) -> Vec<&Endpoint> {
        let of = self.sending.iter().filter(|sending| sending.connection == connection);
        of.filter_map(|sending| sending.endpoint.as_ref()).collect()
    }

    fn write_destination(&self, draft: &mut Draft, sending: &Sending<'_>) {
        let before = draft.notes.len();
        let about = format!("API destination {}", sending.theirs);
        let mut entries = Vec::new();
        entries.extend(sending.node.and_then(http::description));
        entries.extend(self.connections.get(sending.connection).map(|c| entry("connection", text(c.ours.clone()))));
        let alone = connection::origins(&self.endpoints(sending.connection)).len() <= 1;
        match &sending.endpoint {
            Some(endpoint) if alone && endpoint.path.is_empty() => {}
            Some(endpoint) => entries.push(entry("endpoint", endpoint.written(draft, &sending.ours, &about, alone))),
            None => {
                let variable = format!("{}_URL", sending.ours);
                entries.push(entry("endpoint", draft.reference(&variable, &format!("{about}: its url"), Sample::Url)));
            }
        }
        let parameters = sending.node.and_then(|node| find(node, "HttpApiParameters"));
        let method = parameters.and_then(|node| plain(node, "Method")).filter(|method| method != "POST");
        entries.extend(method.map(|method| entry("method", text(method))));
        if sending.node.is_none() && sending.url.is_none() {
            let why = "it is not in the input, so its url is to be supplied";
            draft.differs(&about, "", why, "import the answer of GetApiDestination too");
        }
        draft.resources.push(Resource {
            kind: Kind::Destination,
            name: sending.ours.clone(),
            origin: match sending.node {
                Some(node) => format!("Alibaba Cloud {about} ({})", node.place),
                None => format!("Alibaba Cloud {about}"),
            },
            comments: draft.comments_since(before),
            entries,
            unusable: false,
        });
    }
}

fn write_rule(draft: &mut Draft, rule: &Rule, plan: &mut Plan<'_>, from: &str) -> Option<Resource> {
    let before = draft.notes.len();
    let about = format!("rule {}", rule.name);
    let Some(written) = find(&rule.node, "FilterPattern") else {
        draft.lost(&about, "FilterPattern", "the input does not show its pattern", "import the answer of GetRule");
        return None;
    };
    let ours = draft.names.take(Kind::Rule, &rule.name);
    let mut unusable = false;
    let pattern = pattern::node(written).unwrap_or_else(|why| {
        draft.lost(&about, "FilterPattern", why, "mend it");
        unusable = true;
        map(Vec::new())
    });
    if let Some(function) = given::unresolved(written) {
        let why = format!("{function} is known only where the template is deployed");
        draft.lost(&about, "FilterPattern", why, "give it with --param NAME=VALUE");
        unusable = true;
    }
    unusable = unusable || pattern::refused(draft, &about, "FilterPattern", &pattern, &Options::default());
    let mut seen = Vec::new();
    let mut targets = Vec::new();
    for (index, node) in rule.targets.iter().enumerate() {
        let id = plain(node, "Id").unwrap_or_else(|| format!("{}", index + 1));
        let about = format!("rule {}, target {id}", rule.name);
        let Some(destination) = destination_of(draft, &about, node, plan) else { continue };
        let name = names::target(&id, &seen);
        seen.push(name.clone());
        targets.push(target(draft, &about, node, name, destination));
    }
    if targets.is_empty() {
        if rule.targets.is_empty() {
            draft.lost(&about, "Targets", "the input shows no targets of it", "import the answer of ListTargets too");
        }
        unusable = true;
    }
    let mut entries = Vec::new();
    entries.extend(http::description(&rule.node));
    entries.push(entry("from", text(from)));
    if plain(&rule.node, "Status").is_some_and(|status| status.to_ascii_uppercase().starts_with("DISABLE")) {
        entries.push(entry("enabled", boolean(false)));
    }
    entries.push(entry("pattern", pattern));
    entries.push(entry("targets", list(targets)));
    Some(Resource {
        kind: Kind::Rule,
        name: ours,
        origin: format!("Alibaba Cloud rule {} ({})", rule.name, rule.node.place),
        comments: draft.comments_since(before),
        entries,
        unusable,
    })
}

/// Our name of where a target sends; `None` if it is not HTTP.
fn destination_of(draft: &mut Draft, about: &str, node: &Node, plan: &mut Plan<'_>) -> Option<String> {
    let kind = plain(node, "Type").unwrap_or_default().to_ascii_lowercase();
    let endpoint = plain(node, "Endpoint");
    match kind.as_str() {
        "acs.api.destination" | "acs.eventbridge.apidestination" => {
            let named = param::constant(node, &["Name", "ApiDestinationName", "ApiDestination"]);
            let name = named.or_else(|| endpoint?.rsplit('/').next().map(str::to_owned));
            match name.filter(|name| !name.is_empty()) {
                Some(name) => Some(plan.destination_named(draft, &name)),
                None => {
                    draft.lost(about, "ParamList", "it names no API destination", "write `destination`");
                    None
                }
            }
        }
        "http" | "https" | "acs.dingtalk" => {
            let url = param::constant(node, &["url", "endpoint"]).or(endpoint);
            if param::constant(node, &["Network"]).is_some_and(|network| network != "PublicNetwork") {
                let instead =
                    "run Tidegate where it can be reached, and list its addresses: `allow_networks: [10.0.0.0/8]`";
                draft.differs(about, "Network", "it is reached over a private network", instead);
            }
            let found = url.as_deref().and_then(|url| plan.destination_at(draft, url, kind == "acs.dingtalk"));
            if found.is_none() {
                draft.lost(
                    about,
                    "Endpoint",
                    "it names no url",
                    "write a connection, a destination, and `destination`",
                );
            }
            found
        }
        other => {
            let instead = match other.split('.').nth(1) {
                Some("fc") => "give the function an HTTP trigger, and write a destination for it",
                Some("mns" | "mq" | "rocketmq" | "alikafka" | "rabbitmq" | "sls" | "datahub") => {
                    "have its readers read the topic in Kafka"
                }
                Some("eventbridge" | "eventbus") => "rules here may read any source: no bus has to forward to another",
                _ => "put it behind an HTTP endpoint, and write a destination for it",
            };
            draft.lost(about, "Type", format!("targets of `{other}` have no equivalent: only HTTP is called"), instead);
            None
        }
    }
}

fn target(draft: &mut Draft, about: &str, node: &Node, name: String, destination: String) -> Node {
    let mut entries = vec![entry("name", text(name)), entry("destination", text(destination))];
    if param::param(about, node, &["PathParameters", "PathParameterValues"]).is_some() {
        draft.lost(
            about,
            "PathParameters",
            "path parameters are not translated",
            "write `{name}` in the endpoint, and `path`",
        );
    }
    for (names, part) in [
        (&["QueryParameters", "QueryStringParameters", "Query"][..], Part::Query),
        (&["HeaderParameters", "Headers", "Header"][..], Part::Headers),
    ] {
        if let Some(param) = param::param(about, node, names) {
            put_map(&mut entries, part.key(), param.parameters(draft, part));
        }
    }
    let body = match param::param(about, node, &["Body", "BodyParameters"]) {
        Some(param) => param.body(draft),
        None => Some((param::original(), None)),
    };
    if let Some((body, content_type)) = body {
        entries.extend(content_type.map(|content_type| entry("content_type", text(content_type))));
        entries.push(entry("body", body));
    }
    if let Some(policy) = plain(node, "PushRetryStrategy") {
        match policy.as_str() {
            "BACKOFF_RETRY" | "EXPONENTIAL_DECAY_RETRY" => {
                entries.push(entry("retry", one("policy", text(policy))));
            }
            other => draft.lost(about, "PushRetryStrategy", format!("`{other}` is not known"), "write `retry`"),
        }
    }
    if plain(node, "ErrorsTolerance").as_deref() == Some("NONE") {
        let why = "to wait for ever when retries are exhausted needs an order here: add `ordering: partition` and \
                   `on_exhausted: hold`";
        draft.differs(
            about,
            "ErrorsTolerance",
            why,
            "as written the event is dead-lettered; `tidegate dlq redrive` sends it again",
        );
    }
    if find(node, "DeadLetterQueue").is_some_and(|queue| !queue.entries().is_empty()) {
        let instead =
            "what fails goes to the topic of dead letters: see `tidegate dlq`, or write `dead_letter: {topic: …}`";
        draft.differs(about, "DeadLetterQueue", "its queue is not used", instead);
    }
    if let Some(concurrency) = at(node, &["ConcurrentConfig", "Concurrency"]).and_then(given::of) {
        let limit = concurrency.known().unwrap_or_default().to_owned();
        let why = format!("the limit of {limit} requests at once belongs to the destination here");
        draft.differs(about, "ConcurrentConfig", why, format!("write `concurrency: {{max: {limit}}}` there"));
    }
    map(entries)
}
