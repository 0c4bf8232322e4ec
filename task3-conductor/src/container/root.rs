//! A container's root directory, opened from the host.
//!
//! For a running container it is that of its first process, with all mounts such as volumes. For an exited one it is
//! its overlay, which stays mounted until `stop`.
//!
//! Look: `ls /proc/PID/root/`. Manual: proc_pid_root(5).

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::process::PidFd;
use rustix::fs::{CWD, Mode, OFlags};

use crate::spec::name::ContainerName;
use crate::store::Store;

/// Of statfs(2).
const OVERLAY: i64 = 0x794c_7630;

/// The root of a container, running or ended.
///
/// # Errors
/// In words when the container does not exist, or its root is not mounted.
pub fn of(store: &Store, name: &ContainerName) -> Result<OwnedFd> {
    if let Some(init) = store.container(name)?.running()? {
        return of_running(&init);
    }
    let path = store.container_dir(name).join("rootfs");
    let root = open(&path)?;
    if rustix::fs::fstatfs(&root).is_ok_and(|about| about.f_type == OVERLAY) {
        return Ok(root);
    }
    let gone = Error::new("look into", format_args!("container {name}"), "its root is not mounted any more");
    Err(gone.hint(format_args!(
        "the host was rebooted; the files it wrote are in {}",
        store.container_dir(name).join("upper").display()
    )))
}

/// The root of a running container.
///
/// # Errors
/// `ESRCH` when it has ended.
pub fn of_running(init: &PidFd) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", init.pid());
    let root = open(Path::new(&path))?;
    // If it is still running now, the PID was its own when the path was resolved.
    if init.has_ended()? { Err(Error::new("open", path, Errno::ESRCH)) } else { Ok(root) }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).or_cannot("open", path.display())
}
