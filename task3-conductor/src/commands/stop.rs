//! `conductor stop NAME…`: stop containers and remove them.

use std::process::ExitCode;
use std::time::Duration;

use nsutil::error::{Result, line};

use super::each;
use crate::container::cgroup;
use crate::container::stop;
use crate::output::failure::{Failure, remark};
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::Ledger;

/// Stop containers and remove them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor stop web
  conductor stop -t 2 web db
  conductor stop --all")]
pub struct Stop {
    /// Containers to stop
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    names: Vec<ContainerName>,
    /// Seconds to wait after SIGTERM before killing (`conductor kill` cuts it short)
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, allow_hyphen_values = true)]
    time: u16,
    /// Stop all containers, including exited ones
    #[arg(short, long)]
    all: bool,
}

impl Stop {
    /// Sends SIGTERM to each first process, waits, and removes the container.
    ///
    /// # Errors
    /// When a container does not exist, or part of it could not be removed; the others are stopped.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let names = if self.all { store.containers()?.into_iter().map(|(name, _)| name).collect() } else { self.names };
        let patience = Duration::from_secs(self.time.into());
        each(&names, |name| stop(store, name, patience, self.all))
    }
}

fn stop(store: &Store, name: &ContainerName, patience: Duration, is_one_of_all: bool) -> Result<()> {
    let lock = match store.try_lock_container(name)? {
        Some(lock) => lock,
        // Another command has removed it.
        None if is_one_of_all => return Ok(()),
        None => return Err(store.no_such_container(name)),
    };
    // An unfinished container, or one with a damaged record, has no known first process.
    if let Ok(record) = store.container(name) {
        if let Some(init) = record.running()? {
            let cgroup = cgroup::of(&store.tag(name))?;
            if cgroup.is_frozen() {
                // A frozen process cannot handle the signal.
                cgroup.freeze(false)?;
            }
            if let Some(why) = stop::terminate_init(&init, patience)? {
                remark(format_args!("{name} was killed without SIGTERM: {why}"));
            }
        }
    }
    let damage = Ledger::of(&store.container_dir(name)).changes().err();
    stop::tear_down(store, name, lock)?;
    if let Some(damage) = damage {
        remark(format_args!(
            "{}: recorded sysctl values are lost, check `sysctl net.ipv4.ip_forward`; everything else was removed",
            line(&damage)
        ));
    }
    say(&format!("{name} succesfully removed\n"))
}
