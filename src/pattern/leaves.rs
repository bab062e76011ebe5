//! The leaves of a document at one path (event-patterns.md rules 5, 6, 23): only what lies on the path is read.

use super::matcher::{Forms, Scalar};
use crate::json::document::{Document, Value};
use crate::json::value::{Json, Kind};
use crate::model::resources::Dialect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;
use std::borrow::Cow;

/// A scalar at the path, and the elements of arrays that were walked into on the way.
#[derive(Debug)]
pub(super) struct FoundLeaf<'d> {
    pub(super) value: Scalar<'d>,
    /// Other forms of the value.
    pub(super) forms: Forms,
    /// From the outermost array inwards.
    pub(super) bindings: SmallVec<[Binding; 1]>,
}

/// An array (by the address of its text) and one of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) array: usize,
    pub(super) element: usize,
}

/// All leaves at one path. Leaves of one array stand together: first its scalars, then element after element.
#[derive(Debug, Default)]
pub(super) struct Found<'d> {
    pub(super) leaves: SmallVec<[FoundLeaf<'d>; 1]>,
    /// The path also leads to an object or an array that is no leaf.
    pub(super) container: bool,
}

impl Found<'_> {
    /// Whether some leaf is bound to an element.
    pub(super) fn is_bound(&self) -> bool {
        self.leaves.iter().any(|leaf| !leaf.bindings.is_empty())
    }
}

/// Finds the leaves of `document` at `path`.
pub(super) fn find<'d>(document: &'d Document<'_>, path: &str, dialect: Dialect) -> Found<'d> {
    let mut walk = Walk { dialect, bindings: SmallVec::new(), found: Found::default() };
    let replaced = match dialect {
        Dialect::Tidegate => None,
        Dialect::Aws => Some(&document.replaced),
    };
    for member in document.members.iter().chain(replaced.into_iter().flatten()) {
        let Some(rest) = after_key(path, &member.name) else { continue };
        match &member.value {
            Value::Json(json) => walk.value(*json, rest),
            Value::Text(text) => walk.text(rest, || Cow::Borrowed(text)),
            Value::Base64(bytes) => walk.text(rest, || Cow::Owned(STANDARD.encode(bytes))),
        }
    }
    walk.found
}

/// What of a path is left below a value; `None` if the value is what the path names.
type Rest<'p> = Option<&'p str>;

/// What is left of `path` after `key`; `None` if it does not begin with that key.
fn after_key<'p>(path: &'p str, key: &str) -> Option<Rest<'p>> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() { Some(None) } else { rest.strip_prefix('.').map(Some) }
}

struct Walk<'d> {
    dialect: Dialect,
    bindings: SmallVec<[Binding; 4]>,
    found: Found<'d>,
}

impl<'d> Walk<'d> {
    fn value(&mut self, json: Json<'d>, rest: Rest<'_>) {
        match (json.kind(), rest) {
            (Kind::Object, Some(rest)) => self.object(json, rest),
            (Kind::Object, None) => self.found.container = true,
            (Kind::Array, _) => self.array(json, rest),
            (Kind::Null | Kind::Bool | Kind::Number | Kind::String, None) => self.push(scalar(json)),
            (Kind::Null | Kind::Bool | Kind::Number | Kind::String, Some(_)) => {}
        }
    }

    fn object(&mut self, json: Json<'d>, path: &str) {
        // Where a key ends in the path says which key it is.
        let mut on_path: SmallVec<[(usize, Json<'d>, Rest<'_>); 2]> = SmallVec::new();
        for (key, value) in json.members().into_iter().flatten() {
            let Some(rest) = after_key(path, &key.decode()) else { continue };
            let left = rest.map_or(0, |rest| rest.len() + 1);
            let earlier = match self.dialect {
                Dialect::Tidegate => on_path.iter_mut().find(|(other, ..)| *other == left),
                Dialect::Aws => None,
            };
            match earlier {
                Some(replaced) => replaced.1 = value,
                None => on_path.push((left, value, rest)),
            }
        }
        for (_, value, rest) in on_path {
            self.value(value, rest);
        }
    }

    fn array(&mut self, json: Json<'d>, rest: Rest<'_>) {
        let elements = || json.elements().into_iter().flatten();
        let mut containers = rest.is_some();
        if rest.is_none() {
            self.found.container = true;
            for value in elements() {
                if is_container(value) {
                    containers = true;
                } else {
                    self.push(scalar(value));
                }
            }
        }
        if !containers {
            return;
        }
        let array = json.text().as_ptr().addr();
        for (element, value) in elements().enumerate().filter(|(_, value)| is_container(*value)) {
            self.bindings.push(Binding { array, element });
            self.value(value, rest);
            self.bindings.pop();
        }
    }

    fn text(&mut self, rest: Rest<'_>, text: impl FnOnce() -> Cow<'d, str>) {
        if rest.is_none() {
            self.push(Scalar::Text(text()));
        }
    }

    fn push(&mut self, value: Scalar<'d>) {
        self.found.leaves.push(FoundLeaf {
            value,
            forms: Forms::default(),
            bindings: SmallVec::from_slice(&self.bindings),
        });
    }
}

fn is_container(json: Json<'_>) -> bool {
    matches!(json.kind(), Kind::Object | Kind::Array)
}

/// The scalar that `json` is.
pub(super) fn scalar(json: Json<'_>) -> Scalar<'_> {
    match json.kind() {
        Kind::Bool => Scalar::Bool(json.text() == "true"),
        Kind::Number => Scalar::Number(json.text()),
        Kind::String => Scalar::Text(json.as_str().unwrap_or_default()),
        Kind::Null | Kind::Array | Kind::Object => Scalar::Null,
    }
}
