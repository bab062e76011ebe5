//! Connections: tokens, signatures, answers, proxies.

use super::{Revealed, said};
use crate::config::env::Env;
use crate::config::resources::{Context, Read, read_text};
use crate::model::node::Node;
use crate::model::resources::{
    Auth, ClientAuth, Connection, Lifetime, OAuth2, Proxy, Resolve, Response, ResponseOutcome, Sign, TokenExchange,
    TokenPiece, TokenText, Via,
};
use crate::model::text::{ShowText, Text};
use std::sync::Arc;
use std::time::Duration;

const VENDORS: &str = include_str!("vendors.yaml");

/// Base64 of 32 bytes.
const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const WHSK: &str = "whsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

const SECRETS: [(&str, &str); 11] = [
    ("BUILD_TOKEN", "s3cr3t-build"),
    ("DESK_KEY", "s3cr3t-desk"),
    ("ACC_KEY", "s3cr3t-$.id"),
    ("ACC_SECRET", "s3cr3t-acc"),
    ("CHAT_TOKEN", "s3cr3t-chat"),
    ("CHAT_SECRET", "s3cr3t-sign"),
    ("ES_KEY", "s3cr3t-es"),
    ("CRM_SECRET", "s3cr3t-crm"),
    ("PROXY_PASSWORD", "s3cr3t-proxy"),
    ("CI_SECRET", "s3cr3t-ci"),
    ("LINES", "s3cr3t\nlines"),
];

fn env() -> Env {
    let proxies = [
        ("HTTPS_PROXY", "https://tg:s3cr3t%2Fpw@proxy.example:8443/"),
        ("NO_PROXY", "localhost,.Internal.example 10.0.0.0/8"),
        ("HOOK_KEY", WHSEC),
        ("HOOK_KEY_OLD", WHSK),
    ];
    Env::of(SECRETS.into_iter().chain(proxies))
}

fn load_with(text: &str, env: Env) -> Read {
    read_text("f.yaml", text, &Context { env, dead_letter_topic: "d".into(), ..Context::default() })
}

pub(super) fn load(text: &str) -> Read {
    load_with(text, env())
}

fn connection(read: &Read, name: &str) -> Arc<Connection> {
    let found = read.resources.connections.iter().find(|connection| connection.name.as_str() == name);
    Arc::clone(found.unwrap_or_else(|| panic!("no {name}: {:#?}", said(read))))
}

fn texts(texts: &[(String, Text)]) -> Vec<String> {
    texts.iter().map(|(name, text)| format!("{name}={}|{}", text.masked(), Revealed.show(text))).collect()
}

fn pieces(texts: &[(String, TokenText)]) -> Vec<String> {
    let piece = |piece: &TokenPiece| match piece {
        TokenPiece::Text(Text::Plain(text)) => text.clone(),
        TokenPiece::Text(secret @ Text::Secret(_)) => format!("({})", Revealed.show(secret)),
        TokenPiece::Token => "<token>".to_owned(),
    };
    texts.iter().map(|(name, text)| format!("{name}={}", text.0.iter().map(piece).collect::<String>())).collect()
}

fn entries(responses: &[Response]) -> Vec<(String, ResponseOutcome, Option<u64>)> {
    responses.iter().map(|r| (r.when.to_json(), r.outcome, r.wait.map(|wait| wait.as_secs()))).collect()
}

#[test]
fn vendors_can_be_written() {
    let read = load(VENDORS);
    assert_eq!(said(&read), Vec::<String>::new());
    let shown = format!("{:?}", read.resources);
    for secret in ["s3cr3t", "MDEyMzQ1"] {
        assert!(!shown.contains(secret), "a secret is shown");
    }

    let builds = connection(&read, "builds");
    let limits: Vec<_> = builds.rate_limits.iter().map(|l| (l.rate.requests, l.rate.per.as_secs(), l.burst)).collect();
    assert_eq!(limits, [(50, 60, 1), (3, 1, 5)]);

    let destination = |name: &str| {
        read.resources.destinations.iter().find(|d| d.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(
        entries(&destination("tickets").responses),
        [("{\"error\":[\"no_answer\"]}".to_owned(), ResponseOutcome::Reject, None)]
    );
    assert_eq!(destination("orders-index").method, "PUT");
    assert_eq!(
        entries(&destination("orders-index").responses).iter().map(|(_, o, w)| (*o, *w)).collect::<Vec<_>>(),
        [(ResponseOutcome::Duplicate, None), (ResponseOutcome::Retry, Some(30))]
    );
    let chat = connection(&read, "chat");
    assert_eq!(
        entries(&chat.responses).iter().map(|(_, o, w)| (*o, *w)).collect::<Vec<_>>(),
        [(ResponseOutcome::Success, None), (ResponseOutcome::Throttled, Some(600)), (ResponseOutcome::Gone, None)]
    );
    let Some(Sign::DingTalk { secret }) = &chat.sign else { panic!("{:?}", chat.sign) };
    assert_eq!(Revealed.show(secret), "s3cr3t-sign");
    assert_eq!(connection(&read, "accounts").responses.len(), 4);
}

#[test]
fn a_token_exchange_keeps_what_is_written_apart_from_secrets() {
    let read = load(VENDORS);
    let accounts = connection(&read, "accounts");
    let Auth::Token(exchange) = &accounts.auth else { panic!("{:?}", accounts.auth) };
    let TokenExchange { endpoint, json, token, lifetime, send_headers, send_query } = &**exchange;
    assert_eq!(endpoint.base.origin(), "https://accounts.example");
    assert_eq!((endpoint.target.as_str(), endpoint.method.as_str()), ("/auth/getAccessToken.rjson?v=1", "POST"));
    assert_eq!(texts(&endpoint.headers), ["x-app=tidegate|tidegate"]);
    assert_eq!(
        json.as_ref().map(Node::to_json).as_deref(),
        Some(r#"{"appKey":"***","appSecret":"***","scope":["read",1,true,null],"price":"$5"}"#)
    );
    assert_eq!((token.as_str(), lifetime), ("$.data.accessToken", &Lifetime::Path("$.data.expires_in".to_owned())));
    assert_eq!(pieces(send_headers), ["x-token=(s3cr3t-$.id):<token>!"]);
    assert_eq!(pieces(send_query), ["appKey=(s3cr3t-$.id)", "accessToken=<token>"]);
}

#[test]
fn client_credentials_with_all_there_is() {
    let read = load(VENDORS);
    let crm = connection(&read, "crm");
    let Auth::OAuth2(oauth2) = &crm.auth else { panic!("{:?}", crm.auth) };
    let OAuth2 { endpoint, client_id, client_secret, client_auth, scope, body } = &**oauth2;
    assert_eq!(
        (endpoint.base.origin().as_str(), endpoint.target.as_str()),
        ("https://login.crm.example", "/token?tenant=acme")
    );
    assert_eq!((client_id.masked(), client_secret.masked(), Revealed.show(client_secret)), ("tg", "***", "s3cr3t-crm"));
    assert_eq!((*client_auth, scope.as_deref()), (ClientAuth::Body, Some("contacts.read contacts.write")));
    assert_eq!(texts(&endpoint.headers), ["x-tenant=acme|acme"]);
    let query: Vec<_> = endpoint
        .query
        .iter()
        .map(|(n, v)| format!("{n}={}", v.iter().map(Text::masked).collect::<Vec<_>>().join(",")))
        .collect();
    assert_eq!(query, ["v=1,***"]);
    assert_eq!(texts(body), ["audience=https://api.crm.example|https://api.crm.example", "resource=***|s3cr3t-crm"]);
    let Some(Proxy { via: Via::Url(url), credentials: Some((user, password)), resolve }) = &crm.proxy else {
        panic!("{:?}", crm.proxy)
    };
    assert_eq!((url.origin().as_str(), *resolve), ("http://proxy.example:3128", Resolve::Proxy));
    assert_eq!((user.masked(), Revealed.show(password)), ("tg", "s3cr3t-proxy"));

    let read = load(
        "{kind: connection, name: c, url: https://h.example/v1, auth: {oauth2: {token_endpoint: /token, \
         client_id: \"${env:DESK_KEY}\", client_secret: \"${env:CRM_SECRET}\"}}}",
    );
    assert_eq!(said(&read), Vec::<String>::new());
    let Auth::OAuth2(oauth2) = &connection(&read, "c").auth else { panic!("no oauth2") };
    assert_eq!((oauth2.endpoint.target.as_str(), oauth2.client_auth), ("/v1/token", ClientAuth::Basic));
}

#[test]
fn signatures() {
    let read = load(VENDORS);
    let Some(Sign::StandardWebhooks { secrets }) = &connection(&read, "hooks").sign else { panic!("no signature") };
    assert_eq!(secrets.iter().map(|s| Revealed.show(s)).collect::<Vec<_>>(), [WHSEC, WHSK]);
    let Some(Sign::Hmac { header, format, .. }) = &connection(&read, "ci").sign else { panic!("no signature") };
    assert_eq!((header.as_str(), format.as_str()), ("x-ci-signature", "timestamp={timestamp},signature={hex}"));
    let read = load(
        "{kind: connection, name: c, url: https://h.example, sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X-Hub-Signature-256}}}",
    );
    let Some(Sign::Hmac { format, .. }) = &connection(&read, "c").sign else { panic!("no signature") };
    assert_eq!(format, "sha256={hex}");
    // An HMAC key may have any characters.
    let read = load(
        "{kind: connection, name: c, url: https://h.example, sign: {dingtalk: {secret: \"${env:UMLAUT}\"}}}"
            .replace("UMLAUT", "CI_SECRET")
            .as_str(),
    );
    assert_eq!(said(&read), Vec::<String>::new());
}

#[test]
fn the_environment_names_proxies_only_where_a_connection_says_so() {
    let read = load(VENDORS);
    assert!(connection(&read, "ci").proxy.is_none() && connection(&read, "builds").proxy.is_none());
    let hooks = connection(&read, "hooks");
    let Some(Proxy { via: Via::Environment { https, http, except }, credentials, resolve }) = &hooks.proxy else {
        panic!("{:?}", hooks.proxy)
    };
    assert_eq!(https.as_ref().map(|url| url.origin()).as_deref(), Some("https://proxy.example:8443"));
    assert!(http.is_none());
    assert_eq!(except, &["localhost", ".internal.example", "10.0.0.0/8"]);
    let credentials = credentials.as_ref().map(|(user, password)| (Revealed.show(user), Revealed.show(password)));
    assert_eq!((credentials, *resolve), (Some(("tg", "s3cr3t/pw")), Resolve::Local));

    let text = "{kind: connection, name: c, url: https://h.example, proxy: {url: environment, username: u, password: \"${env:PW}\", resolve: proxy}}";
    let with = |variables: &[(&str, &str)]| load_with(text, Env::of(variables.iter().copied()));
    let read = with(&[("PW", "p"), ("https_proxy", "lower.example:3128"), ("HTTPS_PROXY", "http://upper.example")]);
    let Some(Proxy { via: Via::Environment { https, .. }, credentials, resolve }) = &connection(&read, "c").proxy
    else {
        panic!("{:?}", said(&read))
    };
    assert_eq!(https.as_ref().map(|url| url.origin()).as_deref(), Some("http://lower.example:3128"));
    assert_eq!(credentials.as_ref().map(|(user, _)| user.masked()), Some("u"));
    assert_eq!(*resolve, Resolve::Proxy);
    for (variables, message) in [
        (
            &[("PW", "p"), ("HTTPS_PROXY", "socks5://u:s3cr3t@h.example:1080")][..],
            "`HTTPS_PROXY` holds no url of an http or https proxy",
        ),
        (&[("PW", "p"), ("http_proxy", "http://u:s3cr3t@h.example/path")], "`http_proxy` holds no url"),
        (
            &[("PW", "p"), ("HTTPS_PROXY", "http://a:s3cr3t@h.example"), ("HTTP_PROXY", "http://b:s3cr3t@h.example")],
            "HTTPS_PROXY and HTTP_PROXY have different credentials; write `proxy: {url, username, password}`",
        ),
    ] {
        let said = said(&with(variables));
        assert!(said.len() == 1 && said[0].contains(message) && !said[0].contains("s3cr3t"), "{said:?}");
    }
}

#[test]
fn every_file_that_had_a_part_is_watched_even_if_it_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("secret"), "s3cr3t\n").expect("written");
    std::fs::write(path("ca.pem"), "no PEM").expect("written");
    let text = format!(
        "{{kind: connection, name: c, url: https://h.example, auth: {{oauth2: {{token_endpoint: /t, client_id: x, \
         client_secret: \"${{file:{}}}\", body: {{a: \"${{file:{}}}\"}}}}}}, tls: {{ca_file: \"{}\"}}}}",
        path("secret").display(),
        path("missing").display(),
        path("ca.pem").display()
    );
    let mut files = load(&text).files;
    files.sort();
    assert_eq!(files, [path("missing"), path("secret")]);
    std::fs::write(path("missing"), "x").expect("written");
    let mut files = load(&text).files;
    files.sort();
    files.dedup();
    assert_eq!(files, [path("ca.pem"), path("missing"), path("secret")]);
}

#[test]
fn who_only_checks_needs_no_secrets() {
    let context = Context { env: Env::of([]), dead_letter_topic: "d".into(), lenient: true, ..Context::default() };
    let read = read_text("f.yaml", VENDORS, &context);
    assert!(read.faults.iter().all(|fault| fault.warning && fault.code == "CONFIG_SECRET"), "{:#?}", said(&read));
    assert_eq!(read.resources.connections.len(), 8);
}

#[test]
fn a_tokens_lifetime_is_an_hour_where_nothing_says_otherwise() {
    let lifetime = |read: &str| {
        let read = load(&format!(
            "{{kind: connection, name: c, url: https://h.example, auth: {{token: {{request: {{endpoint: /t}}, \
             read: {read}, send: {{query: {{t: $token}}}}}}}}}}"
        ));
        let Auth::Token(exchange) = &connection(&read, "c").auth else { panic!("{:?}", said(&read)) };
        exchange.lifetime.clone()
    };
    assert_eq!(lifetime("{token: $}"), Lifetime::Fixed(Duration::from_secs(3600)));
    assert_eq!(lifetime("{token: $.t, lifetime: 90s}"), Lifetime::Fixed(Duration::from_secs(90)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever is cut out of, or put into, a good file: no panic, every fault stands in the file, no secret is shown.
    #[test]
    fn broken_connections_give_faults_with_places(at in 0..VENDORS.len(), cut in 0usize..40, put in "[ \\n\"'{}\\[\\]:,&*!|>%@`#$a0.~-]{0,6}") {
        let mut text = VENDORS.to_owned();
        if VENDORS.is_char_boundary(at) && VENDORS.is_char_boundary((at + cut).min(VENDORS.len())) {
            text.replace_range(at..(at + cut).min(VENDORS.len()), &put);
        }
        let read = load(&text);
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX) + 1;
        for fault in &read.faults {
            let place = fault.place.as_ref().expect("a place");
            proptest::prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{:?}", fault);
            proptest::prop_assert!(fault.code != "CONFIG_INTERNAL", "{:?}\n{}", fault, text);
            proptest::prop_assert!(!format!("{fault:?}").contains("s3cr3t"), "{:?}", fault);
        }
    }
}
