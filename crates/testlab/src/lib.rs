//! What the tests and measurements of several tasks share.
//!
//! It stands in no program: the packages name it under `[dev-dependencies]`. A helper that cannot do its work panics, and so
//! the test fails that called it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends in a panic when it fails")]

pub mod deadline;
pub mod host;
pub mod netns;
pub mod tally;

use std::path::PathBuf;

/// A program of this workspace, as it was built for the test that runs: `target/debug/NAME`.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    let program = target_folder().join(name);
    assert!(program.exists(), "{} is not there yet: cargo build", program.display());
    program
}

/// Where tests may leave files for the next run: cargo's `CARGO_TARGET_TMPDIR`, which only it tells, and only to tests.
pub fn scratch_folder() -> PathBuf {
    target_folder().with_file_name("tmp")
}

/// Of `target/debug/deps/TEST` and `target/debug/examples/BENCH`, `target/debug`.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}
