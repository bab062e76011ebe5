//! `tidegate trace`: what became of one event: received, matched or why not, every attempt, where it ended, and what to
//! do. All of it is read from the topics: the records of what happened, and the event where it first stood.

mod show;
mod story;

use super::outcomes;
use super::tools::{Kafka, Tool, Use};
use super::{Exit, Failure, Global, Output, output, replicas, since};
use crate::kafka::{self, Lags, Reader};
use crate::model::clock::WallMs;
use crate::model::name::TargetName;
use crate::model::record::{Position, Record};
use crate::model::resources::Source;
use crate::model::stored::StoredHeaders;
use crate::pipeline::ordered::source_group;
use crate::pipeline::settle::EventTrace;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::{decode, explain};
use clap::Args;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use story::{Read, Standing, Story};

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct Options {
    /// The id of an event, or the place of its record, TOPIC:PARTITION:OFFSET; a dead letter counts as the event it was.
    #[arg(value_name = "EVENT_ID")]
    event: String,
    /// Look no further back than this: 2h, or 2026-01-02T03:04:05Z. [default: as far as records are kept]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// What a look needs.
struct Looking<'a> {
    tool: &'a Tool,
    kafka: &'a Kafka,
    snapshot: Option<Snapshot>,
    from: kafka::From,
}

/// Traces.
///
/// # Errors
/// Exit 1 if nothing is known of the event.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let now = WallMs::now();
    let since = options.since.as_deref().map(|text| since::time("--since", text, now)).transpose()?;
    let kafka = tool.kafka()?;
    let snapshot = match tool.snapshot(global, Some(&kafka), Use::Look) {
        Ok(snapshot) => Some(snapshot),
        Err(_) => {
            output::complain("without usable resources today's rules are not asked");
            None
        }
    };
    let from = since.map_or(kafka::From::Beginning, kafka::From::Time);
    let looking = Looking { tool: &tool, kafka: &kafka, snapshot, from };
    let reads = match looking.place(&options.event).await? {
        Some(record) => vec![looking.one(record)?],
        None => looking.all(&options.event).await?,
    };
    let reports = replicas::read(&kafka.client, &tool.topics(), now)?;
    let hidden = replicas::hidden(&reports, &tool.settings.trace);
    if reads.is_empty() {
        return Err(unknown(options, hidden));
    }
    let usual = &tool.settings.dead_letter.topic;
    let stories: Vec<Story> = reads.into_iter().map(|read| Story::new(read, hidden.is_some(), usual, now)).collect();
    match global.output {
        Output::Json => output::print_json(&stories)?,
        Output::Jsonl => stories.iter().try_for_each(output::print_json)?,
        Output::Table | Output::Wide => {
            for (number, story) in stories.iter().enumerate() {
                if number > 0 {
                    output::print_line("")?;
                }
                for line in show::lines(story, usual, now) {
                    output::print_line(&line)?;
                }
            }
        }
    }
    Ok(())
}

impl Looking<'_> {
    /// The record that the argument names, if it is the place of one: what was stored is read as the record it was made
    /// of.
    async fn place(&self, text: &str) -> Result<Option<Record>, Failure> {
        let Ok(position) = text.parse::<Position>() else { return Ok(None) };
        let Some(record) = self.kafka.record_at(&position).await? else { return Ok(None) };
        Ok(Some(match StoredHeaders::read(&record) {
            Ok(headers) => record.moved(headers.origin, headers.origin_timestamp_ms),
            Err(_) => record,
        }))
    }

    /// All that is known of the event that stands there.
    fn one(&self, record: Record) -> Result<Read, Failure> {
        let origin = record.position.to_string();
        let settled = self.settled(&record.position);
        let read = self.explained(record, settled);
        let id = read.event.as_ref().map(|(id, ..)| id.as_str());
        let traces = self.traces(id, |trace| *trace.origin == *origin)?;
        Ok(Read { traces, ..read })
    }

    /// All that is known of the events with this id: usually one, but an id is only unique within its source.
    async fn all(&self, id: &str) -> Result<Vec<Read>, Failure> {
        let traces = self.traces(Some(id), |trace| trace.event.as_deref() == Some(id))?;
        let mut by_origin: BTreeMap<String, Vec<EventTrace<'static>>> = BTreeMap::new();
        for trace in traces {
            by_origin.entry(trace.origin.to_string()).or_default().push(trace);
        }
        let mut reads = Vec::new();
        for (origin, traces) in by_origin {
            let position = origin.parse::<Position>().ok();
            let record = match &position {
                Some(position) => self.kafka.record_at(position).await?,
                None => None,
            };
            let settled = position.as_ref().and_then(|position| self.settled(position));
            let read = match record {
                Some(record) => self.explained(record, settled),
                None => Read {
                    origin,
                    traces: Vec::new(),
                    record: Standing::Gone,
                    timestamp: None,
                    event: None,
                    settled,
                    explained: Vec::new(),
                },
            };
            reads.push(Read { traces, ..read });
        }
        Ok(reads)
    }

    /// The records of what happened that are wanted; those with this key, if it is known.
    fn traces(
        &self,
        key: Option<&str>,
        wanted: impl Fn(&EventTrace<'static>) -> bool,
    ) -> Result<Vec<EventTrace<'static>>, Failure> {
        let topic = self.tool.topics().trace();
        let mut found = Vec::new();
        let mut take = |record: Record| {
            // Without parsing what is of another event.
            if key.is_none_or(|key| record.key() == Some(key.as_bytes()))
                && let Some(Ok(trace)) = record.value().map(EventTrace::read)
                && wanted(&trace)
            {
                found.push(trace);
            }
            ControlFlow::Continue(())
        };
        tokio::task::block_in_place(|| {
            let mut reader = Reader::open(&self.kafka.client)?;
            match key {
                Some(key) => reader.scan_key(&topic, key.as_bytes(), self.from, &mut take)?,
                None => reader.scan(&topic, self.from, &mut take)?,
            };
            Ok::<_, kafka::Error>(())
        })
        .map_err(outcomes::missing)?;
        if !found.is_empty() || key.is_none() {
            return Ok(found);
        }
        // The topic may have had another number of partitions, or a record may have no key although its event has an id.
        tokio::task::block_in_place(|| {
            Reader::open(&self.kafka.client)?.scan(&topic, self.from, |record| {
                if let Some(Ok(trace)) = record.value().map(EventTrace::read)
                    && wanted(&trace)
                {
                    found.push(trace);
                }
                ControlFlow::Continue(())
            })
        })
        .map_err(outcomes::missing)?;
        Ok(found)
    }

    fn source(&self, topic: &str) -> Option<&Arc<Source>> {
        let sources = &self.snapshot.as_ref()?.resources.sources;
        sources.iter().find(|source| source.topics.iter().any(|t| t == topic))
    }

    /// What today's rules make of a record.
    fn explained(&self, record: Record, settled: Option<bool>) -> Read {
        let origin = record.position.to_string();
        let timestamp = record.timestamp_ms.map(WallMs);
        let source = self.source(&record.position.topic).map(|source| source.name.clone());
        let rules = source.as_ref().and_then(|name| self.snapshot.as_ref()?.source(name));
        let position = record.position.clone();
        let options = rules.map(|rules| rules.decode_options()).unwrap_or_default();
        let (standing, event, explained) = match decode::decode(record, &options) {
            Ok(event) => {
                let name = (event.id().to_owned(), event.source().to_owned(), event.kind().to_owned());
                let explain = |snapshot| explain::explain(snapshot, &event, source.as_ref(), None);
                (Standing::Present, Some(name), self.snapshot.as_ref().map(explain).unwrap_or_default())
            }
            Err(_) => (Standing::Undecodable, None, Vec::new()),
        };
        // Targets in order read by themselves.
        let ordered = explained.iter().filter(|explained| explained.order.is_some());
        let settled = ordered.fold(settled, |settled, explained| {
            let target = TargetName { rule: explained.rule.clone(), target: explained.target.clone()? };
            Some(settled? && self.passed(&format!("{}.{target}", self.tool.settings.kafka.group), &position)?)
        });
        Read { origin, traces: Vec::new(), record: standing, timestamp, event, settled, explained }
    }

    /// Whether the group of its source has committed beyond it; `None` if that cannot be learned.
    fn settled(&self, position: &Position) -> Option<bool> {
        let source = self.source(&position.topic)?;
        self.passed(&source_group(&self.tool.settings.kafka.group, source), position)
    }

    fn passed(&self, group: &str, position: &Position) -> Option<bool> {
        let lags = tokio::task::block_in_place(|| Lags::open(&self.kafka.client, group)?.of(&position.topic)).ok()?;
        let lag = lags.into_iter().find(|lag| lag.at.partition == position.partition)?;
        Some(lag.committed.unwrap_or(lag.low) > position.offset)
    }
}

fn unknown(options: &Options, hidden: Option<&str>) -> Failure {
    let back = options.since.as_deref().map_or_else(String::new, |since| format!(" since {since}"));
    let mut message = format!("nothing is recorded of an event `{}`{back}", options.event);
    if let Some(setting) = hidden {
        message.push_str(&format!(
            "\n with {setting} an event that was taken at once, or that no rule wanted, leaves no record"
        ));
    }
    message.push_str(
        "\n while it waits in a replica nothing is recorded yet: tidegate status says what waits, and why\
         \n if you know where it stands: tidegate trace TOPIC:PARTITION:OFFSET, or tidegate explain --at the same",
    );
    if options.since.is_some() {
        message.push_str("\n to look further back: a longer --since, or none");
    }
    Failure::new(Exit::No, "TRACE_UNKNOWN", message)
}
