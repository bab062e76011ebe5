//! The part of an index that holds the rules of one dialect, as it lies in memory.

use super::condition::Condition;
use super::feature::Feature;
use super::keys::{Keys, Pairs};
use super::quick::Quick;
use crate::model::resources::Dialect;
use crate::pattern::trie::Trie;
use smallvec::SmallVec;

/// No group, path or number.
pub(super) const NONE: u32 = u32::MAX;

/// Set in the last of the conditions of an entry.
pub(super) const LAST: u32 = 1 << 31;

#[derive(Debug)]
pub(super) struct Part {
    pub(super) dialect: Dialect,
    pub(super) trie: Trie,
    /// By rule: the bits of its paths.
    pub(super) paths: Vec<u64>,
    pub(super) conditions: Vec<Condition>,
    /// From a path and something of a value to a key.
    pub(super) keys: Keys,
    pub(super) features: Vec<Feature>,
    /// By path.
    pub(super) access: Vec<Access>,
    /// By key: the group that it leads to before any other key is known.
    pub(super) first: Vec<u32>,
    /// From a group and a key to the next group.
    pub(super) next: Pairs,
    pub(super) groups: Vec<Group>,
    pub(super) steps: Vec<Step>,
    pub(super) entries: Vec<Entry>,
    /// The conditions of entries, one after the other; the last has the bit [`LAST`].
    pub(super) asks: Vec<u32>,
    /// The alternatives that no value leads to.
    pub(super) always: u32,
}

/// Alternatives of which some conditions are known to hold: those to be asked one by one, and the steps to the others.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) entries: (u32, u32),
    pub(super) steps: (u32, u32),
}

/// How a group leads on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The keys of a feature lead to further groups.
    Lead(u32),
    /// Entries with a number range of the same path, in order.
    Range(Range),
}

/// Entries that first ask for a number between two others, ordered so that those in question stand together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) path: u32,
    pub(super) shape: Shape,
    pub(super) entries: (u32, u32),
    /// The widest range.
    pub(super) width: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Shape {
    /// No upper bound; by lower bound.
    Above,
    /// No lower bound; by upper bound, the largest first.
    Below,
    /// By lower bound.
    Between,
}

/// An alternative with the conditions that are left. Two of them fill a line of the cache.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: u32,
    /// The path of the first condition.
    pub(super) path: u32,
    /// Where its conditions begin in `asks`.
    pub(super) asks: u32,
    /// A bit for each path of the rule, modulo 16: what of [`Part::paths`] has room here.
    pub(super) mask: u16,
    /// The first condition.
    pub(super) quick: Quick,
    /// See [`flag`].
    pub(super) flags: u8,
}

/// What is known of an entry.
pub(super) mod flag {
    /// It says too little; the whole pattern is to be judged.
    pub(in super::super) const WHOLE: u8 = 1;
    /// It is the only entry of its rule.
    pub(in super::super) const SOLE: u8 = 2;
    /// There is no condition but the first.
    pub(in super::super) const ONE: u8 = 4;
    /// The rule asks somewhere for the absence of a field.
    pub(in super::super) const ABSENCE: u8 = 8;
}

/// How the leaves at a path lead to groups.
#[derive(Debug)]
pub(super) struct Access {
    /// The features whose keys lead to groups.
    pub(super) features: SmallVec<[u32; 2]>,
    /// The group that any leaf leads to.
    pub(super) present: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self { features: SmallVec::new(), present: NONE }
    }
}

impl Part {
    pub(super) fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            trie: Trie::default(),
            paths: Vec::new(),
            conditions: Vec::new(),
            keys: Keys::default(),
            features: Vec::new(),
            access: Vec::new(),
            first: Vec::new(),
            next: Pairs::default(),
            groups: Vec::new(),
            steps: Vec::new(),
            entries: Vec::new(),
            asks: Vec::new(),
            always: NONE,
        }
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.trie.shrink();
        self.paths.shrink_to_fit();
        self.conditions.shrink_to_fit();
        self.keys.shrink();
        self.features.shrink_to_fit();
        self.access.shrink_to_fit();
        self.first.shrink_to_fit();
        self.groups.shrink_to_fit();
        self.steps.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.asks.shrink_to_fit();
    }
}

/// The bits of paths modulo 64 as bits modulo 16.
pub(super) fn short_mask(bits: u64) -> u16 {
    let folded = bits | bits >> 16 | bits >> 32 | bits >> 48;
    u16::try_from(folded & u64::from(u16::MAX)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_fill_lines_of_the_cache() {
        assert_eq!((size_of::<Entry>(), size_of::<Condition>(), size_of::<Group>()), (32, 32, 16));
    }
}
