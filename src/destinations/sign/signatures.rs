//! What signatures look like in a text that someone else wrote: SHA-256 has 32 bytes, Ed25519 has 64.

use std::ops::Range;

/// Base64 of 32 bytes without the padding; that of 64 bytes is longer.
const BASE64: usize = 43;
/// Hexadecimal of 32 bytes.
const HEX: usize = 64;

/// Runs of hexadecimal digits that are long enough.
pub(super) fn hexadecimal(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let end = std::iter::once((text.len(), '\n'));
    for (at, c) in text.char_indices().chain(end) {
        if !c.is_ascii_hexdigit() {
            if at - start >= HEX {
                found.push(start..at);
            }
            start = at + c.len_utf8();
        }
    }
    found
}

/// Runs of base64 that are long enough and padded, as it stands or as urls and JSON write it. What is that long but has no
/// padding is more likely a path.
pub(super) fn base64(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut digits, mut at) = (0, 0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(length) = digit(rest) {
            digits += 1;
            at += length;
            continue;
        }
        let before = at;
        while let Some(length) = text.get(at..).and_then(padding) {
            at += length;
        }
        if digits >= BASE64 && at > before {
            found.push(start..at);
        }
        if at == before {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        (start, digits) = (at, 0);
    }
    found
}

/// How many bytes the digit takes that the text begins with.
fn digit(text: &str) -> Option<usize> {
    if text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/')) {
        return Some(1);
    }
    begins(text, &["\\/", "%2B", "%2F", "%252B", "%252F", "\\u002B", "\\u002F", "&#43;", "&#47;", "&#x2B;", "&#x2F;"])
}

/// How many bytes the padding takes that the text begins with.
fn padding(text: &str) -> Option<usize> {
    begins(text, &["=", "%3D", "%253D", "\\u003D", "&#61;", "&#x3D;"])
}

fn begins(text: &str, spellings: &[&str]) -> Option<usize> {
    let fits = |spelled: &&&str| text.get(..spelled.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(spelled));
    spellings.iter().find(fits).map(|spelled| spelled.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::redact::blank;

    #[test]
    fn signatures_are_known_by_their_looks() {
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let shown = |text: &str| blank(text, hexadecimal(text));
        assert_eq!(shown(&format!("sha256={hex}, é{}", hex.to_uppercase())), "sha256=***, é***");
        assert_eq!(shown(&hex[1..]), hex[1..]);

        let shown = |text: &str| blank(text, base64(text));
        let one = "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEP+c=";
        let spelled = [
            one.to_owned(),
            one.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D"),
            one.replace('/', "\\/").replace('=', "\\u003d"),
            one.replace('/', "%252F").replace('+', "%252B").replace('=', "%253D"),
        ];
        for one in spelled {
            assert_eq!(shown(&format!("{{\"sig\":\"v1,{one} v1a,{one}\"}} é")), "{\"sig\":\"v1,*** v1a,***\"} é");
        }
        let path = "https://docs.example/errors/what/to/do/when/the/signature/is/wrong?a=b";
        assert_eq!(shown(path), path);
    }
}
