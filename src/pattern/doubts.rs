//! What a pattern over events names that no event has: warnings for who writes rules.

use super::matcher::Test;
use super::{Compiled, Field, Goal, Group, Pattern, Pool, compile};
use crate::model::fault::Fault;
use crate::model::nearest::nearest;

/// What every event may have on top.
const TOP: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "traceparent",
];

pub(super) fn of_event(pattern: &Pattern, text: &str) -> Vec<Fault> {
    let named = pattern.paths.iter().any(|path| doubt(&path.name, pattern.options.alias_aws).is_some());
    let doubted = named || fields(pattern).iter().any(|field| starred(pattern, field).is_some());
    // Only words say where a name stands.
    let verbose =
        if doubted { compile::compile(text, &pattern.options, true, &mut Pool::default()).ok() } else { None };
    let Some(Compiled { pattern, .. }) = verbose else { return Vec::new() };
    let mut doubts: Vec<Fault> = Vec::new();
    for field in fields(&pattern) {
        let (Some(path), Some(written)) = (pattern.paths.get(field.path), &field.leaf.written) else { continue };
        if let Some(literal) = starred(&pattern, field) {
            let message = format!("`{}`: `*` is an ordinary character of \"{literal}\"", path.name);
            let cure = format!("for any text in its place, write [{{\"wildcard\": \"{literal}\"}}]");
            doubts.push(Fault::warning("PATTERN_LITERAL", &*written.pointer, message).cure(cure));
        }
        let Some((message, cure)) = doubt(&path.name, pattern.options.alias_aws) else { continue };
        // What is said of a key is said once.
        if !doubts.iter().any(|told| told.message == message) {
            doubts.push(Fault::warning("PATTERN_NAME", &*written.pointer, message).cure(cure));
        }
    }
    doubts
}

/// The fields of a pattern, each once, as they were written.
fn fields(pattern: &Pattern) -> Vec<&Field> {
    let mut fields = Vec::new();
    pattern.alternatives.iter().for_each(|group| collect(group, &mut fields));
    fields.sort_by_key(|field| field.number);
    fields.dedup_by_key(|field| field.number);
    fields
}

/// A text with a star that is compared as it stands, where no event is likely to have one.
fn starred<'p>(pattern: &Pattern, field: &'p Field) -> Option<&'p str> {
    let path = pattern.paths.get(field.path)?;
    let mut tests = field.leaf.tests.iter().filter(|_| matches!(&*path.name, "type" | "source" | "subject"));
    tests.find_map(|test| {
        if let Test::Text(text) = test { Some(&**text) } else { None }.filter(|text| text.contains('*'))
    })
}

fn collect<'g>(group: &'g Group, into: &mut Vec<&'g Field>) {
    for goal in &group.goals {
        match goal {
            Goal::Field(field) => into.push(field),
            Goal::Or(branches) => branches.iter().for_each(|branch| collect(branch, into)),
        }
    }
}

/// What is doubtful about a path, and the cure.
fn doubt(path: &str, alias_aws: bool) -> Option<(String, String)> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let name = first.split('[').next().unwrap_or(first);
    if first == "$or" {
        // That it stands for a field has been said.
        return None;
    }
    let near = || nearest(name, TOP.into_iter()).filter(|near| *near != name).map(|near| format!("write `{near}`"));
    if first == "$" {
        let message = format!("`{path}`: keys of a pattern are names, not paths");
        return Some((message, format!("write `{}`", rest.unwrap_or("data"))));
    }
    if !alias_aws && matches!(first, "detail" | "detail-type") {
        let ours = if first == "detail" { "data" } else { "type" };
        let message = format!("events have no `{first}`");
        return Some((message, format!("write `{ours}`, or `alias: aws` in the rule")));
    }
    if let Some(key) = path.split('.').find(|key| key.ends_with(']')) {
        let message = format!("`{key}`: a pattern does not number elements; it walks into every array");
        return Some((message, format!("write `{}`", key.split('[').next().unwrap_or_default())));
    }
    let unusual = first != "data_base64" && !first.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if let Some(cure) = near().filter(|_| unusual) {
        let message = format!("`{first}` is no attribute of an event: their names are lower-case letters and digits");
        return Some((message, cure));
    }
    if rest.is_some() && first != "data" {
        let message = format!("`{first}` is an attribute, and attributes have no fields");
        return Some((
            message,
            near().filter(|_| !TOP.contains(&first)).unwrap_or_else(|| "the payload is under `data`".to_owned()),
        ));
    }
    None
}
