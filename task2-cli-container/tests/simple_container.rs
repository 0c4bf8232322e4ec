//! Runs `simple_container` as a user does and checks its output, the kernel's view of it, and what is left afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end in a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_simple_container"), env!("CARGO_BIN_EXE_container_prog")];
const NOBODY: u32 = 65534;
const SUM: &str = "107375219085276240";

#[test]
#[ignore = "needs root: make test"]
fn it_prints_the_reference_output_and_the_kernel_confirms_each_kind_of_isolation() {
    let place = Place::new();
    let before = host_name();
    let mut run = place.start(&[]);
    run.read_to("Output Subtask 2b");
    run.read_to("Computation Benchmark:");
    let program = run.program();
    assert_eq!(fs::read_link(format!("/proc/{program}/root")).unwrap(), place.root());
    assert_eq!(fs::read_link(format!("/proc/{program}/cwd")).unwrap(), place.root());
    assert_eq!(own_kinds(program), ["pid", "uts"]);
    assert_eq!(inner_pid(program), 1);
    run.read_to("Output Subtask 2c");
    run.read_to("Computation Benchmark:");
    let program = run.program();
    assert_eq!(fs::read_link(format!("/proc/{program}/root")).unwrap(), place.root());
    assert_eq!(own_kinds(program), ["ipc", "pid", "uts"]);
    let limit = limit_of(program);
    assert_eq!((limit.quota, limit.period), (50_000, 100_000), "{limit:?}");
    assert_eq!(limit.processes(), [program]);
    let cores = cores_used(&[program], Duration::from_millis(700));
    assert!((0.1..0.58).contains(&cores), "half of one core: {cores}");

    let (output, status, _) = run.end();
    assert!(status.success());
    assert_matches_reference(&output, &place.root());
    assert_eq!(host_name(), before);
    assert_eq!(place.left(), Left::default());
}

#[test]
#[ignore = "needs root: make test"]
fn a_caller_that_ignores_the_end_of_its_children_changes_nothing() {
    let place = Place::new();
    let program = place.command(&["2a"]);
    let mut perl = Command::new("perl");
    perl.args(["-e", "$SIG{CHLD} = 'IGNORE'; exec @ARGV"]).arg(program.get_program()).args(program.get_args());
    let out = perl.current_dir(place.folder.path()).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(place.left(), Left::default());
}

#[test]
#[ignore = "needs root: make test"]
fn asked_to_end_at_any_moment_it_leaves_nothing() {
    let place = Place::new();
    let before = host_name();
    let signals = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];
    // Before it prints anything, while it fills the root, and in between.
    for (step, (signal, code)) in (0..24).zip(signals.into_iter().cycle()) {
        let run = place.start(&["2c"]);
        std::thread::sleep(Duration::from_micros(300 * step));
        run.ask(signal);
        let (_, status, told) = run.end();
        // At first it has blocked no signals yet, but owns nothing either.
        let at_once = std::os::unix::process::ExitStatusExt::signal(&status) == Some(signal as i32);
        assert!(status.code() == Some(code) || at_once, "{status}: {told}");
        assert_eq!(place.left(), Left::default(), "{signal} after {} µs", 300 * step);
    }
    for what in ["2b", "2c"] {
        for (signal, code) in signals {
            let mut run = place.start(&[what]);
            run.read_to("Computation Benchmark:");
            run.ask(signal);
            assert_eq!(run.end().1.code(), Some(code));
            assert_eq!(place.left(), Left::default(), "{signal} in the middle of {what}");
        }
    }
    assert_eq!(host_name(), before);
    assert!(place.root().join("container_prog").is_file(), "container_root stays for inspection");
}

#[test]
#[ignore = "needs root: make test"]
fn killed_outright_its_processes_end_and_its_cgroup_goes_with_the_next_run() {
    let place = Place::new();
    let mut run = place.start(&["2c"]);
    run.read_to("Computation Benchmark:");
    let directory = limit_of(run.program()).directory;
    run.ask(Signal::SIGKILL);
    run.end();
    wait_until(|| place.left().processes.is_empty(), "its processes end with it");
    assert!(directory.is_dir(), "nobody was there to remove the cgroup");
    // The cgroup of a live run, named in the same way, must not be removed.
    let mut other = place.start(&["2c"]);
    other.read_to("Computation Benchmark:");
    assert!(!directory.exists(), "the next run removes it");
    let theirs = limit_of(other.program());
    let mut third = place.start(&["2c"]);
    third.read_to("Computation Benchmark:");
    assert!(!theirs.processes().is_empty(), "a run that lives keeps its cgroup and its processes");
    for run in [other, third] {
        run.ask(Signal::SIGINT);
        assert_eq!(run.end().1.code(), Some(130));
    }
    assert_eq!(place.left(), Left::default());
}

#[test]
#[ignore = "needs root: make test"]
fn the_limit_holds_for_all_processes_together_and_before_the_first_instruction() {
    let place = Place::with_program("#!/usr/bin/perl\n$| = 1;\nprint \"busy\\n\" if fork;\n1 while 1;\n");
    let mut run = place.start(&["2c", "--explain"]);
    run.read_to("busy");
    let limit = limit_of(run.program());
    let processes = limit.processes();
    assert_eq!(processes.len(), 2, "the program and its child");
    let cores = cores_used(&processes, Duration::from_millis(700));
    assert!((0.1..0.58).contains(&cores), "half of one core for both together: {cores}");
    run.ask(Signal::SIGTERM);
    let (_, _, told) = run.end();
    let place_of = |call: &str| told.find(call);
    let inside = place_of("|CLONE_INTO_CGROUP)").or_else(|| place_of("/cgroup.procs\", \""));
    assert!(inside.is_some() && inside < place_of("execve(\"/container_prog\""), "{told}");
    assert_eq!(place.left(), Left::default());
}

#[test]
#[ignore = "needs root: make test"]
fn another_share_can_be_asked_for() {
    let place = Place::new();
    let mut run = place.start(&["2c", "--cpus", "0.25"]);
    run.read_to("Computation Benchmark:");
    let limit = limit_of(run.program());
    assert_eq!((limit.quota, limit.period), (25_000, 100_000));
    run.ask(Signal::SIGINT);
    run.end();
}

#[test]
#[ignore = "needs root: make test"]
fn a_program_that_fails_or_crashes_is_one_line_and_exit_code_1_and_leaves_nothing() {
    let crash = "simple_container: cannot show subtask 2c: container_prog was killed by SIGSEGV\n";
    let failure = "simple_container: cannot show subtask 2c: container_prog ended with code 7\n";
    // Process 1 of a namespace cannot kill itself, so that happens in 2a.
    let scripts = [("2c", "#!/bin/sh\nexit 7\n", failure), ("2a", "#!/bin/sh\nkill -SEGV $$\n", crash)];
    for (what, script, line) in scripts {
        let place = Place::with_program(script);
        let (_, status, told) = place.start(&[what]).end();
        assert_eq!(status.code(), Some(1));
        assert!(told.ends_with(&line.replace("2c", what)), "{told}");
        assert_eq!(place.left(), Left::default());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_program_leaves_running_ends_with_it_also_without_a_pid_namespace() {
    // The program and its child ignore SIGTERM and SIGHUP; the grandchild is an orphan.
    let background = "#!/usr/bin/perl\n$SIG{TERM} = $SIG{HUP} = 'IGNORE';\nexit 0 if fork;\nfork;\n1 while 1;\n";
    for what in ["2a", "2b", "2c"] {
        let place = Place::with_program(background);
        let (_, status, told) = place.start(&[what]).end();
        assert!(status.success(), "{told}");
        assert_eq!(place.left(), Left::default(), "{what}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_root_that_is_missing_empty_or_half_full_is_made_whole() {
    let place = Place::new();
    let show = || {
        let (output, status, told) = place.start(&["2a"]).end();
        assert!(status.success(), "{told}");
        output
    };
    assert!(!place.root().exists());
    show();
    fs::remove_dir_all(place.root().join("lib")).unwrap();
    fs::write(place.root().join("container_prog"), "broken").unwrap();
    show();
    fs::remove_dir_all(place.root()).unwrap();
    fs::create_dir(place.root()).unwrap();
    let output = show();
    let entries =
        output.lines().skip_while(|line| !line.starts_with("Files/")).skip(1).take_while(|line| *line != LINE);
    let entries: BTreeSet<&str> = entries.collect();
    assert_eq!(entries, BTreeSet::from([".", "..", "container_prog", "lib", "lib64"]));
}

#[test]
#[ignore = "needs root: make test"]
fn a_root_that_cannot_be_is_refused_with_the_reason() {
    let place = Place::new();
    let folder = place.folder.path();
    fs::write(folder.join("file"), "").unwrap();
    symlink("/", folder.join("link")).unwrap();
    let refusals = [
        ("/", "the host's own"),
        ("link", "the host's own"),
        ("file", "File exists (EEXIST); a file is in the way"),
        ("/proc/none", "cannot make the folder /proc/none: "),
    ];
    for (root, reason) in refusals {
        let (output, status, told) = place.start(&["--root", root]).end();
        assert_eq!((status.code(), output.as_str()), (Some(1), ""));
        assert!(told.starts_with("simple_container: ") && told.contains(reason), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let (_, status, told) = place.start(&["2a", "--root", "with two blanks"]).end();
    assert!(status.success(), "{told}");
    assert!(folder.join("with two blanks/container_prog").is_file());
}

#[test]
#[ignore = "needs root, to become nobody: make test"]
fn without_root_it_says_so_in_one_line() {
    let place = Place::new();
    let mut command = place.command(&[]);
    command.uid(NOBODY).gid(NOBODY);
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        stderr(&out),
        "simple_container: cannot make containers: Operation not permitted (EPERM); this requires root: run it with sudo\n"
    );
    assert!(!place.root().exists());
}

#[test]
#[ignore = "needs root: make test"]
fn a_full_disk_at_the_other_end_is_a_clear_line() {
    let place = Place::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = place.command(&["2a"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(stderr(&out), "simple_container: cannot write to stdout: No space left on device (ENOSPC)\n");
    assert_eq!(place.left(), Left::default());
}

#[test]
#[ignore = "needs root: make test"]
fn explain_tells_each_step_on_stderr_and_leaves_stdout_alone() {
    let place = Place::new();
    let (output, status, told) = place.start(&["2a", "--explain"]).end();
    assert!(status.success());
    assert!(output.lines().next() == Some("Output Subtask 2a") && !output.contains("why "), "{output}");
    for call in ["--list", "RESOLVE_IN_ROOT", "clone3(0)", "chroot(\"", "chdir(\"/\")", "execve(\"/container_prog\""] {
        assert!(told.contains(call), "{call} in:\n{told}");
    }
    let count = |start| told.lines().filter(|line| line.trim_start().starts_with(start)).count();
    assert_eq!(count("["), count("why "), "{told}");
    assert_eq!(count("["), count("shell "), "{told}");
}

#[test]
fn wrong_options_are_refused_with_exit_code_2() {
    for cpus in ["0", "-1", "nan", "9999", "half", ""] {
        let out = Command::new(PROGRAMS[0]).args(["--cpus", cpus]).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{cpus}");
        assert!(stderr(&out).contains("a number of cores from 0.01 to "), "{cpus}: {}", stderr(&out));
    }
    let out = Command::new(PROGRAMS[0]).arg("2d").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("2a, 2b, 2c, all"), "{}", stderr(&out));
}

#[test]
fn container_prog_takes_exactly_one_of_three_words() {
    for arguments in [&[][..], &["subtask4"], &["subtask1", "subtask1"], &[""], &["--help"]] {
        let out = Command::new(PROGRAMS[1]).args(arguments).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stderr(&out), "usage: container_prog subtask1|subtask2|subtask3\n");
        assert!(out.stdout.is_empty());
    }
    let out = Command::new(PROGRAMS[1]).arg("subtask1").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success());
    assert!(text.contains("\netc\n"), "outside of a container it lists the host's root: {text}");
}

const LINE: &str = "_ _ _ _ _ _ _ _ _ _ _ _ _ _";

/// A temporary folder with copies of the two programs, so that their processes can be recognised.
struct Place {
    folder: TempDir,
    /// All runs share one tree of cgroups: one test leaves a cgroup on purpose, which any other run would remove.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Place {
    fn new() -> Self {
        // A failed test poisons the lock; the others go on.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::with_prefix("task 2 ").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // By cp(1): a child of another test could inherit a descriptor open for writing, and execve would fail
        // (ETXTBSY).
        assert!(Command::new("cp").args(PROGRAMS).arg(folder.path()).status().unwrap().success());
        Self { folder, _turn: turn }
    }

    /// With another `container_prog`.
    fn with_program(script: &str) -> Self {
        let place = Self::new();
        fs::write(place.folder.path().join("container_prog"), script).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join("container_root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("simple_container"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn start(&self, arguments: &[&str]) -> Run {
        let mut process = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Run { process, stdout, text: String::new() }
    }

    /// What its runs have left: processes, cgroups, mounts.
    fn left(&self) -> Left {
        let folder = fs::canonicalize(self.folder.path()).unwrap();
        let is_ours = |pid: &i32| {
            let leads_here =
                |link: &str| fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|path| path.starts_with(&folder));
            leads_here("exe") || leads_here("root")
        };
        let mut cgroups = BTreeSet::new();
        collect_cgroups(Path::new("/sys/fs/cgroup"), &mut cgroups);
        // Not those of another program's run beside this test.
        cgroups.retain(|path| !maker_lives(path));
        // Mountinfo writes a blank as \040; the part after it is unique to this test.
        let mark = folder.to_str().unwrap().rsplit(' ').next().unwrap().to_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect();
        Left { processes: processes().into_iter().filter(is_ours).collect(), cgroups, mounts }
    }
}

/// What a run must not leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    processes: Vec<i32>,
    cgroups: BTreeSet<PathBuf>,
    mounts: BTreeSet<String>,
}

fn collect_cgroups(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with("docker-lite-2c-") {
                found.insert(entry.path());
            }
            collect_cgroups(&entry.path(), found);
        }
    }
}

/// Whether the process whose PID is in the name exists.
fn maker_lives(cgroup: &Path) -> bool {
    let name = cgroup.file_name().unwrap().to_str().unwrap();
    Path::new("/proc").join(name.split('-').nth(3).unwrap()).exists()
}

/// `simple_container` while it runs.
struct Run {
    process: Child,
    stdout: BufReader<ChildStdout>,
    text: String,
}

impl Run {
    fn read_to(&mut self, wanted: &str) {
        loop {
            let begin = self.text.len();
            let count = self.stdout.read_line(&mut self.text).unwrap();
            assert_ne!(count, 0, "no line {wanted:?} in:\n{}", self.text);
            if self.text[begin..].trim_end() == wanted {
                return;
            }
        }
    }

    fn ask(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// The container's first process: the only child of `simple_container`.
    fn program(&self) -> i32 {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.trim().parse().unwrap_or_else(|_| panic!("one child, not {children:?}"))
    }

    /// Waits for its end; returns all of stdout, the exit status, and stderr.
    fn end(mut self) -> (String, ExitStatus, String) {
        self.stdout.read_to_string(&mut self.text).unwrap();
        let mut told = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (std::mem::take(&mut self.text), self.process.wait().unwrap(), told)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU limit of a process, as the kernel holds it.
#[derive(Debug)]
struct Limit {
    directory: PathBuf,
    quota: u64,
    period: u64,
}

impl Limit {
    fn processes(&self) -> Vec<i32> {
        let listed = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap();
        listed.lines().map(|line| line.parse().unwrap()).collect()
    }
}

fn limit_of(pid: i32) -> Limit {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path =
        |tree: &str| groups.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(tree)?.strip_prefix(":/"));
    let number = |text: &str| text.trim().parse().unwrap();
    let v1 = Path::new("/sys/fs/cgroup/cpu");
    if v1.exists() {
        let tree = ["cpu", "cpu,cpuacct", "cpuacct,cpu"].into_iter().find_map(path).unwrap();
        let directory = v1.join(tree);
        let read = |file: &str| number(&fs::read_to_string(directory.join(file)).unwrap());
        Limit { quota: read("cpu.cfs_quota_us"), period: read("cpu.cfs_period_us"), directory }
    } else {
        let directory = Path::new("/sys/fs/cgroup").join(path("").unwrap());
        let text = fs::read_to_string(directory.join("cpu.max")).unwrap();
        let (quota, period) = text.split_once(' ').unwrap();
        Limit { quota: number(quota), period: number(period), directory }
    }
}

/// CPU time that these processes use together, in cores, measured over `time`.
fn cores_used(processes: &[i32], time: Duration) -> f64 {
    let ticks = || -> u64 {
        let of = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        processes.iter().map(of).sum()
    };
    let (begin, before) = (Instant::now(), ticks());
    std::thread::sleep(time);
    // A tick is a hundredth of a second (USER_HZ).
    (ticks() - before) as f64 / 100.0 / begin.elapsed().as_secs_f64()
}

/// The kinds of namespace that a process does not share with this test.
fn own_kinds(pid: i32) -> Vec<&'static str> {
    let inode = |pid: &str, kind: &str| fs::metadata(format!("/proc/{pid}/ns/{kind}")).unwrap().ino();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    kinds.into_iter().filter(|kind| inode(&pid.to_string(), kind) != inode("self", kind)).collect()
}

/// The PID of a process in its own PID namespace: the last one of `NSpid`.
fn inner_pid(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    numbers.split_whitespace().last().unwrap().parse().unwrap()
}

/// Compares with `expected/output.txt`; a blank `<…>` matches any value, but the same value wherever it occurs.
fn assert_matches_reference(output: &str, root: &Path) {
    let mut entries: Vec<String> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    entries.extend([".".to_owned(), "..".to_owned()]);
    let mut lines = output.lines();
    let host = host_name();
    let mut blanks = BTreeMap::from([("<host>", host.as_str()), ("<sum>", SUM), ("<inner-host>", "new_hostname")]);
    blanks.extend([("<pid-2b>", "1"), ("<child-2b>", "2"), ("<pid-2c>", "1"), ("<child-2c>", "2")]);
    for wanted in include_str!("../expected/output.txt").lines() {
        if wanted == "<entries>" {
            let mut listed: Vec<&str> = lines.by_ref().take(entries.len()).collect();
            listed.sort_unstable();
            entries.sort_unstable();
            assert_eq!(listed, entries);
            continue;
        }
        let line = lines.next().unwrap_or_default();
        let Some((before, rest)) = wanted.split_once('<') else {
            assert_eq!(line, wanted);
            continue;
        };
        let (blank, after) = rest.split_once('>').unwrap();
        let value = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).unwrap_or("?");
        let blank = &wanted[before.len()..before.len() + blank.len() + 2];
        assert_eq!(*blanks.entry(blank).or_insert(value), value, "{blank} in line {line:?} of\n{output}");
    }
    assert_eq!(lines.next(), None, "{output}");
    for time in ["<time-2b>", "<time-2c>"] {
        // On any machine, a hundred million random numbers take at least 0.1 s and less than half an hour.
        assert!((100..1_800_000).contains(&blanks[time].parse::<u64>().unwrap()), "{time} in ms: {}", blanks[time]);
    }
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

fn processes() -> Vec<i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

fn wait_until(mut holds: impl FnMut() -> bool, claim: &str) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(300), "not within minutes: {claim}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
