//! A connection at run time: who we are at a system, and what its destinations share there.
//!
//! One per connection of the resources; every destination that names it holds the same one.

use super::auth::{self, Auth};
use super::rate::{Decision, Limiter};
use super::status::millis;
use super::tls::{self, Roots};
use crate::model::clock::Monotonic;
use crate::model::resources;
use std::sync::Arc;
use tokio_rustls::rustls::ClientConfig;

/// A connection at run time.
#[derive(Debug)]
pub struct Connection {
    resource: Arc<resources::Connection>,
    auth: Auth,
    /// `None` if none of its destinations speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    /// Limits hold across a reload.
    limiter: Arc<Limiter>,
}

/// A connection at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub connection: String,
    /// It has rate limits.
    pub limited: bool,
    /// Owned slots of 32; the share of its rate limits.
    pub share: u8,
    /// Until its next permit; `None` if one is there, or if there is no share.
    pub rate_wait_ms: Option<u64>,
}

/// Why a connection cannot be built from its resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Credentials.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Auth(_) => "CONFIG_AUTH",
            Self::Tls(_) => "CONFIG_TLS",
        }
    }
}

impl Connection {
    /// A connection; `tls` says that at least one of its destinations speaks TLS. It has no share of its rate limits
    /// yet. `previous` is what it was before a reload: both share the limits; [`Connection::adopt`] makes the change.
    ///
    /// # Errors
    /// The resource cannot be used; see [`Error`].
    pub fn new(
        resource: Arc<resources::Connection>,
        roots: &Roots,
        tls: bool,
        previous: Option<&Self>,
    ) -> Result<Self, Error> {
        let auth = Auth::new(&resource)?;
        let tls = if tls { Some(tls::client(&resource, roots)?) } else { None };
        let limiter = match previous {
            Some(previous) => Arc::clone(&previous.limiter),
            None => Arc::new(Limiter::new(&resource.rate_limits)),
        };
        Ok(Self { resource, auth, tls, limiter })
    }

    /// Takes the place of `previous`, now that the whole reload is accepted: changed limits begin. To be called before
    /// its destinations do so, for they wake who waits.
    pub fn adopt(&self, previous: &Self, now: Monotonic) {
        if previous.resource.rate_limits != self.resource.rate_limits {
            self.limiter.replace(&self.resource.rate_limits, now);
        }
    }

    /// Its limits on requests, which hold for all its destinations together.
    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What it says about itself.
    #[must_use]
    pub fn status(&self, now: Monotonic) -> Status {
        let rate_wait_ms = match self.limiter.peek(now) {
            Decision::WaitUntil(at) => Some(millis(at.since(now))),
            Decision::Granted | Decision::NoShare => None,
        };
        Status {
            connection: self.resource.name.to_string(),
            limited: self.limiter.is_limited(),
            share: self.limiter.share(),
            rate_wait_ms,
        }
    }

    /// The resource it was built from.
    #[must_use]
    pub fn resource(&self) -> &Arc<resources::Connection> {
        &self.resource
    }

    /// Who we are there.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The TLS configuration of its destinations.
    pub(super) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }
}
