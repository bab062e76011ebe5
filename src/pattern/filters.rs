//! `CloudEvents` Subscriptions filters beside a pattern (event-patterns.md rule 34), without `sql`.

use super::compile::{child, describe};
use crate::json::document::{Document, Value};
use crate::json::value::{Json, Kind};
use crate::model::fault::Fault;
use std::borrow::Cow;

/// The dialects of filters that are understood.
const DIALECTS: &str = "`exact`, `prefix`, `suffix`, `all`, `any`, `not`";

/// Filters in each other at most.
const DEPTH: usize = 32;

/// A list of filters, all of which must hold.
#[derive(Debug)]
pub struct Filters {
    filters: Vec<Filter>,
}

#[derive(Debug)]
enum Filter {
    /// Attribute and text; all entries must hold.
    Compare(Comparison, Vec<(String, String)>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Exact,
    Prefix,
    Suffix,
}

/// Compiles the JSON text of a list of filters.
///
/// # Errors
/// All faults, with pointers into the list and the code `PATTERN_FILTER`.
pub fn compile(json_text: &str) -> Result<Filters, Vec<Fault>> {
    let mut compiler = Compiler { faults: Vec::new() };
    let filters = match Json::check(json_text.as_bytes()) {
        Ok(json) if json.kind() == Kind::Array => compiler.list(json, "", 1),
        Ok(json) => {
            compiler.fault(
                "",
                format!("`filters` is a list, not {}", describe(json)),
                "write [{\"exact\": {\"type\": \"…\"}}]",
            );
            Vec::new()
        }
        Err(e) => {
            compiler.fault("", format!("the filters are not valid JSON: {e}"), "");
            Vec::new()
        }
    };
    if compiler.faults.is_empty() { Ok(Filters { filters }) } else { Err(compiler.faults) }
}

impl Filters {
    /// Whether an event passes all filters.
    #[must_use]
    pub fn matches(&self, document: &Document<'_>) -> bool {
        self.filters.iter().all(|filter| filter.matches(document))
    }
}

impl Filter {
    fn matches(&self, document: &Document<'_>) -> bool {
        match self {
            Self::Compare(comparison, entries) => entries.iter().all(|(name, wanted)| {
                attribute(document, name).is_some_and(|text| match comparison {
                    Comparison::Exact => text == *wanted,
                    Comparison::Prefix => text.starts_with(wanted.as_str()),
                    Comparison::Suffix => text.ends_with(wanted.as_str()),
                })
            }),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(document)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(document)),
            Self::Not(filter) => !filter.matches(document),
        }
    }
}

/// An attribute by its text; the payload is none.
fn attribute<'d>(document: &'d Document<'_>, name: &str) -> Option<Cow<'d, str>> {
    if matches!(name, "data" | "data_base64") {
        return None;
    }
    match document.get(name)? {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Base64(_) => None,
        Value::Json(json) => match json.kind() {
            Kind::String => json.as_str(),
            Kind::Number | Kind::Bool => Some(Cow::Borrowed(json.text())),
            Kind::Null | Kind::Array | Kind::Object => None,
        },
    }
}

struct Compiler {
    faults: Vec<Fault>,
}

impl Compiler {
    fn fault(&mut self, pointer: &str, message: impl Into<String>, cure: &str) {
        self.faults.push(Fault::error("PATTERN_FILTER", pointer, message).cure(cure));
    }

    fn list(&mut self, list: Json<'_>, pointer: &str, depth: usize) -> Vec<Filter> {
        let items = list.elements().into_iter().flatten().enumerate();
        items.filter_map(|(i, item)| self.filter(item, &format!("{pointer}/{i}"), depth)).collect()
    }

    fn filter(&mut self, filter: Json<'_>, pointer: &str, depth: usize) -> Option<Filter> {
        if depth > DEPTH {
            self.fault(pointer, format!("more than {DEPTH} filters in each other"), "join nested `all` and `any`");
            return None;
        }
        let mut members = filter.members().into_iter().flatten();
        let (Some((key, operand)), None) = (members.next(), members.next()) else {
            let message = format!("a filter is an object with one key; allowed are {DIALECTS}");
            self.fault(pointer, message, "write {\"exact\": {\"type\": \"…\"}}");
            return None;
        };
        let key = key.decode();
        let at = child(pointer, &key);
        match &*key {
            "exact" => self.compare(Comparison::Exact, operand, &at),
            "prefix" => self.compare(Comparison::Prefix, operand, &at),
            "suffix" => self.compare(Comparison::Suffix, operand, &at),
            "all" | "any" => {
                if operand.elements().is_none_or(|mut items| items.next().is_none()) {
                    self.fault(&at, format!("`{key}` takes a list of filters, not empty"), "name a filter");
                    return None;
                }
                let filters = self.list(operand, &at, depth + 1);
                Some(if key == "all" { Filter::All(filters) } else { Filter::Any(filters) })
            }
            "not" => Some(Filter::Not(Box::new(self.filter(operand, &at, depth + 1)?))),
            _ => {
                let cure = if key == "sql" { "write the condition as an event pattern" } else { "" };
                self.fault(&at, format!("`{key}` is no filter; allowed are {DIALECTS}"), cure);
                None
            }
        }
    }

    fn compare(&mut self, comparison: Comparison, operand: Json<'_>, pointer: &str) -> Option<Filter> {
        let mut entries: Vec<(String, String)> = Vec::new();
        for (name, wanted) in operand.members().into_iter().flatten() {
            let name = name.decode().into_owned();
            let at = child(pointer, &name);
            if entries.iter().any(|(other, _)| *other == name) {
                self.fault(&at, format!("the attribute `{name}` stands here more than once"), "keep one of them");
            }
            match wanted.as_str() {
                Some(text) if !text.is_empty() => entries.push((name, text.into_owned())),
                Some(_) | None => {
                    self.fault(
                        &at,
                        format!("an attribute is compared with text, not {}", describe(wanted)),
                        "write a string",
                    );
                    entries.push((name, String::new()));
                }
            }
        }
        if entries.is_empty() {
            self.fault(pointer, "takes a map of attributes to strings, not empty", "write {\"type\": \"…\"}");
            return None;
        }
        Some(Filter::Compare(comparison, entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filters: &str, event: &str) -> bool {
        let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
        compile(filters).unwrap().matches(&document)
    }

    #[test]
    fn verdicts() {
        let event = r#"{"type":"order.paid","source":"/shop","n":3,"ok":true,"gone":null,"data":"x"}"#;
        for yes in [
            r#"[]"#,
            r#"[{"exact":{"type":"order.paid","source":"/shop"}}]"#,
            r#"[{"prefix":{"type":"order."}},{"suffix":{"type":".paid"}}]"#,
            r#"[{"exact":{"n":"3","ok":"true"}}]"#,
            r#"[{"any":[{"exact":{"type":"x"}},{"prefix":{"source":"/"}}]}]"#,
            r#"[{"not":{"exact":{"subject":"x"}}}]"#,
            r#"[{"not":{"all":[{"exact":{"type":"order.paid"}},{"exact":{"source":"/web"}}]}}]"#,
        ] {
            assert!(passes(yes, event), "{yes}");
        }
        for no in [
            r#"[{"exact":{"type":"Order.paid"}}]"#,
            r#"[{"exact":{"type":"order.paid","source":"x"}}]"#,
            r#"[{"prefix":{"subject":"a"}}]"#,
            r#"[{"exact":{"gone":"null"}}]"#,
            r#"[{"exact":{"data":"x"}}]"#,
            r#"[{"exact":{"type":"order.paid"}},{"exact":{"type":"x"}}]"#,
        ] {
            assert!(!passes(no, event), "{no}");
        }
    }

    #[test]
    fn refusals() {
        let cases: [(&str, &[&str]); 9] = [
            ("{}", &[""]),
            ("[", &[""]),
            (r#"[{}, {"exact":{"a":"b"},"not":{}}]"#, &["/0", "/1"]),
            (r#"[{"exact":{"type":"","n":3}}]"#, &["/0/exact/type", "/0/exact/n"]),
            (r#"[{"exact":{}}]"#, &["/0/exact"]),
            (r#"[{"any":[]}, {"all":{}}]"#, &["/0/any", "/1/all"]),
            (r#"[{"not":{"regex":1}}]"#, &["/0/not/regex"]),
            (r#"[{"sql":"true"}]"#, &["/0/sql"]),
            (r#"[{"exact":{"a":"b","a":"c"}}]"#, &["/0/exact/a"]),
        ];
        for (text, pointers) in cases {
            let faults = compile(text).unwrap_err();
            assert_eq!(faults.iter().map(|f| f.pointer.as_str()).collect::<Vec<_>>(), pointers, "{text}");
        }
    }
}
