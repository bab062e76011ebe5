//! From the JSON text of a list of filters to conditions. Every fault is reported.

use super::{Comparison, Entry, Filter, Filters};
use crate::json::value::{Json, Kind};
use crate::model::fault::Fault;
use crate::model::nearest::nearest;
use crate::pattern::Limits;
use crate::pattern::attribute;
use crate::pattern::cesql::{self, Problem};
use crate::pattern::compile::{child, describe};

/// The dialects of filters.
const DIALECTS: [&str; 7] = ["exact", "prefix", "suffix", "all", "any", "not", "sql"];

/// What people write for one of them, in lower case.
const OTHER_NAMES: [(&str, &str); 16] = [
    ("equals", "exact"),
    ("exactly", "exact"),
    ("eq", "exact"),
    ("equal", "exact"),
    ("startswith", "prefix"),
    ("beginswith", "prefix"),
    ("endswith", "suffix"),
    ("and", "all"),
    ("allof", "all"),
    ("or", "any"),
    ("anyof", "any"),
    ("none", "not"),
    ("noneof", "not"),
    ("anything-but", "not"),
    ("cesql", "sql"),
    ("expression", "sql"),
];

pub(super) fn compile(text: &str, limits: &Limits) -> Result<Filters, Vec<Fault>> {
    let mut compiler = Compiler { depth: limits.depth, faults: Vec::new(), warnings: Vec::new() };
    let limit = limits.text_bytes;
    if text.len() > limit {
        let message = format!("the filters have {} bytes; {limit} are allowed", text.len());
        compiler.fault("", message, "split them over several rules");
        return Err(compiler.faults);
    }
    // However deep they are nested, the filter that is too deep gets its own pointer.
    let filters = match Json::check_within(text.as_bytes(), limit) {
        Ok(json) if json.kind() == Kind::Array => compiler.list(json, "", 1),
        Ok(json) => {
            let message = format!("`filters` is a list, not {}", describe(json));
            compiler.fault("", message, "write [{\"exact\": {\"type\": \"…\"}}]");
            Vec::new()
        }
        Err(e) => {
            compiler.fault("", format!("the filters are not valid JSON: {e}"), "");
            Vec::new()
        }
    };
    if !compiler.faults.is_empty() {
        return Err(compiler.faults);
    }
    Ok(Filters { filters, warnings: compiler.warnings })
}

struct Compiler {
    /// Filters in each other at most.
    depth: usize,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Compiler {
    fn fault(&mut self, pointer: &str, message: impl Into<String>, cure: impl Into<String>) {
        self.faults.push(Fault::error("PATTERN_FILTER", pointer, message).cure(cure));
    }

    fn list(&mut self, list: Json<'_>, pointer: &str, depth: usize) -> Vec<Filter> {
        let items = list.elements().into_iter().flatten().enumerate();
        items.filter_map(|(i, item)| self.filter(item, &format!("{pointer}/{i}"), depth)).collect()
    }

    fn filter(&mut self, filter: Json<'_>, pointer: &str, depth: usize) -> Option<Filter> {
        if depth > self.depth {
            let message = format!("more than {} filters in each other", self.depth);
            self.fault(pointer, message, "join nested `all` and `any`");
            return None;
        }
        let members: Vec<_> = filter.members().into_iter().flatten().collect();
        let (key, operand) = match members.as_slice() {
            [(key, operand)] => (key.decode(), *operand),
            [] => {
                let found = if filter.kind() == Kind::Object { "an empty object".to_owned() } else { describe(filter) };
                let message = format!("a filter is an object with one key of {}, not {found}", list(&DIALECTS));
                self.fault(pointer, message, "write {\"exact\": {\"type\": \"…\"}}");
                return None;
            }
            several => {
                let keys: Vec<_> = several.iter().map(|(key, _)| key.decode()).collect();
                let message = format!("a filter has one key, this has {}: {}", keys.len(), list(&keys));
                self.fault(pointer, message, "make each a filter of its own: all in the list must hold");
                return None;
            }
        };
        let at = child(pointer, &key);
        match &*key {
            "exact" => self.compare(Comparison::Exact, operand, &at),
            "prefix" => self.compare(Comparison::Prefix, operand, &at),
            "suffix" => self.compare(Comparison::Suffix, operand, &at),
            "all" => self.several(operand, &at, depth).map(Filter::All),
            "any" => self.several(operand, &at, depth).map(Filter::Any),
            "not" => {
                let inner = match operand.elements() {
                    Some(_) => {
                        let cure = "write one filter, or {\"not\": {\"any\": […]}}";
                        self.fault(&at, "`not` takes one filter, not a list", cure);
                        return None;
                    }
                    None => self.filter(operand, &at, depth + 1),
                };
                inner.map(|filter| Filter::Not(Box::new(filter)))
            }
            "sql" => self.sql(operand, &at),
            unknown => {
                let cure = meant(unknown).map(|meant| format!("did you mean `{meant}`?")).unwrap_or_default();
                let message = format!("`{unknown}` is no filter; allowed are {}", list(&DIALECTS));
                self.faults.push(Fault::error("PATTERN_OPERATOR", at, message).cure(cure));
                None
            }
        }
    }

    /// The filters of `all` and `any`.
    fn several(&mut self, operand: Json<'_>, pointer: &str, depth: usize) -> Option<Vec<Filter>> {
        let count = operand.elements().map(Iterator::count);
        let message = match count {
            Some(0) => "an empty list says nothing".to_owned(),
            Some(_) => return Some(self.list(operand, pointer, depth + 1)),
            None => format!("takes a list of filters, not {}", describe(operand)),
        };
        self.fault(pointer, message, "write [{\"exact\": {\"type\": \"…\"}}, …]");
        None
    }

    fn sql(&mut self, operand: Json<'_>, pointer: &str) -> Option<Filter> {
        let Some(text) = operand.as_str() else {
            let message = format!("`sql` takes an expression as text, not {}", describe(operand));
            self.fault(pointer, message, "write {\"sql\": \"subject LIKE 'in/%'\"}");
            return None;
        };
        let told = |problem: Problem| {
            let before = text.get(..problem.offset).unwrap_or_default().chars().count();
            let message = format!("{} (character {} of the expression)", problem.message, before + 1);
            Fault::error("PATTERN_SQL", pointer, message).cure(problem.cure)
        };
        match cesql::compile(&text) {
            Ok((expression, doubts)) => {
                self.warnings.extend(doubts.into_iter().map(|doubt| Fault { warning: true, ..told(doubt) }));
                Some(Filter::Sql(Box::new(expression)))
            }
            Err(problems) => {
                self.faults.extend(problems.into_iter().map(told));
                None
            }
        }
    }

    fn compare(&mut self, comparison: Comparison, operand: Json<'_>, pointer: &str) -> Option<Filter> {
        let key = comparison.key();
        let example = format!("write {{\"{key}\": {{\"type\": \"…\"}}}}");
        let Some(members) = operand.members() else {
            let message = format!("`{key}` takes a map of attributes to strings, not {}", describe(operand));
            self.fault(pointer, message, example);
            return None;
        };
        let mut entries: Vec<Entry> = Vec::new();
        for (name, wanted) in members {
            let name = name.decode();
            let at = child(pointer, &name);
            if let Some((message, cure)) = attribute::doubt(&name) {
                self.warnings.push(Fault::warning("PATTERN_NAME", at.as_str(), message).cure(cure));
            }
            if entries.iter().any(|other| *other.name == *name) {
                self.fault(&at, format!("the attribute `{name}` stands here more than once"), "keep one of them");
            }
            let text = wanted.as_str().unwrap_or_default();
            if text.is_empty() {
                let cure = match wanted.kind() {
                    Kind::Number | Kind::Bool => format!("write \"{}\": it is compared by its text", wanted.text()),
                    Kind::String | Kind::Null => {
                        format!("for any value write {{\"sql\": \"EXISTS {name}\"}}, or leave the entry out")
                    }
                    Kind::Array => "for alternatives, write {\"any\": […]}".to_owned(),
                    Kind::Object => "write a string".to_owned(),
                };
                self.fault(&at, format!("an attribute is compared with text, not {}", describe(wanted)), cure);
            }
            entries.push(Entry { name: name.into(), wanted: text.into() });
        }
        if entries.is_empty() {
            self.fault(pointer, format!("an empty `{key}` says nothing"), example);
            return None;
        }
        Some(Filter::Compare(comparison, entries))
    }
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The dialect that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    let wanted = name.to_ascii_lowercase();
    let known = OTHER_NAMES.iter().find(|(other, _)| *other == wanted.replace('_', "")).map(|(_, dialect)| *dialect);
    let near = || nearest(&wanted, DIALECTS.into_iter());
    known.or_else(near)
}
