//! What keeps something from flowing: since when, how much waits, and what to do.

use super::overview::{Overview, Problem};
use crate::cli::output::grouped;
use crate::cli::since::{ago, clock};
use crate::model::clock::WallMs;
use crate::telemetry::report::Report;

/// What keeps something from flowing, the most far-reaching first.
pub(super) fn find(overview: &Overview, fresh: &[&Report], now: WallMs) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code: &str, name: &str, message: String, cure: String| {
        problems.push(Problem { code: code.to_owned(), name: name.to_owned(), message, cure });
    };
    for row in overview.replicas.iter().filter(|row| row.stale) {
        let message = format!("{} was last heard {} ago", row.replica, ago(row.heard_ms, now));
        let cure = "it has ended without a word, or does not reach Kafka; what it read goes to the others after kafka.session_timeout";
        add("REPLICA_SILENT", &row.replica, message, cure.to_owned());
    }
    if fresh.is_empty() {
        let cure =
            "start tidegate run, with the same kafka.prefix as here; until then events wait in their topics".to_owned();
        add("NO_REPLICA", "", "no replica tells of itself, so nothing is delivered".to_owned(), cure);
    }
    if let Some(members) = overview.members.filter(|members| *members > fresh.len() && !fresh.is_empty()) {
        let message = format!("Kafka counts {members} replicas, {} of which tell of themselves", fresh.len());
        add("REPLICA_SILENT", "", message, "one may have just started, or be of an older version".to_owned());
    }
    for report in fresh {
        for missing in &report.state.missing {
            let message = format!("{}: {}: {}", report.replica, missing.what, missing.reason);
            add("NOT_READY", &missing.what, message, missing.cure.clone());
        }
    }
    for source in &overview.sources {
        for row in &source.partitions {
            let Some(held) = &row.held else { continue };
            let message = format!("{}:{}{}: {}", row.topic, row.partition, since(held.since_ms, now), held.detail);
            let cure = format!("{} there; {}", waiting(row.lag, "record"), held.what_to_do);
            add("PARTITION_HELD", &source.source, message, cure);
        }
    }
    for row in &overview.destinations {
        let Some(held) = row.held.as_ref().filter(|held| is_problem(&held.reason)) else { continue };
        let message = format!("{}{}: {}", row.destination, since(held.since_ms, now), held.detail);
        let mut cure = format!("{}, nothing lost", waiting(row.waiting + row.in_tiers + row.in_queue, "event"));
        if let Some(next) = held.next_ms {
            let left = WallMs(next).since(now).as_secs();
            cure.push_str(&if left == 0 { ", being tried now".to_owned() } else { format!(", next try in {left} s") });
        }
        if !held.what_to_do.is_empty() {
            cure.push_str(&format!("; {}", held.what_to_do));
        }
        add("DESTINATION_HELD", &row.destination, message, cure);
    }
    for row in &overview.connections {
        let Some(trouble) = row.token.as_ref().and_then(|token| token.trouble.as_ref()) else { continue };
        let through = overview.destinations.iter().filter(|d| d.connection == row.connection);
        let count = through.map(|d| d.waiting + d.in_tiers + d.in_queue).sum();
        let cure = format!("{}, no attempts used", waiting(count, "event"));
        add(&trouble.code, &row.connection, format!("connection {}: {}", row.connection, trouble.message), cure);
    }
    problems
}

/// `1 event waits`, `1,204 events wait`.
fn waiting(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what} waits") } else { format!("{} {what}s wait", grouped(count)) }
}

/// What ends by itself within seconds under load is no problem.
fn is_problem(reason: &str) -> bool {
    !matches!(reason, "rate" | "overload" | "no_share")
}

/// ` is held since 11:02:03`, with the day if it was not today.
fn since(ms: Option<i64>, now: WallMs) -> String {
    ms.map_or_else(|| " is held".to_owned(), |ms| format!(" is held since {}", clock(ms, now)))
}
