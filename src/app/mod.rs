//! The composition root: builds everything from settings and resources, runs it, and owns the order of shutdown.
//!
//! Start: topics → producer → token service → holds → workers → the stored intake → slots → sources → admin. Each is ready for the next.
//! Shutdown, the other way round and in this order: refuse intake → stop taking records → drain deliveries to a
//! deadline → commit watermarks → leave the groups → stop the workers → holds off → flush what is still to be written →
//! admin and token service off → flush telemetry.
//! Whoever is started here is joined here.

mod options;
mod pressure;

pub use options::client_settings;

use crate::admin;
use crate::admin::replica::{Parts, Replica};
use crate::admin::report::{About, Reporter};
use crate::config;
use crate::config::settings::{Settings, TraceOutcomes};
use crate::destinations::dial::Network;
use crate::destinations::tls::Roots;
use crate::destinations::{exchange, hold};
use crate::kafka::{
    self, Admin, ClientSettings, Ends, Intake, IntakeOptions, Owner, Partitions, Producer, TopicPartition,
};
use crate::model::clock::Monotonic;
use crate::model::fault::Fault;
use crate::model::name::Name;
use crate::model::resources::{OnMissing, Resources, Source, Start};
use crate::model::stored::Topics;
use crate::pipeline::changes;
use crate::pipeline::depths::Depths;
use crate::pipeline::holds::Keeper;
use crate::pipeline::ordered::{self, OrderedIntakes};
use crate::pipeline::queues::Queues;
use crate::pipeline::slots::Slots;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::supervisor::Supervisor;
use crate::pipeline::ticket::{Budget, Caps};
use crate::pipeline::topics;
use crate::pipeline::worker::{Command, LaneKind, STORED, Shared, Traced, Worker};
use crate::telemetry::figures::lane::Lanes;
use crate::telemetry::figures::{SourceFigures, Totals};
use crate::telemetry::metrics::{self, Metrics, Watched};
use crate::telemetry::otlp::Otlp;
use crate::telemetry::state::{Missing, State};
use arc_swap::ArcSwap;
use bytes::Bytes;
use opentelemetry_sdk::metrics::MeterProviderBuilder;
use options::{Shares, intake_count, intake_options};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What the program cannot start or go on without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// The resources have faults.
    #[error("the resources have {} faults", .0.len())]
    Resources(Vec<Fault>),
    /// The operating system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A running Tidegate.
#[derive(Debug)]
pub struct App {
    settings: Arc<Settings>,
    client: ClientSettings,
    kafka: Admin,
    roots: Roots,
    snapshot: Arc<ArcSwap<Snapshot>>,
    producer: Producer,
    traces: Producer,
    workers: Arc<[Worker]>,
    budget: Arc<Budget>,
    /// As of the start: a reload that brings thousands of targets leaves less for the program than a restart.
    shares: Shares,
    threads: Vec<thread::JoinHandle<()>>,
    queues: Arc<Queues>,
    depths: Arc<Depths>,
    slots: Arc<Slots>,
    slots_intake: Arc<Intake>,
    stored_intake: Arc<Intake>,
    sources: HashMap<Name, RunningSource>,
    /// Of targets that keep an order.
    ordered: OrderedIntakes,
    replica: Arc<Replica>,
    /// Tells other processes of it.
    reporter: Option<Reporter>,
    metrics: Arc<Metrics>,
    admin: Option<admin::Server>,
    /// Where dispatchers ask for tokens.
    tokens: exchange::Post,
    /// Keeps what is held, for all replicas.
    keeper: Keeper,
    /// Where holds are told that begin by themselves.
    held: hold::Post,
    /// What runs beside the workers, on the small runtime.
    services: JoinSet<()>,
    otlp: Option<Otlp>,
}

#[derive(Debug)]
struct RunningSource {
    source: Arc<Source>,
    intake: Arc<Intake>,
}

/// What differs between `run` and `dev`.
#[derive(Debug, Default)]
pub struct Extras {
    /// Trace every outcome, whatever the settings say.
    pub trace_all: bool,
    /// Create the sources' topics with so many partitions if they are missing. On a real Kafka they are the business of
    /// whoever writes to them.
    pub source_partitions: Option<i32>,
    /// Sends traces, metrics and logs.
    pub otlp: Option<Otlp>,
    /// Sees every traced outcome as JSON.
    pub tap: Option<mpsc::UnboundedSender<Bytes>>,
    /// The broker lives in this process, too, and its records with it: what the process takes says nothing of ours.
    pub embedded: bool,
}

/// What is fetched of tiers and queues takes so many times as much: events of one kind lie side by side there, and large
/// ones are compressed most. Of those with 1 MiB that take 4 KiB, sixteen would come at a time with the usual eight.
const STORED_COMPRESSION: u64 = 32;

/// How long tiers and queues are fetched before it is the turn of others.
const STORED_TURN: Duration = Duration::from_millis(800);

/// How long a broker waits at least for records of tiers and queues: they are idle most of the time.
const STORED_FETCH_WAIT: Duration = Duration::from_millis(50);

/// How long closing may take beyond the drain: the last commits must be answered and the groups left.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

impl App {
    /// Builds and starts everything.
    ///
    /// # Errors
    /// Kafka is out of reach, a topic is not as it must be, the resources have faults, or a port is taken.
    pub async fn start(
        settings: Arc<Settings>,
        client: ClientSettings,
        kafka: Admin,
        resources: Resources,
        extras: Extras,
    ) -> Result<Self, Error> {
        let roots = Roots::default();
        let clashes = ordered::clashes(&settings.kafka.group, &resources);
        if !clashes.is_empty() {
            return Err(Error::Resources(clashes));
        }
        let (snapshot, _) = Snapshot::compile(resources, &roots, None).map_err(Error::Resources)?;
        kafka.ensure(&topics::specs(&settings, &snapshot.resources, extras.source_partitions)).await?;
        let targets = snapshot.resources.rules.iter().map(|rule| rule.targets.len()).sum();
        let shares = Shares::of(&settings.delivery, targets);
        let client = shares.bound(client);
        let producer = Producer::connect(&client)?;
        let traces = Producer::for_traces(&client)?;
        let replica: Arc<str> = Arc::from(replica_name(&settings));
        let (tokens, asked) = mpsc::unbounded_channel();
        let mut services = JoinSet::new();
        services.spawn(exchange::serve(asked));
        snapshot.fetch_tokens_by(&tokens);
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let topics = Topics::new(&settings.kafka.prefix);
        let (keeper, held) = tokio::task::block_in_place(|| {
            let (snapshot, replica) = (Arc::clone(&snapshot), Arc::clone(&replica));
            Keeper::start(&client, topics.clone(), snapshot, producer.clone(), replica)
        })?;
        snapshot.load().hold_by(&held);
        let delivery = &settings.delivery;
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let (queues, queues_inbox) = Queues::new(topics.clone());
        queues.learn(topics::queued(&snapshot.load().resources).map(|destination| destination.name.to_string()));
        let shared = Shared {
            snapshot: Arc::clone(&snapshot),
            producer: producer.clone(),
            topics: topics.clone(),
            queues: Arc::clone(&queues),
            dead_letter_topic: Arc::from(settings.dead_letter.topic.as_str()),
            lanes: Arc::new(Lanes::default()),
            budget: Arc::new(Budget::new(bytes(shares.windows))),
            caps: Caps { records: delivery.window_records, bytes: bytes(delivery.window_bytes) },
            commit_map: delivery.commit_map,
            traced: traced(&settings, &extras),
            traces: traces.clone(),
            replica: Arc::clone(&replica),
            spans: extras.otlp.as_ref().and_then(Otlp::spans),
            tap: extras.tap,
            network: Network::default(),
        };
        let started = Worker::start_all(delivery.workers, &shared);
        let (workers, threads) =
            started.map_err(|source| Error::System { what: "a worker thread cannot be started", source })?;
        let limits = pressure::Limits { budget_bytes: delivery.memory_budget_bytes, events_bytes: shares.reading() };
        if !extras.embedded {
            services.spawn(pressure::watch(limits, Arc::clone(&shared.budget)));
        }
        let stored_group = format!("{}.stored", settings.kafka.group);
        let figures = snapshot.load().figures().source(STORED);
        let stored_owner = supervisor(&settings, LaneKind::Stored, &stored_group, &workers, figures);
        // The slots' topic never has a record; the others share what may be prefetched.
        let intakes = intake_count(&snapshot.load());
        let options = intake_options(&settings, shares, &shared.budget, intakes, Start::Earliest, OnMissing::Earliest);
        let eager = Some(topics.queue("").to_string());
        // Many queues hold little: whose turn is over soon makes room for the next.
        let fetch_wait = options.fetch_wait.max(STORED_FETCH_WAIT);
        let (turn, compression) = (STORED_TURN, STORED_COMPRESSION);
        let reading = IntakeOptions { eager, statistics: false, turn, compression, fetch_wait, ..options.clone() };
        let owner: Arc<dyn Owner> = Arc::<Supervisor>::clone(&stored_owner);
        let stored_intake = Arc::new(Intake::manual(&client, &stored_group, reading, owner)?);
        let patience = delivery.drain_timeout + CLOSE_GRACE;
        let stored: Arc<dyn Partitions> = Arc::<Intake>::clone(&stored_intake);
        let found = Arc::clone(&queues);
        let slots = Arc::new(Slots::new(topics.clone(), Arc::clone(&snapshot), stored, found, patience));
        services.spawn(Arc::clone(&queues).discover(kafka.clone()));
        services.spawn(Arc::clone(&slots).watch());
        let ends = Arc::new(Ends::open(&client, &stored_group)?);
        queues.filled().begin();
        let (ours, look) = (Arc::clone(&slots), Arc::clone(&slots));
        let filled = Arc::clone(queues.filled());
        services.spawn(filled.watch(Arc::clone(&ends), move || ours.ours(), move || look.look()));
        let depths = Arc::new(Depths::new(client.clone(), ends, topics.clone()));
        let ours = Arc::clone(&slots);
        services.spawn(Arc::clone(&depths).watch(move || ours.queues()));
        let look = Arc::clone(&slots);
        services.spawn(
            Arc::clone(&queues).serve(kafka.clone(), topics::queue(&settings), queues_inbox, move || look.look()),
        );
        let slots_group = format!("{}.slots", settings.kafka.group);
        let owner: Arc<dyn Owner> = Arc::<Slots>::clone(&slots);
        let slots_topic = [topics.slots().to_string()];
        // Nothing is ever read of it.
        let IntakeOptions { fetch_wait, max_resumed, .. } = IntakeOptions::default();
        let options = IntakeOptions { fetch_wait, max_resumed, ..options };
        let slots_intake = Arc::new(Intake::subscribe(&client, &slots_group, &slots_topic, options, owner)?);
        // Whoever owns the slots may send what lies in the tiers, and has the shares.
        stored_owner.bind(&stored_intake, slots_intake.membership());
        slots.bind(slots_intake.membership());
        let parts = Parts {
            snapshot: Arc::clone(&snapshot),
            traces: traces.clone(),
            slots: Arc::clone(&slots),
            depths: Arc::clone(&depths),
            filled: Arc::clone(queues.filled()),
            lanes: Arc::clone(&shared.lanes),
            budget: Arc::clone(&shared.budget),
            caps: shared.caps,
        };
        let looks = Arc::new(Replica::new(parts));
        looks.set("slots", Some(&slots_intake));
        looks.set(STORED, Some(&stored_intake));
        let mut otlp = extras.otlp;
        let sends = otlp.as_mut().and_then(|otlp| {
            let (resource, reader) = (otlp.resource().clone(), otlp.take_metrics_reader()?);
            Some(move |builder: MeterProviderBuilder| builder.with_resource(resource).with_reader(reader))
        });
        let metrics = Arc::new(metrics::provider(targets, sends));
        let watched: Arc<dyn Watched> = Arc::<Replica>::clone(&looks);
        metrics.watch(watched);
        bind(&metrics, &looks);
        let admin = match settings.admin_listen {
            Some(address) => {
                let started = admin::Server::start(address, Arc::clone(&looks), Arc::clone(&metrics)).await;
                Some(started.map_err(|source| Error::System {
                    what: "the admin server cannot listen on `admin.listen`",
                    source,
                })?)
            }
            None => None,
        };
        let about = About {
            name: replica,
            host: config::host::name(),
            traced: shared.traced.as_str(),
            topics,
            snapshot: Arc::clone(&snapshot),
            producer: traces.clone(),
        };
        let prefix = settings.kafka.group.clone();
        let ordered = OrderedIntakes::new(
            client.clone(),
            prefix.clone(),
            Arc::clone(&workers),
            settings.delivery.drain_timeout,
            Arc::clone(&shared.budget),
        );
        services.spawn_blocking({
            let (client, resources) = (client.clone(), snapshot.load().resources.clone());
            move || ordered::tell_abandoned(&client, &prefix, &resources)
        });
        let mut app = Self {
            settings,
            client,
            kafka,
            roots,
            snapshot,
            producer,
            traces,
            workers,
            budget: shared.budget,
            shares,
            threads,
            queues,
            depths,
            slots,
            slots_intake,
            stored_intake,
            sources: HashMap::new(),
            ordered,
            replica: looks,
            reporter: None,
            metrics,
            admin,
            tokens,
            keeper,
            held,
            services,
            otlp,
        };
        tokio::task::block_in_place(|| {
            // Before any source reads on.
            app.ordered.seed(&app.snapshot.load())?;
            app.adjust_sources()
        })?;
        app.reporter = Some(Reporter::start(about, Arc::clone(&app.replica)));
        Ok(app)
    }

    /// Replaces the resources: compiled first, then swapped, so that a set with faults changes nothing.
    ///
    /// # Errors
    /// Every fault; the old set stays.
    pub async fn reload(&mut self, resources: Resources) -> Result<(), Error> {
        let previous = self.snapshot.load_full();
        let refused = changes::refused(&self.settings.kafka.group, &previous.resources, &resources);
        if !refused.is_empty() {
            return Err(Error::Resources(refused));
        }
        let (next, _) = Snapshot::compile(resources, &self.roots, Some(&previous)).map_err(Error::Resources)?;
        self.kafka.ensure(&topics::specs(&self.settings, &next.resources, None)).await?;
        tokio::task::block_in_place(|| self.ordered.seed(&next))?;
        next.fetch_tokens_by(&self.tokens);
        next.hold_by(&self.held);
        next.adopt(&previous, Monotonic::now());
        self.snapshot.store(Arc::new(next));
        self.keeper.holds().apply();
        bind(&self.metrics, &self.replica);
        self.queues
            .learn(topics::queued(&self.snapshot.load().resources).map(|destination| destination.name.to_string()));
        self.slots.share();
        for worker in self.workers.iter() {
            worker.tell(Command::Reloaded);
        }
        tokio::task::block_in_place(|| self.adjust_sources())
    }

    /// Empties our retry tiers and queues up to what is committed, whether they are read now or not; they have no retention
    /// by time. To be called hourly. What fails is tried again the next time.
    pub async fn tidy(&self) {
        let committed = self.stored_intake.state().partitions.into_iter().filter_map(|partition| {
            let offset = partition.committed.filter(|offset| *offset > 0)?;
            Some((TopicPartition::new(partition.topic, partition.partition), offset))
        });
        let mut done: HashMap<TopicPartition, i64> = self.depths.committed().into_iter().collect();
        done.extend(committed);
        if let Err(error) = self.kafka.delete_before(&done.into_iter().collect::<Vec<_>>()).await {
            tracing::warn!(code = error.code(), %error, "tiers and queues could not be emptied; trying again in an hour");
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.snapshot.load().figures().totals()
    }

    /// What is not ready yet; empty when work can flow.
    #[must_use]
    pub fn unready(&self) -> Vec<Missing> {
        self.replica.missing()
    }

    /// What it looks like now.
    #[must_use]
    pub fn state(&self) -> State {
        self.replica.state()
    }

    /// Where the admin server listens, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(admin::Server::address)
    }

    /// The resources in use.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Starts intakes of new sources, closes those of removed ones, and does both for a source that reads differently now.
    fn adjust_sources(&mut self) -> Result<(), Error> {
        let snapshot = self.snapshot.load_full();
        let wanted: HashMap<&Name, &Arc<Source>> = snapshot.resources.sources.iter().map(|s| (&s.name, s)).collect();
        let gone = |(name, running): &(&Name, &RunningSource)| {
            wanted.get(name).is_none_or(|source| !reads_alike(&running.source, source))
        };
        let gone: Vec<Name> = self.sources.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        let mut closing = Vec::new();
        for name in gone {
            self.replica.set(name.as_str(), None);
            closing.extend(self.sources.remove(&name).map(|running| running.intake));
        }
        for (name, intake) in self.ordered.take_gone(&snapshot) {
            self.replica.set(&name, None);
            closing.push(intake);
        }
        Intake::close_all(&closing, self.close_deadline());
        let intakes = intake_count(&snapshot);
        for (name, source) in wanted {
            if self.sources.contains_key(name) {
                continue;
            }
            let group = ordered::source_group(&self.settings.kafka.group, source);
            let figures = snapshot.figures().source(name.as_str());
            let supervisor = supervisor(&self.settings, LaneKind::Source(name.clone()), &group, &self.workers, figures);
            let owner: Arc<dyn Owner> = Arc::<Supervisor>::clone(&supervisor);
            let options =
                intake_options(&self.settings, self.shares, &self.budget, intakes, source.start, source.on_missing);
            let intake = Arc::new(Intake::subscribe(&self.client, &group, &source.topics, options, owner)?);
            supervisor.bind(&intake, intake.membership());
            self.replica.set(name.as_str(), Some(&intake));
            self.sources.insert(name.clone(), RunningSource { source: Arc::clone(source), intake });
        }
        let options =
            |start, on_missing| intake_options(&self.settings, self.shares, &self.budget, intakes, start, on_missing);
        for (name, intake) in self.ordered.start_new(&snapshot, options)? {
            self.replica.set(&name, Some(&intake));
        }
        Ok(())
    }

    fn close_deadline(&self) -> Duration {
        self.settings.delivery.drain_timeout + CLOSE_GRACE
    }

    /// Stops everything in order and joins it. What was in flight and did not end in time stays uncommitted and comes
    /// again.
    pub async fn shutdown(self) {
        let deadline = self.close_deadline();
        let Self {
            sources,
            ordered,
            slots_intake,
            stored_intake,
            workers,
            threads,
            producer,
            traces,
            admin,
            replica,
            reporter,
            metrics,
            mut services,
            keeper,
            otlp,
            ..
        } = self;
        replica.close();
        let stopped = tokio::task::spawn_blocking(move || {
            let sources = sources.into_values().map(|running| running.intake);
            let sources: Vec<_> = sources.chain(ordered.into_all()).collect();
            // Each intake stops taking records, drains its lanes, commits and leaves its group.
            Intake::close_all(&sources, deadline);
            // Giving up the slots drains the tiers; only then is nobody left to write.
            Intake::close_all(&[slots_intake], deadline);
            Intake::close_all(&[stored_intake], deadline);
            for worker in workers.iter() {
                worker.tell(Command::Stop);
            }
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker thread panicked; what it had in flight stays uncommitted");
                }
            }
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "shutdown ended early");
        }
        keeper.stop().await;
        if let Some(reporter) = reporter {
            reporter.stop().await;
        }
        let (_, told) = tokio::join!(producer.flush(CLOSE_GRACE), traces.flush(CLOSE_GRACE));
        if !told {
            tracing::warn!("traces were still to be written; they are lost, deliveries are not");
        }
        if let Some(admin) = admin {
            admin.stop().await;
        }
        // A fetch that is under way is of no use to anybody.
        services.shutdown().await;
        // Last, so that it holds what was said until here; it takes a few seconds at most.
        if let Some(otlp) = otlp
            && let Err(error) = tokio::task::spawn_blocking(move || otlp.stop(metrics)).await
        {
            tracing::error!(%error, "telemetry ended early");
        }
    }
}

/// Has the durations of all destinations recorded.
fn bind(metrics: &Metrics, replica: &Replica) {
    for measured in replica.measured() {
        metrics.histograms().bind(&measured);
    }
}

/// What this replica is called where several are looked at together: its instance id, else its host and a number that no
/// other process has.
fn replica_name(settings: &Settings) -> String {
    match &settings.kafka.instance_id {
        Some(id) => id.clone(),
        None => format!("{}-{:06x}", config::host::name(), fastrand::u32(..0x100_0000)),
    }
}

fn traced(settings: &Settings, extras: &Extras) -> Traced {
    match (settings.trace.enabled, settings.trace.outcomes) {
        _ if extras.trace_all => Traced::All,
        (false, _) => Traced::Nothing,
        (true, TraceOutcomes::All) => Traced::All,
        (true, TraceOutcomes::Failures) => Traced::Failures,
        (true, TraceOutcomes::Sample) => Traced::sample(settings.trace.sample),
    }
}

/// Two sources that read the same records in the same way, so that an intake need not be made anew.
fn reads_alike(a: &Source, b: &Source) -> bool {
    a.topics == b.topics && a.group == b.group && a.start == b.start && a.on_missing == b.on_missing
}

fn supervisor(
    settings: &Settings,
    kind: LaneKind,
    group: &str,
    workers: &Arc<[Worker]>,
    figures: Arc<SourceFigures>,
) -> Arc<Supervisor> {
    Arc::new(Supervisor::new(kind, group, Arc::clone(workers), settings.delivery.drain_timeout, figures))
}
