//! What the tests stand on: a [`Bed`] is one test's world, with a Kafka ([`broker`]), an API that does what the
//! script says ([`api`]), and as many [`replica`]s of the program as the test starts. [`events`] makes what is
//! published.

pub(crate) mod api;
pub(crate) mod bed;
pub(crate) mod broker;
pub(crate) mod collector;
pub(crate) mod command;
pub(crate) mod events;
pub(crate) mod front;
pub(crate) mod lint;
pub(crate) mod replica;
pub(crate) mod rogue;

pub(crate) use api::{Answer, Log};
pub(crate) use bed::Bed;
pub(crate) use broker::Stored;
pub(crate) use collector::Collector;
pub(crate) use replica::Replica;

use std::time::Duration;
use tidegate::model::clock::Monotonic;

/// Looks again and again until `look` finds something, for what cannot wake us (offsets, other processes). `look`
/// says what is missing, and the last such word ends up in the panic.
///
/// # Panics
/// After `limit`.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Monotonic::now().plus(limit);
    loop {
        match look() {
            Ok(found) => return found,
            Err(missing) => {
                assert!(Monotonic::now() < deadline, "{what}: not within {limit:?}: {missing}");
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }
}

/// The address of a real Kafka, if the tests were given one.
pub(crate) fn real_kafka() -> Option<String> {
    std::env::var("TEST_KAFKA").ok().filter(|address| !address.is_empty())
}

/// True, and says so, if this test needs a real Kafka and there is none.
pub(crate) fn lacks_real_kafka(test: &str) -> bool {
    let lacks = real_kafka().is_none();
    if lacks {
        eprintln!("{test}: skipped, needs a real Kafka: scripts/kafka.sh up, then TEST_KAFKA=127.0.0.1:19092");
    }
    lacks
}

/// `many` on a real Kafka, `few` on the mock cluster, which forgets beyond a few megabytes per partition.
pub(crate) fn size(few: usize, many: usize) -> usize {
    if real_kafka().is_some() { many } else { few }
}
