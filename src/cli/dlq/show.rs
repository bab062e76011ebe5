//! `tidegate dlq show`: one dead letter, and whether today's rule would do better.

use super::again::{self, Unsendable};
use super::book::State;
use super::desk::{Desk, Letter};
use super::export::Content;
use super::list::Row;
use crate::cli::outcomes::reason;
use crate::cli::since::age;
use crate::cli::{Failure, Global, Output, output};
use crate::model::clock::WallMs;
use crate::pipeline::explain::ExplainedRequest;
use clap::Args;
use serde::Serialize;

/// Options of `dlq show`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// PARTITION:OFFSET in the usual topic, or TOPIC:PARTITION:OFFSET.
    #[arg(value_name = "ID")]
    id: String,
}

/// What today's rule makes of a dead letter.
#[derive(Debug, Serialize)]
struct Today {
    /// What would be sent.
    request: Option<ExplainedRequest>,
    /// Why nothing can be sent.
    error: Option<Unsendable>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[serde(flatten)]
    content: Content,
    now: &'a Today,
}

/// Shows.
pub(super) fn run(global: &Global, desk: &Desk, options: &Options) -> Result<(), Failure> {
    let letter = desk.letter(&options.id)?;
    let today = match again::check(desk, &letter) {
        Ok(ready) => Today { request: Some(ready.request), error: None },
        Err(error) => Today { request: None, error: Some(error) },
    };
    if matches!(global.output, Output::Json | Output::Jsonl) {
        let content = Content::of(&letter.record);
        return Ok(output::print_json(&Shown { row: Row::of(desk, &letter, WallMs::now()), content, now: &today })?);
    }
    for (name, line) in [
        ("event", event_line(&letter)),
        ("request", request_line(&letter, WallMs::now())),
        ("answer", letter.headers.response.as_deref().map(reason).unwrap_or_default()),
        ("now", now_line(&desk.id(&letter.position), &letter, &today)),
    ] {
        if !line.is_empty() {
            output::print_line(&format!("{name:<7}  {line}"))?;
        }
    }
    Ok(())
}

fn event_line(letter: &Letter) -> String {
    let origin = &letter.headers.origin;
    let place = format!("{} {}:{}", origin.topic, origin.partition, origin.offset);
    let event = match &letter.event {
        Some(event) => format!("{} {}", event.id, event.kind),
        None => "not decoded".to_owned(),
    };
    match &letter.headers.delivery {
        Some(address) => format!(
            "{event}  {place}   rule {}, target {}, attempts {}",
            address.rule, address.target, letter.headers.attempts
        ),
        None => format!("{event}  {place}"),
    }
}

fn request_line(letter: &Letter, now: WallMs) -> String {
    let headers = &letter.headers;
    let message = headers.message.as_deref().unwrap_or_default();
    if headers.delivery.is_none() {
        return format!("none: {message}");
    }
    if headers.attempts == 0 {
        return format!("not built: {message}");
    }
    let last =
        headers.last_attempt_ms.map_or_else(String::new, |at| format!(", last {} ago", age(now.since(WallMs(at)))));
    let times = if headers.attempts == 1 { "once".to_owned() } else { format!("{} times", headers.attempts) };
    let exhausted = headers.exhausted.as_ref().map_or_else(String::new, |by| format!("; given up by {by}"));
    format!("sent {times}{last}: {message}{exhausted}")
}

fn now_line(id: &str, letter: &Letter, today: &Today) -> String {
    match letter.state {
        State::Redriven => return "sent on its way again; if it died again, it is a new dead letter".to_owned(),
        State::Delivered => return "its delivery arrived since; nothing is left to do".to_owned(),
        State::Discarded => {
            let mark = letter.mark.as_ref();
            let why = mark.and_then(|mark| mark.reason.as_ref()).map_or_else(String::new, |why| format!(": {why}"));
            let by = mark.map_or_else(String::new, |mark| format!(" on {} at {}", mark.by, mark.at.rfc3339()));
            return format!("discarded{by}{why}. To send it nevertheless: tidegate dlq redrive {id} --force --yes");
        }
        State::Waiting => {}
    }
    let old = letter.headers.message.as_deref().unwrap_or_default();
    match (&today.request, &today.error) {
        (Some(request), _) => format!(
            "today's rule renders {} {}. Next: tidegate dlq redrive --target {} --dry-run",
            request.method,
            request.url,
            letter.target()
        ),
        (None, Some(error)) if error.code.starts_with("REDRIVE_") => format!("cannot be sent again: {}", error.message),
        (None, Some(error)) if error.code == "TARGET_GONE" => format!("{}; bring it back to send this", error.message),
        (None, error) => {
            let new = error.as_ref().map(|error| error.message.as_str()).filter(|message| *message != old);
            let new = new.map_or_else(String::new, |message| format!(": {message}"));
            format!("today's rule still fails{new}. Next: tidegate explain --at {}", letter.headers.origin)
        }
    }
}
