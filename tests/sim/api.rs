//! The APIs: each answers as its plan says, and writes down what came. Requests arrive over streams in memory, so that
//! the program's own HTTP runs.

use crate::broker::{Broker, Link};
use crate::oracle::Heard;
use crate::plan::{Behaviour, Plan};
use crate::time;
use futures_util::future::LocalBoxFuture;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tidegate::destinations::dial::{Connect, Pipe};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

/// Bytes that lie in a stream at most.
const PIPE_BYTES: usize = 64 << 10;

/// A connection that is asked for.
pub(crate) struct Call {
    destination: usize,
    replica: u32,
    link: Arc<Link>,
    reply: oneshot::Sender<io::Result<DuplexStream>>,
}

/// The network of one replica.
pub(crate) struct Wires {
    pub(crate) replica: u32,
    pub(crate) link: Arc<Link>,
    pub(crate) calls: mpsc::UnboundedSender<Call>,
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wires").field("replica", &self.replica).finish_non_exhaustive()
    }
}

impl Connect for Wires {
    fn connect(&self, host: &str, _port: u16) -> LocalBoxFuture<'static, io::Result<Pipe>> {
        let destination = host.trim_start_matches('d').split('.').next().unwrap().parse().unwrap();
        let (reply, answer) = oneshot::channel();
        drop(self.calls.send(Call { destination, replica: self.replica, link: Arc::clone(&self.link), reply }));
        Box::pin(async move {
            let stream = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionReset.into()))?;
            let pipe: Pipe = Box::new(stream);
            Ok(pipe)
        })
    }
}

/// Whether requests may come that are no attempts, or end by age only.
pub(crate) fn may_not_count(behaviour: Behaviour) -> bool {
    match behaviour {
        Behaviour::Status(status) => status < 400 || [401, 403, 404, 410].contains(&status),
        Behaviour::CloseBefore | Behaviour::CloseAfter | Behaviour::CloseWithin | Behaviour::Garbage => true,
        Behaviour::Well(_) | Behaviour::Throttle(_) | Behaviour::Hang | Behaviour::Refuse | Behaviour::Flap => false,
    }
}

/// Answers calls until nobody can call any more.
pub(crate) async fn serve(plan: Arc<Plan>, broker: Broker, mut calls: mpsc::UnboundedReceiver<Call>) {
    while let Some(Call { destination, replica, link, reply }) = calls.recv().await {
        let (plan, broker) = (Arc::clone(&plan), broker.clone());
        tokio::task::spawn_local(async move {
            let latency = broker.state().rng.u64(0..5);
            time::sleep_ms(latency).await;
            if plan.behaviour(destination, time::ms()) == Behaviour::Refuse {
                broker.state().oracle.unnoticed(replica, destination);
                drop(reply.send(Err(io::ErrorKind::ConnectionRefused.into())));
                return;
            }
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            if reply.send(Ok(theirs)).is_ok() {
                // Whatever ends the connection, the other side sees, perhaps when it was about to send the next request.
                drop(talk(&plan, &broker, destination, (replica, &link), ours).await);
                broker.state().oracle.unnoticed(replica, destination);
            }
        });
    }
}

/// Reads requests and answers them.
async fn talk(
    plan: &Plan,
    broker: &Broker,
    d: usize,
    (replica, link): (u32, &Link),
    mut stream: DuplexStream,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let header = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let id = header("idempotency-key").unwrap();
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        let begun_ms = time::ms();
        let version = {
            let mut state = broker.state();
            state.oracle.requested(time::ns(), d, replica, &id);
            state.oracle.running.surely_of(time::ns(), replica)
        };
        while bytes.len() < head + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        bytes.drain(..head + length);
        let (chance, poison) = {
            let mut state = broker.state();
            (state.rng.bool(), state.oracle.is_poison(&id))
        };
        let behaviour = match plan.behaviour(d, time::ms()) {
            Behaviour::Flap => {
                if chance {
                    Behaviour::Well(10)
                } else {
                    Behaviour::Status(500)
                }
            }
            Behaviour::Well(after) if poison => {
                time::sleep_ms(after).await;
                Behaviour::Status(422)
            }
            other @ (Behaviour::Well(_)
            | Behaviour::Status(_)
            | Behaviour::Throttle(_)
            | Behaviour::Hang
            | Behaviour::CloseAfter
            | Behaviour::CloseBefore
            | Behaviour::CloseWithin
            | Behaviour::Refuse
            | Behaviour::Garbage) => other,
        };
        let arrived = |heard| broker.state().oracle.arrived(time::ns(), &id, heard);
        match behaviour {
            Behaviour::Well(after) => {
                time::sleep_ms(after).await;
                // Sometimes the connection ends with the answer, as it may at any time.
                let answered = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_ok();
                // Whoever stands still, or whose time is up just now, may not look at it any more.
                let limits = plan.versions.iter().map(|(_, version)| version.destinations[d].timeout_s);
                let late = time::ms() - begun_ms + 20 >= limits.min().unwrap() * 1_000;
                arrived(match (answered, late || link.frozen.load(Relaxed)) {
                    (true, false) => Heard::Yes,
                    (true, true) => Heard::Perhaps,
                    (false, _) => Heard::No,
                });
                if !answered || broker.state().rng.u8(0..16) == 0 {
                    return Ok(());
                }
            }
            Behaviour::Status(status) => {
                time::sleep_ms(5).await;
                let location = if status < 400 { "location: http://elsewhere.test/\r\n" } else { "" };
                let answer = format!("HTTP/1.1 {status} No\r\n{location}content-length: 2\r\n\r\nno");
                stream.write_all(answer.as_bytes()).await?;
                if status == 410 && !link.frozen.load(Relaxed) {
                    broker.state().oracle.heard_gone(time::ns(), replica, d, version);
                }
            }
            Behaviour::Throttle(wait) => {
                let wait = wait.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
                let answer = format!("HTTP/1.1 429 Slow\r\n{wait}content-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await?;
            }
            Behaviour::Hang => while stream.read_buf(&mut bytes).await? > 0 {},
            Behaviour::CloseAfter => {
                arrived(Heard::No);
                return Ok(());
            }
            Behaviour::CloseWithin => {
                arrived(Heard::No);
                return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
            }
            Behaviour::Garbage => return stream.write_all(b"no http at all\r\n\r\n").await,
            Behaviour::CloseBefore | Behaviour::Refuse | Behaviour::Flap => return Ok(()),
        }
    }
}
