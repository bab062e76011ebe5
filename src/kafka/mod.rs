//! Kafka: settings, intake, commits, producer, topics, the embedded broker.
//!
//! An [`Intake`] owns a consumer and the one thread that polls it. It hands partitions to an [`Owner`], each with an
//! epoch and a [`Queue`] of its own, takes offsets to commit from any thread, and saves those that belong to the epoch.
//! A [`Producer`] reports a record as written when Kafka has it. [`Admin`] makes and checks topics. [`Embedded`] is a broker
//! in memory for `dev` and tests; [`Reader`] reads single records and whole topics for the tools, [`Ends`]
//! asks where many partitions end. [`Core`], [`Log`] and
//! [`Sink`] are what an intake, a queue and a producer are without Kafka's client.
//!
//! Never here: what a record means; when an offset is complete; a promise kept by luck: everything that the user's
//! properties could break is refused.

mod callbacks;
mod client;
mod commit;
mod committer;
mod core;
mod embedded;
mod ends;
mod error;
mod group;
mod identity;
mod intake;
mod keyed;
mod logging;
mod membership;
mod partition;
mod ping;
mod poller;
mod producer;
mod read;
mod seed;
mod start;
mod state;
mod statistics;
mod table;
#[cfg(test)]
mod tests;
mod topics;
mod turns;
mod writing;

pub use self::core::{Answered, Committer, Core, Due, Released};
pub use client::{ClientSettings, GroupProtocol, reveal};
pub use embedded::{Embedded, is_embedded};
pub use ends::Ends;
pub use error::Error;
pub use group::{Group, Phase};
pub use intake::{Allowed, Intake, IntakeOptions, Partitions, Pending, Restart, Room};
pub use membership::Membership;
pub use partition::{Assigned, Commit, Life, Log, METADATA_MAX, Owner, Queue, QueueError, TopicPartition};
pub use ping::ping;
pub use producer::{Producer, SendError, Sink};
pub use read::{From, Lag, Lags, Reader, groups};
pub use seed::{Origin, seed};
pub use start::{OnMissing, Start};
pub use state::{IntakeState, PartitionState};
pub use statistics::client_version;
pub use table::{Answer, Item, Stored};
pub use topics::{Admin, Less, TopicInfo, TopicSpec, TopicState, Watermarks};
