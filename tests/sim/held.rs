//! What is known of holds: whoever knows that a destination is held sends it nothing, and the dead letters of one that
//! refuses too much stay within its budget.

use std::collections::{HashMap, HashSet};

/// Time in which a request may still come that was on its way when the hold began.
const GRACE_NS: u64 = 50_000_000;

/// Dead letters are counted for a little less than the window of the budget, which slides by tenths.
const WINDOW_NS: u64 = 260_000_000_000;

/// What each replica knows of each destination.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<(u32, usize), Known>);

#[derive(Debug, Default)]
struct Known {
    /// It is held, since when.
    since_ns: Option<u64>,
    outcomes: u32,
    /// The deliveries that were sent to it since it was last resumed: what was refused before and is written only now
    /// counts no more.
    sent: HashSet<String>,
    /// The deliveries that it refused for good since it was last resumed, and when. One may be written twice, if Kafka
    /// did not answer the first time; it was refused once.
    refused_ns: HashMap<String, u64>,
}

impl Held {
    fn known(&mut self, replica: u32, destination: usize) -> &mut Known {
        self.0.entry((replica, destination)).or_default()
    }

    /// A replica has learned that a destination is held, or resumed.
    pub(crate) fn learned(&mut self, now_ns: u64, replica: u32, destination: usize, held: bool) {
        let known = self.known(replica, destination);
        if held {
            known.since_ns.get_or_insert(now_ns);
        } else {
            // What was on its way in the beginning may end only now, and counts then.
            *known = Known { outcomes: known.outcomes, ..Known::default() };
        }
    }

    /// A request comes in: since when that must not be.
    pub(crate) fn requested(&mut self, now_ns: u64, replica: u32, destination: usize, delivery: &str) -> Option<u64> {
        let known = self.known(replica, destination);
        known.outcomes += 1;
        known.sent.insert(delivery.to_owned());
        known.since_ns.filter(|since| now_ns > since + GRACE_NS)
    }

    /// A connection was refused or has ended, by which an attempt may have failed that never came here.
    pub(crate) fn unnoticed(&mut self, replica: u32, destination: usize) {
        self.known(replica, destination).outcomes += 1;
    }

    /// A replica wrote a dead letter of what a destination refuses: whether that is more than `(max, percent)` allow.
    pub(crate) fn refused(
        &mut self,
        now_ns: u64,
        replica: u32,
        destination: usize,
        delivery: &str,
        budget: (u32, u32),
    ) -> Option<String> {
        let known = self.known(replica, destination);
        if known.sent.contains(delivery) {
            known.refused_ns.insert(delivery.to_owned(), now_ns);
        }
        let recent = known.refused_ns.values().filter(|at| **at + WINDOW_NS > now_ns).count();
        let most = budget.0.max(known.outcomes * budget.1 / 100);
        (recent > usize::try_from(most).unwrap())
            .then(|| format!("replica {replica} gave up {recent} events of d{destination}, whose budget allows {most}"))
    }
}
