//! Secrets of every kind, in a program that fails in every way, before APIs, token endpoints, a proxy and a collector
//! that quote what they got: nothing that the program says or writes holds one of them.
//!
//! Each secret is a text of its own, put into a file; what the program made of them (tokens, signatures) is read from
//! what the other sides received. All of it is looked for as it is and as urls, JSON, base64 and hexadecimal have it.

mod nasty;
mod world;

use crate::support::command::program;
use crate::support::events::{Message, structured};
use crate::support::{Log, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use tidegate::config::env::Env;
use tidegate::config::resources::{Context, load};
use tidegate::config::settings;
use tidegate::destinations::tls::Roots;
use tidegate::pipeline::snapshot::Snapshot;
use world::{ENDPOINTS, LIMIT, NAMES, World};

const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// How a secret may be spelled.
fn spellings(secret: &str) -> Vec<String> {
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let json = serde_json::to_string(secret).unwrap().trim_matches('"').to_owned();
    let form = utf8_percent_encode(secret, FORM).to_string();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD.encode(secret).trim_end_matches('=').to_owned();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let mut all = vec![percent.to_lowercase(), percent, json.replace('/', "\\/"), json, form, hex, base64, html];
    all.push(secret.to_owned());
    all
}

/// What of the secrets is found in what was said, with the text around it.
fn found(said: &BTreeMap<String, String>, secrets: &BTreeMap<String, String>) -> Vec<String> {
    let mut leaks = Vec::new();
    let secrets: Vec<(&String, Vec<String>)> = secrets.iter().map(|(name, text)| (name, spellings(text))).collect();
    for (place, text) in said {
        for (name, spelled) in &secrets {
            if let Some(at) = spelled.iter().find_map(|spelled| text.find(spelled.as_str())) {
                let around: String =
                    text.get(at.saturating_sub(200)..).unwrap_or(&text[at..]).chars().take(400).collect();
                leaks.push(format!("{place}: {name}: …{around}…"));
            }
        }
        // Whatever spelling of whatever part: each secret that is written has this in it.
        let named = leaks.iter().any(|leak: &String| leak.starts_with(&format!("{place}: ")));
        if let Some(at) = text.find("S3CR3T").filter(|_| !named) {
            leaks.push(format!("{place}: {}", text[at.saturating_sub(100)..].chars().take(300).collect::<String>()));
        }
    }
    leaks
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn admin(output: &str) -> String {
    let addresses = output.split("admin").skip(1).filter_map(|rest| {
        let address: String = rest
            .trim_start_matches(['=', '"', ':'])
            .chars()
            .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
            .collect();
        address.starts_with("127.").then_some(address)
    });
    addresses.last().expect("the admin server's address")
}

fn event(id: &str) -> Message {
    structured(id, if id == "asked" { "asked" } else { "order.paid" }, "{\"total\": 1}")
}

#[test]
fn no_secret_is_shown_by_anything_that_runs() {
    let world = World::new();
    let bed = &world.bed;
    let mut said = BTreeMap::new();
    for (round, format) in ["text", "json"].into_iter().enumerate() {
        let replica = world.replica(format);
        bed.broker.produce(&bed.topic(), [event(&format!("e{round}"))]);
        // Every destination was tried, and what can end has ended: those that refuse the event, and those that are busy.
        let endpoints = world.resources().matches("kind: destination").count();
        let asked = |log: &Log, endpoint: &str| {
            log.requests
                .iter()
                .filter(|seen| seen.event == format!("e{round}") && seen.target.contains(&format!("/{endpoint}/")))
                .count()
        };
        bed.api.wait_until("all were asked", LIMIT, |log| {
            // What was refused before is asked with the events from before.
            let fresh = |endpoint: &&&str| round == 0 || !["moved", "denied"].contains(*endpoint);
            ENDPOINTS.iter().filter(fresh).all(|endpoint| asked(log, endpoint) >= 12)
        });
        eventually("dead letters", LIMIT, || {
            let count = bed.broker.count(&bed.own_topic("dlq"));
            let least = 12 * 3 * (round + 1);
            (count >= least).then_some(()).ok_or_else(|| format!("{count} of {least}, {endpoints} destinations"))
        });
        let stops = |line: &str| line.contains("stopped sending") || line.contains("no attempts used");
        for name in ["moved", "denied", "unresolved-any", "proxied-any", "token-moved", "exchange-html"] {
            replica.wait_line(&format!("{name} stopped"), LIMIT, |line| stops(line) && line.contains(name));
        }
        let address = admin(&replica.output());
        for path in ["/metrics", "/state", "/readyz", "/livez", "/version"] {
            said.insert(format!("{format} {path}"), get(&address, path));
        }
        if round == 1 {
            commands(&world, &mut said);
        }
        replica.signal("TERM");
        replica.wait_line("stopped", LIMIT, |line| line.ends_with("INFO stopped") || line.contains("\"stopped\""));
        let output = replica.output();
        said.insert(format!("output as {format}"), output);
        drop(replica);
    }
    said.insert("telemetry".to_owned(), String::from_utf8_lossy(&world.telemetry()).into_owned());
    said.extend(world.written());
    // They were quoted, and blanked out.
    for place in [
        "topic dlq",
        "topic trace",
        "output as text",
        "output as json",
        "text /state",
        "explain --send -o json",
        "telemetry",
    ] {
        assert!(
            said[place].contains("***"),
            "{place} quotes nothing: {}",
            said[place].chars().take(3_000).collect::<String>()
        );
    }
    if let Some(folder) = std::env::var_os("SECRETS_TEST_KEEP") {
        said.iter()
            .for_each(|(place, text)| fs::write(Path::new(&folder).join(place.replace('/', "_")), text).unwrap());
    }
    let leaks = found(&said, &world.secrets());
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// All that people ask while it runs.
fn commands(world: &World, said: &mut BTreeMap<String, String>) {
    let file = world.bed.folder().join("event.json");
    let event = event("asked").value.unwrap();
    fs::write(&file, event).unwrap();
    let file = file.display().to_string();
    let position = format!("{}:0:0", world.bed.own_topic("dlq"));
    let questions: [&[&str]; 15] = [
        &["check"],
        &["check", "--strict"],
        &["check", "--online"],
        &["explain", &file],
        &["explain", "--at", &position],
        &["explain", "--send", &file],
        &["dlq", "list"],
        &["dlq", "show", "0:0"],
        &["dlq", "export"],
        &["dlq", "redrive", "--dry-run"],
        &["trace", "e0"],
        &["trace", "e1"],
        &["status"],
        &["--print-config"],
        &["schema"],
    ];
    for question in questions {
        for output in ["table", "wide", "json"] {
            // Those go out each time.
            let out = question.iter().any(|word| ["--send", "--online"].contains(word));
            if output == "wide" && (out || !question.contains(&"list")) || out && output == "table" {
                continue;
            }
            let arguments: Vec<&str> = question.iter().copied().chain(["-o", output]).collect();
            let name = arguments.join(" ").replace(&file, "").replace("  ", " ");
            said.insert(name, world.ask(&arguments));
        }
    }
    for output in ["table", "json", "jsonl"] {
        said.insert(format!("tail {output}"), world.begin(&["tail", "--since", "1h", "-o", output], 20));
    }
}

/// Keys whose values are wrong, where a secret stands: as a reference, or itself.
const FAULTS: [&str; 16] = [
    "kind: connection\nname: a\nurl: 'https://api.example/{url-connection} x'",
    "kind: connection\nname: b\nurl: 'https://api.example/{bearer}'",
    "kind: connection\nname: c\nurl: https://user:S3CR3T-literal@api.example",
    "kind: connection\nname: d\nurl: '{bearer}'",
    "kind: connection\nname: e\nurl: http://api.example\nauth: {basic: {password: S3CR3T-literal}}",
    "kind: connection\nname: f\nurl: https://api.example\nauth: {basic: {username: [S3CR3T-literal], password: {a: S3CR3T-literal}}}",
    "kind: connection\nname: g\nurl: https://api.example\nauth: {bearer: \"S3CR3T-literal\\n\"}",
    "kind: connection\nname: h\nurl: https://api.example\nauth: {api_key: {value: S3CR3T-literal, in: body}}",
    "kind: connection\nname: i\nurl: https://api.example\nauth: {oauth2: {token_endpoint: '/x y{url-token}', client_id: a, client_secret: '{oauth-secret}'}}",
    "kind: connection\nname: j\nurl: https://api.example\nsign: {standard_webhooks: {secrets: ['{hmac}', S3CR3T-literal]}}",
    "kind: connection\nname: k\nurl: https://api.example\nsign: {hmac: {secret: S3CR3T-literal}}",
    "kind: connection\nname: l\nurl: https://api.example\nproxy: {url: 'http://u:S3CR3T-literal@p.example'}",
    "kind: connection\nname: m\nurl: https://api.example\nheaders: {authorization: [S3CR3T-literal]}",
    "kind: connection\nname: n\nurl: https://api.example\nauth: {token: {request: {endpoint: '{exchange-json}'}, read: {token: x}, send: {}}}",
    "kind: destination\nname: o\nconnection: good\nendpoint: '/{url-endpoint}/#'",
    "kind: connection\nname: p\nurl: https://api.example\nheaders: {x-a: '{hmac}é\u{7}'}\nauth: {bearer: S3CR3T-literal, basic: {}}",
];

#[test]
fn no_fault_shows_the_secret_that_it_is_about() {
    let world = World::new();
    let folder = world.bed.folder().join("faults");
    fs::create_dir(&folder).unwrap();
    let good = "kind: connection\nname: good\nurl: https://api.example\n---\nkind: destination\nname: held\nconnection: \
                good\nendpoint: '/{url-endpoint}/{hole}'\n---\nkind: rule\nname: r\npattern: {}\ntargets: [{name: t, \
                destination: held}]";
    let mut said = BTreeMap::new();
    for (number, fault) in FAULTS.iter().chain([&good]).enumerate() {
        let mut text = (*fault).to_owned();
        for name in NAMES {
            text = text.replace(&format!("{{{name}}}"), &world.file(name));
        }
        let file = folder.join(format!("{number}.yaml"));
        fs::write(&file, text).unwrap();
        for output in ["table", "json"] {
            let told = world.ask(&["check", "-o", output, &file.display().to_string()]);
            assert!(told.contains("CONFIG_") || told.contains("TRANSFORM_"), "{fault}: {told}");
            said.insert(format!("{number} {output}"), told);
        }
    }
    for setting in [
        format!("[telemetry]\notlp_endpoint = '{} x'", world.file("url-otlp")),
        "[telemetry]\notlp_endpoint = 'https://me:S3CR3T-literal@c.example'".to_owned(),
        format!("[kafka]\ngroup = '{}'", world.file("sasl")),
        "[kafka.properties]\n\"sasl.password\" = ['S3CR3T-literal']".to_owned(),
        "[kafka.properties]\n\"sasl.password\" = '${env:SECRETS_TEST_NONE:-S3CR3T-literal}'".to_owned(),
    ] {
        let file = folder.join("settings.toml");
        fs::write(&file, &setting).unwrap();
        for arguments in [&["check"][..], &["--print-config"]] {
            let output = program().args(arguments).arg("-c").arg(&file).output().unwrap();
            let told = [output.stdout, output.stderr].concat();
            said.insert(format!("{setting} {arguments:?}"), String::from_utf8_lossy(&told).into_owned());
        }
    }
    let leaks = found(&said, &world.secrets());
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn no_secret_is_in_what_a_panic_would_show() {
    let world = World::new();
    let (name, value) = world.environment();
    let context =
        Context { env: Env::of([(name, value.as_str())]), dead_letter_topic: "dlq".into(), ..Context::default() };
    let loaded = load(&[world.bed.folder().join("resources")], &context).expect("resources");
    let file = world.bed.folder().join("settings.toml");
    fs::write(&file, world.settings("text")).unwrap();
    let (settings, raw) = settings::load(&[file], &context.env, &[]).expect("settings");
    let resources = format!("{:?}", loaded.resources);
    let (snapshot, warnings) = Snapshot::compile(loaded.resources, &Roots::default(), None).expect("a snapshot");
    let said = BTreeMap::from([
        ("resources".to_owned(), resources),
        ("warnings".to_owned(), format!("{:?} {warnings:?}", loaded.warnings)),
        ("settings".to_owned(), format!("{settings:?} {raw:?}")),
        ("snapshot".to_owned(), format!("{snapshot:?}")),
    ]);
    assert!(said.values().all(|said| said.len() > 100));
    let leaks = found(&said, &world.secrets());
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
