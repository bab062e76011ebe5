//! When which letter is sent: each destination at its own pace, all side by side. Pure; the time is an argument.

use crate::model::clock::Monotonic;
use crate::model::units::Rate;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

/// The letters of each destination, in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    lanes: BTreeMap<String, Lane>,
}

#[derive(Debug)]
struct Lane {
    rate: Rate,
    /// When the next may be sent.
    next: Monotonic,
    letters: VecDeque<usize>,
}

impl Schedule {
    /// Adds a letter behind those that go to the same destination.
    pub(super) fn add(&mut self, destination: &str, rate: Rate, letter: usize) {
        let lane = self.lanes.entry(destination.to_owned());
        lane.or_insert_with(|| Lane { rate, next: Monotonic(0), letters: VecDeque::new() }).letters.push_back(letter);
    }

    /// All that wait, with their destinations.
    pub(super) fn all(&self) -> Vec<(String, usize)> {
        let of = |(name, lane): (&String, &Lane)| lane.letters.iter().map(|l| (name.clone(), *l)).collect::<Vec<_>>();
        self.lanes.iter().flat_map(of).collect()
    }

    /// Keeps these only.
    pub(super) fn retain(&mut self, kept: &[(String, usize)]) {
        let kept: HashSet<usize> = kept.iter().map(|(_, letter)| *letter).collect();
        for lane in self.lanes.values_mut() {
            lane.letters.retain(|letter| kept.contains(letter));
        }
        self.lanes.retain(|_, lane| !lane.letters.is_empty());
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.letters.len()).sum()
    }

    /// Destinations and their paces.
    pub(super) fn paces(&self) -> impl Iterator<Item = (&str, Rate)> {
        self.lanes.iter().map(|(name, lane)| (name.as_str(), lane.rate))
    }

    /// How long it takes, all destinations at once; at least a second.
    pub(super) fn seconds(&self) -> u64 {
        let each = self.lanes.values().map(|lane| {
            let nanos = lane.rate.per.as_nanos() / u128::from(lane.rate.requests.max(1));
            let count = u128::try_from(lane.letters.len()).unwrap_or(u128::MAX);
            nanos.saturating_mul(count).div_ceil(1_000_000_000)
        });
        u64::try_from(each.max().unwrap_or(0)).unwrap_or(u64::MAX).max(1)
    }

    /// When the next letter of any destination may be sent.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.lanes.values().filter(|lane| !lane.letters.is_empty()).map(|lane| lane.next).min()
    }

    /// Takes the letters that may be sent from `now` on within `horizon`, at most `max`, with their destinations.
    pub(super) fn take(&mut self, now: Monotonic, horizon: Duration, max: usize) -> Vec<(String, usize)> {
        let until = now.plus(horizon);
        let mut due: Vec<(Monotonic, &String, usize)> = Vec::new();
        for (name, lane) in &self.lanes {
            let mut at = lane.next.max(now);
            for letter in lane.letters.iter().take(max) {
                if at > until {
                    break;
                }
                due.push((at, name, *letter));
                at = at.plus(lane.interval());
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        due.truncate(max);
        let taken: Vec<(String, usize)> = due.into_iter().map(|(_, name, letter)| (name.clone(), letter)).collect();
        for (name, _) in &taken {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.letters.pop_front();
            }
        }
        taken
    }

    /// When a letter that was taken is sent, which takes its destination's turn.
    pub(super) fn turn(&mut self, destination: &str, now: Monotonic) -> Monotonic {
        let Some(lane) = self.lanes.get_mut(destination) else { return now };
        let at = lane.next.max(now);
        lane.next = at.plus(lane.interval());
        at
    }
}

impl Lane {
    fn interval(&self) -> Duration {
        self.rate.per / self.rate.requests.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units;

    fn schedule(lanes: &[(&str, &str, std::ops::Range<usize>)]) -> Schedule {
        let mut schedule = Schedule::default();
        for (name, rate, letters) in lanes {
            for letter in letters.clone() {
                schedule.add(name, units::rate(rate).expect("a rate"), letter);
            }
        }
        schedule
    }

    #[test]
    fn the_slowest_destination_decides_how_long_it_takes() {
        assert_eq!(schedule(&[("a", "50/s", 0..1)]).seconds(), 1);
        assert_eq!(schedule(&[("a", "50/min", 0..1)]).seconds(), 2);
        assert_eq!(schedule(&[("a", "50/s", 0..1_000), ("b", "1/s", 0..100)]).seconds(), 100);
    }

    #[test]
    fn each_destination_keeps_its_pace() {
        let mut schedule = schedule(&[("fast", "10/s", 0..30), ("slow", "1/s", 100..110)]);
        let mut now = Monotonic(0).plus(Duration::from_secs(7));
        let begin = now;
        let mut sent: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
        while schedule.len() > 0 {
            now = schedule.next().expect("some wait").max(now);
            for (name, letter) in schedule.take(now, Duration::from_secs(1), 7) {
                // Every third cannot be sent after all, which costs no turn.
                if letter % 3 == 0 {
                    continue;
                }
                let at = schedule.turn(&name, now);
                now = at;
                let ms = at.since(begin).as_millis().try_into().expect("soon");
                sent.entry(name).or_default().push((ms, letter));
            }
        }
        assert!(schedule.next().is_none());
        for (name, every, count) in [("fast", 100, 20), ("slow", 1_000, 7)] {
            let sent = &sent[name];
            assert_eq!(sent.len(), count);
            assert!(sent.windows(2).all(|two| two[1].0 - two[0].0 >= every && two[1].1 > two[0].1), "{name}: {sent:?}");
        }
        assert!(sent["fast"].iter().all(|(ms, _)| *ms < 3_000), "nobody waits for the slow one: {sent:?}");
    }
}
