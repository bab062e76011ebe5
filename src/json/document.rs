//! `Document`: the JSON object that patterns match and transforms read (event-patterns.md rules 1–3, 5).
//!
//! It is a list of top-level members that borrow from the event: nothing is parsed or copied until a rule asks.

use super::scan;
use super::tape::Tape;
use super::value::{Json, Kind};
use crate::model::event::{CloudEvent, Content};
use smallvec::SmallVec;
use std::borrow::Cow;

/// One JSON object: context attributes on top, payload under `data` or `data_base64`.
#[derive(Debug, Clone, Default)]
pub struct Document<'a> {
    /// The members in the order of the event. Each name stands once: of duplicates in a structured event the last
    /// value remains, at the first place.
    pub members: SmallVec<[Member<'a>; 12]>,
    /// The earlier values of duplicate names: only patterns of the `aws` dialect see them (event-patterns.md rule 5).
    pub replaced: Vec<Member<'a>>,
    /// Where the values of the JSON lie that the members are parts of, if that was noted when it was checked.
    pub tape: Option<&'a Tape>,
}

/// A top-level member.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its name, escapes decoded.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Member<'a> {
    fn of((name, content): (&'a str, Content<'a>)) -> Self {
        let value = match content {
            Content::Json(text) => Value::Json(Json::trusted(text)),
            Content::Text(text) => Value::Text(text),
            Content::Base64(bytes) => Value::Base64(bytes),
        };
        Self { name: Cow::Borrowed(name), value }
    }
}

/// The value of a top-level member.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// JSON text, checked to be valid.
    Json(Json<'a>),
    /// A string that never was JSON: an attribute of a binary event, a text payload.
    Text(&'a str),
    /// Bytes; the value is their base64 string.
    Base64(&'a [u8]),
}

impl<'a> Document<'a> {
    /// The document of an event.
    #[must_use]
    pub fn of(event: &'a CloudEvent) -> Self {
        Self {
            members: event.members().map(Member::of).collect(),
            replaced: event.replaced().map(Member::of).collect(),
            tape: None,
        }
    }

    /// [`Self::of`] an event that was decoded with this tape. A tape that has noted another text since is of no use.
    #[must_use]
    pub fn noted(event: &'a CloudEvent, tape: &'a Tape) -> Self {
        Self { tape: Some(tape).filter(|tape| tape.mark() == event.noted), ..Self::of(event) }
    }

    /// Checks a text and reads it as a document. `None` if it is JSON, but no object.
    ///
    /// # Errors
    /// The first fault of the text.
    pub fn check(text: &'a [u8], tape: &'a mut Tape) -> Result<Option<Self>, scan::Error> {
        let whole = tape.check(text)?;
        if whole.kind() != Kind::Object {
            return Ok(None);
        }
        let mut document = Self { tape: Some(tape), ..Self::default() };
        tape.members(whole).for_each(|(key, value)| document.add(key, value));
        Ok(Some(document))
    }

    /// Reads a whole JSON object as a document, e.g. one that an answer is judged by. `None` if the text is no object.
    #[must_use]
    pub fn from_object(object: Json<'a>) -> Option<Self> {
        let mut document = Self::default();
        object.members()?.for_each(|(key, value)| document.add(key.decode(), value));
        Some(document)
    }

    fn add(&mut self, name: Cow<'a, str>, value: Json<'a>) {
        let value = Value::Json(value);
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) => {
                self.replaced.push(Member { name, value: std::mem::replace(&mut member.value, value) });
            }
            None => self.members.push(Member { name, value }),
        }
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members.iter().find(|member| member.name == name).map(|member| &member.value)
    }
}
