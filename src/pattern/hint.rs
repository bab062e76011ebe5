//! Why a matcher does not accept a value, as far as people overlook it: type, case, white space, a bound.

use super::matcher::Scalar;
use super::{Options, compile, meant};
use crate::json::document::Document;
use crate::json::number::Number;
use crate::json::value::{Json, Kind};
use crate::model::node::write_json_string;
use crate::model::resources::Dialect;
use std::cmp::Ordering;
use std::net::IpAddr;

/// How much a value has in common with what a matcher wants; greater is closer.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Likeness {
    /// 2: they differ in what is easily overlooked; 1: they are of one type.
    class: u8,
    /// Characters alike, or the distance of numbers below zero.
    score: f64,
}

impl Likeness {
    /// Whether it is worth being told which of several values it is.
    pub(super) fn is_telling(self) -> bool {
        self.class > 1 || (self.class == 1 && (self.score > 2.0 || self.score < 0.0))
    }

    /// Of several, the first of those that are closest.
    pub(super) fn is_closer(self, other: Self) -> bool {
        self.partial_cmp(&other) == Some(Ordering::Greater)
    }
}

/// How close a value is to a matcher, given as JSON.
pub(super) fn likeness(matcher: &str, value: &Scalar<'_>) -> Likeness {
    let json = Json::trusted(matcher);
    if json.kind() == Kind::Object {
        let likenesses =
            json.members().into_iter().flatten().map(|(name, operand)| of_operator(&name.decode(), operand, value));
        let least = likenesses.reduce(|least, next| if least.is_closer(next) { next } else { least });
        return least.unwrap_or(Likeness { class: 0, score: 0.0 });
    }
    of_literal(json, value)
}

fn of_literal(wanted: Json<'_>, value: &Scalar<'_>) -> Likeness {
    if overlooked(wanted, value).is_some() {
        return Likeness { class: 2, score: 0.0 };
    }
    match (wanted.as_str(), value) {
        (Some(wanted), Scalar::Text(text)) => Likeness { class: 1, score: alike(wanted.chars(), text.chars()) },
        (None, Scalar::Number(number)) if wanted.kind() == Kind::Number => {
            Likeness { class: 1, score: -distance(wanted.text(), number) }
        }
        (None, Scalar::Bool(_)) if wanted.kind() == Kind::Bool => Likeness { class: 1, score: 0.0 },
        (Some(_) | None, Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Text(_)) => {
            Likeness { class: 0, score: 0.0 }
        }
    }
}

fn of_operator(name: &str, operand: Json<'_>, value: &Scalar<'_>) -> Likeness {
    match (name, value) {
        ("numeric", Scalar::Number(number)) => {
            let bounds = operand.elements().into_iter().flatten().filter(|item| item.kind() == Kind::Number);
            let nearest = bounds.map(|bound| distance(bound.text(), number)).fold(f64::INFINITY, f64::min);
            Likeness { class: 1, score: -nearest }
        }
        ("prefix", Scalar::Text(text)) => {
            let wanted = text_of(operand);
            Likeness { class: 1, score: alike(wanted.chars(), text.chars()) }
        }
        ("suffix", Scalar::Text(text)) => {
            let wanted = text_of(operand);
            Likeness { class: 1, score: alike(wanted.chars().rev(), text.chars().rev()) }
        }
        ("equals-ignore-case" | "wildcard" | "contains" | "exactly" | "cidr", Scalar::Text(text)) => {
            let wanted = text_of(operand);
            Likeness { class: 1, score: alike(wanted.chars(), text.chars()) }
        }
        ("exists", _) => Likeness { class: 0, score: -1.0 },
        _ => Likeness { class: 0, score: 0.0 },
    }
}

/// The text of an operand, also inside `equals-ignore-case`.
fn text_of(operand: Json<'_>) -> String {
    let text = operand.as_str().or_else(|| operand.get("equals-ignore-case")?.as_str());
    text.unwrap_or_default().into_owned()
}

fn alike(wanted: impl Iterator<Item = char>, found: impl Iterator<Item = char>) -> f64 {
    let alike = wanted.zip(found).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    u32::try_from(alike).map_or(f64::MAX, f64::from)
}

fn distance(a: &str, b: &str) -> f64 {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs(),
        _ => f64::MAX,
    }
}

/// Why a matcher, given as JSON, does not accept a value, if that is easily overlooked.
pub(super) fn why(matcher: &str, value: &Scalar<'_>, dialect: Dialect) -> Option<String> {
    let wanted = Json::trusted(matcher);
    if wanted.kind() != Kind::Object {
        return overlooked(wanted, value).map(str::to_owned).or_else(|| meant_as_operator(wanted, value, dialect));
    }
    let operators: Vec<_> =
        wanted.members().into_iter().flatten().map(|(name, operand)| (name.decode(), operand)).collect();
    let refuses = |(name, operand): &&(std::borrow::Cow<'_, str>, Json<'_>)| {
        accepts(&format!("{{{}:{}}}", quoted(name), operand.text()), value, dialect) == Some(false)
    };
    let (name, operand) = operators.iter().find(refuses)?;
    let reason = of_operand(name, *operand, value);
    if operators.len() == 1 {
        return reason;
    }
    Some(reason.map_or_else(|| format!("`{name}` does not accept it"), |reason| format!("`{name}`: {reason}")))
}

/// What people most often overlook in a literal.
fn overlooked(wanted: Json<'_>, value: &Scalar<'_>) -> Option<&'static str> {
    match (wanted.as_str(), value) {
        (Some(wanted), Scalar::Text(text)) => {
            let unseen = |text: &str| -> String {
                text.chars()
                    .filter(|c| !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}'))
                    .map(|c| if c == '\u{a0}' { ' ' } else { c })
                    .collect()
            };
            if wanted.trim() == text.trim() {
                Some("white space counts")
            } else if unseen(&wanted) == unseen(text) {
                Some("they differ in characters that cannot be seen")
            } else if wanted.to_lowercase() == text.to_lowercase() {
                Some("case matters")
            } else {
                None
            }
        }
        (Some(wanted), other) if wanted == json(other) => Some("a string never equals a number, true, false or null"),
        (None, Scalar::Text(text)) if *text == wanted.text() => Some("the value is a string, the pattern names none"),
        (Some(_) | None, Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Text(_)) => None,
    }
}

/// Whether a literal was probably meant as an operator, for then it would accept the value.
fn meant_as_operator(wanted: Json<'_>, value: &Scalar<'_>, dialect: Dialect) -> Option<String> {
    let text = wanted.as_str()?;
    let numeric = meant::numeric_text(&text).map(|operand| format!("{{\"numeric\": {operand}}}"));
    let wildcard = text.contains('*').then(|| format!("{{\"wildcard\": {}}}", wanted.text()));
    let meant = numeric.or(wildcard)?;
    (accepts(&meant, value, dialect) == Some(true)).then(|| format!("this is plain text; write {meant}"))
}

fn of_operand(name: &str, operand: Json<'_>, value: &Scalar<'_>) -> Option<String> {
    match (name, value) {
        ("numeric", Scalar::Text(_)) => Some("the value is a string; `numeric` accepts JSON numbers only".to_owned()),
        ("numeric", Scalar::Number(number)) => {
            let items: Vec<Json<'_>> = operand.elements()?.collect();
            let unmet = items.chunks_exact(2).find_map(|pair| match pair {
                [sign, bound] => {
                    let sign = sign.as_str()?;
                    (!holds(&sign, number, bound.text())).then(|| format!("{number} is not {sign} {}", bound.text()))
                }
                _ => None,
            });
            unmet.or_else(|| {
                Some(format!("`dialect: aws` compares only numbers that a 64-bit float holds, not {number}"))
            })
        }
        (
            "prefix" | "suffix" | "contains" | "wildcard" | "equals-ignore-case" | "cidr" | "exactly",
            Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null,
        ) => Some(format!("`{name}` accepts strings only")),
        ("cidr", Scalar::Text(text)) => match (text.parse::<IpAddr>(), text_of(operand).contains(':')) {
            (Err(_), _) => Some("the value is no address".to_owned()),
            (Ok(address), v6) if address.is_ipv6() != v6 => Some("one is IPv4, the other IPv6".to_owned()),
            (Ok(_), _) => Some("the address is outside".to_owned()),
        },
        ("prefix" | "suffix" | "contains" | "wildcard", Scalar::Text(text)) => {
            let wanted = operand.as_str()?;
            let fits = |text: &str, wanted: &str| match name {
                "prefix" => text.starts_with(wanted),
                "suffix" => text.ends_with(wanted),
                "contains" => text.contains(wanted),
                _ => {
                    let matcher = format!("{{\"wildcard\":{}}}", quoted(wanted));
                    accepts(&matcher, &Scalar::Text(text.into()), Dialect::Tidegate) == Some(true)
                }
            };
            if fits(&text.to_lowercase(), &wanted.to_lowercase()) {
                Some("case matters".to_owned())
            } else if fits(text.trim(), wanted.trim()) {
                Some("white space counts".to_owned())
            } else if name != "wildcard" && wanted.contains('*') {
                Some("`*` is a star here; any text is `*` in `wildcard` only".to_owned())
            } else if name == "wildcard" && !wanted.contains('*') {
                Some("there is no `*` in it: it wants this text and no other".to_owned())
            } else if name == "wildcard" && fits(text, &format!("*{wanted}*")) {
                Some("it must describe the whole text; add `*` at the ends".to_owned())
            } else {
                None
            }
        }
        _ => None,
    }
}

fn holds(sign: &str, number: &str, bound: &str) -> bool {
    let ordering = Number::of(number).compare(&Number::of(bound));
    match sign {
        "=" => ordering.is_eq(),
        "!=" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    }
}

/// Whether a matcher, given as JSON, accepts a value: asked of a pattern of its own. `None` if it is none.
fn accepts(matcher: &str, value: &Scalar<'_>, dialect: Dialect) -> Option<bool> {
    let options = Options { dialect, ..Options::default() };
    let pattern = compile(&format!("{{\"v\":[{matcher}]}}"), &options).ok()?.pattern;
    let event = format!("{{\"v\":{}}}", json(value));
    let document = Document::from_object(Json::check(event.as_bytes()).ok()?)?;
    pattern.matches(&document).ok()
}

/// A value as JSON.
pub(super) fn json(value: &Scalar<'_>) -> String {
    match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(text) => (*text).to_owned(),
        Scalar::Text(text) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_json_string(text, &mut out);
    out
}
