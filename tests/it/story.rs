//! The command line as people and programs meet it: the five-minute story on the embedded broker, word for word, and
//! what each command prints and exits with.

use crate::support::api::Api;
use crate::support::command::{Said, program};
use crate::support::{Answer, Replica};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::model::clock::Monotonic;

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a copy of the sample resources, in which commands run.
struct Desk {
    folder: TempDir,
    /// Of the embedded broker, once one runs.
    brokers: Option<String>,
    /// Stands for the API where a command sends by itself; refuses what is for the pipeline `bad`.
    api: Api,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let resources = folder.path().join("resources");
        fs::create_dir(&resources).expect("a folder for resources");
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/resources");
        for entry in fs::read_dir(samples).expect("the sample resources") {
            let path = entry.expect("a file").path();
            fs::copy(&path, resources.join(path.file_name().expect("a name"))).expect("a copy");
        }
        let api = Api::start(|seen| match seen.target.contains("/pipelines/bad/") {
            true => Answer::status(422).body("branch is empty"),
            false => Answer::ok(),
        });
        Self { folder, brokers: None, api }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a text in a resource file.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.file("resources").join(file);
        let text = fs::read_to_string(&path).expect("a resource file");
        assert!(text.contains(from), "{file} holds {from}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    /// Starts `dev` on free ports.
    fn dev(&mut self) -> Replica {
        let arguments = ["dev", "--port", "0", "--kafka-port", "0", "-r"];
        let dev = Replica::launch("dev", &arguments, &self.file("resources"), self.api.alarm());
        let banner = dev.wait_line("ready", LIMIT, |line| line.starts_with("Kafka ") && line.ends_with("ready"));
        let address = banner.split(' ').nth(1).expect("an address");
        assert_eq!(banner.split(" · ").count(), 3, "Kafka, admin, rules: {banner}");
        self.brokers = Some(address.to_owned());
        dev
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    /// Runs a command that reads this from standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = program();
        command.current_dir(self.folder.path()).args(arguments).args(["-r", "resources"]).stdin(Stdio::piped());
        command.env("TIDEGATE_DEV_API", self.api.url());
        command.envs(self.brokers.iter().map(|brokers| ("TIDEGATE__KAFKA__BROKERS", brokers)));
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("taken");
        Said::of(child.wait_with_output().expect("it ends"))
    }
}

#[test]
fn the_first_five_minutes() {
    let mut desk = Desk::new();
    let dev = desk.dev();

    let data = r#"{"id":"A1","pipeline":"web"}"#;
    let said = desk.run(&["publish", "--to", "shop", "--type", "order.paid", "--data", data, "--wait"]).exits(1);
    assert_eq!(said.out, "build-on-paid/build  TRANSFORM_MISSING  $.data.branch is absent → dead letter 0:0\n");
    assert_eq!(said.err, "");

    let said = desk.run(&["dlq"]).exits(0);
    let rows: Vec<Vec<&str>> = said.out.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let cells = |row: &[&str]| row.iter().filter(|cell| !cell.is_empty()).map(|c| (*c).to_owned()).collect::<Vec<_>>();
    assert_eq!(cells(&rows[0]), ["TARGET", "CODE", "WAITING", "OLDEST", "REASON"]);
    let group = cells(&rows[1]);
    assert_eq!(group[..3], ["build-on-paid/build", "TRANSFORM_MISSING", "1"]);
    assert!(group[3].ends_with('s'), "an age: {}", group[3]);
    assert_eq!(group[4], "$.data.branch is absent");

    let said = desk.run(&["dlq", "show", "0:0"]).exits(0);
    let lines: Vec<&str> = said.out.lines().collect();
    let (id, rest) = lines[0].strip_prefix("event    ").and_then(|l| l.split_once(' ')).expect("the event");
    assert_eq!(id.len(), 26);
    let origin = rest.strip_prefix("order.paid  shop.orders ").and_then(|l| l.split_once("   ")).expect("its place");
    assert_eq!(origin.1, "rule build-on-paid, target build, attempts 0");
    let origin = format!("shop.orders:{}", origin.0);
    assert_eq!(lines[1], "request  not built: `$.data.branch` is absent (data has id, pipeline)");
    assert_eq!(lines[2], format!("now      today's rule still fails. Next: tidegate explain --at {origin}"));

    let said = desk.run(&["explain", "--at", &origin, "--rule", "build-on-paid"]).exits(0);
    let cure = "^ default: ${$.data.branch ?? \"…\"}";
    assert!(said.err.contains("resources/shop.yaml:") && said.err.contains(cure), "place and cure: {}", said.err);
    let said = desk.run(&["dlq", "redrive", "--dry-run"]).exits(1);
    assert!(said.out.starts_with("1 matches, 0 render with today's rule. Nothing sent.\n"), "{}", said.out);

    desk.edit("shop.yaml", "branch: $.data.branch", "branch: '${$.data.branch ?? \"main\"}'");
    dev.wait_line("reloaded", LIMIT, |line| line.ends_with("reloaded: build-on-paid"));

    let redrive = ["dlq", "redrive", "--target", "build-on-paid/build"];
    let said = desk.run(&[&redrive[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(said.out, "1 matches, 1 renders with today's rule → builds, 50/s, about 1 s. Nothing sent.\n");
    let said = desk.run(&redrive).exits(2);
    assert!(said.err.contains("--dry-run") && said.err.contains("--yes"), "{}", said.err);
    let said = desk.run(&[&redrive[..], &["--yes"]].concat()).exits(0);
    assert_eq!(said.out, "delivered 1 · dead again 0 · already delivered 0\n");

    // The ledger knows: nothing waits, and nothing is sent twice.
    let said = desk.run(&["dlq"]).exits(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", "no dead letters wait\n"));
    let said = desk.run(&[&redrive[..], &["--yes"]].concat()).exits(0);
    assert_eq!(said.out, "delivered 0 · dead again 0 · already delivered 0\n");
    let said = desk.run(&["dlq", "show", "0:0", "-o", "json"]).exits(0).json();
    assert_eq!((&said["state"], &said["redrives"]), (&json!("delivered"), &json!(0)));
    assert_eq!(said["value"]["json"]["data"], json!({"id": "A1", "pipeline": "web"}));
    assert_eq!(said["now"]["request"]["body"], r#"{"commit":"HEAD","branch":"main","message":"Order A1"}"#);

    assert!(dev.stop(LIMIT).success(), "dev ends in good order");
}

#[test]
fn many_events_and_what_becomes_of_them() {
    let mut desk = Desk::new();
    let _dev = desk.dev();

    let said =
        desk.run(&["publish", "resources/samples.jsonl", "--to", "shop", "--wait", "-o", "json"]).exits(1).json();
    let outcomes: Vec<(&str, &str)> = said
        .as_array()
        .expect("an array")
        .iter()
        .map(|o| (o["event"].as_str().unwrap_or_default(), o["outcome"].as_str().unwrap_or_default()))
        .collect();
    let count = |outcome: &str| outcomes.iter().filter(|(_, o)| *o == outcome).count();
    assert_eq!((count("delivered"), count("filtered"), count("dead_lettered")), (6, 2, 1), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|(id, _)| *id == "sample-5").count(), 2, "an event with two deliveries");

    // Filters narrow what is listed and exported.
    for (filter, waiting) in [
        (["--code", "TRANSFORM_MISSING"], 1),
        (["--target", "build-on-paid/build"], 1),
        (["--target", "large-orders"], 0),
        (["--status", "422"], 0),
        (["--since", "1h"], 1),
        (["--where", r#"{"data":{"pipeline":["web"]}}"#], 1),
        (["--where", r#"{"data":{"pipeline":["api"]}}"#], 0),
        (["--where", "{data: {pipeline: [web]}}"], 1),
    ] {
        let listed = desk.run(&["dlq", "list", "-o", "json", filter[0], filter[1]]).exits(0).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(waiting), "{filter:?}");
        let exported = desk.run(&["dlq", "export", filter[0], filter[1]]).exits(0).out;
        assert_eq!(exported.lines().count(), waiting, "{filter:?}");
    }
    let exported = desk.run(&["dlq", "export"]).exits(0).json();
    let headers = exported["headers"].as_array().expect("headers");
    assert!(headers.contains(&json!({"name": "tidegate-code", "text": "TRANSFORM_MISSING"})), "{headers:?}");

    // Ids are fresh, keys decide about the partition, and everything is settled.
    let count = ["publish", "--to", "shop", "--type", "order.created", "--key", "k", "--count", "50", "-o", "jsonl"];
    let said = desk.run(&count).exits(0);
    let rows: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().expect("an id")).collect();
    assert_eq!(rows.len(), 50);
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    assert!(rows.iter().all(|row| row["partition"] == rows[0]["partition"]));

    // Nothing is sent unless all of it is right, and each fault has its place.
    let ends = || desk.run(&["dlq", "-o", "json"]).exits(0).json().as_array().map(Vec::len);
    let before = ends();
    let input = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"order.paid\"}\n{\"id\":\"2\"}\n";
    let said = desk.run_with(&["publish", "-", "--to", "shop"], input).exits(2);
    assert!(said.err.contains("DECODE_ATTRIBUTE_MISSING") && said.err.contains(":2:1"), "{}", said.err);
    assert_eq!(ends(), before);

    desk.run(&["publish", "--to", "nowhere", "--type", "t"]).exits(2);
    desk.run(&["publish", "--topic", "no.such.topic", "--type", "t"]).exits(78);
    desk.run(&["dlq", "show", "0:999"]).exits(1);
    let said = desk.run(&["dlq", "list", "--where", "{data: {pipeline: [{prefx: web}]}}"]).exits(2);
    for wanted in
        ["error[PATTERN_OPERATOR]: `data.pipeline`: `prefx` is no operator", " --> --where:1:21", "^ write `prefix`"]
    {
        assert!(said.err.contains(wanted), "{}", said.err);
    }

    // What stands nowhere is said with what there is; a dead letter is explained as the event it was.
    let full = &rows[0]["partition"];
    let (beyond, holds) = (
        format!("shop.orders:{full}:999999"),
        format!("`shop.orders` partition {full} has no offset 999999; it holds 0 to "),
    );
    for (at, wanted) in [
        (&*beyond, &*holds),
        ("shop.orders:99:0", "`shop.orders` has no partition 99; it has partitions 0 to "),
        ("nowhere:0:0", "there is no topic `nowhere`"),
        ("tidegate.state:0:0", "tidegate.state:0:0 is a report of Tidegate about itself, no event"),
    ] {
        let said = desk.run(&["explain", "--at", at]).exits(1);
        assert!(said.err.contains(wanted), "{at}: {}", said.err);
    }
    let letter = desk.run(&["dlq", "-o", "json"]).exits(0).json()[0]["id"].as_str().expect("an id").to_owned();
    let said = desk.run(&["explain", "--at", &format!("tidegate.dlq:{letter}"), "-o", "json"]).exits(0).json();
    assert_eq!(said[0]["code"], "TRANSFORM_MISSING", "{said}");
}

#[test]
fn dev_once_settles_the_samples() {
    let desk = Desk::new();
    let said = desk.run(&["dev", "--once", "-o", "json"]).exits(0).json();
    let sum = json!({
        "published": 8, "matched": 6, "delivered": 6, "filtered": 2, "dead_lettered": 1, "pending": 0
    });
    assert_eq!(said, sum);
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let desk = Desk::new();
    let said = desk.run(&["check"]).exits(0);
    assert!(said.out.starts_with("ok: 1 connection, 2 destinations, 1 source, 2 rules"), "{}", said.out);
    assert_eq!(desk.run(&["check", "-o", "json"]).exits(0).json(), json!([]));

    desk.edit("shop.yaml", "branch: main, message: Order A1", "branch: trunk, message: Order A1");
    let said = desk.run(&["check"]).exits(1);
    assert!(said.err.contains("at $.branch: expected \"trunk\", got \"main\""), "{}", said.err);

    desk.edit("api.yaml", "timeout: 5s", "timeout: 5");
    let found = desk.run(&["check", "-o", "json"]).exits(78).json();
    let fault = found.as_array().expect("an array").iter().find(|f| f["code"] == "CONFIG_VALUE").expect("the fault");
    let keys: Vec<&str> = fault.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "column", "file", "line", "message", "pointer"]);
    assert!(fault["file"].as_str().is_some_and(|file| file.ends_with("api.yaml")), "{fault}");
    assert_eq!((&fault["pointer"], &fault["column"]), (&json!("/timeout"), &json!(10)));
    desk.run(&["run"]).exits(78);
    desk.run(&["dev", "--once"]).exits(78);
}

#[test]
fn explain_needs_no_network_until_it_sends() {
    let desk = Desk::new();
    let event = |pipeline: &str| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"/shop\",\"type\":\"order.paid\",\
             \"data\":{{\"id\":\"A1\",\"pipeline\":\"{pipeline}\",\"branch\":\"main\",\"total\":1.50}}}}"
        )
    };

    let said = desk.run_with(&["explain", "-", "-o", "json"], &event("web")).exits(0).json();
    let [build, note] = said.as_array().map(Vec::as_slice).expect("an array") else { panic!("two rules: {said}") };
    assert_eq!(
        (&build["rule"], &build["target"], &build["match"]),
        (&json!("build-on-paid"), &json!("build"), &json!(true))
    );
    assert_eq!(build["request"]["method"], "POST");
    assert_eq!(build["request"]["url"], format!("{}/pipelines/web/builds", desk.api.url()));
    assert_eq!(build["request"]["headers"]["content-type"], "application/json");
    assert_eq!(build["request"]["body"], r#"{"commit":"HEAD","branch":"main","message":"Order A1"}"#);
    assert_eq!((&note["match"], &note["request"]), (&json!(false), &Value::Null));
    assert!(note["reason"].as_str().is_some_and(|r| r.contains("data.total") && r.contains("1.50")), "{note}");
    assert_eq!(desk.api.log(|log| log.delivered()), 0);

    desk.run_with(&["explain", "-", "--rule", "large-orders"], &event("web")).exits(1);
    let said = desk.run_with(&["explain", "-", "--send"], &event("web")).exits(0);
    assert!(said.out.contains("\n  → 200 in "), "{}", said.out);
    let said = desk.run_with(&["explain", "-", "--send"], &event("bad")).exits(1);
    assert!(said.out.contains("→ 422") && said.out.contains("branch is empty"), "{}", said.out);

    let said = desk.run_with(&["explain", "-"], "{\"id\":\"A1\"}").exits(2);
    assert!(said.err.contains("`specversion`, `source`, `type` are missing"), "{}", said.err);
    desk.run(&["explain", "no-such-file.json"]).exits(2);
    desk.run(&["explain"]).exits(2);
}

#[test]
fn without_kafka_it_says_so_soon() {
    let mut desk = Desk::new();
    // A port that was free a moment ago, so nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    desk.brokers = Some(listener.local_addr().expect("an address").to_string());
    drop(listener);
    for arguments in [&["dlq"][..], &["publish", "--topic", "t", "--type", "t"], &["explain", "--at", "t:0:0"]] {
        let started = Monotonic::now();
        let said = desk.run(arguments).exits(69);
        assert!(Monotonic::now().since(started) < Duration::from_secs(5), "{arguments:?}");
        assert!(said.err.starts_with("error[KAFKA_UNREACHABLE]: no broker answered"), "{}", said.err);
        assert!(
            said.err.contains("connection refused") && said.err.contains("TIDEGATE__KAFKA__BROKERS"),
            "{}",
            said.err
        );
        assert_eq!(said.out, "");
    }
}

#[test]
fn who_has_seen_enough_is_told_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let schema = program().arg("schema").stdout(writer).spawn().expect("it starts");
    let said = schema.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    assert_eq!(said.status.code(), Some(1));
}
