//! Processes in a container: their rights, their number, signals, a pause.

use std::fs;
use std::path::Path;

use crate::life::wait_for;
use testlab::host::{Host, within};

#[test]
#[ignore = "needs root: make test"]
fn a_server_that_is_not_root_listens_on_a_low_port() {
    let host = Host::new("low-port");
    host.start("web");
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(host.container("web").join("record.json")).unwrap()).unwrap();
    let network = format!("--net=/proc/{}/ns/net", record["init"]["pid"]);
    let listen = "use IO::Socket::INET; IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $!";
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let listens = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).args(user).args(["perl", "-e", listen]).output().unwrap()
    };
    let inside = listens(&["nsenter", &network]);
    assert!(inside.status.success(), "{inside:?}");
    assert!(!listens(&["env"]).status.success(), "on the host it is refused");
    let refused = host.run(&["run", "--rm", "-u", "nobody", "--cap-add", "NET_BIND_SERVICE", "img", "q", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("only root"), "{refused:?}");
    for user in ["root", "0", "0:0"] {
        host.ok(&["run", "--rm", "-u", user, "--cap-add", "NET_RAW", "img", "q", "--", "true"]);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_default_limit_that_cannot_be_set_is_only_a_warning() {
    let host = Host::new("no-pids");
    // A v2 tree that has no controllers: those of this host are in v1 trees, or are used by the processes of its root.
    if !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        println!("skipped: the pids controller is not in a v1 tree here");
        return;
    }
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), flags, None::<&str>).unwrap();
    let outcome = host.inside("q", "cat /proc/sys/kernel/pid_max");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    // Either the PID namespace limits them, or it is told that nothing does.
    assert!(
        outcome.out == "1025\n" || outcome.err.contains("cannot set the default limit of processes"),
        "{outcome:?}"
    );
    assert!(!outcome.err.contains("--pids-limit"), "{outcome:?}");
    let refused = host.run(&["run", "--memory", "64m", "img", "q", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("cannot limit by the memory controller: "), "{refused:?}");
    assert!(refused.err.contains("it has no memory controller itself"), "{refused:?}");
    assert!(refused.err.contains("leave out --memory"), "{refused:?}");
    host.clear();
    nix::mount::umount2("/sys/fs/cgroup", nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn real_time_signals_and_none_at_all_can_be_sent() {
    let host = Host::new("real-time");
    let script = "trap 'echo 37' RTMIN+3; echo ready; while :; do sleep 0.05; done";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", script]);
    wait_for(|| host.ok(&["logs", "web"]).contains("ready").then_some(()));
    let asked = host.run(&["kill", "-s", "0", "web"]);
    assert!(asked.code == 0 && asked.err.is_empty(), "{asked:?}");
    for signal in ["RTMIN+3", "37"] {
        let sent = host.run(&["kill", "-s", signal, "web"]);
        assert!(sent.code == 0 && sent.err.is_empty(), "{sent:?}");
        wait_for(|| host.ok(&["logs", "web"]).ends_with("37\n").then_some(()));
    }
    let unheard = host.run(&["kill", "-s", "40", "web"]);
    assert!(unheard.err.contains("no handler for signal 40"), "{unheard:?}");
    host.ok(&["kill", "-s", "9", "web"]);
    wait_for(|| (host.run(&["kill", "-s", "0", "web"]).code == 125).then_some(()));
}

#[test]
#[ignore = "needs root: make test"]
fn a_paused_container_stands_still_until_it_goes_on_or_is_stopped() {
    let host = Host::new("paused");
    if !host.has_unified_cgroups() {
        println!("not run here: a paused container, as there is no v2 tree");
        return;
    }
    let script =
        "trap 'echo asked; exit 0' TERM; (while :; do echo tick; sleep 0.02; done) & while :; do sleep 0.02; done";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", script]);
    let length = || fs::metadata(host.container("web").join("log")).unwrap().len();
    wait_for(|| (length() > 0).then_some(()));
    assert_eq!(host.ok(&["pause", "web"]), "web\n");
    let status = host.ok(&["ps"]);
    assert!(status.lines().any(|line| line.starts_with("web ") && line.contains(" paused ")), "{status}");
    assert!(host.ok(&["ps", "--format", "json"]).contains("\"paused\": true"));
    // What was under way in the log's pipe has come through.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let before = length();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(length(), before, "it prints on");
    // Nobody waits for a process that cannot begin; what needs none is done.
    for words in [&["exec", "web", "--", "true"][..], &["attack", "web"]] {
        let refused = host.run(words);
        assert!(
            refused.code == 125 && refused.err.contains("it is paused; `conductor unpause web` first"),
            "{refused:?}"
        );
    }
    host.ok(&["cp", "web:/etc/passwd", host.store.join("passwd").to_str().unwrap()]);
    host.ok(&["addnetwork", "web"]);
    host.ok(&["unpause", "web"]);
    host.ok(&["unpause", "web"]);
    wait_for(|| (length() > before).then_some(()));
    host.ok(&["exec", "web", "--", "true"]);
    assert!(host.ok(&["ps"]).contains(" running "));
    host.ok(&["pause", "web"]);
    let stopped = host.run(&["stop", "web"]);
    assert!(stopped.code == 0 && stopped.err.is_empty(), "it could do what it was asked to: {stopped:?}");
    let gone = host.run(&["pause", "web"]);
    assert!(gone.code == 125 && gone.err.contains("it does not exist"), "{gone:?}");
    host.ok(&["run", "img", "ended", "--", "true"]);
    let ended = host.run(&["pause", "ended"]);
    assert!(ended.code == 125 && ended.err.contains("its first process has ended"), "{ended:?}");
    // A host of version 1 alone.
    if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        nix::mount::umount2("/sys/fs/cgroup/unified", nix::mount::MntFlags::MNT_DETACH).unwrap();
        host.start("old");
        let refused = host.run(&["pause", "old"]);
        assert!(refused.code == 125 && refused.err.contains("this requires cgroup v2"), "{refused:?}");
        host.clear();
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_detached_command_lives_on_and_ends_with_its_container() {
    let host = Host::new("exec-detached");
    host.start("web");
    let begun = std::time::Instant::now();
    // By a pipe, as in $(…): whoever reads it waits until nobody can write to it any more.
    let script = "echo lost; echo lost >&2; sleep 1; id -un > /late; sleep infinity";
    let output =
        host.conductor(&["-q", "exec", "-d", "-u", "nobody", "web", "--", "bash", "-c", script]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert!(begun.elapsed() < within(std::time::Duration::from_millis(900)), "{:?}", begun.elapsed());
    // nobody can write there.
    host.ok(&["exec", "web", "--", "bash", "-c", "echo > /late; chmod 666 /late"]);
    wait_for(|| host.ok(&["-q", "exec", "web", "--", "cat", "/late"]).contains("nobody").then_some(()));
    assert!(host.ok(&["logs", "web"]).is_empty());
    let missing = host.run(&["exec", "-d", "web", "--", "nosuch"]);
    assert!(missing.code == 127 && missing.err.contains("nosuch"), "{missing:?}");
    let terminal = host.run(&["exec", "-dt", "web", "--", "true"]);
    assert!(terminal.code == 125 && terminal.err.contains("leave out --tty or --detach"), "{terminal:?}");
    let left = host.cgroups();
    assert!(!left.is_empty());
    host.ok(&["stop", "web"]);
    assert!(host.cgroups().is_empty(), "{:?}", host.cgroups());
}

#[test]
#[ignore = "needs root: make test"]
fn no_limit_of_processes_is_none() {
    let host = Host::new("no-limit");
    for none in ["-1", "0"] {
        host.ok(&["run", "-d", "--pids-limit", none, "img", "web", "--", "sleep", "infinity"]);
        assert!(host.ok(&["inspect", "web"]).contains("\"limit\": null"), "{none}");
        assert!(host.ok(&["stats", "--no-stream", "web"]).contains(" 1/- "), "{none}");
        assert!(
            host.ok(&["isolation", "web"]).contains("limit: processes   ")
                && host.ok(&["isolation", "web"]).contains("none")
        );
        // More than there may be when nothing is said.
        let crowd = "for n in $(seq 1100); do sleep 20 & done 2>/dev/null; jobs -r | wc -l";
        assert_eq!(host.ok(&["-q", "exec", "web", "--", "bash", "-c", crowd]), "1100\n", "{none}");
        host.ok(&["stop", "-t", "0", "web"]);
    }
    let wrong = host.run(&["run", "--pids-limit", "-2", "img", "web", "--", "true"]);
    assert!(wrong.code == 125 && wrong.err.contains("or -1 for no limit"), "{wrong:?}");
}
