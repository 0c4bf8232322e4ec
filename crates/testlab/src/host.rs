//! A private host for one test, and the conductor on it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

pub use crate::deadline::within;
use crate::{program, scratch_folder};

/// A store of its own, in mounts and a network of its own.
pub struct Host {
    /// Its folder of images and containers: `--root`.
    pub store: PathBuf,
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code, -1 where a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

/// Everything of the host that a container could change and must not.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    mounts: Vec<String>,
    links: String,
    firewall: String,
    sysctls: Vec<String>,
    files: Vec<Vec<u8>>,
    cgroups: BTreeSet<PathBuf>,
    state: Vec<PathBuf>,
    name: String,
}

/// Image of this host's own programs, made once for all tests; each store has the layer through a link.
const IMAGE: &str = "img";

/// Tests that have a host now: two of one name would have one store, and empty it for each other.
static TESTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The base is made by one test; the others wait and find it.
static BASE: Mutex<()> = Mutex::new(());

impl Host {
    /// A host for the test of this name.
    pub fn new(test: &str) -> Self {
        let first = TESTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(test.to_owned());
        assert!(first, "two tests call their host {test}");
        // Whoever runs the tests may ignore hang-ups, as nohup(1) does, and conductor would then, too.
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            nsutil::sys::default_action(signal).unwrap();
        }
        // This thread, and the programs it starts. A thread may leave the others in these.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
        // A new network namespace begins with the machine's own settings, and Docker may have made that a router.
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let folder = scratch_folder();
        let host = Self { store: folder.join(format!("store-{test}")) };
        if host.store.exists() {
            host.clear();
        }
        // All layers in one place, so that the base is made once.
        let cache = folder.join("cache");
        fs::create_dir_all(&cache).unwrap();
        fs::create_dir_all(host.store.join(".cache")).unwrap();
        mount(Some(&cache), &host.store.join(".cache"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let _one_at_a_time = BASE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        host.ok(&["build", "--from", "host", IMAGE]);
        host
    }

    /// The command, ready to be started.
    pub fn conductor(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("conductor"));
        command.arg("--root").arg(&self.store).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.conductor(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs it, and it must succeed; gives its output without the banner.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        outcome.out.replace("CS695 Conductor that manages containers\n", "")
    }

    /// Runs a shell's text in a new container that goes away afterwards.
    pub fn inside(&self, name: &str, script: &str) -> Outcome {
        self.inside_with(name, &[], script)
    }

    /// The same, with further options of `run`.
    pub fn inside_with(&self, name: &str, options: &[&str], script: &str) -> Outcome {
        self.run(&[&["-q", "run", "--rm"], options, &[IMAGE, name, "--", "bash", "-c", script]].concat())
    }

    /// Starts a container that stays until it is stopped.
    pub fn start(&self, name: &str) {
        self.ok(&["run", "-d", IMAGE, name, "--", "sleep", "infinity"]);
    }

    /// Starts the command with pipes.
    pub fn piped(&self, arguments: &[&str]) -> Child {
        self.conductor(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A container's folder.
    pub fn container(&self, name: &str) -> PathBuf {
        self.store.join(".containers").join(name)
    }

    /// An image that is the base with one more layer on top, which `fill` makes.
    pub fn plant_image(&self, name: &str, fill: impl FnOnce(&std::path::Path)) {
        let record = fs::read_to_string(self.store.join(".images").join(IMAGE).join("record.json")).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let id = format!("{:032x}", name.bytes().fold(7_u128, |hash, byte| hash.wrapping_mul(131) + u128::from(byte)));
        let layer = self.store.join(".cache/layers").join(&id);
        if layer.exists() {
            fs::remove_dir_all(&layer).unwrap();
        }
        fs::create_dir_all(layer.join("root")).unwrap();
        fill(&layer.join("root"));
        record["name"] = name.into();
        record["layers"].as_array_mut().unwrap().insert(0, id.into());
        let image = self.store.join(".images").join(name);
        fs::create_dir_all(&image).unwrap();
        fs::write(image.join("record.json"), record.to_string()).unwrap();
    }

    /// The host as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let output = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let read = |path: &str| fs::read(path).unwrap_or_default();
        // Counters in comments differ each time; rules do not.
        let rules = output("iptables-save", &[]);
        let sysctls = ["net/ipv4/ip_forward", "kernel/core_pattern", "kernel/panic", "kernel/modprobe"];
        Snapshot {
            mounts: self.mounts(),
            links: output("ip", &["-o", "link"]) + &output("ip", &["route"]) + &output("ip", &["rule"]),
            firewall: rules.lines().filter(|line| !line.starts_with('#')).collect(),
            sysctls: sysctls.iter().map(|key| output("cat", &[&format!("/proc/sys/{key}")])).collect(),
            files: ["/etc/resolv.conf", "/etc/hosts", "/etc/passwd"].map(read).to_vec(),
            cgroups: self.cgroups(),
            state: entries(&self.store.join(".containers")),
            name: output("uname", &["-n"]),
        }
    }

    /// Mounts, but for those of containers on the real host: its copies of these go when they go.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let own = format!("{}/.containers/", self.store.display());
        let counts = |line: &&str| !line.contains("/.containers/") || line.contains(&own);
        mounts.lines().filter(counts).map(str::to_owned).collect()
    }

    /// Whether there is a v2 tree, alone or beside those of version 1.
    pub fn has_unified_cgroups(&self) -> bool {
        ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"]
            .iter()
            .any(|file| Path::new(file).exists())
    }

    /// Cgroups that containers of this store have.
    pub fn cgroups(&self) -> BTreeSet<PathBuf> {
        let suffix = format!("{:08x}", {
            let bytes = self.store.as_os_str().as_encoded_bytes();
            bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
        });
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"]
            .iter()
            .flat_map(|tree| entries(Path::new(tree)))
            .filter(|path| path.to_string_lossy().ends_with(&suffix))
            .collect()
    }

    /// Stops every container.
    pub fn clear(&self) {
        for container in entries(&self.store.join(".containers")) {
            let name = container.file_name().unwrap().to_string_lossy().into_owned();
            self.run(&["stop", "-t", "0", &name]);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.clear();
        let _ = nix::mount::umount2(&self.store.join(".cache"), nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.store);
        let name = self.store.file_name().unwrap().to_str().unwrap().trim_start_matches("store-").to_owned();
        TESTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&name);
    }
}

fn entries(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    entries
}

/// Copies a program that is to be executed at once. In a process of its own: what is open for writing here, another test's
/// child has open too until it executes something, and so long the kernel executes no such file (`ETXTBSY`).
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// A file with this content.
pub fn file_of(path: &Path, content: &[u8]) -> PathBuf {
    fs::write(path, content).unwrap();
    path.to_owned()
}

/// Writes all to a child's stdin and closes it.
pub fn feed(child: &mut Child, bytes: &[u8]) {
    child.stdin.take().unwrap().write_all(bytes).unwrap();
}
