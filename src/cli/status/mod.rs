//! `tidegate status`: replicas, lag, holds with reason and cure, breakers, rates, retry tiers, dead letters. All of it
//! is read from Kafka: the groups' offsets, the topics, and what the replicas tell of themselves.

mod merge;
mod overview;
mod problems;
mod show;
#[cfg(test)]
mod tests;

use super::replicas::{self, Stated};
use super::tools::{Kafka, Tool, Use};
use super::{Exit, Failure, Global, Output, dlq, output};
use crate::kafka::{self, Lags, Reader};
use crate::model::clock::WallMs;
use crate::model::hold::HoldRecord;
use crate::model::name::Name;
use crate::model::resources::Resources;
use crate::model::stored::StoredHeaders;
use crate::pipeline::ordered;
use crate::telemetry::report::Report;
use clap::Args;
pub(super) use overview::DeadLetters;
use overview::{Found, Kept, Overview, Source, Tier};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

/// Records of a retry tier that are looked at to tell whose they are; beyond that only their number is told.
const LOOKED_AT: usize = 20_000;

/// Queues whose first record is looked at to tell how long it waits.
const QUEUES_LOOKED_INTO: usize = 100;

/// What the queues of destinations are called among the tiers.
const QUEUE: &str = "queue";

/// Options of `status`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this destination, source, rule or connection, with more details.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Tells.
///
/// # Errors
/// Exit 1 if something is held, or a replica is silent; Kafka is out of reach.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let kafka = tool.kafka()?;
    let now = WallMs::now();
    let Stated { reports, holds } = replicas::read_state(&kafka.client, &tool.topics(), now)?;
    // The replicas know what runs; the files are asked where no replica does, and for what only rules tell.
    let wants_rules = options.name.as_ref().is_some_and(|name| !told(&reports, name));
    let resources = match reports.is_empty() || wants_rules {
        true => tool.resources(global, Some(&kafka), Use::Look).ok(),
        false => None,
    };
    let found = Found {
        sources: sources(&tool, &kafka, &reports, resources.as_ref())?,
        tiers: stored(&tool, &kafka)?,
        members: members(&tool, &kafka),
        dead_letters: dlq::waiting(global).await?,
        holds: held(holds, resources.as_ref()),
        reports,
    };
    let mut overview = Overview::new(found, now);
    if let Some(name) = &options.name {
        let narrowed = overview.narrow(name, resources.as_ref());
        overview = narrowed.map_err(|known| {
            let message = format!("nothing here is called `{name}`; there are: {}", known.join(", "));
            Failure::new(Exit::Usage, "STATUS_NAME", message)
        })?;
    }
    match global.output {
        Output::Json | Output::Jsonl => output::print_json(&overview)?,
        Output::Table | Output::Wide => show::print(&overview, global.output, options.name.is_some(), now)?,
    }
    if overview.problems.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::No)) }
}

/// What is kept of destinations that are held, and of which connection they are. What the files do not name any more is of
/// no interest, if they can be read.
fn held(holds: BTreeMap<Name, HoldRecord>, resources: Option<&Resources>) -> Vec<Kept> {
    let kept = |(name, record): (Name, HoldRecord)| {
        let hold = record.hold?;
        let connection = match resources {
            Some(resources) => {
                resources.destinations.iter().find(|d| d.name == name).map(|d| d.connection.name.to_string())?
            }
            None => String::new(),
        };
        Some(Kept { destination: name.to_string(), connection, hold, record })
    };
    holds.into_iter().filter_map(kept).collect()
}

/// Whether a replica tells of something with this name.
fn told(reports: &[Report], name: &str) -> bool {
    reports.iter().any(|report| {
        report.sources.contains_key(name)
            || report.state.destinations.iter().any(|d| d.name == name)
            || report.state.connections.iter().any(|c| c.name == name)
    })
}

/// How far each source is read.
fn sources(
    tool: &Tool,
    kafka: &Kafka,
    reports: &[Report],
    resources: Option<&Resources>,
) -> Result<Vec<Source>, Failure> {
    let mut wanted: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let usual = |name: &str| format!("{}.{name}", tool.settings.kafka.group);
    for report in reports {
        for (name, topics) in &report.sources {
            let group = report.state.intakes.iter().find(|intake| intake.name == *name).map(|i| i.group.clone());
            let entry = wanted.entry(name.clone());
            let (_, known) = entry.or_insert_with(|| (group.unwrap_or_else(|| usual(name)), BTreeSet::new()));
            known.extend(topics.iter().cloned());
        }
    }
    for source in resources.iter().flat_map(|resources| &resources.sources) {
        let group = source.group.clone().unwrap_or_else(|| usual(source.name.as_str()));
        wanted.entry(source.name.to_string()).or_insert_with(|| (group, source.topics.iter().cloned().collect()));
    }
    for (target, topics) in resources.iter().copied().flat_map(ordered::written) {
        let name = target.to_string();
        wanted.entry(name.clone()).or_insert_with(|| (usual(&name), topics));
    }
    let mut sources = Vec::new();
    for (name, (group, topics)) in wanted {
        let mut lags = Vec::new();
        let mut missing = Vec::new();
        let read = tokio::task::block_in_place(|| {
            let asked = Lags::open(&kafka.client, &group)?;
            let members = if kafka.embedded { None } else { asked.group().ok() };
            for topic in topics {
                match asked.of(&topic) {
                    Ok(found) => lags.extend(found),
                    Err(kafka::Error::Topic { .. }) => missing.push(topic),
                    Err(error) => return Err(error),
                }
            }
            Ok(members)
        });
        let members = read?;
        sources.push(Source { name, group, lags, missing, members });
    }
    Ok(sources)
}

/// What waits in the retry tiers, and whose it is.
fn tiers(tool: &Tool, kafka: &Kafka) -> Result<Vec<Tier>, Failure> {
    let group = format!("{}.stored", tool.settings.kafka.group);
    let mut tiers = Vec::new();
    for (tier, topic) in tool.topics().tiers() {
        let mut found = Tier { name: tier.name.to_owned(), waiting: 0, oldest: None, by_destination: BTreeMap::new() };
        let read = tokio::task::block_in_place(|| {
            let lags = match Lags::open(&kafka.client, &group)?.of(&topic) {
                Ok(lags) => lags,
                Err(kafka::Error::Topic { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            found.waiting = lags.iter().map(kafka::Lag::unread).sum();
            if found.waiting == 0 {
                return Ok(());
            }
            let unread = lags.iter().filter(|lag| lag.unread() > 0);
            let from: HashMap<i32, i64> =
                unread.map(|lag| (lag.at.partition, lag.committed.unwrap_or(lag.low))).collect();
            let mut looked_at = 0;
            Reader::open(&kafka.client)?.scan_offsets(&topic, &from, |record| {
                let address = StoredHeaders::read(&record).ok().and_then(|headers| headers.delivery);
                if let Some(address) = address {
                    *found.by_destination.entry(address.destination).or_default() += 1;
                }
                let at = record.timestamp_ms.map(WallMs);
                found.oldest = found.oldest.into_iter().chain(at).min();
                looked_at += 1;
                if looked_at < LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            Ok(())
        });
        read?;
        tiers.push(found);
    }
    Ok(tiers)
}

/// The tiers, and the queues of destinations as one more.
fn stored(tool: &Tool, kafka: &Kafka) -> Result<Vec<Tier>, Failure> {
    let mut stored = tiers(tool, kafka)?;
    stored.push(queues(tool, kafka)?);
    Ok(stored)
}

/// What waits in the queues of destinations; a queue says whose it is by its name.
fn queues(tool: &Tool, kafka: &Kafka) -> Result<Tier, Failure> {
    let group = format!("{}.stored", tool.settings.kafka.group);
    let topics = tool.topics();
    let mut found = Tier { name: QUEUE.to_owned(), ..Tier::default() };
    let read = tokio::task::block_in_place(|| {
        let lags = Lags::open(&kafka.client, &group)?;
        let mut reader = Reader::open(&kafka.client)?;
        let mut looked_at = 0;
        for topic in lags.topics()? {
            let Some(destination) = topics.queue_of(&topic) else { continue };
            let waiting: Vec<_> = lags.of(&topic)?.into_iter().filter(|lag| lag.unread() > 0).collect();
            let count: u64 = waiting.iter().map(kafka::Lag::unread).sum();
            if count == 0 {
                continue;
            }
            found.waiting += count;
            found.by_destination.insert(destination.to_owned(), count);
            looked_at += 1;
            if looked_at <= QUEUES_LOOKED_INTO {
                let from = waiting.iter().map(|lag| (lag.at.partition, lag.committed.unwrap_or(lag.low))).collect();
                reader.scan_offsets(&topic, &from, |record| {
                    found.oldest = found.oldest.into_iter().chain(record.timestamp_ms.map(WallMs)).min();
                    ControlFlow::Break(())
                })?;
            }
        }
        Ok::<(), kafka::Error>(())
    });
    read?;
    Ok(found)
}

/// How many members the group of the slots has: one per replica. The embedded broker cannot be asked.
fn members(tool: &Tool, kafka: &Kafka) -> Option<usize> {
    let group = format!("{}.slots", tool.settings.kafka.group);
    if kafka.embedded {
        return None;
    }
    tokio::task::block_in_place(|| Ok::<_, kafka::Error>(Lags::open(&kafka.client, &group)?.group()?.members)).ok()
}
