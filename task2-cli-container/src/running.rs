//! A container from its start to its end: waited for, and taken down whatever happens.

use std::convert::Infallible;
use std::path::Path;

use nsutil::cgroup::Cgroup;
use nsutil::error::Result;
use nsutil::process::{Child, Exit, PidFd, Report, kill_descendants, prepare_for_exec};

/// What a child does from its first instruction on: `work`, which ends in an execve(2) and so never returns. Its error goes
/// to the parent by `report`. The program is to find no descriptor and no blocked signal of this one.
pub fn in_child(report: Report, work: impl FnOnce() -> Result<Infallible>) -> i32 {
    report.run(|_| {
        prepare_for_exec()?;
        match work()? {}
    })
}

/// A container that runs. Dropped, it takes its processes and its cgroup along.
#[derive(Debug)]
pub struct Running {
    // They go in this order: when the cgroup's turn comes nobody is in it any more.
    child: Child,
    descendants: Descendants,
    limit: Option<Cgroup>,
}

/// Whatever the program has started itself. In a PID namespace it ends with process 1; 2a has none.
///
/// It falls to this process when its parent ends, see [`nsutil::process::become_subreaper`].
#[derive(Debug)]
struct Descendants;

impl Running {
    /// Takes charge of a container, when its child has become `container_prog`.
    ///
    /// # Errors
    /// The child's own, if it did not get that far.
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

    /// Waits for its first process's end, then takes the rest down.
    ///
    /// # Errors
    /// The first of: the child's, one of ending what it has left, one of removing the cgroup. All are tried.
    pub fn finish(self) -> Result<Exit> {
        let Self { child, descendants, limit } = self;
        let exit = child.wait();
        let ended = descendants.end();
        let removed = limit.map_or(Ok(()), Cgroup::remove);
        exit.and_then(|exit| ended.and(removed).map(|()| exit))
    }

    /// Kills all its processes and takes it down.
    ///
    /// # Errors
    /// As [`Running::finish`].
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
        // Who wants to know calls `end`.
        let _ = self.end();
    }
}
