//! First processes of every kind, asked to end: who can hear is asked and has its time, who cannot is killed at once.
//!
//! Manual: signal(7), sigwait(3), pthread_exit(3), proc_pid_status(5).

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Host, within};
use crate::life::wait_for;

/// Compiles `first.c` into a folder; with no library, so that it runs in any root.
fn compile(folder: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtime/first.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Werror", "-pthread", "-static", "-o"]).arg(folder.join("first")).arg(source);
    assert!(gcc.status().unwrap().success());
}

/// Starts one of these kinds, and returns when it waits.
fn start(host: &Host, folder: &Path, kind: &str) {
    let volume = format!("{}:/first:ro", folder.display());
    host.ok(&["run", "-d", "-v", &volume, "img", "web", "--", "/first/first", kind]);
    wait_for(|| host.ok(&["logs", "web"]).contains("up").then_some(()));
    // Between that word and its waiting are a few system calls.
    thread::sleep(within(Duration::from_millis(50)));
}

#[test]
#[ignore = "needs root: make test"]
fn who_waits_for_the_signal_without_a_handler_is_asked() {
    let (host, folder) = (Host::new("first-asked"), tempfile::tempdir().unwrap());
    let before = host.snapshot();
    compile(folder.path());
    for kind in ["sigwait", "reaper", "thread", "thread-alone"] {
        start(&host, folder.path(), kind);
        let waiting = host.piped(&["-q", "wait", "web"]);
        // Who waits is there before it is over.
        thread::sleep(within(Duration::from_millis(100)));
        let stopped = host.run(&["-q", "kill", "-s", "TERM", "web"]);
        assert_eq!((stopped.code, stopped.err.as_str()), (0, ""), "{kind}: {stopped:?}");
        let waited = waiting.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&waited.stdout), "7\n", "{kind}: {waited:?}");
        assert_eq!(host.run(&["-q", "logs", "web"]).out, "up\nheard\n", "{kind}");
        host.ok(&["stop", "web"]);

        start(&host, folder.path(), kind);
        let begun = Instant::now();
        let stopped = host.run(&["stop", "web"]);
        assert_eq!((stopped.code, stopped.err.as_str()), (0, ""), "{kind}: {stopped:?}");
        assert!(begun.elapsed() < within(Duration::from_secs(5)), "{kind}: {:?}", begun.elapsed());
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn who_waits_for_another_signal_is_killed_at_once() {
    let (host, folder) = (Host::new("first-deaf"), tempfile::tempdir().unwrap());
    let before = host.snapshot();
    compile(folder.path());
    for kind in ["other", "deaf-thread-alone"] {
        for words in [&["stop", "web"][..], &["rm", "-f", "web"]] {
            start(&host, folder.path(), kind);
            let begun = Instant::now();
            host.ok(words);
            assert!(begun.elapsed() < within(Duration::from_secs(5)), "{kind} {words:?}: {:?}", begun.elapsed());
        }
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_whose_first_thread_has_ended_has_not_ended() {
    let (host, folder) = (Host::new("first-thread"), tempfile::tempdir().unwrap());
    let before = host.snapshot();
    compile(folder.path());
    start(&host, folder.path(), "thread-alone");
    assert!(host.ok(&["ps"]).contains("running"), "{}", host.ok(&["ps"]));
    assert_eq!(host.run(&["-q", "ps", "--format", "json"]).code, 0);
    assert!(host.ok(&["stats", "--no-stream", "web"]).contains("\nweb "));
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn whatever_is_in_the_cgroup_goes_also_where_the_first_thread_has_ended_or_nothing_of_it_is_inside() {
    let (host, folder) = (Host::new("first-cgroup"), tempfile::tempdir().unwrap());
    let before = host.snapshot();
    compile(folder.path());
    host.start("web");
    // The end of process 1 takes all others of its PID namespace with it; these are of ours.
    let cgroup = host.cgroups().into_iter().find(|path| path.join("cgroup.kill").exists());
    let cgroup = cgroup.or_else(|| host.cgroups().into_iter().next()).unwrap();
    let start = |kind: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$1\" && exec \"$2\" \"$3\"", "sh"]).arg(cgroup.join("cgroup.procs"));
        command.arg(folder.path().join("first")).arg(kind).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut others = ["deaf-thread-alone", "other"].map(start);
    // The thread alone, and whom it waits for: asleep, as what it was started to be.
    let is = |pid: u32, name: &str, state: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains(&format!("Name:\t{name}\n")) && status.contains(&format!("State:\t{state}"))
    };
    let [deaf, other] = [&others[0], &others[1]].map(std::process::Child::id);
    wait_for(|| (is(deaf, "first", "Z") && is(other, "first", "S")).then_some(()));
    let begun = Instant::now();
    host.ok(&["stop", "web"]);
    assert!(begun.elapsed() < within(Duration::from_secs(5)), "{:?}", begun.elapsed());
    for other in &mut others {
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
    assert_eq!(host.snapshot(), before);
}
