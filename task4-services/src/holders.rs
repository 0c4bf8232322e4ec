//! Who has a file open: what the kernel knows of processes that we started and did not write down.
//!
//! `/proc/PID/fd/N` leads to the open file itself, not to a path, so it is found although it was renamed or removed, and
//! although the process lives in a container where no path leads to it.
//!
//! Look: `ls -l /proc/PID/fd`, `fuser -v FILE`. Manual: proc_pid_fd(5).

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nsutil::error::{OrCannot, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long a process may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(3);

/// The processes that have `file` open as one of these descriptors: 0 is their stdin, 1 and 2 their outputs.
///
/// # Errors
/// When the file or /proc cannot be looked at.
pub fn holding(file: &File, descriptors: &[u32]) -> Result<Vec<Pid>> {
    let wanted = file.metadata().or_cannot("look at", "a file of ours")?;
    let is_it = |about: Metadata| (about.dev(), about.ino()) == (wanted.dev(), wanted.ino());
    let entries = fs::read_dir("/proc").or_cannot("list", "/proc")?.flatten();
    let processes = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    Ok(processes
        .filter(|process| {
            let numbers = descriptors.iter();
            // One that has just ended holds nothing.
            let mut open = numbers
                .filter_map(|number| fs::metadata(format!("/proc/{}/fd/{number}", process.as_raw_nonzero())).ok());
            open.any(is_it)
        })
        .collect())
}

/// Asks processes to end, and ends those that do not.
///
/// # Errors
/// `EPERM` when they are somebody else's.
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
