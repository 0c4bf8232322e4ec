//! Calls that mount: which file systems, and what becomes of a devtmpfs.

use std::os::fd::AsFd;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree};
use rustix::process::{chroot, fchdir};

use super::Responder;
use super::rules::{OTHER_THAN_MOUNTING, RELEASE_AGENT};
use crate::sys::{CallResponse, Notification};

/// File systems that may be mounted: labs use them, and each mount is an instance of its own.
const FILE_SYSTEMS: [&str; 10] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "overlay", "cgroup", "cgroup2", "hugetlbfs"];
/// The one that all of the machine have together.
pub(super) const DEVTMPFS: &str = "devtmpfs";
/// Of this one, the machine has an instance for each hierarchy.
pub(super) const CGROUP: &str = "cgroup";
/// Options of it that name no hierarchy: cgroup(7), and the kernel's document on cgroups v1.
const CGROUP_OPTIONS: [&str; 7] =
    ["none", "all", "noprefix", "clone_children", "cpuset_v2_mode", "xattr", "favordynmods"];

/// A value in the upper half of mount(2)'s flags that very old programs put there, and the kernel takes away.
const OLD_MAGIC: u64 = 0xC0ED_0000;
const OLD_MAGIC_MASK: u64 = 0xFFFF_0000;
impl Responder {
    pub(super) fn mount(&self, asked: &Notification) -> CallResponse {
        let [_, target, kind, flags, data, _] = asked.args;
        let flags = if flags & OLD_MAGIC_MASK == OLD_MAGIC { flags & !OLD_MAGIC_MASK } else { flags };
        let flags = MsFlags::from_bits_truncate(flags as libc::c_ulong);
        let names_agent = || self.text(asked, data).is_some_and(|options| options.contains(RELEASE_AGENT));
        if flags.contains(MsFlags::MS_REMOUNT) {
            return if names_agent() {
                self.refuse(format!("mount with {RELEASE_AGENT}"), libc::EPERM)
            } else {
                CallResponse::GoOn
            };
        }
        if flags.intersects(OTHER_THAN_MOUNTING) {
            return CallResponse::GoOn;
        }
        let Some(kind) = self.text(asked, kind) else { return CallResponse::GoOn };
        if kind == DEVTMPFS && self.may_mount(asked.tid) {
            let Some(target) = self.text(asked, target) else { return CallResponse::GoOn };
            return CallResponse::Return(self.bind_dev(asked.tid, &target).err().map_or(0, |why| -why.raw_os_error()));
        }
        match self.file_system(&kind) {
            Some(refused) => refused,
            None if kind == CGROUP => self.hierarchy(&self.text(asked, data).unwrap_or_default()),
            None if names_agent() => self.refuse(format!("mount with {RELEASE_AGENT}"), libc::EPERM),
            None => CallResponse::GoOn,
        }
    }

    /// A mount of a cgroup v1 hierarchy. Where the box has no cgroup in it, its root is the machine's.
    fn hierarchy(&self, options: &str) -> CallResponse {
        if options.contains(RELEASE_AGENT) {
            return self.refuse(format!("mount with {RELEASE_AGENT}"), libc::EPERM);
        }
        let mut names = options.split(',').filter(|word| !word.is_empty() && !CGROUP_OPTIONS.contains(word));
        match names.find(|name| !self.hierarchies.iter().any(|known| known == name)) {
            // As the kernel answers in a cgroup namespace when there is none of that name.
            Some(other) => self.refuse(format!("mount of cgroup {other}"), libc::EPERM),
            None if self.hierarchies.is_empty() => CallResponse::Return(-libc::EPERM),
            None => CallResponse::GoOn,
        }
    }

    /// The refusal of a file system that is not in the list.
    pub(super) fn file_system(&self, kind: &str) -> Option<CallResponse> {
        if FILE_SYSTEMS.contains(&kind) {
            return None;
        }
        // The kernel must not be asked: it would look for a module.
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = known.lines().any(|line| line.split_whitespace().next_back() == Some(kind));
        // A misspelt name is not reported as an attempt.
        Some(if is_known {
            self.refuse(format!("mount of {kind}"), libc::EPERM)
        } else {
            CallResponse::Return(-libc::ENODEV)
        })
    }

    /// Whether the caller could mount a devtmpfs on a machine of its own: root, and in no user namespace.
    fn may_mount(&self, tid: i32) -> bool {
        const SYS_ADMIN: u64 = 1 << 21;
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        let user = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/user")).ok();
        effective & SYS_ADMIN != 0 && user(tid) == user(self.init)
    }

    /// Mounts the box's `/dev` at `target`, as the caller sees it: what there is shared on a machine is shared in the box.
    fn bind_dev(&self, tid: i32, target: &str) -> rustix::io::Result<()> {
        let enter = || -> rustix::io::Result<()> {
            let open = |name: &str| openat(&self.proc, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let namespace =
                |pid: i32| openat(&self.proc, format!("{pid}/ns/mnt"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let (own, theirs) = (namespace(self.init)?, namespace(tid)?);
            let (root, cwd) = (open(&format!("{tid}/root"))?, open(&format!("{tid}/cwd"))?);
            let errno = |why: nix::errno::Errno| rustix::io::Errno::from_raw_os_error(why as i32);
            unshare(CloneFlags::CLONE_FS).map_err(errno)?;
            setns(own.as_fd(), CloneFlags::CLONE_NEWNS).map_err(errno)?;
            let dev =
                open_tree(rustix::fs::CWD, c"/dev", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
            setns(theirs.as_fd(), CloneFlags::CLONE_NEWNS).map_err(errno)?;
            fchdir(&root)?;
            chroot(".")?;
            fchdir(&cwd)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            move_mount(&dev, c"", rustix::fs::CWD, target, flags)?;
            // The box's mounts are shared, and so is their clone: what is mounted below it would be seen in the box's /dev.
            mount_change(target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        };
        // Entering a namespace for a moment is a thread's whole life.
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.unwrap_or(Err(rustix::io::Errno::PERM))
    }
}
