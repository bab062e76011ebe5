//! `tidegate dlq redrive`: sends dead letters on their way again. It calls nobody: it writes each to a retry tier, due at
//! once, for the same target and under the same delivery id, and notes it in the ledger; whoever runs delivers it.

use super::desk::{Desk, Letter, Rules, State};
use super::filter::Filter;
use super::show::{self, Unsendable};
use crate::cli::outcomes::{Lines, Outcomes, reason};
use crate::cli::{Exit, Failure, Global, Output, output};
use crate::kafka::{Producer, SendError};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::units::{self, Rate};
use crate::pipeline::settle::{self, EventTrace};
use clap::Args;
use futures_util::future::try_join_all;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// A dead letter that came back so often is not sent again: something is wrong that another try does not mend.
const MAX_REDRIVES: u32 = 10;

/// The pace towards a destination without a limit, where none is given.
const DEFAULT_RATE: Rate = Rate { requests: 50, per: Duration::from_secs(1) };

/// Dead letters on their way at once.
const IN_FLIGHT: usize = 200;

/// Options of `dlq redrive`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Say what would be sent, and send nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Send.
    #[arg(long)]
    yes: bool,
    /// No faster than this, for each destination; by default its own limit, or 50/s.
    #[arg(long, value_parser = units::rate)]
    rate: Option<Rate>,
    /// Give up waiting for outcomes after so long without news.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    timeout: Duration,
}

/// Target, code and message of what cannot be sent.
type Refusal = (String, String, String);

/// What is to be done.
#[derive(Debug, Default)]
struct Plan {
    matched: usize,
    send: Vec<Letter>,
    /// Further dead letters of a delivery that is sent: they are settled with it.
    twins: Vec<Letter>,
    destinations: BTreeMap<String, Pace>,
    /// What cannot be sent, by target and reason.
    unsendable: BTreeMap<Refusal, usize>,
    already_delivered: usize,
}

/// How much goes to a destination, how fast.
#[derive(Debug)]
struct Pace {
    count: usize,
    rate: Rate,
}

/// What became of it, for programs.
#[derive(Debug, Serialize)]
struct Sum<'a> {
    matched: usize,
    renders: usize,
    unsendable: usize,
    already_delivered: usize,
    delivered: usize,
    dead_again: usize,
    pending: usize,
    dry_run: bool,
    destinations: Vec<&'a str>,
}

/// Redrives.
pub(super) async fn run(global: &Global, options: &Options, filter: &Filter) -> Result<(), Failure> {
    if !options.dry_run && !options.yes {
        let message = "this sends events again; see with --dry-run which, then say --yes";
        return Err(Failure::new(Exit::Usage, "REDRIVE_CONFIRM", message));
    }
    let desk = Desk::open(global, Rules::Needed).await?;
    let mut plan = Plan::make(&desk, filter, options.rate)?;
    if options.dry_run {
        return dry_run(global, &plan);
    }
    let mut outcomes = Outcomes::follow(&desk.kafka.client, &desk.names)?;
    let mut waiting = Waiting::default();
    send(&desk, &mut plan, &mut waiting).await?;
    let mut lines = Lines::default();
    while !waiting.open.is_empty() {
        let Some(trace) = outcomes.next(options.timeout).await? else { break };
        if waiting.take(&trace) && !global.quiet && trace.outcome != "delivered" {
            output::complain(&lines.line(&trace));
        }
    }
    outcomes.close().await;
    finish(global, options, &plan, &waiting)
}

impl Plan {
    fn make(desk: &Desk, filter: &Filter, rate: Option<Rate>) -> Result<Self, Failure> {
        let mut plan = Self::default();
        // What became of each delivery: sent, or counted there.
        let mut seen: HashMap<String, Option<Refusal>> = HashMap::new();
        // The newest first: of several dead letters of one delivery it knows best.
        for letter in desk.letters(filter, true)?.into_iter().rev() {
            match letter.state {
                State::Redriven => continue,
                State::Delivered => {
                    plan.already_delivered += 1;
                    continue;
                }
                State::Waiting => plan.matched += 1,
            }
            let id = letter.headers.delivery.as_ref().map(|address| address.delivery_id.clone());
            let refusal = match (id.as_ref().and_then(|id| seen.get(id)), sendable(desk, &letter)) {
                (Some(None), _) => {
                    plan.twins.push(letter);
                    continue;
                }
                (Some(Some(refusal)), _) => Some(refusal.clone()),
                (None, Err(Unsendable { code, message })) => Some((letter.target(), code, reason(&message))),
                (None, Ok(destination)) => {
                    let limit = || destination_rate(desk, &letter).unwrap_or(DEFAULT_RATE);
                    let pace = plan.destinations.entry(destination);
                    pace.or_insert_with(|| Pace { count: 0, rate: rate.unwrap_or_else(limit) }).count += 1;
                    plan.send.push(letter);
                    None
                }
            };
            if let Some(refusal) = &refusal {
                *plan.unsendable.entry(refusal.clone()).or_default() += 1;
            }
            seen.extend(id.map(|id| (id, refusal)));
        }
        // Sent in the order in which they died.
        plan.send.reverse();
        Ok(plan)
    }

    /// How long it takes at the pace of each destination, all at once; at least a second.
    fn seconds(&self) -> u64 {
        let each = self.destinations.values().map(|pace| {
            let nanos = pace.rate.per.as_nanos() / u128::from(pace.rate.requests.max(1));
            nanos.saturating_mul(u128::try_from(pace.count).unwrap_or(u128::MAX)).div_ceil(1_000_000_000)
        });
        u64::try_from(each.max().unwrap_or(0)).unwrap_or(u64::MAX).max(1)
    }

    fn unsendable(&self) -> usize {
        self.unsendable.values().sum()
    }
}

/// The destination that a dead letter goes to today.
fn sendable(desk: &Desk, letter: &Letter) -> Result<String, Unsendable> {
    if letter.headers.redrives >= MAX_REDRIVES {
        let message = format!("sent again {MAX_REDRIVES} times and died each time; left alone");
        return Err(Unsendable { code: "REDRIVE_LOOP".to_owned(), message });
    }
    if let Some(error) = show::today(desk, letter).error {
        return Err(error);
    }
    let target = target(desk, letter).map(|target| target.destination.resource().name.to_string());
    target.ok_or_else(|| Unsendable { code: "TARGET_GONE".to_owned(), message: "its target is gone".to_owned() })
}

fn target<'d>(desk: &'d Desk, letter: &Letter) -> Option<&'d crate::pipeline::snapshot::CompiledTarget> {
    let address = letter.headers.delivery.as_ref()?;
    desk.snapshot.as_ref()?.target(&address.rule, &address.target).map(AsRef::as_ref)
}

/// The strictest limit of the destination.
fn destination_rate(desk: &Desk, letter: &Letter) -> Option<Rate> {
    let limits = &target(desk, letter)?.destination.resource().rate_limits;
    limits.iter().map(|limit| limit.rate).min_by(|a, b| a.per_second().total_cmp(&b.per_second()))
}

fn dry_run(global: &Global, plan: &Plan) -> Result<(), Failure> {
    let verdict = if plan.unsendable.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::No)) };
    if matches!(global.output, Output::Json | Output::Jsonl) {
        output::print_json(&Sum::of(plan, &Waiting::default(), true))?;
        return verdict;
    }
    let renders = plan.send.len();
    let mut line = format!(
        "{} {}, {renders} {} with today's rule",
        plan.matched,
        if plan.matched == 1 { "matches" } else { "match" },
        if renders == 1 { "renders" } else { "render" },
    );
    if renders > 0 {
        let to = |(name, pace): (&String, &Pace)| format!("{name}, {}", shown(pace.rate));
        let to: Vec<_> = plan.destinations.iter().map(to).collect();
        line.push_str(&format!(" → {}, about {} s", to.join("; "), plan.seconds()));
    }
    output::print_line(&format!("{line}. Nothing sent."))?;
    if plan.already_delivered > 0 {
        output::print_line(&format!("{} more were delivered since", plan.already_delivered))?;
    }
    left(plan, output::print_line)?;
    verdict
}

/// What cannot be sent, and why.
fn left(plan: &Plan, mut say: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    if !plan.twins.is_empty() {
        say(&format!("{} more are of the same deliveries, which are sent once", plan.twins.len()))?;
    }
    for ((target, code, message), count) in &plan.unsendable {
        say(&format!("{count} not sent: {target}  {code}  {message}"))?;
    }
    Ok(())
}

/// A rate as it is written.
fn shown(rate: Rate) -> String {
    let per = match rate.per.as_secs() {
        1 => "s".to_owned(),
        60 => "min".to_owned(),
        3_600 => "h".to_owned(),
        86_400 => "d".to_owned(),
        _ => format!("{}s", rate.per.as_secs_f64()),
    };
    format!("{}/{per}", rate.requests)
}

/// Writes them at the pace of their destinations.
async fn send(desk: &Desk, plan: &mut Plan, waiting: &mut Waiting) -> Result<(), Failure> {
    let producer = Producer::connect(&desk.kafka.client)?;
    let begin = Monotonic::now();
    let mut turns: HashMap<String, u32> = HashMap::new();
    let mut due: Vec<(Monotonic, &Letter)> = Vec::new();
    for letter in &plan.send {
        let name =
            target(desk, letter).map(|target| target.destination.resource().name.to_string()).unwrap_or_default();
        let rate = plan.destinations.get(&name).map_or(DEFAULT_RATE, |pace| pace.rate);
        let turn = turns.entry(name).or_default();
        due.push((begin.plus((rate.per / rate.requests).saturating_mul(*turn)), letter));
        *turn = turn.saturating_add(1);
    }
    due.sort_by_key(|(at, _)| *at);
    let mut due = due.into_iter().peekable();
    while let Some((at, _)) = due.peek() {
        tokio::time::sleep_until(at.instant().into()).await;
        let now = Monotonic::now();
        let mut batch = Vec::new();
        while batch.len() < IN_FLIGHT {
            let Some((_, letter)) = due.next_if(|(at, _)| *at <= now) else { break };
            waiting.sent(letter);
            batch.push(write(desk, &producer, letter));
        }
        try_join_all(batch).await?;
    }
    // They are settled with the one that was sent.
    let sent: HashSet<&str> = waiting.open.keys().map(String::as_str).collect();
    let settled = plan.twins.iter().filter(|letter| {
        letter.headers.delivery.as_ref().is_some_and(|address| sent.contains(address.delivery_id.as_str()))
    });
    let now = WallMs::now();
    try_join_all(settled.map(|letter| note(desk, &producer, letter, now))).await?;
    Ok(())
}

/// First on its way, then into the ledger: a crash in between costs a duplicate, never the event.
async fn write(desk: &Desk, producer: &Producer, letter: &Letter) -> Result<(), Failure> {
    let Some(record) = &letter.record else { return Ok(()) };
    let now = WallMs::now();
    let redriven = settle::redrive_record(&desk.names, record, now)
        .map_err(|error| Failure::new(Exit::Internal, error.code(), error))?;
    producer.send(redriven).await.map_err(unwritten)?;
    note(desk, producer, letter, now).await
}

/// Into the ledger: it was sent on its way at `now`, before anything that came of it.
async fn note(desk: &Desk, producer: &Producer, letter: &Letter, now: WallMs) -> Result<(), Failure> {
    let event = letter.record.as_ref().and_then(|record| desk.event(record, &letter.headers));
    let trace = EventTrace::redriven(&letter.headers, event.as_ref(), &letter.position, now);
    producer.send(trace.record(&desk.names, now)).await.map_err(unwritten)?;
    Ok(())
}

fn unwritten(error: SendError) -> Failure {
    let exit = if matches!(error, SendError::Timeout { .. }) { Exit::Unreachable } else { Exit::Internal };
    let message = format!("{error}\n what was not written waits still; run the same command again");
    Failure::new(exit, error.code(), message)
}

/// The deliveries that are on their way, by id, with the number of the redrive, and how the others ended.
#[derive(Debug, Default)]
struct Waiting {
    open: HashMap<String, u32>,
    delivered: usize,
    dead_again: usize,
}

impl Waiting {
    fn sent(&mut self, letter: &Letter) {
        if let Some(address) = &letter.headers.delivery {
            self.open.insert(address.delivery_id.clone(), letter.headers.redrives.saturating_add(1));
        }
    }

    /// An outcome; true if it is one of ours.
    fn take(&mut self, trace: &EventTrace<'_>) -> bool {
        let Some(id) = trace.delivery_id.as_deref() else { return false };
        if self.open.get(id).is_none_or(|redrives| trace.redrives < *redrives) {
            return false;
        }
        match &*trace.outcome {
            "delivered" => self.delivered += 1,
            "dead_lettered" => self.dead_again += 1,
            "handed_off" => return trace.code.is_some(),
            _ => return false,
        }
        self.open.remove(id);
        true
    }
}

impl<'a> Sum<'a> {
    fn of(plan: &'a Plan, waiting: &Waiting, dry_run: bool) -> Self {
        Self {
            matched: plan.matched,
            renders: plan.send.len(),
            unsendable: plan.unsendable(),
            already_delivered: plan.already_delivered,
            delivered: waiting.delivered,
            dead_again: waiting.dead_again,
            pending: waiting.open.len(),
            dry_run,
            destinations: plan.destinations.keys().map(String::as_str).collect(),
        }
    }
}

fn finish(global: &Global, options: &Options, plan: &Plan, waiting: &Waiting) -> Result<(), Failure> {
    if matches!(global.output, Output::Json | Output::Jsonl) {
        output::print_json(&Sum::of(plan, waiting, false))?;
    } else {
        let mut line = format!(
            "delivered {} · dead again {} · already delivered {}",
            waiting.delivered, waiting.dead_again, plan.already_delivered
        );
        for (count, what) in [(plan.unsendable(), "not sent"), (waiting.open.len(), "on their way")] {
            if count > 0 {
                line.push_str(&format!(" · {what} {count}"));
            }
        }
        output::print_line(&line)?;
        left(plan, |line| {
            output::complain(line);
            Ok(())
        })?;
    }
    if !waiting.open.is_empty() {
        let message = format!(
            "{} without an outcome after {} s without news; is `tidegate run` or `dev` running?\n \
             they stay on their way; what dies again is a new dead letter in `tidegate dlq`",
            waiting.open.len(),
            options.timeout.as_secs_f64()
        );
        return Err(Failure::new(Exit::No, "OUTCOME_UNKNOWN", message));
    }
    if waiting.dead_again > 0 || !plan.unsendable.is_empty() { Err(Failure::silent(Exit::No)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_as_written() {
        for text in ["50/s", "50/min", "1000/h", "5000/d", "100/10s", "3/0.5s"] {
            assert_eq!(shown(units::rate(text).expect("a rate")), text);
        }
    }

    #[test]
    fn the_slowest_destination_decides_how_long_it_takes() {
        let pace = |count, rate| Pace { count, rate: units::rate(rate).expect("a rate") };
        let seconds = |paces: Vec<Pace>| {
            let destinations = (0..).map(|n: u32| n.to_string()).zip(paces).collect();
            Plan { destinations, ..Plan::default() }.seconds()
        };
        assert_eq!(seconds(vec![pace(1, "50/s")]), 1);
        assert_eq!(seconds(vec![pace(1, "50/min")]), 2);
        assert_eq!(seconds(vec![pace(1_000, "50/s"), pace(100, "1/s")]), 100);
    }

    #[test]
    fn an_outcome_counts_once_and_only_after_the_redrive() {
        let mut waiting = Waiting { open: HashMap::from([("a".to_owned(), 2)]), ..Waiting::default() };
        let trace = |id: &'static str, outcome: &'static str, redrives| EventTrace {
            delivery_id: Some(id.into()),
            outcome: outcome.into(),
            redrives,
            ..EventTrace::default()
        };
        assert!(!waiting.take(&trace("a", "dead_lettered", 1)), "of the redrive before");
        assert!(!waiting.take(&trace("b", "delivered", 2)), "another delivery");
        assert!(!waiting.take(&trace("a", "redriven", 2)), "the ledger");
        assert!(!waiting.take(&trace("a", "handed_off", 2)), "moved on in its tier");
        assert!(waiting.take(&trace("a", "delivered", 2)));
        assert!(!waiting.take(&trace("a", "delivered", 2)), "a duplicate");
        assert_eq!((waiting.delivered, waiting.dead_again, waiting.open.len()), (1, 0, 0));
    }
}
