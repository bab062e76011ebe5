//! The events of the benchmark: CloudEvents, structured JSON with nested data, all of one length but for their numbers.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Begins the attribute that carries the moment of production, nanoseconds since 1970, always so many digits.
pub(crate) const SENT: &[u8] = br#""sent":""#;
const DIGITS: usize = 19;

/// What the events of a topic are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Bytes of an event, about.
    pub(crate) bytes: usize,
    /// One of so many is what the rule wants: `order.paid` with a total above 100.
    pub(crate) one_of: u64,
    /// `data.to` is the event's number modulo this.
    pub(crate) destinations: u64,
    /// `data.rule` is the event's number modulo this.
    pub(crate) rules: u64,
    /// With a Kafka key and `partitionkey`, of so many; 0: without.
    pub(crate) keys: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { bytes: 1024, one_of: 1, destinations: 1, rules: 1, keys: 0 }
    }
}

/// Nanoseconds since 1970. The clock that all processes of a machine share.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl Shape {
    /// The key of event `number`.
    pub(crate) fn key(&self, number: u64) -> Option<String> {
        (self.keys > 0).then(|| format!("c-{}", number % self.keys))
    }

    /// Writes event `number`, produced at `sent_ns`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, number: u64, sent_ns: u64) {
        const NOTE: &str = "left at the door, as agreed on the phone; the bell is broken \\u2014 please knock. ";
        out.clear();
        let wanted = number.is_multiple_of(self.one_of);
        let kind =
            if wanted { "order.paid" } else { ["order.placed", "order.shipped", "stock.moved"][(number % 3) as usize] };
        write!(
            out,
            r#"{{"specversion":"1.0","id":"e-{number}","source":"/shop/eu","type":"{kind}","sent":"{sent_ns:0DIGITS$}""#
        )
        .expect("memory");
        // The smallest events have little besides.
        let small = self.bytes < 600;
        if !small {
            out.extend_from_slice(br#","time":"2026-11-22T10:00:00Z","datacontenttype":"application/json""#);
        }
        if let Some(key) = self.key(number) {
            write!(out, r#","partitionkey":"{key}""#).expect("memory");
        }
        write!(out, r#","data":{{"id":"A{number}","#).expect("memory");
        if !small {
            out.extend_from_slice(
                br#""customer":{"id":4711,"name":"Ann Example","mail":"ann@example.com","address":{"street":"Main Road 12","city":"Ulm","zip":"89073","country":"DE"}},"items":[{"sku":"A-100","name":"kettle","qty":2,"price":39.90},{"sku":"B-7","name":"tea, green","qty":6,"price":4.50},{"sku":"C-31","name":"cup","qty":4,"price":12.00}],"shipping":{"method":"parcel","express":false,"weight_g":2310},"#,
            );
        }
        write!(
            out,
            r#""to":{},"rule":{},"total":{}.50,"note":""#,
            number % self.destinations,
            number % self.rules,
            120 + number % 800
        )
        .expect("memory");
        let end = b"\"}}";
        while out.len() + end.len() < self.bytes {
            let room = self.bytes - out.len() - end.len();
            out.extend_from_slice(if room >= NOTE.len() {
                NOTE.as_bytes()
            } else {
                &b"................................................................................................"
                    [..room]
            });
        }
        out.extend_from_slice(end);
    }
}

/// The moment of production in a request's head or body, wherever it stands.
pub(crate) fn sent_ns(bytes: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(bytes, SENT)? + SENT.len();
    std::str::from_utf8(bytes.get(at..at + DIGITS)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_the_length_that_was_asked_for_and_tells_when_it_was_sent() {
        for bytes in [256, 1024, 65_536] {
            let shape = Shape { bytes, keys: 5, ..Shape::default() };
            let mut text = Vec::new();
            shape.write(&mut text, 12_345, 1_700_000_000_123_456_789);
            assert!(text.len().abs_diff(bytes) < 40, "{}", text.len());
            let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(json["partitionkey"], "c-0");
            assert_eq!(json["type"], "order.paid");
            assert_eq!(sent_ns(&text), Some(1_700_000_000_123_456_789));
        }
    }

    #[test]
    fn one_of_a_hundred_is_wanted() {
        let shape = Shape { one_of: 100, ..Shape::default() };
        let mut text = Vec::new();
        let wanted = (0..1000).filter(|n| {
            shape.write(&mut text, *n, 0);
            memchr::memmem::find(&text, b"order.paid").is_some()
        });
        assert_eq!(wanted.count(), 10);
    }
}
