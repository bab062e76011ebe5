//! What would happen to an event, and why: the answer of `explain`, from the very snapshot that the lanes use.
//!
//! Nothing is sent and no secret is shown.

use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::fault::{Fault, Place};
use crate::model::name::Name;
use crate::model::request::Request;
use crate::model::stored::delivery_id;
use crate::model::text::Masked;
use crate::pattern::FailedField;
use crate::pipeline::sequences::Order;
use crate::pipeline::snapshot::{CompiledRule, CompiledTarget, Snapshot};
use crate::pipeline::transform::{self, Meta};
use serde::Serialize as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one rule, and one target of it, make of an event.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explained {
    /// The rule.
    pub rule: Name,
    /// The target; absent if the rule does not match.
    pub target: Option<Name>,
    /// Whether the rule matches.
    #[serde(rename = "match")]
    pub matched: bool,
    /// Why, in one sentence; or why the request cannot be built.
    pub reason: String,
    /// The field that failed, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<FailedField>,
    /// Where what failed stands in the resource files.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub place: Option<Place>,
    /// Code of the error that would dead-letter the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What its delivery waits for, if the target keeps an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// What would be sent, secrets masked.
    pub request: Option<ExplainedRequest>,
}

/// A request as people see it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ExplainedRequest {
    /// Method.
    pub method: String,
    /// Whole url.
    pub url: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// Explains an event to every rule that listens to `source`, or to all rules if no source is named; `only` narrows it to
/// one rule.
#[must_use]
pub fn explain(snapshot: &Snapshot, event: &CloudEvent, source: Option<&Name>, only: Option<&str>) -> Vec<Explained> {
    let document = Document::of(event);
    let mut out = Vec::new();
    for rule in snapshot.rules() {
        let listens = source.is_none_or(|s| rule.rule.from.as_ref().is_none_or(|from| from == s));
        if listens && only.is_none_or(|only| only == rule.rule.name.as_str()) {
            explain_rule(rule, event, &document, &mut out);
        }
    }
    out
}

fn explain_rule(rule: &Arc<CompiledRule>, event: &CloudEvent, document: &Document<'_>, out: &mut Vec<Explained>) {
    let name = rule.rule.name.clone();
    let verdict = rule.explain(document);
    let unmatched = |reason: String, code| Explained {
        rule: name.clone(),
        target: None,
        matched: false,
        reason,
        field: None,
        place: None,
        code,
        order: None,
        request: None,
    };
    if !rule.rule.enabled {
        out.push(unmatched("the rule is disabled (`enabled: false`)".to_owned(), None));
        return;
    }
    match verdict.matched {
        Ok(true) => {}
        Ok(false) => {
            let place = verdict.pointer.as_ref().map(|pointer| place(rule, pointer));
            return out.push(Explained { field: verdict.field, place, ..unmatched(verdict.sentence, None) });
        }
        Err(limit) => return out.push(unmatched(limit.to_string(), Some(limit.code()))),
    }
    for target in &rule.targets {
        let (request, reason, code) = match request(target, event) {
            Ok(request) => (Some(request), verdict.sentence.clone(), None),
            Err((code, message)) => (None, message, Some(code)),
        };
        out.push(Explained {
            rule: name.clone(),
            target: Some(target.name.clone()),
            matched: true,
            reason,
            field: None,
            place: None,
            code,
            order: order(target, event, document),
            request,
        });
    }
}

/// What a delivery in order waits for.
fn order(target: &CompiledTarget, event: &CloudEvent, document: &Document<'_>) -> Option<String> {
    let order = target.order.as_ref()?;
    Some(match (order, order.key(event, document)) {
        (Order::Partition, _) => "after the events before it in its partition".to_owned(),
        (Order::Key | Order::Path(_), Some(key)) => {
            format!("after the events of its partition with the key `{}`", String::from_utf8_lossy(&key))
        }
        (Order::Key | Order::Path(_), None) => "in no order, for it has no key".to_owned(),
    })
}

/// Where in the resource files a pointer of an explanation leads.
fn place(rule: &CompiledRule, pointer: &str) -> Place {
    match (pointer.strip_prefix("/filters"), &rule.rule.filters) {
        (Some(pointer), Some(filters)) => filters.place_of(pointer).clone(),
        (Some(_), None) | (None, _) => rule.rule.pattern.place_of(pointer).clone(),
    }
}

fn shown<S: serde::Serializer>(place: &Option<Place>, serializer: S) -> Result<S::Ok, S::Error> {
    place.as_ref().map(Place::to_string).serialize(serializer)
}

/// What keeps a request from being built, with the place in the rule and the cure; `None` if it can be built.
#[must_use]
pub fn fault(target: &CompiledTarget, event: &CloudEvent) -> Option<Fault> {
    let error = render(target, event).err()?;
    let message = format!("{}/{}: {error}", target.rule, target.name);
    let fault = Fault::error(error.code(), "", message);
    let fault = match error.place() {
        Some(place) => fault.at(place.clone()),
        None => fault,
    };
    let transform::Error::Missing { path, .. } = &error else { return Some(fault) };
    Some(fault.cure(format!("default: ${{{path} ?? \"…\"}}")))
}

/// The request that a target would send for an event now, as people see it.
///
/// # Errors
/// Code and message of what keeps it from being built.
pub fn request(target: &CompiledTarget, event: &CloudEvent) -> Result<ExplainedRequest, (&'static str, String)> {
    let request = render(target, event).map_err(|error| (error.code(), error.to_string()))?;
    let destination = &target.destination;
    let resource = destination.resource();
    let id = id_of(target, event);
    let (mut headers, path_and_query) = destination.auth().shown(&request, &id);
    headers.insert("idempotency-key".to_owned(), id);
    Ok(ExplainedRequest {
        method: resource.method.clone(),
        url: destination.redact(&format!("{}{path_and_query}", resource.base.origin())),
        headers,
        body: String::from_utf8_lossy(&request.body).into_owned(),
    })
}

fn render(target: &CompiledTarget, event: &CloudEvent) -> Result<Request, transform::Error> {
    let meta = Meta {
        rule: target.rule.as_str(),
        target: target.name.as_str(),
        attempt: 1,
        delivery_id: &id_of(target, event),
        received_at: WallMs::now(),
    };
    let mut request = Request::default();
    target.template.render(event, &Document::of(event), &meta, &Masked, &mut request).map(|()| request)
}

fn id_of(target: &CompiledTarget, event: &CloudEvent) -> String {
    delivery_id(event.source(), event.id(), target.rule.as_str(), target.name.as_str())
}
