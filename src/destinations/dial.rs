//! Dial: from a host name to a connection that speaks HTTP: resolve, check every address, connect (directly or
//! through a proxy), TLS.

use super::guard::Guard;
use super::pool::Dialled;
use super::proxy::{self, Proxy, Tunnel};
use super::stream::{Phase, Stream, Wire};
use crate::model::clock::WallMs;
use futures_util::future::LocalBoxFuture;
use rustls_pki_types::{ServerName, UnixTime};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error as RustlsError};

/// An address that does not answer must not use up the whole deadline while others are left.
const PER_ADDRESS: Duration = Duration::from_secs(2);

/// How to reach a destination; shared by its dispatchers.
#[derive(Debug)]
pub struct Dialer {
    /// Name of the connection, for messages.
    pub(super) connection: String,
    pub(super) host: Host,
    pub(super) guard: Guard,
    /// The way out, if it is not direct; few have one, and it is large.
    pub(super) proxy: Option<Box<Proxy>>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What they chose last: one of the four below.
    pub(super) speaks: AtomicU8,
}

/// The way from here to a host.
#[derive(Debug, Clone, Default)]
pub enum Network {
    /// The operating system's.
    #[default]
    System,
    /// Another: one in memory, in simulations.
    Other(Arc<dyn Connect>),
}

/// A network that needs no look-up and no encryption.
pub trait Connect: fmt::Debug + Send + Sync {
    /// A stream to that host.
    fn connect(&self, host: &str, port: u16) -> LocalBoxFuture<'static, io::Result<Pipe>>;
}

/// A stream of such a network.
pub type Pipe = Box<dyn Duplex>;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Where a host is on another network than the system's.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// IPv6 without brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;
const ONLY_HTTP1: u8 = 3;

/// Why no connection came about; no byte of the request was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not exist.
    #[error("no such host `{host}`; correct the url of connection `{connection}`")]
    NoSuchHost {
        /// Host.
        host: String,
        /// Connection.
        connection: String,
    },
    /// The name could not be resolved now.
    #[error("`{host}` cannot be resolved at the moment: {source}")]
    Resolve {
        /// Host.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No address may be dialled.
    #[error(
        "`{host}` is {address}, {kind}, which is not dialled; if it is meant, add it to `allow_networks` of connection \
         `{connection}`"
    )]
    Forbidden {
        /// Host.
        host: String,
        /// The address.
        address: IpAddr,
        /// What kind of address it is.
        kind: &'static str,
        /// Connection.
        connection: String,
    },
    /// No address took the connection.
    #[error("cannot connect to `{host}` at {address}: {source}")]
    Connect {
        /// Host.
        host: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// They are not who they say, or do not accept who we are.
    #[error(
        "TLS with `{host}`: {source}; check the url, `tls.ca_file` and the client certificate of connection \
         `{connection}`"
    )]
    Verify {
        /// Host.
        host: String,
        /// Connection.
        connection: String,
        /// What TLS says.
        source: io::Error,
    },
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake with `{host}` failed: {source}")]
    Handshake {
        /// Host.
        host: String,
        /// What TLS says.
        source: io::Error,
    },
    /// The proxy opens no way.
    #[error("the proxy {proxy} of connection `{connection}` {problem}")]
    Proxy {
        /// Its url, without credentials.
        proxy: String,
        /// Connection.
        connection: String,
        /// Why not.
        problem: proxy::Problem,
    },
    /// The deadline passed first.
    #[error("no connection to `{host}` in time: {}", waiting(*phase))]
    Timeout {
        /// Host, and the proxy if there is one.
        host: String,
        /// What was waited for.
        phase: Phase,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchHost { .. } | Self::Resolve { .. } => "DELIVER_DNS",
            Self::Forbidden { .. } => "DELIVER_FORBIDDEN",
            Self::Connect { .. } => "DELIVER_CONNECT",
            Self::Verify { .. } | Self::Handshake { .. } => "DELIVER_TLS",
            Self::Proxy { .. } => "DELIVER_PROXY",
            Self::Timeout { .. } => "DELIVER_TIMEOUT",
        }
    }

    /// The destination as a whole is wrong: trying again soon will not help.
    #[must_use]
    pub const fn is_incident(&self) -> bool {
        match self {
            Self::NoSuchHost { .. } | Self::Forbidden { .. } | Self::Verify { .. } => true,
            Self::Proxy { problem, .. } => problem.is_incident(),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Handshake { .. } | Self::Timeout { .. } => false,
        }
    }
}

/// What a failed look-up means: there is no such name, or the resolver does not answer now.
pub(super) fn unresolved(connection: &str, host: &str, source: io::Error) -> Error {
    let host = host.to_owned();
    if is_unknown(&source) {
        return Error::NoSuchHost { host, connection: connection.to_owned() };
    }
    Error::Resolve { host, source }
}

/// What a phase waits for, for people.
#[must_use]
pub const fn waiting(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "the name was not resolved",
        Phase::Connect => "the address did not answer",
        Phase::Proxy => "the proxy opened no way",
        Phase::Handshake => "the TLS handshake did not end",
        Phase::Headers => "no answer came",
        Phase::Body => "the answer did not end",
    }
}

impl Dialer {
    /// A new connection. Ends early when `wire` is expired.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dial(&self, wire: Rc<Wire>) -> Result<Dialled, Error> {
        self.dial_over(&Network::default(), wire).await
    }

    /// The same over another network than the system's.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dial_over(&self, network: &Network, wire: Rc<Wire>) -> Result<Dialled, Error> {
        let connected = wire.unless_expired(self.connect(network, &wire)).await;
        connected.unwrap_or_else(|| {
            let host = match &self.proxy {
                Some(proxy) => format!("{}` through `{}", self.host.name, proxy.origin()),
                None => self.host.name.clone(),
            };
            Err(Error::Timeout { host, phase: wire.phase() })
        })
    }

    async fn connect(&self, network: &Network, wire: &Rc<Wire>) -> Result<Dialled, Error> {
        let stream = match network {
            Network::System => self.stream(wire).await?,
            Network::Other(network) => {
                wire.enter(Phase::Connect);
                let connected = network.connect(&self.host.name, self.host.port).await;
                let host = || self.host.name.clone();
                Stream::other(
                    connected.map_err(|source| Error::Connect { host: host(), address: NOWHERE, source })?,
                    Rc::clone(wire),
                )
            }
        };
        let dialled = Dialled::open(stream, Rc::clone(wire)).await;
        let dialled = dialled
            .map_err(|error| Error::Handshake { host: self.host.name.clone(), source: io::Error::other(error) })?;
        let speaks = match &dialled {
            Dialled::Http1(_) => HTTP1,
            Dialled::Http2(_) => HTTP2,
        };
        // Once they want HTTP/1.1 it stays so.
        if self.speaks.load(Ordering::Relaxed) != ONLY_HTTP1 {
            self.speaks.store(speaks, Ordering::Relaxed);
        }
        Ok(dialled)
    }

    async fn stream(&self, wire: &Rc<Wire>) -> Result<Stream, Error> {
        let tunnel = match &self.proxy {
            Some(proxy) => proxy.tunnel(self, wire).await?,
            None => Tunnel::Plain(self.direct(wire).await?),
        };
        let counted = Rc::clone(wire);
        Ok(match (&self.tls, tunnel) {
            (None, Tunnel::Plain(tcp)) => Stream::plain(tcp, counted),
            (None, Tunnel::Tls(tls)) => Stream::tls(*tls, counted),
            (Some(tls), Tunnel::Plain(tcp)) => Stream::tls(self.handshake(tls, tcp, wire).await?, counted),
            (Some(tls), Tunnel::Tls(outer)) => Stream::tls_in_tls(self.handshake(tls, *outer, wire).await?, counted),
        })
    }

    async fn direct(&self, wire: &Wire) -> Result<TcpStream, Error> {
        wire.enter(Phase::Resolve);
        let addresses = self.resolve().await?;
        wire.enter(Phase::Connect);
        let host = self.host.name.clone();
        first_that_answers(&addresses).await.map_err(|last| match last {
            Some((address, source)) => Error::Connect { host, address, source },
            None => Error::NoSuchHost { host, connection: self.connection.clone() },
        })
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        (config, name): &(Arc<ClientConfig>, ServerName<'static>),
        stream: S,
        wire: &Wire,
    ) -> Result<TlsStream<S>, Error> {
        wire.enter(Phase::Handshake);
        let connector = TlsConnector::from(self.config(config));
        connector.connect(name.clone(), stream).await.map_err(|source| self.tls_error(source))
    }

    /// One connection may carry many requests, so more of them are dialled one after the other. Not known before the
    /// first one.
    #[must_use]
    pub fn may_share(&self) -> bool {
        self.tls.is_some() && [UNKNOWN, HTTP2].contains(&self.speaks.load(Ordering::Relaxed))
    }

    /// They want HTTP/1.1, although they offer HTTP/2 (RFC 9113, 7: `HTTP_1_1_REQUIRED`).
    pub fn avoid_http2(&self) {
        self.speaks.store(ONLY_HTTP1, Ordering::Relaxed);
    }

    fn config(&self, config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        if self.speaks.load(Ordering::Relaxed) != ONLY_HTTP1 {
            return Arc::clone(config);
        }
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols.retain(|protocol| protocol != b"h2");
        Arc::new(config)
    }

    /// The addresses that may be dialled, both families in turn.
    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let found = self.host.lookup().await.map_err(|source| self.resolve_error(source))?;
        let mut forbidden = None;
        let mut families = (Vec::new(), Vec::new());
        let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
        for address in found {
            match self.guard.check(address.ip()) {
                Ok(()) if address.is_ipv6() == first_is_v6 => families.0.push(address),
                Ok(()) => families.1.push(address),
                Err(kind) => forbidden = Some((address.ip(), kind)),
            }
        }
        let allowed = interleave(families.0, families.1);
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        let (host, connection) = (self.host.name.clone(), self.connection.clone());
        Err(match forbidden {
            Some((address, kind)) => Error::Forbidden { host, address, kind, connection },
            None => Error::NoSuchHost { host, connection },
        })
    }

    fn resolve_error(&self, source: io::Error) -> Error {
        unresolved(&self.connection, &self.host.name, source)
    }

    fn tls_error(&self, source: io::Error) -> Error {
        let host = self.host.name.clone();
        if is_verification(&source) {
            return Error::Verify { host, connection: self.connection.clone(), source: plain(source) };
        }
        Error::Handshake { host, source }
    }
}

impl Host {
    pub(super) async fn lookup(&self) -> io::Result<Vec<SocketAddr>> {
        match self.name.parse::<IpAddr>() {
            Ok(address) => Ok(vec![SocketAddr::new(address, self.port)]),
            Err(_) => Ok(tokio::net::lookup_host((self.name.as_str(), self.port)).await?.collect()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// Connects to the first that takes it; else the last one tried and why not.
pub(super) async fn first_that_answers(addresses: &[SocketAddr]) -> Result<TcpStream, Option<(SocketAddr, io::Error)>> {
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        let connect = TcpStream::connect(address);
        let answer = if tried + 1 == addresses.len() {
            connect.await
        } else {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
            tokio::time::timeout(PER_ADDRESS, connect).await.unwrap_or_else(|_| Err(late()))
        };
        match answer {
            Ok(tcp) => {
                // Requests are written in one piece; waiting for more only delays them.
                if let Err(error) = tcp.set_nodelay(true) {
                    tracing::debug!(%address, %error, "TCP_NODELAY refused");
                }
                return Ok(tcp);
            }
            Err(source) => last = Some((*address, source)),
        }
    }
    Err(last)
}

/// Whether a resolver's error means that there is no such name, rather than no answer.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    // The resolver's codes are not in std; these are its texts on glibc, musl and BSD.
    const UNKNOWN: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "nodename nor servname provided",
    ];
    let text = error.to_string();
    UNKNOWN.iter().any(|unknown| text.contains(unknown))
}

/// The same with dates that people read, where rustls counts seconds.
fn plain(error: io::Error) -> io::Error {
    let date = |time: &UnixTime| {
        let ms = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000);
        WallMs(ms).rfc3339()
    };
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    let Some(RustlsError::InvalidCertificate(certificate)) = rustls else { return error };
    let said = if let CertificateError::ExpiredContext { not_after, .. } = certificate {
        format!("their certificate expired {}", date(not_after))
    } else if let CertificateError::NotValidYetContext { not_before, .. } = certificate {
        format!("their certificate is not valid before {}", date(not_before))
    } else {
        return error;
    };
    io::Error::other(said)
}

/// Whether an error of the stream means that one side does not accept the other's certificate. TLS 1.3 tells about
/// the client's certificate only after the handshake.
#[must_use]
pub fn is_verification(error: &io::Error) -> bool {
    let Some(rustls) = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) else { return false };
    let alert = if let RustlsError::AlertReceived(alert) = rustls { Some(*alert) } else { None };
    matches!(rustls, RustlsError::InvalidCertificate(_) | RustlsError::NoCertificatesPresented)
        || alert.is_some_and(|alert| {
            [
                AlertDescription::AccessDenied,
                AlertDescription::BadCertificate,
                AlertDescription::CertificateExpired,
                AlertDescription::CertificateRequired,
                AlertDescription::CertificateRevoked,
                AlertDescription::CertificateUnknown,
                AlertDescription::NoCertificate,
                AlertDescription::UnknownCA,
                AlertDescription::UnrecognisedName,
                AlertDescription::UnsupportedCertificate,
            ]
            .contains(&alert)
        })
}

fn interleave<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        if pair.0.is_none() && pair.1.is_none() {
            return merged;
        }
        merged.extend(pair.0);
        merged.extend(pair.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(host: &str) -> Dialer {
        let host = Host { name: host.to_owned(), port: 443 };
        let (connection, guard) = ("api".to_owned(), Guard::default());
        Dialer { connection, host, guard, proxy: None, tls: None, speaks: AtomicU8::default() }
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_incident_and_a_silent_resolver_is_not() {
        let resolver = |text: &str| {
            let text = format!("failed to lookup address information: {text}");
            dialer("api.test").resolve_error(io::Error::other(text))
        };
        assert!(resolver("Name or service not known").is_incident());
        assert!(!resolver("Temporary failure in name resolution").is_incident());
        assert_eq!(resolver("Name does not resolve").code(), "DELIVER_DNS");
    }

    #[test]
    fn families_take_turns() {
        assert_eq!(interleave(vec![1, 2, 3], vec![10]), [1, 10, 2, 3]);
        assert_eq!(interleave(vec![1], vec![10, 20]), [1, 10, 20]);
    }

    #[tokio::test]
    async fn literal_addresses_are_judged_without_asking_anybody() {
        for (host, incident) in [("127.0.0.1", true), ("::1", true), ("::ffff:8.8.8.8", true), ("8.8.8.8", false)] {
            let found = dialer(host).resolve().await;
            assert_eq!(found.is_err_and(|error| error.is_incident()), incident, "{host}");
        }
    }
}
