//! Proxies: tunnels, who looks names up, credentials, and what refusals say.

use super::server::{Act, Server, reply};
use super::tls::{CA, server_config};
use super::*;
use crate::model::resources::{Proxy, Resolve, Via};
use crate::model::text::Text;
use secrecy::SecretString;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A proxy that leads everywhere to one place, and remembers what it was asked.
struct Between {
    port: u16,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Between {
    /// `answers` are the statuses of the first tunnels; then they are opened.
    async fn start(to: SocketAddr, tls: bool, answers: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { port: listener.local_addr().unwrap().port(), asked: Rc::default() };
        let asked = Rc::clone(&this.asked);
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let asked = Rc::clone(&asked);
                spawn_local(async move {
                    if tls {
                        if let Ok(stream) = TlsAcceptor::from(server_config(false)).accept(tcp).await {
                            serve(stream, to, &asked, answers).await;
                        }
                    } else {
                        serve(tcp, to, &asked, answers).await;
                    }
                });
            }
        });
        this
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    to: SocketAddr,
    asked: &RefCell<Vec<String>>,
    answers: &[u16],
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let number = asked.borrow().len();
    asked.borrow_mut().push(String::from_utf8(head).unwrap());
    let status = answers.get(number).copied().unwrap_or(200);
    stream.write_all(format!("HTTP/1.1 {status} Test\r\n\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    if status == 200 {
        let mut there = TcpStream::connect(to).await.unwrap();
        let _gone = copy_bidirectional(&mut stream, &mut there).await;
    }
}

/// Delivers one event to `host` through a proxy; what came of it, and what the proxy was asked.
async fn deliver(
    (host, dest_tls): (&str, bool),
    proxy_tls: bool,
    answers: &'static [u16],
    change: impl FnOnce(&mut Setup),
) -> (Report, Vec<String>, u16) {
    let server = Server::start_tls(|_| Act::Say(reply(200, "", "ok")), dest_tls.then(|| server_config(false))).await;
    let between = Between::start(server.address, proxy_tls, answers).await;
    let mut setup = Setup::new(host, server.address.port());
    setup.destination.base.tls = dest_tls;
    setup.connection.ca_pem = Some(CA.to_vec());
    let url = BaseUrl { tls: proxy_tls, host: "localhost".to_owned(), port: between.port, path: String::new() };
    setup.connection.proxy = Some(Proxy { via: Via::Url(url), credentials: None, resolve: Resolve::Local });
    change(&mut setup);
    let dispatcher = start(&setup.build());
    let board = Rc::new(Board::default());
    dispatcher.submit(job(&board, 0));
    let (_, report) = board.wait(1).await.remove(0);
    if report.class == Class::Success {
        // The tunnel is kept.
        dispatcher.submit(job(&board, 1));
        board.wait(2).await;
        assert_eq!(server.connections.get(), 1);
    }
    let asked = between.asked.borrow().clone();
    (report, asked, server.address.port())
}

fn proxy(setup: &mut Setup) -> &mut Proxy {
    setup.connection.proxy.as_mut().unwrap()
}

#[test]
fn a_tunnel_to_the_address_that_was_checked_with_tls_to_the_name() {
    local(async {
        for (dest_tls, proxy_tls) in [(true, false), (false, false), (true, true), (false, true)] {
            let (report, asked, port) = deliver(("localhost", dest_tls), proxy_tls, &[], |_| {}).await;
            assert_eq!(report.class, Class::Success, "{dest_tls} {proxy_tls} {}", report.message);
            assert_eq!(asked.len(), 1);
            let line = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n");
            let line_v6 = format!("CONNECT [::1]:{port} HTTP/1.1\r\nhost: [::1]:{port}\r\n");
            assert!(asked[0].starts_with(&line) || asked[0].starts_with(&line_v6), "{}", asked[0]);
            assert!(!asked[0].contains("authorization"));
        }
    });
}

#[test]
fn the_network_policy_holds_unless_the_proxy_looks_the_name_up() {
    local(async {
        let private = |setup: &mut Setup| setup.connection.allow_networks.clear();
        let (report, asked, _) = deliver(("localhost", true), false, &[], private).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_FORBIDDEN"), "{}", report.message);
        assert!(asked.is_empty());
        let by_proxy = |setup: &mut Setup| {
            private(setup);
            proxy(setup).resolve = Resolve::Proxy;
        };
        let (report, asked, port) = deliver(("localhost", true), false, &[], by_proxy).await;
        assert_eq!(report.class, Class::Success, "{}", report.message);
        assert!(asked[0].starts_with(&format!("CONNECT localhost:{port} ")), "{}", asked[0]);
        // An address that is written is looked up by nobody.
        let (report, asked, _) = deliver(("127.0.0.1", false), false, &[], by_proxy).await;
        assert_eq!((report.code, asked.len()), ("DELIVER_FORBIDDEN", 0));
    });
}

#[test]
fn credentials_are_shown_to_the_proxy_and_nobody_else() {
    local(async {
        let known = |setup: &mut Setup| {
            let secret = |text: &str| Text::Secret(SecretString::from(text));
            proxy(setup).credentials = Some((secret("tg"), secret("hunter22")));
        };
        let (report, asked, _) = deliver(("localhost", false), false, &[], known).await;
        assert_eq!(report.class, Class::Success, "{}", report.message);
        assert!(asked[0].contains("\r\nproxy-authorization: Basic dGc6aHVudGVyMjI=\r\n"), "{}", asked[0]);
        let (report, ..) = deliver(("localhost", false), false, &[407], known).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_PROXY"));
        assert!(
            report.message.contains("`username`") && report.message.contains("http://localhost:"),
            "{}",
            report.message
        );
        assert!(!report.message.contains("hunter22") && !report.message.contains("dGc6"));
    });
}

#[test]
fn refusals_name_the_proxy_and_the_cure() {
    local(async {
        let (report, ..) = deliver(("localhost", true), false, &[403], |_| {}).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_PROXY"));
        assert!(report.message.contains("(403); have it allowed there"), "{}", report.message);
        let (report, ..) = deliver(("127.0.0.1", false), false, &[503], |_| {}).await;
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_PROXY"), "{}", report.message);
        let (report, ..) = deliver(("localhost", false), true, &[], |setup| setup.connection.ca_pem = None).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_PROXY"), "{}", report.message);
        assert!(report.message.contains("is not who it says"), "{}", report.message);
        let nobody = |setup: &mut Setup| {
            let url = BaseUrl { tls: false, host: "127.0.0.1".to_owned(), port: 1, path: String::new() };
            proxy(setup).via = Via::Url(url);
        };
        let (report, ..) = deliver(("localhost", false), false, &[], nobody).await;
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_PROXY"), "{}", report.message);
    });
}

#[test]
fn a_proxy_that_says_nothing_is_late() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = |setup: &mut Setup| {
            setup.destination.timeout = Duration::from_millis(200);
            proxy(setup).via =
                Via::Url(BaseUrl { tls: false, host: "127.0.0.1".to_owned(), port, path: String::new() });
        };
        let (report, ..) = deliver(("localhost", false), false, &[], silent).await;
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_TIMEOUT"));
        assert!(
            report.message.contains(&format!("`localhost` through `http://127.0.0.1:{port}`")),
            "{}",
            report.message
        );
        assert!(report.message.contains("the proxy opened no way"), "{}", report.message);
    });
}

#[test]
fn the_environment_counts_only_for_its_schemes_and_hosts() {
    local(async {
        for (except, asked_for) in [("other.example", 1), ("localhost", 0)] {
            let environment = |setup: &mut Setup| {
                let proxy = proxy(setup);
                let Via::Url(url) = proxy.via.clone() else { unreachable!() };
                proxy.via = Via::Environment { https: Some(url), http: None, except: vec![except.to_owned()] };
            };
            let (report, asked, _) = deliver(("localhost", true), false, &[], environment).await;
            assert_eq!((report.class, asked.len()), (Class::Success, asked_for), "{}", report.message);
            let (report, asked, _) = deliver(("localhost", false), false, &[], environment).await;
            assert_eq!((report.class, asked.len()), (Class::Success, 0), "{}", report.message);
        }
    });
}
