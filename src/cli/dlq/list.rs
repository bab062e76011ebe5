//! `tidegate dlq list`: what waits.

use super::book::{Asked, Book, Entry, State};
use super::desk::{Desk, EventName, Letter, age_of};
use super::filter::Filter;
use crate::cli::outcomes::reason;
use crate::cli::{Failure, Global, Output, output};
use crate::model::clock::WallMs;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::BTreeMap;

/// Letters whose contents are in memory at once.
pub(super) const CHUNK: usize = 500;

/// Options of `dlq list`.
#[derive(Debug, Default, Args)]
pub(super) struct Options {
    /// How it stands with them: waiting (the default), redriven, delivered, discarded, all.
    #[arg(long, value_enum, hide_possible_values = true, value_name = "STATE")]
    state: Option<Wanted>,
}

/// Which states are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted(Option<State>);

impl Wanted {
    /// Those that wait.
    pub(super) const WAITING: Self = Self(Some(State::Waiting));

    /// What must be asked to know.
    pub(super) fn asked(self) -> Asked {
        if self.0 == Some(State::Waiting) { Asked::Waiting } else { Asked::All }
    }

    /// Those letters, oldest first.
    pub(super) fn of(self, book: &Book) -> Vec<&Entry> {
        book.entries.iter().filter(|entry| self.0.is_none_or(|state| entry.state() == state)).collect()
    }
}

impl ValueEnum for Wanted {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::WAITING,
            Self(Some(State::Redriven)),
            Self(Some(State::Delivered)),
            Self(Some(State::Discarded)),
            Self(None),
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.map_or("all", State::as_str)))
    }
}

/// A dead letter for programs.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    pub(super) id: String,
    topic: &'a str,
    partition: i32,
    offset: i64,
    at: Option<String>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<Marked<'a>>,
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

/// What was done with it last.
#[derive(Debug, Serialize)]
struct Marked<'a> {
    at: String,
    by: &'a str,
    redrive: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
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
            mark: letter.mark.as_ref().map(|mark| Marked {
                at: mark.at.rfc3339(),
                by: &mark.by,
                redrive: mark.redrive(),
                reason: mark.reason.as_deref(),
            }),
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
            self.state.as_str().to_owned(),
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

const COLUMNS: [&str; 12] =
    ["ID", "STATE", "TARGET", "CODE", "STATUS", "AGE", "ATTEMPTS", "REDRIVES", "TYPE", "EVENT", "ORIGIN", "REASON"];

/// Dead letters of one target that died of the same.
#[derive(Debug)]
struct Group<'a> {
    state: State,
    target: String,
    code: String,
    count: usize,
    oldest: String,
    newest: &'a Entry,
}

/// Lists.
pub(super) fn run(global: &Global, desk: &Desk, filter: &Filter, options: &Options) -> Result<(), Failure> {
    let wanted = options.state.unwrap_or(Wanted::WAITING);
    let book = desk.book(filter, &[], wanted.asked())?;
    let entries = wanted.of(&book);
    let now = WallMs::now();
    if global.output == Output::Jsonl {
        for chunk in entries.chunks(CHUNK) {
            for letter in &desk.letters(&book, chunk)? {
                output::print_json(&Row::of(desk, letter, now))?;
            }
        }
        return Ok(());
    }
    if global.output != Output::Table {
        let letters = desk.letters(&book, &entries)?;
        let rows: Vec<Row<'_>> = letters.iter().map(|letter| Row::of(desk, letter, now)).collect();
        return Ok(output::print_rows(global.output, &rows, &COLUMNS, Row::cells)?);
    }
    if entries.is_empty() {
        if !global.quiet {
            output::complain(&match wanted.0 {
                Some(State::Waiting) => "no dead letters wait".to_owned(),
                Some(state) => format!("no dead letters are {}", state.as_str()),
                None => "there are no dead letters".to_owned(),
            });
        }
        return Ok(());
    }
    table(desk, &book, &entries, wanted, now)
}

fn table(desk: &Desk, book: &Book, entries: &[&Entry], wanted: Wanted, now: WallMs) -> Result<(), Failure> {
    let groups = groups(book, entries, now);
    let newest: Vec<&Entry> = groups.iter().map(|group| group.newest).collect();
    let letters = desk.letters(book, &newest)?;
    let reason_of = |entry: &Entry| {
        let position = book.position(entry);
        let letter = letters.iter().find(|letter| letter.position == position);
        letter.and_then(|letter| letter.headers.message.as_deref()).map(reason).unwrap_or_default()
    };
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|group| {
            let Group { target, code, count, oldest, newest, .. } = group;
            let mut cells = vec![target.clone(), code.clone(), count.to_string(), oldest.clone(), reason_of(newest)];
            if wanted.0.is_none() {
                cells.insert(0, group.state.as_str().to_owned());
            }
            cells
        })
        .collect();
    let count = wanted.0.map_or("COUNT", |state| state.as_str()).to_uppercase();
    let mut columns = vec!["TARGET", "CODE", &count, "OLDEST", "REASON"];
    if wanted.0.is_none() {
        columns.insert(0, "STATE");
    }
    Ok(output::print_rows(Output::Table, &rows, &columns, Vec::clone)?)
}

/// By state, target and code, the largest first.
fn groups<'a>(book: &Book, entries: &[&'a Entry], now: WallMs) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(State, String, String), Group<'a>> = BTreeMap::new();
    for &entry in entries {
        let kind = book.kind(entry);
        let target = kind.map_or_else(|| "-".to_owned(), super::book::Kind::target);
        let code = kind.map(|kind| kind.code.clone()).filter(|code| !code.is_empty());
        let (state, code) = (entry.state(), code.unwrap_or_else(|| "-".to_owned()));
        let group = groups.entry((state, target.clone(), code.clone())).or_insert_with(|| Group {
            state,
            target,
            code,
            count: 0,
            oldest: age_of(entry.at, now),
            newest: entry,
        });
        group.count += 1;
        group.newest = entry;
    }
    let mut groups: Vec<Group<'a>> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        a.state.cmp(&b.state).then_with(|| b.count.cmp(&a.count)).then_with(|| a.target.cmp(&b.target))
    });
    groups
}
