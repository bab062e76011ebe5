//! The keys of every resource: the one list that the checker, its messages and the JSON Schema are made from.

mod connection;

pub(super) use connection::CONNECTION;

/// A map with known keys.
#[derive(Debug)]
pub(super) struct Table {
    /// What it is called in messages.
    pub(super) noun: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

/// What may stand under a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// `kind` of a resource; read before the table is chosen.
    Kind,
    /// The name of a resource or target, or of one that is meant.
    Name,
    /// Any text; a reference in it is resolved and what it gives is not hidden.
    Text,
    /// A text that is hidden if a reference had a part in it.
    Hidden,
    /// A text that is always hidden, and should be a reference.
    Secret,
    /// Secrets, at least one; a list.
    Secrets,
    /// A base url.
    Url,
    /// An absolute url or a path, perhaps with a query.
    TokenEndpoint,
    /// The url of a proxy, or the word `environment`.
    ProxyUrl,
    /// A method of HTTP.
    Method,
    /// The name of a header.
    HeaderName,
    /// The value of a signature's header, with `{hex}` or `{base64}`.
    SignatureFormat,
    /// `true` or `false`.
    Bool,
    /// A whole number from..=to.
    Count(u32, u32),
    /// A duration, from..=to in seconds.
    Duration(u64, u64),
    /// One of these words.
    Words(&'static [Word]),
    /// The name of a topic.
    Topic,
    /// One or more names of topics.
    Topics,
    /// `[1s, 10m]`.
    Delay,
    /// `50/min`.
    Rate,
    /// `50/min`, a list of such, or `{limit, burst}`.
    Rates,
    /// A list of address ranges.
    Networks,
    /// A file whose content is PEM.
    PemFile,
    /// Fixed headers.
    FixedHeaders,
    /// Fixed query parameters.
    FixedQuery,
    /// A part of a token request, or what carries the token.
    Exchange(Exchange),
    /// A definite path into an answer or an event, root `$`.
    AnswerPath,
    /// A duration, or a definite path into an answer.
    Lifetime,
    /// An event pattern over an answer.
    AnswerPattern,
    /// A map of fixed JSON values.
    FixedBody,
    /// A map of values (transforms.md rule 53).
    Values,
    /// A map or list of values.
    PathValues,
    /// Any value, compiled elsewhere.
    Any,
    /// Any value that is compared and never interpreted.
    Verbatim,
    /// Any map, compiled elsewhere.
    AnyMap,
    /// A list of filters of CloudEvents Subscriptions, compiled elsewhere.
    Filters,
    /// What a rule test expects of each target.
    Expectations,
    /// A map with known keys.
    Table(&'static Table),
    /// One of these words, or a map with known keys.
    WordOr(&'static [Word], &'static Table),
    /// A map with exactly one of these keys, or the word `none`.
    OneOf(&'static Table),
    /// A list of maps with known keys, at least one.
    List(&'static Table),
    /// Known, but this version cannot do it.
    Later,
}

/// A part of a token request, or what carries the token. Its texts are literal but for references: there is no event
/// that a path could lead into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Headers.
    Headers,
    /// Query parameters.
    Query,
    /// Form parameters.
    Form,
    /// A JSON value.
    Json,
    /// Headers that may hold the token.
    SendHeaders,
    /// Query parameters that may hold the token.
    SendQuery,
}

/// A word that may stand somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) text: &'static str,
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

const fn later(name: &'static str) -> Key {
    Key { name, shape: Shape::Later, required: false, about: "" }
}

const fn word(text: &'static str) -> Word {
    Word { text }
}

const KIND: Key = required("kind", Shape::Kind, "Which kind of resource this is.");
const NAME: Key = required("name", Shape::Name, "1 to 63 letters, digits, `-`, `_`; unique within its kind.");
const DESCRIPTION: Key = key("description", Shape::Text, "For people.");
const RETRY: Key =
    key("retry", Shape::Table(&RETRY_TABLE), "How long and how often a failing delivery is tried again.");
const DEAD_LETTER: Key = key("dead_letter", Shape::Table(&DEAD_LETTER_TABLE), "Where dead letters go.");

/// The kinds of resource, each with its table; what is referred to stands before what refers.
pub(super) static KINDS: [&Table; 4] = [&CONNECTION, &DESTINATION, &SOURCE, &RULE];

pub(super) static DESTINATION: Table = Table {
    noun: "destination",
    about: "An API destination: where, how, how fast.",
    keys: &[
        KIND,
        NAME,
        DESCRIPTION,
        required("connection", Shape::Name, "The connection it uses."),
        key("endpoint", Shape::Text, "Appended to the connection's url; `{name}` and `*` are path parameters."),
        key("method", Shape::Method, "HTTP method; POST by default."),
        key("headers", Shape::Values, "Headers, values of the event."),
        key("query", Shape::Values, "Query parameters, values of the event."),
        key("timeout", Shape::Duration(1, 300), "Total deadline of a request, 1s to 300s; 10s by default."),
        key("concurrency", Shape::Table(&CONCURRENCY), "Requests in flight."),
        key("rate_limit", Shape::Rates, "Requests of all replicas together, e.g. 50/min."),
        key("rate", Shape::Words(&[word("exact"), word("shared")]), "How replicas share the limit."),
        key("responses", Shape::List(&RESPONSE), "What answers mean; asked before the connection's."),
        RETRY,
        DEAD_LETTER,
        key(
            "dead_letter_budget",
            Shape::WordOr(&[word("off")], &BUDGET),
            "How much it may refuse for good before it is held; `off`: anything.",
        ),
        later("breaker"),
        later("batch"),
        later("file"),
    ],
};

/// An entry of `responses` (transforms.md rule 51).
static RESPONSE: Table = Table {
    noun: "response",
    about: "What an answer means. The first entry that matches wins, then the status decides; any entry with success \
            switches off that 2xx is success.",
    keys: &[
        required(
            "when",
            Shape::AnswerPattern,
            "Event pattern over status, headers (names in lower case), body (JSON if it says so and has at most 64 KiB, \
             else text) and, in a batch, item; or over error (not_sent, no_answer) where there is no answer.",
        ),
        required(
            "outcome",
            Shape::Words(&[
                word("success"),
                word("duplicate"),
                word("retry"),
                word("throttled"),
                word("auth_expired"),
                word("reject"),
                word("gone"),
            ]),
            "success and duplicate: delivered. retry: again. throttled: close the gate for a while. auth_expired: \
             fetch a new token, again. reject: dead letter. gone: hold the destination.",
        ),
        key(
            "wait",
            Shape::Duration(1, 86_400),
            "Of retry and throttled, 1s to 24h; else as the answer or policy says.",
        ),
        DESCRIPTION,
    ],
};

static BUDGET: Table = Table {
    noun: "dead_letter_budget",
    about: "A destination that refuses more than both is held, and its events wait, until its resources change.",
    keys: &[
        key("max", Shape::Count(0, 1_000_000), "So many are always allowed; 20 by default."),
        key("percent", Shape::Count(0, 100), "Of all outcomes in the window; 5 by default."),
        key("window", Shape::Duration(10, 86_400), "How far back outcomes count; 5m by default."),
        DESCRIPTION,
    ],
};

static CONCURRENCY: Table = Table {
    noun: "concurrency",
    about: "Requests in flight.",
    keys: &[required("max", Shape::Count(1, 10_000), "At most, per replica; 64 by default."), DESCRIPTION],
};

/// `{limit, burst}` of a `rate_limit`.
pub(super) static LIMIT: Table = Table {
    noun: "rate_limit",
    about: "A limit with a burst.",
    keys: &[
        required("limit", Shape::Rate, "E.g. 3/s."),
        key("burst", Shape::Count(1, 1_000_000), "Requests that may follow each other at once; 1 by default."),
        DESCRIPTION,
    ],
};

pub(super) static RETRY_TABLE: Table = Table {
    noun: "retry",
    about: "A policy by name, or your own.",
    keys: &[
        key("max_age", Shape::Duration(1, 31_536_000), "From the first attempt on; 24h by default."),
        key("max_attempts", Shape::Count(1, 1_000_000), "The first counted; 185 by default."),
        key("delay", Shape::Delay, "First and longest wait, with full jitter; [1s, 10m] by default."),
        key(
            "policy",
            Shape::Words(&[word("BACKOFF_RETRY"), word("EXPONENTIAL_DECAY_RETRY")]),
            "A policy of Alibaba's; stands alone.",
        ),
        DESCRIPTION,
    ],
};

static DEAD_LETTER_TABLE: Table = Table {
    noun: "dead_letter",
    about: "Where dead letters go.",
    keys: &[required("topic", Shape::Topic, "A topic of Kafka."), DESCRIPTION],
};

pub(super) static SOURCE: Table = Table {
    noun: "source",
    about: "A named stream of events.",
    keys: &[
        KIND,
        NAME,
        DESCRIPTION,
        required("kafka", Shape::Table(&KAFKA), "Topics of Kafka."),
        key(
            "decode",
            Shape::Words(&[word("json"), word("base64"), word("base64+json")]),
            "What wrapped the payload once more.",
        ),
        later("http"),
        later("poll"),
        later("files"),
        later("schedule"),
        later("rabbitmq"),
        later("rocketmq"),
        later("verify"),
        later("event"),
        later("into"),
    ],
};

static KAFKA: Table = Table {
    noun: "kafka",
    about: "Topics of Kafka.",
    keys: &[
        required("topics", Shape::Topics, "The topics it reads."),
        key("strict", Shape::Bool, "Refuse records that are no CloudEvents instead of wrapping them."),
        key("group", Shape::Text, "Consumer group, if not <group>.<source>."),
        key("start", Shape::Words(&[word("earliest"), word("latest")]), "Where a group without commits begins."),
        key(
            "on_missing",
            Shape::Words(&[word("earliest"), word("latest"), word("halt")]),
            "Where to go on when the committed offset is gone.",
        ),
        DESCRIPTION,
    ],
};

pub(super) static RULE: Table = Table {
    noun: "rule",
    about: "Which events go where.",
    keys: &[
        KIND,
        NAME,
        DESCRIPTION,
        key("from", Shape::Name, "A source; all of them by default."),
        required("pattern", Shape::AnyMap, "The event pattern; {} is every event."),
        key(
            "filters",
            Shape::Filters,
            "Filters of CloudEvents Subscriptions over attributes; all must hold, as must the pattern.",
        ),
        key("dialect", Shape::Words(&[word("tidegate"), word("aws")]), "Whose verdicts and templates it follows."),
        key("alias", Shape::Words(&[word("aws")]), "`aws`: the pattern's detail-type and detail are type and data."),
        key("enabled", Shape::Bool, "A disabled rule matches nothing."),
        required("targets", Shape::List(&TARGET), "Where matching events go."),
        key("tests", Shape::List(&TEST), "Examples that `check` runs."),
        later("window"),
    ],
};

pub(super) static TARGET: Table = Table {
    noun: "target",
    about: "One destination, with what to send there.",
    keys: &[
        required("name", Shape::Name, "Unique within the rule."),
        DESCRIPTION,
        required("destination", Shape::Name, "Where it goes."),
        key("path", Shape::PathValues, "Path parameters, by name or in order."),
        key("query", Shape::Values, "Query parameters."),
        key("headers", Shape::Values, "Headers."),
        key("content_type", Shape::Text, "Content type, literal."),
        key("body", Shape::Any, "What to send; the event itself by default."),
        RETRY,
        DEAD_LETTER,
        key(
            "ordering",
            Shape::WordOr(&[word("none"), word("key"), word("partition")], &ORDERING),
            "Which deliveries keep their order; none by default. key: partitionkey, else the Kafka key.",
        ),
        key(
            "on_exhausted",
            Shape::Words(&[word("dead_letter"), word("hold")]),
            "A delivery in order that failed for good: a dead letter (default), or its sequence waits for `resume`.",
        ),
        later("emit"),
    ],
};

/// The long form of `ordering: key`.
static ORDERING: Table = Table {
    noun: "ordering",
    about: "Events with the same key keep their order.",
    keys: &[required("key", Shape::AnswerPath, "Where the event has the key; events without one are not ordered.")],
};

static TEST: Table = Table {
    noun: "test",
    about: "An example event and what becomes of it.",
    keys: &[
        DESCRIPTION,
        required("event", Shape::AnyMap, "The event; what every event has is filled in."),
        required("expect", Shape::Expectations, "For each target: {body: …}, {error: CODE} or no_match."),
    ],
};

/// What a test may expect of a target.
pub(super) static EXPECTATION: Table = Table {
    noun: "expectation",
    about: "What a target shall do.",
    keys: &[
        key("body", Shape::Verbatim, "This body, compared as JSON."),
        key("error", Shape::Text, "This error code."),
    ],
};
