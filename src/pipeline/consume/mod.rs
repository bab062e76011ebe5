//! Step 1 of 7: consume. A partition's queue goes in, records come out, as many as the window has room for.
//!
//! A record that is to be skipped because the commit's map says it is done is counted and completes at once. What can
//! fail: the queue (the committed offset is gone, the broker is away), which is reported and never ends the lane.
//! Nothing is decoded here, and no record is taken that the window has no room for.

use crate::kafka::{Queue, QueueError};
use crate::model::record::Record;

/// Records taken in one go, so that a lane with a backlog does not starve its neighbours on the same worker.
pub const BATCH: usize = 64;

/// Why there is no record.
#[derive(Debug)]
pub enum Nothing {
    /// There is none now; the queue wakes the lane when one comes.
    Empty,
    /// There may be some, but the window is full; a settlement wakes the lane.
    Full,
    /// The queue failed.
    Failed(QueueError),
}

/// Takes the next record, if there is one and the window `has_room` for it.
///
/// # Errors
/// Why not, and what to wait for.
pub fn next(queue: &mut Queue, has_room: bool) -> Result<Record, Nothing> {
    if !has_room {
        queue.shed();
        return Err(Nothing::Full);
    }
    match queue.poll() {
        None => Err(Nothing::Empty),
        Some(Ok(record)) => Ok(record),
        Some(Err(error)) => Err(Nothing::Failed(error)),
    }
}
