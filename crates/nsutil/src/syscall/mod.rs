//! The system calls that make a container, one function each, under the kernel's own names.
//!
//! Each function takes what the system call takes, with the same flags, and makes that one call. Three things are added,
//! and nothing else: no function needs `unsafe` of its caller; each call is announced before it is made (see
//! [`mod@crate::step`]), so that `--explain` shows it; and an error names the call with its arguments, and the errno:
//!
//! ```
//! use nix::sched::CloneFlags;
//! use nsutil::{error::line, syscall::{pidfd_open, setns}};
//! let own = pidfd_open(nix::unistd::getpid())?;
//! let refused = setns(&own, CloneFlags::empty()).unwrap_err();
//! assert!(line(&refused).contains("cannot setns(pidfd of process "), "{}", line(&refused));
//! assert!(line(&refused).contains("Invalid argument (EINVAL)"), "{}", line(&refused));
//! # Ok::<(), nsutil::Error>(())
//! ```
//!
//! The other modules are built on these: `process::spawn` is `clone3` with a pipe for the child's error,
//! `namespace::join` is `setns` with a list of kinds instead of flags. So each call is made in one place.
//!
//! | family | functions |
//! |---|---|
//! | processes | [`clone3`] [`execve`] [`pidfd_open`] [`pidfd_send_signal`] [`waitid`] |
//! | namespaces | [`setns`] [`unshare`] [`sethostname`] |
//! | root and mounts | [`chroot`] [`chdir`] [`mount()`] [`umount`] [`umount2`] [`pivot_root`] |
//! | files | [`read_file`] [`write_file`], each three calls: open, read or write, close |
//!
//! Look: `strace -f -e clone3,setns,chroot,execve PROGRAM`. Manual: section 2, syscalls(2).

mod file;
mod kind;
mod mount;
mod namespace;
mod process;

pub use nix::mount::{MntFlags, MsFlags};
pub use nix::sched::CloneFlags;

pub(crate) use file::write_existing;
pub use file::{read_file, write_file};
pub use kind::{Kind, Row, TABLE};
pub(crate) use kind::{flags, joined};
pub use mount::{chdir, chroot, mount, pivot_root, umount, umount2};
pub use namespace::{sethostname, setns, unshare};
pub use process::{CloneArgs, PidFd, SignalNumber, clone3, execve, pidfd_open, pidfd_send_signal, waitid};

use crate::error::Error;

/// Announces a system call, makes it, and names it with its arguments in the error.
macro_rules! system_call {
    ($name:literal, call: $call:literal $(, $call_arg:expr)*;
     why: $why:literal $(, $why_arg:expr)*;
     shell: $shell:literal $(, $shell_arg:expr)*;
     make: $make:expr) => {{
        $crate::step!($name, call: $call $(, $call_arg)*; why: $why $(, $why_arg)*; shell: $shell $(, $shell_arg)*);
        $make.map_err(|errno| $crate::error::Error::new(::std::format_args!($call $(, $call_arg)*), "", errno))
    }};
}
use system_call;

/// Adds a hint to `EPERM`.
fn needs_root(error: Error) -> Error {
    match error.errno() {
        Some(nix::errno::Errno::EPERM) => error.hint("this requires root (CAP_SYS_ADMIN): try with sudo"),
        _ => error,
    }
}

/// The names of flags as in C: `MS_REC|MS_PRIVATE`, or `0`.
struct Names<F>(F);

macro_rules! names_of {
    ($($flags:ty),*) => {$(
        impl std::fmt::Display for Names<$flags> {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                if self.0.is_empty() {
                    return out.write_str("0");
                }
                kind::joined(out, self.0.iter_names().map(|(name, _)| name), "|")
            }
        }
    )*};
}
names_of!(CloneFlags, MsFlags, MntFlags);
