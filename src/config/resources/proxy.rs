//! The way out of a connection: none, a proxy that is written, or those of the environment.

use super::build::{plain, text};
use super::check::Checker;
use super::url;
use crate::config::env::Env;
use crate::model::node::{Kind, Node};
use crate::model::resources::{BaseUrl, Proxy, Resolve, Via};
use crate::model::text::Text;
use percent_encoding::percent_decode_str;

/// The word for the environment's proxies.
const ENVIRONMENT: &str = "environment";

/// User and password.
type Credentials = (Text, Text);
/// What is wrong, and what to write.
type Wrong = (String, String);

/// The proxy under `proxy`; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "broken, none, or which")]
pub(super) fn proxy(node: Option<&Node>, checker: &mut Checker<'_>) -> Option<Option<Proxy>> {
    let Some(node) = node else { return Some(None) };
    let url = match &node.kind {
        Kind::Map(_) => plain(node, "url")?,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) => node.as_plain()?,
    };
    if url == "none" {
        return Some(None);
    }
    let (via, found) = if url == ENVIRONMENT {
        match environment(checker.env) {
            Ok(found) => found,
            Err((message, cure)) => {
                checker.fault("CONFIG_VALUE", "/proxy", &node.place, message, cure);
                return None;
            }
        }
    } else {
        (Via::Url(url::proxy(url).ok()?), None)
    };
    let part = |key: &str| node.get(key).and_then(text);
    Some(Some(Proxy {
        via,
        credentials: part("username").zip(part("password")).or(found),
        resolve: if plain(node, "resolve") == Some("proxy") { Resolve::Proxy } else { Resolve::Local },
    }))
}

/// The environment's proxies; lower-case names win, as with curl. No message shows a value, for it may hold a password.
fn environment(env: &Env) -> Result<(Via, Option<Credentials>), Wrong> {
    let set = |names: [&'static str; 2]| {
        let mut found = names.into_iter().filter_map(|name| Some((name, env.get(name)?.trim())));
        found.find(|(_, value)| !value.is_empty())
    };
    let one = |names| set(names).map(|(name, value)| url_of(name, value)).transpose();
    let https = one(["https_proxy", "HTTPS_PROXY"])?;
    let http = one(["http_proxy", "HTTP_PROXY"])?;
    let except = set(["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default();
    let except = except.split([',', ' ', '\t']).filter(|host| !host.is_empty());
    let credentials = match (&https, &http) {
        (Some((_, a)), Some((_, b))) if a != b => {
            let message = "HTTPS_PROXY and HTTP_PROXY have different credentials".to_owned();
            return Err((message, "write `proxy: {url, username, password}`".to_owned()));
        }
        (Some((_, found)), _) | (None, Some((_, found))) => found.clone(),
        (None, None) => None,
    };
    let secret = |text: String| Text::Secret(text.into());
    let via = Via::Environment {
        https: https.map(|(url, _)| url),
        http: http.map(|(url, _)| url),
        except: except.map(str::to_ascii_lowercase).collect(),
    };
    Ok((via, credentials.map(|(user, password)| (secret(user), secret(password)))))
}

/// A proxy as variables name it: perhaps without scheme, perhaps with user and password, percent-encoded.
fn url_of(name: &str, value: &str) -> Result<(BaseUrl, Option<(String, String)>), Wrong> {
    let wrong = || {
        let cure = "set it to http://proxy.example.com:3128, or write `proxy: {url: …}`".to_owned();
        (format!("the environment variable `{name}` holds no url of an http or https proxy"), cure)
    };
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let base = url::proxy(&format!("{scheme}://{authority}")).map_err(|_| wrong())?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| wrong());
    let credentials = match user {
        Some(user) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            Some((decode(user)?, decode(password)?))
        }
        None => None,
    };
    Ok((base, credentials))
}
