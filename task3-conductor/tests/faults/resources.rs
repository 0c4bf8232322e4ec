//! What runs out or is shut: disk, inodes, descriptors, processes, namespaces, rights. One line says which, what was there
//! before is there afterwards, and what can be done without it still works.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::test_store::{IMAGE, TestStore, until};
use testlab::host::{Outcome, copy_program};
use testlab::tally::Tally;

fn outcome(output: &Output) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Ours, in one line, with this in it.
fn assert_said(outcome: &Outcome, part: &str) {
    assert_eq!(outcome.code, 125, "{outcome:?}");
    let lines: Vec<&str> = outcome.err.lines().filter(|line| line.starts_with("conductor: cannot ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(part), "{part:?}: {}", outcome.err);
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
}

/// A small file system of its own below a store, with conductor's folders on it.
fn with_small_disk(store: &TestStore, options: &str) {
    let place = store.host.store.join(".containers");
    mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn a_full_disk_is_named_by_every_command_that_writes_and_stop_still_works() {
    let store = TestStore::new("resources-full");
    for (options, what) in [("size=1m", "blocks"), ("size=8m,nr_inodes=64", "inodes")] {
        with_small_disk(&store, options);
        // As a store is that has had a network: its lock stays.
        fs::write(store.host.store.join(".containers/.networks.lock"), "").unwrap();
        let before = store.baseline(true);
        store.host.start("web");
        store.host.start("db");
        store.host.ok(&["addnetwork", "db", "-i", "-e", "4000:80"]);
        let during = store.snapshot(true);
        let fill = || {
            let folder = store.host.store.join(".containers/.full");
            fs::create_dir_all(&folder).ok();
            if what == "blocks" {
                let _ = fs::write(folder.join("all"), vec![1; 8 << 20]);
            } else {
                let _ = (0..100).try_for_each(|n| fs::write(folder.join(n.to_string()), ""));
            }
        };
        fill();
        let mut tally = Tally::new("resources", format!("a disk without free {what}"));
        for command in [
            &["run", IMAGE, "eg", "--", "true"][..],
            &["run", "-d", IMAGE, "eg", "--", "true"],
            &["addnetwork", "web"],
            &["addnetwork", "web", "-i", "-e", "3000:8080"],
            &["build", "made", "--from", "scratch"],
        ] {
            tally.case(format!("{command:?}"), || {
                let refused = store.host.run(command);
                if command[0] == "build" && refused.code == 0 {
                    // Its folders are on another disk.
                    store.host.ok(&["rmi", "made"]);
                    return;
                }
                assert_said(&refused, "No space left on device (ENOSPC)");
                fs::remove_dir_all(store.host.store.join(".containers/.full")).unwrap();
                store.host.ok(&["ps"]);
                store.assert_unchanged(&during, "afterwards");
                fill();
            });
        }
        for command in
            [&["ps"][..], &["images"], &["exec", "web", "--", "true"], &["inspect", "db"], &["stop", "-t", "0", "db"]]
        {
            tally.case(format!("{command:?} needs no space"), || drop(store.host.ok(command)));
        }
        fs::remove_dir_all(store.host.store.join(".containers/.full")).unwrap();
        store.host.ok(&["stop", "-t", "0", "web"]);
        tally.end();
        store.assert_unchanged(&before, what);
        umount2(&store.host.store.join(".containers"), MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_that_fills_the_disk_is_stopped_like_any_other() {
    let store = TestStore::new("resources-hog");
    with_small_disk(&store, "size=4m");
    let before = store.baseline(false);
    store.host.ok(&[
        "run",
        "-d",
        IMAGE,
        "hog",
        "--",
        "bash",
        "-c",
        "while :; do cat /dev/zero >> /full; sleep 0.01; done",
    ]);
    until(
        // A name of its own each time: a file that is there would make room for itself when it is emptied.
        || store.host.run(&["exec", "hog", "--", "bash", "-c", "echo x > /x-$$"]).err.contains("No space left"),
        "the disk is full",
    );
    assert!(store.host.ok(&["ps"]).contains("running"));
    store.host.ok(&["stop", "-t", "0", "hog"]);
    store.assert_unchanged(&before, "after stop");
    umount2(&store.host.store.join(".containers"), MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn a_read_only_store_is_named_and_can_still_be_looked_at() {
    let store = TestStore::new("resources-read-only");
    store.host.start("web");
    let place = store.host.store.clone();
    mount(Some(&place), &place, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).unwrap();
    mount(
        None::<&str>,
        &place,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .unwrap();
    let mut tally = Tally::new("resources", "a read-only store");
    for command in [
        &["run", IMAGE, "eg", "--", "true"][..],
        &["run", "-d", IMAGE, "eg", "--", "true"],
        &["addnetwork", "web"],
        &["build", "made", "--from", "host"],
        &["rmi", IMAGE],
    ] {
        tally.case(format!("{command:?}"), || {
            let refused = store.host.run(command);
            // An image that is in use is refused before.
            assert_said(
                &refused,
                if command[0] == "rmi" { "containers use it" } else { "Read-only file system (EROFS)" },
            );
        });
    }
    for command in [&["ps"][..], &["exec", "web", "--", "true"], &["inspect", "web"]] {
        tally.case(format!("{command:?} writes nothing"), || drop(store.host.ok(command)));
    }
    umount2(&place, MntFlags::MNT_DETACH).unwrap();
    store.host.ok(&["stop", "-t", "0", "web"]);
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_store_works_on_any_disk_that_the_kernel_can_stack_on_and_is_refused_on_others() {
    let store = TestStore::new("resources-places");
    let top = tempfile::tempdir().unwrap();
    let run = |root: &Path| {
        let conductor = |words: &[&str]| {
            outcome(
                &Command::new(env!("CARGO_BIN_EXE_conductor")).arg("--root").arg(root).args(words).output().unwrap(),
            )
        };
        let built = conductor(&["build", "--from", "host", "small"]);
        if built.code != 0 {
            return built;
        }
        let ran =
            conductor(&["-q", "run", "--rm", "small", "eg", "--", "bash", "-c", "echo written > /file; cat /file"]);
        let _ = conductor(&["stop", "-t", "0", "eg"]);
        ran
    };
    let mut tally = Tally::new("resources", "places for a store");
    for name in [
        "with blank",
        "with:colon",
        "with,comma",
        "with\\backslash",
        "with\"quote",
        "é😀",
        "with\nnewline",
        "lowerdir=x",
    ] {
        tally.case(name, || assert_eq!(run(&top.path().join(name)).out, "written\n"));
    }
    let deep = top.path().join("d".repeat(100)).join("e".repeat(100)).join("f".repeat(100));
    tally.case("a long path", || assert_eq!(run(&deep).out, "written\n"));
    tally.case("tmpfs without execution or devices", || {
        let place = top.path().join("noexec");
        fs::create_dir(&place).unwrap();
        let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(Some("tmpfs"), &place, Some("tmpfs"), flags, Some("size=64m")).unwrap();
        let ran = run(&place);
        umount2(&place, MntFlags::MNT_DETACH).unwrap();
        assert_said(&ran, "is its file system mounted noexec?");
    });
    tally.case("an overlay", || {
        let parts = ["lower", "upper", "work", "merged"].map(|part| top.path().join(part));
        parts.iter().for_each(|part| fs::create_dir(part).unwrap());
        let [lower, upper, work, merged] = parts;
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let ran = run(&merged);
        umount2(&merged, MntFlags::MNT_DETACH).unwrap();
        assert_said(&ran, "choose another folder with --root");
    });
    tally.case("a mount that is not private, as systemd makes them", || {
        let place = top.path().join("shared");
        fs::create_dir(&place).unwrap();
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).unwrap();
        mount(None::<&str>, &place, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        let ran = run(&place);
        umount2(&place, MntFlags::MNT_DETACH).unwrap();
        assert_eq!(ran.out, "written\n", "{ran:?}");
    });
    tally.end();
    drop(store);
}

#[test]
#[ignore = "needs root: make test"]
fn without_descriptors_each_command_says_so_and_takes_nothing_for_ended() {
    let store = TestStore::new("resources-descriptors");
    let before = store.baseline(true);
    store.host.start("web");
    store.host.ok(&["addnetwork", "web", "-i"]);
    let mut during = store.snapshot(true);
    let mut tally = Tally::new("resources", "descriptors");
    for count in 3..24 {
        for words in [
            &["ps"][..],
            &["run", "--rm", IMAGE, "eg", "--", "true"],
            &["exec", "web", "--", "true"],
            &["addnetwork", "web", "-e", "3000:80"],
        ] {
            tally.case(format!("{count} for {words:?}"), || {
                let mut command = Command::new("prlimit");
                command
                    .arg(format!("--nofile={count}"))
                    .arg(env!("CARGO_BIN_EXE_conductor"))
                    .arg("--root")
                    .arg(&store.host.store);
                let output = outcome(&command.args(words).stdin(std::process::Stdio::null()).output().unwrap());
                if output.code == 127 && output.err.contains("shared libraries") {
                    // Not even the program could be started.
                    return;
                }
                if output.code == 0 {
                    assert!(words[0] != "ps" || output.out.contains("running"), "{output:?}");
                } else {
                    assert!(!output.err.contains("panicked"), "{output:?}");
                    assert!([125, 126].contains(&output.code), "{output:?}");
                    assert!(output.err.contains("cannot ") && !output.err.contains("has ended"), "{output:?}");
                }
                store.host.ok(&["ps"]);
                if words[0] != "addnetwork" || output.code != 0 {
                    store.assert_unchanged(&during, "afterwards");
                }
            });
            if words[0] == "addnetwork" && store.snapshot(true) != during {
                // It worked: what follows compares with a container without the port.
                store.host.ok(&["stop", "-t", "0", "web"]);
                store.host.start("web");
                store.host.ok(&["addnetwork", "web", "-i"]);
                // Its mounts have other numbers now.
                during = store.snapshot(true);
            }
        }
    }
    tally.end();
    store.host.ok(&["stop", "-t", "0", "web"]);
    store.assert_unchanged(&before, "after stop");
}

#[test]
#[ignore = "needs root: make test"]
fn a_limit_of_processes_or_namespaces_is_said_with_what_it_is() {
    let store = TestStore::new("resources-limits");
    let before = store.baseline(false);
    let mut tally = Tally::new("resources", "limits");
    let tree =
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].iter().map(Path::new).find(|tree| tree.join("cgroup.procs").exists());
    let cgroup = tree.unwrap().join(format!("conductor-test-{}", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    if fs::write(cgroup.join("pids.max"), "1").is_ok() {
        // In a v2 tree the first process is born in the container's own cgroup, and only there is it counted.
        let is_counted_here = !cgroup.join("cgroup.controllers").exists();
        let all = [&["run", IMAGE, "eg", "--", "true"][..], &["run", "-d", IMAGE, "eg", "--", "true"]];
        for words in all.into_iter().filter(|words| is_counted_here || words.contains(&"-d")) {
            tally.case(format!("one process for {words:?}"), || {
                let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", cgroup.display());
                let mut command = Command::new("sh");
                command
                    .args(["-c", &enter, "sh", env!("CARGO_BIN_EXE_conductor"), "--root"])
                    .arg(&store.host.store)
                    .args(words);
                let refused = outcome(&command.output().unwrap());
                assert_said(&refused, "(EAGAIN)");
                store.assert_unchanged(&before, "afterwards");
            });
        }
    } else {
        println!("not run here: a limit of processes, as no tree of cgroups has the pids controller");
    }
    fs::remove_dir(&cgroup).unwrap();
    // Limits of namespaces are a user namespace's: in one of our own, the host's stay as they are.
    for kind in ["net", "mnt", "pid", "uts", "ipc"] {
        tally.case(format!("no {kind} namespaces"), || {
            let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces; exec \"$@\"");
            let mut command = Command::new("unshare");
            command.args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                &script,
                "sh",
                env!("CARGO_BIN_EXE_conductor"),
            ]);
            let refused = outcome(
                &command
                    .arg("--root")
                    .arg(&store.host.store)
                    .args(["run", IMAGE, "eg", "--", "true"])
                    .output()
                    .unwrap(),
            );
            assert_eq!(refused.code, 125, "{refused:?}");
            assert!(refused.err.contains("conductor: cannot ") && !refused.err.contains("panicked"), "{refused:?}");
            if refused.err.contains("(ENOSPC)") {
                assert!(refused.err.contains("/proc/sys/user/max_"), "which limit, and where it stands: {refused:?}");
            }
            store.host.ok(&["ps"]);
            store.assert_unchanged(&before, "afterwards");
        });
    }
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn missing_privileges_are_reported_in_one_line() {
    let store = TestStore::new("resources-rights");
    let before = store.baseline(false);
    store.host.start("web");
    let during = store.snapshot(false);
    let mut tally = Tally::new("resources", "rights");
    let by = |through: &[&str], words: &[&str]| {
        let mut command = Command::new(through[0]);
        command
            .args(&through[1..])
            .arg(env!("CARGO_BIN_EXE_conductor"))
            .arg("--root")
            .arg(&store.host.store)
            .args(words);
        outcome(&command.output().unwrap())
    };
    // The test's own folder may be shut to others; the program is started from a place that is not.
    let open =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let program = open.path().join("conductor");
    copy_program(Path::new(env!("CARGO_BIN_EXE_conductor")), &program);
    for words in [
        &["ps"][..],
        &["run", IMAGE, "eg"],
        &["exec", "web"],
        &["stop", "web"],
        &["addnetwork", "web"],
        &["build", "x"],
        &["images"],
        &["rmi", "x"],
        &["rmcache"],
    ] {
        tally.case(format!("an ordinary user, {words:?}"), || {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&program)
                .arg("--root")
                .arg(&store.host.store);
            let refused = outcome(&command.args(words).current_dir("/").output().unwrap());
            assert_said(&refused, "this requires root; run it with sudo");
        });
    }
    for capability in ["sys_admin", "setpcap", "net_admin", "sys_chroot", "mknod", "dac_override", "kill"] {
        tally.case(format!("root without CAP_{}", capability.to_uppercase()), || {
            let drop = format!("--bounding-set=-{capability}");
            for words in [
                &["run", "--rm", IMAGE, "eg", "--", "true"][..],
                &["exec", "web", "--", "true"],
                &["addnetwork", "web"],
            ] {
                let outcome = by(&["setpriv", &drop, "--inh-caps=-all"], words);
                assert!(!outcome.err.contains("panicked"), "{outcome:?}");
                if outcome.code != 0 {
                    assert!(
                        [125, 126].contains(&outcome.code) && outcome.err.contains("conductor: cannot "),
                        "{outcome:?}"
                    );
                }
            }
            store.host.ok(&["ps"]);
            // A network that it could make is there; of those that it could not run, nothing.
            let now = || store.snapshot(false);
            until(
                || (now().mounts, now().cgroups) == (during.mounts.clone(), during.cgroups.clone()),
                "nothing is left",
            );
        });
    }
    tally.end();
    store.host.ok(&["stop", "-t", "0", "web"]);
    until(|| store.snapshot(false).cgroups == before.cgroups, "its cgroup is gone");
}

#[test]
#[ignore = "needs root: make test"]
fn conductor_in_a_container_says_what_it_lacks() {
    let store = TestStore::new("resources-nested");
    store.host.plant_image("nested", |root| {
        let program = Path::new(env!("CARGO_BIN_EXE_conductor"));
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        for file in listed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
            let place = root.join(file.strip_prefix("/").unwrap());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(file, place).unwrap();
        }
        copy_program(program, &root.join("conductor"));
    });
    let before = store.baseline(false);
    for words in [&["run", "x", "y"][..], &["build", "x", "--from", "host"], &["run", "--rm", "x", "y", "--", "true"]] {
        let inside = store.host.run(
            &[&["-q", "run", "--rm", "nested", "eg", "--", "/conductor", "-q", "--root", "/store"][..], words].concat(),
        );
        assert!(!inside.err.contains("panicked"), "{inside:?}");
        if words[0] == "run" {
            assert_said(&inside, "cannot ");
        }
    }
    store.assert_unchanged(&before, "afterwards");
}
