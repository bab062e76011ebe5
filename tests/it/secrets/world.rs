//! The world of the test of secrets: what holds them, and where the program speaks.

use super::nasty::{nasty, plain, token};
use crate::support::command::program;
use crate::support::{Answer, Bed, Collector, Log, Replica};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Secrets that are texts of their own, with what is special in urls, JSON and HTML. `url-…` are parts of urls.
pub(super) const NAMES: [&str; 29] = [
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
pub(super) const ENDPOINTS: [&str; 9] =
    ["reject", "busy", "html", "moved", "denied", "odd", "gone", "missing", "reset"];

pub(super) fn text(name: &str) -> String {
    let plain = format!("S3CR3T-{name}-7Q");
    if name.starts_with("url-") { plain } else { format!("{plain}/+&\"<{name}") }
}

/// The key of a client certificate.
const KEY: &str = include_str!("../../../src/pipeline/deliver/tests/client.key.pem");
const CERTIFICATE: &str = include_str!("../../../src/pipeline/deliver/tests/client.pem");
/// Keys of Standard Webhooks, without their prefixes: v1 and v1a.
const WEBHOOK_KEYS: [&str; 2] =
    ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="];

/// A world with all of it, and where its secrets are.
pub(super) struct World {
    pub(super) bed: Bed,
    pub(super) collector: Collector,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn file(&self, name: &str) -> String {
        format!("${{file:{}}}", self.bed.folder().join(name).display())
    }

    pub(super) fn resources(&self) -> String {
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

    pub(super) fn settings(&self, format: &str) -> String {
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

    pub(super) fn environment(&self) -> (&'static str, String) {
        ("SECRETS_TEST_SLACK", format!("{}/services/S3CR3T-slack-7Q/S3CR3T-slack-long-7Q", self.bed.api.url()))
    }

    pub(super) fn replica(&self, format: &str) -> Replica {
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
    pub(super) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_ne!(output.status.code(), Some(101), "{arguments:?} panicked");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// The first lines of a command that never ends.
    pub(super) fn begin(&self, arguments: &[&str], lines: usize) -> String {
        let mut child = self.command(arguments).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let said: Vec<String> = out.lines().map_while(Result::ok).take(lines).collect();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(said.len(), lines, "{}", String::from_utf8_lossy(&output.stderr));
        said.join("\n") + &String::from_utf8_lossy(&output.stderr)
    }

    /// Every text that must be seen nowhere, by name: those that are written, and those that the other sides got.
    pub(super) fn secrets(&self) -> BTreeMap<String, String> {
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
    pub(super) fn telemetry(&self) -> Vec<u8> {
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
    pub(super) fn written(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let others = ["dlq", "trace", "state", "slots"].map(|topic| self.bed.own_topic(topic));
        for topic in self.bed.tiers().chain(others) {
            let mut text = String::new();
            for record in self.bed.broker.read_all(&topic) {
                let show = |bytes: &Option<Vec<u8>>| {
                    String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
                };
                writeln!(text, "{} {}", show(&record.key), show(&record.value)).unwrap();
                record.headers.iter().for_each(|(name, value)| writeln!(text, "{name}: {}", show(value)).unwrap());
            }
            let last = topic.strip_prefix(&format!("{}.", self.bed.name())).unwrap_or(&topic);
            all.insert(format!("topic {last}"), text);
        }
        all
    }
}
