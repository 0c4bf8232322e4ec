//! Connects a container and the host by a veth pair, with addresses and routes.
//!
//! The pair is created *inside* the container's network namespace, with the other end in the host's: a pidfd of the
//! container's first process opens the one, our own namespace descriptor the other, so neither can be an unrelated one.
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

/// Always routed through the host inside a container (besides the pool, if that is another one).
const LAB_NETWORK: &str = "192.168.0.0/16";

/// Requested changes; they are added to an existing network.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether the container may reach the internet.
    pub internet: bool,
    /// Ports of the host to publish.
    pub publish: Vec<PublishedPort>,
    /// The only host interface to use for the internet; none is whichever the routing table selects.
    pub interface: Option<String>,
    /// Pool from which subnets are taken.
    pub pool: Subnet,
}

/// A planned network; nothing is changed yet.
#[derive(Debug)]
pub struct Attachment<'a> {
    store: &'a Store,
    name: &'a ContainerName,
    init: PidFd,
    pool: Subnet,
    /// Its network before, if it had one.
    before: Option<NetworkRecord>,
    wanted: NetworkRecord,
    networks: Networks,
    // Two containers must not choose the same subnet, nor may one be stopped while it is being connected.
    _networks_lock: Lock,
    _container_lock: Lock,
}

impl<'a> Attachment<'a> {
    /// Chooses a subnet and checks that the request can be fulfilled.
    ///
    /// # Errors
    /// In words: when the container has exited, no subnet is free, a port is in use, there is no default route, or a
    /// link of its name belongs to another owner.
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
                // A route wider than the pool (half of the internet through a VPN) does not conflict.
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

    /// Applies the plan. It completes what a killed command has begun.
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
        // Rules before the link: forbidden packets never pass, not even for a moment.
        let wanted = self.networks.permissions(name);
        rules::apply(&firewall, &[(name, wanted.as_ref())], foreign_traffic(store, None, &firewall)?)?;
        if forwarding {
            start_forwarding()?;
        }
        let veth = self.connect_veth()?;
        hosts_file::refresh_resolvers(&dir)?;
        refresh_names(store, &self.networks, name)?;
        // Existing UDP flows must be tracked anew, or the new rules do not apply to them.
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

    /// Restrictions of the host's end that are independent of the firewall, set before it is up.
    fn guard(&self, outside: &str) -> Result<()> {
        let conf = |family: &str, knob: &str| format!("net/{family}/conf/{outside}/{knob}");
        // A kernel without IPv6 has no such sysctl.
        if sysctl::exists(&conf("ipv6", "disable_ipv6")) {
            let why = "the firewall rules are for IPv4 only, so nothing else may use this link";
            sysctl::write(&conf("ipv6", "disable_ipv6"), "1", why)?;
        }
        sysctl::write(
            &conf("ipv4", "rp_filter"),
            "1",
            "the kernel drops packets from this link with a forged source address",
        )?;
        let local = if self.wanted.published.is_empty() { "0" } else { "1" };
        if sysctl::read(&conf("ipv4", "route_localnet"))? != local {
            let why = "lets 127.0.0.1:PORT of the host be forwarded into the container";
            sysctl::write(&conf("ipv4", "route_localnet"), local, why)?;
        }
        Ok(())
    }

    /// The destinations that the container reaches through the host.
    fn destinations(&self) -> Result<Vec<Subnet>> {
        let lab: Subnet = LAB_NETWORK.parse().or_cannot("understand", LAB_NETWORK)?;
        let mut destinations = vec![lab];
        if self.pool != lab {
            destinations.push(self.pool);
        }
        // Replies through published ports need a route too; the firewall decides what may be started.
        if self.wanted.internet.is_some() || !self.wanted.published.is_empty() {
            destinations.extend(Subnet::containing(Ipv4Addr::UNSPECIFIED, 0));
        }
        Ok(destinations)
    }
}

/// Refuses a link of our name that no command of ours has created.
fn refuse_foreign_link(netlink: &Netlink, name: &ContainerName, ledger: &Ledger) -> Result<()> {
    let link = rules::host_link(name);
    if netlink.find(&link)?.is_none() || not_undone(ledger.changes()?).contains(&Change::Link(link.clone())) {
        return Ok(());
    }
    let taken = Error::new("create link", &link, "a link of that name exists and does not belong to this container");
    Err(taken
        .hint(format_args!("see `ip -details link show {link}`; another --root may have a container of the same name")))
}

/// The interface through which the internet is reached.
fn outgoing_interface(netlink: &Netlink, asked: Option<&str>) -> Result<Uplink> {
    if let Some(asked) = asked {
        let known = netlink.find(asked)?.map(|_| Uplink::Interface(asked.to_owned()));
        return known.ok_or("it does not exist").or_cannot("use interface", asked).map_err(|error| {
            error.hint("`ip route` shows the right one after `default … dev`; leave DEFAULT_IFC empty to have it found")
        });
    }
    let way = netlink.default_interface()?.map(|_| Uplink::Any);
    way.ok_or("this host has no default route").or_cannot("reach", "the internet").map_err(|error| {
        error.hint("connect the host first, or name an interface: DEFAULT_IFC in config.sh, or --interface")
    })
}

/// Adds new ports. A port must not be published by another container, of this store or another, or used by a program of
/// the host.
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
    // The container itself too: without a network it is not in the list.
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
            return Err(Error::new("publish", publish, format!("it conflicts with {same}")));
        }
        wanted.published.insert(publish);
    }
    Ok(())
}
