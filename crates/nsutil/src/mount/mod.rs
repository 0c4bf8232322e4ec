//! Mounts: which file trees a process sees, and where.
//!
//! What looks like one tree of files is many, each mounted on a directory of another. The list belongs to a *mount
//! namespace*; a process in one of its own can mount and unmount without anybody else seeing it. Almost: mounts are
//! copied into a new namespace together with their *propagation*, and on most systems that is `shared`, which means
//! that a mount made in one namespace appears in the other too. So the first step in a new mount namespace is
//! [`make_all_private`].
//!
//! To change a container's root for good, [`enter`] makes it the root of the whole mount namespace and detaches the old
//! one: afterwards there is no path, and no `..`, that leads to the host. That is what chroot alone cannot do.
//!
//! | file | |
//! |---|---|
//! | this one | mount(2), umount2(2), pivot_root(2): each by path, all at once |
//! | [`detached`] | fsopen(2), open_tree(2), move_mount(2): a mount that is made first and attached last |
//! | [`overlay`] | many folders seen as one, and one that takes the changes |
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

/// A mount of ours. Dropping it unmounts it.
#[derive(Debug)]
#[must_use = "it is unmounted as soon as it is dropped"]
pub struct Mount {
    /// None once somebody else has taken charge of it.
    target: Option<PathBuf>,
}

/// Keeps every mount of the caller's mount namespace to itself: what is mounted or unmounted from here on is not seen
/// outside, and the other way round.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` when the caller's root is no mount, as after a chroot.
pub fn make_all_private() -> Result<()> {
    syscall::mount(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
        .map_err(|error| error.with_attempt("make private", "all mounts"))
}

impl Mount {
    /// Shows the file or tree `source` at `target` as well, with all that is mounted below it.
    ///
    /// # Errors
    /// `ENOENT` when one of the two is not there; `ENOTDIR` when one is a folder and the other is not; `EPERM` without
    /// `CAP_SYS_ADMIN`.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        Self::make(Some(source), target, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
    }

    /// Mounts a new proc file system: the processes of the PID namespace that the caller is in, and no others.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` over that PID namespace; `ENOENT` when `target` is not there.
    pub fn proc(target: &Path) -> Result<Self> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Self::make(Some(Path::new("proc")), target, Some("proc"), flags, None)
    }

    /// Mounts an empty file system in memory that takes at most `size_bytes`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENOENT` when `target` is not there.
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

    /// Unmounts it, and says if that failed.
    ///
    /// It vanishes at once from the tree of files. Who still has a file in it open can go on using that.
    ///
    /// # Errors
    /// `EINVAL` when somebody else has unmounted it; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn unmount(mut self) -> Result<()> {
        self.target.take().map_or(Ok(()), |target| detach(&target))
    }

    /// Leaves it to the mount namespace, whose end unmounts it.
    pub fn keep(mut self) {
        self.target = None;
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Who wants to know calls `unmount`.
        let _ = self.target.take().map(|target| detach(&target));
    }
}

fn detach(target: &Path) -> Result<()> {
    umount2(target, MntFlags::MNT_DETACH).map_err(|error| error.with_attempt("unmount", target.display()))
}

/// Unmounts all that is mounted on `target`, one on top of another; nothing to do when nothing is, or no longer. A link there
/// is not followed.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn detach_all(target: &Path) -> Result<()> {
    let shown = target.display();
    step!("umount", call: "umount2(\"{shown}\", MNT_DETACH|UMOUNT_NOFOLLOW)";
        why: "the mount is given back; detached it goes also when a file in it is open";
        shell: "umount --lazy {shown}");
    loop {
        match nix::mount::umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => (),
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno).or_cannot("unmount", shown),
        }
    }
}

/// Makes `root` the root of the caller's mount namespace and lets go of the old one.
///
/// The caller must be in a mount namespace of its own, made private ([`make_all_private`]), and `root` must be a mount
/// ([`Mount::bind`] of it on itself makes it one). All processes of the namespace that were at the old root move along.
///
/// # Errors
/// `EINVAL` when `root` is no mount or the mounts are shared; `EBUSY` when it is the root already; `EPERM` without
/// `CAP_SYS_ADMIN`.
pub fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    // With `.` twice the old root ends up on top of the new one, where it can be unmounted.
    pivot_root(".", ".").map_err(|error| error.with_attempt("change the root to", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|error| error.with_attempt("unmount", "the old root"))?;
    chdir("/")
}
