//! Authentication: added to a request last, anew for each attempt. One of the few places that may reveal secrets.
//!
//! What is fixed is prepared here once; a token that is fetched while it runs comes from `grant` by way of `token`;
//! the signature, over what is then final, from `sign`.

mod grant;
#[cfg(test)]
mod tests;

pub use grant::{Grant, NoToken};

use super::sign::{self, Signer, push_query};
use super::token::{Lease, Tokens};
use crate::model::clock::WallMs;
use crate::model::node::{Kind, Node};
use crate::model::redact::redact;
use crate::model::request::Request;
use crate::model::resources::{self, Connection, KeyPlace};
use crate::model::text::{ShowText, Text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

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
    signer: Option<Signer>,
    secrets: Vec<SecretString>,
}

enum Proof {
    None,
    /// Fetched while it runs.
    Token(Arc<Grant>, Arc<Tokens>),
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
    /// The token cannot be asked for.
    #[error("`auth` of connection `{connection}`: {detail}")]
    Token {
        /// Connection.
        connection: String,
        /// What is wrong.
        detail: String,
    },
    /// The requests cannot be signed.
    #[error(transparent)]
    Sign(#[from] sign::Error),
}

impl Auth {
    /// Prepares what the connection adds. It goes on with the token of `previous`, what it was before a reload, if that
    /// is fetched in the same way.
    ///
    /// # Errors
    /// The credentials cannot stand where they belong.
    pub fn new(connection: &Connection, previous: Option<&Self>) -> Result<Self, Error> {
        let header = |name: HeaderName, value: &str| {
            let wrong = |_| Error::Value { connection: connection.name.to_string() };
            let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(wrong)?;
            value.set_sensitive(true);
            Ok::<_, Error>(Proof::Header(name, value))
        };
        let mut secrets = fixed_secrets(connection);
        let proof = match &connection.auth {
            resources::Auth::None => Proof::None,
            resources::Auth::OAuth2(_) | resources::Auth::Token(_) => match Grant::new(connection)? {
                Some(grant) => {
                    grant.secrets().clone_into(&mut secrets);
                    let kept = previous.and_then(Self::token).filter(|(before, _)| before.is_same(&grant));
                    let tokens = kept.map(|(_, tokens)| Arc::clone(tokens)).unwrap_or_default();
                    Proof::Token(Arc::new(grant), tokens)
                }
                None => Proof::None,
            },
            resources::Auth::Basic { username, password } => {
                collect(username, &mut secrets);
                secrets.push(secret(reveal(password)));
                let pair = pair(username, password);
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
                    KeyPlace::Query => Proof::Query(secret(&format!("{}={}", form(name), form(reveal(value))))),
                }
            }
        };
        Ok(Self { proof, signer: Signer::new(connection)?, secrets })
    }

    /// How the token is fetched, and the token.
    #[must_use]
    pub fn token(&self) -> Option<(&Arc<Grant>, &Arc<Tokens>)> {
        match &self.proof {
            Proof::Token(grant, tokens) => Some((grant, tokens)),
            Proof::None | Proof::Header(..) | Proof::Query(_) => None,
        }
    }

    /// Adds the proof: to the headers, or to the query. `token` is the one to use where one is fetched.
    pub fn apply(&self, request: &mut Request, token: Option<&Lease>) {
        match &self.proof {
            Proof::None => {}
            Proof::Token(..) => {
                let Some(proof) = token.and_then(Lease::proof) else { return };
                for (name, value) in &proof.headers {
                    request.headers.set(name.as_str(), text(value));
                }
                if let Some(items) = &proof.query {
                    request.push_query(items.expose_secret());
                }
            }
            Proof::Header(name, value) => request.headers.set(name.as_str(), text(value)),
            Proof::Query(item) => request.push_query(item.expose_secret()),
        }
    }

    /// Signs what is final but for the signature; `id` is the delivery id, the same at every attempt.
    ///
    /// # Errors
    /// What keeps it from being signed.
    pub fn sign(&self, request: &mut Request, id: &str, now: WallMs) -> Result<(), &'static str> {
        self.signer.as_ref().map_or(Ok(()), |signer| signer.sign(request, id, now))
    }

    /// What [`Self::apply`] and [`Self::sign`] make of a request, for people: headers by name and the request target,
    /// proof and signature masked. The request must have been rendered with its secrets masked; `id` is its delivery id.
    #[must_use]
    pub fn shown(&self, request: &Request, id: &str) -> (BTreeMap<String, String>, String) {
        let pairs = request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
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
                push_query(&mut target, &format!("{name}=***"));
            }
            Proof::Token(grant, _) => grant.show(&mut headers, &mut target),
        }
        if let Some(signer) = &self.signer {
            signer.show(&mut headers, &mut target, id);
        }
        (headers, target)
    }

    /// Text for people: the connection's secrets in it become `***`, the token and the one before it among them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redact_beside(&[], text)
    }

    /// The same, with these secrets beside those of the connection.
    pub(super) fn redact_beside(&self, own: &[SecretString], text: &str) -> String {
        let tokens = self.token().map(|(_, tokens)| tokens.secrets()).unwrap_or_default();
        let text = redact(text, self.secrets.iter().chain(own).chain(&tokens));
        match &self.signer {
            Some(signer) => signer.redact(&text),
            None => text,
        }
    }
}

/// The secrets of a destination itself: in its headers and query, and in its endpoint.
pub(super) fn secrets_of(destination: &resources::Destination) -> Vec<SecretString> {
    let mut found = destination.hidden.clone();
    let values = destination.headers.iter().chain(&destination.query);
    values.for_each(|node| collect_node(node, &mut found));
    found
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.proof {
            Proof::None => "Auth(none)",
            Proof::Header(..) => "Auth(header)",
            Proof::Query(_) => "Auth(query)",
            Proof::Token(..) => "Auth(token)",
        })
    }
}

/// A value that was made of a text.
fn text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or_default()
}

pub(super) fn reveal(text: &Text) -> &str {
    match text {
        Text::Plain(text) => text,
        Text::Secret(text) => text.expose_secret(),
    }
}

/// User and password as RFC 7617 has them.
fn pair(username: &Text, password: &Text) -> String {
    STANDARD.encode(format!("{}:{}", reveal(username), reveal(password)))
}

/// Value of `Proxy-Authorization`.
pub(super) fn to_proxy(username: &Text, password: &Text) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", pair(username, password))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// The secrets among a connection's fixed parameters.
fn fixed_secrets(connection: &Connection) -> Vec<SecretString> {
    let headers = connection.headers.iter().map(|(_, text)| text);
    let query = connection.query.iter().flat_map(|(_, texts)| texts);
    let mut found = connection.hidden.clone();
    for text in headers.chain(query) {
        collect(text, &mut found);
    }
    connection.body.iter().for_each(|(_, node)| collect_node(node, &mut found));
    if let Some((username, password)) = connection.proxy.as_ref().and_then(|proxy| proxy.credentials.as_ref()) {
        collect(username, &mut found);
        collect(password, &mut found);
        found.push(secret(&pair(username, password)));
    }
    match &connection.sign {
        None => {}
        Some(resources::Sign::Hmac { secret, .. } | resources::Sign::DingTalk { secret }) => {
            collect(secret, &mut found)
        }
        Some(resources::Sign::StandardWebhooks { secrets }) => secrets.iter().for_each(|s| collect(s, &mut found)),
    }
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
pub(super) fn form(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    utf8_percent_encode(text, KEPT).to_string().replace(' ', "+")
}
