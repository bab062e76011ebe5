//! The events of the benchmark: CloudEvents, structured JSON with nested data, all of one length but for their numbers.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Begins the attribute that carries the moment of production, nanoseconds since 1970, always so many digits.
pub(crate) const SENT: &[u8] = br#""sent":""#;
const DIGITS: usize = 19;
/// Smaller events have little besides what is needed.
const SMALL: usize = 600;

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
    /// The attributes stand in headers, the payload alone in the value.
    pub(crate) binary: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { bytes: 1024, one_of: 1, destinations: 1, rules: 1, keys: 0, binary: false }
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

    /// What event `number` tells.
    fn kind(&self, number: u64) -> &'static str {
        if number.is_multiple_of(self.one_of) {
            return "order.paid";
        }
        ["order.placed", "order.shipped", "stock.moved"][(number % 3) as usize]
    }

    /// The headers of event `number`.
    pub(crate) fn headers(&self, number: u64, sent_ns: u64) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("e-{number}")),
            ("ce_source", "/shop/eu".to_owned()),
            ("ce_type", self.kind(number).to_owned()),
            ("ce_sent", format!("{sent_ns:0DIGITS$}")),
        ];
        headers.extend(self.key(number).map(|key| ("ce_partitionkey", key)));
        headers
    }

    /// Writes event `number`, produced at `sent_ns`; of a binary one its payload.
    pub(crate) fn write(&self, out: &mut Vec<u8>, number: u64, sent_ns: u64) {
        out.clear();
        if self.binary {
            return self.write_data(out, number, self.bytes);
        }
        let kind = self.kind(number);
        write!(
            out,
            r#"{{"specversion":"1.0","id":"e-{number}","source":"/shop/eu","type":"{kind}","sent":"{sent_ns:0DIGITS$}""#
        )
        .expect("memory");
        if self.bytes >= SMALL {
            out.extend_from_slice(br#","time":"2026-11-22T10:00:00Z","datacontenttype":"application/json""#);
        }
        if let Some(key) = self.key(number) {
            write!(out, r#","partitionkey":"{key}""#).expect("memory");
        }
        out.extend_from_slice(br#","data":"#);
        self.write_data(out, number, self.bytes - 1);
        out.push(b'}');
    }

    /// Writes the payload, so long that there are `end` bytes then.
    fn write_data(&self, out: &mut Vec<u8>, number: u64, end: usize) {
        const NOTE: &str = "left at the door, as agreed on the phone; the bell is broken \\u2014 please knock. ";
        write!(out, r#"{{"id":"A{number}","#).expect("memory");
        if self.bytes >= SMALL {
            out.extend_from_slice(
                br#""customer":{"id":4711,"name":"Ann Example","mail":"ann@example.com","address":{"street":"Main Road 12","city":"Ulm","zip":"89073","country":"DE"}},"items":[{"sku":"A-100","name":"kettle","qty":2,"price":39.90},{"sku":"B-7","name":"tea, green","qty":6,"price":4.50},{"sku":"C-31","name":"cup","qty":4,"price":12.00}],"shipping":{"method":"parcel","express":false,"weight_g":2310},"#,
            );
        }
        let (to, rule, total) = (number % self.destinations, number % self.rules, 120 + number % 800);
        write!(out, r#""to":{to},"rule":{rule},"total":{total}.50,"note":""#).expect("memory");
        while out.len() + 2 < end {
            let room = end - out.len() - 2;
            if room >= NOTE.len() {
                out.extend_from_slice(NOTE.as_bytes());
            } else {
                // No half of an escape.
                out.resize(out.len() + room, b'.');
            }
        }
        out.extend_from_slice(b"\"}");
    }
}

/// The moment of production, which stands at `at`.
pub(crate) fn digits(bytes: &[u8], at: usize) -> Option<u64> {
    std::str::from_utf8(bytes.get(at..at + DIGITS)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_the_length_that_was_asked_for_and_tells_when_it_was_sent() {
        for bytes in [200, 1024, 65_536] {
            let shape = Shape { bytes, keys: 5, ..Shape::default() };
            let mut text = Vec::new();
            shape.write(&mut text, 12_345, 1_700_000_000_123_456_789);
            assert!(text.len().abs_diff(bytes) < 30, "{}", text.len());
            let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(json["partitionkey"], "c-0");
            assert_eq!(json["type"], "order.paid");
            let at = memchr::memmem::find(&text, SENT).unwrap() + SENT.len();
            assert_eq!(digits(&text, at), Some(1_700_000_000_123_456_789));
        }
    }

    #[test]
    fn a_binary_event_is_its_payload_and_headers() {
        let shape = Shape { binary: true, ..Shape::default() };
        let mut text = Vec::new();
        shape.write(&mut text, 7, 0);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&json["id"], text.len()), (&serde_json::json!("A7"), 1024));
        assert!(shape.headers(7, 0).contains(&("ce_id", "e-7".to_owned())));
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
