//! Responses: what a destination's answers mean, as people wrote it, compiled (transforms.md rule 51). Pure.
//!
//! Enters: the `responses` of a destination and of its connection; later the end of an attempt. Leaves: the first entry
//! that fits. What is done where none fits is the status table's business, in the step `deliver`. Nothing of an answer
//! is read that no entry asks for.

use crate::json::document::{Document, Member, Members, Value};
use crate::json::value::Json;
use crate::model::fault::{Fault, Place};
use crate::model::node::{Kind, Node, write_json_string};
use crate::model::resources::{PatternLimits, Response, ResponseOutcome};
use crate::model::text::Text;
use crate::pattern::{self, EvaluationLimit, Pattern};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// An entry of `responses`.
#[derive(Debug)]
pub struct Entry {
    when: Pattern,
    /// What it says.
    pub outcome: ResponseOutcome,
    /// How long `retry` and `throttled` wait.
    pub wait: Option<Duration>,
    /// Where it stands.
    pub place: Place,
}

/// The entries of a destination, then those of its connection.
#[derive(Debug, Default)]
pub struct Responses {
    entries: Vec<Arc<Entry>>,
    reads_headers: bool,
    reads_body: bool,
    names_success: bool,
}

/// The end of an attempt, as entries see it.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// An answer.
    Answer(Answer<'a>),
    /// Not a byte of the request left.
    NotSent,
    /// Sending began, and no whole answer came: they may or may not have taken it.
    NoAnswer,
}

/// An answer, its content coding undone.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body, as far as it was read; need not be filled in if [`Responses::reads_body`] says no.
    pub body: &'a [u8],
    /// That is all of it. The beginning of a body is text, never JSON.
    pub whole: bool,
}

/// Compiles a list; each fault gets the place of the part it is about, and its entry is left out. What is merely doubtful
/// was said when the resources were checked.
pub fn compile(list: &[Response], limits: PatternLimits, faults: &mut Vec<Fault>) -> Vec<Arc<Entry>> {
    let options = pattern::Options { limits, ..pattern::Options::default() };
    list.iter().filter_map(|response| entry(response, &options, faults)).map(Arc::new).collect()
}

fn entry(response: &Response, options: &pattern::Options, faults: &mut Vec<Fault>) -> Option<Entry> {
    let Response { when, outcome, wait, place } = response;
    let at = |fault: Fault| pattern::placed(fault, when, "/when");
    if let Some(secret) = secret_in(when) {
        let fault = Fault::error("CONFIG_VALUE", "/when", "`when` cannot hold a secret").at(secret.clone());
        faults.push(fault.cure("write the text itself; what an answer is compared with is shown in messages"));
        return None;
    }
    match pattern::compile(&when.to_json(), options) {
        Ok(compiled) => Some(Entry { when: compiled.pattern, outcome: *outcome, wait: *wait, place: place.clone() }),
        Err(found) => {
            faults.extend(found.into_iter().map(at));
            None
        }
    }
}

fn secret_in(node: &Node) -> Option<&Place> {
    match &node.kind {
        Kind::String(Text::Secret(_)) => Some(&node.place),
        Kind::List(items) => items.iter().find_map(secret_in),
        Kind::Map(entries) => entries.iter().find_map(|(_, value)| secret_in(value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(Text::Plain(_)) => None,
    }
}

impl Entry {
    fn reads(&self, member: &str) -> bool {
        self.when
            .fields()
            .any(|field| field.strip_prefix(member).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

impl Responses {
    /// The entries of a destination come before those of its connection.
    #[must_use]
    pub fn new(destination: &[Arc<Entry>], connection: &[Arc<Entry>]) -> Self {
        let entries: Vec<Arc<Entry>> = destination.iter().chain(connection).cloned().collect();
        Self {
            reads_headers: entries.iter().any(|entry| entry.reads("headers")),
            reads_body: entries.iter().any(|entry| entry.reads("body")),
            names_success: entries.iter().any(|entry| entry.outcome == ResponseOutcome::Success),
            entries,
        }
    }

    /// No entry: the status table decides everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Some entry looks at the body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.reads_body
    }

    /// Some entry says `success`: a 2xx that fits no entry is none.
    #[must_use]
    pub fn names_success(&self) -> bool {
        self.names_success
    }

    /// The first entry that fits; `item` is the part of a batch's answer that is judged.
    ///
    /// # Errors
    /// An entry before the first that fits needs too long a search: nothing is known.
    pub fn first(&self, end: &End<'_>, item: Option<Json<'_>>) -> Result<Option<&Arc<Entry>>, EvaluationLimit> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.look(end, item, |document| {
            for entry in &self.entries {
                if entry.when.matches(document)? {
                    return Ok(Some(entry));
                }
            }
            Ok(None)
        })
    }

    /// Why an answer is not what the first entry for success describes, in one sentence for people.
    #[must_use]
    pub fn why_no_success(&self, end: &End<'_>) -> Option<String> {
        let entry = self.entries.iter().find(|entry| entry.outcome == ResponseOutcome::Success)?;
        let sentence = self.look(end, None, |document| entry.when.explain(document).sentence);
        Some(format!("{sentence} ({})", entry.place))
    }

    /// Shows the end of an attempt as the document that `when` is matched against.
    fn look<T>(&self, end: &End<'_>, item: Option<Json<'_>>, look: impl FnOnce(&Document<'_>) -> T) -> T {
        let (status, headers, body);
        let mut members = Members::new();
        let mut put = |name: &'static str, value| members.push(Member { name: Cow::Borrowed(name), value });
        match end {
            End::Answer(answer) => {
                status = answer.status.to_string();
                put("status", Value::Json(Json::trusted(&status)));
                if self.reads_headers {
                    headers = headers_json(answer.headers);
                    put("headers", Value::Json(Json::trusted(&headers)));
                }
                if self.reads_body {
                    match json_body(answer) {
                        Some(json) => put("body", Value::Json(json)),
                        None => {
                            body = String::from_utf8_lossy(answer.body);
                            put("body", Value::Text(&body));
                        }
                    }
                }
            }
            End::NotSent => put("error", Value::Text("not_sent")),
            End::NoAnswer => put("error", Value::Text("no_answer")),
        }
        if let Some(item) = item {
            put("item", Value::Json(item));
        }
        look(&Document::from(members))
    }
}

/// The body, if it is said to be JSON and is.
fn json_body<'a>(answer: &Answer<'a>) -> Option<Json<'a>> {
    if !answer.whole || !answer.headers.get(CONTENT_TYPE).is_some_and(says_json) {
        return None;
    }
    Json::check(answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(answer.body)).ok()
}

/// `application/json`, or any type with the suffix `+json`; parameters do not matter.
fn says_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let Some(slash) = essence.iter().position(|byte| *byte == b'/') else { return false };
    let subtype = essence.get(slash + 1..).unwrap_or_default();
    let suffix = subtype.iter().rposition(|byte| *byte == b'+').and_then(|at| subtype.get(at + 1..));
    suffix.unwrap_or(subtype).eq_ignore_ascii_case(b"json")
}

/// The headers as a JSON object: a text, or a list of texts where the header came more than once.
fn headers_json(headers: &HeaderMap) -> String {
    let mut out = String::from("{");
    for name in headers.keys() {
        if out.len() > 1 {
            out.push(',');
        }
        write_json_string(name.as_str(), &mut out);
        out.push(':');
        let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        match (values.next(), values.next()) {
            (first, None) => write_json_string(&first.unwrap_or_default(), &mut out),
            (first, second) => {
                out.push('[');
                for (i, value) in first.into_iter().chain(second).chain(values).enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(&value, &mut out);
                }
                out.push(']');
            }
        }
    }
    out.push('}');
    out
}

#[cfg(test)]
pub(crate) mod tests;
