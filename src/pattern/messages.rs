//! What people read when a pattern is wrong: each mistake with its message and cure, word for word.

use super::{Options, compile, placed};
use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Kind, Node};
use crate::model::resources::Dialect;

fn faults(text: &str, dialect: Dialect) -> Vec<Fault> {
    compile(text, &Options { dialect, ..Options::default() }).err().unwrap_or_default()
}

const ALLOWED: &str = "`exactly`, `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, \
                       `cidr`, `exists`, `contains`";

/// The matcher of `data.n`, the cure.
const UNKNOWN: &[(&str, &str)] = &[
    (r#"{"startsWith":"a"}"#, "write `prefix`"),
    (r#"{"Prefix":"a"}"#, "write `prefix`"),
    (r#"{"prefx":"a"}"#, "write `prefix`"),
    (r#"{"anything_but":"a"}"#, "write `anything-but`"),
    (r#"{"equalsIgnoreCase":"a"}"#, "write `equals-ignore-case`"),
    (r#"{">":100}"#, r#"write {"numeric": [">", 100]}"#),
    (r#"{"$gte":"5"}"#, r#"write {"numeric": [">=", 5]}"#),
    (r#"{"between":[1,5]}"#, r#"write {"numeric": [">=", 1, "<=", 5]}"#),
    (r#"{"equals":"a"}"#, r#"write the value itself: ["a"]"#),
    (r#"{"in":["a",2]}"#, r#"write the values themselves: ["a",2]"#),
    (r#"{"ne":3}"#, r#"write {"anything-but": 3}"#),
    (r#"{"nin":[3]}"#, "write `anything-but`"),
    (r#"{"regex":"^a"}"#, r#"there are no regular expressions; `*` is any text in {"wildcard": "order.*"}"#),
    (r#"{"date-after":"2026"}"#, r#"times are text here; compare a part of them, e.g. {"prefix": "2026-01-"}"#),
    (r#"{"missing":true}"#, r#"write {"exists": false}"#),
    (r#"{"null":true}"#, "write null itself: [null]"),
    (r#"{"sku":["A"]}"#, "an object in a list holds operators; for fields, write the object without the list"),
];

#[test]
fn unknown_operators_have_a_cure() {
    for (matcher, cure) in UNKNOWN {
        let found = faults(&format!(r#"{{"data":{{"n":[{matcher}]}}}}"#), Dialect::Tidegate);
        let [fault] = found.as_slice() else { panic!("{matcher}: {found:?}") };
        let name = fault.pointer.strip_prefix("/data/n/0/").expect("the operator");
        assert_eq!(fault.message, format!("`data.n`: `{name}` is no operator; allowed are {ALLOWED}"));
        assert_eq!((fault.code, fault.cure.as_str()), ("PATTERN_OPERATOR", *cure), "{matcher}");
    }
}

/// The matcher of `a`, message, cure.
const OPERANDS: &[(&str, &str, &str)] = &[
    (r#"{"prefix":5}"#, "`prefix` takes a string, not 5", r#"write {"prefix": "5"}"#),
    (
        r#"{"suffix":["a","b"]}"#,
        "`suffix` takes a string, not a list",
        r#"give each its own object: [{"suffix": "a"}, {"suffix": "b"}]"#,
    ),
    (r#"{"exactly":5}"#, "`exactly` takes a string, not 5", "write the value itself: [5]"),
    (r#"{"exists":"fasle"}"#, r#"`exists` takes true or false, not the string "fasle""#, "write false"),
    (
        r#"{"exists":false,"prefix":"a"}"#,
        "`exists: false` cannot be combined: an absent field has no value",
        r#"give it an object of its own in the list: {"exists": false}"#,
    ),
    (r#"{"wildcard":"a***b"}"#, r#"the wildcard "a***b" has two `*` in a row; one says the same"#, r#"write "a*b""#),
    (
        r#"{"wildcard":"a\\d"}"#,
        r#"the wildcard "a\\d" has a backslash that escapes neither `*` nor `\`"#,
        r"`*` is any text, `\*` a star, `\\` a backslash; in double quotes each backslash stands twice",
    ),
    (
        r#"{"cidr":"10.0.0.0/33"}"#,
        r#"the string "10.0.0.0/33" is no network: an IPv4 address has 32 bits, not 33"#,
        "write 10.0.0.0/8, 2001:db8::/32 or an address",
    ),
    (
        r#"{"cidr":"10.1/16"}"#,
        r#"the string "10.1/16" is no network: an IPv4 address has four numbers, not 2"#,
        "write 10.1.0.0/16",
    ),
    (
        r#"{"cidr":"10.0.0.0/255.0.0.0"}"#,
        r#"the string "10.0.0.0/255.0.0.0" is no network: the bits are counted, not written as a mask"#,
        "write 10.0.0.0/8",
    ),
    (
        r#"{"cidr":"[::1]"}"#,
        r#"the string "[::1]" is no network: an address stands without brackets, port, zone and spaces"#,
        "write ::1",
    ),
    (
        r#"{"anything-but":{"exists":true}}"#,
        "`exists` is not allowed in `anything-but`; allowed are `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, \
         `contains`, `cidr`, `numeric`",
        r#"for an absent field, write [{"exists": false}]"#,
    ),
    (
        r#"{"anything-but":{"prefix":"a","suffix":"b"}}"#,
        "`anything-but` takes exactly one operator, not 2; allowed are `prefix`, `suffix`, `equals-ignore-case`, \
         `wildcard`, `contains`, `cidr`, `numeric`",
        r#"write {"anything-but": {"wildcard": ["a*", "*b"]}}"#,
    ),
    (
        r#"{"anything-but":[{"suffix":"x"}]}"#,
        "`anything-but` takes strings, numbers, true, false and null here, not an object",
        r#"for an operator, write {"anything-but": {"suffix": "x"}}"#,
    ),
    (
        r#"{"numeric":["=>",5]}"#,
        "the string \"=>\" is no comparison; allowed are `=`, `!=`, `<`, `<=`, `>`, `>=`",
        "write `>=`",
    ),
    (
        r#"{"numeric":[">","5"]}"#,
        r#"`numeric` compares with a number, not the string "5""#,
        r#"write {"numeric": [">", 5]}"#,
    ),
    (
        r#"{"numeric":">= 5"}"#,
        "`numeric` takes a list of a comparison and a number, or of two of each, not the string \">= 5\"",
        r#"write {"numeric": [">=", 5]}"#,
    ),
    (
        r#"{"numeric":{">":1,"<":5}}"#,
        "`numeric` takes a list of a comparison and a number, or of two of each, not an object",
        r#"write {"numeric": [">", 1, "<", 5]}"#,
    ),
    (
        r#"{"numeric":[">",9,"<",1]}"#,
        "no number is > 9 and < 1",
        r#"for either of them, write two matchers: [{"numeric": [">", 9]}, {"numeric": ["<", 1]}]"#,
    ),
    (
        r#"{"numeric":[">",1,"!=",5]}"#,
        "two comparisons are one lower bound (`>`, `>=`) and one upper bound (`<`, `<=`)",
        r#"keep one; for either of them write two matchers: [{"numeric": [">", 1]}, {"numeric": ["!=", 5]}]"#,
    ),
];

#[test]
fn wrong_operands_say_what_was_found_and_what_to_write() {
    for (matcher, message, cure) in OPERANDS {
        let found = faults(&format!(r#"{{"a":[{matcher}]}}"#), Dialect::Tidegate);
        let [fault] = found.as_slice() else { panic!("{matcher}: {found:?}") };
        assert_eq!((fault.message.as_str(), fault.cure.as_str()), (&*format!("`a`: {message}"), *cure));
    }
}

#[test]
fn the_aws_dialect_says_how_to_write_it_there() {
    for (matcher, cure) in [
        (r#"{"contains":"x"}"#, r#"write {"wildcard": "*x*"}"#),
        (r#"{"numeric":["!=",3]}"#, r#"write {"anything-but": 3}"#),
        (r#"{"numeric":["<",3,">",1]}"#, r#"write {"numeric": [">", 1, "<", 3]}"#),
        (r#"{"cidr":"10.0.0.1"}"#, r#"write the address itself: ["10.0.0.1"]"#),
        (r#"{"cidr":"10.0.0.1/32"}"#, r#"write the address itself: ["10.0.0.1"]"#),
        (r#"{"prefix":"a","suffix":"b"}"#, "leave out `dialect: aws`, or keep one operator"),
    ] {
        let found = faults(&format!(r#"{{"a":[{matcher}]}}"#), Dialect::Aws);
        assert_eq!(found.iter().map(|fault| fault.cure.as_str()).collect::<Vec<_>>(), [cure], "{matcher}");
    }
}

#[test]
fn alternatives_that_are_none_say_why() {
    for (text, cure) in [
        (r#"{"$or":[{"type":["a"]}]}"#, "`$or` is no alternatives here: it has fewer than two patterns"),
        (r#"{"$or":[{"type":["a"]},3]}"#, "`$or` is no alternatives here: item 2 is 3, not a pattern"),
        (r#"{"$or":[{"type":["a"]},{}]}"#, "`$or` is no alternatives here: pattern 2 is empty"),
        (
            r#"{"$or":[{"prefix":["a"]},{"suffix":"a"}]}"#,
            "`$or` is no alternatives here: pattern 1 has the key `prefix`, the name of an operator",
        ),
        (r#"{"or":[{"type":["a"]},{"id":["b"]}]}"#, "for alternatives, the key is `$or`"),
        (
            r#"{"$and":[{"type":["a"]},{"id":["b"]}]}"#,
            "all keys of a pattern must hold: write them side by side, without this key",
        ),
    ] {
        let found = faults(text, Dialect::Tidegate);
        assert!(!found.is_empty() && found.iter().all(|fault| fault.cure == cure), "{text}: {found:?}");
    }
    let compiled = compile(r#"{"$or":{"type":["a"]}}"#, &Options::default()).expect("valid");
    let [warning] = compiled.warnings.as_slice() else { panic!("{:?}", compiled.warnings) };
    assert_eq!(
        warning.message,
        "`$or` is read as an ordinary field of that name: its value is an object, not a list of patterns"
    );
}

#[test]
fn the_field_is_named_as_it_was_written() {
    for (text, alias_aws, begins) in [
        (r#"{"detail":{"a.b":[]}}"#, true, "`detail.a.b`: "),
        (r#"{"$or":[{"a":{"b/c":[[1]]}},{"d":["x"]}]}"#, false, "`a.b/c`: "),
        (r#"{"0":{"1":{}}}"#, false, "`0.1`: "),
    ] {
        let found = compile(text, &Options { alias_aws, ..Options::default() }).expect_err("refused");
        assert!(found.iter().all(|fault| fault.message.starts_with(begins)), "{text}: {found:?}");
    }
}

#[test]
fn names_that_no_event_has_are_doubted() {
    let doubts = |text: &str, alias_aws| {
        let options = Options { alias_aws, ..Options::default() };
        let compiled = compile(text, &options).expect("valid");
        let doubts = compiled.pattern.doubts(text).into_iter();
        doubts.map(|doubt| format!("{} {}; {}", doubt.pointer, doubt.message, doubt.cure)).collect::<Vec<_>>()
    };
    assert_eq!(
        doubts(r#"{"detail-type":["a"],"detail":{"x":[1],"y":[2]}}"#, false),
        [
            "/detail-type events have no `detail-type`; write `type`, or `alias: aws` in the rule",
            "/detail/x events have no `detail`; write `data`, or `alias: aws` in the rule",
        ]
    );
    assert_eq!(
        doubts(
            r#"{"Type":["a"],"dta":{"x":[1]},"data":{"items[0]":{"sku":["A"]}},"$.data.total":[1],"subject":{"x":[1]}}"#,
            false
        ),
        [
            "/Type `Type` is no attribute of an event: their names are lower-case letters and digits; write `type`",
            "/dta/x `dta` is an attribute, and attributes have no fields; write `data`",
            "/data/items[0]/sku `items[0]`: a pattern does not number elements; it walks into every array; write `items`",
            "/$.data.total `$.data.total`: keys of a pattern are names, not paths; write `data.total`",
            "/subject/x `subject` is an attribute, and attributes have no fields; the payload is under `data`",
        ]
    );
    assert_eq!(
        doubts(r#"{"type":["order.*",{"wildcard":"x.*"}],"data":{"x":["*"]}}"#, false),
        [
            "/type `type`: `*` is an ordinary character of \"order.*\"; for any text in its place, write [{\"wildcard\": \"order.*\"}]"
        ]
    );
    let fine = r#"{"detail-type":["a"],"detail":{"Any Key":[1]}}"#;
    assert_eq!(doubts(fine, true), Vec::<String>::new());
    assert_eq!(
        doubts(r#"{"type":["a"],"tenant":["b"],"data_base64":["eA=="],"data":["x"]}"#, false),
        Vec::<String>::new()
    );
    // One thing is wrong with each, and the compiler has said it.
    for text in [r#"{"$or":{"x":["a"]}}"#, r#"{"$or":["x"]}"#, r#"{"data":{"$or":{"x":["a"]}}}"#] {
        assert_eq!(compile(text, &Options::default()).expect("valid").warnings.len(), 1, "{text}");
        assert_eq!(doubts(text, false), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_place_of_an_operator_is_its_key() {
    let place = |column| Place { file: "a.yaml".into(), line: 1, column };
    let key = |name: &str, column| Key { name: name.to_owned(), place: place(column) };
    let node = |kind, column| Node { kind, place: place(column) };
    // pattern: {a: [{x: 1}]}
    let matcher = node(Kind::Map(vec![(key("x", 8), node(Kind::Number("1".to_owned()), 11))]), 7);
    let pattern = node(Kind::Map(vec![(key("a", 2), node(Kind::List(vec![matcher]), 5))]), 1);
    let found = faults(&pattern.to_json(), Dialect::Tidegate).remove(0);
    let fault = placed(found, &pattern, "/pattern");
    assert_eq!((fault.pointer.as_str(), fault.place), ("/pattern/a/0/x", Some(place(8))));
    let operand = placed(Fault::error("PATTERN_OPERAND", "/a/0/x", ""), &pattern, "");
    assert_eq!(operand.place, Some(place(11)));
}
