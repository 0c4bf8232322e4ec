//! Whose a cgroup is that stands below a caller's: its name says which process made it.
//!
//! A program that is killed cannot remove its cgroup. The next run finds it by its name and removes it, if the process
//! that made it is dead.

use std::fmt;
use std::fs;
use std::path::Path;

use procfs::process::Process;

use super::kill;
use crate::error::{OrCannot, Result};
use crate::namespace::{Identity, Kind};

/// What every name begins with, so that a user knows whose it is.
pub(super) const PREFIX: &str = "docker-lite";

/// Who made a cgroup: written in its name, so that a later run can tell whether it still lives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: i32,
    /// Start time in clock ticks after boot: a later process of the same number has another.
    started: u64,
    /// The PID namespace in which the number counts: from another one, nothing can be said about it.
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

    /// Reads it from the end of a name, as `Display` writes it.
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

/// Removes what killed runs could not. What cannot be removed stays for the next run: it is not ours to fail about.
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
