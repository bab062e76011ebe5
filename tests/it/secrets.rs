//! Secrets of every kind, in a program that fails in every way, before APIs, token endpoints, a proxy and a collector
//! that quote what they got: nothing that the program says or writes holds one of them.
//!
//! Each secret is a text of its own, put into a file; what the program made of them (tokens, signatures) is read from
//! what the other sides received. All of it is looked for as it is and as urls, JSON, base64 and hexadecimal have it.

use crate::support::api::Seen;
use crate::support::command::program;
use crate::support::events::{Message, structured};
use crate::support::{Answer, Bed, Collector, Log, Replica, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);

/// Secrets that are texts of their own, with what is special in urls, JSON and HTML. `url-…` are parts of urls.
const NAMES: [&str; 29] = [
    "basic-user",
    "basic-password",
    "bearer",
    "key-header",
    "key-query",
    "oauth-client",
    "oauth-secret",
    "oauth-header",
    "oauth-query",
    "oauth-body",
    "body-client",
    "body-secret",
    "exchange-json",
    "exchange-beside",
    "hmac",
    "dingtalk",
    "fixed-header",
    "fixed-query",
    "fixed-body",
    "destination-header",
    "destination-query",
    "proxy-user",
    "proxy-password",
    "sasl",
    "otlp",
    "url-connection",
    "url-endpoint",
    "url-token",
    "url-otlp",
];

/// How each endpoint answers what it got.
const ENDPOINTS: [&str; 9] = ["reject", "busy", "html", "moved", "denied", "odd", "gone", "missing", "reset"];

fn text(name: &str) -> String {
    let plain = format!("S3CR3T-{name}-7Q");
    if name.starts_with("url-") { plain } else { format!("{plain}/+&\"<{name}") }
}

/// The key of a client certificate.
const KEY: &str = include_str!("../../src/pipeline/deliver/tests/client.key.pem");
const CERTIFICATE: &str = include_str!("../../src/pipeline/deliver/tests/client.pem");
/// Keys of Standard Webhooks, without their prefixes: v1 and v1a.
const WEBHOOK_KEYS: [&str; 2] =
    ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="];

/// What the other side quotes: the headers that may matter first, then target and body.
fn quoted(seen: &Seen) -> Vec<(String, String)> {
    let dull = ["host", "user-agent", "accept", "content-type", "content-length", "idempotency-key", "traceparent"];
    let headers = seen.headers.iter().filter(|(name, _)| !dull.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
    let rest = [("target", seen.target.clone()), ("body", String::from_utf8_lossy(&seen.body).into_owned())];
    headers.chain(rest.map(|(name, value)| (name.to_owned(), value))).collect()
}

fn json(seen: &Seen) -> String {
    let quoted: BTreeMap<String, String> = quoted(seen).into_iter().collect();
    // Some escape the slash, too.
    serde_json::to_string(&quoted).unwrap().replace('/', "\\/")
}

fn plain(seen: &Seen) -> String {
    quoted(seen).iter().fold(String::new(), |all, (name, value)| format!("{all}{name}: {value}\n"))
}

fn escaped(seen: &Seen) -> String {
    let text = plain(seen);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('/', "&#x2F;");
    format!("<html><body><h1>Sorry</h1><p>{text}</p></body></html>")
}

fn encoded(seen: &Seen) -> String {
    utf8_percent_encode(&plain(seen), NON_ALPHANUMERIC).to_string()
}

/// In a header: one line of ASCII.
fn line(seen: &Seen) -> String {
    plain(seen).chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

fn token(number: usize) -> String {
    format!("S3CR3T-token{number}-7Q/+=")
}

/// The nasty other side: API, token endpoints and proxy in one. Tokens are numbered.
fn nasty(tokens: &Mutex<usize>, seen: &Seen) -> Answer {
    if seen.method == "CONNECT" {
        return Answer::status(407).header("proxy-authenticate", "Basic").body(plain(seen));
    }
    if let Some(rest) = seen.target.split_once("/token-").map(|(_, rest)| rest) {
        let said = plain(seen).replace('\n', " ");
        let error = |key: &str| format!("{{\"{key}\":{said:?},\"error_description\":{:?}}}", line(seen));
        return match rest.split(['?', '/']).next().unwrap_or_default() {
            "ok" => {
                let mut tokens = tokens.lock().unwrap();
                *tokens += 1;
                let token = token(*tokens);
                Answer::ok().body(format!("{{\"access_token\":{token:?},\"data\":{{\"t\":{token:?}}}}}"))
            }
            "400" => Answer::status(400).body(error("error")),
            "401" => Answer::status(401).body(error("message")),
            "500" => Answer::status(500).body(error("error")),
            "odd" => Answer::ok().body(error("error")),
            "kind" => Answer::ok().body(format!("{{\"access_token\":\"x\",\"token_type\":{said:?}}}")),
            "html" => Answer::ok().header("x-quoted", line(seen)).body(escaped(seen)),
            "moved" => Answer::status(302).header("location", format!("https://other.example/{}", line(seen))),
            other => panic!("no answer for {other}"),
        };
    }
    let path = seen.target.split('?').next().unwrap_or_default();
    let endpoint = ENDPOINTS.iter().find(|endpoint| path.contains(&format!("/{endpoint}"))).copied();
    match endpoint.unwrap_or_default() {
        "reject" => Answer::status(422).body(json(seen)),
        "busy" => Answer::status(503).body(encoded(seen)),
        "html" => Answer::status(400).body(escaped(seen)),
        "moved" => Answer::status(307).header("location", format!("https://other.example/{}", line(seen))),
        "denied" => Answer::status(401).header("www-authenticate", line(seen)).body(plain(seen)),
        "odd" => Answer::ok().header("x-quoted", line(seen)).body(json(seen)),
        "gone" => Answer::status(410).body(plain(seen)),
        "missing" => Answer::status(404).body(plain(seen)),
        "reset" => Answer::reset(),
        _ => Answer::status(400).body(plain(seen)),
    }
}

/// A world with all of it, and where its secrets are.
struct World {
    bed: Bed,
    collector: Collector,
}

impl World {
    fn new() -> Self {
        let tokens = Mutex::new(0);
        let bed = Bed::new("secrets", 1, move |seen| nasty(&tokens, seen));
        // It refuses now and then, quoting what it got.
        let collector = Collector::with(|seen| match seen.attempt {
            1 | 2 => Answer::status(400).header("content-type", "text/plain").body(plain(seen)),
            _ => Collector::taken(),
        });
        for name in NAMES {
            fs::write(bed.folder().join(name), text(name)).unwrap();
        }
        for (name, text) in [("key.pem", KEY), ("client.pem", CERTIFICATE)] {
            fs::write(bed.folder().join(name), text).unwrap();
        }
        for (name, key) in ["whsec", "whsk"].into_iter().zip(WEBHOOK_KEYS) {
            fs::write(bed.folder().join(name), format!("{name}_{key}")).unwrap();
        }
        let world = Self { bed, collector };
        world.bed.resources("secrets.yaml", &world.resources());
        world
    }

    fn file(&self, name: &str) -> String {
        format!("${{file:{}}}", self.bed.folder().join(name).display())
    }

    fn resources(&self) -> String {
        let f = |name: &str| self.file(name);
        let api = self.bed.api.url();
        let other = |host: &str| api.replace("http://127.0.0.1", host);
        let allowed = "allow_networks: [127.0.0.0/8]";
        let hidden = format!("url: '{api}/{}'\n{allowed}", f("url-connection"));
        let oauth = |endpoint: &str, client: &str| {
            format!(
                "auth:
  oauth2:
    token_endpoint: '{api}/{}/token-{endpoint}'
    client_id: '{}'
    client_secret: '{}'
    client_auth: {client}
    headers: {{x-vendor: '{}'}}
    query: {{tenant: '{}'}}
    body: {{audience: '{}'}}",
                f("url-token"),
                f(if client == "basic" { "oauth-client" } else { "body-client" }),
                f(if client == "basic" { "oauth-secret" } else { "body-secret" }),
                f("oauth-header"),
                f("oauth-query"),
                f("oauth-body"),
            )
        };
        let exchange = |endpoint: &str| {
            format!(
                "auth:
  token:
    request: {{endpoint: '/token-{endpoint}', json: {{key: '{}', deep: [{{password: '{}'}}]}}}}
    read: {{token: $.data.t}}
    send: {{headers: {{x-token: 'T ${{$token}}'}}, query: {{access: $token, beside: '{}'}}}}",
                f("exchange-json"),
                f("exchange-json"),
                f("exchange-beside"),
            )
        };
        let responses = "responses: [{when: {status: [200], body: {ok: [true]}}, outcome: success}]";
        let mut connections = vec![
            (
                "basic",
                format!(
                    "{hidden}\nauth: {{basic: {{username: '{}', password: '{}'}}}}",
                    f("basic-user"),
                    f("basic-password")
                ),
            ),
            ("bearer", format!("{hidden}\nauth: {{bearer: '{}'}}\n{responses}", f("bearer"))),
            ("key", format!("{hidden}\nauth: {{api_key: {{name: x-key, value: '{}'}}}}", f("key-header"))),
            ("query", format!("{hidden}\nauth: {{api_key: {{name: key, value: '{}', in: query}}}}", f("key-query"))),
            ("hmac", format!("{hidden}\nsign: {{hmac: {{secret: '{}', header: x-signature}}}}", f("hmac"))),
            (
                "hmac64",
                format!(
                    "{hidden}\nsign: {{hmac: {{secret: '{}', header: x-signature, format: 't={{timestamp}},{{base64}}'}}}}",
                    f("hmac")
                ),
            ),
            (
                "webhooks",
                format!("{hidden}\nsign: {{standard_webhooks: {{secrets: ['{}', '{}']}}}}", f("whsec"), f("whsk")),
            ),
            (
                "dingtalk",
                format!(
                    "url: '${{env:SECRETS_TEST_SLACK}}'\n{allowed}\nsign: {{dingtalk: {{secret: '{}'}}}}",
                    f("dingtalk")
                ),
            ),
            (
                "fixed",
                format!(
                    "url: {api}\n{allowed}\nheaders: {{x-fixed: '{}'}}\nquery: {{fixed: ['{}', b]}}\nbody: {{deep: {{fixed: '{}'}}}}\n{responses}",
                    f("fixed-header"),
                    f("fixed-query"),
                    f("fixed-body")
                ),
            ),
            ("oauth", format!("{hidden}\n{}\n{responses}", oauth("ok", "basic"))),
            ("oauth-body", format!("{hidden}\n{}", oauth("ok", "body"))),
            ("exchange", format!("{hidden}\n{}", exchange("ok"))),
        ];
        let mut single = vec![
            (
                "unresolved".to_owned(),
                format!(
                    "url: 'http://no-such-host.invalid/{}'\nauth: {{bearer: '{}'}}",
                    f("url-connection"),
                    f("bearer")
                ),
            ),
            (
                "tls".to_owned(),
                format!(
                    "url: '{}/{}'\n{allowed}\ntls: {{client_certificate_file: ../client.pem, client_key_file: ../key.pem}}",
                    other("https://127.0.0.1"),
                    f("url-connection")
                ),
            ),
            (
                "proxied".to_owned(),
                format!(
                    "{hidden}\nproxy: {{url: '{api}', username: '{}', password: '{}'}}",
                    f("proxy-user"),
                    f("proxy-password")
                ),
            ),
            (
                "token-proxied".to_owned(),
                format!(
                    "{hidden}\n{}\nproxy: {{url: '{api}', username: '{}', password: '{}'}}",
                    oauth("ok", "basic"),
                    f("proxy-user"),
                    f("proxy-password")
                ),
            ),
            (
                "token-unresolved".to_owned(),
                format!("{hidden}\n{}", oauth("ok", "basic").replace(&api, "https://no-such-host.invalid")),
            ),
            (
                "token-tls".to_owned(),
                format!("{hidden}\n{}", oauth("ok", "body").replace(&api, &other("https://127.0.0.1"))),
            ),
        ];
        for answer in ["400", "401", "500", "odd", "kind", "html", "moved"] {
            single.push((format!("token-{answer}"), format!("{hidden}\n{}", oauth(answer, "basic"))));
            single.push((format!("body-{answer}"), format!("{hidden}\n{}", oauth(answer, "body"))));
            single.push((format!("exchange-{answer}"), format!("{hidden}\n{}", exchange(answer))));
        }
        let mut yaml = format!("kind: source\nname: orders\nkafka: {{topics: [{}]}}\n", self.bed.topic());
        let (mut targets, mut some) = (String::new(), String::new());
        let mut destination = |yaml: &mut String, connection: &str, endpoint: &str| {
            let name = format!("{connection}-{endpoint}");
            write!(
                yaml,
                "---
kind: destination
name: {name}
connection: {connection}
endpoint: '/{endpoint}/{}/{{id}}?key={}'
headers: {{x-destination: '{}'}}
query: {{destination: '{}'}}
timeout: 5s
retry: {{max_age: 1h, max_attempts: 2, delay: [1ms, 2ms]}}
",
                f("url-endpoint"),
                f("url-endpoint"),
                f("destination-header"),
                f("destination-query"),
            )
            .unwrap();
            let target =
                format!("- {{name: {name}, destination: {name}, path: {{id: $.id}}, headers: {{x-event: $.id}}}}\n");
            targets.push_str(&target);
            if endpoint == "reject" || name.starts_with("token-4") {
                some.push_str(&target);
            }
        };
        for (name, rest) in connections.drain(..) {
            write!(yaml, "---\nkind: connection\nname: {name}\n{rest}\n").unwrap();
            ENDPOINTS.iter().for_each(|endpoint| destination(&mut yaml, name, endpoint));
        }
        for (name, rest) in single {
            write!(yaml, "---\nkind: connection\nname: {name}\n{rest}\n").unwrap();
            destination(&mut yaml, &name, "any");
        }
        let rule = |name: &str, kind: &str, targets: &str| {
            format!("---\nkind: rule\nname: {name}\npattern: {{type: [{kind}]}}\ntargets:\n{targets}")
        };
        yaml + &rule("all", "order.paid", &targets) + &rule("some", "asked", &some)
    }

    fn settings(&self, format: &str) -> String {
        format!(
            "[log]\nlevel = \"info,tidegate=debug\"\nformat = \"{format}\"\n[trace]\noutcomes = \"all\"\n
[kafka.properties]\n\"sasl.password\" = '{}'\n
[telemetry]\notlp_endpoint = '{}/{}'\ntraces_sample = 1.0\nmetrics_interval = \"1s\"
[telemetry.otlp_headers]\nauthorization = 'Bearer {}'\n",
            self.file("sasl"),
            self.collector.api.url(),
            self.file("url-otlp"),
            self.file("otlp"),
        )
    }

    fn environment(&self) -> (&'static str, String) {
        ("SECRETS_TEST_SLACK", format!("{}/services/S3CR3T-slack-7Q/S3CR3T-slack-long-7Q", self.bed.api.url()))
    }

    fn replica(&self, format: &str) -> Replica {
        self.bed.settings(&self.settings(format));
        let settings = self.bed.settings_file(format, "");
        let (name, value) = self.environment();
        let alarm = self.bed.api.alarm();
        let mut command = program();
        command.args(["run", "-c"]).arg(&settings).env(name, value);
        let replica = Replica::start(format, command, alarm);
        replica.wait_ready(LIMIT);
        replica
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (name, value) = self.environment();
        let mut command = program();
        command.args(arguments).arg("-c").arg(self.bed.settings_file("tool", "")).env(name, value);
        command
    }

    /// What a command says on both streams.
    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_ne!(output.status.code(), Some(101), "{arguments:?} panicked");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// The first lines of a command that never ends.
    fn begin(&self, arguments: &[&str], lines: usize) -> String {
        let mut child = self.command(arguments).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let said: Vec<String> = out.lines().map_while(Result::ok).take(lines).collect();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(said.len(), lines, "{}", String::from_utf8_lossy(&output.stderr));
        said.join("\n") + &String::from_utf8_lossy(&output.stderr)
    }

    /// Every text that must be seen nowhere, by name: those that are written, and those that the other sides got.
    fn secrets(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = NAMES.iter().map(|name| ((*name).to_owned(), text(name))).collect();
        let mut add = |name: &str, text: &str| all.insert(name.to_owned(), text.to_owned());
        add("slack", "S3CR3T-slack-7Q");
        add("slack, its end", "S3CR3T-slack-long-7Q");
        WEBHOOK_KEYS.iter().enumerate().for_each(|(i, key)| drop(add(&format!("webhook key {i}"), key)));
        for (i, line) in KEY.lines().filter(|line| !line.starts_with('-')).enumerate() {
            add(&format!("client key, line {i}"), line);
        }
        for (user, password) in [("basic-user", "basic-password"), ("proxy-user", "proxy-password")] {
            add(&format!("{user} as sent"), &STANDARD.encode(format!("{}:{}", text(user), text(password))));
        }
        let got = |log: &Log| -> Vec<(String, String)> {
            let mut found = Vec::new();
            for seen in &log.requests {
                let target = seen.target.clone();
                for name in ["authorization", "x-token"] {
                    let value = seen.header(name).rsplit(' ').next().unwrap_or_default();
                    found.push((format!("{name} at {target}"), value.to_owned()));
                }
                for signature in seen.header("webhook-signature").split(' ') {
                    let value = signature.split_once(',').map(|(_, value)| value).unwrap_or_default();
                    found.push((format!("webhook-signature at {target}"), value.to_owned()));
                }
                let signature = seen.header("x-signature");
                let signature = signature.strip_prefix("sha256=").or(signature.split_once(',').map(|(_, s)| s));
                found.push((format!("x-signature at {target}"), signature.unwrap_or_default().to_owned()));
                let sign = target.split_once("&sign=").map(|(_, sign)| sign.to_owned()).unwrap_or_default();
                found.push((format!("sign of {target}"), sign.clone()));
                found.push((
                    format!("sign of {target}, decoded"),
                    sign.replace("%2F", "/").replace("%2B", "+").replace("%3D", "="),
                ));
            }
            found
        };
        for (name, text) in self.bed.api.log(got).into_iter().filter(|(_, text)| !text.is_empty()) {
            all.insert(name, text);
        }
        for number in 1..=60 {
            all.insert(format!("token {number}"), token(number));
        }
        all
    }

    /// What has come to the collector, unpacked.
    fn telemetry(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.collector.api.log(|log| {
            for seen in &log.requests {
                match seen.header("content-encoding") {
                    "gzip" => drop(GzDecoder::new(&seen.body[..]).read_to_end(&mut all).unwrap()),
                    _ => all.extend_from_slice(&seen.body),
                }
            }
        });
        all
    }

    /// All that was written to Kafka beside the events themselves: headers, keys, values but those of stored events.
    fn written(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for topic in ["dlq", "trace", "state", "retry.10s", "slots"] {
            let mut text = String::new();
            for record in self.bed.broker.read_all(&self.bed.own_topic(topic)) {
                let show = |bytes: &Option<Vec<u8>>| {
                    String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
                };
                writeln!(text, "{} {}", show(&record.key), show(&record.value)).unwrap();
                record.headers.iter().for_each(|(name, value)| writeln!(text, "{name}: {}", show(value)).unwrap());
            }
            all.insert(format!("topic {topic}"), text);
        }
        all
    }
}

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
        if leaks.is_empty()
            && let Some(at) = text.find("S3CR3T")
        {
            leaks.push(format!("{place}: {}", text[at.saturating_sub(100)..].chars().take(300).collect::<String>()));
        }
    }
    leaks
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
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
