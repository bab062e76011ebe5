//! The request that a target sends for an event (transforms.md), before credentials; signed if the connection signs.

use super::Options;
use super::answer::Answer;
use super::cache::Cache;
use super::line::{Line, Wrong, shallow, string};
use crate::config::{Alone, read_alone};
use crate::destinations::auth::Auth;
use crate::json::document::Document;
use crate::json::node::node_from_json;
use crate::json::value::{Json, Kind};
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::fault::{Fault, Place};
use crate::model::node::{self, Key, Node};
use crate::model::record::{Position, Record};
use crate::model::request::Request;
use crate::model::resources::Dialect;
use crate::model::stored::delivery_id;
use crate::model::text::{Masked, Text};
use crate::pipeline::decode;
use crate::pipeline::transform::{self, Meta, Template};
use base64::engine::{Engine as _, general_purpose::STANDARD};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A target that can be rendered, or why it cannot be loaded.
#[derive(Debug)]
pub(super) struct Compiled(Result<Target, Vec<Fault>>);

#[derive(Debug)]
struct Target {
    template: Template,
    auth: Auth,
    signs: bool,
    /// The query that the endpoint itself has.
    own_query: String,
}

/// A request as it is told: headers by name, path, encoded query items, body.
struct Shown {
    path: String,
    query: Vec<String>,
    headers: BTreeMap<String, String>,
}

pub(super) fn answer(
    line: &Line<'_>,
    target: Json<'_>,
    options: &Options,
    cache: &mut Cache<Compiled>,
    mut answer: Answer<'_>,
) -> Result<(), Wrong> {
    let dialect = line.dialect()?;
    let written = Written::read(line, target)?;
    let compiled = cache.get(written.key(dialect), || Compiled(written.compile(dialect, options)));
    let event = line.event()?.map(|event| read_event(&event));
    match (&compiled.0, event) {
        (Err(faults), _) => {
            answer.text("error", "LOAD");
            answer.errors(faults.iter());
        }
        (Ok(_), None) => answer.text("verdict", "valid"),
        (Ok(_), Some(Err(error))) => {
            answer.text("error", error.code());
            answer.text("message", &error.to_string());
        }
        (Ok(target), Some(Ok(event))) => match target.render(&event, line)? {
            Ok((shown, request)) => answer.object("request", |answer| {
                if line.endpoint.is_some() {
                    answer.text("path", &shown.path);
                }
                if !shown.query.is_empty() {
                    answer.texts("query", shown.query.iter().map(String::as_str));
                }
                if !shown.headers.is_empty() {
                    answer.object("headers", |answer| {
                        shown.headers.iter().for_each(|(name, value)| answer.text(name, value));
                    });
                }
                body(&request, answer);
            }),
            Err(Failed { code, message }) => {
                answer.text("error", code);
                answer.text("message", &message);
            }
        },
    }
    answer.end();
    Ok(())
}

/// The body as text; one that is not UTF-8 (an event's bytes in binary mode) in base64, under another name.
fn body(request: &Request, answer: &mut Answer<'_>) {
    match std::str::from_utf8(&request.body) {
        Ok(text) => answer.text("body", text),
        Err(_) => {
            answer.text("body_base64", &STANDARD.encode(&request.body));
        }
    }
}

/// Why an event has no request.
struct Failed {
    code: &'static str,
    message: String,
}

impl From<transform::Error> for Failed {
    fn from(error: transform::Error) -> Self {
        let message = match error.cure() {
            Some(cure) => format!("{error}; {cure}"),
            None => error.to_string(),
        };
        Self { code: error.code(), message }
    }
}

impl Target {
    fn render(&self, event: &CloudEvent, line: &Line<'_>) -> Result<Result<(Shown, Request), Failed>, Wrong> {
        let context = MetaText::read(line)?;
        let now = line.now()?;
        let id = match context.delivery_id {
            Some(id) => id,
            None => Cow::Owned(delivery_id(event.source(), event.id(), &context.rule, &context.target)),
        };
        let meta = Meta {
            rule: &context.rule,
            target: &context.target,
            attempt: context.attempt,
            delivery_id: &id,
            received_at: context.received_at.or(now).unwrap_or(WallMs(0)),
        };
        let mut request = Request::default();
        if let Err(error) = self.template.render(event, &Document::of(event), &meta, &Masked, &mut request) {
            return Ok(Err(error.into()));
        }
        let headers: BTreeMap<String, String>;
        let mut target;
        match now {
            Some(now) if self.signs => {
                if let Err(what) = self.auth.sign(&mut request, &id, now) {
                    return Ok(Err(Failed { code: "DELIVER_SIGN", message: what.to_owned() }));
                }
                let pairs = request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
                (headers, target) = (pairs.collect(), request.target());
            }
            Some(_) | None => (headers, target) = self.auth.shown(&request, &id),
        }
        let query_at = target.find('?').unwrap_or(target.len());
        let all = target.get(query_at + 1..).unwrap_or_default();
        let query = items(&self.own_query, all);
        target.truncate(query_at);
        Ok(Ok((Shown { path: target, query, headers }, request)))
    }
}

/// The items of a query; the endpoint's own, which comes first, is one.
fn items(own: &str, all: &str) -> Vec<String> {
    let rest = all.strip_prefix(own).filter(|rest| rest.is_empty() || rest.starts_with('&') || own.is_empty());
    let (own, rest) = match rest {
        Some(rest) => (own, rest.strip_prefix('&').unwrap_or(rest)),
        None => ("", all),
    };
    let rest = rest.split('&').filter(|item| !item.is_empty());
    Some(own).into_iter().filter(|own| !own.is_empty()).chain(rest).map(str::to_owned).collect()
}

/// What `context` says.
struct MetaText<'a> {
    rule: Cow<'a, str>,
    target: Cow<'a, str>,
    attempt: u32,
    delivery_id: Option<Cow<'a, str>>,
    received_at: Option<WallMs>,
}

impl<'a> MetaText<'a> {
    fn read(line: &Line<'a>) -> Result<Self, Wrong> {
        let member = |name: &str| line.context.and_then(|context| context.get(name));
        let text = |name: &'static str| member(name).map(|value| string("context", value)).transpose();
        const ATTEMPT: Wrong = Wrong::Member("context.attempt", "a whole number from 1");
        const RECEIVED: Wrong = Wrong::Member("context.received_at", "a time of RFC 3339");
        Ok(Self {
            rule: text("rule")?.unwrap_or(Cow::Borrowed("rule")),
            target: text("target")?.unwrap_or(Cow::Borrowed("target")),
            attempt: member("attempt").map_or(Ok(1), |value| value.text().parse().map_err(|_| ATTEMPT))?,
            delivery_id: text("delivery_id")?,
            received_at: text("received_at")?.map(|text| WallMs::parse_rfc3339(&text).ok_or(RECEIVED)).transpose()?,
        })
    }
}

/// What a line writes about a target and what it hangs on.
struct Written<'a> {
    target: Json<'a>,
    content_type: Option<Json<'a>>,
    endpoint: Option<Json<'a>>,
    destination: Option<Json<'a>>,
    connection: Option<Json<'a>>,
}

impl<'a> Written<'a> {
    fn read(line: &Line<'a>, target: Json<'a>) -> Result<Self, Wrong> {
        let shallow = |name, value: Option<Json<'a>>| value.map(|value| shallow(name, value)).transpose();
        let object = |name, value: Option<Json<'a>>| match shallow(name, value)? {
            Some(value) if value.kind() != Kind::Object => Err(Wrong::Member(name, "an object")),
            value => Ok(value),
        };
        Ok(Self {
            target: object("target", Some(target))?.unwrap_or(target),
            content_type: shallow("content_type", line.content_type)?,
            endpoint: shallow("endpoint", line.endpoint)?,
            destination: object("destination", line.destination)?,
            connection: object("connection", line.connection)?,
        })
    }

    fn key(&self, dialect: Dialect) -> String {
        let parts = [Some(self.target), self.content_type, self.endpoint, self.destination, self.connection];
        let mut key = match dialect {
            Dialect::Tidegate => String::from("t"),
            Dialect::Aws => String::from("a"),
        };
        for part in parts {
            // No JSON text has a control character outside white space.
            key.push('\0');
            key.push_str(part.map_or("", Json::text));
        }
        key
    }

    fn compile(&self, dialect: Dialect, options: &Options) -> Result<Target, Vec<Fault>> {
        let read = read_alone(self.alone(dialect), &options.context);
        let faults: Vec<Fault> = read.faults.into_iter().filter(|fault| !fault.warning).map(in_line).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let rule = read.resources.rules.first();
        let found = rule.and_then(|rule| rule.targets.first().map(|target| (rule, target)));
        let Some((rule, target)) = found else {
            return Err(vec![Fault::error(
                "CONFIG_INTERNAL",
                "",
                "the target could not be built; please report this line",
            )]);
        };
        let compiled = transform::compile(&transform::Spec::of(rule, target));
        let template = compiled.map_err(|found| found.into_iter().map(of_target).collect::<Vec<_>>())?.template;
        let connection = &target.destination.connection;
        let auth = Auth::new(connection, None);
        let auth = auth.map_err(|error| vec![Fault::error("CONFIG_AUTH", "/connection", error.to_string())])?;
        let own_query =
            target.destination.endpoint.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        Ok(Target { template, auth, signs: connection.sign.is_some(), own_query })
    }

    /// The resources that a file would have for this target.
    fn alone(&self, dialect: Dialect) -> Alone {
        let absolute = self.endpoint.and_then(Json::as_str).is_some_and(|endpoint| endpoint.contains("://"));
        let mut connection = named("connection", self.connection);
        if !absolute && connection.get("url").is_none() {
            connection = with(connection, "url", "https://connection.invalid");
        }
        let mut destination = with(named("destination", self.destination), "connection", "connection");
        if let Some(endpoint) = self.endpoint {
            destination = with_node(destination, "endpoint", node_from_json(endpoint));
        }
        let mut target = with(named("target", Some(self.target)), "destination", "destination");
        if let Some(content_type) = self.content_type {
            target = with_node(target, "content_type", node_from_json(content_type));
        }
        target = without(target, "kind");
        let rule = named("rule", None);
        let rule = with_node(rule, "pattern", Node::unplaced(node::Kind::Map(Vec::new())));
        let rule = with_node(rule, "targets", Node::unplaced(node::Kind::List(vec![target])));
        let rule = match dialect {
            Dialect::Tidegate => rule,
            Dialect::Aws => with(rule, "dialect", "aws"),
        };
        Alone { connection, destination, rule: Some(rule) }
    }
}

/// The pointer of a fault that reading resources found, as the line has it.
fn in_line(fault: Fault) -> Fault {
    let pointer = match (fault.pointer.strip_prefix("/rule/targets/0"), fault.pointer.as_str()) {
        (Some("/content_type"), _) => "/content_type".to_owned(),
        (Some(rest), _) => format!("/target{rest}"),
        (None, "/destination/endpoint") => "/endpoint".to_owned(),
        (None, other) => other.to_owned(),
    };
    Fault { pointer, ..fault }
}

/// The pointer of a fault that compiling a target found, as the line has it.
fn of_target(fault: Fault) -> Fault {
    let elsewhere = ["/destination", "/connection", "/endpoint", "/content_type"];
    if elsewhere.iter().any(|member| fault.pointer.starts_with(member)) {
        return fault;
    }
    Fault { pointer: format!("/target{}", fault.pointer), ..fault }
}

/// A resource of that kind with a name, and what a line writes about it.
pub(super) fn named(kind: &str, written: Option<Json<'_>>) -> Node {
    let node = written.map_or_else(|| Node::unplaced(node::Kind::Map(Vec::new())), node_from_json);
    with(with(node, "kind", kind), "name", kind)
}

/// The same map with this text in it, whatever stood there.
pub(super) fn with(node: Node, name: &str, text: &str) -> Node {
    with_node(node, name, Node::unplaced(node::Kind::String(Text::Plain(text.to_owned()))))
}

/// The same map with this value in it, whatever stood there.
pub(super) fn with_node(node: Node, name: &str, value: Node) -> Node {
    let mut node = without(node, name);
    if let node::Kind::Map(entries) = &mut node.kind {
        entries.push((Key { name: name.to_owned(), place: Place::default() }, value));
    }
    node
}

fn without(mut node: Node, name: &str) -> Node {
    if let node::Kind::Map(entries) = &mut node.kind {
        entries.retain(|(key, _)| key.name != name);
    }
    node
}

/// The event as it would come in structured mode.
fn read_event(text: &str) -> Result<CloudEvent, decode::Error> {
    let position = Position { topic: Arc::from("eval"), partition: 0, offset: 0 };
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    let record = Record::new(position, None, None, Some(text.as_bytes()), headers.into_iter());
    decode::decode(record, &decode::Options::default()).map_err(|(_, error)| error)
}
