//! Attacks from inside, from the image, and from the caller's side; each with the host compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::life::wait_for;
use testlab::host::{Host, Snapshot, copy_program};
use testlab::tally::Tally;

/// Copies the program of attacks and what it needs below a root.
pub fn install_attacks(root: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_attacks"));
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let libraries = String::from_utf8(listed.stdout).unwrap();
    let files = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for file in files.map(Path::new) {
        let place = root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(file, place).unwrap();
    }
    copy_program(program, &root.join("attacks"));
    fs::create_dir_all(root.join("mnt")).unwrap();
}

pub fn outcomes(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('\t')).map(|(name, outcome)| (name.into(), outcome.into())).collect()
}

/// Attempts that something else may stop or that there may be nothing to try at, so that they prove nothing on such a host.
const MAY_FAIL_ANYWHERE: [&str; 9] = [
    "oom-score",
    "typing-into-a-terminal",
    "typing-with-high-bits",
    "console-paste",
    "io-uring",
    "hypervisor-socket",
    "priority",
    "limit-raised",
    // The weak mode has process numbers of its own too.
    "host-by-proc",
];

/// What an attempt meets that is stopped.
pub const STOPPED: [&str; 9] =
    ["EPERM", "EACCES", "EROFS", "EMPTY", "NONE", "STILL INSIDE", "STILL NOBODY", "ENOENT", "ECONNREFUSED"];

#[test]
#[ignore = "needs root: make test"]
fn what_gets_through_in_a_chroot_is_stopped_in_a_container_by_run_and_by_exec() {
    let host = Host::new("attacks");
    host.plant_image("armed", |root| {
        install_attacks(root);
        let zero = nix::sys::stat::makedev(1, 5);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&root.join("planted-zero"), nix::sys::stat::SFlag::S_IFCHR, mode, zero).unwrap();
    });
    let before = host.snapshot();
    host.ok(&["run", "-d", "armed", "web", "--", "sleep", "infinity"]);
    let root = host.container("web").join("rootfs");

    // A folder that only the host has: who sees it has got out.
    let mark = format!("MARK={}", host.store.display());
    // A socket that only the host's network has.
    let name = format!("conductor-test-{}", std::process::id());
    let _socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let socket = format!("SOCKET={name}");
    let by_exec = host.run(&["exec", "-e", &mark, "-e", &socket, "web", "--", "/attacks"]);
    // And where they must succeed, or they prove nothing: root in a chroot, in namespaces of this test's.
    let weak = "mount -o remount,bind,dev,suid $0; mount -t proc proc $0/proc; mount -t sysfs sysfs $0/sys; exec chroot $0 /attacks";
    let unconfined = Command::new("unshare")
        .args(["-mupf", "--propagation", "private", "sh", "-c", weak])
        .arg(&root)
        .env("MARK", &host.store)
        .env("SOCKET", &name)
        .output();
    let unconfined = unconfined.unwrap();
    let mut unconfined = outcomes(&String::from_utf8_lossy(&unconfined.stdout));
    // In a chroot the kernel gives nobody a user namespace, so these have to succeed outside of one.
    let in_no_chroot = Command::new("unshare")
        .args(["-mnupf", env!("CARGO_BIN_EXE_attacks"), "user-namespace-unshare", "user-namespace-clone"])
        .output()
        .unwrap();
    unconfined.extend(outcomes(&String::from_utf8_lossy(&in_no_chroot.stdout)));
    host.ok(&["stop", "web"]);
    let by_run = host.run(&["-q", "run", "--rm", "-e", &mark, "-e", &socket, "armed", "web", "--", "/attacks"]);

    let (by_run, by_exec) = (outcomes(&by_run.out), outcomes(&by_exec.out));
    assert_eq!(by_run, by_exec, "exec is exactly as confined as run");
    assert!(by_run.len() >= 90 && unconfined.len() == by_run.len(), "{} and {}", by_run.len(), unconfined.len());
    let (mut stopped, mut live) = (
        Tally::new("attempts", "attempts from inside"),
        Tally::new("attempts that get through in a chroot", "attempts"),
    );
    for (name, outcome) in &by_run {
        stopped.case(name, || match name.as_str() {
            "clone3" => assert_eq!(outcome, "ENOSYS"),
            "other-convention" => assert_eq!(outcome, "SIGSYS"),
            "other-numbers" => assert!(["EPERM", "ENOSYS", "SIGSYS"].contains(&outcome.as_str()), "{outcome}"),
            _ => assert!(STOPPED.contains(&outcome.as_str()), "{outcome}"),
        });
        let there = unconfined.get(name).unwrap();
        // What got as far as the kernel's own code says so by another error: EINVAL, EFAULT.
        if there != outcome && there != "ENOSYS" {
            live.case(name, || ());
        } else {
            // There may be no such file or call on this host.
            let nothing = outcome == "ENOENT" || outcome == "NONE" || there == "ENOSYS";
            let excused = MAY_FAIL_ANYWHERE.contains(&name.as_str()) || nothing;
            assert!(excused, "{name} is {there} in a chroot too: it proves nothing");
        }
    }
    stopped.end();
    let through = live.end();
    assert!(through >= 60, "only {through} get through in a chroot: {unconfined:?}");
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_with_links_where_mounts_go_is_refused_and_the_hosts_folder_stays_empty() {
    let host = Host::new("links");
    let before = host.snapshot();
    for place in ["proc", "sys", "dev"] {
        let target = host.store.join(format!("target-of-{place}"));
        fs::create_dir_all(&target).unwrap();
        let image = format!("link-{place}");
        host.plant_image(&image, |root| symlink(&target, root.join(place)).unwrap());
        let outcome = host.run(&["run", &image, "eg", "--", "true"]);
        assert_eq!(outcome.code, 125, "{outcome:?}");
        assert!(outcome.err.contains("it is a symbolic link"), "{outcome:?}");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "nothing was mounted or made there");
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn links_at_files_that_conductor_provides_lead_nowhere() {
    let host = Host::new("provided");
    let victim = host.store.join("victim");
    fs::write(&victim, "of the host").unwrap();
    host.plant_image("planted", |root| {
        fs::create_dir_all(root.join("etc")).unwrap();
        for file in ["etc/hosts", "etc/resolv.conf"] {
            symlink(&victim, root.join(file)).unwrap();
        }
    });
    let outcome =
        host.run(&["-q", "run", "--rm", "planted", "eg", "--", "bash", "-c", "cat /etc/hosts; echo mine > /etc/hosts"]);
    assert!(outcome.out.contains("127.0.0.1\tlocalhost"), "{outcome:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host");
}

#[test]
#[ignore = "needs root: make test"]
fn devices_of_the_image_are_dead() {
    let host = Host::new("devices");
    host.plant_image("nodes", |root| {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        let zero = nix::sys::stat::makedev(1, 5);
        nix::sys::stat::mknod(&root.join("zero"), nix::sys::stat::SFlag::S_IFCHR, mode, zero).unwrap();
    });
    let outcome = host.run(&[
        "-q",
        "run",
        "--rm",
        "nodes",
        "eg",
        "--",
        "bash",
        "-c",
        "head -c1 /zero || head -c1 /dev/zero | wc -c",
    ]);
    assert!(outcome.err.contains("Permission denied") && outcome.out == "1\n", "{outcome:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn dev_has_its_fourteen_entries_and_none_of_the_hosts_hardware() {
    let host = Host::new("dev");
    let outcome = host.inside("eg", "ls /dev; ls /dev/pts; ls -l /dev/null /dev/random | cut -c1-10");
    let expected =
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ptmx crw-rw-rw- crw-rw-rw-";
    assert_eq!(outcome.out.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    let outcome =
        host.run(&["-q", "run", "-t", "--rm", "img", "eg", "--", "bash", "-c", "ls /dev/console; ls /dev/pts"]);
    assert_eq!(outcome.out.split_whitespace().collect::<Vec<_>>().join(" "), "/dev/console 0 ptmx");
}

#[test]
#[ignore = "needs root: make test"]
fn nothing_of_the_hosts_files_is_mounted_inside_and_nothing_of_the_insides_outside() {
    let host = Host::new("mounts");
    let before = host.snapshot();
    host.start("web");
    let inside = host.ok(&["exec", "web", "--", "cat", "/proc/1/mountinfo"]);
    let disk = |line: &&str| {
        !["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2"]
            .iter()
            .any(|kind| line.contains(&format!(" - {kind} ")))
    };
    let rest: Vec<&str> = inside.lines().filter(|line| line.contains(" - ")).filter(disk).collect();
    assert_eq!(rest.len(), 3, "its root, its hosts and its resolv.conf: {rest:#?}");
    assert!(rest[0].contains(" / / ") && rest[0].contains(" - overlay "), "{rest:#?}");
    let own = host.container("web").display().to_string();
    let outside = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(outside.lines().filter(|line| line.contains(&own)).count(), 1, "only its root is seen on the host");
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn descriptors_and_environment_of_the_caller_stay_outside() {
    let host = Host::new("planted-fds");
    host.start("web");
    let program = env!("CARGO_BIN_EXE_conductor");
    let list = "ls /proc/self/fd | tr '\\n' ' '; cat /proc/*/environ | tr '\\0' '\\n' | grep -c SECRET; cat /proc/1/environ | grep -c SECRET";
    for verb in ["-q run --rm img eg", "-q exec web"] {
        let plant = "for n in $(seq 10 60); do eval \"exec $n< /etc\"; done; exec";
        let script = format!("{plant} {program} --root {} {verb} -- bash -c \"$0\"", host.store.display());
        let output = Command::new("bash").args(["-c", &script, list]).env("SECRET", "word").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.ends_with("0 1 2 3 0\n0\n"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_program_file_cannot_be_written_through_a_process_inside() {
    let host = Host::new("own-binary");
    // A copy, so that an attack that succeeds breaks nothing else.
    let program = host.store.join("conductor-copy");
    copy_program(Path::new(env!("CARGO_BIN_EXE_conductor")), &program);
    let whole = fs::read(&program).unwrap();
    host.plant_image("self", |root| {
        // The libraries that conductor needs are in the image, as an attacker would see to.
        install_attacks(root);
        // The kernel starts what this leads to: the program that executes it, which is conductor.
        fs::write(root.join("entry"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(root.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    host.ok(&["run", "-d", "self", "web", "--", "bash", "-c", WATCHER]);
    let seen = || fs::read_to_string(host.container("web").join("rootfs/seen")).unwrap_or_default();
    // Its loader tells so much that it waits at a pipe that nobody reads: there is all the time to get hold of it.
    let mut conductor = Command::new(&program);
    conductor.arg("--root").arg(&host.store).args(["exec", "-e", "LD_DEBUG=all", "web", "--", "/entry"]);
    let mut held = conductor.stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| seen().contains("holds").then_some(()));
    held.kill().unwrap();
    held.wait().unwrap();
    let watched = wait_for(|| Some(seen()).filter(|text| text.contains("done")));
    assert!(!watched.contains("written"), "{watched}");
    assert!(watched.contains("Read-only file system"), "{watched}");
    assert!(fs::read(&program).unwrap() == whole, "the program was changed");
}

/// Waits for a process whose program is none of the container's, holds on to its file, and writes to it when nobody
/// executes it any more: CVE-2019-5736.
const WATCHER: &str = r#"
while :; do
    for process in /proc/[0-9]*; do
        target=$(readlink $process/exe) || continue
        case $target in /usr/bin/*|/bin/*) continue ;; esac
        exec 9< $process/exe || continue
        echo "holds $target" >> /seen
        while [ -e $process ]; do :; done
        for attempt in 1 2 3 4 5; do
            { echo broken > /proc/self/fd/9; } 2>> /seen && echo written >> /seen
        done
        echo done >> /seen
    done
done"#;

#[test]
#[ignore = "needs root: make test"]
fn the_state_is_shut_to_users_of_the_host() {
    let host = Host::new("shut");
    host.start("web");
    let look = |path: &Path| {
        use std::os::unix::process::CommandExt;
        let look = Command::new("ls").arg(path).uid(65534).gid(65534).output().unwrap();
        look.status.success()
    };
    assert!(!look(&host.container("web").join("rootfs")), "a set-user-ID program in there would be theirs to run");
    assert!(!look(&host.store.join(".images")));
    assert!(look(Path::new("/usr")), "the look itself works");
}

#[test]
#[ignore = "needs root: make test"]
fn words_of_the_user_never_reach_a_shell_and_hostile_names_are_refused() {
    let host = Host::new("words");
    let before = host.snapshot();
    let canary = host.store.join("canary");
    let inject = format!("$(touch {0}); touch {0} `touch {0}`", canary.display());
    assert_eq!(
        host.run(&["run", "--rm", "img", "eg", "-e", &format!("A={inject}"), "--", "printf", "%s", &inject]).code,
        0
    );
    for name in ["../x", "/etc", "a/b", "$(id)", ".", "..", "", "-x", "a b", "a\n"] {
        for verb in [&["run", "img", name][..], &["exec", name], &["stop", name], &["logs", name], &["inspect", name]] {
            let outcome = host.run(verb);
            assert_eq!(outcome.code, 125, "{verb:?}: {outcome:?}");
        }
    }
    assert!(!canary.exists());
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_container_writes_into_its_files_stays_out_of_the_image() {
    let host = Host::new("layers");
    let layers = || -> Vec<(std::path::PathBuf, u64)> {
        let record = fs::read_to_string(host.store.join(".images/img/record.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let layer = host.store.join(".cache/layers").join(record["layers"][0].as_str().unwrap()).join("root/etc");
        let mut files: Vec<_> =
            fs::read_dir(layer).unwrap().flatten().map(|e| (e.path(), e.metadata().unwrap().len())).collect();
        files.sort();
        files
    };
    let before = layers();
    let spoil = "for file in /etc/*; do [ -f $file ] && echo spoilt > $file; done; rm -rf /usr/share; cat /etc/passwd";
    let spoilt = host.inside("eg", spoil);
    assert_eq!(spoilt.out, "spoilt\n", "{spoilt:?}");
    assert_eq!(layers(), before);
    assert!(host.inside("eg", "cat /etc/passwd").out.contains("root"));
}

/// Snapshots differ when the host does: or all the comparisons above would compare nothing.
#[test]
#[ignore = "needs root: make test"]
fn a_snapshot_notices_what_is_left_behind() {
    let host = Host::new("notices");
    let before: Snapshot = host.snapshot();
    fs::create_dir_all(host.container("left")).unwrap();
    assert_ne!(host.snapshot(), before);
    fs::remove_dir(host.container("left")).unwrap();
    assert_eq!(host.snapshot(), before);
    assert!(
        Command::new("ip")
            .args(["link", "add", "left", "type", "veth", "peer", "name", "right"])
            .status()
            .unwrap()
            .success()
    );
    assert_ne!(host.snapshot(), before);
}
