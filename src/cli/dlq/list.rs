//! `tidegate dlq list`: what waits.

use super::desk::{Desk, EventName, Letter, State};
use super::filter::Filter;
use crate::cli::outcomes::reason;
use crate::cli::{Failure, Global, Output, output};
use crate::model::clock::WallMs;
use serde::Serialize;
use std::collections::BTreeMap;

/// A dead letter for programs.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    pub(super) id: String,
    topic: &'a str,
    partition: i32,
    offset: i64,
    at: Option<String>,
    state: State,
    event: Option<&'a EventName>,
    rule: Option<&'a str>,
    target: Option<&'a str>,
    destination: Option<&'a str>,
    delivery_id: Option<&'a str>,
    code: Option<&'a str>,
    class: Option<&'a str>,
    status: Option<u16>,
    message: Option<&'a str>,
    response: Option<&'a str>,
    exhausted: Option<&'a str>,
    attempts: u32,
    redrives: u32,
    origin: String,
    #[serde(skip)]
    age: String,
}

impl<'a> Row<'a> {
    pub(super) fn of(desk: &Desk, letter: &'a Letter, now: WallMs) -> Self {
        let headers = &letter.headers;
        let address = headers.delivery.as_ref();
        Self {
            id: desk.id(&letter.position),
            topic: &letter.position.topic,
            partition: letter.position.partition,
            offset: letter.position.offset,
            at: letter.at.map(WallMs::rfc3339),
            state: letter.state,
            event: letter.event.as_ref(),
            rule: address.map(|a| a.rule.as_str()),
            target: address.map(|a| a.target.as_str()),
            destination: address.map(|a| a.destination.as_str()),
            delivery_id: address.map(|a| a.delivery_id.as_str()),
            code: headers.code.as_deref(),
            class: headers.class.as_deref(),
            status: headers.http_status,
            message: headers.message.as_deref(),
            response: headers.response.as_deref(),
            exhausted: headers.exhausted.as_deref(),
            attempts: headers.attempts,
            redrives: headers.redrives,
            origin: headers.origin.to_string(),
            age: letter.age(now),
        }
    }

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let text = |text: Option<&str>| text.map_or_else(dash, str::to_owned);
        let target = match (self.rule, self.target) {
            (Some(rule), Some(target)) => format!("{rule}/{target}"),
            _ => dash(),
        };
        vec![
            self.id.clone(),
            target,
            text(self.code),
            self.status.map_or_else(dash, |status| status.to_string()),
            self.age.clone(),
            self.attempts.to_string(),
            self.redrives.to_string(),
            self.event.map_or_else(dash, |event| event.kind.clone()),
            self.event.map_or_else(dash, |event| event.id.clone()),
            self.origin.clone(),
            text(self.message.map(reason).as_deref()),
        ]
    }
}

const COLUMNS: [&str; 11] =
    ["ID", "TARGET", "CODE", "STATUS", "AGE", "ATTEMPTS", "REDRIVES", "TYPE", "EVENT", "ORIGIN", "REASON"];

/// Dead letters of one target that died of the same.
#[derive(Debug, Serialize)]
struct Group {
    target: String,
    code: String,
    waiting: usize,
    oldest: String,
    reason: String,
}

/// Lists.
pub(super) fn run(global: &Global, desk: &Desk, filter: &Filter) -> Result<(), Failure> {
    let mut letters = desk.letters(filter, false)?;
    letters.retain(|letter| letter.state == State::Waiting);
    let now = WallMs::now();
    if global.output != Output::Table {
        let rows: Vec<Row<'_>> = letters.iter().map(|letter| Row::of(desk, letter, now)).collect();
        return Ok(output::print_rows(global.output, &rows, &COLUMNS, Row::cells)?);
    }
    if letters.is_empty() {
        if !global.quiet {
            output::complain("no dead letters wait");
        }
        return Ok(());
    }
    let columns = ["TARGET", "CODE", "WAITING", "OLDEST", "REASON"];
    Ok(output::print_rows(global.output, &groups(&letters, now), &columns, |group| {
        let Group { target, code, waiting, oldest, reason } = group;
        vec![target.clone(), code.clone(), waiting.to_string(), oldest.clone(), reason.clone()]
    })?)
}

/// By target and code, the largest first; the reason is the newest one's.
fn groups(letters: &[Letter], now: WallMs) -> Vec<Group> {
    let mut groups: BTreeMap<(String, &str), Group> = BTreeMap::new();
    for letter in letters {
        let code = letter.headers.code.as_deref().unwrap_or("-");
        let target = letter.target();
        let group = groups.entry((target.clone(), code)).or_insert_with(|| Group {
            target,
            code: code.to_owned(),
            waiting: 0,
            oldest: letter.age(now),
            reason: String::new(),
        });
        group.waiting += 1;
        group.reason = letter.headers.message.as_deref().map(reason).unwrap_or_default();
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| b.waiting.cmp(&a.waiting).then_with(|| a.target.cmp(&b.target)));
    groups
}
