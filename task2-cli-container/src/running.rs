//! A running container: waiting for its end, and cleaning up in every case.

use std::convert::Infallible;
use std::path::Path;

use nsutil::cgroup::Cgroup;
use nsutil::error::Result;
use nsutil::process::{Child, Exit, PidFd, Report, kill_descendants, prepare_for_exec};

/// The body of a child: runs `work`, which ends in execve(2) and so returns only an error; `report` sends that to the
/// parent. The new program inherits no descriptors except 0, 1 and 2, and no blocked signals.
pub fn in_child(report: Report, work: impl FnOnce() -> Result<Infallible>) -> i32 {
    report.run(|_| {
        prepare_for_exec()?;
        match work()? {}
    })
}

/// A running container. Dropping it kills its processes and removes its cgroup.
#[derive(Debug)]
pub struct Running {
    // Fields are dropped in this order, so the cgroup is empty when it is removed.
    child: Child,
    descendants: Descendants,
    limit: Option<Cgroup>,
}

/// Processes that the program started. In a PID namespace they end with process 1; 2a has no PID namespace.
///
/// When their parent exits, this process becomes their parent: see [`nsutil::process::become_subreaper`].
#[derive(Debug)]
struct Descendants;

impl Running {
    /// Waits until the child has executed `container_prog`, and takes ownership of the container.
    ///
    /// # Errors
    /// The child's error, if it failed before that.
    pub fn new(mut child: Child, limit: Option<Cgroup>) -> Result<Self> {
        child.ready()?;
        Ok(Self { child, descendants: Descendants, limit })
    }

    /// Its first process.
    pub fn process(&self) -> &PidFd {
        self.child.pidfd()
    }

    /// The directory that holds its limit, if that is in cgroup v1.
    pub fn limit_in_v1(&self) -> Option<&Path> {
        self.limit.as_ref().and_then(Cgroup::directory_in_v1)
    }

    /// Waits until its first process exits, then kills the others and removes the cgroup.
    ///
    /// # Errors
    /// The first error of: the child, killing the others, removing the cgroup. All steps are tried.
    pub fn finish(self) -> Result<Exit> {
        let Self { child, descendants, limit } = self;
        let exit = child.wait();
        let ended = descendants.end();
        let removed = limit.map_or(Ok(()), Cgroup::remove);
        exit.and_then(|exit| ended.and(removed).map(|()| exit))
    }

    /// Kills all its processes and removes the cgroup.
    ///
    /// # Errors
    /// Those of [`Running::finish`].
    pub fn abort(self) -> Result<()> {
        let Self { child, descendants, limit } = self;
        drop(child);
        let ended = descendants.end();
        limit.map_or(Ok(()), Cgroup::remove).and(ended)
    }
}

impl Descendants {
    fn end(&self) -> Result<()> {
        kill_descendants().map(drop)
    }
}

impl Drop for Descendants {
    fn drop(&mut self) {
        // Use `end` to get the error.
        let _ = self.end();
    }
}
