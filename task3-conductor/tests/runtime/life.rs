//! The life of a container: run, exec, ps, logs, stop.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::IFlags;

use testlab::host::{Host, feed, within};

#[test]
#[ignore = "needs root: make test"]
fn a_container_has_six_namespaces_of_its_own_and_is_process_1() {
    let host = Host::new("six");
    let kinds = ["uts", "pid", "net", "mnt", "ipc", "cgroup"];
    let outcome =
        host.inside("eg", "for kind in uts pid net mnt ipc cgroup; do readlink /proc/self/ns/$kind; done; echo $$");
    let seen: Vec<&str> = outcome.out.lines().collect();
    assert_eq!((outcome.code, seen.len()), (0, 7), "{outcome:?}");
    for (kind, inside) in kinds.iter().zip(&seen) {
        let outside = fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
        assert!(inside.starts_with(&format!("{kind}:[")), "{inside}");
        assert_ne!(outside.to_string_lossy(), *inside);
    }
    assert_eq!(seen[6], "1");
}

#[test]
#[ignore = "needs root: make test"]
fn an_ended_container_stays_listed_with_its_code_until_stop_and_its_name_is_taken() {
    let host = Host::new("listed");
    let before = host.snapshot();
    assert_eq!(host.ok(&["ps"]), "No containers found\n");
    assert_eq!(host.run(&["run", "img", "eg", "--", "bash", "-c", "exit 7"]).code, 7);
    let listed = host.ok(&["ps"]);
    assert!(listed.lines().nth(1).unwrap().starts_with("eg                   20"), "{listed}");
    assert!(listed.contains("exited (7)"), "{listed}");
    let again = host.run(&["run", "img", "eg", "--", "true"]);
    assert_eq!(again.code, 125);
    assert!(again.err.contains("cannot run container eg: it already exists; `conductor stop eg`"), "{again:?}");
    assert_eq!(host.ok(&["stop", "eg"]), "eg succesfully removed\n");
    assert_eq!(host.snapshot(), before);
    assert_eq!(host.run(&["stop", "eg"]).code, 125);
}

#[test]
#[ignore = "needs root: make test"]
fn exit_codes_are_the_commands_or_say_whose_they_are() {
    let host = Host::new("codes");
    let before = host.snapshot();
    for code in [0, 1, 124, 125, 255] {
        assert_eq!(host.inside("eg", &format!("exit {code}")).code, code);
    }
    // The first process cannot kill itself; another one can be killed.
    host.start("web");
    assert_eq!(host.run(&["exec", "web", "--", "bash", "-c", "kill -SEGV $$"]).code, 139);
    assert_eq!(host.run(&["exec", "web", "--", "bash", "-c", "exit 9"]).code, 9);
    for verb in [&["run", "img", "eg"][..], &["run", "-d", "img", "eg"], &["exec", "web"]] {
        let with = |command| host.run(&[verb, &["--", command]].concat());
        let missing = with("no-such-program");
        assert_eq!(missing.code, 127, "{missing:?}");
        assert!(missing.err.contains("cannot find no-such-program"), "{missing:?}");
        assert_eq!(with("/no/such/path").code, 127);
        assert_eq!(with("/etc/passwd").code, 126);
        assert_eq!(with("/etc").code, 126);
    }
    assert_eq!(host.run(&["run", "no-image", "eg"]).code, 125);
    assert_eq!(host.run(&["exec", "eg", "--", "true"]).code, 125);
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before, "a command that cannot be executed leaves no container");
}

#[test]
#[ignore = "needs root: make test"]
fn a_file_put_into_the_root_on_the_host_is_seen_inside_and_the_other_way_round() {
    let host = Host::new("files");
    host.start("web");
    let root = host.container("web").join("rootfs");
    fs::create_dir(root.join("service")).unwrap();
    fs::write(root.join("service/run.sh"), "echo served by $0\n").unwrap();
    assert!(host.ok(&["exec", "web", "--", "bash", "/service/run.sh"]).ends_with("served by /service/run.sh\n"));
    host.ok(&["exec", "web", "--", "bash", "-c", "echo written > /inside"]);
    assert_eq!(fs::read_to_string(root.join("inside")).unwrap(), "written\n");
    let mode = fs::metadata(&root).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o7777, 0o755, "so that apt works");
    // Another container of the same image knows nothing of it.
    assert_eq!(host.inside("eg", "cat /inside").code, 1);
}

#[test]
#[ignore = "needs root: make test"]
fn exec_is_in_all_namespaces_of_the_container_and_exactly_as_confined() {
    let host = Host::new("confined");
    let script = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|Umask)' /proc/self/status; \
                  cat /proc/self/cgroup /proc/self/oom_score_adj; pwd; ulimit -a; env | sort | grep -v ^_=; \
                  for kind in uts pid net mnt ipc cgroup; do readlink /proc/self/ns/$kind; done; ls /proc/self/fd";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", &format!("{{ {script}; }}; exec sleep infinity")]);
    let by_exec = host.ok(&["exec", "web", "--", "bash", "-c", script]);
    let by_exec = by_exec.split_once("container!\n").unwrap().1;
    let by_run = wait_for(|| Some(host.ok(&["logs", "web"])).filter(|log| log.contains("cgroup:[")));
    assert_eq!(by_run, by_exec);
    for line in
        ["CapInh:\t0000000000000000", "CapEff:\t00000000800405fb", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(by_exec.contains(line), "{line} in {by_exec}");
    }
    assert!(by_exec.contains("Seccomp:\t2") && by_exec.contains("\n0::/\n"), "{by_exec}");
}

#[test]
#[ignore = "needs root: make test"]
fn streams_pass_byte_for_byte_and_stay_apart() {
    let host = Host::new("streams");
    let all: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    host.start("web");
    for verb in [&["-q", "run", "--rm", "img", "eg"][..], &["-q", "exec", "web"]] {
        let mut child = host.piped(&[verb, &["--", "bash", "-c", "echo apart >&2; exec cat"]].concat());
        let bytes = all.clone();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.stdout == all, "{} bytes came back", output.stdout.len());
        assert_eq!(output.stderr, b"apart\n");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn detached_returns_at_once_also_inside_a_substitution_and_keeps_a_log() {
    let host = Host::new("detached");
    let (start, late) = (Instant::now(), within(Duration::from_secs(1)));
    // `output` reads to the end of the pipe: a monitor that kept it open would keep us here.
    let outcome = host.run(&[
        "-q",
        "run",
        "-d",
        "img",
        "web",
        "--",
        "bash",
        "-c",
        &format!("echo out; echo err >&2; sleep {}; echo late", late.as_secs()),
    ]);
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "web\n"), "{outcome:?}");
    assert!(start.elapsed() < late, "{:?}", start.elapsed());
    let followed = host.run(&["-q", "logs", "-f", "web"]);
    assert_eq!(followed.out, "out\nerr\nlate\n");
    assert!(start.elapsed() > late, "it follows to the end");
    wait_for(|| host.ok(&["ps"]).contains("exited (0)").then_some(()));
    host.ok(&["stop", "web"]);
    assert_eq!(host.run(&["logs", "web"]).code, 125);
}

#[test]
#[ignore = "needs root: make test"]
fn rm_takes_everything_away_when_the_command_ends() {
    let host = Host::new("rm-life");
    let before = host.snapshot();
    assert_eq!(host.inside("eg", "exit 3").code, 3);
    assert_eq!(host.snapshot(), before);
    host.ok(&["run", "-d", "--rm", "img", "web", "--", "true"]);
    wait_for(|| (!host.container("web").exists()).then_some(()));
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn environment_and_host_name_are_what_was_said() {
    let host = Host::new("said");
    let mut command = host.conductor(&[
        "-q",
        "run",
        "img",
        "eg",
        "-e",
        "A=1 2",
        "--env",
        "B=",
        "--hostname",
        "lab-1",
        "--rm",
        "--",
        "bash",
        "-c",
        "echo \"$A|$B|$SECRET|$HOME|$PATH\"; hostname; getent hosts lab-1; cat /proc/1/environ | tr '\\0' '\\n' | sort",
    ]);
    let output = command.env("SECRET", "of the host").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert!(text.starts_with(&format!("1 2|||/root|{path}\nlab-1\n127.0.1.1       lab-1\n")), "{text}");
    assert!(text.ends_with(&format!("A=1 2\nB=\nHOME=/root\nPATH={path}\n")), "{text}");
    let own = nix::unistd::gethostname().unwrap();
    assert_eq!(host.inside("eg", "hostname").out.trim(), own.to_string_lossy());
}

#[test]
#[ignore = "needs root: make test"]
fn arguments_arrive_as_they_were_typed() {
    let host = Host::new("arguments");
    let typed = ["-x", "--", "a b", "", "$(id)", "`id`", "'", "\"", "\n", "é", "*", "--help"];
    let outcome = host.run(&[&["-q", "run", "--rm", "img", "eg", "--", "printf", "<%s>"][..], &typed].concat());
    assert_eq!(outcome.out, typed.iter().map(|word| format!("<{word}>")).collect::<String>(), "{outcome:?}");
    let outcome = host.run(&["-q", "run", "img", "eg", "--rm", "ls", "-d", "/"]);
    assert_eq!(outcome.out, "/\n", "options before the command are ours, those after it the command's: {outcome:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn stop_asks_whom_it_can_and_says_why_when_it_does_not_ask() {
    let host = Host::new("stop");
    host.start("deaf");
    let start = Instant::now();
    let stopped = host.run(&["stop", "deaf"]);
    assert!(start.elapsed() < within(Duration::from_millis(500)), "{:?}", start.elapsed());
    assert!(stopped.err.contains("no handler for SIGTERM"), "{stopped:?}");
    assert!(stopped.out.ends_with("deaf succesfully removed\n"), "{stopped:?}");

    let polite = "trap 'echo asked > /asked; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    host.ok(&["run", "-d", "img", "polite", "--", "bash", "-c", polite]);
    wait_for(|| host.ok(&["logs", "polite"]).contains("up").then_some(()));
    let stopped = host.run(&["stop", "polite"]);
    assert_eq!((stopped.code, stopped.err.as_str()), (0, ""), "{stopped:?}");

    host.ok(&[
        "run",
        "-d",
        "img",
        "stubborn",
        "--",
        "bash",
        "-c",
        "trap : TERM; echo up; while :; do sleep 0.05; done",
    ]);
    wait_for(|| host.ok(&["logs", "stubborn"]).contains("up").then_some(()));
    let start = Instant::now();
    host.ok(&["stop", "-t", "1", "stubborn"]);
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(950) && waited < within(Duration::from_secs(3)), "{waited:?}");
    assert_eq!(host.run(&["stop", "-t", "-1", "stubborn"]).code, 125);
}

#[test]
#[ignore = "needs root: make test"]
fn a_shell_that_blocks_signals_while_forking_does_not_count_as_a_reader() {
    let host = Host::new("forks");
    for round in 0..40 {
        host.ok(&["run", "-d", "img", "busy", "--", "bash", "-c", "while :; do /bin/true; done"]);
        thread::sleep(Duration::from_millis(50 + round));
        let start = Instant::now();
        let stopped = host.run(&["stop", "busy"]);
        assert!(stopped.err.contains("no handler for SIGTERM"), "round {round}: {stopped:?}");
        assert!(start.elapsed() < within(Duration::from_secs(3)), "round {round}: {:?}", start.elapsed());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn stop_never_reads_stdin_so_loops_over_ps_see_every_line() {
    let host = Host::new("loop");
    for name in ["c1", "c2", "c3"] {
        host.start(name);
    }
    let program = env!("CARGO_BIN_EXE_conductor");
    let script = format!(
        "conductor() {{ {program} --root {} \"$@\"; }}\n\
         conductor ps | grep -v 'No containers' | while read name date; do conductor stop \"$name\"; done",
        host.store.display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.code().is_some());
    assert_eq!(host.ok(&["ps"]), "No containers found\n", "{output:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn descendants_that_hide_end_with_the_container() {
    let host = Host::new("descendants");
    let before = host.snapshot();
    let hide = "for i in 1 2 3; do setsid setsid sleep 98765 & done; (trap '' TERM HUP; exec sleep 98765) & echo up; exec sleep 98765";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", hide]);
    wait_for(|| host.ok(&["logs", "web"]).contains("up").then_some(()));
    let members = || -> usize {
        let procs = host.cgroups().into_iter().find_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok());
        procs.map_or(0, |text| text.lines().count())
    };
    assert!(members() >= 5, "{}", members());
    host.ok(&["stop", "web"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_that_has_made_cgroups_of_its_own_goes_like_any_other() {
    let host = Host::new("own-cgroups");
    let before = host.snapshot();
    // As systemd and other runtimes do it; one is a tree that is not mounted everywhere.
    let script = "cd /sys/fs/cgroup; [ -e cgroup.procs ] || cd unified; mkdir -p a/b/c d; sleep 98765 & echo $! >a/b/cgroup.procs; \
        cat /proc/$!/cgroup; exec sleep 98765";
    host.ok(&["run", "-d", "--privileged", "img", "web", "--", "bash", "-c", script]);
    wait_for(|| host.ok(&["logs", "web"]).contains("/a/b\n").then_some(()));
    let start = Instant::now();
    host.ok(&["stop", "web"]);
    assert!(start.elapsed() < within(Duration::from_secs(3)), "{:?}", start.elapsed());
    assert_eq!(host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_tree_of_any_depth_goes_with_its_container() {
    let host = Host::new("deep");
    let before = host.snapshot();
    let dig = "mkdir -p /root/$(printf 'd/%.0s' {1..1500})";
    host.ok(&["run", "img", "web", "--", "bash", "-c", dig]);
    let stop =
        format!("ulimit -n 256; exec {} --root {} stop web", env!("CARGO_BIN_EXE_conductor"), host.store.display());
    let output = Command::new("bash").args(["-c", &stop]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(host.snapshot(), before);
}

/// A file that cannot be removed for as long as the value lives.
struct Immutable(PathBuf);

impl Immutable {
    fn make(file: PathBuf) -> Self {
        let made = Self(file);
        made.set(true);
        made
    }

    /// As chattr(1) does it.
    fn set(&self, immutable: bool) {
        let file = fs::File::open(&self.0).unwrap();
        let mut flags = rustix::fs::ioctl_getflags(&file).unwrap();
        flags.set(IFlags::IMMUTABLE, immutable);
        rustix::fs::ioctl_setflags(&file, flags).unwrap();
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_failed_clean_up_does_not_prevent_listing() {
    let host = Host::new("immutable");
    host.start("web");
    host.start("other");
    let file = host.container("web").join("upper/a\u{1b}]0;b\nc");
    fs::write(&file, "x").unwrap();
    let immutable = Immutable::make(file);
    let refused = host.run(&["stop", "web"]);
    assert_eq!(refused.code, 125);
    assert!(
        refused.err.contains("cannot remove a\\u{1b}]0;b\\nc in ") && refused.err.contains("chattr -i"),
        "{refused:?}"
    );
    let listed = host.run(&["-q", "ps", "-q"]);
    assert_eq!((listed.code, listed.out.as_str()), (0, "other\n"), "{listed:?}");
    assert!(
        listed.err.starts_with("conductor: cannot remove the leftovers of container web yet: cannot remove a"),
        "{listed:?}"
    );
    drop(immutable);
    let listed = host.run(&["-q", "ps", "-q"]);
    assert_eq!((listed.out.as_str(), listed.err.as_str()), ("other\n", ""), "{listed:?}");
    assert!(!host.container("web").exists());
    host.ok(&["stop", "other"]);
}

#[test]
#[ignore = "needs root: make test"]
fn a_container_does_not_keep_the_callers_descriptors_open() {
    let host = Host::new("descriptors");
    let run = format!(
        "{} --root {} run -d img web -- sleep infinity 9>&1 >/dev/null",
        env!("CARGO_BIN_EXE_conductor"),
        host.store.display()
    );
    let mut caller = Command::new("bash").args(["-c", &run]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = caller.stdout.take().unwrap();
    assert!(caller.wait().unwrap().success());
    let mut ends = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(within(Duration::from_secs(2))).unwrap();
    assert_eq!(poll(&mut ends, limit).unwrap(), 1, "the pipe is held open");
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    host.ok(&["stop", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn json_is_for_programs_and_has_no_banner() {
    let host = Host::new("json");
    host.start("web");
    let listed: serde_json::Value = serde_json::from_str(&host.run(&["ps", "--format", "json"]).out).unwrap();
    assert_eq!((listed[0]["name"].as_str(), listed[0]["running"].as_bool()), (Some("web"), Some(true)));
    let known: serde_json::Value = serde_json::from_str(&host.run(&["inspect", "web"]).out).unwrap();
    assert_eq!(known["command"], serde_json::json!(["sleep", "infinity"]));
    assert_eq!((known["processes"]["limit"].as_u64(), known["processes"]["now"].as_u64()), (Some(1024), Some(1)));
    assert_eq!(known["ledger"][0]["mount"], host.container("web").join("rootfs").display().to_string());
}

#[test]
#[ignore = "needs root: make test"]
fn explain_tells_the_whole_story_of_a_birth() {
    let host = Host::new("explain");
    let story = host.run(&["--explain", "run", "--rm", "img", "eg", "--", "true"]).err;
    let steps = [
        "OPEN_TREE_CLONE",
        "fsopen(\"overlay\")",
        "mkdir(\"/sys/fs/cgroup",
        "clone3(CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWPID|CLONE_NEWNET",
        "unshare(CLONE_NEWCGROUP)",
        "MS_REC|MS_PRIVATE",
        "pivot_root",
        "MNT_DETACH",
        "fsopen(\"proc\")",
        "mknod(null",
        "devpts",
        "capset",
        "PR_SET_NO_NEW_PRIVS",
        "seccomp(SECCOMP_SET_MODE_FILTER",
        "execve(",
        "rmdir(",
    ];
    let mut rest = story.as_str();
    for step in steps {
        let found = rest.find(step);
        assert!(found.is_some(), "{step} is not in the rest of the story: {rest}");
        rest = &rest[found.unwrap()..];
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_closed_reader_does_not_cause_a_panic() {
    let host = Host::new("panic");
    host.start("web");
    for arguments in [&["ps"][..], &["exec", "web", "--", "yes"], &["inspect", "web"]] {
        let mut child = host.piped(arguments);
        feed(&mut child, b"");
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("panicked"), "{arguments:?}: {err}");
    }
}

/// Asks until there is an answer; a minute or two, for this machine may have much to do.
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < within(Duration::from_secs(100)), "it did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
