//! One test's world: names of its own, a Kafka, the scripted API, the resource files, the replicas' settings.

use super::api::{Answer, Api, Seen};
use super::broker::Broker;
use super::command::Said;
use super::replica::Replica;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tidegate::model::clock::WallMs;
use tidegate::model::stored::TIERS;

/// The source that tests publish to, and its topic's last part.
pub(crate) const SOURCE: &str = "orders";

/// One test's world. Topics, groups and files carry a name that no other test and no other run has.
pub(crate) struct Bed {
    /// Kafka.
    pub(crate) broker: Broker,
    /// The API.
    pub(crate) api: Api,
    name: String,
    folder: TempDir,
    /// More sections for the replicas' settings.
    sections: Mutex<String>,
    /// The queues made for them.
    queues: Mutex<HashSet<String>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // What a failing test leaves is worth a look.
        if !std::thread::panicking() {
            self.broker.delete_topics(&format!("{}.", self.name));
        }
    }
}

/// A name that no other test and no other run has.
pub(crate) fn unique(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{}-{count}", WallMs::now().0, std::process::id())
}

impl Bed {
    /// Starts Kafka and an API that follows `script`; creates the topic that the test publishes to.
    pub(crate) fn new(test: &str, partitions: i32, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let bed = Self {
            broker: Broker::start(),
            api: Api::start(script),
            name: unique(test),
            folder: TempDir::new().expect("a folder for settings"),
            sections: Mutex::default(),
            queues: Mutex::default(),
        };
        fs::create_dir(bed.folder.path().join("resources")).expect("a folder for resources");
        bed.broker.create_topic(&bed.topic(), partitions);
        if super::real_kafka().is_none() {
            // The mock cluster knows no request that creates a topic, so what the program would create is there already.
            for (last, partitions) in [("slots", 32), ("dlq", 12), ("trace", 12), ("state", 1)] {
                bed.broker.create_topic(&bed.own_topic(last), partitions);
            }
            bed.tiers().for_each(|tier| bed.broker.create_topic(&tier, 32));
        }
        bed
    }

    /// Begins the names of its topics and groups.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are: settings, and the folder `resources`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The topic that the test publishes to.
    pub(crate) fn topic(&self) -> String {
        format!("{}.{SOURCE}", self.name)
    }

    /// One of Tidegate's own topics, such as `dlq` or `retry.10s`.
    pub(crate) fn own_topic(&self, last: &str) -> String {
        format!("{}.{last}", self.name)
    }

    /// The retry tiers, shortest first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = String> {
        TIERS.iter().map(|tier| self.own_topic(&format!("retry.{}", tier.name)))
    }

    /// The group that reads the source.
    pub(crate) fn group(&self) -> String {
        format!("{}.{SOURCE}", self.name)
    }

    /// The group under which stored deliveries are committed.
    pub(crate) fn stored_group(&self) -> String {
        format!("{}.stored", self.name)
    }

    /// Writes the usual resources: the source, the API without authentication, one destination with these extra
    /// lines (`rate_limit: 50/s`), and one rule that sends every event there with its id in the header `x-event`.
    pub(crate) fn usual_resources(&self, destination: &str) {
        self.resources(
            "usual.yaml",
            &format!(
                "{}
---
kind: destination
name: sink
connection: api
endpoint: /in
{destination}
---
kind: rule
name: all
from: {SOURCE}
pattern: {{}}
targets:
- name: sink
  destination: sink
  headers: {{x-event: $.id}}
",
                self.source_and_connection("")
            ),
        );
    }

    /// The source with these extra keys (`, strict: true`) and the connection to the API, as YAML documents.
    pub(crate) fn source_and_connection(&self, source: &str) -> String {
        format!(
            "kind: source
name: {SOURCE}
kafka: {{topics: [{}]{source}}}
---
kind: connection
name: api
url: {}
allow_networks: [127.0.0.0/8]",
            self.topic(),
            self.api.url()
        )
    }

    /// Writes one resource file.
    pub(crate) fn resources(&self, file: &str, yaml: &str) {
        if super::real_kafka().is_none() {
            // Nor can a replica make the queue of a destination there.
            let named = |document: &str| {
                let words: Vec<&str> = document.split(|c: char| c.is_whitespace() || "{},'\"".contains(c)).collect();
                let after = |key: &str| words.iter().skip_while(|w| **w != key).nth(1).copied();
                after("name:").filter(|_| after("kind:") == Some("destination")).map(str::to_owned)
            };
            for destination in yaml.split("---").filter_map(named) {
                let queue = self.own_topic(&format!("queue.{destination}"));
                if self.queues.lock().expect("nobody panicked").insert(queue.clone()) {
                    self.broker.create_topic(&queue, 1);
                }
            }
        }
        fs::write(self.folder.path().join("resources").join(file), yaml).expect("a resource file");
    }

    /// Further sections in the settings of the replicas that start from now on.
    pub(crate) fn settings(&self, toml: &str) {
        toml.clone_into(&mut self.sections.lock().expect("nobody panicked"));
    }

    /// Starts a replica and waits until it is ready.
    #[track_caller]
    pub(crate) fn replica(&self, name: &str) -> Replica {
        let [replica] = self.replicas([name]);
        replica
    }

    /// Starts several replicas at once and waits until all are ready.
    #[track_caller]
    pub(crate) fn replicas<const N: usize>(&self, names: [&str; N]) -> [Replica; N] {
        let replicas = names.map(|name| self.launch(name, ""));
        for replica in &replicas {
            replica.wait_ready(Duration::from_secs(60));
        }
        replicas
    }

    /// Starts a replica with more lines in the section `[kafka]`, without waiting for it.
    pub(crate) fn launch(&self, name: &str, kafka: &str) -> Replica {
        Replica::launch(name, &["run", "-c"], &self.settings_file(name, kafka), self.api.alarm())
    }

    /// A command of the program that looks at the same Kafka and resources as the replicas.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = super::command::program();
        command.args(arguments).arg("-c").arg(self.settings_file("tool", ""));
        command
    }

    /// What such a command says.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("the program runs"))
    }

    /// Arguments that let a command of the program see the same Kafka and resources as the replicas.
    pub(crate) fn settings_file(&self, name: &str, kafka: &str) -> PathBuf {
        let mut toml = String::new();
        // The mock cluster lets every rebalance wait for nearly a session.
        let quick = "session_timeout = \"6s\"\nheartbeat_interval = \"1s\"\n\n[delivery]\ndrain_timeout = \"2s\"";
        let quick = if super::real_kafka().is_some() { "" } else { quick };
        write!(
            toml,
            "[kafka]
brokers = {:?}
group = {:?}
prefix = {:?}
{kafka}
{quick}

[resources]
paths = [{:?}]

[admin]
listen = \"127.0.0.1:0\"

{}
",
            self.broker.bootstrap,
            self.name,
            self.name,
            self.folder.path().join("resources"),
            self.sections.lock().expect("nobody panicked"),
        )
        .expect("text");
        let path = self.folder.path().join(format!("{name}.toml"));
        fs::write(&path, toml).expect("a settings file");
        path
    }

    /// Waits until the group has committed the end of everything it read: the source's topic and the retry tiers.
    #[track_caller]
    pub(crate) fn wait_all_committed(&self, limit: Duration) {
        super::eventually("everything committed", limit, || {
            assert!(self.api.alarm().rung().is_none(), "everything committed: {:?}", self.api.alarm().rung());
            self.broker.at_end(&self.group(), &self.topic())?;
            self.tiers().try_for_each(|tier| self.broker.at_end(&self.stored_group(), &tier))
        });
    }
}
