//! Grant: what a token endpoint is asked, and how its answer is read: OAuth 2.0 client credentials (RFC 6749 section
//! 4.4) and token exchanges that are not OAuth. It does no I/O; `exchange` sends what it prepares.

use super::{Error, Revealed, collect, collect_node, fixed_secrets, form, reveal, secret};
use crate::destinations::token::{Fetched, Proof};
use crate::json::item::Item;
use crate::json::path::{self, Path};
use crate::json::value::{Json, Kind};
use crate::model::redact::redact;
use crate::model::resources::{self, TokenText};
use crate::model::resources::{ClientAuth, Connection, Lifetime, OAuth2, TokenEndpoint, TokenExchange, TokenPiece};
use crate::model::text::Text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longer lifetimes are cut to this; some say "never" with a very large number.
const LONGEST: f64 = 30.0 * 86_400.0;

/// A token request, ready to send, and what is done with its answer.
pub struct Grant {
    pub(in crate::destinations) method: Method,
    url: SecretString,
    pub(in crate::destinations) headers: HeaderMap,
    pub(in crate::destinations) body: Option<Bytes>,
    pub(in crate::destinations) host: String,
    pub(in crate::destinations) tls: bool,
    /// Scheme, host and path, for people.
    pub(in crate::destinations) endpoint: String,
    /// What people look at when it is refused.
    pub(in crate::destinations) cure: &'static str,
    read: Read,
    send_headers: Vec<(HeaderName, TokenText)>,
    send_query: Vec<(String, TokenText)>,
    /// What the request proves who we are with, and the connection's other secrets.
    secrets: Vec<SecretString>,
    fingerprint: [u8; 32],
}

enum Read {
    OAuth2,
    Paths { token: Path, shown: String, lifetime: ReadLifetime },
}

enum ReadLifetime {
    Fixed(Duration),
    At(Path),
}

/// Why an answer holds no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// They said no; with what they said.
    Refused(String),
    /// They are not able to answer now.
    Unable,
    /// It cannot be understood; with what is wrong.
    Unreadable(String),
}

impl Grant {
    /// `None` if the connection needs no token.
    pub(super) fn new(connection: &Connection) -> Result<Option<Self>, Error> {
        let built = match &connection.auth {
            resources::Auth::OAuth2(oauth2) => Self::oauth2(oauth2),
            resources::Auth::Token(exchange) => Self::exchange(exchange),
            resources::Auth::None
            | resources::Auth::Basic { .. }
            | resources::Auth::Bearer(_)
            | resources::Auth::ApiKey { .. } => return Ok(None),
        };
        let mut grant = built.map_err(|detail| Error::Token { connection: connection.name.to_string(), detail })?;
        grant.secrets.extend(fixed_secrets(connection));
        grant.endpoint = redact(&grant.endpoint, &grant.secrets);
        Ok(Some(grant))
    }

    fn oauth2(oauth2: &OAuth2) -> Result<Self, String> {
        let OAuth2 { endpoint, client_id, client_secret, client_auth, scope, body } = oauth2;
        let mut parameters = vec![("grant_type", "client_credentials")];
        parameters.extend(scope.as_deref().map(|scope| ("scope", scope)));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut secrets = vec![secret(reveal(client_secret))];
        collect(client_id, &mut secrets);
        match client_auth {
            ClientAuth::Body => {
                parameters.extend([("client_id", reveal(client_id)), ("client_secret", reveal(client_secret))]);
            }
            ClientAuth::Basic => {
                // RFC 6749 section 2.3.1: both are form-urlencoded first.
                let pair = STANDARD.encode(format!("{}:{}", form(reveal(client_id)), form(reveal(client_secret))));
                headers.insert(AUTHORIZATION, value(&format!("Basic {pair}"))?);
                secrets.push(secret(&pair));
            }
        }
        // What people write wins: some vendors have a grant type of their own.
        parameters.retain(|(name, _)| !body.iter().any(|(written, _)| written == name));
        parameters.extend(body.iter().map(|(name, text)| (name.as_str(), reveal(text))));
        body.iter().for_each(|(_, text)| collect(text, &mut secrets));
        let items: Vec<String> =
            parameters.iter().map(|(name, text)| format!("{}={}", form(name), form(text))).collect();
        let method = method(endpoint)?;
        let in_query = method == Method::GET || method == Method::HEAD;
        let (items, body) = if in_query { (items, None) } else { (Vec::new(), Some(Bytes::from(items.join("&")))) };
        if !in_query {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let token = TokenText(vec![TokenPiece::Text(Text::Plain("Bearer ".to_owned())), TokenPiece::Token]);
        Self {
            method,
            url: secret(""),
            headers,
            body,
            host: String::new(),
            tls: false,
            endpoint: String::new(),
            cure: "`client_id` and `client_secret`",
            read: Read::OAuth2,
            send_headers: vec![(AUTHORIZATION, token)],
            send_query: Vec::new(),
            secrets,
            fingerprint: [0; 32],
        }
        .at(endpoint, items)
    }

    fn exchange(exchange: &TokenExchange) -> Result<Self, String> {
        let TokenExchange { endpoint, json, token, lifetime, send_headers, send_query } = exchange;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut secrets = Vec::new();
        let body = json.as_ref().map(|json| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            collect_node(json, &mut secrets);
            Bytes::from(json.to_json_showing(&Revealed(())))
        });
        let named = send_headers.iter().map(|(name, text)| {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            parsed.map(|name| (name, text.clone())).map_err(|_| format!("`{name}` is no header name"))
        });
        let lifetime = match lifetime {
            Lifetime::Fixed(lifetime) => ReadLifetime::Fixed(*lifetime),
            Lifetime::Path(path) => ReadLifetime::At(definite(path)?),
        };
        Self {
            method: method(endpoint)?,
            url: secret(""),
            headers,
            body,
            host: String::new(),
            tls: false,
            endpoint: String::new(),
            cure: "`auth.token.request`",
            read: Read::Paths { token: definite(token)?, shown: token.clone(), lifetime },
            send_headers: named.collect::<Result<_, _>>()?,
            send_query: send_query.clone(),
            secrets,
            fingerprint: [0; 32],
        }
        .at(endpoint, Vec::new())
    }

    /// Completes it with what the endpoint says; `items` stand last in the query.
    fn at(mut self, endpoint: &TokenEndpoint, items: Vec<String>) -> Result<Self, String> {
        let mut target = endpoint.target.clone();
        let shown = target.split('?').next().unwrap_or_default();
        self.endpoint = format!("{}{shown}", endpoint.base.origin());
        (self.host, self.tls) = (endpoint.base.host.clone(), endpoint.base.tls);
        let written = endpoint.query.iter().flat_map(|(name, texts)| texts.iter().map(move |text| (name, text)));
        let written = written.map(|(name, text)| format!("{}={}", form(name), form(reveal(text))));
        for item in written.chain(items) {
            crate::destinations::sign::push_query(&mut target, &item);
        }
        self.url = secret(&format!("{}{target}", endpoint.base.origin()));
        for (name, text) in &endpoint.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
            self.headers.insert(parsed, value(reveal(text))?);
        }
        let fixed = endpoint.headers.iter().map(|(_, t)| t).chain(endpoint.query.iter().flat_map(|(_, texts)| texts));
        let sent = self.send_headers.iter().map(|(_, t)| t).chain(self.send_query.iter().map(|(_, t)| t));
        let sent = sent.flat_map(|text| &text.0).filter_map(|piece| match piece {
            TokenPiece::Text(text) => Some(text),
            TokenPiece::Token => None,
        });
        let mut found = Vec::new();
        fixed.chain(sent).for_each(|text| collect(text, &mut found));
        self.secrets.extend(found);
        self.fingerprint = self.fingerprint();
        Ok(self)
    }

    /// What decides whether a token fetched for one is good for the other.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut feed = |bytes: &[u8]| {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        feed(self.method.as_str().as_bytes());
        feed(self.url.expose_secret().as_bytes());
        for (name, value) in &self.headers {
            feed(name.as_str().as_bytes());
            feed(value.as_bytes());
        }
        feed(self.body.as_deref().unwrap_or_default());
        match &self.read {
            Read::OAuth2 => feed(b"oauth2"),
            Read::Paths { shown, lifetime, .. } => {
                feed(shown.as_bytes());
                match lifetime {
                    ReadLifetime::Fixed(lifetime) => feed(&lifetime.as_nanos().to_be_bytes()),
                    ReadLifetime::At(path) => feed(format!("{path:?}").as_bytes()),
                }
            }
        }
        let mut place = |name: &str, text: &TokenText| {
            feed(name.as_bytes());
            for piece in &text.0 {
                match piece {
                    TokenPiece::Text(text) => feed(reveal(text).as_bytes()),
                    TokenPiece::Token => feed(b"\0token"),
                }
            }
        };
        self.send_headers.iter().for_each(|(name, text)| place(name.as_str(), text));
        self.send_query.iter().for_each(|(name, text)| place(name, text));
        hash.finalize().into()
    }

    /// A token fetched for one is good for the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    pub(super) fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }

    /// Where it is sent, with all that is in the query.
    pub(in crate::destinations) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Text for people: the connection's secrets in it become `***`, and so do `tokens`.
    pub(in crate::destinations) fn redact(&self, text: &str, tokens: &[SecretString]) -> String {
        redact(text, self.secrets.iter().chain(tokens))
    }

    /// Reads what the token endpoint answered; what it says quotes neither a secret nor one of `tokens`.
    pub(in crate::destinations) fn read(
        &self,
        status: u16,
        body: &[u8],
        tokens: &[SecretString],
    ) -> Result<Fetched, NoToken> {
        let json = Json::check(body);
        // Before it is cut, for half a secret is not found any more.
        let short = |text: &str| short(&self.redact(text, tokens));
        let said = |json: Json<'_>| said(json, short);
        match status {
            200..=299 => {}
            408 | 425 | 429 | 500.. => return Err(NoToken::Unable),
            300..=399 => return Err(NoToken::Refused("redirects are not followed".to_owned())),
            _ => return Err(NoToken::Refused(json.ok().and_then(said).unwrap_or_default())),
        }
        let json = json.map_err(|_| NoToken::Unreadable("the answer is no JSON".to_owned()))?;
        let (token, lifetime) = match &self.read {
            Read::OAuth2 => {
                let Some(token) = json.get("access_token").and_then(Json::as_str) else {
                    // Some vendors answer 200 with an error in it.
                    return Err(match said(json) {
                        Some(said) => NoToken::Refused(said),
                        None => NoToken::Unreadable("the answer has no text `access_token`".to_owned()),
                    });
                };
                let kind = json.get("token_type").and_then(Json::as_str);
                if let Some(kind) = kind.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
                    // RFC 6749 section 7.1: a client must not use a token of a type it does not understand.
                    let kind = short(&kind);
                    let what = format!("its token_type is `{kind}`, not Bearer; `auth.token` can send it another way");
                    return Err(NoToken::Unreadable(what));
                }
                (token.into_owned(), json.get("expires_in").and_then(|value| seconds(Item::Json(value))))
            }
            Read::Paths { token, shown, lifetime } => {
                let Some(token) = one(token, json).and_then(text) else {
                    let heard = said(json).map(|said| format!(" (it says {said})")).unwrap_or_default();
                    return Err(NoToken::Unreadable(format!("the answer has no text at `{shown}`{heard}")));
                };
                let lifetime = match lifetime {
                    ReadLifetime::Fixed(lifetime) => Some(*lifetime),
                    ReadLifetime::At(path) => one(path, json).and_then(seconds),
                };
                (token, lifetime)
            }
        };
        if token.is_empty() {
            return Err(NoToken::Unreadable("its token is empty".to_owned()));
        }
        let proof = self.proof(&token).map_err(NoToken::Unreadable)?;
        Ok(Fetched { proof, lifetime })
    }

    /// The token where it is sent.
    fn proof(&self, token: &str) -> Result<Proof, String> {
        let fill = |text: &TokenText| {
            text.0.iter().fold(String::new(), |mut out, piece| {
                match piece {
                    TokenPiece::Text(text) => out.push_str(reveal(text)),
                    TokenPiece::Token => out.push_str(token),
                }
                out
            })
        };
        let headers = self.send_headers.iter().map(|(name, text)| {
            let value = value(&fill(text)).map_err(|_| "its token holds a control character".to_owned())?;
            Ok((name.clone(), value))
        });
        let headers = headers.collect::<Result<Vec<_>, String>>()?;
        let items = self.send_query.iter().map(|(name, text)| format!("{}={}", form(name), form(&fill(text))));
        let query = items.collect::<Vec<_>>().join("&");
        Ok(Proof { headers, query: (!query.is_empty()).then(|| secret(&query)), secret: secret(token) })
    }

    /// Where the token goes, for people: itself and the secrets beside it masked.
    pub(super) fn show(&self, headers: &mut BTreeMap<String, String>, target: &mut String) {
        let fill = |text: &TokenText| {
            text.0.iter().fold(String::new(), |mut out, piece| {
                out.push_str(match piece {
                    TokenPiece::Text(text) => text.masked(),
                    TokenPiece::Token => "***",
                });
                out
            })
        };
        headers.extend(self.send_headers.iter().map(|(name, text)| (name.to_string(), fill(text))));
        for (name, text) in &self.send_query {
            crate::destinations::sign::push_query(target, &format!("{}={}", form(name), fill(text)));
        }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("method", &self.method).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn method(endpoint: &TokenEndpoint) -> Result<Method, String> {
    Method::from_bytes(endpoint.method.as_bytes()).map_err(|_| format!("`{}` is no HTTP method", endpoint.method))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
        .map_err(|_| "a header of the token request holds a control character, perhaps a line end".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A path that finds one value at most.
fn definite(text: &str) -> Result<Path, String> {
    let path = Path::parse(text).map_err(|error| format!("`{text}` is no path: {error}"))?;
    match path.steps() {
        Some(_) => Ok(path),
        None => Err(format!("`{text}` may find several values; name the one")),
    }
}

fn one<'a>(path: &Path, json: Json<'a>) -> Option<Item<'a>> {
    path::follow(path.steps()?, Item::Json(json))
}

/// A token is a text, but some are numbers.
fn text(item: Item<'_>) -> Option<String> {
    let mut out = String::new();
    matches!(item.kind(), Kind::String | Kind::Number).then(|| item.write_text(&mut out))?;
    Some(out)
}

/// Seconds as number or text; what cannot be read, or has passed already, is unsaid.
fn seconds(item: Item<'_>) -> Option<Duration> {
    let seconds: f64 = text(item)?.trim().parse().ok()?;
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds.min(LONGEST)).ok())?
}

/// `error` and `error_description` (RFC 6749 section 5.2), or what others call them.
fn said(json: Json<'_>, short: impl Fn(&str) -> String) -> Option<String> {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| json.get(name).map(Item::Json).and_then(text))?;
        Some(short(&found)).filter(|text| !text.is_empty())
    };
    let code = text(&["error", "errcode", "code", "result"]);
    let words = text(&["error_description", "errmsg", "message", "msg"]);
    match (code, words) {
        (Some(code), Some(words)) => Some(format!("{code} ({words})")),
        (found, None) | (None, found) => found,
    }
}

/// A line of a stranger's text that is fit for a log.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect::<String>().trim().to_owned()
}
