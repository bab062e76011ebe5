//! Step 7 of 7: settled records → the offset that Kafka may forget up to, and a map of what is settled above it.
//!
//! Enters: records as they are read, with the number of deliveries that each still owes, and then the deliveries that
//! are done. Leaves: for each partition the next offset to commit and the metadata of that commit. Can fail: nothing;
//! metadata that cannot be trusted is ignored, which costs duplicates. Never: an offset behind which something is
//! still owed, a map that calls such an offset done, a commit of its own (the poll thread commits).

mod map;
mod tracker;

#[cfg(test)]
mod tests;

pub use map::{Fingerprint, MAX_METADATA_CHARS, Scope};
pub use tracker::{CommitState, OffsetTracker};
