//! Integration tests: the program as people run it, between a Kafka and an HTTP API that the tests script.
//!
//! Without a server they run against librdkafka's mock cluster; with `TEST_KAFKA=host:port` (see `scripts/kafka.sh`)
//! the same tests run against a real Kafka, with more events, and so do those that need one. `TEST_PYTHON` names a
//! Python that has the packages of `foreign/requirements.txt`. Each test has topics and groups of its own, so that
//! any number of them may share a Kafka.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stderr,
    reason = "tests fail by panicking, count small numbers, and say on stderr what they skipped"
)]

mod bad_input;
mod certificates;
mod deployments;
mod eval;
mod examples;
mod eyes;
mod filters;
mod foreign;
mod hand_offs;
mod holds;
mod idle_queues;
mod import;
mod isolation;
mod kill;
mod loss;
mod metrics;
mod missing;
mod online;
mod ordering;
mod queues;
mod rate;
mod redrive;
mod reload;
mod replay;
mod scenarios;
mod secrets;
mod story;
mod support;
mod telemetry;
mod tokens;
mod undecided;
mod vendors;
