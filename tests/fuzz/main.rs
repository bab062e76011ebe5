//! Hostile input for everything that reads text from outside: events, patterns, paths, templates, filters. A seeded
//! run of mutations of right inputs, and a list of the nastiest. `FUZZ_RUNS` is the number of mutations per target,
//! `FUZZ_SEED` makes them others: `FUZZ_RUNS=100000 FUZZ_SEED=8 cargo test --test fuzz`. The folder `libfuzzer` runs the
//! same targets with feedback.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod targets;

use fastrand::Rng;
use std::time::{Duration, Instant};
use targets::TARGETS;

/// Pieces that change what a text means.
const PIECES: [&str; 58] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\\x",
    "\u{0}",
    "\u{1f}",
    "\u{feff}",
    "\n",
    "\r",
    " ",
    "1e999999",
    "-",
    "0",
    "01",
    "1.",
    ".5",
    "1e",
    "99999999999999999999",
    "null",
    "true",
    "{}",
    "[]",
    "[[[[",
    "]]]]",
    "*",
    "**",
    "\\*",
    "$",
    "$.",
    "..",
    "@",
    "?",
    "(",
    ")",
    "'",
    "${",
    "}",
    "??",
    "$or",
    "é",
    "ß",
    "İ",
    "😀",
    "&&",
    "||",
    "!",
    "==",
    "::ffff:1.2.3.4",
    "\"a\":1,\"a\":2",
];

fn mutated(seed: &str, other: &str, rng: &mut Rng) -> Vec<u8> {
    let mut text = seed.as_bytes().to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=text.len());
        let end = (at + rng.usize(0..8)).min(text.len());
        match rng.u8(0..8) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end, PIECES[rng.usize(..PIECES.len())].bytes())),
            2..5 => drop(text.splice(at..at, PIECES[rng.usize(..PIECES.len())].bytes())),
            5 => text.insert(at, rng.u8(..)),
            6 => {
                let piece = text[at..end].repeat(rng.usize(1..9));
                drop(text.splice(at..at, piece));
            }
            _ => {
                let from = rng.usize(..=other.len());
                drop(text.splice(at..end, other.bytes().skip(from).take(40)));
            }
        }
    }
    text
}

/// A number from the environment.
#[allow(clippy::disallowed_methods, reason = "a setting of the test")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Inputs that once failed, with the target that they failed.
const KNOWN: [(&str, &[u8]); 0] = [];

#[test]
fn what_once_failed() {
    for (name, input) in KNOWN {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        (target.run)(input);
    }
}

#[test]
fn mutations_of_right_inputs() {
    let runs = number("FUZZ_RUNS", 1_500);
    let seed = number("FUZZ_SEED", 7);
    for target in &TARGETS {
        let mut rng = Rng::with_seed(seed);
        for text in target.seeds {
            (target.run)(text.as_bytes());
        }
        for _ in 0..runs {
            let text = target.seeds[rng.usize(..target.seeds.len())];
            let other = target.seeds[rng.usize(..target.seeds.len())];
            let input = mutated(text, other, &mut rng);
            let run = target.run;
            // As it can be put into `KNOWN`.
            let passed = std::panic::catch_unwind(|| run(&input)).is_ok();
            assert!(passed, "FUZZ_SEED={seed}: (\"{}\", b\"{}\")", target.name, input.escape_ascii());
        }
    }
}

/// Inputs of a size that is given, each the worst of its kind.
fn nasty(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let many = |piece: &str| piece.repeat(size / piece.len());
    let text = |name, text: String| (name, text.into_bytes());
    let mut broken = format!("{{\"a\":\"{}\"}}", many("x")).into_bytes();
    let end = broken.len() - 3;
    broken[end] = 0xff;
    vec![
        text("open brackets", many("[")),
        text("open braces", many("{\"a\":")),
        text("brackets", format!("{}{}", "[".repeat(size / 2), "]".repeat(size / 2))),
        text("pattern objects", format!("{}[1]{}", "{\"k\":".repeat(size / 6), "}".repeat(size / 6))),
        text("nested matchers", format!("{{\"a\":{}{}}}", "[".repeat(size / 2), "]".repeat(size / 2))),
        text(
            "ors in each other",
            format!("{}[1]{}", "{\"$or\":[{\"a\":[1]},{\"b\":".repeat(size / 24), "}]}".repeat(size / 24)),
        ),
        text(
            "ors beside each other",
            format!(
                "{{{}\"z\":[1]}}",
                (0..size / 40)
                    .map(|i| format!("\"k{i}\":{{\"$or\":[{{\"a\":[1]}},{{\"b\":[1]}}]}},"))
                    .collect::<String>()
            ),
        ),
        text("one string", format!("{{\"data\":[\"{}\"]}}", many("é"))),
        text("one key", format!("{{\"{}\":[1]}}", many("k."))),
        text("escapes", format!("{{\"a\":[\"{}\"]}}", many("\\ud83d\\ude00"))),
        text("lone surrogates", format!("{{\"a\":[\"{}\"]}}", many("\\ud83d"))),
        ("broken UTF-8", broken),
        text("duplicate keys", format!("{{{}\"a\":[1]}}", many("\"a\":[1],"))),
        text(
            "many keys",
            format!("{{{}\"a\":[1]}}", (0..size / 12).map(|i| format!("\"{i}\":[1],")).collect::<String>()),
        ),
        text("a long exponent", format!("{{\"data\":[1e{}]}}", many("9"))),
        text("long digits", format!("{{\"data\":[{{\"numeric\":[\">\",0.{}1]}}]}}", many("0"))),
        text("stars", format!("{{\"subject\":[{{\"wildcard\":\"{}\"}}]}}", many("*a"))),
        text("stars together", format!("{{\"subject\":[{{\"wildcard\":\"{}\"}}]}}", many("*"))),
        text("folding", format!("{{\"subject\":[{{\"equals-ignore-case\":\"{}\"}}]}}", many("ﬃ"))),
        text("anything-buts", format!("{{\"a\":[{}1]}}", many("{\"anything-but\":"))),
        text("path brackets", format!("${}", many("["))),
        text("path names", format!("${}", many(".a"))),
        text("path descents", format!("${}", many("..*"))),
        text("path filters", format!("${}", many("[?@"))),
        text("path parentheses", format!("$[?{}", many("("))),
        text("path nots", format!("$[?{}@.a]", many("!"))),
        text("path selectors", format!("$[{}0]", many("0,"))),
        text("placeholders", format!("\"{}\"", many("${$.id}"))),
        text("open placeholders", format!("\"{}\"", many("${"))),
        text("template of defaults", format!("{{\"template\":\"${{$.x{}}}\"}}", many(" ?? $.y"))),
        text("sql parentheses", many("(")),
        text("sql nots", format!("{}TRUE", many("NOT "))),
        text("sql sums", format!("1{} = 2", many(" + 1"))),
        text("sql minuses", format!("{}1 = 1", many("-"))),
    ]
}

/// How long a target takes for an input.
#[allow(clippy::disallowed_methods, reason = "the time itself is what is looked at")]
fn took(run: fn(&[u8]), input: Vec<u8>) -> Option<Duration> {
    // A stack that ends would end the whole run; the same stack as a worker's.
    std::thread::Builder::new()
        .spawn(move || {
            let start = Instant::now();
            run(&input);
            start.elapsed()
        })
        .unwrap()
        .join()
        .ok()
}

/// Four times the input takes about four times as long, not sixteen times; short times say nothing.
#[test]
fn the_nastiest_take_no_more_than_their_length() {
    let small = nasty(10_000);
    let large = nasty(40_000);
    for target in &TARGETS {
        for ((name, small), (_, large)) in small.iter().zip(&large) {
            let first = took(target.run, small.clone()).unwrap_or_else(|| panic!("{} of {name}", target.name));
            let second = took(target.run, large.clone()).unwrap_or_else(|| panic!("{} of {name}", target.name));
            let allowed = first * 12 + Duration::from_secs(3);
            assert!(second <= allowed, "{} of {name}: {first:?}, four times the input {second:?}", target.name);
        }
    }
}

#[test]
fn ten_megabytes_and_a_depth_of_a_hundred_thousand() {
    let long = "x".repeat(10 << 20);
    let string = format!("{{\"data\":{{\"s\":\"{long}\"}}}}");
    let depth = 100_000;
    let arrays = format!("{{\"data\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for event in [&arrays, &objects] {
        targets::scan(event.as_bytes());
    }
    for pattern in [
        r#"{"data":{"s":[{"wildcard":"*y*y*"},{"suffix":{"equals-ignore-case":"xy"}}]}}"#,
        r#"{"data":{"s":[{"exists":false}],"a":[{"exists":true}]}}"#,
    ] {
        for event in [&string, &arrays, &objects] {
            targets::pattern(format!("{pattern}\n{event}").as_bytes());
        }
    }
    targets::pattern(format!("{{\"subject\":[\"{long}\"]}}").as_bytes());
    targets::path(format!("$.{long}").as_bytes());
    targets::template(format!("{{\"template\":\"{long}\"}}").as_bytes());
    targets::filters(format!("'{long}' = subject").as_bytes());
}
