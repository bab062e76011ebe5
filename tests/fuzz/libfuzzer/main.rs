//! The targets of `tests/fuzz` under libFuzzer, which looks for inputs that take new branches.
//!
//! In this folder, for three minutes of the target that `FUZZ_TARGET` names (a C++ compiler is needed, no nightly Rust):
//!
//! ```sh
//! FUZZ_TARGET=pattern cargo run --target x86_64-unknown-linux-gnu -- corpus/pattern -max_total_time=180 -dict=words.dict
//! ```
//!
//! The target's right inputs are put into the corpus first. What fails is written to a file `crash-…`; the same command with
//! that file's name repeats it. Put it into the list of known inputs in `tests/fuzz/main.rs`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("FUZZ_TARGET is one of {names:?}"))
});

/// Puts the right inputs where the command above looks for them.
fn write_seeds() {
    let folder = std::path::Path::new("corpus").join(TARGET.name);
    std::fs::create_dir_all(&folder).expect("the current folder can be written");
    for (nth, text) in TARGET.seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("right-{nth}")), text).expect("the corpus can be written");
    }
}

fuzz_target!(init: write_seeds(), |data: &[u8]| (TARGET.run)(data));
