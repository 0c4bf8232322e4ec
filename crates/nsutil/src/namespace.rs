//! Namespaces: what a process can see.
//!
//! Each process belongs to one namespace of every kind. Processes in the same UTS namespace share a host name; in
//! different ones each has its own. A new namespace comes from `clone` or `unshare`, lives as long as a process, an
//! open descriptor or a bind mount refers to it, and has no name: it is identified by the inode number of
//! `/proc/PID/ns/KIND`.
//!
//! `setns` moves the *caller* into a UTS, IPC, network or mount namespace. For a PID namespace it only decides where
//! the caller's *next child* is created: a process never changes its PID.
//!
//! Look: `lsns`, `readlink /proc/self/ns/uts`. Manual: namespaces(7), setns(2), unshare(2), pid_namespaces(7).

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Pid, getgid, getuid};

use crate::error::{OrCannot, Result};
use crate::step;
use crate::syscall::{self, PidFd, flags, joined};

pub use crate::syscall::{Kind, Row, TABLE};

/// Identity of a namespace: the same kind and the same inode number mean the same namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    kind: Kind,
    inode: u64,
}

impl Identity {
    /// The namespace of this kind that process `pid` is in.
    ///
    /// # Errors
    /// `ENOENT` when there is no such process; `EACCES` when it belongs to another user.
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

/// Moves the caller into namespaces of another process, by one pidfd and one call.
///
/// For [`Kind::Pid`] the caller stays; its next child is created there. See setns(2).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the namespace; `ESRCH` when the process has ended; `EINVAL` for
/// [`Kind::User`] or [`Kind::Mount`] from a process that has more than one thread.
pub fn join(process: &PidFd, kinds: &[Kind]) -> Result<()> {
    syscall::setns(process, flags(kinds)).map_err(|error| {
        error.with_attempt(format_args!("join the {} of", Named(kinds)), format_args!("process {}", process.pid()))
    })
}

/// Moves the caller into new namespaces. For [`Kind::Pid`] the caller stays; its next child will be process 1 there.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` (not needed for [`Kind::User`]); `ENOSPC` when a limit under
/// `/proc/sys/user/max_*_namespaces` is reached.
pub fn unshare(kinds: &[Kind]) -> Result<()> {
    syscall::unshare(flags(kinds)).map_err(|error| error.with_attempt("make new namespaces:", Named(kinds)))
}

/// Puts the caller into a user namespace of its own, in which it is root.
///
/// Its privileges apply only to objects of the new namespace: it can create further namespaces and set a host name in
/// them. See user_namespaces(7).
///
/// # Errors
/// `EPERM` or `ENOSPC` where the kernel or its administrator forbids user namespaces; the hint names the settings.
pub fn become_root_of_own_user_namespace() -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(&[Kind::User]).map_err(|error| {
        error.hint(
            "unprivileged user namespaces are disabled or limited: see /proc/sys/user/max_user_namespaces, \
             kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
        )
    })?;
    step!("user.map",
        call: "write(\"/proc/self/setgroups\", \"deny\"); write(\"/proc/self/uid_map\", \"0 {uid} 1\"); write(\"/proc/self/gid_map\", \"0 {gid} 1\")";
        why: "until the mapping is written, the caller is nobody (65534); UID 0 inside is UID {uid} outside";
        shell: "unshare --user --map-root-user");
    for (file, text) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1\n")), ("gid_map", format!("0 {gid} 1\n"))]
    {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).or_cannot("write", &path)?;
    }
    Ok(())
}

/// Names for an error's text: `uts, pid namespaces`.
pub(crate) struct Named<'a>(pub &'a [Kind]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, self.0.iter().map(|kind| kind.row().file), ", ")?;
        out.write_str(if self.0.len() == 1 { " namespace" } else { " namespaces" })
    }
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
