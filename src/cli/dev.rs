//! `tidegate dev`: everything on this machine: a broker in this process, sample resources, an API that answers, and
//! Tidegate between them, with a live view of what becomes of events.

use super::outcomes::Lines;
use super::run::{Reloads, Stop};
use super::{Exit, Failure, Global, Output, dev_api, output, publish, setup};
use crate::app::{App, Extras};
use crate::config::settings::{DeadLetterSettings, Settings};
use crate::config::{self, Env};
use crate::kafka::{Admin, ClientSettings, Embedded, Producer};
use crate::model::resources::Resources;
use crate::pipeline::settle::EventTrace;
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Where the sample resources stand in a checkout, to be edited.
const SAMPLE_FOLDER: &str = "config/resources";
/// The same, for where no checkout is at hand.
const SAMPLE_RESOURCES: &str = concat!(
    include_str!("../../config/resources/api.yaml"),
    "\n---\n",
    include_str!("../../config/resources/shop.yaml")
);
/// The events that `--once` publishes, one CloudEvent a line.
const SAMPLE_EVENTS: &str = include_str!("../../config/resources/samples.jsonl");
/// Their source.
const SAMPLE_SOURCE: &str = "shop";
/// Names the url of the API that answers, in the sample resources.
const API_VARIABLE: &str = "TIDEGATE_DEV_API";
/// Partitions of the sources' topics.
const PARTITIONS: i32 = 3;
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Options of `dev`.
#[derive(Debug, Args)]
pub struct Options {
    /// Port of the admin server; the API that answers takes the next one. 0 takes any. [default: 7070]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Port where clients find the embedded broker. 0 takes any. [default: 9092]
    #[arg(long, value_name = "PORT")]
    kafka_port: Option<u16>,
    /// Share of requests that the API refuses with 503, 0 to 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    fail: f64,
    /// Publish the samples, settle them all, print the sum, exit. Takes any free ports unless told otherwise.
    #[arg(long)]
    once: bool,
}

/// What `--once` prints.
#[derive(Debug, Serialize)]
struct Sum {
    published: u64,
    matched: u64,
    delivered: u64,
    filtered: u64,
    dead_lettered: u64,
    pending: u64,
}

/// Runs until stopped, or once.
///
/// # Errors
/// It cannot start; with `--once`, something is left pending.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    if !(0.0..=1.0).contains(&options.fail) {
        let message = format!("--fail {}: write a share from 0 to 1, e.g. 0.2", options.fail);
        return Err(Failure::new(Exit::Usage, "USAGE", message));
    }
    let port = |given: Option<u16>, default: u16| given.unwrap_or(if options.once { 0 } else { default });
    let admin_port = port(options.port, 7070);
    let mut tasks = JoinSet::new();
    let api_port = if admin_port == 0 { 0 } else { admin_port.saturating_add(1) };
    let api = dev_api::start(local(api_port), options.fail, &mut tasks).await.map_err(|error| {
        let message = format!("127.0.0.1:{api_port} is taken ({error}); choose another port with --port, or 0 for any");
        Failure::new(Exit::Configuration, "DEV_PORT", message)
    })?;
    let env = Env::process().with(API_VARIABLE, &format!("http://{api}"));
    let (settings, otlp) = setup::dev_settings(global, &env)?;
    // One partition, so that the first dead letter is 0:0.
    let dead_letter = DeadLetterSettings { partitions: 1, ..settings.dead_letter.clone() };
    let admin_listen = Some(local(admin_port));
    let settings = Arc::new(Settings { admin_listen, dead_letter, ..Settings::clone(&settings) });
    let mut stop = Stop::listen()?;

    let broker = Embedded::start(port(options.kafka_port, 9092))?;
    let client = broker.client();
    let paths = resource_paths(global);
    let (loaded, files) = match &paths {
        Some(paths) => {
            let loaded = setup::resources(global, &settings, &env, paths)?;
            (loaded.resources, loaded.files)
        }
        None => (built_in(&setup::context(&settings, &env)), Vec::new()),
    };
    let (tap, mut view) = mpsc::unbounded_channel();
    let extras = Extras { trace_all: true, source_partitions: Some(PARTITIONS), tap: Some(tap), otlp, embedded: true };
    let started = App::start(Arc::clone(&settings), client.clone(), Admin::embedded(&broker)?, loaded, extras).await;
    let mut app = started.map_err(setup::app_failure)?;
    let work = async {
        ready(&app).await;
        if options.once {
            once(global, &app, &client, &mut view).await
        } else {
            let reloads = paths.map(|paths| Reloads::start(&settings, paths, files, &env)).transpose()?;
            announce(global, &app, &broker)?;
            serve(global, &mut app, reloads, &mut view).await
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = stop.requested() => Ok(()),
    };
    app.shutdown().await;
    result
}

/// The sample resources that are compiled in.
pub(super) fn built_in(context: &config::Context) -> Resources {
    config::resources::read_text("(built in)", SAMPLE_RESOURCES, context).resources
}

async fn ready(app: &App) {
    while !app.unready().is_empty() {
        tokio::time::sleep(LOOK).await;
    }
}

fn announce(global: &Global, app: &App, broker: &Embedded) -> Result<(), Failure> {
    if global.quiet {
        return Ok(());
    }
    let rules = app.snapshot().rules().len();
    let admin = app.admin_address().map_or_else(String::new, |address| format!(" · admin http://{address}"));
    let plural = if rules == 1 { "rule" } else { "rules" };
    let line = format!("Kafka 127.0.0.1:{} (embedded, memory){admin} · {rules} {plural}, ready", broker.port());
    Ok(output::print_line(&line)?)
}

/// Shows what becomes of events, and applies changes of the resources, for ever.
async fn serve(
    global: &Global,
    app: &mut App,
    mut reloads: Option<Reloads>,
    view: &mut mpsc::UnboundedReceiver<Bytes>,
) -> Result<(), Failure> {
    let mut lines = Lines::default();
    loop {
        tokio::select! {
            Some(trace) = view.recv() => show(global, &mut lines, &trace)?,
            () = changed(&mut reloads) => {
                if let Some(reloads) = &mut reloads {
                    reloads.apply(app).await;
                }
            }
        }
    }
}

async fn changed(reloads: &mut Option<Reloads>) {
    match reloads {
        Some(reloads) => reloads.changed().await,
        None => std::future::pending().await,
    }
}

/// Publishes the samples, waits until every one of them has ended, prints the sum.
async fn once(
    global: &Global,
    app: &App,
    client: &ClientSettings,
    view: &mut mpsc::UnboundedReceiver<Bytes>,
) -> Result<(), Failure> {
    let snapshot = app.snapshot();
    let source = snapshot.resources.sources.iter().find(|source| source.name.as_str() == SAMPLE_SOURCE);
    let topic = source.and_then(|source| source.topics.first()).ok_or_else(|| {
        let message = format!("the samples need a source `{SAMPLE_SOURCE}` with a topic; leave out -r, or add one");
        Failure::new(Exit::Configuration, "DEV_SAMPLES", message)
    })?;
    let producer = Producer::connect(client)?;
    let mut published = 0;
    for line in SAMPLE_EVENTS.lines().filter(|line| !line.is_empty()) {
        let record = publish::structured(topic, line.as_bytes());
        let sent = producer.send(record).await;
        sent.map_err(|error| Failure::new(Exit::Internal, error.code(), error))?;
        published += 1;
    }
    loop {
        let totals = app.totals();
        if totals.received >= published && totals.pending() == 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let totals = app.totals();
    let sum = Sum {
        published,
        matched: totals.matched,
        delivered: totals.delivered,
        filtered: totals.filtered,
        dead_lettered: totals.dead_lettered,
        pending: totals.pending(),
    };
    match global.output {
        Output::Json | Output::Jsonl => output::print_json(&sum)?,
        Output::Table | Output::Wide => {
            let mut lines = Lines::default();
            while let Ok(trace) = view.try_recv() {
                show(global, &mut lines, &trace)?;
            }
            output::print_line(&format!(
                "published {} · matched {} · delivered {} · filtered {} · dead-lettered {} · pending {}",
                sum.published, sum.matched, sum.delivered, sum.filtered, sum.dead_lettered, sum.pending
            ))?;
        }
    }
    Ok(())
}

/// One line of the live view; a JSON line where a program reads.
fn show(global: &Global, lines: &mut Lines, trace: &Bytes) -> Result<(), Failure> {
    match global.output {
        Output::Json | Output::Jsonl => output::print_line(&String::from_utf8_lossy(trace))?,
        Output::Table | Output::Wide => match EventTrace::read(trace) {
            // Moved on in its tier without an attempt: nothing has happened.
            Ok(trace) if trace.outcome == "handed_off" && trace.code.is_none() => {}
            Ok(trace) => output::print_line(&lines.line(&trace))?,
            Err(error) => tracing::warn!(%error, "an outcome cannot be shown"),
        },
    }
    Ok(())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// `-r`, else the sample folder of a checkout, else the built-in set, which cannot be edited.
fn resource_paths(global: &Global) -> Option<Vec<PathBuf>> {
    match global.resources.as_slice() {
        [] if Path::new(SAMPLE_FOLDER).is_dir() => Some(vec![PathBuf::from(SAMPLE_FOLDER)]),
        [] => None,
        some => Some(some.to_vec()),
    }
}
