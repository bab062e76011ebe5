//! What holds for every event.

use super::{Case, Refused, structured};
use crate::model::node::write_json_string;
use crate::model::request::Request;
use crate::model::text::Masked;
use proptest::prelude::*;
use serde_json::Value;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        nasty().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((nasty(), inner), 0..4)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Text that tries to be something else.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r#"[\\"${}$.a \n\t/%<>&=?#é\u{0}]{0,12}"#,
        Just("${$.id}".to_owned()),
        Just("$.id".to_owned()),
        Just("..".to_owned()),
    ]
}

fn send(case: &str, data: &Value) -> Result<Request, Refused> {
    let mut event = String::from("{\"id\":\"1\",\"data\":");
    event.push_str(&data.to_string());
    event.push('}');
    Case::of(case).render(&structured(&event), &Masked)
}

fn parsed(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The text form of rule 42.
fn text_form(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

proptest! {
    #[test]
    fn a_json_body_is_json_and_holds_the_very_values(data in json()) {
        let sent = send(r#"{"body":{"json":{"v":"$.data","t":"<${$.data}>","l":["$.data","${$.zz ?? omit}"]}}}"#, &data).unwrap();
        let expected = serde_json::json!({"v": data, "t": format!("<{}>", text_form(&data)), "l": [data]});
        prop_assert_eq!(parsed(&sent), expected);
    }

    #[test]
    fn a_template_cannot_be_broken_out_of(data in json()) {
        let case = r#"{"body":{"template":"{\"v\":${d},\"t\":\"<${d}>\",\"k${d}\":1}","values":{"d":"$.data"}}}"#;
        let sent = send(case, &data).unwrap();
        let text = text_form(&data);
        let expected = serde_json::json!({"v": data, "t": format!("<{text}>"), format!("k{text}"): 1});
        prop_assert_eq!(parsed(&sent), expected);
    }

    #[test]
    fn an_edit_keeps_the_rest(data in json(), more in nasty()) {
        let event = serde_json::json!({"a": data, "b": more});
        let sent = send(r#"{"body":{"edit":{"insert":{"$.data.c":"$.data.a"},"delete":["$.data.b"]}}}"#, &event).unwrap();
        prop_assert_eq!(parsed(&sent), serde_json::json!({"id": "1", "data": {"a": data, "c": data}}));
    }

    #[test]
    fn inserted_text_is_never_interpreted(text in nasty()) {
        let data = Value::from(text.clone());
        let sent = send(r#"{"content_type":"text/plain","body":{"template":"a${d}b","values":{"d":"$.data"}}}"#, &data);
        prop_assert_eq!(sent.unwrap().body, format!("a{text}b"));
        let sent = send(r#"{"body":"a${$.data}b"}"#, &data);
        prop_assert_eq!(sent.unwrap().body, format!("a{text}b"));
    }

    #[test]
    fn a_constant_is_sent_byte_for_byte(text in nasty()) {
        let mut case = String::from("{\"body\":{\"constant\":");
        write_json_string(&text, &mut case);
        case.push_str("}}");
        prop_assert_eq!(send(&case, &Value::Null).unwrap().body, text);
    }

    #[test]
    fn a_path_keeps_its_segments(text in nasty()) {
        let data = Value::from(text.clone());
        match send(r#"{"body":"x","endpoint":"/a/{x}/b","path":{"x":"$.data"}}"#, &data) {
            Ok(request) => {
                let segments: Vec<&str> = request.path.split('/').collect();
                prop_assert_eq!(segments.len(), 4, "{}", request.path);
                let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
                prop_assert_eq!(&*decoded, &text);
                prop_assert!(!matches!(segments[2], "" | "." | ".."));
            }
            Err(refused) => prop_assert!(matches!(&*text, "" | "." | ".."), "{refused:?}"),
        }
    }

    #[test]
    fn a_header_and_a_query_cannot_be_split(text in nasty()) {
        let data = Value::from(text.clone());
        match send(r#"{"body":"x","headers":{"x-a":"$.data"}}"#, &data) {
            Ok(request) => prop_assert_eq!(request.headers.get("x-a"), Some(&*text)),
            Err(_) => prop_assert!(!text.is_ascii() || text.chars().any(|c| c.is_control() && c != '\t')),
        }
        let request = send(r#"{"body":"x","query":{"a":"$.data","b":"1"}}"#, &data).unwrap();
        let items: Vec<&str> = request.query.split('&').collect();
        prop_assert_eq!(items.len(), 2);
        let value = items[0].strip_prefix("a=").unwrap().replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&value).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(decoded, text);
    }
}
