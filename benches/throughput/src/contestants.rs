//! Who is measured, and what each is to do.

use crate::{Arguments, peers, tidegate};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// In which order events are to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    /// Events of a key one after the other.
    Key,
}

/// One run of one program.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) brokers: String,
    pub(crate) mock: bool,
    pub(crate) topic: String,
    /// A name that no other run has.
    pub(crate) group: String,
    /// Begins the names of Tidegate's own topics.
    pub(crate) prefix: String,
    /// Port of the receiver on 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) rules: u64,
    pub(crate) destinations: u64,
    /// Requests for each event.
    pub(crate) fan_out: u64,
    pub(crate) order: Order,
    /// One event of so many is wanted.
    pub(crate) one_of: u64,
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Tidegate,
    Floor,
    FloorHyper,
    Peer(peers::Peer),
}

/// A program that can be measured.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    /// As it stands in the table.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    program: PathBuf,
    /// What it says of its version.
    pub(crate) version: String,
}

impl Contestant {
    /// Those that are here: Tidegate, the floors, and the peers whose programs are found.
    pub(crate) fn all(arguments: &Arguments) -> Vec<Self> {
        let me = std::env::current_exe().expect("this program's path");
        let mut all = Vec::new();
        for given in arguments.all("tidegate") {
            let (name, path) = given.split_once('=').unwrap_or(("tidegate", given));
            let program = fs::canonicalize(path).unwrap_or_else(|error| panic!("--tidegate {path}: {error}"));
            let version = said(Command::new(&program).arg("--version"));
            all.push(Self { name: name.to_owned(), kind: Kind::Tidegate, program, version });
        }
        for (name, kind) in [("floor", Kind::Floor), ("floor-hyper", Kind::FloorHyper)] {
            let version = format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1);
            all.push(Self { name: name.to_owned(), kind, program: me.clone(), version });
        }
        for peer in peers::Peer::ALL {
            if let Some(program) = peer.find() {
                let version = peer.version(&program);
                all.push(Self { name: peer.name().to_owned(), kind: Kind::Peer(peer), program, version });
            }
        }
        if let Some(only) = arguments.get("only") {
            let only: Vec<&str> = only.split(',').collect();
            all.retain(|one| {
                only.contains(&one.name.as_str()) || (only.contains(&"tidegate") && one.kind == Kind::Tidegate)
            });
        }
        all
    }

    /// Starts it on the job; nothing if the job is none for it.
    pub(crate) fn start(&self, job: &Job, folder: &Path) -> Option<Running> {
        fs::create_dir_all(folder).expect("a folder");
        let mut command = match &self.kind {
            Kind::Tidegate => tidegate::command(&self.program, job, folder),
            Kind::Floor | Kind::FloorHyper => self.floor(job)?,
            Kind::Peer(peer) => peer.command(&self.program, job, folder)?,
        };
        let log = File::create(folder.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        Some(Running { child, log: folder.join("log") })
    }

    fn floor(&self, job: &Job) -> Option<Command> {
        // They know no order, no several destinations, and the raw one no TLS.
        if job.order != Order::None || job.destinations > job.fan_out {
            return None;
        }
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Floor if !job.tls => command.arg("floor"),
            Kind::FloorHyper if job.fan_out == 1 && job.one_of == 1 => command.arg("floor-hyper"),
            Kind::Floor | Kind::FloorHyper | Kind::Tidegate | Kind::Peer(_) => return None,
        };
        let to = format!("{}:{}", "127.0.0.1", job.port);
        command.args(["--brokers", &job.brokers, "--topic", &job.topic, "--group", &job.group, "--to", &to]);
        if job.tls {
            command.args(["--ca", crate::tls::CA]);
        }
        if job.fan_out > 1 {
            command.args(["--fan-out", &job.fan_out.to_string()]);
        }
        if job.one_of > 1 {
            command.args(["--filter", "\"type\":\"order.paid\""]);
        }
        Some(command)
    }
}

/// The first line that a command says.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// A program that runs; it is killed when this value goes.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its last lines, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().expect("its state").map(|status| format!("{status}: {}", self.last_lines()))
    }

    /// What it said last.
    pub(crate) fn last_lines(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Ends it in good order, so that the groups it was in do not wait for it.
    pub(crate) fn stop(mut self) {
        if self.ended().is_some() {
            return;
        }
        drop(Command::new("kill").args(["-TERM", &self.id().to_string()]).status());
        for _ in 0..60 {
            if self.child.try_wait().expect("its state").is_some() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
