//! The ledger: a write-ahead log of every change of the host, undone in reverse.
//!
//! A command can be killed between any two system calls. Its changes must be found again: a mount, a network link, a
//! firewall chain, a cgroup, a sysctl. So it first writes a line that names the change, then makes it. Undoing reads
//! the lines in reverse and checks the kernel for each: a change that was never made, or is already undone, is skipped.
//! All lines are tried, and every failure is reported. Damaged lines are skipped.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result};
use nsutil::step;
use serde::{Deserialize, Serialize};

use crate::spec::name::ContainerName;
use crate::store::record::ProcessIdentity;

/// One change of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A mount on the host's side.
    Mount(PathBuf),
    /// A cgroup by its name under conductor's own.
    Cgroup(String),
    /// A process that belongs to this container: its monitor or first process.
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
    /// Another container whose rules and hosts file refer to this one.
    Peer(ContainerName),
    /// A sysctl and its previous value; restored when no other container needs it.
    Sysctl {
        /// Path under /proc/sys.
        key: PathBuf,
        /// What it was.
        before: String,
        /// What depended on it then, see the module `network`.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        found: BTreeSet<String>,
    },
    /// Not a change: all previous lines about the network have been undone.
    NetworkGivenBack,
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

    /// Records a change that is about to be made.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS` …: then the change must not be made.
    pub fn note(&self, change: &Change) -> Result<()> {
        let mut line =
            serde_json::to_string(change).map_err(|error| error.to_string()).or_cannot("note", "a change")?;
        step!("ledger", call: "write(\"{}\", {line})", self.path.display();
            why: "written before the change: after a crash the next command knows what to undo";
            shell: "echo '{line}' >> {}", self.path.display());
        line.push('\n');
        let flags = NO_FOLLOW;
        let file =
            OpenOptions::new().create(true).read(true).append(true).mode(0o600).custom_flags(flags).open(&self.path);
        let mut file = file.or_cannot("open", self.path.display())?;
        truncate_partial_line(&mut file)
            // One write of one line: a reader sees all of it or none.
            .and_then(|()| file.write_all(line.as_bytes()))
            .or_cannot("write to", self.path.display())
    }

    /// All changes, oldest first. A truncated last line was never acted upon and is ignored.
    ///
    /// # Errors
    /// `EACCES` … by open(2); in words when a whole line is damaged.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let text = self.text()?;
        let changes = whole_lines(&text).map(serde_json::from_slice).collect::<std::result::Result<_, _>>();
        changes.map_err(|error| error.to_string()).or_cannot("understand", self.path.display())
    }

    /// The readable changes, for undoing them; damaged lines are skipped.
    pub fn readable_changes(&self) -> Vec<Change> {
        let text = self.text().unwrap_or_default();
        whole_lines(&text).filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Undoes all readable changes in reverse with `undo`; tries every one and combines the failures.
    ///
    /// # Errors
    /// All that failed, in one error.
    pub fn undo(&self, undo: impl FnMut(&Change) -> Result<()>) -> Result<()> {
        let changes = self.readable_changes();
        Error::all("undo", "all changes of the host", changes.iter().rev().map(undo))
    }

    fn text(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(&self.path) {
            Ok(mut file) => file.read_to_end(&mut text).or_cannot("read", self.path.display())?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::new("read", self.path.display(), error)),
        };
        Ok(text)
    }
}

/// Symbolic links in place of the file are not followed.
const NO_FOLLOW: i32 = nix::libc::O_NOFOLLOW;

/// Removes a partial last line, left by a full disk, which would be joined with the next line.
fn truncate_partial_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == [b'\n'] {
        return Ok(());
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)
}

fn whole_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_undone_in_reverse_and_every_failure_is_reported() {
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
    fn a_truncated_last_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(dir.path());
        ledger.note(&Change::Cgroup("eg".to_owned())).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join("ledger")).unwrap();
        file.write_all(b"{\"link\":\"eg-out").unwrap();
        assert_eq!(ledger.changes().unwrap(), [Change::Cgroup("eg".to_owned())]);
        ledger.note(&Change::Cgroup("other".to_owned())).unwrap();
        assert_eq!(ledger.changes().unwrap(), ["eg", "other"].map(|name| Change::Cgroup(name.to_owned())));
    }

    #[test]
    fn a_damaged_line_fails_reading_and_is_skipped_when_undoing() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(dir.path());
        ledger.note(&Change::Cgroup("eg".to_owned())).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join("ledger")).unwrap();
        file.write_all(b"\xff\n").unwrap();
        ledger.note(&Change::Link("eg-outside".to_owned())).unwrap();
        assert!(nsutil::error::line(&ledger.changes().unwrap_err()).contains("cannot understand "));
        assert_eq!(ledger.readable_changes(), [Change::Cgroup("eg".to_owned()), Change::Link("eg-outside".to_owned())]);
    }
}
