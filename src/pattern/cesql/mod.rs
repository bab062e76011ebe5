//! CESQL: the `CloudEvents` SQL Expression Language 1.0.0 (cloudevents/spec, `cesql/spec.md`), for `sql` filters.
//!
//! Enters: the text of an expression; later a document, of which only attributes are looked at. Leaves: a value, or
//! the first error ("fail fast", section 4.1) with the value that the failing part returns. `lex` cuts the text into
//! tokens, `parse` makes a tree of them and reports what is wrong, `evaluate` walks the tree, `explain` says why it was
//! not true. `value` are the types and casts, `function` the built-in functions, `like` the patterns of LIKE.
//!
//! Where the specification leaves room: a result beyond 32 bits is a math error with the nearest integer, as ABS has
//! it; AND, OR and XOR bind alike and go from left to right (section 3.6); `NOT` of an integer is a cast error, as the
//! conformance tests of the specification have it, although its table of casts allows the cast.

mod evaluate;
mod explain;
mod function;
mod lex;
mod like;
mod parse;
mod tree;
mod value;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use crate::json::document::Document;
use evaluate::Error;
use tree::Node;
use value::Value;

/// Parentheses, unary operators, calls and sets in each other at most; nothing here recurses deeper.
const DEPTH: usize = 64;

/// Bytes that CONCAT and `CONCAT_WS` may make of one event at most.
const RESULT_BYTES: usize = 1 << 20;

/// Characters between two `%` of LIKE if `_` is among them: what a search must remember at a time.
const SEGMENT_CHARS: usize = 1_024;

/// The kinds of errors of section 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Parse,
    Math,
    Cast,
    MissingAttribute,
    MissingFunction,
    FunctionEvaluation,
    /// A limit of this engine.
    Generic,
}

/// Something wrong, or doubtful, with the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// Byte offset in the text.
    pub(super) offset: usize,
    pub(super) message: String,
    /// What to write instead; may be empty.
    pub(super) cure: String,
}

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    text: Box<str>,
    root: Node,
}

/// Compiles an expression; gives what is doubtful about it beside it.
///
/// # Errors
/// What is wrong: the first fault of grammar, and every call of a function that does not exist.
pub(super) fn compile(text: &str) -> Result<(Expression, Vec<Problem>), Vec<Problem>> {
    let (root, warnings) = parse::parse(text)?;
    Ok((Expression { text: text.into(), root }, warnings))
}

impl Expression {
    /// Whether it is true of an event. An error or a value that is no boolean is not.
    pub(super) fn matches(&self, document: &Document<'_>) -> bool {
        matches!(self.evaluate(document), Ok(Value::Boolean(true)))
    }

    /// Its value for an event.
    fn evaluate<'v>(&'v self, document: &'v Document<'_>) -> Result<Value<'v>, Error<'v>> {
        evaluate::evaluate(&self.root, document)
    }

    /// Why it is not true of an event, for people.
    pub(super) fn explain(&self, document: &Document<'_>) -> String {
        explain::explain(self, document)
    }
}

impl Kind {
    /// Its name in the conformance tests of the specification.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingAttribute => "missingAttribute",
            Self::MissingFunction => "missingFunction",
            Self::FunctionEvaluation => "functionEvaluation",
            Self::Generic => "generic",
        }
    }
}
