//! Token requests and their answers, masks and redaction.

use super::*;
use crate::model::clock::Monotonic;
use crate::model::fault::Place;
use crate::model::name::Name;
use crate::model::resources::{
    BaseUrl, ClientAuth, Lifetime, OAuth2, TokenEndpoint, TokenExchange, TokenPiece, TokenText,
};
use std::time::Duration;

fn hidden(text: &str) -> Text {
    Text::Secret(SecretString::from(text))
}

fn plain(text: &str) -> Text {
    Text::Plain(text.to_owned())
}

fn endpoint(method: &str) -> TokenEndpoint {
    TokenEndpoint {
        base: BaseUrl { tls: true, host: "login.crm.example".to_owned(), port: 443, path: String::new() },
        target: "/token".to_owned(),
        method: method.to_owned(),
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn oauth2() -> OAuth2 {
    OAuth2 {
        endpoint: endpoint("POST"),
        client_id: plain("id:1"),
        client_secret: hidden("s3cret &é"),
        client_auth: ClientAuth::Basic,
        scope: Some("a b".to_owned()),
        body: Vec::new(),
    }
}

fn connection(auth: resources::Auth) -> Connection {
    Connection { auth, ..Connection::bare(Name::new("crm").unwrap(), Place::default()) }
}

fn of(oauth2: OAuth2) -> Auth {
    Auth::new(&connection(resources::Auth::OAuth2(Box::new(oauth2))), None).unwrap()
}

fn grant(auth: &Auth) -> &Grant {
    auth.token().unwrap().0
}

fn youcheng() -> TokenExchange {
    let node = |text| Node::unplaced(Kind::String(text));
    let key = |name: &str| crate::model::node::Key { name: name.to_owned(), place: Place::default() };
    let json = Kind::Map(vec![(key("appKey"), node(plain("k"))), (key("appSecret"), node(hidden("s\"ecret")))]);
    let token = |pieces| TokenText(pieces);
    TokenExchange {
        endpoint: TokenEndpoint { target: "/auth/getAccessToken.rjson".to_owned(), ..endpoint("POST") },
        json: Some(Node::unplaced(json)),
        token: "$.data.accessToken".to_owned(),
        lifetime: Lifetime::Fixed(Duration::from_secs(60)),
        send_headers: vec![(
            "x-token".to_owned(),
            token(vec![TokenPiece::Text(plain("T ")), TokenPiece::Token, TokenPiece::Text(hidden("!pepper"))]),
        )],
        send_query: vec![
            ("appKey".to_owned(), token(vec![TokenPiece::Text(plain("k"))])),
            ("accessToken".to_owned(), token(vec![TokenPiece::Token])),
        ],
    }
}

fn request() -> Request {
    Request { path: "/in".to_owned(), ..Request::default() }
}

/// A request with the token in its headers and query.
fn applied(auth: &Auth) -> Request {
    let mut request = request();
    let (_, tokens) = auth.token().unwrap();
    let super::super::token::Look::Ready { lease, .. } = tokens.look(Monotonic(1)) else { panic!("a token") };
    auth.apply(&mut request, Some(&lease));
    request
}

fn fetch(auth: &Auth, body: &str) {
    let (grant, tokens) = auth.token().unwrap();
    tokens.fetched(grant.read(200, body.as_bytes(), &[]).unwrap(), Monotonic(0), 0.5);
}

#[test]
fn client_credentials_in_the_header_are_form_urlencoded_first() {
    let auth = of(oauth2());
    let grant = grant(&auth);
    assert_eq!(grant.url(), "https://login.crm.example/token");
    assert_eq!(grant.body.as_deref(), Some(&b"grant_type=client_credentials&scope=a+b"[..]));
    assert_eq!(grant.headers["content-type"], "application/x-www-form-urlencoded");
    let pair = grant.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    assert_eq!(STANDARD.decode(pair).unwrap(), b"id%3A1:s3cret+%26%C3%A9");
    assert!(!format!("{grant:?} {auth:?} {:?}", grant.headers).contains("s3cret"));
    for quoted in ["s3cret &é", "s3cret+%26%C3%A9", "s3cret%20%26%C3%A9", pair] {
        assert_eq!(grant.redact(&format!("<{quoted}>"), &[]), "<***>");
        assert_eq!(auth.redact(&format!("<{quoted}>")), "<***>");
    }
}

#[test]
fn client_credentials_in_the_body_or_with_get_in_the_query() {
    let mut written = oauth2();
    written.client_auth = ClientAuth::Body;
    written.body = vec![("audience".to_owned(), plain("x/y")), ("grant_type".to_owned(), hidden("account"))];
    written.endpoint.query = vec![("tenant".to_owned(), vec![plain("t1"), plain("t2")])];
    written.endpoint.headers = vec![("x-extra".to_owned(), hidden("head"))];
    let items = "scope=a+b&client_id=id%3A1&client_secret=s3cret+%26%C3%A9&audience=x%2Fy&grant_type=account";
    let auth = of(written.clone());
    let posted = grant(&auth);
    assert_eq!(posted.body.as_deref(), Some(items.as_bytes()));
    assert_eq!(posted.url(), "https://login.crm.example/token?tenant=t1&tenant=t2");
    assert_eq!(posted.endpoint, "https://login.crm.example/token");
    assert!(!posted.headers.contains_key("authorization"));
    assert_eq!(posted.headers["x-extra"], "head");
    written.endpoint.method = "GET".to_owned();
    let auth = of(written);
    let got = grant(&auth);
    assert_eq!((got.body.as_ref(), got.headers.get("content-type")), (None, None));
    assert_eq!(got.url(), format!("https://login.crm.example/token?tenant=t1&tenant=t2&{items}"));
}

#[test]
fn answers_of_an_oauth_server() {
    let auth = of(oauth2());
    let lifetime = |rest: &str| {
        let body = format!("{{\"access_token\":\"t1\"{rest}}}");
        grant(&auth).read(200, body.as_bytes(), &[]).unwrap().lifetime.map(|lifetime| lifetime.as_secs_f64())
    };
    assert_eq!(lifetime(r#","token_type":"Bearer","expires_in":3600"#), Some(3_600.0));
    assert_eq!(lifetime(r#","token_type":"bearer","expires_in":"3600""#), Some(3_600.0));
    assert_eq!(lifetime(r#","expires_in":1.5"#), Some(1.5));
    assert_eq!(lifetime(r#","expires_in":1e300"#), Some(2_592_000.0));
    for unsaid in [
        "",
        r#","expires_in":null"#,
        r#","expires_in":0"#,
        r#","expires_in":-5"#,
        r#","expires_in":"soon""#,
        r#","expires_in":"NaN""#,
    ] {
        assert_eq!(lifetime(unsaid), None, "{unsaid}");
    }
    let no = |status, body: &str| grant(&auth).read(status, body.as_bytes(), &[]).unwrap_err();
    assert_eq!(no(401, r#"{"error":"invalid_client"}"#), NoToken::Refused("invalid_client".to_owned()));
    assert_eq!(
        no(400, "{\"error\":\"invalid_scope\",\"error_description\":\"no\\nsuch\"}"),
        NoToken::Refused("invalid_scope (no such)".to_owned())
    );
    assert_eq!(no(403, "<html>"), NoToken::Refused(String::new()));
    assert_eq!(no(200, r#"{"error":"invalid_client"}"#), NoToken::Refused("invalid_client".to_owned()));
    assert!(matches!(no(302, ""), NoToken::Refused(why) if why.contains("redirects")));
    for unable in [408, 429, 500, 503] {
        assert_eq!(no(unable, r#"{"error":"busy"}"#), NoToken::Unable);
    }
    for (body, why) in [
        ("<html>", "no JSON"),
        ("{}", "`access_token`"),
        ("[1]", "`access_token`"),
        (r#"{"access_token":""}"#, "empty"),
        (r#"{"access_token":7}"#, "`access_token`"),
        (r#"{"access_token":"a\nb"}"#, "control character"),
        (r#"{"access_token":"t","token_type":"mac"}"#, "token_type is `mac`"),
    ] {
        assert!(matches!(no(200, body), NoToken::Unreadable(what) if what.contains(why)), "{body}");
    }
}

#[test]
fn an_exchange_that_is_not_oauth() {
    let auth = Auth::new(&connection(resources::Auth::Token(Box::new(youcheng()))), None).unwrap();
    let asked = grant(&auth);
    assert_eq!(asked.body.as_deref(), Some(&br#"{"appKey":"k","appSecret":"s\"ecret"}"#[..]));
    assert_eq!(asked.headers["content-type"], "application/json");
    let answer = r#"{"result":100,"data":{"accessToken":"t k"}}"#;
    assert_eq!(asked.read(200, answer.as_bytes(), &[]).unwrap().lifetime, Some(Duration::from_secs(60)));
    fetch(&auth, answer);
    let sent = applied(&auth);
    assert_eq!(
        (sent.headers.get("x-token"), sent.target().as_str()),
        (Some("T t k!pepper"), "/in?appKey=k&accessToken=t+k")
    );
    let no = asked.read(200, br#"{"result":700,"msg":"bad key"}"#, &[]).unwrap_err();
    assert!(matches!(no, NoToken::Unreadable(what) if what.contains("`$.data.accessToken` (it says 700 (bad key))")));

    let timed = TokenExchange { lifetime: Lifetime::Path("$.data.ttl".to_owned()), ..youcheng() };
    let timed = Auth::new(&connection(resources::Auth::Token(Box::new(timed))), None).unwrap();
    let lifetime = |ttl: &str| {
        let answer = format!("{{\"data\":{{\"accessToken\":7,\"ttl\":{ttl}}}}}");
        grant(&timed).read(200, answer.as_bytes(), &[]).unwrap().lifetime
    };
    assert_eq!(
        (lifetime("\"90\""), lifetime("90"), lifetime("{}")),
        (Some(Duration::from_secs(90)), Some(Duration::from_secs(90)), None)
    );

    let (headers, target) = auth.shown(&request(), "id");
    assert_eq!((headers["x-token"].as_str(), target.as_str()), ("T ******", "/in?appKey=k&accessToken=***"));
}

#[test]
fn what_cannot_be_asked_is_refused_when_it_is_built() {
    let error = |exchange: TokenExchange| {
        Auth::new(&connection(resources::Auth::Token(Box::new(exchange))), None).unwrap_err().to_string()
    };
    for (exchange, why) in [
        (TokenExchange { token: "data".to_owned(), ..youcheng() }, "`data` is no path"),
        (TokenExchange { token: "$..t".to_owned(), ..youcheng() }, "several values"),
        (TokenExchange { lifetime: Lifetime::Path("$.a[*]".to_owned()), ..youcheng() }, "several values"),
        (TokenExchange { send_headers: vec![("a b".to_owned(), TokenText(Vec::new()))], ..youcheng() }, "header name"),
        (TokenExchange { endpoint: endpoint("GE T"), ..youcheng() }, "no HTTP method"),
    ] {
        let error = error(exchange);
        assert!(error.contains("`crm`") && error.contains(why), "{error}");
    }
}

#[test]
fn the_token_and_the_one_before_are_blanked_out_in_every_spelling() {
    let auth = of(oauth2());
    fetch(&auth, r#"{"access_token":"first/t+k="}"#);
    fetch(&auth, r#"{"access_token":"second/t k"}"#);
    for quoted in ["first/t+k=", "first%2Ft%2Bk%3D", "second/t k", "second%2Ft+k", "second%2Ft%20k"] {
        assert_eq!(auth.redact(&format!("a {quoted} b")), "a *** b");
    }
    fetch(&auth, r#"{"access_token":"third"}"#);
    assert_eq!(auth.redact("first/t+k="), "first/t+k=", "nobody quotes that any more");
    assert_eq!(applied(&auth).headers.get("authorization"), Some("Bearer third"));
    let shown = auth.shown(&Request::default(), "id").0;
    assert_eq!(shown["authorization"], "Bearer ***");
}

#[test]
fn a_reload_keeps_the_token_unless_it_would_be_fetched_differently() {
    let before = of(oauth2());
    fetch(&before, r#"{"access_token":"kept"}"#);
    let after = |change: &dyn Fn(&mut OAuth2)| {
        let mut written = oauth2();
        change(&mut written);
        let auth = Auth::new(&connection(resources::Auth::OAuth2(Box::new(written))), Some(&before)).unwrap();
        auth.token().unwrap().1.is_valid(Monotonic(1))
    };
    assert!(after(&|_| ()));
    assert!(!after(&|written| written.client_secret = hidden("another")));
    assert!(!after(&|written| written.scope = None));
    assert!(!after(&|written| written.client_auth = ClientAuth::Body));
    assert!(!after(&|written| written.endpoint.target.push('2')));
    assert!(!after(&|written| written.endpoint.base.host.push('x')));
    assert!(!after(&|written| written.endpoint.headers.push(("x".to_owned(), plain("y")))));
    assert!(!after(&|written| written.body.push(("audience".to_owned(), plain("y")))));
}

#[test]
fn a_signature_comes_after_the_token() {
    let mut connection = connection(resources::Auth::Token(Box::new(youcheng())));
    connection.sign = Some(resources::Sign::DingTalk { secret: hidden("SECsecret") });
    let auth = Auth::new(&connection, None).unwrap();
    fetch(&auth, r#"{"data":{"accessToken":"t1"}}"#);
    let mut sent = applied(&auth);
    auth.sign(&mut sent, "id", WallMs(5)).unwrap();
    let target = sent.target();
    assert!(target.starts_with("/in?appKey=k&accessToken=t1&timestamp=5&sign="), "{target}");
    assert_eq!(auth.redact("SECsecret"), "***");
    let shown = auth.shown(&request(), "id").1;
    assert_eq!(shown, "/in?appKey=k&accessToken=***&timestamp=<now>&sign=***");
}

fn with_fixed(auth: resources::Auth) -> Connection {
    let secret = Text::Secret(SecretString::from("hidden-value"));
    Connection {
        auth,
        headers: vec![("x-fixed".to_owned(), secret.clone()), ("x-plain".to_owned(), Text::Plain("open".to_owned()))],
        body: vec![("k".to_owned(), Node::unplaced(Kind::List(vec![Node::unplaced(Kind::String(secret))])))],
        ..Connection::bare(Name::new("api").unwrap(), Place::default())
    }
}

fn bearer(token: &str) -> resources::Auth {
    resources::Auth::Bearer(Text::Secret(SecretString::from(token)))
}

#[test]
fn secrets_are_sent_but_not_shown() {
    let auth = Auth::new(&with_fixed(bearer("tok+en/1")), None).unwrap();
    let mut sent = request();
    auth.apply(&mut sent, None);
    assert_eq!((sent.headers.get("authorization"), sent.target().as_str()), (Some("Bearer tok+en/1"), "/in"));
    assert!(!format!("{auth:?} {sent:?}").contains("tok+en"));
    assert_eq!(auth.redact("tok+en/1 and hidden-value, open"), "*** and ***, open");
}

#[test]
fn a_line_end_in_a_secret_is_refused_without_showing_it() {
    let error = Auth::new(&with_fixed(bearer("tok+en\n")), None).unwrap_err();
    assert!(error.to_string().contains("`api`") && !error.to_string().contains("tok"));
    let key = resources::Auth::ApiKey {
        name: "bad name".to_owned(),
        value: Text::Plain("tok+en".to_owned()),
        place: KeyPlace::Header,
    };
    assert!(matches!(Auth::new(&with_fixed(key), None), Err(Error::Name { .. })));
}

#[test]
fn short_texts_are_not_blanked_out() {
    let auth = Auth::new(&with_fixed(bearer("on")), None).unwrap();
    assert_eq!(auth.redact("on and on"), "on and on");
}
