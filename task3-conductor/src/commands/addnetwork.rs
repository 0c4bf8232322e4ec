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

/// Connect a running container to the host's network; repeated, it adds to the existing connection
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  conductor addnetwork web\n  conductor addnetwork web --internet --expose 3000:8080\n  \
    conductor addnetwork -e 8080-3000 web\n  conductor addnetwork web -e 127.0.0.1:3000:8080 -e 8000-8010:80-90"
)]
pub struct AddNetwork {
    /// Container to connect
    name: ContainerName,
    /// Allow access to the internet, through NAT behind the host's address
    #[arg(short, long)]
    internet: bool,
    /// Publish a port of the host, as HOST:CONTAINER or INNER-OUTER; both can be ranges, an address of the host can
    /// precede and /udp can follow; can be repeated
    #[arg(short, long, value_name = "PORTS")]
    expose: Vec<Ports>,
    /// Use only this host interface for the internet; without it, whichever the routing table selects
    #[arg(long, env = "CONDUCTOR_DEFAULT_IFC", default_value = "", hide_default_value = true, value_name = "NAME")]
    interface: String,
    /// Address pool from which each container gets a subnet of 256 addresses
    #[arg(long, env = "CONDUCTOR_SUBNET_POOL", default_value = "192.168.0.0/16", value_name = "SUBNET", value_parser = subnet::pool)]
    pool: Subnet,
}

impl AddNetwork {
    /// Chooses an address, prints it, and creates the network.
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
                "{} reaches the internet only through {interface}, because DEFAULT_IFC in config.sh (--interface) is set; when it is empty, through \
                 whichever interface the routing table selects",
                self.name
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
