//! HTTP/1.1: one connection, one request at a time.
//!
//! It has no task of its own: whoever uses it drives it. An idle one is driven once more when it is taken out, which
//! shows whether the other side closed it meanwhile.

use super::stream::{Stream, Wire};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A connection and the machine that moves its bytes; large, so it lives in a box.
pub struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Stream, Full<Bytes>>,
    ended: bool,
    used: bool,
    wire: Rc<Wire>,
}

impl Http1 {
    pub(super) async fn open(stream: Stream, wire: Rc<Wire>) -> hyper::Result<Box<Self>> {
        // An answer with more headers than this is not one we can use.
        let (sender, driver) = http1::Builder::new().max_buf_size(64 * 1024).handshake(stream).await?;
        Ok(Box::new(Self { sender, driver, ended: false, used: false, wire }))
    }

    pub(super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.used = true;
        self.sender.send_request(request)
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("used", &self.used).field("ended", &self.ended).finish_non_exhaustive()
    }
}
