//! A container as simple scripts create one: chroot, and the host's /dev. For lessons: each line is a way out.
//!
//! The namespaces are the same as elsewhere. Compared with [`super::setup`] the following is missing: the host's tree
//! stays mounted and is reachable by one `chroot`; its disks exist as device nodes; nothing in /proc and /sys is masked
//! or read-only; root keeps all capabilities, and there is no seccomp filter.
//!
//! Look: `conductor run --weak chroot …`, then `conductor attack NAME`, beside the same without `--weak`. Manual:
//! chroot(2), which says itself that it is no security mechanism.

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::stat::umask;
use nix::unistd::{chdir, chroot, fchdir};
use nsutil::error::{OrCannot, Result};
use nsutil::mount;
use nsutil::mount::detached::{Attributes, Detached, Filesystem, clear_attributes, mount_point};
use nsutil::process::{Report, join_cgroup};
use nsutil::step;
use nsutil::syscall::sethostname;
use rustix::fs::{CWD, Mode, OFlags};

use super::setup::{InitSpec, bind_over, clone_mount, connect_streams, make_root_read_only};
use super::{confine, loopback, volumes};
use crate::hosts_file;

/// Does what [`super::setup::become_container`] does, as a script would.
///
/// # Withheld with lesson 3.a
///
/// It could stand there as the solution.
///
/// # Errors
/// Of the step that failed.
pub fn become_chrooted(inside: &InitSpec<'_>, report: &mut Report) -> Result<Infallible> {
    umask(nix::sys::stat::Mode::empty());
    join_cgroup(inside.procs_files)?;
    if let Some(name) = inside.hostname {
        sethostname(name.as_str())?;
    }
    mount::make_all_private()?;
    let path = inside.directory.join("rootfs");
    let root = rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.or_cannot("open", path.display())?;
    // Programs and devices of a copied folder are to work.
    clear_attributes(
        root.as_fd(),
        Attributes { no_devices: true, no_set_user_id: true, ..Attributes::default() },
        &path,
    )?;
    for (place, kind) in [("proc", "proc"), ("sys", "sysfs")].map(|(place, kind)| (Path::new(place), kind)) {
        let point = mount_point(root.as_fd(), place)?;
        Filesystem { kind, options: &[], attributes: Attributes::default() }.make()?.attach(point.as_fd(), place)?;
    }
    let dev = File::open("/dev").or_cannot("open", "/dev")?;
    let point = mount_point(root.as_fd(), Path::new("dev"))?;
    Detached::of_tree(dev.as_fd(), "the host's /dev")?.attach(point.as_fd(), Path::new("/dev"))?;
    if inside.has_own_network {
        loopback::switch_on()?;
    }
    for (file, place) in hosts_file::FILES {
        bind_over(root.as_fd(), Path::new(place), clone_mount(&inside.directory.join(file), inside.read_only)?)?;
    }
    volumes::attach(root.as_fd(), volumes::prepare(inside.volumes, inside.process.confinement)?)?;
    if inside.read_only {
        make_root_read_only(root.as_fd())?;
    }
    enter(&root)?;
    let terminal = connect_streams(&inside.streams, root.as_fd())?;
    if inside.outlives_parent {
        report.outlive_parent()?;
    }
    confine::become_command(inside.process, terminal, report)
}

/// Changes the caller's root to an open folder, and nothing else.
///
/// # Errors
/// `EPERM` without `CAP_SYS_CHROOT`.
pub fn enter(root: &OwnedFd) -> Result<()> {
    step!("chroot", call: "fchdir(root); chroot(\".\")";
        why: "from now on / is that folder for this process, and nothing else has changed: the host's tree is still mounted";
        shell: "chroot ROOT COMMAND");
    fchdir(root).or_cannot("enter", "the container's root")?;
    chroot(".").or_cannot("change the root to", "the container's")?;
    chdir("/").or_cannot("enter", "/")
}
