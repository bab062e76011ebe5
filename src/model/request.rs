//! `Request`: what a target sends, rendered; authentication is added to it last.

use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt;

/// An HTTP request without method and host. Path, query and headers are encoded and safe to put on the wire.
///
/// One that has been sent is cleared and filled again, so that its buffers are allocated once, not for each event.
#[derive(Clone, Default)]
pub struct Request {
    /// Encoded path, beginning with `/`: the path of the connection's url, then the endpoint.
    pub path: String,
    /// Encoded query, without `?`; items are joined by `&`. Empty if there is none.
    pub query: String,
    /// Headers.
    pub headers: Headers,
    /// Body; empty is no body.
    pub body: Bytes,
}

/// Headers as they stand in HTTP/1.1, `name: value` and CR LF one after the other (RFC 9112, section 5), so that they are
/// sent as they are. Names are in lower case, each stands once.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    lines: SmallVec<[Line; 12]>,
}

/// Headers that are not changed any more, in as much memory as they take: each of thousands of targets has some.
pub struct FixedHeaders {
    text: Box<str>,
    lines: Box<[Line]>,
}

impl From<Headers> for FixedHeaders {
    fn from(headers: Headers) -> Self {
        Self { text: headers.text.into_boxed_str(), lines: headers.lines.into_boxed_slice() }
    }
}

/// Where a header stands in the text.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    name: usize,
    end: usize,
}

const BETWEEN: &str = ": ";
const END: &str = "\r\n";

/// Secrets may stand in it revealed, so that its content is not told.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Names only, for the same reason.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for FixedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl FixedHeaders {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| self.text.get(line.start..line.name).unwrap_or_default())
    }
}

impl Request {
    /// Path and query as they stand in the request line.
    #[must_use]
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Appends encoded query items such as `a=b` or `a=b&c=d`.
    pub fn push_query(&mut self, items: &str) {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(items);
    }

    /// Empties it; the memory is kept.
    pub fn clear(&mut self) {
        self.path.clear();
        self.query.clear();
        self.headers.clear();
        self.body = Bytes::new();
    }
}

impl Headers {
    /// Sets a header, replacing one of that name; `name` in lower case.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        let start = self.text.len();
        for part in [name, BETWEEN, value, END] {
            self.text.push_str(part);
        }
        self.lines.push(Line { start, name: start + name.len(), end: self.text.len() });
    }

    /// Sets all of these, replacing those of their names.
    pub fn set_all(&mut self, others: &FixedHeaders) {
        others.names().for_each(|name| self.remove(name));
        let offset = self.text.len();
        self.text.push_str(&others.text);
        let moved = |line: &Line| Line { start: line.start + offset, name: line.name + offset, end: line.end + offset };
        self.lines.extend(others.lines.iter().map(moved));
    }

    /// The value of a header; `name` in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Names and values, in the order they were set.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        self.lines.iter().map(|line| {
            let name = self.text.get(line.start..line.name).unwrap_or_default();
            let value = self.text.get(line.name + BETWEEN.len()..line.end - END.len()).unwrap_or_default();
            (name, value)
        })
    }

    /// All of them as they are sent.
    #[must_use]
    pub fn as_lines(&self) -> &str {
        &self.text
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.text.len() - self.lines.len() * (BETWEEN.len() + END.len())
    }

    /// Removes all; the memory is kept.
    pub fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn remove(&mut self, name: &str) {
        // Most names differ in their lengths already.
        let same =
            |line: &Line| line.name - line.start == name.len() && self.text.get(line.start..line.name) == Some(name);
        let Some(at) = self.lines.iter().position(same) else { return };
        let gone = self.lines.remove(at);
        self.text.replace_range(gone.start..gone.end, "");
        let bytes = gone.end - gone.start;
        for line in self.lines.iter_mut().skip(at) {
            *line = Line { start: line.start - bytes, name: line.name - bytes, end: line.end - bytes };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_tells_names_but_no_values() {
        let mut request = Request::default();
        request.headers.set("authorization", "Bearer abc");
        assert_eq!(format!("{request:?}"), "Request { headers: [\"authorization\"], body_bytes: 0, .. }");
    }

    proptest! {
        #[test]
        fn headers_are_a_map_in_the_order_of_the_last_setting(
            sets in prop::collection::vec(("[a-e]{1,2}", "[ -~]{0,9}"), 0..20),
            split in 0usize..20,
        ) {
            let mut model: Vec<(String, String)> = Vec::new();
            let set = |model: &mut Vec<(String, String)>, (name, value): &(String, String)| {
                model.retain(|(other, _)| other != name);
                model.push((name.clone(), value.clone()));
            };
            let (first, second) = sets.split_at(split.min(sets.len()));
            let (mut headers, mut others, mut theirs) = (Headers::default(), Headers::default(), Vec::new());
            for pair in first {
                headers.set(&pair.0, &pair.1);
                set(&mut model, pair);
            }
            for pair in second {
                others.set(&pair.0, &pair.1);
                set(&mut theirs, pair);
            }
            headers.set_all(&others.into());
            theirs.iter().for_each(|pair| set(&mut model, pair));
            let found: Vec<(String, String)> =
                headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(&found, &model);
            let lines: String = model.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            prop_assert_eq!(headers.as_lines(), lines);
            prop_assert_eq!(headers.len_bytes(), model.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>());
            for (name, value) in &model {
                prop_assert_eq!(headers.get(name), Some(value.as_str()));
            }
        }
    }
}
