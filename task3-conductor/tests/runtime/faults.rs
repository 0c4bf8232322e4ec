//! What is killed, started at once, or damaged: afterwards every name is usable and the host as it was.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::life::wait_for;
use testlab::host::{Host, within};

#[test]
#[ignore = "needs root: make test"]
fn of_fifty_equal_runs_one_wins() {
    let host = Host::new("fifty");
    let before = host.snapshot();
    let all: Vec<_> = (0..50).map(|_| host.piped(&["run", "-d", "img", "eg", "--", "sleep", "infinity"])).collect();
    let outcomes: Vec<_> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let won = outcomes.iter().filter(|output| output.status.success()).count();
    assert_eq!(won, 1);
    for output in outcomes.iter().filter(|output| !output.status.success()) {
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("it already exists"), "{err}");
    }
    host.ok(&["exec", "eg", "--", "true"]);
    host.ok(&["stop", "eg"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_run_killed_at_any_moment_leaves_the_name_usable_and_the_host_equal() {
    let host = Host::new("killed");
    let before = host.snapshot();
    // Times from before the first step to after the last; a fixed sequence, spread by an odd step.
    for round in 0_u64..100 {
        let detached = round % 2 == 0;
        let arguments: &[&str] = if detached {
            &["run", "-d", "img", "eg", "--", "sleep", "5"]
        } else {
            &["run", "img", "eg", "--", "sleep", "5"]
        };
        let mut child = host.piped(arguments);
        std::thread::sleep(Duration::from_micros((round * 389) % 30_000));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        // The monitor may have gone on; a container that runs is stopped, and one that does not is no obstacle.
        let listed = wait_for(|| Some(host.run(&["ps"])).filter(|ps| ps.code == 0));
        if listed.out.contains("eg ") {
            host.ok(&["stop", "eg"]);
        }
        let again = host.run(&["run", "--rm", "img", "eg", "--", "true"]);
        if again.code != 0 {
            // The monitor of the killed one was still at it when we listed.
            assert!(again.err.contains("it already exists"), "round {round}: {again:?}");
            host.ok(&["stop", "eg"]);
            host.ok(&["run", "--rm", "img", "eg", "--", "true"]);
        }
        assert_eq!(host.snapshot(), before, "round {round}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_whose_monitor_is_killed_is_listed_and_can_be_stopped() {
    let host = Host::new("monitor");
    let before = host.snapshot();
    host.start("web");
    let known: serde_json::Value = serde_json::from_str(&host.run(&["inspect", "web"]).out).unwrap();
    let init = known["init"]["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent: i32 = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    wait_for(|| (!fs::exists(format!("/proc/{parent}")).unwrap()).then_some(()));
    assert!(host.ok(&["ps"]).contains("running"));
    host.ok(&["exec", "web", "--", "true"]);
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_record_of_another_boot_or_process_matches_no_process() {
    let host = Host::new("stranger");
    host.start("web");
    let path = host.container("web").join("record.json");
    let truth = fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&truth).unwrap();
    record["init"]["pid"] = std::process::id().into();
    fs::write(&path, record.to_string()).unwrap();
    assert!(host.ok(&["ps"]).contains("exited"));
    let refused = host.run(&["exec", "web", "--", "true"]);
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("its first process has ended"), "{refused:?}");
    // Stopping it ends those in its cgroup, and not the process whose number stands there: that is us.
    host.ok(&["stop", "web"]);
    assert!(host.cgroups().is_empty());
}

#[test]
#[ignore = "needs root: make test"]
fn damaged_records_are_named_do_not_hide_others_and_can_be_removed() {
    let host = Host::new("records");
    let before = host.snapshot();
    for (name, text) in
        [("empty", ""), ("cut", "{\"schema\": 1, \"na"), ("newer", "{\"schema\": 99}"), ("binary", "\0\u{1}\u{2}")]
    {
        host.start(name);
        fs::write(host.container(name).join("record.json"), text).unwrap();
    }
    host.start("whole");
    let listed = host.ok(&["ps"]);
    assert_eq!(listed.matches("damaged").count(), 4, "{listed}");
    assert!(listed.contains("running") && listed.contains("it has version 99"), "{listed}");
    for name in ["empty", "cut", "newer", "binary", "whole"] {
        host.ok(&["stop", name]);
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_fork_bomb_hits_the_limit_and_stops_at_once() {
    let host = Host::new("bomb");
    let before = host.snapshot();
    let numbers_of_host = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    host.ok(&["run", "-d", "img", "bomb", "--", "bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep infinity"]);
    wait_for(|| {
        let known: serde_json::Value = serde_json::from_str(&host.run(&["inspect", "bomb"]).out).unwrap();
        let now = known["processes"]["now"].as_u64().unwrap();
        assert!(now <= 1024, "{now} processes");
        host.ok(&["logs", "bomb"]).contains("Resource temporarily unavailable").then_some(())
    });
    assert_eq!(fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), numbers_of_host);
    let start = std::time::Instant::now();
    // A second may go by until it is clear that its first process, a shell that forks, hears nothing.
    host.ok(&["stop", "bomb"]);
    assert!(start.elapsed() < within(Duration::from_millis(2500)), "{:?}", start.elapsed());
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_shell_that_stands_in_the_root_does_not_hold_stop_up() {
    let host = Host::new("busy");
    let before = host.snapshot();
    host.start("web");
    let mut shell = std::process::Command::new("sleep")
        .arg("100")
        .current_dir(host.container("web").join("rootfs"))
        .spawn()
        .unwrap();
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn removing_never_walks_into_what_is_mounted_below() {
    for (test, by_link) in [("walk", false), ("walk with blanks", false), ("walk-link", true)] {
        let mut host = Host::new(test);
        let store = host.store.clone();
        if by_link {
            // The kernel's list of mounts has the place without links.
            host.store = store.join("link");
            let _ = fs::remove_file(&host.store);
            std::os::unix::fs::symlink(&store, &host.store).unwrap();
        }
        let treasure = host.store.join("treasure");
        fs::create_dir_all(&treasure).unwrap();
        fs::write(treasure.join("kept"), "of the user").unwrap();
        host.start("web");
        let place = host.container("web").join("upper/mnt");
        fs::create_dir_all(&place).unwrap();
        let bind = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&treasure), &place, None::<&str>, bind, None::<&str>).unwrap();
        let refused = host.run(&["stop", "web"]);
        assert_eq!(refused.code, 125, "{test}");
        assert!(refused.err.contains("something is mounted there"), "{refused:?}");
        assert!(host.run(&["-q", "ps", "-q"]).out.contains("web"), "it is still a container");
        assert_eq!(fs::read_to_string(treasure.join("kept")).unwrap(), "of the user");
        nix::mount::umount(&place).unwrap();
        host.ok(&["stop", "web"]);
        assert!(treasure.join("kept").exists());
        host.store = store;
    }
}

#[test]
#[ignore = "needs root: make test"]
fn odd_surroundings_change_nothing() {
    let host = Host::new("odd");
    let before = host.snapshot();
    let program = env!("CARGO_BIN_EXE_conductor");
    let run = format!(
        "{program} -q --root {} run --rm img eg -- bash -c 'umask; stat -c %a /tmp /dev/null / /root; exit 3'",
        host.store.display()
    );
    let surroundings = [
        "true",
        "trap '' CHLD",
        "trap '' PIPE INT TERM HUP",
        "umask 000",
        "umask 077",
        "mkdir /tmp/gone-$$; cd /tmp/gone-$$; rmdir /tmp/gone-$$",
        "exec 0<&-",
        "exec 2>&-",
        "unset HOME PATH TERM USER",
        "export RUST_BACKTRACE=1 LANG=C IFS=x LD_LIBRARY_PATH=/nowhere",
    ];
    for surrounding in surroundings {
        let script = format!("{surrounding}; {}", run);
        let output = std::process::Command::new("/bin/bash").args(["-c", &script]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{surrounding}: {out}{err}");
        assert_eq!(out, "0022\n1777\n666\n755\n700\n", "{surrounding}: {err}");
        assert_eq!(host.snapshot(), before, "{surrounding}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn signals_to_an_attached_run_end_it_and_leave_nothing_with_rm() {
    let host = Host::new("signals");
    let before = host.snapshot();
    for (signal, code) in [(Signal::SIGINT, 137), (Signal::SIGTERM, 137), (Signal::SIGHUP, 137)] {
        let mut child = host.piped(&["run", "--rm", "img", "eg", "--", "sleep", "infinity"]);
        wait_for(|| host.ok(&["ps"]).contains("running").then_some(()));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        assert_eq!(host.snapshot(), before, "{signal}");
    }
    let trap = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = host.piped(&["run", "--rm", "img", "eg", "--", "bash", "-c", trap]);
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("up") {
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9), "a handler inside is asked");
    assert_eq!(host.snapshot(), before);
}
