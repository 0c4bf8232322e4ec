//! Mounts: which file trees a process sees, and where.
//!
//! The file tree consists of many file systems, each mounted on a directory of another. The list belongs to a *mount
//! namespace*; mounts made in a new one are not seen elsewhere, with one exception: mounts are copied into it with
//! their *propagation*, which on most systems is `shared`, so a mount made in one namespace appears in the other too.
//! So the first step in a new mount namespace is [`make_all_private`].
//!
//! [`enter`] makes a container's root the root of the whole mount namespace and detaches the old one: afterwards no
//! path, and no `..`, leads to the host. chroot alone does not do that.
//!
//! | file | |
//! |---|---|
//! | this one | mount(2), umount2(2), pivot_root(2), by path |
//! | [`detached`] | fsopen(2), open_tree(2), move_mount(2): a mount is configured first and attached last |
//! | [`overlay`] | several layers shown as one tree, and a folder for the changes |
//!
//! Look: `findmnt -o TARGET,PROPAGATION`, `cat /proc/PID/mountinfo`, `nsenter --target PID --mount findmnt`.
//! Manual: mount_namespaces(7), mount(2), pivot_root(2), umount(2).

pub mod detached;
pub mod overlay;

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{OrCannot, Result};
use crate::step;
use crate::syscall::{self, MntFlags, MsFlags, chdir, pivot_root, umount2};

/// A mount. Dropping it unmounts it.
#[derive(Debug)]
#[must_use = "it is unmounted as soon as it is dropped"]
pub struct Mount {
    /// None after `keep`.
    target: Option<PathBuf>,
}

/// Makes all mounts of the caller's mount namespace private: mounts and unmounts no longer propagate in either
/// direction.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` when the caller's root is not a mount, as after a chroot.
pub fn make_all_private() -> Result<()> {
    syscall::mount(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
        .map_err(|error| error.with_attempt("make private", "all mounts"))
}

impl Mount {
    /// Bind-mounts the file or tree `source` on `target`, including the mounts below it.
    ///
    /// # Errors
    /// `ENOENT` when one of the two does not exist; `ENOTDIR` when one is a folder and the other is not; `EPERM`
    /// without `CAP_SYS_ADMIN`.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        Self::make(Some(source), target, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
    }

    /// Mounts a new proc file system, which shows only the processes of the caller's PID namespace.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` over that PID namespace; `ENOENT` when `target` does not exist.
    pub fn proc(target: &Path) -> Result<Self> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Self::make(Some(Path::new("proc")), target, Some("proc"), flags, None)
    }

    /// Mounts an empty tmpfs of at most `size_bytes`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENOENT` when `target` does not exist.
    pub fn tmpfs(target: &Path, size_bytes: u64) -> Result<Self> {
        let data = format!("size={size_bytes},mode=755");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        Self::make(Some(Path::new("tmpfs")), target, Some("tmpfs"), flags, Some(&data))
    }

    fn make(
        source: Option<&Path>,
        target: &Path,
        kind: Option<&str>,
        flags: MsFlags,
        data: Option<&str>,
    ) -> Result<Self> {
        let what = source.unwrap_or(Path::new("")).display();
        syscall::mount(source, target, kind, flags, data)
            .map_err(|error| error.with_attempt(format_args!("mount {what} on"), target.display()))?;
        Ok(Self { target: Some(target.to_owned()) })
    }

    /// Unmounts it and returns the error, if any.
    ///
    /// It disappears from the file tree at once. Processes with open files in it can go on using them.
    ///
    /// # Errors
    /// `EINVAL` when it was already unmounted; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn unmount(mut self) -> Result<()> {
        self.target.take().map_or(Ok(()), |target| detach(&target))
    }

    /// Leaves it mounted until its mount namespace ends.
    pub fn keep(mut self) {
        self.target = None;
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Use `unmount` to get the error.
        let _ = self.target.take().map(|target| detach(&target));
    }
}

fn detach(target: &Path) -> Result<()> {
    umount2(target, MntFlags::MNT_DETACH).map_err(|error| error.with_attempt("unmount", target.display()))
}

/// Unmounts everything mounted on `target`, one after the other; does nothing if there is no mount. Does not follow a
/// symbolic link.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn detach_all(target: &Path) -> Result<()> {
    let shown = target.display();
    step!("umount", call: "umount2(\"{shown}\", MNT_DETACH|UMOUNT_NOFOLLOW)";
        why: "a detached mount is removed from the file tree even while files in it are open";
        shell: "umount --lazy {shown}");
    loop {
        match nix::mount::umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => (),
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno).or_cannot("unmount", shown),
        }
    }
}

/// Makes `root` the root of the caller's mount namespace and detaches the old one.
///
/// The caller must be in a mount namespace of its own, made private ([`make_all_private`]), and `root` must be a mount
/// ([`Mount::bind`] of it on itself makes it one). All processes of the namespace that were at the old root move along.
///
/// # Errors
/// `EINVAL` when `root` is not a mount or mounts are shared; `EBUSY` when it is the root already; `EPERM` without
/// `CAP_SYS_ADMIN`.
pub fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    // With `.` for both, the old root is mounted on top of the new one, where it can be unmounted.
    pivot_root(".", ".").map_err(|error| error.with_attempt("change the root to", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|error| error.with_attempt("unmount", "the old root"))?;
    chdir("/")
}
