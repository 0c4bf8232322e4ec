//! What can be said about a container and a process: users, folders, volumes, limits, rights.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use crate::life::wait_for;
use testlab::host::Host;

/// An image with a user database of its own.
fn peopled(host: &Host, name: &str) {
    host.plant_image(name, |root| {
        let etc = root.join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\namy:x:1000:1001::/home/amy:/bin/sh\n").unwrap();
        fs::write(etc.join("group"), "root:x:0:\namy:x:1001:\nstaff:x:50:bob,amy\n").unwrap();
    });
}

const WHO: &str =
    "id -u; id -g; id -G; echo $HOME; grep -E 'CapEff|CapPrm|CapAmb|NoNew|Seccomp:' /proc/self/status | tr -d '\\t'";

#[test]
#[ignore = "needs root: make test"]
fn a_user_is_looked_up_in_the_containers_files_and_has_no_capability() {
    let host = Host::new("users");
    peopled(&host, "peopled");
    let none = "CapPrm:0000000000000000\nCapEff:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n";
    host.ok(&["run", "-d", "-u", "amy", "peopled", "web", "--", "bash", "-c", &format!("{WHO}; exec sleep infinity")]);
    let by_run = wait_for(|| Some(host.ok(&["logs", "web"])).filter(|log| log.contains("Seccomp")));
    assert_eq!(by_run, format!("1000\n1001\n1001 50\n/home/amy\n{none}"));
    let exec = |user: &[&str]| host.run(&[&["-q", "exec"], user, &["web", "--", "bash", "-c", WHO]].concat()).out;
    assert!(exec(&[]).ends_with(&by_run), "exec is who run was: {}", exec(&[]));
    for (user, who) in [
        ("amy:staff", "1000\n50\n50\n/home/amy\n"),
        ("1000", "1000\n1001\n1001 50\n/home/amy\n"),
        ("1000:7", "1000\n7\n7\n/home/amy\n"),
        ("4711", "4711\n0\n0\n/\n"),
    ] {
        assert!(exec(&["-u", user]).ends_with(&format!("{who}{none}")), "{user}: {}", exec(&["-u", user]));
    }
    // Back to root, with what root in a container has.
    assert!(exec(&["-u", "root"]).contains("0\n0\n0\n/root\nCapPrm:00000000800405fb\n"), "{}", exec(&["-u", "root"]));
    for (user, missing) in [("bob", "user bob"), ("amy:wheel", "group wheel"), ("nobody", "user nobody")] {
        let refused = host.run(&["-q", "exec", "-u", user, "web", "--", "id"]);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.err.contains(&format!("cannot find {missing}: the container's /etc/")), "{refused:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_terminal_is_owned_by_its_user() {
    let host = Host::new("user-tty");
    let script = "stat -L -c %u /dev/stdin; echo by name > $(tty); echo by the other name > /dev/tty";
    let run = |verb: &[&str]| host.run(&[verb, &["--", "bash", "-c", script]].concat()).out.replace('\r', "");
    let expected = "65534\nby name\nby the other name\n";
    assert_eq!(run(&["-q", "run", "--rm", "-t", "-u", "65534", "img", "eg"]), expected);
    assert_eq!(run(&["-q", "run", "--rm", "-t", "--init", "-u", "65534", "img", "eg"]), expected);
    host.start("web");
    assert!(run(&["-q", "exec", "-t", "-u", "65534", "web"]).ends_with(expected));
    // The caller's own files stay whose they are.
    let out = host.store.join("out");
    let mut command = host.conductor(&["-q", "run", "--rm", "-u", "65534", "img", "eg", "--", "true"]);
    assert!(command.stdout(fs::File::create(&out).unwrap()).status().unwrap().success());
    assert_eq!(fs::metadata(&out).unwrap().uid(), 0);
}

#[test]
#[ignore = "needs root: make test"]
fn a_user_database_that_is_a_trap_is_not_stepped_into() {
    let host = Host::new("traps");
    // A link that leads out of the container on the host stays within it, and what is no file is not read.
    host.plant_image("linked", |root| {
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("/proc/self/root/../../../../../../etc/shadow", root.join("etc/passwd")).unwrap();
    });
    host.plant_image("piped", |root| {
        fs::create_dir_all(root.join("etc")).unwrap();
        nix::unistd::mkfifo(&root.join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    for (image, why) in [("linked", "/etc/passwd: "), ("piped", "cannot read /etc/passwd: it is not a regular file")] {
        let refused = host.run(&["run", "--rm", "-u", "amy", image, "eg", "--", "id"]);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.err.contains(why), "{refused:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_that_runs_as_another_user_ends_with_its_starter() {
    let host = Host::new("pdeathsig");
    let mut starter = host.piped(&["run", "-u", "65534", "img", "eg", "--", "sleep", "infinity"]);
    let init = wait_for(|| {
        let known: serde_json::Value = serde_json::from_str(&host.run(&["inspect", "eg"]).out).ok()?;
        known["init"]["pid"].as_i64()
    });
    starter.kill().unwrap();
    starter.wait().unwrap();
    wait_for(|| (!Path::new(&format!("/proc/{init}")).exists()).then_some(()));
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_starts_in_its_folder_and_never_outside_of_the_container() {
    let host = Host::new("workdir-flag");
    assert_eq!(host.inside_with("eg", &["-w", "/usr/bin"], "pwd").out, "/usr/bin\n");
    host.start("web");
    assert!(host.ok(&["exec", "-w", "/etc", "web", "--", "pwd"]).ends_with("\n/etc\n"));
    for (folder, why) in [
        ("/nowhere", "No such file or directory (ENOENT)"),
        ("/etc/passwd", "Not a directory (ENOTDIR)"),
        ("/proc/self/fd/3", "(E"),
        ("/proc/1/cwd", "(E"),
        ("/proc/self/root", "(ELOOP)"),
        ("etc", "use an absolute path in the container"),
    ] {
        for verb in [&["run", "--rm", "-w", folder, "img", "eg"][..], &["exec", "-w", folder, "web"]] {
            let refused = host.run(&[verb, &["--", "pwd"]].concat());
            assert_eq!(refused.code, 125, "{folder}: {refused:?}");
            assert!(refused.err.contains(why), "{folder}: {refused:?}");
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn variables_come_from_files_and_what_is_typed_goes_before() {
    let host = Host::new("env-file");
    let (one, other) = (host.store.join("one.env"), host.store.join("other.env"));
    fs::write(&one, "# settings\nA=filed\nB=\"as it stands\"\n").unwrap();
    fs::write(&other, "C=$(id)\r\n").unwrap();
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let options = ["--env-file", one, "--env-file", other, "-e", "A=typed"];
    assert_eq!(host.inside_with("eg", &options, "echo \"$A|$B|$C\"").out, "typed|\"as it stands\"|$(id)\n");
    host.start("web");
    let exec = [&["-q", "exec"], &options[..], &["web", "--", "bash", "-c", "echo \"$A|$B|$C\""]].concat();
    assert!(host.run(&exec).out.ends_with("typed|\"as it stands\"|$(id)\n"));
    fs::write(one, "A=1\nPATH\n").unwrap();
    let refused = host.inside_with("eg", &options, "true");
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("one.env:2: \"PATH\" is not a variable"), "{refused:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_volume_is_the_hosts_own_folder_and_read_only_holds() {
    let host = Host::new("volumes-flag");
    let shared = host.store.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "of the host\n").unwrap();
    let before = host.snapshot();
    let volume = |place: &str| format!("{}:{place}", shared.display());
    let outcome = host.inside_with(
        "eg",
        &[
            "-v",
            &volume("/a/b/c"),
            "-v",
            &volume("/locked:ro"),
            "-v",
            &format!("{}/file:/etc/one-file", shared.display()),
        ],
        "cat /a/b/c/file /etc/one-file; echo inside > /a/b/c/new; touch /locked/x; cat /locked/new",
    );
    assert_eq!(outcome.out, "of the host\nof the host\ninside\n", "{outcome:?}");
    assert!(outcome.err.contains("Read-only file system"), "{outcome:?}");
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "inside\n");
    assert!(!shared.join("x").exists());
    assert_eq!(host.snapshot(), before, "and nothing of it is mounted on the host");
    // The folder is whose it was, and still there with all it held when the container goes.
    assert_eq!(fs::metadata(&shared).unwrap().uid(), 0);
    let missing = host.inside_with("eg", &["-v", &format!("{}/missing:/x", shared.display())], "true");
    assert_eq!(missing.code, 125);
    assert!(missing.err.contains("missing: No such file or directory (ENOENT)"), "{missing:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn what_is_mounted_below_a_volume_comes_along_and_is_as_read_only() {
    let host = Host::new("submount");
    let shared = host.store.join("shared");
    fs::create_dir_all(shared.join("below")).unwrap();
    let below = shared.join("below");
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    fs::write(below.join("file"), "below\n").unwrap();
    let volume = format!("{}:/v:ro", shared.display());
    let outcome = host.inside_with("eg", &["-v", &volume], "cat /v/below/file; touch /v/below/x");
    nix::mount::umount2(&below, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(outcome.out, "below\n");
    assert!(outcome.err.contains("Read-only file system"), "{outcome:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_link_of_the_image_leads_a_volume_about_and_never_out_or_over_the_kernels_files() {
    let host = Host::new("volume-links");
    let (shared, victim) = (host.store.join("shared"), host.store.join("victim"));
    fs::create_dir(&shared).unwrap();
    fs::create_dir(&victim).unwrap();
    host.plant_image("linked", |root| {
        fs::create_dir(root.join("real")).unwrap();
        symlink("/real", root.join("about")).unwrap();
        symlink(victim.as_os_str(), root.join("out")).unwrap();
        symlink("../../../../../../../../real", root.join("up")).unwrap();
        for (name, target) in
            [("p", "/proc"), ("s", "/proc/sys"), ("d", "/dev"), ("h", "/dev/shm"), ("k", "/sys/kernel")]
        {
            symlink(target, root.join(name)).unwrap();
        }
    });
    let run = |place: &str, script: &str| {
        let volume = format!("{}:{place}", shared.display());
        host.run(&["-q", "run", "--rm", "-v", &volume, "linked", "eg", "--", "bash", "-c", script])
    };
    for (place, seen) in [("/about", "/real"), ("/up", "/real"), ("/about/new", "/real/new")] {
        let outcome = run(place, &format!("touch {seen}/here"));
        assert_eq!(outcome.code, 0, "{place}: {outcome:?}");
        assert!(shared.join("here").exists(), "{place}");
        fs::remove_file(shared.join("here")).unwrap();
    }
    for place in ["/p", "/p/1", "/s", "/d", "/h", "/k", "/d/new", "/p/new"] {
        let refused = run(place, "true");
        assert_eq!(refused.code, 125, "{place}: {refused:?}");
        assert!(refused.err.contains("it is not on the image's file system"), "{place}: {refused:?}");
    }
    // The host's folder of that path is none inside.
    assert_eq!(run("/out", "true").code, 125);
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}

/// CVE-2021-30465: the place of a volume is swapped for a link while containers start, in a folder that two of them share.
#[test]
#[ignore = "needs root: make test"]
fn a_volumes_place_that_is_swapped_for_a_link_during_the_start_leads_nowhere_else() {
    let host = Host::new("swapped");
    let (outer, inner) = (host.store.join("outer"), host.store.join("inner"));
    fs::create_dir_all(outer.join("place")).unwrap();
    fs::create_dir(&inner).unwrap();
    symlink("/proc/sys", outer.join("link")).unwrap();
    let (outer_volume, inner_volume) = (format!("{}:/v", outer.display()), format!("{}:/v/place", inner.display()));
    // The swapper is a container itself.
    let swap = "mkdir -p /v/place; echo ready; cd /v; while :; do mv -T place aside; mv -T link place; mv -T place link; mv -T aside place; done";
    host.ok(&["run", "-d", "-v", &outer_volume, "img", "swapper", "--", "bash", "-c", swap]);
    wait_for(|| host.ok(&["logs", "swapper"]).contains("ready").then_some(()));
    let mut refused = 0;
    for _ in 0..40 {
        let check = "grep -c ' /proc/sys .*shared-inner\\| /proc/sys rw' /proc/self/mountinfo; echo x > /proc/sys/kernel/core_pattern";
        let outcome = host.inside_with("eg", &["-v", &outer_volume, "-v", &inner_volume], check);
        if outcome.code == 125 {
            refused += 1;
        } else {
            assert!(outcome.out.starts_with("0\n") && outcome.err.contains("Read-only"), "{outcome:?}");
        }
    }
    assert!(refused < 40, "some find the folder");
    host.ok(&["stop", "-t", "0", "swapper"]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_read_only_container_writes_to_its_memory_and_its_volumes_only() {
    let host = Host::new("read-only");
    let shared = host.store.join("shared");
    fs::create_dir(&shared).unwrap();
    let volume = format!("{}:/data", shared.display());
    let script =
        "touch /x; touch /etc/hosts-x; touch /dev/shm/fine && touch /data/fine && echo fine; mount -o remount,rw /";
    let outcome = host.inside_with("eg", &["--read-only", "-v", &volume], script);
    assert_eq!(outcome.out, "fine\n", "{outcome:?}");
    assert_eq!(outcome.err.matches("Read-only file system").count(), 2, "{outcome:?}");
    host.ok(&["run", "-d", "--read-only", "img", "web", "--", "sleep", "infinity"]);
    assert!(host.run(&["exec", "web", "--", "touch", "/x"]).err.contains("Read-only"), "for exec as for run");
}

#[test]
#[ignore = "needs root: make test"]
fn limits_are_what_the_kernel_holds_and_go_with_the_container() {
    let host = Host::new("limits");
    let before = host.snapshot();
    let limits = ["--cpus", "0.25", "--memory", "48m", "--pids-limit", "40"];
    host.ok(&[&["run", "-d"], &limits[..], &["img", "web", "--", "sleep", "infinity"]].concat());
    let known: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "web"])).unwrap();
    let directories: Vec<&str> =
        known["cgroups"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let held = |files: [&str; 2]| {
        let paths = directories.iter().flat_map(|directory| files.map(|file| Path::new(directory).join(file)));
        paths.filter_map(|path| fs::read_to_string(path).ok()).next().unwrap_or_default().trim().to_owned()
    };
    assert!(["25000 100000", "25000"].contains(&held(["cpu.max", "cpu.cfs_quota_us"]).as_str()), "{directories:?}");
    assert_eq!(held(["memory.max", "memory.limit_in_bytes"]), (48 << 20).to_string());
    assert_eq!(held(["pids.max", "pids.max"]), "40");
    assert_eq!(known["processes"]["limit"], 40);
    // exec is under the same limits: it is in every part of the cgroup.
    let exec = host.piped(&["exec", "web", "--", "sleep", "infinity"]);
    for directory in &directories {
        wait_for(|| {
            let members = fs::read_to_string(Path::new(directory).join("cgroup.procs")).unwrap();
            (members.lines().count() == 2).then_some(())
        });
    }
    host.ok(&["stop", "-t", "0", "web"]);
    drop(exec.wait_with_output());
    assert!(directories.iter().all(|directory| !Path::new(directory).exists()), "{directories:?}");
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_limit_holds_what_it_says() {
    let host = Host::new("held");
    let forks = host.inside_with(
        "eg",
        &["--pids-limit", "12"],
        "for i in $(seq 30); do sleep 5 & done 2> /dev/null; echo not reached",
    );
    assert!(!forks.out.contains("not reached") || forks.code != 0, "{forks:?}");
    // One core's worth of work in a quarter of a core: the kernel counts the periods in which it had to wait.
    let busy = "timeout 1 bash -c 'while :; do :; done'; grep -h nr_throttled /sys/fs/cgroup/cpu.stat";
    host.ok(&[
        "run",
        "-d",
        "--cpus",
        "0.1",
        "img",
        "busy",
        "--",
        "bash",
        "-c",
        &format!("{busy}; exec sleep infinity"),
    ]);
    let known: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "busy"])).unwrap();
    wait_for(|| {
        let directories =
            known["cgroups"].as_array().unwrap().iter().map(|path| Path::new(path.as_str().unwrap()).join("cpu.stat"));
        directories.filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?.parse::<u32>().ok();
            line.filter(|count| *count > 0)
        })
    });
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_that_takes_too_much_memory_is_killed_and_ps_and_inspect_say_why() {
    let host = Host::new("oom");
    let hog = "x=$(head -c 300000000 /dev/zero | tr '\\0' x)";
    let outcome = host.run(&["run", "--memory", "32m", "img", "hog", "--", "bash", "-c", hog]);
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert!(host.ok(&["ps"]).contains("exited (137), out of memory"), "{}", host.ok(&["ps"]));
    let known: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "hog"])).unwrap();
    assert!(known["out_of_memory_kills"].as_u64().unwrap() >= 1, "{known}");
    // And a container that was killed for another reason is not said to have been out of memory.
    host.ok(&["run", "-d", "--memory", "32m", "img", "web", "--", "sleep", "infinity"]);
    host.ok(&["kill", "web"]);
    let listed = wait_for(|| Some(host.ok(&["ps"])).filter(|listed| listed.matches("exited (137)").count() == 2));
    assert_eq!(listed.matches("out of memory").count(), 1, "{listed}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_controller_that_is_missing_is_named_and_without_the_limit_it_runs() {
    let host = Host::new("controller");
    let tree = Path::new("/sys/fs/cgroup/memory");
    if !tree.join("memory.limit_in_bytes").exists() {
        // On a v2 host the controller cannot be taken away.
        println!("skipped: the memory controller is not in a v1 tree here");
        return;
    }
    // This test's own view of the host only.
    nix::mount::umount2(tree, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let before = host.snapshot();
    let refused = host.inside_with("eg", &["--memory", "32m"], "true");
    assert_eq!(refused.code, 125, "{refused:?}");
    let line = "cannot limit by the memory controller: ";
    assert!(refused.err.contains(line) && refused.err.contains("to run without this limit"), "{refused:?}");
    assert_eq!(refused.err.lines().count(), 1, "{refused:?}");
    assert_eq!(host.snapshot(), before);
    assert_eq!(host.inside_with("eg", &["--pids-limit", "30"], "true").code, 0);
}

#[test]
#[ignore = "needs root: make test"]
fn a_reaper_is_process_1_hands_signals_on_and_leaves_no_zombie() {
    let host = Host::new("reaper");
    let orphans = "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; ps -o pid= -o stat= --ppid 1 | sort -n | head -1; \
                   while pgrep sleep > /dev/null; do sleep 0.05; done; ps -e -o stat= | grep -c Z; exit 7";
    let with = host.inside_with("eg", &["--init"], &format!("echo $$; {orphans}"));
    assert_eq!((with.code, with.out.lines().next(), with.out.lines().last()), (7, Some("2"), Some("0")), "{with:?}");
    // The same without a reaper: what a first process never started, it does not wait for.
    for (name, options, zombies) in [("without", &[][..], "1"), ("reaped", &["--init"], "0")] {
        host.ok(&[&["run", "-d"], options, &["img", name, "--", "sleep", "infinity"]].concat());
        host.ok(&["exec", name, "--", "bash", "-c", "(sleep 0.05 & echo $! > /orphan)"]);
        let count = "while grep -q '^State:.[RSD]' /proc/$(cat /orphan)/status 2> /dev/null; do sleep 0.01; done; \
                     sleep 0.05; cat /proc/[0-9]*/status | grep -c '^State:.Z'";
        let said = host.run(&["-q", "exec", name, "--", "bash", "-c", count]).out;
        assert_eq!(said, format!("{zombies}\n"), "{name}");
    }
    // Signals reach a command that has no handler for them, and its end by one is told.
    host.ok(&["run", "-d", "--init", "img", "web", "--", "sleep", "infinity"]);
    host.ok(&["kill", "-s", "TERM", "web"]);
    assert_eq!(host.ok(&["wait", "web"]), "143\n");
    assert_eq!(host.run(&["-q", "run", "--init", "--rm", "img", "eg", "--", "no-such-program"]).code, 127);
    // It is confined like everything else in the container.
    host.ok(&["run", "-d", "--init", "-u", "65534", "img", "lean", "--", "sleep", "infinity"]);
    let status = host.ok(&[
        "exec",
        "lean",
        "--",
        "grep",
        "-hE",
        "^(Uid|Cap|NoNew|Seccomp:)",
        "/proc/1/status",
        "/proc/2/status",
    ]);
    let lines: Vec<&str> = status.lines().skip(1).collect();
    assert_eq!(lines.len(), 16, "{status}");
    assert_eq!(lines[..8], lines[8..], "{status}");
    // Nothing of what conductor held is open in it: the lock above all, or stop would wait for ever.
    let init =
        serde_json::from_str::<serde_json::Value>(&host.ok(&["inspect", "lean"])).unwrap()["init"]["pid"].to_string();
    let open = fs::read_dir(format!("/proc/{init}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let open: Vec<String> = open.map(|path| path.display().to_string()).collect();
    assert!(!open.iter().any(|path| path.contains("/.containers/lean") && !path.ends_with("/log")), "{open:?}");
    host.ok(&["stop", "-t", "0", "lean"]);
}

#[test]
#[ignore = "needs root: make test"]
fn ctrl_c_reaches_the_command_behind_a_reaper_once() {
    let host = Host::new("reaper-tty");
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = host.piped(&["-q", "run", "--rm", "-t", "--init", "img", "eg", "--", "bash", "-c", script]);
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(rest.matches("caught").count(), 1, "{rest}");
}

#[test]
#[ignore = "needs root: make test"]
fn capabilities_are_given_and_taken_one_by_one_and_the_filter_follows() {
    let host = Host::new("capabilities");
    let effective = |options: &[&str]| host.inside_with("eg", options, "grep CapEff /proc/self/status").out;
    assert_eq!(effective(&["--cap-drop", "ALL"]), "CapEff:\t0000000000000000\n");
    assert_eq!(effective(&["--cap-drop", "all", "--cap-add", "chown,CAP_KILL"]), "CapEff:\t0000000000000021\n");
    assert_eq!(effective(&["--cap-add", "NET_RAW"]), "CapEff:\t00000000800425fb\n");
    assert_eq!(effective(&["--cap-drop", "CHOWN"]), "CapEff:\t00000000800405fa\n");
    // A host can lack some itself.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let hosts = status.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    assert_eq!(effective(&["--cap-add", "ALL"]).trim_end(), hosts);
    let mount = "mount -t tmpfs tmpfs /mnt && echo mounted";
    assert_eq!(host.inside_with("eg", &["--cap-add", "SYS_ADMIN"], mount).out, "mounted\n");
    assert_eq!(host.inside_with("eg", &[], mount).out, "");
    // exec has what run had.
    host.ok(&["run", "-d", "--cap-drop", "ALL", "--cap-add", "KILL", "img", "web", "--", "sleep", "infinity"]);
    assert!(host.ok(&["exec", "web", "--", "grep", "CapEff", "/proc/self/status"]).ends_with("0000000000000020\n"));
}

#[test]
#[ignore = "needs root: make test"]
fn privileged_keeps_a_root_of_its_own_and_nothing_else_and_exec_is_the_same() {
    let host = Host::new("privileged");
    let before = host.snapshot();
    let script = "grep -E 'CapEff|NoNew|Seccomp:' /proc/self/status; ls -d /dev/kmsg; mount -t tmpfs tmpfs /mnt && echo mounted; \
                  : > /proc/sys/kernel/core_pattern.x; test -w /proc/sys/vm/panic_on_oom && echo writable";
    let by_run = host.inside_with("eg", &["--privileged"], script);
    host.ok(&["run", "-d", "--privileged", "img", "web", "--", "sleep", "infinity"]);
    let by_exec = host.run(&["-q", "exec", "web", "--", "bash", "-c", script]);
    assert!(by_exec.out.ends_with(&by_run.out), "{by_exec:?} {by_run:?}");
    for part in ["NoNewPrivs:\t0", "Seccomp:\t0", "/dev/kmsg", "mounted", "writable"] {
        assert!(by_run.out.contains(part), "{part}: {by_run:?}");
    }
    let root = host.inside_with("eg", &["--privileged"], "cat /proc/1/mountinfo").out;
    assert!(!root.contains(" /etc/hostname ") && root.lines().next().unwrap().contains(" / / "), "{root}");
    host.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_weak_container_says_so_in_one_line_and_is_one_for_exec_too() {
    let host = Host::new("weak");
    let before = host.snapshot();
    let started = host.run(&["-q", "run", "-d", "--weak", "chroot", "img", "web", "--", "sleep", "infinity"]);
    assert_eq!((started.code, started.err.lines().count()), (0, 1), "{started:?}");
    assert!(started.err.contains("--weak disables isolation"), "{started:?}");
    let exec = |script: &str| host.run(&["-q", "exec", "web", "--", "bash", "-c", script]);
    assert!(exec("grep -E 'NoNew|Seccomp:' /proc/self/status").out.ends_with("NoNewPrivs:\t0\nSeccomp:\t0\n"));
    assert!(exec("ls -d /dev/kmsg; ps -e -o comm= | sort -u | tr '\\n' ' '").out.contains("/dev/kmsg\nbash ps sleep"));
    host.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn options_that_contradict_each_other_are_refused() {
    let host = Host::new("contradictions");
    for options in [
        &["--privileged", "--cap-add", "KILL"][..],
        &["--privileged", "--cap-drop", "KILL"],
        &["--privileged", "--weak", "chroot"],
        &["--weak", "chroot", "--cap-add", "KILL"],
        &["--weak", "strong"],
        &["--cap-add", "KILL", "--cap-drop", "kill"],
        &["-d", "-t"],
    ] {
        let refused = host.inside_with("eg", options, "true");
        assert_eq!(refused.code, 125, "{options:?}: {refused:?}");
    }
    // The owner of a volume is left alone.
    let shared = host.store.join("owned");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&shared, Some(1234), Some(5678)).unwrap();
    host.inside_with("eg", &["-v", &format!("{}:/v", shared.display())], "true");
    let about = fs::metadata(&shared).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (1234, 5678, 0o700));
}
