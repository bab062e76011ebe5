//! What keeps its order, what happens to a sequence whose head fails for good, and how replicas share a rate.

use std::fmt;

/// Which deliveries of a target follow each other (delivery.md "Ordering").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ordering {
    /// None: each goes as soon as it can.
    #[default]
    None,
    /// Those with the same key, which must lie in one partition.
    Key {
        /// A definite path into the event; without one the CloudEvents attribute `partitionkey`, else the Kafka key.
        path: Option<String>,
    },
    /// Those of a partition.
    Partition,
}

impl Ordering {
    /// Some deliveries wait for others.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::None => false,
            Self::Key { .. } | Self::Partition => true,
        }
    }
}

/// As written.
impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Key { path: None } => f.write_str("key"),
            Self::Key { path: Some(path) } => write!(f, "{{key: {path}}}"),
            Self::Partition => f.write_str("partition"),
        }
    }
}

/// What becomes of a delivery in order that has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// It is a dead letter, and the next of its sequence goes on.
    #[default]
    DeadLetter,
    /// Its sequence waits until its destination is resumed.
    Hold,
}

impl OnExhausted {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Hold => "hold",
        }
    }
}

/// How the replicas share a destination's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// One replica sends for all: exactly the limit. The events go through the destination's queue.
    Exact,
    /// Each has its share by slots.
    #[default]
    Shared,
}
