//! The calls that need `unsafe`: one per function, each with the reason why it is sound.
//!
//! Everything else in the workspace uses nix, rustix and procfs, whose interfaces are safe; a lint enforces this.

#![allow(unsafe_code)]

use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::Pid;

/// clone(2)'s `CLONE_INTO_CGROUP`. The libc crate's constant of that name does not fit its type and is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// Exit code of a child whose closure panicked (sysexits.h: internal software error).
const PANICKED: i32 = 70;

/// Forks a child into new namespaces and, on cgroup v2, directly into a cgroup; returns its PID and a pidfd.
///
/// The child runs `inside` and exits with the code it returns; it does not unwind the parent's stack. glibc's fork
/// handlers do not run, so the caller must be single-threaded: otherwise the child could wait for a lock held by a
/// thread that it does not have. Source: clone(2), "clone3()".
///
/// # Errors
/// Those of clone(2): `EPERM` without the right to create the namespaces, `ENOSPC` at a limit, `EBADF` when `cgroup` is
/// not a cgroup v2 directory, `EBUSY` when it has controllers enabled for its children, `EAGAIN` at a process limit.
pub fn clone3(
    flags: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    inside: impl FnOnce() -> i32,
) -> Result<(Pid, OwnedFd), Errno> {
    // Otherwise both processes would write what is in the buffer.
    let _ = std::io::stdout().flush();
    let mut pidfd: RawFd = -1;
    let into_cgroup = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let arguments = libc::clone_args {
        // Through u32: the topmost flag of clone(2) is the sign bit of nix's c_int.
        flags: u64::from(flags.bits() as u32) | libc::CLONE_PIDFD as u64 | into_cgroup,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM the child has its own copy of memory, so it may use this stack; `arguments` has the size
    // given and `pidfd` outlives the call, the only place the kernel writes to.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(Errno::last()),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(inside)).unwrap_or(PANICKED);
            let _ = std::io::stdout().flush();
            exit_now(code)
        }
        pid => {
            // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok((Pid::from_raw(pid as i32), pidfd))
        }
    }
}

/// Closes every descriptor from `first` on and exits with the code that `exit_code_of` returns; nothing is dropped.
///
/// For a process that remains after its child has called exec: descriptors that both have open, such as a lock or the
/// end of a pipe, would never be closed otherwise. See close_range(2).
pub fn close_from_and_exit_with(first: u32, exit_code_of: impl FnOnce() -> i32) -> ! {
    // SAFETY: the owners of these descriptors are on the stack of this process, which never returns to them and exits
    // without dropping them; from here on only descriptors that `exit_code_of` opens are used.
    let _ = unsafe { libc::close_range(first, u32::MAX, 0) };
    let code = catch_unwind(AssertUnwindSafe(exit_code_of)).unwrap_or(PANICKED);
    exit_now(code)
}

/// The exit status of a pidfd's process, as wait(2) encodes it; the caller need not be its parent.
///
/// Source: the kernel's include/uapi/linux/pidfd.h, `PIDFD_GET_INFO`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.15; `ESRCH` when it has not been reaped yet.
pub fn exit_status_of(process: BorrowedFd<'_>) -> Result<i32, Errno> {
    /// `struct pidfd_info`, its first version.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        /// pid, tgid, ppid; ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid.
        numbers: [u32; 11],
        exit_code: i32,
    }
    const EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const GET_INFO: libc::c_ulong = (3 << 30) | ((size_of::<Info>() as libc::c_ulong) << 16) | (0xff << 8) | 11;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: `info` has the size that the request number encodes, and outlives the call.
    let outcome = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO as _, &raw mut info) };
    Errno::result(outcome)?;
    if info.mask & EXIT == 0 { Err(Errno::ESRCH) } else { Ok(info.exit_code) }
}

/// Exits without running the exit handlers inherited from the parent. See _exit(2).
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return; a forked child, or a process that is to end as if killed, has
    // no pending destructors that must run.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on close-on-exec. See close_range(2).
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: with this flag the call only marks descriptors, and closes none that Rust owns.
    let outcome = unsafe { libc::close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    Errno::result(outcome).map(drop)
}

/// Whether a descriptor stays open across exec. See fcntl(2) `F_GETFD`.
///
/// # Errors
/// `EBADF` when the descriptor is not open.
pub fn outlives_exec(descriptor: RawFd) -> Result<bool, Errno> {
    // SAFETY: `F_GETFD` only reads a flag; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    Errno::result(flags).map(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Starts `command` with `root` as its root and working directory. See chroot(2).
///
/// Starting it then fails with `EPERM` without `CAP_SYS_CHROOT`.
pub fn start_in_root(command: &mut Command, root: OwnedFd) {
    let enter = move || {
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".").map_err(io::Error::from)
    };
    // SAFETY: between fork and exec the closure makes two system calls and uses neither the heap nor a lock, so locks
    // held by other threads do not matter.
    unsafe { command.pre_exec(enter) };
}

/// Sends a signal by number, including real-time signals and 0, to the process of a pidfd. See pidfd_send_signal(2).
///
/// # Errors
/// `EINVAL` for an invalid signal number; `ESRCH` when the process has been reaped; `EPERM` when it belongs to another
/// user.
pub fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let no_information: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the pointer to the signal's information may be null.
    let outcome = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_information, 0) };
    Errno::result(outcome).map(drop)
}

/// Resets a signal to its default action. See signal(7).
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn default_action(signal: Signal) -> Result<(), Errno> {
    // SAFETY: the default action is not a handler, so no code of this program can run inside a signal.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

/// Whether this process ignores a signal, like SIGHUP after nohup(1). See sigaction(2).
pub fn is_ignored(signal: Signal) -> Result<bool, Errno> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer for the new action changes nothing; the old one is written to memory of its size.
    let outcome = unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
    Errno::result(outcome)?;
    // SAFETY: the call succeeded, so it has initialised `action`.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// Seeds the C library's random numbers. See rand(3).
pub fn srand(seed: u32) {
    // SAFETY: srand has no precondition; its state is behind the C library's own lock.
    unsafe { libc::srand(seed) }
}

/// The C library's next random number, 0 to `RAND_MAX`. See rand(3).
pub fn rand() -> i32 {
    // SAFETY: rand has no precondition; its state is behind the C library's own lock.
    unsafe { libc::rand() }
}

/// Which mounts a change applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountScope {
    /// Only this mount.
    Mount,
    /// This mount and all below it.
    Tree,
}

/// Adds and removes attributes (`MOUNT_ATTR_*`) of a mount; `mount` is open on its root. See mount_setattr(2).
///
/// # Errors
/// `EINVAL` when the descriptor is not a mount's root; `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, add: u64, take_away: u64, scope: MountScope) -> Result<(), Errno> {
    let changes = libc::mount_attr { attr_set: add, attr_clr: take_away, propagation: 0, userns_fd: 0 };
    let recursive = if scope == MountScope::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `changes` has the size given, and the kernel writes to neither.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const changes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(outcome).map(drop)
}

/// Joins a new, empty session keyring. See keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`.
///
/// # Errors
/// `ENOSYS` where the kernel has no keys; `EDQUOT` when the user's quota of keys is used up.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let no_name: *const libc::c_char = std::ptr::null();
    // SAFETY: this operation accepts a null pointer instead of a name.
    let outcome = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) };
    Errno::result(outcome).map(drop)
}

/// Drops the pages of an unmodified file mapping; see madvise(2), `MADV_DONTNEED`.
///
/// # Errors
/// `EINVAL` when the range is not page-aligned or is locked in memory.
pub(crate) fn dont_need(pages: Range<usize>) -> Result<(), Errno> {
    let start: *mut libc::c_void = std::ptr::without_provenance_mut(pages.start);
    // SAFETY: the only caller passes file mappings without modified pages, so the kernel reads the same content again
    // when the memory is used next.
    let outcome = unsafe { libc::madvise(start, pages.len(), libc::MADV_DONTNEED) };
    Errno::result(outcome).map(drop)
}

/// Takes ownership of a descriptor just received over a socket.
pub(crate) fn take_ownership(number: RawFd) -> OwnedFd {
    // SAFETY: the only caller passes a number from a message it has just received, so nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
