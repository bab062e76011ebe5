//! Step 6 of 7: the report of an attempt → where the delivery goes next. Where does it end?
//!
//! Enters: a report, what is known of the delivery, its policy, the time. Leaves: a decision ([`decide`]) and the
//! records that carry it out: to a retry tier, to a dead-letter topic, to the topic of traces. Can fail: a dead letter
//! that cannot be redriven. Never: a delivery that is dropped, a record that lacks the original's key, value or headers
//! (but for a dead letter by reference, which names the original), a secret (reports hold none). This is the only step
//! that makes such records; their acknowledgement by Kafka settles the delivery.

mod ledger;
mod policy;
mod records;
mod trace;
mod write;

#[cfg(test)]
mod tests;

pub use ledger::{Done, Mark, OWN_CLAIM, due_tier, replay_record};
pub use policy::{
    Exhausted, History, Next, Room, SICK_IN_MEMORY, Step, decide, in_order, tier_for, tier_step, unknown_target_step,
};
pub use records::{
    RedriveError, dead_letter, dead_letter_by_reference, queue_record, redrive_record, tier_record,
    without_optional_headers,
};
pub use trace::{Attempt, EventTrace, REDRIVEN};
pub use write::{HandOff, Written, write};
