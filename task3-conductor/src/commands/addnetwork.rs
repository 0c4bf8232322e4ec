//! `conductor addnetwork NAME`: give a running container a network.

use std::process::ExitCode;

use nsutil::Result;
use nsutil::net::address::Subnet;

use crate::network::attach::{Attachment, Request};
use crate::network::publish::Ports;
use crate::network::subnet;
use crate::output::failure::remark;
use crate::output::say;
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Give a running container a network; said again, it adds to what is there
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  conductor addnetwork web\n  conductor addnetwork web --internet --expose 3000:8080\n  \
    conductor addnetwork -e 8080-3000 web\n  conductor addnetwork web -e 127.0.0.1:3000:8080 -e 8000-8010:80-90"
)]
pub struct AddNetwork {
    /// Container to give it to
    name: ContainerName,
    /// Let it reach the internet, behind the host's address
    #[arg(short, long)]
    internet: bool,
    /// Have a port of the host lead to it, as HOST:CONTAINER or INNER-OUTER; ranges can stand for both, an address of the host before them, and /udp behind; can be repeated
    #[arg(short, long, value_name = "PORTS")]
    expose: Vec<Ports>,
    /// The host's only interface to the internet; whichever its routes name at that moment when empty
    #[arg(long, env = "CONDUCTOR_DEFAULT_IFC", default_value = "", hide_default_value = true, value_name = "NAME")]
    interface: String,
    /// Where subnets of 256 addresses are taken from, one for each container
    #[arg(long, env = "CONDUCTOR_SUBNET_POOL", default_value = "192.168.0.0/16", value_name = "SUBNET", value_parser = subnet::pool)]
    pool: Subnet,
}

impl AddNetwork {
    /// Chooses, says so, and makes it.
    ///
    /// # Errors
    /// Those of [`Attachment`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        let request = Request {
            internet: self.internet,
            publish: self.expose.into_iter().flat_map(|Ports(all)| all).collect(),
            interface: Some(self.interface).filter(|name| !name.is_empty()),
            pool: self.pool,
        };
        let restricted = request.interface.clone().filter(|_| request.internet);
        let attachment = Attachment::plan(store, &self.name, &request)?;
        say(&format!(
            "Setting up network '{}' with peer ip {}. Waiting for interface configuration to settle...\n",
            self.name,
            attachment.address()
        ))?;
        attachment.make()?;
        if let Some(interface) = restricted {
            remark(format_args!(
                "{} reaches the internet by {interface} alone, as DEFAULT_IFC in config.sh (--interface) says; when it is empty, by \
                 whichever interface the host's routes name",
                self.name
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
