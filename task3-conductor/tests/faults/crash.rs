//! What went away without a word: a first process, a monitor, a host that was started anew, the program's own file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::test_store::{IMAGE, TestStore, until};
use testlab::host::{copy_program, within};

#[test]
#[ignore = "needs root: make test"]
fn a_first_process_killed_from_the_host_is_listed_with_its_code_and_its_network_is_given_back() {
    let store = TestStore::new("crash-init");
    let before = store.baseline(true);
    store.host.start("web");
    store.host.ok(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
    let init = store.first_process("web");
    kill(init, Signal::SIGKILL).unwrap();
    until(|| store.host.ok(&["ps"]).contains("exited (137)"), "it is listed with its code");
    let now = store.snapshot(true);
    assert_eq!((&now.links, &now.firewall, &now.forwarding), (&before.links, &before.firewall, &before.forwarding));
    let refused = store.host.run(&["exec", "web", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("its first process has ended"), "{refused:?}");
    // Its port is free for another.
    store.host.start("other");
    store.host.ok(&["addnetwork", "other", "-e", "3000:80"]);
    store.host.ok(&["stop", "other"]);
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn after_a_reboot_containers_have_ended_and_no_process_is_signalled() {
    let store = TestStore::new("crash-reboot");
    let before = store.baseline(true);
    store.host.start("web");
    store.host.ok(&["addnetwork", "web", "-i", "-e", "3000:8080"]);
    let stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    // What a reboot takes: processes, mounts, links, rules, cgroups, settings. The number of the first process is somebody
    // else's now, who even started at the same tick.
    kill(store.first_process("web"), Signal::SIGKILL).unwrap();
    until(|| store.host.ok(&["ps"]).contains("exited"), "it has ended");
    umount2(&store.host.container("web").join("rootfs"), MntFlags::MNT_DETACH).unwrap();
    store.host.cgroups().iter().for_each(|cgroup| fs::remove_dir(cgroup).unwrap());
    let path = store.host.container("web").join("record.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["init"] = serde_json::json!({
        "pid": stranger.id(),
        "start_time": start_time(stranger.id()),
        "boot_id": "00000000-0000-0000-0000-000000000000",
    });
    fs::write(&path, record.to_string()).unwrap();
    assert!(store.host.ok(&["ps"]).contains("exited"));
    assert_eq!(store.host.run(&["exec", "web", "--", "true"]).code, 125);
    store.host.ok(&["stop", "web"]);
    assert!(is_alive(stranger.id()), "the stranger was signalled");
    store.host.ok(&["run", "--rm", IMAGE, "web", "--", "true"]);
    store.assert_unchanged(&before, "after stop");
    end(stranger);
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_started_before_a_reboot_is_a_leftover_after_it() {
    let store = TestStore::new("crash-begun");
    let before = store.baseline(false);
    store.run_with_fault("kill@/record#1", &["run", IMAGE, "web", "--", "sleep", "infinity"]);
    let _ = umount2(&store.host.container("web").join("rootfs"), MntFlags::MNT_DETACH);
    for cgroup in store.host.cgroups() {
        until(|| fs::remove_dir(&cgroup).is_ok(), "the killed process has left its cgroup");
    }
    store.host.ok(&["run", "--rm", IMAGE, "web", "--", "true"]);
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn stop_killed_twice_is_finished_by_the_third_and_the_container_is_never_stuck() {
    let store = TestStore::new("crash-stop");
    let before = store.baseline(true);
    for (first, second) in
        [("/cgroup.kill#1", "/firewall.change#1"), ("/umount#1", "/forget#1"), ("/forget#1", "/folder.remove#1")]
    {
        store.host.start("web");
        store.host.ok(&["addnetwork", "web", "-i"]);
        store.run_with_fault(&format!("kill@{first}"), &["stop", "-t", "0", "web"]);
        store.run_with_fault(&format!("kill@{second}"), &["stop", "-t", "0", "web"]);
        let third = store.host.run(&["stop", "web"]);
        assert!(third.code == 0 || third.err.contains("it does not exist"), "{third:?}");
        store.host.ok(&["ps"]);
        store.assert_unchanged(&before, &format!("killed at {first} and {second}"));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_monitor_of_a_container_that_goes_by_itself_is_killed_and_the_next_command_does_its_work() {
    let store = TestStore::new("crash-monitor");
    let before = store.baseline(false);
    store.host.ok(&["run", "-d", "--rm", IMAGE, "web", "--", "sleep", "infinity"]);
    let init = store.first_process("web");
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    until(|| !is_alive(monitor as u32), "the monitor is gone");
    assert!(store.host.ok(&["ps"]).contains("running"), "the container goes on");
    store.host.ok(&["exec", "web", "--", "true"]);
    kill(init, Signal::SIGKILL).unwrap();
    until(|| store.host.ok(&["ps"]).contains("exited"), "its end is seen without a monitor");
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn containers_outlive_a_program_file_that_is_replaced_or_deleted() {
    let store = TestStore::new("crash-program");
    let before = store.baseline(true);
    let program = store.context.path().join("conductor");
    let mut said = Vec::new();
    let mut by_copy = |words: &[&str]| {
        let output = Command::new(&program).arg("--root").arg(&store.host.store).args(words).output().unwrap();
        said.push(format!("{words:?}: {output:?}"));
        output.status.success()
    };
    copy_program(Path::new(env!("CARGO_BIN_EXE_conductor")), &program);
    assert!(by_copy(&["run", "-d", IMAGE, "web", "--", "sleep", "infinity"]));
    fs::remove_file(&program).unwrap();
    assert!(store.host.ok(&["ps"]).contains("running"));
    store.host.ok(&["exec", "web", "--", "true"]);
    // Another version in its place.
    copy_program(Path::new(env!("CARGO_BIN_EXE_conductor")), &program);
    assert!(
        by_copy(&["exec", "web", "--", "true"]) && by_copy(&["addnetwork", "web"]) && by_copy(&["stop", "web"]),
        "{said:?}"
    );
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_program_file_that_is_deleted_while_it_runs_still_enters_and_leaves() {
    let store = TestStore::new("crash-deleted");
    let before = store.baseline(false);
    let program = store.context.path().join("conductor");
    copy_program(Path::new(env!("CARGO_BIN_EXE_conductor")), &program);
    let long_enough = within(Duration::from_millis(300)).as_secs_f32().to_string();
    let mut command = Command::new(&program);
    command.arg("--root").arg(&store.host.store).args(["run", "--rm", IMAGE, "web", "--", "sleep", &long_enough]);
    let mut child = command.spawn().unwrap();
    until(|| store.host.ok(&["ps"]).contains("running"), "it runs");
    fs::remove_file(&program).unwrap();
    assert!(child.wait().unwrap().success());
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn a_clock_that_was_set_back_changes_nothing_but_the_dates() {
    let store = TestStore::new("crash-clock");
    let before = store.baseline(false);
    store.host.start("web");
    // As if it had been started in an hour, or in the year 292 277 026 596.
    for created in ["4102444800", "9223372036854775807", "-1", "-9223372036854775808"] {
        let path = store.host.container("web").join("record.json");
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["created"] = serde_json::from_str(created).unwrap();
        fs::write(&path, record.to_string()).unwrap();
        let listed = store.host.ok(&["ps"]);
        assert!(listed.contains("running") && !listed.contains("damaged"), "{created}: {listed}");
        store.host.ok(&["exec", "web", "--", "true"]);
    }
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_detached_container_outlives_the_hang_up_of_the_terminal_and_session_it_was_started_from() {
    let store = TestStore::new("crash-hangup");
    let before = store.baseline(false);
    let program = env!("CARGO_BIN_EXE_conductor");
    let script = format!(
        "{program} --root {} run -d {IMAGE} web -- sleep infinity; kill -HUP 0; sleep 100",
        store.host.store.display()
    );
    let mut shell =
        Command::new("setsid").args(["--wait", "env", "--default-signal=HUP", "bash", "-c", &script]).spawn().unwrap();
    shell.wait().unwrap();
    assert!(store.host.ok(&["ps"]).contains("running"));
    store.host.ok(&["stop", "web"]);
    store.assert_unchanged(&before, "after stop");
}

fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn end(mut child: std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
