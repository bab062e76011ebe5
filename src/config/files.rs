//! Which files a set of paths names, and reading them.

use crate::model::fault::{Fault, Place};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders in each other at most; also ends loops of links.
const MAX_DEPTH: usize = 16;
/// A resource file larger than this is a mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The resource files under `paths`: a file by itself, a folder with all `.yaml`, `.yml` and `.json` files below it,
/// sorted, so that the order is the same everywhere. Names that begin with a dot are passed over (Kubernetes keeps
/// its generations of a mounted folder under such names). Links are followed.
pub fn find(paths: &[PathBuf], faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        match path.metadata() {
            Ok(meta) if meta.is_dir() => walk(path, 0, &mut found, faults),
            Ok(_) => found.push(path.clone()),
            Err(error) => {
                faults.push(unreadable(path, &error).cure("give a file or a folder with -r PATH or in resources.paths"))
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|path| seen.insert(path.clone()));
    found
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return faults.push(unreadable(folder, &error)),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                walk(&path, depth + 1, found, faults);
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
}

/// The text of a file, or a `CONFIG_FILE` fault.
///
/// # Errors
/// It cannot be read, is not UTF-8, or is too large.
pub fn read_text(path: &Path) -> Result<String, Box<Fault>> {
    let large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > MAX_FILE_BYTES);
    if large {
        let message = format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display());
        return Err(Box::new(Fault::error("CONFIG_FILE", "", message).at(place(path))));
    }
    let bytes = std::fs::read(path).map_err(|error| Box::new(unreadable(path, &error)))?;
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("{} is not UTF-8 at byte {}", path.display(), error.utf8_error().valid_up_to());
        Box::new(Fault::error("CONFIG_FILE", "", message).cure("save it as UTF-8").at(place(path)))
    })
}

/// The line of a file that a place names, for showing it beside a fault.
#[must_use]
pub fn line_of(place: &Place) -> Option<String> {
    if place.line == 0 || place.file.is_empty() {
        return None;
    }
    let text = read_text(Path::new(&*place.file)).ok()?;
    let index = usize::try_from(place.line).ok()?.checked_sub(1)?;
    text.lines().nth(index).map(str::to_owned)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::error("CONFIG_FILE", "", format!("{} cannot be read: {error}", path.display())).at(place(path))
}

fn place(path: &Path) -> Place {
    Place { file: Arc::from(path.display().to_string()), line: 0, column: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_order_and_hidden_names_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.yaml", "a.yml", "sub/c.json", "sub/.hidden.yaml", "..data/d.yaml", "note.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let mut faults = Vec::new();
        let extra = dir.path().join("note.txt");
        let found = find(&[dir.path().to_owned(), extra], &mut faults);
        let names: Vec<_> =
            found.iter().map(|p| p.strip_prefix(dir.path()).expect("inside").display().to_string()).collect();
        assert_eq!(names, ["a.yml", "b.yaml", "sub/c.json", "note.txt"]);
        assert!(faults.is_empty());
        find(&[dir.path().join("missing")], &mut faults);
        assert_eq!(faults.first().map(|f| f.code), Some("CONFIG_FILE"));
    }
}
