//! Redaction: secrets in what others say become `***`, however they spell them.
//!
//! An API that quotes a request may quote it as a url, a form, JSON or HTML. So a text is searched as it stands and with
//! its escapes undone, and what is found is blanked out where it stands.

use secrecy::{ExposeSecret, SecretString};
use std::ops::Range;

/// Shorter texts, in bytes, are no secrets: they would blank out innocent words.
pub const SHORTEST: usize = 4;

/// `text` with each of `secrets` in it as `***`.
#[must_use]
pub fn redact<'s>(text: &str, secrets: impl IntoIterator<Item = &'s SecretString>) -> String {
    let unescaped = levels(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    for secret in secrets {
        let secret = secret.expose_secret();
        if secret.len() < SHORTEST {
            continue;
        }
        found.extend(text.match_indices(secret).map(|(at, _)| at..at + secret.len()));
        unescaped.iter().for_each(|level| level.find(secret.as_bytes(), &mut found));
    }
    blank(text, found)
}

/// `text` with these parts of it as `***`; those that overlap become one.
#[must_use]
pub fn blank(text: &str, mut parts: Vec<Range<usize>>) -> String {
    parts.sort_by_key(|part| part.start);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for part in parts {
        if part.end <= done {
            continue;
        }
        if part.start >= done {
            out.push_str(text.get(done..part.start).unwrap_or_default());
            out.push_str("***");
        }
        done = part.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// A text in a text in a text: escapes of escapes are undone so often.
const LEVELS: usize = 4;

/// The text with its escapes undone once, twice, and so on, as far as there are any.
fn levels(text: &str) -> Vec<Unescaped> {
    let mut levels: Vec<Unescaped> = Vec::new();
    if !text.contains(['%', '\\', '&', '+']) {
        return levels;
    }
    let places = (0..text.len()).map(|at| at..at + 1).collect();
    levels.push(Unescaped { bytes: text.as_bytes().to_vec(), places });
    for _ in 0..LEVELS {
        let Some(last) = levels.last() else { break };
        let next = last.unescaped();
        if next.bytes == last.bytes {
            break;
        }
        levels.push(next);
    }
    levels
}

/// A text with escapes of urls, JSON and HTML undone, each byte with the place it came from.
struct Unescaped {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Unescaped {
    fn unescaped(&self) -> Self {
        let mut out =
            Self { bytes: Vec::with_capacity(self.bytes.len()), places: Vec::with_capacity(self.bytes.len()) };
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (unescaped, length) = one(rest);
            let (first, last) = (self.places.get(at), self.places.get(at + length - 1));
            let (Some(first), Some(last)) = (first, last) else { break };
            let place = first.start..last.end;
            match unescaped {
                One::Byte(byte) => out.push(byte, place),
                One::Char(c) => {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer).bytes().for_each(|byte| out.push(byte, place.clone()));
                }
            }
            at += length;
        }
        out
    }

    fn push(&mut self, byte: u8, place: Range<usize>) {
        self.bytes.push(byte);
        self.places.push(place);
    }

    /// A plus may be a blank, as in forms.
    fn find(&self, secret: &[u8], found: &mut Vec<Range<usize>>) {
        let same = |(a, b): (&u8, &u8)| a == b || (*a == b'+' && *b == b' ');
        for (at, window) in self.bytes.windows(secret.len()).enumerate() {
            if window.iter().zip(secret).all(same)
                && let (Some(first), Some(last)) = (self.places.get(at), self.places.get(at + secret.len() - 1))
            {
                found.push(first.start..last.end);
            }
        }
    }
}

enum One {
    Byte(u8),
    Char(char),
}

/// What the text begins with, and how many bytes of it that takes.
fn one(text: &[u8]) -> (One, usize) {
    let first = text.first().copied().unwrap_or_default();
    let escape = match first {
        b'%' => number(text, 1, 2).and_then(|code| Some((One::Byte(u8::try_from(code).ok()?), 3))),
        b'\\' => backslash(text),
        b'&' => entity(text),
        _ => None,
    };
    escape.unwrap_or((One::Byte(first), 1))
}

/// The number that so many hexadecimal digits give.
fn number(text: &[u8], from: usize, digits: usize) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(from..from + digits)?).ok()?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn backslash(text: &[u8]) -> Option<(One, usize)> {
    let byte = match text.get(1)? {
        b'u' => return Some((One::Char(char::from_u32(number(text, 2, 4)?)?), 6)),
        b'x' => return Some((One::Char(char::from_u32(number(text, 2, 2)?)?), 4)),
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        byte @ (b'"' | b'\\' | b'/' | b'\'') => *byte,
        _ => return None,
    };
    Some((One::Byte(byte), 2))
}

fn entity(text: &[u8]) -> Option<(One, usize)> {
    let end = text.iter().take(10).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(text.get(1..end)?).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((One::Char(c), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        redact(text, &secrets)
    }

    #[test]
    fn every_spelling_is_found() {
        let secret = "s/e c+r\"é&<t";
        for quoted in [
            "s/e c+r\"é&<t",
            "s%2Fe+c%2Br%22%C3%A9%26%3Ct",
            "s%2fe%20c%2br%22%c3%a9%26%3ct",
            "s/e%20c+r%22%C3%A9&%3Ct",
            r#"s\/e c+r\"\u00e9&<t"#,
            r#"s/e c\u002Br\u0022é\u0026\u003ct"#,
            "s/e c+r&quot;é&amp;&lt;t",
            "s&#x2F;e c&#43;r&#34;&#233;&amp;&lt;t",
            r#"s\\\/e c+r\\\"é&<t"#,
            "s%252Fe%2520c%252Br%2522%25C3%25A9%2526%253Ct",
            r"s%5C%2Fe c+r%5C%22\\u00e9&amp;amp;&amp;lt;t",
        ] {
            assert_eq!(shown(&format!("a {quoted} %b"), &[secret]), "a *** %b", "{quoted}");
        }
    }

    #[test]
    fn what_overlaps_leaves_no_rest() {
        assert_eq!(shown("x abcdef y", &["abcd", "cdef", "bc"]), "x *** y");
        assert_eq!(shown("abcdabcd", &["abcd"]), "******");
        assert_eq!(shown("on and on", &["on", ""]), "on and on", "too short for a secret");
        assert_eq!(shown("100% &c \\q &#xzz; %é \\u12", &["none"]), "100% &c \\q &#xzz; %é \\u12");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_secret_remains(
            before in ".{0,20}", secret in "[a-z+%/ \\\\&é]{4,12}", after in ".{0,20}"
        ) {
            let out = shown(&format!("{before}{secret}{after}"), &[&secret]);
            prop_assert!(!out.contains(&secret) && out.contains("***"), "{}", out);
        }
    }
}
