//! The kernel features that a container is made of, one module for each.
//!
//! | module | what it is about | manual |
//! |---|---|---|
//! | [`syscall`] | the system calls themselves, thin, safe and announced; what follows is built on them | syscalls(2) |
//! | [`namespace`] | what a process can see: host name, process numbers, mounts, network … | namespaces(7) |
//! | [`process`] | children created in namespaces and a cgroup, with their pidfds | clone(2), pidfd_open(2) |
//! | [`reaper`] | a minimal init as process 1 of a container | pid_namespaces(7) |
//! | [`mount`] | which file trees a process sees, and where; detached mounts, overlays | mount_namespaces(7), pivot_root(2), mount_setattr(2) |
//! | [`rootfs`] | a folder as a process's root directory | chroot(2), openat2(2) |
//! | [`rooted`] | path look-ups and file trees confined to a folder | openat2(2), path_resolution(7) |
//! | [`cgroup`] | how much of the machine a set of processes may use | cgroups(7) |
//! | [`capability`] | the rights that make up root's power | capabilities(7) |
//! | [`seccomp`] | which system calls a process may make | seccomp(2) |
//! | [`terminal`] | pseudo-terminals | pty(7) |
//! | [`elf`] | what a program needs to start: its loader, its libraries | ld.so(8) |
//! | [`net`] | interfaces, addresses, routes, the firewall | network_namespaces(7), rtnetlink(7) |
//! | [`mod@step`] | announcements of each step taken on the kernel | – |
//! | [`error`] | what was tried, on what, and why the kernel refused | errno(3) |
//! | [`sys`] | the few calls that need `unsafe` | – |
//!
//! Three rules hold for all modules. Nothing here prints or parses arguments. A value that owns a kernel object (a
//! child, a mount, a cgroup) releases it when dropped, unless told to keep it. Every step on the kernel is announced
//! before it is taken (see [`mod@step`]), so a program's `--explain` shows what actually happened.

pub mod capability;
pub mod cgroup;
pub mod elf;
pub mod error;
#[cfg(feature = "failpoints")]
pub mod failpoint;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod process;
pub mod reaper;
pub mod rooted;
pub mod rootfs;
pub mod seccomp;
pub mod step;
pub mod sys;
pub mod syscall;
pub mod terminal;

pub use error::{Error, OrCannot, Result};
