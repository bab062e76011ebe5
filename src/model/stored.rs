//! Names that outlive a release: Tidegate's own topics and the headers of the records it stores there
//! (delivery.md "Contracts that outlive a release").
//!
//! A stored record is the original record, key, value and headers byte for byte, with `tidegate-` headers beside
//! them that say whose delivery it is and what became of it. An original header that begins with `tidegate-` is not
//! kept, for it could not be told from ours.

use super::outcome::{Class, Report};
use super::record::{Position, Record};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Partitions of each retry tier and of the topic of slots.
pub const SLOTS: u32 = 32;

/// Parts that a rate limit is divided into among the replicas: one for each slot, and one more for the slot of whom it limits.
pub const PARTS: u8 = 33;

/// Begins the name of every header of ours.
pub const HEADER_PREFIX: &str = "tidegate-";

/// The version of the headers that is written, and the only one that is read.
pub const VERSION: &str = "1";

/// Characters of a message or an excerpt that are stored at most, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;

/// The SHA-256 of a value that was too large for a dead letter, in lower-case hex.
pub const VALUE_SHA256: &str = "tidegate-value-sha256";

/// The size of a value that was too large for a dead letter, in bytes.
pub const VALUE_BYTES: &str = "tidegate-value-bytes";

/// A retry tier: a topic whose records all wait the same time, so that their order is that of their due times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The last part of the topic's name.
    pub name: &'static str,
    /// How long a record waits in it at most.
    pub delay: Duration,
}

/// The tiers, shortest first.
pub const TIERS: [Tier; 5] = [
    Tier { name: "10s", delay: Duration::from_secs(10) },
    Tier { name: "1m", delay: Duration::from_secs(60) },
    UNKNOWN_TARGETS,
    Tier { name: "1h", delay: Duration::from_secs(3_600) },
    Tier { name: "6h", delay: Duration::from_secs(21_600) },
];

/// Where a delivery is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A retry tier.
    Tier(Tier),
    /// The queue of its destination.
    Queue,
}

/// The tier where a delivery waits whose rule or target nobody knows now.
pub const UNKNOWN_TARGETS: Tier = Tier { name: "10m", delay: Duration::from_secs(600) };

/// Tidegate's own topics.
#[derive(Debug, Clone)]
pub struct Topics {
    prefix: Arc<str>,
}

impl Topics {
    /// The topics of a deployment; `prefix` is the setting `kafka.prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: Arc::from(prefix) }
    }

    /// Never written; who is assigned partition i owns slot i.
    #[must_use]
    pub fn slots(&self) -> Arc<str> {
        self.named("slots")
    }

    /// All retry tiers with their topics.
    pub fn tiers(&self) -> impl Iterator<Item = (Tier, Arc<str>)> + '_ {
        TIERS.iter().map(|tier| (*tier, self.retry(*tier)))
    }

    /// A retry tier.
    #[must_use]
    pub fn retry(&self, tier: Tier) -> Arc<str> {
        self.named(&format!("retry.{}", tier.name))
    }

    /// The queue of a destination: what it could not take when it came.
    #[must_use]
    pub fn queue(&self, destination: &str) -> Arc<str> {
        self.named(&format!("queue.{destination}"))
    }

    /// Whose queue a topic is.
    #[must_use]
    pub fn queue_of<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&*self.prefix)?.strip_prefix(".queue.")
    }

    /// Dead letters, where no rule or destination says otherwise.
    #[must_use]
    pub fn dlq(&self) -> Arc<str> {
        self.named("dlq")
    }

    /// One record per outcome.
    #[must_use]
    pub fn trace(&self) -> Arc<str> {
        self.named("trace")
    }

    /// What outlives its record's time: one record per key, compacted.
    #[must_use]
    pub fn state(&self) -> Arc<str> {
        self.named("state")
    }

    fn named(&self, what: &str) -> Arc<str> {
        Arc::from(format!("{}.{what}", self.prefix))
    }
}

/// The slot of a connection, destination or delivery: CRC-32C of its name, modulo [`SLOTS`].
#[must_use]
pub fn slot(name: &str) -> i32 {
    i32::try_from(crc32c::crc32c(name.as_bytes()) % SLOTS).unwrap_or(0)
}

/// Identifies a delivery across attempts, replicas and redrives: the first 128 bits of SHA-256 over `tidegate1`,
/// source, id, rule and target, each ended by a zero byte, in lower-case hex. Also the `Idempotency-Key`.
#[must_use]
pub fn delivery_id(source: &str, id: &str, rule: &str, target: &str) -> String {
    DeliveryId::of(source, id, rule, target).to_string()
}

/// See [`delivery_id`]. It lies in place, so that no event asks for memory for it; one that a stored record says may be
/// any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryId(SmallVec<[u8; 32]>);

impl DeliveryId {
    /// That of a delivery.
    #[must_use]
    pub fn of(source: &str, id: &str, rule: &str, target: &str) -> Self {
        let mut hash = Sha256::new();
        for part in ["tidegate1", source, id, rule, target] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Self(hash.finalize().iter().take(16).flat_map(hex_digits).collect())
    }
}

impl Deref for DeliveryId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for DeliveryId {
    fn from(text: &str) -> Self {
        Self(SmallVec::from_slice(text.as_bytes()))
    }
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).iter())
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.flat_map(hex_digits).map(char::from).collect()
}

fn hex_digits(byte: &u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 0xf)]
}

/// What the `tidegate-` headers of a stored record say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeaders {
    /// Whose delivery it is; `None` if the record could not be decoded, for then no rule has seen it.
    pub delivery: Option<Address>,
    /// Attempts made.
    pub attempts: u32,
    /// When sending first began, in milliseconds; the policy's `max_age` counts from here.
    pub first_attempt_ms: Option<i64>,
    /// When sending last began.
    pub last_attempt_ms: Option<i64>,
    /// When it is due (retry tiers).
    pub due_ms: Option<i64>,
    /// The record that came from the source.
    pub origin: Position,
    /// Its timestamp.
    pub origin_timestamp_ms: Option<i64>,
    /// Code of the last failure.
    pub code: Option<String>,
    /// Class of the last failure.
    pub class: Option<String>,
    /// HTTP status of the last failure.
    pub http_status: Option<u16>,
    /// The last failure in one sentence.
    pub message: Option<String>,
    /// Beginning of the last answer's body.
    pub response: Option<String>,
    /// The condition of the policy that ended it: `max_age` or `max_attempts`.
    pub exhausted: Option<String>,
    /// How often it was redriven from a dead-letter topic.
    pub redrives: u32,
    /// How many deliveries its event has in all, for whoever waits until the last has ended.
    pub deliveries: Option<u32>,
    /// The span of the last attempt, if it was sampled: a W3C `traceparent`, to which the next span links.
    pub traceparent: Option<String>,
}

/// Whose delivery a stored record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Rule.
    pub rule: String,
    /// Target of the rule.
    pub target: String,
    /// Destination of the target when the record was written.
    pub destination: String,
    /// See [`delivery_id`].
    pub delivery_id: String,
}

/// Why the headers of a stored record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are none.
    #[error("the record has no header `tidegate-version`: it is no stored record")]
    NotStored,
    /// Written by another version.
    #[error("the stored record has version {found}, this program reads {VERSION}; upgrade it")]
    Version {
        /// The version found.
        found: String,
    },
    /// A header is missing.
    #[error("the stored record has no header `{header}`")]
    Missing {
        /// Which.
        header: &'static str,
    },
    /// A header holds something else than it should.
    #[error("the stored record's header `{header}` is not {wanted}")]
    Value {
        /// Which.
        header: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotStored => "STORED_NOT_STORED",
            Self::Version { .. } => "STORED_VERSION",
            Self::Missing { .. } | Self::Value { .. } => "STORED_HEADER",
        }
    }
}

impl StoredHeaders {
    /// For a record that came from a source.
    #[must_use]
    pub fn new(record: &Record, delivery: Option<Address>) -> Self {
        Self {
            delivery,
            attempts: 0,
            first_attempt_ms: None,
            last_attempt_ms: None,
            due_ms: None,
            origin: record.position.clone(),
            origin_timestamp_ms: record.timestamp_ms,
            code: None,
            class: None,
            http_status: None,
            message: None,
            response: None,
            exhausted: None,
            redrives: 0,
            deliveries: None,
            traceparent: None,
        }
    }

    /// Notes why it cannot be delivered, without an answer.
    pub fn refused(&mut self, code: &str, class: Class, message: &str) {
        self.code = Some(code.to_owned());
        self.class = Some(class.as_str().to_owned());
        self.http_status = None;
        self.message = Some(cut(message)).filter(|text| !text.is_empty());
        self.response = None;
    }

    /// Notes how the last attempt ended; `attempts` and the times are the caller's.
    pub fn failed(&mut self, report: &Report) {
        self.refused(report.code, report.class, &report.message);
        self.http_status = report.status;
        self.response = Some(cut(&report.excerpt)).filter(|text| !text.is_empty());
    }

    /// Reads them.
    ///
    /// # Errors
    /// The record is no stored record, or one that this version does not understand.
    pub fn read(record: &Record) -> Result<Self, Error> {
        let reader = Reader(record);
        match reader.text("tidegate-version")? {
            None => return Err(Error::NotStored),
            Some(VERSION) => {}
            Some(other) => return Err(Error::Version { found: cut(other) }),
        }
        let owned = |header| Ok(reader.text(header)?.map(str::to_owned));
        let delivery = match owned("tidegate-rule")? {
            None => None,
            Some(rule) => Some(Address {
                rule,
                target: owned("tidegate-target")?.ok_or(Error::Missing { header: "tidegate-target" })?,
                destination: owned("tidegate-destination")?.unwrap_or_default(),
                delivery_id: owned("tidegate-delivery-id")?.ok_or(Error::Missing { header: "tidegate-delivery-id" })?,
            }),
        };
        Ok(Self {
            delivery,
            attempts: reader.parsed("tidegate-attempts")?.unwrap_or(0),
            first_attempt_ms: reader.parsed("tidegate-first-attempt-ms")?,
            last_attempt_ms: reader.parsed("tidegate-last-attempt-ms")?,
            due_ms: reader.parsed("tidegate-due-ms")?,
            origin: reader.position("tidegate-origin")?.ok_or(Error::Missing { header: "tidegate-origin" })?,
            origin_timestamp_ms: reader.parsed("tidegate-origin-timestamp-ms")?,
            code: owned("tidegate-code")?,
            class: owned("tidegate-class")?,
            http_status: reader.parsed("tidegate-http-status")?,
            message: owned("tidegate-message")?,
            response: owned("tidegate-response")?,
            exhausted: owned("tidegate-exhausted")?,
            redrives: reader.parsed("tidegate-redrives")?.unwrap_or(0),
            deliveries: reader.parsed("tidegate-deliveries")?,
            traceparent: owned("tidegate-traceparent")?,
        })
    }

    /// The headers to write, in the order of the contract; what is unknown is left out.
    #[must_use]
    pub fn write(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(20);
        let mut put = |name, value: Option<String>| {
            if let Some(value) = value {
                headers.push((name, value));
            }
        };
        let address = self.delivery.as_ref();
        put("tidegate-version", Some(VERSION.to_owned()));
        put("tidegate-rule", address.map(|a| a.rule.clone()));
        put("tidegate-target", address.map(|a| a.target.clone()));
        put("tidegate-destination", address.map(|a| a.destination.clone()));
        put("tidegate-delivery-id", address.map(|a| a.delivery_id.clone()));
        put("tidegate-attempts", Some(self.attempts.to_string()));
        put("tidegate-first-attempt-ms", self.first_attempt_ms.map(|ms| ms.to_string()));
        put("tidegate-last-attempt-ms", self.last_attempt_ms.map(|ms| ms.to_string()));
        put("tidegate-due-ms", self.due_ms.map(|ms| ms.to_string()));
        put("tidegate-origin", Some(self.origin.to_string()));
        put("tidegate-origin-timestamp-ms", self.origin_timestamp_ms.map(|ms| ms.to_string()));
        put("tidegate-code", self.code.clone());
        put("tidegate-class", self.class.clone());
        put("tidegate-http-status", self.http_status.map(|status| status.to_string()));
        put("tidegate-message", self.message.as_deref().map(cut));
        put("tidegate-response", self.response.as_deref().map(cut));
        put("tidegate-exhausted", self.exhausted.clone());
        put("tidegate-redrives", Some(self.redrives.to_string()));
        put("tidegate-deliveries", self.deliveries.map(|count| count.to_string()));
        put("tidegate-traceparent", self.traceparent.clone());
        headers
    }
}

/// The headers that the record had when it came from its source.
pub fn original_headers(record: &Record) -> impl Iterator<Item = (&str, Option<&[u8]>)> + Clone {
    record.headers().filter(|(name, _)| !name.starts_with(HEADER_PREFIX))
}

/// At most [`MAX_TEXT_BYTES`], whole characters.
fn cut(text: &str) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

struct Reader<'a>(&'a Record);

impl<'a> Reader<'a> {
    fn text(&self, header: &'static str) -> Result<Option<&'a str>, Error> {
        let value = self.0.header(header).map(std::str::from_utf8).transpose();
        value.map_err(|_| Error::Value { header, wanted: "UTF-8" })
    }

    fn parsed<T: std::str::FromStr>(&self, header: &'static str) -> Result<Option<T>, Error> {
        let value = self.text(header)?.map(str::parse).transpose();
        value.map_err(|_| Error::Value { header, wanted: "a whole number in range" })
    }

    fn position(&self, header: &'static str) -> Result<Option<Position>, Error> {
        let value = self.text(header)?.map(str::parse).transpose();
        value.map_err(|_| Error::Value { header, wanted: "topic:partition:offset" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)]) -> Record {
        let position = Position { topic: Arc::from("tidegate.retry.10s"), partition: 4, offset: 9 };
        let headers = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        Record::new(position, Some(1), None, None, headers)
    }

    #[test]
    fn delivery_id_is_fixed() {
        // printf 'tidegate1\0/shop\0A-1\0paid\0build\0' | sha256sum | cut -c1-32
        assert_eq!(delivery_id("/shop", "A-1", "paid", "build"), "f4de43b25e65451706bb55a16a3e62cf");
        assert_ne!(delivery_id("/shop", "A-1paid", "", "build"), delivery_id("/shop", "A-1", "paid", "build"));
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn slots_and_topics_are_fixed() {
        // CRC-32C of "123456789" is 0xe3069283 (RFC 3720's polynomial, the usual check value).
        assert_eq!(slot("123456789"), 3);
        let topics = Topics::new("tg");
        let names = [topics.slots(), topics.retry(TIERS[0]), topics.dlq(), topics.trace()];
        assert_eq!(names.map(|n| n.to_string()), ["tg.slots", "tg.retry.10s", "tg.dlq", "tg.trace"]);
        assert_eq!((&*topics.queue("crm"), topics.queue_of("tg.queue.crm")), ("tg.queue.crm", Some("crm")));
        assert_eq!([topics.queue_of("tg.retry.10s"), topics.queue_of("tgx.queue.crm")], [None, None]);
    }

    #[test]
    fn headers_are_fixed_and_come_back() {
        let address = Address {
            rule: "paid".into(),
            target: "build".into(),
            destination: "builds".into(),
            delivery_id: "00ff".into(),
        };
        let origin = Record::new("shop.orders:0:17".parse().unwrap(), Some(5), None, None, std::iter::empty());
        let mut headers = StoredHeaders::new(&origin, Some(address));
        headers.failed(&Report {
            class: Class::Transient,
            code: "DELIVER_STATUS",
            status: Some(503),
            message: "they said no".into(),
            excerpt: "é".repeat(1_000),
            retry_after: None,
            wait: None,
            sent: None,
            took: Duration::ZERO,
        });
        headers.attempts = 2;
        headers.first_attempt_ms = Some(1);
        headers.last_attempt_ms = Some(2);
        headers.due_ms = Some(3);
        headers.exhausted = Some("max_age".into());
        headers.redrives = 1;
        headers.deliveries = Some(3);
        headers.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        let written = headers.write();
        let expected = [
            ("tidegate-version", "1"),
            ("tidegate-rule", "paid"),
            ("tidegate-target", "build"),
            ("tidegate-destination", "builds"),
            ("tidegate-delivery-id", "00ff"),
            ("tidegate-attempts", "2"),
            ("tidegate-first-attempt-ms", "1"),
            ("tidegate-last-attempt-ms", "2"),
            ("tidegate-due-ms", "3"),
            ("tidegate-origin", "shop.orders:0:17"),
            ("tidegate-origin-timestamp-ms", "5"),
            ("tidegate-code", "DELIVER_STATUS"),
            ("tidegate-class", "transient"),
            ("tidegate-http-status", "503"),
            ("tidegate-message", "they said no"),
            ("tidegate-response", &"é".repeat(512)),
            ("tidegate-exhausted", "max_age"),
            ("tidegate-redrives", "1"),
            ("tidegate-deliveries", "3"),
            ("tidegate-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ];
        let pairs: Vec<_> = written.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(pairs, expected);
        let mut all = vec![("ce_id", "1")];
        all.extend(&pairs);
        let stored = record(&all);
        assert_eq!(StoredHeaders::read(&stored).as_ref(), Ok(&headers));
        assert_eq!(original_headers(&stored).map(|(name, _)| name).collect::<Vec<_>>(), ["ce_id"]);
    }

    #[test]
    fn what_cannot_be_read() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 6] = [
            (&[], "STORED_NOT_STORED", "no stored record"),
            (&[("tidegate-version", "2")], "STORED_VERSION", "version 2"),
            (&[("tidegate-version", "1")], "STORED_HEADER", "`tidegate-origin`"),
            (&[("tidegate-version", "1"), ("tidegate-rule", "r")], "STORED_HEADER", "`tidegate-target`"),
            (&[("tidegate-version", "1"), ("tidegate-origin", "x")], "STORED_HEADER", "topic:partition:offset"),
            (
                &[("tidegate-version", "1"), ("tidegate-origin", "x:0:1"), ("tidegate-attempts", "-1")],
                "STORED_HEADER",
                "whole number",
            ),
        ];
        for (headers, code, part) in cases {
            let error = StoredHeaders::read(&record(headers)).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(part), "{error}");
        }
        let undecodable = record(&[("tidegate-version", "1"), ("tidegate-origin", "x:0:1")]);
        assert_eq!(StoredHeaders::read(&undecodable).unwrap().delivery, None);
    }
}
