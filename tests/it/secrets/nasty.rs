//! The other sides of the test of secrets: an API, token endpoints and a proxy that quote what they got.

use super::world::ENDPOINTS;
use crate::support::Answer;
use crate::support::api::Seen;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What the other side quotes: the headers that may matter first, then target and body.
fn quoted(seen: &Seen) -> Vec<(String, String)> {
    let dull = ["host", "user-agent", "accept", "content-type", "content-length", "idempotency-key", "traceparent"];
    let headers = seen.headers.iter().filter(|(name, _)| !dull.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
    let rest = [("target", seen.target.clone()), ("body", String::from_utf8_lossy(&seen.body).into_owned())];
    headers.chain(rest.map(|(name, value)| (name.to_owned(), value))).collect()
}

fn json(seen: &Seen) -> String {
    let quoted: BTreeMap<String, String> = quoted(seen).into_iter().collect();
    // Some escape the slash, too.
    serde_json::to_string(&quoted).unwrap().replace('/', "\\/")
}

pub(super) fn plain(seen: &Seen) -> String {
    quoted(seen).iter().fold(String::new(), |all, (name, value)| format!("{all}{name}: {value}\n"))
}

fn escaped(seen: &Seen) -> String {
    let text = plain(seen);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('/', "&#x2F;");
    format!("<html><body><h1>Sorry</h1><p>{text}</p></body></html>")
}

fn encoded(seen: &Seen) -> String {
    utf8_percent_encode(&plain(seen), NON_ALPHANUMERIC).to_string()
}

/// In a header: one line of ASCII.
fn line(seen: &Seen) -> String {
    plain(seen).chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

pub(super) fn token(number: usize) -> String {
    format!("S3CR3T-token{number}-7Q/+=")
}

/// The nasty other side: API, token endpoints and proxy in one. Tokens are numbered.
pub(super) fn nasty(tokens: &Mutex<usize>, seen: &Seen) -> Answer {
    if seen.method == "CONNECT" {
        return Answer::status(407).header("proxy-authenticate", "Basic").body(plain(seen));
    }
    if let Some(rest) = seen.target.split_once("/token-").map(|(_, rest)| rest) {
        let said = plain(seen).replace('\n', " ");
        let error = |key: &str| format!("{{\"{key}\":{said:?},\"error_description\":{:?}}}", line(seen));
        return match rest.split(['?', '/']).next().unwrap_or_default() {
            "ok" => {
                let mut tokens = tokens.lock().unwrap();
                *tokens += 1;
                let token = token(*tokens);
                Answer::ok().body(format!("{{\"access_token\":{token:?},\"data\":{{\"t\":{token:?}}}}}"))
            }
            "400" => Answer::status(400).body(error("error")),
            "401" => Answer::status(401).body(error("message")),
            "500" => Answer::status(500).body(error("error")),
            "odd" => Answer::ok().body(error("error")),
            "kind" => Answer::ok().body(format!("{{\"access_token\":\"x\",\"token_type\":{said:?}}}")),
            "html" => Answer::ok().header("x-quoted", line(seen)).body(escaped(seen)),
            "moved" => Answer::status(302).header("location", format!("https://other.example/{}", line(seen))),
            other => panic!("no answer for {other}"),
        };
    }
    let path = seen.target.split('?').next().unwrap_or_default();
    let endpoint = ENDPOINTS.iter().find(|endpoint| path.contains(&format!("/{endpoint}"))).copied();
    match endpoint.unwrap_or_default() {
        "reject" => Answer::status(422).body(json(seen)),
        "busy" => Answer::status(503).body(encoded(seen)),
        "html" => Answer::status(400).body(escaped(seen)),
        "moved" => Answer::status(307).header("location", format!("https://other.example/{}", line(seen))),
        "denied" => Answer::status(401).header("www-authenticate", line(seen)).body(plain(seen)),
        "odd" => Answer::ok().header("x-quoted", line(seen)).body(json(seen)),
        "gone" => Answer::status(410).body(plain(seen)),
        "missing" => Answer::status(404).body(plain(seen)),
        "reset" => Answer::reset(),
        _ => Answer::status(400).body(plain(seen)),
    }
}
