//! What a command and its streams can be: every code, every way not to be executable, streams that are shut or full.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::test_store::{IMAGE, TestStore, until};
use testlab::host::within;
use testlab::tally::{Tally, is_full};

#[test]
#[ignore = "needs root: make test"]
fn every_code_and_signal_of_a_command_comes_out_as_a_shell_would_show_it() {
    let store = TestStore::new("process-codes");
    store.host.start("web");
    let mut tally = Tally::new("processes", "codes and signals");
    let step = if is_full() { 1 } else { 15 };
    for code in (0..=255).step_by(step) {
        tally.case(format!("code {code}"), || {
            let exit = format!("exit {code}");
            assert_eq!(store.host.run(&["exec", "web", "--", "bash", "-c", &exit]).code, code);
            assert_eq!(store.host.inside("eg", &exit).code, code);
        });
    }
    for signal in [1, 2, 3, 6, 8, 9, 10, 11, 13, 14, 15, 31, 34, 64] {
        tally.case(format!("signal {signal}"), || {
            let end = format!("kill -{signal} $$; sleep 5");
            assert_eq!(store.host.run(&["exec", "web", "--", "sh", "-c", &end]).code, 128 + signal);
        });
    }
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_that_is_not_executable_is_distinguished_from_a_missing_one() {
    let store = TestStore::new("process-cannot");
    store.host.plant_image("odd", |root| {
        let put = |name: &str, text: &[u8], mode: u32| {
            fs::write(root.join(name), text).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        put("no-mode", b"#!/bin/sh\n", 0o644);
        put("no-shebang", b"echo hi\n", 0o755);
        put("no-interpreter", b"#!/no/such/shell\n", 0o755);
        put("empty", b"", 0o755);
        put("loop", b"#!/loop\n", 0o755);
        // The first bytes of a program for another machine (s390).
        put("other-machine", b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01", 0o755);
        std::os::unix::fs::symlink("/nowhere", root.join("dangling")).unwrap();
        std::os::unix::fs::symlink("around", root.join("around")).unwrap();
    });
    let before = store.baseline(false);
    let mut tally = Tally::new("processes", "what cannot be executed");
    for (command, code, part) in [
        ("/none", 127, "(ENOENT)"),
        ("none", 127, "it is not in the container's PATH"),
        ("/none/none", 127, "(ENOENT)"),
        ("/etc/passwd/none", 127, "(ENOTDIR)"),
        ("/no-mode", 126, "(EACCES)"),
        ("/etc", 126, "(EACCES)"),
        ("/no-shebang", 126, "(ENOEXEC)"),
        ("/no-interpreter", 127, "loader or interpreter"),
        ("/empty", 126, "(ENOEXEC)"),
        ("/loop", 126, "(ELOOP)"),
        ("/other-machine", 126, "not a program for this machine"),
        ("/dangling", 127, "(ENOENT)"),
        ("/around", 126, "(ELOOP)"),
        ("", 127, "without a name"),
        ("/dev/null", 126, "(EACCES)"),
        ("/proc/self/mem", 126, "(EACCES)"),
    ] {
        for detach in [&["run"][..], &["run", "-d"]] {
            tally.case(format!("{detach:?} {command:?}"), || {
                let outcome = store.host.run(&[detach, &["odd", "eg", "--", command]].concat());
                assert_eq!(outcome.code, code, "{outcome:?}");
                assert!(outcome.err.contains(part) && outcome.err.lines().count() == 1, "{outcome:?}");
                store.assert_unchanged(&before, "afterwards");
            });
        }
    }
    store.host.ok(&["run", "-d", "odd", "web", "--", "sleep", "infinity"]);
    for (command, code) in
        [("/none", 127), ("/no-mode", 126), ("/no-shebang", 126), ("/no-interpreter", 127), ("", 127)]
    {
        tally.case(format!("exec {command:?}"), || {
            assert_eq!(store.host.run(&["exec", "web", "--", command]).code, code)
        });
    }
    store.host.ok(&["stop", "web"]);
    tally.end();
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn arguments_arrive_however_many_and_however_long_they_are() {
    let store = TestStore::new("process-arguments");
    let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let count = ["-q", "run", "--rm", IMAGE, "eg", "--", "bash", "-c", "echo $# ${!#}", "sh"];
    let words: Vec<&str> = count.into_iter().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(store.host.run(&words).out, "10000 9999\n");
    // The longest that the kernel takes is 128 KiB, with the NUL.
    let long = "x".repeat((128 << 10) - 1);
    let outcome = store.host.run(&["-q", "run", "--rm", IMAGE, "eg", "--", "bash", "-c", "echo ${#1}", "sh", &long]);
    assert_eq!(outcome.out.trim(), long.len().to_string(), "{}", outcome.err);
}

#[test]
#[ignore = "needs root: make test"]
fn streams_that_are_shut_or_full_or_end_early_are_no_reason_to_panic_or_to_leave_anything() {
    let store = TestStore::new("process-streams");
    let before = store.baseline(false);
    store.host.start("web");
    let during = store.snapshot(false);
    let program = format!("{} --root {}", env!("CARGO_BIN_EXE_conductor"), store.host.store.display());
    let mut tally = Tally::new("processes", "streams");
    for (script, codes, said) in [
        ("C ps > /dev/full", &[125][..], "cannot write to stdout: No space left on device (ENOSPC)"),
        ("C images > /dev/full", &[125], "(ENOSPC)"),
        ("C inspect web > /dev/full", &[125], "(ENOSPC)"),
        ("C logs web > /dev/full", &[125], "(ENOSPC)"),
        ("C ps >&-", &[0, 125], ""),
        ("C ps 2>&-", &[0], ""),
        ("C stop none 2>&-", &[125], ""),
        ("C stop none 2> /dev/full", &[125], ""),
        ("C -q exec web -- seq 100000 | head -1", &[0], ""),
        ("{ C -q exec web -- seq 100000; echo code $? >&2; } | head -1", &[0], "code 141"),
        ("exec 3> >(true); wait $!; C completions bash >&3; echo code $? >&2", &[0], "code 141"),
        ("exec 3> >(true); wait $!; C ps >&3; echo code $? >&2", &[0], "code 141"),
        ("set -o pipefail; C -q exec web -- tar c /etc/hosts | tar t", &[0], ""),
        ("C ps | true", &[0], ""),
        ("C -q exec web -- cat < /dev/null", &[0], ""),
        ("C -q exec web -- cat <&-", &[0, 1], ""),
        ("echo x | C -q exec web -- cat | grep -qx x", &[0], ""),
        ("C -q exec web -- bash -c 'echo x > /dev/stdout'", &[0], ""),
        ("C -q exec web -- bash -c 'exec >&- 2>&-; true'", &[0], ""),
        ("C -q run --rm img eg -- true <&- >&- 2>&-", &[0], ""),
        ("C -q run -d img eg -- true <&- >&- 2>&-; C stop eg > /dev/null", &[0], ""),
        ("C -q run --rm img eg -- bash -c 'echo out; echo err >&2' > /dev/full", &[0], "write error"),
        ("yes | C -q run --rm img eg -- head -c 100000 | wc -c | grep -qx 100000", &[0], ""),
        ("RUST_BACKTRACE=full C stop none", &[125], "it does not exist"),
        ("TERM= LANG=nonsense LC_ALL=xx NO_COLOR=1 C stop none", &[125], "it does not exist"),
    ] {
        tally.case(script, || {
            let script = format!("C() {{ {program} \"$@\"; }}; {script}");
            let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(codes.contains(&output.status.code().unwrap_or(-1)), "{output:?}");
            assert!(err.contains(said) && !err.contains("panicked") && !err.contains("backtrace"), "{err}");
            store.assert_unchanged(&during, "afterwards");
        });
    }
    tally.end();
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_great_deal_passes_through_exec_both_ways_unchanged() {
    let store = TestStore::new("process-much");
    store.host.start("web");
    let size: u64 = if is_full() { 1 << 30 } else { 64 << 20 };
    let program = format!("{} --root {} -q", env!("CARGO_BIN_EXE_conductor"), store.host.store.display());
    let script = format!(
        "set -o pipefail; head -c {size} /dev/urandom | tee >(sha256sum >&2) | {program} exec web -- tee /dev/stderr 2> >(sha256sum >&2) \
         | sha256sum >&2; wait"
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut sums: Vec<&str> = said.lines().collect();
    assert_eq!(sums.len(), 3, "{output:?}");
    sums.dedup();
    assert_eq!(sums.len(), 1, "what went in, and what came out of both: {said}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_full_of_zombies_and_orphans_is_stopped_in_a_moment() {
    let store = TestStore::new("process-zombies");
    let before = store.baseline(false);
    // A first process that never waits, with children of children that fall to it.
    let script =
        "trap '' CHLD TERM; for n in $(seq 300); do (setsid sleep 0.01 &) ; done; echo up; exec sleep infinity";
    store.host.ok(&["run", "-d", IMAGE, "web", "--", "bash", "-c", script]);
    until(|| store.host.ok(&["logs", "web"]).contains("up"), "it is up");
    let begun = std::time::Instant::now();
    store.host.ok(&["stop", "web"]);
    assert!(begun.elapsed() < within(Duration::from_millis(1500)), "{:?}", begun.elapsed());
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_that_is_frozen_or_stopped_in_its_tracks_can_be_stopped() {
    let store = TestStore::new("process-frozen");
    let before = store.baseline(false);
    store.host.start("web");
    let freeze = store.host.cgroups().into_iter().map(|cgroup| cgroup.join("cgroup.freeze")).find(|file| file.exists());
    match freeze {
        Some(file) => fs::write(file, "1").unwrap(),
        None => println!("not run here: a frozen cgroup, as there is no v2 tree"),
    }
    store.host.ok(&["stop", "-t", "0", "web"]);
    store.assert_unchanged(&before, "frozen");
    store.host.ok(&[
        "run",
        "-d",
        IMAGE,
        "web",
        "--",
        "bash",
        "-c",
        "trap : TERM; echo up; while :; do sleep 0.05; done",
    ]);
    until(|| store.host.ok(&["logs", "web"]).contains("up"), "it is up");
    kill(store.first_process("web"), Signal::SIGSTOP).unwrap();
    store.host.ok(&["stop", "-t", "1", "web"]);
    store.assert_unchanged(&before, "stopped in its tracks");
}

#[test]
#[ignore = "needs root: make test"]
fn a_fork_bomb_does_not_hold_stop_up() {
    let store = TestStore::new("process-bomb");
    let before = store.baseline(false);
    store.host.ok(&["run", "-d", IMAGE, "bomb", "--", "bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep infinity"]);
    until(|| store.host.ok(&["logs", "bomb"]).contains("Resource temporarily unavailable"), "it has hit the limit");
    // The host still forks while it rages.
    assert!(Command::new("true").status().unwrap().success());
    let begun = std::time::Instant::now();
    // A second may go by until it is clear that its first process, a shell that forks, hears nothing.
    store.host.ok(&["stop", "bomb"]);
    assert!(begun.elapsed() < within(Duration::from_millis(2500)), "{:?}", begun.elapsed());
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_signal_that_the_caller_ignores_does_not_end_the_container() {
    let store = TestStore::new("process-nohup");
    let before = store.baseline(false);
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGINT, "INT")] {
        let mut command = Command::new("env");
        command.arg(format!("--ignore-signal={name}")).arg(env!("CARGO_BIN_EXE_conductor"));
        command.arg("--root").arg(&store.host.store).args(["run", "--rm", IMAGE, "eg", "--", "sleep", "infinity"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(|| store.host.ok(&["ps"]).contains("running"), "it runs");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        // The next one is not ignored: had the first counted, the container would be gone for another reason.
        store.host.ok(&["exec", "eg", "--", "true"]);
        assert!(child.try_wait().unwrap().is_none(), "{signal} has ended it");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(137));
        store.assert_unchanged(&before, "afterwards");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn input_after_the_end_of_the_container_is_not_consumed() {
    let store = TestStore::new("process-late");
    let before = store.baseline(false);
    let mut child = store.host.piped(&["run", "--rm", IMAGE, "eg", "--", "true"]);
    let mut stdin = child.stdin.take().unwrap();
    child.wait().unwrap();
    assert!(stdin.write_all(b"late\n").is_err(), "nobody has the other end");
    store.assert_unchanged(&before, "afterwards");
}
