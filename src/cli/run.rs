//! `tidegate run`: joins the consumer group and delivers until told to stop.

use super::{Failure, Global, setup};
use crate::app::{self, App, Extras};
use crate::config::settings::Settings;
use crate::config::watch::Watch;
use crate::config::{self, Env};
use crate::kafka::Admin;
use crate::model::clock::Monotonic;
use crate::model::fault::Fault;
use crate::pipeline::changes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How often readiness is looked at while starting.
const LOOK: Duration = Duration::from_millis(50);

/// How often retry tiers are emptied of what is done with (delivery.md "Missing offsets").
const TIDY: Duration = Duration::from_secs(3_600);

/// When a reload is tried again that failed for another reason than its resources: the files do not change for it.
const AGAIN: Duration = Duration::from_secs(15);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let env = Env::process();
    let (settings, otlp) = setup::run_settings(global, &env)?;
    let paths = setup::resource_paths(global, &settings);
    let loaded = setup::resources(global, &settings, &env, &paths)?;
    let client = setup::client(&settings).await?;
    let kafka = Admin::real(&client)?;
    let mut stop = Stop::listen()?;
    let extras = Extras { otlp, ..Extras::default() };
    let started = App::start(Arc::clone(&settings), client, kafka, loaded.resources, extras).await;
    let mut app = started.map_err(setup::app_failure)?;
    let mut reload = Reloads::start(&settings, paths, loaded.files, &env)?;
    let mut ready = false;
    let mut tidy = tokio::time::interval(TIDY);
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => break,
            () = reload.changed() => reload.apply(&mut app).await,
            _ = tidy.tick() => tokio::select! {
                () = app.tidy() => {}
                () = stop.requested() => break,
            },
            () = tokio::time::sleep(LOOK), if !ready => {
                ready = app.unready().is_empty();
                if ready {
                    let (sources, rules) = counts(&app);
                    tracing::info!(sources, rules, admin = app.admin_address().map(|a| a.to_string()), "ready");
                }
            }
        }
    }
    tracing::info!("stopping: draining what is in flight; a second signal stops at once");
    tokio::select! {
        () = app.shutdown() => {
            tracing::info!("stopped");
            Ok(())
        }
        () = stop.requested() => Err(Failure::new(super::Exit::No, "STOPPED", "stopped at once; what was in flight comes again")),
    }
}

fn counts(app: &App) -> (usize, usize) {
    let snapshot = app.snapshot();
    (snapshot.resources.sources.len(), snapshot.resources.rules.len())
}

/// The signals that ask to stop.
#[derive(Debug)]
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on they no longer end the process by themselves.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// One of them came.
    pub(super) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Watches resource files and applies their changes: validate, then swap; a broken set changes nothing.
#[derive(Debug)]
pub(super) struct Reloads {
    paths: Vec<PathBuf>,
    context: config::Context,
    changes: mpsc::UnboundedReceiver<()>,
    watch: Option<Watch>,
    /// When to try again what failed.
    again: Option<Monotonic>,
}

impl Reloads {
    /// Begins to watch, if the settings say so; `files` are those that had a part in what is loaded.
    pub(super) fn start(
        settings: &Settings,
        paths: Vec<PathBuf>,
        files: Vec<PathBuf>,
        env: &Env,
    ) -> std::io::Result<Self> {
        let (tell, changes) = mpsc::unbounded_channel();
        let watch = if settings.resources.watch {
            Some(Watch::start(paths.clone(), files, move || {
                // A change that nobody waits for any more needs no reload.
                tell.send(()).ok();
            })?)
        } else {
            None
        };
        Ok(Self { context: setup::context(settings, env), paths, changes, watch, again: None })
    }

    /// Something changed, or is to be tried again. Never, if nothing is watched.
    pub(super) async fn changed(&mut self) {
        let again = self.again.unwrap_or_default();
        tokio::select! {
            Some(()) = self.changes.recv() => {}
            () = tokio::time::sleep_until(again.instant().into()), if self.again.is_some() => {}
            else => std::future::pending().await,
        }
    }

    /// Loads and swaps; says what changed, or what is wrong and that the old set stays.
    pub(super) async fn apply(&mut self, app: &mut App) {
        self.again = None;
        let before = app.snapshot();
        let read = config::read(&self.paths, &self.context);
        // Of a broken set too: the cure may be in one of its secrets or certificates.
        if let Some(watch) = &self.watch {
            watch.others(read.files);
        }
        if read.faults.iter().any(|fault| !fault.warning) {
            return kept(&read.faults);
        }
        setup::tell(&read.faults);
        match app.reload(read.resources).await {
            Ok(()) => {
                let changed = changes::changed(&before.resources, &app.snapshot().resources);
                if !changed.is_empty() {
                    tracing::info!("reloaded: {}", changed.join(", "));
                }
            }
            Err(app::Error::Resources(found)) => kept(&found),
            Err(error) => {
                self.again = Some(Monotonic::now().plus(AGAIN));
                let seconds = AGAIN.as_secs();
                tracing::error!(%error, "reload failed; what could be applied is in use, trying again in {seconds} s");
            }
        }
    }
}

fn kept(found: &[Fault]) {
    setup::tell(found);
    tracing::error!(faults = found.len(), "the changed resources are not usable; the old ones stay in use");
}
