//! A separate host for each test, with a tool, the services to deploy, and an outside network.
//!
//! ```text
//!   c1, c2 ── NAME-outside  host  up0 ───── up0-far  world (another machine, and the internet)
//! ```

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testlab::deadline::within;
pub use testlab::netns;
use testlab::netns::{HOST, Netns, host_and_internet};

/// An answer: status and text.
pub type Answer = Option<(u16, String)>;

/// The host, the outside network, and the folder of the tool.
pub struct World {
    pub host: Netns,
    pub outside: Netns,
    top: tempfile::TempDir,
}

impl World {
    /// The folders are arranged as in the workspace, the tool's beside the services'. No mirror answers, and none is
    /// asked: `build` starts from this host's programs.
    pub fn new() -> Self {
        let world = Self::with_a_mirror("");
        let config = world.folder().join("config.sh");
        let text = fs::read_to_string(&config).unwrap().replace("debian:bookworm", "host");
        fs::write(config, text).unwrap();
        world
    }

    /// `build` starts from Debian, from this mirror.
    pub fn with_a_mirror(mirror: &str) -> Self {
        let (host, outside) = host_and_internet();
        let top = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let world = Self { host, outside, top };
        fs::create_dir(world.folder()).unwrap();
        for script in ["conductor.sh", "config.sh"] {
            fs::copy(here.join("../task3-conductor").join(script), world.folder().join(script)).unwrap();
        }
        let config = world.folder().join("config.sh");
        let text = fs::read_to_string(&config).unwrap().replace("MIRROR=\"\"", &format!("MIRROR=\"{mirror}\""));
        fs::write(config, text).unwrap();
        std::os::unix::fs::symlink(here, world.top.path().join("task4-services")).unwrap();
        world
    }

    /// With another tool, the grader's in bash, which does only what the assignment says. `change` adapts its source to
    /// the test. Its debootstrap is also the grader's, which uses the host's programs.
    pub fn with_another_tool(change: impl Fn(String) -> String) -> Self {
        let world = Self::with_a_mirror("");
        let grader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/grader");
        let tool = fs::read_to_string(grader.join("../../editions/c/task3/conductor.sh")).unwrap();
        fs::write(world.folder().join("conductor.sh"), change(tool)).unwrap();
        fs::write(world.folder().join("config.sh"), "DEFAULT_IFC=up0\nMIRROR=file:///srv/debian\n").unwrap();
        fs::create_dir(world.folder().join("bin")).unwrap();
        let debootstrap = grader.join("src/session/debootstrap.sh");
        // It reports progress on descriptor 3 if that is open; here it may be some file inherited by the tests.
        let script = format!("#!/bin/sh\nexec bash '{}' \"$@\" 3>&-\n", debootstrap.display());
        fs::write(world.folder().join("bin/debootstrap"), script).unwrap();
        let runnable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(world.folder().join("bin/debootstrap"), runnable).unwrap();
        // This tool does not reset it.
        world.host.run_script("echo 1 >/proc/sys/net/ipv4/ip_forward");
        world
    }

    /// The folder of the tool and its state.
    pub fn folder(&self) -> PathBuf {
        self.top.path().join("task3-conductor")
    }

    /// The orchestrator with these command-line words.
    pub fn orchestrator(&self, words: &str) -> Command {
        let files = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(files.join("counter-service/counter-service").exists(), "no services yet: task4-services/bundle");
        let mut command = self.command(env!("CARGO_BIN_EXE_service-orchestrator"));
        command.arg("--conductor").arg(self.folder().join("conductor.sh"));
        if !words.contains("--spec") {
            command.arg("--files").arg(files);
        }
        command.args(words.split_whitespace());
        command
    }

    /// Runs the orchestrator, which must succeed; returns its output.
    pub fn orchestrate(&self, words: &str) -> String {
        let output = in_time(self.orchestrator(words)).output().unwrap();
        assert!(output.status.success(), "{words}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Kills `up` while its command number `nth` runs, counted from 0, and takes the deployment down, after another
    /// `up` or at once: nothing may be left. False if `up` ran fewer commands.
    pub fn survives_a_kill_at(&self, nth: usize, then_up: bool, down: &str) -> bool {
        let before = self.snapshot();
        let Some(line) = self.killed_at_line(nth) else {
            self.orchestrate("down");
            return false;
        };
        let case = format!("{line}, then {}", if then_up { "up and down" } else { "down" });
        if then_up {
            self.orchestrate("up");
            assert_eq!(number(&ask(&self.outside, HOST, 3000, "/")), 1, "{case}");
        }
        self.orchestrate(down);
        assert_eq!(self.snapshot(), before, "{case}");
        assert_eq!(self.belonging(), BTreeSet::new(), "{case}");
        assert!(self.conductor("ps").contains("No containers found"), "{case}");
        assert_eq!(self.conductor("images").contains("No images found"), down.contains("--rmi"), "{case}");
        true
    }

    /// Kills `up` at that line; what it started keeps running.
    fn killed_at_line(&self, nth: usize) -> Option<String> {
        // nsenter(1) has executed the orchestrator: only that is killed.
        let mut up = self.orchestrator("up").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.by_ref().filter(|line| line.starts_with("$ ")).nth(nth);
        // The line is printed before the command starts; a quick command may end before we look.
        if let Some(words) = line.as_deref().and_then(|line| line.strip_prefix("$ ./conductor.sh ")) {
            let begin = Instant::now();
            while !self.is_at_work(words.trim_end_matches(" &")) && begin.elapsed() < within(Duration::from_secs(1)) {}
        }
        up.kill().unwrap();
        up.wait().unwrap();
        // Its commands write to the same pipe: it stays open until they have ended.
        std::thread::spawn(move || lines.for_each(drop));
        line
    }

    /// Whether a process of the tool with these command-line words is running.
    fn is_at_work(&self, words: &str) -> bool {
        self.belonging().into_iter().any(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains("task3-conductor") && line.contains(words)
        })
    }

    /// Runs the orchestrator, which must fail; returns its one line of error.
    pub fn refused(&self, words: &str) -> String {
        let output = in_time(self.orchestrator(words)).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {}", text(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// A command on the host that can find the program of task 3.
    pub fn command(&self, program: &str) -> Command {
        let conductor = Path::new(env!("CARGO_BIN_EXE_service-orchestrator")).with_file_name("conductor");
        assert!(conductor.exists(), "no conductor yet: cargo build -p task3-conductor");
        let mut command = self.host.command(program);
        command.env("CONDUCTOR_BINARY", conductor);
        // Another tool's programs come first, where it has some.
        let usual = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{usual}", self.folder().join("bin").display()));
        command
    }

    /// Runs the tool with these words; returns its output, whether it succeeds or not.
    pub fn conductor(&self, words: &str) -> String {
        let tool = self.folder().join("conductor.sh");
        let mut command = self.command(tool.to_str().unwrap());
        command.args(words.split_whitespace());
        text(&in_time(command).output().unwrap())
    }

    /// Runs a shell line in a container of the deployment; returns its output.
    pub fn inside(&self, container: &str, line: &str) -> String {
        let tool = self.folder().join("conductor.sh");
        let words = ["-q", "exec", container, "--", "bash", "-c", line];
        text(&self.command(tool.to_str().unwrap()).args(words).output().unwrap()).trim_end().to_owned()
    }

    /// The PID, on the host, of the process that runs this program in a container.
    pub fn process(&self, program: &str) -> u32 {
        let found = self.belonging().into_iter().find(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|&byte| byte == 0).next() == Some(program.as_bytes())
        });
        found.unwrap_or_else(|| panic!("no process runs {program}"))
    }

    /// Processes that belong to this test's containers, or to the commands behind them.
    pub fn belonging(&self) -> BTreeSet<u32> {
        let ours = self.top.path().to_str().unwrap().as_bytes().to_owned();
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_named = |text: &[u8]| text.windows(ours.len()).any(|window| window == ours);
        // The root of a container is a mount from our folder, or a folder in it after chroot(2); and a command has our
        // folder among its words.
        pids.filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let mounts = String::from_utf8_lossy(&read("mountinfo")).into_owned();
            let root = mounts.lines().find(|mount| mount.split(' ').nth(4) == Some("/"));
            let folder = fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
            [root.unwrap_or_default().as_bytes(), folder.as_os_str().as_encoded_bytes(), &read("cmdline")]
                .iter()
                .any(|text| is_named(text))
        })
        .collect()
    }

    /// The state of the host that a deployment changes.
    pub fn snapshot(&self) -> String {
        let tables = ["raw", "mangle", "nat", "filter"].map(|table| self.host.run(&format!("iptables -t {table} -S")));
        let links = self.host.run("ip -oneline -brief address");
        let forwards = self.host.run("cat /proc/sys/net/ipv4/ip_forward");
        let mounts = self.host.run("cat /proc/self/mountinfo");
        let kept = [".containers", ".services"].map(|folder| files_below(&self.folder().join(folder)).join("\n"));
        format!("{}\n{links}\n{forwards}\n{mounts}\n{}", tables.concat(), kept.concat())
    }

    /// Its cgroups, as its ledgers name them.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let ledgers = ["c1", "c2"].map(|name| self.folder().join(".containers").join(name).join("ledger"));
        let lines: String = ledgers.iter().filter_map(|ledger| fs::read_to_string(ledger).ok()).collect();
        let names = lines.lines().filter_map(|line| line.strip_prefix("{\"cgroup\":\"")?.strip_suffix("\"}"));
        let found = |name: &str| self.host.run(&format!("find /sys/fs/cgroup -type d -name {name}"));
        names.flat_map(|name| found(name).lines().map(PathBuf::from).collect::<Vec<_>>()).collect()
    }

    /// Removes what is left after a failed assertion.
    fn clear(&self) {
        for name in ["c1", "c2", "only", "web"] {
            self.conductor(&format!("stop {name}"));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The answer of a page to a request from this network namespace.
pub fn ask(from: &Netns, address: impl Into<IpAddr>, port: u16, path: &str) -> Answer {
    let url = format!("http://{}:{port}{path}", address.into());
    from.inside(|| {
        let config = ureq::Agent::config_builder().timeout_global(Some(within(Duration::from_secs(5)))).proxy(None);
        let agent = ureq::Agent::from(config.http_status_as_error(false).build());
        let mut response = agent.get(&url).call().ok()?;
        Some((response.status().as_u16(), response.body_mut().read_to_string().unwrap()))
    })
}

/// The number in a greeting.
pub fn number(answer: &Answer) -> u64 {
    let Some((200, text)) = answer else { panic!("no greeting: {answer:?}") };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in {text:?}"))
}

/// Waits until `is_so` returns true.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < within(Duration::from_secs(60)), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same command with a timeout.
fn in_time(command: Command) -> Command {
    let mut timeout = Command::new("timeout");
    timeout
        .arg(within(Duration::from_secs(120)).as_secs().to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    timeout.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    timeout
}

/// The command lines in the orchestrator's output.
pub fn typed(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
}

/// Kills a process.
pub fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // The tool's own locks are not part of a deployment.
        if !entry.file_name().to_string_lossy().ends_with(".lock") {
            found.push(entry.path().display().to_string());
        }
    }
    found.sort();
    found
}
