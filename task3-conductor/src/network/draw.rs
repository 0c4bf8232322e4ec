//! A picture of the containers' networks as the kernel has them at this moment: links and addresses from netlink(7),
//! permissions from the firewall's rules.
//!
//! Nothing is drawn from the configuration alone. What it asks for and the kernel lacks is drawn as missing.
//!
//! Look: `conductor network draw`, then `ip address`, `iptables -S`, `iptables -t nat -S`.

mod svg;
mod text;

use std::fmt;
use std::net::Ipv4Addr;

use nsutil::error::{OrCannot, Result};
use nsutil::net::nat::{Firewall, Table, option_value};
use nsutil::net::netns::NetNs;
use nsutil::net::{Netlink, sysctl};

use super::check::check_parts;
use super::{IP_FORWARD, Networks, release_ended, rules};
use crate::spec::name::ContainerName;
use crate::store::Store;

/// The networks of all running containers, and their host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    host: String,
    forwards: bool,
    /// The link of its default route.
    uplink: Option<String>,
    containers: Vec<Container>,
}

/// One container's network.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    name: ContainerName,
    outside: End,
    inside: End,
    permitted: Vec<Path>,
    /// What is asked for, and not there.
    missing: Vec<String>,
}

/// One end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    link: String,
    /// Whether it carries packets.
    is_up: bool,
    addresses: Vec<(Ipv4Addr, u8)>,
}

/// Packets that the firewall lets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Path {
    /// To another container.
    Peer(ContainerName),
    /// To other machines: through this interface, or any.
    Internet(Option<String>),
    /// From a port of the host, to an address and port inside.
    Port { host: String, inside: String },
}

impl Picture {
    /// Looks at the kernel.
    ///
    /// # Errors
    /// Those of netlink(7) and of the firewall tool.
    pub fn take(store: &Store) -> Result<Self> {
        release_ended(store)?;
        let _networks_lock = store.lock_networks()?;
        let networks = Networks::load(store)?;
        let mut containers = Vec::new();
        for (name, record) in &networks.all {
            let Some(init) = store.container(name)?.running()? else { continue };
            let firewall = Firewall::of(record.firewall)?;
            let found = check_parts(store, &networks, name, record, &init, &firewall)?;
            containers.push(Container {
                name: name.clone(),
                outside: End::look(rules::host_link(name))?,
                inside: NetNs::of(&init).run(|| End::look(rules::container_link(name)))?,
                permitted: permitted(name, &networks, &firewall)?,
                missing: found.into_iter().filter(|(_, is_there)| !is_there).map(|(what, _)| what).collect(),
            });
        }
        Ok(Self {
            host: nix::unistd::gethostname().or_cannot("get", "the host name")?.to_string_lossy().into_owned(),
            forwards: sysctl::read(IP_FORWARD)? == "1",
            uplink: Netlink::open()?.default_interface()?,
            containers,
        })
    }

    /// Whether there is no container in it.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }
}

impl End {
    fn look(link: String) -> Result<Self> {
        let netlink = Netlink::open()?;
        Ok(Self { is_up: netlink.is_on(&link)?, addresses: netlink.addresses(&link)?, link })
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.link)?;
        self.addresses.iter().try_for_each(|(address, prefix)| write!(out, " {address}/{prefix}"))?;
        if self.is_up { Ok(()) } else { out.write_str(" (down)") }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(name) => write!(out, "reaches {name}"),
            Self::Internet(None) => out.write_str("reaches the internet"),
            Self::Internet(Some(interface)) => write!(out, "reaches the internet through {interface}"),
            Self::Port { host, inside } => write!(out, "is reached at port {host} of the host, its {inside}"),
        }
    }
}

/// What the container's own chains let through.
fn permitted(name: &ContainerName, networks: &Networks, firewall: &Firewall) -> Result<Vec<Path>> {
    let (link, chain) = (rules::host_link(name), rules::chain(name));
    let nat = firewall.rules(Table::Nat)?;
    let port = |rule: &str| {
        let to = option_value(rule, "--to-destination").filter(|_| option_value(rule, "-j") == Some("DNAT"))?;
        let protocol = option_value(rule, "-p")?;
        let at = option_value(rule, "-d").map_or(String::new(), |at| format!("{}:", at.trim_end_matches("/32")));
        let host = format!("{at}{}/{protocol}", option_value(rule, "--dport")?);
        Some(Path::Port { host, inside: to.rsplit(':').next()?.to_owned() })
    };
    let filter = firewall.rules(Table::Filter)?;
    let forwarded = |rule: &str| {
        // A rule about a published port names the port.
        if option_value(rule, "-i") != Some(&link) || option_value(rule, "--ctorigdstport").is_some() {
            return None;
        }
        match (option_value(rule, "-j")?, option_value(rule, "-o")) {
            (target, None) if target == rules::internet_chain() => Some(Path::Internet(None)),
            ("ACCEPT", Some(out)) => {
                let peer = networks.all.keys().find(|peer| rules::host_link(peer) == out);
                Some(peer.map_or_else(|| Path::Internet(Some(out.to_owned())), |peer| Path::Peer(peer.clone())))
            }
            _ => None,
        }
    };
    let mut paths: Vec<Path> = nat.of_chain(&chain).filter_map(port).collect();
    paths.extend(filter.of_chain(&chain).filter_map(forwarded));
    Ok(paths)
}
