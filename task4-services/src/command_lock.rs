//! One at a time: an orchestrator waits for its turn, and for commands that a killed one left half-way.
//!
//! Whoever is killed with SIGKILL cannot say what it had begun. The kernel can: the turn is a lock on a file
//! (`.services/lock`), and each command that changes something has that file as its stdin. The file is empty, so reading
//! it says "end of input", as /dev/null does; but the lock is held as long as anybody has the file open in this way. So it
//! is free when the orchestrator *and* the command it had just started have ended, and not before.
//!
//! Whose turn it was tells the list of locks: when that one lives, it is left alone with its commands.
//!
//! Look: `lslocks`, `ls -l /proc/PID/fd`. Manual: flock(2), open(2) for what an open file description is.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nsutil::error::{Error, OrCannot, Result};
use rustix::fs::{FlockOperation, flock};

use crate::holders::{end, holding, taker_of_lock};

/// How long is waited for another's command.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long no command must have been seen before that is believed: between two looks one may end, or have its stdin
/// elsewhere for a moment, as a shell does while it redirects.
const SILENCE: Duration = Duration::from_secs(3);

/// The right to change the deployment; given back when dropped.
#[derive(Debug)]
pub struct CommandLock {
    file: File,
}

impl CommandLock {
    /// Waits until nobody else changes the deployment whose notes are in `folder`.
    ///
    /// # Errors
    /// When another orchestrator is at work and goes on; when the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        Self::take_within(folder, PATIENCE)
    }

    fn take_within(folder: &Path, patience: Duration) -> Result<Self> {
        let path = folder.join("lock");
        // Nobody is looked for before.
        let mut silent_since = Instant::now() + patience;
        loop {
            fs::create_dir_all(folder).or_cannot("make folder", folder.display()).map_err(why_refused)?;
            let file = File::options().create(true).truncate(false).write(true).read(true).open(&path);
            let file = file.or_cannot("open", path.display()).map_err(why_refused)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Whoever had it before may have removed it with the whole deployment.
                if is_at(&file, &path) {
                    return Ok(Self { file });
                }
            } else if Instant::now() > silent_since {
                if let Some(process) = taker_of_lock(&file)? {
                    let what = format!("another service-orchestrator, process {process}, is at work here");
                    return Err(Error::new("begin", "", what).hint("wait for it or end it"));
                }
                let commands = holding(&file, &[0])?;
                if !commands.is_empty() {
                    end(&commands)?;
                    silent_since = Instant::now();
                } else if silent_since.elapsed() > SILENCE {
                    let what = "an earlier service-orchestrator was killed, and a command of it goes on";
                    return Err(Error::new("begin", "", what).hint(format!("see it by: fuser -v {}", path.display())));
                }
            }
            // The kernel would wake us when the lock is free, but not when it is time to stop waiting.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a command gets as its stdin, so that its turn lasts until it has ended.
    ///
    /// # Errors
    /// `EMFILE` when too many files are open.
    pub fn inherit(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().or_cannot("pass on", "the turn")?.into())
    }
}

/// Adds to a refusal what a user can do about it.
fn why_refused(error: Error) -> Error {
    let refused = Some(rustix::io::Errno::ACCESS.raw_os_error());
    if error.errno().map(|errno| errno as i32) == refused {
        error.hint("this requires root: try with sudo")
    } else {
        error
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(there)) if same(&open, &there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    use nsutil::error;
    use rustix::process::Pid;

    #[test]
    fn a_turn_lasts_until_the_last_command_has_ended_and_a_removed_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let lock = CommandLock::take(folder.path()).unwrap();
        let is_free = || {
            let file = File::open(folder.path().join("lock")).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        let mut command = Command::new("sleep").arg("infinity").stdin(lock.inherit().unwrap()).spawn().unwrap();
        drop(lock);
        assert!(!is_free(), "the command is at work");
        command.kill().unwrap();
        command.wait().unwrap();
        assert!(is_free());
        fs::remove_dir_all(folder.path()).unwrap();
        drop(CommandLock::take(folder.path()).unwrap());
        assert!(is_free());
    }

    /// The turn of one that is dead: flock(1) took it and ended, and a command of it holds it.
    fn left_to(folder: &Path, command: &str) -> String {
        let script = format!("exec 5<>lock; flock 5; {command} & echo $!");
        let mut bash = Command::new("bash");
        let bash = bash.args(["-c", &script]).current_dir(folder).stderr(Stdio::inherit()).output().unwrap();
        String::from_utf8(bash.stdout).unwrap().trim().to_owned()
    }

    fn is_alive(process: &str) -> bool {
        fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_command_of_a_dead_one_is_ended_and_one_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let left = left_to(folder.path(), "sleep infinity <&5 >/dev/null 5<&-");
        let lock = CommandLock::take_within(folder.path(), Duration::ZERO).unwrap();
        assert!(!is_alive(&left));
        let mut command = Command::new("sleep").arg("infinity").stdin(lock.inherit().unwrap()).spawn().unwrap();
        let refused = error::line(&CommandLock::take_within(folder.path(), Duration::ZERO).unwrap_err());
        let lives = is_alive(&command.id().to_string());
        command.kill().unwrap();
        command.wait().unwrap();
        assert!(lives);
        assert!(refused.contains(&format!("process {}, is at work here", std::process::id())), "{refused}");
    }

    #[test]
    fn a_command_that_has_the_turn_elsewhere_than_at_its_stdin_is_waited_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        left_to(folder.path(), "sleep 1 </dev/null >/dev/null");
        drop(CommandLock::take_within(folder.path(), Duration::ZERO).unwrap());
        let left = left_to(folder.path(), "sleep infinity </dev/null >/dev/null");
        let refused = error::line(&CommandLock::take_within(folder.path(), Duration::ZERO).unwrap_err());
        end(&[Pid::from_raw(left.parse().unwrap()).unwrap()]).unwrap();
        assert!(
            refused.contains("an earlier service-orchestrator was killed, and a command of it goes on"),
            "{refused}"
        );
    }
}
