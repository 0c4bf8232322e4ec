//! Addresses, subnets and routes.
//!
//! An address on a link has two meanings: the host's own address there and, by its prefix length, which addresses are
//! neighbours on the link. Every other destination needs a route: the link to use, and the neighbour that forwards.
//!
//! Look: `ip address`, `ip route`, `ip route get 1.1.1.1`. Manual: ip-address(8), ip-route(8), rtnetlink(7).

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};

use super::Netlink;
use crate::error::{Cause, Error, OrCannot, Result};
use crate::step;

/// A range of IPv4 addresses that share their first bits: `192.168.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet(Ipv4Net);

/// A route of the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route {
    to: Subnet,
    /// Index of its outgoing link.
    link: Option<u32>,
    metric: u32,
    table: u32,
    kind: RouteType,
}

impl Subnet {
    /// The subnet with a prefix of `prefix` bits that contains `address`; none for an invalid prefix.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        Ipv4Net::new(address, prefix).ok().map(|net| Self(net.trunc()))
    }

    /// Its first address, which denotes the subnet itself.
    pub fn network(self) -> Ipv4Addr {
        self.0.network()
    }

    /// Length of its prefix in bits.
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// Its address number `n`, counted from 0; none if it has fewer.
    pub fn host(self, n: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.network().to_bits().checked_add(n)?);
        self.0.contains(&address).then_some(address)
    }

    /// Its subnets with a prefix of `prefix` bits, in order; none if it is smaller than that.
    pub fn parts(self, prefix: u8) -> impl Iterator<Item = Self> {
        self.0.subnets(prefix).into_iter().flatten().map(Self)
    }

    /// Whether any address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse().ok().map(|net: Ipv4Net| Self(net)).filter(|subnet| subnet.0 == subnet.0.trunc());
        parsed.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is not a subnet: write its first address and its prefix, like 192.168.0.0/16")
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Netlink {
    /// Adds an address with a prefix to a link; does nothing if the link has it.
    ///
    /// # Errors
    /// `ENODEV` when the link does not exist.
    pub fn add_address(&self, link: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
        step!("address.add",
            call: "sendto(netlink, RTM_NEWADDR {{ \"{link}\", {address}/{prefix} }})";
            why: "the link's own address; the prefix tells which addresses are directly connected";
            shell: "ip address add {address}/{prefix} dev {link}");
        let attempt = format_args!("add address {address}/{prefix} to").to_string();
        let index = self.find(link)?.ok_or(Errno::ENODEV).or_cannot(&attempt, link)?;
        match self.ask(self.handle.address().add(index, IpAddr::V4(address), prefix).execute()) {
            Ok(()) | Err(Cause::Kernel(Errno::EEXIST)) => Ok(()),
            Err(cause) => Err(Error::new(attempt, link, cause)),
        }
    }

    /// The IPv4 addresses of a link with the lengths of their prefixes; none for a link that does not exist.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn addresses(&self, link: &str) -> Result<Vec<(Ipv4Addr, u8)>> {
        let Some(index) = self.find(link)? else { return Ok(Vec::new()) };
        let all = async {
            let found = self.handle.address().get().set_link_index_filter(index).execute();
            found.try_collect::<Vec<_>>().await
        };
        let found = self.ask(all).or_cannot("list the addresses of", link)?;
        let read = found.iter().filter_map(|message| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(own)) => Some((*own, message.header.prefix_len)),
                _ => None,
            })
        });
        Ok(read.collect())
    }

    /// Adds or replaces a route to `to` through the neighbour `gateway`.
    ///
    /// # Errors
    /// `ENETUNREACH` when the gateway is not directly connected.
    pub fn add_route(&self, to: Subnet, gateway: Ipv4Addr) -> Result<()> {
        let shown = if to.prefix() == 0 { "default".to_owned() } else { to.to_string() };
        step!("route.add",
            call: "sendto(netlink, RTM_NEWROUTE {{ to {to}, by {gateway} }})";
            why: "destinations that are not directly connected are reached through a neighbour that forwards packets";
            shell: "ip route replace {shown} via {gateway}");
        let message =
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix()).gateway(gateway);
        self.ask(self.handle.route().add(message.build()).replace().execute())
            .or_cannot("add the route to", format_args!("{shown} via {gateway}"))
    }

    /// All destinations in any routing table, except the default route.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn routed_subnets(&self) -> Result<Vec<Subnet>> {
        Ok(self.routes()?.into_iter().map(|route| route.to).filter(|subnet| subnet.prefix() > 0).collect())
    }

    /// The link of the default route; none without one. A default route in two halves, 0.0.0.0/1 and 128.0.0.0/1,
    /// counts too: VPNs use it to override the host's own.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn default_interface(&self) -> Result<Option<String>> {
        let main = u32::from(RouteHeader::RT_TABLE_MAIN);
        let outgoing_routes = self.routes()?.into_iter().filter(|route| {
            route.to.prefix() <= 1 && route.table == main && route.kind == RouteType::Unicast && route.link.is_some()
        });
        let best = outgoing_routes.min_by_key(|route| (Reverse(route.to.prefix()), route.metric));
        best.and_then(|route| route.link).map(|link| self.name(link)).transpose()
    }

    /// The unicast routes of this host with their links, except loopback.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn outgoing_routes(&self) -> Result<Vec<(String, Subnet)>> {
        let unicast = self.routes()?.into_iter().filter(|route| route.kind == RouteType::Unicast);
        let mut outgoing_routes = Vec::new();
        for route in unicast {
            match route.link.map(|link| self.name(link)).transpose() {
                Ok(Some(link)) if link != "lo" => outgoing_routes.push((link, route.to)),
                Ok(_) => (),
                // The link was removed meanwhile, and its route with it.
                Err(error) if error.errno() == Some(Errno::ENODEV) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(outgoing_routes)
    }

    fn routes(&self) -> Result<Vec<Route>> {
        let all = async {
            let message = RouteMessageBuilder::<Ipv4Addr>::new().build();
            self.handle.route().get(message).execute().try_collect::<Vec<_>>().await
        };
        Ok(self.ask(all).or_cannot("list", "routes")?.iter().filter_map(Route::read).collect())
    }

    fn name(&self, link: u32) -> Result<String> {
        use rtnetlink::packet_route::link::LinkAttribute;
        let found = async { self.handle.link().get().match_index(link).execute().try_next().await };
        let message = self.ask(found).or_cannot("look at link number", link)?;
        let name = message.into_iter().flat_map(|link| link.attributes).find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        name.ok_or(Errno::ENODEV).or_cannot("look at link number", link)
    }
}

impl Route {
    fn read(message: &RouteMessage) -> Option<Self> {
        let mut route = Self {
            to: Subnet::containing(Ipv4Addr::UNSPECIFIED, message.header.destination_prefix_length)?,
            link: None,
            metric: 0,
            table: u32::from(message.header.table),
            kind: message.header.kind,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                    route.to = Subnet::containing(*address, message.header.destination_prefix_length)?;
                }
                RouteAttribute::Oif(link) => route.link = Some(*link),
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::Table(table) => route.table = *table,
                _ => (),
            }
        }
        Some(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_written_with_its_first_address_and_its_prefix() {
        assert_eq!(subnet("192.168.0.0/16").to_string(), "192.168.0.0/16");
        assert_eq!(subnet("0.0.0.0/0").to_string(), "0.0.0.0/0");
        for wrong in
            ["192.168.0.0", "192.168.1.0/16", "192.168.0.0/33", "192.168.0.0/+8", "192.168/16", "a/8", "", "1.2.3.4/"]
        {
            let error = wrong.parse::<Subnet>().unwrap_err();
            assert!(error.contains("like 192.168.0.0/16"), "{wrong}: {error}");
        }
    }

    #[test]
    fn parts_and_hosts_are_counted_from_the_first_and_end_at_the_last() {
        let parts: Vec<Subnet> = subnet("192.168.0.0/16").parts(24).collect();
        assert_eq!(parts.len(), 256, "not wrapped past its end");
        assert_eq!((parts[1], parts[255]), (subnet("192.168.1.0/24"), subnet("192.168.255.0/24")));
        assert_eq!(subnet("192.168.0.0/16").parts(8).next(), None, "a part is not larger than the whole");
        assert_eq!(subnet("0.0.0.0/0").parts(0).next(), Some(subnet("0.0.0.0/0")));
        assert_eq!(subnet("192.168.1.0/24").host(2), Some(Ipv4Addr::new(192, 168, 1, 2)));
        assert_eq!(subnet("192.168.1.0/24").host(256), None);
        assert_eq!(subnet("255.255.255.255/32").host(0), Some(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        assert!(subnet("192.168.0.0/16").overlaps(subnet("192.168.7.0/24")));
        assert!(subnet("192.168.7.9/32").overlaps(subnet("192.168.7.0/24")));
        assert!(subnet("0.0.0.0/0").overlaps(subnet("10.0.0.0/8")));
        assert!(!subnet("192.168.7.0/24").overlaps(subnet("192.168.8.0/24")));
    }
}
