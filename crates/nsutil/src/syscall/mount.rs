//! chroot(2), chdir(2), mount(2), umount2(2), pivot_root(2).

use std::fmt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use super::{Names, needs_root, system_call};
use crate::error::Result;

/// Changes what `/` means for the caller and its future children. The working directory stays where it is. See chroot(2).
///
/// # Errors
/// `EPERM` without `CAP_SYS_CHROOT`; `ENOENT`, `ENOTDIR` when there is no such directory.
pub fn chroot(path: impl AsRef<Path>) -> Result<()> {
    let (path, shown) = (path.as_ref(), path.as_ref().display());
    system_call!("chroot", call: "chroot(\"{shown}\")";
        why: "from now on / is that folder for this process and its children; alone this is no jail, since root can leave it again";
        shell: "chroot {shown} COMMAND";
        make: nix::unistd::chroot(path))
    .map_err(|error| match error.errno() {
        Some(Errno::EPERM) => error.hint("this requires root (CAP_SYS_CHROOT): try with sudo"),
        _ => error,
    })
}

/// Changes the caller's working directory. See chdir(2).
///
/// # Errors
/// `ENOENT`, `ENOTDIR` when there is no such directory; `EACCES` when it may not be entered.
pub fn chdir(path: impl AsRef<Path>) -> Result<()> {
    let (path, shown) = (path.as_ref(), path.as_ref().display());
    system_call!("chdir", call: "chdir(\"{shown}\")";
        why: "a working directory outside of the root would be a way out: .. leads further up from there";
        shell: "cd {shown}";
        make: nix::unistd::chdir(path))
}

/// Mounts a file system, or changes a mount. See mount(2).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOENT` when source or target does not exist; `EINVAL` when `target` must be a
/// mount and is not; `ENODEV` when the kernel has no such file system.
pub fn mount(
    source: Option<&Path>,
    target: impl AsRef<Path>,
    filesystem: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<()> {
    let target = target.as_ref();
    let (from, to) = (OrNull(source.map(Path::display)), target.display());
    system_call!("mount",
        call: "mount({from}, \"{to}\", {}, {}, {})", OrNull(filesystem), Names(flags), OrNull(data);
        why: "{}", why_mount(filesystem, flags);
        shell: "{}", Shell { source, target, filesystem, flags, data };
        make: nix::mount::mount(source, target, filesystem, flags, data))
    .map_err(needs_root)
}

/// Unmounts a file system. See umount(2).
///
/// # Errors
/// `EBUSY` when a file in it is open; `EINVAL` when it is not a mount; `EPERM` without `CAP_SYS_ADMIN`.
pub fn umount(target: impl AsRef<Path>) -> Result<()> {
    umount2(target, MntFlags::empty())
}

/// Unmounts a file system; with `MNT_DETACH` even if files in it are open. See umount2(2).
///
/// # Errors
/// Those of [`umount`].
pub fn umount2(target: impl AsRef<Path>, flags: MntFlags) -> Result<()> {
    let (target, shown) = (target.as_ref(), target.as_ref().display());
    let lazy = flags.contains(MntFlags::MNT_DETACH);
    let (why, option) = match lazy {
        true => ("a detached mount is removed from the file tree even while files in it are open", "--lazy "),
        false => ("the mount is removed from the file tree", ""),
    };
    system_call!("umount", call: "umount2(\"{shown}\", {})", Names(flags);
        why: "{why}";
        shell: "umount {option}{shown}";
        make: nix::mount::umount2(target, flags))
    .map_err(needs_root)
}

/// Makes a mount the root of the caller's mount namespace, and puts the old root at `put_old`. See pivot_root(2).
///
/// # Errors
/// `EINVAL` when `new_root` is not a mount, or mounts are shared; `EBUSY` when it is the root already; `EPERM` without
/// `CAP_SYS_ADMIN`.
pub fn pivot_root(new_root: impl AsRef<Path>, put_old: impl AsRef<Path>) -> Result<()> {
    let (new_root, put_old) = (new_root.as_ref(), put_old.as_ref());
    let (new, old) = (new_root.display(), put_old.display());
    system_call!("pivot_root", call: "pivot_root(\"{new}\", \"{old}\")";
        why: "unlike with chroot, the old root cannot be reached any more once it is unmounted";
        shell: "pivot_root {new} {old}";
        make: nix::unistd::pivot_root(new_root, put_old))
    .map_err(|error| match error.errno() {
        Some(Errno::EINVAL) => {
            error.hint("the new root has to be a mount, in a mount namespace whose mounts are private")
        }
        _ => needs_root(error),
    })
}

fn why_mount(filesystem: Option<&str>, flags: MsFlags) -> &'static str {
    match filesystem {
        _ if flags.contains(MsFlags::MS_BIND | MsFlags::MS_REMOUNT) => {
            "a bind mount takes new flags only once it is there"
        }
        _ if flags.contains(MsFlags::MS_BIND) => {
            "the same files at a second path: nothing is copied, and changes are visible at both"
        }
        _ if flags.intersects(MsFlags::MS_PRIVATE | MsFlags::MS_SLAVE) => {
            "mounts are shared between namespaces by default: one made here would appear on the host"
        }
        Some("proc") => "ps and top read /proc; a new one shows the processes of this PID namespace only",
        Some("sysfs") => "a new one shows the network devices of this network namespace only",
        Some("tmpfs") => "an empty folder in memory that is gone with its mount",
        Some("overlay") => "layers seen as one folder; what is written goes to the uppermost",
        _ => "its files appear at the target, in this mount namespace",
    }
}

/// A text in quotes, or NULL.
struct OrNull<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(out, "\"{text}\""),
            None => out.write_str("NULL"),
        }
    }
}

/// The equivalent mount(8) command.
struct Shell<'a> {
    source: Option<&'a Path>,
    target: &'a Path,
    filesystem: Option<&'a str>,
    flags: MsFlags,
    data: Option<&'a str>,
}

/// Flags and their names as options of mount(8).
const OPTIONS: [(MsFlags, &str); 6] = [
    (MsFlags::MS_RDONLY, "ro"),
    (MsFlags::MS_NOSUID, "nosuid"),
    (MsFlags::MS_NODEV, "nodev"),
    (MsFlags::MS_NOEXEC, "noexec"),
    (MsFlags::MS_REMOUNT, "remount"),
    (MsFlags::MS_BIND, "bind"),
];

impl fmt::Display for Shell<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = if self.flags.contains(MsFlags::MS_REC) { "r" } else { "" };
        let target = self.target.display();
        for (flag, word) in
            [(MsFlags::MS_PRIVATE, "private"), (MsFlags::MS_SLAVE, "slave"), (MsFlags::MS_SHARED, "shared")]
        {
            if self.flags.contains(flag) {
                return write!(out, "mount --make-{r}{word} {target}");
            }
        }
        let source = self.source.unwrap_or(Path::new("none")).display();
        if self.flags.contains(MsFlags::MS_BIND) && !self.flags.contains(MsFlags::MS_REMOUNT) {
            return write!(out, "mount --{r}bind {source} {target}");
        }
        out.write_str("mount")?;
        if let Some(filesystem) = self.filesystem {
            write!(out, " -t {filesystem}")?;
        }
        let set = OPTIONS.iter().filter(|(flag, _)| self.flags.contains(*flag)).map(|(_, word)| *word);
        let options: Vec<&str> = set.chain(self.data).collect();
        if !options.is_empty() {
            write!(out, " -o {}", options.join(","))?;
        }
        write!(out, " {source} {target}")
    }
}
