//! clone3(2), execve(2), pidfd_open(2), pidfd_send_signal(2), waitid(2).

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use super::kind::{Isolated, Options};
use super::namespace::explain_clone;
use super::{Names, system_call};
use crate::error::{Cause, Error, OrCannot, Result};
use crate::sys;

/// A pidfd: a descriptor that refers to one process, and never to a later one with the same PID.
#[derive(Debug)]
pub struct PidFd {
    pid: Pid,
    descriptor: OwnedFd,
}

/// Arguments of clone3(2), named as in `struct clone_args`.
///
/// Two fields are fixed: the exit signal is SIGCHLD, so that the parent can wait for the child, and `CLONE_PIDFD` is
/// always set, so that the child has a pidfd.
#[derive(Debug, Clone, Copy)]
pub struct CloneArgs<'a> {
    /// The namespaces to create for the child (`CLONE_NEW…`); it shares the others with its parent.
    pub flags: CloneFlags,
    /// The cgroup v2 directory to create the child in (`CLONE_INTO_CGROUP`); by default its parent's cgroup.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A signal by its number, including real-time signals, which have no names, and 0, which only tests whether a signal
/// could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalNumber(i32);

/// Creates a child process, which runs `child` and exits with the code that it returns. See clone(2), "clone3()".
///
/// The caller must be single-threaded.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, if a namespace is to be created; `ENOSPC` at a limit of namespaces; `EAGAIN` at a
/// limit of processes; `ENOMEM` when process 1 of the child's PID namespace has ended.
pub fn clone3(args: &CloneArgs<'_>, child: impl FnOnce() -> i32) -> Result<PidFd> {
    let flags = args.flags;
    let (and, too) = if args.cgroup.is_some() { (true, ", and is in its cgroup from the start") } else { (false, "") };
    let (pid, descriptor) = if flags.is_empty() {
        system_call!("clone3", call: "clone3({})", if and { "CLONE_INTO_CGROUP" } else { "0" };
            why: "a child that shares every namespace with its parent, like fork{too}";
            shell: "COMMAND &";
            make: sys::clone3(flags, args.cgroup, child))
    } else {
        system_call!("clone3", call: "clone3({}{})", Names(flags), if and { "|CLONE_INTO_CGROUP" } else { "" };
            why: "a child that from its first instruction has its own {}{too}", Isolated(flags);
            shell: "unshare --fork {} COMMAND", Options(flags);
            make: sys::clone3(flags, args.cgroup, child))
    }
    .map_err(explain_clone)?;
    Ok(PidFd { pid, descriptor })
}

/// Replaces the caller's program. `program` is a path, not a name to search for. See execve(2).
///
/// Descriptors without close-on-exec stay open, and blocked or ignored signals stay so (`process::prepare_for_exec`
/// changes both).
///
/// # Errors
/// Returns only on error: `ENOENT` when the program, *its interpreter or its loader* does not exist; `EACCES` when it
/// may not be executed; `ENOEXEC` when it is not for this machine.
pub fn execve(program: impl AsRef<Path>, arguments: &[&str], environment: &[&str]) -> Result<Infallible> {
    let program = program.as_ref();
    let shown = &program.display();
    let strings = |texts: &[&str], what: &str| -> Result<Vec<CString>> {
        let strings: std::result::Result<_, _> = texts.iter().map(|text| CString::new(*text)).collect();
        strings.or_cannot(what, shown)
    };
    let path = CString::new(program.as_os_str().as_bytes()).or_cannot("execute", shown)?;
    let argv = strings(arguments, "pass arguments to")?;
    let envp = strings(environment, "pass the environment to")?;
    system_call!("execve", call: "execve(\"{shown}\", {arguments:?})";
        why: "replaces this program; descriptors marked close-on-exec are closed";
        shell: "exec {}", arguments.join(" ");
        make: nix::unistd::execve(&path, &argv, &envp))
    .map_err(|error| match error.errno() {
        Some(Errno::ENOENT) if program.exists() => error
            .hint("the file is there, so what is missing is its loader or interpreter (see ldd, or its first line)"),
        Some(Errno::ENOEXEC) => error.hint("it is not a program for this machine (see file(1))"),
        _ => error,
    })
}

/// Opens a descriptor of a process. See pidfd_open(2).
///
/// PIDs are reused: only the parent of a process, before it reaps it, can be sure to open the intended one.
///
/// # Errors
/// `ESRCH` when there is no such process; `EINVAL` for a thread that is not the main thread.
pub fn pidfd_open(pid: Pid) -> Result<PidFd> {
    let open = || {
        let asked = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(rustix::io::Errno::SRCH)?;
        rustix::process::pidfd_open(asked, PidfdFlags::empty())
    };
    let descriptor = system_call!("pidfd_open", call: "pidfd_open({pid}, 0)";
        why: "a pidfd always refers to this process; its PID may be reused for another";
        shell: "exec 3< /proc/{pid}/ns/pid   # a shell can only hold a namespace open, not a process";
        make: open())?;
    Ok(PidFd { pid, descriptor })
}

/// Sends a signal to a process. See pidfd_send_signal(2).
///
/// # Errors
/// `ESRCH` when it has been reaped; `EPERM` when it belongs to another user.
pub fn pidfd_send_signal(process: &PidFd, signal: SignalNumber) -> Result<()> {
    let pid = process.pid;
    system_call!("pidfd_send_signal", call: "pidfd_send_signal(pidfd of process {pid}, {signal})";
        why: "through the pidfd the signal cannot reach another process with the same PID";
        shell: "kill -{} {pid}", signal.0;
        make: sys::pidfd_send_signal(process.as_fd(), signal.0))
}

/// Waits for a change of a child's state, as `options` select, and returns its status. See waitid(2).
///
/// Not announced: it changes only the caller's list of children.
///
/// # Errors
/// `ECHILD` when it is not a child of the caller, or has been reaped; `EINTR` when a signal was caught.
pub fn waitid(process: &PidFd, options: WaitIdOptions) -> Result<Option<WaitIdStatus>> {
    rustix::process::waitid(WaitId::PidFd(process.as_fd()), options)
        .map_err(|errno| Error::new(format_args!("waitid(pidfd of process {})", process.pid), "", errno))
}

impl Default for CloneArgs<'_> {
    fn default() -> Self {
        Self { flags: CloneFlags::empty(), cgroup: None }
    }
}

impl PidFd {
    /// The PID of the process when the descriptor was opened, in the opener's PID namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl SignalNumber {
    /// Number 0: no signal is sent.
    pub const NONE: Self = Self(0);
    /// The first and the last real-time signal; the C library reserves the two before them.
    pub const REAL_TIME: (i32, i32) = (34, 64);

    /// The number of a signal that has a name.
    pub fn of(signal: Signal) -> Self {
        Self(signal as i32)
    }

    /// The signal with this number; none if there is no such signal.
    pub fn new(number: i32) -> Option<Self> {
        let (first, last) = Self::REAL_TIME;
        let is_one = number == 0 || (first..=last).contains(&number) || Signal::try_from(number).is_ok();
        is_one.then_some(Self(number))
    }

    /// The number itself.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SignalNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => signal.fmt(out),
            Err(_) => write!(out, "signal {}", self.0),
        }
    }
}

impl From<NulError> for Cause {
    fn from(_: NulError) -> Self {
        Self::Words("a NUL byte cannot be passed to a program".to_owned())
    }
}
