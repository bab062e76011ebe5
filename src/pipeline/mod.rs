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
//!
//! # Where the time of an event goes
//!
//! CPU time of the process per event of 1 KiB (12 partitions of a real Kafka, backlog drained, one rule, a JSON body, one
//! destination on the loopback with 64 requests at a time; perf, on two busy cores, so that only the proportions hold;
//! "before" had hyper and the C library's allocator, "after" has hyper still):
//!
//! | what | before | after |
//! |---|---|---|
//! | kernel, for one `writev` and one `recvfrom`, the receiver's half of the loopback included | 9.1 µs | 8.6 µs |
//! | deliver: line, limits, exchange | 6.1 µs | 3.4 µs |
//! | allocator | 2.8 µs | 1.2 µs |
//! | copies: the payload once, else what is moved from place to place | 1.8 µs | 1.6 µs |
//! | decode | 1.3 µs | 1.1 µs |
//! | matching | 0.8 µs | 0.8 µs |
//! | transform | 0.4 µs | 0.5 µs |
//! | consume, within the worker | 0.8 µs | 0.5 µs |
//! | threads of Kafka's client | 1.3 µs | 0.6 µs |
//! | settle, commit, lane | 0.9 µs | 0.5 µs |
//! | runtime and clocks | 1.1 µs | 1.0 µs |
//! | all, with what is too small to name | 28.2 µs | 20.2 µs |
//!
//! What that taught: events that wait long before their turn are cold when it comes, so lanes read no further ahead than
//! a line that moves needs ([`deliver::Dispatcher::is_ample`]); what walks over a whole line costs a cache miss per job;
//! the way of an event asks for memory a few times only (`tests/allocations.rs` counts). Per event there is no wake of
//! another thread, a twentieth of an `epoll_wait`, and no lock.

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
