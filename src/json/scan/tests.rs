//! The scanner against `serde_json`, and at every edge.

use super::*;
use crate::json::tape::Tape;
use crate::json::value::Json;
use proptest::prelude::*;

#[test]
fn says_what_is_wrong_and_where() {
    let cases: [(&[u8], usize, ErrorKind); 12] = [
        (b"", 0, ErrorKind::UnexpectedEnd),
        (b"{\"a\":1", 6, ErrorKind::UnexpectedEnd),
        (b"{a:1}", 1, ErrorKind::Unexpected("a key in quotes")),
        (b"[1,]", 3, ErrorKind::Unexpected("a value")),
        (b"[1 2]", 3, ErrorKind::Unexpected("`,` or `]`")),
        (b"01", 0, ErrorKind::Number),
        (b"[1.]", 1, ErrorKind::Number),
        (b"\"\\x\"", 1, ErrorKind::Escape),
        (b"\"a\nb\"", 2, ErrorKind::Escape),
        (b"\"\\ud800\"", 1, ErrorKind::Surrogate),
        (b"\"\xff\"", 1, ErrorKind::Utf8),
        (b"1 1", 2, ErrorKind::Trailing),
    ];
    for (text, offset, kind) in cases {
        assert_eq!(check(text), Err(Error { offset, kind }), "{}", text.escape_ascii());
    }
}

#[test]
fn depth_is_bounded_without_recursion() {
    let deep = "[".repeat(100_000);
    assert!(matches!(check(deep.as_bytes()), Err(Error { kind: ErrorKind::TooDeep, .. })));
    let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(check(fits.as_bytes()).is_ok());
}

/// Text made of pieces of JSON, so that about every tenth is valid.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\"",
        "\"a\"",
        "\"a\":",
        "\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\n",
        "0",
        "-",
        "1",
        ".5",
        "e9",
        "true",
        "null",
        "fals",
        "é",
        "\u{1}",
        "[]",
        "{}",
        "{\"b\":[1,",
        "\"\\\"\"",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// What stands in a string, the offset of its fault in that, and the fault.
const FAULTS: [(&[u8], usize, ErrorKind); 9] = [
    (b"\x00", 0, ErrorKind::Escape),
    (b"\x1f", 0, ErrorKind::Escape),
    (b"\n", 0, ErrorKind::Escape),
    (b"\\x", 0, ErrorKind::Escape),
    (b"\\u12g4", 0, ErrorKind::Escape),
    (b"\\ud800\\u0041", 0, ErrorKind::Surrogate),
    (b"\\n\\udc00", 2, ErrorKind::Surrogate),
    (b"\xc3(", 0, ErrorKind::Utf8),
    (b"\xf0\x9f\x98", 0, ErrorKind::Utf8),
];

#[test]
fn a_fault_is_found_at_every_place_in_strings_of_every_length() {
    for len in 0..100 {
        for at in 0..=len {
            let string = |inner: &[u8]| [b"\"", &vec![b'a'; at][..], inner, &vec![b'~'; len - at], b"\""].concat();
            for fine in
                [&b""[..], b"\\\"", b"\\\\", b"\\ud83d\\ude00", b"\x7f", "\u{e9}".as_bytes(), "\u{1f600}".as_bytes()]
            {
                let text = string(fine);
                assert_eq!(check(&text).unwrap().as_bytes(), text);
                let text = [b"[", &text[..], b",", &text, b" ]"].concat();
                assert_eq!(check(&text).unwrap().as_bytes(), text);
                assert_eq!(skip_value(&text, 0), text.len());
                assert_eq!(skip_string(&text, 1), 1 + string(fine).len());
            }
            for (inner, offset, kind) in FAULTS {
                let text = [b" {\"k\" : ", &string(inner)[..], b"}"].concat();
                assert_eq!(check(&text), Err(Error { offset: 9 + at + offset, kind }), "{}", text.escape_ascii());
            }
            // The text ends before the string does.
            let text = string(b"");
            for end in 1..text.len() {
                assert_eq!(check(&text[..end]), Err(Error { offset: end, kind: ErrorKind::UnexpectedEnd }));
            }
        }
    }
}

#[test]
fn white_space_of_every_length_is_passed_over() {
    for len in 0..70 {
        for space in [" ", "\n", "\t", "\r", " \n"] {
            let space = space.repeat(len);
            let text = format!("{space}{{{space}\"a\"{space}:{space}[{space}1{space},{space}2{space}]{space}}}{space}");
            let value = check(text.as_bytes()).unwrap();
            assert_eq!(value, text.trim());
            assert_eq!(
                skip_value(text.as_bytes(), len * space.len().checked_div(len).unwrap_or(0)),
                space.len() + value.len()
            );
            let text = format!("[1{space}\u{b}]");
            let wanted = Error { offset: 2 + space.len(), kind: ErrorKind::Unexpected("`,` or `]`") };
            assert!(matches!(check(text.as_bytes()), Err(e) if e == wanted || space.is_empty()));
        }
    }
}

#[test]
fn every_depth_closes_as_it_opened() {
    for depth in [1, 2, 3, 63, 64, 65, 127, 128, 129, 511, 512] {
        // Objects where bit n of some number is set, so that words of the stack differ.
        let object = |n: usize| (n * 7 / 3).is_multiple_of(2);
        let open: String = (0..depth).map(|n| if object(n) { "{\"k\":" } else { "[" }).collect();
        let close: String = (0..depth).rev().map(|n| if object(n) { "}" } else { "]" }).collect();
        let text = format!("{open}0{close}");
        assert_eq!(check(text.as_bytes()), Ok(&*text));
        assert_eq!(skip_value(text.as_bytes(), 0), text.len());
        for wrong in 0..depth {
            let mut text = text.clone().into_bytes();
            let at = text.len() - 1 - wrong;
            text[at] ^= b']' ^ b'}';
            assert!(matches!(check(&text), Err(Error { offset, kind: ErrorKind::Unexpected(_) }) if offset == at));
        }
    }
    let deep = 1_000_000;
    let text = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(check_within(text.as_bytes(), deep), Ok(&*text));
    assert_eq!(skip_value(text.as_bytes(), 0), text.len());
    let offset = MAX_DEPTH;
    assert_eq!(check(text.as_bytes()), Err(Error { offset, kind: ErrorKind::TooDeep }));
    assert_eq!(check_within(b"[[]]", 1), Err(Error { offset: 1, kind: ErrorKind::TooDeep }));
    assert_eq!(check_within(b" {}", 0), Err(Error { offset: 1, kind: ErrorKind::TooDeep }));
    assert_eq!(Tape::default().check(text.as_bytes()), Err(Error { offset, kind: ErrorKind::TooDeep }));
    let text = format!("{{\"a\":{text}}}");
    assert_eq!(Tape::default().check(text.as_bytes()), Err(Error { offset: offset + 4, kind: ErrorKind::TooDeep }));
}

#[test]
fn huge_texts_take_linear_time() {
    const LEN: usize = 10 << 20;
    for unit in ["a", "\\\\", "\\\"", "\\ud83d\\ude00", "\u{1f600}", "{[", "]}"] {
        let text = format!("[\"{}\",1e999999]", unit.repeat(LEN / unit.len()));
        assert_eq!(check(text.as_bytes()), Ok(&*text));
        assert_eq!(skip_value(text.as_bytes(), 0), text.len());
        let unclosed = &text.as_bytes()[..text.len() - 12];
        assert!(check(unclosed).is_err());
        assert_eq!(skip_value(unclosed, 0), unclosed.len());
    }
    for number in ["9".repeat(LEN), format!("0.{}e-{}", "0".repeat(LEN / 2), "9".repeat(LEN / 2))] {
        assert_eq!(check(number.as_bytes()), Ok(&*number));
    }
}

/// A whole value, in any spelling.
pub(in crate::json) fn value() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\n      ", "\t", "\r\n                        "]);
    let text = "(.|[a-z]{15}|\\PC{4}|[{}\\[\\],:\"\\\\]){0,8}".prop_map(|text| serde_json::to_string(&text).unwrap());
    let number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,6})?";
    let word = prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned);
    let leaf = prop_oneof![text.clone(), number, word];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let entry = (space(), text.clone(), space(), inner, space())
            .prop_map(|(a, key, b, value, c)| format!("{a}{key}{b}:{value}{c}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(entry, 0..6).prop_map(|entries| format!("{{{}}}", entries.join(","))),
        ]
    })
}

/// Whether `serde_json` takes it. A number beyond f64 is valid JSON all the same, and so the value must be skipped, not
/// read; but skipping, it does not look at surrogates.
fn valid(text: &[u8]) -> bool {
    match serde_json::from_slice::<serde_json::Value>(text) {
        Ok(_) => true,
        Err(e) if e.to_string().contains("out of range") => {
            serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok() && std::str::from_utf8(text).is_ok()
        }
        Err(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whole_values_pass_and_end_where_they_end(value in value(), follows in "[ ,\\]}]{0,3}.{0,70}") {
        prop_assert_eq!(check(value.as_bytes()), Ok(value.as_str()));
        let longer = format!("{value}{}{follows}", if value.ends_with(|c: char| c.is_ascii_alphanumeric()) { "," } else { "" });
        prop_assert_eq!(skip_value(longer.as_bytes(), 0), value.len());
    }

    #[test]
    fn broken_values_are_refused(value in value(), at in any::<prop::sample::Index>(), change in 0..3, byte in any::<u8>(),
        common in prop::sample::select(b"{}[],:\"\\ \n0e-.tu".to_vec()), pick in any::<bool>()) {
        let mut text = value.into_bytes();
        let at = at.index(text.len());
        let byte = if pick { common } else { byte };
        match change {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => { text.remove(at); }
        }
        let ours = check(&text);
        prop_assert_eq!(ours.is_ok(), valid(&text), "{}", text.escape_ascii());
        let mut tape = Tape::default();
        prop_assert_eq!(tape.check(&text).map(Json::text), ours, "{}", text.escape_ascii());
        prop_assert_eq!(tape.nodes().is_empty(), ours.is_err());
        if let Ok(value) = ours {
            prop_assert_eq!(skip_value(value.as_bytes(), 0), value.len());
        }
    }

    #[test]
    fn agrees_with_serde_json(text in pieces()) {
        let ours = check(text.as_bytes()).is_ok();
        let theirs = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => true,
            // A number beyond f64 is valid JSON all the same.
            Err(e) => e.to_string().contains("out of range"),
        };
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn skipping_ends_where_checking_ends(text in pieces()) {
        if let Ok(value) = check(text.as_bytes()) {
            prop_assert_eq!(skip_value(value.as_bytes(), 0), value.len());
        }
    }
}
