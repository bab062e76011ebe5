//! Structured mode: the value is the event as JSON. Every attribute keeps its JSON type and spelling.

use super::payload::{self, Payload};
use super::{Error, MAX_ATTRIBUTES, Options, check_name};
use crate::json::tape::Tape;
use crate::json::value::{Json, Kind};
use crate::model::event::{Builder, Content, Form, Parts};
use crate::model::record::Record;
use base64::Engine as _;
use smallvec::SmallVec;
use std::borrow::Cow;

/// How many attributes stand before it, and its value.
type Found<'a> = (usize, Json<'a>);
type Attributes<'a> = SmallVec<[(Cow<'a, str>, Json<'a>); 16]>;

pub(super) fn read(record: &Record, options: &Options, tape: &mut Tape) -> Result<Parts, Error> {
    let value = record.value().ok_or(Error::NullValue)?;
    let mut attributes = Attributes::new();
    // The payload, and how many attributes stand before the first that has its name.
    let (mut data, mut data_base64): (Option<Found<'_>>, Option<Found<'_>>) = (None, None);
    // Earlier values of what stands twice.
    let mut replaced: Vec<(Cow<'_, str>, Json<'_>)> = Vec::new();
    let event = tape.check(value).map_err(|source| Error::Json { source })?;
    for (name, value) in tape.members(event) {
        let before = attributes.len();
        let old = match &*name {
            "data" => put_payload(&mut data, before, value),
            "data_base64" => put_payload(&mut data_base64, before, value),
            _ => match attributes.iter_mut().find(|(n, _)| *n == name) {
                Some((_, old)) => Some(std::mem::replace(old, value)),
                None if before < MAX_ATTRIBUTES => {
                    attributes.push((name, value));
                    continue;
                }
                None => return Err(Error::AttributeCount),
            },
        };
        match old {
            Some(_) if replaced.len() == MAX_ATTRIBUTES => return Err(Error::AttributeCount),
            Some(old) => replaced.push((name, old)),
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
    let data_base64 = data_base64.filter(|(_, value)| value.kind() != Kind::Null);
    let before = data_base64.or(data).map_or(attributes.len(), |(before, _)| before);
    let before = attributes.iter().take(before).filter(|(_, value)| value.kind() != Kind::Null).count();
    attributes.retain(|(_, value)| value.kind() != Kind::Null);
    for (name, _) in &attributes {
        check_name(name, options.strict)?;
    }

    let version =
        attribute(&attributes, "specversion").ok_or(Error::AttributeMissing { name: "specversion", binary: false })?;
    if version.as_str().as_deref() != Some("1.0") {
        return Err(Error::SpecVersion { found: super::shorten(version.text()) });
    }
    let id = required(&attributes, "id")?;
    let source = required(&attributes, "source")?;
    let kind = required(&attributes, "type")?;
    for name in ["subject", "time", "dataschema"] {
        text(&attributes, name)?;
    }
    let content_type = text(&attributes, "datacontenttype")?;

    let media = payload::media(content_type.as_deref());
    let payload = match (data, data_base64) {
        (Some((_, data)), Some(_)) if data.kind() != Kind::Null => return Err(Error::DataTwice),
        (_, Some((_, encoded))) => Payload::of_bytes(bytes_of(encoded)?.into(), media).unwrap_decoded(options.payload),
        (Some((_, data)), None) => {
            Payload::json(data.text()).unwrap(options.payload, |bytes| Payload::of_bytes(bytes, media))
        }
        (None, None) => Payload::none(),
    };

    let mut event = Builder::new(record, Form::Structured, &id, &source, &kind);
    let add = |attributes: &[(Cow<'_, str>, Json<'_>)], event: &mut Builder<'_>| {
        for (name, value) in attributes {
            let value = match &**name {
                "datacontenttype" if payload.contradicts(media) => Content::Text(payload::JSON),
                _ => Content::Json(value.text()),
            };
            event.push(name, value);
        }
    };
    let (before, after) = attributes.split_at_checked(before).unwrap_or((&attributes, &[]));
    add(before, &mut event);
    payload.add_to(&mut event);
    add(after, &mut event);
    for (name, value) in &replaced {
        match &**name {
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

/// Puts a payload where none is, or in place of the one that is there, which it gives: of a duplicate key the last
/// value counts, at the first place (rule 5).
fn put_payload<'a>(payload: &mut Option<Found<'a>>, before: usize, value: Json<'a>) -> Option<Json<'a>> {
    let old = payload.replace((payload.map_or(before, |(first, _)| first), value));
    old.map(|(_, old)| old)
}

fn attribute<'a>(attributes: &Attributes<'a>, name: &str) -> Option<Json<'a>> {
    attributes.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
}

fn required<'a>(attributes: &Attributes<'a>, name: &'static str) -> Result<Cow<'a, str>, Error> {
    let value = text(attributes, name)?.ok_or(Error::AttributeMissing { name, binary: false })?;
    if value.is_empty() { Err(Error::AttributeEmpty { name }) } else { Ok(value) }
}

fn text<'a>(attributes: &Attributes<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, Error> {
    let Some(value) = attribute(attributes, name) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| Error::AttributeType { name, found: kind(value.kind()) })?;
    Ok(Some(text))
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
