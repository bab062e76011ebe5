//! Names and shapes of everything the program says about itself: counters, log lines, trace records.
//!
//! One function per fact, so that a fact has one name in logs, counters and traces. Nothing here decides anything.

pub mod counters;
pub mod log;
pub mod otlp;
pub mod spans;
