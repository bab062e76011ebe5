//! Tokens from an OAuth server that is not ours (Django OAuth Toolkit), for an API that asks that server about every
//! token it is shown.
//!
//! A machine without it skips the test, but not in continuous integration (`CI=true`).

use crate::foreign::{lacks, python};
use crate::support::api::Seen;
use crate::support::{Answer, Bed, Log, events, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tidegate::model::clock::WallMs;

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 240;
/// What is special in urls and in `Basic` stands in it.
const SECRET: &str = "s3:cret &é";
/// The same, form-urlencoded (RFC 6749 section 2.3.1).
const SECRET_IN_FORM: &str = "s3%3Acret+%26%C3%A9";

/// The OAuth server, a process that can be killed and started again with what it knows.
struct OAuth {
    port: u16,
    process: Child,
}

impl OAuth {
    /// Starts it with its files in `folder`; port 0 is any. Its tokens are good for so many seconds.
    fn start(folder: &Path, port: u16, lifetime_s: u32) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign/oauth_server.py");
        let mut process = python()
            .arg(script)
            .arg(folder)
            .args([port.to_string(), lifetime_s.to_string()])
            .env("OAUTH_CLIENT_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").unwrap_or_else(|| panic!("it did not start: {line}"));
        Self { port: port.parse().unwrap(), process }
    }

    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for OAuth {
    fn drop(&mut self) {
        self.end();
    }
}

/// What one of its paths answers; `None` if it is down.
fn ask(port: u16, path: &str, form: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let basic = STANDARD.encode(format!("tidegate:{SECRET_IN_FORM}"));
    let length = form.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// An API's view of a token: what the server said of it last, for as long as that server is down.
fn accepts(port: u16, token: &str, known: &mut BTreeSet<(String, i64)>) -> bool {
    let now_s = WallMs::now().0 / 1_000;
    let Some(said) = ask(port, "/o/introspect/", &format!("token={token}")) else {
        return known.iter().any(|(known, until)| known == token && now_s < *until);
    };
    let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let fits = said["active"] == true && said["scope"] == "orders:write";
    if let Some(until) = said["exp"].as_i64().filter(|_| fits) {
        known.insert((token.to_owned(), until));
    }
    fits
}

fn token(seen: &Seen) -> String {
    seen.header("authorization").trim_start_matches("Bearer ").to_owned()
}

/// The tokens it was shown, each once, in their order.
fn tokens(log: &Log) -> Vec<String> {
    let mut all: Vec<String> = log.requests.iter().map(token).collect();
    let mut met = BTreeSet::new();
    all.retain(|token| met.insert(token.clone()));
    all
}

#[test]
fn tokens_of_a_foreign_server_are_fetched_renewed_early_and_once_on_401_and_missed_without_loss() {
    let test = "tokens_of_a_foreign_server";
    if lacks(test, python().args(["-c", "import oauth2_provider"])) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let server = OAuth::start(folder.path(), 0, 8);
    let port = server.port;
    let known = Mutex::new(BTreeSet::new());
    let bed = Bed::new("tokens", 3, move |seen| {
        let accepted = accepts(port, &token(seen), &mut known.lock().unwrap());
        if accepted {
            Answer::ok()
        } else {
            Answer::status(401).header("www-authenticate", "Bearer error=\"invalid_token\"")
        }
    });
    let secret = bed.folder().join("client_secret");
    std::fs::write(&secret, SECRET).unwrap();
    bed.resources(
        "tokens.yaml",
        &format!(
            "{}
auth:
  oauth2:
    token_endpoint: http://127.0.0.1:{port}/o/token/
    client_id: tidegate
    client_secret: ${{file:{}}}
    scope: orders:write
---
{{kind: destination, name: sink, connection: api, endpoint: /in, rate_limit: 8/s}}
---
{{kind: rule, name: all, pattern: {{}}, targets: [{{name: sink, destination: sink, headers: {{x-event: $.id}}}}]}}
",
            bed.source_and_connection(""),
            secret.display()
        ),
    );
    let replica = bed.replica("a");
    let refused = |log: &Log| log.requests.iter().filter(|seen| seen.answered == Some(401)).count();

    // All at once: the rate limit is what keeps requests coming all the time.
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));

    // Fetched, then renewed while the first is still good: nobody is ever refused.
    bed.api.wait_until("a second token", MINUTE, |log| tokens(log).len() == 2);
    bed.api.log(|log| {
        assert_eq!((refused(log), log.duplicates()), (0, 0));
        let since = log.requests.last().unwrap().at.since(log.requests[0].at);
        assert!((Duration::from_secs(5)..Duration::from_secs(8)).contains(&since), "renewed after {since:?}");
    });

    // The server is gone, and then the token: what is left waits, uses up nothing, and goes on when it is back.
    server.kill();
    let line = replica.wait_line("why they wait", MINUTE, |line| line.contains("AUTH_TOKEN_UNREACHABLE"));
    assert!(line.contains("no attempts used") && line.contains(&format!("http://127.0.0.1:{port}/o/token/")), "{line}");
    let mut came = 0;
    eventually("the token is of no use any more", MINUTE, || {
        let before = came;
        came = bed.api.log(|log| log.requests.len());
        // Longer than any pause the rate limit makes.
        std::thread::park_timeout(Duration::from_secs(2));
        (came == before).then_some(()).ok_or_else(|| format!("{came} requests"))
    });
    let left = EVENTS - bed.api.log(Log::delivered);
    assert!(left >= 50, "{left} are left: the test needs more events");
    let server = OAuth::start(folder.path(), port, 3_600);
    bed.api.wait_until("what waited", MINUTE * 2, |log| log.delivered() > EVENTS - left + 10);
    replica.wait_line("that it goes on", MINUTE, |line| line.contains("tokens come again"));

    // Revoked before its time: whoever is refused goes again with the next one, of which one is fetched.
    let before = bed.api.log(tokens);
    let revoked = before.last().unwrap();
    ask(server.port, "/o/revoke_token/", &format!("token={revoked}")).expect("it answers");
    bed.api.wait_until("all", MINUTE * 2, |log| log.delivered() == EVENTS);
    bed.wait_all_committed(MINUTE);
    bed.api.log(|log| {
        let late = log.requests.iter().filter(|seen| token(seen) == *revoked && seen.answered == Some(401)).count();
        assert!((1..=8).contains(&late), "{late} were refused before the next token came");
        assert_eq!(tokens(log).len(), before.len() + 1, "one refresh");
        assert_eq!((log.delivered(), log.duplicates()), (EVENTS, 0));
        let most = log.delivered_events().map(|event| log.tally(event).attempts).max();
        assert_eq!(most, Some(2), "refused once, taken once");
    });
    assert!(bed.tiers().chain([bed.own_topic("dlq")]).all(|topic| bed.broker.count(&topic) == 0));
    assert!(replica.stop(MINUTE).success());
}
