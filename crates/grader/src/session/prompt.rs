//! Scripts that wait for a key, and files that cannot be removed.

use std::time::Duration;

use rustix::fs::{IFlags, OFlags, ioctl_getflags, ioctl_setflags};

use super::Session;
use super::look::{in_root, pids};
use crate::sandbox::proc;

impl Session<'_> {
    /// CPU time that the box's processes have used which are there now.
    pub fn cpu_used(&self) -> Duration {
        pids(self.host().init()).into_iter().filter_map(proc::stat).map(|stat| stat.cpu).sum()
    }

    /// Whether a process of the box sleeps until something is typed: in a read(2) of a terminal, or waiting for one.
    pub fn waits_for_a_key(&self) -> bool {
        pids(self.host().init()).into_iter().any(|pid| {
            let is_terminal = |fd: u64| {
                let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
                link.is_ok_and(|link| link.starts_with("/dev/pts"))
            };
            match proc::blocked_call(pid) {
                Some(call) if call.nr == libc::SYS_read => is_terminal(call.args[0]),
                // `read -t` of a shell. A wait for a child is wait4(2).
                Some(call) if call.nr == libc::SYS_pselect6 => call.args[0] == 1 && is_terminal(0),
                _ => false,
            }
        })
    }

    /// Makes an immutable file at `path` of the box, or lifts that: neither it nor its folder can be removed. False where the
    /// file system has no such flag. See chattr(1), `+i`.
    pub fn make_unremovable(&self, path: &str, unremovable: bool) -> bool {
        let flags = if unremovable { OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL } else { OFlags::RDONLY };
        let Ok(file) = in_root(self.host().init(), path, flags) else { return false };
        let Ok(now) = ioctl_getflags(&file) else { return false };
        let wanted = if unremovable { now | IFlags::IMMUTABLE } else { now - IFlags::IMMUTABLE };
        ioctl_setflags(&file, wanted).is_ok()
    }
}
