//! What is fuzzed: each takes any bytes and panics only if something is wrong with us. No target depends on what the
//! bytes mean, so that a fuzzer may call them as well as the seeded test.

use bytes::BytesMut;
use tidegate::config::{Context, Env};
use tidegate::destinations::http1::Malformed;
use tidegate::destinations::http1::answer::Decoder;
use tidegate::destinations::pool::Wanted;
use tidegate::json::document::Document;
use tidegate::json::item::Item;
use tidegate::json::path::Path;
use tidegate::json::scan::{self, ErrorKind};
use tidegate::json::tape::Tape;
use tidegate::json::value::Json;
use tidegate::model::clock::WallMs;
use tidegate::model::resources::Dialect;
use tidegate::pattern::{self, Limits, Options, filters};
use tidegate::pipeline::eval::{self, Evaluator};

/// An event that paths, patterns and templates are tried on.
const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","subject":"a/b.csv","data":{"n":1.10,
"s":"a \"b\" 日","items":[{"sku":"A","qty":6,"ip":"10.0.0.1"},{"sku":"B","qty":1},[1,[2,null]]],"":{"":true},"a.b":3}}"#;

/// A target: its name, what it does, and inputs that are right.
pub(crate) struct Target {
    /// For messages.
    pub(crate) name: &'static str,
    /// Fails by panicking.
    pub(crate) run: fn(&[u8]),
    /// Where mutations start.
    pub(crate) seeds: &'static [&'static str],
}

/// All of them.
pub(crate) static TARGETS: [Target; 6] = [
    Target {
        name: "scan",
        run: scan,
        seeds: &[EVENT, r#"{"a":[1e999999,-0.0E-0,"\ud83d\ude00\u0000",{"a":1,"a":2},true,false,null]}"#, " [ ] "],
    },
    Target {
        name: "pattern",
        run: pattern,
        seeds: &[
            r#"{"type":["t",{"prefix":{"equals-ignore-case":"T"}}],"data":{"n":[{"numeric":[">",0,"<=",1e400]}]}}"#,
            r#"{"data":{"items":{"sku":["A"],"qty":[{"anything-but":[1,null]}],"x":[{"exists":false}]}}}"#,
            r#"{"$or":[{"data.s":[{"wildcard":"a*\\**"}]},{"$or":[{"id":7},{"data":{"items.ip":[{"cidr":"10.0.0.0/8"}]}}]}]}"#,
            r#"{"subject":[{"prefix":"a","suffix":".csv","anything-but":{"contains":["x","y"]}}]}"#,
        ],
    },
    Target {
        name: "path",
        run: path,
        seeds: &[
            "$.data.items[*].sku",
            "$..[?@.qty > 1 && (match(@.sku, '[A-Z]') || !@.ip)]",
            "$['data']['items'][-1:0:-2][0,1]['a','b']",
            "$.data.items[?count($..*) >= length(@.sku)].sku",
        ],
    },
    Target {
        name: "template",
        run: template,
        seeds: &[
            "{\"template\":\"{\\\"id\\\": ${$.id}, \\\"all\\\": [${$.data.items[*].sku}], \\\"d\\\": ${$.x ?? 'none'}}\"}",
            "{\"json\":{\"a\":\"${$.data.n}\",\"b\":\"x ${$.data.s} y\",\"c\":{\"$omit\":true}}}",
            "{\"form\":{\"q\":\"${$.data.s ?? 'x'}\",\"l\":\"${$.data.items}\"}}",
            "{\"lines\":\"${$.data.items[*]}\"}",
        ],
    },
    Target {
        name: "filters",
        run: filters,
        seeds: &[
            r#"[{"all":[{"prefix":{"type":"t"}},{"not":{"exact":{"source":"/x"}}}]},{"any":[{"suffix":{"id":"7"}}]}]"#,
            r#"[{"sql":"subject LIKE 'a%' AND (INT(id) + 1) * 2 = 16 OR NOT EXISTS myext"}]"#,
            r#"[{"sql":"LENGTH(source) IN (2, 3) XOR type = 'it''s' AND LEFT(subject, 1) <> UPPER('a')"}]"#,
        ],
    },
    Target {
        name: "answer",
        run: answer,
        seeds: &[
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
            "HTTP/1.0 404 Not Found\r\nconnection: keep-alive\r\n\r\n<html>",
        ],
    },
];

/// What one input may hold: longer ones say nothing new.
const MAX_BYTES: usize = 16 << 20;

fn lossy(data: &[u8]) -> String {
    String::from_utf8_lossy(data.get(..MAX_BYTES).unwrap_or(data)).into_owned()
}

/// Checked JSON is JSON to serde too, and the other way round, but for surrogates and depth, which serde skips.
pub(crate) fn scan(data: &[u8]) {
    let text = std::str::from_utf8(data);
    let ours = scan::check(data);
    assert!(text.is_ok() || ours.is_err(), "taken, but not UTF-8: {:?}", String::from_utf8_lossy(data));
    let Ok(text) = text else { return };
    let other = serde_json::from_str::<serde::de::IgnoredAny>(text);
    match (&ours, &other) {
        (Ok(_), Err(e)) => assert!(e.to_string().contains("recursion limit"), "{e}: {text}"),
        (Err(e), Ok(_)) => assert!(matches!(e.kind, ErrorKind::Surrogate | ErrorKind::TooDeep), "{e}: {text}"),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
    }
    let mut tape = Tape::default();
    assert_eq!(tape.check(data).map(Json::text), ours, "noted otherwise than checked: {text}");
    if let Ok(checked) = ours {
        let nodes = tape.nodes().len();
        tape.note(Json::trusted(checked));
        assert_eq!(tape.nodes().len(), nodes, "{text}");
        let mut values = 0;
        walk(Json::trusted(checked), &mut values);
        assert_eq!(values, nodes, "other values than noted: {text}");
    }
}

/// Reads everything in a value once.
fn walk(json: Json<'_>, values: &mut usize) {
    *values += 1;
    if let Some(text) = json.as_str() {
        assert!(text.len() <= json.text().len());
    }
    json.elements().into_iter().flatten().for_each(|item| walk(item, values));
    for (key, value) in json.members().into_iter().flatten() {
        assert!(key.decode().len() <= json.text().len());
        walk(value, values);
    }
}

/// An HTTP answer in one piece, and cut at places that its own bytes choose: both are read alike.
pub(crate) fn answer(data: &[u8]) {
    const BODY_BYTES: usize = 64;
    let read = |cuts: &mut dyn Iterator<Item = usize>| {
        let mut decoder = Decoder::new(Wanted { all: true, body_bytes: BODY_BYTES }, false);
        let (mut input, mut rest) = (BytesMut::new(), data);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            input.extend_from_slice(piece);
            rest = after;
            let before = input.len();
            let ended = decoder.take(&mut input)?;
            assert!(input.len() <= before);
            if ended {
                break;
            }
        }
        decoder.closed();
        let reusable = decoder.is_reusable() && input.is_empty() && rest.is_empty();
        let answer = decoder.into_answer();
        assert!(answer.as_ref().is_none_or(|answer| answer.body.len() <= BODY_BYTES));
        Ok::<_, Malformed>(answer.map(|answer| (answer.status, answer.body, answer.whole, reusable)))
    };
    let whole = read(&mut std::iter::empty());
    let cut = read(&mut data.iter().map(|byte| usize::from(byte % 16)));
    assert_eq!(whole, cut, "{:?}", String::from_utf8_lossy(data));
}

/// A pattern, a line end, an event; without line end the event is our own. An event that matched is JSON.
pub(crate) fn pattern(data: &[u8]) {
    let (pattern, event) = match data.iter().position(|b| *b == b'\n') {
        Some(end) => data.split_at(end),
        None => (data, EVENT.as_bytes()),
    };
    let pattern = lossy(pattern);
    let document = Json::check(event).ok().and_then(Document::from_object);
    for dialect in [Dialect::Tidegate, Dialect::Aws] {
        let options = Options { dialect, alias_aws: pattern.len() % 2 == 1, ..Options::default() };
        let compiled = match pattern::compile(&pattern, &options) {
            Ok(compiled) => compiled.pattern,
            Err(faults) => {
                assert!(!faults.is_empty() && faults.len() <= pattern.len() + 1, "{} faults", faults.len());
                continue;
            }
        };
        assert!(Json::check_within(pattern.as_bytes(), pattern.len()).is_ok(), "compiled, but not JSON: {pattern}");
        let Some(document) = &document else { continue };
        let verdict = compiled.matches(document);
        let mut tape = Tape::default();
        let noted = Document::check(event, &mut tape).ok().flatten();
        assert_eq!(noted.map(|noted| compiled.matches(&noted)), Some(verdict), "{pattern}");
        if verdict == Ok(true) {
            assert!(scan::check(event).is_ok(), "matched, but not JSON: {}", String::from_utf8_lossy(event));
        }
        assert_eq!(compiled.explain(document).matched, verdict, "{pattern}");
    }
}

/// A path, tried on our event.
pub(crate) fn path(data: &[u8]) {
    let text = lossy(data);
    if let Ok(path) = Path::parse(&text)
        && let Ok(event) = Json::check(EVENT.as_bytes())
    {
        let mut out = String::new();
        if let Ok(Some(found)) = path.find(Item::Json(event)) {
            found.write_compact(&mut out);
        }
        assert!(scan::check(out.as_bytes()).is_ok() || out.is_empty(), "{text} found no JSON: {out}");
    }
}

/// A body, as it stands in a target, rendered for our event; the answer is one line of JSON.
pub(crate) fn template(data: &[u8]) {
    let text = lossy(data);
    let body = if scan::check(text.as_bytes()).is_ok() { text } else { quoted(&text) };
    let line = format!("{{\"target\":{{\"body\":{}}},\"event_text\":{}}}", body.replace('\n', " "), quoted(EVENT));
    let context = Context {
        env: Env::of([("TOKEN", "hush")]),
        dead_letter_topic: "dlq".into(),
        pattern_limits: Limits::default(),
        lenient: false,
    };
    let mut evaluator = Evaluator::new(eval::Options { context, now: WallMs(0) });
    let mut out = String::new();
    evaluator.evaluate(1, line.as_bytes(), &mut out);
    assert!(scan::check(out.as_bytes()).is_ok(), "the answer is no JSON: {out}");
    // A template repeats the event at most once per `${$}`, escaped at most twice.
    let most = (line.len() / 4 + 1) * EVENT.len() * 4 + 4 * line.len() + 65_536;
    assert!(out.len() <= most, "{} bytes from {}", out.len(), line.len());
}

/// Filters of CloudEvents Subscriptions, CESQL among them, tried on our event.
pub(crate) fn filters(data: &[u8]) {
    let text = lossy(data);
    let wrapped = format!("[{{\"sql\":{}}}]", quoted(&text));
    for text in [text.as_str(), wrapped.as_str()] {
        let document = Json::check(EVENT.as_bytes()).ok().and_then(Document::from_object);
        if let (Ok(compiled), Some(document)) = (filters::compile(text), document) {
            let matched = compiled.matches(&document);
            assert_eq!(compiled.matches(&document), matched, "{text}");
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
