//! The kinds of namespace, each with its flag, file name, command option and manual page.

use std::fmt;

use nix::sched::CloneFlags;

/// The kinds of namespace, in alphabetical order of their kernel names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The view of the cgroup tree: the process's own cgroup appears as the root.
    Cgroup,
    /// System V IPC objects and POSIX message queues.
    Ipc,
    /// The list of mounts, and so the whole file tree.
    Mount,
    /// Network interfaces, addresses, routes, ports, firewall rules.
    Net,
    /// PIDs: the first process inside is 1.
    Pid,
    /// User and group IDs, and the objects to which root's capabilities apply.
    User,
    /// Host name and NIS domain name.
    Uts,
}

/// The properties of a kind: one row of [`TABLE`].
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
    /// What the namespace isolates.
    pub isolates: &'static str,
    /// Its manual page.
    pub manual: &'static str,
}

/// All kinds that clone(2) can create, except time.
///
/// The flag of the time namespace shares a bit with clone's exit signal, and none of the tasks needs it.
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
        // The rows are in the order of the variants; a test checks that.
        &TABLE[self as usize]
    }
}

/// The combined flags of several kinds.
pub(crate) fn flags(kinds: &[Kind]) -> CloneFlags {
    kinds.iter().map(|kind| kind.row().flag).collect()
}

/// The rows of the namespaces in `flags`.
pub(super) fn rows(flags: CloneFlags) -> impl Iterator<Item = &'static Row> + Clone {
    TABLE.iter().filter(move |row| flags.contains(row.flag))
}

/// `--uts --pid`: the options of unshare(1) and nsenter(1) for these flags.
pub(super) struct Options(pub CloneFlags);
/// `host name, process numbers`: what these namespaces isolate.
pub(super) struct Isolated(pub CloneFlags);

impl fmt::Display for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, rows(self.0).map(|row| row.option), " ")
    }
}

impl fmt::Display for Isolated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, rows(self.0).map(|row| row.isolates), ", ")
    }
}

/// Writes words separated by `between`.
pub(crate) fn joined<'a>(
    out: &mut fmt::Formatter<'_>,
    words: impl Iterator<Item = &'a str>,
    between: &str,
) -> fmt::Result {
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.write_str(between)?;
        }
        out.write_str(word)?;
    }
    Ok(())
}
