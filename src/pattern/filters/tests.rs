//! Verdicts, faults and explanations of filters.

use super::*;
use crate::json::value::Json;

const EVENT: &str = r#"{"specversion":"1.0","id":"A-1","type":"order.paid","source":"/shop/eu","n":3,"ok":true,"big":1e400,"gone":null,"list":[1],"data":"x"}"#;

fn with<T>(event: &str, look: impl FnOnce(&Document<'_>) -> T) -> T {
    look(&Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap())
}

fn passes(filters: &str, event: &str) -> bool {
    let filters = compile(filters).unwrap();
    let passes = with(event, |document| filters.matches(document));
    assert_eq!(with(event, |document| filters.explain(document).is_none()), passes, "{filters:?}");
    passes
}

#[test]
fn verdicts() {
    for yes in [
        r#"[]"#,
        r#"[{"exact":{"type":"order.paid","source":"/shop/eu"}}]"#,
        r#"[{"prefix":{"type":"order."}},{"suffix":{"type":".paid"}}]"#,
        r#"[{"exact":{"n":"3","ok":"true"}}]"#,
        r#"[{"prefix":{"big":"1e4"}}]"#,
        r#"[{"any":[{"exact":{"type":"x"}},{"prefix":{"source":"/"}}]}]"#,
        r#"[{"not":{"exact":{"subject":"x"}}}]"#,
        r#"[{"not":{"all":[{"exact":{"type":"order.paid"}},{"exact":{"source":"/web"}}]}}]"#,
        r#"[{"not":{"not":{"suffix":{"source":"eu"}}}}]"#,
        r#"[{"sql":"type LIKE 'order.%' AND n = 3 AND ok"}]"#,
        r#"[{"not":{"sql":"subject = 'x'"}}]"#,
    ] {
        assert!(passes(yes, EVENT), "{yes}");
    }
    for no in [
        r#"[{"exact":{"type":"Order.paid"}}]"#,
        r#"[{"exact":{"type":"order.paid","source":"x"}}]"#,
        r#"[{"prefix":{"subject":"a"}}]"#,
        r#"[{"exact":{"gone":"null"}}]"#,
        r#"[{"exact":{"list":"[1]"}}]"#,
        r#"[{"exact":{"data":"x"}}]"#,
        r#"[{"exact":{"type":"order.paid"}},{"exact":{"type":"x"}}]"#,
        r#"[{"any":[{"exact":{"type":"x"}},{"not":{"prefix":{"source":"/"}}}]}]"#,
        // An error and a non-boolean are false; the payload is not visible.
        r#"[{"sql":"subject = 'x' OR TRUE"}]"#,
        r#"[{"sql":"1 / 0 = 0"}]"#,
        r#"[{"sql":"n"}]"#,
        r#"[{"sql":"EXISTS data OR data = 'x'"}]"#,
    ] {
        assert!(!passes(no, EVENT), "{no}");
    }
}

#[test]
fn refusals() {
    let cases: [(&str, &[&str]); 15] = [
        ("{}", &[""]),
        ("[", &[""]),
        (r#"[{}, {"exact":{"a":"b"},"not":{}}, 3]"#, &["/0", "/1", "/2"]),
        (r#"[{"exact":{"type":"","n":3}}]"#, &["/0/exact/type", "/0/exact/n"]),
        (r#"[{"exact":{}}, {"prefix":[]}, {"suffix":"a"}]"#, &["/0/exact", "/1/prefix", "/2/suffix"]),
        (r#"[{"any":[]}, {"all":{}}]"#, &["/0/any", "/1/all"]),
        (r#"[{"not":{"regex":1}}]"#, &["/0/not/regex"]),
        (r#"[{"not":[{"exact":{"a":"b"}}]}, {"not":{}}]"#, &["/0/not", "/1/not"]),
        (r#"[{"any":[{"exact":{"a":1}},{"prefix":{"b":null}}]}]"#, &["/0/any/0/exact/a", "/0/any/1/prefix/b"]),
        (r#"[{"exact":{"a":"b","a":"c"}}]"#, &["/0/exact/a"]),
        (r#"[{"a/b~c":{}}]"#, &["/0/a~1b~0c"]),
        (r#"[{"exact":{"a":["b"]}}]"#, &["/0/exact/a"]),
        (r#"[{"sql":true},{"sql":"a ="}]"#, &["/0/sql", "/1/sql"]),
        (r#"[{"any":[{"sql":"FOO(BAR(a))"},{"sql":""}]}]"#, &["/0/any/0/sql", "/0/any/0/sql", "/0/any/1/sql"]),
        (r#"[{"exact":{"a":{"b":"c"}}}]"#, &["/0/exact/a"]),
    ];
    for (text, pointers) in cases {
        let faults = compile(text).unwrap_err();
        assert_eq!(faults.iter().map(|f| f.pointer.as_str()).collect::<Vec<_>>(), pointers, "{text}");
    }
}

#[test]
fn the_cure_names_what_was_meant() {
    for (text, cure) in [
        (r#"[{"exat":{}}]"#, "did you mean `exact`?"),
        (r#"[{"Prefix":{}}]"#, "did you mean `prefix`?"),
        (r#"[{"startsWith":{}}]"#, "did you mean `prefix`?"),
        (r#"[{"anyOf":[]}]"#, "did you mean `any`?"),
        (r#"[{"exact":{"n":3}}]"#, "write \"3\": it is compared by its text"),
        (r#"[{"wildcard":{}}]"#, ""),
        (r#"[{"cesql":"a"}]"#, "did you mean `sql`?"),
        (r#"[{"exact":{"a":""}}]"#, "for any value write {\"sql\": \"EXISTS a\"}, or leave the entry out"),
    ] {
        assert_eq!(compile(text).unwrap_err()[0].cure, cure, "{text}");
    }
}

#[test]
fn faults_and_doubts_of_an_expression_say_where() {
    let fault = &compile(r#"[{"sql":"'żó' == type"}]"#).unwrap_err()[0];
    assert_eq!((fault.code, &*fault.message), ("PATTERN_SQL", "`==` is no operator (character 6 of the expression)"));
    let filters = compile(r#"[{"not":{"sql":"NOT type = 'a' OR data = 'b'"}}]"#).unwrap();
    let told: Vec<_> = filters.warnings().iter().map(|w| (w.warning, &*w.pointer, &*w.message)).collect();
    assert_eq!(
        told,
        [
            (
                true,
                "/0/not/sql",
                "`NOT type` is taken first, for NOT binds tighter than what follows (character 1 of the expression)"
            ),
            (
                true,
                "/0/not/sql",
                "`data` is the payload and no attribute: filters never see it, so this never holds (character 19 of \
                 the expression)"
            ),
        ]
    );
}

#[test]
fn names_that_no_attribute_has_are_doubted_but_not_refused() {
    let filters =
        compile(r#"[{"exact":{"data":"x","Type":"y","my_ext":"z"}},{"prefix":{"detail-type":"x"}}]"#).unwrap();
    let told: Vec<_> = filters.warnings().iter().map(|w| (w.warning, w.pointer.as_str(), w.cure.as_str())).collect();
    assert_eq!(
        told,
        [
            (true, "/0/exact/data", "test the payload in `pattern`: {data: {…}}"),
            (true, "/0/exact/Type", "write `type`"),
            (true, "/0/exact/my_ext", "write `myext`"),
            (true, "/1/prefix/detail-type", "write `type`"),
        ]
    );
    assert!(passes(r#"[{"exact":{"my_ext":"z"}}]"#, r#"{"my_ext":"z"}"#));
}

#[test]
fn depth_and_size_are_bounded() {
    let nested =
        |depth: usize| format!("[{}{{\"exact\":{{\"a\":\"b\"}}}}{}]", "{\"not\":".repeat(depth), "}".repeat(depth));
    assert!(compile(&nested(31)).is_ok());
    let faults = compile(&nested(32)).unwrap_err();
    assert_eq!(faults[0].pointer, format!("/0{}", "/not".repeat(32)));
    assert!(compile(&nested(5_000)).is_err());
    assert!(compile(&format!("[{}]", " ".repeat(70_000))).is_err());
}

#[test]
fn what_failed_is_told() {
    for (filters, sentence) in [
        (
            r#"[{"exact":{"type":"Order.Paid"}}]"#,
            "`type` is \"order.paid\"; the filter wants exact \"Order.Paid\" (case matters) (/filters/0/exact/type)",
        ),
        (
            r#"[{"exact":{"type":"order.paid"}},{"all":[{"prefix":{"subject":"a"}}]}]"#,
            "`subject` is absent; the filter wants prefix \"a\" (/filters/1/all/0/prefix/subject)",
        ),
        (
            r#"[{"any":[{"exact":{"n":"4"}},{"exact":{"ok":"false"}}]}]"#,
            "no filter of `any` holds: `n` is 3; the filter wants exact \"4\"; `ok` is true; the filter wants exact \
             \"false\" (/filters/0/any)",
        ),
        (
            r#"[{"not":{"any":[{"exact":{"id":"x"}},{"prefix":{"type":"order"}}]}}]"#,
            "the filter in `not` holds: `type` begins with \"order\" (/filters/0/not)",
        ),
        (
            r#"[{"all":[{"sql":"ok AND type = 'order.created'"}]}]"#,
            "`type = 'order.created'` is false: `type` is 'order.paid' (/filters/0/all/0/sql)",
        ),
        (
            r#"[{"sql":"subject LIKE 'a%'"}]"#,
            "`subject` errs: the event has no attribute `subject` (missingAttribute) (/filters/0/sql)",
        ),
        (r#"[{"not":{"sql":"n > 2"}}]"#, "the filter in `not` holds: `n > 2` is true (/filters/0/not)"),
        (
            r#"[{"exact":{"data":"y"}}]"#,
            "`data` is the payload, which filters never see; the filter wants exact \"y\" (/filters/0/exact/data)",
        ),
    ] {
        let filters = compile(filters).unwrap();
        assert_eq!(with(EVENT, |document| filters.explain(document)).unwrap().sentence, sentence);
    }
    let filters = compile(r#"[{"suffix":{"source":"/us"}}]"#).unwrap();
    let field = with(EVENT, |document| filters.explain(document)).unwrap().field.unwrap();
    assert_eq!((&*field.path, &*field.pointer), ("source", "/filters/0/suffix/source"));
    assert_eq!((field.found, &*field.closest), (vec!["\"/shop/eu\"".to_owned()], "{\"suffix\":\"/us\"}"));
}
