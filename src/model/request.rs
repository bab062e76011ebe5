//! `Request`: what a target sends, rendered, before authentication is added.

use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// An HTTP request without host and credentials. Path, query and headers are encoded and safe to put on the wire.
#[derive(Clone, Default)]
pub struct Request {
    /// Encoded path, beginning with `/`: the path of the connection's url, then the endpoint.
    pub path: String,
    /// Encoded query, without `?`; items are joined by `&`. Empty if there is none.
    pub query: String,
    /// Headers; names in lower case, each once.
    pub headers: SmallVec<[(Cow<'static, str>, String); 8]>,
    /// Body; empty is no body.
    pub body: Bytes,
}

/// Secrets may stand in it revealed, so that its content is not told.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        let body = self.body.len();
        f.debug_struct("Request").field("headers", &headers).field("body_bytes", &body).finish_non_exhaustive()
    }
}

impl Request {
    /// Path and query as they stand in the request line.
    #[must_use]
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header, replacing one of that name; `name` in lower case.
    pub fn set_header(&mut self, name: impl Into<Cow<'static, str>>, value: String) {
        let name = name.into();
        match self.headers.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name, value)),
        }
    }

    /// Appends an encoded query item such as `a=b`.
    pub fn push_query(&mut self, item: &str) {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(item);
    }
}
