//! `tidegate explain`: what each rule makes of an event, and why: the answer of the very code that delivers. With
//! `--send` each request is sent once, outside all limits of the group.

use super::events;
use super::outcomes::reason;
use super::tools::{Kafka, Tool, Use};
use super::{Exit, Failure, Global, Output, output, setup};
use crate::destinations::exchange::{self, Exchange};
use crate::json::document::Document;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::{CloudEvent, Form};
use crate::model::fault::Fault;
use crate::model::name::Name;
use crate::model::outcome::{Class, Report};
use crate::model::record::{Position, Record};
use crate::model::request::Request;
use crate::model::stored::{PARTS, StoredHeaders, Topics, VALUE_BYTES, delivery_id};
use crate::model::text::ShowText;
use crate::pipeline::decode;
use crate::pipeline::deliver::{Dispatcher, Job};
use crate::pipeline::explain::{self, Explained, ExplainedRequest};
use crate::pipeline::settle::{EventTrace, Mark};
use crate::pipeline::snapshot::{CompiledTarget, Snapshot};
use crate::pipeline::transform::Meta;
use clap::{ArgGroup, Args};
use serde::Serialize;
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Options of `explain`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["file", "at"])))]
pub struct Options {
    /// One CloudEvent in JSON; - is standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The event at this place in Kafka; a dead letter counts as the event it was.
    #[arg(long, value_name = "TOPIC:PARTITION:OFFSET")]
    at: Option<Position>,
    /// This rule only.
    #[arg(long)]
    rule: Option<String>,
    /// Send each request once, now, and show the answer.
    #[arg(long)]
    send: bool,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    explained: Explained,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// What the destination said.
#[derive(Debug, Serialize)]
struct Answer {
    class: &'static str,
    code: &'static str,
    status: Option<u16>,
    message: String,
    excerpt: String,
    took_ms: u128,
}

/// Explains.
///
/// # Errors
/// Exit 1 if no rule matches, or with `--send` if a request was not taken.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let purpose = if options.send { Use::Send } else { Use::Look };
    let (snapshot, event, source) = match (&options.at, &options.file) {
        (Some(position), _) => {
            let kafka = tool.kafka()?;
            let snapshot = tool.snapshot(global, Some(&kafka), purpose)?;
            let (event, source) = fetch(&kafka, &tool.topics(), &snapshot, position).await?;
            (snapshot, event, source)
        }
        (None, file) => {
            let event = from_file(file.as_ref())?;
            (tool.snapshot(global, None, purpose)?, event, None)
        }
    };
    if let Some(rule) = options.rule.as_deref().filter(|rule| !known(&snapshot, rule)) {
        let rules: Vec<_> = snapshot.rules().iter().map(|r| r.rule.name.as_str()).collect();
        let message = format!("no rule `{rule}` in the resources; there are: {}", rules.join(", "));
        return Err(Failure::new(Exit::Usage, "EXPLAIN_RULE", message));
    }
    let event = Rc::new(event);
    let explained = explain::explain(&snapshot, &event, source.as_ref(), options.rule.as_deref());
    let mut rows = Vec::new();
    for explained in explained {
        let answer = if options.send { send(&snapshot, &event, &explained).await } else { None };
        rows.push(Row { explained, answer });
    }
    show(global, &event, &rows)?;
    if matches!(global.output, Output::Table | Output::Wide) {
        setup::tell(&rows.iter().filter_map(|row| fault(&snapshot, &event, &row.explained)).collect::<Vec<_>>());
    }
    let taken = |row: &Row| row.answer.as_ref().is_some_and(|answer| answer.class == Class::Success.as_str());
    let mut matched = rows.iter().filter(|row| row.explained.matched).peekable();
    let yes = matched.peek().is_some() && (!options.send || matched.all(taken));
    if yes { Ok(()) } else { Err(Failure::silent(Exit::No)) }
}

/// Why a request cannot be built, with the place in the rule.
fn fault(snapshot: &Snapshot, event: &CloudEvent, explained: &Explained) -> Option<Fault> {
    explained.code?;
    let target = snapshot.target(explained.rule.as_str(), explained.target.as_ref()?.as_str())?;
    explain::fault(target, event)
}

fn known(snapshot: &Snapshot, rule: &str) -> bool {
    snapshot.rules().iter().any(|known| known.rule.name.as_str() == rule)
}

fn from_file(file: Option<&PathBuf>) -> Result<CloudEvent, Failure> {
    let inputs = events::read(file.map_or(std::path::Path::new("-"), PathBuf::as_path))?;
    match inputs.as_slice() {
        [input] => events::decode(input, "explain").map_err(|fault| events::refused(&[*fault])),
        several => {
            let message = format!("this holds {} events; explain takes one", several.len());
            let cure = "e.g. head -1 FILE | tidegate explain -";
            let place = several.get(1).map(|input| input.place.clone()).unwrap_or_default();
            Err(events::refused(&[Fault::error("INPUT_SEVERAL", "", message).cure(cure).at(place)]))
        }
    }
}

/// The event at a place, read as the source reads it that listens there, and that source.
async fn fetch(
    kafka: &Kafka,
    names: &Topics,
    snapshot: &Snapshot,
    position: &Position,
) -> Result<(CloudEvent, Option<Name>), Failure> {
    let record = record_at(kafka, position).await?;
    let trace = record.value().filter(|_| position.topic == names.trace()).map(EventTrace::read);
    if position.topic == names.state() {
        let message = format!("{position} is a report of Tidegate about itself, no event");
        return Err(Failure::new(Exit::No, "EXPLAIN_NO_EVENT", message));
    }
    if Mark::is_one(&record) {
        let message = format!("{position} is a mark in the ledger of dead letters, no event");
        return Err(Failure::new(Exit::No, "EXPLAIN_NO_EVENT", message));
    }
    let record = match (trace, StoredHeaders::read(&record)) {
        // A trace tells of an event that stands elsewhere; so does a dead letter whose event was too large for it.
        (Some(Ok(trace)), _) => match trace.origin.parse() {
            Ok(origin) => record_at(kafka, &origin).await?,
            Err(_) => record,
        },
        (_, Ok(headers)) if record.value().is_none() && by_reference(&record) => {
            record_at(kafka, &headers.origin).await?
        }
        // What was stored is read as the record it was made of.
        (_, Ok(headers)) => record.moved(headers.origin, headers.origin_timestamp_ms),
        (Some(Err(_)) | None, Err(_)) => record,
    };
    let topic = Arc::clone(&record.position.topic);
    let sources = &snapshot.resources.sources;
    let source = sources.iter().find(|source| source.topics.iter().any(|t| *t == *topic)).map(|s| s.name.clone());
    let options = source.as_ref().and_then(|name| snapshot.source(name)).map(|rules| rules.decode_options());
    match decode::decode(record, &options.unwrap_or_default()) {
        Ok(event) => Ok((event, source)),
        Err((_, error)) => Err(Failure::new(
            Exit::No,
            error.code(),
            format!("{position}: {error}\n it goes to the dead-letter topic; no rule sees it"),
        )),
    }
}

async fn record_at(kafka: &Kafka, position: &Position) -> Result<Record, Failure> {
    match kafka.record_at(position).await? {
        Some(record) => Ok(record),
        None => {
            let absence = kafka.absence(position).await?;
            Err(Failure::new(Exit::No, "EXPLAIN_NO_RECORD", absence))
        }
    }
}

/// Whether a stored record only names the event that it was made of.
fn by_reference(record: &Record) -> bool {
    record.headers().any(|(name, _)| name == VALUE_BYTES)
}

fn show(global: &Global, event: &CloudEvent, rows: &[Row]) -> Result<(), Failure> {
    if matches!(global.output, Output::Json | Output::Jsonl) {
        return Ok(output::print_rows(global.output, rows, &[], |_| Vec::new())?);
    }
    if event.form() == Form::Wrapped {
        output::complain(&format!(
            "{} is no CloudEvent by its headers, so it was wrapped: its value is `data`; `content-type: \
             application/cloudevents+json` or `ce_` headers make it one",
            event.record.position
        ));
    }
    if rows.is_empty() {
        output::complain(&format!("no rule listens to {}", event.record.position.topic));
        return Ok(());
    }
    let cells = |row: &Row| {
        let explained = &row.explained;
        let matched = if explained.matched { "yes" } else { "no" };
        let why = match explained.code {
            Some(code) => format!("{code}: {}", explained.reason),
            None => match &explained.place {
                Some(place) => format!("{}  {place}", explained.reason),
                None => explained.reason.clone(),
            },
        };
        vec![who(explained), matched.to_owned(), why]
    };
    output::print_rows(global.output, rows, &["RULE/TARGET", "MATCH", "WHY"], cells)?;
    for row in rows {
        if let Some(request) = &row.explained.request {
            output::print_line("")?;
            output::print_line(&format!("{}: {} {}", who(&row.explained), request.method, request.url))?;
            if let Some(order) = &row.explained.order {
                output::print_line(&format!("  sent {order}"))?;
            }
            show_request(request)?;
        }
        if let Some(answer) = &row.answer {
            output::print_line(&answer_line(answer))?;
        }
    }
    Ok(())
}

fn who(explained: &Explained) -> String {
    match &explained.target {
        Some(target) => format!("{}/{target}", explained.rule),
        None => explained.rule.to_string(),
    }
}

/// The headers and body of a request, set in.
pub(super) fn show_request(request: &ExplainedRequest) -> Result<(), Failure> {
    for (name, value) in &request.headers {
        output::print_line(&format!("  {name}: {value}"))?;
    }
    if !request.body.is_empty() {
        output::print_line("")?;
    }
    for line in request.body.lines() {
        output::print_line(&format!("  {line}"))?;
    }
    Ok(())
}

fn answer_line(answer: &Answer) -> String {
    let mut line = match answer.status {
        Some(status) => format!("  → {status}"),
        None => format!("  → {}", answer.code),
    };
    line.push_str(&format!(" in {} ms", answer.took_ms));
    if answer.class != Class::Success.as_str() {
        line.push_str(&format!(", {} ({}): {}", answer.code, answer.class, answer.message));
    }
    if !answer.excerpt.is_empty() {
        line.push_str(&format!("  {}", reason(&answer.excerpt)));
    }
    line
}

/// Sends one request once; `None` if there is none.
async fn send(snapshot: &Snapshot, event: &Rc<CloudEvent>, explained: &Explained) -> Option<Answer> {
    explained.request.as_ref()?;
    let target = snapshot.target(explained.rule.as_str(), explained.target.as_ref()?.as_str())?;
    // Alone, so all of the limit is ours.
    target.destination.set_share(PARTS, Monotonic::now());
    let delivery_id = delivery_id(event.source(), event.id(), target.rule.as_str(), target.name.as_str());
    let ended = Rc::new(Cell::new(None));
    let job = Once { target: Arc::clone(target), event: Rc::clone(event), delivery_id, ended: Rc::clone(&ended) };
    let (post, asked) = mpsc::unbounded_channel();
    target.destination.connection().fetch_by(&post);
    let dispatcher = Dispatcher::new(Arc::clone(&target.destination));
    dispatcher.submit(job);
    dispatcher.close();
    let local = LocalSet::new();
    let without_token = local.run_until(async {
        tokio::select! {
            () = dispatcher.run() => None,
            error = no_token(asked) => Some(error),
        }
    });
    if let Some(error) = without_token.await {
        let report = unsent(error.code(), Class::Incident, error.to_string());
        return Some(Answer::of(report));
    }
    let report: Report = ended.take()?;
    Some(Answer::of(report))
}

/// Fetches the tokens that are asked for; ends with the first that cannot be had.
async fn no_token(mut asked: mpsc::UnboundedReceiver<Arc<Exchange>>) -> exchange::Error {
    while let Some(exchange) = asked.recv().await {
        if let Err(error) = exchange.refresh().await {
            return error;
        }
    }
    std::future::pending().await
}

impl Answer {
    fn of(report: Report) -> Self {
        Self {
            class: report.class.as_str(),
            code: report.code,
            status: report.status,
            message: report.message,
            excerpt: report.excerpt,
            took_ms: report.took.as_millis(),
        }
    }
}

/// The report of a request that was not sent.
fn unsent(code: &'static str, class: Class, message: String) -> Report {
    Report {
        class,
        code,
        status: None,
        message,
        excerpt: String::new(),
        retry_after: None,
        wait: None,
        sent: None,
        took: Duration::ZERO,
    }
}

/// A delivery that belongs to no lane: one attempt, whose report is put down.
struct Once {
    target: Arc<CompiledTarget>,
    event: Rc<CloudEvent>,
    delivery_id: String,
    ended: Rc<Cell<Option<Report>>>,
}

impl Job for Once {
    fn render(&self, show: &dyn ShowText, request: &mut Request) -> Result<(), Report> {
        let meta = Meta {
            rule: self.target.rule.as_str(),
            target: self.target.name.as_str(),
            attempt: 1,
            delivery_id: &self.delivery_id,
            received_at: WallMs::now(),
        };
        let rendered = self.target.template.render(&self.event, &Document::of(&self.event), &meta, show, request);
        rendered.map_err(|error| unsent(error.code(), Class::Reject, error.to_string()))
    }

    fn abandoned(&self) -> bool {
        false
    }

    fn may_send(&self, _now: Monotonic) -> bool {
        true
    }

    fn idempotency_key(&self) -> &str {
        &self.delivery_id
    }

    fn finished(self, report: Report) {
        self.ended.set(Some(report));
    }

    /// Nothing is reloaded here.
    fn returned(self) {}
}
