//! A record that is no CloudEvent becomes the payload of one, identified by where it stands.

use super::payload::{self, BASE64, Payload};
use crate::json::tape::Tape;
use crate::model::clock::WallMs;
use crate::model::event::{Builder, Content, Form, Parts};
use crate::model::record::Record;
use crate::model::resources::PayloadDecode;
use base64::Engine as _;

/// The type of a wrapped event.
const TYPE: &str = "tidegate.record";

pub(super) fn read(record: &Record, wrapping: PayloadDecode, tape: &mut Tape) -> Parts {
    let position = &record.position;
    let id = format!("partition:{}/offset:{}", position.partition, position.offset);
    let source = format!("/kafka/{}", position.topic);
    let payload = record.value().map_or_else(Payload::none, |value| Payload::guess_value(value, tape));
    let payload = payload.unwrap(wrapping, Payload::guess);

    let mut event = Builder::new(record, Form::Wrapped, &id, &source, TYPE);
    event.member("specversion", Content::Text("1.0"));
    event.member("id", Content::Text(&id));
    event.member("source", Content::Text(&source));
    event.member("type", Content::Text(TYPE));
    if let Some(timestamp_ms) = record.timestamp_ms {
        event.member("time", Content::Text(&WallMs(timestamp_ms).rfc3339()));
    }
    if let Some(key) = record.key() {
        match std::str::from_utf8(key) {
            Ok(key) => event.member("partitionkey", Content::Text(key)),
            Err(_) => event.member("partitionkey", Content::Text(&BASE64.encode(key))),
        }
    }
    if payload.is_json() {
        event.member("datacontenttype", Content::Text(payload::JSON));
    }
    payload.add_to(&mut event);
    event.finish()
}
