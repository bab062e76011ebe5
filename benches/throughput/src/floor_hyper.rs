//! The second floor: librdkafka's consumer straight to hyper's client, a task for each connection on one thread.

use crate::{Arguments, tls};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Runs until it is killed.
pub(crate) fn run(arguments: &Arguments) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let consumer: StreamConsumer = crate::floor::consumer(arguments).create().expect("a consumer");
        consumer.subscribe(&[arguments.need("topic")]).expect("subscribed");
        let consumer = Rc::new(consumer);
        let mut tasks = Vec::new();
        for _ in 0..arguments.number("connections", 64) {
            let sender = connect(arguments.need("to"), arguments.get("ca")).await;
            tasks.push(tokio::task::spawn_local(carry(Rc::clone(&consumer), sender, arguments.need("to").to_owned())));
        }
        for task in tasks {
            task.await.expect("it runs until it is killed");
        }
    });
}

async fn connect(to: &str, ca: Option<&str>) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(to).await.expect("the receiver listens");
    socket.set_nodelay(true).expect("no delay");
    match ca {
        None => {
            let (sender, connection) = handshake(TokioIo::new(socket)).await.expect("a connection");
            tokio::task::spawn_local(connection);
            sender
        }
        Some(ca) => {
            let socket = tls::connector(ca).connect(tls::name(), socket).await.expect("a handshake");
            let (sender, connection) = handshake(TokioIo::new(socket)).await.expect("a connection");
            tokio::task::spawn_local(connection);
            sender
        }
    }
}

/// One request after the other.
async fn carry(consumer: Rc<StreamConsumer>, mut sender: SendRequest<Full<Bytes>>, host: String) {
    let host = header::HeaderValue::from_str(&host).expect("a host");
    loop {
        let body = match consumer.recv().await {
            Ok(event) => Bytes::copy_from_slice(event.payload().unwrap_or_default()),
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        let request = Request::post("/in")
            .header(header::HOST, host.clone())
            .header(header::CONTENT_TYPE, header::HeaderValue::from_static("application/cloudevents+json"))
            .body(Full::new(body))
            .expect("a request");
        sender.ready().await.expect("the receiver is there");
        let answer = sender.send_request(request).await.expect("an answer");
        assert!(answer.status().is_success(), "the receiver refuses");
        answer.into_body().collect().await.expect("a body");
    }
}
