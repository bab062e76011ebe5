//! `Index`: all patterns of a rule set beside one event, without asking each.
//!
//! Built once per rule set (`build`), then, for every event:
//!
//! 1. **One walk.** `trie` holds the paths of all rules; `walk` goes over the document once and collects the `leaves` at
//!    these paths, for all rules together. Keys that stand where they stood in the last event are not looked for in the
//!    trie again (`recall`).
//! 2. **From values to rules.** An alternative of a rule (a rule without `$or` has one) is found by its condition on a
//!    path that nearly all rules name, most often the type: then one value of the event leads to all of them. Without
//!    such a path it is found by the exact condition that is rarest in the rule set. The path and the value are a *key*,
//!    looked up in a hash table (`keys`) and verified on the bytes. Beginnings and ends of a text, a text without regard to case and networks are keys too (`feature`);
//!    a rule without any key is found by a path that must be there, else it is asked for every event. So most rules are
//!    never touched.
//! 3. **Groups.** A key leads to a *group*. A group with many alternatives is divided (`divide`) by the next keys, and
//!    so on; number ranges of one path are put in order, so that those a number lies in stand together.
//! 4. **What is left.** The *entries* of a group lie one after the other, each with its other `condition`s, what costs
//!    little and seldom holds first, and the first of them inside the entry if it is small (`quick`). Rules that say the
//!    same of a path share a condition, which is decided once per event; number, address and key of a value are computed
//!    once, and only if asked. What the entries of a group name is numbered in their order, so that it lies close
//!    together.
//! 5. **The verdict.** If all conditions of an alternative hold by themselves and at most one of its paths leads into an
//!    array of objects, the rule matches. Otherwise `verdict` and `search` judge the whole pattern over the same leaves.
//!
//! The dialects see different leaves (duplicate keys) and compare differently, so each has a `Part` of its own. What an
//! event needs in memory stays in a [`Scratch`], which each thread keeps for itself: no lock, and no allocation once it
//! has grown (but for escaped strings and for the search).

mod build;
mod condition;
mod divide;
mod event;
mod feature;
pub(super) mod keys;
mod part;
mod quick;

#[cfg(test)]
mod many;
#[cfg(test)]
mod tests;

use super::{EvaluationLimit, Pattern};
use crate::json::document::Document;
use crate::model::resources::Dialect;
use event::Memory;
use part::Part;
use std::sync::Arc;

/// The patterns of a rule set, in rule order.
#[derive(Debug)]
pub struct Index {
    patterns: Vec<Arc<Pattern>>,
    /// One per dialect that occurs.
    parts: Vec<Part>,
}

/// Rule sets that a [`Scratch`] remembers.
const REMEMBERED: usize = 16;

/// The memory of one thread for the events it matches, against any rule set.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The last used last.
    #[allow(clippy::vec_box, reason = "they are moved for every event")]
    memories: Vec<Box<Memory>>,
    wanted: Vec<(u32, Result<(), EvaluationLimit>)>,
}

impl Default for Index {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl FromIterator<Arc<Pattern>> for Index {
    fn from_iter<I: IntoIterator<Item = Arc<Pattern>>>(patterns: I) -> Self {
        let patterns: Vec<Arc<Pattern>> = patterns.into_iter().collect();
        let parts = [Dialect::Tidegate, Dialect::Aws].into_iter().filter_map(|dialect| {
            let mut builder = None;
            for (rule, pattern) in (0..).zip(&patterns).filter(|(_, pattern)| pattern.options.dialect == dialect) {
                builder.get_or_insert_with(|| build::Builder::new(dialect)).add(rule, pattern);
            }
            builder.map(build::Builder::finish)
        });
        let parts = parts.collect();
        Self { patterns, parts }
    }
}

impl Index {
    /// Calls `each`, in rule order, with every rule whose pattern matches, and every rule whose verdict took too long.
    pub fn matching(
        &self,
        document: &Document<'_>,
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, Result<(), EvaluationLimit>),
    ) {
        scratch.wanted.clear();
        for part in &self.parts {
            let mut memory = scratch.take(part);
            part.matching(&self.patterns, document, &mut memory, &mut scratch.wanted);
            scratch.memories.push(memory);
        }
        scratch.wanted.sort_unstable_by_key(|(rule, _)| *rule);
        for (rule, verdict) in &scratch.wanted {
            each(keys::index(*rule), *verdict);
        }
    }

    /// The pattern of a rule.
    #[must_use]
    pub fn pattern(&self, rule: usize) -> Option<&Arc<Pattern>> {
        self.patterns.get(rule)
    }
}

impl Scratch {
    /// Takes what is remembered of a part.
    fn take(&mut self, part: &Part) -> Box<Memory> {
        if let Some(at) = self.memories.iter().rposition(|memory| memory.serves(part)) {
            return self.memories.remove(at);
        }
        if self.memories.len() == REMEMBERED {
            self.memories.remove(0);
        }
        Box::new(Memory::of(part))
    }
}
