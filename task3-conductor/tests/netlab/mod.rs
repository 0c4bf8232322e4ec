//! A host of its own for each test, with a world behind it, made of network namespaces.
//!
//! ```text
//!   container ── NAME-outside  host  up0 ───── up0-far  world
//!                        10.9.0.2/24             10.9.0.1/24, 198.51.100.7 (the internet)
//! ```
//!
//! The world has no route to 192.168.0.0/16, like the real one, unless a test gives it one. A container is any process in
//! a network namespace of its own with a record that says so: networking needs no more of it.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

pub use testlab::netns::{HOST, INTERNET, NEIGHBOUR, Netns, host_and_internet};

/// A host with conductor on it, and the world.
pub struct Host {
    pub space: Arc<Netns>,
    pub world: Arc<Netns>,
    root: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let (space, world) = host_and_internet();
        Self { space: Arc::new(space), world: Arc::new(world), root: tempfile::tempdir().unwrap() }
    }

    /// The same host, by a conductor that keeps its containers elsewhere.
    pub fn with_another_store(&self) -> Self {
        Self { space: self.space.clone(), world: self.world.clone(), root: tempfile::tempdir().unwrap() }
    }

    /// A container without a network.
    pub fn container(&self, name: &str) -> Netns {
        let space = Netns::new();
        let dir = self.dir(name);
        fs::create_dir_all(&dir).unwrap();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let record = format!(
            "{{\"schema\": 1, \"name\": \"{name}\", \"image\": \"eg\", \"layers\": [], \"created\": 0, \"command\": [\"sleep\"], \
             \"environment\": {{}}, \"working_directory\": \"/\", \"hostname\": \"{name}\", \
             \"init\": {{\"pid\": {pid}, \"start_time\": {start}, \"boot_id\": \"{boot}\"}}}}",
            pid = space.pid(),
            start = start_time(space.pid()),
            boot = boot_id.trim_end()
        );
        fs::write(dir.join("record.json"), record).unwrap();
        File::create(dir.join("lock")).unwrap();
        fs::write(dir.join("hosts"), "127.0.0.1\tlocalhost\n").unwrap();
        space
    }

    /// A container with the network that these options ask for.
    pub fn networked(&self, name: &str, options: &str) -> Netns {
        let space = self.container(name);
        self.conductor(&format!("addnetwork {name} {options}"));
        space
    }

    /// Has a container give back all it held.
    pub fn end(&self, name: &str) {
        self.conductor(&format!("stop {name}"));
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(".containers").join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = self.space.command(env!("CARGO_BIN_EXE_conductor"));
        command
            .env("CONDUCTOR_ROOT", self.root.path())
            .env_remove("CONDUCTOR_DEFAULT_IFC")
            .env_remove("CONDUCTOR_SUBNET_POOL");
        command
    }

    /// A conductor command that must succeed; returns its stdout.
    pub fn conductor(&self, words: &str) -> String {
        let output = self.command().args(words.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A conductor command that must be refused; returns its one line.
    pub fn refused(&self, words: &str) -> String {
        let output: Output = self.command().args(words.split_whitespace()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{words}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// The rules of all tables.
    pub fn rules(&self) -> String {
        let tables = ["raw", "mangle", "nat", "filter"].map(|table| {
            let rules = self.space.run(&format!("iptables -t {table} -S"));
            rules.lines().map(|rule| format!("{table}: {rule}\n")).collect::<String>()
        });
        tables.concat()
    }

    /// Has it pass packets on for everybody, before conductor comes: then only a container's own rules shut it in.
    pub fn be_a_router(&self) {
        self.space.run("sysctl -qw net.ipv4.ip_forward=1");
    }

    pub fn links(&self) -> String {
        self.space.run("ip -brief link")
    }

    pub fn forwards(&self) -> String {
        self.space.run("cat /proc/sys/net/ipv4/ip_forward").trim().to_owned()
    }
}

/// Clock ticks after boot at which a process started: field 22 of its stat, counted behind the name.
fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// The container's address in subnet number `n`.
pub fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, n, 2)
}

/// The host's address in subnet number `n`.
pub fn gateway(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, n, 1)
}
