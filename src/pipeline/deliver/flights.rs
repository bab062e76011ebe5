//! Flights: all that is under way at one dispatcher, each polled only when it was woken.
//!
//! Not `FuturesUnordered`, which asks for memory for every future: here a place and its waker are used again and again.
//! A bit per place says who was woken; whoever sets one that was clear wakes the dispatcher's task.

use super::coalesce;
use futures_util::task::AtomicWaker;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Places that share a word of bits.
const BLOCK: usize = 64;

/// A set of futures.
pub(super) struct Flights<F> {
    places: Vec<Place<F>>,
    /// Places without a flight.
    free: Vec<usize>,
    blocks: Vec<Arc<Block>>,
    /// The block whose places are polled, and those of them whose turn is yet to come: who is woken meanwhile waits for
    /// the next round.
    block: usize,
    turn: u64,
    task: Arc<AtomicWaker>,
}

struct Place<F> {
    flight: Option<F>,
    waker: Waker,
}

/// Which of its places were woken.
struct Block {
    woken: AtomicU64,
    task: Arc<AtomicWaker>,
}

impl Block {
    fn take_woken(self: &Arc<Self>) -> u64 {
        // Mostly nobody was, and to look costs less.
        if self.woken.load(Ordering::Acquire) == 0 { 0 } else { self.woken.swap(0, Ordering::AcqRel) }
    }
}

/// What wakes one place.
struct Bell {
    block: Arc<Block>,
    bit: u64,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.block.woken.fetch_or(self.bit, Ordering::AcqRel) & self.bit == 0 {
            self.block.task.wake();
        }
    }
}

impl<F: Future + Unpin> Flights<F> {
    /// An empty set, without any memory of its own but a word.
    pub(super) fn new() -> Self {
        let task = Arc::default();
        Self { places: Vec::new(), free: Vec::new(), blocks: Vec::new(), block: 0, turn: 0, task }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one, to be polled by the next [`Self::poll_next`]. It wakes nobody.
    pub(super) fn push(&mut self, flight: F) {
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.add_place(),
        };
        if let Some(place) = self.places.get_mut(at) {
            place.flight = Some(flight);
        }
        self.ring(at);
    }

    /// The next one that has ended, of those that were woken. `None` while none is under way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.task.register(cx.waker());
        let (mut left, mut quiet) = (self.len(), 0);
        loop {
            while self.turn == 0 {
                if quiet == self.blocks.len() {
                    return if self.is_empty() { Poll::Ready(None) } else { Poll::Pending };
                }
                quiet += 1;
                self.block = (self.block + 1) % self.blocks.len();
                self.turn = self.blocks.get(self.block).map_or(0, Block::take_woken);
            }
            quiet = 0;
            let bit = self.turn & self.turn.wrapping_neg();
            self.turn ^= bit;
            let at = self.block * BLOCK + usize::try_from(bit.trailing_zeros()).unwrap_or(0);
            let Some(place) = self.places.get_mut(at) else { continue };
            // Nobody is there any more: it was the waker of one that has ended.
            let Some(flight) = &mut place.flight else { continue };
            if left == 0 {
                // Some wake themselves: other tasks have their turn first.
                self.turn |= bit;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            left -= 1;
            if let Poll::Ready(end) = Pin::new(flight).poll(&mut Context::from_waker(&place.waker)) {
                place.flight = None;
                self.free.push(at);
                coalesce::ended(self.len());
                return Poll::Ready(Some(end));
            }
        }
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut F> {
        self.places.iter_mut().filter_map(|place| place.flight.as_mut())
    }

    /// Lets the next [`Self::poll_next`] poll all of them.
    pub(super) fn ring_all(&self) {
        (0..self.places.len()).for_each(|at| self.ring(at));
    }

    /// Takes those out of which this is true.
    pub(super) fn take_if(&mut self, mut leaves: impl FnMut(&F) -> bool) -> Vec<F> {
        let mut taken = Vec::new();
        for (at, place) in self.places.iter_mut().enumerate() {
            if place.flight.as_ref().is_some_and(&mut leaves) {
                taken.extend(place.flight.take());
                self.free.push(at);
            }
        }
        taken
    }

    /// Gives the memory of an empty set back.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && !self.places.is_empty() {
            *self = Self::new();
        }
    }

    fn add_place(&mut self) -> usize {
        let at = self.places.len();
        if at.is_multiple_of(BLOCK) {
            self.blocks.push(Arc::new(Block { woken: AtomicU64::new(0), task: Arc::clone(&self.task) }));
        }
        let waker = match self.blocks.last() {
            Some(block) => Waker::from(Arc::new(Bell { block: Arc::clone(block), bit: bit(at) })),
            None => Waker::noop().clone(),
        };
        self.places.push(Place { flight: None, waker });
        at
    }

    fn ring(&self, at: usize) {
        if let Some(block) = self.blocks.get(at / BLOCK) {
            block.woken.fetch_or(bit(at), Ordering::AcqRel);
        }
    }
}

fn bit(at: usize) -> u64 {
    u32::try_from(at % BLOCK).ok().and_then(|at| 1u64.checked_shl(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::sync::atomic::AtomicUsize;

    /// Ends when told to; remembers who to wake and how often it was polled.
    #[derive(Default, Clone)]
    struct Told {
        number: usize,
        ends: Rc<Cell<bool>>,
        polls: Rc<Cell<usize>>,
        waker: Rc<RefCell<Option<Waker>>>,
    }

    impl Future for Told {
        type Output = usize;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            self.polls.set(self.polls.get() + 1);
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            if self.ends.get() { Poll::Ready(self.number) } else { Poll::Pending }
        }
    }

    impl Told {
        fn wake(&self) {
            self.waker.borrow().as_ref().unwrap().wake_by_ref();
        }
    }

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn all(count: usize) -> (Flights<Told>, Vec<Told>) {
        let mut flights = Flights::new();
        let told: Vec<Told> = (0..count).map(|number| Told { number, ..Told::default() }).collect();
        told.iter().for_each(|one| flights.push(one.clone()));
        (flights, told)
    }

    #[test]
    fn only_who_was_woken_is_polled() {
        let task = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let (mut flights, told) = all(130);
        assert!(flights.poll_next(&mut cx).is_pending());
        assert!(told.iter().all(|one| one.polls.get() == 1));
        told[3].wake();
        told[129].ends.set(true);
        told[129].wake();
        told[129].wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "the task is woken once until it polls");
        assert_eq!(flights.poll_next(&mut cx), Poll::Ready(Some(129)));
        assert!(flights.poll_next(&mut cx).is_pending());
        assert_eq!((told[3].polls.get(), told[4].polls.get(), flights.len()), (2, 1, 129));
        told[3].wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 2, "and again afterwards");
    }

    #[test]
    fn a_place_is_used_again_and_an_old_waker_harms_nobody() {
        let task = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let (mut flights, told) = all(2);
        told.iter().for_each(|one| one.ends.set(true));
        assert_eq!([0, 1].map(|_| flights.poll_next(&mut cx)), [Poll::Ready(Some(0)), Poll::Ready(Some(1))]);
        assert_eq!(flights.poll_next(&mut cx), Poll::Ready(None));
        told[0].wake();
        let woken = task.0.load(Ordering::SeqCst);
        assert_eq!(flights.poll_next(&mut cx), Poll::Ready(None));
        assert_eq!(task.0.load(Ordering::SeqCst), woken, "there is nothing to come back for");
        let next = Told { number: 7, ..Told::default() };
        flights.push(next.clone());
        assert!(flights.poll_next(&mut cx).is_pending());
        told.iter().for_each(Told::wake);
        assert!(flights.poll_next(&mut cx).is_pending());
        assert_eq!((next.polls.get(), flights.places.len()), (2, 2));
        flights.shrink();
        assert_eq!(flights.len(), 1, "not while somebody is there");
    }

    #[test]
    fn who_wakes_himself_leaves_others_their_turn() {
        struct Restless(Rc<Cell<usize>>);
        impl Future for Restless {
            type Output = ();
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0.set(self.0.get() + 1);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
        let task = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&task));
        let polls: Vec<Rc<Cell<usize>>> = (0..70).map(|_| Rc::default()).collect();
        let mut flights = Flights::new();
        polls.iter().for_each(|polls| flights.push(Restless(Rc::clone(polls))));
        for _ in 0..3 {
            assert!(flights.poll_next(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(polls.iter().all(|polls| polls.get() == 3), "{polls:?}");
        assert!(task.0.load(Ordering::SeqCst) > 0, "they are polled again later");
    }

    #[test]
    fn some_are_taken_out_and_all_can_be_polled() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut flights, told) = all(5);
        assert!(flights.poll_next(&mut cx).is_pending());
        let taken: Vec<usize> = flights.take_if(|one| one.number % 2 == 0).into_iter().map(|one| one.number).collect();
        assert_eq!((taken, flights.len(), flights.iter_mut().count()), (vec![0, 2, 4], 2, 2));
        flights.ring_all();
        assert!(flights.poll_next(&mut cx).is_pending());
        assert_eq!(told.iter().map(|one| one.polls.get()).collect::<Vec<_>>(), [1, 2, 1, 2, 1]);
    }
}
