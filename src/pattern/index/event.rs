//! One event beside a part of the index.

use super::EvaluationLimit;
use super::condition::condition;
use super::keys::index;
use super::part::{Entry, LAST, NONE, Part, Range, Shape, Step, flag, short_mask};
use crate::json::document::Document;
use crate::pattern::Pattern;
use crate::pattern::leaves::{FoundLeaf, Leaves};
use crate::pattern::matcher::Scalar;
use crate::pattern::verdict::Evaluation;
use crate::pattern::walk;
use std::sync::Arc;

/// Paths that have a bit of their own.
const BITS: usize = 64;

/// What one thread remembers between the events that it matches.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The part that it has served.
    part: u64,
    /// The number of the event; stamps with another are void.
    event: u32,
    leaves: Leaves<'static>,
    walk: walk::Memory,
    stamps: Stamps,
}

/// What is known in this event.
#[derive(Debug, Default)]
struct Stamps {
    /// By condition: twice the event, plus one if it holds.
    conditions: Vec<u32>,
    /// By feature: the event, and the key of the only leaf.
    features: Vec<(u32, Option<u32>)>,
    /// By rule: it has been judged.
    judged: Vec<u32>,
    /// By group: it has been visited.
    visited: Vec<u32>,
}

/// One event beside the part.
struct Event<'e, 'd> {
    part: &'e Part,
    patterns: &'e [Arc<Pattern>],
    leaves: &'e Leaves<'d>,
    event: u32,
    /// The paths with leaves in elements of arrays.
    bound: u16,
    stamps: &'e mut Stamps,
    wanted: &'e mut Vec<(u32, Result<(), EvaluationLimit>)>,
}

impl Part {
    /// Adds the rules that match, and those whose verdict took too long.
    pub(super) fn matching(
        &self,
        patterns: &[Arc<Pattern>],
        document: &Document<'_>,
        memory: &mut Memory,
        wanted: &mut Vec<(u32, Result<(), EvaluationLimit>)>,
    ) {
        memory.begin(self);
        let mut leaves: Leaves<'_> = std::mem::take(&mut memory.leaves);
        leaves.fill(document, &self.trie, self.dialect, &mut memory.walk);
        let stamps = &mut memory.stamps;
        let bound = short_mask(leaves.bound());
        let mut event = Event { part: self, patterns, leaves: &leaves, event: memory.event, bound, stamps, wanted };
        event.visit(self.always, false);
        for path in leaves.paths() {
            event.path(*path);
        }
        memory.leaves = leaves.recycle();
    }
}

impl Memory {
    pub(super) fn of(part: &Part) -> Self {
        let mut memory = Self { part: part.keys.identity(), ..Self::default() };
        memory.stamps.conditions.resize(part.conditions.len(), 0);
        memory.stamps.features.resize(part.features.len(), (0, None));
        memory.stamps.judged.resize(part.paths.len(), 0);
        memory.stamps.visited.resize(part.groups.len(), 0);
        memory
    }

    pub(super) fn serves(&self, part: &Part) -> bool {
        self.part == part.keys.identity()
    }

    /// Another event begins.
    fn begin(&mut self, part: &Part) {
        // Stamps of conditions are doubled.
        if self.event == u32::MAX / 2 {
            *self = Self::of(part);
        }
        self.event += 1;
    }
}

impl<'d> Event<'_, 'd> {
    /// Follows all that the leaves at a path lead to.
    fn path(&mut self, path: u32) {
        let part = self.part;
        let Some(access) = part.access.get(index(path)) else { return };
        if access.present != NONE {
            self.visit(access.present, false);
        }
        for feature in &access.features {
            self.follow(*feature, |key| part.first.get(index(key)).copied());
        }
    }

    /// Visits the groups that the keys of a feature lead to.
    fn follow(&mut self, number: u32, group: impl Fn(u32) -> Option<u32>) {
        let part = self.part;
        let Some(feature) = part.features.get(index(number)) else { return };
        let leaves = self.leaves;
        let key = |leaf: &FoundLeaf<'d>| feature.key(&part.keys, part.dialect, leaf);
        if let Some(leaf) = leaves.single(feature.path) {
            let Some(known) = self.stamps.features.get_mut(index(number)) else { return };
            if known.0 != self.event {
                *known = (self.event, key(leaf));
            }
            if let Some(group) = known.1.and_then(group) {
                self.visit(group, false);
            }
            return;
        }
        for leaf in leaves.at(feature.path) {
            if let Some(group) = key(leaf).and_then(&group) {
                self.visit(group, true);
            }
        }
    }

    /// Asks the entries of a group, and follows what leads on. `again`: several values may lead here, e.g. a list with
    /// the same many times.
    fn visit(&mut self, number: u32, again: bool) {
        let part = self.part;
        let Some(group) = part.groups.get(index(number)) else { return };
        if again && let Some(visited) = self.stamps.visited.get_mut(index(number)) {
            if *visited == self.event {
                return;
            }
            *visited = self.event;
        }
        for entry in entries(part, group.entries) {
            self.entry(entry);
        }
        let (start, end) = group.steps;
        for step in part.steps.get(index(start)..index(end)).unwrap_or_default() {
            match step {
                Step::Lead(feature) => self.follow(*feature, |key| part.next.get(number, key)),
                Step::Range(range) => self.range(range),
            }
        }
    }

    /// Asks the entries whose range the number at a path is in.
    fn range(&mut self, range: &Range) {
        let entries = entries(self.part, range.entries);
        let Some(leaf) = self.leaves.single(range.path) else {
            if self.leaves.slot(range.path).count > 0 {
                entries.iter().for_each(|entry| self.entry(entry));
            }
            return;
        };
        let Scalar::Number(text) = &leaf.value else { return };
        let Some(value) = leaf.forms.millionths(text) else {
            return entries.iter().for_each(|entry| self.entry(entry));
        };
        let low = |entry: &&Entry| entry.quick.operand.low() <= value;
        let high = |entry: &&Entry| value <= entry.quick.operand.high();
        match range.shape {
            Shape::Above => entries.iter().take_while(low).for_each(|entry| self.others(entry)),
            Shape::Below => entries.iter().take_while(high).for_each(|entry| self.others(entry)),
            Shape::Between => {
                let least = value.saturating_sub(range.width);
                let start = entries.partition_point(|entry| entry.quick.operand.low() < least);
                let rest = entries.get(start..).unwrap_or_default();
                rest.iter().take_while(low).filter(high).for_each(|entry| self.others(entry));
            }
        }
    }

    /// Asks the conditions of an entry.
    #[inline]
    fn entry(&mut self, entry: &Entry) {
        match entry.quick.decide(&self.part.keys, entry.path, self.leaves) {
            Some(false) => {}
            Some(true) => self.others(entry),
            None => {
                if self.hold(entry.asks) {
                    self.judge(entry);
                }
            }
        }
    }

    /// The first condition of an entry holds; what of the others?
    #[inline]
    fn others(&mut self, entry: &Entry) {
        if entry.flags & flag::ONE != 0 || self.hold(entry.asks + 1) {
            self.judge(entry);
        }
    }

    /// Whether the conditions from here on hold, each by itself.
    fn hold(&mut self, asks: u32) -> bool {
        let asks = self.part.asks.get(index(asks)..).unwrap_or_default();
        for ask in asks {
            if !self.holds(ask & !LAST) {
                return false;
            }
            if ask & LAST != 0 {
                break;
            }
        }
        true
    }

    /// Whether a condition can hold by itself.
    #[inline]
    fn holds(&mut self, number: u32) -> bool {
        let Some(stamp) = self.stamps.conditions.get_mut(index(number)) else { return false };
        if *stamp >> 1 != self.event {
            let condition = condition(&self.part.conditions, number);
            let holds = condition.is_some_and(|condition| condition.is_viable(&self.part.keys, self.leaves));
            *stamp = self.event << 1 | u32::from(holds);
        }
        *stamp & 1 == 1
    }

    /// Every condition of an alternative holds by itself; now for the whole pattern.
    fn judge(&mut self, entry: &Entry) {
        if entry.flags & flag::SOLE == 0
            && let Some(judged) = self.stamps.judged.get_mut(index(entry.rule))
        {
            if *judged == self.event {
                return;
            }
            *judged = self.event;
        }
        let verdict = if self.choices_interact(entry) {
            let Some(pattern) = self.patterns.get(index(entry.rule)) else { return };
            match Evaluation::new(pattern, &self.part.trie, self.leaves).matches() {
                Ok(true) => Ok(()),
                Ok(false) => return,
                Err(limit) => Err(limit),
            }
        } else {
            Ok(())
        };
        self.wanted.push((entry.rule, verdict));
    }

    /// Whether the leaf that one condition chooses may rule out that of another, as far as can be seen here.
    fn choices_interact(&self, entry: &Entry) -> bool {
        if entry.flags & flag::WHOLE != 0 {
            return true;
        }
        if entry.mask & self.bound == 0 {
            return false;
        }
        let bound = self.part.paths.get(index(entry.rule)).copied().unwrap_or(u64::MAX) & self.leaves.bound();
        // One path alone rules out nothing, unless its absence is asked for.
        let alone = bound.count_ones() == 1 && self.part.trie.paths() <= BITS && entry.flags & flag::ABSENCE == 0;
        bound != 0 && !alone
    }
}

fn entries(part: &Part, (start, end): (u32, u32)) -> &[Entry] {
    part.entries.get(index(start)..index(end)).unwrap_or_default()
}
