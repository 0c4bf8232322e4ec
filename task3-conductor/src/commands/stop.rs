//! `conductor stop NAME`: end a container and give back all it held.

use std::process::ExitCode;

use nsutil::error::{Result, line};

use crate::cli::say;
use crate::failure::remark;
use crate::ledger::Ledger;
use crate::name::ContainerName;
use crate::runtime::teardown;
use crate::store::Store;

/// End a container and remove everything it held
#[derive(clap::Args)]
pub struct Stop {
    /// Container to stop
    name: ContainerName,
    /// How long its first process may take to end when asked
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=60))]
    time: u16,
}

impl Stop {
    /// Asks its first process to end, waits, and takes everything back.
    ///
    /// # Errors
    /// In words when there is no such container; all that could not be taken back.
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let lock = store.lock_container(&self.name)?;
        // A container that was never finished, or whose record is damaged, has no first process to ask.
        if let Ok(record) = store.container(&self.name) {
            if let Some(init) = record.running()? {
                if let Some(why) = teardown::end_first_process(&init, self.time * 1000)? {
                    remark(format_args!("{} was killed, not asked: {why}", self.name));
                }
            }
        }
        let damage = Ledger::of(&store.container_dir(&self.name)).changes().err();
        teardown::take_back(store, &self.name, lock)?;
        if let Some(damage) = damage {
            remark(format_args!(
                "{}: what it said of settings is lost, see `sysctl net.ipv4.ip_forward`; all else was given back",
                line(&damage)
            ));
        }
        say(&format!("{} succesfully removed\n", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
