//! `conductor peer A B`: let two containers reach each other.

use std::process::ExitCode;

use nsutil::Result;

use crate::network::peer::make_peers;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Let two containers reach each other, in both directions and by name
#[derive(clap::Args)]
#[command(after_help = "Example:\n  conductor peer web db")]
pub struct Peer {
    /// First container
    one: ContainerName,
    /// Second container
    other: ContainerName,
}

impl Peer {
    /// Makes them peers.
    ///
    /// # Errors
    /// Those of [`make_peers`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        make_peers(store, &self.one, &self.other)?;
        Ok(ExitCode::SUCCESS)
    }
}
