//! Step 4 of 7: what do we send?
//!
//! In: an event, its document and the target's compiled [`Template`]. Out: a [`Request`] without credentials.
//! Can fail with [`Error`]: the event does not have what the rule asks for; it goes to the dead-letter topic.
//! Never here: network, clock, files, secrets in the clear (they are shown by the caller's [`ShowText`]).
//!
//! [`compile`] reads a target once, when resources load, and reports everything that is wrong with it. Rendering then
//! copies literal parts and splices the event's own bytes; nothing is parsed that no value asks for. The semantics,
//! with their rule numbers, are those of transforms.md.

mod body;
mod content_type;
mod edit;
mod encode;
mod endpoint;
mod error;
mod faults;
mod headers;
mod original;
mod program;
mod query;
mod scalar;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use error::Error;

use crate::json::document::Document;
use crate::json::item::Item;
use crate::json::path::Lookup;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Kind, Node};
use crate::model::request::Request;
use crate::model::resources::{Connection, Dialect, Rule, Target};
use crate::model::text::{ShowText, Text};
use body::Body;
use endpoint::Endpoint;
use faults::{Faults, Spot};
use headers::Headers;
use query::Params;
use scope::Scope;
use secrecy::SecretString;
use value::Roots;

/// All that people wrote about one target's request.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// The target's path parameters.
    pub path: Option<&'a Node>,
    /// The target's query parameters.
    pub query: Option<&'a Node>,
    /// The target's headers.
    pub headers: Option<&'a Node>,
    /// The target's content type.
    pub content_type: Option<&'a Node>,
    /// The target's body; absent is the event itself.
    pub body: Option<&'a Node>,
    /// The path of the connection's url, without a slash at the end.
    pub base_path: &'a str,
    /// The destination's endpoint, below `base_path`.
    pub endpoint: &'a str,
    /// What of the endpoint people must not see.
    pub hidden: &'a [SecretString],
    /// The destination's headers.
    pub destination_headers: Option<&'a Node>,
    /// The destination's query parameters.
    pub destination_query: Option<&'a Node>,
    /// The connection's fixed parameters.
    pub fixed: Fixed<'a>,
    /// The dialect of templates.
    pub dialect: Dialect,
    /// Where the target stands.
    pub place: Place,
}

/// The fixed parameters of a connection, which win over all others.
#[derive(Debug, Clone, Default)]
pub struct Fixed<'a> {
    /// Headers.
    pub headers: &'a [(String, Text)],
    /// Query parameters.
    pub query: &'a [(String, Vec<Text>)],
    /// Top-level keys of a JSON object body.
    pub body: &'a [(String, Node)],
    /// Where the connection stands.
    pub place: Place,
}

impl<'a> From<&'a Connection> for Fixed<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self {
            headers: &connection.headers,
            query: &connection.query,
            body: &connection.body,
            place: connection.place.clone(),
        }
    }
}

impl<'a> Spec<'a> {
    /// What a rule says about one of its targets.
    #[must_use]
    pub fn of(rule: &Rule, target: &'a Target) -> Self {
        let destination = &*target.destination;
        Self {
            path: target.path.as_deref(),
            query: target.query.as_deref(),
            headers: target.headers.as_deref(),
            content_type: target.content_type.as_deref(),
            body: target.body.as_deref(),
            base_path: &destination.base.path,
            endpoint: &destination.endpoint,
            hidden: &destination.hidden,
            destination_headers: destination.headers.as_deref(),
            destination_query: destination.query.as_deref(),
            fixed: Fixed::from(&*destination.connection),
            dialect: rule.dialect,
            place: target.place.clone(),
        }
    }
}

/// A target's request, compiled.
#[derive(Debug)]
pub struct Template {
    body: Body,
    headers: Headers,
    query: Params,
    endpoint: Endpoint,
    /// The paths of all of them.
    lookup: Lookup,
}

/// A template, and what is worth a warning.
#[derive(Debug)]
pub struct Compiled {
    /// The template.
    pub template: Template,
    /// Warnings; they do not refuse the target.
    pub warnings: Vec<Fault>,
}

/// What `$meta` has (rule 45).
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// Name of the target.
    pub target: &'a str,
    /// From 1.
    pub attempt: u32,
    /// The same for all attempts.
    pub delivery_id: &'a str,
    /// When the record was first read.
    pub received_at: WallMs,
}

/// Compiles a target.
///
/// # Errors
/// All faults, with pointers relative to the target (`/body/json/v`); what the destination or the connection wrote
/// stands under `/destination` and `/connection`.
pub fn compile(spec: &Spec<'_>) -> Result<Compiled, Vec<Fault>> {
    let mut faults = Faults::default();
    let at = Spot::new("", &spec.place);
    let destination = at.child("destination", &spec.place);
    let connection = at.child("connection", &spec.fixed.place);

    let mut headers = Headers::default();
    let mut query = Params::default();
    let mut written_type = None;
    if let Some((entries, at)) = entries(spec.destination_headers, "headers", &destination, &mut faults) {
        written_type = headers.add(entries, Roots::Event, &at, &mut faults);
    }
    let mut own_type = None;
    if let Some((entries, at)) = entries(spec.headers, "headers", &at, &mut faults) {
        own_type = headers.add(entries, Roots::Event, &at, &mut faults);
    }
    if let Some(node) = spec.content_type {
        if let Some(header) = &own_type {
            faults.value(&header.at, "the content type is written twice", "write `content_type` only");
        }
        let at = at.child("content_type", &node.place);
        own_type = headers::literal_type(node, Roots::Event, &at, &mut faults).or(own_type);
    }
    written_type = own_type.or(written_type);
    for (map, at) in [(spec.destination_query, &destination), (spec.query, &at)] {
        if let Some((entries, at)) = entries(map, "query", at, &mut faults) {
            query.add(entries, Roots::Event, &at, &mut faults);
        }
    }
    let fixed_headers: Vec<(Key, Node)> =
        spec.fixed.headers.iter().map(|(name, text)| fixed(name, Kind::String(text.clone()), &spec.fixed)).collect();
    let at_headers = connection.child("headers", &spec.fixed.place);
    written_type = headers.add(&fixed_headers, Roots::None, &at_headers, &mut faults).or(written_type);
    headers.check(&at.child("headers", spec.headers.map_or(&spec.place, |node| &node.place)), &mut faults);
    let fixed_query: Vec<(Key, Node)> = spec
        .fixed
        .query
        .iter()
        .map(|(name, texts)| fixed(name, list_or_one(texts, &spec.fixed), &spec.fixed))
        .collect();
    query.add(&fixed_query, Roots::None, &connection.child("query", &spec.fixed.place), &mut faults);

    let at_body = connection.child("body", &spec.fixed.place);
    let parameters = body::parameters(spec.fixed.body, &at_body, &mut faults);
    let body = Body::compile(spec.body, written_type.as_ref(), spec.dialect, &at, &mut faults);
    let endpoint = Endpoint::compile((spec.base_path, spec.endpoint), spec.hidden, spec.path, &at, &mut faults);
    let Some(mut body) = body else { return Err(faults.errors) };
    if let Some(written) = &written_type {
        body.check_type(written, &mut faults);
    }
    body.merge(parameters, &at_body, &mut faults);
    if !faults.errors.is_empty() {
        return Err(faults.errors);
    }
    let content_type = written_type.map(|written| written.text).or_else(|| body.implied.map(str::to_owned));
    let mut template = Template { body, headers, query, endpoint, lookup: Lookup::default() };
    // Without one, in binary mode, the event decides.
    template.bind(content_type.as_deref());
    Ok(Compiled { template, warnings: faults.warnings })
}

/// The entries of a map that may be absent.
fn entries<'a>(
    node: Option<&'a Node>,
    name: &str,
    at: &Spot,
    faults: &mut Faults,
) -> Option<(&'a [(Key, Node)], Spot)> {
    let node = node?;
    let at = at.child(name, &node.place);
    if let Kind::Map(entries) = &node.kind {
        return Some((entries, at));
    }
    faults.value(&at, format!("`{name}` must be a map from names to values"), format!("write {name}: {{name: value}}"));
    None
}

fn fixed(name: &str, kind: Kind, connection: &Fixed<'_>) -> (Key, Node) {
    let place = connection.place.clone();
    (Key { name: name.to_owned(), place: place.clone() }, Node { kind, place })
}

fn list_or_one(texts: &[Text], connection: &Fixed<'_>) -> Kind {
    let node = |text: &Text| Node { kind: Kind::String(text.clone()), place: connection.place.clone() };
    match texts {
        [text] => Kind::String(text.clone()),
        texts => Kind::List(texts.iter().map(node).collect()),
    }
}

impl Template {
    /// Collects the paths, so that one walk over the document finds what they lead to.
    fn bind(&mut self, content_type: Option<&str>) {
        let lookup = &mut self.lookup;
        self.body.bind(lookup);
        self.headers.bind(content_type, lookup);
        self.query.bind(lookup);
        self.endpoint.bind(lookup);
    }

    /// Renders the request for one event into `request`, which must be empty; its buffers are used again. `doc` is the
    /// document of `event`.
    ///
    /// # Errors
    /// If several things are wrong, the first in the order body, headers, query, path, merge.
    pub fn render(
        &self,
        event: &CloudEvent,
        doc: &Document<'_>,
        meta: &Meta<'_>,
        show: &dyn ShowText,
        request: &mut Request,
    ) -> Result<(), Error> {
        let found = self.lookup.find(Item::Document(doc.members()));
        let scope = Scope { event, document: doc.members(), found: &found, meta, show };
        let body = self.body.render(&scope, &self.headers, request)?;
        self.headers.render(&scope, request)?;
        request.query.push_str(&self.endpoint.query);
        self.query.render(&scope, "query parameter", &mut request.query)?;
        self.endpoint.render(&scope, &mut request.path)?;
        request.body = self.body.merged(body, &scope)?;
        Ok(())
    }
}
