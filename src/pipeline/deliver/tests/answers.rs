//! What goes out, and what each kind of answer, or none, becomes.

use super::server::{Act, Server, reply};
use super::*;
use crate::model::resources::{Auth, KeyPlace};
use crate::model::text::Text;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn secret(text: &str) -> Text {
    Text::Secret(SecretString::from(text))
}

#[test]
fn a_request_as_it_goes_out() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", "thanks"))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.connection.auth = Auth::Basic { username: Text::Plain("ann".to_owned()), password: secret("s3cret") };
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 7));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!((report.class, report.code, report.status), (Class::Success, "DELIVER_OK", Some(200)));
        assert!(report.sent.is_some());
        let seen = server.seen.borrow()[0].clone();
        assert_eq!(seen.body, br#"{"n":7}"#);
        let version = env!("CARGO_PKG_VERSION");
        let host = server.address;
        let expected = format!(
            "POST /in HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nuser-agent: tidegate/{version}\r\n\
             idempotency-key: key-7\r\nauthorization: Basic YW5uOnMzY3JldA==\r\ncontent-length: 7\r\n\r\n"
        );
        assert_eq!(seen.head, expected);
    });
}

#[test]
fn keys_in_header_and_query_and_a_length_for_no_body() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(204, "", ""))).await;
        for place in [KeyPlace::Header, KeyPlace::Query] {
            let mut setup = Setup::new("127.0.0.1", server.address.port());
            setup.connection.auth = Auth::ApiKey { name: "x-key".to_owned(), value: secret("a b&c"), place };
            let dispatcher = start(&setup.build());
            let board = Rc::new(Board::default());
            let mut one = job(&board, 0);
            one.request = Ok(Request { path: "/in".to_owned(), query: "q=1".to_owned(), ..Request::default() });
            dispatcher.submit(one);
            assert_eq!(board.classes(1).await, [Class::Success]);
        }
        let heads = server.heads();
        assert!(heads[0].starts_with("POST /in?q=1 HTTP/1.1\r\n") && heads[0].contains("\r\nx-key: a b&c\r\n"));
        assert!(heads[1].starts_with("POST /in?q=1&x-key=a+b%26c HTTP/1.1\r\n"));
        assert!(heads[0].contains("\r\ncontent-length: 0\r\n"));
    });
}

/// The report of one request that the server treats so.
pub(super) async fn one(act: Act, change: impl FnOnce(&mut Setup)) -> Report {
    let server = Server::start(move |_| act.clone()).await;
    let mut setup = Setup::new("127.0.0.1", server.address.port());
    setup.destination.timeout = Duration::from_millis(300);
    change(&mut setup);
    let dispatcher = start(&setup.build());
    let board = Rc::new(Board::default());
    dispatcher.submit(job(&board, 0));
    let (_, report) = board.wait(1).await.remove(0);
    assert_eq!(dispatcher.in_flight(), 0);
    assert_eq!(dispatcher.destination().concurrency().in_flight(), 0, "the slot is given back");
    report
}

#[test]
fn failures_say_what_happened() {
    local(async {
        let unchanged = |_: &mut Setup| {};
        let report = one(Act::Say(reply(422, "", "no such order")), unchanged).await;
        assert_eq!((report.class, report.code, report.status), (Class::Reject, "DELIVER_STATUS", Some(422)));
        assert_eq!(report.message, "`orders` answered 422 Unprocessable Entity");
        assert_eq!(report.excerpt, "no such order");

        let report = one(Act::Say(reply(302, "location: https://x.test/y?token=1\r\n", "")), unchanged).await;
        assert_eq!(report.class, Class::Incident);
        assert!(report.message.contains("https://x.test/y") && !report.message.contains("token"), "{}", report.message);

        let report = one(Act::Say(reply(429, "retry-after: 7\r\n", "")), unchanged).await;
        assert_eq!((report.class, report.retry_after), (Class::Overload, Some(Duration::from_secs(7))));

        let report = one(Act::Close, unchanged).await;
        assert_eq!((report.class, report.code, report.status), (Class::Ambiguous, "DELIVER_RESET", None));

        let report = one(Act::Hang, unchanged).await;
        assert_eq!((report.class, report.code), (Class::Ambiguous, "DELIVER_TIMEOUT"));
        assert!(report.message.contains("no answer came within 0.3 s"), "{}", report.message);
        assert!(report.took >= Duration::from_millis(290) && report.took < Duration::from_secs(2));

        let report = one(Act::Say("SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned()), unchanged).await;
        assert_eq!((report.class, report.code), (Class::Ambiguous, "DELIVER_MALFORMED"));
    });
}

#[test]
fn an_answer_that_does_not_end() {
    local(async {
        let unchanged = |_: &mut Setup| {};
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_owned();
        let report = one(Act::Drip(long.clone()), unchanged).await;
        assert_eq!((report.class, report.code, report.status), (Class::Ambiguous, "DELIVER_TIMEOUT", Some(200)));
        assert!(report.message.contains("did not end"), "{}", report.message);

        let report = one(Act::SayAndClose(long), unchanged).await;
        assert_eq!((report.class, report.code, report.status), (Class::Ambiguous, "DELIVER_RESET", Some(200)));

        let refused = "HTTP/1.1 400 Bad\r\ncontent-length: 1000\r\n\r\nwhy".to_owned();
        let report = one(Act::SayAndClose(refused), unchanged).await;
        assert_eq!((report.class, report.status), (Class::Reject, Some(400)));

        let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
        let report = one(Act::Flood(endless), unchanged).await;
        assert_eq!(report.class, Class::Success, "cut at 64 KiB");
    });
}

#[test]
fn an_answer_before_the_request_was_sent_whole() {
    local(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn_local(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                spawn_local(async move {
                    let mut some = vec![0; 1024];
                    tcp.read_exact(&mut some).await.unwrap();
                    tcp.write_all(reply(413, "", "too large").as_bytes()).await.unwrap();
                    // A server that lingers, so that its answer is not lost.
                    while tcp.read(&mut some).await.is_ok_and(|n| n > 0) {}
                });
            }
        });
        let dispatcher = start(&Setup::new("127.0.0.1", port).build());
        let board = Rc::new(Board::default());
        for n in 0..2 {
            let mut large = job(&board, n);
            large.request = Ok(Request { body: Bytes::from(vec![b'x'; 32 << 20]), ..request("") });
            dispatcher.submit(large);
            let (_, report) = board.wait(n + 1).await.remove(n);
            assert_eq!((report.class, report.status), (Class::Reject, Some(413)), "{}", report.message);
        }
    });
}

#[test]
fn a_server_that_wants_to_close_is_not_asked_twice() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "connection: close\r\n", ""))).await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let board = Rc::new(Board::default());
        for n in 0..3 {
            dispatcher.submit(job(&board, n));
            assert!(board.classes(n + 1).await.iter().all(|class| *class == Class::Success));
        }
        assert_eq!(server.connections.get(), 3);
    });
}

#[test]
fn an_excerpt_is_short_and_shows_no_secret() {
    local(async {
        let body = format!("bad token s3cret-token {}", "é".repeat(2_000));
        let report = one(Act::Say(reply(400, "", &body)), |setup| {
            setup.connection.auth = Auth::Bearer(secret("s3cret-token"));
        })
        .await;
        assert!(report.excerpt.starts_with("bad token *** é"), "{}", report.excerpt);
        assert!(report.excerpt.len() <= 1024 && report.excerpt.len() > 1000);
    });
}

#[test]
fn no_connection() {
    local(async {
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        for (host, allow, class, code, words) in [
            ("127.0.0.1", true, Class::Transient, "DELIVER_CONNECT", "cannot connect"),
            ("127.0.0.1", false, Class::Incident, "DELIVER_FORBIDDEN", "allow_networks"),
            ("0x7f.1", false, Class::Incident, "DELIVER_FORBIDDEN", "a loopback address"),
            ("localhost", false, Class::Incident, "DELIVER_FORBIDDEN", "a loopback address"),
            ("169.254.169.254", true, Class::Incident, "DELIVER_FORBIDDEN", "metadata"),
        ] {
            let mut setup = Setup::new(host, closed);
            if !allow {
                setup.connection.allow_networks.clear();
            }
            let dispatcher = start(&setup.build());
            let board = Rc::new(Board::default());
            dispatcher.submit(job(&board, 0));
            let (_, report) = board.wait(1).await.remove(0);
            assert_eq!((report.class, report.code), (class, code), "{host}: {}", report.message);
            assert!(report.message.contains(words), "{}", report.message);
            assert_eq!(board.rendered.get(), 0);
        }
    });
}

#[test]
fn what_cannot_be_rendered_is_not_sent_and_costs_no_permit() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.rate_limits = vec![limits::per_second(5, 1)];
        setup.destination.concurrency_max = 1;
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        let mut bad = job(&board, 0);
        bad.request = Err(Report {
            class: Class::Reject,
            code: "TRANSFORM_MISSING",
            status: None,
            message: String::new(),
            excerpt: String::new(),
            retry_after: None,
            wait: None,
            sent: None,
            took: Duration::ZERO,
        });
        let mut injected = job(&board, 1);
        injected.request = Ok({
            let mut request = request("{}");
            request.headers.set("x-a", "1\r\nx-b: 2");
            request
        });
        dispatcher.submit(bad);
        dispatcher.submit(injected);
        dispatcher.submit(job(&board, 2));
        let reports = board.wait(3).await;
        let codes: Vec<_> = reports.iter().map(|(_, report)| report.code).collect();
        assert_eq!(codes, ["TRANSFORM_MISSING", "DELIVER_REQUEST", "DELIVER_OK"]);
        assert_eq!(reports[1].1.class, Class::Reject);
        assert_eq!(server.seen.borrow().len(), 1);
    });
}
