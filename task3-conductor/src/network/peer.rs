//! Peers: two containers that can reach each other in both directions, and know each other's name.
//!
//! Look: `conductor exec A -- ping B`. Manual: hosts(5).

use nsutil::error::{Error, Result};
use nsutil::net::nat::Firewall;

use super::rules::Permissions;
use super::{
    NetworkRecord, Networks, foreign_traffic, note, note_forwarding, refresh_names, release_ended_locked, rules,
    start_forwarding,
};
use crate::spec::name::ContainerName;
use crate::store::Store;
use crate::store::ledger::{Change, Ledger};

/// Makes two containers peers. Repeating it completes what a killed command has begun.
///
/// # Errors
/// In words when they are the same, one has exited, or has no network; the firewall tool's.
pub fn make_peers(store: &Store, one: &ContainerName, other: &ContainerName) -> Result<()> {
    if one == other {
        return Err(Error::new("make peers of", format_args!("{one} and {other}"), "they are the same container"));
    }
    // In the order of their names, so that two commands cannot deadlock.
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    let _first_lock = store.lock_container(first)?;
    let _second_lock = store.lock_container(second)?;
    for name in [one, other] {
        if store.container(name)?.running()?.is_none() {
            let ended = Error::new("make a peer of", format_args!("container {name}"), "its first process has ended");
            return Err(ended.hint(format_args!("`conductor stop {name}` removes it; then it can be run again")));
        }
    }
    let _networks_lock = store.lock_networks()?;
    release_ended_locked(store)?;
    let mut networks = Networks::load(store)?;
    for name in [one, other] {
        if NetworkRecord::load(&store.container_dir(name))?.is_none() {
            let missing = Error::new("make a peer of", format_args!("container {name}"), "it has no network yet");
            return Err(missing.hint(format_args!("run `conductor addnetwork {name}` first")));
        }
    }
    for (name, peer) in [(one, other), (other, one)] {
        note(&Ledger::of(&store.container_dir(name)), &Change::Peer(peer.clone()))?;
    }
    // This one write makes them peers; everything else can be regenerated from it.
    if let Some(record) = networks.all.get_mut(first) {
        if record.later_peers.insert(second.clone()) {
            record.save(&store.container_dir(first))?;
        }
    }
    let firewall = firewall_of(&networks, one)?;
    [one, other].iter().try_for_each(|name| note_forwarding(store, name, &firewall))?;
    let wanted: Vec<(&ContainerName, Option<Permissions>)> =
        [one, other].map(|name| (name, networks.permissions(name))).into();
    let wanted: Vec<(&ContainerName, Option<&Permissions>)> =
        wanted.iter().map(|(name, wanted)| (*name, wanted.as_ref())).collect();
    rules::apply(&firewall, &wanted, foreign_traffic(store, None, &firewall)?)?;
    start_forwarding()?;
    [one, other].iter().try_for_each(|name| refresh_names(store, &networks, name))
}

fn firewall_of(networks: &Networks, name: &ContainerName) -> Result<Firewall> {
    match networks.of(name) {
        Some(record) => Firewall::of(record.firewall),
        None => networks.firewall(),
    }
}
