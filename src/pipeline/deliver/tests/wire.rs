//! Answers as vendors really give them, down to the bytes, judged by `responses`: every method, content codings,
//! pages in HTML, bodies that break off, and what each outcome does to the destination.

use super::answers::one;
use super::server::{Act, Server, reply};
use super::*;
use crate::destinations::responses::tests::written;
use crate::destinations::status::Held;
use crate::model::hold::Hold;
use crate::model::text::Text;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const JSON: &str = "content-type: application/json; charset=utf-8\r\n";
/// A vendor that answers 200 to everything and tells the truth in the body.
const CODES: &str = r#"[{"when":{"body":{"code":[0]}},"outcome":"success"},
    {"when":{"body":{"code":[1]}},"outcome":"throttled","wait":"10m"},
    {"when":{"body":{"code":[2]}},"outcome":"retry","wait":"90s"},
    {"when":{"body":{"code":[3]}},"outcome":"reject"},
    {"when":{"body":{"code":[4]}},"outcome":"gone"},
    {"when":{"body":{"code":[5]}},"outcome":"auth_expired"},
    {"when":{"body":{"code":[6]}},"outcome":"duplicate"},
    {"when":{"error":["no_answer"]},"outcome":"reject"}]"#;

fn codes(setup: &mut Setup) {
    setup.connection.responses = written(CODES);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn coded(status: u16, headers: &str, body: &[u8]) -> Act {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Test\r\n{headers}content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
    Act::SayBytes([head.as_bytes(), body].concat())
}

#[test]
fn every_outcome_in_a_body_with_status_200() {
    local(async {
        let say = |code: u8| Act::Say(reply(200, JSON, &format!("{{\"code\":{code},\"why\":\"so\"}}")));
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let cases = [
            (0, Class::Success, "DELIVER_OK", None, None),
            (1, Class::Overload, "RESPONSE_THROTTLED", Some(minute * 10), None),
            (2, Class::Transient, "RESPONSE_RETRY", None, Some(second * 90)),
            (3, Class::Reject, "RESPONSE_REJECTED", None, None),
            (4, Class::Incident, "RESPONSE_GONE", None, None),
            (5, Class::Incident, "RESPONSE_AUTH_EXPIRED", None, None),
            (6, Class::Success, "RESPONSE_DUPLICATE", None, None),
            (7, Class::Ambiguous, "RESPONSE_UNRECOGNISED", None, None),
        ];
        for (code, class, name, retry_after, wait) in cases {
            let report = one(say(code), codes).await;
            let found = (report.class, report.code, report.retry_after, report.wait, report.status);
            assert_eq!(found, (class, name, retry_after, wait, Some(200)), "{code}");
            let entry = format!("`orders` answered 200 OK; `responses` (api.yaml:{}:3) say ", code + 1);
            let fits = match code {
                0 | 6 => report.message.is_empty() && report.excerpt.is_empty(),
                7 => {
                    report.message
                        == "`orders` answered 200 OK, which no entry of `responses` knows: `body.code` is 7; the pattern \
                            wants 0 (api.yaml:1:3)"
                }
                _ => report.message.starts_with(&entry),
            };
            assert!(fits, "{code}: {}", report.message);
            assert_eq!(report.excerpt.contains("so"), class != Class::Success);
        }
    });
}

#[test]
fn what_an_outcome_does_to_the_destination() {
    local(async {
        let held = async |code: u8| {
            let server = Server::start(move |_| Act::Say(reply(200, JSON, &format!("{{\"code\":{code}}}")))).await;
            let mut setup = Setup::new("127.0.0.1", server.address.port());
            codes(&mut setup);
            let dispatcher = start(&setup.build());
            let board = Rc::new(Board::default());
            for n in 0..12 {
                dispatcher.submit(job(&board, n));
                if code == 3 || code == 7 {
                    board.wait(n + 1).await;
                }
            }
            board.wait(1).await;
            dispatcher.destination().why_held(Monotonic::now())
        };
        assert_eq!(held(0).await, None);
        assert_eq!(held(3).await, None, "a refusal says nothing of the destination");
        assert_eq!(held(7).await, None, "nor does an answer that nobody knows: the breaker does not count it");
        assert_eq!(held(4).await, Some(Held::Hold { by: Hold::Gone }));
        assert!(matches!(held(5).await, Some(Held::Incident { .. })));
        let Some(Held::Overload { wait_ms }) = held(1).await else { panic!("the gate is open") };
        assert!(wait_ms > 590_000 && wait_ms <= 600_000, "{wait_ms}");
    });
}

#[test]
fn packed_answers_are_read_though_nobody_asked_for_them() {
    local(async {
        let report = one(coded(200, JSON, &gzip("{\"code\":3,\"why\":\"bad keyword\"}")), codes).await;
        assert_eq!((report.class, report.code), (Class::Reject, "RESPONSE_REJECTED"));
        assert!(report.excerpt.contains("bad keyword"), "{}", report.excerpt);
        let report = one(coded(422, JSON, &gzip("{\"error\":\"no such order\"}")), |_| {}).await;
        assert_eq!(report.excerpt, "{\"error\":\"no such order\"}", "also where no entry looks at the body");
        let bomb = gzip(&format!("{{\"code\":0,\"pad\":\"{}\"}}", "x".repeat(1 << 20)));
        let report = one(coded(200, JSON, &bomb), codes).await;
        assert_eq!(report.code, "RESPONSE_UNRECOGNISED", "beyond 64 KiB it is no JSON");
        let unknown = Act::Say(reply(400, "content-encoding: br\r\n", "as it is"));
        assert_eq!(one(unknown, |_| {}).await.excerpt, "as it is");
    });
}

#[test]
fn a_page_says_what_it_says() {
    local(async {
        let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>\
                    </center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n";
        let report = one(Act::Say(reply(502, "content-type: text/html\r\n", page)), codes).await;
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_STATUS"));
        assert_eq!(report.excerpt, "502 Bad Gateway 502 Bad Gateway nginx/1.25.3");
        // A proxy that answers 200 with a login page is no success where success is named.
        let report = one(Act::Say(reply(200, "content-type: text/html\r\n", page)), codes).await;
        assert_eq!((report.class, report.code), (Class::Ambiguous, "RESPONSE_UNRECOGNISED"));
    });
}

#[test]
fn an_answer_that_breaks_off_is_none() {
    local(async {
        let begun = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 1000\r\n\r\n{{\"code\":0}}");
        for act in [Act::SayAndClose(begun.clone()), Act::Drip(begun), Act::Close, Act::Hang] {
            let report = one(act.clone(), codes).await;
            assert_eq!((report.class, report.code), (Class::Reject, "RESPONSE_REJECTED"), "{act:?}");
            assert!(report.message.contains("; `responses` (api.yaml:8:3) say reject"), "{}", report.message);
            let report = one(act, |_| {}).await;
            assert_eq!(report.class, Class::Ambiguous);
        }
        // No success and not whole: the status is known, and the beginning is text.
        let begun = "HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"code\":0}";
        let report = one(Act::SayAndClose(begun.to_owned()), codes).await;
        assert_eq!((report.class, report.code, report.status), (Class::Transient, "DELIVER_STATUS", Some(500)));
    });
}

#[test]
fn entries_beat_every_status() {
    local(async {
        let entries = |list: &'static str| move |setup: &mut Setup| setup.destination.responses = written(list);
        let duplicate = entries(r#"[{"when":{"status":[301,404,410,422,500]},"outcome":"duplicate"}]"#);
        for status in [301, 404, 410, 422, 500] {
            let report = one(Act::Say(reply(status, "", "")), duplicate).await;
            assert_eq!((report.class, report.status), (Class::Success, Some(status)));
        }
        let not_sent = entries(r#"[{"when":{"error":["not_sent"]},"outcome":"reject"}]"#);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut setup = Setup::new("127.0.0.1", closed);
        not_sent(&mut setup);
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!((report.class, report.code, report.status), (Class::Reject, "RESPONSE_REJECTED", None));
        assert!(report.message.contains("cannot connect") && report.message.contains("say reject"), "{report:?}");
    });
}

#[test]
fn every_method_on_one_connection() {
    local(async {
        let server = Server::start(|seen| match seen.head.split(' ').next() {
            // Headers as for GET, and no body.
            Some("HEAD") => Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n".to_owned()),
            Some("DELETE") => Act::Say("HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            Some("PUT") => {
                Act::Say("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned())
            }
            Some("PATCH") => Act::Say(reply(202, "", "")),
            _ => Act::Say(reply(200, "allow: GET\r\n", "ok")),
        })
        .await;
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"] {
            for body in ["", "{}"] {
                let mut setup = Setup::new("127.0.0.1", server.address.port());
                setup.destination.method = method.to_owned();
                let dispatcher = start(&setup.build());
                let before = server.connections.get();
                for n in 0..2 {
                    let board = Rc::new(Board::default());
                    let mut one = job(&board, n);
                    one.request = Ok(request(body));
                    dispatcher.submit(one);
                    assert_eq!(board.classes(1).await, [Class::Success], "{method}");
                }
                assert_eq!(server.connections.get(), before + 1, "{method} keeps its connection");
                let seen = server.seen.borrow().last().unwrap().clone();
                assert!(seen.head.starts_with(&format!("{method} /in HTTP/1.1\r\n")), "{}", seen.head);
                assert_eq!(seen.body, body.as_bytes());
                let length = seen.head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let expected = match (method, body) {
                    ("POST" | "PUT" | "PATCH", "") => Some("0"),
                    (_, "") => None,
                    (_, _) => Some("2"),
                };
                assert_eq!(length, expected, "{method} {body}");
                assert!(!seen.head.contains("transfer-encoding"));
            }
        }
    });
}

#[test]
fn no_secret_is_quoted_not_even_half_of_one() {
    local(async {
        let secret = "s3cret-of-forty-characters-and-some-more";
        for pad in [0, 70, 80, 99, 100] {
            let body = format!("{}{secret}", "x".repeat(pad));
            let report = one(Act::Say(reply(200, "x-echo: none\r\n", &body)), |setup| {
                setup.connection.auth = resources::Auth::Bearer(Text::Plain(secret.to_owned()));
                setup.connection.responses = written(r#"[{"when":{"body":["ok"]},"outcome":"success"}]"#);
            })
            .await;
            assert_eq!(report.code, "RESPONSE_UNRECOGNISED");
            assert!(report.message.contains("`body` is \""), "{}", report.message);
            assert!(!format!("{report:?}").contains("s3c"), "{report:?}");
        }
    });
}
