//! `conductor pause NAME…`, `conductor unpause NAME…`: suspend and resume a container.

use std::process::ExitCode;

use nsutil::Result;

use super::each;
use crate::container::cgroup;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Suspend all processes of containers; `unpause` resumes them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor pause web
  conductor pause web && conductor commit web snapshot; conductor unpause web")]
pub struct Pause {
    /// Containers to pause
    #[arg(required = true)]
    names: Vec<ContainerName>,
}

/// Resume the processes of paused containers
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor unpause web")]
pub struct Unpause {
    /// Containers to resume
    #[arg(required = true)]
    names: Vec<ContainerName>,
}

impl Pause {
    /// Freezes each.
    ///
    /// # Errors
    /// When a container does not exist or has exited; the others are paused.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| freeze(store, name, "pause", true))
    }
}

impl Unpause {
    /// Thaws each.
    ///
    /// # Errors
    /// When a container does not exist or has exited; the others are resumed.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| freeze(store, name, "resume", false))
    }
}

fn freeze(store: &Store, name: &ContainerName, attempt: &str, frozen: bool) -> Result<()> {
    store.running_container(name, attempt)?;
    cgroup::of(&store.tag(name))?.freeze(frozen).map_err(|error| match error.errno() {
        // Without a v2 tree.
        None => error.hint("`conductor kill -s STOP NAME` suspends only the first process"),
        Some(_) => error,
    })?;
    say(&format!("{name}\n"))
}
