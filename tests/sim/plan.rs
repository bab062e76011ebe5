//! The plan of a schedule: everything that happens in it, drawn from its seed.

use crate::resources::Version;
use fastrand::Rng;

/// A schedule.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) replicas: u32,
    pub(crate) workers: usize,
    pub(crate) partitions: i32,
    pub(crate) window_records: usize,
    pub(crate) window_bytes: usize,
    pub(crate) commit_map: bool,
    /// Resources, and from when on.
    pub(crate) versions: Vec<(u64, Version)>,
    /// Per destination: until when it behaves how; after the last well.
    pub(crate) behaviours: Vec<Vec<(u64, Behaviour)>>,
    /// Replicas have a `kafka.instance_id`.
    pub(crate) instances: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// The largest record that our own topics take.
    pub(crate) largest_bytes: usize,
    /// Until then no replica finds a destination's queue.
    pub(crate) queues_from_ms: u64,
    /// From here on everything works.
    pub(crate) calm_ms: u64,
}

/// How a destination answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// 200 within so many milliseconds.
    Well(u64),
    /// This status.
    Status(u16),
    /// 429, with or without a wait in seconds.
    Throttle(Option<u32>),
    /// No answer.
    Hang,
    /// Takes the request, does what it says, and closes.
    CloseAfter,
    /// Closes at once.
    CloseBefore,
    /// Closes in the middle of the answer, having done what it says.
    CloseWithin,
    /// No connection.
    Refuse,
    /// Answers something that is no HTTP.
    Garbage,
    /// Half of the requests fail.
    Flap,
}

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    pub(crate) partition: i32,
    pub(crate) kind: u8,
    /// What it follows others by, where a target keeps an order.
    pub(crate) key: Option<u8>,
    /// Offsets left out before it.
    pub(crate) gap: i64,
    pub(crate) pad_bytes: usize,
    /// It is no `CloudEvent`.
    pub(crate) broken: bool,
    /// Every destination refuses it for good.
    pub(crate) poison: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A replica ends without a word and is back after so long.
    Crash { who: u32, down_ms: u64 },
    /// A replica leaves as it should and is back after so long.
    Leave { who: u32, down_ms: u64 },
    /// A replica stands still.
    Freeze { who: u32, ms: u64 },
    /// A replica does not reach Kafka.
    Cut { who: u32, ms: u64 },
    /// A replica does not reach the coordinator of the slots.
    CutSlots { who: u32, ms: u64 },
    /// The clock on a replica's wall is set.
    Step { who: u32, by_ms: i64 },
    /// The groups spread their partitions anew.
    Rebalance,
    /// Writes fail, are slow, or are not acknowledged.
    Writes { ms: u64, percent: u8 },
    /// Kafka refuses what is written to some of our topics.
    Refuse { ms: u64, what: Refused },
    /// Someone holds a destination, or resumes it.
    Hold { destination: usize, holds: bool },
    /// Commits fail, or are not answered.
    Commits { ms: u64, percent: u8 },
    /// Reading fails now and then.
    Reads { ms: u64 },
    /// A partition of the source is deleted and made anew.
    Recreate { partition: i32 },
    /// What is committed in the tiers is deleted.
    Tidy,
}

/// Topics that cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Tiers,
    Queues,
    DeadLetters,
    All,
}

impl Refused {
    /// Whether that topic is among them.
    pub(crate) fn has(self, topic: &str) -> bool {
        match self {
            Self::Tiers => topic.starts_with("tg.retry."),
            Self::Queues => topic.starts_with("tg.queue."),
            Self::DeadLetters => topic == "tg.dlq",
            Self::All => true,
        }
    }
}

impl Plan {
    /// The plan of that seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x7464_7369);
        let rng = &mut rng;
        // Most are short; some leave time for sessions to end.
        let calm_ms = if rng.u8(0..4) == 0 { rng.u64(20_000..45_000) } else { rng.u64(3_000..18_000) };
        let replicas = rng.u32(1..=3);
        let partitions = rng.i32(1..=4);
        // Sometimes all that counts is how fast requests go.
        let scarce = rng.u8(0..6) == 0;
        let (ordered, held, reloaded) = (rng.u8(0..3) == 0, rng.u8(0..3) == 0, rng.u8(0..3) == 0);
        let mut first = Version::first(rng, ordered, held, scarce);
        if reloaded {
            first.come_later(rng);
        }
        let mut versions = vec![(0, first)];
        if reloaded {
            let mut times: Vec<u64> = (0..rng.usize(1..=3)).map(|_| rng.u64(500..calm_ms)).collect();
            times.sort_unstable();
            for at in times {
                let next = versions.last().unwrap().1.change(rng);
                versions.push((at, next));
            }
        }
        versions.last_mut().unwrap().1.end(rng);
        Version::share_rates(&mut versions.iter_mut().map(|(_, version)| version).collect::<Vec<_>>());
        let destinations = versions[0].1.destinations.len();
        let phases = |_| if scarce { Vec::new() } else { phases(rng, calm_ms, held) };
        let behaviours = (0..destinations).map(phases).collect();
        let count = if scarce { rng.usize(40..=80) } else { rng.usize(3..=40) };
        let troubled = rng.u8(0..4) != 0;
        let mut events: Vec<_> = (0..count).map(|_| event(rng, calm_ms, partitions, troubled)).collect();
        events.sort_by_key(|event| event.at_ms);
        if scarce {
            events.iter_mut().for_each(|event| event.at_ms /= 2);
        }
        let faults = if rng.u8(0..8) == 0 { 0 } else { rng.usize(1..=6) };
        let mut faults: Vec<_> = (0..faults).map(|_| fault(rng, calm_ms, replicas, partitions)).collect();
        if held {
            let hold =
                |rng: &mut Rng| Fault::Hold { destination: rng.usize(0..destinations), holds: rng.u8(0..3) != 0 };
            faults.extend((0..rng.usize(0..=3)).map(|_| (rng.u64(500..calm_ms), hold(rng))));
        }
        if ordered {
            // That would be another story: every group loses its place, each at its time.
            faults.retain(|(_, fault)| !matches!(fault, Fault::Recreate { .. }));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            replicas,
            workers: rng.usize(1..=2),
            partitions,
            window_records: if rng.bool() { 4_000 } else { rng.usize(2..20) },
            window_bytes: if rng.bool() { 16 << 20 } else { rng.usize(2_000..20_000) },
            commit_map: rng.u8(0..8) != 0,
            versions,
            behaviours,
            instances: rng.u8(0..4) == 0,
            events,
            faults,
            largest_bytes: if rng.u8(0..5) == 0 { 1_500 } else { 1 << 20 },
            queues_from_ms: if rng.u8(0..3) == 0 { rng.u64(0..calm_ms) } else { 0 },
            calm_ms,
        }
    }

    /// Nothing but destinations and events can make a delivery come twice.
    pub(crate) fn is_smooth(&self) -> bool {
        self.faults.is_empty() && self.versions.len() == 1
    }

    /// The last resources.
    pub(crate) fn last(&self) -> &Version {
        &self.versions.last().unwrap().1
    }

    /// How a destination behaves now.
    pub(crate) fn behaviour(&self, destination: usize, now_ms: u64) -> Behaviour {
        self.behaviours[destination]
            .iter()
            .find(|(until, _)| now_ms < *until)
            .map_or(Behaviour::Well(20), |(_, behaviour)| *behaviour)
    }
}

/// How a destination behaves, until all are well.
fn phases(rng: &mut Rng, calm_ms: u64, held: bool) -> Vec<(u64, Behaviour)> {
    let mut phases = Vec::new();
    let mut until = 0;
    while until < calm_ms {
        until = (until + rng.u64(500..15_000)).min(calm_ms);
        let behaviour = match rng.u8(0..32) {
            0..=12 => Behaviour::Well(rng.u64(1..100)),
            13 => Behaviour::Well(rng.u64(1_000..4_000)),
            14..=16 => Behaviour::Status([500, 502, 503][rng.usize(0..3)]),
            17 if held && rng.bool() => Behaviour::Status(410),
            17 => Behaviour::Status([400, 422][rng.usize(0..2)]),
            18 => Behaviour::Status([301, 302, 307][rng.usize(0..3)]),
            19 => Behaviour::Status([401, 403, 404][rng.usize(0..3)]),
            20 => Behaviour::Status([408, 409, 425][rng.usize(0..3)]),
            21..=22 => Behaviour::Throttle(rng.bool().then(|| rng.u32(1..20))),
            23..=24 => Behaviour::Hang,
            25 => Behaviour::CloseAfter,
            26 => Behaviour::CloseBefore,
            27 => Behaviour::CloseWithin,
            28 => Behaviour::Refuse,
            29 => Behaviour::Garbage,
            _ => Behaviour::Flap,
        };
        phases.push((until, behaviour));
    }
    phases
}

fn event(rng: &mut Rng, calm_ms: u64, partitions: i32, troubled: bool) -> Event {
    Event {
        at_ms: rng.u64(0..calm_ms),
        partition: rng.i32(0..partitions),
        kind: rng.u8(0..4),
        key: Some(rng.u8(0..4)).filter(|key| *key > 0),
        gap: if rng.u8(0..10) == 0 { rng.i64(1..5) } else { 0 },
        pad_bytes: if rng.u8(0..10) == 0 { rng.usize(0..3_000) } else { 10 },
        broken: troubled && rng.u8(0..20) == 0,
        poison: troubled && rng.u8(0..15) == 0,
    }
}

fn fault(rng: &mut Rng, calm_ms: u64, replicas: u32, partitions: i32) -> (u64, Fault) {
    let at = rng.u64(500..calm_ms);
    let who = rng.u32(0..replicas);
    // Also longer than the session of 15 s.
    let ms = rng.u64(200..25_000);
    let fault = match rng.u8(0..20) {
        0..=2 => Fault::Crash { who, down_ms: rng.u64(100..20_000) },
        3 => Fault::CutSlots { who, ms },
        4..=5 => Fault::Leave { who, down_ms: rng.u64(100..20_000) },
        6..=7 => Fault::Freeze { who, ms },
        8..=9 => Fault::Cut { who, ms },
        10 => Fault::CutSlots { who, ms },
        11 => Fault::Step { who, by_ms: rng.i64(-120_000..120_000) },
        12..=13 => Fault::Rebalance,
        14 if rng.bool() => {
            let all = [Refused::Tiers, Refused::Queues, Refused::DeadLetters, Refused::All];
            Fault::Refuse { ms, what: all[rng.usize(0..all.len())] }
        }
        14..=15 => Fault::Writes { ms, percent: rng.u8(10..=100) },
        16 => Fault::Commits { ms, percent: rng.u8(10..=100) },
        17 => Fault::Reads { ms },
        18 => Fault::Recreate { partition: rng.i32(0..partitions) },
        _ => Fault::Tidy,
    };
    (at, fault)
}
