//! `down`: removes a deployment in any state, also after an orchestrator was killed.

use std::time::Duration;

use nsutil::error::{Error, OrCannot, Result, line};

use crate::command_lock::CommandLock;
use crate::deployment::{Deployment, wait};
use crate::holders::end;

/// How long a container that is being created may take.
const START_GRACE: Duration = Duration::from_secs(10);
/// How long processes that write to the log may take to end after their container.
const GRACE: Duration = Duration::from_secs(2);

impl Deployment {
    /// # Lesson 4.d (5 marks): take everything down, in whatever state it is
    ///
    /// Take the `lock`, so that no `up` runs meanwhile. Remove every container, the last created first, and the image
    /// too if requested (otherwise it stays for the next `up`). Try all of them, even if one fails. Then return every
    /// failure or, if there was none, remove the folder of our `notes`.
    ///
    /// Checks: down.gone
    ///
    /// You may want: [`CommandLock::take`], and the methods below
    ///
    /// # Errors
    /// All failures; calling it again removes what is left.
    pub fn down(&self, with_image: bool) -> Result<()> {
        let lock = CommandLock::take(&self.conductor.notes())?;
        let services = self.spec.services.iter().rev();
        let mut outcomes: Vec<Result<()>> = services.map(|service| self.remove(&lock, &service.name)).collect();
        if with_image {
            outcomes.push(self.remove_image(&lock));
        }
        let failures: Vec<String> = outcomes.into_iter().filter_map(|it| it.err().map(|error| line(&error))).collect();
        if !failures.is_empty() {
            return Err(Error::new("take down", "the deployment", failures.join("; ")));
        }
        let notes = self.conductor.notes();
        std::fs::remove_dir_all(&notes).or_cannot("remove", notes.display())
    }

    fn remove(&self, lock: &CommandLock, name: &str) -> Result<()> {
        let writers = || self.conductor.writers(name);
        // A killed orchestrator may have started a `run` that has not created its container yet, and not every tool can
        // stop a half-created container.
        wait(START_GRACE, || Ok(self.conductor.is_running(name) || writers()?.is_empty()))?;
        self.stop_if_there(lock, name)?;
        wait(GRACE, || Ok(writers()?.is_empty()))?;
        let left = writers()?;
        if left.is_empty() {
            return Ok(());
        }
        end(&left)?;
        self.stop_if_there(lock, name)
    }

    fn stop_if_there(&self, lock: &CommandLock, name: &str) -> Result<()> {
        if !self.conductor.has_container(name)? {
            return Ok(());
        }
        self.conductor.stop(lock, name, "ends its processes and gives back what it had of the host")
    }

    fn remove_image(&self, lock: &CommandLock) -> Result<()> {
        if self.conductor.has_image(&self.spec.image)? {
            self.conductor.command(lock, &["rmi", &self.spec.image], "nothing is made from it any more")?;
        }
        Ok(())
    }
}
