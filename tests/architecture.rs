//! The house rules as tests: who may import whom, what is pure, where secrets, unsafe code and files may be touched,
//! how a file begins and how long it may be. The checker is a function over one file's path and text, so that the
//! tests below can plant a violation of each kind and see it found.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "architecture/reading.rs"]
mod reading;

use reading::{paths, test_lines, tokens, without_tests};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file that are not tests; above this it holds two things.
const MAX_LINES: usize = 600;

/// The seven steps, in the order an event walks through them.
const STEPS: [&str; 7] = ["consume", "decode", "matching", "transform", "deliver", "settle", "commit"];

/// Modules that know no runtime, no I/O and no clock.
const PURE: [&str; 6] = ["model", "json", "pattern", "pipeline::decode", "pipeline::matching", "pipeline::transform"];

/// Names that no pure module may speak.
const IMPURE: [&[&str]; 15] = [
    &["tokio"],
    &["tokio_util"],
    &["futures_util"],
    &["rdkafka"],
    &["http"],
    &["hyper"],
    &["axum"],
    &["tracing"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "thread"],
    &["std", "process"],
];

/// One file below `src`, or a text that a test invents.
struct Source {
    /// Path below `src`, with slashes: `pipeline/decode/mod.rs`.
    path: String,
    text: String,
}

// ---- the rules ----------------------------------------------------------------------------------------------

/// Everything in one file that breaks a house rule, as `path:line: what`.
fn violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| found.push(format!("src/{}:{line}: {what}", source.path));

    if !source.text.starts_with("//!") {
        report(1, "must begin with `//!` and say what this file is".to_owned());
    }
    if let Some((step, number)) = step_head(&source.path) {
        let head = format!("//! Step {number} of 7:");
        if !source.text.starts_with(&head) {
            report(1, format!("the head of step `{step}` must begin `{head}`"));
        }
    }
    if is_test_file(&source.path) {
        return found;
    }
    let tokens = without_tests(&tokens(&source.text));
    let lines = source.text.lines().count().saturating_sub(test_lines(&source.text));
    if lines > MAX_LINES {
        report(lines, format!("{lines} lines without tests, at most {MAX_LINES}: split it by meaning"));
    }

    let me = module_of(&source.path);
    for path in paths(&tokens, &me) {
        match path.names.first().map(String::as_str) {
            Some("crate") => {
                if let Some(what) = import_fault(&me, path.names.get(1..).unwrap_or_default()) {
                    report(path.line, what);
                }
            }
            Some(_) => {
                for what in foreign_faults(&me, &path.names) {
                    report(path.line, what);
                }
            }
            None => {}
        }
    }
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).map_or("", |t| t.text.as_str());
        let before = i.checked_sub(1).and_then(|i| tokens.get(i)).map_or("", |t| t.text.as_str());
        match token.text.as_str() {
            "unsafe" if !["kafka/commit.rs", "main.rs"].contains(&source.path.as_str()) => {
                report(token.line, "`unsafe` only in kafka/commit.rs and main.rs".to_owned());
            }
            "expose_secret" if !may_reveal(&source.path) => {
                report(
                    token.line,
                    "secrets are revealed by destinations::{auth, sign, tls}, kafka::client, telemetry::otlp, model::redact and sources only"
                        .to_owned(),
                );
            }
            "now" if next == "(" && before == "::" && is_pure(&me) && source.path != "model/clock.rs" => {
                report(token.line, format!("`{}` is pure: the present moment is an argument", unit(&me)));
            }
            _ => {}
        }
    }
    found
}

/// Why module `me` may not import `target` (the path after `crate::`), if it may not.
fn import_fault(me: &[String], target: &[String]) -> Option<String> {
    let (mine, theirs) = (unit(me), unit(target));
    if theirs.is_empty() || mine == theirs || mine == "lib" {
        return None;
    }
    let Some(their_rank) = rank(&theirs) else {
        return Some(format!("`crate::{theirs}` is no module of the house plan"));
    };
    let Some(my_rank) = rank(&mine) else {
        return Some(format!("`{mine}` is no module of the house plan"));
    };
    if is_step(&mine) && is_step(&theirs) {
        return Some(format!(
            "step `{mine}` imports step `{theirs}`; only lane, stored_lane and supervisor know the order"
        ));
    }
    if is_pure(me) && !is_pure(target) {
        return Some(format!("`{mine}` is pure and imports `{theirs}`, which is not"));
    }
    // The conductors of the pipeline know one another.
    let both_conduct = mine == "pipeline" && theirs == "pipeline";
    if their_rank < my_rank || both_conduct {
        return None;
    }
    Some(format!("`{mine}` imports `{theirs}`, which stands above or beside it: imports go downwards only"))
}

/// What is wrong with `me` naming something outside this crate.
fn foreign_faults(me: &[String], path: &[String]) -> Vec<String> {
    let mine = unit(me);
    let speaks = |name: &[&str]| path.len() >= name.len() && path.iter().zip(name).all(|(a, b)| a == b);
    let mut faults = Vec::new();
    if is_pure(me) {
        faults.extend(
            IMPURE
                .iter()
                .filter(|name| speaks(name))
                .map(|name| format!("`{mine}` is pure and must not know `{}`", name.join("::"))),
        );
    }
    if speaks(&["anyhow"]) && !["cli", "main"].contains(&mine.as_str()) {
        faults.push("`anyhow` only in cli and main: elsewhere an error is a typed enum with a code".to_owned());
    }
    if speaks(&["rdkafka"]) && mine != "kafka" {
        faults.push(format!("`{mine}` speaks to librdkafka; only `kafka` does"));
    }
    let files = speaks(&["std", "fs"]) || speaks(&["tokio", "fs"]);
    let environment = speaks(&["std", "env"]);
    // The command line opens the files that its arguments name, file sources are about files.
    if (files && !["config", "cli", "sources"].contains(&mine.as_str())) || (environment && mine != "config") {
        faults.push(format!("`{mine}` reads files or the environment; only `config` does"));
    }
    faults
}

/// The unit that rules speak of: the folder or file at the top, below `pipeline` the step.
fn unit(module: &[String]) -> String {
    match module {
        [] => "lib".to_owned(),
        [top, name, ..] if top == "pipeline" && STEPS.contains(&name.as_str()) => format!("pipeline::{name}"),
        [top, ..] => top.clone(),
    }
}

/// How high a unit stands. A unit may import what stands lower.
fn rank(unit: &str) -> Option<u8> {
    if is_step(unit) {
        return Some(8);
    }
    Some(match unit {
        "model" => 0,
        "json" => 1,
        "pattern" => 2,
        "config" => 3,
        "telemetry" => 4,
        "kafka" => 5,
        "destinations" => 6,
        "pipeline" => 9,
        "sources" | "admin" => 10,
        "app" => 11,
        "cli" => 12,
        "main" => 13,
        _ => return None,
    })
}

fn is_step(unit: &str) -> bool {
    unit.strip_prefix("pipeline::").is_some_and(|name| STEPS.contains(&name))
}

fn is_pure(module: &[String]) -> bool {
    PURE.contains(&unit(module).as_str())
}

fn may_reveal(path: &str) -> bool {
    let places = [
        "destinations/auth",
        "destinations/sign",
        "destinations/tls",
        "kafka/client",
        "telemetry/otlp",
        "model/redact",
        "sources/",
    ];
    places.iter().any(|place| path.starts_with(place))
}

/// Step and number, if the path is the head of a step.
fn step_head(path: &str) -> Option<(&'static str, usize)> {
    let place = STEPS.iter().position(|step| path == format!("pipeline/{step}/mod.rs"))?;
    STEPS.get(place).map(|step| (*step, place + 1))
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// `pipeline/decode/wrap.rs` → `pipeline`, `decode`, `wrap`; `lib.rs` → nothing.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

// ---- the crate keeps the rules ------------------------------------------------------------------------------

fn files_below(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    files_below(&root, &mut files);
    files.sort();
    let relative = |file: &Path| file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|file| Source { path: relative(file), text: fs::read_to_string(file).unwrap() }).collect()
}

#[test]
fn the_crate_keeps_the_house_rules() {
    let found: Vec<String> = sources("src").iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{} violations of the house rules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_test_and_bench_file_says_what_it_is() {
    let without: Vec<String> = ["tests", "benches"]
        .into_iter()
        .filter(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).is_dir())
        .flat_map(sources)
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(without.is_empty(), "must begin with `//!`: {without:?}");
}

#[test]
fn the_top_level_is_what_the_owner_fixed() {
    const FIXED: [&str; 11] = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "config",
        "docker-compose.yml",
        "scripts",
        "tests",
        "benches",
        "README.md",
        "Dockerfile",
        "LICENSE",
    ];
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let strangers: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target" && !FIXED.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "not part of the layout: {strangers:?}");
}

// ---- planted violations -------------------------------------------------------------------------------------

/// What the checker says about a file of that path with that code below a proper head.
fn planted(path: &str, code: &str) -> Vec<String> {
    let head =
        step_head(path).map_or("//! A file.".to_owned(), |(_, number)| format!("//! Step {number} of 7: a step."));
    violations(&Source { path: path.to_owned(), text: format!("{head}\n\n{code}\n") })
}

#[test]
fn planted_violations_are_found() {
    let cases: BTreeMap<&str, (&str, &str)> = BTreeMap::from([
        // Imports go downwards only.
        ("use crate::kafka::Producer;", ("config/mod.rs", "`config` imports `kafka`")),
        ("use crate::app::App;", ("pipeline/worker.rs", "`pipeline` imports `app`")),
        ("use crate::admin;", ("sources/mod.rs", "`sources` imports `admin`")),
        ("use crate::cli::dev;", ("app.rs", "`app` imports `cli`")),
        ("fn f() { crate::pipeline::lane::go(); }", ("destinations/gate.rs", "`destinations` imports `pipeline`")),
        (
            "use crate::{model::name::Name, pipeline::{lane::Lane, settle}};",
            ("kafka/intake.rs", "`kafka` imports `pipeline`"),
        ),
        ("use super::super::destinations::gate::Gate;", ("kafka/intake/mod.rs", "`kafka` imports `destinations`")),
        ("pub use tidegate::telemetry::x;", ("config/load.rs", "`config` imports `telemetry`")),
        ("type T = super::worker::Worker;", ("pipeline/settle/mod.rs", "`pipeline::settle` imports `pipeline`")),
        ("use crate::helpers::x;", ("cli/mod.rs", "no module of the house plan")),
        // A step never imports another.
        (
            "use crate::pipeline::deliver::Report;",
            ("pipeline/settle/decide.rs", "step `pipeline::settle` imports step"),
        ),
        ("use super::matching::RuleSet;", ("pipeline/transform/mod.rs", "imports step `pipeline::matching`")),
        // Purity.
        ("use crate::config::Settings;", ("pipeline/decode/mod.rs", "is pure and imports `config`")),
        ("use crate::telemetry;", ("pipeline/matching/mod.rs", "is pure and imports `telemetry`")),
        ("use tokio::sync::Notify;", ("model/record.rs", "must not know `tokio`")),
        ("use rdkafka::message::Message;", ("model/event.rs", "must not know `rdkafka`")),
        ("use hyper::Request;", ("model/request.rs", "must not know `hyper`")),
        ("use std::{fmt, fs::File};", ("pattern/compile.rs", "must not know `std::fs`")),
        ("fn f() { std::env::var(\"A\"); }", ("json/scan.rs", "must not know `std::env`")),
        ("use std::{thread};", ("pipeline/transform/render.rs", "must not know `std::thread`")),
        ("fn f() -> u64 { Monotonic::now() }", ("pipeline/decode/wrap.rs", "the present moment is an argument")),
        ("fn f() -> WallMs { WallMs::now() }", ("model/outcome.rs", "the present moment is an argument")),
        // Whose work it is.
        ("use rdkafka::ClientConfig;", ("app.rs", "only `kafka` does")),
        ("fn f() { std::fs::read(\"x\"); }", ("destinations/pool.rs", "only `config` does")),
        ("use std::env;", ("cli/run.rs", "only `config` does")),
        ("use anyhow::Context as _;", ("app.rs", "`anyhow` only in cli and main")),
        ("fn f(s: &SecretString) { s.expose_secret(); }", ("destinations/pool/mod.rs", "secrets are revealed")),
        (
            "use secrecy::ExposeSecret as E; fn f(s: S) { E::expose_secret(&s); }",
            ("cli/explain.rs", "secrets are revealed"),
        ),
        ("fn f() { unsafe { g() } }", ("kafka/intake.rs", "`unsafe` only in kafka/commit.rs and main.rs")),
    ]);
    for (code, (path, expected)) in cases {
        let found = planted(path, code);
        assert!(found.iter().any(|v| v.contains(expected)), "{path}: `{code}` should be `{expected}`, found {found:?}");
        assert!(found.iter().all(|v| v.contains(&format!("{path}:3:"))), "the line is wrong: {found:?}");
    }
}

#[test]
fn heads_and_lengths_are_held() {
    let check = |path: &str, text: &str| violations(&Source { path: path.to_owned(), text: text.to_owned() });
    assert!(check("app.rs", "use std::fmt;\n")[0].contains("must begin with `//!`"));
    assert!(check("pipeline/settle/mod.rs", "//! Settles.\n")[0].contains("`//! Step 6 of 7:`"));
    assert!(check("pipeline/settle/mod.rs", "//! Step 5 of 7: settles.\n")[0].contains("`//! Step 6 of 7:`"));
    assert!(check("pipeline/settle/mod.rs", "//! Step 6 of 7: settles.\n").is_empty());

    let long = format!("//! A file.\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert!(check("app.rs", &long)[0].contains("601 lines"));
    let tested = format!("//! A file.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MAX_LINES));
    assert!(check("app.rs", &tested).is_empty());
    assert!(check("app/tests.rs", &long).is_empty());
}

#[test]
fn what_is_allowed_stays_allowed() {
    let allowed = [
        ("cli/run.rs", "use crate::{app::App, config::Settings}; use anyhow::Result; use std::fs;"),
        ("main.rs", "use tidegate::cli; fn main() -> anyhow::Result<()> { cli::main() }"),
        ("lib.rs", "pub mod app; pub use crate::cli::main;"),
        ("pipeline/lane.rs", "use super::{commit, decode, worker::Worker}; use crate::pipeline::supervisor;"),
        ("pipeline/consume/mod.rs", "use crate::model::record::Record; use crate::kafka::Queue;"),
        (
            "pipeline/decode/mod.rs",
            "mod wrap; use self::wrap::wrap; use super::decode::wrap::x; use crate::json::scan;",
        ),
        ("pipeline/settle/mod.rs", "use crate::destinations::gate; use crate::telemetry as t; use crate::model::*;"),
        ("kafka/commit.rs", "fn f() { unsafe { g() } }"),
        ("kafka/client.rs", "fn f(s: &S) { s.expose_secret(); }"),
        ("destinations/auth/basic.rs", "fn f(s: &S) { s.expose_secret(); }"),
        ("model/clock.rs", "fn f() { Instant::now(); }"),
        ("kafka/intake.rs", "fn f() { Monotonic::now(); }"),
        // Words in comments, strings and characters are no code, and tests may do what they like.
        (
            "model/name.rs",
            "// tokio::spawn, unsafe\n/* use crate::app; /* nested */ unsafe */ fn f<'a>(x: &'a str) -> char { '\"' }",
        ),
        (
            "model/text.rs",
            "const A: &str = \"use crate::app::x; unsafe\"; const B: &str = r#\"crate::app \" unsafe\"#;",
        ),
        (
            "model/units.rs",
            "#[cfg(test)]\nmod tests { use crate::app::App; fn f() { std::env::var(\"\"); unsafe {} } }",
        ),
        ("model/fault.rs", "#[cfg(test)] use tokio::time; fn now() {} fn f() { now(); self.now(); }"),
    ];
    for (path, code) in allowed {
        assert_eq!(planted(path, code), Vec::<String>::new(), "{path}: {code}");
    }
}

#[test]
fn paths_are_read_as_rust_reads_them() {
    let read = |code: &str| {
        let me = module_of("pipeline/decode/wrap.rs");
        paths(&tokens(code), &me).into_iter().map(|p| p.names.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(read("use a::{b, c::{self, d as e}, *};"), ["a::b", "a::c::self", "a::c::d", "a::*"]);
    assert_eq!(
        read("use super::x; use self::y; use super::super::z;"),
        ["crate::pipeline::decode::x", "crate::pipeline::decode::wrap::y", "crate::pipeline::z"]
    );
    assert_eq!(read("fn f() { Vec::<u8>::new(); a::b!(c::d) }"), ["Vec", "a::b", "c::d"]);
    assert_eq!(read("let x = <T as crate::m::Tr>::f;"), ["crate::m::Tr"]);
    assert_eq!(
        read("let s = \"a::b\"; let c = 'x'; let l: &'a T = b'\\''; let r = br##\"x::y \"# z::w\"##; q::r"),
        ["q::r"]
    );
}
