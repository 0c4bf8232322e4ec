//! Each module's example, run as a child process: it ends with 0 and shows what its module says.
//!
//! cargo builds the examples before it runs this test, and puts them beside it.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::path::PathBuf;
use std::process::Command;

#[test]
fn error_tells_attempt_object_reason_and_cure() {
    let shown = run("error");
    assert!(shown.contains("whole: cannot write to /proc/version: "), "{shown}");
    assert!(shown.contains("; it is the kernel's to write\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn namespace_shows_seven_kinds_and_a_change_and_a_return() {
    let shown = run("namespace");
    assert_eq!(shown.lines().filter(|line| line.ends_with("_namespaces(7)")).count(), 7, "{shown}");
    let uts = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().find(|word| word.starts_with("uts:[")).unwrap().to_owned()
    };
    assert_eq!(uts("unshare"), uts("setns"), "the child went back to where the parent came from");
}

#[test]
#[ignore = "needs root: make test"]
fn process_is_1_inside_and_another_outside_and_brings_an_error_home() {
    let shown = run("process");
    assert!(shown.contains("inside:  I am process 1\n"), "{shown}");
    assert!(!shown.contains("outside: it is process 1\n"), "{shown}");
    assert!(shown.contains("a shell shows as 137\n"), "{shown}");
    assert!(shown.contains("dropped: process ") && shown.contains(" is gone\n"), "{shown}");
    assert!(shown.contains("cannot execute /no/such/program: No such file or directory (ENOENT)"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn step_tells_parent_and_child() {
    let shown = run("step");
    assert!(shown.contains("clone3(CLONE_NEWUTS|CLONE_NEWIPC)"), "{shown}");
    assert!(shown.contains("sethostname(\"example\")"), "{shown}");
    assert_eq!(shown.matches("\n      why    ").count(), 2, "{shown}");
}

#[test]
fn sys_makes_a_child_and_closes_descriptors_at_exec() {
    let shown = run("sys");
    assert!(shown.contains("Exited(") && shown.contains(", 7)"), "{shown}");
    assert!(shown.contains("before, ") && shown.contains("goes through exec: true\n"), "{shown}");
    assert!(shown.contains("after, ") && shown.contains("goes through exec: false\n"), "{shown}");
}

#[test]
fn elf_names_loader_and_libraries() {
    let shown = run("elf");
    assert!(shown.starts_with("/bin/ls is loaded by /lib"), "{shown}");
    assert!(shown.contains("libc.so.6 "), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn rootfs_shows_a_root_that_holds_one_program_and_what_it_needs() {
    let shown = run("rootfs");
    assert!(shown.contains("/bin:\nls\n"), "{shown}");
    assert!(shown.contains("libc.so.6\n"), "{shown}");
    assert!(!shown.contains("etc"), "nothing else is there: {shown}");
}

/// Runs an example to its end and returns what it printed.
fn run(example: &str) -> String {
    let program = built(example);
    assert!(
        program.exists(),
        "{} is not built: `cargo test --test` builds no examples, `cargo test` does",
        program.display()
    );
    let out = Command::new(program).output().unwrap();
    let shown = String::from_utf8(out.stdout).unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "example {example} ended with {}: {told}", out.status);
    shown
}

/// `target/debug/examples/NAME`, seen from `target/debug/deps/THIS_TEST`.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(example)
}
