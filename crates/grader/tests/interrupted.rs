//! A grader that is ended in the middle of a run: what it leaves, and who takes it away.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests leaves out the functions that tests call")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Hierarchies in which a box may have a cgroup.
const TREES: [&str; 5] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/freezer"];

/// `grade TASK` on a program that runs until it is ended.
fn grade(task: &str, dir: &Path, script: &str) -> Child {
    let program = if task == "task1" { "namespace_prog.sh" } else { "conductor.sh" };
    fs::write(dir.join(program), script).unwrap();
    Command::new(env!("CARGO_BIN_EXE_grade"))
        .args([task, "--submission"])
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The cgroups of the boxes of that grader.
fn cgroups(grader: u32) -> Vec<PathBuf> {
    let ours = format!("grade-box-{grader}-");
    let entries = TREES.iter().filter_map(|tree| fs::read_dir(tree).ok()).flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours)).map(|entry| entry.path()).collect()
}

fn procs(cgroup: &Path) -> Vec<String> {
    let here = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<String> = here.lines().map(str::to_owned).collect();
    all.extend(below.filter(|path| path.is_dir()).flat_map(|path| procs(&path)));
    all
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(300), "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What runs until it is ended.
const SLEEPS: &str = "(setsid sleep 1000 &); sleep 1000";

/// Starts a run, waits until the submission's processes are in its box, and sends the grader `signal`.
fn ended_by(task: &str, signal: &str, script: &str) -> (u32, ExitStatus) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = grade(task, dir.path(), script);
    let pid = child.id();
    let has_started = || cgroups(pid).iter().any(|cgroup| procs(cgroup).len() >= 4);
    until("the box has init, the script and its two children", has_started);
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    (pid, child.wait().unwrap())
}

#[test]
#[ignore = "needs root: make test"]
fn a_signal_takes_the_box_down_before_the_grader_ends() {
    for (task, signal, code) in [("task1", "-INT", 130), ("task1", "-TERM", 143), ("task3", "-INT", 130)] {
        let (grader, status) = ended_by(task, signal, SLEEPS);
        assert_eq!(status.code(), Some(code));
        assert_eq!(cgroups(grader), Vec::<PathBuf>::new());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_session_that_hangs_is_ended_by_a_signal_at_once() {
    // Stopped, deaf to signals, frozen by itself.
    let stopped = "(setsid sleep 1000 &); sleep 1000 & kill -STOP $$";
    let deaf = "trap '' TERM INT HUP QUIT; (setsid sleep 1000 &); while :; do sleep 1000; done";
    let frozen = r#"(setsid sleep 1000 &); sleep 1000 & sleep 1
        while IFS=: read -r _ controllers path; do
            [ "$controllers" = freezer ] && echo FROZEN >"/sys/fs/cgroup/freezer$path/freezer.state"
            for file in /sys/fs/cgroup{,/unified}"$path"/cgroup.freeze; do
                [ -z "$controllers" ] && [ -w "$file" ] && echo 1 >"$file"
            done
        done </proc/self/cgroup
        sleep 1000"#;
    for script in [stopped, deaf, frozen] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = grade("task3", dir.path(), script);
        let pid = child.id();
        until("the box has its processes", || cgroups(pid).iter().any(|cgroup| procs(cgroup).len() >= 4));
        std::thread::sleep(Duration::from_secs(3)); // the frozen one is frozen by then
        let start = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(143), "{script}");
        // A second of patience, and what it takes to take a box down: far from the minutes that a session may last.
        assert!(start.elapsed() < Duration::from_secs(60), "{script}: {:?}", start.elapsed());
        assert_eq!(cgroups(pid), Vec::<PathBuf>::new());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_killed_grader_leaves_no_process_and_the_next_run_takes_its_cgroups() {
    for task in ["task1", "task3"] {
        killed_in_the_middle(task);
    }
}

fn killed_in_the_middle(task: &str) {
    let (grader, status) = ended_by(task, "-KILL", SLEEPS);
    assert_eq!(status.code(), None);
    until("every process of the box is gone", || cgroups(grader).iter().all(|cgroup| procs(cgroup).is_empty()));
    let dir = tempfile::tempdir().unwrap();
    grade("task1", dir.path(), "true").wait().unwrap();
    assert_eq!(cgroups(grader), Vec::<PathBuf>::new());
}
