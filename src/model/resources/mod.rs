//! The resources that people write, checked: connections, destinations, sources, rules (resources.md).

mod connection;
mod ordering;

pub use connection::{
    Auth, BaseUrl, ClientAuth, Connection, KeyPlace, Lifetime, Network, OAuth2, Proxy, Resolve, Response,
    ResponseOutcome, Sign, TokenEndpoint, TokenExchange, TokenPiece, TokenText, Via,
};
pub use ordering::{OnExhausted, Ordering, Sharing};

use super::fault::Place;
use super::name::Name;
use super::node::Node;
use super::stored;
use super::units::Rate;
use secrecy::SecretString;
use std::fmt;
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
    /// What event patterns may cost, those of rules and those of `responses`.
    pub pattern_limits: PatternLimits,
}

/// The limits of event patterns (event-patterns.md rules 32 and 33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternLimits {
    /// Bytes of the text of a pattern.
    pub text_bytes: usize,
    /// Pattern objects in each other; the top one and `$or` branches count.
    pub depth: usize,
    /// Matchers of a field.
    pub matchers: usize,
    /// Values of an `anything-but` list.
    pub values: usize,
    /// Attempts to give a leaf to a path, for one event.
    pub attempts: u32,
}

impl Default for PatternLimits {
    fn default() -> Self {
        Self { text_bytes: 65_536, depth: 32, matchers: 1_000, values: 1_000, attempts: 100_000 }
    }
}

/// An API destination: where, how, how fast.
#[derive(Clone)]
pub struct Destination {
    /// Name.
    pub name: Name,
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Where it sends: the connection's url, or that of an absolute endpoint.
    pub base: BaseUrl,
    /// What is appended to `base`: path, perhaps with `{name}` or `*`, perhaps with a query.
    pub endpoint: String,
    /// What references gave for `endpoint`. It stands there as it is sent; people see `***`.
    pub hidden: Vec<SecretString>,
    /// Method, upper case.
    pub method: String,
    /// Headers, values of transforms.md.
    pub headers: Option<Box<Node>>,
    /// Query parameters.
    pub query: Option<Box<Node>>,
    /// Total deadline of a request: connect, headers and body.
    pub timeout: Duration,
    /// Requests in flight at most, per replica.
    pub concurrency_max: u32,
    /// Limits over the whole group, all of which hold.
    pub rate_limits: Vec<RateLimit>,
    /// How replicas share them.
    pub rate: Sharing,
    /// What answers mean; the connection's entries follow (transforms.md rule 51).
    pub responses: Vec<Response>,
    /// What happens to deliveries that fail for a while.
    pub retry: Arc<RetryPolicy>,
    /// Where dead letters go.
    pub dead_letter_topic: Arc<str>,
    /// When refusing is too much; `None` is never.
    pub dead_letter_budget: Option<DeadLetterBudget>,
    /// Where it stands.
    pub place: Place,
}

impl Destination {
    /// Its slot: whoever owns that sends what lies in its queue. All destinations of a limited connection have the same.
    #[must_use]
    pub fn slot(&self) -> i32 {
        let limited = !self.connection.rate_limits.is_empty();
        stored::slot(if limited { self.connection.name.as_str() } else { self.name.as_str() })
    }

    /// Its events go through its queue, whatever it can take now.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.rate == Sharing::Exact
    }
}

/// The endpoint is left out, for it may be secret.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("connection", &self.connection)
            .field("base", &self.base)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("query", &self.query)
            .field("timeout", &self.timeout)
            .field("rate_limits", &self.rate_limits)
            .field("responses", &self.responses)
            .field("retry", &self.retry)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A limit on requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Requests per time.
    pub rate: Rate,
    /// Requests that may follow each other at once, from 1.
    pub burst: u32,
}

/// How many events may be refused for good before the destination is held: more than `max`, and more than `percent` of
/// all outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterBudget {
    /// So many are always allowed.
    pub max: u32,
    /// Of all outcomes within the window.
    pub percent: u32,
    /// How far back outcomes count.
    pub window: Duration,
}

impl Default for DeadLetterBudget {
    /// max(20, 5 %) in 5 minutes (delivery.md).
    fn default() -> Self {
        Self { max: 20, percent: 5, window: Duration::from_secs(300) }
    }
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
    /// Filters of CloudEvents Subscriptions as written; they hold beside the pattern.
    pub filters: Option<Node>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    pub path: Option<Box<Node>>,
    /// Query parameters.
    pub query: Option<Box<Node>>,
    /// Headers.
    pub headers: Option<Box<Node>>,
    /// Content type, literal.
    pub content_type: Option<Box<Node>>,
    /// Body; absent is the event itself.
    pub body: Option<Box<Node>>,
    /// What keeps its order.
    pub ordering: Ordering,
    /// What becomes of a sequence whose head has failed for good.
    pub on_exhausted: OnExhausted,
    /// Replaces the destination's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Replaces the destination's.
    pub dead_letter_topic: Option<Arc<str>>,
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
