//! `Item`: a value found in a document: the document itself, a piece of JSON, or a member that never was JSON.

use super::document::{Document, Member, Value};
use super::value::{Json, Kind};
use super::write;
use crate::model::node::{write_json_escaped, write_json_string};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// A value that borrows from the event.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A whole document, or some of its members.
    Document(&'a [Member<'a>]),
    /// JSON text.
    Json(Json<'a>),
    /// A string that never was JSON.
    Text(&'a str),
    /// Bytes; the value is their base64 string.
    Base64(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The whole document.
    #[must_use]
    pub fn of<'d: 'a>(document: &'a Document<'d>) -> Self {
        let members: &'a [Member<'d>] = document.members();
        Self::Document(members)
    }

    fn of_value(value: &Value<'a>) -> Self {
        match *value {
            Value::Json(json) => Self::Json(json),
            Value::Text(text) => Self::Text(text),
            Value::Base64(bytes) => Self::Base64(bytes),
        }
    }

    /// What kind of JSON value it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Document(_) => Kind::Object,
            Self::Json(json) => json.kind(),
            Self::Text(_) | Self::Base64(_) => Kind::String,
        }
    }

    /// The member of that name, if it is an object that has it.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        match self {
            Self::Document(members) => {
                members.iter().find(|member| member.name == name).map(|member| Self::of_value(&member.value))
            }
            Self::Json(json) => json.get(name).map(Self::Json),
            Self::Text(_) | Self::Base64(_) => None,
        }
    }

    /// The element at `index`, counted from the end if negative, if it is an array that has it.
    #[must_use]
    pub fn at(self, index: i64) -> Option<Self> {
        let Self::Json(json) = self else { return None };
        let mut elements = json.elements()?;
        let from_start = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => {
                let back = usize::try_from(index.unsigned_abs()).ok()?;
                elements.clone().count().checked_sub(back)?
            }
        };
        elements.nth(from_start).map(Self::Json)
    }

    /// The elements of an array; empty for anything else.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let elements = if let Self::Json(json) = self { json.elements() } else { None };
        elements.into_iter().flatten().map(Self::Json)
    }

    /// The members of an object in order, each name once; empty for anything else.
    #[must_use]
    pub fn members(self) -> Vec<(Cow<'a, str>, Self)> {
        match self {
            Self::Document(members) => {
                members.iter().map(|member| (member.name.clone(), Self::of_value(&member.value))).collect()
            }
            Self::Json(json) => {
                write::unique_members(json).into_iter().map(|(key, value)| (key, Self::Json(value))).collect()
            }
            Self::Text(_) | Self::Base64(_) => Vec::new(),
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Document(_) => None,
            Self::Json(json) => json.as_str(),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Base64(bytes) => Some(Cow::Owned(STANDARD.encode(bytes))),
        }
    }

    /// Its text form (rule 42) if it is a string, number or boolean.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(json) => match json.kind() {
                Kind::String => json.as_str(),
                Kind::Number | Kind::Bool => Some(Cow::Borrowed(json.text())),
                Kind::Null | Kind::Array | Kind::Object => None,
            },
            Self::Document(_) | Self::Text(_) | Self::Base64(_) => self.as_str(),
        }
    }

    /// Appends it as compact JSON (transforms.md rule 38).
    pub fn write_compact(self, out: &mut String) {
        match self {
            Self::Document(members) => {
                out.push('{');
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(&member.name, out);
                    out.push(':');
                    Self::of_value(&member.value).write_compact(out);
                }
                out.push('}');
            }
            Self::Json(json) => write::compact(json, out),
            Self::Text(text) => write_json_string(text, out),
            Self::Base64(bytes) => {
                out.push('"');
                STANDARD.encode_string(bytes, out);
                out.push('"');
            }
        }
    }

    /// Appends its text form (rule 42): of a string its characters, of anything else its compact JSON.
    pub fn write_text(self, out: &mut String) {
        match self {
            Self::Document(_) => self.write_compact(out),
            Self::Json(json) => match json.as_str() {
                Some(text) => out.push_str(&text),
                None => write::compact(json, out),
            },
            Self::Text(text) => out.push_str(text),
            Self::Base64(bytes) => STANDARD.encode_string(bytes, out),
        }
    }

    /// Appends its text form, escaped to stand inside a JSON string literal.
    pub fn write_escaped(self, out: &mut String) {
        match self {
            Self::Document(_) => {
                let mut plain = String::new();
                self.write_compact(&mut plain);
                write_json_escaped(&plain, out);
            }
            Self::Json(json) => write::escaped(json, out),
            Self::Text(text) => write_json_escaped(text, out),
            Self::Base64(bytes) => STANDARD.encode_string(bytes, out),
        }
    }
}
