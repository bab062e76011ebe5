//! `tidegate publish`: writes events to a topic, all checked before the first is sent, and waits on request until it is
//! known what became of them.

mod id;
mod room;
mod wait;

use super::events::{self, Input};
use super::tools::{Kafka, Tool, Use};
use super::{Exit, Failure, Global, Output, output};
use crate::json::value::Json;
use crate::kafka::Producer;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::fault::{Fault, Place};
use crate::model::record::{OutRecord, Position};
use crate::model::units::{self, Rate};
use bytes::Bytes;
use clap::{ArgGroup, Args};
use futures_util::future::try_join_all;
use id::Ids;
use room::Room;
use serde::Serialize;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wait::Waiting;

/// `source` of the events that are made here.
const SOURCE: &str = "/tidegate/publish";

/// Records on their way at once, and their bytes.
const IN_FLIGHT: usize = 500;
const IN_FLIGHT_BYTES: usize = 1 << 20;

/// Options of `publish`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["file", "kind"])),
    group(ArgGroup::new("where").required(true).args(["to", "topic"]))
)]
pub struct Options {
    /// Events: one CloudEvent in JSON a line, one document, or one array; - is standard input.
    #[arg(value_name = "FILE", conflicts_with_all = ["kind", "id", "data"])]
    file: Option<PathBuf>,
    /// The source that reads them; they go to its first topic.
    #[arg(long, value_name = "SOURCE")]
    to: Option<String>,
    /// The topic they go to.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Make an event of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Its id; a fresh one by default.
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// Its data.
    #[arg(long, value_name = "JSON", requires = "kind")]
    data: Option<String>,
    /// Kafka key of the records.
    #[arg(long)]
    key: Option<String>,
    /// Publish everything so many times, each time with other ids.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Publish no faster, e.g. 50/s.
    #[arg(long, value_parser = units::rate)]
    rate: Option<Rate>,
    /// Wait until every delivery has ended and print what became of it; exit code 1 if one is dead.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so long without news.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration, requires = "wait")]
    timeout: Duration,
}

/// An event that Kafka has.
#[derive(Debug, Serialize)]
struct Published {
    id: String,
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

/// Publishes.
///
/// # Errors
/// An event is none; Kafka is out of reach or has no such topic; with `--wait`, a delivery is dead or unknown.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let mut ids = Ids::new(fastrand::Rng::new());
    let inputs = match &options.file {
        Some(file) => events::read(file)?,
        None => vec![make(options, &mut ids)?],
    };
    check(&inputs)?;
    let kafka = tool.kafka()?;
    let topic = topic(global, options, &tool, &kafka)?;
    exists(&kafka, &topic).await?;
    let room = if kafka.embedded { Room::open(&kafka, &groups(global, &tool, &kafka, &topic), &topic)? } else { None };
    let waiting = if options.wait { Some(Waiting::begin(global, &kafka, &tool.topics())?) } else { None };
    let mut sending = Sending {
        producer: Producer::connect(&kafka.client)?,
        topic,
        key: options.key.as_ref().map(|key| Bytes::copy_from_slice(key.as_bytes())),
        room,
        waiting,
        published: Vec::new(),
        count: 0,
        keep: global.output != Output::Table,
    };
    let sent = sending.all(options, &inputs, &mut ids).await;
    let Sending { waiting, topic, published, count, .. } = sending;
    if let Err(failure) = sent {
        output::complain(&format!("{count} published to {topic} before it failed"));
        return Err(failure);
    }
    match waiting {
        Some(waiting) => waiting.finish(options.timeout).await,
        None => report(global, &topic, count, &published),
    }
}

/// What was published: each event for programs, one line for people.
fn report(global: &Global, topic: &str, count: u64, published: &[Published]) -> Result<(), Failure> {
    if global.output == Output::Table {
        return if global.quiet { Ok(()) } else { Ok(output::print_line(&format!("published {count} to {topic}"))?) };
    }
    let cells = |p: &Published| vec![p.id.clone(), p.topic.to_string(), p.partition.to_string(), p.offset.to_string()];
    Ok(output::print_rows(global.output, published, &["ID", "TOPIC", "PARTITION", "OFFSET"], cells)?)
}

/// The event that the flags describe.
fn make(options: &Options, ids: &mut Ids) -> Result<Input, Failure> {
    let now = WallMs::now();
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let id = options.id.clone().unwrap_or_else(|| ids.next(now));
    let mut event = format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":{},\"type\":{},\"time\":{}",
        text(&id),
        text(SOURCE),
        text(options.kind.as_deref().unwrap_or_default()),
        text(&now.rfc3339())
    );
    if let Some(data) = &options.data {
        let json = Json::check(data.as_bytes()).map_err(|error| {
            let cure = "in a shell put it between single quotes: --data '{\"id\":\"A1\"}', a text: --data '\"text\"'";
            events::refused(&[Fault::error("INPUT_JSON", "", format!("--data is not JSON: {error}")).cure(cure)])
        })?;
        event.push_str(",\"datacontenttype\":\"application/json\",\"data\":");
        event.push_str(json.text());
    }
    event.push('}');
    Ok(Input { place: Place { file: Arc::from("(command line)"), line: 0, column: 0 }, text: event })
}

/// Refuses everything if one of them is no event.
fn check(inputs: &[Input]) -> Result<(), Failure> {
    let found: Vec<Fault> =
        inputs.iter().filter_map(|i| events::decode(i, "publish").err()).map(|fault| *fault).collect();
    if found.is_empty() { Ok(()) } else { Err(events::refused(&found)) }
}

fn topic(global: &Global, options: &Options, tool: &Tool, kafka: &Kafka) -> Result<Arc<str>, Failure> {
    let Some(name) = &options.to else {
        return Ok(Arc::from(options.topic.as_deref().unwrap_or_default()));
    };
    let sources = tool.resources(global, Some(kafka), Use::Look)?.sources;
    let found = sources.iter().find(|source| source.name.as_str() == name);
    found.and_then(|source| source.topics.first()).map(|topic| Arc::from(topic.as_str())).ok_or_else(|| {
        let known: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("there are: {}", known.join(", ")) };
        Failure::new(Exit::Usage, "PUBLISH_SOURCE", format!("no source `{name}` in the resources; {known}"))
    })
}

/// Some brokers make a topic that is written to, with settings that nobody chose.
async fn exists(kafka: &Kafka, topic: &str) -> Result<(), Failure> {
    if kafka.partitions(&[topic.to_owned()]).await?.iter().any(Option::is_some) {
        return Ok(());
    }
    let message = format!("topic `{topic}` does not exist; create it first, or name another with --topic");
    Err(Failure::new(Exit::Configuration, "KAFKA_TOPIC", message))
}

/// The groups that read a topic.
fn groups(global: &Global, tool: &Tool, kafka: &Kafka, topic: &str) -> Vec<String> {
    // Without usable resources nobody is known to read it; those faults are told by whoever runs them.
    let Ok(resources) = tool.resources(global, Some(kafka), Use::Look) else { return Vec::new() };
    let reads = resources.sources.iter().filter(|source| source.topics.iter().any(|t| t == topic));
    let group = &tool.settings.kafka.group;
    reads.map(|source| source.group.clone().unwrap_or_else(|| format!("{group}.{}", source.name))).collect()
}

/// Publishing in progress.
struct Sending {
    producer: Producer,
    topic: Arc<str>,
    key: Option<Bytes>,
    room: Option<Room>,
    waiting: Option<Waiting>,
    published: Vec<Published>,
    count: u64,
    /// Whether what was published is printed one by one.
    keep: bool,
}

impl Sending {
    /// Everything, as often as asked, at the rate asked.
    async fn all(&mut self, options: &Options, inputs: &[Input], ids: &mut Ids) -> Result<(), Failure> {
        let begin = Monotonic::now();
        let interval = options.rate.map(|rate| rate.per / rate.requests);
        let mut due = begin;
        let mut batch: Vec<(String, Bytes)> = Vec::new();
        let mut bytes = 0;
        for round in 0..options.count {
            for input in inputs {
                if let Some(interval) = interval {
                    if due > Monotonic::now() {
                        self.send(std::mem::take(&mut batch)).await?;
                        bytes = 0;
                        tokio::time::sleep_until(due.instant().into()).await;
                    }
                    due = due.plus(interval);
                }
                let (id, text) = numbered(options, input, round, ids);
                bytes += text.len();
                batch.push((id, Bytes::from(text.into_owned())));
                if batch.len() >= IN_FLIGHT || bytes >= IN_FLIGHT_BYTES {
                    self.send(std::mem::take(&mut batch)).await?;
                    bytes = 0;
                }
            }
        }
        self.send(batch).await
    }

    /// A batch, until Kafka has all of it.
    async fn send(&mut self, batch: Vec<(String, Bytes)>) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let writes = batch.into_iter().map(|(id, text)| {
            let producer = self.producer.clone();
            let size = text.len();
            let record = OutRecord { key: self.key.clone(), ..structured_record(&self.topic, text) };
            async move { producer.send(record).await.map(|position| (id, size, position)) }
        });
        let written = try_join_all(writes).await?;
        for (id, size, position) in written {
            self.note(id, size, position)?;
        }
        if let Some(room) = &mut self.room {
            room.wait().await?;
        }
        Ok(())
    }

    fn note(&mut self, id: String, size: usize, position: Position) -> Result<(), Failure> {
        self.count += 1;
        if let Some(room) = &mut self.room {
            room.note(&position, size);
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.published(&id, &position)?;
        } else if self.keep {
            let Position { topic, partition, offset } = position;
            self.published.push(Published { id, topic, partition, offset });
        }
        Ok(())
    }
}

/// The id and text of an event in a round of `--count`: the first round sends what was written, the others other ids.
fn numbered<'i>(options: &Options, input: &'i Input, round: u64, ids: &mut Ids) -> (String, Cow<'i, str>) {
    let json = Json::trusted(&input.text);
    let written = json.get("id").and_then(Json::as_str).unwrap_or_default();
    if round == 0 {
        return (written.into_owned(), Cow::Borrowed(&input.text));
    }
    let made = options.file.is_none() && options.id.is_none();
    let id = if made { ids.next(WallMs::now()) } else { format!("{written}-{}", round + 1) };
    let text = with_id(json, &id);
    (id, Cow::Owned(text))
}

/// The same object with another id, all else as written.
fn with_id(json: Json<'_>, id: &str) -> String {
    let mut out = String::with_capacity(json.text().len() + 32);
    for (key, value) in json.members().into_iter().flatten() {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push('"');
        out.push_str(key.raw());
        out.push_str("\":");
        if key.is("id") {
            out.push_str(&serde_json::Value::from(id).to_string());
        } else {
            out.push_str(value.text());
        }
    }
    out.push('}');
    out
}

/// A record that carries a structured event.
pub(super) fn structured(topic: &str, event: &[u8]) -> OutRecord {
    structured_record(&Arc::from(topic), Bytes::copy_from_slice(event))
}

fn structured_record(topic: &Arc<str>, event: Bytes) -> OutRecord {
    let content_type = Bytes::from_static(b"application/cloudevents+json; charset=utf-8");
    OutRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: None,
        value: Some(event),
        headers: vec![("content-type".to_owned(), Some(content_type))],
        timestamp_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_id_changes_nothing_else() {
        let json = Json::trusted(r#"{"id":"a", "data": {"n":1.50, "id":"x"},"i\u0064":"b","\"":[]}"#);
        assert_eq!(with_id(json, "q\"1"), r#"{"id":"q\"1","data":{"n":1.50, "id":"x"},"i\u0064":"q\"1","\"":[]}"#);
    }
}
