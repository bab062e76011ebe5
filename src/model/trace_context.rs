//! `TraceContext`: to which distributed trace an event belongs (W3C Trace Context, level 1).
//!
//! It comes from the record's headers `traceparent` and `tracestate` or, without them, from the CloudEvents extension
//! of the same names ("Distributed Tracing extension"), and goes out with the request.

use super::event::{CloudEvent, Content};
use super::record::Record;
use std::fmt;

/// The header, the extension, and the header of the request.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors add to it.
pub const TRACESTATE: &str = "tracestate";

/// A longer `tracestate` is not passed on, nor is such a `traceparent`; the standard asks for 512 characters at least.
const MAX_STATE_BYTES: usize = 4096;

/// Length of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Which span something was caused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span in it; not 0.
    pub span_id: u64,
    /// Flags; bit 0 is "sampled".
    pub flags: u8,
}

impl TraceParent {
    /// Whether whoever made the span records it.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// Reads a `traceparent`. Versions after 00 are read as far as 00 goes, as the standard asks; `None` is invalid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let dash = |at: usize| bytes.get(at) == Some(&b'-');
        let version = hex(text.get(..2)?)?;
        let whole = match version {
            0 => bytes.len() == PARENT_BYTES,
            // Version ff is forbidden.
            0xff => false,
            _ => bytes.len() == PARENT_BYTES || dash(PARENT_BYTES),
        };
        if !(whole && dash(2) && dash(35) && dash(52)) {
            return None;
        }
        let parent = Self {
            trace_id: hex(text.get(3..35)?)?,
            span_id: u64::try_from(hex(text.get(36..52)?)?).ok()?,
            flags: u8::try_from(hex(text.get(53..55)?)?).ok()?,
        };
        (parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

impl fmt::Display for TraceParent {
    /// As version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The context that came with an event, as text and as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// The span that caused the event.
    pub parent: TraceParent,
    /// The `traceparent` as it came.
    pub traceparent: &'a str,
    /// The `tracestate` as it came, if it can stand in a header.
    pub tracestate: Option<&'a str>,
}

impl<'a> TraceContext<'a> {
    /// Of an event: its record's headers, else its extension. What is invalid counts as absent.
    #[must_use]
    pub fn of(event: &'a CloudEvent) -> Option<Self> {
        let extension = |name| match event.member(name)? {
            Content::Text(text) => Some(text),
            // What is valid here needs no escape.
            Content::Json(json) => json.strip_prefix('"')?.strip_suffix('"'),
            Content::Base64(_) => None,
        };
        Self::of_record(&event.record).or_else(|| Self::read(extension(TRACEPARENT)?, || extension(TRACESTATE)))
    }

    /// Of a record that is no event.
    #[must_use]
    pub fn of_record(record: &'a Record) -> Option<Self> {
        let header = |name| std::str::from_utf8(record.header(name)?).ok();
        Self::read(header(TRACEPARENT)?, || header(TRACESTATE))
    }

    fn read(traceparent: &'a str, tracestate: impl FnOnce() -> Option<&'a str>) -> Option<Self> {
        let fits = |text: &&str| {
            let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            printable && !text.trim().is_empty() && text.len() <= MAX_STATE_BYTES
        };
        // What follows in a later version may be anything; it must not make the request one that cannot be sent.
        let parent = TraceParent::parse(traceparent).filter(|_| fits(&traceparent))?;
        Some(Self { parent, traceparent, tracestate: tracestate().filter(fits) })
    }
}

/// Lower-case hex only, as the standard asks.
fn hex(text: &str) -> Option<u128> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Builder, Form};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// The example of the standard.
    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_standard_is_read() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!(parent.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id, parent.flags, parent.is_sampled()), (0xb7ad_6b71_6920_3331, 1, true));
        assert_eq!(parent.to_string(), EXAMPLE);
        let later = format!("cc{}-what-comes", EXAMPLE.get(2..).unwrap());
        assert_eq!(TraceParent::parse(&later), Some(parent));
    }

    #[test]
    fn what_the_standard_forbids_is_no_context() {
        let flip = |at: usize, with: &str| {
            let mut text = EXAMPLE.to_owned();
            text.replace_range(at..at + with.len(), with);
            text
        };
        let wrong = [
            String::new(),
            "00".to_owned(),
            "é".repeat(40),
            flip(0, "ff"),
            flip(3, "0AF7"),
            flip(3, "00000000000000000000000000000000"),
            flip(36, "0000000000000000"),
            flip(35, "_"),
            flip(53, "0g"),
            format!("{EXAMPLE}-more"),
            EXAMPLE.get(..54).unwrap().to_owned(),
        ];
        for text in wrong {
            assert_eq!(TraceParent::parse(&text), None, "{text}");
        }
    }

    fn event(headers: &[(&str, &str)], members: &[(&str, Content<'_>)]) -> CloudEvent {
        let position = "t:0:1".parse().unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
        let record = Record::new(position, None, None, Some(b"{}"), headers.iter().copied());
        let mut builder = Builder::new(&record, Form::Structured, "id", "/s", "t");
        members.iter().for_each(|(name, value)| builder.member(name, *value));
        let parts = builder.finish();
        CloudEvent::new(record, parts)
    }

    #[test]
    fn the_header_comes_before_the_extension_and_what_is_invalid_is_absent() {
        let other = EXAMPLE.replace("01", "00").replace("0af7", "1af7");
        let json = format!("\"{other}\"");
        let extension = [("traceparent", Content::Json(&json)), ("tracestate", Content::Text("b=2"))];
        let both = event(&[("traceparent", EXAMPLE), ("tracestate", "a=1")], &extension);
        let found = TraceContext::of(&both).unwrap();
        assert_eq!((found.traceparent, found.tracestate), (EXAMPLE, Some("a=1")));
        for headers in [&[][..], &[("traceparent", "nonsense"), ("tracestate", "a=1")]] {
            let extended = event(headers, &extension);
            let found = TraceContext::of(&extended).unwrap();
            assert_eq!((found.traceparent, found.tracestate), (other.as_str(), Some("b=2")));
        }
        assert_eq!(TraceContext::of(&event(&[], &[("traceparent", Content::Json("17"))])), None);
        let unsendable = event(&[("traceparent", EXAMPLE), ("tracestate", "a=1\r\nx: y")], &[]);
        assert_eq!(TraceContext::of(&unsendable).unwrap().tracestate, None);
        let later = |end: &str| format!("cc{}-{end}", EXAMPLE.get(2..).unwrap());
        for (end, sendable) in [("more", true), ("a\r\nx: y", false), ("\u{e9}", false), (&"x".repeat(5_000), false)] {
            let event = event(&[("traceparent", later(end).as_str())], &[]);
            assert_eq!(TraceContext::of(&event).is_some(), sendable, "{end}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1_u128.., span_id in 1_u64.., flags: u8) {
            let parent = TraceParent { trace_id, span_id, flags };
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}") {
            let name = Arc::<str>::from(text.as_str());
            prop_assert!(TraceParent::parse(&name).is_none_or(|parent| parent.trace_id != 0));
        }
    }
}
