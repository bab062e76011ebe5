//! Edits on a copy of the document (transforms.md rule 47). The copy is opened only along the edited paths; what no
//! edit touches stays the event's own text.

use super::error::Error;
use super::faults::{Faults, Spot};
use super::program::{Context, Program, omitted, within};
use super::scope::Scope;
use super::value::{Expr, Roots, Value};
use crate::json::item::Item;
use crate::json::path::{Lookup, Path, Step};
use crate::json::value::{Json, Kind};
use crate::model::fault::Place;
use crate::model::node::{self, Node, write_json_string};
use std::borrow::Cow;

/// A list of edits, in the order they are made.
#[derive(Debug, Default)]
pub(super) struct Edit {
    puts: Vec<Put>,
    deletes: Vec<Vec<Step>>,
}

/// An `insert` or `update`.
#[derive(Debug)]
struct Put {
    action: &'static str,
    parents: Vec<Step>,
    last: Step,
    value: Program,
    /// The value is left out, and the edit with it, if this finds nothing.
    unless_missing: Option<Expr>,
    written: String,
    place: Place,
}

impl Edit {
    /// Compiles `edit: {insert, update, delete}`.
    pub(super) fn compile(node: &Node, at: &Spot, faults: &mut Faults) -> Self {
        let mut edit = Self::default();
        if !matches!(node.kind, node::Kind::Map(_)) {
            faults.value(at, "`edit` must be a map", "it has insert, update and delete");
        }
        for (key, node) in node.entries() {
            if !matches!(&*key.name, "insert" | "update" | "delete") {
                faults.unknown_key(
                    &at.child(&key.name, &key.place),
                    format!("`edit` has no key `{}`", key.name),
                    "it has insert, update and delete",
                );
            } else if key.name != "delete" && !matches!(node.kind, node::Kind::Map(_)) {
                faults.value(&at.value(key, node), "must be a map from paths to values", "e.g. {$.data.region: eu}");
            } else if key.name == "delete" && !matches!(node.kind, node::Kind::List(_)) {
                faults.value(&at.value(key, node), "must be a list of paths", "e.g. [$.data.internal]");
            }
        }
        for action in ["insert", "update"] {
            let Some(map) = node.get(action) else { continue };
            let at = at.child(action, &map.place);
            for (key, node) in map.entries() {
                let value = Value::parse(node, Roots::Event, &at.value(key, node), faults);
                let steps = definite(&key.name, &at.child(&key.name, &key.place), faults);
                let (Some(value), Some((parents, last))) = (value, steps) else { continue };
                edit.puts.push(Put {
                    action,
                    parents,
                    last,
                    value: Program::of(&value, Context::Json),
                    unless_missing: omitted(&value).cloned(),
                    written: key.name.clone(),
                    place: key.place.clone(),
                });
            }
        }
        if let Some(list) = node.get("delete")
            && let node::Kind::List(items) = &list.kind
        {
            let at = at.child("delete", &list.place);
            for (i, item) in items.iter().enumerate() {
                let steps = definite(item.as_plain().unwrap_or_default(), &at.element(i, item), faults);
                edit.deletes.extend(steps.map(|(mut steps, last)| {
                    steps.push(last);
                    steps
                }));
            }
        }
        edit
    }

    /// Has the paths of its values looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        for put in &mut self.puts {
            put.value.bind(lookup);
            put.unless_missing.iter_mut().for_each(|expr| expr.bind(lookup));
        }
    }

    /// Appends the edited document as compact JSON.
    pub(super) fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        let mut tree = Tree::of(Item::Document(scope.document));
        let mut written = 0;
        for put in &self.puts {
            if let Some(expr) = &put.unless_missing
                && !scope.find(expr, |found| Ok(found.is_some()))?
            {
                continue;
            }
            let mut value = String::new();
            put.value.render(scope, &mut value)?;
            written += value.len();
            within(written)?;
            let wrong = |reason| Error::Edit {
                action: put.action,
                path: put.written.clone(),
                reason,
                place: put.place.clone(),
            };
            let parent = tree.walk(&put.parents).ok_or_else(|| wrong("its parent does not exist"))?;
            parent.put(&put.last, Tree::Owned(value), put.action == "insert").map_err(wrong)?;
        }
        for steps in &self.deletes {
            if let Some((last, parents)) = steps.split_last()
                && let Some(parent) = tree.walk(parents)
            {
                parent.delete(last);
            }
        }
        tree.write(out);
        Ok(())
    }
}

/// The path of an edit, split before its last step.
fn definite(text: &str, at: &Spot, faults: &mut Faults) -> Option<(Vec<Step>, Step)> {
    let steps = match Path::parse(text) {
        Ok(path) => path.steps().map(<[Step]>::to_vec),
        Err(e) => {
            faults.value(at, format!("`{text}` is no path under `$`: {e}"), "write e.g. $.data.region");
            return None;
        }
    };
    let split = steps.and_then(|mut steps| steps.pop().map(|last| (steps, last)));
    if split.is_none() {
        faults.value(
            at,
            format!("`{text}` cannot be edited: it is not one field"),
            "a path of names and indexes below `$`, e.g. $.data.items[0]",
        );
    }
    split
}

/// A value that can be changed. What nobody looked into is still text.
enum Tree<'a> {
    Item(Item<'a>),
    /// Compact JSON of ours.
    Owned(String),
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    Array(Vec<Tree<'a>>),
}

impl<'a> Tree<'a> {
    fn of(item: Item<'a>) -> Self {
        Self::Item(item)
    }

    /// Makes the members or elements changeable, if there are any.
    fn open(&mut self) {
        let opened = match self {
            Self::Item(item) => Self::opened(*item, Self::Item),
            Self::Owned(text) => {
                let item = Item::Json(Json::trusted(text));
                let own = |child: Item<'_>| {
                    let mut text = String::new();
                    child.write_compact(&mut text);
                    Self::Owned(text)
                };
                match item.kind() {
                    Kind::Object => {
                        let entry = |(name, value): (Cow<'_, str>, _)| (Cow::Owned(name.into_owned()), own(value));
                        Some(Self::Object(item.members().into_iter().map(entry).collect()))
                    }
                    Kind::Array => Some(Self::Array(item.elements().map(own).collect())),
                    Kind::Null | Kind::Bool | Kind::Number | Kind::String => None,
                }
            }
            Self::Object(_) | Self::Array(_) => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
    }

    fn opened(item: Item<'a>, child: impl Fn(Item<'a>) -> Self) -> Option<Self> {
        match item.kind() {
            Kind::Object => {
                Some(Self::Object(item.members().into_iter().map(|(name, value)| (name, child(value))).collect()))
            }
            Kind::Array => Some(Self::Array(item.elements().map(child).collect())),
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => None,
        }
    }

    fn step(&mut self, step: &Step) -> Option<&mut Self> {
        self.open();
        match (self, step) {
            (Self::Object(members), Step::Name(name)) => {
                members.iter_mut().find(|(known, _)| **known == **name).map(|(_, value)| value)
            }
            (Self::Array(items), Step::Index(index)) => {
                let index = position(*index, items.len())?;
                items.get_mut(index)
            }
            _ => None,
        }
    }

    fn walk(&mut self, steps: &[Step]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |tree, step| tree.step(step))
    }

    fn put(&mut self, step: &Step, value: Self, create: bool) -> Result<(), &'static str> {
        if let Some(place) = self.step(step) {
            *place = value;
            return Ok(());
        }
        match (self, step) {
            (Self::Object(_) | Self::Array(_), _) if !create => Err("it does not exist; `insert` would create it"),
            (Self::Object(members), Step::Name(name)) => {
                members.push((Cow::Owned(name.to_string()), value));
                Ok(())
            }
            (Self::Array(items), Step::Index(index)) if usize::try_from(*index) == Ok(items.len()) => {
                items.push(value);
                Ok(())
            }
            (Self::Array(_), Step::Index(_)) => Err("the index is beyond the end of the list"),
            (Self::Object(_), Step::Index(_)) => Err("its parent is an object and has no indexes"),
            (Self::Array(_), Step::Name(_)) => Err("its parent is a list and has no names"),
            (Self::Item(_) | Self::Owned(_), _) => Err("its parent is neither an object nor a list"),
        }
    }

    fn delete(&mut self, step: &Step) {
        self.open();
        match (self, step) {
            (Self::Object(members), Step::Name(name)) => members.retain(|(known, _)| **known != **name),
            (Self::Array(items), Step::Index(index)) => {
                if let Some(index) = position(*index, items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Item(item) => item.write_compact(out),
            Self::Owned(text) => out.push_str(text),
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
        }
    }
}

/// An index from the start or, negative, from the end, as a position in a list of `len`.
fn position(index: i64, len: usize) -> Option<usize> {
    let at = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    (at < len).then_some(at)
}
