//! The cable between a container and the host: laid, given addresses, and told where to send what.
//!
//! The pair is made *inside* the container's network namespace, with the other end put into the host's: a descriptor of
//! the container's first process opens the one, our own the other, so neither can turn out to be a stranger's.
//!
//! Look: `ip -details address show type veth`, `conductor exec NAME -- ip route`. Manual: veth(4), rtnetlink(7).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nsutil::error::{Error, OrCannot, Result};
use nsutil::net::address::Subnet;
use nsutil::net::link::{Veth, VethNames};
use nsutil::net::nat::{Firewall, Table};
use nsutil::net::netns::{NetNs, OwnNetNs};
use nsutil::net::{Netlink, conntrack, sysctl};
use nsutil::process::PidFd;

use super::publish::{Protocol, PublishedPort, listening_process};
use super::{
    NetworkRecord, Networks, Uplink, all, chains, foreign_traffic, not_undone, note, note_forwarding, refresh_names,
    release_ended_locked, release_locked, rules, start_forwarding, subnet,
};
use crate::hosts_file;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::{Change, Ledger};
use crate::store::lock::Lock;

/// Where the host is the way to, inside, whatever else is asked for (besides the pool, if that is another one).
const LAB_NETWORK: &str = "192.168.0.0/16";

/// What is asked for; it is added to what the container has already.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether it may reach what is beyond the host.
    pub internet: bool,
    /// Ports of the host that shall lead to it.
    pub publish: Vec<PublishedPort>,
    /// The host's only interface to the world; none is whichever the host's routes name at that moment.
    pub interface: Option<String>,
    /// Where subnets are taken from.
    pub pool: Subnet,
}

/// A network that was thought through and can be made. Until then nothing is changed.
#[derive(Debug)]
pub struct Attachment<'a> {
    store: &'a Store,
    name: &'a ContainerName,
    init: PidFd,
    pool: Subnet,
    /// What it had before, if it had a network.
    before: Option<NetworkRecord>,
    wanted: NetworkRecord,
    networks: Networks,
    // Two containers must not choose the same subnet, nor one be stopped while its cable is laid.
    _networks_lock: Lock,
    _container_lock: Lock,
}

impl<'a> Attachment<'a> {
    /// Chooses a subnet and makes sure that all that is asked for can be had.
    ///
    /// # Errors
    /// In words: when the container has ended, no subnet is free, a port is in use, there is no way out, or a link of
    /// its name is somebody else's.
    pub fn plan(store: &'a Store, name: &'a ContainerName, request: &Request) -> Result<Self> {
        let container_lock = store.lock_container(name)?;
        let Some(init) = store.container(name)?.running()? else {
            let ended = Error::new("add a network to", format_args!("container {name}"), "its first process has ended");
            return Err(ended.hint(format_args!("`conductor stop {name}` removes it; then it can be run again")));
        };
        let networks_lock = store.lock_networks()?;
        release_ended_locked(store)?;
        let dir = store.container_dir(name);
        let before = NetworkRecord::load(&dir)?;
        let networks = Networks::load(store)?;
        let netlink = Netlink::open()?;

        let mut wanted = match &before {
            Some(known) => known.clone(),
            None => {
                refuse_foreign_link(&netlink, name, &Ledger::of(&dir))?;
                // A route that is wider than the pool (a VPN's half of the internet) is for what has no better one.
                let mut taken = netlink.routed_subnets()?;
                taken.retain(|subnet| subnet.prefix() >= request.pool.prefix());
                taken.extend(networks.all.values().map(|record| record.subnet));
                NetworkRecord {
                    subnet: subnet::choose(request.pool, &taken)?,
                    internet: None,
                    published: Default::default(),
                    later_peers: Default::default(),
                    firewall: networks.firewall()?.backend(),
                }
            }
        };
        if request.internet {
            wanted.internet = Some(outgoing_interface(&netlink, request.interface.as_deref())?);
        }
        add_ports(&networks, name, &request.publish, &mut wanted)?;
        Ok(Self {
            store,
            name,
            init,
            pool: request.pool,
            before,
            wanted,
            networks,
            _networks_lock: networks_lock,
            _container_lock: container_lock,
        })
    }

    /// The address that the container will have.
    pub fn address(&self) -> Ipv4Addr {
        subnet::container_address(self.wanted.subnet)
    }

    /// Makes it so. What a killed command had begun is completed.
    ///
    /// # Errors
    /// The kernel's or the firewall tool's; then the network is as it was before.
    pub fn make(mut self) -> Result<()> {
        self.act().or_else(|error| {
            let undone = match self.before.take() {
                None => release_locked(self.store, self.name),
                Some(before) => {
                    self.wanted = before;
                    self.act()
                }
            };
            all(vec![Err(error), undone])
        })
    }

    fn act(&mut self) -> Result<()> {
        let (store, name) = (self.store, self.name);
        let dir = store.container_dir(name);
        let ledger = Ledger::of(&dir);
        self.wanted.save(&dir)?;
        note(&ledger, &Change::Link(rules::host_link(name)))?;
        chains(name).try_for_each(|chain| note(&ledger, &chain))?;
        self.networks.all.insert(name.clone(), self.wanted.clone());
        let forwarding = self.wanted.needs_forwarding(&self.networks.peers_of(name));
        let firewall = nsutil::net::nat::Firewall::of(self.wanted.firewall)?;
        if forwarding {
            note_forwarding(store, name, &firewall)?;
        }
        // The rules before the cable: there is no moment at which something passes that must not.
        let wanted = self.networks.permissions(name);
        rules::apply(&firewall, &[(name, wanted.as_ref())], foreign_traffic(store, None, &firewall)?)?;
        if forwarding {
            start_forwarding()?;
        }
        let veth = self.connect_veth()?;
        hosts_file::refresh_resolvers(&dir)?;
        refresh_names(store, &self.networks, name)?;
        // Who sends already would go on not to be led anywhere.
        let new =
            |publish: &&PublishedPort| !self.before.as_ref().is_some_and(|before| before.published.contains(*publish));
        let datagrams = self.wanted.published.iter().filter(|publish| publish.protocol == Protocol::Udp).filter(new);
        for publish in datagrams {
            conntrack::delete_by_udp_port(publish.host)?;
        }
        if let Some(veth) = veth {
            veth.keep();
        }
        Ok(())
    }

    /// # Lesson 3.c (10 marks): connect a container and its host with a veth pair
    ///
    /// A veth pair has two ends: [`rules::container_link`] in the container's network namespace, [`rules::host_link`] in the
    /// host's. Give each its address ([`Self::address`]; [`subnet::host_address`]) and an alias, the container's name.
    /// Switch both on, and `lo` in the container too; but `guard` the outer end before it is switched on. Wait until
    /// both are up; then tell the container that the host's address is the way to all of its `destinations`. What is
    /// done inside goes through [`NetNs::run`], with a [`Netlink`] that was opened there. A pair that is there already
    /// is completed; a new one is returned, and vanishes again unless it is kept. See veth(4), ip-link(8),
    /// ip-address(8), ip-route(8).
    ///
    /// Checks: net.pair net.reach
    ///
    /// You may want: [`OwnNetNs::open`], [`VethNames`], [`Netlink::find`], [`Netlink::add_veth`], [`Netlink::add_address`],
    /// [`subnet::PREFIX`], [`Netlink::set_alias`], [`Netlink::set_up`], [`Self::guard`], [`Netlink::wait_until_up`],
    /// [`Self::destinations`], [`Netlink::add_route`]
    fn connect_veth(&self) -> Result<Option<Veth>> {
        let (inside, outside) = (rules::container_link(self.name), rules::host_link(self.name));
        let (gateway, own) = (subnet::host_address(self.wanted.subnet), self.address());
        let container = NetNs::of(&self.init);
        let home = OwnNetNs::open()?;
        let veth = container.run(|| {
            let netlink = Netlink::open()?;
            let ends = VethNames { here: inside.clone(), there: outside.clone() };
            let veth = if netlink.find(&inside)?.is_none() { Some(netlink.add_veth(&ends, &home)?) } else { None };
            netlink.add_address(&inside, own, subnet::PREFIX)?;
            netlink.set_up(&inside)?;
            netlink.set_up("lo")?;
            netlink.set_alias(&inside, self.name.as_str())?;
            Ok(veth)
        })?;
        self.guard(&outside)?;
        let netlink = Netlink::open()?;
        netlink.add_address(&outside, gateway, subnet::PREFIX)?;
        netlink.set_up(&outside)?;
        netlink.set_alias(&outside, self.name.as_str())?;
        netlink.wait_until_up(&outside)?;
        container.run(|| {
            let netlink = Netlink::open()?;
            netlink.wait_until_up(&inside)?;
            self.destinations()?.into_iter().try_for_each(|to| netlink.add_route(to, gateway))
        })?;
        Ok(veth)
    }

    /// What may not pass the host's end of the cable, whatever the firewall says: before it is switched on.
    fn guard(&self, outside: &str) -> Result<()> {
        let conf = |family: &str, knob: &str| format!("net/{family}/conf/{outside}/{knob}");
        // A kernel without IPv6 has no such knob.
        if sysctl::exists(&conf("ipv6", "disable_ipv6")) {
            let why = "the firewall's rules are for IPv4, so nothing else may come by this cable";
            sysctl::write(&conf("ipv6", "disable_ipv6"), "1", why)?;
        }
        sysctl::write(&conf("ipv4", "rp_filter"), "1", "nobody on this cable may claim to be somebody else")?;
        let local = if self.wanted.published.is_empty() { "0" } else { "1" };
        if sysctl::read(&conf("ipv4", "route_localnet"))? != local {
            let why = "so that 127.0.0.1:PORT of the host can lead into the container";
            sysctl::write(&conf("ipv4", "route_localnet"), local, why)?;
        }
        Ok(())
    }

    /// What the container reaches by its host.
    fn destinations(&self) -> Result<Vec<Subnet>> {
        let lab: Subnet = LAB_NETWORK.parse().or_cannot("understand", LAB_NETWORK)?;
        let mut destinations = vec![lab];
        if self.pool != lab {
            destinations.push(self.pool);
        }
        // Answers to whoever comes by a published port need a way too; what may be begun, the firewall decides.
        if self.wanted.internet.is_some() || !self.wanted.published.is_empty() {
            destinations.extend(Subnet::containing(Ipv4Addr::UNSPECIFIED, 0));
        }
        Ok(destinations)
    }
}

/// A link of the name we would give to ours, that no command of ours has made.
fn refuse_foreign_link(netlink: &Netlink, name: &ContainerName, ledger: &Ledger) -> Result<()> {
    let link = rules::host_link(name);
    if netlink.find(&link)?.is_none() || not_undone(ledger.changes()?).contains(&Change::Link(link.clone())) {
        return Ok(());
    }
    let taken = Error::new("make link", &link, "there is one of that name, and it is not this container's");
    Err(taken
        .hint(format_args!("see `ip -details link show {link}`; another --root may have a container of the same name")))
}

/// The interface by which the world is to be reached.
fn outgoing_interface(netlink: &Netlink, asked: Option<&str>) -> Result<Uplink> {
    if let Some(asked) = asked {
        let known = netlink.find(asked)?.map(|_| Uplink::Interface(asked.to_owned()));
        return known.ok_or("there is none of that name").or_cannot("use interface", asked).map_err(|error| {
            error.hint("`ip route` shows the right one after `default … dev`; leave DEFAULT_IFC empty to have it found")
        });
    }
    let way = netlink.default_interface()?.map(|_| Uplink::Any);
    way.ok_or("this host has no default route").or_cannot("reach", "the internet").map_err(|error| {
        error.hint("connect the host first, or name an interface: DEFAULT_IFC in config.sh, or --interface")
    })
}

/// Adds the ports that it has not yet. None may lead to another container, of this store or another, or be one that a
/// program of the host listens on.
fn add_ports(
    networks: &Networks,
    name: &ContainerName,
    asked: &[PublishedPort],
    wanted: &mut NetworkRecord,
) -> Result<()> {
    let new: BTreeSet<PublishedPort> =
        asked.iter().copied().filter(|publish| !wanted.published.contains(publish)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let nat = Firewall::of(wanted.firewall)?.rules(Table::Nat)?;
    // Itself too: without a network yet, it is not among them.
    let own = networks.all.keys().chain([name]).cloned().collect();
    for publish in new {
        let listening_process = if let Some((other, known)) = networks.publisher(publish) {
            Some(format!("container {other} (published as {known})"))
        } else if let Some(other) = rules::publisher_of_another_store(&nat, &own, publish) {
            Some(format!("container {other} of another store (--root)"))
        } else if let Some(rule) = rules::conflicting_dnat(&nat, publish) {
            Some(format!("the firewall rule -t nat {rule}"))
        } else {
            listening_process(&publish)?
        };
        if let Some(listening_process) = listening_process {
            let taken = format!("port {} of the host is in use by {listening_process}", publish.host);
            return Err(Error::new("publish", publish, taken));
        }
        if let Some(same) = wanted.published.iter().find(|known| known.overlaps(&publish)) {
            return Err(Error::new("publish", publish, format!("{same} was asked for as well")));
        }
        wanted.published.insert(publish);
    }
    Ok(())
}
