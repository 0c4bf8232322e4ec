//! The processes that have a file open: so processes that we started are found without a record of them.
//!
//! `/proc/PID/fd/N` leads to the open file itself, not to a path. So the file is found even if it was renamed or
//! removed, or if the process is in a container where no path leads to it.
//!
//! Look: `ls -l /proc/PID/fd`, `fuser -v FILE`, `lslocks`. Manual: proc_pid_fd(5), proc_locks(5).

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nsutil::error::{OrCannot, Result};
use procfs::LockType;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long a process may take to end after a signal.
const GRACE: Duration = Duration::from_secs(3);

/// The processes that have `file` open as one of these descriptors: 0 is stdin, 1 stdout, 2 stderr.
///
/// # Errors
/// When the file or /proc cannot be read.
pub fn holding(file: &File, descriptors: &[u32]) -> Result<Vec<Pid>> {
    let wanted = file.metadata().or_cannot("look at", "a file of ours")?;
    let is_it = |about: Metadata| is_same(&about, &wanted);
    let entries = fs::read_dir("/proc").or_cannot("list", "/proc")?.flatten();
    let processes = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    Ok(processes
        .filter(|process| {
            let numbers = descriptors.iter();
            // A process that has just ended has no open files.
            let mut open = numbers
                .filter_map(|number| fs::metadata(format!("/proc/{}/fd/{number}", process.as_raw_nonzero())).ok());
            open.any(is_it)
        })
        .collect())
}

/// The process that took the flock(2) on `file`, if it is alive and still has the file open.
///
/// An flock belongs to an open file description, not to a process: it lasts until the last process has closed it.
/// /proc/locks names the process that took it, even after that process has ended.
///
/// # Errors
/// When the file or /proc cannot be read.
pub fn taker_of_lock(file: &File) -> Result<Option<Pid>> {
    let wanted = file.metadata().or_cannot("look at", "a file of ours")?;
    let locks = procfs::locks().map_err(|error| error.to_string()).or_cannot("read", "/proc/locks")?;
    // On file systems such as btrfs /proc/locks has another device number than stat(2). So only the inode is compared
    // here; the check of the open file below compares both.
    let of_this_inode =
        locks.into_iter().filter(|lock| lock.lock_type == LockType::FLock && lock.inode == wanted.ino());
    let has_it_open = |process: &Pid| {
        let open = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::metadata(entry.path()).ok()).any(|about| is_same(&about, &wanted))
    };
    Ok(of_this_inode.filter_map(|lock| Pid::from_raw(lock.pid?)).find(has_it_open))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Sends processes SIGTERM, and SIGKILL to those that do not end.
///
/// # Errors
/// `EPERM` when one belongs to another user.
pub fn end(processes: &[Pid]) -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        for &process in processes {
            match kill_process(process, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => (),
                refused => refused.or_cannot("end process", process.as_raw_nonzero())?,
            }
        }
        let begin = Instant::now();
        while begin.elapsed() < GRACE {
            if processes.iter().all(|&process| test_kill_process(process).is_err()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
