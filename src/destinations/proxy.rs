//! Proxy: the way out through an HTTP proxy, one tunnel per connection (`CONNECT`, RFC 9110, 9.3.6), for `http`
//! destinations too, so that the proxy sees neither requests nor credentials.
//!
//! The proxy's own address is written by whoever runs this, so the network policy does not look at it. The
//! destination's is looked up and checked here as ever, and the proxy is asked for that address; or, where `resolve`
//! says so, the proxy is asked for the name and its own policy must keep requests from private addresses. In both cases
//! TLS goes through to the destination and is checked against its name.

use super::auth;
use super::dial::{self, Dialer, Host};
use super::guard;
use super::stream::{Phase, Wire};
use crate::model::resources::{self, BaseUrl, Network, Resolve, Via};
use http::header::HeaderValue;
use rustls_pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// An answer to `CONNECT` is short.
const ANSWER_BYTES: usize = 16 * 1024;

/// The proxy between us and a destination.
#[derive(Debug)]
pub struct Proxy {
    host: Host,
    url: BaseUrl,
    /// Value of `Proxy-Authorization`.
    authorization: Option<HeaderValue>,
    resolve: Resolve,
    /// Of an `https` proxy.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A tunnel to a destination.
pub(super) enum Tunnel {
    /// Through an `http` proxy.
    Plain(TcpStream),
    /// Through an `https` proxy.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a proxy opens no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its name does not exist.
    #[error("has no address; correct `proxy` of the connection")]
    NoSuchHost,
    /// Its name could not be resolved now.
    #[error("cannot be resolved at the moment: {0}")]
    Resolve(io::Error),
    /// It does not answer.
    #[error("cannot be reached at {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// Its certificate is not accepted.
    #[error("is not who it says: {0}; check the url of `proxy`, and `tls.ca_file` if its authority is a private one")]
    Verify(io::Error),
    /// The TLS handshake failed otherwise.
    #[error("ended the TLS handshake: {0}; check whether the url of `proxy` should begin with http:")]
    Handshake(io::Error),
    /// It closed the connection.
    #[error("closed the connection before it answered: {0}")]
    Closed(io::Error),
    /// It wants to know who we are.
    #[error("wants other credentials (407); check `username` and `password` of `proxy`")]
    Credentials,
    /// It does not let us go there.
    #[error("refuses a tunnel to {target} ({status}); have it allowed there, or correct `proxy` of the connection")]
    Refused {
        /// What it was asked for.
        target: String,
        /// Its answer.
        status: u16,
    },
    /// It cannot open one now.
    #[error("cannot open a tunnel to {target} now ({status})")]
    Unable {
        /// What it was asked for.
        target: String,
        /// Its answer.
        status: u16,
    },
    /// It does not speak HTTP/1.
    #[error("answered something that is not HTTP; check scheme and port of the url of `proxy`")]
    Malformed,
}

impl Problem {
    /// Trying again soon will not help.
    #[must_use]
    pub const fn is_incident(&self) -> bool {
        match self {
            Self::NoSuchHost | Self::Verify(_) | Self::Credentials | Self::Refused { .. } | Self::Malformed => true,
            Self::Resolve(_) | Self::Connect(..) | Self::Handshake(_) | Self::Closed(_) | Self::Unable { .. } => false,
        }
    }
}

/// The proxy in between, if there is one on the way to a destination.
pub(super) fn between<'a>(proxy: &'a resources::Proxy, to: &BaseUrl) -> Option<&'a BaseUrl> {
    match &proxy.via {
        Via::Url(url) => Some(url),
        Via::Environment { except, .. } if except.iter().any(|entry| is_excepted(entry, &to.host, to.port)) => None,
        Via::Environment { https, http, .. } => if to.tls { https } else { http }.as_ref(),
    }
}

/// One of its proxies speaks TLS.
pub(super) fn needs_tls(proxy: &resources::Proxy) -> bool {
    match &proxy.via {
        Via::Url(url) => url.tls,
        Via::Environment { https, http, .. } => https.iter().chain(http).any(|url| url.tls),
    }
}

/// An entry of `NO_PROXY`: `*`, an address, a range of addresses, or a name, which stands for what ends in it too;
/// perhaps with a port.
fn is_excepted(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if let Some(network) = network(entry) {
        return address.is_some_and(|address| guard::contains(&network, address));
    }
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
        Some(_) | None => (entry, None),
    };
    if only.is_some_and(|only: u16| only != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(written) = name.parse::<IpAddr>() {
        return address == Some(written);
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let inside = || address.is_none() && host.strip_suffix(&name).is_some_and(|head| head.ends_with('.'));
    !name.is_empty() && (host == name || inside())
}

/// `10.0.0.0/8`.
fn network(entry: &str) -> Option<Network> {
    let (address, bits) = entry.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some(Network { address, bits })
}

impl Proxy {
    /// `url` is one that [`between`] chose; `tls` is for an `https` proxy. `None` if its host can stand in no
    /// certificate, which no host does that a url can hold.
    pub(super) fn new(written: &resources::Proxy, url: &BaseUrl, tls: Option<&Arc<ClientConfig>>) -> Option<Self> {
        let tls = match tls {
            Some(config) if url.tls => Some((Arc::clone(config), ServerName::try_from(url.host.clone()).ok()?)),
            Some(_) | None if url.tls => return None,
            Some(_) | None => None,
        };
        let authorization = written.credentials.as_ref().and_then(|(user, password)| auth::to_proxy(user, password));
        let host = Host { name: url.host.clone(), port: url.port };
        Some(Self { host, url: url.clone(), authorization, resolve: written.resolve, tls })
    }

    /// Where it is, without credentials.
    pub(super) fn origin(&self) -> String {
        self.url.origin()
    }

    /// A tunnel to a destination.
    pub(super) async fn tunnel(&self, to: &Dialer, wire: &Wire) -> Result<Tunnel, dial::Error> {
        let targets = match (self.resolve, to.host.name.parse::<IpAddr>()) {
            (Resolve::Proxy, Err(_)) => vec![to.host.to_string()],
            // An address that is written is looked up by nobody.
            (Resolve::Proxy, Ok(_)) | (Resolve::Local, _) => {
                wire.enter(Phase::Resolve);
                to.resolve().await?.iter().map(SocketAddr::to_string).collect()
            }
        };
        wire.enter(Phase::Proxy);
        let mut last = Problem::NoSuchHost;
        for target in targets {
            match self.open(target).await {
                Ok(tunnel) => return Ok(tunnel),
                // Another address of the destination may do.
                Err(problem @ Problem::Unable { .. }) => last = problem,
                Err(problem) => {
                    last = problem;
                    break;
                }
            }
        }
        Err(dial::Error::Proxy { proxy: self.origin(), connection: to.connection.clone(), problem: last })
    }

    async fn open(&self, target: String) -> Result<Tunnel, Problem> {
        let found = self.host.lookup().await;
        let addresses = found
            .map_err(|error| if dial::is_unknown(&error) { Problem::NoSuchHost } else { Problem::Resolve(error) })?;
        let tcp = match dial::first_that_answers(&addresses).await {
            Ok(tcp) => tcp,
            Err(Some((address, source))) => return Err(Problem::Connect(address, source)),
            Err(None) => return Err(Problem::NoSuchHost),
        };
        let Some((config, name)) = &self.tls else {
            let mut tcp = tcp;
            self.connect(&mut tcp, target).await?;
            return Ok(Tunnel::Plain(tcp));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let connected = connector.connect(name.clone(), tcp).await;
        let wrong =
            |error| if dial::is_verification(&error) { Problem::Verify(error) } else { Problem::Handshake(error) };
        let mut tls = connected.map_err(wrong)?;
        self.connect(&mut tls, target).await?;
        Ok(Tunnel::Tls(Box::new(tls)))
    }

    async fn connect(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), target: String) -> Result<(), Problem> {
        let head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: {AGENT}\r\n");
        let mut request = head.into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(Problem::Closed)?;
        stream.flush().await.map_err(Problem::Closed)?;
        match answer(stream).await? {
            200..=299 => Ok(()),
            407 => Err(Problem::Credentials),
            status @ (408 | 425 | 429 | 500..=599) => Err(Problem::Unable { target, status }),
            status => Err(Problem::Refused { target, status }),
        }
    }
}

/// The status of an answer, read to the end of its headers. A tunnel is silent until we speak, so nothing may follow.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Problem> {
    let mut head = Vec::with_capacity(256);
    loop {
        let read = stream.read_buf(&mut head).await.map_err(Problem::Closed)?;
        let status = status(&head);
        if head.len() >= b"HTTP/1.1 200".len() && status.is_none() {
            return Err(Problem::Malformed);
        }
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        match (status, end) {
            (Some(status), Some(end)) if end == head.len() || !(200..300).contains(&status) => return Ok(status),
            (_, Some(_)) => return Err(Problem::Malformed),
            (_, None) if head.len() > ANSWER_BYTES => return Err(Problem::Malformed),
            (_, None) if read == 0 => {
                return Err(Problem::Closed(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
            (_, None) => {}
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..1000).contains(status))
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Tunnel(plain)",
            Self::Tls(_) => "Tunnel(tls)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_proxy_excepts() {
        for (entry, host, excepted) in [
            ("*", "api.example", true),
            ("example.com", "example.com", true),
            ("example.com", "API.Example.com", true),
            (".example.com", "api.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("example.com", "badexample.com", false),
            ("example.com:8443", "example.com", true),
            ("example.com:443", "example.com", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:8443", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("2.3", "10.1.2.3", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "ten.example", false),
            ("10.0.0.0/99", "10.0.0.1", false),
            ("fd00::/8", "fd12::1", true),
            ("::1", "::1", true),
            ("[::1]:8443", "::1", true),
            ("[::1]:443", "::1", false),
            ("", "example.com", false),
            (".", "example.com", false),
        ] {
            assert_eq!(is_excepted(entry, host, 8443), excepted, "{entry} {host}");
        }
    }

    #[test]
    fn the_environment_has_a_proxy_for_each_scheme() {
        let url = |host: &str| BaseUrl { tls: false, host: host.to_owned(), port: 3128, path: String::new() };
        let environment = |https, http| resources::Proxy {
            via: Via::Environment { https, http, except: vec!["inside.example".to_owned()] },
            credentials: None,
            resolve: Resolve::Local,
        };
        let host = |proxy: &resources::Proxy, host: &str, tls| {
            let to = BaseUrl { tls, host: host.to_owned(), port: 443, path: String::new() };
            between(proxy, &to).map(|url| url.host.clone())
        };
        let both = environment(Some(url("a")), Some(url("b")));
        assert_eq!(host(&both, "api.example", true).as_deref(), Some("a"));
        assert_eq!(host(&both, "api.example", false).as_deref(), Some("b"));
        assert_eq!(host(&both, "x.inside.example", true), None);
        assert_eq!(host(&environment(None, Some(url("b"))), "api.example", true), None);
    }

    #[tokio::test]
    async fn what_a_proxy_answers() {
        let read = async |text: &str| answer(&mut text.as_bytes()).await;
        assert!(matches!(read("HTTP/1.1 200 Connection established\r\n\r\n").await, Ok(200)));
        assert!(matches!(read("HTTP/1.0 407 No\r\ncontent-length: 2\r\n\r\nno").await, Ok(407)));
        assert!(matches!(read("HTTP/1.1 200 OK\r\n\r\nSSH-2.0").await, Err(Problem::Malformed)));
        assert!(matches!(read("SSH-2.0-OpenSSH_9.9\r\n").await, Err(Problem::Malformed)));
        assert!(matches!(read("HTTP/1.1 200 OK\r\n").await, Err(Problem::Closed(_))));
        assert!(matches!(read("HTTP/1.1 2").await, Err(Problem::Closed(_))));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(ANSWER_BYTES + 1_000));
        assert!(matches!(read(&endless).await, Err(Problem::Malformed)));
    }
}
