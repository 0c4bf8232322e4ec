//! Small real programs in real boxes: what is contained, what is seen, and what is left.

use super::*;
use crate::error::Exit;
use crate::record::{Event, EventKind};
use crate::sandbox::{Wall, without};
use crate::self_test::attack::{Bait, Machine};
use crate::submission::kit::Kit;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// A submission for `task` of one file, and the folder it lies in.
fn submission(task: Task, file: &str, text: &str) -> (tempfile::TempDir, Submission) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(file), text).unwrap();
    let found = Submission::find(Some(dir.path()), task, Kit::Own).unwrap();
    (dir, found)
}

fn plan(submission: &Submission, observer: Observer, time_scale: f64) -> RunPlan<'_> {
    let stdout = if observer == Observer::Traced { StdoutKind::Pty } else { StdoutKind::Pipe };
    RunPlan { task: Task::Task1, submission, observer, stdout, seed: 4711, time_scale, keep: false, cpu_enabled: false }
}

/// Runs a bash script; the box must be proved gone whatever the script does.
fn bash(script: &str, observer: Observer, time_scale: f64) -> Run {
    let (_dir, submission) = submission(Task::Task1, "namespace_prog.sh", script);
    let run = observe(&plan(&submission, observer, time_scale)).unwrap();
    assert_eq!(run.not_clean, Vec::<String>::new());
    run
}

/// Compiles and runs a C program.
fn c(body: &str, observer: Observer) -> Run {
    let text = format!(
        "#define _GNU_SOURCE\n#include <sched.h>\n#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         #include <string.h>\n#include <pthread.h>\n#include <sys/wait.h>\n#include <unistd.h>\n{body}\n"
    );
    let (_dir, submission) = submission(Task::Task1, "namespace_prog.c", &text);
    let run = observe(&plan(&submission, observer, 1.0)).unwrap();
    assert_eq!(run.not_clean, Vec::<String>::new());
    run
}

const BOTH: [Observer; 2] = [Observer::Traced, Observer::Frozen];

/// What is to be ended after a part of a minute. How large a part depends on what else the machine does; without an end it
/// would be more than this on any.
const NOT_FOR_EVER: Duration = Duration::from_secs(300);

/// The events in which something was written to stdout, with the text.
fn writes(run: &Run) -> Vec<(&Event, &str)> {
    let text = |event| match event {
        &Event { what: EventKind::Wrote { stream: 1, ref text }, .. } => Some((event, text.as_str())),
        _ => None,
    };
    run.events.iter().filter_map(text).collect()
}

fn count(run: &Run, is_it: impl Fn(&EventKind) -> bool) -> usize {
    run.events.iter().filter(|event| is_it(&event.what)).count()
}

/// What of the host a box could have left behind; other boxes of this moment are left out.
fn host() -> (String, BTreeSet<String>, BTreeSet<String>) {
    let ours = format!("grade-box-{}-", std::process::id());
    let cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"];
    let entries = cgroups.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains("grade-box")).map(str::to_owned).collect();
    (proc::own_hostname(), mounts, names.filter(|name| name.starts_with(&ours)).collect())
}

#[test]
#[ignore = "needs root: make test"]
fn output_exit_code_and_host_name_come_out_whichever_way_it_is_watched() {
    for observer in BOTH {
        let run = bash("hostname; echo to stderr >&2; exit 7", observer, 1.0);
        assert_eq!(run.end, End::Exited(7));
        assert_eq!(run.output.stdout, format!("{}\n", run.host.name));
        assert_eq!(run.output.stderr, "to stderr\n");
        assert_eq!(run.before, run.after);
        assert_ne!(run.host.name, proc::own_hostname());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn each_line_has_its_writer_and_the_writers_state() {
    let body = r#"
        static int child(void *arg) { sethostname("inner", 5); printf("pid %d\n", getpid()); fflush(stdout); return 3; }
        static char stack[65536];
        int main(void) {
            printf("outer\n"); fflush(stdout);
            int pid = clone(child, stack + sizeof stack, CLONE_NEWUTS | CLONE_NEWPID | SIGCHLD, 0);
            waitpid(pid, 0, 0);
            printf("outer again\n"); fflush(stdout);
            return 0;
        }"#;
    for observer in BOTH {
        let run = c(body, observer);
        assert_eq!(run.end, End::Exited(0), "{observer:?}");
        let lines = writes(&run);
        assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), ["outer\n", "pid 1\n", "outer again\n"]);
        let (parent, child) = (lines[0].0, lines[1].0);
        assert_eq!((parent.pid, &parent.state.namespaces), (run.root_pid, &run.host.namespaces));
        assert_eq!(child.state.inner_pids.len(), 3, "ours, the box's, its own");
        assert_eq!(child.state.inner_pids[2], 1);
        assert_eq!(child.state.hostname, "inner");
        assert_eq!(parent.state.hostname, run.host.name);
        assert_ne!(child.state.namespaces["uts"], parent.state.namespaces["uts"]);
        assert_eq!(child.state.namespaces["net"], parent.state.namespaces["net"]);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_child_is_seen_before_its_first_instruction_and_its_end_and_wait_too() {
    let run = c(
        r#"static int child(void *arg) { unshare(CLONE_NEWIPC); return 3; }
           static char stack[65536];
           int main(void) {
               int pid = clone(child, stack + sizeof stack, CLONE_NEWUTS | SIGCHLD, 0), status;
               return waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3 ? 0 : 1;
           }"#,
        Observer::Traced,
    );
    assert_eq!(run.end, End::Exited(0));
    let born = run.events.iter().find_map(|event| match &event.what {
        EventKind::Born { child, child_state } => Some((*child, child_state)),
        _ => None,
    });
    let (child, state) = born.unwrap();
    assert_ne!(state.namespaces["uts"], run.host.namespaces["uts"], "clone's flag is done");
    assert_eq!(state.namespaces["ipc"], run.host.namespaces["ipc"], "its own unshare is not");
    let of_child: Vec<_> = run.events.iter().filter(|event| event.pid == child).map(|event| &event.what).collect();
    assert!(of_child.iter().any(|what| matches!(what, EventKind::Call { name, decoded, result: 0, .. }
        if name == "unshare" && decoded == "CLONE_NEWIPC")));
    assert!(of_child.iter().any(|what| matches!(what, EventKind::Exited { code: 3, signal: None })));
    assert!(of_child.iter().any(|what| matches!(what, EventKind::Reaped { by } if *by == run.root_pid)));
    let flags = count(&run, |what| {
        matches!(what, EventKind::Call { name, decoded, .. }
        if name == "clone" && decoded == "CLONE_NEWUTS|SIGCHLD")
    });
    assert_eq!(flags, 1);
}

#[test]
#[ignore = "needs root: make test"]
fn thirty_two_children_threads_a_vfork_and_a_real_time_signal_are_followed() {
    let run = c(
        r#"static void *thread(void *arg) { usleep(1000); return 0; }
           static volatile int got;
           static void handler(int nr) { got = nr; }
           int main(void) {
               pthread_t threads[8];
               for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, thread, 0);
               for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
               for (int i = 0; i < 32; i++) if (fork() == 0) { usleep(1000 * (i % 5)); _exit(i); }
               for (int i = 0; i < 32; i++) wait(0);
               int pid = vfork();
               if (pid == 0) { execl("/bin/true", "true", (char *)0); _exit(9); }
               int status; waitpid(pid, &status, 0);
               signal(SIGRTMIN + 3, handler); raise(SIGRTMIN + 3);
               return status == 0 && got == SIGRTMIN + 3 ? 0 : 1;
           }"#,
        Observer::Traced,
    );
    assert_eq!(run.end, End::Exited(0));
    assert_eq!(count(&run, |what| matches!(what, EventKind::Born { .. })), 33, "threads are no children");
    assert_eq!(count(&run, |what| matches!(what, EventKind::Reaped { .. })), 33);
    let codes: BTreeSet<i32> = run
        .events
        .iter()
        .filter_map(|event| match event.what {
            EventKind::Exited { code, .. } => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, (0..32).collect());
}

#[test]
#[ignore = "needs root: make test"]
fn a_program_that_hangs_is_told_where() {
    let body = "int main(void) { int pid = fork(); if (pid == 0) pause(); waitpid(pid, 0, 0); return 0; }";
    let (_dir, submission) =
        submission(Task::Task1, "namespace_prog.c", &format!("#include <sys/wait.h>\n#include <unistd.h>\n{body}"));
    for observer in BOTH {
        let start = Instant::now();
        let run = observe(&plan(&submission, observer, 0.1)).unwrap();
        let End::TimedOut(stood) = &run.end else { panic!("{:?}", run.end) };
        assert!(stood.starts_with("asleep in wait4 on child "), "{stood}");
        assert!(start.elapsed() < NOT_FOR_EVER, "{:?}", start.elapsed());
        assert_eq!(run.not_clean, Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_program_that_stops_or_freezes_itself_is_ended_all_the_same() {
    let freeze = r#"
        while IFS=: read -r _ controllers path; do
            [ "$controllers" = freezer ] && echo FROZEN > "/sys/fs/cgroup/freezer$path/freezer.state"
            for file in /sys/fs/cgroup{,/unified}"$path"/cgroup.freeze; do
                [ -z "$controllers" ] && [ -w "$file" ] && echo 1 > "$file"
            done
        done < /proc/self/cgroup
        sleep 100"#;
    for observer in BOTH {
        let stopped = bash("kill -STOP $$", observer, 0.1);
        assert_eq!(stopped.end, End::TimedOut("stopped by a signal".into()), "{observer:?}");
        assert!(matches!(bash(freeze, observer, 0.1).end, End::TimedOut(_)));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn what_is_left_running_is_named_and_then_ended() {
    for observer in BOTH {
        let run = bash("(setsid sleep 1234 &); until pgrep -x sleep >/dev/null; do :; done; echo done", observer, 1.0);
        assert_eq!(run.end, End::Exited(0));
        let left: Vec<_> = run.after.processes.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(left, ["sleep 1234"], "{observer:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn changes_of_the_box_are_seen_and_stay_in_it() {
    let script = "mkdir -p /tmp/m /sys/fs/cgroup/cpu/mine /sys/fs/cgroup/unified/mine 2>/dev/null
        mkdir /sys/fs/cgroup/mine 2>/dev/null
        mount -t tmpfs none /tmp/m; hostname changed; ipcmk -Q >/dev/null; ip link add v0 type veth peer name v1
        touch /usr/bin/new-here; true";
    let before = host();
    let run = bash(script, Observer::Frozen, 1.0);
    assert_eq!(run.after.hostname, "changed");
    assert!(run.after.mounts.contains(&"/tmp/m".to_owned()) && !run.before.mounts.contains(&"/tmp/m".to_owned()));
    assert!(run.after.cgroups.iter().any(|name| name.ends_with(":/mine")), "{:?}", run.after.cgroups);
    assert_eq!(run.after.ipc.len(), 1, "{:?}", run.after.ipc);
    assert_ne!(run.before.links, run.after.links);
    assert!(!Path::new("/usr/bin/new-here").exists());
    assert_eq!((before.0, before.1), (host().0, host().1));
}

#[test]
#[ignore = "needs root: make test"]
fn a_fork_bomb_and_a_flood_are_bounded() {
    // Time enough: it is to be another limit that ends them. Of a bomb not more: in fifteen seconds bash gives up by itself.
    for observer in BOTH {
        let start = Instant::now();
        let bomb = bash("bomb() { bomb | bomb & }; bomb; sleep 100", observer, 1.0);
        assert!(matches!(&bomb.end, End::OverLimit(what) if what.starts_with("processes")), "{:?}", bomb.end);
        let flood = bash("yes", observer, 4.0);
        assert!(flood.output.cut, "{observer:?} {:?} {:?}", flood.end, flood.wall);
        assert!(flood.output.stdout.len() <= 1 << 20);
        assert!(matches!(&flood.end, End::OverLimit(what) if what.starts_with("output")), "{:?}", flood.end);
        assert!(start.elapsed() < NOT_FOR_EVER, "{:?}", start.elapsed());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_answers_the_grader_and_the_disks_are_out_of_reach() {
    let me = std::env::current_exe().unwrap();
    let script = format!(
        "ls {workspace} {me} 2>/dev/null
         tr -d '\\0' < /proc/1/environ; head -c 1 /proc/1/mem; readlink /proc/1/exe; tr -s '\\0' ' ' < /proc/1/cmdline; echo
         ls /home /root
         mkdir /d; mount -t devtmpfs none /d 2>/dev/null
         for disk in /d/vda /d/sda /d/nvme0n1; do [ -e $disk ] && head -c 1 $disk; done 2>/dev/null
         mknod /tmp/disk b 8 0; head -c 1 /tmp/disk 2>/dev/null && echo read a disk
         date -s '2001-01-01' 2>/dev/null >/dev/null && echo set the clock
         echo 1 > /proc/sys/vm/drop_caches; ls -l /proc/self/fd | wc -l",
        workspace = env!("CARGO_MANIFEST_DIR"),
        me = me.display()
    );
    let run = bash(&script, Observer::Frozen, 1.0);
    // stdin, stdout, stderr, the directory that ls reads, and the line with the total.
    assert_eq!(run.output.stdout, "/sbin/init \n/home:\nstudent\n\n/root:\n5\n", "{}", run.output.stderr);
    assert!(run.output.stderr.contains("drop_caches: Read-only file system"), "{}", run.output.stderr);
}

#[test]
#[ignore = "needs root: make test"]
fn what_does_not_build_says_so_with_the_first_error() {
    let (_dir, broken) = submission(Task::Task1, "namespace_prog.c", "int main(void) { return missing; }\n");
    let why = observe(&plan(&broken, Observer::Traced, 1.0)).unwrap_err();
    assert!(why.exit == Exit::DoesNotBuild && why.line().contains("missing"), "{why}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_large_write_and_a_blank_in_the_path_come_through_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("my task (1)");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("namespace_prog.py"), "import os\nprint(os.getcwd())\nprint('x' * 20000, flush=True)\n")
        .unwrap();
    let found = Submission::find(Some(&folder), Task::Task1, Kit::Own).unwrap();
    for observer in BOTH {
        let run = observe(&plan(&found, observer, 2.0)).unwrap();
        assert_eq!(run.output.stdout, format!("/home/student/my task (1)\n{}\n", "x".repeat(20000)), "{observer:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_same_seed_makes_the_same_box_and_another_one_another() {
    let (_dir, found) = submission(Task::Task1, "namespace_prog.sh", "hostname; echo $$");
    let with = |seed| observe(&RunPlan { seed, ..plan(&found, Observer::Frozen, 1.0) }).unwrap().output.stdout;
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
#[ignore = "needs root: make test"]
fn twenty_boxes_in_a_row_leave_the_host_as_it_was() {
    let before = host();
    let (_dir, found) = submission(Task::Task1, "namespace_prog.sh", "sleep 0.01 & wait");
    for _ in 0..20 {
        assert_eq!(observe(&plan(&found, Observer::Traced, 1.0)).unwrap().not_clean, Vec::<String>::new());
    }
    assert_eq!((before.0, before.1), (host().0, host().1));
}

/// Runs an attack of the zoo; the machine must be as it was.
fn attack(name: &str) -> Run {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/attack").join(name);
    let submission = Submission::find(Some(&folder), Task::Task1, Kit::Own).unwrap();
    let run = observe(&plan(&submission, Observer::Frozen, 2.0)).unwrap();
    assert_eq!(run.not_clean, Vec::<String>::new());
    assert!(run.output.stdout.lines().any(|line| line == "tried"), "{:?} {:?}", run.end, run.output);
    run
}

fn reached(run: &Run) -> Vec<&str> {
    run.output.stdout.lines().filter_map(|line| line.strip_prefix("REACHED ")).collect()
}

#[test]
#[ignore = "needs root: make test"]
fn settings_of_the_machine_are_reached_without_the_walls_and_not_with_them() {
    const BURST: &str = "/tmp/proc/sys/kernel/printk_ratelimit_burst";
    const BY_SELF: &str = "/proc/thread-self/root/tmp/sys/kernel/mm/ksm/run";
    let run = without(&[Wall::Guard, Wall::Settings], || attack("kernel-settings"));
    for open in ["/tmp/proc/sys/kernel/core_pattern", BURST, "/tmp/sys/kernel/mm/ksm/run", "mode of ksm/run", BY_SELF] {
        assert!(reached(&run).contains(&open), "{open} is not alive: {:?}", reached(&run));
    }
    // The kernel's own wall, without the guard: a file may be opened, but nothing can be written.
    let run = without(&[Wall::Guard], || attack("kernel-settings"));
    assert!(!reached(&run).contains(&BURST), "{:?}", reached(&run));
    let run = attack("kernel-settings");
    assert_eq!(reached(&run), Vec::<&str>::new());
    assert!(run.refused.iter().any(|told| told.ends_with("/sys/kernel/core_pattern")), "{:?}", run.refused);
}

#[test]
#[ignore = "needs root: make test"]
fn the_guard_takes_self_in_a_path_for_the_caller_in_each_pid_namespace() {
    let script = r#"
        look() {
            echo 7 >/proc/self/oom_score_adj && cat /proc/self/oom_score_adj
            : >/proc/thread-self/root/tmp/made-$1 && ls /tmp/made-$1
            echo by descriptor | tee /dev/fd/3
            for path in root/sys cwd/sys task/../root/sys; do
                (cd / && : >>/proc/self/$path/kernel/mm/ksm/run) 2>/dev/null && echo "reached by $path"
            done
            ulimit -c 0 && ulimit -c
        }
        export -f look
        exec 3>/dev/null
        look outer
        unshare --pid --fork --mount-proc bash -c 'exec 3>/dev/null; look inner; unshare --pid --fork --mount-proc bash -c "look innermost"'"#;
    let run = bash(script, Observer::Frozen, 1.0);
    let each = |name: &str| format!("7\n/tmp/made-{name}\nby descriptor\n0\n");
    assert_eq!(run.output.stdout, each("outer") + &each("inner") + &each("innermost"), "{}", run.output.stderr);
    let told: Vec<&String> = run.refused.iter().filter(|told| told.contains("ksm/run")).collect();
    assert_eq!(told.len(), 1, "{:?}", run.refused);
}

#[test]
#[ignore = "needs root: make test"]
fn devices_of_the_machine_are_reached_without_the_walls_and_not_with_them() {
    let mark = Path::new("/dev/grade-attack-marker");
    let before = Machine::now();
    let run = without(&[Wall::Guard, Wall::Devices], || attack("devices"));
    let alive = before.changes(&Machine::now()).join("\n");
    let _ = fs::remove_file(mark);
    assert!(alive.contains("/dev/grade-attack-marker") && alive.contains("kernel log"), "{alive}");
    assert!(reached(&run).contains(&"writing kmsg"), "{:?}", reached(&run));
    assert!(reached(&run).contains(&"the machine's /dev: kmsg"), "{:?}", reached(&run));
    let before = Machine::now();
    let run = attack("devices");
    assert_eq!(reached(&run), Vec::<&str>::new());
    assert_eq!(before.changes(&Machine::now()), Vec::<String>::new());
    assert!(run.refused.iter().any(|told| told == "mount of debugfs"), "{:?}", run.refused);
}

#[test]
#[ignore = "needs root: make test"]
fn calls_on_the_whole_machine_get_through_without_the_walls_and_not_with_them() {
    /// Each gets through on every kernel of a distribution; the kernel's build may lack the others.
    const ALIVE: [&str; 23] = [
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "add_key",
        "request_key",
        "keyctl",
        "swapon",
        "swapoff",
        "fanotify_init",
        "userfaultfd",
        "open_by_handle_at",
        "syslog",
        "acct",
        "adjtimex",
        "reboot",
        "ioprio_set",
        "the random device",
        "nice",
        "attributes of /sys/kernel",
        "leases",
        "line disciplines",
    ];
    let before = Machine::now();
    let run = without(&[Wall::Guard, Wall::Capabilities], || attack("kernel-calls"));
    for open in ALIVE {
        assert!(reached(&run).iter().any(|line| line.starts_with(open)), "{open} is not alive: {:?}", reached(&run));
    }
    let run = attack("kernel-calls");
    assert_eq!(reached(&run), Vec::<&str>::new());
    for told in ["bpf", "io_uring_setup", "keyctl", "socket of family 40"] {
        assert!(run.refused.iter().any(|line| line == told), "{told}: {:?}", run.refused);
    }
    assert_eq!(before.changes(&Machine::now()), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn the_program_of_a_v1_hierarchy_is_set_without_the_wall_and_not_with_it() {
    // A hierarchy in which all processes stand at the root, mounted where only its keeper sees it: so the box has no cgroup in it.
    let script =
        "mount -t cgroup -o none,name=grade-attack none /mnt && echo mounted && read line; cat /mnt/release_agent";
    let mut keeper = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut said, mut line) = (BufReader::new(keeper.stdout.take().unwrap()), String::new());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "mounted\n");
    let run = without(&[Wall::Guard], || attack("release-agent"));
    for open in ["release_agent of none,name=grade-attack", "the root of none,name=grade-attack"] {
        assert!(reached(&run).contains(&open), "{open} is not alive: {:?}", run.output);
    }
    let run = attack("release-agent");
    assert_eq!(reached(&run), Vec::<&str>::new());
    assert!(run.refused.iter().any(|told| told == "mount of cgroup name=grade-attack"), "{:?}", run.refused);
    drop(keeper.stdin.take());
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "", "the attack took its mark away, and nobody else left one");
    keeper.wait().unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn a_compiler_without_memory_is_the_machines_fault_and_a_greedy_program_its_own() {
    let built_with = |memory_bytes: u64, tens: u32| {
        // Ten to the power of `tens` numbers, of which the compiler remembers each.
        let macros =
            (0..tens).map(|n| format!("#define A{} A{n} A{n} A{n} A{n} A{n} A{n} A{n} A{n} A{n} A{n}\n", n + 1));
        let macros: String = macros.collect();
        let text =
            format!("#define A0 1,\n{macros}static int all[] = {{ A{tens} }};\nint main(void) {{ return all[0]; }}\n");
        let (_dir, submission) = submission(Task::Task1, "namespace_prog.c", &text);
        let (prepared, signals) = (submission.prepare().unwrap(), Signals::block().unwrap());
        let plan = SandboxPlan {
            seed: 1,
            folder: prepared.folder.clone(),
            files: prepared.files.clone(),
            system: Vec::new(),
            own_home: false,
            hide: Vec::new(),
            disk_bytes: DISK_BYTES,
            limits: ResourceLimits { memory_bytes, ..limits() },
            cpu_enabled: false,
            tells_of_ends: false,
        };
        let host = Sandbox::start(&plan)?;
        build(&host, &prepared, &prepared.build[0], &signals)
    };
    assert!(built_with(16 << 20, 1).unwrap_err().line().contains("too little memory"));
    // The kernel's own structures of the box count as well.
    let built = built_with(40 << 20, 6);
    assert!(matches!(&built, Err(why) if why.line().contains("to build")), "{built:?}");
    assert!(built_with(600 << 20, 1).is_ok());
    let built = built_with(512 << 20, 8);
    assert!(matches!(&built, Err(why) if why.exit == Exit::DoesNotBuild), "{built:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_hang_of_any_kind_ends_with_the_time() {
    let hangs = [
        "int main(void) { if (vfork() == 0) { for (;;) pause(); } return 0; }",
        "int main(void) { int p[2]; pipe(p); for (;;) write(p[1], p, 8); }",
        "int main(void) { for (;;) ; }",
        "int main(void) { for (;;) getppid(); }",
        "int main(void) { raise(SIGSTOP); return 0; }",
        "int main(void) { sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, 0); sigsuspend(&all); }",
        "static void *mate(void *lock) { pthread_mutex_lock(lock); return 0; }
         int main(void) { pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; pthread_t one; pthread_mutex_lock(&lock);
                          pthread_create(&one, 0, mate, &lock); pthread_join(one, 0); }",
    ];
    for hang in hangs {
        for observer in BOTH {
            let text = format!(
                "#define _GNU_SOURCE\n#include <signal.h>\n#include <unistd.h>\n#include <pthread.h>\n{hang}\n"
            );
            let (_dir, submission) = submission(Task::Task1, "namespace_prog.c", &text);
            let run = observe(&plan(&submission, observer, 0.2)).unwrap();
            assert!(matches!(run.end, End::TimedOut(_)), "{hang}: {:?}", run.end);
            assert!(run.wall < NOT_FOR_EVER, "{hang} {observer:?}: {:?}", run.wall);
            assert_eq!(run.not_clean, Vec::<String>::new(), "{hang}");
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_file_system_that_never_answers_holds_nobody_up() {
    // The trap is alive only where the box lets it be mounted.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/attack/hangs-the-grader");
    let found = Submission::find(Some(&folder), Task::Task2, Kit::Own).unwrap();
    for observer in BOTH {
        let plan = RunPlan { task: Task::Task2, keep: true, ..plan(&found, observer, 0.1) };
        let start = Instant::now();
        let run = without(&[Wall::Guard, Wall::Devices], || observe(&plan).unwrap());
        assert!(run.output.stdout.contains("REACHED fuse"), "{:?}", run.output);
        assert!(matches!(run.end, End::TimedOut(_)), "{observer:?}: {:?}", run.end);
        assert!(start.elapsed() < NOT_FOR_EVER, "{observer:?}: {:?}", start.elapsed());
        assert_eq!(run.not_clean, Vec::<String>::new());
        run.kept.map(fs::remove_dir_all);
    }
    let run = observe(&RunPlan { task: Task::Task2, ..plan(&found, Observer::Frozen, 1.0) }).unwrap();
    assert_eq!((run.end, run.output.stdout.as_str()), (End::Exited(0), "tried\n"), "{}", run.output.stderr);
}

#[test]
#[ignore = "needs root: make test"]
fn a_session_that_waits_for_its_box_is_ended_as_well() {
    let script = r#"
import ctypes, os, time
os.mknod("/tmp/fuse", 0o020600, os.makedev(10, 229))
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % os.open("/tmp/fuse", os.O_RDWR)
assert ctypes.CDLL(None).mount(b"fuse", os.getcwd().encode(), b"fuse", 0, options) == 0
print("mounted", flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)"#;
    let (_dir, submission) = submission(Task::Task3, "conductor.py", script);
    let plan = RunPlan { task: Task::Task3, ..plan(&submission, Observer::Between, 0.02) };
    let start = Instant::now();
    let run = without(&[Wall::Guard, Wall::Devices], || crate::session::observe(&plan).unwrap());
    assert!(start.elapsed() < NOT_FOR_EVER, "{:?}", start.elapsed());
    assert_eq!(run.not_clean, Vec::<String>::new());
    let printed = format!("{:?}", run.session);
    assert!(printed.contains("mounted"), "the trap is not alive: {printed}");
}

#[test]
#[ignore = "needs root: make test"]
fn any_number_of_cgroups_is_taken_down_and_none_but_a_few_can_be_made() {
    let start = Instant::now();
    let run = without(&[Wall::Cgroups, Wall::Guard], || attack("nested-cgroups"));
    assert!(reached(&run).iter().any(|line| line.ends_with("300 deep")), "{:?}", run.output);
    assert!(start.elapsed() < NOT_FOR_EVER, "{:?}", start.elapsed());
    assert_eq!(reached(&attack("nested-cgroups")), Vec::<&str>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn a_neighbours_files_are_seen_without_the_wall_and_not_with_it() {
    let places = ["/srv", "/opt", "/var/lib", "/usr/src", ""]
        .map(|place| format!("{place}/grade-attack-neighbour/task1/main.c"));
    let _bait = Bait::lay(&places.clone().map(PathBuf::from)).unwrap();
    let run = without(&[Wall::View], || attack("neighbours"));
    for place in &places {
        assert!(reached(&run).contains(&place.as_str()), "{place} is not alive: {:?}", reached(&run));
    }
    assert_eq!(reached(&attack("neighbours")), Vec::<&str>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn the_cgroup_root_takes_processes_back_and_is_mounted_as_on_any_host() {
    let script = r#"
        tree=$(awk '$3 == "cgroup2" { print $2 }' /proc/mounts); echo "$tree" | wc -l
        mkdir $tree/mine && echo $$ >$tree/mine/cgroup.procs && grep ^0: /proc/self/cgroup
        echo $$ >$tree/cgroup.procs && grep ^0: /proc/self/cgroup
        rmdir $tree/mine && echo removed"#;
    let run = bash(script, Observer::Traced, 1.0);
    assert_eq!(run.output.stdout, "1\n0::/mine\n0::/back\nremoved\n", "{}", run.output.stderr);
}

#[test]
#[ignore = "needs root: make test"]
fn honest_programs_mount_and_make_what_a_host_lets_them() {
    let script = r#"
        cd /tmp; mkdir -p m r/dev
        unshare -r true && echo user
        unshare -Urnm --fork --pid --mount-proc sh -c '[ "$(ls /proc | head -1)" = 1 ] && mount -t sysfs s /sys' && echo nested
        for kind in proc sysfs tmpfs ramfs mqueue devpts; do mount -t $kind $kind m && umount m && echo $kind; done
        mount -t devtmpfs dev r/dev && [ -c r/dev/null ] && echo x >r/dev/null && umount r/dev && echo devtmpfs
        mount --bind /dev r/dev && head -c 1 r/dev/zero >/dev/null && umount r/dev && echo bind
        mount -t tmpfs t m && mknod m/null c 1 3 && echo x >m/null && mknod m/console c 5 1 && mknod m/disk b 8 0 && umount m && echo nodes
        echo 1 >/proc/sys/net/ipv4/ip_forward && echo inner >/proc/sys/kernel/hostname && [ "$(hostname)" = inner ] && echo settings
        echo 100 >/proc/self/oom_score_adj && chmod 600 r && chown 1:1 r && echo files
        ip link add v0 type veth peer name v1 && ip link set v0 up && echo 1400 >/sys/class/net/v0/mtu && echo links
        grep -c ' /proc/\| /sys/fs/cgroup/.*procs' /proc/mounts"#;
    for observer in BOTH {
        let run = bash(script, observer, 1.0);
        assert_eq!(
            run.output.stdout.split_whitespace().collect::<Vec<_>>(),
            [
                "user", "nested", "proc", "sysfs", "tmpfs", "ramfs", "mqueue", "devpts", "devtmpfs", "bind", "nodes",
                "settings", "files", "links", "0"
            ],
            "{}",
            run.output.stderr
        );
        assert_eq!(run.refused, Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_mount_namespace_can_be_kept_in_a_file_wherever_it_is_made() {
    // On each processor, some times over.
    let script = r#"
        mkdir /run/kept && mount --bind /run/kept /run/kept && mount --make-private /run/kept && touch /run/kept/mnt
        for round in 1 2 3 4 5; do for cpu in $(seq 0 $(($(nproc) - 1))); do
            taskset -c $cpu unshare --mount=/run/kept/mnt true && umount /run/kept/mnt || echo failed on $cpu
        done; done; ls -ld /var/run /var/lock | grep -o '[^ ]* -> .*'"#;
    let run = bash(script, Observer::Frozen, 1.0);
    assert_eq!(run.output.stdout, "/var/lock -> /run/lock\n/var/run -> /run\n", "{}", run.output.stderr);
}
