//! Where the events of a replay come from.

use super::range::{Ranges, Span};
use crate::kafka::{self, Reader};
use crate::model::record::Record;
use std::ops::ControlFlow;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Records that are read before somebody looks at them.
const READ_AHEAD: usize = 64;

/// Where the events come from.
pub(super) enum Records {
    /// Named by their places.
    Named(std::vec::IntoIter<Record>),
    /// Read from Kafka as they are asked for.
    Read {
        /// Those that were read.
        found: mpsc::Receiver<Result<Record, kafka::Error>>,
        /// Who reads them.
        reading: JoinHandle<()>,
        /// How many there are.
        total: usize,
    },
}

impl Records {
    /// Those of a span of time in these ranges, read as they are asked for.
    pub(super) fn read(mut reader: Reader, ranges: Vec<Ranges>, span: Span) -> Self {
        let parts = ranges.iter().flat_map(|ranges| &ranges.parts);
        let total = parts.map(|(_, from, to)| usize::try_from(to - from).unwrap_or(0)).sum();
        let (tell, found) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            for Ranges { topic, parts } in ranges {
                let read = reader.scan_ranges(&topic, &parts, |record| {
                    let told = !span.has(record.timestamp_ms) || tell.blocking_send(Ok(record)).is_ok();
                    if told { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                if let Err(error) = read
                    && tell.blocking_send(Err(error)).is_err()
                {
                    return;
                }
            }
        });
        Self::Read { found, reading, total }
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        match self {
            Self::Named(records) => records.len(),
            Self::Read { total, .. } => *total,
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Result<Option<Record>, kafka::Error> {
        match self {
            Self::Named(records) => Ok(records.next()),
            Self::Read { found, .. } => found.recv().await.transpose(),
        }
    }

    /// Ends reading.
    pub(super) async fn close(self) {
        if let Self::Read { found, reading, .. } = self {
            drop(found);
            if let Err(error) = reading.await {
                tracing::debug!(%error, "reading events ended early");
            }
        }
    }
}
