//! The module against a broker: the embedded one, or with `TEST_KAFKA=host:port` a real one. Records are counted.

mod intake;
mod rebalance;
mod support;
mod tools;
