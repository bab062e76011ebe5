//! Percent-encoding for queries, paths and `ce-` headers (transforms.md rule 48).

/// Appends form-urlencoded text: query and form, names and values.
pub(super) fn form(text: &str, out: &mut String) {
    encode(text, out, |b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'-' | b'.' | b'_'), Some('+'));
}

/// Appends text as one segment of a path, or a part of one.
pub(super) fn segment(text: &str, out: &mut String) {
    encode(text, out, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'), None);
}

/// Appends the value of a `ce-` header (CloudEvents HTTP binding 3.1.3.2).
pub(super) fn ce_header(text: &str, out: &mut String) {
    encode(text, out, |b| matches!(b, b'!'..=b'~') && !matches!(b, b'"' | b'%'), None);
}

fn encode(text: &str, out: &mut String, keep: impl Fn(u8) -> bool, space: Option<char>) {
    let mut kept_from = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| !keep(*byte)) {
        out.push_str(text.get(kept_from..at).unwrap_or_default());
        match space {
            Some(space) if byte == b' ' => out.push(space),
            _ => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
        kept_from = at + 1;
    }
    out.push_str(text.get(kept_from..).unwrap_or_default());
}

fn hex(digit: u8) -> char {
    char::from(if digit < 10 { b'0' + digit } else { b'A' - 10 + digit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decodes_to_the_same_and_is_safe(text in any::<String>()) {
            let (mut query, mut path, mut header) = (String::new(), String::new(), String::new());
            form(&text, &mut query);
            segment(&text, &mut path);
            ce_header(&text, &mut header);
            let decode = |s: &str| percent_encoding::percent_decode_str(s).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(&decode(&query.replace('+', " ")), &text);
            prop_assert_eq!(&decode(&path), &text);
            prop_assert_eq!(&decode(&header), &text);
            prop_assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"*-._%+".contains(&b)));
            prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert!(header.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
        }
    }
}
