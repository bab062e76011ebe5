//! From patterns to an index: which conditions lead to a rule, and in which order the others are asked.

use super::condition::{Condition, KeyKind, Quick, condition};
use super::keys::{index, pair};
use super::{Access, Entry, Group, NONE, Part};
use crate::model::resources::Dialect;
use crate::pattern::leaves::path_bit;
use crate::pattern::{self, Field, Goal, Pattern};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Alternatives that a pattern is cut into at most; with more, the conditions outside `$or` lead to it. (`aws` patterns
/// come in alternatives already, at most 1,000.)
const MOST_ALTERNATIVES: usize = 32;

/// So few entries are asked one by one.
const FEW: usize = 2;

/// One alternative of a rule on its way into the index.
#[derive(Debug, Clone)]
struct Draft {
    rule: u32,
    /// Conditions that are not known to hold yet.
    left: SmallVec<[u32; 6]>,
}

/// By key: the path of the key, and the alternatives that it leads to.
type ByKey = BTreeMap<u32, (u32, Vec<Draft>)>;

/// Builds the part of one dialect.
#[derive(Debug)]
pub(super) struct Builder {
    part: Part,
    known: HashMap<(u32, usize), u32>,
    /// By condition: its keys if it is exact.
    exact: Vec<Option<SmallVec<[u32; 1]>>>,
    /// By key: the alternatives that could be found by it.
    weights: Vec<u32>,
    drafts: Vec<Draft>,
}

impl Builder {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            part: Part::empty(dialect),
            known: HashMap::new(),
            exact: Vec::new(),
            weights: Vec::new(),
            drafts: Vec::new(),
        }
    }

    /// Adds a rule with a pattern of this dialect.
    pub(super) fn add(&mut self, rule: u32, pattern: &Arc<Pattern>) {
        let paths: SmallVec<[u32; 8]> = pattern.paths.iter().map(|path| self.part.trie.insert(&path.name)).collect();
        let mut whole = false;
        let mut alternatives: Vec<SmallVec<[u32; 6]>> = Vec::new();
        for group in &pattern.alternatives {
            let count = alternatives_of(group);
            let cut = count <= MOST_ALTERNATIVES;
            whole |= !cut;
            let mut of_group = vec![SmallVec::new()];
            self.expand(group, &paths, cut, &mut of_group);
            alternatives.append(&mut of_group);
        }
        whole |= pattern.paths.iter().any(|path| path.repeated);
        let bits = paths.iter().fold(0, |bits, path| bits | path_bit(*path));
        let member = self.part.member(rule, whole, bits);
        for left in alternatives {
            for condition in &left {
                for key in self.exact.get(index(*condition)).into_iter().flatten().flatten() {
                    if let Some(weight) = self.weights.get_mut(index(*key)) {
                        *weight += 1;
                    }
                }
            }
            self.drafts.push(Draft { rule: member, left });
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
        let new = u32::try_from(self.part.conditions.len()).unwrap_or(NONE);
        let number = *self.known.entry((path, Arc::as_ptr(&field.leaf).addr())).or_insert(new);
        if number == new {
            let condition = Condition::new(path, Arc::clone(&field.leaf));
            let keys = condition.exact().map(|keys| {
                let numbers = keys.iter().map(|(kind, bytes)| {
                    self.part.note(path, *kind, bytes.len());
                    let new = u32::try_from(self.weights.len()).unwrap_or(NONE);
                    let key = self.part.keys.get_or_insert(kind.place(path), bytes, new);
                    if key == new {
                        self.weights.push(0);
                    }
                    key
                });
                let mut numbers: SmallVec<[u32; 1]> = numbers.collect();
                numbers.sort_unstable();
                numbers.dedup();
                numbers
            });
            self.exact.push(keys);
            self.part.conditions.push(condition);
        }
        number
    }

    pub(super) fn finish(mut self) -> Part {
        let drafts = std::mem::take(&mut self.drafts);
        let rest = self.root(drafts);
        self.ends_and_presence(rest);
        self.part.renumber();
        self.part.shrink();
        self.part
    }

    /// Distributes the alternatives over the exact conditions that are rarest. Gives those without any.
    fn root(&mut self, drafts: Vec<Draft>) -> Vec<Draft> {
        let (by_key, rest) = self.by_key(drafts);
        self.part.first.resize(self.weights.len(), NONE);
        for (key, (path, drafts)) in by_key {
            if let Some(access) = self.part.access(path) {
                access.exact = true;
            }
            let group = self.group(drafts);
            self.lead(key, group);
        }
        rest
    }

    /// A key of the event leads to a group.
    fn lead(&mut self, key: u32, group: u32) {
        if let Some(first) = self.part.first.get_mut(index(key)) {
            *first = group;
        }
    }

    /// By the rarest exact condition that is left; and those without one.
    fn by_key(&self, drafts: Vec<Draft>) -> (ByKey, Vec<Draft>) {
        let mut by_key = ByKey::new();
        let mut rest = Vec::new();
        for mut draft in drafts {
            let weighed = draft.left.iter().enumerate().filter_map(|(at, condition)| {
                let keys = self.exact.get(index(*condition))?.as_ref()?;
                let weight = keys.iter().map(|key| self.weights.get(index(*key)).copied().unwrap_or_default());
                Some((weight.map(u64::from).sum::<u64>(), at))
            });
            let Some((_, at)) = weighed.min() else {
                rest.push(draft);
                continue;
            };
            let number = draft.left.remove(at);
            let path = condition(&self.part.conditions, number).map_or(NONE, |condition| condition.path);
            for key in self.exact.get(index(number)).into_iter().flatten().flatten() {
                by_key.entry(*key).or_insert_with(|| (path, Vec::new())).1.push(draft.clone());
            }
        }
        (by_key, rest)
    }

    /// A group of alternatives of which the event is known to satisfy the same exact conditions.
    fn group(&mut self, drafts: Vec<Draft>) -> u32 {
        let number = u32::try_from(self.part.groups.len()).unwrap_or(NONE);
        self.part.groups.push(Group::default());
        let (by_key, rest) = if drafts.len() <= FEW { (ByKey::new(), drafts) } else { self.by_key(drafts) };
        let entries = self.entries(rest);
        let start = self.part.probes.len();
        let mut paths: Vec<u32> = by_key.values().map(|(path, _)| *path).collect();
        paths.sort_unstable();
        paths.dedup();
        self.part.probes.extend(paths);
        let probes = (short(start), short(self.part.probes.len()));
        if let Some(group) = self.part.groups.get_mut(index(number)) {
            *group = Group { entries, probes };
        }
        for (key, (_, drafts)) in by_key {
            let child = self.group(drafts);
            self.part.next.get_or_insert(pair(number, key), b"", child);
        }
        number
    }

    /// Writes the entries of a group one after the other.
    fn entries(&mut self, drafts: Vec<Draft>) -> (u32, u32) {
        let start = short(self.part.entries.len());
        for mut draft in drafts {
            let conditions = &self.part.conditions;
            draft.left.sort_by_cached_key(|number| condition(conditions, *number).map_or(0, Condition::cost));
            let first = draft.left.first().and_then(|number| condition(conditions, *number));
            let quick = first.map_or(Quick::Ask, |first| first.quick(|place, bytes| self.part.keys.get(place, bytes)));
            let entry = Entry {
                rule: draft.rule,
                path: first.map_or(NONE, |first| first.path),
                quick,
                asks: short(self.part.asks.len()),
                count: short(draft.left.len()),
            };
            self.part.asks.extend(&draft.left);
            self.part.entries.push(entry);
        }
        (start, short(self.part.entries.len()))
    }

    /// Alternatives without an exact condition: by a beginning or an end of a text, else by a path that must be there,
    /// else they are always asked.
    fn ends_and_presence(&mut self, drafts: Vec<Draft>) {
        let mut by_end: BTreeMap<u32, Vec<Draft>> = BTreeMap::new();
        let mut by_path: BTreeMap<u32, Vec<Draft>> = BTreeMap::new();
        let mut always = Vec::new();
        for draft in drafts {
            let ends = draft.left.iter().find_map(|number| {
                let condition = condition(&self.part.conditions, *number)?;
                let ends = condition.ends()?;
                let longest_first = ends.iter().map(|(_, bytes)| bytes.len()).min();
                Some((longest_first, condition.path, *number))
            });
            if let Some((_, path, number)) = ends {
                for key in self.end_keys(number, path) {
                    by_end.entry(key).or_default().push(draft.clone());
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
        for (key, drafts) in by_end {
            let group = self.group(drafts);
            self.lead(key, group);
        }
        for (path, drafts) in by_path {
            let group = self.group(drafts);
            if let Some(access) = self.part.access(path) {
                access.present = group;
            }
        }
        if !always.is_empty() {
            self.part.always = self.group(always);
        }
    }

    fn end_keys(&mut self, number: u32, path: u32) -> SmallVec<[u32; 1]> {
        let Some(condition) = condition(&self.part.conditions, number) else { return SmallVec::new() };
        let leaf = Arc::clone(&condition.leaf);
        let condition = Condition::new(path, leaf);
        let mut keys: SmallVec<[u32; 1]> = SmallVec::new();
        for (kind, bytes) in condition.ends().into_iter().flatten() {
            self.part.note(path, kind, bytes.len());
            let new = u32::try_from(self.weights.len()).unwrap_or(NONE);
            let key = self.part.keys.get_or_insert(kind.place(path), &bytes, new);
            if key == new {
                self.weights.push(0);
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

impl Part {
    /// Numbers members and conditions in the order in which entries name them, so that what one event touches lies close
    /// together; conditions that only led to groups go.
    fn renumber(&mut self) {
        let named = self.entries.iter_mut().map(|entry| &mut entry.rule);
        self.members = in_order_of(named, std::mem::take(&mut self.members));
        self.conditions = in_order_of(self.asks.iter_mut(), std::mem::take(&mut self.conditions));
    }

    /// The access by a path, to be filled in.
    fn access(&mut self, path: u32) -> Option<&mut Access> {
        let wanted = index(path) + 1;
        if path != NONE && self.access.len() < wanted {
            self.access.resize_with(wanted, Access::default);
        }
        self.access.get_mut(index(path))
    }

    /// A key of that kind exists for a path.
    fn note(&mut self, path: u32, kind: KeyKind, len: usize) {
        let len = short(len);
        let Some(access) = self.access(path) else { return };
        let lengths = match kind {
            KeyKind::Word | KeyKind::Text | KeyKind::Number => return,
            KeyKind::Address => {
                access.addresses = true;
                return;
            }
            KeyKind::Prefix => &mut access.prefixes,
            KeyKind::Suffix => &mut access.suffixes,
        };
        if let Err(at) = lengths.binary_search(&len) {
            lengths.insert(at, len);
        }
    }
}

/// Those of `things` that are named by number, in the order in which they are; the names become their new numbers.
fn in_order_of<'n, T>(names: impl Iterator<Item = &'n mut u32>, things: Vec<T>) -> Vec<T> {
    let mut things: Vec<Option<T>> = things.into_iter().map(Some).collect();
    let mut numbers = vec![NONE; things.len()];
    let mut ordered = Vec::new();
    for name in names {
        let old = index(*name);
        if let Some(thing) = things.get_mut(old).and_then(Option::take) {
            if let Some(number) = numbers.get_mut(old) {
                *number = short(ordered.len());
            }
            ordered.push(thing);
        }
        *name = numbers.get(old).copied().unwrap_or(NONE);
    }
    ordered
}

fn alternatives_of(group: &pattern::Group) -> usize {
    group.goals.iter().fold(1, |product, goal| match goal {
        Goal::Field(_) => product,
        Goal::Or(branches) => {
            product.saturating_mul(branches.iter().map(alternatives_of).fold(0, usize::saturating_add))
        }
    })
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}
