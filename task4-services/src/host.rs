//! The host's default route: its interface and gateway, and the host's address there.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Reserved for documentation (RFC 5737): no host has it, but its route is that of any remote host.
const FAR_AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address for requests to the host's ports: that of its default route, or loopback without one.
///
/// Connecting a datagram socket sends nothing; the kernel only chooses a route.
pub fn address() -> IpAddr {
    let chosen = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(FAR_AWAY)?;
        socket.local_addr()
    });
    chosen.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// The interface and the gateway of the default route.
pub fn default_route() -> Option<(String, Ipv4Addr)> {
    first_default(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Columns: interface, destination, gateway, flags, …, metric, mask; addresses are hexadecimal, in the host's byte order.
fn first_default(table: &str) -> Option<(String, Ipv4Addr)> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = rows.filter(|row| row.get(1) == Some(&"00000000") && row.get(7) == Some(&"00000000"));
    let best = defaults.min_by_key(|row| row.get(6).and_then(|metric| metric.parse::<u32>().ok()))?;
    let gateway = u32::from_str_radix(best.get(2)?, 16).ok()?;
    Some(((*best.first()?).to_owned(), Ipv4Addr::from(gateway.to_ne_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_is_the_way_out() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth1\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
            eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        #[cfg(target_endian = "little")]
        assert_eq!(first_default(table), Some(("eth0".to_owned(), Ipv4Addr::new(10, 0, 2, 2))));
        assert_eq!(first_default(table.lines().next().unwrap()), None);
    }
}
