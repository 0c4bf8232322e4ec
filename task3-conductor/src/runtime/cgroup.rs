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

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use nsutil::step;
use rustix::fs::{Mode, OFlags};

/// The cgroup of a container.
#[derive(Debug)]
pub struct Cgroup {
    places: Vec<Place>,
}

/// What a container's processes may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads at a time; one more fork fails with `EAGAIN`.
    pub processes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 1024 }
    }
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// How long the kernel may take to let go of killed processes, in milliseconds.
const PATIENCE_MS: u16 = 5000;

impl Cgroup {
    /// Makes the cgroup `name` with these limits.
    ///
    /// # Errors
    /// `EROFS`, `EACCES` where cgroups may not be made; in words when no tree offers the `pids` controller.
    pub fn create(name: &str, limits: &Limits) -> Result<Self> {
        let cgroup = Self::of(name)?;
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
        if cgroup.limits_processes() {
            cgroup.limit_processes(limits.processes)?;
        }
        Ok(cgroup)
    }

    /// The cgroup `name`, which may be there or not.
    ///
    /// # Errors
    /// In words when this host has no cgroups.
    pub fn of(name: &str) -> Result<Self> {
        let place = |tree: &str, version| Place { directory: Path::new(tree).join(name), version };
        let is = |path: &str, magic: i64| rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == magic);
        if is("/sys/fs/cgroup", CGROUP2) {
            return Ok(Self { places: vec![place("/sys/fs/cgroup", Version::V2)] });
        }
        let mut places = Vec::new();
        if is("/sys/fs/cgroup/unified", CGROUP2) {
            places.push(place("/sys/fs/cgroup/unified", Version::V2));
        }
        // Without a v2 tree it is also what knows the members.
        let needed = places.is_empty() || !namespaces_limit_processes();
        if needed && is("/sys/fs/cgroup/pids", CGROUP1) {
            places.push(place("/sys/fs/cgroup/pids", Version::V1));
        }
        if places.is_empty() {
            return Err(Error::new("find", "cgroups", "none are mounted at /sys/fs/cgroup")
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        }
        Ok(Self { places })
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
        let hybrid = matches!(self.places.as_slice(), [only] if only.directory.starts_with("/sys/fs/cgroup/unified"));
        !(hybrid && namespaces_limit_processes())
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

    fn limit_processes(&self, most: u32) -> Result<()> {
        let mut missing = None;
        for place in &self.places {
            let file = place.directory.join("pids.max");
            step!("cgroup.limit",
                call: "write(\"{}\", \"{most}\")", file.display();
                why: "a fork bomb inside ends at {most} processes, and the host goes on";
                shell: "echo {most} > {}", file.display());
            match write_existing(&file, &most.to_string()) {
                Ok(()) => return Ok(()),
                // On v2 the directory above has to pass the controller on first.
                Err(Errno::ENOENT) if place.version == Version::V2 && place.pass_on_pids() => {
                    return write_existing(&file, &most.to_string()).or_cannot("write", file.display());
                }
                Err(Errno::ENOENT) => missing = Some(file),
                Err(errno) => return Err(errno).or_cannot("write", file.display()),
            }
        }
        match missing {
            Some(file) => {
                Err(Error::new("limit processes by", file.display(), "no cgroup tree has the pids controller")
                    .hint("see /proc/cgroups, and the kernel's parameter cgroup_disable"))
            }
            None => Ok(()),
        }
    }
}

impl Place {
    /// Asks the cgroup above to pass the `pids` controller on; false when it has none to pass.
    fn pass_on_pids(&self) -> bool {
        let control = self.directory.with_file_name("cgroup.subtree_control");
        step!("cgroup.delegate",
            call: "write(\"{}\", \"+pids\")", control.display();
            why: "in v2 a controller counts in a directory only if the one above passes it on";
            shell: "echo +pids > {}", control.display());
        write_existing(&control, "+pids").is_ok()
    }

    fn kill_all(&self) -> Result<()> {
        let kill = self.directory.join("cgroup.kill");
        step!("cgroup.kill",
            call: "write(\"{}\", \"1\")", kill.display();
            why: "all processes at once, so that none can fork away between two signals";
            shell: "echo 1 > {}", kill.display());
        match write_existing(&kill, "1") {
            Ok(()) => self.wait_until_empty(),
            Err(Errno::ENOENT) if !self.directory.exists() => Ok(()),
            // Version 1, or a kernel before 5.14.
            Err(Errno::ENOENT) => self.kill_each(),
            Err(errno) => Err(errno).or_cannot("write", kill.display()),
        }
    }

    /// Waits for the event that the kernel tells when the last process has gone.
    fn wait_until_empty(&self) -> Result<()> {
        let path = self.directory.join("cgroup.events");
        let events = File::open(&path).or_cannot("open", path.display())?;
        loop {
            let text = fs::read_to_string(&path).or_cannot("read", path.display())?;
            if text.lines().any(|line| line == "populated 0") {
                return Ok(());
            }
            let mut ends = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut ends, PollTimeout::from(PATIENCE_MS)) {
                Ok(0) => return Err(self.will_not_go()),
                Ok(_) | Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno).or_cannot("wait for", path.display()),
            }
        }
    }

    fn kill_each(&self) -> Result<()> {
        let path = self.directory.join("cgroup.procs");
        loop {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::new("read", path.display(), error)),
            };
            let processes: Vec<PidFd> = text
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter_map(|pid| PidFd::open(Pid::from_raw(pid)).ok())
                .collect();
            if processes.is_empty() {
                return Ok(());
            }
            for process in &processes {
                // It may have ended meanwhile.
                let _ = process.signal(Signal::SIGKILL);
            }
            for process in &processes {
                if !ends_within(process.as_fd(), PATIENCE_MS)? {
                    return Err(self.will_not_go());
                }
            }
        }
    }

    fn remove(&self) -> Result<()> {
        step!("cgroup.remove", call: "rmdir(\"{}\")", self.directory.display();
            why: "nothing of the container stays"; shell: "rmdir {}", self.directory.display());
        let start = std::time::Instant::now();
        loop {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                // The last process is dead and the kernel is about to notice: let it have the processor.
                Err(error)
                    if error.raw_os_error() == Some(Errno::EBUSY as i32)
                        && start.elapsed().as_millis() < u128::from(PATIENCE_MS) =>
                {
                    std::thread::yield_now();
                }
                outcome => return outcome.or_cannot("remove cgroup", self.directory.display()),
            }
        }
    }

    fn will_not_go(&self) -> Error {
        let stuck = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        let stuck = stuck.lines().collect::<Vec<_>>().join(", ");
        Error::new("end", format_args!("process {stuck}"), Errno::EBUSY)
            .hint("it hangs in the kernel (see its state with ps): try `stop` again when what it waits for is back")
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
    if !namespaces_limit_processes() {
        return Ok(());
    }
    let most = limits.processes + 1;
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

/// Whether a process ends within so many milliseconds.
///
/// # Errors
/// None that a valid descriptor can cause.
pub fn ends_within(process: BorrowedFd<'_>, milliseconds: u16) -> Result<bool> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(milliseconds.into());
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now()).as_millis();
        let mut ends = [PollFd::new(process, PollFlags::POLLIN)];
        match poll(&mut ends, PollTimeout::from(u16::try_from(left).unwrap_or(milliseconds))) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => (),
            Err(errno) => return Err(errno).or_cannot("wait for", "a process"),
        }
    }
}

/// Writes to a file of the kernel's, which is never made here.
fn write_existing(path: &Path, text: &str) -> nix::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let mut file = File::from(file.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?);
    file.write_all(text.as_bytes()).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

// Of linux/magic.h; see statfs(2).
const CGROUP1: i64 = 0x0027_e0eb;
const CGROUP2: i64 = 0x6367_7270;
