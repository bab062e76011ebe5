//! What of an event lies on a path, said in the words of people: `data.items[1].sku`; and where nothing does, what lies
//! closest. Only explanations need it; verdicts are `leaves`' business.

use super::leaves::scalar;
use super::matcher::Scalar;
use crate::json::document::{Document, Value};
use crate::json::value::{Json, Kind};
use crate::model::nearest::nearest;
use crate::model::resources::Dialect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Values that are looked at; an array may hold more.
const MAX_SPOTS: usize = 1_000;
/// Keys that are listed.
const LISTED: usize = 8;

/// A value on a path.
#[derive(Debug)]
pub(super) struct Spot<'d> {
    /// Where it stands, elements numbered.
    pub(super) place: String,
    pub(super) value: Scalar<'d>,
    /// The elements walked into: where the array stands, and which.
    pub(super) elements: Vec<(String, usize)>,
}

/// What lies on a path.
#[derive(Debug, Default)]
pub(super) struct Seen<'d> {
    pub(super) spots: Vec<Spot<'d>>,
    /// An object or array that is no value lies at the end of the path.
    pub(super) container: bool,
    /// Where the walk came furthest and found no way on.
    stop: Option<Stop<'d>>,
}

#[derive(Debug)]
struct Stop<'d> {
    /// What of the path was left.
    rest: String,
    place: String,
    /// The keys there, if it is an object; else the value.
    keys: Vec<Cow<'d, str>>,
    value: Option<Scalar<'d>>,
}

/// Looks along a path.
pub(super) fn look<'d>(document: &'d Document<'_>, path: &str, dialect: Dialect) -> Seen<'d> {
    let mut walk = Walk { dialect, elements: Vec::new(), seen: Seen::default() };
    let replaced = match dialect {
        Dialect::Tidegate => None,
        Dialect::Aws => Some(document.replaced()),
    };
    let mut entered = false;
    for member in document.members().iter().chain(replaced.into_iter().flatten()) {
        let Some(rest) = after_key(path, &member.name) else { continue };
        entered = true;
        match &member.value {
            Value::Json(json) => walk.value(*json, rest, &member.name),
            Value::Text(text) => walk.scalar(Scalar::Text(Cow::Borrowed(text)), rest, &member.name),
            Value::Base64(bytes) => walk.scalar(Scalar::Text(STANDARD.encode(bytes).into()), rest, &member.name),
        }
    }
    if !entered {
        let keys = document.members().iter().map(|member| Cow::Borrowed(&*member.name)).collect();
        walk.seen.stop = Some(Stop { rest: path.to_owned(), place: String::new(), keys, value: None });
    }
    walk.seen
}

/// What lies closest to a path on which there is nothing; empty if nothing does.
pub(super) fn instead(document: &Document<'_>, path: &str, seen: &Seen<'_>) -> String {
    let exists = |path: &str| {
        let seen = look(document, path, Dialect::Tidegate);
        seen.container || !seen.spots.is_empty()
    };
    let Some(stop) = &seen.stop else { return String::new() };
    match &stop.value {
        Some(Scalar::Text(text)) if path.starts_with("data.") && stop.place == "data" => {
            let json = Json::check(text.as_bytes()).is_ok_and(|json| matches!(json.kind(), Kind::Object | Kind::Array));
            return if json {
                "`data` is a text that holds JSON; `decode: json` in the source reads it".to_owned()
            } else {
                "`data` is a text".to_owned()
            };
        }
        Some(_) => return format!("`{}` is no object", stop.place),
        None => {}
    }
    let at = |key: &str| if stop.place.is_empty() { key.to_owned() } else { format!("{}.{key}", stop.place) };
    let next = stop.rest.split('.').next().unwrap_or_default();
    let keys = || stop.keys.iter().map(|key| &**key);
    // Of very short names, every other is near.
    let telling = |key: &&str| key.len() > 2 || key.eq_ignore_ascii_case(next);
    if let Some(key) = nearest(&stop.rest, keys()).or_else(|| nearest(next, keys())).filter(telling) {
        return format!("there is `{}`", at(key));
    }
    if stop.place.is_empty() {
        let below = path.strip_prefix("detail.").map_or_else(|| format!("data.{path}"), |rest| format!("data.{rest}"));
        if exists(&below) {
            return format!("there is `{below}`");
        }
        let encoded = (path == "data" || path.starts_with("data.")) && document.get("data_base64").is_some();
        return if encoded {
            "the payload is `data_base64`, for its `datacontenttype` is no JSON type".to_owned()
        } else {
            String::new()
        };
    }
    if let Some(attribute) = path.strip_prefix("data.").filter(|rest| exists(rest)) {
        return format!("there is `{attribute}`");
    }
    let listed: Vec<&str> = keys().take(LISTED).collect();
    match stop.keys.len().saturating_sub(LISTED) {
        _ if listed.is_empty() => format!("{} is empty", stop.place),
        0 => format!("{} has {}", stop.place, listed.join(", ")),
        more => format!("{} has {} and {more} more", stop.place, listed.join(", ")),
    }
}

/// A place without the numbers of elements.
fn unnumbered(place: &str) -> String {
    let mut out = String::new();
    for part in place.split('[') {
        out.push_str(part.split_once(']').map_or(part, |(_, rest)| rest));
    }
    out
}

/// What of a path is left below a value; `None` if the value is what the path names.
type Rest<'p> = Option<&'p str>;

/// What is left of `path` after `key`; `None` if it does not begin with that key.
fn after_key<'p>(path: &'p str, key: &str) -> Option<Rest<'p>> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() { Some(None) } else { rest.strip_prefix('.').map(Some) }
}

struct Walk<'d> {
    dialect: Dialect,
    elements: Vec<(String, usize)>,
    seen: Seen<'d>,
}

impl<'d> Walk<'d> {
    fn value(&mut self, json: Json<'d>, rest: Rest<'_>, place: &str) {
        if self.seen.spots.len() >= MAX_SPOTS {
            return;
        }
        match json.kind() {
            Kind::Object => match rest {
                Some(rest) => self.object(json, rest, place),
                None => self.seen.container = true,
            },
            Kind::Array => self.array(json, rest, place),
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => self.scalar(scalar(json), rest, place),
        }
    }

    fn scalar(&mut self, value: Scalar<'d>, rest: Rest<'_>, place: &str) {
        match rest {
            None => self.seen.spots.push(Spot { place: place.to_owned(), value, elements: self.elements.clone() }),
            Some(rest) => self.stop(rest, place, Vec::new(), Some(value)),
        }
    }

    fn object(&mut self, object: Json<'d>, path: &str, place: &str) {
        let mut on_path: Vec<(String, Json<'d>, Rest<'_>)> = Vec::new();
        let mut keys: Vec<Cow<'d, str>> = Vec::new();
        for (key, value) in object.members().into_iter().flatten() {
            let key = key.decode();
            if let Some(rest) = after_key(path, &key) {
                match on_path.iter_mut().find(|(other, ..)| self.dialect == Dialect::Tidegate && *other == key) {
                    Some(earlier) => earlier.1 = value,
                    None => on_path.push((key.into_owned(), value, rest)),
                }
            } else if keys.len() < MAX_SPOTS {
                keys.push(key);
            }
        }
        if on_path.is_empty() {
            self.stop(path, place, keys, None);
        }
        for (key, value, rest) in on_path {
            self.value(value, rest, &format!("{place}.{key}"));
        }
    }

    fn array(&mut self, array: Json<'d>, rest: Rest<'_>, place: &str) {
        self.seen.container |= rest.is_none();
        for (element, value) in array.elements().into_iter().flatten().enumerate() {
            let inner = format!("{place}[{element}]");
            if matches!(value.kind(), Kind::Object | Kind::Array) {
                self.elements.push((place.to_owned(), element));
                self.value(value, rest, &inner);
                self.elements.pop();
            } else if rest.is_none() {
                self.value(value, None, &inner);
            }
        }
    }

    /// The furthest stop is kept; of objects equally far, their keys together.
    fn stop(&mut self, rest: &str, place: &str, keys: Vec<Cow<'d, str>>, value: Option<Scalar<'d>>) {
        match &mut self.seen.stop {
            Some(stop) if stop.rest.len() < rest.len() => {}
            Some(stop) if stop.rest.len() == rest.len() => {
                if stop.place != place {
                    // Of several elements, the array.
                    stop.place = unnumbered(&stop.place);
                }
                for key in keys {
                    if stop.keys.len() < MAX_SPOTS && !stop.keys.contains(&key) {
                        stop.keys.push(key);
                    }
                }
            }
            Some(_) | None => {
                self.seen.stop = Some(Stop { rest: rest.to_owned(), place: place.to_owned(), keys, value });
            }
        }
    }
}
