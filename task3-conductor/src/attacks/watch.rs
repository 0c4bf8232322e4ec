//! Watches for processes that join the container, and tries to access them before their exec.
//!
//! Between clone and exec such a process is still the runtime: its memory, descriptors, environment and program file
//! are the host's (CVE-2016-9962, CVE-2019-5736). The watcher only tries, and prints what it got.

use std::fs;
use std::path::Path;

use nix::sys::ptrace;
use nix::unistd::Pid;

/// Looks at every process again and again, until it is killed.
pub fn watch() -> ! {
    let me = std::process::id();
    println!("watching");
    loop {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if pid != me && pid != 1 {
                try_all(pid, &entry.path());
            }
        }
    }
}

fn try_all(pid: u32, process: &Path) {
    // A program file that the container does not have belongs to the host.
    let program = fs::read_link(process.join("exe")).ok();
    let is_strange = program.as_ref().is_some_and(|program| !program.exists());
    if is_strange && fs::File::open(process.join("exe")).is_ok() {
        println!("PROGRAM {program:?}");
    }
    if fs::read(process.join("environ")).is_ok_and(|text| text.windows(6).any(|word| word == b"SECRET")) {
        println!("ENVIRONMENT");
    }
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    // Only its streams are expected.
    let more = descriptors.filter(|entry| !["0", "1", "2"].map(Into::into).contains(&entry.file_name()));
    for target in more.filter_map(|entry| fs::read_link(entry.path()).ok()) {
        // Another watcher has /proc open.
        if target.is_absolute() && !target.starts_with("/proc") && !target.exists() {
            println!("DESCRIPTOR {}", target.display());
        }
    }
    if is_strange && ptrace::seize(Pid::from_raw(pid as i32), ptrace::Options::empty()).is_ok() {
        println!("MEMORY");
    }
}
