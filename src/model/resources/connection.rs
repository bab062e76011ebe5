//! Connections: systems we talk to, who we are there, and what their answers mean.

use super::RateLimit;
use crate::model::fault::Place;
use crate::model::name::Name;
use crate::model::node::Node;
use crate::model::text::Text;
use secrecy::SecretString;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// A system we talk to, and who we are there.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Name.
    pub name: Name,
    /// `http` or `https` base; `None` if each destination has an absolute endpoint.
    pub url: Option<BaseUrl>,
    /// Who we are.
    pub auth: Auth,
    /// Fixed headers; they win over a target's. Names in lower case.
    pub headers: Vec<(String, Text)>,
    /// Fixed query parameters; they win. A list repeats the name.
    pub query: Vec<(String, Vec<Text>)>,
    /// Fixed top-level keys of a JSON object body; they win.
    pub body: Vec<(String, Node)>,
    /// How each attempt is signed, beside `auth`.
    pub sign: Option<Sign>,
    /// Limits over the whole group for all destinations of this connection together; they hold beside those of the
    /// destination.
    pub rate_limits: Vec<RateLimit>,
    /// What answers mean, asked after the destination's own (transforms.md rule 51).
    pub responses: Vec<Response>,
    /// The way out, if it is not direct.
    pub proxy: Option<Proxy>,
    /// Private or loopback networks that may be dialled nevertheless.
    pub allow_networks: Vec<Network>,
    /// Private certificate authority, PEM, as read when the resources were loaded.
    pub ca_pem: Option<Vec<u8>>,
    /// Client certificate and key, PEM.
    pub client_pem: Option<(Vec<u8>, SecretString)>,
    /// What references gave for path and query of `url` and of the token endpoint. It stands in them as it is sent;
    /// people see `***`.
    pub hidden: Vec<SecretString>,
    /// Where it stands.
    pub place: Place,
}

impl Connection {
    /// A connection without url, credentials or anything else.
    #[must_use]
    pub fn bare(name: Name, place: Place) -> Self {
        Self {
            name,
            url: None,
            auth: Auth::None,
            headers: Vec::new(),
            query: Vec::new(),
            body: Vec::new(),
            sign: None,
            rate_limits: Vec::new(),
            responses: Vec::new(),
            proxy: None,
            allow_networks: Vec::new(),
            ca_pem: None,
            client_pem: None,
            hidden: Vec::new(),
            place,
        }
    }
}

/// Scheme, host, port and base path of a url.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https` instead of `http`.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port; the scheme's own if none is written.
    pub port: u16,
    /// Path before the endpoint, without a slash at the end; may be empty.
    pub path: String,
}

impl BaseUrl {
    /// `https://host:port`, the port only where it is not the scheme's own.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// `host:port` for the `Host` header, the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

/// The path is left out, for it may be secret.
impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// An address range, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// First address of the range; host bits are ignored.
    pub address: IpAddr,
    /// Leading bits that must agree.
    pub bits: u8,
}

/// How a connection proves who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// It does not.
    None,
    /// RFC 7617.
    Basic {
        /// User.
        username: Text,
        /// Password.
        password: Text,
    },
    /// `Authorization: Bearer`, RFC 6750.
    Bearer(Text),
    /// A header or query parameter.
    ApiKey {
        /// Name of the header or parameter.
        name: String,
        /// Its value.
        value: Text,
        /// Where it goes.
        place: KeyPlace,
    },
    /// OAuth 2.0 client credentials, RFC 6749 section 4.4.
    OAuth2(Box<OAuth2>),
    /// A token exchange that is not OAuth.
    Token(Box<TokenExchange>),
}

/// OAuth 2.0 client credentials.
#[derive(Debug, Clone)]
pub struct OAuth2 {
    /// Where tokens are fetched.
    pub endpoint: TokenEndpoint,
    /// Who we are.
    pub client_id: Text,
    /// The proof.
    pub client_secret: Text,
    /// Where both stand.
    pub client_auth: ClientAuth,
    /// Scopes, separated by spaces.
    pub scope: Option<String>,
    /// Further form parameters, such as `audience`.
    pub body: Vec<(String, Text)>,
}

/// Where the client's id and secret stand (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// `Authorization: Basic`.
    #[default]
    Basic,
    /// Form parameters `client_id` and `client_secret`.
    Body,
}

/// Where tokens are fetched.
#[derive(Clone)]
pub struct TokenEndpoint {
    /// Scheme, host and port; its path is part of `target`.
    pub base: BaseUrl,
    /// Path and query, encoded, beginning with `/`.
    pub target: String,
    /// Method, upper case.
    pub method: String,
    /// Headers; names in lower case.
    pub headers: Vec<(String, Text)>,
    /// Query parameters.
    pub query: Vec<(String, Vec<Text>)>,
}

/// The target is left out, for it may be secret.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("base", &self.base)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// A token exchange that is not OAuth: a JSON request, a token in its answer, a place to send it.
#[derive(Debug, Clone)]
pub struct TokenExchange {
    /// Where tokens are fetched.
    pub endpoint: TokenEndpoint,
    /// JSON body of the request; `None` is no body.
    pub json: Option<Node>,
    /// Path of the token in the answer (a definite path of transforms.md rule 39, root `$`).
    pub token: String,
    /// How long a token is good.
    pub lifetime: Lifetime,
    /// Headers that carry the token; names in lower case.
    pub send_headers: Vec<(String, TokenText)>,
    /// Query parameters that carry it.
    pub send_query: Vec<(String, TokenText)>,
}

/// How long a token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifetime {
    /// So long.
    Fixed(Duration),
    /// So many seconds as stand at this path of the answer, as number or text.
    Path(String),
}

/// A text with the token in it, in pieces.
#[derive(Debug, Clone)]
pub struct TokenText(pub Vec<TokenPiece>);

/// A piece of a [`TokenText`].
#[derive(Debug, Clone)]
pub enum TokenPiece {
    /// As it stands.
    Text(Text),
    /// The token.
    Token,
}

/// How each attempt is signed.
#[derive(Debug, Clone)]
pub enum Sign {
    /// HMAC-SHA256 over the body, or over `<timestamp>.<body>` if `format` has `{timestamp}` in it.
    Hmac {
        /// Key.
        secret: Text,
        /// Name of the header, lower case.
        header: String,
        /// Value of the header: text with `{hex}` or `{base64}`, and perhaps `{timestamp}` (seconds since 1970).
        format: String,
    },
    /// Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks {
        /// `whsec_<base64>` (v1, HMAC-SHA256) or `whsk_<base64>` (v1a, Ed25519); each signs, for rotation.
        secrets: Vec<Text>,
    },
    /// transforms.md rule 52.
    DingTalk {
        /// Key.
        secret: Text,
    },
}

/// What an answer means: an entry of `responses` (transforms.md rule 51).
#[derive(Debug, Clone)]
pub struct Response {
    /// Event pattern over `{status, headers, body}`, with `item` in a batch; or `{error}` without an answer.
    pub when: Node,
    /// What it means.
    pub outcome: ResponseOutcome,
    /// Wait of `retry` and `throttled`.
    pub wait: Option<Duration>,
    /// Where it stands.
    pub place: Place,
}

/// The outcomes that entries of `responses` may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseOutcome {
    /// Delivered.
    Success,
    /// Delivered before.
    Duplicate,
    /// Transient.
    Retry,
    /// Overload.
    Throttled,
    /// Credentials are no longer good.
    AuthExpired,
    /// Event-permanent.
    Reject,
    /// The destination is to be held.
    Gone,
}

impl ResponseOutcome {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Duplicate => "duplicate",
            Self::Retry => "retry",
            Self::Throttled => "throttled",
            Self::AuthExpired => "auth_expired",
            Self::Reject => "reject",
            Self::Gone => "gone",
        }
    }
}

/// A way out that is not direct. The environment's proxies are used only where this says so.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Which one.
    pub via: Via,
    /// User and password (`Proxy-Authorization: Basic`).
    pub credentials: Option<(Text, Text)>,
    /// Who looks up the destination's name.
    pub resolve: Resolve,
}

/// Which proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// This one; an `http` or `https` url without path.
    Url(BaseUrl),
    /// What `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` said when the resources were loaded, decided for this
    /// connection's hosts; `None` is direct.
    Environment {
        /// For `https` destinations.
        https: Option<BaseUrl>,
        /// For `http` destinations.
        http: Option<BaseUrl>,
        /// Hosts that are dialled directly, as in `NO_PROXY`.
        except: Vec<String>,
    },
}

/// Who looks up a destination's name when a proxy is in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolve {
    /// We do, so that the network policy is checked as ever; the proxy is asked for the address.
    #[default]
    Local,
    /// The proxy does; then its own policy must keep requests from private addresses, for `allow_networks` cannot.
    Proxy,
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// A header.
    Header,
    /// A query parameter.
    Query,
}
