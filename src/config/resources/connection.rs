//! Checked nodes → connections: url, credentials, signature, proxy, certificates.

use super::build::{self, items, plain, text, texts};
use super::check::Checker;
use super::texts::header_name;
use super::{proxy, url};
use crate::config::files;
use crate::model::name::Name;
use crate::model::node::{Kind, Node};
use crate::model::resources::{
    Auth, BaseUrl, ClientAuth, Connection, KeyPlace, Lifetime, Network, OAuth2, Sign, TokenEndpoint, TokenExchange,
    TokenPiece, TokenText,
};
use secrecy::SecretString;
use std::path::Path;
use std::time::Duration;

/// Default of `auth.token.read.lifetime`.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// Default of `sign.hmac.format`.
const SIGNATURE_FORMAT: &str = "sha256={hex}";

/// A connection, without looking at other resources.
pub(super) fn connection(name: Name, node: &Node, checker: &mut Checker<'_>) -> Option<Connection> {
    let url = match node.get("url") {
        Some(url) => Some(url::parse(url.as_plain()?).ok()?),
        None => None,
    };
    let allow_networks: Vec<_> =
        items(node.get("allow_networks")).filter_map(|n| url::network(n.as_plain()?)).collect();
    if let Some((message, cure)) = url.as_ref().and_then(|url| url::private_host(url, &allow_networks)) {
        checker.warn("CONFIG_PRIVATE_HOST", "/url", node.place_of("/url"), message, cure);
    }
    if let Some(key) = node.get("auth").and_then(|auth| auth.get("api_key")) {
        let name = plain(key, "name").unwrap_or_default().to_ascii_lowercase();
        let wrong = if plain(key, "in") == Some("query") { None } else { header_name(&name, &[]) };
        if let Some((message, cure)) = wrong {
            checker.fault("CONFIG_VALUE", "/auth/api_key/name", key.place_of("/name"), message, cure);
            return None;
        }
    }
    let auth = node.get("auth").map_or(Some(Auth::None), |node| auth(node, url.as_ref(), &allow_networks, checker));
    let proxy = proxy::proxy(node.get("proxy"), checker);
    let pem = tls(node, checker);
    let (ca_pem, client_pem) = pem?;
    Some(Connection {
        url,
        auth: auth?,
        sign: node.get("sign").map_or(Some(None), sign)?,
        rate_limits: node.get("rate_limit").map_or(Some(Vec::new()), build::rate_limits)?,
        responses: build::responses(node)?,
        proxy: proxy?,
        headers: lower(named(node, "headers", text)?),
        query: named(node, "query", texts)?,
        body: named(node, "body", |value| Some(value.clone()))?,
        allow_networks,
        ca_pem,
        client_pem,
        hidden: checker.hidden.clone(),
        ..Connection::bare(name, node.place.clone())
    })
}

fn auth(node: &Node, url: Option<&BaseUrl>, allowed: &[Network], checker: &mut Checker<'_>) -> Option<Auth> {
    let Some((kind, value)) = node.entries().first() else { return Some(Auth::None) };
    let part = |key: &str| value.get(key).and_then(text);
    Some(match kind.name.as_str() {
        "basic" => Auth::Basic { username: part("username")?, password: part("password")? },
        "bearer" => Auth::Bearer(text(value)?),
        "api_key" => Auth::ApiKey {
            name: plain(value, "name")?.to_owned(),
            value: part("value")?,
            place: if plain(value, "in") == Some("query") { KeyPlace::Query } else { KeyPlace::Header },
        },
        "oauth2" => {
            let spot = Spot { key: "token_endpoint", pointer: "/auth/oauth2", url, allowed };
            Auth::OAuth2(Box::new(OAuth2 {
                endpoint: token_endpoint(value, &spot, checker)?,
                client_id: part("client_id")?,
                client_secret: part("client_secret")?,
                client_auth: match plain(value, "client_auth") {
                    Some("body") => ClientAuth::Body,
                    _ => ClientAuth::Basic,
                },
                scope: plain(value, "scope").map(str::to_owned),
                body: named(value, "body", text)?,
            }))
        }
        "token" => {
            let spot = Spot { key: "endpoint", pointer: "/auth/token/request", url, allowed };
            let (request, read, send) = (value.get("request")?, value.get("read")?, value.get("send")?);
            Auth::Token(Box::new(TokenExchange {
                endpoint: token_endpoint(request, &spot, checker)?,
                json: request.get("json").cloned(),
                token: plain(read, "token")?.to_owned(),
                lifetime: lifetime(read),
                send_headers: lower(named(send, "headers", token_text)?),
                send_query: named(send, "query", token_text)?,
            }))
        }
        _ => return None,
    })
}

/// Where a token endpoint is written, and what it is joined to.
struct Spot<'a> {
    key: &'a str,
    /// Of the map that has the key.
    pointer: &'a str,
    url: Option<&'a BaseUrl>,
    allowed: &'a [Network],
}

fn token_endpoint(node: &Node, spot: &Spot<'_>, checker: &mut Checker<'_>) -> Option<TokenEndpoint> {
    let written = node.get(spot.key)?;
    let pointer = format!("{}/{}", spot.pointer, spot.key);
    let text = written.as_plain()?;
    if spot.url.is_none() && text.starts_with('/') {
        let message = format!("the connection has no url that `{text}` could be joined to");
        let cure = format!("write `{}: https://…`, or give the connection a `url`", spot.key);
        checker.fault("CONFIG_ENDPOINT", &pointer, &written.place, message, cure);
        return None;
    }
    let (base, target) = url::token_endpoint(spot.url, text).ok()?;
    // What is said of the connection's own url is said there.
    if spot.url.is_none_or(|url| url.origin() != base.origin()) {
        let insecure = url::doubt(&base.origin()).map(|doubt| ("CONFIG_INSECURE", doubt));
        let private = url::private_host(&base, spot.allowed).map(|doubt| ("CONFIG_PRIVATE_HOST", doubt));
        for (code, (message, cure)) in insecure.into_iter().chain(private) {
            checker.warn(code, &pointer, &written.place, message, cure);
        }
    }
    Some(TokenEndpoint {
        base,
        target,
        method: build::method(node),
        headers: lower(named(node, "headers", build::text)?),
        query: named(node, "query", texts)?,
    })
}

fn lifetime(read: &Node) -> Lifetime {
    match plain(read, "lifetime") {
        Some(path) if path.starts_with('$') => Lifetime::Path(path.to_owned()),
        _ => Lifetime::Fixed(build::duration(read, "lifetime").unwrap_or(TOKEN_LIFETIME)),
    }
}

/// The pieces that the checker made: null is the token.
fn token_text(node: &Node) -> Option<TokenText> {
    let Kind::List(pieces) = &node.kind else { return None };
    let piece = |node: &Node| match node.kind {
        Kind::Null => Some(TokenPiece::Token),
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
            text(node).map(TokenPiece::Text)
        }
    };
    pieces.iter().map(piece).collect::<Option<_>>().map(TokenText)
}

#[expect(clippy::option_option, reason = "broken, none, or how")]
fn sign(node: &Node) -> Option<Option<Sign>> {
    let Some((kind, value)) = node.entries().first() else { return Some(None) };
    let secret = || value.get("secret").and_then(text);
    Some(Some(match kind.name.as_str() {
        "hmac" => Sign::Hmac {
            secret: secret()?,
            header: plain(value, "header")?.to_ascii_lowercase(),
            format: plain(value, "format").unwrap_or(SIGNATURE_FORMAT).to_owned(),
        },
        "standard_webhooks" => Sign::StandardWebhooks { secrets: value.get("secrets").and_then(texts)? },
        "dingtalk" => Sign::DingTalk { secret: secret()? },
        _ => return None,
    }))
}

/// The entries of the map under `key`.
fn named<T>(node: &Node, key: &str, read: impl Fn(&Node) -> Option<T>) -> Option<Vec<(String, T)>> {
    let entries = node.get(key).map(Node::entries).unwrap_or_default();
    entries.iter().map(|(name, value)| Some((name.name.clone(), read(value)?))).collect()
}

fn lower<T>(headers: Vec<(String, T)>) -> Vec<(String, T)> {
    headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

type Pem = (Option<Vec<u8>>, Option<(Vec<u8>, SecretString)>);

fn tls(node: &Node, checker: &mut Checker<'_>) -> Option<Pem> {
    let Some(tls) = node.get("tls") else { return Some((None, None)) };
    let mut read = |key: &str| match tls.get(key) {
        Some(file) => pem(file, &format!("/tls/{key}"), checker).map(Some),
        None => Some(None),
    };
    let (ca, certificate, key) = (read("ca_file")?, read("client_certificate_file")?, read("client_key_file")?);
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes(), SecretString::from(key))),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "a client certificate needs its key, and the key its certificate".to_owned();
            let cure = "write `client_certificate_file` and `client_key_file`".to_owned();
            checker.fault("CONFIG_VALUE", "/tls", &tls.place, message, cure);
            return None;
        }
    };
    Some((ca.map(String::into_bytes), client))
}

fn pem(node: &Node, pointer: &str, checker: &mut Checker<'_>) -> Option<String> {
    let written = Path::new(node.as_plain()?);
    let folder = Path::new(&*node.place.file).parent().unwrap_or(Path::new(""));
    let path = folder.join(written);
    // It is watched even if it is wrong, for the cure may be to write it.
    checker.files.push(path.clone());
    let wrong = match files::read_text(&path) {
        Ok(text) if text.contains("-----BEGIN ") => return Some(text),
        Ok(_) => (format!("{} is not PEM", path.display()), "it must have a line `-----BEGIN …`".to_owned()),
        Err(fault) => (fault.message, "a relative path starts at the folder of this file".to_owned()),
    };
    checker.fault("CONFIG_FILE", pointer, &node.place, wrong.0, wrong.1);
    None
}
