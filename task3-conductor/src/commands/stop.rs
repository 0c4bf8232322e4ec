//! `conductor stop NAME…`: end containers and give back all they held.

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

/// End containers and remove everything they held
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor stop web
  conductor stop -t 2 web db
  conductor stop --all")]
pub struct Stop {
    /// Containers to stop
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    names: Vec<ContainerName>,
    /// How long each first process may take to end when asked (`conductor kill` cuts it short)
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, allow_hyphen_values = true)]
    time: u16,
    /// All there are, also those that have ended
    #[arg(short, long)]
    all: bool,
}

impl Stop {
    /// Asks each first process to end, waits, and takes everything back.
    ///
    /// # Errors
    /// When one is not there, or something could not be taken back; the others are stopped.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let names = if self.all { store.containers()?.into_iter().map(|(name, _)| name).collect() } else { self.names };
        let patience = Duration::from_secs(self.time.into());
        each(&names, |name| stop(store, name, patience, self.all))
    }
}

fn stop(store: &Store, name: &ContainerName, patience: Duration, is_one_of_all: bool) -> Result<()> {
    let lock = match store.try_lock_container(name)? {
        Some(lock) => lock,
        // Another command was faster.
        None if is_one_of_all => return Ok(()),
        None => return Err(store.no_such_container(name)),
    };
    // A container that was never finished, or whose record is damaged, has no first process to ask.
    if let Ok(record) = store.container(name) {
        if let Some(init) = record.running()? {
            let cgroup = cgroup::of(&store.tag(name))?;
            if cgroup.is_frozen() {
                // Otherwise it could not do what it is asked to.
                cgroup.freeze(false)?;
            }
            if let Some(why) = stop::terminate_init(&init, patience)? {
                remark(format_args!("{name} was killed, not asked: {why}"));
            }
        }
    }
    let damage = Ledger::of(&store.container_dir(name)).changes().err();
    stop::tear_down(store, name, lock)?;
    if let Some(damage) = damage {
        remark(format_args!(
            "{}: what it said of settings is lost, see `sysctl net.ipv4.ip_forward`; all else was given back",
            line(&damage)
        ));
    }
    say(&format!("{name} succesfully removed\n"))
}
