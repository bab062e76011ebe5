//! Content types (transforms.md rule 58).

/// JSON without a CloudEvent around it.
pub(super) const JSON: &str = "application/json";
/// A structured CloudEvent.
pub(super) const CLOUDEVENT: &str = "application/cloudevents+json";
/// One JSON value per line.
pub(super) const LINES: &str = "application/x-ndjson";
/// Encoded like a query.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// Text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Whether a type has the subtype `json` or `*+json`.
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let subtype = subtype.as_bytes();
    let ends = |end: &[u8]| subtype.len().checked_sub(end.len()).and_then(|at| subtype.get(at..));
    subtype.eq_ignore_ascii_case(b"json") || ends(b"+json").is_some_and(|end| end.eq_ignore_ascii_case(b"+json"))
}

/// Whether a text looks like a media type, `type/subtype` and perhaps parameters.
pub(super) fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let parts = essence.split_once('/');
    parts.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'))
}

/// Whether a text is a token of HTTP (RFC 9110, 5.6.2), as names of headers must be.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        for json in ["application/json", "text/JSON; charset=utf-8", "application/vnd.api+Json ;v=1", "a/+json"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["json", "application/jsonp", "application/x-ndjson", "text/plain; x=application/json", ""] {
            assert!(!is_json(other), "{other}");
        }
        for none in ["", "text", "/x", "a/", "$.type", "a b/c", "text/plain\n", "text/plain; é"] {
            assert!(!is_media_type(none), "{none}");
        }
        assert!(is_media_type("application/vnd.api+json; charset=utf-8"));
    }
}
