//! Urls and parameters of other systems → ours: base url and endpoint, and which values are secrets.

use super::draft::{Draft, Sample, entry, list, map, text};
use super::given::{self, Given, find, given, items, plain};
use crate::model::node::{Key, Kind, Node};

/// A url, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `https://host:port`.
    pub(super) origin: String,
    /// Path and query, secrets taken out.
    pub(super) path: String,
    /// Query parameters that hold secrets.
    pub(super) secrets: Vec<String>,
    /// It held a user or password.
    pub(super) user: bool,
}

/// What the `*` of a url is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Star {
    /// A path parameter.
    Parameter,
    /// A character.
    Literal,
}

/// Takes a url apart; `None` if it is none.
pub(super) fn endpoint(url: &str, star: Star) -> Option<Endpoint> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (true, host),
        None => (false, authority),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut path = path.replace('{', "%7B").replace('}', "%7D");
    if star == Star::Literal {
        path = path.replace('*', "%2A");
    }
    let mut secrets = Vec::new();
    let mut kept = Vec::new();
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        let name = parameter.split('=').next().unwrap_or_default();
        if is_secret_name(name) {
            secrets.push(name.to_owned());
        } else if !parameter.is_empty() {
            kept.push(parameter);
        }
    }
    if !kept.is_empty() {
        path = format!("{path}?{}", kept.join("&"));
    }
    (!host.is_empty()).then(|| Endpoint { origin: format!("{scheme}://{host}"), path, secrets, user })
}

impl Endpoint {
    /// The endpoint of a destination: a path if it is `alone` with its host, else the whole url. A segment that is no
    /// word, such as those of incoming webhooks, is a secret.
    pub(super) fn written(&self, draft: &mut Draft, ours: &str, about: &str, alone: bool) -> Node {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        let mut segments = Vec::new();
        for (index, segment) in path.split('/').enumerate() {
            if is_token(segment) {
                let what = format!("{about}: segment {index} of its path");
                let reference = draft.reference(&format!("{ours}_PATH"), &what, Sample::Text);
                segments.push(reference.as_plain().unwrap_or_default().to_owned());
            } else {
                segments.push(segment.to_owned());
            }
        }
        let origin = if alone { "" } else { &self.origin };
        text(format!("{origin}{}{query}", segments.join("/")))
    }
}

/// Whether a segment of a path is long and mixed enough to be no word.
fn is_token(segment: &str) -> bool {
    let has = |fits: fn(&char) -> bool| segment.chars().any(|c| fits(&c));
    segment.len() >= 20
        && segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '='))
        && has(char::is_ascii_digit)
        && has(char::is_ascii_alphabetic)
}

/// Whether what has this name is a secret, wherever it stands.
pub(super) fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let parts =
        ["secret", "password", "passwd", "passphrase", "authorization", "credential", "cookie", "signature", "token"];
    let ends =
        ["apikey", "accesskey", "privatekey", "authkey", "appkey", "functionskey", "subscriptionkey", "webhookkey"];
    let whole = ["key", "sig", "sign", "auth", "code", "pass", "pwd"];
    parts.iter().any(|part| plain.contains(part))
        || ends.iter().any(|end| plain.ends_with(end))
        || whole.contains(&plain.as_str())
}

/// Whether a text is a secret, or says where one is.
fn is_secret_text(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    lower.starts_with("bearer ") || lower.starts_with("basic ") || is_dynamic(text)
}

/// A dynamic reference of `CloudFormation` or ROS to a secret store.
fn is_dynamic(text: &str) -> bool {
    text.contains("{{resolve:")
}

/// A text where only references mean something. What would be one is supplied instead, for it cannot be written.
pub(super) fn literal(draft: &mut Draft, given: Option<Given>, variable: &str, what: &str, sample: Sample) -> Node {
    match given {
        Some(Given::Text(known)) if !known.contains("${env:") && !known.contains("${file:") && !is_dynamic(&known) => {
            text(known)
        }
        Some(Given::Text(_)) | None => draft.reference(variable, what, sample),
        Some(Given::Unresolved(function)) => draft.reference(variable, &format!("{what}: {function}"), sample),
    }
}

/// A text as a value (transforms.md rule 53) that stands for itself.
pub(super) fn escaped(literal: &str) -> String {
    literal.replace('$', "$$")
}

/// A description, in which no reference may be seen.
pub(super) fn description(node: &Node) -> Option<(Key, Node)> {
    plain(node, "Description").map(|about| entry("description", text(about.replace("${", "$ {"))))
}

/// Where fixed parameters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Headers,
    Query,
    Body,
}

impl Part {
    /// Our key.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Query => "query",
            Self::Body => "body",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Headers => "header",
            Self::Query => "query parameter",
            Self::Body => "body parameter",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::Headers => "HeaderParameters",
            Self::Query => "QueryStringParameters",
            Self::Body => "BodyParameters",
        }
    }
}

/// Fixed parameters: `[{Key, Value, IsValueSecret}]` under the list of their part. Secrets become references.
pub(super) fn parameters(draft: &mut Draft, connection: (&str, &str), node: &Node, part: Part) -> Vec<(Key, Node)> {
    let (name, prefix) = connection;
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for item in items(node, part.list()) {
        let Some(key) = plain(item, "Key") else { continue };
        let value = given(item, "Value");
        let secret = given::flag(item, "IsValueSecret")
            || is_secret_name(&key)
            || value.as_ref().and_then(Given::known).is_some_and(is_secret_text);
        let known = value.clone().filter(|_| !secret);
        let value = match known {
            Some(Given::Text(known)) => text(escaped(&known)),
            // An empty value is no secret.
            None if !secret && find(item, "Value").is_some() => text(""),
            unknown @ (Some(Given::Unresolved(_)) | None) => {
                let what = format!("connection {name}: {} {key}", part.word());
                literal(draft, unknown, &format!("{prefix}_{key}"), &what, Sample::Text)
            }
        };
        put(&mut entries, key, value, part);
    }
    entries
}

/// Adds a parameter; a query parameter that comes again is repeated, of anything else the last one holds.
pub(super) fn put(entries: &mut Vec<(Key, Node)>, key: String, value: Node, part: Part) {
    let same = |known: &str| if part == Part::Headers { known.eq_ignore_ascii_case(&key) } else { known == key };
    let Some((_, known)) = entries.iter_mut().find(|(known, _)| same(&known.name)) else {
        return entries.push(entry(key, value));
    };
    match (&mut known.kind, part) {
        (Kind::List(values), Part::Query) => values.push(value),
        (_, Part::Query) => *known = list(vec![known.clone(), value]),
        (_, Part::Headers | Part::Body) => *known = value,
    }
}

/// Adds a map unless it is empty.
pub(super) fn put_map(entries: &mut Vec<(Key, Node)>, key: &str, inner: Vec<(Key, Node)>) {
    if !inner.is_empty() {
        entries.push(entry(key, map(inner)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_secrets_taken_out() {
        let found = endpoint("HTTPS://me:pw@api.example:8443/v1/*/{x}?a=1&access_token=hunter2&b#f", Star::Parameter);
        let found = found.expect("a url");
        assert_eq!((found.origin.as_str(), found.path.as_str()), ("https://api.example:8443", "/v1/*/%7Bx%7D?a=1&b"));
        assert_eq!((found.secrets, found.user), (vec!["access_token".to_owned()], true));
        let found = endpoint("https://api.example", Star::Literal).expect("a url");
        assert_eq!((found.origin.as_str(), found.path.as_str()), ("https://api.example", ""));
        assert_eq!(endpoint("https://a/x*?key=1", Star::Literal).expect("a url").path, "/x%2A");
        assert!(endpoint("sqs://x", Star::Literal).is_none() && endpoint("https://", Star::Literal).is_none());
    }

    #[test]
    fn secrets_are_known_by_name() {
        for name in [
            "Authorization",
            "X-API-Key",
            "api_key",
            "key",
            "client_secret",
            "x-functions-key",
            "Set-Cookie",
            "access_token",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["Content-Type", "idempotency-key", "keyboard", "audience", "design", "x-source"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
