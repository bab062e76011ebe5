//! Which filter an event fails, and why, in words.

use super::{Comparison, Entry, Filter, Filters};
use crate::json::document::Document;
use crate::model::node::write_json_string;
use crate::pattern::attribute::{Attribute, is_payload};
use crate::pattern::explain::shortened;
use crate::pattern::{Explanation, FailedField};

/// Filters of an `any` that are told one by one.
const SHOWN: usize = 3;

/// Why a filter does not hold.
struct Failure {
    pointer: String,
    field: Option<FailedField>,
    sentence: String,
}

pub(super) fn explain(filters: &Filters, document: &Document<'_>) -> Option<Explanation> {
    let (index, filter) = filters.filters.iter().enumerate().find(|(_, filter)| !filter.matches(document))?;
    let Failure { pointer, field, sentence } = failure(filter, document, format!("/filters/{index}"));
    let sentence = format!("{sentence} ({pointer})");
    Some(Explanation { matched: Ok(false), field, pointer: Some(pointer), sentence })
}

fn failure(filter: &Filter, document: &Document<'_>, pointer: String) -> Failure {
    match filter {
        Filter::Compare(comparison, entries) => {
            match entries.iter().find(|entry| !entry.holds(*comparison, document)) {
                Some(entry) => entry_failure(entry, *comparison, document, &pointer),
                None => Failure { pointer, field: None, sentence: String::new() },
            }
        }
        Filter::All(filters) => match filters.iter().enumerate().find(|(_, filter)| !filter.matches(document)) {
            Some((index, filter)) => failure(filter, document, format!("{pointer}/all/{index}")),
            None => Failure { pointer, field: None, sentence: String::new() },
        },
        Filter::Any(filters) => {
            let reason = |(index, filter)| failure(filter, document, format!("{pointer}/any/{index}")).sentence;
            let reasons: Vec<String> = filters.iter().enumerate().take(SHOWN).map(reason).collect();
            let more = match filters.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            let sentence = format!("no filter of `any` holds: {}{more}", reasons.join("; "));
            Failure { pointer: format!("{pointer}/any"), field: None, sentence }
        }
        Filter::Not(inner) => {
            let sentence = format!("the filter in `not` holds: {}", holds(inner, document));
            Failure { pointer: format!("{pointer}/not"), field: None, sentence }
        }
        Filter::Sql(expression) => {
            Failure { pointer: format!("{pointer}/sql"), field: None, sentence: expression.explain(document) }
        }
    }
}

fn entry_failure(entry: &Entry, comparison: Comparison, document: &Document<'_>, pointer: &str) -> Failure {
    let Entry { name, wanted } = entry;
    let key = comparison.key();
    let found = Attribute::of(document, name);
    let is = match &found {
        Some(found) => shown(found),
        None if is_payload(name) => "the payload, which filters never see".to_owned(),
        None => "absent".to_owned(),
    };
    let hint = found.as_ref().and_then(|found| hint(comparison, found.text(), wanted)).unwrap_or_default();
    let sentence = format!("`{name}` is {is}; the filter wants {key} {}{hint}", quoted(wanted));
    let field = FailedField {
        path: name.to_string(),
        pointer: format!("{pointer}/{key}/{name}"),
        found: found.as_ref().map(shown).into_iter().collect(),
        closest: format!("{{\"{key}\":{}}}", quoted(wanted)),
        place: None,
        hint: None,
    };
    Failure { pointer: field.pointer.clone(), field: Some(field), sentence }
}

/// What people most often overlook.
fn hint(comparison: Comparison, found: &str, wanted: &str) -> Option<&'static str> {
    let (found, wanted) = (found.to_lowercase(), wanted.to_lowercase());
    if comparison.accepts(&found, &wanted) {
        Some(" (case matters)")
    } else if comparison.accepts(found.trim(), wanted.trim()) {
        Some(" (white space counts)")
    } else {
        None
    }
}

/// Why a filter holds.
fn holds(filter: &Filter, document: &Document<'_>) -> String {
    match filter {
        Filter::Compare(comparison, entries) => {
            let verb = match comparison {
                Comparison::Exact => "is",
                Comparison::Prefix => "begins with",
                Comparison::Suffix => "ends with",
            };
            let told = entries.iter().map(|Entry { name, wanted }| format!("`{name}` {verb} {}", quoted(wanted)));
            told.collect::<Vec<_>>().join(" and ")
        }
        Filter::All(filters) => filters.iter().map(|filter| holds(filter, document)).collect::<Vec<_>>().join(" and "),
        Filter::Any(filters) => {
            let first = filters.iter().find(|filter| filter.matches(document));
            first.map(|filter| holds(filter, document)).unwrap_or_default()
        }
        Filter::Not(inner) => failure(inner, document, String::new()).sentence,
        Filter::Sql(expression) => expression.explain(document),
    }
}

/// A value as JSON, as much as a sentence bears.
fn shown(value: &Attribute<'_>) -> String {
    match value {
        Attribute::Text(text) => quoted(text),
        Attribute::Number(_) | Attribute::Bool(_) => shortened(value.text()).into_owned(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_json_string(&shortened(text), &mut out);
    out
}
