//! What an answer means by lists of `responses` and the status table (transforms.md rule 51).

use super::Options;
use super::answer::Answer;
use super::cache::Cache;
use super::line::{Line, Wrong, shallow, string};
use super::transforms::{named, with, with_node};
use crate::config::{Alone, read_alone};
use crate::destinations::has_path_parameters;
use crate::destinations::responses::{self, End, Responses};
use crate::json::node::node_from_json;
use crate::json::value::{Json, Kind};
use crate::model::fault::Fault;
use crate::model::node::Node;
use crate::model::resources::Response;
use crate::pipeline::deliver::{By, judge};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The entries of both lists.
#[derive(Debug)]
pub(super) struct Compiled(Result<Responses, Vec<Fault>>);

pub(super) fn answer(
    line: &Line<'_>,
    (lists, end): (Json<'_>, Json<'_>),
    options: &Options,
    cache: &mut Cache<Compiled>,
    mut answer: Answer<'_>,
) -> Result<(), Wrong> {
    let lists = shallow("responses", lists)?;
    let end = shallow("answer", end)?;
    let endpoint = line.endpoint.map(|endpoint| string("endpoint", endpoint)).transpose()?;
    let fixed_endpoint = !endpoint.is_some_and(|endpoint| has_path_parameters(&endpoint));
    if lists.kind() != Kind::Object {
        return Err(Wrong::Member("responses", "an object: {\"destination\":[…],\"connection\":[…]}"));
    }
    let compiled = cache.get(lists.text().to_owned(), || Compiled(compile(lists, options)));
    let now = line.now()?.unwrap_or(options.now);
    match &compiled.0 {
        Err(faults) => {
            answer.text("error", "LOAD");
            answer.errors(faults.iter());
        }
        Ok(responses) => {
            let (headers, body) = (headers(end)?, end.get("body").map(|body| string("answer.body", body)).transpose()?);
            let item = end.get("item");
            let read = read_end(end, &headers, body.as_deref().unwrap_or_default())?;
            let verdict = judge(responses, &read, item, fixed_endpoint, now);
            match verdict.by {
                By::GaveUp(limit) => {
                    answer.text("error", limit.code());
                    answer.text("message", &limit.to_string());
                }
                By::Status | By::Entry(_) | By::Unrecognised => {
                    answer.text("outcome", verdict.outcome.as_str());
                    if let Some(wait) = verdict.wait {
                        answer.seconds("wait_s", wait);
                    }
                }
            }
        }
    }
    answer.end();
    Ok(())
}

fn compile(lists: Json<'_>, options: &Options) -> Result<Responses, Vec<Fault>> {
    // A list without entries is how a line says that there is none.
    let list = |own: &str| lists.get(own).filter(|list| list.text() != "[]").map(node_from_json);
    let entries = |node: Node, own: &str| match list(own) {
        Some(list) => with_node(node, "responses", list),
        None => node,
    };
    let connection = with(named("connection", None), "url", "https://connection.invalid");
    let destination = with(named("destination", None), "connection", "connection");
    let alone = Alone {
        connection: entries(connection, "connection"),
        destination: entries(destination, "destination"),
        rule: None,
    };
    let read = read_alone(alone, &options.context);
    let mut faults: Vec<Fault> = read.faults.into_iter().filter(|fault| !fault.warning).collect();
    for fault in &mut faults {
        for own in ["connection", "destination"] {
            if let Some(rest) = fault.pointer.strip_prefix(&format!("/{own}/responses")) {
                fault.pointer = format!("/responses/{own}{rest}");
                break;
            }
        }
    }
    let mut entries = |written: &[Response]| responses::compile(written, options.context.pattern_limits, &mut faults);
    let theirs =
        read.resources.connections.first().map(|connection| entries(&connection.responses)).unwrap_or_default();
    let own =
        read.resources.destinations.first().map(|destination| entries(&destination.responses)).unwrap_or_default();
    if faults.is_empty() { Ok(Responses::new(&own, &theirs)) } else { Err(faults) }
}

fn read_end<'e>(end: Json<'_>, headers: &'e HeaderMap, body: &'e str) -> Result<End<'e>, Wrong> {
    match (end.get("status"), end.get("error").map(Json::text)) {
        (Some(status), None) => {
            let status = status.text().parse().ok().filter(|status| (100..=999).contains(status));
            let status = status.ok_or(Wrong::Member("answer.status", "a status of HTTP, e.g. 200"))?;
            Ok(End::Answer(responses::Answer { status, headers, body: body.as_bytes(), whole: true }))
        }
        (None, Some("\"not_sent\"")) => Ok(End::NotSent),
        (None, Some("\"no_answer\"")) => Ok(End::NoAnswer),
        (None, Some(_)) => Err(Wrong::Member("answer.error", "\"not_sent\" or \"no_answer\"")),
        (Some(_), Some(_)) | (None, None) => {
            Err(Wrong::Member("answer", "an object with `status`, or with only `error`: \"not_sent\" or \"no_answer\""))
        }
    }
}

/// Names to a text or a list of texts.
fn headers(end: Json<'_>) -> Result<HeaderMap, Wrong> {
    const WRONG: Wrong = Wrong::Member("answer.headers", "a map from names to a text or a list of texts");
    let mut headers = HeaderMap::new();
    let Some(written) = end.get("headers") else { return Ok(headers) };
    for (name, value) in written.members().ok_or(WRONG)? {
        let name = HeaderName::from_bytes(name.decode().as_bytes()).map_err(|_| WRONG)?;
        let values = match value.elements() {
            Some(values) => values.collect(),
            None => vec![value],
        };
        for value in values {
            let value = value.as_str().ok_or(WRONG)?;
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).map_err(|_| WRONG)?);
        }
    }
    Ok(headers)
}
