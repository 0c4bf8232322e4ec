//! A private host on which conductor is hurt, and a quick look at what is left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use testlab::host::{Host, Outcome, within};

/// The image of all tests here.
pub const IMAGE: &str = "img";

/// A host with a way to the world, so that networks can be asked for.
pub struct TestStore {
    pub host: Host,
    pub context: tempfile::TempDir,
}

/// Everything that a command could leave behind, looked at without starting a program.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Snapshot {
    pub mounts: Vec<String>,
    pub links: Vec<String>,
    pub routes: String,
    pub forwarding: String,
    pub firewall: Vec<String>,
    pub cgroups: BTreeSet<PathBuf>,
    pub store: Vec<PathBuf>,
    pub processes: Vec<String>,
}

/// How a command ended that was hurt.
#[derive(Debug)]
pub struct End {
    pub outcome: Outcome,
    pub signal: Option<i32>,
}

impl TestStore {
    pub fn new(test: &str) -> Self {
        let store = Self { host: Host::new(test), context: tempfile::tempdir().unwrap() };
        for words in [
            "link set lo up",
            "link add up0 type veth peer name world",
            "address add 10.0.2.15/24 dev up0",
            "link set up0 up",
            "link set world up",
            "route add default via 10.0.2.2",
        ] {
            assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
        }
        // A table appears in a listing from its first use on, and then stays: use them all before anything is compared.
        store.host.start("first");
        store.host.ok(&["addnetwork", "first", "-i", "-e", "1:1"]);
        store.host.ok(&["stop", "-t", "0", "first"]);
        store
    }

    /// The same with a cache of layers that no other test uses.
    pub fn with_own_cache(test: &str) -> Self {
        let store = Self::new(test);
        nix::mount::umount2(&store.host.store.join(".cache"), nix::mount::MntFlags::MNT_DETACH).unwrap();
        fs::remove_dir_all(store.host.store.join(".images")).unwrap();
        store.host.ok(&["build", "--from", "host", IMAGE]);
        store
    }

    /// The host once no command is at work any more: the monitor of a container that was stopped needs a moment to end.
    pub fn baseline(&self, firewall: bool) -> Snapshot {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < within(Duration::from_secs(100)), "still at work: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.snapshot(firewall)
    }

    /// The host as it is now; with the firewall, which takes a program to be listed, if that can have changed.
    pub fn snapshot(&self, firewall: bool) -> Snapshot {
        let read = |path: &str| fs::read_to_string(path).unwrap();
        let rules = if firewall {
            let saved = Command::new("iptables-save").output().unwrap().stdout;
            let saved = String::from_utf8(saved).unwrap();
            // Comments have the time, and lines of chains count packets.
            saved.lines().filter(|line| !line.starts_with(['#', ':'])).map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        let links = read("/proc/thread-self/net/dev");
        let mut store = Vec::new();
        for folder in [".", ".images", ".containers", ".cache", ".cache/building", ".cache/layers"] {
            // Other tests make layers in a cache that is shared.
            let shared = folder.starts_with(".cache/") && !self.has_own_cache();
            if !shared {
                store.extend(entries(&self.host.store.join(folder)));
            }
        }
        Snapshot {
            mounts: self.host.mounts(),
            links: links.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect(),
            routes: read("/proc/thread-self/net/route"),
            forwarding: read("/proc/sys/net/ipv4/ip_forward"),
            firewall: rules,
            cgroups: self.host.cgroups(),
            store,
            processes: self.processes(),
        }
    }

    /// The trace once it is this one, or what it is after five seconds: a killed child needs a moment to be gone.
    pub fn snapshot_until(&self, wanted: &Snapshot) -> Snapshot {
        let begun = Instant::now();
        loop {
            let snapshot = self.snapshot(!wanted.firewall.is_empty());
            if snapshot == *wanted || begun.elapsed() > within(Duration::from_secs(5)) {
                return snapshot;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asserts that the host is as it was.
    pub fn assert_unchanged(&self, before: &Snapshot, when: &str) {
        let now = self.snapshot_until(before);
        assert!(now == *before, "{when} something is left:\n{}", before.differences(&now));
    }

    /// Points that a command comes to, in the order in which it does.
    pub fn points(&self, arguments: &[&str]) -> Vec<String> {
        let told = self.context.path().join("told");
        let _ = fs::remove_file(&told);
        let end = self.run_with_fault(&format!("tell:{}", told.display()), arguments);
        assert_eq!(end.outcome.code, 0, "{arguments:?}: {end:?}");
        let text = fs::read_to_string(&told).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a command with a fault, to its end. The fault must strike: a test whose point no process comes to shows nothing.
    pub fn run_with_fault(&self, fault: &str, arguments: &[&str]) -> End {
        let struck = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command(fault, arguments);
        command.env("NSUTIL_FAILPOINT_STRUCK", struck.path());
        let end = End::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap());
        // The kernel deletes a pair of links with the namespace of either, and may be faster.
        if let Some((_, point)) = fault.split_once('@').filter(|(_, point)| !point.contains("/link.delete#")) {
            let wanted = format!("{point}\n");
            until(
                || fs::read_to_string(struck.path()).unwrap() == wanted,
                &format!("{arguments:?} comes to {point}: {end:?}"),
            );
        }
        end
    }

    /// Holds a command at a point, sends it a signal there, and lets it go on.
    pub fn run_with_signal(&self, point: &str, signal: Signal, arguments: &[&str]) -> End {
        let gate = tempfile::tempdir().unwrap();
        let (hit, go) = (gate.path().join("hit"), gate.path().join("go"));
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut opener = fs::File::options().read(true).write(true).open(&go).unwrap();
        let mut command = self.command(&format!("wait:{}@{point}", gate.path().display()), arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while fs::read_to_string(&hit).unwrap_or_default().is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "it never came to {point}");
            assert!(begun.elapsed() < within(Duration::from_secs(100)), "it did not come to {point}");
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        std::io::Write::write_all(&mut opener, b"!").unwrap();
        End::of(child.wait_with_output().unwrap())
    }

    /// Kills a command after a while, if it has not ended by then.
    pub fn killed_after(&self, while_: Duration, arguments: &[&str]) {
        let mut child = self.host.conductor(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(while_);
        let _ = child.kill();
        child.wait().unwrap();
    }

    pub fn lists(&self, name: &str) -> bool {
        self.host.ok(&["ps"]).lines().any(|line| line.split(' ').next() == Some(name))
    }

    pub fn first_process(&self, name: &str) -> Pid {
        let known: serde_json::Value = serde_json::from_str(&self.host.run(&["inspect", name]).out).unwrap();
        Pid::from_raw(known["init"]["pid"].as_i64().unwrap() as i32)
    }

    fn command(&self, fault: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.conductor(arguments);
        command.env("NSUTIL_FAILPOINT", fault).env("RUST_BACKTRACE", "1");
        command
    }

    /// Of conductor's own processes, those that work on this store.
    fn processes(&self) -> Vec<String> {
        let store = self.host.store.display().to_string();
        // Another store's name may begin with this one's.
        let goes_on = |next: char| next.is_alphanumeric() || next == '-';
        let lines = entries(Path::new("/proc")).into_iter().filter_map(|process| {
            let line = fs::read(process.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.split(&store).skip(1).any(|rest| !rest.starts_with(goes_on)).then_some(line)
        });
        lines.collect()
    }

    fn has_own_cache(&self) -> bool {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        !mounts.contains(&format!(" {} ", self.host.store.join(".cache").display()))
    }
}

impl Snapshot {
    fn differences(&self, now: &Self) -> String {
        let (before, now) = (format!("{self:#?}"), format!("{now:#?}"));
        let lines = |one: &str, other: &str, sign: char| -> String {
            let known: BTreeSet<&str> = other.lines().collect();
            one.lines().filter(|line| !known.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
        };
        lines(&before, &now, '-') + &lines(&now, &before, '+')
    }
}

impl End {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let outcome =
            Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        Self { outcome, signal: output.status.signal() }
    }

    /// Asserts that it failed as it should: with this code, in one line that says why, without the words of a panic.
    pub fn assert_told(&self, codes: &[i32], reason: &str) {
        let Outcome { code, err, .. } = &self.outcome;
        assert!(codes.contains(code), "it ended with {code}: {err}");
        let told: Vec<&str> = err.lines().filter(|line| line.starts_with("conductor: cannot ")).collect();
        assert!(told.len() == 1 && told[0].contains(reason), "{reason:?} is not said in one line: {err}");
        assert!(!err.contains("panicked") && !err.contains("stack backtrace"), "{err}");
    }
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    entries
}

/// Waits until it holds; minutes, for a machine may be emulated.
pub fn until(holds: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < within(Duration::from_secs(100)), "{what}: not within minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}
