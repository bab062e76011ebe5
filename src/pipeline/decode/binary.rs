//! Binary mode: attributes in `ce_` headers, `datacontenttype` in the header `content-type`, payload in the value.
//! Every attribute is a string; header values are UTF-8 and, unlike in HTTP's binding, not percent-encoded.

use super::payload::{self, Payload};
use super::{Error, MAX_ATTRIBUTES, Options, attribute_header, check_name, content_type, shorten};
use crate::json::tape::Tape;
use crate::model::event::{Builder, Content, Form, Parts};
use crate::model::record::Record;
use smallvec::SmallVec;
use std::borrow::Cow;

type Attributes<'a> = SmallVec<[(Cow<'a, str>, &'a str); 16]>;

const CONTENT_TYPE: &str = "datacontenttype";

pub(super) fn read(record: &Record, options: &Options, tape: &mut Tape) -> Result<Parts, Error> {
    let mut attributes = Attributes::new();
    for (header, value) in record.headers() {
        let Some(name) = attribute_header(header) else { continue };
        // A null header is an absent attribute.
        let Some(value) = value else { continue };
        put(&mut attributes, lower(name), utf8(header, value)?)?;
    }
    if let Some(value) = content_type(record) {
        put(&mut attributes, Cow::Borrowed(CONTENT_TYPE), utf8("content-type", value)?)?;
    }
    for (name, _) in &attributes {
        check_name(name, options.strict)?;
    }

    let version =
        attribute(&attributes, "specversion").ok_or(Error::AttributeMissing { name: "specversion", binary: true })?;
    if version != "1.0" {
        return Err(Error::SpecVersion { found: format!("\"{}\"", shorten(version)) });
    }
    let id = required(&attributes, "id")?;
    let source = required(&attributes, "source")?;
    let kind = required(&attributes, "type")?;

    let media = payload::media(attribute(&attributes, CONTENT_TYPE));
    let payload = record.value().map_or_else(Payload::none, |value| Payload::of_value(value, media, tape));
    let payload = payload.unwrap(options.payload, |bytes| Payload::of_bytes(bytes, media));

    let mut event = Builder::new(record, Form::Binary, id, source, kind);
    for (name, value) in &attributes {
        let value = if name == CONTENT_TYPE && payload.contradicts(media) { payload::JSON } else { value };
        event.member(name, Content::Text(value));
    }
    payload.add_to(&mut event);
    Ok(event.finish())
}

/// Header names are case-sensitive in Kafka, but bridges from HTTP write `CE_Id`.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Adds an attribute, or replaces it: of a repeated header the last one with a value counts.
fn put<'a>(attributes: &mut Attributes<'a>, name: Cow<'a, str>, value: &'a str) -> Result<(), Error> {
    if let Some((_, old)) = attributes.iter_mut().find(|(n, _)| *n == name) {
        *old = value;
        return Ok(());
    }
    if attributes.len() == MAX_ATTRIBUTES {
        return Err(Error::AttributeCount);
    }
    attributes.push((name, value));
    Ok(())
}

fn attribute<'a>(attributes: &Attributes<'a>, name: &str) -> Option<&'a str> {
    attributes.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
}

fn required<'a>(attributes: &Attributes<'a>, name: &'static str) -> Result<&'a str, Error> {
    match attribute(attributes, name) {
        None => Err(Error::AttributeMissing { name, binary: true }),
        Some("") => Err(Error::AttributeEmpty { name }),
        Some(value) => Ok(value),
    }
}

fn utf8<'a>(header: &str, value: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(value).map_err(|e| Error::Utf8 { header: shorten(header), byte: e.valid_up_to() })
}
