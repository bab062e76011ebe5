//! Authentication: added to a request last, anew for each attempt. One of the few places that may reveal secrets.

use crate::model::node::{Kind, Node};
use crate::model::request::Request;
use crate::model::resources::{self, Connection, KeyPlace};
use crate::model::text::{ShowText, Text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;

/// Shows every text as it is. For requests that are sent, never for what people read.
#[derive(Debug, Clone, Copy)]
pub struct Revealed(());

impl ShowText for Revealed {
    fn show<'a>(&self, text: &'a Text) -> &'a str {
        reveal(text)
    }
}

impl Revealed {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// What a connection adds to each request, ready to send, and what must never be seen in an answer.
pub struct Auth {
    proof: Proof,
    secrets: Vec<SecretString>,
}

enum Proof {
    None,
    Header(HeaderName, HeaderValue),
    Query(SecretString),
}

/// Why a connection's credentials cannot be sent; says nothing of their content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A header name that HTTP does not allow.
    #[error("`{name}` is no header name; correct `auth` of connection `{connection}`")]
    Name {
        /// The name.
        name: String,
        /// Connection.
        connection: String,
    },
    /// A secret that cannot stand in a header.
    #[error(
        "the credentials of connection `{connection}` hold a control character, perhaps a line end; correct the \
         variable or file they come from"
    )]
    Value {
        /// Connection.
        connection: String,
    },
}

impl Auth {
    /// Prepares what the connection adds.
    ///
    /// # Errors
    /// The credentials cannot stand where they belong.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let header = |name: HeaderName, value: &str| {
            let wrong = |_| Error::Value { connection: connection.name.to_string() };
            let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(wrong)?;
            value.set_sensitive(true);
            Ok(Proof::Header(name, value))
        };
        let mut secrets = fixed_secrets(connection);
        let proof = match &connection.auth {
            // Tokens are fetched while it runs.
            resources::Auth::None | resources::Auth::OAuth2(_) | resources::Auth::Token(_) => Proof::None,
            resources::Auth::Basic { username, password } => {
                secrets.push(secret(reveal(password)));
                let pair = STANDARD.encode(format!("{}:{}", reveal(username), reveal(password)));
                secrets.push(secret(&pair));
                header(AUTHORIZATION, &format!("Basic {pair}"))?
            }
            resources::Auth::Bearer(token) => {
                secrets.push(secret(reveal(token)));
                header(AUTHORIZATION, &format!("Bearer {}", reveal(token)))?
            }
            resources::Auth::ApiKey { name, value, place } => {
                secrets.push(secret(reveal(value)));
                match place {
                    KeyPlace::Header => {
                        let wrong = |_| Error::Name { name: name.clone(), connection: connection.name.to_string() };
                        header(HeaderName::from_bytes(name.as_bytes()).map_err(wrong)?, reveal(value))?
                    }
                    KeyPlace::Query => {
                        let encoded = form(reveal(value));
                        secrets.push(secret(&encoded));
                        Proof::Query(secret(&format!("{}={encoded}", form(name))))
                    }
                }
            }
        };
        // Shorter ones would blank out innocent text.
        secrets.retain(|secret| secret.expose_secret().len() >= 4);
        // The longest first, so that no rest of one remains when it holds another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Ok(Self { proof, secrets })
    }

    /// Adds the proof: to the headers, or to the path and query.
    pub fn apply(&self, headers: &mut HeaderMap, target: &mut String) {
        match &self.proof {
            Proof::None => {}
            Proof::Header(name, value) => {
                headers.insert(name, value.clone());
            }
            Proof::Query(item) => {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(item.expose_secret());
            }
        }
    }

    /// What [`Self::apply`] makes of a request, for people: headers by name and the request target, the proof masked.
    /// The request must have been rendered with its secrets masked.
    #[must_use]
    pub fn shown(&self, request: &Request) -> (BTreeMap<String, String>, String) {
        let pairs = request.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
        let mut headers: BTreeMap<String, String> = pairs.collect();
        let mut target = request.target();
        match &self.proof {
            Proof::None => {}
            Proof::Header(name, value) => {
                let scheme = value.to_str().ok().filter(|_| *name == AUTHORIZATION).and_then(|v| v.split_once(' '));
                let shown = scheme.map_or_else(|| "***".to_owned(), |(scheme, _)| format!("{scheme} ***"));
                headers.insert(name.to_string(), shown);
            }
            Proof::Query(item) => {
                let name = item.expose_secret().split('=').next().unwrap_or_default();
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(name);
                target.push_str("=***");
            }
        }
        (headers, target)
    }

    /// Text for people: the connection's secrets in it become `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), "***");
            }
        }
        text
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.proof {
            Proof::None => "Auth(none)",
            Proof::Header(..) => "Auth(header)",
            Proof::Query(_) => "Auth(query)",
        })
    }
}

fn reveal(text: &Text) -> &str {
    match text {
        Text::Plain(text) => text,
        Text::Secret(text) => text.expose_secret(),
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// The secrets among a connection's fixed parameters.
fn fixed_secrets(connection: &Connection) -> Vec<SecretString> {
    let headers = connection.headers.iter().map(|(_, text)| text);
    let query = connection.query.iter().flat_map(|(_, texts)| texts);
    let mut found = Vec::new();
    for text in headers.chain(query) {
        collect(text, &mut found);
    }
    connection.body.iter().for_each(|(_, node)| collect_node(node, &mut found));
    found
}

fn collect(text: &Text, found: &mut Vec<SecretString>) {
    if let Text::Secret(secret) = text {
        found.push(secret.clone());
    }
}

fn collect_node(node: &Node, found: &mut Vec<SecretString>) {
    match &node.kind {
        Kind::String(text) => collect(text, found),
        Kind::List(items) => items.iter().for_each(|item| collect_node(item, found)),
        Kind::Map(entries) => entries.iter().for_each(|(_, item)| collect_node(item, found)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
}

/// application/x-www-form-urlencoded (transforms.md rule 48).
fn form(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    utf8_percent_encode(text, KEPT).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::Place;
    use crate::model::name::Name;

    fn connection(auth: resources::Auth) -> Connection {
        let secret = Text::Secret(SecretString::from("hidden-value"));
        Connection {
            auth,
            headers: vec![
                ("x-fixed".to_owned(), secret.clone()),
                ("x-plain".to_owned(), Text::Plain("open".to_owned())),
            ],
            body: vec![("k".to_owned(), Node::unplaced(Kind::List(vec![Node::unplaced(Kind::String(secret))])))],
            ..Connection::bare(Name::new("api").unwrap(), Place::default())
        }
    }

    fn bearer(token: &str) -> resources::Auth {
        resources::Auth::Bearer(Text::Secret(SecretString::from(token)))
    }

    #[test]
    fn secrets_are_sent_but_not_shown() {
        let auth = Auth::new(&connection(bearer("tok+en/1"))).unwrap();
        let (mut headers, mut target) = (HeaderMap::new(), "/in".to_owned());
        auth.apply(&mut headers, &mut target);
        assert_eq!((headers[AUTHORIZATION].to_str().unwrap(), target.as_str()), ("Bearer tok+en/1", "/in"));
        assert!(!format!("{auth:?} {headers:?}").contains("tok+en"));
        assert_eq!(auth.redact("tok+en/1 and hidden-value, open"), "*** and ***, open");
    }

    #[test]
    fn a_line_end_in_a_secret_is_refused_without_showing_it() {
        let error = Auth::new(&connection(bearer("tok+en\n"))).unwrap_err();
        assert!(error.to_string().contains("`api`") && !error.to_string().contains("tok"));
        let key = resources::Auth::ApiKey {
            name: "bad name".to_owned(),
            value: Text::Plain("tok+en".to_owned()),
            place: KeyPlace::Header,
        };
        assert!(matches!(Auth::new(&connection(key)), Err(Error::Name { .. })));
    }

    #[test]
    fn short_texts_are_not_blanked_out() {
        let auth = Auth::new(&connection(bearer("on"))).unwrap();
        assert_eq!(auth.redact("on and on"), "on and on");
    }
}
