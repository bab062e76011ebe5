//! One pattern against one document. Without arrays of objects, every choice of leaves is compatible with every other,
//! and no search is needed.

use super::leaves::{self, Found, FoundLeaf};
use super::search::Search;
use super::{EvaluationLimit, Field, Goal, Group, Pattern};
use crate::json::document::Document;
use smallvec::SmallVec;
use std::cell::OnceCell;

/// What is known of a document so far: each path is looked up once, when it is first asked for.
pub(super) struct Evaluation<'e, 'a> {
    pub(super) pattern: &'e Pattern,
    document: &'e Document<'a>,
    found: SmallVec<[OnceCell<Found<'e>>; 4]>,
}

impl<'e, 'a> Evaluation<'e, 'a> {
    pub(super) fn new(pattern: &'e Pattern, document: &'e Document<'a>) -> Self {
        let found = pattern.paths.iter().map(|_| OnceCell::new()).collect();
        Self { pattern, document, found }
    }

    pub(super) fn matches(&self) -> Result<bool, EvaluationLimit> {
        let mut attempts = self.pattern.options.limits.attempts;
        let mut verdict = Ok(false);
        for group in &self.pattern.alternatives {
            if !self.viable(group) {
                continue;
            }
            if !self.choices_interact() {
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

    /// Whether, among the paths looked up so far, one choice can rule out another.
    fn choices_interact(&self) -> bool {
        self.pattern.paths.iter().zip(&self.found).any(|(path, found)| {
            found.get().is_some_and(|found| found.is_bound() || (path.repeated && found.leaves.len() > 1))
        })
    }

    /// The leaves at a path.
    pub(super) fn leaves(&self, path: usize) -> &[FoundLeaf<'e>] {
        self.found(path).map_or(&[], |found| &found.leaves)
    }

    /// What is at a path.
    pub(super) fn found(&self, path: usize) -> Option<&Found<'e>> {
        let name = &self.pattern.paths.get(path)?.name;
        let cell = self.found.get(path)?;
        Some(cell.get_or_init(|| leaves::find(self.document, name, self.pattern.options.dialect)))
    }
}
