//! What of /proc and /sys a container must not see, and what it must not write.
//!
//! Both are windows into the one kernel that all share. Most of it can be looked at without harm; some files tell about
//! the host (its keys, its interrupts, its memory), some change the host for everybody (`/proc/sysrq-trigger` reboots
//! it). The first are *masked*: a file by the null device, a folder by an empty one. The second are made read-only. The
//! lists are Docker's. A process inside cannot undo either: unmounting takes `CAP_SYS_ADMIN`.
//!
//! Look: `findmnt -R /proc` in a container. Manual: proc(5), sysfs(5).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached, Filesystem, is_character_device, loosen};
use nsutil::rooted::Root;
use nsutil::step;
use rustix::fs::{FileType, OFlags};

use crate::spec::confinement::Confinement;

/// What is masked, below the root.
pub const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];
/// What is made read-only, below the root.
pub const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
/// The device that masks files; that it is this one is checked (CVE-2025-31133).
const NULL: (u32, u32) = (1, 3);

/// Masks and protects, below `root`, what is there of both lists. In a container that nothing is kept from it does the
/// opposite: devices and set-user-ID programs in its files work.
///
/// # Errors
/// Those of the mount calls; what this kernel does not have is left out.
pub fn apply(root: BorrowedFd<'_>, confinement: Confinement) -> Result<()> {
    if !confinement.is_contained() {
        let dead = Attributes { no_devices: true, no_set_user_id: true, ..Attributes::default() };
        return loosen(root, dead, Path::new("/"));
    }
    for path in READ_ONLY.map(Path::new) {
        if let Some(place) = find(root, path)? {
            step!("read-only",
                call: "open_tree(\"/{}\", OPEN_TREE_CLONE); mount_setattr(MOUNT_ATTR_RDONLY); move_mount(\"/{}\")", path.display(), path.display();
                why: "whoever could write there would change the host, not the container";
                shell: "mount --bind /{0} /{0}; mount -o remount,bind,ro /{0}", path.display());
            Detached::of_file(place.as_fd(), path.display().to_string())?
                .restrict(Attributes::DATA_ONLY.read_only())?
                .attach(place.as_fd(), &Path::new("/").join(path))?;
        }
    }
    let null = Root::without_links(root).open(Path::new("dev/null"), OFlags::PATH).or_cannot("open", "/dev/null")?;
    if !is_character_device(null.as_fd(), NULL.0, NULL.1)? {
        return Err(Error::new("mask files with", "/dev/null", "it is another file of that name"));
    }
    for path in MASKED.map(Path::new) {
        if let Some(place) = find(root, path)? {
            mask(place.as_fd(), path, null.as_fd())?;
        }
    }
    Ok(())
}

fn mask(place: BorrowedFd<'_>, path: &Path, null: BorrowedFd<'_>) -> Result<()> {
    step!("mask",
        call: "move_mount({}, \"/{}\")", "empty tmpfs or /dev/null", path.display();
        why: "what is there tells about the host";
        shell: "mount --bind /dev/null /{}", path.display());
    let stat = rustix::fs::fstat(place).or_cannot("look at", path.display())?;
    let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let attributes = Attributes::DATA_ONLY.read_only();
        Filesystem { kind: "tmpfs", options: &[("size", "0"), ("nr_inodes", "2"), ("mode", "755")], attributes }
            .make()?
    } else {
        Detached::of_file(null, "/dev/null")?
    };
    cover.attach(place, &Path::new("/").join(path))
}

fn find(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    match Root::without_links(root).open(path, OFlags::PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        found => found.or_cannot("open", path.display()).map(Some),
    }
}
