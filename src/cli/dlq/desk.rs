//! The desk where dead letters are looked at: it finds the topics they stand in, reads them, and knows from the ledger
//! which of them still wait.
//!
//! The ledger is the trace topic: an outcome `redriven` names a dead letter that was sent on its way again, an outcome
//! `delivered` says that its delivery arrived after all. Both are kept as long as that topic keeps its records.

use super::filter::Filter;
use crate::cli::since::age;
use crate::cli::tools::{Kafka, Tool, Use};
use crate::cli::{Failure, Global, output};
use crate::kafka::{self, Reader};
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::record::{Position, Record};
use crate::model::stored::{StoredHeaders, Topics};
use crate::pipeline::decode;
use crate::pipeline::settle::{EventTrace, REDRIVEN};
use crate::pipeline::snapshot::Snapshot;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Whether it can be done without usable resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Yes; the resources name more topics and how to read events.
    Helpful,
    /// No.
    Needed,
}

/// What a command on dead letters needs.
#[derive(Debug)]
pub(super) struct Desk {
    /// Kafka.
    pub(super) kafka: Kafka,
    /// Names of our own topics.
    pub(super) names: Topics,
    /// The rules of today.
    pub(super) snapshot: Option<Snapshot>,
    /// The topic that ids without one mean.
    default_topic: Arc<str>,
    /// Topics of dead letters that exist.
    topics: Vec<Arc<str>>,
    trace: Option<Arc<str>>,
}

/// A dead letter.
#[derive(Debug)]
pub(super) struct Letter {
    /// Where it stands.
    pub(super) position: Position,
    /// When it was written.
    pub(super) at: Option<WallMs>,
    /// What is known of its failure.
    pub(super) headers: StoredHeaders,
    /// Whose it is; absent if it cannot be decoded.
    pub(super) event: Option<EventName>,
    /// All of it, if it was to be kept.
    pub(super) record: Option<Record>,
    /// Whether it waits.
    pub(super) state: State,
}

/// What identifies an event.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct EventName {
    /// Its id.
    pub(super) id: String,
    /// Its source.
    pub(super) source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// Whether a dead letter waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It does.
    Waiting,
    /// It was sent on its way again.
    Redriven,
    /// Its delivery arrived after it was written.
    Delivered,
}

impl Desk {
    /// Asks Kafka which topics there are.
    pub(super) async fn open(global: &Global, rules: Rules) -> Result<Self, Failure> {
        let tool = Tool::new(global)?;
        let kafka = tool.kafka()?;
        let default_topic: Arc<str> = Arc::from(tool.settings.dead_letter.topic.as_str());
        let snapshot = match (tool.snapshot(global, Some(&kafka), Use::Look), rules) {
            (Ok(snapshot), _) => Some(snapshot),
            (Err(failure), Rules::Needed) => return Err(failure),
            (Err(_), Rules::Helpful) => {
                output::complain(&format!("without usable resources only the topic {default_topic} is read"));
                None
            }
        };
        let mut wanted = BTreeSet::from([default_topic.to_string()]);
        for resources in snapshot.iter().map(|snapshot| &snapshot.resources) {
            wanted.extend(resources.destinations.iter().map(|d| d.dead_letter_topic.clone()));
            wanted.extend(resources.rules.iter().flat_map(|r| &r.targets).filter_map(|t| t.dead_letter_topic.clone()));
        }
        let names = tool.topics();
        let trace = names.trace();
        let mut asked: Vec<String> = wanted.into_iter().collect();
        asked.push(trace.to_string());
        let found = kafka.partitions(&asked).await?;
        let existing = asked.into_iter().zip(found).filter(|(_, partitions)| partitions.is_some());
        let (traces, topics): (Vec<_>, Vec<_>) = existing.map(|(n, _)| Arc::from(n)).partition(|name| *name == trace);
        Ok(Self { kafka, names, snapshot, default_topic, topics, trace: traces.into_iter().next() })
    }

    /// How people name a dead letter: without the topic if it is the default one.
    pub(super) fn id(&self, position: &Position) -> String {
        if position.topic == self.default_topic {
            format!("{}:{}", position.partition, position.offset)
        } else {
            position.to_string()
        }
    }

    /// The place that an id means.
    pub(super) fn position(&self, id: &str) -> Result<Position, String> {
        let wrong = |_| format!("`{id}` is no id of a dead letter; write PARTITION:OFFSET or TOPIC:PARTITION:OFFSET");
        let text = if id.matches(':').count() == 1 { format!("{}:{id}", self.default_topic) } else { id.to_owned() };
        text.parse().map_err(wrong)
    }

    /// The dead letters that are meant, oldest first, with their states; `keep` their records.
    pub(super) fn letters(&self, filter: &Filter, keep: bool) -> Result<Vec<Letter>, Failure> {
        let letters = tokio::task::block_in_place(|| {
            let mut reader = Reader::open(&self.kafka.client)?;
            let from = filter.since().map_or(kafka::From::Beginning, kafka::From::Time);
            let mut letters = Vec::new();
            for topic in &self.topics {
                let mut foreign = 0;
                reader.scan(topic, from, |record| {
                    match self.letter(record, filter, keep) {
                        Ok(letter) => letters.extend(letter),
                        Err(_) => foreign += 1,
                    }
                    ControlFlow::Continue(())
                })?;
                if foreign > 0 {
                    tracing::warn!(%topic, count = foreign, "records that are no dead letters of ours are passed over");
                }
            }
            letters.sort_by_key(|letter: &Letter| (letter.at, letter.position.partition, letter.position.offset));
            self.mark(&mut reader, &mut letters)?;
            Ok::<_, kafka::Error>(letters)
        });
        filter.tell();
        Ok(letters?)
    }

    /// One dead letter with its record; `None` if nothing stands there.
    pub(super) async fn letter_at(&self, position: &Position) -> Result<Option<Letter>, Failure> {
        let Some(record) = self.kafka.record_at(position).await? else { return Ok(None) };
        let Ok(Some(letter)) = self.letter(record, &Filter::default(), true) else { return Ok(None) };
        let mut one = [letter];
        tokio::task::block_in_place(|| self.mark(&mut Reader::open(&self.kafka.client)?, &mut one))?;
        Ok(one.into_iter().next())
    }

    fn letter(
        &self,
        record: Record,
        filter: &Filter,
        keep: bool,
    ) -> Result<Option<Letter>, crate::model::stored::Error> {
        let headers = StoredHeaders::read(&record)?;
        let at = record.timestamp_ms.map(WallMs);
        if !filter.wants(&headers, at, || self.event(&record, &headers)) {
            return Ok(None);
        }
        let event = self.event(&record, &headers).map(|event| EventName {
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            kind: event.kind().to_owned(),
        });
        let position = record.position.clone();
        let record = keep.then_some(record);
        Ok(Some(Letter { position, at, headers, event, record, state: State::Waiting }))
    }

    /// The event of a dead letter, read as its source reads it; none if it cannot be decoded.
    pub(super) fn event(&self, record: &Record, headers: &StoredHeaders) -> Option<CloudEvent> {
        let rule = headers.delivery.as_ref().and_then(|address| Name::new(&address.rule))?;
        let source = self.snapshot.as_ref().and_then(|snapshot| snapshot.source_of(&rule, &headers.origin.topic));
        let options = source.map(|source| source.decode_options()).unwrap_or_default();
        let original = record.clone().moved(headers.origin.clone(), headers.origin_timestamp_ms);
        decode::decode(original, &options).ok()
    }

    /// Takes the states from the ledger.
    fn mark(&self, reader: &mut Reader, letters: &mut [Letter]) -> Result<(), kafka::Error> {
        let Some(topic) = &self.trace else { return Ok(()) };
        if letters.is_empty() {
            return Ok(());
        }
        let oldest = letters.iter().filter_map(|letter| letter.at).min();
        let mut by_position: HashMap<String, usize> = HashMap::new();
        let mut by_delivery: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, letter) in letters.iter().enumerate() {
            by_position.insert(letter.position.to_string(), index);
            if let Some(address) = &letter.headers.delivery {
                by_delivery.entry(address.delivery_id.clone()).or_default().push(index);
            }
        }
        reader.scan(topic, oldest.map_or(kafka::From::Beginning, kafka::From::Time), |record| {
            let Some(Ok(trace)) = record.value().map(EventTrace::read) else { return ControlFlow::Continue(()) };
            if trace.outcome == REDRIVEN {
                let index = trace.dead_letter.as_deref().and_then(|position| by_position.get(position));
                if let Some(letter) = index.and_then(|index| letters.get_mut(*index)) {
                    letter.state = State::Redriven;
                }
            } else if trace.outcome == "delivered" {
                let time = WallMs::parse_rfc3339(&trace.at);
                let ids = trace.delivery_id.as_deref().and_then(|id| by_delivery.get(id));
                for index in ids.into_iter().flatten() {
                    if let Some(letter) = letters.get_mut(*index)
                        && letter.state == State::Waiting
                        && time >= letter.at
                    {
                        letter.state = State::Delivered;
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

impl Letter {
    /// `rule/target`; a dash if no rule has seen it.
    pub(super) fn target(&self) -> String {
        self.headers.delivery.as_ref().map_or_else(|| "-".to_owned(), |a| format!("{}/{}", a.rule, a.target))
    }

    /// How old it is, roughly: `3s`, `5m`, `2h`, `4d`.
    pub(super) fn age(&self, now: WallMs) -> String {
        self.at.map_or_else(|| "-".to_owned(), |at| age(now.since(at)))
    }
}
