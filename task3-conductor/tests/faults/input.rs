//! Input that means nothing: names, ports, numbers, words and files that conductor must refuse, each in a few lines that
//! say what would be right, with code 125, and without having touched anything.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::test_store::{IMAGE, TestStore};
use testlab::host::Outcome;
use testlab::tally::Tally;

/// What no name may be: paths, options, shell's words, letters that only look alike or turn the line round, and lengths.
pub fn names() -> Vec<String> {
    let plain = [
        "",
        ".",
        "..",
        "../x",
        "/etc",
        "a/b",
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\n",
        "\n",
        "é",
        "ａ",
        "😀",
        "x\u{202e}y",
        "\u{200b}a",
        "a;b",
        "$(id)",
        "`id`",
        "'",
        "\"",
        "a'b",
        "a:b",
        "a,b",
        "%s",
        "a.",
        ".a",
        "-",
        "-x",
        "--",
        "--rm=no",
        "a-",
        "a_",
        "*",
        "~",
        "a\\b",
        "a|b",
        "a&b",
        "a>b",
        "a=b",
        "a#b",
        "a@b",
        "a+b",
        "\x1b[2J",
        "a\x07",
        "a\x7f",
        "..a",
        "a/",
        "//",
    ];
    let long = [64, 65, 255, 256, 5000].map(|length| "x".repeat(length));
    plain.into_iter().map(str::to_owned).chain(long).collect()
}

/// Commands with a name in them; `?` is where it goes.
const SLOTS: [&[&str]; 14] = [
    &["run", "?", "new"],
    &["run", IMAGE, "?"],
    &["run", "-d", IMAGE, "?", "--", "true"],
    &["exec", "?"],
    &["exec", "?", "--", "true"],
    &["stop", "?"],
    &["logs", "?"],
    &["inspect", "?"],
    &["addnetwork", "?"],
    &["peer", "?", "eg"],
    &["peer", "eg", "?"],
    &["rmi", "?"],
    &["build", "?", "--from", "host"],
    &["build", "made", "--from", "?"],
];

#[test]
#[ignore = "needs root: make test"]
fn an_invalid_name_is_refused_in_every_argument() {
    let store = TestStore::new("input-names");
    for slot in SLOTS {
        let command: Vec<&str> = slot.iter().map(|word| if *word == "?" { "NAME" } else { *word }).collect();
        refused_each(
            &store,
            "names",
            &command.join(" "),
            names().iter().map(|name| {
                let words = slot.iter().map(|word| if *word == "?" { name.as_str() } else { word });
                (format!("{name:?}"), words.map(OsString::from).collect())
            }),
        );
    }
}

#[test]
#[ignore = "needs root: make test"]
fn ports_subnets_numbers_and_words_that_are_none_are_refused() {
    let store = TestStore::new("input-words");
    store.host.start("db");
    let ports = [
        "",
        "0",
        "80",
        "65536",
        "80-",
        "-80",
        ":80",
        "80:",
        "a-b",
        "80-80-80",
        "1:2:3",
        "1:2-3",
        "1e3:80",
        " 80-80",
        "80:80 ",
        "0:80",
        "80:0",
        "65536:80",
        "80:65536",
        "+80:80",
        "-80:80",
        "٣:٤",
        "８０:80",
        "80:80/sctp",
        "80:80/",
        "80:80/tcp/udp",
        "80,80",
        "0x50:80",
        "80:80/TCP",
        "127.0.0.1:80",
        "localhost:80:80",
        "1.2.3.4.5:80:80",
        "::1:80:80",
        "80-82:80",
        "82-80:82-80",
        "1-2000:1-2000",
        "80.0:80",
        "99999999999999999999:80",
        "80:\n80",
    ];
    let expose = |text: &&str| (format!("{text:?}"), words(&["addnetwork", "eg", &format!("--expose={text}")]));
    refused_each(&store, "ports", "addnetwork --expose", ports.iter().map(expose));

    let pools = [
        "x",
        "192.168.0.0",
        "192.168.0.0/",
        "/16",
        "192.168.0.0/33",
        "192.168.0.0/-1",
        "192.168.0/16",
        "192.168.0.0.0/16",
        "300.0.0.0/16",
        "192.168.0.0/16/16",
        "fe80::/64",
        "192.168.0.0/1a",
        " 10.0.0.0/8",
        "10.0.0.1/32",
        "192.168.0.0/24",
    ];
    let pool = |text: &&str| (format!("{text:?}"), words(&["addnetwork", "db", &format!("--pool={text}")]));
    refused_each(&store, "numbers", "addnetwork --pool", pools.iter().map(pool));

    let times = ["-1", "abc", "", " 1", "1 ", "1.5", "65536", "99999999999999999999", "+", "1e1", "0x1", "٣", "1s"];
    let time = |text: &&str| (format!("{text:?}"), words(&["stop", &format!("--time={text}"), "eg"]));
    refused_each(&store, "numbers", "stop --time", times.iter().map(time));

    for verb in [&["run", IMAGE, "new"][..], &["exec", "eg"]] {
        let variables = ["", "=", "=x", "A", "A B"];
        let variable =
            |text: &&str| (format!("{text:?}"), words(&[verb, &[&format!("--env={text}"), "--", "true"]].concat()));
        refused_each(&store, "words", &format!("{} --env", verb[0]), variables.iter().map(variable));
    }
    let long = ["x".repeat(64), "x.".repeat(40), "x".repeat(5000)];
    let hostnames = ["", " ", "a b", "-a", "a-", "a..b", ".a", "a.", "é", "a_b", "a/b", "a\nb", "$(id)", "\x1b[2J"];
    let hostnames: Vec<&str> = hostnames.into_iter().chain(long.iter().map(String::as_str)).collect();
    let hostname = |text: &&str| (format!("{text:?}"), words(&["run", &format!("--hostname={text}"), IMAGE, "new"]));
    refused_each(&store, "words", "run --hostname", hostnames.iter().map(hostname));

    let bases = [
        "alpine:3",
        "debian:",
        "ubuntu:",
        "debian:../x",
        "debian:Bookworm",
        "debian:a b",
        "host:x",
        "a/b",
        "http://x",
        ":",
        "",
    ];
    let base = |text: &&str| (format!("{text:?}"), words(&["build", "made", &format!("--from={text}")]));
    refused_each(&store, "words", "build --from", bases.iter().map(base));
    let mirrors = ["x", "ftp://x", "http://", "https://", "file://", "http://a b", "-x", "http:/x"];
    let mirror =
        |text: &&str| (format!("{text:?}"), words(&["build", "made", "--from=host", &format!("--mirror={text}")]));
    refused_each(&store, "words", "build --mirror", mirrors.iter().map(mirror));
    let formats = ["", "xml", "JSON", "json ", "{{.ID}}"];
    for verb in ["ps", "images"] {
        let format = |text: &&str| (format!("{text:?}"), words(&[verb, &format!("--format={text}")]));
        refused_each(&store, "words", &format!("{verb} --format"), formats.iter().map(format));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn commands_that_are_none_or_lack_a_part_are_refused_and_the_nearest_is_named() {
    let store = TestStore::new("input-forms");
    let forms: &[&[&str]] = &[
        &[],
        &[""],
        &["--"],
        &["-z"],
        &["--no-such-flag"],
        &["nonsense"],
        &["RUN", IMAGE, "new"],
        &["run"],
        &["run", IMAGE],
        &["run", "--no-such-flag", IMAGE, "new"],
        &["run", "--env"],
        &["run", "--rm=yes", IMAGE, "new"],
        &["run", "--rm", "--rm", IMAGE, "new"],
        &["run", "-d", "-t", IMAGE, "new"],
        &["run", "--hostname", "a", "--hostname", "b", IMAGE, "new"],
        &["exec"],
        &["exec", "--no-such-flag", "eg"],
        &["exec", "none"],
        &["stop"],
        &["stop", "eg", "--time"],
        &["stop", "-t", "1", "-t", "2", "eg"],
        &["stop", "none"],
        &["ps", "extra"],
        &["ps", "--no-such-flag"],
        &["images", "extra"],
        &["logs"],
        &["logs", "none"],
        &["logs", "eg", "extra"],
        &["inspect"],
        &["inspect", "none"],
        &["addnetwork"],
        &["addnetwork", "none"],
        &["addnetwork", "eg", "extra"],
        &["addnetwork", "eg", "-e"],
        &["addnetwork", "eg", "-e", "1:2", "-e", "1:3"],
        &["addnetwork", "eg", "-i", "--interface", "none0"],
        &["addnetwork", "eg", "-i", "--interface", "../x"],
        &["addnetwork", "eg", "-i", "--interface", "a b"],
        &["peer"],
        &["peer", "eg"],
        &["peer", "eg", "eg"],
        &["peer", "eg", "none"],
        &["peer", "eg", "db", "extra"],
        &["rmi"],
        &["rmi", "none"],
        &["rmi", IMAGE],
        &["rmcache", "extra"],
        &["build"],
        &["build", "made", "/no/such/file"],
        &["build", "made", "a", "b"],
        &["build", "made", "a", "--from", "host"],
        &["run", "none", "new"],
        &["run", IMAGE, "eg"],
        &["--root"],
        &["--root", "/dev/null", "ps"],
        &["--root", "/proc/none", "ps"],
        &["--root", "", "ps"],
        &["--root", "/dev/null/x", "run", IMAGE, "new"],
    ];
    store.host.start("eg");
    refused_each(
        &store,
        "forms",
        "words in the wrong place",
        forms.iter().map(|form| (format!("{form:?}"), words(form))),
    );
    let bytes: &[&[&[u8]]] = &[
        &[b"run", b"\xff", b"new"],
        &[b"exec", b"eg", b"--", b"\xff"],
        &[b"run", b"img", b"new", b"-e", b"A=\xff"],
        &[b"\xff"],
        &[b"stop", b"e\xc3"],
    ];
    let bytes = bytes
        .iter()
        .map(|form| (format!("{form:?}"), form.iter().map(|word| OsStr::from_bytes(word).to_owned()).collect()));
    refused_each(&store, "forms", "bytes that are no text", bytes);
    let long = "x".repeat(5000);
    // Longer than a file's name can be.
    let folder = "x".repeat(300);
    let mut lots = vec!["run", "--rm"];
    lots.extend(std::iter::repeat_n("-e", 10_000));
    let lengths =
        [(long.as_str(), vec![long.as_str()]), ("long root", vec!["--root", &folder, "ps"]), ("10 000 options", lots)];
    refused_each(
        &store,
        "forms",
        "lengths",
        lengths.iter().map(|(name, form)| (name.get(..9).unwrap_or(name).to_owned(), words(form))),
    );

    let mut tally = Tally::new("bad inputs", "forms: the nearest command is named");
    for (typed, meant) in [
        ("rum", "run"),
        ("stpo", "stop"),
        ("exce", "exec"),
        ("image", "images"),
        ("biuld", "build"),
        ("adnetwork", "addnetwork"),
        ("inspekt", "inspect"),
        ("per", "peer"),
        ("log", "logs"),
        ("rmcach", "rmcache"),
    ] {
        tally.case(typed, || {
            let outcome = store.host.run(&[typed]);
            assert!(outcome.code == 125 && outcome.err.contains(&format!("'{meant}'")), "{outcome:?}");
        });
    }
    tally.end();
    let settings = [
        ("CONDUCTOR_SUBNET_POOL", "nonsense", &["addnetwork", "eg"][..]),
        ("CONDUCTOR_SUBNET_POOL", "", &["addnetwork", "eg"]),
        ("CONDUCTOR_DEFAULT_IFC", "none0", &["addnetwork", "eg", "-i"]),
        ("CONDUCTOR_IMAGE_FROM", "nonsense:x", &["build", "made"]),
        ("CONDUCTOR_MIRROR", "nonsense", &["build", "made", "--from", "host"]),
    ];
    let mut tally = Tally::new("bad inputs", "forms: settings of the environment");
    let before = store.snapshot(true);
    for (variable, value, command) in settings {
        tally.case(format!("{variable}={value:?}"), || {
            let mut command = store.host.conductor(command);
            let output = command
                .env(variable, value)
                .env("RUST_BACKTRACE", "1")
                .current_dir(store.context.path())
                .output()
                .unwrap();
            assert_refused(&outcome(&output));
            store.assert_unchanged(&before, "afterwards");
        });
    }
    tally.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_conductorfile_with_a_mistake_is_refused_with_its_line_and_a_caret() {
    let store = TestStore::new("input-conductorfile");
    let long = format!("FROM img\nCOPY {} /x more\n", "x".repeat(1 << 20));
    let mistakes: &[(&str, &[u8])] = &[
        ("1:1", b""),
        ("1:1", b"\n\n"),
        ("1:1", b"\xef\xbb\xbf"),
        ("1:1", b"# only a comment\n"),
        ("1:1", b"RUN true\nFROM img\n"),
        ("1:1", b"nonsense\n"),
        ("1:1", b"FROMimg\n"),
        ("1:5", b"FROM\n"),
        ("1:6", b"FROM alpine:3\n"),
        ("1:6", b"FROM debian:../x\n"),
        ("1:6", b"FROM a/b\n"),
        ("1:6", b"FROM $(id)\n"),
        ("1:10", b"FROM img AS x\n"),
        ("2:1", b"FROM img\nFROM img\n"),
        ("2:1", b"FROM img\r\nCOPPY a /b\r\n"),
        ("2:2", b"FROM img\n\tCOPPY a /b\n"),
        ("2:1", b"FROM img\n\xff\n"),
        ("2:1", b"FROM img\nRUN \xc3\n"),
        ("2:4", b"FROM img\nRUN\n"),
        ("2:6", b"FROM img\nRUN a\0b\n"),
        ("2:7", b"FROM img\nRUN a \\"),
        ("2:11", b"FROM img\nRUN [\"a\", b]\n"),
        ("2:6", b"FROM img\nRUN ['a']\n"),
        ("2:5", b"FROM img\nCOPY\n"),
        ("2:7", b"FROM img\nCOPY a\n"),
        ("2:10", b"FROM img\nCOPY a b c\n"),
        ("2:6", b"FROM img\nCOPY --chown=1 a b\n"),
        ("2:6", b"FROM img\nCOPY \"a b\n"),
        ("2:6", b"FROM img\nCOPY 'a b\n"),
        ("2:6", b"FROM img\nCOPY ../x /x\n"),
        ("2:6", b"FROM img\nCOPY a/../../x /x\n"),
        ("2:6", b"FROM img\nCOPY /etc/shadow /x\n"),
        ("2:6", b"FROM img\nCOPY \"\" /x\n"),
        ("2:6", b"FROM img\nCOPY $NONE /x\n"),
        ("2:8", b"FROM img\nCOPY a \"\"\n"),
        ("2:1", b"FROM img\nCOPY none /x\n"),
        ("2:1", b"FROM img\nADD a /x\n"),
        ("2:1", b"FROM img\nEXPOSE 80\n"),
        ("2:1", b"FROM img\nUSER nobody\n"),
        ("2:4", b"FROM img\nENV\n"),
        ("2:6", b"FROM img\nENV A\n"),
        ("2:9", b"FROM img\nENV A=1 B\n"),
        ("2:5", b"FROM img\nENV =x\n"),
        ("2:5", b"FROM img\nENV 1A=x\n"),
        ("2:5", b"FROM img\nENV A-B=x\n"),
        ("2:8", b"FROM img\nWORKDIR\n"),
        ("2:11", b"FROM img\nWORKDIR a b\n"),
        ("2:10", b"FROM img\nWORKDIR /${A\n"),
        ("2:10", b"FROM img\nWORKDIR /$-\n"),
        ("2:4", b"FROM img\nCMD\n"),
        ("2:5", b"FROM img\nCMD []\n"),
        ("2:1", b"FROM img\n\x1b[2J\n"),
        ("2:1", "FROM img\n\u{202e}NUR\n".as_bytes()),
        ("2:1048586", long.as_bytes()),
    ];
    store.host.start("eg");
    let before = store.snapshot(true);
    let file = store.context.path().join("Conductorfile");
    let mut tally = Tally::new("bad inputs", "Conductorfiles");
    for (place, text) in mistakes {
        let name = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        tally.case(format!("{name:?}"), || {
            fs::write(&file, text).unwrap();
            let refused = store.host.run(&["build", "made", file.to_str().unwrap()]);
            assert_eq!(refused.code, 125, "{refused:?}");
            let told = refused.err.split_once("conductor: ").unwrap().1;
            assert!(told.contains(&format!("Conductorfile:{place}: ")), "{told}");
            // An empty file has no line to point into.
            let lines: Vec<&str> = told.lines().collect();
            assert!(lines.len() == 3 && lines[2].contains('^') && lines.iter().all(|line| line.len() < 500), "{told}");
            assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
            assert!(!told.contains("panicked") && !told.contains("backtrace"), "{told}");
        });
    }
    tally.end();
    store.assert_unchanged(&before, "after all of them");
}

#[test]
#[ignore = "needs root: make test"]
fn names_that_only_look_dangerous_work_from_beginning_to_end() {
    let store = TestStore::new("input-good-names");
    let before = store.baseline(true);
    let long = "x".repeat(63);
    let mut tally = Tally::new("good inputs", "names, used from build to stop");
    for name in [
        "0",
        "all",
        "host",
        "none",
        "a",
        "A",
        "-1".trim_start_matches('-'),
        "web-1",
        "a.b_c-d",
        "con",
        "null",
        "build",
        "run",
        "lo",
        &long,
    ] {
        tally.case(name, || {
            // A base that is called by a word of conductor's own cannot be a base of another image, and is one otherwise.
            store.host.ok(&["build", name, "--from", "host"]);
            store.host.ok(&["run", "-d", name, name, "--", "sleep", "infinity"]);
            store.host.ok(&["addnetwork", name, "-i"]);
            store.host.ok(&["exec", name, "--", "ping", "-c1", "-W2", "192.168.1.1"]);
            assert!(store.host.ok(&["ps"]).contains(name) && store.host.ok(&["images"]).contains(name));
            store.host.ok(&["stop", "-t", "0", name]);
            store.host.ok(&["rmi", name]);
            store.assert_unchanged(&before, "afterwards");
        });
    }
    tally.end();
    // Names that differ in case only are two.
    store.host.start("web");
    store.host.start("WEB");
    store.host.ok(&["addnetwork", "web"]);
    store.host.ok(&["addnetwork", "WEB"]);
    store.host.ok(&["exec", "WEB", "--", "touch", "/only-here"]);
    assert_eq!(store.host.run(&["exec", "web", "--", "ls", "/only-here"]).code, 2);
    store.host.ok(&["stop", "web"]);
    store.host.ok(&["exec", "WEB", "--", "ping", "-c1", "-W2", "192.168.2.1"]);
    store.host.ok(&["stop", "WEB"]);
    store.assert_unchanged(&before, "after all of them");
}

pub fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Each of these commands must be refused, and none may leave anything.
pub fn refused_each(
    store: &TestStore,
    kind: &'static str,
    of: &str,
    cases: impl Iterator<Item = (String, Vec<OsString>)>,
) {
    let mut tally = Tally::new("bad inputs", format!("{kind}: {of}"));
    if !store.host.container("eg").exists() {
        store.host.start("eg");
        store.host.ok(&["addnetwork", "eg"]);
    }
    let before = store.snapshot(true);
    for (name, words) in cases {
        tally.case(name, || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
            command.env("CONDUCTOR_ROOT", &store.host.store).env("RUST_BACKTRACE", "1").args(words);
            command.stdin(std::process::Stdio::null()).current_dir(store.context.path());
            assert_refused(&outcome(&command.output().unwrap()));
        });
    }
    tally.end();
    store.assert_unchanged(&before, of);
}

fn outcome(output: &std::process::Output) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// One line of ours, or clap's few with the right form; nothing that a terminal obeys, nothing about the program's inside.
fn assert_refused(outcome: &Outcome) {
    let Outcome { code, out, err } = outcome;
    assert_eq!(*code, 125, "{err}");
    assert!(!err.contains("panicked") && !err.contains("backtrace") && !err.contains("src/"), "{err}");
    assert!(!err.chars().any(|letter| letter.is_control() && letter != '\n'), "{err:?}");
    assert!(!err.contains(['\u{202e}', '\u{200b}']), "{err:?}");
    assert!(err.len() < 1000, "{} bytes: {err}", err.len());
    let is_ours = err.starts_with("conductor: cannot ") && err.lines().count() == 1;
    let is_usage = err.starts_with("error: ")
        && err.lines().count() <= 9
        && err.ends_with("For more information, try '--help'.\n");
    assert!(is_ours || is_usage, "{err}");
    assert!(out.is_empty() || out == "CS695 Conductor that manages containers\n", "{out}");
}
