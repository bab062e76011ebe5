//! Text templates (rules 40 to 43, 46).

use super::{Case, show};

/// Renders a template with these values and other keys of the body, sent as the given type.
fn template(template: &str, rest: &str, other: &str) -> String {
    let mut quoted = String::new();
    crate::model::node::write_json_string(template, &mut quoted);
    let shown = show(&format!(r#"{{"body":{{"template":{quoted}{rest}}}{other}}}"#));
    shown.split_once(" / ").map_or(shown.clone(), |(_, body)| body.to_owned())
}

const VALUES: &str = r#","values":{"id":"$.id","n":"$.data.n","who":"$.data.user","tags":"$.data.tags","inj":"$.data.inj",
 "tpl":"$.data.tpl","lf":"$.data.lf","s":{"i":"$.id","l":["${$.zz ?? omit}"]},"text":"n=${$.data.n}","gone":"$.zz",
 "dflt":"${$.zz ?? \"\"}","nil":"$.data.nil","b.c-d_1":"$$5"}"#;

#[test]
fn text_is_inserted_as_it_is() {
    let cases = [
        ("${id}-${n}-${nil}-${dflt}", "7-1.10-null-"),
        ("$${id} $ $x {y} $$ ${id}$", "${id} $ $x {y} $$ 7$"),
        ("$$${id}", "$${id}"),
        ("$.id <id> ${b.c-d_1}", "$.id <id> $5"),
        ("${tpl}", "${id} ${$.id} $$ <id>"),
        ("${who} ${s} ${text}", r#"{"n":"Ann \"A\""} {"i":"7","l":[]} n=1.10"#),
        ("${gone}", "TRANSFORM_MISSING"),
        ("${id", "LOAD /body/template"),
        ("${} ${a b} ${$.id} ${nope}", "LOAD /body/template /body/template /body/template /body/template"),
    ];
    for (written, expected) in cases {
        assert_eq!(template(written, VALUES, r#","content_type":"text/plain""#), expected, "{written}");
    }
}

#[test]
fn json_is_inserted_by_context() {
    let cases = [
        (r#"{"who":${who},"note":"tags=${tags}"}"#, r#"{"who":{"n":"Ann \"A\""},"note":"tags=[\"x\",\"y\"]"}"#),
        (r#"[${inj},"${inj}"]"#, r#"["\",\"admin\":true,\"x\":\"","\",\"admin\":true,\"x\":\""]"#),
        (r#"[${tpl},"${tpl}"]"#, r#"["${id} ${$.id} $$ <id>","${id} ${$.id} $$ <id>"]"#),
        (
            r#"{"${lf}":"${s}","t":${text},"u":"${text}"}"#,
            r#"{"a\nb":"{\"i\":\"7\",\"l\":[]}","t":"n=1.10","u":"n=1.10"}"#,
        ),
        ("{ \"\\u0041\\\"${id}\\\\\" :\t${n} }", "{ \"\\u0041\\\"7\\\\\" :\t1.10 }"),
        (r#""$${id}${id}""#, r#""${id}7""#),
        ("${who}", r#"{"n":"Ann \"A\""}"#),
        (r#"{${id}:1}"#, "LOAD /body/template"),
        ("[${n}${n}]", "LOAD /body/template"),
        ("[1${n}]", "LOAD /body/template"),
        ("[${n}", "LOAD /body/template"),
        (r#""\${id}""#, "LOAD /body/template"),
        (r#""\u${id}0041""#, "LOAD /body/template"),
        ("$${id}", "LOAD /body/template"),
        ("", "LOAD /body/template"),
    ];
    for (written, expected) in cases {
        assert_eq!(template(written, VALUES, ""), expected, "{written}");
    }
}

#[test]
fn raw_is_not_safe_and_says_so_late() {
    let raw = &format!("{VALUES},\"raw\":true");
    let cases = [
        (r#"{"x":"${id}","o":${who}}"#, r#"{"x":"7","o":{"n":"Ann \"A\""}}"#),
        (r#"{"x":${id}}"#, r#"{"x":7}"#),
        (r#"{"x":"${inj}"}"#, r#"{"x":"","admin":true,"x":""}"#),
        (r#"{"x":"${gone} ${nope} ${a b} $${id}"}"#, r#"{"x":"${gone} ${nope} ${a b} $7"}"#),
        (r#"{"x":${gone}}"#, "TRANSFORM_FAILED"),
        (r#"{"x":"${who}"}"#, "TRANSFORM_FAILED"),
    ];
    for (written, expected) in cases {
        assert_eq!(template(written, raw, ""), expected, "{written}");
    }
}

#[test]
fn aws_templates_give_what_aws_gives() {
    let cases = [
        (r#"{"a":"<id>","b":<id>,"c":<who>}"#, r#"{"a":"7","b":"7","c":{"n":"Ann \"A\""}}"#),
        (r#"{"a":"<tags>"}"#, "TRANSFORM_FAILED"),
        (r#"{"a":"<inj>"}"#, r#"{"a":"","admin":true,"x":""}"#),
        (
            r#"{"a":<gone>,"b":"[<gone>]","c":"${id} <n> < x > <a b>"}"#,
            r#"{"a":"","b":"[]","c":"${id} 1.10 < x > <a b>"}"#,
        ),
        (" \"tags <tags> <id>\"\n\"again <n> <s>\"\n", " \"tags [x,y] 7\"\n\"again 1.10 {i:7,l:[]}\"\n"),
        ("\"a\" <id>", "TRANSFORM_FAILED"),
        (r#"[<aws.events.rule-name>,"<aws.events.event.ingestion-time>"]"#, r#"["r","2026-05-01T12:00:00.123Z"]"#),
        ("<aws.events.event>", r#"{"specversion":"1.0","id":"7","source":"/shop","type":"paid"}"#),
        (r#"{"a":<nope>,"b":<aws.nope>}"#, "LOAD /body/template /body/template"),
    ];
    for (written, expected) in cases {
        assert_eq!(template(written, VALUES, r#","dialect":"aws""#), expected, "{written}");
    }
    let whole = template("<aws.events.event.json>", "", r#","dialect":"aws","event":{"id":"1", "data":[ 1 ]}"#);
    assert_eq!(whole, r#"{"id":"1","data":[1]}"#);
    assert_eq!(
        template("1", r#","raw":true,"values":{"aws.x":1}"#, r#","dialect":"aws""#),
        "LOAD /body/raw /body/values/aws.x"
    );
}

#[test]
fn an_unused_entry_is_a_warning() {
    let case = Case::of(r#"{"body":{"template":"${a}","values":{"a":1,"b":"$.zz"}}}"#);
    let warnings = case.compile().unwrap().warnings;
    let found: Vec<_> = warnings.iter().map(|w| (w.code, w.pointer.as_str(), w.warning)).collect();
    assert_eq!(found, [("TRANSFORM_UNUSED_VALUE", "/body/values/b", true)]);
}
