//! The box's cgroups. The grader has this module of its own on purpose: it must not trust nsutil, which it grades.
//!
//! Cgroups limit what the box uses, freeze it, kill it, and decide which part of the trees it sees.
//!
//! Every hierarchy that is mounted gets two new cgroups, one in the other. The outer one, out of the box's sight, carries
//! the limits and is what is frozen and killed. The inner one is the root that the box sees, since its cgroup namespace
//! is made while its init stands there. On v2 init then moves on to `init` and the submission starts in `session`, as on
//! a host run by systemd: a v2 cgroup with processes in it cannot hand controllers to its children. A process
//! that moves back to the root lands in `back`.
//! Look: `systemd-cgls`, `cat /proc/PID/cgroup`. Manual: cgroups(7), cgroup_namespaces(7).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::MountInfo;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::bpf;
use super::guard::Redirect;
use super::walls::{self, Wall};
use crate::error::{Error, OrCannot, Result};
use crate::record::{CpuLimit, FileId};

/// What every box's cgroups are called, before the numbers that identify the owner.
const PREFIX: &str = "grade-box-";
/// The cgroup of the box's init, below the box's root on v2.
pub const INIT: &str = "init";
/// The cgroup in which the submission starts, below the box's root on v2.
pub const SESSION: &str = "session";
/// The cgroup that stands for the box's root on v2 where that must not have processes. The root of a host takes them back,
/// whatever it hands on to its children; the box's is a cgroup like any other.
pub const BACK: &str = "back";
/// What of a v2 host's controllers the box has, those of its limits among them.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Most cgroups, and levels of them, that a box may make.
pub const MOST_CGROUPS: usize = 500;
pub const MOST_LEVELS: usize = 40;
/// How long a cgroup may take to become empty or frozen.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much the box may use.
#[derive(Debug, Clone, Copy)]
pub struct ResourceLimits {
    /// Processes and threads.
    pub pids: u64,
    /// Memory in bytes, files on tmpfs included.
    pub memory_bytes: u64,
}

/// The box's cgroups, one pair a hierarchy. Removed with [`Cgroups::remove`]; dropped, they are removed as far as it goes.
#[derive(Debug)]
pub struct Cgroups {
    trees: Vec<Tree>,
    /// Controllers that we switched on in the v2 root, to be switched off again.
    switched_on: Vec<String>,
    /// What could not be had and is not worth failing for.
    removed: bool,
}

/// The box's part of one hierarchy.
#[derive(Debug)]
struct Tree {
    hierarchy: Hierarchy,
    /// Carries the limits.
    outer: PathBuf,
    /// Is the root that the box sees.
    inner: PathBuf,
}

/// One hierarchy as this process finds it mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    /// `cpu`, `cpuacct`, `name=systemd`; none on v2.
    controllers: Vec<String>,
    /// Where it is mounted.
    mount: PathBuf,
    /// The directory in which the box's cgroup is made.
    parent: PathBuf,
}

/// The box's weight on the processors, the most there is, so that what else the machine does hardly slows it: a script that sleeps
/// for three seconds relies on what it can do in that time. Written to `cpu.weight`, and on v1 to `cpu.shares`.
const HEAVIEST: u32 = 10_000;
const HEAVIEST_V1: u32 = 262_144;

/// A cgroup file system to mount in the box.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CgroupMount {
    /// Where, as on the host.
    pub target: PathBuf,
    /// `tmpfs`, `cgroup` or `cgroup2`.
    pub kind: String,
    /// The controllers, for v1.
    pub options: String,
}

impl Cgroups {
    /// Makes the box's cgroups under a name that tells its owner, this process; stale ones are taken away first.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the directory and the kernel's reason.
    pub fn create(limits: ResourceLimits) -> Result<Cgroups> {
        let hierarchies = hierarchies()?;
        if !hierarchies.iter().any(Hierarchy::is_v2) {
            return Err(Error::cannot_run(
                "no cgroup v2 hierarchy is mounted here; `mount -t cgroup2 none /sys/fs/cgroup/unified` makes one",
            ));
        }
        for hierarchy in &hierarchies {
            remove_stale(&hierarchy.parent);
        }
        let name = format!("{PREFIX}{}-{}", std::process::id(), unique());
        let mut made = Cgroups { trees: Vec::new(), switched_on: Vec::new(), removed: false };
        for hierarchy in hierarchies {
            let outer = hierarchy.parent.join(&name);
            let inner = outer.join("box");
            made.trees.push(Tree { hierarchy, outer, inner });
            let Some(tree) = made.trees.last() else { continue };
            let result =
                if tree.hierarchy.is_v2() { tree.make_v2(limits, &mut made.switched_on) } else { tree.make_v1(limits) };
            result.or_cannot("make the box's cgroup", &tree.outer)?;
        }
        Ok(made)
    }

    /// Moves the box's init, which has no child yet, to the root of the box in every hierarchy.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the file and the kernel's reason.
    pub fn enter(&self, pid: i32) -> Result<()> {
        self.trees.iter().try_for_each(|tree| join(&tree.inner, pid))
    }

    /// Moves `pid` to a child of the box's root, [`INIT`] or [`SESSION`], on v2.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the file and the kernel's reason.
    pub fn move_to(&self, pid: i32, child: &str) -> Result<()> {
        self.trees.iter().filter(|tree| tree.hierarchy.is_v2()).try_for_each(|tree| join(&tree.inner.join(child), pid))
    }

    /// Enables controllers in the box's v2 root for its children, as a host does. The root must hold no process by then.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the directory and the kernel's reason.
    pub fn delegate(&self, cpu: bool) -> Result<()> {
        let wanted: &[&str] = if cpu { &CONTROLLERS } else { &["memory", "pids"] };
        self.v2().map_or(Ok(()), |tree| tree.delegate(&tree.inner, wanted)).map_err(|why| {
            Error::cannot_run(format!("the box's cgroup root cannot hand on {}: {why}", wanted.join(", ")))
        })
    }

    /// Keeps the box from writing kernel settings that are not its own; to be called once its own are set.
    ///
    /// # Errors
    /// `Exit::CannotRun` with the kernel's reason.
    pub fn lock_settings(&self) -> Result<()> {
        let lock = |tree: &Tree| bpf::lock_settings(File::open(&tree.outer)?.as_fd());
        self.v2().map_or(Ok(()), lock).map_err(|why| {
            Error::cannot_run(format!(
                "cannot keep the box from kernel settings: {why}; the kernel needs CONFIG_CGROUP_BPF and no lockdown"
            ))
        })
    }

    /// Where a process lands that moves back to the root of the v2 tree.
    pub fn redirect(&self) -> Option<Redirect> {
        let tree = self.v2()?;
        let from = fs::metadata(tree.inner.join("cgroup.procs")).ok()?;
        let from = FileId { dev: from.dev(), ino: from.ino() };
        Some(Redirect { from, to: tree.inner.join(BACK).join("cgroup.procs") })
    }

    /// What the v1 hierarchies are called in which the box has cgroups.
    pub fn controllers(&self) -> Vec<String> {
        self.trees.iter().flat_map(|tree| tree.hierarchy.controllers.iter().cloned()).collect()
    }

    /// The mounts that show these trees inside the box, exactly where the host has them.
    pub fn mounts(&self) -> Vec<CgroupMount> {
        let mut mounts = Vec::new();
        let base = Path::new("/sys/fs/cgroup");
        if !self.trees.iter().any(|tree| tree.hierarchy.mount == base) {
            mounts.push(CgroupMount { target: base.to_owned(), kind: "tmpfs".into(), options: "mode=755".into() });
        }
        mounts.extend(self.trees.iter().filter(|tree| tree.hierarchy.mount.starts_with(base)).map(|tree| {
            let v2 = tree.hierarchy.is_v2();
            CgroupMount {
                target: tree.hierarchy.mount.clone(),
                kind: if v2 { "cgroup2" } else { "cgroup" }.into(),
                options: tree.hierarchy.mount_options(),
            }
        }));
        mounts
    }

    /// Where the cpu controller is: `v1`, `v2`, or nowhere.
    pub fn cpu_controller(&self) -> Option<&'static str> {
        self.cpu_tree().map(|tree| if tree.hierarchy.is_v2() { "v2" } else { "v1" })
    }

    /// Whether the box's v2 root hands `cpu` to its children at this moment.
    pub fn cpu_enabled(&self) -> bool {
        self.v2().is_some_and(|tree| words(&tree.inner.join("cgroup.subtree_control")).iter().any(|word| word == "cpu"))
    }

    /// Every process in the box, as the observer numbers them, wherever below the outer cgroup it has gone.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if let Some(tree) = self.v2() {
            walk(&tree.outer, &mut |dir| {
                found.extend(words(&dir.join("cgroup.procs")).iter().filter_map(|w| w.parse::<i32>().ok()))
            });
        }
        found
    }

    /// The cgroups below the box's root that were not there from the start.
    pub fn added(&self) -> Vec<String> {
        let mut found = Vec::new();
        for tree in &self.trees {
            walk(&tree.inner, &mut |dir| {
                let Ok(below) = dir.strip_prefix(&tree.inner) else { return };
                let ours = tree.hierarchy.is_v2() && [INIT, SESSION, BACK].map(Path::new).contains(&below);
                if below != Path::new("") && !ours {
                    found.push(format!("{}:/{}", tree.hierarchy.controllers.join(","), below.display()));
                }
            });
        }
        found.sort();
        found
    }

    /// `/proc/PID/cgroup` as seen inside the box, by controller; `text` is the file as we see it.
    pub fn inside(&self, text: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let Some(tree) = self.trees.iter().find(|tree| tree.hierarchy.controllers.join(",") == controllers) else {
                continue;
            };
            let root = tree.inner_path();
            let inside = match path.strip_prefix(root.as_str()) {
                Some("") => "/".to_owned(),
                Some(below) if below.starts_with('/') => below.to_owned(),
                _ => format!("outside the box: {path}"),
            };
            for controller in controllers.split(',') {
                found.insert(controller.to_owned(), inside.clone());
            }
        }
        found
    }

    /// The cpu limits from the cgroup that `cgroups` names up to the box's root, nearest first.
    pub fn cpu_limits(&self, cgroups: &BTreeMap<String, String>) -> Vec<CpuLimit> {
        let Some(tree) = self.cpu_tree() else { return Vec::new() };
        let key = if tree.hierarchy.is_v2() { "" } else { "cpu" };
        let Some(path) = cgroups.get(key) else { return Vec::new() };
        Path::new(path)
            .ancestors()
            .filter_map(|cgroup| {
                let dir = tree.inner.join(cgroup.strip_prefix("/").ok()?);
                let (quota_us, period_us) = if tree.hierarchy.is_v2() { v2_quota(&dir)? } else { v1_quota(&dir)? };
                let stat = fs::read_to_string(dir.join("cpu.stat")).unwrap_or_default();
                let (nr_periods, nr_throttled) = (field(&stat, "nr_periods"), field(&stat, "nr_throttled"));
                let cgroup = cgroup.to_string_lossy().into_owned();
                Some(CpuLimit { cgroup, quota_us, period_us, nr_periods, nr_throttled })
            })
            .collect()
    }

    /// Holds every process of the box still, or lets them go on, and waits until it is so.
    ///
    /// # Errors
    /// Those of the file, and `TimedOut` when a process would not stand still.
    pub fn freeze(&self, still: bool) -> io::Result<()> {
        let Some(tree) = self.v2() else { return Ok(()) };
        fs::write(tree.outer.join("cgroup.freeze"), if still { "1" } else { "0" })?;
        let wanted = u64::from(still);
        within(Duration::from_secs(1), || {
            let events = fs::read_to_string(tree.outer.join("cgroup.events")).unwrap_or_default();
            field(&events, "frozen") == wanted
        })
    }

    /// Sends SIGKILL to everything in the box, also to frozen processes and to new ones.
    pub fn kill(&self) {
        self.kill_all();
        // A process held by the v1 freezer does not die of SIGKILL until it is let go.
        for tree in self.trees.iter().filter(|tree| tree.hierarchy.controllers.iter().any(|name| name == "freezer")) {
            walk(&tree.outer, &mut |dir| drop(fs::write(dir.join("freezer.state"), "THAWED")));
        }
    }

    fn kill_all(&self) {
        let Some(tree) = self.v2() else { return };
        if fs::write(tree.outer.join("cgroup.kill"), "1").is_err() {
            // Before Linux 5.14: kill what is listed until nothing is.
            let _ = within(PATIENCE, || {
                let left = self.processes();
                for pid in &left {
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
                }
                left.is_empty()
            });
        }
    }

    /// Which limit was hit, if one was: the kernel counts it.
    pub fn limit_hit(&self) -> Option<String> {
        // v1 counts where it happened, v2 also in every cgroup above: the highest number is one of them.
        let count = |file: &str, key: &str| {
            let mut most = 0;
            for tree in &self.trees {
                walk(&tree.outer, &mut |dir| {
                    most = most.max(field(&fs::read_to_string(dir.join(file)).unwrap_or_default(), key));
                });
            }
            most
        };
        let killed = count("memory.events", "oom_kill").max(count("memory.oom_control", "oom_kill"));
        let refused = count("pids.events", "max");
        match (killed, refused) {
            (0, 0) => None,
            (0, _) => Some(format!("processes: {refused} forks were refused")),
            _ => Some(format!("memory: {killed} processes were killed for it")),
        }
    }

    /// Takes the cgroups away and undoes what was switched on; tells what would not go.
    pub fn remove(&mut self) -> Vec<String> {
        self.removed = true;
        let mut left = Vec::new();
        for tree in self.trees.iter().rev() {
            let gone = within(PATIENCE, || {
                let populated = tree.hierarchy.is_v2()
                    && fs::read_to_string(tree.outer.join("cgroup.events")).is_ok_and(|e| field(&e, "populated") != 0);
                !populated && remove_tree(&tree.outer)
            });
            if gone.is_err() {
                left.push(format!("cgroup {}", tree.outer.display()));
            }
        }
        if let Some(tree) = self.v2() {
            for controller in &self.switched_on {
                // Refused while another grader's box still uses it: then it stays on, which sets no limit.
                let _ = fs::write(tree.hierarchy.parent.join("cgroup.subtree_control"), format!("-{controller}"));
            }
        }
        left
    }

    fn v2(&self) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.hierarchy.is_v2())
    }

    fn cpu_tree(&self) -> Option<&Tree> {
        let v1 = self.trees.iter().find(|tree| tree.hierarchy.controllers.iter().any(|name| name == "cpu"));
        let has_cpu = |tree: &&Tree| words(&tree.inner.join("cgroup.controllers")).iter().any(|word| word == "cpu");
        v1.or_else(|| self.v2().filter(has_cpu))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if !self.removed {
            self.kill();
            self.remove();
        }
    }
}

impl Tree {
    fn make_v2(&self, limits: ResourceLimits, switched_on: &mut Vec<String>) -> io::Result<()> {
        let parent = &self.hierarchy.parent;
        let there = words(&parent.join("cgroup.controllers"));
        let on = words(&parent.join("cgroup.subtree_control"));
        let is_there = |name: &&str| there.iter().any(|word| word == name);
        let wanted: Vec<&str> = CONTROLLERS.into_iter().filter(is_there).collect();
        for name in wanted.iter().filter(|name| !on.iter().any(|word| word == *name)) {
            match fs::write(parent.join("cgroup.subtree_control"), format!("+{name}")) {
                Ok(()) => switched_on.push((*name).to_owned()),
                Err(_) if *name == "cpuset" => {}
                Err(why) => return Err(why),
            }
        }
        fs::create_dir(&self.outer)?;
        if walls::stands(Wall::Cgroups) {
            fs::write(self.outer.join("cgroup.max.depth"), MOST_LEVELS.to_string())?;
            fs::write(self.outer.join("cgroup.max.descendants"), MOST_CGROUPS.to_string())?;
        }
        if wanted.contains(&"pids") {
            fs::write(self.outer.join("pids.max"), limits.pids.to_string())?;
        }
        if wanted.contains(&"memory") {
            fs::write(self.outer.join("memory.max"), limits.memory_bytes.to_string())?;
            // Not there on a kernel without swap accounting.
            let _ = fs::write(self.outer.join("memory.swap.max"), "0");
        }
        if wanted.contains(&"cpu") {
            fs::write(self.outer.join("cpu.weight"), HEAVIEST.to_string())?;
        }
        fs::create_dir(&self.inner)?;
        self.delegate(&self.outer, &CONTROLLERS)?;
        [INIT, SESSION, BACK].iter().try_for_each(|child| fs::create_dir(self.inner.join(child)))?;
        if !walls::stands(Wall::Devices) {
            return Ok(());
        }
        bpf::lock_devices(File::open(&self.outer)?.as_fd())
            .map_err(|why| io::Error::other(format!("no device program can be put on it ({why})")))
    }

    /// Lets the children of `dir` have those of `wanted` that it has.
    fn delegate(&self, dir: &Path, wanted: &[&str]) -> io::Result<()> {
        let there = words(&dir.join("cgroup.controllers"));
        let file = dir.join("cgroup.subtree_control");
        wanted
            .iter()
            .filter(|name| there.iter().any(|word| word == *name))
            .try_for_each(|name| fs::write(&file, format!("+{name}")))
    }

    fn make_v1(&self, limits: ResourceLimits) -> io::Result<()> {
        let has = |name: &str| self.hierarchy.controllers.iter().any(|word| word == name);
        for dir in [&self.outer, &self.inner] {
            fs::create_dir(dir)?;
            if has("cpuset") {
                // A new v1 cpuset is empty and takes no process until it is given processors and memory nodes.
                let above = dir.parent().unwrap_or(dir);
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(dir.join(file), fs::read_to_string(above.join(file))?.trim())?;
                }
            }
        }
        if has("pids") {
            fs::write(self.outer.join("pids.max"), limits.pids.to_string())?;
        }
        if has("memory") {
            fs::write(self.outer.join("memory.limit_in_bytes"), limits.memory_bytes.to_string())?;
        }
        if has("cpu") {
            fs::write(self.outer.join("cpu.shares"), HEAVIEST_V1.to_string())?;
        }
        Ok(())
    }

    /// The inner cgroup's path as `/proc/PID/cgroup` writes it for us.
    fn inner_path(&self) -> String {
        let below = self.inner.strip_prefix(&self.hierarchy.mount).unwrap_or(&self.inner);
        format!("/{}", below.display())
    }
}

impl Hierarchy {
    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// The options of mount(8), after `-o`, for this v1 hierarchy.
    fn mount_options(&self) -> String {
        let named = self.controllers.iter().all(|name| name.starts_with("name="));
        match self.controllers.join(",") {
            options if options.is_empty() || !named => options,
            options => format!("none,{options}"),
        }
    }
}

/// The hierarchies that this process is in and finds mounted.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let memberships = fs::read_to_string("/proc/self/cgroup").or_cannot("read", "/proc/self/cgroup")?;
    let mounts = procfs::process::Process::myself()
        .and_then(|this| this.mountinfo())
        .or_cannot("read", "/proc/self/mountinfo")?;
    Ok(match_up(&memberships, &mounts.0))
}

/// Pairs each line of `/proc/self/cgroup` with the mount that shows its hierarchy.
fn match_up(memberships: &str, mounts: &[MountInfo]) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
        let controllers: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let shows = |mount: &&MountInfo| match controllers.as_slice() {
            [] => mount.fs_type == "cgroup2",
            names => {
                mount.fs_type == "cgroup"
                    && names.iter().all(|name| match name.split_once('=') {
                        Some((key, value)) => mount.super_options.get(key) == Some(&Some(value.to_owned())),
                        None => mount.super_options.contains_key(name),
                    })
            }
        };
        let Some(mount) = mounts.iter().find(shows) else { continue };
        let at = mount.mount_point.clone();
        // A v1 box stays below the limits that hold for us. On v2 our own cgroup has a process, us, and so could hand no
        // controller on: the box goes to the top.
        let own = path.strip_prefix(mount.root.as_str()).unwrap_or(path).trim_start_matches('/');
        let parent = if controllers.is_empty() || !at.join(own).is_dir() { at.clone() } else { at.join(own) };
        found.push(Hierarchy { controllers, mount: at, parent });
    }
    found
}

/// Removes the cgroups of boxes whose grader was killed before it could.
///
/// Only of graders that this process could see: another PID namespace, such as a container's, numbers its processes anew.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_string_lossy().strip_prefix(PREFIX).map(str::to_owned) else { continue };
        let numbers: Vec<u64> = owner.split('-').map_while(|number| number.parse().ok()).collect();
        let &[pid, start, _, namespace] = numbers.as_slice() else { continue };
        let alive = || start_time(i32::try_from(pid).unwrap_or(0)) == Some(start);
        if Some(namespace) != pid_namespace() || alive() {
            continue;
        }
        let _ = fs::write(entry.path().join("cgroup.kill"), "1");
        let _ = within(Duration::from_secs(1), || remove_tree(&entry.path()));
    }
}

/// Start time of this process, a running number and the PID namespace: with the process id, a name that no other box has.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MADE: AtomicU32 = AtomicU32::new(0);
    let start = start_time(i32::try_from(std::process::id()).unwrap_or(0)).unwrap_or(0);
    format!("{start}-{}-{}", MADE.fetch_add(1, Ordering::Relaxed), pid_namespace().unwrap_or(0))
}

/// The inode of the PID namespace in which our process ids count.
fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).ok()
}

/// When a process started, in ticks since boot: with its id, its identity.
fn start_time(pid: i32) -> Option<u64> {
    procfs::process::Process::new(pid).and_then(|process| process.stat()).map(|stat| stat.starttime).ok()
}

fn join(cgroup: &Path, pid: i32) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, pid.to_string()).or_cannot("write to", file)
}

/// Quota and period of a v2 cgroup: `cpu.max` holds `50000 100000`, or `max 100000`.
fn v2_quota(dir: &Path) -> Option<(Option<u64>, u64)> {
    let words = words(&dir.join("cpu.max"));
    match words.as_slice() {
        [quota, period] => Some((quota.parse().ok(), period.parse().ok()?)),
        _ => None,
    }
}

/// Quota and period of a v1 cgroup; a quota of -1 is none.
fn v1_quota(dir: &Path) -> Option<(Option<u64>, u64)> {
    let number = |file: &str| words(&dir.join(file)).first().and_then(|word| word.parse::<i64>().ok());
    let period = u64::try_from(number("cpu.cfs_period_us")?).ok()?;
    Some((u64::try_from(number("cpu.cfs_quota_us")?).ok(), period))
}

/// The number after `key` in a file of `key number` lines; 0 when it is not there.
fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Visits `dir` and all cgroups below it, parents first.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        walk(&entry.path(), visit);
    }
}

/// Removes a cgroup and all below it, children first; true when nothing is left.
///
/// By descriptor, one at a time: a path may be longer than any call takes, and a tree deeper than descriptors can be had.
fn remove_tree(dir: &Path) -> bool {
    let (Some(parent), Some(name)) =
        (dir.parent(), dir.file_name().and_then(|name| CString::new(name.as_bytes()).ok()))
    else {
        return false;
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let remove = || -> rustix::io::Result<()> {
        // The directory that holds the last one of `way`.
        let mut here = rustix::fs::open(parent, flags, Mode::empty())?;
        let mut way = vec![name];
        while let Some(name) = way.last() {
            match unlinkat(&here, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {
                    way.pop();
                    if !way.is_empty() {
                        here = openat(&here, c"..", flags, Mode::empty())?;
                    }
                }
                Err(why) => {
                    let below = openat(&here, name, flags, Mode::empty())?;
                    way.push(first_folder(&below)?.ok_or(why)?);
                    here = below;
                }
            }
        }
        Ok(())
    };
    remove().is_ok()
}

fn first_folder(dir: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && ![c".", c".."].contains(&entry.file_name()) {
            return Ok(Some(entry.file_name().to_owned()));
        }
    }
    Ok(None)
}

/// Asks again and again until it is so.
fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while !is_so() {
        if start.elapsed() > limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use procfs::FromRead;

    fn mounts(text: &str) -> Vec<MountInfo> {
        procfs::process::MountInfos::from_read(text.as_bytes()).unwrap().0
    }

    #[test]
    fn a_host_with_v2_only_is_one_hierarchy_and_the_box_goes_to_its_top() {
        let found = match_up(
            "0::/user.slice/user-0.slice/session-1.scope\n",
            &mounts("31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"),
        );
        let top = PathBuf::from("/sys/fs/cgroup");
        assert_eq!(found, [Hierarchy { controllers: vec![], mount: top.clone(), parent: top }]);
    }

    #[test]
    fn controllers_mounted_together_and_named_hierarchies_are_told_apart() {
        let found = match_up(
            "4:cpu,cpuacct:/\n3:name=systemd:/\n2:pids:/not/there\n0::/\n",
            &mounts(concat!(
                "32 31 0:29 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
                "33 31 0:30 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
                "34 31 0:31 / /c/pids rw - cgroup cgroup rw,pids\n",
                "41 31 0:38 / /c/unified rw - cgroup2 cgroup2 rw\n"
            )),
        );
        let at: Vec<_> = found.iter().map(|h| (h.mount.to_str().unwrap(), h.mount_options())).collect();
        assert_eq!(
            at,
            [
                ("/c/cpu,cpuacct", "cpu,cpuacct".to_owned()),
                ("/c/systemd", "none,name=systemd".to_owned()),
                ("/c/pids", "pids".to_owned()),
                ("/c/unified", String::new())
            ]
        );
        assert_eq!(found[2].parent, Path::new("/c/pids"));
    }

    #[test]
    fn a_number_is_found_by_its_whole_key() {
        let stat = "usage_usec 12\nnr_periods 7\nnr_periods_x 9\n";
        assert_eq!((field(stat, "nr_periods"), field(stat, "nr_per")), (7, 0));
    }

    #[test]
    #[ignore = "needs root: make test"]
    fn what_a_dead_grader_left_is_removed_and_a_box_of_another_pid_namespace_is_not() {
        let v2 = hierarchies().unwrap().into_iter().find(Hierarchy::is_v2).unwrap();
        // No process id is that high.
        let cgroup = |namespace: u64| v2.parent.join(format!("{PREFIX}{}-1-0-{namespace}", i32::MAX));
        let (left, others) = (cgroup(pid_namespace().unwrap()), cgroup(1));
        for made in [&left, &others] {
            fs::create_dir(made).unwrap();
        }
        remove_stale(&v2.parent);
        let seen = (left.exists(), others.exists());
        fs::remove_dir(&others).unwrap();
        assert_eq!(seen, (false, true));
    }
}
