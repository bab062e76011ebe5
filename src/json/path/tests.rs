//! Paths over one document: what they find, and what is no path.

use super::meter::Limits;
use super::{Path, TooCostly};
use crate::json::document::Document;
use crate::json::item::Item;
use crate::json::value::Json;

const EVENT: &str = r#"{"id":"7","data":{"n":1.10,"l":[10,20,30,40],"c-count":3,"1st":"x","a.b":"dot","it's":1,
 "o":{"k":1,"z":2,"k":3},"items":[{"s":"A","q":6,"t":["x"]},{"s":"B","q":1,"g":null},{"s":"Cé","q":12.0}],"é":5}}"#;

fn find(path: &str) -> Option<String> {
    let document = Document::from_object(Json::check(EVENT.as_bytes()).unwrap()).unwrap();
    let mut out = String::new();
    Path::parse(path).unwrap().find(Item::of(&document)).unwrap().map(|found| {
        found.write_compact(&mut out);
        out
    })
}

#[test]
fn definite_paths_find_one_value_or_none() {
    let cases = [
        ("$.data.n", Some("1.10")),
        ("$['data'][\"n\"]", Some("1.10")),
        ("$ .data\n.n", Some("1.10")),
        ("$.data.l[0]", Some("10")),
        ("$.data.l[-1]", Some("40")),
        ("$.data.l[4]", None),
        ("$.data.l[-5]", None),
        ("$.data.l.x", None),
        ("$.data.n[0]", None),
        ("$.id.x", None),
        ("$.data.c-count", Some("3")),
        ("$.data.1st", Some("\"x\"")),
        ("$.data['a.b']", Some("\"dot\"")),
        ("$.data.a.b", None),
        ("$.data['it\\'s']", Some("1")),
        ("$.data[\"\\u00e9\"]", Some("5")),
        ("$.data.é", Some("5")),
        ("$.data.o", Some("{\"k\":3,\"z\":2}")),
    ];
    for (path, expected) in cases {
        assert_eq!(find(path).as_deref(), expected, "{path}");
        assert!(Path::parse(path).unwrap().steps().is_some(), "{path}");
    }
}

#[test]
fn other_paths_find_lists() {
    let cases = [
        ("$.data.l[*]", "[10,20,30,40]"),
        ("$.data.o.*", "[3,2]"),
        ("$.data.l[1:3]", "[20,30]"),
        ("$.data.l[::-2]", "[40,20]"),
        ("$.data.l[-2:]", "[30,40]"),
        ("$.data.l[5:]", "[]"),
        ("$.data.l[:-5]", "[]"),
        ("$.data.l[::0]", "[]"),
        ("$.data.l[ 0 , -1 ]", "[10,40]"),
        ("$.data['n','zz','1st']", "[1.10,\"x\"]"),
        ("$..s", "[\"A\",\"B\",\"Cé\"]"),
        ("$..t[0]", "[\"x\"]"),
        ("$.zz[*]", "[]"),
        ("$.data.items[?@.q>5].s", "[\"A\",\"Cé\"]"),
        ("$.data.items[?(@.q >= 1.0 && @.s != 'A')].s", "[\"B\",\"Cé\"]"),
        ("$.data.items[?@.q==12 || @.g == null].s", "[\"B\",\"Cé\"]"),
        ("$.data.items[?!@.g].s", "[\"A\",\"Cé\"]"),
        ("$.data.items[?!(@.q<6)].s", "[\"A\",\"Cé\"]"),
        ("$.data.items[?@.g].s", "[\"B\"]"),
        ("$.data.items[?@.q==$.data.items[0].q].s", "[\"A\"]"),
        ("$.data.items[?@.zz==@.yy].s", "[\"A\",\"B\",\"Cé\"]"),
        ("$.data.items[?@.t==$.data.items[0].t].s", "[\"A\"]"),
        ("$.data.items[?length(@.s)==2].s", "[\"Cé\"]"),
        ("$.data.items[?count(@.*)>2].s", "[\"A\",\"B\"]"),
        ("$.data.items[?value(@..q)==1].s", "[\"B\"]"),
        ("$.data.items[?match(@.s,'[AB]')].q", "[6,1]"),
        ("$.data.items[?search(@.s,\"é\")].q", "[12.0]"),
        ("$.data.items[?match(@.s, $.id)].q", "[]"),
        (r"$.data.items[?match(@.s,'\\p{Lu}')].q", "[6,1]"),
        ("$.data.l[?@ > 15 && @ < 35]", "[20,30]"),
        ("$.data.items[?'A' < @.s].s", "[\"B\",\"Cé\"]"),
    ];
    for (path, expected) in cases {
        assert_eq!(find(path).as_deref(), Some(expected), "{path}");
        assert!(Path::parse(path).unwrap().steps().is_none(), "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    let cases = [
        ("", 0),
        ("a", 0),
        ("$.", 2),
        ("$.a ", 3),
        ("$.a b", 3),
        ("$[", 2),
        ("$[a]", 2),
        ("$[01]", 2),
        ("$[-0]", 2),
        ("$[9007199254740992]", 2),
        ("$['a'", 5),
        ("$['a", 2),
        ("$['\\x']", 2),
        ("$[?]", 3),
        ("$[?@.q=1]", 6),
        ("$[?@.*==1]", 8),
        ("$[?1]", 4),
        ("$[?length(@.a)]", 14),
        ("$[?match(@.a,'(')]", 3),
        ("$[?nope(@)]", 3),
        ("$[?x]", 4),
        ("$[?@.a==01]", 8),
        ("$...a", 3),
    ];
    for (path, at) in cases {
        let error = Path::parse(path).unwrap_err();
        assert_eq!(error.at, at, "{path}: {error}");
    }
    assert!(Path::parse(&format!("$[?{}@{}]", "(".repeat(1000), ")".repeat(1000))).is_err());
}

#[test]
fn hostile_nesting_is_walked() {
    let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(500), "]".repeat(500));
    let event = format!("{{\"a\":{},\"b\":{}}}", deep("{\"x\":1}"), deep("{\"x\":1.0}"));
    let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
    for (path, expected) in [("$..x", "[1,1.0]"), ("$[?@ == $.b]..x", "[1,1.0]"), ("$.a..[?@.x]", "[{\"x\":1}]")] {
        let mut out = String::new();
        Path::parse(path).unwrap().find(Item::of(&document)).unwrap().unwrap().write_compact(&mut out);
        assert_eq!(out, expected, "{path}");
    }
}

#[test]
fn an_evaluation_is_bounded() {
    let wide = format!("{{\"l\":[{}],\"re\":\"[a-c]+\"}}", ["{\"s\":\"ab\",\"n\":[1,2,3]}"; 200].join(","));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(400), "]".repeat(400));
    let limits = Limits { read: 4 << 20, found: 2_000, written: 50_000 };
    let cost = |path: &str, event: &str| {
        let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
        Path::parse(path).unwrap().find_within(Item::of(&document), limits).map(|found| found.is_some())
    };
    for path in ["$..s", "$.l[*].n[*]", "$.l[?@.n[1]==2].s", "$.l[?search(@.s,'a')]", "$.l[?@.s==$.l[0].s]", "$.zz"] {
        assert!(cost(path, &wide).is_ok(), "{path}");
    }
    // One expression of the event is compiled once, not for each value.
    assert_eq!(cost("$.l[?match(@.s, $.re)].n", &wide), Ok(true));
    assert_eq!(cost("$.l[?match(@.s, $.re) && search($.re, @.s)]", &wide), Ok(true));
    let read = Err(TooCostly::Read(limits.read));
    assert_eq!(cost("$.l[?match($.re, @.s) || match($.l[0].s, @.n[0])]", &wide), Ok(true));
    assert_eq!(cost("$.l[?count($..*) > 1]", &wide), Err(TooCostly::Found(limits.found)));
    assert_eq!(cost("$.l[?@ != $]", &wide), Ok(true));
    assert_eq!(cost("$.l[*].n[?@ != $.l && @ != $.l]", &wide), read);
    let expressions: Vec<String> = (0..20).map(|i| format!("\"a{{{i}}}\"")).collect();
    assert_eq!(cost("$.l[?match('aa', @)]", &format!("{{\"l\":[{}]}}", expressions.join(","))), read);
    assert_eq!(cost("$..*..*..*", &wide), Err(TooCostly::Found(limits.found)));
    assert_eq!(cost("$..*", &deep), Err(TooCostly::Written(limits.written)));
    assert_eq!(cost("$..*..*", &deep), Err(TooCostly::Found(limits.found)));
}

#[test]
fn wide_objects_are_compared_in_one_pass() {
    let object = |order: &mut dyn Iterator<Item = u32>| {
        let members: Vec<String> = order.map(|i| format!("\"k{i}\":{i}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let (up, down) = (object(&mut (0..20_000)), object(&mut (0..20_000).rev()));
    let event = format!("{{\"l\":[{up}],\"same\":{down},\"other\":{}}}", down.replace(":7,", ":8,"));
    let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
    for (path, expected) in [("$.l[?@ == $.same]['k7']", "[7]"), ("$.l[?@ == $.other]['k7']", "[]")] {
        let mut out = String::new();
        Path::parse(path).unwrap().find(Item::of(&document)).unwrap().unwrap().write_compact(&mut out);
        assert_eq!(out, expected, "{path}");
    }
}
