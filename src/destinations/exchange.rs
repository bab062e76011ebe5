//! Exchange: fetches the token of a connection, over the network, off the workers.
//!
//! [`serve`] is the one task that fetches while deliveries run; dispatchers ask it by a channel and never wait for it.
//! The fetch obeys the connection's network policy at the address really dialled, its certificates and its proxy;
//! proxies of the environment count only where the connection says so. Redirects are not followed.

use super::auth::{Grant, NoToken, reveal};
use super::dial;
use super::guard::Guard;
use super::proxy::between;
use super::status::Trouble;
use super::token::{Change, Fetched, Tokens};
use crate::model::clock::Monotonic;
use crate::model::resources::{Auth, BaseUrl, Connection, Proxy, Resolve};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::RETRY_AFTER;
use reqwest::dns::{Addrs, Name, Resolving};
use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;

/// The whole of a fetch.
const DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// As for any other answer (delivery.md "Failure classes").
const LONGEST_WAIT: u64 = 3_600;

/// Where dispatchers ask for tokens.
pub type Post = mpsc::UnboundedSender<Arc<Exchange>>;

/// How the token of a connection is fetched.
#[derive(Debug)]
pub struct Exchange {
    connection: Arc<Connection>,
    grant: Arc<Grant>,
    tokens: Arc<Tokens>,
    tls: Arc<ClientConfig>,
}

/// Why no token came; no text of it holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They said no.
    #[error("{}; check {cure} of connection `{connection}`", self.what())]
    Refused {
        /// Connection.
        connection: String,
        /// Where.
        endpoint: String,
        /// Status.
        status: u16,
        /// What they said about it; may be empty.
        said: String,
        /// Keys to look at.
        cure: &'static str,
    },
    /// No answer that counts.
    #[error("{}", self.what())]
    Unreachable {
        /// Connection.
        connection: String,
        /// Where.
        endpoint: String,
        /// What came instead.
        detail: String,
        /// How long they asked to wait.
        wait: Option<Duration>,
    },
    /// An answer without a token that can be used.
    #[error("{}", self.what())]
    Unreadable {
        /// Connection.
        connection: String,
        /// Where.
        endpoint: String,
        /// Status.
        status: u16,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AUTH_TOKEN_REFUSED",
            Self::Unreachable { .. } => "AUTH_TOKEN_UNREACHABLE",
            Self::Unreadable { .. } => "AUTH_TOKEN_UNREADABLE",
        }
    }

    /// What happened, without what to do.
    fn what(&self) -> String {
        match self {
            Self::Refused { connection, endpoint, status, said, .. } if said.is_empty() => {
                format!("connection {connection}: {status} from {endpoint}")
            }
            Self::Refused { connection, endpoint, status, said, .. } => {
                format!("connection {connection}: {status} {said} from {endpoint}")
            }
            Self::Unreachable { connection, endpoint, detail, .. } => {
                format!("connection {connection}: no token from {endpoint}: {detail}")
            }
            Self::Unreadable { connection, endpoint, status, detail } => {
                format!("connection {connection}: {status} from {endpoint}, but {detail}")
            }
        }
    }

    /// The line that says it while events wait.
    fn told(&self, wait: Duration) -> String {
        let cure = match self {
            Self::Refused { cure, .. } => format!("; check {cure}"),
            Self::Unreachable { .. } | Self::Unreadable { .. } => String::new(),
        };
        let seconds = wait.as_secs_f64().ceil();
        format!("{}; its events wait, no attempts used, next try {seconds} s{cure}", self.what())
    }
}

/// Fetches what is asked for, several connections side by side, until nobody can ask any more. Whoever runs it, ends it.
pub async fn serve(mut asked: mpsc::UnboundedReceiver<Arc<Exchange>>) {
    let mut fetches = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = fetches.next() => {}
            exchange = asked.recv() => match exchange {
                Some(exchange) => fetches.push(async move { exchange.refresh_telling().await }),
                None => break,
            },
        }
    }
}

impl Exchange {
    pub(super) fn new(
        connection: Arc<Connection>,
        grant: Arc<Grant>,
        tokens: Arc<Tokens>,
        tls: Arc<ClientConfig>,
    ) -> Self {
        Self { connection, grant, tokens, tls }
    }

    /// Fetches a token and puts it in the place of the last, or notes why there is none and for how long.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn refresh(&self) -> Result<(), Error> {
        self.renew().await.0
    }

    /// The same, and says what changed by it: once, however often it fails for the same reason.
    async fn refresh_telling(&self) {
        let (name, endpoint) = (&self.connection.name, &self.grant.endpoint);
        match self.renew().await {
            (Ok(()), Change::Back) => {
                tracing::info!(connection = %name, endpoint, "connection {name}: tokens come again")
            }
            (Err(error), Change::Failing { wait }) => {
                let next_try_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::error!(code = error.code(), connection = %name, endpoint, next_try_ms, "{}", error.told(wait));
            }
            (Ok(()) | Err(_), _) => {}
        }
    }

    async fn renew(&self) -> (Result<(), Error>, Change) {
        let asked = Monotonic::now();
        match self.fetch().await {
            Ok(fetched) => {
                let lifetime_s = fetched.lifetime.map(|lifetime| lifetime.as_secs());
                tracing::debug!(connection = %self.connection.name, lifetime_s, "a token was fetched");
                (Ok(()), self.tokens.fetched(fetched, asked, fastrand::f64()))
            }
            Err(error) => {
                let trouble = Trouble { code: error.code(), message: error.to_string() };
                let wait = match &error {
                    Error::Unreachable { wait, .. } => *wait,
                    Error::Refused { .. } | Error::Unreadable { .. } => None,
                };
                let change = self.tokens.failed(trouble, wait, Monotonic::now(), fastrand::f64());
                (Err(error), change)
            }
        }
    }

    /// Fetches a token, for this once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fetch(&self) -> Result<Fetched, Error> {
        let answer = match tokio::time::timeout(DEADLINE, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("no answer within {} s", DEADLINE.as_secs()), None)),
        };
        let (status, wait, body) = answer?;
        let (connection, endpoint) = (self.connection.name.to_string(), self.grant.endpoint.clone());
        self.grant.read(status, &body, &self.tokens.secrets()).map_err(|no| match no {
            NoToken::Refused(said) => Error::Refused { connection, endpoint, status, said, cure: self.grant.cure },
            NoToken::Unable => self.unreachable(format!("it answered {status}"), wait),
            NoToken::Unreadable(detail) => Error::Unreadable { connection, endpoint, status, detail },
        })
    }

    /// Status, the wait they ask for, and the body.
    async fn ask(&self) -> Result<(u16, Option<Duration>, Vec<u8>), Error> {
        self.check_host().await?;
        let client = self.client().map_err(|error| self.failed(&error))?;
        let mut request = client.request(self.grant.method.clone(), self.grant.url());
        request = request.headers(self.grant.headers.clone());
        if let Some(body) = &self.grant.body {
            request = request.body(body.clone());
        }
        let mut response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let wait = wait.map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_WAIT)));
        let mut body = Vec::new();
        while let Some(more) = response.chunk().await.map_err(|error| self.failed(&error))? {
            body.extend_from_slice(&more);
            if body.len() > ANSWER_BYTES {
                let (connection, endpoint) = (self.connection.name.to_string(), self.grant.endpoint.clone());
                let detail = "its answer is longer than 64 KiB".to_owned();
                return Err(Error::Unreadable { connection, endpoint, status, detail });
            }
        }
        Ok((status, wait, body))
    }

    /// Of one fetch: they are hours apart, so nothing is gained by keeping it.
    fn client(&self) -> reqwest::Result<reqwest::Client> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (proxy, proxy_host) = match self.proxy() {
            Some((url, proxy)) => (Some(reqwest_proxy(url, proxy)?), Some(url.host.clone())),
            None => (None, None),
        };
        let resolver = Resolver { connection: self.connection.name.to_string(), guard: self.guard(), proxy_host };
        let builder = reqwest::Client::builder()
            .user_agent(AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver);
        match proxy {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        }
        .build()
    }

    fn guard(&self) -> Guard {
        Guard::new(&self.connection.allow_networks)
    }

    /// The proxy in between, if there is one.
    fn proxy(&self) -> Option<(&BaseUrl, &Proxy)> {
        let proxy = self.connection.proxy.as_ref()?;
        let base = match &self.connection.auth {
            Auth::OAuth2(oauth2) => &oauth2.endpoint.base,
            Auth::Token(token) => &token.endpoint.base,
            Auth::None | Auth::Basic { .. } | Auth::Bearer(_) | Auth::ApiKey { .. } => return None,
        };
        between(proxy, base).map(|url| (url, proxy))
    }

    /// An address that is written instead of a name is looked up by nobody, so it is checked here; with a proxy in
    /// between, we look a name up once ourselves unless that is left to the proxy.
    async fn check_host(&self) -> Result<(), Error> {
        let host = self.grant.host.as_str();
        let looked_up_by_others = match self.proxy() {
            None => true,
            Some((_, proxy)) => proxy.resolve == Resolve::Proxy,
        };
        if looked_up_by_others && host.parse::<IpAddr>().is_err() {
            return Ok(());
        }
        let checked = allowed(self.connection.name.as_str(), &self.guard(), host).await;
        checked.map(drop).map_err(|error| self.unreachable(error.to_string(), None))
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        // What is around the innermost says only that it happened, with the url; ours says what to do.
        let mut detail = "the request failed".to_owned();
        let mut next: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(inner) = next {
            detail = inner.to_string();
            next = if inner.is::<dial::Error>() { None } else { inner.source() };
        }
        self.unreachable(detail, None)
    }

    fn unreachable(&self, detail: String, wait: Option<Duration>) -> Error {
        Error::Unreachable {
            connection: self.connection.name.to_string(),
            endpoint: self.grant.endpoint.clone(),
            detail: self.grant.redact(&detail, &self.tokens.secrets()),
            wait,
        }
    }
}

fn reqwest_proxy(url: &BaseUrl, proxy: &Proxy) -> reqwest::Result<reqwest::Proxy> {
    let built = reqwest::Proxy::all(url.origin())?;
    Ok(match &proxy.credentials {
        Some((user, password)) => built.basic_auth(reveal(user), reveal(password)),
        None => built,
    })
}

/// Looks names up and lets only allowed addresses through. The proxy's own name is written by whoever runs this, and
/// may well be inside.
struct Resolver {
    connection: String,
    guard: Guard,
    proxy_host: Option<String>,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (connection, host) = (self.connection.clone(), name.as_str().to_owned());
        let guard = (self.proxy_host.as_deref() != Some(host.as_str())).then(|| self.guard.clone());
        Box::pin(async move {
            let found = match guard {
                Some(guard) => allowed(&connection, &guard, &host).await?,
                None => tokio::net::lookup_host((host.as_str(), 0)).await?.collect(),
            };
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// The addresses of a host that may be dialled; the port is whoever dials'.
async fn allowed(connection: &str, guard: &Guard, host: &str) -> Result<Vec<SocketAddr>, dial::Error> {
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| dial::unresolved(connection, host, error))?;
    let (mut passed, mut forbidden) = (Vec::new(), None);
    for address in found {
        match guard.check(address.ip()) {
            Ok(()) => passed.push(address),
            Err(kind) => forbidden = Some((address.ip(), kind)),
        }
    }
    let (host, connection) = (host.to_owned(), connection.to_owned());
    match forbidden {
        _ if !passed.is_empty() => Ok(passed),
        Some((address, kind)) => Err(dial::Error::Forbidden { host, address, kind, connection }),
        None => Err(dial::Error::NoSuchHost { host, connection }),
    }
}
