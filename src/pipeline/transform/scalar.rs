//! A value where text is needed: in headers, query, form and path (transforms.md rule 55).

use super::error::Error;
use super::faults::{Faults, Spot};
use super::program::{Context, Program};
use super::scope::{Scope, kind_name};
use super::value::{Expr, Missing, Piece, Roots, Value};
use crate::json::item::Item;
use crate::json::path::{Found, Lookup};
use crate::json::value::{Json, Kind};
use crate::model::node::{self, Node};
use crate::model::text::Text;

/// A value that gives text.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    Fixed(String),
    Secret(Text),
    Expr(Expr),
    Text(Program),
}

/// What a place allows besides a string, number or boolean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allow {
    /// `?? omit`.
    pub(super) omit: bool,
    /// A list found by a path.
    pub(super) list: bool,
}

impl Scalar {
    /// Compiles what is written; `wrong` says what characters must not be written here. `None` after a fault.
    pub(super) fn compile(
        node: &Node,
        roots: Roots,
        allow: Allow,
        wrong: impl Fn(&str) -> Option<&'static str>,
        at: &Spot,
        faults: &mut Faults,
    ) -> Option<Self> {
        let kind = match &node.kind {
            node::Kind::Null => Some("null"),
            node::Kind::List(_) => Some("a list"),
            node::Kind::Map(_) => Some("an object"),
            node::Kind::Bool(_) | node::Kind::Number(_) | node::Kind::String(_) => None,
        };
        if let Some(kind) = kind {
            faults.value(at, format!("{kind} cannot stand here"), "write a string, a number or a boolean");
            return None;
        }
        let value = Value::parse(node, roots, at, faults)?;
        let mut written = Vec::new();
        let scalar = match value {
            Value::Secret(text) => Self::Secret(text),
            Value::Expr(expr) => {
                check_missing(&expr, allow, at, faults)?;
                written.extend(default_text(&expr));
                Self::Expr(expr)
            }
            Value::Text(pieces) => {
                written.extend(pieces.iter().filter_map(|piece| match piece {
                    Piece::Literal(text) => Some(text.clone()),
                    Piece::Expr(expr) => default_text(expr),
                }));
                Self::Text(Program::of(&Value::Text(pieces), Context::Plain))
            }
            fixed @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_)) => {
                let program = Program::of(&fixed, Context::Plain);
                let text = program.fixed().unwrap_or_default().to_owned();
                written.push(text.clone());
                Self::Fixed(text)
            }
        };
        if let Some(what) = written.iter().find_map(|text| wrong(text)) {
            faults.value(at, format!("{what} cannot stand here"), "leave it out");
            return None;
        }
        Some(scalar)
    }

    /// Has the paths in it looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        match self {
            Self::Fixed(_) | Self::Secret(_) => {}
            Self::Expr(expr) => expr.bind(lookup),
            Self::Text(program) => program.bind(lookup),
        }
    }

    /// Gives `put` the text, or each text of a list. Nothing is given if the value is left out.
    pub(super) fn each(
        &self,
        scope: &Scope<'_>,
        list: bool,
        wanted: &dyn Fn() -> String,
        mut put: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Fixed(text) => put(text),
            Self::Secret(text) => put(scope.show.show(text)),
            Self::Text(program) => {
                let mut text = String::new();
                program.render(scope, &mut text)?;
                put(&text)
            }
            Self::Expr(expr) => scope.find(expr, |found| {
                let Some(found) = found else { return Ok(()) };
                let wrong = |found| Error::Type {
                    path: expr.written.to_string(),
                    found,
                    wanted: wanted(),
                    place: expr.place.clone(),
                };
                let item = match found {
                    Found::One(item) if !(list && item.kind() == Kind::Array) => item,
                    Found::One(item) => return several(item.elements().collect(), wrong, put),
                    Found::List(items) if list => return several(items, wrong, put),
                    Found::List(_) => return Err(wrong(kind_name(Kind::Array))),
                };
                match item.text() {
                    Some(text) => put(&text),
                    None => Err(wrong(kind_name(item.kind()))),
                }
            }),
        }
    }
}
/// Gives `put` the text of each; all are looked at before the first is given on.
fn several(
    items: Vec<Item<'_>>,
    wrong: impl Fn(&'static str) -> Error,
    mut put: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(item) = items.iter().find(|item| is_no_text(item.kind())) {
        let several = items.len() > 1;
        return Err(wrong(if several { "a list of more than texts" } else { kind_name(item.kind()) }));
    }
    items.into_iter().filter_map(Item::text).try_for_each(|text| put(&text))
}

const fn is_no_text(kind: Kind) -> bool {
    matches!(kind, Kind::Null | Kind::Array | Kind::Object)
}

fn default_text(expr: &Expr) -> Option<String> {
    match &expr.missing {
        Missing::Default(json) => {
            let mut text = String::new();
            Found::One(Item::Json(Json::trusted(json))).write_text(&mut text);
            Some(text)
        }
        Missing::Fail | Missing::Omit => None,
    }
}

/// A default must fit the place as well.
fn check_missing(expr: &Expr, allow: Allow, at: &Spot, faults: &mut Faults) -> Option<()> {
    match &expr.missing {
        Missing::Fail => Some(()),
        Missing::Omit if allow.omit => Some(()),
        Missing::Omit => {
            faults.value(
                at,
                "`?? omit` in a place that cannot be left out",
                format!("give a default, `${{{} ?? \"…\"}}`", expr.written),
            );
            None
        }
        Missing::Default(json) => {
            let json = Json::trusted(json);
            let elements = json.elements().filter(|_| allow.list);
            let fits = match elements {
                Some(mut elements) => elements.all(|element| !is_no_text(element.kind())),
                None => !is_no_text(json.kind()),
            };
            if !fits {
                let message = format!("the default `{}` is no text", json.text());
                faults.value(at, message, "write a string, a number or a boolean");
            }
            fits.then_some(())
        }
    }
}
