//! A second evaluator, written from the words of event-patterns.md rules 23–30 alone: flatten, expand every
//! alternative, try every choice. Tests compare the real one with it.

use super::{Options, compile};
use crate::json::document::Document;
use crate::json::value::Json;
use crate::model::resources::Dialect;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Flat {
    path: String,
    value: Value,
    bindings: BTreeMap<usize, usize>,
}

/// All leaves of an event. Arrays are numbered in the order they are met.
fn flatten(
    value: &Value,
    path: Option<&str>,
    bindings: &BTreeMap<usize, usize>,
    arrays: &mut usize,
    out: &mut Vec<Flat>,
) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
                flatten(value, Some(&path), bindings, arrays, out);
            }
        }
        Value::Array(elements) => {
            let array = *arrays;
            *arrays += 1;
            for (i, element) in elements.iter().enumerate() {
                let mut bindings = bindings.clone();
                if element.is_object() || element.is_array() {
                    bindings.insert(array, i);
                }
                flatten(element, path, &bindings, arrays, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push(Flat {
            path: path.unwrap_or_default().to_owned(),
            value: value.clone(),
            bindings: bindings.clone(),
        }),
    }
}

/// Path and matchers, in the order of the text.
type Alternative = Vec<(String, Vec<Value>)>;

fn expand(pattern: &Map<String, Value>, path: Option<&str>, before: Vec<Alternative>) -> Vec<Alternative> {
    let mut alternatives = before;
    for (key, value) in pattern {
        let here = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
        alternatives = match value {
            Value::Object(nested) => expand(nested, Some(&here), alternatives),
            Value::Array(branches) if key == "$or" => branches
                .iter()
                .flat_map(|branch| expand(branch.as_object().unwrap(), path, alternatives.clone()))
                .collect(),
            Value::Array(matchers) => {
                for alternative in &mut alternatives {
                    alternative.push((here.clone(), matchers.clone()));
                }
                alternatives
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("no leaf: {value}"),
        };
    }
    alternatives
}

fn accepts(matcher: &Value, value: &Value) -> bool {
    let Some(operators) = matcher.as_object() else { return matcher == value };
    operators.iter().all(|(operator, operand)| match operator.as_str() {
        "exists" => operand == &json!(true),
        "prefix" => value.as_str().is_some_and(|text| text.starts_with(operand.as_str().unwrap())),
        "anything-but" => operand != value,
        "numeric" => value.as_i64().is_some_and(|n| n > operand[1].as_i64().unwrap()),
        other => panic!("{other}"),
    })
}

fn leaf_accepts(matchers: &[Value], value: &Value) -> bool {
    matchers.iter().any(|matcher| accepts(matcher, value))
}

fn allows_absence(matchers: &[Value]) -> bool {
    matchers.contains(&json!({"exists": false}))
}

fn agree(a: &BTreeMap<usize, usize>, b: &BTreeMap<usize, usize>) -> bool {
    a.iter().all(|(array, element)| b.get(array).is_none_or(|other| other == element))
}

/// Rules 24, 27, 28, 30: one leaf or absence per path, absence judged last.
fn some_choice(
    paths: &[(&String, Vec<&Vec<Value>>)],
    leaves: &[Flat],
    bound: &BTreeMap<usize, usize>,
    absent: &[&str],
) -> bool {
    let Some(((path, constraints), rest)) = paths.split_first() else {
        return absent.iter().all(|path| !leaves.iter().any(|leaf| leaf.path == *path && agree(&leaf.bindings, bound)));
    };
    let by_leaf = leaves.iter().filter(|leaf| leaf.path == **path && agree(&leaf.bindings, bound)).any(|leaf| {
        let mut bound = bound.clone();
        bound.extend(&leaf.bindings);
        constraints.iter().all(|matchers| leaf_accepts(matchers, &leaf.value))
            && some_choice(rest, leaves, &bound, absent)
    });
    by_leaf
        || (constraints.iter().all(|matchers| allows_absence(matchers))
            && some_choice(rest, leaves, bound, &[absent, &[path.as_str()]].concat()))
}

/// The `aws` dialect: paths in alphabetical order, absence judged at once.
fn some_choice_aws(paths: &[(&String, &Vec<Value>)], leaves: &[Flat], bound: &BTreeMap<usize, usize>) -> bool {
    let Some(((path, matchers), rest)) = paths.split_first() else { return true };
    let mut compatible = leaves.iter().filter(|leaf| leaf.path == **path && agree(&leaf.bindings, bound));
    (allows_absence(matchers) && compatible.clone().next().is_none() && some_choice_aws(rest, leaves, bound))
        || compatible.any(|leaf| {
            let mut bound = bound.clone();
            bound.extend(&leaf.bindings);
            leaf_accepts(matchers, &leaf.value) && some_choice_aws(rest, leaves, &bound)
        })
}

pub(super) fn matches(pattern: &Value, event: &Value, dialect: Dialect) -> bool {
    let mut leaves = Vec::new();
    flatten(event, None, &BTreeMap::new(), &mut 0, &mut leaves);
    expand(pattern.as_object().unwrap(), None, vec![Vec::new()]).iter().any(|alternative| match dialect {
        Dialect::Tidegate => {
            let mut paths: BTreeMap<&String, Vec<&Vec<Value>>> = BTreeMap::new();
            for (path, matchers) in alternative {
                paths.entry(path).or_default().push(matchers);
            }
            some_choice(&paths.into_iter().collect::<Vec<_>>(), &leaves, &BTreeMap::new(), &[])
        }
        Dialect::Aws => {
            let paths: BTreeMap<&String, &Vec<Value>> = alternative.iter().map(|(path, m)| (path, m)).collect();
            some_choice_aws(&paths.into_iter().collect::<Vec<_>>(), &leaves, &BTreeMap::new())
        }
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("a"), 4 => Just("b"), 3 => Just("c"), 1 => Just("a.b"), 1 => Just("")].prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![3 => Just(json!(1)), 2 => Just(json!(2)), 1 => Just(json!("x")), 1 => Just(json!(null))]
}

pub(super) fn event() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => prop::collection::btree_map(key(), inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(key(), value, 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// An event in which most paths lead through arrays of objects: that is where choices rule each other out.
pub(super) fn listing() -> impl Strategy<Value = Value> {
    let small = || prop_oneof![6 => Just(json!(1)), 3 => Just(json!(2)), 1 => Just(json!(null))];
    let elements = |value: BoxedStrategy<Value>| {
        let object = prop::collection::btree_map(prop_oneof![Just("a"), Just("b"), Just("c")], value, 1..4);
        let object = object.prop_map(|m| m.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        prop::collection::vec(prop_oneof![6 => object.prop_map(Value::Object), 1 => small()], 1..4)
            .prop_map(Value::Array)
    };
    let inner = elements(small().boxed()).boxed();
    let outer = elements(prop_oneof![3 => small().boxed(), 1 => inner].boxed()).boxed();
    (outer.clone(), outer).prop_map(|(a, b)| json!({"a": a, "b": b}))
}

/// A pattern for [`listing`].
pub(super) fn listing_pattern() -> impl Strategy<Value = Value> {
    let fields = || {
        let name = prop_oneof![4 => Just("a"), 4 => Just("b"), 4 => Just("c"), 1 => Just("a.b"), 1 => Just("b.c")];
        let matchers = prop_oneof![
            5 => Just(json!([1])),
            2 => Just(json!([2])),
            2 => Just(json!([{"exists": false}])),
            2 => Just(json!([{"exists": false}, 2])),
            1 => Just(json!([{"anything-but": 1}])),
        ];
        let matchers = prop_oneof![
            5 => matchers.clone(),
            1 => (matchers.clone(), matchers).prop_map(|(a, b)| json!({"a": a, "b": b})),
        ];
        prop::collection::btree_map(name.prop_map(str::to_owned), matchers, 1..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    };
    let group =
        (fields(), prop::option::weighted(0.3, prop::collection::vec(fields(), 2..4))).prop_map(|(mut all, or)| {
            if let (Some(members), Some(or)) = (all.as_object_mut(), or) {
                members.insert("$or".to_owned(), Value::Array(or));
            }
            all
        });
    let both = (group.clone(), group.clone()).prop_map(|(a, b)| json!({"a": a, "b": b}));
    prop_oneof![
        3 => group.clone().prop_map(|a| json!({"a": a})),
        1 => both,
        1 => prop::collection::vec(group.prop_map(|a| json!({"a": a})), 2..3).prop_map(|or| json!({"$or": or, "a.c": [1]})),
    ]
}

fn matchers() -> impl Strategy<Value = Value> {
    let matcher = prop_oneof![
        6 => scalar(),
        3 => Just(json!({"exists": false})),
        1 => Just(json!({"exists": true})),
        1 => Just(json!({"anything-but": 1})),
        1 => Just(json!({"prefix": "x"})),
        1 => Just(json!({"numeric": [">", 1]})),
    ];
    prop::collection::vec(matcher, 1..3).prop_map(Value::Array)
}

pub(super) fn pattern() -> impl Strategy<Value = Value> {
    let object = |value: BoxedStrategy<Value>| {
        (prop::collection::btree_map(key(), value, 1..4))
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    };
    let flat = object(matchers().boxed());
    let nested = flat.prop_recursive(3, 12, 3, move |inner| {
        let or = prop::collection::vec(inner.clone(), 2..4);
        let value = prop_oneof![2 => matchers(), 3 => inner].boxed();
        (object(value), prop::option::weighted(0.4, or)).prop_map(|(mut pattern, or)| {
            if let (Some(members), Some(or)) = (pattern.as_object_mut(), or) {
                members.insert("$or".to_owned(), Value::Array(or));
            }
            pattern
        })
    });
    nested.boxed()
}

/// Fails unless both evaluators agree, in both dialects.
fn check(pattern: &Value, event: &Value) -> Result<(), TestCaseError> {
    let (pattern_text, event_text) = (pattern.to_string(), event.to_string());
    let document = Document::from_object(Json::check(event_text.as_bytes()).unwrap()).unwrap();
    for dialect in [Dialect::Tidegate, Dialect::Aws] {
        let compiled = compile(&pattern_text, &Options { dialect, ..Options::default() }).unwrap().pattern;
        let verdict = compiled.matches(&document);
        prop_assert_eq!(
            verdict,
            Ok(matches(pattern, event, dialect)),
            "{} on {}: {:?}",
            pattern_text,
            event_text,
            dialect
        );
        let explanation = compiled.explain(&document);
        prop_assert_eq!(explanation.matched, verdict);
        prop_assert!(verdict == Ok(false) || explanation.field.is_none());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn agree_on_anything(pattern in pattern(), event in event()) {
        check(&pattern, &event)?;
    }

    #[test]
    fn agree_on_arrays_of_objects(pattern in listing_pattern(), event in listing()) {
        check(&pattern, &event)?;
    }
}
