//! Namespaces: what a process can see.
//!
//! Each process belongs to one namespace of every kind. Two processes in the same UTS namespace see one host name; in
//! two, each has its own and neither can tell. A new namespace comes from `clone` or `unshare`, lives as long as a
//! process (or an open descriptor, or a bind mount) holds it, and has no name: what identifies it is the inode number
//! of `/proc/PID/ns/KIND`. Same number, same namespace.
//!
//! The kinds do not move alike. `setns` moves the *caller* into a UTS, IPC, network or mount namespace, but for a PID
//! namespace it only decides where the caller's *next child* is born: a process keeps its number for life.
//!
//! Look: `lsns`, `readlink /proc/self/ns/uts`. Manual: namespaces(7), setns(2), unshare(2), pid_namespaces(7).

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use nix::unistd::{Pid, getgid, getuid};

use crate::error::{OrCannot, Result};
use crate::process::PidFd;
use crate::step;

/// The kinds of namespace, in the order of their kernel names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where the process stands in the tree of cgroups: its own cgroup looks like the root.
    Cgroup,
    /// System V IPC objects and POSIX message queues.
    Ipc,
    /// The list of mounts, and so the whole file tree.
    Mount,
    /// Network interfaces, addresses, routes, ports, firewall rules.
    Net,
    /// Process numbers: the first process inside is 1.
    Pid,
    /// User and group numbers, and which objects root's powers reach.
    User,
    /// Host name and NIS domain name.
    Uts,
}

/// What there is to know about a kind: one row of [`TABLE`].
#[derive(Debug)]
pub struct Row {
    /// The kind this row is about.
    pub kind: Kind,
    /// File name under `/proc/PID/ns`.
    pub file: &'static str,
    /// The flag of clone(2), unshare(2) and setns(2).
    pub flag: CloneFlags,
    /// That flag as C spells it.
    pub flag_name: &'static str,
    /// The option of unshare(1) and nsenter(1).
    pub option: &'static str,
    /// What a process in its own has for itself.
    pub isolates: &'static str,
    /// Its manual page.
    pub manual: &'static str,
}

/// All kinds that clone(2) can make.
///
/// The time namespace is not among them: its flag shares a bit with clone's exit signal, and none of the tasks needs it.
#[rustfmt::skip]
pub const TABLE: [Row; 7] = [
    Row { kind: Kind::Cgroup, file: "cgroup", flag: CloneFlags::CLONE_NEWCGROUP, flag_name: "CLONE_NEWCGROUP", option: "--cgroup", isolates: "view of the cgroup tree", manual: "cgroup_namespaces(7)" },
    Row { kind: Kind::Ipc, file: "ipc", flag: CloneFlags::CLONE_NEWIPC, flag_name: "CLONE_NEWIPC", option: "--ipc", isolates: "System V IPC and message queues", manual: "ipc_namespaces(7)" },
    Row { kind: Kind::Mount, file: "mnt", flag: CloneFlags::CLONE_NEWNS, flag_name: "CLONE_NEWNS", option: "--mount", isolates: "list of mounts", manual: "mount_namespaces(7)" },
    Row { kind: Kind::Net, file: "net", flag: CloneFlags::CLONE_NEWNET, flag_name: "CLONE_NEWNET", option: "--net", isolates: "network", manual: "network_namespaces(7)" },
    Row { kind: Kind::Pid, file: "pid", flag: CloneFlags::CLONE_NEWPID, flag_name: "CLONE_NEWPID", option: "--pid", isolates: "process numbers", manual: "pid_namespaces(7)" },
    Row { kind: Kind::User, file: "user", flag: CloneFlags::CLONE_NEWUSER, flag_name: "CLONE_NEWUSER", option: "--user", isolates: "user and group numbers", manual: "user_namespaces(7)" },
    Row { kind: Kind::Uts, file: "uts", flag: CloneFlags::CLONE_NEWUTS, flag_name: "CLONE_NEWUTS", option: "--uts", isolates: "host name", manual: "uts_namespaces(7)" },
];

impl Kind {
    /// Its row of the [`TABLE`].
    pub fn row(self) -> &'static Row {
        // The rows stand in the order of the variants; a test holds them to it.
        &TABLE[self as usize]
    }
}

/// Which namespace it is: the same kind and the same inode is the same namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    kind: Kind,
    inode: u64,
}

impl Identity {
    /// The namespace of this kind that process `pid` is in.
    ///
    /// # Errors
    /// `ENOENT` when there is no such process (any more); `EACCES` when it is another user's.
    pub fn of(pid: Pid, kind: Kind) -> Result<Self> {
        Self::read(PathBuf::from(format!("/proc/{pid}/ns/{}", kind.row().file)), kind)
    }

    /// The namespace of this kind that the caller is in.
    ///
    /// # Errors
    /// `ENOENT` when /proc is not mounted.
    pub fn of_self(kind: Kind) -> Result<Self> {
        Self::read(PathBuf::from(format!("/proc/self/ns/{}", kind.row().file)), kind)
    }

    fn read(link: PathBuf, kind: Kind) -> Result<Self> {
        let inode = fs::metadata(&link).or_cannot("look at namespace", link.display())?.ino();
        Ok(Self { kind, inode })
    }
}

/// As the kernel writes it: `uts:[4026531838]`.
impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:[{}]", self.kind.row().file, self.inode)
    }
}

/// Moves the caller into namespaces of another process, all by one descriptor of it and one call.
///
/// For [`Kind::Pid`] it is the caller's next child that is born there; the caller stays. See setns(2).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the namespace; `ESRCH` when the process has ended; `EINVAL` for
/// [`Kind::User`] or [`Kind::Mount`] from a process that has more than one thread.
pub fn join(process: &PidFd, kinds: &[Kind]) -> Result<()> {
    let pid = process.pid();
    step!("setns",
        call: "setns(pidfd of process {pid}, {})", Flags(kinds);
        why: "one descriptor of a process opens all its namespaces, here that of its {}; {}", Isolated(kinds), Mover(kinds);
        shell: "nsenter --target {pid} {}", Options(kinds));
    nix::sched::setns(process.as_fd(), flags(kinds))
        .or_cannot(format_args!("join the {} of", Named(kinds)), format_args!("process {pid}"))
}

/// Gives the caller new namespaces in place of those it is in. For [`Kind::Pid`], its next child will be process 1.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` (not needed for [`Kind::User`]); `ENOSPC` when a limit under
/// `/proc/sys/user/max_*_namespaces` is reached.
pub fn unshare(kinds: &[Kind]) -> Result<()> {
    step!("unshare",
        call: "unshare({})", Flags(kinds);
        why: "the caller leaves what it shared; from here on it has its own {}", Isolated(kinds);
        shell: "unshare {}", Options(kinds));
    nix::sched::unshare(flags(kinds)).or_cannot("make new namespaces:", Named(kinds)).map_err(why_refused)
}

/// Puts the caller into a user namespace of its own, in which it is root.
///
/// The powers of that root reach only what belongs to the new namespace: enough to make further namespaces and to
/// name a host in them, and nothing outside. See user_namespaces(7).
///
/// # Errors
/// `EPERM` or `ENOSPC` where the kernel or its administrator forbids user namespaces; the hint says which setting.
pub fn become_root_of_own_user_namespace() -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(&[Kind::User]).map_err(|error| {
        error.hint(
            "this kernel does not give user namespaces to everybody: see /proc/sys/user/max_user_namespaces, \
             kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
        )
    })?;
    step!("user.map",
        call: "write(\"/proc/self/setgroups\", \"deny\"); write(\"/proc/self/uid_map\", \"0 {uid} 1\"); write(\"/proc/self/gid_map\", \"0 {gid} 1\")";
        why: "until its numbers are mapped, the caller is nobody: 0 inside shall be {uid} outside";
        shell: "unshare --user --map-root-user");
    for (file, text) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1\n")), ("gid_map", format!("0 {gid} 1\n"))]
    {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).or_cannot("write", &path)?;
    }
    Ok(())
}

/// Adds to a refusal what a user can do about it.
pub(crate) fn why_refused(error: crate::Error) -> crate::Error {
    use nix::errno::Errno;
    match error.errno() {
        Some(Errno::EPERM) => error.hint("it takes root (CAP_SYS_ADMIN): try with sudo"),
        Some(Errno::ENOSPC) => error.hint("a limit is reached: see /proc/sys/user/max_*_namespaces"),
        Some(Errno::EAGAIN) => error.hint("a limit of processes is reached: see pids.max of its cgroup, and ulimit -u"),
        Some(Errno::ENOMEM) => error.hint("process 1 of the PID namespace that children go to may have ended"),
        _ => error,
    }
}

/// The flags of several kinds in one.
pub(crate) fn flags(kinds: &[Kind]) -> CloneFlags {
    kinds.iter().map(|kind| kind.row().flag).collect()
}

/// `CLONE_NEWUTS|CLONE_NEWPID`, for a step's text.
pub(crate) struct Flags<'a>(pub &'a [Kind]);
/// `uts and pid namespace`, for an error's text.
pub(crate) struct Named<'a>(pub &'a [Kind]);
/// `--uts --pid`, for a step's text.
pub(crate) struct Options<'a>(pub &'a [Kind]);
/// `host name, process numbers`, for a step's text.
pub(crate) struct Isolated<'a>(pub &'a [Kind]);
struct Mover<'a>(&'a [Kind]);

impl fmt::Display for Flags<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("0");
        }
        joined(out, self.0.iter().map(|kind| kind.row().flag_name), "|")
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, self.0.iter().map(|kind| kind.row().file), ", ")?;
        out.write_str(if self.0.len() == 1 { " namespace" } else { " namespaces" })
    }
}

impl fmt::Display for Options<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, self.0.iter().map(|kind| kind.row().option), " ")
    }
}

impl fmt::Display for Isolated<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, self.0.iter().map(|kind| kind.row().isolates), ", ")
    }
}

impl fmt::Display for Mover<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            [Kind::Pid] => "not the caller moves but its next child: a process keeps its number for life",
            kinds if kinds.contains(&Kind::Pid) => {
                "the caller moves at once, except for PID: there its next child goes"
            }
            _ => "the caller moves at once",
        })
    }
}

fn joined<'a>(out: &mut fmt::Formatter<'_>, words: impl Iterator<Item = &'a str>, between: &str) -> fmt::Result {
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.write_str(between)?;
        }
        out.write_str(word)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_finds_its_own_row_and_the_kernel_knows_its_file() {
        for row in &TABLE {
            assert_eq!(row.kind.row().file, row.file);
            let shown = Identity::of_self(row.kind).unwrap().to_string();
            let link = fs::read_link(format!("/proc/self/ns/{}", row.file)).unwrap();
            assert_eq!(shown, link.to_string_lossy(), "the kernel's own spelling");
        }
    }

    #[test]
    fn a_missing_process_is_named_in_the_error() {
        let error = Identity::of(Pid::from_raw(i32::MAX), Kind::Uts).unwrap_err();
        assert_eq!(
            crate::error::line(&error),
            "cannot look at namespace /proc/2147483647/ns/uts: No such file or directory (ENOENT)"
        );
    }
}
