//! Deliveries in order: which of a lane are under way, which wait for their turn, and which are held because the one at
//! the head of their sequence has failed for good (`on_exhausted: hold`).
//!
//! A hold ends when its destination is resumed, or when the resources say `on_exhausted: dead_letter`. The delivery is then
//! tried as if for the first time. It is kept for all replicas (`pipeline::holds`): whoever gets the partition after a
//! restart or a rebalance holds the sequence without trying it. Only if its replica ends before Kafka has the hold, the
//! next owner tries it until its policy is exhausted, and holds it again; its order is kept all the while.

use crate::model::clock::{Monotonic, WallMs};
use crate::model::hold::SequenceHold;
use crate::model::outcome::Report;
use crate::model::resources::OnExhausted;
use crate::pipeline::delivery::{Delivery, History};
use crate::pipeline::flow::Flow;
use crate::pipeline::sequences::{Key, Sequences};
use crate::telemetry::figures::lane::SequencesHeld;
use std::time::Duration;

/// How often a lane that holds sequences looks whether somebody has resumed their destination.
const LOOK: Duration = Duration::from_millis(500);

/// When a delivery is looked at again whose target a reload has removed or disabled.
const ORPHANED: Duration = Duration::from_secs(1);

/// The sequences of a lane.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    sequences: Sequences<Delivery>,
    held: Vec<Held>,
    look: Option<Monotonic>,
}

/// A delivery at the head of a sequence that has failed for good.
#[derive(Debug)]
struct Held {
    delivery: Delivery,
    since: Monotonic,
    /// How often its destination had been resumed then.
    resumes: u64,
    /// By which it is kept.
    key: String,
    code: String,
    message: String,
}

impl InOrder {
    /// Drops all that waits or is held: the partition is taken away.
    pub(super) fn clear(&mut self) {
        self.sequences.clear();
        drop(std::mem::take(&mut self.held));
        self.look = None;
    }

    /// When something is to be done without being woken.
    pub(super) fn next_timer(&self) -> Option<Monotonic> {
        self.look
    }
}

impl Flow {
    /// Begins a delivery when those before it in its sequence have ended.
    pub fn begin_in_order(&mut self, key: Key, delivery: Delivery) {
        if let Some((mut delivery, turn)) = self.order.sequences.enter(key, delivery) {
            delivery.ticket.take_turn(turn);
            self.begin_head(delivery);
        }
    }

    /// Begins a delivery that is the first of its sequence, unless that is held.
    fn begin_head(&mut self, delivery: Delivery) {
        let now = Monotonic::now();
        let destination = &delivery.target.destination;
        match destination.sequence_held(|| self.sequence_key(&delivery)) {
            Some((_, SequenceHold { code, message, since_ms, .. }))
                if delivery.target.on_exhausted == OnExhausted::Hold =>
            {
                let passed = WallMs::now().since(WallMs(since_ms)).as_nanos();
                let since = Monotonic(now.0.saturating_sub(u64::try_from(passed).unwrap_or(u64::MAX)));
                self.keep_held(delivery, code, message, since);
            }
            Some((key, _)) => {
                destination.release_sequence(key);
                self.begin(delivery, now);
            }
            None => self.begin(delivery, now),
        }
    }

    fn sequence_key(&self, delivery: &Delivery) -> String {
        SequenceHold::key(&self.claim.group, &delivery.event().record.position)
    }

    /// Begins the deliveries whose turn has come.
    pub(super) fn begin_next(&mut self) {
        while let Some((mut delivery, turn)) = self.order.sequences.next_turn() {
            delivery.ticket.take_turn(turn);
            self.begin_head(delivery);
        }
    }

    /// Its target is gone, or disabled. It stays where it is, with what follows it: until its lane is closed, which a reload
    /// does next, for others may still know the target; or until the rule is enabled again.
    pub(super) fn keep_orphan(&mut self, delivery: Delivery) {
        self.retry_at(Monotonic::now().plus(ORPHANED), delivery);
    }

    /// Keeps a delivery that has failed for good, and with it its sequence.
    pub(super) fn hold_sequence(&mut self, delivery: Delivery, report: Report, now: Monotonic) {
        let Report { code, message, .. } = report;
        let destination = &delivery.target.destination;
        let hold = SequenceHold {
            destination: destination.resource().name.to_string(),
            code: code.to_owned(),
            message: message.clone(),
            since_ms: WallMs::now().0,
        };
        destination.hold_sequence(self.sequence_key(&delivery), hold);
        self.keep_held(delivery, code.to_owned(), message, now);
    }

    /// The first delivery of a sequence waits until its destination is resumed.
    fn keep_held(&mut self, delivery: Delivery, code: String, message: String, since: Monotonic) {
        let (key, resumes) = (self.sequence_key(&delivery), delivery.target.destination.resumes());
        let (target, event) = (&delivery.target, delivery.event());
        let behind = delivery.ticket.turn().map_or(0, |turn| self.order.sequences.behind(turn.key()));
        let destination = &target.destination.resource().name;
        if self.order.held.is_empty() {
            tracing::error!(
                event = event.id(), rule = %target.rule, target = %target.name, destination = %destination, code,
                attempts = delivery.history.attempts, origin = %event.record.position, behind,
                "partition held: a sequence waits, for its first delivery has failed for good: {message}; the other \
                 sequences go on as far as the window reaches; mend it, then: tidegate resume {destination}"
            );
        }
        self.order.held.push(Held { delivery, since, resumes, key, code, message });
        self.order.look = Some(Monotonic::now().plus(LOOK));
        self.show_held();
    }

    /// Tries held deliveries again whose destination has been resumed.
    pub(super) fn release_resumed(&mut self) {
        let Some(look) = self.order.look else { return };
        let now = Monotonic::now();
        if now < look {
            return;
        }
        let snapshot = self.context.snapshot.load();
        let is_over = |held: &Held| {
            let target = &held.delivery.target;
            let today = snapshot.today(target);
            target.destination.resumes() != held.resumes
                || today.is_some_and(|today| today.on_exhausted != OnExhausted::Hold)
        };
        let (over, held): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.order.held).into_iter().partition(is_over);
        drop(snapshot);
        self.order.look = (!held.is_empty()).then(|| now.plus(LOOK));
        self.order.held = held;
        if let Some(first) = over.first() {
            let (at, destination) = (&self.claim.at, &first.delivery.target.destination.resource().name);
            let sequences = over.len();
            tracing::info!(topic = %at.topic, partition = at.partition, destination = %destination, sequences, "sequences go on");
        }
        for Held { mut delivery, key, .. } in over {
            delivery.target.destination.release_sequence(key);
            // As if it had never been tried.
            let history = &delivery.history;
            let kept = History { failed: Vec::new(), delivery_id: history.delivery_id.clone(), ..history.clone() };
            delivery.history = History {
                attempts: 0,
                first_attempt: None,
                last_attempt: None,
                attempts_here: 0,
                first_attempt_here: None,
                received: WallMs::now(),
                ..kept
            };
            self.begin(delivery, Monotonic::now());
        }
        self.show_held();
    }

    /// Tells who looks at this lane what is held.
    fn show_held(&self) {
        let held = self.order.held.iter().min_by_key(|held| held.since).map(|first| {
            let behind =
                |held: &Held| held.delivery.ticket.turn().map_or(0, |turn| self.order.sequences.behind(turn.key()));
            let target = &first.delivery.target;
            SequencesHeld {
                since: first.since,
                sequences: self.order.held.len(),
                behind: self.order.held.iter().map(behind).sum(),
                target: format!("{}/{}", target.rule, target.name),
                destination: target.destination.resource().name.to_string(),
                offset: first.delivery.event().record.position.offset,
                code: first.code.clone(),
                message: first.message.clone(),
            }
        });
        self.figures.holds(held);
    }
}
