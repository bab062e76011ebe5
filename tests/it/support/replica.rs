//! The program itself, as a child process: started with a settings file, ended in every way a process can end.

use super::api::Alarm;
use super::command::program;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate::model::clock::Monotonic;

/// How many of its last lines a replica shows when a test fails.
const SHOWN_LINES: usize = 60;

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// The test ends it, so its end is no surprise.
    ending: AtomicBool,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running replica. Dropping it kills it, and if the test is failing shows its last lines.
pub(crate) struct Replica {
    /// What the test calls it.
    pub(crate) name: String,
    /// When it was started.
    pub(crate) started: Monotonic,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Replica {
    /// Starts the program with these arguments, the last of which names the settings file.
    /// Should it end by itself, `alarm` rings.
    pub(crate) fn launch(name: &str, arguments: &[&str], settings: &Path, alarm: Alarm) -> Self {
        let mut command = program();
        command.args(arguments).arg(settings);
        Self::start(name, command, alarm)
    }

    /// Starts it as this command says.
    pub(crate) fn start(name: &str, mut command: Command, alarm: Alarm) -> Self {
        let started = Monotonic::now();
        let mut child = command.spawn().expect("the program starts");
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let readers = vec![
            collect(stdout, Arc::clone(&output), |_| ()),
            collect(stderr, Arc::clone(&output), {
                let name = name.to_owned();
                move |output| {
                    if !output.ending.load(Ordering::Relaxed) {
                        alarm.ring(format!("replica {name} ended by itself"));
                    }
                }
            }),
        ];
        Self { name: name.to_owned(), started, child, output, readers }
    }

    /// Waits until it says that its intakes run.
    #[track_caller]
    pub(crate) fn wait_ready(&self, limit: Duration) {
        self.wait_line("ready", limit, |line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "ready")
        });
    }

    /// Waits for a line of its output that fulfils a condition, and returns it.
    ///
    /// # Panics
    /// After `limit`, and when its output ends before.
    #[track_caller]
    pub(crate) fn wait_line(&self, what: &str, limit: Duration, condition: impl Fn(&str) -> bool) -> String {
        let deadline = Monotonic::now().plus(limit);
        let mut lines = self.output.lock();
        let mut looked = 0;
        loop {
            if let Some(line) = lines.iter().skip(looked).find(|line| condition(line)) {
                return line.clone();
            }
            looked = lines.len();
            let left = deadline.since(Monotonic::now());
            let ended = self.readers.iter().all(JoinHandle::is_finished);
            assert!(!left.is_zero() && !ended, "{}: no line `{what}` within {limit:?} (ended: {ended})", self.name);
            // The end of the output wakes nobody, so look now and then.
            let step = left.min(Duration::from_millis(200));
            lines = self.output.more.wait_timeout(lines, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What its admin server answers to a request: status, head and body.
    ///
    /// # Panics
    /// If it does not become ready, or answers no HTTP within 20 s.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let ready = self.wait_line("its admin address", Duration::from_secs(60), |line| line.contains(" admin="));
        let address = ready.split(" admin=").nth(1).and_then(|rest| rest.split(' ').next()).expect("its admin address");
        let address = address.trim_matches('"');
        let mut stream = TcpStream::connect(address).expect("the admin server");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let request = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// What its admin server answers to a GET.
    ///
    /// # Panics
    /// As [`Replica::ask`] does.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, String, String) {
        self.ask("GET", path)
    }

    /// How many lines of its output so far fulfil a condition.
    pub(crate) fn count_lines(&self, condition: impl Fn(&str) -> bool) -> usize {
        self.output.lock().iter().filter(|line| condition(line)).count()
    }

    /// `kill -9`: it ends at once, with nothing said to anybody.
    pub(crate) fn kill(mut self) {
        self.output.ending.store(true, Ordering::Relaxed);
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        self.output.ending.store(name == "TERM", Ordering::Relaxed);
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success(), "{}: signal {name}", self.name);
    }

    /// Ends it in good order and returns its exit status.
    ///
    /// # Panics
    /// If it still runs after `limit`.
    #[track_caller]
    pub(crate) fn stop(mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let name = self.name.clone();
        super::eventually(&format!("{name} ends after SIGTERM"), limit, || {
            self.child.try_wait().expect("its state").ok_or_else(|| "it runs".to_owned())
        })
    }

    /// All of its output so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().join("\n")
    }

    fn last_lines(&self) -> String {
        let lines = self.output.lock();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        let mut text = format!("---- {}: its last {} of {} lines\n", self.name, lines.len() - from, lines.len());
        for line in lines.iter().skip(from) {
            writeln!(text, "{line}").expect("text");
        }
        text
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.output.ending.store(true, Ordering::Relaxed);
        // It may have ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
        if std::thread::panicking() {
            eprint!("{}", self.last_lines());
        }
    }
}

/// Reads a pipe to its end, then calls `ended`.
fn collect(
    pipe: impl Read + Send + 'static,
    output: Arc<Output>,
    ended: impl FnOnce(&Output) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            output.lock().push(String::from_utf8_lossy(&line).into_owned());
            output.more.notify_all();
        }
        ended(&output);
    })
}
