//! Attacks that take more than a call: by working directories, by files that the host writes, by a build, by lying in wait.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::attacks::{STOPPED, install_attacks, outcomes};
use crate::life::wait_for;
use testlab::host::{Host, feed};
use testlab::tally::{Tally, is_full};

#[test]
#[ignore = "needs root: make test"]
fn a_working_directory_never_leads_out_by_a_descriptor_or_link() {
    let host = Host::new("workdir");
    let before = host.snapshot();
    let mut ways: Vec<String> = (3..60).map(|number| format!("/proc/self/fd/{number}")).collect();
    ways.extend(
        ["/proc/1/root", "/proc/1/cwd", "/proc/self/root/..", "/link", "/link/..", "/gone", "/etc/passwd"]
            .map(str::to_owned),
    );
    ways.push(format!("/../../../../..{}", host.store.display()));
    let mut tally = Tally::new("attempts", "working directories");
    for (number, way) in ways.iter().enumerate() {
        let image = format!("wd{number}");
        host.plant_image(&image, |root| symlink("/proc/self/fd/7", root.join("link")).unwrap());
        let path = host.store.join(".images").join(&image).join("record.json");
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["working_directory"] = way.as_str().into();
        fs::write(&path, record.to_string()).unwrap();
        tally.case(way, || {
            // With descriptors of the host's files open in the caller, and all the runtime's own.
            let program = env!("CARGO_BIN_EXE_conductor");
            let look = format!("ls -d {0} ../{0} ../../../../../..{0} 2> /dev/null; pwd", host.store.display());
            let script = format!(
                "for n in $(seq 20 40); do eval \"exec $n< {0}\"; done; exec {program} -q --root {0} run --rm {image} eg -- bash -c \"$0\"",
                host.store.display()
            );
            let output = Command::new("bash").args(["-c", &script, &look]).output().unwrap();
            let out = String::from_utf8_lossy(&output.stdout);
            assert!(!out.contains(&host.store.display().to_string()), "it saw the host: {output:?}");
            assert!(output.status.success() || output.status.code() == Some(125), "{output:?}");
        });
        fs::remove_dir_all(host.store.join(".images").join(&image)).unwrap();
    }
    tally.end();
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn links_planted_from_inside_do_not_lead_what_the_host_writes_out_of_the_container() {
    let host = Host::new("planted-inside");
    let victim = host.store.join("victim");
    fs::write(&victim, "of the host").unwrap();
    host.start("web");
    host.start("db");
    let plant = format!(
        "for file in hosts resolv.conf hostname; do ln -sfn {0} /etc/new-$file; mv -Tf /etc/new-$file /etc/$file; rm -f /etc/$file; ln -sfn {0} /etc/$file; done; \
         rm -rf /proc /dev /sys; mv /etc /etc-old; mkdir /etc; for file in hosts resolv.conf; do ln -s {0} /etc/$file; done; true",
        victim.display()
    );
    host.run(&["exec", "web", "--", "bash", "-c", &plant]);
    host.ok(&["addnetwork", "web"]);
    host.ok(&["addnetwork", "db"]);
    host.ok(&["peer", "web", "db"]);
    let _ = host.run(&["exec", "web", "--", "true"]);
    host.ok(&["stop", "db"]);
    host.ok(&["stop", "web"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host");
}

#[test]
#[ignore = "needs root: make test"]
fn a_run_line_of_a_build_is_stopped_as_a_container_is() {
    let host = Host::new("by-build");
    let before = host.snapshot();
    host.plant_image("armed", install_attacks);
    let context = tempfile::tempdir().unwrap();
    // What it prints must differ from layer to layer, or the second build finds the first one's.
    let mark = format!("{} {}", host.store.display(), std::process::id());
    let file = context.path().join("Conductorfile");
    fs::write(
        &file,
        format!(
            "FROM armed\nENV MARK={} ROUND=\"{mark}\"\nRUN /attacks > /outcomes; ls /dev >> /outcomes\n",
            host.store.display()
        ),
    )
    .unwrap();
    host.ok(&["build", "attacked", file.to_str().unwrap()]);
    let told = host.run(&["-q", "run", "--rm", "attacked", "eg", "--", "cat", "/outcomes"]);
    let mut tally = Tally::new("attempts", "from a RUN line");
    for (name, outcome) in outcomes(&told.out) {
        // The network is the host's there, for packages: a socket of another kind is stopped all the same.
        let answers: &[&str] = match name.as_str() {
            "clone3" => &["ENOSYS"],
            "other-convention" | "other-numbers" => &["SIGSYS", "ENOSYS", "EPERM"],
            "host-by-abstract-socket" => &["NO SOCKET"],
            _ => &STOPPED,
        };
        tally.case(&name, || assert!(answers.contains(&outcome.as_str()), "{outcome}"));
    }
    assert!(tally.end() >= 90);
    host.ok(&["rmi", "attacked"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn nothing_can_be_typed_into_the_callers_terminal() {
    let host = Host::new("typing");
    host.plant_image("armed", install_attacks);
    let words = ["/attacks", "typing-into-a-terminal", "typing-with-high-bits", "console-paste"];
    // script(1) is the person's terminal.
    let command = format!(
        "{} -q --root {} run -t --rm armed eg -- {}",
        env!("CARGO_BIN_EXE_conductor"),
        host.store.display(),
        words.join(" ")
    );
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
    let told = outcomes(&String::from_utf8_lossy(&output.stdout).replace('\r', ""));
    assert_eq!(told.len(), 3, "{output:?}");
    assert!(told.values().all(|outcome| outcome == "EPERM"), "{told:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn devices_and_masks_are_not_what_the_image_says_they_are() {
    let host = Host::new("false-devices");
    let victim = host.store.join("victim");
    fs::write(&victim, "of the host").unwrap();
    host.plant_image("false", |root| {
        fs::create_dir_all(root.join("dev/pts")).unwrap();
        for name in ["null", "zero", "console", "tty", "ptmx", "fd", "shm", "mqueue", "pts/0", "pts/ptmx"] {
            symlink(&victim, root.join("dev").join(name)).unwrap();
        }
    });
    let before = host.snapshot();
    let script = "stat -Lc '%t:%T' /dev/null /dev/zero; echo x > /dev/null; cat /proc/keys | wc -c; ls -ld /dev/console | cut -c1";
    for terminal in [&["run"][..], &["run", "-t"]] {
        let outcome = host.run(&[&["-q"], terminal, &["--rm", "false", "eg", "--", "bash", "-c", script]].concat());
        assert!(outcome.out.replace('\r', "").starts_with("1:3\n1:5\n0\n"), "{outcome:?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host");
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn no_step_on_the_host_runs_a_program_of_the_container() {
    let host = Host::new("helpers");
    host.plant_image("trapped", |root| {
        let folder = root.join("usr/bin");
        fs::create_dir_all(&folder).unwrap();
        // Each tells that it was run; the shell that runs them has another name.
        for name in [
            "nsenter", "ip", "ps", "tar", "sh", "mount", "umount", "iptables", "kill", "cat", "hostname", "true",
            "env", "getent",
        ] {
            fs::write(folder.join(name), format!("#!/usr/bin/bash\necho {name} >> /ran\n")).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // A library that would be loaded by whoever looks a name up in there.
        fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu")).unwrap();
        fs::write(root.join("etc-nsswitch"), "").unwrap();
    });
    for name in ["web", "db"] {
        host.ok(&["run", "-d", "trapped", name, "--", "sleep", "infinity"]);
    }
    for words in [
        &["addnetwork", "web"][..],
        &["addnetwork", "db"],
        &["peer", "web", "db"],
        &["exec", "web", "--", "sleep", "0"],
        &["ps"],
        &["inspect", "web"],
        &["logs", "web"],
        &["images"],
        &["stop", "db"],
    ] {
        host.ok(words);
    }
    assert!(!host.container("web").join("rootfs/ran").exists());
    // The trap works.
    host.ok(&["exec", "web", "--", "true"]);
    assert_eq!(fs::read_to_string(host.container("web").join("rootfs/ran")).unwrap(), "true\n");
    host.ok(&["stop", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_joining_process_exposes_nothing_to_a_watcher() {
    let host = Host::new("watched");
    host.plant_image("armed", install_attacks);
    host.ok(&["run", "-d", "armed", "web", "--", "/attacks", "watch"]);
    wait_for(|| host.ok(&["logs", "web"]).contains("watching").then_some(()));
    // Process 1 is passed over by itself; a second watcher lies in wait as well.
    host.ok(&["stop", "-t", "0", "web"]);
    host.ok(&["run", "-d", "armed", "web", "--", "bash", "-c", "/attacks watch & /attacks watch & wait"]);
    let seen = || host.run(&["-q", "logs", "web"]).out;
    wait_for(|| (seen().matches("watching").count() == 2).then_some(()));
    let mut tally = Tally::new("attempts", "execs, watched from inside");
    for number in 0..if is_full() { 1000 } else { 100 } {
        tally.case(format!("exec {number}"), || {
            let mut exec = host.conductor(&["-q", "exec", "web", "--", "/attacks", "clone3"]);
            let output = exec.env("SECRET", "of the caller").output().unwrap();
            assert!(output.status.success(), "{output:?}");
        });
    }
    assert_eq!(seen(), "watching\nwatching\n", "it saw something");
    tally.end();
    // And it does see who comes in carelessly: with the caller's environment, and rights that are no greater than its own.
    let known: serde_json::Value = serde_json::from_str(&host.run(&["inspect", "web"]).out).unwrap();
    let init = known["init"]["pid"].to_string();
    let mut careless = Command::new("nsenter");
    careless.args([
        "--target",
        &init,
        "--pid",
        "--mount",
        "--",
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "sleep",
        "0.5",
    ]);
    careless.env("SECRET", "of the caller");
    // As often as it takes: on a busy machine the watchers may not have run once while it was there.
    wait_for(|| {
        careless.status().unwrap();
        seen().contains("ENVIRONMENT").then_some(())
    });
    host.ok(&["stop", "-t", "0", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_container_calls_itself_is_shown_without_what_a_terminal_obeys() {
    let host = Host::new("escape-codes");
    let evil = "\x1b[2J\x1b]0;owned\x07\u{9b}31m";
    let before = host.snapshot();
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", "exec sleep infinity", evil]);
    for words in [&["ps"][..], &["images"], &["inspect", "web"], &["ps", "--format", "json"]] {
        let outcome = host.run(words);
        let shown = outcome.out + &outcome.err;
        assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\n'), "{words:?}: {shown:?}");
    }
    for words in [&["exec", "web", "--", evil][..], &["run", "img", "eg", "--", evil]] {
        let outcome = host.run(words);
        assert!(outcome.code == 127 && !outcome.err.contains('\x1b'), "{outcome:?}");
    }
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn what_the_kernel_says_of_a_process_is_the_same_by_run_and_by_exec_to_the_byte() {
    let host = Host::new("status");
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", "cat /proc/self/status; exec sleep infinity"]);
    let by_exec = host.run(&["-q", "exec", "web", "--", "bash", "-c", "cat /proc/self/status; true"]).out;
    let by_run = wait_for(|| Some(host.run(&["-q", "logs", "web"]).out).filter(|log| log.contains("nonvoluntary")));
    // But for its numbers, its memory, and how often it waited or has signals queued.
    let varies =
        ["Tgid", "Pid", "PPid", "NStgid", "NSpid", "NSpgid", "NSsid", "Vm", "Rss", "SigQ", "voluntary", "nonvoluntary"];
    let same = |text: &str| -> Vec<String> {
        let (_, text) = text.split_at(text.find("Name:").unwrap());
        text.lines().filter(|line| !varies.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
    };
    assert_eq!(same(&by_run), same(&by_exec));
    assert!(same(&by_run).len() > 25, "{by_run}");
    host.ok(&["stop", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_hundred_execs_leave_nothing_in_the_container_or_on_the_host() {
    let host = Host::new("many-execs");
    host.start("web");
    let inside = || {
        host.ok(&[
            "exec",
            "web",
            "--",
            "bash",
            "-c",
            "set -- /proc/[0-9]*; echo $#; wc -l </proc/1/mountinfo; ls /dev/pts",
        ])
    };
    let before = (inside(), host.snapshot());
    for _ in 0..if is_full() { 1000 } else { 100 } {
        let mut child = host.piped(&["exec", "web", "--", "cat"]);
        feed(&mut child, b"x");
        assert!(child.wait_with_output().unwrap().status.success());
        // And with a terminal, which is a device in the container: the last one is given back, so it is the first again.
        let terminal = host.run(&["-q", "exec", "-t", "web", "--", "tty"]);
        assert_eq!((terminal.code, terminal.out.as_str()), (0, "/dev/pts/0\r\n"), "{terminal:?}");
    }
    assert_eq!((inside(), host.snapshot()), before);
}
