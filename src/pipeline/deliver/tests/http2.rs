//! HTTP/2: many requests on one connection, and the ways it ends.

use super::frames::{CANCEL, Came, Do, Frames, HTTP_1_1_REQUIRED, INTERNAL_ERROR, REFUSED_STREAM};
use super::tls::{CA, server_config};
use super::*;
use h2::server;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

fn offering(protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&server_config(false));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

async fn frames(max_streams: Option<u32>, script: impl Fn(Came) -> Vec<Do> + 'static) -> Frames {
    Frames::start(offering(&[b"h2", b"http/1.1"]), max_streams, script).await
}

fn setup(port: u16) -> Setup {
    let mut setup = Setup::new("localhost", port);
    setup.destination.base.tls = true;
    setup.connection.ca_pem = Some(CA.to_vec());
    setup
}

#[test]
fn many_requests_share_one_connection_and_say_what_they_are() {
    local(async {
        const COUNT: usize = 40;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Rc::new(Cell::new(0));
        let most = Rc::new(Cell::new(0));
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (counted, at_once, told) = (Rc::clone(&connections), Rc::clone(&most), Rc::clone(&seen));
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.set(counted.get() + 1);
                let tls = TlsAcceptor::from(offering(&[b"h2"])).accept(tcp).await.unwrap();
                let mut connection = server::handshake(tls).await.unwrap();
                let open = Rc::new(Cell::new(0));
                let (at_once, told) = (Rc::clone(&at_once), Rc::clone(&told));
                spawn_local(async move {
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        open.set(open.get() + 1);
                        at_once.set(open.get().max(at_once.get()));
                        let (open, told) = (Rc::clone(&open), Rc::clone(&told));
                        spawn_local(async move {
                            let (head, mut body) = request.into_parts();
                            let mut bytes = Vec::new();
                            while let Some(data) = body.data().await {
                                bytes.extend_from_slice(&data.unwrap());
                            }
                            told.borrow_mut().push((head, bytes));
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            let mut stream = answer.send_response(Response::new(()), false).unwrap();
                            // More than the window of a stream: it goes on only if what came is read.
                            stream.send_data(Bytes::from(vec![b'x'; 100_000]), false).unwrap();
                            stream.send_trailers(HeaderMap::new()).unwrap();
                            open.set(open.get() - 1);
                        });
                    }
                });
            }
        });
        let dispatcher = start(&setup(port).build());
        let board = Rc::new(Board::default());
        (0..COUNT).for_each(|n| dispatcher.submit(job(&board, n)));
        assert!(board.classes(COUNT).await.iter().all(|class| *class == Class::Success));
        assert_eq!(connections.get(), 1);
        assert!(most.get() >= 8, "{}", most.get());
        let seen = seen.borrow();
        let (head, body) = &seen[0];
        assert_eq!((head.method.as_str(), head.uri.to_string()), ("POST", format!("https://localhost:{port}/in")));
        assert_eq!((body.as_slice(), head.headers["content-length"].as_bytes()), (&b"{\"n\":0}"[..], &b"7"[..]));
        assert_eq!(head.headers["idempotency-key"], "key-0");
        assert!(!head.headers.contains_key("host"));
    });
}

#[test]
fn a_server_that_offers_only_http1_gets_it() {
    local(async {
        let server = Frames::start(offering(&[b"http/1.1"]), None, |_| Vec::new()).await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        (0..20).for_each(|n| dispatcher.submit(job(&board, n)));
        assert!(board.classes(20).await.iter().all(|class| *class == Class::Success));
        assert_eq!(server.by_http1(), 20);
        assert!(server.connections.get() > 1, "they wait for each other only until it is known");
    });
}

#[test]
fn goaway_sends_again_what_was_not_looked_at_and_lets_the_rest_finish() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let server = frames(None, move |came| match (came.connection, came.stream) {
            (0, 1) => vec![Do::Wait(Rc::clone(&held)), Do::Answer(1, 200)],
            (0, 3) => vec![Do::GoAway(1)],
            (0, _) => Vec::new(),
            _ => vec![Do::Answer(came.stream, 200)],
        })
        .await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        (0..3).for_each(|n| dispatcher.submit(job(&board, n)));
        // The two above the last stream go to another connection at once.
        let reports = board.wait(2).await;
        assert!(reports.iter().all(|(_, report)| report.class == Class::Success));
        assert_eq!((server.connections.get(), server.streams(0), server.streams(1).len()), (2, vec![1, 3, 5], 2));
        // Another one does not go to the old connection, although it is still there.
        dispatcher.submit(job(&board, 3));
        board.wait(3).await;
        assert_eq!(server.streams(1).len(), 3);
        gate.notify_one();
        assert!(board.classes(4).await.iter().all(|class| *class == Class::Success));
        assert_eq!((server.connections.get(), server.streams(0).len()), (2, 3));
    });
}

#[test]
fn a_goaway_between_requests_costs_nothing() {
    local(async {
        let server = frames(None, |came| match came.stream {
            1 => vec![Do::Answer(1, 200)],
            3 => vec![Do::Answer(3, 200), Do::GoAway(3), Do::Close],
            _ => Vec::new(),
        })
        .await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        for n in 0..8 {
            dispatcher.submit(job(&board, n));
            board.wait(n + 1).await;
        }
        assert!(board.classes(8).await.iter().all(|class| *class == Class::Success));
        assert_eq!((server.connections.get(), server.came.borrow().len()), (4, 8));
    });
}

#[test]
fn a_refused_stream_is_tried_again_a_few_times() {
    local(async {
        let server = frames(None, |came| match came.number {
            0 => vec![Do::Reset(came.stream, REFUSED_STREAM)],
            1 => vec![Do::Answer(came.stream, 200)],
            _ => vec![Do::Reset(came.stream, REFUSED_STREAM)],
        })
        .await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        assert_eq!(board.classes(1).await, [Class::Success]);
        assert_eq!((server.connections.get(), server.streams(0)), (1, vec![1, 3]));
        dispatcher.submit(job(&board, 1));
        let (_, report) = board.wait(2).await.remove(1);
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_RESET"), "{}", report.message);
        assert!(report.message.contains("before looking at it"), "{}", report.message);
        assert!((3..=6).contains(&server.came.borrow().len()), "{:?}", server.came.borrow());
    });
}

#[test]
fn streams_and_connections_that_break_are_ambiguous() {
    local(async {
        let server = frames(None, |came| match came.number {
            0 => vec![Do::Reset(came.stream, INTERNAL_ERROR)],
            _ => vec![Do::Close],
        })
        .await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        for n in 0..2 {
            dispatcher.submit(job(&board, n));
            let (_, report) = board.wait(n + 1).await.remove(n);
            assert_eq!((report.class, report.code), (Class::Ambiguous, "DELIVER_RESET"), "{}", report.message);
        }
        assert_eq!((server.connections.get(), server.came.borrow().len()), (1, 2));
    });
}

#[test]
fn a_late_stream_is_reset_and_its_neighbours_live_on() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let server = frames(None, move |came| match came.number {
            0 => Vec::new(),
            1 => vec![Do::Answer(came.stream, 200)],
            2 => vec![Do::Wait(Rc::clone(&held)), Do::Answer(came.stream, 200)],
            _ => vec![Do::Answer(came.stream, 200)],
        })
        .await;
        let mut setup = setup(server.address.port());
        setup.destination.timeout = Duration::from_millis(2_000);
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        while server.came.borrow().is_empty() {
            server.changed.notified().await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        dispatcher.submit(job(&board, 1));
        board.wait(1).await;
        dispatcher.submit(job(&board, 2));
        let (number, report) = board.wait(2).await.remove(1);
        assert_eq!((number, report.class, report.code), (0, Class::Ambiguous, "DELIVER_TIMEOUT"), "{}", report.message);
        while server.resets.borrow().is_empty() {
            server.changed.notified().await;
        }
        assert_eq!(*server.resets.borrow(), [(1, CANCEL)]);
        gate.notify_one();
        dispatcher.submit(job(&board, 3));
        let reports = board.wait(4).await;
        assert!(reports[2..].iter().all(|(_, report)| report.class == Class::Success));
        assert_eq!(server.connections.get(), 1);
    });
}

#[test]
fn a_connection_that_says_nothing_any_more_gets_no_further_request() {
    local(async {
        let server = frames(None, |came| match came.connection {
            0 if came.number > 0 => Vec::new(),
            _ => vec![Do::Answer(came.stream, 200)],
        })
        .await;
        let mut setup = setup(server.address.port());
        setup.destination.timeout = Duration::from_millis(1_500);
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        for n in 0..3 {
            dispatcher.submit(job(&board, n));
            board.wait(n + 1).await;
        }
        assert_eq!(board.classes(3).await, [Class::Success, Class::Ambiguous, Class::Success]);
        assert_eq!(server.connections.get(), 2);
    });
}

#[test]
fn the_abandoned_are_reset_and_the_rest_goes_on() {
    local(async {
        let server = frames(None, |came| match came.number {
            0..4 => Vec::new(),
            _ => vec![Do::Answer(came.stream, 200)],
        })
        .await;
        let destination = setup(server.address.port()).build();
        let dispatcher = start(&destination);
        let (lost, kept) = (Rc::new(Board::default()), Rc::new(Board::default()));
        (0..4).for_each(|n| dispatcher.submit(job(&lost, n)));
        while server.came.borrow().len() < 4 {
            server.changed.notified().await;
        }
        lost.abandoned.set(true);
        dispatcher.cancel_abandoned();
        dispatcher.submit(job(&kept, 9));
        assert_eq!(kept.classes(1).await, [Class::Success]);
        while server.resets.borrow().len() < 4 {
            server.changed.notified().await;
        }
        assert_eq!((server.connections.get(), destination.concurrency().in_flight()), (1, 0));
        assert!(lost.reports.borrow().is_empty());
    });
}

#[test]
fn as_many_streams_as_the_server_allows_then_another_connection() {
    local(async {
        let server = frames(Some(2), |came| match came.number {
            // So that its settings are known before the rest comes.
            0 => vec![Do::Answer(came.stream, 200)],
            1..7 => Vec::new(),
            _ => vec![Do::Answer(came.stream, 200)],
        })
        .await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        board.wait(1).await;
        (1..7).for_each(|n| dispatcher.submit(job(&board, n)));
        while server.came.borrow().len() < 7 {
            server.changed.notified().await;
        }
        let most = (0..server.connections.get()).map(|connection| server.streams(connection).len()).max();
        assert!(server.connections.get() >= 2 && server.streams(0).len() == 3, "{:?}", server.came.borrow());
        assert!(most <= Some(6), "{:?}", server.came.borrow());
    });
}

#[test]
fn who_wants_http1_gets_it_from_then_on() {
    local(async {
        let server = frames(None, |came| vec![Do::Reset(came.stream, HTTP_1_1_REQUIRED)]).await;
        let dispatcher = start(&setup(server.address.port()).build());
        let board = Rc::new(Board::default());
        for n in 0..3 {
            dispatcher.submit(job(&board, n));
            board.wait(n + 1).await;
        }
        assert!(board.classes(3).await.iter().all(|class| *class == Class::Success));
        assert_eq!((server.came.borrow().len(), server.by_http1()), (1, 3));
    });
}
