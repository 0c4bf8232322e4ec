//! The box's guard: it answers for the calls that could reach the machine under the box, and tells what it refused.
//!
//! Root in the box is root to the kernel's own files: to sysfs, to what of procfs belongs to the machine, to a devtmpfs. The
//! box cannot cover these by mounts: a fresh procfs has no covers, and the kernel gives a user namespace a procfs and a sysfs
//! only where it finds an uncovered one of each. So the [filter](super::filter) lets some calls ask first, and this
//! thread looks at what they mean:
//!
//! - opening for writing, and changing owner or mode, of a file in procfs or sysfs: only what belongs to a process or to
//!   the box's namespaces. The answer depends on the file that is found and not on its path or its mount.
//! - mounting: an allow-list of file systems. The machine has one devtmpfs for all; who mounts that gets the box's `/dev`.
//! - going back to the root of the cgroup v2 tree, which a host's root allows: the process comes to a cgroup below it.
//! - making a cgroup in a v1 hierarchy, which has no limit of its own on how many.
//! - a few calls that act on the whole machine, or could make the grader wait: never.
//!
//! Between this look and the kernel's own, a program that means harm can exchange the path. The walls that hold against that
//! too are the kernel's: the two [programs](super::bpf), and what capabilities were taken away. The guard is for
//! accidents, and for telling. It never waits for the box: no file system whose look-ups a process answers can be mounted.
//! Look: `ls -l /proc/PID/fd` of the grader shows `anon_inode:seccomp notify`. Manual: seccomp_unotify(2).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::mount::MsFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat, readlinkat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{chroot, fchdir};

use super::bpf;
use super::cgroup::{MOST_CGROUPS, MOST_LEVELS};
use super::filter::{Rule, When};
use super::root::unescape;
use crate::observe::proc;
use crate::sys::{self, Asked, Verdict};
use crate::trace::FileId;

/// Most different refusals that are told.
const MOST_TOLD: usize = 100;

/// Calls that act on the whole machine or could make the grader wait for the box: number, name, and what they return.
const REFUSED: [(i64, &str, i32); 21] = [
    (libc::SYS_bpf, "bpf", libc::EPERM),
    (libc::SYS_perf_event_open, "perf_event_open", libc::EACCES),
    (libc::SYS_kexec_load, "kexec_load", libc::EPERM),
    (libc::SYS_kexec_file_load, "kexec_file_load", libc::EPERM),
    (libc::SYS_init_module, "init_module", libc::EPERM),
    (libc::SYS_finit_module, "finit_module", libc::EPERM),
    (libc::SYS_delete_module, "delete_module", libc::EPERM),
    // No filter sees what is done through a ring. As on a kernel without them, programs take another way.
    (libc::SYS_io_uring_setup, "io_uring_setup", libc::ENOSYS),
    (libc::SYS_io_uring_enter, "io_uring_enter", libc::ENOSYS),
    (libc::SYS_io_uring_register, "io_uring_register", libc::ENOSYS),
    // Keys belong to a user of the machine and outlive the box.
    (libc::SYS_add_key, "add_key", libc::ENOSYS),
    (libc::SYS_request_key, "request_key", libc::ENOSYS),
    (libc::SYS_swapon, "swapon", libc::EPERM),
    (libc::SYS_swapoff, "swapoff", libc::EPERM),
    (libc::SYS_quotactl, "quotactl", libc::EPERM),
    (libc::SYS_quotactl_fd, "quotactl_fd", libc::EPERM),
    (libc::SYS_syslog, "syslog", libc::EPERM),
    (libc::SYS_acct, "acct", libc::EPERM),
    // With these a process answers for another's access to a file or to memory: the other could be the grader.
    (libc::SYS_fanotify_init, "fanotify_init", libc::EPERM),
    (libc::SYS_userfaultfd, "userfaultfd", libc::EPERM),
    (libc::SYS_open_by_handle_at, "open_by_handle_at", libc::EPERM),
];

/// File systems that may be mounted: those that labs use, and of which each instance belongs to whoever mounts it.
const FILE_SYSTEMS: [&str; 10] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "overlay", "cgroup", "cgroup2", "hugetlbfs"];
/// The one that all of the machine have together.
const DEVTMPFS: &str = "devtmpfs";

/// Kinds of socket that may be made: unix, IPv4, IPv6, key management, netlink, packet.
const SOCKETS: [u32; 6] = [1, 2, 10, 15, 16, 17];
const NETLINK: u64 = 16;
const NETLINK_AUDIT: u32 = 9;

/// `fcntl(fd, F_SETLEASE)`: who has a lease on a file makes others wait who open it.
const F_SETLEASE: u32 = 1024;
/// Sends what the machine's console prints to a terminal of the caller's.
const TIOCCONS: u32 = 0x541D;
/// Steps from one mount namespace to the next of the machine (Linux 6.12), in type and number; the length may grow. The
/// step back is the next number.
const NS_MNT_GET_NEXT: u32 = 0xb70b;
/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`.
const JOIN_SESSION_KEYRING: u64 = 1;
/// Not in libc for every architecture.
const SYS_FCHMODAT2: i64 = 452;
/// The bits of open(2) that say whether the file may be written.
const WRITING: u32 = libc::O_ACCMODE as u32;
/// A value in the upper half of mount(2)'s flags that very old programs put there, and the kernel takes away.
const OLD_MAGIC: u64 = 0xC0ED_0000;
const OLD_MAGIC_MASK: u64 = 0xFFFF_0000;
/// `fsconfig(fd, FSCONFIG_SET_STRING, key, value)`.
const SET_STRING: u32 = 1;
/// The option with which a cgroup v1 hierarchy is told which program the machine is to run.
const RELEASE_AGENT: &str = "release_agent";

/// The calls that ask, and when.
pub fn rules() -> Vec<Rule> {
    let other_than_mounting = (MsFlags::MS_BIND
        | MsFlags::MS_MOVE
        | MsFlags::MS_SHARED
        | MsFlags::MS_PRIVATE
        | MsFlags::MS_SLAVE
        | MsFlags::MS_UNBINDABLE)
        .bits() as u32;
    let mut rules: Vec<Rule> = REFUSED.iter().map(|(nr, ..)| (*nr, When::Always)).collect();
    rules.extend([
        (libc::SYS_openat, When::Any(2, WRITING)),
        (libc::SYS_openat2, When::Always),
        (libc::SYS_fchmod, When::Always),
        (libc::SYS_fchmodat, When::Always),
        (SYS_FCHMODAT2, When::Always),
        (libc::SYS_fchown, When::Always),
        (libc::SYS_fchownat, When::Always),
        (libc::SYS_mkdirat, When::Always),
        (libc::SYS_mount, When::NoneOf(3, other_than_mounting)),
        (libc::SYS_mount, When::Any(3, 0xC000_0000 | MsFlags::MS_REMOUNT.bits() as u32)),
        (libc::SYS_fsopen, When::Always),
        (libc::SYS_fsconfig, When::Is(1, SET_STRING)),
        (libc::SYS_socket, When::IsNot(0, &SOCKETS)),
        (libc::SYS_socket, When::Is(2, NETLINK_AUDIT)),
        (libc::SYS_fcntl, When::Is(1, F_SETLEASE)),
        (libc::SYS_keyctl, When::Always),
        (libc::SYS_ioctl, When::Is(1, TIOCCONS)),
        (libc::SYS_ioctl, When::Masked(1, 0xffff, NS_MNT_GET_NEXT)),
        (libc::SYS_ioctl, When::Masked(1, 0xffff, NS_MNT_GET_NEXT + 1)),
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        (libc::SYS_open, When::Any(1, WRITING)),
        (libc::SYS_creat, When::Always),
        (libc::SYS_mkdir, When::Always),
        (libc::SYS_chmod, When::Always),
        (libc::SYS_chown, When::Always),
        (libc::SYS_lchown, When::Always),
    ]);
    rules
}

/// The guard of one box, a thread. It ends when dropped; who asks then gets `ENOSYS`.
#[derive(Debug)]
pub struct Guard {
    /// Closed to end it.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    refused: Arc<Mutex<BTreeSet<String>>>,
}

impl Guard {
    /// Starts to answer what comes to `listener`. `init` is the box's first process, as we number it.
    ///
    /// # Errors
    /// Those of pipe2(2) and open(2).
    pub fn start(listener: OwnedFd, init: i32, redirect: Option<Redirect>) -> io::Result<Guard> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let refused = Arc::<Mutex<BTreeSet<String>>>::default();
        let look = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let post = Post {
            listener,
            init,
            redirect,
            root: rustix::fs::open("/", look, Mode::empty())?,
            proc: rustix::fs::open("/proc", look, Mode::empty())?,
            refused: Arc::clone(&refused),
            cgroups: AtomicUsize::new(0),
        };
        let thread = std::thread::Builder::new().name("guard".into()).spawn(move || post.stand(&stopped))?;
        Ok(Guard { stop: Some(stop), thread: Some(thread), refused })
    }

    /// What was refused so far, each once.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the guard's thread has.
struct Post {
    listener: OwnedFd,
    init: i32,
    redirect: Option<Redirect>,
    /// The grader's own root, to which it comes back: a root that is held cannot be unmounted.
    root: OwnedFd,
    /// The procfs in which callers have the numbers that the kernel tells us.
    proc: OwnedFd,
    refused: Arc<Mutex<BTreeSet<String>>>,
    /// How many cgroups were made in v1 hierarchies.
    cgroups: AtomicUsize,
}

/// A file that a call is about.
struct Found {
    file: OwnedFd,
    /// Its path as the caller would write it from its root.
    path: PathBuf,
}

/// What a call does to the file it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Opens it for writing, with these flags of open(2).
    Write(u64),
    /// Changes its mode or its owner.
    Change,
}

/// The file of the box's v2 root through which processes come back to it, and the one that takes them there.
///
/// The root of a host takes processes back whatever it hands on to its children; the box's is a cgroup like any other.
#[derive(Debug)]
pub struct Redirect {
    /// `cgroup.procs` of the box's root.
    pub from: FileId,
    /// `cgroup.procs` of the cgroup that stands for it.
    pub to: PathBuf,
}

impl Post {
    fn stand(&self, stopped: &OwnedFd) {
        sys::answer_on_the_same_processor(self.listener.as_fd());
        // Root and working directory of this thread alone.
        if unshare(CloneFlags::CLONE_FS).is_err() {
            return;
        }
        loop {
            let mut fds = [
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                continue;
            }
            let [asked, ended] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
            // POLLHUP: nobody is left who could ask.
            if !ended.is_empty() || !asked.contains(PollFlags::POLLIN) && !asked.is_empty() {
                return;
            }
            match sys::next_question(self.listener.as_fd()) {
                Ok(Some(question)) => {
                    let verdict = self.judge(&question);
                    if verdict != Verdict::Answered {
                        sys::answer_question(self.listener.as_fd(), &question, verdict);
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn judge(&self, asked: &Asked) -> Verdict {
        let [a, b, c, d, e, _] = asked.args;
        if let Some((_, name, errno)) = REFUSED.iter().find(|(nr, ..)| *nr == asked.nr) {
            return self.refuse((*name).to_owned(), *errno);
        }
        #[cfg(target_arch = "x86_64")]
        match asked.nr {
            libc::SYS_open => return self.file(asked, None, a, b & libc::O_NOFOLLOW as u64 == 0, Act::Write(b)),
            libc::SYS_creat => return self.file(asked, None, a, true, Act::Write(libc::O_WRONLY as u64)),
            libc::SYS_chmod | libc::SYS_chown => return self.file(asked, None, a, true, Act::Change),
            libc::SYS_mkdir => return self.make_folder(asked, None, a),
            libc::SYS_lchown => return self.file(asked, None, a, false, Act::Change),
            _ => {}
        }
        let nofollow = u64::from(AtFlags::SYMLINK_NOFOLLOW.bits());
        match asked.nr {
            libc::SYS_openat => self.file(asked, Some(a), b, c & libc::O_NOFOLLOW as u64 == 0, Act::Write(c)),
            libc::SYS_openat2 => {
                // struct open_how: the flags are the first member.
                let flags = proc::memory(asked.tid, c, 8).try_into().map_or(0, u64::from_ne_bytes);
                if flags & u64::from(WRITING) == 0 {
                    return Verdict::GoOn;
                }
                self.file(asked, Some(a), b, flags & libc::O_NOFOLLOW as u64 == 0, Act::Write(flags))
            }
            libc::SYS_mkdirat => self.make_folder(asked, Some(a), b),
            libc::SYS_fchmod | libc::SYS_fchown => self.open_file(asked, a),
            libc::SYS_fchmodat => self.file(asked, Some(a), b, true, Act::Change),
            SYS_FCHMODAT2 => self.file(asked, Some(a), b, d & nofollow == 0, Act::Change),
            libc::SYS_fchownat => self.file(asked, Some(a), b, e & nofollow == 0, Act::Change),
            libc::SYS_mount => self.mount(asked),
            libc::SYS_fsopen => match self.text(asked, a) {
                // By this, mount(8) asks whether the kernel knows the call. In the box it takes mount(2), for which
                // there is an answer to devtmpfs.
                None => Verdict::Return(-libc::ENOSYS),
                Some(kind) => self.file_system(&kind).unwrap_or(Verdict::GoOn),
            },
            libc::SYS_fsconfig if self.text(asked, c).as_deref() == Some(RELEASE_AGENT) => {
                self.refuse(format!("fsconfig of {RELEASE_AGENT}"), libc::EPERM)
            }
            libc::SYS_socket if a == NETLINK => Verdict::Return(-libc::EPROTONOSUPPORT),
            libc::SYS_socket if SOCKETS.iter().all(|known| u64::from(*known) != a) => {
                self.refuse(format!("socket of family {a}"), libc::EAFNOSUPPORT)
            }
            // A session keyring without a name: nobody else can find it, and it goes with the process.
            libc::SYS_keyctl if a == JOIN_SESSION_KEYRING && b == 0 => Verdict::GoOn,
            libc::SYS_keyctl => self.refuse("keyctl".to_owned(), libc::ENOSYS),
            libc::SYS_ioctl if b == u64::from(TIOCCONS) => self.refuse("ioctl TIOCCONS".to_owned(), libc::EPERM),
            libc::SYS_ioctl => self.refuse("ioctl NS_MNT_GET_NEXT".to_owned(), libc::ENOTTY),
            libc::SYS_fcntl => self.refuse("fcntl with F_SETLEASE".to_owned(), libc::EINVAL),
            _ => Verdict::GoOn,
        }
    }

    fn refuse(&self, what: String, errno: i32) -> Verdict {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MOST_TOLD {
            refused.insert(what);
        }
        Verdict::Return(-errno)
    }

    /// A string of the caller's; `None` for a null pointer, and when the caller is gone.
    fn text(&self, asked: &Asked, address: u64) -> Option<String> {
        let text = proc::c_string(asked.tid, address);
        (address != 0 && sys::still_asked(self.listener.as_fd(), asked)).then_some(text)
    }

    /// A call that names a file by a path, from the directory `from` or, without one, from the working directory.
    fn file(&self, asked: &Asked, from: Option<u64>, path: u64, follow: bool, act: Act) -> Verdict {
        let Some(path) = self.text(asked, path) else { return Verdict::GoOn };
        let look =
            if follow { OFlags::PATH | OFlags::CLOEXEC } else { OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC };
        // With an empty path, the descriptor is what is meant.
        let path = if path.is_empty() { ".".to_owned() } else { path };
        // What is not found is made new, or the kernel says why not.
        self.find(asked.tid, &base(asked.tid, from), Some((&path, look)))
            .map_or(Verdict::GoOn, |found| self.answer(asked, &found, act))
    }

    /// mkdir(2): a v1 hierarchy has no limit on cgroups, as v2 has, and each costs the kernel memory.
    fn make_folder(&self, asked: &Asked, from: Option<u64>, path: u64) -> Verdict {
        /// `f_type` of statfs(2).
        const CGROUP: i64 = 0x0027_e0eb;
        let Some(path) = self.text(asked, path) else { return Verdict::GoOn };
        let above = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/",
            Some((above, _)) => above,
            None => ".",
        };
        let found = self.find(asked.tid, &base(asked.tid, from), Some((above, OFlags::PATH | OFlags::CLOEXEC)));
        let Some(found) = found.filter(|found| is_on(&found.file, CGROUP)) else { return Verdict::GoOn };
        let levels = self.below_mount(asked.tid, &found).map_or(0, |path| path.components().count());
        if levels > MOST_LEVELS || self.cgroups.fetch_add(1, Ordering::Relaxed) >= MOST_CGROUPS {
            return self.refuse(format!("more cgroups in {}", found.path.display()), libc::EAGAIN);
        }
        Verdict::GoOn
    }

    /// A call that names a file by a descriptor.
    fn open_file(&self, asked: &Asked, fd: u64) -> Verdict {
        let base = format!("{}/fd/{}", asked.tid, fd as i32);
        self.find(asked.tid, &base, None).map_or(Verdict::GoOn, |found| self.answer(asked, &found, Act::Change))
    }

    /// Looks a path up as the caller would: from `base`, below the caller's root. Without one, `base` is the file.
    fn find(&self, tid: i32, base: &str, path: Option<(&str, OFlags)>) -> Option<Found> {
        let look = OFlags::PATH | OFlags::CLOEXEC;
        let at = |name: &str| openat(&self.proc, name, look, Mode::empty()).ok();
        let (root, base) = (at(&format!("{tid}/root"))?, at(base)?);
        let found = self.as_if_in(&root, || {
            let file = match path {
                Some((path, look)) => {
                    if !path.starts_with('/') {
                        fchdir(&base).ok()?;
                    }
                    rustix::fs::open(path, look, Mode::empty()).ok()?
                }
                None => base,
            };
            let link = format!("thread-self/fd/{}", file.as_raw_fd());
            let path = readlinkat(&self.proc, link, Vec::new()).ok()?;
            Some(Found { file, path: PathBuf::from(path.to_string_lossy().into_owned()) })
        });
        found.flatten()
    }

    /// Does something with `root` as this thread's root directory, and comes back.
    fn as_if_in<T>(&self, root: &OwnedFd, look: impl FnOnce() -> T) -> Option<T> {
        fchdir(root).ok()?;
        let seen = chroot(".").ok().map(|()| look());
        let _ = fchdir(&self.root).and_then(|()| chroot("."));
        seen
    }

    fn answer(&self, asked: &Asked, found: &Found, act: Act) -> Verdict {
        /// `f_type` of statfs(2).
        const PROC: i64 = 0x9fa0;
        const SYSFS: i64 = 0x6265_6572;
        let Ok(stat) = fstat(&found.file) else { return Verdict::GoOn };
        let verb = if act == Act::Change { "changing the mode or owner" } else { "opening for writing" };
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
                return opened.map_or(Verdict::GoOn, |file| {
                    // Then it has been answered; what cannot be is left to the kernel.
                    let closes = flags & libc::O_CLOEXEC as u64 != 0;
                    sys::answer_with_file(self.listener.as_fd(), asked, file.as_fd(), closes)
                        .map_or(Verdict::GoOn, |()| Verdict::Answered)
                });
            }
        }
        let is_its_own: fn(&Path) -> bool = match fstatfs(&found.file).map(|stat| stat.f_type) {
            Ok(PROC) => is_its_own_in_proc,
            Ok(SYSFS) => is_its_own_in_sysfs,
            _ => return Verdict::GoOn,
        };
        match self.below_mount(asked.tid, found) {
            Some(path) if is_its_own(&path) => Verdict::GoOn,
            _ => self.refuse(told(), libc::EROFS),
        }
    }

    /// The file's path from the root of its file system.
    fn below_mount(&self, tid: i32, found: &Found) -> Option<PathBuf> {
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

    fn mount(&self, asked: &Asked) -> Verdict {
        let [_, target, kind, flags, data, _] = asked.args;
        let flags = if flags & OLD_MAGIC_MASK == OLD_MAGIC { flags & !OLD_MAGIC_MASK } else { flags };
        let flags = MsFlags::from_bits_truncate(flags as libc::c_ulong);
        let names_agent = || self.text(asked, data).is_some_and(|options| options.contains(RELEASE_AGENT));
        let others = MsFlags::MS_BIND
            | MsFlags::MS_MOVE
            | MsFlags::MS_SHARED
            | MsFlags::MS_PRIVATE
            | MsFlags::MS_SLAVE
            | MsFlags::MS_UNBINDABLE;
        if flags.contains(MsFlags::MS_REMOUNT) {
            return if names_agent() {
                self.refuse(format!("mount with {RELEASE_AGENT}"), libc::EPERM)
            } else {
                Verdict::GoOn
            };
        }
        if flags.intersects(others) {
            return Verdict::GoOn;
        }
        let Some(kind) = self.text(asked, kind) else { return Verdict::GoOn };
        if kind == DEVTMPFS && self.may_mount(asked.tid) {
            let Some(target) = self.text(asked, target) else { return Verdict::GoOn };
            return Verdict::Return(self.bind_dev(asked.tid, &target).err().map_or(0, |why| -why.raw_os_error()));
        }
        match self.file_system(&kind) {
            Some(refused) => refused,
            None if names_agent() => self.refuse(format!("mount with {RELEASE_AGENT}"), libc::EPERM),
            None => Verdict::GoOn,
        }
    }

    /// The refusal of a file system that is not in the list.
    fn file_system(&self, kind: &str) -> Option<Verdict> {
        if FILE_SYSTEMS.contains(&kind) {
            return None;
        }
        // The kernel must not be asked: it would look for a module.
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = known.lines().any(|line| line.split_whitespace().next_back() == Some(kind));
        // A misspelt name is no attempt.
        Some(if is_known {
            self.refuse(format!("mount of {kind}"), libc::EPERM)
        } else {
            Verdict::Return(-libc::ENODEV)
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
            move_mount(&dev, c"", rustix::fs::CWD, target, flags)
        };
        // Entering a namespace for a moment is a thread's whole life.
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.unwrap_or(Err(rustix::io::Errno::PERM))
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
