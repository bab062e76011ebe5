//! One line for every operator, function, cast and kind of error.

use super::*;
use crate::json::value::Json;

const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop/eu","type":"order.paid","time":"2026-01-02T03:04:05Z",
    "hop":"5","ttl":10,"sampled":true,"flag":"False","price":1.50,"large":3000000000,"word":"żółw","empty":"",
    "gone":null,"list":[1],"data":"secret","data_base64":"eA=="}"#;

/// Value and kind of error of an expression; a text that is refused is false.
fn outcome(text: &str) -> (String, Option<&'static str>) {
    match compile(text) {
        Err(problems) => ("false".to_owned(), Some(problems[0].kind.as_str())),
        Ok((expression, _)) => {
            let document = Document::from_object(Json::check(EVENT.as_bytes()).unwrap()).unwrap();
            let outcome = expression.evaluate(&document);
            assert_eq!(expression.matches(&document), outcome == Ok(Value::Boolean(true)));
            match outcome {
                Ok(value) => (value.to_string(), None),
                Err(error) => (error.value.to_string(), Some(error.reason.kind().as_str())),
            }
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, value) in cases {
        assert_eq!(outcome(text), ((*value).to_owned(), None), "{text}");
    }
}

#[test]
fn literals_and_attributes() {
    check(&[
        ("TrUe", "true"),
        ("\tfalse\r\n", "false"),
        ("007", "7"),
        ("+5", "5"),
        ("-2147483648", "-2147483648"),
        ("- 3", "-3"),
        ("'a\"b\\'c'", "'a\"b'c'"),
        ("\"a'b\\\"c\"", "'a'b\"c'"),
        // Only the escaped quote loses its backslash.
        ("'a\\b\\\\\\%\\\"'", "'a\\b\\\\\\%\\\"'"),
        ("ID", "'7'"),
        ("Source", "'/shop/eu'"),
        ("ttl", "10"),
        ("sampled", "true"),
        // No integers of 32 bits: by their text.
        ("price", "'1.50'"),
        ("large", "'3000000000'"),
        ("((hop))", "'5'"),
    ]);
}

#[test]
fn operators() {
    check(&[
        ("NOT TRUE", "false"),
        ("not flag", "true"),
        ("NOT NOT sampled", "true"),
        ("-hop", "-5"),
        ("--ttl", "10"),
        ("-TRUE", "-1"),
        ("-(2 + 3)", "-5"),
        ("2 * 3", "6"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("7 % -2", "1"),
        ("-2147483648 % -1", "0"),
        ("hop + ttl", "15"),
        ("'3' - 4", "-1"),
        ("5 + TRUE", "6"),
        ("id = 7", "true"),
        ("7 = id", "true"),
        ("'07' = 7", "true"),
        ("7 = '07'", "false"),
        ("flag = FALSE", "true"),
        ("FALSE = flag", "false"),
        ("TRUE = 'true'", "true"),
        ("2 = TRUE", "true"),
        ("type != 'order.paid'", "false"),
        ("type <> 'Order.paid'", "true"),
        ("hop < ttl", "true"),
        ("'10' <= '9'", "false"),
        ("ttl > 9", "true"),
        ("ttl >= 11", "false"),
        ("TRUE AND sampled", "true"),
        ("'true' AND 0", "false"),
        ("FALSE OR flag", "false"),
        ("flag OR 1", "true"),
        ("sampled XOR TRUE", "false"),
        ("sampled XOR flag", "true"),
        ("EXISTS subject", "false"),
        ("exists TIME", "true"),
        ("EXISTS gone", "false"),
        ("EXISTS list", "false"),
        ("EXISTS empty", "true"),
        ("NOT EXISTS data", "true"),
        ("ttl IN (1, '10')", "true"),
        ("'10' IN (ttl)", "true"),
        ("hop IN ('05', 6)", "false"),
        ("ttl NOT IN (1, 2)", "true"),
        ("TRUE IN (0, 1)", "true"),
        ("type IN ('1','2','3','4','5','6','7','8','order.paid')", "true"),
        ("type NOT IN (1, 2, 3, 4, 5, 6, 7, 8, TRUE)", "true"),
        ("ttl IN (1, 2, 3, 4, 5, 6, 7, 8, '0010')", "true"),
    ]);
}

#[test]
fn precedence_and_direction() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("16 / 4 / 2", "2"),
        ("2 * 7 % 4", "2"),
        ("1 + 1 = 2", "true"),
        ("1 < 2 = TRUE", "true"),
        ("3 > 2 AND 2 > 1", "true"),
        // AND, OR and XOR bind alike.
        ("TRUE OR FALSE AND FALSE", "false"),
        ("TRUE OR (FALSE AND FALSE)", "true"),
        ("TRUE XOR TRUE OR TRUE", "true"),
        ("NOT FALSE AND FALSE", "false"),
        ("NOT TRUE = FALSE", "true"),
        ("-4 + 1", "-3"),
        // LIKE and IN bind tighter than arithmetic: 1 + TRUE, 2 * TRUE.
        ("1 + 1 LIKE '1'", "2"),
        ("2 * ttl IN (10)", "2"),
        ("ttl IN (10) LIKE 'tr%'", "true"),
        ("'a' LIKE 'a' IN (TRUE)", "true"),
        ("NOT flag LIKE 'tr%'", "true"),
    ]);
}

#[test]
fn short_circuits() {
    check(&[
        ("FALSE AND nothing", "false"),
        ("TRUE OR nothing = 1", "true"),
        ("FALSE AND 1 / 0 = 1", "false"),
        ("FALSE AND nothing OR TRUE", "true"),
        ("ttl IN (10, nothing)", "true"),
    ]);
}

#[test]
fn like() {
    check(&[
        ("type LIKE 'order.%'", "true"),
        ("type LIKE 'Order.%'", "false"),
        ("type NOT LIKE '%.paid'", "false"),
        ("type LIKE '%r%.%d'", "true"),
        ("type LIKE 'order'", "false"),
        ("type LIKE '%%'", "true"),
        ("empty LIKE ''", "true"),
        ("empty LIKE '_'", "false"),
        ("word LIKE '____'", "true"),
        ("word LIKE '___'", "false"),
        ("word LIKE 'ż%w'", "true"),
        ("word LIKE '%_ł_'", "true"),
        ("'ab' LIKE 'ab%b'", "false"),
        ("'a_c' LIKE 'a\\_c'", "true"),
        ("'abc' LIKE 'a\\_c'", "false"),
        ("'100%' LIKE '100\\%'", "true"),
        ("'a\\x' LIKE 'a\\x'", "true"),
        ("'xxaybzaybc' LIKE '%a_b_'", "true"),
        ("'a1a2a3b' LIKE '%a_b%'", "true"),
        ("ttl LIKE '1_'", "true"),
        ("sampled LIKE 'tr%'", "true"),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("LENGTH(word)", "4"),
        ("length(TRUE)", "4"),
        ("CONCAT()", "''"),
        ("CONCAT('a', 1, TRUE)", "'a1true'"),
        ("CONCAT_WS('-', hop, ttl)", "'5-10'"),
        ("Concat_Ws(',')", "''"),
        ("LOWER('ŻÓŁW')", "'żółw'"),
        ("UPPER(word)", "'ŻÓŁW'"),
        ("TRIM('\u{2003} a b\t')", "'a b'"),
        ("TRIM(' ')", "''"),
        ("LEFT(word, 2)", "'żó'"),
        ("LEFT(word, 0)", "''"),
        ("LEFT(word, 9)", "'żółw'"),
        ("RIGHT(word, 2)", "'łw'"),
        ("RIGHT(word, 0)", "''"),
        ("RIGHT(UPPER(word), '3')", "'ÓŁW'"),
        ("SUBSTRING(word, 2)", "'ółw'"),
        ("SUBSTRING(word, -2)", "'łw'"),
        ("SUBSTRING(word, -4, 1)", "'ż'"),
        ("SUBSTRING(word, 0, 3)", "''"),
        ("SUBSTRING(word, 4, 9)", "'w'"),
        ("SUBSTRING(word, 2, 0)", "''"),
        ("SUBSTRING('', 0)", "''"),
        ("ABS(-3)", "3"),
        ("ABS('4')", "4"),
        ("INT('-0012')", "-12"),
        ("INT('+3')", "3"),
        ("INT(TRUE)", "1"),
        ("INT(ttl)", "10"),
        ("BOOL('FALSE')", "false"),
        ("BOOL(-1)", "true"),
        ("BOOL(sampled)", "true"),
        ("STRING(-5)", "'-5'"),
        ("STRING(FALSE)", "'false'"),
        ("STRING(price)", "'1.50'"),
        ("UPPER(hop + ttl)", "'15'"),
    ]);
}

#[test]
fn errors_have_a_kind_and_a_value() {
    for (text, value, kind) in [
        ("nothing", "false", "missingAttribute"),
        ("data", "false", "missingAttribute"),
        ("gone = ''", "false", "missingAttribute"),
        ("list != ''", "false", "missingAttribute"),
        ("NOT nothing", "false", "missingAttribute"),
        ("-nothing", "0", "missingAttribute"),
        ("nothing / 0", "0", "missingAttribute"),
        ("LENGTH(nothing)", "0", "missingAttribute"),
        ("TRIM(nothing)", "''", "missingAttribute"),
        ("nothing LIKE '%'", "false", "missingAttribute"),
        ("nothing NOT IN (1)", "false", "missingAttribute"),
        ("type IN (nothing, 'order.paid')", "false", "missingAttribute"),
        ("nothing = 1 OR TRUE", "false", "missingAttribute"),
        ("1 / 0", "0", "math"),
        ("1 % 0", "0", "math"),
        ("1 = 1 / 0", "false", "math"),
        ("2147483647 + 1", "2147483647", "math"),
        ("-2147483648 - 1", "-2147483648", "math"),
        ("65536 * -65536", "-2147483648", "math"),
        ("-2147483648 / -1", "2147483647", "math"),
        ("-(-2147483648)", "2147483647", "math"),
        ("ABS(-2147483648)", "2147483647", "math"),
        ("INT('1.5')", "0", "cast"),
        ("INT('')", "0", "cast"),
        ("INT(large)", "0", "cast"),
        ("BOOL('yes')", "false", "cast"),
        ("NOT type", "true", "cast"),
        ("NOT 10", "true", "cast"),
        ("type + 1", "0", "cast"),
        ("type < 1", "false", "cast"),
        ("type = 1", "false", "cast"),
        ("type = TRUE", "false", "cast"),
        ("type AND TRUE", "false", "cast"),
        ("TRUE AND type", "false", "cast"),
        ("ttl IN ('x', 10)", "false", "cast"),
        ("LEFT(word, 'x')", "''", "cast"),
        ("LEFT(word, -1)", "'żółw'", "functionEvaluation"),
        ("RIGHT(word, -1)", "'żółw'", "functionEvaluation"),
        ("SUBSTRING(word, 5)", "''", "functionEvaluation"),
        ("SUBSTRING(word, -5)", "''", "functionEvaluation"),
        ("SUBSTRING(word, -2147483648)", "''", "functionEvaluation"),
        ("SUBSTRING(word, 0, -1)", "''", "functionEvaluation"),
        ("SUBSTRING('', 1)", "''", "functionEvaluation"),
        ("CONCAT_WS()", "false", "missingFunction"),
        ("LENGTH('a', 'b')", "false", "missingFunction"),
        ("NOW()", "false", "missingFunction"),
        ("ABC(", "false", "parse"),
    ] {
        assert_eq!(outcome(text), (value.to_owned(), Some(kind)), "{text}");
    }
}

/// What is wrong with a text: offset, message, cure.
fn refused(text: &str) -> Vec<(usize, String, String)> {
    let problems = compile(text).err().unwrap_or_default();
    problems.into_iter().map(|p| (p.offset, p.message, p.cure)).collect()
}

#[test]
fn grammar_faults_say_where_and_what_instead() {
    for (text, offset, message, cure) in [
        ("", 0, "found the end where a value", ""),
        ("type =", 6, "found the end where a value", ""),
        ("type == 'a'", 5, "`==`", "write `=`"),
        ("a && b", 2, "`&`", "`AND`"),
        ("!a", 0, "`!`", "`NOT`"),
        ("type = 'a", 7, "no end", "close it"),
        ("type = 'it''s'", 11, "found `'s'` where an operator or the end", "write a quote as \\'"),
        ("type LIKE 5", 10, "found `5` where a pattern in quotes", "'order.%'"),
        ("type NOT = 5", 9, "found `=` where LIKE or IN", "stands before it"),
        ("type IN ()", 9, "found `)` where a value", ""),
        ("type IN 'a'", 8, "found `'a'` where `(`", "('a', 'b')"),
        ("(a = 1", 6, "found the end where `)`", "close"),
        ("a = 1)", 5, "found `)`", "never opened"),
        ("a b", 2, "found `b` where an operator", "AND or OR"),
        ("my_ext = 1", 0, "`my_ext` is no name", "parentheses"),
        ("EXISTS 'a'", 7, "found `'a'` where the name", "EXISTS subject"),
        ("2147483648", 0, "does not fit into 32 bits", "2147483647"),
        ("-2147483649", 0, "does not fit into 32 bits", "2147483647"),
        ("+a", 1, "after the sign", "leave out"),
        ("type = “a”", 7, "no quote", "write ' or \""),
        ("a-b.c = 1", 3, "`.` cannot stand here", "quotes"),
        ("LEN(a) = 1", 0, "no function `LEN`", "`LENGTH`"),
        ("LOWR(a) = 1", 0, "no function `LOWR`", "`LOWER`"),
        ("NOW() = 1", 0, "no function `NOW`", "LENGTH, CONCAT, CONCAT_WS"),
        ("LEFT(a) = 1", 0, "no `LEFT` of 1 arguments: it takes 2", "LEFT(text, count)"),
    ] {
        let found = refused(text);
        let (at, said, instead) = found.first().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(*at == offset && said.contains(message) && instead.contains(cure), "{text}: {found:?}");
    }
    assert_eq!(refused("FOO(BAR(1)) = BAZ() AND SUBSTRING() LIKE 'x'").len(), 4, "all functions are told");
}

#[test]
fn doubts_refuse_nothing() {
    for (text, doubt) in [
        ("NOT type = 'a'", "`NOT type` is taken first"),
        ("NOT type LIKE 'a'", "`NOT type` is taken first"),
        ("NOT (type) IN ('a')", "`NOT (type)` is taken first"),
        ("a = 1 OR b = 2 AND c = 3", "left to right"),
        ("1 = 1", "it is always true"),
        ("'abc'", "it gives a string"),
        ("LENGTH(type)", "it gives an integer"),
        ("type = 'a' AND 1 / 0 = hop", "`1 / 0` always errs: a division by 0"),
        ("data = 'x'", "`data` is the payload"),
    ] {
        let (_, doubts) = compile(text).unwrap();
        assert!(doubts.iter().any(|d| d.message.contains(doubt)), "{text}: {doubts:?}");
    }
    for clear in ["NOT (type = 'a')", "(NOT sampled) = FALSE", "a = 1 AND b = 2 OR c = 3", "NOT EXISTS a", "sampled"] {
        assert_eq!(compile(clear).unwrap().1, [], "{clear}");
    }
}

#[test]
fn explanations_name_the_part_that_is_false() {
    let document = Document::from_object(Json::check(EVENT.as_bytes()).unwrap()).unwrap();
    for (text, sentence) in [
        (
            "type = 'order.paid' AND (hop < ttl AND source LIKE '/web%')",
            "`source LIKE '/web%'` is false: `source` is '/shop/eu'",
        ),
        (
            "type = 'x' OR EXISTS subject",
            "`type = 'x' OR EXISTS subject` is false: `type` is 'order.paid', `subject` is absent",
        ),
        ("sampled AND nothing * 5 = 0", "`nothing` errs: the event has no attribute `nothing` (missingAttribute)"),
        ("type > 3", "`type > 3` errs: 'order.paid' is not an integer of 32 bits (cast)"),
        ("LEFT(type, -1) = 'o'", "`LEFT(type, -1)` errs: the count is below 0 (functionEvaluation)"),
        ("ttl", "`ttl` is 10, not true or false"),
        ("sampled", "`sampled` is true"),
    ] {
        assert_eq!(compile(text).unwrap().0.explain(&document), sentence);
    }
}

#[test]
fn hostile_texts_cost_little() {
    let deep = |open: &str, close: &str, n: usize| format!("{}TRUE{}", open.repeat(n), close.repeat(n));
    for (open, close) in [("(", ")"), ("NOT ", ""), ("-", ""), ("BOOL(", ")"), ("TRUE IN (", ")")] {
        assert_eq!(compile(&deep(open, close, 20_000)).unwrap_err()[0].kind, Kind::Generic, "{open}");
        assert!(compile(&deep(open, close, 30)).is_ok(), "{open}");
    }
    assert_eq!(compile(&format!("a{}", " LIKE '%'".repeat(20_000))).unwrap_err()[0].kind, Kind::Generic);
    // Long is not deep.
    let long = format!("ttl{}", " + 1 - 1".repeat(20_000));
    assert_eq!(outcome(&format!("{long} = 10")), ("true".to_owned(), None));
    let large = "a".repeat(1_000_000);
    let event = format!("{{\"big\":\"{large}\"}}");
    let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
    let never = format!("big LIKE '%{}b%'", "a_".repeat(500));
    assert!(!compile(&never).unwrap().0.matches(&document));
    assert!(!compile(&format!("big LIKE '{}b'", "%a".repeat(20_000))).unwrap().0.matches(&document));
    let grown = compile("CONCAT(big, big) = ''").unwrap().0;
    assert_eq!(grown.evaluate(&document).unwrap_err().reason.kind(), Kind::FunctionEvaluation);
    assert_eq!(compile(&format!("big LIKE '%{}%'", "a_".repeat(513))).unwrap_err()[0].kind, Kind::Generic);
}
