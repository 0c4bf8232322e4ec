//! One at a time: an orchestrator waits for its turn, and for commands that a killed one left half-way.
//!
//! Whoever is killed with SIGKILL cannot say what it had begun. The kernel can: the turn is a lock on a file
//! (`.services/turn`), and each command that changes something has that file as its stdin. The file is empty, so reading
//! it says "end of input", as /dev/null does; but the lock is held as long as anybody has the file open in this way. So it
//! is free when the orchestrator *and* the command it had just started have ended, and not before.
//!
//! Look: `lslocks`, `ls -l /proc/PID/fd`. Manual: flock(2), open(2) for what an open file description is.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nsutil::error::{Error, OrCannot, Result};
use rustix::fs::{FlockOperation, flock};

use crate::holders::{end, holding};

/// How long is waited for another's command.
const PATIENCE: Duration = Duration::from_secs(15);

/// The right to change the deployment; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    file: File,
}

impl Turn {
    /// Waits until nobody else changes the deployment whose notes are in `folder`.
    ///
    /// # Errors
    /// When another orchestrator is at work and goes on; when the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("turn");
        let begin = Instant::now();
        loop {
            fs::create_dir_all(folder).or_cannot("make folder", folder.display()).map_err(why_refused)?;
            let file = File::options().create(true).truncate(false).write(true).read(true).open(&path);
            let file = file.or_cannot("open", path.display()).map_err(why_refused)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Whoever had it before may have removed it with the whole deployment.
                if is_at(&file, &path) {
                    return Ok(Self { file });
                }
            } else if begin.elapsed() > PATIENCE {
                let commands = holding(&file, &[0])?;
                if commands.is_empty() {
                    let busy = Error::new("begin", "", "another service-orchestrator is at work here");
                    return Err(busy.hint("wait for it or end it"));
                }
                end(&commands)?;
            }
            // The kernel would wake us when the lock is free, but not when it is time to stop waiting.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a command gets as its stdin, so that its turn lasts until it has ended.
    ///
    /// # Errors
    /// `EMFILE` when too many files are open.
    pub fn pass_on(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().or_cannot("pass on", "the turn")?.into())
    }
}

/// Adds to a refusal what a user can do about it.
fn why_refused(error: Error) -> Error {
    let refused = Some(rustix::io::Errno::ACCESS.raw_os_error());
    if error.errno().map(|errno| errno as i32) == refused { error.hint("it takes root: try with sudo") } else { error }
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(there)) if same(&open, &there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_turn_lasts_until_the_last_command_has_ended_and_a_removed_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let turn = Turn::take(folder.path()).unwrap();
        let is_free = || {
            let file = File::open(folder.path().join("turn")).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        let mut command = Command::new("sleep").arg("infinity").stdin(turn.pass_on().unwrap()).spawn().unwrap();
        drop(turn);
        assert!(!is_free(), "the command is at work");
        command.kill().unwrap();
        command.wait().unwrap();
        assert!(is_free());
        fs::remove_dir_all(folder.path()).unwrap();
        drop(Turn::take(folder.path()).unwrap());
        assert!(is_free());
    }
}
