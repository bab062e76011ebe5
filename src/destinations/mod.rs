//! An API destination at run time: where it is, who we are there, and how much it may be asked for.
//!
//! A [`Destination`] is shared by the dispatchers of all workers, and a [`Connection`] by its destinations. What they
//! share changes by atomics only: the rate limits of both, the gate (closed by overload answers), the circuit breaker, the adaptive concurrency limit, and who waits.
//! `rate`, `limits`, `gate`, `breaker`, `concurrency`, `waiters`, `guard` and `token` are pure; `dial`, `stream`, `tls`, `http1`,
//! `http2`, `pool`, `proxy` and `exchange` do the I/O; `auth` and `sign` are where secrets are revealed. `responses` are what
//! people wrote about answers; what an answer means is decided by the step `deliver`.

pub mod auth;
pub mod breaker;
pub mod budget;
pub mod concurrency;
pub mod connection;
pub mod dial;
pub mod exchange;
pub mod gate;
pub mod guard;
pub mod hold;
pub mod http1;
pub mod http2;
pub mod limits;
pub mod pool;
pub mod proxy;
pub mod rate;
pub mod responses;
pub mod sick;
pub mod sign;
pub mod status;
pub mod stream;
pub mod tls;
pub mod token;
pub mod waiters;

use crate::model::clock::Monotonic;
use crate::model::hold::Hold;
use crate::model::outcome::{Class, Report};
use crate::model::resources;
use crate::telemetry::figures::destination::DestinationFigures;
use auth::{Auth, Revealed};
use breaker::{Breaker, Change, Pass};
use budget::{Budget, Exceeded};
use concurrency::Concurrency;
use connection::{Connection, Credentials};
use dial::{Dialer, Host};
use gate::Gate;
use guard::Guard;
use hold::Holding;
use http::Method;
use http::uri::Authority;
use limits::{Both, Limiter};
use pool::To;
use responses::Responses;
use rustls_pki_types::ServerName;
use secrecy::SecretString;
use status::Trouble;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use waiters::{Seat, Waiters};

/// Whether an endpoint has path parameters: an answer to such a request may speak of the event (transforms.md rule 51).
#[must_use]
pub fn has_path_parameters(endpoint: &str) -> bool {
    endpoint.split('?').next().unwrap_or_default().contains(['{', '*'])
}

/// An API destination at run time.
#[derive(Debug)]
pub struct Destination {
    resource: Arc<resources::Destination>,
    fixed_endpoint: bool,
    method: Method,
    authority: String,
    connection: Arc<Connection>,
    dialer: Dialer,
    responses: Responses,
    /// Its own, beside those of its connection.
    secrets: Vec<SecretString>,
    /// Path of its requests with the names of their parameters, for people.
    template: String,
    shared: Arc<Shared>,
    /// A reload has put another in its place: what it still hears says nothing of the new one.
    retired: AtomicBool,
    /// Connections idle for longer are closed.
    idle: Duration,
}

/// How long connections are kept that nobody uses,
const IDLE: Duration = Duration::from_secs(30);

/// where there are fewer than twice so many destinations.
const CROWD: usize = 1_000;

/// What outlives a reload: limits hold across it.
#[derive(Debug)]
struct Shared {
    limiter: Limiter,
    gate: Gate,
    breaker: Breaker,
    concurrency: Concurrency,
    waiters: Arc<Waiters>,
    budget: Budget,
    holding: Holding,
    /// When gate and breaker began, for status.
    since: Since,
    figures: Arc<DestinationFigures>,
    /// Written when the breaker opens, read for status; never on the hot path.
    trouble: Mutex<Option<Trouble>>,
}

/// When things began that stop a destination.
#[derive(Debug, Default)]
struct Since {
    gate: Moment,
    breaker: Moment,
}

/// A moment, if there is one.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, at: Monotonic) {
        self.0.store(at.0.max(1), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Monotonic> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Monotonic)
    }
}

/// Why a destination cannot be built from its resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The method is no HTTP method.
    #[error("`{method}` is no HTTP method; correct `method` of destination `{destination}`")]
    Method {
        /// Destination.
        destination: String,
        /// The method.
        method: String,
    },
    /// The host cannot stand in a request.
    #[error("`{host}` is no host name; correct the url, or the proxy, of destination `{destination}`")]
    Host {
        /// Destination.
        destination: String,
        /// The host.
        host: String,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Method { .. } | Self::Host { .. } => "CONFIG_VALUE",
        }
    }
}

/// What the end of an attempt says about the destination, as opposed to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, whatever it thinks of the event.
    Good,
    /// A transport failure or a 5xx.
    Failing {
        /// It may be too much for it: time-out, or 503.
        congested: bool,
    },
    /// It asks for fewer requests, perhaps for so long.
    Overloaded(Option<Duration>),
    /// It is wrong as a whole: credentials, address, certificate, path.
    Incident,
    /// It said that it is gone for good (410, or `responses`): held until someone resumes it.
    Gone,
}

/// Whether a request may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may; as a probe, its end decides about the breaker.
    Free {
        /// It is the probe.
        probe: bool,
    },
    /// Not now; ask again at this moment, if it is known, or when woken.
    Wait(Option<Monotonic>),
}

impl Destination {
    /// A destination of a connection that was built for TLS if it speaks it. It has no share of its rate limits yet.
    /// `previous` is what it was before a reload: both share limits,
    /// gate, breaker and concurrency; [`Destination::adopt`] makes the change.
    ///
    /// # Errors
    /// The resource cannot be used; see [`Error`].
    pub fn new(
        resource: Arc<resources::Destination>,
        connection: Arc<Connection>,
        previous: Option<&Self>,
    ) -> Result<Self, Error> {
        let base = &resource.base;
        let name = || resource.name.to_string();
        let no_host = || Error::Host { destination: name(), host: base.host.clone() };
        let method = Method::from_bytes(resource.method.as_bytes())
            .map_err(|_| Error::Method { destination: name(), method: resource.method.clone() })?;
        let authority = base.authority();
        Authority::try_from(authority.as_str()).map_err(|_| no_host())?;
        let tls = match connection.tls() {
            Some(config) if base.tls => {
                let server = ServerName::try_from(base.host.clone()).map_err(|_| no_host())?;
                Some((Arc::clone(config), server))
            }
            Some(_) | None => None,
        };
        let dialer = Dialer {
            connection: resource.connection.name.to_string(),
            host: Host { name: base.host.clone(), port: base.port },
            proxy: connection.proxy(base).map_err(|host| Error::Host { destination: name(), host })?.map(Box::new),
            guard: Guard::new(&resource.connection.allow_networks),
            tls,
            speaks: AtomicU8::default(),
        };
        let path = resource.endpoint.split('?').next().unwrap_or_default();
        let fixed_endpoint = !has_path_parameters(&resource.endpoint);
        let shared = match previous {
            Some(previous) => Arc::clone(&previous.shared),
            None => Arc::new(Shared::new(&resource)),
        };
        if let Some((_, tokens)) = connection.auth().token() {
            tokens.wakes(&shared.waiters);
        }
        let retired = AtomicBool::new(false);
        let (responses, secrets) = (Responses::default(), auth::secrets_of(&resource));
        let template = connection.auth().redact_beside(&secrets, &format!("{}{path}", base.path));
        Ok(Self {
            fixed_endpoint,
            method,
            authority,
            dialer,
            responses,
            secrets,
            template,
            shared,
            retired,
            idle: IDLE,
            connection,
            resource,
        })
    }

    /// The same, its answers judged by these entries; without them the status table decides.
    #[must_use]
    pub fn judged_by(self, responses: Responses) -> Self {
        Self { responses, ..self }
    }

    /// The same as one of so many destinations. A connection takes some KiB on either side, so they are kept for less long
    /// where there are very many.
    #[must_use]
    pub fn among(self, destinations: usize) -> Self {
        let crowds = u32::try_from(destinations / CROWD).unwrap_or(u32::MAX);
        Self { idle: IDLE / crowds.max(1), ..self }
    }

    /// How long its connections are kept that nobody uses.
    #[must_use]
    pub const fn keeps_idle(&self) -> Duration {
        self.idle
    }

    /// Takes the place of `previous`, now that the whole reload is accepted: changed limits begin, and an open breaker gets
    /// another chance, for the change may be the cure. A hold stays until someone ends it.
    pub fn adopt(&self, previous: &Self, now: Monotonic) {
        previous.retired.store(true, Ordering::Release);
        self.shared.follow(&previous.resource, &self.resource, now);
    }

    /// No longer in use: its resource is gone.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Another one is in its place, or none.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The resource it was built from.
    #[must_use]
    pub fn resource(&self) -> &Arc<resources::Destination> {
        &self.resource
    }

    /// The endpoint has no path parameters, so 403, 404, 405 and 410 speak of the destination, not of the event.
    #[must_use]
    pub fn is_fixed_endpoint(&self) -> bool {
        self.fixed_endpoint
    }

    /// Where its requests go.
    #[must_use]
    pub fn to(&self) -> To<'_> {
        To { method: &self.method, authority: &self.authority }
    }

    /// Who we are there.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        self.connection.auth()
    }

    /// Text for people: its secrets and those of its connection become `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.auth().redact_beside(&self.secrets, text)
    }

    /// Path of its requests with the names of their parameters, for people.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What its answers mean, where people wrote it.
    #[must_use]
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    /// How to reach it.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Shows texts as they are, for rendering a request that is sent.
    #[must_use]
    pub const fn reveal(&self) -> Revealed {
        Revealed::new()
    }

    /// What is counted of it.
    #[must_use]
    pub fn figures(&self) -> &Arc<DestinationFigures> {
        &self.shared.figures
    }

    /// Its concurrency limit.
    #[must_use]
    pub fn concurrency(&self) -> &Concurrency {
        &self.shared.concurrency
    }

    /// A seat for a dispatcher, to be woken when something changes.
    #[must_use]
    pub fn sit(&self) -> Seat {
        self.shared.waiters.sit()
    }

    /// Tells which part of its rate limits this replica may use, of [`PARTS`](crate::model::stored::PARTS); a share that is new starts
    /// empty. So does that of its connection, which the first of its destinations tells: all have the same.
    pub fn set_share(&self, share: u8, now: Monotonic) {
        self.connection.limiter().set_share(share, now);
        self.shared.limiter.set_share(share, now);
        self.shared.waiters.wake_all();
    }

    /// Whether hold and gate let anything through; takes nothing.
    #[must_use]
    pub fn is_open(&self, now: Monotonic) -> Passage {
        if self.shared.holding.is_held() {
            return Passage::Wait(None);
        }
        match self.shared.gate.closed_until(now) {
            Some(until) => Passage::Wait(Some(until)),
            None => Passage::Free { probe: false },
        }
    }

    /// Whether a request may prove who we are.
    #[must_use]
    pub fn credentials(&self, now: Monotonic) -> Credentials {
        self.connection.credentials(now)
    }

    /// Asks the breaker. A probe that is let through must end in [`Destination::observe`] or
    /// [`Destination::probe_lost`].
    #[must_use]
    pub fn pass(&self, now: Monotonic) -> Passage {
        match self.shared.breaker.pass(now) {
            Pass::Free => Passage::Free { probe: false },
            Pass::Probe => Passage::Free { probe: true },
            Pass::WaitUntil(at) => Passage::Wait(Some(at)),
        }
    }

    /// The probe ended without an answer of the destination.
    pub fn probe_lost(&self, now: Monotonic) {
        self.shared.breaker.probe_lost(now);
        self.shared.waiters.wake_all();
    }

    /// The rate limits of it and of its connection.
    #[must_use]
    pub fn limits(&self) -> Both {
        Both::load(&self.shared.limiter, self.connection.limiter())
    }

    /// Learns from the end of an attempt that began at `began`. `code` and `message` are kept for status if it stops
    /// the destination; `chance` in 0..1 spreads the replicas.
    pub fn observe(&self, health: Health, attempt: &Attempt<'_>, chance: f64) {
        let Attempt { now, began, probe, .. } = *attempt;
        let shared = &*self.shared;
        if self.is_retired() && matches!(health, Health::Incident | Health::Gone) {
            // The old address or credentials were wrong; the new ones have not been tried by this.
            if probe {
                self.probe_lost(now);
            }
            return;
        }
        let change = match health {
            Health::Good => {
                shared.gate.success();
                shared.concurrency.success();
                shared.breaker.success(now, probe)
            }
            Health::Failing { congested } => {
                if congested {
                    shared.concurrency.congestion(now, began);
                }
                shared.breaker.failure(now, probe, chance)
            }
            Health::Overloaded(retry_after) => {
                shared.concurrency.congestion(now, began);
                if shared.gate.closed_until(now).is_none() {
                    shared.since.gate.set(now);
                }
                shared.gate.overload(now, retry_after);
                // It is alive, which is all that a probe asks.
                if probe { shared.breaker.success(now, probe) } else { Change::None }
            }
            Health::Incident => shared.breaker.incident(now, probe, chance),
            Health::Gone => {
                let (name, code, message) = (&self.resource.name, attempt.code, attempt.message);
                tracing::error!(
                    destination = %name, code, error = message,
                    "held: it is gone; correct its endpoint, then: tidegate resume {name}"
                );
                self.hold(Hold::Gone, message.to_owned());
                shared.breaker.incident(now, probe, chance)
            }
        };
        match change {
            Change::None => {}
            Change::Opened => {
                let (name, code, message) = (&self.resource.name, attempt.code, attempt.message);
                tracing::warn!(destination = %name, code, error = message, "stopped sending to the destination");
                let trouble = Trouble { code, message: message.to_owned() };
                let before = shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(trouble);
                if before.is_none() {
                    shared.since.breaker.set(now);
                }
                shared.waiters.wake_all();
            }
            Change::Closed => {
                tracing::info!(destination = %self.resource.name, "the destination is back");
                *shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                shared.concurrency.restart();
                shared.waiters.wake_all();
            }
        }
    }

    /// Counts what became of an attempt. Refusals beyond the dead-letter budget hold the destination; `true` says that
    /// this one is, so that its event is kept instead of given up.
    pub fn exceeds_budget(&self, report: &Report, now: Monotonic) -> bool {
        let Some(budget) = &self.resource.dead_letter_budget else { return false };
        let counted = self.shared.budget.count(budget, report.class == Class::Reject, now);
        let Err(Exceeded { refused, outcomes }) = counted else { return false };
        // The rule or endpoint that was wrong is gone already.
        if self.is_retired() || self.shared.holding.is_held() {
            return true;
        }
        let (name, code, message) = (&self.resource.name, report.code, report.message.as_str());
        let (max, percent) = (budget.max, budget.percent);
        tracing::error!(
            destination = %name, code = "DESTINATION_HELD", refused, outcomes, last = code,
            "held: it refused more than its dead-letter budget max({max}, {percent} %) allows, last: {message}; its events \
             wait, nothing is lost; mend the rule or the destination, then: tidegate resume {name}"
        );
        self.hold(Hold::DeadLetterBudget, format!("refused {refused} of {outcomes}, last: {message}"));
        true
    }
}

/// An attempt that ended, as [`Destination::observe`] wants it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The present.
    pub now: Monotonic,
    /// When it began.
    pub began: Monotonic,
    /// It was the breaker's probe.
    pub probe: bool,
    /// Code of its report.
    pub code: &'static str,
    /// Message of its report.
    pub message: &'a str,
}

impl Shared {
    fn new(resource: &resources::Destination) -> Self {
        let waiters = Arc::new(Waiters::default());
        Self {
            limiter: Limiter::new(&resource.rate_limits),
            gate: Gate::default(),
            breaker: Breaker::default(),
            concurrency: Concurrency::new(resource.concurrency_max, Arc::clone(&waiters)),
            waiters,
            budget: Budget::default(),
            holding: Holding::default(),
            since: Since::default(),
            figures: Arc::default(),
            trouble: Mutex::new(None),
        }
    }

    /// Goes on under a changed resource.
    fn follow(&self, before: &resources::Destination, after: &resources::Destination, now: Monotonic) {
        if before.rate_limits != after.rate_limits {
            self.limiter.replace(&after.rate_limits, now);
        }
        self.concurrency.set_max(after.concurrency_max);
        self.breaker.retry_now(now);
        self.waiters.wake_all();
    }
}
