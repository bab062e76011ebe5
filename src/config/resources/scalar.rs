//! Single values: whether one fits its shape, and how it and an example that fits are put into words.

use super::keys::{Shape, Word};
use super::{names, url};
use crate::model::name::Name;
use crate::model::node::{Kind, Node};
use crate::model::text::Text;
use crate::model::units;
use std::time::Duration;

/// What is wrong, and what to write.
pub(super) type Wrong = (String, String);

/// Whether a scalar fits; otherwise what is wrong and what to write.
pub(super) fn fits(shape: Shape, node: &Node, key: &str) -> Result<(), Wrong> {
    let wrong = |wanted: &str, cure: String| Err((format!("`{key}` must be {wanted}, found {}", describe(node)), cure));
    let example = || format!("write `{}`", example(key, shape));
    match (shape, &node.kind) {
        (Shape::Bool, Kind::Bool(_)) => Ok(()),
        (Shape::Bool, _) => wrong("true or false", example()),
        (Shape::Count(from, to), Kind::Number(spelled)) => match spelled.parse::<u32>() {
            Ok(n) if (from..=to).contains(&n) => Ok(()),
            _ => wrong(&format!("a whole number from {from} to {to}"), example()),
        },
        (Shape::Count(from, to), _) => wrong(&format!("a whole number from {from} to {to}"), example()),
        (Shape::Duration(..), Kind::Number(n)) => Err((format!("`{key}` needs a unit"), format!("write {n}s or 1m"))),
        (Shape::Rate, Kind::Number(n)) => Err((format!("`{key}` needs a unit"), format!("write {n}/s or {n}/min"))),
        (_, Kind::Number(spelled)) => wrong("a text", format!("write \"{spelled}\"")),
        (_, Kind::String(Text::Plain(text))) => text_fits(shape, text, key, node),
        (_, _) => wrong("a text", example()),
    }
}

fn text_fits(shape: Shape, text: &str, key: &str, node: &Node) -> Result<(), Wrong> {
    let wrong = |wanted: &str, cure: String| Err((format!("`{key}` must be {wanted}, found {}", describe(node)), cure));
    let example = || format!("write `{}`", example(key, shape));
    // What `model::units` says is "what is wrong; what to write".
    let unit = |said: String| match said.split_once("; ") {
        Some((message, cure)) => Err((format!("`{key}`: {message}"), cure.to_owned())),
        None => Err((format!("`{key}`: {said}"), example())),
    };
    match shape {
        Shape::Name if Name::new(text).is_some() => Ok(()),
        Shape::Name => wrong("1 to 63 of letters, digits, `-` and `_`", example()),
        Shape::Topic if topic_fits(text) => Ok(()),
        Shape::Topic => wrong("the name of a topic: letters, digits, `.`, `-`, `_`", example()),
        Shape::Duration(from, to) => match units::duration(text) {
            Ok(found) if (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&found) => Ok(()),
            Ok(_) => wrong(&format!("between {from}s and {to}s"), example()),
            Err(said) if said.contains("needs a unit") => {
                Err((format!("`{key}` needs a unit"), format!("write {text}s or 1m")))
            }
            Err(said) => unit(said),
        },
        Shape::Rate => units::rate(text).map(|_| ()).or_else(unit),
        Shape::Networks => url::network(text).map(|_| ()).ok_or(()).or_else(|()| wrong("an address range", example())),
        Shape::Url => url::parse(text).map(|_| ()).map_err(|(message, cure)| (format!("`{key}`: {message}"), cure)),
        Shape::Words(words) if words.iter().any(|word| word.text == text && !word.later) => Ok(()),
        Shape::Words(words) if words.iter().any(|word| word.text == text) => {
            Err((format!("`{key}: {text}` is not supported by this version"), format!("write {}", list(words))))
        }
        Shape::Words(words) => {
            let near = names::nearest(text, words.iter().filter(|w| !w.later).map(|w| w.text));
            wrong(&list(words), near.map_or_else(example, |near| format!("write `{key}: {near}`")))
        }
        Shape::Bool | Shape::Count(..) => wrong("something else", example()),
        Shape::Kind
        | Shape::Text
        | Shape::Hidden
        | Shape::Secret
        | Shape::Topics
        | Shape::Delay
        | Shape::Rates
        | Shape::PemFile
        | Shape::FixedHeaders
        | Shape::FixedQuery
        | Shape::FixedBody
        | Shape::Values
        | Shape::PathValues
        | Shape::Any
        | Shape::Verbatim
        | Shape::AnyMap
        | Shape::Expectations
        | Shape::Table(_)
        | Shape::OneOf(_)
        | Shape::List(_)
        | Shape::Later => Ok(()),
    }
}

pub(super) fn is_word(node: &Node, word: &Word) -> bool {
    // `ordering: {key: …}` is the long form of `ordering: key`.
    node.as_plain() == Some(word.text) || node.get(word.text).is_some()
}

fn list(words: &[Word]) -> String {
    let words: Vec<_> = words.iter().filter(|word| !word.later).map(|word| word.text).collect();
    match words.as_slice() {
        [one] => format!("`{one}`"),
        many => many.join(" or "),
    }
}

fn topic_fits(text: &str) -> bool {
    let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    clean && (1..=249).contains(&text.len()) && text != "." && text != ".."
}

/// What stands there, in words.
pub(super) fn describe(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(spelled) => format!("the number {spelled}"),
        Kind::String(text) => format!("the text `{}`", text.masked()),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a map".to_owned(),
    }
}

/// A key with a value that fits.
pub(super) fn example(key: &str, shape: Shape) -> String {
    let value = match shape {
        Shape::Name => "my-name".to_owned(),
        Shape::Text | Shape::Hidden | Shape::Any | Shape::Verbatim | Shape::Kind => "…".to_owned(),
        Shape::Secret => "\"${env:NAME}\"".to_owned(),
        Shape::Url => "https://api.example.com".to_owned(),
        Shape::Bool => "true".to_owned(),
        Shape::Count(from, to) => from.max(10).min(to).to_string(),
        Shape::Duration(..) => "15s".to_owned(),
        Shape::Words(words) => words.iter().find(|w| !w.later).map_or("…", |w| w.text).to_owned(),
        Shape::Topic => "shop.orders".to_owned(),
        Shape::Topics => "[shop.orders]".to_owned(),
        Shape::Delay => "[1s, 10m]".to_owned(),
        Shape::Rate | Shape::Rates => "50/min".to_owned(),
        Shape::Networks => "[10.0.0.0/8]".to_owned(),
        Shape::PemFile => "/etc/tidegate/ca.pem".to_owned(),
        Shape::List(table) => format!("[{{{}: …}}]", table.keys.first().map_or("name", |k| k.name)),
        Shape::Table(table) | Shape::OneOf(table) => {
            format!("{{{}: …}}", table.keys.first().map_or("name", |k| k.name))
        }
        Shape::FixedHeaders
        | Shape::FixedQuery
        | Shape::FixedBody
        | Shape::Values
        | Shape::PathValues
        | Shape::AnyMap
        | Shape::Expectations
        | Shape::Later => "{…}".to_owned(),
    };
    format!("{key}: {value}")
}
