//! Tidegate gets events out of Kafka and into other people's APIs, and loses none.
//!
//! # The way of an event
//!
//! ```text
//! Kafka partition ─ consume ─ decode ─ matching ─┬─ transform ─ deliver ─ settle ─ commit ─ offset
//!   (kafka::Intake)          one lane per        │   once per target, when        │
//!                            partition and epoch └── its turn to be sent comes    ├─ retry tier ── stored lane ─┐
//!                                                                                 └─ dead-letter topic          │
//!                                         the same dispatchers ◄────────────────────────────────────────────────┘
//! ```
//!
//! An [`Intake`](kafka::Intake) is a consumer with a thread that polls it; the
//! [`Supervisor`](pipeline::supervisor::Supervisor) makes a lane for each partition that Kafka assigns and drains it when
//! Kafka takes it away. Lanes live on [`workers`](pipeline::worker), one thread per core, and hand deliveries to the
//! dispatcher of their destination on the same thread. What cannot be delivered now is written to a retry tier and read
//! back by whoever owns its [slot](pipeline::slots); what never can goes to a dead-letter topic. Only when Kafka has
//! acknowledged that, or the destination has taken the request, is the offset complete.
//!
//! A target that keeps an order [reads its topics by itself](pipeline::ordered), in a group of its own: its deliveries
//! [wait for each other](pipeline::sequences) in their lane, and nobody else waits for them.
//!
//! # The modules, in the order of the data
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | the nouns; no I/O, no runtime |
//! | [`json`] | reading JSON without parsing it whole |
//! | [`pattern`] | event patterns, compiled |
//! | [`config`] | files and environment become checked settings and resources |
//! | [`telemetry`] | counters and log |
//! | [`kafka`] | intake, commits, producer, topics, the embedded broker |
//! | [`destinations`] | an API destination at run time: rate, gate, breaker, concurrency, connections, credentials |
//! | [`pipeline`] | the seven steps, and the lanes, workers and supervisor that run them |
//! | [`admin`] | health and figures over HTTP |
//! | [`app`] | builds everything, owns the order of shutdown |
//! | [`cli`] | one file per subcommand |
//!
//! Imports go upwards in this table only; `tests/architecture.rs` holds that.
//!
//! # What must always hold
//!
//! - **No loss**: an offset is complete only when every target of its event is delivered, filtered, or written to Kafka
//!   (retry tier, dead letter) with the write acknowledged.
//! - **Contiguity**: the committed offset is never above the lowest incomplete one, and the map in the commit's metadata
//!   never claims an incomplete one.
//! - **Fencing**: what was learned in one epoch of a partition is not applied in another; a replica that cannot prove its
//!   membership starts no request.
//! - **Order**: of a target that keeps one, the next delivery of a sequence starts when the one before has ended durably,
//!   in every epoch.
//! - **Rate**: all replicas together never send more than a limit allows, retries included.
//! - **Bounded memory**: windows have caps under one budget, prefetch is derived from it.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod destinations;
pub mod json;
pub mod kafka;
pub mod model;
pub mod pattern;
pub mod pipeline;
pub mod telemetry;
