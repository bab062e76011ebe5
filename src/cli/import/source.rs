//! Event buses → sources. What was a bus is a topic of Kafka that somebody has to name; so each bus has a source of its
//! own, and no rule sees the events of another bus.

use super::Choices;
use super::draft::{Draft, Kind, Resource, entry, list, one, text};
use std::collections::HashMap;

/// Names of sources that mean something to Tidegate itself.
const RESERVED: [&str; 3] = ["slots", "stored", "emitted"];
/// Longest name of a topic.
const MAX_TOPIC: usize = 200;

/// The source that a rule of `bus` reads: the one that was chosen, or the bus's own, written when it is first met.
pub(super) fn of(
    draft: &mut Draft,
    system: &str,
    bus: &str,
    sources: &mut HashMap<String, String>,
    choices: &Choices,
) -> String {
    if let Some(chosen) = &choices.from {
        return chosen.clone();
    }
    if let Some(known) = sources.get(bus) {
        return known.clone();
    }
    let theirs = if RESERVED.contains(&bus) { format!("{bus}-events") } else { bus.to_owned() };
    let ours = draft.names.take(Kind::Source, &theirs);
    sources.insert(bus.to_owned(), ours.clone());
    let before = draft.notes.len();
    draft.differs(
        &format!("event bus {bus}"),
        "EventBusName",
        "a bus is a topic of Kafka here",
        "write the topics that hold its events under `topics`, or choose a source you have: --from SOURCE",
    );
    draft.resources.push(Resource {
        kind: Kind::Source,
        name: ours.clone(),
        origin: format!("{system} event bus {bus}"),
        comments: draft.comments_since(before),
        entries: vec![entry("kafka", one("topics", list(vec![text(topic(bus))])))],
        unusable: false,
    });
    ours
}

fn topic(bus: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let topic: String = bus.chars().map(fits).take(MAX_TOPIC).collect();
    if topic.trim_matches('.').is_empty() { "events".to_owned() } else { topic }
}
