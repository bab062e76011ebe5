//! What people read when an event does not match, word for word.

use super::{Explanation, FailedField, Options, Pattern, compile};
use crate::json::document::Document;
use crate::json::value::Json;
use crate::model::resources::Dialect;

fn pattern(text: &str) -> Pattern {
    compile(text, &Options::default()).expect("valid").pattern
}

fn explain(pattern: &Pattern, event: &str) -> Explanation {
    pattern.explain(&Document::from_object(Json::check(event.as_bytes()).expect("JSON")).expect("an object"))
}

fn check(event: &str, cases: &[(&str, &str)]) {
    for (text, sentence) in cases {
        assert_eq!(explain(&pattern(text), event).sentence, *sentence, "{text}");
    }
}

#[test]
fn one_field_fails() {
    let event = r#"{"type":"order","n":"5","t":["a","b","c","d"],"o":{"x":1},"ok":true,"z":"a\u00a0b","none":null}"#;
    check(
        event,
        &[
            (r#"{"type":["order"]}"#, "the event matches"),
            (
                r#"{"type":["Order","x"]}"#,
                r#"`type` is "order"; the pattern wants "Order" or one other (case matters)"#,
            ),
            (r#"{"n":[5]}"#, r#"`n` is "5"; the pattern wants 5 (the value is a string, the pattern names none)"#),
            (r#"{"type":[" order"]}"#, r#"`type` is "order"; the pattern wants " order" (white space counts)"#),
            (
                r#"{"ok":["true"]}"#,
                r#"`ok` is true; the pattern wants "true" (a string never equals a number, true, false or null)"#,
            ),
            (
                r#"{"z":["a b"]}"#,
                "`z` is \"a\u{a0}b\"; the pattern wants \"a b\" (they differ in characters that cannot be seen)",
            ),
            (r#"{"o":[1]}"#, "`o` is an object or a list without values of its own; the pattern wants 1"),
            (r#"{"t":["x"]}"#, r#"`t` is "a", "b", "c", … (4 values); the pattern wants "x""#),
            (r#"{"none":[{"exists":false}]}"#, "`none` is null; the pattern wants it absent"),
            (
                r#"{"type":["ord*"]}"#,
                r#"`type` is "order"; the pattern wants "ord*" (this is plain text; write {"wildcard": "ord*"})"#,
            ),
        ],
    );
}

#[test]
fn operators_say_what_is_not_met() {
    let event = r#"{"n":99,"s":"Order.paid","text":"100","ip":"10.1.2.3","v6":"::1"}"#;
    check(
        event,
        &[
            (
                r#"{"n":[{"numeric":[">",100]}]}"#,
                r#"`n` is 99; the pattern wants {"numeric":[">",100]} (99 is not > 100)"#,
            ),
            (
                r#"{"n":[{"numeric":[">=",1,"<",99]}]}"#,
                r#"`n` is 99; the pattern wants {"numeric":[">=",1,"<",99]} (99 is not < 99)"#,
            ),
            (
                r#"{"text":[{"numeric":[">",5]}]}"#,
                r#"`text` is "100"; the pattern wants {"numeric":[">",5]} (the value is a string; `numeric` accepts JSON numbers only)"#,
            ),
            (
                r#"{"n":["> 50"]}"#,
                r#"`n` is 99; the pattern wants "> 50" (this is plain text; write {"numeric": [">", 50]})"#,
            ),
            (
                r#"{"s":[{"prefix":"order."}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"prefix":"order."} (case matters)"#,
            ),
            (
                r#"{"s":[{"prefix":"Ord","suffix":".csv"}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"prefix":"Ord","suffix":".csv"} (`suffix` does not accept it)"#,
            ),
            (
                r#"{"s":[{"wildcard":".paid"}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"wildcard":".paid"} (there is no `*` in it: it wants this text and no other)"#,
            ),
            (
                r#"{"s":[{"wildcard":"d*.pa"}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"wildcard":"d*.pa"} (it must describe the whole text; add `*` at the ends)"#,
            ),
            (
                r#"{"s":[{"prefix":"Order.*"}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"prefix":"Order.*"} (`*` is a star here; any text is `*` in `wildcard` only)"#,
            ),
            (
                r#"{"n":[{"prefix":"9"}]}"#,
                r#"`n` is 99; the pattern wants {"prefix":"9"} (`prefix` accepts strings only)"#,
            ),
            (
                r#"{"ip":[{"cidr":"10.2.0.0/16"}]}"#,
                r#"`ip` is "10.1.2.3"; the pattern wants {"cidr":"10.2.0.0/16"} (the address is outside)"#,
            ),
            (
                r#"{"v6":[{"cidr":"10.0.0.0/8"}]}"#,
                r#"`v6` is "::1"; the pattern wants {"cidr":"10.0.0.0/8"} (one is IPv4, the other IPv6)"#,
            ),
            (
                r#"{"s":[{"anything-but":"Order.paid"}]}"#,
                r#"`s` is "Order.paid"; the pattern wants {"anything-but":"Order.paid"}"#,
            ),
        ],
    );
}

#[test]
fn absence_names_what_there_is() {
    let event = r#"{"type":"a","tenant":"t","data":{"totl":5,"Status":"x","user":{"id":1},"items":[{"sku":1},{"qty":2}],"note":"text"}}"#;
    check(
        event,
        &[
            (r#"{"subject":[{"prefix":"a"}]}"#, r#"`subject` is absent; the pattern wants {"prefix":"a"}"#),
            (r#"{"tenent":["t"]}"#, r#"`tenent` is absent (there is `tenant`); the pattern wants "t""#),
            (r#"{"data":{"total":[5]}}"#, "`data.total` is absent (there is `data.totl`); the pattern wants 5"),
            (
                r#"{"data":{"status":["x"]}}"#,
                r#"`data.status` is absent (there is `data.Status`); the pattern wants "x""#,
            ),
            (
                r#"{"data":{"branch":["x"]}}"#,
                r#"`data.branch` is absent (data has totl, Status, user, items, note); the pattern wants "x""#,
            ),
            (
                r#"{"data":{"user":{"name":["x"]}}}"#,
                r#"`data.user.name` is absent (data.user has id); the pattern wants "x""#,
            ),
            (r#"{"user":{"id":[1]}}"#, "`user.id` is absent (there is `data.user.id`); the pattern wants 1"),
            (
                r#"{"detail":{"user":{"id":[1]}}}"#,
                "`detail.user.id` is absent (there is `data.user.id`); the pattern wants 1",
            ),
            (r#"{"data":{"type":["a"]}}"#, r#"`data.type` is absent (there is `type`); the pattern wants "a""#),
            (
                r#"{"data":{"note":{"x":[1]}}}"#,
                "`data.note.x` is absent (`data.note` is no object); the pattern wants 1",
            ),
            (
                r#"{"data":{"items":{"count":[1]}}}"#,
                "`data.items.count` is absent (data.items has sku, qty); the pattern wants 1",
            ),
        ],
    );
    check(
        r#"{"data":"{\"total\":5}"}"#,
        &[(
            r#"{"data":{"total":[5]}}"#,
            "`data.total` is absent (`data` is a text that holds JSON; `decode: json` in the source reads it); the pattern wants 5",
        )],
    );
    check(
        r#"{"data_base64":"eA=="}"#,
        &[(
            r#"{"data":{"total":[5]}}"#,
            "`data.total` is absent (the payload is `data_base64`, for its `datacontenttype` is no JSON type); the pattern wants 5",
        )],
    );
}

#[test]
fn of_alternatives_the_closest_branch() {
    let event = r#"{"type":"order","data":{"total":99,"vip":"no"}}"#;
    check(
        event,
        &[
            (
                r#"{"type":["order"],"$or":[{"data":{"vip":["yes"],"x":[1]}},{"data":{"total":[{"numeric":[">=",100]}]}}]}"#,
                r#"`data.total` is 99; the pattern wants {"numeric":[">=",100]} (99 is not >= 100) (branch 2 of `$or` comes closest)"#,
            ),
            (
                r#"{"type":["paid"],"data":{"total":[1],"vip":["yes"],"a":[1],"b":[1]}}"#,
                r#"`type` is "order"; the pattern wants "paid"; `data.total`, `data.vip`, `data.a` and 1 more fail too"#,
            ),
            (
                r#"{"type":["paid"],"data":{"total":[1]}}"#,
                r#"`type` is "order"; the pattern wants "paid"; `data.total` fails too"#,
            ),
        ],
    );
}

#[test]
fn of_arrays_the_closest_element() {
    let event = r#"{"data":{"items":[{"sku":"B","qty":9},{"sku":"A","qty":1,"owner":"me"}],"n":[5,99,3,7]},"i":[{"k":1},{"v":2}]}"#;
    check(
        event,
        &[
            (
                r#"{"data":{"items":{"sku":["A"],"qty":[{"numeric":[">",5]}]}}}"#,
                "`data.items.sku` and `data.items.qty` each match somewhere, but never together in one element of an array; \
                 `data.items[1]` comes closest: there `data.items.qty` is 1; the pattern wants {\"numeric\":[\">\",5]} (1 is not > 5)",
            ),
            (
                r#"{"i":{"k":[1],"v":[2]}}"#,
                "`i.k` and `i.v` each match somewhere, but never together in one element of an array; \
                 `i[0]` comes closest: there `i.v` is absent; the pattern wants 2",
            ),
            (
                r#"{"data":{"items":{"sku":["A"],"owner":[{"exists":false}]}}}"#,
                "`data.items.sku` and `data.items.owner` each match somewhere, but never together in one element of an array; \
                 `data.items[1]` comes closest: there `data.items.owner` is \"me\"; the pattern wants it absent",
            ),
            (
                r#"{"data":{"n":[{"numeric":[">",100]}]}}"#,
                "`data.n` is 5, 99, 3, … (4 values); the pattern wants {\"numeric\":[\">\",100]}; \
                 `data.n[1]` comes closest: 99 (99 is not > 100)",
            ),
            (
                r#"{"data":{"items":{"sku":["a"]}}}"#,
                "`data.items.sku` is \"B\", \"A\"; the pattern wants \"a\"; `data.items[1].sku` comes closest: \"A\" (case matters)",
            ),
            (
                r#"{"data":{"n":[{"numeric":[">",90]}]},"data.n":[{"numeric":["<",10]}]}"#,
                "no single value of `data.n` satisfies all conditions on it",
            ),
        ],
    );
}

#[test]
fn the_field_is_there_for_programs() {
    let event = r#"{"o":{"x":1},"l":[{"n":1},{"n":99}]}"#;
    let explanation = explain(&pattern(r#"{"o":{"x":["2",3,"1"]}}"#), event);
    let field = FailedField {
        path: "o.x".to_owned(),
        pointer: "/o/x".to_owned(),
        found: vec!["1".to_owned()],
        closest: r#""1""#.to_owned(),
        place: None,
        hint: Some("a string never equals a number, true, false or null".to_owned()),
    };
    assert_eq!((explanation.matched, explanation.field), (Ok(false), Some(field)));
    let field = explain(&pattern(r#"{"l":{"n":[{"numeric":[">",100]}]}}"#), event).field.expect("a field");
    assert_eq!((field.place.as_deref(), field.hint.as_deref()), (Some("l[1].n"), Some("99 is not > 100")));
}

#[test]
fn the_words_are_those_of_the_alias_and_the_dialect() {
    let options = Options { alias_aws: true, dialect: Dialect::Aws, ..Options::default() };
    let pattern = compile(r#"{"detail-type":["a"],"detail":{"total":[5]}}"#, &options).expect("valid").pattern;
    let explanation = explain(&pattern, r#"{"type":"a","data":{"totl":5}}"#);
    assert_eq!(explanation.sentence, "`data.total` is absent (there is `data.totl`); the pattern wants 5");
    assert_eq!(explanation.field.map(|field| field.pointer).as_deref(), Some("/detail/total"));
}

#[test]
fn a_large_event_is_explained_in_time() {
    let elements: Vec<String> = (0..20_000).map(|i| format!(r#"{{"a":{i},"b":{}}}"#, i + 1)).collect();
    let event = format!(r#"{{"l":[{}]}}"#, elements.join(","));
    let sentence = explain(&pattern(r#"{"l":{"a":["7"]}}"#), &event).sentence;
    assert!(sentence.contains("`l[7].a` comes closest: 7 (a string never equals"), "{sentence}");
}
