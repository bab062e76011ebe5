//! `Window`: what one partition has taken and not yet settled; `Ticket`: a claim on an offset; `Held`: an event in it.
//!
//! A ticket is settled once, by ownership: settling consumes it. One that is dropped instead (its partition was taken
//! away, or we have a defect) leaves its offset incomplete, and an incomplete offset is never committed: forgetting can
//! cost a duplicate, never a loss (I1). The window is the only writer of the tracker and lives on one thread: no locks.

use crate::model::clock::Monotonic;
use crate::model::event::CloudEvent;
use crate::model::record::Record;
use crate::pipeline::commit::{CommitState, OffsetTracker, Scope};
use crate::pipeline::deliver::Burden;
use crate::pipeline::sequences::Turn;
use crate::telemetry::figures::lane::Position;
use crate::telemetry::spans::EventSpan;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes that the windows of all lanes may hold together (I7).
#[derive(Debug)]
pub struct Budget {
    used_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Of it what may be used now, in [`WHOLE`]ths.
    allowed: AtomicUsize,
    /// Of which this is a part, if it is one.
    whole: Option<Arc<Budget>>,
}

/// Parts in which a budget is allowed.
pub const WHOLE: usize = 1_024;

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { used_bytes: AtomicUsize::new(0), limit_bytes, allowed: AtomicUsize::new(WHOLE), whole: None }
    }

    /// A part of another one, for lanes that may stand still for long: what it holds counts there too, and the rest of
    /// that remains for others.
    #[must_use]
    pub fn part(whole: &Arc<Self>, limit_bytes: usize) -> Self {
        Self { whole: Some(Arc::clone(whole)), ..Self::new(limit_bytes) }
    }

    /// Bytes held now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// Bytes that may be held while the process has memory for them.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Allows so many [`WHOLE`]ths of it from now on, at least one. What is held stays.
    pub fn allow(&self, parts: usize) {
        self.allowed.store(parts.clamp(1, WHOLE), Relaxed);
    }

    /// How many [`WHOLE`]ths of it may be used now.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.allowed.load(Relaxed)
    }

    /// Bytes that may be held now.
    #[must_use]
    pub fn allowed_bytes(&self) -> usize {
        (self.limit_bytes / WHOLE).saturating_mul(self.allowed()) + self.limit_bytes % WHOLE
    }

    /// Whether a record may be taken at all.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used_bytes() < self.allowed_bytes() && self.whole.as_ref().is_none_or(|whole| whole.has_room())
    }

    /// Room for one who holds nothing: a part that others have used up does not keep him waiting, the whole does.
    fn has_room_for_first(&self) -> bool {
        self.whole.as_deref().unwrap_or(self).has_room()
    }

    fn take(&self, size_bytes: usize) {
        self.used_bytes.fetch_add(size_bytes, Relaxed);
        if let Some(whole) = &self.whole {
            whole.take(size_bytes);
        }
    }

    fn give_back(&self, size_bytes: usize) {
        self.used_bytes.fetch_sub(size_bytes, Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(size_bytes);
        }
    }
}

/// Caps of one partition's window.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Records between the watermark and the newest one taken.
    pub records: usize,
    /// Bytes of events that are held.
    pub bytes: usize,
}

/// What one partition has taken and not yet settled.
#[derive(Debug)]
pub struct Window {
    /// Which offsets are complete; `None` until the first record, if nobody told where the partition begins.
    tracker: RefCell<Option<OffsetTracker>>,
    caps: Cell<Caps>,
    bytes: Cell<usize>,
    open: Cell<usize>,
    changed: Cell<bool>,
    closing: Cell<bool>,
    /// The destination of the last delivery that began here, and when that last changed.
    last: Cell<usize>,
    mixed: Cell<Option<Monotonic>>,
    budget: Arc<Budget>,
    wake: Arc<Notify>,
}

/// What a delivery takes besides its event: in its line, with its claim and what is known of it. The test `allocations`
/// holds what is counted against what is allocated.
const DELIVERY_BYTES: usize = 640;

/// What the writing of a record takes besides its buffer.
const WRITE_BYTES: usize = 3_072;

/// For how long a window counts as one that several destinations use.
const MIXED: Duration = Duration::from_secs(30);

impl Window {
    /// An empty window over `tracker`. `wake` is notified when it closes and when a claim is dropped; who settles one is
    /// the lane itself.
    #[must_use]
    pub fn new(tracker: Option<OffsetTracker>, caps: Caps, budget: Arc<Budget>, wake: Arc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            tracker: RefCell::new(tracker),
            caps: Cell::new(caps),
            bytes: Cell::new(0),
            open: Cell::new(0),
            changed: Cell::new(false),
            closing: Cell::new(false),
            last: Cell::new(0),
            mixed: Cell::new(None),
            budget,
            wake,
        })
    }

    /// Whether another record may be taken. A window that holds nothing has room if the budget has any, so that a record
    /// larger than the cap is admitted alone.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let held = self.bytes.get();
        let fits = if held == 0 {
            self.budget.has_room_for_first()
        } else {
            held < self.caps.get().bytes && self.budget.has_room()
        };
        fits && self.records() < self.caps.get().records
    }

    /// Whether all windows together hold less than they may.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.budget.has_room()
    }

    /// Other caps from now on.
    pub fn set_caps(&self, caps: Caps) {
        self.caps.set(caps);
    }

    /// Whether less than half of it is in use; only then are retries kept in memory (delivery.md).
    #[must_use]
    pub fn is_relaxed(&self) -> bool {
        self.records() < self.caps.get().records / 2 && self.bytes.get() < self.caps.get().bytes / 2
    }

    /// Records between the watermark and the newest one taken.
    #[must_use]
    pub fn records(&self) -> usize {
        self.tracker.borrow().as_ref().map_or(0, OffsetTracker::window_records)
    }

    /// Whether the map of the commit we began at says that this record is done. To be asked for every record in turn.
    #[must_use]
    pub fn already_done(&self, record: &Record) -> bool {
        self.tracker.borrow_mut().as_mut().is_some_and(|tracker| tracker.already_done(record))
    }

    /// What the next commit shall say; `None` while nothing is known.
    #[must_use]
    pub fn commit_state(&self, scope: &Scope<'_>) -> Option<CommitState> {
        self.tracker.borrow().as_ref().map(|tracker| tracker.commit_state(scope))
    }

    /// Takes a record into the window with that many claims on its offset, and gives the claims. None at all completes
    /// it. A record that Kafka hands us twice gets no claims the second time: the first ones still stand.
    pub fn admit(self: &Rc<Self>, record: &Record, claims: usize) -> impl Iterator<Item = Ticket> + use<> {
        let offset = record.position.offset;
        let owed = u32::try_from(claims).unwrap_or(u32::MAX);
        let taken = {
            let mut tracker = self.tracker.borrow_mut();
            tracker.get_or_insert_with(|| OffsetTracker::new(offset)).admit(record, owed)
        };
        let claims = if taken { claims } else { 0 };
        self.changed.set(true);
        self.open.set(self.open.get() + claims);
        let window = Rc::clone(self);
        (0..claims).map(move |_| Ticket { window: Rc::clone(&window), offset, settled: false, turn: None })
    }

    /// Puts an event of so many deliveries into the window, with its span if it is sampled; it counts there until the last
    /// of them lets go of it.
    #[must_use]
    pub fn hold(self: &Rc<Self>, event: CloudEvent, deliveries: usize, span: Option<EventSpan>) -> Rc<Held> {
        let size_bytes = event.record.buffer_bytes() + size_of::<Held>() + deliveries.saturating_mul(DELIVERY_BYTES);
        Rc::new(Held { event, span, deliveries, room: self.take(size_bytes) })
    }

    /// Takes room until the result is dropped, for a copy of a record that is being written.
    #[must_use]
    pub fn reserve(self: &Rc<Self>, record: &Record) -> Room {
        self.take(record.buffer_bytes() + WRITE_BYTES)
    }

    fn take(self: &Rc<Self>, size_bytes: usize) -> Room {
        self.bytes.set(self.bytes.get() + size_bytes);
        self.budget.take(size_bytes);
        Room { size_bytes, window: Rc::clone(self) }
    }

    /// A delivery to this destination begins, named by a number of its own.
    pub fn serves(&self, destination: usize, now: Monotonic) {
        let last = self.last.replace(destination);
        if last != destination && last != 0 {
            self.mixed.set(Some(now));
        }
    }

    /// What an event of that size takes up of it.
    #[must_use]
    pub fn burden(self: &Rc<Self>, size_bytes: usize, now: Monotonic) -> Burden {
        let part = |of: usize, all: usize| u32::try_from(of.saturating_mul(1_000_000) / all.max(1)).unwrap_or(u32::MAX);
        let mixed = self.mixed.get().is_some_and(|at| now.since(at) < MIXED);
        Burden {
            lane: Rc::as_ptr(self).addr(),
            parts: part(1, self.caps.get().records).max(part(size_bytes, self.caps.get().bytes)),
            crowds: mixed && !self.is_relaxed(),
        }
    }

    /// What it looks like, for who watches.
    #[must_use]
    pub fn stands(&self) -> Position {
        Position {
            watermark: self.tracker.borrow().as_ref().map(OffsetTracker::watermark),
            window_records: self.records(),
            window_bytes: self.bytes(),
            open: self.open(),
            full: !self.has_room(),
        }
    }

    /// Claims that are neither settled nor dropped.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Bytes of events held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether something completed or was taken since the last call.
    pub fn take_changed(&self) -> bool {
        self.changed.replace(false)
    }

    /// Whether something completed or was taken since [`Self::take_changed`].
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed.get()
    }

    /// The partition is being taken away: nothing new is sent.
    pub fn close(&self) {
        self.closing.set(true);
        self.wake.notify_one();
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }
}

/// A record's claim on its offset for one target.
#[derive(Debug)]
pub struct Ticket {
    window: Rc<Window>,
    offset: i64,
    settled: bool,
    /// Its delivery is under way in a sequence, whose next one starts when this is settled.
    turn: Option<Turn>,
}

impl Ticket {
    /// The delivery ended durably. The offset completes with its last claim.
    pub fn settle(mut self) {
        self.settled = true;
        if let Some(tracker) = self.window.tracker.borrow_mut().as_mut() {
            tracker.complete_one(self.offset);
        }
        self.window.changed.set(true);
        if let Some(turn) = self.turn.take() {
            turn.end();
        }
    }

    /// Its delivery is under way in a sequence from now on.
    pub fn take_turn(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// The turn of its delivery, if that is under way in a sequence.
    #[must_use]
    pub fn turn(&self) -> Option<&Turn> {
        self.turn.as_ref()
    }

    /// The window it belongs to.
    #[must_use]
    pub fn window(&self) -> &Rc<Window> {
        &self.window
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.window.open.set(self.window.open.get().saturating_sub(1));
        if self.settled {
            // That was the lane itself, which looks for more work before it sleeps.
            return;
        }
        if !self.window.is_closing() {
            tracing::error!(offset = self.offset, "a delivery was dropped unsettled; its offset stays uncommitted");
        }
        self.window.wake.notify_one();
    }
}

/// An event in a window.
#[derive(Debug)]
pub struct Held {
    /// The event.
    pub event: CloudEvent,
    /// How many deliveries held it in the beginning.
    pub deliveries: usize,
    /// Its span, if it is sampled; it ends with this.
    pub span: Option<EventSpan>,
    room: Room,
}

impl Held {
    /// What it and its deliveries count for.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.room.size_bytes
    }
}

/// Bytes taken in a window and in the budget.
#[derive(Debug)]
pub struct Room {
    size_bytes: usize,
    window: Rc<Window>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.window.bytes.set(self.window.bytes.get().saturating_sub(self.size_bytes));
        self.window.budget.give_back(self.size_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Builder, Form};
    use crate::model::record::Position;

    const SCOPE: Scope<'_> = Scope { group: "g", topic: "t", partition: 0 };

    fn record(offset: i64, size_bytes: usize) -> Record {
        let position = Position { topic: Arc::from("t"), partition: 0, offset };
        Record::new(position, None, None, Some(&vec![b'x'; size_bytes]), std::iter::empty())
    }

    fn event(record: Record) -> CloudEvent {
        let parts = Builder::new(&record, Form::Wrapped, "id", "/s", "t").finish();
        CloudEvent::new(record, parts)
    }

    fn window(caps: Caps, budget: usize) -> Rc<Window> {
        let tracker = OffsetTracker::new(0);
        Window::new(Some(tracker), caps, Arc::new(Budget::new(budget)), Arc::new(Notify::new()))
    }

    fn committed(window: &Window) -> i64 {
        window.commit_state(&SCOPE).unwrap().next_offset
    }

    #[test]
    fn an_offset_completes_with_its_last_claim() {
        let window = window(Caps { records: 10, bytes: 1_000_000 }, 1_000_000);
        let mut claims = window.admit(&record(0, 1), 2);
        let (a, b) = (claims.next().unwrap(), claims.next().unwrap());
        assert!(claims.next().is_none());
        window.admit(&record(1, 1), 0).for_each(drop);
        a.settle();
        assert_eq!((committed(&window), window.open()), (0, 1));
        b.settle();
        assert_eq!((committed(&window), window.open()), (2, 0));
    }

    #[test]
    fn a_dropped_claim_keeps_its_offset_incomplete() {
        let window = window(Caps { records: 10, bytes: 1_000_000 }, 1_000_000);
        window.admit(&record(0, 1), 1).for_each(Ticket::settle);
        let lost = window.admit(&record(1, 1), 1).next();
        window.admit(&record(2, 1), 1).for_each(Ticket::settle);
        window.close();
        drop(lost);
        assert_eq!((committed(&window), window.open()), (1, 0));
    }

    #[test]
    fn a_record_that_comes_twice_makes_no_new_claims() {
        let window = window(Caps { records: 10, bytes: 1_000_000 }, 1_000_000);
        let first = window.admit(&record(0, 1), 1).next().unwrap();
        assert!(window.admit(&record(0, 1), 1).next().is_none());
        first.settle();
        assert_eq!((committed(&window), window.open()), (1, 0));
    }

    #[test]
    fn caps_stop_taking_and_settling_makes_room() {
        let window = window(Caps { records: 2, bytes: 1_000_000 }, 1_000_000);
        let first = window.admit(&record(0, 1), 1).next().unwrap();
        assert!(window.has_room() && !window.is_relaxed());
        let second = window.admit(&record(1, 1), 1).next().unwrap();
        assert!(!window.has_room());
        // Done above the head makes no room: what has been read beyond the watermark is what may come again.
        second.settle();
        assert!(!window.has_room());
        first.settle();
        assert!(window.has_room() && window.is_relaxed());
    }

    #[test]
    fn an_event_larger_than_all_caps_is_admitted_alone() {
        let window = window(Caps { records: 100, bytes: 100 }, 50);
        assert!(window.has_room());
        let large = window.hold(event(record(0, 10_000)), 1, None);
        assert!(!window.has_room());
        assert!(window.bytes() >= 10_000);
        drop(large);
        assert!(window.has_room());
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn the_budget_holds_over_all_windows() {
        let budget = Arc::new(Budget::new(5_000));
        let new = || {
            let caps = Caps { records: 100, bytes: 1_000_000 };
            Window::new(None, caps, Arc::clone(&budget), Arc::new(Notify::new()))
        };
        let (one, two) = (new(), new());
        let small = two.hold(event(record(0, 1)), 1, None);
        let held = one.hold(event(record(0, 10_000)), 1, None);
        assert!(!two.has_room(), "the other window has used up what there is for all");
        drop(held);
        assert!(two.has_room());
        drop(small);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn what_is_not_allowed_is_not_taken_and_a_record_alone_is() {
        let budget = Arc::new(Budget::new(64 << 10));
        let caps = Caps { records: 100, bytes: 1_000_000 };
        let window = Window::new(None, caps, Arc::clone(&budget), Arc::new(Notify::new()));
        budget.allow(0);
        assert!(window.has_room(), "nothing is held");
        let held = window.hold(event(record(0, 100)), 1, None);
        assert!(!window.has_room());
        budget.allow(WHOLE / 2);
        assert!(window.has_room());
        assert_eq!(budget.allowed_bytes(), 32 << 10);
        budget.allow(WHOLE + 1);
        assert_eq!(budget.allowed_bytes(), budget.limit_bytes());
        drop(held);
    }

    #[test]
    fn a_part_of_the_budget_leaves_the_rest_to_others() {
        let whole = Arc::new(Budget::new(50_000));
        let part = Arc::new(Budget::part(&whole, 5_000));
        let new = |budget: &Arc<Budget>| {
            let caps = Caps { records: 100, bytes: 1_000_000 };
            Window::new(None, caps, Arc::clone(budget), Arc::new(Notify::new()))
        };
        let (stuck, other) = (new(&part), new(&whole));
        let held = [stuck.hold(event(record(0, 5_000)), 1, None), other.hold(event(record(0, 5_000)), 1, None)];
        assert!(!stuck.has_room() && other.has_room());
        assert!(whole.used_bytes() > part.used_bytes() && part.used_bytes() >= 5_000);
        let large = other.hold(event(record(1, 50_000)), 1, None);
        assert!(!other.has_room(), "the part counts in the whole");
        drop((held, large));
        assert_eq!((whole.used_bytes(), part.used_bytes()), (0, 0));
    }
}
