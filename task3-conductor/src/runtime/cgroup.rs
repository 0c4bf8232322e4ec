//! A container's cgroup: which processes are its own, and how many there may be.
//!
//! On a v2 host it is one directory. Where the controllers sit in v1 trees, the v2 tree has none of them and still knows
//! its members and can kill them all at once; the number of processes has to be limited by other means. Since Linux
//! 6.14 each PID namespace has a `pid_max` of its own, one write. Before that it takes a second directory, in the v1 tree
//! of `pids`, and a process cannot be born there: moving one makes the kernel wait for all processors, 10 ms and more.
//!
//! The trees are looked for where every distribution mounts them, and not in the list of mounts: with hundreds of
//! containers that list is long, and a start must not take longer for it.
//!
//! Look: `cat /sys/fs/cgroup/conductor-*/{cgroup.procs,pids.max}`. Manual: cgroups(7), "Control Group v2".

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::process::PidFd;
use nsutil::step;

use super::limits::{self, Controller, Version, write_existing};
use crate::failure::remark;
use crate::limits::Limits;
use crate::name::ContainerName;

/// The cgroup of a container.
#[derive(Debug)]
pub struct Cgroup {
    places: Vec<Place>,
    /// It has no controller for the number of processes, and the PID namespace can do that as well.
    cannot_count: bool,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    version: Version,
    /// In v1, whose tree it is in.
    controller: Option<Controller>,
}

/// How long killed processes may stay without one of them going.
const PATIENCE: Duration = Duration::from_secs(5);

/// After what time those that are still there are killed once more.
const KILL_AGAIN: Duration = Duration::from_millis(100);

impl Cgroup {
    /// Makes the cgroup `name` with these limits.
    ///
    /// # Errors
    /// `EROFS`, `EACCES` where cgroups may not be made; in words when no tree offers a controller that is needed.
    pub fn create(name: &str, limits: &Limits) -> Result<Self> {
        let mut cgroup = Self::of(name)?;
        let wanted = || Controller::ALL.into_iter().filter(|controller| controller.is_wanted(limits));
        // In a v1 tree of its own only if that was asked for: a process cannot be born there.
        for controller in wanted().filter(|_| !cgroup.is_unified()).collect::<Vec<_>>() {
            if let Some(place) = Place::in_v1(controller, name).filter(|place| !cgroup.has(place)) {
                cgroup.places.push(place);
            }
        }
        for place in &cgroup.places {
            step!("cgroup.create",
                call: "mkdir(\"{}\")", place.directory.display();
                why: "one directory knows every process of the container, also those that have forked away";
                shell: "mkdir {}", place.directory.display());
            match fs::create_dir(&place.directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::new("make cgroup", place.directory.display(), error));
                }
                _ => (),
            }
        }
        wanted()
            .filter(|controller| *controller != Controller::Pids)
            .try_for_each(|controller| cgroup.limit(controller, limits))?;
        let has_limit = limits.most_processes().is_some();
        if has_limit && (limits.processes.is_some() || cgroup.limits_processes()) {
            match cgroup.limit(Controller::Pids, limits) {
                Ok(()) => (),
                Err(_) if namespaces_limit_processes() => cgroup.cannot_count = true,
                Err(error) if limits.processes.is_some() => return Err(error),
                // Nobody has asked for it.
                Err(error) => remark(format_args!("the number of processes has no limit: {}", line(&error))),
            }
        }
        Ok(cgroup)
    }

    /// The cgroup `name`, which may be there or not.
    ///
    /// # Errors
    /// In words when this host has no cgroups.
    pub fn of(name: &str) -> Result<Self> {
        let in_v2 = |tree: &str| {
            let directory = Path::new(tree).join(name);
            is(Path::new(tree), CGROUP2).then_some(Place { directory, version: Version::V2, controller: None })
        };
        if let Some(place) = in_v2(UNIFIED) {
            return Ok(Self { places: vec![place], cannot_count: false });
        }
        let mut places: Vec<Place> = in_v2(UNIFIED_BESIDE_V1).into_iter().collect();
        // Without a v2 tree it is also what knows the members.
        let needed = places.is_empty() || !namespaces_limit_processes();
        let v1 = Controller::ALL.into_iter().filter_map(|controller| Place::in_v1(controller, name));
        // The others are there when a limit was asked for.
        places.extend(
            v1.filter(|place| (needed && place.controller == Some(Controller::Pids)) || place.directory.exists()),
        );
        if places.is_empty() {
            return Err(Error::new("find", "cgroups", "none are mounted at /sys/fs/cgroup")
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        }
        Ok(Self { places, cannot_count: false })
    }

    /// The directory that a process can be born in.
    ///
    /// # Errors
    /// `ENOENT` when it has been removed.
    pub fn birthplace(&self) -> Result<Option<File>> {
        let place = self.places.iter().find(|place| place.version == Version::V2);
        place.map(|place| File::open(&place.directory).or_cannot("open", place.directory.display())).transpose()
    }

    /// The files that a process joins the other parts by, writing `0` into each; open, because it may not see them then.
    ///
    /// # Errors
    /// `ENOENT` when the cgroup has been removed.
    pub fn doors(&self) -> Result<Vec<File>> {
        let v1 = self.places.iter().filter(|place| place.version == Version::V1);
        v1.map(|place| {
            let door = place.directory.join("cgroup.procs");
            File::options().write(true).open(&door).or_cannot("open", door.display())
        })
        .collect()
    }

    /// Whether the limit of processes is the cgroup's affair; otherwise it is the PID namespace's.
    pub fn limits_processes(&self) -> bool {
        let counts = |place: &Place| place.controller == Some(Controller::Pids);
        !self.cannot_count && (self.is_unified() || self.places.iter().any(counts) || !namespaces_limit_processes())
    }

    /// How many of its processes the kernel has killed because its memory was used up; none without a limit.
    pub fn out_of_memory_kills(&self) -> Option<u64> {
        self.places.iter().find_map(|place| limits::out_of_memory_kills(&place.directory, place.version))
    }

    /// Bytes of memory that it uses now; none when the kernel does not count them for it.
    pub fn memory_now(&self) -> Option<u64> {
        self.places.iter().find_map(|place| limits::memory_now(&place.directory, place.version))
    }

    /// CPU time that its processes have used, in microseconds; none without a v2 tree.
    pub fn cpu_time_us(&self) -> Option<u64> {
        self.places.iter().find_map(|place| limits::cpu_time_us(&place.directory))
    }

    /// Its processes, by number.
    pub fn members(&self) -> Vec<i32> {
        let first = self.places.first();
        let listed = first.and_then(|place| fs::read_to_string(place.directory.join("cgroup.procs")).ok());
        listed.unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// How many processes and threads there are; none when it has been removed.
    pub fn processes(&self) -> Option<usize> {
        self.places.iter().find_map(|place| {
            let threads = fs::read_to_string(place.directory.join("cgroup.threads"));
            threads.or_else(|_| fs::read_to_string(place.directory.join("tasks"))).ok().map(|text| text.lines().count())
        })
    }

    /// Its directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.directory.as_path())
    }

    /// Stops all its processes and waits until they stand still, or lets them go on. Source: the kernel's document "Control
    /// Group v2", `cgroup.freeze`.
    ///
    /// # Errors
    /// In words without a v2 tree; `ETIMEDOUT` when a process hangs in the kernel and does not come to a stop: then all go on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let Some(place) = self.places.iter().find(|place| place.version == Version::V2) else {
            let missing = Error::new("pause", "a cgroup", "it takes a tree of version 2, and none is mounted");
            return Err(missing.hint("`conductor kill -s STOP NAME` holds the first process alone"));
        };
        let file = place.directory.join("cgroup.freeze");
        let value = if frozen { "1" } else { "0" };
        step!("cgroup.freeze", call: "write(\"{}\", \"{value}\")", file.display();
            why: "all processes at once: none can notice it, or go on while others stand still";
            shell: "echo {value} > {}", file.display());
        write_existing(&file, value).or_cannot("write", file.display())?;
        if !frozen || place.says_within("frozen 1", PATIENCE)? {
            return Ok(());
        }
        write_existing(&file, "0").or_cannot("write", file.display())?;
        Err(Error::new("pause", file.display(), Errno::ETIMEDOUT).hint("a process in it hangs in the kernel"))
    }

    /// Whether it has been told to stand still.
    pub fn is_frozen(&self) -> bool {
        let told = |place: &Place| fs::read_to_string(place.directory.join("cgroup.freeze"));
        self.places.iter().any(|place| told(place).is_ok_and(|text| text.trim_end() == "1"))
    }

    /// Makes sure that a process that is born in it can begin.
    ///
    /// # Errors
    /// In words when it stands still: the caller would wait for the newborn process for as long.
    pub fn refuse_frozen(&self, name: &ContainerName) -> Result<()> {
        if !self.is_frozen() {
            return Ok(());
        }
        let paused = Error::new("enter", format_args!("container {name}"), "it is paused");
        Err(paused.hint(format_args!("`conductor unpause {name}` first")))
    }

    /// Kills every process in it and waits until none is left, then removes it; nothing to do when it is not there.
    ///
    /// # Errors
    /// `EBUSY` when processes do not go: one may hang in the kernel (state `D` in ps).
    pub fn remove(&self) -> Result<()> {
        for place in &self.places {
            place.kill_all()?;
            place.remove()?;
        }
        Ok(())
    }

    /// Whether all controllers are in one tree.
    fn is_unified(&self) -> bool {
        matches!(self.places.as_slice(), [only] if only.directory.parent() == Some(Path::new(UNIFIED)))
    }

    fn has(&self, place: &Place) -> bool {
        self.places.iter().any(|known| known.directory == place.directory)
    }

    fn limit(&self, controller: Controller, limits: &Limits) -> Result<()> {
        let of_its_own = self.places.iter().find(|place| place.controller == Some(controller));
        let place = of_its_own.or_else(|| self.places.iter().find(|place| place.version == Version::V2));
        let missing = |place: Option<(&Place, Errno)>| {
            let where_else = place.map_or(String::new(), |(place, errno)| {
                format!("{} has none ({}: {errno:?}), and ", place.directory.display(), errno.desc())
            });
            let reason = format!("{where_else}no other cgroup tree has the {controller} controller");
            let missing = Error::new("limit by", format_args!("the {controller} controller"), reason);
            if !controller.is_wanted(limits) {
                return missing;
            }
            missing.hint(format_args!(
                "see /proc/cgroups, and the kernel's parameter cgroup_disable; without that limit it can be run: leave out {}",
                controller.option()
            ))
        };
        let Some(place) = place else { return Err(missing(None)) };
        let limit = || controller.limit(&place.directory, place.version, limits);
        let is_missing = |error: &Error| error.errno() == Some(Errno::ENOENT);
        match limit() {
            Err(error) if is_missing(&error) => {
                // On v2 the directory above has to pass the controller on first.
                if place.version == Version::V1 {
                    return Err(missing(Some((place, Errno::ENOENT))));
                }
                place
                    .pass_on(controller)
                    .map_err(|error| missing(Some((place, error.errno().unwrap_or(Errno::EIO)))))?;
                limit()
            }
            outcome => outcome,
        }
    }
}

impl Place {
    /// A directory in the v1 tree of a controller, which may be there or not; none when there is no such tree.
    fn in_v1(controller: Controller, name: &str) -> Option<Self> {
        let tree = Path::new(UNIFIED).join(controller.name());
        let directory = tree.join(name);
        is(&tree, CGROUP1).then_some(Self { directory, version: Version::V1, controller: Some(controller) })
    }

    /// Asks the cgroup above to pass the controller on: `ENOENT`, `EINVAL` when it has none to pass, `EBUSY` when it has processes.
    fn pass_on(&self, controller: Controller) -> Result<()> {
        let control = self.directory.with_file_name("cgroup.subtree_control");
        step!("cgroup.delegate",
            call: "write(\"{}\", \"+{controller}\")", control.display();
            why: "in v2 a controller counts in a directory only if the one above passes it on";
            shell: "echo +{controller} > {}", control.display());
        write_existing(&control, &format!("+{controller}")).or_cannot("write", control.display())
    }

    fn kill_all(&self) -> Result<()> {
        let kill = self.directory.join("cgroup.kill");
        step!("cgroup.kill",
            call: "write(\"{}\", \"1\")", kill.display();
            why: "all processes at once, so that none can fork away between two signals";
            shell: "echo 1 > {}", kill.display());
        let mut left = (self.left(), Instant::now());
        loop {
            match write_existing(&kill, "1") {
                Ok(()) => (),
                Err(Errno::ENOENT) if !self.directory.exists() => return Ok(()),
                // Version 1, a kernel before 5.14, or a cgroup that the container has made a threaded one.
                Err(Errno::ENOENT | Errno::EOPNOTSUPP) => return self.kill_each(),
                Err(errno) => return Err(errno).or_cannot("write", kill.display()),
            }
            // Once is not always enough: before Linux 6.14 a child whose fork was under way lives on.
            if self.says_within("populated 0", KILL_AGAIN)? {
                return Ok(());
            }
            // Nor for all: that signal goes to the thread a process began with alone, and others may outlive it.
            for process in self.member_pidfds()? {
                // It may have ended meanwhile.
                let _ = process.signal(Signal::SIGKILL);
            }
            // A thousand of them take their time on a slow machine: as long as they become fewer, they do go.
            if self.left() != left.0 {
                left = (self.left(), Instant::now());
            } else if left.1.elapsed() > PATIENCE {
                return Err(self.will_not_go());
            }
        }
    }

    /// How many processes are left, in words for comparing: with the `pids` controller also those that are about to end.
    fn left(&self) -> String {
        let counted = fs::read_to_string(self.directory.join("pids.current"));
        counted.or_else(|_| fs::read_to_string(self.directory.join("cgroup.procs"))).unwrap_or_default()
    }

    /// Waits until the kernel says so in `cgroup.events`, such as that the last process has gone; false when it does not in time.
    fn says_within(&self, wanted: &str, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        let path = self.directory.join("cgroup.events");
        let mut events = File::open(&path).or_cannot("open", path.display())?;
        let mut text = String::new();
        loop {
            // By the descriptor that is polled: what it has not been used to read yet is an event for it.
            text.clear();
            events.rewind().and_then(|()| events.read_to_string(&mut text)).or_cannot("read", path.display())?;
            if text.lines().any(|line| line == wanted) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ends = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut ends, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno).or_cannot("wait for", path.display()),
            }
        }
    }

    fn kill_each(&self) -> Result<()> {
        // Not those that were seen alone: one may have forked another, and ended, meanwhile.
        while !self.listed()?.is_empty() {
            let processes = self.member_pidfds()?;
            for process in &processes {
                // It may have ended meanwhile.
                let _ = process.signal(Signal::SIGKILL);
            }
            for process in &processes {
                if !ends_within(process.as_fd(), PATIENCE)? {
                    return Err(self.will_not_go());
                }
            }
        }
        Ok(())
    }

    /// Those that are in it or below it.
    fn member_pidfds(&self) -> Result<Vec<PidFd>> {
        let listed = self.listed()?;
        let opened: Vec<PidFd> = listed.into_iter().filter_map(|pid| PidFd::open(Pid::from_raw(pid)).ok()).collect();
        // Who is still listed when its descriptor is open is the one that the descriptor means.
        let still = self.listed()?;
        Ok(opened.into_iter().filter(|process| still.contains(&process.pid().as_raw())).collect())
    }

    fn listed(&self) -> Result<BTreeSet<i32>> {
        let mut processes = BTreeSet::new();
        for directory in self.with_those_below() {
            let path = directory.join("cgroup.procs");
            let text = match fs::read_to_string(&path) {
                Err(error) if error.raw_os_error().map(Errno::from_raw).is_some_and(has_no_list) => continue,
                read => read.or_cannot("read", path.display())?,
            };
            processes.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Ok(processes)
    }

    /// This cgroup and those that a container has made below it, the deepest first.
    fn with_those_below(&self) -> Vec<PathBuf> {
        let mut found = vec![self.directory.clone()];
        let mut listed = 0;
        while let Some(directory) = found.get(listed) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let below: Vec<PathBuf> = entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect();
            found.extend(below);
            listed += 1;
        }
        found.reverse();
        found
    }

    fn remove(&self) -> Result<()> {
        for directory in self.with_those_below() {
            remove_cgroup(&directory)?;
        }
        Ok(())
    }

    fn will_not_go(&self) -> Error {
        let stuck = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        let stuck = stuck.lines().collect::<Vec<_>>().join(", ");
        Error::new("end", format_args!("process {stuck}"), Errno::EBUSY)
            .hint("it hangs in the kernel (see its state with ps): try `stop` again when what it waits for is back")
    }
}

/// Removes one in which no process is left.
fn remove_cgroup(directory: &Path) -> Result<()> {
    step!("cgroup.remove", call: "rmdir(\"{}\")", directory.display();
        why: "nothing of the container stays"; shell: "rmdir {}", directory.display());
    let start = Instant::now();
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // The last process is dead and the kernel is about to notice: let it have the processor.
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && start.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            outcome => return outcome.or_cannot("remove cgroup", directory.display()),
        }
    }
}

/// Limits the processes of the caller's PID namespace; /proc shows it. At most so many fit at a time, and some fewer once
/// the numbers have come round, since the kernel leaves the first 300 out then.
///
/// # Errors
/// `EINVAL` below 301.
pub fn limit_processes_of_namespace(limits: &Limits) -> Result<()> {
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    // Before that the file is the whole host's.
    let Some(most) = limits.most_processes().filter(|_| namespaces_limit_processes()) else { return Ok(()) };
    let most = most + 1;
    step!("pid_max", call: "write(\"{PID_MAX}\", \"{most}\")";
        why: "a fork bomb inside ends when this PID namespace has no more numbers, and the host goes on";
        shell: "sysctl -w kernel.pid_max={most}");
    fs::write(PID_MAX, most.to_string()).or_cannot("write", PID_MAX)
}

/// Whether each PID namespace has a `pid_max` of its own: Linux 6.14 and later.
fn namespaces_limit_processes() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Whether a process ends within such a time.
///
/// # Errors
/// None that a valid descriptor can cause.
pub fn ends_within(process: BorrowedFd<'_>, time: Duration) -> Result<bool> {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ends = [PollFd::new(process, PollFlags::POLLIN)];
        // The longest that poll(2) knows is 24 days.
        match poll(&mut ends, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => (),
            Err(errno) => return Err(errno).or_cannot("wait for", "a process"),
        }
    }
}

/// It was removed, or is a threaded one of version 2, whose processes the one above lists.
fn has_no_list(errno: Errno) -> bool {
    [Errno::ENOENT, Errno::ENODEV, Errno::EOPNOTSUPP].contains(&errno)
}

fn is(path: &Path, magic: i64) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == magic)
}

/// Where every distribution mounts v2; beside v1, the trees of which are then mounted below.
const UNIFIED: &str = "/sys/fs/cgroup";
const UNIFIED_BESIDE_V1: &str = "/sys/fs/cgroup/unified";

// Of linux/magic.h; see statfs(2).
const CGROUP1: i64 = 0x0027_e0eb;
const CGROUP2: i64 = 0x6367_7270;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Where there is no `cgroup.kill`. Each process of this chain makes the next one and ends.
    #[test]
    #[ignore = "needs root: make test"]
    fn killed_one_by_one_those_that_fork_meanwhile_are_killed_too() {
        let tree = if is(Path::new(UNIFIED), CGROUP2) { UNIFIED } else { UNIFIED_BESIDE_V1 };
        let directory = Path::new(tree).join(format!("conductor-chain-{}", std::process::id()));
        let place = Place { directory, version: Version::V2, controller: None };
        for _ in 0..50 {
            fs::create_dir(&place.directory).unwrap();
            let chain = "echo $$ >\"$1/cgroup.procs\"; next() { next & }; next";
            assert!(Command::new("bash").args(["-c", chain, "bash"]).arg(&place.directory).status().unwrap().success());
            place.kill_each().unwrap();
            let left = place.listed().unwrap();
            place.kill_all().unwrap();
            place.remove().unwrap();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
