//! Walks a written resource along its key table: unknown keys, wrong kinds of values, values out of bounds, missing
//! keys, secrets. Resolves references in place. What passes here can be built without further doubt.

use super::keys::{EXPECTATION, LIMIT, Shape, Table};
use super::scalar::{describe, example};
use super::texts::Allowed;
use super::{Context, names, scalar, url};
use crate::config::env::Env;
use crate::config::secrets::{self, Grammar};
use crate::model::fault::{Fault, Place};
use crate::model::node::{Kind, Node};
use crate::model::redact::redact;
use crate::model::text::Text;
use crate::model::units;
use crate::pattern;
use secrecy::SecretString;
use std::path::PathBuf;

/// Walks one resource; `faults` is what it found.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    pub(super) env: &'a Env,
    /// An unset variable of a secret is a warning.
    pub(super) lenient: bool,
    /// How the patterns of answers are read.
    pub(super) patterns: pattern::Options,
    /// References may stand here.
    pub(super) references: bool,
    /// Literal secrets are fine here, for a neighbour is a reference.
    pub(super) literal_ok: bool,
    /// Pointers of shown texts that references had a part in.
    pub(super) referring: Vec<String>,
    /// What references gave for paths and queries of urls.
    pub(super) hidden: Vec<SecretString>,
    pub(super) faults: Vec<Fault>,
    /// Files that references read.
    pub(super) files: Vec<PathBuf>,
}

/// What is checked: the last key on the way to it, and its pointer.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'p> {
    pub(super) key: &'p str,
    pub(super) pointer: &'p str,
}

impl<'a> Checker<'a> {
    pub(super) fn new(context: &'a Context, references: bool) -> Self {
        Self {
            env: &context.env,
            lenient: context.lenient,
            patterns: pattern::Options { limits: context.pattern_limits, ..pattern::Options::default() },
            references,
            literal_ok: false,
            referring: Vec::new(),
            hidden: Vec::new(),
            faults: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Whether something was found that refuses the resource.
    pub(super) fn failed(&self) -> bool {
        self.faults.iter().any(|fault| !fault.warning)
    }

    pub(super) fn fault(&mut self, code: &'static str, pointer: &str, place: &Place, message: String, cure: String) {
        // A url that cannot be read may be a password in the wrong variable.
        let (message, cure) = if self.referring.iter().any(|referring| referring == pointer) {
            let key = pointer.rsplit('/').next().unwrap_or_default();
            let message = format!(
                "what the references in `{key}` give cannot stand there; it is not shown, for it may be secret"
            );
            (message, "check the variables or files that they name".to_owned())
        } else {
            (redact(&message, &self.hidden), redact(&cure, &self.hidden))
        };
        self.faults.push(Fault::error(code, pointer, message).cure(cure).at(place.clone()));
    }

    pub(super) fn warn(&mut self, code: &'static str, pointer: &str, place: &Place, message: String, cure: String) {
        let (message, cure) = (redact(&message, &self.hidden), redact(&cure, &self.hidden));
        self.faults.push(Fault::warning(code, pointer, message).cure(cure).at(place.clone()));
    }

    pub(super) fn value(&mut self, at: At<'_>, place: &Place, message: String, cure: impl Into<String>) {
        self.fault("CONFIG_VALUE", at.pointer, place, message, cure.into());
    }

    /// Checks a map against its table.
    pub(super) fn table(&mut self, table: &Table, node: &mut Node, pointer: &str) {
        let place = node.place.clone();
        let literal_ok = self.literal_ok;
        if table.noun == "auth.basic" {
            let referring = |node: &Node| node.as_plain().is_some_and(|t| secrets::mentions(t, Grammar::Literal));
            self.literal_ok = node.entries().iter().any(|(_, value)| referring(value));
        }
        let Kind::Map(entries) = &mut node.kind else {
            let keys: Vec<_> = table.keys.iter().map(|key| key.name).filter(|name| *name != "description").collect();
            let message = format!("{} must be a map, found {}", table.noun, describe(node));
            return self.fault("CONFIG_VALUE", pointer, &place, message, format!("keys: {}", keys.join(", ")));
        };
        let before = self.faults.len();
        let (mut unbuilt, mut cures) = (false, Vec::new());
        for (key, value) in entries.iter_mut() {
            let inner = join(pointer, &key.name);
            match table.keys.iter().find(|known| known.name == key.name) {
                None => {
                    let message = format!("{} has no key `{}`", table.noun, key.name);
                    let cure = names::instead(table, &key.name);
                    cures.push(cure.clone());
                    self.fault("CONFIG_UNKNOWN_KEY", &inner, &key.place, message, cure);
                }
                Some(known) if matches!(known.shape, Shape::Later) => {
                    unbuilt = true;
                    let message = format!("{}: `{}` is not supported by this version", table.noun, key.name);
                    self.fault("CONFIG_NOT_SUPPORTED", &inner, &key.place, message, "leave it out".to_owned());
                }
                Some(known) => self.shape(known.shape, value, At { key: &key.name, pointer: &inner }),
            }
        }
        self.literal_ok = literal_ok;
        // What is missing beside a key that is not supported would be said by a feature that does not exist.
        let missing = table.keys.iter().filter(|known| known.required && !unbuilt);
        for known in missing {
            // Written under another name: said once.
            let meant = [format!("`{}`", known.name), format!("`{}:", known.name)];
            let said = cures.iter().any(|cure| meant.iter().any(|name| cure.contains(name)));
            if node.get(known.name).is_none() && !said {
                let message = format!("{} needs the key `{}`", table.noun, known.name);
                let cure = format!("write `{}`", example(known.name, known.shape));
                self.fault("CONFIG_MISSING_KEY", pointer, &place, message, cure);
            }
        }
        if !self.faults.iter().skip(before).any(|fault| !fault.warning) {
            self.whole(table, node, pointer);
        }
    }

    fn shape(&mut self, shape: Shape, node: &mut Node, at: At<'_>) {
        if matches!(node.kind, Kind::Null) && !matches!(shape, Shape::Any | Shape::Verbatim | Shape::Kind) {
            let cure = match (shape, at.key) {
                (Shape::AnyMap, "pattern") => "write `pattern: {type: [order.paid]}`, or {} for every event".to_owned(),
                _ => format!("write `{}`, or leave the key out", example(at.key, shape)),
            };
            let place = node.place.clone();
            return self.value(at, &place, format!("`{}` is empty", at.key), cure);
        }
        match shape {
            Shape::Kind | Shape::Verbatim | Shape::Later => {}
            Shape::Table(table) => self.table(table, node, at.pointer),
            Shape::OneOf(table) => self.one_of(table, node, at),
            Shape::List(table) => self.list(table, node, at),
            Shape::Hidden | Shape::Secret => self.secret(shape, node, at),
            Shape::Secrets => self.secrets(node, at),
            Shape::Exchange(part) => self.exchange(part, node, at),
            Shape::AnswerPattern => self.answer_pattern(node, at),
            Shape::WordOr(words, table) => match &node.kind {
                Kind::Map(_) => self.table(table, node, at.pointer),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) => {
                    self.scalar(Shape::WordOr(words, table), node, at);
                }
            },
            Shape::FixedHeaders | Shape::FixedQuery => self.fixed(shape, node, at),
            Shape::Values | Shape::FixedBody => self.values_map(node, at),
            Shape::PathValues => match &node.kind {
                Kind::List(_) => self.values(node, at.pointer),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => {
                    self.values_map(node, at);
                }
            },
            Shape::Any => self.values(node, at.pointer),
            Shape::AnyMap => self.must_be_map(node, at),
            Shape::Filters => self.must_be_list(node, at),
            Shape::Expectations => self.expectations(node, at),
            Shape::Topics | Shape::Networks | Shape::Delay => self.several(shape, node, at),
            Shape::Rates => self.rates(node, at),
            Shape::Name
            | Shape::Text
            | Shape::Url
            | Shape::TokenEndpoint
            | Shape::ProxyUrl
            | Shape::Method
            | Shape::HeaderName
            | Shape::SignatureFormat
            | Shape::AnswerPath
            | Shape::Lifetime
            | Shape::Bool
            | Shape::Count(..)
            | Shape::Duration(..)
            | Shape::Rate
            | Shape::Words(_)
            | Shape::Topic
            | Shape::PemFile => self.scalar(shape, node, at),
        }
    }

    /// A value that is one word, number or text.
    fn scalar(&mut self, shape: Shape, node: &mut Node, at: At<'_>) {
        if !self.resolve_plain(node, at) {
            return;
        }
        if let Err((message, cure)) = scalar::fits(shape, node, at.key) {
            let later = matches!(shape, Shape::Url) && node.as_plain().is_some_and(url::is_later);
            let code = if later { "CONFIG_NOT_SUPPORTED" } else { "CONFIG_VALUE" };
            let place = node.place.clone();
            self.fault(code, at.pointer, &place, message, cure);
            return;
        }
        let doubt = node.as_plain().filter(|_| matches!(shape, Shape::Url)).and_then(url::doubt);
        if let Some((message, cure)) = doubt {
            let place = node.place.clone();
            self.warn("CONFIG_INSECURE", at.pointer, &place, message, cure);
        }
    }

    fn one_of(&mut self, table: &'static Table, node: &mut Node, at: At<'_>) {
        if node.as_plain() == Some("none") {
            return;
        }
        let (count, place) = (node.entries().len(), node.place.clone());
        self.table(table, node, at.pointer);
        let known = |node: &Node| node.entries().iter().all(|(k, _)| table.keys.iter().any(|key| key.name == k.name));
        if matches!(node.kind, Kind::Map(_)) && count != 1 && known(node) {
            let built = table.keys.iter().filter(|key| !matches!(key.shape, Shape::Later));
            let keys: Vec<_> = built.map(|key| key.name).collect();
            let message = format!("`{}` needs exactly one key, found {count}", at.key);
            self.value(at, &place, message, format!("one of: {}; or `{}: none`", keys.join(", "), at.key));
        }
    }

    fn list(&mut self, table: &'static Table, node: &mut Node, at: At<'_>) {
        let place = node.place.clone();
        match &mut node.kind {
            Kind::List(items) if !items.is_empty() => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.table(table, item, &format!("{}/{i}", at.pointer));
                }
            }
            Kind::List(_) => self.value(at, &place, format!("`{}` is an empty list", at.key), "write at least one"),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => {
                let message = format!("`{}` must be a list, found {}", at.key, describe(node));
                self.value(at, &place, message, format!("begin each {} with `- `", table.noun));
            }
        }
    }

    /// A list of scalars.
    fn several(&mut self, shape: Shape, node: &mut Node, at: At<'_>) {
        let place = node.place.clone();
        let found = describe(node);
        let Kind::List(items) = &mut node.kind else {
            let example = example(at.key, shape);
            return self.value(
                at,
                &place,
                format!("`{}` must be a list, found {found}", at.key),
                format!("write `{example}`"),
            );
        };
        let (delay, topics) = (matches!(shape, Shape::Delay), matches!(shape, Shape::Topics));
        let inner_shape = if delay {
            Shape::Duration(0, 86_400)
        } else if topics {
            Shape::Topic
        } else {
            shape
        };
        let before = self.faults.len();
        for (i, item) in items.iter_mut().enumerate() {
            let pointer = format!("{}/{i}", at.pointer);
            self.scalar(inner_shape, item, At { key: at.key, pointer: &pointer });
        }
        if topics && items.is_empty() {
            self.value(at, &place, format!("`{}` is an empty list", at.key), "write at least one");
        }
        if delay && self.faults.len() == before {
            let waits: Vec<_> = items.iter().filter_map(|item| units::duration(item.as_plain()?).ok()).collect();
            if !matches!(waits.as_slice(), [first, max] if first <= max && !max.is_zero()) {
                let message = format!("`{}` needs the first and the longest wait, in this order", at.key);
                self.value(at, &place, message, "write [1s, 10m]");
            }
        }
    }

    fn rates(&mut self, node: &mut Node, at: At<'_>) {
        let place = node.place.clone();
        match &mut node.kind {
            Kind::Map(_) => self.table(&LIMIT, node, at.pointer),
            Kind::List(items) if !items.is_empty() => {
                for (i, item) in items.iter_mut().enumerate() {
                    let pointer = format!("{}/{i}", at.pointer);
                    let inner = At { key: at.key, pointer: &pointer };
                    match item.kind {
                        Kind::Map(_) => self.table(&LIMIT, item, inner.pointer),
                        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) => {
                            self.scalar(Shape::Rate, item, inner);
                        }
                    }
                }
            }
            Kind::List(_) => self.value(at, &place, format!("`{}` is an empty list", at.key), "write 50/min"),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => self.scalar(Shape::Rate, node, at),
        }
    }

    fn must_be_map(&mut self, node: &Node, at: At<'_>) {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("`{}` must be a map, found {}", at.key, describe(node));
            let json = node.as_plain().is_some_and(|text| text.trim_start().starts_with('{'));
            let cure = match (json, at.key) {
                (true, _) => "leave out the quotes or the `|`: JSON is YAML, too",
                (false, "pattern") => "write `pattern: {type: [order.paid]}`, or {} for every event",
                (false, _) => "write `key: value` below it, or {}",
            };
            self.value(at, &node.place, message, cure);
        }
    }

    fn must_be_list(&mut self, node: &Node, at: At<'_>) {
        if !matches!(node.kind, Kind::List(_)) {
            let message = format!("`{}` must be a list, found {}", at.key, describe(node));
            self.value(at, &node.place, message, "write `- exact: {type: …}` below it");
        }
    }

    fn values_map(&mut self, node: &mut Node, at: At<'_>) {
        self.must_be_map(node, at);
        self.values(node, at.pointer);
    }

    /// References in the strings of a value, at any depth.
    fn values(&mut self, node: &mut Node, pointer: &str) {
        match &mut node.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(Text::Secret(_)) => {}
            Kind::String(Text::Plain(_)) => {
                let at = At { key: pointer.rsplit('/').next().unwrap_or_default(), pointer };
                self.resolve_hidden(node, at, Grammar::Value, Allowed::Anything);
            }
            Kind::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.values(item, &format!("{pointer}/{i}"));
                }
            }
            Kind::Map(entries) => {
                for (key, value) in entries.iter_mut() {
                    // A constant is never interpreted, and a template has a grammar of its own.
                    if self.references || !matches!(key.name.as_str(), "constant" | "template") {
                        self.values(value, &join(pointer, &key.name));
                    }
                }
            }
        }
    }

    fn expectations(&mut self, node: &mut Node, at: At<'_>) {
        self.must_be_map(node, at);
        let Kind::Map(entries) = &mut node.kind else { return };
        for (key, value) in entries.iter_mut() {
            let pointer = join(at.pointer, &key.name);
            if value.as_plain() == Some("no_match") {
                continue;
            }
            let (place, one) = (value.place.clone(), value.entries().len() == 1);
            self.table(&EXPECTATION, value, &pointer);
            if !one && matches!(value.kind, Kind::Map(_)) {
                let message = format!("the test of `{}` must expect exactly one thing", key.name);
                let inner = At { key: &key.name, pointer: &pointer };
                self.value(inner, &place, message, "write {body: …}, {error: CODE} or no_match");
            }
        }
    }
}

/// A pointer one key deeper (RFC 6901).
pub(super) fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}
