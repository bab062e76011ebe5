//! Strings that are paths, expressions or text; defaults; `$meta` (rules 39, 45, 53, 54).

use super::{Refused, body, request, show, value};

#[test]
fn strings_are_paths_expressions_or_text() {
    let cases = [
        (r#""$.id""#, r#""7""#),
        (r#""$.data.n""#, "1.10"),
        (r#""${$.data.n}""#, "1.10"),
        (r#""${ $.data.t\t}""#, "true"),
        (r#"" ${$.data.n}""#, r#"" 1.10""#),
        (r#""${$.data.n}${$.data.t}""#, r#""1.10true""#),
        (r#""${$.id}|${$.data.nil}|${$.data.tags}""#, r#""7|null|[\"x\",\"y\"]""#),
        (r#""$5 or $.50, US$""#, r#""$5 or $.50, US$""#),
        (r#""see $.id""#, r#""see $.id""#),
        (r#""$meta is""#, r#""$meta is""#),
        (r#""$ ""#, r#""$ ""#),
        (r#""$é""#, r#""$é""#),
        (r#""$$""#, r#""$""#),
        (r#""$$.id""#, r#""$.id""#),
        (r#""$${$.id}""#, r#""${$.id}""#),
        (r#""$$${$.id}""#, r#""$7""#),
        (r#""$$$$meta""#, r#""$$meta""#),
        (r#""a${$.data['é']}b""#, r#""aéb""#),
        (r#""x${$.data.tpl}""#, r#""x${id} ${$.id} $$ <id>""#),
        (r#"["$.data.c-count","${$.data.1st}"]"#, r#"[3,"one"]"#),
        (r#""$.data.items[?@.q>5].s""#, r#"["A"]"#),
        (r#""q ${$.data.items[?@.q>5].s}!""#, r#""q [\"A\"]!""#),
        (r#"{"$.id":1,"${$.id}":"","$$":[]}"#, r#"{"$.id":1,"${$.id}":"","$$":[]}"#),
    ];
    for (written, expected) in cases {
        assert_eq!(value(written), expected, "{written}");
    }
}

#[test]
fn what_is_neither_is_refused_when_it_loads() {
    let wrong = [
        "$.id and more",
        "$.id ",
        "$.",
        "$.data[01]",
        "$USD",
        "$env",
        "$respons.x",
        "$response.id",
        "${$cursor}",
        "${id}",
        "${env:X}",
        "${}",
        "${$.id",
        "${$.id $.id}",
        "${${$.id}}",
        "${$.a ? 1}",
        "${$.a ?? }",
        "${$.a ?? $.id}",
        "${$.a ?? none}",
        "${$.a ?? 'x'}",
        "${$.a ?? 01}",
        "${$.a ?? 1 ?? 2}",
        "${$.a ?? omitted}",
        "x${$.a ?? omit}",
        " ${$.a ?? omit}",
        "$meta.nope",
        "$meta[0]",
        "$.a[?match(@.b,'(')]",
    ];
    for text in wrong {
        assert_eq!(value(&format!("\"{text}\"")), "LOAD /body/json/v", "{text}");
    }
    // Every fault is reported, however deep.
    let all = value(r#"["$.","ok",{"a/b":"${x}","c":["$nope"]}]"#);
    assert_eq!(all, "LOAD /body/json/v/0 /body/json/v/2/a~1b /body/json/v/2/c/0");
}

#[test]
fn defaults_stand_in_for_what_is_missing() {
    let cases = [
        ("${$.data.zz ?? \\\"a\\\\\\\"}b\\\"}", r#""a\"}b""#),
        ("${$.data.zz??-0}", "-0"),
        ("${ $.data.zz \\n ??\\t1e400 }", "1e400"),
        ("${$.data.zz ?? [ 1.50, {\\\"k\\\" : null} ]}", r#"[1.50,{"k":null}]"#),
        ("${$.data.zz ?? \\\"${$.id} $$\\\"}", r#""${$.id} $$""#),
        ("${$.data.zz ?? \\\"omit\\\"}", r#""omit""#),
        ("${$.data.nil ?? 5}", "null"),
        ("${$.data.empty ?? 5}", r#""""#),
        ("${$.data.q.r[2] ?? 5}", "5"),
        ("${$.data.tags[9] ?? 5}", "5"),
        ("${$.data.zz[*] ?? 5}", "[]"),
        ("a${$.data.zz ?? [1, 2]}b${$.data.zz ?? \\\"\\\"}", r#""a[1,2]b""#),
    ];
    for (text, expected) in cases {
        assert_eq!(value(&format!("\"{text}\"")), expected, "{text}");
    }
    let omit = r#"{"a":"${$.zz ?? omit}","b":["${$.zz ?? omit}",1,"${$.zz??omit}"],"c":"${$.id ?? omit}"}"#;
    assert_eq!(value(omit), r#"{"b":[1],"c":"7"}"#);
    assert_eq!(value(r#"["${$.zz ?? omit}",{"a":"${$.zz ?? omit}"},2]"#), "[{},2]");
    for whole in
        [r#""${$ ?? omit}""#, r#"{"json":"${$ ?? omit}"}"#, r#"{"template":"${a}","values":{"a":"${$ ?? omit}"}}"#]
    {
        assert!(show(&format!(r#"{{"body":{whole}}}"#)).starts_with("LOAD /body"), "{whole}");
    }
}

#[test]
fn missing_says_what_there_is() {
    let cases = [
        ("$.data.branch", r#"{"data":{"id":1,"pipeline":2}}"#, "`$.data.branch` is absent (data has id, pipeline)"),
        ("$.data.a.b", r#"{"data":{"a":{}}}"#, "`$.data.a.b` is absent (data.a is empty)"),
        ("$.data.a[3].b", r#"{"data":{"a":[1]}}"#, "`$.data.a[3].b` is absent (data.a is a list of 1)"),
        ("$.a", r#"{"id":"1","x":2}"#, "`$.a` is absent (the event has id, x)"),
        ("$.data['a b'].c", r#"{"data":{"a b":"x"}}"#, "`$.data['a b'].c` is absent (data['a b'] is a string)"),
        (
            "$.data.z",
            r#"{"data":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i\n":1,"j":1}}"#,
            "`$.data.z` is absent (data has a, b, c, d, e, f, g, h and 2 more)",
        ),
    ];
    for (path, event, expected) in cases {
        let case = format!(r#"{{"event":{event},"body":{{"json":"{path}"}}}}"#);
        let Err(Refused::Event(error)) = request(&case) else { panic!("{case}") };
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.cure().unwrap(), format!("default: ${{{path} ?? \"…\"}}"));
    }
}

#[test]
fn meta_tells_about_the_delivery() {
    let whole = r#"{"rule":"r","target":"t","attempt":2,"delivery_id":"d-1","received_at":"2026-05-01T12:00:00.123Z"}"#;
    assert_eq!(value(r#""$meta""#), whole);
    assert_eq!(
        value(r#"["$meta.attempt","${$meta.rule}/${$meta['target']}","$meta.received_at"]"#),
        r#"[2,"r/t","2026-05-01T12:00:00.123Z"]"#
    );
    assert_eq!(value(r#""$meta[?@ == 2]""#), "[2]");
    assert_eq!(value(r#""$meta.rule.x""#), "TRANSFORM_MISSING");
    assert_eq!(value(r#""${$meta.rule.x ?? 1}""#), "1");
    assert_eq!(body(r#"{"event":{"id":"1","$meta":2},"body":{"json":"$['$meta']"}}"#), "2");
}
