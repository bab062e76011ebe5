//! Checked nodes → destinations, sources and rules (`connection` builds connections). Values have passed their tables, so a conversion that fails here gives nothing, and the
//! caller reports the resource as not built; references between resources are resolved by the caller.

use super::check::Checker;
use super::url;
use crate::model::fault::Place;
use crate::model::name::Name;
use crate::model::node::{Kind, Node};
use crate::model::resources::{
    Connection, DeadLetterBudget, Delay, Destination, Dialect, Expectation, OnExhausted, OnMissing, Ordering,
    PayloadDecode, RateLimit, Response, ResponseOutcome, RetryPolicy, Rule, RuleTest, Sharing, Source, Start, Target,
};
use crate::model::text::Text;
use crate::model::units;
use std::sync::Arc;
use std::time::Duration;

/// Default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Default of `concurrency.max`.
const CONCURRENCY: u32 = 64;

/// A destination of a connection that is known.
pub(super) fn destination(
    name: Name,
    node: &Node,
    connection: Arc<Connection>,
    dead_letter_topic: &Arc<str>,
    checker: &mut Checker<'_>,
) -> Option<Destination> {
    let written = plain(node, "endpoint").unwrap_or_default();
    let (base, endpoint) = match url::join(connection.url.as_ref(), written) {
        Ok(joined) => joined,
        Err((message, cure)) => {
            checker.fault("CONFIG_ENDPOINT", "/endpoint", node.place_of("/endpoint"), message, cure);
            return None;
        }
    };
    if connection.url.is_none() {
        let place = node.place_of("/endpoint");
        let doubt = url::doubt(&base.origin()).map(|doubt| ("CONFIG_INSECURE", doubt));
        let private = url::private_host(&base, &connection.allow_networks).map(|doubt| ("CONFIG_PRIVATE_HOST", doubt));
        for (code, (message, cure)) in doubt.into_iter().chain(private) {
            checker.warn(code, "/endpoint", place, message, cure);
        }
    }
    Some(Destination {
        name,
        base,
        endpoint,
        hidden: checker.hidden.clone(),
        method: method(node),
        headers: node.get("headers").cloned().map(Box::new),
        query: node.get("query").cloned().map(Box::new),
        timeout: duration(node, "timeout").unwrap_or(TIMEOUT),
        concurrency_max: node.get("concurrency").and_then(|c| count(c, "max")).unwrap_or(CONCURRENCY),
        rate_limits: node.get("rate_limit").map_or(Some(Vec::new()), rate_limits)?,
        rate: Sharing::default(),
        responses: responses(node)?,
        retry: retry(node, "", checker).unwrap_or_default().into(),
        dead_letter_topic: dead_letter(node).unwrap_or_else(|| Arc::clone(dead_letter_topic)),
        dead_letter_budget: dead_letter_budget(node),
        connection,
        place: node.place.clone(),
    })
}

/// The method under `method`.
pub(super) fn method(node: &Node) -> String {
    plain(node, "method").unwrap_or("POST").to_ascii_uppercase()
}

/// The entries under `responses`.
pub(super) fn responses(node: &Node) -> Option<Vec<Response>> {
    let entry = |node: &Node| {
        Some(Response {
            when: node.get("when")?.clone(),
            outcome: match plain(node, "outcome")? {
                "success" => ResponseOutcome::Success,
                "duplicate" => ResponseOutcome::Duplicate,
                "retry" => ResponseOutcome::Retry,
                "throttled" => ResponseOutcome::Throttled,
                "auth_expired" => ResponseOutcome::AuthExpired,
                "reject" => ResponseOutcome::Reject,
                "gone" => ResponseOutcome::Gone,
                _ => return None,
            },
            wait: duration(node, "wait"),
            place: node.place.clone(),
        })
    };
    items(node.get("responses")).map(entry).collect()
}

pub(super) fn rate_limits(node: &Node) -> Option<Vec<RateLimit>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(rate_limit).collect(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => Some(vec![rate_limit(node)?]),
    }
}

fn rate_limit(node: &Node) -> Option<RateLimit> {
    let written = node.get("limit").unwrap_or(node);
    Some(RateLimit { rate: units::rate(written.as_plain()?).ok()?, burst: count(node, "burst").unwrap_or(1) })
}

/// The policy under `retry`, if there is one. `pointer` is that of the owner.
fn retry(owner: &Node, pointer: &str, checker: &mut Checker<'_>) -> Option<RetryPolicy> {
    let node = owner.get("retry")?;
    if let Some(policy) = plain(node, "policy") {
        if node.entries().iter().any(|(key, _)| !matches!(key.name.as_str(), "policy" | "description")) {
            let message = format!("`{policy}` is a whole policy and stands alone");
            let cure = "leave out the other keys, or leave out `policy`".to_owned();
            checker.fault("CONFIG_VALUE", &format!("{pointer}/retry"), &node.place, message, cure);
        }
        return match policy {
            "BACKOFF_RETRY" => Some(RetryPolicy::backoff_retry()),
            "EXPONENTIAL_DECAY_RETRY" => Some(RetryPolicy::exponential_decay_retry()),
            _ => None,
        };
    }
    let default = RetryPolicy::default();
    let waits: Vec<_> = items(node.get("delay")).filter_map(|wait| units::duration(wait.as_plain()?).ok()).collect();
    Some(RetryPolicy {
        max_age: duration(node, "max_age").unwrap_or(default.max_age),
        max_attempts: count(node, "max_attempts").unwrap_or(default.max_attempts),
        delay: match waits.as_slice() {
            [first, max] => Delay::FullJitter { first: *first, max: *max },
            _ => default.delay,
        },
    })
}

fn dead_letter(owner: &Node) -> Option<Arc<str>> {
    plain(owner.get("dead_letter")?, "topic").map(Arc::from)
}

fn dead_letter_budget(owner: &Node) -> Option<DeadLetterBudget> {
    let default = DeadLetterBudget::default();
    let Some(node) = owner.get("dead_letter_budget") else { return Some(default) };
    if node.as_plain().is_some() {
        // The only word that may stand there is `off`.
        return None;
    }
    Some(DeadLetterBudget {
        max: count(node, "max").unwrap_or(default.max),
        percent: count(node, "percent").unwrap_or(default.percent),
        window: duration(node, "window").unwrap_or(default.window),
    })
}

/// A source.
pub(super) fn source(name: Name, node: &Node) -> Option<Source> {
    let kafka = node.get("kafka")?;
    Some(Source {
        name,
        topics: items(kafka.get("topics")).map(|topic| topic.as_plain().map(str::to_owned)).collect::<Option<_>>()?,
        strict: flag(kafka, "strict").unwrap_or(false),
        group: plain(kafka, "group").map(str::to_owned),
        start: match plain(kafka, "start") {
            Some("latest") => Start::Latest,
            _ => Start::Earliest,
        },
        on_missing: match plain(kafka, "on_missing") {
            Some("latest") => OnMissing::Latest,
            Some("halt") => OnMissing::Halt,
            _ => OnMissing::Earliest,
        },
        decode: match plain(node, "decode") {
            Some("json") => PayloadDecode::Json,
            Some("base64") => PayloadDecode::Base64,
            Some("base64+json") => PayloadDecode::Base64Json,
            _ => PayloadDecode::None,
        },
        place: node.place.clone(),
    })
}

/// A rule whose references are known.
pub(super) fn rule(name: Name, node: &Node, from: Option<Name>, targets: Vec<Target>) -> Option<Rule> {
    Some(Rule {
        name,
        from,
        pattern: node.get("pattern")?.clone(),
        filters: node.get("filters").cloned(),
        dialect: if plain(node, "dialect") == Some("aws") { Dialect::Aws } else { Dialect::Tidegate },
        alias_aws: plain(node, "alias") == Some("aws"),
        enabled: flag(node, "enabled").unwrap_or(true),
        targets,
        tests: items(node.get("tests")).map(test).collect::<Option<_>>()?,
        place: node.place.clone(),
    })
}

/// A target of a destination that is known; `pointer` is its own.
pub(super) fn target(
    name: Name,
    node: &Node,
    destination: Arc<Destination>,
    pointer: &str,
    checker: &mut Checker<'_>,
) -> Target {
    let part = |key: &str| node.get(key).cloned().map(Box::new);
    Target {
        name,
        destination,
        path: part("path"),
        query: part("query"),
        headers: part("headers"),
        content_type: part("content_type"),
        body: part("body"),
        ordering: ordering(node),
        on_exhausted: match plain(node, "on_exhausted") {
            Some("hold") => OnExhausted::Hold,
            _ => OnExhausted::DeadLetter,
        },
        retry: retry(node, pointer, checker).map(Arc::new),
        dead_letter_topic: dead_letter(node),
        place: node.place.clone(),
    }
}

/// What `ordering` of a target says.
pub(super) fn ordering(target: &Node) -> Ordering {
    let Some(node) = target.get("ordering") else { return Ordering::None };
    match node.as_plain() {
        Some("key") => Ordering::Key { path: None },
        Some("partition") => Ordering::Partition,
        Some(_) => Ordering::None,
        None => plain(node, "key").map_or(Ordering::None, |path| Ordering::Key { path: Some(path.to_owned()) }),
    }
}

fn test(node: &Node) -> Option<RuleTest> {
    let expect = node.get("expect")?.entries().iter().map(|(target, expected)| {
        let expectation = match (expected.get("body"), plain(expected, "error")) {
            (Some(body), _) => Expectation::Body(body.clone()),
            (None, Some(code)) => Expectation::Error(code.to_owned()),
            (None, None) => Expectation::NoMatch,
        };
        Some((Name::new(&target.name)?, expectation))
    });
    Some(RuleTest {
        event: node.get("event")?.clone(),
        expect: expect.collect::<Option<_>>()?,
        place: node.place.clone(),
    })
}

/// The plain text under `key`.
pub(super) fn plain<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::as_plain)
}

/// The items of a list; none if it is absent.
pub(super) fn items(node: Option<&Node>) -> impl ExactSizeIterator<Item = &Node> {
    let items: &[Node] = match node.map(|node| &node.kind) {
        Some(Kind::List(items)) => items,
        _ => &[],
    };
    items.iter()
}

/// The place of a key's value, or of the whole.
pub(super) fn place_of(node: &Node, key: &str) -> Place {
    node.get(key).unwrap_or(node).place.clone()
}

pub(super) fn text(node: &Node) -> Option<Text> {
    match &node.kind {
        Kind::String(text) => Some(text.clone()),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

pub(super) fn texts(node: &Node) -> Option<Vec<Text>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(text).collect(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => Some(vec![text(node)?]),
    }
}

pub(super) fn duration(node: &Node, key: &str) -> Option<Duration> {
    units::duration(plain(node, key)?).ok()
}

fn count(node: &Node, key: &str) -> Option<u32> {
    match &node.get(key)?.kind {
        Kind::Number(spelled) => spelled.parse().ok(),
        Kind::Null | Kind::Bool(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

fn flag(node: &Node, key: &str) -> Option<bool> {
    match node.get(key)?.kind {
        Kind::Bool(value) => Some(value),
        Kind::Null | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}
