//! Event patterns (event-patterns.md), compiled once and evaluated many times. Pure.
//!
//! Enters: the text of a pattern; later a [`Document`]. Leaves: a verdict. `compile` and `operator` read the text and
//! report every fault; `walk` finds the `leaves` of a document at the paths that patterns name (`trie`); `verdict` decides
//! without a search where no array of objects is involved, `search` where one is; `explain` says why not.
//! `amount`, `fold`, `wildcard`, `network` and `matcher` compare one scalar. `filters` are what may stand beside a
//! pattern; they see `attribute`s only.

mod amount;
mod attribute;
mod cesql;
mod compile;
mod doubts;
mod explain;
pub mod filters;
mod fold;
mod hint;
pub mod index;
mod leaves;
mod matcher;
mod meant;
mod near;
mod needle;
mod network;
mod operator;
mod or;
mod pool;
mod recall;
mod search;
mod trie;
mod verdict;
mod walk;
mod wildcard;

#[cfg(test)]
mod equivalence;
#[cfg(test)]
mod explanations;
#[cfg(test)]
pub(crate) mod generate;
#[cfg(test)]
mod messages;
#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;

pub use explain::{Explanation, FailedField};
pub use pool::Pool;

use crate::json::document::Document;
use crate::model::fault::Fault;
use crate::model::node::Node;
use crate::model::resources::Dialect;
pub use crate::model::resources::PatternLimits as Limits;
use leaves::Leaves;
use matcher::Leaf;
use std::sync::Arc;
use trie::Trie;
use verdict::Evaluation;

/// How a pattern is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whose verdicts and refusals hold.
    pub dialect: Dialect,
    /// `alias: aws`: the top-level keys `detail-type` and `detail` mean `type` and `data` (rule 4).
    pub alias_aws: bool,
    /// Limits.
    pub limits: Limits,
}

/// A pattern and what is doubtful about it.
#[derive(Debug)]
pub struct Compiled {
    /// The pattern.
    pub pattern: Pattern,
    /// Warnings; they refuse nothing.
    pub warnings: Vec<Fault>,
}

/// The search was given up: the event is neither a match nor none (rule 33).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event needs more than {attempts} attempts to be matched; name fewer fields of long arrays in one pattern, or raise pattern.max_attempts"
)]
pub struct EvaluationLimit {
    /// The attempts that were allowed.
    pub attempts: u32,
}

impl EvaluationLimit {
    /// The stable code.
    pub const CODE: &'static str = "EVALUATION_LIMIT";

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        Self::CODE
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    /// As written, if it was compiled alone: explanations are read from it again. Of a rule set, the rules have the text.
    text: Option<Box<str>>,
    options: Arc<Options>,
    /// The paths that are named, each once; fields refer to them by index.
    paths: Arc<[Path]>,
    /// One of these must hold. `tidegate`: one tree. `aws`: one flat group per alternative, ordered by path.
    alternatives: Box<[Group]>,
    /// Fields in all; each has a number below this.
    fields: usize,
}

/// A path that a pattern names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Path {
    /// The keys joined with dots (rule 6).
    name: Arc<str>,
    /// An alternative may constrain it more than once (rule 30).
    repeated: bool,
}

/// Conditions that must all hold.
#[derive(Debug, Default)]
struct Group {
    goals: Box<[Goal]>,
}

/// One condition.
#[derive(Debug)]
enum Goal {
    /// A field and its matchers.
    Field(Field),
    /// One of these groups must hold (`$or`).
    Or(Box<[Group]>),
}

/// A path and what it is compared with.
#[derive(Debug, Clone)]
struct Field {
    number: usize,
    path: usize,
    leaf: Arc<Leaf>,
}

/// Compiles the text of a pattern.
///
/// # Errors
/// All faults, each with its pointer (rule 31) and a code `PATTERN_…`.
pub fn compile(json_text: &str, options: &Options) -> Result<Compiled, Vec<Fault>> {
    let mut compiled = compile_with(json_text, options, &mut Pool::default())?;
    compiled.pattern.text = Some(json_text.into());
    Ok(compiled)
}

/// [`compile`] for one of many patterns: what they say alike, they share, and none keeps its text. Explanations want a
/// pattern that was compiled alone.
///
/// # Errors
/// The same.
pub fn compile_with(json_text: &str, options: &Options, pool: &mut Pool) -> Result<Compiled, Vec<Fault>> {
    compile::compile(json_text, options, false, pool)
}

/// A fault of a pattern, or of filters, that was written as `node`, with its place: that of the key for what is said of a key. `prefix`
/// is the pointer to the pattern.
#[must_use]
pub fn placed(fault: Fault, node: &Node, prefix: &str) -> Fault {
    let of_key = matches!(fault.code, "PATTERN_OPERATOR" | "PATTERN_FIELD_NAME" | "PATTERN_OR" | "PATTERN_NAME");
    let place = if of_key { node.key_place_of(&fault.pointer) } else { node.place_of(&fault.pointer) };
    Fault { pointer: format!("{prefix}{}", fault.pointer), ..fault.at(place.clone()) }
}

impl Pattern {
    /// Whether an event matches.
    ///
    /// # Errors
    /// The search took more attempts than allowed.
    pub fn matches(&self, document: &Document<'_>) -> Result<bool, EvaluationLimit> {
        let (trie, leaves) = self.look(document);
        Evaluation::new(self, &trie, &leaves).matches()
    }

    /// The leaves of a document at the paths it names.
    fn look<'d>(&self, document: &'d Document<'_>) -> (Trie, Leaves<'d>) {
        let mut trie = Trie::default();
        for path in &*self.paths {
            trie.insert(&path.name);
        }
        let leaves = Leaves::of(document, &trie, self.options.dialect);
        (trie, leaves)
    }

    /// The fields it names, each once, keys joined with dots.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(|path| &*path.name)
    }

    /// What it names that no `CloudEvent` has, as warnings. `json_text` is the text it was compiled from.
    #[must_use]
    pub fn doubts(&self, json_text: &str) -> Vec<Fault> {
        doubts::of_event(self, json_text)
    }

    /// How it was read.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Why an event matches or not, for people.
    #[must_use]
    pub fn explain(&self, document: &Document<'_>) -> Explanation {
        // It compiled before, so it does again; this time it keeps its words.
        let again = |text| compile::compile(text, &self.options, true, &mut Pool::default()).ok();
        match self.text.as_deref().and_then(again) {
            Some(verbose) => explain::explain(&verbose.pattern, document),
            None => explain::explain(self, document),
        }
    }
}
