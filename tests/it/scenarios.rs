//! Planned accidents: each folder of `tests/scenarios` holds one as a transcript that is run, so that what it shows is
//! what people see.
//!
//! `transcript.md` is read from top to bottom, prose is for the reader, fenced blocks are done:
//! - `console`: `$ tidegate …` is run, the lines below are what it must print (`…` is any text, `⋮` any lines), and
//!   `[exit 1]` how it must end, if not with 0. Commands that change nothing are repeated until they say so.
//! - `log`: lines that the replica must have logged.
//! - `act`: `start`, `phase NAME` (of the API's script), `replace FILE: A => B`, `produce TEXT` (a record that says it is an
//!   event),
//!   `broker down`, `broker up`, `certificate NAME`, `delivered N` (waits until the API took so many events), `asked N`
//!   (waits until it was asked so often, or more).
//!
//! `resources.yaml` is what the people of the story wrote; `{api}`, `{tls}` and `{topic}` stand for the API's url,
//! the same behind TLS (where a folder has certificates), and the source's topic. `script.json` says what the API answers, first match first:
//! `{"phase", "path", "header": [NAME, VALUE], "attempt", "status", "headers", "body"}`; else 200. What was really said
//! is left in the folder `scenarios` of cargo's folder for test files.

use crate::support::bed::Bed;
use crate::support::command::{Said, program};
use crate::support::events::Message;
use crate::support::front::Front;
use crate::support::{Answer, Replica, api::Seen, real_kafka};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate::model::clock::Monotonic;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

const LIMIT: Duration = Duration::from_secs(60);

/// Commands that change nothing, so that they may be asked until they know.
const ASKING: [&str; 7] = ["status", "trace", "explain", "check", "dlq list", "dlq show", "dlq"];

/// A block of a transcript.
#[derive(Debug)]
struct Block {
    kind: String,
    lines: Vec<String>,
}

/// What the API answers, and in which phase of the story it is.
#[derive(Debug, Default)]
struct Script {
    entries: Vec<Value>,
    phase: Mutex<String>,
}

impl Script {
    fn answer(&self, seen: &Seen) -> Answer {
        let phase = self.phase.lock().expect("the phase").clone();
        let fits = |entry: &&Value| {
            let text = |key: &str| entry[key].as_str();
            let header = entry["header"]
                .as_array()
                .is_none_or(|pair| pair[1].as_str() == Some(seen.header(pair[0].as_str().unwrap_or_default())));
            text("phase").unwrap_or_default() == phase
                && text("path").is_none_or(|path| seen.target.starts_with(path))
                && entry["attempt"].as_u64().is_none_or(|attempt| attempt == u64::from(seen.attempt))
                && header
        };
        let Some(entry) = self.entries.iter().find(fits) else { return Answer::ok() };
        let status = entry["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
        let mut answer = Answer::status(status);
        for (name, value) in entry["headers"].as_object().into_iter().flatten() {
            // A script is read once per test; its names live as long as the test.
            answer = answer.header(Box::leak(name.clone().into_boxed_str()), value.as_str().unwrap_or_default());
        }
        match entry["body"].as_str() {
            Some(body) => answer.body(body.to_owned()),
            None => answer,
        }
    }
}

/// A story under way.
struct Story {
    bed: Bed,
    script: Arc<Script>,
    folder: PathBuf,
    settings: PathBuf,
    replica: Option<Replica>,
    /// TLS in front of the API, if a certificate stands in the folder.
    front: Option<Front>,
    /// What was really said.
    shown: String,
}

impl Story {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
        let entries = fs::read_to_string(folder.join("script.json")).unwrap_or_else(|_| "[]".to_owned());
        let entries = serde_json::from_str(&entries).expect("a script");
        let script = Arc::new(Script { entries, phase: Mutex::default() });
        let answers = Arc::clone(&script);
        let bed = Bed::new(name, 3, move |seen| answers.answer(seen));
        let settings = bed.settings_file("scenario", "");
        let text = fs::read_to_string(&settings).expect("settings");
        fs::write(&settings, format!("{text}\n[trace]\noutcomes = \"all\"\n")).expect("written");
        let mut story = Self { bed, script, folder, settings, replica: None, front: None, shown: String::new() };
        if let Ok(ca) = fs::read(story.folder.join("ca.pem")) {
            fs::write(story.bed.folder().join("ca.pem"), ca).expect("the authority");
            story.front = Some(Front::start(story.bed.api.address(), story.certificate("expired")));
        }
        story.write_resources(&fs::read_to_string(story.folder.join("resources.yaml")).expect("resources"));
        story
    }

    fn write_resources(&self, text: &str) {
        let text = text.replace("{api}", &self.bed.api.url()).replace("{topic}", &self.bed.topic());
        let front = self.front.as_ref().map(|front| format!("https://127.0.0.1:{}", front.port()));
        self.bed.resources("resources.yaml", &text.replace("{tls}", &front.unwrap_or_default()));
    }

    /// What a server shows that has the certificate of this name.
    fn certificate(&self, name: &str) -> Arc<ServerConfig> {
        let file = |end: &str| fs::read(self.folder.join(format!("{name}{end}"))).expect("a PEM file");
        let chain = vec![CertificateDer::from_pem_slice(&file(".pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(&file(".key.pem")).expect("a key");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        Arc::new(builder.with_single_cert(chain, key).expect("a server"))
    }

    /// What of this run's own names people would not recognise.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(front) = &self.front {
            text = text.replace(&format!("127.0.0.1:{}", front.port()), "api.test:443");
        }
        text.replace(&self.bed.api.url(), "https://api.test")
            .replace(self.bed.api.url().trim_start_matches("http://"), "api.test")
            .replace(&self.bed.folder().display().to_string(), "/etc/tidegate")
            .replace(self.bed.name(), "tidegate")
            .replace(&self.bed.broker.bootstrap, "k1:9092")
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    fn act(&mut self, line: &str) {
        writeln!(self.shown, "{line}").expect("text");
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "start" => {
                let replica = Replica::launch("a", &["run", "-c"], &self.settings, self.bed.api.alarm());
                replica.wait_ready(LIMIT);
                self.replica = Some(replica);
            }
            "phase" => rest.clone_into(&mut self.script.phase.lock().expect("the phase")),
            "produce" => {
                let message = Message::value(rest).header("content-type", Some("application/cloudevents+json"));
                self.bed.broker.produce(&self.bed.topic(), [message]);
            }
            "delivered" => {
                let count: usize = rest.parse().expect("how many");
                self.bed.api.wait_until(line, LIMIT, |log| log.delivered() == count);
            }
            "asked" => {
                let least: usize = rest.parse().expect("how often");
                self.bed.api.wait_until(line, LIMIT, |log| log.requests.len() >= least);
            }
            "certificate" => {
                let front = self.front.as_ref().expect("a folder with certificates");
                front.become_server(self.certificate(rest));
            }
            "broker" => self.bed.broker.set_down(rest == "down"),
            "replace" => {
                let (from, to) = rest.split_once(" => ").expect("A => B");
                let (file, from) = from.split_once(": ").expect("FILE: A");
                let path = self.bed.folder().join("resources").join(file);
                let text = fs::read_to_string(&path).expect("a file");
                assert!(text.contains(from), "{file} holds {from}");
                fs::write(path, text.replace(from, &to.replace("{api}", &self.bed.api.url()))).expect("written");
            }
            _ => panic!("unknown act `{line}`"),
        }
    }

    /// Runs a command; what it printed, and `[exit N]` unless N is 0.
    fn run(&self, command: &str) -> String {
        let words = words(command);
        let said =
            Said::of(program().args(words.iter().skip(1)).arg("-c").arg(&self.settings).output().expect("it runs"));
        let code = if said.code == 0 { String::new() } else { format!("[exit {}]\n", said.code) };
        self.plain(&format!("{}{}{code}", said.out, said.err))
    }

    #[track_caller]
    fn console(&mut self, lines: &[String]) {
        let mut lines = lines.iter().map(String::as_str).peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("a command, not `{line}`"));
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected.push(line);
            }
            let asking = ASKING.iter().any(|asking| {
                command
                    .strip_prefix("tidegate ")
                    .is_some_and(|rest| rest == *asking || rest.starts_with(&format!("{asking} ")))
            }) && !command.contains("redrive");
            let deadline = Monotonic::now().plus(LIMIT);
            loop {
                let said = self.run(command);
                let fits = fits(&expected, &said.lines().collect::<Vec<_>>());
                if fits || !asking || Monotonic::now() >= deadline {
                    write!(self.shown, "$ {command}\n{said}").expect("text");
                    assert!(fits, "`{command}` shall say\n{}\nbut says\n{said}", expected.join("\n"));
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(300));
            }
        }
    }

    #[track_caller]
    fn log(&mut self, lines: &[String]) {
        for expected in lines {
            let replica = self.replica.as_ref().expect("`start` comes first");
            let line = replica.wait_line(expected, LIMIT, |line| fits(&[expected], &[self.plain(line).trim_end()]));
            let line = self.plain(&line);
            self.shown.push_str(&line);
        }
    }
}

/// Words as a shell makes them, with single and double quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            (' ', None) => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether lines are as expected: `…` is any text, a line `⋮` any number of lines.
fn fits(expected: &[&str], said: &[&str]) -> bool {
    match (expected.split_first(), said.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"⋮", rest)), _) => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        (Some(_), None) => false,
        (Some((line, expected)), Some((found, said))) => line_fits(line, found) && fits(expected, said),
    }
}

/// Spaces in a row count as one: how wide a table is depends on what stands in it.
fn line_fits(expected: &str, found: &str) -> bool {
    let narrow = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, found) = (&*narrow(expected), &*narrow(found));
    let Some((first, rest)) = expected.split_once('…') else { return expected == found };
    let Some(mut left) = found.strip_prefix(first) else { return false };
    let mut pieces = rest.split('…').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    true
}

fn blocks(transcript: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in transcript.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(kind), None) => open = Some(Block { kind: kind.to_owned(), lines: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line.trim_end().to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block that is not closed");
    blocks
}

/// Runs one story; what was said lies in cargo's folder for test files afterwards, however it ended.
fn tell(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
    let transcript = fs::read_to_string(folder.join("transcript.md")).expect("a transcript");
    if transcript.contains("broker down") && real_kafka().is_some() {
        eprintln!("{name}: skipped, a real Kafka is not taken down under the other tests");
        return;
    }
    let mut story = Story::new(name);
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for block in blocks(&transcript) {
            writeln!(story.shown, "```{}", block.kind).expect("text");
            match block.kind.as_str() {
                "console" => story.console(&block.lines),
                "log" => story.log(&block.lines),
                "act" => block.lines.iter().for_each(|line| story.act(line)),
                // Shown to the reader only.
                _ => {}
            }
            story.shown.push_str("```\n");
        }
    }));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenarios");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}.md")), &story.shown).expect("written");
    if let Err(panic) = told {
        eprintln!("{}", story.shown);
        std::panic::resume_unwind(panic);
    }
}

macro_rules! stories {
    ($($test:ident: $folder:literal,)*) => {
        $(#[test]
        fn $test() {
            tell($folder);
        })*

        /// Folders that a test runs.
        const TOLD: &[&str] = &[$($folder),*];
    };
}

stories! {
    a_broker_that_is_down: "broker-down",
    a_dead_letter_budget: "dead-letter-budget",
    an_expired_certificate: "expired-certificate",
    a_dns_typing_error: "dns-typo",
    a_page_instead_of_an_answer: "html-answer",
    a_poison_record: "poison-record",
    a_rule_that_never_matches: "rule-that-never-matches",
    a_refusal_for_good: "refused-for-good",
    a_throttling_storm: "throttling-storm",
    what_the_receiver_lost: "lost-by-the-receiver",
    a_wrong_field_name: "wrong-field-name",
    a_wrong_password: "wrong-password",
}

#[test]
fn every_folder_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    for entry in fs::read_dir(folder).expect("the folder of scenarios") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(TOLD.contains(&name.as_str()), "tests/scenarios/{name} is run by no test");
    }
}

#[test]
fn wildcards_stand_for_text_and_lines() {
    assert!(fits(&["a … c", "⋮", "z"], &["a b c", "1", "2", "z"]));
    assert!(fits(&["⋮"], &[]));
    assert!(fits(&["…"], &["anything"]));
    assert!(!fits(&["a … c"], &["a b d"]));
    assert!(!fits(&["a"], &["a", "b"]));
    assert!(!fits(&["…a…b"], &["xbxa"]));
    assert_eq!(words(r#"tidegate x --data '{"a": 1}' "b c""#), ["tidegate", "x", "--data", r#"{"a": 1}"#, "b c"]);
}
