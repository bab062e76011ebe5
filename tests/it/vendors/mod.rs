//! Vendors as they are documented to behave, scripted: how each accepts, refuses, throttles and repeats itself. Every
//! event ends exactly where the vendor's `responses` say, after exactly the attempts that they allow.
//!
//! The id of an event tells the vendor what to answer, its type which rule takes it. How it ended is read from the trace
//! topic and told in a line: each attempt as status and code, then the outcome.

mod buildkite;
mod dingtalk;
mod elasticsearch;
mod freshdesk;
mod gateways;
mod slack;
mod youcheng;

use crate::support::api::Seen;
use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, Replica, Stored, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Retries that stay in memory, so that a test need not wait for a tier.
const QUICK: &str = "retry: {max_age: 1h, max_attempts: 3, delay: [50ms, 100ms]}";

/// A vendor, the program that calls it, and what the vendor was asked.
struct Vendor {
    bed: Bed,
    replica: Replica,
}

impl Vendor {
    /// Starts the program with the resources that `yaml` makes of the vendor's url.
    fn start(
        name: &str,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
        yaml: impl Fn(&str) -> String,
    ) -> Self {
        let bed = Bed::new(name, 1, script);
        let source = format!("kind: source\nname: events\nkafka: {{topics: [{}]}}\n---\n", bed.topic());
        bed.resources("vendor.yaml", &(source + &yaml(&bed.api.url())));
        let settings = bed.settings_file("a", "");
        let mut file = OpenOptions::new().append(true).open(&settings).expect("the settings");
        file.write_all(b"\n[trace]\noutcomes = \"all\"\n").expect("written");
        let replica = Replica::launch("a", &["run", "-c"], &settings, bed.api.alarm());
        replica.wait_ready(LIMIT);
        Self { bed, replica }
    }

    /// Produces an event for each line of `table`, `type/id: how it must end`, and waits for all ends.
    #[track_caller]
    fn ends(&self, table: &str) {
        let table: BTreeMap<&str, &str> = table.lines().filter_map(|line| line.trim().split_once(": ")).collect();
        let events = table.keys().map(|key| {
            let (kind, id) = key.split_once('/').expect("type/id");
            event(kind, id)
        });
        self.bed.broker.produce(&self.bed.topic(), events);
        let expected: BTreeMap<String, String> =
            table.iter().map(|(key, end)| ((*key).to_owned(), (*end).to_owned())).collect();
        let ended = eventually("every event has ended", LIMIT, || {
            let ended = self.ended();
            let missing: Vec<&String> = expected.keys().filter(|key| !ended.contains_key(*key)).collect();
            if missing.is_empty() { Ok(ended) } else { Err(format!("{missing:?} of {ended:#?}")) }
        });
        for (key, end) in &expected {
            assert_eq!(&ended[key], end, "{key}");
        }
    }

    /// Produces an event that no one takes, and waits until the program says that it stopped sending, and why: after
    /// so many requests.
    #[track_caller]
    fn stops(&self, kind: &str, id: &str, destination: &str, code: &str, requests: u32) {
        self.bed.broker.produce(&self.bed.topic(), [event(kind, id)]);
        self.replica.wait_line(&format!("{destination} stopped: {code}"), LIMIT, |line| {
            line.contains("stopped sending") && line.contains(destination) && line.contains(code)
        });
        assert_eq!(self.bed.api.log(|log| log.tally(id).attempts), requests, "requests of {id}");
    }

    /// How each event has ended, by `type/id`.
    fn ended(&self) -> BTreeMap<String, String> {
        let records = self.bed.broker.read_all(&self.bed.own_topic("trace"));
        let lines = records.iter().filter_map(|record| record.value.as_deref()).map(|value| {
            let trace: Value = serde_json::from_slice(value).expect("a trace is JSON");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let tried = trace["tried"].as_array().into_iter().flatten().map(|attempt| {
                let status = attempt["status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
                format!("{status} {}", text(&attempt["code"])).trim_end().to_owned()
            });
            let tried: Vec<String> = tried.collect();
            let key = format!("{}/{}", text(&trace["type"]), text(&trace["event"]));
            (key, format!("{} → {}", tried.join(", "), text(&trace["outcome"])))
        });
        lines.collect()
    }

    /// The record of an event in the retry tier, and for how many seconds it was sent to wait there.
    #[track_caller]
    fn waits(&self, id: &str) -> (Stored, i64) {
        let records = self.bed.tiers().flat_map(|tier| self.bed.broker.read_all(&tier));
        let record = records.into_iter().find(|record| carries(record, id));
        let record = record.unwrap_or_else(|| panic!("{id} waits in no tier"));
        let ms = |name: &str| record.header(name).parse::<i64>().expect("milliseconds");
        let waits = (ms("tidegate-due-ms") - ms("tidegate-last-attempt-ms")) / 1_000;
        (record, waits)
    }

    /// The dead letter of an event.
    #[track_caller]
    fn dead_letter(&self, id: &str) -> Stored {
        let letters = self.bed.broker.read_all(&self.bed.own_topic("dlq"));
        letters.into_iter().find(|letter| carries(letter, id)).unwrap_or_else(|| panic!("no dead letter of {id}"))
    }
}

fn event(kind: &str, id: &str) -> Message {
    structured(id, kind, &format!(r#"{{"id":"{id}"}}"#))
}

/// Whether a stored record is that of the event.
fn carries(record: &Stored, id: &str) -> bool {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).contains(&format!("\"id\":\"{id}\""))
}

/// The rule that takes events of this type to the destination of the same name.
fn rule(kind: &str, rest: &str) -> String {
    format!(
        "---
kind: rule
name: {kind}
from: events
pattern: {{type: [{kind}]}}
targets:
- name: send
  destination: {kind}
  headers: {{x-event: $.id}}
{rest}
"
    )
}

/// An answer of JSON.
fn json(status: u16, body: &str) -> Answer {
    Answer::status(status).header("content-type", "application/json;charset=utf-8").body(body.to_owned())
}
