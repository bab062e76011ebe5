//! A connection at run time: who we are at a system, and what its destinations share there.
//!
//! One per connection of the resources; every destination that names it holds the same one.

use super::auth::{self, Auth};
use super::exchange::{Exchange, Post};
use super::limits::Limiter;
use super::proxy::{self, Proxy};
use super::rate::Decision;
use super::status::{Trouble, millis};
use super::tls::{self, Roots};
use super::token::{Lease, Look};
use crate::model::clock::Monotonic;
use crate::model::resources::{self, BaseUrl};
use crate::telemetry::state;
use std::sync::{Arc, OnceLock};
use tokio_rustls::rustls::ClientConfig;

/// A connection at run time.
#[derive(Debug)]
pub struct Connection {
    resource: Arc<resources::Connection>,
    auth: Auth,
    /// `None` if none of its destinations speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    /// For an `https` proxy.
    tls_to_proxy: Option<Arc<ClientConfig>>,
    /// Limits hold across a reload.
    limiter: Arc<Limiter>,
    /// How its token is fetched, if it needs one, and who does it.
    exchange: Option<Arc<Exchange>>,
    post: OnceLock<Post>,
}

/// Whether there is what a request needs to prove who we are.
#[derive(Debug)]
pub enum Credentials {
    /// There is; where it is a token, this one.
    Ready(Option<Lease>),
    /// The token is being fetched, or cannot be had: ask again at this moment, if it is known, or when woken.
    Wait(Option<Monotonic>),
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
        let auth = Auth::new(&resource, previous.map(|previous| &previous.auth))?;
        let tls_for_tokens = auth.token().is_some_and(|(grant, _)| grant.tls);
        // What did not change stays, and with it the sessions that TLS can resume.
        let same = previous.filter(|previous| tls::is_same(&previous.resource, &resource));
        let tls = match same.and_then(|same| same.tls.clone()) {
            Some(before) => Some(before),
            None if tls || tls_for_tokens => Some(tls::client(&resource, roots)?),
            None => None,
        };
        let tls_to_proxy = match same.and_then(|same| same.tls_to_proxy.clone()) {
            Some(before) => Some(before),
            None if resource.proxy.as_ref().is_some_and(proxy::needs_tls) => Some(tls::to_proxy(&resource, roots)?),
            None => None,
        };
        let limiter = match previous {
            Some(previous) => Arc::clone(&previous.limiter),
            None => Arc::new(Limiter::new(&resource.rate_limits)),
        };
        let exchange = match auth.token() {
            Some((grant, tokens)) => {
                let tls = tls.clone().map_or_else(|| tls::trusting_nobody(&resource), Ok)?;
                let (grant, tokens) = (Arc::clone(grant), Arc::clone(tokens));
                Some(Arc::new(Exchange::new(Arc::clone(&resource), grant, tokens, tls)))
            }
            None => None,
        };
        Ok(Self { resource, auth, tls, tls_to_proxy, limiter, exchange, post: OnceLock::new() })
    }

    /// Takes the place of `previous`, now that the whole reload is accepted: changed limits begin. To be called before
    /// its destinations do so, for they wake who waits.
    pub fn adopt(&self, previous: &Self, now: Monotonic) {
        if previous.resource.rate_limits != self.resource.rate_limits {
            self.limiter.replace(&self.resource.rate_limits, now);
        }
        if let Some((_, tokens)) = self.auth.token() {
            // Where the token endpoint failed, the change may be the cure.
            tokens.retry_now(now);
        }
    }

    /// The proxy on the way to a destination, if there is one; `Err` is a host that can be none.
    pub(super) fn proxy(&self, base: &BaseUrl) -> Result<Option<Proxy>, String> {
        let Some(written) = &self.resource.proxy else { return Ok(None) };
        let Some(url) = proxy::between(written, base) else { return Ok(None) };
        // Never the direct way instead.
        Proxy::new(written, url, self.tls_to_proxy.as_ref()).map(Some).ok_or_else(|| url.host.clone())
    }

    /// Its limits on requests, which hold for all its destinations together.
    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Says who fetches its tokens; without it, none come. The first one said remains.
    pub fn fetch_by(&self, post: &Post) {
        self.post.get_or_init(|| post.clone());
    }

    /// How its token is fetched, if it needs one.
    #[must_use]
    pub fn exchange(&self) -> Option<&Arc<Exchange>> {
        self.exchange.as_ref()
    }

    /// Whether a request may prove who we are now. Has a token fetched where one is missing or soon will be.
    #[must_use]
    pub fn credentials(&self, now: Monotonic) -> Credentials {
        let Some((_, tokens)) = self.auth.token() else { return Credentials::Ready(None) };
        let (credentials, ask) = match tokens.look(now) {
            Look::Ready { lease, ask } => (Credentials::Ready(Some(lease)), ask),
            Look::Wait { until, ask } => (Credentials::Wait(until), ask),
        };
        if ask && let (Some(exchange), Some(post)) = (&self.exchange, self.post.get()) {
            // Nobody takes it while the process ends.
            drop(post.send(Arc::clone(exchange)));
        }
        credentials
    }

    /// They no longer take the token of that generation. The next request waits for another.
    pub fn refuse_token(&self, generation: u64) {
        if self.auth.token().is_some_and(|(_, tokens)| tokens.refuse(generation)) {
            tracing::info!(connection = %self.resource.name, "the token was refused before its time; another is fetched");
        }
    }

    /// How long requests wait for a token, if they do.
    pub(super) fn token_wait(&self, now: Monotonic) -> Option<std::time::Duration> {
        self.auth.token().and_then(|(_, tokens)| tokens.wait(now))
    }

    /// Why no token comes, if so.
    pub(super) fn token_trouble(&self) -> Option<Trouble> {
        self.auth.token().and_then(|(_, tokens)| tokens.trouble())
    }

    /// What it says about itself.
    #[must_use]
    pub fn status(&self, now: Monotonic) -> state::Connection {
        let rate_wait_ms = match self.limiter.peek(now) {
            Decision::WaitUntil(at) => Some(millis(at.since(now))),
            Decision::Granted | Decision::NoShare => None,
        };
        state::Connection {
            name: self.resource.name.to_string(),
            rate_limits: self.resource.rate_limits.iter().map(|limit| limit.rate.to_string()).collect(),
            share: self.limiter.share(),
            rate_wait_ms,
            token: self.auth.token().map(|(_, tokens)| tokens.state(now)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::Place;
    use crate::model::name::Name;
    use secrecy::SecretString;

    #[test]
    fn tls_settings_that_did_not_change_stay_over_a_reload() {
        let client = include_bytes!("../pipeline/deliver/tests/client.pem").to_vec();
        let key = include_str!("../pipeline/deliver/tests/client.key.pem");
        let ca = include_bytes!("../pipeline/deliver/tests/ca.pem");
        let build = |ca: &[u8], key: Option<&str>, previous: Option<&Connection>| {
            let mut resource = resources::Connection::bare(Name::new("api").unwrap(), Place::default());
            resource.ca_pem = Some(ca.to_vec());
            resource.client_pem = key.map(|key| (client.clone(), SecretString::from(key)));
            Connection::new(Arc::new(resource), &Roots::default(), true, previous)
        };
        let same = |a: &Connection, b: &Connection| Arc::ptr_eq(a.tls().unwrap(), b.tls().unwrap());
        let first = build(ca, Some(key), None).unwrap();
        assert!(same(&build(ca, Some(key), Some(&first)).unwrap(), &first));
        assert!(!same(&build(ca, None, Some(&first)).unwrap(), &first));
        assert!(!same(&build(&client, Some(key), Some(&first)).unwrap(), &first));
        let broken = build(b"-----BEGIN CERTIFICATE-----\nbroken", Some(key), Some(&first)).unwrap_err();
        assert_eq!(broken.code(), "CONFIG_TLS");
    }
}
