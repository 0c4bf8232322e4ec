//! A container's own `/dev`: fourteen entries without access to the host's hardware.
//!
//! The host's /dev contains the disks, and root can read a disk regardless of file permissions. So it is never
//! bind-mounted. A small tmpfs takes its place, the only mount where device nodes work, and root inside lacks the
//! capability to create more (`CAP_MKNOD`).
//!
//! Look: `ls -l /dev` in a container. Manual: null(4), random(4), pts(4), shm_overview(7), mq_overview(7), tmpfs(5).

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nsutil::error::{OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached, Filesystem, mount_point};
use nsutil::rooted::Root;
use nsutil::step;
use rustix::fs::{Dev, FileType, Mode, makedev, mknodat, symlinkat};

use crate::spec::confinement::Confinement;

/// Device nodes: name, major and minor number. See the kernel's "Linux allocated devices".
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

const DEVICES_WORK: Attributes =
    Attributes { read_only: false, no_devices: false, no_set_user_id: true, no_execution: true };

/// A device node of the host's, for a privileged container.
#[derive(Debug)]
pub struct Node {
    name: OsString,
    kind: FileType,
    device: Dev,
}

/// The device nodes directly in the host's /dev; none unless the container is privileged.
///
/// # Errors
/// When /dev cannot be read.
pub fn of_host(confinement: Confinement) -> Result<Vec<Node>> {
    if confinement.is_contained() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir("/dev").or_cannot("list", "/dev")?.flatten();
    let nodes = entries.filter_map(|entry| {
        let about = rustix::fs::lstat(entry.path()).ok()?;
        let kind = FileType::from_raw_mode(about.st_mode);
        let is_device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        (is_device && entry.file_name() != "console").then(|| Node {
            name: entry.file_name(),
            kind,
            device: about.st_rdev,
        })
    });
    Ok(nodes.collect())
}

/// Mounts the container's /dev below `root`, with further device nodes if given.
///
/// # Errors
/// In words when the image has a symbolic link at /dev; otherwise those of the mount calls.
pub fn mount_dev(root: BorrowedFd<'_>, host_devices: &[Node]) -> Result<()> {
    let dev = Path::new("dev");
    let place = mount_point(root, dev)?;
    let tmpfs = Filesystem {
        kind: "tmpfs",
        options: &[("mode", "755"), ("size", "64k"), ("nr_inodes", "512")],
        attributes: DEVICES_WORK,
    };
    tmpfs.make()?.attach(place.as_fd(), Path::new("/dev"))?;
    // The descriptor opened before refers to the covered folder.
    let inside = mount_point(root, dev)?;
    make_nodes(inside.as_fd())?;
    add_host_devices(inside.as_fd(), host_devices)?;
    let parts = [
        ("pts", "devpts", &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")][..], PTS),
        ("shm", "tmpfs", &[("mode", "1777"), ("size", "64m")][..], Attributes::DATA_ONLY),
        ("mqueue", "mqueue", &[][..], Attributes::DATA_ONLY),
    ];
    for (name, kind, options, attributes) in parts {
        let place = mount_point(inside.as_fd(), Path::new(name))?;
        Filesystem { kind, options, attributes }.make()?.attach(place.as_fd(), &Path::new("/dev").join(name))?;
    }
    Ok(())
}

/// Terminals are devices, so devices work here.
const PTS: Attributes = DEVICES_WORK;

/// Bind-mounts the container's terminal on `/dev/console`.
///
/// # Errors
/// Those of the mount calls.
pub fn mount_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<()> {
    let dev = mount_point(root, Path::new("dev"))?;
    mknodat(&dev, "console", FileType::RegularFile, Mode::from_raw_mode(0o600), 0).or_cannot("make", "/dev/console")?;
    let place = Root::without_links(&dev)
        .open(Path::new("console"), rustix::fs::OFlags::PATH)
        .or_cannot("open", "/dev/console")?;
    Detached::of_file(terminal, "the terminal")?.attach(place.as_fd(), Path::new("/dev/console"))
}

fn add_host_devices(dev: BorrowedFd<'_>, host_devices: &[Node]) -> Result<()> {
    for Node { name, kind, device } in host_devices {
        match mknodat(dev, name, *kind, Mode::from_raw_mode(0o600), *device) {
            // The standard nodes exist already; the console is mounted with the terminal.
            Err(rustix::io::Errno::EXIST) => (),
            made => made.or_cannot("make device", name.to_string_lossy())?,
        }
    }
    Ok(())
}

fn make_nodes(dev: BorrowedFd<'_>) -> Result<()> {
    step!("mknod",
        call: "mknod(null, zero, full, random, urandom, tty); symlink(fd, stdin, stdout, stderr, core, ptmx)";
        why: "the nodes that programs expect in /dev, without any hardware";
        shell: "mknod -m 666 /dev/null c 1 3; …; ln -s /proc/self/fd /dev/fd; …");
    let mode = Mode::from_raw_mode(0o666);
    for (name, major, minor) in NODES {
        let device: Dev = makedev(major, minor);
        mknodat(dev, name, FileType::CharacterDevice, mode, device).or_cannot("make device", name)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, dev, name).or_cannot("make the link", name)?;
    }
    Ok(())
}
