//! The resources that people write, checked: connections, destinations, sources, rules (resources.md).

use super::fault::Place;
use super::name::Name;
use super::node::Node;
use super::text::Text;
use super::units::Rate;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A checked set of resources: every reference resolves, every name is unique within its kind.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Connections, in the order read.
    pub connections: Vec<Arc<Connection>>,
    /// Destinations.
    pub destinations: Vec<Arc<Destination>>,
    /// Sources.
    pub sources: Vec<Arc<Source>>,
    /// Rules.
    pub rules: Vec<Arc<Rule>>,
}

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
    pub client_pem: Option<(Vec<u8>, secrecy::SecretString)>,
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
            place,
        }
    }
}

/// Scheme, host, port and base path of a url.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone)]
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

/// An API destination: where, how, how fast.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Name.
    pub name: Name,
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Where it sends: the connection's url, or that of an absolute endpoint.
    pub base: BaseUrl,
    /// What is appended to `base`: path, perhaps with `{name}` or `*`, perhaps with a query.
    pub endpoint: String,
    /// Method, upper case.
    pub method: String,
    /// Headers, values of transforms.md.
    pub headers: Option<Node>,
    /// Query parameters.
    pub query: Option<Node>,
    /// Total deadline of a request: connect, headers and body.
    pub timeout: Duration,
    /// Requests in flight at most, per replica.
    pub concurrency_max: u32,
    /// Limits over the whole group, all of which hold.
    pub rate_limits: Vec<RateLimit>,
    /// What answers mean; the connection's entries follow (transforms.md rule 51).
    pub responses: Vec<Response>,
    /// What happens to deliveries that fail for a while.
    pub retry: RetryPolicy,
    /// Where dead letters go.
    pub dead_letter_topic: String,
    /// Where it stands.
    pub place: Place,
}

/// A limit on requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Requests per time.
    pub rate: Rate,
    /// Requests that may follow each other at once, from 1.
    pub burst: u32,
}

/// How long and how often a failing delivery is tried again (delivery.md "Policies").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// From the first attempt on.
    pub max_age: Duration,
    /// Attempts at most, the first counted.
    pub max_attempts: u32,
    /// How the wait grows.
    pub delay: Delay,
}

/// The wait before attempt n + 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delay {
    /// Uniform between zero and first · 2^(n-1), at most `max` ("full jitter").
    FullJitter {
        /// Upper bound before the second attempt.
        first: Duration,
        /// Upper bound of all.
        max: Duration,
    },
    /// Uniform between the two: Alibaba's `BACKOFF_RETRY`.
    Uniform {
        /// At least.
        from: Duration,
        /// At most.
        to: Duration,
    },
    /// Exactly first · 2^(n-1), at most `max`: Alibaba's `EXPONENTIAL_DECAY_RETRY`.
    Exact {
        /// Before the second attempt.
        first: Duration,
        /// At most.
        max: Duration,
    },
}

impl Default for RetryPolicy {
    /// 24 h, 185 attempts, 1 s doubling to 10 min with full jitter (delivery.md).
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(86_400),
            max_attempts: 185,
            delay: Delay::FullJitter { first: Duration::from_secs(1), max: Duration::from_secs(600) },
        }
    }
}

impl RetryPolicy {
    /// Alibaba's `BACKOFF_RETRY`: the first attempt and 3 more, uniform 10–20 s apart.
    #[must_use]
    pub fn backoff_retry() -> Self {
        Self {
            max_attempts: 4,
            delay: Delay::Uniform { from: Duration::from_secs(10), to: Duration::from_secs(20) },
            ..Self::default()
        }
    }

    /// Alibaba's `EXPONENTIAL_DECAY_RETRY`: the first attempt and 176 more, 1 s doubling to 512 s apart: 23.9 h.
    #[must_use]
    pub fn exponential_decay_retry() -> Self {
        Self {
            max_attempts: 177,
            delay: Delay::Exact { first: Duration::from_secs(1), max: Duration::from_secs(512) },
            ..Self::default()
        }
    }
}

/// A named stream of events from Kafka.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name.
    pub name: Name,
    /// Topics it reads.
    pub topics: Vec<String>,
    /// A record that is no CloudEvent is refused instead of wrapped.
    pub strict: bool,
    /// Consumer group, if not `<group>.<source>`.
    pub group: Option<String>,
    /// Where a group without commits begins.
    pub start: Start,
    /// Where to go on when the committed offset is gone.
    pub on_missing: OnMissing,
    /// What wrapped the payload (event-patterns.md rule 3).
    pub decode: PayloadDecode,
    /// Where it stands.
    pub place: Place,
}

/// Where a group without commits begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// At the end.
    Latest,
}

/// Where to go on when the committed offset no longer exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// At the oldest record.
    #[default]
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: the partition is held until someone decides.
    Halt,
}

/// A payload that is wrapped once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadDecode {
    /// As it stands.
    #[default]
    None,
    /// A string of JSON.
    Json,
    /// Base64 bytes.
    Base64,
    /// Base64 of JSON.
    Base64Json,
}

/// Which events go where.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Name.
    pub name: Name,
    /// The source it listens to; `None` is all.
    pub from: Option<Name>,
    /// The event pattern as written.
    pub pattern: Node,
    /// The dialect of pattern and templates.
    pub dialect: Dialect,
    /// `alias: aws`: `detail-type` and `detail` stand for `type` and `data` in the pattern.
    pub alias_aws: bool,
    /// A disabled rule matches nothing.
    pub enabled: bool,
    /// Where matching events go.
    pub targets: Vec<Target>,
    /// Tests that `check` runs.
    pub tests: Vec<RuleTest>,
    /// Where it stands.
    pub place: Place,
}

/// Whose verdicts and templates a rule follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Our own.
    #[default]
    Tidegate,
    /// Those of AWS's event-ruler and input transformers.
    Aws,
}

/// One destination of a rule, with what to send there.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name, unique in the rule.
    pub name: Name,
    /// Its destination.
    pub destination: Arc<Destination>,
    /// Path parameters: a map by name or a list by position.
    pub path: Option<Node>,
    /// Query parameters.
    pub query: Option<Node>,
    /// Headers.
    pub headers: Option<Node>,
    /// Content type, literal.
    pub content_type: Option<Node>,
    /// Body; absent is the event itself.
    pub body: Option<Node>,
    /// Replaces the destination's.
    pub retry: Option<RetryPolicy>,
    /// Replaces the destination's.
    pub dead_letter_topic: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// A test written in a rule.
#[derive(Debug, Clone)]
pub struct RuleTest {
    /// The event, as written.
    pub event: Node,
    /// What each target shall do.
    pub expect: Vec<(Name, Expectation)>,
    /// Where it stands.
    pub place: Place,
}

/// What a test expects of a target.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// This body, compared as JSON values.
    Body(Node),
    /// This error code.
    Error(String),
    /// The rule does not match.
    NoMatch,
}
