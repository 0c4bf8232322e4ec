//! Checks whether the kernel's state still matches the configuration of networks, and restores it.
//!
//! The firewall's tables are shared: reloading another tool's rules, or `iptables -F`, removes conductor's rules too,
//! and containers are cut off or no longer isolated without any conductor command having failed. The configuration is
//! in each container's record, so it can be compared and restored.
//!
//! Look: `iptables -F; conductor network check; conductor network reload`. Manual: iptables(8).

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use nsutil::error::{OrCannot, Result};
use nsutil::net::address::Subnet;
use nsutil::net::nat::{Firewall, Rules, Table, option_value};
use nsutil::net::netns::NetNs;
use nsutil::net::{Netlink, sysctl};
use nsutil::process::PidFd;

use super::attach::{Attachment, Request};
use super::publish::listening_process;
use super::rules::{self, ForeignTraffic, Permissions};
use super::{IP_FORWARD, NetworkRecord, Networks, Uplink, foreign_traffic, release_ended, subnet};
use crate::spec::name::ContainerName;
use crate::store::Store;

/// One item of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The container.
    pub container: ContainerName,
    /// What is checked.
    pub what: String,
    /// Whether it is as configured.
    pub is_there: bool,
}

/// Checks everything that the networks of running containers consist of.
///
/// # Errors
/// Those of netlink(7) and of the firewall tool.
pub fn check(store: &Store) -> Result<Vec<Finding>> {
    release_ended(store)?;
    let _networks_lock = store.lock_networks()?;
    let networks = Networks::load(store)?;
    let mut findings = Vec::new();
    for (name, record) in &networks.all {
        let Some(init) = store.container(name)?.running()? else { continue };
        let firewall = Firewall::of(record.firewall)?;
        let mut found = check_parts(store, &networks, name, record, &init, &firewall)?;
        found.extend(check_ports(record, &firewall)?);
        if let Some(way) = &record.internet {
            found.push(packet_leaves_host(way, record, &init, &firewall)?);
        }
        let finding = |(what, is_there)| Finding { container: name.clone(), what, is_there };
        findings.extend(found.into_iter().map(finding));
    }
    Ok(findings)
}

/// Checks what one network consists of: the veth pair, forwarding, the firewall rules.
///
/// # Errors
/// Those of netlink(7) and of the firewall tool.
pub(super) fn check_parts(
    store: &Store,
    networks: &Networks,
    name: &ContainerName,
    record: &NetworkRecord,
    init: &PidFd,
    firewall: &Firewall,
) -> Result<Vec<(String, bool)>> {
    let mut found = check_veth(name, record, init)?;
    if record.needs_forwarding(&networks.peers_of(name)) {
        found.push(("the host forwards packets".to_owned(), sysctl::read(IP_FORWARD)? == "1"));
    }
    let Some(wanted) = networks.permissions(name) else { return Ok(found) };
    let foreign_traffic =
        foreign_traffic(store, None, firewall).or_cannot("look up", "the rules for foreign traffic")?;
    for table in Table::ALL {
        found.push(check_rules(table, &firewall.rules(table)?, name, &wanted, &foreign_traffic));
    }
    Ok(found)
}

/// Restores the networks of all running containers; existing parts stay. Returns their names.
///
/// # Errors
/// Those of [`Attachment`]; networks before the failed one are restored.
pub fn reload(store: &Store, pool: Subnet) -> Result<Vec<ContainerName>> {
    release_ended(store)?;
    let names: Vec<ContainerName> = {
        let _networks_lock = store.lock_networks()?;
        Networks::load(store)?.all.into_keys().collect()
    };
    let nothing_new = Request { internet: false, publish: Vec::new(), interface: None, pool };
    for name in &names {
        Attachment::plan(store, name, &nothing_new)?.make()?;
    }
    Ok(names)
}

/// Checks the two ends of the veth pair, their addresses and sysctls.
fn check_veth(name: &ContainerName, record: &NetworkRecord, init: &PidFd) -> Result<Vec<(String, bool)>> {
    let (outside, inside) = (rules::host_link(name), rules::container_link(name));
    let ends = [(&outside, subnet::host_address(record.subnet)), (&inside, subnet::container_address(record.subnet))];
    let end = |(link, address): (&String, Ipv4Addr)| {
        let netlink = Netlink::open()?;
        let own = Subnet::containing(address, 32);
        let has_address = netlink.routed_subnets()?.into_iter().any(|routed_subnets| Some(routed_subnets) == own);
        Ok((format!("link {link} with {address}"), netlink.is_on(link)? && has_address))
    };
    let way_out = || Ok(Netlink::open()?.default_interface()?.as_ref() == Some(&inside));
    let mut findings = vec![end(ends[0])?, NetNs::of(init).run(|| end(ends[1]))?];
    if record.internet.is_some() {
        findings.push(("the default route inside".to_owned(), NetNs::of(init).run(way_out)?));
    }
    let local = if record.published.is_empty() { "0" } else { "1" };
    for (knob, value) in
        [("ipv6/conf/*/disable_ipv6", "1"), ("ipv4/conf/*/rp_filter", "1"), ("ipv4/conf/*/route_localnet", local)]
    {
        let key = format!("net/{}", knob.replace('*', &outside));
        // A kernel without IPv6 lacks the first; a missing link was reported above.
        if sysctl::exists(&key) {
            findings.push((format!("{} = {value}", key.replace('/', ".")), sysctl::read(&key)? == value));
        }
    }
    Ok(findings)
}

fn check_rules(
    table: Table,
    now: &Rules,
    name: &ContainerName,
    wanted: &Permissions,
    foreign_traffic: &ForeignTraffic,
) -> (String, bool) {
    match rules::missing(table, now, name, wanted, foreign_traffic).first() {
        None => (format!("rules in {table}"), true),
        Some(first) => (format!("rules in {table}: {first}"), false),
    }
}

/// Checks that no other rule or program uses a published port.
fn check_ports(record: &NetworkRecord, firewall: &Firewall) -> Result<Vec<(String, bool)>> {
    let nat = firewall.rules(Table::Nat)?;
    let alone = |publish: &super::publish::PublishedPort| {
        let other = match rules::conflicting_dnat(&nat, *publish) {
            Some(rule) => Some(format!("the firewall rule -t nat {rule}")),
            None => listening_process(publish)?,
        };
        Ok(match other {
            Some(other) => {
                (format!("port {}/{} not shared: {other} uses it too", publish.host, publish.protocol), false)
            }
            None => (format!("port {}/{} not shared", publish.host, publish.protocol), true),
        })
    };
    record.published.iter().map(alone).collect()
}

/// An unassigned address for documentation (RFC 5737): packets to it take the default route.
const TEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// TTL: the packet passes this host and no further router.
const HOPS: u32 = 2;
/// The port of the discard protocol.
const DISCARD: u16 = 9;
/// How long to wait for the packet.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Sends a packet from inside, and checks whether it leaves the host: masquerading is the last step, after every rule
/// of every tool. See ip(7), `IP_TTL`.
fn packet_leaves_host(
    way: &Uplink,
    record: &NetworkRecord,
    init: &PidFd,
    firewall: &Firewall,
) -> Result<(String, bool)> {
    let address = subnet::container_address(record.subnet);
    let is_its_own = |rule: &str| {
        option_value(rule, "-s") == Some(&format!("{address}/32"))
            && option_value(rule, "-j") == Some("MASQUERADE")
            && {
                let interface = option_value(rule, "-o");
                interface.is_none() || matches!(way, Uplink::Interface(name) if interface == Some(name))
            }
    };
    let hidden = || firewall.packets(Table::Nat, &rules::hook_chain("POSTROUTING"), is_its_own);
    let before = hidden()?;
    let sent = NetNs::of(init).run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).or_cannot("open", "a socket")?;
        socket.set_ttl(HOPS).or_cannot("prepare", "a packet")?;
        Ok(socket.send_to(b"conductor network check", (TEST_ADDRESS, DISCARD)).is_ok())
    })?;
    let deadline = Instant::now() + TIMEOUT;
    let mut has_left = false;
    while sent && !has_left && Instant::now() < deadline {
        has_left = hidden()? > before;
    }
    if has_left {
        return Ok(("a packet to the internet leaves the host".to_owned(), true));
    }
    let filter = firewall.rules(Table::Filter)?;
    let refuses = |rule: &&str| matches!(option_value(rule, "-j"), Some("DROP" | "REJECT"));
    let suspect = filter.of_chain("FORWARD").take_while(|rule| !rules::is_jump_of_ours(rule)).find(refuses);
    let suspect = match (suspect, way) {
        (Some(rule), _) => format!("see the rule -A FORWARD {rule}"),
        (None, Uplink::Interface(interface)) => {
            format!("only {interface} may be used (DEFAULT_IFC), see `ip route get {TEST_ADDRESS}`")
        }
        (None, Uplink::Any) => format!("see `ip route get {TEST_ADDRESS}`, `nft list ruleset`"),
    };
    Ok((format!("a packet to the internet leaves the host: none did; {suspect}"), false))
}
