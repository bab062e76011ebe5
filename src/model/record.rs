//! `Record`: one Kafka message, copied once out of the client.

use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Where a record stands in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl std::fmt::Display for Position {
    /// `topic:partition:offset`, as in the header `tidegate-origin` and on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

impl std::str::FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no position; write TOPIC:PARTITION:OFFSET, e.g. shop.orders:0:17");
        let mut parts = text.rsplitn(3, ':');
        let offset = parts.next().and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
        let partition = parts.next().and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
        let topic = parts.next().filter(|t| !t.is_empty()).ok_or_else(wrong)?;
        Ok(Self { topic: Arc::from(topic), partition, offset })
    }
}

type Span = Range<u32>;

/// One Kafka message. Key, value and headers lie in one buffer, so that taking a record costs one copy and one
/// allocation, and parts of it can be shared without another.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// The record's timestamp in milliseconds, if Kafka has one.
    pub timestamp_ms: Option<i64>,
    bytes: Bytes,
    key: Option<Span>,
    value: Option<Span>,
    headers: SmallVec<[(Span, Option<Span>); 8]>,
}

impl Record {
    /// Copies a message together. Kafka allows messages below 2 GiB, so `u32` spans suffice.
    pub fn new<'a>(
        position: Position,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone,
    ) -> Self {
        let header_bytes: usize = headers.clone().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        let mut bytes = Vec::with_capacity(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + header_bytes);
        let mut put = |part: &[u8]| {
            let start = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(part);
            start..u32::try_from(bytes.len()).unwrap_or(u32::MAX)
        };
        let key = key.map(&mut put);
        let value = value.map(&mut put);
        let headers = headers.map(|(name, value)| (put(name.as_bytes()), value.map(&mut put))).collect();
        Self { position, timestamp_ms, bytes: Bytes::from(bytes), key, value, headers }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|span| self.slice(span))
    }

    /// The value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|span| self.slice(span))
    }

    /// The value without a copy.
    #[must_use]
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value.as_ref().map(|span| self.bytes.slice(index(span)))
    }

    /// The headers in their order. Kafka allows a name several times and a null value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> + Clone {
        self.headers.iter().map(|(name, value)| {
            (std::str::from_utf8(self.slice(name)).unwrap_or_default(), value.as_ref().map(|span| self.slice(span)))
        })
    }

    /// The last header of that name that has a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().filter(|(n, _)| *n == name).filter_map(|(_, value)| value).last()
    }

    /// The same record as if it stood elsewhere: a stored record is read as the one it was made of.
    #[must_use]
    pub fn moved(self, position: Position, timestamp_ms: Option<i64>) -> Self {
        Self { position, timestamp_ms, ..self }
    }

    /// A part of this record, shared without a copy; bytes from elsewhere are copied.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        match self.span_of(part) {
            Some(span) => self.bytes.slice(index(&span)),
            None => Bytes::copy_from_slice(part),
        }
    }

    /// The length of the buffer that holds all parts.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The buffer that holds all parts.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where `part` lies in the buffer, if it borrows from it.
    pub(super) fn span_of(&self, part: &[u8]) -> Option<Span> {
        let start = part.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= self.bytes.len()).then_some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
    }

    fn slice(&self, span: &Span) -> &[u8] {
        self.bytes.get(index(span)).unwrap_or_default()
    }
}

/// A record to be written to Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition; `None` leaves it to the producer: by the key, or any.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Timestamp in milliseconds; `None` is the producer's own time.
    pub timestamp_ms: Option<i64>,
}

fn index(span: &Span) -> Range<usize> {
    usize::try_from(span.start).unwrap_or(usize::MAX)..usize::try_from(span.end).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_went_in() {
        let position: Position = "a:b:1:17".parse().unwrap();
        assert_eq!((&*position.topic, position.partition, position.offset), ("a:b", 1, 17));
        let headers = [("x", Some(&b"1"[..])), ("x", None), ("\u{e9}", Some(&b""[..]))];
        let record = Record::new(position, Some(5), None, Some(b"value"), headers.into_iter());
        assert_eq!(record.key(), None);
        assert_eq!(record.value(), Some(&b"value"[..]));
        assert_eq!(record.headers().collect::<Vec<_>>(), headers);
        assert_eq!(record.header("x"), Some(&b"1"[..]));
        let value = record.value().unwrap();
        assert_eq!(record.share(value).as_ptr(), value.as_ptr());
        assert_eq!(record.share(b"else"), &b"else"[..]);
        assert!("x:1".parse::<Position>().is_err());
    }
}
