//! Step 5 of 7: deliver. Did they take it?
//!
//! Enters: a [`Job`], one attempt of a delivery that waits for its destination. Leaves: a
//! [`Report`], handed to the job: what the destination answered and what that means.
//! Can fail: everything between here and there; each way has a code `DELIVER_*` and a class. Never happens here: a
//! second attempt (the step `settle` decides about it), a redirect, an answer of more than 64 KiB in memory, a request
//! while gate, breaker, rate limit or fence forbid it.
//!
//! An answer means what the first fitting entry of `responses` says, else what the status table says: see [`judge()`].
//! Entries see the body with its content coding undone, up to 64 KiB; of a longer one they see the beginning, as text.

mod attempt;
mod coalesce;
mod content;
mod dispatcher;
mod error;
mod evacuate;
mod flight;
mod flights;
mod judge;
mod precise;
mod run;
mod wait;

#[cfg(test)]
mod tests;

pub use coalesce::before_park;
pub use dispatcher::Dispatcher;
pub use error::Error;
pub use judge::{By, Outcome, Verdict, judge};
pub use precise::serve as serve_precise_timer;

use crate::model::clock::Monotonic;
use crate::model::outcome::Report;
use crate::model::request::Request;
use crate::model::text::ShowText;

/// One attempt of a delivery, as its lane hands it over. It holds no rendered request while it waits.
pub trait Job: 'static {
    /// Renders the request into `request`, which is empty, now that it is its turn. `show` reveals the connection's fixed
    /// secrets.
    ///
    /// # Errors
    /// The report of an attempt that cannot be sent: class `Reject`, code `TRANSFORM_*`, `sent: None`.
    // A report is large, but only failures have one.
    #[allow(clippy::result_large_err, reason = "rare, and handed on at once")]
    fn render(&self, show: &dyn ShowText, request: &mut Request) -> Result<(), Report>;

    /// Its lane gave it up: it is returned without being sent, or dropped while it is in flight.
    fn abandoned(&self) -> bool;

    /// Whether its lane is still a proven member of its group, so that a new request may begin.
    fn may_send(&self, now: Monotonic) -> bool;

    /// Value of the header `Idempotency-Key`.
    fn idempotency_key(&self) -> &str;

    /// The attempt ended. Called exactly once, unless the job was abandoned in flight, or returned.
    fn finished(self, report: Report);

    /// It was not sent, or does not count: another destination has taken the place of the one it was for, or its lane gave
    /// it up.
    fn returned(self);

    /// It goes before those that do not: it came from the destination's queue, where it has waited longer.
    fn goes_first(&self) -> bool {
        false
    }

    /// What it takes up in its lane while it waits; `None` if it must stay where it is, however long that takes.
    fn burden(&self, _now: Monotonic) -> Option<Burden> {
        None
    }

    /// It has waited too long for its destination, or that takes up too much of its lane: its lane is to store it.
    fn evacuated(self)
    where
        Self: Sized,
    {
        self.returned();
    }
}

/// What a waiting job takes up in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burden {
    /// Tells lanes apart.
    pub lane: usize,
    /// Its part of the lane's window, in millionths.
    pub parts: u32,
    /// Deliveries to other destinations have to wait for room in that window.
    pub crowds: bool,
}
