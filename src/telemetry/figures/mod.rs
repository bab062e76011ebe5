//! Figures: what happened so far, counted where it happens.
//!
//! Sources, targets and destinations each have figures, which are handed to whoever works for them; so counting costs
//! no lookup, no lock and no allocation, only an addition to a word that one worker alone writes. All access is
//! relaxed, for the figures are independent of each other. They outlive a reload: whoever comes back under the same
//! name goes on counting. [`Totals`] and the metrics are sums of the same words.

pub mod destination;
pub mod lane;

use crate::model::outcome::Class;
use crate::model::stored::{Store, TIERS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Stripes of a figure: there are as many workers as cores, unless somebody wants it otherwise. Workers beyond share
/// them, which costs time only; stripes that nobody uses cost memory, for there may be ten thousand targets.
static STRIPES: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(STRIPES_MAX, |cores| cores.get().min(STRIPES_MAX)));
const STRIPES_MAX: usize = 32;

/// Lines that share one more line when there are too many of them.
const LINES_MAX: usize = 128;

/// One value per worker, made when the worker first needs it.
#[derive(Debug)]
struct Striped<T>(Box<[OnceLock<Box<T>>]>);

impl<T: Default> Striped<T> {
    fn new() -> Self {
        Self((0..*STRIPES).map(|_| OnceLock::new()).collect())
    }

    fn at(&self, worker: usize) -> Option<&T> {
        let stripe = self.0.get(worker).or_else(|| self.0.get(worker.checked_rem(self.0.len())?));
        stripe.map(|stripe| &**stripe.get_or_init(Box::default))
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|stripe| stripe.get().map(|stripe| &**stripe))
    }

    fn sum(&self, figure: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.all().map(|stripe| figure(stripe).load(Relaxed)).sum()
    }
}

/// Adds one.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What can be counted of a source; the retry tiers count as the source `stored`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// A record was taken.
    Received,
    /// It was no acceptable event.
    Undecodable,
    /// At least one target wants the event.
    Matched,
    /// No rule wants it.
    Filtered,
    /// The commit's map says it is done.
    SkippedByMap,
}

/// Figures of a source.
#[derive(Debug)]
pub struct SourceFigures {
    name: String,
    /// It reads again, for one target, what a source reads.
    again: bool,
    stripes: Striped<SourceStripe>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct SourceStripe {
    received: AtomicU64,
    undecodable: AtomicU64,
    matched: AtomicU64,
    filtered: AtomicU64,
    skipped_by_map: AtomicU64,
    cut_off: AtomicU64,
    hand_off_failures: AtomicU64,
    drains: AtomicU64,
    drain_ns: AtomicU64,
}

impl SourceStripe {
    fn word(&self, what: Intake) -> &AtomicU64 {
        match what {
            Intake::Received => &self.received,
            Intake::Undecodable => &self.undecodable,
            Intake::Matched => &self.matched,
            Intake::Filtered => &self.filtered,
            Intake::SkippedByMap => &self.skipped_by_map,
        }
    }
}

impl SourceFigures {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a record or event.
    pub fn count(&self, worker: usize, what: Intake) {
        if let Some(stripe) = self.stripes.at(worker) {
            count(stripe.word(what));
        }
    }

    /// Deliveries were cut off because their partition was taken away before they ended.
    pub fn cut_off(&self, worker: usize, deliveries: usize) {
        if let Some(stripe) = self.stripes.at(worker) {
            stripe.cut_off.fetch_add(u64::try_from(deliveries).unwrap_or(0), Relaxed);
        }
    }

    /// A record that ends a claim could not be written and is written again.
    pub fn hand_off_failed(&self, worker: usize) {
        if let Some(stripe) = self.stripes.at(worker) {
            count(&stripe.hand_off_failures);
        }
    }

    /// Partitions were taken away, and draining them took so long.
    pub fn drained(&self, took: Duration) {
        if let Some(stripe) = self.stripes.at(0) {
            count(&stripe.drains);
            stripe.drain_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// How often partitions were drained, and how long that took in all.
    #[must_use]
    pub fn drains(&self) -> (u64, Duration) {
        let time = self.stripes.sum(|stripe| &stripe.drain_ns);
        (self.stripes.sum(|stripe| &stripe.drains), Duration::from_nanos(time))
    }

    /// So many so far.
    #[must_use]
    pub fn of(&self, what: Intake) -> u64 {
        self.stripes.sum(|stripe| stripe.word(what))
    }

    /// See [`Self::cut_off`].
    #[must_use]
    pub fn cut_offs(&self) -> u64 {
        self.stripes.sum(|stripe| &stripe.cut_off)
    }

    /// See [`Self::hand_off_failed`].
    #[must_use]
    pub fn hand_off_failures(&self) -> u64 {
        self.stripes.sum(|stripe| &stripe.hand_off_failures)
    }
}

/// How an attempt or a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Class.
    pub class: Class,
    /// Stable code.
    pub code: &'static str,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
}

/// Counts by end: a list that only grows, most frequent ends near its head, for they come first.
#[derive(Debug, Default)]
struct Ends(OnceLock<Box<Line>>);

#[derive(Debug)]
struct Line {
    end: End,
    count: AtomicU64,
    next: Ends,
}

impl Ends {
    fn count(&self, end: End) {
        let mut ends = self;
        for _ in 0..LINES_MAX {
            let line = ends.0.get_or_init(|| Box::new(Line { end, count: AtomicU64::new(0), next: Self::default() }));
            if line.end == end {
                return count(&line.count);
            }
            ends = &line.next;
        }
        let other = End { class: end.class, code: "OTHER", status: None };
        let line =
            ends.0.get_or_init(|| Box::new(Line { end: other, count: AtomicU64::new(0), next: Self::default() }));
        count(&line.count);
    }

    fn add_to(&self, sums: &mut BTreeMap<End, u64>) {
        let mut ends = self;
        while let Some(line) = ends.0.get() {
            *sums.entry(line.end).or_default() += line.count.load(Relaxed);
            ends = &line.next;
        }
    }
}

/// Figures of a target; those of nobody's dead letters have empty names.
#[derive(Debug)]
pub struct TargetFigures {
    /// Rule.
    pub rule: String,
    /// Target.
    pub target: String,
    /// Destination.
    pub destination: String,
    stripes: Striped<TargetStripe>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct TargetStripe {
    begun: AtomicU64,
    resumed: AtomicU64,
    delivered: AtomicU64,
    attempts: Ends,
    dead_letters: Ends,
    /// By tier; the last one counts the queue.
    handed_off: [AtomicU64; TIERS.len() + 1],
}

impl TargetFigures {
    fn new(rule: &str, target: &str, destination: &str) -> Self {
        let (rule, target, destination) = (rule.to_owned(), target.to_owned(), destination.to_owned());
        Self { rule, target, destination, stripes: Striped::new() }
    }

    /// A delivery began with its event.
    pub fn begun(&self, worker: usize) {
        if let Some(stripe) = self.stripes.at(worker) {
            count(&stripe.begun);
        }
    }

    /// A delivery was read back from a retry tier.
    pub fn resumed(&self, worker: usize) {
        if let Some(stripe) = self.stripes.at(worker) {
            count(&stripe.resumed);
        }
    }

    /// The destination took a delivery.
    pub fn delivered(&self, worker: usize) {
        if let Some(stripe) = self.stripes.at(worker) {
            count(&stripe.delivered);
        }
    }

    /// An attempt ended that was sent.
    pub fn attempted(&self, worker: usize, end: End) {
        if let Some(stripe) = self.stripes.at(worker) {
            stripe.attempts.count(end);
        }
    }

    /// Kafka has acknowledged a dead letter.
    pub fn dead_lettered(&self, worker: usize, end: End) {
        if let Some(stripe) = self.stripes.at(worker) {
            stripe.dead_letters.count(End { status: None, ..end });
        }
    }

    /// Kafka has acknowledged a record in a retry tier or a destination queue.
    pub fn handed_off(&self, worker: usize, store: Store) {
        let index = match store {
            Store::Tier(tier) => TIERS.iter().position(|known| *known == tier).unwrap_or(0),
            Store::Queue => TIERS.len(),
        };
        if let Some(word) = self.stripes.at(worker).and_then(|stripe| stripe.handed_off.get(index)) {
            count(word);
        }
    }

    /// Deliveries begun from source topics.
    #[must_use]
    pub fn begins(&self) -> u64 {
        self.stripes.sum(|stripe| &stripe.begun)
    }

    /// Deliveries read back from retry tiers.
    #[must_use]
    pub fn resumptions(&self) -> u64 {
        self.stripes.sum(|stripe| &stripe.resumed)
    }

    /// Deliveries that the destination took.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.stripes.sum(|stripe| &stripe.delivered)
    }

    /// Attempts by their end.
    #[must_use]
    pub fn attempts(&self) -> BTreeMap<End, u64> {
        let mut sums = BTreeMap::new();
        self.stripes.all().for_each(|stripe| stripe.attempts.add_to(&mut sums));
        sums
    }

    /// Dead letters by what made them; their status is left out.
    #[must_use]
    pub fn dead_letters(&self) -> BTreeMap<End, u64> {
        let mut sums = BTreeMap::new();
        self.stripes.all().for_each(|stripe| stripe.dead_letters.add_to(&mut sums));
        sums
    }

    /// Nothing was counted yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.stripes.all().next().is_none()
    }

    /// Hand-offs by tier, and to the queue.
    pub fn hand_offs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = TIERS.iter().map(|tier| tier.name).chain(["queue"]);
        names.enumerate().map(|(index, name)| {
            let words = self.stripes.all().filter_map(|stripe| stripe.handed_off.get(index));
            (name, words.map(|word| word.load(Relaxed)).sum())
        })
    }
}

/// The figures of a process.
#[derive(Debug)]
pub struct Figures {
    sources: Mutex<BTreeMap<String, Arc<SourceFigures>>>,
    targets: Mutex<BTreeMap<(String, String, String), Arc<TargetFigures>>>,
    nobody: Arc<TargetFigures>,
}

impl Default for Figures {
    fn default() -> Self {
        Self { sources: Mutex::default(), targets: Mutex::default(), nobody: Arc::new(TargetFigures::new("", "", "")) }
    }
}

impl Figures {
    /// Those of a source.
    #[must_use]
    pub fn source(&self, name: &str) -> Arc<SourceFigures> {
        self.reader(name, false)
    }

    /// Those of a target that keeps an order. What it reads is not counted in [`Totals`], for its source counts that.
    #[must_use]
    pub fn ordered(&self, target: &str) -> Arc<SourceFigures> {
        self.reader(target, true)
    }

    fn reader(&self, name: &str, again: bool) -> Arc<SourceFigures> {
        let new = || Arc::new(SourceFigures { name: name.to_owned(), again, stripes: Striped::new() });
        Arc::clone(lock(&self.sources).entry(name.to_owned()).or_insert_with(new))
    }

    /// Those of a source that has any.
    #[must_use]
    pub fn find_source(&self, name: &str) -> Option<Arc<SourceFigures>> {
        lock(&self.sources).get(name).cloned()
    }

    /// Those of a target.
    #[must_use]
    pub fn target(&self, rule: &str, target: &str, destination: &str) -> Arc<TargetFigures> {
        let key = (rule.to_owned(), target.to_owned(), destination.to_owned());
        let new = || Arc::new(TargetFigures::new(rule, target, destination));
        Arc::clone(lock(&self.targets).entry(key).or_insert_with(new))
    }

    /// Those of records that belong to no target.
    #[must_use]
    pub fn nobody(&self) -> &Arc<TargetFigures> {
        &self.nobody
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<SourceFigures>> {
        lock(&self.sources).values().cloned().collect()
    }

    /// All targets, those of nobody first.
    #[must_use]
    pub fn targets(&self) -> Vec<Arc<TargetFigures>> {
        let nobody = std::iter::once(&self.nobody);
        nobody.chain(lock(&self.targets).values()).cloned().collect()
    }

    /// The sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (sources, targets) = (self.sources(), self.targets());
        let first = |source: &&Arc<SourceFigures>| !source.again;
        let read = |what: Intake| sources.iter().filter(first).map(|source| source.of(what)).sum();
        let all = |figure: fn(&TargetFigures) -> u64| targets.iter().map(|target| figure(target)).sum();
        // In this order, ends before beginnings, so that nothing seems to be done that is not.
        Totals {
            delivered: all(TargetFigures::deliveries),
            dead_lettered: all(|target| target.dead_letters().values().sum()),
            handed_off: all(|target| target.hand_offs().map(|(_, count)| count).sum()),
            resumed: all(TargetFigures::resumptions),
            attempts: all(|target| target.attempts().values().sum()),
            undecodable: read(Intake::Undecodable),
            filtered: read(Intake::Filtered),
            matched: read(Intake::Matched),
            deliveries: all(TargetFigures::begins),
            skipped_by_map: sources.iter().map(|source| source.of(Intake::SkippedByMap)).sum(),
            cut_off: sources.iter().map(|source| source.cut_offs()).sum(),
            hand_off_failures: sources.iter().map(|source| source.hand_off_failures()).sum(),
            received: read(Intake::Received),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sums of all figures at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records taken from source topics.
    pub received: u64,
    /// Records that were no acceptable event.
    pub undecodable: u64,
    /// Events that at least one target wants.
    pub matched: u64,
    /// Events that no rule wants.
    pub filtered: u64,
    /// Deliveries begun from source topics: events times targets.
    pub deliveries: u64,
    /// Attempts that were sent and ended, whatever the outcome.
    pub attempts: u64,
    /// Deliveries that a destination took.
    pub delivered: u64,
    /// Deliveries and undecodable records acknowledged in a dead-letter topic.
    pub dead_lettered: u64,
    /// Deliveries acknowledged in a retry tier.
    pub handed_off: u64,
    /// Deliveries read back from a retry tier.
    pub resumed: u64,
    /// Records skipped because the commit's map says they are done.
    pub skipped_by_map: u64,
    /// Deliveries cut off because their partition was taken away before they ended.
    pub cut_off: u64,
    /// Produce calls for hand-offs that failed and were tried again.
    pub hand_off_failures: u64,
}

impl Totals {
    /// Deliveries and records that have been received and have not ended. Tiers count as an end of the first part and
    /// a beginning of the second, so a delivery that waits in a tier is pending.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let undecided = self.received.saturating_sub(self.undecodable + self.filtered + self.matched);
        let open = (self.deliveries + self.undecodable).saturating_sub(self.delivered + self.dead_lettered);
        undecided + open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: &'static str, status: Option<u16>) -> End {
        End { class: Class::Transient, code, status }
    }

    #[test]
    fn ends_are_counted_each_by_itself_whoever_counts() {
        let figures = Figures::default();
        let target = figures.target("r", "t", "d");
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let target = &target;
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        target.attempted(worker % 2, end("A", Some(500)));
                        target.attempted(worker, end("A", Some(503)));
                        target.attempted(worker + *STRIPES, end("B", None));
                    }
                });
            }
        });
        let attempts: Vec<_> = target.attempts().into_iter().collect();
        let expected = [(end("A", Some(500)), 4_000), (end("A", Some(503)), 4_000), (end("B", None), 4_000)];
        assert_eq!(attempts, expected);
        assert_eq!(figures.totals().attempts, 12_000);
    }

    #[test]
    fn too_many_ends_share_one_line() {
        let figures = Figures::default();
        let target = figures.target("r", "t", "d");
        for status in 0..300 {
            target.attempted(0, end("A", Some(status)));
        }
        let attempts = target.attempts();
        assert_eq!(attempts.len(), LINES_MAX + 1);
        assert_eq!(attempts.values().sum::<u64>(), 300);
        assert_eq!(attempts[&end("OTHER", None)], 300 - 128);
    }

    #[test]
    fn who_comes_back_goes_on_counting() {
        let figures = Figures::default();
        figures.target("r", "t", "d").begun(0);
        figures.target("r", "t", "d").begun(1);
        figures.target("r", "t", "other").begun(1);
        figures.source("s").count(0, Intake::Received);
        figures.source("s").count(3, Intake::Received);
        assert_eq!(figures.target("r", "t", "d").begins(), 2);
        let totals = figures.totals();
        assert_eq!((totals.deliveries, totals.received, totals.pending()), (3, 2, 5));
    }

    #[test]
    fn an_undecodable_record_is_pending_until_its_dead_letter_is_written() {
        let figures = Figures::default();
        figures.source("s").count(0, Intake::Received);
        assert_eq!(figures.totals().pending(), 1);
        figures.source("s").count(0, Intake::Undecodable);
        assert_eq!(figures.totals().pending(), 1);
        figures.nobody().dead_lettered(0, End { class: Class::Reject, code: "DECODE_JSON", status: None });
        assert_eq!(figures.totals().pending(), 0);
    }

    #[test]
    fn hand_offs_are_told_apart_by_tier() {
        let figures = Figures::default();
        let target = figures.target("r", "t", "d");
        for store in TIERS.map(Store::Tier).into_iter().chain([Store::Queue]) {
            target.handed_off(0, store);
        }
        assert!(target.hand_offs().all(|(_, count)| count == 1));
        assert_eq!(figures.totals().handed_off, u64::try_from(TIERS.len() + 1).unwrap());
    }
}
