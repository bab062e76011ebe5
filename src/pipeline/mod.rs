//! The way of an event, from a Kafka partition to an API and back to the offset.
//!
//! ```text
//! consume → decode → matching → transform → deliver → settle → commit
//! ```
//!
//! Each step is a folder whose head says what enters, what leaves, what can fail and what never happens there. No step
//! knows another: [`lane`] and [`stored_lane`] call them in order for one partition, [`supervisor`] makes and drains
//! lanes, [`worker`] is the thread they live on, [`slots`] says what of the group's common things is ours, and
//! [`snapshot`] is what they all read.

pub mod changes;
pub mod commit;
pub mod consume;
pub mod decode;
pub mod deliver;
pub mod delivery;
pub mod depths;
pub mod eval;
pub mod explain;
pub mod filled;
pub mod flow;
pub mod handing;
pub mod holds;
pub mod in_order;
pub mod lane;
pub mod matching;
pub mod ordered;
pub mod queues;
pub mod rule_tests;
pub mod sequences;
pub mod settle;
pub mod slots;
pub mod snapshot;
pub mod spans;
pub mod stored_lane;
pub mod supervisor;
pub mod ticket;
pub mod topics;
pub mod transform;
pub mod worker;
