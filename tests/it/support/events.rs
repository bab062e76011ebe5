//! What tests publish: CloudEvents in both modes of the Kafka binding, and anything else.

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Message {
    /// Key.
    pub(crate) key: Option<Vec<u8>>,
    /// Value.
    pub(crate) value: Option<Vec<u8>>,
    /// Headers in their order.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Partition; by key if it is `None`.
    pub(crate) partition: Option<i32>,
}

impl Message {
    /// A record with this value only.
    pub(crate) fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// Sets the key.
    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.as_bytes().to_vec());
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.push((name.to_owned(), value.map(|value| value.as_bytes().to_vec())));
        self
    }

    /// Adds a header of any bytes.
    pub(crate) fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), Some(value.to_vec())));
        self
    }

    /// Sets the partition.
    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }
}

/// An event in structured mode, source `/test`; `data` is JSON text.
pub(crate) fn structured(id: &str, kind: &str, data: &str) -> Message {
    let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"{kind}","data":{data}}}"#);
    Message::value(event).header("content-type", Some("application/cloudevents+json; charset=utf-8"))
}

/// The same event in binary mode.
pub(crate) fn binary(id: &str, kind: &str, data: &str) -> Message {
    Message::value(data)
        .header("ce_specversion", Some("1.0"))
        .header("ce_id", Some(id))
        .header("ce_source", Some("/test"))
        .header("ce_type", Some(kind))
        .header("content-type", Some("application/json"))
}

/// Events `0` to `count - 1` of type `order.paid`, keyed, every second one in binary mode.
pub(crate) fn orders(count: usize) -> impl Iterator<Item = Message> {
    (0..count).map(|n| {
        let data = format!(r#"{{"id":"A{n}","n":{n},"total":12.50,"note":"a note of some length, as orders have"}}"#);
        let make = if n % 2 == 0 { structured } else { binary };
        make(&n.to_string(), "order.paid", &data).key(&format!("customer-{}", n % 997))
    })
}
