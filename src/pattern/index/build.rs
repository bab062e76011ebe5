//! From patterns to an index: which conditions lead to a rule, and in which order the others are asked.

use super::condition::{Condition, condition};
use super::divide::{Keyed, common};
use super::feature::{Asked, Feature, FeatureKind, asked};
use super::keys::index;
use super::part::{Access, Entry, Group, LAST, NONE, Part, Step, flag, short_mask};
use super::quick::Quick;
use crate::model::resources::Dialect;
use crate::pattern::leaves::path_bit;
use crate::pattern::{self, Field, Goal, Pattern};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Alternatives that a pattern is cut into at most; with more, the conditions outside `$or` lead to it. (`aws` patterns
/// come in alternatives already, at most 1,000.)
const MOST_ALTERNATIVES: usize = 32;

/// Groups are divided so many times.
const MOST_LEVELS: usize = 8;

/// One alternative of a rule on its way into the index.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    rule: u32,
    flags: u8,
    /// Conditions that are not known to hold yet.
    pub(super) left: SmallVec<[u32; 6]>,
}

/// Builds the part of one dialect.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) part: Part,
    /// The numbers of paths, by the address of their list: many patterns share one.
    known_paths: HashMap<usize, SmallVec<[u32; 8]>>,
    /// Conditions by path and address of the matchers.
    known: HashMap<(u32, usize), u32>,
    /// By condition: the keys that lead to it.
    pub(super) keyed: Vec<Option<Keyed>>,
    /// By key: the alternatives that could be found by it.
    pub(super) weights: Vec<u32>,
    /// By key.
    features: Vec<u32>,
    known_features: HashMap<Feature, u32>,
    drafts: Vec<Draft>,
}

impl Builder {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            part: Part::empty(dialect),
            known_paths: HashMap::new(),
            known: HashMap::new(),
            keyed: Vec::new(),
            weights: Vec::new(),
            features: Vec::new(),
            known_features: HashMap::new(),
            drafts: Vec::new(),
        }
    }

    /// Adds a rule with a pattern of this dialect. Rules come in order.
    pub(super) fn add(&mut self, rule: u32, pattern: &Arc<Pattern>) {
        let trie = &mut self.part.trie;
        let paths = self.known_paths.entry(Arc::as_ptr(&pattern.paths).addr());
        let paths = paths.or_insert_with(|| pattern.paths.iter().map(|path| trie.insert(&path.name)).collect()).clone();
        let mut whole = false;
        let mut absence = false;
        let mut alternatives: Vec<SmallVec<[u32; 6]>> = Vec::new();
        for group in &pattern.alternatives {
            let cut = alternatives_of(group) <= MOST_ALTERNATIVES;
            whole |= !cut;
            absence |= asks_for_absence(group);
            let mut of_group = vec![SmallVec::new()];
            self.expand(group, &paths, cut, &mut of_group);
            alternatives.append(&mut of_group);
        }
        whole |= pattern.paths.iter().any(|path| path.repeated);
        self.part.paths.resize(index(rule), 0);
        self.part.paths.push(paths.iter().fold(0, |bits, path| bits | path_bit(*path)));
        let flags = if whole { flag::WHOLE } else { 0 } | if absence { flag::ABSENCE } else { 0 };
        for left in alternatives {
            for condition in &left {
                let keys = self.keyed.get(index(*condition)).into_iter().flatten().flat_map(|keyed| &keyed.keys);
                for key in keys {
                    if let Some(weight) = self.weights.get_mut(index(*key)) {
                        *weight += 1;
                    }
                }
            }
            self.drafts.push(Draft { rule, flags, left });
        }
    }

    /// Adds the conditions of a group to each of `alternatives`; with `cut`, an alternative for every branch.
    fn expand(&mut self, group: &pattern::Group, paths: &[u32], cut: bool, alternatives: &mut Vec<SmallVec<[u32; 6]>>) {
        for goal in &group.goals {
            match goal {
                Goal::Field(field) => {
                    let number = self.condition(field, paths);
                    for alternative in alternatives.iter_mut().filter(|known| !known.contains(&number)) {
                        alternative.push(number);
                    }
                }
                Goal::Or(branches) if cut => {
                    let before = std::mem::take(alternatives);
                    for branch in branches {
                        let mut of_branch = before.clone();
                        self.expand(branch, paths, cut, &mut of_branch);
                        alternatives.append(&mut of_branch);
                    }
                }
                Goal::Or(_) => {}
            }
        }
    }

    fn condition(&mut self, field: &Field, paths: &[u32]) -> u32 {
        let path = paths.get(field.path).copied().unwrap_or(NONE);
        let new = short(self.part.conditions.len());
        let number = *self.known.entry((path, Arc::as_ptr(&field.leaf).addr())).or_insert(new);
        if number == new {
            let leaf = Arc::clone(&field.leaf);
            let keyed = asked(path, &leaf).map(|asked| {
                let exact = asked.keys.iter().all(|key| matches!(key.kind, FeatureKind::Exact | FeatureKind::Address));
                let kind = asked.keys.first().map_or(FeatureKind::Exact, |key| key.kind);
                let mut keys: SmallVec<[u32; 1]> = asked.keys.iter().map(|key| self.key(path, key)).collect();
                keys.sort_unstable();
                keys.dedup();
                Keyed { path, kind, keys, exact, complete: asked.complete }
            });
            let only = || {
                let keyed = keyed.as_ref().filter(|keyed| keyed.complete && keyed.kind == FeatureKind::Exact)?;
                keyed.keys.first().copied()
            };
            let quick = Quick::of(&leaf, only);
            self.part.conditions.push(Condition { path, quick, leaf });
            self.keyed.push(keyed);
        }
        number
    }

    /// The number of a key.
    fn key(&mut self, path: u32, asked: &Asked<'_>) -> u32 {
        let new = short(self.weights.len());
        let key = self.part.keys.get_or_insert(asked.place, &asked.bytes, new);
        if key == new {
            self.weights.push(0);
            let feature = Feature { path, kind: asked.kind };
            let number = *self.known_features.entry(feature).or_insert_with(|| {
                self.part.features.push(feature);
                short(self.part.features.len() - 1)
            });
            self.features.push(number);
        }
        key
    }

    pub(super) fn finish(mut self) -> Part {
        let drafts = std::mem::take(&mut self.drafts);
        self.root(drafts);
        self.part.mark_sole();
        self.part.renumber();
        self.part.shrink();
        self.part
    }

    /// Distributes the alternatives over what nearly all ask for, so that an event is looked at once for all of them; else
    /// over the exact conditions that are rarest; without one, over beginnings, ends and other features of a value;
    /// without any, over paths that must be there. The others are always asked.
    fn root(&mut self, drafts: Vec<Draft>) {
        let mut by_key: BTreeMap<u32, Vec<Draft>> = BTreeMap::new();
        let mut by_path: BTreeMap<u32, Vec<Draft>> = BTreeMap::new();
        let mut always = Vec::new();
        let common = common(&self.classes(&drafts), drafts.len());
        for mut draft in drafts {
            let keyed = |number: &u32| self.keyed.get(index(*number))?.as_ref();
            let ranked = draft.left.iter().enumerate().filter_map(|(at, number)| {
                let keyed = keyed(number)?;
                let other = common.is_none() || self.class(*number) != common;
                Some((other, !keyed.exact, !keyed.complete, self.weight(keyed), at))
            });
            if let Some((_, _, _, _, at)) = ranked.min()
                && let Some(keyed) = draft.left.get(at).and_then(keyed)
            {
                if keyed.complete {
                    draft.left.remove(at);
                }
                for key in &keyed.keys {
                    by_key.entry(*key).or_default().push(draft.clone());
                }
                continue;
            }
            let needed = draft.left.iter().filter_map(|number| {
                let condition = condition(&self.part.conditions, *number)?;
                (!condition.leaf.absent).then_some(condition.path)
            });
            match needed.min_by_key(|path| by_path.get(path).map_or(0, Vec::len)) {
                Some(path) => by_path.entry(path).or_default().push(draft),
                None => always.push(draft),
            }
        }
        self.part.first.resize(self.weights.len(), NONE);
        for (key, drafts) in by_key {
            let feature = self.feature(key);
            let path = self.part.features.get(index(feature)).map_or(NONE, |feature| feature.path);
            if let Some(access) = self.part.access(path).filter(|access| !access.features.contains(&feature)) {
                access.features.push(feature);
            }
            let group = self.group(drafts, 0);
            if let Some(first) = self.part.first.get_mut(index(key)) {
                *first = group;
            }
        }
        for (path, drafts) in by_path {
            let group = self.group(drafts, 0);
            if let Some(access) = self.part.access(path) {
                access.present = group;
            }
        }
        if !always.is_empty() {
            self.part.always = self.group(always, 0);
        }
    }

    fn feature(&self, key: u32) -> u32 {
        self.features.get(index(key)).copied().unwrap_or(NONE)
    }

    /// A group of alternatives of which the event is known to satisfy the same conditions.
    fn group(&mut self, drafts: Vec<Draft>, level: usize) -> u32 {
        let number = short(self.part.groups.len());
        self.part.groups.push(Group::default());
        let (by_key, rest) = if level < MOST_LEVELS { self.divide(drafts) } else { (BTreeMap::new(), drafts) };
        let (ranges, rest) = self.ranges(rest);
        let entries = self.entries(rest);
        let mut steps: Vec<u32> = by_key.keys().map(|key| self.feature(*key)).collect();
        steps.sort_unstable();
        steps.dedup();
        let mut steps: Vec<Step> = steps.into_iter().map(Step::Lead).collect();
        for (mut range, drafts) in ranges {
            range.entries = self.entries(drafts);
            steps.push(Step::Range(range));
        }
        let start = self.part.steps.len();
        self.part.steps.append(&mut steps);
        if let Some(group) = self.part.groups.get_mut(index(number)) {
            *group = Group { entries, steps: (short(start), short(self.part.steps.len())) };
        }
        for (key, drafts) in by_key {
            let child = self.group(drafts, level + 1);
            self.part.next.insert(number, key, child);
        }
        number
    }

    /// Writes entries one after the other; the conditions of each are asked in the order in which they are.
    fn entries(&mut self, drafts: Vec<Draft>) -> (u32, u32) {
        let start = short(self.part.entries.len());
        for draft in drafts {
            let first = draft.left.first().and_then(|number| condition(&self.part.conditions, *number));
            let asks = if draft.left.is_empty() { NONE } else { short(self.part.asks.len()) };
            let paths = self.part.paths.get(index(draft.rule)).copied().unwrap_or(u64::MAX);
            let one = if draft.left.len() == 1 { flag::ONE } else { 0 };
            self.part.entries.push(Entry {
                rule: draft.rule,
                path: first.map_or(NONE, |first| first.path),
                asks,
                mask: short_mask(paths),
                quick: first.map_or(Quick::ASK, |first| first.quick),
                flags: draft.flags | one,
            });
            self.part.asks.extend(&draft.left);
            if let Some(last) = self.part.asks.last_mut().filter(|_| !draft.left.is_empty()) {
                *last |= LAST;
            }
        }
        (start, short(self.part.entries.len()))
    }
}

impl Part {
    /// Marks the entries of rules that have one only.
    fn mark_sole(&mut self) {
        let mut entries = vec![0_u32; self.paths.len()];
        for entry in &self.entries {
            if let Some(count) = entries.get_mut(index(entry.rule)) {
                *count += 1;
            }
        }
        for entry in &mut self.entries {
            if entries.get(index(entry.rule)) == Some(&1) {
                entry.flags |= flag::SOLE;
            }
        }
    }

    /// Numbers the conditions in the order in which entries name them, so that what one event touches lies close
    /// together; conditions that only led to groups go.
    fn renumber(&mut self) {
        let mut things: Vec<Option<Condition>> = self.conditions.drain(..).map(Some).collect();
        let mut numbers = vec![NONE; things.len()];
        for ask in &mut self.asks {
            let old = index(*ask & !LAST);
            if let Some(thing) = things.get_mut(old).and_then(Option::take) {
                if let Some(number) = numbers.get_mut(old) {
                    *number = short(self.conditions.len());
                }
                self.conditions.push(thing);
            }
            *ask = numbers.get(old).copied().unwrap_or(NONE) | *ask & LAST;
        }
    }

    /// The access by a path, to be filled in.
    fn access(&mut self, path: u32) -> Option<&mut Access> {
        let wanted = index(path) + 1;
        if path != NONE && self.access.len() < wanted {
            self.access.resize_with(wanted, Access::default);
        }
        self.access.get_mut(index(path))
    }
}

fn alternatives_of(group: &pattern::Group) -> usize {
    group.goals.iter().fold(1, |product, goal| match goal {
        Goal::Field(_) => product,
        Goal::Or(branches) => {
            product.saturating_mul(branches.iter().map(alternatives_of).fold(0, usize::saturating_add))
        }
    })
}

fn asks_for_absence(group: &pattern::Group) -> bool {
    group.goals.iter().any(|goal| match goal {
        Goal::Field(field) => field.leaf.absent,
        Goal::Or(branches) => branches.iter().any(asks_for_absence),
    })
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}
