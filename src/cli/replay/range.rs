//! Where the records of a span of time stand, and what is said when they do not.
//!
//! Kafka finds the first record of a time or later in each partition. Where producers set the timestamps, these may run
//! out of order; records are therefore chosen by their own timestamps, and looked for up to an hour beyond the span.

use crate::cli::{Exit, Failure};
use crate::kafka::{self, Reader};
use crate::model::clock::WallMs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// How late in its partition a record may stand and is found all the same.
const LATE: Duration = Duration::from_secs(3_600);

/// A span of time; open where nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// From then on.
    pub(super) from: Option<WallMs>,
    /// Before then.
    pub(super) to: Option<WallMs>,
}

/// Parts of the partitions of a topic: partition, first offset, the offset after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Which.
    pub(super) topic: Arc<str>,
    /// Where.
    pub(super) parts: Vec<(i32, i64, i64)>,
}

/// What a topic holds of time: that of the oldest and newest records of its partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Holds {
    oldest: Option<WallMs>,
    newest: Option<WallMs>,
    /// From here on no partition lacks anything, as far as something is known to be gone.
    whole_from: Option<WallMs>,
}

impl Span {
    /// Whether a record of this time belongs to it; one without a time does.
    pub(super) fn has(self, at_ms: Option<i64>) -> bool {
        let Some(at) = at_ms.map(WallMs) else { return true };
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.to) {
            (Some(from), Some(to)) => write!(f, "from {} to {}", from.rfc3339(), to.rfc3339()),
            (Some(from), None) => write!(f, "from {} on", from.rfc3339()),
            (None, Some(to)) => write!(f, "before {}", to.rfc3339()),
            (None, None) => f.write_str("at all"),
        }
    }
}

/// Finds the records of a span in these topics. Fails if there are none, or if what it begins with is gone.
pub(super) fn find(reader: &mut Reader, topics: &[String], span: Span) -> Result<Vec<Ranges>, Failure> {
    let mut found = Vec::new();
    for topic in topics {
        let until = span.to.map(|to| to.plus(LATE));
        let parts = reader.span(topic, span.from, until)?;
        let parts: Vec<_> = parts.into_iter().filter(|(_, from, to)| from < to).collect();
        if let Some(from) = span.from
            && let Some(whole_from) = holds(reader, topic)?.whole_from.filter(|whole_from| *whole_from > from)
        {
            return Err(gone(topic, from, whole_from));
        }
        found.push(Ranges { topic: Arc::from(topic.as_str()), parts });
    }
    if found.iter().all(|ranges| ranges.parts.is_empty()) {
        return Err(empty(reader, topics, span));
    }
    Ok(found)
}

fn gone(topic: &str, from: WallMs, whole_from: WallMs) -> Failure {
    let (from, whole) = (from.rfc3339(), whole_from.rfc3339());
    let message = format!(
        "the range begins at {from}, but what `{topic}` held before {whole} is gone, by its retention\n \
         say --from {whole}, or leave out --from to begin with the oldest there is"
    );
    Failure::new(Exit::No, "REPLAY_GONE", message)
}

/// Nothing stands in the span.
pub(super) fn empty(reader: &mut Reader, topics: &[String], span: Span) -> Failure {
    let mut message = format!("no event stands {span}");
    for topic in topics {
        let line = match holds(reader, topic) {
            Err(error) => format!("`{topic}`: {error}"),
            Ok(Holds { oldest: Some(oldest), newest: Some(newest), .. }) => {
                format!("`{topic}` holds events from {} to {}", oldest.rfc3339(), newest.rfc3339())
            }
            Ok(_) => format!("`{topic}` holds nothing"),
        };
        message.push_str(&format!("\n {line}"));
    }
    Failure::new(Exit::No, "REPLAY_EMPTY", message)
}

fn holds(reader: &mut Reader, topic: &str) -> Result<Holds, kafka::Error> {
    let mut holds = Holds::default();
    for (partition, low, high) in reader.span(topic, None, None)? {
        let first = time(reader, topic, (partition, low, high))?;
        let last = time(reader, topic, (partition, high.saturating_sub(1).max(low), high))?.or(first);
        holds.oldest = [holds.oldest, first].into_iter().flatten().min();
        holds.newest = [holds.newest, first, last].into_iter().flatten().max();
        if low > 0 {
            holds.whole_from = holds.whole_from.max(first);
        }
    }
    Ok(holds)
}

/// The time of the first record of a part.
fn time(reader: &mut Reader, topic: &str, part: (i32, i64, i64)) -> Result<Option<WallMs>, kafka::Error> {
    let mut at = None;
    reader.scan_ranges(topic, &[part], |record| {
        at = record.timestamp_ms.map(WallMs);
        ControlFlow::Break(())
    })?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_half_open() {
        let span = Span { from: Some(WallMs(10)), to: Some(WallMs(20)) };
        assert_eq!([9, 10, 19, 20].map(|ms| span.has(Some(ms))), [false, true, true, false]);
        assert!(span.has(None) && Span { from: None, to: None }.has(Some(0)));
        let said = "from 1970-01-01T00:00:00.010Z to 1970-01-01T00:00:00.020Z";
        assert_eq!(span.to_string(), said);
    }
}
