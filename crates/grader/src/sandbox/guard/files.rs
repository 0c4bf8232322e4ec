//! Calls about a file: which file it is, and whether it is the box's own.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat, readlinkat};
use rustix::process::{chroot, fchdir};

use super::{Redirect, Responder};
use crate::record::FileId;
use crate::sandbox::bpf;
use crate::sandbox::cgroup::{MOST_CGROUPS, MOST_LEVELS};
use crate::sandbox::root::unescape;
use crate::sys::{self, CallResponse, Notification};

/// `f_type` of statfs(2).
const PROC: i64 = 0x9fa0;

/// A file that a call is about.
struct OpenedFile {
    file: OwnedFd,
    /// Its path as the caller would write it from its root.
    path: PathBuf,
}

/// What a call does to the file it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Opens it for writing, with these flags of open(2).
    Write(u64),
    /// Changes its mode, its owner or its extended attributes.
    Change,
}

impl Responder {
    /// A call that names a file by a path, from the directory `from` or, without one, from the working directory.
    pub(super) fn file(
        &self,
        asked: &Notification,
        from: Option<u64>,
        path: u64,
        follow: bool,
        act: Act,
    ) -> CallResponse {
        let Some(path) = self.text(asked, path) else { return CallResponse::GoOn };
        let look =
            if follow { OFlags::PATH | OFlags::CLOEXEC } else { OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC };
        // With an empty path, the descriptor is what is meant.
        let path = (!path.is_empty()).then_some((path.as_str(), look));
        // What is not found is made new, or the kernel says why not.
        self.find(asked.tid, &base(asked.tid, from), path)
            .map_or(CallResponse::GoOn, |found| self.answer(asked, &found, act))
    }

    /// mkdir(2): a v1 hierarchy has no limit on cgroups, as v2 has, and each costs the kernel memory.
    pub(super) fn make_folder(&self, asked: &Notification, from: Option<u64>, path: u64) -> CallResponse {
        /// `f_type` of statfs(2).
        const CGROUP: i64 = 0x0027_e0eb;
        let Some(path) = self.text(asked, path) else { return CallResponse::GoOn };
        let above = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/",
            Some((above, _)) => above,
            None => ".",
        };
        let found = self.find(asked.tid, &base(asked.tid, from), Some((above, OFlags::PATH | OFlags::CLOEXEC)));
        let Some(found) = found.filter(|found| is_on(&found.file, CGROUP)) else { return CallResponse::GoOn };
        let levels = self.below_mount(asked.tid, &found).map_or(0, |path| path.components().count());
        if levels > MOST_LEVELS || self.cgroups_made.fetch_add(1, Ordering::Relaxed) >= MOST_CGROUPS {
            return self.refuse(format!("more cgroups in {}", found.path.display()), libc::EAGAIN);
        }
        CallResponse::GoOn
    }

    /// A call that names a file by a descriptor.
    pub(super) fn open_file(&self, asked: &Notification, fd: u64) -> CallResponse {
        let base = format!("{}/fd/{}", asked.tid, fd as i32);
        self.find(asked.tid, &base, None).map_or(CallResponse::GoOn, |found| self.answer(asked, &found, Act::Change))
    }

    /// Looks a path up as the caller would: from `base`, below the caller's root. Without one, `base` is the file.
    fn find(&self, tid: i32, base: &str, path: Option<(&str, OFlags)>) -> Option<OpenedFile> {
        let look = OFlags::PATH | OFlags::CLOEXEC;
        let at = |name: &str| openat(&self.proc, name, look, Mode::empty()).ok();
        let (root, base) = (at(&format!("{tid}/root"))?, at(base)?);
        let found = self.as_if_in(&root, || {
            let file = match path {
                Some((path, look)) => {
                    if !path.starts_with('/') {
                        fchdir(&base).ok()?;
                    }
                    let opened = rustix::fs::open(path, look, Mode::empty());
                    opened.ok().or_else(|| self.walk(tid, Path::new(path), base, look))?
                }
                None => base,
            };
            let link = format!("thread-self/fd/{}", file.as_raw_fd());
            let path = readlinkat(&self.proc, link, Vec::new()).ok()?;
            Some(OpenedFile { file, path: PathBuf::from(path.to_string_lossy().into_owned()) })
        });
        found.flatten()
    }

    /// As open(2) with `O_PATH`, but `self` in a procfs is the caller and not this thread, which is in no procfs of the box.
    fn walk(&self, tid: i32, path: &Path, base: OwnedFd, look: OFlags) -> Option<OwnedFd> {
        /// As many as the kernel follows: path_resolution(7).
        const MOST_LINKS: usize = 40;
        let backwards = |path: &Path| path.iter().rev().map(OsStr::to_owned).collect::<Vec<_>>();
        let (mut here, mut rest, mut links) = (base, backwards(path), 0);
        while let Some(name) = rest.pop() {
            if name == "/" {
                here = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
                continue;
            }
            let next = openat(&here, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
            let is_link = FileType::from_raw_mode(fstat(&next).ok()?.st_mode) == FileType::Symlink;
            if !is_link || rest.is_empty() && look.contains(OFlags::NOFOLLOW) {
                here = next;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            let is_own = is_on(&next, PROC) && (name == "self" || name == "thread-self");
            let target = if is_own { self.in_proc(tid, &here, name == "self") } else { None };
            // A link of procfs such as cwd leads to a file and not to a path.
            let magic = || openat(&here, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
            match target {
                Some(target) => rest.extend(backwards(&target)),
                None => match magic().filter(|_| is_on(&next, PROC)) {
                    Some(file) => here = file,
                    None => {
                        let target = readlinkat(&next, c"", Vec::new()).ok()?;
                        rest.extend(backwards(Path::new(OsStr::from_bytes(target.to_bytes()))));
                    }
                },
            }
        }
        Some(here)
    }

    /// The folder of a thread, or of its process, in the procfs `proc`, which may be that of any PID namespace of the box.
    fn in_proc(&self, tid: i32, proc: &OwnedFd, is_process: bool) -> Option<PathBuf> {
        let numbers = |from: &OwnedFd, folder: &str| -> Option<[Vec<String>; 2]> {
            let file =
                openat(from, format!("{folder}/status"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            let status = io::read_to_string(std::fs::File::from(file)).ok()?;
            let line = |key: &str| {
                let numbers = status.lines().find_map(|line| line.strip_prefix(key))?;
                Some(numbers.split_whitespace().map(str::to_owned).collect())
            };
            Some([line("NStgid:")?, line("NSpid:")?])
        };
        // From our own PID namespace down to the caller's. Each procfs tells those from its own namespace on.
        let [processes, threads] = numbers(&self.proc, &tid.to_string())?;
        let mut levels = processes.iter().zip(&threads).enumerate();
        levels.find_map(|(level, (process, thread))| {
            let folder = format!("{process}/task/{thread}");
            let [_, seen] = numbers(proc, &folder)?;
            let is_it = threads.get(level..).is_some_and(|below| below == seen);
            is_it.then(|| PathBuf::from(if is_process { process.clone() } else { folder }))
        })
    }

    /// Does something with `root` as this thread's root directory, and comes back.
    fn as_if_in<T>(&self, root: &OwnedFd, look: impl FnOnce() -> T) -> Option<T> {
        fchdir(root).ok()?;
        let seen = chroot(".").ok().map(|()| look());
        let _ = fchdir(&self.root).and_then(|()| chroot("."));
        seen
    }

    fn answer(&self, asked: &Notification, found: &OpenedFile, act: Act) -> CallResponse {
        const SYSFS: i64 = 0x6265_6572;
        let Ok(stat) = fstat(&found.file) else { return CallResponse::GoOn };
        let verb = if act == Act::Change { "changing the mode, owner or attributes" } else { "opening for writing" };
        let told = || format!("{verb} of {}", found.path.display());
        let kind = FileType::from_raw_mode(stat.st_mode);
        if act != Act::Change && matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
            let known = bpf::DEVICES.contains(&(major, minor)) || bpf::TERMINALS.contains(&major);
            if kind == FileType::BlockDevice || !known {
                return self.refuse(told(), libc::EPERM);
            }
        }
        if let (Act::Write(flags), Some(Redirect { from, to })) = (act, &self.redirect) {
            if *from == (FileId { dev: stat.st_dev, ino: stat.st_ino }) {
                let access = OFlags::from_bits_truncate(flags as u32) & OFlags::RWMODE;
                let opened = rustix::fs::open(to, access | OFlags::CLOEXEC, Mode::empty());
                return opened.map_or(CallResponse::GoOn, |file| {
                    // Then it has been answered; what cannot be is left to the kernel.
                    let closes = flags & libc::O_CLOEXEC as u64 != 0;
                    sys::respond_with_file(self.listener.as_fd(), asked, file.as_fd(), closes)
                        .map_or(CallResponse::GoOn, |()| CallResponse::Answered)
                });
            }
        }
        let is_its_own: fn(&Path) -> bool = match fstatfs(&found.file).map(|stat| stat.f_type) {
            Ok(PROC) => is_its_own_in_proc,
            Ok(SYSFS) => is_its_own_in_sysfs,
            _ => return CallResponse::GoOn,
        };
        match self.below_mount(asked.tid, found) {
            Some(path) if is_its_own(&path) => CallResponse::GoOn,
            _ => self.refuse(told(), libc::EROFS),
        }
    }

    /// The file's path from the root of its file system.
    fn below_mount(&self, tid: i32, found: &OpenedFile) -> Option<PathBuf> {
        let read = |name: String| -> Option<String> {
            let file = openat(&self.proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            io::read_to_string(std::fs::File::from(file)).ok()
        };
        let info = read(format!("thread-self/fdinfo/{}", found.file.as_raw_fd()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
        // `36 35 98:0 /root /point …`, as the caller sees it.
        let mounts = read(format!("{tid}/mountinfo"))?;
        let mut mount =
            mounts.lines().map(|line| line.split(' ')).find(|fields| fields.clone().next() == Some(id))?.skip(3);
        let (root, point) = (unescape(Path::new(mount.next()?)), unescape(Path::new(mount.next()?)));
        Some(root.join(found.path.strip_prefix(point).ok()?))
    }
}

/// Where the path of a call begins, below /proc: `from` is its directory, if the call has one.
fn base(tid: i32, from: Option<u64>) -> String {
    match from.map(|fd| fd as i32) {
        None | Some(libc::AT_FDCWD) => format!("{tid}/cwd"),
        Some(fd) => format!("{tid}/fd/{fd}"),
    }
}

fn is_on(file: &OwnedFd, kind: i64) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.f_type == kind)
}

/// Whether a file of procfs belongs to a process or to a namespace of the box.
fn is_its_own_in_proc(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix("/") else { return false };
    if let Ok(setting) = below.strip_prefix("sys") {
        return bpf::is_setting_of_a_namespace(&setting.to_string_lossy());
    }
    let first = below.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    first.is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a file of sysfs belongs to a link of a network namespace of the box: no other namespace's are shown.
fn is_its_own_in_sysfs(path: &Path) -> bool {
    path.starts_with("/devices/virtual/net")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_process_or_a_namespace_is_its_own() {
        for own in ["/1/uid_map", "/4711/oom_score_adj", "/sys/net/ipv4/ip_forward", "/sys/kernel/hostname"] {
            assert!(is_its_own_in_proc(Path::new(own)), "{own}");
        }
        for of_all in
            ["/sysrq-trigger", "/sys/kernel/core_pattern", "/sys/kernel/hostname2", "/irq/9/smp_affinity", "/"]
        {
            assert!(!is_its_own_in_proc(Path::new(of_all)), "{of_all}");
        }
        assert!(is_its_own_in_sysfs(Path::new("/devices/virtual/net/br0/bridge/stp_state")));
        assert!(!is_its_own_in_sysfs(Path::new("/kernel/mm/ksm/run")));
    }
}
