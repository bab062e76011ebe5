//! Step 3 of 7: who wants the event?
//!
//! Enters: the [`Document`] of a `CloudEvent`. Leaves: the rules whose pattern it matches, in rule order. What can
//! fail: a pattern may need more attempts than allowed; that event is neither a match nor none, and is dead-lettered
//! for the rule. Never: I/O, a change of the event, a verdict that depends on another rule.

use crate::json::document::Document;
use crate::pattern::{EvaluationLimit, Pattern};
use std::sync::Arc;

/// The patterns of all rules, in rule order.
#[derive(Debug, Default)]
pub struct RuleSet {
    patterns: Vec<Arc<Pattern>>,
}

impl FromIterator<Arc<Pattern>> for RuleSet {
    fn from_iter<I: IntoIterator<Item = Arc<Pattern>>>(patterns: I) -> Self {
        Self { patterns: patterns.into_iter().collect() }
    }
}

impl RuleSet {
    /// Calls `each` with the index of every rule that wants the event, and of every rule whose verdict took too long.
    pub fn wanted(&self, document: &Document<'_>, mut each: impl FnMut(usize, Result<(), EvaluationLimit>)) {
        for (rule, pattern) in self.patterns.iter().enumerate() {
            match pattern.matches(document) {
                Ok(true) => each(rule, Ok(())),
                Ok(false) => {}
                Err(limit) => each(rule, Err(limit)),
            }
        }
    }

    /// The pattern of a rule, e.g. to explain its verdict.
    #[must_use]
    pub fn pattern(&self, rule: usize) -> Option<&Pattern> {
        self.patterns.get(rule).map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::value::Json;
    use crate::pattern::{Limits, Options, compile};

    fn pattern(text: &str, attempts: u32) -> Arc<Pattern> {
        let options = Options { limits: Limits { attempts, ..Limits::default() }, ..Options::default() };
        Arc::new(compile(text, &options).unwrap().pattern)
    }

    #[test]
    fn rules_in_order_and_limits_told_apart_from_no_match() {
        let rules: RuleSet = [
            pattern(r#"{"type":["b"]}"#, 9),
            pattern("{}", 9),
            pattern(r#"{"data":{"x":[1],"y":[1]}}"#, 1),
            pattern(r#"{"type":["a"]}"#, 9),
        ]
        .into_iter()
        .collect();
        let event = Json::check(br#"{"type":"a","data":[{"x":1},{"y":1},{"x":1}]}"#).unwrap();
        let mut wanted = Vec::new();
        rules.wanted(&Document::from_object(event).unwrap(), |rule, result| wanted.push((rule, result)));
        let limit = EvaluationLimit { attempts: 1 };
        assert_eq!(wanted, [(1, Ok(())), (2, Err(limit)), (3, Ok(()))]);
        assert_eq!(limit.code(), "EVALUATION_LIMIT");
    }
}
