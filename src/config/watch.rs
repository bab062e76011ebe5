//! Tells when resource files have changed.
//!
//! The file system's own notices wake it up; what decides is a fingerprint of the files' contents, so that a
//! notice without a change is passed over, and a change without a notice (a network file system, a link that
//! Kubernetes swaps) is found at the next look. It never reads what the files mean.

use super::files;
use crate::model::clock::Monotonic;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Changes that follow each other this closely are told once.
const QUIET: Duration = Duration::from_millis(200);
/// In a folder that others write to all the time it is never quiet; then files are looked at after so long.
const BUSY: Duration = Duration::from_secs(2);
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wake {
    Notice,
    /// Files to watch beside the resource files, in place of those named before, as they are.
    Others(Fingerprint),
    Stop,
}

/// What is watched, and what it was like at the last look.
struct Watched {
    /// Files and folders of resources.
    paths: Vec<PathBuf>,
    /// Files that resource files name.
    others: BTreeSet<PathBuf>,
    last: Fingerprint,
}

/// A number for each file that differs when its content does.
type Fingerprint = BTreeMap<PathBuf, u64>;

impl Watch {
    /// Calls `changed` from a thread of its own whenever the resource files under `paths`, or the files that they name,
    /// `others`, differ from what they were when last told, or when this was called.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        paths: Vec<PathBuf>,
        others: Vec<PathBuf>,
        changed: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let watched = Watched::new(paths, others);
        let mut notices = watched.notices(&wake);
        // What changed before the notices began is found by a first look.
        let again = wake.clone();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let every = if notices.is_some() && again.send(Wake::Notice).is_ok() { LOOK } else { LOOK_WITHOUT_NOTICES };
            look(watched, &woken, every, changed, |watched| notices = watched.notices(&again));
        })?;
        Ok(Self { wake, thread: Some(thread) })
    }

    /// Watches these files beside the resource files from now on.
    pub fn others(&self, files: Vec<PathBuf>) {
        if self.wake.send(Wake::Others(fingerprint(files))).is_err() {
            tracing::error!("the watcher of resource files has died");
        }
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

fn look(
    mut watched: Watched,
    woken: &Receiver<Wake>,
    every: Duration,
    mut changed: impl FnMut(),
    mut renew: impl FnMut(&Watched),
) {
    loop {
        let mut next = woken.recv_timeout(every);
        let first = Monotonic::now();
        loop {
            match next {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Others(files)) => {
                    if watched.replace_others(&files) {
                        renew(&watched);
                    }
                }
                Ok(Wake::Notice) => {}
                Err(RecvTimeoutError::Timeout) => break,
            }
            // Until it is quiet: editors write in several steps.
            if Monotonic::now().since(first) >= BUSY {
                break;
            }
            next = woken.recv_timeout(QUIET);
        }
        if watched.differs() {
            changed();
        }
    }
}

impl Watched {
    fn new(paths: Vec<PathBuf>, others: Vec<PathBuf>) -> Self {
        let mut watched = Self { paths, others: others.into_iter().collect(), last: Fingerprint::new() };
        watched.last = watched.fingerprint();
        watched
    }

    /// Whether that made a difference. What is watched already keeps its number, so that no change is missed.
    fn replace_others(&mut self, files: &Fingerprint) -> bool {
        let others: BTreeSet<PathBuf> = files.keys().cloned().collect();
        if self.others == others {
            return false;
        }
        self.others = others;
        let known = std::mem::take(&mut self.last);
        self.last = self.fingerprint();
        for (path, number) in &mut self.last {
            *number = known.get(path).or_else(|| files.get(path)).copied().unwrap_or(*number);
        }
        true
    }

    fn differs(&mut self) -> bool {
        let now = self.fingerprint();
        let differs = now != self.last;
        self.last = now;
        differs
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint(files::find(&self.paths, &mut Vec::new()).into_iter().chain(self.others.iter().cloned()))
    }

    /// A watcher on the folders of everything, or nothing if the system has none to give.
    fn notices(&self, wake: &Sender<Wake>) -> Option<RecommendedWatcher> {
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
            for path in &self.paths {
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
            Ok(mut watcher) => {
                for folder in self.others.iter().map(|path| folder_of(path)).collect::<BTreeSet<_>>() {
                    // A folder that is not there yet is found by looking.
                    let inside = self.paths.iter().any(|path| folder.starts_with(path));
                    if let (false, Err(error)) = (inside, watcher.watch(folder, RecursiveMode::NonRecursive)) {
                        tracing::debug!(%error, folder = %folder.display(), "no notices of changes there; looking instead");
                    }
                }
                Some(watcher)
            }
            Err(error) => {
                let every_s = LOOK_WITHOUT_NOTICES.as_secs();
                tracing::warn!(%error, every_s, "no notices of changed resource files; looking at them instead");
                None
            }
        }
    }
}

fn fingerprint(files: impl IntoIterator<Item = PathBuf>) -> Fingerprint {
    let number = |path: &PathBuf| {
        let mut hasher = DefaultHasher::new();
        std::fs::read(path).ok().hash(&mut hasher);
        hasher.finish()
    };
    files.into_iter().map(|path| (path.clone(), number(&path))).collect()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
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
        let watch = Watch::start(vec![dir.path().to_owned()], Vec::new(), move || told.send(()).expect("heard"))
            .expect("watching");
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
        let _watch = Watch::start(vec![dir.path().to_owned()], Vec::new(), move || told.send(()).expect("heard"))
            .expect("watching");
        symlink("..2", dir.path().join("..data_tmp")).expect("linked");
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("swapped");
        changes.recv_timeout(SOON).expect("the swap");
    }

    #[test]
    fn without_notices_looking_finds_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = vec![dir.path().join("a.yaml")];
        fs::write(&paths[0], "a: 1").expect("written");
        let watched = Watched::new(paths.clone(), Vec::new());
        fs::write(&paths[0], "a: 2").expect("written");
        let (wake, woken) = channel();
        let mut told = 0;
        let changed = || {
            told += 1;
            wake.send(Wake::Stop).expect("heard");
        };
        look(watched, &woken, Duration::from_millis(1), changed, |_| {});
        assert_eq!(told, 1);
    }

    #[test]
    fn a_folder_that_is_never_quiet_hides_no_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = vec![dir.path().join("a.yaml")];
        fs::write(&paths[0], "a: 1").expect("written");
        let watched = Watched::new(paths.clone(), Vec::new());
        fs::write(&paths[0], "a: 2").expect("written");
        let (wake, woken) = channel();
        let busy = wake.clone();
        let (_silent, pause) = channel::<()>();
        // Ends when nobody listens any more.
        let noise = std::thread::spawn(move || {
            while busy.send(Wake::Notice).is_ok() {
                pause.recv_timeout(QUIET / 20).ok();
            }
        });
        let (told, changes) = channel();
        let looking = std::thread::spawn(move || {
            look(watched, &woken, LOOK, || told.send(()).expect("heard"), |_| {});
        });
        let heard = changes.recv_timeout(SOON);
        wake.send(Wake::Stop).expect("heard");
        looking.join().expect("it ended");
        noise.join().expect("it ended");
        heard.expect("a change");
    }

    #[test]
    fn files_that_resources_name_are_watched_too() {
        let (dir, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::write(dir.path().join("a.yaml"), "a: 1").expect("written");
        let secret = elsewhere.path().join("secret");
        fs::write(&secret, "1").expect("written");
        let (told, changes) = channel();
        let told = move || told.send(()).expect("heard");
        let watch = Watch::start(vec![dir.path().to_owned()], vec![secret.clone()], told).expect("watching");
        fs::write(&secret, "2").expect("written");
        changes.recv_timeout(SOON).expect("a change of a secret");
        let late = elsewhere.path().join("late");
        watch.others(vec![secret, late.clone()]);
        fs::write(&late, "1").expect("written");
        changes.recv_timeout(SOON).expect("a file that was missing");
        drop(watch);
    }
}
