//! Tokens as the dispatcher uses them, against a scripted token endpoint and an API that knows its tokens.

mod reach;
mod reload;

use super::server::{Act, Seen, Server, reply};
use super::*;
use crate::destinations::exchange;
use crate::destinations::rate::Decision;
use crate::destinations::responses::tests::written;
use crate::destinations::status::Held;
use crate::model::node::{Kind, Node};
use crate::model::resources::{
    Auth, ClientAuth, Lifetime, OAuth2, RateLimit, Sign, TokenEndpoint, TokenExchange, TokenPiece, TokenText,
};
use crate::model::text::Text;
use crate::model::units::Rate;
use secrecy::SecretString;
use tokio::sync::mpsc;

fn hidden(text: &str) -> Text {
    Text::Secret(SecretString::from(text))
}

fn endpoint(host: &str, port: u16) -> TokenEndpoint {
    TokenEndpoint {
        base: BaseUrl { tls: false, host: host.to_owned(), port, path: String::new() },
        target: "/token".to_owned(),
        method: "POST".to_owned(),
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn oauth2(host: &str, port: u16) -> OAuth2 {
    OAuth2 {
        endpoint: endpoint(host, port),
        client_id: Text::Plain("ann".to_owned()),
        client_secret: hidden("s3cret/word"),
        client_auth: ClientAuth::Basic,
        scope: None,
        body: Vec::new(),
    }
}

/// A destination behind a token endpoint on the same port.
fn setup(port: u16) -> Setup {
    let mut setup = Setup::new("127.0.0.1", port);
    setup.connection.auth = Auth::OAuth2(Box::new(oauth2("127.0.0.1", port)));
    setup
}

/// Builds it, with somebody who fetches its tokens.
fn served(setup: Setup) -> Arc<Destination> {
    let destination = setup.build();
    serve(&destination);
    destination
}

fn serve(destination: &Destination) {
    let (post, asked) = mpsc::unbounded_channel();
    destination.connection().fetch_by(&post);
    spawn_local(exchange::serve(asked));
}

fn is_token(seen: &Seen) -> bool {
    seen.head.contains(" /token") || seen.head.contains("/token HTTP")
}

/// The bearer token of a request.
fn bearer(seen: &Seen) -> &str {
    seen.head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default()
}

/// The n-th token, good for so long.
fn grant(number: usize, expires_in: &str) -> String {
    let body = format!("{{\"access_token\":\"tok-{number}\",\"token_type\":\"Bearer\",\"expires_in\":{expires_in}}}");
    reply(200, "", &body)
}

/// Requests for a token, and requests with one.
fn tally(server: &Server) -> (usize, usize) {
    let seen = server.seen.borrow();
    let tokens = seen.iter().filter(|seen| is_token(seen)).count();
    (tokens, seen.len() - tokens)
}

/// Lets everything that can go on go on until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn submit(dispatcher: &Dispatcher<TestJob>, board: &Rc<Board>, count: usize) {
    (0..count).for_each(|n| dispatcher.submit(job(board, n)));
}

#[test]
fn deliveries_wait_for_the_first_token_and_use_up_nothing() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let server = Server::start(move |seen| match is_token(seen) {
            true => Act::After(Rc::clone(&held), grant(1, "\"3600\"")),
            false => Act::Say(reply(200, "", "")),
        })
        .await;
        let mut setup = setup(server.address.port());
        let rate = Rate { requests: 50, per: Duration::from_secs(1) };
        setup.destination.rate_limits = vec![RateLimit { rate, burst: 1 }];
        let destination = served(setup);
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        submit(&dispatcher, &board, 5);
        let permit = || destination.limits().peek(Monotonic::now(), 0, Duration::ZERO);
        until(|| tally(&server).0 == 1 && permit() == Decision::Granted).await;
        let status = destination.status(Monotonic::now());
        assert_eq!(destination.why_held(Monotonic::now()), Some(Held::Token { wait_ms: 0 }));
        assert_eq!((status.trouble, status.in_flight), (None, 0));
        assert_eq!((dispatcher.waiting(), board.rendered.get(), permit()), (5, 0, Decision::Granted));
        gate.notify_one();
        assert_eq!(board.classes(5).await, [Class::Success; 5]);
        assert_eq!(tally(&server), (1, 5));
        assert!(server.seen.borrow().iter().filter(|seen| !is_token(seen)).all(|seen| bearer(seen) == "tok-1"));
        let basic = server.heads()[0].contains("authorization: Basic YW5uOnMzY3JldCUyRndvcmQ=\r\n");
        assert!(basic && server.seen.borrow()[0].body == b"grant_type=client_credentials", "{}", server.heads()[0]);
    });
}

#[test]
fn a_token_endpoint_that_is_down_loses_and_burns_nothing() {
    local(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let down = listener.local_addr().unwrap().port();
        drop(listener);
        let api = Server::start(|seen| match bearer(seen) {
            "tok-0" => Act::Say(reply(200, "", "")),
            _ => Act::Say(reply(500, "", "no token")),
        })
        .await;
        let mut setup = setup(api.address.port());
        setup.connection.auth = Auth::OAuth2(Box::new(oauth2("localhost", down)));
        setup.connection.allow_networks.push(Network { address: "::1".parse().unwrap(), bits: 128 });
        let destination = served(setup);
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        submit(&dispatcher, &board, 20);
        until(|| destination.status(Monotonic::now()).trouble.is_some()).await;
        let held = destination.why_held(Monotonic::now());
        assert!(matches!(held, Some(Held::Token { wait_ms: 1..=1_000 })), "{held:?}");
        let trouble = destination.status(Monotonic::now()).trouble.unwrap();
        assert_eq!(trouble.code, "AUTH_TOKEN_UNREACHABLE");
        assert!(trouble.message.contains(&format!("http://localhost:{down}/token: Connection refused")), "{trouble:?}");
        assert_eq!((dispatcher.waiting(), dispatcher.in_flight(), api.connections.get()), (20, 0, 0));
        // It comes up: the next try finds it.
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", down)).await.unwrap();
        let up = Server::on(listener, |seen| Act::Say(grant(seen.number, "60")), None);
        let reports = board.wait(20).await;
        assert!(reports.iter().all(|(_, report)| report.class == Class::Success), "{reports:?}");
        assert_eq!((tally(&up), tally(&api)), ((1, 0), (0, 20)));
        let status = destination.status(Monotonic::now());
        assert_eq!((status.held, status.trouble), (None, None));
    });
}

#[test]
fn a_503_is_waited_out_as_long_as_they_ask() {
    local(async {
        let server = Server::start(|seen| match (is_token(seen), seen.number) {
            (true, 0) => Act::Say(reply(503, "retry-after: 1\r\n", "busy")),
            (true, n) => Act::Say(grant(n, "60")),
            (false, _) => Act::Say(reply(200, "", "")),
        })
        .await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        submit(&dispatcher, &board, 3);
        assert_eq!(board.classes(3).await, [Class::Success; 3]);
        assert_eq!(tally(&server), (2, 3));
        let seen = server.seen.borrow();
        assert!(seen[1].at.since(seen[0].at) >= Duration::from_secs(1));
    });
}

#[test]
fn a_storm_of_401_costs_one_refresh_and_no_attempt() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let server = Server::start(move |seen| match (is_token(seen), bearer(seen)) {
            (true, _) => Act::Say(grant(if seen.number == 0 { 1 } else { 2 }, "3600")),
            (false, "tok-1") => Act::After(Rc::clone(&held), reply(401, "", "{\"error\":\"invalid_token\"}")),
            (false, "tok-2") => Act::Say(reply(200, "", "")),
            (false, other) => Act::Say(reply(500, "", other)),
        })
        .await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        submit(&dispatcher, &board, 30);
        until(|| tally(&server).1 == 8).await;
        gate.notify_waiters();
        let reports = board.wait(30).await;
        assert!(reports.iter().all(|(_, report)| report.class == Class::Success), "{reports:?}");
        let mut numbers: Vec<usize> = reports.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>(), "each exactly once");
        assert_eq!(tally(&server), (2, 38), "one refresh, eight requests once more");
        assert_eq!(destination.status(Monotonic::now()).held, None);
    });
}

#[test]
fn refused_with_a_new_token_too_is_an_incident() {
    local(async {
        let server = Server::start(|seen| match is_token(seen) {
            true => Act::Say(grant(seen.number, "3600")),
            false => Act::Say(reply(401, "", "not you")),
        })
        .await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!((report.class, report.status), (Class::Incident, Some(401)), "{report:?}");
        assert_eq!(tally(&server), (2, 2));
        assert!(matches!(destination.why_held(Monotonic::now()), Some(Held::Incident { .. })));
    });
}

#[test]
fn renewed_early_while_the_old_one_is_used() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let fetches = Cell::new(0);
        let server = Server::start(move |seen| match (is_token(seen), bearer(seen)) {
            (true, _) => {
                fetches.set(fetches.get() + 1);
                match fetches.get() {
                    1 => Act::Say(grant(1, "\"3\"")),
                    n => Act::After(Rc::clone(&held), grant(n, "3600")),
                }
            }
            (false, "tok-1" | "tok-2") => Act::Say(reply(200, "", "")),
            (false, other) => Act::Say(reply(500, "", other)),
        })
        .await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        let mut count = 0;
        let mut last = 0;
        // Once more after the second was asked for: nobody waits for it.
        while last < 2 {
            last = tally(&server).0;
            dispatcher.submit(job(&board, count));
            count += 1;
            board.wait(count).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked: Vec<Monotonic> = server.seen.borrow().iter().filter(|seen| is_token(seen)).map(|s| s.at).collect();
        let after = asked[1].since(asked[0]).as_millis();
        assert!((2_350..2_900).contains(&after), "80 to 90 % of 3 s: {after} ms");
        assert!(server.seen.borrow().last().is_some_and(|seen| bearer(seen) == "tok-1"));
        gate.notify_one();
        until(|| destination.connection().auth().token().unwrap().1.fetches() == 2).await;
        dispatcher.submit(job(&board, count));
        let classes = board.classes(count + 1).await;
        assert!(classes.iter().all(|class| *class == Class::Success), "{classes:?}");
        assert!(server.seen.borrow().last().is_some_and(|seen| bearer(seen) == "tok-2"));
        assert_eq!(tally(&server), (2, count + 1));
    });
}

#[test]
fn tokens_that_each_call_makes_worthless_do_no_harm() {
    local(async {
        let newest = Cell::new(0);
        let server = Server::start(move |seen| {
            if is_token(seen) {
                newest.set(newest.get() + 1);
                return Act::Say(grant(newest.get(), "1"));
            }
            let good = bearer(seen) == format!("tok-{}", newest.get());
            Act::Say(reply(if good { 200 } else { 401 }, "", ""))
        })
        .await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        let mut count = 0;
        while tally(&server).0 < 4 {
            (0..5).for_each(|n| dispatcher.submit(job(&board, count + n)));
            count += 5;
            board.wait(count).await;
        }
        let classes = board.classes(count).await;
        assert!(classes.iter().all(|class| *class == Class::Success), "{classes:?}");
        let seen = server.seen.borrow();
        let asked: Vec<Monotonic> = seen.iter().filter(|seen| is_token(seen)).map(|seen| seen.at).collect();
        assert!(asked[3].since(asked[0]) > Duration::from_millis(2_300), "each was used for its time: {asked:?}");
    });
}

#[test]
fn refusals_and_answers_without_a_token_say_what_to_do() {
    local(async {
        let cases: Vec<(String, &str, &str)> = vec![
            (
                reply(401, "", r#"{"error":"invalid_client"}"#),
                "AUTH_TOKEN_REFUSED",
                "connection api: 401 invalid_client from http://HOST/token; check `client_id` and `client_secret` of \
                 connection `api`",
            ),
            (
                reply(400, "", r#"{"error":"invalid_request","error_description":"s3cret/word or s3cret%2Fword"}"#),
                "AUTH_TOKEN_REFUSED",
                "connection api: 400 invalid_request (*** or ***) from http://HOST/token; check",
            ),
            (
                reply(302, "location: http://127.0.0.1:1/\r\n", ""),
                "AUTH_TOKEN_REFUSED",
                "302 redirects are not followed",
            ),
            (
                reply(200, "", "<html>"),
                "AUTH_TOKEN_UNREADABLE",
                "connection api: 200 from http://HOST/token, but the answer is no JSON",
            ),
            (reply(200, "", "{\"a\":1}"), "AUTH_TOKEN_UNREADABLE", "has no text `access_token`"),
            (reply(200, "", &" ".repeat(70_000)), "AUTH_TOKEN_UNREADABLE", "longer than 64 KiB"),
            (reply(500, "", ""), "AUTH_TOKEN_UNREACHABLE", "no token from http://HOST/token: it answered 500"),
            ("no HTTP\r\n\r\n".to_owned(), "AUTH_TOKEN_UNREACHABLE", "no token from http://HOST/token: "),
        ];
        for (answer, code, expected) in cases {
            let server = Server::start(move |_| Act::SayAndClose(answer.clone())).await;
            let destination = served(setup(server.address.port()));
            let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
            submit(&dispatcher, &board, 1);
            until(|| destination.status(Monotonic::now()).trouble.is_some()).await;
            let trouble = destination.status(Monotonic::now()).trouble.unwrap();
            let expected = expected.replace("HOST", &server.address.to_string());
            assert!(trouble.code == code && trouble.message.contains(&expected), "{trouble:?}, not {expected}");
            assert_eq!((tally(&server), dispatcher.waiting()), ((1, 0), 1));
        }
    });
}

#[test]
fn a_token_expired_in_the_body_is_renewed_once_as_youcheng_needs_it() {
    local(async {
        let server = Server::start(|seen| {
            if is_token(seen) {
                let body = format!("{{\"result\":100,\"data\":{{\"accessToken\":\"tok-{}\"}}}}", seen.number);
                return Act::Say(reply(200, "", &body));
            }
            let expired = seen.head.starts_with("POST /in?appKey=k&accessToken=tok-0 ");
            let result = if expired { 700 } else { 100 };
            Act::Say(reply(200, "content-type: application/json\r\n", &format!("{{\"result\":{result}}}")))
        })
        .await;
        let port = server.address.port();
        let mut setup = Setup::new("127.0.0.1", port);
        let text = |text: &str| TokenText(vec![TokenPiece::Text(Text::Plain(text.to_owned()))]);
        setup.connection.auth = Auth::Token(Box::new(TokenExchange {
            endpoint: endpoint("127.0.0.1", port),
            json: Some(Node::unplaced(Kind::Map(Vec::new()))),
            token: "$.data.accessToken".to_owned(),
            lifetime: Lifetime::Fixed(Duration::from_secs(7_200)),
            send_headers: Vec::new(),
            send_query: vec![
                ("appKey".to_owned(), text("k")),
                ("accessToken".to_owned(), TokenText(vec![TokenPiece::Token])),
            ],
        }));
        setup.connection.responses = written(
            r#"[{"when":{"body":{"result":[100]}},"outcome":"success"},
                {"when":{"body":{"result":[700]}},"outcome":"auth_expired"}]"#,
        );
        let (dispatcher, board) = (start(&served(setup)), Rc::new(Board::default()));
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!(report.class, Class::Success, "{report:?}");
        assert_eq!(tally(&server), (2, 2));
    });
}

#[test]
fn the_token_and_the_one_before_stay_out_of_reports() {
    local(async {
        let server = Server::start(|seen| match (is_token(seen), bearer(seen)) {
            (true, _) if seen.number == 0 => Act::Say(reply(200, "", r#"{"access_token":"first/one"}"#)),
            (true, _) => Act::Say(reply(200, "", r#"{"access_token":"second/one"}"#)),
            (false, "first/one") => Act::Say(reply(401, "", "")),
            (false, _) => {
                let body = "you sent second/one (second%2Fone), before first/one (first%2Fone)";
                Act::Say(reply(422, "content-type: text/plain\r\n", body))
            }
        })
        .await;
        let (dispatcher, board) = (start(&served(setup(server.address.port()))), Rc::new(Board::default()));
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!(report.excerpt, "you sent *** (***), before *** (***)");
        assert!(!format!("{report:?}").contains("/one"));
    });
}

#[test]
fn each_attempt_is_signed_over_what_is_sent() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.connection.sign = Some(Sign::Hmac {
            secret: hidden("key"),
            header: "x-signature".to_owned(),
            format: "t={timestamp},v1={hex}".to_owned(),
        });
        let (dispatcher, board) = (start(&setup.build()), Rc::new(Board::default()));
        dispatcher.submit(job(&board, 0));
        board.wait(1).await;
        let seen = server.seen.borrow()[0].clone();
        let value = seen.head.lines().find_map(|line| line.strip_prefix("x-signature: t=")).unwrap();
        let (seconds, hex) = value.split_once(",v1=").unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
        let message = [seconds.as_bytes(), b".", &seen.body].concat();
        let tag: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        aws_lc_rs::hmac::verify(&key, &message, &tag).unwrap();
    });
}

#[test]
fn who_is_given_up_while_it_waits_for_a_token_is_dropped() {
    local(async {
        let server = Server::start(|_| Act::Hang).await;
        let destination = served(setup(server.address.port()));
        let (dispatcher, board) = (start(&destination), Rc::new(Board::default()));
        submit(&dispatcher, &board, 4);
        until(|| tally(&server).0 == 1).await;
        board.abandoned.set(true);
        dispatcher.cancel_abandoned();
        assert_eq!(dispatcher.waiting(), 0);
    });
}
