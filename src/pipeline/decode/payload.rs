//! The payload: bytes and a content type → `data` or `data_base64` (event-patterns.md rules 2 and 3).

use crate::json::scan;
use crate::json::tape::{Noted, Tape};
use crate::json::value::Json;
use crate::model::event::{Builder, Content};
use crate::model::resources::PayloadDecode;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

/// The content type that a payload has once it has been read as JSON.
pub(super) const JSON: &str = "application/json";

/// RFC 4648, written with padding, read without it too.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a content type says of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// The subtype is `json` or `*+json`.
    Json,
    /// Text that is read as a string.
    Text,
    /// Anything else, or no type.
    Other,
}

/// Reads a content type; parameters and case do not count.
pub(super) fn media(content_type: Option<&str>) -> Media {
    if content_type == Some(JSON) {
        return Media::Json;
    }
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return Media::Other };
    let is = |wanted: &str, suffix: &str| {
        let end = subtype.len().checked_sub(suffix.len()).and_then(|at| subtype.get(at..));
        subtype.eq_ignore_ascii_case(wanted) || end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    if is("json", "+json") {
        Media::Json
    } else if kind.eq_ignore_ascii_case("text")
        || is("xml", "+xml")
        || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    {
        Media::Text
    } else {
        Media::Other
    }
}

/// A payload as it will stand in the event.
#[derive(Debug)]
pub(super) struct Payload<'a> {
    content: Value<'a>,
    /// It claims to be JSON, or to be wrapped, and is not; it is kept as it came.
    invalid: bool,
    /// It was a string or bytes, and the source asked to read JSON in it.
    unwrapped: bool,
}

#[derive(Debug)]
enum Value<'a> {
    None,
    /// `data`: checked JSON text, perhaps with white space around it.
    Json(Cow<'a, str>),
    /// `data`: a string.
    Text(Cow<'a, str>),
    /// `data_base64`.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Payload<'a> {
    fn of(content: Value<'a>) -> Self {
        Self { content, invalid: false, unwrapped: false }
    }

    /// There is none.
    pub(super) fn none() -> Self {
        Self::of(Value::None)
    }

    /// Checked JSON text.
    pub(super) fn json(text: &'a str) -> Self {
        Self::of(Value::Json(Cow::Borrowed(text)))
    }

    /// [`Self::of_bytes`] of the whole value of a record; where the values of JSON lie is noted.
    pub(super) fn of_value(value: &'a [u8], media: Media, tape: &mut Tape) -> Self {
        match media {
            Media::Json => match noted_json(value, tape) {
                Some(json) => Self::of(Value::Json(json)),
                None => Self { invalid: true, ..Self::of_bytes(value.into(), Media::Text) },
            },
            Media::Text | Media::Other => Self::of_bytes(value.into(), media),
        }
    }

    /// [`Self::guess`] of the whole value of a record; where the values of JSON lie is noted.
    pub(super) fn guess_value(value: &'a [u8], tape: &mut Tape) -> Self {
        noted_json(value, tape).map_or_else(|| Self::of(Value::Bytes(value.into())), |json| Self::of(Value::Json(json)))
    }

    /// Rule 2: what bytes become by their content type.
    pub(super) fn of_bytes(bytes: Cow<'a, [u8]>, media: Media) -> Self {
        match media {
            Media::Json => match as_json(&bytes) {
                Some(json) => Self::of(Value::Json(json)),
                None => Self { invalid: true, ..Self::of_bytes(bytes, Media::Text) },
            },
            Media::Text => match as_text(&bytes) {
                Some(text) => Self::of(Value::Text(text)),
                None => Self::of(Value::Bytes(bytes)),
            },
            Media::Other => Self::of(Value::Bytes(bytes)),
        }
    }

    /// Bytes of an unknown type: JSON if they parse.
    pub(super) fn guess(bytes: Cow<'a, [u8]>) -> Self {
        match as_json(&bytes) {
            Some(json) => Self::of(Value::Json(json)),
            None => Self::of(Value::Bytes(bytes)),
        }
    }

    /// Rule 3: takes off what the source says is around the payload. What is not there is not taken off: the payload
    /// then stays as it came and counts as invalid. `inner` reads bytes that come out of base64.
    pub(super) fn unwrap(self, wrapping: PayloadDecode, inner: impl FnOnce(Cow<'a, [u8]>) -> Self) -> Self {
        let (base64, json) = match wrapping {
            PayloadDecode::None => return self,
            PayloadDecode::Json => (false, true),
            PayloadDecode::Base64 => (true, false),
            PayloadDecode::Base64Json => (true, true),
        };
        let already = match &self.content {
            Value::None => true,
            Value::Json(text) => !base64 && !trimmed(text).starts_with('"'),
            Value::Text(_) | Value::Bytes(_) => false,
        };
        if already {
            return self;
        }
        let unwrapped = self.characters().and_then(|text| {
            let bytes = if base64 { Cow::Owned(BASE64.decode(text.trim()).ok()?) } else { into_bytes(text) };
            if json {
                Some(Self { unwrapped: true, ..Self::of(Value::Json(as_json(&bytes)?)) })
            } else {
                Some(inner(bytes))
            }
        });
        unwrapped.unwrap_or(Self { invalid: true, ..self })
    }

    /// For bytes that the event itself had in base64: only the JSON in them is left to read.
    pub(super) fn unwrap_decoded(self, wrapping: PayloadDecode) -> Self {
        match wrapping {
            PayloadDecode::None | PayloadDecode::Base64 => self,
            PayloadDecode::Json | PayloadDecode::Base64Json => self.unwrap(PayloadDecode::Json, |_| Self::none()),
        }
    }

    /// What a string payload says, however it came.
    fn characters(&self) -> Option<Cow<'a, str>> {
        match &self.content {
            Value::None => None,
            Value::Json(Cow::Borrowed(text)) => Json::trusted(trimmed(text)).as_str(),
            Value::Json(Cow::Owned(text)) => Json::trusted(trimmed(text)).as_str().map(|t| Cow::Owned(t.into_owned())),
            Value::Text(text) => Some(text.clone()),
            Value::Bytes(bytes) => as_text(bytes),
        }
    }

    /// `data` holds JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.content, Value::Json(_))
    }

    /// The attribute `datacontenttype` is no longer true: JSON was unwrapped from something else.
    pub(super) fn contradicts(&self, media: Media) -> bool {
        self.unwrapped && media != Media::Json
    }

    /// Writes the last member of the event.
    pub(super) fn add_to(&self, event: &mut Builder<'_>) {
        if self.invalid {
            event.data_invalid();
        }
        if let Some((name, content)) = self.member() {
            event.member(name, content);
        }
        match &self.content {
            Value::Json(text) if trimmed(text).len() < text.len() => event.spaced_payload(text.as_bytes()),
            Value::None | Value::Json(_) | Value::Text(_) | Value::Bytes(_) => {}
        }
    }

    /// [`Self::add_to`] of the payload that was made of this member of a structured event, which the tape knows.
    pub(super) fn add_noted(&self, member: &Noted<'_>, event: &mut Builder<'_>) {
        let text = member.value.text();
        match &self.content {
            Value::Json(Cow::Borrowed(same)) if std::ptr::eq(*same, text) => {
                if self.invalid {
                    event.data_invalid();
                }
                event.push_noted(&member.key, Content::Json(text), member.node);
            }
            Value::None | Value::Json(_) | Value::Text(_) | Value::Bytes(_) => self.add_to(event),
        }
    }

    /// Writes it as one that another has replaced.
    pub(super) fn replaced_in(&self, event: &mut Builder<'_>) {
        if let Some((name, content)) = self.member() {
            event.replaced(name, content);
        }
    }

    fn member(&self) -> Option<(&'static str, Content<'_>)> {
        match &self.content {
            Value::None => None,
            Value::Json(text) => Some(("data", Content::Json(trimmed(text)))),
            Value::Text(text) => Some(("data", Content::Text(text))),
            Value::Bytes(bytes) => Some(("data_base64", Content::Base64(bytes))),
        }
    }
}

/// JSON without the white space around it.
fn trimmed(json: &str) -> &str {
    if let (Some(b'!'..), Some(b'!'..)) = (json.as_bytes().first(), json.as_bytes().last()) {
        return json;
    }
    json.trim_matches([' ', '\t', '\n', '\r'])
}

/// The whole text if it is JSON, with the white space around it.
fn as_json<'a>(bytes: &Cow<'a, [u8]>) -> Option<Cow<'a, str>> {
    match bytes {
        Cow::Borrowed(whole) => match scan::check(whole).ok()? {
            json if json.len() == whole.len() => Some(Cow::Borrowed(json)),
            _ => as_text(bytes),
        },
        Cow::Owned(whole) => scan::check(whole).ok().and_then(|_| as_text(bytes)),
    }
}

/// [`as_json`] of bytes that are borrowed.
fn noted_json<'a>(whole: &'a [u8], tape: &mut Tape) -> Option<Cow<'a, str>> {
    match tape.check(whole).ok()?.text() {
        json if json.len() == whole.len() => Some(Cow::Borrowed(json)),
        _ => as_text(&Cow::Borrowed(whole)),
    }
}

fn as_text<'a>(bytes: &Cow<'a, [u8]>) -> Option<Cow<'a, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => std::str::from_utf8(bytes).ok().map(|text| Cow::Owned(text.to_owned())),
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
