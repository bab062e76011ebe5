//! What the process settings mean for Kafka's clients: their properties, and how the memory budget is divided.

use crate::config::settings::{DeliverySettings, GroupProtocol, Settings};
use crate::kafka::{self, Allowed, ClientSettings, IntakeOptions, Room};
use crate::model::resources::{OnMissing, Start};
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::ticket::{Budget, WHOLE};
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
    if kafka.group_protocol == GroupProtocol::Classic {
        properties.push(("session.timeout.ms".to_owned(), ms(kafka.session_timeout)));
        properties.push(("heartbeat.interval.ms".to_owned(), ms(kafka.heartbeat_interval)));
    }
    let client = ClientSettings {
        brokers: kafka.brokers.clone(),
        brokers_origin: kafka.brokers_origin.clone(),
        properties,
        group_protocol: kafka.group_protocol,
    };
    Shares::of(&settings.delivery, 0).bound(client)
}

/// Bytes that the program takes when nothing comes; that it takes for each target of a rule, with its destination, its
/// metrics and its line on two workers, when something comes for all of them: measured with 10,000.
const PROGRAM: (u64, u64) = (35 << 20, 14 << 10);

/// The parts of the memory budget that hold events, in bytes. A quarter of it is for the program itself, and more with
/// thousands of targets, but never more than three quarters; of the rest a third is for the windows, half for what is
/// prefetched and a sixth for what waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// What the windows of all lanes may hold.
    pub(super) windows: u64,
    prefetched: u64,
    writing: u64,
}

impl Shares {
    /// Of the whole budget, with so many targets.
    pub(super) fn of(delivery: &DeliverySettings, targets: usize) -> Self {
        let budget = delivery.memory_budget_bytes;
        let (itself, each) = PROGRAM;
        let program = each.saturating_mul(u64::try_from(targets).unwrap_or(u64::MAX)).saturating_add(itself);
        let events = budget - program.clamp(budget / 4, budget / 4 * 3);
        // The client takes no record, not even alone, that is larger than all that it may hold.
        let largest = delivery.max_event_bytes + 2 * topics::HEADER_BYTES;
        Self { windows: events / 3, prefetched: events / 2, writing: (events / 6).max(largest) }
    }

    /// What of the budget holds events that come, in bytes; those that are written have been counted as they came.
    pub(super) fn reading(&self) -> u64 {
        self.windows + self.prefetched
    }

    /// The same client, whose producers hold no more than is for what waits to be written.
    pub(super) fn bound(&self, mut client: ClientSettings) -> ClientSettings {
        let (key, kbytes) = ("queue.buffering.max.kbytes", (self.writing / 1024).max(1024));
        client.properties.retain(|(known, _)| known != key);
        client.properties.push((key.to_owned(), kbytes.to_string()));
        client
    }
}

/// How long a broker waits for records of idle partitions, for each intake, and at most. A partition that is read quickly
/// waits for them now and then: with 512 KiB prefetched, one of twelve that has a backlog while the others are idle was read
/// at 1,900/s with the client's 500 ms, at 43,000 with 20 and at 82,000 with 10. Each request to an idle broker takes some
/// 50 µs of CPU.
const FETCH_WAIT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// What is prefetched is divided equally among all `intakes`; of it each partition may hold its queue limit and one record
/// beyond it. Partitions that do not fit take turns, as long as the windows have `room`.
pub(super) fn intake_options(
    settings: &Settings,
    shares: Shares,
    room: &Arc<Budget>,
    intakes: usize,
    start: Start,
    on_missing: OnMissing,
) -> IntakeOptions {
    let delivery = &settings.delivery;
    let queue_bytes = (delivery.memory_budget_bytes / 512).clamp(256 << 10, 4 << 20);
    let per_partition = queue_bytes + delivery.max_event_bytes;
    let part = shares.prefetched / u64::try_from(intakes).unwrap_or(u64::MAX).max(1);
    let max_resumed = usize::try_from((part / per_partition).max(1)).unwrap_or(usize::MAX);
    let room = Arc::clone(room);
    let allowed = move || Allowed {
        has_room: room.has_room(),
        max_resumed: (max_resumed.saturating_mul(room.allowed()) / WHOLE).max(1),
    };
    let (each, most) = FETCH_WAIT;
    IntakeOptions {
        start,
        on_missing,
        commit_interval: delivery.commit_interval,
        instance_id: settings.kafka.instance_id.clone(),
        max_resumed,
        queue_bytes: Some(queue_bytes),
        fetch_wait: each.saturating_mul(u32::try_from(intakes).unwrap_or(u32::MAX)).clamp(2 * each, most),
        room: Room::told_by(allowed),
        ..IntakeOptions::default()
    }
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
        let shares = Shares::of(&settings.delivery, 0);
        for intakes in 1..60 {
            let options = intake_options(&settings, shares, &budget, intakes, Start::Earliest, OnMissing::Earliest);
            let per_partition = options.queue_bytes.unwrap() + settings.delivery.max_event_bytes;
            let all = per_partition * u64::try_from(options.max_resumed * intakes).unwrap();
            assert!(all <= shares.prefetched, "{intakes}: {all}");
        }
    }

    #[test]
    fn many_intakes_ask_idle_brokers_less_often() {
        let (settings, _) = config::settings::load(&[], &Env::of([]), &[]).unwrap();
        let (budget, shares) = (Arc::new(Budget::new(1)), Shares::of(&settings.delivery, 0));
        let wait = |intakes| {
            intake_options(&settings, shares, &budget, intakes, Start::Earliest, OnMissing::Earliest).fetch_wait
        };
        assert_eq!([2, 5, 60].map(wait).map(|wait| wait.as_millis()), [10, 25, 100]);
    }

    #[test]
    fn what_targets_take_is_left_to_them() {
        const MIB: u64 = 1 << 20;
        let (settings, _) = config::settings::load(&[], &Env::of([]), &[]).unwrap();
        let parts = |targets| {
            let Shares { windows, prefetched, writing } = Shares::of(&settings.delivery, targets);
            [windows, prefetched, writing].map(|bytes| bytes / MIB)
        };
        assert_eq!([parts(0), parts(2_000)], [[64, 96, 32]; 2]);
        assert_eq!(parts(5_000), [50, 76, 25]);
        assert_eq!([parts(20_000), parts(usize::MAX)], [[21, 32, 10]; 2]);
    }

    #[test]
    fn the_largest_event_can_be_written() {
        let (mut settings, _) = config::settings::load(&[], &Env::of([]), &[]).unwrap();
        settings.delivery.max_event_bytes = 100 << 20;
        let client = client_settings(&settings);
        let value = |key| {
            let found = client.properties.iter().rev().find(|(known, _)| known == key).unwrap();
            found.1.parse::<u64>().unwrap()
        };
        assert!(value("queue.buffering.max.kbytes") * 1024 > value("message.max.bytes"));
    }
}
