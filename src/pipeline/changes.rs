//! What a reload changed, by name, for the line that says so, and what it may not change.

use crate::model::fault::Fault;
use crate::model::name::Name;
use crate::model::node::Node;
use crate::model::resources::{
    Auth, Connection, Destination, Resources, Response, ResponseOutcome, Rule, Source, Target, TokenExchange,
};
use crate::pipeline::ordered;
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
    let parts: Vec<Option<String>> = parts.into_iter().map(|part| part.as_deref().map(Node::to_json)).collect();
    let Target { name, ordering, on_exhausted, retry, dead_letter_topic, .. } = target;
    let to = &target.destination.name;
    format!("{name} {to} {parts:?} {ordering} {on_exhausted:?} {retry:?} {dead_letter_topic:?}")
}

fn destination(d: &Destination) -> String {
    let values = [&d.headers, &d.query].map(|part| part.as_deref().map(Node::to_json));
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

/// What a reload may not change, with the cure; `group` is `kafka.group`.
#[must_use]
pub fn refused(group: &str, before: &Resources, after: &Resources) -> Vec<Fault> {
    let orders = ordered::changed(before, after).into_iter().chain(ordered::clashes(group, after));
    renamed(group, before, after).into_iter().chain(orders).collect()
}

/// A source with a new name and no `group` would begin its topics anew in another consumer group: refused, with the cure.
fn renamed(group: &str, before: &Resources, after: &Resources) -> Vec<Fault> {
    let has = |resources: &Resources, name: &Name| resources.sources.iter().any(|source| source.name == *name);
    let new = after.sources.iter().filter(|source| source.group.is_none() && !has(before, &source.name));
    let renamed = new.filter_map(|new| {
        let old = before.sources.iter().find(|old| old.topics == new.topics && !has(after, &old.name))?;
        let message =
            format!("source `{}` is now called `{}` and would read its topics from the start", old.name, new.name);
        let cure = format!("keep its consumer group: kafka: {{group: {group}.{}}}", old.name);
        Some(Fault::error("CONFIG_RENAMED", "/name", message).cure(cure).at(new.place.clone()))
    });
    renamed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn resources(text: &str) -> Resources {
        config::resources::read_text("test.yaml", text, &config::Context::default()).resources
    }

    #[test]
    fn a_renamed_source_must_keep_its_group() {
        let before = resources("{kind: source, name: shop, kafka: {topics: [orders]}}");
        let renamed = resources("{kind: source, name: store, kafka: {topics: [orders]}}");
        let faults = refused("tidegate", &before, &renamed);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].cure.contains("{group: tidegate.shop}") && faults[0].place.is_some(), "{faults:?}");
        let kept = resources("{kind: source, name: store, kafka: {topics: [orders], group: tidegate.shop}}");
        assert!(refused("tidegate", &before, &kept).is_empty());
        // Beside the old one, or over other topics, it is a new source.
        let beside = "{kind: source, name: shop, kafka: {topics: [orders]}}\n---\n{kind: source, name: b, kafka: {topics: [orders]}}";
        assert!(refused("tidegate", &before, &resources(beside)).is_empty());
        assert!(refused("tidegate", &before, &resources("{kind: source, name: b, kafka: {topics: [x]}}")).is_empty());
    }
}
