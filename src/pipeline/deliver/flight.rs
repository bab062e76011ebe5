//! Flight: a job with a slot, and what is remembered of it until it lands.

use super::attempt::{Exchange, Tried};
use super::dispatcher::Waiting;
use crate::destinations::dial;
use crate::destinations::pool::Dialled;
use crate::destinations::stream::Wire;
use crate::model::clock::{Monotonic, WallMs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What a flight does.
pub(super) enum Work<'a> {
    Dials(Pin<Box<dyn Future<Output = Result<Dialled, dial::Error>> + 'a>>),
    Sends(Exchange<'a>),
}

/// What it came to.
#[allow(clippy::large_enum_variant, reason = "the large one is the common one")]
pub(super) enum Ended {
    Dialled(Result<Dialled, dial::Error>),
    Answered(Tried),
}

/// A job with a slot: its connection is being dialled, or its request is on its way.
pub(super) struct Flight<'a, J> {
    /// Taken when it lands.
    pub(super) job: Option<J>,
    pub(super) work: Work<'a>,
    pub(super) wire: Rc<Wire>,
    pub(super) log: Log,
}

/// What is to be remembered of a flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    pub(super) began: Monotonic,
    pub(super) sent: WallMs,
    pub(super) deadline: Monotonic,
    /// Its turn when it waited.
    pub(super) turn: u64,
    /// When it was first seen waiting.
    pub(super) since: Option<Monotonic>,
    /// Connections dialled for it, this one included.
    pub(super) dials: u8,
    /// Spent on dialling before it began.
    pub(super) spent: Duration,
    /// It is the breaker's probe.
    pub(super) probe: bool,
    /// It dials; else it sends.
    pub(super) dialling: bool,
    /// It is sent once more with another token.
    pub(super) renewed: bool,
    /// The token it is sent with.
    pub(super) token: Option<u64>,
}

impl Log {
    /// Its job as it goes back into the line, at its turn.
    pub(super) fn again<J>(&self, job: J) -> Waiting<J> {
        Waiting { renewed: self.renewed, since: self.since, ..Waiting::new(job, self.turn) }
    }
}

/// Nothing in it is pinned but a dial, which is in a box.
impl<J> Unpin for Flight<'_, J> {}

impl<J> Future for Flight<'_, J> {
    type Output = Option<(J, Ended, Log)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let ended = match &mut this.work {
            Work::Dials(dial) => Ended::Dialled(ready!(dial.as_mut().poll(cx))),
            Work::Sends(exchange) => Ended::Answered(ready!(exchange.poll(cx))),
        };
        Poll::Ready(this.job.take().map(|job| (job, ended, this.log)))
    }
}
