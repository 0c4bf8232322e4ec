//! A lock: one orchestrator at a time changes a deployment, also after another one was killed.
//!
//! An orchestrator that is killed by SIGKILL cannot record what it had begun. The kernel knows it: each command that
//! changes something has the locked file (`.services/lock`) as its stdin. The file is empty, so reading it returns end
//! of file, as for /dev/null. The lock lasts as long as any process has this open file description: it is free only
//! when the orchestrator *and* its last command have ended.
//!
//! /proc/locks names the process that took the lock. While that process lives, it and its commands are left alone.
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

/// How long to wait for another orchestrator's command.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long no command must have been found before giving up: between two checks a command may end, or have another
/// stdin for a moment, as a shell does while it redirects.
const SILENCE: Duration = Duration::from_secs(3);

/// The right to change the deployment; released when dropped.
#[derive(Debug)]
pub struct CommandLock {
    file: File,
}

impl CommandLock {
    /// Takes the lock of the deployment whose notes are in `folder`; waits while another orchestrator holds it.
    ///
    /// # Errors
    /// When another orchestrator keeps holding it; when the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        Self::take_within(folder, PATIENCE)
    }

    fn take_within(folder: &Path, patience: Duration) -> Result<Self> {
        let path = folder.join("lock");
        // Holders of the lock are looked up only after this time.
        let mut silent_since = Instant::now() + patience;
        loop {
            fs::create_dir_all(folder).or_cannot("make folder", folder.display()).map_err(why_refused)?;
            let file = File::options().create(true).truncate(false).write(true).read(true).open(&path);
            let file = file.or_cannot("open", path.display()).map_err(why_refused)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // The previous holder may have removed the file with the deployment.
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
            // Poll: a blocking flock(2) has no timeout.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The stdin for a command, so that the lock is held until the command has ended.
    ///
    /// # Errors
    /// `EMFILE` when too many files are open.
    pub fn inherit(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().or_cannot("pass on", "the turn")?.into())
    }
}

/// Adds a hint to `EACCES`.
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

    /// The lock of a dead orchestrator: flock(1) took it and exited, and its command still holds it.
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
