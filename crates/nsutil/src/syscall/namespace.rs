//! setns(2), unshare(2), sethostname(2).

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::kind::{Isolated, Options};
use super::{Names, PidFd, needs_root, system_call};
use crate::error::{Error, Result};

/// Moves the caller into those namespaces of another process that `flags` (`CLONE_NEW…`) select. See setns(2).
///
/// With `CLONE_NEWPID` the caller stays; its next child is created there.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the namespace; `ESRCH` when the process has ended; `EINVAL` without a flag, and
/// for `CLONE_NEWUSER` or `CLONE_NEWNS` from a multi-threaded process.
pub fn setns(process: &PidFd, flags: CloneFlags) -> Result<()> {
    let pid = process.pid();
    system_call!("setns", call: "setns(pidfd of process {pid}, {})", Names(flags);
        why: "one descriptor of a process opens all its namespaces, here that of its {}; {}", Isolated(flags), effect_of_setns(flags);
        shell: "nsenter --target {pid} {}", Options(flags);
        make: nix::sched::setns(process.as_fd(), flags))
    .map_err(needs_root)
}

/// Moves the caller into new namespaces. See unshare(2).
///
/// With `CLONE_NEWPID` the caller stays; its next child is process 1 of the new namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` (not needed for `CLONE_NEWUSER`); `ENOSPC` when a limit under
/// `/proc/sys/user/max_*_namespaces` is reached.
pub fn unshare(flags: CloneFlags) -> Result<()> {
    system_call!("unshare", call: "unshare({})", Names(flags);
        why: "the caller leaves the shared namespaces; from now on it has its own {}", Isolated(flags);
        shell: "unshare {}", Options(flags);
        make: nix::sched::unshare(flags))
    .map_err(explain_clone)
}

/// Describes which process setns moves with these flags.
fn effect_of_setns(flags: CloneFlags) -> &'static str {
    match (flags.contains(CloneFlags::CLONE_NEWPID), flags == CloneFlags::CLONE_NEWPID) {
        (_, true) => "the caller stays, its next child is created there: a process never changes its PID",
        (true, false) => "the caller moves at once; for PID only its next child does",
        (false, _) => "the caller moves at once",
    }
}

/// Sets the host name of the caller's UTS namespace. See sethostname(2).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over that namespace; `EINVAL` for more than 64 bytes.
pub fn sethostname(name: &str) -> Result<()> {
    system_call!("sethostname", call: "sethostname(\"{name}\")";
        why: "sets the host name for all processes in the same UTS namespace, and for no others";
        shell: "hostname {name}";
        make: nix::unistd::sethostname(name))
    .map_err(needs_root)
}

/// Adds hints to an error about new namespaces or a new child.
pub(super) fn explain_clone(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ENOSPC) => error.hint("the limit of namespaces is reached: see /proc/sys/user/max_*_namespaces"),
        Some(Errno::EAGAIN) => {
            error.hint("the limit of processes is reached: see pids.max of the cgroup, and ulimit -u")
        }
        Some(Errno::ENOMEM) => error.hint("process 1 of the PID namespace that children go to may have ended"),
        _ => needs_root(error),
    }
}
