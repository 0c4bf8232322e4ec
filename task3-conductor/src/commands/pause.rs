//! `conductor pause NAME…`, `conductor unpause NAME…`: let a container stand still, and go on.

use std::process::ExitCode;

use nsutil::Result;

use super::each;
use crate::container::cgroup;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Let all processes of containers stand still; `unpause` lets them go on
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor pause web
  conductor pause web && conductor commit web snapshot; conductor unpause web")]
pub struct Pause {
    /// Containers to pause
    #[arg(required = true)]
    names: Vec<ContainerName>,
}

/// Let the processes of paused containers go on
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor unpause web")]
pub struct Unpause {
    /// Containers that go on
    #[arg(required = true)]
    names: Vec<ContainerName>,
}

impl Pause {
    /// Freezes each.
    ///
    /// # Errors
    /// When one of them is not there or has ended; the others are paused.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| freeze(store, name, "pause", true))
    }
}

impl Unpause {
    /// Thaws each.
    ///
    /// # Errors
    /// When one of them is not there or has ended; the others go on.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| freeze(store, name, "let go on", false))
    }
}

fn freeze(store: &Store, name: &ContainerName, attempt: &str, frozen: bool) -> Result<()> {
    store.running_container(name, attempt)?;
    cgroup::of(&store.tag(name))?.freeze(frozen).map_err(|error| match error.errno() {
        // Without a v2 tree.
        None => error.hint("`conductor kill -s STOP NAME` holds the first process alone"),
        Some(_) => error,
    })?;
    say(&format!("{name}\n"))
}
