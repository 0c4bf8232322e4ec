//! Kills all processes in a cgroup and below it, then removes its directories.
//!
//! v2 kills all at once with `cgroup.kill`; one by one, a process could fork faster than it is found. In v1, and before
//! Linux 5.14, processes are killed one by one through pidfds until none is listed.
//!
//! Look: `cat /sys/fs/cgroup/NAME/{cgroup.procs,cgroup.events}`. Manual: cgroups(7), "Control Group v2".

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::error::{Error, OrCannot, Result};
use crate::process::PidFd;
use crate::step;
use crate::syscall::write_existing;

/// How long to wait when the number of killed processes does not decrease.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval after which remaining processes are killed again.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// Kills all processes in a cgroup and below it, and waits until none is left; does nothing if the cgroup does not
/// exist.
///
/// `EBUSY` when processes do not exit.
pub(super) fn kill_all(directory: &Path) -> Result<()> {
    let kill = directory.join("cgroup.kill");
    step!("cgroup.kill",
        call: "write(\"{}\", \"1\")", kill.display();
        why: "all processes at once, so that none can fork away between two signals";
        shell: "echo 1 > {}", kill.display());
    let mut left = (count(directory), Instant::now());
    loop {
        match write_existing(&kill, "1") {
            Ok(()) => (),
            Err(Errno::ENOENT) if !directory.exists() => return Ok(()),
            // Version 1, a kernel before 5.14, or a cgroup that the container has made threaded.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => return kill_each(directory),
            Err(errno) => return Err(errno).or_cannot("write", kill.display()),
        }
        // Once is not always enough: before Linux 6.14 a child that is just being forked survives.
        if wait_for_event(directory, "populated 0", KILL_AGAIN)? {
            return Ok(());
        }
        // cgroup.kill signals the main thread only: if that has exited, other threads survive it.
        for process in member_pidfds(directory)? {
            // It may have ended meanwhile.
            let _ = process.signal(Signal::SIGKILL);
        }
        // On a slow machine a thousand processes take a while: go on as long as their number decreases.
        if count(directory) != left.0 {
            left = (count(directory), Instant::now());
        } else if left.1.elapsed() > TIMEOUT {
            return Err(still_running(directory));
        }
    }
}

fn kill_each(directory: &Path) -> Result<()> {
    let start = Instant::now();
    // Until none is listed: a killed process may have forked before.
    while !list_pids(directory)?.is_empty() {
        let processes = member_pidfds(directory)?;
        for process in &processes {
            // It may have ended meanwhile.
            let _ = process.signal(Signal::SIGKILL);
        }
        for process in &processes {
            if !process.ends_within(TIMEOUT)? {
                return Err(still_running(directory));
            }
        }
        // A process of another PID namespace is listed as 0, and cannot be opened.
        if processes.is_empty() && start.elapsed() > TIMEOUT {
            return Err(still_running(directory));
        }
    }
    Ok(())
}

/// Removes a cgroup and those below it, the deepest first; no process is left in them.
///
/// `EBUSY` when a process is left; `EACCES`, `EPERM`, `EROFS` when it may not be removed.
pub(super) fn remove(directory: &Path) -> Result<()> {
    for directory in with_descendants(directory) {
        let shown = directory.display();
        step!("cgroup.remove", call: "rmdir(\"{shown}\")";
            why: "a cgroup can go when no process is in it, and nothing else will remove it"; shell: "rmdir {shown}");
        let start = Instant::now();
        loop {
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                // The last process is dead but not yet accounted: let the kernel run.
                Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && start.elapsed() < TIMEOUT => {
                    std::thread::yield_now();
                }
                outcome => break outcome.or_cannot("remove the cgroup", shown)?,
            }
        }
    }
    Ok(())
}

/// The number of remaining processes, as text to compare; with the `pids` controller it includes exiting ones.
fn count(directory: &Path) -> String {
    let counted = fs::read_to_string(directory.join("pids.current"));
    counted.or_else(|_| fs::read_to_string(directory.join("cgroup.procs"))).unwrap_or_default()
}

/// Waits until `cgroup.events` contains the line `wanted`, for example `populated 0`; false if it does not in time.
pub fn wait_for_event(directory: &Path, wanted: &str, time: Duration) -> Result<bool> {
    let deadline = Instant::now() + time;
    let path = directory.join("cgroup.events");
    let mut events = File::open(&path).or_cannot("open", path.display())?;
    let mut text = String::new();
    loop {
        // Read through the polled descriptor: poll reports changes since its last read.
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

/// The processes in the cgroup and below it.
fn member_pidfds(directory: &Path) -> Result<Vec<PidFd>> {
    let opened: Vec<PidFd> =
        list_pids(directory)?.into_iter().filter_map(|pid| PidFd::open(Pid::from_raw(pid)).ok()).collect();
    // If a process is still listed after its pidfd was opened, the pidfd refers to it.
    let still = list_pids(directory)?;
    Ok(opened.into_iter().filter(|process| still.contains(&process.pid().as_raw())).collect())
}

fn list_pids(directory: &Path) -> Result<BTreeSet<i32>> {
    let mut processes = BTreeSet::new();
    for directory in with_descendants(directory) {
        let path = directory.join("cgroup.procs");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.raw_os_error().map(Errno::from_raw).is_some_and(is_unlistable) => continue,
            read => read.or_cannot("read", path.display())?,
        };
        processes.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(processes)
}

/// It was removed, or is a threaded v2 cgroup, whose processes the parent lists.
fn is_unlistable(errno: Errno) -> bool {
    [Errno::ENOENT, Errno::ENODEV, Errno::EOPNOTSUPP].contains(&errno)
}

/// This cgroup and those below it, deepest first.
fn with_descendants(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut list_pids = 0;
    while let Some(directory) = found.get(list_pids) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let below: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(below);
        list_pids += 1;
    }
    found.reverse();
    found
}

fn still_running(directory: &Path) -> Error {
    let stuck = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let stuck = stuck.lines().collect::<Vec<_>>().join(", ");
    Error::new("end", format_args!("process {stuck}"), Errno::EBUSY).hint(
        "it hangs in the kernel (see its state with ps): try again when the device or server it waits for responds",
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let tree = hierarchies.into_iter().find(|tree| tree.join("cgroup.procs").exists()).unwrap();
        tree.join(format!("docker-lite-{name}-{}", std::process::id()))
    }

    /// As where there is no `cgroup.kill`. Each process of this chain forks the next one and exits.
    #[test]
    #[ignore = "needs root: make test"]
    fn killed_one_by_one_those_that_fork_meanwhile_are_killed_too() {
        let directory = directory("chain");
        for _ in 0..50 {
            fs::create_dir(&directory).unwrap();
            let chain = "echo $$ >\"$1/cgroup.procs\"; next() { next & }; next";
            assert!(Command::new("bash").args(["-c", chain, "bash"]).arg(&directory).status().unwrap().success());
            kill_each(&directory).unwrap();
            let left = list_pids(&directory).unwrap();
            kill_all(&directory).unwrap();
            remove(&directory).unwrap();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    #[ignore = "needs root: make test"]
    fn a_process_whose_first_thread_has_ended_is_killed_too() {
        let directory = directory("thread");
        fs::create_dir(&directory).unwrap();
        let program = "import ctypes, threading, time\n\
            threading.Thread(target=time.sleep, args=(1000,)).start()\n\
            ctypes.CDLL(None).pthread_exit(None)";
        let script = "echo $$ >\"$1/cgroup.procs\" && exec python3 -c \"$2\"";
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", script, "sh"]).arg(&directory).arg(program).spawn().unwrap();
        let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        while !status().contains("State:\tZ") {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(status().contains("Threads:\t2"), "{}", status());
        kill_all(&directory).unwrap();
        remove(&directory).unwrap();
        assert!(!child.wait().unwrap().success() && !directory.exists());
    }
}
