//! The lessons: `attack` and `isolation`. What they say is compared with what the kernel does.

use std::collections::BTreeMap;
use std::fs;

use testlab::host::Host;

/// Attempts that some hosts refuse to everybody: their own root lacks the capability, or the kernel was set so.
const MAY_FAIL_ANYWHERE: [&str; 4] = ["oom-score", "kexec", "load-module", "io-uring"];

/// What came of all attacks in a container with these flags: verdict, and the flags that are said to open it.
fn attack(host: &Host, flags: &[&str]) -> BTreeMap<String, (String, Vec<String>)> {
    host.ok(&[&["run", "-d"], flags, &["img", "eg", "--", "sleep", "infinity"]].concat());
    let before = host.ok(&["exec", "eg", "--", "bash", "-c", "ls -A / /mnt; cat /proc/mounts | sort"]);
    let outcome = host.run(&["attack", "--format", "json", "eg"]);
    assert_eq!(
        host.ok(&["exec", "eg", "--", "bash", "-c", "ls -A / /mnt; cat /proc/mounts | sort"]),
        before,
        "nothing is left"
    );
    host.ok(&["rm", "-f", "eg"]);
    let tried: serde_json::Value = serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{outcome:?}"));
    let tried = tried.as_array().unwrap().iter().map(|tried| {
        let text = |key: &str| tried[key].as_str().unwrap().to_owned();
        let flags = tried["opened_by"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap().to_owned());
        (text("name"), (text("verdict"), flags.collect()))
    });
    let tried: BTreeMap<_, _> = tried.collect();
    let through = tried.values().any(|(verdict, _)| verdict == "got-through");
    assert_eq!(outcome.code, i32::from(through), "{outcome:?}");
    tried
}

#[test]
#[ignore = "needs root: make test"]
fn every_attack_is_stopped_and_the_flag_that_is_named_lets_it_through() {
    let host = Host::new("lessons");
    let before = host.snapshot();
    let contained = attack(&host, &[]);
    assert!(contained.len() >= 47, "{}", contained.len());
    for (name, (verdict, _)) in &contained {
        assert_ne!(verdict, "got-through", "{name}");
    }
    let mut groups: Vec<&Vec<String>> = contained.values().map(|(_, flags)| flags).collect();
    groups.sort();
    groups.dedup();
    let (mut through, mut not_here) = (0, Vec::new());
    for flags in groups {
        let opened = attack(&host, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        for (name, (verdict, _)) in opened.iter().filter(|(_, (_, opened_by))| opened_by == flags) {
            match verdict.as_str() {
                "got-through" => through += 1,
                "nothing-there" => not_here.push(name.clone()),
                _ => {
                    assert!(MAY_FAIL_ANYWHERE.contains(&name.as_str()), "{name} is stopped in spite of {flags:?}");
                    not_here.push(name.clone());
                }
            }
        }
    }
    println!(
        "attacks: {} tried, all stopped; {through} seen to get through with the flag that is named; not runnable here: {}",
        contained.len(),
        not_here.join(", ")
    );
    assert!(through >= 40, "{through}");
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_flag_opens_what_it_names_and_nothing_else() {
    let host = Host::new("one-flag");
    let through = |flags: &[&str]| -> Vec<String> {
        let all = attack(&host, flags).into_iter();
        all.filter(|(_, (verdict, _))| verdict == "got-through").map(|(name, _)| name).collect()
    };
    assert_eq!(through(&["--cap-add", "SYS_TIME"]), ["clock"]);
    assert_eq!(through(&["--cap-add", "NET_RAW"]), ["raw-ip", "raw-packets"]);
    assert_eq!(through(&["--cap-add", "MKNOD"]), ["mknod-disk", "mknod-memory"]);
    assert!(!through(&["--privileged"]).contains(&"chroot-escape".to_owned()), "its root is still its own");
}

#[test]
#[ignore = "needs root: make test"]
fn the_table_of_attacks_says_why_and_what_the_flag_is() {
    let host = Host::new("table");
    host.start("web");
    let outcome = host.run(&["-q", "attack", "web"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let line = |start: &str| outcome.out.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(
        line("raw-packets").contains("stopped") && line("raw-packets").ends_with("--cap-add NET_RAW would allow it"),
        "{outcome:?}"
    );
    assert!(outcome.out.lines().last().unwrap().contains(" 0 got through"), "{outcome:?}");
    host.ok(&["kill", "web"]);
    host.ok(&["wait", "web"]);
    assert!(host.run(&["attack", "web"]).err.contains("cannot attack from container web: its first process has ended"));
}

#[test]
#[ignore = "needs root: make test"]
fn isolation_shows_the_kernels_own_numbers_side_by_side() {
    let host = Host::new("isolation");
    host.ok(&["run", "-d", "--memory", "64m", "--cpus", "0.5", "img", "web", "--", "sleep", "infinity"]);
    let shown = host.run(&["-q", "isolation", "web"]).out;
    let row = |start: &str| {
        shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {shown}")).to_owned()
    };
    let known: serde_json::Value = serde_json::from_str(&host.ok(&["inspect", "web"])).unwrap();
    let pid = known["init"]["pid"].as_i64().unwrap();
    for kind in ["uts", "pid", "net", "mnt", "ipc", "cgroup", "user", "time"] {
        let number = |of: &str| {
            let link = fs::read_link(format!("/proc/{of}/ns/{kind}")).unwrap().to_string_lossy().into_owned();
            link.split(['[', ']']).nth(1).unwrap().to_owned()
        };
        let (ours, theirs) = (number("thread-self"), number(&pid.to_string()));
        let words: Vec<String> = row(&format!("{kind} namespace")).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words[2..4], [ours.clone(), theirs.clone()], "{shown}");
        assert_eq!(words[4] == "SHARED:", ours == theirs, "{shown}");
    }
    for (start, end) in [
        (
            "capabilities",
            "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,SETFCAP",
        ),
        ("no_new_privs", "set-user-ID programs gain no privileges"),
        ("seccomp filter", "each system call is filtered"),
        ("limit: memory", "64M"),
        ("limit: CPU time", "0.5 cores"),
    ] {
        assert!(row(start).ends_with(end), "{}", row(start));
    }
    assert!(
        row("root").contains("overlay")
            && row("/proc/sys").contains("read-only")
            && row("/proc/keys").contains("masked")
    );
    assert!(row("devices").split_whitespace().nth(2) == Some("6"), "{}", row("devices"));
    assert!(row("Shared:").contains("user namespace, time namespace; the kernel"), "{shown}");
    host.run(&["run", "-d", "--weak", "chroot", "img", "weak", "--", "sleep", "infinity"]);
    let weak = host.run(&["-q", "isolation", "weak"]).out;
    assert!(
        weak.contains("SHARED: view of the cgroups") && weak.contains("Weak: the host's whole file tree"),
        "{weak}"
    );
}
