//! `Document`: the JSON object that patterns match and transforms read (event-patterns.md rules 1–3, 5).
//!
//! Its members borrow from the event: nothing is parsed or copied until a rule asks, and they are not even listed.

use super::scan;
use super::tape::Tape;
use super::value::{Json, Kind};
use crate::model::event::{CloudEvent, Content};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::OnceCell;

/// One JSON object: context attributes on top, payload under `data` or `data_base64`.
#[derive(Debug, Clone, Default)]
pub struct Document<'a> {
    origin: Origin<'a>,
    /// Made when it is first asked for: matching does without.
    listed: OnceCell<Listed<'a>>,
}

/// What a document was made of.
#[derive(Debug, Clone, Copy, Default)]
pub enum Origin<'a> {
    /// Its members.
    #[default]
    Members,
    /// A JSON object, and the tape that it was checked with.
    Text(Json<'a>, &'a Tape),
    /// An event, and the tape that it was decoded with.
    Event(&'a CloudEvent, Option<&'a Tape>),
}

#[derive(Debug, Clone, Default)]
struct Listed<'a> {
    members: Members<'a>,
    replaced: Vec<Member<'a>>,
}

/// Members in the order of the event.
pub type Members<'a> = SmallVec<[Member<'a>; 12]>;

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
        Self { name: Cow::Borrowed(name), value: Value::of(content) }
    }
}

impl<'a> Value<'a> {
    /// The value of a member of an event.
    #[must_use]
    pub fn of(content: Content<'a>) -> Self {
        match content {
            Content::Json(text) => Self::Json(Json::trusted(text)),
            Content::Text(text) => Self::Text(text),
            Content::Base64(bytes) => Self::Base64(bytes),
        }
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
        Self { origin: Origin::Event(event, None), listed: OnceCell::new() }
    }

    /// [`Self::of`] an event that was decoded with this tape. A tape that has noted another text since is of no use.
    #[must_use]
    pub fn noted(event: &'a CloudEvent, tape: &'a Tape) -> Self {
        let tape = Some(tape).filter(|tape| tape.mark() == event.noted);
        Self { origin: Origin::Event(event, tape), listed: OnceCell::new() }
    }

    /// Checks a text and reads it as a document. `None` if it is JSON, but no object.
    ///
    /// # Errors
    /// The first fault of the text.
    pub fn check(text: &'a [u8], tape: &'a mut Tape) -> Result<Option<Self>, scan::Error> {
        let whole = tape.check(text)?;
        let document = || Self { origin: Origin::Text(whole, tape), listed: OnceCell::new() };
        Ok((whole.kind() == Kind::Object).then(document))
    }

    /// Reads a whole JSON object as a document, e.g. one that an answer is judged by. `None` if the text is no object.
    #[must_use]
    pub fn from_object(object: Json<'a>) -> Option<Self> {
        let mut listed = Listed::default();
        object.members()?.for_each(|(key, value)| listed.add(key.decode(), value));
        Some(Self { origin: Origin::Members, listed: listed.into() })
    }

    /// What it was made of.
    #[must_use]
    pub fn origin(&self) -> Origin<'a> {
        self.origin
    }

    /// The members in the order of the event. Each name stands once: of duplicates in a structured event the last
    /// value remains, at the first place.
    #[must_use]
    pub fn members(&self) -> &Members<'a> {
        &self.listed().members
    }

    /// The earlier values of duplicate names: only patterns of the `aws` dialect see them (event-patterns.md rule 5).
    #[must_use]
    pub fn replaced(&self) -> &[Member<'a>] {
        &self.listed().replaced
    }

    fn listed(&self) -> &Listed<'a> {
        self.listed.get_or_init(|| {
            let mut listed = Listed::default();
            match self.origin {
                Origin::Members => {}
                Origin::Text(whole, tape) => {
                    tape.members(whole).for_each(|member| listed.add(member.key, member.value));
                }
                Origin::Event(event, _) => {
                    listed.members.extend(event.members().map(Member::of));
                    listed.replaced.extend(event.replaced().map(Member::of));
                }
            }
            listed
        })
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.value)
    }
}

impl<'a> From<Members<'a>> for Document<'a> {
    /// A document of these members; no name may stand twice.
    fn from(members: Members<'a>) -> Self {
        Self { origin: Origin::Members, listed: Listed { members, replaced: Vec::new() }.into() }
    }
}

impl<'a> Listed<'a> {
    fn add(&mut self, name: Cow<'a, str>, value: Json<'a>) {
        let value = Value::Json(value);
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) => {
                self.replaced.push(Member { name, value: std::mem::replace(&mut member.value, value) });
            }
            None => self.members.push(Member { name, value }),
        }
    }
}
