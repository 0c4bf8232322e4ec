//! Runs `namespace_prog` as a user does and checks its output, the kernel's view of it, and what is left afterwards.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_namespace_prog");
const NOBODY: u32 = 65534;

#[test]
#[ignore = "needs root: make test"]
fn it_prints_the_reference_output_also_into_a_pipe() {
    let out = run(&mut Command::new(PROGRAM));
    assert_eq!(stderr(&out), "");
    assert!(out.status.success());
    assert_matches_reference(&stdout(&out), &host_name());
}

#[test]
#[ignore = "needs root: make test"]
fn a_caller_that_ignores_the_end_of_its_children_changes_nothing() {
    let out = run(Command::new("perl").args(["-e", "$SIG{CHLD} = 'IGNORE'; exec @ARGV", PROGRAM]));
    assert_eq!(stderr(&out), "");
    assert!(out.status.success());
    assert_matches_reference(&stdout(&out), &host_name());
}

#[test]
#[ignore = "needs root: make test"]
fn while_it_pauses_both_children_live_in_one_new_pair_of_namespaces_and_the_parent_does_not() {
    let mut parent = Paused::start(&[]);
    let [child1, child2] = parent.children();
    let id = parent.process.id();
    for kind in ["uts", "pid"] {
        assert_eq!(namespace(id, kind), own_namespace(kind), "the parent stays in the host's {kind} namespace");
        assert_ne!(namespace(child1, kind), own_namespace(kind), "child 1 has a {kind} namespace of its own");
        assert_eq!(namespace(child2, kind), namespace(child1, kind), "child 2 shares child 1's {kind} namespace");
    }
    assert_eq!(inner_pid(child1), 1);
    assert_eq!(inner_pid(child2), 2);

    let out = parent.press_enter();
    assert!(out.status.success());
    assert_matches_reference(&stdout(&out), &host_name());
    assert!(is_gone(child1) && is_gone(child2), "both children are ended and reaped");
}

#[test]
#[ignore = "needs root: make test"]
fn the_host_keeps_its_name_and_a_hundred_runs_leave_no_process() {
    let name = host_name();
    let (_dir, program) = copy_called("ns_hundred");
    for _ in 0..100 {
        assert!(run(&mut Command::new(&program)).status.success());
    }
    assert_eq!(host_name(), name);
    assert_eq!(processes_called("ns_hundred"), Vec::<u32>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn killed_outright_it_takes_its_children_along() {
    let mut parent = Paused::start(&[]);
    let children = parent.children();
    parent.process.kill().unwrap();
    parent.process.wait().unwrap();
    for child in children {
        wait_until(|| is_gone(child), "the child ends with its parent");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn explain_tells_every_step_on_stderr_and_leaves_stdout_alone() {
    let out = run(Command::new(PROGRAM).arg("--explain"));
    assert_matches_reference(&stdout(&out), &host_name());
    let told = stderr(&out);
    let calls = ["clone3(CLONE_NEWUTS|CLONE_NEWPID)", "sethostname(", "pidfd_open(", "CLONE_NEWPID)", "CLONE_NEWUTS)"];
    for call in calls {
        assert!(told.contains(call), "{call} is told in:\n{told}");
    }
    let count = |start| told.lines().filter(|line| line.trim_start().starts_with(start)).count();
    assert_eq!(count("["), 7, "seven steps:\n{told}");
    assert_eq!((count("why "), count("shell ")), (7, 7), "each with its reason and its shell command");
    assert!(!told.contains('\x1b'), "no colours into a pipe");
}

#[test]
#[ignore = "needs root, to become nobody: make test"]
fn without_the_rights_it_says_what_is_missing_and_offers_user() {
    let (_dir, program) = copy_called("ns_nobody");
    let out = run(Command::new(program).uid(NOBODY).gid(NOBODY));
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        stderr(&out),
        "namespace_prog: cannot clone3(CLONE_NEWUTS|CLONE_NEWPID): Operation not permitted (EPERM); \
         it takes CAP_SYS_ADMIN: run it with sudo, or add --user to start in a user namespace\n"
    );
}

#[test]
#[ignore = "needs root, to become nobody: make test"]
fn user_does_the_same_without_root_where_the_kernel_allows_it() {
    let (_dir, program) = copy_called("ns_nobody");
    let allowed = run(Command::new("unshare").args(["--user", "true"]).uid(NOBODY).gid(NOBODY)).status.success();
    let out = run(Command::new(program).arg("--user").uid(NOBODY).gid(NOBODY));
    if allowed {
        assert_eq!(stderr(&out), "");
        assert_matches_reference(&stdout(&out), &host_name());
    } else {
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains("user namespaces"), "{}", stderr(&out));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_full_disk_is_one_clear_line_and_leaves_no_child() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = run(Command::new(PROGRAM).stdout(full).env("RUST_BACKTRACE", "1"));
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(stderr(&out), "namespace_prog: cannot write to stdout: No space left on device (ENOSPC)\n");
}

#[test]
fn a_wrong_option_is_refused_with_exit_code_2() {
    let out = run(Command::new(PROGRAM).arg("--explian"));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("a similar argument exists: '--explain'"), "{}", stderr(&out));
}

/// Compares with `expected/output.txt`; a blank `<…>` matches any value, but the same value wherever it occurs.
fn assert_matches_reference(output: &str, host: &str) {
    let reference = include_str!("../expected/output.txt");
    let mut blanks = BTreeMap::from([("<host>", host), ("<child1-host>", "Child1Hostname")]);
    blanks.extend([("<child1-pid>", "1"), ("<child2-pid>", "2")]);
    assert_eq!(output.lines().count(), reference.lines().count(), "{output}");
    for (line, wanted) in output.lines().zip(reference.lines()) {
        match wanted.split_once(": ") {
            None => assert_eq!(line, wanted),
            Some((label, blank)) => {
                let value = line.strip_prefix(label).and_then(|rest| rest.strip_prefix(": ")).unwrap_or("?");
                assert_eq!(*blanks.entry(blank).or_insert(value), value, "{blank} in line {line:?} of\n{output}");
            }
        }
    }
}

/// `namespace_prog --pause`, paused while both children run.
struct Paused {
    process: Child,
    told: String,
}

impl Paused {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("--pause").args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("--uts hostname") {
            assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "it ended instead of pausing: {told}");
        }
        Self { process, told }
    }

    /// The PIDs of the two children, from the printed commands `lsns -p PID`.
    fn children(&self) -> [u32; 2] {
        let pids = self.told.lines().filter_map(|line| line.trim().strip_prefix("sudo lsns -p ")?.parse().ok());
        pids.collect::<Vec<_>>().try_into().unwrap()
    }

    fn press_enter(&mut self) -> Output {
        self.process.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut stdout = Vec::new();
        self.process.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        Output { status: self.process.wait().unwrap(), stdout, stderr: Vec::new() }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

fn namespace(pid: u32, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).unwrap().ino()
}

fn own_namespace(kind: &str) -> u64 {
    namespace(std::process::id(), kind)
}

/// The PID of a process in its own PID namespace: the last one of `NSpid`.
fn inner_pid(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    numbers.split_whitespace().last().unwrap().parse().unwrap()
}

fn is_gone(pid: u32) -> bool {
    !fs::exists(format!("/proc/{pid}")).unwrap()
}

/// Processes with this name in `/proc/PID/comm`.
fn processes_called(name: &str) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name))
        .collect()
}

fn wait_until(mut holds: impl FnMut() -> bool, claim: &str) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(300), "not within minutes: {claim}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A copy of the program under another name, where any user may run it: the build folder may not be accessible to all.
fn copy_called(name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join(name);
    // By cp(1): a child of another test could inherit a descriptor open for writing, and execve would fail (ETXTBSY).
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    (dir, program)
}
