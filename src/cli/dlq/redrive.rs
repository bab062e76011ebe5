//! `tidegate dlq redrive`: sends dead letters on their way again. It calls nobody: it writes each to a retry tier, due at
//! once, for the same target and under the same delivery id, and notes it in the ledger; whoever runs delivers it.
//!
//! For targets that keep the order of their events that order is given up: what is sent again comes when it comes.
//!
//! Stopped at any point, it is gone on with by `--resume`: what was sent stands in the ledger, or in the retry tier.

use super::again;
use super::book::{Asked, Book, Entry, State};
use super::clerk::Clerk;
use super::desk::{Desk, Letter, Rules};
use super::dry_run;
use super::filter::{self, Filter};
use super::job::Job;
use super::outcome::{Sum, Waiting};
use super::plan::{Meant, Plan};
use crate::cli::begun::{self, Begun, Found, NEWEST};
use crate::cli::outcomes::{Lines, Outcomes};
use crate::cli::progress::{Progress, done_of};
use crate::cli::{Exit, Failure, Global, Output, output};
use crate::kafka::SendError;
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::record::OutRecord;
use crate::model::resources::PatternLimits;
use crate::model::units::{self, Rate};
use crate::pipeline::settle::{Done, EventTrace, OWN_CLAIM};
use clap::Args;
use futures_util::future::join_all;
use std::pin::Pin;
use std::time::Duration;

/// Letters that are claimed and read at once.
const BATCH: usize = 500;

/// How long sending those may take, for a claim does not last for ever.
const HORIZON: Duration = Duration::from_secs(5);

/// Options of `dlq redrive`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these letters.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Say what would be sent, and send nothing; with -o wide, json or jsonl each request, secrets masked.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Send.
    #[arg(long)]
    yes: bool,
    /// No faster than this, for each destination; by default its own limit, or 50/s.
    #[arg(long, value_parser = units::rate)]
    rate: Option<Rate>,
    /// Go on with a redrive that was stopped: this one, or the newest.
    #[arg(long, value_name = "REDRIVE", num_args = 0..=1, default_missing_value = NEWEST, conflicts_with_all = ["ids", "force", "dry_run"])]
    resume: Option<String>,
    /// Also what came back three times; and letters that do not wait, if they are named.
    #[arg(long)]
    force: bool,
    /// Give up waiting for outcomes after so long without news.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    timeout: Duration,
}

/// Ends when somebody wants this to stop.
type Stop<'a> = Pin<&'a mut dyn Future<Output = std::io::Result<()>>>;

/// Redrives.
pub(super) async fn run(
    global: &Global,
    options: &Options,
    written: &filter::Options,
    mut filter: Filter,
    limits: PatternLimits,
) -> Result<(), Failure> {
    if !options.dry_run && !options.yes && options.resume.is_none() {
        let message = "this sends events again; see with --dry-run which, then say --yes";
        return Err(Failure::new(Exit::Usage, "REDRIVE_CONFIRM", message));
    }
    let desk = Desk::open(global, Rules::Needed).await?;
    let now = WallMs::now();
    if options.dry_run {
        let book = desk.book(&filter, &options.ids, asked(options.force))?;
        let meant = Meant { rate: options.rate, force: options.force, named: !options.ids.is_empty(), until: None };
        let plan = Plan::make(&desk, &book, None, &meant, now);
        plan.tell_order();
        return dry_run::run(global, &desk, &book, plan);
    }
    // What a redrive means is gone when its letters are.
    let Found { unfinished, old } = desk.read(|reader| begun::read::<Job>(reader, &desk.names, desk.retention, now))?;
    let begun = match &options.resume {
        Some(_) if *written != filter::Options::default() => {
            let message =
                "a redrive that is resumed keeps its filters; leave them out, or begin another without --resume";
            return Err(Failure::new(Exit::Usage, "USAGE", message));
        }
        Some(id) => {
            let begun = begun::find(unfinished, id)?;
            filter = Filter::new(&begun.job.filter, limits)?;
            begun
        }
        None => {
            begun::tell(global, &unfinished, now);
            let job = Job { filter: filter.lasting(written), ids: options.ids.clone(), force: options.force };
            Begun::new(job, options.rate, now)
        }
    };
    let clerk = Clerk::new(&desk, &begun.id)?;
    for one in &old {
        one.finish(&desk.names, clerk.producer()).await?;
    }
    let mut redrive = Redrive::begin(global, options, &desk, &clerk, begun, &filter).await?;
    let done = redrive.all(std::pin::pin!(tokio::signal::ctrl_c())).await;
    redrive.end(done).await
}

fn too_slow() -> Failure {
    let message = "Kafka takes longer to note that a letter is about to be sent than that may be relied on";
    Failure::new(Exit::Unreachable, "REDRIVE_SLOW", message)
}

fn asked(force: bool) -> Asked {
    if force { Asked::All } else { Asked::Waiting }
}

/// A redrive under way.
struct Redrive<'a> {
    global: &'a Global,
    options: &'a Options,
    desk: &'a Desk,
    clerk: &'a Clerk<'a>,
    begun: Begun<Job>,
    book: Book,
    plan: Plan,
    outcomes: Outcomes,
    waiting: Waiting,
    progress: Progress,
    /// Everybody knows that it has begun, and must learn that it is done.
    saved: bool,
    /// Letters that are claimed at once: fewer where Kafka is slow.
    batch: usize,
    sent: usize,
    /// What was sent before this was gone on with, and not marked.
    sent_before: usize,
}

/// A letter on its way.
struct Ready<'l> {
    index: usize,
    letter: &'l Letter,
    destination: String,
    event: CloudEvent,
    record: OutRecord,
}

impl<'a> Redrive<'a> {
    /// Finds out what is to be done, and lets everybody know.
    async fn begin(
        global: &'a Global,
        options: &'a Options,
        desk: &'a Desk,
        clerk: &'a Clerk<'a>,
        begun: Begun<Job>,
        filter: &Filter,
    ) -> Result<Self, Failure> {
        let rate = options.rate.or_else(|| begun.rate());
        let until = options.resume.as_ref().map(|_| begun.at());
        let meant = Meant { rate, force: begun.job.force, named: !begun.job.ids.is_empty(), until };
        let mut book = desk.book(filter, &begun.job.ids, asked(begun.job.force))?;
        let mut now = WallMs::now();
        if options.resume.is_some() {
            // The process that was stopped may still be at it, a moment longer.
            let own = |entry: &&Entry| {
                let mark = entry.mark.as_ref().filter(|mark| mark.redrive() == begun.id);
                mark.is_some() && clerk.is_busy(entry, now)
            };
            let count = book.entries.iter().filter(own).count();
            if count > 0 {
                let seconds = OWN_CLAIM.as_secs();
                output::complain(&format!(
                    "{count} were about to be sent when it was stopped; waiting {seconds} s to be sure that it was"
                ));
                tokio::time::sleep(OWN_CLAIM).await;
                book = desk.book(filter, &begun.job.ids, asked(begun.job.force))?;
                now = WallMs::now();
            }
        }
        let uncertain = |(index, entry): (usize, &Entry)| {
            (entry.state() == State::Waiting && clerk.is_uncertain(entry, now)).then_some(index)
        };
        let uncertain: Vec<usize> = book.entries.iter().enumerate().filter_map(uncertain).collect();
        let sent_before = clerk.find_sent(&mut book, &uncertain).await?;
        let plan = Plan::make(desk, &book, Some(clerk), &meant, now);
        plan.tell_order();
        let outcomes = Outcomes::follow(&desk.kafka.client, &desk.names)?;
        let sends = plan.send.len() > 0;
        if sends {
            begun.save(&desk.names, clerk.producer()).await?;
        }
        Ok(Self {
            global,
            options,
            desk,
            clerk,
            begun,
            book,
            plan,
            outcomes,
            waiting: Waiting::default(),
            progress: Progress::new(global.quiet, Monotonic::now()),
            saved: sends || options.resume.is_some(),
            batch: BATCH,
            sent: 0,
            sent_before,
        })
    }

    /// Sends everything.
    async fn all(&mut self, mut stop: Stop<'_>) -> Result<(), Failure> {
        let (begin, total) = (Monotonic::now(), self.plan.send.len());
        while let Some(at) = self.plan.send.next() {
            self.sleep(at, &mut stop).await?;
            let taken = self.plan.send.take(Monotonic::now(), HORIZON, self.batch);
            self.batch(taken, &mut stop).await?;
            while let Some(trace) = self.outcomes.ready()? {
                self.waiting.take(&trace);
            }
            let (done, delivered) = (total - self.plan.send.len(), self.waiting.delivered);
            let now = Monotonic::now();
            self.progress.tell(now, || {
                format!("{} · {delivered} delivered, redrive {}", done_of(done, total, now.since(begin)), self.begun.id)
            });
        }
        Ok(())
    }

    /// Until then, or until somebody wants it to stop.
    async fn sleep(&mut self, until: Monotonic, stop: &mut Stop<'_>) -> Result<(), Failure> {
        tokio::select! {
            biased;
            _ = stop => Err(Failure::new(Exit::No, "REDRIVE_STOPPED", format!("stopped after {} were sent", self.sent))),
            () = tokio::time::sleep_until(until.instant().into()) => Ok(()),
        }
    }

    /// Reads, checks, claims and sends these.
    async fn batch(&mut self, taken: Vec<(String, usize)>, stop: &mut Stop<'_>) -> Result<(), Failure> {
        let entries: Vec<&Entry> = taken.iter().filter_map(|(_, index)| self.book.entries.get(*index)).collect();
        let letters = self.desk.letters(&self.book, &entries)?;
        let mut ready = Vec::new();
        for (destination, index) in taken {
            let place = self.book.entries.get(index).map(|entry| self.book.position(entry));
            let letter = letters.iter().find(|letter| Some(&letter.position) == place.as_ref());
            // Kafka has deleted it in the meantime.
            let Some(letter) = letter else {
                let gone = again::Unsendable::new("DLQ_NO_LETTER", "it is gone, by the retention of its topic");
                self.plan.refuse_with_twins(&self.book, index, &gone);
                continue;
            };
            let made = again::check(self.desk, letter).and_then(|again| {
                let record = again.record(self.desk, letter, WallMs::now());
                let record = record.map_err(|error| again::Unsendable::new(error.code(), error.to_string()))?;
                Ok(Ready { index, letter, destination, event: again.event, record })
            });
            match made {
                Ok(one) => ready.push(one),
                Err(refusal) => self.plan.refuse_with_twins(&self.book, index, &refusal),
            }
        }
        let indices: Vec<usize> = ready.iter().map(|one| one.index).collect();
        let claims = self.clerk.claim(&mut self.book, &indices, self.begun.job.force).await?;
        self.plan.busy += ready.len() - claims.won.len();
        ready.retain(|one| claims.won.contains(&one.index));
        let now = Monotonic::now();
        let mut turns: Vec<(Monotonic, Ready<'_>)> =
            ready.into_iter().map(|one| (self.plan.send.turn(&one.destination, now), one)).collect();
        turns.sort_by_key(|(at, _)| *at);
        let mut turns = turns.into_iter().peekable();
        while let Some((at, _)) = turns.peek() {
            let stopped = self.sleep(*at, stop).await;
            let now = Monotonic::now();
            if stopped.is_err() || !claims.hold(now) {
                let slow = self.batch == 1;
                self.batch = (self.batch / 2).max(1);
                let stopped = stopped.and_then(|()| if slow { Err(too_slow()) } else { Ok(()) });
                return self.release(turns.map(|(_, one)| one).collect(), stopped).await;
            }
            let mut group = Vec::new();
            while let Some((_, one)) = turns.next_if(|(at, _)| *at <= now) {
                group.push(one);
            }
            self.send(group).await?;
        }
        Ok(())
    }

    /// What was claimed and is not sent now: it waits again, for later, or for somebody else.
    async fn release(&mut self, rest: Vec<Ready<'_>>, stopped: Result<(), Failure>) -> Result<(), Failure> {
        for one in rest {
            self.clerk.note(&one.letter.position, Done::Released, None).await?;
            if let Some(entry) = self.book.entries.get_mut(one.index) {
                entry.mark = None;
            }
            let rate = self.plan.send.paces().find(|(name, _)| *name == one.destination).map(|(_, rate)| rate);
            if let Some(rate) = rate {
                self.plan.send.add(&one.destination, rate, one.index);
            }
        }
        stopped
    }

    /// Sends these at once; all of them are tried, whatever becomes of the first.
    async fn send(&mut self, group: Vec<Ready<'_>>) -> Result<(), Failure> {
        for one in &group {
            self.waiting.sent(one.letter);
        }
        let sent = join_all(group.into_iter().map(|one| self.write(one))).await;
        let mut failed = Ok(());
        for (index, result) in sent {
            match result {
                Ok(()) => self.sent += 1,
                Err(SendError::TooLarge { topic, size_bytes }) => {
                    let entry = self.book.entries.get(index);
                    if let Some(id) = entry.and_then(|entry| entry.delivery) {
                        self.waiting.forget(id);
                    }
                    let error = SendError::TooLarge { topic, size_bytes };
                    let refusal = again::Unsendable::new(error.code(), error.to_string());
                    self.plan.refuse_with_twins(&self.book, index, &refusal);
                }
                Err(error) => failed = Err(error.into()),
            }
        }
        failed
    }

    /// First on its way, then into the ledger.
    async fn write(&self, one: Ready<'_>) -> (usize, Result<(), SendError>) {
        let Ready { index, letter, event, record, .. } = one;
        let producer = self.clerk.producer();
        let now = WallMs::now();
        if let Err(error) = producer.send(record).await {
            if matches!(error, SendError::TooLarge { .. }) {
                // A claim that stays runs out by itself.
                drop(self.clerk.note(&letter.position, Done::Released, None).await);
            }
            return (index, Err(error));
        }
        let trace = EventTrace::redriven(&letter.headers, Some(&event), &letter.position, now);
        let twins = self.plan.twins.get(&index).into_iter().flatten();
        let places = twins.filter_map(|twin| self.book.entries.get(*twin)).map(|entry| self.book.position(entry));
        let places: Vec<_> = places.chain([letter.position.clone()]).collect();
        let marks = join_all(places.iter().map(|place| self.clerk.note(place, Done::Redriven, None)));
        let (marks, traced) =
            futures_util::future::join(marks, producer.send(trace.record(&self.desk.names, now))).await;
        if let Some(failure) = marks.into_iter().find_map(Result::err) {
            // It is found in the tier by whoever goes on with this.
            tracing::warn!(letter = %letter.position, error = failure.message, "sent, but not noted in the ledger");
        }
        (index, traced.map(drop))
    }

    /// Waits for the outcomes, and tells what became of all.
    async fn end(mut self, done: Result<(), Failure>) -> Result<(), Failure> {
        self.progress.clear();
        if let Err(failure) = done {
            self.outcomes.close().await;
            let Failure { code, message } = failure;
            let cure = format!("go on with: {}", self.begun.cure());
            return Err(Failure { code, message: format!("{message}\n {cure}") });
        }
        if self.saved {
            self.begun.finish(&self.desk.names, self.clerk.producer()).await?;
        }
        let mut lines = Lines::default();
        let total = self.waiting.open.len();
        while !self.waiting.open.is_empty() {
            // Whoever has seen enough may go; what is on its way arrives without him.
            let next = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => None,
                next = self.outcomes.next(self.options.timeout) => next?,
            };
            let Some(trace) = next else { break };
            if self.waiting.take(&trace) && !self.global.quiet && trace.outcome != "delivered" {
                self.progress.clear();
                output::complain(&lines.line(&trace));
            }
            let left = self.waiting.open.len();
            self.progress.tell(Monotonic::now(), || format!("all sent; {left} of {total} outcomes are still to come"));
        }
        self.progress.clear();
        self.outcomes.close().await;
        let sum = Sum::of(&self.plan, &self.waiting, &self.begun.id, self.sent, self.sent_before);
        if matches!(self.global.output, Output::Json | Output::Jsonl) {
            output::print_json(&sum)?;
        } else {
            sum.print(&self.plan)?;
        }
        self.waiting.verdict(&self.plan, self.options.timeout)
    }
}
