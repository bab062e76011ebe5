//! `tidegate replay`: events that are past, once more for one rule. It reads them where they stand, without joining a group
//! or moving its offsets, asks the rule as it is today, and writes for each target a record to the retry tier, due at
//! once, under the delivery id that the event has always had; whoever runs delivers it.
//!
//! Receivers may see events again that they have had: only they can tell, by the idempotency key.
//!
//! Stopped at any point, it is gone on with by `--resume`, from where it had come to; by one process at a time.

mod claim;
mod job;
mod range;
mod records;

use super::begun::{self, Begun, Found, NEWEST};
use super::dry_run::{Request, show};
use super::pace::{self, Turns};
use super::progress::{Progress, done_of};
use super::tools::{Kafka, Tool, Use};
use super::{Exit, Failure, Global, Output, output, since};
use crate::json::document::Document;
use crate::kafka::{self, Producer, Reader};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::event::CloudEvent;
use crate::model::name::Name;
use crate::model::record::{OutRecord, Position, Record};
use crate::model::resources::{Rule, Source};
use crate::model::stored::{Address, StoredHeaders, Topics, VALUE_SHA256, delivery_id};
use crate::model::units::{self, Rate};
use crate::pattern::{self, Pattern};
use crate::pipeline::decode;
use crate::pipeline::explain;
use crate::pipeline::settle;
use crate::pipeline::snapshot::{CompiledRule, CompiledTarget, Snapshot};
use claim::Claim;
use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use job::{Job, REMEMBERED};
use range::Span;
use records::Records;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Records on their way to Kafka at once.
const IN_FLIGHT: usize = 200;

/// How often it is noted how far it has come.
const NOTED: Duration = Duration::from_secs(5);

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Options {
    /// The rule.
    #[arg(value_name = "RULE", required_unless_present = "resume")]
    rule: Option<String>,
    /// Events since then: 2h ago, or 2026-01-02T03:04:05Z; by default the oldest there is.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Events before then; by default now.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The event at this place, or the one whose dead letter stands there; may be given several times.
    #[arg(long, value_name = "TOPIC:PARTITION:OFFSET", conflicts_with_all = ["from", "to"])]
    at: Vec<Position>,
    /// This target of the rule only; may be given several times.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// No faster than this, for each destination; by default its own limit, or 50/s.
    #[arg(long, value_parser = units::rate)]
    rate: Option<Rate>,
    /// Say what would be written, and write nothing; with -o wide or jsonl each request, secrets masked.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Write.
    #[arg(long)]
    yes: bool,
    /// Go on with a replay that was stopped: this one, or the newest.
    #[arg(long, value_name = "REPLAY", num_args = 0..=1, default_missing_value = NEWEST, conflicts_with_all = ["rule", "from", "to", "at", "target", "dry_run"])]
    resume: Option<String>,
}

/// What became of it, for programs.
#[derive(Debug, Default, Serialize)]
struct Sum {
    /// Events of the range.
    read: usize,
    /// Events that the rule wants today.
    matched: usize,
    /// Records in the retry tier.
    written: usize,
    /// Records that are no events.
    undecodable: usize,
    /// Events of which the pattern says neither yes nor no.
    undecided: usize,
    /// Deliveries of which no request can be made, by code.
    unsendable: BTreeMap<String, usize>,
    dry_run: bool,
}

/// Replays.
///
/// # Errors
/// There is no such rule; the range is empty or gone; Kafka is out of reach.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    if !options.dry_run && !options.yes && options.resume.is_none() {
        let message = "receivers may see these events again; see with --dry-run which, then say --yes";
        return Err(Failure::new(Exit::Usage, "REPLAY_CONFIRM", message));
    }
    let now = WallMs::now();
    let time = |flag, text: &Option<String>| text.as_deref().map(|text| since::time(flag, text, now)).transpose();
    let span = Span { from: time("--from", &options.from)?, to: Some(time("--to", &options.to)?.unwrap_or(now)) };
    if let (Some(from), Some(to)) = (span.from, span.to)
        && from >= to
    {
        return Err(usage(format!("--from {} is not before --to {}", from.rfc3339(), to.rfc3339())));
    }
    let tool = Tool::new(global)?;
    let kafka = tool.kafka()?;
    let names = tool.topics();
    let (mut begun, old) = begin(global, options, span, &kafka, &names, now)?;
    let span = begun.job.span();
    let snapshot = tool.snapshot(global, Some(&kafka), Use::Look)?;
    let rule = rule(&snapshot, &begun.job.rule)?;
    let targets = targets(&rule, &begun.job.targets)?;
    let sources = sources(&snapshot, &rule.rule);
    let producer = Producer::connect(&kafka.client)?;
    let mut claim = None;
    let records = if !options.at.is_empty() {
        Records::Named(named(&kafka, &sources, &options.at).await?.into_iter())
    } else if options.resume.is_some() {
        claim = Some(Claim::take(Reader::open(&kafka.client)?, &producer, &names, &begun).await?);
        // Whoever was at it may have come further since.
        begun = begun::find(read(&kafka, &names, now)?.unfinished, &begun.id)?;
        let reader = Reader::open(&kafka.client)?;
        let gone = tokio::task::block_in_place(|| begun.job.gone(&reader))?;
        if gone > 0 {
            output::complain(&format!("{gone} records of what is left were deleted by Kafka meanwhile"));
        }
        Records::read(reader, begun.job.ranges(), span)
    } else {
        let topics = topics(&kafka, &sources).await?;
        let mut reader = Reader::open(&kafka.client)?;
        let ranges = tokio::task::block_in_place(|| range::find(&mut reader, &topics, span))?;
        begun.job.read(&ranges);
        if !options.dry_run {
            claim = Some(Claim::take(Reader::open(&kafka.client)?, &producer, &names, &begun).await?);
        }
        Records::read(reader, ranges, span)
    };
    // Compiled alone, so that nothing but its own words is looked for.
    let alone = pattern::compile(&rule.rule.pattern.to_json(), rule.pattern.options());
    let alone = alone.map_err(|_| Failure::new(Exit::Internal, "INTERNAL", "the pattern cannot be compiled alone"))?;
    let mut replay = Replay {
        global,
        options,
        rule: Arc::clone(&rule),
        pattern: alone.pattern,
        targets,
        sources,
        names,
        producer,
        rate: options.rate.or_else(|| begun.rate()),
        begun: claim.map(|claim| (begun, claim)),
        noted: Monotonic::default(),
        is_complete: true,
        turns: Turns::default(),
        sum: Sum { dry_run: options.dry_run, ..Sum::default() },
        counts: BTreeMap::new(),
    };
    if !options.dry_run && !global.quiet {
        output::complain("receivers may see these events again; the idempotency key of each is what it was");
    }
    for one in &old {
        one.finish(&replay.names, &replay.producer).await?;
    }
    let done = replay.all(records).await;
    if replay.sum.read == 0 && done.is_ok() && options.resume.is_none() {
        let topics: Vec<String> = replay.sources.iter().flat_map(|source| source.topics.clone()).collect();
        let mut reader = tokio::task::block_in_place(|| Reader::open(&kafka.client))?;
        return Err(tokio::task::block_in_place(|| range::empty(&mut reader, &topics, span)));
    }
    replay.end(done)
}

/// What is to be done: what the options say, or what a replay has left that was stopped. And those to be forgotten.
fn begin(
    global: &Global,
    options: &Options,
    span: Span,
    kafka: &Kafka,
    names: &Topics,
    now: WallMs,
) -> Result<(Begun<Job>, Vec<Begun<Job>>), Failure> {
    let job = || Job::new(options.rule.as_deref().unwrap_or_default(), &options.target, span);
    if options.dry_run || !options.at.is_empty() {
        return Ok((Begun::new(job(), options.rate, now), Vec::new()));
    }
    let Found { unfinished, old } = read(kafka, names, now)?;
    if let Some(id) = &options.resume {
        return Ok((begun::find(unfinished, id)?, old));
    }
    begun::tell(global, &unfinished, now);
    Ok((Begun::new(job(), options.rate, now), old))
}

/// Replays that have begun and are not done; and those to be forgotten.
fn read(kafka: &Kafka, names: &Topics, now: WallMs) -> Result<Found<Job>, Failure> {
    tokio::task::block_in_place(|| begun::read(&mut Reader::open(&kafka.client)?, names, REMEMBERED, now))
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, "USAGE", message)
}

/// The rule, if it can be replayed.
fn rule(snapshot: &Snapshot, name: &str) -> Result<Arc<CompiledRule>, Failure> {
    let found = Name::new(name).and_then(|name| snapshot.rule(&name).cloned());
    let rule = found.ok_or_else(|| {
        let known: Vec<_> = snapshot.rules().iter().map(|rule| rule.rule.name.as_str()).collect();
        let message = format!("no rule `{name}` in the resources; there are: {}", known.join(", "));
        Failure::new(Exit::Usage, "REPLAY_RULE", message)
    })?;
    if rule.rule.enabled {
        return Ok(rule);
    }
    let message = format!("rule {name} is disabled, so its deliveries would only wait; enable it first");
    Err(Failure::new(Exit::Configuration, "REPLAY_DISABLED", message))
}

/// The targets that are meant, all of them by default.
fn targets(rule: &CompiledRule, wanted: &[String]) -> Result<Vec<Arc<CompiledTarget>>, Failure> {
    let known: Vec<&str> = rule.targets.iter().map(|target| target.name.as_str()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(usage(format!("--target {unknown}: rule {} has {known}", rule.rule.name)));
    }
    let meant = |name: &Name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name.as_str());
    let ordered = |target: &&crate::model::resources::Target| target.ordering.is_ordered();
    if let Some(target) = rule.rule.targets.iter().filter(|target| meant(&target.name)).find(ordered) {
        let free: Vec<String> =
            rule.rule.targets.iter().filter(|t| !ordered(t)).map(|t| format!("--target {}", t.name)).collect();
        let others = match free.as_slice() {
            [] => "publish the events anew if the receiver shall have them in order".to_owned(),
            some => format!("the others can: {}", some.join(" ")),
        };
        let message = format!(
            "target {} keeps the order of its events (`ordering: {}`), which a replay through the retry tier would \
             break\n {others}",
            target.name, target.ordering
        );
        return Err(Failure::new(Exit::Usage, "REPLAY_ORDERED", message));
    }
    Ok(rule.targets.iter().filter(|target| meant(&target.name)).cloned().collect())
}

/// The sources that the rule listens to.
fn sources(snapshot: &Snapshot, rule: &Rule) -> Vec<Arc<Source>> {
    let listens = |source: &&Arc<Source>| rule.from.as_ref().is_none_or(|from| *from == source.name);
    snapshot.resources.sources.iter().filter(listens).cloned().collect()
}

/// Their topics, as far as they exist.
async fn topics(kafka: &Kafka, sources: &[Arc<Source>]) -> Result<Vec<String>, Failure> {
    let wanted: Vec<String> = sources.iter().flat_map(|source| source.topics.clone()).collect();
    let found = kafka.partitions(&wanted).await?;
    let (there, missing): (Vec<_>, Vec<_>) = wanted.into_iter().zip(found).partition(|(_, found)| found.is_some());
    let names = |topics: Vec<(String, _)>| topics.into_iter().map(|(name, _)| name).collect::<Vec<String>>();
    let missing = names(missing).join(", ");
    if there.is_empty() {
        let message = format!("the topics that the rule listens to do not exist: {missing}");
        return Err(Failure::new(Exit::Configuration, "KAFKA_TOPIC", message));
    }
    if !missing.is_empty() {
        output::complain(&format!("not read, for they do not exist: {missing}"));
    }
    Ok(names(there))
}

/// The records that are named by their places.
async fn named(kafka: &Kafka, sources: &[Arc<Source>], at: &[Position]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for position in at {
        let record = record_at(kafka, position).await?;
        let record = match StoredHeaders::read(&record) {
            // A dead letter counts as the event it was; by reference, that stands elsewhere.
            Ok(headers) if record.header(VALUE_SHA256).is_some() => record_at(kafka, &headers.origin).await?,
            Ok(headers) => record.moved(headers.origin, headers.origin_timestamp_ms),
            Err(_) => record,
        };
        let topic = &record.position.topic;
        if !sources.iter().any(|source| source.topics.iter().any(|known| **known == **topic)) {
            let known: Vec<String> = sources.iter().flat_map(|source| source.topics.clone()).collect();
            return Err(usage(format!(
                "--at {position}: the rule does not listen to `{topic}`, but to {}",
                known.join(", ")
            )));
        }
        records.push(record);
    }
    Ok(records)
}

async fn record_at(kafka: &Kafka, position: &Position) -> Result<Record, Failure> {
    match kafka.record_at(position).await? {
        Some(record) => Ok(record),
        None => Err(Failure::new(Exit::No, "REPLAY_NO_RECORD", kafka.absence(position).await?)),
    }
}

/// Records on their way to the retry tier.
type Writes = FuturesUnordered<Pin<Box<dyn Future<Output = Result<Position, kafka::SendError>>>>>;

/// A replay under way.
struct Replay<'a> {
    global: &'a Global,
    options: &'a Options,
    rule: Arc<CompiledRule>,
    pattern: Pattern,
    targets: Vec<Arc<CompiledTarget>>,
    sources: Vec<Arc<Source>>,
    names: Topics,
    producer: Producer,
    /// No faster than this, if somebody says so.
    rate: Option<Rate>,
    /// How far it has come, if somebody can go on with it, and what keeps others from doing so now.
    begun: Option<(Begun<Job>, Claim)>,
    /// When that was noted last.
    noted: Monotonic,
    /// Kafka has taken all that it has answered for.
    is_complete: bool,
    turns: Turns,
    sum: Sum,
    /// How many go to each destination.
    counts: BTreeMap<String, usize>,
}

impl Replay<'_> {
    /// Takes one record after the other; whatever ends it, what is on its way is waited for.
    async fn all(&mut self, mut records: Records) -> Result<(), Failure> {
        let mut progress = Progress::new(self.global.quiet, Monotonic::now());
        let mut writes = Writes::new();
        let mut ended = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(stopped()),
            done = self.each(&mut records, &mut writes, &mut progress) => done,
        };
        ended = ended.and(self.drain(&mut writes).await);
        // If Kafka did not take all of it, what was noted last holds.
        if self.is_complete {
            let left = self.leave(ended.is_ok()).await;
            ended = ended.and(left);
        }
        progress.clear();
        records.close().await;
        ended
    }

    /// Waits until Kafka has all that is on its way. What fails is told when all has ended.
    async fn drain(&mut self, writes: &mut Writes) -> Result<(), Failure> {
        let mut ended = Ok(());
        while let Some(written) = writes.next().await {
            ended = ended.and(self.written(written));
        }
        ended
    }

    /// Takes in what became of a record.
    fn written(&mut self, written: Result<Position, kafka::SendError>) -> Result<(), Failure> {
        self.is_complete &= written.is_ok();
        written?;
        self.sum.written += 1;
        Ok(())
    }

    /// Lets everybody know how far it has come, and that this process goes on: to be called when nothing is on its way.
    async fn note(&mut self) -> Result<(), Failure> {
        if let Some((begun, claim)) = &mut self.begun {
            claim.renew().await?;
            begun.save(&self.names, &self.producer).await?;
        }
        self.noted = Monotonic::now();
        Ok(())
    }

    /// Lets everybody know how far it has come and that this process does not go on. If another has taken it over, that
    /// one knows.
    async fn leave(&mut self, is_done: bool) -> Result<(), Failure> {
        let Some((begun, claim)) = &mut self.begun else { return Ok(()) };
        claim.renew().await?;
        if is_done {
            begun.finish(&self.names, &self.producer).await?;
        } else {
            begun.save(&self.names, &self.producer).await?;
        }
        claim.release().await
    }

    /// The next record; while it does not come, others are kept away.
    async fn next(&mut self, records: &mut Records, writes: &mut Writes) -> Result<Option<Record>, Failure> {
        loop {
            self.keep(writes).await?;
            tokio::select! {
                biased;
                record = records.next() => return Ok(record?),
                () = tokio::time::sleep_until(self.noted.plus(NOTED).instant().into()) => {}
            }
        }
    }

    /// Waits until then; meanwhile, others are kept away.
    async fn sleep(&mut self, until: Monotonic, writes: &mut Writes) -> Result<(), Failure> {
        loop {
            self.keep(writes).await?;
            if Monotonic::now() >= until {
                return Ok(());
            }
            tokio::time::sleep_until(until.min(self.noted.plus(NOTED)).instant().into()).await;
        }
    }

    /// Notes how far it has come, if it is time.
    async fn keep(&mut self, writes: &mut Writes) -> Result<(), Failure> {
        if Monotonic::now().since(self.noted) >= NOTED {
            self.drain(writes).await?;
            self.note().await?;
        }
        Ok(())
    }

    async fn each(
        &mut self,
        records: &mut Records,
        writes: &mut Writes,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let (begin, total) = (Monotonic::now(), records.total());
        self.note().await?;
        while let Some(record) = self.next(records, writes).await? {
            self.sum.read += 1;
            for (target, out) in self.wanted(&record)? {
                while writes.len() >= IN_FLIGHT {
                    let Some(written) = writes.next().await else { break };
                    self.written(written)?;
                }
                let turn = self.turn(&target);
                self.sleep(turn, writes).await?;
                let producer = self.producer.clone();
                writes.push(Box::pin(async move { producer.send(out).await }));
            }
            if let Some((begun, _)) = &mut self.begun {
                begun.job.passed(&record.position);
            }
            let (read, matched, now) = (self.sum.read, self.sum.matched, Monotonic::now());
            progress.tell(now, || format!("{} · {matched} matched", done_of(read, total.max(read), now.since(begin))));
        }
        Ok(())
    }

    fn turn(&mut self, target: &CompiledTarget) -> Monotonic {
        let (name, rate) = (target.destination.resource().name.as_str(), self.rate);
        self.turns.take(name, || rate.unwrap_or_else(|| pace::of(target)), Monotonic::now())
    }

    /// What is to be written for a record; counts what is not.
    fn wanted(&mut self, record: &Record) -> Result<Vec<(Arc<CompiledTarget>, OutRecord)>, Failure> {
        let source = self.sources.iter().find(|s| s.topics.iter().any(|topic| **topic == *record.position.topic));
        let options = source.map(|s| decode::Options { strict: s.strict, payload: s.decode }).unwrap_or_default();
        let Ok(event) = decode::decode(record.clone(), &options) else {
            self.sum.undecodable += 1;
            return Ok(Vec::new());
        };
        let document = Document::of(&event);
        let filtered = self.rule.filters.as_ref().is_some_and(|filters| !filters.matches(&document));
        match self.pattern.matches(&document) {
            Ok(true) if !filtered => self.sum.matched += 1,
            Ok(_) => return Ok(Vec::new()),
            Err(_) => {
                self.sum.undecided += 1;
                return Ok(Vec::new());
            }
        }
        let mut wanted = Vec::new();
        for target in self.targets.clone() {
            if self.would_send(&target, &event)? && !self.options.dry_run {
                let address = address(&target, &event);
                let out = settle::replay_record(&self.names, record, address, 0, WallMs::now());
                wanted.push((target, out));
            }
        }
        Ok(wanted)
    }

    /// Whether a request can be made of it today; shown on request.
    fn would_send(&mut self, target: &Arc<CompiledTarget>, event: &CloudEvent) -> Result<bool, Failure> {
        let request = explain::request(target, event);
        let sends = request.is_ok();
        match &request {
            Ok(_) => *self.counts.entry(target.destination.resource().name.to_string()).or_default() += 1,
            Err((code, _)) => *self.sum.unsendable.entry((*code).to_owned()).or_default() += 1,
        }
        if self.options.dry_run {
            let id = event.record.position.to_string();
            let who = format!("{}/{}", target.rule, target.name);
            show(self.global, &Request::new(id, who, request))?;
        }
        Ok(sends)
    }

    /// Tells what became of all.
    fn end(self, done: Result<(), Failure>) -> Result<(), Failure> {
        let sum = &self.sum;
        if matches!(self.global.output, Output::Json | Output::Jsonl) {
            output::print_json(sum)?;
        } else {
            output::print_line(&self.line())?;
            for (code, count) in &sum.unsendable {
                output::complain(&format!("{count} not written: {code}  today's rule cannot make a request of them"));
            }
        }
        if let Err(Failure { code, message }) = done {
            let cure = match &self.begun {
                Some((begun, _)) => format!("go on with: {}", begun.cure()),
                None => "the same command begins again, under the same delivery ids".to_owned(),
            };
            let message = format!("{message}\n what was written will be sent; {cure}");
            return Err(Failure { code, message });
        }
        // What was left of one that was stopped may hold nothing that matches.
        let found = sum.matched > 0 || self.options.resume.is_some();
        let well = found && sum.unsendable.is_empty() && sum.undecided == 0;
        if well { Ok(()) } else { Err(Failure::silent(Exit::No)) }
    }

    fn line(&self) -> String {
        let Sum { read, matched, written, undecodable, undecided, .. } = &self.sum;
        let mut line = format!("read {read} · matched {matched}");
        for (count, what) in [(undecodable, "undecodable"), (undecided, "undecided")] {
            if *count > 0 {
                line.push_str(&format!(" · {what} {count}"));
            }
        }
        if !self.options.dry_run {
            return format!("{line} · written {written}");
        }
        if !self.counts.is_empty() {
            let to: Vec<String> = self.counts.iter().map(|(name, count)| format!("{count} to {name}")).collect();
            line.push_str(&format!(" → {}", to.join(", ")));
        }
        format!("{line}. Nothing written.")
    }
}

/// Whose delivery it is.
fn address(target: &CompiledTarget, event: &CloudEvent) -> Address {
    let (rule, name) = (target.rule.as_str(), target.name.as_str());
    Address {
        rule: rule.to_owned(),
        target: name.to_owned(),
        destination: target.destination.resource().name.to_string(),
        delivery_id: delivery_id(event.source(), event.id(), rule, name),
    }
}

fn stopped() -> Failure {
    Failure::new(Exit::No, "REPLAY_STOPPED", "stopped before the end")
}
