//! The path of a request: the endpoint with its parameters (transforms.md rule 48).

use super::encode;
use super::error::Error;
use super::faults::{Faults, Spot};
use super::scalar::{Allow, Scalar};
use super::scope::Scope;
use super::value::Roots;
use crate::json::path::Lookup;
use crate::model::node::{Kind, Node};
use crate::model::redact::redact;
use secrecy::SecretString;
use smallvec::SmallVec;
use std::fmt;

/// An endpoint with its path parameters filled in.
#[derive(Default)]
pub(super) struct Endpoint {
    parts: Vec<Part>,
    /// The parameters, by name, in the order written: so they are evaluated.
    params: Vec<(String, Scalar)>,
    /// The query that stands in the endpoint, without `?`.
    pub(super) query: String,
}

enum Part {
    Literal(String),
    /// The parameter at that index.
    Param(usize),
}

/// What is literal is left out, for it may be secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.params.iter().map(|(name, _)| name)).finish()
    }
}

enum Hole {
    Named(String),
    Star,
}

impl Endpoint {
    /// Compiles the path of the connection's url and the endpoint with the target's `params`; messages leave out what
    /// is `hidden`.
    pub(super) fn compile(
        (base, endpoint): (&str, &str),
        hidden: &[SecretString],
        params: Option<&Node>,
        at: &Spot,
        faults: &mut Faults,
    ) -> Self {
        let (path, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
        let shown = redact(endpoint, hidden);
        if endpoint.bytes().any(|b| !b.is_ascii_graphic() || b == b'#') {
            faults.value(
                at,
                format!("the endpoint `{shown}` has characters that a URL cannot hold"),
                "encode them as %XX",
            );
        }
        let mut literal = String::from(base);
        if !path.starts_with('/') && (base.is_empty() || !path.is_empty()) {
            literal.push('/');
        }
        let Some(pieces) = split(path) else {
            faults.value(
                at,
                format!("`{{` without `}}` in the endpoint `{shown}`"),
                "a path parameter is written {name}",
            );
            return Self::default();
        };
        let at = params.map_or_else(|| at.clone(), |node| at.child("path", &node.place));
        let given = given(params, &at, faults);
        check(&pieces, &shown, params, &given, &at, faults);
        // What could not be compiled is a fault, and a template with faults is never rendered.
        let params: Vec<(String, Scalar)> =
            given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut parts = Vec::new();
        for (nth, (text, hole)) in pieces.into_iter().enumerate() {
            literal.push_str(&text);
            let index = match &hole {
                None => None,
                Some(Hole::Named(name)) => params.iter().position(|(known, _)| known == name),
                Some(Hole::Star) => Some(nth),
            };
            if let Some(index) = index {
                parts.extend([Part::Literal(std::mem::take(&mut literal)), Part::Param(index)]);
            }
        }
        parts.push(Part::Literal(literal));
        Self { parts, params, query: query.to_owned() }
    }

    /// Has the paths in its parameters looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        for (_, value) in &mut self.params {
            value.bind(lookup);
        }
    }

    /// Appends the encoded path to `out`, which must be empty.
    pub(super) fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        // All encoded values, one after the other, and where each ends.
        let (mut values, mut ends) = (String::new(), SmallVec::<[usize; 4]>::new());
        for (name, value) in &self.params {
            let start = values.len();
            value.each(scope, false, &|| format!("path parameter `{name}`"), |text| {
                encode::segment(text, &mut values);
                Ok(())
            })?;
            if values.len() == start {
                return Err(Error::Path { name: name.clone(), what: "empty" });
            }
            ends.push(values.len());
        }
        let mut filled: SmallVec<[(&str, usize); 4]> = SmallVec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Param(index) => {
                    let start = index.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
                    let end = ends.get(*index).copied().unwrap_or(start);
                    filled.extend(self.params.get(*index).map(|(name, _)| (name.as_str(), out.len())));
                    out.push_str(values.get(start..end).unwrap_or_default());
                }
            }
        }
        for (name, at) in filled {
            let start = out.get(..at).and_then(|before| before.rfind('/')).map_or(0, |slash| slash + 1);
            let segment = out.get(start..).unwrap_or_default().split('/').next().unwrap_or_default();
            // Receivers read an encoded dot like a dot.
            if matches!(&*segment.replace("%2e", ".").replace("%2E", "."), "." | "..") {
                return Err(Error::Path { name: name.to_owned(), what: "dots only" });
            }
        }
        Ok(())
    }
}

/// The text before each placeholder, and the placeholder; the last has none.
fn split(path: &str) -> Option<Vec<(String, Option<Hole>)>> {
    let mut pieces = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '*']) {
        let (text, hole) = rest.split_at(at);
        if let Some(after) = hole.strip_prefix('*') {
            pieces.push((text.to_owned(), Some(Hole::Star)));
            rest = after;
        } else {
            let (name, after) = hole.get(1..)?.split_once('}')?;
            pieces.push((text.to_owned(), Some(Hole::Named(name.to_owned()))));
            rest = after;
        }
    }
    pieces.push((rest.to_owned(), None));
    Some(pieces)
}

/// The parameters that the target gives: by name, or by position with the position as name.
fn given(params: Option<&Node>, at: &Spot, faults: &mut Faults) -> Vec<(String, Option<Scalar>)> {
    let allow = Allow { omit: false, list: false };
    let Some(node) = params else { return Vec::new() };
    match &node.kind {
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, node)| {
                let at = at.value(key, node);
                (key.name.clone(), Scalar::compile(node, Roots::Event, allow, |_| None, &at, faults))
            })
            .collect(),
        Kind::List(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                let at = at.element(i, item);
                ((i + 1).to_string(), Scalar::compile(item, Roots::Event, allow, |_| None, &at, faults))
            })
            .collect(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
            faults.value(at, "`path` must be a map of parameters, or a list for `*`", "write path: {name: value}");
            Vec::new()
        }
    }
}

/// Placeholders and parameters must match one to one.
fn check(
    pieces: &[(String, Option<Hole>)],
    endpoint: &str,
    params: Option<&Node>,
    given: &[(String, Option<Scalar>)],
    at: &Spot,
    faults: &mut Faults,
) {
    let holes = || pieces.iter().filter_map(|(_, hole)| hole.as_ref());
    let names: Vec<&str> = holes()
        .filter_map(|hole| match hole {
            Hole::Named(name) => Some(name.as_str()),
            Hole::Star => None,
        })
        .collect();
    let stars = holes().count() - names.len();
    if stars > 0 && !names.is_empty() {
        return faults.value(
            at,
            format!("the endpoint `{endpoint}` mixes `{{name}}` and `*`"),
            "write {name} everywhere",
        );
    }
    if stars > 0 {
        if stars != given.len() {
            let message =
                format!("the endpoint `{endpoint}` has {stars} `*`, but `path` has {} parameters", given.len());
            faults.value(at, message, "give one parameter for each `*`");
        }
        return;
    }
    if params.is_some_and(|node| matches!(node.kind, Kind::List(_))) {
        return faults.value(at, "a list of path parameters, but the endpoint has no `*`", "write path: {name: value}");
    }
    for (i, name) in names.iter().enumerate() {
        if names.iter().take(i).any(|earlier| earlier == name) {
            faults.value(
                at,
                format!("`{{{name}}}` stands twice in the endpoint `{endpoint}`"),
                "name each placeholder once",
            );
        } else if !given.iter().any(|(known, _)| known == name) {
            faults.value(
                at,
                format!("`path` has no `{name}` for the endpoint `{endpoint}`"),
                format!("add path: {{{name}: …}}"),
            );
        }
    }
    for (name, _) in given.iter().filter(|(name, _)| !names.contains(&&**name)) {
        faults.value(
            at,
            format!("the endpoint `{endpoint}` has no `{{{name}}}`"),
            "leave the parameter out, or add the placeholder",
        );
    }
}
