//! As much of HTTP/1.1 as the receiver and the floor need: where a head ends, and how long the body is.

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Body {
    /// Bytes.
    Length(usize),
    /// It ends with an empty chunk.
    Chunked,
}

/// The head of a message.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Head {
    /// Where the body begins.
    pub(crate) end: usize,
    pub(crate) body: Body,
}

/// The head at the beginning of `bytes`, if it is there whole.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let mut body = Body::Length(0);
    let mut begin = 0;
    loop {
        let end = begin + memchr::memchr(b'\n', &bytes[begin..])?;
        let line = &bytes[begin..end];
        match line.first() {
            None | Some(b'\r') => return Some(Head { end: end + 1, body }),
            Some(b'c' | b'C') => {
                if let Some(value) = after(line, b"content-length:") {
                    body = Body::Length(std::str::from_utf8(value).ok()?.trim().parse().ok()?);
                }
            }
            Some(b't' | b'T') => {
                if after(line, b"transfer-encoding:").is_some() {
                    body = Body::Chunked;
                }
            }
            Some(_) => {}
        }
        begin = end + 1;
    }
}

fn after<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_an_empty_line_and_say_how_long_the_body_is() {
        let of = |text: &str| head(text.as_bytes()).map(|head| (head.end, head.body));
        assert_eq!(of("POST / HTTP/1.1\r\nhost: x\r\n"), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\nab"), Some((19, Body::Length(0))));
        assert_eq!(of("POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n"), Some((39, Body::Length(12))));
        assert_eq!(of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Some((47, Body::Chunked)));
    }
}
