//! What records become: a table per mode, and the promise that nothing panics.

use super::{Error, Options, decode, decode_noting};
use crate::json::document::{Document, Value};
use crate::json::tape::Tape;
use crate::model::event::{CloudEvent, Content, Form};
use crate::model::record::{Position, Record};
use crate::model::resources::PayloadDecode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use std::sync::Arc;

type Header<'a> = (&'a str, Option<&'a [u8]>);

fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> Record {
    let position = Position { topic: Arc::from("shop.orders"), partition: 3, offset: 17 };
    Record::new(position, Some(1_709_164_800_001), key, value, headers.iter().copied())
}

fn wanting(payload: PayloadDecode) -> Options {
    Options { strict: false, payload }
}

const STRUCTURED: &[Header<'static>] = &[("content-type", Some(b"application/cloudevents+json"))];

fn structured(json: &str) -> Result<CloudEvent, Error> {
    decode(record(None, Some(json.as_bytes()), STRUCTURED), &Options::default()).map_err(|(_, error)| error)
}

fn binary(headers: &[Header<'_>], value: Option<&[u8]>) -> Result<CloudEvent, Error> {
    decode(record(None, value, headers), &Options::default()).map_err(|(_, error)| error)
}

/// The document as JSON text, members in order: what patterns see.
fn seen(event: &CloudEvent) -> String {
    let document = Document::of(event);
    let members = document.members().iter().map(|member| {
        let value = match member.value {
            Value::Json(json) => json.text().to_owned(),
            Value::Text(text) => serde_json::to_string(text).unwrap(),
            Value::Base64(bytes) => format!("\"{}\"", BASE64_STANDARD.encode(bytes)),
        };
        format!("{}:{value}", serde_json::to_string(&member.name).unwrap())
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

const REQUIRED: &str = r#""specversion":"1.0","id":"A-1","source":"/shop","type":"order.paid""#;

fn event_json(more: &str) -> String {
    format!("{{{REQUIRED}{more}}}")
}

#[test]
fn structured_events_are_read_as_they_stand() {
    let cases = [
        ("", ""),
        // JSON types, spelling and order survive, that of the payload too.
        (
            r#","data":{"b":1.10,"a":1e400},"priority":3,"vip":true"#,
            r#","data":{"b":1.10,"a":1e400},"priority":3,"vip":true"#,
        ),
        (r#","n":null,"x":"1","data":1,"n":"2","data":[2],"y":3"#, r#","n":"2","x":"1","data":[2],"y":3"#),
        (r#","n":null,"data":1,"x":"1""#, r#","data":1,"x":"1""#),
        (
            r#","data":null,"x":"1","data_base64":"aGk=","datacontenttype":"text/plain","y":2"#,
            r#","x":"1","data":"hi","datacontenttype":"text/plain","y":2"#,
        ),
        (r#","subject":null,"x":"1","x":null"#, ""),
        (r#","x":"1","y":2,"x":"3""#, r#","x":"3","y":2"#),
        (r#","data":null"#, r#","data":null"#),
        (r#","data":"{\"a\":1}""#, r#","data":"{\"a\":1}""#),
        (r#","data_base64":null"#, ""),
        (r#","data_base64":"AAEC/w==""#, r#","data_base64":"AAEC/w==""#),
        (r#","data_base64":"AAEC/w""#, r#","data_base64":"AAEC/w==""#),
        (
            r#","datacontenttype":"application/json","data_base64":"eyJhIjogMX0=""#,
            r#","datacontenttype":"application/json","data":{"a": 1}"#,
        ),
        (
            r#","datacontenttype":"text/plain; charset=utf-8","data_base64":"aGVsbG8=""#,
            r#","datacontenttype":"text/plain; charset=utf-8","data":"hello""#,
        ),
        (r#","data":null,"data_base64":"aGVsbG8=""#, r#","data_base64":"aGVsbG8=""#),
        (r#","meta":{"a":[1]}"#, r#","meta":{"a":[1]}"#),
    ];
    for (more, expected) in cases {
        let event = structured(&event_json(more)).unwrap_or_else(|e| panic!("{more}: {e}"));
        assert_eq!(seen(&event), event_json(expected), "{more}");
        assert_eq!((event.id(), event.source(), event.kind()), ("A-1", "/shop", "order.paid"));
        assert_eq!(event.form(), Form::Structured);
        assert!(!event.data_invalid(), "{more}");
    }
}

#[test]
fn escapes_in_names_and_identity_are_decoded() {
    let event = structured(r#" { "\u0069d":"a\nb","source":"\/s","type":"t","specversion":"1\u002e0" } "#).unwrap();
    assert_eq!((event.id(), event.source(), event.kind()), ("a\nb", "/s", "t"));
    assert_eq!(event.member("id"), Some(Content::Json(r#""a\nb""#)));
}

#[test]
fn bytes_that_claim_json_and_are_not_stay_and_are_marked() {
    let broken = BASE64_STANDARD.encode("{broken");
    let event =
        structured(&event_json(&format!(r#","datacontenttype":"application/x+json","data_base64":"{broken}""#)))
            .unwrap();
    assert!(event.data_invalid());
    assert_eq!(event.member("data"), Some(Content::Text("{broken")));

    let headers = [&BINARY[..], &[("content-type", Some(&b"text/JSON"[..]))]].concat();
    let event = binary(&headers, Some(b"\xff")).unwrap();
    assert!(event.data_invalid());
    assert_eq!(event.member("data_base64"), Some(Content::Base64(b"\xff")));
    assert!(event.member("data").is_none());
}

const BINARY: [Header<'static>; 4] = [
    ("ce_specversion", Some(b"1.0")),
    ("ce_id", Some(b"A-1")),
    ("ce_source", Some(b"/shop")),
    ("ce_type", Some(b"order.paid")),
];

#[test]
fn binary_payloads_by_content_type() {
    type Case<'a> = (Option<&'a str>, Option<&'a [u8]>, &'a str);
    let cases: [Case<'_>; 13] = [
        (None, None, ""),
        (None, Some(b"hi"), r#","data_base64":"aGk=""#),
        (None, Some(b""), r#","data_base64":"""#),
        (Some("application/json"), None, ""),
        (Some("application/json"), Some(b" {\"b\":1.10} "), r#","data":{"b":1.10}"#),
        (Some("Application/Vnd.Shop+JSON; charset=utf-8"), Some(b"5"), r#","data":5"#),
        (Some("text/plain"), Some(b"5"), r#","data":"5""#),
        (Some("text/plain"), Some(b"\xff"), r#","data_base64":"/w==""#),
        (Some("application/soap+xml"), Some(b"<a/>"), r#","data":"<a/>""#),
        (Some("image/xml"), Some(b"<a/>"), r#","data":"<a/>""#),
        (Some("application/x-www-form-urlencoded"), Some(b"a=b"), r#","data":"a=b""#),
        (Some("application/octet-stream"), Some(b"{}"), r#","data_base64":"e30=""#),
        (Some("json"), Some(b"{}"), r#","data_base64":"e30=""#),
    ];
    for (content_type, value, expected) in cases {
        let mut headers = BINARY.to_vec();
        let mut attribute = String::new();
        if let Some(content_type) = content_type {
            headers.push(("Content-Type", Some(content_type.as_bytes())));
            attribute = format!(r#","datacontenttype":"{content_type}""#);
        }
        let event = binary(&headers, value).unwrap();
        assert_eq!(seen(&event), event_json(&format!("{attribute}{expected}")), "{content_type:?}");
        assert_eq!(event.form(), Form::Binary);
        assert!(!event.data_invalid());
    }
}

#[test]
fn binary_headers() {
    let mut headers = BINARY.to_vec();
    headers.extend([
        ("ce_priority", Some(&b"3"[..])),
        ("ce_gone", None),
        ("ce_subject", Some(b"50%25 \xc3\xa9")),
        ("ce_priority", Some(b"4")),
        ("ce_priority", None),
        ("traceparent", Some(b"00-1")),
        ("CE_Tenant", Some(b"acme")),
        ("\u{e9}\u{e9}", Some(b"x")),
    ]);
    let event = binary(&headers, None).unwrap();
    let expected = event_json(r#","priority":"4","subject":"50%25 é","tenant":"acme""#);
    assert_eq!(seen(&event), expected);
}

#[test]
fn nothing_of_the_payload_is_copied() {
    let text = event_json(r#","data":{"a":1}"#);
    let event = structured(&text).unwrap();
    let value = event.record.value().unwrap().as_ptr_range();
    let Some(Content::Json(data)) = event.member("data") else { panic!() };
    assert!(value.contains(&data.as_ptr()));

    let headers = [&BINARY[..], &[("content-type", Some(&b"text/plain"[..]))]].concat();
    let event = binary(&headers, Some(b"hello")).unwrap();
    let Some(Content::Text(data)) = event.member("data") else { panic!() };
    assert_eq!(data.as_ptr(), event.record.value().unwrap().as_ptr());
}

#[test]
fn what_is_no_event_is_wrapped() {
    type Case<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a str);
    let tail = r#""specversion":"1.0","id":"partition:3/offset:17","source":"/kafka/shop.orders","type":"tidegate.record","time":"2024-02-29T00:00:00.001Z""#;
    let cases: [Case<'_>; 6] = [
        (None, None, ""),
        (Some(b"k"), Some(b" [1] "), r#","partitionkey":"k","datacontenttype":"application/json","data":[1]"#),
        (Some(b"\xff"), Some(b"hi"), r#","partitionkey":"/w==","data_base64":"aGk=""#),
        (Some(b""), None, r#","partitionkey":"""#),
        (None, Some(b""), r#","data_base64":"""#),
        (None, Some(b"\"x\""), r#","datacontenttype":"application/json","data":"x""#),
    ];
    for (key, value, expected) in cases {
        let headers: [Header<'_>; 3] =
            [("content-type", Some(b"text/\xff")), ("content-type", None), ("ce-id", Some(b"http"))];
        let event = decode(record(key, value, &headers), &Options::default()).map_err(|(_, e)| e).unwrap();
        assert_eq!(seen(&event), format!("{{{tail}{expected}}}"));
        assert_eq!((event.id(), event.form()), ("partition:3/offset:17", Form::Wrapped));
    }
    let mut untimed = record(None, None, &[]);
    untimed.timestamp_ms = None;
    let event = decode(untimed, &Options::default()).map_err(|(_, e)| e).unwrap();
    assert!(event.member("time").is_none());
}

#[test]
fn payloads_that_are_wrapped_once_more() {
    use PayloadDecode::{Base64, Base64Json, Json};
    // e30= is {}, aGk= is hi.
    let cases = [
        (Json, "text/plain", "{\"a\":1}", "application/json", r#""data":{"a":1}"#, false),
        (Json, "application/json", "\"{\\\"a\\\":1}\"", "application/json", r#""data":{"a":1}"#, false),
        (Json, "application/json", "{\"a\":1}", "application/json", r#""data":{"a":1}"#, false),
        (Json, "application/octet-stream", "{}", "application/json", r#""data":{}"#, false),
        (Json, "text/plain", "{", "text/plain", r#""data":"{""#, true),
        (Base64, "application/json", "\"e30=\"", "application/json", r#""data":{}"#, false),
        (Base64, "text/plain", "aGk\n", "text/plain", r#""data":"hi""#, false),
        (Base64, "application/octet-stream", "aGk=", "application/octet-stream", r#""data_base64":"aGk=""#, false),
        (Base64, "text/plain", "?", "text/plain", r#""data":"?""#, true),
        (Base64, "application/json", "{}", "application/json", r#""data":{}"#, true),
        (Base64Json, "text/plain", "e30=", "application/json", r#""data":{}"#, false),
        (Base64Json, "text/plain", "aGk=", "text/plain", r#""data":"aGk=""#, true),
    ];
    for (wrapping, before, value, after, expected, invalid) in cases {
        let headers = [&BINARY[..], &[("content-type", Some(before.as_bytes()))]].concat();
        let event =
            decode(record(None, Some(value.as_bytes()), &headers), &wanting(wrapping)).map_err(|(_, e)| e).unwrap();
        let expected = event_json(&format!(r#","datacontenttype":"{after}",{expected}"#));
        assert_eq!(seen(&event), expected, "{wrapping:?} {value}");
        assert_eq!(event.data_invalid(), invalid, "{wrapping:?} {value}");
    }
    // A structured event's own base64 counts as the base64 around the payload.
    for wrapping in [Json, Base64Json] {
        let value = event_json(r#","data_base64":"e30=""#);
        let event =
            decode(record(None, Some(value.as_bytes()), STRUCTURED), &wanting(wrapping)).map_err(|(_, e)| e).unwrap();
        assert_eq!(event.member("data"), Some(Content::Json("{}")));
    }
    let event = decode(record(None, Some(b"e30="), &[]), &wanting(Base64)).map_err(|(_, e)| e).unwrap();
    assert_eq!(event.member("data"), Some(Content::Json("{}")));
    assert_eq!(event.member("datacontenttype"), Some(Content::Text("application/json")));
}

#[test]
fn earlier_duplicates_are_kept_apart() {
    let read = |more: &str, options: &Options| {
        decode(record(None, Some(event_json(more).as_bytes()), STRUCTURED), options).map_err(|(_, error)| error)
    };
    let cases = [
        ("", vec![]),
        (
            r#","subject":"a","data":[1],"subject":null,"data":{"x":1},"\u0073ubject":"b","data":2"#,
            vec![
                ("subject", Content::Json("\"a\"")),
                ("data", Content::Json("[1]")),
                ("data", Content::Json("{\"x\":1}")),
            ],
        ),
        // What is absent at last was there before.
        (r#","subject":"a","subject":null"#, vec![("subject", Content::Json("\"a\""))]),
        (r#","data":null,"data":1"#, vec![("data", Content::Json("null"))]),
        // Each is read like the one that counts; what is no base64 is no payload.
        (
            r#","datacontenttype":"application/json","data_base64":"e30=","data_base64":"?","data_base64":"MQ==""#,
            vec![("data", Content::Json("{}"))],
        ),
        (r#","data_base64":"AAE=","data_base64":"""#, vec![("data_base64", Content::Base64(b"\0\x01"))]),
    ];
    for (more, expected) in cases {
        let event = read(more, &Options::default()).unwrap();
        assert_eq!(event.replaced().collect::<Vec<_>>(), expected, "{more}");
    }
    let event = read(r#","data":"[1]","data":"[2]""#, &wanting(PayloadDecode::Json)).unwrap();
    assert_eq!(event.replaced().collect::<Vec<_>>(), [("data", Content::Json("[1]"))]);
    let many = ",\"x\":1".repeat(1_000);
    assert_eq!(structured(&event_json(&many)).unwrap_err().code(), "DECODE_ATTRIBUTE_COUNT");
}

#[test]
fn a_payload_keeps_the_space_around_its_json_apart() {
    let headers = [&BINARY[..], &[("content-type", Some(&b"application/json"[..]))]].concat();
    let event = binary(&headers, Some(b" {\"a\": 1}\n")).unwrap();
    assert_eq!(event.member("data"), Some(Content::Json("{\"a\": 1}")));
    assert_eq!(event.spaced_payload(), Some(&b" {\"a\": 1}\n"[..]));
    assert_eq!(binary(&headers, Some(b"{\"a\": 1}")).unwrap().spaced_payload(), None);
    let base64 = BASE64_STANDARD.encode("\t[1] ");
    let event = structured(&event_json(&format!(r#","datacontenttype":"a/b+json","data_base64":"{base64}""#))).unwrap();
    assert_eq!(event.member("data"), Some(Content::Json("[1]")));
    assert_eq!(event.spaced_payload(), Some(&b"\t[1] "[..]));
    // Around `data` in a structured event it belongs to the event.
    assert_eq!(structured(&event_json(r#","data" : [1] "#)).unwrap().spaced_payload(), None);
}

#[test]
fn refusals_of_structured_events() {
    let without = |name: &str| REQUIRED.split(',').filter(|m| !m.contains(name)).collect::<Vec<_>>().join(",");
    let cases = [
        ("{\"a\":", "DECODE_JSON", "byte 5"),
        ("", "DECODE_JSON", "byte 0"),
        ("3", "DECODE_JSON", "a number"),
        ("[]", "DECODE_BATCH", "one record per event"),
        ("{}", "DECODE_ATTRIBUTE_MISSING", "`specversion`"),
        (&format!("{{{}}}", without("\"id\"")), "DECODE_ATTRIBUTE_MISSING", "\"id\""),
        (&format!("{{{},\"id\":null}}", without("\"id\"")), "DECODE_ATTRIBUTE_MISSING", "\"id\""),
        (&format!("{{{}}}", without("source")), "DECODE_ATTRIBUTE_MISSING", "`source`"),
        (&format!("{{{}}}", without("type")), "DECODE_ATTRIBUTE_MISSING", "`type`"),
        (&format!("{{{},\"id\":\"\"}}", without("\"id\"")), "DECODE_ATTRIBUTE_EMPTY", "`id`"),
        (&format!("{{{},\"id\":7}}", without("\"id\"")), "DECODE_ATTRIBUTE_TYPE", "a number"),
        (&event_json(",\"datacontenttype\":[]"), "DECODE_ATTRIBUTE_TYPE", "an array"),
        (&event_json(",\"time\":17"), "DECODE_ATTRIBUTE_TYPE", "`time`"),
        (&format!("{{{},\"specversion\":\"0.3\"}}", without("specversion")), "DECODE_SPECVERSION", "\"0.3\""),
        (&format!("{{{},\"specversion\":1.0}}", without("specversion")), "DECODE_SPECVERSION", "is 1.0"),
        (&event_json(",\"data\":1,\"data_base64\":\"\""), "DECODE_DATA_TWICE", "one of them"),
        (&event_json(",\"data_base64\":\"?\""), "DECODE_BASE64", "RFC 4648"),
        (&event_json(",\"data_base64\":{}"), "DECODE_BASE64", "an object"),
    ];
    for (value, code, part) in cases {
        let error = structured(value).unwrap_err();
        assert_eq!(error.code(), code, "{value}: {error}");
        assert!(error.to_string().contains(part), "{value}: {error}");
    }
    let (_, error) = decode(record(None, Some(b"{\"\xff"), STRUCTURED), &Options::default()).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("byte 2")), ("DECODE_UTF8", true), "{error}");
    let (record, error) = decode(record(Some(b"k"), None, STRUCTURED), &Options::default()).unwrap_err();
    assert_eq!((error.code(), record.key()), ("DECODE_NULL_VALUE", Some(&b"k"[..])));
    let many: String = (0..1_000).map(|i| format!(",\"a{i}\":1")).collect();
    assert_eq!(structured(&event_json(&many)).unwrap_err().code(), "DECODE_ATTRIBUTE_COUNT");
}

#[test]
fn refusals_of_binary_events_and_modes() {
    for gone in 0..4 {
        let mut headers = BINARY.to_vec();
        let name = headers[gone].0;
        headers[gone].1 = None;
        let error = binary(&headers, None).unwrap_err();
        assert_eq!(error.code(), "DECODE_ATTRIBUTE_MISSING");
        assert!(error.to_string().contains(&format!("header `{name}`")), "{error}");
        headers.remove(gone);
        assert_eq!(binary(&headers, None).unwrap_err(), error);
    }
    let cases: [(Header<'_>, &str, &str); 8] = [
        (("ce_id", Some(b"")), "DECODE_ATTRIBUTE_EMPTY", "`id`"),
        (("ce_specversion", Some(b"0.3")), "DECODE_SPECVERSION", "\"0.3\""),
        (("ce_subject", Some(b"a\xff")), "DECODE_UTF8", "`ce_subject` is not UTF-8 at byte 1"),
        (("content-type", Some(b"\xff")), "DECODE_UTF8", "`content-type`"),
        (("ce_data", Some(b"x")), "DECODE_ATTRIBUTE_NAME", "`data`"),
        (("ce_data_base64", Some(b"x")), "DECODE_ATTRIBUTE_NAME", "`data_base64`"),
        (("content-type", Some(b"application/CloudEvents-batch+json; a=b")), "DECODE_BATCH", "one record per event"),
        (("content-type", Some(b"application/cloudevents+avro")), "DECODE_FORMAT", "cloudevents+json"),
    ];
    for (header, code, part) in cases {
        let error = binary(&[&BINARY[..], &[header]].concat(), None).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    // The content type decides over the headers.
    let both = [&BINARY[..], &[("Content-Type", Some(&b" Application/CloudEvents+JSON ; charset=UTF-8"[..]))]].concat();
    let event = binary(&both, Some(event_json(",\"x\":1").as_bytes())).unwrap();
    assert_eq!(event.form(), Form::Structured);

    let strict = Options { strict: true, ..Options::default() };
    for name in ["my_ext", "", "detail-type", "\u{e9}"] {
        let header = format!("ce_{name}");
        let headers = [&BINARY[..], &[(header.as_str(), Some(&b"x"[..]))]].concat();
        let value = event_json(&format!(",\"{name}\":\"x\""));
        for headers in [&headers, STRUCTURED] {
            let record = record(None, Some(value.as_bytes()), headers);
            let (_, error) = decode(record.clone(), &strict).unwrap_err();
            assert_eq!((error.code(), error.to_string().contains(name)), ("DECODE_ATTRIBUTE_NAME", true));
            let event = decode(record, &Options::default()).map_err(|(_, e)| e).unwrap();
            assert!(event.member(name).is_some());
        }
    }
    let (_, error) = decode(record(None, Some(b"{}"), &[]), &strict).unwrap_err();
    assert_eq!(error.code(), "DECODE_NOT_CLOUDEVENT");
    assert!(decode(record(None, None, &BINARY), &strict).is_ok());
}

proptest! {
    /// Whatever a record holds, it is an event or an error, and an event that is there can be read.
    #[test]
    fn never_panics(
        value in prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            r#"\{("(specversion|id|source|type|data|data_base64|x)":("1.0"|"a"|null|1|\[\]),?){0,6}\}"#.prop_map(String::into_bytes),
        ]),
        headers in prop::collection::vec(
            (
                prop_oneof![
                    "(ce_|CE_|content-type|c|)(id|source|type|specversion|subject|é)?",
                    Just("content-type".to_owned()),
                ],
                prop::option::of(prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..6),
                    Just(b"1.0".to_vec()),
                    "application/(cloudevents(-batch)?[+]json|json|x)".prop_map(String::into_bytes),
                ]),
            ),
            0..8,
        ),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..4)),
        wrapping in prop::sample::select(vec![
            PayloadDecode::None, PayloadDecode::Json, PayloadDecode::Base64, PayloadDecode::Base64Json,
        ]),
        strict: bool,
    ) {
        let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        match decode(record(key.as_deref(), value.as_deref(), &headers), &Options { strict, payload: wrapping }) {
            Ok(event) => {
                prop_assert!(!event.id().is_empty() && !event.source().is_empty() && !event.kind().is_empty());
                prop_assert!(serde_json::from_str::<serde_json::Value>(&seen(&event)).is_ok(), "{}", seen(&event));
            }
            Err((_, error)) => prop_assert!(error.code().starts_with("DECODE_") && error.to_string().len() < 400),
        }
    }

    /// Names that stand twice, nulls, escapes, white space and wrapped payloads: what is said to be on the tape is there.
    #[test]
    fn the_tape_has_the_values_of_members(
        members in prop::collection::vec(
            (
                "(data|data_base64|subject|datacontenttype|x|y|d\\\\u0061ta|\\\\u0078)",
                prop::sample::select(vec![
                    "null", "\"text/plain\"", "\"eA==\"", "\"a\\u00e9\"", "\"{\\\"a\\\":1}\"", "[1, {\"é\":2}]",
                    "{\"a\":1}", "17", " \"[ 3 ]\" ",
                ]),
            ),
            0..7,
        ),
        wrapping in prop::sample::select(vec![
            PayloadDecode::None, PayloadDecode::Json, PayloadDecode::Base64, PayloadDecode::Base64Json,
        ]),
    ) {
        let more: Vec<String> = members.iter().map(|(name, value)| format!(", \"{name}\" :{value}")).collect();
        let json = event_json(&more.concat());
        let mut tape = Tape::default();
        let record = record(Some(b"key"), Some(json.as_bytes()), STRUCTURED);
        if let Ok(event) = decode_noting(record, &wanting(wrapping), &mut tape) {
            let listed: Vec<_> = event.members().collect();
            let places: Vec<_> = event.places().collect();
            prop_assert_eq!(listed.len(), places.len());
            for ((name, content), place) in listed.iter().zip(&places) {
                prop_assert_eq!((name.as_bytes(), *content), (place.name(), place.content()));
                let noted = place.node().map(|node| tape.nodes()[node]);
                if let Some(node) = noted {
                    prop_assert_eq!(Content::Json(&json[node.start()..node.end()]), *content, "{}", json);
                }
                prop_assert!(noted.is_some() || !matches!(*name, "id" | "source" | "subject" | "x"), "{}", json);
            }
        }
    }
}
