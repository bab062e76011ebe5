//! What comes back over HTTP/1.1, held against hyper; and what is sent.

use super::*;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const BODY: usize = 1_000;
const POST: To<'_> = To { method: &Method::POST, authority: "api.example:8080" };
const ALL: Wanted = Wanted { all: true, body_bytes: BODY };
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What one makes of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// Status, headers, body, whether that came to its end, and whether the connection may go on.
    Answer {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
        whole: bool,
        reusable: bool,
    },
    Malformed,
    Closed,
    /// There must be more to come.
    Waits,
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// Time is paused: it passes when nothing else can happen any more.
async fn or_waits(work: impl Future<Output = Read>) -> Read {
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap_or(Read::Waits)
}

/// A connection, and its other side that takes `window` bytes until it is read.
fn connection(window: usize) -> (Box<Http1>, DuplexStream) {
    let (near, far) = tokio::io::duplex(window);
    let wire = Rc::new(Wire::default());
    (Http1::new(Stream::other(Box::new(near), Rc::clone(&wire)), wire), far)
}

fn request(body: &'static [u8]) -> Request {
    let body = Bytes::from_static(body);
    let mut request = Request { path: "/a/b".to_owned(), query: "c=d".to_owned(), body, ..Request::default() };
    request.headers.set("x-a", "1");
    request
}

async fn answer(connection: &mut Http1) -> Result<Answer, Error> {
    poll_fn(|cx| connection.poll_answer(cx)).await
}

async fn is_ready(connection: &mut Http1) -> bool {
    poll_fn(|cx| Poll::Ready(connection.is_ready(cx))).await
}

/// Takes the request and says this, in these pieces; then closes, or keeps the connection open.
async fn serve(mut side: DuplexStream, says: Vec<Vec<u8>>, closes: bool) -> DuplexStream {
    let mut request = [0; 512];
    assert!(side.read(&mut request).await.unwrap() > 0);
    for piece in says {
        if side.write_all(&piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    if closes {
        drop(side.shutdown().await);
    }
    side
}

fn sorted(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    all.sort();
    all
}

async fn ours(says: Vec<Vec<u8>>, closes: bool) -> Read {
    let (mut connection, far) = connection(64 * 1024);
    connection.send(&mut request(b"{}"), POST, ALL);
    let (answer, _far) = tokio::join!(answer(&mut connection), serve(far, says, closes));
    let reusable = is_ready(&mut connection).await;
    match answer {
        Ok(Answer { status, headers, body, whole, .. }) => {
            Read::Answer { status, headers: sorted(&headers), body: body.to_vec(), whole, reusable }
        }
        Err(Error::Malformed(_)) => Read::Malformed,
        Err(Error::Closed | Error::Io(_)) => Read::Closed,
    }
}

async fn hypers(says: Vec<Vec<u8>>, closes: bool) -> Read {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut sender, mut driver) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    let body = Full::new(Bytes::from_static(b"{}"));
    let request = hyper::Request::builder().method(Method::POST).uri("/").header("host", "a").body(body).unwrap();
    let mut read = Box::pin(async {
        let answer = match sender.send_request(request).await {
            Err(error) if error.is_parse() => return Read::Malformed,
            Err(_) => return Read::Closed,
            Ok(answer) => answer,
        };
        let (status, headers) = (answer.status().as_u16(), sorted(answer.headers()));
        let (mut body, mut rest, mut whole) = (Vec::new(), answer.into_body(), true);
        while let Some(frame) = rest.frame().await {
            match frame.map(|frame| frame.into_data().unwrap_or_default()) {
                Ok(data) => body.extend_from_slice(&data),
                Err(_) => whole = false,
            }
            if !whole || body.len() > BODY {
                whole = false;
                break;
            }
        }
        body.truncate(BODY);
        Read::Answer { status, headers, body, whole, reusable: false }
    });
    let mut ended = false;
    let driven = poll_fn(|cx| {
        ended = ended || Pin::new(&mut driver).poll(cx).is_ready();
        read.as_mut().poll(cx)
    });
    let (mut found, _far) = tokio::join!(driven, serve(far, says, closes));
    drop(read);
    if let Read::Answer { reusable, whole, .. } = &mut found {
        let ready = poll_fn(|cx| {
            ended = ended || Pin::new(&mut driver).poll(cx).is_ready();
            Poll::Ready(!ended && matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        });
        *reusable = *whole && ready.await;
    }
    found
}

/// The same, or one of the two ways in which we are stricter.
fn agree(ours: &Read, hypers: &Read, text: &[u8]) -> bool {
    let head = String::from_utf8_lossy(text).to_ascii_lowercase();
    match (ours, hypers) {
        // What can be no head is not waited for.
        (Read::Malformed, Read::Waits | Read::Closed) => true,
        // A body with two lengths is read, but nothing more on that connection.
        (Read::Answer { reusable: false, status, headers, body, whole }, Read::Answer { reusable: true, .. })
            if head.contains("transfer-encoding") && head.contains("content-length") =>
        {
            let (status, headers, body, whole) = (*status, headers.clone(), body.clone(), *whole);
            *hypers == Read::Answer { reusable: true, status, headers, body, whole }
        }
        (ours, hypers) => ours == hypers,
    }
}

/// Cuts bytes into pieces.
fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).filter(|piece| !piece.is_empty()).collect()
}

fn heads() -> impl Strategy<Value = String> {
    let status = prop::sample::select(vec![200_u16, 200, 201, 204, 304, 400, 429, 500, 101]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let odd = prop::sample::select(vec![
        "HTTP/1.1 200\r\n",
        "HTTP/2 200 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "SSH-2.0-x\r\n",
    ]);
    let line = prop_oneof![
        8 => (version, status).prop_map(|(version, status)| format!("{version} {status} Text\r\n")),
        1 => odd.prop_map(str::to_owned),
    ];
    let header = prop::sample::select(vec![
        "content-length: 0\r\n",
        "content-length: 5\r\n",
        "Content-Length: 2000\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: gzip, Chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "connection: close\r\n",
        "connection: Keep-Alive\r\n",
        "connection: x, close\r\n",
        "retry-after: 7\r\n",
        "x-a:\r\n",
        "x-a: \u{e9}\r\n",
        "x-a: 1\n",
        "X-a: 1\r\n folded\r\n",
        "x a: 1\r\n",
        ": 1\r\n",
    ]);
    let interim = prop::sample::select(vec![
        "",
        "",
        "",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early\r\nlink: x\r\n\r\n",
    ]);
    (interim, line, prop::collection::vec(header, 0..4))
        .prop_map(|(interim, line, headers)| format!("{interim}{line}{}\r\n", headers.concat()))
}

fn bodies() -> impl Strategy<Value = String> {
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hello and more",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n00\r\nx-t: 1\r\n\r\n",
        "5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\n0\n\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ]);
    prop_oneof![6 => body.prop_map(str::to_owned), 1 => Just("x".repeat(1_500))]
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    run(async {
        let (mut connection, mut far) = connection(1024);
        let head = "/a/b?c=d HTTP/1.1\r\nhost: api.example:8080\r\nx-a: 1\r\n";
        let sent = [
            (POST, &b"{}"[..], format!("POST {head}content-length: 2\r\n\r\n{{}}")),
            (POST, b"", format!("POST {head}content-length: 0\r\n\r\n")),
            (To { method: &Method::GET, ..POST }, b"", format!("GET {head}\r\n")),
        ];
        let mut written = 0;
        for (n, (to, body, expected)) in sent.into_iter().enumerate() {
            assert!(is_ready(&mut connection).await);
            assert_eq!(connection.is_used(), n > 0);
            connection.send(&mut request(body), to, ALL);
            far.write_all(OK).await.unwrap();
            let answer = answer(&mut connection).await.unwrap();
            assert_eq!((answer.status, &answer.body[..], answer.whole), (200, &b"ok"[..], true));
            let mut seen = vec![0; expected.len()];
            far.read_exact(&mut seen).await.unwrap();
            assert_eq!(String::from_utf8(seen).unwrap(), expected);
            written += u64::try_from(expected.len()).unwrap();
        }
        assert_eq!(connection.wire().written(), written);
        far.write_all(b"H").await.unwrap();
        assert!(!is_ready(&mut connection).await, "bytes that nobody asked for");
    });
}

#[test]
fn of_a_success_only_the_status_is_kept_unless_asked_for() {
    run(async {
        let (mut connection, mut far) = connection(1024);
        for (status, all, kept) in [(200, false, false), (200, true, true), (503, false, true)] {
            connection.send(&mut request(b"{}"), POST, Wanted { all, ..ALL });
            let text = format!("HTTP/1.1 {status} X\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nok");
            far.write_all(text.as_bytes()).await.unwrap();
            let answer = answer(&mut connection).await.unwrap();
            assert_eq!((answer.status, answer.whole), (status, true));
            assert_eq!((answer.headers.contains_key("retry-after"), !answer.body.is_empty()), (kept, kept));
            assert!(is_ready(&mut connection).await);
        }
    });
}

#[test]
fn an_answer_before_the_request_is_sent_whole_counts_but_ends_the_connection() {
    run(async {
        let (mut connection, mut far) = connection(256);
        connection.send(&mut request(&[b'x'; 4_000]), POST, ALL);
        far.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut connection).await.unwrap().status, 413);
        assert!(!is_ready(&mut connection).await);
    });
}

#[test]
fn what_they_said_before_they_closed_is_read() {
    run(async {
        let (mut connection, mut far) = connection(256);
        far.write_all(b"HTTP/1.1 503 Busy\r\nconnection: close\r\n\r\nlater").await.unwrap();
        drop(far);
        connection.send(&mut request(&[b'x'; 4_000]), POST, ALL);
        let answer = answer(&mut connection).await.unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.whole), (503, &b"later"[..], true));
        assert!(!is_ready(&mut connection).await);
    });
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_seen_before_it_is_used() {
    run(async {
        let (mut connection, far) = connection(256);
        assert!(is_ready(&mut connection).await);
        drop(far);
        assert!(!is_ready(&mut connection).await);
    });
}

#[test]
fn the_head_of_an_answer_ends_somewhere() {
    run(async {
        let (mut connection, mut far) = connection(1 << 20);
        connection.send(&mut request(b"{}"), POST, ALL);
        far.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        for n in 0..90 {
            far.write_all(format!("x-{n}: {}\r\n", "y".repeat(1_000)).as_bytes()).await.unwrap();
        }
        let error = answer(&mut connection).await.unwrap_err();
        assert!(matches!(error, Error::Malformed(Malformed::Long)), "{error}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Where we and hyper differ, it is named in [`agree`], and we are the stricter one.
    #[test]
    fn answers_are_read_as_hyper_reads_them(
        head in heads(),
        body in bodies(),
        cuts in prop::collection::vec(0usize..4_000, 0..4),
        lost in prop_oneof![3 => Just(0usize), 1 => 1usize..60],
        closes in any::<bool>(),
    ) {
        let mut text = (head + &body).into_bytes();
        text.truncate(text.len().saturating_sub(lost));
        let says = pieces(&text, &cuts);
        let (mine, theirs) = run(async {
            let mine = or_waits(ours(says.clone(), closes)).await;
            (mine, or_waits(hypers(says, closes)).await)
        });
        prop_assert!(agree(&mine, &theirs, &text), "ours {mine:?}\nhyper {theirs:?}");
    }

    #[test]
    fn how_an_answer_is_cut_into_pieces_makes_no_difference(
        head in heads(),
        body in bodies(),
        cuts in prop::collection::vec(0usize..4_000, 0..9),
    ) {
        let text = (head + &body).into_bytes();
        let (whole, cut) = run(async { (ours(vec![text.clone()], true).await, ours(pieces(&text, &cuts), true).await) });
        prop_assert_eq!(whole, cut);
    }
}
