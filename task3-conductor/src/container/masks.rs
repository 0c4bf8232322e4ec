//! Hides parts of /proc and /sys from a container, and makes others read-only.
//!
//! Both expose the kernel that all containers share. Most of it is harmless; some files reveal information about the
//! host (its keys, interrupts, memory), some change the host (`/proc/sysrq-trigger` reboots it). The first are
//! *masked*: a file by /dev/null, a folder by an empty tmpfs. The second are made read-only. The lists are Docker's. A
//! process inside cannot undo either: unmounting requires `CAP_SYS_ADMIN`.
//!
//! Look: `findmnt -R /proc` in a container. Manual: proc(5), sysfs(5).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached, Filesystem, clear_attributes, is_character_device};
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
/// Paths below the root that are made read-only.
pub const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
/// /dev/null, which masks files; it is checked to be this device (CVE-2025-31133).
const NULL: (u32, u32) = (1, 3);

/// Applies both lists below `root`. In a privileged container it does the opposite: it enables devices and set-user-ID
/// programs.
///
/// # Errors
/// Those of the mount calls; paths that this kernel does not have are skipped.
pub fn apply(root: BorrowedFd<'_>, confinement: Confinement) -> Result<()> {
    if !confinement.is_contained() {
        let dead = Attributes { no_devices: true, no_set_user_id: true, ..Attributes::default() };
        return clear_attributes(root, dead, Path::new("/"));
    }
    for path in READ_ONLY.map(Path::new) {
        if let Some(place) = find(root, path)? {
            step!("read-only",
                call: "open_tree(\"/{}\", OPEN_TREE_CLONE); mount_setattr(MOUNT_ATTR_RDONLY); move_mount(\"/{}\")", path.display(), path.display();
                why: "a write there would change the host, not only the container";
                shell: "mount --bind /{0} /{0}; mount -o remount,bind,ro /{0}", path.display());
            Detached::of_file(place.as_fd(), path.display().to_string())?
                .restrict(Attributes::DATA_ONLY.read_only())?
                .attach(place.as_fd(), &Path::new("/").join(path))?;
        }
    }
    let null = Root::without_links(root).open(Path::new("dev/null"), OFlags::PATH).or_cannot("open", "/dev/null")?;
    if !is_character_device(null.as_fd(), NULL.0, NULL.1)? {
        return Err(Error::new("mask files with", "/dev/null", "it is not the expected device"));
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
        why: "it reveals information about the host";
        shell: "mount --bind /dev/null /{}", path.display());
    let stat = rustix::fs::fstat(place).or_cannot("look at", path.display())?;
    let bind_over = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let attributes = Attributes::DATA_ONLY.read_only();
        Filesystem { kind: "tmpfs", options: &[("size", "0"), ("nr_inodes", "2"), ("mode", "755")], attributes }
            .make()?
    } else {
        Detached::of_file(null, "/dev/null")?
    };
    bind_over.attach(place, &Path::new("/").join(path))
}

fn find(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    match Root::without_links(root).open(path, OFlags::PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        found => found.or_cannot("open", path.display()).map(Some),
    }
}
