//! Query parameters, and forms, which are written the same way (transforms.md rules 48, 49, 57).

use super::encode;
use super::error::Error;
use super::faults::{Faults, Spot};
use super::program::within;
use super::scalar::{Allow, Scalar};
use super::scope::Scope;
use super::value::Roots;
use crate::json::path::Lookup;
use crate::model::node::{Key, Kind, Node};

/// Parameters in the order they are written.
#[derive(Debug, Default)]
pub(super) struct Params {
    all: Vec<Param>,
}

#[derive(Debug)]
struct Param {
    name: String,
    /// Encoded, with `=`.
    encoded: String,
    values: Vec<Scalar>,
    /// The only value; a list that it finds repeats the name.
    single: bool,
}

impl Params {
    /// Adds a map of parameters; each wins over one of the same name that is there, as a whole list.
    pub(super) fn add(&mut self, entries: &[(Key, Node)], roots: Roots, at: &Spot, faults: &mut Faults) {
        for (key, node) in entries {
            let at = at.value(key, node);
            let compile = |node: &Node, at: &Spot, list: bool, faults: &mut Faults| {
                Scalar::compile(node, roots, Allow { omit: true, list }, |_| None, at, faults)
            };
            let (values, single): (Vec<Option<Scalar>>, bool) = match &node.kind {
                Kind::List(items) => {
                    let element = |(i, item)| compile(item, &at.element(i, item), false, faults);
                    (items.iter().enumerate().map(element).collect(), false)
                }
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => {
                    (vec![compile(node, &at, true, faults)], true)
                }
            };
            let Some(values) = values.into_iter().collect() else { continue };
            let mut encoded = String::new();
            encode::form(&key.name, &mut encoded);
            encoded.push('=');
            self.all.retain(|param| param.name != key.name);
            self.all.push(Param { name: key.name.clone(), encoded, values, single });
        }
    }

    /// Has the paths in them looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        self.all.iter_mut().flat_map(|param| &mut param.values).for_each(|value| value.bind(lookup));
    }

    /// Appends `name=value` pairs, joined by `&`, to what is there. `wanted` names the place in messages.
    pub(super) fn render(&self, scope: &Scope<'_>, wanted: &str, out: &mut String) -> Result<(), Error> {
        for param in &self.all {
            for value in &param.values {
                value.each(scope, param.single, &|| format!("{wanted} `{}`", param.name), |text| {
                    if !out.is_empty() {
                        out.push('&');
                    }
                    out.push_str(&param.encoded);
                    encode::form(text, out);
                    within(out.len())
                })?;
            }
        }
        Ok(())
    }
}
