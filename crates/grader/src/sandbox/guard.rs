//! The box's guard: it decides calls that could reach the machine under the box, and reports what it refused.
//!
//! Root in the box is root to the kernel's own files: to sysfs, to what of procfs belongs to the machine, to a devtmpfs. The
//! box cannot cover these by mounts: a fresh procfs has no covers, and the kernel gives a user namespace a procfs and a sysfs
//! only where it finds an uncovered one of each. So the [filter](super::filter) lets some calls ask first, and this
//! thread decides them:
//!
//! - opening for writing, and changing owner, mode or attributes, of a file in procfs or sysfs: only what belongs to a process or to
//!   the box's namespaces. The answer depends on the file that is found and not on its path or its mount.
//! - mounting: an allow-list of file systems. The machine has one devtmpfs for all; a mount of it becomes a bind mount of the box's `/dev`.
//! - going back to the root of the cgroup v2 tree, which a host's root allows: the process comes to a cgroup below it.
//! - making a cgroup in a v1 hierarchy, which has no limit of its own on how many.
//! - the limit of core dumps, which stays as it is.
//! - a few calls that act on the whole machine, or could make the grader wait: never.
//! - where the observer wants it, the end of a process, which waits until it was [looked at](ends).
//!
//! Between this look and the kernel's own, a hostile program can exchange the path. Against that only the kernel's own
//! barriers hold: the two [programs](super::bpf), and what capabilities were taken away. The guard is for
//! accidents, and for reporting. It never waits for the box: no file system whose look-ups a process answers can be mounted.
//! Look: `ls -l /proc/PID/fd` of the grader shows `anon_inode:seccomp notify`. Manual: seccomp_unotify(2).

pub mod ends;
mod files;
mod mounts;
mod rules;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::cgroup::Cgroups;
use super::proc;
use super::worker::Worker;
use crate::record::FileId;
use crate::sys::{self, CallResponse, Notification};
use ends::Ends;
use files::Act;
use rules::{
    JOIN_SESSION_KEYRING, NETLINK, NETLINK_KINDS, NETLINK_TRIED, RANDOM, REFUSED, RELEASE_AGENT, REQUEST, SOCKETS,
    SYS_FCHMODAT2, SYS_REMOVEXATTRAT, SYS_SETXATTRAT, TIOCCONS, TIOCSETD, WRITING,
};

pub use rules::rules;

/// Most different refusals that are reported.
const MOST_TOLD: usize = 100;

/// The guard of one box, a thread. It ends when dropped; calls that would ask it then return `ENOSYS`.
#[derive(Debug)]
pub struct Guard {
    _thread: Worker,
    refused: Arc<Mutex<BTreeSet<String>>>,
    ends: Ends,
}

impl Guard {
    /// Starts to answer what comes to `listener`. `init` is the box's first process, as we number it.
    ///
    /// # Errors
    /// Those of pipe2(2) and open(2).
    pub fn start(listener: OwnedFd, init: i32, cgroups: &Cgroups) -> io::Result<Guard> {
        let (refused, ends) = (Arc::<Mutex<BTreeSet<String>>>::default(), Ends::default());
        let look = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let responder = Responder {
            listener,
            init,
            redirect: cgroups.redirect(),
            hierarchies: cgroups.controllers(),
            root: rustix::fs::open("/", look, Mode::empty())?,
            proc: rustix::fs::open("/proc", look, Mode::empty())?,
            refused: Arc::clone(&refused),
            ends: ends.clone(),
            cgroups_made: AtomicUsize::new(0),
        };
        let thread = Worker::start("guard", move |stopped| responder.answer_until(stopped))?;
        Ok(Guard { _thread: thread, refused, ends })
    }

    /// The announcements of exiting processes.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// What was refused so far, each once.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What the guard's thread has.
struct Responder {
    listener: OwnedFd,
    init: i32,
    redirect: Option<Redirect>,
    /// What the v1 hierarchies are called in which the box has cgroups: controllers, `name=…`.
    hierarchies: Vec<String>,
    /// The grader's own root, to which it comes back: a root that is held cannot be unmounted.
    root: OwnedFd,
    /// The procfs in which callers have the numbers that the kernel tells us.
    proc: OwnedFd,
    refused: Arc<Mutex<BTreeSet<String>>>,
    ends: Ends,
    /// How many cgroups were made in v1 hierarchies.
    cgroups_made: AtomicUsize,
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

impl Responder {
    fn answer_until(&self, stopped: &OwnedFd) {
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
            // POLLHUP: the last process under the filter has ended.
            if !ended.is_empty() || !asked.contains(PollFlags::POLLIN) && !asked.is_empty() {
                return;
            }
            match sys::next_notification(self.listener.as_fd()) {
                Ok(Some(question)) => {
                    let verdict = self.judge(&question);
                    if verdict != CallResponse::Answered {
                        sys::respond(self.listener.as_fd(), &question, verdict);
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn judge(&self, asked: &Notification) -> CallResponse {
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
                    return CallResponse::GoOn;
                }
                self.file(asked, Some(a), b, flags & libc::O_NOFOLLOW as u64 == 0, Act::Write(flags))
            }
            libc::SYS_mkdirat => self.make_folder(asked, Some(a), b),
            libc::SYS_fchmod | libc::SYS_fchown => self.open_file(asked, a),
            libc::SYS_fchmodat => self.file(asked, Some(a), b, true, Act::Change),
            SYS_FCHMODAT2 => self.file(asked, Some(a), b, d & nofollow == 0, Act::Change),
            libc::SYS_fchownat => self.file(asked, Some(a), b, e & nofollow == 0, Act::Change),
            libc::SYS_setxattr | libc::SYS_removexattr => self.file(asked, None, a, true, Act::Change),
            libc::SYS_lsetxattr | libc::SYS_lremovexattr => self.file(asked, None, a, false, Act::Change),
            libc::SYS_fsetxattr | libc::SYS_fremovexattr => self.open_file(asked, a),
            SYS_SETXATTRAT | SYS_REMOVEXATTRAT => self.file(asked, Some(a), b, c & nofollow == 0, Act::Change),
            libc::SYS_setrlimit => self.core_limit(asked, b),
            libc::SYS_prlimit64 => self.core_limit(asked, c),
            libc::SYS_madvise => self.refuse("madvise with MADV_HWPOISON".to_owned(), libc::EPERM),
            libc::SYS_ioprio_set => self.refuse("ioprio_set to a real-time class".to_owned(), libc::EPERM),
            libc::SYS_mount => self.mount(asked),
            libc::SYS_fsopen => match self.text(asked, a) {
                // By this, mount(8) asks whether the kernel knows the call. In the box it takes mount(2), which tells
                // all options at once, and for which there is an answer to devtmpfs.
                None => CallResponse::Return(-libc::ENOSYS),
                Some(kind) if [mounts::DEVTMPFS, mounts::CGROUP].contains(&kind.as_str()) => {
                    CallResponse::Return(-libc::ENOSYS)
                }
                Some(kind) => self.file_system(&kind).unwrap_or(CallResponse::GoOn),
            },
            libc::SYS_fsconfig if self.text(asked, c).as_deref() == Some(RELEASE_AGENT) => {
                self.refuse(format!("fsconfig of {RELEASE_AGENT}"), libc::EPERM)
            }
            libc::SYS_socket if a == NETLINK => self.netlink(c),
            libc::SYS_socket if SOCKETS.iter().all(|known| u64::from(*known) != a) => {
                self.refuse(format!("socket of family {a}"), libc::EAFNOSUPPORT)
            }
            // A session keyring without a name: no other process can find it, and it ends with the process.
            libc::SYS_keyctl if a == JOIN_SESSION_KEYRING && b == 0 => CallResponse::GoOn,
            libc::SYS_keyctl => self.refuse("keyctl".to_owned(), libc::ENOSYS),
            libc::SYS_ioctl if b == u64::from(TIOCCONS) => self.refuse("ioctl TIOCCONS".to_owned(), libc::EPERM),
            libc::SYS_ioctl if b == u64::from(TIOCSETD) => match proc::memory(asked.tid, c, 4).as_slice() {
                // N_TTY, the usual one; for an unreadable number the kernel returns the error.
                [] | [0, 0, 0, 0] => CallResponse::GoOn,
                _ => self.refuse("ioctl TIOCSETD".to_owned(), libc::EPERM),
            },
            libc::SYS_ioctl if RANDOM.iter().any(|request| u64::from(*request) == b & u64::from(REQUEST)) => {
                self.refuse("ioctl to the random device".to_owned(), libc::EPERM)
            }
            libc::SYS_ioctl => self.refuse("ioctl NS_MNT_GET_NEXT".to_owned(), libc::ENOTTY),
            libc::SYS_fcntl => self.refuse("fcntl with F_SETLEASE".to_owned(), libc::EINVAL),
            _ => {
                self.ends.tell(asked.tid, asked.nr);
                CallResponse::GoOn
            }
        }
    }

    /// socket(2) of the netlink family.
    fn netlink(&self, protocol: u64) -> CallResponse {
        if NETLINK_KINDS.iter().any(|known| u64::from(*known) == protocol) {
            CallResponse::GoOn
        } else if NETLINK_TRIED.contains(&protocol) {
            CallResponse::Return(-libc::EPROTONOSUPPORT)
        } else {
            self.refuse(format!("netlink socket of protocol {protocol}"), libc::EPROTONOSUPPORT)
        }
    }

    /// setrlimit(2) of `RLIMIT_CORE`: with 0 in place of [1](super::init), a dump would go to the machine's program. So it is
    /// not done: a call that switches dumps off returns success, and one that enables them returns `EPERM`.
    fn core_limit(&self, asked: &Notification, limit: u64) -> CallResponse {
        if limit == 0 {
            return CallResponse::GoOn; // it only asks for the limit
        }
        // struct rlimit: two numbers of 64 bits.
        let bytes = proc::memory(asked.tid, limit, 16);
        let most = bytes.chunks(8).filter_map(|half| Some(u64::from_ne_bytes(half.try_into().ok()?))).max();
        CallResponse::Return(if most.is_some_and(|most| most <= 1) { 0 } else { -libc::EPERM })
    }

    fn refuse(&self, what: String, errno: i32) -> CallResponse {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MOST_TOLD {
            refused.insert(what);
        }
        CallResponse::Return(-errno)
    }

    /// A string of the caller's; `None` for a null pointer, and when the caller is gone.
    fn text(&self, asked: &Notification, address: u64) -> Option<String> {
        let text = proc::c_string(asked.tid, address);
        (address != 0 && sys::is_valid(self.listener.as_fd(), asked)).then_some(text)
    }
}
