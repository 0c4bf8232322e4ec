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
//! Look: `findmnt -o TARGET,PROPAGATION`, `cat /proc/PID/mountinfo`, `nsenter --target PID --mount findmnt`.
//! Manual: mount_namespaces(7), mount(2), pivot_root(2), umount(2).

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::error::{Error, OrCannot, Result};
use crate::step;

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
    step!("mount.private", call: "mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE, NULL)";
        why: "mounts are shared between namespaces by default: one made here would appear on the host";
        shell: "mount --make-rprivate /");
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let none = None::<&Path>;
    nix::mount::mount(none, "/", none, flags, none).or_cannot("make private all mounts below", "/").map_err(why_refused)
}

impl Mount {
    /// Shows the file or tree `source` at `target` as well, with all that is mounted below it.
    ///
    /// # Errors
    /// `ENOENT` when one of the two is not there; `ENOTDIR` when one is a folder and the other is not; `EPERM` without
    /// `CAP_SYS_ADMIN`.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        let (from, to) = (source.display(), target.display());
        step!("mount.bind", call: "mount(\"{from}\", \"{to}\", NULL, MS_BIND|MS_REC, NULL)";
            why: "the same files at a second place: nothing is copied, and a change is seen at both";
            shell: "mount --rbind {from} {to}");
        Self::make(Some(source), target, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
    }

    /// Mounts a new proc file system: the processes of the PID namespace that the caller is in, and no others.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` over that PID namespace; `ENOENT` when `target` is not there.
    pub fn proc(target: &Path) -> Result<Self> {
        let to = target.display();
        step!("mount.proc", call: "mount(\"proc\", \"{to}\", \"proc\", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)";
            why: "ps and top read /proc; a new one shows the processes of this PID namespace only";
            shell: "mount -t proc -o nosuid,nodev,noexec proc {to}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Self::make(Some(Path::new("proc")), target, Some("proc"), flags, None)
    }

    /// Mounts an empty file system in memory that takes at most `size_bytes`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENOENT` when `target` is not there.
    pub fn tmpfs(target: &Path, size_bytes: u64) -> Result<Self> {
        let to = target.display();
        step!("mount.tmpfs", call: "mount(\"tmpfs\", \"{to}\", \"tmpfs\", MS_NOSUID|MS_NODEV, \"size={size_bytes},mode=755\")";
            why: "an empty folder that is gone with its mount; without a size it could take half of the memory";
            shell: "mount -t tmpfs -o nosuid,nodev,size={size_bytes},mode=755 tmpfs {to}");
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
        nix::mount::mount(source, target, kind, flags, data)
            .or_cannot(format_args!("mount {what} on"), target.display())
            .map_err(why_refused)?;
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
    let shown = target.display();
    step!("umount", call: "umount2(\"{shown}\", MNT_DETACH)";
        why: "the mount is given back; detached it goes also when a file in it is open";
        shell: "umount --lazy {shown}");
    umount2(target, MntFlags::MNT_DETACH).or_cannot("unmount", shown)
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
    let shown = root.display();
    let attempt = |error: Errno| Error::new("change the root to", root.display(), error);
    step!("pivot_root", call: "chdir(\"{shown}\"); pivot_root(\".\", \".\")";
        why: "unlike after chroot, nothing of the old root stays within reach; with . twice the old one ends up on top of the new, where it can be unmounted";
        shell: "cd {shown}; pivot_root . .");
    chdir(root).map_err(attempt)?;
    pivot_root(".", ".").map_err(attempt).map_err(|error| match error.errno() {
        Some(Errno::EINVAL) => error.hint("it has to be a mount, in a mount namespace whose mounts are private"),
        _ => why_refused(error),
    })?;
    step!("umount.old_root", call: "umount2(\".\", MNT_DETACH); chdir(\"/\")";
        why: "the old root is the host's: once it is detached no path leads there";
        shell: "umount --lazy .; cd /");
    umount2(".", MntFlags::MNT_DETACH).or_cannot("unmount", "the old root")?;
    chdir("/").or_cannot("change the working directory to", "/")
}

fn why_refused(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EPERM) => error.hint("it takes root (CAP_SYS_ADMIN): try with sudo"),
        _ => error,
    }
}
