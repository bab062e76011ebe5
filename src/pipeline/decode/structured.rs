//! Structured mode: the value is the event as JSON. Every attribute keeps its JSON type and spelling.

use super::payload::{self, Payload};
use super::{Error, MAX_ATTRIBUTES, Options, check_name};
use crate::json::value::{Json, Kind};
use crate::model::event::{Builder, Content, Form, Parts};
use crate::model::record::Record;
use base64::Engine as _;
use smallvec::SmallVec;
use std::borrow::Cow;

type Attributes<'a> = SmallVec<[(Cow<'a, str>, Json<'a>); 16]>;

pub(super) fn read(record: &Record, options: &Options) -> Result<Parts, Error> {
    let value = record.value().ok_or(Error::NullValue)?;
    let mut attributes = Attributes::new();
    let (mut data, mut data_base64) = (None, None);
    let mut too_many = false;
    let event = Json::check_members(value, |key, value| {
        let name = key.decode();
        match &*name {
            "data" => data = Some(value),
            "data_base64" => data_base64 = Some(value),
            _ => too_many |= !put(&mut attributes, name, value),
        }
    });
    let event = event.map_err(|source| Error::Json { source })?;
    match event.kind() {
        Kind::Object => {}
        Kind::Array => return Err(Error::Batch { found: "a JSON array".to_owned() }),
        other @ (Kind::Null | Kind::Bool | Kind::Number | Kind::String) => {
            return Err(Error::NotObject { found: kind(other) });
        }
    }
    if too_many {
        return Err(Error::AttributeCount);
    }
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
    let data_base64 = data_base64.filter(|value| value.kind() != Kind::Null);
    let payload = match (data, data_base64) {
        (Some(data), Some(_)) if data.kind() != Kind::Null => return Err(Error::DataTwice),
        (_, Some(encoded)) => Payload::of_bytes(bytes_of(encoded)?.into(), media).unwrap_decoded(options.payload),
        (Some(data), None) => {
            Payload::json(data.text()).unwrap(options.payload, |bytes| Payload::of_bytes(bytes, media))
        }
        (None, None) => Payload::none(),
    };

    let mut event = Builder::new(record, Form::Structured, &id, &source, &kind);
    for (name, value) in &attributes {
        let value = match &**name {
            "datacontenttype" if payload.contradicts(media) => Content::Text(payload::JSON),
            _ => Content::Json(value.text()),
        };
        event.push(name, value);
    }
    payload.add_to(&mut event);
    Ok(event.finish())
}

/// Adds an attribute, or replaces it: of a duplicate key the last value counts (rule 5). False if there are too many.
fn put<'a>(attributes: &mut Attributes<'a>, name: Cow<'a, str>, value: Json<'a>) -> bool {
    if let Some((_, old)) = attributes.iter_mut().find(|(n, _)| *n == name) {
        *old = value;
        return true;
    }
    let room = attributes.len() < MAX_ATTRIBUTES;
    if room {
        attributes.push((name, value));
    }
    room
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
