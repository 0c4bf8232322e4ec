//! Images for other tools and from them, as their users meet them: with skopeo, umoci, runc and a registry.
//!
//! They need root, and each makes a private host for itself first. A tool that is not installed leaves its test out, and the
//! test says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bundles;
mod hostile;
mod planted;
mod registry;
mod round_trip;
mod trees;

use std::process::Command;

/// Whether a program is there; says so when it is not.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        println!("skipped: {program} is not installed here");
    }
    found
}

/// Runs a shell's text, which must succeed; its output.
pub fn sh(script: &str) -> String {
    let output = Command::new("bash").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
