//! A container's network: its link to the host, addresses, firewall rules, and names.
//!
//! A container starts in an empty network namespace. `addnetwork` connects it to the host by a veth pair, gives both
//! ends an address of a subnet of their own, and adds firewall rules:
//!
//! ```text
//!   container web                     host                            the world
//!   web-inside ───────────────── web-outside   ip_forward   enp1s0 ───────────
//!   192.168.1.2/24               192.168.1.1/24    firewall
//! ```
//!
//! The configuration is in `network.json` in the container's folder; rules, links and hosts files are generated from
//! it, and can be regenerated. It is written before anything is changed, and all networks are changed under one lock,
//! so repeating a killed command completes it, and `stop` undoes it.
//!
//! | module | |
//! |---|---|
//! | [`subnet`] | which subnet is free |
//! | [`attach`] | the veth pair, the addresses, the routes |
//! | [`rules`] | what the firewall lets through |
//! | [`publish`] | ports of the host that lead inside |
//! | [`peer`] | two containers that may talk |
//! | [`crate::hosts_file`] | hosts and resolv.conf |
//! | [`check`] | whether it all still is as it was asked for |
//! | [`draw`] | a picture of what the kernel has |
//!
//! Look: `conductor addnetwork NAME --explain`, `ip address`, `conductor exec NAME -- ip route`.

pub mod attach;
pub mod check;
pub mod draw;
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
/// Whether this host forwards packets.
const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// Configuration of a container's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The subnet of its link.
    #[serde(with = "as_text")]
    pub subnet: Subnet,
    /// The host interface for the internet, if it may reach that.
    #[serde(default)]
    pub internet: Option<Uplink>,
    /// Published ports.
    #[serde(default)]
    pub published: BTreeSet<PublishedPort>,
    /// Peers with names after its own; a pair is stored in the record of the earlier name. See [`Networks::peers_of`].
    #[serde(default)]
    pub later_peers: BTreeSet<ContainerName>,
    /// The rule set that has its rules.
    #[serde(with = "as_text")]
    pub firewall: Backend,
}

/// The host interfaces through which a container may reach the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Uplink {
    /// Any, as the routing table selects, except the containers' links.
    Any,
    /// Only this one.
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

    /// Whether the host must forward packets for it.
    fn needs_forwarding(&self, peers: &[ContainerName]) -> bool {
        self.internet.is_some() || !self.published.is_empty() || !peers.is_empty()
    }
}

impl Networks {
    /// Reads all networks. Damaged records are skipped: commands for those containers report them.
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
    /// A pair is stored in one record only, that of the earlier name, so that it is created and removed in one step.
    pub fn peers_of(&self, name: &ContainerName) -> Vec<ContainerName> {
        let later = self.of(name).into_iter().flat_map(|record| record.later_peers.iter());
        let earlier = self.all.iter().filter(|(_, record)| record.later_peers.contains(name)).map(|(other, _)| other);
        let known: BTreeSet<&ContainerName> = later.chain(earlier).filter(|peer| self.of(peer).is_some()).collect();
        known.into_iter().cloned().collect()
    }

    /// A container's network for output.
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

    /// The container that has published a port.
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

    /// The rule set of the other containers: all must use the same, because they share the hook chains.
    fn firewall(&self) -> Result<Firewall> {
        match self.all.values().next() {
            Some(record) => Firewall::of(record.firewall),
            None => Firewall::of_this_host(),
        }
    }

    /// The entries of a container's hosts file.
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
            // A container may be named `localhost`: programs that use every address of a name must not get its address.
            entry.names.retain(|name| !hosts_file::is_loopback_name(name));
            entry
        });
        known.filter(|entry| !entry.names.is_empty()).collect()
    }
}

/// Removes a container's network from the host, and the container from its peers' networks.
///
/// Afterwards the ledger's entries about links, chains and sysctls are done. Missing parts are skipped and every step
/// is tried. The caller holds the container's lock.
///
/// # Errors
/// All failures in one error.
pub fn detach(store: &Store, name: &ContainerName) -> Result<()> {
    let dir = store.container_dir(name);
    let ledger = Ledger::of(&dir);
    // A damaged ledger may have contained one.
    let noted = || ledger.changes().is_err() || not_undone(ledger.readable_changes()).iter().any(is_of_network);
    if !dir.join(FILE).exists() && !noted() {
        return Ok(());
    }
    let _networks = store.lock_networks()?;
    release_locked(store, name)
}

/// [`detach`] while holding the lock of all networks.
fn detach_locked(store: &Store, name: &ContainerName) -> Result<()> {
    let dir = store.container_dir(name);
    let mut networks = Networks::load(store)?;
    let (peers, address): (BTreeSet<ContainerName>, _) = match networks.of(name) {
        Some(record) => {
            let peers = networks.peers_of(name).into_iter().chain(noted_peers(&networks, &Ledger::of(&dir)));
            (peers.collect(), Some(subnet::container_address(record.subnet)))
        }
        // Its record is damaged: any container may be a peer.
        None if dir.join(FILE).exists() => (networks.all.keys().cloned().collect(), None),
        None => (BTreeSet::new(), None),
    };
    let firewall = networks.firewall();
    // First remove the peers, so that no later container of that name inherits them; and forwarding before the rules
    // that restrict it.
    let mut outcomes =
        vec![forget_peer(store, &mut networks, name), restore_forwarding(store, name, firewall.as_ref().ok())];
    networks.all.remove(name);
    // The link before the rules: forbidden packets never pass, not even for a moment.
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
    // Last: until now it can be repeated.
    match fs::remove_file(dir.join(FILE)) {
        // A folder in its place is not ours, and goes with the rest.
        Err(error) if ![ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind()) => {
            Err(Error::new("remove", dir.join(FILE).display(), error))
        }
        _ => Ok(()),
    }
}

/// [`detach_locked`], and a note in the ledger: if a later container has the same name by the time this one is removed,
/// its network is left alone.
fn release_locked(store: &Store, name: &ContainerName) -> Result<()> {
    detach_locked(store, name)?;
    // If the note fails, a later detach finds nothing to do.
    let _ = Ledger::of(&store.container_dir(name)).note(&Change::NetworkGivenBack);
    Ok(())
}

/// Removes the networks of exited containers: their links are gone already. Failures are only warnings.
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
            remark(format_args!("cannot remove the network of exited container {name} yet: {}", line(&error)));
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

/// Rewrites a container's hosts file.
fn refresh_names(store: &Store, networks: &Networks, name: &ContainerName) -> Result<()> {
    let hostname = match store.container(name)?.hostname {
        Some(hostname) => hostname,
        None => nix::unistd::gethostname().or_cannot("ask for", "the host's name")?.to_string_lossy().into_owned(),
    };
    hosts_file::refresh_hosts(&store.container_dir(name), &networks.entries(name, &hostname))
}

/// Notes the forwarding state before conductor changes it.
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
            // The host was forwarding already: nothing to restore.
            _ => return Ok(()),
        },
    };
    ledger.note(&Change::Sysctl { key: PathBuf::from(IP_FORWARD), before, found })
}

/// State of packet forwarding before the first container.
#[derive(Debug)]
struct ForwardingState {
    /// The value of [`IP_FORWARD`].
    value: String,
    /// [`routing`] as it was then.
    found: BTreeSet<String>,
}

/// Everything on this host that concerns forwarding and is not conductor's: links with their networks, and rules of
/// built-in chains. If something is added later, another router may rely on [`IP_FORWARD`].
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

/// Prefix of links in [`routing`].
const LINK: &str = "link ";

fn links(routing: &BTreeSet<String>) -> BTreeSet<String> {
    let links = routing.iter().filter_map(|line| line.strip_prefix(LINK)?.split_once(" to "));
    links.map(|(link, _)| link.to_owned()).collect()
}

/// Enables forwarding. The rules must exist before: it applies to all packets.
fn start_forwarding() -> Result<()> {
    if sysctl::read(IP_FORWARD)? == "1" {
        return Ok(());
    }
    sysctl::write(IP_FORWARD, "1", "without it the host drops packets that are not for itself; a router forwards them")
}

/// Restores forwarding if this was the last container that needs it.
fn restore_forwarding(store: &Store, name: &ContainerName, firewall: Option<&Firewall>) -> Result<()> {
    let Some(ForwardingState { value: before, found }) = noted_forwarding(&Ledger::of(&store.container_dir(name)))
    else {
        return Ok(());
    };
    if store.container(name).is_ok_and(|record| !record.init.is_of_this_boot()) {
        // After a reboot the noted state is obsolete.
        return Ok(());
    }
    if forwarding_before(store, Some(name))?.is_some() || sysctl::read(IP_FORWARD)? == before {
        return Ok(());
    }
    if let Some(firewall) = firewall {
        // The last container of those stores restores it.
        if rules::serves_other_stores(firewall, &networked_containers(store)?)? {
            return Ok(());
        }
        if let Some(new) = routing(firewall)?.difference(&found).next() {
            remark(format_args!(
                "packet forwarding stays enabled (net.ipv4.ip_forward = 1): since conductor enabled it, there is a new \
                 {new}, which may rely on it; `sysctl -w net.ipv4.ip_forward={before}` disables it"
            ));
            return Ok(());
        }
    }
    sysctl::write(IP_FORWARD, &before, "no container needs it any more: restores the previous value")
}

/// The noted forwarding state of any container except `leaving`.
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

/// How packets between other networks are treated.
fn foreign_traffic(store: &Store, leaving: Option<&ContainerName>, firewall: &Firewall) -> Result<ForeignTraffic> {
    let (was_no_router, mut between) = match forwarding_before(store, leaving)? {
        Some(ForwardingState { value, found }) => (value == "0", links(&found)),
        None => (rules::serves_other_stores(firewall, &networked_containers(store)?)?, BTreeSet::new()),
    };
    if !was_no_router {
        return Ok(ForeignTraffic::Unchanged);
    }
    // Links noted by another store.
    between.extend(rules::links_of_foreign_traffic(&firewall.rules(Table::Filter)?));
    Ok(ForeignTraffic::Dropped { between })
}

/// The containers of this store with a network. Others may share a name with a container of another store.
fn networked_containers(store: &Store) -> Result<BTreeSet<ContainerName>> {
    let has_network = |name: &ContainerName| store.container_dir(name).join(FILE).exists();
    Ok(store.containers()?.into_iter().map(|(name, _)| name).filter(has_network).collect())
}

/// The changes in a ledger that were not undone since.
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

/// Former peers in the ledger. A killed `stop` may have removed the pair but not its consequences.
fn noted_peers(networks: &Networks, ledger: &Ledger) -> Vec<ContainerName> {
    let noted = not_undone(ledger.readable_changes()).into_iter().filter_map(|change| match change {
        Change::Peer(peer) if networks.of(&peer).is_some() => Some(peer),
        _ => None,
    });
    noted.collect()
}

/// Notes a change in the ledger, unless it is noted already.
fn note(ledger: &Ledger, change: &Change) -> Result<()> {
    if not_undone(ledger.changes()?).contains(change) { Ok(()) } else { ledger.note(change) }
}

fn is_of_network(change: &Change) -> bool {
    matches!(change, Change::Link(_) | Change::Chain { .. } | Change::Peer(_) | Change::Sysctl { .. })
}

/// The chains of a container, as ledger entries.
fn chains(name: &ContainerName) -> impl Iterator<Item = Change> + '_ {
    Table::ALL.iter().map(|table| Change::Chain { table: table.to_string(), name: rules::chain(name) })
}

fn all(outcomes: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    Error::all("remove", "the network", outcomes)
}

/// Serialises types of nsutil as text.
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
