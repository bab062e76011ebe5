//! Step 2 of 7: `Record` → [`CloudEvent`]. What is it?
//!
//! Enters: a record. Leaves: the event that lies in it, by the Kafka protocol binding of CloudEvents 1.0, structured
//! or binary mode, or wrapped if the record is no CloudEvent. Can fail: see [`Error`]; the record comes back with it
//! and becomes a dead letter, and the partition moves on. Never: a panic, a copy of a payload that can be read where
//! it lies, a changed number, key order or byte of `data`.
//!
//! A record of a retry tier is decoded like the one it was made from: its reader first gives it the position and the
//! timestamp of its origin, for the id of a wrapped event is made of them.

mod binary;
mod payload;
pub mod sdk;
mod structured;
mod wrapped;

#[cfg(test)]
mod tests;

use crate::json::scan;
use crate::json::tape::Tape;
use crate::model::event::{CloudEvent, Parts};
use crate::model::record::Record;
use crate::model::resources::PayloadDecode;

/// Attributes of an event at most. CloudEvents sets no limit; events in practice have fewer than twenty, and the
/// work per attribute grows with their number. Earlier values of names that stand twice may be as many again.
pub const MAX_ATTRIBUTES: usize = 500;

/// What a source wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A record that is no CloudEvent is refused instead of wrapped, and an event with attribute names that
    /// CloudEvents does not allow is refused instead of taken as it stands.
    pub strict: bool,
    /// What wrapped the payload once more (event-patterns.md rule 3).
    pub payload: PayloadDecode,
}

/// Why a record is no event. The messages name the culprit and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `application/cloudevents-batch`: Kafka's binding has no batches.
    #[error("the record is a batch of events ({found}); Kafka's binding has none: write one record per event")]
    Batch {
        /// What said so.
        found: String,
    },
    /// Structured mode in another format than JSON.
    #[error("the content type `{found}` is an event format that is not read; write application/cloudevents+json")]
    Format {
        /// The content type.
        found: String,
    },
    /// Structured mode without a value.
    #[error("the value is null, but the header content-type says that the event is in it; send the event as JSON")]
    NullValue,
    /// The value is not JSON.
    #[error("the value is no JSON event: {source}; send the event as one JSON object in UTF-8")]
    Json {
        /// What is wrong, and at which byte of the value.
        source: scan::Error,
    },
    /// The value is JSON, but no object.
    #[error("the value is {found}; an event in structured mode is one JSON object")]
    NotObject {
        /// What it is.
        found: &'static str,
    },
    /// A required attribute is absent.
    #[error("the required attribute `{name}` is missing; add {}", place(*.binary, .name))]
    AttributeMissing {
        /// Its name.
        name: &'static str,
        /// It would be a header.
        binary: bool,
    },
    /// A required attribute is the empty string.
    #[error("the required attribute `{name}` is empty; give it a value")]
    AttributeEmpty {
        /// Its name.
        name: &'static str,
    },
    /// An attribute that CloudEvents defines as a string is something else.
    #[error("the attribute `{name}` is {found}; write it as a string")]
    AttributeType {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A name that no attribute may have.
    #[error("`{name}` is no name for an attribute: use lower-case ASCII letters and digits, and not `data`")]
    AttributeName {
        /// The name, perhaps cut.
        name: String,
    },
    /// Too many attributes.
    #[error("the event has more than {MAX_ATTRIBUTES} attributes; put what is not for routing into `data`")]
    AttributeCount,
    /// Another version of CloudEvents.
    #[error("specversion is {found}; only \"1.0\" is read")]
    SpecVersion {
        /// What it is, perhaps cut.
        found: String,
    },
    /// A header is not UTF-8.
    #[error("the header `{header}` is not UTF-8 at byte {byte}; encode header values as UTF-8")]
    Utf8 {
        /// Its name, perhaps cut.
        header: String,
        /// The first bad byte.
        byte: usize,
    },
    /// Both `data` and `data_base64`.
    #[error("the event has both `data` and `data_base64`; send one of them")]
    DataTwice,
    /// `data_base64` does not hold base64.
    #[error("`data_base64` is no base64 string: {reason}; encode the payload with the standard alphabet of RFC 4648")]
    Base64 {
        /// Why.
        reason: String,
    },
    /// No CloudEvent, and the source is strict.
    #[error(
        "the record is no CloudEvent: it has neither the content type application/cloudevents+json nor `ce_` headers; \
         add them, or set `strict: false` on the source to have it wrapped"
    )]
    NotCloudEvent,
}

impl Error {
    /// Stable code, for the dead letter, logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Batch { .. } => "DECODE_BATCH",
            Self::Format { .. } => "DECODE_FORMAT",
            Self::NullValue => "DECODE_NULL_VALUE",
            Self::Json { source: scan::Error { kind: scan::ErrorKind::Utf8, .. } } | Self::Utf8 { .. } => "DECODE_UTF8",
            Self::Json { .. } | Self::NotObject { .. } => "DECODE_JSON",
            Self::AttributeMissing { .. } => "DECODE_ATTRIBUTE_MISSING",
            Self::AttributeEmpty { .. } => "DECODE_ATTRIBUTE_EMPTY",
            Self::AttributeType { .. } => "DECODE_ATTRIBUTE_TYPE",
            Self::AttributeName { .. } => "DECODE_ATTRIBUTE_NAME",
            Self::AttributeCount => "DECODE_ATTRIBUTE_COUNT",
            Self::SpecVersion { .. } => "DECODE_SPECVERSION",
            Self::DataTwice => "DECODE_DATA_TWICE",
            Self::Base64 { .. } => "DECODE_BASE64",
            Self::NotCloudEvent => "DECODE_NOT_CLOUDEVENT",
        }
    }
}

/// Reads a record as an event.
///
/// # Errors
/// Why it is none, with the record, which becomes a dead letter.
#[allow(clippy::result_large_err, reason = "a refused record is as large as an event and travels the same way")]
pub fn decode(record: Record, options: &Options) -> Result<CloudEvent, (Record, Error)> {
    decode_noting(record, options, &mut Tape::default())
}

/// [`decode`] that also notes where the values of the JSON in the record lie, for the matching of that event.
///
/// # Errors
/// The same.
#[allow(clippy::result_large_err, reason = "a refused record is as large as an event and travels the same way")]
pub fn decode_noting(record: Record, options: &Options, tape: &mut Tape) -> Result<CloudEvent, (Record, Error)> {
    tape.clear();
    match read(&record, options, tape) {
        Ok(parts) => {
            let mut event = CloudEvent::new(record, parts);
            event.noted = tape.mark();
            Ok(event)
        }
        Err(error) => Err((record, error)),
    }
}

fn read(record: &Record, options: &Options, tape: &mut Tape) -> Result<Parts, Error> {
    match mode(record) {
        Mode::Structured => structured::read(record, options, tape),
        Mode::Batch(content_type) => Err(Error::Batch { found: content_type }),
        Mode::OtherFormat(content_type) => Err(Error::Format { found: content_type }),
        Mode::Binary => binary::read(record, options, tape),
        Mode::None if options.strict => Err(Error::NotCloudEvent),
        Mode::None => Ok(wrapped::read(record, options.payload, tape)),
    }
}

enum Mode {
    Structured,
    Batch(String),
    OtherFormat(String),
    Binary,
    None,
}

/// The content type decides, then the `ce_` headers (section 3 of the binding).
fn mode(record: &Record) -> Mode {
    if let Some(value) = content_type(record) {
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if let Some(rest) = strip_prefix_ignore_case(essence, b"application/cloudevents") {
            let shown = || shorten(&String::from_utf8_lossy(value));
            match rest {
                [b'+', format @ ..] if format.eq_ignore_ascii_case(b"json") => return Mode::Structured,
                [] | [b'+', ..] => return Mode::OtherFormat(shown()),
                _ if strip_prefix_ignore_case(rest, b"-batch").is_some_and(|r| matches!(r, [] | [b'+', ..])) => {
                    return Mode::Batch(shown());
                }
                _ => {}
            }
        }
    }
    if record.headers().any(|(name, _)| attribute_header(name).is_some()) { Mode::Binary } else { Mode::None }
}

/// The last header `content-type` that has a value, whatever the case of its name: producers differ.
fn content_type(record: &Record) -> Option<&[u8]> {
    record.headers().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).filter_map(|(_, value)| value).last()
}

/// The attribute's name, if the header holds one.
fn attribute_header(name: &str) -> Option<&str> {
    let (prefix, rest) = name.split_at_checked(3)?;
    prefix.eq_ignore_ascii_case("ce_").then_some(rest)
}

fn strip_prefix_ignore_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Lower-case ASCII letters and digits (CloudEvents 1.0, "Naming Conventions"). Unless the source is strict, others
/// pass too, for rules can read them and losing the event helps nobody; but the payload has its own place.
fn check_name(name: &str, strict: bool) -> Result<(), Error> {
    let clean = || !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let payload = matches!(name, "data" | "data_base64");
    if payload || (strict && !clean()) { Err(Error::AttributeName { name: shorten(name) }) } else { Ok(()) }
}

/// A text from outside, cut to a length that fits into a message.
fn shorten(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

fn place(binary: bool, name: &str) -> String {
    if binary { format!("the header `ce_{name}`") } else { format!("the key \"{name}\" to the JSON object") }
}
