//! The resources we ship are right: the sample set and every example pass `check`, with their rules' tests.

use std::path::{Path, PathBuf};
use std::process::Command;

fn folders() -> Vec<PathBuf> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let examples = std::fs::read_dir(config.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    examples.chain([config.join("resources")]).collect()
}

#[test]
fn samples_and_examples_pass_their_check() {
    let folders = folders();
    assert!(folders.len() > 2, "{folders:?}");
    for folder in folders {
        let checked = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("check").arg(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        let complained = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {complained}", folder.display());
        assert!(said.starts_with("ok: ") && !said.contains(" 0 rules") && !said.contains(" 0 tests"), "{said}");
    }
}
