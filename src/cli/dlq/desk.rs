//! The desk where dead letters are looked at: it finds the topics they stand in, reads them, and knows from the ledger
//! which of them still wait.
//!
//! The ledger stands in the same topics, see [`crate::pipeline::settle::Mark`]. The trace topic adds what only it knows:
//! an outcome `delivered` says that a delivery arrived after all.

use super::book::{Asked, Book, Entry, Listener, State};
use super::filter::Filter;
use crate::cli::since::age;
use crate::cli::tools::{Kafka, Tool, Use};
use crate::cli::{Exit, Failure, Global, output};
use crate::kafka::{self, Reader};
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::record::{Position, Record};
use crate::model::stored::{StoredHeaders, Topics};
use crate::pipeline::decode;
use crate::pipeline::settle::{EventTrace, Mark};
use crate::pipeline::snapshot::Snapshot;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

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
    /// How long dead letters are kept.
    pub(super) retention: Duration,
    trace: Option<Arc<str>>,
    reader: RefCell<Reader>,
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
    /// All of it.
    pub(super) record: Record,
    /// How it stands with it.
    pub(super) state: State,
    /// What was done with it last.
    pub(super) mark: Option<Mark>,
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
            wanted.extend(resources.destinations.iter().map(|d| d.dead_letter_topic.to_string()));
            wanted.extend(
                resources
                    .rules
                    .iter()
                    .flat_map(|r| &r.targets)
                    .filter_map(|t| t.dead_letter_topic.as_deref().map(str::to_owned)),
            );
        }
        let names = tool.topics();
        let trace = names.trace();
        let mut asked: Vec<String> = wanted.into_iter().collect();
        asked.push(trace.to_string());
        let found = kafka.partitions(&asked).await?;
        let existing = asked.into_iter().zip(found).filter(|(_, partitions)| partitions.is_some());
        let (traces, topics): (Vec<_>, Vec<_>) = existing.map(|(n, _)| Arc::from(n)).partition(|name| *name == trace);
        let reader = RefCell::new(tokio::task::block_in_place(|| Reader::open(&kafka.client))?);
        let (retention, trace) = (tool.settings.dead_letter.retention, traces.into_iter().next());
        Ok(Self { kafka, names, snapshot, default_topic, topics, retention, trace, reader })
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
    pub(super) fn position(&self, id: &str) -> Result<Position, Failure> {
        let wrong = |_| {
            let message = format!("`{id}` is no id of a dead letter; write PARTITION:OFFSET or TOPIC:PARTITION:OFFSET");
            Failure::new(Exit::Usage, "USAGE", message)
        };
        let text = if id.matches(':').count() == 1 { format!("{}:{id}", self.default_topic) } else { id.to_owned() };
        text.parse().map_err(wrong)
    }

    /// The dead letters that are meant, with their states; those of `ids` only if there are some.
    pub(super) fn book(&self, filter: &Filter, ids: &[String], asked: Asked) -> Result<Book, Failure> {
        let named: BTreeSet<String> =
            ids.iter().map(|id| self.position(id).map(|p| p.to_string())).collect::<Result<_, _>>()?;
        let wanted = |position: &Position| named.is_empty() || named.contains(&position.to_string());
        let book = tokio::task::block_in_place(|| {
            let mut reader = self.reader.borrow_mut();
            let from = filter.since().map_or(kafka::From::Beginning, kafka::From::Time);
            let mut book = Book::default();
            for topic in &self.topics {
                let mut foreign = 0;
                reader.scan(topic, from, |record| {
                    let Position { partition, offset, .. } = record.position;
                    book.read.insert((Arc::clone(topic), partition), offset + 1);
                    if Mark::is_one(&record) {
                        if let Some((letter, mark)) = Mark::read(&record) {
                            book.mark(topic, partition, letter, mark);
                        }
                        return ControlFlow::Continue(());
                    }
                    match StoredHeaders::read(&record) {
                        Ok(headers) if wanted(&record.position) => {
                            let at = record.timestamp_ms.map(WallMs);
                            if filter.wants(&headers, at, || self.event(&record, &headers)) {
                                book.add(&record.position, at, &headers);
                            }
                        }
                        Ok(_) => {}
                        Err(_) => foreign += 1,
                    }
                    ControlFlow::Continue(())
                })?;
                if foreign > 0 {
                    tracing::warn!(%topic, count = foreign, "records that are no dead letters of ours are passed over");
                }
            }
            self.listen(&mut reader, &mut book, asked)?;
            book.sort();
            Ok::<_, kafka::Error>(book)
        });
        filter.tell();
        let book = book?;
        let found: BTreeSet<String> = book.entries.iter().map(|entry| book.position(entry).to_string()).collect();
        if let Some(missing) = named.iter().find(|id| !found.contains(*id)) {
            return Err(none_at(missing));
        }
        Ok(book)
    }

    /// Takes from the trace what arrived.
    fn listen(&self, reader: &mut Reader, book: &mut Book, asked: Asked) -> Result<(), kafka::Error> {
        let listener = Listener::new(book, asked);
        let Some(topic) = self.trace.as_ref().filter(|_| listener.is_needed()) else { return Ok(()) };
        let oldest = book.entries.iter().filter_map(|entry| entry.at).min();
        reader.scan(topic, oldest.map_or(kafka::From::Beginning, kafka::From::Time), |record| {
            if let Some(Ok(trace)) = record.value().map(EventTrace::read) {
                listener.hear(book, &trace);
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// What these letters hold, in their order; those are missing that Kafka has deleted in the meantime.
    pub(super) fn letters(&self, book: &Book, entries: &[&Entry]) -> Result<Vec<Letter>, Failure> {
        let mut ranges: BTreeMap<Arc<str>, BTreeMap<i32, (i64, i64)>> = BTreeMap::new();
        let mut order: HashMap<Position, usize> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let position = book.position(entry);
            let partitions = ranges.entry(Arc::clone(&position.topic)).or_default();
            let range = partitions.entry(entry.partition).or_insert((entry.offset, entry.offset + 1));
            *range = (range.0.min(entry.offset), range.1.max(entry.offset + 1));
            order.insert(position, index);
        }
        let mut found: Vec<(usize, Record)> = Vec::with_capacity(entries.len());
        tokio::task::block_in_place(|| {
            let mut reader = self.reader.borrow_mut();
            for (topic, partitions) in &ranges {
                let ranges: Vec<_> =
                    partitions.iter().map(|(partition, (from, to))| (*partition, *from, *to)).collect();
                reader.scan_ranges(topic, &ranges, |record| {
                    found.extend(order.get(&record.position).map(|index| (*index, record)));
                    ControlFlow::Continue(())
                })?;
            }
            Ok::<_, kafka::Error>(())
        })?;
        found.sort_by_key(|(index, _)| *index);
        let letter = |(index, record): (usize, Record)| {
            let entry = entries.get(index)?;
            let headers = StoredHeaders::read(&record).ok()?;
            let event = self.event(&record, &headers).map(|event| EventName {
                id: event.id().to_owned(),
                source: event.source().to_owned(),
                kind: event.kind().to_owned(),
            });
            let (position, at) = (record.position.clone(), entry.at);
            let (state, mark) = (entry.state(), entry.mark.as_deref().cloned());
            Some(Letter { position, at, headers, event, record, state, mark })
        };
        Ok(found.into_iter().filter_map(letter).collect())
    }

    /// The letter of this id.
    pub(super) fn letter(&self, id: &str) -> Result<Letter, Failure> {
        let position = self.position(id)?;
        if !self.topics.contains(&position.topic) {
            return Err(none_at(id));
        }
        let book = self.book(&Filter::default(), &[id.to_owned()], Asked::All)?;
        let entries: Vec<&Entry> = book.entries.iter().collect();
        self.letters(&book, &entries)?.pop().ok_or_else(|| none_at(id))
    }

    /// Reads with the desk's reader.
    pub(super) fn read<T, E>(&self, read: impl FnOnce(&mut Reader) -> Result<T, E>) -> Result<T, E> {
        tokio::task::block_in_place(|| read(&mut self.reader.borrow_mut()))
    }

    /// The event of a dead letter, read as its source reads it; none if it cannot be decoded.
    pub(super) fn event(&self, record: &Record, headers: &StoredHeaders) -> Option<CloudEvent> {
        let rule = headers.delivery.as_ref().and_then(|address| Name::new(&address.rule))?;
        let source = self.snapshot.as_ref().and_then(|snapshot| snapshot.source_of(&rule, &headers.origin.topic));
        let options = source.map(|source| source.decode_options()).unwrap_or_default();
        let original = record.clone().moved(headers.origin.clone(), headers.origin_timestamp_ms);
        decode::decode(original, &options).ok()
    }
}

fn none_at(id: &str) -> Failure {
    let message = format!("there is no dead letter at {id} (any more); `tidegate dlq -o wide` lists their ids");
    Failure::new(Exit::No, "DLQ_NO_LETTER", message)
}

impl Letter {
    /// `rule/target`; a dash if no rule has seen it.
    pub(super) fn target(&self) -> String {
        self.headers.delivery.as_ref().map_or_else(|| "-".to_owned(), |a| format!("{}/{}", a.rule, a.target))
    }

    /// How old it is, roughly: `3s`, `5m`, `2h`, `4d`.
    pub(super) fn age(&self, now: WallMs) -> String {
        age_of(self.at, now)
    }
}

/// How long ago a letter was written.
pub(super) fn age_of(at: Option<WallMs>, now: WallMs) -> String {
    at.map_or_else(|| "-".to_owned(), |at| age(now.since(at)))
}
