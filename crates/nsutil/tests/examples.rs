//! Runs each module's example as a child process: it exits with 0 and prints what the module promises.
//!
//! cargo builds the examples before it runs this test, and puts them beside it.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::path::PathBuf;
use std::process::Command;

#[test]
fn error_tells_attempt_object_reason_and_cure() {
    let shown = run("error");
    assert!(shown.contains("whole: cannot write to /proc/version: "), "{shown}");
    assert!(shown.contains("; it is the kernel's to write\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn namespace_shows_seven_kinds_and_a_change_and_a_return() {
    let shown = run("namespace");
    assert_eq!(shown.lines().filter(|line| line.ends_with("_namespaces(7)")).count(), 7, "{shown}");
    let uts = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().find(|word| word.starts_with("uts:[")).unwrap().to_owned()
    };
    assert_eq!(uts("unshare"), uts("setns"), "the child went back to where the parent came from");
}

#[test]
#[ignore = "needs root: make test"]
fn process_is_1_inside_and_another_outside_and_brings_an_error_home() {
    let shown = run("process");
    assert!(shown.contains("inside:  I am process 1\n"), "{shown}");
    assert!(!shown.contains("outside: it is process 1\n"), "{shown}");
    assert!(shown.contains("a shell shows as 137\n"), "{shown}");
    assert!(shown.contains("dropped: process ") && shown.contains(" is gone\n"), "{shown}");
    assert!(shown.contains("cannot execute /no/such/program: No such file or directory (ENOENT)"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn reaper_lets_its_command_be_process_2_waits_for_orphans_and_hands_signals_on() {
    let shown = run("reaper");
    let expected = "the command is process 2\nits orphan is gone\nasked to end, it ended with 143\n";
    assert_eq!(shown, expected);
}

#[test]
#[ignore = "needs root: make test"]
fn step_tells_parent_and_child() {
    let shown = run("step");
    assert!(shown.contains("clone3(CLONE_NEWUTS|CLONE_NEWIPC)"), "{shown}");
    assert!(shown.contains("sethostname(\"example\")"), "{shown}");
    assert_eq!(shown.matches("\n      why    ").count(), 2, "{shown}");
}

#[test]
fn sys_makes_a_child_and_closes_descriptors_at_exec() {
    let shown = run("sys");
    assert!(shown.contains("Exited(") && shown.contains(", 7)"), "{shown}");
    assert!(shown.contains("before, ") && shown.contains("goes through exec: true\n"), "{shown}");
    assert!(shown.contains("after, ") && shown.contains("goes through exec: false\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn syscall_makes_each_call_tells_it_and_names_it_in_the_error() {
    let (shown, told) = run_and_listen("syscall");
    assert!(shown.contains("inside:  the root holds []\n"), "{shown}");
    let refusals = [
        "outside: cannot execve(\"/no/such/program\", [\"program\"]): No such file or directory (ENOENT)\n",
        ", 0): Invalid argument (EINVAL)\n",
        "comm:    renamed\n",
        "refused: cannot write(\"/proc/self/none\", \"x\"): No such file or directory (ENOENT)\n",
    ];
    for refusal in refusals {
        assert!(shown.contains(refusal), "{refusal} in {shown}");
    }
    let steps = [
        ("clone3(CLONE_NEWNS)", "unshare --fork --mount COMMAND"),
        ("mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE, NULL)", "mount --make-rprivate /"),
        (", \"tmpfs\", MS_NOSUID, \"size=64k\")", "mount -t tmpfs -o nosuid,size=64k tmpfs /"),
        ("pivot_root(\".\", \".\")", "pivot_root . ."),
        ("umount2(\".\", MNT_DETACH)", "umount --lazy ."),
        ("chroot(\"/\")", "chroot / COMMAND"),
        ("execve(\"/no/such/program\", [\"program\"])", "exec program"),
        ("unshare(CLONE_NEWUTS)", "unshare --uts"),
        ("sethostname(\"syscall\")", "hostname syscall"),
        ("pidfd_open(", "exec 3< /proc/"),
        (", CLONE_NEWUTS)", " --uts"),
        ("write(\"/proc/self/comm\", \"renamed\")", "echo renamed > /proc/self/comm"),
    ];
    let mut rest = told.as_str();
    for (call, shell) in steps {
        let told = rest.split_once(call).and_then(|(_, after)| after.split_once(shell));
        assert!(told.is_some(), "{call}, and then {shell}, in:\n{rest}");
        rest = told.unwrap().1;
    }
}

#[test]
fn elf_names_loader_and_libraries() {
    let shown = run("elf");
    assert!(shown.starts_with("/bin/ls is loaded by /lib"), "{shown}");
    assert!(shown.contains("libc.so.6 "), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn rootfs_shows_a_root_that_holds_one_program_and_what_it_needs() {
    let shown = run("rootfs");
    assert!(shown.contains("/bin:\nls\n"), "{shown}");
    assert!(shown.contains("libc.so.6\n"), "{shown}");
    assert!(!shown.contains("etc"), "nothing else is there: {shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn mount_shows_a_root_without_a_way_out_that_the_host_does_not_see() {
    let shown = run("mount");
    let lines = [
        "inside  /etc is bound, it has hostname: true",
        "inside  the root holds data proc",
        "inside  .. of it holds data proc",
        "inside  /proc shows the processes [\"1\"]",
        "inside  2 mounts are left",
        "host    the child ended with 0; its mounts are seen here: false",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), lines);
}

#[test]
#[ignore = "needs root: make test"]
fn cgroup_shows_half_of_a_core_and_three_processes() {
    let shown = run("cgroup");
    let number = |start: &str, end: &str| -> u32 {
        let line = shown.lines().find_map(|line| line.strip_prefix(start)?.strip_suffix(end)).unwrap();
        line.parse().unwrap()
    };
    // Half of 600 ms, and up to one more quota of 50 ms at a period boundary; emulated machines are less precise.
    let used = number("parent  busy for 600 ms, it got ", " ms of CPU time");
    assert!((1..500).contains(&used), "{shown}");
    assert_eq!(number("parent  it could start ", " processes besides itself"), 2, "{shown}");
    assert!(shown.contains("cannot start a child: Try again (EAGAIN)"), "{shown}");
    assert!(shown.ends_with("gone    true\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn overlay_shows_the_top_and_keeps_the_layers_as_they_were() {
    let shown = run("overlay");
    assert!(shown.contains("seen:  written by the container\nupper: written by the container\n"), "{shown}");
    assert!(shown.contains("image: from the image, which lies on top\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn detached_restricts_before_attaching() {
    let shown = run("detached");
    assert!(shown.contains("read:  Linux\n") && shown.contains("write: Read-only file system"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn capability_leaves_root_eleven_powers() {
    let shown = run("capability");
    assert!(shown.contains("after:  CapEff: 00000000800405fb (user 0)\n"), "{shown}");
    assert!(shown.contains("sethostname: Operation not permitted\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn seccomp_refuses_what_was_allowed_before() {
    assert_eq!(run("seccomp"), "unshare before: Ok(())\nunshare after:  Err(EPERM)\n");
}

#[test]
#[ignore = "needs root: make test"]
fn terminal_has_a_size_and_passes_what_is_typed() {
    let shown = run("terminal");
    assert!(shown.contains("a terminal: true, 24 lines of 80\nthe program reads: \"typed\\n\"\n"), "{shown}");
}

#[test]
#[ignore = "needs root: make test"]
fn net_shows_a_network_of_its_own_with_lo_and_no_way_out() {
    assert_eq!(run("net"), "lo is link number Some(1), eth0 is None\nthe way out: None\nreceived: hello\n");
}

/// Runs an example and returns its stdout.
fn run(example: &str) -> String {
    run_and_listen(example).0
}

/// The same, and its stderr.
fn run_and_listen(example: &str) -> (String, String) {
    let program = built(example);
    assert!(
        program.exists(),
        "{} is not built: `cargo test --test` builds no examples, `cargo test` does",
        program.display()
    );
    let out = Command::new(program).output().unwrap();
    let shown = String::from_utf8(out.stdout).unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "example {example} ended with {}: {told}", out.status);
    (shown, told)
}

/// `target/debug/examples/NAME`, relative to `target/debug/deps/THIS_TEST`.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(example)
}
