//! What must hold of every expression: the words of the specification as a plain evaluator, folding, LIKE by its
//! definition, and no panic on any text.

use super::*;
use crate::json::value::Json;
use like::Like;
use proptest::prelude::*;

/// An expression that is written out in parentheses.
#[derive(Debug, Clone)]
enum Plain {
    /// An attribute by number, or its value as a literal.
    Leaf(usize),
    Not(Box<Plain>),
    Negate(Box<Plain>),
    Binary(Box<Plain>, &'static str, Box<Plain>),
    In(Box<Plain>, &'static str, Vec<Plain>),
    Like(Box<Plain>, &'static str),
    Call(&'static str, Vec<Plain>),
}

/// Literals and the same values as attributes in JSON; the last is missing.
const LEAVES: [(&str, &str); 13] = [
    ("TRUE", "true"),
    ("FALSE", "false"),
    ("0", "0"),
    ("1", "1"),
    ("-7", "-7"),
    ("2147483647", "2147483647"),
    ("-2147483648", "-2147483648"),
    ("''", "\"\""),
    ("'true'", "\"true\""),
    ("'False'", "\"False\""),
    ("'12'", "\"12\""),
    ("'ab cd'", "\"ab cd\""),
    ("missing", "null"),
];

fn plain() -> impl Strategy<Value = Plain> {
    let leaf = (0..LEAVES.len()).prop_map(Plain::Leaf);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = prop::sample::select(vec![
            "AND", "and", "OR", "XOR", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%",
        ]);
        let boxed = inner.clone().prop_map(Box::new);
        let function = prop::sample::select(vec![
            ("LENGTH", 1),
            ("CONCAT", 3),
            ("CONCAT_WS", 3),
            ("LOWER", 1),
            ("UPPER", 1),
            ("TRIM", 1),
            ("LEFT", 2),
            ("RIGHT", 2),
            ("SUBSTRING", 2),
            ("SUBSTRING", 3),
            ("ABS", 1),
            ("INT", 1),
            ("BOOL", 1),
            ("STRING", 1),
        ]);
        let pattern = prop::sample::select(vec!["'%'", "'t%'", "'_'", "'%a_c%'", "'12'", "''"]);
        prop_oneof![
            4 => (boxed.clone(), operator, boxed.clone()).prop_map(|(a, op, b)| Plain::Binary(a, op, b)),
            1 => boxed.clone().prop_map(Plain::Not),
            1 => boxed.clone().prop_map(Plain::Negate),
            1 => (boxed.clone(), prop::sample::select(vec!["IN", "NOT IN"]), prop::collection::vec(inner.clone(), 1..3))
                .prop_map(|(a, op, set)| Plain::In(a, op, set)),
            1 => (boxed, pattern).prop_map(|(a, pattern)| Plain::Like(a, pattern)),
            2 => (function, prop::collection::vec(inner, 3))
                .prop_map(|((name, arity), arguments)| Plain::Call(name, arguments.into_iter().take(arity).collect())),
        ]
    })
}

impl Plain {
    /// With literals, or with attributes in their place.
    fn print(&self, literal: bool) -> String {
        let list = |items: &[Self]| items.iter().map(|item| item.print(literal)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Leaf(at) if literal => LEAVES[*at].0.to_owned(),
            Self::Leaf(at) => format!("a{at}"),
            Self::Not(inner) => format!("(NOT {})", inner.print(literal)),
            Self::Negate(inner) => format!("(-{})", inner.print(literal)),
            Self::Binary(a, op, b) => format!("({} {op} {})", a.print(literal), b.print(literal)),
            Self::In(a, op, set) => format!("({} {op} ({}))", a.print(literal), list(set)),
            Self::Like(a, pattern) => format!("({} LIKE {pattern})", a.print(literal)),
            Self::Call(name, arguments) => format!("{name}({})", list(arguments)),
        }
    }
}

fn event() -> String {
    let members: Vec<_> = LEAVES.iter().enumerate().map(|(at, (_, json))| format!("\"a{at}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Value, and kind of error.
fn outcome(text: &str, event: &str) -> (String, Option<&'static str>) {
    let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
    let (expression, _) = compile(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    match expression.evaluate(&document) {
        Ok(value) => (value.to_string(), None),
        Err(error) => (error.value.to_string(), Some(error.reason.kind().as_str())),
    }
}

/// The logical part by the words of the specification: three values, the third an error.
fn logic(terms: &[(usize, &'static str)], values: &[Option<bool>]) -> Option<bool> {
    let value = |at: usize| values[at % values.len()];
    let mut result = value(terms[0].0)?;
    for (at, operator) in &terms[1..] {
        result = match *operator {
            "AND" if !result => false,
            "OR" if result => true,
            "XOR" => result != value(*at)?,
            _ => value(*at)?,
        };
    }
    Some(result)
}

/// LIKE by its definition, by trying everything.
fn describes(pattern: &[char], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['%', rest @ ..] => (0..=value.len()).any(|skip| describes(rest, &value[skip..])),
        ['_', rest @ ..] => !value.is_empty() && describes(rest, &value[1..]),
        ['\\', c @ ('%' | '_'), rest @ ..] | [c, rest @ ..] => value.first() == Some(c) && describes(rest, &value[1..]),
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "TRUE",
        "1",
        "2147483648",
        "'x'",
        "\"y\"",
        "'",
        "\\",
        "(",
        ")",
        ",",
        "AND",
        "OR",
        "XOR",
        "NOT",
        "LIKE",
        "IN",
        "EXISTS",
        "=",
        "!=",
        "!",
        "<",
        "<>",
        "+",
        "-",
        "*",
        "/",
        "%",
        "_",
        "LENGTH(",
        "LEFT('ab',",
        "CONCAT_WS(",
        "é",
        "😀",
        "\n",
        "data",
        "''",
        "a_b",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What is computed when it is loaded is what would be computed for an event.
    #[test]
    fn literals_and_attributes_of_the_same_value_agree(plain in plain()) {
        let event = event();
        prop_assert_eq!(outcome(&plain.print(true), &event), outcome(&plain.print(false), &event), "{}", plain.print(true));
    }

    #[test]
    fn a_chain_of_logic_goes_from_left_to_right(
        terms in prop::collection::vec((0_usize..4, prop::sample::select(vec!["AND", "OR", "XOR"])), 1..8),
    ) {
        let values = [Some(true), Some(false), None, Some(true)];
        let names = ["t", "f", "missing", "'TRUE'"];
        let mut text = names[terms[0].0].to_owned();
        for (at, operator) in &terms[1..] {
            text.push_str(&format!(" {operator} {}", names[*at]));
        }
        let event = r#"{"t":true,"f":"false"}"#;
        let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
        let (expression, _) = compile(&text).unwrap();
        // A single string is no boolean.
        let expected = logic(&terms, &values) == Some(true) && (terms.len() > 1 || terms[0].0 != 3);
        prop_assert_eq!(expression.matches(&document), expected, "{}", text);
    }

    #[test]
    fn arithmetic_agrees_with_wider_integers(a: i32, b: i32, small in -9_i32..9) {
        for (a, b) in [(a, b), (a, small), (small, b)] {
            let (x, y) = (i64::from(a), i64::from(b));
            let event = format!("{{\"a\":{a},\"b\":{b}}}");
            for (operator, exact) in [
                ("+", Some(x + y)),
                ("-", Some(x - y)),
                ("*", Some(x * y)),
                ("/", x.checked_div(y)),
                ("%", x.checked_rem(y)),
            ] {
                let nearest = exact.unwrap_or(0).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                let error = (exact != Some(nearest)).then_some("math");
                prop_assert_eq!(outcome(&format!("a {operator} b"), &event), (nearest.to_string(), error));
            }
            prop_assert_eq!(outcome("a < b", &event).0, (a < b).to_string());
            prop_assert_eq!(outcome("a >= b", &event).0, (a >= b).to_string());
        }
    }

    #[test]
    fn like_agrees_with_its_definition(pattern in "([ab日]|%|_|\\\\%|\\\\_|\\\\){0,9}", value in "[ab日%_\\\\]{0,9}") {
        let (chars, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
        prop_assert_eq!(Like::parse(&pattern).unwrap().describes(&value), describes(&chars, &text));
    }

    /// Segments that are longer than one word of bits.
    #[test]
    fn long_segments_are_found(before in "[ab]{0,90}", segment in "[ab_]{60,150}", after in "[ab]{0,9}") {
        let value = format!("{before}{}{after}", segment.replace('_', "b"));
        let (there, absent) = (format!("%{segment}%"), format!("%{segment}c%"));
        prop_assert!(Like::parse(&there).unwrap().describes(&value));
        prop_assert!(!Like::parse(&absent).unwrap().describes(&value));
    }

    #[test]
    fn no_text_makes_it_panic(soup in pieces(), any in ".{0,40}") {
        for text in [soup, any] {
            match compile(&text) {
                Ok((expression, doubts)) => {
                    let document = Document::default();
                    expression.matches(&document);
                    expression.explain(&document);
                    prop_assert!(doubts.iter().all(|doubt| text.is_char_boundary(doubt.offset)));
                }
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    prop_assert!(problems.iter().all(|problem| text.is_char_boundary(problem.offset)), "{problems:?}");
                }
            }
        }
    }
}
