//! `conductor rm NAME…`: remove containers that have exited.

use std::process::ExitCode;

use nsutil::error::{Error, Result};

use super::each;
use crate::container::stop;
use crate::output::failure::Failure;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Remove containers that have exited; `stop` stops and removes them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor rm once
  conductor rm -f web db")]
pub struct Rm {
    /// Containers to remove
    #[arg(required = true)]
    names: Vec<ContainerName>,
    /// Also running containers: they are killed
    #[arg(short, long)]
    force: bool,
}

impl Rm {
    /// Removes each of them.
    ///
    /// # Errors
    /// When a container does not exist or is running; the others are removed.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        each(&self.names, |name| self.remove(store, name))
    }

    fn remove(&self, store: &Store, name: &ContainerName) -> Result<()> {
        let lock = store.lock_container(name)?;
        // A container without a readable record is unfinished or damaged; nothing of it is running on purpose.
        let init = store.container(name).map_or(Ok(None), |record| record.running())?;
        match init {
            Some(_) if !self.force => {
                let runs = Error::new("remove", format_args!("container {name}"), "its first process runs");
                return Err(runs.hint(format_args!("`conductor stop {name}` stops and removes it; -f kills it")));
            }
            Some(init) => stop::kill_init(&init)?,
            None => (),
        }
        stop::tear_down(store, name, lock)?;
        say(&format!("{name} succesfully removed\n"))
    }
}
