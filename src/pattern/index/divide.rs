//! How a group of alternatives is divided: by the keys that many of them ask for, and by number ranges.

use super::build::{Builder, Draft};
use super::condition::condition;
use super::feature::FeatureKind;
use super::keys::index;
use super::part::{Range, Shape};
use super::quick::Kind;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// So few entries are asked one by one.
const FEW: usize = 2;

/// A feature is looked at if so many alternatives of a group ask for it.
const MANY: usize = 4;

/// Ranges of a path are put in order if they are so many.
const MANY_RANGES: usize = 6;

/// A condition with more keys divides no group: the alternative would stand under each.
const MOST_KEYS: usize = 8;

/// An alternative with its lowest and highest number.
type Ranged = (i64, i64, Draft);

/// A path and what is taken of its values.
pub(super) type Class = (u32, FeatureKind);

/// How many alternatives of a group ask for it, and how many of all alternatives have their keys.
pub(super) type Classes = HashMap<Class, (usize, u64)>;

/// The keys of a condition, one of which a value must have.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) path: u32,
    /// Of the first.
    pub(super) kind: FeatureKind,
    pub(super) keys: SmallVec<[u32; 1]>,
    /// They are values as they are.
    pub(super) exact: bool,
    /// The condition asks nothing else.
    pub(super) complete: bool,
}

/// Of the classes that nearly all of so many alternatives ask for, the one whose keys are rarest.
pub(super) fn common(classes: &Classes, alternatives: usize) -> Option<Class> {
    let common = classes.iter().filter(|(_, (count, _))| 4 * count >= 3 * alternatives);
    let common = common.min_by_key(|(class, (count, weight))| (weight / u64::try_from(*count).unwrap_or(1), **class));
    common.map(|(class, _)| *class)
}

impl Builder {
    /// In how many alternatives the keys of a condition stand.
    pub(super) fn weight(&self, keyed: &Keyed) -> u64 {
        keyed.keys.iter().map(|key| u64::from(self.weights.get(index(*key)).copied().unwrap_or_default())).sum()
    }

    fn divider(&self, number: u32) -> Option<&Keyed> {
        let keyed = self.keyed.get(index(number))?.as_ref()?;
        (keyed.complete && keyed.keys.len() <= MOST_KEYS).then_some(keyed)
    }

    /// What of a condition could divide a group.
    pub(super) fn class(&self, number: u32) -> Option<Class> {
        self.divider(number).map(|keyed| (keyed.path, keyed.kind))
    }

    /// The classes of the conditions that could divide these alternatives.
    pub(super) fn classes(&self, drafts: &[Draft]) -> Classes {
        let mut classes = Classes::new();
        for keyed in drafts.iter().flat_map(|draft| &draft.left).filter_map(|number| self.divider(*number)) {
            let class = classes.entry((keyed.path, keyed.kind)).or_default();
            *class = (class.0 + 1, class.1 + self.weight(keyed));
        }
        classes
    }

    /// By a key that is not known yet; and those that are asked one by one. The [`common`] class comes first, since it is
    /// looked at once for all; else the rarest key.
    pub(super) fn divide(&self, drafts: Vec<Draft>) -> (BTreeMap<u32, Vec<Draft>>, Vec<Draft>) {
        let mut by_key: BTreeMap<u32, Vec<Draft>> = BTreeMap::new();
        if drafts.len() <= FEW {
            return (by_key, drafts);
        }
        let classes = self.classes(&drafts);
        let common = common(&classes, drafts.len());
        let mut rest = Vec::new();
        for mut draft in drafts {
            let ranked = draft.left.iter().enumerate().filter_map(|(at, number)| {
                let keyed = self.divider(*number)?;
                let class = (keyed.path, keyed.kind);
                let (count, _) = classes.get(&class).copied()?;
                (count >= MANY || Some(class) == common).then(|| (Some(class) != common, self.weight(keyed), at))
            });
            let Some((_, _, at)) = ranked.min() else {
                rest.push(draft);
                continue;
            };
            let number = draft.left.remove(at);
            for key in self.divider(number).into_iter().flat_map(|keyed| &keyed.keys) {
                by_key.entry(*key).or_default().push(draft.clone());
            }
        }
        (by_key, rest)
    }

    /// Puts alternatives with number ranges of the same path in order, if they are many; of all, the conditions stand in
    /// the order in which they are to be asked.
    pub(super) fn ranges(&self, mut drafts: Vec<Draft>) -> (Vec<(Range, Vec<Draft>)>, Vec<Draft>) {
        let conditions = &self.part.conditions;
        for draft in &mut drafts {
            draft.left.sort_by_cached_key(|number| condition(conditions, *number).map_or(0, |it| it.rank()));
        }
        if drafts.len() < MANY_RANGES {
            return (Vec::new(), drafts);
        }
        let bounds = |number: u32| {
            let condition = condition(conditions, number).filter(|condition| condition.quick.kind == Kind::Within)?;
            let (low, high) = (condition.quick.operand.low(), condition.quick.operand.high());
            let shape = match (low, high) {
                (_, i64::MAX) => Shape::Above,
                (i64::MIN, _) => Shape::Below,
                (_, _) => Shape::Between,
            };
            Some(((condition.path, shape), low, high))
        };
        let mut counts: HashMap<(u32, Shape), usize> = HashMap::new();
        for (class, _, _) in drafts.iter().flat_map(|draft| &draft.left).filter_map(|number| bounds(*number)) {
            *counts.entry(class).or_default() += 1;
        }
        let mut ranges: BTreeMap<(u32, Shape), Vec<Ranged>> = BTreeMap::new();
        let mut rest = Vec::new();
        for mut draft in drafts {
            let found = draft.left.iter().enumerate().find_map(|(at, number)| {
                let (class, low, high) = bounds(*number)?;
                (counts.get(&class) >= Some(&MANY_RANGES)).then_some((at, class, low, high))
            });
            let Some((at, class, low, high)) = found else {
                rest.push(draft);
                continue;
            };
            let number = draft.left.remove(at);
            draft.left.insert(0, number);
            ranges.entry(class).or_default().push((low, high, draft));
        }
        let ranges = ranges.into_iter().map(|((path, shape), mut drafts)| {
            match shape {
                Shape::Above | Shape::Between => drafts.sort_by_key(|(low, _, _)| *low),
                Shape::Below => drafts.sort_by_key(|(_, high, _)| Reverse(*high)),
            }
            let width = drafts.iter().map(|(low, high, _)| high.saturating_sub(*low)).max().unwrap_or_default();
            let range = Range { path, shape, entries: (0, 0), width };
            (range, drafts.into_iter().map(|(_, _, draft)| draft).collect())
        });
        (ranges.collect(), rest)
    }
}
