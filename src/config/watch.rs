//! Tells when resource files have changed.
//!
//! The file system's own notices wake it up; what decides is a fingerprint of the files' contents, so that a
//! notice without a change is passed over, and a change without a notice (a network file system, a link that
//! Kubernetes swaps) is found at the next look. It never reads what the files mean.

use super::files;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Changes that follow each other this closely are told once.
const QUIET: Duration = Duration::from_millis(200);
/// Time between looks when the file system gives notices.
const LOOK: Duration = Duration::from_secs(10);
/// Time between looks when it does not.
const LOOK_WITHOUT_NOTICES: Duration = Duration::from_secs(2);

/// Watches until it is dropped; dropping waits for the callback that may be running.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Notice,
    Stop,
}

impl Watch {
    /// Calls `changed` from a thread of its own whenever the resource files under `paths` differ from what they were
    /// when last told, or when this was called.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(paths: Vec<PathBuf>, changed: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let before = fingerprint(&paths);
        let notices = notices(&paths, &wake);
        // What changed before the notices began is found by a first look.
        let first = wake.clone();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let every = if notices.is_some() && first.send(Wake::Notice).is_ok() { LOOK } else { LOOK_WITHOUT_NOTICES };
            drop(first);
            look(&paths, &woken, every, before, changed);
            drop(notices);
        })?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let listens = self.wake.send(Wake::Stop).is_ok();
        let died = self.thread.take().is_some_and(|thread| thread.join().is_err());
        if died || !listens {
            tracing::error!("the watcher of resource files has died");
        }
    }
}

fn look(paths: &[PathBuf], woken: &Receiver<Wake>, every: Duration, mut last: u64, mut changed: impl FnMut()) {
    loop {
        match woken.recv_timeout(every) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Notice) => {
                // Until it is quiet: editors write in several steps.
                loop {
                    match woken.recv_timeout(QUIET) {
                        Ok(Wake::Notice) => {}
                        Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                        Err(RecvTimeoutError::Timeout) => break,
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = fingerprint(paths);
        if now != last {
            last = now;
            changed();
        }
    }
}

/// A watcher on the folders of `paths`, or nothing if the system has none to give.
fn notices(paths: &[PathBuf], wake: &Sender<Wake>) -> Option<RecommendedWatcher> {
    let wake = wake.clone();
    let notice = move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too; it must not wake what reads files.
        let matters = !event.is_ok_and(|event| event.kind.is_access());
        // When nobody listens any more the process is about to stop watching.
        if matters && wake.send(Wake::Notice).is_err() {
            tracing::trace!("a notice after the end of watching");
        }
    };
    let watched = notify::recommended_watcher(notice).and_then(|mut watcher| {
        for path in paths {
            // The folder of a file, because editors and Kubernetes replace files instead of writing to them.
            if path.is_dir() {
                watcher.watch(path, RecursiveMode::Recursive)?;
            } else {
                watcher.watch(folder_of(path), RecursiveMode::NonRecursive)?;
            }
        }
        Ok(watcher)
    });
    match watched {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            let every_s = LOOK_WITHOUT_NOTICES.as_secs();
            tracing::warn!(%error, every_s, "no notices of changed resource files; looking at them instead");
            None
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A number that differs when any of the files differs in name or content.
fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files::find(paths, &mut Vec::new()) {
        path.hash(&mut hasher);
        std::fs::read(&path).ok().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn tells_changes_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a.yaml");
        fs::write(&file, "a: 1").expect("written");
        let (told, changes) = channel();
        let watch = Watch::start(vec![dir.path().to_owned()], move || told.send(()).expect("heard")).expect("watching");
        fs::write(&file, "a: 2").expect("written");
        changes.recv_timeout(SOON).expect("a change of content");
        fs::write(dir.path().join("note.txt"), "not a resource").expect("written");
        fs::write(&file, "a: 2").expect("written");
        fs::write(dir.path().join("b.yaml"), "b: 1").expect("written");
        changes.recv_timeout(SOON).expect("a new file");
        fs::remove_file(&file).expect("removed");
        changes.recv_timeout(SOON).expect("a file that is gone");
        drop(watch);
        assert!(changes.try_recv().is_err(), "told too often");
    }

    #[cfg(unix)]
    #[test]
    fn follows_links_that_are_swapped() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().expect("a folder");
        for (generation, content) in [("..1", "a: 1"), ("..2", "a: 2")] {
            fs::create_dir(dir.path().join(generation)).expect("made");
            fs::write(dir.path().join(generation).join("a.yaml"), content).expect("written");
        }
        symlink("..1", dir.path().join("..data")).expect("linked");
        symlink("..data/a.yaml", dir.path().join("a.yaml")).expect("linked");
        let (told, changes) = channel();
        let _watch =
            Watch::start(vec![dir.path().to_owned()], move || told.send(()).expect("heard")).expect("watching");
        symlink("..2", dir.path().join("..data_tmp")).expect("linked");
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("swapped");
        changes.recv_timeout(SOON).expect("the swap");
    }

    #[test]
    fn without_notices_looking_finds_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = vec![dir.path().join("a.yaml")];
        fs::write(&paths[0], "a: 1").expect("written");
        let before = fingerprint(&paths);
        fs::write(&paths[0], "a: 2").expect("written");
        let (wake, woken) = channel();
        let mut told = 0;
        look(&paths, &woken, Duration::from_millis(1), before, || {
            told += 1;
            wake.send(Wake::Stop).expect("heard");
        });
        assert_eq!(told, 1);
    }
}
