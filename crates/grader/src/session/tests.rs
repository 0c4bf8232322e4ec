//! Sessions with small tools of our own: what is there, what is reached, and that nothing stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::record::steps::Addresses;
use crate::submission::{Submission, kit::Kit};
use crate::task::Task;

/// Runs `steps` with a `conductor.sh` of this text, and returns the record.
fn with_tool(script: &str, steps: impl FnOnce(&mut Session<'_>)) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task3/conductor.sh");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/bash\n{script}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let submission = Submission::find(Some(dir.path()), Task::Task3, Kit::Own).unwrap();
    let plan = RunPlan {
        task: Task::Task3,
        submission: &submission,
        observer: Observer::Between,
        stdout: StdoutKind::Pipe,
        seed: 7,
        time_scale: 1.0,
        keep: false,
        cpu_enabled: false,
    };
    let (prepared, signals) = (submission.prepare().unwrap(), Signals::block().unwrap());
    let mut session = Session::set(&plan, &prepared, &signals).unwrap();
    steps(&mut session);
    let run = session.leave();
    assert_eq!(run.not_clean, Vec::<String>::new());
    run
}

const TOOL: [&str; 1] = ["./conductor.sh"];

fn sleeps(argv: &[String], number: &str) -> bool {
    argv.first().is_some_and(|name| name.ends_with("sleep")) && argv.get(1).is_some_and(|word| word == number)
}

#[test]
#[ignore = "needs root: make test"]
fn the_host_reaches_the_internet_and_the_other_machine_and_each_is_seen_as_itself() {
    let run = with_tool("true", |session| {
        let Addresses { host, outside, internet, .. } = session.world().addresses.clone();
        let tcp = |to: &str| Ask::Tcp { to: to.to_owned(), port: WEB_PORT };
        let get = Ask::Http { to: internet.clone(), port: WEB_PORT, path: "/".into() };
        let ping = |to: &str| Ask::Ping { to: to.to_owned() };
        session
            .probe(
                "all",
                vec![
                    ("a", Place::Host, tcp(&internet)),
                    ("b", Place::Outside, get),
                    ("c", Place::Outside, ping(&host)),
                    ("d", Place::Internet, ping(&outside)),
                    ("e", Place::Host, tcp(&outside)),
                    // The internet does not know the way to what is behind the host.
                    ("f", Place::Internet, ping("192.168.1.2")),
                    ("g", Place::Container("nobody".into()), ping(&host)),
                ],
            )
            .unwrap();
    });
    let Addresses { host, outside, .. } = &run.session.addresses;
    let answers = ["a", "b", "c", "d", "e", "f", "g"].map(|name| &run.session.probe(name).unwrap().answer);
    assert_eq!(answers[0], &Answer::Said(format!("web {host}")));
    assert_eq!(answers[1], &Answer::Said(format!("HTTP/1.0 200 OK\nweb {outside}\n")));
    assert_eq!(answers[2], &Answer::Said(host.clone()));
    assert_eq!(answers[3], &Answer::Said(outside.clone()));
    assert_eq!(answers[4], &Answer::Refused("Connection refused".into()));
    assert_eq!(answers[5], &Answer::Refused("Network is unreachable".into()));
    assert_eq!(answers[6], &Answer::NobodyThere);
}

#[test]
#[ignore = "needs root: make test"]
fn a_name_is_resolved_and_apt_answers_for_what_is_there() {
    let script = "getent ahostsv4 deb.debian.org; apt-get update && sudo apt install -y iproute2 || exit 1
        apt-get install -y no-such-package";
    let run = with_tool(script, |session| {
        session.run("apt", &TOOL).unwrap();
    });
    let apt = run.session.command("apt").unwrap();
    assert_eq!(apt.end, Some(End::Exited(100)), "{apt:?}");
    assert!(apt.output.stdout.starts_with(&run.session.addresses.internet), "{apt:?}");
    assert!(apt.output.stdout.contains("iproute2 is already the newest version"), "{apt:?}");
    assert_eq!(apt.output.stderr, "E: Unable to locate package no-such-package\n");
}

#[test]
#[ignore = "needs root: make test"]
fn an_unremovable_file_keeps_its_folder_until_it_is_let_go_and_a_prompt_is_seen() {
    let script = "case $1 in wait) read -r -p 'Press Enter' ;; *) mkdir -p kept; rm -rf kept ;; esac";
    let run = with_tool(script, |session| {
        session.run("make", &[TOOL[0], "make"]).unwrap();
        let path = format!("{}/stuck", session.folder());
        assert!(session.make_unremovable(&path, true));
        let removed = session.run("remove", &["rm", "-f", "stuck"]).unwrap();
        assert_eq!(removed.end, Some(End::Exited(1)), "{removed:?}");
        assert!(session.make_unremovable(&path, false));
        assert!(session.run("remove again", &["rm", "stuck"]).unwrap().succeeded());
        assert!(!session.waits_for_a_key());
        session.start("wait", &[TOOL[0], "wait"], Terminal::Yes).unwrap();
        let limit = session.scaled(Duration::from_secs(10));
        assert!(session.until(limit, |session| session.waits_for_a_key().then_some(())).unwrap().is_some());
        session.type_in("wait", "\n");
        session.finish("wait", limit).unwrap();
    });
    assert!(run.session.command("wait").unwrap().succeeded());
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_in_other_namespaces_is_found_entered_and_looked_at() {
    let script = r#"
        case $1 in
        up) unshare --net --uts --pid --fork --mount-proc bash -c 'ip link set lo up; exec sleep 5173' & ;;
        wire) ip link add out type veth peer name in netns "$2"; ip addr add 192.168.9.1/24 dev out; ip link set out up
              nsenter -t "$2" -n sh -c 'ip addr add 192.168.9.2/24 dev in; ip link set in up'
              iptables -t nat -A POSTROUTING -s 192.168.9.2 -j MASQUERADE ;;
        esac"#;
    let run = with_tool(script, |session| {
        session.look("before");
        assert!(session.start("up", &[TOOL[0], "up"], Terminal::No).unwrap());
        let found = session.find("first", "up", |argv| sleeps(argv, "5173")).unwrap().unwrap();
        let own = found.state.inner_pids[1].to_string();
        assert!(session.run("wire", &[TOOL[0], "wire", &own]).unwrap().succeeded());
        assert!(session.name_place("eg", found.pid));
        assert!(session.serve("eg", 8080, "inside"));
        let to = "192.168.9.2".to_owned();
        session.probe("call", vec![("in", Place::Host, Ask::Tcp { to, port: 8080 })]).unwrap();
        session.look("wired");
        session.forget_place("eg");
    });
    assert_eq!(run.session.probe("in").unwrap().answer, Answer::Said("inside 192.168.9.1".into()));
    let (found, before, wired) =
        (run.session.found("first").unwrap(), run.session.look("before").unwrap(), run.session.look("wired").unwrap());
    assert!(run.session.command("up").unwrap().succeeded());
    for kind in ["net", "uts", "pid", "mnt"] {
        assert_ne!(found.state.namespaces[kind], run.host.namespaces[kind], "{kind}");
    }
    assert_eq!(found.state.namespaces["ipc"], run.host.namespaces["ipc"]);
    assert_eq!(found.proc_of, Some(found.state.namespaces["pid"]));
    let link = wired.networks[&run.host.namespaces["net"]].link("out").unwrap();
    assert_eq!(
        (link.up, &link.addresses[..], link.kind.as_deref()),
        (true, &["192.168.9.1/24".to_owned()][..], Some("veth"))
    );
    let inside = wired.networks[&found.state.namespaces["net"]].link("in").unwrap();
    assert_eq!((inside.peer, link.peer), (Some(link.index), Some(inside.index)));
    assert_eq!(before.rules.iter().filter(|rule| rule.contains(" -A ")).count(), 0, "{:?}", before.rules);
    assert!(
        wired.rules.iter().any(|rule| rule == "nat -A POSTROUTING -s 192.168.9.2/32 -j MASQUERADE"),
        "{:?}",
        wired.rules
    );
    assert!(before.files.contains(&"conductor.sh".to_owned()));
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_on_a_terminal_hears_what_is_typed_and_one_that_hangs_is_ended() {
    let run = with_tool(
        "case $1 in ask) tty; read -r word; echo \"heard $word\"; exit 3 ;; hang) sleep 600 ;; esac",
        |session| {
            assert!(session.start("ask", &[TOOL[0], "ask"], Terminal::Yes).unwrap());
            session.type_in("ask", "hello\n");
            assert_eq!(session.finish("ask", Duration::from_secs(10)).unwrap().end, Some(End::Exited(3)));
            assert!(session.start("hang", &[TOOL[0], "hang"], Terminal::No).unwrap());
            session.finish("hang", Duration::from_millis(300)).unwrap();
            assert_eq!(session.run("missing", &["./nothing"]).unwrap().end, Some(End::Exited(127)));
        },
    );
    let asked = run.session.command("ask").unwrap();
    assert!(asked.output.stdout.contains("/dev/pts/"), "{asked:?}");
    assert!(asked.output.stdout.contains("heard hello"), "{asked:?}");
    assert!(matches!(run.session.command("hang").unwrap().end, Some(End::TimedOut(_))));
}

#[test]
#[ignore = "needs root: make test"]
fn debootstrap_of_the_box_makes_a_root_that_can_be_entered_within_seconds() {
    let script = "debootstrap --variant=minbase bookworm .images/eg http://deb.debian.org/debian && \
        mkdir up work all && mount -t overlay -o lowerdir=.images/eg,upperdir=up,workdir=work overlay all && \
        chroot all /bin/bash -c 'ls / | tr \"\\n\" \" \"; cat /etc/resolv.conf'";
    let run = with_tool(script, |session| {
        session.run("build", &TOOL).unwrap();
    });
    let built = run.session.command("build").unwrap();
    assert!(built.succeeded(), "{built:?}");
    assert!(built.output.stdout.contains(&format!("nameserver {}", run.session.addresses.internet)), "{built:?}");
    // So many times as much where processors are emulated.
    let factor = std::env::var("TEST_TIME_FACTOR").map_or(1, |factor| factor.parse().unwrap());
    assert!(built.wall < Duration::from_secs(30) * factor, "{:?}", built.wall);
}

/// What of this machine a tool could have changed if the box leaked: its name, links, mounts, rules and forwarding.
fn machine() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let names = |text: String, column: usize| {
        let mut words: Vec<String> =
            text.lines().filter_map(|line| line.split_whitespace().nth(column)).map(str::to_owned).collect();
        words.sort();
        words.join(" ")
    };
    vec![
        proc::own_hostname(),
        names(read("/proc/self/net/dev"), 0),
        names(read("/proc/self/mountinfo"), 4),
        read("/proc/sys/net/ipv4/ip_forward"),
        names(read("/proc/net/route"), 0),
    ]
}

#[test]
#[ignore = "needs root: make test"]
fn nothing_that_a_tool_does_to_its_host_is_done_to_this_machine() {
    let before = machine();
    let script = "hostname renamed; ip link add spare type veth peer name spare2; mount -t tmpfs tmpfs /mnt
        echo 1 >/proc/sys/net/ipv4/ip_forward; ip route add 192.168.77.0/24 dev lo
        iptables -t nat -A POSTROUTING -j MASQUERADE";
    let run = with_tool(script, |session| {
        session.run("all", &TOOL).unwrap();
        session.look("after");
    });
    let after = run.session.look("after").unwrap();
    // It was done, and to the box.
    assert_eq!(after.shot.hostname, "renamed");
    assert!(after.networks[&run.host.namespaces["net"]].link("spare").is_some());
    assert_eq!(after.shot.settings["net.ipv4.ip_forward"], "1");
    assert_eq!(machine(), before);
}
