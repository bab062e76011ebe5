//! What the process settings mean for Kafka's clients: their properties, and how the memory budget is divided.

use crate::config::settings::{GroupProtocol, Settings};
use crate::kafka::{self, ClientSettings, IntakeOptions, Room};
use crate::model::resources::{OnMissing, Start};
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::ticket::Budget;
use crate::pipeline::topics;
use std::sync::Arc;
use std::time::Duration;

/// The Kafka client's settings, as the process settings want them.
#[must_use]
pub fn client_settings(settings: &Settings) -> ClientSettings {
    let kafka = &settings.kafka;
    let mut properties = kafka::reveal(&kafka.properties);
    let ms = |duration: Duration| duration.as_millis().to_string();
    properties.push(("max.poll.interval.ms".to_owned(), ms(kafka.max_poll_interval)));
    // What is read must also fit into a retry tier or a dead letter, with our headers.
    let max_bytes = settings.delivery.max_event_bytes + topics::HEADER_BYTES;
    properties.push(("message.max.bytes".to_owned(), max_bytes.to_string()));
    // What waits to be written counts in the budget too.
    let waiting_kbytes = (settings.delivery.memory_budget_bytes / 8 / 1024).max(1024);
    properties.push(("queue.buffering.max.kbytes".to_owned(), waiting_kbytes.to_string()));
    if kafka.group_protocol == GroupProtocol::Classic {
        properties.push(("session.timeout.ms".to_owned(), ms(kafka.session_timeout)));
        properties.push(("heartbeat.interval.ms".to_owned(), ms(kafka.heartbeat_interval)));
    }
    ClientSettings {
        brokers: kafka.brokers.clone(),
        brokers_origin: kafka.brokers_origin.clone(),
        properties,
        group_protocol: kafka.group_protocol,
    }
}

/// The memory budget: a quarter for the events in windows, three eighths for what is prefetched, in equal parts for all
/// `intakes`, an eighth for what waits to be written; the rest is for connections, resources and the program itself. Of
/// what is prefetched each partition may hold its queue limit and one record beyond it. Partitions that do not fit take
/// turns, as long as the windows have `room`.
pub(super) fn intake_options(
    settings: &Settings,
    room: &Arc<Budget>,
    intakes: usize,
    start: Start,
    on_missing: OnMissing,
) -> IntakeOptions {
    let delivery = &settings.delivery;
    let queue_bytes = (delivery.memory_budget_bytes / 512).clamp(256 << 10, 4 << 20);
    let per_partition = queue_bytes + delivery.max_event_bytes;
    let part = prefetch_bytes(settings) / u64::try_from(intakes).unwrap_or(u64::MAX).max(1);
    let max_resumed = (part / per_partition).max(1);
    let room = Arc::clone(room);
    IntakeOptions {
        start,
        on_missing,
        commit_interval: delivery.commit_interval,
        instance_id: settings.kafka.instance_id.clone(),
        max_resumed: usize::try_from(max_resumed).unwrap_or(usize::MAX),
        queue_bytes: Some(queue_bytes),
        room: Room::when(move || room.has_room()),
        ..IntakeOptions::default()
    }
}

fn prefetch_bytes(settings: &Settings) -> u64 {
    settings.delivery.memory_budget_bytes / 8 * 3
}

/// Those that share what may be prefetched: of the sources, of the targets that keep an order, of what is stored.
pub(super) fn intake_count(snapshot: &Snapshot) -> usize {
    snapshot.resources.sources.len() + snapshot.ordered().count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Env};

    #[test]
    fn prefetch_fits_into_its_part_of_the_budget_whatever_the_number_of_intakes() {
        let (settings, _) = config::settings::load(&[], &Env::of([]), &[]).unwrap();
        let budget = Arc::new(Budget::new(1));
        for intakes in 1..60 {
            let options = intake_options(&settings, &budget, intakes, Start::Earliest, OnMissing::Earliest);
            let per_partition = options.queue_bytes.unwrap() + settings.delivery.max_event_bytes;
            let all = per_partition * u64::try_from(options.max_resumed * intakes).unwrap();
            assert!(all <= prefetch_bytes(&settings), "{intakes}: {all}");
        }
    }
}
