//! A container's network: its cable to the host, its addresses, what the firewall lets through, and its names.
//!
//! A container is born into a network namespace with nothing in it. `addnetwork` lays a cable (a veth pair) to the host,
//! gives both ends an address of a subnet that only the two share, and says to the firewall what may pass:
//!
//! ```text
//!   container web                     host                            the world
//!   web-inside ───────────────── web-outside   ip_forward   enp1s0 ───────────
//!   192.168.1.2/24               192.168.1.1/24    firewall
//! ```
//!
//! What was asked for stands in `network.json` in the container's folder; the rules, links and hosts files are made from
//! it, and can be made from it again. It is written before anything is changed, and all networks are changed under one
//! lock, so a command that was killed half-way is completed by saying it again, and undone by `stop`.
//!
//! | module | |
//! |---|---|
//! | [`subnet`] | which subnet is free |
//! | [`attach`] | the cable, the addresses, the routes |
//! | [`rules`] | what the firewall lets through |
//! | [`publish`] | ports of the host that lead inside |
//! | [`peer`] | two containers that may talk |
//! | [`crate::hosts_file`] | hosts and resolv.conf |
//! | [`check`] | whether it all still is as it was asked for |
//!
//! Look: `conductor addnetwork NAME --explain`, `ip address`, `conductor exec NAME -- ip route`.

pub mod attach;
pub mod check;
pub mod peer;
pub mod publish;
pub mod rules;
pub mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::net::address::Subnet;
use nsutil::net::nat::{Backend, Firewall, Table};
use nsutil::net::{Netlink, conntrack, sysctl};
use serde::{Deserialize, Serialize};

use crate::hosts_file;
use crate::hosts_file::HostsEntry;
use crate::output::failure::remark;
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::{Change, Ledger};
use crate::store::record;
use publish::PublishedPort;
use rules::{ForeignTraffic, Permissions};

const FILE: &str = "network.json";
/// Whether this host passes packets on at all.
const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// What a container's network was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The subnet of its cable.
    #[serde(with = "as_text")]
    pub subnet: Subnet,
    /// By which interface it reaches what is beyond the host, if it may.
    #[serde(default)]
    pub internet: Option<Uplink>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub published: BTreeSet<PublishedPort>,
    /// Peers whose names come after its own; those that come before have it in their record. See
    /// [`Networks::peers_of`].
    #[serde(default)]
    pub later_peers: BTreeSet<ContainerName>,
    /// The set of firewall tables that holds its rules.
    #[serde(with = "as_text")]
    pub firewall: Backend,
}

/// The interfaces of the host by which a container may reach what is beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Uplink {
    /// Whichever the host's routes name at that moment, but for containers' cables.
    Any,
    /// This one alone.
    Interface(String),
}

/// [`Uplink::Any`] in a record: no interface can have a space in its name.
const ANY: &str = "any interface";

impl From<String> for Uplink {
    fn from(text: String) -> Self {
        if text == ANY { Self::Any } else { Self::Interface(text) }
    }
}

impl From<Uplink> for String {
    fn from(way: Uplink) -> Self {
        match way {
            Uplink::Any => ANY.to_owned(),
            Uplink::Interface(interface) => interface,
        }
    }
}

/// A container's network as `inspect` shows it.
#[derive(Debug, Serialize)]
pub struct NetworkView {
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    #[serde(serialize_with = "as_text::serialize")]
    subnet: Subnet,
    link_inside: String,
    link_outside: String,
    internet: Option<Uplink>,
    published: Vec<PublishedPort>,
    peers: Vec<ContainerName>,
}

/// The networks of all containers, read under [`Store::lock_networks`].
#[derive(Debug)]
pub struct Networks {
    all: BTreeMap<ContainerName, NetworkRecord>,
}

impl NetworkRecord {
    /// Reads it; none when the container has no network.
    ///
    /// # Errors
    /// When it is damaged or from a newer version.
    pub fn load(container_dir: &Path) -> Result<Option<Self>> {
        let path = container_dir.join(FILE);
        if path.exists() { record::load_from(&path).map(Some) } else { Ok(None) }
    }

    fn save(&self, container_dir: &Path) -> Result<()> {
        record::save_to(self, &container_dir.join(FILE))
    }

    /// Whether packets must be passed on for it, and not only to and from the host.
    fn needs_forwarding(&self, peers: &[ContainerName]) -> bool {
        self.internet.is_some() || !self.published.is_empty() || !peers.is_empty()
    }
}

impl Networks {
    /// Reads all of them. A damaged one is left out here: its own container's commands name it.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn load(store: &Store) -> Result<Self> {
        let names = store.containers()?.into_iter().map(|(name, _)| name);
        let networks = names.filter_map(|name| {
            let record = NetworkRecord::load(&store.container_dir(&name)).ok()??;
            Some((name, record))
        });
        Ok(Self { all: networks.collect() })
    }

    /// The network of one container.
    pub fn of(&self, name: &ContainerName) -> Option<&NetworkRecord> {
        self.all.get(name)
    }

    /// The peers of a container, in order of their names.
    ///
    /// A pair stands in one record only, that of the earlier name, so that it is made and ended in one step.
    pub fn peers_of(&self, name: &ContainerName) -> Vec<ContainerName> {
        let later = self.of(name).into_iter().flat_map(|record| record.later_peers.iter());
        let earlier = self.all.iter().filter(|(_, record)| record.later_peers.contains(name)).map(|(other, _)| other);
        let known: BTreeSet<&ContainerName> = later.chain(earlier).filter(|peer| self.of(peer).is_some()).collect();
        known.into_iter().cloned().collect()
    }

    /// A container's network for people and programs to read.
    pub fn show(&self, name: &ContainerName) -> Option<NetworkView> {
        let record = self.of(name)?;
        Some(NetworkView {
            address: subnet::container_address(record.subnet),
            gateway: subnet::host_address(record.subnet),
            subnet: record.subnet,
            link_inside: rules::container_link(name),
            link_outside: rules::host_link(name),
            internet: record.internet.clone(),
            published: record.published.iter().copied().collect(),
            peers: self.peers_of(name),
        })
    }

    /// The container that a port of the host leads to.
    fn publisher(&self, wanted: PublishedPort) -> Option<(&ContainerName, PublishedPort)> {
        self.all.iter().find_map(|(name, record)| {
            record.published.iter().find(|known| known.overlaps(&wanted)).map(|known| (name, *known))
        })
    }

    fn permissions(&self, name: &ContainerName) -> Option<Permissions> {
        let record = self.of(name)?;
        Some(Permissions {
            address: subnet::container_address(record.subnet),
            internet: record.internet.clone(),
            published: record.published.iter().copied().collect(),
            peers: self.peers_of(name),
        })
    }

    /// The set of tables that the others' rules are in: all must be in one, for they share the chains that lead there.
    fn firewall(&self) -> Result<Firewall> {
        match self.all.values().next() {
            Some(record) => Firewall::of(record.firewall),
            None => Firewall::of_this_host(),
        }
    }

    /// The lines of a container's hosts file.
    fn entries(&self, name: &ContainerName, hostname: &str) -> Vec<HostsEntry> {
        let networked_containers = self.of(name).map(|record| {
            let names = if hostname == name.as_str() {
                vec![name.to_string()]
            } else {
                vec![hostname.to_owned(), name.to_string()]
            };
            HostsEntry { address: subnet::container_address(record.subnet).into(), names }
        });
        let peers = self.peers_of(name).into_iter().filter_map(|peer| {
            let address = subnet::container_address(self.of(&peer)?.subnet).into();
            Some(HostsEntry { address, names: vec![peer.to_string()] })
        });
        let known = networked_containers.into_iter().chain(peers).map(|mut entry| {
            // A container may be called so, and a program that takes every address of a name must not end up there.
            entry.names.retain(|name| !hosts_file::is_loopback_name(name));
            entry
        });
        known.filter(|entry| !entry.names.is_empty()).collect()
    }
}

/// Gives back all that a container's network holds of the host, and takes the container out of its peers' networks.
///
/// For the ledger's lines about links, chains and sysctls nothing is left to do afterwards. A container without a network
/// is nothing to do, and what is gone already neither; every step is tried. The caller holds the container's lock.
///
/// # Errors
/// All that failed, in one.
pub fn detach(store: &Store, name: &ContainerName) -> Result<()> {
    let dir = store.container_dir(name);
    let ledger = Ledger::of(&dir);
    // A damaged ledger may have spoken of one.
    let noted = || ledger.changes().is_err() || not_undone(ledger.readable_changes()).iter().any(is_of_network);
    if !dir.join(FILE).exists() && !noted() {
        return Ok(());
    }
    let _networks = store.lock_networks()?;
    release_locked(store, name)
}

/// [`detach`], by one who holds the lock of all networks.
fn detach_locked(store: &Store, name: &ContainerName) -> Result<()> {
    let dir = store.container_dir(name);
    let mut networks = Networks::load(store)?;
    let (peers, address): (BTreeSet<ContainerName>, _) = match networks.of(name) {
        Some(record) => {
            let peers = networks.peers_of(name).into_iter().chain(noted_peers(&networks, &Ledger::of(&dir)));
            (peers.collect(), Some(subnet::container_address(record.subnet)))
        }
        // Its record is damaged: anybody may have been a peer.
        None if dir.join(FILE).exists() => (networks.all.keys().cloned().collect(), None),
        None => (BTreeSet::new(), None),
    };
    let firewall = networks.firewall();
    // First the promise that they are peers: whatever fails below, no later container of that name inherits it.
    // And forwarding before the rules go that keep strangers from making use of it.
    let mut outcomes =
        vec![forget_peer(store, &mut networks, name), restore_forwarding(store, name, firewall.as_ref().ok())];
    networks.all.remove(name);
    // The cable before the rules: there is no moment at which something passes that must not.
    outcomes.push(Netlink::open().and_then(|netlink| netlink.delete(&rules::host_link(name))));
    outcomes.push(firewall.and_then(|firewall| {
        let remaining: Vec<(&ContainerName, Option<Permissions>)> =
            peers.iter().map(|peer| (peer, networks.permissions(peer))).collect();
        let mut containers: Vec<(&ContainerName, Option<&Permissions>)> =
            remaining.iter().map(|(peer, wanted)| (*peer, wanted.as_ref())).collect();
        containers.push((name, None));
        rules::apply(&firewall, &containers, foreign_traffic(store, Some(name), &firewall)?)
    }));
    if let Some(address) = address {
        outcomes.push(conntrack::delete_by_address(address).map(drop));
    }
    outcomes.extend(peers.iter().map(|peer| refresh_names(store, &networks, peer)));
    all(outcomes)?;
    // Last: until now it can be begun again.
    match fs::remove_file(dir.join(FILE)) {
        // A folder in its place is not ours, and goes with the rest.
        Err(error) if ![ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind()) => {
            Err(Error::new("remove", dir.join(FILE).display(), error))
        }
        _ => Ok(()),
    }
}

/// [`detach_locked`], and a note of it: should the name be another's by the time the container goes, that one's network is left
/// alone.
fn release_locked(store: &Store, name: &ContainerName) -> Result<()> {
    detach_locked(store, name)?;
    // Where there is no room for the line, there will be one network too many to be looked for, and none to be found.
    let _ = Ledger::of(&store.container_dir(name)).note(&Change::NetworkGivenBack);
    Ok(())
}

/// Gives back the networks of containers whose first process has ended: their cables are gone already. Where that fails it is
/// told, and no reason to leave undone what was asked for of others.
///
/// # Errors
/// When the folder of containers cannot be read.
pub fn release_ended(store: &Store) -> Result<()> {
    if ended_with_network(store)?.is_empty() {
        return Ok(());
    }
    let _networks = store.lock_networks()?;
    release_ended_locked(store)
}

fn release_ended_locked(store: &Store) -> Result<()> {
    for name in ended_with_network(store)? {
        if let Err(error) = release_locked(store, &name) {
            remark(format_args!("cannot give back the network of {name}, which has ended, yet: {}", line(&error)));
        }
    }
    Ok(())
}

fn ended_with_network(store: &Store) -> Result<Vec<ContainerName>> {
    let mut ended = Vec::new();
    for (name, record) in store.containers()? {
        let Ok(record) = record else { continue };
        if store.container_dir(&name).join(FILE).exists() && record.running()?.is_none() {
            ended.push(name);
        }
    }
    Ok(ended)
}

fn forget_peer(store: &Store, networks: &mut Networks, name: &ContainerName) -> Result<()> {
    let earlier = networks.all.iter_mut().filter(|(_, record)| record.later_peers.contains(name));
    let saved = earlier.map(|(other, record)| {
        record.later_peers.remove(name);
        record.save(&store.container_dir(other))
    });
    all(saved)
}

/// Writes a container's hosts file anew.
fn refresh_names(store: &Store, networks: &Networks, name: &ContainerName) -> Result<()> {
    let hostname = match store.container(name)?.hostname {
        Some(hostname) => hostname,
        None => nix::unistd::gethostname().or_cannot("ask for", "the host's name")?.to_string_lossy().into_owned(),
    };
    hosts_file::refresh_hosts(&store.container_dir(name), &networks.entries(name, &hostname))
}

/// Writes down what the host did with packets for others before the first container came, if conductor changes it.
fn note_forwarding(store: &Store, name: &ContainerName, firewall: &Firewall) -> Result<()> {
    let ledger = Ledger::of(&store.container_dir(name));
    if noted_forwarding(&ledger).is_some() {
        return Ok(());
    }
    let ForwardingState { value: before, found } = match forwarding_before(store, None)? {
        Some(before) => before,
        None => match sysctl::read(IP_FORWARD)? {
            now if now != "1" => ForwardingState { value: now, found: routing(firewall)? },
            _ if rules::serves_other_stores(firewall, &networked_containers(store)?)? => {
                ForwardingState { value: "0".to_owned(), found: routing(firewall)? }
            }
            // The host does it already, for reasons of its own: nothing to put back.
            _ => return Ok(()),
        },
    };
    ledger.note(&Change::Sysctl { key: PathBuf::from(IP_FORWARD), before, found })
}

/// What the host did with packets for others before the first container came.
#[derive(Debug)]
struct ForwardingState {
    /// The value of [`IP_FORWARD`].
    value: String,
    /// [`routing`] as it was then.
    found: BTreeSet<String>,
}

/// All on this host that has to do with passing packets on, and is none of ours: links with the networks they lead to, and
/// the rules of built-in chains. What comes to that later may be another router's, which then relies on [`IP_FORWARD`].
fn routing(firewall: &Firewall) -> Result<BTreeSet<String>> {
    let outgoing_routes = Netlink::open()?.outgoing_routes()?;
    let outgoing_routes = outgoing_routes.into_iter().filter(|(link, _)| !rules::is_host_link(link));
    let mut routing: BTreeSet<String> = outgoing_routes.map(|(link, to)| format!("{LINK}{link} to {to}")).collect();
    for (table, chain) in [(Table::Filter, "FORWARD"), (Table::Nat, "PREROUTING"), (Table::Nat, "POSTROUTING")] {
        let rules = firewall.rules(table)?;
        let others = rules.of_chain(chain).filter(|rule| !rules::is_jump_of_ours(rule));
        routing.extend(others.map(|rule| format!("rule -t {table} -A {chain} {rule}")));
    }
    Ok(routing)
}

/// What a link begins with in [`routing`].
const LINK: &str = "link ";

fn links(routing: &BTreeSet<String>) -> BTreeSet<String> {
    let links = routing.iter().filter_map(|line| line.strip_prefix(LINK)?.split_once(" to "));
    links.map(|(link, _)| link.to_owned()).collect()
}

/// Makes the host pass packets on. The rules must be there before: it does so for everybody.
fn start_forwarding() -> Result<()> {
    if sysctl::read(IP_FORWARD)? == "1" {
        return Ok(());
    }
    sysctl::write(IP_FORWARD, "1", "a host drops packets that are for others; a router passes them on")
}

/// Puts back what the host did before, when this was the last container that needs it to pass packets on.
fn restore_forwarding(store: &Store, name: &ContainerName, firewall: Option<&Firewall>) -> Result<()> {
    let Some(ForwardingState { value: before, found }) = noted_forwarding(&Ledger::of(&store.container_dir(name)))
    else {
        return Ok(());
    };
    if store.container(name).is_ok_and(|record| !record.init.is_of_this_boot()) {
        // What it found then is nothing to go by: the host has chosen anew since.
        return Ok(());
    }
    if forwarding_before(store, Some(name))?.is_some() || sysctl::read(IP_FORWARD)? == before {
        return Ok(());
    }
    if let Some(firewall) = firewall {
        // The last of those puts it back.
        if rules::serves_other_stores(firewall, &networked_containers(store)?)? {
            return Ok(());
        }
        if let Some(new) = routing(firewall)?.difference(&found).next() {
            remark(format_args!(
                "this host goes on passing packets on (net.ipv4.ip_forward = 1): since conductor switched that on, there is \
                 {new}, which may rely on it; `sysctl -w net.ipv4.ip_forward={before}` switches it off"
            ));
            return Ok(());
        }
    }
    sysctl::write(IP_FORWARD, &before, "no container needs it any more: as it was found")
}

/// What the host did before the first container with a network came, if one of them (but for `leaving`) changed it.
fn forwarding_before(store: &Store, leaving: Option<&ContainerName>) -> Result<Option<ForwardingState>> {
    for (name, _) in store.containers()? {
        let dir = store.container_dir(&name);
        if Some(&name) != leaving && dir.join(FILE).exists() {
            if let Some(before) = noted_forwarding(&Ledger::of(&dir)) {
                return Ok(Some(before));
            }
        }
    }
    Ok(None)
}

/// Whether the packets of others passed this host before conductor came.
fn foreign_traffic(store: &Store, leaving: Option<&ContainerName>, firewall: &Firewall) -> Result<ForeignTraffic> {
    let (was_no_router, mut between) = match forwarding_before(store, leaving)? {
        Some(ForwardingState { value, found }) => (value == "0", links(&found)),
        None => (rules::serves_other_stores(firewall, &networked_containers(store)?)?, BTreeSet::new()),
    };
    if !was_no_router {
        return Ok(ForeignTraffic::Unchanged);
    }
    // Those that another store has found.
    between.extend(rules::links_of_foreign_traffic(&firewall.rules(Table::Filter)?));
    Ok(ForeignTraffic::Dropped { between })
}

/// The names of this store's containers with a network. One without may be called as one of another store is.
fn networked_containers(store: &Store) -> Result<BTreeSet<ContainerName>> {
    let has_network = |name: &ContainerName| store.container_dir(name).join(FILE).exists();
    Ok(store.containers()?.into_iter().map(|(name, _)| name).filter(has_network).collect())
}

/// Those of a ledger's changes that were not given back since.
fn not_undone(mut changes: Vec<Change>) -> Vec<Change> {
    if let Some(last) = changes.iter().rposition(|change| *change == Change::NetworkGivenBack) {
        changes.drain(..=last);
    }
    changes
}

fn noted_forwarding(ledger: &Ledger) -> Option<ForwardingState> {
    not_undone(ledger.readable_changes()).into_iter().find_map(|change| match change {
        Change::Sysctl { key, before: value, found } if key == Path::new(IP_FORWARD) => {
            Some(ForwardingState { value, found })
        }
        _ => None,
    })
}

/// Those who were peers once. A `stop` that was killed may have ended that, and not yet what followed from it.
fn noted_peers(networks: &Networks, ledger: &Ledger) -> Vec<ContainerName> {
    let noted = not_undone(ledger.readable_changes()).into_iter().filter_map(|change| match change {
        Change::Peer(peer) if networks.of(&peer).is_some() => Some(peer),
        _ => None,
    });
    noted.collect()
}

/// Writes a change into the ledger, unless it stands there already.
fn note(ledger: &Ledger, change: &Change) -> Result<()> {
    if not_undone(ledger.changes()?).contains(change) { Ok(()) } else { ledger.note(change) }
}

fn is_of_network(change: &Change) -> bool {
    matches!(change, Change::Link(_) | Change::Chain { .. } | Change::Peer(_) | Change::Sysctl { .. })
}

/// The chains of a container, as the ledger names them.
fn chains(name: &ContainerName) -> impl Iterator<Item = Change> + '_ {
    Table::ALL.iter().map(|table| Change::Chain { table: table.to_string(), name: rules::chain(name) })
}

fn all(outcomes: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    Error::all("give back", "the network", outcomes)
}

/// Types of nsutil in records, by the text they are written and read as.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
