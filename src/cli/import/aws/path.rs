//! Paths into AWS's event → paths into ours. AWS's event has its payload under `detail` and its type under
//! `detail-type`; transforms here see `data` and `type`, whatever `alias` says.

use crate::cli::import::draft::{entry, map, text};
use crate::json::path;
use crate::model::node::Node;

/// A path, rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rewritten {
    /// `$`: AWS's whole event.
    Whole,
    /// A value of ours.
    Value {
        /// As it is written in a rule.
        written: String,
        /// An attribute that AWS adds to every event, and that here only some have.
        missing: Option<&'static str>,
    },
    /// It cannot be understood; with why.
    Refused(String),
}

/// Attributes of AWS's event that a CloudEvent has only as extensions.
const EXTENSIONS: [&str; 2] = ["account", "region"];

/// Whether a parameter of a target is a path; else it is text.
pub(super) fn is_path(text: &str) -> bool {
    text == "$" || text.starts_with("$.") || text.starts_with("$[")
}

/// Rewrites a path of AWS.
pub(super) fn rewrite(path: &str) -> Rewritten {
    let path = path.trim();
    if path == "$" {
        return Rewritten::Whole;
    }
    let Some((name, rest)) = first(path) else {
        return checked(path.to_owned(), None);
    };
    let extension = EXTENSIONS.into_iter().find(|known| *known == name);
    match name {
        "detail" => checked(format!("$.data{rest}"), None),
        "detail-type" => checked(format!("$.type{rest}"), None),
        // AWS's are always there.
        "version" if rest.is_empty() => checked_default("$.version", "\"0\""),
        "resources" if rest.is_empty() => checked_default("$.resources", "[]"),
        "resources" => checked(path.to_owned(), Some("resources")),
        _ => checked(path.to_owned(), extension),
    }
}

fn checked_default(path: &str, default: &str) -> Rewritten {
    Rewritten::Value { written: format!("${{{path} ?? {default}}}"), missing: None }
}

fn checked(written: String, missing: Option<&'static str>) -> Rewritten {
    match path::Path::parse(&written) {
        Ok(_) => Rewritten::Value { written, missing },
        Err(error) => Rewritten::Refused(error.to_string()),
    }
}

/// The first name of a path, and what follows; `None` if a path begins otherwise.
fn first(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix('$')?;
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return Some(rest.split_at(end)).filter(|(name, _)| !name.is_empty());
    }
    let inside = rest.strip_prefix('[')?;
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    inside.get(1..)?.split_once(&format!("{quote}]"))
}

/// AWS's event, made of ours: what a target without a transformation gets.
pub(super) fn envelope() -> Node {
    let mut entries = vec![
        entry("version", text("0")),
        entry("id", text("$.id")),
        entry("detail-type", text("$.type")),
        entry("source", text("$.source")),
    ];
    for attribute in ["account", "time", "region"] {
        entries.push(entry(attribute, text(format!("${{$.{attribute} ?? omit}}"))));
    }
    entries.push(entry("resources", text("${$.resources ?? []}")));
    entries.push(entry("detail", text("${$.data ?? {}}")));
    map(entries)
}

/// The same without its payload.
pub(super) fn envelope_without_detail() -> Node {
    map(envelope().entries().iter().filter(|(key, _)| key.name != "detail").cloned().collect())
}

/// A body of JSON.
pub(super) fn json_body(value: Node) -> Node {
    map(vec![entry("json", value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_same_place() {
        for (theirs, ours) in [
            ("$.detail", "$.data"),
            ("$.detail.order.id", "$.data.order.id"),
            ("$.detail['order id'][0]", "$.data['order id'][0]"),
            ("$['detail']['x']", "$.data['x']"),
            ("$[\"detail-type\"]", "$.type"),
            ("$.detail-type", "$.type"),
            ("$.detail.detail.detail-type", "$.data.detail.detail-type"),
            ("$.detailed", "$.detailed"),
            ("$.time", "$.time"),
            ("$.source", "$.source"),
            ("$.account", "$.account"),
            ("$.resources[0]", "$.resources[0]"),
            ("$.resources", "${$.resources ?? []}"),
            ("$.detail.items[*].sku", "$.data.items[*].sku"),
        ] {
            assert!(matches!(rewrite(theirs), Rewritten::Value { written, .. } if written == ours), "{theirs}");
        }
        assert_eq!(rewrite("$"), Rewritten::Whole);
        assert!(matches!(rewrite("$.detail["), Rewritten::Refused(_)));
        assert!(matches!(rewrite("$.region"), Rewritten::Value { missing: Some("region"), .. }));
    }
}
