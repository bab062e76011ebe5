//! Whether a pattern, filters, or both match a document (event-patterns.md).

use super::Options;
use super::answer::Answer;
use super::cache::Cache;
use super::line::{Line, Wrong, shallow};
use crate::json::document::Document;
use crate::json::value::Json;
use crate::model::fault::Fault;
use crate::model::resources::Dialect;
use crate::pattern::filters::{self, Filters};
use crate::pattern::{self, EvaluationLimit, Pattern};
use std::borrow::Cow;

/// What a line wants to hold.
#[derive(Debug)]
pub(super) struct Compiled(Result<Conditions, Vec<Fault>>);

#[derive(Debug)]
struct Conditions {
    pattern: Option<Pattern>,
    filters: Option<Filters>,
}

impl Conditions {
    fn matches(&self, document: &Document<'_>) -> Result<bool, EvaluationLimit> {
        if self.filters.as_ref().is_some_and(|filters| !filters.matches(document)) {
            return Ok(false);
        }
        self.pattern.as_ref().map_or(Ok(true), |pattern| pattern.matches(document))
    }
}

pub(super) fn answer(
    line: &Line<'_>,
    options: &Options,
    cache: &mut Cache<Compiled>,
    mut answer: Answer<'_>,
) -> Result<(), Wrong> {
    let pattern = line.pattern()?;
    let filters = line.filters.map(|filters| shallow("filters", filters)).transpose()?;
    let reading = pattern::Options {
        dialect: line.dialect()?,
        alias_aws: line.alias_aws()?,
        limits: options.context.pattern_limits,
    };
    let compiled = cache
        .get(key(pattern.as_deref(), filters, &reading), || Compiled(compile(pattern.as_deref(), filters, &reading)));
    let event = line.event()?;
    match (&compiled.0, event) {
        (Err(faults), _) => {
            answer.text("verdict", "invalid");
            answer.errors(faults.iter());
        }
        (Ok(_), None) => answer.text("verdict", "valid"),
        (Ok(conditions), Some(event)) => {
            let json = Json::check(event.as_bytes()).map_err(|error| Wrong::Text("event", error))?;
            let document = Document::from_object(json);
            let document = document.ok_or(Wrong::Member("event", "an object: the document that is matched"))?;
            match conditions.matches(&document) {
                Ok(true) => answer.text("verdict", "match"),
                Ok(false) => answer.text("verdict", "no_match"),
                Err(limit) => {
                    answer.text("error", limit.code());
                    answer.text("message", &limit.to_string());
                }
            }
        }
    }
    answer.end();
    Ok(())
}

fn key(pattern: Option<&str>, filters: Option<Json<'_>>, reading: &pattern::Options) -> String {
    let dialect = match reading.dialect {
        Dialect::Tidegate => 't',
        Dialect::Aws => 'a',
    };
    let alias = if reading.alias_aws { 'a' } else { '-' };
    let pattern = pattern.map_or(Cow::Borrowed(""), |text| Cow::Owned(format!("p{}:{text}", text.len())));
    format!("{dialect}{alias}{pattern}{}", filters.map_or("", Json::text))
}

fn compile(
    pattern: Option<&str>,
    filters: Option<Json<'_>>,
    reading: &pattern::Options,
) -> Result<Conditions, Vec<Fault>> {
    let mut faults = Vec::new();
    // Where a line has both, the pointer of a fault says which.
    let both = pattern.is_some() && filters.is_some();
    let mut tell = |found: Vec<Fault>, member: &str| {
        faults.extend(found.into_iter().map(|fault| match both {
            true => Fault { pointer: format!("/{member}{}", fault.pointer), ..fault },
            false => fault,
        }));
    };
    let pattern = pattern.and_then(|text| match pattern::compile(text, reading) {
        Ok(compiled) => Some(compiled.pattern),
        Err(found) => {
            tell(found, "pattern");
            None
        }
    });
    let filters = filters.and_then(|list| match filters::compile_within(list.text(), &reading.limits) {
        Ok(compiled) => Some(compiled),
        Err(found) => {
            tell(found, "filters");
            None
        }
    });
    if faults.is_empty() { Ok(Conditions { pattern, filters }) } else { Err(faults) }
}
