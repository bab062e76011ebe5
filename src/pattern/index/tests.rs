//! The index says of every rule what the naive evaluator says of it alone, whatever other rules there are.

use super::{Index, Scratch};
use crate::json::document::Document;
use crate::json::value::Json;
use crate::model::resources::Dialect;
use crate::pattern::naive::Naive;
use crate::pattern::{EvaluationLimit, Limits, Options, Pattern, compile};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

type Verdicts = Vec<(usize, Result<(), EvaluationLimit>)>;

fn compiled(pattern: &str, dialect: Dialect, attempts: u32) -> Arc<Pattern> {
    let limits = Limits { attempts, ..Limits::default() };
    Arc::new(compile(pattern, &Options { dialect, limits, ..Options::default() }).unwrap().pattern)
}

fn verdicts(index: &Index, event: &str, scratch: &mut Scratch) -> Verdicts {
    let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
    let mut verdicts = Vec::new();
    index.matching(&document, scratch, |rule, verdict| verdicts.push((rule, verdict)));
    verdicts
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![3 => Just(Dialect::Tidegate), 1 => Just(Dialect::Aws)]
}

/// Rules as people write them: many of the same fields and values, so that groups are divided and conditions shared.
fn rule() -> impl Strategy<Value = Value> {
    let field = || prop::sample::select(vec!["s", "t", "d.x", "d.y", "d.x.y", "d"]);
    let scalar = || {
        prop::sample::select(vec![
            json!("a"),
            json!("ab"),
            json!("10.0.0.1"),
            json!(1),
            json!(1.5),
            json!(12345678901234567890_u64),
            json!(null),
            json!(true),
        ])
    };
    let operator = prop::sample::select(vec![
        json!({"prefix": "a"}),
        json!({"prefix": "ab"}),
        json!({"prefix": ""}),
        json!({"suffix": "b"}),
        json!({"suffix": "ab"}),
        json!({"wildcard": "a*"}),
        json!({"equals-ignore-case": "AB"}),
        json!({"numeric": [">", 1]}),
        json!({"numeric": [">=", 1, "<", 2]}),
        json!({"numeric": ["<", 1e15]}),
        json!({"cidr": "10.0.0.0/8"}),
        json!({"exists": true}),
        json!({"exists": false}),
        json!({"anything-but": ["a", "b"]}),
        json!({"anything-but": {"prefix": "a"}}),
    ]);
    let matcher = prop_oneof![3 => scalar(), 2 => operator];
    let matchers = prop::collection::vec(matcher, 1..3).prop_map(Value::Array);
    let fields = || {
        prop::collection::btree_map(field().prop_map(str::to_owned), matchers.clone(), 1..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    };
    (fields(), prop::option::weighted(0.2, prop::collection::vec(fields(), 2..4))).prop_map(|(mut rule, or)| {
        if let (Some(rule), Some(or)) = (rule.as_object_mut(), or) {
            rule.insert("$or".to_owned(), Value::Array(or));
        }
        rule
    })
}

/// Events for [`rule`], as text: keys may stand twice, with escapes or with dots.
fn rule_event() -> impl Strategy<Value = String> {
    let scalar = || {
        prop::sample::select(vec![
            "\"a\"",
            "\"ab\"",
            "\"\\u0061b\"",
            "\"b\"",
            "\"10.0.0.1\"",
            "\"::ffff:a00:1\"",
            "1",
            "1.0",
            "15e-1",
            "12345678901234567890",
            "1e400",
            "null",
            "true",
            "[]",
        ])
        .prop_map(str::to_owned)
    };
    let list = |item: BoxedStrategy<String>| {
        prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(", ")))
    };
    let object = |item: BoxedStrategy<String>| {
        let key = prop::sample::select(vec!["s", "t", "d", "x", "\\u0078", "y", "d.x", "x.y", "z"]);
        prop::collection::vec((key, item), 0..6).prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    };
    let value = scalar().boxed().prop_recursive(
        3,
        20,
        4,
        move |inner| prop_oneof![3 => scalar(), 1 => list(inner.clone().boxed()), 2 => object(inner.boxed())],
    );
    object(value.boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_evaluator(
        rules in prop::collection::vec((rule(), dialect()), 0..12),
        events in prop::collection::vec(rule_event(), 1..4),
    ) {
        let index: Index = rules.iter().map(|(rule, dialect)| compiled(&rule.to_string(), *dialect, 100_000)).collect();
        let plain = rules.iter().map(|(rule, dialect)| Naive::read(&rule.to_string(), *dialect, false).unwrap());
        let plain: Vec<Naive> = plain.collect();
        let mut scratch = Scratch::default();
        for event in &events {
            let naive = plain.iter().enumerate().filter(|(_, rule)| rule.matches(event));
            let naive: Verdicts = naive.map(|(rule, _)| (rule, Ok(()))).collect();
            prop_assert_eq!(verdicts(&index, event, &mut scratch), naive, "{:?} on {}", rules, event);
        }
    }

    #[test]
    fn agrees_with_each_pattern_alone(
        rules in prop::collection::vec((rule(), dialect(), prop_oneof![4 => Just(100_000_u32), 1 => 0_u32..4]), 0..60),
        events in prop::collection::vec(rule_event(), 1..6),
    ) {
        let patterns: Vec<Arc<Pattern>> =
            rules.iter().map(|(rule, dialect, attempts)| compiled(&rule.to_string(), *dialect, *attempts)).collect();
        let index: Index = patterns.iter().cloned().collect();
        let mut scratch = Scratch::default();
        for event in &events {
            let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
            let alone: Verdicts = patterns.iter().enumerate().filter_map(|(rule, pattern)| {
                match pattern.matches(&document) {
                    Ok(true) => Some((rule, Ok(()))),
                    Ok(false) => None,
                    Err(limit) => Some((rule, Err(limit))),
                }
            }).collect();
            prop_assert_eq!(verdicts(&index, event, &mut scratch), alone, "{:?} on {}", rules, event);
        }
    }

    #[test]
    fn other_rules_change_nothing(
        rules in prop::collection::vec((rule(), any::<bool>()), 0..60),
        events in prop::collection::vec(rule_event(), 1..4),
    ) {
        let pattern = |rule: &Value| compiled(&rule.to_string(), Dialect::Tidegate, 100_000);
        let all: Index = rules.iter().map(|(rule, _)| pattern(rule)).collect();
        let kept: Vec<usize> = (0..rules.len()).filter(|rule| rules[*rule].1).collect();
        let some: Index = kept.iter().map(|rule| pattern(&rules[*rule].0)).collect();
        // One memory for both, as when rules are loaded anew.
        let mut scratch = Scratch::default();
        for event in &events {
            let mut of_all = verdicts(&all, event, &mut scratch);
            of_all.retain(|(rule, _)| rules[*rule].1);
            let of_some: Verdicts =
                verdicts(&some, event, &mut scratch).into_iter().map(|(rule, verdict)| (kept[rule], verdict)).collect();
            prop_assert_eq!(of_some, of_all, "{:?} on {}", rules, event);
        }
    }
}

#[test]
fn a_list_of_many_values_finds_each_rule_once() {
    let rules = ["a", "b", "a"].map(|value| format!(r#"{{"t":["{value}","c"],"n":[1]}}"#));
    let index: Index = rules.iter().map(|rule| compiled(rule, Dialect::Tidegate, 9)).collect();
    let event = format!(r#"{{"t":[{}"c"],"n":[1,1,1]}}"#, r#""b","a","#.repeat(1_000));
    let all = [(0, Ok(())), (1, Ok(())), (2, Ok(()))];
    assert_eq!(verdicts(&index, &event, &mut Scratch::default()), all);
}

#[test]
fn many_alternatives_and_many_rules() {
    let branches: Vec<String> = (0..50).map(|i| format!(r#"{{"k{i}":[{i}]}}"#)).collect();
    let mut rules = vec![format!(r#"{{"t":["a"],"$or":[{}]}}"#, branches.join(","))];
    rules.extend((0..2_000).map(|i| format!(r#"{{"t":["a"],"n":[{i}],"m":[{{"numeric":[">",{}]}}]}}"#, i % 7)));
    let index: Index = rules.iter().map(|rule| compiled(rule, Dialect::Tidegate, 9)).collect();
    let mut scratch = Scratch::default();
    assert_eq!(verdicts(&index, r#"{"t":"a","k49":49,"n":1500,"m":3}"#, &mut scratch), [(0, Ok(())), (1501, Ok(()))]);
    assert_eq!(verdicts(&index, r#"{"t":"a","k49":48,"n":1500,"m":2}"#, &mut scratch), []);
    assert_eq!(verdicts(&index, r#"{"t":"b","k49":49,"n":1500,"m":3}"#, &mut scratch), []);
}

#[test]
fn what_nearly_all_rules_ask_for_is_looked_at_once_for_all() {
    let mut rules: Vec<String> = (0..60)
        .map(|i| match i % 3 {
            0 => format!(r#"{{"t":["{}"],"n":[{i}]}}"#, i % 5),
            1 => format!(r#"{{"t":["{}"],"m":[{i}]}}"#, i % 5),
            _ => format!(r#"{{"t":["{}"]}}"#, i % 5),
        })
        .collect();
    rules.extend([r#"{"n":[7]}"#, r#"{"t":[{"prefix":"7"}]}"#].map(str::to_owned));
    let index: Index = rules.iter().map(|rule| compiled(rule, Dialect::Tidegate, 9)).collect();
    let looked_at: Vec<usize> = index.parts[0].access.iter().map(|access| access.features.len()).collect();
    // By the text and by its beginning; by the number for the one rule that asks for nothing else.
    assert_eq!(looked_at, [2, 1]);
    let found = |event| verdicts(&index, event, &mut Scratch::default()).into_iter().map(|(rule, _)| rule);
    assert!(found(r#"{"t":"1","n":6,"m":31}"#).eq([6, 11, 26, 31, 41, 56]));
    assert!(found(r#"{"t":"77","n":7}"#).eq([60, 61]));
}

#[test]
fn a_text_is_compared_whole_however_long_it_is() {
    for len in [0, 1, 14, 15, 16, 17, 40] {
        let text = "x".repeat(len);
        // Each of the two leads to the rule for one of these, and is what is left for the other.
        let rules = [format!(r#"{{"t":["a"],"u":["{text}"]}}"#), format!(r#"{{"t":["{text}"],"u":["b"]}}"#)];
        let index: Index = rules.iter().map(|rule| compiled(rule, Dialect::Tidegate, 9)).collect();
        let found =
            |t: &str, u: &str| verdicts(&index, &format!(r#"{{"t":"{t}","u":"{u}"}}"#), &mut Scratch::default());
        assert_eq!((found("a", &text), found(&text, "b")), (vec![(0, Ok(()))], vec![(1, Ok(()))]), "{len}");
        for other in [format!("{text}x"), format!("y{text}"), text.chars().skip(1).chain(['y']).collect()] {
            assert_eq!((found("a", &other), found(&other, "b")), (vec![], vec![]), "{len} {other}");
        }
    }
}
