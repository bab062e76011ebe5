//! What an import makes: resources to be written, secrets to be supplied, and what has no equivalent.

use super::names::Names;
use crate::model::fault::Place;
use crate::model::node::{Key, Kind as Value, Node};
use crate::model::text::Text;

/// The kinds of resource, in the order they are written: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Connection,
    Destination,
    Source,
    Rule,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Connection, Self::Destination, Self::Source, Self::Rule];

    /// As it is written.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Destination => "destination",
            Self::Source => "source",
            Self::Rule => "rule",
        }
    }
}

/// A resource to be written.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// What it was made from, in one line.
    pub(super) origin: String,
    /// What people should know, above it.
    pub(super) comments: Vec<String>,
    /// Its keys but `kind` and `name`.
    pub(super) entries: Vec<(Key, Node)>,
    /// It is written as a comment, for it cannot be used as it is.
    pub(super) unusable: bool,
}

/// Something that is not the same here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// The original resource: "rule orders, target Id1".
    pub(super) about: String,
    /// Its key.
    pub(super) key: String,
    /// Why it has no equivalent, or what differs.
    pub(super) why: String,
    /// What to do instead.
    pub(super) instead: String,
    /// It is left out; else it only differs.
    pub(super) lost: bool,
}

/// A value that was not in the input, or is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Supply {
    /// The environment variable.
    pub(super) variable: String,
    /// What it holds.
    pub(super) what: String,
    /// Something of that kind, to check the output with.
    pub(super) sample: &'static str,
}

/// Everything an import makes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) resources: Vec<Resource>,
    pub(super) notes: Vec<Note>,
    pub(super) supplies: Vec<Supply>,
    pub(super) names: Names,
}

/// What a supplied value is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    Text,
    Url,
}

impl Draft {
    /// Says that something is left out.
    pub(super) fn lost(&mut self, about: &str, key: &str, why: impl Into<String>, instead: impl Into<String>) {
        self.note(about, key, why.into(), instead.into(), true);
    }

    /// Says that something is not quite the same.
    pub(super) fn differs(&mut self, about: &str, key: &str, why: impl Into<String>, instead: impl Into<String>) {
        self.note(about, key, why.into(), instead.into(), false);
    }

    fn note(&mut self, about: &str, key: &str, why: String, instead: String, lost: bool) {
        let note = Note { about: about.to_owned(), key: key.to_owned(), why, instead, lost };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A reference to a value that has to be supplied.
    pub(super) fn reference(&mut self, wanted: &str, what: &str, sample: Sample) -> Node {
        let variable = self.names.variable(wanted, what);
        let node = text(format!("${{env:{variable}}}"));
        let sample = match sample {
            Sample::Text => "supplied",
            Sample::Url => "https://supplied.invalid",
        };
        let supply = Supply { variable, what: what.to_owned(), sample };
        if !self.supplies.contains(&supply) {
            self.supplies.push(supply);
        }
        node
    }

    /// The notes since there were `count`, as comments of a resource.
    pub(super) fn comments_since(&self, count: usize) -> Vec<String> {
        self.notes.iter().skip(count).map(Note::to_string).collect()
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.lost { "not imported" } else { "differs" };
        let key = if self.key.is_empty() { String::new() } else { format!(", `{}`", self.key) };
        write!(f, "{what}: {}{key}: {}", self.about, self.why)?;
        if self.instead.is_empty() { Ok(()) } else { write!(f, "; {}", self.instead) }
    }
}

/// A text as it is.
pub(super) fn text(text: impl Into<String>) -> Node {
    Node::unplaced(Value::String(Text::Plain(text.into())))
}

/// A whole number.
pub(super) fn number(number: impl std::fmt::Display) -> Node {
    Node::unplaced(Value::Number(number.to_string()))
}

/// `true` or `false`.
pub(super) fn boolean(value: bool) -> Node {
    Node::unplaced(Value::Bool(value))
}

/// A list.
pub(super) fn list(items: Vec<Node>) -> Node {
    Node::unplaced(Value::List(items))
}

/// A map.
pub(super) fn map(entries: Vec<(Key, Node)>) -> Node {
    Node::unplaced(Value::Map(entries))
}

/// An entry of a map.
pub(super) fn entry(name: impl Into<String>, node: Node) -> (Key, Node) {
    (Key { name: name.into(), place: Place::default() }, node)
}

/// A map with one key.
pub(super) fn one(name: &str, node: Node) -> Node {
    map(vec![entry(name, node)])
}
