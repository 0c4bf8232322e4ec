//! Values of flags that mean nothing: users, folders, volumes, limits, capabilities, signals, paths of copies. Each is refused
//! in few words that say what would be right, with nothing touched.

use std::ffi::OsString;

use crate::input::{names, refused_each, words};
use crate::test_store::{IMAGE, TestStore};

/// A flag of `run` and `exec`, and what it does not take.
#[rustfmt::skip]
const OF_A_PROCESS: &[(&str, &[&str])] = &[
    ("--user", &[
        "", ":", "1000:", ":5", ":root", "-1", "+1", "4294967295", "4294967296", "99999999999999999999", "1000x", "0x10",
        "1:2:3", "root:", "root:-1", "root:1x", "ro ot", "é", "a/b", "root\n", "$(id)", " 1", "1 ", "٣", "\x1b[2J", "root:x y",
        "-root", "a,b", "root;id",
    ]),
    ("--workdir", &["", ".", "..", "srv", "./srv", "../srv", "~", "$HOME", " /srv", "C:\\", "\x1b[2J"]),
    ("--env", &["", "=", "=x", "A", "A B", "A B=1", " A=1", "\tA=1"]),
    ("--env-file", &["", "/no/such/file", "/", "/etc/passwd", "/dev/null/x"]),
];

/// A flag of `run`, and what it does not take.
#[rustfmt::skip]
const OF_A_CONTAINER: &[(&str, &[&str])] = &[
    ("--volume", &[
        "", ":", "::", "/etc", "/etc:", ":/x", "/a:/", "/a://", "/a:/.", "/a:/..", "/a:/../..", "/a:/b/../c", "/a:b", "/a:./b",
        "/a:/proc", "/a:/proc/", "/a:/proc/sys", "/a:/sys", "/a:/sys/fs/cgroup", "/a:/dev", "/a:/dev/shm", "/a:/./proc", "/a://proc",
        "/a:/b:", "/a:/b:x", "/a:/b:RO", "/a:/b:ro:rw", "/a:/b:z", "/a:/b:/c", "a:/b", "data:/data", "~:/b", "-:/b", " /a:/b",
        "/a: /b", "\x1b[2J:/b", "/no/such/folder:/b", "./no-such:/b",
    ]),
    ("--cpus", &[
        "", "0", "0.0", "0.001", "-1", "+1", "1.", ".", "1e3", "nan", "NaN", "inf", "-0", "9999", "1,5", " 1", "1 ", "0x1", "1/2",
        "99999999999999999999", "٣", "all", "1.23456", "1.-5",
    ]),
    ("--memory", &[
        "", "0", "-1", "+8m", "1k", "1m", "5m", "6291455", "99P", "1 g", "1g ", " 1g", "g", "m", ".g", "1.g", "1.5.5g", "0x10m", "8mm", "8 m", "٣m", "1e9",
        "99999999999999999999", "99999999t", "unlimited", "max", "-1m", "512%",
    ]),
    ("--pids-limit", &["", "-2", "--1", "-0", "+7", "7.0", " 7", "7 ", "4194305", "99999999999999999999", "many", "max", "unlimited", "0x7", "٣", "1k"]),
    ("--tmpfs", &[
        "", ":", "/", "/.", "/..", "/a/../b", "tmp", "./tmp", " /tmp", "/proc", "/proc/sys", "/sys", "/dev", "/dev/shm/x", "/tmp:", "/tmp:size",
        "/tmp:size=", "/tmp:size=0", "/tmp:size=1", "/tmp:size=-1", "/tmp:size=50%", "/tmp:size=1m:ro", "/tmp:size=1m,,exec", "/tmp:rw", "/tmp:EXEC",
        "/tmp:mode=777", "/etc/passwd", "\x1b[2J",
    ]),
    ("--shm-size", &["", "0", "1", "-1", "+8m", "1 g", "g", "50%", "1e9", "99999999t", "max", "٣m"]),
    ("--cap-add", &["", " ", "NO_SUCH", "CAP_", "CAP_NO_SUCH", "NET_RAW ", "net raw", "41", "-1", "ALL,", ",", "NET_RAW,NO_SUCH", "all all", "\x1b[2J", "CAP_CAP_KILL"]),
    ("--cap-drop", &["", "NO_SUCH", "CAP_", "KILL;id", "none", "KILL,,CHOWN"]),
    ("--weak", &["", "strong", "CHROOT", "chroot ", "none", "0"]),
    ("--read-only", &["", "yes", "true", "0"]),
    ("--init", &["", "yes", "true"]),
    ("--privileged", &["", "yes", "true"]),
];

#[test]
#[ignore = "needs root: make test"]
fn values_of_flags_that_are_none_are_refused() {
    let store = TestStore::new("values-flags");
    for (flag, values) in OF_A_PROCESS.iter().chain(OF_A_CONTAINER) {
        let run = |value: &&str| {
            (format!("{value:?}"), words(&["run", "--rm", &format!("{flag}={value}"), IMAGE, "new", "--", "true"]))
        };
        refused_each(&store, "flags", &format!("run {flag}"), values.iter().map(run));
    }
    for (flag, values) in OF_A_PROCESS {
        let exec =
            |value: &&str| (format!("{value:?}"), words(&["exec", &format!("{flag}={value}"), "eg", "--", "true"]));
        refused_each(&store, "flags", &format!("exec {flag}"), values.iter().map(exec));
    }
    let signals = [
        "",
        "32",
        "RTMIN-1",
        "RTMAX+1",
        "-9",
        "+9",
        "65",
        "99",
        "9 ",
        "SIG",
        "NOSUCH",
        "SIGSIGTERM",
        "TERM,HUP",
        "9.0",
        "0x9",
        "٣",
        "\x1b[2J",
    ];
    let kill = |value: &&str| (format!("{value:?}"), words(&["kill", &format!("--signal={value}"), "eg"]));
    refused_each(&store, "flags", "kill --signal", signals.iter().map(kill));
    let shells = ["", "sh", "csh", "BASH", "bash "];
    let completions = |value: &&str| (format!("{value:?}"), words(&["completions", value]));
    refused_each(&store, "flags", "completions", shells.iter().map(completions));
    for verb in ["stats", "attack"] {
        let format = |value: &&str| (format!("{value:?}"), words(&[verb, "eg", &format!("--format={value}")]));
        refused_each(&store, "flags", &format!("{verb} --format"), ["", "xml", "JSON"].iter().map(format));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn copies_from_nowhere_to_nowhere_and_between_two_of_a_kind_are_refused() {
    let store = TestStore::new("values-cp");
    let copies: &[&[&str]] = &[
        &["cp"],
        &["cp", "eg:/etc"],
        &["cp", "a", "b"],
        &["cp", "eg:/etc", "eg:/tmp"],
        &["cp", "eg:/etc", "db:/tmp"],
        &["cp", "-", "eg:/tmp"],
        &["cp", "eg:/etc/passwd", "-"],
        &["cp", "", "eg:/tmp"],
        &["cp", "eg:/etc/passwd", ""],
        &["cp", "eg:", "x"],
        &["cp", ":/etc", "x"],
        &["cp", "none:/etc", "x"],
        &["cp", "a b:/etc", "x"],
        &["cp", "$(id):/etc", "x"],
        &["cp", "eg:/no/such", "x"],
        &["cp", "eg:/etc/passwd/x", "x"],
        &["cp", "eg:/etc/passwd", "no/such/folder"],
        &["cp", "eg:/etc/passwd", "no-folder/"],
        &["cp", "eg:/etc", "/dev/null"],
        &["cp", "/no/such", "eg:/tmp"],
        &["cp", "/dev/null", "eg:/tmp/x"],
        &["cp", "/etc/hostname", "eg:/no/such/x"],
        &["cp", "/etc/hostname", "eg:/etc/passwd/x"],
        &["cp", "/etc/hostname", "eg:/proc/1/x"],
        &["cp", "/etc/hostname", "eg:/proc/sys/vm/swappiness"],
        &["cp", "eg:/a", "b", "c"],
        &["commit"],
        &["commit", "eg"],
        &["commit", "none", "made"],
        &["commit", "eg", "a/b"],
        &["wait"],
        &["wait", "none"],
        &["kill", "none"],
        &["rm", "none"],
        &["rm", "eg"],
        &["stats", "none", "--no-stream"],
        &["isolation", "none"],
        &["attack", "none"],
        &["network"],
        &["network", "chekc"],
        &["network", "check", "eg"],
        &["network", "reload", "--pool", "x"],
        &["stop", "--all", "eg"],
    ];
    refused_each(&store, "forms", "cp and others", copies.iter().map(|form| (format!("{form:?}"), words(form))));
    for slot in [
        &["kill", "?"][..],
        &["wait", "?"],
        &["rm", "?"],
        &["isolation", "?"],
        &["attack", "?"],
        &["commit", "?", "made"],
        &["commit", "eg", "?"],
    ] {
        let fill = |name: &String| -> Vec<OsString> {
            slot.iter().map(|word| if *word == "?" { name.as_str() } else { word }).map(OsString::from).collect()
        };
        let cases = names().into_iter().map(|name| (format!("{name:?}"), fill(&name)));
        refused_each(&store, "names", &slot.join(" ").replace('?', "NAME"), cases);
    }
}
