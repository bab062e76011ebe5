//! `tidegate dlq export`: dead letters as lines of JSON, with nothing lost: what is JSON as JSON, what is text as text,
//! anything else in base64.

use super::desk::{Desk, State};
use super::filter::Filter;
use super::list::Row;
use crate::cli::{Failure, output};
use crate::json::value::Json;
use crate::json::write::compact;
use crate::model::clock::WallMs;
use crate::model::record::Record;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

/// Key, value and headers of a record.
#[derive(Debug, Default, Serialize)]
pub(super) struct Content {
    key: Option<Part>,
    value: Option<Part>,
    headers: Vec<Header>,
}

/// Bytes in the form that people can best read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Json(Box<RawValue>),
    Text(String),
    Base64(String),
}

/// Kafka allows a name several times and a null value.
#[derive(Debug, Serialize)]
struct Header {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[serde(flatten)]
    content: Content,
}

/// Exports what waits.
pub(super) fn run(desk: &Desk, filter: &Filter) -> Result<(), Failure> {
    let now = WallMs::now();
    for letter in desk.letters(filter, true)?.iter().filter(|letter| letter.state == State::Waiting) {
        let content = letter.record.as_ref().map(Content::of).unwrap_or_default();
        output::print_json(&Line { row: Row::of(desk, letter, now), content })?;
    }
    Ok(())
}

impl Content {
    /// That of a record.
    pub(super) fn of(record: &Record) -> Self {
        let header = |(name, value): (&str, Option<&[u8]>)| match value.map(std::str::from_utf8) {
            None => Header { name: name.to_owned(), text: None, base64: None },
            Some(Ok(text)) => Header { name: name.to_owned(), text: Some(text.to_owned()), base64: None },
            Some(Err(_)) => Header { name: name.to_owned(), text: None, base64: value.map(|v| STANDARD.encode(v)) },
        };
        Self {
            key: record.key().map(Part::of),
            value: record.value().map(Part::of),
            headers: record.headers().map(header).collect(),
        }
    }
}

impl Part {
    fn of(bytes: &[u8]) -> Self {
        let raw = Json::check(bytes).ok().and_then(|json| {
            // Without line feeds, so that one dead letter stays one line.
            let mut text = String::new();
            compact(json, &mut text);
            RawValue::from_string(text).ok()
        });
        match (raw, std::str::from_utf8(bytes)) {
            (Some(raw), _) => Self::Json(raw),
            (None, Ok(text)) => Self::Text(text.to_owned()),
            (None, Err(_)) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let headers = [("a", Some(&b"text"[..])), ("a", Some(b"\xff")), ("n", None)];
        let position = "t:0:1".parse().expect("a position");
        let value = b"{\"n\": 1.50,\n \"big\":12345678901234567890}";
        let record = Record::new(position, None, Some(b"k\n"), Some(value), headers.into_iter());
        assert_eq!(
            serde_json::to_string(&Content::of(&record)).expect("JSON"),
            r#"{"key":{"text":"k\n"},"value":{"json":{"n":1.50,"big":12345678901234567890}},"headers":[{"name":"a","text":"text"},{"name":"a","base64":"/w=="},{"name":"n"}]}"#
        );
    }
}
