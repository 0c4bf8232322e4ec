//! The few calls that need `unsafe`: one a function, each with the reason why it holds.
//!
//! Everything else in the workspace goes through nix, rustix and procfs, whose interfaces are safe; a lint keeps it so.

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

/// Forks a child into new namespaces and, on cgroup v2, straight into a cgroup; returns its number and a descriptor of it.
///
/// The child runs `inside` and ends with the code it returns; nothing of the parent's stack is unwound in it. It is a
/// fork without glibc's fork handlers, so the caller must have one thread only, or the child may find a lock held by
/// a thread it does not have. Source: clone(2), "clone3()".
///
/// # Errors
/// Those of clone(2): `EPERM` without the right to make the namespaces, `ENOSPC` at a limit, `EBADF` when `cgroup` is
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
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
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
    // SAFETY: whoever owns these numbers is on the stack of this process, which never returns there and ends without
    // dropping anything; only what `exit_code_of` opens from here on is used.
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
    // SAFETY: `info` has the size that the request's number names, and outlives the call.
    let outcome = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO as _, &raw mut info) };
    Errno::result(outcome)?;
    if info.mask & EXIT == 0 { Err(Errno::ESRCH) } else { Ok(info.exit_code) }
}

/// Exits without running the exit handlers inherited from the parent. See _exit(2).
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return; no destructor that matters is pending in a forked child, nor in
    // a process that is to end as if it had been killed.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on close-on-exec. See close_range(2).
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the flag only marks descriptors, so none that Rust owns is closed behind its back.
    let outcome = unsafe { libc::close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    Errno::result(outcome).map(drop)
}

/// Whether a descriptor stays open across exec. See fcntl(2) `F_GETFD`.
///
/// # Errors
/// `EBADF` when there is none of that number.
pub fn outlives_exec(descriptor: RawFd) -> Result<bool, Errno> {
    // SAFETY: it only reads a flag, of whatever is open there, if anything is.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    Errno::result(flags).map(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Starts `command` with `root` as its root and working directory. See chroot(2).
///
/// Errors are returned when it is started: `EPERM` without `CAP_SYS_CHROOT`.
pub fn start_in_root(command: &mut Command, root: OwnedFd) {
    let enter = move || {
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".").map_err(io::Error::from)
    };
    // SAFETY: between fork and exec it makes two system calls and touches neither the heap nor any lock, so it does not
    // matter which of them another thread holds.
    unsafe { command.pre_exec(enter) };
}

/// Sends a signal by number, including real-time signals and 0, to the process of a pidfd. See pidfd_send_signal(2).
///
/// # Errors
/// `EINVAL` for a number that no signal has; `ESRCH` when the process has been waited for; `EPERM` when it is another's.
pub fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let no_information: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the information about the signal may be left out, as here, by a null pointer.
    let outcome = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_information, 0) };
    Errno::result(outcome).map(drop)
}

/// Resets a signal to its default action. See signal(7).
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn default_action(signal: Signal) -> Result<(), Errno> {
    // SAFETY: the default action is no function of ours, so none can run where it must not.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

/// Whether this process ignores a signal, like SIGHUP after nohup(1). See sigaction(2).
pub fn is_ignored(signal: Signal) -> Result<bool, Errno> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null pointer for the new action nothing changes; the old one is written to memory of its size.
    let outcome = unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
    Errno::result(outcome)?;
    // SAFETY: the call has succeeded, so it has written the whole of it.
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
    // SAFETY: this operation takes a name or, as here, a null pointer.
    let outcome = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) };
    Errno::result(outcome).map(drop)
}

/// Drops the pages of an unmodified file mapping; see madvise(2), `MADV_DONTNEED`.
///
/// # Errors
/// `EINVAL` when the range is not page-aligned or is locked in memory.
pub(crate) fn dont_need(pages: Range<usize>) -> Result<(), Errno> {
    let start: *mut libc::c_void = std::ptr::without_provenance_mut(pages.start);
    // SAFETY: the one caller passes mappings of files without a page that differs from the file, so that the kernel finds
    // the same content again when the memory is used next.
    let outcome = unsafe { libc::madvise(start, pages.len(), libc::MADV_DONTNEED) };
    Errno::result(outcome).map(drop)
}

/// Takes ownership of a descriptor just received over a socket.
pub(crate) fn take_ownership(number: RawFd) -> OwnedFd {
    // SAFETY: the one caller passes a number out of a message it has just received: nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
