//! Attacks: programs that try to leave the box. They must reach nothing, and the report must name them.
//!
//! An attack prints `REACHED …` for each thing that it could reach, `NOT TRIED …` with the reason for what a machine does not let
//! it try, and `tried` at its end. It changes nothing, or leaves a marker that does no harm. So that it is not believed alone, the machine is compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::zoo::Expect;
use crate::record::Run;
use crate::sys::{self, BpfObject};

/// Settings of the machine that attacks try to change.
const SETTINGS: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/printk_ratelimit_burst",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/swappiness",
    "/proc/sys/fs/file-max",
    "/proc/sys/net/ipv4/ip_forward",
    "/sys/kernel/mm/ksm/run",
    "/proc/mtrr",
];
/// What prints the rules by which packets go, without counters. A machine that lacks a program has none of its rules.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("packet filter (nft)", &["nft", "--stateless", "list", "ruleset"]),
    ("packet filter (iptables)", &["iptables-save"]),
    ("packet filter (ip6tables)", &["ip6tables-save"]),
    ("routes", &["ip", "route", "show", "table", "all"]),
    ("IPv6 routes", &["ip", "-6", "route", "show", "table", "all"]),
    ("routing rules", &["ip", "rule"]),
];
/// How the names of the BPF programs begin that come and go by themselves: those of boxes, and of systemd's services.
const OTHERS_PROGRAMS: [&str; 2] = ["grade_box", "sd_"];
/// Files below the overlay of each box.
const FILES: [&str; 3] = ["/etc/profile", "/etc/passwd", "/usr/lib/os-release"];
/// What an attack's own marks are called, wherever it can leave one.
const MARKER: &str = "grade-attack";
/// What a file is called that the grader must never see when it looks into the box.
const LEAK: &str = "grade-attack-leak";

/// What of the machine an attack could change: each thing by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(BTreeMap<String, String>);

impl Machine {
    /// The machine as it is.
    pub fn now() -> Machine {
        let mut found = BTreeMap::new();
        for setting in SETTINGS {
            let mode = fs::metadata(setting).map(|meta| meta.mode()).unwrap_or_default();
            let value = fs::read_to_string(setting).unwrap_or_default();
            found.insert(setting.to_owned(), format!("{mode:o} {}", value.trim()));
        }
        for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
            let mode = entry.metadata().map(|meta| meta.permissions().mode()).unwrap_or_default();
            found.insert(entry.path().display().to_string(), format!("{mode:o}"));
        }
        let column = |file: &str, nth: usize| -> Vec<String> {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().filter_map(|line| line.split_whitespace().nth(nth)).map(str::to_owned).collect()
        };
        // Of this thread, as all that is started below is.
        found.insert("mounts".to_owned(), column("/proc/thread-self/mountinfo", 4).join(" "));
        found.insert("links".to_owned(), column("/proc/thread-self/net/dev", 0).join(" "));
        for (what, command) in COMMANDS {
            found.insert(what.to_owned(), printed_by(command));
        }
        found.insert("BPF programs".to_owned(), bpf_programs().join(" "));
        let links = sys::bpf_objects(BpfObject::Link).iter().map(u32::to_string).collect::<Vec<_>>();
        found.insert("BPF links".to_owned(), links.join(" "));
        found.insert("kernel log".to_owned(), marked_in_kernel_log().join(" "));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let taken_out = memory.lines().filter(|line| line.starts_with("HardwareCorrupted"));
        found.insert("memory taken out of use".to_owned(), taken_out.collect());
        for path in ["/sys/kernel", "/sys/fs/cgroup"].into_iter().chain(FILES) {
            found.insert(format!("attributes of {path}"), attributes(path));
        }
        for file in FILES {
            let text = fs::read_to_string(file).unwrap_or_default();
            let meta = fs::metadata(file).map(|meta| (meta.mode(), meta.ino(), meta.nlink(), meta.mtime()));
            found.insert(file.to_owned(), format!("{:?} {text}", meta.ok()));
        }
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        found.insert("keys".to_owned(), keys.lines().filter(|line| line.contains(MARKER)).collect());
        for folder in ["/", "/etc", "/tmp", "/var/tmp", "/run", "/dev/shm", "/srv", "/opt", "/root"] {
            let names = fs::read_dir(folder).into_iter().flatten().flatten();
            let marks = names.filter(|entry| entry.file_name().to_string_lossy().starts_with(MARKER));
            found.insert(
                format!("markers in {folder}"),
                marks.map(|entry| entry.path().display().to_string()).collect(),
            );
        }
        found.insert("processors".to_owned(), read("/sys/devices/system/cpu/online"));
        Machine(found)
    }

    /// What is other in `after`.
    pub fn changes(&self, after: &Machine) -> Vec<String> {
        let names = self.0.keys().chain(after.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differs = names.filter(|name| self.0.get(*name) != after.0.get(*name));
        differs
            .map(|name| format!("changed on the machine: {name}: {:?}, now {:?}", self.0.get(name), after.0.get(name)))
            .collect()
    }
}

/// Files that an attack looks for; taken away when dropped, with the folders that were made for them.
#[derive(Debug, Default)]
pub struct Bait(Vec<PathBuf>);

impl Bait {
    /// Puts a line into each of these files.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2): `EEXIST` when there is such a file.
    pub fn lay(files: &[PathBuf]) -> io::Result<Bait> {
        let mut bait = Bait::default();
        for file in files {
            let folders: Vec<&Path> = file.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
            for folder in folders.iter().rev() {
                fs::create_dir(folder)?;
                bait.0.push((*folder).to_owned());
            }
            fs::File::create_new(file)?.write_all(b"#error this is a neighbour's\n")?;
            bait.0.push(file.clone());
        }
        Ok(bait)
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            let _ = if made.is_dir() { fs::remove_dir(made) } else { fs::remove_file(made) };
        }
    }
}

fn printed_by(command: &[&str]) -> String {
    let [program, arguments @ ..] = command else { return String::new() };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // iptables-save writes the time into comments, and the counters of a chain behind its name.
    let rules = text.lines().filter(|line| !line.starts_with('#'));
    let rules = rules.map(|line| line.split_once(" [").map_or(line, |(chain, _)| chain).trim());
    // A route of IPv6 that was learned runs out in so many seconds.
    rules.map(|line| line.split(" expires ").next().unwrap_or_default()).collect::<Vec<_>>().join("; ")
}

fn bpf_programs() -> Vec<String> {
    let named = |number: u32| sys::bpf_program_name(number).ok().map(|name| format!("{number}:{name}"));
    let programs = sys::bpf_objects(BpfObject::Program).into_iter().filter_map(named);
    let is_others = |program: &str| {
        let name = program.split_once(':').map_or("", |(_, name)| name);
        OTHERS_PROGRAMS.iter().any(|others| name.starts_with(others))
    };
    programs.filter(|program| !is_others(program)).collect()
}

/// The lines of the kernel's log that hold an attack's mark. It has others of each box: of its links, of its crashes.
fn marked_in_kernel_log() -> Vec<String> {
    let options = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut log) = options else { return Vec::new() };
    let (mut found, mut record) = (Vec::new(), vec![0; 8192]);
    loop {
        match log.read(&mut record) {
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
                found.extend(text.lines().next().filter(|line| line.contains(MARKER)).map(str::to_owned));
            }
            // The next record was overwritten before it was read.
            Err(why) if why.raw_os_error() == Some(libc::EPIPE) => {}
            Ok(_) | Err(_) => return found,
        }
    }
}

fn attributes(path: &str) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(path, names.as_mut_slice()).unwrap_or(0);
    String::from_utf8_lossy(names.get(..length).unwrap_or_default()).replace('\0', " ")
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(file)).unwrap_or_default().trim().to_owned()
}

/// Why a part of an attack could not be tried on this machine, if one could not.
pub fn not_tried(runs: &[Run]) -> Option<String> {
    let lines = runs.iter().flat_map(|run| run.output.stdout.lines());
    lines.filter_map(|line| line.strip_prefix("NOT TRIED ")).next().map(|why| format!("in part: {why}"))
}

/// What an attack reached, and what of it was not told.
pub fn judge(expect: &Expect, runs: &[Run]) -> Vec<String> {
    let mut found = Vec::new();
    for run in runs {
        let lines = || run.output.stdout.lines();
        let through = lines().filter(|line| line.starts_with("REACHED"));
        found.extend(through.map(|line| format!("{}: {line}", expect.wall.as_deref().unwrap_or("the box"))));
        if !lines().any(|line| line == "tried") {
            found.push(format!("it did not come to its end: {:?}; {}", run.end, run.output.stderr.trim()));
        }
        if format!("{:?} {:?} {:?} {:?}", run.before, run.after, run.host, run.session).contains(LEAK) {
            found.push("the grader saw a file of its machine through the box".to_owned());
        }
        let told = |word: &&String| !run.refused.iter().any(|refused| refused.contains(word.as_str()));
        found.extend(expect.refused.iter().filter(told).map(|word| format!("not told as refused: {word}")));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::load_probe;
    use nix::sched::{CloneFlags, unshare};

    #[test]
    #[ignore = "needs root: make test"]
    fn each_kind_of_change_on_the_machine_is_seen() {
        let changed = std::thread::spawn(|| {
            // A network and mounts of this thread's own, so that the machine keeps its rules.
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            let run = |line: &str| assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
            run("mount --make-rprivate / && ip link set lo up");
            let before = Machine::now();
            assert_eq!(before.changes(&Machine::now()), Vec::<String>::new());
            let _program = load_probe(*b"grade_attack\0\0\0\0").unwrap();
            run("ip link add dummy-attack type veth peer name peer-attack && ip route add 192.0.2.0/24 dev lo");
            run("ip rule add from 192.0.2.0/24 table 77 && iptables -w -A INPUT -s 192.0.2.1 -j DROP");
            run("mkdir -p /tmp/grade-attack-mount && mount -t tmpfs none /tmp/grade-attack-mount");
            run("echo grade-attack: a line of the test >/dev/kmsg");
            let changed = before.changes(&Machine::now());
            run("umount /tmp/grade-attack-mount && rmdir /tmp/grade-attack-mount");
            changed
        });
        let changed = changed.join().unwrap().join("\n");
        for what in [
            "BPF programs",
            "links",
            "routes",
            "routing rules",
            "packet filter (iptables)",
            "mounts",
            "kernel log",
            "markers in /tmp",
        ] {
            assert!(changed.contains(&format!("changed on the machine: {what}: ")), "{what}: {changed}");
        }
    }
}
