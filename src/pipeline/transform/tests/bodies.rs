//! Forms of a body and their content types (rules 35 to 38, 44, 47, 49, 56 to 58).

use super::{Case, Refused, body, record, request, show};
use crate::model::event::{Builder, CloudEvent, Content, Form};
use crate::model::text::Masked;

#[test]
fn a_body_has_one_form() {
    let cases = [
        ("null", "LOAD /body"),
        ("[1]", "LOAD /body"),
        ("{}", "LOAD /body"),
        (r#"{"id":"$.id"}"#, "LOAD /body/id"),
        (r#"{"json":1,"constant":"x"}"#, "LOAD /body"),
        (r#"{"json":1,"values":{},"x":1}"#, "LOAD /body/values /body/x"),
        (r#"{"constant":5}"#, "LOAD /body/constant"),
        (r#"{"original":"raw"}"#, "LOAD /body/original"),
        (r#"{"lines":[]}"#, "LOAD /body/lines"),
        (r#"{"lines":["$.","$x"]}"#, "LOAD /body/lines/0 /body/lines/1"),
        (r#"{"form":["a"]}"#, "LOAD /body/form"),
        (r#"{"form":{"a":{"b":1},"c":null}}"#, "LOAD /body/form/a /body/form/c"),
        (r#"{"template":5}"#, "LOAD /body/template"),
        (r#"{"template":"1","raw":"yes","values":[]}"#, "LOAD /body/raw /body/values"),
        (r#"{"edit":[]}"#, "LOAD /body/edit"),
        (
            r#"{"edit":{"insrt":{},"insert":[],"delete":{}}}"#,
            "LOAD /body/edit/insrt /body/edit/insert /body/edit/delete",
        ),
    ];
    for (written, expected) in cases {
        assert_eq!(show(&format!(r#"{{"body":{written}}}"#)), expected, "{written}");
    }
}

#[test]
fn bodies_and_the_types_they_imply() {
    let cases = [
        (r#""$.data.user""#, r#"application/json / {"n":"Ann \"A\""}"#),
        (r#""$.data.big""#, "application/json / 12345678901234567890123"),
        (r#""$.data.empty""#, "application/json / "),
        (r#""$.id""#, "application/json / 7"),
        (r#""$.data.url""#, "TRANSFORM_FAILED"),
        (r#""${$.zz ?? \"none\"}""#, "TRANSFORM_FAILED"),
        ("1.50", "application/json / 1.50"),
        ("true", "application/json / true"),
        (r#""ok $$""#, "text/plain; charset=utf-8 / ok $"),
        (r#""{\"a\": 1}""#, r#"application/json / {"a": 1}"#),
        (r#""n=${$.data.n}""#, "text/plain; charset=utf-8 / n=1.10"),
        (r#"{"constant":"$.x ${y} $$"}"#, "text/plain; charset=utf-8 / $.x ${y} $$"),
        (r#"{"constant":" [1] "}"#, "application/json /  [1] "),
        (r#"{"json":null}"#, "application/json / null"),
        (r#"{"json":{"a\"b":"\u0001","n":1.10}}"#, "application/json / {\"a\\\"b\":\"\\u0001\",\"n\":1.10}"),
        (
            r#"{"lines":[{"a":"$.data.lf"},"${$.zz ?? omit}","$.data.tags"]}"#,
            "application/x-ndjson / {\"a\":\"a\\nb\"}\n[\"x\",\"y\"]\n",
        ),
        (
            r#"{"form":{"a b":"$.data.url","k":["x","$.id",2],"t":"$.data.tags","z":"${$.zz ?? omit}","e":[]}}"#,
            "application/x-www-form-urlencoded / a+b=a+b%26c%3Dd%2Fe%3F%25%2B%7E*&k=x&k=7&k=2&t=x&t=y",
        ),
        (r#"{"form":{"a":"$.data.nil"}}"#, "TRANSFORM_TYPE"),
        (r#"{"template":"{\"a\":${x}}","values":{"x":"$.id"}}"#, r#"application/json / {"a":"7"}"#),
    ];
    for (written, expected) in cases {
        assert_eq!(show(&format!(r#"{{"body":{written}}}"#)), expected, "{written}");
    }
}

#[test]
fn content_types_that_may_be_set() {
    let cases = [
        (r#""body":"original","content_type":"text/plain""#, "LOAD /content_type"),
        (r#""headers":{"Content-Type":"application/json"}"#, "LOAD /headers/Content-Type"),
        (r#""destination":{"headers":{"content-type":"application/json"}}"#, "LOAD /destination/headers/content-type"),
        (r#""body":{"json":1},"content_type":"application/hal+json""#, "application/hal+json / 1"),
        (r#""body":{"json":1},"content_type":"text/plain""#, "LOAD /content_type"),
        (r#""body":{"edit":{}},"content_type":"text/plain""#, "LOAD /content_type"),
        (r#""body":{"form":{}},"content_type":"text/plain""#, "LOAD /content_type"),
        (r#""body":{"lines":[1]},"content_type":"a/b""#, "a/b / 1\n"),
        (r#""body":"$.data.url","content_type":"text/csv""#, "text/csv / a b&c=d/e?%+~*"),
        (r#""body":"n=${$.id}","content_type":"a/b+json""#, "LOAD /content_type"),
        (r#""body":"x","content_type":"$.type""#, "LOAD /content_type"),
        (r#""body":"x","content_type":"json""#, "LOAD /content_type"),
        (r#""body":"x","content_type":"a/b","headers":{"content-type":"a/b"}"#, "LOAD /headers/content-type"),
        (r#""body":"x","headers":{"content-type":"a/b"},"destination":{"headers":{"Content-Type":"c/d"}}"#, "a/b / x"),
        (r#""body":"x","content_type":"a/b","connection":{"headers":{"content-type":"c/d"}}"#, "c/d / x"),
        (
            r#""body":{"template":"${a}","values":{"a":"$.data.url"}},"destination":{"headers":{"Content-Type":"a/b"}}"#,
            "a/b / a b&c=d/e?%+~*",
        ),
    ];
    for (written, expected) in cases {
        assert_eq!(show(&format!("{{{written}}}")), expected, "{written}");
    }
}

#[test]
fn a_structured_original_is_what_was_received() {
    let text = "{ \"id\" : \"1\",\"data\":{\"n\":1E+400, \"e\":\"\\u00e9\"}}";
    for form in ["", r#","body":"original""#, r#","body":{"original":"structured"}"#] {
        let case = format!(r#"{{"event":{text}{form}}}"#);
        assert_eq!(show(&case), format!("application/cloudevents+json / {text}"));
    }
}

/// A binary event with this payload.
fn binary(payload: &str, kind: &str, content: impl Fn(&str) -> (&'static str, Content<'_>)) -> CloudEvent {
    let record = record(payload);
    let mut builder = Builder::new(&record, Form::Binary, "7", "/s", "t");
    let attributes = [("id", "7"), ("tenant", "a \"é\""), ("specversion", "1.0"), ("type", "t"), ("source", "/s")];
    for (name, value) in attributes {
        builder.member(name, Content::Text(value));
    }
    builder.member("datacontenttype", Content::Text(kind));
    let value = std::str::from_utf8(record.value().unwrap()).unwrap();
    let (name, content) = content(value);
    builder.member(name, content);
    let parts = builder.finish();
    CloudEvent::new(record, parts)
}

#[test]
fn a_binary_original_is_written_in_either_mode() {
    let json = binary(" {\"n\": 1.10}", "application/json", |text| ("data", Content::Json(text.trim())));
    let text = binary("a\n\"b\"", "text/plain", |text| ("data", Content::Text(text)));
    let bytes = binary("\0\x01x", "image/png", |text| ("data_base64", Content::Base64(text.as_bytes())));
    let head = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","tenant":"a \"é\"","datacontenttype":"#;
    let cases = [
        (&json, r#""application/json","data":{"n": 1.10}}"#, "application/json", "{\"n\": 1.10}"),
        (&text, r#""text/plain","data":"a\n\"b\""}"#, "text/plain", "a\n\"b\""),
        (&bytes, r#""image/png","data_base64":"AAF4"}"#, "image/png", "\0\x01x"),
    ];
    for (event, tail, kind, payload) in cases {
        let structured = Case::of("{}").render(event, &Masked).unwrap();
        assert_eq!(structured.body, format!("{head}{tail}"));
        let sent =
            Case::of(r#"{"body":{"original":"binary"},"headers":{"ce-tenant":"x y"}}"#).render(event, &Masked).unwrap();
        assert_eq!(sent.body, payload);
        assert_eq!(sent.headers.get("content-type"), Some(kind));
        assert_eq!(sent.headers.get("ce-id"), Some("7"));
        assert_eq!(sent.headers.iter().filter(|(name, _)| *name == "ce-tenant").count(), 1);
        assert_eq!(sent.headers.get("ce-tenant"), Some("x%20y"));
        // The payload is shared, not copied.
        assert!(event.record.value().unwrap().as_ptr_range().contains(&sent.body.as_ptr()));
    }
}

#[test]
fn binary_mode_of_structured_events() {
    let binary = |members: &str| show(&format!(r#"{{"event":{{"id":"1",{members}}},"body":{{"original":"binary"}}}}"#));
    assert_eq!(binary(r#""n":3,"b":true,"data":{"a": 1}"#), r#"application/json ce-id=1 ce-n=3 ce-b=true / {"a": 1}"#);
    assert_eq!(binary(r#""data":"hi""#), r#"application/json ce-id=1 / "hi""#);
    assert_eq!(binary(r#""datacontenttype":"text/plain","data":"h\u00e9""#), "text/plain ce-id=1 / hé");
    assert_eq!(binary(r#""data_base64":"YWJj""#), "- ce-id=1 / abc");
    assert_eq!(binary(r#""data_base64":"?""#), "TRANSFORM_FAILED");
    assert_eq!(binary(r#""x":"é%""#), "- ce-id=1 ce-x=%C3%A9%25 / ");
    assert_eq!(binary(r#""x":"a\nb""#), "TRANSFORM_HEADER");
    assert_eq!(binary(r#""datacontenttype":"a\r\nb: c""#), "TRANSFORM_HEADER");
    assert_eq!(binary(r#""a b":"x""#), "TRANSFORM_HEADER");
    assert_eq!(binary(r#""x":[1]"#), "TRANSFORM_TYPE");
}

#[test]
fn edits_change_a_copy() {
    const DATA: &str = r#"{"a":1.10,"l":[1,2],"o":{"k":"v"}}"#;
    let cases = [
        (r#""insert":{"$.data.z":"$.id"}"#, r#"{"id":"7","data":{"a":1.10,"l":[1,2],"o":{"k":"v"},"z":"7"}}"#),
        (r#""insert":{"$.data.a":5,"$.x":1}"#, r#"{"id":"7","data":{"a":5,"l":[1,2],"o":{"k":"v"}},"x":1}"#),
        (
            r#""insert":{"$.data.l[2]":{"q":[]},"$.data.l[2].r":1,"$.data.l[2].q[0]":2}"#,
            r#"{"id":"7","data":{"a":1.10,"l":[1,2,{"q":[2],"r":1}],"o":{"k":"v"}}}"#,
        ),
        (
            r#""insert":{"$.data.b":"$.data.a"},"update":{"$.data.a":0,"$.data.l[-1]":"was ${$.data.o.k}"}"#,
            r#"{"id":"7","data":{"a":0,"l":[1,"was v"],"o":{"k":"v"},"b":1.10}}"#,
        ),
        (
            r#""delete":["$.data.o","$.data.l[0]","$.q.r","$.data.l[7]"],"insert":{"$.data.z":1}"#,
            r#"{"id":"7","data":{"a":1.10,"l":[2],"z":1}}"#,
        ),
        (r#""insert":{"$.q.b":"${$.zz ?? omit}"}"#, r#"{"id":"7","data":{"a":1.10,"l":[1,2],"o":{"k":"v"}}}"#),
        (r#""insert":{"$.q.b":1}"#, "TRANSFORM_EDIT"),
        (r#""insert":{"$.data.a.b":1}"#, "TRANSFORM_EDIT"),
        (r#""insert":{"$.data.l[3]":1}"#, "TRANSFORM_EDIT"),
        (r#""insert":{"$.data.l.x":1}"#, "TRANSFORM_EDIT"),
        (r#""insert":{"$.data.o[0]":1}"#, "TRANSFORM_EDIT"),
        (r#""update":{"$.data.q":1}"#, "TRANSFORM_EDIT"),
        (r#""insert":{"$.data.q":"$.zz"}"#, "TRANSFORM_MISSING"),
        (
            r#""insert":{"$":1,"$meta.rule":2},"update":{"x":1},"delete":["$..a",5]"#,
            "LOAD /body/edit/insert/$ /body/edit/insert/$meta.rule /body/edit/update/x /body/edit/delete/0 /body/edit/delete/1",
        ),
    ];
    for (edit, expected) in cases {
        let case = format!(r#"{{"event":{{"id":"7","data":{DATA}}},"body":{{"edit":{{{edit}}}}}}}"#);
        assert_eq!(body(&case), expected, "{edit}");
    }
    let untouched = r#"{"event":{ "id" : "7" , "data" : { "k":1, "n" : 1e400,"k":2 } },"body":{"edit":{}}}"#;
    assert_eq!(body(untouched), r#"{"id":"7","data":{"k":2,"n":1e400}}"#);
}

#[test]
fn the_connection_adds_to_objects_only() {
    let cases = [
        (r#"{"json":{"n":1,"a":"$.id"}}"#, r#"{"n":2,"a":"7","token":"$5"}"#),
        (r#"{"template":"{ \"a\": 1.0 }"}"#, r#"{"a":1.0,"n":2,"token":"$5"}"#),
        (r#"{"json":{}}"#, r#"{"n":2,"token":"$5"}"#),
        (r#""$.data.tags""#, "TRANSFORM_MERGE"),
        (r#""text""#, "TRANSFORM_MERGE"),
        (r#"{"form":{}}"#, "LOAD /connection/body"),
        (r#"{"lines":[{}]}"#, "LOAD /connection/body"),
    ];
    for (written, expected) in cases {
        let case = format!(r#"{{"body":{written},"connection":{{"body":{{"n":2,"token":"$5"}}}}}}"#);
        assert_eq!(body(&case), expected, "{written}");
    }
    let roots = r#"{"body":{"nope":1},"connection":{"body":{"a":{"b":"$.id"}},"query":{"q":"${$.id}"},"headers":{"h":"$meta"}}}"#;
    assert_eq!(show(roots), "LOAD /connection/headers/h /connection/query/q /connection/body/a/b /body/nope");
}

#[test]
fn a_body_that_is_no_json_says_where() {
    let Err(Refused::Event(error)) =
        request(r#"{"body":{"template":"{\"x\":${a}}","values":{"a":"$.type"},"raw":true}}"#)
    else {
        panic!("sent")
    };
    assert_eq!(error.to_string(), "the rendered body is not JSON: expected a value at byte 5");
    assert_eq!(error.code(), "TRANSFORM_FAILED");
}

#[test]
fn what_is_rendered_is_bounded() {
    let event =
        format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(8 << 20));
    let many = |piece: &str, separator: &str| [piece; 9].join(separator);
    let bodies = [
        format!(r#"{{"json":[{}]}}"#, many(r#""$.data""#, ",")),
        format!(r#"{{"json":[{}]}}"#, many(r#""${$.data ?? omit}""#, ",")),
        format!(r#"{{"form":{{"a":[{}]}}}}"#, many(r#""$.data""#, ",")),
        format!(
            r#"{{"edit":{{"insert":{{{}}}}}}}"#,
            (0..9).map(|i| format!(r#""$.a{i}":"$.data""#)).collect::<Vec<_>>().join(",")
        ),
    ];
    for written in bodies {
        let Err(refused) = request(&format!(r#"{{"event":{event},"body":{written}}}"#)) else {
            panic!("sent: {written}")
        };
        let Refused::Event(error) = refused else { panic!("not loaded: {written}") };
        assert_eq!(error.code(), "TRANSFORM_LIMIT", "{written}");
        assert_eq!(error.to_string(), "what is rendered is longer than 64 MiB");
    }
}
