//! The ledger: every change of the host is written down before it is made, and undone backwards.
//!
//! A command can be killed between any two system calls. What it had changed by then must be found again: a mount, a
//! network link, a firewall chain, a cgroup, a sysctl. So it first writes a line that names the change, then makes it.
//! Undoing reads the lines backwards and looks at the kernel for each: a change that was never made, or is gone
//! already, is nothing to do. All lines are tried, and every failure is told.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::step;
use serde::{Deserialize, Serialize};

use crate::name::ContainerName;
use crate::record::ProcessIdentity;

/// One change of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Something is mounted here, on the host's side.
    Mount(PathBuf),
    /// A cgroup by its name under conductor's own.
    Cgroup(String),
    /// A process that is only there for this container (its monitor), or its first process.
    Process(ProcessIdentity),
    /// A network interface on the host's side.
    Link(String),
    /// A chain of firewall rules: table and name. Its jump goes with it.
    Chain {
        /// Such as `nat`.
        table: String,
        /// Its name.
        name: String,
    },
    /// Another container whose rules and hosts file speak of this one.
    Peer(ContainerName),
    /// A sysctl and its value before; put back when no other container needs it.
    Sysctl {
        /// Path under /proc/sys.
        key: PathBuf,
        /// What it was.
        before: String,
    },
}

/// The ledger of one container: a file with one JSON line for each change.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger in a container's folder; the file appears with the first line.
    pub fn of(container_dir: &Path) -> Self {
        Self { path: container_dir.join("ledger") }
    }

    /// Writes down a change that is about to be made.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS` …: then the change must not be made.
    pub fn note(&self, change: &Change) -> Result<()> {
        let mut line =
            serde_json::to_string(change).map_err(|error| error.to_string()).or_cannot("note", "a change")?;
        step!("ledger", call: "write(\"{}\", {line})", self.path.display();
            why: "before it is made: whoever finds this line after a crash knows what to undo";
            shell: "echo '{line}' >> {}", self.path.display());
        line.push('\n');
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
        // One write of one line: a reader sees all of it or none.
        file.and_then(|mut file| file.write_all(line.as_bytes())).or_cannot("write to", self.path.display())
    }

    /// All changes noted so far, oldest first. A last line that was cut short was never acted upon and is left out.
    ///
    /// # Errors
    /// `EACCES` … by open(2); in words when a whole line is damaged.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::new("read", self.path.display(), error)),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let changes = whole.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>();
        changes.map_err(|error| error.to_string()).or_cannot("understand", self.path.display())
    }

    /// Undoes all changes, the last first, each by `undo`; tries every one and joins the failures.
    ///
    /// # Errors
    /// All that failed, in one error.
    pub fn undo(&self, mut undo: impl FnMut(&Change) -> Result<()>) -> Result<()> {
        let failures: Vec<String> = self
            .changes()?
            .iter()
            .rev()
            .filter_map(|change| undo(change).err().map(|error| nsutil::error::line(&error)))
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::new("undo", "all changes of the host", failures.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_undone_backwards_and_every_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(dir.path());
        for name in ["a", "b", "c"] {
            ledger.note(&Change::Link(name.to_owned())).unwrap();
        }
        let mut seen = Vec::new();
        let failed = ledger.undo(|change| {
            seen.push(change.clone());
            if *change == Change::Link("a".to_owned()) { Ok(()) } else { Err(Error::new("remove", "it", "no")) }
        });
        assert_eq!(seen, ["c", "b", "a"].map(|name| Change::Link(name.to_owned())));
        assert_eq!(nsutil::error::line(&failed.unwrap_err()).matches("cannot remove it: no").count(), 2);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_was_never_acted_upon() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(dir.path());
        ledger.note(&Change::Cgroup("eg".to_owned())).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join("ledger")).unwrap();
        file.write_all(b"{\"link\":\"eg-out").unwrap();
        assert_eq!(ledger.changes().unwrap(), [Change::Cgroup("eg".to_owned())]);
    }
}
