//! What is known of sequences (I4): a delivery of a target that keeps an order is not sent before those before it in its
//! sequence have ended, and whoever owns the partition never goes back within one tenure.

use crate::oracle::Place;
use crate::resources::{Number, Order};
use std::collections::HashMap;

/// A sequence: target, partition in which of its lives, and key.
type Sequence = (Number, i32, u32, Option<u8>);

/// All sequences of a schedule.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    lines: HashMap<Sequence, Vec<String>>,
    /// Of each delivery: its sequence, and where it stands there.
    of: HashMap<String, (Sequence, usize)>,
    /// How often a replica took over a partition for a group.
    tenures: HashMap<(u32, Number, i32), u64>,
    /// The furthest that a tenure has sent of a sequence.
    sent: HashMap<(Sequence, u32), (u64, usize)>,
}

impl Sequences {
    /// A delivery was produced.
    pub(crate) fn produced(&mut self, target: Number, order: Order, key: Option<u8>, place: &Place, id: &str) {
        let key = match (order, key) {
            (Order::Free, _) | (Order::Key | Order::Path, None) => return,
            (Order::Key | Order::Path, key) => key,
            (Order::Partition, _) => None,
        };
        let sequence = (target, place.partition, place.life, key);
        let line = self.lines.entry(sequence).or_default();
        self.of.insert(id.to_owned(), (sequence, line.len()));
        line.push(id.to_owned());
    }

    /// Whether a delivery keeps an order: one without a key follows nobody.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.of.contains_key(id)
    }

    /// A replica reads a partition for a target from now on.
    pub(crate) fn entered(&mut self, replica: u32, target: Number, partition: i32) {
        *self.tenures.entry((replica, target, partition)).or_default() += 1;
    }

    /// A delivery is sent: what must have ended before; or what was sent before though it comes later.
    pub(crate) fn sent(&mut self, replica: u32, id: &str) -> Result<&[String], &str> {
        let Some((sequence, at)) = self.of.get(id) else { return Ok(&[]) };
        let line = &self.lines[sequence];
        let (target, partition, ..) = *sequence;
        let tenure = self.tenures.get(&(replica, target, partition)).copied().unwrap_or_default();
        let furthest = self.sent.entry((*sequence, replica)).or_insert((tenure, *at));
        if furthest.0 == tenure && furthest.1 > *at {
            return Err(&line[furthest.1]);
        }
        *furthest = (tenure, *at);
        Ok(&line[..*at])
    }
}
