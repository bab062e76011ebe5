//! Vectors for every rule of event-patterns.md, and what no vector can show: warnings, limits, cost, explanations.

use super::{Compiled, EvaluationLimit, Limits, Options, Pattern, compile};
use crate::json::document::{Document, Member, Members, Value};
use crate::json::value::Json;
use crate::model::fault::Fault;
use crate::model::resources::Dialect;

fn options(dialect: Dialect) -> Options {
    Options { dialect, ..Options::default() }
}

fn pattern(text: &str) -> Pattern {
    compile(text, &Options::default()).unwrap().pattern
}

fn document(event: &str) -> Document<'_> {
    Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap()
}

/// Y match, N no match, I invalid, L limit.
fn verdict(pattern: &str, event: &str, options: &Options) -> char {
    match compile(pattern, options) {
        Err(_) => 'I',
        Ok(compiled) => match compiled.pattern.matches(&document(event)) {
            Ok(true) => 'Y',
            Ok(false) => 'N',
            Err(EvaluationLimit { .. }) => 'L',
        },
    }
}

/// Rule, pattern, event, verdicts of `tidegate` and `aws`; `.` where the dialect has none of its own.
const VECTORS: &[(u8, &str, &str, &str)] = &[
    // 5: numbers as written, duplicates.
    (5, r#"{"n":[18446744073709551616]}"#, r#"{"n":18446744073709551617}"#, "NN"),
    (5, r#"{"n":[18446744073709551617]}"#, r#"{"n":18446744073709551617}"#, "YY"),
    (5, r#"{"n":[2.5e500]}"#, r#"{"n":25e499}"#, "YN"),
    (5, r#"{"t":["a"]}"#, r#"{"t":"a","t":"b"}"#, "NY"),
    (5, r#"{"d":{"x":[1]}}"#, r#"{"d":{"x":1,"y":2},"d":{"y":2}}"#, "NY"),
    (5, r#"{"d":{"x":[1]}}"#, r#"{"d":{"x":1,"\u0078":2}}"#, "NY"),
    (5, r#"{"d":{"x":[2]}}"#, r#"{"d":{"x":1,"\u0078":2}}"#, "YY"),
    (5, r#"{"t":["a"],"t":["b"]}"#, r#"{"t":"b"}"#, "IY"),
    (5, r#"{"d":{"x":[1]},"d":{"y":[2]}}"#, r#"{"d":{"x":1,"y":2}}"#, "IY"),
    (5, r#"{"d":{"x":[1]},"d":{"y":[2]}}"#, r#"{"d":{"x":3,"y":2}}"#, "IN"),
    // 6: dots in keys.
    (6, r#"{"a.b":[1]}"#, r#"{"a":{"b":1}}"#, "YY"),
    (6, r#"{"a":{"b.c":[1]}}"#, r#"{"a.b":{"c":1}}"#, "YY"),
    (6, r#"{"a":{"b":[2]}}"#, r#"{"a.b":1,"a":{"b":2}}"#, "YY"),
    (6, r#"{"a.":[1]}"#, r#"{"a":{"":1}}"#, "Y."),
    (6, r#"{"..":[1]}"#, r#"{"":{"":{"":1}}}"#, "Y."),
    (6, r#"{"a":[1]}"#, r#"{"ab":1,"a.b":1}"#, "NN"),
    (6, r#"{"a.b":[1],"a":{"b":[2]}}"#, r#"{"a":{"b":2}}"#, "NY"),
    // 7-10: grammar.
    (7, r#"{"a":["x",1,null,true,{"suffix":"z"}]}"#, r#"{"a":"yz"}"#, "YY"),
    (7, r#"{"q":{"prefix":["x"]}}"#, r#"{"q":{"prefix":"x"}}"#, "YY"),
    (7, r#"{"q":{"prefix":["x"]}}"#, r#"{"q":"xy"}"#, "NN"),
    (7, r#"[1]"#, r#"{}"#, "II"),
    (8, r#"{"a":["x"],"b":["y"]}"#, r#"{"a":"x","b":"z"}"#, "NN"),
    (8, r#"{"a":["\u00e9\ud83d\ude00"]}"#, r#"{"a":"é😀"}"#, "YY"),
    (8, r#"{"A":["x"]}"#, r#"{"a":"x"}"#, "NN"),
    (8, r#"{"a":["x"]}"#, r#"{"a":"x "}"#, "NN"),
    (9, r#"{}"#, r#"{"a":1}"#, "YI"),
    (9, r#"{"a":{}}"#, r#"{"a":{}}"#, "II"),
    (9, r#"{"a":[]}"#, r#"{"a":[]}"#, "II"),
    (10, r#"{"a":"x","b":null}"#, r#"{"a":"x","b":null}"#, "YI"),
    (10, r#"{"a":null}"#, r#"{"b":1}"#, "NI"),
    // 11: what `$or` is.
    (11, r#"{"$or":[{"a":[1]},{"b":[2]}]}"#, r#"{"b":2}"#, "YY"),
    (11, r#"{"$or":["x",{"prefix":"y"}]}"#, r#"{"$or":"yes"}"#, "YY"),
    (11, r#"{"$or":[{"prefix":"x"},{"suffix":"y"}]}"#, r#"{"$or":"my"}"#, "YY"),
    (11, r#"{"$or":{"a":[1]}}"#, r#"{"$or":{"a":1}}"#, "YY"),
    (11, r#"{"$or":[{"a":[1]}]}"#, r#"{"a":1}"#, "II"),
    (11, r#"{"$or":[{"a":[1]},{}]}"#, r#"{"a":1}"#, "II"),
    (11, r#"{"$or":[{"a":{"cidr":[1]}},{"b":[2]}]}"#, r#"{"a":{"cidr":1}}"#, "YI"),
    (11, r#"{"$or":[{"date-after":[1]},{"b":[2]}]}"#, r#"{"b":2}"#, "YI"),
    (11, r#"{"$or":["x","y"],"d":{"$or":[{"a":[1]},{"b":[2]}]}}"#, r#"{"$or":"x","d":{"b":2}}"#, "YI"),
    // 12: several operators on one value.
    (12, r#"{"s":[{"prefix":"in/","suffix":".csv"}]}"#, r#"{"s":"in/a.csv"}"#, "YI"),
    (12, r#"{"s":[{"prefix":"a","suffix":"z"}]}"#, r#"{"s":["ab","yz"]}"#, "NI"),
    (12, r#"{"n":[{"numeric":[">",0],"anything-but":[3,5]}]}"#, r#"{"n":[3,-1,5]}"#, "NI"),
    (12, r#"{"s":[{"exists":true,"contains":"b"}]}"#, r#"{"s":"abc"}"#, "YI"),
    (12, r#"{"s":[{"exists":false,"prefix":"a"}]}"#, r#"{}"#, "II"),
    // 13: literals.
    (13, r#"{"n":[300]}"#, r#"{"n":3.00E+2}"#, "YY"),
    (13, r#"{"n":[0]}"#, r#"{"n":-0.0}"#, "YY"),
    (13, r#"{"n":["3"]}"#, r#"{"n":3}"#, "NN"),
    (13, r#"{"n":[1]}"#, r#"{"n":true}"#, "NN"),
    (13, r#"{"n":[null]}"#, r#"{"n":[]}"#, "NN"),
    (13, r#"{"n":[{"exactly":"x"}]}"#, r#"{"n":"x"}"#, "YY"),
    (13, r#"{"n":[0.30000000000000001]}"#, r#"{"n":0.3}"#, "NN"),
    (13, r#"{"n":[0.30000000000000001]}"#, r#"{"n":0.300000000000000010}"#, "YN"),
    (13, r#"{"ip":["10.0.0.1"]}"#, r#"{"ip":"::ffff:a00:1"}"#, "NY"),
    (13, r#"{"ip":["FE80::0:1"]}"#, r#"{"ip":"fe80::1"}"#, "NY"),
    (13, r#"{"ip":[{"anything-but":"fe80::1"}]}"#, r#"{"ip":"fe80:0::1"}"#, "YY"),
    // 14-17: text.
    (14, r#"{"s":[{"prefix":""}]}"#, r#"{"s":""}"#, "YY"),
    (14, r#"{"s":[{"prefix":""}]}"#, r#"{"s":7}"#, "NN"),
    (14, r#"{"s":[{"suffix":"語"}]}"#, r#"{"s":"日本語"}"#, "YY"),
    (14, r#"{"s":[{"prefix":"a"}]}"#, r#"{"s":"ba"}"#, "NN"),
    (15, r#"{"s":[{"equals-ignore-case":"Maße"}]}"#, r#"{"s":"MASSE"}"#, "YY"),
    (15, r#"{"s":[{"equals-ignore-case":"Maße"}]}"#, r#"{"s":"masse"}"#, "YN"),
    (15, r#"{"s":[{"prefix":{"equals-ignore-case":"Ä"}}]}"#, r#"{"s":"äpfel"}"#, "YY"),
    (15, r#"{"s":[{"suffix":{"equals-ignore-case":".CSV"}}]}"#, r#"{"s":"a.csv.gz"}"#, "NN"),
    (16, r#"{"s":[{"wildcard":"*/log-*.gz"}]}"#, r#"{"s":"x/y/log-1.gz"}"#, "YY"),
    (16, r#"{"s":[{"wildcard":"a\\*b"}]}"#, r#"{"s":"axb"}"#, "NN"),
    (16, r#"{"s":[{"wildcard":"aba*aba"}]}"#, r#"{"s":"ababa"}"#, "NN"),
    (16, r#"{"s":[{"wildcard":""}]}"#, r#"{"s":""}"#, "YY"),
    (17, r#"{"s":[{"contains":"*"}]}"#, r#"{"s":"a*b"}"#, "YI"),
    (17, r#"{"s":[{"contains":"b"}]}"#, r#"{"s":["ac",["abc"]]}"#, "YI"),
    // 18: anything-but.
    (18, r#"{"s":[{"anything-but":"x"}]}"#, r#"{"s":null}"#, "YY"),
    (18, r#"{"s":[{"anything-but":"x"}]}"#, r#"{"s":{}}"#, "NN"),
    (18, r#"{"s":[{"anything-but":[1,2]}]}"#, r#"{"s":2.0}"#, "NN"),
    (18, r#"{"s":[{"anything-but":[1,"a"]}]}"#, r#"{"s":"b"}"#, "YI"),
    (18, r#"{"s":[{"anything-but":[true]}]}"#, r#"{"s":false}"#, "YI"),
    (18, r#"{"s":[{"anything-but":{"prefix":["a","b"]}}]}"#, r#"{"s":"bc"}"#, "NN"),
    (18, r#"{"s":[{"anything-but":{"wildcard":"*.tmp"}}]}"#, r#"{"s":5}"#, "YY"),
    (18, r#"{"s":[{"anything-but":{"equals-ignore-case":["A","Ö"]}}]}"#, r#"{"s":"ö"}"#, "NN"),
    (18, r#"{"s":[{"anything-but":{"cidr":"10.0.0.0/8"}}]}"#, r#"{"s":"host"}"#, "YI"),
    (18, r#"{"s":[{"anything-but":{"numeric":[">=",1,"<",3]}}]}"#, r#"{"s":2}"#, "NI"),
    (18, r#"{"s":[{"anything-but":1e400}]}"#, r#"{"s":1}"#, "YI"),
    // 19: numeric.
    (19, r#"{"n":[{"numeric":["<=",0.1]}]}"#, r#"{"n":0.1000000000000000000001}"#, "NN"),
    (19, r#"{"n":[{"numeric":[">",0.1]}]}"#, r#"{"n":0.1000000000000000000001}"#, "YN"),
    (19, r#"{"n":[{"numeric":["!=",0]}]}"#, r#"{"n":"0"}"#, "NI"),
    (19, r#"{"n":[{"numeric":["<",9,">=",1]}]}"#, r#"{"n":1}"#, "YI"),
    (19, r#"{"n":[{"numeric":[">=",1,"<=",1]}]}"#, r#"{"n":1.0}"#, "YI"),
    (19, r#"{"n":[{"numeric":[">",-2,"<",-1]}]}"#, r#"{"n":-1.5}"#, "YY"),
    (19, r#"{"n":[{"numeric":[">",1e999]}]}"#, r#"{"n":2e999}"#, "YI"),
    // 20: cidr (more in `network`).
    (20, r#"{"ip":[{"cidr":"192.168.4.9/22"}]}"#, r#"{"ip":"192.168.7.255"}"#, "YY"),
    (20, r#"{"ip":[{"cidr":"192.168.4.9"}]}"#, r#"{"ip":"192.168.4.9"}"#, "YI"),
    // 21: exists.
    (21, r#"{"a":[{"exists":true}]}"#, r#"{"a":null}"#, "YY"),
    (21, r#"{"a":[{"exists":true}]}"#, r#"{"a":{"b":1}}"#, "NN"),
    (21, r#"{"a":[{"exists":false}]}"#, r#"{"a":[{},[]]}"#, "YY"),
    (21, r#"{"a":{"b":[{"exists":false}]}}"#, r#"{"a":3}"#, "YY"),
    (21, r#"{"a":[{"exists":false}]}"#, r#"{"a":[[""]]}"#, "NN"),
    // 23-26: arrays.
    (23, r#"{"a":[1],"a.b":[2]}"#, r#"{"a":[1,{"b":2}]}"#, "YY"),
    (23, r#"{"a":[1],"a.b":[2]}"#, r#"{"a":[[1],{"b":2}]}"#, "NN"),
    (24, r#"{"i":{"k":[1],"v":[2]}}"#, r#"{"i":[{"k":1,"v":3},{"k":1,"v":2}]}"#, "YY"),
    (24, r#"{"i":{"k":[1],"v":[2]}}"#, r#"{"i":[{"k":1},{"v":2}]}"#, "NN"),
    (24, r#"{"i":{"k":[1]},"j":{"v":[2]}}"#, r#"{"i":[{"k":0},{"k":1}],"j":[{"v":2},{}]}"#, "YY"),
    (
        24,
        r#"{"o":{"i":{"k":[1],"v":[2]},"z":[3]}}"#,
        r#"{"o":[{"i":[{"k":1,"v":2}]},{"i":[{"k":1,"v":2}],"z":3}]}"#,
        "YY",
    ),
    (
        24,
        r#"{"o":{"i":{"k":[1],"v":[2]},"z":[3]}}"#,
        r#"{"o":[{"i":[{"k":1,"v":2}]},{"i":[{"k":1},{"v":2}],"z":3}]}"#,
        "NN",
    ),
    (25, r#"{"t":[{"anything-but":"x"}]}"#, r#"{"t":["x",["y"]]}"#, "YY"),
    (26, r#"{"a":{"b":[1],"c":[2]}}"#, r#"{"a":[[{"b":1},{"c":2}],[{"b":1,"c":2}]]}"#, "YY"),
    (26, r#"{"a":{"b":[1],"c":[2]}}"#, r#"{"a":[[{"b":1}],[{"c":2}]]}"#, "NN"),
    // 27, 28: absence last; `aws` goes by the alphabet.
    (27, r#"{"i":{"own":[{"exists":false}],"st":[1]}}"#, r#"{"i":[{"st":1,"own":7},{"st":1}]}"#, "YN"),
    (27, r#"{"i":{"zown":[{"exists":false}],"st":[1]}}"#, r#"{"i":[{"st":1,"zown":7},{"st":1}]}"#, "YY"),
    (27, r#"{"i":{"own":[{"exists":false}]}}"#, r#"{"i":[{"own":7},{"st":1}]}"#, "NN"),
    (27, r#"{"i":{"c":[2],"$or":[{"b":[{"exists":false}]},{"d":[1]}]}}"#, r#"{"i":[{"b":1,"c":2,"d":1}]}"#, "YY"),
    (28, r#"{"a":[{"exists":false},"x"]}"#, r#"{"a":["y"]}"#, "NN"),
    (28, r#"{"i":{"c":[{"exists":false},1],"b":[{"exists":false},2]}}"#, r#"{"i":[{"c":1},{"b":5}]}"#, "YN"),
    (28, r#"{"i":{"b":[{"exists":false},1],"c":[2]}}"#, r#"{"i":[{"b":1},{"c":2}]}"#, "YN"),
    // 29, 30: alternatives.
    (29, r#"{"s":[1],"$or":[{"a":[1]},{"b":[2]}]}"#, r#"{"s":1,"a":2,"b":2}"#, "YY"),
    (29, r#"{"d":{"$or":[{"a":[1]},{"$or":[{"b":[2]},{"c":[3]}]}]}}"#, r#"{"d":{"c":3}}"#, "YY"),
    (29, r#"{"i":{"d":[3],"$or":[{"b":[1]},{"c":[2]}]}}"#, r#"{"i":[{"b":1},{"c":2},{"d":3}]}"#, "NN"),
    (30, r#"{"t":["a"],"$or":[{"t":["b"]},{"n":[1]}]}"#, r#"{"t":"b"}"#, "NY"),
    (30, r#"{"t":[{"prefix":"a"}],"$or":[{"t":[{"suffix":"z"}]},{"n":[1]}]}"#, r#"{"t":["a","z"]}"#, "NY"),
    (30, r#"{"t":[{"prefix":"a"}],"$or":[{"t":[{"suffix":"z"}]},{"n":[1]}]}"#, r#"{"t":["a","az"]}"#, "YY"),
    (30, r#"{"i":{"t":[1,2],"k":[1]},"i.t":[2,3]}"#, r#"{"i":[{"t":[1,2],"k":1}]}"#, "YY"),
    (30, r#"{"t":[{"exists":false}],"$or":[{"t":["b"]},{"n":[1]}]}"#, r#"{"t":"b"}"#, "NY"),
    (30, r#"{"t":[{"exists":false},1],"$or":[{"t":[{"exists":false},2]},{"n":[1]}]}"#, r#"{}"#, "YY"),
];

#[test]
fn vectors() {
    for (rule, pattern, event, expected) in VECTORS {
        for (dialect, expected) in [Dialect::Tidegate, Dialect::Aws].into_iter().zip(expected.chars()) {
            let verdict = verdict(pattern, event, &options(dialect));
            assert!(expected == '.' || verdict == expected, "rule {rule} {dialect:?}: {pattern} on {event}: {verdict}");
        }
    }
}

#[test]
fn alias_rewrites_the_top_of_the_pattern_alone() {
    let aliased = Options { alias_aws: true, ..Options::default() };
    let cases = [
        (r#"{"detail-type":["a"],"detail":{"detail":[1]}}"#, r#"{"type":"a","data":{"detail":1}}"#, 'Y'),
        (r#"{"detail.x":[1],"$or":[{"detail-type":["a"]},{"id":["1"]}]}"#, r#"{"type":"a","data":{"x":1}}"#, 'Y'),
        (r#"{"detail":{"x":[1]}}"#, r#"{"detail":{"x":1}}"#, 'N'),
        (r#"{"details":[1]}"#, r#"{"details":1}"#, 'Y'),
    ];
    for (pattern, event, expected) in cases {
        assert_eq!(verdict(pattern, event, &aliased), expected, "{pattern}");
    }
    assert_eq!(verdict(r#"{"detail-type":["a"]}"#, r#"{"type":"a"}"#, &Options::default()), 'N');
}

#[test]
fn members_that_never_were_json() {
    let member = |name: &'static str, value| Member { name: name.into(), value };
    let members = [member("type", Value::Text("a\"b")), member("data_base64", Value::Base64(&[0, 1, 255]))];
    let document = Document::from(Members::from_iter(members));
    assert_eq!(pattern(r#"{"type":["a\"b"],"data_base64":["AAH/"]}"#).matches(&document), Ok(true));
    assert_eq!(pattern(r#"{"type":{"x":[1]}}"#).matches(&document), Ok(false));
}

/// Pattern and the pointers of all its errors.
const REFUSED: &[(&str, &[&str])] = &[
    ("", &[""]),
    ("3", &[""]),
    (r#"{"a":[1]"#, &[""]),
    (r#"{"a":["\udc00"]}"#, &[""]),
    (r#"{"a":[],"b":{},"c":{"d":{}}}"#, &["/a", "/b", "/c/d"]),
    (r#"{"x":[1],"x":[2],"\u0078":[]}"#, &["/x", "/x"]),
    (r#"{"x":[{"prefix":"a","prefix":5}]}"#, &["/x/0/prefix", "/x/0/prefix"]),
    (r#"{"a/b":[],"c~d":[],"":[],"e.f":[]}"#, &["/a~1b", "/c~0d", "/", "/e.f"]),
    (r#"{"a":[1,{},[2],{"Prefix":"x"}]}"#, &["/a/1", "/a/2", "/a/3/Prefix"]),
    (r#"{"a":[{"no":1,"suffix":null}]}"#, &["/a/0/no", "/a/0/suffix"]),
    (r#"{"a":[{"prefix":{"wildcard":"x"}},{"suffix":{}}]}"#, &["/a/0/prefix/wildcard", "/a/1/suffix"]),
    (r#"{"a":[{"prefix":{"equals-ignore-case":1}}]}"#, &["/a/0/prefix/equals-ignore-case"]),
    (r#"{"a":[{"wildcard":"a**"},{"wildcard":"\\"}]}"#, &["/a/0/wildcard", "/a/1/wildcard"]),
    (r#"{"a":[{"cidr":"10.0.0.0/33"},{"cidr":4}]}"#, &["/a/0/cidr", "/a/1/cidr"]),
    (r#"{"a":[{"exists":"no"},{"exists":false,"prefix":"a"}]}"#, &["/a/0/exists", "/a/1/exists"]),
    (r#"{"a":[{"numeric":["=>","1"]}]}"#, &["/a/0/numeric/0", "/a/0/numeric/1"]),
    (r#"{"a":[{"numeric":[">",1,"<"]},{"numeric":{}}]}"#, &["/a/0/numeric", "/a/1/numeric"]),
    (r#"{"a":[{"numeric":[">",1,"<=",1]},{"numeric":["<",1,"<",2]}]}"#, &["/a/0/numeric", "/a/1/numeric"]),
    (r#"{"a":[{"anything-but":[]},{"anything-but":{}}]}"#, &["/a/0/anything-but", "/a/1/anything-but"]),
    (r#"{"a":[{"anything-but":[1,[2],{"x":3}]}]}"#, &["/a/0/anything-but/1", "/a/0/anything-but/2"]),
    (r#"{"a":[{"anything-but":{"exactly":"x"}}]}"#, &["/a/0/anything-but/exactly"]),
    (r#"{"a":[{"anything-but":{"prefix":["x",""]}}]}"#, &["/a/0/anything-but/prefix/1"]),
    (r#"{"a":[{"anything-but":{"wildcard":[]}}]}"#, &["/a/0/anything-but/wildcard"]),
    (r#"{"a":[{"anything-but":{"numeric":[">",2,"<",1]}}]}"#, &["/a/0/anything-but/numeric"]),
    (r#"{"$or":[{"a":[]},{"b":[{"x":1}]}]}"#, &["/$or/0/a", "/$or/1/b/0/x"]),
    (r#"{"$or":[{"prefix":"x"},{"b":[2]}]}"#, &["/$or/1/b"]),
];

fn refused(text: &str, options: &Options) -> Vec<Fault> {
    compile(text, options).err().unwrap_or_default()
}

fn sorted<'f>(pointers: impl Iterator<Item = &'f str>) -> Vec<&'f str> {
    let mut pointers: Vec<&str> = pointers.collect();
    pointers.sort_unstable();
    pointers
}

#[test]
fn every_error_with_its_pointer_and_a_cure() {
    for (text, pointers) in REFUSED {
        let faults = refused(text, &Options::default());
        assert_eq!(sorted(faults.iter().map(|f| f.pointer.as_str())), sorted(pointers.iter().copied()), "{text}");
        for fault in faults {
            assert!(fault.code.starts_with("PATTERN_") && !fault.warning, "{fault:?}");
            assert!(fault.code == "PATTERN_JSON" || !fault.cure.is_empty(), "{fault:?}");
        }
    }
}

#[test]
fn messages_name_what_was_found_and_what_is_allowed() {
    let one = |text: &str, dialect| refused(text, &options(dialect)).remove(0);
    let fault = one(r#"{"a":[{"starts_with":"x"}]}"#, Dialect::Tidegate);
    assert!(
        fault.message.starts_with("`a`: `starts_with` is no operator; allowed are `exactly`, `prefix`"),
        "{fault:?}"
    );
    assert_eq!((fault.code, fault.cure.as_str()), ("PATTERN_OPERATOR", "write `prefix`"));
    for (wrong, cure) in
        [("prefx", "write `prefix`"), ("anythingBut", "write `anything-but`"), ("Like", "write `wildcard`")]
    {
        assert_eq!(one(&format!(r#"{{"a":[{{"{wrong}":"x"}}]}}"#), Dialect::Tidegate).cure, cure);
    }
    let fault = one(r#"{"a":[{"contains":"x"}]}"#, Dialect::Aws);
    assert!(fault.cure.contains("wildcard") && !fault.message.contains("`contains`,"), "{fault:?}");
    let fault = one(r#"{"a":[{"anything-but":{"exists":true}}]}"#, Dialect::Aws);
    assert!(fault.message.ends_with("`prefix`, `suffix`, `equals-ignore-case`, `wildcard`"), "{fault:?}");
    assert_eq!(one(r#"{"a":[{"prefix":"a","suffix":"b"}]}"#, Dialect::Aws).code, "PATTERN_DIALECT");
    assert_eq!(one("{}", Dialect::Aws).pointer, "");
}

#[test]
fn warnings_refuse_nothing() {
    let warnings = |text: &str, dialect| {
        let Compiled { warnings, .. } = compile(text, &options(dialect)).unwrap();
        assert!(warnings.iter().all(|w| w.warning));
        warnings.into_iter().map(|w| (w.code, w.pointer)).collect::<Vec<_>>()
    };
    let one = |code, pointer: &str| vec![(code, pointer.to_owned())];
    for dialect in [Dialect::Tidegate, Dialect::Aws] {
        assert_eq!(warnings(r#"{"q":{"numeric":[">",0]}}"#, dialect), one("PATTERN_FIELD_NAME", "/q/numeric"));
        assert_eq!(warnings(r#"{"a":{"$or":["x"]}}"#, dialect), one("PATTERN_OR", "/a/$or"));
        let text = r#"{"t":[1],"$or":[{"t":[2]},{"a.b":[3]}],"c":[4]}"#;
        assert_eq!(warnings(text, dialect), one("PATTERN_REPEATED", "/$or/0/t"));
        assert_eq!(warnings(r#"{"a.b":[1],"a":{"b":[2]}}"#, dialect), one("PATTERN_REPEATED", "/a/b"));
        // Branches exclude each other: no repetition.
        assert_eq!(warnings(r#"{"$or":[{"t":[1]},{"t":[2]}],"prefix":["x"]}"#, dialect), []);
    }
}

#[test]
fn limits_hold_exactly() {
    let limits = Limits { text_bytes: 200, depth: 3, matchers: 2, values: 2, attempts: 100 };
    let options = Options { limits, ..Options::default() };
    let pointers = |text: &str| refused(text, &options).into_iter().map(|f| f.pointer).collect::<Vec<_>>();
    let none: [&str; 0] = [];
    assert_eq!(pointers(&format!("{{}}{}", " ".repeat(198))), none);
    assert_eq!(pointers(&format!("{{}}{}", " ".repeat(199))), [""]);
    assert_eq!(pointers(r#"{"a":{"b":{"c.d":[{"anything-but":{"prefix":"x"}}]}}}"#), none);
    assert_eq!(pointers(r#"{"a":{"b":{"c":{"d":[]}}}}"#), ["/a/b/c"]);
    assert_eq!(pointers(r#"{"a":{"$or":[{"b":[1]},{"c":{"d":[1]}}]}}"#), ["/a/$or/1/c"]);
    assert_eq!(pointers(r#"{"a":[1,2],"b":[1,2,[]]}"#), ["/b"]);
    assert_eq!(pointers(r#"{"a":[{"anything-but":[1,2]},{"anything-but":[1,2,[]]}]}"#), ["/a/1/anything-but"]);
    assert_eq!(pointers(r#"{"a":[{"anything-but":{"suffix":["x","y","z"]}}]}"#), ["/a/0/anything-but/suffix"]);
}

#[test]
fn hostile_nesting_is_an_ordinary_error() {
    for dialect in [Dialect::Tidegate, Dialect::Aws] {
        let deep = format!("{}[1]{}", r#"{"k":"#.repeat(10_000), "}".repeat(10_000));
        assert_eq!(refused(&deep, &options(dialect)).remove(0).pointer, "/k".repeat(32));
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(refused(&deep, &options(dialect)).remove(0).pointer, "/a/0");
        let deep = format!("{}[1]{}", r#"{"$or":[{"a":[1]},"#.repeat(3_000), "]}".repeat(3_000));
        assert!(!refused(&deep, &options(dialect)).is_empty());
    }
}

#[test]
fn aws_allows_a_thousand_alternatives() {
    let ors = |count| (0..count).map(|i| format!(r#""d{i}":{{"$or":[{{"a":[1]}},{{"b":[1]}}]}}"#)).collect::<Vec<_>>();
    let text = |count| format!("{{{}}}", ors(count).join(","));
    assert!(compile(&text(9), &options(Dialect::Aws)).is_ok());
    assert_eq!(refused(&text(10), &options(Dialect::Aws)).remove(0).code, "PATTERN_ALTERNATIVES");
    assert!(compile(&text(200), &options(Dialect::Tidegate)).is_ok());
}

/// `[element, element, …]`
fn list(count: usize, element: &str) -> String {
    format!("[{}]", vec![element; count].join(","))
}

#[test]
fn large_arrays_and_many_alternatives_stay_within_the_bound() {
    let none = Ok(false);
    // Two fields that never meet, in 20,000 elements.
    let event = format!(r#"{{"i":{}}}"#, list(10_000, r#"{"a":1},{"b":1}"#));
    assert_eq!(pattern(r#"{"i":{"a":[1],"b":[1]}}"#).matches(&document(&event)), none);
    // Arrays that have nothing to do with each other.
    let long = list(1_000, r#"{"a":1},{"b":1}"#);
    let event = format!(r#"{{"i":{long},"j":{long},"k":{long}}}"#);
    let text = r#"{"i":{"a":[1]},"j":{"a":[1]},"k":{"a":[1],"b":[1]}}"#;
    assert_eq!(pattern(text).matches(&document(&event)), none);
    // 2^40 alternatives, each of which fails at the end.
    let ors: Vec<String> = (0..40).map(|i| format!(r#""d{i}":{{"$or":[{{"a":[1]}},{{"b":[1]}}]}}"#)).collect();
    let fields: Vec<String> = (0..39).map(|i| format!(r#""d{i}":[{{"a":1,"b":1}},{{}}]"#)).collect();
    let event = format!("{{{}}}", fields.join(","));
    assert_eq!(pattern(&format!("{{{}}}", ors.join(","))).matches(&document(&event)), none);
    // A path in many values at once.
    let event = format!(r#"{{"t":{},"d":[{{"x":1}}]}}"#, list(200_000, "1"));
    assert_eq!(pattern(r#"{"t":[2],"d":{"x":[1]}}"#).matches(&document(&event)), none);
    let event = format!(r#"{{"d":[{{"t":{}}},{{"x":1}}]}}"#, list(200_000, "1"));
    assert_eq!(pattern(r#"{"d":{"t":[1],"x":[1]}}"#).matches(&document(&event)), none);
}

#[test]
fn the_bound_is_an_error_of_its_own() {
    // Inside one element, inner lists multiply.
    let inner = list(30, r#"{"a":1},{"b":1}"#);
    let event = format!(r#"{{"o":[{{"p":{inner},"q":{inner},"r":{inner},"s":{inner}}}]}}"#);
    let text = r#"{"o":{"p":{"a":[1]},"q":{"a":[1]},"r":{"a":[1]},"s":{"a":[1],"b":[1]}}}"#;
    let result = pattern(text).matches(&document(&event));
    assert!(matches!(result, Err(EvaluationLimit { attempts: 100_000 })), "{result:?}");
    assert!(pattern(text).explain(&document(&event)).sentence.contains("100000 attempts"));
}

#[test]
fn patterns_travel_between_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<Pattern>();
}
