//! `tidegate dlq show`: one dead letter, and whether today's rule would do better.

use super::desk::{Desk, Letter, State};
use super::export::Content;
use super::list::Row;
use crate::cli::outcomes::reason;
use crate::cli::since::age;
use crate::cli::{Exit, Failure, Global, Output, output};
use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::pattern::EvaluationLimit;
use crate::pipeline::explain::{self, ExplainedRequest};
use crate::pipeline::settle;
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
pub(super) struct Today {
    /// What would be sent.
    pub(super) request: Option<ExplainedRequest>,
    /// Why nothing can be sent.
    pub(super) error: Option<Unsendable>,
}

/// Why a dead letter cannot be sent again.
#[derive(Debug, Serialize)]
pub(super) struct Unsendable {
    /// Stable code.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
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
pub(super) async fn run(global: &Global, desk: &Desk, options: &Options) -> Result<(), Failure> {
    let position = desk.position(&options.id).map_err(|message| Failure::new(Exit::Usage, "USAGE", message))?;
    let Some(letter) = desk.letter_at(&position).await? else {
        let message =
            format!("there is no dead letter at {position} (any more); `tidegate dlq -o wide` lists their ids");
        return Err(Failure::new(Exit::No, "DLQ_NO_LETTER", message));
    };
    let today = today(desk, &letter);
    if matches!(global.output, Output::Json | Output::Jsonl) {
        let content = letter.record.as_ref().map(Content::of).unwrap_or_default();
        return Ok(output::print_json(&Shown { row: Row::of(desk, &letter, WallMs::now()), content, now: &today })?);
    }
    for (name, line) in [
        ("event", event_line(&letter)),
        ("request", request_line(&letter, WallMs::now())),
        ("answer", letter.headers.response.as_deref().map(reason).unwrap_or_default()),
        ("now", now_line(&letter, &today)),
    ] {
        if !line.is_empty() {
            output::print_line(&format!("{name:<7}  {line}"))?;
        }
    }
    Ok(())
}

/// What today's rule makes of it.
pub(super) fn today(desk: &Desk, letter: &Letter) -> Today {
    match render(desk, letter) {
        Ok(request) => Today { request: Some(request), error: None },
        Err((code, message)) => Today { request: None, error: Some(Unsendable { code, message }) },
    }
}

fn render(desk: &Desk, letter: &Letter) -> Result<ExplainedRequest, (String, String)> {
    let refused = |code: &str, message: String| (code.to_owned(), message);
    let Some(record) = &letter.record else { return Err(refused("DLQ_NO_LETTER", "it was not read".to_owned())) };
    if let Err(error) = settle::redrive_record(&desk.names, record, WallMs::now()) {
        return Err(refused(error.code(), error.to_string()));
    }
    let Some(address) = &letter.headers.delivery else { return Err(refused("REDRIVE_UNDECODED", String::new())) };
    let target = desk.snapshot.as_ref().and_then(|snapshot| snapshot.target(&address.rule, &address.target));
    let Some(target) = target else {
        let message = format!("rule {} has no target {} any more", address.rule, address.target);
        return Err(refused("TARGET_GONE", message));
    };
    let Some(event) = desk.event(record, &letter.headers) else {
        return Err(refused("DECODE", "it can no longer be read as an event; has the source changed?".to_owned()));
    };
    // Whoever writes it on its way again skips the pattern, which never said yes.
    if letter.headers.code.as_deref() == Some(EvaluationLimit::CODE) {
        let rule = desk.snapshot.as_ref().and_then(|snapshot| snapshot.rule(&target.rule));
        let verdict = rule.map(|rule| rule.explain(&Document::of(&event)));
        match verdict.map(|verdict| (verdict.matched, verdict.sentence)) {
            Some((Ok(true), _)) => {}
            Some((Err(limit), _)) => return Err(refused(limit.code(), limit.to_string())),
            Some((Ok(false), why)) => {
                return Err(refused("NOT_WANTED", format!("today's rule does not want it: {why}")));
            }
            None => return Err(refused("TARGET_GONE", format!("there is no rule {} any more", target.rule))),
        }
    }
    explain::request(target, &event).map_err(|(code, message)| refused(code, message))
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

fn now_line(letter: &Letter, today: &Today) -> String {
    match letter.state {
        State::Redriven => return "sent on its way again; if it died again, it is a new dead letter".to_owned(),
        State::Delivered => return "its delivery arrived since; nothing is left to do".to_owned(),
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
