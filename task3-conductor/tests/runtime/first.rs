//! First processes of every kind, asked to end: who can hear is asked and has its time, who cannot is killed at once.
//!
//! Manual: signal(7), sigwait(3), pthread_exit(3), proc_pid_status(5).

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::life::wait_for;
use testlab::host::{Host, Snapshot, within};

/// Whoever waits for another signal than SIGTERM is `deaf`; where a thread is `alone`, the first one has ended.
const DEAF: [&str; 2] = ["sigwait deaf", "thread-alone deaf"];

/// A host with `first.c`, compiled with no library, so that it runs in any root.
struct InitTest {
    host: Host,
    before: Snapshot,
    folder: TempDir,
}

impl InitTest {
    fn new(test: &str) -> Self {
        let (host, folder) = (Host::new(test), tempfile::tempdir().unwrap());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtime/first.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-Wall", "-Werror", "-pthread", "-static", "-o"]).arg(folder.path().join("first")).arg(source);
        assert!(gcc.status().unwrap().success());
        Self { before: host.snapshot(), host, folder }
    }

    /// Starts a container with one of these kinds as first process, and returns when that waits.
    fn start(&self, kind: &str) {
        let volume = format!("{}:/first:ro", self.folder.path().display());
        let words = ["run", "-d", "-v", &volume, "img", "web", "--", "/first/first"];
        self.host.ok(&words.into_iter().chain(kind.split(' ')).collect::<Vec<_>>());
        wait_for(|| {
            let members = fs::read_to_string(self.cgroup().join("cgroup.procs")).unwrap();
            waits(members.trim().parse().unwrap(), kind).then_some(())
        });
    }

    /// The container's, in the tree in which it is killed.
    fn cgroup(&self) -> PathBuf {
        let all = self.host.cgroups();
        all.iter().find(|path| path.join("cgroup.kill").exists()).or(all.first()).unwrap().clone()
    }

    /// Within less than the ten seconds that a first process has, and without a word on stderr if it `is_asked`.
    fn ends(&self, words: &[&str], is_asked: bool) {
        let begun = Instant::now();
        let outcome = self.host.run(words);
        assert!(outcome.code == 0 && (outcome.err.is_empty() || !is_asked), "{words:?}: {outcome:?}");
        assert!(begun.elapsed() < within(Duration::from_secs(5)), "{words:?}: {:?}", begun.elapsed());
    }
}

impl Drop for InitTest {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.host.snapshot(), self.before);
        }
    }
}

/// Whether a process of one of these kinds has come to where it waits.
fn waits(pid: u32, kind: &str) -> bool {
    let state = if kind.starts_with("thread-alone") { "State:\tZ" } else { "State:\tS" };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.starts_with("Name:\tfirst\n") && status.contains(state)
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_in_sigwait_receives_the_signal() {
    let test = InitTest::new("first-asked");
    for kind in ["sigwait", "reaper", "thread", "thread-alone"] {
        test.start(kind);
        let waiting = test.host.piped(&["-q", "wait", "web"]);
        test.ends(&["-q", "kill", "-s", "TERM", "web"], true);
        let waited = waiting.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&waited.stdout), "7\n", "{kind}: {waited:?}");
        assert_eq!(test.host.run(&["-q", "logs", "web"]).out, "up\nheard\n", "{kind}");
        test.host.ok(&["stop", "web"]);

        test.start(kind);
        test.ends(&["stop", "web"], true);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_waiting_for_another_signal_is_killed_at_once() {
    let test = InitTest::new("first-deaf");
    for kind in DEAF {
        for words in [&["stop", "web"][..], &["rm", "-f", "web"]] {
            test.start(kind);
            test.ends(words, false);
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_whose_first_thread_has_ended_has_not_ended() {
    let test = InitTest::new("first-thread");
    test.start("thread-alone");
    let listed = test.host.ok(&["ps"]);
    assert!(listed.contains("running"), "{listed}");
    let used = test.host.ok(&["stats", "--no-stream", "web"]);
    assert!(used.contains("\nweb "), "{used}");
    test.host.ok(&["stop", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn whatever_is_in_the_cgroup_goes_also_where_the_first_thread_has_ended_or_nothing_of_it_is_inside() {
    let test = InitTest::new("first-cgroup");
    test.host.start("web");
    // The end of process 1 takes all others of its PID namespace with it; these are of ours.
    let join =
        format!("echo $$ >{}/cgroup.procs && exec {}/first", test.cgroup().display(), test.folder.path().display());
    let mut others = DEAF.map(|kind| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{join} {kind}")]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    wait_for(|| others.iter().zip(DEAF).all(|(other, kind)| waits(other.id(), kind)).then_some(()));
    test.ends(&["stop", "web"], false);
    for other in &mut others {
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
}
