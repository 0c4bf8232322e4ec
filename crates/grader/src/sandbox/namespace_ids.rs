//! The number of the box's mount namespace, which must be below those of all that are made in it.
//!
//! The kernel refuses to bind the file of a mount namespace from one with a higher number (`EINVAL`: it would be a loop).
//! Until Linux 6.17 numbers rise with time, so `unshare --mount=FILE` always works. From 6.18 on each processor numbers new
//! namespaces from a range of its own, and that right command would fail in the box whenever its processor's range lies below the one
//! that the box was numbered from. So the box is made on the processor with the lowest range; its processes run on any.
//!
//! Look: `for cpu in 0 1; do taskset -c $cpu unshare -m python3 -c 'import fcntl;
//! print(fcntl.ioctl(open("/proc/self/ns/mnt"), 0x8008b705, b"x" * 8))'; done`. Manual: ioctl_nsfs(2), `NS_GET_MNTNS_ID`.

use std::fs::File;

use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;

use super::is_linux;
use crate::error::{OrCannot, Result};
use crate::sys;

/// What [`lowest`] chooses, in errors.
const CHOICE: &str = "the processor on which the box is made";

/// Calls `make`, which makes the box's namespaces, on the processor that gives them the lowest numbers.
///
/// # Errors
/// Those of `make`, and of sched_setaffinity(2).
pub fn lowest<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    if !is_linux(6, 18) {
        return make();
    }
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).or_cannot("choose", CHOICE)?;
    let mut lowest: Option<(u64, CpuSet)> = None;
    for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)) {
        let mut one = CpuSet::new();
        one.set(cpu).and_then(|()| sched_setaffinity(this_thread, &one)).or_cannot("choose", CHOICE)?;
        let next = next_number().or_cannot("choose", CHOICE)?;
        if lowest.as_ref().is_none_or(|(number, _)| next < *number) {
            lowest = Some((next, one));
        }
    }
    if let Some((_, one)) = &lowest {
        sched_setaffinity(this_thread, one).or_cannot("choose", CHOICE)?;
    }
    let made = make()?;
    sched_setaffinity(this_thread, &allowed).or_cannot("choose", CHOICE)?;
    Ok(made)
}

/// The number of a namespace that is made on this processor now, and left for the next one.
fn next_number() -> Result<u64, Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let own =
        File::open("/proc/self/ns/mnt").map_err(|why| Errno::from_raw(why.raw_os_error().unwrap_or(libc::EIO)))?;
    sys::mount_namespace_number(&own)
}
