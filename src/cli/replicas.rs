//! What the replicas tell of themselves, read from the topic `<prefix>.state`.

use crate::config::settings::{TraceOutcomes, TraceSettings};
use crate::kafka::{self, ClientSettings, Reader};
use crate::model::clock::WallMs;
use crate::model::hold::HoldRecord;
use crate::model::name::Name;
use crate::model::stored::Topics;
use crate::telemetry::report::{KEY_PREFIX, Report};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// Who was not heard for so long is no longer spoken of: a replica that was killed takes nothing back.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// What stands in the topic.
#[derive(Debug, Default)]
pub(super) struct Stated {
    /// The newest report of each replica that did not say good-bye.
    pub(super) reports: Vec<Report>,
    /// What is kept of the holds of each destination.
    pub(super) holds: BTreeMap<Name, HoldRecord>,
}

/// The newest report of each replica that did not say good-bye; none if the topic does not exist.
///
/// # Errors
/// Kafka does not answer.
pub(super) fn read(client: &ClientSettings, topics: &Topics, now: WallMs) -> Result<Vec<Report>, kafka::Error> {
    Ok(read_state(client, topics, now)?.reports)
}

/// All that stands in the topic; nothing if it does not exist.
///
/// # Errors
/// Kafka does not answer.
pub(super) fn read_state(client: &ClientSettings, topics: &Topics, now: WallMs) -> Result<Stated, kafka::Error> {
    let mut reports: BTreeMap<Vec<u8>, Report> = BTreeMap::new();
    let mut holds = BTreeMap::new();
    let topic = topics.state();
    let read = tokio::task::block_in_place(|| {
        Reader::open(client)?.scan(&topic, kafka::From::Beginning, |record| {
            let Some(key) = record.key().filter(|key| key.starts_with(KEY_PREFIX.as_bytes())) else {
                if let Ok(Some((name, hold))) = HoldRecord::read(&record) {
                    holds.insert(name, hold);
                }
                return ControlFlow::Continue(());
            };
            match record.value().map(Report::read) {
                Some(Ok(report)) => drop(reports.insert(key.to_vec(), report)),
                Some(Err(_)) => {}
                None => drop(reports.remove(key)),
            }
            ControlFlow::Continue(())
        })
    });
    match read {
        Ok(_) | Err(kafka::Error::Topic { .. }) => {}
        Err(error) => return Err(error),
    }
    let reports = reports.into_values().filter(|report| now.since(report.at()) < FORGOTTEN).collect();
    Ok(Stated { reports, holds })
}

/// What is not recorded of events, in a few words, and whether that hides anything: as the replicas tell, else as the
/// settings of this command say.
pub(super) fn hidden(reports: &[Report], settings: &TraceSettings) -> Option<&'static str> {
    let newest = reports.iter().max_by_key(|report| report.at());
    let traced = newest.map_or_else(|| word(settings), |report| report.traced.as_str());
    match traced {
        "off" => Some("trace.enabled = false"),
        "failures" => Some("trace.outcomes = \"failures\""),
        "sample" => Some("trace.outcomes = \"sample\""),
        _ => None,
    }
}

fn word(settings: &TraceSettings) -> &'static str {
    match (settings.enabled, settings.outcomes) {
        (false, _) => "off",
        (true, TraceOutcomes::Failures) => "failures",
        (true, TraceOutcomes::Sample) => "sample",
        (true, TraceOutcomes::All) => "all",
    }
}
