//! Whose turn it is to be fetched: what the client prefetches must fit into memory, whatever the number of partitions. Pure:
//! the poll thread looks at its partitions and asks who goes on.
//!
//! A partition whose records are taken as they come is calm: next to nothing of it lies in memory, so that it takes little
//! of the room of one that is behind. While little comes all of hundreds are fetched at once, and no event waits for a
//! turn. Those that are behind take turns; who has read all that there was makes room for the next at once.

use super::partition::Life;
use crate::model::clock::Monotonic;
use std::time::Duration;

/// So many calm partitions take the room of one that is behind. Of room for several at least one is left to those behind,
/// and of much room half.
const CALM: usize = 32;

/// How often it is looked who is behind.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// What the turns are given by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// So many partitions that are behind may be fetched at a time.
    pub(super) max: usize,
    /// How long one is fetched before others that wait.
    pub(super) turn: Duration,
    /// Who has taken more since the last look is behind: it may be that its queue was full.
    pub(super) calm_bytes: u64,
    /// Anybody could take a record now. While nobody can, nobody gives up a turn: fetching others would only fill memory.
    pub(super) has_room: bool,
}

/// How a partition stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// It is fetched.
    is_open: bool,
    /// Since when it is, or is not.
    since: Monotonic,
    is_calm: bool,
    /// Something has been taken since it is open.
    is_used: bool,
    /// What the last look saw.
    taken_bytes: u64,
    was_dry: bool,
}

impl Standing {
    /// Whether it is fetched.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Looks at what has been taken of its queue.
    pub(super) fn look(&mut self, life: &Life, rules: &Rules, now: Monotonic) {
        let (taken_bytes, is_dry) = life.taken();
        let read = taken_bytes - std::mem::replace(&mut self.taken_bytes, taken_bytes);
        if !self.is_open {
            return;
        }
        self.is_used |= read > 0;
        // One record that is being taken just now is no backlog.
        let keeps_up = is_dry || self.was_dry;
        self.was_dry = is_dry;
        // Who has been opened a moment ago waits for the first answer, and a broker may take its time.
        let is_asked = self.is_used || now.since(self.since) >= rules.turn / 4;
        self.is_calm = keeps_up && is_asked && read <= rules.calm_bytes;
    }

    /// What gathers in Kafka while it is not fetched nobody knows: who is opened again passes for calm no more.
    fn set(&mut self, open: bool, now: Monotonic) {
        if self.is_open != open {
            *self = Self { is_open: open, since: now, taken_bytes: self.taken_bytes, ..Self::default() };
        }
    }

    /// Who is fetched goes on until the turn is over; then those that wait, the longest first; then who was opened last.
    fn rank(&self, rules: &Rules, now: Monotonic) -> (u8, Duration) {
        let age = now.since(self.since);
        let longest_first = Duration::MAX.saturating_sub(age);
        match self.is_open {
            true if !rules.has_room || age < rules.turn => (0, longest_first),
            false => (1, longest_first),
            true => (2, age),
        }
    }
}

/// Decides who is fetched; eager ones have three quarters of the turns, or what the others do not need.
pub(super) fn give(all: &mut [(bool, &mut Standing)], rules: &Rules, now: Monotonic) {
    let max = rules.max.max(1);
    if all.len() <= max {
        all.iter_mut().for_each(|(_, standing)| standing.set(true, now));
        return;
    }
    let (mut calm, busy): (Vec<_>, Vec<_>) = all.iter_mut().partition(|(_, standing)| standing.is_calm);
    let (mut eager, mut others): (Vec<_>, Vec<_>) = busy.into_iter().partition(|(is_eager, _)| *is_eager);
    let room = calm.len().min((max * CALM / 2).max(1));
    let left = (max - room.div_ceil(CALM).min(max)).max(1);
    let early = eager.len().min((left - left / 4).max(left.saturating_sub(others.len())));
    let late = others.len().min(left - early).max(others.len().min(1));
    for (class, open) in [(&mut calm, room), (&mut eager, early), (&mut others, late)] {
        class.sort_by_key(|(is_eager, standing)| {
            let (rank, age) = standing.rank(rules, now);
            (rank, !*is_eager, age)
        });
        class.iter_mut().enumerate().for_each(|(place, (_, standing))| standing.set(place < open, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    /// Partitions, each with what waits in Kafka, in bytes.
    struct Scene {
        rules: Rules,
        now: Monotonic,
        all: Vec<(bool, Standing, Life, u64)>,
    }

    impl Scene {
        fn new(max: usize, waiting: impl IntoIterator<Item = (bool, u64)>) -> Self {
            let rules = Rules { max, turn: Duration::from_secs(2), calm_bytes: 1_000, has_room: true };
            let all = waiting.into_iter().map(|(eager, bytes)| (eager, Standing::default(), Life::default(), bytes));
            let mut scene = Self { rules, now: Monotonic(0), all: all.collect() };
            scene.give();
            scene
        }

        fn give(&mut self) {
            let mut turns: Vec<_> = self.all.iter_mut().map(|(eager, standing, ..)| (*eager, standing)).collect();
            give(&mut turns, &self.rules, self.now);
        }

        /// Time passes, in which each partition that is fetched reads up to `speed` bytes; then somebody looks.
        fn look(&mut self, speed: u64) {
            self.now = self.now.plus(LOOK);
            for (_, standing, life, waiting) in &mut self.all {
                if standing.is_open() {
                    let read = (*waiting).min(speed);
                    *waiting -= read;
                    life.took(read);
                    if *waiting == 0 {
                        life.is_dry.store(true, Relaxed);
                    }
                }
                standing.look(life, &self.rules, self.now);
            }
            self.give();
        }

        fn open(&self) -> Vec<usize> {
            let open = self.all.iter().enumerate().filter(|(_, (_, standing, ..))| standing.is_open());
            open.map(|(n, _)| n).collect()
        }

        fn waiting(&self) -> u64 {
            self.all.iter().map(|(.., waiting)| waiting).sum()
        }
    }

    fn others(count: usize, bytes: u64) -> impl Iterator<Item = (bool, u64)> {
        std::iter::repeat_n((false, bytes), count)
    }

    #[test]
    fn where_all_fit_all_are_open() {
        let mut scene = Scene::new(32, others(32, 1 << 40));
        scene.look(1 << 20);
        assert_eq!(scene.open().len(), 32);
    }

    #[test]
    fn those_that_are_behind_take_turns_and_nobody_is_forgotten() {
        let mut scene = Scene::new(32, others(100, 1 << 40));
        let mut had = [0_u32; 100];
        for _ in 0..1_000 {
            scene.look(1 << 20);
            assert_eq!(scene.open().len(), 32);
            scene.open().into_iter().for_each(|n| had[n] += 1);
        }
        assert!(had.iter().all(|had| (200..400).contains(had)), "{had:?}");
    }

    #[test]
    fn who_has_read_all_makes_room_at_once() {
        let mut scene = Scene::new(32, others(500, 300));
        let mut looks = 0;
        while scene.waiting() > 0 {
            scene.look(1 << 20);
            looks += 1;
        }
        assert!(looks < 25, "{looks} looks");
    }

    #[test]
    fn while_nothing_comes_all_are_fetched() {
        let mut scene = Scene::new(32, others(200, 0));
        for _ in 0..100 {
            scene.look(1 << 20);
        }
        assert_eq!(scene.open().len(), 200);
        // An event is read at the next moment wherever it comes, and nobody's turn ends for it.
        scene.all[150].3 = 90;
        scene.look(1 << 20);
        assert_eq!((scene.waiting(), scene.open().len()), (0, 200));
        // More than fits: half of the room is for those that are behind, were there any.
        let mut scene = Scene::new(32, others(2_000, 0));
        let mut had = [false; 2_000];
        for _ in 0..600 {
            scene.look(1 << 20);
            scene.open().into_iter().for_each(|n| had[n] = true);
        }
        assert_eq!(had, [true; 2_000]);
        assert!(scene.open().len() >= 512);
    }

    #[test]
    fn a_backlog_everywhere_takes_no_more_room_than_there_is() {
        let mut scene = Scene::new(32, others(200, 0));
        for _ in 0..100 {
            scene.look(1 << 20);
        }
        scene.all.iter_mut().for_each(|(.., waiting)| *waiting = 1 << 40);
        scene.all.iter().for_each(|(_, _, life, _)| life.is_dry.store(false, Relaxed));
        scene.look(1 << 20);
        assert_eq!(scene.open().len(), 32);
    }

    #[test]
    fn a_few_that_are_behind_disturb_nobody_who_is_calm() {
        let mut scene = Scene::new(32, others(64, 0));
        for _ in 0..100 {
            scene.look(1 << 20);
        }
        for (.., waiting) in scene.all.iter_mut().take(40) {
            *waiting = 1 << 40;
        }
        scene.all.iter().take(40).for_each(|(_, _, life, _)| life.is_dry.store(false, Relaxed));
        for _ in 0..100 {
            scene.look(1 << 20);
            let open = scene.open();
            assert_eq!(open.iter().filter(|n| **n >= 40).count(), 24);
            assert_eq!(open.len(), 24 + 31);
        }
    }

    #[test]
    fn without_room_who_is_calm_stays_so_and_nobody_who_is_behind_gives_up_a_turn() {
        let mut scene = Scene::new(32, others(200, 0));
        for _ in 0..100 {
            scene.look(1 << 20);
        }
        scene.rules.has_room = false;
        scene.look(0);
        assert_eq!(scene.open().len(), 200);
        // Records come, and nobody takes them.
        for (.., life, waiting) in &mut scene.all {
            life.is_dry.store(false, Relaxed);
            *waiting = 1 << 40;
        }
        scene.look(0);
        scene.look(0);
        let open = scene.open();
        assert_eq!(open.len(), 32);
        for _ in 0..100 {
            scene.look(0);
        }
        assert_eq!(scene.open(), open);
    }

    #[test]
    fn eager_partitions_have_most_turns_and_everybody_has_one_at_last() {
        let open = |max, eager, late| {
            let all = std::iter::repeat_n((true, 1 << 40), eager).chain(others(late, 1 << 40));
            let scene = Scene::new(max, all);
            let early = scene.open().into_iter().filter(|n| *n < eager).count();
            (early, scene.open().len() - early)
        };
        assert_eq!(open(32, 0, 160), (0, 32));
        assert_eq!(open(32, 10, 160), (10, 22));
        assert_eq!(open(32, 100, 160), (24, 8));
        assert_eq!(open(32, 100, 2), (30, 2));
        assert_eq!(open(1, 5, 5), (1, 1));
        assert_eq!(open(usize::MAX, 5, 5), (5, 5));
    }
}
