//! Filters: does a value pass `?…`? (RFC 9535, 2.3.5.)

use super::Path;
use super::meter::{Meter, TooCostly};
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
    fn nodes<'a>(&self, current: Item<'a>, meter: &Meter<'a>) -> Result<Vec<Item<'a>>, TooCostly> {
        self.path.nodes(if self.absolute { meter.root } else { current }, meter)
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
    pub(super) fn holds<'a>(&'a self, current: Item<'a>, meter: &Meter<'a>) -> Result<bool, TooCostly> {
        Ok(match self {
            Self::Or(parts) => {
                for part in parts {
                    if part.holds(current, meter)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::And(parts) => {
                for part in parts {
                    if !part.holds(current, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Not(inner) => !inner.holds(current, meter)?,
            Self::Exists(query) => !query.nodes(current, meter)?.is_empty(),
            Self::Compare(left, comparison, right) => {
                let (left, right) = (left.get(current, meter)?, right.get(current, meter)?);
                for operated in [&left, &right].into_iter().flatten() {
                    operated.read(meter)?;
                }
                compare(left, *comparison, right)
            }
            Self::Matches { whole, text, pattern } => {
                let Some(Operated::Item(text)) = text.get(current, meter)? else { return Ok(false) };
                meter.read(text)?;
                let Some(text) = text.as_str() else { return Ok(false) };
                match pattern {
                    Pattern::Fixed(regexp) => regexp.matches(&text, *whole),
                    Pattern::Found(operand) => {
                        let Some(Operated::Item(found)) = operand.get(current, meter)? else { return Ok(false) };
                        let Some(written) = found.as_str() else { return Ok(false) };
                        meter.matches(&written, &text, *whole)?
                    }
                }
            }
        })
    }
}

impl Operand {
    fn get<'a>(&'a self, current: Item<'a>, meter: &Meter<'a>) -> Result<Option<Operated<'a>>, TooCostly> {
        Ok(match self {
            Self::Literal(text) => Some(Operated::Item(Item::Json(Json::trusted(text)))),
            Self::Query(query) => query.nodes(current, meter)?.first().copied().map(Operated::Item),
            Self::Count(query) => Some(Operated::Number(query.nodes(current, meter)?.len())),
            Self::Value(query) => match query.nodes(current, meter)?.as_slice() {
                [only] => Some(Operated::Item(*only)),
                _ => None,
            },
            Self::Length(operand) => match operand.get(current, meter)? {
                Some(Operated::Item(item)) => {
                    meter.read(item)?;
                    length(item).map(Operated::Number)
                }
                Some(Operated::Number(_)) | None => None,
            },
        })
    }
}

impl Operated<'_> {
    fn read(&self, meter: &Meter<'_>) -> Result<(), TooCostly> {
        match self {
            Self::Item(item) => meter.read(*item),
            Self::Number(_) => Ok(()),
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
            let (mut a, mut b) = (a.members(), b.members());
            a.sort_unstable_by(|(x, _), (y, _)| x.cmp(y));
            b.sort_unstable_by(|(x, _), (y, _)| x.cmp(y));
            a.len() == b.len() && a.into_iter().zip(b).all(|((x, a), (y, b))| x == y && equal(a, b))
        }
        (Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Array | Kind::Object, _) => false,
    }
}

fn compare_numbers(a: &str, b: &str) -> Ordering {
    Number::of(a).compare(&Number::of(b))
}
