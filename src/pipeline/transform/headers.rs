//! Headers: which win, what they may hold, how they are written (transforms.md rules 48 to 50).

use super::content_type::{is_media_type, is_token};
use super::encode;
use super::error::Error;
use super::faults::{Faults, Spot};
use super::scalar::{Allow, Scalar};
use super::scope::Scope;
use super::value::{Roots, Value};
use crate::json::path::Lookup;
use crate::model::node::{Key, Kind, Node};
use crate::model::request::{self, FixedHeaders, Request};
use std::borrow::Cow;
use std::mem;

/// Headers that belong to HTTP and to who sends it (rule 50).
const RESERVED: [&str; 10] =
    ["host", "content-length", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade", "via", "date"];

const CONTENT_TYPE: &str = "content-type";

/// Bytes that the names and values of a request's headers may have together. Apache and Tomcat take 8 KiB, Node and IIS
/// 16, nginx 32, the load balancers of the clouds 64; nobody is sent more than any of them would take.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// The headers of a target, merged; `content-type` is not among them.
#[derive(Debug, Default)]
pub(super) struct Headers {
    all: Vec<Header>,
    /// The same in runs, as they are written; the last run has the content type.
    runs: Vec<Run>,
}

/// Headers one after the other.
#[derive(Debug)]
enum Run {
    /// Written in advance, for they are the same for every event.
    Fixed(FixedHeaders),
    /// The header at that index.
    Rendered(usize),
}

impl Run {
    /// `None` if there are none.
    fn fixed(headers: request::Headers) -> Option<Self> {
        (!headers.as_lines().is_empty()).then(|| Self::Fixed(headers.into()))
    }
}

#[derive(Debug)]
struct Header {
    /// In lower case.
    name: String,
    value: HeaderValue,
}

#[derive(Debug)]
enum HeaderValue {
    /// Checked and encoded.
    Fixed(String),
    Rendered(Scalar),
}

/// A content type that somebody wrote.
#[derive(Debug)]
pub(super) struct WrittenType {
    pub(super) text: String,
    pub(super) at: Spot,
}

impl Headers {
    /// Adds a map of headers, which win over those that are there; gives its `Content-Type`.
    pub(super) fn add(
        &mut self,
        entries: &[(Key, Node)],
        roots: Roots,
        at: &Spot,
        faults: &mut Faults,
    ) -> Option<WrittenType> {
        let mut content_type = None;
        let mut seen: Vec<String> = Vec::new();
        for (key, node) in entries {
            let at = at.value(key, node);
            let name = key.name.to_ascii_lowercase();
            if !is_token(&name) {
                faults.value(&at, format!("`{}` is no name of a header", key.name.escape_debug()), "");
            } else if RESERVED.contains(&&*name) || name.starts_with("proxy-") {
                faults.value(
                    &at,
                    format!("header `{}` belongs to the connection and is set by Tidegate", key.name),
                    "leave it out",
                );
            } else if seen.contains(&name) {
                faults.value(&at, format!("header `{}` is written twice; case makes no difference", key.name), "");
            } else if name == "content-type" {
                content_type = literal_type(node, roots, &at, faults);
            } else if let Some(value) = compile(&name, node, roots, &at, faults) {
                self.all.retain(|header| header.name != name);
                self.all.push(Header { name: name.clone(), value });
            }
            seen.push(name);
        }
        content_type
    }

    /// Has the paths in them looked up together with all others, and writes what is fixed; `content_type` is, too.
    pub(super) fn bind(&mut self, content_type: Option<&str>, lookup: &mut Lookup) {
        let mut fixed = request::Headers::default();
        for (index, header) in self.all.iter_mut().enumerate() {
            match &mut header.value {
                HeaderValue::Fixed(text) => fixed.set(&header.name, text),
                HeaderValue::Rendered(scalar) => {
                    scalar.bind(lookup);
                    self.runs.extend(Run::fixed(mem::take(&mut fixed)).into_iter().chain([Run::Rendered(index)]));
                }
            }
        }
        if let Some(content_type) = content_type {
            fixed.set(CONTENT_TYPE, content_type);
        }
        self.runs.extend(Run::fixed(fixed));
        self.all.shrink_to_fit();
        self.runs.shrink_to_fit();
    }

    /// Whether a header of that name is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|header| header.name == name)
    }

    /// Headers that are too long whatever the event.
    pub(super) fn check(&self, at: &Spot, faults: &mut Faults) {
        let bytes = self.all.iter().map(|header| match &header.value {
            HeaderValue::Fixed(text) => header.name.len() + text.len(),
            HeaderValue::Rendered(_) => header.name.len(),
        });
        if bytes.sum::<usize>() > MAX_BYTES {
            let message = format!("the headers have more than {} KiB together", MAX_BYTES >> 10);
            faults.value(at, message, "put long values into the body");
        }
    }

    /// Writes the headers into a request, to those that the event itself gave it.
    pub(super) fn render(&self, scope: &Scope<'_>, request: &mut Request) -> Result<(), Error> {
        for run in &self.runs {
            match run {
                Run::Fixed(headers) => request.headers.set_all(headers),
                Run::Rendered(index) => {
                    let Some(Header { name, value: HeaderValue::Rendered(scalar) }) = self.all.get(*index) else {
                        continue;
                    };
                    scalar.each(scope, false, &|| format!("header `{name}`"), |text| {
                        request.headers.set(name, &checked(name, text)?);
                        limited(&request.headers)
                    })?;
                }
            }
        }
        limited(&request.headers)
    }
}

/// Refuses more than [`MAX_BYTES`]; the content type does not count.
fn limited(headers: &request::Headers) -> Result<(), Error> {
    let content_type = headers.get(CONTENT_TYPE).map_or(0, |value| CONTENT_TYPE.len() + value.len());
    if headers.len_bytes() - content_type <= MAX_BYTES {
        return Ok(());
    }
    let longest = headers.iter().max_by_key(|(_, value)| value.len());
    let (name, bytes) = longest.map_or(("", 0), |(name, value)| (name, value.len()));
    Err(Error::Headers { limit: MAX_BYTES, name: name.to_owned(), bytes })
}

/// A text as the value of a header.
pub(super) fn checked<'t>(name: &str, text: &'t str) -> Result<Cow<'t, str>, Error> {
    if let Some(what) = forbidden(name, text) {
        return Err(Error::Header { name: name.to_owned(), what });
    }
    Ok(encoded(name, text))
}

fn encoded<'t>(name: &str, text: &'t str) -> Cow<'t, str> {
    if !name.starts_with("ce-") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    encode::ce_header(text, &mut out);
    Cow::Owned(out)
}

fn forbidden(name: &str, text: &str) -> Option<&'static str> {
    if text.bytes().any(|b| matches!(b, 0..=8 | 10..=31 | 127)) {
        Some("a line end or another control character")
    } else if !text.is_ascii() && !name.starts_with("ce-") {
        Some("a character outside ASCII")
    } else {
        None
    }
}

fn compile(name: &str, node: &Node, roots: Roots, at: &Spot, faults: &mut Faults) -> Option<HeaderValue> {
    let allow = Allow { omit: true, list: false };
    let scalar = Scalar::compile(node, roots, allow, |text| forbidden(name, text), at, faults)?;
    Some(match scalar {
        Scalar::Fixed(text) => HeaderValue::Fixed(encoded(name, &text).into_owned()),
        Scalar::Secret(_) | Scalar::Expr(_) | Scalar::Text(_) => HeaderValue::Rendered(scalar),
    })
}

/// A content type must be fixed: what a body may be depends on it.
pub(super) fn literal_type(node: &Node, roots: Roots, at: &Spot, faults: &mut Faults) -> Option<WrittenType> {
    let value = match &node.kind {
        Kind::String(_) => Value::parse(node, roots, at, faults)?,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => Value::Null,
    };
    match value {
        Value::String(text) if is_media_type(&text) => Some(WrittenType { text, at: at.clone() }),
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Secret(_)
        | Value::Expr(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => {
            faults.value(at, "not a content type", "write it literally, e.g. application/json");
            None
        }
    }
}
