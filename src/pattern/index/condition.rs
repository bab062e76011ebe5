//! A condition of a rule set: a path and its matchers, once for all rules that say the same of it.

use super::keys::{Keys, index};
use super::quick::{Kind, Quick};
use crate::pattern::leaves::Leaves;
use crate::pattern::matcher::{Leaf, Test};
use std::sync::Arc;

/// A path and what it is compared with.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) path: u32,
    pub(super) quick: Quick,
    pub(super) leaf: Arc<Leaf>,
}

impl Condition {
    /// Whether it can hold by itself. `leaves` are those of the event.
    pub(super) fn is_viable(&self, keys: &Keys, leaves: &Leaves<'_>) -> bool {
        if let Some(decided) = self.quick.decide(keys, self.path, leaves) {
            return decided;
        }
        (self.leaf.absent && leaves.slot(self.path).all_bound)
            || leaves.at(self.path).any(|leaf| self.leaf.accepts(&leaf.value, &leaf.forms))
    }

    /// In which order to ask: first what costs little and seldom holds.
    pub(super) fn rank(&self) -> usize {
        match self.quick.kind {
            Kind::Key | Kind::Text | Kind::Within | Kind::Starts | Kind::Ends => 0,
            Kind::Network | Kind::Folds => 1,
            Kind::Present | Kind::Absent => OFTEN,
            Kind::Ask => {
                let tests: usize = self.leaf.tests.iter().map(cost).sum();
                1 + tests + if self.leaf.absent { OFTEN } else { 0 }
            }
        }
    }
}

/// The rank of what holds of most events.
const OFTEN: usize = 8;

fn cost(test: &Test) -> usize {
    match test {
        Test::Null | Test::Bool(_) => 1,
        Test::Number(_) | Test::Spelled(_) | Test::Text(_) | Test::Prefix(_) | Test::Suffix(_) => 2,
        Test::Numeric { .. } => 3,
        Test::Address(_) | Test::Cidr(_) => 6,
        Test::EqualsFolded(_) | Test::PrefixFolded(_) | Test::SuffixFolded(_) => 6,
        Test::Any => OFTEN,
        Test::Contains(_) | Test::Wildcard(_) => 10,
        Test::All(tests) => tests.iter().map(cost).sum(),
        Test::Not(tests) => tests.iter().map(cost).sum::<usize>() + OFTEN,
    }
}

/// The conditions by number.
pub(super) fn condition(conditions: &[Condition], number: u32) -> Option<&Condition> {
    conditions.get(index(number))
}
