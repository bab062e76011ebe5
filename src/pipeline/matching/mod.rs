//! Step 3 of 7: who wants the event?
//!
//! Enters: the [`Document`] of a `CloudEvent`. Leaves: the rules whose pattern and filters it matches, in rule order.
//! What can fail: a pattern may need more attempts than allowed; that event is neither a match nor none, and is
//! dead-lettered for the rule. Never: I/O, a change of the event, a verdict that depends on another rule.

use crate::json::document::Document;
use crate::pattern::filters::Filters;
use crate::pattern::index::{Index, Scratch};
use crate::pattern::{EvaluationLimit, Pattern};
use std::sync::Arc;

/// What a rule asks of an event: the pattern and, if there are some, the filters.
pub type Condition = (Arc<Pattern>, Option<Arc<Filters>>);

/// The conditions of all rules, in rule order.
#[derive(Debug, Default)]
pub struct RuleSet {
    index: Index,
    filters: Vec<Option<Arc<Filters>>>,
}

impl FromIterator<Condition> for RuleSet {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        let (patterns, filters): (Vec<_>, _) = conditions.into_iter().unzip();
        Self { index: patterns.into_iter().collect(), filters }
    }
}

impl RuleSet {
    /// Calls `each` with the index of every rule that wants the event, and of every rule whose verdict took too long.
    /// `scratch` is memory that the thread keeps; it may have served any rule set before.
    pub fn wanted(
        &self,
        document: &Document<'_>,
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, Result<(), EvaluationLimit>),
    ) {
        self.index.matching(document, scratch, |rule, verdict| {
            // An event that no filter lets through is no match, whatever the pattern would have said.
            let filters = self.filters.get(rule).and_then(Option::as_ref);
            if filters.is_none_or(|filters| filters.matches(document)) {
                each(rule, verdict);
            }
        });
    }

    /// The pattern of a rule, e.g. to explain its verdict.
    #[must_use]
    pub fn pattern(&self, rule: usize) -> Option<&Pattern> {
        self.index.pattern(rule).map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::value::Json;
    use crate::model::event::{Builder, CloudEvent, Content, Form};
    use crate::model::record::Record;
    use crate::model::resources::Dialect;
    use crate::pattern::{Limits, Options, compile, filters};

    fn pattern(text: &str, attempts: u32) -> Condition {
        let options = Options { limits: Limits { attempts, ..Limits::default() }, ..Options::default() };
        (Arc::new(compile(text, &options).unwrap().pattern), None)
    }

    #[test]
    fn filters_hold_beside_the_pattern() {
        let filtered = |text: &str, attempts, filters: &str| {
            (pattern(text, attempts).0, Some(Arc::new(filters::compile(filters).unwrap())))
        };
        let (yes, no) = (r#"[{"prefix":{"source":"/shop"}}]"#, r#"[{"exact":{"source":"/web"}}]"#);
        let gives_up = r#"{"data":{"x":[1],"y":[1]}}"#;
        let rules: RuleSet = [
            filtered("{}", 9, yes),
            filtered("{}", 9, no),
            filtered(r#"{"type":["b"]}"#, 9, yes),
            filtered(gives_up, 1, yes),
            filtered(gives_up, 1, no),
        ]
        .into_iter()
        .collect();
        let event = Json::check(br#"{"type":"a","source":"/shop/eu","data":[{"x":1},{"y":1},{"x":1}]}"#).unwrap();
        let mut wanted = Vec::new();
        rules.wanted(&Document::from_object(event).unwrap(), &mut Scratch::default(), |rule, result| {
            wanted.push((rule, result))
        });
        assert_eq!(wanted, [(0, Ok(())), (3, Err(EvaluationLimit { attempts: 1 }))]);
    }

    #[test]
    fn an_earlier_duplicate_of_an_event_is_seen_by_aws_alone() {
        let record = Record::new("t:0:0".parse().unwrap(), None, None, None, [].into_iter());
        let mut event = Builder::new(&record, Form::Structured, "1", "/s", "b");
        event.push("type", Content::Json("\"b\""));
        event.push("data", Content::Json("{\"x\":2}"));
        event.replaced("type", Content::Json("\"a\""));
        event.replaced("data", Content::Json("{\"x\":1}"));
        let parts = event.finish();
        let event = CloudEvent::new(record, parts);
        let of = |dialect, text: &str| -> Condition {
            (Arc::new(compile(text, &Options { dialect, ..Options::default() }).unwrap().pattern), None)
        };
        let texts = [r#"{"type":["a"]}"#, r#"{"type":["b"]}"#, r#"{"data":{"x":[1]}}"#, r#"{"data":{"x":[2]}}"#];
        let rules: RuleSet =
            [Dialect::Tidegate, Dialect::Aws].into_iter().flat_map(|d| texts.map(|text| of(d, text))).collect();
        let mut wanted = Vec::new();
        rules.wanted(&Document::of(&event), &mut Scratch::default(), |rule, _| wanted.push(rule));
        assert_eq!(wanted, [1, 3, 4, 5, 6, 7]);
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
        rules.wanted(&Document::from_object(event).unwrap(), &mut Scratch::default(), |rule, result| {
            wanted.push((rule, result))
        });
        let limit = EvaluationLimit { attempts: 1 };
        assert_eq!(wanted, [(1, Ok(())), (2, Err(limit)), (3, Ok(()))]);
        assert_eq!(limit.code(), "EVALUATION_LIMIT");
    }
}
