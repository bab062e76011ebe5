//! `original`: the event itself as the body (transforms.md rule 36).

use super::content_type;
use super::error::Error;
use super::headers::{Headers, checked};
use super::scope::{Scope, kind_name};
use crate::json::document::{Member, Value};
use crate::json::item::Item;
use crate::json::value::Kind;
use crate::model::event::{CloudEvent, Form};
use crate::model::node::write_json_string;
use crate::model::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::borrow::Cow;

/// The event as structured JSON: a structured one as received, any other written out.
pub(super) fn structured(scope: &Scope<'_>) -> Bytes {
    match (scope.event.form(), scope.event.record.value_bytes()) {
        (Form::Structured, Some(value)) => value,
        (Form::Structured | Form::Binary | Form::Wrapped, _) => Bytes::from(written_out(scope.document)),
    }
}

fn written_out(document: &[Member<'_>]) -> String {
    const FIRST: [&str; 4] = ["specversion", "id", "source", "type"];
    let mut out = String::from("{");
    let mut put = |name: &str, value: &Value<'_>| {
        if out.len() > 1 {
            out.push(',');
        }
        write_json_string(name, &mut out);
        out.push(':');
        match value {
            // Payload bytes are not changed, not even by white space.
            Value::Json(json) if name == "data" => out.push_str(json.text()),
            Value::Json(_) | Value::Text(_) | Value::Base64(_) => item(value).write_compact(&mut out),
        }
    };
    for name in FIRST {
        if let Some(value) = find(document, name) {
            put(name, value);
        }
    }
    for member in document.iter().filter(|member| !FIRST.contains(&&*member.name) && !is_payload(&member.name)) {
        put(&member.name, &member.value);
    }
    for member in document.iter().filter(|member| is_payload(&member.name)) {
        put(&member.name, &member.value);
    }
    out.push('}');
    out
}

/// The event in binary mode: puts attributes into the headers of `request`, gives the payload.
pub(super) fn binary(scope: &Scope<'_>, headers: &Headers, request: &mut Request) -> Result<Bytes, Error> {
    let mut written_type = None;
    for Member { name, value } in scope.document.iter().filter(|member| !is_payload(&member.name)) {
        let header = match &**name {
            "datacontenttype" => Cow::Borrowed("content-type"),
            name => Cow::Owned(format!("ce-{}", name.to_ascii_lowercase())),
        };
        if headers.has(&header) {
            continue;
        }
        if !content_type::is_token(&header) {
            return Err(Error::Header { name: header.into_owned(), what: "this name, which is no attribute's" });
        }
        let item = item(value);
        if matches!(item.kind(), Kind::Null | Kind::Array | Kind::Object) {
            return Err(Error::Type {
                path: format!("$.{name}"),
                found: kind_name(item.kind()),
                wanted: format!("header `{header}`"),
                place: Default::default(),
            });
        }
        let mut text = String::new();
        item.write_text(&mut text);
        request.headers.set(&header, &checked(&header, &text)?);
        if name == "datacontenttype" {
            written_type = Some(text);
        }
    }
    if written_type.is_none() && find(scope.document, "data").is_some() {
        request.headers.set("content-type", content_type::JSON);
    }
    payload(scope, written_type.as_deref())
}

fn payload(scope: &Scope<'_>, written_type: Option<&str>) -> Result<Bytes, Error> {
    let event = scope.event;
    if let Some(value) = find(scope.document, "data") {
        return Ok(match value {
            Value::Json(json) => {
                // A string in a structured event is the text itself unless it is JSON.
                match json.as_str() {
                    Some(text) if !written_type.is_none_or(content_type::is_json) => Bytes::from(text.into_owned()),
                    // Of a payload that came as bytes, all of them.
                    Some(_) | None => shared(event, event.spaced_payload().unwrap_or(json.text().as_bytes())),
                }
            }
            Value::Text(text) => shared(event, text.as_bytes()),
            Value::Base64(bytes) => shared(event, bytes),
        });
    }
    match find(scope.document, "data_base64") {
        None => Ok(Bytes::new()),
        Some(Value::Base64(bytes)) => Ok(shared(event, bytes)),
        Some(Value::Text(text)) => decoded(scope, text),
        Some(Value::Json(json)) => decoded(scope, &json.as_str().unwrap_or_default()),
    }
}

fn decoded(scope: &Scope<'_>, text: &str) -> Result<Bytes, Error> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| Error::Failed {
        rule: scope.meta.rule.to_owned(),
        target: scope.meta.target.to_owned(),
        offset: 0,
        reason: "is not base64, though it is called `data_base64`".to_owned(),
    })
}

/// The bytes of `part` without a copy, if it lies in the record's value.
fn shared(event: &CloudEvent, part: &[u8]) -> Bytes {
    let value = event.record.value_bytes().unwrap_or_default();
    let start = part.as_ptr().addr().checked_sub(value.as_ptr().addr());
    match start.map(|start| start..start.saturating_add(part.len())) {
        Some(range) if range.end <= value.len() && !part.is_empty() => value.slice(range),
        _ => Bytes::copy_from_slice(part),
    }
}

fn is_payload(name: &str) -> bool {
    matches!(name, "data" | "data_base64")
}

fn find<'d, 'a>(document: &'d [Member<'a>], name: &str) -> Option<&'d Value<'a>> {
    document.iter().find(|member| member.name == name).map(|member| &member.value)
}

fn item<'a>(value: &Value<'a>) -> Item<'a> {
    match *value {
        Value::Json(json) => Item::Json(json),
        Value::Text(text) => Item::Text(text),
        Value::Base64(bytes) => Item::Base64(bytes),
    }
}
