//! The nouns of Tidegate: plain data that every other module speaks of.
//!
//! Nothing here does I/O, starts a task or knows a runtime, a Kafka client or an HTTP library; a type lives
//! here when two or more modules must agree on it.

pub mod clock;
pub mod event;
pub mod fault;
pub mod hold;
pub mod name;
pub mod nearest;
pub mod node;
pub mod outcome;
pub mod record;
pub mod redact;
pub mod request;
pub mod resources;
pub mod stored;
pub mod text;
pub mod trace_context;
pub mod units;
