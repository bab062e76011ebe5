//! The part of an index that holds the rules of one dialect.

use super::condition::{Condition, Quick, address_key_of, condition, key_of};
use super::keys::{Keys, index, pair};
use super::{EvaluationLimit, Leaves};
use crate::json::document::Document;
use crate::model::resources::Dialect;
use crate::pattern::Pattern;
use crate::pattern::leaves::FoundLeaf;
use crate::pattern::matcher::Scalar;
use crate::pattern::trie::Trie;
use crate::pattern::verdict::Evaluation;
use std::sync::Arc;

/// No group, path or number.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Part {
    dialect: Dialect,
    pub(super) trie: Trie,
    pub(super) members: Vec<Member>,
    pub(super) conditions: Vec<Condition>,
    /// From a path and a value to a key.
    pub(super) keys: Keys,
    /// By path.
    pub(super) access: Vec<Access>,
    /// By key: the group that it leads to before any other key is known.
    pub(super) first: Vec<u32>,
    /// From a group and a key to the next group.
    pub(super) next: Keys,
    pub(super) groups: Vec<Group>,
    /// The paths whose keys lead from groups to other groups.
    pub(super) probes: Vec<u32>,
    pub(super) entries: Vec<Entry>,
    /// The conditions of entries.
    pub(super) asks: Vec<u32>,
    /// The alternatives that no value leads to.
    pub(super) always: u32,
}

/// A rule of the part.
#[derive(Debug)]
pub(super) struct Member {
    rule: u32,
    /// Its entries say too little; the whole pattern is to be judged.
    whole: bool,
    /// The bits of its paths: if none has a leaf in an array of objects, its choices cannot interact.
    paths: u64,
}

/// Alternatives, the exact conditions of which are known to hold: those to be asked, and those that further keys lead to.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) entries: (u32, u32),
    pub(super) probes: (u32, u32),
}

/// An alternative with the conditions that are left.
#[derive(Debug)]
pub(super) struct Entry {
    /// The member.
    pub(super) rule: u32,
    /// The path of the first condition.
    pub(super) path: u32,
    pub(super) quick: Quick,
    /// Where its conditions begin in `asks`.
    pub(super) asks: u32,
    pub(super) count: u32,
}

/// How the leaves at a path lead to groups.
#[derive(Debug)]
pub(super) struct Access {
    /// Keys of this path lead to groups.
    pub(super) exact: bool,
    /// Some keys are addresses.
    pub(super) addresses: bool,
    /// The lengths of beginnings and ends that are keys.
    pub(super) prefixes: Vec<u32>,
    pub(super) suffixes: Vec<u32>,
    /// The group that any leaf leads to.
    pub(super) present: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self { exact: false, addresses: false, prefixes: Vec::new(), suffixes: Vec::new(), present: NONE }
    }
}

/// What one thread remembers between the events that it matches.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The part that it has served.
    part: u64,
    /// The number of the event; stamps with another are void.
    event: u32,
    leaves: Leaves<'static>,
    stamps: Stamps,
}

/// What is known in this event.
#[derive(Debug, Default)]
struct Stamps {
    /// By condition: twice the event, plus one if it holds.
    conditions: Vec<u32>,
    /// By member: it has been judged.
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
    stamps: &'e mut Stamps,
    wanted: &'e mut Vec<(u32, Result<(), EvaluationLimit>)>,
}

impl Part {
    pub(super) fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            trie: Trie::default(),
            members: Vec::new(),
            conditions: Vec::new(),
            keys: Keys::default(),
            access: Vec::new(),
            first: Vec::new(),
            next: Keys::default(),
            groups: Vec::new(),
            probes: Vec::new(),
            entries: Vec::new(),
            asks: Vec::new(),
            always: NONE,
        }
    }

    /// A new member.
    pub(super) fn member(&mut self, rule: u32, whole: bool, paths: u64) -> u32 {
        self.members.push(Member { rule, whole, paths });
        u32::try_from(self.members.len() - 1).unwrap_or(NONE)
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.trie.shrink();
        self.keys.shrink();
        self.next.shrink();
        self.members.shrink_to_fit();
        self.conditions.shrink_to_fit();
        self.access.shrink_to_fit();
        self.first.shrink_to_fit();
        self.groups.shrink_to_fit();
        self.probes.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.asks.shrink_to_fit();
    }

    /// Adds the rules whose pattern matches, each once, and those whose verdict took too long.
    pub(super) fn matching(
        &self,
        patterns: &[Arc<Pattern>],
        document: &Document<'_>,
        memory: &mut Memory,
        wanted: &mut Vec<(u32, Result<(), EvaluationLimit>)>,
    ) {
        memory.begin(self);
        let mut leaves = std::mem::take(&mut memory.leaves).recycle();
        leaves.fill(document, &self.trie, self.dialect);
        let stamps = &mut memory.stamps;
        let mut event = Event { part: self, patterns, leaves: &leaves, event: memory.event, stamps, wanted };
        event.visit(self.always);
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
        memory.stamps.judged.resize(part.members.len(), 0);
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

impl<'e, 'd> Event<'e, 'd> {
    /// Follows all that the leaves at a path lead to.
    fn path(&mut self, path: u32) {
        let part = self.part;
        let Some(access) = part.access.get(index(path)) else { return };
        self.visit(access.present);
        let ends = !(access.prefixes.is_empty() && access.suffixes.is_empty());
        if !access.exact && !ends {
            return;
        }
        for leaf in self.leaves.at(path) {
            if access.exact {
                self.key(key_of(&part.keys, path, leaf));
                if access.addresses {
                    self.key(address_key_of(&part.keys, path, leaf));
                }
            }
            if ends {
                self.ends(access, path, leaf);
            }
        }
    }

    fn key(&mut self, key: Option<u32>) {
        if let Some(group) = key.and_then(|key| self.part.first.get(index(key))) {
            self.visit(*group);
        }
    }

    fn ends(&mut self, access: &Access, path: u32, leaf: &FoundLeaf<'_>) {
        use super::condition::KeyKind::{Prefix, Suffix};
        let Scalar::Text(text) = &leaf.value else { return };
        let bytes = text.as_bytes();
        for len in &access.prefixes {
            let Some(beginning) = bytes.get(..index(*len)) else { break };
            self.key(self.part.keys.get(Prefix.place(path), beginning));
        }
        for len in &access.suffixes {
            let Some(end) = bytes.len().checked_sub(index(*len)).and_then(|start| bytes.get(start..)) else { break };
            self.key(self.part.keys.get(Suffix.place(path), end));
        }
    }

    /// Asks the entries of a group, and follows the keys that lead on.
    fn visit(&mut self, number: u32) {
        let part = self.part;
        let Some(group) = part.groups.get(index(number)) else { return };
        match self.stamps.visited.get_mut(index(number)) {
            // A list with the same value many times leads here as often.
            Some(visited) if *visited == self.event => return,
            Some(visited) => *visited = self.event,
            None => return,
        }
        let (start, end) = group.entries;
        for entry in part.entries.get(index(start)..index(end)).unwrap_or_default() {
            self.entry(entry);
        }
        let (start, end) = group.probes;
        for path in part.probes.get(index(start)..index(end)).unwrap_or_default() {
            let addresses = part.access.get(index(*path)).is_some_and(|access| access.addresses);
            for leaf in self.leaves.at(*path) {
                self.lead_on(number, key_of(&part.keys, *path, leaf));
                if addresses {
                    self.lead_on(number, address_key_of(&part.keys, *path, leaf));
                }
            }
        }
    }

    fn lead_on(&mut self, group: u32, key: Option<u32>) {
        if let Some(next) = key.and_then(|key| self.part.next.get(pair(group, key), b"")) {
            self.visit(next);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let first = match self.quick(entry) {
            Some(false) => return,
            Some(true) => 1,
            None => 0,
        };
        let part = self.part;
        let asks = part.asks.get(index(entry.asks)..index(entry.asks) + index(entry.count)).unwrap_or_default();
        if asks.iter().skip(first).all(|number| self.holds(*number)) {
            self.judge(entry.rule);
        }
    }

    /// What can be said of the first condition at once.
    fn quick(&self, entry: &Entry) -> Option<bool> {
        if let Quick::Ask = entry.quick {
            return None;
        }
        entry.quick.decide(&self.part.keys, entry.path, self.leaves.single(entry.path)?)
    }

    /// Whether a condition can hold by itself.
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
    fn judge(&mut self, member: u32) {
        match self.stamps.judged.get_mut(index(member)) {
            Some(judged) if *judged == self.event => return,
            Some(judged) => *judged = self.event,
            None => return,
        }
        let Some(Member { rule, whole, paths }) = self.part.members.get(index(member)) else { return };
        let verdict = if *whole || self.leaves.bound() & paths != 0 {
            let Some(pattern) = self.patterns.get(index(*rule)) else { return };
            match Evaluation::new(pattern, &self.part.trie, self.leaves).matches() {
                Ok(true) => Ok(()),
                Ok(false) => return,
                Err(limit) => Err(limit),
            }
        } else {
            Ok(())
        };
        self.wanted.push((*rule, verdict));
    }
}
