//! Filters of `CloudEvents` Subscriptions beside a pattern (event-patterns.md rule 34), compiled once.
//!
//! Enters: the JSON text of a list of filters; later a [`Document`], of which only attributes are looked at. Leaves: a
//! verdict, without a search and without an error: an expression that errs is false. `compile` reports every fault,
//! `explain` says which filter failed and why.

mod compile;
mod explain;

#[cfg(test)]
mod tests;

use super::attribute::Attribute;
use super::cesql::Expression;
use super::{Explanation, Limits};
use crate::json::document::Document;
use crate::model::fault::Fault;

/// A list of filters, all of which must hold.
#[derive(Debug)]
pub struct Filters {
    filters: Vec<Filter>,
    warnings: Vec<Fault>,
}

#[derive(Debug)]
enum Filter {
    /// All entries must hold.
    Compare(Comparison, Vec<Entry>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// An expression that must be true.
    Sql(Box<Expression>),
}

/// An attribute and the text it is compared with.
#[derive(Debug)]
struct Entry {
    name: Box<str>,
    wanted: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    Prefix,
    Suffix,
}

/// Compiles the JSON text of a list of filters.
///
/// # Errors
/// All faults, with pointers into the list and the code `PATTERN_FILTER`, `PATTERN_OPERATOR` for an unknown
/// filter, or `PATTERN_SQL` for an expression.
pub fn compile(json_text: &str) -> Result<Filters, Vec<Fault>> {
    compile_within(json_text, &Limits::default())
}

/// The same under other limits.
///
/// # Errors
/// All faults.
pub fn compile_within(json_text: &str, limits: &Limits) -> Result<Filters, Vec<Fault>> {
    compile::compile(json_text, limits)
}

impl Filters {
    /// Whether an event passes all filters.
    #[must_use]
    pub fn matches(&self, document: &Document<'_>) -> bool {
        self.filters.iter().all(|filter| filter.matches(document))
    }

    /// What is doubtful about them; it refuses nothing.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Why an event does not pass, for people; `None` if it does. Pointers begin with `/filters`.
    #[must_use]
    pub fn explain(&self, document: &Document<'_>) -> Option<Explanation> {
        explain::explain(self, document)
    }
}

impl Filter {
    fn matches(&self, document: &Document<'_>) -> bool {
        match self {
            Self::Compare(comparison, entries) => entries.iter().all(|entry| entry.holds(*comparison, document)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(document)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(document)),
            Self::Not(filter) => !filter.matches(document),
            Self::Sql(expression) => expression.matches(document),
        }
    }
}

impl Entry {
    fn holds(&self, comparison: Comparison, document: &Document<'_>) -> bool {
        Attribute::of(document, &self.name).is_some_and(|found| comparison.accepts(found.text(), &self.wanted))
    }
}

impl Comparison {
    fn accepts(self, found: &str, wanted: &str) -> bool {
        match self {
            Self::Exact => found == wanted,
            Self::Prefix => found.starts_with(wanted),
            Self::Suffix => found.ends_with(wanted),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
        }
    }
}
