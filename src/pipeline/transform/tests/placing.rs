//! Headers, query and path; merging; secrets (rules 48 to 50, 55).

use super::super::error::Error;
use super::super::headers;
use super::{Case, Refused, show, structured};
use crate::model::text::{Masked, ShowText, Text};
use secrecy::ExposeSecret as _;

/// A case with an empty body, shown without its content type.
fn placed(rest: &str) -> String {
    let shown = show(&format!(r#"{{"body":{{"constant":""}},{rest}}}"#));
    shown.strip_prefix("text/plain; charset=utf-8 ").map_or(shown.clone(), |shown| shown.trim_end().to_owned())
}

#[test]
fn headers() {
    let cases = [
        (
            r#"{"X-A":"$.data.n","x-b":true,"X-C":"v ${$.data.tags} ${$.data.nil}"}"#,
            "x-a=1.10 x-b=true x-c=v [\"x\",\"y\"] null /",
        ),
        (r#"{"X-A":"${$.zz ?? omit}","X-B":"${$.zz ?? 0}","X-C":"$$.id"}"#, "x-b=0 x-c=$.id /"),
        (r#"{"ce-x":"$.data['é']","ce-y":"a %${$.id}"}"#, "ce-x=%C3%A9 ce-y=a%20%257 /"),
        (r#"{"X-A":"a\tb","User-Agent":"u"}"#, "x-a=a\tb user-agent=u /"),
        (r#"{"X-A":"$.zz"}"#, "TRANSFORM_MISSING"),
        (r#"{"X-A":"$.data.nil"}"#, "TRANSFORM_TYPE"),
        (r#"{"X-A":"$.data.tags"}"#, "TRANSFORM_TYPE"),
        (r#"{"X-A":"$..s"}"#, "TRANSFORM_TYPE"),
        (r#"{"X-A":"$.data.lf"}"#, "TRANSFORM_HEADER"),
        (r#"{"X-A":"v${$.data.lf}"}"#, "TRANSFORM_HEADER"),
        (r#"{"ce-a":"$.data.lf"}"#, "TRANSFORM_HEADER"),
        (r#"{"X-A":"$.data['é']"}"#, "TRANSFORM_HEADER"),
        (
            r#"{"X-A":"a\nb","X-B":"é${$.id}","X-C":"${$.zz ?? \"\\n\"}","ce-a":"\u007f"}"#,
            "LOAD /headers/X-A /headers/X-B /headers/X-C /headers/ce-a",
        ),
        (
            r#"{"A":null,"B":[1],"C":{},"D":"${$.zz ?? null}","E":"${$.zz ?? [1]}"}"#,
            "LOAD /headers/A /headers/B /headers/C /headers/D /headers/E",
        ),
        (
            r#"{"HOST":"x","te":"x","Proxy-X":"x","Date":"x","X A":"x","":"x","é":"x","X-A":"x","x-a":"y"}"#,
            "LOAD /headers/HOST /headers/te /headers/Proxy-X /headers/Date /headers/X A /headers/ /headers/é /headers/x-a",
        ),
        ("[]", "LOAD /headers"),
    ];
    for (written, expected) in cases {
        assert_eq!(placed(&format!(r#""headers":{written}"#)), expected, "{written}");
    }
}

#[test]
fn headers_have_a_bound_together() {
    let with = |text: &str, headers: &str| {
        show(&format!(
            r#"{{"event":{{"specversion":"1.0","id":"7","source":"/s","type":"t","ext":"{text}"}},"headers":{headers},
                "body":{{"constant":""}}}}"#
        ))
    };
    let limit = headers::MAX_BYTES;
    // Names and values count: "x-a" and "x-bc" with twice the text.
    let fits = "v".repeat((limit - 7) / 2);
    let two = r#"{"X-A":"$.ext","X-BC":"$.ext"}"#;
    assert!(with(&fits, two).contains(&fits));
    assert_eq!(with(&format!("{fits}vv"), two), "TRANSFORM_LIMIT");
    // One is too long whatever the event.
    assert_eq!(with("", &format!(r#"{{"X-A":"{fits}","X-B":"{fits}vvv"}}"#)), "LOAD /headers");
    let error = Error::Headers { limit, name: "x-a".to_owned(), bytes: 40_000 };
    assert_eq!(error.to_string(), "the headers have more than 64 KiB together; the longest is `x-a`, 40000 bytes");
    assert_eq!(
        error.cure().expect("a cure"),
        "put long values into the body: few servers take more than 8 KiB of headers"
    );
}

#[test]
fn attributes_of_a_binary_request_count_as_headers() {
    let event = |ext: usize| {
        format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t","ext":"{}"}}"#, "é".repeat(ext))
    };
    let shown = |ext| show(&format!(r#"{{"event":{},"body":{{"original":"binary"}}}}"#, event(ext)));
    // Each is six bytes in a header: %C3%A9.
    assert!(shown(10_000).contains("%C3%A9"));
    assert_eq!(shown(11_000), "TRANSFORM_LIMIT");
}

#[test]
fn query() {
    let cases = [
        (
            r#""query":{"a b[]":"$.data.url","c":"${$.id} é","d":""}"#,
            "/?a+b%5B%5D=a+b%26c%3Dd%2Fe%3F%25%2B%7E*&c=7+%C3%A9&d=",
        ),
        (
            r#""query":{"k":["x","$.id",5,"${$.zz ?? omit}"],"t":"$.data.tags","e":"$.data.arr","l":[]}"#,
            "/?k=x&k=7&k=5&t=x&t=y",
        ),
        (
            r#""query":{"s":"$..s","d":"${$.zz ?? [\"a\",2]}","t":"t:${$.data.tags}"}"#,
            "/?s=A&s=B&d=a&d=2&t=t%3A%5B%22x%22%2C%22y%22%5D",
        ),
        (r#""query":{"a":"2"},"endpoint":"/p?a=1&x=%7e""#, "/p?a=1&x=%7e&a=2"),
        (r#""query":{"a":"$.data.items"}"#, "TRANSFORM_TYPE"),
        (r#""query":{"a":["$.data.tags"]}"#, "TRANSFORM_TYPE"),
        (
            r#""query":{"a":{"b":1},"c":[["x"],null,"$."],"d":"${$.zz ?? [null]}"}"#,
            "LOAD /query/a /query/c/0 /query/c/1 /query/c/2 /query/d",
        ),
    ];
    for (written, expected) in cases {
        assert_eq!(placed(written), expected, "{written}");
    }
}

#[test]
fn path() {
    let cases = [
        (r#""endpoint":"/v2/{org}/b/{id}","path":{"id":"$.id","org":"a/b"}"#, "/v2/a%2Fb/b/7"),
        (r#""endpoint":"{x}","base":"/api","path":{"x":"$.data.url"}"#, "/api/a%20b%26c%3Dd%2Fe%3F%25%2B~%2A"),
        (r#""endpoint":"/*/x/*","path":{"o":"acme","i":"$.id"}"#, "/acme/x/7"),
        (r#""endpoint":"/*/x/*","path":["acme","id-${$.id}"]"#, "/acme/x/id-7"),
        (r#""endpoint":"/a/{x}.{y}","path":{"x":"$.data.dot","y":"json"}"#, "/a/...json"),
        (r#""endpoint":"","base":"/api""#, "/api"),
        (r#""endpoint":"?a={b}""#, "/?a={b}"),
        (r#""endpoint":"/a/{x}/c","path":{"x":"$.data.dot"}"#, "TRANSFORM_PATH"),
        (r#""endpoint":"/a/{x}{x2}","path":{"x":".","x2":"."}"#, "TRANSFORM_PATH"),
        (r#""endpoint":"/a/%2e{x}","path":{"x":"."}"#, "TRANSFORM_PATH"),
        (r#""endpoint":"/a/{x}","path":{"x":"$.data.empty"}"#, "TRANSFORM_PATH"),
        (r#""endpoint":"/a/{x}","path":{"x":"$.data.nil"}"#, "TRANSFORM_TYPE"),
        (r#""endpoint":"/{x}/{y}","path":{"x":"1","z":"2"}"#, "LOAD /path /path"),
        (r#""endpoint":"/{x}""#, "LOAD "),
        (r#""endpoint":"/{x}/*","path":{"x":"1","y":"2"}"#, "LOAD /path"),
        (r#""endpoint":"/*","path":[]"#, "LOAD /path"),
        (r#""endpoint":"/{x}","path":["1"]"#, "LOAD /path"),
        (r#""endpoint":"/{x}","path":"1""#, "LOAD /path /path"),
        (r#""endpoint":"/{x}","path":{"x":"${$.id ?? omit}"}"#, "LOAD /path/x"),
        (r#""endpoint":"/{x}{x}","path":{"x":"1"}"#, "LOAD /path"),
        (r#""endpoint":"/{x""#, "LOAD "),
        (r#""endpoint":"/a b#c""#, "LOAD "),
    ];
    for (written, expected) in cases {
        assert_eq!(placed(written), expected, "{written}");
    }
}

#[test]
fn the_later_wins_and_the_first_error_counts() {
    let cases = [
        (
            r#""headers":{"X-T":"t","X-K":"t"},"destination":{"headers":{"x-d":"$.id","x-t":"$.zz"}},"connection":{"headers":{"x-k":"$$c"}}"#,
            "x-d=7 x-t=t x-k=$c /",
        ),
        (r#""headers":{"X-A":"${$.zz ?? omit}"},"destination":{"headers":{"x-a":"d"}}"#, "/"),
        (
            r#""query":{"b":"2","a":"$.id","k":["x","y"]},"destination":{"query":{"a":"$.zz","d":"0"}},"connection":{"query":{"k":"c"}}"#,
            "/?d=0&b=2&a=7&k=c",
        ),
        (r#""query":{"a":"$.zz"},"headers":{"A":"$.data.nil"}"#, "TRANSFORM_TYPE"),
        (r#""headers":{"A":"$.data.nil"},"destination":{"headers":{"B":"$.zz"}}"#, "TRANSFORM_MISSING"),
        (r#""endpoint":"/{x}","path":{"x":"."},"query":{"a":"$.zz"}"#, "TRANSFORM_MISSING"),
        // In the order written, not in that of the endpoint.
        (r#""endpoint":"/{x}/{y}.z/{z}","path":{"z":"3","y":"$.id","x":"1"}"#, "/1/7.z/3"),
        (r#""endpoint":"/{x}/{y}","path":{"y":"$.data.nil","x":"$.zz"}"#, "TRANSFORM_TYPE"),
        (r#""endpoint":"/{x}/{y}","path":{"y":"","x":"$.zz"}"#, "TRANSFORM_PATH"),
    ];
    for (written, expected) in cases {
        assert_eq!(placed(written), expected, "{written}");
    }
}

struct Reveal;

impl ShowText for Reveal {
    fn show<'a>(&self, text: &'a Text) -> &'a str {
        match text {
            Text::Plain(text) => text,
            Text::Secret(secret) => secret.expose_secret(),
        }
    }
}

#[test]
fn secrets_are_shown_by_the_caller_and_never_interpreted() {
    use crate::model::node::Kind;
    let secret = |case: &str, at: &[&str], text: &str| {
        let mut case = Case::of(case);
        let mut node = &mut case.node;
        for key in at {
            let Kind::Map(entries) = &mut node.kind else { panic!("no map") };
            node = entries.iter_mut().find(|(k, _)| k.name == *key).map(|(_, node)| node).unwrap();
        }
        node.kind = Kind::String(Text::Secret(text.to_owned().into()));
        case
    };
    let event = structured(super::EVENT);
    let case = secret(r#"{"body":{"json":{}},"connection":{"body":{"k":1}}}"#, &["connection", "body", "k"], "$.id\"");
    assert_eq!(case.render(&event, &Masked).unwrap().body, r#"{"k":"***"}"#);
    assert_eq!(case.render(&event, &Reveal).unwrap().body, r#"{"k":"$.id\""}"#);
    let case = secret(r#"{"body":"x","connection":{"headers":{"x-k":1}}}"#, &["connection", "headers", "x-k"], "${a}");
    assert_eq!(case.render(&event, &Masked).unwrap().headers.get("x-k"), Some("***"));
    assert_eq!(case.render(&event, &Reveal).unwrap().headers.get("x-k"), Some("${a}"));
    let case = secret(r#"{"body":"x","destination":{"query":{"k":1}}}"#, &["destination", "query", "k"], "a&b");
    assert_eq!(case.render(&event, &Reveal).unwrap().query, "k=a%26b");
    let case =
        secret(r#"{"body":"x","connection":{"headers":{"x-k":1}}}"#, &["connection", "headers", "x-k"], "line\n");
    let Err(Refused::Event(error)) = case.render(&event, &Reveal) else { panic!("sent") };
    assert_eq!(error.code(), "TRANSFORM_HEADER");
    assert!(!error.to_string().contains("line\n"), "{error}");
    assert!(!format!("{case:?}", case = case.compile()).contains("line"));
}
