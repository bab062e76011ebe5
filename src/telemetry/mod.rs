//! Names and shapes of everything the program says about itself: figures, metrics, state, log lines.
//!
//! One function per fact, so that a fact has one name in logs, metrics and traces. Nothing here decides anything.

pub mod burst;
pub mod figures;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod report;
pub mod spans;
pub mod state;
