//! Filters: does a value pass `?…`? (RFC 9535, 2.3.5.)

use super::Path;
use super::regexp::Regexp;
use crate::json::item::Item;
use crate::json::number::Number;
use crate::json::value::{Json, Kind};
use std::cmp::Ordering;

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Logical {
    Or(Vec<Self>),
    And(Vec<Self>),
    Not(Box<Self>),
    Exists(Query),
    Compare(Operand, Comparison, Operand),
    /// `match` (the whole text) or `search` (a part of it).
    Matches {
        whole: bool,
        text: Operand,
        pattern: Pattern,
    },
}

/// The regular expression of `match` and `search`.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Fixed(Regexp),
    Found(Operand),
}

/// One value, or none.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// JSON text.
    Literal(Box<str>),
    Query(Query),
    Length(Box<Self>),
    Count(Query),
    Value(Query),
}

/// `@…` or `$…` inside a filter.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) absolute: bool,
    pub(super) path: Path,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// What an operand stands for; none is the RFC's `Nothing`.
enum Operated<'a> {
    Item(Item<'a>),
    Number(usize),
}

impl Query {
    fn nodes<'a>(&self, current: Item<'a>, root: Item<'a>) -> Vec<Item<'a>> {
        self.path.nodes(if self.absolute { root } else { current }, root)
    }
}

impl Logical {
    pub(super) fn matching(whole: bool, text: Operand, pattern: Operand) -> Self {
        let fixed = match &pattern {
            Operand::Literal(literal) => Json::trusted(literal).as_str().and_then(|text| Regexp::parse(&text)),
            Operand::Query(_) | Operand::Length(_) | Operand::Count(_) | Operand::Value(_) => None,
        };
        Self::Matches { whole, text, pattern: fixed.map_or(Pattern::Found(pattern), Pattern::Fixed) }
    }

    /// Whether it holds for `current`.
    pub(super) fn holds(&self, current: Item<'_>, root: Item<'_>) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.holds(current, root)),
            Self::And(parts) => parts.iter().all(|part| part.holds(current, root)),
            Self::Not(inner) => !inner.holds(current, root),
            Self::Exists(query) => !query.nodes(current, root).is_empty(),
            Self::Compare(left, comparison, right) => {
                compare(left.get(current, root), *comparison, right.get(current, root))
            }
            Self::Matches { whole, text, pattern } => {
                let Some(Operated::Item(text)) = text.get(current, root) else { return false };
                let Some(text) = text.as_str() else { return false };
                match pattern {
                    Pattern::Fixed(regexp) => regexp.matches(&text, *whole),
                    Pattern::Found(operand) => match operand.get(current, root) {
                        Some(Operated::Item(found)) => found
                            .as_str()
                            .and_then(|written| Regexp::parse(&written))
                            .is_some_and(|regexp| regexp.matches(&text, *whole)),
                        Some(Operated::Number(_)) | None => false,
                    },
                }
            }
        }
    }
}

impl Operand {
    fn get<'a>(&'a self, current: Item<'a>, root: Item<'a>) -> Option<Operated<'a>> {
        match self {
            Self::Literal(text) => Some(Operated::Item(Item::Json(Json::trusted(text)))),
            Self::Query(query) => query.nodes(current, root).first().copied().map(Operated::Item),
            Self::Count(query) => Some(Operated::Number(query.nodes(current, root).len())),
            Self::Value(query) => match query.nodes(current, root).as_slice() {
                [only] => Some(Operated::Item(*only)),
                _ => None,
            },
            Self::Length(operand) => match operand.get(current, root)? {
                Operated::Item(item) => length(item).map(Operated::Number),
                Operated::Number(_) => None,
            },
        }
    }
}

fn length(item: Item<'_>) -> Option<usize> {
    match item.kind() {
        Kind::String => item.as_str().map(|text| text.chars().count()),
        Kind::Array => Some(item.elements().count()),
        Kind::Object => Some(item.members().len()),
        Kind::Null | Kind::Bool | Kind::Number => None,
    }
}

fn compare(left: Option<Operated<'_>>, comparison: Comparison, right: Option<Operated<'_>>) -> bool {
    let equal = || match (&left, &right) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    };
    let order = || match (&left, &right) {
        (Some(a), Some(b)) => ordering(a, b),
        (None, _) | (_, None) => None,
    };
    match comparison {
        Comparison::Equal => equal(),
        Comparison::NotEqual => !equal(),
        Comparison::Less => order() == Some(Ordering::Less),
        Comparison::LessEqual => order() == Some(Ordering::Less) || equal(),
        Comparison::Greater => order() == Some(Ordering::Greater),
        Comparison::GreaterEqual => order() == Some(Ordering::Greater) || equal(),
    }
}

fn same(a: &Operated<'_>, b: &Operated<'_>) -> bool {
    match (a, b) {
        (Operated::Item(a), Operated::Item(b)) => equal(*a, *b),
        (Operated::Number(_), _) | (_, Operated::Number(_)) => ordering(a, b) == Some(Ordering::Equal),
    }
}

/// The order of two numbers or two strings; nothing else has one.
fn ordering(a: &Operated<'_>, b: &Operated<'_>) -> Option<Ordering> {
    match (a, b) {
        (Operated::Item(a), Operated::Item(b)) => match (number(*a), number(*b)) {
            (Some(a), Some(b)) => Some(compare_numbers(a, b)),
            _ => Some(a.as_str()?.cmp(&b.as_str()?)),
        },
        (Operated::Number(a), Operated::Number(b)) => Some(a.cmp(b)),
        (Operated::Number(a), Operated::Item(b)) => Some(compare_numbers(&a.to_string(), number(*b)?)),
        (Operated::Item(a), Operated::Number(b)) => Some(compare_numbers(number(*a)?, &b.to_string())),
    }
}

fn number(item: Item<'_>) -> Option<&str> {
    match item {
        Item::Json(json) if json.kind() == Kind::Number => Some(json.text()),
        Item::Json(_) | Item::Document(_) | Item::Text(_) | Item::Base64(_) => None,
    }
}

/// Deep equality: numbers by value, strings by characters, objects without regard to order.
fn equal(a: Item<'_>, b: Item<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Bool, Kind::Bool) => matches!((a, b), (Item::Json(a), Item::Json(b)) if a.text() == b.text()),
        (Kind::Number, Kind::Number) => {
            matches!((number(a), number(b)), (Some(a), Some(b)) if compare_numbers(a, b) == Ordering::Equal)
        }
        (Kind::String, Kind::String) => a.as_str() == b.as_str(),
        (Kind::Array, Kind::Array) => {
            let (a, b): (Vec<_>, Vec<_>) = (a.elements().collect(), b.elements().collect());
            a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Kind::Object, Kind::Object) => {
            let members = a.members();
            members.len() == b.members().len()
                && members.into_iter().all(|(name, value)| b.get(&name).is_some_and(|other| equal(value, other)))
        }
        (Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Array | Kind::Object, _) => false,
    }
}

fn compare_numbers(a: &str, b: &str) -> Ordering {
    Number::of(a).compare(&Number::of(b))
}
