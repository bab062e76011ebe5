//! Who we are there: the `AuthParameters` that AWS and Alibaba print, which are alike, → `auth`, `headers`, `query` and
//! `body` of a connection. What is secret, and what their calls do not print, becomes a reference.

use super::draft::{Draft, Kind, Resource, Sample, entry, map, text};
use super::given::{at, find, given, plain};
use super::http::{self, Endpoint, Part, literal, parameters, put_map};
use crate::model::node::{Key, Node};

/// A connection of another system.
#[derive(Debug)]
pub(super) struct Connection<'n> {
    /// Its name there.
    pub(super) name: &'n str,
    /// Its name here.
    pub(super) ours: &'n str,
    /// Where it was found.
    pub(super) origin: String,
    /// What was printed of it; nothing if it was not in the input.
    pub(super) node: Option<&'n Node>,
    /// `BASIC`, `API_KEY`, `OAUTH_CLIENT_CREDENTIALS` and Alibaba's words for them.
    pub(super) auth: Option<String>,
    /// Where its destinations send.
    pub(super) endpoints: Vec<&'n Endpoint>,
}

/// Writes a connection. If its destinations go to several hosts, it has no `url` and they name theirs.
pub(super) fn write(draft: &mut Draft, connection: &Connection<'_>) {
    let before = draft.notes.len();
    let about = format!("connection {}", connection.name);
    let prefix = connection.ours;
    let mut entries = Vec::new();
    entries.extend(connection.node.and_then(http::description));
    match origins(&connection.endpoints).as_slice() {
        [] => {}
        [origin] => entries.push(entry("url", text(*origin))),
        several => draft.differs(
            &about,
            "url",
            format!("its destinations go to several hosts ({}), so each names its own", several.join(", ")),
            "write one connection for each, unless all of them may see its credentials",
        ),
    }
    let nothing = map(Vec::new());
    let parameters_of = connection.node.and_then(|node| find(node, "AuthParameters")).unwrap_or(&nothing);
    let who = Who { name: connection.name, prefix, about: &about };
    match connection.node {
        None => draft.differs(
            &about,
            "",
            "it is not in the input, so it has no `auth`",
            "import what describes it together with what refers to it, or write `auth`",
        ),
        Some(_) => entries.extend(who.auth(draft, connection.auth.as_deref(), parameters_of)),
    }
    let invocation = find(parameters_of, "InvocationHttpParameters").unwrap_or(&nothing);
    for part in [Part::Headers, Part::Query, Part::Body] {
        let mut inner = parameters(draft, (connection.name, prefix), invocation, part);
        if part == Part::Query {
            for name in connection.endpoints.iter().flat_map(|endpoint| &endpoint.secrets) {
                if !inner.iter().any(|(known, _)| known.name == *name) {
                    let what = format!("connection {}: query parameter {name} of its url", connection.name);
                    let value = draft.reference(&format!("{prefix}_{name}"), &what, Sample::Text);
                    http::put(&mut inner, name.clone(), value, part);
                }
            }
        }
        put_map(&mut entries, part.key(), inner);
    }
    if connection.endpoints.iter().any(|endpoint| endpoint.user) && connection.auth.is_none() {
        let value = map(vec![
            entry(
                "username",
                draft.reference(&format!("{prefix}_USERNAME"), &format!("{about}: user of its url"), Sample::Text),
            ),
            entry(
                "password",
                draft.reference(&format!("{prefix}_PASSWORD"), &format!("{about}: password of its url"), Sample::Text),
            ),
        ]);
        entries.push(entry("auth", map(vec![entry("basic", value)])));
    }
    let private = ["InvocationConnectivityParameters", "ConnectivityParameters"];
    let node = connection.node.unwrap_or(&nothing);
    let vpc = at(node, &["NetworkParameters", "NetworkType"]).and_then(Node::as_plain) == Some("PrivateNetwork");
    if vpc || private.iter().any(|key| find(node, key).or_else(|| find(parameters_of, key)).is_some()) {
        draft.differs(
            &about,
            if vpc { "NetworkParameters" } else { "ConnectivityParameters" },
            "it is reached over a private network",
            "run Tidegate where it can be reached, and list its addresses: `allow_networks: [10.0.0.0/8]`",
        );
    }
    draft.resources.push(Resource {
        kind: Kind::Connection,
        name: connection.ours.to_owned(),
        origin: connection.origin.clone(),
        comments: draft.comments_since(before),
        entries,
        unusable: false,
    });
}

/// Scheme, host and port of where the destinations send, each once.
pub(super) fn origins<'e>(endpoints: &[&'e Endpoint]) -> Vec<&'e str> {
    let mut origins: Vec<&str> = Vec::new();
    for endpoint in endpoints {
        if !origins.contains(&endpoint.origin.as_str()) {
            origins.push(&endpoint.origin);
        }
    }
    origins
}

/// Whose credentials are written.
struct Who<'a> {
    name: &'a str,
    prefix: &'a str,
    about: &'a str,
}

impl Who<'_> {
    fn auth(&self, draft: &mut Draft, kind: Option<&str>, parameters_of: &Node) -> Option<(Key, Node)> {
        let nothing = map(Vec::new());
        let part = |key: &str| find(parameters_of, key).unwrap_or(&nothing);
        let value = match kind?.to_ascii_uppercase().trim_end_matches("_AUTH") {
            "BASIC" => {
                let basic = part("BasicAuthParameters");
                let username = given(basic, "Username");
                entry(
                    "basic",
                    map(vec![
                        entry("username", self.known_or(draft, username, "USERNAME", "user name")),
                        entry("password", self.secret(draft, "PASSWORD", "password")),
                    ]),
                )
            }
            "API_KEY" => {
                let name = given(part("ApiKeyAuthParameters"), "ApiKeyName");
                entry(
                    "api_key",
                    map(vec![
                        entry("name", self.known_or(draft, name, "API_KEY_NAME", "name of the header of the API key")),
                        entry("value", self.secret(draft, "API_KEY", "API key")),
                    ]),
                )
            }
            "OAUTH_CLIENT_CREDENTIALS" | "OAUTH" => entry("oauth2", self.oauth2(draft, part("OAuthParameters"))),
            other => {
                draft.lost(self.about, "AuthorizationType", format!("`{other}` is not known"), "write `auth`");
                return None;
            }
        };
        Some(entry("auth", map(vec![value])))
    }

    fn oauth2(&self, draft: &mut Draft, parameters_of: &Node) -> Node {
        let nothing = map(Vec::new());
        let client = find(parameters_of, "ClientParameters").unwrap_or(&nothing);
        let endpoint = given(parameters_of, "AuthorizationEndpoint");
        let (variable, what) = (format!("{}_TOKEN_ENDPOINT", self.prefix), format!("{}: token endpoint", self.about));
        let mut entries = vec![entry("token_endpoint", literal(draft, endpoint, &variable, &what, Sample::Url))];
        if let Some(method) = plain(parameters_of, "HttpMethod").filter(|method| method != "POST") {
            entries.push(entry("method", text(method)));
        }
        entries.push(entry("client_id", self.known_or(draft, given(client, "ClientID"), "CLIENT_ID", "client id")));
        entries.push(entry("client_secret", self.secret(draft, "CLIENT_SECRET", "client secret")));
        entries.push(entry("client_auth", text("body")));
        draft.differs(
            self.about,
            "OAuthParameters",
            "whether the token endpoint wants client id and secret in the form or in the header Authorization is not said there",
            "if it refuses `client_auth: body`, write `client_auth: basic`",
        );
        let http = find(parameters_of, "OAuthHttpParameters").unwrap_or(&nothing);
        for part in [Part::Headers, Part::Query, Part::Body] {
            let mut inner = parameters(draft, (self.name, self.prefix), http, part);
            if part == Part::Body {
                // What is sent anyway, and what has a key of its own.
                inner.retain(|(key, value)| key.name != "grant_type" || value.as_plain() != Some("client_credentials"));
                inner.retain(|(key, _)| !matches!(key.name.as_str(), "client_id" | "client_secret"));
                let scope = inner.iter().position(|(key, _)| key.name == "scope");
                if let Some(at) = scope {
                    entries.push(inner.remove(at));
                }
            }
            put_map(&mut entries, part.key(), inner);
        }
        map(entries)
    }

    fn known_or(&self, draft: &mut Draft, given: Option<super::given::Given>, suffix: &str, what: &str) -> Node {
        let what = format!("{}: {what}", self.about);
        literal(draft, given, &format!("{}_{suffix}", self.prefix), &what, Sample::Text)
    }

    fn secret(&self, draft: &mut Draft, suffix: &str, what: &str) -> Node {
        draft.reference(&format!("{}_{suffix}", self.prefix), &format!("{}: {what}", self.about), Sample::Text)
    }
}
