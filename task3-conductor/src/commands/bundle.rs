//! `conductor bundle NAME DIR`: a container for runc.

use std::path::PathBuf;
use std::process::ExitCode;

use nsutil::error::Result;

use crate::oci;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Write a container as an OCI runtime bundle: what it was asked to be, for runc, crun and others
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor bundle web /tmp/web && cd /tmp/web && runc run web
  conductor bundle web web && jq .linux.seccomp web/config.json
Its files are copied as they are now: pause it first, if it runs. What no bundle can say is left out: --init, and its network.")]
pub struct Bundle {
    /// Container to describe
    name: ContainerName,
    /// Folder to make
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Bundle {
    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// In words when there is no such container; those of [`oci::bundle::bundle`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let _held = store.lock_container(&self.name)?;
        let record = store.container(&self.name)?;
        oci::bundle::bundle(store, &record, &self.directory)?;
        say(&format!("Wrote container {} to {}\n", self.name, self.directory.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
