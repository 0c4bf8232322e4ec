//! What becomes of debootstrap when all does not go well. A script of our own stands in for it, in this test's own
//! mounts; it tells its progress as debootstrap 1.0.128 does.

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::build_test::{BuildTest, names, wait_for};

/// Mounts /proc in its target as the real one does, and leaves a process in the background.
const BEGIN: &str = r#"#!/bin/sh
set -e
for word; do case $word in --cache-dir=*) cache=${word#*=};; -*) ;; /*) target=$word;; esac; done
mkdir -p "$target/proc" "$target/etc" "$target/var/cache/apt/archives"
echo log line >&2
echo $$ > "$target/pid"
echo content > "$cache/one_1_all.deb"
printf 'P: 0 2 SIZEDEBS\nPF: Finding package sizes\nP: 0 9000 DOWNDEBS\nPF: Downloading packages\n' >&3
printf 'I: RETRIEVING\nIA: one\nIA: 1\nIF: Retrieving %%s %%s\n' >&3
mount -t proc proc "$target/proc"
SLEEP &
"#;

fn stand_in(build_test: &BuildTest, sleep: &str, rest: &str) {
    let script = build_test.file("debootstrap", format!("{BEGIN}{rest}").replace("SLEEP", &format!("sleep {sleep}")));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let real = "/usr/sbin/debootstrap";
    mount(Some(&script), real, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// How many processes sleep for so long: each test has its own number.
fn sleepers(sleep: &str) -> usize {
    let wanted = format!("sleep\0{sleep}\0");
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line == wanted.as_bytes()).count()
}

#[test]
#[ignore = "needs root: make test"]
fn a_base_is_made_once_with_progress_and_leaves_no_mounts_or_processes() {
    let build_test = BuildTest::with_own_cache("bootstrap");
    let before = build_test.host.snapshot();
    stand_in(
        &build_test,
        "7081",
        "echo neutral > \"$target/etc/hostname\"; touch \"$target/var/cache/apt/archives/one.deb\"; umount \"$target/proc\"",
    );
    let with_script = build_test.host.run(&["build", "made", "--from", "debian:bookworm"]);
    assert_eq!(with_script.code, 0, "{with_script:?}");
    assert!(with_script.err.contains("  Downloading packages (2)\n"), "{with_script:?}");
    let again = build_test.host.run(&["build", "second", "--from", "debian:bookworm"]);
    assert!(again.err.contains("FROM debian:bookworm\n  cached\n"), "{again:?}");
    assert_eq!(build_test.layers_of("made"), build_test.layers_of("second"));
    let root = build_test.host.store.join(".cache/layers").join(&build_test.layers_of("made")[0]).join("root");
    assert_eq!(fs::read_to_string(root.join("etc/hostname")).unwrap(), "", "this host's name is not the image's");
    assert_eq!(names(&root.join("var/cache/apt/archives")), Vec::<String>::new());
    // It was process 1 of a PID namespace of its own.
    assert_eq!(fs::read_to_string(root.join("pid")).unwrap(), "1\n");
    assert_eq!(sleepers("7081"), 0);
    nix::mount::umount2("/usr/sbin/debootstrap", nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(build_test.host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_debootstrap_error_is_quoted_with_a_hint_and_packages_are_kept() {
    let build_test = BuildTest::with_own_cache("bootstrap-fails");
    let before = build_test.host.snapshot();
    stand_in(
        &build_test,
        "7082",
        "echo 'wget: connection refused' >&2; printf 'E: COULDNTDLPKGS\\nEA: one two\\nEF: Could not download: %%s\\n' >&3; exit 1",
    );
    let failed = build_test.host.run(&["build", "made", "--from", "debian:bookworm"]);
    assert_eq!(failed.code, 125);
    for part in [
        "cannot build from debian:bookworm: Could not download: one two\n",
        "  debootstrap: wget: connection refused\n",
        "run the same command again: what was fetched from http://deb.debian.org/debian is kept",
    ] {
        assert!(failed.err.contains(part), "{part}: {}", failed.err);
    }
    assert_eq!(build_test.cache("packages/debian"), ["one_1_all.deb"]);
    assert!(!build_test.has_image());
    assert_eq!((build_test.cache("building"), build_test.cache("layers")), (vec![], vec![]));
    assert_eq!(sleepers("7082"), 0);
    nix::mount::umount2("/usr/sbin/debootstrap", nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(build_test.host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_package_that_cannot_be_fetched_ends_it_at_once() {
    let build_test = BuildTest::with_own_cache("bootstrap-given-up");
    // The real one would now try each of the other packages, for minutes.
    let warning = "W: COULDNTDL\\nWA: two\\nWF: Could not download package %%s\\n";
    stand_in(&build_test, "7083", &format!("printf '{warning}' >&3; SLEEP"));
    let failed = build_test.host.run(&["build", "made", "--from", "debian:bookworm"]);
    assert_eq!(failed.code, 125);
    assert!(failed.err.contains("Could not download package two") && failed.err.contains("is kept"), "{failed:?}");
    assert_eq!(sleepers("7083"), 0);
    assert_eq!(build_test.cache("packages/debian"), ["one_1_all.deb"]);
}

#[test]
#[ignore = "needs root: make test"]
fn broken_off_or_killed_it_leaves_no_process_no_mount_and_no_image() {
    let build_test = BuildTest::with_own_cache("bootstrap-killed");
    stand_in(&build_test, "7084", "SLEEP; exit 1");
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let before = build_test.host.snapshot();
        let child = build_test.host.piped(&["build", "made", "--from", "debian:bookworm"]);
        wait_for(|| (sleepers("7084") == 2).then_some(()));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(signal as i32), "{output:?}");
        wait_for(|| (sleepers("7084") == 0).then_some(()));
        assert_eq!(build_test.host.snapshot(), before, "{signal}");
        assert!(!build_test.has_image());
        // What a killed one had begun goes with the next command that looks at layers.
        assert_eq!(build_test.cache("building"), Vec::<String>::new(), "{signal}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn what_is_missing_is_named_before_anything_is_fetched() {
    let build_test = BuildTest::with_own_cache("bootstrap-missing");
    let refused = |from: &str| {
        let outcome = build_test.host.run(&["build", "made", "--from", from]);
        assert_eq!(outcome.code, 125, "{outcome:?}");
        outcome.err
    };
    assert!(refused("debian:bookwurm").contains("debootstrap knows no such suite; did you mean bookworm?"));
    assert!(refused("debian:../x").contains("is not a suite"));
    let empty = tempfile::tempdir().unwrap();
    mount(Some(empty.path()), "/usr/share/keyrings", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    assert!(refused("debian:bookworm").contains("; apt install debian-archive-keyring"));
    mount(Some(empty.path()), "/usr/sbin", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    assert!(
        refused("debian:bookworm").contains("; apt install debootstrap, or build without the internet: --from host")
    );
}
