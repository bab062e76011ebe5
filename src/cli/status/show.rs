//! The state of affairs as people read it.

use super::overview::{ConnectionRow, DestinationRow, Overview, PartitionRow, Reading, ReplicaRow, SourceRow, TierRow};
use crate::cli::output::grouped;
use crate::cli::since::{ago, clock};
use crate::cli::{Output, output};
use crate::model::clock::WallMs;
use crate::model::stored::PARTS;
use std::io;

/// Prints tables, then what keeps something from flowing. `details`: one thing was asked for.
pub(super) fn print(overview: &Overview, format: Output, details: bool, now: WallMs) -> io::Result<()> {
    let wide = format == Output::Wide;
    let mut first = true;
    let mut gap = |filled: bool| -> io::Result<()> {
        if filled && !std::mem::take(&mut first) { output::print_line("") } else { Ok(()) }
    };
    if !details {
        gap(!overview.replicas.is_empty())?;
        replicas(&overview.replicas, format, wide, now)?;
    }
    gap(!overview.sources.is_empty())?;
    sources(&overview.sources, format)?;
    if details || wide {
        for source in &overview.sources {
            gap(true)?;
            partitions(source, format)?;
        }
    }
    gap(!overview.destinations.is_empty())?;
    destinations(&overview.destinations, format, now)?;
    if details || wide {
        for destination in overview.destinations.iter().filter(|destination| !destination.replicas.is_empty()) {
            gap(true)?;
            parts(destination, format)?;
        }
    }
    let shown: Vec<&ConnectionRow> =
        overview.connections.iter().filter(|c| details || c.token.is_some() || !c.rate_limits.is_empty()).collect();
    gap(!shown.is_empty())?;
    connections(&shown, format)?;
    let waiting: Vec<&TierRow> = overview.tiers.iter().filter(|tier| wide || tier.waiting > 0).collect();
    gap(!waiting.is_empty())?;
    tiers(&waiting, format, now)?;
    let dead = &overview.dead_letters;
    if dead.waiting > 0 {
        gap(true)?;
        let (letters, wait) = if dead.waiting == 1 { ("letter", "waits") } else { ("letters", "wait") };
        let oldest = dead.oldest.as_deref().and_then(WallMs::parse_rfc3339);
        let oldest = oldest.map_or_else(String::new, |at| format!(", the oldest for {}", ago(at.0, now)));
        output::print_line(&format!("{} dead {letters} {wait}{oldest}: tidegate dlq", dead.waiting))?;
    }
    if !overview.problems.is_empty() {
        gap(true)?;
    }
    for problem in &overview.problems {
        output::print_line(&format!("warn[{}]: {}\n {}", problem.code, problem.message, problem.cure))?;
    }
    Ok(())
}

fn table<T: serde::Serialize>(
    rows: &[T],
    format: Output,
    columns: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    if rows.is_empty() { Ok(()) } else { output::print_rows(format, rows, columns, cells) }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn replicas(rows: &[ReplicaRow], format: Output, wide: bool, now: WallMs) -> io::Result<()> {
    let mut columns = vec!["REPLICA", "VERSION", "UP", "SLOTS", "PARTITIONS", "HEARD"];
    if wide {
        columns.extend(["HOST", "MEMORY", "TRACED"]);
    }
    table(rows, format, &columns, |row| {
        let partitions = row.partitions.iter().map(|(source, count)| format!("{source} {count}"));
        let heard = format!("{} ago", ago(row.heard_ms, now));
        let mut cells = vec![
            row.replica.clone(),
            row.version.clone(),
            ago(row.started_ms, now),
            format!("{}/32", row.slots),
            dash(partitions.collect::<Vec<_>>().join(", ")),
            if row.stale { format!("{heard}, silent") } else { heard },
        ];
        if wide {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            cells.push(row.host.clone());
            cells.push(format!("{}/{} MiB", mib(row.memory_used_bytes), mib(row.memory_budget_bytes)));
            cells.push(row.traced.clone());
        }
        cells
    })
}

fn sources(rows: &[SourceRow], format: Output) -> io::Result<()> {
    table(rows, format, &["SOURCE", "GROUP", "PARTITIONS", "READ BY", "LAG"], |row| {
        let held = row.partitions.iter().filter(|partition| partition.held.is_some()).count();
        let held = if held == 0 { String::new() } else { format!(", {held} held") };
        vec![
            row.source.clone(),
            row.group.clone(),
            format!("{}{held}", row.partitions.len()),
            read_by(row.reading),
            grouped(row.lag),
        ]
    })
}

/// What ends by itself within seconds must not look like a fault.
pub(super) fn read_by(reading: Reading) -> String {
    let count = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    match reading {
        Reading::Replicas(readers) => count(readers, "replica"),
        Reading::Joining(members) => format!("{} joining", count(members, "member")),
        Reading::Assigning(members) => format!("{}, being assigned", count(members, "member")),
        Reading::Untold(members) => format!("{}, not told of yet", count(members, "member")),
        Reading::Nobody => "nobody".to_owned(),
    }
}

fn partitions(source: &SourceRow, format: Output) -> io::Result<()> {
    table(
        &source.partitions,
        format,
        &["PARTITION", "COMMITTED", "END", "LAG", "REPLICA", "HELD"],
        |row: &PartitionRow| {
            vec![
                format!("{}:{}", row.topic, row.partition),
                row.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
                row.end.to_string(),
                grouped(row.lag),
                row.replica.clone().unwrap_or_else(|| "-".to_owned()),
                row.held.as_ref().map_or_else(|| "-".to_owned(), |held| held.reason.clone()),
            ]
        },
    )
}

fn destinations(rows: &[DestinationRow], format: Output, now: WallMs) -> io::Result<()> {
    let columns = ["DESTINATION", "STATE", "WAITING", "IN TIERS", "IN QUEUE", "IN FLIGHT", "RATE", "SHARE"];
    table(rows, format, &columns, |row| {
        vec![
            row.destination.clone(),
            state(row, now),
            grouped(row.waiting),
            grouped(row.in_tiers),
            grouped(row.in_queue),
            format!("{}/{}", row.in_flight, row.concurrency_limit),
            dash(row.rate_limits.join(", ")),
            share(row.share, &row.rate_limits),
        ]
    })
}

/// The part of the limits that somebody may use; of no interest without a limit.
fn share(parts: u32, limits: &[String]) -> String {
    if limits.is_empty() { "-".to_owned() } else { format!("{} %", (parts * 100).div_ceil(u32::from(PARTS))) }
}

/// In a few words.
fn state(row: &DestinationRow, now: WallMs) -> String {
    let Some(held) = &row.held else { return "ok".to_owned() };
    let since = held.since_ms.map_or_else(String::new, |ms| format!(" since {}", clock(ms, now)));
    let left = held.next_ms.map(|next| WallMs(next).since(now).as_secs()).filter(|left| *left > 0);
    let left = left.map_or_else(String::new, |left| format!(", next in {left} s"));
    match held.reason.as_str() {
        "rate" => "ok, at its rate".to_owned(),
        "no_share" => "ok, no slots yet".to_owned(),
        "overload" => format!("pause{left}"),
        reason => format!("{reason}{since}{left}"),
    }
}

fn parts(row: &DestinationRow, format: Output) -> io::Result<()> {
    let columns = ["REPLICA", "STATE", "WAITING", "IN FLIGHT", "SHARE"];
    table(&row.replicas, format, &columns, |part| {
        vec![
            part.replica.clone(),
            part.held.clone().unwrap_or_else(|| "ok".to_owned()),
            grouped(part.waiting),
            format!("{}/{}", part.in_flight, part.concurrency_limit),
            share(u32::from(part.share), &row.rate_limits),
        ]
    })
}

fn connections(rows: &[&ConnectionRow], format: Output) -> io::Result<()> {
    table(rows, format, &["CONNECTION", "RATE", "SHARE", "TOKEN"], |row| {
        let token = row.token.as_ref().map_or_else(String::new, |token| {
            let left = token.expires_in_ms.map_or_else(String::new, |ms| format!(", {} s left", ms / 1_000));
            format!("{}{left}", token.state)
        });
        vec![row.connection.clone(), dash(row.rate_limits.join(", ")), share(row.share, &row.rate_limits), dash(token)]
    })
}

fn tiers(rows: &[&TierRow], format: Output, now: WallMs) -> io::Result<()> {
    table(rows, format, &["RETRY TIER", "WAITING", "OLDEST", "FOR"], |row| {
        let whose = row.by_destination.iter().map(|(destination, count)| format!("{destination} {count}"));
        vec![
            row.tier.clone(),
            grouped(row.waiting),
            row.oldest_at.map_or_else(|| "-".to_owned(), |at| ago(at.0, now)),
            dash(whose.collect::<Vec<_>>().join(", ")),
        ]
    })
}
