//! Paths find what a plain evaluator finds, which walks a parsed tree and knows no limits.

use super::Path;
use crate::json::document::Document;
use crate::json::item::Item;
use crate::json::value::Json;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

#[derive(Debug, Clone)]
enum Selector {
    Name(&'static str),
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>, Option<i64>),
    /// `?@.name`
    Has(&'static str),
    /// `?@.name < number`, `?@ == string`
    Less(&'static str, i64),
    Is(&'static str),
}

#[derive(Debug, Clone)]
struct Segment {
    deep: bool,
    selectors: Vec<Selector>,
}

const NAMES: [&str; 5] = ["a", "b", "1st", "c-d", "é'"];

fn selector() -> impl Strategy<Value = Selector> {
    let name = || select(&NAMES[..]);
    let number = || prop_oneof![-5_i64..6, select(vec![-9_007_199_254_740_991, 9_007_199_254_740_991])];
    let bound = || prop::option::of(number());
    prop_oneof![
        4 => name().prop_map(Selector::Name),
        3 => number().prop_map(Selector::Index),
        2 => Just(Selector::All),
        3 => (bound(), bound(), bound()).prop_map(|(start, end, step)| Selector::Slice(start, end, step)),
        1 => name().prop_map(Selector::Has),
        1 => (name(), -2_i64..3).prop_map(|(name, number)| Selector::Less(name, number)),
        1 => name().prop_map(Selector::Is),
    ]
}

fn path() -> impl Strategy<Value = Vec<Segment>> {
    let segment = (prop::bool::weighted(0.2), prop::collection::vec(selector(), 1..3));
    prop::collection::vec(segment.prop_map(|(deep, selectors)| Segment { deep, selectors }), 1..4)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), (-2_i64..3).prop_map(Value::from), select(&NAMES[..]).prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(select(&NAMES[..]).prop_map(str::to_owned), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', "\\'"))
}

fn written(path: &[Segment]) -> String {
    let number = |n: &Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
    let mut out = String::from("$");
    for Segment { deep, selectors } in path {
        out.push_str(if *deep { ".." } else { "" });
        let selectors: Vec<String> = selectors
            .iter()
            .map(|selector| match selector {
                Selector::Name(name) => quoted(name),
                Selector::Index(index) => index.to_string(),
                Selector::All => "*".to_owned(),
                Selector::Slice(start, end, None) => format!("{}:{}", number(start), number(end)),
                Selector::Slice(start, end, step) => format!("{} : {}: {}", number(start), number(end), number(step)),
                Selector::Has(name) => format!("?@[{}]", quoted(name)),
                Selector::Less(name, than) => format!("? @[{}]<{than}", quoted(name)),
                Selector::Is(name) => format!("?@ == {}", quoted(name)),
            })
            .collect();
        out.push_str(&format!("[{}]", selectors.join(" ,")));
    }
    out
}

fn children(value: &Value) -> Vec<&Value> {
    let members = value.as_object().into_iter().flat_map(|members| members.values());
    value.as_array().into_iter().flatten().chain(members).collect()
}

fn descendants(value: &Value) -> Vec<&Value> {
    let mut all = vec![value];
    all.extend(children(value).into_iter().flat_map(descendants));
    all
}

fn plain<'v>(value: &'v Value, selector: &Selector) -> Vec<&'v Value> {
    let filtered = |keep: &dyn Fn(&Value) -> bool| children(value).into_iter().filter(|child| keep(child)).collect();
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let len = i64::try_from(items.len()).unwrap();
    let at = |i| &items[usize::try_from(i).unwrap()];
    let from_start = |i: i64| if i < 0 { len + i } else { i };
    match selector {
        Selector::Name(name) => value.as_object().and_then(|members| members.get(*name)).into_iter().collect(),
        Selector::Index(index) => {
            usize::try_from(from_start(*index)).ok().and_then(|i| items.get(i)).into_iter().collect()
        }
        Selector::All => children(value),
        Selector::Slice(_, _, Some(0)) => Vec::new(),
        Selector::Slice(start, end, step) if step.unwrap_or(1) > 0 => {
            let (first, end) = (from_start(start.unwrap_or(0)).max(0), from_start(end.unwrap_or(len)));
            let taken = |i: &i64| *i >= first && *i < end && (*i - first) % step.unwrap_or(1) == 0;
            (0..len).filter(taken).map(at).collect()
        }
        Selector::Slice(start, end, step) => {
            let (first, end) = (from_start(start.unwrap_or(len - 1)).min(len - 1), end.map_or(-1, from_start));
            let taken = |i: &i64| *i <= first && *i > end && (first - *i) % step.unwrap_or(1) == 0;
            (0..len).rev().filter(taken).map(at).collect()
        }
        Selector::Has(name) => filtered(&|child| child.get(*name).is_some()),
        Selector::Less(name, than) => {
            filtered(&|child| child.get(*name).and_then(Value::as_i64).is_some_and(|number| number < *than))
        }
        Selector::Is(text) => filtered(&|child| child == *text),
    }
}

fn expected<'v>(path: &[Segment], root: &'v Value) -> Vec<&'v Value> {
    path.iter().fold(vec![root], |nodes, Segment { deep, selectors }| {
        let nodes = if *deep { nodes.into_iter().flat_map(descendants).collect() } else { nodes };
        nodes.into_iter().flat_map(|node| selectors.iter().flat_map(move |selector| plain(node, selector))).collect()
    })
}

proptest! {
    #[test]
    fn finds_what_a_plain_evaluator_finds(path in path(), value in json()) {
        let root = serde_json::json!({ "a": value, "b": [value] });
        let (written, text) = (written(&path), root.to_string());
        let parsed = Path::parse(&written).unwrap();
        let document = Document::from_object(Json::check(text.as_bytes()).unwrap()).unwrap();
        let mut found = String::new();
        if let Some(it) = parsed.find(Item::of(&document)).unwrap() {
            it.write_compact(&mut found);
        }
        let expected = expected(&path, &root);
        let expected = match parsed.steps() {
            Some(_) => expected.first().map(ToString::to_string).unwrap_or_default(),
            None => serde_json::to_string(&expected).unwrap(),
        };
        prop_assert_eq!(found, expected, "{} in {}", written, text);
    }

    #[test]
    fn no_text_stops_the_parser(text in r#"\$[.\[\]*?@$!=<>&|(),:'"\\ 0-9a-cé-]{0,24}"#) {
        if let Ok(path) = Path::parse(&text) {
            let document = Document::from_object(Json::check(br#"{"a":[1,{"b":"c"}],"0":{}}"#).unwrap()).unwrap();
            prop_assert!(path.find(Item::of(&document)).is_ok());
        }
    }
}
