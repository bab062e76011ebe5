//! What a reload changed, by name, for the line that says so.

use crate::model::node::Node;
use crate::model::resources::{
    Auth, Connection, Destination, Resources, Response, ResponseOutcome, Rule, Source, Target, TokenExchange,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Names of the resources that are new, gone or written differently, sorted. Moving one within a file changes nothing;
/// neither does a secret, which is not looked at.
#[must_use]
pub fn changed(before: &Resources, after: &Resources) -> Vec<String> {
    let (before, after) = (written(before), written(after));
    let names = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut names: Vec<String> =
        names.filter(|key| before.get(*key) != after.get(*key)).map(|(_, name)| name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn written(resources: &Resources) -> BTreeMap<(&'static str, String), String> {
    let rules = resources.rules.iter().map(|r| (("rule", r.name.to_string()), rule(r)));
    let destinations = resources.destinations.iter().map(|d| (("destination", d.name.to_string()), destination(d)));
    let connections = resources.connections.iter().map(|c| (("connection", c.name.to_string()), connection(c)));
    let sources = resources.sources.iter().map(|s| (("source", s.name.to_string()), source(s)));
    rules.chain(destinations).chain(connections).chain(sources).collect()
}

fn rule(rule: &Rule) -> String {
    let targets: Vec<String> = rule.targets.iter().map(target).collect();
    let pattern = rule.pattern.to_json();
    let filters = rule.filters.as_ref().map(Node::to_json);
    format!("{:?} {pattern} {filters:?} {:?} {} {} {targets:?}", rule.from, rule.dialect, rule.alias_aws, rule.enabled)
}

fn target(target: &Target) -> String {
    let parts = [&target.path, &target.query, &target.headers, &target.content_type, &target.body];
    let parts: Vec<Option<String>> = parts.into_iter().map(|part| part.as_ref().map(Node::to_json)).collect();
    let Target { name, ordering, on_exhausted, retry, dead_letter_topic, .. } = target;
    let to = &target.destination.name;
    format!("{name} {to} {parts:?} {ordering} {on_exhausted:?} {retry:?} {dead_letter_topic:?}")
}

fn destination(d: &Destination) -> String {
    let values = [&d.headers, &d.query].map(|part| part.as_ref().map(Node::to_json));
    let Destination { base, endpoint, method, timeout, concurrency_max, rate_limits, rate, retry, .. } = d;
    let (connection, dead, budget) = (&d.connection.name, &d.dead_letter_topic, &d.dead_letter_budget);
    let answers = responses(&d.responses);
    format!(
        "{connection} {base:?} {endpoint} {method} {values:?} {timeout:?} {concurrency_max} {rate_limits:?} {rate:?} \
         {retry:?} {dead} {budget:?} {answers:?}"
    )
}

fn connection(c: &Connection) -> String {
    let body: Vec<_> = c.body.iter().map(|(name, node)| (name, node.to_json())).collect();
    let Connection { url, headers, query, allow_networks, rate_limits, sign, proxy, ca_pem, client_pem, .. } = c;
    let chain = client_pem.as_ref().map(|(chain, _)| chain);
    let (auth, answers) = (auth(&c.auth), responses(&c.responses));
    format!(
        "{url:?} {auth} {headers:?} {query:?} {body:?} {allow_networks:?} {rate_limits:?} {sign:?} {proxy:?} {ca_pem:?} \
         {chain:?} {answers:?}"
    )
}

fn auth(auth: &Auth) -> String {
    match auth {
        Auth::Token(exchange) => {
            let TokenExchange { endpoint, json, token, lifetime, send_headers, send_query } = &**exchange;
            let json = json.as_ref().map(Node::to_json);
            format!("{endpoint:?} {json:?} {token} {lifetime:?} {send_headers:?} {send_query:?}")
        }
        Auth::None | Auth::Basic { .. } | Auth::Bearer(_) | Auth::ApiKey { .. } | Auth::OAuth2(_) => {
            format!("{auth:?}")
        }
    }
}

fn responses(responses: &[Response]) -> Vec<(String, ResponseOutcome, Option<Duration>)> {
    responses.iter().map(|response| (response.when.to_json(), response.outcome, response.wait)).collect()
}

fn source(s: &Source) -> String {
    let Source { topics, strict, group, start, on_missing, decode, .. } = s;
    format!("{topics:?} {strict} {group:?} {start:?} {on_missing:?} {decode:?}")
}
