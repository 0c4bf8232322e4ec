//! What a container is made of, one module for each thing the kernel offers.
//!
//! | module | the kernel's noun | manual |
//! |---|---|---|
//! | [`syscall`] | the system calls themselves, thin, safe and announced; what follows is built on them | syscalls(2) |
//! | [`namespace`] | what a process can see: host name, process numbers, mounts, network … | namespaces(7) |
//! | [`process`] | a child born into namespaces and a cgroup, held by a descriptor instead of a number | clone(2), pidfd_open(2) |
//! | [`reaper`] | process 1 of a container that is only that | pid_namespaces(7) |
//! | [`mount`] | which file trees a process sees, and where; detached mounts, overlays | mount_namespaces(7), pivot_root(2), mount_setattr(2) |
//! | [`rootfs`] | where a process's `/` is | chroot(2), openat2(2) |
//! | [`rooted`] | paths, and trees of files, in a folder that no path leads out of | openat2(2), path_resolution(7) |
//! | [`cgroup`] | how much of the machine a set of processes may use | cgroups(7) |
//! | [`capability`] | root's power in pieces | capabilities(7) |
//! | [`seccomp`] | which system calls a process may make | seccomp(2) |
//! | [`terminal`] | a terminal of one's own | pty(7) |
//! | [`elf`] | what a program needs to start: its loader, its libraries | ld.so(8) |
//! | [`net`] | interfaces, addresses, routes, the firewall | network_namespaces(7), rtnetlink(7) |
//! | [`mod@step`] | each step taken on the kernel, told as it happens | – |
//! | [`error`] | what was tried, on what, and why the kernel refused | errno(3) |
//! | [`sys`] | the few calls that need `unsafe` | – |
//!
//! Three rules shape all of them. Nothing here prints or parses arguments. A value that owns something of the kernel's
//! (a child, a mount, a cgroup) gives it back when dropped, unless told to keep it. And every step on the kernel is
//! announced before it is taken (see [`mod@step`]), so that a program's `--explain` is the story of what truly happened.

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
