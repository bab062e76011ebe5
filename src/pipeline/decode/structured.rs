//! Structured mode: the value is the event as JSON. Every attribute keeps its JSON type and spelling.

use super::payload::{self, Payload};
use super::{Error, MAX_ATTRIBUTES, Options, check_name};
use crate::json::tape::{Noted, Tape};
use crate::json::value::{Json, Kind};
use crate::model::event::{Builder, Content, Form, Parts};
use crate::model::record::Record;
use base64::Engine as _;
use smallvec::SmallVec;
use std::borrow::Cow;

/// How many attributes stand before it, and the member that it is.
type Found<'a> = (usize, Noted<'a>);
type Attributes<'a> = SmallVec<[Noted<'a>; 16]>;

/// The attributes that CloudEvents defines.
#[derive(Default)]
struct Known<'m, 'a> {
    specversion: Option<&'m Noted<'a>>,
    id: Option<&'m Noted<'a>>,
    source: Option<&'m Noted<'a>>,
    kind: Option<&'m Noted<'a>>,
    subject: Option<&'m Noted<'a>>,
    time: Option<&'m Noted<'a>>,
    dataschema: Option<&'m Noted<'a>>,
    datacontenttype: Option<&'m Noted<'a>>,
}

pub(super) fn read(record: &Record, options: &Options, tape: &mut Tape) -> Result<Parts, Error> {
    let value = record.value().ok_or(Error::NullValue)?;
    let mut attributes = Attributes::new();
    // The payload, and how many attributes stand before the first that has its name.
    let (mut data, mut data_base64): (Option<Found<'_>>, Option<Found<'_>>) = (None, None);
    // Earlier values of what stands twice.
    let mut replaced: Vec<Noted<'_>> = Vec::new();
    let event = tape.check(value).map_err(|source| Error::Json { source })?;
    let (mut lengths, mut nulls) = (0_u64, false);
    for member in tape.members(event) {
        let before = attributes.len();
        let old = match &*member.key {
            "data" => put_payload(&mut data, before, member),
            "data_base64" => put_payload(&mut data_base64, before, member),
            name => {
                nulls |= member.value.kind() == Kind::Null;
                // A name of another length than all before is new.
                let length = 1 << (name.len() % 64);
                let known = if lengths & length == 0 { None } else { attributes.iter_mut().find(|a| a.key == name) };
                lengths |= length;
                match known {
                    Some(attribute) => Some(std::mem::replace(attribute, member)),
                    None if before < MAX_ATTRIBUTES => {
                        attributes.push(member);
                        continue;
                    }
                    None => return Err(Error::AttributeCount),
                }
            }
        };
        match old {
            Some(_) if replaced.len() == MAX_ATTRIBUTES => return Err(Error::AttributeCount),
            Some(old) => replaced.push(old),
            None => {}
        }
    }
    match event.kind() {
        Kind::Object => {}
        Kind::Array => return Err(Error::Batch { found: "a JSON array".to_owned() }),
        other @ (Kind::Null | Kind::Bool | Kind::Number | Kind::String) => {
            return Err(Error::NotObject { found: kind(other) });
        }
    }
    let data_base64 = data_base64.filter(|(_, member)| member.value.kind() != Kind::Null);
    let mut before = data_base64.as_ref().or(data.as_ref()).map_or(attributes.len(), |(before, _)| *before);
    if nulls {
        before = attributes.iter().take(before).filter(|attribute| attribute.value.kind() != Kind::Null).count();
        attributes.retain(|attribute| attribute.value.kind() != Kind::Null);
    }
    if options.strict {
        attributes.iter().try_for_each(|attribute| check_name(&attribute.key, true))?;
    }

    let known = Known::of(&attributes);
    let version = known.specversion.ok_or(Error::AttributeMissing { name: "specversion", binary: false })?;
    if version.as_str().as_deref() != Some("1.0") {
        return Err(Error::SpecVersion { found: super::shorten(version.value.text()) });
    }
    let id = required(known.id, "id")?;
    let source = required(known.source, "source")?;
    let kind = required(known.kind, "type")?;
    for (attribute, name) in [(known.subject, "subject"), (known.time, "time"), (known.dataschema, "dataschema")] {
        text(attribute, name)?;
    }
    let content_type = text(known.datacontenttype, "datacontenttype")?;

    let media = payload::media(content_type.as_deref());
    let payload = match (&data, &data_base64) {
        (Some((_, data)), Some(_)) if data.value.kind() != Kind::Null => return Err(Error::DataTwice),
        (_, Some((_, encoded))) => {
            Payload::of_bytes(bytes_of(encoded.value)?.into(), media).unwrap_decoded(options.payload)
        }
        (Some((_, data)), None) => {
            Payload::json(data.value.text()).unwrap(options.payload, |bytes| Payload::of_bytes(bytes, media))
        }
        (None, None) => Payload::none(),
    };

    let mut event = Builder::new(record, Form::Structured, &id, &source, &kind);
    let contradicts = payload.contradicts(media);
    let add = |attributes: &[Noted<'_>], event: &mut Builder<'_>| {
        for Noted { key, value, node, .. } in attributes {
            if contradicts && key == "datacontenttype" {
                event.push(key, Content::Text(payload::JSON));
            } else {
                event.push_noted(key, Content::Json(value.text()), *node);
            }
        }
    };
    let (before, after) = attributes.split_at_checked(before).unwrap_or((&attributes, &[]));
    add(before, &mut event);
    match &data {
        Some((_, data)) => payload.add_noted(data, &mut event),
        None => payload.add_to(&mut event),
    }
    add(after, &mut event);
    for Noted { key, value, .. } in &replaced {
        match &**key {
            "data" => {
                let payload = Payload::json(value.text());
                payload.unwrap(options.payload, |bytes| Payload::of_bytes(bytes, media)).replaced_in(&mut event);
            }
            // What is no base64 was never a payload.
            "data_base64" => {
                if let Ok(bytes) = bytes_of(*value) {
                    Payload::of_bytes(bytes.into(), media).unwrap_decoded(options.payload).replaced_in(&mut event);
                }
            }
            name if value.kind() != Kind::Null => event.replaced(name, Content::Json(value.text())),
            _ => {}
        }
    }
    Ok(event.finish())
}

impl<'m, 'a> Known<'m, 'a> {
    fn of(attributes: &'m [Noted<'a>]) -> Self {
        let mut known = Self::default();
        for attribute in attributes {
            let place = match &*attribute.key {
                "id" => &mut known.id,
                "type" => &mut known.kind,
                "time" => &mut known.time,
                "source" => &mut known.source,
                "subject" => &mut known.subject,
                "dataschema" => &mut known.dataschema,
                "specversion" => &mut known.specversion,
                "datacontenttype" => &mut known.datacontenttype,
                _ => continue,
            };
            *place = Some(attribute);
        }
        known
    }
}

/// Puts a payload where none is, or in place of the one that is there, which it gives: of a duplicate key the last
/// value counts, at the first place (rule 5).
fn put_payload<'a>(payload: &mut Option<Found<'a>>, before: usize, member: Noted<'a>) -> Option<Noted<'a>> {
    let before = payload.as_ref().map_or(before, |(first, _)| *first);
    payload.replace((before, member)).map(|(_, old)| old)
}

fn required<'a>(attribute: Option<&Noted<'a>>, name: &'static str) -> Result<Cow<'a, str>, Error> {
    let value = text(attribute, name)?.ok_or(Error::AttributeMissing { name, binary: false })?;
    if value.is_empty() { Err(Error::AttributeEmpty { name }) } else { Ok(value) }
}

fn text<'a>(attribute: Option<&Noted<'a>>, name: &'static str) -> Result<Option<Cow<'a, str>>, Error> {
    let Some(attribute) = attribute else { return Ok(None) };
    let found = || Error::AttributeType { name, found: kind(attribute.value.kind()) };
    attribute.as_str().ok_or_else(found).map(Some)
}

fn bytes_of(value: Json<'_>) -> Result<Vec<u8>, Error> {
    let text = value.as_str().ok_or_else(|| Error::Base64 { reason: format!("it is {}", kind(value.kind())) })?;
    payload::BASE64.decode(text.as_bytes()).map_err(|e| Error::Base64 { reason: e.to_string() })
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}
