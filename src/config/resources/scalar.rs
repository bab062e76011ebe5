//! Single values: whether one fits its shape, and how it and an example that fits are put into words.

use super::keys::{Shape, Word};
use super::texts::header_name;
use super::{names, url};
use crate::json::path::Path;
use crate::model::name::Name;
use crate::model::nearest::nearest;
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
        (Shape::Duration(..) | Shape::Lifetime, Kind::Number(n)) => {
            Err((format!("`{key}` needs a unit"), format!("write {n}s or 1m")))
        }
        (Shape::WordOr(words, _), Kind::Number(_)) => wrong(&format!("{} or a map", list(words)), example()),
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
        Shape::TokenEndpoint => {
            url::token_endpoint(None, text).map(|_| ()).map_err(|(message, cure)| (format!("`{key}`: {message}"), cure))
        }
        Shape::ProxyUrl if text == "environment" => Ok(()),
        Shape::ProxyUrl => {
            url::proxy(text).map(|_| ()).map_err(|(message, cure)| (format!("`{key}`: {message}"), cure))
        }
        Shape::Method if method_fits(text) => Ok(()),
        Shape::Method => wrong("a method of HTTP", "write POST, PUT, PATCH, DELETE or GET".to_owned()),
        Shape::HeaderName => header_name(&text.to_ascii_lowercase(), &[]).map_or(Ok(()), Err),
        Shape::SignatureFormat => signature_format(text).map_err(|said| (format!("`{key}` {said}"), example())),
        Shape::AnswerPath => answer_path(text).map_err(|said| (format!("`{key}`: {said}"), example())),
        Shape::Lifetime if text.starts_with('$') => {
            let cure = format!("write `{key}: $.expires_in` or `{key}: 1h`");
            answer_path(text).map_err(|said| (format!("`{key}`: {said}"), cure))
        }
        Shape::Lifetime => {
            let cure = |(message, _)| (message, format!("write `{key}: 1h`, or the path of a number of seconds"));
            text_fits(LIFETIME, text, key, node).map_err(cure)
        }
        Shape::Words(words) | Shape::WordOr(words, _) if words.iter().any(|word| word.text == text) => Ok(()),
        Shape::Words(words) if words.iter().any(|word| word.text == text) => {
            Err((format!("`{key}: {text}` is not supported by this version"), format!("write {}", list(words))))
        }
        Shape::Words(words) => {
            let near = names::word_instead(key, text).or_else(|| nearest(text, words.iter().map(|w| w.text)));
            wrong(&list(words), near.map_or_else(example, |near| format!("write `{key}: {near}`")))
        }
        Shape::WordOr(words, _) => wrong(&format!("{} or a map", list(words)), example()),
        Shape::Bool | Shape::Count(..) => wrong("something else", example()),
        Shape::Kind
        | Shape::Text
        | Shape::Hidden
        | Shape::Secret
        | Shape::Secrets
        | Shape::Exchange(_)
        | Shape::AnswerPattern
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
        | Shape::Filters
        | Shape::Expectations
        | Shape::Table(_)
        | Shape::OneOf(_)
        | Shape::List(_)
        | Shape::Later => Ok(()),
    }
}

/// A token is good for so long at least and at most.
const LIFETIME: Shape = Shape::Duration(1, 31_536_000);

fn method_fits(text: &str) -> bool {
    let letters = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    letters && !text.eq_ignore_ascii_case("connect") && !text.eq_ignore_ascii_case("trace")
}

/// A definite path of transforms.md rule 39.
fn answer_path(text: &str) -> Result<(), String> {
    let path = Path::parse(text).map_err(|error| format!("`{text}` is no path: {error}"))?;
    match path.steps() {
        Some(_) => Ok(()),
        None => Err(format!("`{text}` may find several values; a path of names and indexes finds one")),
    }
}

/// Text with one `{hex}` or `{base64}`, and at most one `{timestamp}`.
fn signature_format(text: &str) -> Result<(), String> {
    let (mut signatures, mut timestamps) = (0, 0);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (_, from) = rest.split_at(at);
        let inner = from.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = inner else {
            return Err("has a brace that is none of {hex}, {base64}, {timestamp}".to_owned());
        };
        match name {
            "hex" | "base64" => signatures += 1,
            "timestamp" => timestamps += 1,
            _ => return Err(format!("has `{{{name}}}`; it may hold {{hex}}, {{base64}} and {{timestamp}}")),
        }
        rest = after;
    }
    if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err("has a character that no header may have".to_owned());
    }
    if signatures != 1 {
        return Err(format!("must hold {{hex}} or {{base64}} exactly once, found {signatures}"));
    }
    if timestamps > 1 { Err("holds {timestamp} twice".to_owned()) } else { Ok(()) }
}

fn list(words: &[Word]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.text).collect();
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
        Kind::String(text) => match text.masked().trim_end().split_once('\n') {
            Some((first, _)) => format!("the text `{first}…`"),
            None => format!("the text `{}`", text.masked()),
        },
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
        Shape::Secrets => "[\"${env:NAME}\"]".to_owned(),
        Shape::TokenEndpoint => "https://login.example.com/token".to_owned(),
        Shape::ProxyUrl => "http://proxy.example.com:3128".to_owned(),
        Shape::Method => "POST".to_owned(),
        Shape::HeaderName => "X-Signature".to_owned(),
        Shape::SignatureFormat => "sha256={hex}".to_owned(),
        Shape::AnswerPath if key == "key" => "$.data.customer".to_owned(),
        Shape::AnswerPath => "$.data.token".to_owned(),
        Shape::Lifetime => "1h".to_owned(),
        Shape::AnswerPattern => "{status: [503]}".to_owned(),
        Shape::Url => "https://api.example.com".to_owned(),
        Shape::Bool => "true".to_owned(),
        Shape::Count(from, to) => from.max(10).min(to).to_string(),
        Shape::Duration(..) => "15s".to_owned(),
        Shape::WordOr(_, table) => format!("{{{}: …}}", table.keys.first().map_or("name", |k| k.name)),
        Shape::Words(words) => words.first().map_or("…", |w| w.text).to_owned(),
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
        | Shape::Exchange(_)
        | Shape::Values
        | Shape::PathValues
        | Shape::AnyMap
        | Shape::Filters
        | Shape::Expectations
        | Shape::Later => "{…}".to_owned(),
    };
    format!("{key}: {value}")
}
