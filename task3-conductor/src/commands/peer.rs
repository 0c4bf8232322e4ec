//! `conductor peer A B`: let two containers talk to each other.

use std::process::ExitCode;

use nsutil::Result;

use crate::network::peer::make_peers;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Let two containers talk to each other, in both directions and by name
#[derive(clap::Args)]
#[command(after_help = "Example:\n  conductor peer web db")]
pub struct Peer {
    /// One of them
    one: ContainerName,
    /// The other
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
