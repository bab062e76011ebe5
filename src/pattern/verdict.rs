//! One pattern against one document. Without arrays of objects, every choice of leaves is compatible with every other,
//! and no search is needed.

use super::leaves::{FoundLeaf, Leaves, Slot};
use super::search::Search;
use super::trie::Trie;
use super::{EvaluationLimit, Field, Goal, Group, Pattern};
use smallvec::SmallVec;

/// A pattern beside the leaves of a document.
pub(super) struct Evaluation<'e> {
    pub(super) pattern: &'e Pattern,
    /// By path of the pattern.
    found: SmallVec<[Found<'e>; 6]>,
}

struct Found<'e> {
    leaves: SmallVec<[&'e FoundLeaf<'e>; 2]>,
    slot: Slot,
}

impl<'e> Evaluation<'e> {
    /// `leaves` were found along `trie`, which has every path of the pattern.
    pub(super) fn new<'d: 'e>(pattern: &'e Pattern, trie: &Trie, leaves: &'e Leaves<'d>) -> Self {
        let found = pattern.paths.iter().map(|path| {
            let number = trie.find(&path.name).unwrap_or(u32::MAX);
            Found {
                leaves: leaves.at(number).map(|leaf| -> &'e FoundLeaf<'e> { leaf }).collect(),
                slot: leaves.slot(number),
            }
        });
        Self { pattern, found: found.collect() }
    }

    pub(super) fn matches(&self) -> Result<bool, EvaluationLimit> {
        let mut attempts = self.pattern.options.limits.attempts;
        let mut verdict = Ok(false);
        for group in &self.pattern.alternatives {
            if !self.viable(group) {
                continue;
            }
            if !self.choices_interact(group) {
                return Ok(true);
            }
            match Search::new(self, &mut attempts).solve(group) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(limit) => verdict = Err(limit),
            }
        }
        verdict
    }

    /// Whether every condition can hold by itself. If not, there is no match.
    pub(super) fn viable(&self, group: &Group) -> bool {
        group.goals.iter().all(|goal| match goal {
            Goal::Field(field) => self.field_viable(field),
            Goal::Or(branches) => branches.iter().any(|branch| self.viable(branch)),
        })
    }

    /// Whether a field can hold by itself.
    pub(super) fn field_viable(&self, field: &Field) -> bool {
        let leaves = self.leaves(field.path);
        (field.leaf.absent && leaves.iter().all(|leaf| !leaf.bindings.is_empty()))
            || leaves.iter().any(|leaf| field.leaf.accepts(&leaf.value, &leaf.forms))
    }

    /// Whether, for the fields of a group, one choice can rule out another.
    fn choices_interact(&self, group: &Group) -> bool {
        let mut bound = None;
        self.interacts(group, &mut bound)
    }

    /// `bound` is the path met so far that has leaves in elements. With one such path, its choice rules out nothing.
    fn interacts(&self, group: &Group, bound: &mut Option<usize>) -> bool {
        group.goals.iter().any(|goal| match goal {
            Goal::Field(field) => {
                let Some(found) = self.found.get(field.path) else { return false };
                let repeated = self.pattern.paths.get(field.path).is_some_and(|path| path.repeated);
                if repeated && found.slot.count > 1 {
                    return true;
                }
                found.slot.bound && (field.leaf.absent || *bound.get_or_insert(field.path) != field.path)
            }
            Goal::Or(branches) => branches.iter().any(|branch| self.interacts(branch, bound)),
        })
    }

    /// The leaves at a path.
    pub(super) fn leaves(&self, path: usize) -> &[&'e FoundLeaf<'e>] {
        self.found.get(path).map_or(&[], |found| &found.leaves)
    }
}
