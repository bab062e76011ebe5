//! A context attribute of the document as filters see it (event-patterns.md rule 34): its text and type, never the
//! payload.

use crate::json::document::{Document, Value};
use crate::json::value::Kind;
use std::borrow::Cow;

/// What is the payload and no attribute.
const PAYLOAD: [&str; 2] = ["data", "data_base64"];

/// Attributes that every event has (`CloudEvents` 1.0, "Required attributes").
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// The value of an attribute. Those of an event in binary mode are all text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute<'d> {
    Text(Cow<'d, str>),
    /// A JSON number as spelled.
    Number(&'d str),
    Bool(bool),
}

impl<'d> Attribute<'d> {
    /// The attribute of that name. `null` is absent (rule 1); an object or a list is no value of an attribute.
    pub(super) fn of(document: &'d Document<'_>, name: &str) -> Option<Self> {
        if is_payload(name) {
            return None;
        }
        match document.get(name)? {
            Value::Text(text) => Some(Self::Text(Cow::Borrowed(text))),
            Value::Base64(_) => None,
            Value::Json(json) => match json.kind() {
                Kind::String => json.as_str().map(Self::Text),
                Kind::Number => Some(Self::Number(json.text())),
                Kind::Bool => Some(Self::Bool(json.text() == "true")),
                Kind::Null | Kind::Array | Kind::Object => None,
            },
        }
    }

    /// Its text: 3, true.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
        }
    }
}

pub(super) fn is_payload(name: &str) -> bool {
    PAYLOAD.contains(&name)
}

pub(super) fn is_required(name: &str) -> bool {
    REQUIRED.contains(&name)
}

/// What is doubtful about naming this attribute, and the cure. It refuses nothing: a source that is not strict lets
/// events with other names through.
pub(super) fn doubt(name: &str) -> Option<(String, String)> {
    if is_payload(name) {
        let message = format!("`{name}` is the payload and no attribute: filters never see it, so this never holds");
        return Some((message, "test the payload in `pattern`: {data: {…}}".to_owned()));
    }
    let clean = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.is_empty() && name.chars().all(|c| clean(&c)) {
        return None;
    }
    let meant: String = match name {
        "detail-type" => "type".to_owned(),
        _ => name.to_ascii_lowercase().chars().filter(clean).collect(),
    };
    let message = format!("`{name}` is no name of an attribute: those are lower-case letters and digits");
    let cure = if meant.is_empty() { "write e.g. `type`".to_owned() } else { format!("write `{meant}`") };
    Some((message, cure))
}
