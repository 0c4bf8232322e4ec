//! Cgroups: how much of the machine a set of processes may use.
//!
//! A cgroup is a directory in a file system of the kernel's own. Each process is in one; its children are born where it
//! is. What the directory's files say holds for all inside together: `cpu.max` with `50000 100000` gives them 50 ms of
//! CPU time in each 100 ms, half of one core, however many they are.
//!
//! There are two versions. In **v2** there is one tree, and a controller (`cpu`, `pids`, …) counts in a directory only
//! if the one above names it in its `cgroup.subtree_control`; the commonest silent failure is to forget that. In **v1**
//! each controller has a tree of its own. A controller is in one version or in the other, never in both, and a machine
//! can mix them. [`Cgroup::create`] finds out for each controller and puts the limit where it will hold.
//!
//! Writing a limit is one thing, the kernel holding it another: each limit is read back after it was written.
//!
//! In time: a v2 cgroup can be a child's place of birth (`CLONE_INTO_CGROUP`), so that no instruction of it runs
//! without the limit. v1 only moves processes that run already; there the child waits until it has been moved
//! ([`crate::process::spawn`] does both).
//!
//! Look: `cat /proc/self/cgroup`, `cat /sys/fs/cgroup/NAME/cpu.max`, `cat /sys/fs/cgroup/NAME/cpu.stat`.
//! Manual: cgroups(7), cgroup_namespaces(7); the kernel's documents "Control Group v2" and "CFS Bandwidth Control".

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cgroups_rs::cpu::CpuController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{CgroupPid, Controller as _, MaxValue};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use procfs::process::Process;

use crate::error::{Cause, Error, OrCannot, Result};
use crate::namespace::{Identity, Kind};
use crate::process::PidFd;
use crate::step;

/// A cgroup of ours. Dropping it kills what is inside and removes it.
#[derive(Debug)]
pub struct Cgroup {
    /// A directory for each tree it has a part in: one in all for v2, one for each controller in v1.
    places: Vec<Place>,
}

/// What a cgroup's processes may use together; what is `None` is not limited by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time.
    pub cpu: Option<Quota>,
    /// How many processes and threads there may be at a time; one more fork fails with `EAGAIN`.
    pub processes: Option<u32>,
}

/// CPU time in each period, both in microseconds. More quota than period is more than one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Time on any CPU that all processes may use together in a period; the kernel takes no less than 1000.
    pub quota_us: u32,
    /// Length of a period, 1000 to 1000000.
    pub period_us: u32,
}

/// One directory of a cgroup.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    version: Version,
    /// The directory, opened: a place of birth is named by descriptor.
    opened: File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What limits one resource; the kernel's name for it is the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Controller {
    Cpu,
    Pids,
}

/// A tree of cgroups, as far as this process sees it.
#[derive(Debug)]
struct Tree {
    version: Version,
    /// Where it is mounted.
    mount: PathBuf,
    /// The calling process's own cgroup below `mount`.
    own: PathBuf,
    /// In v1, the controllers that are bound to it.
    bound: Vec<String>,
}

/// How long the kernel may take to let go of processes that have been killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every name begins with, so that a user knows whose it is.
const PREFIX: &str = "docker-lite";

impl Cgroup {
    /// Makes a cgroup with these limits, called `docker-lite-NAME-…` after the process that makes it.
    ///
    /// It stands in the nearest cgroup around the caller that can have such children, so limits that hold for the caller
    /// hold for it as well, as far as possible. On v2 that may mean to enable a controller for that cgroup's children,
    /// which stays so afterwards: others may have come to rely on it. First, cgroups of the same name are removed if the
    /// process that made them is dead: it was killed and could not do it.
    ///
    /// # Errors
    /// Words when a controller cannot be had, with where it is and what to do; `EACCES`, `EPERM`, `EROFS` when the cgroup may
    /// not be made; `EINVAL` when the kernel refuses a value; words when it holds another limit than was written.
    pub fn create(name: &str, limits: &Limits) -> Result<Self> {
        Self::make(name, limits.controllers(), limits)
    }

    /// Makes a cgroup that has the cpu controller and no limit yet: [`Cgroup::directory`] holds the files for one.
    ///
    /// # Errors
    /// Those of [`Cgroup::create`].
    pub fn for_cpu(name: &str) -> Result<Self> {
        Self::make(name, [Controller::Cpu], &Limits::default())
    }

    fn make(name: &str, controllers: impl IntoIterator<Item = Controller>, limits: &Limits) -> Result<Self> {
        let trees = trees()?;
        let mut wanted: BTreeMap<PathBuf, (&Tree, Vec<Controller>)> = BTreeMap::new();
        for controller in controllers {
            let tree = find_tree(&trees, controller)?;
            wanted.entry(tree.mount.clone()).or_insert((tree, Vec::new())).1.push(controller);
        }
        let owner = Owner::this_process()?;
        let mut cgroup = Self { places: Vec::new() };
        for (tree, controllers) in wanted.into_values() {
            let parent = tree.parent_for(&controllers)?;
            tree.around().for_each(|folder| remove_leftovers(&folder, name, &owner));
            let place = Place::make(&parent, &format!("{PREFIX}-{name}-{owner}"), tree.version)?;
            // In the list before the limits are set: from here on, dropping the value removes it.
            cgroup.places.push(place);
            let Some(place) = cgroup.places.last() else { continue };
            for controller in controllers {
                place.limit(controller, limits)?;
            }
        }
        Ok(cgroup)
    }

    /// The directory that a child can be born in; none when all its parts are in v1.
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.places.iter().find(|place| place.version == Version::V2).map(|place| place.opened.as_fd())
    }

    /// Whether a child has to be moved in by [`Cgroup::join`], because birth alone does not put it in every part.
    pub fn has_to_be_joined(&self) -> bool {
        self.directory_in_v1().is_some()
    }

    /// A directory of it that is in a v1 tree, if there is one: worth telling a user who expects v2.
    pub fn directory_in_v1(&self) -> Option<&Path> {
        self.places.iter().find(|place| place.version == Version::V1).map(|place| place.directory.as_path())
    }

    /// Its directory; the first, if it has one in several trees of v1.
    pub fn directory(&self) -> &Path {
        // It is made with one at least, and has them until it is removed.
        self.places.first().map_or(Path::new(""), |place| &place.directory)
    }

    /// Its directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.directory.as_path())
    }

    /// Moves a process into its v1 parts. The process's children that exist already stay where they are.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process; `EACCES` when it is another user's.
    pub fn join(&self, pid: Pid) -> Result<()> {
        for place in self.places.iter().filter(|place| place.version == Version::V1) {
            let directory = place.directory.display();
            step!("cgroup.join",
                call: "write(\"{directory}/cgroup.procs\", \"{pid}\")";
                why: "its children will be born where it is; it is moved before it becomes the program, so that no instruction of that runs without the limit";
                shell: "echo {pid} > {directory}/cgroup.procs");
            // Any controller's type will do: they all write the same file.
            PidController::new(place.directory.clone(), false)
                .add_task_by_tgid(&CgroupPid::from(pid.as_raw() as u64))
                .or_cannot(format_args!("move process {pid} into"), directory)?;
        }
        Ok(())
    }

    /// Kills what is inside and removes it, and says if that failed.
    ///
    /// # Errors
    /// `EBUSY` when killed processes do not go within five seconds; `EACCES`, `EPERM`, `EROFS` when it may not be removed.
    pub fn remove(mut self) -> Result<()> {
        self.remove_places()
    }

    /// Tries every part, and tells the first failure.
    fn remove_places(&mut self) -> Result<()> {
        self.places.drain(..).rev().map(|place| remove(&place.directory)).fold(Ok(()), Result::and)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Who wants to know calls `remove`.
        let _ = self.remove_places();
    }
}

impl Limits {
    fn controllers(&self) -> impl Iterator<Item = Controller> {
        let cpu = self.cpu.map(|_| Controller::Cpu);
        let pids = self.processes.map(|_| Controller::Pids);
        cpu.into_iter().chain(pids)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        })
    }
}

impl Place {
    fn make(parent: &Path, name: &str, version: Version) -> Result<Self> {
        let directory = parent.join(name);
        let shown = directory.display();
        step!("cgroup.create", call: "mkdir(\"{shown}\")";
            why: "a new directory is a new cgroup, empty and without limits; the kernel puts its files in";
            shell: "mkdir {shown}");
        fs::create_dir(&directory).or_cannot("make the cgroup", shown).map_err(|error| match error.errno() {
            Some(Errno::EACCES | Errno::EPERM) => error.hint("it takes root: try with sudo"),
            Some(Errno::EROFS) => error.hint("the cgroup file system is mounted read-only here, as in most containers"),
            _ => error,
        })?;
        let opened = File::open(&directory).or_cannot("open", directory.display());
        let opened = opened.inspect_err(|_| drop(fs::remove_dir(&directory)))?;
        Ok(Self { directory, version, opened })
    }

    /// Writes a limit, and reads back what the kernel made of it.
    fn limit(&self, controller: Controller, limits: &Limits) -> Result<()> {
        match controller {
            Controller::Cpu => limits.cpu.map_or(Ok(()), |quota| self.limit_cpu(quota)),
            Controller::Pids => limits.processes.map_or(Ok(()), |most| self.limit_processes(most)),
        }
    }

    fn limit_cpu(&self, Quota { quota_us, period_us }: Quota) -> Result<()> {
        let directory = self.directory.display();
        let cpu = CpuController::new(self.directory.clone(), self.version == Version::V2);
        let (quota, period) = (i64::from(quota_us), u64::from(period_us));
        let written = match self.version {
            Version::V2 => {
                step!("cgroup.limit", call: "write(\"{directory}/cpu.max\", \"{quota} {period}\")";
                    why: "all inside together get {quota} µs of CPU time in each {period} µs, then wait for the next period";
                    shell: "echo {quota} {period} > {directory}/cpu.max");
                cpu.set_cfs_quota_and_period(Some(quota), Some(period))
            }
            Version::V1 => {
                step!("cgroup.limit",
                    call: "write(\"{directory}/cpu.cfs_period_us\", \"{period}\"); write(\"{directory}/cpu.cfs_quota_us\", \"{quota}\")";
                    why: "all inside together get {quota} µs of CPU time in each {period} µs, then wait for the next period";
                    shell: "echo {period} > {directory}/cpu.cfs_period_us; echo {quota} > {directory}/cpu.cfs_quota_us");
                // The period first: a new cgroup has no quota, so any period goes with it.
                cpu.set_cfs_period(period).and_then(|()| cpu.set_cfs_quota(quota))
            }
        };
        written.or_cannot(format_args!("limit CPU time to {quota} of {period} µs in"), directory)?;
        let held = cpu.cfs_quota().and_then(|quota| Ok((quota, cpu.cfs_period()?)));
        let held = held.or_cannot("read back the CPU limit of", self.directory.display())?;
        self.compare(Controller::Cpu, &format!("{held:?}"), &format!("{:?}", (quota, period)))
    }

    fn limit_processes(&self, most: u32) -> Result<()> {
        let directory = self.directory.display();
        step!("cgroup.limit", call: "write(\"{directory}/pids.max\", \"{most}\")";
            why: "a program that forks without end stops at that number, and the machine stays usable";
            shell: "echo {most} > {directory}/pids.max");
        let pids = PidController::new(self.directory.clone(), self.version == Version::V2);
        let wanted = MaxValue::Value(i64::from(most));
        pids.set_pid_max(wanted).or_cannot(format_args!("limit processes to {most} in"), directory)?;
        let held = pids.get_pid_max().or_cannot("read back the limit of processes of", self.directory.display())?;
        self.compare(Controller::Pids, &format!("{held:?}"), &format!("{wanted:?}"))
    }

    fn compare(&self, controller: Controller, held: &str, wanted: &str) -> Result<()> {
        if held == wanted {
            return Ok(());
        }
        let reason = format!("{wanted} was written, the kernel holds {held}");
        Err(Error::new(format_args!("limit {controller} in"), self.directory.display(), reason))
    }
}

impl Tree {
    /// The cgroup in which ours shall stand.
    ///
    /// The nearest around the caller in which nothing has to be changed; else the nearest that can be changed.
    fn parent_for(&self, controllers: &[Controller]) -> Result<PathBuf> {
        if self.version == Version::V1 {
            // Every v1 cgroup has its tree's controllers.
            return self.around().next().ok_or(Errno::ENOENT).or_cannot("look at", self.mount.display());
        }
        let is_ready = |parent: &PathBuf| missing_for_children(parent, controllers) == Ok(Vec::new());
        if let Some(ready) = self.around().find(is_ready) {
            return Ok(ready);
        }
        let mut refusal = Error::new("look at", self.mount.display(), Errno::ENOENT);
        for parent in self.around() {
            match enable_for_children(&parent, controllers) {
                Ok(()) => return Ok(parent),
                // The outermost one's says most: what is missing there is missing further in as well.
                Err(error) => refusal = error,
            }
        }
        let names = controllers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Err(Error::new("limit", names, refusal))
    }

    /// The cgroups that the caller is in, from its own outwards.
    fn around(&self) -> impl Iterator<Item = PathBuf> {
        // Collected from its parts, so that the mount itself does not end up with a slash after it.
        self.own.ancestors().map(|path| self.mount.join(path).components().collect())
    }
}

/// Which of the controllers a v2 cgroup's children would lack.
fn missing_for_children(parent: &Path, controllers: &[Controller]) -> Result<Vec<Controller>> {
    // In a threaded tree a new cgroup takes no processes. The root has no such file.
    if let Ok(kind) = fs::read_to_string(parent.join("cgroup.type")) {
        if kind.trim() != "domain" {
            let reason = format!("it is of type \"{}\" and can have no processes below it", kind.trim());
            return Err(Error::new("make a cgroup in", parent.display(), reason));
        }
    }
    let enabled = read(&parent.join("cgroup.subtree_control"))?;
    Ok(without(controllers, &enabled))
}

fn enable_for_children(parent: &Path, controllers: &[Controller]) -> Result<()> {
    let missing = missing_for_children(parent, controllers)?;
    let shown = parent.display();
    let names = missing.iter().map(|controller| format!("+{controller}")).collect::<Vec<_>>().join(" ");
    let attempt = format!("enable {names} for children of");
    let available = read(&parent.join("cgroup.controllers"))?;
    if let Some(controller) = without(&missing, &available).first() {
        let reason = format!("it has no {controller} controller itself");
        return Err(Error::new(attempt, shown, reason)
            .hint("whoever made the cgroup this shell or container is in has to enable it there"));
    }
    // With processes in it the kernel would refuse, or worse: for some controllers it would agree, turn the cgroup into
    // a threaded one, and then refuse all processes below it. Only the root may have both.
    let is_root = !parent.join("cgroup.type").exists();
    if !is_root && !read(&parent.join("cgroup.procs"))?.trim().is_empty() {
        return Err(Error::new(attempt, &shown, "there are processes in it (see cgroups(7), \"no internal processes\")")
            .hint(format_args!(
                "move them one down: mkdir {shown}/init, then write each number in its cgroup.procs to {shown}/init/cgroup.procs"
            )));
    }
    step!("cgroup.enable", call: "write(\"{shown}/cgroup.subtree_control\", \"{names}\")";
        why: "a v2 cgroup has only the controllers that the one above enables for it; without this cpu.max would not be there";
        shell: "echo {names} > {shown}/cgroup.subtree_control");
    fs::write(parent.join("cgroup.subtree_control"), &names).or_cannot(attempt, shown)
}

fn without(controllers: &[Controller], named: &str) -> Vec<Controller> {
    let is_missing = |controller: &Controller| !named.split_whitespace().any(|name| name == controller.to_string());
    controllers.iter().copied().filter(is_missing).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).or_cannot("read", path.display())
}

/// The trees that are mounted where this process can reach them.
fn trees() -> Result<Vec<Tree>> {
    let unreadable = |error: procfs::ProcError| error.to_string();
    let me = Process::myself().map_err(unreadable).or_cannot("look at", "/proc/self")?;
    let mounts = me.mountinfo().map_err(unreadable).or_cannot("read", "/proc/self/mountinfo")?;
    let own = me.cgroups().map_err(unreadable).or_cannot("read", "/proc/self/cgroup")?;
    let tree = |mount: procfs::process::MountInfo| {
        let version = match mount.fs_type.as_str() {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        // A mount can lie under another one of the same place; then the path leads to the other. A file is no tree.
        let device = fs::metadata(&mount.mount_point).ok().filter(|about| about.is_dir())?.dev();
        let device = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let bound: Vec<String> = mount.super_options.into_keys().collect();
        let is_this = |own: &&procfs::ProcessCGroup| match version {
            Version::V1 => own.hierarchy != 0 && own.controllers.iter().all(|name| bound.contains(name)),
            Version::V2 => own.hierarchy == 0,
        };
        let own = own.0.iter().find(is_this)?;
        (device == mount.majmin).then(|| Tree {
            version,
            own: below(Path::new(&own.pathname), Path::new(&mount.root)),
            mount: mount.mount_point,
            bound,
        })
    };
    Ok(mounts.0.into_iter().filter_map(tree).collect())
}

/// A cgroup's path below a mount that shows the tree from `top` on; the mount itself if it is not in there.
///
/// In a cgroup namespace both are told as seen from its top: a process outside of it has a path that begins with `/..`.
fn below(own: &Path, top: &Path) -> PathBuf {
    let inside = own.strip_prefix(top).unwrap_or(Path::new(""));
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain { inside.to_owned() } else { PathBuf::new() }
}

/// The tree in which a controller is; an error that says where it is if it is in none that is mounted.
fn find_tree(trees: &[Tree], controller: Controller) -> Result<&Tree> {
    let name = controller.to_string();
    let has_it = |tree: &&Tree| match tree.version {
        Version::V1 => tree.bound.contains(&name),
        Version::V2 => fs::read_to_string(tree.mount.join("cgroup.controllers"))
            .is_ok_and(|controllers| controllers.split_whitespace().any(|other| other == name)),
    };
    if let Some(tree) = trees.iter().find(has_it) {
        return Ok(tree);
    }
    let known = procfs::cgroups().map(|all| all.0).unwrap_or_default();
    let known = known.into_iter().find(|known| known.name == name);
    let v2 = trees.iter().find(|tree| tree.version == Version::V2);
    let (reason, cure) = match (known, v2) {
        (None, _) => ("this kernel has no such controller".to_owned(), "use another kernel".to_owned()),
        (Some(known), _) if !known.enabled => {
            ("it is switched off".to_owned(), format!("start the kernel without cgroup_disable={name}"))
        }
        (Some(known), _) if known.hierarchy != 0 => (
            format!("it is bound to cgroup v1 tree number {}, which is not mounted here", known.hierarchy),
            format!("mount it: mkdir /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}"),
        ),
        (Some(_), None) => (
            "it is in cgroup v2, which is not mounted here".to_owned(),
            "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned(),
        ),
        (Some(_), Some(v2)) => (
            format!("it is in cgroup v2, but {} does not get it", v2.mount.display()),
            format!(
                "outside of this container: echo +{name} > cgroup.subtree_control, in each cgroup from the root down"
            ),
        ),
    };
    Err(Error::new("limit", name, reason).hint(cure))
}

/// Who made a cgroup: written in its name, so that a later run can tell whether it still lives.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: i32,
    /// Start time in clock ticks after boot: a later process of the same number has another.
    started: u64,
    /// The PID namespace in which the number counts: from another one, nothing can be said about it.
    namespace: String,
}

impl Owner {
    fn this_process() -> Result<Self> {
        let me = Process::myself().and_then(|me| me.stat());
        let me = me.map_err(|error| error.to_string()).or_cannot("look at", "/proc/self/stat")?;
        let namespace = Identity::of_self(Kind::Pid)?.to_string();
        let namespace = namespace.chars().filter(char::is_ascii_digit).collect();
        Ok(Self { pid: me.pid, started: me.starttime, namespace })
    }

    /// Reads it from the end of a name, as `Display` writes it.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let pid = fields.next()?.parse().ok()?;
        let started = fields.next()?.parse().ok()?;
        let namespace = fields.next()?.to_owned();
        fields.next().is_none().then_some(Self { pid, started, namespace })
    }

    fn is_dead(&self) -> bool {
        match Process::new(self.pid).and_then(|process| process.stat()) {
            Ok(stat) => stat.starttime != self.started,
            Err(error) => matches!(error, procfs::ProcError::NotFound(_)),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.pid, self.started, self.namespace)
    }
}

/// Removes what killed runs could not. What cannot be removed stays for the next run: it is not ours to fail about.
fn remove_leftovers(parent: &Path, name: &str, owner: &Owner) {
    let prefix = format!("{PREFIX}-{name}-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let other = file_name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(Owner::parse);
        if other.is_some_and(|other| other.namespace == owner.namespace && other.is_dead()) {
            let _ = remove(&entry.path());
        }
    }
}

/// Kills what is in a cgroup, and in those below, and removes them.
fn remove(directory: &Path) -> Result<()> {
    let shown = directory.display();
    step!("cgroup.remove", call: "rmdir(\"{shown}\")";
        why: "a cgroup can go when nobody is in it, and nobody else will remove it";
        shell: "rmdir {shown}");
    let begin = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        kill_inside(directory);
        for below in fs::read_dir(directory).into_iter().flatten().flatten() {
            if below.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&below.path())?;
            }
        }
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The killed need a moment to be gone.
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && begin.elapsed() < PATIENCE => (),
            outcome => return outcome.or_cannot("remove the cgroup", shown),
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills all processes in a cgroup; its removal tells whether that worked.
fn kill_inside(directory: &Path) {
    let inside = || -> Vec<Pid> {
        let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        // A process that has no number in our PID namespace is listed as 0.
        listed.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()
    };
    if inside().is_empty() {
        return;
    }
    // v2 has had this file since Linux 5.14.
    let all_at_once = directory.join("cgroup.kill");
    if all_at_once.exists() {
        let shown = all_at_once.display();
        step!("cgroup.kill", call: "write(\"{shown}\", \"1\")";
            why: "kills all inside at once; one by one, a process could fork faster than it is found";
            shell: "echo 1 > {shown}");
        let _ = fs::write(&all_at_once, "1");
    }
    // Without that file; and where it is, it signals the thread alone that a process began with, which others may outlive.
    let held: Vec<PidFd> =
        inside().into_iter().filter(|pid| pid.as_raw() != 0).filter_map(|pid| PidFd::open(pid).ok()).collect();
    // Who is still listed when its descriptor is open is the one that the descriptor means.
    let still = inside();
    for process in held.iter().filter(|process| still.contains(&process.pid())) {
        let _ = process.signal(Signal::SIGKILL);
    }
}

impl From<cgroups_rs::error::Error> for Cause {
    fn from(error: cgroups_rs::error::Error) -> Self {
        let kernel = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match kernel.and_then(io::Error::raw_os_error) {
            Some(number) => Self::Kernel(Errno::from_raw(number)),
            None => Self::Words(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::line;
    use tempfile::TempDir;

    /// A v2 tree made of plain files: each cgroup's `cgroup.controllers`, `cgroup.subtree_control` and `cgroup.procs`.
    fn tree(own: &str, cgroups: &[(&str, [&str; 3])]) -> (TempDir, Tree) {
        let folder = TempDir::new().unwrap();
        for (path, [controllers, enabled, procs]) in cgroups {
            let directory = folder.path().join(path);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup.controllers"), controllers).unwrap();
            fs::write(directory.join("cgroup.subtree_control"), enabled).unwrap();
            fs::write(directory.join("cgroup.procs"), procs).unwrap();
            if !path.is_empty() {
                fs::write(directory.join("cgroup.type"), "domain\n").unwrap();
            }
        }
        let tree = Tree { version: Version::V2, mount: folder.path().to_owned(), own: own.into(), bound: Vec::new() };
        (folder, tree)
    }

    #[test]
    fn a_parent_that_is_ready_is_preferred_to_one_nearer_that_would_have_to_be_changed() {
        let (folder, tree) = tree(
            "slice/empty/session",
            &[
                ("", ["cpu pids", "cpu pids", "1"]),
                ("slice", ["cpu pids", "cpu", ""]),
                ("slice/empty", ["cpu", "", ""]),
                ("slice/empty/session", ["", "", "7"]),
            ],
        );
        assert_eq!(tree.parent_for(&[Controller::Cpu]).unwrap(), folder.path().join("slice"));
        assert_eq!(tree.parent_for(&[Controller::Cpu, Controller::Pids]).unwrap(), folder.path());
        assert_eq!(tree.parent_for(&[]).unwrap(), folder.path().join("slice/empty/session"));
        assert_eq!(read(&folder.path().join("slice/empty/cgroup.subtree_control")).unwrap(), "", "nothing was changed");
    }

    #[test]
    fn only_what_is_missing_is_enabled_and_never_where_processes_are() {
        let (folder, tree) = tree("box", &[("", ["cpu pids", "pids", "1"]), ("box", ["cpu pids", "", "7"])]);
        assert_eq!(tree.parent_for(&[Controller::Cpu, Controller::Pids]).unwrap(), folder.path());
        assert_eq!(read(&folder.path().join("cgroup.subtree_control")).unwrap(), "+cpu");
        assert_eq!(read(&folder.path().join("box/cgroup.subtree_control")).unwrap(), "", "it has a process");
    }

    #[test]
    fn a_controller_that_cannot_be_had_is_named_with_the_reason() {
        let (folder, tree) = tree("", &[("", ["pids", "", "1"])]);
        let told = line(&tree.parent_for(&[Controller::Cpu]).unwrap_err());
        let start = format!("cannot limit cpu: cannot enable +cpu for children of {}", folder.path().display());
        assert!(told.starts_with(&start) && told.contains(": it has no cpu controller itself; "), "{told}");
        // As at the top of a cgroup namespace: no root, and the caller is in it.
        fs::write(folder.path().join("cgroup.type"), "domain\n").unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let told = line(&tree.parent_for(&[Controller::Cpu]).unwrap_err());
        assert!(told.contains("there are processes in it") && told.contains("; move them one down: mkdir "), "{told}");
        fs::write(folder.path().join("cgroup.type"), "domain threaded\n").unwrap();
        let told = line(&tree.parent_for(&[Controller::Cpu]).unwrap_err());
        assert!(told.contains("it is of type \"domain threaded\""), "{told}");
    }

    #[test]
    fn a_controller_that_no_kernel_has_is_an_error_and_no_silence() {
        let told = line(&find_tree(&[], Controller::Cpu).unwrap_err());
        assert!(told.starts_with("cannot limit cpu: ") && told.contains("; "), "{told}");
    }

    #[test]
    fn ones_own_cgroup_is_found_below_a_mount_of_a_part_of_the_tree() {
        let below = |own: &str, top: &str| below(Path::new(own), Path::new(top));
        assert_eq!(below("/", "/"), Path::new(""));
        assert_eq!(below("/user.slice/session", "/"), Path::new("user.slice/session"));
        assert_eq!(below("/docker/abc/x", "/docker/abc"), Path::new("x"));
        assert_eq!(below("/docker/abc", "/docker/other"), Path::new(""));
        assert_eq!(below("/../init", "/"), Path::new(""), "outside of the cgroup namespace");
    }

    #[test]
    fn an_owner_is_read_from_a_name_and_known_dead_or_alive() {
        let me = Owner::this_process().unwrap();
        assert_eq!(Owner::parse(&me.to_string()), Some(Owner::this_process().unwrap()));
        assert!(!me.is_dead());
        assert!(Owner { started: me.started + 1, ..Owner::this_process().unwrap() }.is_dead(), "a later process");
        assert!(Owner { pid: i32::MAX, ..me }.is_dead());
        for name in ["", "1", "1-2", "a-2-3", "1-2-3-4"] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }

    #[test]
    #[ignore = "needs root: make test"]
    fn a_process_whose_first_thread_has_ended_is_killed_too() {
        let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let tree = trees.into_iter().find(|tree| tree.join("cgroup.procs").exists()).unwrap();
        let directory = tree.join(format!("{PREFIX}-thread-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let program = "import ctypes, threading, time\n\
            threading.Thread(target=time.sleep, args=(1000,)).start()\n\
            ctypes.CDLL(None).pthread_exit(None)";
        let script = "echo $$ >\"$1/cgroup.procs\" && exec python3 -c \"$2\"";
        let mut shell = std::process::Command::new("sh");
        let mut child = shell.args(["-c", script, "sh"]).arg(&directory).arg(program).spawn().unwrap();
        let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        while !status().contains("State:\tZ") {
            sleep(Duration::from_millis(5));
        }
        assert!(status().contains("Threads:\t2"), "{}", status());
        remove(&directory).unwrap();
        assert!(!child.wait().unwrap().success() && !directory.exists());
    }

    #[test]
    fn a_value_that_the_kernel_did_not_take_is_an_error() {
        let folder = TempDir::new().unwrap();
        let place = Place {
            directory: folder.path().to_owned(),
            version: Version::V1,
            opened: File::open(folder.path()).unwrap(),
        };
        // Plain files hold what is written.
        place.limit_cpu(Quota { quota_us: 1000, period_us: 2000 }).unwrap();
        // A file of the kernel's that takes a 0 without complaint, and holds another number then.
        fs::remove_file(folder.path().join("cpu.cfs_quota_us")).unwrap();
        std::os::unix::fs::symlink("/proc/self/timerslack_ns", folder.path().join("cpu.cfs_quota_us")).unwrap();
        let told = line(&place.limit_cpu(Quota { quota_us: 0, period_us: 2000 }).unwrap_err());
        assert!(told.ends_with(": (0, 2000) was written, the kernel holds (50000, 2000)"), "{told}");
    }
}
