//! The requests that would be sent, as `dlq redrive --dry-run` and `replay --dry-run` show them.

use super::explain::show_request;
use super::{Failure, Global, Output, output};
use crate::pipeline::explain::ExplainedRequest;
use serde::Serialize;

/// What would be sent for one record.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    id: String,
    target: String,
    /// What would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<ExplainedRequest>,
    /// Why nothing can be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: String,
    message: String,
}

impl Request {
    /// For the record `id` and the target `rule/target`.
    pub(super) fn new<C: Into<String>>(
        id: String,
        target: String,
        made: Result<ExplainedRequest, (C, String)>,
    ) -> Self {
        match made {
            Ok(request) => Self { id, target, request: Some(request), error: None },
            Err((code, message)) => {
                Self { id, target, request: None, error: Some(Refusal { code: code.into(), message }) }
            }
        }
    }
}

/// Shows it where one by one was asked for: with `-o wide` and `-o jsonl`.
pub(super) fn show(global: &Global, request: &Request) -> Result<(), Failure> {
    match global.output {
        Output::Table | Output::Json => Ok(()),
        Output::Wide => print(request),
        Output::Jsonl => Ok(output::print_json(request)?),
    }
}

fn print(would: &Request) -> Result<(), Failure> {
    let Request { id, target, .. } = would;
    if let Some(request) = &would.request {
        output::print_line(&format!("{id}  {target}: {} {}", request.method, request.url))?;
        show_request(request)?;
    }
    if let Some(error) = &would.error {
        output::print_line(&format!("{id}  {target}: {}  {}", error.code, error.message))?;
    }
    Ok(output::print_line("")?)
}
