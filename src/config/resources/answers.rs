//! `when` of `responses`: an event pattern over an answer (transforms.md rule 51). It is compiled here for its faults
//! only, and looked at for what could never match.

use super::check::{At, Checker, join};
use super::scalar::describe;
use crate::model::nearest::nearest;
use crate::model::node::{Key, Kind, Node};
use crate::pattern;

/// What an answer consists of.
const FIELDS: [&str; 5] = ["status", "headers", "body", "error", "item"];
/// What `error` may be.
const ERRORS: [&str; 2] = ["not_sent", "no_answer"];

impl Checker<'_> {
    pub(super) fn answer_pattern(&mut self, node: &Node, at: At<'_>) {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("`{}` must be a map, found {}", at.key, describe(node));
            return self.value(at, &node.place, message, "write {status: [503]} or {body: {code: [0]}}");
        }
        let (found, broken) = match pattern::compile(&node.to_json(), &self.patterns) {
            Ok(compiled) => (compiled.warnings, false),
            Err(faults) => (faults, true),
        };
        self.faults.extend(found.into_iter().map(|fault| pattern::placed(fault, node, at.pointer)));
        if !broken {
            self.answer_fields(node, at.pointer);
        }
    }

    /// The fields of a pattern, or of an alternative of it.
    fn answer_fields(&mut self, node: &Node, pointer: &str) {
        for (key, value) in node.entries() {
            let inner = join(pointer, &key.name);
            // A dot in a key is a step (event-patterns.md rule 6).
            let (first, rest) = match key.name.split_once('.') {
                Some((first, rest)) => (first, Some(rest)),
                None => (key.name.as_str(), None),
            };
            match (first, &value.kind) {
                ("$or", Kind::List(branches)) => {
                    for (i, branch) in branches.iter().enumerate() {
                        self.answer_fields(branch, &format!("{inner}/{i}"));
                    }
                }
                ("headers", _) => {
                    let names = value.entries().iter().map(|(name, _)| (name, name.name.as_str()));
                    let names: Vec<_> = match rest {
                        Some(rest) => vec![(key, rest)],
                        None => names.collect(),
                    };
                    for (key, name) in names {
                        self.lower_case(key, name, &inner);
                    }
                }
                ("status", _) => self.literals(value, &inner, |kind| match kind {
                    Kind::String(text) => {
                        let text = text.masked();
                        Some((format!("`status` is a number and never the text `{text}`"), format!("write {text}")))
                    }
                    Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
                }),
                ("error", _) => self.literals(value, &inner, |kind| match kind {
                    Kind::String(text) if !ERRORS.contains(&text.masked()) => Some((
                        format!("`error` is never `{}`", text.masked()),
                        "write not_sent (no byte of the request left) or no_answer".to_owned(),
                    )),
                    Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
                        None
                    }
                }),
                ("body" | "item", _) => {}
                _ => {
                    let message = format!("an answer has no `{first}`");
                    let near = nearest(first, FIELDS.into_iter());
                    let cure =
                        near.map_or_else(|| format!("it has {}", FIELDS.join(", ")), |near| format!("write `{near}`"));
                    self.fault("CONFIG_VALUE", &inner, &key.place, message, cure);
                }
            }
        }
    }

    fn lower_case(&mut self, key: &Key, name: &str, pointer: &str) {
        let lower = name.to_ascii_lowercase();
        if lower != name && name != "$or" {
            let message = format!("names of headers are in lower case here, so that `{name}` never matches");
            self.fault("CONFIG_VALUE", pointer, &key.place, message, format!("write `{lower}`"));
        }
    }

    /// The literals among the matchers of a field.
    fn literals(&mut self, node: &Node, pointer: &str, wrong: impl Fn(&Kind) -> Option<(String, String)>) {
        let items: &[Node] = match &node.kind {
            Kind::List(items) => items,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => std::slice::from_ref(node),
        };
        for item in items {
            if let Some((message, cure)) = wrong(&item.kind) {
                self.fault("CONFIG_VALUE", pointer, &item.place, message, cure);
            }
        }
    }
}
