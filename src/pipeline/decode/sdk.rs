//! To and from the official SDK's event, for programs that use Tidegate as a library; nothing here is on the way of
//! an event through the pipeline.
//!
//! The SDK's event is a reading, not the bytes: numbers of JSON payloads and attributes go through 64-bit integers
//! and floats, keys are reordered, `time` becomes UTC, and extensions are strings, booleans or integers.

use super::payload::{Media, media};
use super::{Options, decode};
use crate::json::value::{Json, Kind};
use crate::model::event::{CloudEvent, Content};
use crate::model::record::{OutRecord, Position, Record};
use bytes::Bytes;
use cloudevents::event::{ExtensionValue, TryIntoTime, TryIntoUrl};
use cloudevents::{AttributesReader as _, AttributesWriter as _, Data, Event, EventBuilder as _, EventBuilderV10};
use std::borrow::Cow;
use std::sync::Arc;

/// How an event lies in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The value is the event as JSON.
    Structured,
    /// Attributes in `ce_` headers, payload in the value.
    Binary,
}

/// Why an event cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The SDK wants more of an attribute than its text.
    #[error("the SDK refuses the attribute `{name}`: {reason}")]
    Attribute {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// The SDK cannot hold or write the event.
    #[error("the SDK refuses the event: {reason}")]
    Event {
        /// Why.
        reason: String,
    },
    /// What the SDK accepts is no event here.
    #[error(transparent)]
    Decode(#[from] super::Error),
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Attribute { .. } => "SDK_ATTRIBUTE",
            Self::Event { .. } => "SDK_EVENT",
            Self::Decode(error) => error.code(),
        }
    }
}

/// The SDK's event.
///
/// # Errors
/// `time` is no RFC 3339 time, `dataschema` no absolute URL, or the payload is nested too deep for the SDK.
pub fn to_sdk(event: &CloudEvent) -> Result<Event, Error> {
    let refused = |reason: String| Error::Event { reason };
    let builder = EventBuilderV10::new().id(event.id()).source(event.source()).ty(event.kind());
    let mut sdk = builder.build().map_err(|e| refused(e.to_string()))?;
    let mut payload_media = Media::Json;
    for (name, content) in event.members() {
        match name {
            "specversion" | "id" | "source" | "type" | "data" | "data_base64" => {}
            "datacontenttype" => {
                payload_media = media(Some(&text(content)));
                sdk.set_datacontenttype(Some(text(content)));
            }
            "subject" => {
                sdk.set_subject(Some(text(content)));
            }
            "time" => {
                let time = (&*text(content)).into_time();
                sdk.set_time(Some(time.map_err(|e| Error::Attribute { name: "time", reason: e.to_string() })?));
            }
            "dataschema" => {
                let url = (&*text(content)).into_url();
                let url = url.map_err(|e| Error::Attribute { name: "dataschema", reason: e.to_string() })?;
                sdk.set_dataschema(Some(url));
            }
            _ => sdk.set_extension(name, extension(content)),
        }
    }
    let data = match (event.member("data"), event.member("data_base64")) {
        (Some(Content::Json(json)), _) if payload_media == Media::Json || !json.starts_with('"') => {
            Some(Data::Json(serde_json::from_str(json).map_err(|e| refused(e.to_string()))?))
        }
        (Some(content), _) => Some(Data::String(text(content).into_owned())),
        (None, Some(Content::Base64(bytes))) => Some(Data::Binary(bytes.to_vec())),
        (None, Some(Content::Json(_) | Content::Text(_)) | None) => None,
    };
    if let Some(data) = data {
        sdk.set_data_unchecked(data);
    }
    Ok(sdk)
}

/// The event as Tidegate would read it at `position`, had it been written in structured mode.
///
/// # Errors
/// What the SDK accepts and CloudEvents does not: an empty id, a bad attribute name.
pub fn from_sdk(event: &Event, position: Position) -> Result<CloudEvent, Error> {
    let out = record(event, &position.topic, Mode::Structured)?;
    let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    let record = Record::new(position, None, out.key.as_deref(), out.value.as_deref(), headers);
    decode(record, &Options { strict: true, ..Options::default() }).map_err(|(_, error)| error.into())
}

/// The record to publish; its key is the extension `partitionkey`.
///
/// # Errors
/// The SDK cannot write the event.
pub fn record(event: &Event, topic: &str, mode: Mode) -> Result<OutRecord, Error> {
    let refused = |e: serde_json::Error| Error::Event { reason: e.to_string() };
    let key = event.extension("partitionkey").map(|key| Bytes::from(key.to_string()));
    let header = |name: &str, value: String| (name.to_owned(), Some(Bytes::from(value)));
    let (value, headers) = match mode {
        Mode::Structured => {
            let value = serde_json::to_vec(event).map_err(refused)?;
            (Some(value), vec![header("content-type", "application/cloudevents+json".to_owned())])
        }
        Mode::Binary => {
            let attributes = event.iter().filter(|(name, _)| *name != "datacontenttype");
            let mut headers: Vec<_> =
                attributes.map(|(name, value)| header(&format!("ce_{name}"), value.to_string())).collect();
            headers.extend(event.datacontenttype().map(|value| header("content-type", value.to_owned())));
            let value = match event.data() {
                None => None,
                Some(Data::Binary(bytes)) => Some(bytes.clone()),
                Some(Data::String(text)) => Some(text.clone().into_bytes()),
                Some(Data::Json(json)) => Some(serde_json::to_vec(json).map_err(refused)?),
            };
            (value, headers)
        }
    };
    let topic = Arc::from(topic);
    Ok(OutRecord { topic, partition: None, key, value: value.map(Bytes::from), headers, timestamp_ms: None })
}

/// The characters of a string, the JSON text of anything else.
fn text(content: Content<'_>) -> Cow<'_, str> {
    match content {
        Content::Json(json) => Json::trusted(json).as_str().unwrap_or(Cow::Borrowed(json)),
        Content::Text(text) => Cow::Borrowed(text),
        Content::Base64(bytes) => String::from_utf8_lossy(bytes),
    }
}

fn extension(content: Content<'_>) -> ExtensionValue {
    if let Content::Json(json) = content {
        let integer = || json.parse::<i64>().ok().map(ExtensionValue::Integer);
        let typed = match Json::trusted(json).kind() {
            Kind::Bool => Some(ExtensionValue::Boolean(json == "true")),
            Kind::Number => integer(),
            Kind::Null | Kind::String | Kind::Array | Kind::Object => None,
        };
        if let Some(value) = typed {
            return value;
        }
    }
    ExtensionValue::String(text(content).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Form;
    use cloudevents::event::SpecVersion;
    use cloudevents::message::{
        BinaryDeserializer, BinarySerializer, Error as SdkError, MessageAttributeValue, Result as SdkResult,
    };
    use serde_json::json;

    fn position() -> Position {
        "shop.orders:3:17".parse().unwrap()
    }

    fn sdk_event() -> EventBuilderV10 {
        EventBuilderV10::new()
            .id("A-1")
            .source("/shop/eu")
            .ty("order.paid")
            .subject("orders/é 17")
            .time("2026-05-01T12:00:00.5Z")
            .extension("tenant", "acme")
            .extension("priority", 3)
            .extension("vip", true)
            .extension("partitionkey", "k")
    }

    fn sdk_events() -> Vec<Event> {
        vec![
            EventBuilderV10::new().id("1").source("s").ty("t").build().unwrap(),
            sdk_event().build().unwrap(),
            sdk_event().data("application/json", json!({"b": [1, null, {"a": "x"}]})).build().unwrap(),
            sdk_event().data("text/plain", "hello").build().unwrap(),
            sdk_event()
                .data_with_schema("application/octet-stream", "https://x.example/s", vec![0u8, 255])
                .build()
                .unwrap(),
        ]
    }

    fn read(out: &OutRecord) -> CloudEvent {
        let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let record = Record::new(position(), None, out.key.as_deref(), out.value.as_deref(), headers);
        decode(record, &Options { strict: true, ..Options::default() }).map_err(|(_, e)| e).unwrap()
    }

    /// Writes and reads binary mode by the SDK's own traits.
    struct Binary {
        headers: Vec<(String, Option<Bytes>)>,
        value: Option<Vec<u8>>,
    }

    impl BinarySerializer<Self> for Binary {
        fn set_spec_version(mut self, version: SpecVersion) -> SdkResult<Self> {
            self.headers.push(("ce_specversion".into(), Some(version.to_string().into())));
            Ok(self)
        }
        fn set_attribute(mut self, name: &str, value: MessageAttributeValue) -> SdkResult<Self> {
            let name = if name == "datacontenttype" { "content-type".to_owned() } else { format!("ce_{name}") };
            self.headers.push((name, Some(value.to_string().into())));
            Ok(self)
        }
        fn set_extension(self, name: &str, value: MessageAttributeValue) -> SdkResult<Self> {
            self.set_attribute(name, value)
        }
        fn end_with_data(mut self, bytes: Vec<u8>) -> SdkResult<Self> {
            self.value = Some(bytes);
            Ok(self)
        }
        fn end(self) -> SdkResult<Self> {
            Ok(self)
        }
    }

    impl BinaryDeserializer for Binary {
        fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, mut to: V) -> SdkResult<R> {
            let value = |name: &str| {
                let value = self.headers.iter().find(|(n, _)| n == name)?.1.as_ref()?;
                Some(MessageAttributeValue::String(String::from_utf8(value.to_vec()).unwrap()))
            };
            if value("ce_specversion").map(|v| v.to_string()).as_deref() != Some("1.0") {
                return Err(SdkError::WrongEncoding {});
            }
            to = to.set_spec_version(SpecVersion::V10)?;
            for (name, _) in &self.headers {
                let content = value(name).unwrap();
                to = match name.strip_prefix("ce_") {
                    None => to.set_attribute("datacontenttype", content)?,
                    Some("specversion") => to,
                    Some(name @ ("id" | "source" | "type" | "subject" | "time" | "dataschema")) => {
                        to.set_attribute(name, content)?
                    }
                    Some(name) => to.set_extension(name, content)?,
                };
            }
            match self.value {
                Some(bytes) => to.end_with_data(bytes),
                None => to.end(),
            }
        }
    }

    fn bytes(data: Option<&Data>) -> Option<Vec<u8>> {
        data.map(|data| data.clone().try_into().unwrap())
    }

    #[test]
    fn we_read_structured_events_of_the_sdk() {
        for event in sdk_events() {
            let ours = read(&record(&event, "shop.orders", Mode::Structured).unwrap());
            assert_eq!(ours.form(), Form::Structured);
            assert_eq!(to_sdk(&ours).unwrap(), event);
            assert_eq!(to_sdk(&from_sdk(&event, position()).unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn we_read_binary_events_of_the_sdk() {
        for event in sdk_events() {
            let empty = Binary { headers: Vec::new(), value: None };
            let theirs = BinaryDeserializer::deserialize_binary(event.clone(), empty).unwrap();
            let by_us = record(&event, "shop.orders", Mode::Binary).unwrap();
            for out in
                [OutRecord { headers: theirs.headers, value: theirs.value.map(Bytes::from), ..by_us.clone() }, by_us]
            {
                let ours = read(&out);
                assert_eq!((ours.form(), ours.id()), (Form::Binary, event.id()));
                let back = to_sdk(&ours).unwrap();
                assert_eq!(bytes(back.data()), bytes(event.data()));
                // In binary mode every attribute is a string.
                for (name, value) in event.iter().filter(|(name, _)| *name != "time") {
                    let found = back.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
                    assert_eq!(found, Some(value.to_string()), "{name}");
                }
                assert_eq!(back.time(), event.time());
            }
        }
    }

    #[test]
    fn the_sdk_reads_the_same_records() {
        let more = r#""specversion":"1.0","id":"A-1","source":"/shop","type":"order.paid","vip":true,"n":-3,"time":"2026-05-01T12:00:00+02:00""#;
        let payloads = [
            "",
            r#","data":{"a":[1,"x"]}"#,
            r#","data":"text""#,
            r#","datacontenttype":"text/xml","data":"<a/>""#,
            r#","datacontenttype":"image/png","data_base64":"AAEC/w==""#,
            r#","datacontenttype":"application/json","data_base64":"eyJhIjoxfQ==""#,
        ];
        for payload in payloads {
            let value = format!("{{{more}{payload}}}");
            let theirs: Event = serde_json::from_str(&value).unwrap();
            let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
            let record = Record::new(position(), None, None, Some(value.as_bytes()), headers.into_iter());
            let ours = decode(record, &Options::default()).map_err(|(_, e)| e).unwrap();
            assert_eq!(to_sdk(&ours).unwrap(), theirs, "{payload}");
        }

        let text = |name: &str, value: &str| (name.to_owned(), Some(Bytes::from(value.to_owned())));
        let headers = vec![
            text("ce_specversion", "1.0"),
            text("ce_id", "A-1"),
            text("ce_source", "/shop"),
            text("ce_type", "order.paid"),
            text("ce_time", "2026-05-01T12:00:00Z"),
            text("ce_tenant", "é"),
            text("content-type", "application/json"),
        ];
        let topic: Arc<str> = Arc::from("shop.orders");
        let value = Bytes::from_static(b"{\"a\":1}");
        let out = OutRecord { topic, partition: None, key: None, value: Some(value), headers, timestamp_ms: None };
        let theirs = Binary { headers: out.headers.clone(), value: out.value.as_deref().map(<[u8]>::to_vec) };
        let theirs = theirs.into_event().unwrap();
        let ours = to_sdk(&read(&out)).unwrap();
        assert_eq!(ours.iter_attributes().collect::<Vec<_>>(), theirs.iter_attributes().collect::<Vec<_>>());
        assert_eq!(ours.extension("tenant"), theirs.extension("tenant"));
        assert_eq!(bytes(ours.data()), bytes(theirs.data()));
    }

    #[test]
    fn refusals() {
        let empty = EventBuilderV10::new().id("").source("s").ty("t").build().unwrap();
        assert_eq!(from_sdk(&empty, position()).unwrap_err().code(), "DECODE_ATTRIBUTE_EMPTY");
        let named = EventBuilderV10::new().id("1").source("s").ty("t").extension("a_b", "x").build().unwrap();
        assert_eq!(from_sdk(&named, position()).unwrap_err().code(), "DECODE_ATTRIBUTE_NAME");
        for (name, part) in [("time", "`time`"), ("dataschema", "`dataschema`")] {
            let headers = [
                ("ce_specversion", Some(&b"1.0"[..])),
                ("ce_id", Some(b"1")),
                ("ce_source", Some(b"s")),
                ("ce_type", Some(b"t")),
                (&format!("ce_{name}"), Some(b"soon")),
            ];
            let record = Record::new(position(), None, None, None, headers.into_iter());
            let event = decode(record, &Options::default()).map_err(|(_, e)| e).unwrap();
            let error = to_sdk(&event).unwrap_err();
            assert_eq!((error.code(), error.to_string().contains(part)), ("SDK_ATTRIBUTE", true), "{error}");
        }
    }
}
