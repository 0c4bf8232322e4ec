//! At each step of each command: what if it is killed there, what if the step fails, what if a signal comes.
//!
//! The steps are those that the command itself announces, in it and in its children; a step that is added is tried too.

use nix::sys::signal::Signal;

use crate::test_store::{End, IMAGE, TestStore, until};
use testlab::tally::{Tally, is_full};

/// A command to be hurt, and what must hold for its users afterwards.
struct Scenario {
    name: &'static str,
    command: &'static [&'static str],
    /// Brings about what the command needs.
    arrange: fn(&TestStore),
    /// What its user does next, which has to work; afterwards nothing of it is there any more. `end` says how it ended, if
    /// it was told to fail and not killed.
    resolve: fn(&TestStore, Option<&End>),
    /// Whether rules of the firewall change.
    firewall: bool,
    /// Codes that it may end with when a step fails.
    codes: &'static [i32],
}

const SLEEP: [&str; 3] = ["--", "sleep", "infinity"];

const SCENARIOS: [Scenario; 17] = [
    Scenario {
        name: "run",
        command: &["run", IMAGE, "eg", "--", "true"],
        arrange: |_| (),
        resolve: |store, failed| is_as_if_never_run(store, failed),
        firewall: false,
        // 126: the container was there, and its command could not be executed.
        codes: &[125, 126],
    },
    Scenario {
        name: "run --rm",
        command: &["run", "--rm", IMAGE, "eg", "--", "true"],
        arrange: |_| (),
        resolve: |store, _| is_as_if_never_run(store, None),
        firewall: false,
        codes: &[125, 126],
    },
    Scenario {
        name: "run --detach",
        command: &["run", "-d", IMAGE, "eg", "--", "sleep", "infinity"],
        arrange: |_| (),
        resolve: |store, failed| is_as_if_never_run(store, failed),
        firewall: false,
        codes: &[125, 126],
    },
    Scenario {
        name: "run with limits, a volume and a reaper",
        command: &[
            "run",
            "-d",
            "--init",
            "--memory",
            "256m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "64",
            "-v",
            "/usr/share:/mnt:ro",
            "-w",
            "/tmp",
            "-u",
            "student",
            "--read-only",
            "--hostname",
            "lab",
            IMAGE,
            "eg",
            "--",
            "sleep",
            "infinity",
        ],
        arrange: |_| (),
        resolve: |store, failed| is_as_if_never_run(store, failed),
        firewall: false,
        codes: &[125, 126],
    },
    Scenario {
        name: "exec",
        command: &["exec", "eg", "--", "true"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, _| {
            store.host.ok(&["exec", "eg", "--", "true"]);
            until(|| processes(store, "eg") == 1, "what was killed on its way in is gone");
            stop(store, "eg");
        },
        firewall: false,
        codes: &[125, 126],
    },
    Scenario {
        name: "stop",
        command: &["stop", "-t", "0", "eg"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, _| is_stopped_by_the_next(store),
        firewall: false,
        codes: &[125],
    },
    Scenario {
        name: "stop, ended",
        command: &["stop", "eg"],
        arrange: |store| drop(store.host.ok(&["run", IMAGE, "eg", "--", "true"])),
        resolve: |store, _| is_stopped_by_the_next(store),
        firewall: false,
        codes: &[125],
    },
    Scenario {
        name: "rm --force",
        command: &["rm", "--force", "eg"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, _| is_stopped_by_the_next(store),
        firewall: false,
        codes: &[125],
    },
    Scenario {
        name: "cp",
        command: &["cp", "/etc/passwd", "eg:/copied"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, _| {
            store.host.ok(&["cp", "/etc/passwd", "eg:/copied"]);
            let inside = store.host.ok(&["exec", "eg", "--", "cat", "/copied"]);
            assert!(inside.ends_with(&std::fs::read_to_string("/etc/passwd").unwrap()), "{inside}");
            stop(store, "eg");
        },
        firewall: false,
        codes: &[125],
    },
    Scenario {
        name: "commit",
        command: &["commit", "eg", "made"],
        arrange: |store| {
            store.host.start("eg");
            store.host.ok(&["exec", "eg", "--", "touch", "/changed"]);
        },
        resolve: |store, _| {
            assert!(!store.host.ok(&["images"]).contains("damaged"));
            store.host.ok(&["commit", "eg", "made"]);
            store.host.ok(&["run", "--rm", "made", "look", "--", "ls", "/changed"]);
            stop(store, "eg");
            store.host.ok(&["rmi", "made"]);
        },
        firewall: false,
        codes: &[125],
    },
    Scenario {
        name: "stop, with a network and a peer",
        command: &["stop", "-t", "0", "eg"],
        arrange: |store| {
            networked(store, "eg");
            networked(store, "db");
            store.host.ok(&["peer", "eg", "db"]);
        },
        resolve: |store, _| {
            is_stopped_by_the_next(store);
            let hosts = std::fs::read_to_string(store.host.container("db").join("hosts")).unwrap();
            assert!(!hosts.contains("\teg\n"), "the other still knows it as a peer: {hosts}");
            stop(store, "db");
        },
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "addnetwork",
        command: &["addnetwork", "eg"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, failed| gets_its_network(store, &["addnetwork", "eg"], failed),
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "addnetwork -i -e",
        command: &["addnetwork", "eg", "-i", "-e", "3000:8080"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, failed| gets_its_network(store, &["addnetwork", "eg", "-i", "-e", "3000:8080"], failed),
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "addnetwork, given up",
        command: &["addnetwork", "eg", "-i", "-e", "3000:8080"],
        arrange: |store| store.host.start("eg"),
        resolve: |store, _| stop(store, "eg"),
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "peer",
        command: &["peer", "eg", "db"],
        arrange: |store| ["eg", "db"].iter().for_each(|name| networked(store, name)),
        resolve: |store, _| {
            store.host.ok(&["peer", "eg", "db"]);
            let db = store.host.ok(&["exec", "db", "--", "getent", "hosts", "eg"]);
            assert!(db.contains("192.168.1.2"), "{db}");
            store.host.ok(&["exec", "db", "--", "ping", "-c1", "-W2", "eg"]);
            stop(store, "eg");
            stop(store, "db");
        },
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "network reload",
        command: &["network", "reload"],
        arrange: |store| {
            networked(store, "eg");
            assert!(std::process::Command::new("iptables").args(["-F", "FORWARD"]).status().unwrap().success());
        },
        resolve: |store, _| {
            store.host.ok(&["network", "reload"]);
            store.host.ok(&["exec", "eg", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
            stop(store, "eg");
        },
        firewall: true,
        codes: &[125],
    },
    Scenario {
        name: "ps, which clears up",
        command: &["ps"],
        arrange: |store| {
            // One that ended with a network, and one that was killed half-way.
            networked(store, "eg");
            let init = store.first_process("eg");
            nix::sys::signal::kill(init, Signal::SIGKILL).unwrap();
            until(|| !std::fs::exists(format!("/proc/{init}")).unwrap(), "the kernel is done with it");
            store.run_with_fault("kill@/record#1", &["run", IMAGE, "half", "--", "true"]);
        },
        resolve: |store, _| {
            store.host.ok(&["ps"]);
            stop(store, "eg");
        },
        firewall: true,
        // What cannot be removed yet is told, and does not keep it from listing.
        codes: &[0, 125],
    },
];

#[test]
#[ignore = "needs root: make test"]
fn a_run_killed_at_any_step_leaves_a_name_that_can_be_used_and_an_equal_host() {
    killed_at_each_step("run", &SCENARIOS[..4]);
}

#[test]
#[ignore = "needs root: make test"]
fn an_exec_or_stop_killed_at_any_step_leaves_a_container_that_can_be_used_and_stopped() {
    killed_at_each_step("exec-stop", &SCENARIOS[4..10]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_change_of_networks_killed_at_any_step_is_completed_by_the_next_command_or_undone() {
    killed_at_each_step("network", &SCENARIOS[10..]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_step_of_run_that_fails_is_said_in_one_line_and_what_was_made_is_taken_back() {
    failing_at_each_step("run", &SCENARIOS[..4]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_step_of_exec_or_stop_that_fails_is_said_in_one_line_and_can_be_tried_again() {
    failing_at_each_step("exec-stop", &SCENARIOS[4..10]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_step_of_networks_that_fails_is_said_in_one_line_and_can_be_tried_again() {
    failing_at_each_step("network", &SCENARIOS[10..]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_signal_at_any_step_of_run_ends_it_and_leaves_nothing() {
    let store = TestStore::new("steps-signal");
    let before = store.baseline(false);
    let command = ["run", "--rm", IMAGE, "eg", "--", "sleep", "infinity"];
    let points = store.points(&["run", "--rm", IMAGE, "eg", "--", "true"]);
    // What comes after the container's end is not come to by one that does not end.
    let executed = points.iter().position(|point| point.ends_with("/record#1")).unwrap();
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let mut tally = Tally::new("steps", "run, a signal");
    for (number, point) in points.iter().take(executed + 1).enumerate() {
        for signal in signals {
            // `make test` takes turns.
            if !is_full() && signal != signals[number % signals.len()] {
                continue;
            }
            tally.case(format!("{signal} at {point}"), || {
                let end = store.run_with_signal(point, signal, &command);
                // By the signal itself while there is nothing to undo; later the container is killed, as nobody in there
                // would notice.
                let expected = end.signal == Some(signal as i32) || end.outcome.code == 137;
                assert!(expected, "{end:?}");
                assert!(!end.outcome.err.contains("panicked"), "{end:?}");
                is_as_if_never_run(&store, None);
                store.assert_unchanged(&before, "afterwards");
            });
        }
    }
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_signal_at_any_step_of_exec_or_build_ends_it_and_nothing_is_half_done() {
    let store = TestStore::with_own_cache("steps-signal-more");
    store.host.start("eg");
    let points = store.points(&["exec", "eg", "--", "true"]);
    let before = store.snapshot(false);
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let mut tally = Tally::new("steps", "exec, a signal");
    for (number, point) in points.iter().enumerate() {
        let signal = signals[number % signals.len()];
        tally.case(format!("{signal} at {point}"), || {
            let end = store.run_with_signal(point, signal, &["exec", "eg", "--", "sleep", "infinity"]);
            assert!(end.signal == Some(signal as i32) || end.outcome.code == 128 + signal as i32, "{end:?}");
            store.host.ok(&["exec", "eg", "--", "true"]);
            until(|| processes(&store, "eg") == 1, "what was on its way in is gone");
            store.assert_unchanged(&before, "afterwards");
        });
    }
    tally.end();
    stop(&store, "eg");

    let before = store.baseline(false);
    let file = store.context.path().join("Conductorfile");
    std::fs::write(&file, "FROM img\nCOPY Conductorfile /a\nRUN cp /a /b\n").unwrap();
    let command = ["build", "made", file.to_str().unwrap()];
    let again = || {
        store.host.ok(&command);
        store.host.ok(&["run", "--rm", "made", "look", "--", "cmp", "/a", "/b"]);
        store.host.ok(&["rmi", "made"]);
        store.host.ok(&["rmcache"]);
    };
    let points = store.points(&command);
    again();
    let mut tally = Tally::new("steps", "build, a signal");
    for (number, point) in points.iter().enumerate() {
        if is_passed_over(number, point) {
            continue;
        }
        let signal = signals[number % signals.len()];
        tally.case(format!("{signal} at {point}"), || {
            let end = store.run_with_signal(point, signal, &command);
            assert_eq!(end.signal, Some(signal as i32), "{end:?}");
            assert!(!store.host.ok(&["images"]).contains("made"), "there is no image of a build that was broken off");
            again();
            store.assert_unchanged(&before, "afterwards");
        });
    }
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_build_killed_or_failing_at_any_step_leaves_no_half_layer_and_the_next_one_works() {
    let store = TestStore::with_own_cache("steps-build");
    let file = store.context.path().join("Conductorfile");
    let text = "FROM img\nCOPY a /a\nRUN cp /a /b\nWORKDIR /w\nRUN [\"cp\", \"/b\", \"c\"]\n";
    std::fs::write(&file, text).unwrap();
    let content = |number: usize| std::fs::write(store.context.path().join("a"), format!("{number}\n")).unwrap();
    let command = ["build", "made", file.to_str().unwrap()];
    content(0);
    let points = store.points(&command);
    store.host.ok(&["rmi", "made"]);
    store.host.ok(&["rmcache"]);
    let before = store.baseline(false);
    let (mut killed, mut failing) = (Tally::new("steps", "build, killed"), Tally::new("steps", "build, failing"));
    for (number, point) in points.iter().enumerate() {
        for fault in ["kill", "fail:5"] {
            if is_passed_over(number, point) {
                continue;
            }
            let tally = if fault == "kill" { &mut killed } else { &mut failing };
            tally.case(point, || {
                // Something new, so that layers are made and not found.
                content(2 * number + usize::from(fault == "kill"));
                let end = store.run_with_fault(&format!("{fault}@{point}"), &command);
                if fault == "kill" {
                    assert!(end.signal == Some(9) || end.outcome.code == 125, "{end:?}");
                } else if point != "/own-binary#1" {
                    end.assert_told(&[125], "(EIO)");
                    // What was begun is undone at once; layers that were whole before that stay.
                    assert_eq!(
                        crate::test_store::entries(&store.host.store.join(".cache/building")),
                        [] as [std::path::PathBuf; 0]
                    );
                }
                let failed = end.outcome.code != 0;
                assert!(
                    !failed || !store.host.ok(&["images"]).contains("made"),
                    "there is no image of a build that failed"
                );
                store.host.ok(&command);
                let said = store.host.ok(&[
                    "run",
                    "--rm",
                    "made",
                    "look",
                    "--",
                    "bash",
                    "-c",
                    "cmp /a /b && cmp /b /w/c && cat /a",
                ]);
                assert_eq!(said.trim(), std::fs::read_to_string(store.context.path().join("a")).unwrap().trim());
                store.host.ok(&["rmi", "made"]);
                store.host.ok(&["rmcache"]);
                store.assert_unchanged(&before, "afterwards");
            });
        }
    }
    killed.end();
    failing.end();
}

#[test]
#[ignore = "needs root: make test"]
fn removing_images_and_layers_is_all_or_nothing_also_when_it_is_killed_or_fails() {
    let store = TestStore::with_own_cache("steps-remove");
    let before = store.baseline(false);
    let file = store.context.path().join("Conductorfile");
    std::fs::write(&file, "FROM img\nWORKDIR /a\nWORKDIR /b\n").unwrap();
    let build = ["build", "made", file.to_str().unwrap()];
    for (name, command) in [("rmi", &["rmi", "made"][..]), ("rmcache", &["rmcache"])] {
        store.host.ok(&build);
        if name == "rmcache" {
            store.host.ok(&["rmi", "made"]);
        }
        let points = store.points(command);
        for fault in ["kill", "fail:5"] {
            let mut tally = Tally::new("steps", format!("{name}, {fault}"));
            for point in &points {
                tally.case(point, || {
                    store.host.ok(&build);
                    if name == "rmcache" {
                        store.host.ok(&["rmi", "made"]);
                    }
                    let end = store.run_with_fault(&format!("{fault}@{point}"), command);
                    if fault == "kill" {
                        assert_eq!(end.signal, Some(9), "{end:?}");
                    } else {
                        end.assert_told(&[125], "(EIO)");
                    }
                    // Either it is there and works, or it is not there.
                    let listed = store.host.ok(&["images"]);
                    assert!(!listed.contains("damaged"), "{listed}");
                    if listed.contains("made ") {
                        store.host.ok(&["run", "--rm", "made", "look", "--", "ls", "-d", "/a", "/b"]);
                        store.host.ok(&["rmi", "made"]);
                    }
                    store.host.ok(&["rmcache"]);
                    store.assert_unchanged(&before, "afterwards");
                });
            }
            tally.end();
        }
        store.host.run(&["rmi", "made"]);
        store.host.ok(&["rmcache"]);
    }
}

fn killed_at_each_step(test: &str, scenarios: &[Scenario]) {
    each(&format!("steps-kill-{test}"), scenarios, "killed", |store, scenario, point| {
        let end = store.run_with_fault(&format!("kill@{point}"), scenario.command);
        // Itself, or a child whose end it noticed, or has nothing to say about.
        assert!(end.signal == Some(9) || [125, 137].contains(&end.outcome.code) || end.outcome.code == 0, "{end:?}");
        assert!(!end.outcome.err.contains("panicked"), "{end:?}");
        (scenario.resolve)(store, None);
    });
}

fn failing_at_each_step(test: &str, scenarios: &[Scenario]) {
    each(&format!("steps-fail-{test}"), scenarios, "failing", |store, scenario, point| {
        let end = store.run_with_fault(&format!("fail:5@{point}"), scenario.command);
        if point == "/own-binary#1" {
            // It is tried early, and again when the command line is understood.
            assert_eq!(end.outcome.code, 0, "{end:?}");
        } else if point == "/ledger#1" && ["ps", "stop"].iter().any(|name| scenario.name.starts_with(name)) {
            // That the network was given back is noted, where that can be.
            assert_eq!(end.outcome.code, 0, "{end:?}");
        } else if point.contains("/link.delete#") && end.outcome.code == 0 {
            // It did not come to that: a veth pair goes with the namespace it ends in, and the kernel was faster this time.
        } else {
            end.assert_told(scenario.codes, "(EIO)");
        }
        (scenario.resolve)(store, Some(&end));
    });
}

fn each(test: &str, scenarios: &[Scenario], how: &str, run_with_fault: impl Fn(&TestStore, &Scenario, &str)) {
    let store = TestStore::new(test);
    for scenario in scenarios {
        let before = store.baseline(scenario.firewall);
        (scenario.arrange)(&store);
        let points = store.points(scenario.command);
        (scenario.resolve)(&store, None);
        let _ = store.host.run(&["stop", "-t", "0", "eg"]);
        store.assert_unchanged(&before, &format!("{}, unhurt:", scenario.name));
        let mut tally = Tally::new("steps", format!("{}, {how}", scenario.name));
        for (number, point) in points.iter().enumerate() {
            if is_passed_over(number, point) && scenario.name != "run" {
                continue;
            }
            tally.case(point, || {
                (scenario.arrange)(&store);
                run_with_fault(&store, scenario, point);
                store.assert_unchanged(&before, "afterwards");
            });
            for name in ["eg", "db", "half"] {
                // After a case that failed.
                if store.host.container(name).exists() {
                    store.host.run(&["stop", "-t", "0", name]);
                }
            }
        }
        tally.end();
    }
}

/// A newborn container goes the same way in several commands: `make test` takes all of it once, and otherwise a quarter.
fn is_passed_over(number: usize, point: &str) -> bool {
    !is_full() && !point.starts_with('/') && number % 4 != 0
}

/// A container that was never told to the user, or was ended: nothing of it is in the way.
fn is_as_if_never_run(store: &TestStore, failed: Option<&End>) {
    if failed.is_some_and(|end| end.outcome.code != 0) {
        // It said so: then it must have cleared up itself.
        assert!(!store.host.container("eg").exists(), "a run that failed has left its container");
    }
    if store.lists("eg") {
        stop(store, "eg");
    }
    until(
        || {
            // The monitor of a killed `run` may be at work yet.
            let again = store.host.run(&["run", "--rm", IMAGE, "eg", "--", "true"]);
            assert!(again.code == 0 || again.err.contains("it already exists"), "{again:?}");
            if again.code != 0 {
                store.host.run(&["stop", "-t", "0", "eg"]);
            }
            again.code == 0
        },
        "the name can be used",
    );
}

fn is_stopped_by_the_next(store: &TestStore) {
    if store.lists("eg") {
        stop(store, "eg");
    }
    store.host.ok(&["run", "--rm", IMAGE, "eg", "--", "true"]);
}

fn gets_its_network(store: &TestStore, command: &[&str], failed: Option<&End>) {
    if failed.is_some_and(|end| end.outcome.code != 0) {
        assert!(!store.host.container("eg").join("network.json").exists(), "it said no and did half of it");
    }
    let said = store.host.ok(command);
    assert!(said.contains("peer ip 192.168.1.2"), "{said}");
    store.host.ok(&["exec", "eg", "--", "ping", "-c1", "-W2", "192.168.1.1"]);
    let snapshot = format!("{:?}", store.snapshot(true));
    if command.contains(&"-e") {
        assert_eq!(snapshot.matches("--to-destination 192.168.1.2:8080").count(), 1, "{snapshot}");
    }
    stop(store, "eg");
}

fn networked(store: &TestStore, name: &str) {
    store.host.ok(&[&["run", "-d", IMAGE, name][..], &SLEEP].concat());
    store.host.ok(&["addnetwork", name, "-i"]);
}

fn stop(store: &TestStore, name: &str) {
    store.host.ok(&["stop", "-t", "0", name]);
}

/// Processes and threads of a container.
fn processes(store: &TestStore, name: &str) -> u64 {
    let known: serde_json::Value = serde_json::from_str(&store.host.run(&["inspect", name]).out).unwrap();
    known["processes"]["now"].as_u64().unwrap()
}
