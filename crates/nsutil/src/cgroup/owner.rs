//! The owner of a cgroup: the name of the cgroup says which process created it.
//!
//! A killed program cannot remove its cgroup. The next run finds it by name and removes it if its creator is dead.

use std::fmt;
use std::fs;
use std::path::Path;

use procfs::process::Process;

use super::kill;
use crate::error::{OrCannot, Result};
use crate::namespace::{Identity, Kind};

/// Prefix of every name, so that a user can recognise it.
pub(super) const PREFIX: &str = "docker-lite";

/// The creator of a cgroup, encoded in its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: i32,
    /// Start time in clock ticks after boot: distinguishes a later process with the same PID.
    started: u64,
    /// PID namespace of the PID: in another one it means nothing.
    namespace: String,
}

impl Owner {
    pub(super) fn this_process() -> Result<Self> {
        let me = Process::myself().and_then(|me| me.stat());
        let me = me.map_err(|error| error.to_string()).or_cannot("look at", "/proc/self/stat")?;
        let namespace = Identity::of_self(Kind::Pid)?.to_string();
        let namespace = namespace.chars().filter(char::is_ascii_digit).collect();
        Ok(Self { pid: me.pid, started: me.starttime, namespace })
    }

    /// Parses the end of a name, as `Display` writes it.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let pid = fields.next()?.parse().ok()?;
        let started = fields.next()?.parse().ok()?;
        let namespace = fields.next()?.to_owned();
        fields.next().is_none().then_some(Self { pid, started, namespace })
    }

    fn is_dead(&self) -> bool {
        match Process::new(self.pid).and_then(|process| process.stat()) {
            Ok(stat) => stat.starttime != self.started,
            Err(error) => matches!(error, procfs::ProcError::NotFound(_)),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.pid, self.started, self.namespace)
    }
}

/// Removes cgroups of dead creators. Errors are ignored: the next run tries again.
pub(super) fn remove_leftovers(parent: &Path, name: &str, owner: &Owner) {
    let prefix = format!("{PREFIX}-{name}-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let other = file_name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(Owner::parse);
        if other.is_some_and(|other| other.namespace == owner.namespace && other.is_dead()) {
            let _ = kill::kill_all(&entry.path()).and_then(|()| kill::remove(&entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_from_a_name_and_known_dead_or_alive() {
        let me = Owner::this_process().unwrap();
        assert_eq!(Owner::parse(&me.to_string()), Some(Owner::this_process().unwrap()));
        assert!(!me.is_dead());
        assert!(Owner { started: me.started + 1, ..Owner::this_process().unwrap() }.is_dead(), "a later process");
        assert!(Owner { pid: i32::MAX, ..me }.is_dead());
        for name in ["", "1", "1-2", "a-2-3", "1-2-3-4"] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }
}
