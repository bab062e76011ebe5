//! Content: the body of an answer as it was meant, its content coding undone, and its beginning for people.

use super::attempt::ANSWER_BYTES;
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;
use std::io::Read;

/// Characters of an excerpt, in bytes.
const EXCERPT_BYTES: usize = 1024;
/// Codings that are undone one after the other; more are a prank.
const CODINGS: usize = 4;

/// A body without its content coding.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// It is all of it.
    pub(super) whole: bool,
}

impl Content {
    /// Nothing of it is wanted.
    pub(super) const fn none() -> Self {
        Self { bytes: Bytes::new(), whole: false }
    }
}

/// Undoes `Content-Encoding`, which some servers use though nobody asked for it, up to 64 KiB. What cannot be undone
/// stays as it is.
pub(super) fn decode(headers: &HeaderMap, body: &Bytes, whole: bool) -> Content {
    let mut content = Content { bytes: body.clone(), whole };
    let fields = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings: Vec<&str> = fields.flat_map(|field| field.split(',')).map(str::trim).collect();
    // The last one was applied last.
    for coding in codings.iter().rev().take(CODINGS) {
        let bytes = &content.bytes[..];
        let undone = match coding.to_ascii_lowercase().as_str() {
            "identity" | "" => continue,
            "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(bytes)),
            // Meant is zlib (RFC 9110, 8.4.1.2); some send it bare.
            "deflate" => inflate(ZlibDecoder::new(bytes)).or_else(|| inflate(DeflateDecoder::new(bytes))),
            _ => None,
        };
        let Some((bytes, ended)) = undone else { break };
        content = Content { bytes, whole: content.whole && ended };
    }
    content
}

/// What comes out, as far as it is kept, and whether that is all; `None` if nothing does.
fn inflate(decoder: impl Read) -> Option<(Bytes, bool)> {
    let mut out = Vec::new();
    let limit = u64::try_from(ANSWER_BYTES).unwrap_or(u64::MAX);
    // What came out before an error is kept.
    let ended = decoder.take(limit + 1).read_to_end(&mut out).is_ok();
    let whole = ended && out.len() <= ANSWER_BYTES;
    out.truncate(ANSWER_BYTES);
    (ended || !out.is_empty()).then(|| (Bytes::from(out), whole))
}

/// The beginning of a body as text for people, at most 1 KiB; of a page in HTML, what one would read there.
pub(super) fn excerpt(headers: &HeaderMap, body: &[u8], redact: impl Fn(&str) -> String) -> String {
    let mut text = if is_html(headers) {
        // A secret may stand in the page as it is, or come about when marks within it are taken out.
        redact(&readable(&redact(&String::from_utf8_lossy(body))))
    } else {
        // Before it is cut, for half a secret is not found any more.
        redact(&String::from_utf8_lossy(body))
    };
    let end = (0..=EXCERPT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

fn is_html(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = essence.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"text/html") || essence.eq_ignore_ascii_case(b"application/xhtml+xml")
}

/// The text of a page: without tags, comments, scripts and styles; white space collapsed.
fn readable(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    loop {
        let (text, tag) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        for word in text.split_whitespace() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&plain(word));
        }
        if tag.is_empty() || out.len() > EXCERPT_BYTES * 2 {
            return out;
        }
        rest = after_tag(tag);
    }
}

/// What follows the tag that `text` begins with; of a script or style, what follows its end.
fn after_tag(text: &str) -> &str {
    let after = |end: &str| text.find(end).and_then(|at| text.get(at + end.len()..)).unwrap_or_default();
    if text.starts_with("<!--") {
        return after("-->");
    }
    for silent in ["script", "style"] {
        let name = text.get(1..=silent.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(silent) {
            let end = text.match_indices("</").find(|(at, _)| {
                let name = text.get(at + 2..at + 2 + silent.len()).unwrap_or_default();
                name.eq_ignore_ascii_case(silent)
            });
            return end
                .and_then(|(at, _)| text.get(at + 2..))
                .map_or("", |end| end.split_once('>').map_or("", |e| e.1));
        }
    }
    after(">")
}

/// A word with the commonest character references written out.
fn plain(word: &str) -> Cow<'_, str> {
    if !word.contains('&') {
        return Cow::Borrowed(word);
    }
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    Cow::Owned(named.iter().fold(word.to_owned(), |word, (name, meant)| word.replace(name, meant)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::header::HeaderValue;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap().into()
    }

    fn coded(codings: &[&'static str], body: &Bytes, whole: bool) -> (Bytes, bool) {
        let headers = codings.iter().map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        let content = decode(&map, body, whole);
        (content.bytes, content.whole)
    }

    #[test]
    fn codings_are_undone() {
        let text = Bytes::from_static(b"{\"ok\":true}");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(&text).unwrap();
        let all = (text.clone(), true);
        assert_eq!(coded(&["gzip"], &gzip(&text), true), all);
        assert_eq!(coded(&["X-GZip"], &gzip(&text), true), all);
        assert_eq!(coded(&["deflate"], &zlib.finish().unwrap().into(), true), all);
        assert_eq!(coded(&["deflate"], &bare.finish().unwrap().into(), true), all);
        assert_eq!(coded(&["gzip, gzip"], &gzip(&gzip(&text)), true), all);
        assert_eq!(coded(&["gzip", "identity"], &gzip(&text), true), all);
        assert_eq!(coded(&[], &text, true), all);
        // Not what they say it is, or nothing that we know.
        assert_eq!(coded(&["gzip"], &text, true), all);
        assert_eq!(coded(&["br"], &text, true), all);
        assert_eq!(coded(&["gzip"], &Bytes::new(), true), (Bytes::new(), true));
    }

    #[test]
    fn a_bomb_is_cut_and_a_cut_one_gives_its_beginning() {
        let bomb = gzip(&vec![b'x'; 50 << 20]);
        let (bytes, whole) = coded(&["gzip"], &bomb, true);
        assert_eq!((bytes.len(), whole), (ANSWER_BYTES, false));
        let (bytes, whole) = coded(&["gzip, gzip, gzip, gzip, gzip"], &gzip(&bomb), true);
        assert!(bytes.len() <= ANSWER_BYTES && !whole);
        let exact = gzip(&vec![b'y'; ANSWER_BYTES]);
        assert!(coded(&["gzip"], &exact, true).1);
        let random: Bytes = (0..4_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let compressed = gzip(&random);
        let (bytes, whole) = coded(&["gzip"], &compressed.slice(..compressed.len() / 2), false);
        assert!(!whole && bytes.len() > 1_000 && random.starts_with(&bytes));
    }

    #[test]
    fn a_page_is_shown_as_it_reads() {
        let page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title>\n<style>body { color: #fff; }</style>\n\
                    <!-- a <b>comment</b> --><SCRIPT type=x>if (a < b) { alert('</p>') }</Script></head>\n\
                    <body><h1>Bad&nbsp;Gateway</h1><p>upstream &lt;api&gt;\n timed&amp;out</p></body></html>";
        let html = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("Text/HTML; charset=utf-8"))]);
        let same = |text: &str| text.to_owned();
        let read = "502 Bad Gateway Bad Gateway upstream <api> timed&out";
        assert_eq!(excerpt(&html, page.as_bytes(), same), read);
        assert_eq!(excerpt(&html, b"no <b>page", same), "no page");
        assert_eq!(excerpt(&html, b"<style>never ends", same), "");
        assert_eq!(excerpt(&HeaderMap::new(), b"<b>", same), "<b>");
        let redact = |text: &str| text.replace("secret", "***");
        assert_eq!(
            excerpt(&html, b"<p title='secret'>the secret and sec<b></b>ret &amp;c", redact),
            "the *** and sec ret &c"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_grows(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            text in "[<>/a-cé!\\-&;# \n]{0,80}(<script|<style)?[</a-zé>!-]{0,80}",
            coding in prop::sample::select(vec!["gzip", "deflate", "br", "gzip, deflate"]),
        ) {
            let (bytes, _) = coded(&[coding], &Bytes::from(body.clone()), true);
            prop_assert!(bytes.len() <= ANSWER_BYTES);
            prop_assert_eq!(coded(&["gzip"], &gzip(&body), true), (Bytes::from(body), true));
            let html = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
            prop_assert!(excerpt(&html, text.as_bytes(), str::to_owned).len() <= EXCERPT_BYTES);
        }
    }
}
