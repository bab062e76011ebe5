//! Urls of connections and endpoints of destinations: reading them, and joining the two so that credentials never go
//! to another host.

use crate::model::resources::{BaseUrl, Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is wrong, and what to write.
type Wrong = (String, String);

/// Schemes of systems that later versions talk to.
const LATER: [&str; 10] = ["amqp", "amqps", "sftp", "ssh", "s3", "oss", "rocketmq", "kafka", "ftp", "ftps"];

/// Reads the base url of a connection.
pub(crate) fn parse(text: &str) -> Result<BaseUrl, Wrong> {
    let (base, query) = absolute(text)?;
    if query.is_some() {
        return Err((format!("`{text}` has a query"), "write it under `query`".to_owned()));
    }
    Ok(BaseUrl { path: base.path.trim_end_matches('/').to_owned(), ..base })
}

/// Whether a url names a system that later versions talk to.
pub(super) fn is_later(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| LATER.contains(&scheme.to_ascii_lowercase().as_str()))
}

/// Where a destination sends: base and what is appended to it.
pub(super) fn join(base: Option<&BaseUrl>, endpoint: &str) -> Result<(BaseUrl, String), Wrong> {
    if !endpoint.contains("://") {
        let Some(base) = base else {
            let cure = "write `endpoint: https://…`, or give the connection a `url`";
            return Err(("the connection has no url, so the endpoint must be absolute".to_owned(), cure.to_owned()));
        };
        if !(endpoint.is_empty() || endpoint.starts_with(['/', '?'])) {
            return Err((format!("`{endpoint}` does not begin with `/`"), format!("write /{endpoint}")));
        }
        check_path(endpoint)?;
        return Ok((base.clone(), endpoint.to_owned()));
    }
    let (mut target, query) = absolute(endpoint)?;
    if let Some(base) = base.filter(|base| base.origin() != target.origin()) {
        let message = format!("the endpoint goes to {}, its connection to {}", target.origin(), base.origin());
        let cure = "credentials never go to another host: write a path, or another connection";
        return Err((message, cure.to_owned()));
    }
    let path = std::mem::take(&mut target.path);
    let appended = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Ok((target, appended))
}

/// Where tokens are fetched: scheme, host and port, and the path with its query. A path is joined to the connection's
/// url; without one here it is only looked at.
pub(super) fn token_endpoint(connection: Option<&BaseUrl>, text: &str) -> Result<(BaseUrl, String), Wrong> {
    if text.contains(['{', '}']) {
        let message = format!("`{text}` has a brace, but a token is fetched without an event");
        return Err((message, "write the path as it is".to_owned()));
    }
    if text.starts_with('/') {
        check_path(text)?;
        let path = connection.map(|base| base.path.as_str()).unwrap_or_default();
        let base =
            connection.cloned().unwrap_or(BaseUrl { tls: true, host: String::new(), port: 443, path: String::new() });
        return Ok((BaseUrl { path: String::new(), ..base }, format!("{path}{text}")));
    }
    if !text.contains("://") {
        let cure = "write https://login.example.com/token, or /token to join it to the connection's url";
        return Err((format!("`{text}` is neither a url nor a path that begins with `/`"), cure.to_owned()));
    }
    let (mut base, query) = absolute(text)?;
    let path = std::mem::take(&mut base.path);
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Ok((base, target))
}

/// The url of a proxy: scheme, host and port.
pub(super) fn proxy(text: &str) -> Result<BaseUrl, Wrong> {
    let example = || "write http://proxy.example.com:3128".to_owned();
    if text.contains('@') {
        // Not shown: it is a password.
        return Err(("a url must not carry a password".to_owned(), "write `username` and `password`".to_owned()));
    }
    let (base, query) = absolute(text).map_err(|(message, _)| (message, example()))?;
    if query.is_some() || !matches!(base.path.as_str(), "" | "/") {
        return Err((format!("`{text}` has a path or query, which no proxy looks at"), example()));
    }
    Ok(BaseUrl { path: String::new(), ..base })
}

/// Why a url that works may be a mistake.
pub(super) fn doubt(text: &str) -> Option<Wrong> {
    let base = parse(text).ok()?;
    let loopback = base.host == "localhost" || base.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (!base.tls && !loopback).then(|| {
        let cure = format!("write https://{}", text.get("http://".len()..).unwrap_or_default());
        (format!("`{text}` sends everything, credentials too, unencrypted"), cure)
    })
}

/// Why the host of `base` will not be dialled, as far as its literal text tells.
pub(super) fn private_host(base: &BaseUrl, allowed: &[Network]) -> Option<Wrong> {
    let localhost = (base.host == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ip = base.host.parse::<IpAddr>().ok().or(localhost)?;
    if is_public(ip) || allowed.iter().any(|network| contains(network, ip)) {
        return None;
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    Some((
        format!("`{}` is no public address and will be refused", base.host),
        format!("write `allow_networks: [{ip}/{bits}]`"),
    ))
}

/// An address range, or one address.
pub(super) fn network(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some(Network { address, bits })
}

fn contains(network: &Network, ip: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let ignored = width.saturating_sub(u32::from(network.bits));
        a.checked_shr(ignored).unwrap_or(0) == b.checked_shr(ignored).unwrap_or(0)
    };
    match (network.address, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Good enough for a hint; what is dialled is decided where it is dialled.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|v4| !is_public(IpAddr::V4(v4)));
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local() || ip.is_unspecified() || mapped)
        }
    }
}

/// An absolute http url: base with its path as written, and what follows `?`.
fn absolute(text: &str) -> Result<(BaseUrl, Option<&str>), Wrong> {
    let example = || "write https://api.example.com/v1".to_owned();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err((format!("`{text}` is no url"), example()));
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        later if LATER.contains(&later) => {
            return Err((
                format!("urls of `{scheme}` are not supported by this version"),
                "write https://…".to_owned(),
            ));
        }
        _ => return Err((format!("`{scheme}` is no scheme of a url"), example())),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return Err(("a url must not carry a password".to_owned(), "write it under `auth`".to_owned()));
    }
    let (host, port) = host_and_port(authority, tls).ok_or_else(|| (format!("`{authority}` is no host"), example()))?;
    check_path(rest)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Ok((BaseUrl { tls, host, port, path: path.to_owned() }, query))
}

fn host_and_port(authority: &str, tls: bool) -> Option<(String, u16)> {
    let default = if tls { 443 } else { 80 };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let host: Ipv6Addr = host.parse().ok()?;
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => default,
            None => return None,
        };
        return Some((host.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, default),
    };
    // Digits and dots only is an address, and then a whole one: `127.1` and `2130706433` mean loopback to some.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    let clean = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let fits = clean && (1..=253).contains(&host.len()) && !host.starts_with('.') && !host.contains("..");
    fits.then(|| (host.to_ascii_lowercase(), port))
}

fn check_path(text: &str) -> Result<(), Wrong> {
    if text.contains('#') {
        return Err((
            format!("`{text}` has a fragment, which no server sees"),
            "leave out what follows `#`".to_owned(),
        ));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '|')) {
        Some(c) => Err((format!("`{text}` has the character {c:?}"), "percent-encode it".to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BaseUrl {
        parse(text).expect(text)
    }

    #[test]
    fn urls_are_read() {
        let url = base("https://API.example.com/v2/orgs/acme/");
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.path.as_str()),
            (true, "api.example.com", 443, "/v2/orgs/acme")
        );
        assert_eq!(base("http://[::1]:8080").origin(), "http://[::1]:8080");
        assert_eq!(base("http://127.0.0.1").port, 80);
        for (text, part) in [
            ("api.example.com", "is no url"),
            ("https://", "is no host"),
            ("https://u:p@h", "must not carry a password"),
            ("https://h/?a=b", "has a query"),
            ("https://h/#x", "has a fragment"),
            ("https://h/a b", "has the character ' '"),
            ("https://h:99999", "is no host"),
            ("https://127.1", "is no host"),
            ("https://2130706433", "is no host"),
            ("https://bücher.example", "is no host"),
            ("sftp://h", "not supported by this version"),
            ("gopher://h", "is no scheme"),
        ] {
            let (message, cure) = parse(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
            assert!(!cure.is_empty());
        }
    }

    #[test]
    fn endpoints_never_leave_the_origin() {
        let api = base("https://h.example/v1");
        for (endpoint, url) in [
            ("", "https://h.example|/v1|"),
            ("/a/{b}?c=d", "https://h.example|/v1|/a/{b}?c=d"),
            ("https://h.example/a", "https://h.example||/a"),
            ("https://H.example:443/a?b", "https://h.example||/a?b"),
        ] {
            let (base, rest) = join(Some(&api), endpoint).expect(endpoint);
            assert_eq!(format!("{}|{}|{rest}", base.origin(), base.path), url);
        }
        for (endpoint, part) in [
            ("a", "does not begin with `/`"),
            ("https://other.example/a", "goes to https://other.example"),
            ("http://h.example/a", "goes to http://h.example"),
            ("https://h.example:444/a", "goes to https://h.example:444"),
            ("https://h.example.evil/a", "goes to"),
            ("https://h.example@evil.example/a", "must not carry a password"),
            ("https://{host}/a", "is no host"),
            ("/a b", "has the character"),
        ] {
            let (message, _) = join(Some(&api), endpoint).expect_err(endpoint);
            assert!(message.contains(part), "{endpoint}: {message}");
        }
        assert!(join(None, "/a").is_err());
        assert_eq!(join(None, "https://x.example/a/{b}").map(|(_, rest)| rest).ok().as_deref(), Some("/a/{b}"));
    }

    #[test]
    fn doubts() {
        assert!(doubt("http://h.example").is_some_and(|(_, cure)| cure == "write https://h.example"));
        assert!(doubt("http://localhost:1").is_none());
        assert!(doubt("http://127.0.0.1:1").is_none());
        let ten = network("10.0.0.0/8").into_iter().collect::<Vec<_>>();
        assert!(private_host(&base("https://10.1.2.3"), &[]).is_some());
        assert!(private_host(&base("https://10.1.2.3"), &ten).is_none());
        assert!(private_host(&base("https://192.168.0.1"), &ten).is_some());
        assert!(private_host(&base("https://[::ffff:10.0.0.1]"), &[]).is_some());
        assert!(private_host(&base("https://1.1.1.1"), &[]).is_none());
        assert!(network("10.0.0.0/33").is_none());
        assert!(network("::/0").is_some());
    }
}
