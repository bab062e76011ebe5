//! `tidegate dlq export`: dead letters as lines of JSON, with nothing lost: what is JSON as JSON, what is text as text,
//! anything else in base64. Or their events alone, as structured CloudEvents a line, which `tidegate publish` takes.

use super::again;
use super::desk::{Desk, Letter};
use super::filter::Filter;
use super::list::{CHUNK, Row, Wanted};
use crate::cli::{Exit, Failure, output};
use crate::json::value::Json;
use crate::json::write::compact;
use crate::model::clock::WallMs;
use crate::model::event::{CloudEvent, Content as Member, Form};
use crate::model::record::Record;
use crate::pipeline::decode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

/// Options of `dlq export`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// How it stands with them: waiting (the default), redriven, delivered, discarded, all.
    #[arg(long, value_enum, hide_possible_values = true, value_name = "STATE")]
    state: Option<Wanted>,
    /// What a line holds.
    #[arg(long = "as", value_enum, default_value_t = As::Records, value_name = "WHAT")]
    form: As,
}

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// The dead letter: what is known of its failure, key, value and headers.
    Records,
    /// Its event as a structured CloudEvent, for `tidegate publish -`.
    Events,
}

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

/// Exports.
pub(super) fn run(desk: &Desk, filter: &Filter, options: &Options) -> Result<(), Failure> {
    let wanted = options.state.unwrap_or(Wanted::WAITING);
    let book = desk.book(filter, &[], wanted.asked())?;
    let now = WallMs::now();
    let mut left = 0;
    for chunk in wanted.of(&book).chunks(CHUNK) {
        for letter in &desk.letters(&book, chunk)? {
            match options.form {
                As::Records => {
                    output::print_json(&Line {
                        row: Row::of(desk, letter, now),
                        content: Content::of(&letter.record),
                    })?;
                }
                As::Events => match event(desk, letter)? {
                    Some(line) => output::print_line(&line)?,
                    None => left += 1,
                },
            }
        }
    }
    if left == 0 {
        return Ok(());
    }
    let message = format!("{left} are no events and are left out; --as records has them");
    Err(Failure::new(Exit::No, "EXPORT_NO_EVENT", message))
}

/// The event of a dead letter on one line, as it was before its source unwrapped anything; none if it is none.
fn event(desk: &Desk, letter: &Letter) -> Result<Option<String>, Failure> {
    let Some(record) = again::whole(desk, letter)? else { return Ok(None) };
    Ok(decode::decode(record, &decode::Options::default()).ok().map(|event| structured(&event)))
}

fn structured(event: &CloudEvent) -> String {
    let mut out = String::new();
    if event.form() == Form::Structured
        && let Some(json) = event.record.value().and_then(|value| Json::check(value).ok())
    {
        compact(json, &mut out);
        return out;
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    for (name, value) in event.members() {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(&quoted(name));
        out.push(':');
        match value {
            Member::Json(text) => compact(Json::trusted(text), &mut out),
            Member::Text(text) => out.push_str(&quoted(text)),
            Member::Base64(bytes) => out.push_str(&quoted(&STANDARD.encode(bytes))),
        }
    }
    out.push('}');
    out
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
    fn an_event_is_one_line_that_publish_takes() {
        let position: crate::model::record::Position = "t:0:1".parse().expect("a position");
        let line = |headers: &[(&str, &str)], value: &[u8]| {
            let headers = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
            let record = Record::new(position.clone(), Some(1), None, Some(value), headers);
            structured(&decode::decode(record, &decode::Options::default()).expect("an event"))
        };
        let text = b"{\"specversion\":\"1.0\",\n \"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":{\"n\": 1.50}}";
        assert_eq!(
            line(&[("content-type", "application/cloudevents+json")], text),
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":1.50}}"#
        );
        let binary =
            [("ce_specversion", "1.0"), ("ce_id", "q\"1"), ("ce_source", "/s"), ("ce_type", "t"), ("ce_x", "5")];
        for (kind, value, data) in [
            ("application/json", &b"{\"n\": 1.50,\n \"m\":[]}"[..], r#""data":{"n":1.50,"m":[]}"#),
            ("text/plain", b"a\nb", r#""data":"a\nb""#),
            ("application/octet-stream", b"\xff\x00", r#""data_base64":"/wA=""#),
        ] {
            let line = line(&[&binary[..], &[("content-type", kind)]].concat(), value);
            assert!(line.contains(data) && !line.contains('\n'), "{line}");
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!((&event["id"], &event["x"]), (&"q\"1".into(), &"5".into()));
            assert_eq!(event["datacontenttype"], kind);
            let input = crate::cli::events::Input { place: crate::model::fault::Place::default(), text: line };
            assert!(crate::cli::events::decode(&input, "t").is_ok(), "{input:?}");
        }
    }

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
